//! Who is asking.

use std::collections::BTreeMap;

/// Every user that proved who it is belongs to it.
pub const AUTHENTICATED: &str = "system:authenticated";
/// Who writes in the background, in nobody's name but the API server's own.
pub(crate) const APISERVER: &str = "system:apiserver";
/// May do everything.
pub const MASTERS: &str = "system:masters";

/// `user.Info` of Kubernetes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct User {
    pub name: String,
    pub uid: String,
    pub groups: Vec<String>,
    pub extra: BTreeMap<String, Vec<String>>,
}

impl User {
    /// A user that has proved to be `name`, in `groups` and `system:authenticated`.
    #[must_use]
    pub fn authenticated<G: Into<String>>(name: impl Into<String>, groups: impl IntoIterator<Item = G>) -> Self {
        let mut groups: Vec<String> = groups.into_iter().map(Into::into).collect();
        if !groups.iter().any(|group| group == AUTHENTICATED) {
            groups.push(AUTHENTICATED.into());
        }
        Self { name: name.into(), groups, ..Self::default() }
    }

    /// A component of the control plane, such as `system:kube-scheduler`, with all rights.
    #[must_use]
    pub fn component(name: &str) -> Self {
        Self::authenticated(name, [MASTERS])
    }

    /// A node: `system:node:NAME` in `system:nodes`.
    #[must_use]
    pub fn node(name: &str) -> Self {
        Self::authenticated(format!("system:node:{name}"), ["system:nodes"])
    }

    #[must_use]
    pub fn is_in(&self, group: &str) -> bool {
        self.groups.iter().any(|g| g == group)
    }
}
