//! What the server writes into `metadata` (`registry/rest/create.go`, `update.go`, `delete.go`).

use super::{deletion_grace_seconds, deletion_timestamp, generation, metadata_mut, name, namespace};
use crate::kinds::Resource;
use crate::status::Status;
use crate::time;
use jiff::Timestamp;
use serde_json::{Map, Value};
use std::collections::HashSet;

/// What a creation brings in from outside.
#[derive(Clone, Copy, Debug)]
pub struct Creation<'a> {
    pub uid: &'a str,
    pub now: Timestamp,
    /// Random bits for the suffix of `generateName`.
    pub random: u64,
    /// `Strategy::has_generation`.
    pub has_generation: bool,
}

const SUFFIX_ALPHABET: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";
const SUFFIX_LENGTH: usize = 5;
const BASE_MAX: usize = 63 - SUFFIX_LENGTH;

/// `base`, cut to 58 bytes, and five characters chosen by `random`.
#[must_use]
pub fn generate_name(base: &str, mut random: u64) -> String {
    let mut end = base.len().min(BASE_MAX);
    while !base.is_char_boundary(end) {
        end -= 1;
    }
    let mut name = String::with_capacity(end + SUFFIX_LENGTH);
    name.push_str(&base[..end]);
    let radix = SUFFIX_ALPHABET.len() as u64;
    for _ in 0..SUFFIX_LENGTH {
        let digit = usize::try_from(random % radix).unwrap_or(0);
        name.push(char::from(SUFFIX_ALPHABET[digit]));
        random /= radix;
    }
    name
}

/// Fills the metadata of an object to be created: name from `generateName`, uid, creation time, generation 1.
/// Drops what only the server may set.
pub fn default_create(object: &mut Value, creation: &Creation<'_>) {
    let generated = name(object).is_empty().then(|| {
        let base = object.pointer("/metadata/generateName").and_then(Value::as_str).unwrap_or_default();
        (!base.is_empty()).then(|| generate_name(base, creation.random))
    });
    let Some(metadata) = metadata_mut(object) else { return };
    if let Some(generated) = generated.flatten() {
        metadata.insert("name".into(), generated.into());
    }
    for field in ["deletionTimestamp", "deletionGracePeriodSeconds", "selfLink", "generation", "resourceVersion"] {
        metadata.remove(field);
    }
    metadata.insert("uid".into(), creation.uid.into());
    metadata.insert("creationTimestamp".into(), time::format(creation.now).into());
    if creation.has_generation {
        metadata.insert("generation".into(), 1.into());
    }
    drop_empty(metadata);
}

/// Carries over from `old` what an update cannot change, so that clients may leave it out. A different
/// `uid` stays, for `validate_update` to refuse.
pub fn default_update(object: &mut Value, old: &Value) {
    let empty = Map::new();
    let before = old.get("metadata").and_then(Value::as_object).unwrap_or(&empty);
    let Some(metadata) = metadata_mut(object) else { return };
    metadata.remove("selfLink");
    for field in ["creationTimestamp", "generation"] {
        keep(metadata, before, field);
    }
    if before.contains_key("deletionTimestamp") {
        keep(metadata, before, "deletionTimestamp");
        if !metadata.contains_key("deletionGracePeriodSeconds") {
            keep(metadata, before, "deletionGracePeriodSeconds");
        }
    }
    for field in ["uid", "name", "namespace"] {
        if metadata.get(field).and_then(Value::as_str).is_none_or(str::is_empty) {
            keep(metadata, before, field);
        }
    }
    drop_empty(metadata);
}

/// Empty and null members are absent on the wire, as Go's `omitempty` has it.
fn drop_empty(metadata: &mut Map<String, Value>) {
    metadata.retain(|_, value| match value {
        Value::Null => false,
        Value::Object(map) => !map.is_empty(),
        Value::Array(list) => !list.is_empty(),
        Value::String(text) => !text.is_empty(),
        _ => true,
    });
}

fn keep(metadata: &mut Map<String, Value>, before: &Map<String, Value>, field: &str) {
    match before.get(field) {
        Some(value) => metadata.insert(field.into(), value.clone()),
        None => metadata.remove(field),
    };
}

/// Drops owner references that occur twice. Their uids; `None`: there are none.
pub fn dedup_owners(object: &mut Value) -> Option<String> {
    let list = metadata_mut(object)?.get_mut("ownerReferences")?.as_array_mut().filter(|list| list.len() > 1)?;
    let (mut twice, mut seen) = (Vec::<String>::new(), HashSet::new());
    let mut told = HashSet::new();
    let mut kept: Vec<Value> = Vec::with_capacity(list.len());
    for owner in std::mem::take(list) {
        let uid = owner["uid"].as_str().unwrap_or_default().to_owned();
        if seen.insert(owner.to_string()) {
            kept.push(owner);
        } else if told.insert(uid.clone()) && !uid.is_empty() {
            twice.push(uid);
        }
    }
    *list = kept;
    (!twice.is_empty()).then(|| twice.join(", "))
}

/// Raises `metadata.generation` by one when anything but `metadata` and `status` differs from `old`.
/// To be called after the strategy's `prepare_update`.
pub fn bump_generation(object: &mut Value, old: &Value) {
    let counts = |name: &str| !matches!(name, "metadata" | "status" | "kind" | "apiVersion");
    let (Some(new), Some(before)) = (object.as_object(), old.as_object()) else { return };
    let changed = new.iter().any(|(k, v)| counts(k) && before.get(k) != Some(v))
        || before.keys().any(|k| counts(k) && !new.contains_key(k));
    if changed {
        let next = generation(old) + 1;
        if let Some(metadata) = metadata_mut(object) {
            metadata.insert("generation".into(), next.into());
        }
    }
}

/// Marks the object as being deleted `grace_seconds` from `now`, as a graceful delete does. A second,
/// shorter delete brings the time forward; a longer one changes nothing. Returns whether anything changed.
/// `generation` counts the first of them only: the others change when the object goes, not what it is to be.
pub fn mark_deleted(object: &mut Value, now: Timestamp, grace_seconds: i64) -> bool {
    if deletion_timestamp(object).is_some() && deletion_grace_seconds(object).unwrap_or(0) <= grace_seconds {
        return false;
    }
    let grace = grace_seconds.clamp(0, i64::from(i32::MAX));
    let at = now.checked_add(jiff::SignedDuration::from_secs(grace)).unwrap_or(now);
    let next_generation = if deletion_timestamp(object).is_some() { 0 } else { generation(object) + 1 };
    let Some(metadata) = metadata_mut(object) else { return false };
    metadata.insert("deletionTimestamp".into(), time::format(at).into());
    metadata.insert("deletionGracePeriodSeconds".into(), grace.into());
    if next_generation > 1 {
        metadata.insert("generation".into(), next_generation.into());
    }
    true
}

/// Puts the request's namespace into the object, or refuses an object that names another one.
///
/// # Errors
/// 400 where they disagree, or where a cluster-scoped object carries a namespace.
pub fn ensure_namespace(resource: &Resource, object: &mut Value, requested: &str) -> Result<(), Status> {
    let own = namespace(object);
    if own.is_empty() && !requested.is_empty() && resource.namespaced() {
        if let Some(metadata) = metadata_mut(object) {
            metadata.insert("namespace".into(), requested.into());
        }
        return Ok(());
    }
    if resource.namespaced() && own != requested {
        return Err(Status::bad_request(
            "the namespace of the provided object does not match the namespace sent on the request",
        ));
    }
    if !resource.namespaced()
        && !own.is_empty()
        && let Some(metadata) = metadata_mut(object)
    {
        metadata.remove("namespace");
    }
    Ok(())
}

/// Puts the URL's name into the object, or refuses an object that has another one.
///
/// # Errors
/// 400 where they disagree.
pub fn ensure_name(object: &mut Value, requested: &str) -> Result<(), Status> {
    let own = name(object);
    if own.is_empty() {
        if let Some(metadata) = metadata_mut(object) {
            metadata.insert("name".into(), requested.into());
        }
        return Ok(());
    }
    if own != requested {
        return Err(Status::bad_request(format!(
            "the name of the object ({own}) does not match the name on the URL ({requested})"
        )));
    }
    Ok(())
}
