//! A small OCI registry (the pull side of the distribution specification) on a free loopback port.

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use std::collections::HashMap;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::net::TcpListener;

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";

type Store = Arc<Mutex<HashMap<String, (&'static str, Bytes)>>>;

/// Serves until it is dropped.
pub struct Registry {
    address: SocketAddr,
    store: Store,
    server: tokio::task::JoinHandle<()>,
}

impl Drop for Registry {
    fn drop(&mut self) {
        self.server.abort();
    }
}

impl Registry {
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("a bound socket has an address");
        let store = Store::default();
        let serving = Arc::clone(&store);
        let server = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let store = Arc::clone(&serving);
                let service = hyper::service::service_fn(move |request: Request<Incoming>| {
                    let answer = answer(&store, request.uri().path());
                    async move { Ok::<_, Infallible>(answer) }
                });
                let connection = hyper::server::conn::http1::Builder::new();
                tokio::spawn(connection.serve_connection(TokioIo::new(stream), service));
            }
        });
        Self { address, store, server }
    }

    /// The image name of `repository:tag` here.
    pub fn name(&self, rest: &str) -> String {
        format!("{}/{rest}", self.address)
    }

    fn put(&self, path: String, media_type: &'static str, bytes: Bytes) {
        self.store.lock().unwrap_or_else(PoisonError::into_inner).insert(path, (media_type, bytes));
    }

    fn blob(&self, repository: &str, media_type: &str, bytes: &[u8]) -> Value {
        let digest = digest(bytes);
        let path = format!("/v2/{repository}/blobs/{digest}");
        self.put(path, "application/octet-stream", Bytes::copy_from_slice(bytes));
        json!({"mediaType": media_type, "digest": digest, "size": bytes.len()})
    }

    /// Publishes a module as the CNCF's Wasm artifact; returns the manifest's digest.
    pub fn publish(&self, repository: &str, tag: &str, module: &[u8]) -> String {
        let config = br#"{"created":"2026-01-01T00:00:00Z","architecture":"wasm","os":"wasip1"}"#;
        let config = self.blob(repository, "application/vnd.wasm.config.v0+json", config);
        let layer = self.blob(repository, "application/wasm", module);
        let manifest = json!({"schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": [layer]});
        let bytes = Bytes::from(manifest.to_string());
        let digest = digest(&bytes);
        for name in [tag, digest.as_str()] {
            self.put(format!("/v2/{repository}/manifests/{name}"), MANIFEST, bytes.clone());
        }
        digest
    }

    /// Flips a bit in a module that was published: its digest is wrong from now on.
    pub fn corrupt(&self, repository: &str, module: &[u8]) {
        let mut bytes = module.to_vec();
        *bytes.last_mut().expect("a module is not empty") ^= 1;
        let path = format!("/v2/{repository}/blobs/{}", digest(module));
        self.put(path, "application/octet-stream", Bytes::from(bytes));
    }
}

fn digest(bytes: &[u8]) -> String {
    let hex: String = Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect();
    format!("sha256:{hex}")
}

fn answer(store: &Store, path: &str) -> Response<Full<Bytes>> {
    let found = store.lock().unwrap_or_else(PoisonError::into_inner).get(path).cloned();
    let (status, media_type, body) = match found {
        Some((media_type, bytes)) => (StatusCode::OK, media_type, bytes),
        None if path == "/v2/" => (StatusCode::OK, "application/json", Bytes::from_static(b"{}")),
        None => {
            let code = if path.contains("/manifests/") { "MANIFEST_UNKNOWN" } else { "BLOB_UNKNOWN" };
            let error = json!({"errors": [{"code": code, "message": "unknown"}]});
            (StatusCode::NOT_FOUND, "application/json", Bytes::from(error.to_string()))
        }
    };
    let response = Response::builder().status(status).header("content-type", media_type);
    response.body(Full::new(body)).expect("a valid response")
}
