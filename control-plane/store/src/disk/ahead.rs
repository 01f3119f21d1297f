//! Reading a large file while it is being verified.
//!
//! redb verifies every page before it lets a file be written, and that takes about as long as reading the log. So a
//! second database over the same bytes, which can write to memory only, is read meanwhile on another thread. What it
//! read counts if the first turns out to be sound and to be at the same state; otherwise it is as if it had not been.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use redb::{Database, ReadableDatabase, ReadableTable, ReadableTableMetadata};

use super::backend::Gate;
use super::format::{self, Layout};
use super::load::identity;
use super::replay::{self, Loaded};
use super::{COMPACTED, META, REVISION, SWEPT, meta};
use crate::history_policy::HistoryPolicy;
use crate::types::Revision;

/// Files below this are read in no time.
pub(super) const LARGE: u64 = 8 << 20;

/// Each page is read once: those that come next are better put where the last ones were, in the processor's cache.
const CACHE_BYTES: usize = 1 << 20;

/// What was read, and the state it was read at.
pub(super) struct Ahead {
    loaded: Loaded,
    state: FileState,
}

/// Two databases over the same bytes that agree in this are at the same redb commit: every one of ours adds or removes
/// rows, or moves a mark.
#[derive(Debug, PartialEq, Eq)]
struct FileState {
    marks: [Option<Revision>; 3],
    rows: u64,
    last: Option<Vec<u8>>,
}

impl FileState {
    fn of(database: &Database, layout: &Layout) -> Result<Self, redb::Error> {
        let transaction = database.begin_read()?;
        let table = transaction.open_table(META)?;
        let marks = [meta(&table, COMPACTED)?, meta(&table, SWEPT)?, meta(&table, REVISION)?];
        let log = transaction.open_table(layout.log)?;
        let last = log.last()?.map(|(row_key, _)| row_key.value().to_vec());
        Ok(Self { marks, rows: log.len()?, last })
    }
}

/// Read the file below `gate`. `None` when that does not work, or when redb has to repair the file first.
pub(super) fn read(gate: &Gate, policy: HistoryPolicy) -> Option<Ahead> {
    let shadow = gate.shadow().ok()?;
    let work = || unverified(&shadow, policy).ok().flatten();
    catch_unwind(AssertUnwindSafe(work)).ok().flatten()
}

fn unverified(shadow: &Arc<Gate>, policy: HistoryPolicy) -> Result<Option<Ahead>, redb::Error> {
    let mut builder = Database::builder();
    builder.set_cache_size(CACHE_BYTES).set_repair_callback(|repair| repair.abort());
    let database = builder.create_with_backend(shadow.handle())?;
    let Some((found, cluster_id)) = identity(&database)? else { return Ok(None) };
    let Some(layout) = format::layout(found) else { return Ok(None) };
    let loaded = replay::replay(&database, layout, &[], cluster_id, policy)?;
    Ok(Some(Ahead { loaded, state: FileState::of(&database, layout)? }))
}

impl Ahead {
    /// What was read, if that is what `database`, which has been verified, holds.
    pub fn of(self, database: &Database, layout: &Layout) -> Result<Option<Loaded>, redb::Error> {
        let is_same = self.state == FileState::of(database, layout)?;
        Ok(is_same.then_some(self.loaded))
    }
}
