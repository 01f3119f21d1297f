//! From a Service and its pods to endpoints. Pure.

use crate::k8s::api::core::v1::{ContainerPort, Node, ObjectReference, Pod, Service, ServicePort};
use crate::k8s::api::discovery::v1::{Endpoint, EndpointConditions, EndpointPort};
use crate::k8s::apimachinery::pkg::util::intstr::IntOrString;
use crate::pods;
use std::collections::BTreeMap;
use std::sync::Arc;

/// One port that a group of endpoints serves.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Port {
    /// Empty for the only, unnamed port.
    pub name: String,
    pub port: i32,
    pub protocol: String,
    pub app_protocol: Option<String>,
}

impl Port {
    pub fn slice_port(&self) -> EndpointPort {
        EndpointPort {
            name: Some(self.name.clone()),
            port: Some(self.port),
            protocol: Some(self.protocol.clone()),
            app_protocol: self.app_protocol.clone(),
        }
    }
}

/// Endpoints by the ports they serve: pods may give one name to different ports.
pub type Groups = BTreeMap<Vec<Port>, Vec<Endpoint>>;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    V4,
    V6,
}

impl Family {
    pub fn name(self) -> &'static str {
        match self {
            Self::V4 => "IPv4",
            Self::V6 => "IPv6",
        }
    }

    fn of(address: &str) -> Self {
        if address.contains(':') { Self::V6 } else { Self::V4 }
    }
}

/// The address families of the Service, IPv4 where it does not say.
pub fn families(service: &Service) -> Vec<Family> {
    let families = service.spec.as_ref().and_then(|s| s.ip_families.clone()).unwrap_or_default();
    let parse = |family: &String| if family == "IPv6" { Family::V6 } else { Family::V4 };
    if families.is_empty() { vec![Family::V4] } else { families.iter().map(parse).collect() }
}

/// The selector of a Service whose endpoints are ours to keep.
pub fn selector(service: &Service) -> Option<&BTreeMap<String, String>> {
    let spec = service.spec.as_ref()?;
    if spec.type_.as_deref() == Some("ExternalName") {
        return None;
    }
    spec.selector.as_ref().filter(|selector| !selector.is_empty())
}

pub fn is_headless(service: &Service) -> bool {
    service.spec.as_ref().and_then(|s| s.cluster_ip.as_deref()) == Some("None")
}

/// The endpoints of one address family.
pub fn groups(
    service: &Service,
    pods: &[Arc<Pod>],
    family: Family,
    node: impl Fn(&str) -> Option<Arc<Node>>,
) -> Groups {
    let mut groups = Groups::new();
    for pod in pods.iter().filter(|pod| !pods::is_terminal(pod)) {
        let Some(address) = address(pod, family) else { continue };
        let ports = ports(service, pod);
        groups.entry(ports).or_default().push(endpoint(service, pod, address, &node));
    }
    for endpoints in groups.values_mut() {
        endpoints.sort_by(|a, b| target(a).cmp(target(b)));
    }
    groups
}

/// The UID of the pod behind an endpoint.
pub fn target(endpoint: &Endpoint) -> &str {
    endpoint.target_ref.as_ref().and_then(|t| t.uid.as_deref()).unwrap_or_default()
}

fn address(pod: &Pod, family: Family) -> Option<String> {
    let status = pod.status.as_ref()?;
    let all = status.pod_ips.iter().flatten().map(|ip| &ip.ip).chain(&status.pod_ip);
    all.into_iter().find(|ip| !ip.is_empty() && Family::of(ip) == family).cloned()
}

fn endpoint(service: &Service, pod: &Pod, address: String, node: &impl Fn(&str) -> Option<Arc<Node>>) -> Endpoint {
    let spec = service.spec.as_ref();
    let publish = spec.and_then(|s| s.publish_not_ready_addresses).unwrap_or(false);
    let (serving, terminating) = (pods::is_ready(pod), pods::is_terminating(pod));
    let node_name = Some(pods::node(pod).to_owned()).filter(|name| !name.is_empty());
    let zone = node_name
        .as_deref()
        .and_then(node)
        .and_then(|node| node.metadata.labels.as_ref()?.get("topology.kubernetes.io/zone").cloned());
    Endpoint {
        addresses: vec![address],
        conditions: Some(EndpointConditions {
            ready: Some(publish || (serving && !terminating)),
            serving: Some(serving),
            terminating: Some(terminating),
        }),
        hostname: hostname(service, pod),
        node_name,
        zone,
        target_ref: Some(reference(pod)),
        ..Endpoint::default()
    }
}

/// The pod's own name in a headless Service that is its subdomain.
pub fn hostname(service: &Service, pod: &Pod) -> Option<String> {
    let spec = pod.spec.as_ref()?;
    let own = spec.subdomain.is_some() && spec.subdomain == service.metadata.name;
    let here = service.metadata.namespace == pod.metadata.namespace;
    spec.hostname.clone().filter(|hostname| own && here && !hostname.is_empty())
}

pub fn reference(pod: &Pod) -> ObjectReference {
    ObjectReference {
        kind: Some("Pod".into()),
        namespace: pod.metadata.namespace.clone(),
        name: pod.metadata.name.clone(),
        uid: pod.metadata.uid.clone(),
        ..ObjectReference::default()
    }
}

/// The Service's ports as this pod serves them; a name that the pod does not have is left out.
pub fn ports(service: &Service, pod: &Pod) -> Vec<Port> {
    let ports = service.spec.as_ref().and_then(|s| s.ports.as_ref());
    let mut ports: Vec<_> = ports.into_iter().flatten().filter_map(|port| resolve(port, pod)).collect();
    ports.sort();
    ports
}

fn resolve(port: &ServicePort, pod: &Pod) -> Option<Port> {
    let protocol = port.protocol.clone().unwrap_or_else(|| "TCP".into());
    let number = match &port.target_port {
        None | Some(IntOrString::Int(0)) => port.port,
        Some(IntOrString::Int(number)) => *number,
        Some(IntOrString::String(name)) if name.is_empty() => port.port,
        Some(IntOrString::String(name)) => {
            container_ports(pod)
                .find(|c| c.name.as_ref() == Some(name) && c.protocol.as_deref().unwrap_or("TCP") == protocol)?
                .container_port
        }
    };
    let name = port.name.clone().unwrap_or_default();
    Some(Port { name, port: number, protocol, app_protocol: port.app_protocol.clone() })
}

/// Of the containers, and of the init containers that stay (sidecars).
fn container_ports(pod: &Pod) -> impl Iterator<Item = &ContainerPort> {
    let spec = pod.spec.as_ref();
    let sidecars = spec.and_then(|s| s.init_containers.as_ref()).into_iter().flatten();
    let sidecars = sidecars.filter(|c| c.restart_policy.as_deref() == Some("Always"));
    spec.into_iter().flat_map(|s| &s.containers).chain(sidecars).flat_map(|c| c.ports.iter().flatten())
}
