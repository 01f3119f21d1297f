//! Finished: nothing runs any more. The pod keeps its logs until its object is gone, then nothing of
//! it is left.

use std::sync::Arc;
use std::time::Duration;

use kube::Api;
use kube::api::{DeleteParams, Preconditions};

use crate::pod::PodContext;
use crate::volumes;

const FIRST_RETRY: Duration = Duration::from_millis(100);
const LAST_RETRY: Duration = Duration::from_secs(10);
/// How long the watch may take to tell of a deletion that the API server has confirmed.
const LAG: Duration = Duration::from_secs(30);

pub async fn run(pod: &Arc<PodContext>) {
    // The address is free, and the volumes go: no container will need them.
    *pod.net.lock() = None;
    *pod.volumes.lock() = None;
    let dir = pod.volumes_dir();
    let _ = tokio::task::spawn_blocking(move || volumes::remove(&dir)).await;
    pod.flush().await;
    pod.stop_requested().await;
    if !pod.is_gone() {
        pod.flush().await;
        delete(pod).await;
    }
    let logs = pod.logs_dir();
    let _ = tokio::task::spawn_blocking(move || std::fs::remove_dir_all(logs)).await;
}

/// Tells the API server that the pod is over, until it agrees.
async fn delete(pod: &Arc<PodContext>) {
    let api: Api<api::k8s_openapi::api::core::v1::Pod> = Api::namespaced(pod.node.client(), &pod.namespace);
    let parameters = DeleteParams {
        grace_period_seconds: Some(0),
        preconditions: Some(Preconditions { uid: Some(pod.uid.clone()), resource_version: None }),
        ..Default::default()
    };
    let mut retry = FIRST_RETRY;
    while !pod.is_gone() {
        match api.delete(&pod.name, &parameters).await {
            Ok(_) => break,
            // Gone, or another pod has the name.
            Err(kube::Error::Api(status)) if matches!(status.code, 404 | 409) => break,
            Err(error) => tracing::warn!(%error, "the pod's deletion could not be confirmed; it is retried"),
        }
        tokio::time::sleep(retry).await;
        retry = (retry * 2).min(LAST_RETRY);
    }
    let _ = tokio::time::timeout(LAG, pod.gone()).await;
}
