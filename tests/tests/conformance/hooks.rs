//! A webhook server with the behaviours of Kubernetes' test image (`agnhost webhook`, `agnhost crd-conversion-webhook`).

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt as _, Full};
use hyper_util::rt::TokioIo;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _};
use serde_json::{Value, json};
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;
use tests::clients::fixture;

/// A server on loopback, there as long as its runtime.
#[derive(Clone)]
pub struct Hooks {
    port: u16,
    ca: String,
}

impl Hooks {
    pub async fn start() -> Self {
        let read = |name: &str| std::fs::read(fixture(&format!("conformance/{name}"))).unwrap();
        let certificate = read("hook.crt");
        let chain = CertificateDer::pem_slice_iter(&certificate).collect::<Result<Vec<_>, _>>().unwrap();
        let key = PrivateKeyDer::from_pem_slice(&read("hook.key")).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config =
            rustls::ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
        let config = config.with_no_client_auth().with_single_cert(chain, key).unwrap();
        let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let acceptor = acceptor.clone();
                tokio::spawn(async move {
                    let Ok(stream) = acceptor.accept(stream).await else { return };
                    let service = hyper::service::service_fn(serve);
                    _ = hyper::server::conn::http1::Builder::new()
                        .serve_connection(TokioIo::new(stream), service)
                        .await;
                });
            }
        });
        Self { port, ca: BASE64_STANDARD.encode(certificate) }
    }

    /// Where the server is, for a webhook's `clientConfig`.
    pub fn client(&self, path: &str) -> Value {
        json!({"url": format!("https://localhost:{}{path}", self.port), "caBundle": self.ca})
    }
}

async fn serve(request: Request<hyper::body::Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    let path = request.uri().path().to_owned();
    let body = request.into_body().collect().await.map(|body| body.to_bytes()).unwrap_or_default();
    let review: Value = serde_json::from_slice(&body).unwrap_or_default();
    if path == "/always-allow-delay-5s" {
        tokio::time::sleep(Duration::from_secs(5)).await;
    }
    let response =
        if path == "/crdconvert" { convert(&review["request"]) } else { answer(&path, &review["request"]).await };
    let answer = json!({"apiVersion": review["apiVersion"], "kind": review["kind"], "response": response});
    Ok(Response::new(Full::new(Bytes::from(answer.to_string()))))
}

async fn answer(path: &str, request: &Value) -> Value {
    let object = &request["object"];
    let of = if object.is_null() { &request["oldObject"] } else { object };
    let denial = match path {
        "/always-deny" => Some("this webhook denies all requests"),
        "/configmaps" | "/custom-resource" if of["data"]["webhook-e2e-test"] == "webhook-disallow" => {
            Some("the configmap contains unwanted key and value")
        }
        "/custom-resource" if object.is_null() && of["data"]["webhook-e2e-test"] == "webhook-nondeletable" => {
            Some("the custom resource cannot be deleted because it contains unwanted key and value")
        }
        "/pods" if request["operation"] == "CONNECT" => Some("attaching to pod 'to-be-attached-pod' is not allowed"),
        "/pods" if object["metadata"]["labels"]["webhook-e2e-test"] == "webhook-disallow" => {
            Some("the pod contains unwanted label")
        }
        "/crd" if object["metadata"]["labels"]["webhook-e2e-test"] == "webhook-disallow" => {
            Some("the crd contains unwanted label")
        }
        _ => None,
    };
    if path == "/pods" && object["metadata"]["name"] == "hanging-pod" {
        std::future::pending::<()>().await;
    }
    let mut response = json!({"uid": request["uid"], "allowed": denial.is_none()});
    if let Some(message) = denial {
        response["status"] = json!({"message": message});
    }
    let patch = mutation(path, object);
    if !patch.is_empty() {
        response["patchType"] = "JSONPatch".into();
        response["patch"] = BASE64_STANDARD.encode(Value::from(patch).to_string()).into();
    }
    response
}

fn mutation(path: &str, object: &Value) -> Vec<Value> {
    let add = |path: &str, value: Value| json!({"op": "add", "path": path, "value": value});
    match path {
        "/mutating-configmaps" | "/mutating-custom-resource" => [("start", "stage-1"), ("stage-1", "stage-2")]
            .iter()
            .filter(|(before, _)| object["data"][format!("mutation-{before}")] == "yes")
            .map(|(_, stage)| add(&format!("/data/mutation-{stage}"), "yes".into()))
            .collect(),
        "/mutating-pods" => {
            let container =
                json!({"image": "skiff.local/none:1", "name": "webhook-added-init-container", "resources": {}});
            vec![add("/spec/initContainers", json!([container]))]
        }
        "/add-label" => vec![add("/metadata/labels", json!({"added-label": "yes"}))],
        _ => Vec::new(),
    }
}

/// `hostPort` of v1 is `host` and `port` of v2.
fn convert(request: &Value) -> Value {
    let wanted = request["desiredAPIVersion"].as_str().unwrap_or_default();
    let converted: Vec<Value> = request["objects"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|object| {
            let mut object = object.clone();
            if wanted.ends_with("/v2")
                && let Some((host, port)) = object["hostPort"].as_str().and_then(|at| at.split_once(':'))
            {
                let (host, port) = (host.to_owned(), port.to_owned());
                (object["host"], object["port"]) = (host.into(), port.into());
                object.as_object_mut().expect("an object").remove("hostPort");
            } else if wanted.ends_with("/v1") && object["host"].is_string() {
                object["hostPort"] =
                    format!("{}:{}", object["host"].as_str().unwrap(), object["port"].as_str().unwrap()).into();
                let fields = object.as_object_mut().expect("an object");
                fields.remove("host");
                fields.remove("port");
            }
            object["apiVersion"] = wanted.into();
            object
        })
        .collect();
    json!({"uid": request["uid"], "convertedObjects": converted, "result": {"status": "Success"}})
}
