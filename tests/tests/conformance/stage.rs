//! What scenarios stand on: a cluster, a namespace, plain HTTP, and waiting by watching.

use futures::future::BoxFuture;
use futures::{AsyncBufReadExt as _, StreamExt as _, TryStreamExt as _};
use http::{Method, Request};
use http_body_util::BodyExt as _;
use kube::Client;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;
use tests::Cluster;
use tests::cluster::Options;

/// How long one thing that a scenario waits for may take, in a debug build on a busy machine.
pub const LIMIT: Duration = Duration::from_secs(60);

/// How many scenarios run at once.
const SIDE_BY_SIDE: usize = 6;

/// A scenario by its name.
pub type Scenario = (&'static str, fn(Scene) -> BoxFuture<'static, ()>);

/// The scenarios of a test, named after their functions.
macro_rules! scenarios {
    ($($name:path),+ $(,)?) => { &[$((stringify!($name), |scene| Box::pin($name(scene)))),+] };
}
pub(crate) use scenarios;

/// Plays all scenarios on one cluster, and says at the end which of them failed, and why.
pub async fn play(options: Options, scenarios: &[Scenario]) {
    let cluster = Arc::new(Cluster::start(options).await.expect("skiff starts"));
    let mut config = cluster.config().await;
    // A refusal for now is an answer, too: nobody asks again on the scenario's behalf.
    config.default_retry = false;
    let client = Client::try_from(config).expect("a client");
    let played = futures::stream::iter(scenarios.iter().copied().enumerate()).map(|(number, (name, scenario))| {
        let scene =
            Scene { cluster: Arc::clone(&cluster), client: client.clone(), namespace: namespace_of(name, number) };
        async move {
            let whole = async {
                scene.make_namespace().await;
                scenario(scene).await;
            };
            let ended =
                tokio::time::timeout(3 * LIMIT, futures::FutureExt::catch_unwind(AssertUnwindSafe(whole))).await;
            match ended {
                Ok(Ok(())) => None,
                Ok(Err(panic)) => Some(format!("{name}: {}", said(panic.as_ref()))),
                Err(_) => Some(format!("{name}: not within {:?}", 3 * LIMIT)),
            }
        }
    });
    let failed: Vec<String> = played.buffer_unordered(SIDE_BY_SIDE).filter_map(std::future::ready).collect().await;
    assert!(failed.is_empty(), "{} of {} scenarios failed:\n{}", failed.len(), scenarios.len(), failed.join("\n"));
}

/// A function's name as a namespace; the number keeps long ones apart.
fn namespace_of(scenario: &str, number: usize) -> String {
    let name = scenario.rsplit("::").next().unwrap_or(scenario).replace('_', "-");
    let short: String = name.chars().take(40).collect();
    format!("{}-{number}", short.trim_matches('-'))
}

fn said(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().cloned();
    text.or_else(|| panic.downcast_ref::<&str>().map(|t| (*t).to_owned())).unwrap_or_default()
}

/// The media types of patches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Patch {
    Merge,
    Strategic,
    Json,
    Apply,
}

impl Patch {
    const fn media_type(self) -> &'static str {
        match self {
            Self::Merge => "application/merge-patch+json",
            Self::Strategic => "application/strategic-merge-patch+json",
            Self::Json => "application/json-patch+json",
            Self::Apply => "application/apply-patch+yaml",
        }
    }
}

/// What the server answered.
#[derive(Debug)]
pub struct Answer {
    pub what: String,
    pub code: u16,
    pub headers: http::HeaderMap,
    pub body: Value,
    pub text: String,
}

impl Answer {
    /// The object of a success.
    #[track_caller]
    pub fn ok(self) -> Value {
        assert!((200..300).contains(&self.code), "{}: {} {}", self.what, self.code, self.text);
        self.body
    }

    /// The `Status` of a refusal with this code, whose message contains `text`.
    #[track_caller]
    pub fn refused(self, code: u16, text: &str) -> Value {
        let message = self.body["message"].as_str().unwrap_or(&self.text);
        assert!(
            self.code == code && message.contains(text),
            "{}: not {code} `{text}`: {} {}",
            self.what,
            self.code,
            self.text
        );
        self.body
    }
}

/// Where a scenario plays: a cluster that it shares, a namespace that it does not.
#[derive(Clone)]
pub struct Scene {
    pub cluster: Arc<Cluster>,
    pub client: Client,
    pub namespace: String,
}

impl Scene {
    async fn make_namespace(&self) {
        let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": self.namespace}});
        self.post("/api/v1/namespaces", namespace).await.ok();
        self.wait("serviceaccounts/default", "is there", |account| account.is_some()).await;
    }

    /// The same scene as another user.
    pub async fn impersonating(&self, user: &str) -> Self {
        self.impersonating_in(user, &[]).await
    }

    /// The same scene as another user of these groups.
    pub async fn impersonating_in(&self, user: &str, groups: &[&str]) -> Self {
        let mut config = self.cluster.config().await;
        config.auth_info.impersonate = Some(user.to_owned());
        config.auth_info.impersonate_groups =
            (!groups.is_empty()).then(|| groups.iter().map(|group| (*group).to_owned()).collect());
        Self { client: Client::try_from(config).expect("a client"), ..self.clone() }
    }

    /// The same scene with a bearer token and no certificate.
    pub async fn with_token(&self, token: &str) -> Self {
        let mut config = self.cluster.config().await;
        config.auth_info = kube::config::AuthInfo { token: Some(token.to_owned().into()), ..Default::default() };
        Self { client: Client::try_from(config).expect("a client"), ..self.clone() }
    }

    /// A path in the scenario's namespace: `pods/web`; whole paths (`/api/…`) stay as they are.
    pub fn path(&self, path: &str) -> String {
        if path.starts_with('/') {
            return path.to_owned();
        }
        let base = match path.split(['/', '?']).next().unwrap_or_default() {
            "deployments" | "replicasets" | "statefulsets" | "daemonsets" | "controllerrevisions" => "/apis/apps/v1",
            "jobs" | "cronjobs" => "/apis/batch/v1",
            "roles" | "rolebindings" => "/apis/rbac.authorization.k8s.io/v1",
            "leases" => "/apis/coordination.k8s.io/v1",
            "endpointslices" => "/apis/discovery.k8s.io/v1",
            "ingresses" | "networkpolicies" => "/apis/networking.k8s.io/v1",
            "poddisruptionbudgets" => "/apis/policy/v1",
            "horizontalpodautoscalers" => "/apis/autoscaling/v2",
            "localsubjectaccessreviews" => "/apis/authorization.k8s.io/v1",
            _ => "/api/v1",
        };
        format!("{base}/namespaces/{}/{path}", self.namespace)
    }

    /// One request, whatever the answer is.
    pub async fn call(&self, method: Method, path: &str, headers: &[(&str, &str)], body: impl Into<Vec<u8>>) -> Answer {
        let uri = self.path(path);
        let what = format!("{method} {uri}");
        let mut request = Request::builder().method(method).uri(uri);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(body.into().into()).expect("a valid request");
        let answer = tokio::time::timeout(LIMIT, self.client.send(request)).await;
        let answer = answer.unwrap_or_else(|_| panic!("{what}: no answer")).unwrap_or_else(|e| panic!("{what}: {e}"));
        let (parts, body) = answer.into_parts();
        let bytes = body.collect().await.unwrap_or_else(|e| panic!("{what}: {e}")).to_bytes();
        let text = String::from_utf8_lossy(&bytes).into_owned();
        let body = serde_json::from_str(&text).unwrap_or_default();
        Answer { what, code: parts.status.as_u16(), headers: parts.headers, body, text }
    }

    async fn send(&self, method: Method, path: &str, media_type: &str, body: &Value) -> Answer {
        let bytes = if body.is_null() { Vec::new() } else { body.to_string().into_bytes() };
        self.call(method, path, &[("content-type", media_type)], bytes).await
    }

    pub async fn get(&self, path: &str) -> Answer {
        self.call(Method::GET, path, &[], Vec::new()).await
    }

    /// GET with an `Accept` header.
    pub async fn get_as(&self, path: &str, accept: &str) -> Answer {
        self.call(Method::GET, path, &[("accept", accept)], Vec::new()).await
    }

    pub async fn post(&self, path: &str, object: Value) -> Answer {
        self.send(Method::POST, path, "application/json", &object).await
    }

    pub async fn put(&self, path: &str, object: &Value) -> Answer {
        self.send(Method::PUT, path, "application/json", object).await
    }

    pub async fn patch(&self, path: &str, kind: Patch, patch: Value) -> Answer {
        self.send(Method::PATCH, path, kind.media_type(), &patch).await
    }

    /// DELETE with options (`null`: none), of an object or a collection.
    pub async fn delete(&self, path: &str, options: Value) -> Answer {
        self.send(Method::DELETE, path, "application/json", &options).await
    }

    /// The items of a list.
    pub async fn items(&self, path: &str) -> Vec<Value> {
        self.get(path).await.ok()["items"].as_array().cloned().unwrap_or_default()
    }

    /// Opens a watch; `path` has its query, without `watch`.
    pub async fn watch(&self, path: &str) -> Watch {
        let uri = self.path(path);
        let uri = format!("{uri}{}watch=true", if uri.contains('?') { '&' } else { '?' });
        let request = Request::get(&uri).body(Vec::new()).expect("a valid request");
        let stream = self.client.request_stream(request).await.unwrap_or_else(|e| panic!("watch {uri}: {e}"));
        let lines = Box::pin(stream).lines().map_err(|e| e.to_string());
        Watch { what: uri, lines: lines.boxed() }
    }

    /// Waits until `check` likes the object at `path` (`None`: there is none), and returns it.
    pub async fn wait(&self, path: &str, what: &str, check: impl Fn(Option<&Value>) -> bool) -> Value {
        let (collection, name) = path.rsplit_once('/').expect("the path of an object");
        let of_one = format!("{collection}?fieldSelector=metadata.name%3D{name}");
        let items = self.wait_items(&of_one, what, |items| check(items.first())).await;
        items.into_iter().next().unwrap_or_default()
    }

    /// Waits until `check` likes the items of the collection, and returns them.
    pub async fn wait_items(&self, path: &str, what: &str, check: impl Fn(&[Value]) -> bool) -> Vec<Value> {
        let list = self.get(path).await.ok();
        let mut items: BTreeMap<String, Value> = BTreeMap::new();
        let key = |o: &Value| format!("{}/{}", o["metadata"]["namespace"], o["metadata"]["name"]);
        for item in list["items"].as_array().into_iter().flatten() {
            items.insert(key(item), item.clone());
        }
        let revision = list["metadata"]["resourceVersion"].as_str().expect("a list has a resourceVersion");
        let joint = if path.contains('?') { '&' } else { '?' };
        let mut watch = self.watch(&format!("{path}{joint}resourceVersion={revision}")).await;
        let deadline = tokio::time::Instant::now() + LIMIT;
        loop {
            let now: Vec<Value> = items.values().cloned().collect();
            if check(&now) {
                return now;
            }
            let event = tokio::time::timeout_at(deadline, watch.event()).await;
            let event = event.unwrap_or_else(|_| panic!("{path}: {what}: not within {LIMIT:?}: {}", json!(now)));
            let object = &event["object"];
            match event["type"].as_str() {
                Some("ADDED" | "MODIFIED") => _ = items.insert(key(object), object.clone()),
                Some("DELETED") => _ = items.remove(&key(object)),
                _ => panic!("{path}: {what}: {event}"),
            }
        }
    }

    /// Waits until there is no such object.
    pub async fn gone(&self, path: &str) {
        self.wait(path, "is gone", |object| object.is_none()).await;
    }
}

/// A running watch.
pub struct Watch {
    what: String,
    lines: futures::stream::BoxStream<'static, Result<String, String>>,
}

impl Watch {
    async fn event(&mut self) -> Value {
        let line = self.lines.next().await.unwrap_or_else(|| panic!("{}: the watch ended", self.what));
        serde_json::from_str(&line.unwrap_or_else(|e| panic!("{}: {e}", self.what))).expect("an event is JSON")
    }

    /// The next event.
    ///
    /// # Panics
    /// When none comes in time.
    pub async fn next(&mut self) -> Value {
        let event = tokio::time::timeout(LIMIT, self.event()).await;
        event.unwrap_or_else(|_| panic!("{}: no event within {LIMIT:?}", self.what))
    }

    /// The next event's type and object, which must be of this type.
    pub async fn expect(&mut self, kind: &str) -> Value {
        let mut event = self.next().await;
        assert_eq!(event["type"], kind, "{}: {event}", self.what);
        event["object"].take()
    }

    /// The events until one satisfies `last`, which is the last.
    pub async fn until(&mut self, last: impl Fn(&Value) -> bool) -> Vec<Value> {
        let mut events = Vec::new();
        loop {
            let event = self.next().await;
            let done = last(&event);
            events.push(event);
            if done {
                return events;
            }
        }
    }
}
