//! `ServiceAccount`: a pod runs as an account that exists, with a token for the API at the usual place unless it wants
//! none, and with the account's image pull secrets (`plugin/pkg/admission/serviceaccount`).

use super::{Operation, Plugin, Request, Shaped, secret_references};
use api::{Status, meta};
use futures::future::BoxFuture;
use serde_json::{Map, Value, json};
use std::time::Duration;
use store::Store;

const DEFAULT_ACCOUNT: &str = "default";
const MIRROR: &str = "kubernetes.io/config.mirror";
const VOLUME_PREFIX: &str = "kube-api-access-";
const MOUNT_PATH: &str = "/var/run/secrets/kubernetes.io/serviceaccount";
/// How long a pod waits for its account: a controller makes a new namespace's.
const PATIENCE: Duration = Duration::from_secs(2);
/// Seconds; see `registry::token` for what is special about it.
const TOKEN_SECONDS: i64 = 3_607;

pub(super) struct ServiceAccount {
    pub store: Store,
}

fn concerns(request: &Request<'_>) -> bool {
    request.resource.storage == "core/pods"
        && match request.operation {
            Operation::Create => request.subresource.is_empty(),
            Operation::Update => request.subresource == "ephemeralcontainers",
            Operation::Delete | Operation::Connect => false,
        }
}

/// The validating half: what webhooks have made of a pod must be as the account allows, too. Where they have changed
/// nothing, nothing has been changed that was looked at before.
pub(super) struct Again(pub ServiceAccount);

impl Plugin for Again {
    fn handles(&self, request: &Request<'_>) -> bool {
        request.beside.shaped == Shaped::ByWebhooks && concerns(request)
    }

    fn admit<'a>(&'a self, request: &'a mut Request<'_>) -> BoxFuture<'a, Result<(), Status>> {
        Box::pin(self.0.validate(request))
    }
}

impl Plugin for ServiceAccount {
    fn handles(&self, request: &Request<'_>) -> bool {
        concerns(request)
    }

    fn admit<'a>(&'a self, request: &'a mut Request<'_>) -> BoxFuture<'a, Result<(), Status>> {
        Box::pin(self.check(request))
    }
}

impl ServiceAccount {
    async fn check(&self, request: &mut Request<'_>) -> Result<(), Status> {
        if request.operation == Operation::Update {
            return self.check_ephemeral(request).await;
        }
        if meta::annotation(request.object, MIRROR).is_some() {
            return secret_references::mirror(request.object).map_err(|why| request.forbidden(why));
        }
        let Some(spec) = request.object.get_mut("spec").and_then(Value::as_object_mut) else { return Ok(()) };
        let name = spec.get("serviceAccountName").and_then(Value::as_str).filter(|name| !name.is_empty());
        let name = name.unwrap_or(DEFAULT_ACCOUNT).to_owned();
        spec.insert("serviceAccountName".into(), name.clone().into());
        spec.insert("serviceAccount".into(), name.clone().into());
        let Some(account) = self.account(request.namespace, &name).await else {
            return Err(missing(request, &name));
        };
        let automount = |object: Option<&Value>| object.and_then(Value::as_bool);
        let wants = automount(spec.get("automountServiceAccountToken"))
            .or_else(|| automount(account.get("automountServiceAccountToken")))
            .unwrap_or(true);
        if wants {
            mount_token(spec);
        }
        let none = spec.get("imagePullSecrets").and_then(Value::as_array).is_none_or(Vec::is_empty);
        if let Some(secrets) = account.get("imagePullSecrets").filter(|_| none) {
            spec.insert("imagePullSecrets".into(), secrets.clone());
        }
        secret_references::check(&account, request.object).map_err(|why| request.forbidden(why))
    }

    /// Looks at a pod as it would be stored.
    async fn validate(&self, request: &Request<'_>) -> Result<(), Status> {
        if request.operation == Operation::Update {
            return self.check_ephemeral(request).await;
        }
        if meta::annotation(request.object, MIRROR).is_some() {
            return secret_references::mirror(request.object).map_err(|why| request.forbidden(why));
        }
        let account = self.named(request).await?;
        secret_references::check(&account, request.object).map_err(|why| request.forbidden(why))
    }

    /// Containers that are added to a pod are held to what its account lists.
    async fn check_ephemeral(&self, request: &Request<'_>) -> Result<(), Status> {
        let account = self.named(request).await?;
        secret_references::check_ephemeral(&account, request.object).map_err(|why| request.forbidden(why))
    }

    /// The account that the pod names.
    async fn named(&self, request: &Request<'_>) -> Result<Value, Status> {
        let name = request.object.pointer("/spec/serviceAccountName").and_then(Value::as_str).unwrap_or_default();
        if name.is_empty() {
            let pod = meta::name(request.object);
            let why = format!("no service account specified for pod {}/{pod}", request.namespace);
            return Err(request.forbidden(why));
        }
        self.account(request.namespace, name).await.ok_or_else(|| missing(request, name))
    }

    /// The account, once it is there; `None` when it does not come.
    async fn account(&self, namespace: &str, name: &str) -> Option<Value> {
        let key = format!("core/serviceaccounts/{namespace}/{name}");
        let read = || {
            let snapshot = self.store.snapshot();
            let found = snapshot.get(key.as_bytes()).map(|entry| serde_json::from_slice(&entry.value.body));
            (snapshot.revision(), found.and_then(Result::ok))
        };
        let (revision, found) = read();
        if found.is_some() || name != DEFAULT_ACCOUNT {
            return found;
        }
        let mut watch = self.store.watch(key.as_bytes(), revision).ok()?;
        let came = async {
            while watch.next().await.is_ok() {
                if let (_, Some(account)) = read() {
                    return Some(account);
                }
            }
            None
        };
        tokio::time::timeout(PATIENCE, came).await.ok().flatten()
    }
}

fn missing(request: &Request<'_>, name: &str) -> Status {
    let namespace = request.namespace;
    let why = format!("error looking up service account {namespace}/{name}: serviceaccount {name:?} not found");
    request.forbidden(why)
}

/// Gives every container the account's token, unless something of its own is mounted there.
fn mount_token(spec: &mut Map<String, Value>) {
    let volumes = spec.get("volumes").and_then(Value::as_array).into_iter().flatten();
    let existing = volumes
        .filter_map(|volume| volume.get("name")?.as_str())
        .find(|name| name.starts_with(VOLUME_PREFIX))
        .map(String::from);
    let volume = existing.clone().unwrap_or_else(|| format!("{VOLUME_PREFIX}{}", suffix()));
    let mut needed = false;
    for list in ["initContainers", "containers"] {
        for container in spec.get_mut(list).and_then(Value::as_array_mut).into_iter().flatten() {
            let Some(container) = container.as_object_mut() else { continue };
            let mounts = container.entry("volumeMounts").or_insert_with(|| json!([]));
            if mounts.is_null() {
                *mounts = json!([]);
            }
            let Some(mounts) = mounts.as_array_mut() else { continue };
            if mounts.iter().all(|mount| mount.get("mountPath").is_none_or(|path| path != MOUNT_PATH)) {
                mounts.push(json!({"name": volume, "readOnly": true, "mountPath": MOUNT_PATH}));
                needed = true;
            }
        }
    }
    if existing.is_some() || !needed {
        return;
    }
    let volumes = spec.entry("volumes").or_insert_with(|| json!([]));
    if volumes.is_null() {
        *volumes = json!([]);
    }
    if let Some(volumes) = volumes.as_array_mut() {
        volumes.push(json!({"name": volume, "projected": {"defaultMode": 0o644, "sources": [
            {"serviceAccountToken": {"path": "token", "expirationSeconds": TOKEN_SECONDS}},
            {"configMap": {"name": "kube-root-ca.crt", "items": [{"key": "ca.crt", "path": "ca.crt"}]}},
            {"downwardAPI": {"items": [
                {"path": "namespace", "fieldRef": {"apiVersion": "v1", "fieldPath": "metadata.namespace"}},
            ]}},
        ]}}));
    }
}

/// Five characters as `generateName` uses them: no vowels, nothing that looks like another.
fn suffix() -> String {
    const ALPHABET: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";
    let mut bits: u64 = rand::random();
    let mut text = String::with_capacity(5);
    for _ in 0..5 {
        let at = usize::try_from(bits % ALPHABET.len() as u64).unwrap_or_default();
        text.push(char::from(ALPHABET[at]));
        bits /= ALPHABET.len() as u64;
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_container_gets_the_token_unless_it_has_its_own() {
        let mut spec = json!({
            "initContainers": [{"name": "i"}],
            "containers": [{"name": "a"}, {"name": "b", "volumeMounts": [{"name": "mine", "mountPath": MOUNT_PATH}]}],
        });
        mount_token(spec.as_object_mut().unwrap());
        let volume = spec["volumes"][0]["name"].as_str().unwrap().to_owned();
        assert!(volume.starts_with(VOLUME_PREFIX) && volume.len() == VOLUME_PREFIX.len() + 5);
        assert_eq!(spec["containers"][0]["volumeMounts"][0]["name"], volume);
        assert_eq!(spec["initContainers"][0]["volumeMounts"][0]["readOnly"], true);
        assert_eq!(spec["containers"][1]["volumeMounts"].as_array().unwrap().len(), 1);
        let before = spec.clone();
        mount_token(spec.as_object_mut().unwrap());
        assert_eq!(spec, before);
    }
}
