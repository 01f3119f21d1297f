//! The network side: listen, accept, TLS, HTTP/1.1 and HTTP/2. Knows requests only as something to hand on.

mod stall;
mod streams;
mod tls;

use crate::authn::certificate_user;
use crate::body::Courteous;
use crate::core::Core;
use crate::endpoints::metrics::one_more;
use crate::handler::{Caller, handle};
use crate::pki::{Pki, PkiError};
use crate::user::User;
use axum::body::Body;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use stall::Stall;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use streams::{Streams, watched};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_rustls::TlsAcceptor;
use tracing::Instrument as _;

/// As in kube-apiserver. A client that is out of breath for longer may believe its connection is made: it has all it needs.
const HANDSHAKE: Duration = Duration::from_secs(32);
/// Also how long a connection may be idle between two requests, as in kube-apiserver.
const READ_HEADERS: Duration = Duration::from_secs(90);
/// Bytes of one HTTP/1.1 connection's read buffer, which bounds a request's head.
const BUFFER_BYTES: usize = 256 * 1024;
/// Bytes that TLS encrypts before it hands them to the system, all at once: with fewer, lists are mostly system calls.
const ENCRYPTED_BYTES: usize = 256 * 1024;
/// Bytes of one HTTP/2 request's headers.
const HEADER_BYTES: u32 = 64 * 1024;
/// Streams of one HTTP/2 connection, as kube-apiserver's `--http2-max-streams-per-connection`.
const STREAMS: u32 = 1_000;
/// Reset streams of one HTTP/2 connection that are remembered (rapid reset).
const PENDING_RESETS: usize = 64;
/// Bytes of one HTTP/2 stream that wait for their connection to be written: with many streams and a peer that reads none
/// of them, all that is held until the connection is given up.
const STREAM_BYTES: usize = 128 * 1024;
const KEEP_ALIVE: Duration = Duration::from_secs(30);
/// How long open connections get to finish at shutdown.
const GRACE: Duration = Duration::from_secs(5);

/// Everything needed to answer connections of one listener.
pub(crate) struct Listener {
    tcp: TcpListener,
    tls: TlsAcceptor,
    address: SocketAddr,
}

/// Opens the port. Done before anything else at start: a port in use should change nothing.
///
/// # Errors
/// The system's.
pub(crate) async fn bind(address: SocketAddr) -> std::io::Result<TcpListener> {
    TcpListener::bind(address).await
}

impl Listener {
    /// # Errors
    /// [`PkiError::Tls`].
    pub(crate) fn new(tcp: TcpListener, address: SocketAddr, pki: &Pki) -> Result<Self, PkiError> {
        Ok(Self { tcp, tls: tls::acceptor(pki)?, address })
    }

    /// Serves until `core.shutdown`, then lets open requests finish for a few seconds.
    pub(crate) async fn run(self, core: Arc<Core>) {
        let places = Arc::new(Semaphore::new(core.limits.connections));
        let graceful = GracefulShutdown::new();
        loop {
            let accepted = tokio::select! {
                () = core.shutdown.cancelled() => break,
                accepted = self.accept(&places) => accepted,
            };
            let Some((stream, peer, place)) = accepted else { continue };
            let connection = Connection {
                core: Arc::clone(&core),
                tls: self.tls.clone(),
                watcher: graceful.watcher(),
                _place: place,
            };
            let span = tracing::debug_span!("connection", %peer);
            tokio::spawn(connection.serve(stream).instrument(span));
        }
        drop(self.tcp);
        if tokio::time::timeout(GRACE, graceful.shutdown()).await.is_err() {
            tracing::info!("connections were still open at shutdown and have been cut");
        }
    }

    /// The next connection, once there is a place for it; `None` after a failure worth a new try.
    async fn accept(&self, places: &Arc<Semaphore>) -> Option<(TcpStream, SocketAddr, OwnedSemaphorePermit)> {
        let place = Arc::clone(places).acquire_owned().await.ok()?;
        match self.tcp.accept().await {
            Ok((stream, peer)) => {
                _ = stream.set_nodelay(true);
                Some((stream, peer, place))
            }
            Err(error) => {
                tracing::warn!(%error, address = %self.address, "cannot accept a connection");
                // Out of file descriptors, mostly: give others the time to close theirs.
                tokio::time::sleep(Duration::from_millis(50)).await;
                None
            }
        }
    }
}

struct Connection {
    core: Arc<Core>,
    tls: TlsAcceptor,
    watcher: Watcher,
    _place: OwnedSemaphorePermit,
}

impl Connection {
    async fn serve(self, stream: TcpStream) {
        let stream = Stall::new(stream, self.core.limits.write_stall);
        let mut tls = match tokio::time::timeout(HANDSHAKE, self.tls.accept(stream)).await {
            Ok(Ok(tls)) => tls,
            Ok(Err(error)) => {
                one_more(&self.core.metrics.handshake_errors);
                return tracing::debug!(%error, "TLS handshake failed");
            }
            Err(_) => {
                one_more(&self.core.metrics.handshake_errors);
                return tracing::debug!("TLS handshake took too long");
            }
        };
        tls.get_mut().1.set_buffer_limit(Some(ENCRYPTED_BYTES));
        let user: Option<Arc<User>> =
            tls.get_ref().1.peer_certificates().and_then(|chain| certificate_user(chain.first()?)).map(Arc::new);
        let core = self.core;
        let builder = builder(Streams { limit: core.limits.write_stall });
        let service = service_fn(move |request: http::Request<Incoming>| {
            let (core, caller) = (Arc::clone(&core), Caller::Network(user.clone()));
            async move {
                // Boxed: a connection that does nothing but watch would keep room for the work of any request (9 KB).
                let work = Box::pin(handle(&core, caller, request.map(|body| Body::new(Courteous::new(body)))));
                Ok::<_, Infallible>(watched(work.await))
            }
        });
        let connection = builder.serve_connection_with_upgrades(TokioIo::new(tls), service).into_owned();
        if let Err(error) = self.watcher.watch(connection).await {
            tracing::debug!(%error, "connection ended");
        }
    }
}

fn builder(streams: Streams) -> auto::Builder<Streams> {
    let mut builder = auto::Builder::new(streams);
    builder.http1().timer(TokioTimer::new()).header_read_timeout(READ_HEADERS).max_buf_size(BUFFER_BYTES);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(STREAMS)
        .max_pending_accept_reset_streams(PENDING_RESETS)
        .max_header_list_size(HEADER_BYTES)
        .max_send_buf_size(STREAM_BYTES)
        .keep_alive_interval(KEEP_ALIVE)
        .keep_alive_timeout(KEEP_ALIVE);
    builder
}
