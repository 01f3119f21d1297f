//! Random histories against a model that is obviously right: a map per revision and a list of events.

use std::collections::BTreeMap;

use proptest::prelude::*;
use store::{CommitError, HistoryPolicy, Op, RevisionError, Store, Txn};

use crate::places::Place;
use crate::value;

#[derive(Clone, Debug)]
enum Action {
    /// Some keys, each with a value or a deletion, at one revision.
    Write(BTreeMap<u8, Option<u16>>),
    /// As `Write`, if the key was last written the given number of revisions ago.
    Compare(u8, u64, Option<u16>),
    Watch(u8, u64),
    Compact(u64),
    Fork,
    Restart,
    /// Somebody else writes, where revisions are shared with others.
    Stranger,
}

fn action() -> impl Strategy<Value = Action> {
    let change = prop::option::weighted(0.7, any::<u16>());
    prop_oneof![
        10 => prop::collection::btree_map(0..6u8, change.clone(), 1..4).prop_map(Action::Write),
        4 => (0..6u8, 0..4u64, change).prop_map(|(key, ago, change)| Action::Compare(key, ago, change)),
        2 => (0..6u8, 0..8u64).prop_map(|(key, ago)| Action::Watch(key, ago)),
        1 => (0..10u64).prop_map(Action::Compact),
        1 => Just(Action::Fork),
        1 => Just(Action::Restart),
        2 => Just(Action::Stranger),
    ]
}

type Map = BTreeMap<Vec<u8>, (Vec<u8>, u64)>;

/// Revision, key, new value, revision of the value before.
type Happened = (u64, Vec<u8>, Option<Vec<u8>>, Option<u64>);

#[derive(Default)]
struct Model {
    /// The state at each revision, which is not older than any before.
    states: Vec<(u64, Map)>,
    events: Vec<Happened>,
    oldest: u64,
}

impl Model {
    /// An empty store begins at `revision`.
    fn new(revision: u64) -> Self {
        Self { states: vec![(revision, Map::new())], oldest: revision, ..Self::default() }
    }

    fn revision(&self) -> u64 {
        self.states.last().unwrap().0
    }

    /// The revision that so many changes ago was the newest.
    fn ago(&self, changes: u64) -> u64 {
        let newest = self.states.len() - 1;
        self.states[newest.saturating_sub(usize::try_from(changes).unwrap())].0
    }

    fn now(&self) -> &Map {
        &self.states.last().unwrap().1
    }

    /// Apply `ops`, which the store says happened at `revision`.
    fn apply(&mut self, ops: &[Op], revision: u64) {
        let is_new = revision > self.revision();
        let mut next = self.now().clone();
        let mut events = Vec::new();
        for op in ops {
            let key = op.key().to_vec();
            let new = match op {
                Op::Put { value, .. } => Some(value.body.to_vec()),
                Op::Delete { .. } => None,
            };
            let prev = match &new {
                Some(new) => next.insert(key.clone(), (new.clone(), revision)),
                None => next.remove(&key),
            };
            if new.is_some() || prev.is_some() {
                events.push((revision, key, new, prev.map(|(_, revision)| revision)));
            }
        }
        assert_eq!(is_new, !events.is_empty(), "a revision is made by what changes something");
        if is_new {
            self.states.push((revision, next));
            self.events.append(&mut events);
        }
    }
}

fn key(index: u8) -> String {
    format!("{}/{}", index / 2, index % 2)
}

fn add(txn: Txn, index: u8, change: Option<u16>) -> Txn {
    match change {
        Some(number) => txn.put(key(index), value(&number.to_string().repeat(5))),
        None => txn.delete(key(index)),
    }
}

struct Run {
    place: Place,
    store: Store,
    model: Model,
    watches: Vec<(store::Watch, Vec<u8>, u64)>,
}

/// Little memory, so that what is behind it is read as well.
fn little() -> HistoryPolicy {
    HistoryPolicy { memory_bytes: 4_000, ..HistoryPolicy::default() }
}

impl Run {
    async fn new(place: Place) -> Self {
        let store = place.open_with(little()).await;
        let model = Model::new(store.revision());
        Self { place, store, model, watches: Vec::new() }
    }

    async fn act(&mut self, action: Action) {
        match action {
            Action::Write(changes) => {
                let txn = changes.iter().fold(Txn::new(), |txn, (index, change)| add(txn, *index, *change));
                let ops = txn.ops.clone();
                let done = self.store.commit(txn).await.unwrap();
                self.model.apply(&ops, done.revision);
            }
            Action::Compare(index, ago, change) => self.compare(index, ago, change).await,
            Action::Watch(index, ago) => {
                let prefix = key(index).into_bytes()[..1].to_vec();
                let after = self.model.ago(ago);
                match self.store.watch(&prefix, after) {
                    Ok(watch) => self.watches.push((watch, prefix, after)),
                    Err(RevisionError::Compacted { oldest }) => {
                        assert!(oldest == self.model.oldest && after < oldest);
                    }
                    Err(error) => panic!("{error}"),
                }
            }
            Action::Compact(ago) => {
                let revision = self.model.ago(ago);
                self.drain_watches().await;
                self.store.compact(revision).await.unwrap();
                self.model.oldest = self.model.oldest.max(revision);
            }
            Action::Fork => {
                let fork = self.store.fork();
                fork.commit(Txn::new().put("fork", value("only here"))).await.unwrap();
            }
            Action::Restart => {
                self.drain_watches().await;
                self.watches.clear();
                self.store.close().await;
                self.store = self.place.open_with(little()).await;
            }
            Action::Stranger => self.place.disturb().await,
        }
    }

    async fn compare(&mut self, index: u8, ago: u64, change: Option<u16>) {
        let actual = self.model.now().get(key(index).as_bytes()).map_or(0, |(_, revision)| *revision);
        let expected = actual.saturating_sub(ago);
        let txn = add(Txn::new(), index, change).require(key(index), expected);
        let ops = txn.ops.clone();
        match self.store.commit(txn).await {
            Ok(done) => {
                assert_eq!(expected, actual);
                self.model.apply(&ops, done.revision);
            }
            Err(CommitError::Conflict { actual: found, .. }) => {
                assert_ne!(expected, actual);
                assert_eq!(found.map_or(0, |entry| entry.mod_revision), actual);
            }
            Err(error) => panic!("{error}"),
        }
    }

    async fn drain_watches(&mut self) {
        for (watch, prefix, seen) in &mut self.watches {
            let expected: Vec<_> = self
                .model
                .events
                .iter()
                .filter(|(revision, key, ..)| *revision > *seen && key.starts_with(prefix))
                .cloned()
                .collect();
            let mut found = Vec::new();
            while let Some(batch) = watch.try_next().await.unwrap() {
                for event in &batch.events {
                    found.push((
                        event.revision,
                        event.key.to_vec(),
                        event.entry.as_ref().map(|entry| entry.value.body.to_vec()),
                        event.prev.as_ref().map(|prev| prev.mod_revision),
                    ));
                }
            }
            assert_eq!(found, expected);
            *seen = self.model.revision();
            assert_eq!(watch.progress(), *seen);
        }
    }

    /// All of history, in pages.
    async fn check_history(&self) {
        let (mut reached, upto) = (self.model.oldest, self.model.revision());
        let mut found: Vec<Happened> = Vec::new();
        while reached < upto {
            let page = self.store.changes(reached, upto, b"", 7).await.unwrap();
            assert!(page.upto > reached);
            reached = page.upto;
            for event in page.changes.iter().flat_map(|change| &change.events) {
                let value = event.entry.as_ref().map(|entry| entry.value.body.to_vec());
                found.push((
                    event.revision,
                    event.key.to_vec(),
                    value,
                    event.prev.as_ref().map(|prev| prev.mod_revision),
                ));
            }
        }
        let kept = self.model.events.iter().filter(|(revision, ..)| *revision > self.model.oldest);
        assert_eq!(found, kept.cloned().collect::<Vec<_>>());
    }

    async fn check(&self) {
        assert_eq!(self.store.revision(), self.model.revision());
        self.check_history().await;
        for (revision, expected) in &self.model.states {
            let revision = *revision;
            match self.store.snapshot_at(revision).await {
                Ok(snapshot) => {
                    assert!(revision >= self.model.oldest);
                    let found: Map = snapshot
                        .range(b"", None)
                        .map(|(key, entry)| (key.to_vec(), (entry.value.body.to_vec(), entry.mod_revision)))
                        .collect();
                    assert_eq!(found, *expected);
                }
                Err(RevisionError::Compacted { oldest }) => {
                    assert!(oldest == self.model.oldest && revision < oldest);
                }
                Err(error) => panic!("{error}"),
            }
        }
    }
}

fn play(actions: Vec<Action>, place: Place) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let mut run = Run::new(place).await;
        for action in actions {
            run.act(action).await;
        }
        run.drain_watches().await;
        run.check().await;
        run.act(Action::Restart).await;
        run.check().await;
        run.store.close().await;
    });
}

fn cases(cases: u32) -> ProptestConfig {
    ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() }
}

proptest! {
    #![proptest_config(cases(48))]
    #[test]
    fn a_random_history_is_as_the_model_says(actions in prop::collection::vec(action(), 1..60)) {
        play(actions, Place::file());
    }
}

#[cfg(feature = "etcd-tests")]
#[test]
fn a_random_history_on_etcd_is_as_the_model_says() {
    use crate::etcd::{Disk, Prefix, Server};
    // One etcd for all the histories; each is played to its end before the next.
    let server = std::sync::Arc::new(Server::start(Disk::Fast));
    let mut runner = proptest::test_runner::TestRunner::new(cases(32));
    let played = runner.run(&prop::collection::vec(action(), 1..60), |actions| {
        play(actions, Place::Etcd(Prefix::on(&server)));
        Ok(())
    });
    played.unwrap();
}
