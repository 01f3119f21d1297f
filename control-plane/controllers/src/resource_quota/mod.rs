//! ResourceQuota usage. Admission charges what is made; here is counted anew what quotas measure, when something goes,
//! ends or changes, when a quota is new or other, and now and then.
//!
//! Invariant: a count is written only over the version of the quota that was read before anything was counted. Admission
//! changes that version with every charge, so no charge is ever lost to a count that did not see it.

mod inventory;
#[cfg(test)]
mod tests;
mod watches;

use crate::clock::Clock;
use crate::context::Context;
use crate::frame::access::{Access, status_patch};
use crate::frame::informer::{Change, Index, Informer};
use crate::frame::key::Key;
use crate::frame::queue::Queue;
use crate::frame::runner::Reconciler;
use crate::k8s::api::core::v1::{Pod, ResourceQuota, ResourceQuotaStatus, Service};
use crate::k8s::apimachinery::pkg::api::resource::Quantity;
use crate::{Config, Error, Next, pods};
use api::amounts::Amounts;
use api::quota;
use async_trait::async_trait;
use inventory::{Kinds, Objects};
use serde_json::Value;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinSet;
use watches::Watches;

/// When a quota measures a kind that nobody serves, it is looked for again.
const LOOK_FOR_KINDS: Duration = Duration::from_secs(5);

struct Controller {
    access: Access,
    clock: Clock,
    quotas: Informer<ResourceQuota>,
    kinds: Kinds,
    watches: Watches,
}

/// Has all quotas of a namespace counted.
#[derive(Clone)]
struct Signal {
    queue: Arc<Queue>,
    quotas: Informer<ResourceQuota>,
}

impl Signal {
    fn namespace(&self, namespace: &str) {
        for quota in self.quotas.find(&Index::Namespace(namespace.to_owned())) {
            self.queue.add(Key::of(quota.as_ref()));
        }
    }
}

pub(crate) fn start(_: &Config, context: &Context, tasks: &mut JoinSet<()>) {
    let quotas = context.informers.resource_quotas.wanted();
    let queue = Arc::new(Queue::default());
    let signal = Signal { queue: Arc::clone(&queue), quotas: quotas.clone() };
    let changed = Arc::clone(&queue);
    quotas.on_change(move |change| {
        let gone = matches!(change, Change::Deleted(_));
        if gone || is_stale(change.object()) {
            changed.add(Key::of(change.object().as_ref()));
        }
    });
    let freed = signal.clone();
    context.informers.pods.wanted().on_change(move |change| {
        if frees(change) {
            freed.namespace(change.object().metadata.namespace.as_deref().unwrap_or_default());
        }
    });
    let freed = signal.clone();
    context.informers.services.wanted().on_change(move |change| {
        if frees_ports(change) {
            freed.namespace(change.object().metadata.namespace.as_deref().unwrap_or_default());
        }
    });
    let controller = Controller {
        access: context.access.clone(),
        clock: context.clock.clone(),
        quotas,
        kinds: Kinds::default(),
        watches: Watches::new(context, signal),
    };
    context.spawn(tasks, Arc::new(controller), queue);
}

/// Whether the status is about other limits than the quota has.
fn is_stale(quota: &ResourceQuota) -> bool {
    let hard = quota.spec.as_ref().and_then(|spec| spec.hard.as_ref());
    let known = quota.status.as_ref().and_then(|status| status.hard.as_ref());
    known.is_none() || known != hard
}

/// Whether a pod uses less than before.
fn frees(change: &Change<'_, Pod>) -> bool {
    match change {
        Change::Added(_) => false,
        Change::Deleted(_) => true,
        Change::Updated { old, new } => {
            let resources = |pod: &Pod| -> Vec<_> {
                let spec = pod.spec.as_ref();
                spec.into_iter()
                    .flat_map(|spec| &spec.containers)
                    .map(|container| container.resources.clone())
                    .collect()
            };
            pods::is_terminal(old) != pods::is_terminal(new) || resources(old) != resources(new)
        }
    }
}

fn frees_ports(change: &Change<'_, Service>) -> bool {
    match change {
        Change::Added(_) => false,
        Change::Deleted(_) => true,
        Change::Updated { old, new } => old.spec != new.spec,
    }
}

fn quantities(amounts: &Amounts) -> std::collections::BTreeMap<String, Quantity> {
    amounts.iter().map(|(name, amount)| (name.clone(), Quantity(amount.to_string()))).collect()
}

#[async_trait]
impl Reconciler for Controller {
    const NAME: &'static str = "resourcequota-controller";
    const WORKERS: usize = 4;

    async fn reconcile(&self, key: &Key) -> Result<Next, Error> {
        let everyone = self.quotas.all();
        self.watches.keep(&self.kinds.tracked(&self.access, &everyone).await?);
        // From the server: what admission has charged since must not be lost.
        let Some(quota) = self.access.get::<ResourceQuota>(key).await? else { return Ok(Next::Signal) };
        let document = serde_json::to_value(&quota).unwrap_or_default();
        let hard = quota::hard(&document);
        let (objects, unknown) = Objects::read(&self.access, &self.kinds, key.namespace(), &hard).await?;
        let used = quota::recount(&document, &objects, self.clock.now());
        let status = ResourceQuotaStatus {
            hard: quota.spec.as_ref().and_then(|spec| spec.hard.clone()),
            used: Some(quantities(&used)),
        };
        let before = quota.status.clone().unwrap_or_default();
        if let Some(patch) = status_patch(quota.metadata.resource_version.as_deref(), &before, &status) {
            match self.access.patch_status::<ResourceQuota>(key, &patch).await {
                Ok(written) => self.quotas.learn(written),
                Err(error) if error.is_not_found() => {}
                Err(error) => return Err(error),
            }
        }
        Ok(if unknown { Next::After(LOOK_FOR_KINDS) } else { Next::Signal })
    }

    fn keys(&self) -> Vec<Key> {
        self.quotas.keys()
    }
}

/// The items of a list.
fn items(list: &mut Value) -> Vec<Value> {
    match list.get_mut("items").map(Value::take) {
        Some(Value::Array(items)) => items,
        _ => Vec::new(),
    }
}
