//! The name of an object within its kind.

use std::fmt;
use std::sync::Arc;

/// Namespace (empty for cluster scope) and name. Cheap to clone: the same text is shared by stores, indexes and queues.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Key(Arc<(Box<str>, Box<str>)>);

impl Key {
    #[must_use]
    pub fn new(namespace: &str, name: &str) -> Self {
        Self(Arc::new((namespace.into(), name.into())))
    }

    #[must_use]
    pub fn cluster(name: &str) -> Self {
        Self::new("", name)
    }

    #[must_use]
    pub fn of<K: kube::Resource>(object: &K) -> Self {
        let meta = object.meta();
        Self::new(meta.namespace.as_deref().unwrap_or_default(), meta.name.as_deref().unwrap_or_default())
    }

    #[must_use]
    pub fn namespace(&self) -> &str {
        &self.0.0
    }

    /// The namespace as the client wants it: `None` for cluster scope.
    #[must_use]
    pub fn scope(&self) -> Option<&str> {
        (!self.0.0.is_empty()).then_some(&self.0.0)
    }

    #[must_use]
    pub fn name(&self) -> &str {
        &self.0.1
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.0.is_empty() { f.write_str(&self.0.1) } else { write!(f, "{}/{}", self.0.0, self.0.1) }
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
