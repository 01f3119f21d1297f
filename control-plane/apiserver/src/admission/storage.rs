//! `StorageObjectInUseProtection`, `DefaultStorageClass` and `PersistentVolumeClaimResize`
//! (`plugin/pkg/admission/storage`).

use super::{Operation, Plugin, Request};
use api::quantity::Quantity;
use api::{Status, meta};
use futures::future::{self, BoxFuture};
use serde_json::{Value, json};
use store::Snapshot;

const CLAIMS: &str = "core/persistentvolumeclaims";
const VOLUMES: &str = "core/persistentvolumes";
const CLASSES: &str = "storage.k8s.io/storageclasses/";
const DEFAULT: &str = "storageclass.kubernetes.io/is-default-class";
const BETA_DEFAULT: &str = "storageclass.beta.kubernetes.io/is-default-class";
const BETA_CLASS: &str = "volume.beta.kubernetes.io/storage-class";

fn is_made(request: &Request<'_>) -> bool {
    request.operation == Operation::Create && request.subresource.is_empty()
}

/// Claims and volumes get a finalizer, which a controller takes away once nothing uses them.
pub(super) struct StorageObjectInUseProtection;

impl StorageObjectInUseProtection {
    fn finalizer(request: &Request<'_>) -> Option<&'static str> {
        match request.resource.storage.as_ref() {
            CLAIMS => Some("kubernetes.io/pvc-protection"),
            VOLUMES => Some("kubernetes.io/pv-protection"),
            _ => None,
        }
    }
}

impl Plugin for StorageObjectInUseProtection {
    fn handles(&self, request: &Request<'_>) -> bool {
        is_made(request) && Self::finalizer(request).is_some()
    }

    fn admit<'a>(&'a self, request: &'a mut Request<'_>) -> BoxFuture<'a, Result<(), Status>> {
        if let Some(finalizer) = Self::finalizer(request)
            && !meta::finalizers(request.object).any(|known| known == finalizer)
            && let Some(metadata) = meta::metadata_mut(request.object)
        {
            let list = metadata.entry("finalizers").or_insert_with(|| json!([]));
            if list.is_null() {
                *list = json!([]);
            }
            if let Some(list) = list.as_array_mut() {
                list.push(finalizer.into());
            }
        }
        Box::pin(future::ready(Ok(())))
    }
}

/// A claim that names no class gets the default one.
pub(super) struct DefaultStorageClass;

impl Plugin for DefaultStorageClass {
    fn handles(&self, request: &Request<'_>) -> bool {
        is_made(request) && request.resource.storage == CLAIMS
    }

    fn admit<'a>(&'a self, request: &'a mut Request<'_>) -> BoxFuture<'a, Result<(), Status>> {
        let says = meta::annotation(request.object, BETA_CLASS).is_some()
            || request.object.pointer("/spec/storageClassName").is_some_and(|name| !name.is_null());
        if !says
            && let Some(class) = default_class(request.snapshot)
            && let Some(spec) = request.object.get_mut("spec").and_then(Value::as_object_mut)
        {
            spec.insert("storageClassName".into(), class.into());
        }
        Box::pin(future::ready(Ok(())))
    }
}

/// The newest of the default classes; of several as old, the first by name. Claims are rare: nothing is remembered.
fn default_class(snapshot: &Snapshot) -> Option<String> {
    let mut best: Option<(String, String)> = None;
    for (_, entry) in snapshot.range(CLASSES.as_bytes(), None) {
        let Ok(class) = serde_json::from_slice::<Value>(&entry.value.body) else { continue };
        if ![DEFAULT, BETA_DEFAULT].iter().any(|key| meta::annotation(&class, key) == Some("true")) {
            continue;
        }
        let born = meta::creation_timestamp(&class).unwrap_or_default().to_owned();
        if best.as_ref().is_none_or(|(newest, _)| born > *newest) {
            best = Some((born, meta::name(&class).to_owned()));
        }
    }
    best.map(|(_, name)| name)
}

/// A bound claim grows only where its class says that its volumes may.
pub(super) struct PersistentVolumeClaimResize;

const SIZE: &str = "/spec/resources/requests/storage";

impl Plugin for PersistentVolumeClaimResize {
    fn handles(&self, request: &Request<'_>) -> bool {
        request.operation == Operation::Update
            && request.subresource.is_empty()
            && request.resource.storage == CLAIMS
            && request.old.is_some_and(|old| grows(request.object, old))
    }

    fn admit<'a>(&'a self, request: &'a mut Request<'_>) -> BoxFuture<'a, Result<(), Status>> {
        let old = request.old.unwrap_or(&Value::Null);
        let result = if old.pointer("/status/phase").is_none_or(|phase| phase != "Bound") {
            Err(request.forbidden("only bound persistent volume claims can be expanded"))
        } else if may_grow(request.object, old, request.snapshot) {
            Ok(())
        } else {
            Err(request.forbidden(
                "only dynamically provisioned pvc can be resized and the storageclass that provisions the pvc must \
                 support resize",
            ))
        };
        Box::pin(future::ready(result))
    }
}

fn grows(claim: &Value, old: &Value) -> bool {
    let size = |claim: &Value| claim.pointer(SIZE).and_then(|size| Quantity::from_value(size).ok());
    matches!((size(claim), size(old)), (Some(new), Some(old)) if new > old)
}

fn class(claim: &Value) -> Option<&str> {
    let field = || claim.pointer("/spec/storageClassName").and_then(Value::as_str);
    meta::annotation(claim, BETA_CLASS).or_else(field).filter(|class| !class.is_empty())
}

fn may_grow(claim: &Value, old: &Value, snapshot: &Snapshot) -> bool {
    let Some(name) = class(claim).filter(|name| Some(*name) == class(old)) else { return false };
    let stored = snapshot.get(format!("{CLASSES}{name}").as_bytes());
    let found = stored.and_then(|entry| serde_json::from_slice::<Value>(&entry.value.body).ok());
    found.is_some_and(|class| class.get("allowVolumeExpansion") == Some(&Value::Bool(true)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_claim_grows_when_it_asks_for_more() {
        let claim = |size: &str| json!({"spec": {"resources": {"requests": {"storage": size}}}});
        assert!(grows(&claim("2Gi"), &claim("1Gi")));
        assert!(!grows(&claim("1024Mi"), &claim("1Gi")));
        assert!(!grows(&claim("1Gi"), &json!({})));
    }

    #[test]
    fn the_class_is_what_the_annotation_says_or_the_field() {
        let annotated = json!({"metadata": {"annotations": {BETA_CLASS: "old"}}, "spec": {"storageClassName": "new"}});
        assert_eq!(class(&annotated), Some("old"));
        assert_eq!(class(&json!({"spec": {"storageClassName": ""}})), None);
        assert_eq!(class(&json!({"spec": {"storageClassName": "new"}})), Some("new"));
    }
}
