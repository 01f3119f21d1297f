//! Addresses of Services around a write: nothing happens here for other kinds.

use super::Call;
pub(super) use crate::admission::cluster_ip::concerns;
use crate::admission::cluster_ip::{Purpose, ServiceAddresses};
use crate::admission::reservations::Assignment;
use crate::core::Conflict;
use api::Status;
use serde_json::Value;
use store::{Committed, Txn};

/// Gives a Service its addresses; other kinds nothing.
///
/// # Errors
/// See `ServiceAddresses::assign`.
pub(super) fn assign(call: &Call<'_>, object: &mut Value, old: Option<&Value>) -> Result<Option<Assignment>, Status> {
    if !concerns(call.resource) {
        return Ok(None);
    }
    let core = call.core;
    let purpose = if call.query.get("dryRun").is_some() { Purpose::DryRun } else { Purpose::Write };
    core.services.assign(core, &core.store.snapshot(), object, old, purpose).map(Some)
}

/// Commits a write together with what it takes and gives back. `gone` is the object that the write removes: all that it
/// had goes with it.
///
/// # Errors
/// What the store says, conflicts apart.
pub(super) async fn commit(
    call: &Call<'_>,
    txn: Txn,
    assignment: Option<Assignment>,
    gone: Option<&Value>,
) -> Result<Result<Committed, Conflict>, Status> {
    let assignment = match gone {
        Some(gone) if concerns(call.resource) => {
            Some(ServiceAddresses::release(call.core, &call.core.store.snapshot(), gone))
        }
        _ => assignment,
    };
    let Some(assignment) = assignment else { return call.commit(txn).await };
    let given = assignment.given.clone();
    let done = call.commit(assignment.join(txn)).await?;
    if done.is_ok() {
        call.core.services.count(&given);
    }
    Ok(done)
}
