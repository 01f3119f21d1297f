//! etcd's model: revisions, comparisons, ranges, old revisions, forks.

use std::time::Duration;

use store::{CommitError, HistoryPolicy, Options, RevisionError, Store, Txn, Value};

use crate::{open_in, text, value};

fn both() -> (tempfile::TempDir, [Store; 2]) {
    let folder = tempfile::tempdir().unwrap();
    let file = open_in(&folder);
    (folder, [Store::open(Options::memory()).unwrap(), file])
}

#[tokio::test]
async fn every_write_has_its_revision_and_version() {
    let (_folder, stores) = both();
    for store in stores {
        assert_eq!(store.commit(Txn::create("a", value("1"))).await.unwrap().revision, 1);
        assert_eq!(store.commit(Txn::update("a", 1, value("2"))).await.unwrap().revision, 2);
        let snapshot = store.snapshot();
        let entry = snapshot.get(b"a").unwrap();
        assert_eq!((entry.create_revision, entry.mod_revision, entry.version), (1, 2, 2));
        assert_eq!(store.commit(Txn::remove("a", 2)).await.unwrap().revision, 3);
        assert_eq!(store.commit(Txn::create("a", value("3"))).await.unwrap().revision, 4);
        let snapshot = store.snapshot();
        let entry = snapshot.get(b"a").unwrap();
        assert_eq!((entry.create_revision, entry.version), (4, 1));
    }
}

#[tokio::test]
async fn a_conflict_says_what_is_there() {
    let (_folder, stores) = both();
    for store in stores {
        store.commit(Txn::create("a", value("1"))).await.unwrap();
        let error = store.commit(Txn::create("a", value("2"))).await.unwrap_err();
        let CommitError::Conflict { actual: Some(actual), .. } = error else { panic!("{error}") };
        assert_eq!(actual.mod_revision, 1);
        let error = store.commit(Txn::remove("b", 7)).await.unwrap_err();
        assert!(matches!(error, CommitError::Conflict { actual: None, .. }), "{error}");
        assert_eq!(store.revision(), 1);
    }
}

#[tokio::test]
async fn a_transaction_is_all_or_nothing_at_one_revision() {
    let (_folder, stores) = both();
    for store in stores {
        store.commit(Txn::create("a", value("1"))).await.unwrap();
        let txn = Txn::new().put("b", value("b")).delete("a").put("c", value("c"));
        let done = store.commit(txn).await.unwrap();
        assert_eq!(done.events.len(), 3);
        assert!(done.events.iter().all(|event| event.revision == 2));
        let snapshot = store.snapshot();
        let keys: Vec<_> = snapshot.range(b"", None).map(|(key, _)| key.to_vec()).collect();
        assert_eq!(keys, [b"b", b"c"]);
        let failing = Txn::new().put("d", value("d")).require("a", 1);
        store.commit(failing).await.unwrap_err();
        assert!(store.snapshot().get(b"d").is_none());
    }
}

#[tokio::test]
async fn changing_nothing_makes_no_revision() {
    let (_folder, stores) = both();
    for store in stores {
        let done = store.commit(Txn::new().delete("absent")).await.unwrap();
        assert_eq!((done.revision, done.events.len()), (0, 0));
        assert_eq!(store.revision(), 0);
    }
}

#[tokio::test]
async fn ranges_keep_to_their_prefix_and_page() {
    let store = Store::open(Options::memory()).unwrap();
    for key in ["a/1", "a/2", "a/3", "a0", "b/1"] {
        store.commit(Txn::create(key, value(key))).await.unwrap();
    }
    let snapshot = store.snapshot();
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
    let store = Store::open(Options::memory()).unwrap();
    let large = Value::new(vec![0; 4 << 20]);
    let error = store.commit(Txn::create("a", large)).await.unwrap_err();
    assert!(matches!(error, CommitError::TooLarge { limit: 3_145_728, .. }), "{error}");
    let error = store.commit(Txn::create("", value(""))).await.unwrap_err();
    assert!(matches!(error, CommitError::KeyLength { .. }), "{error}");
    let twice = Txn::new().put("a", value("1")).delete("a");
    let error = store.commit(twice).await.unwrap_err();
    assert!(matches!(error, CommitError::DuplicateKey { .. }), "{error}");
    assert_eq!(store.revision(), 0);
}

#[tokio::test]
async fn everything_is_there_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let store = open_in(&folder);
    let id = store.cluster_id();
    let index: &'static [u8] = b"labels";
    let large = Value { body: vec![7; 1_500_000].into(), index: index.into() };
    store.commit(Txn::create("large", large.clone())).await.unwrap();
    store.commit(Txn::create("gone", value("x"))).await.unwrap();
    store.commit(Txn::new().delete("gone")).await.unwrap();
    store.close().await;
    let store = open_in(&folder);
    assert_eq!((store.cluster_id(), store.revision()), (id, 3));
    assert_eq!(store.snapshot().get(b"large").unwrap().value, large);
    assert_eq!(store.commit(Txn::create("next", value(""))).await.unwrap().revision, 4);
    let old = store.snapshot_at(2).await.unwrap();
    assert_eq!(text(&old, "gone").as_deref(), Some("x"));
    store.close().await;
}

#[tokio::test]
async fn a_deletion_compacted_away_does_not_take_its_revision_back() {
    let folder = tempfile::tempdir().unwrap();
    let store = open_in(&folder);
    store.commit(Txn::create("a", value("1"))).await.unwrap();
    store.commit(Txn::new().delete("a")).await.unwrap();
    store.compact(2).await.unwrap();
    store.close().await;
    let store = open_in(&folder);
    assert_eq!(store.revision(), 2);
    assert_eq!(store.commit(Txn::create("a", value("1"))).await.unwrap().revision, 3);
    store.close().await;
}

#[tokio::test]
async fn old_revisions_are_exact_whether_in_memory_or_on_disk() {
    let folder = tempfile::tempdir().unwrap();
    let tiny = HistoryPolicy { memory_bytes: 2_000, ..HistoryPolicy::default() };
    let options = || Options { history: tiny, ..Options::file(folder.path().join("s")) };
    let mut store = Store::open(options()).unwrap();
    for round in 0..50 {
        store.commit(Txn::new().put(format!("k{}", round % 7), value(&round.to_string()))).await.unwrap();
    }
    for restart in 0..2 {
        for revision in 1..=50u64 {
            let old = store.snapshot_at(revision).await.unwrap();
            assert_eq!(old.revision(), revision);
            let newest = format!("k{}", (revision - 1) % 7);
            assert_eq!(text(&old, &newest), Some((revision - 1).to_string()), "{restart}");
            assert_eq!(old.len(), usize::try_from(revision.min(7)).unwrap());
        }
        store.close().await;
        store = Store::open(options()).unwrap();
    }
    store.compact(20).await.unwrap();
    assert!(matches!(store.snapshot_at(19).await, Err(RevisionError::Compacted { oldest: 20 })));
    assert!(store.snapshot_at(20).await.is_ok());
    assert!(matches!(store.snapshot_at(51).await, Err(RevisionError::Future { current: 50 })));
    store.close().await;
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
    let (_folder, stores) = both();
    for store in stores {
        store.commit(Txn::create("a", value("parent"))).await.unwrap();
        let fork = store.fork();
        assert_ne!(fork.cluster_id(), store.cluster_id());
        fork.commit(Txn::update("a", 1, value("fork"))).await.unwrap();
        store.commit(Txn::create("b", value("parent"))).await.unwrap();
        assert_eq!(text(&store.snapshot(), "a").as_deref(), Some("parent"));
        assert_eq!(text(&fork.snapshot(), "a").as_deref(), Some("fork"));
        assert!(fork.snapshot().get(b"b").is_none());
        assert!(matches!(fork.watch(b"", 0), Err(RevisionError::Compacted { oldest: 1 })));
    }
}

#[tokio::test]
async fn closing_ends_writes_but_not_reads() {
    let (_folder, stores) = both();
    for store in stores {
        store.commit(Txn::create("a", value("1"))).await.unwrap();
        let mut watch = store.watch(b"", 1).unwrap();
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
