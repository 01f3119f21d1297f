//! `/api`, `/apis` and below: what is served. Documents come from `api::discovery` and are made once per table of kinds.

use crate::catalog::Document;
use crate::core::Core;
use crate::negotiate::{Accept, Shape, aggregated_discovery, not_acceptable};
use crate::registry::{is_built_in, unknown_path};
use crate::request::Query;
use crate::respond;
use api::discovery::{self, AggregatedVersion, Root};
use api::{Kinds, Status};
use axum::body::Body;
use http::{HeaderMap, HeaderValue, Response, StatusCode, header};
use serde_json::Value;

pub(super) fn serve(
    core: &Core,
    parts: &[&str],
    headers: &HeaderMap,
    query: &Query<'_>,
) -> Result<Response<Body>, Status> {
    let aggregated = aggregated_discovery(headers);
    let plain = |name: &str, make: &dyn Fn(&Kinds) -> Option<Value>| {
        let Some(document) = core.catalog().document(name, |kinds| bytes(&make(kinds)?)) else {
            return no_document(core, parts);
        };
        let accept = Accept::parse(headers)?.prettily(headers, query);
        if accept.shape != Shape::Full {
            return Err(not_acceptable("application/json, application/yaml"));
        }
        Ok(respond::json(accept, StatusCode::OK, document.bytes))
    };
    let address = core.address.to_string();
    match (parts, aggregated) {
        (["apis", "", ..], _) => Ok(respond::nowhere()),
        (["api"], Some(version)) => Ok(shared(core, headers, Root::Core, version)),
        (["apis"], Some(version)) => Ok(shared(core, headers, Root::Groups, version)),
        (["api"], None) => plain("api", &|kinds| Some(discovery::api_versions(kinds, &address))),
        (["apis"], None) => plain("apis", &|kinds| Some(discovery::api_groups(kinds))),
        (["api", version], _) => {
            let name = format!("api/{version}");
            plain(&name, &|kinds| discovery::api_resources(kinds, "", version))
        }
        (["apis", group], _) => {
            let name = format!("apis/{group}");
            plain(&name, &|kinds| discovery::api_group(kinds, group))
        }
        (["apis", group, version], _) => {
            let name = format!("apis/{group}/{version}");
            plain(&name, &|kinds| discovery::api_resources(kinds, group, version))
        }
        _ => no_document(core, parts),
    }
}

/// Outside of the groups that are built in there is not even a Status.
fn no_document(core: &Core, parts: &[&str]) -> Result<Response<Body>, Status> {
    let group = if parts.first() == Some(&"api") { Some("") } else { parts.get(1).copied() };
    if group.is_some_and(|group| is_built_in(core, group)) { Err(unknown_path()) } else { Ok(respond::nowhere()) }
}

fn bytes(value: &Value) -> Option<Vec<u8>> {
    serde_json::to_vec(value).ok()
}

/// The aggregated document, which clients keep and ask for again by its ETag.
fn shared(core: &Core, headers: &HeaderMap, root: Root, version: AggregatedVersion) -> Response<Body> {
    let (name, content_type) = match version {
        AggregatedVersion::V2 => ("v2", "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"),
        AggregatedVersion::V2Beta1 => {
            ("v2beta1", "application/json;g=apidiscovery.k8s.io;v=v2beta1;as=APIGroupDiscoveryList")
        }
    };
    let name = format!("aggregated/{name}/{}", if root == Root::Core { "api" } else { "apis" });
    let document = core.catalog().document(&name, |kinds| bytes(&discovery::aggregated(kinds, root, version)));
    let Some(Document { bytes, etag }) = document else { return respond::error(Accept::JSON, &unknown_path()) };
    let unchanged = headers.get(header::IF_NONE_MATCH).is_some_and(|v| v.as_bytes() == etag.as_bytes());
    let mut response = if unchanged {
        respond::plain(StatusCode::NOT_MODIFIED, content_type, Body::empty())
    } else {
        let accept = Accept { shape: Shape::Full, ..Accept::parse(headers).unwrap_or(Accept::JSON) };
        let mut response = respond::json(
            Accept { format: crate::negotiate::Format::Json, pretty: false, ..accept },
            StatusCode::OK,
            bytes,
        );
        response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
        response
    };
    let headers = response.headers_mut();
    if let Ok(etag) = HeaderValue::from_str(&etag) {
        headers.insert(header::ETAG, etag);
    }
    headers.insert(header::VARY, HeaderValue::from_static("Accept"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("public"));
    response
}
