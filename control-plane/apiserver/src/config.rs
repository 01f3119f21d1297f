//! What an API server is started with. Every limit has its default here.

use crate::admission::AdmissionPlugins;
use crate::authn::StaticTokens;
use crate::authz::AuthorizationMode;
use crate::net::Cidr;
use crate::pki::PkiSource;
use jiff::Timestamp;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;
use store::Store;

/// Where wall time comes from.
pub type Clock = Arc<dyn Fn() -> Timestamp + Send + Sync>;

/// Where chance comes from.
pub type Random = Arc<dyn Fn() -> u64 + Send + Sync>;

/// How an API server is to run.
#[derive(Clone)]
pub struct Config {
    pub store: Store,
    /// Address to listen on; port 0 picks a free one.
    pub listen: SocketAddr,
    /// What others are told to dial; `None`: the address that is listened on.
    pub advertise: Option<IpAddr>,
    /// Whether other servers may use the same store.
    pub sharing: Sharing,
    pub pki: PkiSource,
    /// More host names and addresses for the serving certificate.
    pub tls_san: Vec<String>,
    /// Where Service addresses come from; the first one is the API server's own.
    pub service_cidr: Cidr,
    pub tokens: StaticTokens,
    /// In the order in which they are asked.
    pub authorization: Vec<AuthorizationMode>,
    pub admission: AdmissionPlugins,
    pub limits: Limits,
    /// How long an Event is kept after it was written last.
    pub event_ttl: Duration,
    pub clock: Clock,
    /// Random bits for the names made from `generateName`.
    pub random: Random,
}

impl Config {
    /// The defaults: a free port on loopback, certificates in memory, services in 127.96.0.0/12.
    #[must_use]
    pub fn new(store: Store) -> Self {
        Self {
            store,
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            advertise: None,
            sharing: Sharing::Alone,
            pki: PkiSource::Ephemeral,
            tls_san: Vec::new(),
            service_cidr: Cidr::DEFAULT_SERVICES,
            tokens: StaticTokens::default(),
            authorization: AuthorizationMode::DEFAULT.to_vec(),
            admission: AdmissionPlugins::default(),
            limits: Limits::default(),
            event_ttl: Duration::from_secs(3600),
            clock: Arc::new(Timestamp::now),
            random: Arc::new(rand::random),
        }
    }
}

/// Who writes to a server's store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sharing {
    /// This server only.
    Alone,
    /// Any number of servers: they must agree on certificates, and know of each other.
    Shared,
}

/// What one server takes upon itself at once.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Bytes of one request body.
    pub body_bytes: usize,
    /// Requests from the network that read and are being answered; long-running ones (watch, log) are not counted.
    pub requests_in_flight: usize,
    /// The same of requests that write.
    pub mutating_requests_in_flight: usize,
    /// Open connections; further ones wait to be accepted.
    pub connections: usize,
    /// Longest time for a request that is not long-running.
    pub request_timeout: Duration,
    /// Shortest time that a watch without `timeoutSeconds` lasts; the longest is twice that.
    pub watch_timeout: Duration,
    /// Between bookmarks of a watch that asked for them.
    pub bookmark_interval: Duration,
    /// How long a peer may leave a write waiting before its connection is cut; with HTTP/2, a piece of an answer before
    /// its stream is reset.
    pub write_stall: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            body_bytes: 3 << 20,
            requests_in_flight: 2_000,
            mutating_requests_in_flight: 1_000,
            connections: 20_000,
            request_timeout: Duration::from_secs(60),
            watch_timeout: Duration::from_secs(1800),
            bookmark_interval: Duration::from_secs(60),
            write_stall: Duration::from_secs(60),
        }
    }
}
