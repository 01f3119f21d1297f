//! Admitting: what became of this pod under an earlier agent, and whether the node takes it.

use std::sync::Arc;

use api::k8s_openapi::api::core::v1;

use super::{State, Why};
use crate::events::EventType;
use crate::pod::record::{self, PodRecord, Role, Verdict};
use crate::pod::{self, PodContext};

/// Counts what the node's pods use.
pub trait Admission: Send + Sync {
    /// Takes the pod in, or says why the node has no room for it.
    fn admit(&self, pod: &PodContext, object: &v1::Pod) -> Result<(), Verdict>;

    /// The pod is over: what it used is free.
    fn release(&self, pod: &PodContext);
}

pub fn run(pod: &Arc<PodContext>, admission: &dyn Admission) -> State {
    let object = pod.object();
    let status = object.status.as_ref();
    let phase = status.and_then(|s| s.phase.as_deref()).unwrap_or("Pending");
    let spec = pod::spec(&object);
    let now = pod.node.config.clock.now();
    if let Some(status) = status {
        let resumed = PodRecord::resume(spec, status, now);
        pod.change_quietly(|record| *record = resumed);
    }
    if matches!(phase, "Succeeded" | "Failed") {
        pod.change_quietly(|record| record.finished = true);
        return State::Finished;
    }
    if object.metadata.deletion_timestamp.is_some() || pod.is_gone() {
        return State::Terminating(Why::Deleted);
    }
    if is_over(pod) {
        pod.change(|record| {
            record.containers.iter_mut().for_each(super::terminating::settle);
            record.initialized = true;
            record.finished = true;
        });
        return State::Finished;
    }
    pod.change_quietly(|record| {
        record.start_time.get_or_insert(now);
    });
    match admission.admit(pod, &object) {
        Ok(()) => State::Preparing,
        Err(verdict) => {
            pod.event(EventType::Warning, admission_event(&verdict), verdict.message.clone());
            pod.change(|record| {
                record.start_time = None;
                record.finished = true;
                record.verdict = Some(verdict);
            });
            State::Finished
        }
    }
}

/// Whether no app container will run again: those that ran under an earlier agent died with it, and
/// their policy doesn't restart them.
fn is_over(pod: &PodContext) -> bool {
    pod.read(|r| {
        let mut apps = r.containers.iter().filter(|c| c.role == Role::App);
        apps.all(|c| matches!(c.state, record::State::Terminated(_)))
    })
}

/// The event's reason is the verdict's; events need it to be one of a known few.
fn admission_event(verdict: &Verdict) -> &'static str {
    match verdict.reason.as_str() {
        "OutOfpods" => "OutOfpods",
        "OutOfcpu" => "OutOfcpu",
        "OutOfmemory" => "OutOfmemory",
        _ => "FailedAdmission",
    }
}
