//! The newest part of history, in memory: every event of the last revisions, and a root here and
//! there so that an old revision is few steps away.
//!
//! Invariant: the ring has no gaps. It holds every commit after the revision `after`, in order, none twice. Revisions
//! themselves may skip: an etcd cluster counts other tenants' writes too.

use std::collections::VecDeque;
use std::sync::Arc;

use parking_lot::RwLock;

use crate::garbage::Forgotten;
use crate::snapshot::State;
use crate::types::{Author, Change, Changes, Event, Key, Revision};

/// A root is kept each time this many revisions have passed.
const ROOT_INTERVAL: u64 = 1_024;
/// This many of the newest revisions are news: watchers are about to ask for their events, all at once.
const NEWS: usize = 256;
/// One look for changes passes over at most this many revisions: a writer may be waiting for it.
const SCAN: usize = 4_096;

/// One revision's events.
#[derive(Clone, Debug)]
pub(crate) struct Commit {
    pub revision: Revision,
    /// Wall time in milliseconds since 1970.
    pub at_ms: u64,
    pub author: Author,
    pub events: Arc<[Arc<Event>]>,
}

impl Commit {
    pub fn cost(&self) -> usize {
        self.events.iter().map(|event| event.cost()).sum()
    }

    /// Bytes that a change of a key to a value of `value_len` bytes takes in a log, about.
    pub fn row_bytes(key: &Key, value_len: usize) -> u64 {
        const OVERHEAD: usize = 48;
        (OVERHEAD + key.len() + value_len) as u64
    }

    /// Bytes that it takes in a log, about.
    pub fn written(&self) -> u64 {
        let value_len = |event: &Event| event.entry.as_ref().map_or(0, |entry| entry.value.len());
        self.events.iter().map(|event| Self::row_bytes(&event.key, value_len(event))).sum()
    }

    /// Those of its events that are below `prefix`, if any are.
    pub fn change(&self, prefix: &[u8]) -> Option<Change> {
        let events: Vec<_> = self.events.iter().filter(|event| event.key.starts_with(prefix)).cloned().collect();
        let change = Change { revision: self.revision, at_ms: self.at_ms, author: self.author.clone(), events };
        (!change.events.is_empty()).then_some(change)
    }
}

/// How much one read of history may look at and return.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Chunk {
    pub events: usize,
    pub revisions: u64,
}

/// How much a page of changes may still take. The first change always has room.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Room {
    changes: usize,
    bytes: usize,
    is_first: bool,
}

impl Room {
    /// Bytes of one page, about.
    const BYTES: usize = 8 << 20;

    /// Room for `changes`, at least one.
    pub fn new(changes: usize) -> Self {
        Self { changes: changes.max(1), bytes: Self::BYTES, is_first: true }
    }

    /// Whether `change` still fits; if so it has been counted.
    pub fn takes(&mut self, change: &Change) -> bool {
        let bytes = change.events.iter().map(|event| event.cost()).sum();
        let fits = self.is_first || (self.changes > 0 && bytes <= self.bytes);
        self.is_first = false;
        self.changes = if fits { self.changes - 1 } else { 0 };
        self.bytes = self.bytes.saturating_sub(bytes);
        fits
    }

    pub fn is_full(&self) -> bool {
        self.changes == 0 || self.bytes == 0
    }
}

/// Events after a revision, in order, in whole revisions.
#[derive(Debug, Default)]
pub(crate) struct Slice {
    pub events: Vec<Arc<Event>>,
    /// Nothing that was asked for and is at or below this revision is missing from `events`.
    pub upto: Revision,
}

/// The ring does not reach back far enough: it knows what happened after `after` only.
#[derive(Debug)]
pub(crate) struct TooOld {
    pub after: Revision,
}

#[derive(Debug)]
pub(crate) struct History {
    ring: RwLock<Ring>,
}

#[derive(Debug)]
struct Ring {
    commits: VecDeque<Commit>,
    /// Every commit after this revision is in `commits`.
    after: Revision,
    bytes: usize,
    limit: usize,
    roots: VecDeque<Arc<State>>,
}

impl History {
    /// An empty ring that continues after `last`.
    pub fn new(last: Revision, limit: usize) -> Self {
        let ring = Ring { commits: VecDeque::new(), after: last, bytes: 0, limit, roots: VecDeque::new() };
        Self { ring: RwLock::new(ring) }
    }

    /// Append commits and forget the oldest ones beyond the limit, but none after `kept`, since what comes after it is
    /// nowhere else. `state` is the root after the last of them. Returns what was forgotten, which is better freed when
    /// nobody waits.
    pub fn push(&self, commits: impl IntoIterator<Item = Commit>, state: &Arc<State>, kept: Revision) -> Forgotten {
        let mut forgotten = Forgotten::default();
        let mut ring = self.ring.write();
        for commit in commits {
            assert!(commit.revision > ring.last(), "history must go forward");
            ring.bytes += commit.cost();
            ring.commits.push_back(commit);
            let old = ring.commits.len().checked_sub(NEWS + 1).and_then(|at| ring.commits.get(at));
            old.into_iter().flat_map(|commit| commit.events.iter()).for_each(|event| event.retire());
        }
        let due = ring.roots.back().map_or(ring.after, |root| root.revision) + ROOT_INTERVAL;
        if state.revision >= due {
            ring.roots.push_back(state.clone());
        }
        let is_kept = |commit: &Commit| commit.revision <= kept;
        while ring.bytes > ring.limit && ring.commits.len() > 1 && ring.commits.front().is_some_and(is_kept) {
            ring.pop(&mut forgotten);
        }
        forgotten
    }

    /// Forget the oldest `most` revisions, as far as they are at or before `revision`. Whoever asks in steps must see to
    /// it that nobody reaches what is left. Returns what was forgotten, which is better freed when nobody waits.
    pub fn forget(&self, revision: Revision, most: usize) -> Forgotten {
        let mut forgotten = Forgotten::default();
        let mut ring = self.ring.write();
        for _ in 0..most {
            if ring.commits.front().is_none_or(|commit| commit.revision > revision) {
                break;
            }
            ring.pop(&mut forgotten);
        }
        forgotten
    }

    /// Forget everything; what comes next comes after `last`.
    pub fn reset(&self, last: Revision) {
        let mut ring = self.ring.write();
        let limit = ring.limit;
        *ring = Ring { commits: VecDeque::new(), after: last, bytes: 0, limit, roots: VecDeque::new() };
    }

    /// The revision after which every commit is held.
    pub fn after(&self) -> Revision {
        self.ring.read().after
    }

    /// How many bytes and revisions the ring has.
    pub fn extent(&self) -> (usize, usize) {
        let ring = self.ring.read();
        (ring.bytes, ring.commits.len())
    }

    /// The events after `after` whose keys begin with `prefix`, as many as `chunk` allows.
    pub fn read(&self, after: Revision, prefix: &[u8], chunk: Chunk) -> Result<Slice, TooOld> {
        let ring = self.ring.read();
        if after < ring.after {
            return Err(TooOld { after: ring.after });
        }
        let mut slice = Slice { events: Vec::new(), upto: after };
        let start = ring.commits.partition_point(|commit| commit.revision <= after);
        let stop = usize::try_from(chunk.revisions).unwrap_or(usize::MAX);
        for commit in ring.commits.iter().skip(start).take(stop) {
            let matching = commit.events.iter().filter(|event| event.key.starts_with(prefix));
            slice.events.extend(matching.cloned());
            slice.upto = commit.revision;
            if slice.events.len() >= chunk.events {
                break;
            }
        }
        Ok(slice)
    }

    /// The events of exactly these revisions whose keys begin with `prefix`.
    pub fn pick(&self, revisions: impl Iterator<Item = Revision>, prefix: &[u8]) -> Result<Slice, TooOld> {
        let ring = self.ring.read();
        let mut slice = Slice::default();
        for revision in revisions {
            let commit = ring.at(revision).ok_or(TooOld { after: ring.after })?;
            let matching = commit.events.iter().filter(|event| event.key.starts_with(prefix));
            slice.events.extend(matching.cloned());
            slice.upto = revision;
        }
        Ok(slice)
    }

    /// The state at `revision`, or as near above it as the ring reaches, starting from `current`.
    pub fn rewind(&self, current: &Arc<State>, revision: Revision) -> State {
        let ring = self.ring.read();
        let at = ring.roots.partition_point(|root| root.revision < revision);
        let nearest = ring.roots.get(at).filter(|root| root.revision <= current.revision);
        let mut state = State::clone(nearest.unwrap_or(current));
        let end = ring.commits.partition_point(|commit| commit.revision <= state.revision);
        for commit in ring.commits.range(..end).rev().take_while(|commit| commit.revision > revision) {
            for event in commit.events.iter().rev() {
                state.undo(event);
            }
        }
        state.revision = state.revision.min(revision.max(ring.after));
        state
    }

    /// Add to `page` what changed below `prefix` after `page.upto`, up to `upto`, as far as `room` and [`SCAN`] allow.
    pub fn changes(&self, page: &mut Changes, upto: Revision, prefix: &[u8], room: &mut Room) -> Result<(), TooOld> {
        let ring = self.ring.read();
        if page.upto < ring.after {
            return Err(TooOld { after: ring.after });
        }
        let start = ring.commits.partition_point(|commit| commit.revision <= page.upto);
        let stop = ring.commits.partition_point(|commit| commit.revision <= upto);
        for commit in ring.commits.range(start..stop).take(SCAN) {
            if let Some(change) = commit.change(prefix) {
                if !room.takes(&change) {
                    return Ok(());
                }
                page.changes.push(change);
            }
            page.upto = commit.revision;
        }
        if stop.saturating_sub(start) <= SCAN {
            page.upto = upto;
        }
        Ok(())
    }
}

impl Ring {
    fn last(&self) -> Revision {
        self.commits.back().map_or(self.after, |commit| commit.revision)
    }

    fn at(&self, revision: Revision) -> Option<&Commit> {
        let at = self.commits.binary_search_by_key(&revision, |commit| commit.revision).ok()?;
        self.commits.get(at)
    }

    fn pop(&mut self, forgotten: &mut Forgotten) {
        if let Some(commit) = self.commits.pop_front() {
            let cost = commit.cost();
            self.bytes -= cost;
            self.after = commit.revision;
            forgotten.bytes += cost;
            forgotten.commits.push(commit);
        }
        while let Some(root) = self.roots.pop_front_if(|root| root.revision < self.after) {
            forgotten.roots.push(root);
        }
    }
}
