//! What an eviction asks of the pod's PodDisruptionBudget.

use super::{ATTEMPTS, Grant};
use crate::objects;
use crate::registry::Call;
use crate::request::Common;
use api::selector::Labels;
use api::status::Cause;
use api::{Reason, Resource, Status, meta, time};
use serde_json::{Value, json};
use std::sync::Arc;
use store::{Snapshot, Txn};

const VIOLATES: &str = "Cannot evict pod as it would violate the pod's disruption budget.";
/// The cause by which clients know a budget's refusal from the server's own overload.
const CAUSE: &str = "DisruptionBudget";
/// Pods that a budget may have let go without its controller having seen it.
const DISRUPTED_MAX: usize = 2000;
const RETRY_SECONDS: u32 = 10;

fn refusal(message: String) -> Status {
    let mut status = Status::new(Reason::TooManyRequests, VIOLATES);
    let cause = Cause { reason: CAUSE.into(), message, field: String::new() };
    status.details.get_or_insert_default().causes.push(cause);
    status
}

/// 429: the budget has not caught up yet.
pub(super) fn busy(name: &str) -> Status {
    refusal(format!("The disruption budget {name} is still being processed by the server."))
        .with_retry_after(RETRY_SECONDS)
}

/// The budgets that select the pod, with their keys.
fn matching(call: &Call<'_>, budgets: &Resource, snapshot: &Snapshot, pod: &Value) -> Result<Vec<Value>, Status> {
    let mut found = Vec::new();
    for (_, entry) in snapshot.range(&objects::prefix(budgets, call.namespace()), None) {
        let budget = objects::parse(budgets, &entry.value.body, Some(entry.mod_revision))?;
        // No selector selects nothing; an empty one all pods of the namespace.
        let Some(selector) = budget.pointer("/spec/selector").filter(|selector| !selector.is_null()) else { continue };
        let Ok(labels) = Labels::from_label_selector(Some(selector)) else { continue };
        if labels.matches_map(meta::labels(pod)) {
            found.push(budget);
        }
    }
    Ok(found)
}

fn number(object: &Value, pointer: &str) -> i64 {
    object.pointer(pointer).and_then(Value::as_i64).unwrap_or(0)
}

fn is_ready(pod: &Value) -> bool {
    let conditions = pod.pointer("/status/conditions").and_then(Value::as_array).into_iter().flatten();
    conditions.into_iter().any(|c| c["type"] == "Ready" && c["status"] == "True")
}

/// # Errors
/// As `super::grant`.
pub(super) async fn ask(call: &Call<'_>, snapshot: &Snapshot, pod: &Value, options: Common) -> Result<Grant, Status> {
    let budgets = call.core.builtin("policy", "v1", "poddisruptionbudgets");
    let found = matching(call, &budgets, snapshot, pod)?;
    let budget = match found.as_slice() {
        [] => return Ok(Grant::Free),
        [one] => one,
        _ => {
            let why =
                "This pod has more than one PodDisruptionBudget, which the eviction subresource does not support.";
            return Err(Status::new(Reason::Unknown, why));
        }
    };
    if !is_ready(pod) {
        let always = budget.pointer("/spec/unhealthyPodEvictionPolicy").is_some_and(|p| p == "AlwaysAllow");
        let desired = number(budget, "/status/desiredHealthy");
        if always || (number(budget, "/status/currentHealthy") >= desired && desired > 0) {
            return Ok(Grant::IfUnhealthy(meta::name(budget).to_owned()));
        }
    }
    take_one(call, &budgets, meta::name(budget), options).await?;
    Ok(Grant::Free)
}

/// Takes one disruption off the budget and records the pod.
async fn take_one(call: &Call<'_>, budgets: &Arc<Resource>, name: &str, options: Common) -> Result<(), Status> {
    let key = objects::key(budgets, call.namespace(), name);
    let now = call.core.now();
    for _ in 0..ATTEMPTS {
        let snapshot = call.core.latest().await?;
        // Gone meanwhile: nothing protects the pod any more.
        let Some(entry) = snapshot.get(&key) else { return Ok(()) };
        let mut apart = objects::parse_apart(budgets, &entry.value.body, Some(entry.mod_revision))?;
        let budget = &mut apart.object;
        check(budget, name)?;
        if options.is_dry_run() {
            return Ok(());
        }
        decrement(budget, call.name(), &time::format(now));
        let mut stored = objects::encode(budgets, budget, now.as_second());
        stored.body = objects::put_owners(&stored.body, apart.managed());
        if call.commit(Txn::update(&key, entry.mod_revision, stored)).await?.is_ok() {
            return Ok(());
        }
    }
    let message = format!("couldn't update PodDisruptionBudget \"{name}\" due to conflicts");
    Err(Status::new(Reason::Timeout, format!("Timeout: {message}")).with_retry_after(RETRY_SECONDS))
}

fn check(budget: &Value, name: &str) -> Result<(), Status> {
    if number(budget, "/status/observedGeneration") < number(budget, "/metadata/generation") {
        return Err(busy(name));
    }
    let allowed = number(budget, "/status/disruptionsAllowed");
    let forbidden = |why: &str| Err(Status::forbidden("policy", "poddisruptionbudget", name, why));
    if allowed < 0 {
        return forbidden("pdb disruptions allowed is negative");
    }
    let disrupted = budget.pointer("/status/disruptedPods").and_then(Value::as_object);
    if disrupted.is_some_and(|pods| pods.len() > DISRUPTED_MAX) {
        return forbidden("DisruptedPods map too big - too many evictions not confirmed by PDB controller");
    }
    if allowed > 0 {
        return Ok(());
    }
    let conditions = budget.pointer("/status/conditions").and_then(Value::as_array).into_iter().flatten();
    let failed = conditions.into_iter().find(|c| c["type"] == "DisruptionAllowed" && c["reason"] == "SyncFailed");
    Err(refusal(match failed {
        Some(condition) => format!(
            "The disruption budget {name} does not allow evicting pods currently because it failed sync: {}",
            condition["message"].as_str().unwrap_or_default()
        ),
        None => format!(
            "The disruption budget {name} needs {} healthy pods and has {} currently",
            number(budget, "/status/desiredHealthy"),
            number(budget, "/status/currentHealthy")
        ),
    }))
}

fn decrement(budget: &mut Value, pod: &str, now: &str) {
    let left = number(budget, "/status/disruptionsAllowed") - 1;
    let generation = budget.pointer("/metadata/generation").cloned().unwrap_or(Value::Null);
    let status = &mut budget["status"];
    status["disruptionsAllowed"] = left.into();
    if !status["disruptedPods"].is_object() {
        status["disruptedPods"] = json!({});
    }
    status["disruptedPods"][pod] = now.into();
    if left > 0 {
        return;
    }
    let conditions = status.get_mut("conditions").and_then(Value::as_array_mut).into_iter().flatten();
    for condition in conditions.into_iter().filter(|c| c["type"] == "DisruptionAllowed" && c["status"] == "True") {
        condition["status"] = "False".into();
        condition["reason"] = "InsufficientPods".into();
        condition["lastTransitionTime"] = now.into();
        condition["observedGeneration"] = generation.clone();
    }
}
