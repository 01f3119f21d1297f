//! Who is asking.

use std::collections::BTreeMap;

/// Every user that proved who it is belongs to it.
pub const AUTHENTICATED: &str = "system:authenticated";
/// Who writes in the background, in nobody's name but the API server's own.
pub(crate) const APISERVER: &str = "system:apiserver";
/// Whoever proved nothing, and the group that it is in.
pub const ANONYMOUS: &str = "system:anonymous";
pub const UNAUTHENTICATED: &str = "system:unauthenticated";
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

    /// Somebody who proved nothing.
    #[must_use]
    pub fn anonymous() -> Self {
        Self { name: ANONYMOUS.into(), groups: vec![UNAUTHENTICATED.into()], ..Self::default() }
    }

    /// A service account: `system:serviceaccount:NAMESPACE:NAME` in the groups of all of them and of its namespace's.
    #[must_use]
    pub fn service_account(namespace: &str, name: &str) -> Self {
        let groups = ["system:serviceaccounts".to_owned(), format!("system:serviceaccounts:{namespace}")];
        Self::authenticated(format!("system:serviceaccount:{namespace}:{name}"), groups)
    }

    /// A component with all rights, whatever the authorizers say.
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
