//! The handle that everybody holds.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use arc_swap::{ArcSwap, ArcSwapOption};
use parking_lot::Mutex;
use tokio::sync::{Semaphore, mpsc, oneshot};

use crate::commit::{Request, Writer, check_unique};
use crate::disk::Disk;
use crate::error::{CommitError, OpenError, RevisionError};
use crate::etcd;
use crate::history::History;
use crate::history_policy::HistoryPolicy;
use crate::hub::Hub;
use crate::ops::{Backup, FileStats};
use crate::options::{Clock, Limits, Options};
use crate::policy::Retention;
use crate::shared::{Counters, Shared, Stats};
use crate::snapshot::{Snapshot, State};
use crate::types::{Changes, ClusterId, Committed, Op, Revision, Txn};
use crate::watch::Watch;

/// Waiting transactions are counted in units of this many bytes.
const ROOM_UNIT: usize = 1_024;

/// An open store. Clones are handles to the same one.
#[derive(Clone)]
pub struct Store {
    inner: Arc<Inner>,
}

struct Inner {
    shared: Arc<Shared>,
    driver: Driver,
    /// Room for the bytes of waiting transactions, in [`ROOM_UNIT`]s.
    room: Semaphore,
    limits: Limits,
    policy: HistoryPolicy,
    clock: Clock,
}

/// Who runs the writer.
enum Driver {
    /// Its own thread: commits wait for the disk.
    Thread(mpsc::Sender<Request>),
    /// Whoever commits: there is nothing to wait for. `None` once closed.
    Caller(Mutex<Option<Writer>>),
    /// An etcd cluster.
    Etcd(etcd::Backend),
}

impl Store {
    /// Open the store, reading all of it into memory. Blocks on the disk.
    ///
    /// # Errors
    /// See [`OpenError`]; the file is left as it was.
    pub fn open(options: Options) -> Result<Self, OpenError> {
        let Options { path, history, limits, clock, backend } = options;
        if path.is_none() && backend.is_none() {
            let state = Arc::new(State::default());
            return Ok(Self::in_memory(state, history, limits, clock));
        }
        let path = path.unwrap_or_default();
        let (disk, loaded) = Disk::open(&path, backend, history)?;
        let shared = Arc::new(Shared {
            reader: Some(ArcSwapOption::empty()),
            ..shared(loaded.cluster_id, loaded.state, loaded.history, loaded.compacted)
        });
        let writer = Writer::new(shared.clone(), Some(disk), loaded.retention, clock);
        let (sender, receiver) = mpsc::channel(limits.queue);
        let batch = limits.batch.max(1);
        std::thread::Builder::new()
            .name("store-commit".into())
            .spawn(move || {
                let _span = tracing::info_span!("store-commit").entered();
                writer.serve(receiver, batch);
            })
            .map_err(OpenError::Thread)?;
        Ok(Self::assemble(shared, Driver::Thread(sender), limits, history, clock))
    }

    /// Open the store that lies in an etcd cluster, made there if there is none, reading all of it into memory. Other
    /// servers may have it open, too. Must be called in a runtime that outlives the store.
    ///
    /// # Errors
    /// [`OpenError::Etcd`] when the cluster does not answer in time; [`OpenError::EtcdRefused`] when it does not let us
    /// in; [`OpenError::Foreign`] when something else lies below the prefix.
    pub async fn connect(options: etcd::Options) -> Result<Self, OpenError> {
        let (limits, history, clock) = (options.limits, options.history, options.clock);
        let (backend, shared) = etcd::Backend::connect(options).await?;
        Ok(Self::assemble(shared, Driver::Etcd(backend), limits, history, clock))
    }

    fn in_memory(state: Arc<State>, policy: HistoryPolicy, limits: Limits, clock: Clock) -> Self {
        let revision = state.revision;
        let history = History::new(revision, policy.memory_bytes);
        let shared = Arc::new(shared(ClusterId::random(), state, history, revision));
        let writer = Writer::new(shared.clone(), None, Retention::new(policy), clock);
        let driver = Driver::Caller(Mutex::new(Some(writer)));
        Self::assemble(shared, driver, limits, policy, clock)
    }

    fn assemble(shared: Arc<Shared>, driver: Driver, limits: Limits, policy: HistoryPolicy, clock: Clock) -> Self {
        let room = Semaphore::new(units(limits.queue_bytes.max(limits.txn_bytes)));
        Self { inner: Arc::new(Inner { shared, driver, room, limits, policy, clock }) }
    }

    /// Everything the store holds now. Costs a reference count; never locks.
    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        Snapshot::new(self.inner.shared.current())
    }

    /// Everything the store holds, with every write in it that was acknowledged to anybody before this call: where
    /// several processes share one store, [`Store::snapshot`] may be behind the others by as long as a watch takes.
    ///
    /// # Errors
    /// [`RevisionError::Unavailable`] when the cluster behind the store does not answer.
    pub async fn latest(&self) -> Result<Snapshot, RevisionError> {
        if let Driver::Etcd(backend) = &self.inner.driver {
            backend.barrier(None).await?;
        }
        Ok(self.snapshot())
    }

    /// Complete when `revision` can be read and watched from: another server on the same etcd cluster may have named it
    /// to a client before this one saw it. Ask before [`Store::watch`] or [`Store::snapshot_at`] with a revision that a
    /// client brings. Takes no time when it has been reached, and at most `limit`.
    ///
    /// # Errors
    /// [`RevisionError::Future`] when it has not happened anywhere; [`RevisionError::Unavailable`] when the cluster
    /// behind the store does not answer in time.
    pub async fn reached(&self, revision: Revision, limit: Duration) -> Result<(), RevisionError> {
        if self.revision() < revision
            && let Driver::Etcd(backend) = &self.inner.driver
        {
            backend.barrier(Some(limit)).await?;
        }
        let current = self.revision();
        if current < revision { Err(RevisionError::Future { current }) } else { Ok(()) }
    }

    /// Everything the store held at `revision`. Goes back from the nearest later root, through the history on disk
    /// where memory does not reach.
    ///
    /// # Errors
    /// [`RevisionError::Compacted`] when history no longer reaches there.
    pub async fn snapshot_at(&self, revision: Revision) -> Result<Snapshot, RevisionError> {
        self.inner.shared.state_at(revision).await.map(Snapshot::new)
    }

    /// Make `txn` happen. Completes when it is durable and visible. Dropping the future before that
    /// leaves open whether it happens.
    ///
    /// # Errors
    /// See [`CommitError`]; the transaction did not happen, except that after
    /// [`CommitError::Closed`] it may have.
    pub async fn commit(&self, txn: Txn) -> Result<Committed, CommitError> {
        let txn = self.prepare(txn)?;
        let wanted = u32::try_from(units(txn.len())).unwrap_or(u32::MAX);
        let _room = self.inner.room.acquire_many(wanted).await.map_err(|_| CommitError::Closed)?;
        let (reply, answer) = oneshot::channel();
        self.send(Request::Commit { txn, reply }).await?;
        answer.await.unwrap_or(Err(CommitError::Closed))
    }

    /// Everything that happens below `prefix` after the revision `after`.
    ///
    /// # Errors
    /// [`RevisionError::Compacted`] when history no longer reaches there;
    /// [`RevisionError::Future`] when `after` has not happened yet.
    pub fn watch(&self, prefix: &[u8], after: Revision) -> Result<Watch, RevisionError> {
        Watch::new(self.inner.shared.clone(), prefix, after)
    }

    /// What changed below `prefix` after the revision `after`, up to `upto`: when, and by whom. Oldest first, in whole
    /// revisions; at most `limit` of them (at least one, where there is one) and about 8 MiB, from memory or disk. One
    /// page: go on after [`Changes::upto`]. Only what is returned is read into memory, however long history is.
    ///
    /// # Errors
    /// [`RevisionError::Compacted`] when history no longer reaches back to `after`;
    /// [`RevisionError::Future`] when `upto` has not happened yet.
    pub async fn changes(
        &self,
        after: Revision,
        upto: Revision,
        prefix: &[u8],
        limit: usize,
    ) -> Result<Changes, RevisionError> {
        self.inner.shared.changes(after, upto, prefix, limit).await
    }

    /// The newest revision.
    #[must_use]
    pub fn revision(&self) -> Revision {
        self.inner.shared.state.load().revision
    }

    /// Forget the history before `revision` (at most the current one). The file shrinks in small
    /// steps after this returned.
    ///
    /// # Errors
    /// As [`Store::commit`].
    pub async fn compact(&self, revision: Revision) -> Result<(), CommitError> {
        let (reply, answer) = oneshot::channel();
        self.send(Request::Compact { revision, reply }).await?;
        answer.await.unwrap_or(Err(CommitError::Closed))
    }

    /// An independent store in memory that begins with what this one holds, at the same revision,
    /// with an identity and a history of its own. Takes no time, whatever the size.
    #[must_use]
    pub fn fork(&self) -> Self {
        let inner = &self.inner;
        Self::in_memory(inner.shared.current(), inner.policy, inner.limits, inner.clock)
    }

    #[must_use]
    pub fn cluster_id(&self) -> ClusterId {
        self.inner.shared.cluster_id
    }

    /// A backup of everything the store holds now.
    #[must_use]
    pub fn backup(&self) -> Backup {
        Backup::new(self.snapshot(), self.cluster_id(), self.inner.clock)
    }

    /// Count what the store's file holds, reading all of it beside everything else that goes on; `None` when there is
    /// no file. For what can be had without that see [`Store::stats`].
    ///
    /// # Errors
    /// [`RevisionError::Io`] when the file cannot be read at the moment.
    pub async fn file_stats(&self) -> Result<Option<FileStats>, RevisionError> {
        if let Driver::Thread(_) = &self.inner.driver {
            let (reply, settled) = oneshot::channel();
            // Where that does not work, what is there is counted.
            if self.send(Request::Settle { reply }).await.is_ok() {
                let _ = settled.await;
            }
        }
        self.inner.shared.file_stats().await
    }

    pub(crate) fn limits(&self) -> &Limits {
        &self.inner.limits
    }

    #[must_use]
    pub fn stats(&self) -> Stats {
        let etcd = match &self.inner.driver {
            Driver::Etcd(backend) => Some(backend.stats()),
            Driver::Thread(_) | Driver::Caller(_) => None,
        };
        Stats { etcd, ..self.inner.shared.stats() }
    }

    /// Finish what was asked before, end all watches and let go of the file. Later commits end with
    /// [`CommitError::Closed`]; snapshots stay readable.
    pub async fn close(&self) {
        let (reply, answer) = oneshot::channel();
        if self.send(Request::Close { reply }).await.is_ok() {
            // No answer means that the writer has gone already.
            let _ = answer.await;
        }
    }

    /// Check the limits and copy the values out of whatever buffers they came in: work that the
    /// writer then need not do.
    fn prepare(&self, mut txn: Txn) -> Result<Txn, CommitError> {
        let limits = &self.inner.limits;
        // The parts' lengths are kept in 32 bits, whatever the limits say.
        let (bytes, limit) = (txn.len(), limits.txn_bytes.min(u32::MAX as usize));
        if bytes > limit {
            return Err(CommitError::TooLarge { bytes, limit });
        }
        for op in &mut txn.ops {
            let bytes = op.key().len();
            if bytes == 0 || bytes > limits.key_bytes {
                return Err(CommitError::KeyLength { bytes, limit: limits.key_bytes });
            }
            if let Op::Put { value, .. } = op {
                *value = std::mem::take(value).compacted();
            }
        }
        check_unique(&txn)?;
        Ok(txn)
    }

    async fn send(&self, request: Request) -> Result<(), CommitError> {
        match &self.inner.driver {
            Driver::Thread(sender) => sender.send(request).await.map_err(|_| CommitError::Closed),
            Driver::Caller(writer) => {
                let mut guard = writer.lock();
                let writer = guard.as_mut().ok_or(CommitError::Closed)?;
                if let Some(reply) = writer.run([request]) {
                    writer.close();
                    *guard = None;
                    let _ = reply.send(());
                }
                Ok(())
            }
            Driver::Etcd(backend) => {
                // Whoever dropped the answer's other end does not wait for it.
                match request {
                    Request::Commit { txn, reply } => drop(reply.send(backend.commit(txn).await)),
                    Request::Compact { revision, reply } => drop(reply.send(backend.compact(revision).await)),
                    Request::Settle { reply } => drop(reply.send(())),
                    Request::Close { reply } => {
                        backend.close().await;
                        let _ = reply.send(());
                    }
                }
                Ok(())
            }
        }
    }
}

fn units(bytes: usize) -> usize {
    bytes.div_ceil(ROOM_UNIT)
}

impl Drop for Inner {
    fn drop(&mut self) {
        if let Driver::Caller(_) = self.driver {
            self.shared.hub.close();
        }
    }
}

fn shared(cluster_id: ClusterId, state: Arc<State>, history: History, compacted: Revision) -> Shared {
    Shared {
        cluster_id,
        hub: Hub::new(state.revision),
        state: ArcSwap::new(state),
        history,
        compacted: AtomicU64::new(compacted),
        reader: None,
        remote: None,
        counters: Counters::default(),
    }
}
