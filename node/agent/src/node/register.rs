//! Creating and refreshing the Node object.

use std::time::Duration;

use api::k8s_openapi::api::core::v1::{Node, NodeCondition};
use futures::StreamExt;
use kube::Api;
use kube::api::{Patch, PatchParams, PostParams};
use kube::runtime::{WatchStreamExt, watcher};
use network::Cidr;
use tokio_util::sync::CancellationToken;

use super::object::{self, Machine};
use crate::context::NodeContext;
use crate::events::EventType;

const FIRST_RETRY: Duration = Duration::from_millis(100);
const LAST_RETRY: Duration = Duration::from_secs(7);
/// The kubelet's `nodeStatusReportFrequency`.
const REPORT: Duration = Duration::from_secs(300);

/// Makes the Node exist and Ready; retried until it works.
pub async fn register(node: &NodeContext) -> Node {
    let mut retry = FIRST_RETRY;
    loop {
        match try_register(node).await {
            Ok(object) => {
                starting_event(node, &object);
                return object;
            }
            Err(error) => tracing::warn!(%error, "the node could not be registered; it is retried"),
        }
        tokio::time::sleep(retry).await;
        retry = (retry * 2).min(LAST_RETRY);
    }
}

async fn try_register(node: &NodeContext) -> Result<Node, kube::Error> {
    let api: Api<Node> = Api::all(node.client());
    let machine = Machine::this();
    let now = node.config.clock.now();
    let Some(existing) = api.get_opt(node.name()).await? else {
        let wanted = object::node(&node.config, &machine, now);
        let created = api.create(&PostParams::default(), &wanted).await?;
        // Kubernetes keeps the status of a created Node; a server that didn't is told again.
        if ready(&created) {
            return Ok(created);
        }
        return patch_status(node, &api, &machine, &[]).await;
    };
    let labels = object::labels(&node.config);
    let has = existing.metadata.labels.clone().unwrap_or_default();
    if labels.iter().any(|(key, value)| has.get(key) != Some(value)) {
        let patch = serde_json::json!({"metadata": {"labels": labels}});
        api.patch(node.name(), &PatchParams::default(), &Patch::Merge(&patch)).await?;
    }
    let before = existing.status.and_then(|s| s.conditions).unwrap_or_default();
    patch_status(node, &api, &machine, &before).await
}

fn ready(node: &Node) -> bool {
    let conditions = node.status.as_ref().and_then(|s| s.conditions.as_deref()).unwrap_or_default();
    conditions.iter().any(|c| c.type_ == "Ready" && c.status == "True")
}

async fn patch_status(
    node: &NodeContext,
    api: &Api<Node>,
    machine: &Machine,
    before: &[NodeCondition],
) -> Result<Node, kube::Error> {
    let status = object::status(&node.config, machine, before, node.config.clock.now());
    let mut patch = serde_json::json!({"status": status});
    // Addresses merge by type: the ones of an earlier life must not stay.
    if let Some(addresses) = patch["status"]["addresses"].as_array_mut() {
        addresses.insert(0, serde_json::json!({"$patch": "replace"}));
    }
    api.patch_status(node.name(), &PatchParams::default(), &Patch::Strategic(&patch)).await
}

fn starting_event(node: &NodeContext, object: &Node) {
    let reference = api::k8s_openapi::api::core::v1::ObjectReference {
        api_version: Some("v1".into()),
        kind: Some("Node".into()),
        name: object.metadata.name.clone(),
        uid: object.metadata.uid.clone(),
        ..Default::default()
    };
    node.recorder.record(reference, EventType::Normal, "Starting", "Starting kubelet.".into());
}

/// Reports the status again every five minutes, until cancelled.
pub async fn keep_fresh(node: &NodeContext, stop: CancellationToken) {
    let api: Api<Node> = Api::all(node.client());
    let machine = Machine::this();
    loop {
        tokio::select! {
            () = tokio::time::sleep(REPORT) => {}
            () = stop.cancelled() => return,
        }
        let result = match api.get_opt(node.name()).await {
            Ok(Some(existing)) => {
                let before = existing.status.and_then(|s| s.conditions).unwrap_or_default();
                patch_status(node, &api, &machine, &before).await.map(drop)
            }
            // Somebody deleted the Node of a living agent: it comes back.
            Ok(None) => try_register(node).await.map(drop),
            Err(error) => Err(error),
        };
        if let Err(error) = result {
            tracing::warn!(%error, "the node's status could not be written");
        }
    }
}

/// The node's range of pod addresses: what the object says, else what a controller will say.
pub async fn pod_range(node: &NodeContext, object: &Node) -> Cidr {
    if let Some(range) = parse(object) {
        return range;
    }
    if let Some(range) = node.config.pod_cidr {
        return range;
    }
    let api: Api<Node> = Api::all(node.client());
    let mut changes = std::pin::pin!(watcher::watch_object(api, node.name()).default_backoff());
    while let Some(change) = changes.next().await {
        if let Ok(Some(object)) = change
            && let Some(range) = parse(&object)
        {
            return range;
        }
    }
    std::future::pending().await
}

fn parse(object: &Node) -> Option<Cidr> {
    let text = object.spec.as_ref()?.pod_cidr.as_deref()?;
    match text.parse() {
        Ok(range) => Some(range),
        Err(error) => {
            tracing::warn!(%error, "the node's podCIDR can't be used");
            None
        }
    }
}
