//! The node's heartbeat: a Lease in `kube-node-lease`, renewed every ten seconds.

use std::time::Duration;

use api::k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use api::k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta, OwnerReference};
use kube::Api;
use kube::api::PostParams;
use tokio_util::sync::CancellationToken;

use crate::context::NodeContext;

const NAMESPACE: &str = "kube-node-lease";
const RENEW: Duration = Duration::from_secs(10);
const RETRY: Duration = Duration::from_secs(1);
/// Seconds after which the node counts as lost.
const DURATION: i32 = 40;

/// Renews the Lease until cancelled.
pub async fn keep(node: &NodeContext, node_uid: Option<String>, stop: CancellationToken) {
    let api: Api<Lease> = Api::namespaced(node.client(), NAMESPACE);
    let mut held: Option<Lease> = None;
    loop {
        let pause = match renew(node, &api, held.take(), node_uid.as_deref()).await {
            Ok(lease) => {
                held = Some(lease);
                RENEW
            }
            Err(error) => {
                tracing::warn!(%error, "the node's lease could not be renewed; it is retried");
                RETRY
            }
        };
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = stop.cancelled() => return,
        }
    }
}

async fn renew(
    node: &NodeContext,
    api: &Api<Lease>,
    held: Option<Lease>,
    node_uid: Option<&str>,
) -> Result<Lease, kube::Error> {
    let now = MicroTime(node.config.clock.now());
    let held = match held {
        Some(held) => Some(held),
        None => api.get_opt(node.name()).await?,
    };
    match held {
        Some(mut lease) => {
            // What the API server stripped or another wrote is no concern: only these are ours.
            let spec = lease.spec.get_or_insert_default();
            spec.holder_identity = Some(node.name().to_owned());
            spec.lease_duration_seconds = Some(DURATION);
            spec.renew_time = Some(now);
            api.replace(node.name(), &PostParams::default(), &lease).await
        }
        None => api.create(&PostParams::default(), &new_lease(node, node_uid, now)).await,
    }
}

fn new_lease(node: &NodeContext, node_uid: Option<&str>, now: MicroTime) -> Lease {
    let owner = node_uid.map(|uid| OwnerReference {
        api_version: "v1".into(),
        kind: "Node".into(),
        name: node.name().to_owned(),
        uid: uid.to_owned(),
        ..Default::default()
    });
    Lease {
        metadata: ObjectMeta {
            name: Some(node.name().to_owned()),
            namespace: Some(NAMESPACE.to_owned()),
            owner_references: owner.map(|o| vec![o]),
            ..Default::default()
        },
        spec: Some(LeaseSpec {
            holder_identity: Some(node.name().to_owned()),
            lease_duration_seconds: Some(DURATION),
            renew_time: Some(now),
            ..Default::default()
        }),
    }
}
