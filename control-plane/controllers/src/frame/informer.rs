//! One kind's objects in memory, shared by all controllers of the process, with indexes and change signals.
//!
//! Read your writes: what a controller wrote is put in with [`Informer::learn`] before it goes on, so
//! that its next look sees it, whether or not the watch has delivered it yet. Revisions decide what is newer;
//! what the watch has passed already is never put back.

use super::access::{Access, Kind};
use super::key::Key;
use super::reflector::{Depth, Sink, reflect, revision};
use crate::owners::controller_of;
use parking_lot::{Mutex, RwLock};
use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tracing::Instrument;

/// What an object can be found by.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Index {
    Namespace(String),
    /// The UID of the controlling owner.
    Owner(String),
    /// Objects of the namespace without a controlling owner.
    Orphans(String),
    Node(String),
    Label {
        namespace: String,
        name: String,
        value: String,
    },
}

/// Which indexes an object belongs to.
pub type Indexer<K> = fn(&K, &mut Vec<Index>);

/// A change, told after the store shows it.
#[derive(Debug)]
pub enum Change<'a, K> {
    Added(&'a Arc<K>),
    Updated { old: &'a Arc<K>, new: &'a Arc<K> },
    Deleted(&'a Arc<K>),
}

impl<'a, K> Change<'a, K> {
    /// The object as it is now, or was last.
    #[must_use]
    pub fn object(&self) -> &'a Arc<K> {
        match self {
            Self::Added(object) | Self::Deleted(object) | Self::Updated { new: object, .. } => object,
        }
    }
}

type Handler<K> = Box<dyn Fn(&Change<'_, K>) + Send + Sync>;

/// Cheap to clone; clones share everything.
pub struct Informer<K>(Arc<Inner<K>>);

impl<K> Clone for Informer<K> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

struct Inner<K> {
    state: RwLock<State<K>>,
    /// Held while a change is applied and told: handlers see changes in their order.
    turn: Mutex<()>,
    handlers: RwLock<Vec<Handler<K>>>,
    indexer: Indexer<K>,
    trim: fn(&mut K),
    depth: Depth,
    synced: watch::Sender<bool>,
    wanted: AtomicBool,
}

struct State<K> {
    objects: HashMap<Key, Arc<K>>,
    index: HashMap<Index, BTreeSet<Key>>,
    /// Everything up to this was delivered by the watch.
    reached: u64,
}

/// Where an object comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Origin {
    Watch,
    OwnWrite,
}

impl<K: Kind> State<K> {
    fn put(&mut self, key: Key, object: Arc<K>, indexer: Indexer<K>) -> Option<Arc<K>> {
        let old = self.take(&key, indexer);
        let mut entries = Vec::new();
        indexer(&object, &mut entries);
        for entry in entries {
            self.index.entry(entry).or_default().insert(key.clone());
        }
        self.objects.insert(key, object);
        old
    }

    fn take(&mut self, key: &Key, indexer: Indexer<K>) -> Option<Arc<K>> {
        let old = self.objects.remove(key)?;
        let mut entries = Vec::new();
        indexer(&old, &mut entries);
        for entry in entries {
            if let Some(keys) = self.index.get_mut(&entry) {
                keys.remove(key);
                if keys.is_empty() {
                    self.index.remove(&entry);
                }
            }
        }
        Some(old)
    }
}

impl<K: Kind> Informer<K> {
    #[must_use]
    pub fn new(indexer: Indexer<K>) -> Self {
        Self::of(Depth::Whole, indexer, |_| {})
    }

    /// An informer whose objects go through `trim` before they are kept: it drops what nobody asks of them, and may not
    /// change what is left. (client-go's `SetTransform`.)
    #[must_use]
    pub fn trimmed(indexer: Indexer<K>, trim: fn(&mut K)) -> Self {
        Self::of(Depth::Whole, indexer, trim)
    }

    /// Of the objects called `name` only: nothing is decoded or kept of the others.
    #[must_use]
    pub fn named(name: &'static str) -> Self {
        Self::of(Depth::Named(name), unindexed, |_| {})
    }

    fn of(depth: Depth, indexer: Indexer<K>, trim: fn(&mut K)) -> Self {
        Self(Arc::new(Inner {
            state: RwLock::new(State { objects: HashMap::new(), index: HashMap::new(), reached: 0 }),
            turn: Mutex::new(()),
            handlers: RwLock::new(Vec::new()),
            indexer,
            trim,
            depth,
            synced: watch::Sender::new(false),
            wanted: AtomicBool::new(false),
        }))
    }

    /// Marks the informer as needed: only needed ones are started.
    #[must_use]
    pub fn wanted(&self) -> Self {
        self.0.wanted.store(true, Ordering::Relaxed);
        self.clone()
    }

    pub(crate) fn is_wanted(&self) -> bool {
        self.0.wanted.load(Ordering::Relaxed)
    }

    /// Whether it has all objects of its kind once it runs.
    pub(crate) fn is_complete(&self) -> bool {
        self.0.depth == Depth::Whole
    }

    /// Calls `handler` on each change. It must be quick and must not write to the informer.
    pub fn on_change(&self, handler: impl Fn(&Change<'_, K>) + Send + Sync + 'static) {
        self.0.handlers.write().push(Box::new(handler));
    }

    /// Starts listing and watching, if somebody wants it.
    pub fn start(&self, access: &Access, tasks: &mut tokio::task::JoinSet<()>, token: &CancellationToken) {
        if !self.is_wanted() {
            return;
        }
        let path = K::url_path(&(), None);
        let span = tracing::info_span!("informer", kind = %K::kind(&()));
        let sink: Arc<dyn Sink<K>> = Arc::new(self.clone());
        tasks.spawn(reflect(access.client().clone(), path, self.0.depth, sink, token.clone()).instrument(span));
    }

    /// Waits until the first list is in, if the informer was started at all.
    pub async fn synced(&self) {
        if self.is_wanted() {
            let _ = self.0.synced.subscribe().wait_for(|synced| *synced).await;
        }
    }

    #[must_use]
    pub fn get(&self, key: &Key) -> Option<Arc<K>> {
        self.0.state.read().objects.get(key).cloned()
    }

    #[must_use]
    pub fn all(&self) -> Vec<Arc<K>> {
        self.0.state.read().objects.values().cloned().collect()
    }

    #[must_use]
    pub fn keys(&self) -> Vec<Key> {
        self.0.state.read().objects.keys().cloned().collect()
    }

    #[must_use]
    pub fn len(&self) -> usize {
        self.0.state.read().objects.len()
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The objects under an index entry, in order of their keys.
    #[must_use]
    pub fn find(&self, index: &Index) -> Vec<Arc<K>> {
        let state = self.0.state.read();
        let keys = state.index.get(index).into_iter().flatten();
        keys.filter_map(|key| state.objects.get(key).cloned()).collect()
    }

    #[must_use]
    pub fn count(&self, index: &Index) -> usize {
        self.0.state.read().index.get(index).map_or(0, BTreeSet::len)
    }

    /// Puts in what the server answered to a write of ours.
    pub fn learn(&self, object: K) {
        self.apply(object, Origin::OwnWrite);
    }

    /// Takes out what we deleted, before the watch tells so.
    pub fn forget(&self, key: &Key, uid: &str) {
        let _turn = self.0.turn.lock();
        let old = {
            let mut state = self.0.state.write();
            match state.objects.get(key) {
                Some(object) if object.meta().uid.as_deref() == Some(uid) => state.take(key, self.0.indexer),
                _ => None,
            }
        };
        if let Some(old) = old {
            self.tell(&Change::Deleted(&old));
        }
    }

    fn apply(&self, mut object: K, origin: Origin) {
        object.meta_mut().managed_fields = None;
        (self.0.trim)(&mut object);
        let key = Key::of(&object);
        let version = revision(object.meta().resource_version.as_deref());
        let _turn = self.0.turn.lock();
        let object = Arc::new(object);
        let old = {
            let mut state = self.0.state.write();
            // The watch has passed it: the object may be gone again.
            if origin == Origin::OwnWrite && version <= state.reached {
                return;
            }
            if let Some(known) = state.objects.get(&key)
                && version != 0
                && revision(known.meta().resource_version.as_deref()) >= version
            {
                return;
            }
            state.put(key, Arc::clone(&object), self.0.indexer)
        };
        match old {
            Some(old) => self.tell(&Change::Updated { old: &old, new: &object }),
            None => self.tell(&Change::Added(&object)),
        }
    }

    fn tell(&self, change: &Change<'_, K>) {
        for handler in self.0.handlers.read().iter() {
            handler(change);
        }
    }

    fn reach(&self, reached: u64) {
        let mut state = self.0.state.write();
        state.reached = state.reached.max(reached);
    }
}

impl<K: Kind> Sink<K> for Informer<K> {
    fn replaced(&self, items: Vec<K>, at: u64) {
        let reached = self.0.state.read().reached;
        if at < reached {
            // Revisions only move forward; a server that went back has forgotten, and so do we.
            tracing::warn!(at, reached, "the server went back in time");
            for object in self.all() {
                self.forget(&Key::of(object.as_ref()), object.meta().uid.as_deref().unwrap_or_default());
            }
            self.0.state.write().reached = at;
        }
        let listed: std::collections::HashSet<Key> = items.iter().map(Key::of).collect();
        let gone: Vec<(Key, String)> = {
            let state = self.0.state.read();
            let newer = |o: &K| revision(o.meta().resource_version.as_deref()) > at;
            let missing = state.objects.iter().filter(|(key, object)| !listed.contains(key) && !newer(object));
            missing.map(|(key, object)| (key.clone(), object.meta().uid.clone().unwrap_or_default())).collect()
        };
        for (key, uid) in gone {
            self.forget(&key, &uid);
        }
        for item in items {
            self.apply(item, Origin::Watch);
        }
        self.reach(at);
        self.0.synced.send_replace(true);
    }

    fn applied(&self, item: K) {
        let version = revision(item.meta().resource_version.as_deref());
        self.apply(item, Origin::Watch);
        self.reach(version);
    }

    fn deleted(&self, item: K) {
        self.forget(&Key::of(&item), item.meta().uid.as_deref().unwrap_or_default());
        self.reach(revision(item.meta().resource_version.as_deref()));
    }

    fn reached(&self, revision: u64) {
        self.reach(revision);
    }
}

/// No indexes.
pub fn unindexed<K>(_object: &K, _entries: &mut Vec<Index>) {}

pub fn by_namespace<K: kube::Resource>(object: &K, entries: &mut Vec<Index>) {
    entries.push(Index::Namespace(object.meta().namespace.clone().unwrap_or_default()));
}

/// By controlling owner, or among the orphans of the namespace.
pub fn by_owner<K: kube::Resource>(object: &K, entries: &mut Vec<Index>) {
    match controller_of(object.meta()) {
        Some(owner) => entries.push(Index::Owner(owner.uid.clone())),
        None => entries.push(Index::Orphans(object.meta().namespace.clone().unwrap_or_default())),
    }
}

pub fn by_label<K: kube::Resource>(object: &K, entries: &mut Vec<Index>) {
    let namespace = object.meta().namespace.as_deref().unwrap_or_default();
    for (name, value) in object.meta().labels.iter().flatten() {
        entries.push(Index::Label { namespace: namespace.into(), name: name.clone(), value: value.clone() });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::k8s::api::core::v1::Pod;
    use serde_json::json;

    fn pod(name: &str, uid: &str, version: u64) -> Pod {
        let meta = json!({"name": name, "namespace": "d", "uid": uid, "resourceVersion": version.to_string(),
            "labels": {"app": "web"}, "managedFields": [{}]});
        serde_json::from_value(json!({ "metadata": meta })).unwrap()
    }

    fn told(informer: &Informer<Pod>) -> Arc<Mutex<Vec<String>>> {
        let told = Arc::new(Mutex::new(Vec::new()));
        let log = Arc::clone(&told);
        informer.on_change(move |change| {
            log.lock().push(match change {
                Change::Added(_) => "added".to_owned(),
                Change::Updated { .. } => "updated".to_owned(),
                Change::Deleted(_) => "deleted".to_owned(),
            });
        });
        told
    }

    #[test]
    fn own_writes_are_seen_at_once_and_told_once() {
        let informer = Informer::new(by_label);
        let told = told(&informer);
        informer.replaced(vec![], 5);
        informer.learn(pod("a", "1", 7));
        let label = Index::Label { namespace: "d".into(), name: "app".into(), value: "web".into() };
        assert_eq!(informer.count(&label), 1);
        informer.applied(pod("a", "1", 7));
        assert_eq!(*told.lock(), ["added"]);
        assert!(informer.get(&Key::new("d", "a")).unwrap().metadata.managed_fields.is_none());
    }

    #[test]
    fn what_the_watch_has_passed_is_not_put_back() {
        let informer = Informer::new(by_label);
        informer.replaced(vec![], 5);
        // Created and deleted at 7 and 8; the answer to the create comes last.
        informer.applied(pod("a", "1", 7));
        informer.deleted(pod("a", "1", 8));
        informer.learn(pod("a", "1", 7));
        assert!(informer.is_empty());
        // An older event does not undo a newer write.
        informer.learn(pod("a", "2", 10));
        informer.deleted(pod("a", "1", 9));
        assert_eq!(informer.len(), 1);
    }

    #[test]
    fn a_new_list_removes_what_is_gone_but_not_what_is_newer() {
        let informer = Informer::new(by_label);
        let told = told(&informer);
        informer.replaced(vec![pod("a", "1", 1), pod("b", "2", 2)], 5);
        informer.learn(pod("c", "3", 9));
        informer.replaced(vec![pod("a", "1", 6)], 8);
        let mut names: Vec<_> = informer.keys().iter().map(|k| k.name().to_owned()).collect();
        names.sort();
        assert_eq!(names, ["a", "c"]);
        assert_eq!(*told.lock(), ["added", "added", "added", "deleted", "updated"]);
        informer.replaced(vec![pod("z", "9", 1)], 2);
        assert_eq!(informer.keys(), [Key::new("d", "z")], "a server that was reset");
    }
}
