//! Watches: ordered, complete, atomic per revision, resumable; slow ones harm nobody.

use store::{HistoryPolicy, Options, RevisionError, Store, Txn, Watch, WatchError};

use crate::places::Place;
use crate::value;

/// The revisions of the next `count` events.
async fn revisions(watch: &mut Watch, count: usize) -> Vec<u64> {
    let mut seen = Vec::new();
    while seen.len() < count {
        seen.extend(watch.next().await.unwrap().events.iter().map(|event| event.revision));
    }
    seen
}

/// Write `key` and return the revision.
async fn put(store: &Store, key: &str, text: &str) -> u64 {
    store.commit(Txn::new().put(key, value(text))).await.unwrap().revision
}

#[tokio::test]
async fn a_watch_gets_its_prefix_with_previous_values() {
    for place in Place::every() {
        let store = place.open().await;
        let mut watch = store.watch(b"a/", store.revision()).unwrap();
        let made = put(&store, "a/1", "1").await;
        put(&store, "b/1", "1").await;
        let removed = store.commit(Txn::new().delete("a/1")).await.unwrap().revision;
        let batch = watch.next().await.unwrap();
        assert_eq!(batch.revision, removed);
        let [created, deleted] = &batch.events[..] else { panic!("{batch:?}") };
        assert!(created.prev.is_none() && created.entry.is_some());
        assert!(deleted.entry.is_none());
        assert_eq!(deleted.prev.as_ref().unwrap().mod_revision, made);
        let last = put(&store, "b/2", "1").await;
        assert_eq!(watch.progress(), last);
        assert!(watch.try_next().await.unwrap().is_none());
    }
}

#[tokio::test]
async fn a_watch_resumes_after_a_restart() {
    for place in Place::durable() {
        let store = place.open().await;
        let mut revisions = Vec::new();
        for round in 0..10 {
            revisions.push(put(&store, "a", &round.to_string()).await);
        }
        store.close().await;
        let store = place.open().await;
        let mut watch = store.watch(b"a", revisions[3]).unwrap();
        let mut events = Vec::new();
        while events.len() < 6 {
            events.extend(watch.next().await.unwrap().events.iter().cloned());
        }
        assert_eq!(events.iter().map(|event| event.revision).collect::<Vec<_>>(), revisions[4..]);
        let first = &events[0];
        assert_eq!((first.revision, &first.prev.as_ref().unwrap().value.body[..]), (revisions[4], &b"3"[..]));
        store.close().await;
    }
}

#[tokio::test]
async fn a_watch_waits_across_threads_and_misses_nothing() {
    for place in Place::durable() {
        let store = place.open().await;
        let mut watch = store.watch(b"", store.revision()).unwrap();
        let reader = tokio::spawn(async move { revisions(&mut watch, 200).await });
        let mut written = Vec::new();
        for round in 0..200 {
            written.push(put(&store, &format!("{}", round % 3), "x").await);
        }
        assert_eq!(reader.await.unwrap(), written);
        store.close().await;
    }
}

#[tokio::test]
async fn a_slow_watch_reads_on_where_memory_has_forgotten() {
    let history = HistoryPolicy { memory_bytes: 3_000, ..HistoryPolicy::default() };
    for place in Place::durable() {
        let store = place.open_with(history).await;
        let mut watch = store.watch(b"a", store.revision()).unwrap();
        let mut expected = Vec::new();
        for round in 0..900 {
            let key = if round % 3 == 0 { "b" } else { "a" };
            let revision = put(&store, key, &round.to_string()).await;
            if key == "a" {
                expected.push(revision);
            }
        }
        let mut seen = Vec::new();
        while seen.len() < 600 {
            for event in &watch.next().await.unwrap().events {
                if let Some(prev) = &event.prev {
                    assert_eq!(Some(&prev.mod_revision), seen.last());
                }
                seen.push(event.revision);
            }
        }
        assert_eq!(seen, expected);
        store.close().await;
    }
}

#[tokio::test]
async fn a_watch_that_is_too_slow_ends() {
    for place in Place::every() {
        let store = place.open().await;
        let mut watch = store.watch(b"a", store.revision()).unwrap();
        let mut quiet = store.watch(b"quiet", store.revision()).unwrap();
        let mut revisions = Vec::new();
        for _ in 0..10 {
            revisions.push(put(&store, "a", "x").await);
        }
        let (middle, last) = (revisions[4], revisions[9]);
        store.compact(middle).await.unwrap();
        assert!(matches!(watch.next().await, Err(WatchError::Compacted { oldest }) if oldest == middle));
        let refused = store.watch(b"", middle - 1);
        assert!(matches!(refused, Err(RevisionError::Compacted { oldest }) if oldest == middle));
        assert!(matches!(store.watch(b"", last + 1), Err(RevisionError::Future { current }) if current == last));
        let next = put(&store, "quiet", "x").await;
        assert_eq!(self::revisions(&mut quiet, 1).await, [next], "nothing was missed, so it goes on");
    }
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
async fn an_event_is_encoded_once_in_each_form_while_it_is_news() {
    let store = Store::open(Options::memory()).unwrap();
    let mut first = store.watch(b"", 0).unwrap();
    let mut second = store.watch(b"", 0).unwrap();
    store.commit(Txn::create("a", value("x"))).await.unwrap();
    let event = &first.next().await.unwrap().events[0];
    assert_eq!(event.encoded(0, || "wire".into()), "wire");
    assert_eq!(event.encoded(1, || "other".into()), "other");
    let event = &second.next().await.unwrap().events[0];
    assert_eq!(event.encoded(0, || unreachable!("encoded already")), "wire");
    assert_eq!(event.encoded(1, || unreachable!("encoded already")), "other");
    for n in 0..300 {
        put(&store, "b", &n.to_string()).await;
    }
    assert_eq!(event.encoded(0, || "anew".into()), "anew");
    assert_eq!(event.encoded(0, || "again".into()), "again", "old events keep nothing");
}

/// More watches of one prefix than are woken one by one.
const CROWD: usize = 120;

#[tokio::test]
async fn a_crowd_is_given_everything_once_and_shares_what_is_joined() {
    for place in Place::every() {
        let store = place.open().await;
        let mut crowd: Vec<_> = (0..CROWD).map(|_| store.watch(b"a", store.revision()).unwrap()).collect();
        let mut expected = Vec::new();
        let mut joins = 0;
        for round in 0..3 {
            for key in ["a", "b", "aa"] {
                let revision = put(&store, key, &round.to_string()).await;
                expected.extend((key != "b").then_some(revision));
            }
            for watch in &mut crowd {
                let mut seen = Vec::new();
                while seen.last() != expected.last() {
                    let batch = watch.next().await.unwrap();
                    seen.extend(batch.events.iter().map(|event| event.revision));
                    let joined = batch.events.joined(0, |events| {
                        joins += 1;
                        Some(events.iter().map(|event| format!("{} ", event.revision)).collect::<String>().into())
                    });
                    let text: String = batch.events.iter().map(|event| format!("{} ", event.revision)).collect();
                    assert_eq!(joined.unwrap(), text);
                }
                assert_eq!(seen, expected[expected.len() - 2..]);
            }
        }
        assert!(joins < CROWD, "{joins} for {CROWD} watches in three rounds");
        store.close().await;
    }
}

#[tokio::test]
async fn a_crowd_that_is_not_woken_yet_can_look_at_everything() {
    let store = Store::open(Options::memory()).unwrap();
    let mut crowd: Vec<_> = (0..CROWD).map(|_| store.watch(b"a", 0).unwrap()).collect();
    for n in 0..5 {
        put(&store, "a", &n.to_string()).await;
        let batch = crowd[0].try_next().await.unwrap().unwrap();
        assert_eq!(batch.events.last().unwrap().revision, store.revision());
        assert_eq!(crowd[1].progress(), n, "as far as it has been given");
        crowd[1].try_next().await.unwrap();
    }
}
