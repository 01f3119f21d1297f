//! A pod's life on this node, one state per file:
//!
//! ```text
//! admitting → preparing → initializing → running → terminating → finished
//!     │            └───────────┴─────────── deleted, past its deadline ───┘
//!     └── rejected, or over before this agent came ───────────→ finished
//! ```
//!
//! A state is a function from the pod to the next state. When the pod is to stop, whatever state it is
//! in is dropped, and `terminating` ends what still runs.

mod admitting;
mod finished;
mod initializing;
mod preparing;
mod running;
mod terminating;

use std::sync::Arc;

use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use tracing::Instrument;

use crate::pod::{self, PodContext};

pub use admitting::Admission;

/// The containers at work, as futures that end with their containers.
type Containers = FuturesUnordered<BoxFuture<'static, ()>>;

/// Where a pod is.
enum State {
    Admitting,
    Preparing,
    Initializing,
    Running(Containers),
    Terminating(Why),
    Finished,
}

/// Why a pod is being stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Why {
    /// Its object was deleted, with or without grace.
    Deleted,
    /// `activeDeadlineSeconds` are over.
    DeadlineExceeded,
    /// Its app containers are through: only sidecars run.
    Completed,
}

/// The one task of a pod: ends when its object is gone and nothing of it is left.
pub async fn run(pod: Arc<PodContext>, admission: Arc<dyn Admission>) {
    let span = tracing::info_span!("pod", namespace = pod.namespace, name = pod.name, uid = pod.uid);
    async {
        tokio::select! {
            biased;
            () = live(&pod, admission.as_ref()) => {}
            () = pod::write_loop(&pod) => {}
        }
    }
    .instrument(span)
    .await;
}

async fn live(pod: &Arc<PodContext>, admission: &dyn Admission) {
    let mut state = State::Admitting;
    loop {
        state = match state {
            State::Admitting => admitting::run(pod, admission),
            State::Preparing => unless_stopped(pod, Box::pin(preparing::run(pod))).await,
            State::Initializing => unless_stopped(pod, Box::pin(initializing::run(pod))).await,
            State::Running(containers) => unless_stopped(pod, Box::pin(running::run(pod, containers))).await,
            State::Terminating(why) => Box::pin(terminating::run(pod, why)).await,
            State::Finished => {
                admission.release(pod);
                return Box::pin(finished::run(pod)).await;
            }
        };
    }
}

/// Runs a state until the pod is to stop.
async fn unless_stopped(pod: &PodContext, state: impl Future<Output = State>) -> State {
    tokio::select! {
        biased;
        () = pod.stop_requested() => State::Terminating(Why::Deleted),
        () = deadline(pod) => State::Terminating(Why::DeadlineExceeded),
        next = state => next,
    }
}

/// Resolves when `activeDeadlineSeconds` are over; never without one.
async fn deadline(pod: &PodContext) {
    let mut object = pod.watch();
    loop {
        let seconds = pod::spec(&object.borrow_and_update().pod).active_deadline_seconds;
        let start = pod.read(|r| r.start_time);
        let (Some(seconds), Some(start)) = (seconds, start) else {
            if seconds.is_none() {
                // The field may be set later.
                let _ = object.changed().await;
                continue;
            }
            return std::future::pending().await;
        };
        let elapsed = pod.node.config.clock.now().duration_since(start);
        let left = api::k8s_openapi::jiff::SignedDuration::from_secs(seconds).saturating_sub(elapsed);
        let left = std::time::Duration::try_from(left).unwrap_or_default();
        tokio::select! {
            () = tokio::time::sleep(left) => return,
            _ = object.changed() => {}
        }
    }
}
