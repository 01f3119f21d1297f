//! What is done about one object: deleted, unlinked from absent owners, let go, or left.

use super::Collector;
use super::discovery::Served;
use super::graph::{FOREGROUND, Leaving, ORPHAN, Object};
use crate::Error;
use crate::frame::events::Note;
use crate::k8s::api::core::v1::ObjectReference;
use crate::k8s::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use kube::api::{DeleteParams, GetParams, Preconditions, PropagationPolicy};
use kube::core::{DynamicObject, PartialObjectMeta, Request};
use serde_json::{Value, json};
use std::sync::Arc;

type Meta = PartialObjectMeta<DynamicObject>;

/// What an owner reference points at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Owner {
    Solid,
    /// Deleted in the foreground: it waits for this object.
    Waiting,
    Absent,
    /// A namespaced owner of a cluster-scoped object, which cannot be: nothing is done about the object.
    Impossible,
}

impl Collector {
    pub(super) async fn look_at(&self, uid: &str) -> Result<(), Error> {
        let Some(object) = self.graph.lock().get(uid).cloned() else { return Ok(()) };
        match object.leaving {
            Leaving::Deleted => Ok(()),
            Leaving::Orphaning => self.orphan(uid, &object).await,
            Leaving::Foreground => self.wait_for_dependents(uid, &object).await,
            Leaving::No => self.judge(uid, &object).await,
        }
    }

    async fn judge(&self, uid: &str, object: &Object) -> Result<(), Error> {
        if object.owners.is_empty() {
            return Ok(());
        }
        // The graph may be behind: decide on what the server has now.
        let Some(live) = self.live(uid, object).await? else { return Ok(()) };
        let owners = live.owner_references.clone().unwrap_or_default();
        if live.deletion_timestamp.is_some() || owners.is_empty() {
            return Ok(());
        }
        let mut states = Vec::with_capacity(owners.len());
        for owner in &owners {
            states.push(self.state_of(uid, owner, object).await?);
        }
        let any = |state| states.contains(&state);
        if any(Owner::Impossible) {
            return Ok(());
        }
        if any(Owner::Solid) {
            if any(Owner::Absent) || any(Owner::Waiting) {
                let kept = owners.iter().zip(&states).filter(|(_, state)| **state == Owner::Solid);
                let kept: Vec<_> = kept.map(|(owner, _)| owner.clone()).collect();
                self.set_owners(object, &live, &kept).await?;
            }
            return Ok(());
        }
        if any(Owner::Waiting) && self.graph.lock().has_dependents(uid) {
            if self.is_in_cycle(uid) {
                // Two that wait for each other would wait forever.
                let freed: Vec<_> =
                    owners.into_iter().map(|o| OwnerReference { block_owner_deletion: Some(false), ..o }).collect();
                self.set_owners(object, &live, &freed).await?;
            }
            return self.delete(uid, object, &live, PropagationPolicy::Foreground).await;
        }
        let has = |finalizer: &str| live.finalizers.iter().flatten().any(|f| f == finalizer);
        let policy = if has(ORPHAN) {
            PropagationPolicy::Orphan
        } else if has(FOREGROUND) {
            PropagationPolicy::Foreground
        } else {
            PropagationPolicy::Background
        };
        self.delete(uid, object, &live, policy).await
    }

    /// Whether a dependent of the object waits for its own dependents already.
    fn is_in_cycle(&self, uid: &str) -> bool {
        self.graph.lock().dependents(uid).any(|(_, dependent)| dependent.leaving == Leaving::Foreground)
    }

    /// From the graph where it knows the owner, else from the server.
    async fn state_of(&self, uid: &str, owner: &OwnerReference, object: &Object) -> Result<Owner, Error> {
        if let Some(known) = self.graph.lock().get(&owner.uid)
            && known.answers(owner, object.key.namespace())
        {
            return Ok(if known.leaving == Leaving::Foreground { Owner::Waiting } else { Owner::Solid });
        }
        let served = self.served(owner)?;
        if served.namespaced && object.key.scope().is_none() {
            self.complain(uid, owner, object);
            return Ok(Owner::Impossible);
        }
        let path = served.path(object.key.scope());
        match self.get(&path, &owner.name).await? {
            Some(meta) if meta.uid.as_deref() == Some(&owner.uid) => {
                let waits =
                    meta.deletion_timestamp.is_some() && meta.finalizers.iter().flatten().any(|f| f == FOREGROUND);
                Ok(if waits { Owner::Waiting } else { Owner::Solid })
            }
            _ => {
                if self.graph.lock().get(&owner.uid).is_some() {
                    self.complain(uid, owner, object);
                }
                Ok(Owner::Absent)
            }
        }
    }

    fn complain(&self, uid: &str, owner: &OwnerReference, object: &Object) {
        let resource = &object.served.resource;
        let about = ObjectReference {
            api_version: Some(resource.api_version.clone()),
            kind: Some(resource.kind.clone()),
            namespace: object.key.scope().map(str::to_owned),
            name: Some(object.key.name().to_owned()),
            uid: Some(uid.to_owned()),
            ..ObjectReference::default()
        };
        let message = format!(
            "ownerRef [{}/{}, namespace: {}, name: {}, uid: {}] does not exist in namespace \"{}\"",
            owner.api_version,
            owner.kind,
            object.key.namespace(),
            owner.name,
            owner.uid,
            object.key.namespace(),
        );
        self.events.record_about(about, Note::warning("OwnerRefInvalidNamespace", message));
    }

    fn served(&self, owner: &OwnerReference) -> Result<Arc<Served>, Error> {
        let catalog = Arc::clone(&self.catalog.lock());
        catalog.kind(&owner.api_version, &owner.kind).cloned().ok_or_else(|| {
            self.refresh.notify_one();
            Error::UnknownKind { api_version: owner.api_version.clone(), kind: owner.kind.clone() }
        })
    }

    async fn wait_for_dependents(&self, uid: &str, object: &Object) -> Result<(), Error> {
        let (blocked, waiting) = {
            let graph = self.graph.lock();
            let blocks = |dependent: &Object| {
                dependent.owners.iter().any(|o| o.uid == uid && o.block_owner_deletion == Some(true))
            };
            let dependents: Vec<_> = graph.dependents(uid).map(|(uid, o)| (uid.clone(), o.clone())).collect();
            (dependents.iter().any(|(_, d)| blocks(d)), dependents)
        };
        if !blocked {
            return self.remove_finalizer(uid, object, FOREGROUND).await;
        }
        for (dependent, found) in waiting.iter().filter(|(_, d)| d.leaving == Leaving::No) {
            self.judge(dependent, found).await?;
        }
        Ok(())
    }

    async fn orphan(&self, uid: &str, object: &Object) -> Result<(), Error> {
        let dependents: Vec<_> =
            self.graph.lock().dependents(uid).map(|(uid, object)| (uid.clone(), object.clone())).collect();
        for (dependent, found) in dependents {
            let Some(live) = self.live(&dependent, &found).await? else { continue };
            let mut owners = live.owner_references.clone().unwrap_or_default();
            let before = owners.len();
            owners.retain(|owner| owner.uid != uid);
            if owners.len() != before {
                self.set_owners(&found, &live, &owners).await?;
            }
        }
        self.remove_finalizer(uid, object, ORPHAN).await
    }

    async fn remove_finalizer(&self, uid: &str, object: &Object, finalizer: &str) -> Result<(), Error> {
        let Some(live) = self.live(uid, object).await? else { return Ok(()) };
        let mut finalizers = live.finalizers.clone().unwrap_or_default();
        if !finalizers.iter().any(|f| f == finalizer) {
            return Ok(());
        }
        finalizers.retain(|f| f != finalizer);
        self.patch(object, &live, "finalizers", json!(finalizers)).await
    }

    async fn set_owners(&self, object: &Object, live: &ObjectMeta, owners: &[OwnerReference]) -> Result<(), Error> {
        self.patch(object, live, "ownerReferences", json!(owners)).await
    }

    async fn patch(&self, object: &Object, live: &ObjectMeta, field: &str, value: Value) -> Result<(), Error> {
        let path = object.served.path(object.key.scope());
        let value = if value.as_array().is_some_and(Vec::is_empty) { Value::Null } else { value };
        let patch = json!({"metadata": {"uid": live.uid, "resourceVersion": live.resource_version, field: value}});
        match self.access.patch_at::<Value>(&path, object.key.name(), &patch).await {
            Ok(_) => Ok(()),
            Err(error) if error.is_not_found() => Ok(()),
            Err(error) => Err(error),
        }
    }

    async fn delete(
        &self,
        uid: &str,
        object: &Object,
        live: &ObjectMeta,
        policy: PropagationPolicy,
    ) -> Result<(), Error> {
        let path = object.served.path(object.key.scope());
        // The owners that were judged must still be the owners.
        let version = if policy == PropagationPolicy::Foreground { None } else { live.resource_version.clone() };
        let params = DeleteParams {
            preconditions: Some(Preconditions { uid: Some(uid.to_owned()), resource_version: version }),
            propagation_policy: Some(policy),
            ..DeleteParams::default()
        };
        self.access.delete_at(&path, object.key.name(), &params).await.map(|_| ())
    }

    /// The object's metadata from the server, if it is still the same object. What is gone leaves the graph.
    async fn live(&self, uid: &str, object: &Object) -> Result<Option<ObjectMeta>, Error> {
        let path = object.served.path(object.key.scope());
        let live = self.get(&path, object.key.name()).await?.filter(|meta| meta.uid.as_deref() == Some(uid));
        Ok(live)
    }

    async fn get(&self, path: &str, name: &str) -> Result<Option<ObjectMeta>, Error> {
        let request = Request::new(path).get_metadata(name, &GetParams::default());
        match self.access.send::<Meta>(request).await {
            Ok(object) => Ok(Some(object.metadata)),
            Err(kube::Error::Api(status)) if status.code == 404 => Ok(None),
            Err(error) => Err(Error::api("get", format!("{path}/{name}"))(error)),
        }
    }
}
