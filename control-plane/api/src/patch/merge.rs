//! JSON merge patch (RFC 7386) as kube-apiserver's library does it. It differs in one thing: what is new is put in without
//! its nulls, also those of objects that are in lists.

use serde_json::{Map, Value};

/// Merges `patch` into `value`.
pub(super) fn merge(value: &mut Value, patch: &Value) {
    match (value, patch) {
        (Value::Object(map), Value::Object(patch)) => merge_maps(map, patch),
        (value @ Value::Object(_), patch) => *value = patch.clone(),
        (value, patch) => *value = without_nulls(patch),
    }
}

fn merge_maps(map: &mut Map<String, Value>, patch: &Map<String, Value>) {
    for (name, new) in patch {
        match map.get_mut(name) {
            _ if new.is_null() => {
                map.remove(name);
            }
            Some(old) if !old.is_null() => merge(old, new),
            _ => {
                map.insert(name.clone(), without_nulls(new));
            }
        }
    }
}

fn without_nulls(value: &Value) -> Value {
    match value {
        Value::Object(map) => {
            let kept = map.iter().filter(|(_, value)| !value.is_null());
            Value::Object(kept.map(|(name, value)| (name.clone(), without_nulls(value))).collect())
        }
        Value::Array(list) => Value::Array(list.iter().map(without_nulls).collect()),
        scalar => scalar.clone(),
    }
}
