//! The ranges that Services' addresses come from (ServiceCIDRs), as the network needs them; and Events about addresses that
//! this host cannot listen on, as those of a range that is not on loopback.

use std::collections::HashMap;

use api::k8s_openapi::api::core::v1::{ObjectReference, Service};
use api::k8s_openapi::api::networking::v1::ServiceCIDR;
use futures::StreamExt;
use kube::api::ListParams;
use kube::runtime::watcher::Event;
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Api, Client, ResourceExt};
use network::{Cidr, ListenFailure, Network};
use tokio::sync::broadcast::error::RecvError;
use tokio_util::sync::CancellationToken;

use crate::clock::Clock;
use crate::events::{EventType, Recorder};

/// As whom it is told, and what.
const COMPONENT: &str = "kube-proxy";
const REASON: &str = "FailedToListen";

/// Keeps the network's ranges as the ServiceCIDRs say. Never returns.
pub(crate) async fn follow(client: &Client, network: &Network) {
    let api: Api<ServiceCIDR> = Api::all(client.clone());
    let mut events = watcher(api, watcher::Config::default()).default_backoff().boxed();
    let mut known: HashMap<String, Vec<Cidr>> = HashMap::new();
    let mut listing = HashMap::new();
    while let Some(event) = events.next().await {
        match event {
            Ok(Event::Init) => {
                listing.clear();
                continue;
            }
            Ok(Event::InitApply(cidr)) => {
                listing.insert(cidr.name_any(), ranges(&cidr));
                continue;
            }
            Ok(Event::InitDone) => known = std::mem::take(&mut listing),
            Ok(Event::Apply(cidr)) => _ = known.insert(cidr.name_any(), ranges(&cidr)),
            Ok(Event::Delete(cidr)) => _ = known.remove(&cidr.name_any()),
            Err(error) => {
                // Only what is in no Service depends on it.
                tracing::debug!(%error, "the watch of ServiceCIDRs failed; it is retried");
                continue;
            }
        }
        network.set_service_ranges(known.values().flatten().copied().collect());
    }
}

/// The IPv4 ranges: pods have no other addresses.
fn ranges(cidr: &ServiceCIDR) -> Vec<Cidr> {
    let cidrs = cidr.spec.as_ref().and_then(|spec| spec.cidrs.as_ref()).into_iter().flatten();
    cidrs.filter_map(|cidr| cidr.parse().ok()).collect()
}

/// Writes an Event about each Service with an address that host processes cannot reach, until cancelled.
pub(crate) async fn tell_of_failures(client: &Client, network: &Network, stop: CancellationToken) {
    let mut failures = network.listen_failures();
    let (recorder, sink) = Recorder::of(COMPONENT);
    let telling = async {
        loop {
            match failures.recv().await {
                Ok(failure) => tell(client, &recorder, failure).await,
                Err(RecvError::Lagged(lost)) => tracing::debug!(lost, "failures to listen were not told of"),
                Err(RecvError::Closed) => return,
            }
        }
    };
    tokio::join!(telling, sink.run(client.clone(), String::new(), Clock::default(), stop));
}

async fn tell(client: &Client, recorder: &Recorder, failure: ListenFailure) {
    let services: Api<Service> = Api::namespaced(client.clone(), &failure.service.namespace);
    // By list: that is what a proxy may do.
    let named = ListParams::default().fields(&format!("metadata.name={}", failure.service.name));
    let service = match services.list(&named).await {
        Ok(found) => found.items.into_iter().next(),
        Err(error) => return tracing::debug!(%error, service = ?failure.service, "a failure to listen was not told of"),
    };
    // Gone meanwhile.
    let Some(service) = service else { return };
    let about = ObjectReference {
        api_version: Some("v1".into()),
        kind: Some("Service".into()),
        namespace: service.metadata.namespace,
        name: service.metadata.name,
        uid: service.metadata.uid,
        ..ObjectReference::default()
    };
    recorder.record(about, EventType::Warning, REASON, failure.message);
}
