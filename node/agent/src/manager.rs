//! All pods of the node: which tasks run, who may come in, and what is left over from earlier lives.
//! One task per pod; this module only starts and informs them.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use api::k8s_openapi::api::core::v1::Pod;
use parking_lot::Mutex;
use tokio::task::JoinSet;

use crate::context::NodeContext;
use crate::pod::record::Verdict;
use crate::pod::{self, PodContext};
use crate::resources;
use crate::states::{self, Admission};

/// The pods of a node, by UID.
#[derive(Default)]
pub struct Pods {
    by_uid: Mutex<HashMap<String, Arc<PodContext>>>,
}

impl Pods {
    /// The pod of this name; the youngest when an older one of the same name is still ending.
    pub fn find(&self, namespace: &str, name: &str) -> Option<Arc<PodContext>> {
        let pods = self.by_uid.lock();
        let matching = pods.values().filter(|p| p.namespace == namespace && p.name == name);
        matching.max_by_key(|p| (!p.is_gone(), p.object().metadata.creation_timestamp.clone())).cloned()
    }

    pub fn all(&self) -> Vec<Arc<PodContext>> {
        self.by_uid.lock().values().cloned().collect()
    }
}

/// Starts and informs the pods' tasks.
pub struct Manager {
    node: Arc<NodeContext>,
    pods: Arc<Pods>,
    room: Arc<Room>,
    tasks: JoinSet<String>,
}

impl Manager {
    pub fn new(node: Arc<NodeContext>, pods: Arc<Pods>) -> Self {
        let room = Arc::new(Room { node: Arc::clone(&node), used: Mutex::default() });
        Self { node, pods, room, tasks: JoinSet::new() }
    }

    /// A pod of this node exists in this version.
    pub fn apply(&mut self, mut pod: Pod) {
        // Nobody here reads them, and they are often larger than the rest.
        pod.metadata.managed_fields = None;
        if let Some(status) = &mut pod.status {
            // Lists come out of the decoder with room for four.
            status.container_statuses.iter_mut().for_each(Vec::shrink_to_fit);
            status.conditions.iter_mut().for_each(Vec::shrink_to_fit);
        }
        let Some(uid) = pod.metadata.uid.clone() else { return };
        let pod = Arc::new(pod);
        let mut pods = self.pods.by_uid.lock();
        if let Some(known) = pods.get(&uid) {
            known.observe(pod);
            return;
        }
        let Some(context) = PodContext::new(Arc::clone(&self.node), pod) else { return };
        pods.insert(uid.clone(), Arc::clone(&context));
        drop(pods);
        let room: Arc<dyn Admission> = Arc::clone(&self.room) as _;
        self.tasks.spawn(async move {
            states::run(context, room).await;
            uid
        });
    }

    /// A pod no longer exists.
    pub fn delete(&self, uid: &str) {
        if let Some(pod) = self.pods.by_uid.lock().get(uid) {
            pod.vanish();
        }
    }

    /// A list is complete: pods that aren't in it no longer exist.
    pub fn retain(&self, listed: &HashSet<String>) {
        for (uid, pod) in self.pods.by_uid.lock().iter() {
            if !listed.contains(uid) {
                pod.vanish();
            }
        }
    }

    /// Waits for a pod's task to end, and forgets the pod. Pending while there is none.
    pub async fn reap(&mut self) {
        match self.tasks.join_next().await {
            Some(Ok(uid)) => {
                self.pods.by_uid.lock().remove(&uid);
            }
            Some(Err(error)) if error.is_panic() => {
                // The pod stays in the table, so that it isn't started a second time by mistake.
                tracing::error!(%error, "a pod's task panicked; the pod is stuck until the agent restarts");
            }
            Some(Err(_)) => {}
            None => std::future::pending().await,
        }
    }

    /// Removes directories of pods that no longer exist. Call once, after the first list and before any later event:
    /// what is to go is noted now, so that the directory of a pod that comes meanwhile is not taken for an orphan.
    pub fn remove_orphans(&self, listed: &HashSet<String>) {
        let roots =
            [(self.node.logs_dir(), uid_of_logs as fn(&str) -> &str), (self.node.volumes_dir(), uid_of_volumes)];
        let mut orphans = Vec::new();
        for (root, uid_of) in roots {
            for entry in std::fs::read_dir(&root).into_iter().flatten().flatten() {
                if entry.file_name().to_str().is_some_and(|name| !listed.contains(uid_of(name))) {
                    orphans.push(entry.path());
                }
            }
        }
        tokio::task::spawn_blocking(move || {
            for path in orphans {
                if let Err(error) = std::fs::remove_dir_all(&path) {
                    tracing::warn!(path = %path.display(), %error, "an orphaned directory stays");
                }
            }
        });
    }

    /// Ends what runs, without a word to the API server: a restart brings it back.
    pub async fn shut_down(mut self) {
        // The tasks first: none may report the end of its guests.
        self.tasks.shutdown().await;
        for pod in self.pods.all() {
            let instances = pod.read(|r| r.containers.iter().filter_map(|c| c.instance.clone()).collect::<Vec<_>>());
            for instance in instances {
                instance.container.kill();
            }
        }
    }
}

fn uid_of_logs(name: &str) -> &str {
    name.rsplit('_').next().unwrap_or(name)
}

fn uid_of_volumes(name: &str) -> &str {
    name
}

/// What the node's admitted pods use.
struct Room {
    node: Arc<NodeContext>,
    used: Mutex<Used>,
}

#[derive(Default)]
struct Used {
    by_uid: HashMap<String, (u64, u64)>,
    cpu_millis: u64,
    memory_bytes: u64,
}

impl Admission for Room {
    fn admit(&self, pod: &PodContext, object: &Pod) -> Result<(), Verdict> {
        let (cpu, memory) = resources::pod_requests(pod::spec(object));
        let capacity = &self.node.config.capacity;
        let mut used = self.used.lock();
        let checks = [
            ("pods", 1, used.by_uid.len() as u64, u64::from(capacity.pods)),
            ("cpu", cpu, used.cpu_millis, capacity.cpu_millis),
            ("memory", memory, used.memory_bytes, capacity.memory_bytes),
        ];
        for (resource, requested, in_use, capacity) in checks {
            if requested > 0 && in_use.saturating_add(requested) > capacity {
                return Err(out_of(resource, requested, in_use, capacity));
            }
        }
        used.by_uid.insert(pod.uid.clone(), (cpu, memory));
        used.cpu_millis += cpu;
        used.memory_bytes += memory;
        Ok(())
    }

    fn release(&self, pod: &PodContext) {
        let mut used = self.used.lock();
        if let Some((cpu, memory)) = used.by_uid.remove(&pod.uid) {
            used.cpu_millis -= cpu;
            used.memory_bytes -= memory;
        }
    }
}

fn out_of(resource: &str, requested: u64, used: u64, capacity: u64) -> Verdict {
    Verdict {
        reason: format!("OutOf{resource}"),
        message: format!(
            "Pod was rejected: Node didn't have enough resource: {resource}, requested: {requested}, used: {used}, capacity: {capacity}"
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rejection_reads_like_the_kubelets() {
        let verdict = out_of("pods", 1, 10, 10);
        assert_eq!(verdict.reason, "OutOfpods");
        assert!(verdict.message.ends_with("requested: 1, used: 10, capacity: 10"));
        assert_eq!(uid_of_logs("ns_name_1-2"), "1-2");
    }
}
