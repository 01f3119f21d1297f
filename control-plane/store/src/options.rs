//! How a store is opened. Every limit has its default here.

use std::fmt;
use std::path::PathBuf;
use std::time::SystemTime;

use redb::StorageBackend;

use crate::history_policy::HistoryPolicy;

/// Where wall time comes from. It dates history; nothing else depends on it.
pub type Clock = fn() -> SystemTime;

/// How a store is opened.
pub struct Options {
    /// The store's file; `None` keeps everything in memory.
    pub path: Option<PathBuf>,
    pub history: HistoryPolicy,
    pub limits: Limits,
    pub clock: Clock,
    /// In place of the file at `path`: where fault tests put a disk that fails. It must lie above
    /// exactly one file for as long as the store is open, and survives a re-open inside it.
    pub backend: Option<Box<dyn StorageBackend>>,
}

impl Options {
    /// A store that lives in memory and dies with the process.
    #[must_use]
    pub fn memory() -> Self {
        Self {
            path: None,
            history: HistoryPolicy::default(),
            limits: Limits::default(),
            clock: SystemTime::now,
            backend: None,
        }
    }

    /// A store in the file at `path`, made if there is none.
    #[must_use]
    pub fn file(path: impl Into<PathBuf>) -> Self {
        Self { path: Some(path.into()), ..Self::memory() }
    }
}

impl Default for Options {
    fn default() -> Self {
        Self::memory()
    }
}

impl fmt::Debug for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Options")
            .field("path", &self.path)
            .field("history", &self.history)
            .field("limits", &self.limits)
            .finish_non_exhaustive()
    }
}

/// What the store refuses, and where it pushes back.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Bytes of one transaction: keys and values together.
    pub txn_bytes: usize,
    /// Bytes of one key.
    pub key_bytes: usize,
    /// Transactions waiting for the disk; further writers wait.
    pub queue: usize,
    /// Bytes of transactions waiting for the disk or being written; further writers wait.
    pub queue_bytes: usize,
    /// Transactions in one group commit.
    pub batch: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { txn_bytes: 3 << 20, key_bytes: 2_048, queue: 4_096, queue_bytes: 64 << 20, batch: 1_024 }
    }
}
