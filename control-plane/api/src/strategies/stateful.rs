//! apps/v1: StatefulSet.

use super::apps::{check_collisions, check_ready};
use super::internal;
use super::json::{
    check_name, check_non_negative, each_mut, existing_mut, fill, fill_zero, int, items, map, object_mut, present,
    spec_mut, text, zero,
};
use super::pod::{check_claim_spec, default_claim_spec, template_warnings};
use super::workloads::{
    check_at_most_hundred, check_counts, check_int_or_percent, check_running_template, check_selector,
    default_template, is_none, no_controller,
};
use crate::field::{Error, Path};
use crate::meta;
use crate::strategy::Strategy;
use serde_json::{Value, json};
use std::collections::HashSet;

fn spec(object: &Value) -> &Value {
    object.get("spec").unwrap_or(&Value::Null)
}

pub(super) struct StatefulSet;

impl Strategy for StatefulSet {
    /// What was accepted once stays: names and claims cannot be changed any more.
    fn validate_change(&self, object: &Value, old: &Value) -> Vec<Error> {
        let mut errors = check_stateful(object);
        errors.extend(self.validate_update(object, old));
        errors
    }

    fn validate(&self, object: &Value) -> Vec<Error> {
        let mut errors = check_stateful(object);
        check_new_stateful(spec(object), &mut errors);
        errors
    }

    fn validate_status_update(&self, object: &Value, old: &Value) -> Vec<Error> {
        let mut errors = Vec::new();
        let bounded = ["readyReplicas", "currentReplicas", "updatedReplicas", "availableReplicas"];
        let mut counts = vec!["replicas"];
        counts.extend(bounded);
        counts.extend(["observedGeneration", "collisionCount"]);
        check_counts(object, &counts, &bounded, &mut errors);
        check_ready(object, "cannot be greater than status.readyReplicas", &mut errors);
        check_collisions(object, old, &mut errors);
        errors
    }

    fn default(&self, object: &mut Value) {
        let Some(spec) = spec_mut(object) else { return };
        fill_zero(spec, "podManagementPolicy", "OrderedReady");
        fill(spec, "replicas", 1);
        fill(spec, "revisionHistoryLimit", 10);
        if let Some(strategy) = object_mut(spec, "updateStrategy") {
            if zero(strategy.get("type")) {
                strategy.insert("type".into(), "RollingUpdate".into());
                let _ = object_mut(strategy, "rollingUpdate");
            }
            // Who says `RollingUpdate`, and nothing of how, gets no more than that.
            if strategy.get("type").and_then(Value::as_str) == Some("RollingUpdate")
                && let Some(rolling) = existing_mut(strategy, "rollingUpdate")
            {
                fill(rolling, "partition", 0);
                fill(rolling, "maxUnavailable", 1);
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
        if let Some(template) = object.pointer("/spec/template") {
            warnings.extend(template_warnings(template, "spec.template"));
        }
        for (i, claim) in items(spec(object), "volumeClaimTemplates").iter().enumerate() {
            let spec = claim.get("spec").unwrap_or(&Value::Null);
            super::deprecated::claim_spec_warnings(spec, &format!("spec.volumeClaimTemplates[{i}]"), &mut warnings);
        }
        if int(spec(object), "revisionHistoryLimit").is_some_and(|limit| limit < 0) {
            let advice = "a negative value retains all historical revisions; a value >= 0 is recommended";
            warnings.push(format!("spec.revisionHistoryLimit: {advice}"));
        }
        warnings
    }
}

/// Rules of every StatefulSet.
fn check_stateful(object: &Value) -> Vec<Error> {
    let (mut errors, spec, path) = (Vec::new(), spec(object), Path::new("spec"));
    match text(spec, "podManagementPolicy") {
        "OrderedReady" | "Parallel" => {}
        "" => errors.push(Error::required(&path.child("podManagementPolicy"), "")),
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
            check_rolling_stateful(rolling, &strategy_path.child("rollingUpdate"), &mut errors);
        }
        ("OnDelete" | "RollingUpdate", None) => {}
        ("", _) => errors.push(Error::required(&strategy_path, "")),
        _ => {
            let detail = "must be 'RollingUpdate' or 'OnDelete'";
            errors.push(internal::invalid(&strategy_path, internal::STATEFUL_STRATEGY, strategy, detail));
        }
    }
    if let Some(policy) = present(spec, "persistentVolumeClaimRetentionPolicy") {
        let path = path.child("persistentVolumeClaimRetentionPolicy");
        for field in ["whenDeleted", "whenScaled"] {
            let (value, supported) = (text(policy, field), &["Retain", "Delete"]);
            if !supported.contains(&value) {
                errors.push(Error::not_supported(&path.child(field), value, supported));
            }
        }
    }
    for field in ["replicas", "minReadySeconds"] {
        check_non_negative(spec, field, &path, &mut errors);
    }
    if let Some(ordinals) = present(spec, "ordinals") {
        check_non_negative(ordinals, "start", &path.child("ordinals"), &mut errors);
    }
    check_selector(spec, "statefulset", &path, &mut errors);
    check_stateful_template(spec, &path, &mut errors);
    errors
}

fn check_rolling_stateful(rolling: &Value, path: &Path<'_>, errors: &mut Vec<Error>) {
    check_non_negative(rolling, "partition", path, errors);
    if let Some(value) = present(rolling, "maxUnavailable") {
        let at = path.child("maxUnavailable");
        check_int_or_percent(value, &at, errors);
        if is_none(value) {
            errors.push(Error::invalid(&at, value.clone(), "cannot be 0"));
        }
        check_at_most_hundred(value, &at, errors);
    }
}

/// What only a new StatefulSet is held to.
fn check_new_stateful(spec: &Value, errors: &mut Vec<Error>) {
    let list = Path::new("spec.volumeClaimTemplates");
    for (i, claim) in items(spec, "volumeClaimTemplates").iter().enumerate() {
        let at = list.index(i);
        check_claim_spec(claim.get("spec").unwrap_or(&Value::Null), &at.child("spec"), errors);
    }
    match text(spec, "serviceName") {
        "" => {}
        name => {
            let path = Path::new("spec.serviceName");
            check_name(name, &path, crate::names::check_dns1123_label, errors);
        }
    }
}

/// A StatefulSet's template is checked as if its claims were volumes of the pod.
fn check_stateful_template(spec: &Value, path: &Path<'_>, errors: &mut Vec<Error>) {
    let claims = items(spec, "volumeClaimTemplates");
    let named = |field: &str| spec.pointer(&format!("/template/spec/{field}")).is_some();
    if claims.is_empty() && !named("subdomain") && !named("hostname") {
        return check_running_template(spec, "StatefulSet", path, errors);
    }
    let mut whole = json!({"template": spec.get("template").cloned().unwrap_or(Value::Null)});
    if let Some(pod) = whole["template"].get_mut("spec").and_then(Value::as_object_mut) {
        // The controller writes both: what is there does not matter.
        pod.remove("subdomain");
        pod.remove("hostname");
        let volumes = pod.entry("volumes").or_insert_with(|| json!([]));
        let names: HashSet<&str> = claims.iter().map(meta::name).collect();
        if let Some(list) = volumes.as_array_mut() {
            list.retain(|v| !names.contains(text(v, "name")));
            list.extend(
                claims.iter().map(meta::name).map(|n| json!({"name": n, "persistentVolumeClaim": {"claimName": n}})),
            );
        }
    }
    check_running_template(&whole, "StatefulSet", path, errors);
}
