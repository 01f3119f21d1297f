//! Which objects the pods of a node refer to. Follows the store's pods: each is read once, when it gets its node.
//!
//! Brought up to date by whoever asks, so that an answer knows of every pod that was bound before the question.

use crate::objects::Index;
use futures::FutureExt as _;
use serde::Deserialize;
use serde_json::Value;
use std::collections::{HashMap, HashSet};
use store::{Batch, Entry, Store, Watch};

const PODS: &[u8] = b"core/pods/";
const VOLUMES: &str = "core/persistentvolumes/";
const ATTACHMENTS: &str = "storage.k8s.io/volumeattachments/";
const MIRROR: &str = "kubernetes.io/config.mirror";

/// What pods refer to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Kind {
    Pod,
    Secret,
    ConfigMap,
    Claim,
    ServiceAccount,
    ResourceClaim,
    /// Related through the claim that it is bound to.
    Volume,
    /// Says itself which node it is for.
    Attachment,
}

type Reference = (Kind, Box<str>);

/// A pod's node, and what the pod refers to.
type Bound = (Box<str>, HashSet<Reference>);

/// All references are within one namespace: a pod's.
#[derive(Default)]
pub(super) struct Graph {
    watch: Option<Watch>,
    /// By the pod's key below [`PODS`]: its node and what it refers to.
    pods: HashMap<Box<[u8]>, Bound>,
    /// (node, namespace) → how many pods refer to each.
    nodes: HashMap<(Box<str>, Box<str>), HashMap<Reference, usize>>,
}

impl Graph {
    /// Whether a pod of `node` refers to the object.
    pub(super) fn relates(&mut self, store: &Store, node: &str, kind: Kind, (namespace, name): (&str, &str)) -> bool {
        match kind {
            Kind::Volume => {
                let volume = stored(store, &format!("{VOLUMES}{name}"));
                volume.is_some_and(|volume| self.relates_volume(store, node, &volume))
            }
            Kind::Attachment => {
                let attachment = stored(store, &format!("{ATTACHMENTS}{name}")).unwrap_or_default();
                text(&attachment, "/spec/nodeName") == node
            }
            _ => {
                self.refers(store, node, kind, (namespace, name)) || {
                    // Volumes have secrets of their own; whoever asks for none of them seldom gets here.
                    kind == Kind::Secret && self.relates_secret(store, node, (namespace, name))
                }
            }
        }
    }

    fn refers(&mut self, store: &Store, node: &str, kind: Kind, (namespace, name): (&str, &str)) -> bool {
        self.catch_up(store);
        let at = (Box::from(node), Box::from(namespace));
        self.nodes.get(&at).is_some_and(|known| known.contains_key(&(kind, name.into())))
    }

    fn relates_volume(&mut self, store: &Store, node: &str, volume: &Value) -> bool {
        let claim = (text(volume, "/spec/claimRef/namespace"), text(volume, "/spec/claimRef/name"));
        self.refers(store, node, Kind::Claim, claim)
    }

    /// Whether a volume that a pod of the node claims names the secret for its node to use (`VisitPVSecretNames`).
    fn relates_secret(&mut self, store: &Store, node: &str, secret: (&str, &str)) -> bool {
        let snapshot = store.snapshot();
        let mut volumes = snapshot.range(VOLUMES.as_bytes(), None);
        volumes.any(|(_, entry)| {
            let volume: Value = serde_json::from_slice(&entry.value.body).unwrap_or_default();
            names_secret(&volume, secret) && self.relates_volume(store, node, &volume)
        })
    }

    /// Takes in what happened to pods since the last time. What cannot be had at once is read anew.
    fn catch_up(&mut self, store: &Store) {
        loop {
            match self.watch.as_mut().and_then(|watch| watch.try_next().now_or_never()) {
                Some(Ok(Some(batch))) => self.apply(&batch),
                Some(Ok(None)) => return,
                None | Some(Err(_)) => break,
            }
        }
        *self = Self::default();
        let snapshot = store.snapshot();
        for (key, entry) in snapshot.range(PODS, None) {
            if let Some(node) = node_of(entry) {
                self.add(key, node, entry);
            }
        }
        self.watch = store.watch(PODS, snapshot.revision()).ok();
    }

    fn apply(&mut self, batch: &Batch) {
        for event in &batch.events {
            let node = event.entry.as_deref().and_then(node_of);
            if node == event.prev.as_deref().and_then(node_of) {
                continue;
            }
            self.remove(&event.key);
            if let (Some(node), Some(entry)) = (node, event.entry.as_deref()) {
                self.add(&event.key, node, entry);
            }
        }
    }

    fn add(&mut self, key: &[u8], node: &str, entry: &Entry) {
        let Some((namespace, name)) = subject(key) else { return };
        let references = references(name, &entry.value.body);
        let known = self.nodes.entry((node.into(), namespace.into())).or_default();
        for reference in &references {
            *known.entry(reference.clone()).or_default() += 1;
        }
        self.pods.insert(key.into(), (node.into(), references));
    }

    fn remove(&mut self, key: &[u8]) {
        let Some((node, references)) = self.pods.remove(key) else { return };
        let Some((namespace, _)) = subject(key) else { return };
        let at = (node, Box::from(namespace));
        let Some(known) = self.nodes.get_mut(&at) else { return };
        for reference in references {
            if let Some(count) = known.get_mut(&reference) {
                *count -= 1;
                if *count == 0 {
                    known.remove(&reference);
                }
            }
        }
        if known.is_empty() {
            self.nodes.remove(&at);
        }
    }
}

fn node_of(entry: &Entry) -> Option<&str> {
    Index::of(entry).field("spec.nodeName").filter(|node| !node.is_empty())
}

/// Namespace and name out of a pod's key.
fn subject(key: &[u8]) -> Option<(&str, &str)> {
    std::str::from_utf8(key.strip_prefix(PODS)?).ok()?.split_once('/')
}

fn stored(store: &Store, key: &str) -> Option<Value> {
    let snapshot = store.snapshot();
    serde_json::from_slice(&snapshot.get(key.as_bytes())?.value.body).ok()
}

fn text<'v>(value: &'v Value, pointer: &str) -> &'v str {
    value.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

/// Whether a PersistentVolume names a secret that its node reads. A namespace that is not said is the claim's.
fn names_secret(volume: &Value, (namespace, name): (&str, &str)) -> bool {
    const REFERENCES: [&str; 11] = [
        "cephfs/secretRef",
        "cinder/secretRef",
        "flexVolume/secretRef",
        "rbd/secretRef",
        "scaleIO/secretRef",
        "iscsi/secretRef",
        "storageos/secretRef",
        "csi/controllerPublishSecretRef",
        "csi/nodePublishSecretRef",
        "csi/nodeStageSecretRef",
        "csi/nodeExpandSecretRef",
    ];
    let claims = text(volume, "/spec/claimRef/namespace");
    let is = |given: &str, of: &str| {
        given == name && !name.is_empty() && (if of.is_empty() { claims } else { of }) == namespace
    };
    let named = |path: &&str| {
        let reference = volume.pointer(&format!("/spec/{path}")).unwrap_or(&Value::Null);
        is(text(reference, "/name"), text(reference, "/namespace"))
    };
    REFERENCES.iter().any(named)
        || is(text(volume, "/spec/azureFile/secretName"), text(volume, "/spec/azureFile/secretNamespace"))
}

#[derive(Deserialize)]
struct Pod {
    #[serde(default)]
    metadata: Metadata,
    #[serde(default)]
    spec: Value,
}

#[derive(Default, Deserialize)]
struct Metadata {
    #[serde(default)]
    annotations: HashMap<String, Value>,
}

fn references(pod: &str, body: &[u8]) -> HashSet<Reference> {
    let mut found = HashSet::from([(Kind::Pod, pod.into())]);
    let Ok(Pod { metadata, spec }) = serde_json::from_slice(body) else { return found };
    // A node makes its mirror pods itself: they give it no rights.
    if metadata.annotations.contains_key(MIRROR) {
        return found;
    }
    let mut add = |kind: Kind, name: Option<&Value>| {
        found.extend(name.and_then(Value::as_str).filter(|name| !name.is_empty()).map(|name| (kind, name.into())));
    };
    add(Kind::ServiceAccount, spec.get("serviceAccountName"));
    for secret in items(&spec, "imagePullSecrets") {
        add(Kind::Secret, secret.get("name"));
    }
    for container in ["containers", "initContainers", "ephemeralContainers"].iter().flat_map(|list| items(&spec, list))
    {
        for from in items(container, "env").filter_map(|env| env.get("valueFrom")) {
            add(Kind::Secret, from.pointer("/secretKeyRef/name"));
            add(Kind::ConfigMap, from.pointer("/configMapKeyRef/name"));
        }
        for from in items(container, "envFrom") {
            add(Kind::Secret, from.pointer("/secretRef/name"));
            add(Kind::ConfigMap, from.pointer("/configMapRef/name"));
        }
    }
    for volume in items(&spec, "volumes") {
        add(Kind::ConfigMap, volume.pointer("/configMap/name"));
        for path in ["/secret/secretName", "/azureFile/secretName", "/csi/nodePublishSecretRef/name"] {
            add(Kind::Secret, volume.pointer(path));
        }
        add(Kind::Claim, volume.pointer("/persistentVolumeClaim/claimName"));
        if volume.get("ephemeral").is_some_and(Value::is_object) {
            let name = volume.get("name").and_then(Value::as_str).unwrap_or_default();
            add(Kind::Claim, Some(&Value::String(format!("{pod}-{name}"))));
        }
        for source in volume.get("projected").into_iter().flat_map(|projected| items(projected, "sources")) {
            add(Kind::Secret, source.pointer("/secret/name"));
            add(Kind::ConfigMap, source.pointer("/configMap/name"));
        }
    }
    for claim in items(&spec, "resourceClaims") {
        add(Kind::ResourceClaim, claim.get("resourceClaimName"));
    }
    found
}

fn items<'v>(value: &'v Value, list: &str) -> impl Iterator<Item = &'v Value> + use<'v> {
    value.get(list).and_then(Value::as_array).into_iter().flatten()
}
