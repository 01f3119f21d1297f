//! `/openapi/v2` and `/openapi/v3`. Documents come from `api::openapi` and are made when first asked for.

use crate::catalog::Document;
use crate::core::Core;
use crate::negotiate::Accept;
use crate::registry::unknown_path;
use crate::request::Query;
use crate::respond;
use api::{Kinds, Status, openapi};
use axum::body::Body;
use http::{HeaderMap, HeaderValue, Response, StatusCode, header};
use serde_json::Value;

/// Asked for as `…spec.v2@v1.0+protobuf`; answered with a dot, as Kubernetes does: old clients parse the answer's type
/// strictly, and an `@` is no token character.
const V2_PROTOBUF: &str = "application/com.github.proto-openapi.spec.v2.v1.0+protobuf";

pub(super) fn serve(
    core: &Core,
    rest: &[&str],
    headers: &HeaderMap,
    query: &Query<'_>,
) -> Result<Response<Body>, Status> {
    match rest {
        ["v2"] => v2(core, headers),
        ["v3"] => {
            let document = document(core, "openapi/v3", |kinds| Some(openapi::v3_index(kinds)))?;
            Ok(send(&document, headers, "application/json"))
        }
        ["v3", "api", version] => v3(core, "", version, headers, query),
        ["v3", "apis", group, version] => v3(core, group, version, headers, query),
        _ => Ok(respond::nowhere()),
    }
}

fn document(core: &Core, name: &str, make: impl FnOnce(&Kinds) -> Option<Value>) -> Result<Document, Status> {
    let make = |kinds: &Kinds| serde_json::to_vec(&make(kinds)?).ok();
    core.catalog().document(name, make).ok_or_else(unknown_path)
}

fn v2(core: &Core, headers: &HeaderMap) -> Result<Response<Body>, Status> {
    let wanted = headers.get(header::ACCEPT).and_then(|v| v.to_str().ok()).unwrap_or_default();
    let first = wanted.split(',').next().unwrap_or_default().trim();
    // Some clients have the version's "@" percent-encoded or leave it out.
    if first.starts_with("application/com.github") {
        let make = |kinds: &Kinds| Some(openapi::v2_protobuf(&openapi::v2_document(kinds)));
        let document = core.catalog().document("openapi/v2+protobuf", make).ok_or_else(unknown_path)?;
        return Ok(send(&document, headers, V2_PROTOBUF));
    }
    let document = document(core, "openapi/v2", |kinds| Some(openapi::v2_document(kinds)))?;
    Ok(send(&document, headers, "application/json"))
}

/// One group and version. Under the hash that the index gives, the answer never changes and may be kept for good.
fn v3(
    core: &Core,
    group: &str,
    version: &str,
    headers: &HeaderMap,
    query: &Query<'_>,
) -> Result<Response<Body>, Status> {
    let catalog = core.catalog();
    let hash = openapi::v3_hash(&catalog.kinds, group, version).ok_or_else(unknown_path)?;
    if let Some(asked) = query.text("hash")
        && asked != hash
    {
        let mut response = respond::plain(StatusCode::MOVED_PERMANENTLY, "text/plain", Body::empty());
        let prefix = if group.is_empty() { "api".to_owned() } else { format!("apis/{group}") };
        if let Ok(location) = HeaderValue::from_str(&format!("/openapi/v3/{prefix}/{version}?hash={hash}")) {
            response.headers_mut().insert(header::LOCATION, location);
        }
        return Ok(response);
    }
    let name = format!("openapi/v3/{group}/{version}");
    let document = document(core, &name, |kinds| openapi::v3_document(kinds, group, version))?;
    let mut response = send(&document, headers, "application/json");
    if query.text("hash").is_some() {
        let forever = HeaderValue::from_static("public, immutable");
        response.headers_mut().insert(header::CACHE_CONTROL, forever);
    }
    Ok(response)
}

fn send(document: &Document, headers: &HeaderMap, content_type: &'static str) -> Response<Body> {
    let unchanged = headers.get(header::IF_NONE_MATCH).is_some_and(|v| v.as_bytes() == document.etag.as_bytes());
    let mut response = if unchanged {
        respond::plain(StatusCode::NOT_MODIFIED, content_type, Body::empty())
    } else {
        let gzip = Accept::parse(headers).map_or_else(|_| accepts_gzip(headers), |accept| accept.gzip);
        let accept = Accept { gzip, ..Accept::JSON };
        respond::json(accept, StatusCode::OK, document.bytes.clone())
    };
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    if let Ok(etag) = HeaderValue::from_str(&document.etag) {
        response.headers_mut().insert(header::ETAG, etag);
    }
    response.headers_mut().insert(header::VARY, HeaderValue::from_static("Accept-Encoding, Accept"));
    response
}

fn accepts_gzip(headers: &HeaderMap) -> bool {
    headers.get(header::ACCEPT_ENCODING).and_then(|v| v.to_str().ok()).is_some_and(|text| text.contains("gzip"))
}
