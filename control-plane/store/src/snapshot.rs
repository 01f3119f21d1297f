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
    pub fn range<'a>(&'a self, prefix: &'a [u8], start_after: Option<&'a [u8]>) -> Range<'a> {
        let from = match start_after {
            Some(key) if key >= prefix => Bound::Excluded(key),
            _ => Bound::Included(prefix),
        };
        Range { prefix, inner: self.state.root.range::<_, [u8]>((from, Bound::Unbounded)) }
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

/// An iterator over the entries below a prefix.
pub struct Range<'a> {
    prefix: &'a [u8],
    inner: imbl::ordmap::RangedIter<'a, Key, Arc<Entry>, imbl::shared_ptr::DefaultSharedPtr>,
}

impl<'a> Iterator for Range<'a> {
    type Item = (&'a [u8], &'a Arc<Entry>);

    fn next(&mut self) -> Option<Self::Item> {
        let (key, entry) = self.inner.next()?;
        key.starts_with(self.prefix).then_some((&**key, entry))
    }
}
