//! The servers of one cluster, where several share a store. Each keeps a Lease in kube-system, as kube-apiserver does for
//! its identity; from those that are renewed, everyone makes the endpoints of the Service `default/kubernetes`.
//!
//! Invariant: a server counts as gone when its Lease has not changed for as long as the Lease lasts on the clock of who
//! looks; no two servers' clocks are ever compared.

mod endpoints;
mod forward;

pub(crate) use forward::{Dialer, kubelet, serve};

use crate::bootstrap;
use crate::core::Core;
use crate::objects::{self, Index};
use crate::user::APISERVER;
use api::{Resource, Status, meta};
use jiff::Timestamp;
use parking_lot::Mutex;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use store::{Revision, Snapshot, Txn};
use tokio::time::{Instant, MissedTickBehavior};

/// How often a server renews its Lease and looks at the others'.
const INTERVAL: Duration = Duration::from_secs(5);
/// How long a Lease lasts (`--etcd-servers`' master leases: 15 s).
const LASTS: Duration = Duration::from_secs(15);
/// How long a server that stops tries to say so.
const FAREWELL: Duration = Duration::from_secs(2);
const NAMESPACE: &str = "kube-system";
const IDENTITY: (&str, &str) = ("apiserver.kubernetes.io/identity", "kube-apiserver");
/// Where a server is reached, in its Lease.
const ADDRESS: &str = "skiff.dev/address";

/// What one server knows of the others.
#[derive(Default)]
pub(crate) struct Peers {
    seen: Mutex<HashMap<Vec<u8>, Seen>>,
    dialer: std::sync::OnceLock<Dialer>,
}

/// When a Lease was last seen to change.
#[derive(Clone, Copy)]
struct Seen {
    revision: Revision,
    since: Instant,
}

/// Who is there.
struct Roll {
    live: BTreeSet<SocketAddr>,
    /// Leases of servers that are gone.
    gone: Vec<(Vec<u8>, Revision)>,
}

impl Peers {
    /// Makes it possible to ask the others.
    pub(crate) fn introduce(&self, dialer: Dialer) {
        // A second introduction would be of the same server.
        let _ = self.dialer.set(dialer);
    }

    pub(crate) fn dialer(&self) -> Option<&Dialer> {
        self.dialer.get()
    }

    fn roll(&self, core: &Core, snapshot: &Snapshot, now: Instant) -> Roll {
        let leases = leases(core);
        let range = objects::prefix(&leases, NAMESPACE);
        let mut roll = Roll { live: address(core).into_iter().collect(), gone: Vec::new() };
        let mut seen = self.seen.lock();
        let mut present = HashMap::new();
        let identities = snapshot.range(&range, None);
        for (key, entry) in identities.filter(|(_, entry)| Index::of(entry).label(IDENTITY.0) == Some(IDENTITY.1)) {
            let fresh = Seen { revision: entry.mod_revision, since: now };
            let known = seen.get(key).copied().filter(|s| s.revision == entry.mod_revision).unwrap_or(fresh);
            present.insert(key.to_vec(), known);
            if now.duration_since(known.since) > LASTS {
                roll.gone.push((key.to_vec(), entry.mod_revision));
                continue;
            }
            let lease: Value = serde_json::from_slice(&entry.value.body).unwrap_or_default();
            roll.live.extend(meta::annotation(&lease, ADDRESS).and_then(|address| address.parse::<SocketAddr>().ok()));
        }
        *seen = present;
        roll
    }

    /// The other servers that are there.
    pub(crate) fn others(&self, core: &Core) -> Vec<SocketAddr> {
        let own = address(core);
        let live = self.roll(core, &core.store.snapshot(), Instant::now()).live;
        live.into_iter().filter(|peer| Some(*peer) != own).collect()
    }
}

/// Runs until the server shuts down, and takes it off the list then.
pub(crate) async fn run(core: Arc<Core>) {
    let started = core.now();
    let mut timer = tokio::time::interval(INTERVAL);
    timer.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = core.shutdown.cancelled() => break,
            _ = timer.tick() => {}
        }
        if let Err(error) = renew(&core, started).await {
            tracing::warn!(%error, "this server's Lease could not be renewed: others will count it as gone");
        }
    }
    match tokio::time::timeout(FAREWELL, leave(&core)).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::warn!(%error, "the other servers were not told that this one stops"),
        Err(_) => tracing::warn!("the store was too slow to tell the other servers that this one stops"),
    }
}

/// Says that this server is there, and sees to it that the endpoints name whoever is.
///
/// # Errors
/// What the store says.
pub(crate) async fn renew(core: &Core, started: Timestamp) -> Result<(), Status> {
    let Some(own) = address(core) else { return Ok(()) };
    let snapshot = core.latest().await?;
    let roll = core.peers.roll(core, &snapshot, Instant::now());
    let key = key(core, own);
    let revision = snapshot.get(&key).map_or(0, |entry| entry.mod_revision);
    let created = snapshot.get(&key).and_then(|entry| serde_json::from_slice::<Value>(&entry.value.body).ok());
    let lease = lease(core, own, created, started);
    let mut txn = Txn::update(&key, revision, lease);
    for (key, revision) in roll.gone.iter().filter(|(gone, _)| *gone != key) {
        txn = txn.require(key, *revision).delete(key);
    }
    let txn = endpoints::reconcile(core, &snapshot, &roll.live, txn);
    // A conflict: another server says the same. The next tick sees what came of it.
    if core.commit(APISERVER, txn).await?.is_err() {
        tracing::debug!("another server wrote the endpoints first");
    }
    Ok(())
}

async fn leave(core: &Core) -> Result<(), Status> {
    let Some(own) = address(core) else { return Ok(()) };
    let key = key(core, own);
    for _ in 0..3 {
        let snapshot = core.latest().await?;
        let mut live = core.peers.roll(core, &snapshot, Instant::now()).live;
        live.remove(&own);
        let txn = match snapshot.get(&key) {
            Some(entry) => Txn::remove(&key, entry.mod_revision),
            None => Txn::new(),
        };
        // The last one leaves the list as it is: nobody is there to read it, and it comes back to the same place.
        let txn = if live.is_empty() { txn } else { endpoints::reconcile(core, &snapshot, &live, txn) };
        if txn.is_empty() || core.commit(APISERVER, txn).await?.is_ok() {
            return Ok(());
        }
    }
    Ok(())
}

fn leases(core: &Core) -> Arc<Resource> {
    core.builtin("coordination.k8s.io", "v1", "leases")
}

/// Where others reach this server.
fn address(core: &Core) -> Option<SocketAddr> {
    bootstrap::endpoint_ip(core).map(|ip| SocketAddr::new(ip, core.address.port()))
}

fn name(own: SocketAddr) -> String {
    let digest = Sha256::digest(own.to_string().as_bytes());
    format!("apiserver-{}", hex::encode(&digest[..13]))
}

fn key(core: &Core, own: SocketAddr) -> Vec<u8> {
    objects::key(&leases(core), NAMESPACE, &name(own))
}

/// The server's Lease, renewed now. `old` keeps what it has of metadata.
fn lease(core: &Core, own: SocketAddr, old: Option<Value>, started: Timestamp) -> store::Value {
    let micro = |at: Timestamp| format!("{at:.6}");
    let spec = json!({
        "holderIdentity": format!("{}_{}", name(own), started.as_millisecond()),
        "leaseDurationSeconds": LASTS.as_secs(), "renewTime": micro(core.now()), "acquireTime": micro(started),
    });
    if let Some(mut lease) = old {
        lease["spec"] = spec;
        return objects::encode(&leases(core), &lease, core.now().as_second());
    }
    let labels = BTreeMap::from([IDENTITY]);
    let metadata = json!({
        "name": name(own), "namespace": NAMESPACE, "labels": labels, "annotations": {ADDRESS: own.to_string()},
    });
    bootstrap::fresh(core, &leases(core), json!({"metadata": metadata, "spec": spec}))
}
