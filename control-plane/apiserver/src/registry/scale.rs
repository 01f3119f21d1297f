//! The `scale` subresource: `autoscaling/v1 Scale` in front of whatever object has replicas.

use super::owners::{Owners, Writer};
use super::patch::{Patch, Spoken, no_apply};
use super::update::{Part, check_name, modify_owned};
use super::{Call, Outcome, apply, input};
use crate::negotiate::Shape;
use crate::objects;
use crate::request::WriteOptions;
use crate::respond;
use api::apply::{Replicas, Updated, applied_scale, updated_scale};
use api::field::{Error as FieldError, Path};
use api::kinds::{ScalePaths, Subresource, group_version};
use api::selector::Labels;
use api::{Status, Verb, meta, table};
use axum::body::Body;
use http::{Response, StatusCode};
use serde_json::{Value, json};

pub(super) async fn serve(
    call: &Call<'_>,
    row: &Subresource,
    verb: Verb,
    body: Body,
) -> Result<Response<Body>, Status> {
    let paths = row.scale.as_ref().ok_or_else(|| Status::internal("the scale subresource has no paths"))?;
    match verb {
        Verb::Get => {
            let snapshot = call.core.latest().await?;
            let entry = snapshot.get(&call.key()).ok_or_else(|| no_scale(call))?;
            show(call, paths, &Outcome { body: entry.value.body.clone(), revision: Some(entry.mod_revision) })
        }
        Verb::Update => {
            let options = WriteOptions::parse(&call.query, verb)?;
            let scale = input::object(call, body, options.field_validation).await?;
            check_name(call, &scale)?;
            write(call, paths, &options, |_| Ok(scale.clone())).await
        }
        Verb::Patch if apply::is(call) => {
            let options = apply::options(call)?;
            let config = apply::read(call, body, options.field_validation, ("autoscaling/v1", "Scale")).await?;
            apply_scale(call, paths, &options, &config).await
        }
        Verb::Patch => {
            let options = WriteOptions::parse(&call.query, verb)?;
            no_apply(&options)?;
            let patch = Patch::read(call, body).await?;
            let (sub, schema) = call.spoken().ok_or_else(|| Status::internal("the scale subresource has no schema"))?;
            let schema = schema.get();
            let api_version = group_version(&sub.group, &sub.version);
            let spoken = Spoken { kind: &sub.kind, api_version, schema };
            let mut complained = false;
            write(call, paths, &options, |scale| {
                let mut new = patch.apply(schema, scale)?;
                patch.judge(call, &spoken, &mut new, (&options, &mut complained))?;
                check_name(call, &new)?;
                Ok(new)
            })
            .await
        }
        _ => Err(Status::not_implemented("this verb on scale")),
    }
}

/// What Kubernetes misses is not the object of some kinds, but its scale.
fn no_scale(call: &Call<'_>) -> Status {
    let (resource, name) = (call.resource, call.name());
    match (resource.group.as_ref(), resource.plural.as_ref()) {
        ("apps", plural @ ("deployments" | "replicasets")) => {
            Status::not_found("apps", &format!("{plural}/scale"), name)
        }
        ("", plural) => Status::not_found("autoscaling", &format!("{plural}/scale"), name),
        _ => call.not_found(),
    }
}

async fn write(
    call: &Call<'_>,
    paths: &ScalePaths,
    options: &WriteOptions,
    mut change: impl FnMut(&Value) -> Result<Value, Status>,
) -> Result<Response<Body>, Status> {
    let writer = Writer::of(call);
    let outcome = modify_owned(call, (&writer, Part::Main), options.common, |before| {
        let scale = change(&view(&before.object, paths))?;
        let (new, replicas) = scaled(call, paths, &before.object, &scale)?;
        let updated = updated_scale(&writer.context(), before.managed(), replicas, writer.name());
        Ok((new, Some(owners(updated))))
    })
    .await?;
    show(call, paths, &outcome)
}

/// An apply of a `Scale`. One that does not say how many replicas it wants wants nothing.
async fn apply_scale(
    call: &Call<'_>,
    paths: &ScalePaths,
    options: &WriteOptions,
    config: &Value,
) -> Result<Response<Body>, Status> {
    let mut config = config.clone();
    meta::ensure_name(&mut config, call.name())?;
    let says = config.pointer("/spec/replicas").is_some();
    let writer = Writer::of(call);
    let outcome = modify_owned(call, (&writer, Part::Main), options.common, |before| {
        if !says {
            return Ok((before.object.clone(), Some(Owners::Same)));
        }
        let (new, replicas) = scaled(call, paths, &before.object, &config)?;
        let who = (writer.name(), apply::force(options));
        let applied = applied_scale(&writer.context(), before.managed(), replicas, who);
        Ok((new, Some(owners(applied.map_err(|error| error.to_status())?))))
    })
    .await?;
    show(call, paths, &outcome)
}

fn owners(updated: Updated) -> Owners {
    match updated {
        Updated::Same => Owners::Same,
        Updated::New(managed) => Owners::New(managed),
    }
}

/// The object with the replicas of `scale`, and the version and UID that it says, if it does, for their preconditions.
fn scaled<'p>(
    call: &Call<'_>,
    paths: &'p ScalePaths,
    old: &Value,
    scale: &Value,
) -> Result<(Value, Replicas<'p>), Status> {
    let mut new = old.clone();
    let after = replicas(call, scale)?;
    let before = find(old, &paths.spec_replicas).and_then(Value::as_i64).unwrap_or(0);
    set(&mut new, &paths.spec_replicas, after.into());
    for (field, said) in [("resourceVersion", meta::resource_version(scale)), ("uid", meta::uid(scale))] {
        if let (false, Some(metadata)) = (said.is_empty(), meta::metadata_mut(&mut new)) {
            metadata.insert(field.into(), said.into());
        }
    }
    Ok((new, Replicas { path: &paths.spec_replicas, before, after }))
}

fn replicas(call: &Call<'_>, scale: &Value) -> Result<i64, Status> {
    let replicas = match scale.pointer("/spec/replicas") {
        None | Some(Value::Null) => 0,
        Some(value) => value.as_i64().filter(|n| i32::try_from(*n).is_ok()).ok_or_else(|| {
            let message = "Scale in version \"v1\" cannot be handled as a Scale: json: cannot unmarshal into Go struct field ScaleSpec.spec.replicas of type int32";
            Status::bad_request(message)
        })?,
    };
    if replicas < 0 {
        let error = FieldError::invalid(&Path::new("spec.replicas"), replicas, "must be greater than or equal to 0");
        return Err(Status::invalid("autoscaling", "Scale", call.name(), &[error]));
    }
    Ok(replicas)
}

fn show(call: &Call<'_>, paths: &ScalePaths, outcome: &Outcome) -> Result<Response<Body>, Status> {
    let object = objects::parse(call.resource, &outcome.body, outcome.revision)?;
    if call.resource.custom.is_some() && find(&object, &paths.spec_replicas).is_none() {
        let path = &paths.spec_replicas;
        return Err(Status::internal(format_args!("the spec replicas field \".{path}\" does not exist")));
    }
    let scale = view(&object, paths);
    let Shape::Table(include) = call.accept.shape else {
        return Ok(respond::value(call.accept, StatusCode::OK, &scale));
    };
    let list = json!({"resourceVersion": meta::resource_version(&scale)});
    let context = table::Context::at(call.core.now());
    Ok(respond::value(call.accept, StatusCode::OK, &table::render_scale(&scale, list, &context, include)))
}

/// The object as a `Scale`.
pub(crate) fn view(object: &Value, paths: &ScalePaths) -> Value {
    let mut metadata = json!({});
    for field in ["name", "namespace", "uid", "resourceVersion", "creationTimestamp"] {
        if let Some(value) = object.pointer(&format!("/metadata/{field}")) {
            metadata[field] = value.clone();
        }
    }
    let number = |path: &str| find(object, path).and_then(Value::as_i64).unwrap_or(0);
    let mut scale = json!({
        "kind": "Scale", "apiVersion": "autoscaling/v1", "metadata": metadata,
        "spec": {}, "status": {"replicas": number(&paths.status_replicas)},
    });
    let wanted = number(&paths.spec_replicas);
    if wanted != 0 {
        scale["spec"]["replicas"] = wanted.into();
    }
    if let Some(selector) = paths.label_selector.as_ref().and_then(|path| find(object, path)).and_then(selector) {
        scale["status"]["selector"] = selector.into();
    }
    scale
}

/// A LabelSelector, a plain map of labels, or the text itself.
fn selector(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Object(map) if map.values().all(Value::is_string) => Some(Labels::from_map(map).to_string()),
        Value::Object(_) => Labels::from_label_selector(Some(value)).ok().map(|labels| labels.to_string()),
        _ => None,
    }
}

fn find<'v>(object: &'v Value, path: &str) -> Option<&'v Value> {
    path.trim_start_matches('.').split('.').try_fold(object, |value, part| value.get(part))
}

pub(crate) fn set(object: &mut Value, path: &str, wanted: Value) {
    let mut at = object;
    for part in path.trim_start_matches('.').split('.') {
        if !at.is_object() {
            *at = json!({});
        }
        at = &mut at[part];
    }
    *at = wanted;
}
