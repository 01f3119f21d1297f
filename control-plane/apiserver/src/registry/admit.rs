//! Admission of what is never stored: what is posted to a subresource (a Binding, an Eviction, a TokenRequest), reviews,
//! and the options of a stream.

use super::Call;
use crate::admission::{Beside, Operation, Options, Request};
use crate::request::{Common, DryRun};
use api::{Status, meta};
use serde_json::Value;
use store::Snapshot;

/// Lets all plugins see, change or refuse the body of the request.
///
/// # Errors
/// What they say.
pub(super) async fn body(call: &Call<'_>, object: &mut Value, options: Common) -> Result<(), Status> {
    admit(call, Operation::Create, object, options, &call.core.latest().await?).await
}

/// The same of a review, which is answered while the store is away, too.
///
/// # Errors
/// What they say.
pub(super) async fn review(call: &Call<'_>, object: &mut Value, options: Common) -> Result<(), Status> {
    admit(call, Operation::Create, object, options, &call.core.store.snapshot()).await
}

/// Lets all plugins see, or refuse, a stream with the options `object`.
///
/// # Errors
/// What they say.
pub(super) async fn stream(call: &Call<'_>, object: &mut Value) -> Result<(), Status> {
    let options = Common { dry_run: DryRun::No };
    admit(call, Operation::Connect, object, options, &call.core.store.snapshot()).await
}

async fn admit(
    call: &Call<'_>,
    operation: Operation,
    object: &mut Value,
    options: Common,
    snapshot: &Snapshot,
) -> Result<(), Status> {
    let name = if call.name().is_empty() { meta::name(object).to_owned() } else { call.name().to_owned() };
    let mut admission = Request {
        core: call.core,
        operation,
        resource: call.resource,
        subresource: call.request.subresource,
        namespace: call.namespace(),
        name: &name,
        user: call.user,
        object,
        old: None,
        snapshot,
        dry_run: options.is_dry_run(),
        beside: Beside { options: Options::Query(&call.query), ..Beside::default() },
        warnings: &call.warnings,
    };
    call.core.admission.mutate(&mut admission).await?;
    call.core.admission.validate(&mut admission).await
}
