//! EndpointSlices, and the Endpoints of old, of Services with a selector.

mod legacy;
pub(crate) mod mirror;
mod plan;
mod slices;
#[cfg(test)]
mod tests;

use crate::context::Context;
use crate::frame::access::{Access, merge_diff};
use crate::frame::events::{Note, Recorder};
use crate::frame::informer::{Change, Index, Informer};
use crate::frame::key::Key;
use crate::frame::queue::Queue;
use crate::frame::runner::Reconciler;
use crate::k8s::api::core::v1::{Endpoints, Node, Pod, Service};
use crate::k8s::api::discovery::v1::EndpointSlice;
use crate::selector::Selector;
use crate::{Config, Error, Next};
use async_trait::async_trait;
use kube::api::DeleteParams;
use serde::Serialize;
use serde_json::{Value, json};
use slices::Write;
use std::sync::Arc;
use tokio::task::JoinSet;

struct Slices {
    access: Access,
    services: Informer<Service>,
    pods: Informer<Pod>,
    nodes: Informer<Node>,
    slices: Informer<EndpointSlice>,
    events: Recorder,
}

struct Legacy {
    access: Access,
    services: Informer<Service>,
    pods: Informer<Pod>,
    endpoints: Informer<Endpoints>,
}

/// A queue that hears of changed Services and of the pods they select.
fn queue(context: &Context) -> Arc<Queue> {
    let (services, pods) = (context.informers.services.wanted(), context.informers.pods.wanted());
    let queue = Arc::new(Queue::default());
    let signal = Arc::clone(&queue);
    services.on_change(move |change| signal.add(Key::of(change.object().as_ref())));
    let signal = Arc::clone(&queue);
    pods.on_change(move |change| match change {
        Change::Updated { old, new } => {
            let relabeled = old.metadata.labels != new.metadata.labels;
            if relabeled {
                wake(&signal, &services, old);
            }
            if relabeled || facts(old) != facts(new) {
                wake(&signal, &services, new);
            }
        }
        Change::Added(pod) | Change::Deleted(pod) => {
            // A pod without an address is in no slice.
            if facts(pod).1.is_some() {
                wake(&signal, &services, pod);
            }
        }
    });
    queue
}

/// What of a pod shows in an endpoint.
fn facts(pod: &Pod) -> ((bool, bool, bool), Option<&String>, Option<&String>) {
    let states = (crate::pods::is_ready(pod), crate::pods::is_terminating(pod), crate::pods::is_terminal(pod));
    let address = pod.status.as_ref().and_then(|s| s.pod_ip.as_ref());
    (states, address, pod.spec.as_ref().and_then(|s| s.node_name.as_ref()))
}

fn wake(queue: &Queue, services: &Informer<Service>, pod: &Pod) {
    let namespace = pod.metadata.namespace.clone().unwrap_or_default();
    let labels = pod.metadata.labels.as_ref();
    for service in services.find(&Index::Namespace(namespace)) {
        if plan::selector(&service).is_some_and(|s| s.iter().all(|(k, v)| labels.and_then(|l| l.get(k)) == Some(v))) {
            queue.add(Key::of(service.as_ref()));
        }
    }
}

/// The pods that the Service selects, found by its rarest label.
fn selected(pods: &Informer<Pod>, service: &Service) -> Option<Vec<Arc<Pod>>> {
    let wanted = plan::selector(service)?;
    let namespace = service.metadata.namespace.clone().unwrap_or_default();
    let label = |(name, value): (&String, &String)| Index::Label {
        namespace: namespace.clone(),
        name: name.clone(),
        value: value.clone(),
    };
    let rarest = wanted.iter().map(label).min_by_key(|index| pods.count(index))?;
    let selector = Selector::from_map(Some(wanted));
    Some(pods.find(&rarest).into_iter().filter(|pod| selector.matches(pod.metadata.labels.as_ref())).collect())
}

pub(crate) fn start_slices(_: &Config, context: &Context, tasks: &mut JoinSet<()>) {
    let queue = queue(context);
    let slices = context.informers.endpoint_slices.wanted();
    let signal = Arc::clone(&queue);
    slices.on_change(move |change| {
        let slice = change.object();
        let labels = slice.metadata.labels.as_ref();
        if let Some(service) = labels.and_then(|l| l.get(slices::SERVICE_NAME)) {
            signal.add(Key::new(slice.metadata.namespace.as_deref().unwrap_or_default(), service));
        }
    });
    let controller = Slices {
        access: context.access.clone(),
        services: context.informers.services.wanted(),
        pods: context.informers.pods.wanted(),
        nodes: context.informers.nodes.wanted(),
        slices,
        events: context.events.named("endpoint-slice-controller"),
    };
    context.spawn(tasks, Arc::new(controller), queue);
}

pub(crate) fn start_legacy(_: &Config, context: &Context, tasks: &mut JoinSet<()>) {
    let queue = queue(context);
    let endpoints = context.informers.endpoints.wanted();
    let signal = Arc::clone(&queue);
    endpoints.on_change(move |change| signal.add(Key::of(change.object().as_ref())));
    let controller = Legacy {
        access: context.access.clone(),
        services: context.informers.services.wanted(),
        pods: context.informers.pods.wanted(),
        endpoints,
    };
    context.spawn(tasks, Arc::new(controller), queue);
}

/// The conditional patch from `old` to `new`.
fn patch<K: Serialize>(version: Option<&str>, old: &K, new: &K) -> Option<Value> {
    let (old, new) = (serde_json::to_value(old).ok()?, serde_json::to_value(new).ok()?);
    let mut patch = merge_diff(&old, &new)?;
    patch["metadata"]["resourceVersion"] = json!(version);
    Some(patch)
}

#[async_trait]
impl Reconciler for Slices {
    const NAME: &'static str = "endpointslice-controller";

    async fn reconcile(&self, key: &Key) -> Result<Next, Error> {
        // The slices of a Service that is gone go with it: they have it as their owner.
        let Some(service) = self.services.get(key) else { return Ok(Next::Signal) };
        if service.metadata.deletion_timestamp.is_some() {
            return Ok(Next::Signal);
        }
        let Some(pods) = selected(&self.pods, &service) else { return Ok(Next::Signal) };
        let stored = self.stored(key);
        let families = plan::families(&service);
        let mut writes = Vec::new();
        for family in &families {
            let groups = plan::groups(&service, &pods, *family, |name| self.nodes.get(&Key::cluster(name)));
            let ours: Vec<_> = stored.iter().filter(|s| s.address_type == family.name()).cloned().collect();
            writes.extend(slices::spread(&service, *family, groups, &ours));
        }
        let foreign = stored.iter().filter(|s| families.iter().all(|family| family.name() != s.address_type));
        writes.extend(foreign.map(|slice| Write::Delete(Arc::clone(slice))));
        for write in writes {
            if let Err(error) = self.write(write).await {
                if error.is_namespace_terminating() {
                    return Ok(Next::Signal);
                }
                if !error.is_conflict() {
                    let message = format!("Error updating Endpoint Slices for Service {key}: {}", error.reason());
                    self.events.record(service.as_ref(), Note::warning("FailedToUpdateEndpointSlices", message));
                }
                return Err(error);
            }
        }
        Ok(Next::Signal)
    }

    fn keys(&self) -> Vec<Key> {
        self.services.keys()
    }
}

impl Slices {
    fn stored(&self, key: &Key) -> Vec<Arc<EndpointSlice>> {
        let mut stored = self.slices.find(&Index::Label {
            namespace: key.namespace().into(),
            name: slices::SERVICE_NAME.into(),
            value: key.name().into(),
        });
        stored.retain(|slice| {
            let manager = slice.metadata.labels.as_ref().and_then(|l| l.get(slices::MANAGED_BY));
            manager.is_some_and(|m| m == slices::MANAGER) && slice.metadata.deletion_timestamp.is_none()
        });
        stored
    }

    async fn write(&self, write: Write) -> Result<(), Error> {
        match write {
            Write::Create(slice) => self.slices.learn(self.access.create(&slice).await?),
            Write::Update(old, new) => {
                let version = old.metadata.resource_version.as_deref();
                if let Some(patch) = patch(version, old.as_ref(), &new) {
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

#[async_trait]
impl Reconciler for Legacy {
    const NAME: &'static str = "endpoints-controller";
    const WORKERS: usize = 4;

    async fn reconcile(&self, key: &Key) -> Result<Next, Error> {
        let stored = self.endpoints.get(key);
        let Some(service) = self.services.get(key) else {
            // Without an owner reference: who made it takes it away.
            let ours = |e: &Endpoints| e.metadata.labels.as_ref().is_some_and(|l| l.contains_key(legacy::managed_by()));
            if stored.is_some_and(|e| ours(&e)) {
                self.access.delete::<Endpoints>(key, &DeleteParams::default()).await?;
            }
            return Ok(Next::Signal);
        };
        let Some(pods) = selected(&self.pods, &service) else { return Ok(Next::Signal) };
        let mut wanted = legacy::endpoints(&service, &pods);
        let written = match stored {
            None => self.access.create(&wanted).await,
            Some(stored) => {
                let ours = std::mem::take(&mut wanted.metadata);
                wanted.metadata = stored.metadata.clone();
                wanted.metadata.labels = ours.labels;
                legacy::annotate(&mut wanted.metadata, ours.annotations);
                let version = stored.metadata.resource_version.as_deref();
                match patch(version, stored.as_ref(), &wanted) {
                    None => return Ok(Next::Signal),
                    Some(patch) => self.access.patch::<Endpoints>(key, &patch).await,
                }
            }
        };
        match written {
            Ok(endpoints) => self.endpoints.learn(endpoints),
            Err(error) if error.is_namespace_terminating() => {}
            Err(error) => return Err(error),
        }
        Ok(Next::Signal)
    }

    fn keys(&self) -> Vec<Key> {
        self.services.keys()
    }
}
