//! One row of the log: a small postcard header, then the index and the body as they are.

use std::sync::Arc;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::types::{Entry, Event, Revision, Value};

/// Most bytes a header takes: a byte and six varints.
const HEADER: usize = 64;

/// What a row says about its change, apart from the value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Header {
    /// `None` for a deletion.
    pub put: Option<Put>,
    /// Revision of the row that holds the key's value before; 0 when there was none.
    pub prev: Revision,
    /// Wall time in milliseconds since 1970.
    pub at_ms: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Put {
    pub create_revision: Revision,
    pub version: u64,
    pub index_len: u32,
}

/// A row that cannot be read.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("a log row is malformed")]
pub(crate) struct Malformed;

/// The key of the row of `key` at `revision`: ordered by revision, then key.
pub(crate) fn row_key(revision: Revision, key: &[u8], out: &mut Vec<u8>) {
    out.clear();
    out.extend_from_slice(&revision.to_be_bytes());
    out.extend_from_slice(key);
}

pub(crate) fn split_row_key(row: &[u8]) -> Result<(Revision, &[u8]), Malformed> {
    let (revision, key) = row.split_first_chunk::<8>().ok_or(Malformed)?;
    Ok((Revision::from_be_bytes(*revision), key))
}

/// An encoded header, and the entry whose bytes follow it.
pub(crate) struct Row<'a> {
    header: [u8; HEADER],
    header_len: usize,
    entry: Option<&'a Entry>,
}

impl<'a> Row<'a> {
    pub fn new(event: &'a Event, at_ms: u64) -> Self {
        let entry = event.entry.as_deref();
        let put = entry.map(|entry| Put {
            create_revision: entry.create_revision,
            version: entry.version,
            index_len: u32::try_from(entry.value.index.len()).expect("values are far below 4 GiB"),
        });
        let prev = event.prev.as_ref().map_or(0, |prev| prev.mod_revision);
        let mut header = [0; HEADER];
        let header_len = postcard::to_slice(&Header { put, prev, at_ms }, &mut header)
            .expect("a header of seven small fields fits")
            .len();
        Self { header, header_len, entry }
    }

    pub fn len(&self) -> usize {
        self.header_len + self.entry.map_or(0, |entry| entry.value.len())
    }

    /// Write the row to `out`, which has exactly [`Row::len`] bytes.
    pub fn write(&self, out: &mut [u8]) {
        let (header, rest) = out.split_at_mut(self.header_len);
        header.copy_from_slice(&self.header[..self.header_len]);
        if let Some(entry) = self.entry {
            let (index, body) = rest.split_at_mut(entry.value.index.len());
            index.copy_from_slice(&entry.value.index);
            body.copy_from_slice(&entry.value.body);
        }
    }
}

pub(crate) fn header(row: &[u8]) -> Result<(Header, &[u8]), Malformed> {
    postcard::take_from_bytes(row).map_err(|_| Malformed)
}

/// The entry of a row written at `revision`; `None` for a deletion.
pub(crate) fn entry(revision: Revision, header: &Header, value: &[u8]) -> Result<Option<Arc<Entry>>, Malformed> {
    let Some(put) = header.put else { return Ok(None) };
    let index_len = put.index_len as usize;
    if index_len > value.len() {
        return Err(Malformed);
    }
    Ok(Some(Arc::new(Entry {
        value: Value::joined(&Bytes::copy_from_slice(value), index_len),
        create_revision: put.create_revision,
        mod_revision: revision,
        version: put.version,
    })))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_header_fits() {
        let put = Put { create_revision: u64::MAX, version: u64::MAX, index_len: u32::MAX };
        let header = Header { put: Some(put), prev: u64::MAX, at_ms: u64::MAX };
        assert!(postcard::to_slice(&header, &mut [0; HEADER]).is_ok());
    }

    #[test]
    fn a_row_reads_back() {
        let value = Value { body: "body".into(), index: "ix".into() };
        let entry_ = Entry { value, create_revision: 3, mod_revision: 9, version: 4 };
        let prev = Arc::new(Entry { mod_revision: 7, ..entry_.clone() });
        let event = Event::new(b"k"[..].into(), 9, Some(Arc::new(entry_.clone())), Some(prev));
        let row = Row::new(&event, 1_234);
        let mut bytes = vec![0; row.len()];
        row.write(&mut bytes);
        let (head, rest) = header(&bytes).unwrap();
        assert_eq!((head.prev, head.at_ms), (7, 1_234));
        assert_eq!(*entry(9, &head, rest).unwrap().unwrap(), entry_);
    }
}
