//! The patch formats: JSON patch, JSON merge patch, strategic merge patch. (Bodies follow.)

use crate::{Status, schema::Schema};
use serde_json::Value;

/// Most operations that one JSON patch may have, as kube-apiserver's `maxJSONPatchOperations`.
pub const MAX_JSON_PATCH_OPERATIONS: usize = 10_000;

/// RFC 6902 (`application/json-patch+json`).
///
/// # Errors
/// 400 for a malformed patch, 413 for one of too many operations, 422 for one that does not apply.
pub fn json(_document: &Value, _patch: &Value) -> Result<Value, Status> {
    Err(Status::not_implemented("JSON patch"))
}

/// RFC 7386 (`application/merge-patch+json`).
///
/// # Errors
/// 400 for a patch that is not an object.
pub fn merge(_document: &Value, _patch: &Value) -> Result<Value, Status> {
    Err(Status::not_implemented("merge patch"))
}

/// Kubernetes' strategic merge patch (`application/strategic-merge-patch+json`) with all its directives.
///
/// # Errors
/// 400 for a malformed patch or directive.
pub fn strategic(_schema: &Schema, _document: &Value, _patch: &Value) -> Result<Value, Status> {
    Err(Status::not_implemented("strategic merge patch"))
}
