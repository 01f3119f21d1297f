//! Initializing: init containers, one after the other; sidecars among them keep running.

use std::sync::Arc;

use futures::stream::StreamExt;

use super::{Containers, State};
use crate::container;
use crate::pod::PodContext;
use crate::pod::record::{self, Role};

pub async fn run(pod: &Arc<PodContext>) -> State {
    let mut containers = Containers::new();
    let roles: Vec<Role> = pod.read(|r| r.containers.iter().map(|c| c.role).collect());
    for (index, role) in roles.iter().enumerate().filter(|(_, role)| **role != Role::App) {
        match ended_before(pod, index) {
            Some(Ended::Well) if *role == Role::Init => continue,
            Some(Ended::Badly) if *role == Role::Init => {
                fail(pod).await;
                return State::Finished;
            }
            _ => {}
        }
        containers.push(Box::pin(container::live(Arc::clone(pod), index)));
        if !until_done(pod, index, *role, &mut containers).await {
            return State::Finished;
        }
    }
    pod.change_quietly(|record| {
        record.initialized = true;
        for c in record.containers.iter_mut().filter(|c| c.role == Role::App) {
            // With the init containers through, what is left to do is creating this one.
            if let record::State::Waiting { reason, .. } = &mut c.state
                && *reason == "PodInitializing"
            {
                *reason = "ContainerCreating";
            }
        }
    });
    State::Running(containers)
}

/// How an init container ended for good under an earlier agent.
enum Ended {
    Well,
    Badly,
}

fn ended_before(pod: &PodContext, index: usize) -> Option<Ended> {
    pod.read(|r| match &r.containers[index].state {
        record::State::Terminated(end) if end.exit_code == 0 => Some(Ended::Well),
        record::State::Terminated(_) => Some(Ended::Badly),
        _ => None,
    })
}

/// Drives all that runs until the container at `index` lets the next one start; false when it has
/// failed for good.
async fn until_done(pod: &Arc<PodContext>, index: usize, role: Role, containers: &mut Containers) -> bool {
    let mut changes = pod.changes();
    loop {
        let done = pod.read(|r| r.containers[index].init_done());
        if done {
            return true;
        }
        tokio::select! {
            ended = containers.next() => {
                let failed = pod.read(|r| {
                    let c = &r.containers[index];
                    role == Role::Init && !c.succeeded() && matches!(c.state, record::State::Terminated(_))
                });
                if failed {
                    fail(pod).await;
                    return false;
                }
                if ended.is_none() {
                    // Nothing is left to wait for: the record decides in the next round.
                    let _ = changes.changed().await;
                }
            }
            _ = changes.changed() => {}
        }
    }
}

/// An init container failed in a pod that never restarts: the pod has failed.
async fn fail(pod: &Arc<PodContext>) {
    super::terminating::stop_all(pod, tokio::time::Instant::now(), std::future::pending()).await;
    pod.change(|record| record.finished = true);
}
