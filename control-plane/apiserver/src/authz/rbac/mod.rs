//! RBAC: what Roles, ClusterRoles and their bindings allow.
//!
//! Decisions read an immutable index; they share nothing and never wait, but for the first one after a change of a
//! role or binding, which builds the next index. Invariant: a decision knows of every write that was answered before.

mod escalation;
mod index;
pub(crate) mod rules;

pub(crate) use escalation::Guard;

use super::Attributes;
use crate::authz::Target;
use crate::user::User;
use arc_swap::ArcSwap;
use index::{Grant, Index};
use parking_lot::Mutex;
use rules::Rule;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use store::Store;

/// What the keys of roles and bindings begin with.
pub(crate) const PREFIX: &[u8] = b"rbac.authorization.k8s.io/";

pub(crate) struct Rbac {
    store: Store,
    index: ArcSwap<Index>,
    /// How often roles or bindings were written; starts at 1 so that the first decision builds the index.
    generation: AtomicU64,
    building: Mutex<()>,
}

/// All rules that a user has in a namespace.
pub(crate) struct Held {
    grants: Vec<Grant>,
}

impl Held {
    pub(crate) fn rules(&self) -> impl Iterator<Item = &Rule> {
        self.grants.iter().filter_map(|grant| grant.role.as_ref()).flat_map(|role| &role.rules)
    }

    /// What is wrong with the bindings that the rules came from.
    pub(crate) fn errors(&self) -> Vec<String> {
        self.grants.iter().filter(|grant| grant.role.is_none()).map(Grant::absent_role).collect()
    }
}

impl Rbac {
    pub(super) fn new(store: Store) -> Self {
        Self {
            store,
            index: ArcSwap::from_pointee(Index::default()),
            generation: AtomicU64::new(1),
            building: Mutex::new(()),
        }
    }

    pub(super) fn changed(&self) {
        self.generation.fetch_add(1, Ordering::Release);
    }

    fn index(&self) -> arc_swap::Guard<Arc<Index>> {
        let index = self.index.load();
        if index.generation == self.generation.load(Ordering::Acquire) {
            return index;
        }
        let _one = self.building.lock();
        // Read before the snapshot is taken: what is written in between makes the index old again.
        let generation = self.generation.load(Ordering::Acquire);
        let current = self.index.load();
        if current.generation != generation {
            self.index.store(Arc::new(Index::build(&self.store.snapshot(), &current, generation)));
        }
        self.index.load()
    }

    /// # Errors
    /// What is wrong with the bindings that could have allowed it; empty when nothing is.
    pub(super) fn allows(&self, user: &User, attributes: &Attributes<'_>) -> Result<(), String> {
        let index = self.index();
        let mut errors: Vec<String> = Vec::new();
        for grant in index.grants(user, namespace(attributes)) {
            match &grant.role {
                Some(role) if role.rules.iter().any(|rule| rule.allows(attributes)) => return Ok(()),
                Some(_) => {}
                None => errors.push(grant.absent_role()),
            }
        }
        Err(match errors.as_slice() {
            [] => String::new(),
            [one] => format!("RBAC: {one}"),
            many => format!("RBAC: [{}]", many.join(", ")),
        })
    }

    /// By which binding the request is allowed, in the words of an access review.
    pub(super) fn reason(&self, user: &User, attributes: &Attributes<'_>) -> Option<String> {
        let index = self.index();
        let mut grants = index.grants(user, namespace(attributes));
        let grant = grants.find(|grant| {
            grant.role.as_ref().is_some_and(|role| role.rules.iter().any(|rule| rule.allows(attributes)))
        })?;
        Some(format!("RBAC: allowed by {grant}"))
    }

    /// Everything that `user` was granted that holds in `namespace` (everywhere only, when empty).
    pub(crate) fn held(&self, user: &User, namespace: &str) -> Held {
        Held { grants: self.index().grants(user, namespace).cloned().collect() }
    }

    /// The rules of the role that a binding in `namespace` refers to.
    fn rules_of(&self, kind: &str, name: &str, namespace: &str) -> Option<Vec<Rule>> {
        self.index().role(kind, name, namespace).map(|role| role.rules.clone())
    }
}

fn namespace<'a>(attributes: &Attributes<'a>) -> &'a str {
    match attributes.target {
        Target::Resource { namespace, .. } => namespace,
        Target::Path(_) => "",
    }
}
