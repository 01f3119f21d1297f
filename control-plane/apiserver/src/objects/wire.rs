//! Stored bodies to what clients read, by inserting and cutting bytes. Never parses.

use api::Resource;
use bytes::{BufMut as _, Bytes, BytesMut};
use store::Revision;

const METADATA: &[u8] = b"\"metadata\":{";

/// Whether the bodies that are stored are in the version that `resource` serves.
pub(crate) fn is_native(resource: &Resource) -> bool {
    let stored: &str = &resource.storage_api_version;
    match stored.split_once('/') {
        Some((group, version)) => group == resource.group && version == resource.version,
        None => resource.group.is_empty() && stored == resource.version,
    }
}

/// Bytes before `"metadata":{`: `{"kind":"K","apiVersion":"V",`.
fn head_len(resource: &Resource) -> usize {
    r#"{"kind":"","apiVersion":"","#.len() + resource.kind.len() + resource.storage_api_version.len()
}

/// Upper bound of what a body grows by on its way out: `"resourceVersion":"N",`.
pub(crate) const VERSION_ROOM: usize = 20 + 20;

fn put_version(out: &mut BytesMut, revision: Revision) {
    out.put_slice(b"\"resourceVersion\":\"");
    put_number(out, revision);
    out.put_slice(b"\",");
}

pub(crate) fn put_number(out: &mut BytesMut, mut number: u64) {
    let mut digits = [0_u8; 20];
    let mut at = digits.len();
    loop {
        at -= 1;
        digits[at] = b'0' + u8::try_from(number % 10).unwrap_or(0);
        number /= 10;
        if number == 0 {
            break;
        }
    }
    out.put_slice(&digits[at..]);
}

/// How many digits a number has.
pub(crate) fn digits(number: u64) -> usize {
    number.checked_ilog10().map_or(1, |log| log as usize + 1)
}

/// Appends the object with its resourceVersion.
pub(crate) fn put_object(out: &mut BytesMut, resource: &Resource, body: &[u8], revision: Revision) {
    let split = head_len(resource) + METADATA.len();
    let (head, tail) = body.split_at_checked(split).unwrap_or((body, b""));
    out.put_slice(head);
    put_version(out, revision);
    out.put_slice(tail);
}

/// Appends the object as an item of a list: items of built-in kinds do not repeat kind and apiVersion, custom ones do.
pub(crate) fn put_item(out: &mut BytesMut, resource: &Resource, body: &[u8], revision: Revision) {
    if resource.custom.is_some() {
        return put_object(out, resource, body, revision);
    }
    let head = head_len(resource);
    let tail = body.get(head + METADATA.len()..).unwrap_or_default();
    out.put_u8(b'{');
    out.put_slice(METADATA);
    put_version(out, revision);
    out.put_slice(tail);
}

/// Bytes that [`put_item`] appends.
pub(crate) fn item_len(resource: &Resource, body: &[u8], revision: Revision) -> usize {
    let left_out = if resource.custom.is_some() { 0 } else { head_len(resource) - 1 };
    body.len() - left_out + r#""resourceVersion":"","#.len() + digits(revision)
}

/// The object with its resourceVersion (`None`: it was never stored, a dry run's).
pub(crate) fn object(resource: &Resource, body: &Bytes, revision: Option<Revision>) -> Bytes {
    let Some(revision) = revision else { return body.clone() };
    let mut out = BytesMut::with_capacity(body.len() + VERSION_ROOM);
    put_object(&mut out, resource, body, revision);
    out.freeze()
}

/// Appends `{"kind":"PartialObjectMetadata","apiVersion":"meta.k8s.io/v1","metadata":{…}}`.
pub(crate) fn put_metadata_only(out: &mut BytesMut, resource: &Resource, body: &[u8], revision: Option<Revision>) {
    let start = head_len(resource) + METADATA.len();
    let rest = body.get(start..).unwrap_or_default();
    out.put_slice(br#"{"kind":"PartialObjectMetadata","apiVersion":"meta.k8s.io/v1","metadata":{"#);
    if let Some(revision) = revision {
        put_version(out, revision);
    }
    out.put_slice(&rest[..object_end(rest)]);
    out.put_u8(b'}');
}

/// Where the object whose opening brace was just before `text` ends, its closing brace included.
pub(super) fn object_end(text: &[u8]) -> usize {
    close(text, 1)
}

/// Where the array or object that `text` begins with ends, its closing bracket included.
pub(super) fn value_end(text: &[u8]) -> usize {
    close(text, 0)
}

/// The end of the bracket that brings the depth back to nothing.
fn close(text: &[u8], mut depth: u32) -> usize {
    let mut at = 0;
    while let Some(byte) = text.get(at) {
        match byte {
            b'"' => {
                at += 1;
                while let Some(byte) = text.get(at) {
                    match byte {
                        b'"' => break,
                        b'\\' => at += 2,
                        _ => at += 1,
                    }
                }
            }
            b'{' | b'[' => depth += 1,
            b'}' | b']' => {
                depth -= 1;
                if depth == 0 {
                    return at + 1;
                }
            }
            _ => {}
        }
        at += 1;
    }
    text.len()
}
