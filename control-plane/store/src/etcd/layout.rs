//! Where things lie below the store's prefix in etcd, and how values are written. Knows no connection.
//!
//! | key | value |
//! |---|---|
//! | `<prefix>data/<key>` | format (1 byte), length of the index (4 bytes, little-endian), index, body |
//! | `<prefix>meta/cluster` | format, the cluster's identity (16 bytes); written once |
//! | `<prefix>meta/commit` | the marker: format, wall time in ms (8 bytes), nonce (8 bytes), author. In every transaction |
//! | `<prefix>meta/compact` | format, the revision (8 bytes) that history begins at |

use bytes::Bytes;

use super::proto::{KeyValue, unsigned};
use crate::types::{Author, ClusterId, Entry, Key, Revision, Value};

/// The format this version reads and writes.
pub(crate) const FORMAT: u8 = 1;
const HEAD: usize = 5;

const DATA: &[u8] = b"data/";
const CLUSTER: &[u8] = b"meta/cluster";
const COMMIT: &[u8] = b"meta/commit";
const COMPACT: &[u8] = b"meta/compact";

/// The keys of one store.
#[derive(Clone, Debug)]
pub(crate) struct Layout {
    prefix: Vec<u8>,
}

/// What a key below the prefix is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place<'a> {
    Data(&'a [u8]),
    Cluster,
    Commit,
    Compact,
    Unknown,
}

/// Who made a transaction and when, and a number that only that transaction has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Marker {
    pub at_ms: u64,
    pub nonce: u64,
    pub author: Author,
}

/// A value that this version cannot read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Malformed {
    #[error("format {0} is newer than this version of Skiff understands ({FORMAT})")]
    Newer(u8),
    #[error("not written by Skiff")]
    Foreign,
}

impl Layout {
    pub fn new(prefix: &str) -> Self {
        Self { prefix: prefix.as_bytes().to_vec() }
    }

    /// The range of all keys below the prefix: the first, and the one after the last.
    pub fn range(&self) -> (Vec<u8>, Vec<u8>) {
        (self.prefix.clone(), end_of(&self.prefix))
    }

    /// The range of the store's own keys.
    pub fn data_range(&self) -> (Vec<u8>, Vec<u8>) {
        let first = self.join(DATA);
        let end = end_of(&first);
        (first, end)
    }

    pub fn data(&self, key: &[u8]) -> Vec<u8> {
        [&self.prefix, DATA, key].concat()
    }

    pub fn cluster(&self) -> Vec<u8> {
        self.join(CLUSTER)
    }

    pub fn commit(&self) -> Vec<u8> {
        self.join(COMMIT)
    }

    pub fn compact(&self) -> Vec<u8> {
        self.join(COMPACT)
    }

    fn join(&self, rest: &[u8]) -> Vec<u8> {
        [&self.prefix, rest].concat()
    }

    pub fn place<'a>(&self, key: &'a [u8]) -> Place<'a> {
        let Some(rest) = key.strip_prefix(&*self.prefix) else { return Place::Unknown };
        match rest {
            CLUSTER => Place::Cluster,
            COMMIT => Place::Commit,
            COMPACT => Place::Compact,
            rest => rest.strip_prefix(DATA).map_or(Place::Unknown, Place::Data),
        }
    }
}

/// The first key after all that begin with `prefix`; a single zero byte stands for "no end".
fn end_of(prefix: &[u8]) -> Vec<u8> {
    let mut end = prefix.to_vec();
    while let Some(last) = end.pop() {
        if last < u8::MAX {
            end.push(last + 1);
            return end;
        }
    }
    vec![0]
}

pub(crate) fn encode_value(value: &Value) -> Vec<u8> {
    let index = u32::try_from(value.index.len()).unwrap_or(u32::MAX);
    let mut out = Vec::with_capacity(HEAD + value.len());
    out.push(FORMAT);
    out.extend_from_slice(&index.to_le_bytes());
    out.extend_from_slice(&value.index);
    out.extend_from_slice(&value.body);
    out
}

pub(crate) fn decode_value(bytes: Vec<u8>) -> Result<Value, Malformed> {
    let rest = versioned(&bytes)?;
    let (length, rest) = rest.split_first_chunk::<4>().ok_or(Malformed::Foreign)?;
    let index = usize::try_from(u32::from_le_bytes(*length)).map_err(|_| Malformed::Foreign)?;
    if index > rest.len() {
        return Err(Malformed::Foreign);
    }
    Ok(Value::joined(Bytes::from(bytes).slice(HEAD..), index))
}

/// What `kv` holds. The key must be one of the store's own.
pub(crate) fn decode_entry(kv: KeyValue) -> Result<Entry, Malformed> {
    Ok(Entry {
        create_revision: unsigned(kv.create_revision),
        mod_revision: unsigned(kv.mod_revision),
        version: unsigned(kv.version),
        value: decode_value(kv.value)?,
    })
}

pub(crate) fn encode_cluster(id: ClusterId) -> Vec<u8> {
    let mut out = vec![FORMAT];
    out.extend_from_slice(&id.0.to_le_bytes());
    out
}

pub(crate) fn decode_cluster(bytes: &[u8]) -> Result<ClusterId, Malformed> {
    let id = versioned(bytes)?.try_into().map_err(|_| Malformed::Foreign)?;
    Ok(ClusterId(u128::from_le_bytes(id)))
}

pub(crate) fn encode_compact(revision: Revision) -> Vec<u8> {
    let mut out = vec![FORMAT];
    out.extend_from_slice(&revision.to_le_bytes());
    out
}

pub(crate) fn decode_compact(bytes: &[u8]) -> Result<Revision, Malformed> {
    let revision = versioned(bytes)?.try_into().map_err(|_| Malformed::Foreign)?;
    Ok(u64::from_le_bytes(revision))
}

impl Marker {
    pub fn encode(&self) -> Vec<u8> {
        let mut out = vec![FORMAT];
        out.extend_from_slice(&self.at_ms.to_le_bytes());
        out.extend_from_slice(&self.nonce.to_le_bytes());
        out.extend_from_slice(self.author.as_str().as_bytes());
        out
    }

    pub fn decode(bytes: &[u8]) -> Result<Self, Malformed> {
        let rest = versioned(bytes)?;
        let (at_ms, rest) = rest.split_first_chunk().ok_or(Malformed::Foreign)?;
        let (nonce, rest) = rest.split_first_chunk().ok_or(Malformed::Foreign)?;
        let author = Author::new(std::str::from_utf8(rest).map_err(|_| Malformed::Foreign)?);
        Ok(Self { at_ms: u64::from_le_bytes(*at_ms), nonce: u64::from_le_bytes(*nonce), author })
    }
}

fn versioned(bytes: &[u8]) -> Result<&[u8], Malformed> {
    match bytes.split_first() {
        Some((&FORMAT, rest)) => Ok(rest),
        Some((&format, _)) if format > FORMAT && format < b' ' => Err(Malformed::Newer(format)),
        _ => Err(Malformed::Foreign),
    }
}

/// The key's own allocation, or the one that `known` has already.
pub(crate) fn key_of(key: &[u8], known: Option<&Key>) -> Key {
    known.cloned().unwrap_or_else(|| key.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let value = Value { body: Bytes::from_static(b"body"), index: Bytes::from_static(b"index") };
        assert_eq!(decode_value(encode_value(&value)).unwrap(), value);
        assert_eq!(decode_value(encode_value(&Value::default())).unwrap(), Value::default());
        let marker = Marker { at_ms: 7, nonce: u64::MAX, author: Author::new("jane") };
        assert_eq!(Marker::decode(&marker.encode()).unwrap(), marker);
        assert_eq!(decode_cluster(&encode_cluster(ClusterId(9))).unwrap(), ClusterId(9));
        assert_eq!(decode_compact(&encode_compact(3)).unwrap(), 3);
    }

    #[test]
    fn what_others_wrote_is_refused() {
        for bytes in [&b""[..], b"{}", b"\x01", b"\x01\xff\xff\xff\xffshort", b"k8s\0"] {
            assert_eq!(decode_value(bytes.to_vec()), Err(Malformed::Foreign), "{bytes:?}");
            assert_eq!(Marker::decode(bytes), Err(Malformed::Foreign), "{bytes:?}");
        }
        assert_eq!(decode_value(vec![2, 0, 0, 0, 0]), Err(Malformed::Newer(2)));
    }

    #[test]
    fn keys_have_their_places() {
        let layout = Layout::new("/skiff/");
        let key = layout.data(b"pods/a");
        assert_eq!(layout.place(&key), Place::Data(b"pods/a"));
        assert_eq!(layout.place(&layout.data(b"meta/commit")), Place::Data(b"meta/commit"));
        assert_eq!(layout.place(&layout.commit()), Place::Commit);
        assert_eq!(layout.place(b"/registry/pods"), Place::Unknown);
        assert_eq!(layout.range(), (b"/skiff/".to_vec(), b"/skiff0".to_vec()));
        assert_eq!(end_of(b"a\xff\xff"), b"b");
        assert_eq!(end_of(b"\xff"), b"\0");
    }
}
