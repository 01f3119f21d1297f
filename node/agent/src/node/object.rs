//! What the Node object says. Pure.
//!
//! Labels: `kubernetes.io/os=linux` as krustlet and runwasi's nodes have it, because nearly every chart
//! selects on it, and `kubernetes.io/arch=wasm32`. No taint: Skiff runs nothing but Wasm, so plain pods
//! belong here.

use std::collections::BTreeMap;

use api::k8s_openapi::api::core::v1::{
    DaemonEndpoint, Node, NodeAddress, NodeCondition, NodeDaemonEndpoints, NodeSpec, NodeStatus, NodeSystemInfo,
};
use api::k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use api::k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};
use api::k8s_openapi::jiff::Timestamp;

use crate::config::{Capacity, Config};
use crate::resources::FUEL;

/// What `kubectl get nodes` shows.
pub const KUBELET_VERSION: &str = "v1.36.2+skiff";
/// The engine, in the place of `containerd://2.1`.
pub const RUNTIME_VERSION: &str = "wasmtime://48.0.8";
/// More than any pod asks for: the scheduler never runs out of it.
const ENDLESS_FUEL: &str = "9E";

/// Capacity, which is allocatable too: nothing is held back for the system.
pub fn resources(capacity: &Capacity) -> BTreeMap<String, Quantity> {
    let cpu = if capacity.cpu_millis.is_multiple_of(1000) {
        (capacity.cpu_millis / 1000).to_string()
    } else {
        format!("{}m", capacity.cpu_millis)
    };
    [
        ("cpu", cpu),
        ("memory", format!("{}Ki", capacity.memory_bytes / 1024)),
        ("ephemeral-storage", format!("{}Ki", capacity.ephemeral_storage_bytes / 1024)),
        ("pods", capacity.pods.to_string()),
        (FUEL, ENDLESS_FUEL.to_owned()),
    ]
    .into_iter()
    .map(|(name, amount)| (name.to_owned(), Quantity(amount)))
    .collect()
}

/// The labels every node has, and the configured ones.
pub fn labels(config: &Config) -> BTreeMap<String, String> {
    let mut labels: BTreeMap<String, String> = [
        ("kubernetes.io/arch", "wasm32"),
        ("kubernetes.io/os", "linux"),
        ("kubernetes.io/hostname", config.node_name.as_str()),
        ("beta.kubernetes.io/arch", "wasm32"),
        ("beta.kubernetes.io/os", "linux"),
        ("skiff.dev/runtime", "wasmtime"),
    ]
    .into_iter()
    .map(|(key, value)| (key.to_owned(), value.to_owned()))
    .collect();
    labels.extend(config.labels.clone());
    labels
}

/// The object to create: with its status, so that the node is Ready in one write.
pub fn node(config: &Config, machine: &Machine, now: Timestamp) -> Node {
    Node {
        metadata: ObjectMeta {
            name: Some(config.node_name.clone()),
            labels: Some(labels(config)),
            ..Default::default()
        },
        spec: Some(NodeSpec {
            pod_cidr: config.pod_cidr.map(|c| c.to_string()),
            pod_cidrs: config.pod_cidr.map(|c| vec![c.to_string()]),
            taints: (!config.taints.is_empty()).then(|| config.taints.clone()),
            ..Default::default()
        }),
        status: Some(status(config, machine, &[], now)),
    }
}

/// The node's status; `before` are the conditions last known, for their transition times.
pub fn status(config: &Config, machine: &Machine, before: &[NodeCondition], now: Timestamp) -> NodeStatus {
    let addresses = [("InternalIP", config.node_ip.to_string()), ("Hostname", config.node_name.clone())];
    NodeStatus {
        addresses: Some(
            addresses.into_iter().map(|(type_, address)| NodeAddress { type_: type_.into(), address }).collect(),
        ),
        capacity: Some(resources(&config.capacity)),
        allocatable: Some(resources(&config.capacity)),
        conditions: Some(conditions(before, now)),
        daemon_endpoints: Some(NodeDaemonEndpoints {
            // The API server reaches the kubelet API in process or by a tunnel; there is no port.
            kubelet_endpoint: Some(DaemonEndpoint { port: 0 }),
        }),
        node_info: Some(NodeSystemInfo {
            architecture: "wasm32".into(),
            boot_id: machine.boot_id.clone(),
            container_runtime_version: RUNTIME_VERSION.into(),
            kernel_version: machine.kernel.clone(),
            kube_proxy_version: String::new(),
            kubelet_version: KUBELET_VERSION.into(),
            machine_id: machine.id.clone(),
            operating_system: "linux".into(),
            os_image: "WASI 0.2".into(),
            swap: None,
            system_uuid: machine.id.clone(),
        }),
        ..Default::default()
    }
}

fn conditions(before: &[NodeCondition], now: Timestamp) -> Vec<NodeCondition> {
    [
        ("MemoryPressure", "False", "KubeletHasSufficientMemory", "kubelet has sufficient memory available"),
        ("DiskPressure", "False", "KubeletHasNoDiskPressure", "kubelet has no disk pressure"),
        ("PIDPressure", "False", "KubeletHasSufficientPID", "kubelet has sufficient PID available"),
        ("Ready", "True", "KubeletReady", "kubelet is posting ready status"),
    ]
    .into_iter()
    .map(|(type_, status, reason, message)| {
        let since =
            before.iter().find(|c| c.type_ == type_ && c.status == status).and_then(|c| c.last_transition_time.clone());
        NodeCondition {
            type_: type_.into(),
            status: status.into(),
            reason: Some(reason.into()),
            message: Some(message.into()),
            last_heartbeat_time: Some(Time(now)),
            last_transition_time: Some(since.unwrap_or(Time(now))),
        }
    })
    .collect()
}

/// What identifies the machine.
#[derive(Clone, Debug, Default)]
pub struct Machine {
    pub id: String,
    pub boot_id: String,
    pub kernel: String,
}

impl Machine {
    /// This machine, as far as it tells.
    pub fn this() -> Self {
        let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default().trim().to_owned();
        Self {
            id: read("/etc/machine-id"),
            boot_id: read("/proc/sys/kernel/random/boot_id"),
            kernel: rustix::system::uname().release().to_string_lossy().into_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn conditions_keep_their_transition_times() {
        let (first, later) = ("2026-01-01T00:00:00Z".parse().unwrap(), "2026-01-02T00:00:00Z".parse().unwrap());
        let before = conditions(&[], first);
        let after = conditions(&before, later);
        assert!(after.iter().all(|c| c.last_transition_time == Some(Time(first))));
        assert!(after.iter().all(|c| c.last_heartbeat_time == Some(Time(later))));
    }

    #[test]
    fn resources_read_like_kubernetes() {
        let capacity = Capacity { cpu_millis: 1500, memory_bytes: 1 << 30, ephemeral_storage_bytes: 0, pods: 7 };
        let resources = resources(&capacity);
        assert_eq!(resources["cpu"].0, "1500m");
        assert_eq!(resources["memory"].0, "1048576Ki");
        assert_eq!(resources["pods"].0, "7");
        assert!(crate::resources::whole(&resources[FUEL]).unwrap() > 1 << 60);
    }
}
