//! What an agent is made from. Plain values with working defaults; knows neither flags nor files.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;

use api::k8s_openapi::api::core::v1::Taint;
use images::ImageStore;
use kube::Client;
use network::{Cidr, Network};
use runtime::Runtime;

use crate::clock::Clock;
use crate::logs::LogLimits;
use crate::services::ServiceSync;

/// What the node offers to pods.
#[derive(Clone, Debug)]
pub struct Capacity {
    /// Thousandths of a core.
    pub cpu_millis: u64,
    pub memory_bytes: u64,
    pub ephemeral_storage_bytes: u64,
    /// Pods at once. Keep it below what the runtime can hold (`runtime::Config::max_instances`).
    pub pods: u32,
}

impl Capacity {
    /// All of this machine, and 10,000 pods.
    pub fn of_this_machine() -> Self {
        let cpus = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let memory = rustix::system::sysinfo();
        let memory_bytes = memory.totalram.saturating_mul(u64::from(memory.mem_unit.max(1)));
        Self { cpu_millis: cpus as u64 * 1000, memory_bytes, ephemeral_storage_bytes: 100 << 30, pods: 10_000 }
    }
}

/// How this agent's kubelet API is reached by the API server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ServeMode {
    /// The composition root mounts [`Agent::router`](crate::Agent::router) itself.
    InProcess,
    /// The agent dials the API server and serves its API on that connection.
    Tunnel,
}

/// Settings of an [`Agent`](crate::Agent). Start from [`Config::new`] and change fields.
#[derive(Clone)]
pub struct Config {
    pub node_name: String,
    pub client: Client,
    /// Logs, volumes; the agent owns what is below.
    pub data_dir: PathBuf,
    pub runtime: Arc<Runtime>,
    pub network: Arc<Network>,
    pub images: ImageStore,
    /// The Services that become environment variables; shared by the nodes of a process. Without it
    /// containers get no service variables.
    pub services: Option<Arc<ServiceSync>>,
    pub capacity: Capacity,
    /// Labels beside the ones every node has.
    pub labels: BTreeMap<String, String>,
    pub taints: Vec<Taint>,
    /// The node's InternalIP.
    pub node_ip: IpAddr,
    /// The node's range of pod addresses. `None`: wait until a controller has set `spec.podCIDR`.
    pub pod_cidr: Option<Cidr>,
    pub serve_mode: ServeMode,
    pub log_limits: LogLimits,
    /// HTTP connections that one pod serves at once; further ones wait in the kernel.
    pub max_connections_per_pod: usize,
    pub clock: Clock,
}

impl Config {
    /// The defaults for a node of this name.
    pub fn new(
        node_name: impl Into<String>,
        client: Client,
        data_dir: impl Into<PathBuf>,
        runtime: Arc<Runtime>,
        network: Arc<Network>,
        images: ImageStore,
    ) -> Self {
        Self {
            node_name: node_name.into(),
            client,
            data_dir: data_dir.into(),
            runtime,
            network,
            images,
            services: None,
            capacity: Capacity::of_this_machine(),
            labels: BTreeMap::new(),
            taints: Vec::new(),
            node_ip: IpAddr::from([127, 0, 0, 1]),
            pod_cidr: None,
            serve_mode: ServeMode::InProcess,
            log_limits: LogLimits::default(),
            max_connections_per_pod: 256,
            clock: Clock::System,
        }
    }
}
