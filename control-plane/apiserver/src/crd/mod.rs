//! Custom resources: follows the CRDs in the store, decides about their names and conditions, and serves their kinds.
//!
//! Each server follows the store by itself, so that several on one store agree without talking: what becomes of a CRD
//! is a function of what is stored (`api::crd::settle`), and whoever writes it first has written it for all.

mod cleanup;
mod known;
pub(crate) mod present;
mod webhook;

use crate::core::Core;
use crate::objects;
use api::{Resource, Status};
use known::Known;
use std::sync::Arc;
use store::{Batch, Event, Snapshot, Txn, Watch, WatchError};
use tokio::runtime::RuntimeFlavor;
use tracing::Instrument as _;

/// How a write of ours is told from others in the history.
const AUTHOR: &str = "system:apiserver";
/// How long to wait before the store is asked again that could not be read.
const RETRY: std::time::Duration = std::time::Duration::from_millis(200);
/// How long a writer of CRDs waits to have its kinds served.
const PATIENCE: std::time::Duration = std::time::Duration::from_secs(2);

/// Serves the CRDs that are stored, and goes on following them in a task of its own until the server shuts down. When
/// this returns, every established CRD is served.
///
/// # Errors
/// What the store says.
pub(crate) async fn start(core: &Arc<Core>) -> Result<(), Status> {
    let mut follower = Follower::new(core);
    let watch = follower.load().await?;
    tokio::spawn(follower.run(watch).instrument(tracing::info_span!("crds")));
    Ok(())
}

/// Runs rules that may take long: those of CRDs, whose schemas may be huge, and of webhooks, whose conditions are compiled.
/// Other requests go on meanwhile.
pub(crate) fn judged<T>(resource: &Resource, rules: impl FnOnce() -> T) -> T {
    let is_long = matches!(&*resource.group, api::crd::GROUP | "admissionregistration.k8s.io");
    if is_long { apart(rules) } else { rules() }
}

/// Off the threads that answer requests, where there are several.
fn apart<T>(work: impl FnOnce() -> T) -> T {
    match tokio::runtime::Handle::current().runtime_flavor() {
        RuntimeFlavor::MultiThread => tokio::task::block_in_place(work),
        _ => work(),
    }
}

/// Waits until what was just written about CRDs is served: a client that goes on with the first object of a new kind finds
/// its kind. Not for long: a follower that is held up must not hold up writers.
pub(crate) async fn caught_up(core: &Core, row: &Resource) {
    let snapshot = core.store.snapshot();
    let prefix = objects::prefix(row, "");
    let newest = snapshot.range(&prefix, None).map(|(_, entry)| entry.mod_revision).max().unwrap_or(0);
    let mut reached = core.crds.subscribe();
    let reached = reached.wait_for(|reached| *reached >= newest);
    let _ = tokio::time::timeout(PATIENCE, reached).await;
}

struct Follower {
    core: Arc<Core>,
    row: Arc<Resource>,
    prefix: Vec<u8>,
    known: Known,
}

/// A CRD whose names, conditions or finalizer are to be written.
struct Write {
    key: Vec<u8>,
    revision: store::Revision,
    object: serde_json::Value,
}

impl Follower {
    fn new(core: &Arc<Core>) -> Self {
        let row = core.builtin(api::crd::GROUP, "v1", "customresourcedefinitions");
        let prefix = objects::prefix(&row, "");
        Self { core: Arc::clone(core), row, prefix, known: Known::default() }
    }

    /// Takes in everything that is stored, and watches from there.
    async fn load(&mut self) -> Result<Watch, Status> {
        let snapshot = self.core.latest().await?;
        let watch = self.core.store.watch(&self.prefix, snapshot.revision()).map_err(Status::internal)?;
        let keys: Vec<Vec<u8>> = snapshot.range(&self.prefix, None).map(|(key, _)| key.to_vec()).collect();
        let names: Vec<String> = keys.iter().map(|key| self.name(key).to_owned()).collect();
        self.known.retain(|name| names.iter().any(|known| known == name));
        self.settle(&snapshot, keys).await;
        Ok(watch)
    }

    async fn run(mut self, mut watch: Watch) {
        let shutdown = self.core.shutdown.clone();
        loop {
            let next = tokio::select! {
                () = shutdown.cancelled() => return,
                next = watch.next() => next,
            };
            match next {
                Ok(batch) => self.changed(&batch).await,
                Err(WatchError::Closed) => return,
                // The history that this stood on is gone: look at what there is now.
                Err(error) => {
                    tracing::debug!(%error, "the watch on CRDs ended");
                    watch = loop {
                        match self.load().await {
                            Ok(watch) => break watch,
                            Err(error) => tracing::warn!(%error, "cannot read the CRDs"),
                        }
                        tokio::select! {
                            () = shutdown.cancelled() => return,
                            () = tokio::time::sleep(RETRY) => {}
                        }
                    };
                }
            }
        }
    }

    async fn changed(&mut self, batch: &Batch) {
        let key = |event: &Arc<Event>| event.key.to_vec();
        let mut keys: Vec<Vec<u8>> = batch.events.iter().map(key).collect();
        keys.dedup();
        // As they are now: later events about them change nothing then.
        let snapshot = self.core.store.snapshot();
        self.settle(&snapshot, keys).await;
    }

    /// Looks at the CRDs under `keys` as they are in `snapshot`, serves what is to be served, then writes what is to be
    /// written: a kind is there before its CRD says so.
    async fn settle(&mut self, snapshot: &Snapshot, mut keys: Vec<Vec<u8>>) {
        let mut writes = Vec::new();
        let mut is_changed = false;
        let mut at = 0;
        while let Some(key) = keys.get(at).cloned() {
            at += 1;
            let name = self.name(&key).to_owned();
            let step = match snapshot.get(&key) {
                Some(entry) => apart(|| self.known.put(&self.core, &name, entry)),
                None => self.known.remove(&name),
            };
            is_changed |= step.rows_changed;
            if let (Some(object), Some(entry)) = (step.write, snapshot.get(&key)) {
                writes.push(Write { key: key.clone(), revision: entry.mod_revision, object });
            }
            // Names that became free may be what others in the group wait for.
            for waiting in step.waiting {
                let key = objects::key(&self.row, "", &waiting);
                if !keys[at..].contains(&key) {
                    keys.push(key);
                }
            }
            if let Some(definition) = step.terminating {
                let work = cleanup::run(Arc::clone(&self.core), Arc::clone(&self.row), definition);
                tokio::spawn(work.instrument(tracing::info_span!("crd_cleanup", crd = %name)));
            }
        }
        if is_changed {
            self.core.swap_kinds(self.known.rows(), self.known.lives());
        }
        self.core.crds.send_replace(snapshot.revision());
        futures::future::join_all(writes.into_iter().map(|write| self.write(write))).await;
    }

    /// A write that comes second is left be: what came first is on its way here.
    async fn write(&self, write: Write) {
        let stored = objects::encode(&self.row, &write.object, self.core.now().as_second());
        let txn = Txn::update(&write.key, write.revision, stored);
        if let Err(error) = self.core.commit(AUTHOR, txn).await {
            tracing::warn!(%error, crd = self.name(&write.key), "cannot write the conditions of a CRD");
        }
    }

    fn name<'k>(&self, key: &'k [u8]) -> &'k str {
        objects::subject(&self.row, key).1
    }
}
