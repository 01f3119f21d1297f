//! Events are kept for a while only (`--event-ttl`): a task removes those that nobody has written to for that long.

use crate::core::Core;
use crate::objects::{Index, prefix};
use crate::user::APISERVER;
use std::sync::Arc;
use std::time::Duration;
use store::Txn;

/// How often the events are looked through.
const INTERVAL: Duration = Duration::from_secs(60);
/// Deletes in one transaction: etcd takes 128 operations at once.
const BATCH: usize = 100;

/// Runs until the server shuts down.
pub(crate) async fn run(core: Arc<Core>, ttl: Duration) {
    let mut timer = tokio::time::interval(INTERVAL);
    timer.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    timer.tick().await;
    loop {
        tokio::select! {
            () = core.shutdown.cancelled() => return,
            _ = timer.tick() => {}
        }
        let removed = once(&core, ttl).await;
        if removed > 0 {
            tracing::debug!(removed, "old events removed");
        }
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
