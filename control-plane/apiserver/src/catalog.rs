//! The table of kinds that is served now, with the documents derived from it (discovery, OpenAPI), each made once.
//!
//! A CRD swaps the whole catalog: readers keep the one they took, and no document outlives its table.

use api::kinds::Text;
use api::{Kinds, Resource};
use bytes::Bytes;
use parking_lot::Mutex;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use tokio_util::sync::CancellationToken;

/// A rendered document.
#[derive(Clone)]
pub(crate) struct Document {
    pub bytes: Bytes,
    /// Quoted hash of the bytes.
    pub etag: String,
}

pub(crate) struct Catalog {
    pub kinds: Kinds,
    /// How long custom kinds live, by their storage: cancelled when their CRD changes or goes.
    lives: HashMap<Text, CancellationToken>,
    /// By the name that the endpoint gives it. Bounded: there are only so many names per group and version.
    documents: Mutex<BTreeMap<String, Document>>,
}

impl Catalog {
    pub(crate) fn new(kinds: Kinds) -> Arc<Self> {
        Self::with_custom(kinds, HashMap::new())
    }

    pub(crate) fn with_custom(kinds: Kinds, lives: HashMap<Text, CancellationToken>) -> Arc<Self> {
        Arc::new(Self { kinds, lives, documents: Mutex::default() })
    }

    /// What ends the watches on a custom kind; None for built-in kinds, which never end.
    pub(crate) fn life(&self, resource: &Arc<Resource>) -> Option<CancellationToken> {
        resource.custom.as_ref()?;
        let now = self.kinds.find(&resource.group, &resource.version, &resource.plural);
        let life = now.filter(|now| Arc::ptr_eq(now, resource)).and_then(|now| self.lives.get(&now.storage).cloned());
        // A row that another has taken the place of meanwhile.
        Some(life.unwrap_or_else(|| {
            let ended = CancellationToken::new();
            ended.cancel();
            ended
        }))
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
