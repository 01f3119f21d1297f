//! A commit together with what the write takes from its namespace's quotas.

use super::{Call, services};
use crate::admission::quota::Write;
use crate::admission::reservations::Assignment;
use crate::core::Conflict;
use crate::request::Common;
use api::Status;
use serde_json::Value;
use store::{Committed, Txn};

/// How often a charge is tried while others write the same quota.
const ATTEMPTS: usize = 100;

/// The objects before and after a write.
#[derive(Clone, Copy)]
pub(super) struct Step<'a> {
    pub new: &'a Value,
    pub old: Option<&'a Value>,
    /// The part of the object that the write is about.
    pub subresource: &'a str,
}

impl Step<'_> {
    fn write<'w>(&'w self, call: &'w Call<'_>) -> Write<'w> {
        let Self { new, old, subresource } = *self;
        Write { resource: call.resource, subresource, namespace: call.namespace(), new, old }
    }
}

/// Whether a write that is never made would fit.
///
/// # Errors
/// 403 when it would exceed a quota.
pub(super) async fn check(call: &Call<'_>, step: &Step<'_>, options: Common) -> Result<(), Status> {
    if options.is_dry_run() {
        let _ = call.core.admission.quotas.charge(call.core, &step.write(call)).await?;
    }
    Ok(())
}

/// `services::commit` with the charge in the same transaction. `gone` is the object that the write removes.
///
/// # Errors
/// 403 when the write exceeds a quota, and what the store says, conflicts apart.
pub(super) async fn commit(
    call: &Call<'_>,
    step: &Step<'_>,
    txn: Txn,
    assignment: Option<Assignment>,
    gone: Option<&Value>,
) -> Result<Result<Committed, Conflict>, Status> {
    for _ in 1..ATTEMPTS {
        let charge = call.core.admission.quotas.charge(call.core, &step.write(call)).await?;
        if charge.is_empty() {
            return services::commit(call, txn, assignment, gone).await;
        }
        match services::commit(call, charge.join(txn.clone()), assignment.clone(), gone).await? {
            Err(conflict) if charge.is_about(&conflict.key) => {}
            done => return Ok(done),
        }
    }
    Err(Status::internal("others kept writing the quotas of the namespace"))
}
