//! One pod's network: its address, and all that its guests may do with it.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4};
use std::sync::Arc;

use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::time::Instant;
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::connect::{self, ConnectError, Connection, Target};
use crate::names::{self, Lookup, ResolveError};
use crate::network::{External, Network};

/// How many ExternalName Services may point at each other.
const MAX_ALIASES: usize = 8;
/// Connections the kernel keeps waiting for `accept`.
const BACKLOG: u32 = 1024;

/// Which pod.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct PodKey {
    pub namespace: String,
    pub name: String,
    pub uid: String,
}

/// A pod's place in the network, from [`Network::attach`].
///
/// Dropping it closes the pod's listeners. The address is free again when the last of them is dropped too, and then
/// rests for [`crate::Config::quarantine`]. Connections that were made go on until their owners drop them.
#[derive(Debug)]
pub struct PodNet {
    key: PodKey,
    lease: Arc<Lease>,
    closed: DropGuard,
}

/// Holds the pod's address.
#[derive(Debug)]
struct Lease {
    network: Arc<Network>,
    node: String,
    address: Ipv4Addr,
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.network.give_back(&self.node, self.address, Instant::now());
    }
}

impl PodNet {
    pub(crate) fn new(network: Arc<Network>, key: PodKey, node: &str, address: Ipv4Addr) -> Self {
        let lease = Arc::new(Lease { network, node: node.to_owned(), address });
        Self { key, lease, closed: CancellationToken::new().drop_guard() }
    }

    /// The pod's address.
    #[must_use]
    pub fn ip(&self) -> Ipv4Addr {
        self.lease.address
    }

    #[must_use]
    pub fn key(&self) -> &PodKey {
        &self.key
    }

    /// Whether a Service sends clients here because this pod is ready.
    #[must_use]
    pub fn is_sought(&self) -> bool {
        self.lease.network.table().is_sought(self.ip())
    }

    /// Waits until no Service does. Connections may be under way still.
    pub async fn unsought(&self) {
        self.lease.network.unsought(self.ip()).await;
    }

    /// Listens on the pod's address; port 0 picks a free one.
    ///
    /// # Errors
    /// As `bind(2)`: the port is in use in this pod, or it is a privileged one and this process may not have it.
    pub fn listen(&self, port: u16) -> io::Result<Listener> {
        let socket = TcpSocket::new_v4()?;
        socket.set_reuseaddr(true)?;
        socket.bind(SocketAddr::V4(SocketAddrV4::new(self.ip(), port)))?;
        let inner = socket.listen(BACKLOG)?;
        Ok(Listener { inner, closed: self.closed.token().clone(), _lease: Arc::clone(&self.lease) })
    }

    /// Connects as this pod: to a Service's endpoint directly, to another pod, to itself (loopback addresses
    /// mean the pod's own), or to the outside.
    ///
    /// # Errors
    /// [`ConnectError`]; its `kind` is what a socket would have said.
    pub async fn connect(&self, target: &Target, port: u16) -> Result<Connection, ConnectError> {
        let addresses = match target {
            Target::Ip(address) => vec![*address],
            Target::Name(name) => self.resolve(name).await?,
        };
        let mut last = None;
        for address in addresses {
            match self.connect_ip(address, port).await {
                Ok(connection) => return Ok(connection),
                Err(error) => last = Some(error),
            }
        }
        Err(last.unwrap_or_else(|| ResolveError::NotFound(format!("{target:?}")).into()))
    }

    async fn connect_ip(&self, address: IpAddr, port: u16) -> Result<Connection, ConnectError> {
        let network = &self.lease.network;
        let limit = network.config().connect_timeout;
        let dialled = SocketAddr::new(address, port);
        let source = Some(self.ip());
        let stream = match self.way(address) {
            Way::Forbidden => return Err(ConnectError::NotAllowed(dialled)),
            Way::Direct(address) => connect::to_one(SocketAddr::new(address, port), source, limit).await?,
            Way::Service(address) => {
                let table = network.table();
                let route = table.by_address(address);
                let served = route.and_then(|route| route.ports.iter().find(|served| served.port == port));
                let backends = Arc::clone(&served.ok_or(ConnectError::NothingThere(dialled))?.backends);
                drop(table);
                connect::to_any(&backends, IpAddr::V4(self.ip()), source, dialled, limit).await?
            }
        };
        Ok(Connection::new(stream, dialled))
    }

    /// Where an address leads from inside this pod.
    fn way(&self, address: IpAddr) -> Way {
        let config = self.lease.network.config();
        let external = |forbidden: bool| match config.external {
            External::Allow if !forbidden => Way::Direct(address),
            _ => Way::Forbidden,
        };
        match address.to_canonical() {
            IpAddr::V6(Ipv6Addr::LOCALHOST | Ipv6Addr::UNSPECIFIED) => Way::Direct(IpAddr::V4(self.ip())),
            IpAddr::V4(Ipv4Addr::LOCALHOST | Ipv4Addr::UNSPECIFIED) => Way::Direct(IpAddr::V4(self.ip())),
            IpAddr::V4(v4) if self.lease.network.is_service(v4) => Way::Service(v4),
            IpAddr::V4(v4) if config.cluster_cidr.contains(v4) => Way::Direct(IpAddr::V4(v4)),
            IpAddr::V4(v4) => {
                external(v4.is_loopback() || v4.is_link_local() || v4.is_multicast() || v4.is_broadcast())
            }
            IpAddr::V6(v6) => external(v6.is_unicast_link_local() || v6.is_multicast()),
        }
    }

    /// The addresses of `name`, as a pod in this namespace sees it.
    ///
    /// # Errors
    /// [`ResolveError`].
    pub async fn resolve(&self, name: &str) -> Result<Vec<IpAddr>, ResolveError> {
        if name.eq_ignore_ascii_case("localhost") {
            return Ok(vec![IpAddr::V4(Ipv4Addr::LOCALHOST)]);
        }
        if name == self.key.name {
            return Ok(vec![IpAddr::V4(self.ip())]);
        }
        let network = &self.lease.network;
        let mut wanted = name.to_owned();
        for _ in 0..MAX_ALIASES {
            let domain = &network.config().cluster_domain;
            let found = names::lookup(&network.table(), domain, &self.key.namespace, &wanted)?;
            match found {
                Lookup::Addresses(addresses) => return Ok(addresses),
                Lookup::NotFound => break,
                Lookup::External(outside) => return network.resolve_outside(&outside).await,
                Lookup::Alias(alias) => wanted = format!("{}.", alias.trim_end_matches('.')),
            }
        }
        Err(ResolveError::NotFound(name.to_owned()))
    }
}

/// Where an address leads.
enum Way {
    Service(Ipv4Addr),
    Direct(IpAddr),
    Forbidden,
}

/// A pod's listening socket.
#[derive(Debug)]
pub struct Listener {
    inner: TcpListener,
    closed: CancellationToken,
    _lease: Arc<Lease>,
}

impl Listener {
    /// The next connection. Cancel-safe.
    ///
    /// # Errors
    /// `ConnectionAborted` once the pod is gone; else as `accept(2)`, of which most errors pass.
    pub async fn accept(&self) -> io::Result<(TcpStream, SocketAddr)> {
        tokio::select! {
            biased;
            () = self.closed.cancelled() => Err(io::Error::new(io::ErrorKind::ConnectionAborted, "the pod is gone")),
            accepted = self.inner.accept() => accepted,
        }
    }

    /// # Errors
    /// As `getsockname(2)`.
    pub fn local_address(&self) -> io::Result<SocketAddr> {
        self.inner.local_addr()
    }
}
