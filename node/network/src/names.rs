//! Names, as a pod's resolver in Kubernetes sees them: the search path `NAMESPACE.svc.DOMAIN svc.DOMAIN DOMAIN`, and
//! the records of the DNS-based service discovery specification (A records only).

use std::io;
use std::net::{IpAddr, Ipv4Addr};

use crate::service::ServiceAddress;
use crate::table::{Route, Table};

/// The longest name looked at, in bytes (RFC 1035).
const MAX_NAME: usize = 255;

/// Why a name has no addresses.
#[derive(Debug, thiserror::Error)]
pub enum ResolveError {
    /// NXDOMAIN, or a Service without an address to give.
    #[error("no such host: {0:?}")]
    NotFound(String),
    #[error("invalid host name {0:?}")]
    Invalid(String),
    #[error("names outside the cluster are not allowed: {0:?}")]
    NotAllowed(String),
    #[error("looking up {name:?} failed")]
    Failed {
        name: String,
        #[source]
        source: io::Error,
    },
}

/// What the table knows of a name.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Lookup {
    Addresses(Vec<IpAddr>),
    /// An ExternalName Service: look for this instead.
    Alias(String),
    /// It belongs to the cluster's domain, and does not exist.
    NotFound,
    /// Not the cluster's business.
    External(String),
}

/// Looks `name` up as a pod in `namespace` would.
pub(crate) fn lookup(table: &Table, domain: &str, namespace: &str, name: &str) -> Result<Lookup, ResolveError> {
    if let Ok(address) = name.trim_start_matches('[').trim_end_matches(']').parse() {
        return Ok(Lookup::Addresses(vec![address]));
    }
    let lower = name.to_ascii_lowercase();
    let absolute = lower.strip_suffix('.');
    let bare = absolute.unwrap_or(&lower);
    if bare.is_empty() || bare.len() > MAX_NAME || bare.split('.').any(|label| label.is_empty() || label.len() > 63) {
        return Err(ResolveError::Invalid(name.to_owned()));
    }
    if absolute.is_none() {
        for suffix in [format!("{namespace}.svc"), "svc".to_owned(), String::new()] {
            let labels: Vec<&str> =
                bare.split('.').chain(suffix.split('.')).filter(|label| !label.is_empty()).collect();
            if let Some(found) = record(table, &labels) {
                return Ok(found);
            }
        }
    }
    let Some(inside) = bare.strip_suffix(domain).and_then(|rest| rest.strip_suffix('.')) else {
        return Ok(if bare == domain { Lookup::NotFound } else { Lookup::External(bare.to_owned()) });
    };
    let labels: Vec<&str> = inside.split('.').collect();
    Ok(record(table, &labels).unwrap_or(Lookup::NotFound))
}

/// The record at `labels` below the cluster's domain.
fn record(table: &Table, labels: &[&str]) -> Option<Lookup> {
    let addresses = match labels {
        [service, namespace, "svc"] => return service_record(table.by_key(namespace, service)?),
        [host, service, namespace, "svc"] => {
            let route = table.by_key(namespace, service)?;
            let named = route.hosts.iter().filter(|(address, hostname)| match hostname {
                Some(hostname) => hostname == host,
                None => dashed(*address) == *host,
            });
            named.map(|(address, _)| *address).collect::<Vec<Ipv4Addr>>()
        }
        [pod, _namespace, "pod"] => vec![pod.replace('-', ".").parse().ok()?],
        _ => return None,
    };
    (!addresses.is_empty()).then(|| Lookup::Addresses(addresses.into_iter().map(IpAddr::V4).collect()))
}

fn service_record(route: &Route) -> Option<Lookup> {
    match &route.address {
        ServiceAddress::ClusterIp(address) => Some(Lookup::Addresses(vec![IpAddr::V4(*address)])),
        ServiceAddress::ExternalName(alias) => Some(Lookup::Alias(alias.clone())),
        ServiceAddress::Headless => {
            let mut addresses: Vec<IpAddr> = route.hosts.iter().map(|(address, _)| IpAddr::V4(*address)).collect();
            addresses.dedup();
            (!addresses.is_empty()).then_some(Lookup::Addresses(addresses))
        }
    }
}

fn dashed(address: Ipv4Addr) -> String {
    address.to_string().replace('.', "-")
}

#[cfg(test)]
#[path = "names_tests.rs"]
mod tests;
