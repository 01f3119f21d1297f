//! Lifecycle hooks: `postStart` and `preStop`, as httpGet or sleep. exec needs a process that Wasm
//! doesn't have; it comes with `kubectl exec`.

use std::time::Duration;

use api::k8s_openapi::api::core::v1::{Container, LifecycleHandler};

use crate::pod::PodContext;
use crate::probes::check::Action;

/// For one HTTP call of a hook; the kubelet has no limit of its own, the grace period bounds preStop.
const HTTP_TIMEOUT: Duration = Duration::from_secs(30);

/// Runs a hook to its end; the error is the event's message.
pub async fn run(pod: &PodContext, container: &Container, hook: &LifecycleHandler) -> Result<(), String> {
    if let Some(sleep) = &hook.sleep {
        tokio::time::sleep(Duration::from_secs(u64::try_from(sleep.seconds).unwrap_or(0))).await;
        Ok(())
    } else if let Some(get) = &hook.http_get {
        let action = Action::http(get, container, "lifecycle hooks").map_err(|e| e.to_string())?;
        let ip = pod.read(|r| r.ip).ok_or("the pod has no address")?;
        action.run(ip, HTTP_TIMEOUT).await
    } else if hook.exec.is_some() {
        Err("exec hooks are not in this version of Skiff".to_owned())
    } else {
        Err("unsupported kind of hook".to_owned())
    }
}

/// The hook after the start, if there is one.
pub fn post_start(container: &Container) -> Option<&LifecycleHandler> {
    container.lifecycle.as_ref()?.post_start.as_ref()
}

/// The hook before the end, if there is one.
pub fn pre_stop(container: &Container) -> Option<&LifecycleHandler> {
    container.lifecycle.as_ref()?.pre_stop.as_ref()
}
