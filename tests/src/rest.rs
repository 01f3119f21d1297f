//! The API as paths and JSON: short enough that a test reads as what it does.
//!
//! A path is either whole (`/api/v1/...`) or short: `pods/web` means the pod `web` in `default`.

use crate::{Cluster, condition::eventually};
use http::{Method, Request};
use kube::Client;
use serde_json::{Value, json};
use std::time::Duration;

/// How long anything a test waits for may take, in a debug build on a busy machine.
pub const LIMIT: Duration = Duration::from_secs(60);

/// A client of one cluster.
#[derive(Clone)]
pub struct Rest {
    pub client: Client,
}

impl Rest {
    pub async fn of(cluster: &Cluster) -> Self {
        Self { client: cluster.client().await }
    }

    async fn send(&self, method: Method, path: &str, kind: &str, body: Vec<u8>) -> Result<String, kube::Error> {
        let request = Request::builder().method(method).uri(whole(path)).header("content-type", kind).body(body);
        self.client.request_text(request.expect("a valid request")).await
    }

    async fn send_json(&self, method: Method, path: &str, kind: &str, body: &Value) -> Result<Value, kube::Error> {
        let body = if body.is_null() { Vec::new() } else { body.to_string().into_bytes() };
        Ok(serde_json::from_str(&self.send(method, path, kind, body).await?).unwrap_or_default())
    }

    /// Creates `object` in its own namespace (`default` if it names none).
    pub async fn try_create(&self, object: &Value) -> Result<Value, kube::Error> {
        self.send_json(Method::POST, &collection(object), "application/json", object).await
    }

    /// # Panics
    /// When the server refuses it.
    pub async fn create(&self, object: Value) -> Value {
        self.try_create(&object).await.unwrap_or_else(|error| panic!("create {object}: {error}"))
    }

    /// Creates every document of a YAML file.
    pub async fn create_file(&self, path: &std::path::Path) {
        let text = std::fs::read_to_string(path).expect("the manifest is readable");
        for document in text.split("\n---\n") {
            self.create(serde_saphyr::from_str(document).expect("YAML")).await;
        }
    }

    /// `None` when it does not exist.
    pub async fn find(&self, path: &str) -> Option<Value> {
        match self.send_json(Method::GET, path, "application/json", &Value::Null).await {
            Ok(object) => Some(object),
            Err(kube::Error::Api(status)) if status.code == 404 => None,
            Err(error) => panic!("get {path}: {error}"),
        }
    }

    /// # Panics
    /// When it does not exist.
    pub async fn get(&self, path: &str) -> Value {
        self.find(path).await.unwrap_or_else(|| panic!("{path} does not exist"))
    }

    pub async fn items(&self, path: &str) -> Vec<Value> {
        self.get(path).await["items"].as_array().cloned().unwrap_or_default()
    }

    /// A text answer, such as a log.
    pub async fn text(&self, path: &str) -> Result<String, kube::Error> {
        self.send(Method::GET, path, "application/json", Vec::new()).await
    }

    /// A JSON merge patch.
    pub async fn try_patch(&self, path: &str, patch: &Value) -> Result<Value, kube::Error> {
        self.send_json(Method::PATCH, path, "application/merge-patch+json", patch).await
    }

    /// A JSON merge patch.
    ///
    /// # Panics
    /// When the server refuses it.
    pub async fn patch(&self, path: &str, patch: Value) -> Value {
        let answer = self.try_patch(path, &patch).await;
        answer.unwrap_or_else(|error| panic!("patch {path}: {error}"))
    }

    /// DELETE with `options` (`null` for none).
    pub async fn delete(&self, path: &str, options: Value) -> Value {
        let answer = self.send_json(Method::DELETE, path, "application/json", &options).await;
        answer.unwrap_or_else(|error| panic!("delete {path}: {error}"))
    }

    /// Looks at `path` until `check` finds what it wants.
    pub async fn until<T>(&self, path: &str, what: &str, check: impl Fn(&Value) -> Option<T>) -> T {
        eventually(&format!("{path}: {what}"), LIMIT, || async {
            let object = self.find(path).await.unwrap_or_default();
            check(&object).ok_or_else(|| {
                if object["items"].is_array() { object.to_string() } else { object["status"].to_string() }
            })
        })
        .await
    }

    /// Waits until `path` does not exist.
    pub async fn gone(&self, path: &str) {
        eventually(&format!("{path} is gone"), LIMIT, || async {
            self.find(path).await.map_or(Ok(()), |object| Err(object.to_string()))
        })
        .await;
    }

    /// Waits until the pod is Ready.
    pub async fn ready(&self, name: &str) -> Value {
        self.until(&format!("pods/{name}"), "Ready", |pod| has_condition(pod, "Ready", "True").then(|| pod.clone()))
            .await
    }

    /// Waits until the pod's phase is `phase`.
    pub async fn phase(&self, name: &str, phase: &str) -> Value {
        self.until(&format!("pods/{name}"), phase, |pod| (pod["status"]["phase"] == phase).then(|| pod.clone())).await
    }

    /// The whole log of a pod's only container.
    pub async fn log(&self, name: &str) -> String {
        self.text(&format!("pods/{name}/log")).await.unwrap_or_else(|error| panic!("log of {name}: {error}"))
    }

    /// Waits for an event about `object` and returns its message.
    pub async fn event(&self, object: &str, reason: &str) -> String {
        let path = format!("events?fieldSelector=involvedObject.name={object}");
        self.until(&path, reason, |list| {
            let mut events = list["items"].as_array()?.iter();
            Some(events.find(|e| e["reason"] == reason)?["message"].as_str()?.to_owned())
        })
        .await
    }
}

/// A pod `name` of one container `main`; `container` is merged into the container, `spec` into the spec.
pub fn pod(name: &str, image: &str, container: Value, spec: Value) -> Value {
    let mut main = json!({"name": "main", "image": image, "imagePullPolicy": "IfNotPresent"});
    merge(&mut main, container);
    let mut whole = json!({"restartPolicy": "Never", "terminationGracePeriodSeconds": 1, "containers": [main]});
    merge(&mut whole, spec);
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": name, "labels": {"app": name}}, "spec": whole,
    })
}

/// Puts the fields of `patch` over those of `into`.
pub fn merge(into: &mut Value, patch: Value) {
    if let Value::Object(fields) = patch {
        for (key, value) in fields {
            into[key] = value;
        }
    }
}

/// Whether an object's status has this condition.
pub fn has_condition(object: &Value, kind: &str, status: &str) -> bool {
    condition(object, kind).is_some_and(|c| c["status"] == status)
}

/// A condition of an object's status.
pub fn condition<'a>(object: &'a Value, kind: &str) -> Option<&'a Value> {
    object["status"]["conditions"].as_array()?.iter().find(|c| c["type"] == kind)
}

fn whole(path: &str) -> String {
    if path.starts_with('/') {
        return path.to_owned();
    }
    let plural = path.split(['/', '?']).next().unwrap_or_default();
    let base = match plural {
        "namespaces" | "nodes" => return format!("/api/v1/{path}"),
        "deployments" | "replicasets" => "/apis/apps/v1",
        "jobs" => "/apis/batch/v1",
        "endpointslices" => "/apis/discovery.k8s.io/v1",
        _ => "/api/v1",
    };
    format!("{base}/namespaces/default/{path}")
}

fn collection(object: &Value) -> String {
    let kind = object["kind"].as_str().expect("a kind").to_lowercase();
    let version = object["apiVersion"].as_str().expect("an apiVersion");
    let base = if version.contains('/') { format!("/apis/{version}") } else { format!("/api/{version}") };
    match kind.as_str() {
        "namespace" | "node" | "servicecidr" => format!("{base}/{kind}s"),
        _ => {
            let namespace = object["metadata"]["namespace"].as_str().unwrap_or("default");
            format!("{base}/namespaces/{namespace}/{kind}s")
        }
    }
}
