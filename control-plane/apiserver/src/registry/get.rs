//! GET of one object: the stored bytes with their resourceVersion.

use super::{Call, Outcome};
use crate::request::{Version, too_large_version};
use api::Status;
use axum::body::Body;
use http::{Response, StatusCode};

/// # Errors
/// 404; 504 for a resourceVersion that has not been reached.
pub(super) fn get(call: &Call<'_>) -> Result<Response<Body>, Status> {
    let snapshot = call.core.store.snapshot();
    if let Some(text) = call.query.text("resourceVersion") {
        match Version::parse(text)? {
            Version::At(wanted) if wanted > snapshot.revision() => {
                return Err(too_large_version(wanted, snapshot.revision()));
            }
            _ => {}
        }
    }
    let entry = snapshot.get(&call.key()).ok_or_else(|| call.not_found())?;
    call.show(StatusCode::OK, &Outcome { body: entry.value.body.clone(), revision: Some(entry.mod_revision) })
}
