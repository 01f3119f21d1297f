//! The subresources that change a part of a pod's spec: `ephemeralcontainers` and `resize` (`ValidatePodResize`,
//! `ValidatePodEphemeralContainersUpdate`).

use super::{Object, items, map, qos_class, text};
use crate::field::{Error, Path};
use crate::meta;
use crate::strategies::internal_diff;
use serde_json::Value;
use std::collections::HashMap;

const MIRROR: &str = "kubernetes.io/config.mirror";
const RESIZABLE: [&str; 2] = ["cpu", "memory"];

/// Leaves of `pod` only what `subresource` may change; the rest becomes what it is in `old`.
pub(super) fn prepare(subresource: &str, pod: &mut Value, old: &Value) {
    let mut wanted = std::mem::replace(pod, old.clone());
    let Some(spec) = pod.get_mut("spec").and_then(Value::as_object_mut) else { return };
    if subresource == "ephemeralcontainers" {
        match wanted.get_mut("spec").and_then(|s| s.get_mut("ephemeralContainers")).map(Value::take) {
            Some(list) if !list.is_null() => spec.insert("ephemeralContainers".into(), list),
            _ => spec.remove("ephemeralContainers"),
        };
        return;
    }
    for list in ["containers", "initContainers"] {
        let mut new: HashMap<Option<String>, &Value> = HashMap::new();
        for container in items(&wanted["spec"], list) {
            new.entry(container.get("name").map(Value::to_string)).or_insert(container);
        }
        let containers = spec.get_mut(list).and_then(Value::as_array_mut).into_iter().flatten();
        for container in containers.filter_map(Value::as_object_mut) {
            let Some(new) = new.get(&container.get("name").map(Value::to_string)) else { continue };
            for field in ["resources", "resizePolicy"] {
                match new.get(field) {
                    Some(value) => container.insert(field.into(), value.clone()),
                    None => container.remove(field),
                };
            }
        }
    }
}

pub(super) fn check(subresource: &str, pod: &Value, old: &Value) -> Vec<Error> {
    let is_mirror = meta::annotation(old, MIRROR).is_some();
    let mut errors = Vec::new();
    match subresource {
        "ephemeralcontainers" if is_mirror => {
            errors.push(Error::forbidden(&Path::new(""), "static pods do not support ephemeral containers"));
        }
        "ephemeralcontainers" => check_ephemeral(&pod["spec"], &old["spec"], &mut errors),
        "resize" if is_mirror => errors.push(Error::forbidden(&Path::new(""), "static pods cannot be resized")),
        "resize" => check_resize(pod, old, &mut errors),
        _ => {}
    }
    errors
}

/// Those that are there stay as they are.
fn check_ephemeral(new: &Value, old: &Value, errors: &mut Vec<Error>) {
    let path = Path::new("spec.ephemeralContainers");
    let mut there: HashMap<&str, &Value> = HashMap::new();
    for container in items(new, "ephemeralContainers") {
        there.entry(text(container, "name")).or_insert(container);
    }
    for before in items(old, "ephemeralContainers") {
        let name = text(before, "name");
        match there.get(name).copied() {
            None => {
                let detail = format!("existing ephemeral containers {name:?} may not be removed\n");
                errors.push(Error::forbidden(&path, detail));
            }
            Some(after) if after != before => {
                let difference = internal_diff::of("EphemeralContainer", before, after);
                let detail = format!("existing ephemeral containers {name:?} may not be changed\n{difference}");
                errors.push(Error::forbidden(&path, detail));
            }
            Some(_) => {}
        }
    }
}

fn check_resize(pod: &Value, old: &Value, errors: &mut Vec<Error>) {
    let spec = Path::new("spec");
    let (before, after) = (qos_class(old), qos_class(pod));
    if before != after {
        let detail = "Pod QOS Class may not change as a result of resizing";
        let shown = pod.pointer("/status/qosClass").cloned().unwrap_or_else(|| before.into());
        errors.push(Error::invalid(&spec, shown, detail));
    }
    if !supports_resize(old) {
        errors.push(Error::forbidden(&spec, "Pod running on node without support for resize"));
    }
    let mut others = false;
    for list in ["containers", "initContainers"] {
        let path = spec.child(list);
        for (i, (new, old)) in items(&pod["spec"], list).iter().zip(items(&old["spec"], list)).enumerate() {
            if list == "initContainers" && text(old, "restartPolicy") != "Always" {
                if new.get("resources") != old.get("resources") {
                    let detail = "resources for non-sidecar init containers are immutable";
                    errors.push(Error::forbidden(&path, detail));
                }
                continue;
            }
            let path = path.index(i);
            let path = path.child("resources");
            for (field, detail) in
                [("requests", "resource requests cannot be removed"), ("limits", "resource limits cannot be removed")]
            {
                let (new, old) = (amounts(new, field), amounts(old, field));
                let has = |list: Option<&Object>, name: &str| list.is_some_and(|list| list.contains_key(name));
                if RESIZABLE.iter().any(|name| has(old, name) && !has(new, name)) {
                    errors.push(Error::forbidden(&path.child(field), detail));
                }
                others |= fixed(new) != fixed(old);
            }
            others |= new.pointer("/resources/claims") != old.pointer("/resources/claims");
        }
    }
    if others {
        errors.push(Error::forbidden(&spec, "only cpu and memory resources are mutable"));
    }
}

fn amounts<'a>(container: &'a Value, field: &str) -> Option<&'a Object> {
    container.get("resources").and_then(|resources| map(resources, field))
}

/// The amounts that a resize may not change.
fn fixed(list: Option<&Object>) -> Vec<(&String, &Value)> {
    list.into_iter().flatten().filter(|(name, _)| !RESIZABLE.contains(&name.as_str())).collect()
}

/// A node that can resize says what its running containers have. Of a pod that does not run nothing is known yet.
fn supports_resize(pod: &Value) -> bool {
    let statuses = pod.pointer("/status/containerStatuses").and_then(Value::as_array).into_iter().flatten();
    let running = |status: &&Value| status.pointer("/state/running").is_some_and(|state| !state.is_null());
    statuses.into_iter().find(running).is_none_or(|status| map(status, "resources").is_some())
}
