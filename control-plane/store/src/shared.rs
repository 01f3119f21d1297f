//! What readers, watchers and the writer have in common.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arc_swap::{ArcSwap, ArcSwapOption};

use crate::disk::Reader;
use crate::error::{RevisionError, WatchError};
use crate::history::{Chunk, History, Slice};
use crate::hub::Hub;
use crate::snapshot::State;
use crate::types::{ClusterId, Revision};

/// Invariant: `history` is ahead of or level with `state`, and `state` with `hub`; all three only
/// hold what is durable.
#[derive(Debug)]
pub(crate) struct Shared {
    pub cluster_id: ClusterId,
    pub state: ArcSwap<State>,
    pub history: History,
    pub hub: Hub,
    /// History before this revision is gone, or going.
    pub compacted: AtomicU64,
    /// The history on disk; none without a file, or while the file is being recovered.
    pub reader: ArcSwapOption<Reader>,
    pub counters: Counters,
}

/// Counted since the store was opened.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub transactions: AtomicU64,
    pub batches: AtomicU64,
    pub last_sync_micros: AtomicU64,
    pub failures: AtomicU64,
    pub file_bytes: AtomicU64,
    pub history_bytes: AtomicU64,
}

/// What a store is doing, for people and metrics.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stats {
    pub revision: Revision,
    /// The oldest revision that can be read and watched from.
    pub oldest: Revision,
    pub keys: usize,
    /// Revisions whose events are in memory, and the bytes they keep.
    pub ring_revisions: usize,
    pub ring_bytes: usize,
    /// Bytes written since the oldest revision.
    pub history_bytes: u64,
    /// Size of the file; 0 without one.
    pub file_bytes: u64,
    /// Transactions and group commits since the store was opened, and commits that failed.
    pub transactions: u64,
    pub batches: u64,
    pub failures: u64,
    /// How long the last group commit took to become durable, in microseconds.
    pub last_sync_micros: u64,
    /// Distinct prefixes watched, and watches.
    pub topics: usize,
    pub watches: usize,
}

impl Shared {
    pub fn current(&self) -> Arc<State> {
        self.state.load_full()
    }

    pub fn compacted(&self) -> Revision {
        self.compacted.load(Ordering::Acquire)
    }

    /// The state at `revision`, by going back from the nearest later one. Reads the disk on a thread of its own.
    pub async fn state_at(&self, revision: Revision) -> Result<Arc<State>, RevisionError> {
        let current = self.current();
        if revision > current.revision {
            return Err(RevisionError::Future { current: current.revision });
        }
        if revision == current.revision {
            return Ok(current);
        }
        let near = self.history.rewind(&current, revision);
        let state = if near.revision == revision {
            near
        } else {
            let reader = self.reader_for(revision)?;
            tokio::task::spawn_blocking(move || reader.rewind(near, revision))
                .await
                .unwrap_or_else(|error| Err(io::Error::other(error)))
                .map_err(|error| RevisionError::Io(Arc::new(error)))?
        };
        // Checked last: what was compacted meanwhile may be missing from what was read.
        let oldest = self.compacted();
        if revision < oldest { Err(RevisionError::Compacted { oldest }) } else { Ok(Arc::new(state)) }
    }

    fn reader_for(&self, revision: Revision) -> Result<Arc<Reader>, RevisionError> {
        let oldest = self.compacted();
        if revision < oldest {
            return Err(RevisionError::Compacted { oldest });
        }
        self.reader.load_full().ok_or_else(|| RevisionError::Io(Arc::new(unavailable())))
    }

    /// Events after `after` and up to `upto` from the history on disk.
    pub async fn read_disk(
        &self,
        after: Revision,
        upto: Revision,
        prefix: &[u8],
        chunk: Chunk,
    ) -> Result<Slice, WatchError> {
        let reader = self.reader.load_full();
        let oldest = self.compacted();
        if after < oldest {
            return Err(WatchError::Compacted { oldest });
        }
        let reader = reader.ok_or_else(|| WatchError::Io(Arc::new(unavailable())))?;
        let prefix = prefix.to_vec();
        let read = move || reader.events(after, upto, &prefix, chunk);
        let slice = tokio::task::spawn_blocking(read)
            .await
            .unwrap_or_else(|error| Err(io::Error::other(error)))
            .map_err(|error| WatchError::Io(Arc::new(error)))?;
        let oldest = self.compacted();
        if after < oldest { Err(WatchError::Compacted { oldest }) } else { Ok(slice) }
    }

    pub fn stats(&self) -> Stats {
        let state = self.current();
        let (ring_bytes, ring_revisions) = self.history.extent();
        let (topics, watches) = self.hub.extent();
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Stats {
            revision: state.revision,
            oldest: self.compacted(),
            keys: state.root.len(),
            ring_revisions,
            ring_bytes,
            history_bytes: read(&self.counters.history_bytes),
            file_bytes: read(&self.counters.file_bytes),
            transactions: read(&self.counters.transactions),
            batches: read(&self.counters.batches),
            failures: read(&self.counters.failures),
            last_sync_micros: read(&self.counters.last_sync_micros),
            topics,
            watches,
        }
    }
}

fn unavailable() -> io::Error {
    io::Error::other("the history on disk is not available at the moment")
}
