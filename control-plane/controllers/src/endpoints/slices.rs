//! How endpoints are spread over EndpointSlices: at most 100 each, changed as little as possible. Pure.

use super::plan::{Family, Groups, Port, is_headless, target};
use crate::k8s::api::core::v1::Service;
use crate::k8s::api::discovery::v1::{Endpoint, EndpointSlice};
use crate::k8s::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use crate::owners::controller_ref;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

/// Endpoints in one slice (`--max-endpoints-per-slice`).
const MOST: usize = 100;
pub const SERVICE_NAME: &str = "kubernetes.io/service-name";
pub const MANAGED_BY: &str = "endpointslice.kubernetes.io/managed-by";
pub const MANAGER: &str = "endpointslice-controller.k8s.io";
pub const HEADLESS: &str = "service.kubernetes.io/headless";

#[derive(Debug)]
pub enum Write {
    Create(EndpointSlice),
    /// What is stored, and what it should be.
    Update(Arc<EndpointSlice>, EndpointSlice),
    Delete(Arc<EndpointSlice>),
}

/// The writes that turn `stored` (our slices of this family) into slices of `groups`.
pub fn spread(service: &Service, family: Family, mut groups: Groups, stored: &[Arc<EndpointSlice>]) -> Vec<Write> {
    let mut by_ports: HashMap<Vec<Port>, Vec<&Arc<EndpointSlice>>> = HashMap::new();
    if groups.is_empty() {
        // A Service without endpoints has one empty slice, so that clients see that it was looked at.
        groups.insert(Vec::new(), Vec::new());
    }
    let mut writes = Vec::new();
    for slice in stored {
        by_ports.entry(ports_of(slice)).or_default().push(slice);
    }
    for (ports, endpoints) in groups {
        let slices = by_ports.remove(&ports).unwrap_or_default();
        spread_group(service, family, &ports, endpoints, &slices, &mut writes);
    }
    writes.extend(by_ports.into_values().flatten().map(|slice| Write::Delete(Arc::clone(slice))));
    writes
}

fn ports_of(slice: &EndpointSlice) -> Vec<Port> {
    let mut ports: Vec<_> = slice
        .ports
        .iter()
        .flatten()
        .map(|port| Port {
            name: port.name.clone().unwrap_or_default(),
            port: port.port.unwrap_or(0),
            protocol: port.protocol.clone().unwrap_or_else(|| "TCP".into()),
            app_protocol: port.app_protocol.clone(),
        })
        .collect();
    ports.sort();
    ports
}

fn spread_group(
    service: &Service,
    family: Family,
    ports: &[Port],
    endpoints: Vec<Endpoint>,
    stored: &[&Arc<EndpointSlice>],
    writes: &mut Vec<Write>,
) {
    if endpoints.is_empty() {
        return keep_one_empty(service, family, stored, writes);
    }
    let mut wanted: BTreeMap<String, Endpoint> = endpoints.into_iter().map(|e| (target(&e).to_owned(), e)).collect();
    // What is in a slice stays there.
    let mut kept: Vec<Vec<Endpoint>> = stored
        .iter()
        .map(|slice| slice.endpoints.iter().flatten().filter_map(|e| wanted.remove(target(e))).collect())
        .collect();
    // The new ones go where a write is due anyhow, then where there is room, then into new slices.
    let changed = |at: usize, kept: &[Endpoint]| stored[at].endpoints.as_deref().unwrap_or_default() != kept;
    let mut order: Vec<usize> = (0..kept.len()).filter(|at| kept[*at].len() < MOST).collect();
    order.sort_by_key(|at| (!changed(*at, &kept[*at]), std::cmp::Reverse(kept[*at].len())));
    let mut rest = wanted.into_values();
    for at in order {
        let room = MOST - kept[at].len();
        kept[at].extend(rest.by_ref().take(room));
    }
    for (slice, endpoints) in stored.iter().zip(kept) {
        if endpoints.is_empty() {
            writes.push(Write::Delete(Arc::clone(slice)));
            continue;
        }
        let mut next = slice.as_ref().clone();
        next.endpoints = Some(endpoints);
        next.metadata.labels = Some(labels(service));
        if next != ***slice {
            writes.push(Write::Update(Arc::clone(slice), next));
        }
    }
    loop {
        let endpoints: Vec<_> = rest.by_ref().take(MOST).collect();
        if endpoints.is_empty() {
            return;
        }
        writes.push(Write::Create(fresh(service, family, ports, endpoints)));
    }
}

fn keep_one_empty(service: &Service, family: Family, stored: &[&Arc<EndpointSlice>], writes: &mut Vec<Write>) {
    let Some((first, rest)) = stored.split_first() else {
        return writes.push(Write::Create(fresh(service, family, &[], Vec::new())));
    };
    let mut next = first.as_ref().clone();
    next.metadata.labels = Some(labels(service));
    if next.endpoints.as_ref().is_some_and(|endpoints| !endpoints.is_empty()) {
        next.endpoints = Some(Vec::new());
    }
    if next != ***first {
        writes.push(Write::Update(Arc::clone(first), next));
    }
    writes.extend(rest.iter().map(|slice| Write::Delete(Arc::clone(slice))));
}

fn labels(service: &Service) -> BTreeMap<String, String> {
    let mut labels = service.metadata.labels.clone().unwrap_or_default();
    labels.insert(SERVICE_NAME.into(), service.metadata.name.clone().unwrap_or_default());
    labels.insert(MANAGED_BY.into(), MANAGER.into());
    if is_headless(service) {
        labels.insert(HEADLESS.into(), String::new());
    } else {
        labels.remove(HEADLESS);
    }
    labels
}

fn fresh(service: &Service, family: Family, ports: &[Port], endpoints: Vec<Endpoint>) -> EndpointSlice {
    let name = service.metadata.name.as_deref().unwrap_or_default();
    EndpointSlice {
        metadata: ObjectMeta {
            generate_name: Some(format!("{name}-")),
            namespace: service.metadata.namespace.clone(),
            labels: Some(labels(service)),
            owner_references: Some(vec![controller_ref(service)]),
            ..ObjectMeta::default()
        },
        address_type: family.name().into(),
        ports: Some(ports.iter().map(Port::slice_port).collect()),
        endpoints: Some(endpoints),
    }
}
