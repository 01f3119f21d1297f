//! Whether a user may do what it asks: the authorizers of `--authorization-mode`, asked in order until one allows.
//!
//! Never knows requests' bodies: what a decision needs beside the [`Attributes`] comes from the store.

mod attributes;
pub(crate) mod node;
pub(crate) mod policy;
pub(crate) mod rbac;

pub(crate) use attributes::{Attributes, Target, field_selector};

use crate::core::Core;
use crate::user::{MASTERS, User};
use node::NodeAuthorizer;
use rbac::Rbac;
use std::str::FromStr;
use std::sync::Arc;
use store::{Store, Txn};

/// What an authorizer says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    /// The text says by what, and may be empty.
    Allow(String),
    /// Refused; the text ends the `Forbidden` message and may be empty.
    Deny(String),
}

impl Decision {
    #[must_use]
    pub fn allowed(&self) -> bool {
        matches!(self, Self::Allow(_))
    }
}

/// One entry of `--authorization-mode`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AuthorizationMode {
    Node,
    Rbac,
    AlwaysAllow,
    AlwaysDeny,
}

/// An `--authorization-mode` that is none.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ModeError {
    #[error("authorization-mode {0:?} is not a valid mode (AlwaysAllow, AlwaysDeny, Node, RBAC)")]
    Unknown(String),
    #[error("authorization-mode {0:?} has mode specified more than once")]
    Twice(String),
    #[error("at least one authorization-mode must be passed")]
    None,
}

impl FromStr for AuthorizationMode {
    type Err = ModeError;

    fn from_str(text: &str) -> Result<Self, ModeError> {
        match text {
            "Node" => Ok(Self::Node),
            "RBAC" => Ok(Self::Rbac),
            "AlwaysAllow" => Ok(Self::AlwaysAllow),
            "AlwaysDeny" => Ok(Self::AlwaysDeny),
            other => Err(ModeError::Unknown(other.into())),
        }
    }
}

impl AuthorizationMode {
    /// Kubernetes' default.
    pub const DEFAULT: [Self; 2] = [Self::Node, Self::Rbac];

    /// `Node,RBAC`.
    ///
    /// # Errors
    /// See [`ModeError`].
    pub fn parse_list(text: &str) -> Result<Vec<Self>, ModeError> {
        let mut modes = Vec::new();
        for part in text.split(',').map(str::trim).filter(|part| !part.is_empty()) {
            let mode = part.parse()?;
            if modes.contains(&mode) {
                return Err(ModeError::Twice(text.into()));
            }
            modes.push(mode);
        }
        if modes.is_empty() { Err(ModeError::None) } else { Ok(modes) }
    }
}

/// The authorizers of one server. Members of `system:masters` may do everything under any of them.
pub(crate) struct Authorizers {
    modes: Vec<AuthorizationMode>,
    rbac: Rbac,
    node: NodeAuthorizer,
}

impl Authorizers {
    pub(crate) fn new(modes: Vec<AuthorizationMode>, store: &Store) -> Arc<Self> {
        Arc::new(Self { modes, rbac: Rbac::new(store.clone()), node: NodeAuthorizer::new(store.clone()) })
    }

    /// Whether the request may go on. The way of every request: nothing is said about the reason of an allowance.
    pub(crate) fn allows(&self, user: &User, attributes: &Attributes<'_>) -> Result<(), String> {
        if user.is_in(MASTERS) {
            return Ok(());
        }
        let mut reasons: Vec<String> = Vec::new();
        for mode in &self.modes {
            let verdict = match mode {
                AuthorizationMode::AlwaysAllow => Ok(()),
                AuthorizationMode::AlwaysDeny => Err("Everything is forbidden.".into()),
                AuthorizationMode::Node => self.node.allows(user, attributes),
                AuthorizationMode::Rbac => self.rbac.allows(user, attributes),
            };
            match verdict {
                Ok(()) => return Ok(()),
                Err(reason) if reason.is_empty() => {}
                Err(reason) => reasons.push(reason),
            }
        }
        Err(reasons.join("\n"))
    }

    /// The decision with its reason, as access reviews show it.
    pub(crate) fn explain(&self, user: &User, attributes: &Attributes<'_>) -> Decision {
        match self.allows(user, attributes) {
            Err(reason) => Decision::Deny(reason),
            Ok(()) if user.is_in(MASTERS) || !self.modes.contains(&AuthorizationMode::Rbac) => {
                Decision::Allow(String::new())
            }
            Ok(()) => Decision::Allow(self.rbac.reason(user, attributes).unwrap_or_default()),
        }
    }

    /// Whether anonymous requests reach the authorizers: as in kube-apiserver, not where everything is allowed.
    pub(crate) fn takes_anonymous(&self) -> bool {
        !self.modes.contains(&AuthorizationMode::AlwaysAllow)
    }

    /// Whether anybody may do everything without being asked for any rule.
    pub(crate) fn allows_everything(&self) -> bool {
        self.modes.contains(&AuthorizationMode::AlwaysAllow)
    }

    /// Whether the Node authorizer is among the modes.
    pub(crate) fn has_node(&self) -> bool {
        self.modes.contains(&AuthorizationMode::Node)
    }

    pub(crate) fn rbac(&self) -> &Rbac {
        &self.rbac
    }

    /// Whether `txn` writes what the authorizers decide by; ask before the commit, and tell [`Self::changed`] after it.
    pub(crate) fn concerned_by(txn: &Txn) -> bool {
        txn.ops.iter().any(|op| op.key().starts_with(rbac::PREFIX))
    }

    /// Roles or bindings have changed: later decisions know of it.
    pub(crate) fn changed(&self) {
        self.rbac.changed();
    }
}

/// Notes roles and bindings that other servers on the same store write. Those of this server are known at once.
pub(crate) async fn follow(core: Arc<Core>) {
    while !core.shutdown.is_cancelled() {
        let Ok(mut watch) = core.store.watch(rbac::PREFIX, core.store.revision()) else { return };
        // What was written between two watches.
        core.authorizers.changed();
        while let Some(Ok(batch)) = core.shutdown.run_until_cancelled(watch.next()).await {
            tracing::debug!(revision = batch.revision, "roles or bindings changed");
            core.authorizers.changed();
        }
    }
}

#[cfg(test)]
mod tests;
