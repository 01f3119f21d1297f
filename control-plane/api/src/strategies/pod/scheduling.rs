//! Where a pod may run: node selectors, affinity, tolerations, spreading, gates (`validateAffinity`, `ValidateTolerations`,
//! `validateTopologySpreadConstraints`); and label selectors.

use crate::field::{Error, Path};
use crate::meta;
use crate::names;
use crate::strategies::internal;
use crate::strategies::json::{check_name, check_one_of, check_required, int, items, map, present, text};
use serde_json::Value;
use std::collections::{HashMap, HashSet};

pub(in crate::strategies) const EFFECTS: &[&str] = &["NoSchedule", "PreferNoSchedule", "NoExecute"];

pub(in crate::strategies) fn check_tolerations(tolerations: &[Value], list: &Path<'_>, errors: &mut Vec<Error>) {
    for (i, toleration) in tolerations.iter().enumerate() {
        let path = list.index(i);
        let (key, operator, value) = (text(toleration, "key"), text(toleration, "operator"), text(toleration, "value"));
        if !key.is_empty() {
            check_name(key, &path.child("key"), names::check_qualified_name, errors);
        } else if operator != "Exists" {
            let detail = "operator must be Exists when `key` is empty, which means \"match all values and all keys\"";
            errors.push(Error::invalid(&path.child("operator"), operator, detail));
        }
        let effect = text(toleration, "effect");
        if present(toleration, "tolerationSeconds").is_some() && effect != "NoExecute" {
            let detail = "effect must be 'NoExecute' when `tolerationSeconds` is set";
            errors.push(Error::invalid(&path.child("effect"), effect, detail));
        }
        match operator {
            "" | "Equal" => {
                let faults = names::check_label_value(value);
                if !faults.is_empty() {
                    errors.push(Error::invalid(&path.child("operator"), value, faults.join(";")));
                }
            }
            "Exists" => {
                if !value.is_empty() {
                    let detail = "value must be empty when `operator` is 'Exists'";
                    errors.push(internal::invalid(&path.child("operator"), internal::TOLERATION, toleration, detail));
                }
            }
            "Lt" | "Gt" => check_number(value, &path.child("value"), errors),
            _ => errors.push(Error::not_supported(&path.child("operator"), operator, &["Equal", "Exists"])),
        }
        check_one_of(toleration, "effect", EFFECTS, &path, errors);
    }
}

/// A decimal integer of 64 bits, as tolerations compare taints with.
fn check_number(value: &str, path: &Path<'_>, errors: &mut Vec<Error>) {
    let digits = value.strip_prefix('-').unwrap_or(value);
    let plain = !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit());
    if !plain || (digits.len() > 1 && digits.starts_with('0')) || value == "-0" {
        let detail = "must be a valid decimal integer in canonical form";
        errors.push(Error::invalid(path, value, detail));
    }
    if value.parse::<i64>().is_err() {
        let problem = if plain { "value out of range" } else { "invalid syntax" };
        errors.push(Error::invalid(path, value, format!("strconv.ParseInt: parsing {value:?}: {problem}")));
    }
}

/// Readiness gates and scheduling gates.
pub(super) fn check_gates(spec: &Value, path: &Path<'_>, errors: &mut Vec<Error>) {
    let list = path.child("readinessGates");
    for (i, gate) in items(spec, "readinessGates").iter().enumerate() {
        let at = list.index(i);
        check_name(text(gate, "conditionType"), &at.child("conditionType"), names::check_qualified_name, errors);
    }
    let list = path.child("schedulingGates");
    let mut seen = HashSet::new();
    for (i, gate) in items(spec, "schedulingGates").iter().enumerate() {
        let name = text(gate, "name");
        check_name(name, &list.index(i), names::check_qualified_name, errors);
        if !seen.insert(name) {
            errors.push(Error::duplicate(&list.index(i), name));
        }
    }
}

pub(super) fn check_spread(spec: &Value, list: &Path<'_>, errors: &mut Vec<Error>) {
    let constraints = items(spec, "topologySpreadConstraints");
    let mut left: HashMap<(&str, &str), usize> = HashMap::new();
    for constraint in constraints {
        *left.entry((text(constraint, "topologyKey"), text(constraint, "whenUnsatisfiable"))).or_default() += 1;
    }
    for (i, constraint) in constraints.iter().enumerate() {
        let path = list.index(i);
        let positive = |field: &str, number: i64, errors: &mut Vec<Error>| {
            if number <= 0 {
                errors.push(Error::invalid(&path.child(field), number, "must be greater than zero"));
            }
        };
        positive("maxSkew", int(constraint, "maxSkew").unwrap_or(0), errors);
        let (key, action) = (text(constraint, "topologyKey"), text(constraint, "whenUnsatisfiable"));
        if key.is_empty() {
            errors.push(Error::required(&path.child("topologyKey"), "can not be empty"));
        }
        if !matches!(action, "DoNotSchedule" | "ScheduleAnyway") {
            let supported = &["DoNotSchedule", "ScheduleAnyway"];
            errors.push(Error::not_supported(&path.child("whenUnsatisfiable"), action, supported));
        }
        // The last of those that are the same is not told of.
        let left = left.entry((key, action)).or_default();
        *left -= 1;
        if *left > 0 {
            let at = path.child("{topologyKey, whenUnsatisfiable}");
            errors.push(Error::duplicate(&at, format!("{{{key}, {action}}}")));
        }
        if let Some(domains) = int(constraint, "minDomains") {
            positive("minDomains", domains, errors);
            if action != "DoNotSchedule" {
                let detail = format!("can only use minDomains if whenUnsatisfiable=DoNotSchedule, not {action}");
                errors.push(Error::invalid(&path.child("minDomains"), domains, detail));
            }
        }
        for field in ["nodeAffinityPolicy", "nodeTaintsPolicy"] {
            if let Some(policy) =
                constraint.get(field).and_then(Value::as_str).filter(|p| !matches!(*p, "Honor" | "Ignore"))
            {
                errors.push(Error::not_supported(&path.child(field), policy, &["Honor", "Ignore"]));
            }
        }
        check_label_keys(constraint, &path, errors);
        check_label_selector(constraint.get("labelSelector"), &path.child("labelSelector"), errors);
    }
}

/// `matchLabelKeys` and `mismatchLabelKeys`, which add to a `labelSelector`.
fn check_label_keys(holder: &Value, path: &Path<'_>, errors: &mut Vec<Error>) {
    let selector = present(holder, "labelSelector");
    for field in ["matchLabelKeys", "mismatchLabelKeys"] {
        let (keys, list) = (items(holder, field), path.child(field));
        if keys.is_empty() {
            continue;
        }
        if selector.is_none() {
            errors.push(Error::forbidden(&list, "must not be specified when labelSelector is not set"));
            continue;
        }
        for (i, key) in keys.iter().filter_map(Value::as_str).enumerate() {
            check_name(key, &list.index(i), names::check_qualified_name, errors);
        }
    }
    let keys: Vec<&str> = items(holder, "matchLabelKeys").iter().filter_map(Value::as_str).collect();
    if let Some(selector) = selector {
        let mut selected: HashSet<&str> =
            map(selector, "matchLabels").into_iter().flatten().map(|(key, _)| key.as_str()).collect();
        let places: HashMap<&str, usize> = keys.iter().enumerate().map(|(i, key)| (*key, i)).collect();
        for expression in items(selector, "matchExpressions") {
            let key = text(expression, "key");
            if let Some(&i) = places.get(key).filter(|_| selected.contains(key)) {
                let detail = "exists in both matchLabelKeys and labelSelector";
                errors.push(Error::invalid(&path.index(i), key, detail));
            }
            selected.insert(key);
        }
    }
    let mismatched: HashSet<&str> = items(holder, "mismatchLabelKeys").iter().filter_map(Value::as_str).collect();
    for (i, key) in keys.iter().enumerate().filter(|(_, key)| mismatched.contains(*key)) {
        let at = path.child("matchLabelKeys");
        let detail = "exists in both matchLabelKeys and mismatchLabelKeys";
        errors.push(Error::invalid(&at.index(i), *key, detail));
    }
}

pub(super) fn check_affinity(affinity: &Value, path: &Path<'_>, errors: &mut Vec<Error>) {
    const REQUIRED: &str = "requiredDuringSchedulingIgnoredDuringExecution";
    const PREFERRED: &str = "preferredDuringSchedulingIgnoredDuringExecution";
    if let Some(node) = present(affinity, "nodeAffinity") {
        let path = path.child("nodeAffinity");
        if let Some(required) = present(node, REQUIRED) {
            check_node_selector(required, &path.child(REQUIRED), errors);
        }
        let list = path.child(PREFERRED);
        for (i, term) in items(node, PREFERRED).iter().enumerate() {
            let path = list.index(i);
            check_weight(term, &path, errors);
            let preference = term.get("preference").unwrap_or(&Value::Null);
            check_node_term(preference, Values::Any, &path.child("preference"), errors);
        }
    }
    for kind in ["podAffinity", "podAntiAffinity"] {
        let Some(pods) = present(affinity, kind) else { continue };
        let path = path.child(kind);
        let list = path.child(REQUIRED);
        for (i, term) in items(pods, REQUIRED).iter().enumerate() {
            check_pod_term(term, &list.index(i), errors);
        }
        let list = path.child(PREFERRED);
        for (i, weighted) in items(pods, PREFERRED).iter().enumerate() {
            let path = list.index(i);
            check_weight(weighted, &path, errors);
            let term = weighted.get("podAffinityTerm").unwrap_or(&Value::Null);
            check_pod_term(term, &path.child("podAffinityTerm"), errors);
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
    for selector in ["labelSelector", "namespaceSelector"] {
        check_label_selector(term.get(selector), &path.child(selector), errors);
    }
    for namespace in items(term, "namespaces").iter().filter_map(Value::as_str) {
        check_name(namespace, &path.child("namespace"), names::check_dns1123_label, errors);
    }
    check_label_keys(term, path, errors);
    let (key, at) = (text(term, "topologyKey"), path.child("topologyKey"));
    if key.is_empty() {
        errors.push(Error::required(&at, "can not be empty"));
    }
    check_name(key, &at, names::check_qualified_name, errors);
}

/// Whether the values of a node selector must be label values: preferences that match nothing do no harm.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Values {
    Labels,
    Any,
}

/// A `NodeSelector`, as in node affinity and in PersistentVolumes.
pub(in crate::strategies) fn check_node_selector(selector: &Value, path: &Path<'_>, errors: &mut Vec<Error>) {
    let terms = items(selector, "nodeSelectorTerms");
    let list = path.child("nodeSelectorTerms");
    if terms.is_empty() {
        errors.push(Error::required(&list, "must have at least one node selector term"));
    }
    for (i, term) in terms.iter().enumerate() {
        check_node_term(term, Values::Labels, &list.index(i), errors);
    }
}

fn check_node_term(term: &Value, values: Values, path: &Path<'_>, errors: &mut Vec<Error>) {
    let list = path.child("matchExpressions");
    for (i, requirement) in items(term, "matchExpressions").iter().enumerate() {
        check_node_requirement(requirement, values, &list.index(i), errors);
    }
    let list = path.child("matchFields");
    for (i, requirement) in items(term, "matchFields").iter().enumerate() {
        check_node_field(requirement, &list.index(i), errors);
    }
}

fn check_node_requirement(requirement: &Value, kind: Values, path: &Path<'_>, errors: &mut Vec<Error>) {
    let values = items(requirement, "values");
    let list = path.child("values");
    match text(requirement, "operator") {
        "Gt" | "Lt" if values.len() != 1 => {
            errors.push(Error::required(&list, "must be specified single value when `operator` is 'Lt' or 'Gt'"));
        }
        "Gt" | "Lt" => {}
        _ => check_operator(requirement, path, errors),
    }
    check_name(text(requirement, "key"), &path.child("key"), names::check_qualified_name, errors);
    if kind == Values::Labels {
        check_values(values, &list, errors);
    }
}

fn check_values(values: &[Value], list: &Path<'_>, errors: &mut Vec<Error>) {
    for (i, value) in values.iter().filter_map(Value::as_str).enumerate() {
        if !names::is_label_value(value) {
            check_name(value, &list.index(i), names::check_label_value, errors);
        }
    }
}

/// Only a node's name can be matched as a field.
fn check_node_field(requirement: &Value, path: &Path<'_>, errors: &mut Vec<Error>) {
    let (values, operator, key) =
        (items(requirement, "values"), text(requirement, "operator"), text(requirement, "key"));
    let list = path.child("values");
    match operator {
        "In" | "NotIn" => {
            if values.len() != 1 {
                let detail = "must be only one value when `operator` is 'In' or 'NotIn' for node field selector";
                errors.push(Error::required(&list, detail));
            }
        }
        other => errors.push(Error::invalid(&path.child("operator"), other, "not a valid selector operator")),
    }
    if key != "metadata.name" {
        return errors.push(Error::invalid(&path.child("key"), key, "not a valid field selector key"));
    }
    for (i, name) in values.iter().filter_map(Value::as_str).enumerate() {
        check_name(name, &list.index(i), names::check_dns1123_subdomain, errors);
    }
}

/// The operators of label selectors, with or without values.
fn check_operator(requirement: &Value, path: &Path<'_>, errors: &mut Vec<Error>) {
    let (values, list) = (items(requirement, "values"), path.child("values"));
    match text(requirement, "operator") {
        "In" | "NotIn" if values.is_empty() => {
            errors.push(Error::required(&list, "must be specified when `operator` is 'In' or 'NotIn'"));
        }
        "Exists" | "DoesNotExist" if !values.is_empty() => {
            let detail = "may not be specified when `operator` is 'Exists' or 'DoesNotExist'";
            errors.push(Error::forbidden(&list, detail));
        }
        "In" | "NotIn" | "Exists" | "DoesNotExist" => {}
        other => errors.push(Error::invalid(&path.child("operator"), other, "not a valid selector operator")),
    }
}

/// A `LabelSelector` object.
pub(in crate::strategies) fn check_label_selector(selector: Option<&Value>, path: &Path<'_>, errors: &mut Vec<Error>) {
    let Some(selector) = selector.filter(|s| !s.is_null()) else { return };
    meta::validate_labels(map(selector, "matchLabels"), &path.child("matchLabels"), errors);
    let list = path.child("matchExpressions");
    for (i, expression) in items(selector, "matchExpressions").iter().enumerate() {
        let path = list.index(i);
        check_operator(expression, &path, errors);
        check_name(text(expression, "key"), &path.child("key"), names::check_qualified_name, errors);
        check_values(items(expression, "values"), &path.child("values"), errors);
    }
}

/// Taints of a Node (`validateNodeTaints`).
pub(in crate::strategies) fn check_taints(taints: &[Value], list: &Path<'_>, errors: &mut Vec<Error>) {
    let mut seen = HashSet::new();
    for (i, taint) in taints.iter().enumerate() {
        let path = list.index(i);
        let (key, value, effect) = (text(taint, "key"), text(taint, "value"), text(taint, "effect"));
        check_name(key, &path.child("key"), names::check_qualified_name, errors);
        let faults = names::check_label_value(value);
        if !faults.is_empty() {
            errors.push(Error::invalid(&path.child("value"), value, faults.join(";")));
        }
        check_required(taint, "effect", &path, errors);
        check_one_of(taint, "effect", EFFECTS, &path, errors);
        if !seen.insert((key, effect)) {
            let mut error = Error::duplicate(&path, Value::Null);
            error.detail = "taints must be unique by key and effect pair".into();
            errors.push(internal::showing(error, internal::TAINT, taint));
        }
    }
}
