//! Streams to containers, and through to pods, nodes and Services (`pods/exec`, `attach`, `portforward`, `proxy`). There are
//! none yet; whether there may be one is asked all the same, so that a policy speaks before the server does
//! (`endpoints/handlers.ConnectResource`).

use super::{Call, admit, log};
use crate::objects;
use api::Status;
use api::kinds::Subresource;
use axum::body::Body;
use http::Response;
use serde_json::{Map, Value, json};

/// What the options of a stream may say, by kind: flags, texts, lists of texts, lists of numbers.
#[derive(Clone, Copy)]
enum Kind {
    Flag,
    Text,
    Texts,
    Numbers,
}
use Kind::{Flag, Numbers, Text, Texts};

const CONTAINER: [(&str, Kind); 6] =
    [("stdin", Flag), ("stdout", Flag), ("stderr", Flag), ("tty", Flag), ("container", Text), ("command", Texts)];

/// Answers a request for a stream.
///
/// # Errors
/// What admission says, and what stands in a stream's way; 501 otherwise.
pub(super) async fn connect(call: &Call<'_>, row: &Subresource) -> Result<Response<Body>, Status> {
    let mut options = options(call, &row.kind);
    admit::stream(call, &mut options).await?;
    check(call, &row.name).await?;
    Err(Status::not_implemented(format_args!("{}/{}", call.resource.plural, row.name)))
}

/// What there must be for a stream to have an end.
///
/// # Errors
/// 404 without the object; 400 for a pod without that container, or without a node.
async fn check(call: &Call<'_>, stream: &str) -> Result<(), Status> {
    // Services and nodes may be named with a port, and with a scheme before that: `https:web:443`.
    let parts: Vec<&str> = call.name().split(':').collect();
    let name = match parts.as_slice() {
        [_, name, _] | [name, _] if stream == "proxy" => *name,
        _ => call.name(),
    };
    let snapshot = call.core.latest().await?;
    let key = objects::key(call.resource, call.namespace(), name);
    let Some(entry) = snapshot.get(&key) else {
        return Err(Status::not_found(&call.resource.group, &call.resource.plural, name));
    };
    if stream == "proxy" {
        return Ok(());
    }
    let pod = objects::parse(call.resource, &entry.value.body, Some(entry.mod_revision))?;
    if matches!(stream, "exec" | "attach") {
        log::container(call, &pod)?;
    }
    match pod.pointer("/spec/nodeName").and_then(Value::as_str) {
        None | Some("") => Err(Status::bad_request(format!("pod {name} does not have a host assigned"))),
        Some(_) => Ok(()),
    }
}

/// The query as the object that webhooks are shown.
fn options(call: &Call<'_>, kind: &str) -> Value {
    let fields = match kind {
        "PodExecOptions" => &CONTAINER[..],
        "PodAttachOptions" => &CONTAINER[..5],
        "PodPortForwardOptions" => &[("ports", Numbers)][..],
        _ => &[],
    };
    let mut options = Map::from_iter([("kind".to_owned(), json!(kind)), ("apiVersion".to_owned(), json!("v1"))]);
    for (field, kind) in fields {
        let given: Vec<&str> = call.query.all(field).collect();
        let value = match kind {
            _ if given.is_empty() => continue,
            Flag if call.query.flag(field) => json!(true),
            Text if !given[0].is_empty() => json!(given[0]),
            Texts => json!(given),
            Numbers => json!(given.iter().filter_map(|number| number.parse::<i32>().ok()).collect::<Vec<_>>()),
            Flag | Text => continue,
        };
        options.insert((*field).to_owned(), value);
    }
    if kind.ends_with("ProxyOptions") && !call.request.rest.is_empty() {
        let path = format!("/{}", call.request.rest);
        options.insert("path".into(), path.into());
    }
    Value::Object(options)
}
