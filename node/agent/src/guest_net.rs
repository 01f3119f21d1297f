//! The pod's network as its guests see it: the runtime's port, filled with `network`'s pod.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use async_trait::async_trait;
use network::{Listener, PodNet};
use runtime::{Connection, GuestListener, GuestNetwork, Target};

/// Joins [`PodNet`] to [`GuestNetwork`].
pub struct PodNetwork(pub Arc<PodNet>);

#[async_trait]
impl GuestNetwork for PodNetwork {
    fn ip(&self) -> IpAddr {
        IpAddr::V4(self.0.ip())
    }

    async fn connect(&self, target: Target, port: u16) -> io::Result<Connection> {
        let target = match target {
            Target::Name(name) => network::Target::Name(name),
            Target::Ip(ip) => network::Target::Ip(ip),
        };
        let connection = self.0.connect(&target, port).await?;
        let (local, peer) = (connection.local_address()?, connection.remote_address());
        Ok(Connection { io: Box::new(connection), local, peer })
    }

    async fn listen(&self, port: u16) -> io::Result<Box<dyn GuestListener>> {
        let listener = self.0.listen(port)?;
        let local = listener.local_address()?;
        Ok(Box::new(PodListener { listener, local }))
    }

    async fn resolve(&self, name: &str) -> io::Result<Vec<IpAddr>> {
        self.0.resolve(name).await.map_err(|e| network::ConnectError::from(e).into())
    }
}

struct PodListener {
    listener: Listener,
    local: SocketAddr,
}

#[async_trait]
impl GuestListener for PodListener {
    fn local_addr(&self) -> SocketAddr {
        self.local
    }

    async fn accept(&self) -> io::Result<Connection> {
        let (stream, peer) = self.listener.accept().await?;
        let local = stream.local_addr()?;
        Ok(Connection { io: Box::new(stream), local, peer })
    }
}
