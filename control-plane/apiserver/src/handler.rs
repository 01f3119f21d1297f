//! Every request's way through the server: parse → authenticate → bound → authorize → answer → count.
//! A panic below ends as a 500 for its own client only.

use crate::authn;
use crate::authz::{self, Attributes, Target};
use crate::core::Core;
use crate::endpoints::{self, metrics::Label};
use crate::negotiate::Accept;
use crate::nodes::tunnel;
use crate::peers;
use crate::registry;
use crate::request::{Query, RequestInfo, ResourceRequest};
use crate::respond;
use crate::user::{MASTERS, User};
use api::kinds::Text;
use api::{Reason, Status};
use axum::body::Body;
use futures::FutureExt as _;
use http::request::Parts;
use http::{Method, Request, Response};
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

/// Where a request comes from.
#[derive(Clone)]
pub(crate) enum Caller {
    /// From the network, with the user of its client certificate if it has one.
    Network(Option<Arc<User>>),
    /// From a component in this process.
    Local(Arc<User>),
}

/// Answers one request.
pub(crate) async fn handle(core: &Arc<Core>, caller: Caller, request: Request<Body>) -> Response<Body> {
    let started = Instant::now();
    let (mut parts, body) = request.into_parts();
    let upgrade = parts.extensions.remove();
    let parts = parts;
    let info = RequestInfo::parse(&parts.method, &parts.uri);
    let is_head = parts.method == Method::HEAD;
    let work = AssertUnwindSafe(answer(core, &caller, &parts, &info, body, upgrade)).catch_unwind();
    let result = work.await.unwrap_or_else(|panic| {
        core.metrics.panics.fetch_add(1, Ordering::Relaxed);
        tracing::error!(method = %parts.method, path = info.path, panic = panic_text(&*panic), "a request panicked");
        Err(Status::internal("the server failed at this request; its log says why"))
    });
    let mut response = match result {
        Ok(response) => response,
        Err(status) => respond::error(error_format(&parts), &status),
    };
    if is_head {
        *response.body_mut() = Body::empty();
    }
    core.metrics.record(label(core, &info, response.status().as_u16()), started.elapsed());
    response
}

/// Errors go out as YAML only to who asked for YAML.
fn error_format(parts: &Parts) -> Accept {
    Accept::parse(&parts.headers).map_or(Accept::JSON, |accept| Accept { gzip: false, ..accept })
}

fn panic_text(panic: &(dyn std::any::Any + Send)) -> &str {
    panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("no message")
}

async fn answer(
    core: &Arc<Core>,
    caller: &Caller,
    parts: &Parts,
    info: &RequestInfo<'_>,
    body: Body,
    upgrade: Option<hyper::upgrade::OnUpgrade>,
) -> Result<Response<Body>, Status> {
    let user = authenticate(core, caller, parts, info)?;
    authorize(core, &user, parts, info)?;
    let query = Query::of(&parts.uri);
    if endpoints::skiff::concerns(info.path) {
        return endpoints::skiff::serve(core, &user, parts, &query, body).await;
    }
    let Some(resource) = &info.resource else {
        return endpoints::serve(core, info, &parts.headers, &query).await;
    };
    if is_tunnel(resource) {
        return tunnel::accept(core, &resource.name, &user, &parts.headers, upgrade);
    }
    if is_kubelet(resource) {
        return peers::serve(core, &resource.name, &user, &query).await;
    }
    if resource.is_long_running() {
        return registry::serve(core, resource, (&parts.headers, query), &user, body).await;
    }
    let _place = match caller {
        Caller::Network(_) => Some(core.in_flight.try_acquire().map_err(|_| busy(core))?),
        Caller::Local(_) => None,
    };
    let work = registry::serve(core, resource, (&parts.headers, query), &user, body);
    tokio::time::timeout(core.limits.request_timeout, work).await.unwrap_or_else(|_| {
        Err(Status::new(Reason::Timeout, "Timeout: request did not complete within the allotted timeout"))
    })
}

/// Who asks, or in whose name.
fn authenticate(core: &Core, caller: &Caller, parts: &Parts, info: &RequestInfo<'_>) -> Result<Arc<User>, Status> {
    let user = match caller {
        Caller::Local(user) | Caller::Network(Some(user)) => Arc::clone(user),
        Caller::Network(None) => {
            let found = core.tokens.authenticate(&parts.headers, core.now()).map_err(|why| {
                tracing::debug!(%why, path = info.path, "a bearer token was refused");
                authn::unauthorized()
            })?;
            match found {
                Some(user) => user,
                None if core.authorizers.takes_anonymous() || authn::is_public(info.path) => {
                    Arc::new(User::anonymous())
                }
                None => return Err(authn::unauthorized()),
            }
        }
    };
    let other = authn::impersonation::user(&core.authorizers, &user, &parts.headers)?;
    Ok(other.map_or(user, Arc::new))
}

fn authorize(core: &Core, user: &User, parts: &Parts, info: &RequestInfo<'_>) -> Result<(), Status> {
    if user.is_in(MASTERS) || authn::is_public(info.path) {
        return Ok(());
    }
    let selector = authz::field_selector(info, parts.uri.query());
    let attributes = Attributes::of(info, &selector);
    core.authorizers.allows(user, &attributes).map_err(|why| forbidden(user, &attributes, &why))
}

fn is_tunnel(resource: &ResourceRequest<'_>) -> bool {
    resource.group == "skiff.dev" && resource.plural == "nodes" && resource.subresource == "tunnel"
}

/// Another server asks for a node that is connected here.
fn is_kubelet(resource: &ResourceRequest<'_>) -> bool {
    resource.group == "skiff.dev" && resource.plural == "nodes" && resource.subresource == "kubelet"
}

fn busy(core: &Core) -> Status {
    core.metrics.rejected.fetch_add(1, Ordering::Relaxed);
    Status::new(Reason::TooManyRequests, "Too many requests, please try again later.").with_retry_after(1)
}

/// `pods is forbidden: User "x" cannot list resource "pods" in API group "" in the namespace "y"`.
pub(crate) fn forbidden(user: &User, attributes: &Attributes<'_>, why: &str) -> Status {
    let verb = attributes.verb;
    let tail = if why.is_empty() { String::new() } else { format!(": {why}") };
    let (group, plural, subresource, namespace, name) = match attributes.target {
        Target::Path(path) => {
            let message = format!("forbidden: User {:?} cannot {verb} path {path:?}{tail}", user.name);
            let mut status = Status::new(Reason::Forbidden, message);
            status.details = Some(Box::default());
            return status;
        }
        Target::Resource { group, resource, subresource, namespace, name, .. } => {
            (group, resource, subresource, namespace, name)
        }
    };
    let resource = if subresource.is_empty() { plural.to_owned() } else { format!("{plural}/{subresource}") };
    let place = if namespace.is_empty() {
        "at the cluster scope".into()
    } else {
        format!("in the namespace {namespace:?}")
    };
    let why =
        format!("User {:?} cannot {verb} resource {resource:?} in API group {group:?} {place}{tail}", user.name);
    Status::forbidden(group, plural, name, why)
}

fn label(core: &Core, info: &RequestInfo<'_>, code: u16) -> Label {
    let empty = || Text::Borrowed("");
    let unknown = Label {
        verb: info.verb_name(),
        group: empty(),
        version: empty(),
        resource: empty(),
        subresource: empty(),
        code,
    };
    let Some(request) = &info.resource else { return unknown };
    let Some(row) = core.catalog().kinds.find(request.group, request.version, request.plural) else { return unknown };
    let subresource = row.subresource(request.subresource).map_or_else(empty, |sub| sub.name.clone());
    Label {
        group: row.group.clone(),
        version: row.version.clone(),
        resource: row.plural.clone(),
        subresource,
        ..unknown
    }
}
