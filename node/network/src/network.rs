//! The network of one process: what exists, and the operations on it.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddrV4};
use std::sync::Arc;
use std::time::Duration;

use arc_swap::{ArcSwap, Guard};
use parking_lot::Mutex;
use tokio::runtime::Handle;
use tokio::sync::{Semaphore, broadcast, watch};
use tokio::time::{Instant, timeout};
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::Cidr;
use crate::address::{AttachError, Pools, RangeError};
use crate::names::ResolveError;
use crate::pod::{PodKey, PodNet};
use crate::proxy::{ListenFailure, ListenState, Proxy, Shared};
use crate::service::{EndpointSlice, Service, ServiceAddress, ServiceKey};
use crate::table::{Changed, Master, Table};

/// Failures to listen that a slow reader may be behind; older ones are lost to it.
const FAILURES: usize = 256;

/// How the network is laid out.
#[derive(Debug, Clone)]
pub struct Config {
    /// All pods' addresses, of every node (`--cluster-cidr`).
    pub cluster_cidr: Cidr,
    /// Services' addresses (`--service-cluster-ip-range`), beside [`Network::set_service_ranges`].
    pub service_cidr: Cidr,
    /// Without a leading or trailing dot.
    pub cluster_domain: String,
    /// Whether guests may leave the cluster.
    pub external: External,
    /// How long a pod's address rests before another pod gets it.
    pub quarantine: Duration,
    /// For one endpoint; and for a name outside the cluster.
    pub connect_timeout: Duration,
    /// The most connections that host processes may have through Services at once; further ones wait.
    pub max_connections: usize,
}

/// Whether guests may reach what is outside the cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum External {
    /// Anything but the host's loopback and link-local addresses.
    Allow,
    Deny,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            cluster_cidr: Cidr::new(Ipv4Addr::new(127, 64, 0, 0), 12),
            service_cidr: Cidr::new(Ipv4Addr::new(127, 96, 0, 0), 12),
            cluster_domain: "cluster.local".to_owned(),
            external: External::Allow,
            quarantine: Duration::from_secs(30),
            connect_timeout: Duration::from_secs(5),
            max_connections: 8_192,
        }
    }
}

/// The network of one process, shared by all its nodes.
#[derive(Debug)]
pub struct Network {
    config: Config,
    runtime: Handle,
    pools: Mutex<Pools>,
    control: Mutex<Control>,
    table: ArcSwap<Table>,
    service_ranges: ArcSwap<Vec<Cidr>>,
    /// Counts the tables.
    changes: watch::Sender<u64>,
    shared: Shared,
    _shutdown: DropGuard,
}

/// What a writer changes, under one lock: what was told, and the proxies that follow from it.
#[derive(Debug, Default)]
struct Control {
    master: Master,
    proxies: HashMap<SocketAddrV4, (ServiceKey, Proxy)>,
}

impl Network {
    /// The tasks of the network run on the tokio runtime that this is called in.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    #[must_use]
    pub fn new(config: Config) -> Arc<Self> {
        let shutdown = CancellationToken::new();
        let shared = Shared {
            connections: Arc::new(Semaphore::new(config.max_connections)),
            connect_timeout: config.connect_timeout,
            failures: broadcast::Sender::new(FAILURES),
            shutdown: shutdown.clone(),
        };
        Arc::new(Self {
            config,
            runtime: Handle::current(),
            pools: Mutex::default(),
            control: Mutex::default(),
            table: ArcSwap::default(),
            service_ranges: ArcSwap::default(),
            changes: watch::Sender::new(0),
            shared,
            _shutdown: shutdown.drop_guard(),
        })
    }

    #[must_use]
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// Gives a node its range of pod addresses (`spec.podCIDR`). The same again changes nothing; another one replaces
    /// it for pods to come.
    ///
    /// # Errors
    /// [`RangeError`] if it overlaps another node's, or lies outside the cluster's range.
    pub fn add_pod_range(&self, node: &str, range: Cidr) -> Result<(), RangeError> {
        let cluster = self.config.cluster_cidr;
        if !(cluster.contains(range.first()) && range.prefix() >= cluster.prefix()) {
            return Err(RangeError::Outside { node: node.to_owned(), range, cluster });
        }
        self.pools.lock().add(node, range)
    }

    /// Forgets a node's range. Its pods keep their addresses until they end.
    pub fn remove_pod_range(&self, node: &str) {
        self.pools.lock().remove(node);
    }

    /// Gives a pod on `node` an address and a view of the network.
    ///
    /// # Errors
    /// [`AttachError`]: the node has no range yet, or no free address.
    pub fn attach(self: &Arc<Self>, key: PodKey, node: &str) -> Result<PodNet, AttachError> {
        let address = self.pools.lock().take(node, Instant::now(), self.config.quarantine)?;
        Ok(PodNet::new(Arc::clone(self), key, node, address))
    }

    /// Tells what a Service is now. Endpoints come separately, before or after. The same again changes nothing.
    pub fn set_service(&self, service: Service) {
        let mut control = self.control.lock();
        let key = service.key.clone();
        let changed = control.master.set_service(service);
        self.publish(&mut control, changed, [key]);
    }

    /// Tells that a Service is gone.
    pub fn remove_service(&self, key: &ServiceKey) {
        let mut control = self.control.lock();
        let changed = control.master.remove_service(key);
        self.publish(&mut control, changed, [key.clone()]);
    }

    /// Tells what an EndpointSlice is now.
    pub fn set_endpoints(&self, slice: EndpointSlice) {
        let mut control = self.control.lock();
        let key = slice.service.clone();
        let changed = control.master.set_slice(slice);
        self.publish(&mut control, changed, [key]);
    }

    /// Tells that the EndpointSlice `name` of `service` is gone.
    pub fn remove_endpoints(&self, service: &ServiceKey, name: &str) {
        let mut control = self.control.lock();
        let changed = control.master.remove_slice(service, name);
        self.publish(&mut control, changed, [service.clone()]);
    }

    /// Tells everything at once, after a list: what is not named is gone.
    pub fn replace_all(&self, services: Vec<Service>, slices: Vec<EndpointSlice>) {
        let mut control = self.control.lock();
        let touched = control.master.replace_all(services, slices);
        self.publish(&mut control, Changed::Yes, touched);
    }

    /// What a Service's addresses and ports are doing on this host; empty for one without a cluster IP.
    #[must_use]
    pub fn listen_states(&self, service: &ServiceKey) -> Vec<(SocketAddrV4, ListenState)> {
        let control = self.control.lock();
        let own = control.proxies.iter().filter(|(_, (key, _))| key == service);
        let mut states: Vec<_> = own.map(|(address, (_, proxy))| (*address, proxy.state())).collect();
        states.sort_by_key(|(address, _)| *address);
        states
    }

    /// Tells of each Service address that cannot be listened on, from now on.
    #[must_use]
    pub fn listen_failures(&self) -> broadcast::Receiver<ListenFailure> {
        self.shared.failures.subscribe()
    }

    /// Tells which ranges Services' addresses come from beside [`Config::service_cidr`]: a guest that dials one that no
    /// Service has is refused, and does not leave the cluster.
    pub fn set_service_ranges(&self, ranges: Vec<Cidr>) {
        self.service_ranges.store(Arc::new(ranges));
    }

    /// Publishes the routes of `keys` in one new table, then brings the proxies in line.
    fn publish(&self, control: &mut Control, changed: Changed, keys: impl IntoIterator<Item = ServiceKey>) {
        if changed == Changed::No {
            return;
        }
        let _runtime = self.runtime.enter();
        let mut table = Table::clone(&self.table.load());
        let keys: Vec<ServiceKey> = keys.into_iter().collect();
        for key in &keys {
            let usable = |address| self.may_be_endpoint(key, address);
            table.replace(key, control.master.route(key, usable));
        }
        for key in &keys {
            self.align_proxies(control, key, &table);
        }
        self.table.store(Arc::new(table));
        self.changes.send_modify(|count| *count += 1);
    }

    /// One proxy for each port of the Service's address: new ones started, changed ones told, others dropped.
    fn align_proxies(&self, control: &mut Control, key: &ServiceKey, table: &Table) {
        let mut wanted = HashMap::new();
        if let Some(route) = table.by_key(&key.namespace, &key.name)
            && let ServiceAddress::ClusterIp(address) = route.address
        {
            wanted.extend(route.ports.iter().map(|port| (SocketAddrV4::new(address, port.port), &port.backends)));
        }
        control.proxies.retain(|address, (owner, _)| owner != key || wanted.contains_key(address));
        for (address, backends) in wanted {
            match control.proxies.get(&address) {
                Some((owner, proxy)) if owner == key => proxy.update(Arc::clone(backends)),
                _ => {
                    let proxy = Proxy::start((key.clone(), address), Arc::clone(backends), self.shared.clone());
                    control.proxies.insert(address, (key.clone(), proxy));
                }
            }
        }
    }

    /// A Service must not be a way to the host's own loopback sockets: of loopback addresses only pods' count. The one
    /// exception is the API server itself, whose endpoints nobody but administrators may write.
    fn may_be_endpoint(&self, key: &ServiceKey, address: Ipv4Addr) -> bool {
        !address.is_loopback()
            || self.config.cluster_cidr.contains(address)
            || (key.namespace == "default" && key.name == "kubernetes")
    }

    pub(crate) fn table(&self) -> Guard<Arc<Table>> {
        self.table.load()
    }

    /// Whether an address is a Service's, or reserved for one.
    pub(crate) fn is_service(&self, address: Ipv4Addr) -> bool {
        self.config.service_cidr.contains(address)
            || self.table.load().by_address(address).is_some()
            || self.service_ranges.load().iter().any(|range| range.contains(address))
    }

    /// Waits until no Service of this process sends clients to `address`.
    pub(crate) async fn unsought(&self, address: Ipv4Addr) {
        let mut changes = self.changes.subscribe();
        while self.table.load().is_sought(address) {
            // The sender is in `self`: it can't be gone.
            let _ = changes.changed().await;
        }
    }

    pub(crate) fn give_back(&self, node: &str, address: Ipv4Addr, now: Instant) {
        self.pools.lock().give_back(node, address, now);
    }

    /// Asks the host's resolver.
    pub(crate) async fn resolve_outside(&self, name: &str) -> Result<Vec<IpAddr>, ResolveError> {
        if self.config.external == External::Deny {
            return Err(ResolveError::NotAllowed(name.to_owned()));
        }
        let failed = |source| ResolveError::Failed { name: name.to_owned(), source };
        let looked_up = timeout(self.config.connect_timeout, tokio::net::lookup_host((name, 0))).await;
        let found = looked_up.map_err(|elapsed| failed(elapsed.into()))?.map_err(failed)?;
        let mut addresses: Vec<IpAddr> = found.map(|address| address.ip()).collect();
        addresses.dedup();
        if addresses.is_empty() { Err(ResolveError::NotFound(name.to_owned())) } else { Ok(addresses) }
    }
}

/// For tests: address ranges that tests running beside this one do not use.
#[cfg(test)]
pub(crate) mod testing {
    use std::sync::LazyLock;
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    /// A /24 in 127.112.0.0/12, outside both default ranges: another one at each call, from a random start, so that
    /// neither tests of this process nor (most likely) those of another meet.
    pub(crate) fn random_range() -> Cidr {
        static NEXT: LazyLock<AtomicU32> = LazyLock::new(|| AtomicU32::new(rand::random()));
        let [_, _, high, low] = NEXT.fetch_add(1, Ordering::Relaxed).to_be_bytes();
        Cidr::new(Ipv4Addr::new(127, 112 + high % 15, low, 0), 24)
    }
}

#[cfg(test)]
#[path = "network_tests.rs"]
mod tests;
