//! ReplicaSets and ReplicationControllers: the number of pods of one template.

mod plan;
mod rank;
#[cfg(test)]
mod tests;

use crate::clock::Clock;
use crate::context::Context;
use crate::frame::access::{Access, Deleted, Kind, status_patch};
use crate::frame::batch::slow_start;
use crate::frame::events::{Note, Recorder};
use crate::frame::informer::{Change, Index, Informer};
use crate::frame::key::Key;
use crate::frame::queue::Queue;
use crate::frame::runner::Reconciler;
use crate::k8s::api::apps::v1::{ReplicaSet, ReplicaSetCondition, ReplicaSetStatus};
use crate::k8s::api::core::v1::{
    Pod, PodTemplateSpec, ReplicationController, ReplicationControllerCondition, ReplicationControllerStatus,
};
use crate::owners::{claim, controller_of, controller_ref};
use crate::pods;
use crate::selector::Selector;
use crate::{Config, Error, Next};
use async_trait::async_trait;
use kube::api::{DeleteParams, Preconditions};
use plan::{Failure, Status, desired_status, replicas_to_move};
use std::sync::Arc;
use tokio::task::JoinSet;

/// What the two kinds have in common.
trait Replicated: Kind {
    const CONTROLLER: &'static str;
    const COMPONENT: &'static str;

    fn selector(&self) -> Result<Selector, String>;
    fn replicas(&self) -> i32;
    fn min_ready_seconds(&self) -> i32;
    fn template(&self) -> PodTemplateSpec;
    fn status(&self) -> Status;
    /// The status patch towards `status`, if it differs from what is stored.
    fn status_change(&self, status: Status) -> Option<serde_json::Value>;
}

impl Replicated for ReplicaSet {
    const CONTROLLER: &'static str = "replicaset-controller";
    const COMPONENT: &'static str = "replicaset-controller";

    fn selector(&self) -> Result<Selector, String> {
        Selector::parse(&self.spec.as_ref().map(|s| s.selector.clone()).unwrap_or_default())
    }

    fn replicas(&self) -> i32 {
        self.spec.as_ref().and_then(|s| s.replicas).unwrap_or(1)
    }

    fn min_ready_seconds(&self) -> i32 {
        self.spec.as_ref().and_then(|s| s.min_ready_seconds).unwrap_or(0)
    }

    fn template(&self) -> PodTemplateSpec {
        self.spec.as_ref().and_then(|s| s.template.clone()).unwrap_or_default()
    }

    fn status(&self) -> Status {
        let status = self.status.clone().unwrap_or_default();
        Status {
            replicas: status.replicas,
            fully_labeled: status.fully_labeled_replicas.unwrap_or(0),
            ready: status.ready_replicas.unwrap_or(0),
            available: status.available_replicas.unwrap_or(0),
            terminating: status.terminating_replicas,
            observed_generation: status.observed_generation.unwrap_or(0),
            failure: status.conditions.unwrap_or_default().into_iter().find(|c| c.type_ == "ReplicaFailure").map(|c| {
                Failure {
                    reason: c.reason.unwrap_or_default(),
                    message: c.message.unwrap_or_default(),
                    since: c.last_transition_time,
                }
            }),
        }
    }

    fn status_change(&self, status: Status) -> Option<serde_json::Value> {
        let old = self.status.clone().unwrap_or_default();
        let mut conditions: Vec<_> =
            old.conditions.iter().flatten().filter(|c| c.type_ != "ReplicaFailure").cloned().collect();
        conditions.extend(status.failure.map(|failure| ReplicaSetCondition {
            type_: "ReplicaFailure".into(),
            status: "True".into(),
            reason: Some(failure.reason),
            message: Some(failure.message),
            last_transition_time: failure.since,
        }));
        let new = ReplicaSetStatus {
            replicas: status.replicas,
            fully_labeled_replicas: some_of(status.fully_labeled),
            ready_replicas: some_of(status.ready),
            available_replicas: some_of(status.available),
            terminating_replicas: status.terminating,
            observed_generation: Some(status.observed_generation),
            conditions: (!conditions.is_empty()).then_some(conditions),
        };
        status_patch(self.metadata.resource_version.as_deref(), &self.status, &Some(new))
    }
}

impl Replicated for ReplicationController {
    const CONTROLLER: &'static str = "replicationcontroller-controller";
    const COMPONENT: &'static str = "replication-controller";

    fn selector(&self) -> Result<Selector, String> {
        Ok(Selector::from_map(self.spec.as_ref().and_then(|s| s.selector.as_ref())))
    }

    fn replicas(&self) -> i32 {
        self.spec.as_ref().and_then(|s| s.replicas).unwrap_or(1)
    }

    fn min_ready_seconds(&self) -> i32 {
        self.spec.as_ref().and_then(|s| s.min_ready_seconds).unwrap_or(0)
    }

    fn template(&self) -> PodTemplateSpec {
        self.spec.as_ref().and_then(|s| s.template.clone()).unwrap_or_default()
    }

    fn status(&self) -> Status {
        let status = self.status.clone().unwrap_or_default();
        Status {
            replicas: status.replicas,
            fully_labeled: status.fully_labeled_replicas.unwrap_or(0),
            ready: status.ready_replicas.unwrap_or(0),
            available: status.available_replicas.unwrap_or(0),
            terminating: None,
            observed_generation: status.observed_generation.unwrap_or(0),
            failure: status.conditions.unwrap_or_default().into_iter().find(|c| c.type_ == "ReplicaFailure").map(|c| {
                Failure {
                    reason: c.reason.unwrap_or_default(),
                    message: c.message.unwrap_or_default(),
                    since: c.last_transition_time,
                }
            }),
        }
    }

    fn status_change(&self, status: Status) -> Option<serde_json::Value> {
        let old = self.status.clone().unwrap_or_default();
        let mut conditions: Vec<_> =
            old.conditions.iter().flatten().filter(|c| c.type_ != "ReplicaFailure").cloned().collect();
        conditions.extend(status.failure.map(|failure| ReplicationControllerCondition {
            type_: "ReplicaFailure".into(),
            status: "True".into(),
            reason: Some(failure.reason),
            message: Some(failure.message),
            last_transition_time: failure.since,
        }));
        let new = ReplicationControllerStatus {
            replicas: status.replicas,
            fully_labeled_replicas: some_of(status.fully_labeled),
            ready_replicas: some_of(status.ready),
            available_replicas: some_of(status.available),
            observed_generation: Some(status.observed_generation),
            conditions: (!conditions.is_empty()).then_some(conditions),
        };
        status_patch(self.metadata.resource_version.as_deref(), &self.status, &Some(new))
    }
}

/// Kubernetes leaves zeros out.
fn some_of(count: i32) -> Option<i32> {
    (count != 0).then_some(count)
}

struct Controller<K> {
    access: Access,
    objects: Informer<K>,
    pods: Informer<Pod>,
    events: Recorder,
    clock: Clock,
}

pub(crate) fn start_replica_sets(_: &Config, context: &Context, tasks: &mut JoinSet<()>) {
    start(context, context.informers.replica_sets.wanted(), tasks);
}

pub(crate) fn start_replication_controllers(_: &Config, context: &Context, tasks: &mut JoinSet<()>) {
    start(context, context.informers.replication_controllers.wanted(), tasks);
}

fn start<K: Replicated>(context: &Context, objects: Informer<K>, tasks: &mut JoinSet<()>)
where
    Controller<K>: Reconciler,
{
    let pods = context.informers.pods.wanted();
    let queue = Arc::new(Queue::default());
    let signal = Arc::clone(&queue);
    objects.on_change(move |change| signal.add(Key::of(change.object().as_ref())));
    let (signal, owners) = (Arc::clone(&queue), objects.clone());
    pods.on_change(move |change| {
        let Change::Updated { old, new } = change else { return wake_owner(&signal, &owners, change.object()) };
        let uid = |pod: &Pod| controller_of(&pod.metadata).map(|owner| owner.uid.clone());
        let moved = uid(old) != uid(new);
        if moved {
            wake_owner(&signal, &owners, old);
        }
        if moved || uid(new).is_some() || old.metadata.labels != new.metadata.labels {
            wake_owner(&signal, &owners, new);
        }
    });
    let controller = Controller {
        access: context.access.clone(),
        objects,
        pods,
        events: context.events.named(K::COMPONENT),
        clock: context.clock.clone(),
    };
    context.spawn(tasks, Arc::new(controller), queue);
}

/// Adds the pod's controller to the queue; for an orphan, everything that might adopt it.
fn wake_owner<K: Replicated>(queue: &Queue, owners: &Informer<K>, pod: &Pod) {
    let namespace = pod.metadata.namespace.as_deref().unwrap_or_default();
    match controller_of(&pod.metadata) {
        Some(owner) if owner.kind == K::kind(&()) => queue.add(Key::new(namespace, &owner.name)),
        Some(_) => {}
        None if pods::is_terminating(pod) => {}
        None => {
            for object in owners.all() {
                let here = object.meta().namespace.as_deref() == Some(namespace);
                let matches =
                    || object.selector().is_ok_and(|s| !s.is_empty() && s.matches(pod.metadata.labels.as_ref()));
                if here && matches() {
                    queue.add(Key::of(object.as_ref()));
                }
            }
        }
    }
}

macro_rules! reconciler {
    ($kind:ty, $workers:expr) => {
        #[async_trait]
        impl Reconciler for Controller<$kind> {
            const NAME: &'static str = <$kind as Replicated>::CONTROLLER;
            const WORKERS: usize = $workers;

            async fn reconcile(&self, key: &Key) -> Result<Next, Error> {
                self.sync(key).await
            }

            fn keys(&self) -> Vec<Key> {
                self.objects.keys()
            }
        }
    };
}
reconciler!(ReplicaSet, 16);
reconciler!(ReplicationController, 4);

impl<K: Replicated> Controller<K> {
    async fn sync(&self, key: &Key) -> Result<Next, Error> {
        let Some(object) = self.objects.get(key) else { return Ok(Next::Signal) };
        let selector = object.selector().map_err(|reason| Error::Selector {
            kind: K::CONTROLLER,
            name: key.to_string(),
            reason,
        })?;
        if selector.is_empty() {
            return Ok(Next::Signal);
        }
        let mut mine = claim(&self.access, &self.pods, object.as_ref(), &selector).await?;
        let failure = if object.meta().deletion_timestamp.is_none() {
            self.manage(object.as_ref(), &mut mine).await
        } else {
            None
        };
        let now = self.clock.now();
        let (status, wait) = desired_status(
            &object.status(),
            &mine,
            &object.template(),
            object.min_ready_seconds(),
            failure.as_ref().map(|(reason, error)| (*reason, error.reason())),
            object.meta().generation.unwrap_or(0),
            now,
        );
        if let Some(patch) = object.status_change(status) {
            match self.access.patch_status::<K>(key, &patch).await {
                Ok(written) => self.objects.learn(written),
                Err(error) if error.is_not_found() => return Ok(Next::Signal),
                Err(error) => return Err(error),
            }
        }
        match failure {
            Some((_, error)) => Err(error),
            None => Ok(Next::Signal.or_after(wait)),
        }
    }

    /// Creates or deletes pods towards the wanted number; keeps `mine` up to date.
    async fn manage(&self, object: &K, mine: &mut Vec<Arc<Pod>>) -> Option<(&'static str, Error)> {
        let active: Vec<_> = mine.iter().filter(|pod| pods::is_active(pod)).cloned().collect();
        let missing = replicas_to_move(object.replicas(), active.len());
        if missing > 0 {
            self.create(object, missing.unsigned_abs(), mine).await
        } else if missing < 0 {
            let surplus = missing.unsigned_abs();
            let related = self.related(object);
            let victims = rank::victims(active, &related, surplus, self.clock.now());
            self.delete(object, victims, mine).await
        } else {
            None
        }
    }

    async fn create(&self, object: &K, count: usize, mine: &mut Vec<Arc<Pod>>) -> Option<(&'static str, Error)> {
        let namespace = object.meta().namespace.as_deref().unwrap_or_default();
        let prefix = pods::name_prefix(object.meta().name.as_deref().unwrap_or_default());
        let pod = pods::from_template(&object.template(), namespace, &prefix, controller_ref(object));
        let results = slow_start(vec![&pod; count], |pod| self.create_one(object, pod)).await;
        let mut failure = None;
        for result in results {
            match result {
                Ok(pod) => mine.push(pod),
                Err(error) if error.is_namespace_terminating() => return None,
                Err(error) => failure = Some(("FailedCreate", error)),
            }
        }
        failure
    }

    async fn create_one(&self, object: &K, pod: &Pod) -> Result<Arc<Pod>, Error> {
        match self.access.create(pod).await {
            Ok(created) => {
                let message = format!("Created pod: {}", pods::name(&created));
                self.events.record(object, Note::normal("SuccessfulCreate", message));
                self.pods.learn(created.clone());
                Ok(Arc::new(created))
            }
            Err(error) => {
                if !error.is_namespace_terminating() {
                    let message = format!("Error creating: {}", error.reason());
                    self.events.record(object, Note::warning("FailedCreate", message));
                }
                Err(error)
            }
        }
    }

    async fn delete(
        &self,
        object: &K,
        victims: Vec<Arc<Pod>>,
        mine: &mut Vec<Arc<Pod>>,
    ) -> Option<(&'static str, Error)> {
        let deleted = slow_start(victims, |pod| self.delete_one(object, pod)).await;
        let mut failure = None;
        for result in deleted {
            match result {
                Ok((uid, left)) => {
                    mine.retain(|pod| pods::uid(pod) != uid);
                    mine.extend(left);
                }
                Err(error) => failure = Some(("FailedDelete", error)),
            }
        }
        failure
    }

    async fn delete_one(&self, object: &K, pod: Arc<Pod>) -> Result<(String, Option<Arc<Pod>>), Error> {
        let key = Key::of(pod.as_ref());
        let uid = pods::uid(&pod).to_owned();
        let preconditions = Preconditions { uid: Some(uid.clone()), resource_version: None };
        let params = DeleteParams { preconditions: Some(preconditions), ..DeleteParams::default() };
        match self.access.delete::<Pod>(&key, &params).await {
            Ok(outcome) => {
                self.events.record(object, Note::normal("SuccessfulDelete", format!("Deleted pod: {}", key.name())));
                match outcome {
                    Deleted::Terminating(left) => {
                        self.pods.learn(left.as_ref().clone());
                        Ok((uid, Some(Arc::new(*left))))
                    }
                    Deleted::Gone => {
                        self.pods.forget(&key, &uid);
                        Ok((uid, None))
                    }
                }
            }
            // Somebody else's pod has the name now.
            Err(error) if error.is_conflict() => Ok((uid, None)),
            Err(error) => {
                let message = format!("Error deleting: {}", error.reason());
                self.events.record(object, Note::warning("FailedDelete", message));
                Err(error)
            }
        }
    }

    /// Active pods of all objects with the same controller (a Deployment's other ReplicaSets), and this one's own.
    fn related(&self, object: &K) -> Vec<Arc<Pod>> {
        let own = object.meta().uid.clone().unwrap_or_default();
        let mut uids = vec![own.clone()];
        if let Some(owner) = controller_of(object.meta()) {
            let siblings = self.objects.find(&Index::Owner(owner.uid.clone()));
            uids.extend(siblings.iter().filter_map(|s| s.meta().uid.clone()).filter(|uid| *uid != own));
        }
        let all = uids.into_iter().flat_map(|uid| self.pods.find(&Index::Owner(uid)));
        all.filter(|pod| pods::is_active(pod)).collect()
    }
}
