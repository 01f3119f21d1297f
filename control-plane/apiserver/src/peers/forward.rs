//! Asking another server of the same cluster: a node's tunnel ends at one of them, and the others pass on what is for that
//! node's kubelet, as `GET /apis/skiff.dev/v1/nodes/{name}/kubelet?path=…`. The answer streams through.
//!
//! Invariant: a server that is asked this way asks no other one.

use crate::core::Core;
use crate::nodes::LinkError;
use crate::pki::{KeyPair, Pki, PkiError, Subject};
use crate::request::Query;
use crate::respond;
use crate::user::{APISERVER, MASTERS, User};
use api::{Reason, Status};
use axum::body::Body;
use http::{Request, Response, StatusCode};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject};
use rustls::{ClientConfig, RootCertStore};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

/// A name that every server's certificate carries.
const SERVER_NAME: &str = "kubernetes.default.svc";
/// How a server says that it has no connection to the node.
const ABSENT: StatusCode = StatusCode::MISDIRECTED_REQUEST;
/// How long another server may take to be connected to, and to begin its answer.
const CONNECT: Duration = Duration::from_secs(3);
const ANSWER: Duration = Duration::from_secs(30);

/// Why another server did not answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ForwardError {
    #[error("cannot connect")]
    Connect(#[source] std::io::Error),
    #[error("it does not answer in time")]
    Slow,
    #[error("the connection broke")]
    Http(#[from] hyper::Error),
    #[error("the request cannot be passed on")]
    Request(#[from] http::Error),
}

/// Connects to the other servers in the name of this one.
pub(crate) struct Dialer {
    tls: TlsConnector,
    name: ServerName<'static>,
}

impl Dialer {
    /// # Errors
    /// [`PkiError::Sign`], [`PkiError::Tls`].
    pub(crate) fn new(pki: &Pki) -> Result<Self, PkiError> {
        let subject = Subject { user: APISERVER.into(), group: Some(MASTERS.into()) };
        let KeyPair { certificate_pem, key_pem } = pki.issue_client(&subject)?;
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut roots = RootCertStore::empty();
        roots.add(certificate(pki.ca_pem())?).map_err(PkiError::Tls)?;
        let key = PrivateKeyDer::from_pem_slice(key_pem.as_bytes()).map_err(|error| unreadable(&error))?;
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(PkiError::Tls)?
            .with_root_certificates(roots)
            .with_client_auth_cert(vec![certificate(&certificate_pem)?], key)
            .map_err(PkiError::Tls)?;
        let name = ServerName::try_from(SERVER_NAME).expect("a constant name is a name");
        Ok(Self { tls: TlsConnector::from(Arc::new(config)), name })
    }

    /// What `server` answers to a GET of `path`.
    ///
    /// # Errors
    /// See [`ForwardError`].
    async fn get(&self, server: SocketAddr, path: &str) -> Result<Response<Body>, ForwardError> {
        let connected = async {
            let stream = TcpStream::connect(server).await?;
            _ = stream.set_nodelay(true);
            self.tls.connect(self.name.clone(), stream).await
        };
        let connected = tokio::time::timeout(CONNECT, connected).await.map_err(|_| ForwardError::Slow)?;
        let stream = connected.map_err(ForwardError::Connect)?;
        let (mut sender, connection) = http1::handshake::<_, Body>(TokioIo::new(stream)).await?;
        // Ends with the answer's body: nothing else holds the connection.
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(%error, "the connection to another server broke");
            }
        });
        let request = Request::get(path).header("host", SERVER_NAME).body(Body::empty())?;
        let answer = tokio::time::timeout(ANSWER, sender.send_request(request)).await;
        Ok(answer.map_err(|_| ForwardError::Slow)??.map(Body::new))
    }
}

/// What the kubelet of `node` answers to a GET of `path`, wherever its tunnel ends.
///
/// # Errors
/// [`LinkError::Absent`] when no server that is there has a connection to the node.
pub(crate) async fn kubelet(core: &Core, node: &str, path: &str) -> Result<Response<Body>, LinkError> {
    match core.nodes.send(node, to_kubelet(node, path)?).await {
        Err(LinkError::Absent) => {}
        other => return other,
    }
    let Some(dialer) = core.peers.dialer() else { return Err(LinkError::Absent) };
    let query = form_urlencoded::Serializer::new(String::new()).append_pair("path", path).finish();
    let asked = format!("/apis/skiff.dev/v1/nodes/{node}/kubelet?{query}");
    for server in core.peers.others(core) {
        match dialer.get(server, &asked).await {
            Ok(response) if response.status() == ABSENT => {}
            Ok(response) => return Ok(response),
            Err(error) => {
                let error = &error as &dyn std::error::Error;
                tracing::warn!(%server, error, "another server could not be asked about a node");
            }
        }
    }
    Err(LinkError::Absent)
}

/// Answers another server.
///
/// # Errors
/// 403 for anyone but servers and administrators, 421 when the node is not connected here.
pub(crate) async fn serve(core: &Core, node: &str, user: &User, query: &Query<'_>) -> Result<Response<Body>, Status> {
    if !user.is_in(MASTERS) {
        let why = format!("user {:?} may not speak to this node's kubelet", user.name);
        return Err(Status::forbidden("skiff.dev", "nodes", node, why));
    }
    let path = query.text("path").filter(|path| path.starts_with('/'));
    let path = path.ok_or_else(|| Status::bad_request("path: must be what is asked of the kubelet"))?;
    let request = to_kubelet(node, path).map_err(|_| Status::bad_request("path: is no path"))?;
    match core.nodes.send(node, request).await {
        Ok(response) => Ok(response),
        Err(LinkError::Absent) => Ok(respond::plain(ABSENT, "text/plain", Body::empty())),
        Err(error) => Err(Status::new(Reason::ServiceUnavailable, error.to_string())),
    }
}

fn to_kubelet(node: &str, path: &str) -> Result<Request<Body>, LinkError> {
    Request::get(path).header("host", node).body(Body::empty()).map_err(LinkError::Request)
}

fn certificate(pem: &str) -> Result<CertificateDer<'static>, PkiError> {
    CertificateDer::from_pem_slice(pem.as_bytes()).map_err(|error| unreadable(&error))
}

fn unreadable(error: &rustls::pki_types::pem::Error) -> PkiError {
    PkiError::Tls(rustls::Error::General(error.to_string()))
}
