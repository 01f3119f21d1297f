//! The nodes and what is on them, at one moment. Clones share what has not changed since, so that
//! keeping an old one costs little and making one costs nothing.

use std::collections::BTreeMap;
use std::sync::Arc;

use imbl::{HashMap, Vector};

use crate::node::{Node, Place, Usage};
use crate::pod::Pod;

/// An immutable view of the cluster, as far as scheduling cares.
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    places: Vector<Place>,
    by_name: HashMap<Arc<str>, usize>,
    /// How many pods with a node there are of each priority.
    priorities: imbl::OrdMap<i32, usize>,
    seed: u64,
}

impl Snapshot {
    /// No nodes. Where several nodes suit equally, `seed` chooses.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self { seed, ..Self::default() }
    }

    #[must_use]
    pub fn len(&self) -> usize {
        self.places.len()
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.places.is_empty()
    }

    pub(crate) fn seed(&self) -> u64 {
        self.seed
    }

    pub(crate) fn places(&self) -> &Vector<Place> {
        &self.places
    }

    pub(crate) fn place(&self, name: &str) -> Option<&Place> {
        self.by_name.get(name).and_then(|at| self.places.get(*at))
    }

    /// Whether a pod with a priority below `priority` has a node.
    pub(crate) fn has_below(&self, priority: i32) -> bool {
        self.priorities.get_min().is_some_and(|(lowest, _)| *lowest < priority)
    }

    /// Add a node without pods, or change what it is.
    pub fn set_node(&mut self, node: Node) {
        match self.by_name.get(&node.name).copied() {
            Some(at) => self.places[at].node = Arc::new(node),
            None => {
                self.by_name.insert(node.name.clone(), self.places.len());
                self.places.push_back(Place { node: Arc::new(node), used: Usage::default() });
            }
        }
    }

    /// Forget a node and the pods on it.
    pub fn remove_node(&mut self, name: &str) {
        let Some(at) = self.by_name.remove(name) else { return };
        let last = self.places.pop_back();
        if let Some(last) = last
            && at < self.places.len()
        {
            self.by_name.insert(last.node.name.clone(), at);
            self.places.set(at, last);
        }
    }

    /// Count `pod` on the node `name`, which may be unknown.
    pub fn add_pod(&mut self, name: &str, pod: &Pod) {
        *self.priorities.entry(pod.priority).or_insert(0) += 1;
        if let Some(at) = self.by_name.get(name) {
            self.places[*at].used.add(pod);
        }
    }

    /// Undo [`Snapshot::add_pod`].
    pub fn remove_pod(&mut self, name: &str, pod: &Pod) {
        if let Some(count) = self.priorities.get_mut(&pod.priority) {
            *count -= 1;
            if *count == 0 {
                self.priorities.remove(&pod.priority);
            }
        }
        if let Some(at) = self.by_name.get(name) {
            self.places[*at].used.remove(pod);
        }
    }

    /// Count pods that had the node `name` before it was known.
    pub(crate) fn settle<'a>(&mut self, name: &str, pods: impl Iterator<Item = &'a Pod>) {
        if let Some(at) = self.by_name.get(name) {
            let place = &mut self.places[*at];
            pods.for_each(|pod| place.used.add(pod));
        }
    }

    /// The labels of a node; for tests and debugging.
    #[must_use]
    pub fn labels(&self, name: &str) -> Option<&BTreeMap<String, String>> {
        self.place(name).map(|place| &place.node.labels)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resources::Resources;

    fn pod(cpu: i64) -> Pod {
        Pod { requests: Resources { cpu, ..Resources::default() }, ..Pod::default() }
    }

    fn cpu(snapshot: &Snapshot, name: &str) -> Option<i64> {
        snapshot.place(name).map(|place| place.used.requested.cpu)
    }

    #[test]
    fn nodes_come_and_go() {
        let mut snapshot = Snapshot::new(0);
        for name in ["a", "b", "c"] {
            snapshot.set_node(Node::new(name));
            snapshot.add_pod(name, &pod(5));
        }
        let before = snapshot.clone();
        snapshot.remove_node("a");
        snapshot.add_pod("c", &pod(2));
        snapshot.remove_pod("b", &pod(5));
        assert_eq!((cpu(&snapshot, "a"), cpu(&snapshot, "b"), cpu(&snapshot, "c")), (None, Some(0), Some(7)));
        snapshot.remove_node("c");
        snapshot.remove_node("c");
        assert_eq!((snapshot.len(), cpu(&snapshot, "b")), (1, Some(0)));
        assert_eq!((cpu(&before, "a"), cpu(&before, "c")), (Some(5), Some(5)));
    }

    #[test]
    fn a_changed_node_keeps_its_pods() {
        let mut snapshot = Snapshot::new(0);
        snapshot.set_node(Node::new("a"));
        snapshot.add_pod("a", &pod(5));
        snapshot.set_node(Node { unschedulable: true, ..Node::new("a") });
        assert_eq!(cpu(&snapshot, "a"), Some(5));
    }
}
