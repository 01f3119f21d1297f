//! The routing table: what the agent told about Services and endpoints, joined, as an immutable snapshot.
//!
//! [`Master`] is the writer's side (under the network's lock), [`Table`] what readers see. A table is replaced as a
//! whole, so a reader never sees a Service with half of its endpoints changed.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::net::{IpAddr, Ipv4Addr, SocketAddrV4};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::service::{Affinity, EndpointSlice, EndpointState, Service, ServiceAddress, ServiceKey};

/// What readers see. Cloning is cheap: the maps share their structure.
#[derive(Debug, Clone, Default)]
pub(crate) struct Table {
    by_key: imbl::HashMap<ServiceKey, Arc<Route>>,
    by_address: imbl::HashMap<Ipv4Addr, Arc<Route>>,
    /// How many Services send to an address because it is ready.
    sought: imbl::HashMap<Ipv4Addr, u32>,
}

/// A Service and its usable endpoints.
#[derive(Debug)]
pub(crate) struct Route {
    pub(crate) key: ServiceKey,
    pub(crate) address: ServiceAddress,
    pub(crate) ports: Vec<RoutePort>,
    /// Usable endpoints, in address order, with their `hostname`.
    pub(crate) hosts: Vec<(Ipv4Addr, Option<String>)>,
    /// Whether those are ready, or only the draining ones that are left.
    pub(crate) state: EndpointState,
}

impl Route {
    /// Addresses that clients are sent to as a matter of course, each once.
    fn sought(&self) -> BTreeSet<Ipv4Addr> {
        let ready = self.hosts.iter().filter(|_| self.state == EndpointState::Ready);
        ready.map(|(address, _)| *address).collect()
    }
}

#[derive(Debug, Clone)]
pub(crate) struct RoutePort {
    pub(crate) port: u16,
    pub(crate) backends: Arc<Backends>,
}

/// Where connections to one Service port go.
#[derive(Debug, Default)]
pub(crate) struct Backends {
    addresses: Vec<SocketAddrV4>,
    affinity: Affinity,
    next: AtomicUsize,
}

impl Backends {
    fn new(addresses: Vec<SocketAddrV4>, affinity: Affinity) -> Self {
        Self { addresses, affinity, next: AtomicUsize::new(rand::random_range(0..1 << 16)) }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.addresses.is_empty()
    }

    /// All endpoints in the order in which a connection from `client` should try them: round robin, or with
    /// affinity by highest random weight, so that a client keeps its endpoint when others come and go.
    pub(crate) fn candidates(&self, client: IpAddr) -> Vec<SocketAddrV4> {
        let mut order = self.addresses.clone();
        match self.affinity {
            Affinity::None if order.is_empty() => {}
            Affinity::None => {
                let start = self.next.fetch_add(1, Ordering::Relaxed) % order.len();
                order.rotate_left(start);
            }
            Affinity::ClientIp { .. } => order.sort_by_cached_key(|backend| weight(client, *backend)),
        }
        order
    }
}

/// The same for the same pair in every process of one build.
fn weight(client: IpAddr, backend: SocketAddrV4) -> u64 {
    let mut hasher = DefaultHasher::new();
    (client, backend).hash(&mut hasher);
    hasher.finish()
}

impl Table {
    pub(crate) fn by_key(&self, namespace: &str, name: &str) -> Option<&Arc<Route>> {
        self.by_key.get(&ServiceKey::new(namespace, name))
    }

    pub(crate) fn by_address(&self, address: Ipv4Addr) -> Option<&Arc<Route>> {
        self.by_address.get(&address)
    }

    /// Whether any Service sends clients to `address`. Not so where they come only because nobody else is left.
    pub(crate) fn is_sought(&self, address: Ipv4Addr) -> bool {
        self.sought.contains_key(&address)
    }

    /// Puts a Service's new route in the place of its old one; `None` takes it out.
    pub(crate) fn replace(&mut self, key: &ServiceKey, route: Option<Arc<Route>>) {
        let before = self.by_key.get(key).map(|old| old.sought()).unwrap_or_default();
        let after = route.as_ref().map(|new| new.sought()).unwrap_or_default();
        for address in after.difference(&before) {
            *self.sought.entry(*address).or_insert(0) += 1;
        }
        for address in before.difference(&after) {
            match self.sought.get(address) {
                Some(count) if *count > 1 => self.sought.insert(*address, count - 1),
                _ => self.sought.remove(address),
            };
        }
        let old = match &route {
            Some(route) => self.by_key.insert(key.clone(), Arc::clone(route)),
            None => self.by_key.remove(key),
        };
        if let Some(ServiceAddress::ClusterIp(address)) = old.as_ref().map(|old| &old.address)
            && self.by_address.get(address).is_some_and(|route| route.key == *key)
        {
            self.by_address.remove(address);
        }
        if let Some(route) = route
            && let ServiceAddress::ClusterIp(address) = route.address
        {
            self.by_address.insert(address, route);
        }
    }
}

/// Everything that was told, as it was told.
#[derive(Debug, Default)]
pub(crate) struct Master {
    services: HashMap<ServiceKey, Service>,
    /// Slices by Service, then by the slice's name. They may arrive before their Service.
    slices: HashMap<ServiceKey, BTreeMap<String, EndpointSlice>>,
}

impl Master {
    /// Whether this changed anything.
    pub(crate) fn set_service(&mut self, service: Service) -> Changed {
        let old = self.services.get(&service.key);
        let changed = Changed::from(old != Some(&service));
        self.services.insert(service.key.clone(), service);
        changed
    }

    pub(crate) fn remove_service(&mut self, key: &ServiceKey) -> Changed {
        Changed::from(self.services.remove(key).is_some())
    }

    pub(crate) fn set_slice(&mut self, slice: EndpointSlice) -> Changed {
        let slices = self.slices.entry(slice.service.clone()).or_default();
        let changed = Changed::from(slices.get(&slice.name) != Some(&slice));
        slices.insert(slice.name.clone(), slice);
        changed
    }

    pub(crate) fn remove_slice(&mut self, service: &ServiceKey, name: &str) -> Changed {
        let Some(slices) = self.slices.get_mut(service) else { return Changed::No };
        let changed = Changed::from(slices.remove(name).is_some());
        if slices.is_empty() {
            self.slices.remove(service);
        }
        changed
    }

    /// Replaces everything; returns the Services that this touched.
    pub(crate) fn replace_all(&mut self, services: Vec<Service>, slices: Vec<EndpointSlice>) -> BTreeSet<ServiceKey> {
        let mut new = Self::default();
        for service in services {
            new.set_service(service);
        }
        for slice in slices {
            new.set_slice(slice);
        }
        let keys: BTreeSet<ServiceKey> = [&*self, &new]
            .into_iter()
            .flat_map(|side| side.services.keys().chain(side.slices.keys()))
            .cloned()
            .collect();
        let touched = keys
            .into_iter()
            .filter(|key| {
                self.services.get(key) != new.services.get(key) || self.slices.get(key) != new.slices.get(key)
            })
            .collect();
        *self = new;
        touched
    }

    /// The route of a Service, if there is one: its ports joined with its endpoints' ports by name. Endpoints whose
    /// address `usable` refuses are left out.
    pub(crate) fn route(&self, key: &ServiceKey, usable: impl Fn(Ipv4Addr) -> bool) -> Option<Arc<Route>> {
        let service = self.services.get(key)?;
        let slices = || self.slices.get(key).into_iter().flat_map(BTreeMap::values);
        let any_ready =
            slices().flat_map(|slice| &slice.endpoints).any(|endpoint| endpoint.state == EndpointState::Ready);
        let wanted = if any_ready { EndpointState::Ready } else { EndpointState::Draining };
        let endpoints = |slice: &EndpointSlice| -> Vec<(Ipv4Addr, Option<String>)> {
            let chosen = slice.endpoints.iter().filter(|endpoint| endpoint.state == wanted && usable(endpoint.address));
            chosen.map(|endpoint| (endpoint.address, endpoint.hostname.clone())).collect()
        };
        let ports = service.ports.iter().map(|service_port| {
            let mut addresses = BTreeSet::new();
            for slice in slices() {
                for slice_port in slice.ports.iter().filter(|port| port.name == service_port.name) {
                    addresses
                        .extend(endpoints(slice).into_iter().map(|(ip, _)| SocketAddrV4::new(ip, slice_port.port)));
                }
            }
            let backends = Backends::new(addresses.into_iter().collect(), service.affinity);
            RoutePort { port: service_port.port, backends: Arc::new(backends) }
        });
        let hosts: BTreeSet<(Ipv4Addr, Option<String>)> = slices().flat_map(endpoints).collect();
        Some(Arc::new(Route {
            key: key.clone(),
            address: service.address.clone(),
            ports: ports.collect(),
            hosts: hosts.into_iter().collect(),
            state: wanted,
        }))
    }
}

/// Whether an update said anything new.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Changed {
    Yes,
    No,
}

impl From<bool> for Changed {
    fn from(changed: bool) -> Self {
        if changed { Self::Yes } else { Self::No }
    }
}

#[cfg(test)]
#[path = "table_tests.rs"]
mod tests;
