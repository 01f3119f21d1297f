//! What Services have taken, as records in the store: an address is an `IPAddress` object (as in Kubernetes 1.33), a node
//! port a key that no API path reaches. Records are made and removed in the transactions that write their Services.
//!
//! Invariant: a record is created only where there is none, so no two Services ever have the same address, whichever
//! servers write them.

use super::cluster_ip::{Books, reserved};
use super::service_cidrs::{ServiceRange, ServiceRanges};
use crate::bootstrap;
use crate::core::Core;
use crate::objects;
use crate::own_events::Warning;
use crate::user::APISERVER;
use api::meta;
use serde_json::{Value, json};
use std::collections::HashSet;
use std::net::Ipv4Addr;
use store::{Entry, Key, Revision, Snapshot, Txn};

/// Node ports' keys. No kind's keys begin with a tilde.
const NODE_PORTS: &str = "~nodeports/";
const IP_ADDRESSES: &str = "networking.k8s.io/ipaddresses/";
/// The label by which the records of Services are told from the users' own.
const MANAGED_BY: (&str, &str) = ("ipaddress.kubernetes.io/managed-by", "ipallocator.k8s.io");
/// Records that one transaction repairs: etcd takes 128 operations at once.
const REPAIRS: usize = 100;

/// How often a look that came second is taken again; the next period takes another.
const ATTEMPTS: usize = 10;

/// One thing that only one Service can have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Reserved {
    Ip(Ipv4Addr),
    NodePort(u16),
}

/// Namespace and name of a Service.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Owner {
    namespace: String,
    name: String,
}

impl Owner {
    pub(super) fn of(service: &Value) -> Self {
        Self { namespace: meta::namespace(service).to_owned(), name: meta::name(service).to_owned() }
    }

    /// Of the API server's own Service.
    pub(super) fn apiserver() -> Self {
        Self { namespace: "default".into(), name: "kubernetes".into() }
    }

    pub(super) fn is_apiserver(&self) -> bool {
        *self == Self::apiserver()
    }
}

impl Reserved {
    pub(super) fn key(self) -> Vec<u8> {
        match self {
            Self::Ip(ip) => format!("{IP_ADDRESSES}{ip}").into_bytes(),
            Self::NodePort(port) => format!("{NODE_PORTS}{port}").into_bytes(),
        }
    }

    /// Whose record `entry` is; `None` for one that a user made for other things.
    pub(super) fn owner(self, entry: &Entry) -> Option<Owner> {
        let record: Value = serde_json::from_slice(&entry.value.body).ok()?;
        let parent = match self {
            Self::Ip(_) => record.pointer("/spec/parentRef")?,
            Self::NodePort(_) => record.get("service")?,
        };
        if matches!(self, Self::Ip(_)) && parent.get("resource")? != "services" {
            return None;
        }
        let text = |field: &str| parent.get(field).and_then(Value::as_str).map(String::from);
        Some(Owner { namespace: text("namespace")?, name: text("name")? })
    }

    fn record(self, core: &Core, owner: &Owner) -> store::Value {
        let parent = json!({"group": "", "resource": "services", "namespace": owner.namespace, "name": owner.name});
        match self {
            Self::Ip(ip) => {
                let labels = json!({"ipaddress.kubernetes.io/ip-family": "IPv4", MANAGED_BY.0: MANAGED_BY.1});
                let object = json!({
                    "metadata": {"name": ip.to_string(), "labels": labels}, "spec": {"parentRef": parent},
                });
                bootstrap::fresh(core, &core.builtin("networking.k8s.io", "v1", "ipaddresses"), object)
            }
            Self::NodePort(_) => store::Value::new(json!({"service": parent}).to_string()),
        }
    }
}

/// What a write takes and gives back, to be part of its transaction.
#[must_use]
#[derive(Clone, Default)]
pub(crate) struct Assignment {
    takes: Vec<(Vec<u8>, store::Value)>,
    gives: Vec<(Vec<u8>, Revision)>,
    /// The ServiceCIDR that a taken address is from, as it was looked at.
    range: Option<(Vec<u8>, Revision)>,
}

impl Assignment {
    /// From what the Service had to what it `wants`. Records that are there already stay.
    pub(super) fn between(books: &Books<'_>, wants: &[Reserved]) -> Self {
        let mut assignment = Self::default();
        for wanted in wants {
            let key = wanted.key();
            if books.snapshot.get(&key).is_none() {
                assignment.takes.push((key, wanted.record(books.core, books.owner)));
            }
        }
        for had in books.had.iter().filter(|had| !wants.contains(had)) {
            let key = had.key();
            let own = books.snapshot.get(&key).filter(|entry| had.owner(entry).as_ref() == Some(books.owner));
            if let Some(entry) = own {
                assignment.gives.push((key, entry.mod_revision));
            }
        }
        assignment
    }

    /// The range that a new address is from has to be as it was: one that is being deleted gives none.
    pub(super) fn taken_from(mut self, range: Option<ServiceRange>) -> Self {
        self.range = range.map(|range| (range.key, range.revision));
        self
    }

    /// The transaction that makes both happen or neither. Its own conditions come first.
    pub(crate) fn join(self, mut txn: Txn) -> Txn {
        for (key, record) in self.takes {
            txn = txn.require(&key, 0).put(&key, record);
        }
        for (key, revision) in self.gives {
            txn = txn.require(&key, revision).delete(&key);
        }
        if let Some((key, revision)) = self.range {
            txn = txn.require(&key, revision);
        }
        txn
    }
}

/// Key and record of the address of the Service `default/kubernetes`.
pub(crate) fn of_apiserver(core: &Core, ip: Ipv4Addr) -> (Vec<u8>, store::Value) {
    (Reserved::Ip(ip).key(), Reserved::Ip(ip).record(core, &Owner::apiserver()))
}

/// Whether the record of an address says that it is the API server's own.
pub(crate) fn is_apiservers(ip: Ipv4Addr, record: &Entry) -> bool {
    Reserved::Ip(ip).owner(record).is_some_and(|owner| owner.is_apiserver())
}

/// Makes records for Services that have none, and removes those whose Service is gone: a store that an earlier version
/// wrote, or objects that were restored without what belongs to them. Returns how many records were repaired.
///
/// # Errors
/// What the store says.
pub(crate) async fn repair(core: &Core) -> Result<usize, api::Status> {
    let mut repaired = 0;
    let mut conflicts = 0;
    while conflicts < ATTEMPTS {
        let snapshot = core.latest().await?;
        let (txn, lost) = repairs(core, &snapshot);
        if txn.is_empty() {
            tell_of(core, &snapshot, &lost).await?;
            return Ok(repaired);
        }
        let count = txn.ops.len();
        // A conflict is another server that repairs, or a Service that was written just now: look again.
        match core.commit(APISERVER, txn).await? {
            Ok(_) => repaired += count,
            Err(_) => conflicts += 1,
        }
    }
    Ok(repaired)
}

/// Tells of Services whose address is in no ServiceCIDR, as when one has been replaced.
async fn tell_of(core: &Core, snapshot: &Snapshot, lost: &[(Value, Ipv4Addr)]) -> Result<(), api::Status> {
    let mut txn = Txn::new();
    for (service, ip) in lost {
        let warning = Warning {
            component: "ipallocator-repair-controller",
            reason: "ClusterIPOutOfRange",
            message: format!(
                "Cluster IP [IPv4]: {ip} is not within any configured Service CIDR; please recreate service"
            ),
        };
        txn = warning.join(core, snapshot, txn, ("v1", "Service"), service);
    }
    if !txn.is_empty() {
        // Who comes first of several servers tells it.
        let _ = core.commit(APISERVER, txn).await?;
    }
    Ok(())
}

/// The transaction that repairs (some of) what is wrong, and the Services whose address is in no range: at most as many
/// as fit in a transaction.
fn repairs(core: &Core, snapshot: &Snapshot) -> (Txn, Vec<(Value, Ipv4Addr)>) {
    let services = core.builtin("", "v1", "services");
    let mut txn = Txn::new();
    let mut taken: HashSet<Vec<u8>> = HashSet::new();
    let (ranges, mut lost) = (ServiceRanges::of(snapshot), Vec::new());
    let prefix = objects::prefix(&services, "");
    for (service_key, entry) in snapshot.range(&prefix, None) {
        let Ok(service) = serde_json::from_slice::<Value>(&entry.value.body) else { continue };
        for record in reserved(&service) {
            let key = record.key();
            if txn.ops.len() < REPAIRS && snapshot.get(&key).is_none() && !taken.contains(&key) {
                txn = require_once(txn, service_key, entry.mod_revision);
                txn = txn.require(&key, 0).put(&key, record.record(core, &Owner::of(&service)));
            }
            taken.insert(key);
            if let Reserved::Ip(ip) = record
                && lost.len() < REPAIRS
                && !ranges.contain(ip)
            {
                lost.push((service.clone(), ip));
            }
        }
    }
    for (key, revision) in orphans(snapshot, &taken) {
        if txn.ops.len() < REPAIRS {
            txn = txn.require(&key, revision).delete(&key);
        }
    }
    (txn, lost)
}

/// That a Service is still what its record is made for.
fn require_once(txn: Txn, key: &[u8], revision: Revision) -> Txn {
    if txn.compare.iter().any(|compare| &*compare.key == key) { txn } else { txn.require(key, revision) }
}

fn orphans(snapshot: &Snapshot, taken: &HashSet<Vec<u8>>) -> Vec<(Key, Revision)> {
    let managed = |entry: &Entry| objects::Index::of(entry).label(MANAGED_BY.0) == Some(MANAGED_BY.1);
    let ips = snapshot.range(IP_ADDRESSES.as_bytes(), None).filter(|(_, entry)| managed(entry));
    let ports = snapshot.range(NODE_PORTS.as_bytes(), None);
    ips.chain(ports)
        .filter(|(key, _)| !taken.contains(*key))
        .map(|(key, entry)| (Key::from(key), entry.mod_revision))
        .collect()
}
