//! A delete in the server's own code, in a user's name: the same as the user's DELETE.

use super::Call;
use super::delete::{Deleted, one};
use crate::core::Core;
use crate::negotiate::Accept;
use crate::request::{Common, DeleteOptions, DryRun, Preconditions, Query, ResourceRequest};
use crate::user::User;
use api::{Resource, Status, Verb};
use http::HeaderMap;
use parking_lot::Mutex;
use std::sync::Arc;
use store::Revision;

/// What is to go.
pub(crate) struct Object<'a> {
    pub resource: &'a Arc<Resource>,
    pub namespace: &'a str,
    pub name: &'a str,
}

/// How far it is.
pub(crate) enum Removed {
    Gone(Revision),
    /// Marked: finalizers, a grace period or a namespace's contents keep it for now.
    Pending(Revision),
}

/// Deletes `object` if its uid still is `uid`. What is gone already counts as gone.
///
/// # Errors
/// As DELETE.
pub(crate) async fn remove(
    core: &Arc<Core>,
    user: &Arc<User>,
    object: &Object<'_>,
    uid: &str,
) -> Result<Removed, Status> {
    let resource = object.resource;
    let request = ResourceRequest {
        verb: Some(Verb::Delete),
        group: &resource.group,
        version: &resource.version,
        namespace: object.namespace.into(),
        plural: &resource.plural,
        name: object.name.into(),
        subresource: "",
        rest: "",
    };
    let headers = HeaderMap::new();
    let call = Call {
        core,
        request: &request,
        headers: &headers,
        query: Query::default(),
        resource,
        user,
        accept: Accept::JSON,
        warnings: Mutex::default(),
    };
    let options = DeleteOptions {
        common: Common { dry_run: DryRun::No },
        grace_period_seconds: None,
        propagation: None,
        preconditions: Preconditions { uid: Some(uid.to_owned()), resource_version: None },
    };
    let revision = |revision: Option<Revision>| revision.unwrap_or_else(|| core.store.revision());
    match one(&call, object.name, &options).await {
        Ok(Deleted::Gone { outcome, .. }) => Ok(Removed::Gone(revision(outcome.revision))),
        Ok(Deleted::Pending(outcome)) => Ok(Removed::Pending(revision(outcome.revision))),
        Err(status) if status.code == 404 => Ok(Removed::Gone(core.store.revision())),
        Err(status) => Err(status),
    }
}
