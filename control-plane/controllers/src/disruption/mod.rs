//! PodDisruptionBudgets: how many of the pods that a budget selects may be evicted now (`pkg/controller/disruption`).
//! The eviction subresource reads it, takes one off and records the pod; this controller counts anew.

mod plan;
#[cfg(test)]
mod tests;

use crate::clock::Clock;
use crate::context::Context;
use crate::frame::access::{Access, Kind, status_patch};
use crate::frame::events::{Note, Recorder};
use crate::frame::informer::{Change, Index, Informer};
use crate::frame::key::Key;
use crate::frame::queue::Queue;
use crate::frame::runner::Reconciler;
use crate::garbage::discovery::Catalog;
use crate::k8s::api::apps::v1::{Deployment, ReplicaSet};
use crate::k8s::api::core::v1::{Pod, ReplicationController};
use crate::k8s::api::policy::v1::{PodDisruptionBudget, PodDisruptionBudgetSpec, PodDisruptionBudgetStatus};
use crate::k8s::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use crate::owners::controller_of;
use crate::selector::Selector;
use crate::{Config, Error, Next, pods};
use async_trait::async_trait;
use kube::core::Request;
use parking_lot::Mutex;
use plan::{Basis, Counts, Disrupted};
use serde_json::Value;
use std::collections::HashMap;
use std::sync::Arc;
use tokio::task::JoinSet;

struct Controller {
    access: Access,
    events: Recorder,
    clock: Clock,
    budgets: Informer<PodDisruptionBudget>,
    pods: Informer<Pod>,
    replica_sets: Informer<ReplicaSet>,
    deployments: Informer<Deployment>,
    replication_controllers: Informer<ReplicationController>,
    /// What is served, asked for when a pod's controller is of no kind that the informers bring.
    catalog: Mutex<Arc<Catalog>>,
}

/// The pods that a budget is about: `None` selects none, an empty selector all of the namespace.
fn selector(budget: &PodDisruptionBudget) -> Option<Selector> {
    Selector::parse(budget.spec.as_ref()?.selector.as_ref()?).ok()
}

fn namespace_of(meta: &ObjectMeta) -> Index {
    Index::Namespace(meta.namespace.clone().unwrap_or_default())
}

/// Looks at all budgets of the namespace when the wanted replicas change.
fn follow<K: Kind>(
    scaled: &Informer<K>,
    budgets: &Informer<PodDisruptionBudget>,
    queue: &Arc<Queue>,
    replicas: fn(&K) -> Option<i32>,
) {
    let (budgets, queue) = (budgets.clone(), Arc::clone(queue));
    scaled.on_change(move |change| {
        if let Change::Updated { old, new } = change
            && (replicas(old) == replicas(new) || budgets.is_empty())
        {
            return;
        }
        for budget in budgets.find(&namespace_of(change.object().meta())) {
            queue.add(Key::of(budget.as_ref()));
        }
    });
}

pub(crate) fn start(_: &Config, context: &Context, tasks: &mut JoinSet<()>) {
    let informers = &context.informers;
    let (budgets, pods) = (informers.disruption_budgets.wanted(), informers.pods.wanted());
    let controller = Controller {
        access: context.access.clone(),
        events: context.events.named("controllermanager"),
        clock: context.clock.clone(),
        budgets: budgets.clone(),
        pods: pods.clone(),
        replica_sets: informers.replica_sets.wanted(),
        deployments: informers.deployments.wanted(),
        replication_controllers: informers.replication_controllers.wanted(),
        catalog: Mutex::default(),
    };
    let queue = Arc::new(Queue::default());
    let signal = Arc::clone(&queue);
    budgets.on_change(move |change| signal.add(Key::of(change.object().as_ref())));
    follow(&controller.replica_sets, &budgets, &queue, |set| set.spec.as_ref()?.replicas);
    follow(&controller.deployments, &budgets, &queue, |deployment| deployment.spec.as_ref()?.replicas);
    follow(&controller.replication_controllers, &budgets, &queue, |set| set.spec.as_ref()?.replicas);
    let signal = Arc::clone(&queue);
    pods.on_change(move |change| {
        // Pods change often, and most clusters have few budgets.
        if budgets.is_empty() {
            return;
        }
        let before = if let Change::Updated { old, .. } = change { Some(&old.metadata) } else { None };
        let pod = &change.object().metadata;
        for budget in budgets.find(&namespace_of(pod)) {
            let selects = |meta: &ObjectMeta| selector(&budget).is_some_and(|s| s.matches(meta.labels.as_ref()));
            if selects(pod) || before.is_some_and(selects) {
                signal.add(Key::of(budget.as_ref()));
            }
        }
    });
    context.spawn(tasks, Arc::new(controller), queue);
}

#[async_trait]
impl Reconciler for Controller {
    const NAME: &'static str = "disruption-controller";
    const WORKERS: usize = 4;

    async fn reconcile(&self, key: &Key) -> Result<Next, Error> {
        let Some(budget) = self.budgets.get(key) else { return Ok(Next::Signal) };
        let spec = budget.spec.clone().unwrap_or_default();
        let selector = selector(&budget);
        let mut selected = self.pods.find(&Index::Namespace(key.namespace().to_owned()));
        selected.retain(|pod| selector.as_ref().is_some_and(|s| s.matches(pod.metadata.labels.as_ref())));
        if selected.is_empty() {
            self.events.record(budget.as_ref(), Note::normal("NoPods", "No matching pods found"));
        }
        let now = self.clock.now();
        let (expected, desired) = match self.expected(&budget, &spec, &selected).await {
            Ok(counted) => counted,
            Err(error) => {
                let why = error.to_string();
                let message = format!("Failed to calculate the number of expected pods: {why}");
                self.events.record(budget.as_ref(), Note::warning("CalculateExpectedPodCountFailed", message));
                self.write(key, &budget, &plan::failed(&budget, &why, now)).await?;
                return Err(error);
            }
        };
        let recorded = budget.status.as_ref().and_then(|s| s.disrupted_pods.as_ref());
        let disrupted = Disrupted::of(recorded, &selected, now);
        for pod in selected.iter().filter(|pod| disrupted.overdue.iter().any(|name| name == pods::name(pod))) {
            let message = format!("Pod was expected by PDB {key} to be deleted but it wasn't");
            self.events.record(pod.as_ref(), Note::warning("NotDeleted", message));
        }
        let counts = Counts { healthy: plan::healthy(&selected, &disrupted), desired, expected };
        self.write(key, &budget, &plan::status(&budget, counts, &disrupted, now)).await?;
        Ok(Next::Signal.or_after(disrupted.look_again))
    }

    fn keys(&self) -> Vec<Key> {
        self.budgets.keys()
    }
}

impl Controller {
    async fn write(
        &self,
        key: &Key,
        budget: &PodDisruptionBudget,
        status: &PodDisruptionBudgetStatus,
    ) -> Result<(), Error> {
        let old = budget.status.clone().unwrap_or_default();
        let version = budget.metadata.resource_version.as_deref();
        let Some(patch) = status_patch(version, &old, status) else { return Ok(()) };
        match self.access.patch_status::<PodDisruptionBudget>(key, &patch).await {
            Ok(written) => self.budgets.learn(written),
            Err(error) if error.is_not_found() => {}
            Err(error) => return Err(error),
        }
        Ok(())
    }

    /// How many pods there should be, and how many of them healthy.
    async fn expected(
        &self,
        budget: &PodDisruptionBudget,
        spec: &PodDisruptionBudgetSpec,
        pods: &[Arc<Pod>],
    ) -> Result<(i32, i32), Error> {
        let expected = match plan::basis(spec) {
            Basis::Nothing => 0,
            Basis::Pods => plan::count(pods.len()),
            Basis::Scale => self.scales(budget, pods).await?,
        };
        let desired = plan::desired(spec, expected).map_err(Error::Disruption)?;
        Ok((expected, desired))
    }

    /// The sum of the scales of the pods' controllers.
    async fn scales(&self, budget: &PodDisruptionBudget, pods: &[Arc<Pod>]) -> Result<i32, Error> {
        let namespace = budget.metadata.namespace.as_deref().unwrap_or_default();
        let mut scales: HashMap<String, i32> = HashMap::new();
        let (mut known, mut unmanaged) = (std::collections::HashSet::new(), false);
        for pod in pods {
            let Some(owner) = controller_of(&pod.metadata) else {
                unmanaged = true;
                continue;
            };
            if !known.insert(owner.uid.clone()) {
                continue;
            }
            let found = self.scale(namespace, owner).await?;
            let (uid, replicas) = found
                .ok_or_else(|| Error::Disruption(format!("found no controllers for pod {:?}", pods::name(pod))))?;
            scales.insert(uid, replicas);
        }
        if unmanaged {
            let text = "Pods selected by this PodDisruptionBudget were found to be unmanaged. As a result, the status of the PDB cannot be calculated correctly, which may result in undefined behavior. To account for these pods please set \".spec.minAvailable\" field of the PDB to an integer value.";
            self.events.record(budget, Note::warning("UnmanagedPods", text));
        }
        Ok(scales.values().fold(0, |sum: i32, scale| sum.saturating_add(*scale)))
    }

    /// UID and wanted replicas of what stands behind a pod's controller: a ReplicaSet's Deployment, or itself.
    async fn scale(&self, namespace: &str, owner: &OwnerReference) -> Result<Option<(String, i32)>, Error> {
        let key = Key::new(namespace, &owner.name);
        let is = |meta: &ObjectMeta, uid: &str| meta.uid.as_deref() == Some(uid);
        match (owner.api_version.as_str(), owner.kind.as_str()) {
            ("apps/v1", "ReplicaSet") => {
                let Some(set) = self.replica_sets.get(&key).filter(|s| is(&s.metadata, &owner.uid)) else {
                    return Ok(None);
                };
                let Some(above) = controller_of(&set.metadata).filter(|owner| owner.kind == "Deployment") else {
                    return Ok(Some((owner.uid.clone(), set.spec.as_ref().and_then(|s| s.replicas).unwrap_or(1))));
                };
                let deployment = self.deployments.get(&Key::new(namespace, &above.name));
                let found = deployment.filter(|d| is(&d.metadata, &above.uid));
                Ok(found.map(|d| (above.uid.clone(), d.spec.as_ref().and_then(|s| s.replicas).unwrap_or(1))))
            }
            ("v1", "ReplicationController") => {
                let found = self.replication_controllers.get(&key).filter(|s| is(&s.metadata, &owner.uid));
                Ok(found.map(|s| (owner.uid.clone(), s.spec.as_ref().and_then(|s| s.replicas).unwrap_or(1))))
            }
            _ => self.served_scale(namespace, owner).await,
        }
    }

    /// From the `scale` subresource of whatever kind it is.
    async fn served_scale(&self, namespace: &str, owner: &OwnerReference) -> Result<Option<(String, i32)>, Error> {
        let known = |catalog: &Catalog| catalog.kind(&owner.api_version, &owner.kind).cloned();
        let mut served = known(&self.catalog.lock());
        if served.is_none() {
            let fresh = Arc::new(Catalog::read(&self.access).await?);
            served = known(&fresh);
            *self.catalog.lock() = fresh;
        }
        let Some(served) = served else { return Ok(None) };
        let path = served.path(Some(namespace));
        match self.access.send::<Value>(Request::new(&path).get_subresource("scale", &owner.name)).await {
            Ok(scale) if scale["metadata"]["uid"] == owner.uid.as_str() => {
                let replicas = scale["spec"]["replicas"].as_i64().unwrap_or(0);
                Ok(Some((owner.uid.clone(), i32::try_from(replicas).unwrap_or(i32::MAX))))
            }
            Ok(_) => Ok(None),
            Err(kube::Error::Api(status)) if status.code == 404 => {
                Err(Error::Disruption(format!("{} does not implement the scale subresource", served.name())))
            }
            Err(error) => Err(Error::api("get the scale of", format!("{path}/{}", owner.name))(error)),
        }
    }
}
