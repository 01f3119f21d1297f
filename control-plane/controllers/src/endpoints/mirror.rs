//! EndpointSlices for the Endpoints that users write for Services without a selector
//! (`pkg/controller/endpointslicemirroring`): clients need to read only slices.

use super::patch;
use super::slices::{MANAGED_BY, SERVICE_NAME, Write};
use crate::context::Context;
use crate::frame::access::Access;
use crate::frame::informer::{Index, Informer};
use crate::frame::key::Key;
use crate::frame::queue::Queue;
use crate::frame::runner::Reconciler;
use crate::k8s::api::core::v1::{EndpointAddress, EndpointSubset, Endpoints, Service};
use crate::k8s::api::discovery::v1::EndpointSlice;
use crate::owners::controller_ref;
use crate::{Config, Error, Next};
use async_trait::async_trait;
use kube::api::DeleteParams;
use serde_json::{Value, json};
use std::net::IpAddr;
use std::sync::Arc;
use tokio::task::JoinSet;

const MANAGER: &str = "endpointslicemirroring-controller.k8s.io";
const SKIP: &str = "endpointslice.kubernetes.io/skip-mirror";
/// Endpoints that only elect a leader are none.
const LEADER: &str = "control-plane.alpha.kubernetes.io/leader";
/// Of the Endpoints themselves, and not for their slices.
const NOT_COPIED: [&str; 2] =
    ["endpoints.kubernetes.io/last-change-trigger-time", "kubectl.kubernetes.io/last-applied-configuration"];
/// Addresses of one subset (`--mirroring-max-endpoints-per-subset`).
const MOST: usize = 1000;

struct Controller {
    access: Access,
    services: Informer<Service>,
    endpoints: Informer<Endpoints>,
    slices: Informer<EndpointSlice>,
}

pub(crate) fn start(_: &Config, context: &Context, tasks: &mut JoinSet<()>) {
    let informers = &context.informers;
    let controller = Controller {
        access: context.access.clone(),
        services: informers.services.wanted(),
        endpoints: informers.endpoints.wanted(),
        slices: informers.endpoint_slices.wanted(),
    };
    let queue = Arc::new(Queue::default());
    let signal = Arc::clone(&queue);
    controller.services.on_change(move |change| signal.add(Key::of(change.object().as_ref())));
    let signal = Arc::clone(&queue);
    controller.endpoints.on_change(move |change| signal.add(Key::of(change.object().as_ref())));
    let signal = Arc::clone(&queue);
    controller.slices.on_change(move |change| {
        let slice = change.object();
        if !is_ours(slice) {
            return;
        }
        if let Some(service) = slice.metadata.labels.as_ref().and_then(|labels| labels.get(SERVICE_NAME)) {
            signal.add(Key::new(slice.metadata.namespace.as_deref().unwrap_or_default(), service));
        }
    });
    context.spawn(tasks, Arc::new(controller), queue);
}

fn is_ours(slice: &EndpointSlice) -> bool {
    slice.metadata.labels.as_ref().and_then(|labels| labels.get(MANAGED_BY)).is_some_and(|by| by == MANAGER)
}

/// Whether the Endpoints are to be mirrored: somebody wrote them for a Service that selects nothing.
fn is_mirrored(service: &Service, endpoints: &Endpoints) -> bool {
    let meta = &endpoints.metadata;
    let skips = meta.labels.as_ref().and_then(|labels| labels.get(SKIP)).is_some_and(|value| value == "true");
    let elects = meta.annotations.as_ref().is_some_and(|annotations| annotations.contains_key(LEADER));
    let selects = service.spec.as_ref().and_then(|s| s.selector.as_ref()).is_some_and(|s| !s.is_empty());
    !skips && !elects && !selects && meta.deletion_timestamp.is_none()
}

/// The slices that say what the Endpoints say: one for each subset and family of addresses.
fn mirrored(endpoints: &Endpoints) -> Vec<EndpointSlice> {
    let mut slices = Vec::new();
    for subset in endpoints.subsets.iter().flatten() {
        for family in ["IPv4", "IPv6"] {
            let of = |addresses: &Option<Vec<EndpointAddress>>, ready: &Value| {
                let list = addresses.iter().flatten().filter(|a| family_of(&a.ip) == Some(family));
                list.map(|address| endpoint(address, ready)).collect::<Vec<Value>>()
            };
            let mut list = of(&subset.addresses, &Value::Bool(true));
            list.extend(of(&subset.not_ready_addresses, &Value::Bool(false)));
            list.truncate(MOST);
            if !list.is_empty() {
                slices.extend(slice(endpoints, family, subset, &list));
            }
        }
    }
    slices
}

fn family_of(ip: &str) -> Option<&'static str> {
    ip.parse::<IpAddr>().ok().map(|ip| if ip.is_ipv4() { "IPv4" } else { "IPv6" })
}

fn endpoint(address: &EndpointAddress, ready: &Value) -> Value {
    let mut endpoint = json!({"addresses": [address.ip], "conditions": {"ready": ready}});
    for (field, value) in [
        ("hostname", json!(address.hostname)),
        ("nodeName", json!(address.node_name)),
        ("targetRef", json!(address.target_ref)),
    ] {
        if !value.is_null() {
            endpoint[field] = value;
        }
    }
    endpoint
}

/// `None` for what is no slice: it cannot be.
fn slice(endpoints: &Endpoints, family: &str, subset: &EndpointSubset, list: &[Value]) -> Option<EndpointSlice> {
    let meta = &endpoints.metadata;
    let name = meta.name.clone().unwrap_or_default();
    let mut labels = meta.labels.clone().unwrap_or_default();
    labels.insert(SERVICE_NAME.into(), name.clone());
    labels.insert(MANAGED_BY.into(), MANAGER.into());
    let mut annotations = meta.annotations.clone().unwrap_or_default();
    annotations.retain(|key, _| !NOT_COPIED.contains(&key.as_str()));
    let port = |port: &Value| {
        let mut port = port.clone();
        if port.get("name").is_none() {
            port["name"] = "".into();
        }
        port
    };
    let ports = json!(subset.ports);
    let ports: Vec<Value> = ports.as_array().into_iter().flatten().map(port).collect();
    let annotations = (!annotations.is_empty()).then_some(annotations);
    let value = json!({
        "metadata": {
            "generateName": format!("{name}-"), "namespace": meta.namespace, "labels": labels,
            "annotations": annotations, "ownerReferences": [controller_ref(endpoints)],
        },
        "addressType": family, "endpoints": list, "ports": ports,
    });
    serde_json::from_value(value).ok()
}

/// The writes that turn `stored` into `wanted`. A slice keeps its family and its ports.
fn plan(wanted: Vec<EndpointSlice>, mut stored: Vec<Arc<EndpointSlice>>) -> Vec<Write> {
    let mut writes = Vec::new();
    for slice in wanted {
        let same = |old: &Arc<EndpointSlice>| {
            old.address_type == slice.address_type
                && old.ports.as_deref().unwrap_or_default() == slice.ports.as_deref().unwrap_or_default()
        };
        let Some(at) = stored.iter().position(same) else {
            writes.push(Write::Create(slice));
            continue;
        };
        let old = stored.swap_remove(at);
        let mut next = old.as_ref().clone();
        next.endpoints = slice.endpoints;
        next.metadata.labels = slice.metadata.labels;
        next.metadata.annotations = slice.metadata.annotations;
        if next != *old {
            writes.push(Write::Update(old, next));
        }
    }
    writes.extend(stored.into_iter().map(Write::Delete));
    writes
}

#[async_trait]
impl Reconciler for Controller {
    const NAME: &'static str = "endpointslice-mirroring-controller";
    const WORKERS: usize = 4;

    async fn reconcile(&self, key: &Key) -> Result<Next, Error> {
        let (service, endpoints) = (self.services.get(key), self.endpoints.get(key));
        let wanted = match (service, &endpoints) {
            (Some(service), Some(endpoints)) if is_mirrored(&service, endpoints) => mirrored(endpoints),
            _ => Vec::new(),
        };
        let label =
            Index::Label { namespace: key.namespace().into(), name: SERVICE_NAME.into(), value: key.name().into() };
        let mut stored = self.slices.find(&label);
        stored.retain(|slice| is_ours(slice) && slice.metadata.deletion_timestamp.is_none());
        for write in plan(wanted, stored) {
            match self.write(write).await {
                Err(error) if error.is_namespace_terminating() => return Ok(Next::Signal),
                result => result?,
            }
        }
        Ok(Next::Signal)
    }

    fn keys(&self) -> Vec<Key> {
        self.endpoints.keys()
    }
}

impl Controller {
    async fn write(&self, write: Write) -> Result<(), Error> {
        match write {
            Write::Create(slice) => self.slices.learn(self.access.create(&slice).await?),
            Write::Update(old, new) => {
                if let Some(patch) = patch(old.metadata.resource_version.as_deref(), old.as_ref(), &new) {
                    self.slices.learn(self.access.patch::<EndpointSlice>(&Key::of(old.as_ref()), &patch).await?);
                }
            }
            Write::Delete(slice) => {
                let key = Key::of(slice.as_ref());
                self.access.delete::<EndpointSlice>(&key, &DeleteParams::default()).await?;
                self.slices.forget(&key, slice.metadata.uid.as_deref().unwrap_or_default());
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use crate::testing::{Cluster, Fake};
    use serde_json::{Value, json};

    fn slices(fake: &Fake) -> Vec<Value> {
        fake.list("endpointslices")
    }

    #[tokio::test(start_paused = true)]
    async fn what_users_write_is_mirrored_until_the_service_selects() {
        let cluster = Cluster::start(&["endpointslice-mirroring-controller"]);
        let fake = &cluster.fake;
        fake.create(json!({"apiVersion": "v1", "kind": "Service",
            "metadata": {"name": "db", "namespace": "d"}, "spec": {"ports": [{"port": 5432}]}}));
        let subsets = json!([{"addresses": [{"ip": "10.0.0.5"}, {"ip": "fd00::5"}],
            "notReadyAddresses": [{"ip": "10.0.0.6"}], "ports": [{"port": 5432, "protocol": "TCP"}]}]);
        fake.create(json!({"apiVersion": "v1", "kind": "Endpoints",
            "metadata": {"name": "db", "namespace": "d", "labels": {"team": "a"}}, "subsets": subsets}));
        fake.until(1, "a slice for each family", |f| slices(f).len() == 2).await;
        let of = |f: &Fake, family: &str| slices(f).into_iter().find(|s| s["addressType"] == family).unwrap();
        let slice = of(fake, "IPv4");
        assert_eq!(slice["metadata"]["labels"]["team"], "a");
        assert_eq!(slice["metadata"]["labels"]["kubernetes.io/service-name"], "db");
        assert_eq!(slice["metadata"]["ownerReferences"][0]["kind"], "Endpoints");
        assert_eq!(slice["endpoints"][0]["conditions"]["ready"], true);
        assert_eq!(slice["endpoints"][1]["conditions"]["ready"], false);
        assert_eq!(slice["ports"][0]["port"], 5432);
        let name = slice["metadata"]["name"].clone();
        let moved = json!([{"addresses": [{"ip": "10.0.0.7"}], "ports": [{"port": 5432, "protocol": "TCP"}]}]);
        fake.merge("endpoints", "d/db", &json!({"subsets": moved}));
        fake.until(1, "one is left", |f| slices(f).len() == 1).await;
        let slice = of(fake, "IPv4");
        assert_eq!((&slice["metadata"]["name"], &slice["endpoints"][0]["addresses"][0]), (&name, &json!("10.0.0.7")));
        tokio::time::sleep(std::time::Duration::from_secs(60)).await;
        assert_eq!(fake.requests("PATCH endpointslices"), 1, "what is right is left alone");
        fake.merge("services", "d/db", &json!({"spec": {"selector": {"app": "db"}}}));
        fake.until(1, "the other controller's now", |f| slices(f).is_empty()).await;
        fake.merge("services", "d/db", &json!({"spec": {"selector": null}}));
        fake.until(1, "again", |f| slices(f).len() == 1).await;
        fake.merge("endpoints", "d/db", &json!({"metadata": {"labels": {super::SKIP: "true"}}}));
        fake.until(1, "not wanted", |f| slices(f).is_empty()).await;
        cluster.stop().await;
    }
}
