//! autoscaling/v2 shown as autoscaling/v1, and back (Kubernetes' `pkg/apis/autoscaling/v1/conversion.go`): v1 has fields for
//! a utilization of the CPU alone, the rest goes along in annotations, which objects of v2 never have.

use super::CPU_UTILIZATION;
use super::annotations::{self as notes, BEHAVIOR, CONDITIONS, CURRENT_METRICS, METRICS};
use crate::meta;
use crate::strategies::json::{Object, int, present, text};
use serde_json::{Map, Value, json};

const TARGET: &str = "targetCPUUtilizationPercentage";
const CURRENT: &str = "currentCPUUtilizationPercentage";

/// Whether an autoscaler is one of v1.
pub(super) fn is_v1(object: &Value) -> bool {
    text(object, "apiVersion") == "autoscaling/v1"
}

/// Makes an autoscaler of v2 one of v1.
pub fn to_v1(object: &mut Value) {
    let mut written = Vec::new();
    if let Some(spec) = part(object, "spec") {
        let metrics = take_list(spec, "metrics");
        if let Some(percent) = metrics.iter().find_map(|metric| cpu_utilization(metric, "target")) {
            spec.insert(TARGET.into(), percent.into());
        }
        let mut others = metrics.iter().filter(|metric| cpu_utilization(metric, "target").is_none()).peekable();
        if others.peek().is_some() {
            written.push((METRICS, notes::write_metrics(others)));
        }
        if let Some(behavior) = spec.remove("behavior").filter(Value::is_object) {
            written.push((BEHAVIOR, notes::write_behavior(&behavior)));
        }
    }
    if let Some(status) = part(object, "status") {
        let metrics = take_list(status, "currentMetrics");
        if let Some(percent) = metrics.iter().rev().find_map(|metric| cpu_utilization(metric, "current")) {
            status.insert(CURRENT.into(), percent.into());
        }
        if !metrics.is_empty() {
            written.push((CURRENT_METRICS, notes::write_current_metrics(&metrics)));
        }
        let conditions = take_list(status, "conditions");
        if !conditions.is_empty() {
            written.push((CONDITIONS, notes::write_conditions(&conditions)));
        }
        // v1 writes this count always, v2 where it is not zero.
        status.entry("currentReplicas").or_insert(0.into());
    }
    take_annotations(object);
    if !written.is_empty() {
        annotate(object, written);
    }
    rename(object, "autoscaling/v1");
}

/// Makes an autoscaler of v1 one of v2. One that aims at nothing aims at the CPU from then on.
pub fn to_v2(object: &mut Value) {
    let taken = take_annotations(object);
    let note = |name: &str| taken.get(name).and_then(Value::as_str);
    if let Some(spec) = part(object, "spec") {
        let target = spec.remove(TARGET).and_then(|percent| percent.as_i64());
        let mut metrics = note(METRICS).and_then(notes::read_metrics).unwrap_or_default();
        let default = metrics.is_empty().then_some(CPU_UTILIZATION);
        metrics.extend(target.or(default).map(aim_at_cpu));
        spec.insert("metrics".into(), metrics.into());
        if let Some(behavior) = note(BEHAVIOR).and_then(notes::read_behavior) {
            spec.insert("behavior".into(), behavior);
        }
    }
    let metrics = note(CURRENT_METRICS).and_then(notes::read_current_metrics);
    let conditions = note(CONDITIONS).and_then(notes::read_conditions).filter(|list| !list.is_empty());
    if let (true, Some(object)) = (metrics.is_some() || conditions.is_some(), object.as_object_mut()) {
        object.entry("status").or_insert_with(|| json!({"desiredReplicas": 0}));
    }
    if let Some(status) = part(object, "status") {
        let current = status.remove(CURRENT).and_then(|percent| percent.as_i64());
        // What the annotation says is more than the one number.
        let metrics = metrics.unwrap_or_else(|| current.map(cpu_is_at).into_iter().collect());
        let list = if metrics.is_empty() { Value::Null } else { metrics.into() };
        status.insert("currentMetrics".into(), list);
        if let Some(conditions) = conditions {
            status.insert("conditions".into(), conditions.into());
        }
        if status.get("currentReplicas").and_then(Value::as_i64) == Some(0) {
            status.remove("currentReplicas");
        }
    }
    rename(object, "autoscaling/v2");
}

/// Gives an object of v2 that has come through v1 what it had in the store and v1 cannot tell, such as the order of its
/// metrics, in each part that was left as it was.
pub fn restore(object: &mut Value, stored: &Value) {
    let mut shown = stored.clone();
    to_v1(&mut shown);
    to_v2(&mut shown);
    let Some(map) = object.as_object_mut() else { return };
    for name in ["spec", "status"] {
        if let (Some(now), Some(before)) = (map.get_mut(name), stored.get(name))
            && shown.get(name) == Some(&*now)
        {
            *now = before.clone();
        }
    }
}

/// Takes away the annotations that only v1 has.
pub(super) fn take_annotations(object: &mut Value) -> Object {
    let mut taken = Map::new();
    let Some(metadata) = part(object, "metadata") else { return taken };
    let Some(annotations) = metadata.get_mut("annotations").and_then(Value::as_object_mut) else { return taken };
    taken.extend(notes::ALL.iter().filter_map(|name| annotations.remove_entry(*name)));
    if !taken.is_empty() && annotations.is_empty() {
        metadata.remove("annotations");
    }
    taken
}

fn annotate(object: &mut Value, written: Vec<(&str, String)>) {
    let Some(metadata) = meta::metadata_mut(object) else { return };
    let annotations = metadata.entry("annotations").or_insert(Value::Null);
    if !annotations.is_object() {
        *annotations = Map::new().into();
    }
    if let Some(annotations) = annotations.as_object_mut() {
        annotations.extend(written.into_iter().map(|(name, text)| (name.to_owned(), text.into())));
    }
}

fn cpu_utilization(metric: &Value, part: &str) -> Option<i64> {
    let resource = present(metric, "resource").filter(|_| text(metric, "type") == "Resource")?;
    int(resource.get(part).filter(|_| text(resource, "name") == "cpu")?, "averageUtilization")
}

pub(super) fn aim_at_cpu(percent: i64) -> Value {
    json!({"type": "Resource", "resource":
        {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": percent}}})
}

fn cpu_is_at(percent: i64) -> Value {
    json!({"type": "Resource", "resource": {"name": "cpu", "current": {"averageUtilization": percent}}})
}

fn part<'o>(object: &'o mut Value, name: &str) -> Option<&'o mut Object> {
    object.get_mut(name)?.as_object_mut()
}

fn take_list(part: &mut Object, field: &str) -> Vec<Value> {
    match part.remove(field) {
        Some(Value::Array(list)) => list,
        _ => Vec::new(),
    }
}

fn rename(object: &mut Value, api_version: &str) {
    if let Some(map) = object.as_object_mut() {
        map.insert("apiVersion".into(), api_version.into());
    }
}
