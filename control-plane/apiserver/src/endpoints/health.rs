//! `/healthz`, `/livez`, `/readyz`, each with `?verbose`, `?exclude=NAME` and a path per check
//! (`apiserver/pkg/server/healthz/healthz.go`). Checks bear Kubernetes' names where the thing that they are about is here.

use crate::core::Core;
use crate::request::Query;
use crate::respond;
use api::Status;
use axum::body::Body;
use http::{Response, StatusCode};
use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::time::Duration;

/// What a start does before the server is ready: admission, the table of kinds with its CRDs, the system's namespaces,
/// roles and priority classes, the server's own Service and the range of its address.
const STARTED: [&str; 9] = [
    "poststarthook/start-apiserver-admission-initializer",
    "poststarthook/generic-apiserver-start-informers",
    "poststarthook/start-apiextensions-controllers",
    "poststarthook/crd-informer-synced",
    "poststarthook/start-system-namespaces-controller",
    "poststarthook/rbac/bootstrap-roles",
    "poststarthook/scheduling/bootstrap-system-priority-classes",
    "poststarthook/bootstrap-controller",
    "poststarthook/start-kubernetes-service-cidr-controller",
];

#[derive(Clone, Copy, PartialEq, Eq)]
enum Health {
    Ok,
    Failed(&'static str),
}

/// How long the store's backend may take to answer a check (`--etcd-readycheck-timeout`).
const STORE_TIMEOUT: Duration = Duration::from_secs(2);

/// The checks of an endpoint, in the order of its report.
pub(super) fn names(endpoint: &str) -> impl Iterator<Item = &'static str> {
    let (store, end): (&[&str], &[&str]) = match endpoint {
        "readyz" => (&["etcd-readiness", "informer-sync"], &["shutdown"]),
        _ => (&[], &[]),
    };
    [&["ping", "log", "etcd"], store, STARTED.as_slice(), end].concat().into_iter()
}

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

/// The store is asked only where a check wants to know, and once.
async fn judge(core: &Core, endpoint: &str, checks: Vec<&'static str>) -> Vec<(&'static str, Health)> {
    let about_store = |check: &str| matches!(check, "etcd" | "etcd-readiness");
    let store = if checks.iter().any(|check| about_store(check)) { store(core, endpoint).await } else { Health::Ok };
    let ready = core.is_ready();
    let verdict = |check| match check {
        "ping" | "log" => Health::Ok,
        check if about_store(check) => store,
        "shutdown" if core.shutdown.is_cancelled() => Health::Failed("process is shutting down"),
        "shutdown" => Health::Ok,
        _ if ready => Health::Ok,
        "informer-sync" => Health::Failed("informers not started yet"),
        _ => Health::Failed("not finished"),
    };
    checks.into_iter().map(|check| (check, verdict(check))).collect()
}

pub(super) async fn serve(
    core: &Core,
    endpoint: &str,
    rest: &[&str],
    query: &Query<'_>,
) -> Result<Response<Body>, Status> {
    if rest.is_empty() {
        return Ok(all(core, endpoint, query).await);
    }
    let name = rest.join("/");
    let Some(check) = names(endpoint).find(|check| *check == name) else { return Ok(respond::nowhere()) };
    let failed = judge(core, endpoint, vec![check]).await.into_iter().find_map(|(_, health)| match health {
        Health::Ok => None,
        Health::Failed(reason) => Some(reason),
    });
    Ok(match failed {
        None => respond::plain(StatusCode::OK, "text/plain; charset=utf-8", "ok"),
        Some(reason) => {
            respond::text_plain(StatusCode::INTERNAL_SERVER_ERROR, format!("internal server error: {reason}\n"))
        }
    })
}

async fn all(core: &Core, endpoint: &str, query: &Query<'_>) -> Response<Body> {
    let mut unknown: BTreeSet<&str> = query.all("exclude").collect();
    let (excluded, asked): (Vec<&str>, Vec<&str>) = names(endpoint).partition(|check| unknown.remove(check));
    let mut verdicts = judge(core, endpoint, asked).await.into_iter();
    let mut failed = false;
    let mut report = String::new();
    for name in names(endpoint) {
        let line = match excluded.contains(&name) {
            true => format!("[+]{name} excluded: ok"),
            false => match verdicts.next() {
                Some((_, Health::Failed(reason))) => {
                    failed = true;
                    // Anybody may ask: the reason is for the log, and for who may see the check itself.
                    tracing::warn!(endpoint, check = name, reason, "a health check failed");
                    format!("[-]{name} failed: reason withheld")
                }
                _ => format!("[+]{name} ok"),
            },
        };
        let _ = writeln!(report, "{line}");
    }
    if !unknown.is_empty() {
        let unknown: Vec<String> = unknown.iter().map(|name| format!("{name:?}")).collect();
        let _ = writeln!(report, "warn: some health checks cannot be excluded: no matches for {}", unknown.join(", "));
    }
    if failed {
        let _ = writeln!(report, "{endpoint} check failed");
        return respond::text_plain(StatusCode::INTERNAL_SERVER_ERROR, report);
    }
    if query.get("verbose").is_none() {
        return respond::text_plain(StatusCode::OK, "ok");
    }
    let _ = writeln!(report, "{endpoint} check passed");
    respond::text_plain(StatusCode::OK, report)
}
