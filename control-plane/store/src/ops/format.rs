//! The backup's bytes.
//!
//! ```text
//! magic (8 bytes) · format (u32)
//! frame: what the backup is (postcard)
//! frame: entries, in key order …
//! frame: empty, the end
//! ```
//!
//! A frame is its length (u32), the CRC-32 of every byte of the backup before it and of its own payload (u32), and the
//! payload. An entry is a postcard header, its key, its index and its body. Numbers of fixed size are little-endian.
//!
//! Each checksum covers everything before it, so that frames cannot be lost, doubled or exchanged; without the empty
//! frame the backup was cut short.

use std::io::{self, Read};

use bytes::Bytes;
use crc32fast::Hasher;
use serde::{Deserialize, Serialize};

use crate::types::{ClusterId, Entry, Key, Revision, Value};

const MAGIC: [u8; 8] = *b"SKIFFBK\n";
/// The backup format this version writes and reads.
const FORMAT: u32 = 1;
/// Entries are gathered into frames of about this many bytes.
const FRAME: usize = 64 << 10;
/// Longest frame that is read. An entry is never cut in two, and a store's transactions are far below this.
const LONGEST_FRAME: usize = 256 << 20;
/// Most bytes an entry's header takes: six varints.
const HEADER: usize = 64;

/// What a backup is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BackupInfo {
    /// The store it was taken from.
    pub cluster_id: ClusterId,
    /// The revision whose state it holds.
    pub revision: Revision,
    /// Number of entries.
    pub count: u64,
    /// Wall time in milliseconds since 1970.
    pub created_ms: u64,
}

/// Why a file cannot be restored from. Nothing has been written anywhere.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    #[error("it is not a Skiff backup")]
    Foreign,
    #[error("the backup has format {found}, which is newer than this version of Skiff understands ({supported})")]
    NewerFormat { found: u32, supported: u32 },
    #[error("the backup is cut short")]
    Cut,
    #[error("the backup is damaged: {reason}")]
    Damaged { reason: &'static str },
    #[error("the backup cannot be read")]
    Io(#[source] io::Error),
}

#[derive(Serialize, Deserialize)]
struct Head {
    cluster_id: u128,
    revision: Revision,
    count: u64,
    created_ms: u64,
}

#[derive(Serialize, Deserialize)]
struct EntryHead {
    key_len: u32,
    index_len: u32,
    body_len: u32,
    create_revision: Revision,
    mod_revision: Revision,
    version: u64,
}

/// Makes a backup's bytes, one frame after the other.
#[derive(Clone, Debug)]
pub(super) struct Encoder {
    sum: Hasher,
    payload: Vec<u8>,
}

impl Encoder {
    /// An encoder, and the bytes that come first.
    pub fn new(info: &BackupInfo) -> (Self, Bytes) {
        let mut start = MAGIC.to_vec();
        start.extend_from_slice(&FORMAT.to_le_bytes());
        let mut encoder = Self { sum: Hasher::new(), payload: Vec::new() };
        encoder.sum.update(&start);
        let BackupInfo { cluster_id: ClusterId(cluster_id), revision, count, created_ms } = *info;
        encoder.payload = postcard::to_stdvec(&Head { cluster_id, revision, count, created_ms })
            .expect("numbers can always be written to memory");
        start.extend_from_slice(&encoder.frame());
        (encoder, start.into())
    }

    /// Add an entry to the current frame. Returns whether the frame is long enough to be ended.
    pub fn add(&mut self, key: &[u8], entry: &Entry) -> bool {
        let length = |bytes: &[u8]| u32::try_from(bytes.len()).expect("no part of a transaction reaches 4 GiB");
        let head = EntryHead {
            key_len: length(key),
            index_len: length(&entry.value.index),
            body_len: length(&entry.value.body),
            create_revision: entry.create_revision,
            mod_revision: entry.mod_revision,
            version: entry.version,
        };
        let mut buffer = [0; HEADER];
        let head = postcard::to_slice(&head, &mut buffer).expect("a header of six small fields fits");
        for part in [head, key, &entry.value.index, &entry.value.body] {
            self.payload.extend_from_slice(part);
        }
        self.payload.len() >= FRAME
    }

    /// End the frame: of what was added since the last one, or, when that is nothing, the end of the backup.
    pub fn frame(&mut self) -> Bytes {
        let length = u32::try_from(self.payload.len()).expect("a frame is little longer than one entry");
        let mut frame = Vec::with_capacity(self.payload.len() + 8);
        frame.extend_from_slice(&length.to_le_bytes());
        self.sum.update(&length.to_le_bytes());
        self.sum.update(&self.payload);
        let sum = self.sum.clone().finalize().to_le_bytes();
        frame.extend_from_slice(&sum);
        self.sum.update(&sum);
        frame.append(&mut self.payload);
        frame.into()
    }
}

/// Reads a backup, checking whatever it returns.
#[derive(Debug)]
pub(super) struct Decoder<R> {
    source: R,
    sum: Hasher,
    info: BackupInfo,
    frame: Bytes,
    /// Entries returned so far.
    count: u64,
    last_key: Option<Key>,
    is_done: bool,
}

impl<R: Read> Decoder<R> {
    pub fn new(mut source: R) -> Result<Self, BackupError> {
        let mut start = [0; 12];
        match source.read_exact(&mut start) {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Err(BackupError::Foreign),
            other => other.map_err(BackupError::Io)?,
        }
        let (magic, format) = start.split_at(MAGIC.len());
        let found = u32::from_le_bytes(format.try_into().expect("four of twelve bytes"));
        if magic != MAGIC || found == 0 {
            return Err(BackupError::Foreign);
        }
        if found > FORMAT {
            return Err(BackupError::NewerFormat { found, supported: FORMAT });
        }
        let mut sum = Hasher::new();
        sum.update(&start);
        let head = read_frame(&mut source, &mut sum)?;
        let head: Head = postcard::from_bytes(&head).map_err(|_| damaged("its head is malformed"))?;
        let Head { cluster_id, revision, count, created_ms } = head;
        let info = BackupInfo { cluster_id: ClusterId(cluster_id), revision, count, created_ms };
        Ok(Self { source, sum, info, frame: Bytes::new(), count: 0, last_key: None, is_done: false })
    }

    pub fn info(&self) -> &BackupInfo {
        &self.info
    }

    /// The next entry, in key order; `None` at the end, where everything has turned out to be there.
    pub fn next(&mut self) -> Result<Option<(Key, Entry)>, BackupError> {
        if self.frame.is_empty() && !self.is_done {
            self.frame = read_frame(&mut self.source, &mut self.sum)?;
            if self.frame.is_empty() {
                self.finish()?;
            }
        }
        if self.is_done {
            return Ok(None);
        }
        let (key, entry) = self.entry()?;
        if self.last_key.as_ref().is_some_and(|last| *last >= key) {
            return Err(damaged("its keys are not in order"));
        }
        let born = entry.create_revision;
        if born == 0 || born > entry.mod_revision || entry.mod_revision > self.info.revision || entry.version == 0 {
            return Err(damaged("an entry's revisions contradict each other"));
        }
        self.last_key = Some(key.clone());
        self.count += 1;
        Ok(Some((key, entry)))
    }

    fn entry(&mut self) -> Result<(Key, Entry), BackupError> {
        let malformed = || damaged("an entry is malformed");
        let (head, rest) = postcard::take_from_bytes::<EntryHead>(&self.frame).map_err(|_| malformed())?;
        let head_len = self.frame.len() - rest.len();
        let (key_len, index_len, body_len) = (head.key_len as usize, head.index_len as usize, head.body_len as usize);
        if key_len == 0 || key_len + index_len + body_len > rest.len() {
            return Err(malformed());
        }
        let mut bytes = self.frame.split_to(head_len + key_len + index_len + body_len);
        let key = bytes[head_len..head_len + key_len].into();
        // In one allocation of its own: a small value must not keep the whole frame alive.
        bytes = Bytes::copy_from_slice(&bytes[head_len + key_len..]);
        let entry = Entry {
            value: Value::joined(bytes, index_len),
            create_revision: head.create_revision,
            mod_revision: head.mod_revision,
            version: head.version,
        };
        Ok((key, entry))
    }

    fn finish(&mut self) -> Result<(), BackupError> {
        self.is_done = true;
        if self.count != self.info.count {
            return Err(damaged("it does not have as many entries as it says"));
        }
        let beyond = self.source.read(&mut [0]).map_err(BackupError::Io)?;
        if beyond == 0 { Ok(()) } else { Err(damaged("it goes on after its end")) }
    }
}

fn read_frame(source: &mut impl Read, sum: &mut Hasher) -> Result<Bytes, BackupError> {
    let cut = |error: io::Error| match error.kind() {
        io::ErrorKind::UnexpectedEof => BackupError::Cut,
        _ => BackupError::Io(error),
    };
    let mut start = [0; 8];
    source.read_exact(&mut start).map_err(cut)?;
    let (length, expected) = start.split_at(4);
    sum.update(length);
    let length = u32::from_le_bytes(length.try_into().expect("four of eight bytes")) as usize;
    if length > LONGEST_FRAME {
        return Err(damaged("a frame is too long"));
    }
    // Grows with what is there: a length alone takes no memory.
    let mut payload = Vec::new();
    source.take(length as u64).read_to_end(&mut payload).map_err(BackupError::Io)?;
    if payload.len() < length {
        return Err(BackupError::Cut);
    }
    sum.update(&payload);
    if sum.clone().finalize().to_le_bytes() != expected {
        return Err(damaged("a checksum does not fit"));
    }
    sum.update(expected);
    Ok(payload.into())
}

fn damaged(reason: &'static str) -> BackupError {
    BackupError::Damaged { reason }
}

/// All entries of a backup in memory.
///
/// # Errors
/// What is wrong with it.
pub(crate) fn read_whole(bytes: &[u8]) -> Result<Vec<(Key, Entry)>, BackupError> {
    let mut decoder = Decoder::new(bytes)?;
    std::iter::from_fn(|| decoder.next().transpose()).collect()
}

/// All entries of a backup whose frames, its head among them, have these payloads and checksums that fit.
///
/// # Errors
/// What is wrong with them.
pub(crate) fn read_frames(payloads: &[&[u8]]) -> Result<Vec<(Key, Entry)>, BackupError> {
    let mut bytes = MAGIC.to_vec();
    bytes.extend_from_slice(&FORMAT.to_le_bytes());
    let mut encoder = Encoder { sum: Hasher::new(), payload: Vec::new() };
    encoder.sum.update(&bytes);
    for payload in payloads {
        encoder.payload.extend_from_slice(payload);
        bytes.extend_from_slice(&encoder.frame());
    }
    read_whole(&bytes)
}

/// The parts of an entry that limits count.
pub(super) fn size(key: &Key, entry: &Entry) -> usize {
    key.len() + entry.value.len()
}
