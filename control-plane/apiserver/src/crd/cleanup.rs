//! A CRD that is being deleted takes its objects along: each is deleted, respecting its finalizers, and when the last one
//! is gone, so is the CRD's own finalizer (`apiextensions-apiserver/pkg/controller/finalizer`).

use super::{AUTHOR, RETRY};
use crate::core::Core;
use crate::objects;
use api::crd::{self, Definition};
use api::{Resource, Status, meta};
use serde_json::Value;
use std::sync::Arc;
use store::{Entry, Snapshot, Txn, WatchError};

/// Objects in one transaction.
const BATCH: usize = 256;

/// Runs until the CRD has lost its finalizer, or is another one.
pub(super) async fn run(core: Arc<Core>, row: Arc<Resource>, definition: Arc<Definition>) {
    let shutdown = core.shutdown.clone();
    let work = async {
        loop {
            match pass(&core, &row, &definition).await {
                Ok(()) => return,
                Err(error) => tracing::warn!(%error, "cannot delete the objects of a CRD"),
            }
            tokio::time::sleep(RETRY).await;
        }
    };
    tokio::select! {
        () = shutdown.cancelled() => {}
        () = work => {}
    }
}

async fn pass(core: &Arc<Core>, row: &Resource, definition: &Definition) -> Result<(), Status> {
    let prefix = format!("{}/", definition.place()).into_bytes();
    loop {
        let snapshot = core.latest().await?;
        let mut watch = core.store.watch(&prefix, snapshot.revision()).map_err(Status::internal)?;
        delete_all(core, &snapshot, &prefix).await?;
        if core.latest().await?.range(&prefix, None).next().is_none() {
            return finish(core, row, definition).await;
        }
        // What is left waits for finalizers: look again when something happens.
        match watch.next().await {
            Ok(_) | Err(WatchError::Compacted { .. }) => {}
            Err(error) => return Err(Status::internal(error)),
        }
    }
}

async fn delete_all(core: &Core, snapshot: &Snapshot, prefix: &[u8]) -> Result<(), Status> {
    let all: Vec<(Vec<u8>, Arc<Entry>)> =
        snapshot.range(prefix, None).map(|(key, entry)| (key.to_vec(), Arc::clone(entry))).collect();
    for batch in all.chunks(BATCH) {
        let txn = batch.iter().fold(Txn::new(), |txn, (key, entry)| delete(core, txn, key, entry));
        if txn.is_empty() || core.commit(AUTHOR, txn).await?.is_ok() {
            continue;
        }
        // Somebody changed one of them: one by one, those that can go go.
        for (key, entry) in batch {
            let txn = delete(core, Txn::new(), key, entry);
            if !txn.is_empty() {
                let _ = core.commit(AUTHOR, txn).await?;
            }
        }
    }
    Ok(())
}

/// Removes an object, or marks it where finalizers keep it.
fn delete(core: &Core, txn: Txn, key: &[u8], entry: &Entry) -> Txn {
    let Ok(mut object) = serde_json::from_slice::<Value>(&entry.value.body) else {
        return txn.require(key, entry.mod_revision).delete(key);
    };
    if meta::finalizers(&object).next().is_none() {
        return txn.require(key, entry.mod_revision).delete(key);
    }
    if !meta::mark_deleted(&mut object, core.now(), 0) {
        return txn;
    }
    // The index stays right: what it holds of an object is not what changed, but for the mark.
    let stored = objects::encode_marked(&object, &entry.value.index);
    txn.require(key, entry.mod_revision).put(key, stored)
}

/// Takes the finalizer off the CRD, and removes it when that was the last one.
async fn finish(core: &Core, row: &Resource, definition: &Definition) -> Result<(), Status> {
    let key = objects::key(row, "", &definition.name);
    loop {
        let snapshot = core.latest().await?;
        let Some(entry) = snapshot.get(&key) else { return Ok(()) };
        let object = objects::parse(row, &entry.value.body, None)?;
        let is_ours = meta::uid(&object) == definition.uid && crd::is_terminating(&object);
        if !is_ours || !meta::finalizers(&object).any(|finalizer| finalizer == crd::FINALIZER) {
            return Ok(());
        }
        let done = crd::finish(&object, core.now());
        let txn = if meta::finalizers(&done).next().is_none() {
            Txn::remove(&key, entry.mod_revision)
        } else {
            Txn::update(&key, entry.mod_revision, objects::encode(row, &done, core.now().as_second()))
        };
        if core.commit(AUTHOR, txn).await?.is_ok() {
            return Ok(());
        }
    }
}
