//! Time travel for people: who changed what between two revisions, an object's life, and the way back.
//!
//! Everything here reads the store's own history ([`store::Change`]) and writes by the store's ordinary transactions.
//! It never knows who asks (that is `endpoints`) nor how the answers are printed (that is the command line's).

mod diff;
pub mod documents;
mod fields;
mod kinds;
mod life;
mod object;
mod restore;
mod spans;
mod unified;
mod upkeep;
mod when;

pub(crate) use diff::{Chatter, Patch, Question, diff};
pub(crate) use life::life;
pub(crate) use object::{ManagedFields, at as object_at};
pub(crate) use restore::restore;
pub(crate) use upkeep::{belongs_in_a_backup, compact, moment, stats};

use crate::core::Core;
use api::Status;
use api::{Reason, Resource};
use std::sync::Arc;
use store::{Revision, RevisionError};

/// One object, as a person names it.
pub(crate) struct Named {
    pub resource: Arc<Resource>,
    pub namespace: String,
    pub name: String,
}

impl Named {
    /// `kind` is a plural, a singular, a short name or a kind, in any case, with its group if that is wanted.
    ///
    /// # Errors
    /// 404 for a kind that is not served, 400 without a name.
    pub(crate) fn new(core: &Core, kind: &str, namespace: &str, name: &str) -> Result<Self, Status> {
        let resource = kinds::resolve(&core.catalog().kinds, kind)?;
        if name.is_empty() {
            return Err(Status::bad_request("the object's name is missing"));
        }
        let namespace = match (resource.namespaced(), namespace) {
            (false, _) => "",
            (true, "") => "default",
            (true, namespace) => namespace,
        };
        Ok(Self { namespace: namespace.to_owned(), name: name.to_owned(), resource })
    }

    fn key(&self) -> Vec<u8> {
        crate::objects::key(&self.resource, &self.namespace, &self.name)
    }
}

fn revision_status(error: &RevisionError) -> Status {
    match error {
        RevisionError::Compacted { oldest } => {
            Status::expired(format!("history before revision {oldest} is gone: it is kept as long as --history says"))
        }
        RevisionError::Future { current } => future(*current),
        RevisionError::Unavailable { .. } | RevisionError::Closed => {
            Status::new(Reason::ServiceUnavailable, error.to_string())
        }
        RevisionError::Io(source) => Status::internal(format_args!("{error}: {source}")),
    }
}

fn future(current: Revision) -> Status {
    Status::bad_request(format!("that revision has not happened yet: the newest is {current}"))
}

#[cfg(test)]
mod tests;
