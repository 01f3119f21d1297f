//! Looking at a file without changing it: counting what is in it, and checking everything that must hold.

use std::collections::{HashMap, HashSet};
use std::path::Path;

use redb::{ReadTransaction, ReadableDatabase, ReadableTable, ReadableTableMetadata, TableHandle};

use super::authors::{self, Names};
use super::format::Layout;
use super::load::{self, Opened, guarded};
use super::record::{Malformed, Parsed, split_row_key};
use super::{COMPACTED, META, REVISION, SWEPT, meta, replay};
use crate::error::OpenError;
use crate::history_policy::HistoryPolicy;
use crate::ops::{FileStats, Finding, Flaw, Report};
use crate::snapshot::State;
use crate::types::{Entry, Key, Revision};

/// A file that nobody else has open, and that nothing is written to.
pub(crate) struct Survey<'a> {
    path: &'a Path,
    opened: Opened,
}

impl<'a> Survey<'a> {
    pub fn open(path: &'a Path) -> Result<Self, OpenError> {
        Ok(Self { path, opened: load::inspect(path)? })
    }

    pub fn stats(&self) -> Result<FileStats, OpenError> {
        self.stats_beside(&self.state()?)
    }

    /// See [`crate::ops::check`].
    pub fn check(&self) -> Result<Report, OpenError> {
        let mut check = guarded(self.path, || {
            let transaction = self.opened.database.begin_read()?;
            let mut check = Check::new(&transaction, self.opened.layout)?;
            for row in transaction.open_table(self.opened.layout.log)?.iter()? {
                let (row_key, row) = row?;
                check.row(row_key.value(), row.value());
            }
            check.marks();
            check.tables(&transaction)?;
            Ok(check)
        })?;
        let stats = match self.state() {
            Ok(state) => {
                check.compare(&state);
                Some(self.stats_beside(&state)?)
            }
            // With rows that do not hang together the check has found out why already.
            Err(error) => {
                check.note(Flaw::Replay { reason: error.to_string() }, 0, b"");
                None
            }
        };
        Ok(Report { stats, rows: check.rows, findings: check.findings, found: check.found })
    }

    fn state(&self) -> Result<State, OpenError> {
        let Opened { database, layout, cluster_id, .. } = &self.opened;
        let policy = HistoryPolicy { memory_bytes: 0, ..HistoryPolicy::default() };
        let loaded = guarded(self.path, || replay::replay(database, layout, &[], *cluster_id, policy))?;
        Ok(State::clone(&loaded.state))
    }

    fn stats_beside(&self, state: &State) -> Result<FileStats, OpenError> {
        let Opened { database, layout, cluster_id, gate, format, .. } = &self.opened;
        let file_bytes = gate.stored_len().map_err(|error| OpenError::from_io(self.path, error))?;
        let blank = FileStats { format: *format, cluster_id: *cluster_id, file_bytes, ..FileStats::blank(state) };
        guarded(self.path, || count(&database.begin_read()?, layout, state, gate.front(), blank))
    }
}

/// Fill in what the rows say. `state` is the state at a revision about that of `transaction`; so many bytes of the file
/// are in `front` of redb.
pub(super) fn count(
    transaction: &ReadTransaction,
    layout: &Layout,
    state: &State,
    front: u64,
    mut stats: FileStats,
) -> Result<FileStats, redb::Error> {
    let table = transaction.open_table(META)?;
    stats.oldest = meta(&table, COMPACTED)?.unwrap_or(0);
    let mut used = table.stats()?;
    let mut pages = used.stored_bytes() + used.metadata_bytes() + used.fragmented_bytes();
    let log = transaction.open_table(layout.log)?;
    used = log.stats()?;
    pages += used.stored_bytes() + used.metadata_bytes() + used.fragmented_bytes();
    stats.free_bytes = stats.file_bytes.saturating_sub(front + pages);
    if layout.has_authors {
        stats.authors = transaction.open_table(authors::TABLE)?.len()?;
    }
    for row in log.iter()? {
        let (row_key, row) = row?;
        let (revision, key) = split_row_key(row_key.value()).map_err(super::corrupt)?;
        if revision > stats.oldest && stats.oldest_ms.is_none() {
            stats.oldest_ms = Some((layout.parse)(row.value()).map_err(super::corrupt)?.header.at_ms);
        }
        if state.root.get(key).is_none_or(|entry| entry.mod_revision != revision) {
            stats.history_rows += 1;
            stats.history_bytes += (row_key.value().len() + row.value().len()) as u64;
        }
    }
    Ok(stats)
}

/// What the rows up to one say of a key.
#[derive(Clone, Copy)]
struct Last {
    revision: Revision,
    /// `None`: it was deleted.
    put: Option<(Revision, u64)>,
}

struct Check<'a> {
    layout: &'a Layout,
    names: Names,
    compacted: Revision,
    swept: Revision,
    noted: Revision,
    newest: Revision,
    keys: HashMap<Key, Last>,
    rows: u64,
    findings: Vec<Finding>,
    found: u64,
}

impl<'a> Check<'a> {
    /// Findings that are kept; further ones are counted.
    const KEPT: usize = 100;

    fn new(transaction: &ReadTransaction, layout: &'a Layout) -> Result<Self, redb::Error> {
        let table = transaction.open_table(META)?;
        let mark = |name| Ok::<_, redb::Error>(meta(&table, name)?.unwrap_or(0));
        let (compacted, swept, noted) = (mark(COMPACTED)?, mark(SWEPT)?, mark(REVISION)?);
        let names = layout.names(transaction)?;
        let keys = HashMap::new();
        Ok(Self { layout, names, compacted, swept, noted, newest: 0, keys, rows: 0, findings: Vec::new(), found: 0 })
    }

    fn note(&mut self, flaw: Flaw, revision: Revision, key: &[u8]) {
        self.found += 1;
        if self.findings.len() < Self::KEPT {
            self.findings.push(Finding { flaw, revision, key: key.into() });
        }
    }

    fn row(&mut self, row_key: &[u8], row: &[u8]) {
        self.rows += 1;
        let Ok((revision, key)) = split_row_key(row_key) else {
            return self.note(Flaw::RowKey, 0, row_key);
        };
        if revision == 0 || key.is_empty() {
            return self.note(Flaw::RowKey, revision, key);
        }
        self.contiguity(revision, key);
        let parsed = (self.layout.parse)(row).and_then(|parsed| parsed.verify(row_key).map(|()| parsed));
        let parsed = match parsed {
            Ok(parsed) => parsed,
            Err(Malformed::Sum) => return self.note(Flaw::Sum, revision, key),
            Err(_) => return self.note(Flaw::Row, revision, key),
        };
        if self.names.author(parsed.by).is_err() {
            self.note(Flaw::Author, revision, key);
        }
        if revision > self.swept {
            self.history_row(revision, key, &parsed);
        } else {
            self.swept_row(revision, key, &parsed);
        }
        let put = parsed.header.put.map(|put| (put.create_revision, put.version));
        self.keys.insert(key.into(), Last { revision, put });
    }

    /// Whether compaction may have stopped inside of `revision`.
    fn is_half_swept(&self, revision: Revision) -> bool {
        self.swept < self.compacted && revision == self.swept + 1
    }

    /// Every revision after the swept ones has its rows.
    fn contiguity(&mut self, revision: Revision, key: &[u8]) {
        let expected = self.newest.max(self.swept) + 1;
        let expected = if self.is_half_swept(expected) { expected + 1 } else { expected };
        if revision > expected && revision > self.newest {
            self.note(Flaw::Gap { first: expected, last: revision - 1 }, revision, key);
        }
        self.newest = revision;
    }

    /// A row whose predecessor must be there.
    fn history_row(&mut self, revision: Revision, key: &[u8], row: &Parsed<'_>) {
        let last = self.keys.get(key).copied();
        let before = last.and_then(|last| last.put.map(|put| (last.revision, put)));
        if before.is_none() && row.header.prev != 0 && self.is_half_swept(revision) {
            return;
        }
        if row.header.prev != before.map_or(0, |(revision, _)| revision) {
            return self.note(Flaw::Predecessor, revision, key);
        }
        match (row.header.put, before) {
            (None, None) => self.note(Flaw::DeletedTwice, revision, key),
            (Some(put), None) if (put.create_revision, put.version) != (revision, 1) => {
                self.note(Flaw::Arithmetic, revision, key);
            }
            (Some(put), Some((_, (created, version))))
                if (put.create_revision, put.version) != (created, version + 1) =>
            {
                self.note(Flaw::Arithmetic, revision, key);
            }
            _ => {}
        }
    }

    /// A row that compaction has looked at: it holds the key's value as it was at the swept revision.
    fn swept_row(&mut self, revision: Revision, key: &[u8], row: &Parsed<'_>) {
        match row.header.put {
            _ if self.keys.contains_key(key) => self.note(Flaw::Orphan, revision, key),
            None => self.note(Flaw::Orphan, revision, key),
            Some(put) => {
                let is_first = put.create_revision == revision;
                let fits = (1..=revision).contains(&put.create_revision) && put.version >= 1;
                if !fits || is_first != (put.version == 1) {
                    self.note(Flaw::Arithmetic, revision, key);
                }
            }
        }
    }

    fn marks(&mut self) {
        let current = self.newest.max(self.noted);
        if self.swept > self.compacted || self.compacted > current || self.noted > self.newest.max(self.compacted) {
            let (swept, compacted, noted, newest) = (self.swept, self.compacted, self.noted, self.newest);
            self.note(Flaw::Marks { swept, compacted, noted, newest }, 0, b"");
        }
    }

    fn tables(&mut self, transaction: &ReadTransaction) -> Result<(), redb::Error> {
        let mut known: HashSet<&str> = [META.name(), self.layout.log.name()].into();
        if self.layout.has_authors {
            known.insert(authors::TABLE.name());
        }
        for table in transaction.list_tables()? {
            if !known.contains(table.name()) {
                self.note(Flaw::Table { name: table.name().into() }, 0, b"");
            }
        }
        Ok(())
    }

    /// What opening makes of the rows is what the rows say.
    fn compare(&mut self, state: &State) {
        let agrees = |last: &Last, entry: &Entry| {
            (last.revision, last.put) == (entry.mod_revision, Some((entry.create_revision, entry.version)))
        };
        let keys = std::mem::take(&mut self.keys);
        let alive = keys.iter().filter(|(_, last)| last.put.is_some());
        let mut count = 0;
        for (key, last) in alive {
            count += 1;
            if !state.root.get(key).is_some_and(|entry| agrees(last, entry)) {
                self.note(Flaw::State, last.revision, key);
            }
        }
        if count != state.root.len() {
            self.note(Flaw::State, state.revision, b"");
        }
    }
}
