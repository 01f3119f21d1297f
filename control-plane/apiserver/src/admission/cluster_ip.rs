//! Service addresses. Which are taken is what the store says, and nothing else: an address is an `IPAddress` object, made
//! in the transaction that writes its Service and removed with it (see [`super::reservations`]).
//!
//! Invariant: nothing about addresses is kept in memory, so any number of servers may give them out of one store.

use super::node_ports;
pub(crate) use super::reservations::Assignment;
use super::reservations::{Owner, Reserved};
use crate::core::Core;
use crate::net::Cidr;
use api::{Resource, Status, field, meta};
use field::{Error as FieldError, Path};
use serde_json::{Value, json};
use std::net::Ipv4Addr;
use store::Snapshot;

/// Where Services' addresses come from.
pub(crate) struct ServiceAddresses {
    cidr: Cidr,
}

impl ServiceAddresses {
    pub(crate) fn new(cidr: Cidr) -> Self {
        Self { cidr }
    }

    /// The address of the API server's own Service.
    pub(crate) fn first(&self) -> Option<Ipv4Addr> {
        self.cidr.nth(0)
    }

    pub(crate) fn cidr(&self) -> Cidr {
        self.cidr
    }

    /// Fills the addresses and node ports of a Service that is to be written in place of `old`. Which are free is looked
    /// up in `snapshot`; that they still are, the returned assignment makes a condition of the write.
    ///
    /// # Errors
    /// 422 for an address or port that cannot be had; 500 when none is left.
    pub(crate) fn assign(
        &self,
        core: &Core,
        snapshot: &Snapshot,
        service: &mut Value,
        old: Option<&Value>,
    ) -> Result<Assignment, Status> {
        if let Some(old) = old {
            carry_over(service, old);
        }
        let owner = Owner::of(service);
        let had = old.map(reserved).unwrap_or_default();
        let books = Books { core, snapshot, owner: &owner, had: &had };
        self.assign_ip(&books, service)
            .and_then(|()| node_ports::assign(&books, service))
            .map_err(|error| error.status(service))?;
        Ok(Assignment::between(&books, &reserved(service)))
    }

    /// What goes with a Service that is removed.
    pub(crate) fn release(core: &Core, snapshot: &Snapshot, service: &Value) -> Assignment {
        let (owner, had) = (Owner::of(service), reserved(service));
        Assignment::between(&Books { core, snapshot, owner: &owner, had: &had }, &[])
    }

    fn assign_ip(&self, books: &Books<'_>, service: &mut Value) -> Result<(), Failure> {
        let Some(spec) = service.get_mut("spec").and_then(Value::as_object_mut) else { return Ok(()) };
        if spec.get("type").and_then(Value::as_str) == Some("ExternalName") {
            for field in ["clusterIP", "clusterIPs", "ipFamilies", "ipFamilyPolicy"] {
                spec.remove(field);
            }
            return Ok(());
        }
        let listed = spec.get("clusterIPs").and_then(|ips| ips.get(0)).and_then(Value::as_str);
        let wanted = spec.get("clusterIP").and_then(Value::as_str).filter(|ip| !ip.is_empty()).or(listed);
        let address = match wanted.map(String::from) {
            Some(none) if none == "None" => none,
            Some(wanted) => {
                self.check(books, &wanted)?;
                wanted
            }
            None => self.pick(books)?.to_string(),
        };
        spec.insert("clusterIP".into(), address.clone().into());
        spec.insert("clusterIPs".into(), json!([address]));
        spec.entry("ipFamilies").or_insert_with(|| json!(["IPv4"]));
        spec.entry("ipFamilyPolicy").or_insert_with(|| json!("SingleStack"));
        Ok(())
    }

    fn check(&self, books: &Books<'_>, wanted: &str) -> Result<(), Failure> {
        let refuse = |why: String| Failure::Ip { wanted: wanted.into(), why };
        let Ok(ip) = wanted.parse::<Ipv4Addr>() else {
            return Err(refuse("must be a valid IP address, (e.g. 10.9.8.7)".into()));
        };
        if books.had.contains(&Reserved::Ip(ip)) {
            return Ok(());
        }
        if self.cidr.position(ip).is_none() {
            return Err(refuse(format!(
                "failed to allocate IP {ip}: the provided IP ({ip}) is not in the valid range. The range of valid IPs is {}",
                self.cidr
            )));
        }
        // The first address is the API server's own, whether its Service exists yet or not.
        if Some(ip) == self.first() || !books.is_free(Reserved::Ip(ip)) {
            return Err(refuse(format!("failed to allocate IP {ip}: provided IP is already allocated")));
        }
        Ok(())
    }

    fn pick(&self, books: &Books<'_>) -> Result<Ipv4Addr, Failure> {
        let usable = self.cidr.usable();
        let free = |position: &u32| self.cidr.nth(*position).is_some_and(|ip| books.is_free(Reserved::Ip(ip)));
        let found = candidates(1, static_band(usable, 16, 256), usable, books.core.random()).find(free);
        found.and_then(|position| self.cidr.nth(position)).ok_or(Failure::Exhausted)
    }
}

/// What a choice of addresses and ports is made from.
pub(super) struct Books<'a> {
    pub core: &'a Core,
    pub snapshot: &'a Snapshot,
    pub owner: &'a Owner,
    /// What the Service had before.
    pub had: &'a [Reserved],
}

impl Books<'_> {
    /// Nobody has it, or only the Service itself.
    pub(super) fn is_free(&self, wanted: Reserved) -> bool {
        let entry = self.snapshot.get(&wanted.key());
        entry.is_none_or(|entry| wanted.owner(entry).as_ref() == Some(self.owner))
    }
}

/// How many of `size` numbers are left to users who name theirs (`calculateRangeOffset`): those are given out last.
pub(super) fn static_band(size: u32, step: u32, most: u32) -> u32 {
    if size < 16 { 0 } else { (size / step).clamp(16, most) }
}

/// The numbers from `first` to below `end`, each once: beginning at random above `band`, those below it last. Two servers
/// that look at the same time seldom meet.
pub(super) fn candidates(first: u32, band: u32, end: u32, random: u64) -> impl Iterator<Item = u32> {
    let upper = band.max(first).min(end);
    let width = u64::from((end - upper).max(1));
    let start = upper + u32::try_from(random % width).unwrap_or_default();
    (start..end).chain(upper..start).chain(first..upper)
}

/// Why a Service cannot have what it asks for.
pub(super) enum Failure {
    Ip { wanted: String, why: String },
    NodePort { index: usize, wanted: i64, why: String },
    Exhausted,
    PortsExhausted,
}

impl Failure {
    fn status(self, service: &Value) -> Status {
        let spec = Path::new("spec");
        let ports = spec.child("ports");
        let error = match self {
            Self::Ip { wanted, why } => FieldError::invalid(&spec.child("clusterIPs"), json!([wanted]), why),
            Self::NodePort { index, wanted, why } => {
                FieldError::invalid(&ports.index(index).child("nodePort"), wanted, why)
            }
            Self::Exhausted => return Status::internal("failed to allocate a serviceIP: range is full"),
            Self::PortsExhausted => return Status::internal("failed to allocate a nodePort: range is full"),
        };
        Status::invalid("", "Service", meta::name(service), &[error])
    }
}

/// Whether the kind is the one that has addresses.
pub(crate) fn concerns(resource: &Resource) -> bool {
    resource.storage == "core/services"
}

/// All that a Service has.
pub(super) fn reserved(service: &Value) -> Vec<Reserved> {
    let ip = service.pointer("/spec/clusterIP").and_then(Value::as_str).and_then(|ip| ip.parse().ok());
    let mut all: Vec<Reserved> = ip.map(Reserved::Ip).into_iter().collect();
    for port in node_ports::of(service) {
        // The same number may stand twice in one Service, for TCP and UDP.
        if !all.contains(&Reserved::NodePort(port)) {
            all.push(Reserved::NodePort(port));
        }
    }
    all
}

/// What an update leaves out stays as it was, while the type stays one that has addresses.
fn carry_over(service: &mut Value, old: &Value) {
    let kind = |v: &Value| v.pointer("/spec/type").and_then(Value::as_str).unwrap_or("ClusterIP") == "ExternalName";
    if kind(service) || kind(old) {
        return;
    }
    let before = old.get("spec").and_then(Value::as_object);
    let (Some(spec), Some(before)) = (service.get_mut("spec").and_then(Value::as_object_mut), before) else { return };
    if spec.get("clusterIP").and_then(Value::as_str).is_none_or(str::is_empty) && !spec.contains_key("clusterIPs") {
        for field in ["clusterIP", "clusterIPs"] {
            if let Some(value) = before.get(field) {
                spec.insert(field.into(), value.clone());
            }
        }
    }
    node_ports::carry_over(spec, before);
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn every_candidate_comes_once_and_the_users_band_last() {
        for random in [0, 1, 7, u64::MAX] {
            let all: Vec<u32> = candidates(1, 16, 62, random).collect();
            assert_eq!(all.len(), 61);
            assert_eq!(all.iter().collect::<BTreeSet<_>>().len(), 61);
            assert!(all[..46].iter().all(|n| *n >= 16), "{all:?}");
        }
        assert_eq!(candidates(1, 0, 1, 5).count(), 0, "a range of one address has none to give");
        assert_eq!(candidates(1, 0, 0, 5).count(), 0);
    }

    #[test]
    fn the_bands_are_those_of_kubernetes() {
        assert_eq!(static_band(14, 16, 256), 0);
        assert_eq!(static_band(254, 16, 256), 16);
        assert_eq!(static_band(4_094, 16, 256), 255);
        assert_eq!(static_band(1_048_574, 16, 256), 256);
        assert_eq!(static_band(2_768, 32, 128), 86);
    }

    #[test]
    fn a_number_that_stands_twice_is_reserved_once() {
        let service = json!({"spec": {"clusterIP": "10.0.0.7", "ports": [{"nodePort": 30_001}, {"nodePort": 30_001}, {"port": 1}]}});
        let all = reserved(&service);
        assert_eq!(all, [Reserved::Ip(Ipv4Addr::new(10, 0, 0, 7)), Reserved::NodePort(30_001)]);
        assert_eq!(reserved(&json!({"spec": {"clusterIP": "None"}})), []);
    }
}
