//! Bodies that are objects: decoded, of the right kind, with their fields checked against the schema.

use super::Call;
use crate::request::{FieldValidation, untyped};
use crate::{body, negotiate};
use api::kinds::{check_body, group_version};
use api::schema::{self, Schema};
use api::{Resource, Status, meta};
use axum::body::Body;
use bytes::Bytes;
use serde_json::Value;

/// The object in the request's body, pruned to its schema: the resource's own, or what its subresource speaks.
///
/// # Errors
/// 400, 413, 415 as Kubernetes words them.
pub(super) async fn object(call: &Call<'_>, request_body: Body, validation: FieldValidation) -> Result<Value, Status> {
    let resource = call.resource;
    let (kind, version, api_version, schema) = match call.spoken() {
        Some((sub, schema)) => (&sub.kind, &sub.version, group_version(&sub.group, &sub.version), schema),
        None => (&resource.kind, &resource.version, resource.api_version(), &resource.schema),
    };
    let (mut object, duplicates) = document(call, request_body, kind).await?;
    identify(&mut object, &api_version, kind)?;
    let unknown = check_body(schema.get(), (kind, version), &object)?;
    prune(schema.get(), &mut object);
    complain(call, validation, unknown, duplicates, |errors| {
        Status::bad_request(format!(
            "{kind} in version {version:?} cannot be handled as a {kind}: strict decoding error: {errors}"
        ))
    })?;
    Ok(object)
}

/// Any JSON or YAML document, with its duplicate fields. `kind` is for the message.
pub(super) async fn document(call: &Call<'_>, request_body: Body, kind: &str) -> Result<(Value, Vec<String>), Status> {
    let format = negotiate::body_format(call.headers)?;
    let bytes = body::read(call.headers, request_body, call.core.limits.body_bytes).await?;
    let (document, duplicates) = body::decode(format, &bytes).map_err(|e| unreadable(&e.message, kind, &bytes))?;
    match document {
        Value::Null => Ok((Value::Object(serde_json::Map::new()), duplicates)),
        document => match untyped(&document) {
            Some(why) => Err(unreadable(&why, kind, &bytes)),
            None => Ok((document, duplicates)),
        },
    }
}

fn unreadable(why: &str, kind: &str, bytes: &Bytes) -> Status {
    let begin = &bytes[..bytes.len().min(30)];
    let shown = match begin.first() {
        None => "<empty>".into(),
        Some(b'{') => String::from_utf8_lossy(begin),
        Some(_) => hex::encode(begin).into(),
    };
    let more = if bytes.len() > 30 { " ..." } else { "" };
    Status::bad_request(format!("the object provided is unrecognized (must be of type {kind}): {why} ({shown}{more})"))
}

/// Fills kind and apiVersion where they are absent, and refuses others.
///
/// # Errors
/// 400.
pub(super) fn identify(object: &mut Value, api_version: &str, kind: &str) -> Result<(), Status> {
    let Some(map) = object.as_object_mut() else {
        return Err(Status::bad_request(format!(
            "the object provided is unrecognized (must be of type {kind}): json: cannot unmarshal a value that is no object"
        )));
    };
    let found = |name: &str| map.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
    let (found_version, found_kind) = (found("apiVersion"), found("kind"));
    if !found_version.is_empty() && found_version != api_version {
        return Err(Status::bad_request(format!(
            "the API version in the data ({found_version}) does not match the expected API version ({api_version})"
        )));
    }
    if !found_kind.is_empty() && found_kind != kind {
        let version = api_version.rsplit('/').next().unwrap_or_default();
        return Err(Status::bad_request(format!(
            "{found_kind} in version {version:?} cannot be handled as a {kind}: converting ({found_kind}) to ({kind}): unknown conversion"
        )));
    }
    map.insert("kind".into(), kind.into());
    map.insert("apiVersion".into(), api_version.into());
    Ok(())
}

/// Checks types, prunes, and answers the unknown fields that were pruned.
///
/// # Errors
/// 400 for a value of the wrong type.
pub(super) fn check_fields(resource: &Resource, object: &mut Value) -> Result<Vec<String>, Status> {
    let unknown = resource.check(object)?;
    prune(resource.schema.get(), object);
    Ok(unknown)
}

/// [`schema::prune`], but for an empty `managedFields`: it says that nobody is to own anything, which no list at all does not
/// say.
pub(super) fn prune(schema: &Schema, object: &mut Value) {
    let owned_by_none = |metadata: &Value| metadata.get("managedFields") == Some(&Value::Array(Vec::new()));
    let reset = object.get("metadata").is_some_and(owned_by_none);
    schema::prune(schema, object);
    if let (true, Some(metadata)) = (reset, meta::metadata_mut(object)) {
        metadata.insert("managedFields".into(), Value::Array(Vec::new()));
    }
}

/// Does with unknown and duplicate fields what the client wants: nothing, a warning each, or an error for all.
///
/// # Errors
/// What `strict` makes of the list.
pub(super) fn complain(
    call: &Call<'_>,
    validation: FieldValidation,
    unknown: Vec<String>,
    duplicates: Vec<String>,
    strict: impl FnOnce(String) -> Status,
) -> Result<(), Status> {
    if unknown.is_empty() && duplicates.is_empty() || validation == FieldValidation::Ignore {
        return Ok(());
    }
    let unknown = unknown.into_iter().map(|path| format!("unknown field {path:?}"));
    if validation == FieldValidation::Strict {
        return Err(strict(unknown.chain(duplicates).collect::<Vec<_>>().join(", ")));
    }
    let bare = |text: String| text.strip_prefix(body::YAML_ERRORS).map_or(text.clone(), |line| line.trim().to_owned());
    call.add_warnings(unknown.chain(duplicates.into_iter().map(bare)));
    Ok(())
}
