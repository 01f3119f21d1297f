//! The one generic pipeline: every verb on every kind, built-in or not. What is particular to a kind comes from its
//! row in the kinds table, from its strategy, or from a subresource's own file here.

mod admit;
mod apply;
mod binding;
mod charge;
mod components;
mod connect;
mod create;
mod delete;
mod eviction;
mod frames;
mod get;
mod input;
mod list;
mod log;
mod namespace;
mod owners;
mod page_token;
mod patch;
mod remove;
mod reviews;
pub(crate) mod scale;
mod selection;
mod services;
mod token;
mod update;
mod versions;
mod watch;

pub(crate) use page_token::rewritten as rewritten_token;
pub(crate) use remove::{Object, Removed, remove};

use crate::core::Core;
use crate::crd::{
    self,
    present::{self, Encoded},
};
use crate::negotiate::{self, Accept, Asked, Owners, Shape};
use crate::request::{Query, ResourceRequest};
use crate::user::User;
use crate::{objects, respond};
use api::kinds::{LazySchema, Subresource};
use api::table::{self, IncludeObject};
use api::{Reason, Resource, Scope, Status, Verb};
use axum::body::Body;
use bytes::{Bytes, BytesMut};
use http::{HeaderMap, Response, StatusCode};
use parking_lot::Mutex;
use serde_json::{Value, json};
use std::sync::Arc;
use store::Revision;

/// One request about a resource, with all that its verb needs.
pub(crate) struct Call<'a> {
    pub core: &'a Arc<Core>,
    pub request: &'a ResourceRequest<'a>,
    pub headers: &'a HeaderMap,
    pub query: Query<'a>,
    pub resource: &'a Arc<Resource>,
    pub user: &'a Arc<User>,
    pub accept: Accept,
    warnings: Mutex<Vec<String>>,
}

/// An object as a verb leaves it.
pub(crate) struct Outcome {
    /// In the stored form.
    pub body: Bytes,
    /// `None`: it was never stored (a dry run's).
    pub revision: Option<Revision>,
}

/// Answers a request about a resource.
///
/// # Errors
/// The Status to send.
pub(crate) async fn serve(
    core: &Arc<Core>,
    request: &ResourceRequest<'_>,
    (headers, query): (&HeaderMap, Query<'_>),
    user: &Arc<User>,
    body: Body,
) -> Result<Response<Body>, Status> {
    let catalog = core.catalog();
    let Some(resource) = catalog.kinds.find(request.group, request.version, request.plural) else {
        return if is_built_in(core, request.group) { Err(unknown_path()) } else { Ok(respond::nowhere()) };
    };
    let verb = request.verb.ok_or_else(method_not_allowed)?;
    if resource.scope == Scope::Cluster && !request.namespace.is_empty() && request.plural != "namespaces" {
        return Err(unknown_path());
    }
    if resource.custom.is_none() {
        negotiate::check_route(headers, verb)?;
    }
    let mut accept = Accept::parse(headers)?.prettily(headers, &query);
    match &mut accept.shape {
        Shape::Full => {}
        Shape::Table(include) => *include = include_object(&query)?,
        Shape::Metadata(asked) => check_shape(&resource, verb, *asked)?,
    }
    check_name(request)?;
    let call = Call { core, request, headers, query, resource: &resource, user, accept, warnings: Mutex::default() };
    call.add_warnings(resource.deprecation().map(String::from));
    let answered = if request.subresource.is_empty() {
        main(&call, verb, body).await
    } else {
        subresource(&call, verb, body).await
    };
    let mut response = match answered {
        Ok(response) => response,
        // What there was to say on the way belongs to a refusal, too.
        Err(status) if !call.warnings.lock().is_empty() => {
            respond::error(Accept { gzip: false, ..call.accept }, &status)
        }
        Err(status) => return Err(status),
    };
    if resource.group == api::crd::GROUP && !matches!(verb, Verb::Get | Verb::List | Verb::Watch) {
        crd::caught_up(core, &resource).await;
    }
    respond::warn(&mut response, &call.warnings.lock());
    Ok(response)
}

async fn main(call: &Call<'_>, verb: Verb, body: Body) -> Result<Response<Body>, Status> {
    if !call.resource.supports(verb) {
        return Err(if has_route(call) { method_not_allowed() } else { unknown_path() });
    }
    if !call.resource.stored() {
        return match call.resource.kind.as_ref() {
            "Binding" => binding::create(call, body).await,
            "ComponentStatus" => components::read(call, verb).await,
            _ if reviews::concerns(call.resource) => reviews::create(call, body).await,
            other => Err(Status::not_implemented(format_args!("{} of {other}", verb.as_str()))),
        };
    }
    let single = call.resource.namespaced() && call.request.namespace.is_empty();
    match verb {
        Verb::List => list::list(call).await,
        Verb::Watch => watch::watch(call).await,
        // There is no such route, whatever the method.
        _ if single && !call.request.name.is_empty() => Err(unknown_path()),
        _ if single => Err(method_not_allowed()),
        Verb::Create if !call.request.name.is_empty() => Err(method_not_allowed()),
        Verb::Update | Verb::Patch if call.request.name.is_empty() => Err(method_not_allowed()),
        Verb::Get => get::get(call).await,
        Verb::Create => {
            call.resource.custom.as_ref().map_or(Ok(()), api::crd::Custom::check_create)?;
            create::create(call, body).await
        }
        Verb::Update => update::put(call, update::Part::Main, body).await,
        Verb::Patch => patch::patch(call, update::Part::Main, body).await,
        Verb::Delete => delete::delete(call, body).await,
        Verb::DeleteCollection => delete::collection(call, body).await,
    }
}

/// Whether another method would have an answer there.
fn has_route(call: &Call<'_>) -> bool {
    let (resource, request) = (call.resource, call.request);
    let all = resource.namespaced() && request.namespace.is_empty();
    if request.name.is_empty() {
        return resource.supports(Verb::List) || !all && resource.supports(Verb::Create);
    }
    !all && [Verb::Get, Verb::Update, Verb::Patch, Verb::Delete].into_iter().any(|verb| resource.supports(verb))
}

async fn subresource(call: &Call<'_>, verb: Verb, body: Body) -> Result<Response<Body>, Status> {
    let (resource, name) = (call.resource, call.request.subresource);
    let row = resource.subresource(name).ok_or_else(unknown_path)?;
    // `/api/v1/pods/default%2Fweb/log` must not reach what only `…/namespaces/default/pods/web/log` is allowed to.
    if resource.namespaced() && call.request.namespace.is_empty() {
        return Err(unknown_path());
    }
    if !row.verbs.contains(&verb) {
        return Err(method_not_allowed());
    }
    match (name, verb) {
        ("status", Verb::Get) => get::get(call).await,
        ("status", Verb::Update) => update::put(call, update::Part::Status, body).await,
        ("status", Verb::Patch) => patch::patch(call, update::Part::Status, body).await,
        ("approval", Verb::Get) => get::get(call).await,
        ("ephemeralcontainers" | "resize", Verb::Get) => get::get(call).await,
        ("approval" | "ephemeralcontainers" | "resize", Verb::Update) => {
            update::put(call, update::Part::Subresource, body).await
        }
        ("approval" | "ephemeralcontainers" | "resize", Verb::Patch) => {
            patch::patch(call, update::Part::Subresource, body).await
        }
        ("scale", _) => scale::serve(call, row, verb, body).await,
        ("binding", _) => binding::create(call, body).await,
        ("eviction", _) => eviction::create(call, body).await,
        ("finalize", _) => namespace::finalize(call, body).await,
        ("token", _) => token::create(call, body).await,
        ("log", _) => log::log(call).await,
        ("exec" | "attach" | "portforward" | "proxy", _) => connect::connect(call, row).await,
        _ => Err(Status::not_implemented(format_args!("{}/{name}", resource.plural))),
    }
}

impl Call<'_> {
    /// Namespace of the object that is asked for; empty for cluster-scoped kinds, namespaces among them.
    pub(crate) fn namespace(&self) -> &str {
        if self.resource.namespaced() { &self.request.namespace } else { "" }
    }

    pub(crate) fn name(&self) -> &str {
        &self.request.name
    }

    pub(crate) fn key(&self) -> Vec<u8> {
        objects::key(self.resource, self.namespace(), self.name())
    }

    pub(crate) fn not_found(&self) -> Status {
        Status::not_found(&self.resource.group, &self.resource.plural, self.name())
    }

    pub(crate) fn conflict(&self, why: impl std::fmt::Display) -> Status {
        Status::conflict(&self.resource.group, &self.resource.plural, self.name(), why)
    }

    pub(crate) fn invalid(&self, name: &str, errors: &[api::field::Error]) -> Status {
        Status::invalid(&self.resource.group, &self.resource.kind, name, errors)
    }

    /// Drops owner references that occur twice, and says so.
    pub(crate) fn dedup_owners(&self, object: &mut Value) {
        self.add_warnings(api::meta::dedup_owners(object).map(|uids| {
            format!(
                ".metadata.ownerReferences contains duplicate entries; API server dedups owner references in 1.20+, and may reject such requests as early as 1.24; please fix your requests; duplicate UID(s) observed: {uids}"
            )
        }));
    }

    pub(crate) fn add_warnings(&self, warnings: impl IntoIterator<Item = String>) {
        /// Most warnings that one answer has.
        const MAX_WARNINGS: usize = 1_000;
        let mut known = self.warnings.lock();
        for warning in warnings {
            if known.len() >= MAX_WARNINGS {
                break;
            }
            // A write that is tried again warns once.
            if !known.contains(&warning) {
                known.push(warning);
            }
        }
    }

    /// Commits in the name of who asks: see `Core::commit`.
    pub(crate) async fn commit(
        &self,
        txn: store::Txn,
    ) -> Result<Result<store::Committed, crate::core::Conflict>, Status> {
        self.core.commit(&self.user.name, txn).await
    }

    /// `object` in its stored form, dated now.
    ///
    /// # Errors
    /// 500 when a custom object cannot be converted to the version that is stored.
    pub(crate) async fn encode(&self, object: &Value) -> Result<Encoded, Status> {
        present::encode(self.core, self.resource, (object, None), self.core.now().as_second()).await
    }

    /// [`Self::encode`] for an object that takes the place of the one in the stored body `before`.
    ///
    /// # Errors
    /// As [`Self::encode`].
    pub(crate) async fn encode_over(&self, object: &Value, before: &Bytes) -> Result<Encoded, Status> {
        present::encode(self.core, self.resource, (object, Some(before)), self.core.now().as_second()).await
    }

    /// The object of an entry, in the version of the request, with its resourceVersion; its `managedFields` beside it.
    ///
    /// # Errors
    /// 500 when it cannot be read or converted.
    pub(crate) async fn parse_apart(&self, entry: &Arc<store::Entry>) -> Result<objects::Apart, Status> {
        present::parse_apart(self.core, self.resource, entry).await
    }

    /// What the subresource speaks, where that is another kind than the resource's own, and its schema.
    fn spoken(&self) -> Option<(&Subresource, &LazySchema)> {
        let sub = self.resource.subresource(self.request.subresource)?;
        Some((sub, sub.schema.as_ref()?))
    }

    /// The answer that shows one object.
    ///
    /// # Errors
    /// 500 when the object cannot be read.
    pub(crate) fn show(&self, code: StatusCode, outcome: &Outcome) -> Result<Response<Body>, Status> {
        let Outcome { body, revision } = outcome;
        let body = &match self.accept.owners {
            Owners::Shown => body.clone(),
            Owners::Hidden => objects::body_without_owners(body),
        };
        let native = objects::wire::is_native(self.resource);
        match self.accept.shape {
            Shape::Full if native => {
                Ok(respond::json(self.accept, code, objects::wire::object(self.resource, body, *revision)))
            }
            Shape::Full => Ok(respond::value(self.accept, code, &objects::parse(self.resource, body, *revision)?)),
            Shape::Metadata(_) => {
                let mut out = BytesMut::with_capacity(body.len() + 128);
                objects::wire::put_metadata_only(&mut out, self.resource, body, *revision);
                Ok(respond::json(self.accept, code, out.freeze()))
            }
            Shape::Table(include) => {
                let object = objects::parse(self.resource, body, *revision)?;
                let meta = json!({"resourceVersion": api::meta::resource_version(&object)});
                Ok(respond::value(self.accept, code, &self.table([&object], meta, include)))
            }
        }
    }

    pub(crate) fn table<'v>(
        &self,
        objects: impl IntoIterator<Item = &'v Value>,
        meta: Value,
        include: IncludeObject,
    ) -> Value {
        let context = table::Context { wide: true, now: self.core.now() };
        table::render(self.resource, objects, meta, &context, include)
    }
}

fn include_object(query: &Query<'_>) -> Result<IncludeObject, Status> {
    let text = query.get("includeObject").unwrap_or_default();
    IncludeObject::parse(text).ok_or_else(|| {
        Status::bad_request(format!(
            "Unable to convert to Table as requested: includeObject: Invalid value: {text:?}: must be 'Metadata', 'Object', 'None', or empty"
        ))
    })
}

/// Metadata of one object and of a list are different kinds, and who asks for the one cannot read the other.
///
/// # Errors
/// 406, naming the Go type of what there is.
fn check_shape(resource: &Resource, verb: Verb, asked: Asked) -> Result<(), Status> {
    let listed = match verb {
        Verb::Watch => return Ok(()),
        Verb::List | Verb::DeleteCollection => Asked::List,
        _ => Asked::One,
    };
    if listed == asked {
        return Ok(());
    }
    let package = match resource.group.as_ref() {
        "" | "events.k8s.io" => "core",
        group => group.split('.').next().unwrap_or_default(),
    };
    let of = |kind: &str, of_any: &str| match resource.custom {
        Some(_) => format!("*unstructured.{of_any}"),
        None => format!("*{package}.{kind}"),
    };
    let why = match asked {
        Asked::One => {
            let found = of(&resource.list_kind, "UnstructuredList");
            format!("you requested PartialObjectMetadata, but the requested object is a list ({found})")
        }
        Asked::List => {
            let found = of(&resource.kind, "Unstructured");
            format!("you requested PartialObjectMetadataList, but the requested object is not a list ({found})")
        }
    };
    Err(Status::new(Reason::NotAcceptable, why))
}

/// What cannot be part of a path in a store like etcd is nobody's name.
///
/// # Errors
/// 400, and 404 for a name with a slash, which is no name but more of the path.
fn check_name(request: &ResourceRequest<'_>) -> Result<(), Status> {
    let name = request.name.as_ref();
    let why = match name {
        _ if name.contains('/') => return Err(unknown_path()),
        "." => "may not be '.'",
        ".." => "may not be '..'",
        _ if name.contains('%') => "may not contain '%'",
        _ => return Ok(()),
    };
    Err(Status::bad_request(format!("Name parameter invalid: {name:?}: {why}")))
}

/// Whether a group has kinds that are built in.
pub(crate) fn is_built_in(core: &Core, group: &str) -> bool {
    group.is_empty() || core.catalog().kinds.iter().any(|row| row.group == group && row.custom.is_none())
}

/// What unknown paths get.
pub(crate) fn unknown_path() -> Status {
    let mut status = Status::new(Reason::NotFound, "the server could not find the requested resource");
    status.details = Some(Box::default());
    status
}

/// What methods get that a known resource does not have, as in Kubernetes.
pub(crate) fn method_not_allowed() -> Status {
    let mut status =
        Status::new(Reason::MethodNotAllowed, "the server does not allow this method on the requested resource");
    status.details = Some(Box::default());
    status
}

/// `{"kind":"Status",…,"status":"Success"}`.
pub(crate) fn success(code: StatusCode, details: Value) -> Value {
    let mut status = json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success"});
    if details.is_null() {
        status["code"] = code.as_u16().into();
    } else {
        status["details"] = details;
    }
    status
}
