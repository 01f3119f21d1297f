//! Claims and volumes stay while they are used: their finalizers, which admission sets, go when they are being deleted and
//! no pod uses the claim, or the volume is bound to nothing (`pkg/controller/volume/pvcprotection`, `pvprotection`).

use crate::context::Context;
use crate::frame::access::Access;
use crate::frame::informer::{Change, Index, Informer};
use crate::frame::key::Key;
use crate::frame::queue::Queue;
use crate::frame::runner::Reconciler;
use crate::k8s::api::core::v1::{PersistentVolume, PersistentVolumeClaim, Pod};
use crate::k8s::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use crate::{Config, Error, Next, pods};
use async_trait::async_trait;
use serde_json::json;
use std::sync::Arc;
use tokio::task::JoinSet;

const CLAIM: &str = "kubernetes.io/pvc-protection";
const VOLUME: &str = "kubernetes.io/pv-protection";

struct Claims {
    access: Access,
    claims: Informer<PersistentVolumeClaim>,
    pods: Informer<Pod>,
}

struct Volumes {
    access: Access,
    volumes: Informer<PersistentVolume>,
}

pub(crate) fn start_claims(_: &Config, context: &Context, tasks: &mut JoinSet<()>) {
    let (claims, pods) = (context.informers.claims.wanted(), context.informers.pods.wanted());
    let queue = Arc::new(Queue::default());
    let signal = Arc::clone(&queue);
    claims.on_change(move |change| {
        if waits(&change.object().metadata, CLAIM) {
            signal.add(Key::of(change.object().as_ref()));
        }
    });
    let signal = Arc::clone(&queue);
    pods.on_change(move |change| {
        let ends = match change {
            Change::Added(_) => false,
            Change::Deleted(_) => true,
            Change::Updated { new, .. } => pods::is_terminal(new),
        };
        if ends {
            let pod = change.object();
            let namespace = pod.metadata.namespace.as_deref().unwrap_or_default();
            for name in claim_names(pod) {
                signal.add(Key::new(namespace, &name));
            }
        }
    });
    context.spawn(tasks, Arc::new(Claims { access: context.access.clone(), claims, pods }), queue);
}

pub(crate) fn start_volumes(_: &Config, context: &Context, tasks: &mut JoinSet<()>) {
    let volumes = context.informers.volumes.wanted();
    let queue = Arc::new(Queue::default());
    let signal = Arc::clone(&queue);
    volumes.on_change(move |change| {
        if waits(&change.object().metadata, VOLUME) {
            signal.add(Key::of(change.object().as_ref()));
        }
    });
    context.spawn(tasks, Arc::new(Volumes { access: context.access.clone(), volumes }), queue);
}

/// Whether the object is being deleted and `finalizer` keeps it.
fn waits(meta: &ObjectMeta, finalizer: &str) -> bool {
    meta.deletion_timestamp.is_some() && meta.finalizers.iter().flatten().any(|known| known == finalizer)
}

/// The claims that a pod mounts, those that are made for its ephemeral volumes among them.
fn claim_names(pod: &Pod) -> Vec<String> {
    let volumes = pod.spec.as_ref().and_then(|spec| spec.volumes.as_ref()).into_iter().flatten();
    let names = volumes.filter_map(|volume| match (&volume.persistent_volume_claim, &volume.ephemeral) {
        (Some(source), _) => Some(source.claim_name.clone()),
        (None, Some(_)) => Some(format!("{}-{}", pods::name(pod), volume.name)),
        _ => None,
    });
    names.collect()
}

/// The patch that takes `finalizer` away, if the object is still the one that was looked at.
fn without(meta: &ObjectMeta, finalizer: &str) -> serde_json::Value {
    let rest: Vec<&String> = meta.finalizers.iter().flatten().filter(|known| *known != finalizer).collect();
    json!({"metadata": {"finalizers": rest, "resourceVersion": meta.resource_version}})
}

#[async_trait]
impl Reconciler for Claims {
    const NAME: &'static str = "persistentvolumeclaim-protection-controller";
    const WORKERS: usize = 2;

    async fn reconcile(&self, key: &Key) -> Result<Next, Error> {
        let Some(claim) = self.claims.get(key).filter(|claim| waits(&claim.metadata, CLAIM)) else {
            return Ok(Next::Signal);
        };
        let pods = self.pods.find(&Index::Namespace(key.namespace().to_owned()));
        let uses = |pod: &Pod| !pods::is_terminal(pod) && claim_names(pod).iter().any(|name| name == key.name());
        if pods.iter().any(|pod| uses(pod)) {
            return Ok(Next::Signal);
        }
        let patch = without(&claim.metadata, CLAIM);
        match self.access.patch::<PersistentVolumeClaim>(key, &patch).await {
            Err(error) if !error.is_not_found() => Err(error),
            _ => Ok(Next::Signal),
        }
    }

    fn keys(&self) -> Vec<Key> {
        self.claims.keys()
    }
}

#[async_trait]
impl Reconciler for Volumes {
    const NAME: &'static str = "persistentvolume-protection-controller";
    const WORKERS: usize = 2;

    async fn reconcile(&self, key: &Key) -> Result<Next, Error> {
        let Some(volume) = self.volumes.get(key).filter(|volume| waits(&volume.metadata, VOLUME)) else {
            return Ok(Next::Signal);
        };
        if volume.status.as_ref().and_then(|status| status.phase.as_deref()) == Some("Bound") {
            return Ok(Next::Signal);
        }
        let patch = without(&volume.metadata, VOLUME);
        match self.access.patch::<PersistentVolume>(key, &patch).await {
            Err(error) if !error.is_not_found() => Err(error),
            _ => Ok(Next::Signal),
        }
    }

    fn keys(&self) -> Vec<Key> {
        self.volumes.keys()
    }
}

#[cfg(test)]
mod tests {
    use crate::testing::Cluster;
    use serde_json::json;
    use std::time::Duration;

    #[tokio::test(start_paused = true)]
    async fn a_claim_stays_while_a_pod_uses_it() {
        let cluster = Cluster::start(&["persistentvolumeclaim-protection-controller"]);
        cluster.fake.create(json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p", "namespace": "n"},
            "spec": {"containers": [], "volumes": [{"name": "v", "persistentVolumeClaim": {"claimName": "used"}}]}}));
        for name in ["used", "free"] {
            cluster.fake.create(json!({"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {
                "name": name, "namespace": "n", "finalizers": [super::CLAIM], "deletionTimestamp": "2026-01-01T00:00:00Z"}}));
        }
        let gone = |name: &'static str| {
            let fake = cluster.fake.clone();
            async move {
                for _ in 0..1000 {
                    let claim = fake.get("persistentvolumeclaims", name);
                    if claim.is_none_or(|claim| claim["metadata"]["finalizers"].as_array().is_none_or(Vec::is_empty)) {
                        return;
                    }
                    tokio::time::sleep(Duration::from_millis(10)).await;
                }
                panic!("{name} is still kept");
            }
        };
        gone("n/free").await;
        assert!(cluster.fake.get("persistentvolumeclaims", "n/used").is_some());
        cluster.fake.merge("pods", "n/p", &json!({"status": {"phase": "Succeeded"}}));
        gone("n/used").await;
        cluster.stop().await;
    }
}
