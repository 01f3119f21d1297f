//! Housekeeping: Events are kept for a while only (`--event-ttl`), so a task removes those that nobody has written to for
//! that long. It sees to the records of Services' addresses, too, which a restore of old objects may leave behind, and to
//! the server's own objects (Service `kubernetes`, the system's namespaces), which users may have changed.

use crate::admission::repair;
use crate::bootstrap;
use crate::core::Core;
use crate::objects::{Index, prefix};
use crate::user::APISERVER;
use std::sync::Arc;
use std::time::Duration;
use store::{Revision, Txn};

/// How often the events are looked through.
const INTERVAL: Duration = Duration::from_secs(60);
/// How often the server's own objects are looked at, as in kube-apiserver.
const OWN_INTERVAL: Duration = Duration::from_secs(10);
/// Records of Services' addresses are looked through every so many intervals, as often as in kube-apiserver.
const REPAIR_TICKS: u32 = 3;
/// Deletes in one transaction: etcd takes 128 operations at once.
const BATCH: usize = 100;

/// Runs until the server shuts down.
pub(crate) async fn run(core: Arc<Core>, ttl: Duration) {
    let mut timer = tokio::time::interval(INTERVAL);
    timer.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    timer.tick().await;
    let mut own = tokio::time::interval(OWN_INTERVAL);
    own.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    own.tick().await;
    let mut seen = core.store.revision();
    let mut repaired = Repaired { at: core.store.revision(), ticks: 0 };
    loop {
        tokio::select! {
            () = core.shutdown.cancelled() => return,
            _ = own.tick() => {
                seen = look_at_own(&core, seen).await;
                continue;
            }
            _ = timer.tick() => {}
        }
        repaired.tick(&core).await;
        let removed = once(&core, ttl).await;
        if removed > 0 {
            tracing::debug!(removed, "old events removed");
        }
    }
}

/// Repairs the server's own objects if anything has been written since `seen`; returns what has been seen now.
async fn look_at_own(core: &Arc<Core>, seen: Revision) -> Revision {
    let now = core.store.revision();
    if now != seen
        && let Err(error) = bootstrap::repair(core).await
    {
        tracing::debug!(%error, "the server's own objects could not be repaired");
        return seen;
    }
    now
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
        match repair::repair(core).await {
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
