//! What every controller is given: API access, the shared informers, events, the clock.

use crate::clock::Clock;
use crate::frame::access::Access;
use crate::frame::events::Recorder;
use crate::frame::informer::{Index, Informer, by_label, by_namespace, by_owner, unindexed};
use crate::frame::ledger::Ledger;
use crate::frame::queue::Queue;
use crate::frame::runner::{Reconciler, run};
use crate::k8s::api::apps::v1::{Deployment, ReplicaSet};
use crate::k8s::api::batch::v1::Job;
use crate::k8s::api::certificates::v1::CertificateSigningRequest;
use crate::k8s::api::coordination::v1::Lease;
use crate::k8s::api::core::v1::{
    ConfigMap, Endpoints, Namespace, Node, PersistentVolume, PersistentVolumeClaim, Pod, ReplicationController,
    ResourceQuota, Service, ServiceAccount,
};
use crate::k8s::api::discovery::v1::EndpointSlice;
use crate::k8s::api::networking::v1::{IPAddress, ServiceCIDR};
use crate::k8s::api::policy::v1::PodDisruptionBudget;
use crate::k8s::api::rbac::v1::ClusterRole;
use crate::pods;
use crate::publishers::ROOT_CA;
use crate::service_cidrs;
use std::sync::Arc;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::Instrument;

/// One informer per kind; only those that a controller marks as wanted run.
#[derive(Clone)]
pub struct Informers {
    pub pods: Informer<Pod>,
    pub nodes: Informer<Node>,
    pub leases: Informer<Lease>,
    pub namespaces: Informer<Namespace>,
    pub services: Informer<Service>,
    pub endpoints: Informer<Endpoints>,
    pub endpoint_slices: Informer<EndpointSlice>,
    pub deployments: Informer<Deployment>,
    pub replica_sets: Informer<ReplicaSet>,
    pub replication_controllers: Informer<ReplicationController>,
    pub jobs: Informer<Job>,
    pub service_accounts: Informer<ServiceAccount>,
    /// Those with the root certificate, one in each namespace.
    pub config_maps: Informer<ConfigMap>,
    pub cluster_roles: Informer<ClusterRole>,
    pub signing_requests: Informer<CertificateSigningRequest>,
    pub resource_quotas: Informer<ResourceQuota>,
    pub claims: Informer<PersistentVolumeClaim>,
    pub volumes: Informer<PersistentVolume>,
    pub disruption_budgets: Informer<PodDisruptionBudget>,
    pub service_cidrs: Informer<ServiceCIDR>,
    pub ip_addresses: Informer<IPAddress>,
}

impl Default for Informers {
    fn default() -> Self {
        Self {
            pods: Informer::trimmed(index_pod, pods::trim),
            nodes: Informer::new(unindexed),
            leases: Informer::new(unindexed),
            namespaces: Informer::new(unindexed),
            services: Informer::new(by_namespace),
            endpoints: Informer::new(unindexed),
            endpoint_slices: Informer::new(by_label),
            deployments: Informer::new(unindexed),
            replica_sets: Informer::new(by_owner),
            replication_controllers: Informer::new(unindexed),
            jobs: Informer::new(unindexed),
            service_accounts: Informer::new(unindexed),
            config_maps: Informer::named(ROOT_CA),
            cluster_roles: Informer::new(unindexed),
            signing_requests: Informer::new(unindexed),
            resource_quotas: Informer::new(by_namespace),
            claims: Informer::new(unindexed),
            volumes: Informer::new(unindexed),
            disruption_budgets: Informer::new(by_namespace),
            service_cidrs: Informer::new(unindexed),
            ip_addresses: Informer::trimmed(unindexed, service_cidrs::trim),
        }
    }
}

fn index_pod(pod: &Pod, entries: &mut Vec<Index>) {
    by_namespace(pod, entries);
    by_owner(pod, entries);
    by_label(pod, entries);
    if let Some(node) = pod.spec.as_ref().and_then(|s| s.node_name.clone()) {
        entries.push(Index::Node(node));
    }
}

/// Evaluates an expression for each informer: their types differ, so no loop can. The one place that lists them all.
macro_rules! each_informer {
    ($informers:expr, $informer:ident => $body:expr) => {{
        let all = $informers;
        {
            let $informer = &all.pods;
            $body;
        }
        {
            let $informer = &all.nodes;
            $body;
        }
        {
            let $informer = &all.leases;
            $body;
        }
        {
            let $informer = &all.namespaces;
            $body;
        }
        {
            let $informer = &all.services;
            $body;
        }
        {
            let $informer = &all.endpoints;
            $body;
        }
        {
            let $informer = &all.endpoint_slices;
            $body;
        }
        {
            let $informer = &all.deployments;
            $body;
        }
        {
            let $informer = &all.replica_sets;
            $body;
        }
        {
            let $informer = &all.replication_controllers;
            $body;
        }
        {
            let $informer = &all.jobs;
            $body;
        }
        {
            let $informer = &all.service_accounts;
            $body;
        }
        {
            let $informer = &all.config_maps;
            $body;
        }
        {
            let $informer = &all.cluster_roles;
            $body;
        }
        {
            let $informer = &all.signing_requests;
            $body;
        }
        {
            let $informer = &all.resource_quotas;
            $body;
        }
        {
            let $informer = &all.claims;
            $body;
        }
        {
            let $informer = &all.volumes;
            $body;
        }
        {
            let $informer = &all.disruption_budgets;
            $body;
        }
        {
            let $informer = &all.service_cidrs;
            $body;
        }
        {
            let $informer = &all.ip_addresses;
            $body;
        }
    }};
}
pub(crate) use each_informer;

impl Informers {
    pub(crate) fn start(&self, access: &Access, tasks: &mut JoinSet<()>, token: &CancellationToken) {
        each_informer!(self, informer => informer.start(access, tasks, token));
    }

    /// Waits until all wanted informers have their first list.
    pub async fn synced(&self) {
        each_informer!(self, informer => informer.synced().await);
    }
}

/// What a controller is built from.
#[derive(Clone)]
pub struct Context {
    pub access: Access,
    pub informers: Informers,
    pub events: Recorder,
    pub clock: Clock,
    pub ledger: Ledger,
    pub token: CancellationToken,
}

impl Context {
    /// Runs the reconciler on its queue once the informers are in step.
    pub(crate) fn spawn<R: Reconciler>(&self, tasks: &mut JoinSet<()>, reconciler: Arc<R>, queue: Arc<Queue>) {
        let (informers, clock, token) = (self.informers.clone(), self.clock.clone(), self.token.clone());
        let entry = self.ledger.entry(R::NAME);
        let task = async move {
            if token.run_until_cancelled(informers.synced()).await.is_none() {
                return;
            }
            for key in reconciler.keys() {
                queue.add(key);
            }
            run(reconciler, queue, entry, clock, token).await;
        };
        tasks.spawn(task.instrument(tracing::info_span!("controller", name = R::NAME)));
    }
}
