//! Typed calls to the API server, the same for both scopes. Knows HTTP only through `kube`.

use super::key::Key;
use crate::Error;
use kube::Client;
use kube::api::{DeleteParams, GetParams, ListParams, Patch, PatchParams, PostParams};
use kube::core::Request;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};
use std::fmt::Debug;

/// Who writes, in managed fields and events.
pub const MANAGER: &str = "kube-controller-manager";

/// A built-in kind, as the controllers use them.
pub trait Kind:
    kube::Resource<DynamicType = ()> + Clone + Debug + Serialize + DeserializeOwned + Send + Sync + 'static
{
}
impl<K> Kind for K where
    K: kube::Resource<DynamicType = ()> + Clone + Debug + Serialize + DeserializeOwned + Send + Sync + 'static
{
}

/// What is left of a deleted object.
#[derive(Debug)]
pub enum Deleted<K> {
    /// It waits for its grace period or its finalizers.
    Terminating(Box<K>),
    /// It is gone, or was before.
    Gone,
}

#[derive(Clone)]
pub struct Access {
    client: Client,
}

impl Access {
    #[must_use]
    pub fn new(client: Client) -> Self {
        Self { client }
    }

    #[must_use]
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// The collection's path, such as `/api/v1/namespaces/default/pods`.
    #[must_use]
    pub fn path<K: Kind>(namespace: Option<&str>) -> String {
        K::url_path(&(), namespace)
    }

    pub async fn create<K: Kind>(&self, object: &K) -> Result<K, Error> {
        let meta = object.meta();
        let what = || {
            let name = meta.name.as_deref().or(meta.generate_name.as_deref()).unwrap_or_default();
            format!("{} {}/{name}", K::kind(&()), meta.namespace.as_deref().unwrap_or_default())
        };
        let body = serde_json::to_vec(object).map_err(|e| Error::api("encode", what())(kube::Error::SerdeError(e)))?;
        let params = PostParams { field_manager: Some(MANAGER.into()), ..PostParams::default() };
        let request = Request::new(Self::path::<K>(meta.namespace.as_deref())).create(&params, body);
        self.send(request).await.map_err(|e| Error::api("create", what())(e))
    }

    /// Reads the object from the server, not from an informer.
    pub async fn get<K: Kind>(&self, key: &Key) -> Result<Option<K>, Error> {
        let request = Request::new(Self::path::<K>(key.scope())).get(key.name(), &GetParams::default());
        match self.send(request).await {
            Ok(object) => Ok(Some(object)),
            Err(kube::Error::Api(status)) if status.code == 404 => Ok(None),
            Err(error) => Err(Error::api("get", format!("{} {key}", K::kind(&())))(error)),
        }
    }

    /// Merge-patches the object. A `metadata.resourceVersion` in the patch makes it conditional.
    pub async fn patch<K: Kind>(&self, key: &Key, patch: &Value) -> Result<K, Error> {
        self.patch_at(&Self::path::<K>(key.scope()), key.name(), patch).await
    }

    pub async fn patch_status<K: Kind>(&self, key: &Key, patch: &Value) -> Result<K, Error> {
        let request = Request::new(Self::path::<K>(key.scope())).patch_subresource(
            "status",
            key.name(),
            &patch_params(),
            &Patch::Merge(patch),
        );
        self.send(request).await.map_err(|e| Error::api("update the status of", format!("{} {key}", K::kind(&())))(e))
    }

    /// Merge-patches the object `name` in the collection at `path`, of whatever kind.
    pub async fn patch_at<T: DeserializeOwned>(&self, path: &str, name: &str, patch: &Value) -> Result<T, Error> {
        let request = Request::new(path).patch(name, &patch_params(), &Patch::Merge(patch));
        self.send(request).await.map_err(|e| Error::api("patch", format!("{path}/{name}"))(e))
    }

    pub async fn delete<K: Kind>(&self, key: &Key, params: &DeleteParams) -> Result<Deleted<K>, Error> {
        let body: Option<Value> = self.delete_at(&Self::path::<K>(key.scope()), key.name(), params).await?;
        let object = body.filter(|o| !o["metadata"]["deletionTimestamp"].is_null() && !ends_at_once(o));
        Ok(match object.and_then(|o| serde_json::from_value(o).ok()) {
            Some(object) => Deleted::Terminating(Box::new(object)),
            None => Deleted::Gone,
        })
    }

    /// Deletes; what is gone already is fine. Answers the object as the server returned it, if it did.
    pub async fn delete_at(&self, path: &str, name: &str, params: &DeleteParams) -> Result<Option<Value>, Error> {
        match self.send::<Value>(Request::new(path).delete(name, params)).await {
            Ok(body) if body["kind"] == "Status" => Ok(None),
            Ok(body) => Ok(Some(body)),
            Err(kube::Error::Api(status)) if status.code == 404 => Ok(None),
            Err(error) => Err(Error::api("delete", format!("{path}/{name}"))(error)),
        }
    }

    pub async fn delete_collection(&self, path: &str, params: &DeleteParams) -> Result<(), Error> {
        let request = Request::new(path).delete_collection(params, &ListParams::default());
        match self.send::<Value>(request).await {
            Ok(_) => Ok(()),
            Err(error) => Err(Error::api("delete the collection", path)(error)),
        }
    }

    /// A raw request, for the few paths without a typed call.
    pub async fn send<T: DeserializeOwned>(
        &self,
        request: Result<http::Request<Vec<u8>>, kube::core::request::Error>,
    ) -> Result<T, kube::Error> {
        self.client.request(request.map_err(kube::Error::BuildRequest)?).await
    }
}

fn patch_params() -> PatchParams {
    PatchParams { field_manager: Some(MANAGER.into()), ..PatchParams::default() }
}

/// A delete without grace and finalizers: what came back is the object's last state.
fn ends_at_once(object: &Value) -> bool {
    object["metadata"]["deletionGracePeriodSeconds"].as_i64().unwrap_or(0) == 0
        && object["metadata"]["finalizers"].as_array().is_none_or(Vec::is_empty)
}

/// The merge patch (RFC 7386) that turns `old` into `new`; `None` when they are equal.
#[must_use]
pub fn merge_diff(old: &Value, new: &Value) -> Option<Value> {
    match (old, new) {
        (Value::Object(old), Value::Object(new)) => {
            let mut patch = Map::new();
            for (field, value) in new {
                match old.get(field) {
                    Some(before) => {
                        if let Some(change) = merge_diff(before, value) {
                            patch.insert(field.clone(), change);
                        }
                    }
                    None => {
                        patch.insert(field.clone(), value.clone());
                    }
                }
            }
            for field in old.keys().filter(|field| !new.contains_key(*field)) {
                patch.insert(field.clone(), Value::Null);
            }
            (!patch.is_empty()).then_some(Value::Object(patch))
        }
        (old, new) if old == new => None,
        (_, new) => Some(new.clone()),
    }
}

/// The status patch that turns `old` into `new`, conditional on `version`; `None` when nothing changed.
#[must_use]
pub fn status_patch<S: Serialize>(version: Option<&str>, old: &S, new: &S) -> Option<Value> {
    let (old, new) = (serde_json::to_value(old).ok()?, serde_json::to_value(new).ok()?);
    let change = match (&old, &new) {
        (Value::Object(_), _) => merge_diff(&old, &new)?,
        _ if old == new => return None,
        _ => new,
    };
    Some(match version {
        Some(version) => json!({"metadata": {"resourceVersion": version}, "status": change}),
        None => json!({"status": change}),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn merge_diff_sets_changes_and_removes() {
        let old = json!({"a": 1, "b": {"c": 1, "d": 2}, "e": [1], "same": true});
        let new = json!({"a": 2, "b": {"c": 1}, "e": [1, 2], "f": "new", "same": true});
        assert_eq!(merge_diff(&old, &new), Some(json!({"a": 2, "b": {"d": null}, "e": [1, 2], "f": "new"})));
        assert_eq!(merge_diff(&old, &old), None);
    }
}
