//! What the controllers ask of a pod. Pure.

use crate::clock::remaining;
use crate::k8s::api::core::v1::{Pod, PodCondition, PodTemplateSpec};
use crate::k8s::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use jiff::{SignedDuration, Timestamp};
use std::time::Duration;

#[must_use]
pub fn phase(pod: &Pod) -> &str {
    pod.status.as_ref().and_then(|s| s.phase.as_deref()).unwrap_or("Pending")
}

/// Succeeded or Failed: it will never run again.
#[must_use]
pub fn is_terminal(pod: &Pod) -> bool {
    matches!(phase(pod), "Succeeded" | "Failed")
}

#[must_use]
pub fn is_terminating(pod: &Pod) -> bool {
    pod.metadata.deletion_timestamp.is_some()
}

/// Counts as a replica.
#[must_use]
pub fn is_active(pod: &Pod) -> bool {
    !is_terminal(pod) && !is_terminating(pod)
}

#[must_use]
pub fn node(pod: &Pod) -> &str {
    pod.spec.as_ref().and_then(|s| s.node_name.as_deref()).unwrap_or_default()
}

#[must_use]
pub fn uid(pod: &Pod) -> &str {
    pod.metadata.uid.as_deref().unwrap_or_default()
}

#[must_use]
pub fn name(pod: &Pod) -> &str {
    pod.metadata.name.as_deref().unwrap_or_default()
}

#[must_use]
pub fn condition<'a>(pod: &'a Pod, type_: &str) -> Option<&'a PodCondition> {
    pod.status.as_ref()?.conditions.iter().flatten().find(|c| c.type_ == type_)
}

#[must_use]
pub fn is_ready(pod: &Pod) -> bool {
    condition(pod, "Ready").is_some_and(|c| c.status == "True")
}

/// Since when the pod is ready.
#[must_use]
pub fn ready_since(pod: &Pod) -> Option<Timestamp> {
    condition(pod, "Ready").filter(|c| c.status == "True")?.last_transition_time.as_ref().map(|t| t.0)
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Availability {
    Available,
    /// Ready, but not for long enough yet.
    In(Duration),
    NotReady,
}

/// Whether the pod has been ready for `min_ready_seconds`.
#[must_use]
pub fn availability(pod: &Pod, min_ready_seconds: i32, now: Timestamp) -> Availability {
    if !is_ready(pod) {
        return Availability::NotReady;
    }
    if min_ready_seconds <= 0 {
        return Availability::Available;
    }
    match ready_since(pod) {
        None => Availability::NotReady,
        Some(since) => match remaining(since, SignedDuration::from_secs(min_ready_seconds.into()), now) {
            None => Availability::Available,
            Some(left) => Availability::In(left),
        },
    }
}

/// A pod made from a template for its controller; named by the server from `prefix`.
#[must_use]
pub fn from_template(template: &PodTemplateSpec, namespace: &str, prefix: &str, owner: OwnerReference) -> Pod {
    let meta = template.metadata.clone().unwrap_or_default();
    Pod {
        metadata: ObjectMeta {
            generate_name: Some(prefix.to_owned()),
            namespace: Some(namespace.to_owned()),
            labels: meta.labels,
            annotations: meta.annotations,
            finalizers: meta.finalizers,
            owner_references: Some(vec![owner]),
            ..ObjectMeta::default()
        },
        spec: template.spec.clone(),
        status: None,
    }
}

/// Names that are generated from `name-` may not be cut in the middle: Kubernetes drops the dash when it is too long.
#[must_use]
pub fn name_prefix(owner: &str) -> String {
    format!("{owner}-")
}
