//! `pods/eviction` (`registry/core/pod/storage/eviction.go`): a delete that asks the pod's PodDisruptionBudget first. A
//! granted eviction takes one disruption off the budget in the write that checks it, so no two evictions share one.

mod budget;

use super::update::MODIFIED;
use super::{Call, admit, delete, input, success};
use crate::objects;
use crate::request::{DeleteOptions, WriteOptions};
use crate::respond;
use api::{Status, Verb, meta, time};
use axum::body::Body;
use http::{Response, StatusCode};
use serde_json::{Value, json};
use store::Txn;

const ATTEMPTS: usize = 100;

pub(super) async fn create(call: &Call<'_>, body: Body) -> Result<Response<Body>, Status> {
    let options = WriteOptions::parse(&call.query, Verb::Create)?;
    let mut eviction = input::object(call, body, options.field_validation).await?;
    if meta::name(&eviction) != call.name() {
        return Err(Status::bad_request("name in URL does not match name in Eviction object"));
    }
    admit::body(call, &mut eviction, options.common).await?;
    let requested = eviction.get("deleteOptions").filter(|value| !value.is_null());
    let mut wanted =
        DeleteOptions::parse(&call.query, Some(requested.unwrap_or(&Value::Object(serde_json::Map::new()))))?;
    if options.common.is_dry_run() {
        wanted.common = options.common;
    }
    evict(call, &wanted).await?;
    Ok(respond::value(call.accept, StatusCode::CREATED, &success(StatusCode::CREATED, Value::Null)))
}

/// How an eviction may go on.
enum Grant {
    /// Whatever has happened to the pod meanwhile.
    Free,
    /// Only if the pod is still as it was looked at; if not, look again.
    IfUnchanged,
    /// Only if the pod is still as it was looked at; if not, it may count for this budget now.
    IfUnhealthy(String),
}

async fn evict(call: &Call<'_>, wanted: &DeleteOptions) -> Result<(), Status> {
    for _ in 0..ATTEMPTS {
        let snapshot = call.core.latest().await?;
        let entry = snapshot.get(&call.key()).ok_or_else(|| call.not_found())?;
        let pod = objects::parse(call.resource, &entry.value.body, Some(entry.mod_revision))?;
        let grant = grant(call, &snapshot, &pod, wanted).await?;
        let mut options = wanted.clone();
        if !matches!(grant, Grant::Free) && options.preconditions.resource_version.is_none() {
            options.preconditions.resource_version = Some(meta::resource_version(&pod).to_owned());
        }
        match finish(call, options).await {
            Err(status) if status.code == 409 && wanted.preconditions.resource_version.is_none() => match grant {
                Grant::IfUnchanged => {}
                Grant::IfUnhealthy(name) => return Err(budget::busy(&name)),
                Grant::Free => return Err(status),
            },
            result => return result,
        }
    }
    Err(call.conflict(MODIFIED))
}

/// # Errors
/// 429 where the pod's budget has nothing to give; 500 where the pod has several.
async fn grant(
    call: &Call<'_>,
    snapshot: &store::Snapshot,
    pod: &Value,
    wanted: &DeleteOptions,
) -> Result<Grant, Status> {
    let phase = pod.pointer("/status/phase").and_then(Value::as_str).unwrap_or_default();
    let over = matches!(phase, "Succeeded" | "Failed") || meta::deletion_timestamp(pod).is_some();
    if over {
        return Ok(Grant::Free);
    }
    if phase == "Pending" {
        // It disrupts nothing, unless it has become ready meanwhile.
        return Ok(Grant::IfUnchanged);
    }
    budget::ask(call, snapshot, pod, wanted.common).await
}

/// Says in the pod's status why it goes, and deletes it.
async fn finish(call: &Call<'_>, mut options: DeleteOptions) -> Result<(), Status> {
    if !options.common.is_dry_run() {
        let version = mark(call, options.preconditions.resource_version.as_deref()).await?;
        if let Some(wanted) = &mut options.preconditions.resource_version {
            *wanted = version;
        }
    }
    delete::one(call, call.name(), &options).await.map(|_| ())
}

/// Sets the condition `DisruptionTarget`; returns the pod's resourceVersion after that.
async fn mark(call: &Call<'_>, wanted: Option<&str>) -> Result<String, Status> {
    let key = call.key();
    let now = call.core.now();
    for _ in 0..ATTEMPTS {
        let snapshot = call.core.latest().await?;
        let entry = snapshot.get(&key).ok_or_else(|| call.not_found())?;
        let mut apart = objects::parse_apart(call.resource, &entry.value.body, Some(entry.mod_revision))?;
        let pod = &mut apart.object;
        if wanted.is_some_and(|version| version != meta::resource_version(pod)) {
            return Err(call.conflict(MODIFIED));
        }
        let mut target = json!({
            "type": "DisruptionTarget", "status": "True", "reason": "EvictionByEvictionAPI",
            "message": "Eviction API: evicting", "lastProbeTime": null, "lastTransitionTime": time::format(now),
        });
        if let Some(generation) = pod.pointer("/metadata/generation") {
            target["observedGeneration"] = generation.clone();
        }
        if !pod["status"]["conditions"].is_array() {
            pod["status"]["conditions"] = json!([]);
        }
        let Some(conditions) = pod["status"]["conditions"].as_array_mut() else { break };
        match conditions.iter_mut().find(|condition| condition["type"] == "DisruptionTarget") {
            Some(condition) if condition["status"] == "True" => return Ok(entry.mod_revision.to_string()),
            Some(condition) => *condition = target,
            None => conditions.push(target),
        }
        let mut stored = objects::encode(call.resource, pod, now.as_second());
        stored.body = objects::put_owners(&stored.body, apart.managed());
        if let Ok(committed) = call.commit(Txn::update(&key, entry.mod_revision, stored)).await? {
            return Ok(committed.revision.to_string());
        }
    }
    Err(call.conflict(MODIFIED))
}
