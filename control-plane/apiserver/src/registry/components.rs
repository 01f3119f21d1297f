//! `componentstatuses`: a deprecated view of a control plane's parts (`registry/core/componentstatus`). None of them is a process
//! of its own here: they run in the server's, and where there are several servers, a Lease says whether one of them works.

use super::Call;
use crate::config::Sharing;
use crate::negotiate::Shape;
use crate::objects;
use crate::request::ListOptions;
use crate::respond;
use api::{Status, Verb, time};
use axum::body::Body;
use http::{Response, StatusCode};
use serde_json::{Value, json};

/// The parts, and the Leases of those that one server of several does the work of.
const PARTS: [(&str, Option<&str>); 3] =
    [("scheduler", Some("kube-scheduler")), ("controller-manager", Some("kube-controller-manager")), ("etcd-0", None)];

/// All parts, or the one by the request's name.
///
/// # Errors
/// 404 for other names, 400 for bad selectors.
pub(super) async fn read(call: &Call<'_>, verb: Verb) -> Result<Response<Body>, Status> {
    if verb != Verb::List {
        let part = PARTS.into_iter().find(|(name, _)| *name == call.name());
        let (name, lease) = part.ok_or_else(|| Status::not_found("", "componentstatus", call.name()))?;
        let mut object = json!({"kind": call.resource.kind, "apiVersion": call.resource.api_version()});
        merge(&mut object, status(call, name, lease).await);
        return Ok(respond::value(call.accept, StatusCode::OK, &shown(call, &[object], Listed::No)));
    }
    let options = ListOptions::parse(&call.query, verb, call.resource)?;
    let mut items = Vec::with_capacity(PARTS.len());
    for (name, lease) in PARTS {
        let wanted = options.fields.matches(|field| (field == "metadata.name").then_some(name));
        if wanted && options.labels.matches(|_| None) {
            items.push(status(call, name, lease).await);
        }
    }
    Ok(respond::value(call.accept, StatusCode::OK, &shown(call, &items, Listed::Yes)))
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Listed {
    Yes,
    No,
}

fn shown(call: &Call<'_>, items: &[Value], listed: Listed) -> Value {
    match (call.accept.shape, listed) {
        (Shape::Table(include), _) => call.table(items, json!({}), include),
        (Shape::Full | Shape::Metadata(_), Listed::Yes) => json!({
            "kind": call.resource.list_kind, "apiVersion": call.resource.api_version(), "metadata": {}, "items": items,
        }),
        (Shape::Full | Shape::Metadata(_), Listed::No) => items[0].clone(),
    }
}

fn merge(object: &mut Value, more: Value) {
    if let (Some(object), Value::Object(more)) = (object.as_object_mut(), more) {
        object.extend(more);
    }
}

async fn status(call: &Call<'_>, name: &str, lease: Option<&str>) -> Value {
    let failed = match lease {
        None => call.core.latest().await.err().map(|status| status.message),
        Some(lease) => idle(call, lease),
    };
    let condition = match failed {
        None => json!({"type": "Healthy", "status": "True", "message": "ok"}),
        Some(why) => json!({"type": "Healthy", "status": "False", "message": why}),
    };
    json!({"metadata": {"name": name}, "conditions": [condition]})
}

/// Why nobody does the work that a Lease in kube-system stands for.
fn idle(call: &Call<'_>, lease: &str) -> Option<String> {
    if call.core.sharing == Sharing::Alone {
        return None;
    }
    let row = call.core.builtin("coordination.k8s.io", "v1", "leases");
    let snapshot = call.core.store.snapshot();
    let Some(entry) = snapshot.get(&objects::key(&row, "kube-system", lease)) else {
        return Some(format!("no server has taken the lease kube-system/{lease} yet"));
    };
    let object: Value = serde_json::from_slice(&entry.value.body).ok()?;
    let renewed = object.pointer("/spec/renewTime").and_then(Value::as_str).and_then(time::parse);
    let seconds = object.pointer("/spec/leaseDurationSeconds").and_then(Value::as_i64).unwrap_or(0);
    let alive = renewed.is_some_and(|renewed| call.core.now().as_second() <= renewed.as_second() + seconds);
    (!alive).then(|| format!("the lease kube-system/{lease} has run out"))
}
