//! Objects that admission asks again and again, parsed once for each revision of theirs.

use parking_lot::Mutex;
use serde_json::Value;
use std::collections::HashMap;
use std::sync::Arc;
use store::{Entry, Key, Revision};

/// When more are known than this, all are forgotten: there are seldom that many.
const MOST: usize = 1024;

/// What `make` makes of objects, by key and revision.
pub(super) struct Parsed<T> {
    known: Mutex<HashMap<Key, (Revision, Arc<T>)>>,
    make: fn(&Value) -> T,
}

impl<T> Parsed<T> {
    /// A body that cannot be read is given to `make` as `null`.
    pub(super) fn new(make: fn(&Value) -> T) -> Self {
        Self { known: Mutex::default(), make }
    }

    pub(super) fn get(&self, key: &[u8], entry: &Entry) -> Arc<T> {
        if let Some((revision, made)) = self.known.lock().get(key)
            && *revision == entry.mod_revision
        {
            return Arc::clone(made);
        }
        // Outside the lock: two may make the same, nobody waits.
        let object: Value = serde_json::from_slice(&entry.value.body).unwrap_or_default();
        let made = Arc::new((self.make)(&object));
        let mut known = self.known.lock();
        if known.len() >= MOST {
            known.clear();
        }
        known.insert(Key::from(key), (entry.mod_revision, Arc::clone(&made)));
        made
    }
}
