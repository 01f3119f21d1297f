//! Ranges of Services' addresses that users add (ServiceCIDRs), among all that use this host's loopback addresses: they are
//! claimed as those of the flags are, and who adds one that collides is told by an Event.
//!
//! The process that has the control plane claims, for its host. `skiff node` claims nothing, neither these ranges nor those
//! of its flags: a claim says that somebody has a range, not whose cluster it is, and on one host the server and all nodes
//! of a cluster share its ranges, so each would be told of the others as of strangers. For the same reason servers without
//! nodes that share a store claim nothing. On such a host two clusters with the same range are noticed where they meet: who
//! listens second on a Service's address and port cannot, and writes the Event `FailedToListen` about that Service.

use agent::network::{Cidr, Claim};
use futures::StreamExt as _;
use kube::api::PostParams;
use kube::runtime::{WatchStreamExt as _, watcher};
use kube::{Api, Client, ResourceExt as _};
use scheduler::api::k8s_openapi::api::core::v1::{Event, EventSource, ObjectReference};
use scheduler::api::k8s_openapi::api::networking::v1::ServiceCIDR;
use scheduler::api::k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};
use scheduler::api::k8s_openapi::jiff::Timestamp;
use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;

/// What is claimed at once: wide ranges are claimed block by block.
const BLOCK: u8 = 16;
const COMPONENT: &str = "skiff";

/// The ranges that the flags name.
#[derive(Clone, Copy)]
pub(super) struct Own {
    pub pods: Cidr,
    pub services: Cidr,
}

/// Why a range is none to use on this host.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord, Clone)]
enum Trouble {
    Pods(Cidr),
    Taken(Cidr),
}

impl Trouble {
    fn reason(&self) -> &'static str {
        match self {
            Self::Pods(_) => "OverlapsClusterCIDR",
            Self::Taken(_) => "AddressRangeInUse",
        }
    }

    fn message(&self) -> String {
        match self {
            Self::Pods(pods) => {
                format!("the range overlaps --cluster-cidr {pods}: a Service may get an address that is a pod's")
            }
            Self::Taken(range) => format!(
                "another process on this host uses the address range {range}: both may give out the same addresses, and \
                 processes of this host then reach whichever listens first"
            ),
        }
    }
}

/// Claims what the ServiceCIDRs say, as long as they say so. Never returns.
pub(super) async fn follow(client: Client, own: Own) {
    let api: Api<ServiceCIDR> = Api::all(client.clone());
    let mut events = watcher(api, watcher::Config::default()).default_backoff().boxed();
    let mut known: BTreeMap<String, ServiceCIDR> = BTreeMap::new();
    let mut listing = BTreeMap::new();
    let mut claims = Claims { own, held: BTreeMap::new() };
    let mut told = BTreeSet::new();
    while let Some(event) = events.next().await {
        match event {
            Ok(watcher::Event::Init) => listing.clear(),
            Ok(watcher::Event::InitApply(cidr)) => _ = listing.insert(cidr.name_any(), cidr),
            Ok(watcher::Event::InitDone) => {
                known = std::mem::take(&mut listing);
                claims.align(&client, &known, &mut told).await;
            }
            Ok(watcher::Event::Apply(cidr)) => {
                let ranges = |cidr: &ServiceCIDR| loopback(cidr).collect::<Vec<_>>();
                let old = known.insert(cidr.name_any(), cidr.clone());
                if old.is_none_or(|old| ranges(&old) != ranges(&cidr)) {
                    claims.align(&client, &known, &mut told).await;
                }
            }
            Ok(watcher::Event::Delete(cidr)) => {
                known.remove(&cidr.name_any());
                claims.align(&client, &known, &mut told).await;
            }
            Err(error) => tracing::debug!(%error, "the watch of ServiceCIDRs failed; it is retried"),
        }
    }
}

/// The loopback ranges of a ServiceCIDR: others are not this host's to share.
fn loopback(cidr: &ServiceCIDR) -> impl Iterator<Item = Cidr> {
    let cidrs = cidr.spec.as_ref().and_then(|spec| spec.cidrs.as_ref()).into_iter().flatten();
    let host = Cidr::new(Ipv4Addr::LOCALHOST, 8);
    cidrs.filter_map(|cidr| cidr.parse().ok()).filter(move |range| contains(host, *range))
}

fn contains(outer: Cidr, inner: Cidr) -> bool {
    outer.prefix() <= inner.prefix() && outer.contains(inner.first())
}

struct Claims {
    own: Own,
    held: BTreeMap<Cidr, Claim>,
}

impl Claims {
    /// Lets go of what nobody wants any more, takes what is new, and tells of what cannot be had.
    async fn align(
        &mut self,
        client: &Client,
        known: &BTreeMap<String, ServiceCIDR>,
        told: &mut BTreeSet<(String, Trouble)>,
    ) {
        let wanted: BTreeSet<Cidr> = known.values().flat_map(loopback).flat_map(|range| self.parts(range)).collect();
        self.held.retain(|part, _| wanted.contains(part));
        for cidr in known.values() {
            for trouble in self.take(cidr, &wanted) {
                let uid = cidr.uid().unwrap_or_default();
                if told.insert((uid, trouble.clone())) {
                    tell(client, cidr, &trouble).await;
                }
            }
        }
    }

    /// What is to be claimed for a range: not what is ours by the flags.
    fn parts(&self, range: Cidr) -> Vec<Cidr> {
        let all: Vec<Cidr> =
            if range.prefix() <= BLOCK { range.subranges(BLOCK).collect() } else { Vec::from([range]) };
        let ours = |part: &Cidr| contains(self.own.services, *part) || contains(self.own.pods, *part);
        all.into_iter().filter(|part| !ours(part)).collect()
    }

    fn take(&mut self, cidr: &ServiceCIDR, wanted: &BTreeSet<Cidr>) -> Vec<Trouble> {
        let mut troubles = Vec::new();
        for range in loopback(cidr) {
            if range.overlaps(self.own.pods) {
                troubles.push(Trouble::Pods(self.own.pods));
            }
            for part in self.parts(range) {
                let around = Cidr::new(part.first(), BLOCK);
                let covered = part.prefix() > BLOCK && wanted.contains(&around);
                if covered || self.held.contains_key(&part) {
                    continue;
                }
                match Claim::exactly(part) {
                    Ok(claim) => _ = self.held.insert(part, claim),
                    // One Event tells enough.
                    Err(_) if matches!(troubles.last(), Some(Trouble::Taken(_))) => {}
                    Err(_) => troubles.push(Trouble::Taken(range)),
                }
            }
        }
        troubles
    }
}

async fn tell(client: &Client, cidr: &ServiceCIDR, trouble: &Trouble) {
    tracing::warn!(servicecidr = cidr.name_any(), "{}", trouble.message());
    let now = Time(Timestamp::now());
    let name = format!("{}.{:x}", cidr.name_any(), now.0.as_nanosecond());
    let event = Event {
        metadata: ObjectMeta { name: Some(name), ..ObjectMeta::default() },
        involved_object: ObjectReference {
            api_version: Some("networking.k8s.io/v1".into()),
            kind: Some("ServiceCIDR".into()),
            name: cidr.metadata.name.clone(),
            uid: cidr.metadata.uid.clone(),
            ..ObjectReference::default()
        },
        type_: Some("Warning".into()),
        reason: Some(trouble.reason().into()),
        message: Some(trouble.message()),
        source: Some(EventSource { component: Some(COMPONENT.into()), host: None }),
        reporting_component: Some(COMPONENT.into()),
        count: Some(1),
        first_timestamp: Some(now.clone()),
        last_timestamp: Some(now),
        ..Event::default()
    };
    let api: Api<Event> = Api::namespaced(client.clone(), "default");
    if let Err(error) = api.create(&PostParams::default(), &event).await {
        tracing::debug!(%error, "an event was not written");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cidr(name: &str, range: &str) -> (String, ServiceCIDR) {
        let mut cidr = ServiceCIDR::default();
        cidr.metadata.name = Some(name.into());
        cidr.spec.get_or_insert_default().cidrs = Some(vec![range.into()]);
        (name.into(), cidr)
    }

    fn claims() -> Claims {
        let own = Own { pods: "127.228.0.0/16".parse().unwrap(), services: "127.229.0.0/16".parse().unwrap() };
        Claims { own, held: BTreeMap::new() }
    }

    /// What cannot be had of these, each taken after the other.
    fn troubles(claims: &mut Claims, ranges: &[&str]) -> Vec<Trouble> {
        let known: Vec<ServiceCIDR> = ranges.iter().map(|range| cidr("a", range).1).collect();
        let wanted = known.iter().flat_map(loopback).flat_map(|range| claims.parts(range)).collect();
        known.iter().flat_map(|cidr| claims.take(cidr, &wanted)).collect()
    }

    // 127.228.0.0/14: outside the default ranges and those of other tests.
    #[test]
    fn ranges_inside_each_other_or_our_own_are_no_collision() {
        let mut claims = claims();
        let ranges = ["127.230.5.0/24", "127.230.0.0/16", "127.230.5.0/24", "127.229.7.0/24", "203.0.113.0/24"];
        assert_eq!(troubles(&mut claims, &ranges), []);
        assert_eq!(claims.held.keys().map(ToString::to_string).collect::<Vec<_>>(), ["127.230.0.0/16"]);
    }

    #[test]
    fn what_is_anothers_or_the_pods_is_told() {
        let (mut first, mut second) = (claims(), claims());
        assert_eq!(troubles(&mut first, &["127.231.0.0/16"]), []);
        let range = "127.231.0.0/16".parse().unwrap();
        assert_eq!(troubles(&mut second, &["127.231.0.0/16"]), [Trouble::Taken(range)]);
        let inner = "127.231.9.0/24".parse().unwrap();
        assert_eq!(troubles(&mut second, &["127.231.9.0/24"]), [Trouble::Taken(inner)]);
        let pods = "127.228.0.0/16".parse().unwrap();
        assert_eq!(troubles(&mut second, &["127.228.1.0/24"]), [Trouble::Pods(pods)]);
    }
}
