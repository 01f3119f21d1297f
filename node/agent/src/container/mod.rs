//! One container's life inside its pod: made ready, started, watched, ended, and started again by its
//! restart policy. Runs within the pod's own task; dropping it leaves the running instance to
//! whoever drops it (see `states::terminating`).

mod build;
mod hooks;
mod image;
mod serve;
mod start;
pub mod stop;

use std::sync::Arc;
use std::time::Duration;

use runtime::Exit;
use tokio::time::Instant;

use crate::backoff::{BackOff, First, go_seconds};
use crate::configs::{Key, Payload};
use crate::events::EventType;
use crate::logs;
use crate::pod::record::{RestartPolicy, State, Terminated};
use crate::pod::{self, PodContext};
use crate::probes::{self, ProbeKind};

/// A start that takes longer than this shows as waiting; a quicker one is reported once, when it runs.
const SHOW_WAITING: Duration = Duration::from_millis(50);
/// How long `ErrImagePull` shows before it becomes `ImagePullBackOff`.
const SHOW_PULL_ERROR: Duration = Duration::from_secs(2);
/// A missing object is looked for again after this long even if no watch says that it came.
const RECHECK: Duration = Duration::from_secs(60);
/// The kubelet's limit for a termination message, in bytes.
const MAX_TERMINATION_MESSAGE: usize = 4096;

/// Why a container can't be started now.
#[derive(Debug)]
pub struct Blocked {
    /// The waiting reason.
    pub reason: &'static str,
    pub message: String,
    /// The object whose change would cure it.
    pub cure: Option<Box<Cure>>,
    /// The image, when it couldn't be pulled.
    pub pull: Option<String>,
}

/// An object that a container lacks, and as what it was found.
#[derive(Debug)]
pub struct Cure {
    key: Key,
    found: Option<Arc<Payload>>,
}

impl Blocked {
    fn failed(reason: &'static str, message: String) -> Self {
        Self { reason, message, cure: None, pull: None }
    }

    fn pull(image: &str, message: String) -> Self {
        Self { reason: "ErrImagePull", message, cure: None, pull: Some(image.to_owned()) }
    }
}

/// Runs the container at `index` until it will not run again.
pub async fn live(pod: Arc<PodContext>, index: usize) {
    let mut crashes = BackOff::default();
    loop {
        let mut running = Box::pin(start_until_it_works(&pod, index)).await;
        let exit = supervise(&pod, index, &running).await;
        let code = exit.code;
        note_end(&pod, index, &running, exit);
        let (role, name) = pod.read(|r| (r.containers[index].role, r.containers[index].name.clone()));
        let policy = RestartPolicy::of(pod::spec(&pod.object())).for_role(role);
        if !policy.restarts_after(code) {
            pod.publish();
            return;
        }
        let delay = crashes.next(Instant::now(), First::Immediate);
        if !delay.is_zero() {
            Box::pin(back_off(&pod, index, &name, delay)).await;
        }
        if let Some(serving) = running.serving.take() {
            // The next run listens on the same port.
            let _ = serving.await;
        }
        pod.change(|r| r.containers[index].restart_count += 1);
    }
}

/// Shows `CrashLoopBackOff` for as long as it lasts.
async fn back_off(pod: &PodContext, index: usize, name: &str, delay: Duration) {
    let title = pod.title();
    let message = format!("back-off {} restarting failed container={name} pod={title}", go_seconds(delay));
    pod.change_container(index, |c| c.wait("CrashLoopBackOff", message));
    let text = format!("Back-off restarting failed container {name} in pod {title}");
    pod.container_event(index, EventType::Warning, "BackOff", text);
    tokio::time::sleep(delay).await;
}

async fn start_until_it_works(pod: &Arc<PodContext>, index: usize) -> start::Running {
    let mut backoff = BackOff::default();
    loop {
        let attempt = start::start(pod, index);
        tokio::pin!(attempt);
        let result = tokio::select! {
            biased;
            result = &mut attempt => result,
            () = tokio::time::sleep(SHOW_WAITING) => {
                pod.publish();
                attempt.await
            }
        };
        match result {
            Ok(running) => return running,
            Err(blocked) => wait_out(pod, index, blocked, &mut backoff).await,
        }
    }
}

/// Shows why the container waits, and waits until another try makes sense.
async fn wait_out(pod: &PodContext, index: usize, blocked: Blocked, backoff: &mut BackOff) {
    let Blocked { reason, message, cure, pull } = blocked;
    pod.change_container(index, |c| c.wait(reason, message.clone()));
    let text = if pull.is_some() || reason.starts_with("ErrImage") {
        format!("Error: {reason}")
    } else {
        format!("Error: {message}")
    };
    pod.container_event(index, EventType::Warning, "Failed", text);
    if let Some(cure) = cure {
        let mut subscription = pod.node.configs.subscribe(&cure.key);
        // It may have changed before the watch began.
        if subscription.current().await == cure.found {
            let _ = tokio::time::timeout(RECHECK, subscription.changed()).await;
        }
        return;
    }
    let delay = backoff.next(Instant::now(), First::Delayed);
    let Some(image) = pull else {
        tokio::time::sleep(delay).await;
        return;
    };
    let first = delay.min(SHOW_PULL_ERROR);
    tokio::time::sleep(first).await;
    let text = format!("Back-off pulling image \"{image}\"");
    pod.container_event(index, EventType::Normal, "BackOff", text.clone());
    pod.container_event(index, EventType::Warning, "Failed", "Error: ImagePullBackOff");
    pod.change_container(index, |c| c.wait("ImagePullBackOff", format!("{text}: ErrImagePull: {message}")));
    tokio::time::sleep(delay - first).await;
}

/// Watches a running container until it has ended, by itself or because a probe or hook said so.
async fn supervise(pod: &Arc<PodContext>, index: usize, running: &start::Running) -> Exit {
    let ended = running.instance.container.wait();
    tokio::pin!(ended);
    let trouble = async {
        if probes::any(&running.spec) || hooks::post_start(&running.spec).is_some() {
            Box::pin(trouble(pod, index, running)).await
        } else {
            std::future::pending().await
        }
    };
    tokio::select! {
        biased;
        exit = &mut ended => return exit,
        () = image_changed(pod, index, running) => {
            let message = format!("Container {} definition changed, will be restarted", running.spec.name);
            pod.container_event(index, EventType::Normal, "Killing", message);
        }
        trouble = trouble => match trouble {
            Trouble::Probe(kind) => {
                let message = format!("Container {} failed {} probe, will be restarted", running.spec.name, kind.lower());
                pod.container_event(index, EventType::Normal, "Killing", message);
            }
            Trouble::PostStart(error) => {
                pod.container_event(index, EventType::Warning, "FailedPostStartHook", format!("PostStartHook failed: {error}"));
                pod.container_event(index, EventType::Normal, "Killing", "FailedPostStartHook");
            }
        },
    }
    let grace = stop::grace_of_probe(&running.spec, pod::spec(&pod.object()));
    let end = Instant::now() + grace;
    Box::pin(stop::stop(pod, index, &running.spec, &running.instance, end, std::future::pending())).await
}

/// Resolves when the pod's spec names another image than the one that runs.
async fn image_changed(pod: &PodContext, index: usize, running: &start::Running) {
    let mut seen = pod.watch();
    // The sender is in `pod`: it can't be gone.
    let _ = seen.wait_for(|s| pod::container(&s.pod, index).is_some_and(|c| c.image != running.spec.image)).await;
}

enum Trouble {
    Probe(ProbeKind),
    PostStart(String),
}

async fn trouble(pod: &Arc<PodContext>, index: usize, running: &start::Running) -> Trouble {
    if let Some(hook) = hooks::post_start(&running.spec)
        && let Err(error) = hooks::run(pod, &running.spec, hook).await
    {
        return Trouble::PostStart(error);
    }
    if !probes::any(&running.spec) {
        return std::future::pending().await;
    }
    Trouble::Probe(probes::run(Arc::clone(pod), index, (*running.spec).clone()).await)
}

/// Records the end of a run; the caller publishes it.
fn note_end(pod: &PodContext, index: usize, running: &start::Running, exit: Exit) {
    let started_at = pod.read(|r| match r.containers[index].state {
        State::Running { started_at } => Some(started_at),
        _ => None,
    });
    let end = termination(pod, index, &running.spec, exit, started_at);
    pod.change_quietly(|r| r.containers[index].terminate(end));
}

/// What the status says of an end.
pub fn termination(
    pod: &PodContext,
    index: usize,
    spec: &api::k8s_openapi::api::core::v1::Container,
    exit: Exit,
    started_at: Option<api::k8s_openapi::jiff::Timestamp>,
) -> Terminated {
    let (log, container_id) = pod.read(|r| (r.containers[index].log.clone(), r.containers[index].container_id.clone()));
    if let Some(log) = &log {
        log.close();
    }
    let mut message = exit.message;
    let from_logs = spec.termination_message_policy.as_deref() == Some("FallbackToLogsOnError");
    if message.is_empty()
        && from_logs
        && exit.code != 0
        && let Some(log) = &log
    {
        message = logs::fallback_message(log.dir(), log.restart());
    }
    crate::events::truncate(&mut message, MAX_TERMINATION_MESSAGE);
    Terminated {
        exit_code: exit.code,
        reason: exit.reason.as_kubernetes().to_owned(),
        message,
        started_at,
        finished_at: Some(pod.node.config.clock.now()),
        container_id,
    }
}
