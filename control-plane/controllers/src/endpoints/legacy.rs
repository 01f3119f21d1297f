//! The Endpoints object of a Service, for clients that do not know EndpointSlices. Pure.

use super::plan::{Family, Port, families, hostname, is_headless, ports, reference};
use super::slices::HEADLESS;
use crate::k8s::api::core::v1::{EndpointAddress, EndpointPort, EndpointSubset, Endpoints, Pod, Service};
use crate::k8s::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use crate::pods;
use std::collections::BTreeMap;
use std::sync::Arc;

/// More addresses are cut off, and an annotation says so.
const MOST: usize = 1000;
const OVER_CAPACITY: &str = "endpoints.kubernetes.io/over-capacity";
const MANAGED_BY: &str = "endpoints.kubernetes.io/managed-by";

pub fn endpoints(service: &Service, pods: &[Arc<Pod>]) -> Endpoints {
    let family = families(service).first().copied().unwrap_or(Family::V4);
    let publish = service.spec.as_ref().and_then(|s| s.publish_not_ready_addresses).unwrap_or(false);
    let mut groups: BTreeMap<Vec<Port>, (Vec<EndpointAddress>, Vec<EndpointAddress>)> = BTreeMap::new();
    let mut total = 0;
    let mut pods: Vec<_> = pods.iter().filter(|pod| !pods::is_terminal(pod)).collect();
    pods.sort_by_key(|pod| (!pods::is_ready(pod), pods::name(pod).to_owned()));
    for pod in pods {
        if pods::is_terminating(pod) && !publish {
            continue;
        }
        let Some(address) = address(service, pod, family) else { continue };
        total += 1;
        if total > MOST {
            continue;
        }
        let (ready, not_ready) = groups.entry(ports(service, pod)).or_default();
        if publish || pods::is_ready(pod) {
            ready.push(address);
        } else {
            not_ready.push(address);
        }
    }
    let subsets: Vec<_> =
        groups.into_iter().map(|(ports, (ready, not_ready))| subset(&ports, ready, not_ready)).collect();
    Endpoints { metadata: metadata(service, total), subsets: (!subsets.is_empty()).then_some(subsets) }
}

fn metadata(service: &Service, total: usize) -> ObjectMeta {
    let mut labels = service.metadata.labels.clone().unwrap_or_default();
    labels.insert(MANAGED_BY.into(), "endpoint-controller".into());
    if is_headless(service) {
        labels.insert(HEADLESS.into(), String::new());
    }
    let truncated = (total > MOST).then(|| BTreeMap::from([(OVER_CAPACITY.to_owned(), "truncated".to_owned())]));
    ObjectMeta {
        name: service.metadata.name.clone(),
        namespace: service.metadata.namespace.clone(),
        labels: Some(labels),
        annotations: truncated,
        ..ObjectMeta::default()
    }
}

fn address(service: &Service, pod: &Pod, family: Family) -> Option<EndpointAddress> {
    let ip = pod.status.as_ref()?.pod_ip.clone().filter(|ip| !ip.is_empty())?;
    let is_v6 = ip.contains(':');
    if is_v6 != (family == Family::V6) {
        return None;
    }
    Some(EndpointAddress {
        ip,
        hostname: hostname(service, pod),
        node_name: Some(pods::node(pod).to_owned()).filter(|name| !name.is_empty()),
        target_ref: Some(reference(pod)),
    })
}

fn subset(ports: &[Port], ready: Vec<EndpointAddress>, not_ready: Vec<EndpointAddress>) -> EndpointSubset {
    let port = |port: &Port| EndpointPort {
        name: Some(port.name.clone()).filter(|name| !name.is_empty()),
        port: port.port,
        protocol: Some(port.protocol.clone()),
        app_protocol: port.app_protocol.clone(),
    };
    EndpointSubset {
        addresses: (!ready.is_empty()).then_some(ready),
        not_ready_addresses: (!not_ready.is_empty()).then_some(not_ready),
        ports: (!ports.is_empty()).then(|| ports.iter().map(port).collect()),
    }
}

/// The label of Endpoints that we made.
pub fn managed_by() -> &'static str {
    MANAGED_BY
}

/// Puts our one annotation to what it should be and leaves the others alone.
pub fn annotate(meta: &mut ObjectMeta, ours: Option<BTreeMap<String, String>>) {
    if let Some(annotations) = meta.annotations.as_mut() {
        annotations.remove(OVER_CAPACITY);
    }
    if let Some(ours) = ours {
        meta.annotations.get_or_insert_default().extend(ours);
    }
}
