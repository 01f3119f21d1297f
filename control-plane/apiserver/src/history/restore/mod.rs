//! The way back: objects become what they were at a revision, by new writes that every watch sees as ordinary events.
//!
//! What goes back is intent; what is a report of the moment, or made by a controller, is left to whoever makes it
//! (docs/adr: "Restoring intent"). Each write requires that its object is as it was planned with.

mod apply;
mod content;
mod plan;
mod policy;

use super::documents::{API_VERSION, RestoreRequest, Restored};
use super::when;
use crate::core::Core;
use crate::user::User;
use api::Status;
use std::sync::Arc;

/// Plans, and unless it is a dry run, does it.
///
/// # Errors
/// 400 for what is no point in history, 404 for what was not there then, 409 for a namespace that is being deleted, 410
/// for what history has forgotten. What goes wrong with single objects is told in the answer.
pub(crate) async fn restore(core: &Arc<Core>, user: &Arc<User>, request: &RestoreRequest) -> Result<Restored, Status> {
    let to = when::resolve(&core.store, &request.to, core.now()).await?;
    let current = core.latest().await?.revision();
    let planned = request.planned.filter(|planned| (to..=current).contains(planned)).unwrap_or(current);
    let plan = plan::plan(core, &request.scope, plan::Reach { to, planned, current }).await?;
    let items = if request.dry_run {
        plan.steps.iter().map(plan::Step::preview).collect()
    } else {
        apply::apply(core, user, plan).await
    };
    Ok(Restored {
        kind: "HistoryRestore".into(),
        api_version: API_VERSION.into(),
        to,
        planned: current,
        dry_run: request.dry_run,
        items,
    })
}
