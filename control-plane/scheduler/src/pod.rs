//! A pod as the scheduler sees it: read once from the API, its requests summed up.

use std::collections::BTreeMap;
use std::sync::Arc;

use api::k8s_openapi::api::core::v1::{NodeSelector, PreferredSchedulingTerm, ResourceRequirements, Toleration};
use serde::Deserialize;

use crate::resources::{Resources, WireList};

/// What a container counts for in scores when it requests nothing: 100 millicores and 200 MiB.
const DEFAULT_CPU: i64 = 100;
const DEFAULT_MEMORY: i64 = 200 << 20;

/// A pod. Two pods are equal when the same node suits both.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Pod {
    pub namespace: Arc<str>,
    pub name: Arc<str>,
    pub uid: Arc<str>,
    pub priority: i32,
    pub requests: Resources,
    /// As `requests`, with a default for each container that requests nothing: what scores count.
    pub scored_cpu: i64,
    pub scored_memory: i64,
    pub node_selector: BTreeMap<String, String>,
    pub required_affinity: Option<NodeSelector>,
    pub preferred_affinity: Vec<PreferredSchedulingTerm>,
    pub tolerations: Vec<Toleration>,
    pub host_ports: Vec<HostPort>,
    /// `preemptionPolicy: Never`.
    pub preemption: Preemption,
}

/// Whether a pod may displace others.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Preemption {
    #[default]
    LowerPriority,
    Never,
}

/// A port that a pod takes on its node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostPort {
    /// Empty for all addresses.
    pub ip: String,
    pub protocol: String,
    pub port: i32,
}

impl HostPort {
    /// Whether both cannot be on one node.
    #[must_use]
    pub fn conflicts(&self, other: &Self) -> bool {
        let everywhere = |ip: &str| ip.is_empty() || ip == "0.0.0.0";
        self.port == other.port
            && self.protocol == other.protocol
            && (self.ip == other.ip || everywhere(&self.ip) || everywhere(&other.ip))
    }
}

/// What the API says about a pod, besides what [`Pod`] keeps.
#[derive(Clone, Debug)]
pub(crate) struct SeenPod {
    pub pod: Arc<Pod>,
    pub resource_version: String,
    pub node: Option<Arc<str>>,
    pub scheduler: String,
    pub phase: Phase,
    /// The reason and message of the condition `PodScheduled`, when it is `False`.
    pub refused: Option<(String, String)>,
}

/// How far a pod is, as far as scheduling cares.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    /// May be scheduled, or has been.
    Alive,
    /// Waits for somebody to take its scheduling gates away.
    Gated,
    /// Is being deleted: keeps its place on the node, gets none if it has none.
    Leaving,
    /// `Succeeded` or `Failed`: holds nothing any more.
    Over,
}

/// The parts of a v1 Pod that matter here.
#[derive(Clone, Debug, Default, Deserialize)]
pub(crate) struct WirePod {
    pub metadata: WireMeta,
    #[serde(default)]
    spec: WireSpec,
    #[serde(default)]
    status: WireStatus,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct WireMeta {
    pub name: String,
    pub namespace: String,
    pub uid: String,
    pub resource_version: String,
    pub labels: BTreeMap<String, String>,
    deletion_timestamp: Option<String>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct WireSpec {
    node_name: Option<String>,
    scheduler_name: Option<String>,
    priority: Option<i32>,
    preemption_policy: Option<String>,
    node_selector: BTreeMap<String, String>,
    affinity: Option<WireAffinity>,
    tolerations: Vec<Toleration>,
    scheduling_gates: Vec<serde::de::IgnoredAny>,
    containers: Vec<WireContainer>,
    init_containers: Vec<WireContainer>,
    overhead: Option<WireList>,
    resources: Option<ResourceRequirements>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct WireAffinity {
    node_affinity: Option<api::k8s_openapi::api::core::v1::NodeAffinity>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct WireContainer {
    resources: ResourceRequirements,
    ports: Vec<WirePort>,
    restart_policy: Option<String>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct WirePort {
    #[serde(rename = "hostIP")]
    host_ip: String,
    host_port: i32,
    protocol: Option<String>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct WireStatus {
    phase: String,
    conditions: Vec<WireCondition>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct WireCondition {
    #[serde(rename = "type")]
    type_: String,
    status: String,
    reason: String,
    message: String,
}

impl WireContainer {
    fn requests(&self) -> Resources {
        self.resources.requests.as_ref().map(Resources::from_wire).unwrap_or_default()
    }

    fn is_sidecar(&self) -> bool {
        self.restart_policy.as_deref() == Some("Always")
    }
}

impl From<WirePod> for SeenPod {
    fn from(wire: WirePod) -> Self {
        let phase = wire.phase();
        let WirePod { metadata, spec, status } = wire;
        let requests = spec.requests(|requests| requests);
        let scored = spec.requests(|requests| Resources {
            cpu: if requests.cpu == 0 { DEFAULT_CPU } else { requests.cpu },
            memory: if requests.memory == 0 { DEFAULT_MEMORY } else { requests.memory },
            ..Resources::default()
        });
        let host_ports = spec.host_ports();
        let affinity = spec.affinity.and_then(|affinity| affinity.node_affinity).unwrap_or_default();
        let pod = Pod {
            namespace: metadata.namespace.into(),
            name: metadata.name.into(),
            uid: metadata.uid.into(),
            priority: spec.priority.unwrap_or(0),
            requests,
            scored_cpu: scored.cpu,
            scored_memory: scored.memory,
            node_selector: spec.node_selector,
            required_affinity: affinity.required_during_scheduling_ignored_during_execution,
            preferred_affinity: affinity.preferred_during_scheduling_ignored_during_execution.unwrap_or_default(),
            tolerations: spec.tolerations,
            host_ports,
            preemption: match spec.preemption_policy.as_deref() {
                Some("Never") => Preemption::Never,
                _ => Preemption::LowerPriority,
            },
        };
        let refused = status
            .conditions
            .into_iter()
            .find(|condition| condition.type_ == "PodScheduled" && condition.status == "False")
            .map(|condition| (condition.reason, condition.message));
        Self {
            pod: Arc::new(pod),
            resource_version: metadata.resource_version,
            node: spec.node_name.filter(|name| !name.is_empty()).map(Into::into),
            scheduler: spec.scheduler_name.unwrap_or_else(|| "default-scheduler".into()),
            phase,
            refused,
        }
    }
}

impl WirePod {
    fn phase(&self) -> Phase {
        if matches!(self.status.phase.as_str(), "Succeeded" | "Failed") {
            Phase::Over
        } else if self.metadata.deletion_timestamp.is_some() {
            Phase::Leaving
        } else if !self.spec.scheduling_gates.is_empty() {
            Phase::Gated
        } else {
            Phase::Alive
        }
    }
}

impl WireSpec {
    /// What the pod needs at its widest: its containers and sidecars together, or an init container
    /// with the sidecars started before it; `adjust` is applied to each container. Requests of the
    /// pod as a whole replace their sum; overhead comes on top.
    fn requests(&self, adjust: impl Fn(Resources) -> Resources) -> Resources {
        let mut running = Resources::default();
        let mut widest = Resources::default();
        for container in &self.init_containers {
            let mut requests = adjust(container.requests());
            if container.is_sidecar() {
                running.add(&requests);
                widest.max(&running);
            } else {
                requests.add(&running);
                widest.max(&requests);
            }
        }
        for container in &self.containers {
            running.add(&adjust(container.requests()));
        }
        widest.max(&running);
        let of_pod = self.resources.as_ref().and_then(|resources| resources.requests.as_ref());
        if let Some(list) = of_pod {
            let of_pod = Resources::from_wire(list);
            widest.cpu = if list.contains_key("cpu") { of_pod.cpu } else { widest.cpu };
            widest.memory = if list.contains_key("memory") { of_pod.memory } else { widest.memory };
        }
        if let Some(overhead) = &self.overhead {
            widest.add(&Resources::from_wire(overhead));
        }
        widest
    }

    fn host_ports(&self) -> Vec<HostPort> {
        let sidecars = self.init_containers.iter().filter(|container| container.is_sidecar());
        let ports = self.containers.iter().chain(sidecars).flat_map(|container| &container.ports);
        ports
            .filter(|port| port.host_port != 0)
            .map(|port| HostPort {
                ip: port.host_ip.clone(),
                protocol: port.protocol.clone().unwrap_or_else(|| "TCP".into()),
                port: port.host_port,
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn seen(pod: Value) -> SeenPod {
        serde_json::from_value::<WirePod>(pod).unwrap().into()
    }

    fn container(cpu: &str, memory: &str) -> Value {
        json!({"name": "c", "resources": {"requests": {"cpu": cpu, "memory": memory}}})
    }

    #[test]
    fn the_widest_moment_counts() {
        let mut sidecar = container("100m", "0");
        sidecar["restartPolicy"] = "Always".into();
        let spec = json!({
            "initContainers": [container("2", "10"), sidecar, container("1", "300")],
            "containers": [container("500m", "100"), container("1", "100")],
            "overhead": {"cpu": "10m"},
        });
        let pod = seen(json!({"metadata": {"name": "p"}, "spec": spec})).pod;
        assert_eq!((pod.requests.cpu, pod.requests.memory), (2_010, 300));
    }

    #[test]
    fn pod_level_requests_replace_the_sum() {
        let spec = json!({
            "containers": [container("500m", "100")],
            "resources": {"requests": {"cpu": "3"}},
        });
        let pod = seen(json!({"metadata": {}, "spec": spec})).pod;
        assert_eq!((pod.requests.cpu, pod.requests.memory), (3_000, 100));
    }

    #[test]
    fn empty_requests_count_in_scores_only() {
        let pod = seen(json!({"metadata": {}, "spec": {"containers": [{}, {}]}})).pod;
        assert_eq!(pod.requests, Resources::default());
        assert_eq!((pod.scored_cpu, pod.scored_memory), (200, 400 << 20));
    }

    #[test]
    fn phases() {
        let phase = |pod: Value| seen(pod).phase;
        assert_eq!(phase(json!({"metadata": {}})), Phase::Alive);
        assert_eq!(phase(json!({"metadata": {}, "status": {"phase": "Failed"}})), Phase::Over);
        assert_eq!(phase(json!({"metadata": {"deletionTimestamp": "x"}})), Phase::Leaving);
        let gated = json!({"metadata": {}, "spec": {"schedulingGates": [{"name": "g"}]}});
        assert_eq!(phase(gated), Phase::Gated);
    }

    #[test]
    fn ports_conflict_by_port_protocol_and_address() {
        let port = |ip: &str, protocol: &str, port| HostPort { ip: ip.into(), protocol: protocol.into(), port };
        assert!(port("", "TCP", 80).conflicts(&port("10.0.0.1", "TCP", 80)));
        assert!(!port("10.0.0.2", "TCP", 80).conflicts(&port("10.0.0.1", "TCP", 80)));
        assert!(!port("", "UDP", 80).conflicts(&port("", "TCP", 80)));
        assert!(!port("", "TCP", 81).conflicts(&port("", "TCP", 80)));
    }
}
