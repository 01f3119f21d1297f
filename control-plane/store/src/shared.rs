//! What readers, watchers and the writer have in common.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use arc_swap::{ArcSwap, ArcSwapOption};

use crate::disk::Reader;
use crate::error::{RevisionError, WatchError};
use crate::etcd;
use crate::history::{Chunk, History, Room, Slice, TooOld};
use crate::hub::Hub;
use crate::ops::FileStats;
use crate::past::{Past, on_disk};
use crate::snapshot::State;
use crate::types::{Changes, ClusterId, Revision};

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
    /// The history on disk, for what the ring has forgotten; empty while the file is being recovered. `None` without a
    /// file: what the ring has forgotten is gone.
    pub reader: Option<ArcSwapOption<Reader>>,
    /// The etcd cluster that everything comes from, if it comes from one.
    pub remote: Option<Arc<etcd::Past>>,
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
    /// `None`: the store is this process' own.
    pub etcd: Option<EtcdStats>,
}

/// What a store on etcd knows about the cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EtcdStats {
    /// `host:port` of its members.
    pub endpoints: Vec<String>,
    /// Whether it answered when it was asked last.
    pub is_connected: bool,
    /// For how long nobody has known whether it has something newer than what is in memory.
    pub age: Duration,
}

impl Shared {
    /// What is in memory of a store on etcd.
    pub fn on_etcd(
        cluster_id: ClusterId,
        state: Arc<State>,
        history: History,
        compacted: Revision,
        past: Arc<etcd::Past>,
    ) -> Self {
        Self {
            cluster_id,
            hub: Hub::new(state.revision),
            state: ArcSwap::new(state),
            history,
            compacted: AtomicU64::new(compacted),
            reader: None,
            remote: Some(past),
            counters: Counters::default(),
        }
    }

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
        if near.revision == revision {
            return self.unless_compacted(revision, Ok(Arc::new(near)));
        }
        let read = match self.past(near.revision) {
            Ok(past) => self.learn(past.rewind(near, revision).await),
            Err(error) => Err(error),
        };
        self.unless_compacted(revision, read)
    }

    /// Events after `after` that the ring has forgotten.
    pub async fn read_disk(
        &self,
        after: Revision,
        ring: &TooOld,
        prefix: &[u8],
        chunk: Chunk,
    ) -> Result<Slice, WatchError> {
        let read = match self.past(ring.after) {
            Ok(past) => self.learn(past.events(after, ring.after, prefix, chunk).await),
            Err(error) => Err(error),
        };
        self.unless_compacted(after, read).map_err(WatchError::from)
    }

    /// See [`crate::Store::changes`].
    pub async fn changes(
        &self,
        after: Revision,
        upto: Revision,
        prefix: &[u8],
        limit: usize,
    ) -> Result<Changes, RevisionError> {
        let current = self.current().revision;
        if after.max(upto) > current {
            return Err(RevisionError::Future { current });
        }
        let mut page = Changes { changes: Vec::new(), upto: after };
        let mut room = Room::new(limit);
        while page.upto < upto && !room.is_full() {
            if let Err(old) = self.history.changes(&mut page, upto, prefix, &mut room) {
                let from = page.upto;
                let read = match self.past(old.after) {
                    Ok(past) => self.learn(past.changes(page, upto.min(old.after), prefix, room).await),
                    Err(error) => Err(error),
                };
                (page, room) = self.unless_compacted(from, read)?;
            }
        }
        self.unless_compacted(after, Ok(page))
    }

    /// What was read of history after `after`, whether or not that worked, unless it was compacted meanwhile: then it
    /// may lack something, or have failed because of that.
    fn unless_compacted<T>(&self, after: Revision, read: Result<T, RevisionError>) -> Result<T, RevisionError> {
        let oldest = self.compacted();
        if after < oldest { Err(RevisionError::Compacted { oldest }) } else { read }
    }

    /// Note it when etcd has forgotten more than it was asked to. What the ring has is still there.
    fn learn<T>(&self, read: Result<T, RevisionError>) -> Result<T, RevisionError> {
        if let Err(RevisionError::Compacted { oldest }) = &read {
            self.compacted.fetch_max((*oldest).min(self.history.after()), Ordering::AcqRel);
        }
        read
    }

    /// The history that the ring, which begins after `oldest`, has forgotten. Without a file or an etcd it is gone.
    fn past(&self, oldest: Revision) -> Result<Past, RevisionError> {
        if let Some(past) = &self.remote {
            return Ok(Past::Etcd(past.clone()));
        }
        let Some(reader) = &self.reader else {
            return Err(RevisionError::Compacted { oldest });
        };
        reader.load_full().map(Past::Disk).ok_or_else(unavailable)
    }

    /// See [`crate::Store::file_stats`].
    pub async fn file_stats(&self) -> Result<Option<FileStats>, RevisionError> {
        let Some(place) = &self.reader else { return Ok(None) };
        let reader = place.load_full().ok_or_else(unavailable)?;
        let (state, cluster_id) = (self.current(), self.cluster_id);
        let file_bytes = self.counters.file_bytes.load(Ordering::Relaxed);
        let count = move || reader.stats(&state, FileStats { cluster_id, file_bytes, ..FileStats::blank(&state) });
        on_disk(count).await.map(Some)
    }

    pub fn set_reader(&self, reader: Option<Arc<Reader>>) {
        if let Some(place) = &self.reader {
            place.store(reader);
        }
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
            etcd: None,
        }
    }
}

fn unavailable() -> RevisionError {
    RevisionError::Io(Arc::new(io::Error::other("the history on disk is not available at the moment")))
}
