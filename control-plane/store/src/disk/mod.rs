//! The store's file: a log of every change, ordered by revision, in one redb table, and a journal in front of it where
//! small commits wait to be written there many at a time.
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
mod journal;
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
use journal::Journal;
use load::{Opened, guarded};
use record::By;

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

/// A commit of more rows, or of more bytes, is written to redb at once, which is as cheap then.
const NOTED_ROWS: usize = 48;
const NOTED_BYTES: u64 = 96 << 10;
/// Rows that wait in the journal. With more, all of them are written to redb.
const TAIL_ROWS: usize = 160;
/// Bytes that they may keep in memory.
const TAIL_COST: usize = 4 << 20;
/// A transaction that brings many commits to redb compacts for at most so many of them.
const MOST_SHARES: u8 = 8;
/// Compacted revisions that are worth a transaction of their own.
const SWEEP_FROM: u64 = 64;

/// Rows looked at between two looks at the time.
const SWEEP_SLICE: usize = 8;

/// The open file.
#[derive(Debug)]
pub(crate) struct Disk {
    gate: Arc<Gate>,
    /// `None` between a failure of it and the recovery from that.
    database: Option<Arc<Database>>,
    /// `None` in a file of a version that had none.
    journal: Option<Journal>,
    tail: Tail,
    revision: Revision,
    compacted: Revision,
    /// As redb knows it.
    marked: Revision,
    swept: Swept,
    /// Whether somebody asked for the compaction, and may look for what it does.
    is_asked: bool,
    authors: Authors,
}

/// What is in the journal and not in redb.
#[derive(Debug, Default)]
struct Tail {
    commits: Vec<Commit>,
    rows: usize,
    /// Bytes that the commits keep in memory, with the values they replaced.
    cost: usize,
    /// Frames of the journal, some of which only move the compacted revision.
    frames: usize,
}

/// What one durable step writes.
pub(crate) struct Step<'a> {
    pub commits: &'a [Commit],
    pub revision: Revision,
    pub compacted: Revision,
    /// Whether somebody asked for the compaction.
    pub is_asked: bool,
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

impl Effort {
    /// For as many steps that are made up for at once.
    fn times(self, steps: u8) -> Self {
        Self { rows: self.rows * usize::from(steps), time: self.time * u32::from(steps) }
    }
}

impl Disk {
    /// Open the file at `path`, or make it; or use `backend` in its place.
    pub fn open(
        path: &Path,
        backend: Option<Box<dyn StorageBackend>>,
        policy: HistoryPolicy,
    ) -> Result<(Self, Loaded), OpenError> {
        let (mut opened, ahead) = load::open(path, backend, policy)?;
        let read = |opened: &Opened, layout| {
            let work = || replay::replay(&opened.database, layout, opened.frames(), opened.cluster_id, policy);
            guarded(path, work)
        };
        let ahead = ahead.map(|ahead| guarded(path, || ahead.of(&opened.database, opened.layout))).transpose()?;
        let mut loaded = match ahead.flatten() {
            Some(loaded) => loaded,
            None => read(&opened, opened.layout)?,
        };
        opened.gate.release().map_err(|error| OpenError::from_io(path, error))?;
        if opened.format < format::CURRENT {
            // What was read is right, so the file is sound; what it refers to is of the old format.
            tracing::info!(path = %path.display(), from = opened.format, to = format::CURRENT, "upgrading the store's file");
            guarded(path, || format::upgrade(&opened.database, opened.format))?;
            loaded = read(&opened, format::current())?;
        }
        guarded(path, || opened.settle(&mut loaded.authors))?;
        let journal = opened.journal.map(|found| Journal::new(opened.gate.storage(), &found));
        let disk = Self {
            gate: opened.gate,
            database: Some(Arc::new(opened.database)),
            journal,
            tail: Tail::default(),
            revision: loaded.state.revision,
            is_asked: false,
            compacted: loaded.compacted,
            marked: loaded.compacted,
            swept: Swept { revision: loaded.swept, row: Vec::new() },
            authors: std::mem::take(&mut loaded.authors),
        };
        Ok((disk, loaded))
    }

    /// The history, for readers; `None` while the file is being recovered.
    pub fn reader(&self) -> Option<Arc<Reader>> {
        self.database.as_ref().map(|database| Arc::new(Reader::new(database.clone(), self.gate.front())))
    }

    /// Whether compaction has enough rows left to delete to do it for its own sake.
    pub fn is_sweeping(&self) -> bool {
        let left = self.compacted.saturating_sub(self.swept.revision);
        left >= if self.is_asked { 1 } else { SWEEP_FROM }
    }

    /// The newest revision that can be read from the disk.
    pub fn readable(&self, newest: Revision) -> Revision {
        self.tail.commits.first().map_or(newest, |oldest| oldest.revision - 1)
    }

    pub fn bytes(&self) -> u64 {
        self.gate.stored_len().unwrap_or(0)
    }

    /// Make `step` durable, all of it or nothing. After an error nothing may be written before
    /// [`Disk::recover`] succeeded.
    pub fn write(&mut self, step: &Step<'_>) -> io::Result<()> {
        if !self.note(step)? {
            let written = self.write_transaction(step);
            if written.is_err() {
                self.database = None;
            }
            let (swept, added) = written.map_err(into_io)?;
            self.tail = Tail::default();
            self.journal.iter_mut().for_each(Journal::rewind);
            (self.swept, self.marked) = (swept, step.compacted);
            self.authors.keep(added);
        }
        (self.revision, self.compacted) = (step.revision, step.compacted);
        self.is_asked = (self.is_asked || step.is_asked) && self.swept.revision < self.compacted;
        Ok(())
    }

    /// Make `step` durable in the journal, if that is the better place for it.
    fn note(&mut self, step: &Step<'_>) -> io::Result<bool> {
        let Some(journal) = &mut self.journal else { return Ok(false) };
        let rows = step.commits.iter().map(|commit| commit.events.len()).sum::<usize>();
        let bytes = step.commits.iter().map(Commit::written).sum::<u64>();
        let cost = step.commits.iter().map(Commit::cost).sum::<usize>();
        let is_small = rows <= NOTED_ROWS && bytes <= NOTED_BYTES;
        let has_room = self.tail.rows + rows <= TAIL_ROWS && self.tail.cost + cost <= TAIL_COST;
        let is_sweep = rows == 0 && step.compacted == self.compacted;
        if !is_small || !has_room || is_sweep || self.database.is_none() {
            return Ok(false);
        }
        let mut frame = journal.begin();
        let mut row_key = Vec::new();
        for commit in step.commits {
            let name = commit.author.as_str();
            let by = if name.is_empty() { By::Nobody } else { By::Name(name) };
            for event in commit.events.iter() {
                let row = record::Row::new(event, commit.at_ms, by);
                record::row_key(commit.revision, &event.key, &mut row_key);
                frame.push(&row_key, row.len(), |out| row.write(&row_key, out));
            }
        }
        if !journal.has_room() {
            return Ok(false);
        }
        journal.append(step.revision, step.compacted)?;
        self.tail.commits.extend_from_slice(step.commits);
        self.tail.rows += rows;
        self.tail.cost += cost;
        self.tail.frames += 1;
        Ok(true)
    }

    /// Bring everything to redb.
    pub fn settle(&mut self) -> io::Result<()> {
        if self.tail.frames == 0 {
            return Ok(());
        }
        let (revision, compacted) = (self.revision, self.compacted);
        let sweep = Effort { rows: 0, time: Duration::ZERO };
        self.write(&Step { commits: &[], revision, compacted, is_asked: false, sweep })
    }

    fn write_transaction(&self, step: &Step<'_>) -> Result<(Swept, Added), redb::Error> {
        let database = self.database.as_ref().ok_or(redb::Error::DatabaseClosed)?;
        let transaction = database.begin_write()?;
        let mut swept = self.swept.clone();
        let mut added = Added::default();
        {
            let mut log = transaction.open_table(LOG)?;
            let mut row_key = Vec::new();
            for commit in self.tail.commits.iter().chain(step.commits) {
                let by = self.authors.name(&commit.author, &mut added);
                for event in commit.events.iter() {
                    let row = record::Row::new(event, commit.at_ms, by);
                    record::row_key(commit.revision, &event.key, &mut row_key);
                    row.write(&row_key, log.insert_reserve(&*row_key, row.len())?.as_mut());
                }
            }
            if swept.revision < step.compacted {
                let steps = if step.commits.is_empty() { 1 } else { self.tail.frames + 1 };
                let share = u8::try_from(steps).unwrap_or(MOST_SHARES).min(MOST_SHARES);
                swept = sweep(&mut log, &swept, step.compacted, step.sweep.times(share))?;
            }
            if step.compacted != self.marked || swept.revision != self.swept.revision {
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
        self.journal.as_mut().map_or(Ok(()), Journal::mend)?;
        if self.database.is_some() {
            // It was the journal that failed.
            return Ok(());
        }
        self.gate.restore()?;
        let database = load::database(&self.gate).map_err(into_io)?;
        let (found, expected) = (last_revision(&database).map_err(into_io)?, self.readable(expected));
        if found != expected {
            let message = format!("the file ends at revision {found} in place of {expected}");
            return Err(io::Error::new(io::ErrorKind::InvalidData, message));
        }
        self.database = Some(Arc::new(database));
        Ok(())
    }

    pub fn close(&mut self) {
        if self.database.is_some()
            && let Err(error) = self.settle()
        {
            // Whoever opens the file finds them there.
            tracing::warn!(%error, "the newest revisions stay in the journal");
        }
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
    let mut opened = load::open_existing(path)?;
    let before = opened.gate.stored_len().map_err(failed)?;
    let work = || {
        replay::replay(&opened.database, opened.layout, opened.frames(), opened.cluster_id, HistoryPolicy::default())
    };
    let mut loaded = guarded(path, work)?;
    opened.gate.release().map_err(failed)?;
    guarded(path, || opened.settle(&mut loaded.authors))?;
    let (compacted, revision) = (loaded.compacted, loaded.state.revision);
    let mut disk = Disk {
        gate: opened.gate,
        database: Some(Arc::new(opened.database)),
        journal: None,
        tail: Tail::default(),
        revision,
        compacted,
        marked: compacted,
        is_asked: true,
        swept: Swept { revision: loaded.swept, row: Vec::new() },
        authors: loaded.authors,
    };
    let sweep = Effort { rows: 10_000, time: Duration::MAX };
    guarded(path, || {
        while opened.format == format::CURRENT && disk.is_sweeping() {
            (disk.swept, _) =
                disk.write_transaction(&Step { commits: &[], revision, compacted, is_asked: true, sweep })?;
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
/// deletions. Returns how far it came: to the compacted revision, or as far as `effort` allows.
fn sweep(
    log: &mut redb::Table<'_, &[u8], &[u8]>,
    swept: &Swept,
    compacted: Revision,
    effort: Effort,
) -> Result<Swept, redb::Error> {
    let began = Instant::now();
    let mut swept = swept.clone();
    let Effort { rows, time } = effort;
    let mut left = rows;
    while left > 0 && swept.revision < compacted && (left == rows || began.elapsed() < time) {
        let most = left.min(SWEEP_SLICE);
        sweep_slice(log, &mut swept, compacted, most)?;
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
