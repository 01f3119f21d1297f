//! The rules of a pod spec as a whole (`ValidatePodSpec`), shared by Pods and templates.

use super::containers;
use super::volumes::{check_references, check_volumes};
use crate::field::{Error, Path};
use crate::meta;
use crate::names;
use crate::strategies::json::{
    check_name, check_non_negative, check_one_of, check_required_one_of, flag, int, items, map, present, text,
};
use serde_json::Value;
use std::collections::HashSet;

const INT_MAX: i64 = i32::MAX as i64;

/// Everything wrong with a pod spec.
pub(in crate::strategies) fn check_spec(spec: &Value, path: &Path<'_>, errors: &mut Vec<Error>) {
    let volumes = check_volumes(spec, &path.child("volumes"), errors);
    containers::check_all(spec, &volumes, path, errors);
    check_required_one_of(spec, "restartPolicy", &["Always", "OnFailure", "Never"], path, errors);
    check_required_one_of(
        spec,
        "dnsPolicy",
        &["ClusterFirst", "ClusterFirstWithHostNet", "Default", "None"],
        path,
        errors,
    );
    check_dns_config(spec, path, errors);
    meta::validate_labels(map(spec, "nodeSelector"), &path.child("nodeSelector"), errors);
    check_references(items(spec, "imagePullSecrets"), &path.child("imagePullSecrets"), errors);
    check_names(spec, path, errors);
    if let Some(seconds) = int(spec, "activeDeadlineSeconds").filter(|s| !(1..=INT_MAX).contains(s)) {
        let detail = format!("must be between 1 and {INT_MAX}, inclusive");
        errors.push(Error::invalid(&path.child("activeDeadlineSeconds"), seconds, detail));
    }
    check_non_negative(spec, "terminationGracePeriodSeconds", path, errors);
    check_tolerations(items(spec, "tolerations"), &path.child("tolerations"), errors);
    check_host_aliases(spec, &path.child("hostAliases"), errors);
    check_gates(spec, path, errors);
    check_spread(spec, &path.child("topologySpreadConstraints"), errors);
    check_one_of(spec, "preemptionPolicy", &["Never", "PreemptLowerPriority"], path, errors);
    check_security(spec, path, errors);
    if let Some(os) = present(spec, "os") {
        check_required_one_of(os, "name", &["linux", "windows"], &path.child("os"), errors);
    }
    if let Some(affinity) = present(spec, "affinity") {
        check_affinity(affinity, &path.child("affinity"), errors);
    }
}

/// A pod template: labels, annotations and spec.
pub(in crate::strategies) fn check_template(template: &Value, path: &Path<'_>, errors: &mut Vec<Error>) {
    let metadata = path.child("metadata");
    meta::validate_labels(meta::labels(template), &metadata.child("labels"), errors);
    meta::check_annotations(meta::annotations(template), &metadata.child("annotations"), errors);
    check_spec(template.get("spec").unwrap_or(&Value::Null), &path.child("spec"), errors);
    let ephemeral = template.get("spec").map_or(&[][..], |s| items(s, "ephemeralContainers"));
    if !ephemeral.is_empty() {
        let spec = path.child("spec");
        errors.push(Error::forbidden(
            &spec.child("ephemeralContainers"),
            "ephemeral containers not allowed in pod template",
        ));
    }
}

fn check_names(spec: &Value, path: &Path<'_>, errors: &mut Vec<Error>) {
    type Check = fn(&str) -> Vec<String>;
    const RULES: [(&str, Check); 6] = [
        ("serviceAccountName", names::check_dns1123_subdomain),
        ("nodeName", names::check_dns1123_subdomain),
        ("hostname", names::check_dns1123_label),
        ("subdomain", names::check_dns1123_label),
        ("priorityClassName", names::check_dns1123_subdomain),
        ("runtimeClassName", names::check_dns1123_subdomain),
    ];
    for (field, check) in RULES {
        match text(spec, field) {
            "" => {}
            name => check_name(name, &path.child(field), check, errors),
        }
    }
}

fn check_dns_config(spec: &Value, path: &Path<'_>, errors: &mut Vec<Error>) {
    let config = present(spec, "dnsConfig");
    let path = path.child("dnsConfig");
    let servers = config.map_or(&[][..], |c| items(c, "nameservers"));
    if text(spec, "dnsPolicy") == "None" {
        if config.is_none() {
            errors.push(Error::required(&path, "must provide `dnsConfig` when `dnsPolicy` is None"));
        } else if servers.is_empty() {
            let detail = "must provide at least one DNS nameserver when `dnsPolicy` is None";
            errors.push(Error::required(&path.child("nameservers"), detail));
        }
    }
    if servers.len() > 3 {
        let detail = "must not have more than 3 nameservers";
        errors.push(Error::invalid(&path.child("nameservers"), servers.to_vec(), detail));
    }
    for (i, server) in servers.iter().enumerate() {
        let address = server.as_str().unwrap_or_default();
        if address.parse::<std::net::IpAddr>().is_err() {
            let list = path.child("nameservers");
            errors.push(Error::invalid(
                &list.index(i),
                address,
                "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)",
            ));
        }
    }
}

/// User and group ids, and contradictions in what a container may do.
fn check_security(spec: &Value, path: &Path<'_>, errors: &mut Vec<Error>) {
    if let Some(context) = present(spec, "securityContext") {
        check_ids(context, &path.child("securityContext"), errors);
    }
    for field in ["initContainers", "containers"] {
        let list = path.child(field);
        for (i, container) in items(spec, field).iter().enumerate() {
            let Some(context) = present(container, "securityContext") else { continue };
            let path = list.index(i);
            let path = path.child("securityContext");
            check_ids(context, &path, errors);
            if flag(context, "privileged") && context.get("allowPrivilegeEscalation") == Some(&Value::Bool(false)) {
                let detail = "cannot set `allowPrivilegeEscalation` to false and `privileged` to true";
                errors.push(Error::invalid(&path, context.clone(), detail));
            }
        }
    }
}

fn check_ids(context: &Value, path: &Path<'_>, errors: &mut Vec<Error>) {
    for field in ["runAsUser", "runAsGroup", "fsGroup"] {
        if let Some(id) = int(context, field).filter(|id| !(0..=INT_MAX).contains(id)) {
            errors.push(Error::invalid(&path.child(field), id, format!("must be between 0 and {INT_MAX}, inclusive")));
        }
    }
}

const EFFECTS: &[&str] = &["NoSchedule", "PreferNoSchedule", "NoExecute"];

fn check_tolerations(tolerations: &[Value], list: &Path<'_>, errors: &mut Vec<Error>) {
    for (i, toleration) in tolerations.iter().enumerate() {
        let path = list.index(i);
        let (key, operator, value) = (text(toleration, "key"), text(toleration, "operator"), text(toleration, "value"));
        if key.is_empty() {
            if operator != "Exists" {
                let detail =
                    "operator must be Exists when `key` is empty, which means \"match all values and all keys\"";
                errors.push(Error::invalid(&path.child("operator"), operator, detail));
            }
        } else {
            check_name(key, &path.child("key"), names::check_qualified_name, errors);
        }
        match operator {
            "" | "Equal" => check_name(value, &path.child("operator"), names::check_label_value, errors),
            "Exists" => {
                if !value.is_empty() {
                    let detail = "value must be empty when `operator` is 'Exists'";
                    errors.push(Error::invalid(&path.child("operator"), value, detail));
                }
            }
            "Lt" | "Gt" => {}
            _ => errors.push(Error::not_supported(&path.child("operator"), operator, &["Equal", "Exists"])),
        }
        let effect = text(toleration, "effect");
        if present(toleration, "tolerationSeconds").is_some() && effect != "NoExecute" {
            let detail = "effect must be 'NoExecute' when `tolerationSeconds` is set";
            errors.push(Error::invalid(&path.child("effect"), effect, detail));
        }
        check_one_of(toleration, "effect", EFFECTS, &path, errors);
    }
}

fn check_host_aliases(spec: &Value, list: &Path<'_>, errors: &mut Vec<Error>) {
    for (i, alias) in items(spec, "hostAliases").iter().enumerate() {
        let path = list.index(i);
        let ip = text(alias, "ip");
        if ip.parse::<std::net::IpAddr>().is_err() {
            errors.push(Error::invalid(
                &path.child("ip"),
                ip,
                "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)",
            ));
        }
        for name in items(alias, "hostnames").iter().filter_map(Value::as_str) {
            check_name(name, &path.child("hostnames"), names::check_dns1123_subdomain, errors);
        }
    }
}

/// Readiness gates and scheduling gates.
fn check_gates(spec: &Value, path: &Path<'_>, errors: &mut Vec<Error>) {
    let list = path.child("readinessGates");
    for (i, gate) in items(spec, "readinessGates").iter().enumerate() {
        check_name(
            text(gate, "conditionType"),
            &list.index(i).child("conditionType"),
            names::check_qualified_name,
            errors,
        );
    }
    let list = path.child("schedulingGates");
    if !items(spec, "schedulingGates").is_empty() && !text(spec, "nodeName").is_empty() {
        let detail = "cannot be set until all schedulingGates have been cleared";
        errors.push(Error::forbidden(&path.child("nodeName"), detail));
    }
    let mut seen = HashSet::new();
    for (i, gate) in items(spec, "schedulingGates").iter().enumerate() {
        let name = text(gate, "name");
        check_name(name, &list.index(i), names::check_qualified_name, errors);
        if !seen.insert(name) {
            errors.push(Error::duplicate(&list.index(i), name));
        }
    }
}

fn check_spread(spec: &Value, list: &Path<'_>, errors: &mut Vec<Error>) {
    let mut seen = HashSet::new();
    for (i, constraint) in items(spec, "topologySpreadConstraints").iter().enumerate() {
        let path = list.index(i);
        let skew = int(constraint, "maxSkew").unwrap_or(0);
        if skew <= 0 {
            errors.push(Error::invalid(&path.child("maxSkew"), skew, "must be greater than zero"));
        }
        let key = text(constraint, "topologyKey");
        if key.is_empty() {
            errors.push(Error::required(&path.child("topologyKey"), "can not be empty"));
        } else {
            check_name(key, &path.child("topologyKey"), names::check_qualified_name, errors);
        }
        let action = text(constraint, "whenUnsatisfiable");
        if !matches!(action, "DoNotSchedule" | "ScheduleAnyway") {
            let supported = &["DoNotSchedule", "ScheduleAnyway"];
            errors.push(Error::not_supported(&path.child("whenUnsatisfiable"), action, supported));
        }
        if !seen.insert((key, action)) {
            errors.push(Error::duplicate(
                &path.child("{topologyKey, whenUnsatisfiable}"),
                format!("{{{key}, {action}}}"),
            ));
        }
        check_label_selector(constraint.get("labelSelector"), &path.child("labelSelector"), errors);
    }
}

fn check_affinity(affinity: &Value, path: &Path<'_>, errors: &mut Vec<Error>) {
    if let Some(node) = present(affinity, "nodeAffinity") {
        let path = path.child("nodeAffinity");
        if let Some(required) = present(node, "requiredDuringSchedulingIgnoredDuringExecution") {
            let path = path.child("requiredDuringSchedulingIgnoredDuringExecution");
            check_node_selector(required, &path, errors);
        }
        let list = path.child("preferredDuringSchedulingIgnoredDuringExecution");
        for (i, term) in items(node, "preferredDuringSchedulingIgnoredDuringExecution").iter().enumerate() {
            check_weight(term, &list.index(i), errors);
        }
    }
    for kind in ["podAffinity", "podAntiAffinity"] {
        let Some(pods) = present(affinity, kind) else { continue };
        let path = path.child(kind);
        let list = path.child("requiredDuringSchedulingIgnoredDuringExecution");
        for (i, term) in items(pods, "requiredDuringSchedulingIgnoredDuringExecution").iter().enumerate() {
            check_pod_term(term, &list.index(i), errors);
        }
        let list = path.child("preferredDuringSchedulingIgnoredDuringExecution");
        for (i, weighted) in items(pods, "preferredDuringSchedulingIgnoredDuringExecution").iter().enumerate() {
            let path = list.index(i);
            check_weight(weighted, &path, errors);
            if let Some(term) = present(weighted, "podAffinityTerm") {
                check_pod_term(term, &path.child("podAffinityTerm"), errors);
            }
        }
    }
}

fn check_weight(term: &Value, path: &Path<'_>, errors: &mut Vec<Error>) {
    let weight = int(term, "weight").unwrap_or(0);
    if !(1..=100).contains(&weight) {
        errors.push(Error::invalid(&path.child("weight"), weight, "must be in the range 1-100"));
    }
}

fn check_pod_term(term: &Value, path: &Path<'_>, errors: &mut Vec<Error>) {
    check_label_selector(term.get("labelSelector"), &path.child("labelSelector"), errors);
    match text(term, "topologyKey") {
        "" => errors.push(Error::required(&path.child("topologyKey"), "can not be empty")),
        key => check_name(key, &path.child("topologyKey"), names::check_qualified_name, errors),
    }
}

/// A `NodeSelector`, as in node affinity and in PersistentVolumes.
pub(in crate::strategies) fn check_node_selector(selector: &Value, path: &Path<'_>, errors: &mut Vec<Error>) {
    let terms = items(selector, "nodeSelectorTerms");
    let list = path.child("nodeSelectorTerms");
    if terms.is_empty() {
        errors.push(Error::required(&list, "must have at least one node selector term"));
    }
    for (i, term) in terms.iter().enumerate() {
        let path = list.index(i);
        let expressions = path.child("matchExpressions");
        for (i, requirement) in items(term, "matchExpressions").iter().enumerate() {
            check_node_requirement(requirement, &expressions.index(i), errors);
        }
    }
}

fn check_node_requirement(requirement: &Value, path: &Path<'_>, errors: &mut Vec<Error>) {
    let values = items(requirement, "values");
    match text(requirement, "operator") {
        "In" | "NotIn" if values.is_empty() => {
            errors.push(Error::required(&path.child("values"), "must be specified when `operator` is 'In' or 'NotIn'"))
        }
        "Exists" | "DoesNotExist" if !values.is_empty() => errors.push(Error::forbidden(
            &path.child("values"),
            "may not be specified when `operator` is 'Exists' or 'DoesNotExist'",
        )),
        "Gt" | "Lt" if values.len() != 1 => errors.push(Error::required(
            &path.child("values"),
            "must be specified single value when `operator` is 'Lt' or 'Gt'",
        )),
        "In" | "NotIn" | "Exists" | "DoesNotExist" | "Gt" | "Lt" => {}
        operator => {
            errors.push(Error::invalid(&path.child("operator"), operator, "not a valid selector operator"));
        }
    }
    check_name(text(requirement, "key"), &path.child("key"), names::check_qualified_name, errors);
}

/// A `LabelSelector` object.
pub(in crate::strategies) fn check_label_selector(selector: Option<&Value>, path: &Path<'_>, errors: &mut Vec<Error>) {
    let Some(selector) = selector.filter(|s| !s.is_null()) else { return };
    meta::validate_labels(map(selector, "matchLabels"), &path.child("matchLabels"), errors);
    let list = path.child("matchExpressions");
    for (i, expression) in items(selector, "matchExpressions").iter().enumerate() {
        let path = list.index(i);
        let values = items(expression, "values");
        match text(expression, "operator") {
            "In" | "NotIn" if values.is_empty() => errors
                .push(Error::required(&path.child("values"), "must be specified when `operator` is 'In' or 'NotIn'")),
            "Exists" | "DoesNotExist" if !values.is_empty() => errors.push(Error::forbidden(
                &path.child("values"),
                "may not be specified when `operator` is 'Exists' or 'DoesNotExist'",
            )),
            "In" | "NotIn" | "Exists" | "DoesNotExist" => {}
            operator => {
                errors.push(Error::invalid(&path.child("operator"), operator, "not a valid selector operator"));
            }
        }
        check_name(text(expression, "key"), &path.child("key"), names::check_qualified_name, errors);
        let list = path.child("values");
        for (i, value) in values.iter().enumerate() {
            check_name(value.as_str().unwrap_or_default(), &list.index(i), names::check_label_value, errors);
        }
    }
}
