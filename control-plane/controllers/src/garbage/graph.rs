//! Who owns whom: all objects by UID, with their owners and dependents. Pure; fed by the watches.

use crate::k8s::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use super::discovery::Served;
use crate::frame::key::Key;
use crate::frame::reflector::revision;

pub const FOREGROUND: &str = "foregroundDeletion";
pub const ORPHAN: &str = "orphan";

/// How an object leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Leaving {
    No,
    /// Being deleted, with nothing for us to do.
    Deleted,
    /// Waits for its dependents.
    Foreground,
    /// Its dependents are to lose it as an owner.
    Orphaning,
}

/// An object, as far as ownership goes.
#[derive(Clone, Debug)]
pub struct Object {
    pub served: Arc<Served>,
    pub key: Key,
    pub owners: Vec<OwnerReference>,
    pub leaving: Leaving,
    pub version: u64,
}

impl Object {
    pub fn new(served: &Arc<Served>, meta: &ObjectMeta) -> Self {
        let has = |finalizer: &str| meta.finalizers.iter().flatten().any(|f| f == finalizer);
        let leaving = match meta.deletion_timestamp {
            None => Leaving::No,
            Some(_) if has(ORPHAN) => Leaving::Orphaning,
            Some(_) if has(FOREGROUND) => Leaving::Foreground,
            Some(_) => Leaving::Deleted,
        };
        Self {
            served: Arc::clone(served),
            key: Key::new(meta.namespace.as_deref().unwrap_or_default(), meta.name.as_deref().unwrap_or_default()),
            owners: meta.owner_references.clone().unwrap_or_default(),
            leaving,
            version: revision(meta.resource_version.as_deref()),
        }
    }

    /// Whether `reference`, from an object in `namespace`, names this object as it is. Whoever wrote the reference may
    /// have taken the UID from anywhere.
    pub fn answers(&self, reference: &OwnerReference, namespace: &str) -> bool {
        let reachable = self.key.scope().is_none() || self.key.namespace() == namespace;
        let group = |version: &str| version.rsplit_once('/').map_or(String::new(), |(group, _)| group.to_owned());
        reachable
            && self.key.name() == reference.name
            && self.served.resource.kind == reference.kind
            && self.served.resource.group == group(&reference.api_version)
    }
}

#[derive(Debug, Default)]
pub struct Graph {
    objects: HashMap<String, Object>,
    /// By the owner's UID; the owner need not exist.
    dependents: HashMap<String, HashSet<String>>,
}

impl Graph {
    pub fn get(&self, uid: &str) -> Option<&Object> {
        self.objects.get(uid)
    }

    pub fn dependents(&self, uid: &str) -> impl Iterator<Item = (&String, &Object)> {
        let uids = self.dependents.get(uid).into_iter().flatten();
        uids.filter_map(|uid| self.objects.get_key_value(uid))
    }

    pub fn has_dependents(&self, uid: &str) -> bool {
        self.dependents(uid).next().is_some()
    }

    pub fn uids_of(&self, served: &Served) -> Vec<String> {
        let of = self.objects.iter().filter(|(_, object)| object.served.resource == served.resource);
        of.map(|(uid, _)| uid.clone()).collect()
    }

    /// Takes in an object; returns the UIDs that are to be looked at.
    pub fn put(&mut self, uid: &str, object: Object) -> Vec<String> {
        let before = self.objects.get(uid);
        if before.is_some_and(|known| known.version >= object.version && object.version != 0) {
            return Vec::new();
        }
        let mut look = Vec::new();
        let was = before.map_or(Leaving::No, |known| known.leaving);
        if object.leaving != was && matches!(object.leaving, Leaving::Foreground | Leaving::Orphaning) {
            look.push(uid.to_owned());
            if object.leaving == Leaving::Foreground {
                look.extend(self.dependents.get(uid).into_iter().flatten().cloned());
            }
        }
        let old_owners = before.map(|known| known.owners.clone()).unwrap_or_default();
        // An owner that waits for this object looks again when it no longer blocks.
        for old in &old_owners {
            let now = object.owners.iter().find(|owner| owner.uid == old.uid);
            let blocked = |owner: &OwnerReference| owner.block_owner_deletion == Some(true);
            if (now.is_none() || !now.is_some_and(blocked)) && self.leaves(&old.uid, Leaving::Foreground) {
                look.push(old.uid.clone());
            }
        }
        // An owner that we do not know, that is another one than the reference says, or that goes in the foreground,
        // decides about this object.
        let unsure = |owner: &OwnerReference| match self.objects.get(&owner.uid) {
            None => true,
            Some(known) => known.leaving == Leaving::Foreground || !known.answers(owner, object.key.namespace()),
        };
        if object.leaving == Leaving::No && object.owners != old_owners && object.owners.iter().any(unsure) {
            look.push(uid.to_owned());
        }
        self.unlink(uid, &old_owners);
        for owner in &object.owners {
            self.dependents.entry(owner.uid.clone()).or_default().insert(uid.to_owned());
        }
        self.objects.insert(uid.to_owned(), object);
        look
    }

    fn leaves(&self, uid: &str, how: Leaving) -> bool {
        self.objects.get(uid).is_some_and(|object| object.leaving == how)
    }

    fn unlink(&mut self, uid: &str, owners: &[OwnerReference]) {
        for owner in owners {
            if let Some(dependents) = self.dependents.get_mut(&owner.uid) {
                dependents.remove(uid);
                if dependents.is_empty() {
                    self.dependents.remove(&owner.uid);
                }
            }
        }
    }

    /// Takes out an object that is gone; returns the UIDs that are to be looked at: its dependents, and owners that
    /// waited for it.
    pub fn remove(&mut self, uid: &str) -> Vec<String> {
        let Some(object) = self.objects.remove(uid) else { return Vec::new() };
        self.unlink(uid, &object.owners);
        let mut look: Vec<String> = self.dependents.get(uid).into_iter().flatten().cloned().collect();
        let waiting = object.owners.iter().filter(|owner| self.leaves(&owner.uid, Leaving::Foreground));
        look.extend(waiting.map(|owner| owner.uid.clone()));
        look
    }

    /// Objects that have an owner or are leaving: the ones a periodic look is for.
    pub fn interesting(&self) -> Vec<String> {
        let of = self.objects.iter().filter(|(_, object)| {
            object.owners.iter().any(|owner| !self.objects.contains_key(&owner.uid))
                || matches!(object.leaving, Leaving::Foreground | Leaving::Orphaning)
        });
        of.map(|(uid, _)| uid.clone()).collect()
    }
}
