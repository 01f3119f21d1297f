//! DELETE (`registry/rest/delete.go`, `generic/registry/store.go`): at once, or by marking the object, when a grace
//! period, a finalizer or a namespace's contents stand in the way.

use super::selection::Selection;
use super::{Call, Outcome, namespace, services, success};
use crate::admission::{Beside, Operation, Options, Request};
use crate::crd::present::{self, Encoded};
use crate::negotiate::Shape;
use crate::objects;
use crate::request::{DeleteOptions, ListOptions, Preconditions, Propagation};
use crate::{body, negotiate, respond};
use api::{Resource, Status, Verb, meta};
use axum::body::Body;
use bytes::Bytes;
use futures::{StreamExt as _, TryStreamExt as _, stream};
use http::{Response, StatusCode};
use serde_json::{Value, json};
use std::sync::Arc;
use store::{Entry, Snapshot, Txn};

const ATTEMPTS: usize = 100;
/// How many objects of a collection are being deleted at once.
const PARALLEL: usize = 32;
const ORPHAN: &str = "orphan";
const FOREGROUND: &str = "foregroundDeletion";

pub(super) async fn delete(call: &Call<'_>, request_body: Body) -> Result<Response<Body>, Status> {
    let options = read_options(call, request_body).await?;
    let deleted = one(call, call.name(), &options).await?;
    match deleted {
        Deleted::Pending(outcome) if options.propagation == Some(Propagation::Cascading) => {
            call.show(StatusCode::ACCEPTED, &outcome)
        }
        Deleted::Pending(outcome) => call.show(StatusCode::OK, &outcome),
        Deleted::Gone { outcome, .. } if returns_object(call.resource) => call.show(StatusCode::OK, &outcome),
        Deleted::Gone { uid, .. } => {
            let details =
                json!({"name": call.name(), "group": call.resource.group, "kind": call.resource.plural, "uid": uid});
            Ok(respond::value(call.accept, StatusCode::OK, &success(StatusCode::OK, without_empty(details))))
        }
    }
}

/// DELETE of a collection: each object that the selectors select, as they are now.
pub(super) async fn collection(call: &Call<'_>, request_body: Body) -> Result<Response<Body>, Status> {
    let list = ListOptions::parse(&call.query, Verb::DeleteCollection, call.resource)?;
    let options = read_options(call, request_body).await?;
    let selection = Selection::new(call.resource, call.namespace(), "", &list);
    let snapshot = call.core.latest().await?;
    let selected = super::list::selected(call, &snapshot, &selection).await?;
    let limit = if list.limit == 0 { usize::MAX } else { list.limit };
    let names: Vec<String> =
        selected.iter().take(limit).map(|(key, _)| objects::subject(call.resource, key).1.to_owned()).collect();
    let options = &options;
    let outcomes: Vec<Option<Outcome>> = stream::iter(names)
        .map(|name| async move {
            match one(call, &name, options).await {
                Ok(Deleted::Pending(outcome) | Deleted::Gone { outcome, .. }) => Ok(Some(outcome)),
                // Somebody else deleted it: what was wanted.
                Err(error) if error.code == 404 => Ok(None),
                Err(error) => Err(error),
            }
        })
        .buffered(PARALLEL)
        .try_collect()
        .await?;
    let items: Result<Vec<Value>, Status> =
        outcomes.into_iter().flatten().map(|o| objects::parse(call.resource, &o.body, o.revision)).collect();
    Ok(respond::value(call.accept, StatusCode::OK, &deleted_list(call, items?)))
}

/// What was deleted, as the client wants to see it.
fn deleted_list(call: &Call<'_>, mut items: Vec<Value>) -> Value {
    let metadata = json!({"resourceVersion": call.core.store.revision().to_string()});
    let (kind, api_version) = match call.accept.shape {
        Shape::Table(include) => return call.table(&items, metadata, include),
        Shape::Metadata(_) => ("PartialObjectMetadataList", "meta.k8s.io/v1".to_owned()),
        Shape::Full => (call.resource.list_kind.as_ref(), call.resource.api_version()),
    };
    for item in &mut items {
        match call.accept.shape {
            Shape::Metadata(_) => {
                let metadata = item["metadata"].take();
                *item = json!({"kind": "PartialObjectMetadata", "apiVersion": api_version, "metadata": metadata});
            }
            _ if call.resource.custom.is_none() => {
                if let Some(item) = item.as_object_mut() {
                    item.remove("kind");
                    item.remove("apiVersion");
                }
            }
            _ => {}
        }
    }
    json!({"kind": kind, "apiVersion": api_version, "metadata": metadata, "items": items})
}

async fn read_options(call: &Call<'_>, request_body: Body) -> Result<DeleteOptions, Status> {
    let bytes = body::read(call.headers, request_body, call.core.limits.body_bytes).await?;
    let document =
        if bytes.is_empty() { None } else { Some(body::decode(negotiate::body_format(call.headers)?, &bytes)?.0) };
    DeleteOptions::parse(&call.query, document.as_ref())
}

pub(super) enum Deleted {
    /// Marked; finalizers, a grace period or a namespace's contents keep it for now.
    Pending(Outcome),
    Gone {
        outcome: Outcome,
        uid: String,
    },
}

/// Deletes one object of the call's kind and namespace.
///
/// # Errors
/// 404, 409 for failed preconditions, and what admission says.
pub(super) async fn one(call: &Call<'_>, name: &str, options: &DeleteOptions) -> Result<Deleted, Status> {
    let key = objects::key(call.resource, call.namespace(), name);
    let (group, plural) = (&call.resource.group, &call.resource.plural);
    for _ in 0..ATTEMPTS {
        let snapshot = call.core.latest().await?;
        let entry = snapshot.get(&key).ok_or_else(|| Status::not_found(group, plural, name))?;
        let entry = &present::one(call.core, call.resource, entry).await?;
        let old = Old::of(call, name, entry, &snapshot)?;
        check(call, name, &options.preconditions, old.object())?;
        if let Old::Whole(object) = &old {
            admit(call, name, object, &snapshot, options).await?;
        }
        if let Some(deleted) = attempt(call, &key, entry, old, options).await? {
            return Ok(deleted);
        }
    }
    Err(Status::conflict(group, plural, name, super::update::MODIFIED))
}

/// The object as it is before it goes. Of most objects nobody asks for more than their metadata.
enum Old {
    Whole(Value),
    /// Admission has nothing to say about it.
    Metadata(Value),
}

impl Old {
    fn of(call: &Call<'_>, name: &str, entry: &Entry, snapshot: &Snapshot) -> Result<Self, Status> {
        let body = &entry.value.body;
        let concerned = || call.core.admission.concerns(&request(call, name, &mut Value::Null, None, snapshot));
        if reads_contents(call.resource) || concerned() {
            return objects::parse(call.resource, body, Some(entry.mod_revision)).map(Self::Whole);
        }
        objects::parse_metadata(body, entry.mod_revision).map(Self::Metadata)
    }

    /// At least its metadata.
    fn object(&self) -> &Value {
        let (Self::Whole(object) | Self::Metadata(object)) = self;
        object
    }

    fn whole(self, call: &Call<'_>, entry: &Entry) -> Result<Value, Status> {
        match self {
            Self::Whole(object) => Ok(object),
            Self::Metadata(_) => objects::parse(call.resource, &entry.value.body, Some(entry.mod_revision)),
        }
    }
}

/// Kinds whose way out depends on more than their metadata: grace periods, addresses, `spec.finalizers`.
fn reads_contents(resource: &Resource) -> bool {
    matches!(resource.storage.as_ref(), "core/pods" | "core/services" | "core/namespaces")
}

/// One try; `None` when another write came first.
async fn attempt(
    call: &Call<'_>,
    key: &[u8],
    entry: &Arc<Entry>,
    old: Old,
    options: &DeleteOptions,
) -> Result<Option<Deleted>, Status> {
    let object = old.object();
    let grace = call.resource.strategy.deletion_grace_seconds(object, options.grace_period_seconds);
    let finalizers = propagated(call.resource, object, options.propagation);
    let held = match &finalizers {
        Some(finalizers) => !finalizers.is_empty(),
        None => meta::finalizers(object).next().is_some(),
    };
    let unchanged = |body: Bytes| Outcome { body, revision: Some(entry.mod_revision) };
    let dry_run = options.common.is_dry_run();
    if held || grace.unwrap_or(0) > 0 || namespace::holds(call.resource, object) {
        let mut next = old.whole(call, entry)?;
        let changed = finalizers.is_some();
        set_finalizers(&mut next, finalizers);
        let marked = meta::mark_deleted(&mut next, call.core.now(), grace.unwrap_or(0));
        namespace::mark_terminating(call.resource, &mut next);
        if !(marked || changed) {
            return Ok(Some(Deleted::Pending(unchanged(entry.value.body.clone()))));
        }
        let Encoded { stored, shown: body } = call.encode_over(&next, &entry.value.body).await?;
        if dry_run {
            return Ok(Some(Deleted::Pending(unchanged(body))));
        }
        let committed = call.commit(Txn::update(key, entry.mod_revision, stored)).await?;
        return Ok(committed.ok().map(|c| Deleted::Pending(Outcome { body, revision: Some(c.revision) })));
    }
    let uid = meta::uid(object).to_owned();
    if dry_run {
        return Ok(Some(Deleted::Gone { outcome: unchanged(entry.value.body.clone()), uid }));
    }
    let committed = services::commit(call, Txn::remove(key, entry.mod_revision), None, Some(object)).await?;
    Ok(committed.ok().map(|c| Deleted::Gone {
        outcome: Outcome { body: entry.value.body.clone(), revision: Some(c.revision) },
        uid,
    }))
}

fn check(call: &Call<'_>, name: &str, preconditions: &Preconditions, object: &Value) -> Result<(), Status> {
    // Of what stands in the way Kubernetes names the kind here, not the resource.
    let conflict = |why: String| Err(Status::conflict(&call.resource.group, &call.resource.kind, name, why));
    if let Some(wanted) = &preconditions.uid
        && wanted != meta::uid(object)
    {
        let actual = meta::uid(object);
        return conflict(format!(
            "the UID in the precondition ({wanted}) does not match the UID in record ({actual}). The object might have been deleted and then recreated"
        ));
    }
    if let Some(wanted) = &preconditions.resource_version
        && wanted != meta::resource_version(object)
    {
        let actual = meta::resource_version(object);
        return conflict(format!(
            "the ResourceVersion in the precondition ({wanted}) does not match the ResourceVersion in record ({actual}). The object might have been modified"
        ));
    }
    Ok(())
}

async fn admit(
    call: &Call<'_>,
    name: &str,
    old: &Value,
    snapshot: &Snapshot,
    options: &DeleteOptions,
) -> Result<(), Status> {
    // An eviction has been admitted as such, as in Kubernetes.
    if call.request.subresource == "eviction" {
        return Ok(());
    }
    let mut nothing = Value::Null;
    let mut admission = request(call, name, &mut nothing, Some(old), snapshot);
    admission.dry_run = options.common.is_dry_run();
    admission.beside.options = Options::Delete(options);
    call.core.admission.mutate(&mut admission).await?;
    call.core.admission.validate(&mut admission).await
}

/// The delete as admission sees it.
fn request<'a>(
    call: &'a Call<'_>,
    name: &'a str,
    nothing: &'a mut Value,
    old: Option<&'a Value>,
    snapshot: &'a Snapshot,
) -> Request<'a> {
    Request {
        core: call.core,
        operation: Operation::Delete,
        resource: call.resource,
        subresource: "",
        namespace: call.namespace(),
        name,
        user: call.user,
        object: nothing,
        old,
        snapshot,
        dry_run: false,
        beside: Beside::default(),
        warnings: &call.warnings,
    }
}

/// The finalizers that the policy wants, the garbage collector's among them, if they are others than those that are there.
fn propagated(resource: &Resource, object: &Value, policy: Option<Propagation>) -> Option<Vec<String>> {
    let before: Vec<&str> = meta::finalizers(object).collect();
    let had = |name: &str| before.contains(&name);
    let wanted = match policy {
        Some(Propagation::Orphan) => Some(ORPHAN),
        Some(Propagation::Foreground) => Some(FOREGROUND),
        Some(Propagation::Background | Propagation::Cascading) => None,
        // Without a policy the finalizers that are there decide, then the kind's default.
        None if had(ORPHAN) => Some(ORPHAN),
        None if had(FOREGROUND) => Some(FOREGROUND),
        None if orphans_by_default(resource) => Some(ORPHAN),
        None => None,
    };
    let others = before.iter().copied().filter(|f| *f != ORPHAN && *f != FOREGROUND);
    let after: Vec<&str> = others.chain(wanted).collect();
    let same = after.len() == before.len() && after.iter().all(|f| before.contains(f));
    (!same).then(|| after.into_iter().map(String::from).collect())
}

/// Gives the object these finalizers; `None`: it keeps its own.
fn set_finalizers(object: &mut Value, finalizers: Option<Vec<String>>) {
    let (Some(finalizers), Some(metadata)) = (finalizers, meta::metadata_mut(object)) else { return };
    if finalizers.is_empty() {
        metadata.remove("finalizers");
    } else {
        metadata.insert("finalizers".into(), json!(finalizers));
    }
}

/// The old kinds that keep their dependents unless told otherwise (`DefaultGarbageCollectionPolicy`).
fn orphans_by_default(resource: &Resource) -> bool {
    matches!((resource.group.as_ref(), resource.plural.as_ref()), ("", "replicationcontrollers") | ("batch", "jobs"))
}

/// Whether a delete that took effect at once answers with the object (`ReturnDeletedObject`) and not with a Status.
fn returns_object(resource: &Resource) -> bool {
    resource.group.is_empty()
        && matches!(
            resource.plural.as_ref(),
            "pods"
                | "services"
                | "namespaces"
                | "persistentvolumes"
                | "persistentvolumeclaims"
                | "serviceaccounts"
                | "resourcequotas"
                | "podtemplates"
        )
}

fn without_empty(mut details: Value) -> Value {
    if let Some(map) = details.as_object_mut() {
        map.retain(|_, value| value != "");
    }
    details
}
