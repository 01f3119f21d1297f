//! HorizontalPodAutoscaler: the rules are those of autoscaling/v2, which is what is stored; an object of v1 is held to them
//! as the v2 object that it stands for.

mod annotations;
mod convert;
mod go;
#[cfg(test)]
mod tests;

pub use convert::{restore, to_v1, to_v2};

use super::json::{fill, items, present, spec_mut};
use super::policy;
use super::workloads::no_controller;
use crate::field::Error;
use crate::strategy::{Strategy, keep_all_but_status, keep_from_old, replace_status};
use convert::{aim_at_cpu, is_v1, take_annotations};
use serde_json::{Value, json};
use std::borrow::Cow;

/// What is aimed at, in percent of what pods request, where nothing is said.
const CPU_UTILIZATION: i64 = 80;
const KIND: &str = "HorizontalPodAutoscaler";

pub(super) struct Autoscaler;

impl Strategy for Autoscaler {
    fn default(&self, object: &mut Value) {
        if !is_v1(object) {
            take_annotations(object);
            return default(object);
        }
        // What v1 leaves out of a behaviour, Kubernetes fills in when it reads what it stored: what it would not store is
        // not filled in.
        in_v2(object, |object| {
            if let Some(spec) = spec_mut(object) {
                fill(spec, "minReplicas", 1);
            }
            let behavior = object.pointer("/spec/behavior");
            let rules = ["scaleUp", "scaleDown"].iter().filter_map(|direction| present(behavior?, direction));
            if rules.into_iter().all(|rules| !items(rules, "policies").is_empty()) {
                default(object);
            }
        });
    }

    fn new_status(&self) -> Option<Value> {
        Some(json!({"currentMetrics": null, "desiredReplicas": 0}))
    }

    fn prepare_create(&self, object: &mut Value) {
        in_v2(object, |object| replace_status(object, self.new_status()));
    }

    fn prepare_update(&self, object: &mut Value, old: &Value) {
        in_v2(object, |object| keep_from_old(object, &as_v2(old), "status"));
    }

    fn prepare_status_update(&self, object: &mut Value, old: &Value) {
        in_v2(object, |object| keep_all_but_status(object, &as_v2(old)));
    }

    fn validate(&self, object: &Value) -> Vec<Error> {
        policy::autoscaler(&as_v2(object))
    }

    fn validate_change(&self, object: &Value, old: &Value) -> Vec<Error> {
        policy::changed_autoscaler(&as_v2(object), &as_v2(old))
    }

    fn validate_status_update(&self, object: &Value, _old: &Value) -> Vec<Error> {
        policy::autoscaler_status(object)
    }

    fn warnings(&self, _object: &Value) -> Vec<String> {
        no_controller(KIND)
    }

    fn has_generation(&self) -> bool {
        false
    }
}

fn as_v2(object: &Value) -> Cow<'_, Value> {
    if !is_v1(object) {
        return Cow::Borrowed(object);
    }
    let mut object = object.clone();
    to_v2(&mut object);
    Cow::Owned(object)
}

/// Does something to the v2 object that `object` is or stands for.
fn in_v2(object: &mut Value, work: impl FnOnce(&mut Value)) {
    let old = is_v1(object);
    if old {
        to_v2(object);
    }
    work(object);
    if old {
        to_v1(object);
    }
}

/// The defaults of v2.
fn default(object: &mut Value) {
    let Some(spec) = spec_mut(object) else { return };
    fill(spec, "minReplicas", 1);
    if spec.get("metrics").and_then(Value::as_array).is_none_or(Vec::is_empty) {
        spec.insert("metrics".into(), json!([aim_at_cpu(CPU_UTILIZATION)]));
    }
    let Some(behavior) = spec.get_mut("behavior").and_then(Value::as_object_mut) else { return };
    let percent = json!({"type": "Percent", "value": 100, "periodSeconds": 15});
    let pods = json!({"type": "Pods", "value": 4, "periodSeconds": 15});
    for (direction, window, policies) in
        [("scaleUp", Some(0), json!([pods, percent])), ("scaleDown", None, json!([percent]))]
    {
        fill(behavior, direction, json!({}));
        let Some(rules) = behavior.get_mut(direction).and_then(Value::as_object_mut) else { continue };
        fill(rules, "selectPolicy", "Max");
        fill(rules, "policies", policies);
        if let Some(seconds) = window {
            fill(rules, "stabilizationWindowSeconds", seconds);
        }
    }
}
