//! LimitRange and ResourceQuota. Their enforcement is admission's.

use super::json::{Object, each_mut, existing_mut, items, map, object_mut, spec_mut, text};
use super::pod::{canonical_list, check_list, check_quantity, check_resource_name};
use crate::field::{Error, Path};
use crate::quantity::Quantity;
use crate::strategy::Strategy;
use serde_json::{Value, json};
use std::collections::HashSet;

fn spec(object: &Value) -> &Value {
    object.get("spec").unwrap_or(&Value::Null)
}

pub(super) struct LimitRange;

impl Strategy for LimitRange {
    fn default(&self, object: &mut Value) {
        let Some(spec) = spec_mut(object) else { return };
        for limit in each_mut(spec, "limits") {
            for list in ["max", "min", "default", "defaultRequest", "maxLimitRequestRatio"] {
                if let Some(list) = existing_mut(limit, list) {
                    canonical_list(list);
                }
            }
            if limit.get("type").and_then(Value::as_str) == Some("Container") {
                default_container_limit(limit);
            }
        }
    }

    fn validate(&self, object: &Value) -> Vec<Error> {
        let mut errors = Vec::new();
        let mut seen = HashSet::new();
        let list = Path::new("spec.limits");
        for (i, limit) in items(spec(object), "limits").iter().enumerate() {
            let path = list.index(i);
            let kind = text(limit, "type");
            if kind.is_empty() {
                errors.push(Error::required(&path.child("type"), ""));
            } else if !seen.insert(kind) {
                errors.push(Error::duplicate(&path.child("type"), kind));
            }
            check_limit(limit, kind, &path, &mut errors);
        }
        errors
    }

    fn has_generation(&self) -> bool {
        false
    }

    fn create_on_update(&self) -> bool {
        true
    }
}

/// A container's default limit is the maximum; its default request the default limit, else the minimum.
fn default_container_limit(limit: &mut Object) {
    let list = |limit: &Object, field: &str| limit.get(field).and_then(Value::as_object).cloned().unwrap_or_default();
    let (max, min) = (list(limit, "max"), list(limit, "min"));
    let defaults = object_mut(limit, "default").map(|defaults| {
        for (name, value) in max {
            defaults.entry(name).or_insert(value);
        }
        defaults.clone()
    });
    if let Some(requests) = object_mut(limit, "defaultRequest") {
        for (name, value) in defaults.unwrap_or_default().into_iter().chain(min) {
            requests.entry(name).or_insert(value);
        }
    }
    for field in ["default", "defaultRequest"] {
        if limit.get(field).and_then(Value::as_object).is_some_and(Object::is_empty) {
            limit.remove(field);
        }
    }
}

fn check_limit(limit: &Value, kind: &str, path: &Path<'_>, errors: &mut Vec<Error>) {
    const LISTS: [&str; 5] = ["max", "min", "default", "defaultRequest", "maxLimitRequestRatio"];
    for list in LISTS {
        check_list(map(limit, list), &path.child(list), errors);
    }
    if kind == "Pod" {
        for list in ["default", "defaultRequest"] {
            if map(limit, list).is_some_and(|l| !l.is_empty()) {
                errors.push(Error::forbidden(&path.child(list), "may not be specified when `type` is 'Pod'"));
            }
        }
    }
    if kind == "PersistentVolumeClaim" {
        let has = |list: &str| map(limit, list).is_some_and(|l| l.contains_key("storage"));
        if !has("min") && !has("max") {
            let detail = "either minimum or maximum storage value is required, but neither was provided";
            errors.push(Error::required(&path.child("limits"), detail));
        }
    }
    let amount = |list: &str, name: &str| map(limit, list)?.get(name).and_then(|v| Quantity::from_value(v).ok());
    let names: HashSet<&String> = LISTS.iter().filter_map(|l| map(limit, l)).flat_map(|l| l.keys()).collect();
    // Each of these may not be above the one after it.
    let order = [
        ("min", "max"),
        ("min", "defaultRequest"),
        ("min", "default"),
        ("defaultRequest", "max"),
        ("defaultRequest", "default"),
        ("default", "max"),
    ];
    for name in names {
        for (low, high) in order {
            if let (Some(small), Some(big)) = (amount(low, name), amount(high, name))
                && small > big
            {
                let (field, detail) = match (low, high) {
                    ("min", "max") => ("min", format!("min value {small} is greater than max value {big}")),
                    ("min", other) => {
                        (other, format!("min value {small} is greater than {} value {big}", words(other)))
                    }
                    (low, high) => {
                        (low, format!("{} value {small} is greater than {} value {big}", words(low), words(high)))
                    }
                };
                let list = path.child(field);
                errors.push(Error::invalid(
                    &list.key(name),
                    amount(field, name).unwrap_or_default().to_string(),
                    detail,
                ));
            }
        }
    }
}

fn words(list: &str) -> &str {
    match list {
        "defaultRequest" => "default request",
        "default" => "default",
        other => other,
    }
}

pub(super) struct ResourceQuota;

impl Strategy for ResourceQuota {
    fn default(&self, object: &mut Value) {
        let Some(object) = object.as_object_mut() else { return };
        for (part, list) in [("spec", "hard"), ("status", "hard"), ("status", "used")] {
            if let Some(list) = existing_mut(object, part).and_then(|p| existing_mut(p, list)) {
                canonical_list(list);
            }
        }
    }

    fn new_status(&self) -> Option<Value> {
        Some(json!({}))
    }

    fn validate(&self, object: &Value) -> Vec<Error> {
        let (mut errors, spec, path) = (Vec::new(), spec(object), Path::new("spec"));
        let hard = path.child("hard");
        for (name, value) in map(spec, "hard").into_iter().flatten() {
            let path = hard.key(name);
            check_resource_name(name, &path, &mut errors);
            check_quantity(name, value, &path, &mut errors);
        }
        check_scopes(spec, &path.child("scopes"), &mut errors);
        errors
    }

    fn validate_update(&self, object: &Value, old: &Value) -> Vec<Error> {
        let sorted = |object: &Value| {
            let mut scopes: Vec<String> = items(spec(object), "scopes").iter().map(ToString::to_string).collect();
            scopes.sort();
            scopes
        };
        if sorted(object) == sorted(old) {
            return Vec::new();
        }
        let shown = spec(object).get("scopes").cloned().unwrap_or(Value::Null);
        vec![Error::invalid(&Path::new("spec.scopes"), shown, crate::meta::IMMUTABLE)]
    }

    fn has_generation(&self) -> bool {
        false
    }
}

fn check_scopes(spec: &Value, path: &Path<'_>, errors: &mut Vec<Error>) {
    const SCOPES: &[&str] = &[
        "BestEffort",
        "CrossNamespacePodAffinity",
        "NotBestEffort",
        "NotTerminating",
        "PriorityClass",
        "Terminating",
        "VolumeAttributesClass",
    ];
    let scopes: Vec<&str> = items(spec, "scopes").iter().filter_map(Value::as_str).collect();
    if scopes.iter().any(|s| !SCOPES.contains(s)) {
        errors.push(Error::invalid(path, spec["scopes"].clone(), "unsupported scope"));
    }
    for (one, other) in [("BestEffort", "NotBestEffort"), ("Terminating", "NotTerminating")] {
        if scopes.contains(&one) && scopes.contains(&other) {
            errors.push(Error::invalid(path, spec["scopes"].clone(), "conflicting scopes"));
        }
    }
}
