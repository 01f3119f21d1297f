//! Takes away pods that nobody else will: bound to a node that is gone, ended beyond the threshold, or deleted before
//! they were ever scheduled.

use crate::clock::{Clock, remaining};
use crate::context::Context;
use crate::frame::access::Access;
use crate::frame::batch::slow_start;
use crate::frame::informer::{Change, Informer};
use crate::frame::key::Key;
use crate::frame::queue::Queue;
use crate::frame::runner::Reconciler;
use crate::k8s::api::core::v1::{Node, Pod};
use crate::k8s::apimachinery::pkg::apis::meta::v1::Time;
use crate::{Config, Error, Next, pods};
use async_trait::async_trait;
use jiff::{SignedDuration, Timestamp};
use kube::api::{DeleteParams, Preconditions};
use parking_lot::Mutex;
use serde_json::json;
use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinSet;

/// A node must be gone this long: it may only be restarting with a new registration.
const QUARANTINE: SignedDuration = SignedDuration::from_secs(40);
/// Changes are gathered for this long before a look at all pods.
const GATHER: Duration = Duration::from_secs(1);

struct Controller {
    access: Access,
    pods: Informer<Pod>,
    nodes: Informer<Node>,
    clock: Clock,
    threshold: usize,
    /// Since when each absent node with pods is missed.
    missed: Mutex<HashMap<String, Timestamp>>,
}

/// There is one thing to do, under one key.
fn all() -> Key {
    Key::cluster("all")
}

pub(crate) fn start(config: &Config, context: &Context, tasks: &mut JoinSet<()>) {
    let (pods, nodes) = (context.informers.pods.wanted(), context.informers.nodes.wanted());
    let queue = Arc::new(Queue::default());
    let signal = Arc::clone(&queue);
    nodes.on_change(move |change| {
        if !matches!(change, Change::Updated { .. }) {
            signal.add_after(all(), GATHER);
        }
    });
    let (signal, threshold, known) = (Arc::clone(&queue), config.terminated_pods, nodes.clone());
    let ended = std::sync::atomic::AtomicUsize::new(0);
    pods.on_change(move |change| {
        let pod = change.object();
        let deleted_unscheduled = pods::is_terminating(pod) && pods::node(pod).is_empty();
        let bound = !pods::node(pod).is_empty();
        let ends = bound && pods::is_terminal(pod) && !matches!(change, Change::Deleted(_));
        let over = ends && ended.fetch_add(1, std::sync::atomic::Ordering::Relaxed) >= threshold;
        let lost = bound && matches!(change, Change::Added(_)) && known.get(&Key::cluster(pods::node(pod))).is_none();
        if deleted_unscheduled || over || lost {
            signal.add_after(all(), GATHER);
        }
    });
    let controller = Controller {
        access: context.access.clone(),
        pods,
        nodes,
        clock: context.clock.clone(),
        threshold: config.terminated_pods,
        missed: Mutex::default(),
    };
    context.spawn(tasks, Arc::new(controller), queue);
}

/// Pods to take away now, why, and how long until the next absent node counts as gone.
fn plan(
    pods: &[Arc<Pod>],
    nodes: &BTreeSet<String>,
    missed: &mut HashMap<String, Timestamp>,
    threshold: usize,
    now: Timestamp,
) -> (Vec<(Arc<Pod>, Why)>, Option<Duration>) {
    let absent: BTreeSet<&str> =
        pods.iter().map(|p| pods::node(p)).filter(|n| !n.is_empty() && !nodes.contains(*n)).collect();
    missed.retain(|node, _| absent.contains(node.as_str()));
    for node in &absent {
        missed.entry((*node).to_owned()).or_insert(now);
    }
    let mut wait: Option<Duration> = None;
    let mut victims = Vec::new();
    let mut ended = Vec::new();
    for pod in pods {
        let node = pods::node(pod);
        match missed.get(node).map(|since| remaining(*since, QUARANTINE, now)) {
            Some(None) => victims.push((Arc::clone(pod), Why::Orphaned)),
            Some(left) => wait = wait.into_iter().chain(left).min(),
            None if node.is_empty() && pods::is_terminating(pod) => victims.push((Arc::clone(pod), Why::Unscheduled)),
            None if pods::is_terminal(pod) && !pods::is_terminating(pod) => ended.push(pod),
            None => {}
        }
    }
    if ended.len() > threshold {
        let surplus = ended.len() - threshold;
        ended.sort_by_key(|pod| (pod.metadata.creation_timestamp.clone(), pods::name(pod).to_owned()));
        victims.extend(ended[..surplus].iter().map(|pod| (Arc::clone(pod), Why::Surplus)));
    }
    (victims, wait)
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Why {
    /// Its node is gone.
    Orphaned,
    /// Deleted, and never scheduled: no kubelet will finish it.
    Unscheduled,
    /// Ended, and beyond the threshold.
    Surplus,
}

#[async_trait]
impl Reconciler for Controller {
    const NAME: &'static str = "pod-garbage-collector-controller";
    const WORKERS: usize = 1;

    async fn reconcile(&self, _: &Key) -> Result<Next, Error> {
        let nodes: BTreeSet<String> = self.nodes.all().iter().filter_map(|n| n.metadata.name.clone()).collect();
        let now = self.clock.now();
        let (victims, wait) = plan(&self.pods.all(), &nodes, &mut self.missed.lock(), self.threshold, now);
        let results = slow_start(victims, |(pod, why)| self.remove(pod, why, now)).await;
        results.into_iter().collect::<Result<Vec<()>, Error>>()?;
        Ok(Next::Signal.or_after(wait))
    }

    fn keys(&self) -> Vec<Key> {
        vec![all()]
    }
}

impl Controller {
    async fn remove(&self, pod: Arc<Pod>, why: Why, now: Timestamp) -> Result<(), Error> {
        let key = Key::of(pod.as_ref());
        if why == Why::Orphaned {
            // The informer may be behind: ask before the node's pods are declared dead.
            if self.access.get::<Node>(&Key::cluster(pods::node(&pod))).await?.is_some() {
                return Ok(());
            }
            self.fail(&key, &pod, now).await?;
        }
        let preconditions = Preconditions { uid: pod.metadata.uid.clone(), resource_version: None };
        let params = DeleteParams {
            preconditions: Some(preconditions),
            grace_period_seconds: Some(0),
            ..DeleteParams::default()
        };
        self.access.delete::<Pod>(&key, &params).await.map(|_| ())
    }

    async fn fail(&self, key: &Key, pod: &Pod, now: Timestamp) -> Result<(), Error> {
        if pods::is_terminal(pod) {
            return Ok(());
        }
        let mut conditions = pod.status.as_ref().and_then(|s| s.conditions.clone()).unwrap_or_default();
        conditions.retain(|c| c.type_ != "DisruptionTarget");
        let mut conditions = json!(conditions);
        if let Some(list) = conditions.as_array_mut() {
            list.push(json!({"type": "DisruptionTarget", "status": "True", "reason": "DeletionByPodGC",
                "message": "PodGC: node no longer exists", "lastTransitionTime": Time(now)}));
        }
        let patch =
            json!({"metadata": {"uid": pod.metadata.uid}, "status": {"phase": "Failed", "conditions": conditions}});
        match self.access.patch_status::<Pod>(key, &patch).await {
            Ok(written) => self.pods.learn(written),
            Err(error) if error.is_not_found() => {}
            Err(error) => return Err(error),
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pod(name: &str, node: &str, phase: &str, deleted: bool) -> Arc<Pod> {
        let deleted = deleted.then_some("2026-01-01T00:00:00Z");
        Arc::new(
            serde_json::from_value(json!({
                "metadata": {"name": name, "uid": name, "deletionTimestamp": deleted},
                "spec": {"nodeName": node, "containers": []}, "status": {"phase": phase}}))
            .unwrap(),
        )
    }

    #[test]
    fn takes_orphaned_unscheduled_and_surplus_pods() {
        let pods = [
            pod("kept", "here", "Running", false),
            pod("orphan", "gone", "Running", false),
            pod("unscheduled", "", "Pending", true),
            pod("ended-1", "here", "Failed", false),
            pod("ended-2", "here", "Succeeded", false),
        ];
        let nodes = BTreeSet::from(["here".to_owned()]);
        let mut missed = HashMap::new();
        let now = Timestamp::UNIX_EPOCH;
        let (victims, wait) = plan(&pods, &nodes, &mut missed, 1, now);
        let names: Vec<_> = victims.iter().map(|(p, why)| (pods::name(p), *why)).collect();
        assert_eq!(names, [("unscheduled", Why::Unscheduled), ("ended-1", Why::Surplus)]);
        assert_eq!(wait, Some(Duration::from_secs(40)));
        let (victims, wait) = plan(&pods, &nodes, &mut missed, 10, now + SignedDuration::from_secs(41));
        let names: Vec<_> = victims.iter().map(|(p, why)| (pods::name(p), *why)).collect();
        assert_eq!(names, [("orphan", Why::Orphaned), ("unscheduled", Why::Unscheduled)]);
        assert_eq!(wait, None);
    }
}
