//! Service addresses. Which are taken is what the store says, and nothing else: an address is an `IPAddress` object, made
//! in the transaction that writes its Service and removed with it (see [`super::reservations`]).
//!
//! Invariant: nothing about addresses, nor about the ranges that they are from, is kept in memory, so any number of servers
//! may give them out of one store.

use super::allocation_metrics::{Given, Metrics, Scope};
use super::free::{self, static_band};
use super::node_ports::Sharing;
pub(crate) use super::reservations::Assignment;
use super::reservations::{IP_ADDRESSES, Owner, Reserved};
use super::service_cidrs::{ServiceRange, ServiceRanges};
use super::{ip_families, node_ports};
use crate::core::Core;
use crate::net::Cidr;
use api::{Resource, Status, field, meta};
use field::{Error as FieldError, Path};
use serde_json::{Map, Value, json};
use std::net::Ipv4Addr;
use std::time::Instant;
use store::Snapshot;

/// Service addresses, and the one that is not to be had.
pub(crate) struct ServiceAddresses {
    /// `--service-cluster-ip-range`: the default ServiceCIDR is made from it.
    default: Cidr,
    pub metrics: Metrics,
}

/// What addresses are looked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Purpose {
    Write,
    /// Nothing is stored, and nothing counted.
    DryRun,
}

impl ServiceAddresses {
    pub(crate) fn new(default: Cidr) -> Self {
        Self { default, metrics: Metrics::default() }
    }

    /// The address that the API server's own Service gets when it is made.
    pub(crate) fn first(&self) -> Option<Ipv4Addr> {
        self.default.nth(0)
    }

    pub(crate) fn default_range(&self) -> Cidr {
        self.default
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
        purpose: Purpose,
    ) -> Result<Assignment, Status> {
        let owner = Owner::of(service);
        let had = old.map(reserved).unwrap_or_default();
        let books = Books { core, snapshot, owner: &owner, had: &had };
        let sharing = if old.is_some() { Sharing::No } else { Sharing::SamePort };
        let begun = Instant::now();
        let assigned = self.assign_ip(&books, service, old).and_then(|source| {
            let took = begun.elapsed();
            Ok((source, took, node_ports::assign(&books, service, sharing)?))
        });
        let (source, took, ports) = assigned.map_err(|failure| {
            if purpose == Purpose::Write {
                self.metrics.failed(&failure);
            }
            failure.status(service)
        })?;
        let address = source.as_ref().map(|(range, scope)| (range.cidr, *scope, took));
        let range = source.map(|(range, _)| range);
        Ok(Assignment::between(&books, &reserved(service)).taken_from(range).counted(Given { address, ports }))
    }

    /// Counts what a write has given out, now that it is done.
    pub(crate) fn count(&self, given: &Given) {
        self.metrics.given(given);
    }

    /// What goes with a Service that is removed.
    pub(crate) fn release(core: &Core, snapshot: &Snapshot, service: &Value) -> Assignment {
        let (owner, had) = (Owner::of(service), reserved(service));
        Assignment::between(&Books { core, snapshot, owner: &owner, had: &had }, &[])
    }

    /// Answers the range that a new address is from.
    fn assign_ip(
        &self,
        books: &Books<'_>,
        service: &mut Value,
        old: Option<&Value>,
    ) -> Result<Option<Source>, Failure> {
        let Some(spec) = service.get_mut("spec").and_then(Value::as_object_mut) else { return Ok(None) };
        if spec.get("type").and_then(Value::as_str) == Some("ExternalName") {
            return Ok(None);
        }
        if let Some(error) = disagreement(spec) {
            return Err(Failure::Families(vec![error]));
        }
        let errors = ip_families::init(spec, old.and_then(|old| old.get("spec")?.as_object()));
        if !errors.is_empty() {
            return Err(Failure::Families(errors));
        }
        let wanted = spec.get("clusterIP").and_then(Value::as_str).filter(|ip| !ip.is_empty());
        let (address, source) = match wanted {
            Some("None") => return Ok(None),
            // Validation tells what is wrong with it.
            Some(wanted) if wanted.parse::<Ipv4Addr>().is_err() => return Ok(None),
            Some(wanted) => (wanted.to_owned(), self.check(books, wanted)?),
            None => {
                let (ip, range) = self.pick(books)?;
                (ip.to_string(), Some((range, Scope::Dynamic)))
            }
        };
        spec.insert("clusterIP".into(), address.clone().into());
        if spec.get("clusterIPs").and_then(Value::as_array).is_none_or(|ips| ips.len() < 2) {
            spec.insert("clusterIPs".into(), json!([address]));
        }
        Ok(source)
    }

    /// Whether the Service may have the address that it names.
    fn check(&self, books: &Books<'_>, wanted: &str) -> Result<Option<Source>, Failure> {
        let Ok(ip) = wanted.parse::<Ipv4Addr>() else { return Ok(None) };
        if books.had.contains(&Reserved::Ip(ip)) {
            return Ok(None);
        }
        let refuse = |range: Option<Cidr>, why: &str| {
            let why = format!("failed to allocate IP {ip}: {why}");
            Failure::Ip { wanted: wanted.into(), range, why }
        };
        let ranges = ServiceRanges::of(books.snapshot);
        let Some(range) = ranges.ready().find(|range| range.cidr.position(ip).is_some()) else {
            return Err(refuse(None, "the provided network does not match the current range"));
        };
        if !self.is_free(books, ip) {
            return Err(refuse(Some(range.cidr), "provided IP is already allocated"));
        }
        Ok(Some((range.clone(), Scope::Static)))
    }

    fn pick(&self, books: &Books<'_>) -> Result<(Ipv4Addr, ServiceRange), Failure> {
        let ranges = ServiceRanges::of(books.snapshot);
        for range in ranges.ready() {
            let Some(first) = range.cidr.nth(0) else { continue };
            let usable = range.cidr.usable();
            let band = static_band(usable, 16, 256);
            let taken = Addresses { services: self, books };
            if let Some(ip) = free::address(&taken, first, usable, band, books.core.random()) {
                return Ok((ip, range.clone()));
            }
        }
        Err(Failure::Exhausted { ranges: ranges.ready().map(|range| range.cidr).collect() })
    }

    /// The first address of the default range is the API server's own, whether its Service exists yet or not.
    fn is_free(&self, books: &Books<'_>, ip: Ipv4Addr) -> bool {
        let own = Some(ip) == self.first() && !books.owner.is_apiserver();
        !own && books.is_free(Reserved::Ip(ip))
    }
}

/// The range that a new address is from, and whether the Service named it.
type Source = (ServiceRange, Scope);

/// What is taken, as a Service sees it.
struct Addresses<'a> {
    services: &'a ServiceAddresses,
    books: &'a Books<'a>,
}

impl free::Taken for Addresses<'_> {
    fn is_free(&self, address: Ipv4Addr) -> bool {
        self.services.is_free(self.books, address)
    }

    fn count(&self, beginning: &str) -> usize {
        self.books.snapshot.count(format!("{IP_ADDRESSES}{beginning}").as_bytes())
    }
}

/// What is wrong where `clusterIP` is not the first of `clusterIPs`.
fn disagreement(spec: &Map<String, Value>) -> Option<FieldError> {
    let one = spec.get("clusterIP").and_then(Value::as_str).unwrap_or_default();
    let all = spec.get("clusterIPs").and_then(Value::as_array).filter(|all| !all.is_empty())?;
    let detail = match one {
        "" => "must be empty when `clusterIP` is not specified",
        one if all.first().and_then(Value::as_str) != Some(one) => "first value must match `clusterIP`",
        _ => return None,
    };
    Some(FieldError::invalid(&Path::new("spec.clusterIPs"), all.clone(), detail))
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

/// Why a Service cannot have what it asks for.
pub(super) enum Failure {
    /// `range`: the one that has the address.
    Ip {
        wanted: String,
        range: Option<Cidr>,
        why: String,
    },
    NodePort {
        index: usize,
        wanted: i64,
        why: String,
    },
    HealthCheck {
        wanted: i64,
        why: String,
    },
    Families(Vec<FieldError>),
    /// All ranges are full.
    Exhausted {
        ranges: Vec<Cidr>,
    },
    PortsExhausted,
}

impl Failure {
    fn status(self, service: &Value) -> Status {
        let spec = Path::new("spec");
        let ports = spec.child("ports");
        let error = match self {
            Self::Ip { wanted, why, .. } => FieldError::invalid(&spec.child("clusterIPs"), json!([wanted]), why),
            Self::NodePort { index, wanted, why } => {
                FieldError::invalid(&ports.index(index).child("nodePort"), wanted, why)
            }
            Self::HealthCheck { wanted, why } => {
                return Status::internal(format_args!(
                    "failed to allocate requested HealthCheck NodePort {wanted}: {why}"
                ));
            }
            Self::Families(errors) => return Status::invalid("", "Service", meta::name(service), &errors),
            Self::Exhausted { .. } => return Status::internal("failed to allocate a serviceIP: range is full"),
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_that_stands_twice_is_reserved_once() {
        let service = json!({"spec": {"clusterIP": "10.0.0.7", "ports": [{"nodePort": 30_001}, {"nodePort": 30_001}, {"port": 1}]}});
        let all = reserved(&service);
        assert_eq!(all, [Reserved::Ip(Ipv4Addr::new(10, 0, 0, 7)), Reserved::NodePort(30_001)]);
        assert_eq!(reserved(&json!({"spec": {"clusterIP": "None"}})), []);
    }
}
