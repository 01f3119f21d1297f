//! Counting each ended pod exactly once: the tracking finalizer and `status.uncountedTerminatedPods`. Pure.
//!
//! A pod is counted in three steps: its UID goes into the status, its finalizer is removed, its UID turns into a count.
//! Whatever breaks in between, the next run finds where it was.

use crate::k8s::api::batch::v1::{JobStatus, UncountedTerminatedPods};
use crate::k8s::api::core::v1::Pod;
use crate::pods;
use std::collections::HashSet;
use std::sync::Arc;

pub const FINALIZER: &str = "batch.kubernetes.io/job-tracking";
/// Most UIDs kept in a status at a time.
pub const LIMIT: usize = 500;

pub fn is_tracked(pod: &Pod) -> bool {
    pod.metadata.finalizers.iter().flatten().any(|f| f == FINALIZER)
}

fn lists(status: &JobStatus) -> (&[String], &[String]) {
    let uncounted = status.uncounted_terminated_pods.as_ref();
    let succeeded = uncounted.and_then(|u| u.succeeded.as_ref());
    let failed = uncounted.and_then(|u| u.failed.as_ref());
    (succeeded.map_or(&[], Vec::as_slice), failed.map_or(&[], Vec::as_slice))
}

pub fn is_listed(status: &JobStatus, uid: &str) -> bool {
    let (succeeded, failed) = lists(status);
    succeeded.iter().chain(failed).any(|listed| listed == uid)
}

pub fn listed(status: &JobStatus) -> usize {
    let (succeeded, failed) = lists(status);
    succeeded.len() + failed.len()
}

/// Pods that succeeded: counted and listed.
pub fn succeeded(status: &JobStatus) -> i32 {
    status.succeeded.unwrap_or(0).saturating_add(i32::try_from(lists(status).0.len()).unwrap_or(i32::MAX))
}

/// Pods that failed: counted and listed.
pub fn failed(status: &JobStatus) -> i32 {
    status.failed.unwrap_or(0).saturating_add(i32::try_from(lists(status).1.len()).unwrap_or(i32::MAX))
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    Succeeded,
    Failed,
}

pub fn list(status: &mut JobStatus, uid: &str, outcome: Outcome) {
    let uncounted = status.uncounted_terminated_pods.get_or_insert_default();
    let list = match outcome {
        Outcome::Succeeded => uncounted.succeeded.get_or_insert_default(),
        Outcome::Failed => uncounted.failed.get_or_insert_default(),
    };
    list.push(uid.to_owned());
}

/// Turns the listed UIDs whose pods have no finalizer any more into counts.
/// Of an Indexed Job the successes are counted by index.
pub fn settle(status: &mut JobStatus, still_tracked: &HashSet<&str>) {
    let Some(uncounted) = status.uncounted_terminated_pods.take() else { return };
    let keep = |list: Option<Vec<String>>, count: &mut Option<i32>| {
        let (kept, counted): (Vec<_>, Vec<_>) =
            list.unwrap_or_default().into_iter().partition(|uid| still_tracked.contains(uid.as_str()));
        let sum = count.unwrap_or(0).saturating_add(i32::try_from(counted.len()).unwrap_or(i32::MAX));
        *count = (sum != 0).then_some(sum);
        (!kept.is_empty()).then_some(kept)
    };
    let succeeded = keep(uncounted.succeeded, &mut status.succeeded);
    let failed = keep(uncounted.failed, &mut status.failed);
    status.uncounted_terminated_pods = Some(UncountedTerminatedPods { failed, succeeded });
}

pub fn tracked_uids<'a>(pods: impl IntoIterator<Item = &'a Arc<Pod>>) -> HashSet<&'a str> {
    pods.into_iter().filter(|pod| is_tracked(pod)).map(|pod| pods::uid(pod)).collect()
}
