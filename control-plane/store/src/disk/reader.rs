//! History on disk, read beside the writer.

use std::io;
use std::sync::Arc;

use redb::{Database, ReadOnlyTable, ReadableDatabase};

use super::authors::{self, Names};
use super::{LOG, corrupt, format, into_io, record, survey};
use crate::history::{Chunk, Room, Slice};
use crate::ops::FileStats;
use crate::snapshot::State;
use crate::types::{Change, Changes, Entry, Event, Revision};

type Log = ReadOnlyTable<&'static [u8], &'static [u8]>;

/// Reads take a redb snapshot of their own: the writer neither waits for them nor disturbs them.
#[derive(Debug)]
pub(crate) struct Reader {
    database: Arc<Database>,
    /// Bytes of the file in front of redb.
    front: u64,
}

impl Reader {
    pub fn new(database: Arc<Database>, front: u64) -> Self {
        Self { database, front }
    }

    /// The events after `after`, up to `upto`, below `prefix`, as many as `chunk` allows.
    pub fn events(&self, after: Revision, upto: Revision, prefix: &[u8], chunk: Chunk) -> io::Result<Slice> {
        self.read_events(after, upto.min(after + chunk.revisions), prefix, chunk.events).map_err(into_io)
    }

    fn read_events(&self, after: Revision, upto: Revision, prefix: &[u8], limit: usize) -> Result<Slice, redb::Error> {
        let log = self.log()?;
        let mut slice = Slice { events: Vec::new(), upto };
        let (from, to) = bounds(after, upto);
        for row in log.range::<&[u8]>(&from[..]..&to[..])? {
            let (row_key, row) = row?;
            let (revision, key) = record::split_row_key(row_key.value()).map_err(corrupt)?;
            let enough = slice.events.len() >= limit;
            if enough && slice.events.last().is_some_and(|last| last.revision != revision) {
                slice.upto = revision - 1;
                break;
            }
            if !key.starts_with(prefix) {
                continue;
            }
            let row = record::parse(row.value()).map_err(corrupt)?;
            let entry = row.entry(revision, row_key.value()).map_err(corrupt)?;
            let prev = entry_at(&log, row.header.prev, key)?;
            slice.events.push(Arc::new(Event::new(key.into(), revision, entry, prev)));
        }
        Ok(slice)
    }

    /// Add to `page` what changed below `prefix` after `page.upto`, up to `upto`, as far as `room` allows. Of what does
    /// not match only the header is looked at.
    pub fn changes(&self, page: Changes, upto: Revision, prefix: &[u8], room: Room) -> io::Result<(Changes, Room)> {
        self.read_changes(page, upto, prefix, room).map_err(into_io)
    }

    fn read_changes(
        &self,
        mut page: Changes,
        upto: Revision,
        prefix: &[u8],
        mut room: Room,
    ) -> Result<(Changes, Room), redb::Error> {
        let transaction = self.database.begin_read()?;
        let log = transaction.open_table(LOG)?;
        let names = Names::read(&transaction.open_table(authors::TABLE)?)?;
        let mut open: Option<Change> = None;
        let (from, to) = bounds(page.upto, upto);
        for row in log.range::<&[u8]>(&from[..]..&to[..])? {
            let (row_key, row) = row?;
            let (revision, key) = record::split_row_key(row_key.value()).map_err(corrupt)?;
            if !key.starts_with(prefix) {
                continue;
            }
            if let Some(done) = open.take_if(|change| change.revision != revision) {
                if !room.takes(&done) {
                    return Ok((page, room));
                }
                page.upto = done.revision;
                page.changes.push(done);
                if room.is_full() {
                    return Ok((page, room));
                }
            }
            let row = record::parse(row.value()).map_err(corrupt)?;
            let entry = row.entry(revision, row_key.value()).map_err(corrupt)?;
            let prev = entry_at(&log, row.header.prev, key)?;
            let author = names.author(row.by).map_err(corrupt)?;
            let fresh = || Change { revision, at_ms: row.header.at_ms, author, events: Vec::new() };
            let change = open.get_or_insert_with(fresh);
            change.events.push(Arc::new(Event::new(key.into(), revision, entry, prev)));
        }
        if let Some(done) = open {
            if !room.takes(&done) {
                return Ok((page, room));
            }
            page.changes.push(done);
        }
        page.upto = upto;
        Ok((page, room))
    }

    /// See [`crate::Store::file_stats`]; `blank` says what the rows do not.
    pub fn stats(&self, state: &State, blank: FileStats) -> io::Result<FileStats> {
        let blank = FileStats { format: format::CURRENT, ..blank };
        let count = || survey::count(&self.database.begin_read()?, format::current(), state, self.front, blank);
        count().map_err(into_io)
    }

    /// Go back from `state` to `revision`.
    pub fn rewind(&self, state: State, revision: Revision) -> io::Result<State> {
        self.rewind_inner(state, revision).map_err(into_io)
    }

    fn rewind_inner(&self, mut state: State, revision: Revision) -> Result<State, redb::Error> {
        let log = self.log()?;
        let (from, to) = bounds(revision, state.revision);
        for row in log.range::<&[u8]>(&from[..]..&to[..])?.rev() {
            let (row_key, row) = row?;
            let (_, key) = record::split_row_key(row_key.value()).map_err(corrupt)?;
            let row = record::parse(row.value()).map_err(corrupt)?;
            match entry_at(&log, row.header.prev, key)? {
                Some(prev) => state.root.insert(key.into(), prev),
                None => state.root.remove(key),
            };
        }
        state.revision = revision;
        Ok(state)
    }

    fn log(&self) -> Result<Log, redb::Error> {
        Ok(self.database.begin_read()?.open_table(LOG)?)
    }
}

/// The row keys of the revisions after `after` up to `upto`.
fn bounds(after: Revision, upto: Revision) -> ([u8; 8], [u8; 8]) {
    ((after + 1).to_be_bytes(), (upto + 1).to_be_bytes())
}

fn entry_at(log: &Log, revision: Revision, key: &[u8]) -> Result<Option<Arc<Entry>>, redb::Error> {
    if revision == 0 {
        return Ok(None);
    }
    let mut row_key = Vec::new();
    record::row_key(revision, key, &mut row_key);
    let row = log.get(&*row_key)?.ok_or_else(|| corrupt(record::Malformed::Predecessor))?;
    record::parse(row.value()).and_then(|row| row.entry(revision, &row_key)).map_err(corrupt)
}
