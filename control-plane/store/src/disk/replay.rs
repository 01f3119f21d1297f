//! Reading the log into memory: newest row first, so that the first row of a key is the one that counts.
//!
//! Only live values, and those of the newest part of history that the ring takes, are copied. Of every other row the
//! header is enough: it says how the row hangs together with its neighbours, and that is checked.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, SyncSender};
use std::thread;

use redb::{Database, ReadableDatabase, ReadableTable, ReadableTableMetadata};

use super::authors::{Authors, Names};
use super::folding::Folding;
use super::format::Layout;
use super::journal::Frame;
use super::record::{self, Malformed, Parsed, split_row_key};
use super::{COMPACTED, META, REVISION, SWEPT, corrupt, meta};
use crate::history::{Commit, History};
use crate::history_policy::HistoryPolicy;
use crate::policy::Retention;
use crate::snapshot::{Root, State};
use crate::types::{Author, ClusterId, Entry, Event, Key, Revision};

/// Live entries go to the thread that makes the map of them in batches of this many; so many batches may wait.
const BATCH: usize = 256;
const WAITING: usize = 64;
/// So few rows all fit between the two, and are not worth a thread.
const FEW: u64 = (BATCH * WAITING / 8) as u64;

type Live = (Key, Arc<Entry>);
type Map<V> = HashMap<Key, V, Folding>;

/// Keys that room is made for at once; more find theirs.
const ROOM: u64 = 1 << 20;

/// Everything the file says.
#[derive(Debug)]
pub(crate) struct Loaded {
    pub cluster_id: ClusterId,
    pub state: Arc<State>,
    pub history: History,
    pub retention: Retention,
    pub compacted: Revision,
    pub swept: Revision,
    pub(super) authors: Authors,
}

/// Read what `database`, whose log is as `layout` says, holds, and what comes after it in `frames`.
pub(super) fn replay(
    database: &Database,
    layout: &Layout,
    frames: &[Frame],
    cluster_id: ClusterId,
    policy: HistoryPolicy,
) -> Result<Loaded, redb::Error> {
    let transaction = database.begin_read()?;
    let table = transaction.open_table(META)?;
    let mark = |name| Ok::<_, redb::Error>(meta(&table, name)?.unwrap_or(0));
    let (compacted, swept, noted) = (mark(COMPACTED)?, mark(SWEPT)?, mark(REVISION)?);
    let compacted = frames.iter().map(|frame| frame.compacted).fold(compacted, Revision::max);
    let names = layout.names(&transaction)?;
    let log = transaction.open_table(layout.log)?;
    let (live, arriving) = mpsc::sync_channel(WAITING);
    let rows = log.len()?;
    let read = || {
        let mut replay = Replay::new(compacted, policy.memory_bytes, names, live);
        replay.seen.reserve(usize::try_from(rows.min(ROOM)).unwrap_or_default());
        for frame in frames.iter().rev() {
            let rows: Vec<_> = frame.rows().collect();
            for row in rows.into_iter().rev() {
                let (row_key, row) = row.ok_or(Malformed::Syntax).map_err(corrupt)?;
                replay.row(row_key, record::parse(row).map_err(corrupt)?)?;
            }
        }
        for row in log.iter()?.rev() {
            let (row_key, row) = row?;
            replay.row(row_key.value(), (layout.parse)(row.value()).map_err(corrupt)?)?;
        }
        replay.finish()
    };
    let (replay, root) = if rows < FEW {
        (read()?, root(&arriving))
    } else {
        thread::scope(|scope| {
            let root = scope.spawn(move || root(&arriving));
            let replay = read()?;
            let root = root.join().map_err(|_| redb::Error::Corrupted("its keys cannot be sorted".into()))?;
            Ok::<_, redb::Error>((replay, root))
        })?
    };
    let mut retention = Retention::new(policy);
    for revision in replay.revisions.iter().rev() {
        retention.record(revision.number, revision.at_ms, revision.bytes);
    }
    let authors = Authors::new(&replay.names);
    let newest = replay.newest;
    let ring = replay.ring()?;
    // A deletion that was the newest change may have been compacted away.
    let state = Arc::new(State { revision: newest.max(noted).max(compacted), root });
    let history = History::new(ring.after, policy.memory_bytes);
    drop(history.push(ring.commits, &state, Revision::MAX));
    Ok(Loaded { cluster_id, state, history, retention, compacted, swept, authors })
}

/// What is known of a key, from the rows seen so far: all newer than what is to come.
struct Seen {
    /// Revision of the row that must come next for the key; 0 when that must be a deletion, or none.
    prev: Revision,
    /// Whether history goes so far back that `prev` must hold.
    era: Era,
    /// Whether the ring needs the value at `prev`.
    wanted: Wanted,
}

/// Where a row stands to the compacted revision.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Era {
    History,
    /// What was there is partly gone.
    Compacted,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Wanted {
    Yes,
    No,
}

/// One revision of history.
struct Dated {
    number: Revision,
    at_ms: u64,
    bytes: u64,
}

/// A change in the newest part of history; its predecessor is among older ones, or in `Replay::bases`.
struct Half {
    revision: Revision,
    key: Key,
    at_ms: u64,
    author: Author,
    entry: Option<Arc<Entry>>,
    prev: Revision,
}

struct Replay {
    compacted: Revision,
    names: Names,
    /// Newest revision of all.
    newest: Revision,
    /// The revision being read; 0 before the first.
    reached: Revision,
    seen: Map<Seen>,
    /// Live entries on their way to [`root`].
    live: Vec<Live>,
    sender: SyncSender<Vec<Live>>,
    /// Newest first.
    revisions: Vec<Dated>,
    /// Newest first.
    halves: Vec<Half>,
    /// Values before the oldest of `halves`.
    bases: Map<Arc<Entry>>,
    /// Bytes that the ring may still take.
    room: usize,
    /// Whether the ring takes the revision being read.
    in_ring: Wanted,
}

/// What is left of a [`Replay`] when it has come to its end.
struct Read {
    compacted: Revision,
    names: Names,
    newest: Revision,
    revisions: Vec<Dated>,
    halves: Vec<Half>,
    bases: Map<Arc<Entry>>,
}

/// The newest part of history.
struct Newest {
    after: Revision,
    commits: Vec<Commit>,
}

impl Replay {
    fn new(compacted: Revision, room: usize, names: Names, sender: SyncSender<Vec<Live>>) -> Self {
        Self {
            compacted,
            names,
            newest: 0,
            reached: 0,
            seen: Map::default(),
            live: Vec::new(),
            sender,
            revisions: Vec::new(),
            halves: Vec::new(),
            bases: Map::default(),
            room,
            in_ring: Wanted::Yes,
        }
    }

    fn row(&mut self, row_key: &[u8], row: Parsed<'_>) -> Result<(), redb::Error> {
        let (revision, key) = split_row_key(row_key).map_err(corrupt)?;
        if revision != self.reached {
            self.begin(revision, row.header.at_ms)?;
        }
        let (key, is_live, is_base) = self.link(revision, key, &row)?;
        let in_ring = self.in_ring == Wanted::Yes;
        let entry = if is_live || is_base || in_ring { row.entry(revision, row_key).map_err(corrupt)? } else { None };
        if let Some(entry) = &entry {
            if is_live {
                self.live.push((key.clone(), entry.clone()));
                if self.live.len() == BATCH {
                    self.send();
                }
            }
            if is_base && !in_ring {
                self.bases.insert(key.clone(), entry.clone());
            }
        }
        if let (true, Some(current)) = (revision > self.compacted, self.revisions.last_mut()) {
            current.bytes += Commit::row_bytes(&key, row.value.len());
        }
        if in_ring {
            // Twice, where it is not shared with what is live: as the new value, and as the one before.
            let copies = if is_live { 1 } else { 2 };
            self.room = self.room.saturating_sub(Event::OVERHEAD + key.len() + copies * row.value.len());
            let author = self.names.author(row.by).map_err(corrupt)?;
            let (prev, at_ms) = (row.header.prev, row.header.at_ms);
            self.halves.push(Half { revision, key, at_ms, author, entry, prev });
        }
        Ok(())
    }

    /// Go on to `revision`, which is older than what was read.
    fn begin(&mut self, revision: Revision, at_ms: u64) -> Result<(), redb::Error> {
        self.newest = self.newest.max(revision);
        let expected = self.reached.saturating_sub(1);
        if self.reached > self.compacted && revision != expected && expected > self.compacted {
            return Err(missing(expected));
        }
        self.reached = revision;
        if revision > self.compacted {
            self.revisions.push(Dated { number: revision, at_ms, bytes: 0 });
        }
        if revision <= self.compacted || self.room == 0 {
            self.in_ring = Wanted::No;
        }
        Ok(())
    }

    /// Check that the row fits what newer rows say of its key. Returns the key, whether the row is the key's newest
    /// and holds a value, and whether the ring needs that value.
    fn link(&mut self, revision: Revision, key: &[u8], row: &Parsed<'_>) -> Result<(Key, bool, bool), redb::Error> {
        let is_put = row.header.put.is_some();
        let era = if revision > self.compacted { Era::History } else { Era::Compacted };
        let next = Seen { prev: row.header.prev, era, wanted: self.in_ring };
        if let Some((known, seen)) = self.seen.get_key_value(key) {
            let expected = if is_put { revision } else { 0 };
            if seen.era == Era::History && seen.prev != expected {
                return Err(corrupt(Malformed::Predecessor));
            }
            let (known, is_base) = (known.clone(), seen.wanted == Wanted::Yes && is_put);
            self.seen.insert(known.clone(), next);
            return Ok((known, false, is_base));
        }
        let key = Key::from(key);
        self.seen.insert(key.clone(), next);
        Ok((key, is_put, false))
    }

    fn send(&mut self) {
        let batch = std::mem::replace(&mut self.live, Vec::with_capacity(BATCH));
        // The other end is gone only when it panicked, and then joining it says so.
        drop(self.sender.send(batch));
    }

    /// Check what is only certain once everything has been read, and let go of the thread that makes the root.
    fn finish(mut self) -> Result<Read, redb::Error> {
        self.send();
        if let Some(oldest) = self.revisions.last()
            && oldest.number != self.compacted + 1
        {
            return Err(missing(self.compacted + 1));
        }
        let is_loose = |seen: &Seen| seen.era == Era::History && seen.prev != 0;
        if self.seen.values().any(is_loose) {
            return Err(corrupt(Malformed::Predecessor));
        }
        let Self { compacted, names, newest, revisions, halves, bases, .. } = self;
        Ok(Read { compacted, names, newest, revisions, halves, bases })
    }
}

impl Read {
    fn ring(mut self) -> Result<Newest, redb::Error> {
        let after = match (self.halves.last(), self.revisions.first()) {
            (Some(oldest), _) => oldest.revision - 1,
            (None, Some(newest)) => newest.number,
            (None, None) => self.compacted,
        };
        let mut commits = Vec::new();
        self.halves.reverse();
        let mut values = self.bases;
        for part in self.halves.chunk_by_mut(|a, b| a.revision == b.revision) {
            let (revision, at_ms, author) = (part[0].revision, part[0].at_ms, part[0].author.clone());
            let mut events = Vec::with_capacity(part.len());
            for half in part {
                let (key, entry) = (half.key.clone(), half.entry.take());
                let prev = match &entry {
                    Some(entry) => values.insert(key.clone(), entry.clone()),
                    None => values.remove(&key),
                };
                let prev = if half.prev == 0 { None } else { prev };
                if prev.as_ref().map_or(0, |prev| prev.mod_revision) != half.prev {
                    return Err(corrupt(Malformed::Predecessor));
                }
                events.push(Arc::new(Event::new(key, revision, entry, prev)));
            }
            commits.push(Commit { revision, at_ms, author, events: events.into() });
        }
        Ok(Newest { after, commits })
    }
}

/// The map of what arrives, until nothing more does.
fn root(arriving: &Receiver<Vec<Live>>) -> Root {
    arriving.iter().flatten().collect()
}

fn missing(revision: Revision) -> redb::Error {
    redb::Error::Corrupted(format!("revision {revision} is missing"))
}
