//! Runs one controller: keys from its queue to its reconciler, a bounded number at a time.

use super::key::Key;
use super::ledger::Entry;
use super::queue::Queue;
use crate::clock::Clock;
use crate::{Error, Next};
use async_trait::async_trait;
use futures::FutureExt;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{Instrument, debug, warn};

/// Everything is looked at again this often, signal or not.
const PERIOD: Duration = Duration::from_secs(600);

/// A level-triggered, idempotent control loop over keys: it reads the whole state and moves it one step.
#[async_trait]
pub trait Reconciler: Send + Sync + 'static {
    /// As in Kubernetes' `--controllers`.
    const NAME: &'static str;
    /// Keys worked on at the same time.
    const WORKERS: usize = 8;

    async fn reconcile(&self, key: &Key) -> Result<Next, Error>;

    /// All keys, for the periodic look.
    fn keys(&self) -> Vec<Key>;
}

/// Runs until `token` is cancelled. The caller waits for the informers first.
pub async fn run<R: Reconciler>(
    reconciler: Arc<R>,
    queue: Arc<Queue>,
    entry: Arc<Entry>,
    clock: Clock,
    token: CancellationToken,
) {
    let mut running = JoinSet::new();
    let mut period = tokio::time::interval_at(Instant::now() + PERIOD, PERIOD);
    loop {
        tokio::select! {
            () = token.cancelled() => return,
            Some(_) = running.join_next(), if !running.is_empty() => {}
            key = queue.next(), if running.len() < R::WORKERS => {
                let span = tracing::debug_span!("reconcile", controller = R::NAME, %key);
                let work = work(Arc::clone(&reconciler), Arc::clone(&queue), Arc::clone(&entry), clock.clone(), key);
                running.spawn(work.instrument(span));
            }
            _ = period.tick() => {
                for key in reconciler.keys() {
                    queue.add(key);
                }
            }
        }
    }
}

async fn work<R: Reconciler>(reconciler: Arc<R>, queue: Arc<Queue>, entry: Arc<Entry>, clock: Clock, key: Key) {
    let started = Instant::now();
    let outcome = AssertUnwindSafe(reconciler.reconcile(&key)).catch_unwind().await;
    let result = outcome.unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<&str>().map(|s| (*s).to_owned());
        let text = text.or_else(|| panic.downcast_ref::<String>().cloned());
        Err(Error::Panicked(text.unwrap_or_default()))
    });
    match &result {
        Ok(next) => {
            queue.forget(&key);
            if let Next::After(wait) = next {
                queue.add_after(key.clone(), *wait);
            }
        }
        Err(error) => {
            let wait = queue.retry(key.clone());
            if error.is_conflict() || wait < Duration::from_secs(1) {
                debug!(%error, ?wait, "will retry");
            } else {
                warn!(%error, ?wait, "will retry");
            }
        }
    }
    let result = result.map(|_| ()).map_err(|error| error.to_string());
    entry.record(&key.to_string(), started.elapsed(), queue.len(), clock.now(), result);
    queue.done(&key);
}
