//! The store's other driver: opens it on an etcd cluster, keeps its tasks, and closes it.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::{Notify, Semaphore, watch};
use tokio::task::AbortHandle;
use tracing::Instrument;

use super::client::Client;
use super::compact::{self, Oldest};
use super::failure::Failure;
use super::feed::{self, Feed};
use super::health::{Health, Writers};
use super::layout::{FORMAT, Layout, Marker, encode_cluster};
use super::load::{self, Loaded};
use super::options::Options;
use super::past::Past;
use super::proto::{self, PutRequest, Request, RequestOp, Target, TxnRequest, TxnResponse};
use super::pulse::{self, Barrier};
use crate::error::{CommitError, OpenError, RevisionError};
use crate::history::{Commit, History};
use crate::options::Clock;
use crate::policy::Retention;
use crate::shared::{EtcdStats, Shared};
use crate::snapshot::State;
use crate::types::{Author, ClusterId, Committed, Revision, Txn};

/// What the tasks and the callers have in common.
pub(crate) struct Core {
    pub client: Arc<Client>,
    pub layout: Layout,
    pub shared: Arc<Shared>,
    pub past: Arc<Past>,
    pub health: Health,
    pub writers: Writers,
    pub barrier: Barrier,
    /// The revision that memory has reached.
    pub seen: watch::Sender<Revision>,
    /// The revision of the newest marker in memory.
    pub marker: AtomicU64,
    /// Whether the feed's watch runs: what is written now comes back.
    pub attached: watch::Sender<bool>,
    /// Asks the feed to begin its watch again.
    pub restart: Notify,
    pub retention: Mutex<Retention>,
    pub oldest: Mutex<Oldest>,
    pub request_bytes: usize,
    pub txn_ops: usize,
    clock: Clock,
}

impl Core {
    pub fn now_ms(&self) -> u64 {
        feed::millis((self.clock)())
    }

    /// Wait until what is written comes back, for at most `limit`.
    pub async fn attached(&self, limit: Duration) -> Result<(), String> {
        if *self.attached.borrow() {
            return Ok(());
        }
        let mut attached = self.attached.subscribe();
        match tokio::time::timeout(limit, attached.wait_for(|attached| *attached)).await {
            Ok(_) => Ok(()),
            Err(_) => Err("its watch has not begun again yet".to_owned()),
        }
    }

    /// Count `commits` and remember when they were.
    pub fn note(&self, commits: &[Commit]) {
        use std::sync::atomic::Ordering::Relaxed;
        let counters = &self.shared.counters;
        counters.transactions.fetch_add(commits.len() as u64, Relaxed);
        counters.batches.fetch_add(1, Relaxed);
        let mut retention = self.retention.lock();
        for commit in commits {
            retention.record(commit.revision, commit.at_ms, commit.written());
        }
        counters.history_bytes.store(retention.bytes(), Relaxed);
    }
}

/// An open connection to an etcd cluster.
pub(crate) struct Backend {
    core: Arc<Core>,
    endpoints: Vec<String>,
    tasks: Vec<AbortHandle>,
    /// Transactions on their way; closed with the store.
    flights: Semaphore,
    flights_limit: u32,
}

impl Backend {
    /// Connect, read everything, and begin to follow.
    pub async fn connect(options: Options) -> Result<(Self, Arc<Shared>), OpenError> {
        let url = options.url();
        let client = Arc::new(Client::new(&options)?);
        if !options.prefix.ends_with('/') {
            let reason = format!("the prefix {:?} must end with /", options.prefix);
            return Err(OpenError::EtcdRefused { url, reason });
        }
        let layout = Layout::new(&options.prefix);
        let clock = options.clock;
        let now_ms = feed::millis(clock());
        let loaded = found(&client, &layout, now_ms).await.map_err(|error| error.at(&url))?;
        let Found { id, born, marker, loaded } = loaded;
        let past = Arc::new(Past::new(client.clone(), layout.clone()));
        let revision = loaded.revision;
        let compacted = loaded.compact.map_or(born, |(oldest, _)| oldest.max(born)).min(revision);
        let state = Arc::new(State { revision, root: loaded.root });
        let history = History::new(revision, options.history.memory_bytes);
        let shared = Arc::new(Shared::on_etcd(id, state, history, compacted, past.clone()));
        let mut retention = Retention::new(options.history);
        retention.record(revision, now_ms, 0);
        let core = Arc::new(Core {
            client,
            layout,
            shared: shared.clone(),
            past,
            health: Health::new(),
            writers: Writers::default(),
            barrier: Barrier::default(),
            seen: watch::channel(revision).0,
            marker: AtomicU64::new(marker.0),
            attached: watch::channel(false).0,
            restart: Notify::new(),
            retention: Mutex::new(retention),
            oldest: Mutex::new(Oldest { written: loaded.compact.map_or(0, |(_, written)| written) }),
            request_bytes: options.request_bytes,
            txn_ops: options.txn_ops,
            clock,
        });
        let tasks = vec![
            spawn("etcd-feed", Feed::new(core.clone(), loaded.upto, marker).run()),
            spawn("etcd-pulse", pulse::run(core.clone())),
            spawn("etcd-compact", compact::run(core.clone(), options.history.age)),
        ];
        let limit = u32::try_from(options.limits.batch.max(1)).unwrap_or(u32::MAX);
        let flights = Semaphore::new(options.limits.batch.max(1));
        Ok((Self { core, endpoints: options.endpoints, tasks, flights, flights_limit: limit }, shared))
    }

    pub async fn commit(&self, txn: Txn) -> Result<Committed, CommitError> {
        let _flight = self.flights.acquire().await.map_err(|_| CommitError::Closed)?;
        let done = self.core.commit(txn).await;
        if matches!(done, Err(CommitError::Full | CommitError::Unavailable { .. } | CommitError::Unknown { .. })) {
            self.core.shared.counters.failures.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        }
        done
    }

    pub async fn compact(&self, revision: Revision) -> Result<(), CommitError> {
        let _flight = self.flights.acquire().await.map_err(|_| CommitError::Closed)?;
        self.core.compact(revision).await
    }

    /// Complete when memory holds every write that was acknowledged before this call.
    pub async fn barrier(&self, limit: Option<Duration>) -> Result<(), RevisionError> {
        if self.flights.is_closed() {
            return Err(RevisionError::Closed);
        }
        // One look may be under way already, and each is bounded; this is for the case that the task is gone.
        let limit = limit.unwrap_or(self.core.client.timeouts.barrier * 5);
        let passed = tokio::time::timeout(limit, self.core.barrier.pass()).await;
        let reason = match passed {
            Ok(Ok(())) => return Ok(()),
            Ok(Err(reason)) => reason,
            Err(_) => "it does not answer".to_owned(),
        };
        Err(RevisionError::Unavailable { reason })
    }

    /// Let what is on its way end, then let go of etcd.
    pub async fn close(&self) {
        // An error means that it is closed already.
        drop(self.flights.acquire_many(self.flights_limit).await);
        self.shut();
    }

    fn shut(&self) {
        self.flights.close();
        for task in &self.tasks {
            task.abort();
        }
        self.core.barrier.close();
        self.core.shared.hub.close();
    }

    pub fn stats(&self) -> EtcdStats {
        EtcdStats {
            endpoints: self.endpoints.clone(),
            is_connected: self.core.health.is_up() && !self.flights.is_closed(),
            age: self.core.health.age(),
        }
    }
}

impl Drop for Backend {
    fn drop(&mut self) {
        self.shut();
    }
}

fn spawn(name: &'static str, task: impl Future<Output = ()> + Send + 'static) -> AbortHandle {
    tokio::spawn(task.instrument(tracing::info_span!("store", task = name))).abort_handle()
}

/// A store that lies in etcd.
struct Found {
    id: ClusterId,
    born: Revision,
    marker: (Revision, Vec<u8>),
    loaded: Loaded,
}

/// Why there is none.
enum Unusable {
    Failure(Failure),
    Foreign(String),
}

impl From<Failure> for Unusable {
    fn from(failure: Failure) -> Self {
        Self::Failure(failure)
    }
}

impl Unusable {
    fn at(self, url: &str) -> OpenError {
        match self {
            Self::Foreign(reason) => OpenError::Foreign { path: PathBuf::from(url), reason },
            Self::Failure(failure @ (Failure::Unreachable(_) | Failure::Silent(_))) => {
                OpenError::Etcd { url: url.to_owned(), reason: failure.to_string() }
            }
            Self::Failure(failure) => OpenError::EtcdRefused { url: url.to_owned(), reason: failure.to_string() },
        }
    }
}

/// The store below the prefix, made if there is none.
async fn found(client: &Client, layout: &Layout, now_ms: u64) -> Result<Found, Unusable> {
    loop {
        let mut loaded = load::everything(client, layout).await?;
        match (loaded.cluster, loaded.marker.take()) {
            (Some((id, born)), Some(marker)) => return Ok(Found { id, born, marker, loaded }),
            (None, None) if loaded.root.is_empty() && loaded.stranger.is_none() => {
                create(client, layout, now_ms).await?;
            }
            _ => {
                let stranger = loaded.stranger.unwrap_or_else(|| layout.range().0);
                let key = String::from_utf8_lossy(&stranger).into_owned();
                return Err(Unusable::Foreign(format!("there are other keys below its prefix, like {key}")));
            }
        }
    }
}

/// Make the store, unless another server is faster.
async fn create(client: &Client, layout: &Layout, now_ms: u64) -> Result<(), Failure> {
    let marker = Marker { at_ms: now_ms, nonce: rand::random(), author: Author::default() };
    let put = |key, value| RequestOp { request: Some(Request::Put(PutRequest { key, value })) };
    let request = TxnRequest {
        compare: vec![proto::Compare {
            target: proto::TARGET_MOD,
            key: layout.cluster(),
            union: Some(Target::ModRevision(0)),
        }],
        success: vec![
            put(layout.cluster(), encode_cluster(ClusterId::random())),
            put(layout.commit(), marker.encode()),
        ],
        failure: Vec::new(),
    };
    let answer: TxnResponse = client.write(proto::TXN, request).await?;
    tracing::info!(created = answer.succeeded, format = FORMAT, "a new store in etcd");
    Ok(())
}
