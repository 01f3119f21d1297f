//! What the files of a configMap, secret, downwardAPI or projected volume hold. Pure: objects and
//! tokens are fetched by the caller.

use std::collections::BTreeMap;
use std::path::PathBuf;

use api::k8s_openapi::api::core::v1::{
    DownwardAPIVolumeFile, KeyToPath, Pod, PodSpec, ProjectedVolumeSource, ServiceAccountTokenProjection, Volume,
};
use api::k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use bytes::Bytes;

use super::atomic::{File, Files};
use crate::configs::{Key, Kind, Payload};
use crate::env::fields::{self, PodFacts};
use crate::env::{ConfigError, Objects};
use crate::resources;

const DEFAULT_MODE: i32 = 0o644;

/// Why a volume's files can't be made.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum PayloadError {
    #[error(transparent)]
    Config(#[from] ConfigError),
    #[error("{} references non-existent {} key: {key}", .object.kind.lower(), if .object.kind == Kind::Secret { "secret" } else { "config" })]
    NoSuchKey { object: Key, key: String },
    #[error("{0} projections are not in this version of Skiff")]
    Unsupported(&'static str),
}

impl PayloadError {
    /// The object whose change would cure this.
    pub fn object(&self) -> Option<&Key> {
        match self {
            PayloadError::Config(error) => error.object(),
            PayloadError::NoSuchKey { object, .. } => Some(object),
            PayloadError::Unsupported(_) => None,
        }
    }
}

/// What the files are computed from.
#[derive(Clone, Copy)]
pub struct Sources<'a> {
    pub facts: PodFacts<'a>,
    pub spec: &'a PodSpec,
    pub objects: &'a Objects,
    pub allocatable: &'a BTreeMap<String, Quantity>,
    /// One per service account token source of a projected volume, in order; `None` where this
    /// cluster has no token API.
    pub tokens: &'a [Option<Bytes>],
}

/// Whether a volume is of this kind at all.
pub fn is_payload(volume: &Volume) -> bool {
    volume.config_map.is_some()
        || volume.secret.is_some()
        || volume.downward_api.is_some()
        || volume.projected.is_some()
}

/// The ConfigMaps and Secrets a volume shows.
pub fn references(volume: &Volume, namespace: &str) -> Vec<Key> {
    let key = |kind, name: &str| Key { kind, namespace: namespace.to_owned(), name: name.to_owned() };
    let mut out = Vec::new();
    out.extend(volume.config_map.as_ref().map(|v| key(Kind::ConfigMap, &v.name)));
    out.extend(volume.secret.as_ref().and_then(|v| v.secret_name.as_ref()).map(|n| key(Kind::Secret, n)));
    for source in projections(volume) {
        out.extend(source.config_map.as_ref().map(|v| key(Kind::ConfigMap, &v.name)));
        out.extend(source.secret.as_ref().map(|v| key(Kind::Secret, &v.name)));
    }
    out
}

/// Whether the files depend on the pod object, which may change.
pub fn shows_pod(volume: &Volume) -> bool {
    volume.downward_api.is_some() || projections(volume).any(|s| s.downward_api.is_some())
}

/// Whether volumes show the same of both versions of a pod: its labels, its annotations and its containers' resources are
/// all that may change of what they can refer to.
pub fn shows_same(one: &Pod, other: &Pod) -> bool {
    let (a, b) = (&one.metadata, &other.metadata);
    a.labels == b.labels && a.annotations == b.annotations && one.spec == other.spec
}

/// The service account tokens a volume shows.
pub fn token_sources(volume: &Volume) -> Vec<&ServiceAccountTokenProjection> {
    projections(volume).filter_map(|s| s.service_account_token.as_ref()).collect()
}

fn projections(volume: &Volume) -> impl Iterator<Item = &api::k8s_openapi::api::core::v1::VolumeProjection> {
    volume.projected.iter().flat_map(|p| p.sources.iter().flatten())
}

/// The files of a volume of this kind.
pub fn files(volume: &Volume, from: &Sources<'_>) -> Result<Files, PayloadError> {
    let mut out = Files::new();
    if let Some(v) = &volume.config_map {
        let mode = v.default_mode.unwrap_or(DEFAULT_MODE);
        object(&mut out, from, Kind::ConfigMap, &v.name, v.items.as_deref(), mode, v.optional)?;
    } else if let Some(v) = &volume.secret {
        let mode = v.default_mode.unwrap_or(DEFAULT_MODE);
        let name = v.secret_name.as_deref().unwrap_or_default();
        object(&mut out, from, Kind::Secret, name, v.items.as_deref(), mode, v.optional)?;
    } else if let Some(v) = &volume.downward_api {
        let mode = v.default_mode.unwrap_or(DEFAULT_MODE);
        downward(&mut out, from, v.items.as_deref().unwrap_or_default(), mode)?;
    } else if let Some(v) = &volume.projected {
        projected(&mut out, from, v)?;
    }
    Ok(out)
}

fn projected(out: &mut Files, from: &Sources<'_>, volume: &ProjectedVolumeSource) -> Result<(), PayloadError> {
    let mode = volume.default_mode.unwrap_or(DEFAULT_MODE);
    let mut tokens = from.tokens.iter();
    for source in volume.sources.iter().flatten() {
        if let Some(v) = &source.config_map {
            object(out, from, Kind::ConfigMap, &v.name, v.items.as_deref(), mode, v.optional)?;
        } else if let Some(v) = &source.secret {
            object(out, from, Kind::Secret, &v.name, v.items.as_deref(), mode, v.optional)?;
        } else if let Some(v) = &source.downward_api {
            downward(out, from, v.items.as_deref().unwrap_or_default(), mode)?;
        } else if let Some(v) = &source.service_account_token {
            if let Some(Some(token)) = tokens.next() {
                insert(out, &v.path, token.clone(), 0o600);
            }
        } else if source.cluster_trust_bundle.is_some() {
            return Err(PayloadError::Unsupported("clusterTrustBundle"));
        } else if source.pod_certificate.is_some() {
            return Err(PayloadError::Unsupported("podCertificate"));
        }
    }
    Ok(())
}

fn object(
    out: &mut Files,
    from: &Sources<'_>,
    kind: Kind,
    name: &str,
    items: Option<&[KeyToPath]>,
    mode: i32,
    optional: Option<bool>,
) -> Result<(), PayloadError> {
    let namespace = from.facts.pod.metadata.namespace.clone().unwrap_or_default();
    let key = Key { kind, namespace, name: name.to_owned() };
    let optional = optional == Some(true);
    let empty = Payload::default();
    let payload = match from.objects.get(&key) {
        Some(payload) => payload.as_ref(),
        None if optional => &empty,
        None => return Err(ConfigError::Missing(key).into()),
    };
    match items.filter(|items| !items.is_empty()) {
        None => {
            for (name, content) in &payload.entries {
                insert(out, name, content.clone(), mode);
            }
        }
        Some(items) => {
            for item in items {
                match payload.entries.get(&item.key) {
                    Some(content) => insert(out, &item.path, content.clone(), item.mode.unwrap_or(mode)),
                    None if optional => {}
                    None => return Err(PayloadError::NoSuchKey { object: key, key: item.key.clone() }),
                }
            }
        }
    }
    Ok(())
}

fn downward(
    out: &mut Files,
    from: &Sources<'_>,
    items: &[DownwardAPIVolumeFile],
    mode: i32,
) -> Result<(), PayloadError> {
    for item in items {
        let content = if let Some(field) = &item.field_ref {
            fields::value(&field.field_path, &from.facts).ok_or_else(|| ConfigError::Field(field.field_path.clone()))?
        } else if let Some(r) = &item.resource_field_ref {
            let name = r.container_name.as_deref().unwrap_or_default();
            let container = from
                .spec
                .containers
                .iter()
                .chain(from.spec.init_containers.iter().flatten())
                .find(|c| c.name == name)
                .ok_or_else(|| ConfigError::NoSuchContainer(name.to_owned()))?;
            resources::field(container, &r.resource, r.divisor.as_ref(), from.allocatable)
                .ok_or_else(|| ConfigError::Resource(r.resource.clone()))?
        } else {
            continue;
        };
        insert(out, &item.path, content.into_bytes().into(), item.mode.unwrap_or(mode));
    }
    Ok(())
}

fn insert(out: &mut Files, path: &str, content: Bytes, mode: i32) {
    let mode = u32::try_from(mode).unwrap_or(0o644);
    out.insert(PathBuf::from(path), File { content, mode });
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;
    use std::sync::Arc;

    fn run(volume: serde_json::Value, tokens: &[Option<Bytes>]) -> Result<Vec<(String, String, u32)>, PayloadError> {
        let pod = serde_json::from_value(json!({
            "metadata": {"name": "p", "namespace": "n", "labels": {"a": "b"}},
            "spec": {"containers": [{"name": "c", "resources": {"limits": {"memory": "64Mi"}}}]}
        }))
        .unwrap();
        let pod: api::k8s_openapi::api::core::v1::Pod = pod;
        let payload = Payload { entries: [("k1".into(), "v1".into()), ("k2".into(), "v2".into())].into() };
        let key = Key { kind: Kind::ConfigMap, namespace: "n".into(), name: "m".into() };
        let objects = Objects::from([(key, Arc::new(payload))]);
        let sources = Sources {
            facts: PodFacts { pod: &pod, pod_ip: None, host_ip: [127, 0, 0, 1].into(), node_name: "n1" },
            spec: pod.spec.as_ref().unwrap(),
            objects: &objects,
            allocatable: &BTreeMap::new(),
            tokens,
        };
        let volume: Volume = serde_json::from_value(volume).unwrap();
        let files = files(&volume, &sources)?;
        Ok(files
            .into_iter()
            .map(|(p, f)| (p.display().to_string(), String::from_utf8(f.content.to_vec()).unwrap(), f.mode))
            .collect())
    }

    fn file(path: &str, content: &str, mode: u32) -> (String, String, u32) {
        (path.into(), content.into(), mode)
    }

    #[test]
    fn config_maps_with_items_and_modes() {
        let all = run(json!({"name": "v", "configMap": {"name": "m"}}), &[]).unwrap();
        assert_eq!(all, [file("k1", "v1", 0o644), file("k2", "v2", 0o644)]);
        let some = json!({"name": "v", "configMap": {"name": "m", "defaultMode": 0o400,
            "items": [{"key": "k2", "path": "d/x", "mode": 0o600}, {"key": "k1", "path": "y"}]}});
        assert_eq!(run(some, &[]).unwrap(), [file("d/x", "v2", 0o600), file("y", "v1", 0o400)]);
    }

    #[test]
    fn what_is_missing_is_named_as_kubernetes_does() {
        let check = |volume, expected: &str| assert_eq!(run(volume, &[]).unwrap_err().to_string(), expected);
        check(json!({"name": "v", "configMap": {"name": "x"}}), "configmap \"x\" not found");
        check(json!({"name": "v", "secret": {"secretName": "s"}}), "secret \"s\" not found");
        check(
            json!({"name": "v", "configMap": {"name": "m", "items": [{"key": "z", "path": "z"}]}}),
            "configmap references non-existent config key: z",
        );
        let optional = json!({"name": "v", "secret": {"secretName": "s", "optional": true}});
        assert_eq!(run(optional, &[]).unwrap(), []);
    }

    #[test]
    fn projected_volumes_put_sources_together() {
        let volume = json!({"name": "v", "projected": {"sources": [
            {"configMap": {"name": "m", "items": [{"key": "k1", "path": "k1"}]}},
            {"downwardAPI": {"items": [
                {"path": "labels", "fieldRef": {"fieldPath": "metadata.labels"}},
                {"path": "mem", "resourceFieldRef": {"containerName": "c", "resource": "limits.memory"}}]}},
            {"serviceAccountToken": {"path": "token"}},
            {"serviceAccountToken": {"path": "other"}}]}});
        let files = run(volume, &[Some("jwt".into()), None]).unwrap();
        assert_eq!(
            files,
            [
                file("k1", "v1", 0o644),
                file("labels", "a=\"b\"", 0o644),
                file("mem", "67108864", 0o644),
                file("token", "jwt", 0o600)
            ]
        );
    }
}
