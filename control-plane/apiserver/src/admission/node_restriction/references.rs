//! What a pod needs of the API: a mirror pod, which its node runs whether the API allows it or not, needs nothing
//! (`HasAPIObjectReference`).

use super::super::secret_references::names_secrets;
use super::text;
use serde_json::Value;

/// Volumes that are objects of the API, and what they are called in errors.
const VOLUMES: [(&str, &str); 7] = [
    ("configMap", "configmaps (via configmap volumes)"),
    ("secret", "secrets (via secret volumes)"),
    ("csi", "csidrivers (via CSI volumes)"),
    ("glusterfs", "endpoints (via glusterFS volumes)"),
    ("persistentVolumeClaim", "persistentvolumeclaims"),
    ("ephemeral", "persistentvolumeclaims (via ephemeral volumes)"),
    ("azureFile", "secrets (via azureFile volumes)"),
];
const SOURCES: [(&str, &str); 5] = [
    ("configMap", "configmaps (via projected volumes)"),
    ("secret", "secrets (via projected volumes)"),
    ("serviceAccountToken", "serviceaccounts (via projected volumes)"),
    ("clusterTrustBundle", "clustertrustbundles"),
    ("podCertificate", "podcertificates"),
];

fn items<'v>(value: &'v Value, field: &str) -> impl Iterator<Item = &'v Value> {
    value.get(field).and_then(Value::as_array).into_iter().flatten()
}

fn has(value: &Value, field: &str) -> bool {
    value.get(field).is_some_and(Value::is_object)
}

/// The first thing of the API that a pod refers to.
pub(super) fn of(pod: &Value) -> Option<&'static str> {
    let spec = pod.get("spec")?;
    if !text(spec, "/serviceAccountName").is_empty() {
        return Some("serviceaccounts");
    }
    if names_secrets(pod) {
        return Some("secrets");
    }
    if names_config_maps(spec) {
        return Some("configmaps");
    }
    if items(spec, "resourceClaims").next().is_some() {
        return Some("resourceclaims");
    }
    items(spec, "volumes").find_map(|volume| {
        let named = VOLUMES.iter().find(|(field, _)| has(volume, field)).map(|(_, what)| *what);
        let projected = volume.get("projected").into_iter().flat_map(|projected| items(projected, "sources"));
        let source = |source: &Value| SOURCES.iter().find(|(field, _)| has(source, field)).map(|(_, what)| *what);
        named.or_else(|| projected.into_iter().find_map(source))
    })
}

/// `VisitPodConfigmapNames`.
fn names_config_maps(spec: &Value) -> bool {
    let containers = ["initContainers", "containers", "ephemeralContainers"];
    let in_container = |container: &Value| {
        items(container, "env").any(|env| env.pointer("/valueFrom/configMapKeyRef").is_some_and(Value::is_object))
            || items(container, "envFrom").any(|from| has(from, "configMapRef"))
    };
    let in_volume = |volume: &Value| {
        let sources = volume.get("projected").into_iter().flat_map(|projected| items(projected, "sources"));
        has(volume, "configMap") || sources.into_iter().any(|source| has(source, "configMap"))
    };
    containers.iter().flat_map(|field| items(spec, field)).any(in_container) || items(spec, "volumes").any(in_volume)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_pod_that_needs_nothing_of_the_api_may_be_a_mirror() {
        let plain = json!([{"name": "a", "emptyDir": {}}, {"name": "b", "hostPath": {"path": "/"}},
            {"name": "c", "projected": {"sources": [{"downwardAPI": {}}]}}]);
        let env = |source: Value| json!({"containers": [{"name": "c", "env": [{"name": "A", "valueFrom": source}]}]});
        let projected = |source: Value| json!({"volumes": [{"name": "v", "projected": {"sources": [source]}}]});
        for (spec, wanted) in [
            (json!({"volumes": plain}), None),
            (env(json!({"fieldRef": {"fieldPath": "metadata.name"}})), None),
            (json!({"serviceAccountName": "a"}), Some("serviceaccounts")),
            (env(json!({"secretKeyRef": {"name": "s", "key": "k"}})), Some("secrets")),
            (env(json!({"configMapKeyRef": {"name": "s", "key": "k"}})), Some("configmaps")),
            (projected(json!({"configMap": {"name": "m"}})), Some("configmaps")),
            (json!({"resourceClaims": [{"name": "r"}]}), Some("resourceclaims")),
            (json!({"volumes": [{"csi": {"driver": "d"}}]}), Some("csidrivers (via CSI volumes)")),
            (json!({"volumes": [{"ephemeral": {}}]}), Some("persistentvolumeclaims (via ephemeral volumes)")),
            (projected(json!({"serviceAccountToken": {"path": "t"}})), Some("serviceaccounts (via projected volumes)")),
        ] {
            assert_eq!(of(&json!({"spec": spec})), wanted, "{spec}");
        }
    }
}
