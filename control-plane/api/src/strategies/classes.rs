//! PriorityClass, StorageClass, RuntimeClass and what storage drivers write: who uses them, how, and what of them stays as
//! it was made (`pkg/apis/{scheduling,storage,node}/validation`).

use super::internal;
use super::json::{check_immutable, check_name, check_one_of, int, items, map, present, text};
use super::pod::{check_list, check_tolerations};
use crate::field::{Error, Path};
use crate::{meta, names};
use serde_json::{Value, json};
use std::collections::HashSet;

const SYSTEM_PREFIX: &str = "system-";
/// Above are the system's own.
const HIGHEST_USER_PRIORITY: i64 = 1_000_000_000;
const SYSTEM_CLASSES: [(&str, i64); 2] =
    [("system-node-critical", 2_000_001_000), ("system-cluster-critical", 2_000_000_000)];
const PARAMETERS_MAX: usize = 512;
const PARAMETERS_MAX_BYTES: usize = 256 * 1024;

pub(super) fn priority_class(object: &Value) -> Vec<Error> {
    let mut errors = Vec::new();
    let (name, value) = (meta::name(object), int(object, "value").unwrap_or(0));
    let root = Path::new("");
    if name.starts_with(SYSTEM_PREFIX) {
        let known = SYSTEM_CLASSES.iter().find(|(known, _)| *known == name);
        let global = object.get("globalDefault") == Some(&Value::Bool(true));
        let problem = match known {
            None => Some(format!("{name} is not a known system priority class")),
            Some((_, wanted)) if *wanted != value => Some(format!("value of {name} PriorityClass must be {wanted}")),
            Some(_) if global => Some(format!("globalDefault of {name} PriorityClass must be false")),
            Some(_) => None,
        };
        if let Some(problem) = problem {
            let detail = format!(
                "priority class names with '{SYSTEM_PREFIX}' prefix are reserved for system use only. error: {problem}"
            );
            errors.push(Error::forbidden(&Path::new("metadata.name"), detail));
        }
    } else if value > HIGHEST_USER_PRIORITY {
        let detail = format!("maximum allowed value of a user defined priority is {HIGHEST_USER_PRIORITY}");
        errors.push(Error::forbidden(&root.child("value"), detail));
    }
    check_one_of(object, "preemptionPolicy", &["PreemptLowerPriority", "Never"], &root, &mut errors);
    errors
}

pub(super) fn storage_class(object: &Value) -> Vec<Error> {
    let (mut errors, root) = (Vec::new(), Path::new(""));
    check_provisioner(object, "provisioner", &mut errors);
    check_parameters(object, &root.child("parameters"), &mut errors);
    check_one_of(object, "reclaimPolicy", &["Delete", "Retain"], &root, &mut errors);
    check_one_of(object, "volumeBindingMode", &["Immediate", "WaitForFirstConsumer"], &root, &mut errors);
    super::storage::check_topologies(object, &mut errors);
    errors
}

pub(super) fn attributes_class(object: &Value) -> Vec<Error> {
    let mut errors = Vec::new();
    check_provisioner(object, "driverName", &mut errors);
    check_parameters(object, &Path::new("parameters"), &mut errors);
    super::storage::check_some_parameters(object, &mut errors);
    errors
}

/// Who makes the volumes: a qualified name whose case does not matter.
fn check_provisioner(object: &Value, field: &str, errors: &mut Vec<Error>) {
    let path = Path::new(field);
    match text(object, field) {
        "" => errors.push(Error::required(&path, "")),
        provisioner => {
            let lower = provisioner.to_lowercase();
            check_name(&lower, &path, names::check_qualified_name, errors);
        }
    }
}

fn check_parameters(object: &Value, path: &Path<'_>, errors: &mut Vec<Error>) {
    let Some(parameters) = map(object, "parameters") else { return };
    if parameters.len() > PARAMETERS_MAX {
        return errors.push(Error::too_long(path, PARAMETERS_MAX));
    }
    if parameters.contains_key("") {
        errors.push(Error::invalid(path, "", "field can not be empty."));
    }
    let bytes: usize = parameters.iter().map(|(k, v)| k.len() + v.as_str().map_or(0, str::len)).sum();
    if bytes > PARAMETERS_MAX_BYTES {
        errors.push(Error::too_long(path, PARAMETERS_MAX_BYTES));
    }
}

pub(super) fn runtime_class(object: &Value) -> Vec<Error> {
    let (mut errors, root) = (Vec::new(), Path::new(""));
    check_name(text(object, "handler"), &root.child("handler"), names::check_dns1123_label, &mut errors);
    let fixed = object.pointer("/overhead/podFixed").and_then(Value::as_object);
    check_list(fixed, &Path::new("overhead.podFixed"), &mut errors);
    if let Some(scheduling) = present(object, "scheduling") {
        let (path, selector) = (Path::new("scheduling"), map(scheduling, "nodeSelector"));
        meta::validate_labels(selector, &path.child("nodeSelector"), &mut errors);
        check_schedule(items(scheduling, "tolerations"), &path.child("tolerations"), &mut errors);
    }
    errors
}

/// Tolerations that a class gives its pods: valid, and each given once.
fn check_schedule(tolerations: &[Value], list: &Path<'_>, errors: &mut Vec<Error>) {
    let mut seen = HashSet::new();
    for (i, toleration) in tolerations.iter().enumerate() {
        if !seen.insert(toleration.to_string()) {
            errors.push(Error::duplicate(&list.index(i), toleration.clone()));
        }
    }
    check_tolerations(tolerations, list, errors);
}

/// Steps that an update may not take.
pub(super) fn update(kind: &str, object: &Value, old: &Value) -> Vec<Error> {
    let (mut errors, root) = (Vec::new(), Path::new(""));
    let mut forbid = |field: &str, detail: &str| {
        let differs = match (object.get(field), old.get(field)) {
            (Some(Value::Object(map)), None) | (None, Some(Value::Object(map))) => !map.is_empty(),
            (new, old) => new != old,
        };
        if differs {
            errors.push(Error::forbidden(&root.child(field), detail));
        }
    };
    match kind {
        "PriorityClass" => {
            forbid("value", "may not be changed in an update.");
            check_immutable(object, old, "preemptionPolicy", &root, &mut errors);
        }
        "StorageClass" => {
            forbid("parameters", "updates to parameters are forbidden.");
            forbid("provisioner", "updates to provisioner are forbidden.");
            forbid("reclaimPolicy", "updates to reclaimPolicy are forbidden.");
            check_immutable(object, old, "volumeBindingMode", &root, &mut errors);
        }
        "VolumeAttributesClass" => {
            forbid("driverName", "updates to driverName are forbidden.");
            forbid("parameters", "updates to parameters are forbidden.");
        }
        "RuntimeClass" => check_immutable(object, old, "handler", &root, &mut errors),
        "VolumeAttachment" => {
            internal::check_immutable(object, old, ("spec", internal::VOLUME_ATTACHMENT), &root, &mut errors);
        }
        "CSIDriver" => {
            let (none, path) = (json!({}), Path::new("spec"));
            let (new, old) = (object.get("spec").unwrap_or(&none), old.get("spec").unwrap_or(&none));
            if new.get("attachRequired") != old.get("attachRequired") {
                let value = new.get("attachRequired").cloned().unwrap_or(Value::Null);
                errors.push(Error::invalid(&path.child("attachedRequired"), value, meta::IMMUTABLE));
            }
            check_immutable(new, old, "volumeLifecycleModes", &path, &mut errors);
        }
        "CSINode" => errors.extend(super::storage::csi_node_update(object, old)),
        "CSIStorageCapacity" => {
            for field in ["nodeTopology", "storageClassName"] {
                check_immutable(object, old, field, &root, &mut errors);
            }
        }
        _ => {}
    }
    errors
}
