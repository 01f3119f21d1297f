//! PodDisruptionBudget (`pkg/apis/policy/validation`) and HorizontalPodAutoscaler (`pkg/apis/autoscaling/validation`).

use super::json::{NON_NEGATIVE, check_name, check_non_negative, check_one_of, int, items, present, text};
use super::pod::{check_container_resource_name, check_label_selector};
use super::workloads::{check_at_most_hundred, check_int_or_percent};
use crate::field::{Error, Path};
use crate::names;
use crate::quantity::Quantity;
use serde_json::Value;

fn spec(object: &Value) -> &Value {
    object.get("spec").unwrap_or(&Value::Null)
}

pub(super) fn budget(object: &Value) -> Vec<Error> {
    let (mut errors, spec, path) = (Vec::new(), spec(object), Path::new("spec"));
    let bounds = ["minAvailable", "maxUnavailable"];
    if bounds.iter().all(|field| present(spec, field).is_some()) {
        let detail = "minAvailable and maxUnavailable cannot be both set";
        errors.push(Error::invalid(&path, spec.clone(), detail));
    }
    for field in bounds {
        if let Some(value) = present(spec, field) {
            check_int_or_percent(value, &path.child(field), &mut errors);
            check_at_most_hundred(value, &path.child(field), &mut errors);
        }
    }
    check_label_selector(spec.get("selector"), &path.child("selector"), &mut errors);
    check_one_of(spec, "unhealthyPodEvictionPolicy", &["AlwaysAllow", "IfHealthyBudget"], &path, &mut errors);
    errors
}

pub(super) fn budget_status(object: &Value) -> Vec<Error> {
    let mut errors = Vec::new();
    let Some(status) = object.get("status") else { return errors };
    for field in ["disruptionsAllowed", "currentHealthy", "desiredHealthy", "expectedPods"] {
        check_non_negative(status, field, &Path::new("status"), &mut errors);
    }
    errors
}

const POSITIVE: &str = "must be greater than 0";
/// The kinds of metric and the field that describes each.
const SOURCES: [(&str, &str); 5] = [
    ("ContainerResource", "containerResource"),
    ("External", "external"),
    ("Object", "object"),
    ("Pods", "pods"),
    ("Resource", "resource"),
];

/// The same fields in the order in which they are looked at.
const FIELDS: [&str; 5] = ["object", "external", "pods", "resource", "containerResource"];

pub(super) fn autoscaler(object: &Value) -> Vec<Error> {
    check_autoscaler(spec(object), 1)
}

/// One that may scale to none already may go on doing so.
pub(super) fn changed_autoscaler(object: &Value, old: &Value) -> Vec<Error> {
    check_autoscaler(spec(object), if int(spec(old), "minReplicas") == Some(0) { 0 } else { 1 })
}

pub(super) fn autoscaler_status(object: &Value) -> Vec<Error> {
    let (mut errors, path) = (Vec::new(), Path::new("status"));
    if let Some(status) = present(object, "status") {
        check_non_negative(status, "currentReplicas", &path, &mut errors);
        check_non_negative(status, "desiredReplicas", &path, &mut errors);
    }
    errors
}

fn check_autoscaler(spec: &Value, least: i64) -> Vec<Error> {
    let (mut errors, path) = (Vec::new(), Path::new("spec"));
    let (min, max) = (int(spec, "minReplicas"), int(spec, "maxReplicas").unwrap_or(0));
    if let Some(min) = min.filter(|min| *min < least) {
        let detail = format!("must be greater than or equal to {least}");
        errors.push(Error::invalid(&path.child("minReplicas"), min, detail));
    }
    if max < 1 {
        errors.push(Error::invalid(&path.child("maxReplicas"), max, POSITIVE));
    }
    if min.is_some_and(|min| max < min) {
        errors.push(Error::invalid(&path.child("maxReplicas"), max, "must be greater than or equal to `minReplicas`"));
    }
    check_target_reference(spec.get("scaleTargetRef"), &path.child("scaleTargetRef"), &mut errors);
    let list = path.child("metrics");
    for (i, metric) in items(spec, "metrics").iter().enumerate() {
        check_metric(metric, &list.index(i), &mut errors);
    }
    let outside = |metric: &Value| matches!(text(metric, "type"), "Object" | "External");
    if min == Some(0) && !items(spec, "metrics").iter().any(outside) {
        let detail = "must specify at least one Object or External metric to support scaling to zero replicas";
        errors.push(Error::forbidden(&list, detail));
    }
    if let Some(behavior) = present(spec, "behavior") {
        for direction in ["scaleUp", "scaleDown"] {
            if let Some(rules) = present(behavior, direction) {
                let path = path.child("behavior");
                check_scaling_rules(rules, &path.child(direction), &mut errors);
            }
        }
    }
    errors
}

fn check_target_reference(reference: Option<&Value>, path: &Path<'_>, errors: &mut Vec<Error>) {
    let reference = reference.unwrap_or(&Value::Null);
    for field in ["kind", "name"] {
        match text(reference, field) {
            "" => errors.push(Error::required(&path.child(field), "")),
            value => check_name(value, &path.child(field), names::check_path_segment, errors),
        }
    }
}

fn check_metric(metric: &Value, path: &Path<'_>, errors: &mut Vec<Error>) {
    let kind = text(metric, "type");
    if kind.is_empty() {
        errors.push(Error::required(&path.child("type"), "must specify a metric source type"));
    }
    let expected = SOURCES.iter().find(|(name, _)| *name == kind).map(|(_, field)| *field);
    if expected.is_none() {
        errors.push(Error::not_supported(&path.child("type"), kind, &SOURCES.map(|(name, _)| name)));
    }
    let given: Vec<&str> = FIELDS.into_iter().filter(|field| present(metric, field).is_some()).collect();
    if let Some(first) = given.first() {
        check_source(first, &metric[*first], &path.child(first), errors);
    }
    match expected {
        Some(expected) if !given.contains(&expected) => {
            let detail = "must populate information for the given metric source";
            errors.push(Error::required(&path.child(expected), detail));
        }
        // Told a second time, as Kubernetes does.
        None => errors.push(Error::not_supported(&path.child("type"), kind, &SOURCES.map(|(name, _)| name))),
        Some(_) => {}
    }
    if given.len() != 1 {
        for other in given.into_iter().filter(|field| Some(*field) != expected) {
            errors.push(Error::forbidden(&path.child(other), "must populate the given metric source only"));
        }
    }
}

fn check_source(kind: &str, source: &Value, path: &Path<'_>, errors: &mut Vec<Error>) {
    let target = source.get("target").unwrap_or(&Value::Null);
    let target_path = path.child("target");
    if kind == "object" {
        check_target_reference(source.get("describedObject"), &path.child("describedObject"), errors);
    }
    let has = |field: &str| present(target, field).is_some();
    if matches!(kind, "resource" | "containerResource") {
        if text(source, "name").is_empty() {
            errors.push(Error::required(&path.child("name"), "must specify a resource name"));
        }
        if kind == "containerResource" {
            if !text(source, "name").is_empty() {
                check_container_resource_name(text(source, "name"), &path.child("name"), errors);
            }
            match text(source, "container") {
                "" => errors.push(Error::required(&path.child("container"), "must specify a container")),
                name => check_name(name, &path.child("container"), names::check_dns1123_label, errors),
            }
        }
    } else {
        let metric = source.get("metric").unwrap_or(&Value::Null);
        let at = path.child("metric");
        match text(metric, "name") {
            "" => errors.push(Error::required(&at.child("name"), "must specify a metric name")),
            name => check_name(name, &at.child("name"), names::check_path_segment, errors),
        }
    }
    check_target(target, &target_path, errors);
    match kind {
        "resource" | "containerResource" if !has("averageUtilization") && !has("averageValue") => {
            let detail = "must set either a target raw value or a target utilization";
            errors.push(Error::required(&target_path.child("averageUtilization"), detail));
        }
        "resource" | "containerResource" if has("averageUtilization") && has("averageValue") => {
            let detail = "may not set both a target raw value and a target utilization";
            errors.push(Error::forbidden(&target_path.child("averageValue"), detail));
        }
        "pods" if !has("averageValue") => {
            let detail = "must specify a positive target averageValue";
            errors.push(Error::required(&target_path.child("averageValue"), detail));
        }
        "object" if !has("value") && !has("averageValue") => {
            let detail = "must set either a target value or averageValue";
            errors.push(Error::required(&target_path.child("averageValue"), detail));
        }
        "external" if !has("value") && !has("averageValue") => {
            let detail = "must set either a target value for metric or a per-pod target";
            errors.push(Error::required(&target_path.child("averageValue"), detail));
        }
        "external" if has("value") && has("averageValue") => {
            let detail = "may not set both a target value for metric and a per-pod target";
            errors.push(Error::forbidden(&target_path.child("value"), detail));
        }
        _ => {}
    }
}

fn check_target(target: &Value, path: &Path<'_>, errors: &mut Vec<Error>) {
    match text(target, "type") {
        "Utilization" | "Value" | "AverageValue" => {}
        other => {
            if other.is_empty() {
                errors.push(Error::required(&path.child("type"), "must specify a metric target type"));
            }
            let detail = "must be either Utilization, Value, or AverageValue";
            errors.push(Error::invalid(&path.child("type"), other, detail));
        }
    }
    for field in ["value", "averageValue"] {
        if let Some(value) = present(target, field)
            && let Ok(quantity) = Quantity::from_value(value)
            && (quantity.is_zero() || quantity.to_string().starts_with('-'))
        {
            errors.push(Error::invalid(&path.child(field), value.clone(), "must be positive"));
        }
    }
    if let Some(percent) = int(target, "averageUtilization").filter(|percent| *percent < 1) {
        errors.push(Error::invalid(&path.child("averageUtilization"), percent, POSITIVE));
    }
}

fn check_scaling_rules(rules: &Value, path: &Path<'_>, errors: &mut Vec<Error>) {
    const WINDOW_MAX: i64 = 3600;
    const PERIOD_MAX: i64 = 1800;
    match int(rules, "stabilizationWindowSeconds") {
        Some(seconds) if seconds < 0 => {
            let detail = "must be greater than or equal to zero";
            errors.push(Error::invalid(&path.child("stabilizationWindowSeconds"), seconds, detail));
        }
        Some(seconds) if seconds > WINDOW_MAX => {
            let detail = format!("must be less than or equal to {WINDOW_MAX}");
            errors.push(Error::invalid(&path.child("stabilizationWindowSeconds"), seconds, detail));
        }
        _ => {}
    }
    check_one_of(rules, "selectPolicy", &["Disabled", "Max", "Min"], path, errors);
    let list = path.child("policies");
    if items(rules, "policies").is_empty() {
        errors.push(Error::required(&list, "must specify at least one Policy"));
    }
    for (i, policy) in items(rules, "policies").iter().enumerate() {
        let path = list.index(i);
        let kind = text(policy, "type");
        if !matches!(kind, "Pods" | "Percent") {
            errors.push(Error::not_supported(&path.child("type"), kind, &["Percent", "Pods"]));
        }
        for field in ["value", "periodSeconds"] {
            let number = int(policy, field).unwrap_or(0);
            if number <= 0 {
                errors.push(Error::invalid(&path.child(field), number, "must be greater than zero"));
            }
        }
        if let Some(seconds) = int(policy, "periodSeconds").filter(|seconds| *seconds > PERIOD_MAX) {
            let detail = format!("must be less than or equal to {PERIOD_MAX}");
            errors.push(Error::invalid(&path.child("periodSeconds"), seconds, detail));
        }
    }
    if let Some(tolerance) = present(rules, "tolerance")
        && Quantity::from_value(tolerance).is_ok_and(Quantity::is_negative)
    {
        errors.push(Error::invalid(&path.child("tolerance"), tolerance.clone(), NON_NEGATIVE));
    }
}
