//! Kinds that are served in two versions and stored in one.

use api::Resource;
use api::strategies::events;
use serde_json::{Map, Value, json};

/// A stored object in the version that `resource` serves.
pub(super) fn to_served(object: &mut Value, resource: &Resource) {
    convert(object, resource, Direction::ToServed);
    object["apiVersion"] = resource.api_version().into();
}

/// An object of `resource`'s version in the one that is stored.
pub(super) fn to_stored(object: &mut Value, resource: &Resource) {
    convert(object, resource, Direction::ToStored);
    object["apiVersion"] = resource.storage_api_version.as_ref().into();
}

/// An object that `from` serves as `to` would serve it; both are rows of one storage.
pub(crate) fn between(object: &Value, from: &Resource, to: &Resource) -> Value {
    let mut object = object.clone();
    to_stored(&mut object, from);
    to_served(&mut object, to);
    object
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Direction {
    ToServed,
    ToStored,
}

fn convert(object: &mut Value, resource: &Resource, direction: Direction) {
    match (resource.storage.as_ref(), direction) {
        ("core/events", Direction::ToServed) => events::convert(object, &resource.group),
        ("core/events", Direction::ToStored) => events::convert(object, ""),
        ("autoscaling/horizontalpodautoscalers", Direction::ToServed) => autoscaler_v1(object),
        ("autoscaling/horizontalpodautoscalers", Direction::ToStored) => autoscaler_v2(object),
        _ => {}
    }
}

fn is_cpu_utilization(metric: &Value) -> bool {
    metric["type"] == "Resource" && metric["resource"]["name"] == "cpu"
}

/// `spec.metrics` of autoscaling/v2 to the one number that v1 knows. Other metrics do not show in v1.
fn autoscaler_v1(object: &mut Value) {
    let metrics = take(object, "spec", "metrics");
    let target =
        metrics.iter().find(|m| is_cpu_utilization(m)).map(|m| m["resource"]["target"]["averageUtilization"].clone());
    put(object, "spec", "targetCPUUtilizationPercentage", target);
    take(object, "spec", "behavior");
    let current = take(object, "status", "currentMetrics");
    let now =
        current.iter().find(|m| is_cpu_utilization(m)).map(|m| m["resource"]["current"]["averageUtilization"].clone());
    put(object, "status", "currentCPUUtilizationPercentage", now);
    take(object, "status", "conditions");
    // v1 writes this count always, v2 where it is not zero.
    if let Some(status) = part(object, "status") {
        status.entry("currentReplicas").or_insert(0.into());
    }
}

fn autoscaler_v2(object: &mut Value) {
    let metric = |inner: &str, number: &Value| {
        let mut value = json!({"averageUtilization": number});
        if inner == "target" {
            value["type"] = "Utilization".into();
        }
        json!([{"type": "Resource", "resource": {"name": "cpu", inner: value}}])
    };
    if let Some(number) = remove(object, "spec", "targetCPUUtilizationPercentage") {
        object["spec"]["metrics"] = metric("target", &number);
    }
    if let Some(number) = remove(object, "status", "currentCPUUtilizationPercentage") {
        object["status"]["currentMetrics"] = metric("current", &number);
    }
    if let Some(status) = part(object, "status") {
        status.entry("currentMetrics").or_insert(Value::Null);
        if status.get("currentReplicas").and_then(Value::as_i64) == Some(0) {
            status.remove("currentReplicas");
        }
    }
}

fn part<'o>(object: &'o mut Value, name: &str) -> Option<&'o mut Map<String, Value>> {
    object.get_mut(name)?.as_object_mut()
}

fn remove(object: &mut Value, name: &str, field: &str) -> Option<Value> {
    part(object, name)?.remove(field).filter(|value| !value.is_null())
}

fn take(object: &mut Value, name: &str, field: &str) -> Vec<Value> {
    match remove(object, name, field) {
        Some(Value::Array(list)) => list,
        _ => Vec::new(),
    }
}

fn put(object: &mut Value, name: &str, field: &str, value: Option<Value>) {
    if let (Some(value), Some(part)) = (value.filter(|v| !v.is_null()), part(object, name)) {
        part.insert(field.into(), value);
    }
}
