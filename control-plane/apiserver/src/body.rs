//! Request bodies: read whole, within a limit, then decoded.

use crate::negotiate::Format;
use api::{Status, decode};
use axum::body::Body;
use bytes::{Bytes, BytesMut};
use http::{HeaderMap, header};
use http_body::{Body as HttpBody, Frame, SizeHint};
use http_body_util::BodyExt as _;
use serde_json::Value;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

/// How long, and for how many bytes, a body that nobody wants is still read after its answer, so that
/// the client gets to see the answer instead of a broken connection.
const DRAIN: Duration = Duration::from_secs(10);
const DRAIN_BYTES: usize = 512 << 20;

/// The whole body.
///
/// # Errors
/// 413 as soon as it is known that there are more than `limit` bytes; 400 when the client broke off.
pub(crate) async fn read(headers: &HeaderMap, mut body: Body, limit: usize) -> Result<Bytes, Status> {
    let announced: Option<usize> =
        headers.get(header::CONTENT_LENGTH).and_then(|v| v.to_str().ok()).and_then(|v| v.parse().ok());
    if announced.is_some_and(|length| length > limit) {
        return Err(Status::too_large(limit));
    }
    let mut first = Bytes::new();
    let mut all: Option<BytesMut> = None;
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| Status::bad_request(format!("error reading the body: {error}")))?;
        let Ok(data) = frame.into_data() else { continue };
        if first.len() + all.as_ref().map_or(0, BytesMut::len) + data.len() > limit {
            return Err(Status::too_large(limit));
        }
        match &mut all {
            Some(all) => all.extend_from_slice(&data),
            None if first.is_empty() => first = data,
            None => {
                let mut joined = BytesMut::with_capacity(announced.unwrap_or(2 * (first.len() + data.len())));
                joined.extend_from_slice(&first);
                joined.extend_from_slice(&data);
                first = Bytes::new();
                all = Some(joined);
            }
        }
    }
    Ok(all.map_or(first, BytesMut::freeze))
}

/// Reads on in the background and throws away.
fn drain(mut body: Body) {
    use tracing::Instrument as _;
    let reading = async move {
        let mut left = DRAIN_BYTES;
        while let Some(Ok(frame)) = body.frame().await {
            let Some(rest) = left.checked_sub(frame.data_ref().map_or(0, Bytes::len)) else { break };
            left = rest;
        }
    };
    let bounded = async move { _ = tokio::time::timeout(DRAIN, reading).await };
    tokio::spawn(bounded.instrument(tracing::debug_span!("drain_body")));
}

/// A body that is read to its end, within the bounds of [`drain`], whoever drops it before. HTTP/2 clients are told of a
/// broken stream otherwise, and some then never show the answer that came before.
pub(crate) struct Courteous(Option<Body>);

impl Courteous {
    pub(crate) fn new<B>(body: B) -> Self
    where
        B: HttpBody<Data = Bytes> + Send + 'static,
        B::Error: Into<axum::BoxError>,
    {
        Self(Some(Body::new(body)))
    }
}

impl HttpBody for Courteous {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        match &mut self.0 {
            Some(body) => Pin::new(body).poll_frame(cx),
            None => Poll::Ready(None),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.0.as_ref().is_none_or(HttpBody::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.0.as_ref().map_or_else(SizeHint::default, HttpBody::size_hint)
    }
}

impl Drop for Courteous {
    fn drop(&mut self) {
        if let Some(body) = self.0.take().filter(|body| !body.is_end_stream())
            && tokio::runtime::Handle::try_current().is_ok()
        {
            drain(body);
        }
    }
}

/// How Kubernetes' YAML decoder begins what it says of keys that occur twice.
pub(crate) const YAML_ERRORS: &str = "yaml: unmarshal errors:\n";

/// A document, with what is to be said of fields that occurred twice in it (the last one wins).
///
/// # Errors
/// 400 for what is no document of `format`.
pub(crate) fn decode(format: Format, bytes: &[u8]) -> Result<(Value, Vec<String>), Status> {
    match format {
        Format::Json => {
            let (value, twice) = decode::json(bytes, decode::Limits::default())?;
            Ok((value, twice.into_iter().map(|path| format!("duplicate field {path:?}")).collect()))
        }
        Format::Protobuf => Ok((crate::protobuf::decode(bytes)?, Vec::new())),
        Format::Yaml => {
            let (json, twice) = yaml_to_json(bytes)?;
            Ok((decode::json(&json, decode::Limits::default())?.0, twice.into_iter().collect()))
        }
    }
}

/// YAML goes through JSON text, so that limits and errors are the same for both. Beside it: the first key that occurs twice.
fn yaml_to_json(bytes: &[u8]) -> Result<(Vec<u8>, Option<String>), Status> {
    use serde_saphyr::{DeserializeError, DuplicateKeyPolicy, Options};
    let refused = |error: &DeserializeError| {
        Status::bad_request(format!("error converting YAML to JSON: yaml: {}", error.without_snippet()))
    };
    let (value, twice): (Value, _) = match serde_saphyr::from_slice(bytes) {
        Ok(value) => (value, None),
        Err(error) => {
            let DeserializeError::DuplicateMappingKey { key, location } = error.without_snippet() else {
                return Err(refused(&error));
            };
            let key = key.as_deref().unwrap_or_default();
            let twice = format!("{YAML_ERRORS}  line {}: key {key:?} already set in map", location.line());
            let mut options = Options::default();
            options.duplicate_keys = DuplicateKeyPolicy::LastWins;
            (serde_saphyr::from_slice_with_options(bytes, options).map_err(|e| refused(&e))?, Some(twice))
        }
    };
    Ok((serde_json::to_vec(&value).map_err(Status::internal)?, twice))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A body that yields what is sent to it.
    fn endless() -> (tokio::sync::mpsc::Sender<Bytes>, Courteous) {
        let (sender, receiver) = tokio::sync::mpsc::channel(1);
        let stream = futures::stream::unfold(receiver, async |mut receiver| {
            let bytes = receiver.recv().await?;
            Some((Ok::<_, std::convert::Infallible>(bytes), receiver))
        });
        (sender, Courteous::new(Body::from_stream(stream)))
    }

    #[test]
    fn deep_yaml_is_refused() {
        for depth in [200, 100_000] {
            let deep = "[".repeat(depth) + &"]".repeat(depth);
            assert_eq!(decode(Format::Yaml, deep.as_bytes()).unwrap_err().code, 400);
            let blocks = "- ".repeat(depth);
            assert_eq!(decode(Format::Yaml, blocks.as_bytes()).unwrap_err().code, 400);
        }
    }

    #[test]
    fn of_keys_that_occur_twice_the_last_wins_and_the_first_is_told() {
        let (value, twice) = decode(Format::Yaml, b"a:\n  b: 1\n  c: 2\n  b: 3\n").unwrap();
        assert_eq!(value, serde_json::json!({"a": {"b": 3, "c": 2}}));
        assert_eq!(twice, ["yaml: unmarshal errors:\n  line 4: key \"b\" already set in map"]);
        let (_, twice) = decode(Format::Json, br#"{"a": {"b": 1, "b": 2}}"#).unwrap();
        assert_eq!(twice, ["duplicate field \"a.b\""]);
    }

    #[tokio::test]
    async fn what_nobody_wants_is_read_to_its_end() {
        let (sender, body) = endless();
        drop(body);
        for _ in 0..100 {
            sender.send(Bytes::from_static(b"more")).await.expect("somebody still reads");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn nobody_waits_for_ever_for_the_end_of_a_body() {
        let (sender, body) = endless();
        let started = tokio::time::Instant::now();
        drop(body);
        sender.closed().await;
        assert_eq!(started.elapsed().as_secs(), DRAIN.as_secs());
    }
}
