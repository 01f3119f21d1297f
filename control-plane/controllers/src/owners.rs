//! Controller references: who controls an object, and claiming objects by selector.

use crate::Error;
use crate::frame::access::{Access, Kind};
use crate::frame::informer::{Index, Informer};
use crate::frame::key::Key;
use crate::k8s::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use crate::selector::Selector;
use serde_json::json;
use std::sync::Arc;

#[must_use]
pub fn controller_of(meta: &ObjectMeta) -> Option<&OwnerReference> {
    meta.owner_references.iter().flatten().find(|owner| owner.controller == Some(true))
}

/// The reference that makes `owner` the controller.
#[must_use]
pub fn controller_ref<K: Kind>(owner: &K) -> OwnerReference {
    OwnerReference {
        api_version: K::api_version(&()).into_owned(),
        kind: K::kind(&()).into_owned(),
        name: owner.meta().name.clone().unwrap_or_default(),
        uid: owner.meta().uid.clone().unwrap_or_default(),
        controller: Some(true),
        block_owner_deletion: Some(true),
    }
}

/// What to do so that an owner controls what its selector matches, and nothing else.
#[derive(Debug)]
pub struct Claim<K> {
    pub keep: Vec<Arc<K>>,
    pub adopt: Vec<Arc<K>>,
    pub release: Vec<Arc<K>>,
}

/// Decides over the objects the owner controls and the orphans of its namespace. An owner that is being deleted
/// adopts and releases nothing, and terminating orphans are left alone.
#[must_use]
pub fn decide_claim<K: Kind>(
    owner: &ObjectMeta,
    selector: &Selector,
    controlled: Vec<Arc<K>>,
    orphans: Vec<Arc<K>>,
) -> Claim<K> {
    let matches = |object: &Arc<K>| selector.matches(object.meta().labels.as_ref());
    let (keep, release) = controlled.into_iter().partition(matches);
    let adopt = |object: &Arc<K>| object.meta().deletion_timestamp.is_none() && matches(object);
    let claim = Claim { keep, adopt: orphans.into_iter().filter(adopt).collect(), release };
    if owner.deletion_timestamp.is_some() { Claim { adopt: Vec::new(), release: Vec::new(), ..claim } } else { claim }
}

/// Claims for `owner` what its selector matches in its namespace and returns it.
pub async fn claim<O: Kind, K: Kind>(
    access: &Access,
    informer: &Informer<K>,
    owner: &O,
    selector: &Selector,
) -> Result<Vec<Arc<K>>, Error> {
    claim_with(access, informer, owner, selector, None).await
}

/// As [`claim`]; what is adopted gets `finalizer`, and what is released loses it.
pub async fn claim_with<O: Kind, K: Kind>(
    access: &Access,
    informer: &Informer<K>,
    owner: &O,
    selector: &Selector,
    finalizer: Option<&str>,
) -> Result<Vec<Arc<K>>, Error> {
    let meta = owner.meta();
    let namespace = meta.namespace.clone().unwrap_or_default();
    let controlled = informer.find(&Index::Owner(meta.uid.clone().unwrap_or_default()));
    let claim = decide_claim(meta, selector, controlled, informer.find(&Index::Orphans(namespace)));
    let mut claimed = claim.keep;
    if !claim.adopt.is_empty() && still_there(access, owner).await? {
        for object in claim.adopt {
            let mut owners = object.meta().owner_references.clone().unwrap_or_default();
            owners.push(controller_ref(owner));
            let finalizers = with_finalizer(object.meta(), finalizer);
            if let Some(adopted) = set_owners(access, informer, &object, &owners, finalizers).await? {
                claimed.push(adopted);
            }
        }
    }
    for object in claim.release {
        let mut owners = object.meta().owner_references.clone().unwrap_or_default();
        owners.retain(|reference| Some(&reference.uid) != meta.uid.as_ref());
        let finalizers = without_finalizer(object.meta(), finalizer);
        set_owners(access, informer, &object, &owners, finalizers).await?;
    }
    Ok(claimed)
}

/// The finalizers of an adopted object, if they change.
fn with_finalizer(meta: &ObjectMeta, finalizer: Option<&str>) -> Option<Vec<String>> {
    let mut all = meta.finalizers.clone().unwrap_or_default();
    let new = finalizer.filter(|f| !all.iter().any(|known| known == f))?;
    all.push(new.to_owned());
    Some(all)
}

/// The finalizers of a released object, if they change.
fn without_finalizer(meta: &ObjectMeta, finalizer: Option<&str>) -> Option<Vec<String>> {
    let mut all = meta.finalizers.clone().unwrap_or_default();
    let before = all.len();
    all.retain(|known| Some(known.as_str()) != finalizer);
    (all.len() != before).then_some(all)
}

/// Asks the server, not the informer: an owner that was deleted meanwhile must not adopt.
async fn still_there<O: Kind>(access: &Access, owner: &O) -> Result<bool, Error> {
    let fresh = access.get::<O>(&Key::of(owner)).await?;
    Ok(fresh.is_some_and(|o| o.meta().uid == owner.meta().uid && o.meta().deletion_timestamp.is_none()))
}

async fn set_owners<K: Kind>(
    access: &Access,
    informer: &Informer<K>,
    object: &Arc<K>,
    owners: &[OwnerReference],
    finalizers: Option<Vec<String>>,
) -> Result<Option<Arc<K>>, Error> {
    let key = Key::of(object.as_ref());
    let mut patch = json!({"metadata": {
        "uid": object.meta().uid, "resourceVersion": object.meta().resource_version, "ownerReferences": owners}});
    if let Some(finalizers) = finalizers {
        patch["metadata"]["finalizers"] = json!(finalizers);
    }
    match access.patch::<K>(&key, &patch).await {
        Ok(written) => {
            informer.learn(written.clone());
            Ok(Some(Arc::new(written)))
        }
        Err(error) if error.is_not_found() => Ok(None),
        Err(error) => Err(error),
    }
}
