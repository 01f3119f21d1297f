//! Several servers, and others, on one etcd.

use std::time::Duration;

use store::{Author, CommitError, HistoryPolicy, OpenError, RevisionError, Store, Txn, Value, etcd::Options};

use super::Prefix;
use crate::{text, value};

async fn two() -> (Prefix, Store, Store) {
    let prefix = Prefix::fresh();
    let first = Store::connect(prefix.options()).await.unwrap();
    let second = Store::connect(prefix.options()).await.unwrap();
    (prefix, first, second)
}

#[tokio::test]
async fn both_see_each_others_writes_and_conflicts() {
    let (_etcd, first, second) = two().await;
    assert_eq!(first.cluster_id(), second.cluster_id());
    let mut watch = second.watch(b"", second.revision()).unwrap();
    let made = first.commit(Txn::create("a", value("1"))).await.unwrap();
    assert_eq!(text(&first.snapshot(), "a").as_deref(), Some("1"), "whoever wrote reads it");
    assert_eq!(text(&second.latest().await.unwrap(), "a").as_deref(), Some("1"), "so does the other, who asks");
    let batch = watch.next().await.unwrap();
    assert_eq!((batch.revision, batch.events.len()), (made.revision, 1));
    let error = second.commit(Txn::create("a", value("2"))).await.unwrap_err();
    let CommitError::Conflict { actual: Some(actual), .. } = error else { panic!("{error}") };
    assert_eq!(actual.mod_revision, made.revision);
    let done = second.commit(Txn::update("a", made.revision, value("2"))).await.unwrap();
    first.reached(done.revision, Duration::from_secs(60)).await.unwrap();
    assert_eq!(text(&first.snapshot(), "a").as_deref(), Some("2"));
    let error = first.reached(done.revision + 1, Duration::from_secs(10)).await.unwrap_err();
    assert!(matches!(error, RevisionError::Future { current } if current == done.revision), "{error}");
    // What the other removed meanwhile is not removed again.
    second.commit(Txn::new().delete("a")).await.unwrap();
    assert_eq!(first.commit(Txn::new().delete("a")).await.unwrap().events.len(), 0);
}

#[tokio::test]
async fn making_the_store_at_once_makes_one() {
    let prefix = Prefix::fresh();
    let opened = (0..8).map(|_| tokio::spawn(Store::connect(prefix.options()))).collect::<Vec<_>>();
    let mut ids = Vec::new();
    for store in opened {
        ids.push(store.await.unwrap().unwrap().cluster_id());
    }
    assert!(ids.iter().all(|id| *id == ids[0]));
}

#[tokio::test(flavor = "multi_thread")]
async fn no_increment_is_lost_between_two_servers() {
    const EACH: u64 = 20;
    let (_etcd, first, second) = two().await;
    first.commit(Txn::create("counter", value("0"))).await.unwrap();
    let tasks = (0..8).map(|task| {
        let store = if task % 2 == 0 { first.clone() } else { second.clone() };
        tokio::spawn(async move {
            for _ in 0..EACH {
                increment(&store).await;
            }
        })
    });
    for task in tasks.collect::<Vec<_>>() {
        task.await.unwrap();
    }
    assert_eq!(text(&first.latest().await.unwrap(), "counter"), Some((8 * EACH).to_string()));
}

async fn increment(store: &Store) {
    let mut entry = store.latest().await.unwrap().get(b"counter").unwrap().clone();
    loop {
        let number: u64 = std::str::from_utf8(&entry.value.body).unwrap().parse().unwrap();
        let next = value(&(number + 1).to_string());
        match store.commit(Txn::update("counter", entry.mod_revision, next)).await {
            Ok(_) => return,
            Err(CommitError::Conflict { actual, .. }) => {
                entry = actual.unwrap();
                let local = store.snapshot().get(b"counter").unwrap().mod_revision;
                assert!(local >= entry.mod_revision, "memory shows what the conflict was with");
            }
            Err(error) => panic!("{error}"),
        }
    }
}

#[tokio::test]
async fn others_on_the_same_etcd_do_not_count() {
    let (prefix, first, second) = two().await;
    let made = first.commit(Txn::create("a", value("1"))).await.unwrap().revision;
    for round in 0..5 {
        prefix.server.ctl(&["put", "/elsewhere", &round.to_string()]);
    }
    let third = Store::connect(prefix.options()).await.unwrap();
    for store in [&first, &second, &third] {
        assert_eq!(store.latest().await.unwrap().revision(), made);
        assert!(matches!(store.watch(b"", made + 1), Err(RevisionError::Future { .. })));
    }
    let next = second.commit(Txn::create("b", value("1"))).await.unwrap().revision;
    assert!(next > made + 5);
    assert_eq!(first.latest().await.unwrap().revision(), next);
    // The revisions between are as they were at the last of ours.
    assert!(first.snapshot_at(made + 3).await.unwrap().get(b"b").is_none());
}

#[tokio::test]
async fn what_strangers_do_below_the_prefix_is_survived() {
    let (prefix, first, _second) = two().await;
    first.commit(Txn::create("a", value("1"))).await.unwrap();
    let mut watch = first.watch(b"", first.revision()).unwrap();
    let key = |name: &str| format!("{}data/{name}", prefix.options().prefix);
    prefix.server.ctl(&["put", &key("garbage"), "{}"]);
    prefix.server.ctl(&["del", &key("a")]);
    let batch = watch.next().await.unwrap();
    let [removed] = &batch.events[..] else { panic!("{batch:?}") };
    assert!(removed.entry.is_none() && &removed.key[..] == b"a");
    assert!(first.snapshot().is_empty(), "what cannot be read is not there");
    let error = first.commit(Txn::create("garbage", value("1"))).await.unwrap_err();
    assert!(matches!(error, CommitError::Unavailable { .. }), "{error}");
    first.commit(Txn::new().put("garbage", value("1"))).await.unwrap();
    assert_eq!(text(&first.snapshot(), "garbage").as_deref(), Some("1"));
}

#[tokio::test]
async fn a_prefix_that_others_use_is_refused() {
    let prefix = Prefix::fresh();
    prefix.server.ctl(&["put", &format!("{}pods/default/a", prefix.options().prefix), "k8s"]);
    let Err(error) = Store::connect(prefix.options()).await else { panic!("it opened") };
    assert!(matches!(error, OpenError::Foreign { .. }), "{error}");
    assert!(error.to_string().contains("pods/default/a"), "{error}");
}

#[tokio::test]
async fn etcds_limits_are_told_apart() {
    let (_etcd, store, _second) = two().await;
    let base = store.revision();
    let error = store.commit(Txn::create("a", Value::new(vec![0; 2 << 20]))).await.unwrap_err();
    assert!(matches!(error, CommitError::TooLarge { limit: 1_572_864, .. }), "{error}");
    let many = (0..128).fold(Txn::new(), |txn, key| txn.put(format!("{key}"), value("")));
    let error = store.commit(many).await.unwrap_err();
    assert!(matches!(error, CommitError::TooManyOps { count: 129, limit: 128 }), "{error}");
    assert_eq!(store.revision(), base);
    let many = (0..127).fold(Txn::new(), |txn, key| txn.put(format!("{key}"), value("")));
    assert_eq!(store.commit(many).await.unwrap().events.len(), 127);
    let large = Value::new(vec![7; 1_572_000]);
    store.commit(Txn::create("large", large.clone())).await.unwrap();
    assert_eq!(store.snapshot().get(b"large").unwrap().value, large);
}

#[tokio::test]
async fn a_server_started_later_knows_who_wrote_what() {
    let (prefix, first, _second) = two().await;
    let base = first.revision();
    for name in ["jane", "joe"] {
        first.commit(Txn::new().put("a", value(name)).by(Author::new(name))).await.unwrap();
    }
    let later = Store::connect(prefix.options()).await.unwrap();
    for store in [&first, &later] {
        let page = store.changes(base, store.revision(), b"", 10).await.unwrap();
        let authors: Vec<_> = page.changes.iter().map(|change| change.author.as_str()).collect();
        assert_eq!((authors, page.upto), (vec!["jane", "joe"], first.revision()));
        assert!(page.changes.iter().all(|change| change.at_ms > 1_600_000_000_000));
        assert_eq!(page.changes[1].events[0].prev.as_ref().unwrap().value, value("jane"));
    }
    let page = later.changes(base, later.revision(), b"", 1).await.unwrap();
    assert_eq!(page.changes.len(), 1);
    let page = later.changes(page.upto, later.revision(), b"", 1).await.unwrap();
    assert_eq!(page.changes[0].author.as_str(), "joe");
}

#[tokio::test]
async fn one_server_compacts_and_the_others_see_it() {
    let prefix = Prefix::fresh();
    let history = HistoryPolicy { age: Duration::ZERO, revisions: 64, ..HistoryPolicy::default() };
    let options = || Options { history, ..prefix.options() };
    let first = Store::connect(options()).await.unwrap();
    let second = Store::connect(options()).await.unwrap();
    let base = first.revision();
    for _ in 0..200 {
        first.commit(Txn::new().put("a", value("x"))).await.unwrap();
    }
    let deadline = std::time::Instant::now() + Duration::from_secs(60);
    while first.stats().oldest < base + 100 || second.stats().oldest < base + 100 {
        assert!(std::time::Instant::now() < deadline, "{:?} {:?}", first.stats(), second.stats());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert!(first.stats().oldest <= base + 140, "what the policy keeps is kept");
    assert!(matches!(second.snapshot_at(base + 5).await, Err(RevisionError::Compacted { .. })));
    let third = Store::connect(prefix.options()).await.unwrap();
    assert_eq!(third.stats().oldest, first.stats().oldest, "whoever comes later knows it");
}

#[tokio::test]
async fn a_full_etcd_is_said_to_be_full() {
    let quota = |_: &tempfile::TempDir| vec!["--quota-backend-bytes".to_owned(), (4 << 20).to_string()];
    let server = super::Server::start_with(super::Disk::Fast, "http", quota);
    let store = Store::connect(super::options(&server)).await.unwrap();
    let error = loop {
        let large = Value::new(vec![7; 1 << 20]);
        match store.commit(Txn::new().put("a", large)).await {
            Ok(_) => {}
            Err(error) => break error,
        }
    };
    assert!(matches!(error, CommitError::Full), "{error}");
    assert!(store.latest().await.unwrap().get(b"a").is_some(), "reads go on");
    store.compact(store.revision()).await.unwrap();
    server.ctl(&["defrag"]);
    server.ctl(&["alarm", "disarm"]);
    store.commit(Txn::new().put("a", value("small"))).await.unwrap();
}
