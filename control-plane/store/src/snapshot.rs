//! The state at one revision: an immutable root. Taking one costs a reference count; reading one
//! never locks and never touches the disk.

use std::ops::Bound;
use std::sync::Arc;

use imbl::OrdMap;

use crate::types::{Entry, Event, Key, Revision};

/// The persistent map: old roots share what did not change.
pub(crate) type Root = OrdMap<Key, Arc<Entry>>;

/// A root and its revision.
#[derive(Clone, Debug, Default)]
pub(crate) struct State {
    pub revision: Revision,
    pub root: Root,
}

impl State {
    /// Go back over `event`.
    pub fn undo(&mut self, event: &Event) {
        match &event.prev {
            Some(prev) => self.root.insert(event.key.clone(), prev.clone()),
            None => self.root.remove(&event.key),
        };
    }
}

/// Everything the store held at one revision.
#[derive(Clone, Debug)]
pub struct Snapshot {
    state: Arc<State>,
}

impl Snapshot {
    pub(crate) fn new(state: Arc<State>) -> Self {
        Self { state }
    }

    #[must_use]
    pub fn revision(&self) -> Revision {
        self.state.revision
    }

    #[must_use]
    pub fn get(&self, key: &[u8]) -> Option<&Arc<Entry>> {
        self.state.root.get(key)
    }

    /// The entries whose keys begin with `prefix`, in key order, from the first one after
    /// `start_after`.
    #[must_use]
    pub fn range(&self, prefix: &[u8], start_after: Option<&[u8]>) -> Range<'_> {
        let from = match start_after {
            Some(key) if key >= prefix => Bound::Excluded(key),
            _ => Bound::Included(prefix),
        };
        // Where to stop is found once, so that walking on looks at no key: each would be a cache miss.
        let beyond = successor(prefix);
        let until = beyond.as_deref().map_or(Bound::Unbounded, Bound::Excluded);
        Range { inner: self.state.root.range::<_, [u8]>((from, until)) }
    }

    /// How many keys begin with `prefix`. Walks them.
    #[must_use]
    pub fn count(&self, prefix: &[u8]) -> usize {
        if prefix.is_empty() { self.len() } else { self.range(prefix, None).count() }
    }

    /// How many keys there are in all.
    #[must_use]
    pub fn len(&self) -> usize {
        self.state.root.len()
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.state.root.is_empty()
    }
}

/// The least key above all that begin with `prefix`; `None` when there is none.
fn successor(prefix: &[u8]) -> Option<Vec<u8>> {
    let last = prefix.iter().rposition(|byte| *byte < u8::MAX)?;
    let mut key = prefix[..=last].to_vec();
    key[last] += 1;
    Some(key)
}

/// An iterator over the entries below a prefix.
pub struct Range<'a> {
    inner: imbl::ordmap::RangedIter<'a, Key, Arc<Entry>, imbl::shared_ptr::DefaultSharedPtr>,
}

impl<'a> Iterator for Range<'a> {
    type Item = (&'a [u8], &'a Arc<Entry>);

    fn next(&mut self) -> Option<Self::Item> {
        self.inner.next().map(|(key, entry)| (&**key, entry))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_is_what_begins_with_its_prefix() {
        let names: [&[u8]; 9] =
            [b"", b"a", b"a\xff", b"a\xff\xff", b"a\xff\xffz", b"b", b"ba", b"\xff", b"\xff\xff\x01"];
        let value = crate::types::Value { body: bytes::Bytes::new(), index: bytes::Bytes::new() };
        let entry = Arc::new(Entry { value, create_revision: 1, mod_revision: 1, version: 1 });
        let root = names.iter().map(|name| (Key::from(*name), Arc::clone(&entry))).collect();
        let snapshot = Snapshot::new(Arc::new(State { revision: 1, root }));
        for prefix in names.iter().chain(&[&b"c"[..], b"\xff\xff\xff"]) {
            for after in [None].into_iter().chain(names.map(Some)).chain([Some(&b"zz"[..])]) {
                let found: Vec<_> = snapshot.range(prefix, after).map(|(key, _)| key).collect();
                let mut expected: Vec<_> = names
                    .into_iter()
                    .filter(|n| n.starts_with(prefix) && after.is_none_or(|after| *n > after))
                    .collect();
                expected.sort_unstable();
                assert_eq!(found, expected, "{prefix:?} after {after:?}");
            }
        }
    }
}
