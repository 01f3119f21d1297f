//! The patch formats: JSON patch, JSON merge patch, strategic merge patch. Each is a function of a document and a patch;
//! whether the result is a good object is for the pipeline to find out. Server-side apply is in `crate::apply`.

#[cfg(test)]
mod chance;
mod strategic;
#[cfg(test)]
mod tests;

use crate::decode::MAX_DEPTH;
use crate::schema::Schema;
use crate::status::{Reason, Status};
use json_patch::PatchOperation;
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
    let Some(list) = patch.as_array() else {
        let got = type_name(patch);
        return Err(Status::bad_request(format!("json: cannot unmarshal {got} into Go value of type jsonpatch.Patch")));
    };
    if list.len() > MAX_JSON_PATCH_OPERATIONS {
        let count = list.len();
        return Err(Status::new(
            Reason::RequestEntityTooLarge,
            format!(
                "Request entity too large: The allowed maximum operations in a JSON patch is {MAX_JSON_PATCH_OPERATIONS}, got {count}"
            ),
        ));
    }
    let mut result = document.clone();
    let (mut copied, mut moved) = (0, 0_usize);
    let wrong = list.iter().find(|operation| !operation.is_object() && !operation.is_null());
    if let Some(wrong) = wrong {
        let got = type_name(wrong);
        let why = format!("json: cannot unmarshal {got} into Go value of type jsonpatch.Operation");
        return Err(Status::bad_request(why));
    }
    for operation in list {
        let operation = operation_of(operation).ok_or_else(rejected)?;
        if let PatchOperation::Copy(copy) = &operation {
            copied += copy.from.resolve(&result).map_or(0, |source| source.to_string().len());
            if copied > MAX_COPIED_BYTES {
                return Err(rejected());
            }
        }
        moved = moved.saturating_add(effort(&operation, &result));
        if moved > MAX_MOVED {
            return Err(rejected());
        }
        if depth_after(&operation, &result) > MAX_DEPTH {
            return Err(rejected());
        }
        if tests_absence(&operation, &result) {
            continue;
        }
        json_patch::patch_unsafe(&mut result, std::slice::from_ref(&operation)).map_err(|_| rejected())?;
    }
    Ok(result)
}

/// An operation as kube-apiserver reads it: without a value, its value is null. `None`: none that it knows.
fn operation_of(operation: &Value) -> Option<PatchOperation> {
    let valued = matches!(operation["op"].as_str(), Some("add" | "replace" | "test"));
    if valued && operation.get("value").is_none() {
        let mut whole = operation.clone();
        whole["value"] = Value::Null;
        return serde::Deserialize::deserialize(&whole).ok();
    }
    serde::Deserialize::deserialize(operation).ok()
}

/// How many values `operation` moves or looks at, beyond those that are in it: of the list that it opens or closes a gap in,
/// and of the part that it takes elsewhere.
fn effort(operation: &PatchOperation, document: &Value) -> usize {
    let taken = |from: &str| document.pointer(from).map_or(0, values);
    match operation {
        PatchOperation::Add(add) => behind(add.path.as_str(), document),
        PatchOperation::Remove(remove) => behind(remove.path.as_str(), document),
        PatchOperation::Copy(copy) => taken(copy.from.as_str()) + behind(copy.path.as_str(), document),
        PatchOperation::Move(moved) => {
            let (from, to) = (moved.from.as_str(), moved.path.as_str());
            taken(from) + behind(from, document) + behind(to, document)
        }
        PatchOperation::Replace(_) | PatchOperation::Test(_) => 0,
    }
}

/// The items of a list from the one that `path` names.
fn behind(path: &str, document: &Value) -> usize {
    let Some((parent, last)) = path.rsplit_once('/') else { return 0 };
    match (document.pointer(parent), last.parse::<usize>()) {
        (Some(Value::Array(list)), Ok(at)) => list.len().saturating_sub(at),
        _ => 0,
    }
}

/// How many values a value is made of.
fn values(value: &Value) -> usize {
    match value {
        Value::Array(list) => 1 + list.iter().map(values).sum::<usize>(),
        Value::Object(map) => 1 + map.values().map(values).sum::<usize>(),
        _ => 1,
    }
}

/// Whether `operation` tests for `null` what its object does not have. That holds in Kubernetes, and clients ask so before
/// they add the first finalizer.
fn tests_absence(operation: &PatchOperation, document: &Value) -> bool {
    let PatchOperation::Test(test) = operation else { return false };
    test.value.is_null()
        && test.path.split_back().is_some_and(|(parent, key)| match parent.resolve(document) {
            Ok(Value::Object(map)) => !map.contains_key(key.decoded().as_ref()),
            _ => false,
        })
}

/// How deep the document is where `operation` has put something. Operations could otherwise build, level upon level, what
/// no decoder reads and what overflows the stack of code that walks it.
fn depth_after(operation: &PatchOperation, document: &Value) -> usize {
    let (path, value) = match operation {
        PatchOperation::Add(add) => (&add.path, Some(&add.value)),
        PatchOperation::Replace(replace) => (&replace.path, Some(&replace.value)),
        PatchOperation::Copy(copy) => (&copy.path, copy.from.resolve(document).ok()),
        PatchOperation::Move(moved) => (&moved.path, moved.from.resolve(document).ok()),
        PatchOperation::Remove(_) | PatchOperation::Test(_) => return 0,
    };
    path.count() + value.map_or(0, depth)
}

/// How many arrays and objects lie within each other.
fn depth(value: &Value) -> usize {
    match value {
        Value::Array(list) => 1 + list.iter().map(depth).max().unwrap_or(0),
        Value::Object(map) => 1 + map.values().map(depth).max().unwrap_or(0),
        _ => 0,
    }
}

/// RFC 7386 (`application/merge-patch+json`).
///
/// # Errors
/// 400 for a patch that is not an object.
pub fn merge(document: &Value, patch: &Value) -> Result<Value, Status> {
    require_object(patch)?;
    let mut result = document.clone();
    json_patch::merge(&mut result, patch);
    Ok(result)
}

/// Kubernetes' strategic merge patch (`application/strategic-merge-patch+json`) with its directives `$patch`,
/// `$retainKeys`, `$setElementOrder/<list>` and `$deleteFromPrimitiveList/<list>`.
///
/// # Errors
/// As kube-apiserver's `interpretStrategicMergePatchError`: 400 for a malformed directive, 422 for a patch that does not fit
/// its directives or has lists of lists, 500 for the rest.
pub fn strategic(schema: &Schema, document: &Value, patch: &Value) -> Result<Value, Status> {
    require_object(patch)?;
    strategic::apply(schema, document, patch).map_err(|error| match error {
        strategic::Error::ListOfLists | strategic::Error::NotRetained => rejected(),
        strategic::Error::PrimitiveList | strategic::Error::RetainKeys | strategic::Error::ElementOrder => {
            Status::bad_request(error.to_string())
        }
        _ => Status::new(Reason::Unknown, error.to_string()),
    })
}

fn require_object(patch: &Value) -> Result<(), Status> {
    if patch.is_object() {
        return Ok(());
    }
    let got = type_name(patch);
    Err(Status::bad_request(format!("json: cannot unmarshal {got} into Go value of type map[string]interface {{}}")))
}

/// 422 as Kubernetes answers a patch that is well-formed and does not fit: it does not say why
/// (`errors.NewGenericServerResponse`).
fn rejected() -> Status {
    let mut status = Status::new(Reason::Invalid, "the server rejected our request due to an error in our request");
    status.details = Some(Box::default());
    status
}

fn type_name(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "bool",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}
