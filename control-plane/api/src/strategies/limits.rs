//! LimitRange and ResourceQuota. Their enforcement is admission's.

use super::json::{Object, check_name, each_mut, existing_mut, items, map, object_mut, spec_mut, text};
use super::pod::{
    canonical_list, check_container_resource_name, check_quantity, check_resource_name, overcommit_allowed,
};
use crate::field::{Error, Path};
use crate::names;
use crate::quantity::Quantity;
use crate::strategy::Strategy;
use serde_json::{Value, json};
use std::collections::{BTreeSet, HashSet};

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
            let at = path.child("type");
            let before = errors.len();
            check_name(kind, &at, names::check_qualified_name, &mut errors);
            let standard = matches!(kind, "Pod" | "Container" | "PersistentVolumeClaim");
            if errors.len() == before && !kind.contains('/') && !standard {
                errors.push(Error::invalid(&at, kind, "must be a standard limit type or fully qualified"));
            }
            if !seen.insert(kind) {
                errors.push(Error::duplicate(&at, kind));
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

/// The lists of one limit, in the order in which Kubernetes looks at them.
const LISTS: [&str; 5] = ["max", "min", "default", "defaultRequest", "maxLimitRequestRatio"];

fn check_limit(limit: &Value, kind: &str, path: &Path<'_>, errors: &mut Vec<Error>) {
    let of_pods = matches!(kind, "Pod" | "Container");
    let mut names = BTreeSet::new();
    for list in LISTS {
        let (amounts, at) = (map(limit, list).filter(|amounts| !amounts.is_empty()), path.child(list));
        if list == "maxLimitRequestRatio" && kind == "PersistentVolumeClaim" {
            let has = |list: &str| map(limit, list).is_some_and(|l| l.contains_key("storage"));
            if !has("min") && !has("max") {
                let detail = "either minimum or maximum storage value is required, but neither was provided";
                errors.push(Error::required(&path.child("limits"), detail));
            }
        }
        if kind == "Pod" && matches!(list, "default" | "defaultRequest") {
            if amounts.is_some() {
                errors.push(Error::forbidden(&at, "may not be specified when `type` is 'Pod'"));
            }
            continue;
        }
        for (name, value) in amounts.into_iter().flatten() {
            let at = at.key(name);
            if of_pods {
                check_container_resource_name(name, &at, errors);
            } else {
                check_resource_name(name, &at, errors);
            }
            if Quantity::from_value(value).is_err() {
                check_quantity(name, value, &at, errors);
            }
            names.insert(name.as_str());
        }
    }
    for name in names {
        check_order(limit, kind, name, path, errors);
        check_ratio(limit, name, path, errors);
    }
}

/// A minimum is at most the defaults and the maximum, and so on. What is shown as the value is Kubernetes' choice.
fn check_order(limit: &Value, kind: &str, name: &str, path: &Path<'_>, errors: &mut Vec<Error>) {
    // (the lower list, its name in the text, the higher one, its name, where the fault is shown, whose amount)
    const ORDER: [(&str, &str, &str, &str, &str, &str); 6] = [
        ("min", "min", "max", "max", "min", "min"),
        ("min", "min", "defaultRequest", "default request", "defaultRequest", "defaultRequest"),
        ("defaultRequest", "default request", "max", "max", "defaultRequest", "defaultRequest"),
        ("defaultRequest", "default request", "default", "default limit", "defaultRequest", "defaultRequest"),
        ("min", "min", "default", "default", "default", "min"),
        ("default", "default", "max", "max", "default", "max"),
    ];
    let amount = |list: &str| {
        let counts = kind != "Pod" || !list.starts_with("default");
        counts.then(|| map(limit, list)?.get(name).and_then(|v| Quantity::from_value(v).ok())).flatten()
    };
    for (low, low_name, high, high_name, place, shown) in ORDER {
        let (Some(small), Some(big)) = (amount(low), amount(high)) else { continue };
        if small > big {
            let (list, shown) = (path.child(place), amount(shown).unwrap_or_default());
            let detail = format!("{low_name} value {small} is greater than {high_name} value {big}");
            errors.push(Error::invalid(&list.key(name), shown.to_string(), detail));
        }
    }
    if let (Some(default), Some(request), false) =
        (amount("default"), amount("defaultRequest"), overcommit_allowed(name))
        && default != request
    {
        let list = path.child("defaultRequest");
        let detail = format!("default value {default} must equal to defaultRequest value {request} in {name}");
        errors.push(Error::invalid(&list.key(name), request.to_string(), detail));
    }
}

/// A ratio is at least 1, and no more than minimum and maximum leave room for.
fn check_ratio(limit: &Value, name: &str, path: &Path<'_>, errors: &mut Vec<Error>) {
    let amount = |list: &str| map(limit, list)?.get(name).and_then(|v| Quantity::from_value(v).ok());
    let Some(ratio) = amount("maxLimitRequestRatio") else { return };
    let list = path.child("maxLimitRequestRatio");
    if ratio < Quantity::from_int(1) {
        errors.push(Error::invalid(&list.key(name), ratio.to_string(), format!("ratio {ratio} is less than 1")));
    }
    let (Some(min), Some(max)) = (amount("min"), amount("max")) else { return };
    #[allow(clippy::cast_precision_loss, reason = "fractions of a unit count where the numbers leave room for them")]
    let (most, own) = (max.nanos() as f64 / min.nanos() as f64, ratio.nanos() as f64 / 1e9);
    if own > most {
        let detail = format!("ratio {ratio} is greater than max/min = {most:.6}");
        errors.push(Error::invalid(&list.key(name), ratio.to_string(), detail));
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
        let mut errors = Vec::new();
        check_quota_spec(spec(object), &mut errors);
        check_quota_status(object, &mut errors);
        errors
    }

    fn validate_change(&self, object: &Value, old: &Value) -> Vec<Error> {
        let mut errors = Vec::new();
        check_quota_spec(spec(object), &mut errors);
        errors.extend(self.validate_update(object, old));
        errors
    }

    fn validate_status_update(&self, object: &Value, _old: &Value) -> Vec<Error> {
        let mut errors = Vec::new();
        check_quota_status(object, &mut errors);
        errors
    }

    fn validate_update(&self, object: &Value, old: &Value) -> Vec<Error> {
        let sorted = |object: &Value| {
            let scopes = items(spec(object), "scopes").iter().filter_map(Value::as_str);
            scopes.map(str::to_owned).collect::<BTreeSet<String>>()
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

/// Names without a domain that a quota may bound.
const QUOTA_NAMES: &[&str] = &[
    "cpu",
    "memory",
    "ephemeral-storage",
    "requests.cpu",
    "requests.memory",
    "requests.storage",
    "requests.ephemeral-storage",
    "limits.cpu",
    "limits.memory",
    "limits.ephemeral-storage",
    "pods",
    "resourcequotas",
    "services",
    "replicationcontrollers",
    "secrets",
    "persistentvolumeclaims",
    "configmaps",
    "services.nodeports",
    "services.loadbalancers",
];

fn is_quota_name(name: &str) -> bool {
    QUOTA_NAMES.contains(&name) || name.starts_with("hugepages-") || name.starts_with("requests.hugepages-")
}

fn check_quota_list(list: Option<&Object>, path: &Path<'_>, errors: &mut Vec<Error>) {
    for (name, value) in list.into_iter().flatten() {
        let path = path.key(name);
        check_resource_name(name, &path, errors);
        if !name.contains('/') && !is_quota_name(name) {
            errors.push(Error::invalid(&path, name.as_str(), "must be a standard resource for quota"));
        }
        check_quantity(name, value, &path, errors);
    }
}

fn check_quota_status(object: &Value, errors: &mut Vec<Error>) {
    let (status, path) = (object.get("status").unwrap_or(&Value::Null), Path::new("status"));
    for list in ["hard", "used"] {
        check_quota_list(map(status, list), &path.child(list), errors);
    }
}

/// Most faults of scopes that are looked for: each shows all scopes, and there may be one for each pair of a scope and an amount.
const MAX_ERRORS: usize = 100;

fn check_quota_spec(spec: &Value, errors: &mut Vec<Error>) {
    let path = Path::new("spec");
    check_quota_list(map(spec, "hard"), &path.child("hard"), errors);
    let scopes: Vec<&str> = items(spec, "scopes").iter().filter_map(Value::as_str).collect();
    let (at, shown) = (path.child("scopes"), spec.get("scopes").cloned().unwrap_or_default());
    for scope in &scopes {
        if errors.len() >= MAX_ERRORS {
            return;
        }
        if !SCOPES.contains(scope) {
            errors.push(Error::invalid(&at, shown.clone(), "unsupported scope"));
        }
        for _ in map(spec, "hard").into_iter().flatten().filter(|(name, _)| !fits(scope, name)).take(MAX_ERRORS) {
            errors.push(Error::invalid(&at, shown.clone(), "unsupported scope applied to resource"));
        }
    }
    check_conflicts(&scopes, &at, &shown, errors);
    let Some(selector) = spec.get("scopeSelector").filter(|selector| !selector.is_null()) else { return };
    let at = path.child("scopeSelector.matchExpressions");
    let mut selected = Vec::new();
    for requirement in items(selector, "matchExpressions") {
        let scope = text(requirement, "scopeName");
        if errors.len() >= MAX_ERRORS {
            return;
        }
        if !SCOPES.contains(&scope) {
            errors.push(Error::invalid(&at.child("scopeName"), scope, "unsupported scope"));
        }
        for _ in map(spec, "hard").into_iter().flatten().filter(|(name, _)| !fits(scope, name)).take(MAX_ERRORS) {
            errors.push(Error::invalid(&at, selector.clone(), "unsupported scope applied to resource"));
        }
        check_scope_operator(requirement, scope, &at, errors);
        selected.push(scope);
    }
    check_conflicts(&selected, &at, &shown, errors);
}

const SCOPES: &[&str] = &[
    "BestEffort",
    "CrossNamespacePodAffinity",
    "NotBestEffort",
    "NotTerminating",
    "PriorityClass",
    "Terminating",
    "VolumeAttributesClass",
];

/// Whether a scope can be told of what the resource counts.
fn fits(scope: &str, name: &str) -> bool {
    const COMPUTE: &[&str] = &["cpu", "memory", "limits.cpu", "limits.memory", "requests.cpu", "requests.memory"];
    if !is_quota_name(name) {
        return true;
    }
    match scope {
        "BestEffort" => name == "pods",
        "VolumeAttributesClass" => matches!(name, "persistentvolumeclaims" | "requests.storage"),
        "CrossNamespacePodAffinity" | "NotBestEffort" | "NotTerminating" | "PriorityClass" | "Terminating" => {
            name == "pods" || COMPUTE.contains(&name)
        }
        _ => true,
    }
}

fn check_conflicts(scopes: &[&str], path: &Path<'_>, shown: &Value, errors: &mut Vec<Error>) {
    for (one, other) in [("BestEffort", "NotBestEffort"), ("Terminating", "NotTerminating")] {
        if scopes.contains(&one) && scopes.contains(&other) {
            errors.push(Error::invalid(path, shown.clone(), "conflicting scopes"));
        }
    }
}

fn check_scope_operator(requirement: &Value, scope: &str, path: &Path<'_>, errors: &mut Vec<Error>) {
    let (operator, values) = (text(requirement, "operator"), items(requirement, "values"));
    let plain =
        ["BestEffort", "NotBestEffort", "Terminating", "NotTerminating", "CrossNamespacePodAffinity"].contains(&scope);
    if plain && operator != "Exists" {
        let detail = "must be 'Exists' when scope is any of ResourceQuotaScopeTerminating, ResourceQuotaScopeNotTerminating, ResourceQuotaScopeBestEffort, ResourceQuotaScopeNotBestEffort or ResourceQuotaScopeCrossNamespacePodAffinity";
        errors.push(Error::invalid(&path.child("operator"), operator, detail));
    }
    let at = path.child("values");
    match operator {
        "In" | "NotIn" if values.is_empty() => {
            let detail = "must be at least one value when `operator` is 'In' or 'NotIn' for scope selector";
            errors.push(Error::required(&at, detail));
        }
        "Exists" | "DoesNotExist" if !values.is_empty() => {
            let detail = "must be no value when `operator` is 'Exist' or 'DoesNotExist' for scope selector";
            errors.push(Error::invalid(&at, values.to_vec(), detail));
        }
        "In" | "NotIn" | "Exists" | "DoesNotExist" => {}
        other => errors.push(Error::invalid(&path.child("operator"), other, "not a valid selector operator")),
    }
}
