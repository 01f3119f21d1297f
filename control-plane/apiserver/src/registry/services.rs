//! Addresses of Services around a write: nothing happens here for other kinds.

use super::Call;
use crate::admission::cluster_ip::{Assignment, concerns};
use crate::core::Conflict;
use api::Status;
use serde_json::Value;
use std::sync::Arc;
use store::{Committed, Txn};
use tracing::Instrument as _;

/// Gives a Service its addresses; other kinds nothing.
///
/// # Errors
/// See `ServiceAddresses::assign`.
pub(super) fn assign(call: &Call<'_>, object: &mut Value, old: Option<&Value>) -> Result<Option<Assignment>, Status> {
    if concerns(call.resource) { call.core.services.assign(object, old).map(Some) } else { Ok(None) }
}

/// Commits a write with its reservations: kept when it happens, free again when it does not. `gone` is the object that
/// the write removes; it gives back what it had.
///
/// A Service's commit goes on when its request is dropped: what the books say and what the store says stay the same.
///
/// # Errors
/// What the store says, conflicts apart.
pub(super) async fn commit(
    call: &Call<'_>,
    txn: Txn,
    assignment: Option<Assignment>,
    gone: Option<&Value>,
) -> Result<Result<Committed, Conflict>, Status> {
    if !concerns(call.resource) {
        return call.commit(txn).await;
    }
    let (core, user, gone) = (Arc::clone(call.core), Arc::clone(call.user), gone.cloned());
    let work = async move {
        let result = core.commit(&user.name, txn).await;
        match (&result, gone) {
            (Ok(Ok(_)), Some(gone)) => core.services.release(&gone),
            (Ok(Ok(_)), None) => assignment.into_iter().for_each(Assignment::keep),
            _ => drop(assignment),
        }
        result
    };
    tokio::spawn(work.in_current_span()).await.map_err(Status::internal)?
}
