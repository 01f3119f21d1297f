//! Every request's way through the server: parse → authenticate → bound → authorize → answer → count.
//! A panic below ends as a 500 for its own client only.

use crate::audit_id;
use crate::authn;
use crate::authz::{self, Attributes, Target};
use crate::core::Core;
use crate::endpoints::{
    self,
    metrics::{Counted, Metrics, one_more},
};
use crate::negotiate::Accept;
use crate::nodes::tunnel;
use crate::peers;
use crate::registry;
use crate::request::{Query, RequestInfo, ResourceRequest, duration};
use crate::respond;
use crate::user::{MASTERS, User};
use crate::websocket;
use api::{Reason, Status};
use axum::body::Body;
use futures::FutureExt as _;
use http::request::Parts;
use http::{Method, Request, Response, StatusCode};
use http_body::Body as _;
use http_body_util::BodyExt as _;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::{Duration, Instant};

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
        one_more(&core.metrics.panics);
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
    count(core, &parts, &info, &mut response, started.elapsed());
    if matches!(caller, Caller::Network(_)) {
        audit_id::name(&parts.headers, response.headers_mut());
    }
    response
}

/// Errors go out as YAML only to who asked for YAML.
fn error_format(parts: &Parts) -> Accept {
    let accept = Accept::parse(&parts.headers).unwrap_or(Accept::JSON);
    Accept { gzip: false, ..accept }.prettily(&parts.headers, &Query::of(&parts.uri))
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
    let entered =
        authenticate(core, caller, parts, info).and_then(|user| authorize(core, &user, parts, info).map(|()| user));
    let user = match entered {
        Ok(user) => user,
        Err(status) if status.code == 403 => return Ok(respond::forbidden(error_format(parts), &status)),
        Err(status) => return Err(status),
    };
    let query = Query::of(&parts.uri);
    if endpoints::skiff::concerns(info.path) {
        return endpoints::skiff::serve(core, &user, parts, &query, body).await;
    }
    let Some(resource) = &info.resource else {
        return endpoints::serve(core, info, &parts.headers, &query).await;
    };
    if parts.method == Method::HEAD && is_built_in(core, resource) {
        return Err(registry::method_not_allowed());
    }
    if is_tunnel(resource) {
        return tunnel::accept(core, &resource.name, &user, &parts.headers, upgrade);
    }
    if is_kubelet(resource) {
        return peers::serve(core, &resource.name, &user, &query).await;
    }
    if resource.is_long_running() {
        let response = registry::serve(core, resource, (&parts.headers, query), &user, body).await?;
        if websocket::is_wanted(parts, resource) {
            return websocket::carry(parts, resource, upgrade, response);
        }
        return Ok(response);
    }
    let _place = match caller {
        Caller::Network(_) => Some(core.in_flight.enter(resource.verb)?),
        Caller::Local(_) => None,
    };
    let most = core.limits.request_timeout;
    let wished = duration::timeout(query.get("timeout"))?.filter(|wished| *wished < most);
    let work = registry::serve(core, resource, (&parts.headers, query), &user, body);
    tokio::time::timeout(wished.unwrap_or(most), work).await.unwrap_or_else(|_| Err(too_slow(wished)))
}

fn too_slow(wished: Option<Duration>) -> Status {
    let why = match wished {
        Some(_) => "Timeout: request did not complete within requested timeout - context deadline exceeded",
        None => "Timeout: request did not complete within the allotted timeout",
    };
    Status::new(Reason::Timeout, why)
}

/// Who asks, or in whose name.
fn authenticate(core: &Core, caller: &Caller, parts: &Parts, info: &RequestInfo<'_>) -> Result<Arc<User>, Status> {
    let user = match caller {
        Caller::Local(user) | Caller::Network(Some(user)) => Arc::clone(user),
        Caller::Network(None) => {
            let hidden = websocket::authorization(&parts.headers);
            let headers = hidden.as_ref().unwrap_or(&parts.headers);
            let found = core.tokens.authenticate(headers, core.now()).map_err(|why| {
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
    let attributes = Attributes::of(info, selector.as_ref());
    core.authorizers.allows(user, &attributes).map_err(|why| forbidden(user, &attributes, &why))
}

/// Kubernetes has no route for HEAD to what it has built in; custom objects take it for a GET.
fn is_built_in(core: &Core, resource: &ResourceRequest<'_>) -> bool {
    let row = core.catalog().kinds.find(resource.group, resource.version, resource.plural);
    row.is_some_and(|row| row.custom.is_none())
}

fn is_tunnel(resource: &ResourceRequest<'_>) -> bool {
    resource.group == "skiff.dev" && resource.plural == "nodes" && resource.subresource == "tunnel"
}

/// Another server asks for a node that is connected here.
fn is_kubelet(resource: &ResourceRequest<'_>) -> bool {
    resource.group == "skiff.dev" && resource.plural == "nodes" && resource.subresource == "kubelet"
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
    let place =
        if namespace.is_empty() { "at the cluster scope".into() } else { format!("in the namespace {namespace:?}") };
    let why = format!("User {:?} cannot {verb} resource {resource:?} in API group {group:?} {place}{tail}", user.name);
    Status::forbidden(group, plural, name, why)
}

/// Notes the answer in the metrics; an open stream for as long as it is open.
fn count(core: &Arc<Core>, parts: &Parts, info: &RequestInfo<'_>, response: &mut Response<Body>, latency: Duration) {
    let row = info
        .resource
        .as_ref()
        .and_then(|request| core.catalog().kinds.find(request.group, request.version, request.plural));
    let counted = Counted::new(info, row.as_ref(), &parts.headers, parts.uri.query());
    let code = response.status();
    let streams = info.resource.as_ref().is_some_and(ResourceRequest::is_long_running) && code == StatusCode::OK;
    let size = if streams { None } else { response.body().size_hint().exact() };
    core.metrics.record(&counted, code.as_u16(), latency, size);
    if streams {
        let open = Metrics::stream(core, &counted);
        let body = std::mem::replace(response.body_mut(), Body::empty());
        *response.body_mut() = Body::new(body.map_frame(move |frame| {
            let _ = &open;
            frame
        }));
    }
}
