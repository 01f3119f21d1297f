//! Server-side apply, and the keeping of `managedFields` on every write, belong here. This version has neither.

use crate::negotiate;
use api::Status;

/// What an apply patch gets.
pub(super) fn refuse(accepted: &str) -> Status {
    let mut status = negotiate::unsupported("application/apply-patch+yaml", accepted);
    status.message = format!("server-side apply is not implemented in this version of skiff: {}", status.message);
    status
}
