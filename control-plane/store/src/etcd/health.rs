//! Whether etcd answers, and who waits for what from it.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::sync::{oneshot, watch};

use crate::history::Commit;

/// Whether writes have a chance.
#[derive(Clone, Debug)]
enum Condition {
    Up,
    Down(Arc<str>),
}

/// What the last looks at etcd have shown.
#[derive(Debug)]
pub(crate) struct Health {
    condition: watch::Sender<Condition>,
    /// When the state in memory was last known to be all that etcd had.
    last: Mutex<Instant>,
}

impl Health {
    pub fn new() -> Self {
        Self { condition: watch::channel(Condition::Up).0, last: Mutex::new(Instant::now()) }
    }

    pub fn up(&self) {
        *self.last.lock() = Instant::now();
        self.condition.send_if_modified(|condition| {
            let was_down = matches!(condition, Condition::Down(_));
            if was_down {
                tracing::info!("etcd answers again");
            }
            *condition = Condition::Up;
            was_down
        });
    }

    pub fn down(&self, reason: &str) {
        self.condition.send_if_modified(|condition| {
            let changed = !matches!(condition, Condition::Down(known) if **known == *reason);
            if changed {
                tracing::warn!(reason, "etcd is not available: reads go on, writes wait or fail");
                *condition = Condition::Down(reason.into());
            }
            changed
        });
    }

    pub fn is_up(&self) -> bool {
        matches!(*self.condition.borrow(), Condition::Up)
    }

    /// Since when nobody knows whether there is something newer.
    pub fn age(&self) -> Duration {
        self.last.lock().elapsed()
    }

    /// Wait until etcd answers, for at most `patience`. Fails with the reason why it does not.
    pub async fn wait(&self, patience: Duration) -> Result<(), String> {
        if self.is_up() {
            return Ok(());
        }
        let mut condition = self.condition.subscribe();
        let up = condition.wait_for(|condition| matches!(condition, Condition::Up));
        if tokio::time::timeout(patience, up).await.is_ok() {
            return Ok(());
        }
        match &*self.condition.borrow() {
            Condition::Up => Ok(()),
            Condition::Down(reason) => Err(reason.to_string()),
        }
    }
}

/// Writers that wait to see their transaction come back from etcd, by its nonce.
#[derive(Debug, Default)]
pub(crate) struct Writers {
    waiting: Mutex<HashMap<u64, oneshot::Sender<Commit>>>,
}

/// A writer's place among those who wait. Dropping it gives it up.
pub(crate) struct Waiting<'a> {
    writers: &'a Writers,
    pub nonce: u64,
    pub seen: oneshot::Receiver<Commit>,
}

impl Writers {
    /// Wait for a transaction that is about to be sent.
    pub fn wait(&self) -> Waiting<'_> {
        let (sender, seen) = oneshot::channel();
        let nonce = rand::random();
        self.waiting.lock().insert(nonce, sender);
        Waiting { writers: self, nonce, seen }
    }

    /// Tell whoever sent it that `commit` has been seen.
    pub fn tell(&self, nonce: u64, commit: &Commit) {
        let writer = self.waiting.lock().remove(&nonce);
        if let Some(writer) = writer {
            // Whoever no longer waits has lost interest, not the write.
            let _ = writer.send(commit.clone());
        }
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.writers.waiting.lock().remove(&self.nonce);
    }
}
