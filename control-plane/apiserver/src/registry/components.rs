//! `componentstatuses`: a deprecated view of a control plane's parts, none of which Skiff has as processes of their own.

use super::Call;
use crate::negotiate::Shape;
use crate::respond;
use api::{Status, Verb};
use axum::body::Body;
use http::{Response, StatusCode};
use serde_json::json;

/// An empty list; nothing by name.
///
/// # Errors
/// 404 for every name.
pub(super) fn read(call: &Call<'_>, verb: Verb) -> Result<Response<Body>, Status> {
    if verb != Verb::List {
        return Err(call.not_found());
    }
    let list = match call.accept.shape {
        Shape::Table(include) => call.table([], json!({}), include),
        Shape::Full | Shape::Metadata => json!({
            "kind": call.resource.list_kind, "apiVersion": call.resource.api_version(), "metadata": {}, "items": [],
        }),
    };
    Ok(respond::value(call.accept, StatusCode::OK, &list))
}
