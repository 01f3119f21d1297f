//! What Services have taken, as records in the store: an address is an `IPAddress` object (as in Kubernetes 1.33), a node
//! port a key that no API path reaches. Records are made and removed in the transactions that write their Services.
//!
//! Invariant: a record is created only where there is none, so no two Services ever have the same address, whichever
//! servers write them.

use super::allocation_metrics::Given;
use super::cluster_ip::Books;
use super::service_cidrs::ServiceRange;
use crate::bootstrap;
use crate::core::Core;
use crate::objects::Index;
use api::meta;
use serde_json::{Value, json};
use std::fmt;
use std::net::Ipv4Addr;
use store::{Entry, Revision, Txn};

/// Node ports' keys. No kind's keys begin with a tilde.
pub(super) const NODE_PORTS: &str = "~nodeports/";
pub(super) const IP_ADDRESSES: &str = "networking.k8s.io/ipaddresses/";
/// The label by which the records of Services are told from the users' own.
const MANAGED_BY: (&str, &str) = ("ipaddress.kubernetes.io/managed-by", "ipallocator.k8s.io");
const FAMILY: (&str, &str) = ("ipaddress.kubernetes.io/ip-family", "IPv4");

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

    pub(super) fn record(self, core: &Core, owner: &Owner) -> store::Value {
        let parent = json!({"resource": "services", "namespace": owner.namespace, "name": owner.name});
        match self {
            Self::Ip(ip) => {
                let labels = json!({FAMILY.0: FAMILY.1, MANAGED_BY.0: MANAGED_BY.1});
                let object = json!({
                    "metadata": {"name": ip.to_string(), "labels": labels}, "spec": {"parentRef": parent},
                });
                bootstrap::fresh(core, &core.builtin("networking.k8s.io", "v1", "ipaddresses"), object)
            }
            Self::NodePort(_) => store::Value::new(json!({"service": parent}).to_string()),
        }
    }
}

impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

/// Whether an address is one that Services were given: users' own are no business of theirs.
pub(super) fn is_managed(address: &Entry) -> bool {
    Index::of(address).label(MANAGED_BY.0) == Some(MANAGED_BY.1)
}

/// Whether the labels of an address are as they were given with it.
pub(super) fn is_labelled(address: &Entry) -> bool {
    is_managed(address) && Index::of(address).label(FAMILY.0) == Some(FAMILY.1)
}

/// What a write takes and gives back, to be part of its transaction.
#[must_use]
#[derive(Clone, Default)]
pub(crate) struct Assignment {
    takes: Vec<(Vec<u8>, store::Value)>,
    gives: Vec<(Vec<u8>, Revision)>,
    /// The ServiceCIDR that a taken address is from, as it was looked at.
    range: Option<(Vec<u8>, Revision)>,
    /// To be counted once it is done.
    pub given: Given,
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

    pub(super) fn counted(mut self, given: Given) -> Self {
        self.given = given;
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
