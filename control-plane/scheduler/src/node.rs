//! A node as the scheduler sees it: what it is, and what the pods on it take.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use api::k8s_openapi::api::core::v1::Taint;
use serde::Deserialize;

use crate::pod::{HostPort, Pod, WireMeta};
use crate::resources::{Resources, WireList};

/// What a node is, without the pods on it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Node {
    pub name: Arc<str>,
    pub labels: BTreeMap<String, String>,
    pub taints: Vec<Taint>,
    /// `spec.unschedulable`: cordoned.
    pub unschedulable: bool,
    pub allocatable: Resources,
    /// Most pods it takes.
    pub allowed_pods: i64,
    /// A hash of the name, for ties.
    pub(crate) hash: u64,
}

impl Node {
    #[must_use]
    pub fn new(name: &str) -> Self {
        let mut hasher = DefaultHasher::new();
        name.hash(&mut hasher);
        Self { name: name.into(), hash: hasher.finish(), ..Self::default() }
    }
}

/// What the pods on a node take together.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Usage {
    pub requested: Resources,
    pub scored_cpu: i64,
    pub scored_memory: i64,
    pub pods: i64,
    pub host_ports: Vec<HostPort>,
}

impl Usage {
    pub fn add(&mut self, pod: &Pod) {
        self.requested.add(&pod.requests);
        self.scored_cpu += pod.scored_cpu;
        self.scored_memory += pod.scored_memory;
        self.pods += 1;
        self.host_ports.extend_from_slice(&pod.host_ports);
    }

    pub fn remove(&mut self, pod: &Pod) {
        self.requested.subtract(&pod.requests);
        self.scored_cpu -= pod.scored_cpu;
        self.scored_memory -= pod.scored_memory;
        self.pods -= 1;
        for port in &pod.host_ports {
            if let Some(at) = self.host_ports.iter().position(|taken| taken == port) {
                self.host_ports.swap_remove(at);
            }
        }
    }
}

/// A node and the pods on it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Place {
    pub node: Arc<Node>,
    pub used: Usage,
}

/// The parts of a v1 Node that matter here.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct WireNode {
    pub metadata: WireMeta,
    #[serde(default)]
    spec: WireNodeSpec,
    #[serde(default)]
    status: WireNodeStatus,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct WireNodeSpec {
    taints: Vec<Taint>,
    unschedulable: bool,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct WireNodeStatus {
    allocatable: Option<WireList>,
    capacity: Option<WireList>,
}

impl From<WireNode> for Node {
    fn from(wire: WireNode) -> Self {
        let room = wire.status.allocatable.or(wire.status.capacity).unwrap_or_default();
        let pods = room.get("pods").and_then(|text| api::quantity::Quantity::parse(&text.0).ok());
        Self {
            labels: wire.metadata.labels,
            taints: wire.spec.taints,
            unschedulable: wire.spec.unschedulable,
            allocatable: Resources::from_wire(&room),
            allowed_pods: pods.map_or(0, api::quantity::Quantity::value),
            ..Self::new(&wire.metadata.name)
        }
    }
}
