//! The compact companion of a stored body: what selectors, admission and pruning ask of an object, without parsing it.
//!
//! Layout: flags (1 byte), time of the write (8 bytes, Unix seconds, little-endian), number of labels (2 bytes), labels,
//! number of fields (2 bytes), fields. A label or a field is two texts, each with its length in 2 bytes before it.

use api::{Resource, meta};
use bytes::Bytes;
use serde_json::Value;

const DELETING: u8 = 1;
const HEADER: usize = 9;

/// A view over index bytes. Bytes that make no sense read as an object without labels and fields.
#[derive(Clone, Copy)]
pub(crate) struct Index<'a>(&'a [u8]);

impl<'a> Index<'a> {
    pub(crate) fn of(entry: &'a store::Entry) -> Self {
        Self(&entry.value.index)
    }

    /// The index bytes of `object`, which is in the version that is stored.
    pub(super) fn build(resource: &Resource, object: &Value, now_seconds: i64) -> Bytes {
        let mut out = Vec::with_capacity(128);
        out.push(if meta::deletion_timestamp(object).is_some() { DELETING } else { 0 });
        out.extend_from_slice(&now_seconds.to_le_bytes());
        let labels = meta::labels(object);
        push_count(&mut out, labels.map_or(0, serde_json::Map::len));
        for (key, value) in labels.into_iter().flatten() {
            push(&mut out, key);
            push(&mut out, value.as_str().unwrap_or_default());
        }
        let fields = resource.strategy.fields(object);
        push_count(&mut out, fields.len());
        for (field, value) in &fields {
            push(&mut out, field);
            push(&mut out, value);
        }
        Bytes::from(out)
    }

    /// The index of the same object once it is being deleted.
    pub(super) fn marked(index: &Bytes) -> Bytes {
        let mut out = index.to_vec();
        if let Some(flags) = out.first_mut() {
            *flags |= DELETING;
        }
        Bytes::from(out)
    }

    /// Whether `metadata.deletionTimestamp` is set.
    pub(crate) fn is_deleting(self) -> bool {
        self.0.first().is_some_and(|flags| flags & DELETING != 0)
    }

    /// When this value was written, Unix seconds.
    pub(crate) fn written_seconds(self) -> i64 {
        self.0.get(1..HEADER).and_then(|bytes| bytes.try_into().ok()).map_or(0, i64::from_le_bytes)
    }

    pub(crate) fn label(self, key: &str) -> Option<&'a str> {
        self.labels().find(|(label, _)| *label == key).map(|(_, value)| value)
    }

    /// A selectable field beside `metadata.name` and `metadata.namespace`, which are in the key.
    pub(crate) fn field(self, name: &str) -> Option<&'a str> {
        let mut labels = self.labels();
        labels.by_ref().for_each(drop);
        let mut rest = labels.rest;
        let count = take_count(&mut rest);
        Pairs { rest, left: count }.find(|(field, _)| *field == name).map(|(_, value)| value)
    }

    fn labels(self) -> Pairs<'a> {
        let mut rest = self.0.get(HEADER..).unwrap_or_default();
        let left = take_count(&mut rest);
        Pairs { rest, left }
    }
}

struct Pairs<'a> {
    rest: &'a [u8],
    left: usize,
}

impl<'a> Iterator for Pairs<'a> {
    type Item = (&'a str, &'a str);

    fn next(&mut self) -> Option<Self::Item> {
        self.left = self.left.checked_sub(1)?;
        let key = take(&mut self.rest)?;
        Some((key, take(&mut self.rest)?))
    }
}

fn push_count(out: &mut Vec<u8>, count: usize) {
    out.extend_from_slice(&u16::try_from(count).unwrap_or(u16::MAX).to_le_bytes());
}

/// Texts are cut at 65,535 bytes; validation allows none as long as that.
fn push(out: &mut Vec<u8>, text: &str) {
    let mut end = text.len().min(usize::from(u16::MAX));
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    push_count(out, end);
    out.extend_from_slice(&text.as_bytes()[..end]);
}

fn take_count(rest: &mut &[u8]) -> usize {
    let Some((count, after)) = rest.split_first_chunk::<2>() else { return 0 };
    *rest = after;
    usize::from(u16::from_le_bytes(*count))
}

fn take<'a>(rest: &mut &'a [u8]) -> Option<&'a str> {
    let length = take_count(rest);
    let (text, after) = rest.split_at_checked(length)?;
    *rest = after;
    std::str::from_utf8(text).ok()
}
