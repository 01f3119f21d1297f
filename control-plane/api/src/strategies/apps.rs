//! apps/v1: Deployment, ReplicaSet, DaemonSet, StatefulSet, ControllerRevision; and core's ReplicationController.

use super::json::{
    check_immutable, check_non_negative, each_mut, fill, fill_zero, int, items, map, object_mut, present, spec_mut,
    text,
};
use super::pod::{default_claim_spec, spec_warnings};
use super::workloads::{
    check_at_most_hundred, check_counts, check_int_or_percent, check_running_template, check_selector,
    check_template_labels, default_template, is_none, no_controller,
};
use crate::field::{Error, Path};
use crate::meta;
use crate::selector::Labels;
use crate::strategy::Strategy;
use serde_json::{Value, json};

fn spec(object: &Value) -> &Value {
    object.get("spec").unwrap_or(&Value::Null)
}

fn template_warnings(object: &Value) -> Vec<String> {
    object.pointer("/spec/template/spec").map_or_else(Vec::new, |s| spec_warnings(s, "spec.template.spec"))
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

    fn validate_status_update(&self, object: &Value, _old: &Value) -> Vec<Error> {
        let mut errors = Vec::new();
        let counts = [
            "observedGeneration",
            "replicas",
            "updatedReplicas",
            "readyReplicas",
            "availableReplicas",
            "unavailableReplicas",
        ];
        check_counts(object, &counts, &["updatedReplicas", "readyReplicas", "availableReplicas"], &mut errors);
        let count = |field: &str| object.get("status").and_then(|s| int(s, field)).unwrap_or(0);
        let available = count("availableReplicas");
        if available > count("readyReplicas") {
            let path = Path::new("status.availableReplicas");
            errors.push(Error::invalid(&path, available, "cannot be greater than readyReplicas"));
        }
        errors
    }

    fn warnings(&self, object: &Value) -> Vec<String> {
        template_warnings(object)
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
        other => errors.push(Error::not_supported(&path.child("type"), other, &["Recreate", "RollingUpdate"])),
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
        let counts = ["replicas", "fullyLabeledReplicas", "readyReplicas", "availableReplicas", "observedGeneration"];
        check_counts(object, &counts, &["fullyLabeledReplicas", "readyReplicas", "availableReplicas"], &mut errors);
        errors
    }

    fn warnings(&self, object: &Value) -> Vec<String> {
        template_warnings(object)
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
        check_non_negative(spec, "replicas", &path, &mut errors);
        match map(spec, "selector").filter(|s| !s.is_empty()) {
            None => errors.push(Error::required(&path.child("selector"), "")),
            Some(selector) => check_template_labels(spec, &Labels::from_map(selector), &path, &mut errors),
        }
        check_running_template(spec, "ReplicationController", &path, &mut errors);
        errors
    }

    fn warnings(&self, object: &Value) -> Vec<String> {
        template_warnings(object)
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

    fn validate(&self, object: &Value) -> Vec<Error> {
        let (mut errors, spec, path) = (Vec::new(), spec(object), Path::new("spec"));
        check_selector(spec, "daemonset", &path, &mut errors);
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
            other => errors.push(Error::not_supported(&path.child("type"), other, &["OnDelete", "RollingUpdate"])),
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
        warnings.extend(template_warnings(object));
        warnings
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

pub(super) struct StatefulSet;

impl Strategy for StatefulSet {
    fn default(&self, object: &mut Value) {
        let Some(spec) = spec_mut(object) else { return };
        fill_zero(spec, "podManagementPolicy", "OrderedReady");
        fill(spec, "replicas", 1);
        fill(spec, "revisionHistoryLimit", 10);
        if let Some(strategy) = object_mut(spec, "updateStrategy") {
            fill_zero(strategy, "type", "RollingUpdate");
            if strategy.get("type").and_then(Value::as_str) == Some("RollingUpdate")
                && let Some(rolling) = object_mut(strategy, "rollingUpdate")
            {
                fill(rolling, "partition", 0);
            }
        }
        if let Some(policy) = object_mut(spec, "persistentVolumeClaimRetentionPolicy") {
            fill_zero(policy, "whenDeleted", "Retain");
            fill_zero(policy, "whenScaled", "Retain");
        }
        for claim in each_mut(spec, "volumeClaimTemplates") {
            fill_zero(claim, "apiVersion", "v1");
            fill_zero(claim, "kind", "PersistentVolumeClaim");
            if let Some(status) = object_mut(claim, "status") {
                fill_zero(status, "phase", "Pending");
            }
            if let Some(spec) = object_mut(claim, "spec") {
                default_claim_spec(spec);
            }
        }
        default_template(spec);
    }

    fn new_status(&self) -> Option<Value> {
        Some(json!({"availableReplicas": 0, "replicas": 0}))
    }

    fn validate(&self, object: &Value) -> Vec<Error> {
        let (mut errors, spec, path) = (Vec::new(), spec(object), Path::new("spec"));
        match text(spec, "podManagementPolicy") {
            "OrderedReady" | "Parallel" => {}
            other => {
                let detail = "must be 'OrderedReady' or 'Parallel'";
                errors.push(Error::invalid(&path.child("podManagementPolicy"), other, detail));
            }
        }
        let strategy = spec.get("updateStrategy").unwrap_or(&Value::Null);
        let strategy_path = path.child("updateStrategy");
        match (text(strategy, "type"), present(strategy, "rollingUpdate")) {
            ("OnDelete", Some(rolling)) => {
                let detail = "only allowed for updateStrategy 'RollingUpdate'";
                errors.push(Error::invalid(&strategy_path.child("rollingUpdate"), rolling.clone(), detail));
            }
            ("RollingUpdate", Some(rolling)) => {
                check_non_negative(rolling, "partition", &strategy_path.child("rollingUpdate"), &mut errors);
            }
            ("OnDelete" | "RollingUpdate", None) => {}
            ("", _) => errors.push(Error::required(&strategy_path, "")),
            _ => {
                let detail = "must be 'RollingUpdate' or 'OnDelete'";
                errors.push(Error::invalid(&strategy_path, strategy.clone(), detail));
            }
        }
        for field in ["replicas", "minReadySeconds", "revisionHistoryLimit"] {
            check_non_negative(spec, field, &path, &mut errors);
        }
        if let Some(ordinals) = present(spec, "ordinals") {
            check_non_negative(ordinals, "start", &path.child("ordinals"), &mut errors);
        }
        if let Some(policy) = present(spec, "persistentVolumeClaimRetentionPolicy") {
            let path = path.child("persistentVolumeClaimRetentionPolicy");
            for field in ["whenDeleted", "whenScaled"] {
                super::json::check_one_of(policy, field, &["Retain", "Delete"], &path, &mut errors);
            }
        }
        check_selector(spec, "statefulset", &path, &mut errors);
        check_stateful_template(spec, &path, &mut errors);
        errors
    }

    fn validate_update(&self, object: &Value, old: &Value) -> Vec<Error> {
        const MUTABLE: &[&str] = &[
            "replicas",
            "ordinals",
            "template",
            "updateStrategy",
            "revisionHistoryLimit",
            "persistentVolumeClaimRetentionPolicy",
            "minReadySeconds",
        ];
        let (Some(new), Some(old)) = (map(object, "spec"), map(old, "spec")) else { return Vec::new() };
        let differs = |name: &&String| !MUTABLE.contains(&name.as_str()) && new.get(*name) != old.get(*name);
        if new.keys().chain(old.keys()).any(|name| differs(&name)) {
            let detail = "updates to statefulset spec for fields other than 'replicas', 'ordinals', 'template', 'updateStrategy', 'revisionHistoryLimit', 'persistentVolumeClaimRetentionPolicy' and 'minReadySeconds' are forbidden";
            return vec![Error::forbidden(&Path::new("spec"), detail)];
        }
        Vec::new()
    }

    fn warnings(&self, object: &Value) -> Vec<String> {
        let mut warnings = no_controller("StatefulSet");
        warnings.extend(template_warnings(object));
        warnings
    }
}

/// A StatefulSet's template is checked as if its claims were volumes of the pod.
fn check_stateful_template(spec: &Value, path: &Path<'_>, errors: &mut Vec<Error>) {
    let claims = items(spec, "volumeClaimTemplates");
    if claims.is_empty() {
        return check_running_template(spec, "StatefulSet", path, errors);
    }
    let mut whole = json!({"template": spec.get("template").cloned().unwrap_or(Value::Null)});
    if let Some(pod) = whole["template"].get_mut("spec").and_then(Value::as_object_mut) {
        let volumes = pod.entry("volumes").or_insert_with(|| json!([]));
        let names: Vec<&str> = claims.iter().map(meta::name).collect();
        if let Some(list) = volumes.as_array_mut() {
            list.retain(|v| !names.contains(&text(v, "name")));
            list.extend(names.iter().map(|n| json!({"name": n, "persistentVolumeClaim": {"claimName": n}})));
        }
    }
    check_running_template(&whole, "StatefulSet", path, errors);
}

pub(super) struct ControllerRevision;

impl Strategy for ControllerRevision {
    fn prepare_create(&self, _object: &mut Value) {}
    fn prepare_update(&self, _object: &mut Value, _old: &Value) {}

    fn validate(&self, object: &Value) -> Vec<Error> {
        let mut errors = Vec::new();
        if present(object, "data").is_none() {
            errors.push(Error::required(&Path::new("data"), "data is mandatory"));
        }
        check_non_negative(object, "revision", &Path::new(""), &mut errors);
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
