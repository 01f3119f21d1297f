//! Checking, counting and shrinking a file that no store has open.

use std::fmt;
use std::path::Path;

use crate::disk;
use crate::error::OpenError;
use crate::snapshot::State;
use crate::types::{ClusterId, Key, Revision};

/// What a store's file holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileStats {
    pub format: u64,
    pub cluster_id: ClusterId,
    pub revision: Revision,
    /// The oldest revision that can be read and watched from.
    pub oldest: Revision,
    /// When the first change after it was made, in milliseconds since 1970; `None` when there is none.
    pub oldest_ms: Option<u64>,
    pub keys: u64,
    /// Bytes of the keys and values that exist.
    pub live_bytes: u64,
    /// Changes that were overwritten since, and deletions, and the bytes of their rows.
    pub history_rows: u64,
    pub history_bytes: u64,
    pub file_bytes: u64,
    /// Bytes of the file that hold nothing, about: later writes fill them, [`shrink`] gives them back.
    pub free_bytes: u64,
    /// Names in the table of authors.
    pub authors: u64,
}

impl FileStats {
    /// What `state` says, and nothing about the file.
    pub(crate) fn blank(state: &State) -> Self {
        Self {
            format: 0,
            cluster_id: ClusterId(0),
            revision: state.revision,
            oldest: 0,
            oldest_ms: None,
            keys: state.root.len() as u64,
            live_bytes: state.root.iter().map(|(key, entry)| (key.len() + entry.value.len()) as u64).sum(),
            history_rows: 0,
            history_bytes: 0,
            file_bytes: 0,
            free_bytes: 0,
            authors: 0,
        }
    }
}

/// What [`check`] found.
#[derive(Clone, Debug)]
pub struct Report {
    /// `None` when the rows contradict each other so much that the file would not open.
    pub stats: Option<FileStats>,
    /// Rows that were checked.
    pub rows: u64,
    /// The first hundred.
    pub findings: Vec<Finding>,
    /// How many there are in all.
    pub found: u64,
}

impl Report {
    #[must_use]
    pub fn is_sound(&self) -> bool {
        self.found == 0
    }
}

/// Something that does not hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    pub flaw: Flaw,
    /// Where; 0 when it is about the whole file.
    pub revision: Revision,
    /// Of which key; empty when it is about none.
    pub key: Key,
}

/// What can be wrong with a file whose pages are whole.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Flaw {
    #[error("a row has no proper key")]
    RowKey,
    #[error("the row cannot be parsed")]
    Row,
    #[error("the row's checksum does not fit")]
    Sum,
    #[error("the row's author is not in the table")]
    Author,
    #[error("revisions {first} to {last} are missing before it")]
    Gap { first: Revision, last: Revision },
    #[error("the row names a predecessor that is not the one before it")]
    Predecessor,
    #[error("the row deletes what did not exist")]
    DeletedTwice,
    #[error("create revision and version do not follow from the row before")]
    Arithmetic,
    #[error("compaction should have removed the row")]
    Orphan,
    #[error("the marks contradict each other: swept {swept}, compacted {compacted}, noted {noted}, newest {newest}")]
    Marks { swept: Revision, compacted: Revision, noted: Revision, newest: Revision },
    #[error("there is a table {name:?} that does not belong there")]
    Table { name: String },
    #[error("what opening reads is not what the rows say")]
    State,
    #[error("it would not open: {reason}")]
    Replay { reason: String },
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.revision > 0 {
            write!(f, "revision {}: ", self.revision)?;
        }
        if !self.key.is_empty() {
            write!(f, "{}: ", self.key.escape_ascii())?;
        }
        self.flaw.fmt(f)
    }
}

/// What [`shrink`] did: bytes of the file before and after.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shrunk {
    pub before: u64,
    pub after: u64,
}

/// Check everything that must hold of the file at `path`: the checksum of each page and row, that revisions follow each
/// other, that each change names the one before, that create revisions and versions count on, that compaction left
/// nothing and took nothing else, and that opening would read just that. Needs about the memory that opening needs.
/// Changes nothing, not even in a file that was not closed properly: what opening would repair is repaired in memory.
///
/// # Errors
/// See [`OpenError`]; [`OpenError::Corrupt`] when the pages themselves are damaged. The store must not be open.
pub fn check(path: &Path) -> Result<Report, OpenError> {
    disk::Survey::open(path)?.check()
}

/// Count what the file at `path` holds. Changes nothing; see [`check`].
///
/// # Errors
/// As [`check`].
pub fn stats(path: &Path) -> Result<FileStats, OpenError> {
    disk::Survey::open(path)?.stats()
}

/// Give the file's free pages back to the file system. Compaction frees pages inside the file, and they are used again;
/// this moves what is left together and cuts the file off. A power loss in the middle leaves a whole store.
///
/// # Errors
/// See [`OpenError`]. The store must not be open.
pub fn shrink(path: &Path) -> Result<Shrunk, OpenError> {
    let (before, after) = disk::shrink(path)?;
    Ok(Shrunk { before, after })
}
