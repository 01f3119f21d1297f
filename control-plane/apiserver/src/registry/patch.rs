//! PATCH: JSON, merge and strategic merge patches, applied anew to the newest object whenever another write came first.

use super::owners::{self, Writer};
use super::update::{Part, modify_owned};
use super::{Call, apply, input};
use crate::request::{FieldValidation, WriteOptions};
use crate::{body, negotiate};
use api::field::{Error as FieldError, Path};
use api::{Resource, Status, Verb, meta, patch, schema};
use axum::body::Body;
use http::{Response, StatusCode};
use serde_json::Value;

const ACCEPTED: &str = "application/json-patch+json, application/merge-patch+json, application/strategic-merge-patch+json, application/apply-patch+yaml";
/// Custom kinds have no Go structs that say how their lists merge.
const ACCEPTED_CUSTOM: &str = "application/json-patch+json, application/merge-patch+json, application/apply-patch+yaml";

/// What a patch of owners has in it. Whoever spells it with escapes patches what is not shown to the patch.
const OWNERS: &[u8] = b"managedFields";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Dialect {
    Json,
    Merge,
    Strategic,
}

/// A patch as it was sent.
pub(super) struct Patch {
    dialect: Dialect,
    document: Value,
    duplicates: Vec<String>,
    /// The patch may be about `managedFields`: only then it is shown them.
    sees_owners: bool,
}

pub(super) async fn patch(call: &Call<'_>, part: Part, request_body: Body) -> Result<Response<Body>, Status> {
    if apply::is(call) {
        return apply::apply(call, part, request_body).await;
    }
    let options = WriteOptions::parse(&call.query, Verb::Patch)?;
    no_apply(&options)?;
    let patch = Patch::read(call, request_body).await?;
    let resource = call.resource;
    let mut complained = false;
    let writer = Writer::of(call);
    let outcome = modify_owned(call, (&writer, part), options.common, |before| {
        let whole;
        let old = if patch.sees_owners {
            whole = before.whole();
            &whole
        } else {
            &before.object
        };
        let mut new = patch.apply(resource.schema.get(), old)?;
        finish(call, &patch, &mut new, old, &options, &mut complained)?;
        Ok((new, None))
    })
    .await?;
    call.show(StatusCode::OK, &outcome)
}

/// # Errors
/// 422 for options that only an apply may have.
pub(super) fn no_apply(options: &WriteOptions) -> Result<(), Status> {
    let mut errors = Vec::new();
    if options.force.is_some() {
        errors.push(FieldError::forbidden(&Path::new("force"), "may not be specified for non-apply patch"));
    }
    owners::refuse(&errors)
}

/// A patched object is held to what a PUT is held to.
fn finish(
    call: &Call<'_>,
    patch: &Patch,
    new: &mut Value,
    old: &Value,
    options: &WriteOptions,
    complained: &mut bool,
) -> Result<(), Status> {
    let resource = call.resource;
    input::identify(new, &resource.api_version(), &resource.kind)?;
    let wrong = |why: String| {
        Status::invalid("", "", "", &[FieldError::invalid(&Path::new("patch"), patch.document.to_string(), why)])
    };
    // The patch is at fault, not the request's syntax.
    let unknown = input::check_fields(resource, new).map_err(|error| {
        let (_, why) = error.message.split_once(" cannot be handled as a ").unwrap_or(("", &error.message));
        wrong(why.split_once(": ").map_or(why, |(_, why)| why).to_owned())
    })?;
    // Warnings once, however often the patch is applied.
    if !std::mem::replace(complained, true) || options.field_validation == FieldValidation::Strict {
        input::complain(call, options.field_validation, unknown, patch.duplicates.clone(), |errors| {
            wrong(format!("strict decoding error: {errors}"))
        })?;
    }
    immutable(resource, call, new, old)?;
    meta::ensure_namespace(resource, new, call.namespace())
}

fn immutable(resource: &Resource, call: &Call<'_>, new: &mut Value, old: &Value) -> Result<(), Status> {
    if meta::name(new) != meta::name(old) && !meta::name(new).is_empty() {
        let path = Path::new("metadata.name");
        let error = FieldError::invalid(&path, meta::name(new), "field is immutable");
        return Err(Status::invalid(&resource.group, &resource.kind, call.name(), &[error]));
    }
    meta::ensure_name(new, call.name())
}

impl Patch {
    /// # Errors
    /// 415 for other dialects; 400 for what is no document.
    pub(super) async fn read(call: &Call<'_>, request_body: Body) -> Result<Self, Status> {
        let dialect = match negotiate::media_type(call.headers) {
            Some("application/json-patch+json") => Dialect::Json,
            Some("application/merge-patch+json") => Dialect::Merge,
            Some("application/strategic-merge-patch+json") if call.resource.custom.is_none() => Dialect::Strategic,
            _ => {
                let accepted = if call.resource.custom.is_some() { ACCEPTED_CUSTOM } else { ACCEPTED };
                return Err(negotiate::unsupported(accepted));
            }
        };
        let bytes = body::read(call.headers, request_body, call.core.limits.body_bytes).await?;
        let (document, duplicates) = body::decode(negotiate::Format::Json, &bytes)
            .map_err(|error| Status::bad_request(format!("error decoding patch: {}", decoding(&error.message))))?;
        let sees_owners = bytes.windows(OWNERS.len()).any(|window| window == OWNERS);
        Ok(Self { dialect, document, duplicates, sees_owners })
    }

    /// # Errors
    /// What the dialect's rules say.
    pub(super) fn apply(&self, schema: &schema::Schema, old: &Value) -> Result<Value, Status> {
        match self.dialect {
            Dialect::Json => patch::json(old, &self.document),
            Dialect::Merge => patch::merge(old, &self.document),
            Dialect::Strategic => patch::strategic(schema, old, &self.document),
        }
    }

    /// The patch of an object without lists that have merge keys, such as `Scale`.
    ///
    /// # Errors
    /// As [`Patch::apply`].
    pub(super) fn apply_plain(&self, old: &Value) -> Result<Value, Status> {
        match self.dialect {
            Dialect::Json => patch::json(old, &self.document),
            Dialect::Merge | Dialect::Strategic => patch::merge(old, &self.document),
        }
    }
}

/// The decoder words its errors for objects; a patch has neither version nor kind.
fn decoding(message: &str) -> &str {
    message.strip_prefix(api::decode::NO_DOCUMENT).unwrap_or(message)
}
