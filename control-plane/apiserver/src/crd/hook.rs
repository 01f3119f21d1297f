//! One call of a webhook over HTTPS: `clientConfig` with a `url` or a `service`, and a `caBundle`. Knows nothing of what
//! is asked.

use crate::core::Core;
use crate::objects;
use base64::Engine as _;
use bytes::Bytes;
use http::{Request, StatusCode, header};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use serde_json::Value;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

/// Bytes of an answer.
const MAX_ANSWER: usize = 32 << 20;

/// Why a webhook gave no answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum HookError {
    #[error("the client configuration has neither a url nor a service")]
    Nowhere,
    #[error("invalid url {0:?}")]
    Url(String),
    #[error("service {0:?} not found")]
    NoService(String),
    #[error("unable to load root certificates: {0}")]
    Roots(String),
    #[error("Post {url:?}: {why}")]
    Call { url: String, why: String },
    #[error("the server responded with the status code {0} but did not return an object")]
    Code(StatusCode),
    #[error("the answer is no JSON: {0}")]
    Answer(#[from] serde_json::Error),
}

/// Where a webhook is.
struct Target {
    /// `host:port` to connect to.
    address: String,
    /// The name in its certificate.
    name: String,
    path: String,
    url: String,
}

/// Sends `body` and reads the answer.
///
/// # Errors
/// See [`HookError`].
pub(crate) async fn post(core: &Core, client: &Value, body: &Value, timeout: Duration) -> Result<Value, HookError> {
    let target = target(core, client)?;
    let roots = roots(client.get("caBundle").and_then(Value::as_str).unwrap_or_default())?;
    let url = target.url.clone();
    let failed = |why: String| HookError::Call { url: url.clone(), why };
    let answer = tokio::time::timeout(timeout, call(&target, roots, body)).await;
    let (code, bytes) = answer.map_err(|_| failed("context deadline exceeded".into()))?.map_err(failed)?;
    match serde_json::from_slice(&bytes) {
        _ if !code.is_success() => Err(HookError::Code(code)),
        parsed => Ok(parsed?),
    }
}

fn target(core: &Core, client: &Value) -> Result<Target, HookError> {
    if let Some(url) = client.get("url").and_then(Value::as_str) {
        let bad = || HookError::Url(url.to_owned());
        let parsed: http::Uri = url.parse().map_err(|_| bad())?;
        let host = parsed.host().ok_or_else(bad)?;
        let path = parsed.path_and_query().map_or("/", |path| path.as_str()).to_owned();
        let port = parsed.port_u16().unwrap_or(443);
        let name = host.trim_matches(['[', ']']).to_owned();
        return Ok(Target { address: format!("{host}:{port}"), name, path, url: url.to_owned() });
    }
    let service = client.get("service").filter(|service| service.is_object()).ok_or(HookError::Nowhere)?;
    let text = |field: &str| service.get(field).and_then(Value::as_str).unwrap_or_default();
    let (namespace, name) = (text("namespace"), text("name"));
    let port = service.get("port").and_then(Value::as_u64).unwrap_or(443);
    let missing = || HookError::NoService(format!("{namespace}/{name}"));
    let row = core.builtin("", "v1", "services");
    let snapshot = core.store.snapshot();
    let entry = snapshot.get(&objects::key(&row, namespace, name)).ok_or_else(missing)?;
    let object: Value = serde_json::from_slice(&entry.value.body)?;
    let ip = object["spec"]["clusterIP"].as_str().filter(|ip| !matches!(*ip, "" | "None")).ok_or_else(missing)?;
    let host = format!("{name}.{namespace}.svc");
    let path = if text("path").is_empty() { "/" } else { text("path") };
    let url = format!("https://{host}:{port}{path}");
    Ok(Target { address: format!("{ip}:{port}"), name: host, path: path.to_owned(), url })
}

/// Whom to believe: the bundle (base64 of PEM), or the system's authorities where there is none.
fn roots(bundle: &str) -> Result<RootCertStore, HookError> {
    let mut roots = RootCertStore::empty();
    if bundle.is_empty() {
        for certificate in rustls_native_certs::load_native_certs().certs {
            // One that cannot be used is as if it were not there.
            let _ = roots.add(certificate);
        }
        return Ok(roots);
    }
    let bad = |error: &dyn std::fmt::Display| HookError::Roots(error.to_string());
    let pem = base64::engine::general_purpose::STANDARD.decode(bundle).map_err(|error| bad(&error))?;
    for certificate in CertificateDer::pem_slice_iter(&pem) {
        roots.add(certificate.map_err(|error| bad(&error))?).map_err(|error| bad(&error))?;
    }
    if roots.is_empty() { Err(HookError::Roots("the bundle has no certificate".into())) } else { Ok(roots) }
}

async fn call(target: &Target, roots: RootCertStore, body: &Value) -> Result<(StatusCode, Bytes), String> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?
        .with_root_certificates(roots)
        .with_no_client_auth();
    let name = ServerName::try_from(target.name.clone()).map_err(|error| error.to_string())?;
    let stream =
        TcpStream::connect(&target.address).await.map_err(|error| format!("dial tcp {}: {error}", target.address))?;
    _ = stream.set_nodelay(true);
    let stream = TlsConnector::from(Arc::new(config)).connect(name, stream).await.map_err(|error| error.to_string())?;
    let (mut sender, connection) =
        http1::handshake::<_, Full<Bytes>>(TokioIo::new(stream)).await.map_err(|error| error.to_string())?;
    // Driven here: when the time is up, the connection goes with this future.
    let exchange = async {
        let bytes = Bytes::from(serde_json::to_vec(body).map_err(|error| error.to_string())?);
        let request = Request::post(&target.path)
            .header(header::HOST, &target.name)
            .header(header::CONTENT_TYPE, "application/json")
            .header(header::ACCEPT, "application/json")
            .body(Full::new(bytes))
            .map_err(|error| error.to_string())?;
        let response = sender.send_request(request).await.map_err(|error| error.to_string())?;
        let code = response.status();
        let body = Limited::new(response.into_body(), MAX_ANSWER).collect().await.map_err(|error| error.to_string())?;
        Ok((code, body.to_bytes()))
    };
    tokio::pin!(connection);
    tokio::pin!(exchange);
    tokio::select! {
        answer = &mut exchange => answer,
        ended = &mut connection => match ended {
            Ok(()) => exchange.as_mut().await,
            Err(error) => Err(error.to_string()),
        },
    }
}
