//! What the controllers ask of a pod. Pure.

use crate::clock::remaining;
use crate::k8s::api::core::v1::{Container, Pod, PodCondition, PodTemplateSpec};
use crate::k8s::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use jiff::{SignedDuration, Timestamp};
use std::time::Duration;

#[must_use]
pub fn phase(pod: &Pod) -> &str {
    pod.status.as_ref().and_then(|s| s.phase.as_deref()).unwrap_or("Pending")
}

/// Succeeded or Failed: it will never run again.
#[must_use]
pub fn is_terminal(pod: &Pod) -> bool {
    matches!(phase(pod), "Succeeded" | "Failed")
}

#[must_use]
pub fn is_terminating(pod: &Pod) -> bool {
    pod.metadata.deletion_timestamp.is_some()
}

/// Counts as a replica.
#[must_use]
pub fn is_active(pod: &Pod) -> bool {
    !is_terminal(pod) && !is_terminating(pod)
}

#[must_use]
pub fn node(pod: &Pod) -> &str {
    pod.spec.as_ref().and_then(|s| s.node_name.as_deref()).unwrap_or_default()
}

#[must_use]
pub fn uid(pod: &Pod) -> &str {
    pod.metadata.uid.as_deref().unwrap_or_default()
}

#[must_use]
pub fn name(pod: &Pod) -> &str {
    pod.metadata.name.as_deref().unwrap_or_default()
}

#[must_use]
pub fn condition<'a>(pod: &'a Pod, type_: &str) -> Option<&'a PodCondition> {
    pod.status.as_ref()?.conditions.iter().flatten().find(|c| c.type_ == type_)
}

#[must_use]
pub fn is_ready(pod: &Pod) -> bool {
    condition(pod, "Ready").is_some_and(|c| c.status == "True")
}

/// Since when the pod is ready.
#[must_use]
pub fn ready_since(pod: &Pod) -> Option<Timestamp> {
    condition(pod, "Ready").filter(|c| c.status == "True")?.last_transition_time.as_ref().map(|t| t.0)
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Availability {
    Available,
    /// Ready, but not for long enough yet.
    In(Duration),
    NotReady,
}

/// Whether the pod has been ready for `min_ready_seconds`.
#[must_use]
pub fn availability(pod: &Pod, min_ready_seconds: i32, now: Timestamp) -> Availability {
    if !is_ready(pod) {
        return Availability::NotReady;
    }
    if min_ready_seconds <= 0 {
        return Availability::Available;
    }
    match ready_since(pod) {
        None => Availability::NotReady,
        Some(since) => match remaining(since, SignedDuration::from_secs(min_ready_seconds.into()), now) {
            None => Availability::Available,
            Some(left) => Availability::In(left),
        },
    }
}

/// Drops what no controller asks of a pod, the larger part of its memory: what its containers are started with, and volumes
/// without claims. Controllers write pods with patches only, so nothing of it is lost.
pub fn trim(pod: &mut Pod) {
    if let Some(spec) = &mut pod.spec {
        spec.ephemeral_containers = None;
        let inits = spec.init_containers.iter_mut().flatten();
        for container in spec.containers.iter_mut().chain(inits) {
            *container = Container {
                name: std::mem::take(&mut container.name),
                image: container.image.take(),
                ports: container.ports.take(),
                resources: container.resources.take(),
                restart_policy: container.restart_policy.take(),
                ..Container::default()
            };
        }
        if let Some(volumes) = &mut spec.volumes {
            volumes.retain(|volume| volume.persistent_volume_claim.is_some() || volume.ephemeral.is_some());
        }
        spec.volumes = spec.volumes.take().filter(|volumes| !volumes.is_empty());
    }
    if let Some(status) = &mut pod.status {
        // Lists come out of the decoder with room for four.
        status.container_statuses.iter_mut().for_each(Vec::shrink_to_fit);
        status.conditions.iter_mut().for_each(Vec::shrink_to_fit);
    }
}

/// A pod made from a template for its controller; named by the server from `prefix`.
#[must_use]
pub fn from_template(template: &PodTemplateSpec, namespace: &str, prefix: &str, owner: OwnerReference) -> Pod {
    let meta = template.metadata.clone().unwrap_or_default();
    Pod {
        metadata: ObjectMeta {
            generate_name: Some(prefix.to_owned()),
            namespace: Some(namespace.to_owned()),
            labels: meta.labels,
            annotations: meta.annotations,
            finalizers: meta.finalizers,
            owner_references: Some(vec![owner]),
            ..ObjectMeta::default()
        },
        spec: template.spec.clone(),
        status: None,
    }
}

/// Names that are generated from `name-` may not be cut in the middle: Kubernetes drops the dash when it is too long.
#[must_use]
pub fn name_prefix(owner: &str) -> String {
    format!("{owner}-")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    #[test]
    fn what_controllers_ask_of_a_pod_outlives_its_trimming() {
        let container = json!({"name": "c", "image": "i", "ports": [{"containerPort": 80}], "env": [{"name": "A"}],
            "resources": {"requests": {"cpu": "1"}}, "volumeMounts": [{"name": "v", "mountPath": "/v"}]});
        let claim = json!({"name": "data", "persistentVolumeClaim": {"claimName": "x"}});
        let pod = json!({"metadata": {"name": "p", "labels": {"a": "b"}},
            "spec": {"nodeName": "n", "containers": [container], "tolerations": [{"operator": "Exists"}],
                "volumes": [{"name": "v", "configMap": {"name": "m"}}, claim]},
            "status": {"phase": "Running", "containerStatuses": [{"name": "c", "image": "i", "imageID": "", "ready": true,
                "restartCount": 2}]}});
        let mut trimmed: Pod = serde_json::from_value(pod.clone()).unwrap();
        trim(&mut trimmed);
        let trimmed: Value = serde_json::to_value(trimmed).unwrap();
        let mut expected = pod;
        expected["spec"]["containers"] = json!([{"name": "c", "image": "i", "ports": [{"containerPort": 80}],
            "resources": {"requests": {"cpu": "1"}}}]);
        expected["spec"]["volumes"] = json!([claim]);
        for part in ["metadata", "spec", "status"] {
            assert_eq!(trimmed[part], expected[part]);
        }
    }
}
