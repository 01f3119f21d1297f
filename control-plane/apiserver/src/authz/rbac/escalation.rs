//! Nobody grants what they do not have: the checks on writes of roles and bindings
//! (`pkg/registry/rbac/*/policybased`). Part of every server whose mode is RBAC, whatever its admission plugins.

use super::index::GROUP;
use super::rules::{Rule, missing};
use crate::admission::{Plugin, Request};
use crate::authz::{Attributes, Authorizers};
use crate::user::{MASTERS, User};
use api::{Status, meta};
use futures::future::{self, BoxFuture};
use serde::Deserialize as _;
use serde_json::Value;
use std::sync::Arc;

/// The checks as a validating plugin.
pub(crate) struct Guard {
    pub authorizers: Arc<Authorizers>,
}

impl Plugin for Guard {
    fn handles(&self, request: &Request<'_>) -> bool {
        request.resource.group == GROUP && request.operation.is_write() && !request.user.is_in(MASTERS)
    }

    fn admit<'a>(&'a self, request: &'a mut Request<'_>) -> BoxFuture<'a, Result<(), Status>> {
        Box::pin(future::ready(self.check(request)))
    }
}

impl Guard {
    fn check(&self, request: &Request<'_>) -> Result<(), Status> {
        if request.old.is_some_and(|old| is_same_but_for_owners(request.object, old)) {
            return Ok(());
        }
        match request.resource.kind.as_ref() {
            "Role" | "ClusterRole" => self.check_role(request),
            "RoleBinding" | "ClusterRoleBinding" => self.check_binding(request),
            _ => Ok(()),
        }
    }

    fn check_role(&self, request: &Request<'_>) -> Result<(), Status> {
        let name = meta::name(request.object);
        let target = (GROUP, request.resource.plural.as_ref());
        let escalate = Attributes::resource("escalate", target, request.namespace, name);
        if self.authorizers.allows(request.user, &escalate).is_ok() {
            return Ok(());
        }
        self.confirm(request, &rules(request.object))?;
        let aggregation = |object: &Value| object.get("aggregationRule").filter(|rule| !rule.is_null()).cloned();
        let wanted = aggregation(request.object);
        if wanted.is_some() && request.old.is_none_or(|old| aggregation(old) != wanted) {
            let everything = [everything_resources(), everything_paths()];
            self.confirm(request, &everything)
                .map_err(|_| refuse(request, "must have cluster-admin privileges to use the aggregationRule"))?;
        }
        Ok(())
    }

    fn check_binding(&self, request: &Request<'_>) -> Result<(), Status> {
        let reference = |field: &str| {
            request.object.pointer(&format!("/roleRef/{field}")).and_then(Value::as_str).unwrap_or_default()
        };
        let (kind, name) = (reference("kind"), reference("name"));
        let plural = match kind {
            "ClusterRole" => "clusterroles",
            "Role" => "roles",
            // Validation has more to say about it.
            _ => return Ok(()),
        };
        let bind = Attributes::resource("bind", (GROUP, plural), request.namespace, name);
        if self.authorizers.allows(request.user, &bind).is_ok() {
            return Ok(());
        }
        let rules = self.authorizers.rbac().rules_of(kind, name, request.namespace);
        let rules = rules.ok_or_else(|| Status::not_found(GROUP, plural, name))?;
        self.confirm(request, &rules)
    }

    fn confirm(&self, request: &Request<'_>, wanted: &[Rule]) -> Result<(), Status> {
        let held = self.authorizers.rbac().held(request.user, request.namespace);
        let own: Vec<&Rule> = held.rules().collect();
        let missing = missing(&own, wanted);
        if missing.is_empty() {
            return Ok(());
        }
        let mut lines: Vec<String> = missing.iter().map(Rule::compact).collect();
        lines.sort();
        let User { name, groups, .. } = request.user;
        let groups = groups.iter().map(|group| format!("{group:?}")).collect::<Vec<_>>().join(" ");
        let mut why = format!(
            "user {name:?} (groups=[{groups}]) is attempting to grant RBAC permissions not currently held:\n{}",
            lines.join("\n")
        );
        // Here Kubernetes asks its storage, which speaks of resources.
        let errors: Vec<String> = held.errors().iter().map(|error| error.replacen("role.", "roles.", 1)).collect();
        if !errors.is_empty() {
            why.push_str(&format!("; resolution errors: [{}]", errors.join(" ")));
        }
        Err(refuse(request, &why))
    }
}

fn refuse(request: &Request<'_>, why: &str) -> Status {
    Status::forbidden(GROUP, &request.resource.plural, meta::name(request.object), why)
}

fn rules(role: &Value) -> Vec<Rule> {
    let rules = role.get("rules").and_then(Value::as_array).into_iter().flatten();
    rules.filter_map(|rule| Rule::deserialize(rule).ok()).collect()
}

fn everything_resources() -> Rule {
    let all = || vec!["*".to_owned()];
    Rule { verbs: all(), api_groups: all(), resources: all(), ..Rule::default() }
}

fn everything_paths() -> Rule {
    let all = || vec!["*".to_owned()];
    Rule { verbs: all(), non_resource_urls: all(), ..Rule::default() }
}

/// What the garbage collector changes is no grant.
fn is_same_but_for_owners(new: &Value, old: &Value) -> bool {
    let stripped = |object: &Value| {
        let mut copy = object.clone();
        if let Some(metadata) = meta::metadata_mut(&mut copy) {
            for field in ["ownerReferences", "finalizers", "managedFields", "resourceVersion", "generation"] {
                metadata.remove(field);
            }
        }
        copy
    };
    stripped(new) == stripped(old)
}
