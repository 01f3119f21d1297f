//! Enough of an API server for an agent: create, get, list, watch, patch, delete, in memory.
//! Knows no kinds; a strategic patch is a merge patch without directives.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::{StreamExt, stream};
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full, StreamBody, combinators::UnsyncBoxBody};
use hyper::body::Frame;
use kube::client::Body;
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::sync::watch;

type ResponseBody = UnsyncBoxBody<Bytes, Infallible>;

/// The server; clones are the same one.
#[derive(Clone)]
pub struct FakeApi {
    state: Arc<Mutex<State>>,
    revision: Arc<watch::Sender<u64>>,
}

#[derive(Default)]
struct State {
    /// By `collection/namespace/name`, e.g. `/api/v1/pods` + namespace + name.
    objects: BTreeMap<Key, Value>,
    history: Vec<(u64, Key, &'static str, Value)>,
    requests: Vec<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Key {
    collection: String,
    namespace: String,
    name: String,
}

/// A path, parsed.
struct Target {
    key: Key,
    subresource: String,
}

fn parse(path: &str) -> Target {
    let mut parts = path.trim_matches('/').split('/').collect::<Vec<_>>();
    let prefix: Vec<&str> = parts.drain(..if parts[0] == "api" { 2 } else { 3 }).collect();
    let namespace = if parts.first() == Some(&"namespaces") && parts.len() > 2 {
        parts.drain(..2).nth(1).unwrap().to_owned()
    } else {
        String::new()
    };
    let part = |i: usize| parts.get(i).copied().unwrap_or_default().to_owned();
    let collection = format!("/{}/{}", prefix.join("/"), part(0));
    Target { key: Key { collection, namespace, name: part(1) }, subresource: part(2) }
}

impl FakeApi {
    pub fn new() -> Self {
        Self { state: Arc::default(), revision: Arc::new(watch::Sender::new(1)) }
    }

    pub fn client(&self) -> kube::Client {
        let api = self.clone();
        let service = tower::service_fn(move |request: Request<Body>| {
            let api = api.clone();
            async move { Ok::<_, Infallible>(api.handle(request).await) }
        });
        kube::Client::new(service, "default")
    }

    /// Requests so far whose method and path contain `text`.
    pub fn requests(&self, text: &str) -> usize {
        self.state.lock().requests.iter().filter(|r| r.contains(text)).count()
    }

    pub fn create(&self, collection: &str, object: Value) -> Value {
        let key = Key {
            collection: collection.into(),
            namespace: object["metadata"]["namespace"].as_str().unwrap_or_default().into(),
            name: object["metadata"]["name"].as_str().unwrap().into(),
        };
        self.insert(key, object).unwrap()
    }

    pub fn get(&self, collection: &str, namespace: &str, name: &str) -> Option<Value> {
        let key = Key { collection: collection.into(), namespace: namespace.into(), name: name.into() };
        self.state.lock().objects.get(&key).cloned()
    }

    /// The first version of an object that `check` accepts, of all that there were.
    pub fn ever(&self, collection: &str, namespace: &str, name: &str, check: impl Fn(&Value) -> bool) -> Option<Value> {
        let key = Key { collection: collection.into(), namespace: namespace.into(), name: name.into() };
        let state = self.state.lock();
        let versions = state.history.iter().filter(|(_, k, _, _)| *k == key);
        versions.map(|(_, _, _, object)| object).find(|object| check(object)).cloned()
    }

    pub fn list(&self, collection: &str) -> Vec<Value> {
        let state = self.state.lock();
        state.objects.iter().filter(|(k, _)| k.collection == collection).map(|(_, v)| v.clone()).collect()
    }

    pub fn patch(&self, collection: &str, namespace: &str, name: &str, patch: &Value) {
        let key = Key { collection: collection.into(), namespace: namespace.into(), name: name.into() };
        self.modify(&key, |object| merge(object, patch));
    }

    pub fn delete(&self, namespace: &str, name: &str, grace: i64) {
        let key = Key { collection: "/api/v1/pods".into(), namespace: namespace.into(), name: name.into() };
        self.remove(&key, Some(grace));
    }

    /// Waits until `check` gives something, looking again after each change.
    pub async fn wait<T>(&self, what: &str, mut check: impl FnMut(&Self) -> Option<T>) -> T {
        let mut revision = self.revision.subscribe();
        let deadline = tokio::time::Instant::now() + Duration::from_secs(120);
        loop {
            if let Some(found) = check(self) {
                return found;
            }
            if tokio::time::timeout_at(deadline, revision.changed()).await.is_err() {
                let requests = self.state.lock().requests.clone();
                panic!("waited too long for {what}; {requests:#?}; pods: {:#}", json!(self.list("/api/v1/pods")));
            }
        }
    }

    fn insert(&self, key: Key, mut object: Value) -> Option<Value> {
        let mut state = self.state.lock();
        if state.objects.contains_key(&key) {
            return None;
        }
        object["metadata"]["uid"] = json!(format!("uid-{}-{}", key.name, state.history.len()));
        object["metadata"]["creationTimestamp"] = json!("2026-01-01T00:00:00Z");
        object["metadata"]["generation"] = json!(1);
        Some(self.store(&mut state, key, object, "ADDED"))
    }

    fn store(&self, state: &mut State, key: Key, mut object: Value, type_: &'static str) -> Value {
        let revision = *self.revision.borrow() + 1;
        object["metadata"]["resourceVersion"] = json!(revision.to_string());
        if type_ == "DELETED" {
            state.objects.remove(&key);
        } else {
            state.objects.insert(key.clone(), object.clone());
        }
        state.history.push((revision, key, type_, object.clone()));
        self.revision.send_replace(revision);
        object
    }

    fn modify(&self, key: &Key, change: impl FnOnce(&mut Value)) -> Option<Value> {
        let mut state = self.state.lock();
        let mut object = state.objects.get(key)?.clone();
        change(&mut object);
        Some(self.store(&mut state, key.clone(), object, "MODIFIED"))
    }

    fn remove(&self, key: &Key, grace: Option<i64>) -> Option<Value> {
        let mut state = self.state.lock();
        let mut object = state.objects.get(key)?.clone();
        let default = object["spec"]["terminationGracePeriodSeconds"].as_i64().unwrap_or(0);
        let grace = grace.unwrap_or(default);
        if grace > 0 {
            object["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
            object["metadata"]["deletionGracePeriodSeconds"] = json!(grace);
            return Some(self.store(&mut state, key.clone(), object, "MODIFIED"));
        }
        Some(self.store(&mut state, key.clone(), object, "DELETED"))
    }

    async fn handle(&self, request: Request<Body>) -> Response<ResponseBody> {
        let (parts, body) = request.into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        let value: Value = serde_json::from_slice(&body).unwrap_or_default();
        let query: BTreeMap<String, String> = form(parts.uri.query().unwrap_or_default()).into_iter().collect();
        let Target { key, subresource } = parse(parts.uri.path());
        self.state.lock().requests.push(format!("{} {}", parts.method, parts.uri));
        let result = match parts.method {
            Method::GET if key.name.is_empty() && query.get("watch").is_some_and(|w| w == "true") => {
                return self.watch(key.collection, &query);
            }
            Method::GET if key.name.is_empty() => Some(self.page(&key.collection, &query)),
            Method::GET => self.state.lock().objects.get(&key).cloned(),
            Method::POST if key.name.is_empty() => {
                let name = value["metadata"]["name"].as_str().unwrap().to_owned();
                match self.insert(Key { name, ..key }, value) {
                    Some(object) => Some(object),
                    None => return answer(StatusCode::CONFLICT, &failure(409, "AlreadyExists")),
                }
            }
            Method::POST if subresource == "token" => {
                Some(json!({"status": {"token": format!("token of {}", key.name)}}))
            }
            Method::POST => None,
            Method::PUT => self.modify(&key, |object| *object = value),
            Method::PATCH => {
                let uid = self.state.lock().objects.get(&key).map(|o| o["metadata"]["uid"].clone());
                if uid.is_some_and(|uid| value["metadata"]["uid"].is_string() && value["metadata"]["uid"] != uid) {
                    return answer(StatusCode::CONFLICT, &failure(409, "Conflict"));
                }
                let _ = subresource;
                self.modify(&key, |object| merge(object, &value))
            }
            Method::DELETE => self.remove(&key, value["gracePeriodSeconds"].as_i64()),
            _ => None,
        };
        match result {
            Some(object) => answer(StatusCode::OK, &object),
            None => answer(StatusCode::NOT_FOUND, &failure(404, "NotFound")),
        }
    }

    fn page(&self, collection: &str, query: &BTreeMap<String, String>) -> Value {
        let state = self.state.lock();
        let items: Vec<_> = state
            .objects
            .iter()
            .filter(|(k, v)| k.collection == collection && selected(v, query))
            .map(|(_, v)| v.clone())
            .collect();
        json!({"kind": "List", "apiVersion": "v1", "items": items,
            "metadata": {"resourceVersion": self.revision.borrow().to_string()}})
    }

    fn watch(&self, collection: String, query: &BTreeMap<String, String>) -> Response<ResponseBody> {
        let after: u64 = query.get("resourceVersion").and_then(|v| v.parse().ok()).unwrap_or(0);
        let (api, query) = (self.clone(), query.clone());
        let frames = stream::unfold((after, self.revision.subscribe()), move |(after, mut changed)| {
            let (api, query, collection) = (api.clone(), query.clone(), collection.clone());
            async move {
                loop {
                    changed.borrow_and_update();
                    let mut out = String::new();
                    let mut last = after;
                    for (revision, key, type_, object) in &api.state.lock().history {
                        if *revision > after && key.collection == collection && selected(object, &query) {
                            out.push_str(&json!({"type": type_, "object": object}).to_string());
                            out.push('\n');
                            last = *revision;
                        }
                    }
                    if !out.is_empty() {
                        return Some((Ok(Frame::data(Bytes::from(out))), (last, changed)));
                    }
                    changed.changed().await.ok()?;
                }
            }
        });
        Response::new(StreamBody::new(frames.boxed()).boxed_unsync())
    }
}

fn selected(object: &Value, query: &BTreeMap<String, String>) -> bool {
    let Some(selector) = query.get("fieldSelector") else { return true };
    let (field, wanted) = selector.split_once('=').unwrap();
    let pointer = format!("/{}", field.replace('.', "/"));
    object.pointer(&pointer).and_then(Value::as_str) == Some(wanted)
}

fn form(query: &str) -> Vec<(String, String)> {
    let decode = |text: &str| text.replace("%3D", "=").replace("%2F", "/");
    query.split('&').filter_map(|p| p.split_once('=')).map(|(k, v)| (decode(k), decode(v))).collect()
}

fn merge(target: &mut Value, patch: &Value) {
    match patch {
        Value::Object(fields) => {
            if !target.is_object() {
                *target = json!({});
            }
            for (name, value) in fields {
                if value.is_null() {
                    target.as_object_mut().unwrap().remove(name);
                } else {
                    merge(&mut target[name], value);
                }
            }
        }
        Value::Array(items) => {
            let items = items.iter().filter(|i| i.get("$patch").is_none());
            *target = items.cloned().collect();
        }
        other => *target = other.clone(),
    }
}

fn failure(code: u16, reason: &str) -> Value {
    json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
        "message": reason, "reason": reason, "code": code})
}

fn answer(code: StatusCode, value: &Value) -> Response<ResponseBody> {
    let body = Full::new(Bytes::from(value.to_string())).boxed_unsync();
    Response::builder().status(code).header("content-type", "application/json").body(body).unwrap()
}
