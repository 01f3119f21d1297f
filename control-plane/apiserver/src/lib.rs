//! The API server: HTTP → [`request::RequestInfo`] → authentication → authorization → admission → strategy → store.
//!
//! Invariants: only this crate opens the store; reads never parse stored objects; what is particular to a kind is in
//! the kinds table of `api`, not here.

mod admission;
mod agreement;
mod audit_id;
mod authn;
mod authz;
mod body;
mod bootstrap;
mod catalog;
mod config;
mod core;
mod crd;
mod endpoints;
#[doc(hidden)]
pub mod fuzzing;
mod handler;
pub mod history;
mod hook;
mod inflight;
mod local;
mod negotiate;
mod net;
mod nodes;
mod objects;
mod offline;
mod own_events;
mod peers;
pub mod pki;
mod protobuf;
mod prune;
mod registry;
mod request;
mod respond;
mod server;
mod user;
mod websocket;

pub use crate::admission::{AdmissionPlugins, PluginsError};
pub use crate::authn::{StaticTokens, TokenFileError};
pub use crate::authz::{AuthorizationMode, ModeError};
pub use crate::config::{Clock, Config, Limits, Random, Sharing};
pub use crate::endpoints::GIT_VERSION;
pub use crate::local::LocalService;
pub use crate::net::{Cidr, CidrError};
pub use crate::offline::offline;
pub use crate::request::{RequestInfo, ResourceRequest};
pub use crate::user::User;
/// The store's own crate, for whoever opens the store that a server is started with.
pub use store;

use crate::agreement::AgreementError;
use crate::core::Core;
use crate::pki::{AccountKey, Names, Pki, PkiError, PkiSource};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use tokio::task::JoinHandle;
use tracing::Instrument as _;

/// Why a server did not start. Nothing is left running.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error("cannot listen on {address}: the port is in use by another program")]
    AddressInUse { address: SocketAddr },
    #[error("cannot listen on {address}")]
    Listen {
        address: SocketAddr,
        #[source]
        source: std::io::Error,
    },
    #[error("cannot prepare the cluster's certificates")]
    Pki(#[from] PkiError),
    #[error("preparing the cluster's certificates was cut short")]
    PkiTask(#[from] tokio::task::JoinError),
    #[error("cannot agree with the cluster's other servers on its certificates")]
    Agreement(#[from] AgreementError),
    #[error("cannot write the system's own objects")]
    Bootstrap(#[source] api::Status),
}

/// A running API server. Dropping it leaves it running; [`ApiServer::shutdown`] ends it.
pub struct ApiServer {
    core: Arc<Core>,
    pki: Pki,
    listener: JoinHandle<()>,
    /// What tells the other servers of this one, where there may be others.
    peers: Option<JoinHandle<()>>,
}

impl ApiServer {
    /// Binds, makes the certificates ready, writes the system's objects where they are missing, and serves.
    ///
    /// # Errors
    /// See [`StartError`].
    pub async fn start(config: Config) -> Result<Self, StartError> {
        let asked = config.listen;
        let tcp = server::bind(asked).await.map_err(|source| listen_error(asked, source))?;
        let address = tcp.local_addr().map_err(|source| listen_error(asked, source))?;
        let core = Core::new(&config, address);
        let mut extra = config.tls_san.clone();
        if !address.ip().is_unspecified() {
            extra.push(address.ip().to_string());
        }
        extra.extend(config.advertise.map(|ip| ip.to_string()));
        // Where the range was another one when the Service was made, it keeps its address.
        extra.extend(bootstrap::service_address(&core, &core.store.snapshot()).map(|ip| ip.to_string()));
        let names = Names::new(core.services.first().map(IpAddr::V4), &extra);
        let (pki, account) = match config.sharing {
            Sharing::Alone => {
                // Both wait for the disk, and neither needs the other.
                let keys = tokio::task::spawn_blocking(move || own_keys(&config.pki, &names));
                bootstrap::run(&core).await.map_err(StartError::Bootstrap)?;
                keys.await??
            }
            Sharing::Shared => {
                let keys = agreement::keys(&core, &config.pki, &names).await?;
                bootstrap::run(&core).await.map_err(StartError::Bootstrap)?;
                keys
            }
        };
        core.set_keys(pki.clone(), &account)?;
        let listener = server::Listener::new(tcp, address, &pki)?;
        let peers = start_peers(&core, &pki).await?;
        crd::start(&core).await.map_err(StartError::Bootstrap)?;
        core.set_ready();
        let pruning = prune::run(Arc::clone(&core), config.event_ttl);
        tokio::spawn(pruning.instrument(tracing::info_span!("event_ttl")));
        let following = authz::follow(Arc::clone(&core));
        tokio::spawn(following.instrument(tracing::info_span!("authorization")));
        let serving = listener.run(Arc::clone(&core));
        let listener = tokio::spawn(serving.instrument(tracing::info_span!("apiserver", %address)));
        tracing::info!(%address, "API server ready");
        Ok(Self { core, pki, listener, peers })
    }

    /// The address that is listened on, with the port that was picked.
    #[must_use]
    pub fn local_addr(&self) -> SocketAddr {
        self.core.address
    }

    /// `https://…` under which this host's clients reach the server.
    #[must_use]
    pub fn url(&self) -> String {
        let address = self.core.address;
        let ip = if address.ip().is_unspecified() { IpAddr::from([127, 0, 0, 1]) } else { address.ip() };
        format!("https://{}", SocketAddr::new(ip, address.port()))
    }

    /// The API for a component in this process, in the name of `user`: what `kube::Client::new` takes.
    #[must_use]
    pub fn local_client_service(&self, user: User) -> LocalService {
        LocalService::new(Arc::clone(&self.core), user).without_owners()
    }

    /// The kubelet of a node in this process.
    pub fn attach_node(&self, name: &str, router: axum::Router) {
        self.core.nodes.attach(name, router);
    }

    /// The kubelet of `name` is gone.
    pub fn detach_node(&self, name: &str) {
        self.core.nodes.detach(name);
    }

    #[must_use]
    pub fn pki(&self) -> &Pki {
        &self.pki
    }

    /// A kubeconfig (YAML) of the administrator for `server`, such as [`ApiServer::url`].
    #[must_use]
    pub fn kubeconfig(&self, server: &str) -> String {
        self.pki.kubeconfig(server, "kubernetes-admin", self.pki.admin())
    }

    /// Ends watches, lets open requests finish for a few seconds, and stops. The store stays open: it is the caller's.
    pub async fn shutdown(self) {
        self.core.shutdown.cancel();
        if let Some(peers) = self.peers
            && let Err(error) = peers.await
        {
            tracing::error!(%error, "telling the other servers ended badly");
        }
        if let Err(error) = self.listener.await {
            tracing::error!(%error, "the listener ended badly");
        }
    }
}

/// The certificates and the tokens' key of a server that has its store for itself. Blocks on the disk.
fn own_keys(source: &PkiSource, names: &Names) -> Result<(Pki, AccountKey), PkiError> {
    Ok((Pki::open(source, names)?, AccountKey::open(source)?))
}

/// Makes this server known to the others of its cluster, before it serves.
async fn start_peers(core: &Arc<Core>, pki: &Pki) -> Result<Option<JoinHandle<()>>, StartError> {
    if core.sharing == Sharing::Alone {
        return Ok(None);
    }
    core.peers.introduce(peers::Dialer::new(pki)?);
    peers::renew(core, core.now()).await.map_err(StartError::Bootstrap)?;
    let work = peers::run(Arc::clone(core)).instrument(tracing::info_span!("peers"));
    Ok(Some(tokio::spawn(work)))
}

fn listen_error(address: SocketAddr, source: std::io::Error) -> StartError {
    match source.kind() {
        std::io::ErrorKind::AddrInUse => StartError::AddressInUse { address },
        _ => StartError::Listen { address, source },
    }
}

#[cfg(test)]
mod tests;
