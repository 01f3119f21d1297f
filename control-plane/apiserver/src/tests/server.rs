//! The network side, over a real socket on a free port.

use super::*;
use crate::pki::KeyPair;
use crate::{ApiServer, StartError};
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

pub(super) async fn start() -> ApiServer {
    ApiServer::start(Config::new(store::Store::open(store::Options::memory()).unwrap())).await.unwrap()
}

pub(super) async fn connect(server: &ApiServer, identity: Option<&KeyPair>, protocol: &[u8]) -> TlsStream<TcpStream> {
    let mut roots = rustls::RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(server.pki().ca_pem().as_bytes()).unwrap()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots);
    let mut config = match identity {
        Some(pair) => {
            let chain = vec![CertificateDer::from_pem_slice(pair.certificate_pem.as_bytes()).unwrap()];
            let key = PrivateKeyDer::from_pem_slice(pair.key_pem.as_bytes()).unwrap();
            builder.with_client_auth_cert(chain, key).unwrap()
        }
        None => builder.with_no_client_auth(),
    };
    config.alpn_protocols = vec![protocol.to_vec()];
    let tcp = TcpStream::connect(server.local_addr()).await.unwrap();
    let name = ServerName::try_from("kubernetes.default.svc").unwrap();
    TlsConnector::from(Arc::new(config)).connect(name, tcp).await.unwrap()
}

pub(super) async fn get(
    server: &ApiServer,
    identity: Option<&KeyPair>,
    protocol: &[u8],
    path: &str,
) -> (StatusCode, Bytes) {
    let io = TokioIo::new(connect(server, identity, protocol).await);
    let request =
        Request::get(format!("https://kubernetes{path}")).header("host", "kubernetes").body(Body::empty()).unwrap();
    let response = if protocol == b"h2" {
        let (mut sender, connection) = hyper::client::conn::http2::handshake(TokioExecutor::new(), io).await.unwrap();
        tokio::spawn(connection);
        sender.send_request(request).await.unwrap()
    } else {
        let (mut sender, connection) = hyper::client::conn::http1::handshake(io).await.unwrap();
        tokio::spawn(connection);
        sender.send_request(request).await.unwrap()
    };
    let code = response.status();
    (code, response.into_body().collect().await.unwrap().to_bytes())
}

#[tokio::test]
async fn client_certificates_are_who_you_are() {
    let server = start().await;
    for protocol in [&b"h2"[..], b"http/1.1"] {
        assert_eq!(get(&server, Some(server.pki().admin()), protocol, "/api/v1/namespaces").await.0, 200);
        assert_eq!(get(&server, None, protocol, "/api/v1/namespaces").await.0, 403);
        assert_eq!(get(&server, None, protocol, "/readyz").await.0, 200);
    }
    server.shutdown().await;
}

#[tokio::test]
async fn a_port_in_use_is_named() {
    let server = start().await;
    let mut config = Config::new(store::Store::open(store::Options::memory()).unwrap());
    config.listen = server.local_addr();
    let error = ApiServer::start(config).await.err().unwrap();
    assert!(matches!(error, StartError::AddressInUse { .. }));
    assert!(error.to_string().contains(&server.local_addr().to_string()));
    server.shutdown().await;
}

#[tokio::test]
async fn a_node_that_dials_in_serves_logs_through_its_tunnel() {
    let server = start().await;
    let node = server.pki().issue_node("n1").unwrap();
    let io = TokioIo::new(connect(&server, Some(&node), b"http/1.1").await);
    let (mut sender, connection) = hyper::client::conn::http1::handshake(io).await.unwrap();
    tokio::spawn(connection.with_upgrades());
    let request = Request::get("/apis/skiff.dev/v1/nodes/n1/tunnel")
        .header("host", "kubernetes")
        .header("connection", "Upgrade")
        .header("upgrade", "skiff-tunnel")
        .body(Body::empty())
        .unwrap();
    let response = sender.send_request(request).await.unwrap();
    assert_eq!(response.status(), 101);
    let upgraded = hyper::upgrade::on(response).await.unwrap();
    let router = axum::Router::new().fallback(|| async { "hello from n1" });
    let service = hyper_util::service::TowerToHyperService::new(router);
    tokio::spawn(hyper::server::conn::http2::Builder::new(TokioExecutor::new()).serve_connection(upgraded, service));
    let core = &server.core;
    let answer = loop {
        let request = Request::get("http://n1/containerLogs/a/b/c").body(Body::empty()).unwrap();
        match core.nodes.send("n1", request).await {
            Ok(response) => break response,
            Err(_) => tokio::task::yield_now().await,
        }
    };
    assert_eq!(answer.into_body().collect().await.unwrap().to_bytes(), "hello from n1");
    server.shutdown().await;
}

#[tokio::test]
async fn only_the_node_itself_may_open_its_tunnel() {
    let server = start().await;
    let other = server.pki().issue_node("n2").unwrap();
    let (code, _) = get(&server, Some(&other), b"http/1.1", "/apis/skiff.dev/v1/nodes/n1/tunnel").await;
    assert_eq!(code, 403);
    let (code, _) = get(&server, Some(&other), b"http/1.1", "/apis/skiff.dev/v1/nodes/n2/tunnel").await;
    assert_eq!(code, 400, "without an upgrade");
    server.shutdown().await;
}

#[tokio::test]
async fn shutdown_ends_open_watches() {
    let server = start().await;
    let io = TokioIo::new(connect(&server, Some(server.pki().admin()), b"http/1.1").await);
    let (mut sender, connection) = hyper::client::conn::http1::handshake(io).await.unwrap();
    tokio::spawn(connection);
    let request = Request::get("/api/v1/pods?watch=1").header("host", "kubernetes").body(Body::empty()).unwrap();
    let response = sender.send_request(request).await.unwrap();
    let reading = tokio::spawn(response.into_body().collect());
    server.shutdown().await;
    tokio::time::timeout(Duration::from_secs(60), reading).await.unwrap().unwrap().unwrap();
}

/// How many watches the server says are open.
async fn open_watches(server: &ApiServer) -> u64 {
    let (code, page) = get(server, Some(server.pki().admin()), b"http/1.1", "/metrics").await;
    assert_eq!(code, 200);
    let page = String::from_utf8(page.to_vec()).unwrap();
    let lines = page.lines().filter(|line| line.starts_with("apiserver_longrunning_requests{"));
    let watches = lines.filter(|line| line.contains("verb=\"WATCH\""));
    watches.map(|line| line.rsplit(' ').next().unwrap().parse::<u64>().unwrap()).sum()
}

#[tokio::test]
async fn a_watcher_that_stops_reading_is_cut_off() {
    const MAPS: usize = 40;
    const BYTES: usize = 900_000;
    let mut config = Config::new(store::Store::open(store::Options::memory()).unwrap());
    config.limits.write_stall = Duration::from_millis(10);
    let server = ApiServer::start(config).await.unwrap();
    let admin = server.pki().admin();
    let mut slow = connect(&server, Some(admin), b"http/1.1").await;
    let request = format!("GET {CONFIG_MAPS}?watch=1 HTTP/1.1\r\nhost: kubernetes\r\n\r\n");
    slow.write_all(request.as_bytes()).await.unwrap();
    let mut head = [0; 12];
    slow.read_exact(&mut head).await.unwrap();
    assert_eq!(&head, b"HTTP/1.1 200");
    assert_eq!(open_watches(&server).await, 1);
    let io = TokioIo::new(connect(&server, Some(admin), b"http/1.1").await);
    let (mut sender, connection) = hyper::client::conn::http1::handshake(io).await.unwrap();
    tokio::spawn(connection);
    // More than all the buffers in between take.
    for n in 0..MAPS {
        let map = json!({"metadata": {"name": format!("c{n}")}, "data": {"filler": "x".repeat(BYTES)}});
        let request =
            Request::post(CONFIG_MAPS).header("host", "kubernetes").header("content-type", "application/json");
        let response = sender.send_request(request.body(Body::from(map.to_string())).unwrap()).await.unwrap();
        assert_eq!(response.status(), 201);
        response.into_body().collect().await.unwrap();
    }
    // What the server held for it goes before it looks again.
    let released = async {
        while open_watches(&server).await > 0 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), released).await.expect("the watch ends");
    let mut seen = Vec::new();
    let rest = tokio::time::timeout(Duration::from_secs(60), slow.read_to_end(&mut seen)).await;
    rest.expect("the connection ends").expect_err("in the middle of the stream");
    assert!(seen.len() < MAPS * BYTES, "{} bytes came after all", seen.len());
    assert_eq!(get(&server, Some(admin), b"http/1.1", "/api/v1/namespaces").await.0, 200, "others go on");
    server.shutdown().await;
}

/// One stream's request on a connection of HTTP/2.
async fn ask(sender: &hyper::client::conn::http2::SendRequest<Body>, request: Request<Body>) -> Response<Incoming> {
    let response = sender.clone().send_request(request).await.unwrap();
    assert!(response.status().is_success(), "{}", response.status());
    response
}

async fn post_map(sender: &hyper::client::conn::http2::SendRequest<Body>, name: &str, bytes: usize) {
    let map = json!({"metadata": {"name": name}, "data": {"filler": "x".repeat(bytes)}});
    let request = Request::post(format!("https://kubernetes{CONFIG_MAPS}")).header("content-type", "application/json");
    ask(sender, request.body(Body::from(map.to_string())).unwrap()).await.into_body().collect().await.unwrap();
}

/// Reads a watch up to the end of the line about the object `name`, which is the only one that comes.
async fn read_to(watch: &mut Incoming, name: &str) {
    let mut line = Vec::new();
    while !line.ends_with(b"\n") {
        let frame = watch.frame().await.expect("the watch goes on").unwrap();
        line.extend_from_slice(frame.data_ref().unwrap());
    }
    let event: Value = serde_json::from_slice(&line).unwrap();
    assert_eq!(event["object"]["metadata"]["name"], name);
}

#[tokio::test]
async fn a_stream_that_nobody_reads_is_reset_and_its_connection_goes_on() {
    const WINDOW: u32 = 65_535;
    let mut config = Config::new(store::Store::open(store::Options::memory()).unwrap());
    config.limits.write_stall = Duration::from_secs(2);
    let server = ApiServer::start(config).await.unwrap();
    let io = TokioIo::new(connect(&server, Some(server.pki().admin()), b"h2").await);
    let mut client = hyper::client::conn::http2::Builder::new(TokioExecutor::new());
    let (sender, connection) = client.initial_stream_window_size(WINDOW).handshake(io).await.unwrap();
    tokio::spawn(connection);
    let get = |path: &str| Request::get(format!("https://kubernetes{path}")).body(Body::empty()).unwrap();
    let maps = format!("{CONFIG_MAPS}?watch=1");
    let mut read = ask(&sender, get(&maps)).await.into_body();
    let mut idle = ask(&sender, get("/api/v1/namespaces/default/secrets?watch=1")).await.into_body();
    let mut unread = ask(&sender, get(&maps)).await.into_body();
    assert_eq!(open_watches(&server).await, 3);
    post_map(&sender, "large", 500_000).await;
    read_to(&mut read, "large").await;
    let released = async {
        while open_watches(&server).await > 2 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), released).await.expect("the watch ends");
    post_map(&sender, "later", 10).await;
    read_to(&mut read, "later").await;
    let secret = Request::post("https://kubernetes/api/v1/namespaces/default/secrets")
        .header("content-type", "application/json")
        .body(Body::from(r#"{"metadata":{"name":"first"}}"#));
    ask(&sender, secret.unwrap()).await;
    read_to(&mut idle, "first").await;
    let mut bytes = 0;
    let error = loop {
        match unread.frame().await.expect("an error at the end") {
            Ok(frame) => bytes += frame.data_ref().unwrap().len(),
            Err(error) => break format!("{error:?}"),
        }
    };
    assert!(error.contains("Reset") && error.contains("CANCEL"), "{error}");
    assert!(bytes <= WINDOW as usize, "{bytes} bytes came after all");
    server.shutdown().await;
}
