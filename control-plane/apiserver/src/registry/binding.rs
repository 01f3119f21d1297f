//! `pods/binding`: a pod gets its node. The scheduler's only write, so it goes straight from the old pod to the
//! new one: no defaulting, no schema.

use super::{Call, admit, input, success};
use crate::objects;
use crate::request::{Common, WriteOptions};
use crate::respond;
use api::{Status, Verb, meta, time};
use axum::body::Body;
use http::{Response, StatusCode};
use serde_json::{Value, json};
use store::Txn;

const ATTEMPTS: usize = 100;

pub(super) async fn create(call: &Call<'_>, body: Body) -> Result<Response<Body>, Status> {
    let options = WriteOptions::parse(&call.query, Verb::Create)?;
    let mut binding = input::object(call, body, options.field_validation).await?;
    admit::body(call, &mut binding, options.common).await?;
    let name = match (call.name(), meta::name(&binding)) {
        ("", name) => name.to_owned(),
        (name, other) if name == other => name.to_owned(),
        _ => return Err(Status::bad_request("name in URL does not match name in Binding object")),
    };
    let target = binding.pointer("/target/name").and_then(Value::as_str).unwrap_or_default();
    let kind = binding.pointer("/target/kind").and_then(Value::as_str).unwrap_or_default();
    let mut errors = Vec::new();
    let path = api::field::Path::new("target");
    if !matches!(kind, "" | "Node" | "Minion") {
        errors.push(api::field::Error::not_supported(&path.child("kind"), kind, &["Node", "Minion", "<empty>"]));
    }
    if target.is_empty() {
        errors.push(api::field::Error::required(&path.child("name"), ""));
    }
    if !errors.is_empty() {
        return Err(Status::invalid("", "Binding", &name, &errors));
    }
    bind(call, &name, target, &binding, options.common).await?;
    Ok(respond::value(call.accept, StatusCode::CREATED, &success(StatusCode::CREATED, Value::Null)))
}

async fn bind(call: &Call<'_>, name: &str, node: &str, binding: &Value, options: Common) -> Result<(), Status> {
    let pods = call.core.builtin("", "v1", "pods");
    let key = objects::key(&pods, call.namespace(), name);
    let now = call.core.now();
    for _ in 0..ATTEMPTS {
        let snapshot = call.core.latest().await?;
        let entry = snapshot.get(&key).ok_or_else(|| Status::not_found("", "pods", name))?;
        let mut apart = objects::parse_apart(&pods, &entry.value.body, Some(entry.mod_revision))?;
        let pod = &mut apart.object;
        check(pod, name, binding)?;
        assign(pod, node, binding, &time::format(now));
        if options.is_dry_run() {
            return Ok(());
        }
        let mut stored = objects::encode(&pods, pod, now.as_second());
        stored.body = objects::put_owners(&stored.body, apart.managed());
        if call.commit(Txn::update(&key, entry.mod_revision, stored)).await?.is_ok() {
            return Ok(());
        }
    }
    Err(conflict(name, super::update::MODIFIED))
}

fn conflict(name: &str, why: impl std::fmt::Display) -> Status {
    Status::conflict("", "pods/binding", name, why)
}

fn check(pod: &Value, name: &str, binding: &Value) -> Result<(), Status> {
    let (uid, version) = (meta::uid(binding), meta::resource_version(binding));
    if !uid.is_empty() && uid != meta::uid(pod) {
        let actual = meta::uid(pod);
        return Err(conflict(
            name,
            format_args!("Precondition failed: UID in precondition: {uid}, UID in object meta: {actual}"),
        ));
    }
    if !version.is_empty() && version != meta::resource_version(pod) {
        return Err(conflict(name, super::update::MODIFIED));
    }
    if meta::deletion_timestamp(pod).is_some() {
        return Err(conflict(name, format_args!("pod {name} is being deleted, cannot be assigned to a host")));
    }
    let node = pod.pointer("/spec/nodeName").and_then(Value::as_str).unwrap_or_default();
    if !node.is_empty() {
        return Err(conflict(name, format_args!("pod {name} is already assigned to node {node:?}")));
    }
    if pod.pointer("/spec/schedulingGates").and_then(Value::as_array).is_some_and(|gates| !gates.is_empty()) {
        return Err(conflict(name, format_args!("pod {name} has non-empty .spec.schedulingGates")));
    }
    Ok(())
}

fn assign(pod: &mut Value, node: &str, binding: &Value, now: &str) {
    pod["spec"]["nodeName"] = node.into();
    for (field, given) in [("annotations", meta::annotations(binding)), ("labels", meta::labels(binding))] {
        let (Some(given), Some(metadata)) = (given, meta::metadata_mut(pod)) else { continue };
        let own = metadata.entry(field).or_insert_with(|| json!({}));
        for (key, value) in given {
            own[key] = value.clone();
        }
    }
    let mut scheduled =
        json!({"type": "PodScheduled", "status": "True", "lastProbeTime": null, "lastTransitionTime": now});
    if let Some(generation) = pod.pointer("/metadata/generation").cloned() {
        scheduled["observedGeneration"] = generation;
    }
    if !pod["status"]["conditions"].is_array() {
        pod["status"]["conditions"] = json!([]);
    }
    let Some(conditions) = pod["status"]["conditions"].as_array_mut() else { return };
    match conditions.iter_mut().find(|condition| condition["type"] == "PodScheduled") {
        Some(condition) => *condition = scheduled,
        None => conditions.push(scheduled),
    }
}
