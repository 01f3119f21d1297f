//! What a failed pod means: the pod failure policy, and the back-off after failures. Pure.

use crate::k8s::api::batch::v1::{PodFailurePolicy, PodFailurePolicyRule};
use crate::k8s::api::core::v1::{ContainerStatus, Pod};
use crate::pods;
use jiff::{SignedDuration, Timestamp};
use std::sync::Arc;
use std::time::Duration;

const FIRST_BACKOFF: SignedDuration = SignedDuration::from_secs(10);
const LAST_BACKOFF: SignedDuration = SignedDuration::from_mins(10);

/// What the policy says of a failed pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    Count,
    Ignore,
    FailIndex,
    /// The whole Job fails, with this message.
    FailJob(String),
}

pub fn judge(policy: Option<&PodFailurePolicy>, pod: &Pod) -> Verdict {
    let Some(policy) = policy.filter(|_| pods::phase(pod) == "Failed") else { return Verdict::Count };
    for (at, rule) in policy.rules.iter().enumerate() {
        if let Some(matched) = matches(rule, pod) {
            return match rule.action.as_str() {
                "Ignore" => Verdict::Ignore,
                "FailIndex" => Verdict::FailIndex,
                "FailJob" => Verdict::FailJob(format!("{matched} matching FailJob rule at index {at}")),
                _ => Verdict::Count,
            };
        }
    }
    Verdict::Count
}

fn matches(rule: &PodFailurePolicyRule, pod: &Pod) -> Option<String> {
    let place = format!("{}/{}", pod.metadata.namespace.as_deref().unwrap_or_default(), pods::name(pod));
    if let Some(codes) = &rule.on_exit_codes {
        return containers(pod).find_map(|container| {
            if codes.container_name.as_ref().is_some_and(|name| *name != container.name) {
                return None;
            }
            let code = container.state.as_ref()?.terminated.as_ref()?.exit_code;
            let listed = codes.values.contains(&code);
            let hit = code != 0 && if codes.operator == "NotIn" { !listed } else { listed };
            hit.then(|| format!("Container {} for pod {place} failed with exit code {code}", container.name))
        });
    }
    rule.on_pod_conditions.iter().flatten().find_map(|pattern| {
        let condition = pods::condition(pod, &pattern.type_)?;
        let wanted = pattern.status.as_deref().unwrap_or("True");
        (condition.status == wanted).then(|| format!("Pod {place} has condition {}", pattern.type_))
    })
}

fn containers(pod: &Pod) -> impl Iterator<Item = &ContainerStatus> {
    let status = pod.status.as_ref();
    let main = status.and_then(|s| s.container_statuses.as_ref()).into_iter().flatten();
    main.chain(status.and_then(|s| s.init_container_statuses.as_ref()).into_iter().flatten())
}

/// Restarts of all containers of pods that have not ended.
pub fn restarts(pods: &[Arc<Pod>]) -> i32 {
    let live = pods.iter().filter(|pod| !pods::is_terminal(pod));
    live.flat_map(|pod| containers(pod)).fold(0, |sum, container| sum.saturating_add(container.restart_count))
}

fn ended_at(pod: &Pod, now: Timestamp) -> Timestamp {
    let finished = containers(pod).filter_map(|c| c.state.as_ref()?.terminated.as_ref()?.finished_at.as_ref());
    let ready = || pods::condition(pod, "Ready").and_then(|c| c.last_transition_time.as_ref());
    let last = finished.max().or_else(ready).or(pod.metadata.deletion_timestamp.as_ref());
    last.map_or(now, |t| t.0)
}

/// How long to wait before the next pod: 10 s · 2ⁿ after the nth failure in a row, at most ten minutes.
pub fn backoff<'a>(pods: impl Iterator<Item = &'a Arc<Pod>>, now: Timestamp) -> Option<Duration> {
    let (mut failures, mut last_success) = (Vec::new(), None);
    for pod in pods {
        match pods::phase(pod) {
            "Succeeded" => last_success = last_success.max(Some(ended_at(pod, now))),
            "Failed" => failures.push(ended_at(pod, now)),
            _ => {}
        }
    }
    failures.retain(|at| Some(*at) > last_success);
    let last = failures.iter().max()?;
    let doublings = u32::try_from(failures.len() - 1).unwrap_or(u32::MAX).min(20);
    let wait = FIRST_BACKOFF.saturating_mul(1 << doublings).min(LAST_BACKOFF);
    crate::clock::remaining(*last, wait, now)
}
