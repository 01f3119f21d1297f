//! Requests straight onto the handler with a store in memory: no ports, no TLS, the same code as for remote clients.

mod admission;
mod answers;
mod apply;
mod autoscalers;
mod bad_input;
mod crd;
mod crd_conversion;
mod crd_rules;
mod create;
mod delete;
mod disk;
mod eviction;
mod hook_server;
mod list;
mod node_rights;
mod nodes;
mod patch;
mod pod_parts;
mod protocol;
mod rbac;
mod reviews;
mod server;
mod service_repair;
mod services;
mod shared;
mod subresources;
mod tokens;
mod update;
mod watch;
mod webhooks;
mod websocket;
mod wire;
mod zeros;

use crate::config::Config;
use crate::core::Core;
use crate::local::LocalService;
use crate::pki::{AccountKey, Names, Pki};
use crate::user::User;
use axum::body::Body;
use bytes::Bytes;
use http::{HeaderMap, Method, Request, Response, StatusCode};
use http_body_util::BodyExt as _;
use jiff::Timestamp;
use serde_json::{Value, json};
use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;
use tower::ServiceExt as _;

/// A server without a network.
pub(crate) struct Cluster {
    pub core: Arc<Core>,
    service: LocalService,
    seconds: Arc<AtomicI64>,
}

pub(crate) struct Answer {
    pub code: StatusCode,
    pub headers: HeaderMap,
    pub bytes: Bytes,
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.bytes).unwrap_or_else(|e| panic!("{e}: {:?}", self.bytes))
    }

    /// Empty: the answer has none by this name.
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }
}

impl Cluster {
    pub(crate) async fn new() -> Self {
        Self::with(|_| {}).await
    }

    pub(crate) async fn with(change: impl FnOnce(&mut Config)) -> Self {
        let seconds = Arc::new(AtomicI64::new(1_800_000_000));
        let mut config = Config::new(store::Store::open(store::Options::memory()).unwrap());
        let clock = Arc::clone(&seconds);
        config.clock = Arc::new(move || Timestamp::from_second(clock.load(Ordering::Relaxed)).unwrap());
        change(&mut config);
        let core = Core::new(&config, SocketAddr::from(([127, 0, 0, 1], 6443)));
        let pki = Pki::ephemeral(&Names::new(None, &[])).unwrap();
        core.set_keys(pki, &AccountKey::generate().unwrap()).unwrap();
        crate::bootstrap::run(&core).await.unwrap();
        crate::crd::start(&core).await.unwrap();
        core.set_ready();
        let service = LocalService::new(Arc::clone(&core), User::component("system:admin"));
        Self { core, service, seconds }
    }

    /// A request in the name of another user.
    pub(crate) async fn as_user(&self, user: User, method: &str, path: &str, body: &Value) -> Answer {
        let service = LocalService::new(Arc::clone(&self.core), user);
        Self { core: Arc::clone(&self.core), service, seconds: Arc::clone(&self.seconds) }
            .json(method, path, body)
            .await
    }

    /// A request over the network with a bearer token.
    pub(crate) async fn with_token(&self, token: &str, path: &str) -> Answer {
        let request = Request::get(path).header("authorization", format!("Bearer {token}")).body(Body::empty());
        let caller = crate::handler::Caller::Network(None);
        let (parts, body) = crate::handler::handle(&self.core, caller, request.unwrap()).await.into_parts();
        Answer { code: parts.status, headers: parts.headers, bytes: body.collect().await.unwrap().to_bytes() }
    }

    pub(crate) fn advance(&self, by: Duration) {
        self.seconds.fetch_add(i64::try_from(by.as_secs()).unwrap(), Ordering::Relaxed);
    }

    pub(crate) async fn response(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: impl Into<Body>,
    ) -> Response<Body> {
        let mut request = Request::builder().method(method.parse::<Method>().unwrap()).uri(path);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        self.service.clone().oneshot(request.body(body.into()).unwrap()).await.unwrap()
    }

    pub(crate) async fn send(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: impl Into<Body>,
    ) -> Answer {
        let (parts, body) = self.response(method, path, headers, body).await.into_parts();
        Answer { code: parts.status, headers: parts.headers, bytes: body.collect().await.unwrap().to_bytes() }
    }

    async fn json(&self, method: &str, path: &str, body: &Value) -> Answer {
        let kind = match method {
            "PATCH" if body.is_array() => "application/json-patch+json",
            "PATCH" => "application/merge-patch+json",
            _ => "application/json",
        };
        let bytes = if body.is_null() { Vec::new() } else { serde_json::to_vec(body).unwrap() };
        self.send(method, path, &[("content-type", kind)], bytes).await
    }

    /// A request that succeeds.
    pub(crate) async fn ok(&self, method: &str, path: &str, body: Value) -> Value {
        let answer = self.json(method, path, &body).await;
        assert!(answer.code.is_success(), "{method} {path}: {} {:?}", answer.code, answer.bytes);
        answer.json()
    }

    /// A request that fails with a Status whose code is the HTTP code.
    pub(crate) async fn fails(&self, method: &str, path: &str, body: Value) -> Value {
        let answer = self.json(method, path, &body).await;
        assert!(!answer.code.is_success(), "{method} {path}: {} {:?}", answer.code, answer.bytes);
        let status = answer.json();
        assert_eq!(status["kind"], "Status");
        assert_eq!(status["code"], answer.code.as_u16());
        status
    }

    pub(crate) async fn get(&self, path: &str) -> Value {
        self.ok("GET", path, Value::Null).await
    }

    pub(crate) async fn post(&self, path: &str, body: Value) -> Value {
        self.ok("POST", path, body).await
    }

    pub(crate) async fn watch(&self, path: &str) -> Events {
        let response = self.response("GET", path, &[], Body::empty()).await;
        assert_eq!(response.status(), StatusCode::OK);
        Events { body: response.into_body(), lines: VecDeque::new(), partial: Vec::new() }
    }
}

/// The lines of a watch.
pub(crate) struct Events {
    body: Body,
    lines: VecDeque<Value>,
    partial: Vec<u8>,
}

impl Events {
    /// The next event; `None` at the end of the stream.
    pub(crate) async fn next(&mut self) -> Option<Value> {
        loop {
            if let Some(line) = self.lines.pop_front() {
                return Some(line);
            }
            let frame =
                tokio::time::timeout(Duration::from_secs(3600), self.body.frame()).await.expect("an event in time")?;
            self.partial.extend_from_slice(&frame.unwrap().into_data().unwrap());
            while let Some(end) = self.partial.iter().position(|b| *b == b'\n') {
                let line: Vec<u8> = self.partial.drain(..=end).collect();
                self.lines.push_back(serde_json::from_slice(&line).unwrap());
            }
        }
    }

    /// The next event as (type, name).
    pub(crate) async fn short(&mut self) -> (String, String) {
        let event = self.next().await.expect("one more event");
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        (text(&event["type"]), text(&event["object"]["metadata"]["name"]))
    }
}

pub(crate) const CONFIG_MAPS: &str = "/api/v1/namespaces/default/configmaps";
pub(crate) const PODS: &str = "/api/v1/namespaces/default/pods";

pub(crate) fn config_map(name: &str) -> Value {
    json!({"metadata": {"name": name}, "data": {"k": "v"}})
}

pub(crate) fn labelled(name: &str, label: &str) -> Value {
    json!({"metadata": {"name": name, "labels": {"app": label}}, "data": {}})
}

pub(crate) fn pod(name: &str) -> Value {
    json!({"metadata": {"name": name}, "spec": {"containers": [{"name": "c", "image": "x"}]}})
}
