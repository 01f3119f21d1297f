//! Whether nodes live: leases and status updates are their heartbeats. A silent node becomes Unknown, its pods not
//! ready, and conditions become taints.

use super::taints::{Eviction, desired, is_ready};
use crate::clock::Clock;
use crate::context::Context;
use crate::frame::access::Access;
use crate::frame::batch::slow_start;
use crate::frame::events::{Note, Recorder, reference};
use crate::frame::informer::{Change, Index, Informer};
use crate::frame::key::Key;
use crate::frame::queue::Queue;
use crate::frame::runner::Reconciler;
use crate::k8s::api::core::v1::{Node, NodeCondition, ObjectReference, Pod};
use crate::k8s::apimachinery::pkg::apis::meta::v1::Time;
use crate::{Config, Error, Next, pods};
use async_trait::async_trait;
use jiff::Timestamp;
use parking_lot::Mutex;
use serde_json::json;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinSet;
use tokio::time::Instant;

const LEASES: &str = "kube-node-lease";
/// The conditions that a kubelet posts.
const POSTED: [&str; 4] = ["Ready", "MemoryPressure", "DiskPressure", "PIDPressure"];

/// When each node was last heard, by our own clock: a node's clock may be wrong.
#[derive(Debug, Default)]
struct Heartbeats {
    last: HashMap<String, Instant>,
    silent: HashSet<String>,
}

struct Controller {
    access: Access,
    nodes: Informer<Node>,
    pods: Informer<Pod>,
    events: Recorder,
    clock: Clock,
    grace: Duration,
    heartbeats: Arc<Mutex<Heartbeats>>,
    queue: Arc<Queue>,
    eviction: Mutex<Eviction>,
}

pub(crate) fn start(config: &Config, context: &Context, tasks: &mut JoinSet<()>) {
    let informers = &context.informers;
    let (nodes, leases, pods) = (informers.nodes.wanted(), informers.leases.wanted(), informers.pods.wanted());
    let queue = Arc::new(Queue::default());
    let heartbeats = Arc::new(Mutex::new(Heartbeats::default()));
    let (signal, hearts, known) = (Arc::clone(&queue), Arc::clone(&heartbeats), nodes.clone());
    leases.on_change(move |change| {
        let key = Key::of(change.object().as_ref());
        let node = Key::cluster(key.name());
        // A Lease may outlive its node, and anybody may make one: only nodes are remembered.
        let beats = key.namespace() == LEASES && !matches!(change, Change::Deleted(_)) && known.get(&node).is_some();
        if beats && hear(&hearts, key.name()) {
            signal.add(node);
        }
    });
    let (signal, hearts) = (Arc::clone(&queue), Arc::clone(&heartbeats));
    nodes.on_change(move |change| {
        let key = Key::of(change.object().as_ref());
        match change {
            Change::Added(_) => {
                hear(&hearts, key.name());
            }
            Change::Updated { old, new } if beat(old) != beat(new) => {
                hear(&hearts, key.name());
            }
            Change::Updated { .. } => {}
            Change::Deleted(_) => {
                let mut hearts = hearts.lock();
                hearts.last.remove(key.name());
                hearts.silent.remove(key.name());
            }
        }
        signal.add(key);
    });
    let controller = Controller {
        access: context.access.clone(),
        nodes,
        pods,
        events: context.events.named("node-controller"),
        clock: context.clock.clone(),
        grace: config.node_grace,
        heartbeats,
        queue: Arc::clone(&queue),
        eviction: Mutex::new(Eviction::On),
    };
    context.spawn(tasks, Arc::new(controller), queue);
}

/// Notes a heartbeat; whether the node had been silent.
fn hear(heartbeats: &Mutex<Heartbeats>, node: &str) -> bool {
    let mut hearts = heartbeats.lock();
    hearts.last.insert(node.to_owned(), Instant::now());
    hearts.silent.remove(node)
}

/// What a kubelet changes when it posts its status.
fn beat(node: &Node) -> Option<Timestamp> {
    let conditions = node.status.as_ref()?.conditions.as_ref()?;
    conditions.iter().filter_map(|c| c.last_heartbeat_time.as_ref()).max().map(|t| t.0)
}

/// The conditions of a node that has gone silent; `None` when they say so already.
pub fn silenced(node: &Node, now: Timestamp) -> Option<Vec<NodeCondition>> {
    let mut conditions = node.status.as_ref().and_then(|s| s.conditions.clone()).unwrap_or_default();
    let before = conditions.clone();
    for type_ in POSTED {
        match conditions.iter_mut().find(|c| c.type_ == type_) {
            Some(condition) if condition.status != "Unknown" => {
                condition.status = "Unknown".into();
                condition.reason = Some("NodeStatusUnknown".into());
                condition.message = Some("Kubelet stopped posting node status.".into());
                condition.last_transition_time = Some(Time(now));
            }
            Some(_) => {}
            None => conditions.push(NodeCondition {
                type_: type_.into(),
                status: "Unknown".into(),
                reason: Some("NodeStatusNeverUpdated".into()),
                message: Some("Kubelet never posted node status.".into()),
                last_heartbeat_time: node.metadata.creation_timestamp.clone(),
                last_transition_time: Some(Time(now)),
            }),
        }
    }
    (conditions != before).then_some(conditions)
}

#[async_trait]
impl Reconciler for Controller {
    const NAME: &'static str = "node-lifecycle-controller";

    async fn reconcile(&self, key: &Key) -> Result<Next, Error> {
        let Some(mut node) = self.nodes.get(key) else { return Ok(Next::Signal) };
        let left = self.time_left(key.name());
        if left.is_none() {
            node = self.silence(key, node).await?;
        }
        let eviction = self.judge_eviction();
        if let Some(taints) = desired(&node, eviction, self.clock.now()) {
            let patch = json!({
                "metadata": {"uid": node.metadata.uid, "resourceVersion": node.metadata.resource_version},
                "spec": {"taints": taints}});
            node = Arc::new(self.access.patch::<Node>(key, &patch).await?);
            self.nodes.learn(node.as_ref().clone());
        }
        if !is_ready(&node) && super::taints::condition(&node, "Ready").is_some() {
            self.mark_pods(&node).await?;
        }
        Ok(Next::Signal.or_after(left))
    }

    fn keys(&self) -> Vec<Key> {
        self.nodes.keys()
    }
}

impl Controller {
    /// Until the node counts as silent; `None` once it does.
    fn time_left(&self, node: &str) -> Option<Duration> {
        let mut hearts = self.heartbeats.lock();
        let last = *hearts.last.entry(node.to_owned()).or_insert_with(Instant::now);
        let left = self.grace.checked_sub(last.elapsed()).filter(|left| !left.is_zero());
        if left.is_none() {
            hearts.silent.insert(node.to_owned());
        }
        left
    }

    async fn silence(&self, key: &Key, node: Arc<Node>) -> Result<Arc<Node>, Error> {
        let Some(conditions) = silenced(&node, self.clock.now()) else { return Ok(node) };
        let patch = json!({
            "metadata": {"uid": node.metadata.uid, "resourceVersion": node.metadata.resource_version},
            "status": {"conditions": conditions}});
        let written = self.access.patch_status::<Node>(key, &patch).await?;
        self.nodes.learn(written.clone());
        if is_ready(&node) {
            let message = format!("Node {} status is now: NodeNotReady", key.name());
            // As Kubernetes: the node's name stands in for its UID, so that `describe node` finds it.
            let about = ObjectReference { uid: Some(key.name().into()), ..reference(node.as_ref()) };
            self.events.record_about(about, Note::normal("NodeNotReady", message));
        }
        Ok(Arc::new(written))
    }

    /// Whether any node lives. When that changes, all nodes are looked at again.
    fn judge_eviction(&self) -> Eviction {
        let now = if self.nodes.all().iter().any(|node| is_ready(node)) { Eviction::On } else { Eviction::Off };
        let before = std::mem::replace(&mut *self.eviction.lock(), now);
        if before != now {
            for key in self.nodes.keys() {
                self.queue.add(key);
            }
        }
        now
    }

    /// Takes the pods of a dead node out of service.
    async fn mark_pods(&self, node: &Node) -> Result<(), Error> {
        let name = node.metadata.name.clone().unwrap_or_default();
        let mut ready = self.pods.find(&Index::Node(name));
        ready.retain(|pod| pods::is_ready(pod));
        let results = slow_start(ready, |pod| self.mark_pod(pod)).await;
        results.into_iter().collect::<Result<Vec<()>, _>>().map(|_| ())
    }

    async fn mark_pod(&self, pod: Arc<Pod>) -> Result<(), Error> {
        let mut conditions = pod.status.as_ref().and_then(|s| s.conditions.clone()).unwrap_or_default();
        for condition in conditions.iter_mut().filter(|c| c.type_ == "Ready") {
            condition.status = "False".into();
            condition.last_transition_time = Some(self.clock.time());
        }
        let patch = json!({
            "metadata": {"uid": pod.metadata.uid, "resourceVersion": pod.metadata.resource_version},
            "status": {"conditions": conditions}});
        match self.access.patch_status::<Pod>(&Key::of(pod.as_ref()), &patch).await {
            Ok(written) => self.pods.learn(written),
            Err(error) if error.is_not_found() => return Ok(()),
            Err(error) => return Err(error),
        }
        self.events.record(pod.as_ref(), Note::warning("NodeNotReady", "Node is not ready"));
        Ok(())
    }
}
