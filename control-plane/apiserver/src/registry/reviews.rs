//! The reviews of `authentication.k8s.io` and `authorization.k8s.io`: questions put as objects and answered in their
//! `status`. Nothing is stored.

use super::{Call, input};
use crate::authz::Decision;
use crate::request::{RequestInfo, ResourceRequest, WriteOptions};
use crate::respond;
use crate::user::User;
use api::field::{Error as FieldError, Path};
use api::{Resource, Status, Verb};
use axum::body::Body;
use http::{Method, Response, StatusCode};
use serde_json::{Value, json};
use std::borrow::Cow;
use std::collections::BTreeMap;

pub(super) fn concerns(resource: &Resource) -> bool {
    matches!(resource.group.as_ref(), "authentication.k8s.io" | "authorization.k8s.io")
}

pub(super) async fn create(call: &Call<'_>, body: Body) -> Result<Response<Body>, Status> {
    let options = WriteOptions::parse(&call.query, Verb::Create)?;
    let mut review = input::object(call, body, options.field_validation).await?;
    let spec = review.get("spec").cloned().unwrap_or_default();
    review["status"] = match call.resource.kind.as_ref() {
        "SelfSubjectReview" => json!({"userInfo": user_info(call.user)}),
        "TokenReview" => token(call, &spec)?,
        "SelfSubjectAccessReview" => access(call, call.user, &spec, Vec::new())?,
        "SubjectAccessReview" => subject_access(call, &spec)?,
        "LocalSubjectAccessReview" => {
            in_namespace(call, &spec)?;
            subject_access(call, &spec)?
        }
        "SelfSubjectRulesReview" => rules(call, &spec)?,
        other => return Err(Status::not_implemented(format_args!("create of {other}"))),
    };
    Ok(respond::value(call.accept, StatusCode::CREATED, &review))
}

/// `authentication.k8s.io/v1 UserInfo`.
fn user_info(user: &User) -> Value {
    let mut info = json!({"username": user.name});
    if !user.uid.is_empty() {
        info["uid"] = user.uid.as_str().into();
    }
    if !user.groups.is_empty() {
        info["groups"] = json!(user.groups);
    }
    if !user.extra.is_empty() {
        info["extra"] = json!(user.extra);
    }
    info
}

fn token(call: &Call<'_>, spec: &Value) -> Result<Value, Status> {
    let token = text(spec, "token");
    if token.is_empty() {
        return Err(Status::bad_request("token is required for TokenReview in authentication"));
    }
    Ok(match call.core.tokens.find(token) {
        Some(user) => json!({"authenticated": true, "user": user_info(&user)}),
        None => json!({"user": {}, "error": "invalid bearer token"}),
    })
}

fn subject_access(call: &Call<'_>, spec: &Value) -> Result<Value, Status> {
    let user = User {
        name: text(spec, "user").to_owned(),
        uid: text(spec, "uid").to_owned(),
        groups: strings(spec.get("groups")),
        extra: spec
            .get("extra")
            .and_then(Value::as_object)
            .map(|map| map.iter().map(|(key, list)| (key.clone(), strings(Some(list)))).collect::<BTreeMap<_, _>>())
            .unwrap_or_default(),
    };
    let mut errors = Vec::new();
    if user.name.is_empty() && user.groups.is_empty() {
        let why = "at least one of user or group must be specified";
        errors.push(FieldError::invalid(&Path::new("spec").child("user"), "", why));
    }
    access(call, &user, spec, errors)
}

/// Asks the authorizer what `spec` asks about `user`.
fn access(call: &Call<'_>, user: &User, spec: &Value, mut errors: Vec<FieldError>) -> Result<Value, Status> {
    let attributes = |name: &str| spec.get(name).filter(|value| value.is_object());
    let path = Path::new("spec");
    let decision = match (attributes("resourceAttributes"), attributes("nonResourceAttributes")) {
        (Some(_), Some(other)) => {
            let why = "cannot be specified in combination with resourceAttributes";
            errors.push(FieldError::invalid(&path.child("nonResourceAttributes"), other.clone(), why));
            None
        }
        (None, None) => {
            let why = "exactly one of nonResourceAttributes or resourceAttributes must be specified";
            errors.push(FieldError::invalid(&path.child("resourceAttributes"), Value::Null, why));
            None
        }
        (Some(resource), None) => Some(of_resource(call, user, resource)),
        (None, Some(other)) => {
            let method = text(other, "verb").to_ascii_uppercase().parse().unwrap_or(Method::GET);
            let request = RequestInfo { path: text(other, "path"), method: &method, resource: None };
            Some(call.core.authorizer.authorize(user, &request))
        }
    };
    match decision {
        Some(_) | None if !errors.is_empty() => Err(call.invalid("", &errors)),
        Some(Decision::Deny(why)) if !why.is_empty() => Ok(json!({"allowed": false, "reason": why})),
        decision => Ok(json!({"allowed": decision == Some(Decision::Allow)})),
    }
}

fn of_resource(call: &Call<'_>, user: &User, attributes: &Value) -> Decision {
    let verbs = [
        Verb::Create,
        Verb::Delete,
        Verb::DeleteCollection,
        Verb::Get,
        Verb::List,
        Verb::Patch,
        Verb::Update,
        Verb::Watch,
    ];
    let verb = text(attributes, "verb");
    let resource = ResourceRequest {
        verb: verbs.into_iter().find(|known| known.as_str() == verb),
        group: text(attributes, "group"),
        version: text(attributes, "version"),
        namespace: Cow::Borrowed(text(attributes, "namespace")),
        plural: text(attributes, "resource"),
        name: Cow::Borrowed(text(attributes, "name")),
        subresource: text(attributes, "subresource"),
        rest: "",
    };
    call.core.authorizer.authorize(user, &RequestInfo { path: "", method: &Method::POST, resource: Some(resource) })
}

/// A local review is about its own namespace.
fn in_namespace(call: &Call<'_>, spec: &Value) -> Result<(), Status> {
    let asked = spec.pointer("/resourceAttributes/namespace").and_then(Value::as_str).unwrap_or_default();
    if asked == call.namespace() {
        return Ok(());
    }
    Err(Status::bad_request(format!("spec.resourceAttributes.namespace must match namespace: {}", call.namespace())))
}

fn rules(call: &Call<'_>, spec: &Value) -> Result<Value, Status> {
    if text(spec, "namespace").is_empty() {
        return Err(Status::bad_request("no namespace on request"));
    }
    if !call.core.authorizer.allows_everything(call.user) {
        return Ok(json!({
            "resourceRules": [], "nonResourceRules": [], "incomplete": true,
            "evaluationError": "this server's authorizer does not list its rules",
        }));
    }
    Ok(json!({
        "resourceRules": [{"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]}],
        "nonResourceRules": [{"verbs": ["*"], "nonResourceURLs": ["*"]}],
        "incomplete": false,
    }))
}

fn text<'v>(value: &'v Value, field: &str) -> &'v str {
    value.get(field).and_then(Value::as_str).unwrap_or_default()
}

fn strings(list: Option<&Value>) -> Vec<String> {
    let list = list.and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    list.iter().filter_map(|item| item.as_str().map(String::from)).collect()
}
