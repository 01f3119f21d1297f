//! Terminating: every container that still runs is ended, app containers before sidecars, within the
//! grace period; then the final status.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;
use tokio::time::Instant;

use super::{State, Why};
use crate::container::{self, stop};
use crate::events::EventType;
use crate::pod::record::{self, Role, Verdict};
use crate::pod::{self, PodContext};

const DEADLINE_MESSAGE: &str = "Pod was active on the node longer than the specified deadline";

pub async fn run(pod: &Arc<PodContext>, why: Why) -> State {
    let object = pod.object();
    if why == Why::DeadlineExceeded {
        pod.event(EventType::Normal, "DeadlineExceeded", DEADLINE_MESSAGE);
    }
    let grace = grace(&object);
    let begin = Instant::now();
    let cut = async {
        match why {
            Why::Deleted => shortened(pod, begin).await,
            Why::DeadlineExceeded | Why::Completed => pod.gone().await,
        }
    };
    tokio::pin!(cut);
    stop_role(pod, &[Role::App, Role::Init], begin + grace, cut.as_mut()).await;
    stop_role(pod, &[Role::Sidecar], begin + grace, cut.as_mut()).await;
    pod.change(|record| {
        if why != Why::Completed {
            record.containers.iter_mut().for_each(settle);
        }
        record.finished = true;
        if why == Why::DeadlineExceeded {
            record.verdict = Some(Verdict { reason: "DeadlineExceeded".into(), message: DEADLINE_MESSAGE.into() });
        }
    });
    State::Finished
}

/// Ends everything that runs by `end`.
pub async fn stop_all(pod: &Arc<PodContext>, end: Instant, cut: impl Future<Output = ()>) {
    tokio::pin!(cut);
    stop_role(pod, &[Role::App, Role::Init, Role::Sidecar], end, cut.as_mut()).await;
}

async fn stop_role(
    pod: &Arc<PodContext>,
    roles: &[Role],
    end: Instant,
    cut: std::pin::Pin<&mut impl Future<Output = ()>>,
) {
    let object = pod.object();
    let running: Vec<(usize, record::Instance)> = pod.read(|r| {
        let matching = r.containers.iter().enumerate().filter(|(_, c)| roles.contains(&c.role));
        matching.filter_map(|(index, c)| Some((index, c.instance.clone()?))).collect()
    });
    if running.is_empty() {
        return;
    }
    let hurry = tokio_util::sync::CancellationToken::new();
    let all = join_all(running.iter().filter_map(|(index, instance)| {
        let spec = pod::container(&object, *index)?;
        Some(stop_one(pod, *index, spec, instance, end, hurry.clone()))
    }));
    tokio::pin!(all);
    tokio::select! {
        biased;
        _ = &mut all => {}
        () = cut => {
            hurry.cancel();
            all.await;
        }
    }
}

async fn stop_one(
    pod: &Arc<PodContext>,
    index: usize,
    spec: &api::k8s_openapi::api::core::v1::Container,
    instance: &record::Instance,
    end: Instant,
    hurry: tokio_util::sync::CancellationToken,
) {
    pod.container_event(index, EventType::Normal, "Killing", format!("Stopping container {}", spec.name));
    let exit = stop::stop(pod, index, spec, instance, end, hurry.cancelled_owned()).await;
    let started_at = pod.read(|r| match r.containers[index].state {
        record::State::Running { started_at } => Some(started_at),
        _ => None,
    });
    let end = container::termination(pod, index, spec, exit, started_at);
    pod.change(|r| r.containers[index].terminate(end));
}

/// What a container that never ran, or waited for its next run, ends as.
pub fn settle(container: &mut record::ContainerRecord) {
    if let record::State::Waiting { .. } = container.state
        && let Some(last) = container.last.take()
    {
        container.state = record::State::Terminated(last);
    }
}

fn grace(object: &api::k8s_openapi::api::core::v1::Pod) -> Duration {
    match object.metadata.deletion_grace_period_seconds {
        Some(seconds) => stop::seconds(seconds),
        None => stop::grace_of_pod(pod::spec(object)),
    }
}

/// Resolves when the pod must end now: it is gone, or a later delete shortened its grace period.
async fn shortened(pod: &PodContext, begin: Instant) {
    let mut seen = pod.watch();
    loop {
        let (gone, grace) = {
            let seen = seen.borrow_and_update();
            (seen.gone, grace(&seen.pod))
        };
        if gone {
            return;
        }
        tokio::select! {
            () = tokio::time::sleep_until(begin + grace) => return,
            changed = seen.changed() => if changed.is_err() { return },
        }
    }
}
