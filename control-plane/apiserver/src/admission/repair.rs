//! Services and the records of what they have, brought into agreement: after a store that an earlier version wrote,
//! objects that were restored without what belongs to them, or what users have made of `IPAddress` objects. Who is
//! concerned is told by Events, as by Kubernetes' controllers
//! (`pkg/registry/core/service/{ipallocator,portallocator}/controller`).

use super::cluster_ip::reserved;
use super::node_ports;
use super::reservations::{IP_ADDRESSES, NODE_PORTS, Owner, Reserved, is_labelled, is_managed};
use super::service_cidrs::ServiceRanges;
use crate::core::Core;
use crate::objects;
use crate::own_events::Warning;
use crate::user::APISERVER;
use api::Status;
use serde_json::Value;
use std::collections::{HashMap, HashSet};
use store::{Entry, Revision, Snapshot, Txn};

/// Records that one transaction repairs, and what is told of in one pass: etcd takes 128 operations at once.
const REPAIRS: usize = 100;

/// How often a look that came second is taken again; the next period takes another.
const ATTEMPTS: usize = 10;

const ADDRESSES: &str = "ipallocator-repair-controller";
const PORTS: &str = "portallocator-repair-controller";
const SERVICE: (&str, &str) = ("v1", "Service");
const IP_ADDRESS: (&str, &str) = ("networking.k8s.io/v1", "IPAddress");

/// Makes records for Services that have none, and removes those whose Service is gone or has something else. Returns how
/// many records were repaired.
///
/// # Errors
/// What the store says.
pub(crate) async fn repair(core: &Core) -> Result<usize, Status> {
    let mut repaired = 0;
    let mut conflicts = 0;
    let mut told = Vec::new();
    // What was taken away a moment ago is told of already when it is made again.
    let mut known = HashSet::new();
    while conflicts < ATTEMPTS {
        let snapshot = core.latest().await?;
        let Pass { txn, removed, told: found, .. } = Pass::over(core, &snapshot, &known);
        if txn.is_empty() {
            told.extend(found);
            told.truncate(REPAIRS);
            tell(core, &snapshot, &told).await?;
            return Ok(repaired);
        }
        let count = txn.ops.len();
        // A conflict is another server that repairs, or a Service that was written just now: look again.
        match core.commit(APISERVER, txn).await? {
            Ok(_) => {
                repaired += count;
                known.extend(removed);
                // What stays as it is will be found again.
                told.extend(found.into_iter().filter(|told| told.finding.is_mended));
            }
            Err(_) => conflicts += 1,
        }
    }
    Ok(repaired)
}

/// What is wrong.
struct Finding {
    reason: &'static str,
    message: String,
    /// Whether the same look mends it.
    is_mended: bool,
}

impl Finding {
    fn mended(reason: &'static str, message: String) -> Self {
        Self { reason, message, is_mended: true }
    }

    /// Of what only a user can mend.
    fn lasting(reason: &'static str, message: String) -> Self {
        Self { is_mended: false, ..Self::mended(reason, message) }
    }
}

/// Something to be told by an Event.
struct Told {
    /// The object's kind, and the object.
    kind: (&'static str, &'static str),
    object: Value,
    finding: Finding,
}

impl Told {
    /// As which controller, and about which action of it.
    fn warning(&self) -> Warning {
        let (component, action) = match self.finding.reason {
            reason if reason.starts_with("Port") => (PORTS, None),
            reason if reason.starts_with("ClusterIP") => (ADDRESSES, Some("ClusterIPAllocation")),
            _ => (ADDRESSES, Some("IPAddressAllocation")),
        };
        Warning { component, reason: self.finding.reason, action, message: self.finding.message.clone() }
    }
}

/// Writes the Events. Who comes first of several servers tells it.
async fn tell(core: &Core, snapshot: &Snapshot, all: &[Told]) -> Result<(), Status> {
    let join = |txn, told: &Told| told.warning().join(core, snapshot, txn, told.kind, &told.object);
    let txn = all.iter().fold(Txn::new(), join);
    if !txn.is_empty() {
        let _ = core.commit(APISERVER, txn).await?;
    }
    Ok(())
}

/// How a Service's record is.
enum Record<'a> {
    /// It says so.
    Good,
    Missing,
    /// It is of something else, or of a Service that is gone.
    Wrong(Revision),
    /// It is the Service's own, but for its labels.
    Unlabelled(Revision),
    /// Another Service, which exists, does not have what its record says.
    Stale(&'a Entry, Owner),
    /// Another Service has the same, and the record.
    Anothers,
}

/// One look at everything: what to do about it, and what to say.
struct Pass<'a> {
    core: &'a Core,
    snapshot: &'a Snapshot,
    /// What each Service has.
    services: HashMap<Owner, Vec<Reserved>>,
    known: &'a HashSet<Reserved>,
    txn: Txn,
    removed: Vec<Reserved>,
    told: Vec<Told>,
}

impl<'a> Pass<'a> {
    fn over(core: &'a Core, snapshot: &'a Snapshot, known: &'a HashSet<Reserved>) -> Self {
        let prefix = objects::prefix(&core.builtin("", "v1", "services"), "");
        let (mut services, mut all) = (HashMap::new(), Vec::new());
        for (key, entry) in snapshot.range(&prefix, None) {
            let Some(service) = parsed(entry) else { continue };
            let (owner, has) = (Owner::of(&service), reserved(&service));
            all.push((key, entry, owner.clone(), has.clone()));
            services.insert(owner, has);
        }
        let mut pass = Self { core, snapshot, services, known, txn: Txn::new(), removed: Vec::new(), told: Vec::new() };
        let ranges = ServiceRanges::of(snapshot);
        for (key, entry, owner, has) in all {
            for reserved in has {
                let found = pass.mend(reserved, (key, entry.mod_revision), &owner);
                // A record is kept of what is in no range, too: nobody else shall get it.
                if let Some(finding) = outside(&ranges, reserved).or(found) {
                    pass.tell(SERVICE, entry, finding);
                }
            }
        }
        pass.look_at_records();
        pass
    }

    /// Makes the record of what a Service has as it should be, or takes it away, so that the next look finds it missing.
    fn mend(&mut self, reserved: Reserved, at: (&[u8], Revision), owner: &Owner) -> Option<Finding> {
        let key = reserved.key();
        match self.record(reserved, owner) {
            Record::Good => None,
            Record::Anothers => Some(again_allocated(reserved)),
            Record::Missing if !self.has_room() => None,
            Record::Missing => {
                let txn = require_once(std::mem::take(&mut self.txn), at);
                self.txn = txn.require(&key, 0).put(&key, reserved.record(self.core, owner));
                (!self.known.contains(&reserved)).then(|| not_allocated(reserved))
            }
            Record::Wrong(revision) if self.remove(&key, revision) => {
                self.removed.push(reserved);
                Some(match reserved {
                    Reserved::NodePort(_) => not_allocated(reserved),
                    Reserved::Ip(ip) => {
                        let text = format!("{ip} for Service {owner} has a wrong reference; repairing");
                        Finding::mended("ClusterIPNotAllocated", format!("the ClusterIP [IPv4]: {text}"))
                    }
                })
            }
            Record::Unlabelled(revision) if self.remove(&key, revision) => {
                self.removed.push(reserved);
                None
            }
            Record::Stale(entry, other) if self.remove(&key, entry.mod_revision) => {
                if matches!(reserved, Reserved::Ip(_)) {
                    self.tell(IP_ADDRESS, entry, wrong_reference(reserved, &other));
                }
                None
            }
            // No room: the next look finds it again.
            Record::Wrong(_) | Record::Unlabelled(_) | Record::Stale(..) => None,
        }
    }

    fn record(&self, reserved: Reserved, owner: &Owner) -> Record<'a> {
        let snapshot: &'a Snapshot = self.snapshot;
        let Some(entry) = snapshot.get(&reserved.key()) else { return Record::Missing };
        let revision = entry.mod_revision;
        let Some(other) = reserved.owner(entry) else { return Record::Wrong(revision) };
        if other == *owner {
            let is_good = matches!(reserved, Reserved::NodePort(_)) || is_labelled(entry);
            return if is_good { Record::Good } else { Record::Unlabelled(revision) };
        }
        match self.services.get(&other) {
            None => Record::Wrong(revision),
            Some(has) if has.contains(&reserved) => Record::Anothers,
            Some(_) => Record::Stale(entry, other),
        }
    }

    /// Removes the records of what no Service has.
    fn look_at_records(&mut self) {
        let taken: HashSet<Reserved> = self.services.values().flatten().copied().collect();
        for (key, entry) in self.snapshot.range(IP_ADDRESSES.as_bytes(), None) {
            let Some(ip) = text_after(key, IP_ADDRESSES).and_then(|ip| ip.parse().ok()) else { continue };
            let reserved = Reserved::Ip(ip);
            if taken.contains(&reserved) || !is_managed(entry) || !self.remove(key, entry.mod_revision) {
                continue;
            }
            let finding = match reserved.owner(entry) {
                None => {
                    let reference = reference(entry);
                    let text = format!("not referencing a Service {reference}: cleaning up");
                    let message = format!("IPAddress {ip} appears to have been modified, {text}");
                    Finding::mended("IPAddressNotAllocated", message)
                }
                Some(owner) if self.services.contains_key(&owner) => wrong_reference(reserved, &owner),
                Some(owner) => {
                    let message = format!("IPAddress: {ip} for Service {owner} appears to have leaked: cleaning up");
                    Finding::mended("IPAddressNotAllocated", message)
                }
            };
            self.tell(IP_ADDRESS, entry, finding);
        }
        for (key, entry) in self.snapshot.range(NODE_PORTS.as_bytes(), None) {
            let port = text_after(key, NODE_PORTS).and_then(|port| port.parse().ok());
            if !port.is_some_and(|port| taken.contains(&Reserved::NodePort(port))) {
                self.remove(key, entry.mod_revision);
            }
        }
    }

    fn has_room(&self) -> bool {
        self.txn.ops.len() < REPAIRS
    }

    /// Whether there was room for it.
    fn remove(&mut self, key: &[u8], revision: Revision) -> bool {
        let has_room = self.has_room();
        if has_room {
            self.txn = std::mem::take(&mut self.txn).require(key, revision).delete(key);
        }
        has_room
    }

    fn tell(&mut self, kind: (&'static str, &'static str), about: &Entry, finding: Finding) {
        if let Some(object) = parsed(about).filter(|_| self.told.len() < REPAIRS) {
            self.told.push(Told { kind, object, finding });
        }
    }
}

fn outside(ranges: &ServiceRanges, reserved: Reserved) -> Option<Finding> {
    match reserved {
        Reserved::Ip(ip) => (!ranges.contain(ip)).then(|| {
            let text = "is not within any configured Service CIDR; please recreate service";
            Finding::lasting("ClusterIPOutOfRange", format!("Cluster IP [IPv4]: {ip} {text}"))
        }),
        Reserved::NodePort(port) => (!node_ports::contain(port)).then(|| {
            let text = format!("is not within the port range {}; please recreate service", node_ports::shown());
            Finding::lasting("PortOutOfRange", format!("Port {port} {text}"))
        }),
    }
}

fn not_allocated(reserved: Reserved) -> Finding {
    match reserved {
        Reserved::Ip(ip) => {
            Finding::mended("ClusterIPNotAllocated", format!("Cluster IP [IPv4]: {ip} is not allocated; repairing"))
        }
        Reserved::NodePort(port) => {
            Finding::mended("PortNotAllocated", format!("Port {port} is not allocated; repairing"))
        }
    }
}

fn again_allocated(reserved: Reserved) -> Finding {
    let text = "was assigned to multiple services; please recreate service";
    match reserved {
        Reserved::Ip(ip) => Finding::lasting("ClusterIPAlreadyAllocated", format!("Cluster IP [IPv4]:{ip} {text}")),
        Reserved::NodePort(port) => Finding::lasting("PortAlreadyAllocated", format!("Port {port} {text}")),
    }
}

fn wrong_reference(reserved: Reserved, owner: &Owner) -> Finding {
    let name = match reserved {
        Reserved::Ip(ip) => ip.to_string(),
        Reserved::NodePort(port) => port.to_string(),
    };
    let message = format!("IPAddress: {name} for Service {owner} has a wrong reference; cleaning up");
    Finding::mended("IPAddressWrongReference", message)
}

/// What an address refers to, as Kubernetes shows it.
fn reference(address: &Entry) -> String {
    let parent = parsed(address).and_then(|address| address.pointer("/spec/parentRef").cloned()).unwrap_or_default();
    let text = |field: &str| parent.get(field).and_then(Value::as_str).unwrap_or_default().to_owned();
    let (group, resource) = (text("group"), text("resource"));
    let (namespace, name) = (text("namespace"), text("name"));
    format!("&ParentReference{{Group:{group},Resource:{resource},Namespace:{namespace},Name:{name},}}")
}

fn parsed(entry: &Entry) -> Option<Value> {
    serde_json::from_slice(&entry.value.body).ok()
}

fn text_after<'k>(key: &'k [u8], prefix: &str) -> Option<&'k str> {
    std::str::from_utf8(&key[prefix.len()..]).ok()
}

/// That a Service is still what its record is made for.
fn require_once(txn: Txn, (key, revision): (&[u8], Revision)) -> Txn {
    if txn.compare.iter().any(|compare| &*compare.key == key) { txn } else { txn.require(key, revision) }
}
