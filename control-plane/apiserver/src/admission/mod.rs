//! Admission: what may still change or refuse a write once its object is known, in a fixed order: all
//! mutating plugins, then all validating ones. Webhooks, quota, ServiceAccount and LimitRanger join the lists here.

mod certificates;
pub(crate) mod cluster_ip;
mod namespace_lifecycle;
mod node_ports;
pub(crate) mod node_restriction;
pub(crate) mod reservations;
mod service_account;
mod token_secret;

use crate::authn::Tokens;
use crate::authz::{Authorizers, rbac};
use crate::config::Clock;
use crate::user::User;
use api::{Resource, Status};
use futures::future::BoxFuture;
use serde_json::Value;
use std::sync::Arc;
use store::{Snapshot, Store};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Operation {
    Create,
    Update,
    Delete,
}

/// One write, as plugins see it (`admission.Attributes`).
#[expect(dead_code, reason = "the plugins of today need less than those that join them")]
pub(crate) struct Request<'a> {
    pub operation: Operation,
    pub resource: &'a Resource,
    pub subresource: &'a str,
    pub namespace: &'a str,
    pub name: &'a str,
    pub user: &'a User,
    /// The new object; `Null` for deletes.
    pub object: &'a mut Value,
    pub old: Option<&'a Value>,
    /// The state to look things up in.
    pub snapshot: &'a Snapshot,
    /// Nothing will be stored: plugins must have no side effects.
    pub dry_run: bool,
}

/// One plugin. `handles` is asked first, so that a request pays only for plugins that concern it.
pub(crate) trait Plugin: Send + Sync {
    fn handles(&self, request: &Request<'_>) -> bool;

    /// Refuses with an error; mutating plugins may change `request.object`.
    fn admit<'a>(&'a self, request: &'a mut Request<'_>) -> BoxFuture<'a, Result<(), Status>>;
}

/// The plugins of one server.
pub(crate) struct Chain {
    mutating: Vec<Arc<dyn Plugin>>,
    validating: Vec<Arc<dyn Plugin>>,
}

impl Chain {
    pub(crate) fn builtin(authorizers: &Arc<Authorizers>, store: &Store, clock: &Clock, tokens: &Arc<Tokens>) -> Self {
        Self {
            mutating: vec![
                Arc::new(namespace_lifecycle::NamespaceLifecycle),
                Arc::new(node_restriction::NodeRestriction),
                Arc::new(service_account::ServiceAccount { store: store.clone() }),
                Arc::new(token_secret::TokenSecret { tokens: Arc::clone(tokens) }),
                Arc::new(certificates::Certificates { authorizers: Arc::clone(authorizers), clock: Arc::clone(clock) }),
            ],
            validating: vec![Arc::new(rbac::Guard { authorizers: Arc::clone(authorizers) })],
        }
    }

    pub(crate) async fn mutate(&self, request: &mut Request<'_>) -> Result<(), Status> {
        run(&self.mutating, request).await
    }

    pub(crate) async fn validate(&self, request: &mut Request<'_>) -> Result<(), Status> {
        run(&self.validating, request).await
    }
}

async fn run(plugins: &[Arc<dyn Plugin>], request: &mut Request<'_>) -> Result<(), Status> {
    for plugin in plugins {
        if plugin.handles(request) {
            plugin.admit(request).await?;
        }
    }
    Ok(())
}
