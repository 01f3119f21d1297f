//! Addresses and node ports that were given out, under kube-apiserver's metric names
//! (`pkg/registry/core/service/{ipallocator,portallocator}/metrics.go`).
//!
//! What is taken and what is free is counted in the store when it is asked for; only what happened is kept here.

use super::cluster_ip::Failure;
use super::node_ports;
use super::reservations::{self, IP_ADDRESSES};
use super::service_cidrs::ServiceRanges;
use crate::net::Cidr;
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::net::Ipv4Addr;
use std::time::Duration;
use store::Snapshot;

/// Upper bounds of the time that an address took, in seconds: Prometheus' own.
const BOUNDS: [f64; 11] = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];
/// Ranges come and go with what users write: further ones are not counted.
const MOST: usize = 1_000;

/// Whether the Service named what it got.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Scope {
    Static,
    Dynamic,
}

impl Scope {
    fn name(self) -> &'static str {
        match self {
            Self::Static => "static",
            Self::Dynamic => "dynamic",
        }
    }
}

/// What a write gives out, to be counted once it is done.
#[derive(Clone, Debug, Default)]
pub(crate) struct Given {
    pub(super) address: Option<(Cidr, Scope, Duration)>,
    pub(super) ports: Vec<Scope>,
}

#[derive(Default)]
struct Latency {
    count: u64,
    seconds: f64,
    buckets: [u64; BOUNDS.len()],
}

#[derive(Default)]
struct Counters {
    addresses: BTreeMap<(String, Scope), u64>,
    address_errors: BTreeMap<(String, Scope), u64>,
    latency: BTreeMap<String, Latency>,
    ports: BTreeMap<Scope, u64>,
    port_errors: BTreeMap<Scope, u64>,
}

/// All counters of one server.
#[derive(Default)]
pub(crate) struct Metrics(Mutex<Counters>);

impl Metrics {
    /// Counts what a write has given out.
    pub(super) fn given(&self, given: &Given) {
        if given.address.is_none() && given.ports.is_empty() {
            return;
        }
        let mut counters = self.0.lock();
        if let Some((cidr, scope, took)) = given.address {
            add(&mut counters.addresses, cidr, scope);
            let cidr = cidr.to_string();
            if counters.latency.len() < MOST || counters.latency.contains_key(&cidr) {
                let latency = counters.latency.entry(cidr).or_default();
                let seconds = took.as_secs_f64();
                latency.count += 1;
                latency.seconds += seconds;
                if let Some(bucket) = BOUNDS.iter().position(|bound| seconds <= *bound) {
                    latency.buckets[bucket] += 1;
                }
            }
        }
        for scope in &given.ports {
            *counters.ports.entry(*scope).or_default() += 1;
        }
    }

    /// Counts what could not be given. An address that no range has is no range's error.
    pub(super) fn failed(&self, failure: &Failure) {
        let mut counters = self.0.lock();
        match failure {
            Failure::Ip { range, .. } => {
                if let Some(cidr) = range {
                    add(&mut counters.address_errors, *cidr, Scope::Static);
                }
            }
            Failure::Exhausted { ranges } => {
                for cidr in ranges {
                    add(&mut counters.address_errors, *cidr, Scope::Dynamic);
                }
            }
            Failure::NodePort { .. } | Failure::HealthCheck { .. } => {
                *counters.port_errors.entry(Scope::Static).or_default() += 1
            }
            Failure::PortsExhausted => *counters.port_errors.entry(Scope::Dynamic).or_default() += 1,
            Failure::Families(_) => {}
        }
    }

    /// Appends the series, in Prometheus' text format.
    pub(crate) fn render(&self, out: &mut String, snapshot: &Snapshot) {
        addresses(out, snapshot);
        let taken = snapshot.count(reservations::NODE_PORTS.as_bytes());
        let name = "kube_apiserver_nodeport_allocator_allocated_ports";
        head(out, name, "gauge", "Gauge measuring the number of allocated NodePorts for Services");
        let _ = writeln!(out, "{name} {taken}");
        let name = "kube_apiserver_nodeport_allocator_available_ports";
        head(out, name, "gauge", "Gauge measuring the number of available NodePorts for Services");
        let _ = writeln!(out, "{name} {}", (node_ports::SIZE as usize).saturating_sub(taken));
        let counters = self.0.lock();
        let name = "kube_apiserver_clusterip_allocator_allocation_total";
        by_range(out, name, "Number of Cluster IPs allocations", &counters.addresses);
        let name = "kube_apiserver_clusterip_allocator_allocation_errors_total";
        by_range(out, name, "Number of errors trying to allocate Cluster IPs", &counters.address_errors);
        latencies(out, &counters.latency);
        let name = "kube_apiserver_nodeport_allocator_allocation_total";
        by_scope(out, name, "Number of NodePort allocations", &counters.ports);
        let name = "kube_apiserver_nodeport_allocator_allocation_errors_total";
        by_scope(out, name, "Number of errors trying to allocate NodePort", &counters.port_errors);
    }
}

fn add(counts: &mut BTreeMap<(String, Scope), u64>, cidr: Cidr, scope: Scope) {
    let key = (cidr.to_string(), scope);
    if counts.len() < MOST || counts.contains_key(&key) {
        *counts.entry(key).or_default() += 1;
    }
}

fn head(out: &mut String, name: &str, kind: &str, help: &str) {
    let _ = writeln!(out, "# HELP {name} {help}\n# TYPE {name} {kind}");
}

/// The gauges of each range: what Services have of it, and what is left.
fn addresses(out: &mut String, snapshot: &Snapshot) {
    let ranges = ServiceRanges::of(snapshot);
    let mut taken: BTreeMap<String, (Cidr, u32)> = BTreeMap::new();
    for range in ranges.all().take(MOST) {
        taken.entry(range.cidr.to_string()).or_insert((range.cidr, 0));
    }
    for (key, entry) in snapshot.range(IP_ADDRESSES.as_bytes(), None) {
        let ip = std::str::from_utf8(&key[IP_ADDRESSES.len()..]).ok().and_then(|ip| ip.parse::<Ipv4Addr>().ok());
        let Some(ip) = ip.filter(|_| reservations::is_managed(entry)) else { continue };
        for (cidr, taken) in taken.values_mut() {
            if cidr.position(ip).is_some() {
                *taken += 1;
            }
        }
    }
    let name = "kube_apiserver_clusterip_allocator_allocated_ips";
    head(out, name, "gauge", "Gauge measuring the number of allocated IPs for Services");
    for (label, (_, taken)) in &taken {
        let _ = writeln!(out, "{name}{{cidr=\"{label}\"}} {taken}");
    }
    let name = "kube_apiserver_clusterip_allocator_available_ips";
    head(out, name, "gauge", "Gauge measuring the number of available IPs for Services");
    for (label, (cidr, taken)) in &taken {
        let _ = writeln!(out, "{name}{{cidr=\"{label}\"}} {}", cidr.usable().saturating_sub(*taken));
    }
}

fn by_range(out: &mut String, name: &str, help: &str, counts: &BTreeMap<(String, Scope), u64>) {
    head(out, name, "counter", help);
    for ((cidr, scope), count) in counts {
        let _ = writeln!(out, "{name}{{cidr=\"{cidr}\",scope=\"{}\"}} {count}", scope.name());
    }
}

fn by_scope(out: &mut String, name: &str, help: &str, counts: &BTreeMap<Scope, u64>) {
    head(out, name, "counter", help);
    for (scope, count) in counts {
        let _ = writeln!(out, "{name}{{scope=\"{}\"}} {count}", scope.name());
    }
}

fn latencies(out: &mut String, all: &BTreeMap<String, Latency>) {
    let name = "kube_apiserver_clusterip_allocator_allocation_duration_seconds";
    head(out, name, "histogram", "Duration in seconds to allocate a Cluster IP by ServiceCIDR");
    for (cidr, latency) in all {
        let mut below = 0;
        for (bound, count) in BOUNDS.iter().zip(latency.buckets) {
            below += count;
            let _ = writeln!(out, "{name}_bucket{{cidr=\"{cidr}\",le=\"{bound}\"}} {below}");
        }
        let _ = writeln!(out, "{name}_bucket{{cidr=\"{cidr}\",le=\"+Inf\"}} {}", latency.count);
        let _ = writeln!(out, "{name}_sum{{cidr=\"{cidr}\"}} {}", latency.seconds);
        let _ = writeln!(out, "{name}_count{{cidr=\"{cidr}\"}} {}", latency.count);
    }
}
