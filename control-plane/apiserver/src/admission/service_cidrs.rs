//! The ranges that Services' addresses come from: the ServiceCIDR objects in the store, as they are at the moment of a write
//! (`pkg/registry/core/service/ipallocator/cidrallocator.go`).
//!
//! Invariant: nothing of them is kept in memory. A range that gives an address is a condition of the write that takes it,
//! so a range that is being deleted gives none, whichever server the Service is written through.

use crate::net::Cidr;
use crate::objects::Index;
use serde_json::Value;
use std::net::Ipv4Addr;
use store::{Entry, Revision, Snapshot};

/// Where ServiceCIDRs are in the store.
pub(crate) const PREFIX: &str = "networking.k8s.io/servicecidrs/";
/// The one that is made from `--service-cluster-ip-range`.
pub(crate) const DEFAULT: &str = "kubernetes";

/// An IPv4 range, and the object that says so.
#[derive(Clone, Debug)]
pub(crate) struct ServiceRange {
    pub key: Vec<u8>,
    pub revision: Revision,
    pub cidr: Cidr,
    ready: bool,
}

/// All IPv4 ranges of a moment. IPv6 ones give no addresses here: no server has that family.
pub(crate) struct ServiceRanges(Vec<ServiceRange>);

impl ServiceRanges {
    /// In the order in which addresses are taken from them: the default one, then by name. Kubernetes takes any.
    pub(crate) fn of(snapshot: &Snapshot) -> Self {
        let mut all: Vec<ServiceRange> = snapshot.range(PREFIX.as_bytes(), None).flat_map(ranges).collect();
        all.sort_by_key(|range| range.key[PREFIX.len()..] != *DEFAULT.as_bytes());
        Self(all)
    }

    pub(crate) fn all(&self) -> impl Iterator<Item = &ServiceRange> {
        self.0.iter()
    }

    /// Those that give addresses.
    pub(crate) fn ready(&self) -> impl Iterator<Item = &ServiceRange> {
        self.0.iter().filter(|range| range.ready)
    }

    /// Whether any range has this address, be it on its way out.
    pub(crate) fn contain(&self, ip: Ipv4Addr) -> bool {
        self.0.iter().any(|range| range.cidr.position(ip).is_some())
    }
}

fn ranges((key, entry): (&[u8], &std::sync::Arc<Entry>)) -> Vec<ServiceRange> {
    let Ok(object) = serde_json::from_slice::<Value>(&entry.value.body) else { return Vec::new() };
    let ready = !Index::of(entry).is_deleting() && is_ready(&object);
    let cidrs = object.pointer("/spec/cidrs").and_then(Value::as_array).into_iter().flatten();
    let cidrs = cidrs.filter_map(|cidr| Cidr::of_any_size(cidr.as_str()?));
    cidrs.map(|cidr| ServiceRange { key: key.to_vec(), revision: entry.mod_revision, cidr, ready }).collect()
}

/// What says nothing is ready, too: the controller may not be there.
fn is_ready(object: &Value) -> bool {
    let conditions = object.pointer("/status/conditions").and_then(Value::as_array).into_iter().flatten();
    let mut ready = conditions.filter(|condition| condition["type"] == "Ready");
    ready.next().is_none_or(|condition| condition["status"] == "True")
}
