//! Pulls under way: who wants an image that is being pulled already waits for that pull.
//!
//! A pull is a task of its own, so a caller that gives up does not take the others' image away.

use std::collections::HashMap;
use std::future::Future;
use std::sync::Arc;

use futures::FutureExt;
use futures::future::{BoxFuture, Shared};
use parking_lot::Mutex;
use tracing::Instrument;

use crate::error::ImageError;
use crate::keyring::Keyring;
use crate::record::Image;

/// A pull with other credentials is another pull: what they may see differs.
pub(crate) type FlightKey = (String, Keyring);
type Outcome = Result<Image, ImageError>;

#[derive(Debug, Clone, Default)]
pub(crate) struct Flights {
    under_way: Arc<Mutex<HashMap<FlightKey, Shared<BoxFuture<'static, Outcome>>>>>,
}

impl Flights {
    /// Joins the pull of `key`, or starts it.
    pub(crate) async fn join(&self, key: FlightKey, pull: impl Future<Output = Outcome> + Send + 'static) -> Outcome {
        let flight = self.under_way.lock().entry(key.clone()).or_insert_with(|| self.start(key, pull)).clone();
        flight.await
    }

    fn start(
        &self,
        key: FlightKey,
        pull: impl Future<Output = Outcome> + Send + 'static,
    ) -> Shared<BoxFuture<'static, Outcome>> {
        let span = tracing::info_span!("pull", image = %key.0);
        // Ended by any means, a panic included, it no longer is under way.
        let landed = Landed { flights: self.clone(), key };
        let task = tokio::spawn(
            async move {
                let _landed = landed;
                pull.await
            }
            .instrument(span),
        );
        async move { task.await.unwrap_or(Err(ImageError::Aborted)) }.boxed().shared()
    }
}

struct Landed {
    flights: Flights,
    key: FlightKey,
}

impl Drop for Landed {
    fn drop(&mut self) {
        self.flights.under_way.lock().remove(&self.key);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use tokio::sync::Notify;

    #[tokio::test]
    async fn callers_share_one_pull_and_may_leave() {
        let flights = Flights::default();
        let started = Arc::new(AtomicUsize::new(0));
        let gate = Arc::new(Notify::new());
        let join = || {
            let (flights, started, gate) = (flights.clone(), Arc::clone(&started), Arc::clone(&gate));
            async move {
                let pull = async move {
                    started.fetch_add(1, Ordering::SeqCst);
                    gate.notified().await;
                    Err(ImageError::NotFound { reference: "x".to_owned() })
                };
                flights.join(("x".to_owned(), Keyring::empty()), pull).await
            }
        };
        let first = tokio::spawn(join());
        while started.load(Ordering::SeqCst) == 0 {
            tokio::task::yield_now().await;
        }
        let second = tokio::spawn(join());
        tokio::task::yield_now().await;
        first.abort();
        assert!(first.await.unwrap_err().is_cancelled());
        gate.notify_one();
        assert!(matches!(second.await.unwrap(), Err(ImageError::NotFound { .. })));
        assert_eq!(started.load(Ordering::SeqCst), 1);
        assert!(flights.under_way.lock().is_empty());
    }
}
