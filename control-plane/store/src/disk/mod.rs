//! The store's file: a log of every change, ordered by revision, in one redb table.
//!
//! There is no second copy of the current state. The log *is* the state: opening replays it, and
//! compaction deletes the rows that nothing refers to any more (a value that was overwritten, a
//! deletion) up to the compacted revision. A write therefore costs one row at the end of one table.

mod ahead;
mod authors;
mod backend;
mod file;
mod folding;
mod format;
pub(crate) mod fuzzing;
mod load;
mod make;
mod reader;
mod record;
mod replay;
mod survey;

use std::io;
use std::ops::Bound;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use redb::{Database, ReadableDatabase, ReadableTable, StorageBackend, TableDefinition};

pub(crate) use make::{Draft, DraftError, Origin};
pub(crate) use reader::Reader;
pub(crate) use replay::Loaded;
pub(crate) use survey::Survey;

use crate::error::OpenError;
use crate::history::Commit;
use crate::history_policy::HistoryPolicy;
use crate::types::Revision;
use authors::{Added, Authors};
use backend::Gate;
use load::guarded;

/// Rows: revision (8 bytes, big-endian) and key → [`record`].
const LOG: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("log.2");
/// Names → little-endian integers.
const META: TableDefinition<'_, &str, u128> = TableDefinition::new("meta");

const FORMAT: &str = "format";
const CLUSTER: &str = "cluster";
/// History up to here is gone or going.
const COMPACTED: &str = "compacted";
/// Rows up to here have been looked at by compaction.
const SWEPT: &str = "swept";
/// The newest revision when `compacted` was last written.
const REVISION: &str = "revision";

/// Everything is in memory above; redb's cache serves the end of the log, compaction and old history only. The system keeps
/// the file's pages, too.
const CACHE_BYTES: usize = 2 << 20;

/// Rows looked at between two looks at the time.
const SWEEP_SLICE: usize = 8;

/// The open file.
#[derive(Debug)]
pub(crate) struct Disk {
    gate: Arc<Gate>,
    /// `None` between a failure and the recovery from it.
    database: Option<Arc<Database>>,
    compacted: Revision,
    swept: Swept,
    authors: Authors,
}

/// What one durable step writes.
pub(crate) struct Step<'a> {
    pub commits: &'a [Commit],
    pub revision: Revision,
    pub compacted: Revision,
    pub sweep: Effort,
}

/// How much compaction may do at once.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Effort {
    /// Rows to look at.
    pub rows: usize,
    /// No slice of rows is begun after this long.
    pub time: Duration,
}

impl Disk {
    /// Open the file at `path`, or make it; or use `backend` in its place.
    pub fn open(
        path: &Path,
        backend: Option<Box<dyn StorageBackend>>,
        policy: HistoryPolicy,
    ) -> Result<(Self, Loaded), OpenError> {
        let (opened, ahead) = load::open(path, backend, policy)?;
        let read = |layout| guarded(path, || replay::replay(&opened.database, layout, opened.cluster_id, policy));
        let ahead = ahead.map(|ahead| guarded(path, || ahead.of(&opened.database, opened.layout))).transpose()?;
        let mut loaded = match ahead.flatten() {
            Some(loaded) => loaded,
            None => read(opened.layout)?,
        };
        opened.gate.release().map_err(|error| OpenError::from_io(path, error))?;
        if opened.format < format::CURRENT {
            // What was read is right, so the file is sound; what it refers to is of the old format.
            tracing::info!(path = %path.display(), from = opened.format, to = format::CURRENT, "upgrading the store's file");
            guarded(path, || format::upgrade(&opened.database, opened.format))?;
            loaded = read(format::current())?;
        }
        let disk = Self {
            gate: opened.gate,
            database: Some(Arc::new(opened.database)),
            compacted: loaded.compacted,
            swept: Swept { revision: loaded.swept, row: Vec::new() },
            authors: std::mem::take(&mut loaded.authors),
        };
        Ok((disk, loaded))
    }

    /// The history, for readers; `None` while the file is being recovered.
    pub fn reader(&self) -> Option<Arc<Reader>> {
        self.database.as_ref().map(|database| Arc::new(Reader::new(database.clone())))
    }

    /// Whether compaction has rows left to delete.
    pub fn is_sweeping(&self) -> bool {
        self.swept.revision < self.compacted
    }

    pub fn bytes(&self) -> u64 {
        self.gate.len().unwrap_or(0)
    }

    /// Make `step` durable, all of it or nothing. After an error nothing may be written before
    /// [`Disk::recover`] succeeded.
    pub fn write(&mut self, step: &Step<'_>) -> io::Result<()> {
        let (swept, added) = self.write_transaction(step).map_err(into_io)?;
        self.compacted = step.compacted;
        self.swept = swept;
        self.authors.keep(added);
        Ok(())
    }

    fn write_transaction(&self, step: &Step<'_>) -> Result<(Swept, Added), redb::Error> {
        let database = self.database.as_ref().ok_or(redb::Error::DatabaseClosed)?;
        let transaction = database.begin_write()?;
        let mut swept = self.swept.clone();
        let mut added = Added::default();
        {
            let mut log = transaction.open_table(LOG)?;
            let mut row_key = Vec::new();
            for commit in step.commits {
                let by = self.authors.name(&commit.author, &mut added);
                for event in commit.events.iter() {
                    let row = record::Row::new(event, commit.at_ms, by);
                    record::row_key(commit.revision, &event.key, &mut row_key);
                    row.write(&row_key, log.insert_reserve(&*row_key, row.len())?.as_mut());
                }
            }
            if swept.revision < step.compacted {
                swept = sweep(&mut log, &swept, step)?;
            }
            if step.compacted != self.compacted || swept.revision != self.swept.revision {
                let mut meta = transaction.open_table(META)?;
                meta.insert(COMPACTED, u128::from(step.compacted))?;
                meta.insert(REVISION, u128::from(step.revision))?;
                meta.insert(SWEPT, u128::from(swept.revision))?;
            }
        }
        self.authors.write(&transaction, &added)?;
        transaction.commit()?;
        Ok((swept, added))
    }

    /// After a failed write: go back to the last durable state, verify it, and be writable again.
    ///
    /// # Errors
    /// When the disk still fails, or when what it holds does not end at `expected`, the newest
    /// revision that was acknowledged.
    pub fn recover(&mut self, expected: Revision) -> io::Result<()> {
        self.database = None;
        self.gate.restore()?;
        let database = load::database(&self.gate).map_err(into_io)?;
        let found = last_revision(&database).map_err(into_io)?;
        if found != expected {
            let message = format!("the file ends at revision {found} in place of {expected}");
            return Err(io::Error::new(io::ErrorKind::InvalidData, message));
        }
        self.database = Some(Arc::new(database));
        Ok(())
    }

    pub fn close(&mut self) {
        // Dropping writes the clean shutdown; the lock goes after it.
        self.database = None;
        if let Err(error) = self.gate.close() {
            tracing::warn!(%error, "closing the store's file");
        }
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        self.close();
    }
}

/// Delete what a running store would delete bit by bit, move the file's pages together and cut it off behind them.
/// Returns its length before and after.
pub(crate) fn shrink(path: &Path) -> Result<(u64, u64), OpenError> {
    let failed = |error| OpenError::from_io(path, error);
    let opened = load::open_existing(path)?;
    let before = opened.gate.stored_len().map_err(failed)?;
    let work = || replay::replay(&opened.database, opened.layout, opened.cluster_id, HistoryPolicy::default());
    let loaded = guarded(path, work)?;
    opened.gate.release().map_err(failed)?;
    let (compacted, revision) = (loaded.compacted, loaded.state.revision);
    let mut disk = Disk {
        gate: opened.gate,
        database: Some(Arc::new(opened.database)),
        compacted,
        swept: Swept { revision: loaded.swept, row: Vec::new() },
        authors: loaded.authors,
    };
    let sweep = Effort { rows: 10_000, time: Duration::MAX };
    guarded(path, || {
        while opened.format == format::CURRENT && disk.is_sweeping() {
            (disk.swept, _) = disk.write_transaction(&Step { commits: &[], revision, compacted, sweep })?;
        }
        let mut database = disk.database.take().and_then(Arc::into_inner).ok_or(redb::Error::DatabaseClosed)?;
        while database.compact()? {}
        Ok(())
    })?;
    let after = disk.gate.stored_len().map_err(failed)?;
    Ok((before, after))
}

/// How far compaction has come: everything up to `revision`, and of the next revision the rows up to `row`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Swept {
    revision: Revision,
    /// Empty: none. Not kept on the disk, since looking at a row twice does no harm.
    row: Vec<u8>,
}

/// Delete what the rows after `swept` made superfluous: the rows they replaced, and themselves where they are
/// deletions. Returns how far it came: to the compacted revision, or as far as `step.sweep` allows.
fn sweep(log: &mut redb::Table<'_, &[u8], &[u8]>, swept: &Swept, step: &Step<'_>) -> Result<Swept, redb::Error> {
    let began = Instant::now();
    let mut swept = swept.clone();
    let Effort { rows, time } = step.sweep;
    let mut left = rows;
    while left > 0 && swept.revision < step.compacted && (left == rows || began.elapsed() < time) {
        let most = left.min(SWEEP_SLICE);
        sweep_slice(log, &mut swept, step.compacted, most)?;
        left -= most;
    }
    Ok(swept)
}

/// Look at the next `most` rows.
fn sweep_slice(
    log: &mut redb::Table<'_, &[u8], &[u8]>,
    swept: &mut Swept,
    compacted: Revision,
    most: usize,
) -> Result<(), redb::Error> {
    let mut doomed: Vec<Vec<u8>> = Vec::new();
    let mut seen = 0;
    let from = if swept.row.is_empty() { (swept.revision + 1).to_be_bytes().to_vec() } else { swept.row.clone() };
    let upto = (compacted + 1).to_be_bytes();
    for row in log.range::<&[u8]>((Bound::Excluded(&*from), Bound::Excluded(&upto[..])))?.take(most) {
        let (row_key, row) = row?;
        let (revision, key) = record::split_row_key(row_key.value()).map_err(corrupt)?;
        let header = record::parse(row.value()).map_err(corrupt)?.header;
        if header.prev != 0 {
            let mut doomed_key = Vec::new();
            record::row_key(header.prev, key, &mut doomed_key);
            doomed.push(doomed_key);
        }
        if header.put.is_none() {
            doomed.push(row_key.value().to_vec());
        }
        *swept = Swept { revision: revision - 1, row: row_key.value().to_vec() };
        seen += 1;
    }
    for row_key in &doomed {
        log.remove(&**row_key)?;
    }
    if seen < most {
        *swept = Swept { revision: compacted, row: Vec::new() };
    }
    Ok(())
}

fn last_revision(database: &Database) -> Result<Revision, redb::Error> {
    let transaction = database.begin_read()?;
    let noted = meta(&transaction.open_table(META)?, REVISION)?.unwrap_or(0);
    let log = transaction.open_table(LOG)?;
    let newest = match log.last()? {
        Some((row_key, _)) => record::split_row_key(row_key.value()).map_err(corrupt)?.0,
        None => 0,
    };
    Ok(newest.max(noted))
}

fn meta(table: &impl ReadableTable<&'static str, u128>, name: &str) -> Result<Option<u64>, redb::Error> {
    let Some(value) = table.get(name)? else { return Ok(None) };
    u64::try_from(value.value()).map(Some).map_err(|_| corrupt(record::Malformed::Number))
}

fn corrupt(error: record::Malformed) -> redb::Error {
    redb::Error::Corrupted(error.to_string())
}

fn into_io(error: redb::Error) -> io::Error {
    match error {
        redb::Error::Io(error) => error,
        redb::Error::Corrupted(reason) => io::Error::new(io::ErrorKind::InvalidData, reason),
        other => io::Error::other(other),
    }
}
