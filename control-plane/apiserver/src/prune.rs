//! Housekeeping: Events are kept for a while only (`--event-ttl`), so a task removes those that nobody has written to for
//! that long. It sees to the records of Services' addresses, too, which a restore of old objects may leave behind.

use crate::admission::reservations;
use crate::core::Core;
use crate::objects::{Index, prefix};
use crate::user::APISERVER;
use std::sync::Arc;
use std::time::Duration;
use store::{Revision, Txn};

/// How often the events are looked through.
const INTERVAL: Duration = Duration::from_secs(60);
/// Records of Services' addresses are looked through every so many intervals, as often as in kube-apiserver.
const REPAIR_TICKS: u32 = 3;
/// Deletes in one transaction: etcd takes 128 operations at once.
const BATCH: usize = 100;

/// Runs until the server shuts down.
pub(crate) async fn run(core: Arc<Core>, ttl: Duration) {
    let mut timer = tokio::time::interval(INTERVAL);
    timer.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    timer.tick().await;
    let mut repaired = Repaired { at: core.store.revision(), ticks: 0 };
    loop {
        tokio::select! {
            () = core.shutdown.cancelled() => return,
            _ = timer.tick() => {}
        }
        repaired.tick(&core).await;
        let removed = once(&core, ttl).await;
        if removed > 0 {
            tracing::debug!(removed, "old events removed");
        }
    }
}

/// When Services' records were last looked through.
struct Repaired {
    at: Revision,
    ticks: u32,
}

impl Repaired {
    /// Looks through them now and then, if anything has been written since.
    async fn tick(&mut self, core: &Core) {
        self.ticks += 1;
        if !self.ticks.is_multiple_of(REPAIR_TICKS) || core.store.revision() == self.at {
            return;
        }
        match reservations::repair(core).await {
            Ok(0) => {}
            Ok(repaired) => tracing::warn!(repaired, "Services and the records of their addresses did not agree"),
            Err(error) => tracing::debug!(%error, "the records of Services' addresses could not be repaired"),
        }
        self.at = core.store.revision();
    }
}

/// One pass; returns how many events went.
pub(crate) async fn once(core: &Arc<Core>, ttl: Duration) -> usize {
    let before = core.now().as_second().saturating_sub_unsigned(ttl.as_secs());
    let events = core.builtin("", "v1", "events");
    let snapshot = core.store.snapshot();
    let range = prefix(&events, "");
    let old = snapshot.range(&range, None).filter(|(_, entry)| Index::of(entry).written_seconds() < before);
    let old: Vec<_> = old.map(|(key, entry)| (key.to_vec(), entry.mod_revision)).collect();
    let mut removed = 0;
    for batch in old.chunks(BATCH) {
        let txn = batch.iter().fold(Txn::new(), |txn, (key, revision)| txn.require(key, *revision).delete(key));
        // An event that was written just now makes its batch fail: the next pass finds the rest.
        if let Ok(Ok(_)) = core.commit(APISERVER, txn).await {
            removed += batch.len();
        }
    }
    removed
}
