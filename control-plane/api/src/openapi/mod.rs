//! OpenAPI v2 and v3 documents, made from the table of kinds on request: what `kubectl explain`, `apply`, `diff` and
//! client-side validation read. Nothing is kept: the API server caches answers by their hash.

mod custom;
mod definitions;
mod gnostic;
mod operation;
mod paths;

use crate::discovery;
use crate::kinds::{Kinds, Resource, group_version};
use definitions::{Definitions, Dialect};
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};
use std::collections::BTreeSet;

pub use gnostic::encode as v2_protobuf;

/// `/openapi/v3`: where the document of each group and version is, with a hash of what it says.
#[must_use]
pub fn v3_index(kinds: &Kinds) -> Value {
    let entry = |(group, version): (&str, &str)| {
        let place = if group.is_empty() { format!("api/{version}") } else { format!("apis/{group}/{version}") };
        let hash = hash(kinds, group, version);
        let url = format!("/openapi/v3/{place}?hash={hash}");
        (place, json!({"serverRelativeURL": url}))
    };
    let paths: Map<String, Value> = versions(kinds).into_iter().map(entry).collect();
    json!({"paths": paths})
}

/// The hash in the index, also good as an ETag. None: no such group and version.
#[must_use]
pub fn v3_hash(kinds: &Kinds, group: &str, version: &str) -> Option<String> {
    kinds.serves(group, version).then(|| hash(kinds, group, version))
}

/// `/openapi/v3/api/v1`, `/openapi/v3/apis/{group}/{version}`. Some milliseconds of work: cache the answer by hash.
#[must_use]
pub fn v3_document(kinds: &Kinds, group: &str, version: &str) -> Option<Value> {
    if !kinds.serves(group, version) {
        return None;
    }
    let rows = kinds.iter().map(AsRef::as_ref).filter(|row| row.group == group && row.version == version);
    let (schemas, paths) = document(kinds, rows, Dialect::V3);
    Some(json!({
        "openapi": "3.0.0",
        "info": {"title": "Kubernetes", "version": "unversioned"},
        "paths": paths,
        "components": {"schemas": schemas},
    }))
}

/// `/openapi/v2` as JSON. Tens of milliseconds of work: cache the answer by [`v2_hash`].
#[must_use]
pub fn v2_document(kinds: &Kinds) -> Value {
    let (definitions, paths) = document(kinds, kinds.iter().map(AsRef::as_ref), Dialect::V2);
    json!({
        "swagger": "2.0",
        "info": {"title": "Kubernetes", "version": "unversioned"},
        "paths": paths,
        "definitions": definitions,
    })
}

/// Changes whenever [`v2_document`] would.
#[must_use]
pub fn v2_hash(kinds: &Kinds) -> String {
    let mut sum = Sha256::new();
    for (group, version) in versions(kinds) {
        sum.update(hash(kinds, group, version));
    }
    hexadecimal(&sum.finalize())
}

fn document<'a>(
    kinds: &'a Kinds,
    rows: impl Iterator<Item = &'a Resource>,
    dialect: Dialect,
) -> (Map<String, Value>, Map<String, Value>) {
    let mut definitions = Definitions::new(dialect);
    let mut paths = Map::new();
    for row in rows {
        paths::add(&mut paths, row, &mut definitions);
    }
    (definitions.finish(kinds), paths)
}

fn versions(kinds: &Kinds) -> BTreeSet<(&str, &str)> {
    kinds.iter().map(|row| (row.group.as_ref(), row.version.as_ref())).collect()
}

/// What a document says follows from this program, the rows' discovery entries and the CRDs' own schemas.
fn hash(kinds: &Kinds, group: &str, version: &str) -> String {
    let mut sum = Sha256::new();
    sum.update(env!("CARGO_PKG_VERSION"));
    sum.update(group_version(group, version));
    sum.update(discovery::api_resources(kinds, group, version).unwrap_or_default().to_string());
    for row in kinds.iter().filter(|row| row.group == group && row.version == version) {
        if let Some(document) = row.schema.document() {
            sum.update(document.as_bytes());
        }
    }
    hexadecimal(&sum.finalize())
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02X}")).collect()
}

#[cfg(test)]
mod tests;
