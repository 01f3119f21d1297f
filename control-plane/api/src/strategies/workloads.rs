//! What Deployments, ReplicaSets, DaemonSets, StatefulSets and ReplicationControllers share: a template,
//! a selector that must match it, and status counts.

use super::json::{Object, check_non_negative, int, map, object_mut, present, text};
use super::pod::{check_label_selector, check_template, default_spec};
use crate::field::{Error, Path};
use crate::intstr::{self, IntOrPercent};
use crate::meta;
use crate::selector::Labels;
use serde_json::{Value, json};

/// The warning of a kind that nothing acts on yet.
pub(super) fn no_controller(kind: &str) -> Vec<String> {
    vec![format!("skiff: no controller in this version acts on {kind} objects")]
}

/// Defaults the pod spec in `template`.
pub(super) fn default_template(spec: &mut Object) {
    if let Some(spec) = object_mut(spec, "template").and_then(|t| object_mut(t, "spec")) {
        default_spec(spec);
    }
}

/// The template of an object that keeps pods running: always restarted, without a deadline.
pub(super) fn check_running_template(spec: &Value, kind: &str, path: &Path<'_>, errors: &mut Vec<Error>) {
    let template = spec.get("template").unwrap_or(&Value::Null);
    let path = path.child("template");
    check_template(template, &path, errors);
    let Some(pod) = template.get("spec") else { return };
    let path = path.child("spec");
    let policy = text(pod, "restartPolicy");
    if policy != "Always" {
        errors.push(Error::not_supported(&path.child("restartPolicy"), policy, &["Always"]));
    }
    if present(pod, "activeDeadlineSeconds").is_some() {
        let detail = format!("activeDeadlineSeconds in {kind} is not Supported");
        errors.push(Error::forbidden(&path.child("activeDeadlineSeconds"), detail));
    }
}

/// A required, non-empty `selector` that matches the template's labels. `kind` is the lower-case word of
/// Kubernetes' message.
pub(super) fn check_selector(spec: &Value, kind: &str, path: &Path<'_>, errors: &mut Vec<Error>) {
    let selector_path = path.child("selector");
    let Some(selector) = present(spec, "selector") else {
        errors.push(Error::required(&selector_path, ""));
        // As in Kubernetes, an absent selector matches nothing, so not the template either.
        check_template_labels(spec, &Labels::nothing(), path, errors);
        return;
    };
    check_label_selector(Some(selector), &selector_path, errors);
    if is_empty_selector(selector) {
        errors.push(Error::invalid(&selector_path, selector.clone(), format!("empty selector is invalid for {kind}")));
        return;
    }
    match Labels::from_label_selector(Some(selector)) {
        Ok(labels) => check_template_labels(spec, &labels, path, errors),
        Err(_) => errors.push(Error::invalid(&selector_path, selector.clone(), "invalid label selector")),
    }
}

pub(super) fn is_empty_selector(selector: &Value) -> bool {
    map(selector, "matchLabels").is_none_or(serde_json::Map::is_empty)
        && selector.get("matchExpressions").and_then(Value::as_array).is_none_or(Vec::is_empty)
}

/// Complains when the template's labels do not satisfy the selector.
pub(super) fn check_template_labels(spec: &Value, selector: &Labels, path: &Path<'_>, errors: &mut Vec<Error>) {
    let labels = spec.get("template").and_then(meta::labels);
    if !selector.matches_map(labels) {
        let shown = labels.map_or_else(|| json!({}), |l| Value::Object(l.clone()));
        let detail = "`selector` does not match template `labels`";
        errors.push(Error::invalid(&path.child("template.metadata.labels"), shown, detail));
    }
}

/// `maxUnavailable` or `maxSurge`: a non-negative number, or a percentage.
pub(super) fn check_int_or_percent(value: &Value, path: &Path<'_>, errors: &mut Vec<Error>) {
    match intstr::parse(value) {
        Ok(IntOrPercent::Int(number)) if number < 0 => {
            errors.push(Error::invalid(path, number, super::json::NON_NEGATIVE));
        }
        Ok(IntOrPercent::Percent(percent)) if percent < 0 => errors.push(Error::invalid(path, value.clone(), PERCENT)),
        Ok(_) => {}
        Err(_) => errors.push(Error::invalid(path, value.clone(), PERCENT)),
    }
}

const PERCENT: &str = "a valid percent string must be a numeric string followed by an ending '%' (e.g. '1%',  or '93%', regex used for validation is '[0-9]+%')";

/// A percentage of at most 100.
pub(super) fn check_at_most_hundred(value: &Value, path: &Path<'_>, errors: &mut Vec<Error>) {
    if let Ok(IntOrPercent::Percent(percent)) = intstr::parse(value)
        && percent > 100
    {
        errors.push(Error::invalid(path, value.clone(), "must not be greater than 100%"));
    }
}

/// Whether a resolved-to-nothing value: `0` or `0%`.
pub(super) fn is_none(value: &Value) -> bool {
    matches!(intstr::parse(value), Ok(IntOrPercent::Int(0) | IntOrPercent::Percent(0)))
}

/// Counts of a status that may not be negative, nor above `status.replicas` where `bounded`.
pub(super) fn check_counts(object: &Value, counts: &[&str], bounded: &[&str], errors: &mut Vec<Error>) {
    let Some(status) = object.get("status") else { return };
    let path = Path::new("status");
    for field in counts {
        check_non_negative(status, field, &path, errors);
    }
    let replicas = int(status, "replicas").unwrap_or(0);
    for field in bounded {
        if let Some(number) = int(status, field).filter(|n| *n > replicas) {
            errors.push(Error::invalid(&path.child(field), number, "cannot be greater than status.replicas"));
        }
    }
}
