//! Where every pod is: what the API says, and ahead of it what was decided a moment ago.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use crate::node::Node;
use crate::pod::Pod;
use crate::snapshot::Snapshot;

/// The nodes, and the pods that have one.
#[derive(Debug)]
pub(crate) struct Cache {
    pub snapshot: Snapshot,
    /// By UID.
    pods: HashMap<Arc<str>, Placed>,
    by_node: HashMap<Arc<str>, HashSet<Arc<str>>>,
}

#[derive(Debug)]
struct Placed {
    pod: Arc<Pod>,
    node: Arc<str>,
    certainty: Certainty,
}

/// Whether the API has confirmed a pod's node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Certainty {
    /// Decided; the binding is on its way.
    Assumed,
    Confirmed,
}

impl Cache {
    pub fn new(seed: u64) -> Self {
        Self { snapshot: Snapshot::new(seed), pods: HashMap::new(), by_node: HashMap::new() }
    }

    /// A node is new or has changed. Whether the change can matter to a waiting pod.
    pub fn set_node(&mut self, node: Node) -> bool {
        let name = node.name.clone();
        let known = self.snapshot.place(&name);
        if known.is_some_and(|place| *place.node == node) {
            return false;
        }
        let is_new = known.is_none();
        self.snapshot.set_node(node);
        if is_new {
            let residents = self.by_node.get(&name).into_iter().flatten();
            let pods = residents.filter_map(|uid| self.pods.get(uid)).map(|placed| &*placed.pod);
            self.snapshot.settle(&name, pods);
        }
        true
    }

    pub fn remove_node(&mut self, name: &str) {
        self.snapshot.remove_node(name);
    }

    /// Forget all nodes that are not in `names`.
    pub fn retain_nodes(&mut self, names: &HashSet<Arc<str>>) {
        let gone: Vec<_> = self
            .snapshot
            .places()
            .iter()
            .map(|place| place.node.name.clone())
            .filter(|name| !names.contains(name))
            .collect();
        gone.iter().for_each(|name| self.remove_node(name));
    }

    /// Count `pod` on `node` before the API knows.
    pub fn assume(&mut self, pod: Arc<Pod>, node: Arc<str>) {
        self.put(pod, node, Certainty::Assumed);
    }

    /// The API says that `pod` is on `node`.
    pub fn confirm(&mut self, pod: Arc<Pod>, node: Arc<str>) {
        if let Some(placed) = self.pods.get_mut(&pod.uid)
            && placed.node == node
            && placed.pod == pod
        {
            placed.certainty = Certainty::Confirmed;
            return;
        }
        self.put(pod, node, Certainty::Confirmed);
    }

    /// Take back an assumption that did not come true.
    pub fn forget(&mut self, uid: &str) {
        if self.is_assumed(uid) {
            self.remove(uid);
        }
    }

    pub fn is_assumed(&self, uid: &str) -> bool {
        self.pods.get(uid).is_some_and(|placed| placed.certainty == Certainty::Assumed)
    }

    /// The pod holds nothing any more. Returns the node that has more room now.
    pub fn remove(&mut self, uid: &str) -> Option<Arc<str>> {
        let placed = self.pods.remove(uid)?;
        self.snapshot.remove_pod(&placed.node, &placed.pod);
        if let Some(residents) = self.by_node.get_mut(&placed.node) {
            residents.remove(uid);
            if residents.is_empty() {
                self.by_node.remove(&placed.node);
            }
        }
        Some(placed.node)
    }

    /// The UIDs of all pods that have a node.
    pub fn uids(&self) -> impl Iterator<Item = &Arc<str>> {
        self.pods.keys()
    }

    fn put(&mut self, pod: Arc<Pod>, node: Arc<str>, certainty: Certainty) {
        self.remove(&pod.uid);
        self.snapshot.add_pod(&node, &pod);
        self.by_node.entry(node.clone()).or_default().insert(pod.uid.clone());
        self.pods.insert(pod.uid.clone(), Placed { pod, node, certainty });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pod(uid: &str, cpu: i64) -> Arc<Pod> {
        let requests = crate::Resources { cpu, ..Default::default() };
        Arc::new(Pod { uid: uid.into(), requests, ..Pod::default() })
    }

    fn used(cache: &Cache, node: &str) -> i64 {
        cache.snapshot.place(node).unwrap().used.requested.cpu
    }

    #[test]
    fn assumptions_are_confirmed_or_forgotten() {
        let mut cache = Cache::new(0);
        cache.set_node(Node::new("a"));
        cache.assume(pod("1", 5), "a".into());
        cache.assume(pod("2", 7), "a".into());
        assert_eq!(used(&cache, "a"), 12);
        cache.confirm(pod("1", 5), "a".into());
        cache.forget("1");
        cache.forget("2");
        assert_eq!(used(&cache, "a"), 5);
        assert_eq!(cache.remove("1").as_deref(), Some("a"));
        assert_eq!(used(&cache, "a"), 0);
    }

    #[test]
    fn pods_may_be_known_before_their_node() {
        let mut cache = Cache::new(0);
        cache.confirm(pod("1", 5), "late".into());
        assert!(cache.set_node(Node::new("late")));
        assert!(!cache.set_node(Node::new("late")), "nothing new");
        assert_eq!(used(&cache, "late"), 5);
        cache.remove_node("late");
        assert!(cache.set_node(Node::new("late")));
        assert_eq!(used(&cache, "late"), 5, "a node that comes back has its pods");
    }

    #[test]
    fn a_pod_elsewhere_than_assumed_moves() {
        let mut cache = Cache::new(0);
        for name in ["a", "b"] {
            cache.set_node(Node::new(name));
        }
        cache.assume(pod("1", 5), "a".into());
        cache.confirm(pod("1", 5), "b".into());
        assert_eq!((used(&cache, "a"), used(&cache, "b")), (0, 5));
    }
}
