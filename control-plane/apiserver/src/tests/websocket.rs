//! Watches over WebSocket, over a real socket.

use super::server::{connect, start};
use super::*;
use futures::{SinkExt as _, StreamExt as _};
use hyper_util::rt::TokioIo;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::Role;

const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";

type Socket = WebSocketStream<TokioIo<hyper::upgrade::Upgraded>>;

/// The answer's head and, where it is 101, the socket.
async fn open(
    server: &crate::ApiServer,
    path: &str,
    protocols: Option<&str>,
) -> (StatusCode, HeaderMap, Option<Socket>) {
    let io = TokioIo::new(connect(server, Some(server.pki().admin()), b"http/1.1").await);
    let (mut sender, connection) = hyper::client::conn::http1::handshake(io).await.unwrap();
    tokio::spawn(connection.with_upgrades());
    let mut request = Request::get(path)
        .header("host", "kubernetes")
        .header("connection", "Upgrade")
        .header("upgrade", "websocket")
        .header("sec-websocket-version", "13")
        .header("sec-websocket-key", KEY);
    if let Some(protocols) = protocols {
        request = request.header("sec-websocket-protocol", protocols);
    }
    let response = sender.send_request(request.body(Body::empty()).unwrap()).await.unwrap();
    let (code, headers) = (response.status(), response.headers().clone());
    if code != StatusCode::SWITCHING_PROTOCOLS {
        return (code, headers, None);
    }
    let upgraded = hyper::upgrade::on(response).await.unwrap();
    let socket = WebSocketStream::from_raw_socket(TokioIo::new(upgraded), Role::Client, None).await;
    (code, headers, Some(socket))
}

async fn event(socket: &mut Socket) -> Value {
    loop {
        match socket.next().await.expect("the socket is open").unwrap() {
            Message::Text(text) => return serde_json::from_str(&text).unwrap(),
            Message::Pong(_) => {}
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn a_watch_over_websocket_is_a_message_for_each_event() {
    let server = start().await;
    let path = "/api/v1/namespaces?watch=1&fieldSelector=metadata.name%3Ddefault";
    let (_, headers, socket) = open(&server, path, None).await;
    let mut socket = socket.unwrap();
    assert_eq!(headers["sec-websocket-accept"], "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    assert!(!headers.contains_key("sec-websocket-protocol"));
    let first = event(&mut socket).await;
    assert_eq!((&first["type"], &first["object"]["metadata"]["name"]), (&json!("ADDED"), &json!("default")));
    let admin = server.local_client_service(User::component("system:admin"));
    let patch = Request::patch("/api/v1/namespaces/default")
        .header("content-type", "application/merge-patch+json")
        .body(Body::from(r#"{"metadata":{"labels":{"a":"b"}}}"#))
        .unwrap();
    socket.send(Message::Ping(Bytes::from_static(b"still there?"))).await.unwrap();
    assert_eq!(admin.send(patch).await.status(), 200);
    let second = event(&mut socket).await;
    assert_eq!((&second["type"], &second["object"]["metadata"]["labels"]["a"]), (&json!("MODIFIED"), &json!("b")));
    socket.close(None).await.unwrap();
    server.shutdown().await;
}

#[tokio::test]
async fn the_end_of_a_watch_closes_its_websocket() {
    let server = start().await;
    let (_, _, socket) = open(&server, "/api/v1/watch/pods?timeoutSeconds=1", None).await;
    let mut socket = socket.unwrap();
    let last = tokio::time::timeout(Duration::from_secs(30), socket.next()).await.expect("it ends");
    assert!(matches!(last, Some(Ok(Message::Close(_))) | None), "{last:?}");
    server.shutdown().await;
}

#[tokio::test]
async fn a_websocket_that_cannot_be_is_a_plain_answer() {
    let server = start().await;
    for (path, protocols, code) in [
        ("/api/v1/pods?watch=1&labelSelector=%3D", None, 400),
        ("/api/v1/nopes?watch=1", None, 404),
        ("/api/v1/pods?watch=1", Some("a, b"), 400),
    ] {
        assert_eq!(open(&server, path, protocols).await.0, code, "{path}");
    }
    let (code, headers, _) = open(&server, "/api/v1/pods?watch=1", Some("v1.example")).await;
    assert_eq!((code.as_u16(), &headers["sec-websocket-protocol"]), (101, &"v1.example".parse().unwrap()));
    // What is no stream is answered as ever.
    assert_eq!(open(&server, "/api/v1/pods", None).await.0, 200);
    server.shutdown().await;
}
