//! A request as one webhook sees it: in the version that its rule names, a scale as a `Scale`, and back again with what the
//! webhook has changed.

use super::conditions::Facts;
use super::config::Hook;
use super::matching::{Match, matches};
use super::review::{self, Seen};
use super::rights;
use crate::admission::Request;
use crate::crd::present;
use crate::objects;
use crate::registry::scale;
use api::apply::Managed;
use api::kinds::ScalePaths;
use api::{Resource, Status, meta, patch, schema};
use serde_json::Value;
use std::sync::Arc;

/// What a webhook is to see.
pub(super) struct View<'a> {
    pub uid: String,
    /// The request of the review, without its objects.
    pub facts: Value,
    row: Arc<Resource>,
    /// Where they are not those of the request.
    object: Option<Value>,
    old: Option<Value>,
    /// The objects are shown as `Scale`.
    scale: Option<&'a ScalePaths>,
}

const NULL: &Value = &Value::Null;

impl<'a> View<'a> {
    /// The view of a hook that the request concerns.
    ///
    /// # Errors
    /// 403 when its conditions cannot be judged, 500 when the object cannot be shown in the version it wants.
    pub(super) async fn of(hook: &Hook, request: &Request<'a>) -> Result<Option<Self>, Status> {
        let Some(Match { row }) = matches(hook, request)? else { return Ok(None) };
        let resource: &'a Arc<Resource> = request.resource;
        let scale = resource.subresource(request.subresource).and_then(|sub| sub.scale.as_ref());
        let mut view =
            Self { uid: uuid::Uuid::new_v4().to_string(), facts: Value::Null, row, object: None, old: None, scale };
        view.object = view.shown(request, request.object, request.beside.owners()).await?;
        view.old = match request.old {
            Some(old) => view.shown(request, old, request.beside.old_owners).await?,
            None => None,
        };
        view.facts = review::facts(request, &view.seen(request), &view.uid);
        if !hook.conditions.is_empty() {
            let seen = view.seen(request);
            // Conditions are about the resource of the request itself, whichever version the webhook is shown.
            let mut own = None;
            if !Arc::ptr_eq(&view.row, request.resource) {
                let facts = own.insert(view.facts.clone());
                facts["resource"] = facts["requestResource"].clone();
            }
            let facts = Facts { request: own.as_ref().unwrap_or(&view.facts), object: seen.object, old: seen.old };
            let rights = hook.conditions.ask_about_rights().then(|| rights::of(request));
            let holds = hook.conditions.hold(&facts, rights.as_ref(), hook.failure);
            return Ok(holds.map_err(|why| request.forbidden(why))?.then_some(view));
        }
        Ok(Some(view))
    }

    /// The object in this view, with its `managedFields`; `None`: as it is.
    async fn shown(
        &self,
        request: &Request<'_>,
        object: &Value,
        owners: Option<&str>,
    ) -> Result<Option<Value>, Status> {
        if !object.is_object() {
            return Ok(None);
        }
        if let Some(paths) = self.scale {
            return Ok(Some(scale::view(object, paths)));
        }
        let converted = convert(request, (request.resource, &self.row), object).await?;
        let Some(owners) = owners.and_then(|text| serde_json::from_str(text).ok()) else { return Ok(converted) };
        let mut shown = converted.unwrap_or_else(|| object.clone());
        if let Some(metadata) = meta::metadata_mut(&mut shown) {
            metadata.insert("managedFields".into(), owners);
        }
        Ok(Some(shown))
    }

    pub(super) fn seen<'s>(&'s self, request: &'s Request<'_>) -> Seen<'s> {
        Seen {
            row: &self.row,
            kind: kind(&self.row, request.subresource),
            request_kind: kind(request.resource, request.subresource),
            object: self.object.as_ref().unwrap_or(&*request.object),
            old: self.old.as_ref().or(request.old).unwrap_or(NULL),
        }
    }

    /// Changes the request's object as the webhook wants it. Returns whether it is another since.
    ///
    /// # Errors
    /// 500 for a patch that does not apply, or that makes of the object what it cannot be.
    pub(super) async fn apply(&self, hook: &Hook, request: &mut Request<'_>, patch: &Value) -> Result<bool, Status> {
        if !request.object.is_object() {
            return Err(Status::internal(format_args!(
                "admission webhook {:?} attempted to modify the object, which is not supported for this operation",
                hook.name
            )));
        }
        let before = self.object.as_ref().unwrap_or(&*request.object);
        let mut after = patch::json(before, patch).map_err(|error| Status::internal(error.message))?;
        let same = |field: &str| after.get(field) == before.get(field);
        if !after.is_object() || !same("kind") || !same("apiVersion") {
            return Err(Status::internal(format_args!(
                "admission webhook {:?} made another kind of the object",
                hook.name
            )));
        }
        let given = objects::take_owners(&mut after);
        let disowned = given.as_ref() != before.pointer("/metadata/managedFields");
        if let Some(paths) = self.scale {
            let (from, to) = (replicas(before), replicas(&after));
            if from != to {
                scale::set(request.object, &paths.spec_replicas, to.into());
            }
            return Ok(from != to);
        }
        if kind(&self.row, request.subresource).2 == self.row.kind {
            self.row.check(&after).map_err(|error| Status::internal(error.message))?;
            schema::prune(self.row.schema.get(), &mut after);
            if let Some(converted) = convert(request, (&self.row, request.resource), &after).await? {
                after = converted;
            }
            meta::ensure_namespace(request.resource, &mut after, request.namespace)?;
            request.resource.strategy.default(&mut after);
            if let Some(old) = request.old {
                meta::default_update(&mut after, old);
            }
        }
        let changed = after != *request.object;
        *request.object = after;
        Ok(changed | (disowned && disown(request, given)))
    }
}

/// Takes over the `managedFields` that a webhook has left. Whether they can be.
fn disown(request: &mut Request<'_>, given: Option<Value>) -> bool {
    let text = given.filter(|given| given != &Value::Array(Vec::new())).map(|given| given.to_string());
    if let Some(Err(why)) = text.as_deref().map(Managed::parse) {
        request.warn(format!(
            ".metadata.managedFields was in an invalid state after admission; this could be caused by an outdated mutating admission controller; please fix your requests: {why}"
        ));
        return false;
    }
    request.beside.owners_made = Some(text);
    true
}

/// Group, version and kind of what is written: a subresource may speak another kind than the object is.
fn kind<'r>(row: &'r Resource, subresource: &str) -> (&'r str, &'r str, &'r str) {
    match row.subresource(subresource) {
        Some(sub) => (&sub.group, &sub.version, &sub.kind),
        None => (&row.group, &row.version, &row.kind),
    }
}

/// An object of `from` as `to` has it; `None`: it is the same.
async fn convert(
    request: &Request<'_>,
    (from, to): (&Arc<Resource>, &Arc<Resource>),
    object: &Value,
) -> Result<Option<Value>, Status> {
    if Arc::ptr_eq(from, to) {
        return Ok(None);
    }
    if to.custom.is_some() {
        return present::between(request.core, to, object.clone()).await.map(Some);
    }
    Ok(Some(objects::between(object, from, to)))
}

fn replicas(scale: &Value) -> i64 {
    scale.pointer("/spec/replicas").and_then(Value::as_i64).unwrap_or(0)
}
