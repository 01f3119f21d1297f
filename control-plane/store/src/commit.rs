//! The one writer: takes whatever transactions are waiting, checks them one after the other against
//! the root in memory, makes all of them durable with one fsync, publishes the new root, answers.
//!
//! With a file it runs on a thread of its own; without one, in the caller under a lock. The path is
//! the same.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant, SystemTime};

use tokio::sync::{mpsc, oneshot};

use crate::disk::{Disk, Effort, Step};
use crate::error::CommitError;
use crate::garbage::Garbage;
use crate::history::Commit;
use crate::options::Clock;
use crate::policy::Retention;
use crate::recovery::Health;
use crate::shared::Shared;
use crate::snapshot::{Root, State};
use crate::types::{Committed, Entry, Event, Op, Revision, Txn};

/// Rows looked at by compaction beside a group commit, and when the store is idle.
const SWEEP_BESIDE: Effort = Effort { rows: 32, time: SWEEP_TIME };
const SWEEP_IDLE: Effort = Effort { rows: 64, time: SWEEP_TIME };
/// A writer may be waiting.
const SWEEP_TIME: Duration = Duration::from_millis(1);
/// Compacted revisions that leave memory beside a group commit or a sweep.
const FORGET_BESIDE: usize = 256;

pub(crate) type Reply<T> = oneshot::Sender<Result<T, CommitError>>;

pub(crate) enum Request {
    Commit {
        txn: Txn,
        reply: Reply<Committed>,
    },
    Compact {
        revision: Revision,
        reply: Reply<()>,
    },
    /// Bring everything from the journal to redb, for whoever counts what is there.
    Settle {
        reply: oneshot::Sender<()>,
    },
    Close {
        reply: oneshot::Sender<()>,
    },
}

pub(crate) struct Writer {
    shared: Arc<Shared>,
    /// None: everything is in memory.
    disk: Option<Box<Disk>>,
    health: Health,
    retention: Retention,
    garbage: Garbage,
    clock: Clock,
}

/// A batch, checked and applied, but not durable yet.
struct Staged {
    root: Root,
    revision: Revision,
    now_ms: u64,
    commits: Vec<Commit>,
    compacted: Revision,
    /// Whether somebody asked for it.
    is_asked: bool,
    answers: Vec<Answer>,
}

/// What to tell a waiting writer once the batch is durable.
enum Answer {
    Commit(Reply<Committed>, Result<Committed, CommitError>),
    Compact(Reply<()>),
}

impl Writer {
    pub fn new(shared: Arc<Shared>, disk: Option<Disk>, retention: Retention, clock: Clock) -> Self {
        let counters = &shared.counters;
        counters.file_bytes.store(disk.as_ref().map_or(0, Disk::bytes), Ordering::Relaxed);
        counters.history_bytes.store(retention.bytes(), Ordering::Relaxed);
        let garbage = if disk.is_some() { Garbage::apart() } else { Garbage::here() };
        let writer = Self { shared, disk: disk.map(Box::new), health: Health::default(), retention, garbage, clock };
        writer.publish_reader();
        writer
    }

    /// Serve `requests` until all senders are gone or one asks to close.
    pub fn serve(mut self, mut requests: mpsc::Receiver<Request>, batch: usize) {
        let mut waiting = Vec::new();
        let closed = loop {
            while self.is_sweeping()
                && let Err(mpsc::error::TryRecvError::Empty) = take(&mut requests, &mut waiting)
            {
                self.sweep();
            }
            // With one at hand, take what else is there; with none, sleep.
            while !waiting.is_empty() && waiting.len() < batch {
                if take(&mut requests, &mut waiting).is_err() {
                    break;
                }
            }
            if waiting.is_empty() && requests.blocking_recv_many(&mut waiting, batch) == 0 {
                break None;
            }
            if let Some(reply) = self.run(waiting.drain(..)) {
                break Some(reply);
            }
        };
        requests.close();
        // Whoever has a place in the queue may still put a request there: without this, nobody would ever drop it, and
        // its writer would wait for ever.
        while requests.blocking_recv().is_some() {}
        self.close();
        drop(self);
        if let Some(reply) = closed {
            // Nobody waiting for the answer is no reason to fail.
            let _ = reply.send(());
        }
    }

    /// One batch, from check to answer. Returns who asked to close, if anybody did.
    pub fn run(&mut self, requests: impl IntoIterator<Item = Request>) -> Option<oneshot::Sender<()>> {
        let mut closing = None;
        let mut settling = Vec::new();
        let mut staged = self.stage();
        for request in requests {
            match request {
                Request::Commit { reply, .. } if closing.is_some() => {
                    staged.answers.push(Answer::Commit(reply, Err(CommitError::Closed)));
                }
                Request::Commit { txn, reply } => {
                    let result = staged.apply(txn);
                    staged.answers.push(Answer::Commit(reply, result));
                }
                Request::Compact { revision, reply } => {
                    staged.compacted = staged.compacted.max(revision.min(staged.revision));
                    staged.is_asked = true;
                    staged.answers.push(Answer::Compact(reply));
                }
                Request::Settle { reply } => settling.push(reply),
                Request::Close { reply } => closing = Some(reply),
            }
        }
        self.finish(staged);
        if !settling.is_empty() {
            self.settle();
            for reply in settling {
                // Nobody waiting for the answer is no reason to fail.
                let _ = reply.send(());
            }
        }
        closing
    }

    pub fn close(&mut self) {
        self.shared.set_reader(None);
        self.shared.hub.close();
        if let Some(disk) = &mut self.disk {
            disk.close();
        }
    }

    fn stage(&self) -> Staged {
        let state = self.shared.current();
        let now = (self.clock)().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        Staged {
            root: state.root.clone(),
            revision: state.revision,
            now_ms: u64::try_from(now.as_millis()).unwrap_or(u64::MAX),
            commits: Vec::new(),
            compacted: self.shared.compacted(),
            is_asked: false,
            answers: Vec::new(),
        }
    }

    fn finish(&mut self, mut staged: Staged) {
        let compacted = self.shared.compacted();
        if let Some(target) = self.retention.target(staged.revision, staged.now_ms, compacted) {
            staged.compacted = staged.compacted.max(target);
        }
        let changes = !staged.commits.is_empty() || staged.compacted > compacted;
        if changes && let Err(error) = self.persist(&staged) {
            self.shared.counters.failures.fetch_add(1, Ordering::Relaxed);
            return staged.refuse(&error);
        }
        let wake = self.publish(&mut staged);
        staged.answer();
        wake.now();
    }

    fn persist(&mut self, staged: &Staged) -> Result<(), CommitError> {
        let Some(disk) = &mut self.disk else { return Ok(()) };
        let durable = self.shared.current().revision;
        if self.health.is_broken() {
            self.health.recover(disk, durable)?;
            self.publish_reader();
        }
        let Some(disk) = &mut self.disk else { return Ok(()) };
        let start = Instant::now();
        let step = Step {
            commits: &staged.commits,
            revision: staged.revision,
            compacted: staged.compacted,
            is_asked: staged.is_asked,
            sweep: SWEEP_BESIDE,
        };
        if let Err(error) = disk.write(&step) {
            self.shared.set_reader(None);
            let refused = self.health.failed(error);
            // At once, so that readers of old history have it back, and room is found early.
            if self.health.recover(disk, durable).is_ok() {
                self.publish_reader();
            }
            return Err(refused);
        }
        self.health.worked();
        let counters = &self.shared.counters;
        counters.file_bytes.store(disk.bytes(), Ordering::Relaxed);
        let micros = u64::try_from(start.elapsed().as_micros()).unwrap_or(u64::MAX);
        counters.last_sync_micros.store(micros, Ordering::Relaxed);
        Ok(())
    }

    /// Show the durable batch to everybody: history first, then the root, then the watches.
    fn publish(&mut self, staged: &mut Staged) -> crate::hub::Wake {
        let shared = &self.shared;
        if staged.commits.is_empty() && staged.compacted == shared.compacted() {
            return crate::hub::Wake::default();
        }
        let counters = &shared.counters;
        counters.transactions.fetch_add(staged.commits.len() as u64, Ordering::Relaxed);
        counters.batches.fetch_add(1, Ordering::Relaxed);
        for commit in &staged.commits {
            self.retention.record(commit.revision, commit.at_ms, commit.written());
        }
        let root = std::mem::take(&mut staged.root);
        let state = Arc::new(State { revision: staged.revision, root });
        let kept = self.disk.as_ref().map_or(staged.revision, |disk| disk.readable(staged.revision));
        self.garbage.take(shared.history.push(staged.commits.iter().cloned(), &state, kept));
        if self.disk.is_none() {
            // What the ring forgot is nowhere else.
            staged.compacted = staged.compacted.max(shared.history.after());
        }
        if staged.compacted > shared.compacted() {
            shared.compacted.store(staged.compacted, Ordering::Release);
            self.retention.forget(staged.compacted);
        }
        // Without a file the ring is all of history, and this is the only time to do it.
        let most = if self.disk.is_some() { FORGET_BESIDE } else { usize::MAX };
        self.garbage.take(shared.history.forget(staged.compacted, most));
        counters.history_bytes.store(self.retention.bytes(), Ordering::Relaxed);
        self.garbage.take_root(shared.state.swap(state), staged.commits.len());
        shared.hub.dispatch(&staged.commits)
    }

    fn publish_reader(&self) {
        self.shared.set_reader(self.disk.as_ref().and_then(|disk| disk.reader()));
    }

    fn is_sweeping(&self) -> bool {
        !self.health.is_broken() && self.disk.as_ref().is_some_and(|disk| disk.is_sweeping())
    }

    fn settle(&mut self) {
        let Some(disk) = self.disk.as_mut().filter(|_| !self.health.is_broken()) else { return };
        if let Err(error) = disk.settle() {
            self.shared.set_reader(None);
            let error = self.health.failed(error);
            tracing::warn!(%error, "bringing the journal to redb");
        }
    }

    /// Delete some of what compaction left behind.
    fn sweep(&mut self) {
        let Some(disk) = &mut self.disk else { return };
        let revision = self.shared.current().revision;
        let compacted = self.shared.compacted();
        self.garbage.take(self.shared.history.forget(compacted, FORGET_BESIDE));
        let step = Step { commits: &[], revision, compacted, is_asked: false, sweep: SWEEP_IDLE };
        if let Err(error) = disk.write(&step) {
            self.shared.set_reader(None);
            let error = self.health.failed(error);
            tracing::warn!(%error, "compaction");
        }
    }
}

impl Staged {
    /// Check `txn` against everything before it, and apply it.
    fn apply(&mut self, txn: Txn) -> Result<Committed, CommitError> {
        for compare in &txn.compare {
            let actual = self.root.get(&compare.key);
            if actual.map_or(0, |entry| entry.mod_revision) != compare.mod_revision {
                let actual = actual.cloned();
                return Err(CommitError::Conflict { key: compare.key.clone(), actual });
            }
        }
        let revision = self.revision + 1;
        let events: Arc<[_]> = txn.ops.into_iter().filter_map(|op| self.apply_op(op, revision)).map(Arc::new).collect();
        if events.is_empty() {
            return Ok(Committed { revision: self.revision, events });
        }
        self.revision = revision;
        let sorted = by_key(&events);
        self.commits.push(Commit { revision, at_ms: self.now_ms, author: txn.author, events: sorted });
        Ok(Committed { revision, events })
    }

    fn apply_op(&mut self, op: Op, revision: Revision) -> Option<Event> {
        match op {
            Op::Put { key, value } => {
                // An overwritten key keeps its first allocation.
                let (key, prev) = match self.root.get_key_value(&*key) {
                    Some((known, prev)) => (known.clone(), Some(prev.clone())),
                    None => (key, None),
                };
                let entry = Arc::new(Entry {
                    value,
                    create_revision: prev.as_ref().map_or(revision, |prev| prev.create_revision),
                    mod_revision: revision,
                    version: prev.as_ref().map_or(1, |prev| prev.version + 1),
                });
                self.root.insert(key.clone(), entry.clone());
                Some(Event::new(key, revision, Some(entry), prev))
            }
            Op::Delete { key } => {
                let prev = self.root.remove(&*key)?;
                Some(Event::new(key, revision, None, Some(prev)))
            }
        }
    }

    fn answer(self) {
        for answer in self.answers {
            // A writer that no longer waits has lost interest, not its write.
            match answer {
                Answer::Commit(reply, result) => drop(reply.send(result)),
                Answer::Compact(reply) => drop(reply.send(Ok(()))),
            }
        }
    }

    fn refuse(self, error: &CommitError) {
        for answer in self.answers {
            match answer {
                Answer::Commit(reply, _) => drop(reply.send(Err(error.clone()))),
                Answer::Compact(reply) => drop(reply.send(Err(error.clone()))),
            }
        }
    }
}

/// The events of one revision as history has them: in the order of their keys, as in the log on the disk.
fn by_key(events: &Arc<[Arc<Event>]>) -> Arc<[Arc<Event>]> {
    if events.is_sorted_by(|a, b| a.key < b.key) {
        return events.clone();
    }
    let mut sorted = events.to_vec();
    sorted.sort_unstable_by(|a, b| a.key.cmp(&b.key));
    sorted.into()
}

fn take(requests: &mut mpsc::Receiver<Request>, waiting: &mut Vec<Request>) -> Result<(), mpsc::error::TryRecvError> {
    requests.try_recv().map(|request| waiting.push(request))
}

/// A transaction may name a key once.
pub(crate) fn check_unique(txn: &Txn) -> Result<(), CommitError> {
    if txn.ops.len() < 2 {
        return Ok(());
    }
    let mut seen = HashSet::with_capacity(txn.ops.len());
    match txn.ops.iter().find(|op| !seen.insert(op.key())) {
        Some(op) => Err(CommitError::DuplicateKey { key: op.key().clone() }),
        None => Ok(()),
    }
}
