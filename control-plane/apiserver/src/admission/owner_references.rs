//! `OwnerReferencesPermissionEnforcement`: who changes an object's owners must be allowed to delete the object, and who
//! blocks an owner's deletion to set that owner's finalizers (`plugin/pkg/admission/gc`). Off unless asked for.

use super::{Plugin, Request};
use crate::authz::{Attributes, Authorizers, Target};
use api::{Status, meta};
use futures::future::{self, BoxFuture};
use serde_json::Value;
use std::sync::Arc;

pub(super) struct OwnerReferencesPermissionEnforcement {
    pub authorizers: Arc<Authorizers>,
}

impl Plugin for OwnerReferencesPermissionEnforcement {
    fn handles(&self, request: &Request<'_>) -> bool {
        let pod_status = request.resource.storage == "core/pods" && request.subresource == "status";
        request.operation.is_write() && !pod_status
    }

    fn admit<'a>(&'a self, request: &'a mut Request<'_>) -> BoxFuture<'a, Result<(), Status>> {
        Box::pin(future::ready(self.check(request)))
    }
}

impl OwnerReferencesPermissionEnforcement {
    fn check(&self, request: &Request<'_>) -> Result<(), Status> {
        let before = request.old.map(meta::owner_references).unwrap_or_default();
        let after = meta::owner_references(request.object);
        if before == after {
            return Ok(());
        }
        let resource = request.resource;
        let attributes =
            Attributes::resource("delete", (&resource.group, &resource.plural), request.namespace, request.name);
        if let Err(reason) = self.authorizers.allows(request.user, &attributes) {
            let why = format!("cannot set an ownerRef on a resource you can't delete: {reason}, <nil>");
            return Err(request.forbidden(why));
        }
        let blocks = |reference: &Value| reference.get("blockOwnerDeletion") == Some(&Value::Bool(true));
        for reference in after.iter().filter(|reference| blocks(reference)) {
            let same = |old: &&Value| old.get("uid") == reference.get("uid");
            if !before.iter().find(same).is_some_and(blocks) {
                self.check_owner(request, reference)?;
            }
        }
        Ok(())
    }

    fn check_owner(&self, request: &Request<'_>, reference: &Value) -> Result<(), Status> {
        let text = |field: &str| reference.get(field).and_then(Value::as_str).unwrap_or_default();
        let (api_version, kind, name) = (text("apiVersion"), text("kind"), text("name"));
        let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
        let Some(owner) = request.core.catalog().kinds.by_kind(group, version, kind) else {
            let why = format!(
                "cannot set blockOwnerDeletion in this case because cannot find RESTMapping for APIVersion {api_version} Kind {kind}: no matches for kind {kind:?} in version {api_version:?}"
            );
            return Err(request.forbidden(why));
        };
        let target = Target::Resource {
            group,
            resource: &owner.plural,
            subresource: "finalizers",
            namespace: if owner.namespaced() { request.namespace } else { "" },
            name,
            field_selector: None,
        };
        self.authorizers.allows(request.user, &Attributes { verb: "update", target }).map_err(|reason| {
            request.forbidden(format!(
                "cannot set blockOwnerDeletion if an ownerReference refers to a resource you can't set finalizers on: {reason}, <nil>"
            ))
        })
    }
}
