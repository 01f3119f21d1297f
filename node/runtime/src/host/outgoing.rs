//! Outgoing `wasi:http` requests, sent over connections of the pod's network. HTTPS is verified
//! against the machine's own root certificates.

use std::future::Future;
use std::io;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use http::uri::{PathAndQuery, Scheme};
use http_body_util::BodyExt;
use hyper::client::conn::http1;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::ServerName;
use tokio_rustls::rustls::{ClientConfig, RootCertStore, crypto};
use wasmtime_wasi_http::io::TokioIo;
use wasmtime_wasi_http::{Error, RequestOptions, WasiBody, WasiHttpHooks};

use crate::host::dial;
use crate::{BoxIo, GuestNetwork};

/// When the guest sets no timeouts of its own.
const TIMEOUT: Duration = Duration::from_secs(60);

type Worker = Box<dyn Future<Output = Result<(), Error>> + Send>;
type Sent = Result<(http::Response<WasiBody>, Worker), Error>;

/// Sends a guest's requests.
pub(crate) struct Outgoing {
    pub network: Arc<dyn GuestNetwork>,
}

impl WasiHttpHooks for Outgoing {
    fn send_request(
        &mut self,
        request: http::Request<WasiBody>,
        options: Option<RequestOptions>,
        _done: Worker,
    ) -> Box<dyn Future<Output = Sent> + Send> {
        let network = self.network.clone();
        Box::new(async move { send(network.as_ref(), request, options).await })
    }
}

async fn send(
    network: &dyn GuestNetwork,
    mut request: http::Request<WasiBody>,
    options: Option<RequestOptions>,
) -> Sent {
    let options = options.as_ref();
    let connect = options.and_then(|options| options.connect_timeout).unwrap_or(TIMEOUT);
    let first_byte = options.and_then(|options| options.first_byte_timeout).unwrap_or(TIMEOUT);
    let io =
        tokio::time::timeout(connect, open(network, request.uri())).await.map_err(|_| Error::ConnectionTimeout)??;
    let (mut sender, connection) = http1::handshake(TokioIo::new(io)).await?;
    let path = request.uri().path_and_query().cloned();
    *request.uri_mut() = path.unwrap_or_else(|| PathAndQuery::from_static("/")).into();

    let worker = tokio::spawn(connection);
    let stop = AbortOnDrop(worker.abort_handle());
    let response = tokio::time::timeout(first_byte, sender.send_request(request))
        .await
        .map_err(|_| Error::ConnectionReadTimeout)??;
    let response = response.map(|body| body.map_err(Error::from).boxed_unsync());
    let finish = async move {
        let _stop = stop;
        match worker.await {
            Ok(result) => result.map_err(Error::from),
            Err(_) => Err(Error::ConnectionTerminated),
        }
    };
    Ok((response, Box::new(finish)))
}

/// A connection must not outlive the request that it was opened for.
struct AbortOnDrop(tokio::task::AbortHandle);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

async fn open(network: &dyn GuestNetwork, uri: &http::Uri) -> Result<BoxIo, Error> {
    let authority = uri.authority().ok_or(Error::HttpRequestUriInvalid)?;
    let tls = uri.scheme() == Some(&Scheme::HTTPS);
    let port = authority.port_u16().unwrap_or(if tls { 443 } else { 80 });
    let target = dial::target(authority.host());
    let connection = dial::connect(network, target, port).await.map_err(|error| connect_error(&error))?;
    if !tls {
        return Ok(connection.io);
    }
    let host = authority.host().trim_start_matches('[').trim_end_matches(']').to_owned();
    let name = ServerName::try_from(host).map_err(|_| Error::HttpRequestUriInvalid)?;
    let stream = TlsConnector::from(TLS.clone()).connect(name, connection.io).await;
    Ok(Box::new(stream.map_err(Error::Tls)?))
}

fn connect_error(error: &io::Error) -> Error {
    match error.kind() {
        io::ErrorKind::NotFound => Error::DnsError { rcode: Some("NXDOMAIN".to_owned()), info_code: None },
        io::ErrorKind::PermissionDenied => Error::DestinationIpProhibited,
        io::ErrorKind::TimedOut => Error::ConnectionTimeout,
        io::ErrorKind::HostUnreachable | io::ErrorKind::NetworkUnreachable => Error::DestinationIpUnroutable,
        io::ErrorKind::ConnectionRefused => Error::ConnectionRefused,
        io::ErrorKind::ConnectionReset | io::ErrorKind::ConnectionAborted => Error::ConnectionTerminated,
        _ => Error::DestinationUnavailable,
    }
}

/// Made by the first HTTPS request: reading the root certificates takes milliseconds.
static TLS: LazyLock<Arc<ClientConfig>> = LazyLock::new(|| {
    let mut roots = RootCertStore::empty();
    let found = rustls_native_certs::load_native_certs();
    for error in &found.errors {
        tracing::warn!(%error, "root certificates for guests");
    }
    roots.add_parsable_certificates(found.certs);
    let config = ClientConfig::builder_with_provider(Arc::new(crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("ring supports the default versions")
        .with_root_certificates(roots)
        .with_no_client_auth();
    Arc::new(config)
});
