//! Addresses of Services around a write: nothing happens here for other kinds.

use super::Call;
use crate::admission::cluster_ip::{Assignment, concerns};
use crate::core::Conflict;
use api::Status;
use serde_json::Value;
use store::{Committed, Txn};

/// Gives a Service its addresses; other kinds nothing.
///
/// # Errors
/// See `ServiceAddresses::assign`.
pub(super) fn assign(call: &Call<'_>, object: &mut Value, old: Option<&Value>) -> Result<Option<Assignment>, Status> {
    if concerns(call.resource) { call.core.services.assign(object, old).map(Some) } else { Ok(None) }
}

/// Commits a write with its reservations: kept when it happens, free again when it does not.
///
/// # Errors
/// What the store says, conflicts apart.
pub(super) async fn commit(
    call: &Call<'_>,
    txn: Txn,
    assignment: &mut Option<Assignment>,
) -> Result<Result<Committed, Conflict>, Status> {
    if let Some(assignment) = assignment {
        assignment.committing();
    }
    let result = call.core.commit(txn).await;
    match (&result, assignment.as_mut()) {
        (Ok(Ok(_)), Some(_)) => assignment.take().into_iter().for_each(Assignment::keep),
        (_, Some(assignment)) => assignment.failed(),
        (_, None) => {}
    }
    result
}

/// The object is gone.
pub(super) fn release(call: &Call<'_>, object: &Value) {
    if concerns(call.resource) {
        call.core.services.release(object);
    }
}
