//! Preparing: the pod's address and its volumes. Repeated until it works: a missing ConfigMap may come.

use std::sync::Arc;
use std::time::Duration;

use network::PodKey;

use super::State;
use crate::configs::{Key, Subscription};
use crate::events::EventType;
use crate::pod::PodContext;
use crate::volumes::{Followed, VolumeSet};

/// A start that takes longer than this shows as `ContainerCreating`; a quicker one is reported once,
/// when it is done.
const SHOW_CREATING: Duration = Duration::from_millis(50);
const FIRST_RETRY: Duration = Duration::from_millis(500);
const LAST_RETRY: Duration = Duration::from_secs(122);

pub async fn run(pod: &Arc<PodContext>) -> State {
    let set_up = set_up(pod);
    tokio::pin!(set_up);
    tokio::select! {
        biased;
        () = &mut set_up => {}
        () = tokio::time::sleep(SHOW_CREATING) => {
            pod.publish();
            set_up.await;
        }
    }
    State::Initializing
}

async fn set_up(pod: &Arc<PodContext>) {
    let mut retry = FIRST_RETRY;
    let net = loop {
        let key = PodKey { namespace: pod.namespace.clone(), name: pod.name.clone(), uid: pod.uid.clone() };
        match pod.node.config.network.attach(key, pod.node.name()) {
            Ok(net) => break Arc::new(net),
            Err(error) => {
                let message = format!("Failed to create pod sandbox: {error}");
                pod.event(EventType::Warning, "FailedCreatePodSandBox", message);
                tokio::time::sleep(retry).await;
                retry = (retry * 2).min(LAST_RETRY);
            }
        }
    };
    let ip = net.ip();
    *pod.net.lock() = Some(net);
    pod.change_quietly(|record| record.ip = Some(ip.into()));
    let volumes = volumes(pod).await;
    *pod.volumes.lock() = Some(volumes);
    pod.change_quietly(|record| record.sandbox_ready = true);
}

async fn volumes(pod: &Arc<PodContext>) -> Arc<VolumeSet> {
    let mut retry = FIRST_RETRY;
    let mut watched: Option<(Key, Subscription)> = None;
    let mut followed = Followed::default();
    loop {
        let error = match VolumeSet::set_up(pod, &mut followed).await {
            Ok(volumes) => return volumes,
            Err(error) => error,
        };
        if let Some(key) = error.object()
            && watched.as_ref().is_none_or(|(known, _)| known != key)
        {
            // Watched from here on, and tried again: no change can slip through in between.
            let mut subscription = pod.node.configs.subscribe(key);
            subscription.current().await;
            watched = Some((key.clone(), subscription));
            continue;
        }
        pod.event(EventType::Warning, "FailedMount", error.to_string());
        let cured = async {
            match &mut watched {
                Some((_, subscription)) => subscription.changed().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = tokio::time::sleep(retry) => {}
            () = cured => {}
        }
        retry = (retry * 2).min(LAST_RETRY);
    }
}
