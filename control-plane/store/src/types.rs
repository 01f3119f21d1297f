//! The store's vocabulary: keys, entries, events and transactions. Data only.

use std::fmt;
use std::ops::Deref;
use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use parking_lot::Mutex;

/// A point in the store's history. The first write is revision 1; 0 is the empty store.
pub type Revision = u64;

/// A key. Ordered bytewise.
pub type Key = Arc<[u8]>;

/// What a key holds. The store interprets neither part.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Value {
    pub body: Bytes,
    /// A compact companion of `body` that readers filter by without parsing it.
    pub index: Bytes,
}

impl Value {
    #[must_use]
    pub fn new(body: impl Into<Bytes>) -> Self {
        Self { body: body.into(), index: Bytes::new() }
    }

    /// Bytes of both parts.
    #[must_use]
    pub fn len(&self) -> usize {
        self.body.len() + self.index.len()
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The same value in one allocation of exactly its size, so that a small value never keeps a
    /// large request buffer alive.
    pub(crate) fn compacted(self) -> Self {
        let split = self.index.len();
        let mut joined = Vec::with_capacity(self.len());
        joined.extend_from_slice(&self.index);
        joined.extend_from_slice(&self.body);
        Self::joined(Bytes::from(joined), split)
    }

    /// A value whose parts are slices of one buffer: index first, then body.
    pub(crate) fn joined(bytes: Bytes, index_len: usize) -> Self {
        if index_len == 0 {
            // Buffers with one owner need no count of owners: that would be one more allocation.
            return Self { index: Bytes::new(), body: bytes };
        }
        let mut body = bytes;
        Self { index: body.split_to(index_len), body }
    }
}

/// A value and where it stands in history.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    pub value: Value,
    /// Revision at which the key came into being (again).
    pub create_revision: Revision,
    /// Revision of this value.
    pub mod_revision: Revision,
    /// Number of writes since `create_revision`, starting at 1.
    pub version: u64,
}

/// One change of one key. All events of a transaction share its revision.
#[derive(Debug)]
pub struct Event {
    pub key: Key,
    pub revision: Revision,
    /// The new value; `None` when the key was deleted.
    pub entry: Option<Arc<Entry>>,
    /// The value before; `None` when the key did not exist.
    pub prev: Option<Arc<Entry>>,
    forms: Mutex<Forms>,
}

/// The wire forms of an event that somebody has made.
#[derive(Debug)]
enum Forms {
    Kept([Option<Bytes>; Event::FORMS]),
    /// The event is no news any more: forms are made and not kept.
    Past,
}

impl Event {
    /// What an event costs beside its key and values, about.
    pub(crate) const OVERHEAD: usize = 320;
    /// How many wire forms an event can have.
    pub const FORMS: usize = 2;

    pub(crate) fn new(key: Key, revision: Revision, entry: Option<Arc<Entry>>, prev: Option<Arc<Entry>>) -> Self {
        Self { key, revision, entry, prev, forms: Mutex::new(Forms::Kept([const { None }; Self::FORMS])) }
    }

    /// One of the event's wire forms (below [`FORMS`](Self::FORMS)), made by whoever asks first and shared by all watchers
    /// while the event is news. Every caller must pass a function with the same result for the same form.
    pub fn encoded(&self, form: usize, encode: impl FnOnce() -> Bytes) -> Bytes {
        let mut forms = self.forms.lock();
        match &mut *forms {
            Forms::Kept(kept) => kept[form].get_or_insert_with(encode).clone(),
            Forms::Past => {
                drop(forms);
                encode()
            }
        }
    }

    /// Whoever wanted to know at once knows by now: lets go of the wire forms.
    pub(crate) fn retire(&self) {
        *self.forms.lock() = Forms::Past;
    }

    /// Bytes that keeping this event keeps alive, with room for an encoded form.
    pub(crate) fn cost(&self) -> usize {
        let size = |entry: &Option<Arc<Entry>>| entry.as_ref().map_or(0, |entry| entry.value.len());
        Self::OVERHEAD + self.key.len() + size(&self.entry) + size(&self.prev)
    }
}

/// Some events in order, shared by all watches that were given the same ones.
#[derive(Clone, Debug, Default)]
pub struct Events(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    events: Box<[Arc<Event>]>,
    joined: [OnceLock<Option<Bytes>>; Event::FORMS],
}

impl Events {
    /// The wire forms (below [`Event::FORMS`]) of all of them, one after the other: joined by whoever asks first and
    /// shared by everybody who was given these events. Every caller must pass a function with the same result for the
    /// same form; `None`: too much to be joined.
    pub fn joined(&self, form: usize, join: impl FnOnce(&[Arc<Event>]) -> Option<Bytes>) -> Option<Bytes> {
        self.0.joined[form].get_or_init(|| join(&self.0.events)).clone()
    }

    /// Whether both are one.
    #[cfg(test)]
    pub(crate) fn same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl From<Vec<Arc<Event>>> for Events {
    fn from(events: Vec<Arc<Event>>) -> Self {
        Self(Arc::new(Shared { events: events.into(), joined: Default::default() }))
    }
}

impl Deref for Events {
    type Target = [Arc<Event>];

    fn deref(&self) -> &Self::Target {
        &self.0.events
    }
}

impl<'e> IntoIterator for &'e Events {
    type Item = &'e Arc<Event>;
    type IntoIter = std::slice::Iter<'e, Arc<Event>>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

/// A precondition of a transaction.
#[derive(Clone, Debug)]
pub struct Compare {
    pub key: Key,
    /// The revision the key must have been written at last; 0 means that it must not exist.
    pub mod_revision: Revision,
}

/// One change that a transaction makes.
#[derive(Clone, Debug)]
pub enum Op {
    Put {
        key: Key,
        value: Value,
    },
    /// Deleting an absent key changes nothing and makes no event.
    Delete {
        key: Key,
    },
}

impl Op {
    #[must_use]
    pub fn key(&self) -> &Key {
        match self {
            Op::Put { key, .. } | Op::Delete { key } => key,
        }
    }
}

/// An atomic change: all operations happen, at one revision, if every comparison holds.
/// A key may appear in one operation only.
#[derive(Clone, Debug, Default)]
pub struct Txn {
    pub compare: Vec<Compare>,
    pub ops: Vec<Op>,
    /// Who makes the change: kept with it in history, and nothing else. Empty when nobody says.
    pub author: Author,
}

impl Txn {
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Write `key` whatever it holds now.
    #[must_use]
    pub fn put(mut self, key: impl AsRef<[u8]>, value: Value) -> Self {
        self.ops.push(Op::Put { key: key.as_ref().into(), value });
        self
    }

    /// Delete `key` whatever it holds now.
    #[must_use]
    pub fn delete(mut self, key: impl AsRef<[u8]>) -> Self {
        self.ops.push(Op::Delete { key: key.as_ref().into() });
        self
    }

    /// Say who makes the change.
    #[must_use]
    pub fn by(mut self, author: Author) -> Self {
        self.author = author;
        self
    }

    /// Require that `key` was last written at `mod_revision` (0: that it does not exist).
    #[must_use]
    pub fn require(mut self, key: impl AsRef<[u8]>, mod_revision: Revision) -> Self {
        self.compare.push(Compare { key: key.as_ref().into(), mod_revision });
        self
    }

    /// Write `key`, which must not exist.
    #[must_use]
    pub fn create(key: impl AsRef<[u8]>, value: Value) -> Self {
        Self::new().require(&key, 0).put(key, value)
    }

    /// Write `key`, which must still be as it was at `mod_revision`.
    #[must_use]
    pub fn update(key: impl AsRef<[u8]>, mod_revision: Revision, value: Value) -> Self {
        Self::new().require(&key, mod_revision).put(key, value)
    }

    /// Delete `key`, which must still be as it was at `mod_revision`.
    #[must_use]
    pub fn remove(key: impl AsRef<[u8]>, mod_revision: Revision) -> Self {
        Self::new().require(&key, mod_revision).delete(key)
    }

    /// Bytes that this transaction carries.
    #[must_use]
    pub fn len(&self) -> usize {
        self.ops
            .iter()
            .map(|op| match op {
                Op::Put { key, value } => key.len() + value.len(),
                Op::Delete { key } => key.len(),
            })
            .sum()
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.ops.is_empty()
    }
}

/// Who made a change: a user's name, as history shows it. Shared, because one author makes many changes.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Author(Arc<str>);

impl Author {
    /// Bytes of a name that history keeps; the rest is cut off.
    pub const MAX_BYTES: usize = 256;

    /// The author called `name`, cut to [`Author::MAX_BYTES`].
    #[must_use]
    pub fn new(name: &str) -> Self {
        Self(name[..name.floor_char_boundary(Self::MAX_BYTES)].into())
    }

    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Default for Author {
    fn default() -> Self {
        static NOBODY: OnceLock<Author> = OnceLock::new();
        NOBODY.get_or_init(|| Self("".into())).clone()
    }
}

/// One revision of history: what changed, when, and by whom.
#[derive(Clone, Debug)]
pub struct Change {
    pub revision: Revision,
    /// Wall time in milliseconds since 1970, of the machine that wrote it.
    pub at_ms: u64,
    pub author: Author,
    /// Every key that changed, or those that were asked for, in the order of the keys.
    pub events: Vec<Arc<Event>>,
}

/// One page of history.
#[derive(Clone, Debug, Default)]
pub struct Changes {
    /// Oldest first, each with at least one event.
    pub changes: Vec<Change>,
    /// Nothing that was asked for and is at or below this revision is missing from `changes`: the next page begins
    /// after it.
    pub upto: Revision,
}

/// What a transaction did.
#[derive(Clone, Debug)]
pub struct Committed {
    /// The transaction's revision; when it changed nothing, the revision it was checked at.
    pub revision: Revision,
    /// One event per operation that changed something, in the order of the operations.
    pub events: Arc<[Arc<Event>]>,
}

/// A store's identity, made when it is created. A fork has its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClusterId(pub u128);

impl ClusterId {
    pub(crate) fn random() -> Self {
        Self(rand::random())
    }
}

impl fmt::Display for ClusterId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let hex = format!("{:032x}", self.0);
        write!(f, "{}-{}-{}-{}-{}", &hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..])
    }
}
