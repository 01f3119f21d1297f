//! What may change in a pod after its creation (`ValidatePodUpdate`): next to nothing.

use crate::field::{Error, Path};
use crate::strategies::internal_diff;
use crate::strategies::json::{Object, int, items, map, text};
use crate::strategy::Strategy as _;
use serde_json::{Value, json};
use std::collections::HashSet;

const IMMUTABLE: &str = "pod updates may not change fields other than `spec.containers[*].image`,`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing tolerations),`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)";

pub(super) fn check(pod: &Value, old_pod: &Value) -> Vec<Error> {
    let mut errors = Vec::new();
    if pod.get("spec") == old_pod.get("spec") {
        return errors;
    }
    // An older version may have stored less: defaults are no change.
    let mut old_pod = json!({"spec": old_pod.get("spec")});
    super::Pod.default(&mut old_pod);
    let (Some(new), Some(old)) = (map(pod, "spec"), map(&old_pod, "spec")) else { return errors };
    if new == old {
        return errors;
    }
    let (new_spec, old_spec) = (&pod["spec"], &old_pod["spec"]);
    let gated = !items(old_spec, "schedulingGates").is_empty();
    if !check_containers(new_spec, old_spec, &mut errors) || !check_deadline(new_spec, old_spec, &mut errors) {
        return errors;
    }
    check_tolerations(new_spec, old_spec, &mut errors);
    check_gates(new_spec, old_spec, &mut errors);
    // Make the allowed fields equal to the old ones; nothing else may differ then.
    let mut munged = new.clone();
    for list in ["containers", "initContainers"] {
        restore_images(&mut munged, old, list);
    }
    let mut restored = vec!["activeDeadlineSeconds", "tolerations", "schedulingGates"];
    if gated {
        check_node_selector(new_spec, old_spec, &mut errors);
        check_node_affinity(new_spec, old_spec, &mut errors);
        restored.push("nodeSelector");
        restore_node_affinity(&mut munged, old);
    }
    if int(old_spec, "terminationGracePeriodSeconds").is_some_and(|s| s < 0)
        && int(new_spec, "terminationGracePeriodSeconds") == Some(1)
    {
        restored.push("terminationGracePeriodSeconds");
    }
    for field in restored {
        match old.get(field) {
            Some(value) => munged.insert(field.into(), value.clone()),
            None => munged.remove(field),
        };
    }
    if &munged != old {
        let difference = internal_diff::of_pod_specs(old_spec, &Value::Object(munged));
        let message = format!("{IMMUTABLE}\n{difference}");
        errors.push(Error::forbidden(&Path::new("spec"), message));
    }
    errors
}

/// Whether the rest can be looked at.
fn check_containers(new: &Value, old: &Value, errors: &mut Vec<Error>) -> bool {
    let spec = Path::new("spec");
    for list in ["containers", "initContainers"] {
        let path = spec.child(list);
        if items(new, list).len() != items(old, list).len() {
            errors.push(Error::forbidden(&path, "pod updates may not add or remove containers"));
            return false;
        }
        for (i, container) in items(new, list).iter().enumerate() {
            let at = path.index(i);
            if text(container, "image").is_empty() {
                errors.push(Error::required(&at.child("image"), ""));
            }
            super::containers::check_trimmed_image(container, &at, errors);
        }
    }
    true
}

/// Whether the rest can be looked at.
fn check_deadline(new: &Value, old: &Value, errors: &mut Vec<Error>) -> bool {
    let path = Path::new("spec.activeDeadlineSeconds");
    match (int(new, "activeDeadlineSeconds"), int(old, "activeDeadlineSeconds")) {
        (Some(new), _) if !(0..=i64::from(i32::MAX)).contains(&new) => {
            errors.push(Error::invalid(&path, new, format!("must be between 0 and {}, inclusive", i32::MAX)));
            return false;
        }
        (Some(new), Some(old)) if new > old => {
            errors.push(Error::invalid(&path, new, "must be less than or equal to previous value"));
            return false;
        }
        (None, Some(_)) => {
            let detail = "must not update from a positive integer to nil value";
            errors.push(Error::invalid(&path, Value::Null, detail));
        }
        _ => {}
    }
    true
}

/// A pod that waits may be told more of where it may go, but nothing else.
fn check_node_selector(new: &Value, old: &Value, errors: &mut Vec<Error>) {
    let (new, path) = (map(new, "nodeSelector"), Path::new("spec.nodeSelector"));
    let kept = |(key, value): (&String, &Value)| new.and_then(|new| new.get(key)) == Some(value);
    if !map(old, "nodeSelector").into_iter().flatten().all(kept) {
        let detail = "only additions to spec.nodeSelector are allowed (no mutations or deletions)";
        let shown = new.map_or(Value::Null, |new| new.clone().into());
        errors.push(Error::invalid(&path, shown, detail));
    }
}

const NODE_TERMS: &str = "/affinity/nodeAffinity/requiredDuringSchedulingIgnoredDuringExecution/nodeSelectorTerms";

fn check_node_affinity(new: &Value, old: &Value, errors: &mut Vec<Error>) {
    let terms = |spec: &'_ Value| spec.pointer(NODE_TERMS).and_then(Value::as_array).cloned().unwrap_or_default();
    let (new, old) = (terms(new), terms(old));
    if new == old || old.is_empty() {
        return;
    }
    let spec = Path::new("spec");
    let list = spec.child("affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms");
    if new.len() != old.len() {
        let detail = "no additions/deletions to non-empty NodeSelectorTerms list are allowed";
        return errors.push(Error::invalid(&list, new, detail));
    }
    for (i, (new, old)) in new.iter().zip(&old).enumerate() {
        let only_more = |field: &str| items(new, field).starts_with(items(old, field));
        let fields = ["matchExpressions", "matchFields"];
        let empty = |term: &Value| fields.iter().all(|field| items(term, field).is_empty());
        if (empty(old) && !empty(new)) || !fields.iter().all(|field| only_more(field)) {
            let detail = "only additions are allowed (no mutations or deletions)";
            errors.push(Error::invalid(&list.index(i), new.clone(), detail));
        }
    }
}

/// Makes the node affinity of `munged` that of `old`; other affinities stay as they are and are compared.
fn restore_node_affinity(munged: &mut Object, old: &Object) {
    let before = old.get("affinity").and_then(|affinity| affinity.get("nodeAffinity"));
    let mut affinity = munged.get("affinity").and_then(Value::as_object).cloned().unwrap_or_default();
    match before {
        Some(value) => affinity.insert("nodeAffinity".into(), value.clone()),
        None => affinity.remove("nodeAffinity"),
    };
    if affinity.is_empty() && !old.contains_key("affinity") {
        munged.remove("affinity");
    } else {
        munged.insert("affinity".into(), affinity.into());
    }
}

fn check_tolerations(new: &Value, old: &Value, errors: &mut Vec<Error>) {
    // An old toleration may only change how long it holds.
    let meant = |toleration: &'_ Value| {
        ["key", "operator", "value", "effect"].map(|field| toleration.get(field).map(Value::to_string))
    };
    let there: HashSet<_> = items(new, "tolerations").iter().map(meant).collect();
    if !items(old, "tolerations").iter().all(|toleration| there.contains(&meant(toleration))) {
        let detail = "existing toleration can not be modified except its tolerationSeconds";
        errors.push(Error::forbidden(&Path::new("spec.tolerations"), detail));
    }
}

fn check_gates(new: &Value, old: &Value, errors: &mut Vec<Error>) {
    let known: HashSet<&str> = items(old, "schedulingGates").iter().map(|g| text(g, "name")).collect();
    let path = Path::new("spec.schedulingGates");
    for (i, gate) in items(new, "schedulingGates").iter().enumerate() {
        let name = text(gate, "name");
        if !known.contains(name) {
            let detail = format!("only deletion is allowed, but found new scheduling gate '{name}'");
            errors.push(Error::forbidden(&path.index(i).child("name"), detail));
        }
    }
}

fn restore_images(munged: &mut Object, old: &Object, list: &str) {
    let Some(containers) = munged.get_mut(list).and_then(Value::as_array_mut) else { return };
    let before = old.get(list).and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    for (container, old) in containers.iter_mut().filter_map(Value::as_object_mut).zip(before) {
        container.insert("image".into(), old.get("image").cloned().unwrap_or(json!("")));
    }
}
