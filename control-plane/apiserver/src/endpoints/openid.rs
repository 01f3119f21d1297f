//! What others need to check this cluster's service account tokens by themselves: OpenID Connect discovery and keys.

use crate::authn::service_account::ISSUER;
use crate::core::Core;
use crate::respond;
use api::Status;
use axum::body::Body;
use http::{Response, StatusCode, header};
use serde_json::{Value, json};
use std::net::SocketAddr;

/// How long clients may keep either document, seconds.
const MAX_AGE: &str = "public, max-age=3600";

pub(super) fn configuration(core: &Core) -> Result<Response<Body>, Status> {
    core.tokens.accounts()?;
    let address =
        SocketAddr::new(crate::bootstrap::endpoint_ip(core).unwrap_or(core.address.ip()), core.address.port());
    let document = json!({
        "issuer": ISSUER,
        "jwks_uri": format!("https://{address}/openid/v1/jwks"),
        "response_types_supported": ["id_token"],
        "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": ["ES256"],
    });
    Ok(answer("application/json", &document))
}

pub(super) fn keys(core: &Core) -> Result<Response<Body>, Status> {
    Ok(answer("application/jwk-set+json", &core.tokens.accounts()?.key_set()))
}

fn answer(content_type: &'static str, document: &Value) -> Response<Body> {
    let mut response = respond::plain(StatusCode::OK, content_type, document.to_string());
    response.headers_mut().insert(header::CACHE_CONTROL, http::HeaderValue::from_static(MAX_AGE));
    response
}
