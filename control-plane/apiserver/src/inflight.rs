//! How many requests from the network are answered at once. Reading and writing ones have places of their own, so that
//! neither kind can shut the other out (`--max-requests-inflight`, `--max-mutating-requests-inflight`).

use crate::config::Limits;
use api::{Reason, Status, Verb};
use std::sync::atomic::{AtomicU64, Ordering};
use tokio::sync::{Semaphore, SemaphorePermit};

pub(crate) struct InFlight {
    reading: Places,
    mutating: Places,
    refused: AtomicU64,
}

struct Places {
    semaphore: Semaphore,
    total: usize,
}

impl Places {
    fn new(total: usize) -> Self {
        let total = total.min(Semaphore::MAX_PERMITS);
        Self { semaphore: Semaphore::new(total), total }
    }

    fn taken(&self) -> usize {
        self.total - self.semaphore.available_permits().min(self.total)
    }
}

impl InFlight {
    pub(crate) fn new(limits: &Limits) -> Self {
        Self {
            reading: Places::new(limits.requests_in_flight),
            mutating: Places::new(limits.mutating_requests_in_flight),
            refused: AtomicU64::new(0),
        }
    }

    /// A place for one request, until the permit is dropped. A verb that is none counts as a read: it is refused at once.
    ///
    /// # Errors
    /// 429 when all are taken, with the time after which to come back.
    pub(crate) fn enter(&self, verb: Option<Verb>) -> Result<SemaphorePermit<'_>, Status> {
        let places = match verb {
            None | Some(Verb::Get | Verb::List | Verb::Watch) => &self.reading,
            Some(_) => &self.mutating,
        };
        places.semaphore.try_acquire().map_err(|_| {
            self.refused.fetch_add(1, Ordering::Relaxed);
            Status::new(Reason::TooManyRequests, "Too many requests, please try again later.").with_retry_after(1)
        })
    }

    /// Requests being answered: those that read, and those that write.
    pub(crate) fn taken(&self) -> (usize, usize) {
        (self.reading.taken(), self.mutating.taken())
    }

    /// Requests that found no place.
    pub(crate) fn refused(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
    }
}
