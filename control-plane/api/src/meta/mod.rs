//! `metadata` of any object: reading it, filling it at creation, keeping it at update, and its rules.
//!
//! Has no clock and no randomness: both are arguments.

mod fill;
#[cfg(test)]
mod tests;
mod validate;

pub use fill::{
    Creation, bump_generation, dedup_owners, default_create, default_update, ensure_name, ensure_namespace,
    generate_name, mark_deleted,
};
pub(crate) use validate::{IMMUTABLE, check_annotations, check_plain_finalizer};
pub use validate::{NameRule, name_rule, resource_version_required, validate_create, validate_labels, validate_update};

use serde_json::{Map, Value};

/// The most bytes that all annotation keys and values of one object may have together: 256 KiB.
pub const ANNOTATIONS_MAX_BYTES: usize = 256 * 1024;

fn text<'a>(object: &'a Value, field: &str) -> Option<&'a str> {
    object.get("metadata")?.get(field)?.as_str()
}

/// `metadata.name`, or the empty text.
#[must_use]
pub fn name(object: &Value) -> &str {
    text(object, "name").unwrap_or_default()
}

/// `metadata.namespace`, or the empty text.
#[must_use]
pub fn namespace(object: &Value) -> &str {
    text(object, "namespace").unwrap_or_default()
}

/// `metadata.uid`, or the empty text.
#[must_use]
pub fn uid(object: &Value) -> &str {
    text(object, "uid").unwrap_or_default()
}

/// `metadata.resourceVersion`, or the empty text.
#[must_use]
pub fn resource_version(object: &Value) -> &str {
    text(object, "resourceVersion").unwrap_or_default()
}

/// `metadata.creationTimestamp` as it is written.
#[must_use]
pub fn creation_timestamp(object: &Value) -> Option<&str> {
    text(object, "creationTimestamp")
}

/// `metadata.deletionTimestamp` as it is written: present when the object is being deleted.
#[must_use]
pub fn deletion_timestamp(object: &Value) -> Option<&str> {
    text(object, "deletionTimestamp")
}

/// `metadata.deletionGracePeriodSeconds`.
#[must_use]
pub fn deletion_grace_seconds(object: &Value) -> Option<i64> {
    object.get("metadata")?.get("deletionGracePeriodSeconds")?.as_i64()
}

/// `metadata.generation`, or 0.
#[must_use]
pub fn generation(object: &Value) -> i64 {
    object.get("metadata").and_then(|m| m.get("generation")).and_then(Value::as_i64).unwrap_or(0)
}

#[must_use]
pub fn labels(object: &Value) -> Option<&Map<String, Value>> {
    object.get("metadata")?.get("labels")?.as_object()
}

/// The value of one label.
#[must_use]
pub fn label<'a>(object: &'a Value, key: &str) -> Option<&'a str> {
    labels(object)?.get(key)?.as_str()
}

#[must_use]
pub fn annotations(object: &Value) -> Option<&Map<String, Value>> {
    object.get("metadata")?.get("annotations")?.as_object()
}

/// The value of one annotation.
#[must_use]
pub fn annotation<'a>(object: &'a Value, key: &str) -> Option<&'a str> {
    annotations(object)?.get(key)?.as_str()
}

/// `metadata.finalizers`.
pub fn finalizers(object: &Value) -> impl Iterator<Item = &str> {
    list(object, "finalizers").iter().filter_map(Value::as_str)
}

/// `metadata.ownerReferences`.
#[must_use]
pub fn owner_references(object: &Value) -> &[Value] {
    list(object, "ownerReferences")
}

fn list<'a>(object: &'a Value, field: &str) -> &'a [Value] {
    object.get("metadata").and_then(|m| m.get(field)).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

/// The metadata map, created where it is absent (or is no map at all).
pub fn metadata_mut(object: &mut Value) -> Option<&mut Map<String, Value>> {
    let entry = object.as_object_mut()?.entry("metadata").or_insert_with(|| Value::Object(Map::new()));
    if !entry.is_object() {
        *entry = Value::Object(Map::new());
    }
    entry.as_object_mut()
}
