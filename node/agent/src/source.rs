//! Where pods come from: a list and watch of the pods bound to this node.

use std::collections::HashSet;
use std::sync::Arc;

use api::k8s_openapi::api::core::v1::Pod;
use futures::StreamExt;
use kube::Api;
use kube::runtime::watcher::{self, Event};
use kube::runtime::{WatchStreamExt, watcher as watch};
use tokio_util::sync::CancellationToken;

use crate::context::NodeContext;
use crate::manager::{Manager, Pods};

/// Feeds the pods' tasks until cancelled; lost watches are resumed or listed anew with back-off.
pub async fn run(node: Arc<NodeContext>, pods: Arc<Pods>, stop: CancellationToken) {
    let api: Api<Pod> = Api::all(node.client());
    let config = watcher::Config::default().fields(&format!("spec.nodeName={}", node.name()));
    let mut events = watch(api, config).default_backoff().boxed();
    let mut manager = Manager::new(node, pods);
    let mut listing: Option<HashSet<String>> = None;
    let mut cleaned = false;
    loop {
        let event = tokio::select! {
            biased;
            () = stop.cancelled() => break,
            () = manager.reap() => continue,
            event = events.next() => event,
        };
        match event {
            Some(Ok(Event::Init)) => listing = Some(HashSet::new()),
            Some(Ok(Event::InitApply(pod))) => {
                if let (Some(listed), Some(uid)) = (&mut listing, &pod.metadata.uid) {
                    listed.insert(uid.clone());
                }
                manager.apply(pod);
            }
            Some(Ok(Event::InitDone)) => {
                if let Some(listed) = listing.take() {
                    manager.retain(&listed);
                    if !std::mem::replace(&mut cleaned, true) {
                        manager.remove_orphans(&listed);
                    }
                }
            }
            Some(Ok(Event::Apply(pod))) => manager.apply(pod),
            Some(Ok(Event::Delete(pod))) => {
                if let Some(uid) = &pod.metadata.uid {
                    manager.delete(uid);
                }
            }
            Some(Err(error)) => tracing::warn!(%error, "the watch of this node's pods failed; it is retried"),
            None => break,
        }
    }
    manager.shut_down().await;
}
