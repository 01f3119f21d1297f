//! Which pods go first when there are too many: Kubernetes' `ActivePodsWithRanks`. Pure.

use crate::k8s::api::core::v1::Pod;
use crate::pods;
use jiff::Timestamp;
use std::cmp::{Ordering, Reverse};
use std::collections::HashMap;
use std::sync::Arc;

const DELETION_COST: &str = "controller.kubernetes.io/pod-deletion-cost";

/// The `count` active pods that are worth least: unassigned, then pending, not ready, cheap by annotation, doubled up
/// on a node, ready for a short time, much restarted, young.
pub fn victims(mut active: Vec<Arc<Pod>>, related: &[Arc<Pod>], count: usize, now: Timestamp) -> Vec<Arc<Pod>> {
    if count < active.len() {
        let mut per_node: HashMap<&str, usize> = HashMap::new();
        for pod in related {
            *per_node.entry(pods::node(pod)).or_default() += 1;
        }
        active.sort_by(|a, b| compare(a, b, &per_node, now));
    }
    active.truncate(count);
    active
}

fn compare(a: &Pod, b: &Pod, per_node: &HashMap<&str, usize>, now: Timestamp) -> Ordering {
    let crowd = |pod: &Pod| per_node.get(pods::node(pod)).copied().unwrap_or(0);
    let key =
        |pod: &Pod| (!pods::node(pod).is_empty(), phase(pod), pods::is_ready(pod), cost(pod), Reverse(crowd(pod)));
    key(a)
        .cmp(&key(b))
        .then_with(|| match (pods::ready_since(a), pods::ready_since(b)) {
            (Some(x), Some(y)) => younger(x, y, now).then_with(|| tie(x, y, a, b)),
            _ => Ordering::Equal,
        })
        .then_with(|| restarts(b).cmp(&restarts(a)))
        .then_with(|| match (&a.metadata.creation_timestamp, &b.metadata.creation_timestamp) {
            (Some(x), Some(y)) => younger(x.0, y.0, now),
            _ => Ordering::Equal,
        })
        .then_with(|| pods::uid(a).cmp(pods::uid(b)))
}

/// Pods whose ages are alike (the same power of two) but not equal are told apart by UID, that is, at random.
fn tie(x: Timestamp, y: Timestamp, a: &Pod, b: &Pod) -> Ordering {
    if x == y { Ordering::Equal } else { pods::uid(a).cmp(pods::uid(b)) }
}

fn phase(pod: &Pod) -> u8 {
    match pods::phase(pod) {
        "Pending" => 0,
        "Unknown" => 1,
        _ => 2,
    }
}

fn cost(pod: &Pod) -> i32 {
    let cost = pod.metadata.annotations.as_ref().and_then(|a| a.get(DELETION_COST));
    cost.and_then(|c| c.parse().ok()).unwrap_or(0)
}

fn restarts(pod: &Pod) -> i32 {
    let statuses = pod.status.as_ref().and_then(|s| s.container_statuses.as_ref());
    statuses.into_iter().flatten().map(|c| c.restart_count).max().unwrap_or(0)
}

/// Younger first, by the logarithm of the age.
fn younger(a: Timestamp, b: Timestamp, now: Timestamp) -> Ordering {
    let scale = |since: Timestamp| {
        let age = now.duration_since(since).as_nanos();
        if age <= 0 { -1 } else { i64::from(age.ilog2()) }
    };
    scale(a).cmp(&scale(b))
}
