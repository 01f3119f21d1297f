//! Watches and logs over WebSocket (RFC 6455), as browsers read them: an event is one text message, a piece of a log
//! one binary message.
//!
//! The ordinary answer is made first; only one that succeeded is carried over the upgraded connection. Pulled by the
//! client as the ordinary stream is: a slow one holds back nothing but itself.

use crate::request::ResourceRequest;
use api::{Status, Verb};
use axum::body::Body;
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use bytes::Bytes;
use futures::{Sink, SinkExt as _, StreamExt as _};
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Method, Response, StatusCode, header};
use http_body_util::BodyExt as _;
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::{Role, WebSocketConfig};
use tracing::Instrument as _;

/// What a key is joined with to be answered (RFC 6455, section 1.3).
const MAGIC: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
/// Carries a bearer token, for clients that cannot set headers.
const BEARER: &str = "base64url.bearer.authorization.k8s.io.";
/// Bytes that a client may send at once: nothing of it is used.
const INCOMING: usize = 16 * 1024;
/// Bytes of ours that may wait to be written; more make us wait.
const OUTGOING: usize = 1 << 20;

/// Whether the client asks for a WebSocket on a request that can have one.
pub(crate) fn is_wanted(parts: &Parts, resource: &ResourceRequest<'_>) -> bool {
    let streams =
        resource.verb == Some(Verb::Watch) || (resource.verb == Some(Verb::Get) && resource.subresource == "log");
    streams && parts.method == Method::GET && is_upgrade(&parts.headers)
}

fn is_upgrade(headers: &HeaderMap) -> bool {
    let names = |name: &header::HeaderName, wanted: &str| {
        let texts = headers.get_all(name).iter().filter_map(|value| value.to_str().ok());
        texts.flat_map(|text| text.split(',')).any(|part| part.trim().eq_ignore_ascii_case(wanted))
    };
    names(&header::UPGRADE, "websocket") && names(&header::CONNECTION, "upgrade")
}

/// The protocols that the client offers.
fn offered(headers: &HeaderMap) -> impl Iterator<Item = &str> {
    let values = headers.get_all(header::SEC_WEBSOCKET_PROTOCOL).iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|text| text.split(',')).map(str::trim).filter(|name| !name.is_empty())
}

/// The `Authorization` that a browser hides among its protocols. It must offer another one as well, which is answered.
pub(crate) fn authorization(headers: &HeaderMap) -> Option<HeaderMap> {
    if headers.contains_key(header::AUTHORIZATION) || !is_upgrade(headers) {
        return None;
    }
    let mut tokens = offered(headers).filter_map(|name| name.strip_prefix(BEARER));
    let token = tokens.next().filter(|_| tokens.next().is_none())?;
    offered(headers).find(|name| !name.starts_with(BEARER))?;
    let token = String::from_utf8(URL_SAFE_NO_PAD.decode(token).ok()?).ok()?;
    let mut value = HeaderValue::from_str(&format!("Bearer {token}")).ok()?;
    value.set_sensitive(true);
    Some(HeaderMap::from_iter([(header::AUTHORIZATION, value)]))
}

/// How the bytes of an answer become messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Framing {
    /// A message for each line.
    Lines,
    Binary,
    Base64,
}

/// Carries `response` over the connection that is being upgraded. One that is no success goes out as it is.
///
/// # Errors
/// 400 for an upgrade that is no WebSocket of version 13, or offers several protocols of which none is ours.
pub(crate) fn carry(
    parts: &Parts,
    resource: &ResourceRequest<'_>,
    upgrade: Option<OnUpgrade>,
    response: Response<Body>,
) -> Result<Response<Body>, Status> {
    if response.status() != StatusCode::OK {
        return Ok(response);
    }
    let bad = |why: &str| Status::bad_request(format!("websocket: {why}"));
    let upgrade = upgrade.ok_or_else(|| bad("this connection cannot be upgraded"))?;
    if parts.headers.get(header::SEC_WEBSOCKET_VERSION).is_none_or(|version| version != "13") {
        return Err(bad("missing or bad WebSocket Version"));
    }
    let key = parts.headers.get(header::SEC_WEBSOCKET_KEY).ok_or_else(|| bad("missing Sec-WebSocket-Key"))?;
    if STANDARD.decode(key).ok().is_none_or(|key| key.len() != 16) {
        return Err(bad("bad Sec-WebSocket-Key"));
    }
    let (framing, protocol) = choose(parts, resource).ok_or_else(|| bad("bad protocol"))?;
    let mut answer = Response::new(Body::empty());
    *answer.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let headers = answer.headers_mut();
    headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
    headers.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(header::SEC_WEBSOCKET_ACCEPT, accept(key));
    if let Some(protocol) = protocol.and_then(|name| HeaderValue::from_str(name).ok()) {
        headers.insert(header::SEC_WEBSOCKET_PROTOCOL, protocol);
    }
    tokio::spawn(serve(upgrade, response.into_body(), framing).instrument(tracing::debug_span!("websocket")));
    Ok(answer)
}

/// The framing, and the protocol to answer with. A watch takes any single one, as in Kubernetes.
fn choose<'h>(parts: &'h Parts, resource: &ResourceRequest<'_>) -> Option<(Framing, Option<&'h str>)> {
    let mut names = offered(&parts.headers).filter(|name| !name.starts_with(BEARER));
    if resource.verb == Some(Verb::Watch) {
        let first = names.next();
        return names.next().is_none().then_some((Framing::Lines, first));
    }
    let mut names = names.peekable();
    if names.peek().is_none() {
        return Some((Framing::Binary, None));
    }
    names.find_map(|name| match name {
        "binary.k8s.io" => Some((Framing::Binary, Some(name))),
        "base64.binary.k8s.io" => Some((Framing::Base64, Some(name))),
        _ => None,
    })
}

fn accept(key: &HeaderValue) -> HeaderValue {
    let mut context = ring::digest::Context::new(&ring::digest::SHA1_FOR_LEGACY_USE_ONLY);
    context.update(key.as_bytes());
    context.update(MAGIC);
    let text = STANDARD.encode(context.finish());
    HeaderValue::from_str(&text).expect("base64 can be a header's value")
}

async fn serve(upgrade: OnUpgrade, body: Body, framing: Framing) {
    let io = match upgrade.await {
        Ok(io) => TokioIo::new(io),
        Err(error) => return tracing::debug!(%error, "the connection was not upgraded"),
    };
    let config = WebSocketConfig::default()
        .max_message_size(Some(INCOMING))
        .max_frame_size(Some(INCOMING))
        .max_write_buffer_size(OUTGOING);
    let socket = WebSocketStream::from_raw_socket(io, Role::Server, Some(config)).await;
    if let Err(error) = exchange(socket, body, framing).await {
        tracing::debug!(%error, "the WebSocket ended");
    }
}

type SocketError = tokio_tungstenite::tungstenite::Error;

/// Sends until the body ends or the client goes. What the client says is not listened to, but for its close and its pings.
async fn exchange<S>(socket: WebSocketStream<S>, mut body: Body, framing: Framing) -> Result<(), SocketError>
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin,
{
    let (mut sink, mut incoming) = socket.split();
    let mut partial = Vec::new();
    loop {
        tokio::select! {
            frame = body.frame() => match frame {
                Some(Ok(frame)) => {
                    let Ok(data) = frame.into_data() else { continue };
                    send(&mut sink, framing, &mut partial, data).await?;
                }
                Some(Err(_)) | None => break,
            },
            message = incoming.next() => match message {
                Some(Ok(Message::Close(_))) | None => break,
                Some(Ok(_)) => {}
                Some(Err(error)) => return Err(error),
            },
        }
    }
    sink.close().await
}

/// All messages of one piece, written at once.
async fn send<S>(sink: &mut S, framing: Framing, partial: &mut Vec<u8>, data: Bytes) -> Result<(), SocketError>
where
    S: Sink<Message, Error = SocketError> + Unpin,
{
    match framing {
        Framing::Binary => sink.feed(Message::Binary(data)).await?,
        Framing::Base64 => sink.feed(Message::text(STANDARD.encode(&data))).await?,
        Framing::Lines => {
            let mut rest = &data[..];
            while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
                let (line, after) = rest.split_at(end + 1);
                rest = after;
                let line = if partial.is_empty() {
                    String::from_utf8_lossy(line).into_owned()
                } else {
                    partial.extend_from_slice(line);
                    String::from_utf8_lossy(&std::mem::take(partial)).into_owned()
                };
                sink.feed(Message::text(line)).await?;
            }
            partial.extend_from_slice(rest);
        }
    }
    sink.flush().await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_answered_as_in_the_rfc() {
        let key = HeaderValue::from_static("dGhlIHNhbXBsZSBub25jZQ==");
        assert_eq!(accept(&key), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    }

    #[test]
    fn a_token_among_the_protocols_needs_another_protocol_beside_it() {
        let token = format!("{BEARER}{}", URL_SAFE_NO_PAD.encode("s3cret"));
        let headers = |protocols: &str| {
            HeaderMap::from_iter([
                (header::UPGRADE, HeaderValue::from_static("websocket")),
                (header::CONNECTION, HeaderValue::from_static("keep-alive, Upgrade")),
                (header::SEC_WEBSOCKET_PROTOCOL, protocols.parse().unwrap()),
            ])
        };
        let found = authorization(&headers(&format!("{token}, base64.binary.k8s.io"))).unwrap();
        assert_eq!(found[header::AUTHORIZATION], "Bearer s3cret");
        assert!(authorization(&headers(&token)).is_none());
        assert!(authorization(&headers(&format!("{token}, {token}, x"))).is_none());
        let mut plain = headers(&format!("{token}, x"));
        plain.remove(header::UPGRADE);
        assert!(authorization(&plain).is_none(), "only a WebSocket may carry its token there");
    }
}
