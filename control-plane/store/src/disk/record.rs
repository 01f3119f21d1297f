//! One row of the log: a checksum, a small postcard header, then the index and the body as they are.

use std::sync::Arc;

use bytes::Bytes;
use crc32fast::Hasher;
use serde::{Deserialize, Serialize};

use crate::types::{Entry, Event, Revision, Value};

/// The checksum comes first: the CRC-32 of the row's key and of the rest of the row, little-endian.
const SUM: usize = 4;
/// Most bytes the checksum and the header take: a byte and seven varints.
const HEADER: usize = SUM + 64;

/// What a row says about its change, apart from the value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Header {
    /// `None` for a deletion.
    pub put: Option<Put>,
    /// Revision of the row that holds the key's value before; 0 when there was none.
    pub prev: Revision,
    /// Wall time in milliseconds since 1970.
    pub at_ms: u64,
    /// 0: nobody; [`INLINE`]: the name follows the header; otherwise the name's number in the table of authors.
    author: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Put {
    pub create_revision: Revision,
    pub version: u64,
    pub index_len: u32,
}

const INLINE: u32 = 1;
/// The first number in the table of authors.
pub(crate) const FIRST_AUTHOR: u32 = 2;

/// How a row names its author.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum By<'a> {
    Nobody,
    /// A number in the table of authors.
    Known(u32),
    /// A name that the table has no room for.
    Name(&'a str),
}

/// Why a row cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Malformed {
    #[error("a log row is malformed")]
    Syntax,
    #[error("a log row's checksum does not fit")]
    Sum,
    #[error("a log row's predecessor is missing")]
    Predecessor,
    #[error("a log row's author is unknown")]
    Author,
    #[error("a number is too large")]
    Number,
}

/// The key of the row of `key` at `revision`: ordered by revision, then key.
pub(crate) fn row_key(revision: Revision, key: &[u8], out: &mut Vec<u8>) {
    out.clear();
    out.extend_from_slice(&revision.to_be_bytes());
    out.extend_from_slice(key);
}

pub(crate) fn split_row_key(row: &[u8]) -> Result<(Revision, &[u8]), Malformed> {
    let (revision, key) = row.split_first_chunk::<8>().ok_or(Malformed::Syntax)?;
    Ok((Revision::from_be_bytes(*revision), key))
}

/// A row to be written.
pub(crate) struct Row<'a> {
    /// The checksum's place, and the encoded header.
    header: [u8; HEADER],
    header_len: usize,
    name: Option<&'a str>,
    index: &'a [u8],
    body: &'a [u8],
}

impl<'a> Row<'a> {
    pub fn new(event: &'a Event, at_ms: u64, by: By<'a>) -> Self {
        let entry = event.entry.as_deref();
        let prev = event.prev.as_ref().map_or(0, |prev| prev.mod_revision);
        Self::of(entry, prev, at_ms, by)
    }

    /// The row of `entry`, or of its deletion, where the value before was written at `prev`.
    pub fn of(entry: Option<&'a Entry>, prev: Revision, at_ms: u64, by: By<'a>) -> Self {
        let put = entry.map(|entry| Put {
            create_revision: entry.create_revision,
            version: entry.version,
            index_len: u32::try_from(entry.value.index.len()).expect("transactions are below 4 GiB"),
        });
        let (index, body) = entry.map_or((&[][..], &[][..]), |entry| (&entry.value.index, &entry.value.body));
        Self::from_parts(Header { put, prev, at_ms, author: 0 }, by, index, body)
    }

    /// A row of an older format in this one.
    pub fn from_parts(header: Header, by: By<'a>, index: &'a [u8], body: &'a [u8]) -> Self {
        let (author, name) = match by {
            By::Nobody => (0, None),
            By::Known(number) => (number, None),
            By::Name(name) => (INLINE, Some(name)),
        };
        let mut bytes = [0; HEADER];
        let header_len = SUM
            + postcard::to_slice(&Header { author, ..header }, &mut bytes[SUM..])
                .expect("a header of eight small fields fits")
                .len();
        Self { header: bytes, header_len, name, index, body }
    }

    pub fn len(&self) -> usize {
        self.header_len + self.name.map_or(0, |name| 2 + name.len()) + self.index.len() + self.body.len()
    }

    /// Write the row whose key is `row_key` to `out`, which has exactly [`Row::len`] bytes.
    pub fn write(&self, row_key: &[u8], out: &mut [u8]) {
        let length;
        let mut parts = [&self.header[..self.header_len], &[], &[], self.index, self.body];
        if let Some(name) = self.name {
            length = u16::try_from(name.len()).expect("an author's name is short").to_le_bytes();
            (parts[1], parts[2]) = (&length, name.as_bytes());
        }
        let mut rest = &mut *out;
        for part in parts {
            let (place, tail) = rest.split_at_mut(part.len());
            place.copy_from_slice(part);
            rest = tail;
        }
        let sum = sum(row_key, &out[SUM..]);
        out[..SUM].copy_from_slice(&sum);
    }
}

/// A row as it is read. Nothing is copied, and the checksum is not looked at yet.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Parsed<'a> {
    pub header: Header,
    pub by: By<'a>,
    /// The index, then the body.
    pub value: &'a [u8],
    sum: Option<([u8; SUM], &'a [u8])>,
}

/// Take `row` apart.
pub(crate) fn parse(row: &[u8]) -> Result<Parsed<'_>, Malformed> {
    let (sum, rest) = row.split_first_chunk::<SUM>().ok_or(Malformed::Syntax)?;
    let (header, value) = postcard::take_from_bytes::<Header>(rest).map_err(|_| Malformed::Syntax)?;
    let (by, value) = match header.author {
        0 => (By::Nobody, value),
        INLINE => {
            let (length, value) = value.split_first_chunk::<2>().ok_or(Malformed::Syntax)?;
            let length = usize::from(u16::from_le_bytes(*length));
            let (name, value) = value.split_at_checked(length).ok_or(Malformed::Syntax)?;
            (By::Name(str::from_utf8(name).map_err(|_| Malformed::Syntax)?), value)
        }
        number => (By::Known(number), value),
    };
    Parsed { header, by, value, sum: Some((*sum, rest)) }.checked()
}

/// Rows of format 1 had no checksum and no author.
pub(crate) fn parse_v1(row: &[u8]) -> Result<Parsed<'_>, Malformed> {
    #[derive(Deserialize)]
    struct HeaderV1 {
        put: Option<Put>,
        prev: Revision,
        at_ms: u64,
    }
    let (HeaderV1 { put, prev, at_ms }, value) = postcard::take_from_bytes(row).map_err(|_| Malformed::Syntax)?;
    let header = Header { put, prev, at_ms, author: 0 };
    Parsed { header, by: By::Nobody, value, sum: None }.checked()
}

impl<'a> Parsed<'a> {
    fn checked(self) -> Result<Self, Malformed> {
        let fits = match self.header.put {
            Some(put) => put.index_len as usize <= self.value.len(),
            None => self.value.is_empty(),
        };
        if fits { Ok(self) } else { Err(Malformed::Syntax) }
    }

    /// Compare the row, whose key is `row_key`, with its checksum.
    pub fn verify(&self, row_key: &[u8]) -> Result<(), Malformed> {
        match self.sum {
            Some((expected, rest)) if sum(row_key, rest) != expected => Err(Malformed::Sum),
            _ => Ok(()),
        }
    }

    /// Index and body.
    pub fn parts(&self) -> (&'a [u8], &'a [u8]) {
        self.value.split_at(self.header.put.map_or(0, |put| put.index_len as usize))
    }

    /// The verified entry of the row of `key` at `revision`, whose key is `row_key`; `None` for a deletion.
    pub fn entry(&self, revision: Revision, row_key: &[u8]) -> Result<Option<Arc<Entry>>, Malformed> {
        self.verify(row_key)?;
        let Some(put) = self.header.put else { return Ok(None) };
        Ok(Some(Arc::new(Entry {
            value: Value::joined(Bytes::copy_from_slice(self.value), put.index_len as usize),
            create_revision: put.create_revision,
            mod_revision: revision,
            version: put.version,
        })))
    }
}

fn sum(row_key: &[u8], rest: &[u8]) -> [u8; SUM] {
    let mut hasher = Hasher::new();
    hasher.update(row_key);
    hasher.update(rest);
    hasher.finalize().to_le_bytes()
}

/// `rest` as a row whose checksum fits.
pub(super) fn sealed(row_key: &[u8], rest: &[u8]) -> Vec<u8> {
    [&sum(row_key, rest)[..], rest].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(entry: Option<&Entry>, prev: Revision, by: By<'_>) -> (Vec<u8>, Vec<u8>) {
        let mut row_key_ = Vec::new();
        row_key(9, b"k", &mut row_key_);
        let row = Row::of(entry, prev, 1_234, by);
        let mut bytes = vec![0; row.len()];
        row.write(&row_key_, &mut bytes);
        (row_key_, bytes)
    }

    fn entry() -> Entry {
        let value = Value { body: "body".into(), index: "ix".into() };
        Entry { value, create_revision: 3, mod_revision: 9, version: 4 }
    }

    #[test]
    fn the_longest_header_fits() {
        let put = Put { create_revision: u64::MAX, version: u64::MAX, index_len: u32::MAX };
        let header = Header { put: Some(put), prev: u64::MAX, at_ms: u64::MAX, author: u32::MAX };
        assert!(postcard::to_slice(&header, &mut [0; HEADER - SUM]).is_ok());
    }

    #[test]
    fn a_row_reads_back() {
        for by in [By::Nobody, By::Known(77), By::Name("alice")] {
            let (key, bytes) = written(Some(&entry()), 7, by);
            let row = parse(&bytes).unwrap();
            assert_eq!((row.header.prev, row.header.at_ms, row.by), (7, 1_234, by));
            assert_eq!(*row.entry(9, &key).unwrap().unwrap(), entry());
            let (key, bytes) = written(None, 7, by);
            assert_eq!(parse(&bytes).unwrap().entry(9, &key), Ok(None));
        }
    }

    #[test]
    fn every_flipped_bit_and_every_lost_byte_is_noticed() {
        let (key, bytes) = written(Some(&entry()), 7, By::Name("alice"));
        let read = |key: &[u8], bytes: &[u8]| parse(bytes).and_then(|row| row.entry(9, key));
        for bit in 0..bytes.len() * 8 {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(read(&key, &flipped).is_err(), "bit {bit}");
        }
        for length in 0..bytes.len() {
            assert!(read(&key, &bytes[..length]).is_err(), "length {length}");
        }
        assert_eq!(read(b"another", &bytes), Err(Malformed::Sum));
    }
}
