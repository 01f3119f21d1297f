//! What all requests share. One value for one server; nothing here is global.

use crate::admission::{Chain, cluster_ip::ServiceAddresses};
use crate::authn::StaticTokens;
use crate::authz::Authorizer;
use crate::catalog::Catalog;
use crate::config::{Clock, Config, Limits, Random};
use crate::endpoints::metrics::Metrics;
use crate::nodes::Links;
use api::{Kinds, Resource, Status};
use arc_swap::ArcSwap;
use jiff::Timestamp;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use store::{Author, CommitError, Committed, Store, Txn};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

pub(crate) struct Core {
    pub store: Store,
    catalog: ArcSwap<Catalog>,
    pub admission: Chain,
    pub services: Arc<ServiceAddresses>,
    pub nodes: Links,
    pub tokens: StaticTokens,
    pub authorizer: Arc<dyn Authorizer>,
    pub limits: Limits,
    pub in_flight: Semaphore,
    pub metrics: Metrics,
    ready: AtomicBool,
    /// Ends watches and background tasks.
    pub shutdown: CancellationToken,
    clock: Clock,
    random: Random,
    pub address: SocketAddr,
}

impl Core {
    pub(crate) fn new(config: &Config, address: SocketAddr) -> Arc<Self> {
        let kinds = Kinds::builtin();
        let services = ServiceAddresses::rebuild(config.service_cidr, &config.store.snapshot(), &kinds);
        Arc::new(Self {
            store: config.store.clone(),
            catalog: ArcSwap::new(Catalog::new(kinds)),
            admission: Chain::builtin(),
            services: Arc::new(services),
            nodes: Links::default(),
            tokens: config.tokens.clone(),
            authorizer: Arc::clone(&config.authorizer),
            limits: config.limits,
            in_flight: Semaphore::new(config.limits.requests_in_flight),
            metrics: Metrics::default(),
            ready: AtomicBool::new(false),
            shutdown: CancellationToken::new(),
            clock: Arc::clone(&config.clock),
            random: Arc::clone(&config.random),
            address,
        })
    }

    pub(crate) fn catalog(&self) -> Arc<Catalog> {
        self.catalog.load_full()
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

    /// Commits in the name of `author`, with conflicts left to the caller and everything else turned into a Status.
    pub(crate) async fn commit(&self, author: &str, txn: Txn) -> Result<Result<Committed, Conflict>, Status> {
        match self.store.commit(txn.by(Author::new(author))).await {
            Ok(committed) => Ok(Ok(committed)),
            Err(CommitError::Conflict { actual, .. }) => Ok(Err(Conflict { actual })),
            Err(error) => Err(commit_status(&error)),
        }
    }
}

/// The key is not as it was when the transaction was made.
pub(crate) struct Conflict {
    pub actual: Option<Arc<store::Entry>>,
}

fn commit_status(error: &CommitError) -> Status {
    match error {
        CommitError::TooLarge { limit, .. } => Status::too_large(*limit),
        CommitError::Full => {
            Status::new(api::Reason::InsufficientStorage, "the disk under the store is full; nothing was written")
        }
        CommitError::Closed => Status::new(api::Reason::ServiceUnavailable, "the server is shutting down"),
        other => Status::internal(other),
    }
}
