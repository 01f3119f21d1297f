//! OpenAPI v2 and v3 documents, made from the table of kinds on request. (Bodies follow.)

use crate::kinds::Kinds;
use serde_json::Value;

/// `/openapi/v3`: where the document of each group and version is, with a hash of what it says.
#[must_use]
pub fn v3_index(_kinds: &Kinds) -> Value {
    Value::Null
}

/// The hash in the index, also good as an ETag. None: no such group and version.
#[must_use]
pub fn v3_hash(_kinds: &Kinds, _group: &str, _version: &str) -> Option<String> {
    None
}

/// `/openapi/v3/api/v1`, `/openapi/v3/apis/{group}/{version}`. Some milliseconds of work: cache the answer by hash.
#[must_use]
pub fn v3_document(_kinds: &Kinds, _group: &str, _version: &str) -> Option<Value> {
    None
}

/// `/openapi/v2` as JSON. Tens of milliseconds of work: cache the answer by [`v2_hash`].
#[must_use]
pub fn v2_document(_kinds: &Kinds) -> Value {
    Value::Null
}

/// Changes whenever [`v2_document`] would.
#[must_use]
pub fn v2_hash(_kinds: &Kinds) -> String {
    String::new()
}

/// A v2 document as gnostic protobuf (`application/com.github.proto-openapi.spec.v2@v1.0+protobuf`), which kubectl before 1.30 wants.
#[must_use]
pub fn v2_protobuf(_document: &Value) -> Vec<u8> {
    Vec::new()
}
