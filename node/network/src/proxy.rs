//! The listeners on Service addresses, for processes of the host: one task for each address and port.
//!
//! A listener exists only while there is an endpoint to send to, so a client of a Service without endpoints gets
//! "connection refused" from the kernel, as under kube-proxy. A port that another process has is tried again.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, broadcast, watch};
use tokio::time::sleep;
use tokio_util::sync::{CancellationToken, DropGuard};
use tracing::Instrument;

use crate::service::ServiceKey;
use crate::table::Backends;
use crate::{Cidr, connect};

const BACKLOG: u32 = 1024;
/// Between tries to bind: doubling from the first to the last.
const FIRST_RETRY: Duration = Duration::from_millis(5);
const LAST_RETRY: Duration = Duration::from_secs(10);
/// A port that is still taken after this long is worth an operator's look (our own closing listener is gone by then).
const REPORT_AFTER: Duration = Duration::from_millis(300);
/// After `accept` failed for want of descriptors or memory.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// What a Service address and port is doing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ListenState {
    /// No ready endpoint: clients are refused.
    NoEndpoints,
    Listening,
    /// The address cannot be listened on for now (taken by another process, or a port below 1024 without the right
    /// to it); it is tried again. Guests reach the Service all the same.
    Failed(String),
}

/// A Service's address and port that host processes cannot reach for now: told when it begins, not at each retry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListenFailure {
    pub service: ServiceKey,
    pub address: SocketAddrV4,
    /// Why, and what that means: a sentence for users.
    pub message: String,
}

/// What all proxies share.
#[derive(Debug, Clone)]
pub(crate) struct Shared {
    /// One permit for each proxied connection.
    pub(crate) connections: Arc<Semaphore>,
    pub(crate) connect_timeout: Duration,
    pub(crate) failures: broadcast::Sender<ListenFailure>,
    /// Cancelled when the network goes.
    pub(crate) shutdown: CancellationToken,
}

/// The task that serves one Service address and port; dropping this ends it. Open connections go on.
#[derive(Debug)]
pub(crate) struct Proxy {
    backends: watch::Sender<Arc<Backends>>,
    state: watch::Receiver<ListenState>,
    _stop: DropGuard,
}

impl Proxy {
    /// Must be called inside a tokio runtime.
    pub(crate) fn start(
        (service, address): (ServiceKey, SocketAddrV4),
        backends: Arc<Backends>,
        shared: Shared,
    ) -> Self {
        let (backends, updates) = watch::channel(backends);
        let (report, state) = watch::channel(ListenState::NoEndpoints);
        let stop = shared.shutdown.child_token();
        let task = Task { service, address, updates, report, shared };
        let stopped = stop.clone();
        let span = tracing::info_span!("service proxy", %address);
        tokio::spawn(async move { stopped.run_until_cancelled(task.run()).await }.instrument(span));
        Self { backends, state, _stop: stop.drop_guard() }
    }

    pub(crate) fn update(&self, backends: Arc<Backends>) {
        self.backends.send_replace(backends);
    }

    pub(crate) fn state(&self) -> ListenState {
        self.state.borrow().clone()
    }
}

struct Task {
    service: ServiceKey,
    address: SocketAddrV4,
    updates: watch::Receiver<Arc<Backends>>,
    report: watch::Sender<ListenState>,
    shared: Shared,
}

impl Task {
    /// Waits for endpoints, listens while there are any, and again.
    async fn run(mut self) {
        loop {
            self.report.send_replace(ListenState::NoEndpoints);
            if self.updates.wait_for(|backends| !backends.is_empty()).await.is_err() {
                return;
            }
            let listener = self.bind().await;
            self.report.send_replace(ListenState::Listening);
            tracing::debug!("listening");
            self.accept_while_endpoints(listener).await;
        }
    }

    async fn bind(&self) -> TcpListener {
        let mut pause = FIRST_RETRY;
        loop {
            match listen(self.address) {
                Ok(listener) => return listener,
                Err(error) => {
                    if pause >= REPORT_AFTER || error.kind() != io::ErrorKind::AddrInUse {
                        self.report_failure(&error);
                    }
                    sleep(pause).await;
                    pause = (pause * 2).min(LAST_RETRY);
                }
            }
        }
    }

    /// Logs a failure once, not at each retry.
    fn report_failure(&self, error: &io::Error) {
        let why = format!("cannot listen on {}: {error}", self.address);
        let failed = ListenState::Failed(why.clone());
        let news = self.report.send_if_modified(|state| {
            let news = *state != failed;
            *state = failed;
            news
        });
        if news {
            tracing::warn!(%error, "host processes cannot reach this service address; trying again");
            let message = format!("{why}. {}", meaning(error.kind()));
            let failure = ListenFailure { service: self.service.clone(), address: self.address, message };
            // Nobody may want to know.
            let _ = self.shared.failures.send(failure);
        }
    }

    async fn accept_while_endpoints(&mut self, listener: TcpListener) {
        loop {
            let accepting = async {
                let permit = Arc::clone(&self.shared.connections).acquire_owned().await;
                (listener.accept().await, permit)
            };
            tokio::select! {
                biased;
                changed = self.updates.changed() => {
                    if changed.is_err() || self.updates.borrow().is_empty() {
                        return;
                    }
                }
                (accepted, permit) = accepting => match (accepted, permit) {
                    (Ok((stream, client)), Ok(permit)) => self.serve(stream, client, permit),
                    (Err(error), _) => {
                        tracing::debug!(%error, "accept failed");
                        sleep(ACCEPT_PAUSE).await;
                    }
                    (_, Err(_closed)) => return,
                },
            }
        }
    }

    fn serve(&self, stream: TcpStream, client: SocketAddr, permit: OwnedSemaphorePermit) {
        let backends = Arc::clone(&self.updates.borrow());
        let (address, limit) = (SocketAddr::V4(self.address), self.shared.connect_timeout);
        let shutdown = self.shared.shutdown.clone();
        let span = tracing::debug_span!("service connection", %client);
        let copying = async move {
            let _permit = permit;
            if let Err(error) = forward(stream, client, &backends, address, limit).await {
                tracing::debug!(%error, "connection ended");
            }
        };
        tokio::spawn(async move { shutdown.run_until_cancelled(copying).await }.instrument(span));
    }
}

/// Copies both ways; either side may end its half first. A client whose Service has no endpoint that answers is
/// reset, not closed: a clean end would look like an empty answer.
async fn forward(
    mut client_stream: TcpStream,
    client: SocketAddr,
    backends: &Backends,
    address: SocketAddr,
    limit: Duration,
) -> io::Result<()> {
    match connect::to_any(backends, client.ip(), None, address, limit).await {
        Ok(mut endpoint) => {
            client_stream.set_nodelay(true)?;
            tokio::io::copy_bidirectional(&mut client_stream, &mut endpoint).await.map(|_bytes| ())
        }
        Err(error) => {
            client_stream.set_zero_linger()?;
            Err(error.into())
        }
    }
}

/// What a failure means for users, and what helps.
fn meaning(kind: io::ErrorKind) -> &'static str {
    match kind {
        io::ErrorKind::AddrNotAvailable => {
            "Pods reach the Service, processes of this host do not: the address is not this host's. \
             An administrator can make its range so, as with `ip route add local RANGE dev lo`"
        }
        io::ErrorKind::AddrInUse => {
            "Pods reach the Service, processes of this host reach the one that has the address; it is tried again"
        }
        _ => "Pods reach the Service, processes of this host do not; it is tried again",
    }
}

/// What other programs of a host take to be theirs: its own name, its resolver, servers for nobody else.
fn is_hosts_own(address: SocketAddrV4) -> bool {
    Cidr::new(Ipv4Addr::LOCALHOST, 16).contains(*address.ip())
}

fn listen(address: SocketAddrV4) -> io::Result<TcpListener> {
    if is_hosts_own(address) {
        return Err(io::Error::new(io::ErrorKind::PermissionDenied, "127.0.0.0/16 is the host's own"));
    }
    let socket = TcpSocket::new_v4()?;
    socket.set_reuseaddr(true)?;
    socket.bind(SocketAddr::V4(address))?;
    socket.listen(BACKLOG)
}
