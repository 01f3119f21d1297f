//! What is particular to Namespaces: `spec.finalizers`, the phase, and the `finalize` subresource.

use super::update::{Part, check_name, modify};
use super::{Call, input};
use crate::request::WriteOptions;
use api::{Resource, Status, Verb, meta};
use axum::body::Body;
use http::{Response, StatusCode};
use serde_json::Value;

fn is_namespace(resource: &Resource) -> bool {
    resource.storage == "core/namespaces"
}

/// Whether `spec.finalizers` still keeps a namespace.
pub(super) fn holds(resource: &Resource, object: &Value) -> bool {
    is_namespace(resource)
        && object.pointer("/spec/finalizers").and_then(Value::as_array).is_some_and(|list| !list.is_empty())
}

/// A namespace that is being deleted is Terminating from that moment. Other kinds stay as they are.
pub(super) fn mark_terminating(resource: &Resource, object: &mut Value) {
    if is_namespace(resource) && meta::deletion_timestamp(object).is_some() {
        object["status"]["phase"] = "Terminating".into();
        if let Some(metadata) = meta::metadata_mut(object) {
            metadata.remove("deletionGracePeriodSeconds");
        }
    }
}

/// PUT `…/finalize`: takes over `spec.finalizers`; with the last one the namespace goes.
pub(super) async fn finalize(call: &Call<'_>, body: Body) -> Result<Response<Body>, Status> {
    let options = WriteOptions::parse(&call.query, Verb::Update)?;
    let object = input::object(call, body, options.field_validation).await?;
    check_name(call, &object)?;
    let finalizers = object.pointer("/spec/finalizers").cloned().unwrap_or_else(|| serde_json::json!([]));
    let version = object.pointer("/metadata/resourceVersion").cloned();
    let outcome = modify(call, Part::Whole, options.common, |old| {
        let mut new = old.clone();
        new["spec"]["finalizers"] = finalizers.clone();
        if finalizers.as_array().is_some_and(Vec::is_empty) {
            new["spec"] = serde_json::json!({});
        }
        if let (Some(version), Some(metadata)) = (&version, meta::metadata_mut(&mut new)) {
            metadata.insert("resourceVersion".into(), version.clone());
        }
        Ok(new)
    })
    .await?;
    call.show(StatusCode::OK, &outcome)
}
