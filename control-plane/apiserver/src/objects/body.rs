//! Between `serde_json::Value` and stored bytes.

use super::Index;
use api::{Resource, Status};
use bytes::Bytes;
use serde_json::{Map, Value};
use store::Revision;

/// The object in `body` as a client would see it: with its resourceVersion, in `resource`'s version.
///
/// # Errors
/// 500: the store holds something that is not an object.
pub(crate) fn parse(resource: &Resource, body: &[u8], revision: Option<Revision>) -> Result<Value, Status> {
    let mut object: Value = serde_json::from_slice(body)
        .map_err(|error| Status::internal(format_args!("a stored object cannot be read: {error}")))?;
    if let (Some(revision), Some(Value::Object(metadata))) = (revision, object.get_mut("metadata")) {
        metadata.insert("resourceVersion".into(), revision.to_string().into());
    }
    if !super::wire::is_native(resource) {
        super::convert::to_served(&mut object, resource);
    }
    Ok(object)
}

/// `object` as it is to be stored, with its index. `now_seconds` (Unix) dates the write.
pub(crate) fn encode(resource: &Resource, object: &Value, now_seconds: i64) -> store::Value {
    encode_over(resource, object, None, now_seconds)
}

/// [`encode`] for an object that takes the place of the one in the body `stored`, if any: another version than the stored one
/// may be unable to tell all that is in it.
pub(crate) fn encode_over(
    resource: &Resource,
    object: &Value,
    stored: Option<&Bytes>,
    now_seconds: i64,
) -> store::Value {
    let converted = (!super::wire::is_native(resource)).then(|| {
        let mut copy = object.clone();
        match stored.and_then(|body| serde_json::from_slice(body).ok()) {
            Some(stored) => super::convert::to_stored_over(&mut copy, resource, &stored),
            None => super::convert::to_stored(&mut copy, resource),
        }
        copy
    });
    let object = converted.as_ref().unwrap_or(object);
    let index = Index::build(resource, object, now_seconds);
    store::Value { body: body(&resource.kind, &resource.storage_api_version, object), index }
}

/// `object` of a custom kind, in `api_version`, as it is to be stored, with its index.
pub(crate) fn encode_as(resource: &Resource, api_version: &str, object: &Value, now_seconds: i64) -> store::Value {
    let index = Index::build(resource, object, now_seconds);
    store::Value { body: body(&resource.kind, api_version, object), index }
}

/// `object`, just marked as being deleted, with the index that it had before.
pub(crate) fn encode_marked(object: &Value, index: &Bytes) -> store::Value {
    encode_unserved(object, Index::marked(index))
}

/// `object` of a kind that is not served now as it was stored once, with the index that it had.
pub(crate) fn encode_unserved(object: &Value, index: Bytes) -> store::Value {
    let text = |field: &str| object.get(field).and_then(Value::as_str).unwrap_or_default();
    store::Value { body: body(text("kind"), text("apiVersion"), object), index }
}

fn body(kind: &str, api_version: &str, object: &Value) -> Bytes {
    let mut out = Vec::with_capacity(1024);
    out.extend_from_slice(b"{\"kind\":\"");
    out.extend_from_slice(kind.as_bytes());
    out.extend_from_slice(b"\",\"apiVersion\":\"");
    out.extend_from_slice(api_version.as_bytes());
    out.extend_from_slice(b"\",\"metadata\":{");
    let empty = Map::new();
    let metadata = object.get("metadata").and_then(Value::as_object).unwrap_or(&empty);
    // First, where readers that leave them be find them at once.
    let managed = metadata.get_key_value("managedFields");
    let rest = metadata.iter().filter(|(key, _)| !matches!(key.as_str(), "resourceVersion" | "managedFields"));
    members(&mut out, managed.into_iter().chain(rest));
    out.push(b'}');
    if let Value::Object(fields) = object {
        for (key, value) in fields {
            if !matches!(key.as_str(), "kind" | "apiVersion" | "metadata") {
                out.push(b',');
                member(&mut out, key, value);
            }
        }
    }
    out.push(b'}');
    Bytes::from(out)
}

fn members<'a>(out: &mut Vec<u8>, fields: impl Iterator<Item = (&'a String, &'a Value)>) {
    for (position, (key, value)) in fields.enumerate() {
        if position > 0 {
            out.push(b',');
        }
        member(out, key, value);
    }
}

fn member(out: &mut Vec<u8>, key: &str, value: &Value) {
    serde_json::to_writer(&mut *out, key).expect("writing to memory cannot fail");
    out.push(b':');
    serde_json::to_writer(&mut *out, value).expect("writing to memory cannot fail");
}
