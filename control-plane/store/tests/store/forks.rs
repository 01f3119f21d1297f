//! A family of forks against maps of their own: whatever one member does, no other sees. Their watchers are slow ones,
//! which compaction may leave behind.

use std::collections::BTreeMap;

use proptest::prelude::*;
use store::{HistoryPolicy, Options, RevisionError, Store, Txn, Watch, WatchError};

use crate::value;

#[derive(Clone, Debug)]
enum Action {
    /// A member writes or deletes a key.
    Write(usize, u8, Option<u16>),
    Fork(usize),
    /// A member is watched from so many revisions ago.
    Watch(usize, u64),
    /// One watch of a member takes what there is, or its first part.
    Take(usize, usize),
    Compact(usize, u64),
    /// A member's state of so many revisions ago is looked at.
    Look(usize, u64),
}

fn action() -> impl Strategy<Value = Action> {
    let member = || 0..8usize;
    prop_oneof![
        12 => (member(), 0..6u8, prop::option::weighted(0.7, any::<u16>()))
            .prop_map(|(member, key, change)| Action::Write(member, key, change)),
        2 => member().prop_map(Action::Fork),
        3 => (member(), 0..9u64).prop_map(|(member, ago)| Action::Watch(member, ago)),
        3 => (member(), 0..4usize).prop_map(|(member, watch)| Action::Take(member, watch)),
        1 => (member(), 0..9u64).prop_map(|(member, ago)| Action::Compact(member, ago)),
        3 => (member(), 0..12u64).prop_map(|(member, ago)| Action::Look(member, ago)),
    ]
}

type Map = BTreeMap<Vec<u8>, Vec<u8>>;

/// One store and what it should be.
struct Member {
    store: Store,
    /// The state at every revision since the store came into being.
    states: BTreeMap<u64, Map>,
    /// Revision, key, new value.
    events: Vec<(u64, Vec<u8>, Option<Vec<u8>>)>,
    oldest: u64,
    /// Each with the revision up to which it has taken everything.
    watches: Vec<(Watch, u64)>,
}

impl Member {
    fn new(store: Store, now: Map) -> Self {
        let revision = store.revision();
        Self { store, states: [(revision, now)].into(), events: Vec::new(), oldest: revision, watches: Vec::new() }
    }

    fn revision(&self) -> u64 {
        *self.states.last_key_value().unwrap().0
    }

    fn now(&self) -> Map {
        self.states.last_key_value().unwrap().1.clone()
    }

    async fn write(&mut self, key: u8, change: Option<u16>) {
        let key = format!("key/{key}").into_bytes();
        let new = change.map(|number| number.to_string());
        let txn = match &new {
            Some(new) => Txn::new().put(&key, value(new)),
            None => Txn::new().delete(&key),
        };
        let done = self.store.commit(txn).await.unwrap();
        let mut next = self.now();
        let new = new.map(String::into_bytes);
        let before = match &new {
            Some(new) => next.insert(key.clone(), new.clone()),
            None => next.remove(&key),
        };
        let expected = if new.is_some() || before.is_some() { self.revision() + 1 } else { self.revision() };
        assert_eq!(done.revision, expected);
        if expected > self.revision() {
            self.states.insert(expected, next);
            self.events.push((expected, key, new));
        }
    }

    fn watch(&mut self, ago: u64) {
        let after = self.revision().saturating_sub(ago);
        match self.store.watch(b"key/", after) {
            Ok(watch) => self.watches.push((watch, after)),
            Err(error) => self.is_gone(&error, after),
        }
    }

    async fn take(&mut self, index: usize) {
        if self.watches.is_empty() {
            return;
        }
        let index = index % self.watches.len();
        let (watch, taken) = &mut self.watches[index];
        match watch.try_next().await {
            Ok(None) => assert_eq!(*taken, *self.states.last_key_value().unwrap().0),
            Ok(Some(batch)) => {
                let found: Vec<_> = batch
                    .events
                    .iter()
                    .map(|event| {
                        let new = event.entry.as_ref().map(|entry| entry.value.body.to_vec());
                        (event.revision, event.key.to_vec(), new)
                    })
                    .collect();
                let due = self.events.iter().filter(|event| event.0 > *taken && event.0 <= batch.revision);
                assert_eq!(found, due.cloned().collect::<Vec<_>>());
                *taken = batch.revision;
            }
            Err(WatchError::Compacted { .. }) => {
                assert!(*taken < self.oldest, "a watch that history still reaches has ended");
                self.watches.remove(index);
            }
            Err(error) => panic!("{error}"),
        }
    }

    async fn look(&self, ago: u64) {
        let revision = self.revision().saturating_sub(ago);
        match self.store.snapshot_at(revision).await {
            Ok(snapshot) => {
                let found: Map =
                    snapshot.range(b"", None).map(|(key, entry)| (key.to_vec(), entry.value.body.to_vec())).collect();
                assert_eq!(found, self.states[&revision]);
            }
            Err(error) => self.is_gone(&error, revision),
        }
    }

    fn is_gone(&self, error: &RevisionError, revision: u64) {
        let RevisionError::Compacted { oldest } = error else { panic!("{error}") };
        assert!(*oldest == self.oldest && revision < *oldest, "{revision}: {error}, not {}", self.oldest);
    }
}

async fn play(actions: Vec<Action>) {
    let folder = tempfile::tempdir().unwrap();
    let history = HistoryPolicy { memory_bytes: 1 << 20, ..HistoryPolicy::default() };
    let parent = Store::open(Options { history, ..Options::file(folder.path().join("parent")) }).unwrap();
    let mut family = vec![Member::new(parent, Map::new())];
    for action in actions {
        let count = family.len();
        match action {
            Action::Write(member, key, change) => family[member % count].write(key, change).await,
            Action::Watch(member, ago) => family[member % count].watch(ago),
            Action::Take(member, watch) => family[member % count].take(watch).await,
            Action::Look(member, ago) => family[member % count].look(ago).await,
            Action::Compact(member, ago) => {
                let member = &mut family[member % count];
                let revision = member.revision().saturating_sub(ago);
                member.store.compact(revision).await.unwrap();
                member.oldest = member.oldest.max(revision);
            }
            Action::Fork(member) => {
                let parent = &family[member % count];
                let fork = Member::new(parent.store.fork(), parent.now());
                assert!(family.iter().all(|other| other.store.cluster_id() != fork.store.cluster_id()));
                family.push(fork);
            }
        }
    }
    for member in &family {
        for ago in 0..=member.revision() {
            member.look(ago).await;
        }
    }
    // What the forks did is not in the parent's file either.
    let parent = family.remove(0);
    parent.store.close().await;
    let opened = Store::open(Options::file(folder.path().join("parent"))).unwrap();
    let parent = Member { store: opened, ..parent };
    parent.look(0).await;
    parent.store.close().await;
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 32, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn no_fork_sees_what_another_does(actions in prop::collection::vec(action(), 1..80)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(play(actions));
    }
}
