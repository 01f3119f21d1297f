//! Startup, readiness and liveness probes of one running container. They run inside the pod's own
//! task and report to its record; what a failure means for the container is the caller's business.

pub mod check;

use std::sync::Arc;
use std::time::Duration;

use api::k8s_openapi::api::core::v1::{Container, Probe};
use futures::future::{BoxFuture, FutureExt};
use tokio::time::Instant;

use crate::events::EventType;
use crate::pod::PodContext;
use check::Action;

/// Until its first success a container's readiness is checked more often than its period says (as
/// Kubernetes documents that it may be), so that it is Ready in milliseconds: this long after the
/// start, doubling.
const FIRST_LOOK: Duration = Duration::from_millis(5);

/// Which probe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProbeKind {
    Startup,
    Readiness,
    Liveness,
}

impl ProbeKind {
    /// As in `Unhealthy` events.
    pub fn title(self) -> &'static str {
        match self {
            ProbeKind::Startup => "Startup",
            ProbeKind::Readiness => "Readiness",
            ProbeKind::Liveness => "Liveness",
        }
    }

    /// As in `Killing` events.
    pub fn lower(self) -> &'static str {
        match self {
            ProbeKind::Startup => "startup",
            ProbeKind::Readiness => "readiness",
            ProbeKind::Liveness => "liveness",
        }
    }
}

/// Whether a container has any probe; without one it is ready as soon as it runs.
pub fn any(container: &Container) -> bool {
    container.startup_probe.is_some() || container.readiness_probe.is_some() || container.liveness_probe.is_some()
}

/// What a container counts as at the moment it starts.
pub fn at_start(container: &Container) -> (Started, Ready) {
    let started = if usable(container.startup_probe.as_ref(), container) { Started::No } else { Started::Yes };
    let ready = match started {
        Started::Yes if !usable(container.readiness_probe.as_ref(), container) => Ready::Yes,
        _ => Ready::No,
    };
    (started, ready)
}

/// Past the startup probe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Started {
    Yes,
    No,
}

/// Fit for traffic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ready {
    Yes,
    No,
}

fn usable(probe: Option<&Probe>, container: &Container) -> bool {
    use check::ActionError::{Exec, Grpc};
    probe.is_some_and(|p| !matches!(Action::of_probe(p, container), Err(Exec(_) | Grpc)))
}

/// Runs the container's probes until one says that it must be restarted.
pub async fn run(pod: Arc<PodContext>, index: usize, container: Container) -> ProbeKind {
    if let Some(probe) = &container.startup_probe
        && let Some(mut prober) = Prober::new(&pod, index, ProbeKind::Startup, probe, &container)
    {
        if prober.until_verdict().await == Verdict::Failure {
            return ProbeKind::Startup;
        }
        let ready = container.readiness_probe.is_none();
        pod.change_container(index, |c| {
            c.started = true;
            c.ready = ready;
        });
    }
    let readiness = readiness(&pod, index, &container);
    let liveness = liveness(&pod, index, &container);
    futures::future::select(readiness, liveness).await.factor_first().0
}

fn readiness<'a>(pod: &'a Arc<PodContext>, index: usize, container: &'a Container) -> BoxFuture<'a, ProbeKind> {
    async move {
        let prober = container
            .readiness_probe
            .as_ref()
            .and_then(|p| Prober::new(pod, index, ProbeKind::Readiness, p, container));
        let Some(mut prober) = prober else {
            pod.change_container(index, |c| c.ready = true);
            return std::future::pending().await;
        };
        loop {
            let ready = prober.until_verdict().await == Verdict::Success;
            if pod.read(|r| r.containers[index].ready) != ready {
                pod.change_container(index, |c| c.ready = ready);
            }
        }
    }
    .boxed()
}

fn liveness<'a>(pod: &'a Arc<PodContext>, index: usize, container: &'a Container) -> BoxFuture<'a, ProbeKind> {
    async move {
        let prober =
            container.liveness_probe.as_ref().and_then(|p| Prober::new(pod, index, ProbeKind::Liveness, p, container));
        let Some(mut prober) = prober else { return std::future::pending().await };
        while prober.until_verdict().await == Verdict::Success {}
        ProbeKind::Liveness
    }
    .boxed()
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    Success,
    Failure,
}

/// Counts results in a row. Pure.
#[derive(Debug)]
struct Tracker {
    success_threshold: u32,
    failure_threshold: u32,
    last: Option<Verdict>,
    count: u32,
}

impl Tracker {
    fn of(probe: &Probe) -> Self {
        let threshold = |value: Option<i32>, default| u32::try_from(value.unwrap_or(default)).unwrap_or(1).max(1);
        Self {
            success_threshold: threshold(probe.success_threshold, 1),
            failure_threshold: threshold(probe.failure_threshold, 3),
            last: None,
            count: 0,
        }
    }

    /// Notes a result; a verdict when its threshold is reached.
    fn note(&mut self, result: Verdict) -> Option<Verdict> {
        if self.last == Some(result) {
            self.count = self.count.saturating_add(1);
        } else {
            self.last = Some(result);
            self.count = 1;
        }
        let threshold = match result {
            Verdict::Success => self.success_threshold,
            Verdict::Failure => self.failure_threshold,
        };
        (self.count >= threshold).then_some(result)
    }
}

struct Prober<'a> {
    pod: &'a Arc<PodContext>,
    index: usize,
    kind: ProbeKind,
    action: Action,
    timeout: Duration,
    period: Duration,
    tracker: Tracker,
    begin: Instant,
    /// The next early look, before the first success; none for liveness.
    early: Option<Duration>,
    first: bool,
}

impl<'a> Prober<'a> {
    fn new(
        pod: &'a Arc<PodContext>,
        index: usize,
        kind: ProbeKind,
        probe: &Probe,
        container: &Container,
    ) -> Option<Self> {
        let seconds = |value: Option<i32>, default: u64| {
            Duration::from_secs(value.and_then(|v| u64::try_from(v).ok()).filter(|v| *v > 0).unwrap_or(default))
        };
        let action = match Action::of_probe(probe, container) {
            Ok(action) => action,
            Err(error) => {
                pod.container_event(index, EventType::Warning, "Unhealthy", format!("{} probe: {error}", kind.title()));
                return match error {
                    check::ActionError::Exec(_) | check::ActionError::Grpc => None,
                    // As on Kubernetes: a probe that can't be run never succeeds.
                    _ => Some(Self::new_unusable(pod, index, kind, probe)),
                };
            }
        };
        let delay = Duration::from_secs(u64::try_from(probe.initial_delay_seconds.unwrap_or(0)).unwrap_or(0));
        Some(Self {
            pod,
            index,
            kind,
            action,
            timeout: seconds(probe.timeout_seconds, 1),
            period: seconds(probe.period_seconds, 10),
            tracker: Tracker::of(probe),
            begin: Instant::now() + delay,
            early: (kind != ProbeKind::Liveness).then_some(FIRST_LOOK),
            first: true,
        })
    }

    fn new_unusable(pod: &'a Arc<PodContext>, index: usize, kind: ProbeKind, probe: &Probe) -> Self {
        Self {
            pod,
            index,
            kind,
            // Port 0 never answers.
            action: Action::Tcp { address: check::Address::Pod, port: 0 },
            timeout: Duration::from_secs(1),
            period: Duration::from_secs(10),
            tracker: Tracker::of(probe),
            begin: Instant::now(),
            early: None,
            first: true,
        }
    }

    /// Checks once per period until a threshold is reached, then says what for.
    async fn until_verdict(&mut self) -> Verdict {
        loop {
            if std::mem::replace(&mut self.first, false) {
                tokio::time::sleep_until(self.begin).await;
            } else {
                self.pause().await;
            }
            let Some(ip) = self.pod.read(|r| r.ip) else { continue };
            match self.action.run(ip, self.timeout).await {
                Ok(()) => {
                    self.early = None;
                    if let Some(verdict) = self.tracker.note(Verdict::Success) {
                        return verdict;
                    }
                }
                // Too early to hold it against the container.
                Err(_) if self.early.is_some() => {}
                Err(error) => {
                    let message = format!("{} probe failed: {error}", self.kind.title());
                    self.pod.container_event(self.index, EventType::Warning, "Unhealthy", message);
                    if let Some(verdict) = self.tracker.note(Verdict::Failure) {
                        return verdict;
                    }
                }
            }
        }
    }

    async fn pause(&mut self) {
        match self.early {
            Some(delay) if self.begin.elapsed() + delay < self.period => {
                tokio::time::sleep(delay).await;
                self.early = Some(delay * 2);
            }
            Some(_) => {
                self.early = None;
                tokio::time::sleep_until(self.begin + self.period).await;
            }
            None => tokio::time::sleep(self.period).await,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thresholds_count_results_in_a_row() {
        let probe = Probe { failure_threshold: Some(3), success_threshold: Some(2), ..Default::default() };
        let mut tracker = Tracker::of(&probe);
        use Verdict::{Failure, Success};
        let results = [Failure, Failure, Success, Failure, Failure, Failure, Failure, Success, Success];
        let verdicts: Vec<_> = results.into_iter().map(|r| tracker.note(r)).collect();
        let none = None;
        assert_eq!(verdicts, [none, none, none, none, none, Some(Failure), Some(Failure), none, Some(Success)]);
    }

    #[test]
    fn a_container_without_usable_probes_is_ready_at_once() {
        let c = |value| serde_json::from_value::<Container>(value).unwrap();
        use serde_json::json;
        assert_eq!(at_start(&c(json!({"name": "c"}))), (Started::Yes, Ready::Yes));
        let ready = json!({"name": "c", "readinessProbe": {"tcpSocket": {"port": 1}}});
        assert_eq!(at_start(&c(ready)), (Started::Yes, Ready::No));
        let startup = json!({"name": "c", "startupProbe": {"tcpSocket": {"port": 1}}});
        assert_eq!(at_start(&c(startup)), (Started::No, Ready::No));
        let exec = json!({"name": "c", "readinessProbe": {"exec": {"command": ["x"]}}});
        assert_eq!(at_start(&c(exec)), (Started::Yes, Ready::Yes));
    }
}
