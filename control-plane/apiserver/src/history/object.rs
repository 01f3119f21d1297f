//! One object as it was.

use super::{Named, documents, revision_status, when};
use crate::core::Core;
use crate::objects;
use api::Status;
use serde_json::Value;

/// The object at a point in history, with the resourceVersion that it had then.
///
/// # Errors
/// 404 when there was none, 410 for what history has forgotten.
pub(crate) async fn at(core: &Core, named: &Named, text: &str, managed: ManagedFields) -> Result<Value, Status> {
    let revision = when::resolve(&core.store, text, core.now()).await?;
    let snapshot = core.store.snapshot_at(revision).await.map_err(|error| revision_status(&error))?;
    let entry = snapshot.get(&named.key()).ok_or_else(|| {
        let mut status = Status::not_found(&named.resource.group, &named.resource.plural, &named.name);
        status.message = format!("{} at revision {revision}", status.message);
        status
    })?;
    let mut object = objects::parse(&named.resource, &entry.value.body, Some(entry.mod_revision))?;
    if managed == ManagedFields::Hide {
        documents::without_managed_fields(&mut object);
    }
    Ok(object)
}

/// Whether `metadata.managedFields` is part of what is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ManagedFields {
    Hide,
    Show,
}
