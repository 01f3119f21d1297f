//! Kubernetes' controllers: an ordinary API client that moves the cluster's state towards what the objects ask for.
//!
//! Every controller is level-triggered and idempotent: it reads the shared informers, decides in pure functions,
//! writes through the API, and runs again on signal and period. It must never know the store or the API server's insides.

pub(crate) use api::k8s_openapi as k8s;

pub mod certificates;
pub mod clock;
mod cluster_roles;
mod context;
mod deployment;
mod disruption;
mod endpoints;
mod error;
pub mod frame;
mod garbage;
mod job;
mod namespace;
mod node;
mod owners;
mod pod_gc;
mod pods;
mod publishers;
mod replicaset;
mod resource_quota;
mod selector;
mod service_cidrs;
mod storage_protection;
#[cfg(test)]
mod testing;
mod tokens;

pub use clock::Clock;
pub use error::{Error, Next};
pub use frame::ledger::{Ledger, Report};

use context::{Context, Informers};
use frame::access::Access;
use frame::events::Recorder;
use std::net::Ipv4Addr;
use std::sync::Arc;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::warn;

/// What the controllers need to know. Everything but the client has a default: `Config::new`.
#[derive(Clone)]
pub struct Config {
    pub client: kube::Client,
    /// The range that nodes get their pod ranges from, as `(address, prefix length)`.
    pub cluster_cidr: (Ipv4Addr, u8),
    /// The prefix length of one node's pod range.
    pub node_cidr_mask: u8,
    /// As kube-controller-manager's `--controllers`: `*` is all, `name` is on, `-name` is off; the first match wins.
    pub enabled: Vec<String>,
    /// PEM of the cluster's CA, published as ConfigMap `kube-root-ca.crt` in every namespace. `None`: not published.
    pub root_ca: Option<String>,
    /// What signs certificate signing requests. `None`: nothing does.
    pub authority: Option<Arc<dyn certificates::Authority>>,
    /// How long a node may be silent (`--node-monitor-grace-period`).
    pub node_grace: std::time::Duration,
    /// How many terminated pods are kept (`--terminated-pod-gc-threshold`).
    pub terminated_pods: usize,
    pub clock: Clock,
    /// Filled with each controller's last result.
    pub ledger: Ledger,
}

impl Config {
    #[must_use]
    pub fn new(client: kube::Client) -> Self {
        Self {
            client,
            cluster_cidr: (Ipv4Addr::new(127, 64, 0, 0), 12),
            node_cidr_mask: 24,
            enabled: vec!["*".into()],
            root_ca: None,
            authority: None,
            node_grace: std::time::Duration::from_secs(40),
            terminated_pods: 12_500,
            clock: Clock::system(),
            ledger: Ledger::default(),
        }
    }

    fn enables(&self, name: &str) -> bool {
        for entry in &self.enabled {
            match entry.strip_prefix('-') {
                Some(off) if off == name => return false,
                None if entry == name || entry == "*" => return true,
                _ => {}
            }
        }
        false
    }
}

/// Builds a controller, hooks it up to the informers it wants and spawns its task.
type Starter = fn(&Config, &Context, &mut JoinSet<()>);

/// All controllers, under Kubernetes' names.
const CONTROLLERS: [(&str, Starter); 27] = [
    ("deployment-controller", deployment::start),
    ("replicaset-controller", replicaset::start_replica_sets),
    ("replicationcontroller-controller", replicaset::start_replication_controllers),
    ("job-controller", job::start),
    ("ttl-after-finished-controller", job::ttl::start),
    ("endpointslice-controller", endpoints::start_slices),
    ("endpoints-controller", endpoints::start_legacy),
    ("endpointslice-mirroring-controller", endpoints::mirror::start),
    ("namespace-controller", namespace::start),
    ("pod-garbage-collector-controller", pod_gc::start),
    ("node-ipam-controller", node::ipam::start),
    ("node-lifecycle-controller", node::lifecycle::start),
    ("taint-eviction-controller", node::eviction::start),
    ("serviceaccount-controller", publishers::start_service_accounts),
    ("root-ca-certificate-publisher-controller", publishers::start_root_ca),
    ("serviceaccount-token-controller", tokens::start_account_tokens),
    ("disruption-controller", disruption::start),
    ("token-cleaner-controller", tokens::start_bootstrap_tokens),
    ("clusterrole-aggregation-controller", cluster_roles::start),
    ("certificatesigningrequest-approving-controller", certificates::start_approver),
    ("certificatesigningrequest-signing-controller", certificates::start_signer),
    ("certificatesigningrequest-cleaner-controller", certificates::start_cleaner),
    ("resourcequota-controller", resource_quota::start),
    ("persistentvolumeclaim-protection-controller", storage_protection::start_claims),
    ("persistentvolume-protection-controller", storage_protection::start_volumes),
    ("service-cidr-controller", service_cidrs::start),
    // Last: it shares the informers that the others want.
    ("garbage-collector-controller", garbage::start),
];

/// The names that [`Config::enabled`] knows.
pub fn names() -> impl Iterator<Item = &'static str> {
    CONTROLLERS.iter().map(|(name, _)| *name)
}

/// Runs the enabled controllers until `token` is cancelled. Ends after all of their tasks have.
pub async fn run(config: Config, token: CancellationToken) {
    let mut tasks = JoinSet::new();
    let access = Access::new(config.client.clone());
    let events = Recorder::start(access.clone(), config.clock.clone(), &mut tasks);
    let context = Context {
        access,
        informers: Informers::default(),
        events,
        clock: config.clock.clone(),
        ledger: config.ledger.clone(),
        token: token.clone(),
    };
    for unknown in config.enabled.iter().map(|e| e.trim_start_matches('-')) {
        if unknown != "*" && names().all(|name| name != unknown) {
            warn!(controller = unknown, "no such controller");
        }
    }
    for (name, start) in CONTROLLERS {
        if config.enables(name) {
            start(&config, &context, &mut tasks);
        }
    }
    context.informers.start(&context.access, &mut tasks, &token);
    drop(context);
    token.cancelled().await;
    tasks.shutdown().await;
}

#[cfg(test)]
mod config_tests {
    use super::*;

    #[tokio::test]
    async fn the_first_match_decides_what_is_enabled() {
        let mut config = Config::new(testing::Fake::default().client());
        for (list, expected) in [
            (&["*"][..], true),
            (&["-job-controller", "*"][..], false),
            (&["job-controller"][..], true),
            (&["deployment-controller"][..], false),
            (&[][..], false),
        ] {
            config.enabled = list.iter().map(|name| (*name).to_owned()).collect();
            assert_eq!(config.enables("job-controller"), expected, "{list:?}");
        }
    }
}
