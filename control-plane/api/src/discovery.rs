//! Discovery documents, made from the table of kinds. (Bodies follow.)

use crate::kinds::Kinds;
use serde_json::Value;

/// `/api`: `APIVersions`. `address` is the `host:port` that clients reach this server at.
#[must_use]
pub fn api_versions(_kinds: &Kinds, _address: &str) -> Value {
    Value::Null
}

/// `/apis`: `APIGroupList`.
#[must_use]
pub fn api_groups(_kinds: &Kinds) -> Value {
    Value::Null
}

/// `/apis/{group}`: `APIGroup`.
#[must_use]
pub fn api_group(_kinds: &Kinds, _group: &str) -> Option<Value> {
    None
}

/// `/api/v1` and `/apis/{group}/{version}`: `APIResourceList`. None: no such group and version.
#[must_use]
pub fn api_resources(_kinds: &Kinds, _group: &str, _version: &str) -> Option<Value> {
    None
}

/// Which of the two roots an aggregated document is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Root {
    /// `/api`: the core group.
    Core,
    /// `/apis`: all the others.
    Groups,
}

/// The version of `apidiscovery.k8s.io` that the client asked for in `Accept` (`…;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AggregatedVersion {
    V2,
    /// Asked for by kubectl 1.27 to 1.29; the same document under another apiVersion.
    V2Beta1,
}

/// `/api` and `/apis` as `APIGroupDiscoveryList`.
#[must_use]
pub fn aggregated(_kinds: &Kinds, _root: Root, _version: AggregatedVersion) -> Value {
    Value::Null
}
