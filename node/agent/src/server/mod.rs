//! The kubelet API that the API server calls: logs, pods, statistics. Reads only; it changes nothing.

mod container_logs;
mod stats;

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{any, get};

use crate::context::NodeContext;
use crate::manager::Pods;

/// What the handlers read.
#[derive(Clone)]
struct Shared {
    node: Arc<NodeContext>,
    pods: Arc<Pods>,
}

pub fn router(node: Arc<NodeContext>, pods: Arc<Pods>) -> Router {
    Router::new()
        .route("/healthz", get(async || "ok"))
        .route("/containerLogs/{namespace}/{pod}/{container}", get(container_logs::get))
        .route("/pods", get(list_pods))
        .route("/runningpods/", get(list_pods))
        .route("/stats/summary", get(stats::summary))
        .route("/metrics/resource", get(stats::resource_metrics))
        .route("/exec/{*rest}", any(not_in_this_version))
        .route("/attach/{*rest}", any(not_in_this_version))
        .route("/portForward/{*rest}", any(not_in_this_version))
        .route("/run/{*rest}", any(not_in_this_version))
        .with_state(Shared { node, pods })
}

/// The pods as the agent sees them, with the status it would report now.
async fn list_pods(State(shared): State<Shared>) -> Response {
    let items: Vec<_> = shared
        .pods
        .all()
        .into_iter()
        .map(|pod| {
            let object = pod.object();
            let before = object.status.as_ref().and_then(|s| s.conditions.as_deref()).unwrap_or_default();
            let context = crate::pod::status::Context {
                pod: &object,
                host_ip: shared.node.config.node_ip,
                now: shared.node.config.clock.now(),
                before,
            };
            let status = pod.read(|record| crate::pod::status::compute(record, &context));
            serde_json::json!({"metadata": object.metadata, "spec": object.spec, "status": status})
        })
        .collect();
    let list = serde_json::json!({"kind": "PodList", "apiVersion": "v1", "metadata": {}, "items": items});
    json(StatusCode::OK, &list)
}

async fn not_in_this_version() -> Response {
    status(
        StatusCode::NOT_IMPLEMENTED,
        "NotImplemented",
        "exec, attach and port-forward are not in this version of Skiff",
    )
}

fn json(code: StatusCode, value: &serde_json::Value) -> Response {
    (code, [(header::CONTENT_TYPE, "application/json")], value.to_string()).into_response()
}

/// A `metav1.Status` failure.
fn status(code: StatusCode, reason: &str, message: &str) -> Response {
    let body = serde_json::json!({
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Failure",
        "message": message,
        "reason": reason,
        "code": code.as_u16(),
    });
    json(code, &body)
}
