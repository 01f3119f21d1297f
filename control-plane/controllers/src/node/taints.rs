//! The taints that follow from a node's conditions, and what pods tolerate. Pure.

use crate::k8s::api::core::v1::{Node, Pod, Taint, Toleration};
use crate::k8s::apimachinery::pkg::apis::meta::v1::Time;
use jiff::{SignedDuration, Timestamp};

pub const NOT_READY: &str = "node.kubernetes.io/not-ready";
pub const UNREACHABLE: &str = "node.kubernetes.io/unreachable";
const UNSCHEDULABLE: &str = "node.kubernetes.io/unschedulable";
/// (condition, its status that taints, taint)
const BY_CONDITION: [(&str, &str, &str); 6] = [
    ("Ready", "False", NOT_READY),
    ("Ready", "Unknown", UNREACHABLE),
    ("MemoryPressure", "True", "node.kubernetes.io/memory-pressure"),
    ("DiskPressure", "True", "node.kubernetes.io/disk-pressure"),
    ("PIDPressure", "True", "node.kubernetes.io/pid-pressure"),
    ("NetworkUnavailable", "True", "node.kubernetes.io/network-unavailable"),
];

/// Whether pods may be driven off dead nodes. Where no node at all is alive, the fault is likelier on our side, and a
/// cluster of one node has nowhere to drive them to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Eviction {
    On,
    Off,
}

pub fn condition<'a>(node: &'a Node, type_: &str) -> Option<&'a str> {
    let conditions = node.status.as_ref()?.conditions.as_ref()?;
    conditions.iter().find(|c| c.type_ == type_).map(|c| c.status.as_str())
}

pub fn is_ready(node: &Node) -> bool {
    condition(node, "Ready") == Some("True")
}

/// The node's taints as they should be; `None` when they are so already.
pub fn desired(node: &Node, eviction: Eviction, now: Timestamp) -> Option<Vec<Taint>> {
    let current = node.spec.as_ref().and_then(|s| s.taints.clone()).unwrap_or_default();
    let mut wanted: Vec<(&str, &str)> = Vec::new();
    for (type_, status, key) in BY_CONDITION {
        if condition(node, type_) == Some(status) {
            wanted.push((key, "NoSchedule"));
            if type_ == "Ready" && eviction == Eviction::On {
                wanted.push((key, "NoExecute"));
            }
        }
    }
    if node.spec.as_ref().and_then(|s| s.unschedulable).unwrap_or(false) {
        wanted.push((UNSCHEDULABLE, "NoSchedule"));
    }
    // A node that has never posted a condition keeps the taints it registered with.
    let unknown = condition(node, "Ready").is_none();
    let ours = |taint: &Taint| {
        let by_condition = BY_CONDITION.iter().any(|(_, _, key)| *key == taint.key);
        let eviction = taint.effect == "NoExecute" && matches!(taint.key.as_str(), NOT_READY | UNREACHABLE);
        (by_condition || taint.key == UNSCHEDULABLE) && (taint.effect == "NoSchedule" || eviction)
    };
    let mut next: Vec<Taint> = current
        .iter()
        .filter(|taint| {
            let stays = unknown && taint.key != UNSCHEDULABLE;
            stays || !ours(taint) || wanted.contains(&(taint.key.as_str(), taint.effect.as_str()))
        })
        .cloned()
        .collect();
    for (key, effect) in wanted {
        if !next.iter().any(|taint| taint.key == key && taint.effect == effect) {
            next.push(Taint { key: key.into(), effect: effect.into(), value: None, time_added: Some(Time(now)) });
        }
    }
    (next != current).then_some(next)
}

fn tolerates(toleration: &Toleration, taint: &Taint) -> bool {
    let effect = toleration.effect.as_deref().unwrap_or_default();
    let key = toleration.key.as_deref().unwrap_or_default();
    let exists = toleration.operator.as_deref() == Some("Exists");
    (effect.is_empty() || effect == taint.effect)
        && (if key.is_empty() { exists } else { key == taint.key })
        && (exists || toleration.value.as_deref().unwrap_or_default() == taint.value.as_deref().unwrap_or_default())
}

/// What a node's NoExecute taints do to a pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    Stays,
    /// It is to go at this time, which may have passed.
    GoesAt(Timestamp),
}

/// `first_seen` stands in for taints that do not say since when they are there. What a pod tolerates for a while it
/// tolerates for so long from when it came to the node: else it would leave as soon as it has come, again and again.
pub fn fate(node: &Node, pod: &Pod, first_seen: Timestamp) -> Fate {
    let came = crate::pods::condition(pod, "PodScheduled").and_then(|c| c.last_transition_time.as_ref()).map(|t| t.0);
    let taints = node.spec.as_ref().and_then(|s| s.taints.as_ref()).into_iter().flatten();
    let tolerations = pod.spec.as_ref().and_then(|s| s.tolerations.as_ref());
    let mut goes: Option<Timestamp> = None;
    for taint in taints.filter(|taint| taint.effect == "NoExecute") {
        let since = taint.time_added.as_ref().map_or(first_seen, |t| t.0);
        let mut tolerated = false;
        for toleration in tolerations.into_iter().flatten().filter(|t| tolerates(t, taint)) {
            tolerated = true;
            if let Some(seconds) = toleration.toleration_seconds {
                let from = came.map_or(since, |came| came.max(since));
                let at = from.saturating_add(SignedDuration::from_secs(seconds.max(0))).unwrap_or(from);
                goes = Some(goes.map_or(at, |g| g.min(at)));
            }
        }
        if !tolerated {
            return Fate::GoesAt(since);
        }
    }
    goes.map_or(Fate::Stays, Fate::GoesAt)
}
