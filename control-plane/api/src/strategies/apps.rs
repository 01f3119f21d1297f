//! apps/v1: Deployment, ReplicaSet, DaemonSet, ControllerRevision; and core's ReplicationController.

use super::internal;
use super::json::{
    check_immutable, check_non_negative, fill, fill_zero, int, map, object_mut, present, spec_mut, text,
};
use super::pod::{check_label_selector, template_warnings};
use super::workloads::{
    check_at_most_hundred, check_counts, check_int_or_percent, check_running_template, check_selector,
    check_template_labels, default_template, is_empty_selector, is_none, no_controller,
};
use crate::field::{Error, Path};
use crate::meta;
use crate::selector::Labels;
use crate::strategy::{Strategy, keep_all_but_status, keep_from_old, keep_metadata, replace_status};
use serde_json::{Value, json};

fn spec(object: &Value) -> &Value {
    object.get("spec").unwrap_or(&Value::Null)
}

/// What may surprise about a workload: its name, where that becomes a part of its pods' names, and its template.
fn workload_warnings(object: &Value) -> Vec<String> {
    let mut warnings: Vec<String> = super::deprecated::name_warning(object).into_iter().collect();
    if let Some(template) = object.pointer("/spec/template") {
        warnings.extend(template_warnings(template, "spec.template"));
    }
    warnings
}

fn replica_fields(object: &Value) -> Vec<(&'static str, String)> {
    let replicas = object.get("status").and_then(|s| int(s, "replicas")).unwrap_or(0);
    vec![("status.replicas", replicas.to_string())]
}

pub(super) struct Deployment;

impl Strategy for Deployment {
    fn default(&self, object: &mut Value) {
        let Some(spec) = spec_mut(object) else { return };
        fill(spec, "replicas", 1);
        fill(spec, "revisionHistoryLimit", 10);
        fill(spec, "progressDeadlineSeconds", 600);
        if let Some(strategy) = object_mut(spec, "strategy") {
            fill_zero(strategy, "type", "RollingUpdate");
            if strategy.get("type").and_then(Value::as_str) == Some("RollingUpdate")
                && let Some(rolling) = object_mut(strategy, "rollingUpdate")
            {
                fill(rolling, "maxSurge", "25%");
                fill(rolling, "maxUnavailable", "25%");
            }
        }
        default_template(spec);
    }

    fn new_status(&self) -> Option<Value> {
        Some(json!({}))
    }

    fn prepare_status_update(&self, object: &mut Value, old: &Value) {
        keep_all_but_status(object, old);
        keep_metadata(object, old, &["labels"]);
    }

    fn validate(&self, object: &Value) -> Vec<Error> {
        let (mut errors, spec, path) = (Vec::new(), spec(object), Path::new("spec"));
        check_non_negative(spec, "replicas", &path, &mut errors);
        check_selector(spec, "deployment", &path, &mut errors);
        check_running_template(spec, "ReplicaSet", &path, &mut errors);
        check_deployment_strategy(spec, &path.child("strategy"), &mut errors);
        for field in ["minReadySeconds", "revisionHistoryLimit", "progressDeadlineSeconds"] {
            check_non_negative(spec, field, &path, &mut errors);
        }
        if let Some(deadline) = int(spec, "progressDeadlineSeconds")
            && deadline <= int(spec, "minReadySeconds").unwrap_or(0)
        {
            let detail = "must be greater than minReadySeconds";
            errors.push(Error::invalid(&path.child("progressDeadlineSeconds"), deadline, detail));
        }
        errors
    }

    fn validate_update(&self, object: &Value, old: &Value) -> Vec<Error> {
        let mut errors = Vec::new();
        check_immutable(spec(object), spec(old), "selector", &Path::new("spec"), &mut errors);
        errors
    }

    fn validate_status_update(&self, object: &Value, old: &Value) -> Vec<Error> {
        let mut errors = Vec::new();
        let counts = [
            "observedGeneration",
            "replicas",
            "updatedReplicas",
            "readyReplicas",
            "availableReplicas",
            "unavailableReplicas",
            "terminatingReplicas",
            "collisionCount",
        ];
        check_counts(object, &counts, &["updatedReplicas", "readyReplicas", "availableReplicas"], &mut errors);
        check_ready(object, "cannot be greater than readyReplicas", &mut errors);
        check_collisions(object, old, &mut errors);
        errors
    }

    fn warnings(&self, object: &Value) -> Vec<String> {
        workload_warnings(object)
    }
}

fn check_deployment_strategy(spec: &Value, path: &Path<'_>, errors: &mut Vec<Error>) {
    let strategy = spec.get("strategy").unwrap_or(&Value::Null);
    let rolling = present(strategy, "rollingUpdate");
    match text(strategy, "type") {
        "Recreate" => {
            if rolling.is_some() {
                let detail = "may not be specified when strategy `type` is 'Recreate'";
                errors.push(Error::forbidden(&path.child("rollingUpdate"), detail));
            }
        }
        "RollingUpdate" => match rolling {
            None => {
                let detail = "this should be defaulted and never be nil";
                errors.push(Error::required(&path.child("rollingUpdate"), detail));
            }
            Some(rolling) => check_rolling_update(rolling, &path.child("rollingUpdate"), errors),
        },
        _ => {
            let error = Error::not_supported(path, Value::Null, &["Recreate", "RollingUpdate"]);
            errors.push(internal::showing(error, internal::ROLLING_STRATEGY, strategy));
        }
    }
}

fn check_rolling_update(rolling: &Value, path: &Path<'_>, errors: &mut Vec<Error>) {
    let zero = json!(0);
    let unavailable = present(rolling, "maxUnavailable").unwrap_or(&zero);
    let surge = present(rolling, "maxSurge").unwrap_or(&zero);
    check_int_or_percent(unavailable, &path.child("maxUnavailable"), errors);
    check_int_or_percent(surge, &path.child("maxSurge"), errors);
    if is_none(unavailable) && is_none(surge) {
        let detail = "may not be 0 when `maxSurge` is 0";
        errors.push(Error::invalid(&path.child("maxUnavailable"), unavailable.clone(), detail));
    }
    check_at_most_hundred(unavailable, &path.child("maxUnavailable"), errors);
}

/// `availableReplicas` are ready ones.
pub(super) fn check_ready(object: &Value, detail: &str, errors: &mut Vec<Error>) {
    let count = |field: &str| object.get("status").and_then(|s| int(s, field)).unwrap_or(0);
    let available = count("availableReplicas");
    if available > count("readyReplicas") {
        errors.push(Error::invalid(&Path::new("status.availableReplicas"), available, detail));
    }
}

/// Names that were found taken stay counted.
pub(super) fn check_collisions(object: &Value, old: &Value, errors: &mut Vec<Error>) {
    let count = |object: &Value| object.get("status").and_then(|s| int(s, "collisionCount"));
    if let Some(before) = count(old)
        && count(object).is_none_or(|now| now < before)
    {
        let path = Path::new("status.collisionCount");
        errors.push(Error::invalid(&path, count(object).unwrap_or(0), "cannot be decremented"));
    }
}

const REPLICA_COUNTS: [&str; 5] =
    ["replicas", "fullyLabeledReplicas", "readyReplicas", "availableReplicas", "observedGeneration"];

pub(super) struct ReplicaSet;

impl Strategy for ReplicaSet {
    fn default(&self, object: &mut Value) {
        let Some(spec) = spec_mut(object) else { return };
        fill(spec, "replicas", 1);
        default_template(spec);
    }

    fn new_status(&self) -> Option<Value> {
        Some(json!({"replicas": 0}))
    }

    fn validate(&self, object: &Value) -> Vec<Error> {
        let (mut errors, spec, path) = (Vec::new(), spec(object), Path::new("spec"));
        check_non_negative(spec, "replicas", &path, &mut errors);
        check_non_negative(spec, "minReadySeconds", &path, &mut errors);
        check_selector(spec, "deployment", &path, &mut errors);
        check_running_template(spec, "ReplicaSet", &path, &mut errors);
        errors
    }

    fn validate_update(&self, object: &Value, old: &Value) -> Vec<Error> {
        let mut errors = Vec::new();
        check_immutable(spec(object), spec(old), "selector", &Path::new("spec"), &mut errors);
        errors
    }

    fn validate_status_update(&self, object: &Value, _old: &Value) -> Vec<Error> {
        let mut errors = Vec::new();
        let mut counts = REPLICA_COUNTS.to_vec();
        counts.push("terminatingReplicas");
        check_counts(object, &counts, &["fullyLabeledReplicas", "readyReplicas", "availableReplicas"], &mut errors);
        check_ready(object, "cannot be greater than readyReplicas", &mut errors);
        errors
    }

    fn warnings(&self, object: &Value) -> Vec<String> {
        workload_warnings(object)
    }

    fn field_names(&self) -> &'static [&'static str] {
        &["status.replicas"]
    }

    fn fields(&self, object: &Value) -> Vec<(&'static str, String)> {
        replica_fields(object)
    }
}

pub(super) struct ReplicationController;

impl Strategy for ReplicationController {
    fn default(&self, object: &mut Value) {
        let labels = object.pointer("/spec/template").and_then(meta::labels).filter(|l| !l.is_empty()).cloned();
        if let Some(labels) = &labels
            && let Some(metadata) = meta::metadata_mut(object)
            && metadata.get("labels").and_then(Value::as_object).is_none_or(serde_json::Map::is_empty)
        {
            metadata.insert("labels".into(), labels.clone().into());
        }
        let Some(spec) = spec_mut(object) else { return };
        fill(spec, "replicas", 1);
        if let Some(labels) = labels
            && spec.get("selector").and_then(Value::as_object).is_none_or(serde_json::Map::is_empty)
        {
            spec.insert("selector".into(), labels.into());
        }
        default_template(spec);
    }

    fn new_status(&self) -> Option<Value> {
        Some(json!({"replicas": 0}))
    }

    fn validate(&self, object: &Value) -> Vec<Error> {
        let (mut errors, spec, path) = (Vec::new(), spec(object), Path::new("spec"));
        check_non_negative(spec, "minReadySeconds", &path, &mut errors);
        let selector = map(spec, "selector").filter(|s| !s.is_empty());
        if selector.is_none() {
            errors.push(Error::required(&path.child("selector"), ""));
        }
        check_non_negative(spec, "replicas", &path, &mut errors);
        if present(spec, "template").is_none() {
            errors.push(Error::required(&path.child("template"), ""));
            return errors;
        }
        if let Some(selector) = selector {
            check_template_labels(spec, &Labels::from_map(selector), &path, &mut errors);
        }
        check_running_template(spec, "ReplicationController", &path, &mut errors);
        errors
    }

    fn validate_status_update(&self, object: &Value, _old: &Value) -> Vec<Error> {
        let mut errors = Vec::new();
        let bounded = ["fullyLabeledReplicas", "readyReplicas", "availableReplicas"];
        check_counts(object, &REPLICA_COUNTS, &bounded, &mut errors);
        check_ready(object, "cannot be greater than readyReplicas", &mut errors);
        errors
    }

    fn warnings(&self, object: &Value) -> Vec<String> {
        workload_warnings(object)
    }

    fn field_names(&self) -> &'static [&'static str] {
        &["status.replicas"]
    }

    fn fields(&self, object: &Value) -> Vec<(&'static str, String)> {
        replica_fields(object)
    }
}

pub(super) struct DaemonSet;

impl Strategy for DaemonSet {
    fn validate_status_update(&self, object: &Value, old: &Value) -> Vec<Error> {
        let mut errors = Vec::new();
        let counts = [
            "currentNumberScheduled",
            "numberMisscheduled",
            "desiredNumberScheduled",
            "numberReady",
            "observedGeneration",
            "updatedNumberScheduled",
            "numberAvailable",
            "numberUnavailable",
            "collisionCount",
        ];
        check_counts(object, &counts, &[], &mut errors);
        check_collisions(object, old, &mut errors);
        errors
    }

    fn default(&self, object: &mut Value) {
        let Some(spec) = spec_mut(object) else { return };
        fill(spec, "revisionHistoryLimit", 10);
        if let Some(strategy) = object_mut(spec, "updateStrategy") {
            fill_zero(strategy, "type", "RollingUpdate");
            if strategy.get("type").and_then(Value::as_str) == Some("RollingUpdate")
                && let Some(rolling) = object_mut(strategy, "rollingUpdate")
            {
                fill(rolling, "maxUnavailable", 1);
                fill(rolling, "maxSurge", 0);
            }
        }
        default_template(spec);
    }

    fn new_status(&self) -> Option<Value> {
        Some(json!({
            "currentNumberScheduled": 0,
            "desiredNumberScheduled": 0,
            "numberMisscheduled": 0,
            "numberReady": 0,
        }))
    }

    fn prepare_create(&self, object: &mut Value) {
        replace_status(object, self.new_status());
        let given = meta::annotation(object, TEMPLATE_GENERATION).and_then(|text| text.parse().ok()).unwrap_or(1);
        set_template_generation(object, i64::max(given, 1));
    }

    fn prepare_update(&self, object: &mut Value, old: &Value) {
        keep_from_old(object, old, "status");
        let before = meta::annotation(old, TEMPLATE_GENERATION).and_then(|text| text.parse().ok()).unwrap_or(0_i64);
        let changed = spec(object).get("template") != spec(old).get("template");
        set_template_generation(object, before.saturating_add(i64::from(changed)));
    }

    fn prepare_status_update(&self, object: &mut Value, old: &Value) {
        keep_all_but_status(object, old);
        let before = meta::annotation(old, TEMPLATE_GENERATION).and_then(|text| text.parse().ok()).unwrap_or(0);
        set_template_generation(object, before);
    }

    fn validate(&self, object: &Value) -> Vec<Error> {
        let (mut errors, spec, path) = (Vec::new(), spec(object), Path::new("spec"));
        check_daemon_selector(spec, &path, &mut errors);
        check_running_template(spec, "DaemonSet", &path, &mut errors);
        check_non_negative(spec, "minReadySeconds", &path, &mut errors);
        check_non_negative(spec, "revisionHistoryLimit", &path, &mut errors);
        let strategy = spec.get("updateStrategy").unwrap_or(&Value::Null);
        let path = path.child("updateStrategy");
        match text(strategy, "type") {
            "OnDelete" => {}
            "RollingUpdate" => match present(strategy, "rollingUpdate") {
                None => errors.push(Error::required(&path.child("rollingUpdate"), "")),
                Some(rolling) => check_rolling_daemons(rolling, &path.child("rollingUpdate"), &mut errors),
            },
            _ => {
                let error = Error::not_supported(&path, Value::Null, &["RollingUpdate", "OnDelete"]);
                errors.push(internal::showing(error, internal::ROLLING_STRATEGY, strategy));
            }
        }
        errors
    }

    fn validate_update(&self, object: &Value, old: &Value) -> Vec<Error> {
        let mut errors = Vec::new();
        check_immutable(spec(object), spec(old), "selector", &Path::new("spec"), &mut errors);
        errors
    }

    fn warnings(&self, object: &Value) -> Vec<String> {
        let mut warnings = no_controller("DaemonSet");
        warnings.extend(workload_warnings(object));
        warnings
    }
}

/// How often a DaemonSet's template has changed, as its first version counted it.
const TEMPLATE_GENERATION: &str = "deprecated.daemonset.template.generation";

fn set_template_generation(object: &mut Value, generation: i64) {
    let Some(metadata) = meta::metadata_mut(object) else { return };
    if let Some(annotations) = object_mut(metadata, "annotations") {
        annotations.insert(TEMPLATE_GENERATION.into(), generation.to_string().into());
    }
}

/// A DaemonSet's selector, in an order of its own.
fn check_daemon_selector(spec: &Value, path: &Path<'_>, errors: &mut Vec<Error>) {
    let (selector, at) = (present(spec, "selector"), path.child("selector"));
    check_label_selector(selector, &at, errors);
    if let Ok(labels) = Labels::from_label_selector(selector) {
        check_template_labels(spec, &labels, path, errors);
    }
    if let Some(selector) = selector.filter(|selector| is_empty_selector(selector)) {
        errors.push(Error::invalid(&at, selector.clone(), "empty selector is invalid for daemonset"));
    }
}

/// Of `maxSurge` and `maxUnavailable` exactly one moves a DaemonSet's pods.
fn check_rolling_daemons(rolling: &Value, path: &Path<'_>, errors: &mut Vec<Error>) {
    let zero = json!(0);
    let unavailable = present(rolling, "maxUnavailable").unwrap_or(&zero);
    let surge = present(rolling, "maxSurge").unwrap_or(&zero);
    check_int_or_percent(unavailable, &path.child("maxUnavailable"), errors);
    check_int_or_percent(surge, &path.child("maxSurge"), errors);
    check_at_most_hundred(unavailable, &path.child("maxUnavailable"), errors);
    check_at_most_hundred(surge, &path.child("maxSurge"), errors);
    match (is_none(unavailable), is_none(surge)) {
        (true, true) => errors.push(Error::required(&path.child("maxUnavailable"), "cannot be 0 when maxSurge is 0")),
        (false, false) => {
            let detail = "may not be set when maxUnavailable is non-zero";
            errors.push(Error::invalid(&path.child("maxSurge"), surge.clone(), detail));
        }
        _ => {}
    }
}

pub(super) struct ControllerRevision;

impl Strategy for ControllerRevision {
    fn prepare_create(&self, _object: &mut Value) {}
    fn prepare_update(&self, _object: &mut Value, _old: &Value) {}

    fn validate(&self, object: &Value) -> Vec<Error> {
        let mut errors = Vec::new();
        check_non_negative(object, "revision", &Path::new(""), &mut errors);
        match present(object, "data") {
            None => errors.push(Error::required(&Path::new("data"), "data is mandatory")),
            Some(Value::Object(_)) => {}
            Some(_) => errors.push(Error::required(&Path::new("data"), "data must be a valid JSON object")),
        }
        errors
    }

    fn validate_change(&self, object: &Value, old: &Value) -> Vec<Error> {
        let mut errors = Vec::new();
        check_non_negative(object, "revision", &Path::new(""), &mut errors);
        errors.extend(self.validate_update(object, old));
        errors
    }

    fn validate_update(&self, object: &Value, old: &Value) -> Vec<Error> {
        let mut errors = Vec::new();
        check_immutable(object, old, "data", &Path::new(""), &mut errors);
        errors
    }

    fn has_generation(&self) -> bool {
        false
    }
}
