//! What all requests share. One value for one server; nothing here is global.

use crate::admission::{Chain, cluster_ip::ServiceAddresses};
use crate::authn::{Tokens, service_account::ServiceAccounts};
use crate::authz::Authorizers;
use crate::catalog::Catalog;
use crate::config::{Clock, Config, Limits, Random, Sharing};
use crate::endpoints::metrics::Metrics;
use crate::inflight::InFlight;
use crate::nodes::Links;
use crate::peers::Peers;
use crate::pki::{AccountKey, Pki, PkiError};
use crate::request::too_large_version;
use api::kinds::Text;
use api::{Kinds, Reason, Resource, Status};
use arc_swap::ArcSwap;
use jiff::Timestamp;
use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};
use store::{Author, CommitError, Committed, Revision, RevisionError, Snapshot, Store, Txn};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// How long a request waits for a revision that another server has told its client of, as the watch cache of Kubernetes.
const REACHED: Duration = Duration::from_secs(3);

pub(crate) struct Core {
    pub store: Store,
    catalog: ArcSwap<Catalog>,
    /// The CRDs of every revision up to this one are served as they say.
    pub crds: watch::Sender<Revision>,
    pub admission: Chain,
    pub services: ServiceAddresses,
    pub nodes: Links,
    pub tokens: Arc<Tokens>,
    pub authorizers: Arc<Authorizers>,
    /// Set before the first request is answered; unit tests may do without.
    pub pki: OnceLock<Pki>,
    pub limits: Limits,
    pub in_flight: InFlight,
    pub metrics: Metrics,
    ready: AtomicBool,
    /// Ends watches and background tasks.
    pub shutdown: CancellationToken,
    clock: Clock,
    random: Random,
    pub address: SocketAddr,
    /// What others are told to dial in place of the address that is listened on.
    pub advertise: Option<IpAddr>,
    pub sharing: Sharing,
    pub peers: Peers,
}

impl Core {
    pub(crate) fn new(config: &Config, address: SocketAddr) -> Arc<Self> {
        let kinds = Kinds::builtin();
        let tokens = Arc::new(Tokens::new(config.store.clone(), config.tokens.clone()));
        let authorizers = Authorizers::new(config.authorization.clone(), &config.store);
        Arc::new(Self {
            store: config.store.clone(),
            catalog: ArcSwap::new(Catalog::new(kinds)),
            crds: watch::Sender::new(0),
            admission: Chain::new(config, &authorizers, &tokens),
            services: ServiceAddresses::new(config.service_cidr),
            nodes: Links::default(),
            tokens,
            authorizers,
            pki: OnceLock::new(),
            limits: config.limits,
            in_flight: InFlight::new(&config.limits),
            metrics: Metrics::default(),
            ready: AtomicBool::new(false),
            shutdown: CancellationToken::new(),
            clock: Arc::clone(&config.clock),
            random: Arc::clone(&config.random),
            address,
            advertise: config.advertise,
            sharing: config.sharing,
            peers: Peers::default(),
        })
    }

    pub(crate) fn catalog(&self) -> Arc<Catalog> {
        self.catalog.load_full()
    }

    /// From now on these custom kinds are served beside the built-in ones; requests under way go on with what they took.
    pub(crate) fn swap_kinds(
        &self,
        custom: impl IntoIterator<Item = Arc<Resource>>,
        lives: HashMap<Text, CancellationToken>,
    ) {
        let kinds = self.catalog.load().kinds.with_custom(custom);
        self.catalog.store(Catalog::with_custom(kinds, lives));
    }

    pub(crate) fn now(&self) -> Timestamp {
        (self.clock)()
    }

    pub(crate) fn random(&self) -> u64 {
        (self.random)()
    }

    pub(crate) fn is_ready(&self) -> bool {
        self.ready.load(Ordering::Acquire)
    }

    pub(crate) fn set_ready(&self) {
        self.ready.store(true, Ordering::Release);
    }

    /// The namespaces' row: admission asks for it on every create.
    pub(crate) fn builtin(&self, group: &str, version: &str, plural: &str) -> Arc<Resource> {
        self.catalog.load().kinds.find(group, version, plural).expect("built-in kinds are never removed")
    }

    /// Everything that was acknowledged to anybody before this call, by this server or another one on the same store.
    ///
    /// # Errors
    /// 503 when the store's backend does not answer.
    pub(crate) async fn latest(&self) -> Result<Snapshot, Status> {
        self.store.latest().await.map_err(|error| read_status(&error))
    }

    /// A state that is not older than `revision`, waiting a little where another server may have written it.
    ///
    /// # Errors
    /// 504 "Too large resource version" when it does not come.
    pub(crate) async fn reached(&self, revision: Revision) -> Result<Snapshot, Status> {
        match self.store.reached(revision, REACHED).await {
            Ok(()) => Ok(self.store.snapshot()),
            Err(RevisionError::Future { current }) => Err(too_large_version(revision, current)),
            Err(error) => Err(read_status(&error)),
        }
    }

    /// From now on certificates and tokens can be made and checked.
    ///
    /// # Errors
    /// The key is not one that signs tokens.
    pub(crate) fn set_keys(&self, pki: Pki, account: &AccountKey) -> Result<(), PkiError> {
        let accounts =
            ServiceAccounts::new(account, pki.ca_pem()).map_err(|error| PkiError::Account(error.to_string()))?;
        self.tokens.know_accounts(accounts);
        let _ = self.pki.set(pki);
        Ok(())
    }

    /// Commits in the name of `author`, with conflicts left to the caller and everything else turned into a Status.
    pub(crate) async fn commit(&self, author: &str, txn: Txn) -> Result<Result<Committed, Conflict>, Status> {
        let concerns_rights = Authorizers::concerned_by(&txn);
        let started = Instant::now();
        let result = self.store.commit(txn.by(Author::new(author))).await;
        self.metrics.committed(started.elapsed());
        if concerns_rights {
            self.authorizers.changed();
        }
        match result {
            Ok(committed) => Ok(Ok(committed)),
            Err(CommitError::Conflict { key, actual }) => Ok(Err(Conflict { key, actual })),
            Err(error) => Err(commit_status(&error)),
        }
    }
}

/// A key is not as it was when the transaction was made.
pub(crate) struct Conflict {
    pub key: store::Key,
    pub actual: Option<Arc<store::Entry>>,
}

// No Retry-After on what follows: clients would repeat by themselves what may have happened, and kubectl would be silent
// for a minute before it says what is wrong.

fn commit_status(error: &CommitError) -> Status {
    match error {
        CommitError::TooLarge { limit, .. } => Status::too_large(*limit),
        CommitError::Full => {
            Status::new(Reason::InsufficientStorage, "the disk under the store is full; nothing was written")
        }
        CommitError::Closed => closing(),
        CommitError::Unavailable { .. } => {
            Status::new(Reason::ServiceUnavailable, format!("nothing was written: {error}"))
        }
        CommitError::Unknown { .. } => {
            Status::new(Reason::Timeout, format!("Timeout: {error}; the write may have happened"))
        }
        other => Status::internal(other),
    }
}

/// What a failed look into the store means for a reader who named no revision.
pub(crate) fn read_status(error: &RevisionError) -> Status {
    match error {
        RevisionError::Unavailable { .. } => Status::new(Reason::ServiceUnavailable, error.to_string()),
        RevisionError::Closed => closing(),
        other => Status::internal(other),
    }
}

fn closing() -> Status {
    Status::new(Reason::ServiceUnavailable, "the server is shutting down")
}
