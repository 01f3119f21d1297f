//! `StorageObjectInUseProtection` and `DefaultStorageClass` (`plugin/pkg/admission/storage`).

use super::{Operation, Plugin, Request};
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
