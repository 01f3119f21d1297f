//! `PodTopologyLabels`: a pod gets the zone and the region of its node as labels, where the downward API can show them
//! (`plugin/pkg/admission/podtopologylabels`).

use super::{Operation, Plugin, Request};
use crate::objects::Index;
use api::{Status, meta};
use futures::future::{self, BoxFuture};
use serde_json::{Value, json};

const LABELS: [&str; 2] = ["topology.kubernetes.io/region", "topology.kubernetes.io/zone"];

pub(super) struct PodTopologyLabels;

impl Plugin for PodTopologyLabels {
    fn handles(&self, request: &Request<'_>) -> bool {
        request.operation == Operation::Create && request.resource.storage == "core/pods" && node(request).is_some()
    }

    fn admit<'a>(&'a self, request: &'a mut Request<'_>) -> BoxFuture<'a, Result<(), Status>> {
        let entry = node(request).and_then(|node| request.snapshot.get(format!("core/nodes/{node}").as_bytes()));
        let index = entry.map(|entry| Index::of(entry));
        let found = LABELS.into_iter().filter_map(|label| Some((label, index?.label(label)?)));
        for (label, value) in found {
            let Some(metadata) = meta::metadata_mut(request.object) else { break };
            let labels = metadata.entry("labels").or_insert_with(|| json!({}));
            if !labels.is_object() {
                *labels = json!({});
            }
            // What is said about the pod itself counts for more.
            if labels.get(label).is_none() {
                labels[label] = value.into();
            }
        }
        Box::pin(future::ready(Ok(())))
    }
}

/// The node of a Binding, or of a pod that is made on one.
fn node<'r>(request: &'r Request<'_>) -> Option<&'r str> {
    let text = |pointer: &str| request.object.pointer(pointer).and_then(Value::as_str).filter(|text| !text.is_empty());
    match request.subresource {
        "" => text("/spec/nodeName"),
        "binding" => text("/target/name").filter(|_| text("/target/kind") == Some("Node")),
        _ => None,
    }
}
