//! What is not about a resource: discovery, OpenAPI, version, health, metrics.

mod discovery;
pub(crate) mod health;
pub(crate) mod metrics;
mod openapi;
mod openid;
pub(crate) mod skiff;
mod version;

pub use version::GIT_VERSION;

use crate::core::Core;
use crate::negotiate::Accept;
use crate::registry::{method_not_allowed, unknown_path};
use crate::request::{Query, RequestInfo};
use crate::respond;
use api::Status;
use axum::body::Body;
use http::{HeaderMap, Method, Response, StatusCode};
use serde_json::{Value, json};
use std::collections::BTreeSet;

/// Answers a request that is not about a resource.
///
/// # Errors
/// 404 for paths that nobody knows, 405 for methods that go-restful has no route for.
pub(crate) async fn serve(
    core: &Core,
    info: &RequestInfo<'_>,
    headers: &HeaderMap,
    query: &Query<'_>,
) -> Result<Response<Body>, Status> {
    let parts: Vec<&str> = info.path.split('/').skip(1).collect();
    // Those that go-restful has a route for take a slash at their end, and no method but GET.
    let routed = match parts.as_slice() {
        [routed @ .., ""] | routed => routed,
    };
    if is_routed(core, routed) && *info.method != Method::GET {
        return Err(method_not_allowed());
    }
    // Written for people, whoever asks.
    let lines = Accept { pretty: true, ..Accept::JSON };
    match parts.as_slice() {
        [""] | ["index.html"] => Ok(respond::value(lines, StatusCode::OK, &index(core))),
        [kind @ ("healthz" | "livez" | "readyz"), rest @ ..] => health::serve(core, kind, rest, query).await,
        ["metrics"] => {
            Ok(respond::plain(StatusCode::OK, "text/plain; version=0.0.4; charset=utf-8", metrics::render(core)))
        }
        ["openapi", rest @ ..] => openapi::serve(core, rest, headers, query),
        _ => match routed {
            ["version"] => Ok(respond::value(lines, StatusCode::OK, &version::document())),
            ["version", ..] => Err(unknown_path()),
            ["api" | "apis", ..] => discovery::serve(core, routed, headers, query),
            [".well-known", "openid-configuration"] => openid::configuration(core),
            ["openid", "v1", "jwks"] => openid::keys(core),
            _ => Ok(respond::nowhere()),
        },
    }
}

fn is_routed(core: &Core, path: &[&str]) -> bool {
    match path {
        ["version"] | ["api"] | [".well-known", "openid-configuration"] | ["openid", "v1", "jwks"] => true,
        ["api", version] => *version == "v1",
        ["apis", group, version] => core
            .catalog()
            .kinds
            .iter()
            .any(|row| row.custom.is_none() && row.group == *group && row.version == *version),
        _ => false,
    }
}

/// Every path that there is, but for those of objects.
fn index(core: &Core) -> Value {
    let fixed = [
        "/.well-known/openid-configuration",
        "/api",
        "/apis",
        "/healthz",
        "/livez",
        "/metrics",
        "/openapi/v2",
        "/openapi/v3",
        "/openid/v1/jwks",
        "/readyz",
        "/version",
    ];
    let mut paths: BTreeSet<String> = fixed.into_iter().map(String::from).collect();
    for endpoint in ["healthz", "livez", "readyz"] {
        paths.extend(health::names(endpoint).map(|check| format!("/{endpoint}/{check}")));
    }
    for row in core.catalog().kinds.iter() {
        if row.group.is_empty() {
            paths.insert(format!("/api/{}", row.version));
        } else {
            paths.insert(format!("/apis/{}", row.group));
            paths.insert(format!("/apis/{}/{}", row.group, row.version));
        }
    }
    json!({"paths": paths})
}
