//! Which objects a list or a watch is about: a kind, perhaps one namespace, perhaps selectors. Decided on the key and
//! the index bytes of an entry, never on its body.

use crate::objects::{self, Index};
use crate::request::ListOptions;
use api::Resource;
use api::selector::{Fields, Labels};
use std::sync::Arc;
use store::Entry;

#[derive(Clone)]
pub(super) struct Selection {
    pub resource: Arc<Resource>,
    /// What the keys begin with.
    pub prefix: Vec<u8>,
    labels: Labels,
    fields: Fields,
}

impl Selection {
    /// `name`: a watch on one object's own path.
    pub(super) fn new(resource: &Arc<Resource>, namespace: &str, name: &str, options: &ListOptions) -> Self {
        // A selector that fixes the namespace (and the name) narrows the walk as a path would.
        let namespace = match options.fields.exact("metadata.namespace") {
            Some(exact) if resource.namespaced() && namespace.is_empty() => exact,
            _ => namespace,
        };
        let name = match options.fields.exact("metadata.name") {
            Some(exact) if name.is_empty() && (!resource.namespaced() || !namespace.is_empty()) => exact,
            _ => name,
        };
        let mut prefix = objects::prefix(resource, namespace);
        prefix.extend_from_slice(name.as_bytes());
        Self {
            resource: Arc::clone(resource),
            prefix,
            labels: options.labels.clone(),
            fields: with_name(options, name),
        }
    }

    /// Whether every object below the prefix is meant.
    pub(super) fn is_everything(&self) -> bool {
        self.labels.is_everything() && self.fields.is_everything()
    }

    pub(super) fn matches(&self, key: &[u8], entry: &Entry) -> bool {
        if self.is_everything() {
            return true;
        }
        let index = Index::of(entry);
        if !self.labels.is_everything() && !self.labels.matches(|label| index.label(label)) {
            return false;
        }
        if self.fields.is_everything() {
            return true;
        }
        let (namespace, name) = objects::subject(&self.resource, key);
        self.fields.matches(|field| match field {
            "metadata.name" => Some(name),
            "metadata.namespace" => Some(namespace),
            field => index.field(field),
        })
    }
}

/// The field selector, with the name that the path asks for (a prefix alone would also match longer names).
fn with_name(options: &ListOptions, name: &str) -> Fields {
    if name.is_empty() || options.fields.exact("metadata.name") == Some(name) {
        return options.fields.clone();
    }
    let mut text = options.fields.to_string();
    if !text.is_empty() {
        text.push(',');
    }
    text.push_str("metadata.name=");
    text.push_str(name);
    Fields::parse(&text).unwrap_or_else(|_| options.fields.clone())
}
