//! Ending a running container: preStop, the shutdown signal, the grace period, the kill.

use std::future::Future;
use std::time::Duration;

use api::k8s_openapi::api::core::v1::{Container, PodSpec};
use runtime::{Exit, ModuleKind};
use tokio::time::Instant;

use super::hooks;
use crate::events::EventType;
use crate::pod::PodContext;
use crate::pod::record::Instance;

/// What a container gets at least after its preStop hook, as in the kubelet.
const MINIMUM: Duration = Duration::from_secs(2);
/// How long a deleted pod goes on serving while Services still send clients to it, at most.
const DRAIN: Duration = Duration::from_secs(2);
/// After no Service does: connections that were under way arrive, and their requests.
const LINGER: Duration = Duration::from_millis(100);
/// Kubernetes' default.
const DEFAULT_GRACE: i64 = 30;

/// Ends `running` by `end` at the latest, or at once when `cut` resolves.
pub async fn stop(
    pod: &PodContext,
    index: usize,
    spec: &Container,
    running: &Instance,
    end: Instant,
    cut: impl Future<Output = ()>,
) -> Exit {
    let instance = &running.container;
    let graceful = async {
        if let Some(hook) = hooks::pre_stop(spec) {
            match tokio::time::timeout_at(end, hooks::run(pod, spec, hook)).await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => {
                    let message = format!("PreStopHook failed: {error}");
                    pod.container_event(index, EventType::Warning, "FailedPreStopHook", message);
                }
                Err(_) => {
                    let message = "PreStopHook failed: it outlasted the grace period";
                    pod.container_event(index, EventType::Warning, "FailedPreStopHook", message);
                }
            }
        }
        if running.module.kind() == ModuleKind::HttpComponent {
            let _ = tokio::time::timeout_at(end.min(Instant::now() + DRAIN), drain(pod)).await;
        }
        let end = if hooks::pre_stop(spec).is_some() { end.max(Instant::now() + MINIMUM) } else { end };
        let grace = end.saturating_duration_since(Instant::now());
        if !grace.is_zero() && running.module.hears_stop() {
            instance.signal_stop(grace);
            let _ = tokio::time::timeout_at(end, instance.wait()).await;
        }
    };
    tokio::select! {
        biased;
        _ = instance.wait() => {}
        () = graceful => {}
        () = cut => {}
    }
    instance.kill();
    instance.wait().await
}

/// Waits until clients of Services have been told to go elsewhere; an HTTP component that closed before would lose
/// their requests. Where no Service leads to the pod this takes no time.
async fn drain(pod: &PodContext) {
    let deleted = pod.object().metadata.deletion_timestamp.is_some();
    let net = pod.net.lock().clone();
    if let Some(net) = net.filter(|net| deleted && net.is_sought()) {
        net.unsought().await;
        tokio::time::sleep(LINGER).await;
    }
}

/// The grace period for a container that failed a probe.
pub fn grace_of_probe(container: &Container, spec: &PodSpec) -> Duration {
    let own = container
        .liveness_probe
        .as_ref()
        .or(container.startup_probe.as_ref())
        .and_then(|p| p.termination_grace_period_seconds);
    seconds(own.or(spec.termination_grace_period_seconds).unwrap_or(DEFAULT_GRACE))
}

/// The pod's own grace period.
pub fn grace_of_pod(spec: &PodSpec) -> Duration {
    seconds(spec.termination_grace_period_seconds.unwrap_or(DEFAULT_GRACE))
}

/// A number of seconds from an object as a duration that can be added to any point in time: the API has no upper
/// bound for grace periods.
pub fn seconds(seconds: i64) -> Duration {
    const LONGEST: u64 = 100 * 365 * 24 * 3600;
    Duration::from_secs(u64::try_from(seconds).unwrap_or(0).min(LONGEST))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_grace_period_can_be_added_to_a_time() {
        assert!(Instant::now() + seconds(i64::MAX) > Instant::now() + seconds(86_400));
        assert_eq!(seconds(-1), Duration::ZERO);
    }
}
