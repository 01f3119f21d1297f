//! A webhook server on loopback, with TLS and with bad manners where they are wanted.

use crate::pki::{Names, Pki};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper_util::rt::TokioIo;
use parking_lot::Mutex;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _};
use serde_json::{Value, json};
use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// What a server does with a question.
pub(super) type Reply = Arc<dyn Fn(&Value) -> Behaviour + Send + Sync>;

pub(super) enum Behaviour {
    Answer(Value),
    Code(u16),
    /// That many bytes of nothing.
    Flood(usize),
    Hang,
}

/// A webhook server on loopback: each path has its behaviour.
pub(super) struct Server {
    pub port: u16,
    pub ca: String,
    reply: Arc<Mutex<Reply>>,
    asked: Arc<Mutex<Vec<Value>>>,
    pub connections: Arc<AtomicUsize>,
}

impl Server {
    pub(super) async fn start(reply: impl Fn(&Value) -> Behaviour + Send + Sync + 'static) -> Self {
        let pki = Pki::ephemeral(&Names::new(None, &["localhost".into(), "hook.default.svc".into()])).unwrap();
        let chain =
            CertificateDer::pem_slice_iter(pki.serving().certificate_pem.as_bytes()).map(Result::unwrap).collect();
        let key = PrivateKeyDer::from_pem_slice(pki.serving().key_pem.as_bytes()).unwrap();
        let config = rustls::ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(chain, key)
            .unwrap();
        let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let server = Self {
            port: listener.local_addr().unwrap().port(),
            ca: STANDARD.encode(pki.ca_pem()),
            reply: Arc::new(Mutex::new(Arc::new(reply))),
            asked: Arc::default(),
            connections: Arc::default(),
        };
        let (reply, asked, connections) =
            (Arc::clone(&server.reply), Arc::clone(&server.asked), Arc::clone(&server.connections));
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                connections.fetch_add(1, Ordering::Relaxed);
                let (acceptor, reply, asked) = (acceptor.clone(), Arc::clone(&reply), Arc::clone(&asked));
                tokio::spawn(async move {
                    let Ok(stream) = acceptor.accept(stream).await else { return };
                    let service = hyper::service::service_fn(|request: http::Request<hyper::body::Incoming>| {
                        let (reply, asked) = (Arc::clone(&reply), Arc::clone(&asked));
                        async move {
                            let bytes = request.into_body().collect().await.unwrap().to_bytes();
                            let review: Value = serde_json::from_slice(&bytes).unwrap();
                            asked.lock().push(review["request"].clone());
                            let reply = Arc::clone(&*reply.lock());
                            let (code, body) = match reply(&review) {
                                Behaviour::Answer(answer) => (200, Bytes::from(answer.to_string())),
                                Behaviour::Code(code) => (code, Bytes::new()),
                                Behaviour::Flood(bytes) => (200, Bytes::from(vec![b' '; bytes])),
                                Behaviour::Hang => std::future::pending().await,
                            };
                            let response =
                                http::Response::builder().status(code).header("location", "https://localhost:1/");
                            Ok::<_, Infallible>(response.body(Full::new(body)).unwrap())
                        }
                    });
                    _ = hyper::server::conn::http1::Builder::new()
                        .serve_connection(TokioIo::new(stream), service)
                        .await;
                });
            }
        });
        server
    }

    pub(super) fn behaves(&self, reply: impl Fn(&Value) -> Behaviour + Send + Sync + 'static) {
        *self.reply.lock() = Arc::new(reply);
    }

    /// What it was asked since the last look.
    pub(super) fn asked(&self) -> Vec<Value> {
        std::mem::take(&mut self.asked.lock())
    }

    /// One webhook about creates and updates of everything in the core group, with `more` said.
    #[allow(clippy::needless_pass_by_value, reason = "literals, all of them")]
    pub(super) fn hook(&self, name: &str, more: Value) -> Value {
        let mut hook = json!({
            "name": name, "admissionReviewVersions": ["v1"], "sideEffects": "None", "timeoutSeconds": 5,
            "clientConfig": {"url": format!("https://localhost:{}/{name}", self.port), "caBundle": self.ca},
            "rules": [{"operations": ["*"], "apiGroups": [""], "apiVersions": ["v1"], "resources": ["configmaps", "pods"]}],
        });
        for (field, value) in more.as_object().unwrap() {
            hook[field] = value.clone();
        }
        hook
    }
}
