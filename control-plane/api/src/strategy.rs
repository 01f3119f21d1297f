//! What a kind adds to the one generic pipeline, in the terms of Kubernetes' `registry/rest`.
//!
//! The API server calls the hooks in this order:
//! create: `default` → `prepare_create` → `validate` → store;
//! update: `default` → `prepare_update` → `validate` → `validate_update` → store;
//! status: `default` → `prepare_status_update` → `validate_status_update` → store.
//! `metadata` is handled by the pipeline itself (see `meta`), never by a strategy.

use crate::field;
use serde_json::Value;

/// The rules of one kind. Every method has the behaviour of a kind without rules as its default.
pub trait Strategy: Send + Sync {
    /// Fills the fields that Kubernetes fills when they are absent. Idempotent.
    fn default(&self, _object: &mut Value) {}

    /// The status of a new object. Kubernetes' built-in kinds write theirs always, with the zeroes of the counts that it
    /// must have, and clients read fields of it without asking whether it is there. `None`: no status until one is set.
    fn new_status(&self) -> Option<Value> {
        None
    }

    /// Drops what a creator may not set (`status`, mostly) and derives what it must not choose.
    fn prepare_create(&self, object: &mut Value) {
        replace_status(object, self.new_status());
    }

    /// Puts back what an update may not change (`status`, where it is a subresource).
    fn prepare_update(&self, object: &mut Value, old: &Value) {
        keep_from_old(object, old, "status");
    }

    /// Puts back what a status update may not change: all but `status` and some of `metadata`.
    fn prepare_status_update(&self, object: &mut Value, old: &Value) {
        keep_all_but_status(object, old);
    }

    /// Rules that hold for every stored object of the kind.
    fn validate(&self, _object: &Value) -> Vec<field::Error> {
        Vec::new()
    }

    /// Rules about the step from `old` to `object`: immutable fields, allowed transitions.
    fn validate_update(&self, _object: &Value, _old: &Value) -> Vec<field::Error> {
        Vec::new()
    }

    /// All rules of an update: those of every object and those of the step. A kind that forgives what was wrong before
    /// judges both together.
    fn validate_change(&self, object: &Value, old: &Value) -> Vec<field::Error> {
        let mut errors = self.validate(object);
        errors.extend(self.validate_update(object, old));
        errors
    }

    /// All rules of an update, and its `Warning` headers: for kinds whose rules make both at once.
    fn judge_change(&self, object: &Value, old: &Value) -> (Vec<field::Error>, Vec<String>) {
        (self.validate_change(object, old), self.change_warnings(object, old))
    }

    /// The same for an update of `status`.
    fn judge_status_update(&self, object: &Value, old: &Value) -> (Vec<field::Error>, Vec<String>) {
        (self.validate_status_update(object, old), Vec::new())
    }

    /// All rules of an update of `status`.
    fn validate_status_update(&self, _object: &Value, _old: &Value) -> Vec<field::Error> {
        Vec::new()
    }

    /// Leaves of an update through `subresource`, one that changes a part of the object other than `status`, what it may
    /// change; the rest becomes what it is in `old`.
    fn prepare_subresource_update(&self, _subresource: &str, object: &mut Value, old: &Value) {
        *object = old.clone();
    }

    /// All rules of an update through `subresource`.
    fn validate_subresource_update(&self, _subresource: &str, _object: &Value, _old: &Value) -> Vec<field::Error> {
        Vec::new()
    }

    /// `Warning` headers for this object.
    fn warnings(&self, _object: &Value) -> Vec<String> {
        Vec::new()
    }

    /// `Warning` headers for the step from `old` to `object`.
    fn change_warnings(&self, object: &Value, _old: &Value) -> Vec<String> {
        self.warnings(object)
    }

    /// Whether `metadata.generation` counts: 1 at creation, one more when anything but `metadata` and `status` changes.
    fn has_generation(&self) -> bool {
        true
    }

    /// Whether PUT on an absent name creates it (`AllowCreateOnUpdate`), as for Leases, Endpoints, Events.
    fn create_on_update(&self) -> bool {
        false
    }

    /// Whether an update without a resourceVersion is allowed (`AllowUnconditionalUpdate`).
    fn unconditional_update(&self) -> bool {
        true
    }

    /// The selectable fields of the object beside `metadata.name` and `metadata.namespace`, as (field, value).
    fn fields<'s>(&'s self, _object: &Value) -> Vec<(&'s str, String)> {
        Vec::new()
    }

    /// The names of the fields above, for refusing selectors on others.
    fn field_names(&self) -> &'static [&'static str] {
        &[]
    }

    /// The grace period, in seconds, that a delete starts with: `None` removes the object at once.
    /// `requested` is `DeleteOptions.gracePeriodSeconds`.
    fn deletion_grace_seconds(&self, _object: &Value, _requested: Option<i64>) -> Option<i64> {
        None
    }
}

/// The strategy of a kind that adds nothing.
pub struct Plain;
impl Strategy for Plain {}

/// Makes `status` the whole status of `object`.
pub fn replace_status(object: &mut Value, status: Option<Value>) {
    let Some(map) = object.as_object_mut() else { return };
    match status {
        Some(status) => map.insert("status".into(), status),
        None => map.remove("status"),
    };
}

/// Sets `field` of `object` to what it is in `old`, or removes it.
pub fn keep_from_old(object: &mut Value, old: &Value, field: &str) {
    let Some(map) = object.as_object_mut() else { return };
    match old.get(field) {
        Some(value) => map.insert(field.into(), value.clone()),
        None => map.remove(field),
    };
}

/// What a status update of a few kinds may not change of `metadata` (`ResetObjectMetaForStatus`).
pub const METADATA_KEPT: &[&str] = &["labels", "annotations", "finalizers", "ownerReferences"];

/// Sets these fields of `metadata` to what they are in `old`.
pub fn keep_metadata(object: &mut Value, old: &Value, fields: &[&str]) {
    let (Some(new), Some(old)) = (object.get_mut("metadata"), old.get("metadata")) else { return };
    for field in fields {
        keep_from_old(new, old, field);
    }
}

/// Leaves of `object` only `status` and `metadata`; the rest becomes what it is in `old`.
pub fn keep_all_but_status(object: &mut Value, old: &Value) {
    let (Some(map), Some(before)) = (object.as_object_mut(), old.as_object()) else { return };
    let keep = |name: &str| matches!(name, "status" | "metadata" | "apiVersion" | "kind");
    map.retain(|name, _| keep(name));
    for (name, value) in before {
        if !keep(name) {
            map.insert(name.clone(), value.clone());
        }
    }
}
