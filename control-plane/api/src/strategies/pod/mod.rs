//! Pods (`pkg/registry/core/pod/strategy.go`).

mod containers;
mod defaults;
mod parts;
mod resources;
#[cfg(test)]
mod tests;
mod unsupported;
mod update;
mod validate;
mod volumes;

pub(super) use containers::{check_port_or_name, check_protocol};
pub(super) use defaults::{canonical_list, default_claim_spec, default_sources, default_spec};
pub(super) use resources::{check_list, check_quantity, check_resource_name};
pub(super) use validate::{check_label_selector, check_node_selector, check_spec, check_template};

use super::json::{Object, fill_zero, flag, int, items, map, object_mut, spec_mut, text};
use crate::field::{Error, Path};
use crate::meta;
use crate::names;
use crate::quantity::Quantity;
use crate::strategy::{Strategy, keep_all_but_status};
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
            }]);
        }
        if let Some(map) = object.as_object_mut() {
            map.insert("status".into(), status);
        }
    }

    fn prepare_status_update(&self, object: &mut Value, old: &Value) {
        keep_all_but_status(object, old);
        let qos = old.get("status").map_or("", |s| text(s, "qosClass")).to_owned();
        let Some(status) = object.as_object_mut().and_then(|o| object_mut(o, "status")) else { return };
        let qos = if qos.is_empty() { qos_class(old).to_owned() } else { qos };
        status.insert("qosClass".into(), qos.into());
        fill_zero(status, "phase", "Pending");
    }

    fn validate(&self, object: &Value) -> Vec<Error> {
        let mut errors = Vec::new();
        let (spec, path) = (object.get("spec").unwrap_or(&Value::Null), Path::new("spec"));
        check_spec(spec, &path, &mut errors);
        if !items(spec, "ephemeralContainers").is_empty() {
            errors.push(Error::forbidden(&path.child("ephemeralContainers"), "cannot be set on create"));
        }
        errors
    }

    fn validate_update(&self, object: &Value, old: &Value) -> Vec<Error> {
        update::check(object, old)
    }

    fn validate_change(&self, object: &Value, old: &Value) -> Vec<Error> {
        let mut errors = Vec::new();
        check_spec(object.get("spec").unwrap_or(&Value::Null), &Path::new("spec"), &mut errors);
        errors.extend(update::check(object, old));
        errors
    }

    fn prepare_subresource_update(&self, subresource: &str, object: &mut Value, old: &Value) {
        parts::prepare(subresource, object, old);
    }

    fn validate_subresource_update(&self, subresource: &str, object: &Value, old: &Value) -> Vec<Error> {
        let mut errors = Vec::new();
        check_spec(object.get("spec").unwrap_or(&Value::Null), &Path::new("spec"), &mut errors);
        errors.extend(parts::check(subresource, object, old));
        errors
    }

    fn warnings(&self, object: &Value) -> Vec<String> {
        let mut warnings = object.get("spec").map_or_else(Vec::new, |spec| spec_warnings(spec, "spec"));
        let complaints = names::check_dns1123_label(meta::name(object));
        if !complaints.is_empty() {
            let hostname = "this is used in the Pod's hostname, which can result in surprising behavior; a DNS label is recommended";
            warnings.push(format!("metadata.name: {hostname}: [{}]", complaints.join(" ")));
        }
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

/// What a pod spec says that is accepted and may surprise.
pub(super) fn spec_warnings(spec: &Value, path: &str) -> Vec<String> {
    let mut out = Vec::new();
    let lists = [("initContainers", items(spec, "initContainers")), ("containers", items(spec, "containers"))];
    for (list, containers) in lists {
        for (i, container) in containers.iter().enumerate() {
            let mut seen = std::collections::HashSet::new();
            for (j, env) in items(container, "env").iter().enumerate() {
                let name = text(env, "name");
                if !seen.insert(name) {
                    let hides = "hides previous definition of";
                    out.push(format!(
                        "{path}.{list}[{i}].env[{j}]: {hides} {name:?}, which may be dropped when using apply"
                    ));
                }
            }
            for resources in ["limits", "requests"] {
                let list_of = container.get("resources").and_then(|r| map(r, resources));
                for (name, value) in
                    list_of.into_iter().flatten().filter(|(n, _)| matches!(n.as_str(), "memory" | "ephemeral-storage"))
                {
                    if let Ok(quantity) = Quantity::from_value(value)
                        && !quantity.is_integer()
                    {
                        out.push(format!("{path}.{list}[{i}].resources.{resources}[{name}]: fractional byte value \"{quantity}\" is invalid, must be an integer"));
                    }
                }
            }
        }
    }
    if int(spec, "terminationGracePeriodSeconds").is_some_and(|s| s < 0) {
        out.push(format!(
            "{path}.terminationGracePeriodSeconds: must be >= 0; negative values are invalid and will be treated as 1"
        ));
    }
    out.extend(unsupported::warnings(spec, path));
    out
}
