//! Deployments: ReplicaSets by template, rolled over from old to new.

mod plan;
mod rollout;
mod sets;
mod status;
#[cfg(test)]
mod tests;

use crate::clock::Clock;
use crate::context::Context;
use crate::frame::access::{Access, status_patch};
use crate::frame::events::{Note, Recorder};
use crate::frame::informer::{Change, Index, Informer};
use crate::frame::key::Key;
use crate::frame::queue::Queue;
use crate::frame::runner::Reconciler;
use crate::k8s::api::apps::v1::{Deployment, DeploymentStatus, ReplicaSet};
use crate::k8s::api::core::v1::Pod;
use crate::owners::{claim, controller_of};
use crate::pods;
use crate::selector::Selector;
use crate::{Config, Error, Next};
use async_trait::async_trait;
use kube::api::{DeleteParams, Preconditions, PropagationPolicy};
use plan::{Plan, View, plan};
use serde_json::json;
use sets::Set;
use std::collections::HashSet;
use std::sync::Arc;
use tokio::task::JoinSet;

struct Controller {
    access: Access,
    deployments: Informer<Deployment>,
    replica_sets: Informer<ReplicaSet>,
    pods: Informer<Pod>,
    events: Recorder,
    clock: Clock,
}

pub(crate) fn start(_: &Config, context: &Context, tasks: &mut JoinSet<()>) {
    let informers = &context.informers;
    let (deployments, replica_sets) = (informers.deployments.wanted(), informers.replica_sets.wanted());
    let pods = informers.pods.wanted();
    let queue = Arc::new(Queue::default());
    let signal = Arc::clone(&queue);
    deployments.on_change(move |change| signal.add(Key::of(change.object().as_ref())));
    let (signal, all) = (Arc::clone(&queue), deployments.clone());
    replica_sets.on_change(move |change| {
        wake(&signal, &all, change.object());
        if let Change::Updated { old, .. } = change {
            wake(&signal, &all, old);
        }
    });
    // Recreate waits for the last old pod to go.
    let (signal, all, sets) = (Arc::clone(&queue), deployments.clone(), replica_sets.clone());
    pods.on_change(move |change| {
        let ended = match change {
            Change::Added(_) => false,
            Change::Deleted(_) => true,
            Change::Updated { old, new } => !pods::is_terminal(old) && pods::is_terminal(new),
        };
        if ended {
            wake_recreate(&signal, &all, &sets, change.object());
        }
    });
    let controller = Controller {
        access: context.access.clone(),
        deployments,
        replica_sets,
        pods,
        events: context.events.named("deployment-controller"),
        clock: context.clock.clone(),
    };
    context.spawn(tasks, Arc::new(controller), queue);
}

fn wake(queue: &Queue, deployments: &Informer<Deployment>, set: &ReplicaSet) {
    let namespace = set.metadata.namespace.as_deref().unwrap_or_default();
    match controller_of(&set.metadata) {
        Some(owner) if owner.kind == "Deployment" => queue.add(Key::new(namespace, &owner.name)),
        Some(_) => {}
        None => {
            for deployment in deployments.all() {
                let here = deployment.metadata.namespace.as_deref() == Some(namespace);
                if here && selector(&deployment).is_ok_and(|s| s.matches(set.metadata.labels.as_ref())) {
                    queue.add(Key::of(deployment.as_ref()));
                }
            }
        }
    }
}

fn wake_recreate(queue: &Queue, deployments: &Informer<Deployment>, sets: &Informer<ReplicaSet>, pod: &Pod) {
    let namespace = pod.metadata.namespace.as_deref().unwrap_or_default();
    let set = controller_of(&pod.metadata)
        .filter(|owner| owner.kind == "ReplicaSet")
        .and_then(|owner| sets.get(&Key::new(namespace, &owner.name)));
    let owner = set.as_ref().and_then(|set| controller_of(&set.metadata));
    let deployment = owner.and_then(|owner| deployments.get(&Key::new(namespace, &owner.name)));
    if let Some(deployment) = deployment.filter(|d| sets::is_recreate(d)) {
        queue.add(Key::of(deployment.as_ref()));
    }
}

fn selector(deployment: &Deployment) -> Result<Selector, String> {
    Selector::parse(&deployment.spec.as_ref().map(|s| s.selector.clone()).unwrap_or_default())
}

#[async_trait]
impl Reconciler for Controller {
    const NAME: &'static str = "deployment-controller";

    async fn reconcile(&self, key: &Key) -> Result<Next, Error> {
        let Some(deployment) = self.deployments.get(key) else { return Ok(Next::Signal) };
        let selector = selector(&deployment).map_err(|reason| Error::Selector {
            kind: "Deployment",
            name: key.to_string(),
            reason,
        })?;
        if selector.is_empty() {
            let message = "This deployment is selecting all pods. A non-empty selector is required.";
            self.events.record(deployment.as_ref(), Note::warning("SelectingAll", message));
            return Ok(Next::Signal);
        }
        let replica_sets = claim(&self.access, &self.replica_sets, deployment.as_ref(), &selector).await?;
        let running = self.running(&replica_sets);
        let view = View { deployment: &deployment, replica_sets, running, now: self.clock.now() };
        let plan = plan(&view);
        self.carry_out(key, &deployment, plan).await
    }

    fn keys(&self) -> Vec<Key> {
        self.deployments.keys()
    }
}

impl Controller {
    fn running(&self, sets: &[Arc<ReplicaSet>]) -> HashSet<String> {
        let runs = |uid: &String| {
            let pods = self.pods.find(&Index::Owner(uid.clone()));
            pods.iter().any(|pod| !pods::is_terminal(pod))
        };
        sets.iter().filter_map(|set| set.metadata.uid.clone()).filter(runs).collect()
    }

    async fn carry_out(&self, key: &Key, deployment: &Deployment, plan: Plan) -> Result<Next, Error> {
        for set in &plan.sets {
            self.write_set(key, deployment, set).await?;
        }
        for set in &plan.delete {
            let key = Key::of(set.as_ref());
            let preconditions = Preconditions { uid: set.metadata.uid.clone(), resource_version: None };
            let params = DeleteParams {
                preconditions: Some(preconditions),
                propagation_policy: Some(PropagationPolicy::Background),
                ..DeleteParams::default()
            };
            self.access.delete::<ReplicaSet>(&key, &params).await?;
            self.replica_sets.forget(&key, set.metadata.uid.as_deref().unwrap_or_default());
        }
        let mut version = deployment.metadata.resource_version.clone();
        if let Some(revision) = plan.revision {
            let patch = json!({"metadata": {"resourceVersion": version, "annotations": {sets::REVISION: revision}}});
            let written = self.access.patch::<Deployment>(key, &patch).await?;
            version.clone_from(&written.metadata.resource_version);
            self.deployments.learn(written);
        }
        self.write_status(key, deployment, version.as_deref(), plan.status).await?;
        Ok(Next::Signal.or_after(plan.wait))
    }

    async fn write_status(
        &self,
        key: &Key,
        deployment: &Deployment,
        version: Option<&str>,
        status: DeploymentStatus,
    ) -> Result<(), Error> {
        if let Some(patch) = status_patch(version, &deployment.status, &Some(status)) {
            match self.access.patch_status::<Deployment>(key, &patch).await {
                Ok(written) => self.deployments.learn(written),
                Err(error) if error.is_not_found() => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    async fn write_set(&self, key: &Key, deployment: &Deployment, set: &Set) -> Result<(), Error> {
        let written = match &set.stored {
            Some(stored) => match set.patch() {
                None => return Ok(()),
                Some(patch) => self.access.patch::<ReplicaSet>(&Key::of(stored.as_ref()), &patch).await,
            },
            None => match self.access.create(&set.now).await {
                Err(error) if error.is_already_exists() => return self.collided(key, deployment, set).await,
                Err(error) if error.is_namespace_terminating() => return Ok(()),
                Err(error) => {
                    self.cannot_create(key, deployment, set, &error).await;
                    return Err(error);
                }
                created => created,
            },
        };
        self.replica_sets.learn(written?);
        for note in &set.notes {
            self.events.record(deployment, note.clone());
        }
        Ok(())
    }

    /// A ReplicaSet of that name is there already: ours that we have not seen yet, or another template with our hash.
    async fn collided(&self, key: &Key, deployment: &Deployment, set: &Set) -> Result<(), Error> {
        let name = Key::new(key.namespace(), set.name());
        let ours = self.access.get::<ReplicaSet>(&name).await?.filter(|found| {
            let owner = controller_of(&found.metadata).map(|o| &o.uid);
            owner == deployment.metadata.uid.as_ref()
                && sets::same_template(&Set::stored(&Arc::new(found.clone())).template(), &set.template())
        });
        if let Some(found) = ours {
            self.replica_sets.learn(found);
            return Err(Error::Collision(format!("ReplicaSet {name} was not seen yet")));
        }
        let mut status = deployment.status.clone().unwrap_or_default();
        status.collision_count = Some(status.collision_count.unwrap_or(0).wrapping_add(1));
        let version = deployment.metadata.resource_version.as_deref();
        self.write_status(key, deployment, version, status).await?;
        Err(Error::Collision(format!("ReplicaSet {name} is another's: taking the next hash")))
    }

    async fn cannot_create(&self, key: &Key, deployment: &Deployment, set: &Set, error: &Error) {
        let message = format!("Failed to create new replica set \"{}\": {}", set.name(), error.reason());
        self.events.record(deployment, Note::warning("ReplicaSetCreateError", message.clone()));
        if status::deadline(deployment).is_none() {
            return;
        }
        let mut next = deployment.status.clone().unwrap_or_default();
        let now = self.clock.now();
        let failed = status::condition(status::PROGRESSING, "False", "ReplicaSetCreateError", message, now);
        status::set(&mut next, failed);
        let version = deployment.metadata.resource_version.as_deref();
        // The create's own error is what the queue retries; this one would say the same.
        let _ = self.write_status(key, deployment, version, next).await;
    }
}
