//! A small API server in memory, for tests: collections, merge patches, status, finalizers, graceful pods, watches.
//! It knows no kinds beyond the table below and validates nothing.

use crate::{Clock, Config, run};
use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, StreamBody, combinators::UnsyncBoxBody};
use kube::client::Body;
use parking_lot::Mutex;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

/// (group, version, plural, kind, namespaced)
const KINDS: &[(&str, &str, &str, &str, bool)] = &[
    ("", "v1", "namespaces", "Namespace", false),
    ("", "v1", "nodes", "Node", false),
    ("", "v1", "pods", "Pod", true),
    ("", "v1", "services", "Service", true),
    ("", "v1", "endpoints", "Endpoints", true),
    ("", "v1", "events", "Event", true),
    ("", "v1", "configmaps", "ConfigMap", true),
    ("", "v1", "serviceaccounts", "ServiceAccount", true),
    ("", "v1", "replicationcontrollers", "ReplicationController", true),
    ("", "v1", "resourcequotas", "ResourceQuota", true),
    ("", "v1", "persistentvolumeclaims", "PersistentVolumeClaim", true),
    ("apps", "v1", "deployments", "Deployment", true),
    ("apps", "v1", "replicasets", "ReplicaSet", true),
    ("batch", "v1", "jobs", "Job", true),
    ("coordination.k8s.io", "v1", "leases", "Lease", true),
    ("discovery.k8s.io", "v1", "endpointslices", "EndpointSlice", true),
    ("networking.k8s.io", "v1", "servicecidrs", "ServiceCIDR", false),
    ("networking.k8s.io", "v1", "ipaddresses", "IPAddress", false),
    ("policy", "v1", "poddisruptionbudgets", "PodDisruptionBudget", true),
];

type Answer = Response<UnsyncBoxBody<Bytes, Infallible>>;

#[derive(Default)]
struct State {
    revision: u64,
    objects: BTreeMap<(String, String, String), Value>,
    watchers: Vec<(String, mpsc::UnboundedSender<Bytes>)>,
    history: Vec<(String, u64, Bytes)>,
    requests: BTreeMap<String, usize>,
}

#[derive(Clone, Default)]
pub struct Fake(Arc<Mutex<State>>);

/// A running set of controllers against a fake server.
pub struct Cluster {
    pub fake: Fake,
    token: CancellationToken,
    task: tokio::task::JoinHandle<()>,
}

impl Cluster {
    /// Starts the named controllers.
    pub fn start(enabled: &[&str]) -> Self {
        Self::start_with(Fake::default(), enabled)
    }

    pub fn start_with(fake: Fake, enabled: &[&str]) -> Self {
        let token = CancellationToken::new();
        let mut config = Config::new(fake.client());
        config.enabled = enabled.iter().map(|name| (*name).to_owned()).collect();
        config.clock = Clock::following_tokio("2026-01-01T00:00:00Z".parse().unwrap());
        let task = tokio::spawn(run(config, token.clone()));
        Self { fake, token, task }
    }

    pub async fn stop(self) -> Fake {
        self.token.cancel();
        self.task.await.unwrap();
        self.fake
    }
}

impl Fake {
    pub fn client(&self) -> kube::Client {
        let fake = self.clone();
        let service = tower::service_fn(move |request: Request<Body>| {
            let fake = fake.clone();
            async move { Ok::<_, Infallible>(fake.serve(request).await) }
        });
        kube::Client::new(service, "default")
    }

    /// Puts an object in as a user would create it.
    pub fn create(&self, object: Value) -> Value {
        let (api_version, kind) = (object["apiVersion"].as_str().unwrap(), object["kind"].as_str().unwrap());
        let (group, _) = api_version.rsplit_once('/').unwrap_or(("", api_version));
        let row = KINDS.iter().find(|row| row.0 == group && row.3 == kind).unwrap();
        let mut state = self.0.lock();
        state.create(&collection(row), object).unwrap()
    }

    pub fn get(&self, plural: &str, key: &str) -> Option<Value> {
        let (namespace, name) = key.split_once('/').unwrap_or(("", key));
        let state = self.0.lock();
        let row = KINDS.iter().find(|row| row.2 == plural).unwrap();
        state.objects.get(&(collection(row), namespace.into(), name.into())).cloned()
    }

    pub fn list(&self, plural: &str) -> Vec<Value> {
        let row = KINDS.iter().find(|row| row.2 == plural).unwrap();
        let collection = collection(row);
        let state = self.0.lock();
        state.objects.iter().filter(|((c, _, _), _)| *c == collection).map(|(_, o)| o.clone()).collect()
    }

    /// Changes an object as some other client would.
    pub fn merge(&self, plural: &str, key: &str, patch: &Value) {
        let (namespace, name) = key.split_once('/').unwrap_or(("", key));
        let row = KINDS.iter().find(|row| row.2 == plural).unwrap();
        let mut state = self.0.lock();
        state.patch(&collection(row), namespace, name, patch, true).unwrap();
    }

    pub fn delete(&self, plural: &str, key: &str, options: &Value) {
        let (namespace, name) = key.split_once('/').unwrap_or(("", key));
        let row = KINDS.iter().find(|row| row.2 == plural).unwrap();
        self.0.lock().delete(&collection(row), namespace, name, options).unwrap();
    }

    pub fn requests(&self, what: &str) -> usize {
        self.0.lock().requests.get(what).copied().unwrap_or(0)
    }

    /// Waits, in paused time, until the condition holds; fails after `seconds`.
    pub async fn until(&self, seconds: u64, what: &str, condition: impl Fn(&Self) -> bool) {
        let deadline = tokio::time::Instant::now() + Duration::from_secs(seconds);
        while !condition(self) {
            assert!(tokio::time::Instant::now() < deadline, "{what}: not within {seconds} s");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// Plays the kubelet: every pod of the namespace runs and is ready.
    pub fn run_pods(&self, now: &str) {
        for pod in self.list("pods") {
            let meta = &pod["metadata"];
            let key = format!("{}/{}", meta["namespace"].as_str().unwrap(), meta["name"].as_str().unwrap());
            if pod["metadata"]["deletionTimestamp"].is_null() && pod["status"]["phase"].is_null() {
                let status = json!({"phase": "Running", "podIP": "127.64.0.9",
                    "conditions": [{"type": "Ready", "status": "True", "lastTransitionTime": now}]});
                self.merge("pods", &key, &json!({"status": status, "spec": {"nodeName": "n1"}}));
            }
        }
    }

    async fn serve(&self, request: Request<Body>) -> Answer {
        let (parts, body) = request.into_parts();
        let body = body.collect().await.map(|b| b.to_bytes()).unwrap_or_default();
        let body: Value = serde_json::from_slice(&body).unwrap_or(Value::Null);
        let query: BTreeMap<String, String> = parts
            .uri
            .query()
            .unwrap_or_default()
            .split('&')
            .filter_map(|pair| pair.split_once('='))
            .map(|(k, v)| (k.into(), v.into()))
            .collect();
        self.0.lock().handle(&parts.method, parts.uri.path(), &query, body)
    }
}

fn collection(row: &(&str, &str, &str, &str, bool)) -> String {
    if row.0.is_empty() { format!("api/{}/{}", row.1, row.2) } else { format!("apis/{}/{}/{}", row.0, row.1, row.2) }
}

fn answer(value: &Value) -> Answer {
    let code = value["code"].as_u64().filter(|_| value["kind"] == "Status").unwrap_or(200);
    let body = http_body_util::Full::new(Bytes::from(value.to_string())).boxed_unsync();
    Response::builder().status(StatusCode::from_u16(u16::try_from(code).unwrap()).unwrap()).body(body).unwrap()
}

fn failure(code: u16, reason: &str) -> Value {
    json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": code, "reason": reason, "message": reason})
}

fn merge(target: &mut Value, patch: &Value) {
    let Value::Object(patch) = patch else {
        *target = patch.clone();
        return;
    };
    if !target.is_object() {
        *target = json!({});
    }
    let map = target.as_object_mut().unwrap();
    for (field, value) in patch {
        if value.is_null() {
            map.remove(field);
        } else {
            merge(map.entry(field.clone()).or_insert(Value::Null), value);
        }
    }
}

impl State {
    fn handle(&mut self, method: &Method, path: &str, query: &BTreeMap<String, String>, body: Value) -> Answer {
        let parts: Vec<&str> = path.trim_matches('/').split('/').collect();
        if parts.len() < 3 {
            return answer(&discovery(parts[0]));
        }
        let root = if parts[0] == "api" { 2 } else { 3 };
        if parts.len() == root {
            return answer(&resources(parts[1..].join("/").trim_start_matches('/')));
        }
        let mut rest = &parts[root..];
        let mut namespace = "";
        if rest[0] == "namespaces" && rest.len() > 2 && !matches!(rest[2], "status" | "finalize") {
            namespace = rest[1];
            rest = &rest[2..];
        }
        let collection = format!("{}/{}", parts[..root].join("/"), rest[0]);
        let (name, sub) = (rest.get(1).copied(), rest.get(2).copied());
        *self
            .requests
            .entry(format!("{method} {}{}", rest[0], sub.map(|s| format!("/{s}")).unwrap_or_default()))
            .or_default() += 1;
        let result = match (method, name) {
            (&Method::GET, None) if query.get("watch").is_some_and(|w| w == "true") => {
                return self.watch(&collection, query["resourceVersion"].parse().unwrap());
            }
            (&Method::GET, None) => Ok(self.list(&collection, namespace)),
            (&Method::GET, Some(name)) => self.find(&collection, namespace, name),
            (&Method::POST, None) => self.create(&collection, body),
            (&Method::PATCH, Some(name)) => self.patch(&collection, namespace, name, &body, sub.is_some()),
            (&Method::PUT, Some(name)) => self.patch(&collection, namespace, name, &body, true),
            (&Method::DELETE, Some(name)) => self.delete(&collection, namespace, name, &body),
            (&Method::DELETE, None) => {
                for item in self.list(&collection, namespace)["items"].as_array().unwrap().clone() {
                    let _ = self.delete(&collection, namespace, item["metadata"]["name"].as_str().unwrap(), &body);
                }
                Ok(json!({"kind": "Status", "code": 200}))
            }
            _ => Err(failure(405, "MethodNotAllowed")),
        };
        answer(&result.unwrap_or_else(|status| status))
    }

    fn list(&self, collection: &str, namespace: &str) -> Value {
        let items: Vec<_> = self
            .objects
            .iter()
            .filter(|((c, n, _), _)| c == collection && (namespace.is_empty() || n == namespace))
            .map(|(_, object)| object.clone())
            .collect();
        json!({"kind": "List", "apiVersion": "v1", "metadata": {"resourceVersion": self.revision.to_string()}, "items": items})
    }

    fn find(&self, collection: &str, namespace: &str, name: &str) -> Result<Value, Value> {
        let key = (collection.to_owned(), namespace.to_owned(), name.to_owned());
        self.objects.get(&key).cloned().ok_or_else(|| failure(404, "NotFound"))
    }

    fn watch(&mut self, collection: &str, after: u64) -> Answer {
        let (sender, receiver) = mpsc::unbounded_channel();
        for (of, revision, line) in &self.history {
            if of == collection && *revision > after {
                sender.send(line.clone()).unwrap();
            }
        }
        self.watchers.push((collection.to_owned(), sender));
        let stream = futures::stream::unfold(receiver, |mut receiver| async move {
            let line = receiver.recv().await?;
            Some((Ok::<_, Infallible>(http_body::Frame::data(line)), receiver))
        });
        Response::new(BodyExt::boxed_unsync(StreamBody::new(stream)))
    }

    fn tell(&mut self, collection: &str, type_: &str, object: &Value) {
        let line = Bytes::from(format!("{}\n", json!({"type": type_, "object": object})));
        self.history.push((collection.to_owned(), self.revision, line.clone()));
        self.watchers.retain(|(of, sender)| of != collection || sender.send(line.clone()).is_ok());
    }

    fn store(&mut self, collection: &str, mut object: Value, type_: &str) -> Value {
        self.revision += 1;
        object["metadata"]["resourceVersion"] = json!(self.revision.to_string());
        let meta = &object["metadata"];
        let key = (
            collection.to_owned(),
            meta["namespace"].as_str().unwrap_or_default().to_owned(),
            meta["name"].as_str().unwrap().to_owned(),
        );
        if type_ == "DELETED" {
            self.objects.remove(&key);
        } else {
            self.objects.insert(key, object.clone());
        }
        self.tell(collection, type_, &object);
        object
    }

    fn create(&mut self, collection: &str, mut object: Value) -> Result<Value, Value> {
        let serial = self.revision + 1;
        if object["metadata"]["name"].is_null() {
            let prefix = object["metadata"]["generateName"].as_str().unwrap_or_default();
            object["metadata"]["name"] = json!(format!("{prefix}{serial:05}"));
        }
        let row = KINDS.iter().find(|row| self::collection(row) == collection).unwrap();
        object["kind"] = json!(row.3);
        object["apiVersion"] = json!(if row.0.is_empty() { row.1.into() } else { format!("{}/{}", row.0, row.1) });
        let meta = &object["metadata"];
        let namespace = meta["namespace"].as_str().unwrap_or_default();
        if self.find(collection, namespace, meta["name"].as_str().unwrap()).is_ok() {
            return Err(failure(409, "AlreadyExists"));
        }
        object["metadata"]["uid"] = json!(format!("uid-{serial}"));
        object["metadata"]["generation"] = json!(1);
        if object["metadata"]["creationTimestamp"].is_null() {
            object["metadata"]["creationTimestamp"] = json!("2026-01-01T00:00:00Z");
        }
        if row.3 == "Namespace" {
            object["spec"] = json!({"finalizers": ["kubernetes"]});
        }
        Ok(self.store(collection, object, "ADDED"))
    }

    fn patch(
        &mut self,
        collection: &str,
        namespace: &str,
        name: &str,
        patch: &Value,
        status: bool,
    ) -> Result<Value, Value> {
        let old = self.find(collection, namespace, name)?;
        let wanted = &patch["metadata"];
        for field in ["resourceVersion", "uid"] {
            if !wanted[field].is_null() && wanted[field] != old["metadata"][field] {
                return Err(failure(409, "Conflict"));
            }
        }
        let mut new = old.clone();
        merge(&mut new, patch);
        if new["spec"] != old["spec"] && !status {
            new["metadata"]["generation"] = json!(old["metadata"]["generation"].as_i64().unwrap_or(0) + 1);
        }
        if new == old {
            return Ok(old);
        }
        if is_over(&new) {
            return Ok(self.store(collection, new, "DELETED"));
        }
        Ok(self.store(collection, new, "MODIFIED"))
    }

    fn delete(&mut self, collection: &str, namespace: &str, name: &str, options: &Value) -> Result<Value, Value> {
        let mut object = self.find(collection, namespace, name)?;
        let uid = &options["preconditions"]["uid"];
        if !uid.is_null() && *uid != object["metadata"]["uid"] {
            return Err(failure(409, "Conflict"));
        }
        let finalizer = match options["propagationPolicy"].as_str() {
            Some("Foreground") => Some("foregroundDeletion"),
            Some("Orphan") => Some("orphan"),
            _ => None,
        };
        let mut finalizers = object["metadata"]["finalizers"].as_array().cloned().unwrap_or_default();
        if let Some(finalizer) = finalizer
            && !finalizers.iter().any(|f| f == finalizer)
        {
            finalizers.push(json!(finalizer));
        }
        let running = object["kind"] == "Pod" && !object["spec"]["nodeName"].is_null();
        let grace = if running { options["gracePeriodSeconds"].as_i64().unwrap_or(30) } else { 0 };
        if !finalizers.is_empty() {
            object["metadata"]["finalizers"] = json!(finalizers);
        }
        object["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:30Z");
        object["metadata"]["deletionGracePeriodSeconds"] = json!(grace);
        let type_ = if is_over(&object) { "DELETED" } else { "MODIFIED" };
        Ok(self.store(collection, object, type_))
    }
}

/// Deleted, and nothing holds it.
fn is_over(object: &Value) -> bool {
    let meta = &object["metadata"];
    let held = object["kind"] == "Namespace"
        && object["spec"]["finalizers"].as_array().is_some_and(|finalizers| !finalizers.is_empty());
    !meta["deletionTimestamp"].is_null()
        && meta["finalizers"].as_array().is_none_or(Vec::is_empty)
        && meta["deletionGracePeriodSeconds"].as_i64().unwrap_or(0) == 0
        && !held
}

fn discovery(root: &str) -> Value {
    let groups: std::collections::BTreeSet<_> = KINDS.iter().map(|row| row.0).collect();
    let group = |group: &str| {
        let rows = KINDS.iter().filter(|row| row.0 == group);
        let resources: Vec<_> = rows
            .map(|row| {
                json!({"resource": row.2, "scope": if row.4 { "Namespaced" } else { "Cluster" }, "singularResource": "x",
                    "responseKind": {"group": row.0, "version": row.1, "kind": row.3},
                    "verbs": ["create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"]})
            })
            .collect();
        json!({"metadata": {"name": group}, "versions": [{"version": "v1", "resources": resources}]})
    };
    let items: Vec<_> = groups.into_iter().filter(|name| name.is_empty() == (root == "api")).map(group).collect();
    json!({"kind": "APIGroupDiscoveryList", "apiVersion": "apidiscovery.k8s.io/v2", "metadata": {}, "items": items})
}

fn resources(_: &str) -> Value {
    failure(404, "NotFound")
}
