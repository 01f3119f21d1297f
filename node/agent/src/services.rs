//! Tells the network what Services and endpoints exist: one watch of each per process, whatever the
//! number of nodes in it. Also remembers what containers' service variables need. Where their addresses come from, and
//! which of them this host has no use for: [`crate::service_ranges`].

use std::collections::{BTreeMap, HashMap, HashSet};
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use api::k8s_openapi::api::core::v1::Service;
use api::k8s_openapi::api::discovery::v1::EndpointSlice;
use futures::StreamExt;
use kube::runtime::watcher::Event;
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Api, Client};
use network::{Affinity, Endpoint, EndpointPort, EndpointState, Network, ServiceAddress, ServiceKey, ServicePort};
use parking_lot::RwLock;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::env::services::ServiceLink;
use crate::service_ranges;

const SERVICE_NAME: &str = "kubernetes.io/service-name";
/// How long a container's start waits for the first list of Services.
const FIRST_LIST: Duration = Duration::from_secs(5);
/// Kubernetes' default for `ClientIP` affinity.
const AFFINITY_SECONDS: i32 = 10_800;

/// Feeds one [`Network`]. Run once per process, share with all its agents.
pub struct ServiceSync {
    client: Client,
    network: Arc<Network>,
    /// By namespace, then name.
    links: RwLock<HashMap<String, BTreeMap<String, ServiceLink>>>,
    listed: watch::Sender<bool>,
}

impl ServiceSync {
    pub fn new(client: Client, network: Arc<Network>) -> Arc<Self> {
        Arc::new(Self { client, network, links: RwLock::default(), listed: watch::Sender::new(false) })
    }

    /// Follows Services and EndpointSlices until cancelled.
    pub async fn run(&self, stop: CancellationToken) {
        tokio::select! {
            () = self.follow_services() => {}
            () = self.follow_slices() => {}
            () = service_ranges::follow(&self.client, &self.network) => {}
            () = service_ranges::tell_of_failures(&self.client, &self.network, stop.clone()) => {}
            () = stop.cancelled() => {}
        }
    }

    /// What a pod in `namespace` may see as variables: its namespace's Services, and `default`'s
    /// `kubernetes`.
    pub async fn links(&self, namespace: &str) -> Vec<ServiceLink> {
        let mut listed = self.listed.subscribe();
        if tokio::time::timeout(FIRST_LIST, listed.wait_for(|l| *l)).await.is_err() {
            tracing::warn!("Services are not known yet: containers start without their variables");
        }
        let links = self.links.read();
        let own = links.get(namespace).into_iter().flat_map(BTreeMap::values);
        let master = links.get("default").and_then(|l| l.get("kubernetes")).filter(|_| namespace != "default");
        own.chain(master).cloned().collect()
    }

    async fn follow_services(&self) {
        let api: Api<Service> = Api::all(self.client.clone());
        let mut events = watcher(api, watcher::Config::default()).default_backoff().boxed();
        let mut known: HashSet<ServiceKey> = HashSet::new();
        let mut listing = HashSet::new();
        while let Some(event) = events.next().await {
            match event {
                Ok(Event::Init) => listing.clear(),
                Ok(Event::InitApply(service)) => {
                    if let Some(key) = self.set(&service) {
                        listing.insert(key);
                    }
                }
                Ok(Event::InitDone) => {
                    for gone in known.difference(&listing) {
                        self.remove(gone);
                    }
                    known = std::mem::take(&mut listing);
                    self.listed.send_replace(true);
                }
                Ok(Event::Apply(service)) => known.extend(self.set(&service)),
                Ok(Event::Delete(service)) => {
                    if let Some(key) = key(&service.metadata) {
                        self.remove(&key);
                        known.remove(&key);
                    }
                }
                Err(error) => tracing::warn!(%error, "the watch of Services failed; it is retried"),
            }
        }
    }

    fn set(&self, service: &Service) -> Option<ServiceKey> {
        let key = key(&service.metadata)?;
        match routed(&key, service) {
            Some(routed) => self.network.set_service(routed),
            None => self.network.remove_service(&key),
        }
        match link(&key, service) {
            Some(link) => {
                self.links.write().entry(key.namespace.clone()).or_default().insert(key.name.clone(), link);
            }
            None => self.unlink(&key),
        }
        Some(key)
    }

    fn remove(&self, key: &ServiceKey) {
        self.network.remove_service(key);
        self.unlink(key);
    }

    /// Namespaces come and go: one without Services leaves nothing behind.
    fn unlink(&self, key: &ServiceKey) {
        let mut links = self.links.write();
        if let Some(of_namespace) = links.get_mut(&key.namespace) {
            of_namespace.remove(&key.name);
            if of_namespace.is_empty() {
                links.remove(&key.namespace);
            }
        }
    }

    async fn follow_slices(&self) {
        let api: Api<EndpointSlice> = Api::all(self.client.clone());
        let mut events = watcher(api, watcher::Config::default()).default_backoff().boxed();
        let mut known: HashSet<(ServiceKey, String)> = HashSet::new();
        let mut listing = HashSet::new();
        while let Some(event) = events.next().await {
            match event {
                Ok(Event::Init) => listing.clear(),
                Ok(Event::InitApply(slice)) => {
                    if let Some(slice) = routed_slice(&slice) {
                        listing.insert((slice.service.clone(), slice.name.clone()));
                        self.network.set_endpoints(slice);
                    }
                }
                Ok(Event::InitDone) => {
                    for (service, name) in known.difference(&listing) {
                        self.network.remove_endpoints(service, name);
                    }
                    known = std::mem::take(&mut listing);
                }
                Ok(Event::Apply(slice)) => {
                    if let Some(slice) = routed_slice(&slice) {
                        known.insert((slice.service.clone(), slice.name.clone()));
                        self.network.set_endpoints(slice);
                    }
                }
                Ok(Event::Delete(slice)) => {
                    if let Some((service, name)) = slice_key(&slice) {
                        self.network.remove_endpoints(&service, &name);
                        known.remove(&(service, name));
                    }
                }
                Err(error) => tracing::warn!(%error, "the watch of EndpointSlices failed; it is retried"),
            }
        }
    }
}

fn key(meta: &api::k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta) -> Option<ServiceKey> {
    Some(ServiceKey::new(meta.namespace.clone()?, meta.name.clone()?))
}

fn is_tcp(protocol: Option<&str>) -> bool {
    matches!(protocol, None | Some("TCP"))
}

fn number(port: i32) -> Option<u16> {
    u16::try_from(port).ok().filter(|p| *p > 0)
}

/// The Service as the network needs it; `None` for one that has no address (yet).
fn routed(key: &ServiceKey, service: &Service) -> Option<network::Service> {
    let spec = service.spec.as_ref()?;
    let address = match (spec.type_.as_deref(), spec.cluster_ip.as_deref()) {
        (Some("ExternalName"), _) => ServiceAddress::ExternalName(spec.external_name.clone()?),
        (_, Some("None")) => ServiceAddress::Headless,
        (_, Some(ip)) => ServiceAddress::ClusterIp(ip.parse().ok()?),
        _ => return None,
    };
    let ports = spec.ports.iter().flatten().filter(|p| is_tcp(p.protocol.as_deref()));
    let affinity = match spec.session_affinity.as_deref() {
        Some("ClientIP") => {
            let seconds = spec
                .session_affinity_config
                .as_ref()
                .and_then(|c| c.client_ip.as_ref()?.timeout_seconds)
                .unwrap_or(AFFINITY_SECONDS);
            Affinity::ClientIp { timeout: Duration::from_secs(u64::try_from(seconds).unwrap_or(0)) }
        }
        _ => Affinity::None,
    };
    Some(network::Service {
        key: key.clone(),
        address,
        ports: ports
            .filter_map(|p| Some(ServicePort { name: p.name.clone().unwrap_or_default(), port: number(p.port)? }))
            .collect(),
        affinity,
    })
}

/// The Service as variables show it; `None` for one without a cluster IP.
fn link(key: &ServiceKey, service: &Service) -> Option<ServiceLink> {
    let spec = service.spec.as_ref()?;
    let ports = spec.ports.iter().flatten();
    Some(ServiceLink {
        namespace: key.namespace.clone(),
        name: key.name.clone(),
        cluster_ip: spec.cluster_ip.as_deref()?.parse().ok()?,
        ports: ports
            .filter_map(|p| {
                let protocol = p.protocol.clone().unwrap_or_else(|| "TCP".into());
                Some((p.name.clone(), number(p.port)?, protocol))
            })
            .collect(),
    })
}

fn slice_key(slice: &EndpointSlice) -> Option<(ServiceKey, String)> {
    let meta = &slice.metadata;
    let service = meta.labels.as_ref()?.get(SERVICE_NAME)?;
    Some((ServiceKey::new(meta.namespace.clone()?, service.clone()), meta.name.clone()?))
}

/// The slice as the network needs it; `None` for other address families, or without a Service.
fn routed_slice(slice: &EndpointSlice) -> Option<network::EndpointSlice> {
    if slice.address_type != "IPv4" {
        return None;
    }
    let (service, name) = slice_key(slice)?;
    let ports = slice.ports.iter().flatten().filter(|p| is_tcp(p.protocol.as_deref()));
    let endpoints = slice.endpoints.iter().flatten().filter_map(|endpoint| {
        let address: Ipv4Addr = endpoint.addresses.first()?.parse().ok()?;
        let (ready, serving, terminating) =
            endpoint.conditions.as_ref().map_or((None, None, None), |c| (c.ready, c.serving, c.terminating));
        Some(Endpoint {
            address,
            hostname: endpoint.hostname.clone(),
            state: EndpointState::from_conditions(ready, serving, terminating),
        })
    });
    Some(network::EndpointSlice {
        service,
        name,
        ports: ports
            .filter_map(|p| Some(EndpointPort { name: p.name.clone().unwrap_or_default(), port: number(p.port?)? }))
            .collect(),
        endpoints: endpoints.collect(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn service(spec: &serde_json::Value) -> Option<network::Service> {
        let service =
            serde_json::from_value(json!({"metadata": {"namespace": "n", "name": "s"}, "spec": spec})).unwrap();
        routed(&ServiceKey::new("n", "s"), &service)
    }

    #[test]
    fn services_by_type() {
        let plain = json!({"clusterIP": "127.96.0.9", "ports": [
            {"name": "http", "port": 80}, {"name": "dns", "port": 53, "protocol": "UDP"}]});
        let plain = service(&plain).unwrap();
        assert_eq!(plain.address, ServiceAddress::ClusterIp([127, 96, 0, 9].into()));
        assert_eq!(plain.ports, [ServicePort { name: "http".into(), port: 80 }]);
        assert_eq!(service(&json!({"clusterIP": "None"})).unwrap().address, ServiceAddress::Headless);
        let external = service(&json!({"type": "ExternalName", "externalName": "x.io"})).unwrap();
        assert_eq!(external.address, ServiceAddress::ExternalName("x.io".into()));
        assert_eq!(service(&json!({})), None);
    }

    #[test]
    fn slices_with_conditions() {
        let slice: EndpointSlice = serde_json::from_value(json!({
            "metadata": {"namespace": "n", "name": "s-1", "labels": {"kubernetes.io/service-name": "s"}},
            "addressType": "IPv4",
            "ports": [{"name": "http", "port": 8080, "protocol": "TCP"}],
            "endpoints": [
                {"addresses": ["127.64.0.2"]},
                {"addresses": ["127.64.0.3"], "conditions": {"ready": false}}
            ]
        }))
        .unwrap();
        let slice = routed_slice(&slice).unwrap();
        assert_eq!(slice.service, ServiceKey::new("n", "s"));
        let states: Vec<_> = slice.endpoints.iter().map(|e| e.state).collect();
        assert_eq!(states, [EndpointState::Ready, EndpointState::NotReady]);
    }
}
