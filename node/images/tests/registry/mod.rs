//! A small OCI registry (distribution specification, pull side) on a free port, with faults to order.

use std::collections::HashMap;
use std::convert::Infallible;
use std::io;
use std::sync::{Arc, Mutex};

use base64::Engine as _;
use bytes::Bytes;
use futures::stream;
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;

type Answer = Response<BoxBody<Bytes, io::Error>>;

pub const IMAGE_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
pub const IMAGE_INDEX: &str = "application/vnd.oci.image.index.v1+json";

/// What goes wrong with blobs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    None,
    /// One bit is flipped.
    Corrupt,
    /// The next so many downloads break off half-way.
    BreakOff(usize),
    /// Every blob is answered with 500.
    ServerError,
}

/// Who may pull.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Access {
    Anyone,
    /// By a token from `/token`, which wants this user and password.
    Token(&'static str, &'static str),
    Basic(&'static str, &'static str),
}

pub struct Registry {
    state: Arc<State>,
    address: std::net::SocketAddr,
    server: tokio::task::JoinHandle<()>,
}

struct State {
    manifests: Mutex<HashMap<String, (String, Bytes)>>,
    blobs: Mutex<HashMap<String, Bytes>>,
    fault: Mutex<Fault>,
    access: Mutex<Access>,
    log: Mutex<Vec<String>>,
    /// Blob requests take a permit: none, and they wait.
    gate: Semaphore,
}

impl Drop for Registry {
    fn drop(&mut self) {
        self.server.abort();
    }
}

pub fn digest(bytes: &[u8]) -> String {
    format!("sha256:{}", hex::encode(Sha256::digest(bytes)))
}

impl Registry {
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let state = Arc::new(State {
            manifests: Mutex::default(),
            blobs: Mutex::default(),
            fault: Mutex::new(Fault::None),
            access: Mutex::new(Access::Anyone),
            log: Mutex::default(),
            gate: Semaphore::new(Semaphore::MAX_PERMITS),
        });
        let serving = Arc::clone(&state);
        let server = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let state = Arc::clone(&serving);
                let service = hyper::service::service_fn(move |request| {
                    let state = Arc::clone(&state);
                    async move { Ok::<_, Infallible>(state.answer(request, address).await) }
                });
                tokio::spawn(
                    hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service),
                );
            }
        });
        Self { state, address, server }
    }

    /// The image name of a repository and tag here.
    pub fn name(&self, rest: &str) -> String {
        format!("{}/{rest}", self.address)
    }

    pub fn set_fault(&self, fault: Fault) {
        *self.state.fault.lock().unwrap() = fault;
    }

    pub fn set_access(&self, access: Access) {
        *self.state.access.lock().unwrap() = access;
    }

    /// Blob requests wait until `open_gate`.
    pub fn close_gate(&self) {
        self.state.gate.forget_permits(Semaphore::MAX_PERMITS);
    }

    pub fn open_gate(&self) {
        self.state.gate.add_permits(1_000);
    }

    /// How many requests so far had `part` in their method and path.
    pub fn requests(&self, part: &str) -> usize {
        self.state.log.lock().unwrap().iter().filter(|line| line.contains(part)).count()
    }

    pub fn blob(&self, media_type: &str, bytes: &[u8]) -> Value {
        let digest = digest(bytes);
        self.state.blobs.lock().unwrap().insert(digest.clone(), Bytes::copy_from_slice(bytes));
        json!({"mediaType": media_type, "digest": digest, "size": bytes.len()})
    }

    /// Stores a manifest under `REPOSITORY:TAG` and its digest, and returns its descriptor.
    pub fn manifest(&self, repository: &str, tag: &str, media_type: &str, manifest: &Value) -> Value {
        let bytes = Bytes::from(serde_json::to_vec(manifest).unwrap());
        let digest = digest(&bytes);
        let mut manifests = self.state.manifests.lock().unwrap();
        for name in [tag, digest.as_str()] {
            manifests.insert(format!("{repository}/manifests/{name}"), (media_type.to_owned(), bytes.clone()));
        }
        json!({"mediaType": media_type, "digest": digest, "size": bytes.len()})
    }

    /// A Wasm artifact as the CNCF describes it.
    pub fn artifact(&self, repository: &str, tag: &str, module: &[u8]) -> Value {
        let config = self.blob("application/vnd.wasm.config.v0+json", br#"{"os":"wasip2","architecture":"wasm"}"#);
        let layer = self.blob("application/wasm", module);
        let manifest = json!({"schemaVersion": 2, "mediaType": IMAGE_MANIFEST, "config": config, "layers": [layer]});
        self.manifest(repository, tag, IMAGE_MANIFEST, &manifest)
    }
}

impl State {
    async fn answer(&self, request: Request<Incoming>, address: std::net::SocketAddr) -> Answer {
        let path = request.uri().path().to_owned();
        self.log.lock().unwrap().push(format!("{} {path}", request.method()));
        let authorization = request.headers().get("authorization").and_then(|value| value.to_str().ok()).unwrap_or("");
        let access = self.access.lock().unwrap().clone();
        let basic = |user, password| {
            format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(format!("{user}:{password}")))
        };
        if let (Access::Token(user, password), "/token") = (&access, path.as_str()) {
            return if authorization == basic(user, password) {
                json_answer(StatusCode::OK, &json!({"token": "let-me-in"}))
            } else {
                json_answer(StatusCode::UNAUTHORIZED, &json!({"details": "incorrect username or password"}))
            };
        }
        let (allowed, challenge) = match &access {
            Access::Anyone => (true, String::new()),
            Access::Token(..) => (
                authorization == "Bearer let-me-in",
                format!("Bearer realm=\"http://{address}/token\",service=\"test\""),
            ),
            Access::Basic(user, password) => {
                (authorization == basic(user, password), "Basic realm=\"test\"".to_owned())
            }
        };
        if !allowed {
            let error = json!({"errors": [{"code": "UNAUTHORIZED", "message": "authentication required"}]});
            let mut answer = json_answer(StatusCode::UNAUTHORIZED, &error);
            answer.headers_mut().insert("www-authenticate", challenge.parse().unwrap());
            return answer;
        }
        match path.strip_prefix("/v2/") {
            Some("") => json_answer(StatusCode::OK, &json!({})),
            Some(rest) if rest.contains("/manifests/") => self.answer_manifest(rest),
            Some(rest) => self.answer_blob(rest, request.headers().get("range")).await,
            None => not_found("NAME_UNKNOWN"),
        }
    }

    fn answer_manifest(&self, rest: &str) -> Answer {
        let Some((media_type, bytes)) = self.manifests.lock().unwrap().get(rest).cloned() else {
            return not_found("MANIFEST_UNKNOWN");
        };
        let answer =
            Response::builder().header("content-type", media_type).header("docker-content-digest", digest(&bytes));
        answer.body(full(bytes)).unwrap()
    }

    async fn answer_blob(&self, rest: &str, range: Option<&hyper::header::HeaderValue>) -> Answer {
        self.gate.acquire().await.unwrap().forget();
        let wanted = rest.rsplit('/').next().unwrap_or_default();
        let Some(mut bytes) = self.blobs.lock().unwrap().get(wanted).cloned() else { return not_found("BLOB_UNKNOWN") };
        let from = range
            .and_then(|range| range.to_str().ok()?.strip_prefix("bytes=")?.strip_suffix('-')?.parse::<usize>().ok());
        let status = if from.is_some() { StatusCode::PARTIAL_CONTENT } else { StatusCode::OK };
        bytes = bytes.slice(from.unwrap_or(0)..);
        let mut fault = self.fault.lock().unwrap();
        match *fault {
            Fault::None | Fault::BreakOff(0) => {}
            Fault::Corrupt => {
                let mut changed = bytes.to_vec();
                *changed.last_mut().unwrap() ^= 1;
                bytes = changed.into();
            }
            Fault::BreakOff(left) => {
                *fault = Fault::BreakOff(left - 1);
                let half = bytes.slice(..bytes.len() / 2);
                let parts = stream::iter([Ok(Frame::data(half)), Err(io::Error::other("broken off"))]);
                let answer = Response::builder().status(status).header("content-length", bytes.len());
                return answer.body(BodyExt::boxed(StreamBody::new(parts))).unwrap();
            }
            Fault::ServerError => return json_answer(StatusCode::INTERNAL_SERVER_ERROR, &json!("the disk is on fire")),
        }
        Response::builder().status(status).body(full(bytes)).unwrap()
    }
}

fn not_found(code: &str) -> Answer {
    json_answer(StatusCode::NOT_FOUND, &json!({"errors": [{"code": code, "message": "unknown"}]}))
}

fn json_answer(status: StatusCode, body: &Value) -> Answer {
    let body = full(Bytes::from(serde_json::to_vec(body).unwrap()));
    Response::builder().status(status).header("content-type", "application/json").body(body).unwrap()
}

fn full(bytes: Bytes) -> BoxBody<Bytes, io::Error> {
    Full::new(bytes).map_err(|never| match never {}).boxed()
}
