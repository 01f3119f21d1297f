//! What has not come further than the journal in front of redb is there like everything else.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicI64, Ordering};

use store::{Author, HistoryPolicy, OpenError, Options, Store, Txn, Value, ops};

use crate::faults::{ShakyDisk, write_again};
use crate::{FRONT, open_in, text, value};

/// What a crash would leave of the store at `path`.
fn crashed(path: &Path, name: &str) -> PathBuf {
    let copy = path.with_file_name(name);
    fs::copy(path, &copy).unwrap();
    copy
}

/// The `round`th of a row of transactions over nine keys, some of which delete.
fn round(round: u64) -> Txn {
    let key = format!("key/{}", round % 9);
    let txn = if round % 7 == 6 { Txn::new().delete(key) } else { Txn::new().put(key, value(&format!("{round}"))) };
    txn.put("last", value(&round.to_string())).by(Author::new(&format!("user-{}", round % 3)))
}

#[tokio::test]
async fn history_is_read_while_most_of_it_is_nowhere_else() {
    let folder = tempfile::tempdir().unwrap();
    // No room in memory: everything that can be is read from the disk.
    let history = HistoryPolicy { memory_bytes: 0, ..HistoryPolicy::default() };
    let store = Store::open(Options { history, ..Options::file(folder.path().join("store.redb")) }).unwrap();
    let mut watch = store.watch(b"", 0).unwrap();
    for number in 0..400 {
        let revision = store.commit(round(number)).await.unwrap().revision;
        assert_eq!(revision, number + 1);
        if number % 23 != 0 {
            continue;
        }
        let page = store.changes(0, revision, b"last", 1_000).await.unwrap();
        assert_eq!((page.changes.len() as u64, page.upto), (revision, revision));
        for (at, change) in (0..).zip(&page.changes) {
            assert_eq!((change.revision, change.author.as_str()), (at + 1, &*format!("user-{}", at % 3)));
        }
        for old in [1, revision / 3, revision / 2, revision - revision / 9, revision].map(|old| old.max(1)) {
            let snapshot = store.snapshot_at(old).await.unwrap();
            assert_eq!(text(&snapshot, "last"), Some((old - 1).to_string()), "{old} of {revision}");
        }
    }
    let mut seen = 0;
    while seen < 400 {
        for event in &watch.next().await.unwrap().events {
            assert!([seen, seen + 1].contains(&event.revision), "{} after {seen}", event.revision);
            seen = event.revision;
        }
    }
    store.close().await;
}

#[tokio::test]
async fn a_crash_leaves_nothing_out() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store.redb");
    let store = open_in(&folder);
    for number in 0..330 {
        store.commit(round(number)).await.unwrap();
        if number == 300 {
            store.compact(250).await.unwrap();
        }
        if number % 30 != 29 {
            continue;
        }
        let copy = crashed(&path, &format!("copy-{number}"));
        let bytes = fs::read(&copy).unwrap();
        // To look at it changes nothing, and shows everything.
        let report = ops::check(&copy).unwrap();
        assert!(report.is_sound(), "{number}: {:?}", report.findings);
        let stats = ops::stats(&copy).unwrap();
        assert_eq!((stats.revision, stats.keys), (number + 1, store.snapshot().len() as u64));
        assert!(fs::read(&copy).unwrap() == bytes);
        let found = Store::open(Options::file(&copy)).unwrap();
        assert_eq!((found.revision(), found.stats().oldest), (number + 1, store.stats().oldest));
        let snapshot = found.snapshot();
        for (key, entry) in store.snapshot().range(b"", None) {
            assert_eq!(snapshot.get(key).unwrap(), entry);
        }
        assert_eq!(snapshot.len(), store.snapshot().len());
        let from = number - 20;
        let page = found.changes(from, number + 1, b"last", 100).await.unwrap();
        assert_eq!(page.changes.len(), 21);
        assert!((from..).zip(&page.changes).all(|(at, change)| change.author.as_str() == format!("user-{}", at % 3)));
        found.commit(round(number + 1)).await.unwrap();
        found.close().await;
        assert!(ops::check(&copy).unwrap().is_sound());
    }
    let copy = crashed(&path, "shrunk");
    ops::shrink(&copy).unwrap();
    let found = Store::open(Options::file(&copy)).unwrap();
    assert_eq!((found.revision(), found.stats().oldest, found.snapshot().len()), (330, 250, store.snapshot().len()));
    found.close().await;
    store.close().await;
}

#[tokio::test]
async fn what_is_counted_is_all_there_is() {
    let folder = tempfile::tempdir().unwrap();
    let store = open_in(&folder);
    for number in 0..40 {
        store.commit(round(number)).await.unwrap();
    }
    let running = store.file_stats().await.unwrap().unwrap();
    store.close().await;
    let closed = ops::stats(&folder.path().join("store.redb")).unwrap();
    assert_eq!((running.history_rows, running.authors), (closed.history_rows, closed.authors));
    assert_eq!((running.revision, running.keys), (40, closed.keys));
    assert!(running.free_bytes + FRONT as u64 <= running.file_bytes);
}

#[tokio::test]
async fn damage_is_told_from_a_torn_end() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store.redb");
    let store = open_in(&folder);
    for number in 0..12 {
        store.commit(round(number)).await.unwrap();
    }
    let sound = fs::read(crashed(&path, "sound")).unwrap();
    store.close().await;
    let copy = folder.path().join("copy");
    let (mut torn, mut damaged) = (0, 0);
    // Every frame is in a block of its own.
    for at in (4_096..FRONT).step_by(4_096).take(16).flat_map(|block| [block, block + 30, block + 60]) {
        let mut flipped = sound.clone();
        flipped[at] ^= 4;
        fs::write(&copy, &flipped).unwrap();
        match Store::open(Options::file(&copy)) {
            Ok(found) => {
                torn += usize::from(found.revision() == 11);
                assert!([11, 12].contains(&found.revision()), "at {at}: {}", found.revision());
                found.close().await;
            }
            Err(OpenError::Corrupt { reason, .. }) => {
                damaged += 1;
                assert!(reason.contains("journal is damaged"), "{reason}");
                assert!(fs::read(&copy).unwrap() == flipped, "changed, flipped at {at}");
            }
            Err(error) => panic!("{at}: {error}"),
        }
    }
    assert_eq!((torn, damaged), (3, 33));
}

/// Writes and syncs so far.
fn spent(disk: &ShakyDisk) -> (i64, i64) {
    let spent = |left: &AtomicI64| i64::MAX - left.load(Ordering::SeqCst);
    (spent(&disk.writes_left), spent(&disk.syncs_left))
}

#[tokio::test]
async fn a_small_commit_is_one_write_and_one_sync() {
    let disk = ShakyDisk::default();
    let store = disk.open();
    store.commit(round(0)).await.unwrap();
    let (writes, syncs) = spent(&disk);
    for number in 1..70 {
        store.commit(round(number)).await.unwrap();
    }
    let now = spent(&disk);
    assert_eq!((now.0 - writes, now.1 - syncs), (69, 69));
    // A large one goes to redb, with all that waited.
    let large = (0..100).fold(Txn::new(), |txn, row| txn.put(format!("row/{row}"), value("x")));
    store.commit(large).await.unwrap();
    assert!(spent(&disk).0 > now.0 + 1);
    store.close().await;
}

#[tokio::test]
async fn a_journal_that_fails_is_mended_without_redb() {
    let disk = ShakyDisk::default();
    let store = disk.open();
    store.commit(round(0)).await.unwrap();
    disk.syncs_left.store(0, Ordering::SeqCst);
    store.commit(round(1)).await.unwrap_err();
    disk.syncs_left.store(i64::MAX, Ordering::SeqCst);
    disk.writes_left.store(i64::MAX, Ordering::SeqCst);
    let revision = write_again(&store, "last").await;
    // The frame that was refused is made void, the new one written: redb, which is verified when it failed, did not.
    assert_eq!(spent(&disk), (2, 2));
    assert_eq!(store.changes(0, revision, b"", 100).await.unwrap().changes.len(), 2);
    for seed in 0..5 {
        let found = disk.after_power_loss(seed).open();
        assert_eq!((found.revision(), text(&found.snapshot(), "last")), (2, Some("again".into())));
    }
    store.close().await;
}

#[tokio::test]
async fn large_values_that_were_replaced_do_not_pile_up() {
    let disk = ShakyDisk::default();
    let store = disk.open();
    let large = Value::new(vec![7; 2 << 20]);
    for number in 0..8 {
        store.commit(Txn::new().put("key", large.clone())).await.unwrap();
        store.commit(Txn::new().put("key", value(&number.to_string()))).await.unwrap();
    }
    let history = disk.after_power_loss(1).open();
    assert_eq!((history.revision(), text(&history.snapshot(), "key")), (16, Some("7".into())));
    store.close().await;
}
