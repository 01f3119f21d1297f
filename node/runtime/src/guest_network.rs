//! The port through which guests reach the network. Implemented by the agent over `network`;
//! this crate never opens a socket of its own for a guest.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use async_trait::async_trait;
use tokio::io::{AsyncRead, AsyncWrite};

/// A byte stream: a TCP connection, or anything that behaves like one.
pub trait Io: AsyncRead + AsyncWrite + Send + Unpin + 'static {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin + 'static> Io for T {}

/// A boxed byte stream.
pub type BoxIo = Box<dyn Io>;

/// Where a guest wants to connect to.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Target {
    /// A host name as the guest wrote it, to be resolved by the pod's rules.
    Name(String),
    /// An address.
    Ip(IpAddr),
}

/// The network of one pod.
///
/// Errors keep their [`io::ErrorKind`] or errno into the guest: `ConnectionRefused`,
/// `AddrInUse`, `PermissionDenied` (policy), `HostUnreachable`, `TimedOut`, `NotFound` for an
/// unknown name.
#[async_trait]
pub trait GuestNetwork: Send + Sync + 'static {
    /// The pod's address, which a bind to the unspecified address means.
    fn ip(&self) -> IpAddr;

    /// Opens a connection. Cancelled by dropping the future.
    async fn connect(&self, target: Target, port: u16) -> io::Result<Connection>;

    /// Listens on the pod's address. Port 0 picks a free one. The listener closes on drop.
    async fn listen(&self, port: u16) -> io::Result<Box<dyn GuestListener>>;

    /// All addresses of a name, best first; an empty answer counts as not found.
    async fn resolve(&self, name: &str) -> io::Result<Vec<IpAddr>>;
}

/// An open connection.
pub struct Connection {
    /// The bytes.
    pub io: BoxIo,
    /// Our end, as the guest shall see it.
    pub local: SocketAddr,
    /// The other end, as the guest shall see it.
    pub peer: SocketAddr,
}

/// A listening socket of a guest.
#[async_trait]
pub trait GuestListener: Send + Sync + 'static {
    /// The address that peers connect to.
    fn local_addr(&self) -> SocketAddr;

    /// The next connection. Cancel-safe.
    async fn accept(&self) -> io::Result<Connection>;
}

/// A network without anything on it: every call is refused with `PermissionDenied`.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoNetwork;

fn denied<T>() -> io::Result<T> {
    Err(io::Error::new(io::ErrorKind::PermissionDenied, "this container has no network"))
}

#[async_trait]
impl GuestNetwork for NoNetwork {
    fn ip(&self) -> IpAddr {
        IpAddr::V4(Ipv4Addr::UNSPECIFIED)
    }

    async fn connect(&self, _target: Target, _port: u16) -> io::Result<Connection> {
        denied()
    }

    async fn listen(&self, _port: u16) -> io::Result<Box<dyn GuestListener>> {
        denied()
    }

    async fn resolve(&self, _name: &str) -> io::Result<Vec<IpAddr>> {
        denied()
    }
}
