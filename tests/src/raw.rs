//! HTTP as it is on the wire: for what a well-behaved client would never send.

use crate::Cluster;
use anyhow::{Context as _, Result};
use bytes::Bytes;
use http::{Method, Request, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper_util::rt::TokioIo;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject as _};
use serde_json::Value;
use std::sync::Arc;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// Who the connection says it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Identity {
    /// The client certificate of the kubeconfig.
    Admin,
    /// No certificate at all.
    Nobody,
}

/// What came back.
#[derive(Debug)]
pub struct Answer {
    pub status: StatusCode,
    pub headers: http::HeaderMap,
    pub body: Bytes,
}

impl Answer {
    /// The body as JSON; `Null` when it is none.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }
}

/// A TLS connection to the API server, speaking HTTP/1.1.
pub async fn connect(cluster: &Cluster, identity: Identity) -> Result<TlsStream<TcpStream>> {
    let config = cluster.config().await;
    let mut roots = rustls::RootCertStore::empty();
    for der in config.root_cert.context("the kubeconfig has no CA")? {
        roots.add(CertificateDer::from(der))?;
    }
    let builder = rustls::ClientConfig::builder().with_root_certificates(roots);
    let tls = match identity {
        Identity::Nobody => builder.with_no_client_auth(),
        Identity::Admin => {
            let pem = identity_pem(cluster)?;
            let certificates = CertificateDer::pem_slice_iter(&pem.0).collect::<Result<Vec<_>, _>>()?;
            builder.with_client_auth_cert(certificates, PrivateKeyDer::from_pem_slice(&pem.1)?)?
        }
    };
    let host = config.cluster_url.host().context("no host in the URL")?.to_owned();
    let port = config.cluster_url.port_u16().unwrap_or(443);
    let tcp = TcpStream::connect((host.as_str(), port)).await?;
    Ok(TlsConnector::from(Arc::new(tls)).connect(ServerName::try_from(host)?, tcp).await?)
}

fn identity_pem(cluster: &Cluster) -> Result<(Vec<u8>, Vec<u8>)> {
    let file: Value = serde_saphyr::from_str(&std::fs::read_to_string(cluster.kubeconfig())?)?;
    let user = &file["users"][0]["user"];
    let decode = |field: &str| -> Result<Vec<u8>> {
        let text = user[field].as_str().with_context(|| format!("no {field} in the kubeconfig"))?;
        Ok(base64::Engine::decode(&base64::prelude::BASE64_STANDARD, text)?)
    };
    Ok((decode("client-certificate-data")?, decode("client-key-data")?))
}

/// Sends one request on a connection of its own.
pub async fn send(
    cluster: &Cluster,
    identity: Identity,
    method: Method,
    path: &str,
    headers: &[(&str, &str)],
    body: impl Into<Bytes>,
) -> Result<Answer> {
    let stream = connect(cluster, identity).await?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    let driver = tokio::spawn(connection);
    let mut request = Request::builder().method(method).uri(path).header("host", "skiff");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let answer = sender.send_request(request.body(Full::new(body.into()))?).await?;
    let (parts, body) = answer.into_parts();
    let body = body.collect().await?.to_bytes();
    driver.abort();
    Ok(Answer { status: parts.status, headers: parts.headers, body })
}

/// GET as admin.
pub async fn get(cluster: &Cluster, path: &str) -> Answer {
    send(cluster, Identity::Admin, Method::GET, path, &[], Bytes::new()).await.expect("the server answers")
}

/// POST of JSON as admin.
pub async fn post(cluster: &Cluster, path: &str, body: impl Into<Bytes>) -> Answer {
    let json = [("content-type", "application/json")];
    send(cluster, Identity::Admin, Method::POST, path, &json, body).await.expect("the server answers")
}
