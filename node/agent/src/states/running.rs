//! Running: the app containers, each by its restart policy, until none will run again.

use std::sync::Arc;

use futures::stream::StreamExt;

use super::{Containers, State, Why};
use crate::container;
use crate::pod::PodContext;
use crate::pod::record::{self, Role};

pub async fn run(pod: &Arc<PodContext>, mut containers: Containers) -> State {
    let apps: Vec<usize> = pod.read(|r| {
        let waiting = |c: &record::ContainerRecord| !matches!(c.state, record::State::Terminated(_));
        r.containers
            .iter()
            .enumerate()
            .filter(|(_, c)| c.role == Role::App && waiting(c))
            .map(|(index, _)| index)
            .collect()
    });
    for index in apps {
        containers.push(Box::pin(container::live(Arc::clone(pod), index)));
    }
    let volumes = pod.volumes.lock().clone();
    let upkeep = volumes.and_then(|v| v.keep_current(Arc::clone(pod)));
    let upkeep = async {
        match upkeep {
            Some(upkeep) => upkeep.await,
            None => std::future::pending().await,
        }
    };
    tokio::pin!(upkeep);
    while !apps_are_through(pod) {
        tokio::select! {
            biased;
            _ = containers.next() => {}
            () = &mut upkeep => {}
        }
    }
    State::Terminating(Why::Completed)
}

fn apps_are_through(pod: &PodContext) -> bool {
    pod.read(|r| {
        r.containers.iter().filter(|c| c.role == Role::App).all(|c| matches!(c.state, record::State::Terminated(_)))
    })
}
