//! Starting pods and noting when each is first seen Running by a watch, as any client would.

use super::process::within;
use anyhow::{Context as _, Result};
use futures::{StreamExt as _, TryStreamExt as _};
use kube::Client;
use kube::api::{Api, DeleteParams, ListParams, PostParams, WatchEvent, WatchParams};
use scheduler::api::k8s_openapi::api::core::v1::Pod;
use serde_json::json;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::oneshot;
use tokio_util::task::AbortOnDropHandle;

/// The image that every `skiff up` brings along.
pub const IMAGE: &str = "skiff.dev/examples/hello-http:v1";

type Waiting = Arc<Mutex<HashMap<String, oneshot::Sender<(Instant, String)>>>>;

/// A watch on all pods of a namespace.
pub struct Watcher {
    pods: Api<Pod>,
    waiting: Waiting,
    _task: AbortOnDropHandle<()>,
}

/// When a pod was first seen Running, and its address.
pub struct Running {
    pub took: Duration,
    pub ip: String,
}

impl Watcher {
    /// Opens the watch.
    pub async fn start(client: Client) -> Result<Self> {
        let pods: Api<Pod> = Api::default_namespaced(client);
        let version = pods.list(&ListParams::default()).await?.metadata.resource_version.unwrap_or_default();
        let mut events = pods.watch(&WatchParams::default().timeout(280), &version).await?.boxed();
        let waiting: Waiting = Arc::default();
        let known = waiting.clone();
        let task = tokio::spawn(async move {
            while let Ok(Some(event)) = events.try_next().await {
                if let WatchEvent::Added(pod) | WatchEvent::Modified(pod) = event {
                    tell(&known, &pod);
                }
            }
        });
        Ok(Self { pods, waiting, _task: AbortOnDropHandle::new(task) })
    }

    /// Creates a pod and waits until it runs.
    pub async fn run(&self, name: &str) -> Result<Running> {
        let (sender, receiver) = oneshot::channel();
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner).insert(name.into(), sender);
        let pod: Pod = serde_json::from_value(json!({
            "metadata": {"name": name, "labels": {"app": "bench"}},
            "spec": {
                "terminationGracePeriodSeconds": 0,
                "containers": [{"name": "main", "image": IMAGE, "ports": [{"containerPort": 8080}]}],
            },
        }))?;
        let began = Instant::now();
        self.pods.create(&PostParams::default(), &pod).await.context("cannot create a pod")?;
        let (at, ip) = within("running pod", async { receiver.await.context("the watch on pods ended") }).await?;
        Ok(Running { took: at.duration_since(began), ip })
    }

    /// Removes what was started, and waits until it is gone.
    pub async fn clean_up(&self) -> Result<()> {
        let ours = ListParams::default().labels("app=bench");
        self.pods.delete_collection(&DeleteParams::default().grace_period(0), &ours).await?;
        within("end of the pods", async {
            while !self.pods.list_metadata(&ours).await?.items.is_empty() {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            Ok(())
        })
        .await
    }
}

fn tell(waiting: &Waiting, pod: &Pod) {
    let status = pod.status.as_ref();
    if status.and_then(|s| s.phase.as_deref()) != Some("Running") {
        return;
    }
    let name = pod.metadata.name.as_deref().unwrap_or_default();
    let sender = waiting.lock().unwrap_or_else(PoisonError::into_inner).remove(name);
    if let Some(sender) = sender {
        let ip = status.and_then(|s| s.pod_ip.clone()).unwrap_or_default();
        // Nobody waits any more when the benchmark was cut short.
        let _ = sender.send((Instant::now(), ip));
    }
}
