//! History as people read it: who changed what, and when; page by page, from memory or from disk.

use std::time::{Duration, SystemTime};

use store::{Author, Change, Changes, HistoryPolicy, Options, RevisionError, Store, Txn};

use crate::value;

const ROUNDS: u64 = 120;

fn author(round: u64) -> Author {
    match round % 3 {
        0 => Author::default(),
        other => Author::new(&format!("user-{other}")),
    }
}

/// A store that must read most of its history from disk.
fn open(folder: &tempfile::TempDir, memory_bytes: usize) -> Store {
    let history = HistoryPolicy { memory_bytes, ..HistoryPolicy::default() };
    let clock = || SystemTime::UNIX_EPOCH + Duration::from_secs(7);
    Store::open(Options { history, clock, ..Options::file(folder.path().join("s")) }).unwrap()
}

/// Revision `n` writes `key/(n % 5)` by `author(n)`; every tenth writes another key as well.
async fn furnish(store: &Store) {
    for round in 1..=ROUNDS {
        let mut txn = Txn::new().put(format!("key/{}", round % 5), value(&round.to_string())).by(author(round));
        if round % 10 == 0 {
            txn = txn.put("other", value(&round.to_string()));
        }
        store.commit(txn).await.unwrap();
    }
}

/// Read all of `after..=upto` in pages of `limit`.
async fn read(store: &Store, after: u64, upto: u64, prefix: &[u8], limit: usize) -> Vec<Change> {
    let mut changes = Vec::new();
    let mut reached = after;
    while reached < upto {
        let Changes { changes: page, upto: next } = store.changes(reached, upto, prefix, limit).await.unwrap();
        assert!(page.len() <= limit && next > reached);
        assert!(page.iter().all(|change| change.revision > reached && change.revision <= next));
        changes.extend(page);
        reached = next;
    }
    changes
}

#[tokio::test]
async fn who_changed_what_is_told_from_memory_and_from_disk() {
    for memory_bytes in [0, 4_000, 32 << 20] {
        let folder = tempfile::tempdir().unwrap();
        let mut store = open(&folder, memory_bytes);
        furnish(&store).await;
        for _restart in 0..2 {
            for limit in [1, 7, 1_000] {
                let all = read(&store, 0, ROUNDS, b"", limit).await;
                assert_eq!(all.len() as u64, ROUNDS);
                for (round, change) in (1..).zip(&all) {
                    assert_eq!((change.revision, change.at_ms), (round, 7_000));
                    assert_eq!(change.author, author(round), "{round}");
                    assert_eq!(change.events.len(), if round % 10 == 0 { 2 } else { 1 });
                    let event = &change.events[0];
                    assert_eq!(event.entry.as_ref().unwrap().value, value(&round.to_string()));
                    assert_eq!(event.prev.as_ref().map_or(0, |prev| prev.mod_revision), round.saturating_sub(5));
                }
                let life = read(&store, 0, ROUNDS, b"other", limit).await;
                assert!(life.iter().map(|change| change.revision).eq((1..=12).map(|tenth| tenth * 10)));
                assert!(life.iter().all(|change| change.events.len() == 1));
                let part = read(&store, 33, 66, b"key/", limit).await;
                assert!(part.iter().map(|change| change.revision).eq(34..=66));
            }
            assert!(read(&store, 0, ROUNDS, b"nothing", 5).await.is_empty());
            store.close().await;
            store = open(&folder, memory_bytes);
        }
        store.close().await;
    }
}

#[tokio::test]
async fn what_is_gone_or_yet_to_come_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(&folder, 4_000);
    furnish(&store).await;
    store.compact(60).await.unwrap();
    assert!(matches!(store.changes(59, 70, b"", 9).await, Err(RevisionError::Compacted { oldest: 60 })));
    assert_eq!(store.changes(60, 61, b"", 9).await.unwrap().changes.len(), 1);
    assert!(matches!(store.changes(60, 121, b"", 9).await, Err(RevisionError::Future { current: 120 })));
    assert!(matches!(store.changes(121, 60, b"", 9).await, Err(RevisionError::Future { current: 120 })));
    let nothing = store.changes(100, 100, b"", 9).await.unwrap();
    assert_eq!((nothing.changes.len(), nothing.upto), (0, 100));
    store.close().await;
}

#[tokio::test]
async fn a_page_is_bounded_in_bytes_too() {
    let folder = tempfile::tempdir().unwrap();
    for memory_bytes in [0, 256 << 20] {
        let store = open(&folder, memory_bytes);
        for _ in 0..12 {
            store.commit(Txn::new().put("k", store::Value::new(vec![1; 1 << 20]))).await.unwrap();
        }
        let page = store.changes(store.revision() - 12, store.revision(), b"", 1_000).await.unwrap();
        assert!((2..8).contains(&page.changes.len()), "{}", page.changes.len());
        store.close().await;
    }
}

#[tokio::test]
async fn the_events_of_a_revision_come_in_one_order_from_memory_and_from_disk() {
    let mut told = Vec::new();
    for memory_bytes in [0, 32 << 20] {
        let folder = tempfile::tempdir().unwrap();
        let store = open(&folder, memory_bytes);
        store.commit(Txn::new().put("b", value("old"))).await.unwrap();
        let txn = Txn::new().put("c", value("1")).put("a", value("2")).delete("b");
        let committed = store.commit(txn).await.unwrap();
        let keys: Vec<_> = committed.events.iter().map(|event| event.key.to_vec()).collect();
        assert_eq!(keys, [b"c", b"a", b"b"], "the writer is told in the order of the operations");
        store.commit(Txn::new().put("d", value("3"))).await.unwrap();
        let watched = store.watch(b"", 1).unwrap().next().await.unwrap().events;
        let read = store.changes(1, 2, b"", 9).await.unwrap().changes.remove(0).events;
        let keys = |events: &[std::sync::Arc<store::Event>]| -> Vec<Vec<u8>> {
            events.iter().filter(|event| event.revision == 2).map(|event| event.key.to_vec()).collect()
        };
        assert_eq!(keys(&watched), keys(&read));
        told.push(keys(&read));
    }
    assert_eq!(told[0], [b"a", b"b", b"c"]);
    assert_eq!(told[0], told[1]);
}
