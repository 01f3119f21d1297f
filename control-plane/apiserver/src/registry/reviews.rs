//! The reviews of `authentication.k8s.io` and `authorization.k8s.io`: questions put as objects and answered in their
//! `status`. Nothing is stored.

use super::{Call, admit, input};
use crate::authn::About;
use crate::authz::{Attributes, Decision, Target, node};
use crate::negotiate::{Shape, not_acceptable};
use crate::request::WriteOptions;
use crate::respond;
use crate::user::User;
use api::field::{Error as FieldError, Path};
use api::selector::{Equality, FieldTerm, Fields};
use api::{Resource, Status, Verb, meta};
use axum::body::Body;
use http::{Response, StatusCode};
use serde_json::{Value, json};
use std::collections::BTreeMap;

pub(super) fn concerns(resource: &Resource) -> bool {
    matches!(resource.group.as_ref(), "authentication.k8s.io" | "authorization.k8s.io")
}

pub(super) async fn create(call: &Call<'_>, body: Body) -> Result<Response<Body>, Status> {
    if matches!(call.accept.shape, Shape::Table(_)) {
        return Err(not_acceptable("application/json, application/yaml"));
    }
    let options = WriteOptions::parse(&call.query, Verb::Create)?;
    let mut review = input::object(call, body, options.field_validation).await?;
    admit::review(call, &mut review, options.common).await?;
    meta::ensure_namespace(call.resource, &mut review, call.namespace())?;
    let spec = review.get("spec").cloned().unwrap_or_default();
    let odd = odd_metadata(call, &review);
    review["status"] = match call.resource.kind.as_ref() {
        "SelfSubjectReview" => json!({"userInfo": user_info(call.user)}),
        "TokenReview" => token(call, &spec)?,
        "SelfSubjectAccessReview" => access(call, call.user, &spec, odd)?,
        "SubjectAccessReview" => subject_access(call, &spec, odd)?,
        "LocalSubjectAccessReview" => subject_access(call, &spec, odd.into_iter().chain(elsewhere(call, &spec)))?,
        "SelfSubjectRulesReview" => {
            let status = rules(call, &spec)?;
            // The answer does not repeat the question.
            (review["metadata"], review["spec"]) = (json!({}), json!({}));
            status
        }
        other => return Err(Status::not_implemented(format_args!("create of {other}"))),
    };
    if let Shape::Metadata(_) = call.accept.shape {
        review = json!({
            "kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": review.get("metadata"),
        });
    }
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
    let audiences = strings(spec.get("audiences"));
    Ok(match call.core.tokens.find(token, call.core.now(), &audiences) {
        Ok(found) => {
            json!({"authenticated": true, "user": user_info(&found.user), "audiences": *found.audiences})
        }
        Err(why) if why.about == About::Nobody => json!({"user": {}, "error": "invalid bearer token"}),
        Err(why) => json!({"user": {}, "error": format!("[invalid bearer token, {why}]")}),
    })
}

fn subject_access(call: &Call<'_>, spec: &Value, more: impl IntoIterator<Item = FieldError>) -> Result<Value, Status> {
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
    let nobody = user.name.is_empty() && user.groups.is_empty();
    let why = "at least one of user or group must be specified";
    let error = nobody.then(|| FieldError::invalid(&Path::new("spec").child("user"), "", why));
    access(call, &user, spec, error.into_iter().chain(more))
}

/// Asks the authorizers what `spec` asks about `user`.
fn access(
    call: &Call<'_>,
    user: &User,
    spec: &Value,
    wrong: impl IntoIterator<Item = FieldError>,
) -> Result<Value, Status> {
    let mut errors = Vec::new();
    let attributes = |name: &str| spec.get(name).filter(|value| value.is_object());
    let path = Path::new("spec");
    let selector;
    let target = match (attributes("resourceAttributes"), attributes("nonResourceAttributes")) {
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
        (Some(resource), None) => {
            selector = field_selector(resource);
            Some((text(resource, "verb"), of_resource(resource, selector.as_ref())))
        }
        (None, Some(other)) => Some((text(other, "verb"), Target::Path(text(other, "path")))),
    };
    errors.extend(wrong);
    let Some((verb, target)) = target.filter(|_| errors.is_empty()) else {
        // By then Kubernetes has forgotten the kind.
        return Err(Status::invalid(&call.resource.group, "", "", &errors));
    };
    let decision = call.core.authorizers.explain(user, &Attributes { verb, target });
    let mut status = json!({"allowed": decision.allowed()});
    let (Decision::Allow(reason) | Decision::Deny(reason)) = decision;
    if !reason.is_empty() {
        status["reason"] = reason.into();
    }
    Ok(status)
}

fn of_resource<'a>(attributes: &'a Value, field_selector: Option<&'a Fields>) -> Target<'a> {
    Target::Resource {
        group: text(attributes, "group"),
        resource: text(attributes, "resource"),
        subresource: text(attributes, "subresource"),
        namespace: text(attributes, "namespace"),
        name: text(attributes, "name"),
        field_selector,
    }
}

/// The selector of a question; requirements that are no equalities bind nothing.
fn field_selector(attributes: &Value) -> Option<Fields> {
    if let Some(raw) = attributes.pointer("/fieldSelector/rawSelector").and_then(Value::as_str) {
        return Fields::parse(raw).ok();
    }
    let requirements = attributes.pointer("/fieldSelector/requirements").and_then(Value::as_array);
    let equal = requirements.into_iter().flatten().filter_map(|requirement| match strings(requirement.get("values")) {
        mut values if values.len() == 1 && text(requirement, "operator") == "In" => {
            let field = text(requirement, "key").to_owned();
            Some(FieldTerm { field, value: values.remove(0), equality: Equality::Equal })
        }
        _ => None,
    });
    Some(equal.collect())
}

/// A review of access has no name and no labels: it is nowhere kept.
fn odd_metadata(call: &Call<'_>, review: &Value) -> Option<FieldError> {
    let local = call.resource.kind == "LocalSubjectAccessReview";
    let metadata = review.get("metadata")?;
    let fields = metadata.as_object()?;
    let empty =
        |value: &Value| value.is_null() || value == "" || value.as_object().is_some_and(serde_json::Map::is_empty);
    let odd = |(field, value): (&String, &Value)| {
        !(empty(value) || field == "managedFields" || local && field == "namespace")
    };
    let why = if local { "must be empty except for namespace" } else { "must be empty" };
    fields.iter().any(odd).then(|| FieldError::invalid(&Path::new("metadata"), metadata.clone(), why))
}

/// A local review is about its own namespace.
fn elsewhere(call: &Call<'_>, spec: &Value) -> Vec<FieldError> {
    let attributes = |name: &str| spec.get(name).filter(|value| value.is_object());
    let path = Path::new("spec");
    let mut errors = Vec::new();
    if let Some(resource) = attributes("resourceAttributes")
        && text(resource, "namespace") != call.namespace()
    {
        let path = Path::new("spec.resourceAttributes.namespace");
        errors.push(FieldError::invalid(&path, text(resource, "namespace"), "must match metadata.namespace"));
    }
    if let Some(other) = attributes("nonResourceAttributes") {
        let why = "disallowed on this kind of request";
        errors.push(FieldError::invalid(&path.child("nonResourceAttributes"), other.clone(), why));
    }
    errors
}

fn rules(call: &Call<'_>, spec: &Value) -> Result<Value, Status> {
    let namespace = text(spec, "namespace");
    if namespace.is_empty() {
        return Err(Status::bad_request("no namespace on request"));
    }
    let authorizers = &call.core.authorizers;
    let held = authorizers.rbac().held(call.user, namespace);
    let mut of_resources = Vec::new();
    let mut of_paths = Vec::new();
    if authorizers.allows_everything() {
        of_resources.push(json!({"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]}));
        of_paths.push(json!({"verbs": ["*"], "nonResourceURLs": ["*"]}));
    }
    for rule in held.rules() {
        if !rule.resources.is_empty() {
            let mut shown = json!({"verbs": rule.verbs, "apiGroups": rule.api_groups, "resources": rule.resources});
            if !rule.resource_names.is_empty() {
                shown["resourceNames"] = json!(rule.resource_names);
            }
            of_resources.push(shown);
        }
        if !rule.non_resource_urls.is_empty() {
            of_paths.push(json!({"verbs": rule.verbs, "nonResourceURLs": rule.non_resource_urls}));
        }
    }
    let mut errors = held.errors();
    let is_node = authorizers.has_node() && node::identity(call.user).is_some();
    if is_node {
        errors.insert(0, "node authorizer does not support user rule resolution".into());
    }
    let mut status = json!({
        "resourceRules": of_resources, "nonResourceRules": of_paths, "incomplete": !errors.is_empty(),
    });
    if !errors.is_empty() {
        status["evaluationError"] = errors.join(", ").into();
    }
    Ok(status)
}

fn text<'v>(value: &'v Value, field: &str) -> &'v str {
    value.get(field).and_then(Value::as_str).unwrap_or_default()
}

fn strings(list: Option<&Value>) -> Vec<String> {
    let list = list.and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    list.iter().filter_map(|item| item.as_str().map(String::from)).collect()
}
