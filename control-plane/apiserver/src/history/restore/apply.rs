//! Doing what was planned: one transaction for each object, on the condition that it is as it was planned with.

use super::content;
use super::plan::{Plan, REPLACES, Step, Todo};
use super::policy;
use crate::admission::cluster_ip::{self, Purpose};
use crate::admission::reservations::Assignment;
use crate::core::Core;
use crate::history::documents::{Action, Outcome};
use crate::objects;
use crate::registry::{self, Removed};
use crate::user::User;
use api::{Status, meta};
use futures::{StreamExt as _, stream};
use serde_json::Value;
use std::sync::Arc;
use store::{Revision, Txn};

/// Objects of one phase that are written at once.
const PARALLEL: usize = 32;
/// How often a write is tried again while reports about its object come first.
const ATTEMPTS: usize = 50;
const MEANWHILE: &str = "changed meanwhile: it is left as it is now";

/// Everything, phase by phase.
pub(super) async fn apply(core: &Arc<Core>, user: &Arc<User>, plan: Plan) -> Vec<Outcome> {
    let mut outcomes = Vec::with_capacity(plan.steps.len());
    let mut steps = plan.steps.into_iter().peekable();
    while let Some(phase) = steps.peek().map(|step| step.phase) {
        let group = std::iter::from_fn(|| steps.next_if(|step| step.phase == phase));
        let work = group.map(|step| {
            let (core, user) = (Arc::clone(core), Arc::clone(user));
            async move { one(&core, &user, &step).await }
        });
        outcomes.extend(stream::iter(work).buffered(PARALLEL).collect::<Vec<_>>().await);
    }
    outcomes
}

async fn one(core: &Arc<Core>, user: &Arc<User>, step: &Step) -> Outcome {
    let done = match &step.todo {
        Todo::Skip(why) => return step.outcome(Action::Skip, why),
        Todo::Delete => delete(core, user, step).await.map(|written| (Action::Delete, written)),
        Todo::Create => write(core, user, step).await.map(|written| (Action::Create, written)),
        Todo::Update => write(core, user, step).await.map(|written| (Action::Update, written)),
        Todo::Replace => replace(core, user, step).await.map(|written| (Action::Create, written)),
    };
    match done {
        Ok((action, Written { revision, message })) => {
            Outcome { revision: Some(revision), ..step.outcome(action, message) }
        }
        Err(why) => step.outcome(Action::Fail, why),
    }
}

struct Written {
    revision: Revision,
    message: String,
}

/// As a client's delete would: finalizers, grace periods and namespaces' contents are waited for.
async fn delete(core: &Arc<Core>, user: &Arc<User>, step: &Step) -> Result<Written, String> {
    let (Some(row), Some(current)) = (&step.place.resource, &step.current) else {
        return Err("its kind is no longer served".into());
    };
    let object = registry::Object { resource: row, namespace: &step.place.namespace, name: &step.place.name };
    let removed = registry::remove(core, user, &object, meta::uid(current)).await;
    match removed.map_err(|status| status.message)? {
        Removed::Gone(revision) => Ok(Written { revision, message: String::new() }),
        Removed::Pending(revision) => {
            let waits = if policy::is_namespace(&step.place) {
                "with all that is in it"
            } else {
                "as soon as its finalizers or its grace period let it"
            };
            Ok(Written { revision, message: waits.into() })
        }
    }
}

async fn replace(core: &Arc<Core>, user: &Arc<User>, step: &Step) -> Result<Written, String> {
    let gone = delete(core, user, step).await?;
    if !gone.message.is_empty() {
        return Err("another one of the same name is being deleted: restore it once that is gone".into());
    }
    let written = put(core, user, step, None).await?;
    Ok(Written { message: REPLACES.into(), ..written })
}

async fn write(core: &Arc<Core>, user: &Arc<User>, step: &Step) -> Result<Written, String> {
    put(core, user, step, step.current.as_ref()).await
}

/// Writes the target's content over `planned`, however often reports about the object come first; not over anybody's
/// decision.
async fn put(core: &Arc<Core>, user: &User, step: &Step, planned: Option<&Value>) -> Result<Written, String> {
    let said = |status: Status| status.message;
    let intent = |object: Option<&Value>| object.map(|object| content::intent(&step.place, object));
    let wanted = intent(planned);
    for _ in 0..ATTEMPTS {
        let snapshot = core.latest().await.map_err(said)?;
        let entry = snapshot.get(&step.key);
        let current = crate::history::diff::parse(&step.place, entry);
        if intent(current.as_ref()) != wanted {
            return Err(MEANWHILE.into());
        }
        let mut object = step.content(current.as_ref()).ok_or("there is nothing to go back to")?;
        let (assignment, message) = addresses(core, &snapshot, step, &mut object, current.as_ref()).map_err(said)?;
        let value = match &step.place.resource {
            Some(row) => objects::encode(row, &object, core.now().as_second()),
            None => objects::encode_unserved(&object, step.index.clone()),
        };
        let txn = Txn::new().require(&step.key, entry.map_or(0, |entry| entry.mod_revision)).put(&step.key, value);
        let given = assignment.given.clone();
        if let Ok(committed) = core.commit(&user.name, assignment.join(txn)).await.map_err(said)? {
            core.services.count(&given);
            return Ok(Written { revision: committed.revision, message });
        }
    }
    Err(MEANWHILE.into())
}

/// A Service gets its addresses back where they are free, and others where they are not.
fn addresses(
    core: &Core,
    snapshot: &store::Snapshot,
    step: &Step,
    object: &mut Value,
    current: Option<&Value>,
) -> Result<(Assignment, String), Status> {
    if !step.place.resource.as_ref().is_some_and(|row| cluster_ip::concerns(row)) {
        return Ok((Assignment::default(), String::new()));
    }
    let refused = match core.services.assign(core, snapshot, object, current, Purpose::Write) {
        Ok(assignment) => return Ok((assignment, String::new())),
        Err(refused) => refused,
    };
    if let Some(spec) = object.get_mut("spec").and_then(Value::as_object_mut) {
        spec.remove("clusterIP");
        spec.remove("clusterIPs");
        for port in spec.get_mut("ports").and_then(Value::as_array_mut).into_iter().flatten() {
            port.as_object_mut().map(|port| port.remove("nodePort"));
        }
    }
    let assignment = core.services.assign(core, snapshot, object, None, Purpose::Write)?;
    let ip = object.pointer("/spec/clusterIP").and_then(Value::as_str).unwrap_or_default();
    // The last part of the message says why; the rest says of what.
    let why = refused.message.rsplit(": ").next().unwrap_or_default();
    Ok((assignment, format!("with the new address {ip}: {why}")))
}
