//! The bindings of a revision, arranged by whom they are for. Immutable: a change of any role or binding makes a new
//! one, which parses only what changed.

use super::rules::{Rule, list};
use crate::user::User;
use serde::Deserialize;
use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use store::{Entry, Revision, Snapshot};

const ACCOUNT_PREFIX: &str = "system:serviceaccount:";
pub(super) const GROUP: &str = "rbac.authorization.k8s.io";

#[derive(Default)]
pub(super) struct Index {
    /// How many changes were known when this was made.
    pub generation: u64,
    parsed: HashMap<Arc<[u8]>, (Revision, Parsed)>,
    everywhere: Bindings,
    namespaces: HashMap<Box<str>, Bindings>,
}

/// Who is bound to what, in one namespace or everywhere.
#[derive(Default)]
struct Bindings {
    users: HashMap<Box<str>, Vec<Grant>>,
    groups: HashMap<Box<str>, Vec<Grant>>,
}

/// One subject of one binding, with the role it gets.
#[derive(Clone)]
pub(super) struct Grant {
    binding: Arc<Binding>,
    subject: usize,
    /// `None`: there is no such role.
    pub role: Option<Arc<Role>>,
}

#[derive(Clone)]
enum Parsed {
    Role(Arc<Role>),
    Binding(Arc<Binding>),
    Broken,
}

#[derive(Deserialize)]
pub(super) struct Role {
    #[serde(default, deserialize_with = "list")]
    pub rules: Vec<Rule>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Binding {
    #[serde(default)]
    metadata: Metadata,
    #[serde(default, deserialize_with = "list")]
    subjects: Vec<Subject>,
    role_ref: RoleRef,
}

#[derive(Default, Deserialize)]
struct Metadata {
    #[serde(default)]
    name: String,
    #[serde(default)]
    namespace: String,
}

#[derive(Deserialize)]
struct Subject {
    kind: String,
    name: String,
    #[serde(default)]
    namespace: Option<String>,
}

#[derive(Deserialize)]
struct RoleRef {
    kind: String,
    name: String,
}

/// The four kinds by their storage keys.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Role,
    Binding,
}

impl Index {
    /// What `snapshot` says, with what `old` has parsed already.
    pub(super) fn build(snapshot: &Snapshot, old: &Index, generation: u64) -> Self {
        let mut new = Index { generation, ..Index::default() };
        for (key, entry) in snapshot.range(super::PREFIX, None) {
            let Some(kind) = kind(key) else { continue };
            let parsed = match old.parsed.get_key_value(key) {
                Some((key, (revision, parsed))) if *revision == entry.mod_revision => {
                    new.parsed.insert(Arc::clone(key), (*revision, parsed.clone()));
                    continue;
                }
                _ => parse(kind, entry),
            };
            new.parsed.insert(key.into(), (entry.mod_revision, parsed));
        }
        let mut keys: Vec<&Arc<[u8]>> = new.parsed.keys().collect();
        keys.sort();
        let bindings: Vec<Arc<Binding>> = keys
            .into_iter()
            .filter_map(|key| match &new.parsed[key].1 {
                Parsed::Binding(binding) => Some(Arc::clone(binding)),
                _ => None,
            })
            .collect();
        for binding in bindings {
            new.add(&binding);
        }
        new
    }

    fn add(&mut self, binding: &Arc<Binding>) {
        let namespace = binding.metadata.namespace.as_str();
        let role = self.role(&binding.role_ref.kind, &binding.role_ref.name, namespace);
        let place = if namespace.is_empty() {
            &mut self.everywhere
        } else {
            self.namespaces.entry(namespace.into()).or_default()
        };
        for (at, subject) in binding.subjects.iter().enumerate() {
            let grant = Grant { binding: Arc::clone(binding), subject: at, role: role.clone() };
            match subject.kind.as_str() {
                "User" => place.users.entry(subject.name.as_str().into()).or_default().push(grant),
                "Group" => place.groups.entry(subject.name.as_str().into()).or_default().push(grant),
                "ServiceAccount" => {
                    let home = subject.namespace.as_deref().filter(|home| !home.is_empty()).unwrap_or(namespace);
                    if !home.is_empty() {
                        let user = format!("{ACCOUNT_PREFIX}{home}:{}", subject.name);
                        place.users.entry(user.into()).or_default().push(grant);
                    }
                }
                _ => {}
            }
        }
    }

    /// A role by the kind and name of a reference from `namespace`.
    pub(super) fn role(&self, kind: &str, name: &str, namespace: &str) -> Option<Arc<Role>> {
        let key = match kind {
            "ClusterRole" => format!("{GROUP}/clusterroles/{name}"),
            "Role" => format!("{GROUP}/roles/{namespace}/{name}"),
            _ => return None,
        };
        match self.parsed.get(key.as_bytes()) {
            Some((_, Parsed::Role(role))) => Some(Arc::clone(role)),
            _ => None,
        }
    }

    /// What `user` was granted: everywhere, then in `namespace` (none when empty).
    pub(super) fn grants<'i>(&'i self, user: &'i User, namespace: &str) -> impl Iterator<Item = &'i Grant> {
        let local = if namespace.is_empty() { None } else { self.namespaces.get(namespace) };
        std::iter::once(&self.everywhere).chain(local).flat_map(move |bindings| {
            let own = bindings.users.get(user.name.as_str());
            let groups = user.groups.iter().filter_map(|group| bindings.groups.get(group.as_str()));
            own.into_iter().chain(groups).flatten()
        })
    }
}

impl Grant {
    /// `clusterrole.rbac.authorization.k8s.io "x" not found`.
    pub(super) fn absent_role(&self) -> String {
        let RoleRef { kind, name } = &self.binding.role_ref;
        format!("{}.{GROUP} {name:?} not found", kind.to_ascii_lowercase())
    }
}

/// `ClusterRoleBinding "b" of ClusterRole "r" to Group "g"`.
impl fmt::Display for Grant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Binding { metadata, subjects, role_ref } = &*self.binding;
        if metadata.namespace.is_empty() {
            write!(f, "ClusterRoleBinding {:?}", metadata.name)?;
        } else {
            write!(f, "RoleBinding \"{}/{}\"", metadata.name, metadata.namespace)?;
        }
        write!(f, " of {} {:?} to ", role_ref.kind, role_ref.name)?;
        let subject = &subjects[self.subject];
        let home = subject.namespace.as_deref().filter(|home| !home.is_empty());
        if subject.kind == "ServiceAccount" {
            write!(f, "ServiceAccount \"{}/{}\"", subject.name, home.unwrap_or(&metadata.namespace))
        } else {
            write!(f, "{} {:?}", subject.kind, subject.name)
        }
    }
}

fn kind(key: &[u8]) -> Option<Kind> {
    let rest = key.strip_prefix(super::PREFIX)?;
    let plural = rest.split(|byte| *byte == b'/').next()?;
    match plural {
        b"clusterroles" | b"roles" => Some(Kind::Role),
        b"clusterrolebindings" | b"rolebindings" => Some(Kind::Binding),
        _ => None,
    }
}

fn parse(kind: Kind, entry: &Entry) -> Parsed {
    let body = &entry.value.body;
    let parsed = match kind {
        Kind::Role => serde_json::from_slice(body).map(|role| Parsed::Role(Arc::new(role))),
        Kind::Binding => serde_json::from_slice(body).map(|binding| Parsed::Binding(Arc::new(binding))),
    };
    parsed.unwrap_or_else(|error| {
        tracing::warn!(%error, "a stored role or binding cannot be read: it grants nothing");
        Parsed::Broken
    })
}
