//! Watches: ordered, complete, atomic per revision, resumable; slow ones harm nobody.

use store::{HistoryPolicy, Options, RevisionError, Store, Txn, Watch, WatchError};

use crate::{open_in, value};

/// The revisions of the next `count` events.
async fn revisions(watch: &mut Watch, count: usize) -> Vec<u64> {
    let mut seen = Vec::new();
    while seen.len() < count {
        seen.extend(watch.next().await.unwrap().events.iter().map(|event| event.revision));
    }
    seen
}

#[tokio::test]
async fn a_watch_gets_its_prefix_with_previous_values() {
    let store = Store::open(Options::memory()).unwrap();
    let mut watch = store.watch(b"a/", 0).unwrap();
    store.commit(Txn::create("a/1", value("1"))).await.unwrap();
    store.commit(Txn::create("b/1", value("1"))).await.unwrap();
    store.commit(Txn::new().delete("a/1")).await.unwrap();
    let batch = watch.next().await.unwrap();
    assert_eq!(batch.revision, 3);
    let [created, deleted] = &batch.events[..] else { panic!("{batch:?}") };
    assert!(created.prev.is_none() && created.entry.is_some());
    assert!(deleted.entry.is_none());
    assert_eq!(deleted.prev.as_ref().unwrap().mod_revision, 1);
    store.commit(Txn::create("b/2", value("1"))).await.unwrap();
    assert_eq!(watch.progress(), 4);
    assert!(watch.try_next().await.unwrap().is_none());
}

#[tokio::test]
async fn a_watch_resumes_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let store = open_in(&folder);
    for round in 0..10 {
        store.commit(Txn::new().put("a", value(&round.to_string()))).await.unwrap();
    }
    store.close().await;
    let store = open_in(&folder);
    let mut watch = store.watch(b"a", 4).unwrap();
    let batch = watch.next().await.unwrap();
    assert_eq!(batch.events.len(), 6);
    let first = &batch.events[0];
    assert_eq!((first.revision, &first.prev.as_ref().unwrap().value.body[..]), (5, &b"3"[..]));
    store.close().await;
}

#[tokio::test]
async fn a_watch_waits_across_threads_and_misses_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let store = open_in(&folder);
    let mut watch = store.watch(b"", 0).unwrap();
    let reader = tokio::spawn(async move { revisions(&mut watch, 200).await });
    for round in 0..200 {
        store.commit(Txn::new().put(format!("{}", round % 3), value("x"))).await.unwrap();
    }
    assert_eq!(reader.await.unwrap(), (1..=200).collect::<Vec<_>>());
    store.close().await;
}

#[tokio::test]
async fn a_slow_watch_reads_on_from_the_disk() {
    let folder = tempfile::tempdir().unwrap();
    let history = HistoryPolicy { memory_bytes: 3_000, ..HistoryPolicy::default() };
    let store = Store::open(Options { history, ..Options::file(folder.path().join("s")) }).unwrap();
    let mut watch = store.watch(b"a", 0).unwrap();
    for round in 0..900 {
        let key = if round % 3 == 0 { "b" } else { "a" };
        store.commit(Txn::new().put(key, value(&round.to_string()))).await.unwrap();
    }
    let mut seen = Vec::new();
    while seen.len() < 600 {
        for event in watch.next().await.unwrap().events {
            if let Some(prev) = &event.prev {
                assert_eq!(Some(&prev.mod_revision), seen.last());
            }
            seen.push(event.revision);
        }
    }
    let expected: Vec<u64> = (1..=900).filter(|revision| revision % 3 != 1).collect();
    assert_eq!(seen, expected);
    store.close().await;
}

#[tokio::test]
async fn a_watch_that_is_too_slow_ends() {
    let store = Store::open(Options::memory()).unwrap();
    let mut watch = store.watch(b"a", 0).unwrap();
    let mut quiet = store.watch(b"quiet", 0).unwrap();
    for _ in 0..10 {
        store.commit(Txn::new().put("a", value("x"))).await.unwrap();
    }
    store.compact(5).await.unwrap();
    assert!(matches!(watch.next().await, Err(WatchError::Compacted { oldest: 5 })));
    assert!(matches!(store.watch(b"", 4), Err(RevisionError::Compacted { oldest: 5 })));
    assert!(matches!(store.watch(b"", 11), Err(RevisionError::Future { current: 10 })));
    store.commit(Txn::new().put("quiet", value("x"))).await.unwrap();
    assert_eq!(revisions(&mut quiet, 1).await, [11], "nothing was missed, so it goes on");
}

#[tokio::test]
async fn a_batch_never_cuts_a_revision() {
    let store = Store::open(Options::memory()).unwrap();
    let mut watch = store.watch(b"", 0).unwrap();
    for round in 0..20 {
        let txn = (0..100).fold(Txn::new(), |txn, key| txn.put(format!("{round}/{key}"), value("")));
        store.commit(txn).await.unwrap();
    }
    let mut last = 0;
    while last < 20 {
        let batch = watch.next().await.unwrap();
        assert!(batch.events[0].revision > last);
        assert_eq!(batch.events.len() % 100, 0);
        last = batch.events.last().unwrap().revision;
    }
}

#[tokio::test]
async fn an_event_is_encoded_once() {
    let store = Store::open(Options::memory()).unwrap();
    let mut first = store.watch(b"", 0).unwrap();
    let mut second = store.watch(b"", 0).unwrap();
    store.commit(Txn::create("a", value("x"))).await.unwrap();
    let event = first.next().await.unwrap().events.remove(0);
    assert_eq!(event.encoded(|| "wire".into()), "wire");
    let event = second.next().await.unwrap().events.remove(0);
    assert_eq!(event.encoded(|| unreachable!("encoded already")), "wire");
}
