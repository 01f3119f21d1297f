//! Admission: what may still change or refuse a write once its object is known, in Kubernetes' order: all mutating
//! plugins, then, when the object is as it would be stored, all validating ones, and at the very end quotas.
//!
//! Invariant: a request pays for a plugin only where the plugin has something to say about it: what a namespace or the
//! cluster has is looked up by prefix in the snapshot, and what is parsed is kept by revision.

pub(crate) mod allocation_metrics;
mod certificates;
pub(crate) mod cluster_ip;
mod free;
mod ip_families;
mod limit_ranger;
mod namespace_lifecycle;
mod node_ports;
pub(crate) mod node_restriction;
mod owner_references;
mod parsed;
mod plugins;
mod pod_security;
mod priority;
pub(crate) mod quota;
pub(crate) mod repair;
pub(crate) mod reservations;
mod runtime_class;
mod secret_references;
mod service_account;
pub(crate) mod service_cidrs;
mod small;
mod storage;
mod token_secret;
mod tolerations;
mod topology_labels;
pub(crate) mod webhook;

pub use plugins::{AdmissionPlugins, PluginsError};

use crate::authn::Tokens;
use crate::authz::{Authorizers, rbac};
use crate::config::Config;
use crate::core::Core;
use crate::request::{DeleteOptions, Query};
use crate::user::User;
use api::{Resource, Status};
use futures::future::BoxFuture;
use parking_lot::Mutex;
use serde_json::Value;
use std::sync::Arc;
use store::Snapshot;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Operation {
    Create,
    Update,
    Delete,
    /// A stream to what an object stands for: its object is the options of the stream, and nothing is stored.
    Connect,
}

impl Operation {
    /// Whether it brings an object that would be stored.
    pub(crate) fn is_write(self) -> bool {
        matches!(self, Self::Create | Self::Update)
    }

    /// As AdmissionReview spells it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Create => "CREATE",
            Self::Update => "UPDATE",
            Self::Delete => "DELETE",
            Self::Connect => "CONNECT",
        }
    }
}

/// One write, as plugins see it (`admission.Attributes`).
pub(crate) struct Request<'a> {
    pub core: &'a Arc<Core>,
    pub operation: Operation,
    pub resource: &'a Arc<Resource>,
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
    pub beside: Beside<'a>,
    /// The `Warning` headers of the answer.
    pub warnings: &'a Mutex<Vec<String>>,
}

/// What lies beside the objects of a request, of which webhooks alone are told.
#[derive(Default)]
pub(crate) struct Beside<'a> {
    pub options: Options<'a>,
    /// `managedFields` of the old object, where that does not hold them itself, and of the new one.
    pub old_owners: Option<&'a str>,
    pub owners: Option<&'a str>,
    /// What a webhook has made of the new ones; `Some(None)`: there are none any more.
    pub owners_made: Option<Option<String>>,
    pub shaped: Shaped,
}

/// Who has made the object what it is, beside its sender.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Shaped {
    /// The server's own plugins, which know what they have checked.
    #[default]
    ByPlugins,
    /// Webhooks, after those first saw it.
    ByWebhooks,
}

/// The options that came with a request.
#[derive(Default)]
pub(crate) enum Options<'a> {
    #[default]
    Unknown,
    /// Of a write, in the query.
    Query(&'a Query<'a>),
    Delete(&'a DeleteOptions),
}

impl Beside<'_> {
    /// The new object's `managedFields` as they would be stored.
    fn owners(&self) -> Option<&str> {
        self.owners_made.as_ref().map_or(self.owners, Option::as_deref)
    }
}

impl Request<'_> {
    /// `pods "x" is forbidden: why`.
    fn forbidden(&self, why: impl std::fmt::Display) -> Status {
        let (group, plural) = (&self.resource.group, &self.resource.plural);
        // Where the name is yet to be generated, what it begins with says most.
        let generated = self.object.pointer("/metadata/generateName").and_then(Value::as_str);
        let name = if self.name.is_empty() { generated.unwrap_or("Unknown") } else { self.name };
        Status::forbidden(group, plural, name, why)
    }

    fn warn(&self, warning: String) {
        let mut known = self.warnings.lock();
        // A write that is tried again warns once.
        if !known.contains(&warning) {
            known.push(warning);
        }
    }
}

/// One plugin. `handles` is asked first, so that a request pays only for plugins that concern it.
pub(crate) trait Plugin: Send + Sync {
    fn handles(&self, request: &Request<'_>) -> bool;

    /// Refuses with an error; mutating plugins may change `request.object`.
    fn admit<'a>(&'a self, request: &'a mut Request<'_>) -> BoxFuture<'a, Result<(), Status>>;
}

type Plugins = Vec<Arc<dyn Plugin>>;

/// The plugins of one server.
pub(crate) struct Chain {
    mutating: Plugins,
    /// Asked after all of the server's own.
    hooks: Option<webhook::Mutating>,
    validating: Plugins,
    pub webhook_metrics: Arc<webhook::metrics::Metrics>,
    pub quotas: quota::Quotas,
}

/// The work of a plugin under its name; `None`: work that is done whatever plugins are on.
type Named = (Option<&'static str>, Arc<dyn Plugin>);

impl Chain {
    pub(crate) fn new(config: &Config, authorizers: &Arc<Authorizers>, tokens: &Arc<Tokens>) -> Self {
        let on = |(name, plugin): Named| name.is_none_or(|name| config.admission.has(name)).then_some(plugin);
        let metrics = Arc::new(webhook::metrics::Metrics::default());
        let limits = limit_ranger::LimitRanges::new();
        let priority = Arc::new(priority::Priority::new());
        let runtimes = runtime_class::Classes::new();
        let mutating: Vec<Named> = vec![
            (None, Arc::new(namespace_lifecycle::NamespaceLifecycle)),
            (Some("LimitRanger"), Arc::new(limit_ranger::Defaults(Arc::clone(&limits)))),
            (Some("ServiceAccount"), Arc::new(service_account::ServiceAccount { store: config.store.clone() })),
            (None, Arc::new(token_secret::TokenSecret { tokens: Arc::clone(tokens) })),
            (Some("NodeRestriction"), Arc::new(node_restriction::NodeRestriction)),
            (Some("AlwaysPullImages"), Arc::new(small::AlwaysPullImages)),
            (Some("Priority"), Arc::clone(&priority) as Arc<dyn Plugin>),
            (Some("DefaultTolerationSeconds"), Arc::new(tolerations::DefaultTolerationSeconds)),
            (Some("DefaultStorageClass"), Arc::new(storage::DefaultStorageClass)),
            (Some("StorageObjectInUseProtection"), Arc::new(storage::StorageObjectInUseProtection)),
            (Some("RuntimeClass"), Arc::new(runtime_class::Settings(Arc::clone(&runtimes)))),
            (
                None,
                Arc::new(certificates::Certificates {
                    authorizers: Arc::clone(authorizers),
                    clock: Arc::clone(&config.clock),
                }),
            ),
            (Some("DefaultIngressClass"), Arc::new(small::DefaultIngressClass)),
            (Some("PodTopologyLabels"), Arc::new(topology_labels::PodTopologyLabels)),
        ];
        let validating: Vec<Named> = vec![
            (None, Arc::new(rbac::Guard { authorizers: Arc::clone(authorizers) })),
            (Some("LimitRanger"), Arc::new(limit_ranger::Bounds(limits))),
            (
                Some("ServiceAccount"),
                Arc::new(service_account::Again(service_account::ServiceAccount { store: config.store.clone() })),
            ),
            (Some("PodSecurity"), Arc::new(pod_security::PodSecurity)),
            (Some("Priority"), Arc::new(priority::OneDefault(priority))),
            (
                Some("OwnerReferencesPermissionEnforcement"),
                Arc::new(owner_references::OwnerReferencesPermissionEnforcement {
                    authorizers: Arc::clone(authorizers),
                }),
            ),
            (Some("PersistentVolumeClaimResize"), Arc::new(storage::PersistentVolumeClaimResize)),
            (Some("RuntimeClass"), Arc::new(runtime_class::Overhead(runtimes))),
            (Some("DenyServiceExternalIPs"), Arc::new(small::DenyServiceExternalIPs)),
            (Some("ValidatingAdmissionWebhook"), Arc::new(webhook::Validating::new(Arc::clone(&metrics)))),
            (Some("AlwaysDeny"), Arc::new(small::AlwaysDeny)),
        ];
        let hooks = config.admission.has("MutatingAdmissionWebhook");
        Self {
            mutating: mutating.into_iter().filter_map(on).collect(),
            hooks: hooks.then(|| webhook::Mutating::new(Arc::clone(&metrics))),
            validating: validating.into_iter().filter_map(on).collect(),
            webhook_metrics: metrics,
            quotas: quota::Quotas::new(config.admission.has("ResourceQuota")),
        }
    }

    /// Whether anybody wants to see `request` at all.
    pub(crate) fn concerns(&self, request: &Request<'_>) -> bool {
        self.mutating.iter().chain(&self.validating).any(|plugin| plugin.handles(request))
            || self.hooks.as_ref().is_some_and(|hooks| hooks.concerns(request))
    }

    pub(crate) async fn mutate(&self, request: &mut Request<'_>) -> Result<(), Status> {
        run(&self.mutating, request).await?;
        let Some(hooks) = self.hooks.as_ref().filter(|hooks| hooks.concerns(request)) else { return Ok(()) };
        let round = hooks.first(request).await?;
        if !round.changed {
            return Ok(());
        }
        request.beside.shaped = Shaped::ByWebhooks;
        // What webhooks have made is for the server's own plugins to look at, and what those make of it for webhooks.
        let made = request.object.clone();
        run(&self.mutating, request).await?;
        let changed = *request.object != made;
        hooks.second(request, round, changed).await
    }

    /// What `/metrics` says of webhooks.
    #[cfg(test)]
    pub(crate) fn webhook_metrics_page(&self) -> String {
        let mut page = String::new();
        self.webhook_metrics.render(&mut page);
        page
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
