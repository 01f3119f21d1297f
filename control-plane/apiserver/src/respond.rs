//! Answers: bytes, documents and errors to HTTP responses.

use crate::negotiate::{Accept, Format, MetaVersion};
use api::Status;
use axum::body::Body;
use bytes::Bytes;
use http::{HeaderValue, Response, StatusCode, header};
use serde_json::Value;
use std::io::Write as _;

/// Bodies of at least this many bytes are compressed for clients that accept it, as kube-apiserver does.
pub(crate) const GZIP_FROM: usize = 128 * 1024;

/// A JSON document in the client's format.
pub(crate) fn json(accept: Accept, code: StatusCode, bytes: Bytes) -> Response<Body> {
    let bytes = match accept.format {
        Format::Json if !accept.pretty && accept.meta_version == MetaVersion::V1 => bytes,
        _ => match serde_json::from_slice::<Value>(&bytes) {
            Ok(value) => text(accept, &value),
            Err(_) => bytes,
        },
    };
    finish(accept, code, bytes)
}

/// A value in the client's format.
pub(crate) fn value(accept: Accept, code: StatusCode, value: &Value) -> Response<Body> {
    finish(accept, code, text(accept, value))
}

/// Tables and metadata in the version before the first.
fn in_beta(value: &Value) -> Value {
    const BETA: &str = "meta.k8s.io/v1beta1";
    let mut beta = value.clone();
    if let Some(version) = beta.get_mut("apiVersion").filter(|version| *version == "meta.k8s.io/v1") {
        *version = BETA.into();
    }
    for (list, path) in [("items", "/apiVersion"), ("rows", "/object/apiVersion")] {
        let items = beta.get_mut(list).and_then(Value::as_array_mut).into_iter().flatten();
        for version in items.filter_map(|item| item.pointer_mut(path)).filter(|version| *version == "meta.k8s.io/v1") {
            *version = BETA.into();
        }
    }
    beta
}

fn text(accept: Accept, value: &Value) -> Bytes {
    let beta;
    let value = if accept.meta_version == MetaVersion::V1 {
        value
    } else {
        beta = in_beta(value);
        &beta
    };
    let text = match accept.format {
        Format::Yaml => serde_saphyr::to_string(value).ok().map(String::into_bytes),
        _ if accept.pretty => serde_json::to_vec_pretty(value).ok(),
        Format::Json | Format::Protobuf => serde_json::to_vec(value).ok(),
    };
    Bytes::from(text.expect("a JSON value can always be written"))
}

fn finish(accept: Accept, code: StatusCode, bytes: Bytes) -> Response<Body> {
    let packed = (accept.gzip && bytes.len() >= GZIP_FROM).then(|| gzip(&bytes)).flatten();
    let is_packed = packed.is_some();
    let mut response = plain(code, accept.content_type(), packed.unwrap_or(bytes));
    if is_packed {
        response.headers_mut().insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
        response.headers_mut().insert(header::VARY, HeaderValue::from_static("Accept-Encoding"));
    }
    response
}

fn gzip(bytes: &[u8]) -> Option<Bytes> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::with_capacity(bytes.len() / 4), flate2::Compression::fast());
    encoder.write_all(bytes).ok()?;
    encoder.finish().ok().map(Bytes::from)
}

/// Bytes as they are.
pub(crate) fn plain(code: StatusCode, content_type: &'static str, bytes: impl Into<Body>) -> Response<Body> {
    let mut response = Response::new(bytes.into());
    *response.status_mut() = code;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache, private"));
    response
}

/// A text for people, which no browser is to take for anything else.
pub(crate) fn text_plain(code: StatusCode, text: impl Into<Body>) -> Response<Body> {
    let mut response = plain(code, "text/plain; charset=utf-8", text);
    response.headers_mut().insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

/// What a server of static pages says of those that it has not, and Kubernetes' outside of its API.
pub(crate) fn nowhere() -> Response<Body> {
    text_plain(StatusCode::NOT_FOUND, "404 page not found\n")
}

/// The refusal of who may not ask.
pub(crate) fn forbidden(accept: Accept, status: &Status) -> Response<Body> {
    let mut response = error(accept, status);
    response.headers_mut().insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

/// An error. `Retry-After` goes along where the Status has it.
pub(crate) fn error(accept: Accept, status: &Status) -> Response<Body> {
    let code = StatusCode::from_u16(status.code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut response = value(accept, code, &status.to_value());
    let headers = response.headers_mut();
    if let Some(seconds) = status.details.as_ref().and_then(|d| d.retry_after_seconds) {
        headers.insert(header::RETRY_AFTER, seconds.into());
    }
    if code == StatusCode::UNAUTHORIZED {
        headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    }
    response
}

/// Characters of all warnings of an answer, and of each where they are more (`endpoints/filters/warning.go`).
const WARNINGS: usize = 4096;
const WARNING: usize = 256;

/// `Warning: 299 - "…"` headers: in full where there is room for all, else the beginnings of the first ones.
pub(crate) fn warn(response: &mut Response<Body>, warnings: &[String]) {
    let length = |warning: &String| warning.chars().count();
    let most = if warnings.iter().map(length).sum::<usize>() > WARNINGS { WARNING } else { WARNINGS };
    let mut written = 0;
    for warning in warnings {
        if written >= WARNINGS {
            return;
        }
        written += length(warning).min(most);
        let mut text = String::with_capacity(warning.len() + 10);
        text.push_str("299 - \"");
        for c in warning.chars().take(most).filter(|c| !c.is_control()) {
            if matches!(c, '"' | '\\') {
                text.push('\\');
            }
            text.push(c);
        }
        text.push('"');
        if let Ok(value) = HeaderValue::from_bytes(text.as_bytes()) {
            response.headers_mut().append(header::WARNING, value);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn warned(warnings: &[String]) -> Vec<usize> {
        let mut response = plain(StatusCode::OK, "text/plain", "");
        warn(&mut response, warnings);
        let values = response.headers().get_all(header::WARNING).iter();
        values.map(|value| String::from_utf8_lossy(value.as_bytes()).chars().count() - "299 - \"\"".len()).collect()
    }

    #[test]
    fn warnings_are_cut_only_where_they_are_too_many() {
        assert_eq!(warned(&["é".repeat(1000), "x".repeat(3096)]), [1000, 3096]);
        assert_eq!(warned(&["é".repeat(1000), "x".repeat(3097), "y".into()]), [256, 256, 1]);
        assert_eq!(warned(&vec!["x".repeat(300); 50]).len(), 16);
        assert_eq!(warned(&["a\"b\n".into()]), ["a\\\"b".len()]);
    }
}
