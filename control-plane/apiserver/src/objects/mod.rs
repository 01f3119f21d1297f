//! Objects as the store holds them: keys, bodies and index bytes.
//!
//! Invariant: a stored body begins with `{"kind":K,"apiVersion":V,"metadata":{` and has no resourceVersion, so that
//! a read can insert it without parsing; see [`wire`].

mod body;
mod convert;
mod facts;
mod index;
mod owners;
pub(crate) mod wire;

pub(crate) use body::{encode, encode_as, encode_marked, encode_over, encode_unserved, parse};
pub(crate) use convert::between;
pub(crate) use facts::Facts;
pub(crate) use index::Index;
pub(crate) use owners::{
    Apart, entry_without as without_owners, parse_apart, parse_metadata, put as put_owners, take as take_owners,
    without as body_without_owners,
};

use api::Resource;

/// `{storage}/{namespace}/{name}`, or `{storage}/{name}` for cluster-scoped kinds.
pub(crate) fn key(resource: &Resource, namespace: &str, name: &str) -> Vec<u8> {
    let mut key = prefix(resource, namespace);
    key.extend_from_slice(name.as_bytes());
    key
}

/// What the keys of all objects of a kind (in one namespace, unless `namespace` is empty) begin with.
pub(crate) fn prefix(resource: &Resource, namespace: &str) -> Vec<u8> {
    let mut key = Vec::with_capacity(resource.storage.len() + namespace.len() + 64);
    key.extend_from_slice(resource.storage.as_bytes());
    key.push(b'/');
    if resource.namespaced() && !namespace.is_empty() {
        key.extend_from_slice(namespace.as_bytes());
        key.push(b'/');
    }
    key
}

/// Namespace (empty for cluster-scoped kinds) and name out of a key.
pub(crate) fn subject<'k>(resource: &Resource, key: &'k [u8]) -> (&'k str, &'k str) {
    let rest = key.get(resource.storage.len() + 1..).unwrap_or_default();
    let text = std::str::from_utf8(rest).unwrap_or_default();
    if resource.namespaced() { text.split_once('/').unwrap_or(("", text)) } else { ("", text) }
}

#[cfg(test)]
mod tests;
