//! From what people call a kind to its row, and from a key in the store to the object that it is of.

use super::documents::Subject;
use api::{Kinds, Resource, Status};
use serde_json::Value;
use std::collections::HashMap;
use std::sync::Arc;

/// The row that somebody means by `text`: a plural, a singular, a short name or a kind, in any case, alone or followed
/// by `.GROUP` or `.VERSION.GROUP`, as kubectl reads them.
///
/// # Errors
/// 404 in kubectl's words.
pub(super) fn resolve(kinds: &Kinds, text: &str) -> Result<Arc<Resource>, Status> {
    let text = text.to_ascii_lowercase();
    let (name, rest) = text.split_once('.').unwrap_or((&text, ""));
    let is_called = |row: &Resource| {
        row.plural == name
            || row.singular == name
            || row.kind.eq_ignore_ascii_case(name)
            || row.short_names.iter().any(|short| short == name)
    };
    let is_in = |row: &Resource| {
        rest.is_empty()
            || row.group == rest
            || rest.split_once('.').is_some_and(|(version, group)| row.version == version && row.group == group)
            || (row.group.is_empty() && row.version == rest)
    };
    let mut found = kinds.iter().filter(|row| row.stored() && is_called(row) && is_in(row));
    let first = found.next().ok_or_else(|| {
        let message = format!("the server doesn't have a resource type {text:?}");
        Status::new(api::Reason::NotFound, message)
    })?;
    // A plural comes before another kind's short name.
    let exact = (first.plural != name).then(|| found.find(|row| row.plural == name)).flatten();
    Ok(Arc::clone(exact.unwrap_or(first)))
}

/// The rows by where their objects are kept.
pub(super) struct Storages(HashMap<String, Arc<Resource>>);

/// An object's place, out of its key.
#[derive(Clone)]
pub(super) struct Place {
    /// None: a kind that is no longer served.
    pub resource: Option<Arc<Resource>>,
    pub storage: String,
    pub namespace: String,
    pub name: String,
}

impl Storages {
    pub(super) fn new(kinds: &Kinds) -> Self {
        let mut rows: HashMap<String, Arc<Resource>> = HashMap::new();
        for row in kinds.iter().filter(|row| row.stored()) {
            let native = crate::objects::wire::is_native(row);
            let known = rows.get(row.storage.as_ref()).is_some_and(|known| crate::objects::wire::is_native(known));
            if native || !known {
                rows.insert(row.storage.to_string(), Arc::clone(row));
            }
        }
        Self(rows)
    }

    pub(super) fn place(&self, key: &[u8]) -> Place {
        let text = String::from_utf8_lossy(key);
        let cut = text.match_indices('/').nth(1).map_or(text.len(), |(at, _)| at);
        let storage = &text[..cut];
        let rest = text.get(cut + 1..).unwrap_or_default();
        let resource = self.0.get(storage).cloned();
        // The keys of a kind that is not known say themselves whether it has namespaces: names have no slash.
        let namespaced = resource.as_ref().is_none_or(|row| row.namespaced());
        let (namespace, name) = if namespaced { rest.split_once('/').unwrap_or(("", rest)) } else { ("", rest) };
        Place { resource, storage: storage.to_owned(), namespace: namespace.to_owned(), name: name.to_owned() }
    }
}

impl Place {
    pub(super) fn subject(&self) -> Subject {
        let (kind, resource) = match &self.resource {
            Some(row) => (row.kind.to_string(), plural_group(row)),
            None => {
                let (group, plural) = self.storage.split_once('/').unwrap_or(("", &self.storage));
                (plural.to_owned(), format!("{plural}.{group}"))
            }
        };
        Subject { kind, resource, namespace: self.namespace.clone(), name: self.name.clone() }
    }

    /// As [`Place::subject`], of a kind that may not be served any more: the object itself says what it is.
    pub(super) fn subject_of(&self, object: Option<&Value>) -> Subject {
        let mut subject = self.subject();
        if let (None, Some(kind)) = (&self.resource, object.and_then(|object| object["kind"].as_str())) {
            kind.clone_into(&mut subject.kind);
        }
        subject
    }

    /// What writes itself all the time: heartbeats, elections and Events.
    pub(super) fn is_chatter(&self) -> bool {
        matches!(self.storage.as_str(), "core/events" | "coordination.k8s.io/leases")
    }
}

/// `pods`, `deployments.apps`.
pub(super) fn plural_group(row: &Resource) -> String {
    if row.group.is_empty() { row.plural.to_string() } else { format!("{}.{}", row.plural, row.group) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_go_by_all_their_names() {
        let kinds = Kinds::builtin();
        for text in
            ["deploy", "Deployment", "DEPLOYMENTS", "deployments.apps", "deployments.v1.apps", "deployment.apps"]
        {
            assert_eq!(resolve(&kinds, text).unwrap().storage, "apps/deployments", "{text}");
        }
        assert_eq!(resolve(&kinds, "cm").unwrap().plural, "configmaps");
        assert_eq!(resolve(&kinds, "ev").unwrap().group, "");
        assert_eq!(resolve(&kinds, "events.events.k8s.io").unwrap().group, "events.k8s.io");
        for text in ["deployments.batch", "nothing", "bindings", ""] {
            let message = resolve(&kinds, text).err().unwrap().message;
            assert_eq!(message, format!("the server doesn't have a resource type {text:?}"));
        }
    }

    #[test]
    fn keys_name_their_objects() {
        let storages = Storages::new(&Kinds::builtin());
        let subject = |key: &str| storages.place(key.as_bytes()).subject();
        let web = subject("apps/deployments/default/web");
        assert_eq!(
            (web.resource.as_str(), web.namespace.as_str(), web.name.as_str()),
            ("deployments.apps", "default", "web")
        );
        assert_eq!(subject("core/nodes/n1").name, "n1");
        let gone = subject("example.com/widgets/a/b");
        assert_eq!(
            (gone.resource.as_str(), gone.namespace.as_str(), gone.name.as_str()),
            ("widgets.example.com", "a", "b")
        );
        assert_eq!(subject("example.com/widgets/b").name, "b");
        assert_eq!(subject("odd").name, "");
    }
}
