//! Drives pods off nodes whose NoExecute taints they do not tolerate, or no longer.

use super::taints::{Fate, fate};
use crate::clock::Clock;
use crate::context::Context;
use crate::frame::access::Access;
use crate::frame::batch::slow_start;
use crate::frame::events::{Note, Recorder};
use crate::frame::informer::{Change, Index, Informer};
use crate::frame::key::Key;
use crate::frame::queue::Queue;
use crate::frame::runner::Reconciler;
use crate::k8s::api::core::v1::{Node, Pod, PodCondition};
use crate::k8s::apimachinery::pkg::apis::meta::v1::Time;
use crate::{Config, Error, Next, pods};
use async_trait::async_trait;
use jiff::Timestamp;
use kube::api::{DeleteParams, Preconditions};
use parking_lot::Mutex;
use serde_json::json;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinSet;

struct Controller {
    access: Access,
    nodes: Informer<Node>,
    pods: Informer<Pod>,
    events: Recorder,
    clock: Clock,
    /// By node: since when taints that do not say it are there.
    seen: Mutex<HashMap<String, Seen>>,
}

/// Key and value of NoExecute taints, and when each was first seen.
type Seen = HashMap<(String, Option<String>), Timestamp>;

pub(crate) fn start(_: &Config, context: &Context, tasks: &mut JoinSet<()>) {
    let (nodes, pods) = (context.informers.nodes.wanted(), context.informers.pods.wanted());
    let queue = Arc::new(Queue::default());
    let signal = Arc::clone(&queue);
    nodes.on_change(move |change| {
        let before = matches!(change, Change::Updated { old, .. } if evicts(old));
        if before || evicts(change.object()) {
            signal.add(Key::of(change.object().as_ref()));
        }
    });
    let (signal, known) = (Arc::clone(&queue), nodes.clone());
    pods.on_change(move |change| {
        let (before, pod) = match change {
            Change::Added(pod) => ("", pod),
            Change::Updated { old, new } => (pods::node(old), new),
            Change::Deleted(_) => return,
        };
        let key = Key::cluster(pods::node(pod));
        if before != key.name() && known.get(&key).is_some_and(|node| evicts(&node)) {
            signal.add(key);
        }
    });
    let controller = Controller {
        access: context.access.clone(),
        nodes,
        pods,
        events: context.events.named("taint-eviction-controller"),
        clock: context.clock.clone(),
        seen: Mutex::default(),
    };
    context.spawn(tasks, Arc::new(controller), queue);
}

fn evicts(node: &Node) -> bool {
    let taints = node.spec.as_ref().and_then(|s| s.taints.as_ref());
    taints.into_iter().flatten().any(|taint| taint.effect == "NoExecute")
}

/// Fills in since when the taints are there that do not say it (`kubectl taint` does not): since they were first seen.
fn date(node: &Node, seen: &mut Seen, now: Timestamp) -> Node {
    let mut node = node.clone();
    let taints = node.spec.iter_mut().flat_map(|spec| spec.taints.iter_mut().flatten());
    let undated: Vec<_> = taints.filter(|t| t.effect == "NoExecute" && t.time_added.is_none()).collect();
    seen.retain(|(key, value), _| undated.iter().any(|taint| taint.key == *key && taint.value == *value));
    for taint in undated {
        let first = *seen.entry((taint.key.clone(), taint.value.clone())).or_insert(now);
        taint.time_added = Some(Time(first));
    }
    node
}

/// The pods that go now, and how long until the next one does.
pub fn plan(node: &Node, pods: &[Arc<Pod>], now: Timestamp) -> (Vec<Arc<Pod>>, Option<Duration>) {
    let (mut victims, mut wait) = (Vec::new(), None::<Duration>);
    for pod in pods.iter().filter(|pod| !pods::is_terminating(pod)) {
        match fate(node, pod, now) {
            Fate::Stays => {}
            Fate::GoesAt(at) if at <= now => victims.push(Arc::clone(pod)),
            Fate::GoesAt(at) => {
                let left = at.duration_since(now).try_into().unwrap_or_default();
                wait = Some(wait.map_or(left, |w| w.min(left)));
            }
        }
    }
    (victims, wait)
}

#[async_trait]
impl Reconciler for Controller {
    const NAME: &'static str = "taint-eviction-controller";

    async fn reconcile(&self, key: &Key) -> Result<Next, Error> {
        let Some(node) = self.nodes.get(key).filter(|node| evicts(node)) else {
            self.seen.lock().remove(key.name());
            return Ok(Next::Signal);
        };
        let now = self.clock.now();
        let node = date(&node, self.seen.lock().entry(key.name().to_owned()).or_default(), now);
        let pods = self.pods.find(&Index::Node(key.name().to_owned()));
        let (victims, wait) = plan(&node, &pods, now);
        let results = slow_start(victims, |pod| self.evict(pod)).await;
        results.into_iter().collect::<Result<Vec<()>, Error>>()?;
        Ok(Next::Signal.or_after(wait))
    }

    fn keys(&self) -> Vec<Key> {
        self.nodes.all().iter().filter(|node| evicts(node)).map(|node| Key::of(node.as_ref())).collect()
    }
}

impl Controller {
    async fn evict(&self, pod: Arc<Pod>) -> Result<(), Error> {
        let key = Key::of(pod.as_ref());
        let message = format!("Marking for deletion Pod {key}");
        self.events.record(pod.as_ref(), Note::normal("TaintManagerEviction", message));
        if !pods::is_terminal(&pod) {
            self.mark(&key, &pod).await?;
        }
        let preconditions = Preconditions { uid: pod.metadata.uid.clone(), resource_version: None };
        let params = DeleteParams { preconditions: Some(preconditions), ..DeleteParams::default() };
        self.access.delete::<Pod>(&key, &params).await.map(|_| ())
    }

    async fn mark(&self, key: &Key, pod: &Pod) -> Result<(), Error> {
        let mut conditions = pod.status.as_ref().and_then(|s| s.conditions.clone()).unwrap_or_default();
        conditions.retain(|c| c.type_ != "DisruptionTarget");
        conditions.push(PodCondition {
            type_: "DisruptionTarget".into(),
            status: "True".into(),
            reason: Some("DeletionByTaintManager".into()),
            message: Some("Taint manager: deleting due to NoExecute taint".into()),
            last_transition_time: Some(Time(self.clock.now())),
            ..PodCondition::default()
        });
        let patch = json!({"metadata": {"uid": pod.metadata.uid}, "status": {"conditions": conditions}});
        match self.access.patch_status::<Pod>(key, &patch).await {
            Ok(written) => self.pods.learn(written),
            Err(error) if error.is_not_found() => {}
            Err(error) => return Err(error),
        }
        Ok(())
    }
}
