//! Server-side apply: `PATCH` with `application/apply-patch+yaml`. What it means is in `api::apply`; here is its way through
//! the pipeline, which is that of a create or of an update.

use super::owners::{self, Owners, Writer};
use super::update::{Part, modify_owned};
use super::{Call, Outcome, create, input};
use crate::objects::Apart;
use crate::request::{FieldValidation, WriteOptions};
use crate::{body, negotiate};
use api::apply::Force;
use api::field::{Error as FieldError, Path};
use api::{Status, Verb, meta};
use axum::body::Body;
use http::{Response, StatusCode};
use serde_json::Value;

/// How often it is looked anew whether the object is there, when others create and delete it meanwhile.
const ATTEMPTS: usize = 10;

/// Whether a patch is an apply.
pub(super) fn is(call: &Call<'_>) -> bool {
    negotiate::media_type(call.headers) == Some("application/apply-patch+yaml")
}

pub(super) async fn apply(call: &Call<'_>, part: Part, request_body: Body) -> Result<Response<Body>, Status> {
    let options = options(call)?;
    let (api_version, kind) = (call.resource.api_version(), &call.resource.kind);
    let config = read(call, request_body, options.field_validation, (&api_version, kind)).await?;
    let writer = Writer::of(call);
    for _ in 0..ATTEMPTS {
        let absent = part == Part::Main && call.core.latest().await?.get(&call.key()).is_none();
        let result = if absent {
            make(call, &writer, &options, &config).await
        } else {
            change(call, (&writer, part), &options, &config).await
        };
        let code = if absent { StatusCode::CREATED } else { StatusCode::OK };
        match result {
            Ok(outcome) => return call.show(code, &outcome),
            // Created, or deleted, since it was looked.
            Err(status) if absent && status.reason == api::Reason::AlreadyExists => {}
            Err(status) if !absent && part == Part::Main && status.code == 404 => {}
            Err(status) => return Err(status),
        }
    }
    Err(call.conflict(super::update::MODIFIED))
}

/// # Errors
/// 422: an apply has to say who it is.
pub(super) fn options(call: &Call<'_>) -> Result<WriteOptions, Status> {
    let options = WriteOptions::parse(&call.query, Verb::Patch)?;
    let mut errors = Vec::new();
    if options.field_manager.is_empty() {
        errors.push(FieldError::required(&Path::new("fieldManager"), "is required for apply patch"));
    }
    owners::refuse(&errors)?;
    Ok(options)
}

pub(super) fn force(options: &WriteOptions) -> Force {
    if options.force == Some(true) { Force::Yes } else { Force::No }
}

/// The configuration in the request's body, which is YAML, or JSON as a part of it.
///
/// # Errors
/// 400 for what is no document or of another kind, and for one with `managedFields`.
pub(super) async fn read(
    call: &Call<'_>,
    request_body: Body,
    validation: FieldValidation,
    (api_version, kind): (&str, &str),
) -> Result<Value, Status> {
    let bytes = body::read(call.headers, request_body, call.core.limits.body_bytes).await?;
    let (config, duplicates) = decode(&bytes)?;
    input::complain(call, validation, Vec::new(), duplicates, |errors| {
        Status::bad_request(format!("error strict decoding YAML: error converting YAML to JSON: {errors}"))
    })?;
    let text = |field: &str| config.get(field).and_then(Value::as_str).unwrap_or_default();
    if (text("apiVersion"), text("kind")) != (api_version, kind) {
        let version = text("apiVersion");
        let slash = if version.contains('/') { "" } else { "/" };
        return Err(Status::bad_request(format!("invalid object type: {slash}{version}, Kind={}", text("kind"))));
    }
    if config.pointer("/metadata/managedFields").is_some_and(|managed| !managed.is_null()) {
        return Err(Status::bad_request("metadata.managedFields must be nil"));
    }
    Ok(config)
}

/// A configuration with the fields that occur twice in it.
fn decode(bytes: &[u8]) -> Result<(Value, Vec<String>), Status> {
    let json = match bytes.iter().find(|byte| !byte.is_ascii_whitespace()) {
        Some(b'{') => body::decode(negotiate::Format::Json, bytes).ok().filter(|(_, duplicates)| duplicates.is_empty()),
        _ => None,
    };
    // What looks like JSON and is none may still be YAML; of what occurs twice, only that decoder tells the line.
    let decoded = json.map_or_else(|| body::decode(negotiate::Format::Yaml, bytes), Ok);
    let wrong = |why: &str| Status::bad_request(format!("error decoding YAML: {why}"));
    match decoded {
        Ok((config, duplicates)) if config.is_object() => Ok((config, duplicates)),
        Ok(_) => Err(wrong("the configuration is no object")),
        Err(error) => Err(wrong(&error.message)),
    }
}

/// An apply to an object that is there.
async fn change(
    call: &Call<'_>,
    (writer, part): (&Writer<'_>, Part),
    options: &WriteOptions,
    config: &Value,
) -> Result<Outcome, Status> {
    modify_owned(call, (writer, part), options.common, |before| {
        let (object, owners) = applied(call, writer, options, before, config)?;
        Ok((object, Some(owners)))
    })
    .await
}

/// An apply that makes the object.
async fn make(call: &Call<'_>, writer: &Writer<'_>, options: &WriteOptions, config: &Value) -> Result<Outcome, Status> {
    let nothing = Apart { object: Value::Null, managed: None };
    let (object, owners) = writer.informed(|| applied(call, writer, options, &nothing, config)).await?;
    let uid = meta::uid(&object);
    if !uid.is_empty() {
        return Err(call.conflict(format_args!(
            "uid mismatch: the provided object specified uid {uid}, and no existing object was found"
        )));
    }
    if !matches!(meta::resource_version(&object), "" | "0") {
        return Err(Status::bad_request("resourceVersion should not be set on objects to be created"));
    }
    create::insert_owned(call, options.common, object, Some(owners)).await
}

fn applied(
    call: &Call<'_>,
    writer: &Writer<'_>,
    options: &WriteOptions,
    before: &Apart,
    config: &Value,
) -> Result<(Value, Owners), Status> {
    let who = (writer.name(), force(options));
    let applied = api::apply::apply(&writer.context(), before.managed(), &before.object, config, who)
        .map_err(|error| error.to_status())?;
    let mut object = applied.object;
    input::check_fields(call.resource, &mut object)?;
    meta::ensure_name(&mut object, call.name())?;
    meta::ensure_namespace(call.resource, &mut object, call.namespace())?;
    Ok((object, Owners::Applied { managed: applied.managed, same_owners: applied.same_owners }))
}
