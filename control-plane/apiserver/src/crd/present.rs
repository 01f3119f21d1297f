//! Between what is stored of a custom resource and the version that a request is about.
//!
//! Invariant: on a custom row, `objects::wire` only ever sees bodies in the row's own version. An entry that was written
//! in that version, under the schema of today, goes out as it is; others are brought up to date here, which parses them.

use super::webhook;
use crate::core::Core;
use crate::objects::{self, Apart, Index};
use api::crd::{Conversion, Custom, STAMP};
use api::{Resource, Status, meta};
use bytes::Bytes;
use serde_json::Value;
use std::sync::Arc;
use store::Entry;

/// Whether a stored entry can go out as it is. For built-in kinds always.
pub(crate) fn is_current(resource: &Resource, entry: &Entry) -> bool {
    let Some(custom) = &resource.custom else { return true };
    stored_version(resource, &entry.value.body) == Some(&resource.storage_api_version)
        && Index::of(entry).field(STAMP) == Some(&custom.version().stamp)
}

/// `apiVersion` of a stored body, which begins with `{"kind":K,"apiVersion":V,`.
fn stored_version<'b>(resource: &Resource, body: &'b [u8]) -> Option<&'b str> {
    let rest = body.get(r#"{"kind":"","apiVersion":""#.len() + resource.kind.len()..)?;
    let end = rest.iter().position(|byte| *byte == b'"')?;
    std::str::from_utf8(&rest[..end]).ok()
}

/// The entries as the row shows them: those that are not current in the row's version, under its schema.
///
/// # Errors
/// 500 when an object cannot be read or converted.
pub(crate) async fn show(core: &Core, resource: &Resource, entries: &mut [Arc<Entry>]) -> Result<(), Status> {
    let Some(custom) = &resource.custom else { return Ok(()) };
    let stale: Vec<usize> = (0..entries.len()).filter(|at| !is_current(resource, &entries[*at])).collect();
    if stale.is_empty() {
        return Ok(());
    }
    let mut objects = Vec::with_capacity(stale.len());
    for at in &stale {
        objects.push(renewed(custom, &entries[*at])?);
    }
    convert(core, custom, &mut objects, &resource.storage_api_version).await?;
    for (at, object) in stale.into_iter().zip(objects) {
        let entry = &entries[at];
        let seconds = Index::of(entry).written_seconds();
        let value = objects::encode_as(resource, &resource.storage_api_version, &object, seconds);
        entries[at] = Arc::new(Entry { value, ..Entry::clone(entry) });
    }
    Ok(())
}

/// One entry as the row shows it.
///
/// # Errors
/// As [`show`].
pub(crate) async fn one(core: &Core, resource: &Resource, entry: &Arc<Entry>) -> Result<Arc<Entry>, Status> {
    let mut entries = [Arc::clone(entry)];
    show(core, resource, &mut entries).await?;
    let [entry] = entries;
    Ok(entry)
}

/// An object as the schema of the version that it is stored in would have it today.
fn renewed(custom: &Custom, entry: &Entry) -> Result<Value, Status> {
    let mut object: Value = serde_json::from_slice(&entry.value.body)
        .map_err(|error| Status::internal(format_args!("a stored object cannot be read: {error}")))?;
    if let Some(version) = custom.definition.version_of(object["apiVersion"].as_str().unwrap_or_default()) {
        version.prune(&mut object);
        version.default(&mut object);
    }
    Ok(object)
}

/// Objects of any version in `wanted`.
async fn convert(core: &Core, custom: &Custom, objects: &mut [Value], wanted: &str) -> Result<(), Status> {
    let definition = &custom.definition;
    let others: Vec<usize> = (0..objects.len()).filter(|at| objects[*at]["apiVersion"] != wanted).collect();
    if others.is_empty() {
        return Ok(());
    }
    match &definition.conversion {
        Conversion::None => {
            for at in &others {
                objects[*at]["apiVersion"] = wanted.into();
            }
        }
        Conversion::Webhook { client, reviews } => {
            let batch: Vec<Value> = others.iter().map(|at| objects[*at].take()).collect();
            let converted = webhook::convert(core, definition, (client, reviews), batch, wanted).await?;
            for (at, object) in others.iter().zip(converted) {
                objects[*at] = object;
            }
        }
    }
    if let Some(version) = definition.version_of(wanted) {
        for at in others {
            version.prune(&mut objects[at]);
        }
    }
    Ok(())
}

/// A custom object of any version in that of `to`.
///
/// # Errors
/// As [`show`].
pub(crate) async fn between(core: &Core, to: &Resource, object: Value) -> Result<Value, Status> {
    let mut objects = [object];
    if let Some(custom) = &to.custom {
        convert(core, custom, &mut objects, &to.api_version()).await?;
    }
    let [object] = objects;
    Ok(object)
}

/// [`between`] for several objects of one kind, in their order.
///
/// # Errors
/// As [`show`].
pub(crate) async fn all(core: &Core, to: &Resource, mut objects: Vec<Value>) -> Result<Vec<Value>, Status> {
    if let Some(custom) = &to.custom {
        convert(core, custom, &mut objects, &to.api_version()).await?;
    }
    Ok(objects)
}

/// An object on its way to the store.
pub(crate) struct Encoded {
    pub stored: store::Value,
    /// What its writer is shown: the stored body, in the version of the request.
    pub shown: Bytes,
}

impl Encoded {
    /// With `managedFields` put in.
    pub(crate) fn owned(mut self, managed: Option<&str>) -> Self {
        if managed.is_some() {
            let native = self.stored.body == self.shown;
            self.stored.body = objects::put_owners(&self.stored.body, managed);
            self.shown = if native { self.stored.body.clone() } else { objects::put_owners(&self.shown, managed) };
        }
        self
    }
}

/// `object` of the row's version in its stored form, in the place of the one in the body `before`, if any.
///
/// # Errors
/// As [`show`], for kinds whose stored version is another.
pub(crate) async fn encode(
    core: &Core,
    resource: &Resource,
    (object, before): (&Value, Option<&Bytes>),
    now_seconds: i64,
) -> Result<Encoded, Status> {
    let Some(custom) = resource.custom.as_ref().filter(|custom| !custom.is_stored_version()) else {
        let stored = objects::encode_over(resource, object, before, now_seconds);
        return Ok(Encoded { shown: stored.body.clone(), stored });
    };
    let wanted = custom.definition.stored_api_version();
    let mut copy = [object.clone()];
    convert(core, custom, &mut copy, &wanted).await?;
    let stored = objects::encode_as(resource, &wanted, &copy[0], now_seconds);
    let entry = Entry { value: stored.clone(), create_revision: 0, mod_revision: 0, version: 0 };
    let shown = one(core, resource, &Arc::new(entry)).await?.value.body.clone();
    Ok(Encoded { stored, shown })
}

/// The object of an entry, in the row's version, with its resourceVersion; its `managedFields` beside it.
///
/// # Errors
/// As [`show`].
pub(crate) async fn parse_apart(core: &Core, resource: &Resource, entry: &Arc<Entry>) -> Result<Apart, Status> {
    if is_current(resource, entry) {
        return objects::parse_apart(resource, &entry.value.body, Some(entry.mod_revision));
    }
    let shown = one(core, resource, entry).await?;
    objects::parse_apart(resource, &shown.value.body, Some(entry.mod_revision))
}

/// Whether `converted` still is the same object as `original` (`validateConvertedObject`).
pub(super) fn same_object(original: &Value, converted: &Value) -> Result<(), String> {
    if original["kind"] != converted["kind"] {
        return Err("must have the same kind".into());
    }
    for field in ["name", "namespace", "uid"] {
        if original["metadata"][field] != converted["metadata"][field] {
            return Err(format!(
                "must have the same {field}: {} != {}",
                original["metadata"][field], converted["metadata"][field]
            ));
        }
    }
    Ok(())
}

/// The metadata of a converted object: only labels and annotations are the webhook's (`restoreObjectMeta`).
pub(super) fn restore_metadata(original: &Value, converted: &mut Value) {
    let (labels, annotations) = (meta::labels(converted).cloned(), meta::annotations(converted).cloned());
    converted["metadata"] = original["metadata"].clone();
    let Some(metadata) = meta::metadata_mut(converted) else { return };
    for (field, value) in [("labels", labels), ("annotations", annotations)] {
        match value {
            Some(map) => metadata.insert(field.into(), Value::Object(map)),
            None => metadata.remove(field),
        };
    }
}
