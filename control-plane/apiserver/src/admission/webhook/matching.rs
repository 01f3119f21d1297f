//! Which webhooks a request concerns (`webhook/predicates`, `generic/webhook.go`).

use super::config::{Hook, MatchPolicy, Rule, Scope};
use crate::admission::{Operation, Request};
use crate::objects::Index;
use api::{Resource, Status, meta};
use serde_json::Value;
use std::sync::Arc;

/// That a hook is to be asked, and about which version of the object's kind.
pub(super) struct Match {
    pub row: Arc<Resource>,
}

/// Whether, and as what, `hook` is to see the request.
///
/// # Errors
/// 404 when the namespace whose labels decide is not there.
pub(super) fn matches(hook: &Hook, request: &Request<'_>) -> Result<Option<Match>, Status> {
    let Some(row) = row(hook, request) else { return Ok(None) };
    if !selects_namespace(hook, request)? || !selects_object(hook, request) {
        return Ok(None);
    }
    Ok(Some(Match { row }))
}

/// The row of the kind's version that a rule of the hook names: that of the request, if it may be.
fn row(hook: &Hook, request: &Request<'_>) -> Option<Arc<Resource>> {
    let concerns = |rule: &Rule, row: &Resource| rule_matches(rule, request, row);
    if hook.rules.iter().any(|rule| concerns(rule, request.resource)) {
        return Some(Arc::clone(request.resource));
    }
    if hook.matching == MatchPolicy::Exact || !request.resource.stored() {
        return None;
    }
    let catalog = request.core.catalog();
    let same = |row: &&Arc<Resource>| row.storage == request.resource.storage && !Arc::ptr_eq(row, request.resource);
    let equivalents: Vec<&Arc<Resource>> = catalog.kinds.iter().filter(same).collect();
    // Earlier rules come first.
    let found = hook.rules.iter().find_map(|rule| equivalents.iter().find(|row| concerns(rule, row)));
    found.map(|row| Arc::clone(row))
}

fn is_namespace(request: &Request<'_>) -> bool {
    request.resource.storage == "core/namespaces"
}

fn rule_matches(rule: &Rule, request: &Request<'_>, row: &Resource) -> bool {
    let scope = match rule.scope {
        Scope::All => true,
        Scope::Namespaced => !request.namespace.is_empty(),
        Scope::Cluster => request.namespace.is_empty(),
    };
    let listed = |list: &[String], wanted: &str| list.iter().any(|item| item == "*" || item == wanted);
    scope
        && listed(&rule.operations, request.operation.name())
        && listed(&rule.groups, &row.group)
        && listed(&rule.versions, &row.version)
        && rule.resources.iter().any(|pattern| {
            let (resource, subresource) = pattern.split_once('/').unwrap_or((pattern, ""));
            (resource == "*" || resource == row.plural) && (subresource == "*" || subresource == request.subresource)
        })
}

/// The namespace of the request; of Namespaces their own name.
pub(super) fn namespace<'r>(request: &'r Request<'_>) -> &'r str {
    if is_namespace(request) { request.name } else { request.namespace }
}

fn selects_namespace(hook: &Hook, request: &Request<'_>) -> Result<bool, Status> {
    if hook.namespaces.is_everything() || request.namespace.is_empty() && !is_namespace(request) {
        return Ok(true);
    }
    let written = is_namespace(request) && request.subresource.is_empty() && request.operation.is_write();
    if written {
        return Ok(hook.namespaces.matches_map(meta::labels(request.object)));
    }
    let name = namespace(request);
    let entry = request.snapshot.get(format!("core/namespaces/{name}").as_bytes());
    let entry = entry.ok_or_else(|| Status::not_found("", "namespaces", name))?;
    Ok(hook.namespaces.matches(|key| Index::of(entry).label(key)))
}

fn selects_object(hook: &Hook, request: &Request<'_>) -> bool {
    if hook.objects.is_everything() {
        return true;
    }
    // The options of a stream have no metadata and are never selected; a `Scale` has some, but no labels in it. All else
    // that is written is selected by its own labels: a Binding, an Eviction or a TokenRequest not by those of its object.
    let is_scale = request.resource.subresource(request.subresource).is_some_and(|sub| sub.scale.is_some());
    let selects = |object: &Value| {
        let labels = if is_scale { None } else { meta::labels(object) };
        object.is_object() && hook.objects.matches_map(labels)
    };
    request.operation != Operation::Connect && (selects(request.object) || request.old.is_some_and(selects))
}
