//! GET of one object: the stored bytes with their resourceVersion.

use super::{Call, Outcome};
use crate::crd::present;
use crate::request::Version;
use api::Status;
use axum::body::Body;
use http::{Response, StatusCode};

/// Without a resourceVersion the answer shows every write that was acknowledged before; "0" is whatever is in memory.
///
/// # Errors
/// 404; 504 for a resourceVersion that has not been reached.
pub(super) async fn get(call: &Call<'_>) -> Result<Response<Body>, Status> {
    let snapshot = match Version::parse(call.query.text("resourceVersion").unwrap_or_default())? {
        Version::Unset => call.core.latest().await?,
        Version::Any => call.core.store.snapshot(),
        Version::At(wanted) => call.core.reached(wanted).await?,
    };
    let entry = snapshot.get(&call.key()).ok_or_else(|| call.not_found())?;
    if !present::is_current(call.resource, entry) {
        let shown = present::one(call.core, call.resource, entry).await?;
        let outcome = Outcome { body: shown.value.body.clone(), revision: Some(entry.mod_revision) };
        return call.show(StatusCode::OK, &outcome);
    }
    call.show(StatusCode::OK, &Outcome { body: entry.value.body.clone(), revision: Some(entry.mod_revision) })
}
