//! The table of kinds that is served now, with the documents derived from it (discovery, OpenAPI), each made once.
//!
//! A CRD swaps the whole catalog: readers keep the one they took, and no document outlives its table.

use api::Kinds;
use bytes::Bytes;
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::sync::Arc;

/// A rendered document.
#[derive(Clone)]
pub(crate) struct Document {
    pub bytes: Bytes,
    /// Quoted hash of the bytes.
    pub etag: String,
}

pub(crate) struct Catalog {
    pub kinds: Kinds,
    /// By the name that the endpoint gives it. Bounded: there are only so many names per group and version.
    documents: Mutex<BTreeMap<String, Document>>,
}

impl Catalog {
    pub(crate) fn new(kinds: Kinds) -> Arc<Self> {
        Arc::new(Self { kinds, documents: Mutex::default() })
    }

    /// The document called `name`, made by `make` at the first call; `None` when `make` has none.
    pub(crate) fn document(&self, name: &str, make: impl FnOnce(&Kinds) -> Option<Vec<u8>>) -> Option<Document> {
        if let Some(found) = self.documents.lock().get(name) {
            return Some(found.clone());
        }
        // Made outside the lock: two first readers may both make it, nobody waits for a slow one.
        let bytes = Bytes::from(make(&self.kinds)?);
        let document = Document { etag: etag(&bytes), bytes };
        self.documents.lock().insert(name.to_owned(), document.clone());
        Some(document)
    }
}

fn etag(bytes: &[u8]) -> String {
    use sha2::Digest as _;
    format!("\"{}\"", hex::encode_upper(sha2::Sha512::digest(bytes)))
}
