//! What the agent tells the network about Services: the parts of `v1.Service` and `discovery.k8s.io/v1.EndpointSlice`
//! that routing and names need, under Kubernetes' own field names.

use std::net::Ipv4Addr;
use std::time::Duration;

/// Which Service: namespace and name.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ServiceKey {
    pub namespace: String,
    pub name: String,
}

impl ServiceKey {
    pub fn new(namespace: impl Into<String>, name: impl Into<String>) -> Self {
        Self { namespace: namespace.into(), name: name.into() }
    }
}

/// A Service, without its endpoints: those come as [`EndpointSlice`]s.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Service {
    pub key: ServiceKey,
    pub address: ServiceAddress,
    /// The TCP ports; others are not served.
    pub ports: Vec<ServicePort>,
    /// `spec.sessionAffinity`.
    pub affinity: Affinity,
}

/// How a Service is reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ServiceAddress {
    /// `spec.clusterIP`: the proxy listens there.
    ClusterIp(Ipv4Addr),
    /// `clusterIP: None`: its name resolves to its ready endpoints' addresses.
    Headless,
    /// `type: ExternalName`: its name is an alias of this one.
    ExternalName(String),
}

/// `spec.ports[]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServicePort {
    /// Empty for a Service's only, unnamed port. It selects the [`EndpointPort`]s of the same name.
    pub name: String,
    pub port: u16,
}

/// `spec.sessionAffinity`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Affinity {
    /// Each connection may go to another endpoint.
    #[default]
    None,
    /// Connections from one address go to one endpoint, as long as the endpoints stay the same.
    ClientIp {
        /// Kubernetes' `timeoutSeconds`; ours needs no memory of clients, so it never ends earlier.
        timeout: Duration,
    },
}

/// One `discovery.k8s.io/v1` EndpointSlice of address type IPv4.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EndpointSlice {
    /// From the label `kubernetes.io/service-name`.
    pub service: ServiceKey,
    /// The slice's own `metadata.name`, unique in the namespace.
    pub name: String,
    pub ports: Vec<EndpointPort>,
    pub endpoints: Vec<Endpoint>,
}

/// `ports[]` of an EndpointSlice: where the endpoints listen for the Service port of that name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EndpointPort {
    pub name: String,
    pub port: u16,
}

/// `endpoints[]` of an EndpointSlice.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    pub address: Ipv4Addr,
    /// `hostname`: a headless Service resolves `HOSTNAME.SERVICE.NAMESPACE.svc` to this endpoint.
    pub hostname: Option<String>,
    pub state: EndpointState,
}

/// An endpoint's `conditions`, as a proxy reads them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EndpointState {
    /// `ready` (a missing condition counts as ready, as in Kubernetes).
    Ready,
    /// `serving` and `terminating`: used only while no endpoint is ready.
    Draining,
    NotReady,
}

impl EndpointState {
    /// From `conditions.ready`, `conditions.serving` and `conditions.terminating`, with Kubernetes' meaning of a
    /// condition that is absent (KEP-1672: ready and serving count as true, terminating as false).
    #[must_use]
    pub fn from_conditions(ready: Option<bool>, serving: Option<bool>, terminating: Option<bool>) -> Self {
        let serving = serving.or(ready).unwrap_or(true);
        match (ready.unwrap_or(true), serving, terminating.unwrap_or(false)) {
            (true, _, _) => Self::Ready,
            (false, true, true) => Self::Draining,
            _ => Self::NotReady,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn conditions_become_a_state() {
        let state = EndpointState::from_conditions;
        assert_eq!(state(None, None, None), EndpointState::Ready);
        assert_eq!(state(Some(true), Some(true), Some(false)), EndpointState::Ready);
        assert_eq!(state(Some(false), Some(true), Some(true)), EndpointState::Draining);
        assert_eq!(state(Some(false), Some(false), Some(true)), EndpointState::NotReady);
        assert_eq!(state(Some(false), None, None), EndpointState::NotReady);
    }
}
