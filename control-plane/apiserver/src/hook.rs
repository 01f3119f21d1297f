//! How a webhook is reached: over HTTPS, on connections that are kept, few at a time. A webhook is a stranger: it may hang,
//! lie, send without end or send us elsewhere; nothing of that may cost more than its own requests their time.

use crate::core::Core;
use crate::objects;
use base64::Engine as _;
use bytes::Bytes;
use http::{Request, StatusCode, header};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use parking_lot::Mutex;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use serde_json::Value;
use std::collections::VecDeque;
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio_rustls::TlsConnector;
use tracing::Instrument as _;

/// Bytes of an answer, unless told otherwise: a patch of the largest object, in base64, has room.
const MAX_ANSWER: usize = 8 << 20;
/// Questions that one webhook is asked at once; others wait within their time.
const AT_ONCE: usize = 64;
/// Connections that are kept open to one webhook.
const IDLE: usize = 16;

/// Where a webhook is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Target {
    Url(String),
    Service { namespace: String, name: String, port: u64, path: String },
    Nowhere,
}

impl Target {
    /// What `clientConfig` says.
    pub(crate) fn of(client: &Value) -> Self {
        if let Some(url) = client.get("url").and_then(Value::as_str) {
            return Self::Url(url.to_owned());
        }
        let Some(service) = client.get("service").filter(|service| service.is_object()) else { return Self::Nowhere };
        let text = |field: &str| service.get(field).and_then(Value::as_str).unwrap_or_default();
        let path = if text("path").starts_with('/') { text("path").to_owned() } else { format!("/{}", text("path")) };
        let port = service.get("port").and_then(Value::as_u64).unwrap_or(443);
        Self::Service { namespace: text("namespace").into(), name: text("name").into(), port, path }
    }
}

/// A place to dial.
struct Place {
    /// Tried in this order: `host:port`.
    addresses: Vec<String>,
    /// The name in its certificate.
    name: String,
    host: String,
    path: String,
}

type Sender = SendRequest<Full<Bytes>>;

/// One webhook's place and connections.
pub(crate) struct Endpoint {
    target: Target,
    /// Base64 of PEM; empty: the system's authorities.
    bundle: String,
    tls: OnceLock<Result<Arc<ClientConfig>, String>>,
    idle: Mutex<VecDeque<Sender>>,
    room: Semaphore,
    /// Bytes of an answer.
    most: usize,
}

impl Endpoint {
    pub(crate) fn new(target: Target, bundle: &str) -> Self {
        Self {
            target,
            bundle: bundle.to_owned(),
            tls: OnceLock::new(),
            idle: Mutex::default(),
            room: Semaphore::new(AT_ONCE),
            most: MAX_ANSWER,
        }
    }

    /// The same, where answers may have `most` bytes.
    pub(crate) fn answering(self, most: usize) -> Self {
        Self { most, ..self }
    }

    /// Sends `body` and reads the answer, within `timeout`.
    ///
    /// # Errors
    /// Why there is no answer, in the words of Go's HTTP client.
    pub(crate) async fn post(&self, core: &Core, body: Bytes, timeout: Duration) -> Result<Bytes, String> {
        let seconds = timeout.as_secs();
        let url = match &self.target {
            Target::Url(url) => url.clone(),
            Target::Service { namespace, name, port, path } => format!("https://{name}.{namespace}.svc:{port}{path}"),
            Target::Nowhere => return Err("webhook configuration must have either service or URL".into()),
        };
        let url = format!("{url}?timeout={seconds}s");
        let failed = |why: &str| format!("Post {url:?}: {why}");
        let exchange = async {
            let _room = self.room.acquire().await.map_err(|_| "the server is shutting down".to_owned())?;
            self.exchange(core, body, seconds).await
        };
        let answer = tokio::time::timeout(timeout, exchange).await;
        let (code, bytes) = answer.map_err(|_| failed("context deadline exceeded"))?.map_err(|why| failed(&why))?;
        if code.is_success() { Ok(bytes) } else { Err(refusal(code)) }
    }

    async fn exchange(&self, core: &Core, body: Bytes, seconds: u64) -> Result<(StatusCode, Bytes), String> {
        let place = self.place(core)?;
        let request = || {
            Request::post(format!("{}?timeout={seconds}s", place.path))
                .header(header::HOST, &place.host)
                .header(header::CONTENT_TYPE, "application/json")
                .header(header::ACCEPT, "application/json")
                .body(Full::new(body.clone()))
                .map_err(|error| error.to_string())
        };
        // A kept connection may have been closed since: then the question goes over another one.
        while let Some(mut sender) = self.kept() {
            if sender.ready().await.is_err() {
                continue;
            }
            match sender.try_send_request(request()?).await {
                Ok(response) => return self.read(response, sender).await,
                Err(error) if error.message().is_some() || error.error().is_closed() => {}
                // It may have been asked; asking twice is what webhooks must stand, and is how Go's client does it.
                Err(error) if error.error().is_incomplete_message() => {}
                Err(error) => return Err(describe(&error.into_error())),
            }
        }
        let mut sender = self.connect(core, &place).await?;
        let response = sender.send_request(request()?).await.map_err(|error| describe(&error))?;
        self.read(response, sender).await
    }

    fn kept(&self) -> Option<Sender> {
        let mut idle = self.idle.lock();
        while let Some(sender) = idle.pop_back() {
            if !sender.is_closed() {
                return Some(sender);
            }
        }
        None
    }

    async fn read(
        &self,
        response: http::Response<hyper::body::Incoming>,
        sender: Sender,
    ) -> Result<(StatusCode, Bytes), String> {
        let code = response.status();
        let body = Limited::new(response.into_body(), self.most).collect().await;
        let body = body.map_err(|error| {
            if error.is::<http_body_util::LengthLimitError>() {
                format!("http: response body too large: more than {} bytes", self.most)
            } else {
                "unexpected EOF".to_owned()
            }
        })?;
        let mut idle = self.idle.lock();
        if idle.len() < IDLE && !sender.is_closed() {
            idle.push_back(sender);
        }
        Ok((code, body.to_bytes()))
    }

    async fn connect(&self, core: &Core, place: &Place) -> Result<Sender, String> {
        let config = self.tls.get_or_init(|| tls(&self.bundle)).clone()?;
        let name = ServerName::try_from(place.name.clone()).map_err(|error| error.to_string())?;
        let stream = dial(&place.addresses).await?;
        _ = stream.set_nodelay(true);
        let stream = TlsConnector::from(config).connect(name, stream).await.map_err(|error| tls_error(&error))?;
        let (sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(|error| describe(&error))?;
        let shutdown = core.shutdown.clone();
        let driving = async move {
            // Ends with the sender, with the other side, or with the server.
            tokio::select! {
                _ = connection => {}
                () = shutdown.cancelled() => {}
            }
        };
        tokio::spawn(driving.instrument(tracing::info_span!("webhook", host = %place.host)));
        Ok(sender)
    }

    fn place(&self, core: &Core) -> Result<Place, String> {
        match &self.target {
            Target::Nowhere => Err("webhook configuration must have either service or URL".into()),
            Target::Url(url) => {
                let parsed: http::Uri = url.parse().map_err(|_| format!("parse {url:?}: invalid URL"))?;
                let host = parsed.host().ok_or_else(|| format!("parse {url:?}: no host"))?;
                let port = parsed.port_u16().unwrap_or(443);
                let path = if parsed.path().is_empty() { "/" } else { parsed.path() };
                Ok(Place {
                    addresses: vec![format!("{host}:{port}")],
                    name: host.trim_matches(['[', ']']).to_owned(),
                    host: parsed.authority().map_or(host, |authority| authority.as_str()).to_owned(),
                    path: path.to_owned(),
                })
            }
            Target::Service { namespace, name, port, path } => {
                let host = format!("{name}.{namespace}.svc");
                let addresses = addresses(core, namespace, name, *port)?;
                Ok(Place { addresses, host: format!("{host}:{port}"), name: host, path: path.clone() })
            }
        }
    }
}

/// Where a Service can be dialled: its address, then its ready endpoints, in case nobody routes its address here.
fn addresses(core: &Core, namespace: &str, name: &str, port: u64) -> Result<Vec<String>, String> {
    let snapshot = core.store.snapshot();
    let row = core.builtin("", "v1", "services");
    let entry = snapshot.get(&objects::key(&row, namespace, name));
    let entry = entry.ok_or_else(|| format!("service {name:?} not found"))?;
    let service: Value = serde_json::from_slice(&entry.value.body).map_err(|error| error.to_string())?;
    let text = |pointer: &str| service.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
    if text("/spec/type") == "ExternalName" {
        return Ok(vec![format!("{}:{port}", text("/spec/externalName"))]);
    }
    let ports = service.pointer("/spec/ports").and_then(Value::as_array).into_iter().flatten();
    let number = |value: &Value| value.get("port").and_then(Value::as_u64);
    let served = ports.into_iter().find(|served| number(served) == Some(port));
    let served = served.ok_or_else(|| format!("no service port {port} found for service {name:?}"))?;
    let port_name = served.get("name").and_then(Value::as_str).unwrap_or_default();
    let ip = text("/spec/clusterIP");
    let mut found: Vec<String> = Vec::new();
    if !matches!(ip, "" | "None") {
        found.push(format!("{ip}:{port}"));
    }
    let prefix = format!("discovery.k8s.io/endpointslices/{namespace}/");
    for (_, entry) in snapshot.range(prefix.as_bytes(), None) {
        if objects::Index::of(entry).label("kubernetes.io/service-name") == Some(name)
            && let Ok(slice) = serde_json::from_slice::<Value>(&entry.value.body)
        {
            found.extend(endpoints(&slice, port_name));
        }
    }
    // Enough to find one that answers.
    found.truncate(4);
    if found.is_empty() { Err(format!("no endpoints available for service {name:?}")) } else { Ok(found) }
}

fn endpoints(slice: &Value, port_name: &str) -> Vec<String> {
    let list = |field: &str| slice.get(field).and_then(Value::as_array).into_iter().flatten();
    let named = |port: &&Value| port.get("name").and_then(Value::as_str).unwrap_or_default() == port_name;
    let Some(port) = list("ports").find(named).and_then(|port| port.get("port")).and_then(Value::as_u64) else {
        return Vec::new();
    };
    let ready = |endpoint: &&Value| endpoint.pointer("/conditions/ready") != Some(&Value::Bool(false));
    let ips = list("endpoints").filter(ready).filter_map(|endpoint| endpoint.pointer("/addresses/0")?.as_str());
    ips.map(|ip| format!("{ip}:{port}")).collect()
}

async fn dial(addresses: &[String]) -> Result<TcpStream, String> {
    let mut first = None;
    for address in addresses {
        match TcpStream::connect(address).await {
            Ok(stream) => return Ok(stream),
            Err(error) => {
                let why = match error.kind() {
                    std::io::ErrorKind::ConnectionRefused => "connect: connection refused".to_owned(),
                    _ => error.to_string(),
                };
                first.get_or_insert(format!("dial tcp {address}: {why}"));
            }
        }
    }
    Err(first.unwrap_or_else(|| "no address to dial".into()))
}

fn tls(bundle: &str) -> Result<Arc<ClientConfig>, String> {
    let mut roots = RootCertStore::empty();
    if bundle.is_empty() {
        for certificate in rustls_native_certs::load_native_certs().certs {
            // One that cannot be used is as if it were not there.
            _ = roots.add(certificate);
        }
    } else {
        let bad = |error: &dyn std::fmt::Display| format!("unable to load root certificates: {error}");
        let pem = base64::engine::general_purpose::STANDARD.decode(bundle).map_err(|error| bad(&error))?;
        for certificate in CertificateDer::pem_slice_iter(&pem) {
            roots.add(certificate.map_err(|error| bad(&error))?).map_err(|error| bad(&error))?;
        }
        if roots.is_empty() {
            return Err(bad(&"unable to parse bytes as PEM block"));
        }
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(Arc::new(config))
}

fn tls_error(error: &std::io::Error) -> String {
    let text = error.to_string();
    if text.contains("UnknownIssuer") || text.contains("BadSignature") {
        return "tls: failed to verify certificate: x509: certificate signed by unknown authority".into();
    }
    format!("tls: {text}")
}

fn describe(error: &hyper::Error) -> String {
    if error.is_incomplete_message() || error.is_closed() { "EOF".into() } else { error.to_string() }
}

/// What an answer other than 2xx means, as client-go tells it. Redirects are not followed.
fn refusal(code: StatusCode) -> String {
    match code.as_u16() {
        400 => "the server rejected our request for an unknown reason".into(),
        401 => "the server has asked for the client to provide credentials".into(),
        403 => "forbidden".into(),
        404 => "the server could not find the requested resource".into(),
        405 => "the server does not allow this method on the requested resource".into(),
        500 => "an error on the server (\"\") has prevented the request from succeeding".into(),
        503 => "the server is currently unable to handle the request".into(),
        504 => {
            "the server was unable to return a response in the time allotted, but may still be processing the request"
                .into()
        }
        other => format!("the server responded with the status code {other} but did not return more information"),
    }
}
