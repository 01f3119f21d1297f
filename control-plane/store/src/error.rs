//! What can go wrong, free of any transport.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::types::{Entry, Key, Revision};

/// Why a store did not open. In every case the file is left as it was.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error("{} is in use by another process", path.display())]
    Locked { path: PathBuf },
    #[error("{} is a directory, not a store file", path.display())]
    Directory { path: PathBuf },
    #[error("no permission to open {}", path.display())]
    Permission {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("{} is not a Skiff store: {reason}", path.display())]
    Foreign { path: PathBuf, reason: String },
    #[error("{} is damaged: {reason}", path.display())]
    Corrupt { path: PathBuf, reason: String },
    #[error(
        "{} has format {found}, which is newer than this version of Skiff understands ({supported})",
        path.display()
    )]
    NewerFormat { path: PathBuf, found: u64, supported: u64 },
    #[error("no room on the disk to open {}", path.display())]
    Full {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("cannot open {}", path.display())]
    Io {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    /// The etcd cluster at `url` does not answer; it may later.
    #[error("{url}: {reason}")]
    Etcd { url: String, reason: String },
    /// The etcd cluster at `url` does not let us in, or cannot be used as it is asked to.
    #[error("{url}: {reason}")]
    EtcdRefused { url: String, reason: String },
    #[error("cannot start the commit thread")]
    Thread(#[source] io::Error),
}

impl OpenError {
    /// The variant that tells best what `source` means for whoever opens `path`.
    pub(crate) fn from_io(path: &Path, source: io::Error) -> Self {
        let path = path.to_path_buf();
        match source.kind() {
            io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => Self::Permission { path, source },
            io::ErrorKind::IsADirectory => Self::Directory { path },
            io::ErrorKind::WouldBlock => Self::Locked { path },
            kind if is_full(kind) => Self::Full { path, source },
            _ => Self::Io { path, source },
        }
    }
}

/// Why a transaction did not happen.
#[derive(Clone, Debug, thiserror::Error)]
pub enum CommitError {
    /// A comparison failed. `actual` is what the key holds; `None` when it does not exist.
    #[error("key {} is not at the expected revision", String::from_utf8_lossy(key))]
    Conflict { key: Key, actual: Option<Arc<Entry>> },
    #[error("{bytes} bytes are more than the limit of {limit}")]
    TooLarge { bytes: usize, limit: usize },
    /// A store on etcd makes no more than its limit at once.
    #[error("{count} operations are more than the {limit} that etcd takes in one transaction")]
    TooManyOps { count: usize, limit: usize },
    #[error("key {} appears in two operations of one transaction", String::from_utf8_lossy(key))]
    DuplicateKey { key: Key },
    #[error("a key must have between 1 and {limit} bytes, not {bytes}")]
    KeyLength { bytes: usize, limit: usize },
    /// Nothing was written; writing resumes when there is room.
    #[error("the disk is full")]
    Full,
    /// Nothing was written; the store verifies its file before it writes on.
    #[error("the store's file cannot be written")]
    Io(#[source] Arc<io::Error>),
    /// The etcd cluster behind the store cannot be reached; nothing was written.
    #[error("etcd is not available: {reason}")]
    Unavailable { reason: String },
    /// The etcd cluster did not answer in time: the transaction may have happened, or may yet.
    #[error("etcd did not say whether the write happened: {reason}")]
    Unknown { reason: String },
    #[error("the store is closed")]
    Closed,
}

impl CommitError {
    pub(crate) fn from_io(source: io::Error) -> Self {
        if is_full(source.kind()) { Self::Full } else { Self::Io(Arc::new(source)) }
    }
}

/// Why a revision cannot be read or watched from.
#[derive(Clone, Debug, thiserror::Error)]
pub enum RevisionError {
    /// History before `oldest` is gone.
    #[error("the requested revision has been compacted; the oldest is {oldest}")]
    Compacted { oldest: Revision },
    #[error("the requested revision is in the future; the current one is {current}")]
    Future { current: Revision },
    #[error("the history on disk cannot be read")]
    Io(#[source] Arc<io::Error>),
    /// The etcd cluster behind the store does not answer.
    #[error("etcd is not available: {reason}")]
    Unavailable { reason: String },
    #[error("the store is closed")]
    Closed,
}

/// Why a watch ended.
#[derive(Clone, Debug, thiserror::Error)]
pub enum WatchError {
    /// The watcher was slower than history is long.
    #[error("the watch fell behind the oldest revision, {oldest}")]
    Compacted { oldest: Revision },
    #[error("the store is closed")]
    Closed,
    #[error("the history on disk cannot be read")]
    Io(#[source] Arc<io::Error>),
}

impl From<RevisionError> for WatchError {
    fn from(error: RevisionError) -> Self {
        match error {
            RevisionError::Compacted { oldest } => Self::Compacted { oldest },
            RevisionError::Io(error) => Self::Io(error),
            RevisionError::Closed => Self::Closed,
            other @ (RevisionError::Future { .. } | RevisionError::Unavailable { .. }) => {
                Self::Io(Arc::new(io::Error::other(other)))
            }
        }
    }
}

fn is_full(kind: io::ErrorKind) -> bool {
    matches!(kind, io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_system_says_becomes_what_to_do() {
        let open = |kind: io::ErrorKind| OpenError::from_io(Path::new("/data/s"), kind.into());
        assert!(matches!(open(io::ErrorKind::PermissionDenied), OpenError::Permission { .. }));
        assert!(matches!(open(io::ErrorKind::ReadOnlyFilesystem), OpenError::Permission { .. }));
        assert!(matches!(open(io::ErrorKind::WouldBlock), OpenError::Locked { .. }));
        assert!(matches!(open(io::ErrorKind::StorageFull), OpenError::Full { .. }));
        assert_eq!(open(io::ErrorKind::PermissionDenied).to_string(), "no permission to open /data/s");
        let commit = |kind: io::ErrorKind| CommitError::from_io(kind.into());
        assert!(matches!(commit(io::ErrorKind::QuotaExceeded), CommitError::Full));
        assert!(matches!(commit(io::ErrorKind::Other), CommitError::Io(_)));
    }
}
