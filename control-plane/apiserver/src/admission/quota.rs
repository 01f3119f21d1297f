//! `ResourceQuota`: what a write adds is charged to the quotas of its namespace in the transaction of the write itself, so
//! that no two writes ever take the same last place and a write that fails has taken nothing
//! (`apiserver/pkg/admission/plugin/resourcequota`). What goes is given back by the controller.

use crate::core::Core;
use crate::objects;
use api::quota::{self, Change, Inventory, Kind};
use api::{Resource, Status, meta};
use serde_json::{Value, json};
use std::hash::{BuildHasher as _, RandomState};
use std::sync::Arc;
use store::{Entry, Revision, Snapshot, Txn};
use tokio::sync::{Mutex, MutexGuard};

const QUOTAS: &str = "core/resourcequotas/";
/// Namespaces whose writers may be between a charge and its commit at once. A namespace shares its turn with others.
const TURNS: usize = 64;

/// Who is to charge next.
pub(crate) struct Quotas {
    on: bool,
    turns: [Mutex<()>; TURNS],
    hasher: RandomState,
}

/// A write that may be charged for.
pub(crate) struct Write<'a> {
    pub resource: &'a Arc<Resource>,
    pub subresource: &'a str,
    pub namespace: &'a str,
    pub new: &'a Value,
    pub old: Option<&'a Value>,
}

/// What a write takes from quotas. Whoever holds it has the namespace's turn.
#[must_use]
#[derive(Default)]
pub(crate) struct Charge<'a> {
    _turn: Option<MutexGuard<'a, ()>>,
    updates: Vec<(Vec<u8>, Revision, store::Value)>,
}

impl Charge<'_> {
    pub(crate) fn is_empty(&self) -> bool {
        self.updates.is_empty()
    }

    /// The transaction that makes the write and the charge happen, or neither. Its own conditions come first.
    pub(crate) fn join(&self, mut txn: Txn) -> Txn {
        for (key, revision, value) in &self.updates {
            txn = txn.require(key, *revision).put(key, value.clone());
        }
        txn
    }

    /// Whether a conflict over `key` is one about a quota: look again.
    pub(crate) fn is_about(&self, key: &[u8]) -> bool {
        self.updates.iter().any(|(known, ..)| known == key)
    }
}

impl Quotas {
    pub(super) fn new(on: bool) -> Self {
        Self { on, turns: std::array::from_fn(|_| Mutex::new(())), hasher: RandomState::new() }
    }

    /// What the write takes from the quotas of its namespace.
    ///
    /// # Errors
    /// 403 `exceeded quota: …`.
    pub(crate) async fn charge(&self, core: &Core, write: &Write<'_>) -> Result<Charge<'_>, Status> {
        if !self.on || !handles(write) {
            return Ok(Charge::default());
        }
        let prefix = format!("{QUOTAS}{}/", write.namespace);
        if core.store.snapshot().range(prefix.as_bytes(), None).next().is_none() {
            return Ok(Charge::default());
        }
        let slot = usize::try_from(self.hasher.hash_one(write.namespace) % TURNS as u64).unwrap_or_default();
        let turn = self.turns[slot].lock().await;
        // Not older than the last charge.
        let snapshot = core.latest().await?;
        let updates = charges(core, &snapshot, write, &prefix).map_err(|why| {
            Status::forbidden(&write.resource.group, &write.resource.plural, meta::name(write.new), why)
        })?;
        Ok(Charge { _turn: Some(turn), updates })
    }
}

/// Whether a write like this can add to anything that quotas measure.
fn handles(write: &Write<'_>) -> bool {
    let created = write.old.is_none();
    match (write.resource.storage.as_ref(), write.subresource) {
        ("core/events", _) => false,
        ("core/pods", subresource) => created && subresource.is_empty() || !created && subresource == "resize",
        ("core/services" | "core/persistentvolumeclaims", subresource) => subresource.is_empty(),
        (_, subresource) => created && subresource.is_empty() && write.resource.namespaced(),
    }
}

type Updates = Vec<(Vec<u8>, Revision, store::Value)>;

fn charges(core: &Core, snapshot: &Snapshot, write: &Write<'_>, prefix: &str) -> Result<Updates, String> {
    let kind: Kind<'_> = (&write.resource.group, &write.resource.plural);
    let change = Change { kind, new: write.new, old: write.old };
    let mut pertinent = Vec::new();
    for (key, entry) in snapshot.range(prefix.as_bytes(), None) {
        let Ok(quota) = serde_json::from_slice::<Value>(&entry.value.body) else { continue };
        if quota::concerns(&quota, kind, write.new) {
            let name = meta::name(&quota);
            quota::check_constraints(&quota, &change).map_err(|why| format!("failed quota: {name}: {why}"))?;
            pertinent.push((key, entry));
        }
    }
    let row = core.builtin("", "v1", "resourcequotas");
    let mut updates = Vec::new();
    for (key, entry) in pertinent {
        if let Some(value) = update(core, snapshot, (&row, entry), &change, write.namespace)? {
            updates.push((key.to_vec(), entry.mod_revision, value));
        }
    }
    Ok(updates)
}

/// A quota with the change in its status; `None`: it stays as it is.
fn update(
    core: &Core,
    snapshot: &Snapshot,
    (row, entry): (&Arc<Resource>, &Entry),
    change: &Change<'_>,
    namespace: &str,
) -> Result<Option<store::Value>, String> {
    let mut apart = objects::parse_apart(row, &entry.value.body, None).map_err(|error| error.message)?;
    let now = core.now();
    // The controller has not counted yet, or counted for other limits: here it is counted at once, so that no write has
    // to wait for that.
    let used = quota::used(&apart.object)
        .unwrap_or_else(|| quota::recount(&apart.object, &Stored { core, snapshot, namespace }, now));
    let Some(after) = quota::charge(&apart.object, &used, change, now)? else { return Ok(None) };
    let hard = apart.object.pointer("/spec/hard").cloned().unwrap_or_default();
    let texts = after.iter().map(|(name, amount)| (name.clone(), Value::from(amount.to_string())));
    apart.object["status"] = json!({"hard": hard, "used": Value::Object(texts.collect())});
    let mut stored = objects::encode(row, &apart.object, now.as_second());
    stored.body = objects::put_owners(&stored.body, apart.managed());
    Ok(Some(stored))
}

/// A namespace's objects in a snapshot.
struct Stored<'a> {
    core: &'a Core,
    snapshot: &'a Snapshot,
    namespace: &'a str,
}

impl Inventory for Stored<'_> {
    fn objects(&self, plural: &str) -> Vec<Value> {
        let prefix = format!("core/{plural}/{}/", self.namespace);
        let all = self.snapshot.range(prefix.as_bytes(), None);
        all.filter_map(|(_, entry)| serde_json::from_slice(&entry.value.body).ok()).collect()
    }

    fn count(&self, (group, plural): Kind<'_>) -> Option<i64> {
        let catalog = self.core.catalog();
        let row = catalog.kinds.iter().find(|row| row.group == group && row.plural == plural && row.namespaced())?;
        let prefix = objects::prefix(row, self.namespace);
        i64::try_from(self.snapshot.count(&prefix)).ok()
    }
}
