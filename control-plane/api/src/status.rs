//! `metav1.Status`, the error that every client of the API understands, with the constructors of
//! Kubernetes' `apimachinery/pkg/api/errors`. Messages follow theirs to the letter: tools match on them.

use crate::field::{Error as FieldError, Type as FieldErrorType};
use serde::Serialize;
use serde_json::{Value, json};
use std::collections::HashSet;

/// Most field errors that one answer tells of. Kubernetes tells of all.
const MAX_ERRORS: usize = 1_000;

/// `metav1.StatusReason`: the machine-readable class of a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum Reason {
    Unauthorized,
    Forbidden,
    NotFound,
    AlreadyExists,
    Conflict,
    Gone,
    Expired,
    Invalid,
    ServerTimeout,
    Timeout,
    TooManyRequests,
    BadRequest,
    MethodNotAllowed,
    NotAcceptable,
    RequestEntityTooLarge,
    UnsupportedMediaType,
    InternalError,
    ServiceUnavailable,
    /// HTTP 500 without a reason: what Kubernetes makes of an error that is no Status.
    Unknown,
    /// Not a Kubernetes reason: HTTP 501, for parts of the API that this version does not have.
    NotImplemented,
    /// Not a Kubernetes reason: HTTP 507, the disk under the store is full.
    InsufficientStorage,
}

impl Reason {
    /// The HTTP status code that goes with the reason.
    #[must_use]
    pub const fn code(self) -> u16 {
        match self {
            Self::Unauthorized => 401,
            Self::Forbidden => 403,
            Self::NotFound => 404,
            Self::AlreadyExists | Self::Conflict => 409,
            Self::Gone | Self::Expired => 410,
            Self::Invalid => 422,
            Self::ServerTimeout | Self::InternalError | Self::Unknown => 500,
            Self::Timeout => 504,
            Self::TooManyRequests => 429,
            Self::BadRequest => 400,
            Self::MethodNotAllowed => 405,
            Self::NotAcceptable => 406,
            Self::RequestEntityTooLarge => 413,
            Self::UnsupportedMediaType => 415,
            Self::ServiceUnavailable => 503,
            Self::NotImplemented => 501,
            Self::InsufficientStorage => 507,
        }
    }
}

/// One `metav1.StatusCause`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Cause {
    pub reason: String,
    pub message: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub field: String,
}

/// `metav1.StatusDetails`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Details {
    #[serde(skip_serializing_if = "String::is_empty")]
    pub name: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub group: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub kind: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub uid: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub causes: Vec<Cause>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retry_after_seconds: Option<u32>,
}

/// A failed request, as the client will see it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Status {
    pub code: u16,
    pub reason: Reason,
    pub message: String,
    pub details: Option<Box<Details>>,
    /// `metadata.continue`: how to go on all the same with a list whose token has expired.
    pub continue_token: Option<Box<str>>,
}

impl Status {
    /// A failure of `reason` with a message and no details.
    #[must_use]
    pub fn new(reason: Reason, message: impl Into<String>) -> Self {
        Self { code: reason.code(), reason, message: message.into(), details: None, continue_token: None }
    }

    #[must_use]
    pub fn bad_request(message: impl Into<String>) -> Self {
        Self::new(Reason::BadRequest, message)
    }

    #[must_use]
    pub fn internal(message: impl std::fmt::Display) -> Self {
        Self::new(Reason::InternalError, format!("Internal error occurred: {message}"))
    }

    /// `pods "x" not found`. `resource` is the plural, as in `deployments`.
    #[must_use]
    pub fn not_found(group: &str, resource: &str, name: &str) -> Self {
        Self::new(Reason::NotFound, format!("{} \"{name}\" not found", qualified(resource, group)))
            .with_subject(group, resource, name)
    }

    /// `pods "x" already exists`.
    #[must_use]
    pub fn already_exists(group: &str, resource: &str, name: &str) -> Self {
        Self::new(Reason::AlreadyExists, format!("{} \"{name}\" already exists", qualified(resource, group)))
            .with_subject(group, resource, name)
    }

    /// `Operation cannot be fulfilled on pods "x": why`.
    #[must_use]
    pub fn conflict(group: &str, resource: &str, name: &str, why: impl std::fmt::Display) -> Self {
        let message = format!("Operation cannot be fulfilled on {} \"{name}\": {why}", qualified(resource, group));
        Self::new(Reason::Conflict, message).with_subject(group, resource, name)
    }

    /// `pods "x" is forbidden: why`.
    #[must_use]
    pub fn forbidden(group: &str, resource: &str, name: &str, why: impl std::fmt::Display) -> Self {
        let message = if name.is_empty() {
            format!("{} is forbidden: {why}", qualified(resource, group))
        } else {
            format!("{} \"{name}\" is forbidden: {why}", qualified(resource, group))
        };
        Self::new(Reason::Forbidden, message).with_subject(group, resource, name)
    }

    /// `Pod "x" is invalid: …`, one cause for each field error. `kind` is the Kind here, as in Kubernetes.
    #[must_use]
    pub fn invalid(group: &str, kind: &str, name: &str, errors: &[FieldError]) -> Self {
        // Each text once: an update checks some rules twice. All are among the causes.
        let told = &errors[..errors.len().min(MAX_ERRORS)];
        let mut known = HashSet::new();
        let mut texts: Vec<String> =
            told.iter().map(ToString::to_string).filter(|text| known.insert(text.clone())).collect();
        if told.len() < errors.len() {
            texts.push(format!("and {} more", errors.len() - told.len()));
        }
        let list = match texts.as_slice() {
            [one] => one.clone(),
            many => format!("[{}]", many.join(", ")),
        };
        let mut status =
            Self::new(Reason::Invalid, format!("{} \"{name}\" is invalid: {list}", qualified(kind, group)))
                .with_subject(group, kind, name);
        if let Some(details) = &mut status.details {
            details.causes = told
                .iter()
                .map(|e| Cause { reason: e.kind.reason().into(), message: e.body(), field: e.field.clone() })
                .collect();
        }
        status
    }

    /// 410: the asked-for revision is older than what the store keeps.
    #[must_use]
    pub fn expired(message: impl Into<String>) -> Self {
        Self::new(Reason::Expired, message)
    }

    #[must_use]
    pub fn too_large(limit_bytes: usize) -> Self {
        Self::new(Reason::RequestEntityTooLarge, format!("Request entity too large: limit is {limit_bytes}"))
    }

    /// A part of the API that this version of Skiff does not have.
    #[must_use]
    pub fn not_implemented(what: impl std::fmt::Display) -> Self {
        Self::new(Reason::NotImplemented, format!("{what} is not implemented in this version of skiff"))
    }

    /// Names the object that the failure is about.
    #[must_use]
    pub fn with_subject(mut self, group: &str, kind: &str, name: &str) -> Self {
        let details = self.details.get_or_insert_default();
        details.group = group.into();
        details.kind = kind.into();
        details.name = name.into();
        self
    }

    /// Asks the client to come back after `seconds` (also sent as `Retry-After`).
    #[must_use]
    pub fn with_retry_after(mut self, seconds: u32) -> Self {
        self.details.get_or_insert_default().retry_after_seconds = Some(seconds);
        self
    }

    /// A token with which the list that failed can be continued.
    #[must_use]
    pub fn with_continue(mut self, token: impl Into<Box<str>>) -> Self {
        self.continue_token = Some(token.into());
        self
    }

    /// The body to send.
    #[must_use]
    pub fn to_value(&self) -> Value {
        let mut body = json!({
            "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
            "message": self.message, "reason": self.reason, "code": self.code,
        });
        if self.reason == Reason::Unknown
            && let Some(body) = body.as_object_mut()
        {
            body.remove("reason");
        }
        if let Some(token) = &self.continue_token {
            body["metadata"]["continue"] = json!(token);
        }
        if let Some(details) = &self.details {
            body["details"] = json!(details);
        }
        body
    }
}

impl FieldErrorType {
    /// The `metav1.CauseType` of a field error.
    #[must_use]
    pub const fn reason(self) -> &'static str {
        match self {
            Self::NotFound => "FieldValueNotFound",
            Self::Required => "FieldValueRequired",
            Self::Duplicate => "FieldValueDuplicate",
            Self::Invalid => "FieldValueInvalid",
            Self::TypeInvalid => "FieldValueTypeInvalid",
            Self::NotSupported => "FieldValueNotSupported",
            Self::Forbidden => "FieldValueForbidden",
            Self::TooLong => "FieldValueTooLong",
            Self::TooShort => "FieldValueTooShort",
            Self::TooMany => "FieldValueTooMany",
            Self::Internal => "InternalError",
        }
    }
}

fn qualified(resource: &str, group: &str) -> String {
    if group.is_empty() { resource.into() } else { format!("{resource}.{group}") }
}
