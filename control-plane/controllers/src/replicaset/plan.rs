//! How many pods to create or delete, and the status that follows from the pods. Pure.

use crate::k8s::api::core::v1::{Pod, PodTemplateSpec};
use crate::k8s::apimachinery::pkg::apis::meta::v1::Time;
use crate::pods::{self, Availability};
use jiff::Timestamp;
use std::sync::Arc;
use std::time::Duration;

/// Most pods created or deleted in one run, so that one object does not keep others waiting.
const BURST: usize = 500;

#[derive(Clone, Debug, Default, PartialEq)]
pub struct Status {
    pub replicas: i32,
    pub fully_labeled: i32,
    pub ready: i32,
    pub available: i32,
    pub terminating: Option<i32>,
    pub observed_generation: i64,
    pub failure: Option<Failure>,
}

/// The ReplicaFailure condition.
#[derive(Clone, Debug, PartialEq)]
pub struct Failure {
    pub reason: String,
    pub message: String,
    pub since: Option<Time>,
}

/// Positive: create that many; negative: delete.
pub fn replicas_to_move(wanted: i32, active: usize) -> isize {
    let wanted = isize::try_from(wanted.max(0)).unwrap_or(isize::MAX);
    let active = isize::try_from(active).unwrap_or(isize::MAX);
    let burst = BURST.cast_signed();
    (wanted - active).clamp(-burst, burst)
}

/// The status, and when to look again for a pod to become available.
pub fn desired_status(
    old: &Status,
    pods: &[Arc<Pod>],
    template: &PodTemplateSpec,
    min_ready_seconds: i32,
    failure: Option<(&str, String)>,
    generation: i64,
    now: Timestamp,
) -> (Status, Option<Duration>) {
    let wanted_labels = template.metadata.as_ref().and_then(|m| m.labels.clone()).unwrap_or_default();
    let mut status = Status { observed_generation: generation, ..Status::default() };
    let mut terminating = 0;
    let mut wait: Option<Duration> = None;
    for pod in pods.iter().filter(|pod| !pods::is_terminal(pod)) {
        if pods::is_terminating(pod) {
            terminating += 1;
            continue;
        }
        status.replicas += 1;
        let labels = pod.metadata.labels.as_ref();
        if wanted_labels.iter().all(|(k, v)| labels.and_then(|l| l.get(k)) == Some(v)) {
            status.fully_labeled += 1;
        }
        match pods::availability(pod, min_ready_seconds, now) {
            Availability::NotReady => {}
            Availability::Available => {
                status.ready += 1;
                status.available += 1;
            }
            Availability::In(left) => {
                status.ready += 1;
                wait = Some(wait.map_or(left, |w| w.min(left)));
            }
        }
    }
    status.terminating = Some(terminating);
    status.failure = failure.map(|(reason, message)| match &old.failure {
        // As Kubernetes: the first failure stays until it is over.
        Some(known) => known.clone(),
        None => Failure { reason: reason.to_owned(), message, since: Some(Time(now)) },
    });
    (status, wait)
}
