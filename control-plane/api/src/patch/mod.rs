//! The patch formats: JSON patch, JSON merge patch, strategic merge patch. Each is a function of a document and a patch;
//! whether the result is a good object is for the pipeline to find out. Server-side apply is in `crate::apply`.

#[cfg(test)]
mod chance;
mod json;
mod merge;
mod strategic;
#[cfg(test)]
mod tests;

use crate::schema::Schema;
use crate::status::{Reason, Status};
use serde_json::Value;

/// Most operations that one JSON patch may have, as kube-apiserver's `maxJSONPatchOperations`.
pub const MAX_JSON_PATCH_OPERATIONS: usize = 10_000;

/// Most bytes of JSON that the `copy` operations of one patch may add up to: thirty of them could otherwise make a
/// document of gigabytes.
pub const MAX_COPIED_BYTES: usize = 3 << 20;

/// Most values that the operations of one patch may move about: ten thousand of them at the front of a long list, or taking a
/// large part from here to there and back, would otherwise keep a processor busy for minutes.
pub const MAX_MOVED: usize = 100_000_000;

/// RFC 6902 (`application/json-patch+json`).
///
/// # Errors
/// 400 for what is no list of operations, 413 for too many of them, 422 where one is unknown or does not apply.
pub fn json(document: &Value, patch: &Value) -> Result<Value, Status> {
    let none = Vec::new();
    let list = match patch {
        Value::Array(list) => list,
        Value::Null => &none,
        other => return Err(undecoded(other, "value of type []handlers.jsonPatchOp")),
    };
    list.iter().try_for_each(decoded)?;
    if list.len() > MAX_JSON_PATCH_OPERATIONS {
        let count = list.len();
        return Err(Status::new(
            Reason::RequestEntityTooLarge,
            format!(
                "Request entity too large: The allowed maximum operations in a JSON patch is {MAX_JSON_PATCH_OPERATIONS}, got {count}"
            ),
        ));
    }
    json::apply(document, list).map_err(|json::Refused| rejected())
}

/// What Go's decoder says of an operation.
fn decoded(operation: &Value) -> Result<(), Status> {
    if !operation.is_object() && !operation.is_null() {
        return Err(undecoded(operation, "value of type handlers.jsonPatchOp"));
    }
    for name in ["from", "op", "path"] {
        if let Some(wrong) = operation.get(name).filter(|value| !value.is_string() && !value.is_null()) {
            return Err(undecoded(wrong, &format!("struct field jsonPatchOp.{name} of type string")));
        }
    }
    Ok(())
}

fn undecoded(value: &Value, wanted: &str) -> Status {
    let got = type_name(value);
    Status::bad_request(format!("error decoding patch: json: cannot unmarshal {got} into Go {wanted}"))
}

/// RFC 7386 (`application/merge-patch+json`).
///
/// # Errors
/// 400 for a patch that is not an object.
pub fn merge(document: &Value, patch: &Value) -> Result<Value, Status> {
    match patch {
        Value::Object(_) => {}
        Value::Null => return Err(Status::bad_request("Invalid JSON Patch")),
        other => return Err(undecoded(other, "value of type map[string]interface {}")),
    }
    let mut result = document.clone();
    merge::merge(&mut result, patch);
    Ok(result)
}

/// Kubernetes' strategic merge patch (`application/strategic-merge-patch+json`) with its directives `$patch`,
/// `$retainKeys`, `$setElementOrder/<list>` and `$deleteFromPrimitiveList/<list>`.
///
/// # Errors
/// As kube-apiserver's `interpretStrategicMergePatchError`: 400 for a malformed directive, 422 for a patch that does not fit
/// its directives or has lists of lists, 500 for the rest.
pub fn strategic(schema: &Schema, document: &Value, patch: &Value) -> Result<Value, Status> {
    if !patch.is_object() && !patch.is_null() {
        let got = type_name(patch);
        let why = format!("json: cannot unmarshal {got} into Go value of type map[string]interface {{}}");
        return Err(Status::bad_request(why));
    }
    strategic::apply(schema, document, patch).map_err(|error| match error {
        strategic::Error::ListOfLists => rejected(),
        strategic::Error::PrimitiveList | strategic::Error::RetainKeys | strategic::Error::ElementOrder => {
            Status::bad_request(error.to_string())
        }
        _ => Status::new(Reason::Unknown, error.to_string()),
    })
}

/// 422 as Kubernetes answers a patch that is well-formed and does not fit: it does not say why
/// (`errors.NewGenericServerResponse`).
fn rejected() -> Status {
    let mut status = Status::new(Reason::Invalid, "the server rejected our request due to an error in our request");
    status.details = Some(Box::default());
    status
}

/// What JSON calls the type of `value`.
#[must_use]
pub fn type_name(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "bool",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}
