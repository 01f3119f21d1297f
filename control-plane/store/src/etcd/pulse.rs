//! The barrier: is what memory holds all that was acknowledged before now? Asked by readers that must not miss a write,
//! and once a second by nobody, to know whether etcd is there.
//!
//! Every transaction of every server writes the marker, so its revision, read linearizably, is the answer: once memory
//! has reached it, nothing older is missing.
//!
//! Invariant: a caller is answered only by a look that began after it asked. All who ask while one is under way share
//! the next.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::{Notify, oneshot};

use super::backend::Core;
use super::failure::Failure;
use super::proto::{self, RangeRequest, RangeResponse, unsigned};

/// Between two looks while etcd does not answer.
const RETRY: Duration = Duration::from_millis(200);

type Answer = Result<(), String>;

/// Who waits for the next look.
#[derive(Debug, Default)]
pub(crate) struct Barrier {
    waiting: Mutex<Vec<oneshot::Sender<Answer>>>,
    asked: Notify,
}

impl Barrier {
    /// Complete when memory holds every write that was acknowledged before this call. Fails with the reason why that
    /// cannot be known.
    pub async fn pass(&self) -> Answer {
        let (sender, answer) = oneshot::channel();
        self.waiting.lock().push(sender);
        self.asked.notify_one();
        answer.await.unwrap_or_else(|_| Err("the store is closed".to_owned()))
    }

    /// Answer all who wait, for the last time.
    pub fn close(&self) {
        self.waiting.lock().clear();
    }
}

/// Look whenever somebody asks, and once in a while. Runs for as long as the store is open.
pub(crate) async fn run(core: Arc<Core>) {
    loop {
        let pause = if core.health.is_up() { core.client.timeouts.pulse } else { RETRY };
        // Whether somebody asked or time has passed: the look is the same.
        let _ = tokio::time::timeout(pause, core.barrier.asked.notified()).await;
        let waiting = std::mem::take(&mut *core.barrier.waiting.lock());
        let generation = *core.client.generation().borrow();
        let answer = match look(&core).await {
            Ok(()) => {
                core.health.up();
                Ok(())
            }
            Err(failure) => {
                let reason = failure.to_string();
                core.health.down(&reason);
                if matches!(failure, Failure::Silent(_) | Failure::Unreachable(_)) {
                    core.client.rotate(generation);
                }
                Err(reason)
            }
        };
        for caller in waiting {
            // Whoever no longer waits needs no answer.
            let _ = caller.send(answer.clone());
        }
    }
}

async fn look(core: &Core) -> Result<(), Failure> {
    let limit = core.client.timeouts.barrier;
    let request = RangeRequest { key: core.layout.commit(), ..RangeRequest::default() };
    // Before it is asked: more may come in while it answers.
    let known = core.marker.load(Ordering::Acquire);
    let answer: RangeResponse = core.client.read(proto::RANGE, request, limit).await?;
    let newest = answer.kvs.first().map_or(0, |kv| unsigned(kv.mod_revision));
    if newest < known {
        let reason = format!("etcd went back from revision {known} to {newest}: it is not the one it was");
        tracing::error!(known, newest, "etcd went back in time; refusing it");
        return Err(Failure::Foreign(reason));
    }
    let mut seen = core.seen.subscribe();
    let reached = seen.wait_for(|seen| *seen >= newest);
    if tokio::time::timeout(limit, reached).await.is_err() {
        core.restart.notify_one();
        return Err(Failure::Refused(format!("its watch has not shown revision {newest} yet")));
    }
    core.attached(limit).await.map_err(Failure::Refused)
}
