//! Pods (`pkg/registry/core/pod/strategy.go`).

mod annotations;
mod containers;
mod defaults;
mod env;
mod parts;
mod probes;
mod resources;
mod scheduling;
mod security;
mod sources;
mod status;
#[cfg(test)]
mod tests;
mod unsupported;
mod update;
mod validate;
mod volumes;

pub(super) use super::volumes::check_claim_spec;
pub(super) use containers::{check_port_or_name, check_protocol};
pub(super) use defaults::{canonical_list, default_claim_spec, default_sources, default_spec};
pub(super) use resources::{
    check_container_resource_name, check_list, check_quantity, check_resource_name, overcommit_allowed,
};
pub(super) use scheduling::{check_label_selector, check_node_selector, check_taints, check_tolerations};
pub(super) use sources::{Holder, check_driver_name, check_source, outer_name};
pub(super) use validate::{check_ip, check_template};

use super::json::{Object, fill_zero, flag, int, items, map, object_mut, spec_mut, text};
use crate::field::{Error, Path};
use crate::meta;
use crate::names;
use crate::quantity::Quantity;
use crate::strategy::{Strategy, keep_all_but_status, keep_metadata};
use serde_json::{Value, json};

/// The quality of service class of a pod (`status.qosClass`), from what its containers ask for.
#[must_use]
pub fn qos_class(pod: &Value) -> &'static str {
    let Some(spec) = pod.get("spec") else { return "BestEffort" };
    let own = spec.get("resources").filter(|r| map(r, "limits").is_some() || map(r, "requests").is_some());
    let containers = items(spec, "containers").iter().chain(items(spec, "initContainers"));
    let all: Vec<&Value> = match own {
        Some(resources) => vec![resources],
        None => containers.map(|c| c.get("resources").unwrap_or(&Value::Null)).collect(),
    };
    let amount = |resources: &Value, list: &str, name: &str| {
        let value = map(resources, list)?.get(name)?;
        Quantity::from_value(value).ok().filter(|q| !q.is_zero())
    };
    let (mut any, mut guaranteed) = (false, true);
    for resources in all {
        for name in ["cpu", "memory"] {
            let (limit, request) = (amount(resources, "limits", name), amount(resources, "requests", name));
            any |= limit.is_some() || request.is_some();
            guaranteed &= limit.is_some() && request.is_none_or(|r| Some(r) == limit);
        }
    }
    match (any, guaranteed) {
        (false, _) => "BestEffort",
        (true, true) => "Guaranteed",
        (true, false) => "Burstable",
    }
}

pub(super) struct Pod;

impl Strategy for Pod {
    fn default(&self, object: &mut Value) {
        if let Some(spec) = spec_mut(object) {
            default_spec(spec);
            defaults::default_pod(spec);
        }
    }

    fn prepare_create(&self, object: &mut Value) {
        let qos = qos_class(object);
        let mut status = json!({"phase": "Pending", "qosClass": qos});
        if object.get("spec").is_some_and(|s| !items(s, "schedulingGates").is_empty()) {
            status["conditions"] = json!([{
                "type": "PodScheduled", "status": "False", "reason": "SchedulingGated",
                "message": "Scheduling is blocked due to non-empty scheduling gates",
                "lastProbeTime": null, "lastTransitionTime": null,
            }]);
        }
        if let Some(map) = object.as_object_mut() {
            map.insert("status".into(), status);
        }
    }

    fn prepare_status_update(&self, object: &mut Value, old: &Value) {
        keep_all_but_status(object, old);
        keep_metadata(object, old, &["ownerReferences"]);
        let qos = old.get("status").map_or("", |s| text(s, "qosClass")).to_owned();
        let Some(status) = object.as_object_mut().and_then(|o| object_mut(o, "status")) else { return };
        let qos = if qos.is_empty() { qos_class(old).to_owned() } else { qos };
        status.insert("qosClass".into(), qos.into());
        fill_zero(status, "phase", "Pending");
    }

    fn validate(&self, object: &Value) -> Vec<Error> {
        let mut errors = Vec::new();
        let (spec, path) = (object.get("spec").unwrap_or(&Value::Null), Path::new("spec"));
        validate::check_pod(object, &mut errors);
        if !items(spec, "ephemeralContainers").is_empty() {
            errors.push(Error::forbidden(&path.child("ephemeralContainers"), "cannot be set on create"));
        }
        if !items(spec, "schedulingGates").is_empty() && !text(spec, "nodeName").is_empty() {
            let detail = "cannot be set until all schedulingGates have been cleared";
            errors.push(Error::forbidden(&path.child("nodeName"), detail));
        }
        annotations::check_matches(object, &path, &mut errors);
        errors
    }

    fn validate_update(&self, object: &Value, old: &Value) -> Vec<Error> {
        update::check(object, old)
    }

    fn validate_change(&self, object: &Value, old: &Value) -> Vec<Error> {
        let mut errors = Vec::new();
        validate::check_pod(object, &mut errors);
        annotations::check_update(object, old, &mut errors);
        errors.extend(update::check(object, old));
        errors
    }

    fn validate_status_update(&self, object: &Value, old: &Value) -> Vec<Error> {
        status::check(object, old)
    }

    fn prepare_subresource_update(&self, subresource: &str, object: &mut Value, old: &Value) {
        parts::prepare(subresource, object, old);
    }

    fn validate_subresource_update(&self, subresource: &str, object: &Value, old: &Value) -> Vec<Error> {
        let mut errors = Vec::new();
        validate::check_pod(object, &mut errors);
        errors.extend(parts::check(subresource, object, old));
        errors
    }

    fn warnings(&self, object: &Value) -> Vec<String> {
        let mut warnings = Vec::new();
        let complaints = names::check_dns1123_label(meta::name(object));
        if !complaints.is_empty() {
            let hostname = "this is used in the Pod's hostname, which can result in surprising behavior; a DNS label is recommended";
            warnings.push(format!("metadata.name: {hostname}: [{}]", complaints.join(" ")));
        }
        warnings.extend(template_warnings(object, ""));
        warnings
    }

    fn field_names(&self) -> &'static [&'static str] {
        &[
            "spec.nodeName",
            "spec.restartPolicy",
            "spec.schedulerName",
            "spec.serviceAccountName",
            "spec.hostNetwork",
            "status.phase",
            "status.podIP",
            "status.podIPs",
            "status.nominatedNodeName",
        ]
    }

    fn fields(&self, object: &Value) -> Vec<(&'static str, String)> {
        let (spec, status) = (object.get("spec").unwrap_or(&Value::Null), object.get("status").unwrap_or(&Value::Null));
        let ips: Vec<&str> = items(status, "podIPs").iter().map(|ip| text(ip, "ip")).collect();
        vec![
            ("spec.nodeName", text(spec, "nodeName").into()),
            ("spec.restartPolicy", text(spec, "restartPolicy").into()),
            ("spec.schedulerName", text(spec, "schedulerName").into()),
            ("spec.serviceAccountName", text(spec, "serviceAccountName").into()),
            ("spec.hostNetwork", flag(spec, "hostNetwork").to_string()),
            ("status.phase", text(status, "phase").into()),
            ("status.podIP", text(status, "podIP").into()),
            ("status.podIPs", ips.join(",")),
            ("status.nominatedNodeName", text(status, "nominatedNodeName").into()),
        ]
    }

    /// The requested period, else what the spec says; at once for pods that no node holds or that have ended.
    fn deletion_grace_seconds(&self, object: &Value, requested: Option<i64>) -> Option<i64> {
        let spec = object.get("spec").unwrap_or(&Value::Null);
        let ended = matches!(object.get("status").map_or("", |s| text(s, "phase")), "Succeeded" | "Failed");
        if text(spec, "nodeName").is_empty() || ended {
            return Some(0);
        }
        let period = requested.or_else(|| int(spec, "terminationGracePeriodSeconds")).unwrap_or(30);
        // A negative period means one second; zero stays: a forced deletion.
        Some(if period < 0 { 1 } else { period })
    }
}

/// What a pod, or the template at `path`, says that is accepted and may surprise.
pub(super) fn template_warnings(holder: &Value, path: &str) -> Vec<String> {
    let mut out = Vec::new();
    super::deprecated::pod_warnings(holder, path, &mut out);
    let spec = holder.get("spec").unwrap_or(&Value::Null);
    let at = if path.is_empty() { "spec".to_owned() } else { format!("{path}.spec") };
    out.extend(unsupported::warnings(spec, &at));
    out
}
