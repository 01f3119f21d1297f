//! Writing a backup, and a backup that has been verified.

use std::fs::File;
use std::io::{self, BufReader, Read, Write};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;

use bytes::Bytes;

use super::format::{self, BackupError, BackupInfo, Decoder, Encoder};
use crate::options::Clock;
use crate::snapshot::Snapshot;
use crate::types::{ClusterId, Entry, Key};

/// A backup in the making: an iterator over its bytes, in chunks of about 64 KiB (longer where one value is).
///
/// It is of one revision whatever is written meanwhile, takes no lock, and needs memory for one chunk; until it is
/// dropped it keeps the values of its revision alive. It holds every entry with its revisions, but no history.
#[derive(Debug)]
pub struct Backup {
    snapshot: Snapshot,
    info: BackupInfo,
    stage: Stage,
}

#[derive(Debug)]
enum Stage {
    Start,
    /// The entries after this key are to come.
    Entries(Encoder, Option<Key>),
    Done,
}

impl Backup {
    pub(crate) fn new(snapshot: Snapshot, cluster_id: ClusterId, clock: Clock) -> Self {
        let now = clock().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let info = BackupInfo {
            cluster_id,
            revision: snapshot.revision(),
            count: snapshot.len() as u64,
            created_ms: u64::try_from(now.as_millis()).unwrap_or(u64::MAX),
        };
        Self { snapshot, info, stage: Stage::Start }
    }

    #[must_use]
    pub fn info(&self) -> &BackupInfo {
        &self.info
    }

    /// Write all of it to `out`, and return how many bytes that was. Syncing and naming a file is the caller's.
    ///
    /// # Errors
    /// Those of `out`. What was written until then is recognised as cut short.
    pub fn write_to(self, out: &mut impl Write) -> io::Result<u64> {
        let mut written = 0;
        for chunk in self {
            out.write_all(&chunk)?;
            written += chunk.len() as u64;
        }
        out.flush()?;
        Ok(written)
    }
}

impl Iterator for Backup {
    type Item = Bytes;

    fn next(&mut self) -> Option<Bytes> {
        match &mut self.stage {
            Stage::Start => {
                let (encoder, bytes) = Encoder::new(&self.info);
                self.stage = Stage::Entries(encoder, None);
                Some(bytes)
            }
            Stage::Entries(encoder, after) => {
                let from = after.take();
                let mut last = None;
                for (key, entry) in self.snapshot.range(b"", from.as_deref()) {
                    last = Some(key);
                    if encoder.add(key, entry) {
                        break;
                    }
                }
                let bytes = encoder.frame();
                match last {
                    Some(key) => *after = Some(key.into()),
                    None => self.stage = Stage::Done,
                }
                Some(bytes)
            }
            Stage::Done => None,
        }
    }
}

/// A backup in a file, every byte of which has been verified.
#[derive(Clone, Debug)]
pub struct BackupFile {
    file: Arc<File>,
    info: BackupInfo,
    /// Bytes of the longest entry, and of the longest key.
    longest: (usize, usize),
}

impl BackupFile {
    /// Verify the backup at `path`. Reads all of it; blocks on the disk.
    ///
    /// # Errors
    /// See [`BackupError`].
    pub fn open(path: &Path) -> Result<Self, BackupError> {
        Self::from_file(File::open(path).map_err(BackupError::Io)?)
    }

    /// As [`BackupFile::open`], from the beginning of `file`, which nobody else should write to from now on: what
    /// changes all the same is noticed when it is used.
    ///
    /// # Errors
    /// See [`BackupError`].
    pub fn from_file(file: File) -> Result<Self, BackupError> {
        let file = Arc::new(file);
        let mut entries = Decoder::new(at_start(file.clone()))?;
        let mut longest = (0, 0);
        while let Some((key, entry)) = entries.next()? {
            longest = (longest.0.max(format::size(&key, &entry)), longest.1.max(key.len()));
        }
        let info = *entries.info();
        Ok(Self { file, info, longest })
    }

    #[must_use]
    pub fn info(&self) -> &BackupInfo {
        &self.info
    }

    /// Bytes of the longest entry with its key, and of the longest key.
    pub(super) fn longest(&self) -> (usize, usize) {
        self.longest
    }

    /// Read the entries from the first one. Verifies them once more.
    pub(super) fn entries(&self) -> Result<Entries, BackupError> {
        Decoder::new(at_start(self.file.clone())).map(Entries)
    }
}

/// The entries of a backup, in key order.
#[derive(Debug)]
pub(super) struct Entries(Decoder<BufReader<Positioned>>);

impl Iterator for Entries {
    type Item = Result<(Key, Entry), BackupError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.0.next().transpose()
    }
}

fn at_start(file: Arc<File>) -> BufReader<Positioned> {
    BufReader::with_capacity(128 << 10, Positioned { file, offset: 0 })
}

/// A place in a file that others may be reading elsewhere.
#[derive(Debug)]
struct Positioned {
    file: Arc<File>,
    offset: u64,
}

impl Read for Positioned {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let read = self.file.read_at(out, self.offset)?;
        self.offset += read as u64;
        Ok(read)
    }
}
