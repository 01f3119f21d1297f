//! `metadata.managedFields` beside the object that they belong to: a write that does not concern them leaves them the text
//! that they are in the stored body, and no object in the pipeline has them as values.
//!
//! Invariant: what [`put`] writes stands first in the metadata, where [`cut`] finds it; others find it where JSON says.

use api::{Resource, Status, meta};
use bytes::Bytes;
use serde_json::{Map, Value, json};
use std::sync::Arc;
use store::{Entry, Revision};

const METADATA: &[u8] = b"\"metadata\":{";
const MEMBER: &[u8] = b"\"managedFields\":";

/// An object without its `managedFields`, and their text.
pub(crate) struct Apart {
    pub object: Value,
    pub managed: Option<Bytes>,
}

impl Apart {
    /// The JSON array.
    pub(crate) fn managed(&self) -> Option<&str> {
        self.managed.as_deref().and_then(|bytes| std::str::from_utf8(bytes).ok())
    }

    /// The object as clients see it.
    pub(crate) fn whole(&self) -> Value {
        let mut object = self.object.clone();
        let managed = self.managed().and_then(|text| serde_json::from_str(text).ok());
        if let (Some(managed), Some(metadata)) = (managed, meta::metadata_mut(&mut object)) {
            metadata.insert("managedFields".into(), managed);
        }
        object
    }
}

/// [`super::parse`], but for the `managedFields`, which stay text.
///
/// # Errors
/// As `parse`.
pub(crate) fn parse_apart(resource: &Resource, body: &Bytes, revision: Option<Revision>) -> Result<Apart, Status> {
    if let Some((start, end)) = cut(body) {
        let object = super::parse(resource, &without(body), revision)?;
        return Ok(Apart { object, managed: Some(body.slice(start..end)) });
    }
    let mut object = super::parse(resource, body, revision)?;
    let managed = take(&mut object).filter(|managed| managed.as_array().is_some_and(|list| !list.is_empty()));
    Ok(Apart { object, managed: managed.map(|managed| Bytes::from(managed.to_string())) })
}

/// What a stored body says in its metadata, and nothing else of it: `{"metadata":{…}}`, without `managedFields`, with the
/// resourceVersion.
///
/// # Errors
/// As `parse`.
pub(crate) fn parse_metadata(body: &Bytes, revision: Revision) -> Result<Value, Status> {
    let unreadable = || Status::internal("a stored object cannot be read: it has no metadata");
    let start = metadata(body).ok_or_else(unreadable)?;
    let end = start + super::wire::object_end(&body[start..]);
    let mut text = Vec::with_capacity(end - start + 1);
    text.push(b'{');
    let own = cut(body).map_or(start, |(_, after)| if body.get(after) == Some(&b',') { after + 1 } else { after });
    text.extend_from_slice(body.get(own..end).ok_or_else(unreadable)?);
    let mut found: Map<String, Value> = serde_json::from_slice(&text)
        .map_err(|error| Status::internal(format_args!("a stored object cannot be read: {error}")))?;
    found.remove("managedFields");
    found.insert("resourceVersion".into(), revision.to_string().into());
    Ok(json!({ "metadata": found }))
}

/// A stored body without its `managedFields`.
pub(crate) fn without(body: &Bytes) -> Bytes {
    let Some((start, end)) = cut(body) else { return body.clone() };
    let rest = if body.get(end) == Some(&b',') { end + 1 } else { end };
    let mut bare = Vec::with_capacity(body.len());
    bare.extend_from_slice(&body[..start - MEMBER.len()]);
    bare.extend_from_slice(&body[rest..]);
    bare.into()
}

/// An entry whose body has no `managedFields`.
pub(crate) fn entry_without(entry: &Entry) -> Arc<Entry> {
    let value = store::Value { body: without(&entry.value.body), index: entry.value.index.clone() };
    Arc::new(Entry { value, ..Entry::clone(entry) })
}

/// Takes the `managedFields` out of an object.
pub(crate) fn take(object: &mut Value) -> Option<Value> {
    object.get_mut("metadata")?.as_object_mut()?.remove("managedFields")
}

/// Puts `managedFields` into a body that has none.
pub(crate) fn put(body: &Bytes, managed: Option<&str>) -> Bytes {
    let (Some(managed), Some(at)) = (managed, metadata(body)) else { return body.clone() };
    let mut out = Vec::with_capacity(body.len() + managed.len() + MEMBER.len() + 1);
    out.extend_from_slice(&body[..at]);
    out.extend_from_slice(MEMBER);
    out.extend_from_slice(managed.as_bytes());
    if body.get(at) != Some(&b'}') {
        out.push(b',');
    }
    out.extend_from_slice(&body[at..]);
    out.into()
}

/// Where the members of the metadata begin. A stored body starts with kind, version and metadata; neither of the first two
/// has a quote in it.
fn metadata(body: &[u8]) -> Option<usize> {
    body.windows(METADATA.len()).position(|window| window == METADATA).map(|at| at + METADATA.len())
}

/// Where the array of `managedFields` lies, if it is the first of the metadata.
fn cut(body: &[u8]) -> Option<(usize, usize)> {
    let start = metadata(body)?;
    let text = body.get(start..)?.strip_prefix(MEMBER).filter(|text| text.first() == Some(&b'['))?;
    Some((start + MEMBER.len(), start + MEMBER.len() + super::wire::value_end(text)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn managed_fields_are_put_first_and_cut_out_again() {
        let pods = api::Kinds::builtin().find("", "v1", "pods").unwrap();
        let object =
            json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "a", "labels": {"x": "]\"["}}, "spec": {}});
        let managed = r#"[{"manager":"m]\"[","fieldsV1":{"k:{\"a\":[1]}":{}}}]"#;
        let bare = super::super::encode(&pods, &object, 0).body;
        let body = put(&bare, Some(managed));
        let apart = parse_apart(&pods, &body, None).unwrap();
        assert_eq!((&apart.object, apart.managed()), (&object, Some(managed)));
        assert_eq!(apart.whole(), serde_json::from_slice::<Value>(&body).unwrap());
        assert_eq!(parse_apart(&pods, &bare, None).unwrap().managed(), None);
        let metadata = json!({"metadata": {"name": "a", "labels": {"x": "]\"["}, "resourceVersion": "7"}});
        assert_eq!(parse_metadata(&body, 7).unwrap(), metadata);
        assert_eq!(parse_metadata(&bare, 7).unwrap(), metadata);
        assert_eq!((put(&bare, None), without(&body), without(&bare)), (bare.clone(), bare.clone(), bare));
        // Wherever somebody else put them.
        let late =
            json!({"kind": "Pod", "apiVersion": "v1", "metadata": {"a": 1, "managedFields": [{"manager": "m"}]}});
        let apart = parse_apart(&pods, &late.to_string().into(), None).unwrap();
        assert_eq!(apart.managed(), Some(r#"[{"manager":"m"}]"#));
        assert_eq!(apart.object["metadata"], json!({"a": 1}));
        let found = parse_metadata(&late.to_string().into(), 7).unwrap();
        assert_eq!(found["metadata"], json!({"a": 1, "resourceVersion": "7"}));
        let alone = put(&Bytes::from_static(br#"{"kind":"K","apiVersion":"v1","metadata":{}}"#), Some("[]"));
        assert_eq!(&alone[..], br#"{"kind":"K","apiVersion":"v1","metadata":{"managedFields":[]}}"#);
        assert_eq!(parse_metadata(&alone, 7).unwrap(), json!({"metadata": {"resourceVersion": "7"}}));
        for broken in [&b"{}"[..], br#"{"metadata":{"#, br#"{"metadata":{"managedFields":[]"#] {
            assert_eq!(parse_metadata(&Bytes::from_static(broken), 7).unwrap_err().code, 500);
        }
    }
}
