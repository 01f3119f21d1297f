//! The newest part of history, in memory: every event of the last revisions, and a root here and
//! there so that an old revision is few steps away.
//!
//! Invariant: the ring is contiguous. It holds every revision from `first` to `last`, none twice.

use std::collections::VecDeque;
use std::sync::Arc;

use parking_lot::RwLock;

use crate::snapshot::State;
use crate::types::{Event, Revision};

/// A root is kept each time this many revisions have passed.
const ROOT_INTERVAL: u64 = 1_024;

/// One revision's events.
#[derive(Clone, Debug)]
pub(crate) struct Commit {
    pub revision: Revision,
    /// Wall time in milliseconds since 1970.
    pub at_ms: u64,
    pub events: Arc<[Arc<Event>]>,
}

impl Commit {
    pub fn cost(&self) -> usize {
        self.events.iter().map(|event| event.cost()).sum()
    }
}

/// How much one read of history may look at and return.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Chunk {
    pub events: usize,
    pub revisions: u64,
}

/// Events after a revision, in order, in whole revisions.
#[derive(Debug, Default)]
pub(crate) struct Slice {
    pub events: Vec<Arc<Event>>,
    /// Nothing that was asked for and is at or below this revision is missing from `events`.
    pub upto: Revision,
}

/// The ring does not reach back far enough; `first` is its oldest revision.
#[derive(Debug)]
pub(crate) struct TooOld {
    pub first: Revision,
}

#[derive(Debug)]
pub(crate) struct History {
    ring: RwLock<Ring>,
}

#[derive(Debug)]
struct Ring {
    commits: VecDeque<Commit>,
    /// Revision of the front of `commits`; one past the last revision when it is empty.
    first: Revision,
    bytes: usize,
    limit: usize,
    roots: VecDeque<Arc<State>>,
}

impl History {
    /// An empty ring that continues after `last`.
    pub fn new(last: Revision, limit: usize) -> Self {
        let ring = Ring { commits: VecDeque::new(), first: last + 1, bytes: 0, limit, roots: VecDeque::new() };
        Self { ring: RwLock::new(ring) }
    }

    /// Append commits and forget the oldest ones beyond the limit. `state` is the root after the
    /// last of them. Returns the oldest revision still held.
    pub fn push(&self, commits: impl IntoIterator<Item = Commit>, state: &Arc<State>) -> Revision {
        let mut ring = self.ring.write();
        for commit in commits {
            assert_eq!(commit.revision, ring.next(), "history must be contiguous");
            ring.bytes += commit.cost();
            ring.commits.push_back(commit);
        }
        let due = ring.roots.back().map_or(ring.first - 1, |root| root.revision) + ROOT_INTERVAL;
        if state.revision >= due {
            ring.roots.push_back(state.clone());
        }
        while ring.bytes > ring.limit && ring.commits.len() > 1 {
            ring.pop();
        }
        ring.first
    }

    /// The revision that has to come next.
    pub fn next(&self) -> Revision {
        self.ring.read().next()
    }

    /// Forget everything up to and including `revision`.
    pub fn forget(&self, revision: Revision) {
        let mut ring = self.ring.write();
        while ring.first <= revision && !ring.commits.is_empty() {
            ring.pop();
        }
    }

    /// The oldest revision held, and how many bytes and revisions the ring has.
    pub fn extent(&self) -> (Revision, usize, usize) {
        let ring = self.ring.read();
        (ring.first, ring.bytes, ring.commits.len())
    }

    /// The events after `after` whose keys begin with `prefix`, as many as `chunk` allows.
    pub fn read(&self, after: Revision, prefix: &[u8], chunk: Chunk) -> Result<Slice, TooOld> {
        let ring = self.ring.read();
        if after + 1 < ring.first {
            return Err(TooOld { first: ring.first });
        }
        let mut slice = Slice { events: Vec::new(), upto: after };
        let start = usize::try_from(after + 1 - ring.first).unwrap_or(usize::MAX);
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
            let commit = ring.at(revision).ok_or(TooOld { first: ring.first })?;
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
        while state.revision > revision {
            let Some(commit) = ring.at(state.revision) else { break };
            for event in commit.events.iter().rev() {
                state.undo(event);
            }
            state.revision -= 1;
        }
        state
    }
}

impl Ring {
    fn next(&self) -> Revision {
        self.first + self.commits.len() as u64
    }

    fn at(&self, revision: Revision) -> Option<&Commit> {
        let offset = usize::try_from(revision.checked_sub(self.first)?).ok()?;
        self.commits.get(offset)
    }

    fn pop(&mut self) {
        if let Some(commit) = self.commits.pop_front() {
            self.bytes -= commit.cost();
            self.first = commit.revision + 1;
        }
        while self.roots.front().is_some_and(|root| root.revision < self.first) {
            self.roots.pop_front();
        }
    }
}
