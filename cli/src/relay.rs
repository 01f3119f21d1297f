//! One address for all servers of a cluster: a relay on loopback that passes each connection on to a server that answers.
//! So a node goes on when the server dies that it was started with, as long as there is another one.
//!
//! Invariant: the relay sees bytes only. TLS goes from the node to the server, and whoever else on this machine connects
//! to the relay can do no more than by connecting to the server.

use anyhow::{Context as _, Result};
use futures::{StreamExt as _, TryStreamExt as _};
use kube::api::{Api, ListParams, WatchEvent, WatchParams};
use kube::{Client, Config};
use scheduler::api::k8s_openapi::api::discovery::v1::EndpointSlice;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tracing::Instrument as _;

/// The EndpointSlices of the API's own Service.
const OF_THE_API: &str = "kubernetes.io/service-name=kubernetes";
/// A name that the certificate of every server of a cluster carries.
const SERVER_NAME: &str = "kubernetes.default.svc";
/// How long a server may take to be connected to.
const CONNECT: Duration = Duration::from_secs(3);
/// Between two attempts to follow which servers there are.
const LOOK: Duration = Duration::from_secs(2);
/// Servers that are remembered, and connections that are passed on at once.
const SERVERS: usize = 64;
const CONNECTIONS: usize = 1_024;

/// A relay in this process; it ends with its token.
pub struct Relay {
    address: SocketAddr,
    servers: Arc<Servers>,
    token: CancellationToken,
}

/// The servers that are known, as `host:port`, the one that answered last first.
#[derive(Default)]
struct Servers(Mutex<Vec<String>>);

impl Relay {
    /// Listens, and passes connections on to `servers`.
    pub async fn start(servers: Vec<String>, token: CancellationToken) -> Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.context("cannot listen on loopback")?;
        let address = listener.local_addr()?;
        let servers = Arc::new(Servers(Mutex::new(servers)));
        let work = serve(listener, Arc::clone(&servers), token.clone());
        tokio::spawn(work.instrument(tracing::info_span!("relay")));
        Ok(Self { address, servers, token })
    }

    /// `config`, by way of the relay.
    pub fn through(&self, config: &Config) -> Result<Config> {
        let mut config = config.clone();
        config.cluster_url = format!("https://{}", self.address).parse()?;
        config.tls_server_name = Some(SERVER_NAME.into());
        Ok(config)
    }

    /// Keeps the list of servers as the cluster has it.
    pub fn follow(self, client: Client) {
        let loopback = self.servers.known().first().is_some_and(|server| is_loopback(server));
        tokio::spawn(
            async move {
                loop {
                    let followed = self.token.run_until_cancelled(self.servers.follow(&client, loopback)).await;
                    if let Some(Err(error)) = followed {
                        tracing::debug!(%error, "the cluster's servers cannot be followed");
                    }
                    if self.token.run_until_cancelled(tokio::time::sleep(LOOK)).await.is_none() {
                        return;
                    }
                }
            }
            .instrument(tracing::info_span!("servers")),
        );
    }
}

impl Servers {
    fn known(&self) -> MutexGuard<'_, Vec<String>> {
        // A list is whole between any two statements.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Learns the servers that the cluster lists, and those that join it, until the watch ends.
    async fn follow(&self, client: &Client, loopback: bool) -> Result<()> {
        let slices: Api<EndpointSlice> = Api::namespaced(client.clone(), "default");
        let list = slices.list(&ListParams::default().labels(OF_THE_API)).await?;
        list.items.iter().for_each(|slice| self.learn(servers_in(slice), loopback));
        let version = list.metadata.resource_version.unwrap_or_default();
        let mut events = slices.watch(&WatchParams::default().labels(OF_THE_API), &version).await?.boxed();
        while let Some(event) = events.try_next().await? {
            match event {
                WatchEvent::Added(slice) | WatchEvent::Modified(slice) => self.learn(servers_in(&slice), loopback),
                WatchEvent::Error(status) => return Err(kube::Error::Api(status).into()),
                WatchEvent::Deleted(_) | WatchEvent::Bookmark(_) => {}
            }
        }
        Ok(())
    }

    /// The servers that the cluster lists come after those that answered. An address of loopback is some other machine's
    /// own, unless that is how we came here.
    fn learn(&self, listed: Vec<String>, loopback: bool) {
        let mut known = self.known();
        for server in listed.into_iter().filter(|server| loopback || !is_loopback(server)) {
            if !known.contains(&server) && known.len() < SERVERS {
                tracing::info!(server, "another server of the cluster");
                known.push(server);
            }
        }
    }

    /// A connection to the first server that answers.
    async fn dial(&self) -> Option<TcpStream> {
        let servers = self.known().clone();
        for server in servers {
            match tokio::time::timeout(CONNECT, TcpStream::connect(&server)).await {
                Ok(Ok(stream)) => {
                    self.prefer(&server);
                    return Some(stream);
                }
                Ok(Err(error)) => tracing::debug!(server, %error, "does not answer"),
                Err(_) => tracing::debug!(server, "does not answer in time"),
            }
        }
        None
    }

    fn prefer(&self, server: &str) {
        let mut known = self.known();
        if let Some(at) = known.iter().position(|known| known == server).filter(|at| *at > 0) {
            tracing::info!(server, "going on with another server");
            known[..=at].rotate_right(1);
        }
    }
}

async fn serve(listener: TcpListener, servers: Arc<Servers>, token: CancellationToken) {
    let places = Arc::new(Semaphore::new(CONNECTIONS));
    loop {
        let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
        let accepted = tokio::select! {
            () = token.cancelled() => return,
            accepted = listener.accept() => accepted,
        };
        let Ok((mut near, _)) = accepted else {
            // Out of file descriptors, mostly.
            tokio::time::sleep(Duration::from_millis(50)).await;
            continue;
        };
        let (servers, token) = (Arc::clone(&servers), token.clone());
        let work = async move {
            let _place = place;
            let Some(mut far) = servers.dial().await else { return };
            _ = near.set_nodelay(true);
            _ = far.set_nodelay(true);
            let copied = token.run_until_cancelled(tokio::io::copy_bidirectional(&mut near, &mut far)).await;
            if let Some(Err(error)) = copied {
                tracing::debug!(%error, "a connection broke");
            }
        };
        tokio::spawn(work.in_current_span());
    }
}

/// The servers in one slice, as `host:port`.
fn servers_in(slice: &EndpointSlice) -> Vec<String> {
    let port = slice.ports.iter().flatten().find_map(|port| port.port);
    let addresses = slice.endpoints.iter().flatten().flat_map(|endpoint| &endpoint.addresses);
    port.map(|port| addresses.map(|address| format!("{address}:{port}")).collect()).unwrap_or_default()
}

/// `host:port` of a kubeconfig's server; `None` for what a relay cannot pass on.
pub fn server_of(config: &Config) -> Option<String> {
    let url = &config.cluster_url;
    let https = url.scheme_str() == Some("https") && config.proxy_url.is_none();
    https.then(|| Some(format!("{}:{}", url.host()?, url.port_u16().unwrap_or(443)))).flatten()
}

fn is_loopback(server: &str) -> bool {
    let host = server.rsplit_once(':').map_or(server, |(host, _)| host);
    host == "localhost" || host.trim_matches(['[', ']']).parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    async fn server(text: &'static str) -> (String, tokio::task::JoinHandle<()>) {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let task = tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                _ = stream.write_all(text.as_bytes()).await;
            }
        });
        (address, task)
    }

    async fn read(relay: &Relay) -> String {
        let mut text = String::new();
        TcpStream::connect(relay.address).await.unwrap().read_to_string(&mut text).await.unwrap();
        text
    }

    #[tokio::test]
    async fn a_connection_goes_to_a_server_that_answers() {
        let ((one, first), (two, _second)) = (server("one").await, server("two").await);
        let token = CancellationToken::new();
        let relay = Relay::start(vec![one.clone()], token.clone()).await.unwrap();
        assert_eq!(read(&relay).await, "one");
        relay.servers.learn(vec![one.clone(), two.clone()], true);
        assert_eq!(read(&relay).await, "one", "what works is kept");
        first.abort();
        _ = first.await;
        assert_eq!(read(&relay).await, "two");
        assert_eq!(*relay.servers.known(), [two, one]);
        token.cancel();
    }

    #[test]
    fn other_machines_loopback_is_not_ours() {
        let servers = Servers(Mutex::new(vec!["10.0.0.1:6443".into()]));
        servers.learn(vec!["127.0.0.1:6443".into(), "10.0.0.2:6443".into()], false);
        assert_eq!(*servers.known(), ["10.0.0.1:6443", "10.0.0.2:6443"]);
        assert!(is_loopback("[::1]:6443") && is_loopback("localhost:1") && !is_loopback("example.com:443"));
    }
}
