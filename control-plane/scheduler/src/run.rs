//! The shell: one task that owns the cache and the queue, fed by two watches. It decides as soon as
//! a pod is there, one after the other; bindings and reports run beside it.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use kube::Client;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::Instrument;

use crate::bind::{BindError, bind};
use crate::cache::Cache;
use crate::decide::{Decision, decide, suits};
use crate::node::{Node, WireNode};
use crate::pod::{Phase, Pod, SeenPod, WirePod};
use crate::queue::Queue;
use crate::report::Reporter;
use crate::watch::{Change, watch};

/// Changes that may wait between a watch and the scheduler.
const CHANGES: usize = 1_024;
/// Bindings on their way at a time; further decisions wait.
const BINDINGS: usize = 128;
/// Bindings on their way at the end get so much time.
const LAST_BINDINGS: Duration = Duration::from_secs(5);

/// How the scheduler runs.
#[derive(Clone)]
pub struct Config {
    pub client: Client,
    /// Pods whose `spec.schedulerName` is this are ours.
    pub name: String,
}

/// Schedule pods until `stop`.
pub async fn run(config: Config, stop: CancellationToken) {
    let span = tracing::info_span!("scheduler", name = %config.name);
    Scheduler::start(config).serve(stop).instrument(span).await;
}

struct Scheduler {
    client: Client,
    name: String,
    nodes: mpsc::Receiver<Change<Node>>,
    pods: mpsc::Receiver<Change<SeenPod>>,
    cache: Cache,
    queue: Queue,
    bindings: JoinSet<Bound>,
    reporter: Reporter,
    /// The watches and the deliverer; they end with the scheduler.
    helpers: JoinSet<()>,
    has_nodes: bool,
    has_pods: bool,
}

/// How a binding ended.
struct Bound {
    pod: Arc<Pod>,
    node: Arc<str>,
    resource_version: String,
    result: Result<(), BindError>,
}

impl Scheduler {
    fn start(config: Config) -> Self {
        let Config { client, name } = config;
        let (node_changes, nodes) = mpsc::channel(CHANGES);
        let (pod_changes, pods) = mpsc::channel(CHANGES);
        let (reporter, deliver) = Reporter::new(client.clone(), &name);
        let mut helpers = JoinSet::new();
        let watch_nodes = watch::<WireNode>(client.clone(), node_changes);
        let watch_pods = watch::<WirePod>(client.clone(), pod_changes);
        helpers.spawn(watch_nodes.instrument(tracing::info_span!("watch-nodes")));
        helpers.spawn(watch_pods.instrument(tracing::info_span!("watch-pods")));
        helpers.spawn(deliver.instrument(tracing::info_span!("reports")));
        Self {
            client,
            name,
            nodes,
            pods,
            cache: Cache::new(rand::random()),
            queue: Queue::default(),
            bindings: JoinSet::new(),
            reporter,
            helpers,
            has_nodes: false,
            has_pods: false,
        }
    }

    async fn serve(mut self, stop: CancellationToken) {
        loop {
            let deadline = self.queue.next_deadline();
            let may_decide = self.may_decide();
            tokio::select! {
                biased;
                () = stop.cancelled() => break,
                Some(change) = self.nodes.recv() => self.node_change(change),
                Some(change) = self.pods.recv() => self.pod_change(change),
                Some(bound) = self.bindings.join_next() => match bound {
                    Ok(bound) => self.bound(bound),
                    Err(error) => tracing::error!(%error, "a binding ended badly"),
                },
                () = sleep_until(deadline), if deadline.is_some() => self.queue.advance(),
                () = std::future::ready(()), if may_decide => self.schedule_next(),
                else => break,
            }
        }
        self.finish().await;
    }

    /// Let the bindings on their way arrive.
    async fn finish(mut self) {
        let rest = async { while self.bindings.join_next().await.is_some() {} };
        if tokio::time::timeout(LAST_BINDINGS, rest).await.is_err() {
            tracing::info!("bindings were left unfinished");
        }
        self.helpers.shutdown().await;
    }

    fn may_decide(&self) -> bool {
        self.has_nodes && self.has_pods && self.queue.has_active() && self.bindings.len() < BINDINGS
    }

    fn node_change(&mut self, change: Change<Node>) {
        match change {
            Change::All(nodes) => {
                let names: HashSet<_> = nodes.iter().map(|node| node.name.clone()).collect();
                self.cache.retain_nodes(&names);
                nodes.into_iter().for_each(|node| self.set_node(node));
                self.has_nodes = true;
            }
            Change::Set(node) => self.set_node(node),
            Change::Gone(node) => self.cache.remove_node(&node.name),
        }
    }

    fn set_node(&mut self, node: Node) {
        let name = node.name.clone();
        if self.cache.set_node(node) {
            self.more_room(&name);
        }
    }

    /// Parked pods that suit this node now are tried again.
    fn more_room(&mut self, node: &str) {
        let snapshot = &self.cache.snapshot;
        self.queue.reconsider(|pod| suits(snapshot, node, pod));
    }

    fn pod_change(&mut self, change: Change<SeenPod>) {
        match change {
            Change::All(pods) => {
                let uids: HashSet<_> = pods.iter().map(|seen| seen.pod.uid.clone()).collect();
                let known = self.cache.uids().chain(self.queue.uids());
                let gone: Vec<_> = known.filter(|uid| !uids.contains(*uid)).cloned().collect();
                gone.iter().for_each(|uid| self.remove_pod(uid));
                pods.into_iter().for_each(|seen| self.set_pod(seen));
                self.has_pods = true;
            }
            Change::Set(seen) => self.set_pod(seen),
            Change::Gone(seen) => self.remove_pod(&seen.pod.uid),
        }
    }

    fn set_pod(&mut self, seen: SeenPod) {
        let SeenPod { pod, resource_version, node, scheduler, phase, refused } = seen;
        match (node, phase) {
            (_, Phase::Over) => self.remove_pod(&pod.uid),
            (Some(node), _) => {
                self.queue.remove(&pod.uid);
                self.cache.confirm(pod, node);
            }
            (None, Phase::Alive) if scheduler == self.name => {
                // What was decided a moment ago is not known everywhere yet.
                if !self.cache.is_assumed(&pod.uid) {
                    self.queue.put(pod, resource_version, refused);
                }
            }
            (None, _) => self.queue.remove(&pod.uid),
        }
    }

    fn remove_pod(&mut self, uid: &str) {
        self.queue.remove(uid);
        if let Some(node) = self.cache.remove(uid) {
            self.more_room(&node);
        }
    }

    fn schedule_next(&mut self) {
        let Some(pod) = self.queue.pop() else { return };
        match decide(&self.cache.snapshot, &pod) {
            Decision::Bind(node) => self.bind(pod, node),
            Decision::Unschedulable(diagnosis) => self.refuse(&pod, diagnosis.to_string()),
        }
    }

    fn bind(&mut self, pod: Arc<Pod>, node: Arc<str>) {
        self.cache.assume(pod.clone(), node.clone());
        let waiting = self.queue.get(&pod.uid);
        let resource_version = waiting.map(|waiting| waiting.resource_version.clone()).unwrap_or_default();
        let client = self.client.clone();
        let span = tracing::debug_span!("bind", namespace = %pod.namespace, pod = %pod.name, %node);
        let binding = async move {
            let result = bind(&client, &pod, &node).await;
            Bound { pod, node, resource_version, result }
        };
        self.bindings.spawn(binding.instrument(span));
    }

    fn bound(&mut self, bound: Bound) {
        let Bound { pod, node, resource_version, result } = bound;
        match result {
            Ok(()) => {
                self.queue.remove(&pod.uid);
                self.reporter.scheduled(&pod, &resource_version, &node);
                return;
            }
            Err(BindError::Gone) => self.queue.remove(&pod.uid),
            Err(BindError::Overtaken(why)) => {
                tracing::debug!(pod = %pod.name, why, "binding overtaken");
                self.queue.back_off(&pod.uid);
            }
            Err(error) => {
                tracing::info!(namespace = %pod.namespace, pod = %pod.name, %error, "binding failed");
                if self.queue.get(&pod.uid).is_some() {
                    let message = format!("binding rejected: {error}");
                    self.reporter.failed(&pod, &resource_version, &message);
                }
                self.queue.back_off(&pod.uid);
            }
        }
        self.cache.forget(&pod.uid);
        self.more_room(&node);
    }

    /// No node suits: say so where people look, unless that is there already, and wait.
    fn refuse(&mut self, pod: &Arc<Pod>, message: String) {
        if let Some(waiting) = self.queue.get(&pod.uid) {
            let shown = waiting.shown.as_ref();
            let version = waiting.resource_version.clone();
            let is_news = shown.is_none_or(|(reason, shown)| reason != "Unschedulable" || *shown != message);
            if is_news {
                self.reporter.failed(pod, &version, &message);
                self.reporter.unschedulable(pod.clone(), version, message);
            }
        }
        self.queue.park(&pod.uid);
    }
}

async fn sleep_until(deadline: Option<tokio::time::Instant>) {
    if let Some(deadline) = deadline {
        tokio::time::sleep_until(deadline).await;
    }
}

#[cfg(test)]
#[path = "run_tests.rs"]
mod tests;
