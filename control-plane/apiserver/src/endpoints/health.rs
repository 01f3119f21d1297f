//! `/healthz`, `/livez`, `/readyz`, each with `?verbose`, `?exclude=NAME` and a path per check.

use crate::core::Core;
use crate::registry::unknown_path;
use crate::request::Query;
use crate::respond;
use api::Status;
use axum::body::Body;
use http::{Response, StatusCode};
use std::fmt::Write as _;
use std::time::Duration;

/// The checks that every one of the endpoints has.
pub(super) const NAMES: [&str; 3] = ["ping", "log", "etcd"];

const TEXT: &str = "text/plain; charset=utf-8";

#[derive(Clone, Copy, PartialEq, Eq)]
enum Health {
    Ok,
    Failed(&'static str),
}

/// How long the store's backend may take to answer a check (`--etcd-readycheck-timeout`).
const STORE_TIMEOUT: Duration = Duration::from_secs(2);

/// Whether the store can be read with all that was written to it. A server whose store is out of reach is alive: starting
/// it again would help nobody.
async fn store(core: &Core, endpoint: &str) -> Health {
    if core.shutdown.is_cancelled() {
        return Health::Failed("the store is being closed");
    }
    if endpoint == "livez" {
        return Health::Ok;
    }
    match tokio::time::timeout(STORE_TIMEOUT, core.latest()).await {
        Ok(Ok(_)) => Health::Ok,
        Ok(Err(_)) => Health::Failed("etcd is not available"),
        Err(_) => Health::Failed("etcd does not answer"),
    }
}

async fn checks(core: &Core, endpoint: &str) -> Vec<(&'static str, Health)> {
    let store = store(core, endpoint).await;
    let mut checks = vec![("ping", Health::Ok), ("log", Health::Ok), ("etcd", store)];
    if endpoint != "livez" {
        let bootstrap = if core.is_ready() { Health::Ok } else { Health::Failed("not finished") };
        checks.push(("poststarthook/start-apiserver-admission-initializer", bootstrap));
    }
    if endpoint == "readyz" {
        let informers = if core.is_ready() { Health::Ok } else { Health::Failed("informers not started yet") };
        checks.extend([("etcd-readiness", store), ("informer-sync", informers)]);
        let shutdown =
            if core.shutdown.is_cancelled() { Health::Failed("process is shutting down") } else { Health::Ok };
        checks.push(("shutdown", shutdown));
    }
    checks
}

pub(super) async fn serve(
    core: &Core,
    endpoint: &str,
    rest: &[&str],
    query: &Query<'_>,
) -> Result<Response<Body>, Status> {
    let mut checks = checks(core, endpoint).await;
    if !rest.is_empty() {
        let name = rest.join("/");
        checks.retain(|(check, _)| *check == name);
        if checks.is_empty() {
            return Err(unknown_path());
        }
    }
    if let ([(_, health)], false) = (checks.as_slice(), rest.is_empty()) {
        return Ok(match health {
            Health::Ok => respond::plain(StatusCode::OK, TEXT, "ok"),
            Health::Failed(reason) => {
                let text = format!("internal server error: {reason}\n");
                respond::plain(StatusCode::INTERNAL_SERVER_ERROR, TEXT, text)
            }
        });
    }
    let excluded: Vec<&str> = query.all("exclude").collect();
    let mut failed = false;
    let mut report = String::new();
    for (name, health) in &checks {
        let line = match health {
            _ if excluded.contains(name) => format!("[+]{name} excluded: ok"),
            Health::Ok => format!("[+]{name} ok"),
            Health::Failed(reason) => {
                failed = true;
                // Anybody may ask: the reason is for the log, and for who may see the check itself.
                tracing::warn!(endpoint, check = name, reason, "a health check failed");
                format!("[-]{name} failed: reason withheld")
            }
        };
        let _ = writeln!(report, "{line}");
    }
    let unknown: Vec<String> = excluded
        .iter()
        .filter(|name| !checks.iter().any(|(check, _)| check == *name))
        .map(|name| format!("{name:?}"))
        .collect();
    if !unknown.is_empty() {
        let _ = writeln!(report, "warn: some health checks cannot be excluded: no matches for {}", unknown.join(", "));
    }
    if failed {
        let _ = writeln!(report, "{endpoint} check failed");
        return Ok(respond::plain(StatusCode::INTERNAL_SERVER_ERROR, TEXT, report));
    }
    if query.get("verbose").is_some() {
        let _ = writeln!(report, "{endpoint} check passed");
        return Ok(respond::plain(StatusCode::OK, TEXT, report));
    }
    Ok(respond::plain(StatusCode::OK, TEXT, "ok"))
}
