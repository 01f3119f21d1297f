//! A container's image and module: present, pulled or refused, in the kubelet's words.

use std::sync::Arc;
use std::time::Duration;

use api::k8s_openapi::api::core::v1::Container;
use images::{Image, ImageError, Keyring};
use runtime::{Flavor, LoadError, Module};
use tokio::time::Instant;

use super::Blocked;
use crate::configs::{Key, Kind};
use crate::events::EventType;
use crate::pod::{self, PodContext};
use crate::resources;

/// `imagePullPolicy`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PullPolicy {
    Always,
    IfNotPresent,
    Never,
}

impl PullPolicy {
    /// The container's policy, or Kubernetes' default for its image: `Always` for `:latest`.
    pub fn of(container: &Container) -> Self {
        match container.image_pull_policy.as_deref() {
            Some("Always") => Self::Always,
            Some("Never") => Self::Never,
            Some("IfNotPresent") => Self::IfNotPresent,
            _ => {
                let image = container.image.as_deref().unwrap_or_default();
                let last = image.rsplit('/').next().unwrap_or_default();
                let latest = !image.contains('@') && (!last.contains(':') || last.ends_with(":latest"));
                if latest { Self::Always } else { Self::IfNotPresent }
            }
        }
    }
}

/// Makes the image present and its module loaded.
pub async fn module(pod: &PodContext, index: usize, container: &Container) -> Result<(Image, Arc<Module>), Blocked> {
    let image = present(pod, index, container).await?;
    let flavor = match resources::limit(container, resources::FUEL) {
        Some(_) => Flavor::Fuel,
        None => Flavor::Plain,
    };
    match pod.node.config.runtime.load(&image.module, &image.digest, flavor).await {
        Ok(module) => Ok((image, module)),
        Err(error @ (LoadError::Read(_) | LoadError::Cache(_))) => {
            Err(Blocked::failed("CreateContainerError", error.to_string()))
        }
        Err(error) => Err(Blocked::failed("ErrImageInvalid", error.to_string())),
    }
}

async fn present(pod: &PodContext, index: usize, container: &Container) -> Result<Image, Blocked> {
    let name = container.image.as_deref().unwrap_or_default();
    let policy = PullPolicy::of(container);
    let store = &pod.node.config.images;
    let local = store.get(name).map_err(|error| refused(pod, index, name, &error))?;
    match local {
        // What was imported under this name has no registry to ask again.
        Some(image) if policy != PullPolicy::Always || is_imported(&image) || is_file(name) => {
            let message = format!("Container image \"{name}\" already present on machine");
            pod.container_event(index, EventType::Normal, "Pulled", message);
            Ok(image)
        }
        None if policy == PullPolicy::Never => {
            let message = format!("Container image \"{name}\" is not present with pull policy of Never");
            pod.container_event(index, EventType::Warning, "ErrImageNeverPull", message.clone());
            Err(Blocked::failed("ErrImageNeverPull", message))
        }
        _ => pull(pod, index, name).await,
    }
}

/// An image whose identity is its module's, not a registry manifest's.
fn is_imported(image: &Image) -> bool {
    image.id.ends_with(&image.digest)
}

fn is_file(name: &str) -> bool {
    name.starts_with("file://")
}

async fn pull(pod: &PodContext, index: usize, name: &str) -> Result<Image, Blocked> {
    pod.container_event(index, EventType::Normal, "Pulling", format!("Pulling image \"{name}\""));
    let keyring = keyring(pod).await;
    let begin = Instant::now();
    match pod.node.config.images.pull(name, &keyring).await {
        Ok(image) => {
            let took = go_duration(begin.elapsed());
            let size = image.size_bytes;
            let message = format!(
                "Successfully pulled image \"{name}\" in {took} ({took} including waiting). Image size: {size} bytes."
            );
            pod.container_event(index, EventType::Normal, "Pulled", message);
            Ok(image)
        }
        Err(error) => Err(refused(pod, index, name, &error)),
    }
}

fn refused(pod: &PodContext, index: usize, name: &str, error: &ImageError) -> Blocked {
    let reason = error.reason();
    let event = match reason {
        "InvalidImageName" => ("InspectFailed", error.to_string()),
        _ => ("Failed", format!("Failed to pull image \"{name}\": {error}")),
    };
    pod.container_event(index, EventType::Warning, event.0, event.1);
    if reason == "ErrImagePull" {
        Blocked::pull(name, error.to_string())
    } else {
        Blocked::failed(reason, error.to_string())
    }
}

/// The credentials of the pod's `imagePullSecrets`; secrets that can't be used are skipped, as the
/// kubelet does.
async fn keyring(pod: &PodContext) -> Keyring {
    let object = pod.object();
    let mut keyring = Keyring::empty();
    for reference in pod::spec(&object).image_pull_secrets.iter().flatten() {
        let name = reference.name.clone();
        let key = Key { kind: Kind::Secret, namespace: pod.namespace.clone(), name };
        let problem = match pod.node.configs.get(&key).await {
            Ok(Some(secret)) => {
                let added = if let Some(json) = secret.entries.get(".dockerconfigjson") {
                    keyring.add_docker_config_json(json)
                } else if let Some(json) = secret.entries.get(".dockercfg") {
                    keyring.add_docker_cfg(json)
                } else {
                    Ok(())
                };
                added.err().map(|e| e.to_string())
            }
            Ok(None) => Some("not found".to_owned()),
            Err(error) => Some(error.to_string()),
        };
        if let Some(problem) = problem {
            let message = format!("Unable to retrieve some image pull secrets ({}): {problem}", key.name);
            pod.event(EventType::Warning, "FailedToRetrieveImagePullSecret", message);
        }
    }
    keyring
}

/// A duration as Go prints it, to the millisecond: `12ms`, `1.234s`, `1m2.5s`.
fn go_duration(duration: Duration) -> String {
    let millis = duration.as_millis();
    if millis < 1000 {
        return format!("{millis}ms");
    }
    let (minutes, rest) = (millis / 60_000, millis % 60_000);
    let seconds = format!("{}.{:03}", rest / 1000, rest % 1000);
    let seconds = seconds.trim_end_matches('0').trim_end_matches('.');
    if minutes == 0 { format!("{seconds}s") } else { format!("{minutes}m{seconds}s") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_policy_follows_the_tag() {
        let of = |image: &str| PullPolicy::of(&Container { image: Some(image.into()), ..Default::default() });
        assert_eq!(of("app"), PullPolicy::Always);
        assert_eq!(of("localhost:5000/app"), PullPolicy::Always);
        assert_eq!(of("app:latest"), PullPolicy::Always);
        assert_eq!(of("app:1"), PullPolicy::IfNotPresent);
        assert_eq!(of("app@sha256:00"), PullPolicy::IfNotPresent);
    }

    #[test]
    fn durations_read_like_go() {
        assert_eq!(go_duration(Duration::from_micros(12_345)), "12ms");
        assert_eq!(go_duration(Duration::from_millis(1200)), "1.2s");
        assert_eq!(go_duration(Duration::from_millis(62_000)), "1m2s");
    }
}
