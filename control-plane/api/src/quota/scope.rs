//! `spec.scopes` and `spec.scopeSelector`: which pods and claims a quota is about.

use super::Kind;
use crate::strategies::pod::qos_class;
use serde_json::{Value, json};

/// Whether the quota is about all objects.
pub(super) fn has_none(quota: &Value) -> bool {
    requirements(quota).is_empty()
}

/// Whether the object is in all scopes of the quota. Only pods and claims are in any.
pub(super) fn matches(quota: &Value, kind: Kind<'_>, object: &Value) -> bool {
    requirements(quota).iter().all(|requirement| match kind {
        ("", "pods") => pod(requirement, object),
        ("", "persistentvolumeclaims") => claim(requirement, object),
        _ => false,
    })
}

fn requirements(quota: &Value) -> Vec<Value> {
    let list = |pointer: &str| quota.pointer(pointer).and_then(Value::as_array).into_iter().flatten();
    let scopes = list("/spec/scopes").map(|scope| json!({"scopeName": scope, "operator": "Exists"}));
    scopes.chain(list("/spec/scopeSelector/matchExpressions").cloned()).collect()
}

fn text<'v>(value: &'v Value, pointer: &str) -> &'v str {
    value.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

fn pod(requirement: &Value, pod: &Value) -> bool {
    let terminating = || {
        let deadline = pod.pointer("/spec/activeDeadlineSeconds").and_then(Value::as_i64);
        deadline.is_some_and(|seconds| seconds >= 0)
    };
    match text(requirement, "/scopeName") {
        "Terminating" => terminating(),
        "NotTerminating" => !terminating(),
        "BestEffort" => qos_class(pod) == "BestEffort",
        "NotBestEffort" => qos_class(pod) != "BestEffort",
        "PriorityClass" => selects(requirement, &[text(pod, "/spec/priorityClassName")]),
        "CrossNamespacePodAffinity" => crosses_namespaces(pod),
        _ => false,
    }
}

fn claim(requirement: &Value, claim: &Value) -> bool {
    if text(requirement, "/scopeName") != "VolumeAttributesClass" {
        return false;
    }
    let names = [
        "/spec/volumeAttributesClassName",
        "/status/currentVolumeAttributesClassName",
        "/status/modifyVolumeStatus/targetVolumeAttributesClassName",
    ];
    selects(requirement, &names.map(|pointer| text(claim, pointer)))
}

/// Whether one of `values`, those that are not empty, is what the requirement asks for.
fn selects(requirement: &Value, values: &[&str]) -> bool {
    let wanted = requirement.get("values").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    let listed = |value: &&&str| wanted.iter().any(|w| w == **value);
    let mut there = values.iter().filter(|value| !value.is_empty()).peekable();
    let none = there.peek().is_none();
    match text(requirement, "/operator") {
        "Exists" => !none,
        "DoesNotExist" => none,
        "In" => there.any(|value| listed(&value)),
        "NotIn" => none || there.any(|value| !listed(&value)),
        _ => false,
    }
}

/// Whether the pod's affinity looks at pods of other namespaces.
fn crosses_namespaces(pod: &Value) -> bool {
    let crosses = |term: &Value| {
        term.get("namespaces").and_then(Value::as_array).is_some_and(|list| !list.is_empty())
            || term.get("namespaceSelector").is_some_and(|selector| !selector.is_null())
    };
    ["podAffinity", "podAntiAffinity"].iter().any(|affinity| {
        let list = |field: &str| pod.pointer(&format!("/spec/affinity/{affinity}/{field}")).and_then(Value::as_array);
        let required = list("requiredDuringSchedulingIgnoredDuringExecution").into_iter().flatten();
        let preferred = list("preferredDuringSchedulingIgnoredDuringExecution").into_iter().flatten();
        required.chain(preferred.filter_map(|weighted| weighted.get("podAffinityTerm"))).any(crosses)
    })
}
