//! Outgoing connections: to whom, over what, and why not.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, SocketAddrV4};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::timeout;

use crate::names::ResolveError;
use crate::table::Backends;

/// How many endpoints one connection tries before it gives up.
const MAX_ATTEMPTS: usize = 8;

/// Whom to connect to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    Name(String),
    Ip(IpAddr),
}

/// Why a connection was not made.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    #[error(transparent)]
    Resolve(#[from] ResolveError),
    /// A Service without that port or without ready endpoints, or a Service address that belongs to none.
    #[error("connection refused: nothing serves {0}")]
    NothingThere(SocketAddr),
    /// Loopback outside the cluster's ranges, link-local, multicast; or outside the cluster where that is not allowed.
    #[error("connections to {0} are not allowed")]
    NotAllowed(SocketAddr),
    #[error("no answer from {address} within {limit:?}")]
    TimedOut { address: SocketAddr, limit: Duration },
    #[error("connecting to {address}")]
    Failed {
        address: SocketAddr,
        #[source]
        source: io::Error,
    },
}

impl ConnectError {
    /// The error a socket would give.
    #[must_use]
    pub fn kind(&self) -> io::ErrorKind {
        match self {
            Self::Resolve(ResolveError::NotFound(_) | ResolveError::Invalid(_)) => io::ErrorKind::NotFound,
            Self::Resolve(ResolveError::Failed { source, .. }) | Self::Failed { source, .. } => source.kind(),
            Self::Resolve(ResolveError::NotAllowed(_)) | Self::NotAllowed(_) => io::ErrorKind::PermissionDenied,
            Self::NothingThere(_) => io::ErrorKind::ConnectionRefused,
            Self::TimedOut { .. } => io::ErrorKind::TimedOut,
        }
    }
}

impl From<ConnectError> for io::Error {
    fn from(error: ConnectError) -> Self {
        Self::new(error.kind(), error)
    }
}

/// A connection that a pod made. Behind it is a TCP stream today; callers must not care.
#[derive(Debug)]
pub struct Connection {
    stream: TcpStream,
    remote: SocketAddr,
}

impl Connection {
    pub(crate) fn new(stream: TcpStream, remote: SocketAddr) -> Self {
        Self { stream, remote }
    }

    /// The address that was dialled: a Service's own, not the endpoint's behind it.
    #[must_use]
    pub fn remote_address(&self) -> SocketAddr {
        self.remote
    }

    /// # Errors
    /// As `getsockname(2)`.
    pub fn local_address(&self) -> io::Result<SocketAddr> {
        self.stream.local_addr()
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for Connection {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}

/// Connects to the first endpoint that answers, in the order that the Service's balancing gives. `dialled` is what
/// the client asked for; it is named when there is no endpoint at all.
pub(crate) async fn to_any(
    backends: &Backends,
    client: IpAddr,
    source: Option<Ipv4Addr>,
    dialled: SocketAddr,
    limit: Duration,
) -> Result<TcpStream, ConnectError> {
    let mut last = ConnectError::NothingThere(dialled);
    for endpoint in backends.candidates(client).into_iter().take(MAX_ATTEMPTS) {
        match to_one(SocketAddr::V4(endpoint), source, limit).await {
            Ok(stream) => return Ok(stream),
            Err(error) => {
                tracing::debug!(service = %dialled, %endpoint, %error, "endpoint not reachable, trying the next one");
                last = error;
            }
        }
    }
    Err(last)
}

/// Connects to `address`, from the pod's own address where the destination is on this host (a loopback source
/// cannot leave it).
pub(crate) async fn to_one(
    address: SocketAddr,
    source: Option<Ipv4Addr>,
    limit: Duration,
) -> Result<TcpStream, ConnectError> {
    let connecting = async {
        let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
        if let Some(source) = source.filter(|source| source.is_loopback() == address.ip().is_loopback()) {
            socket.bind(SocketAddr::V4(SocketAddrV4::new(source, 0)))?;
        }
        let stream = socket.connect(address).await?;
        stream.set_nodelay(true)?;
        Ok(stream)
    };
    match timeout(limit, connecting).await {
        Ok(result) => result.map_err(|source| ConnectError::Failed { address, source }),
        Err(_) => Err(ConnectError::TimedOut { address, limit }),
    }
}
