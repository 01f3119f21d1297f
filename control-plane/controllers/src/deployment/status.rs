//! A Deployment's status: counts and the conditions Available, Progressing and ReplicaFailure. Pure.

use super::rollout::Sets;
use super::sets::{Set, max_unavailable, replicas};
use crate::clock::remaining;
use crate::k8s::api::apps::v1::{Deployment, DeploymentCondition, DeploymentStatus};
use crate::k8s::apimachinery::pkg::apis::meta::v1::Time;
use jiff::{SignedDuration, Timestamp};
use std::time::Duration;

pub const AVAILABLE: &str = "Available";
pub const PROGRESSING: &str = "Progressing";
const REPLICA_FAILURE: &str = "ReplicaFailure";

pub const NEW_SET_AVAILABLE: &str = "NewReplicaSetAvailable";
pub const TIMED_OUT: &str = "ProgressDeadlineExceeded";

pub fn condition(type_: &str, status: &str, reason: &str, message: String, now: Timestamp) -> DeploymentCondition {
    DeploymentCondition {
        type_: type_.into(),
        status: status.into(),
        reason: Some(reason.into()),
        message: Some(message),
        last_update_time: Some(Time(now)),
        last_transition_time: Some(Time(now)),
    }
}

pub fn get<'a>(status: &'a DeploymentStatus, type_: &str) -> Option<&'a DeploymentCondition> {
    status.conditions.iter().flatten().find(|c| c.type_ == type_)
}

/// Sets the condition unless it says the same already; a transition is a change of status.
pub fn set(status: &mut DeploymentStatus, mut condition: DeploymentCondition) {
    let conditions = status.conditions.get_or_insert_default();
    if let Some(old) = conditions.iter().find(|c| c.type_ == condition.type_) {
        if old.status == condition.status && old.reason == condition.reason {
            return;
        }
        if old.status == condition.status {
            condition.last_transition_time.clone_from(&old.last_transition_time);
        }
    }
    conditions.retain(|c| c.type_ != condition.type_);
    conditions.push(condition);
}

fn remove(status: &mut DeploymentStatus, type_: &str) {
    if let Some(conditions) = status.conditions.as_mut() {
        conditions.retain(|c| c.type_ != type_);
    }
}

/// The progress deadline, unless there is none.
pub fn deadline(deployment: &Deployment) -> Option<SignedDuration> {
    let seconds = deployment.spec.as_ref()?.progress_deadline_seconds?;
    (seconds != i32::MAX).then(|| SignedDuration::from_secs(seconds.into()))
}

fn some_of(count: i32) -> Option<i32> {
    (count != 0).then_some(count)
}

/// Counts, Available; keeps the conditions that `status` has.
pub fn count(deployment: &Deployment, sets: &Sets, status: &DeploymentStatus, now: Timestamp) -> DeploymentStatus {
    let sum = |f: fn(&Set) -> i32| sets.all().map(f).fold(0, i32::saturating_add);
    let available = sum(Set::available);
    let unavailable = sum(Set::replicas).saturating_sub(available).max(0);
    let mut counted = DeploymentStatus {
        observed_generation: deployment.metadata.generation,
        replicas: some_of(sum(Set::actual)),
        updated_replicas: some_of(sets.new.as_ref().map_or(0, Set::actual)),
        ready_replicas: some_of(sum(|set| set.status().ready_replicas.unwrap_or(0))),
        available_replicas: some_of(available),
        unavailable_replicas: some_of(unavailable),
        terminating_replicas: Some(sum(|set| set.status().terminating_replicas.unwrap_or(0))),
        collision_count: status.collision_count,
        conditions: status.conditions.clone(),
    };
    let verdict = if available >= replicas(deployment) - max_unavailable(deployment) {
        let message = "Deployment has minimum availability.".into();
        condition(AVAILABLE, "True", "MinimumReplicasAvailable", message, now)
    } else {
        let message = "Deployment does not have minimum availability.".into();
        condition(AVAILABLE, "False", "MinimumReplicasUnavailable", message, now)
    };
    set(&mut counted, verdict);
    counted
}

pub fn is_complete(deployment: &Deployment, status: &DeploymentStatus) -> bool {
    let wanted = replicas(deployment);
    status.updated_replicas.unwrap_or(0) == wanted
        && status.replicas.unwrap_or(0) == wanted
        && status.available_replicas.unwrap_or(0) == wanted
        && status.observed_generation >= deployment.metadata.generation
}

fn has_progressed(old: &DeploymentStatus, new: &DeploymentStatus) -> bool {
    let updated = |s: &DeploymentStatus| s.updated_replicas.unwrap_or(0);
    let outdated = |s: &DeploymentStatus| s.replicas.unwrap_or(0).saturating_sub(updated(s));
    let ready = |s: &DeploymentStatus| s.ready_replicas.unwrap_or(0);
    let available = |s: &DeploymentStatus| s.available_replicas.unwrap_or(0);
    updated(new) > updated(old)
        || outdated(new) < outdated(old)
        || ready(new) > ready(old)
        || available(new) > available(old)
}

fn has_timed_out(status: &DeploymentStatus, deadline: SignedDuration, now: Timestamp) -> bool {
    let Some(progressing) = get(status, PROGRESSING) else { return false };
    match progressing.reason.as_deref() {
        Some(NEW_SET_AVAILABLE) => false,
        Some(TIMED_OUT) => true,
        _ => progressing.last_update_time.as_ref().is_some_and(|since| remaining(since.0, deadline, now).is_none()),
    }
}

/// Adds what the rollout has come to: Progressing and ReplicaFailure.
/// `status` is a fresh [`count`]; the Deployment's own status is what it was before.
pub fn judge(deployment: &Deployment, sets: &Sets, status: &mut DeploymentStatus, now: Timestamp) {
    let before = deployment.status.clone().unwrap_or_default();
    match deadline(deployment) {
        None => remove(status, PROGRESSING),
        Some(deadline) => progress(deployment, sets, &before, status, deadline, now),
    }
    let failing = sets
        .new
        .iter()
        .chain(&sets.old)
        .find_map(|set| set.status().conditions.into_iter().flatten().find(|c| c.type_ == REPLICA_FAILURE));
    match failing {
        None => remove(status, REPLICA_FAILURE),
        Some(failure) => {
            let (reason, message) = (failure.reason.unwrap_or_default(), failure.message.unwrap_or_default());
            set(status, condition(REPLICA_FAILURE, &failure.status, &reason, message, now));
        }
    }
}

fn progress(
    deployment: &Deployment,
    sets: &Sets,
    before: &DeploymentStatus,
    status: &mut DeploymentStatus,
    deadline: SignedDuration,
    now: Timestamp,
) {
    let current = get(status, PROGRESSING).cloned();
    let reason = current.as_ref().and_then(|c| c.reason.as_deref());
    if status.replicas == status.updated_replicas && reason == Some(NEW_SET_AVAILABLE) {
        return;
    }
    let subject = match &sets.new {
        Some(set) => format!("ReplicaSet \"{}\"", set.name()),
        None => format!("Deployment \"{}\"", deployment.metadata.name.as_deref().unwrap_or_default()),
    };
    if is_complete(deployment, status) {
        let message = format!("{subject} has successfully progressed.");
        set(status, condition(PROGRESSING, "True", NEW_SET_AVAILABLE, message, now));
    } else if has_progressed(before, status) {
        let message = format!("{subject} is progressing.");
        let mut next = condition(PROGRESSING, "True", "ReplicaSetUpdated", message, now);
        if let Some(current) = current.filter(|c| c.status == "True") {
            next.last_transition_time = current.last_transition_time;
        }
        // Each step forward starts the deadline anew.
        remove(status, PROGRESSING);
        set(status, next);
    } else if has_timed_out(status, deadline, now) {
        let message = format!("{subject} has timed out progressing.");
        set(status, condition(PROGRESSING, "False", TIMED_OUT, message, now));
    }
}

/// Notes that a pause began or ended, so that the time in between does not count against the deadline.
pub fn note_pause(deployment: &Deployment, status: &mut DeploymentStatus, now: Timestamp) {
    if deadline(deployment).is_none() {
        return;
    }
    let reason = get(status, PROGRESSING).and_then(|c| c.reason.clone());
    if reason.as_deref() == Some(TIMED_OUT) {
        return;
    }
    let was_paused = reason.as_deref() == Some("DeploymentPaused");
    let is_paused = deployment.spec.as_ref().and_then(|s| s.paused).unwrap_or(false);
    if is_paused && !was_paused {
        set(status, condition(PROGRESSING, "Unknown", "DeploymentPaused", "Deployment is paused".into(), now));
    } else if !is_paused && was_paused {
        set(status, condition(PROGRESSING, "Unknown", "DeploymentResumed", "Deployment is resumed".into(), now));
    }
}

/// When to look whether the deadline has passed.
pub fn next_look(deployment: &Deployment, status: &DeploymentStatus, now: Timestamp) -> Option<Duration> {
    let deadline = deadline(deployment)?;
    let progressing = get(status, PROGRESSING)?;
    let settled = matches!(progressing.reason.as_deref(), Some(TIMED_OUT | NEW_SET_AVAILABLE | "DeploymentPaused"));
    if settled || is_complete(deployment, status) {
        return None;
    }
    let since = progressing.last_update_time.as_ref()?.0;
    Some(remaining(since, deadline, now).unwrap_or_default() + Duration::from_secs(1))
}
