//! The store's own figures and its compaction, in people's terms.

use super::documents::{API_VERSION, Compacted, KindStats, Moment, StoreStats};
use super::kinds::{Storages, plural_group};
use super::when;
use crate::core::Core;
use api::Status;
use std::collections::BTreeMap;

/// What the store holds and does.
pub(crate) fn stats(core: &Core) -> StoreStats {
    let (stats, snapshot) = (core.store.stats(), core.store.snapshot());
    let storages = Storages::new(&core.catalog().kinds);
    let mut kinds: BTreeMap<String, KindStats> = BTreeMap::new();
    let mut bytes = 0;
    for (key, entry) in snapshot.range(b"", None) {
        let size = (key.len() + entry.value.len()) as u64;
        bytes += size;
        if key.starts_with(b"~") {
            continue;
        }
        let place = storages.place(key);
        let resource = place.resource.as_ref().map_or_else(|| place.subject().resource, |row| plural_group(row));
        let kind = kinds.entry(resource.clone()).or_insert(KindStats { resource, objects: 0, bytes: 0 });
        kind.objects += 1;
        kind.bytes += size;
    }
    let mut kinds: Vec<KindStats> = kinds.into_values().collect();
    kinds.sort_by(|a, b| (b.bytes, &a.resource).cmp(&(a.bytes, &b.resource)));
    StoreStats {
        kind: "StoreStats".into(),
        api_version: API_VERSION.into(),
        cluster_id: core.store.cluster_id().to_string(),
        revision: stats.revision,
        oldest: stats.oldest,
        objects: kinds.iter().map(|kind| kind.objects).sum(),
        bytes,
        history_bytes: stats.history_bytes,
        file_bytes: stats.file_bytes,
        transactions: stats.transactions,
        batches: stats.batches,
        failures: stats.failures,
        last_sync_micros: stats.last_sync_micros,
        watches: stats.watches as u64,
        kinds,
    }
}

/// Forgets history before `to`, or all but what `keep` (`5m`, `24h`, `10000rev`) wants.
///
/// # Errors
/// 400 for neither or both, and for what is no point in history.
pub(crate) async fn compact(core: &Core, to: Option<&str>, keep: Option<&str>) -> Result<Compacted, Status> {
    let stats = core.store.stats();
    let (before, current) = (stats.oldest, stats.revision);
    let to = match (to, keep) {
        (Some(to), None) => when::resolve(&core.store, to, core.now()).await?,
        (None, Some(keep)) => keeping(core, keep, (before, current)).await?,
        _ => return Err(Status::bad_request("say either up to which revision, or how much history to keep")),
    };
    if to > before {
        core.store.compact(to).await.map_err(|error| Status::internal(&error))?;
    }
    Ok(Compacted {
        kind: "StoreCompaction".into(),
        api_version: API_VERSION.into(),
        before,
        oldest: core.store.stats().oldest,
        revision: current,
    })
}

async fn keeping(core: &Core, keep: &str, (oldest, current): (u64, u64)) -> Result<u64, Status> {
    if let Some(revisions) = keep.strip_suffix("rev").and_then(|count| count.parse::<u64>().ok()) {
        return Ok(current.saturating_sub(revisions).max(oldest));
    }
    let ago = when::ago(keep).ok_or_else(|| {
        Status::bad_request(format!("{keep:?} is no amount of history: give a time (5m, 24h) or revisions (10000rev)"))
    })?;
    match when::at(&core.store, core.now().checked_sub(ago).unwrap_or(jiff::Timestamp::MIN)).await {
        // All of it is younger.
        Err(status) if status.code == 410 => Ok(oldest),
        other => other,
    }
}

/// Whether a key is part of what a backup brings back into a running cluster. Not what says how things are at this moment
/// (nodes, heartbeats, Events), nor what is this server's own: its address, and the records that servers agree by.
pub(crate) fn belongs_in_a_backup(key: &[u8]) -> bool {
    const REPORTS: [&[u8]; 3] = [b"core/events/", b"core/nodes/", b"coordination.k8s.io/leases/"];
    const OWN: [&[u8]; 2] =
        [b"core/endpoints/default/kubernetes", b"discovery.k8s.io/endpointslices/default/kubernetes"];
    let internal = key.starts_with(b"~") && !key.starts_with(b"~nodeports/");
    !internal && !OWN.contains(&key) && !REPORTS.iter().any(|prefix| key.starts_with(prefix))
}

/// A time in a document.
pub(crate) fn moment(at_ms: u64) -> Moment {
    Moment::from_millis(at_ms)
}
