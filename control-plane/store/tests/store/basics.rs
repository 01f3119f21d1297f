//! etcd's model: revisions, comparisons, ranges, old revisions, forks.

use std::time::Duration;

use store::{CommitError, HistoryPolicy, Options, RevisionError, Store, Txn, Value};

use crate::places::Place;
use crate::{open_in, text, value};

/// A store in each kind of place.
async fn every() -> Vec<(Place, Store)> {
    let mut stores = Vec::new();
    for place in Place::every() {
        let store = place.open().await;
        stores.push((place, store));
    }
    stores
}

#[tokio::test]
async fn every_write_has_its_revision_and_version() {
    for (_place, store) in every().await {
        let first = store.commit(Txn::create("a", value("1"))).await.unwrap().revision;
        assert_eq!(store.revision(), first);
        let second = store.commit(Txn::update("a", first, value("2"))).await.unwrap().revision;
        assert!(second > first);
        let snapshot = store.snapshot();
        let entry = snapshot.get(b"a").unwrap();
        assert_eq!((entry.create_revision, entry.mod_revision, entry.version), (first, second, 2));
        let third = store.commit(Txn::remove("a", second)).await.unwrap().revision;
        assert!(third > second);
        let fourth = store.commit(Txn::create("a", value("3"))).await.unwrap().revision;
        let snapshot = store.snapshot();
        let entry = snapshot.get(b"a").unwrap();
        assert_eq!((entry.create_revision, entry.mod_revision, entry.version), (fourth, fourth, 1));
    }
}

/// Nobody else counts revisions of a store of one's own.
#[tokio::test]
async fn a_store_of_its_own_counts_one_by_one() {
    for place in [Place::Memory, Place::file()] {
        let store = place.open().await;
        for revision in 1..5 {
            assert_eq!(store.commit(Txn::new().put("a", value("1"))).await.unwrap().revision, revision);
        }
    }
}

#[tokio::test]
async fn a_conflict_says_what_is_there() {
    for (_place, store) in every().await {
        let made = store.commit(Txn::create("a", value("1"))).await.unwrap().revision;
        let error = store.commit(Txn::create("a", value("2"))).await.unwrap_err();
        let CommitError::Conflict { actual: Some(actual), .. } = error else { panic!("{error}") };
        assert_eq!(actual.mod_revision, made);
        let error = store.commit(Txn::remove("b", 7)).await.unwrap_err();
        assert!(matches!(error, CommitError::Conflict { actual: None, .. }), "{error}");
        let error = store.commit(Txn::remove("a", 7)).await.unwrap_err();
        assert!(matches!(error, CommitError::Conflict { actual: Some(_), .. }), "{error}");
        assert_eq!(store.revision(), made);
    }
}

#[tokio::test]
async fn a_transaction_is_all_or_nothing_at_one_revision() {
    for (_place, store) in every().await {
        let made = store.commit(Txn::create("a", value("1"))).await.unwrap().revision;
        let txn = Txn::new().put("b", value("b")).delete("a").put("c", value("c")).delete("absent");
        let done = store.commit(txn).await.unwrap();
        let keys: Vec<_> = done.events.iter().map(|event| event.key.to_vec()).collect();
        assert_eq!(keys, [b"b", b"a", b"c"]);
        assert!(done.events.iter().all(|event| event.revision == done.revision));
        assert_eq!(done.events[1].prev.as_ref().unwrap().mod_revision, made);
        let snapshot = store.snapshot();
        let keys: Vec<_> = snapshot.range(b"", None).map(|(key, _)| key.to_vec()).collect();
        assert_eq!(keys, [b"b", b"c"]);
        let failing = Txn::new().put("d", value("d")).require("a", made);
        store.commit(failing).await.unwrap_err();
        assert!(store.snapshot().get(b"d").is_none());
    }
}

#[tokio::test]
async fn changing_nothing_makes_no_revision() {
    for (_place, store) in every().await {
        let base = store.revision();
        let done = store.commit(Txn::new().delete("absent")).await.unwrap();
        assert_eq!((done.revision, done.events.len()), (base, 0));
        let done = store.commit(Txn::new()).await.unwrap();
        assert_eq!((done.revision, done.events.len()), (base, 0));
        assert_eq!(store.latest().await.unwrap().revision(), base);
        let error = store.commit(Txn::new().delete("absent").require("other", 3)).await.unwrap_err();
        assert!(matches!(error, CommitError::Conflict { actual: None, .. }), "{error}");
        store.commit(Txn::create("a", value("1"))).await.unwrap();
        let error = store.commit(Txn::new().delete("a").require("a", 0)).await.unwrap_err();
        assert!(matches!(error, CommitError::Conflict { actual: Some(_), .. }), "{error}");
        let done = store.commit(Txn::new().delete("absent").delete("a")).await.unwrap();
        assert_eq!(done.events.len(), 1);
    }
}

#[tokio::test]
async fn ranges_keep_to_their_prefix_and_page() {
    for (_place, store) in every().await {
        for key in ["a/1", "a/2", "a/3", "a0", "b/1"] {
            store.commit(Txn::create(key, value(key))).await.unwrap();
        }
        check_ranges(&store.snapshot());
    }
}

fn check_ranges(snapshot: &store::Snapshot) {
    let page = |after: Option<&[u8]>| -> Vec<String> {
        let range = snapshot.range(b"a/", after).take(2);
        range.map(|(key, _)| String::from_utf8_lossy(key).into_owned()).collect()
    };
    assert_eq!(page(None), ["a/1", "a/2"]);
    assert_eq!(page(Some(b"a/2")), ["a/3"]);
    assert_eq!(page(Some(b"a/3")), [""; 0]);
    assert_eq!(page(Some(b"b")), [""; 0]);
    assert_eq!(page(Some(b"A")), ["a/1", "a/2"]);
    assert_eq!((snapshot.count(b"a/"), snapshot.count(b""), snapshot.count(b"c")), (3, 5, 0));
}

#[tokio::test]
async fn limits_are_refused_before_anything_happens() {
    for (_place, store) in every().await {
        let base = store.revision();
        let large = Value::new(vec![0; 4 << 20]);
        let error = store.commit(Txn::create("a", large)).await.unwrap_err();
        assert!(matches!(error, CommitError::TooLarge { limit: 3_145_728, .. }), "{error}");
        let error = store.commit(Txn::create("", value(""))).await.unwrap_err();
        assert!(matches!(error, CommitError::KeyLength { .. }), "{error}");
        let twice = Txn::new().put("a", value("1")).delete("a");
        let error = store.commit(twice).await.unwrap_err();
        assert!(matches!(error, CommitError::DuplicateKey { .. }), "{error}");
        assert_eq!(store.revision(), base);
    }
}

#[tokio::test]
async fn everything_is_there_after_a_restart() {
    for place in Place::durable() {
        let store = place.open().await;
        let id = store.cluster_id();
        let index: &'static [u8] = b"labels";
        let large = Value { body: vec![7; 1_500_000].into(), index: index.into() };
        store.commit(Txn::create("large", large.clone())).await.unwrap();
        let second = store.commit(Txn::create("gone", value("x"))).await.unwrap().revision;
        let third = store.commit(Txn::new().delete("gone")).await.unwrap().revision;
        store.close().await;
        let store = place.open().await;
        assert_eq!((store.cluster_id(), store.revision()), (id, third));
        assert_eq!(store.snapshot().get(b"large").unwrap().value, large);
        assert!(store.commit(Txn::create("next", value(""))).await.unwrap().revision > third);
        let old = store.snapshot_at(second).await.unwrap();
        assert_eq!(text(&old, "gone").as_deref(), Some("x"));
        store.close().await;
    }
}

#[tokio::test]
async fn a_deletion_compacted_away_does_not_take_its_revision_back() {
    for place in Place::durable() {
        let store = place.open().await;
        store.commit(Txn::create("a", value("1"))).await.unwrap();
        let last = store.commit(Txn::new().delete("a")).await.unwrap().revision;
        store.compact(last).await.unwrap();
        store.close().await;
        let store = place.open().await;
        assert_eq!(store.revision(), last);
        assert!(store.commit(Txn::create("a", value("1"))).await.unwrap().revision > last);
        store.close().await;
    }
}

#[tokio::test]
async fn old_revisions_are_exact_wherever_they_are_kept() {
    let tiny = HistoryPolicy { memory_bytes: 2_000, ..HistoryPolicy::default() };
    for place in Place::durable() {
        let mut store = place.open_with(tiny).await;
        let mut revisions = Vec::new();
        for round in 0..50 {
            let txn = Txn::new().put(format!("k{}", round % 7), value(&round.to_string()));
            revisions.push(store.commit(txn).await.unwrap().revision);
        }
        for restart in 0..2 {
            for (round, revision) in revisions.iter().enumerate() {
                let old = store.snapshot_at(*revision).await.unwrap();
                assert_eq!(old.revision(), *revision);
                assert_eq!(text(&old, &format!("k{}", round % 7)), Some(round.to_string()), "{restart}");
                assert_eq!(old.len(), (round + 1).min(7));
            }
            store.close().await;
            store = place.open_with(tiny).await;
        }
        let [oldest, current] = [revisions[19], revisions[49]];
        store.compact(oldest).await.unwrap();
        let error = store.snapshot_at(oldest - 1).await.unwrap_err();
        assert!(matches!(error, RevisionError::Compacted { oldest: found } if found == oldest), "{error}");
        assert!(store.snapshot_at(oldest).await.is_ok());
        let error = store.snapshot_at(current + 1).await.unwrap_err();
        assert!(matches!(error, RevisionError::Future { current: found } if found == current), "{error}");
        store.close().await;
    }
}

#[tokio::test]
async fn history_goes_by_policy() {
    let policy = HistoryPolicy { age: Duration::ZERO, revisions: 64, ..HistoryPolicy::default() };
    let store = Store::open(Options { history: policy, ..Options::memory() }).unwrap();
    for _ in 0..200 {
        store.commit(Txn::new().put("a", value("x"))).await.unwrap();
    }
    let oldest = store.stats().oldest;
    assert!((130..=136).contains(&oldest), "{oldest}");
}

#[tokio::test]
async fn a_fork_goes_its_own_way() {
    for (_place, store) in every().await {
        let made = store.commit(Txn::create("a", value("parent"))).await.unwrap().revision;
        let fork = store.fork();
        assert_ne!(fork.cluster_id(), store.cluster_id());
        assert_eq!(fork.commit(Txn::update("a", made, value("fork"))).await.unwrap().revision, made + 1);
        store.commit(Txn::create("b", value("parent"))).await.unwrap();
        assert_eq!(text(&store.snapshot(), "a").as_deref(), Some("parent"));
        assert_eq!(text(&fork.snapshot(), "a").as_deref(), Some("fork"));
        assert!(fork.snapshot().get(b"b").is_none());
        assert!(matches!(fork.watch(b"", made - 1), Err(RevisionError::Compacted { oldest }) if oldest == made));
    }
}

#[tokio::test]
async fn closing_ends_writes_but_not_reads() {
    for (_place, store) in every().await {
        let made = store.commit(Txn::create("a", value("1"))).await.unwrap().revision;
        let mut watch = store.watch(b"", made).unwrap();
        store.close().await;
        store.close().await;
        let error = store.commit(Txn::create("b", value("1"))).await.unwrap_err();
        assert!(matches!(error, CommitError::Closed), "{error}");
        assert!(matches!(watch.next().await, Err(store::WatchError::Closed)));
        assert_eq!(text(&store.snapshot(), "a").as_deref(), Some("1"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn concurrent_writers_share_commits_and_lose_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let store = open_in(&folder);
    let writers = (0..32).map(|writer| {
        let store = store.clone();
        tokio::spawn(async move {
            for round in 0..20 {
                store.commit(Txn::create(format!("{writer}/{round}"), value("x"))).await.unwrap();
            }
        })
    });
    for writer in writers.collect::<Vec<_>>() {
        writer.await.unwrap();
    }
    let stats = store.stats();
    assert_eq!((store.revision(), store.snapshot().len()), (640, 640));
    assert!(stats.batches < 640, "{stats:?}");
    store.close().await;
}

#[tokio::test]
async fn compaction_frees_what_is_superseded_and_keeps_the_rest() {
    let folder = tempfile::tempdir().unwrap();
    let store = open_in(&folder);
    store.commit(Txn::create("keep", value("old"))).await.unwrap();
    for round in 0..300 {
        store.commit(Txn::new().put("hot", value(&round.to_string()))).await.unwrap();
    }
    store.compact(250).await.unwrap();
    store.close().await;
    let store = open_in(&folder);
    assert_eq!(store.stats().oldest, 250);
    assert_eq!(text(&store.snapshot_at(250).await.unwrap(), "hot").as_deref(), Some("248"));
    assert_eq!(text(&store.snapshot(), "keep").as_deref(), Some("old"));
    store.close().await;
}
