//! PATCH: JSON, merge and strategic merge patches, applied anew to the newest object whenever another write came first.

use super::owners::{self, Writer};
use super::update::{Part, check_name, modify_owned};
use super::{Call, apply, input};
use crate::request::{FieldValidation, WriteOptions};
use crate::{body, negotiate};
use api::field::{Error as FieldError, Path};
use api::{Resource, Status, Verb, meta, patch, schema};
use axum::body::Body;
use http::{Response, StatusCode};
use serde_json::Value;

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
        patch.judge(call, &Spoken::of(resource), &mut new, (&options, &mut complained))?;
        same(call, &mut new, old)?;
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

/// Another UID is no precondition, as it is in a PUT, but a change.
fn same(call: &Call<'_>, new: &mut Value, old: &Value) -> Result<(), Status> {
    check_name(call, new)?;
    meta::ensure_namespace(call.resource, new, call.namespace())?;
    let (uid, known) = (meta::uid(new), meta::uid(old));
    if !uid.is_empty() && uid != known {
        let error = FieldError::invalid(&Path::new("metadata.uid"), uid, "field is immutable");
        return Err(call.invalid(call.name(), &[error]));
    }
    Ok(())
}

/// The kind that a patch is of: the resource's, or its subresource's.
pub(super) struct Spoken<'a> {
    pub kind: &'a str,
    pub api_version: String,
    pub schema: &'a schema::Schema,
}

impl<'a> Spoken<'a> {
    pub(super) fn of(resource: &'a Resource) -> Self {
        Self { kind: &resource.kind, api_version: resource.api_version(), schema: resource.schema.get() }
    }
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
                let custom = call.resource.custom.is_some();
                return Err(if custom { negotiate::unsupported(ACCEPTED_CUSTOM) } else { negotiate::unrouted() });
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
            Dialect::Strategic => patch::strategic(schema, old, &self.document).map(|mut new| {
                // Its kind is the Go struct that it is applied to: what it says of that goes unread.
                for field in ["kind", "apiVersion"] {
                    if let (Some(own), Some(new)) = (old.get(field), new.as_object_mut()) {
                        new.insert(field.into(), own.clone());
                    }
                }
                new
            }),
        }
    }

    /// Holds what the patch has made of an object to what a PUT is held to. The client hears its warnings once, however often
    /// the patch is applied: `complained` remembers.
    ///
    /// # Errors
    /// 400 for another kind or version; 422 for values of wrong types, and for unknown fields where the client is strict. Then
    /// the patch is at fault, not the request's syntax.
    pub(super) fn judge(
        &self,
        call: &Call<'_>,
        spoken: &Spoken<'_>,
        new: &mut Value,
        (options, complained): (&WriteOptions, &mut bool),
    ) -> Result<(), Status> {
        input::identify(new, &spoken.api_version, spoken.kind)?;
        let unknown = match schema::check(spoken.schema, new) {
            Ok(unknown) => unknown,
            Err(error) => return Err(self.wrong(new, error.message)),
        };
        if !std::mem::replace(complained, true) || options.field_validation == FieldValidation::Strict {
            input::complain(call, options.field_validation, unknown, self.duplicates.clone(), |errors| {
                self.wrong(new, format!("strict decoding error: {errors}"))
            })?;
        }
        input::prune(spoken.schema, new);
        Ok(())
    }

    /// Shows the object that the patch has made or, of a strategic one, the patch.
    fn wrong(&self, new: &Value, why: String) -> Status {
        let shown = match self.dialect {
            Dialect::Json | Dialect::Merge => new.to_string(),
            Dialect::Strategic => go_map(&self.document),
        };
        Status::invalid("", "", "", &[FieldError::invalid(&Path::new("patch"), shown, why)])
    }
}

/// A document as Go's `%+v` prints maps: `map[spec:map[replicas:1]]`.
fn go_map(document: &Value) -> String {
    let joined = |parts: Vec<String>| parts.join(" ");
    match document {
        Value::Null => "<nil>".into(),
        Value::String(text) => text.clone(),
        Value::Bool(_) | Value::Number(_) => document.to_string(),
        Value::Array(list) => format!("[{}]", joined(list.iter().map(go_map).collect())),
        Value::Object(map) => {
            let members = map.iter().map(|(name, value)| format!("{name}:{}", go_map(value)));
            format!("map[{}]", joined(members.collect()))
        }
    }
}

/// The decoder words its errors for objects; a patch has neither version nor kind.
fn decoding(message: &str) -> &str {
    message.strip_prefix(api::decode::NO_DOCUMENT).unwrap_or(message)
}
