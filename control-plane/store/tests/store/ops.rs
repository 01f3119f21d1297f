//! Backup, restore, check, shrink: what comes back is what was, and what is refused is not touched.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use redb::ReadableTable;
use store::ops::{self, BackupError, BackupFile, Flaw, Identity, RestoreError};
use store::{Author, CommitError, Limits, OpenError, Options, RevisionError, Snapshot, Store, Txn, Value, WatchError};

use crate::{open_in, text, through_redb, value};

const MARGIN: u64 = 1_000_000_000;

/// A store with changes, deletions, a large value, and a compacted past.
async fn furnish(store: &Store) {
    for round in 0..200u32 {
        let key = format!("space-{}/object-{}", round % 3, round % 70);
        let index = format!("index {round}").into_bytes();
        let body = format!("body {round} ").repeat(round as usize).into_bytes();
        let txn = match round % 11 {
            10 => Txn::new().delete(&key),
            _ => Txn::new().put(&key, Value { index: index.into(), body: body.into() }),
        };
        store.commit(txn).await.unwrap();
    }
    store.commit(Txn::new().put("space-0/large", Value::new(vec![7; 1_500_000]))).await.unwrap();
    store.compact(50).await.unwrap();
}

/// Keys, values and revisions.
fn contents(snapshot: &Snapshot) -> Vec<(Vec<u8>, store::Entry)> {
    snapshot.range(b"", None).map(|(key, entry)| (key.to_vec(), store::Entry::clone(entry))).collect()
}

/// Keys and values.
fn values(snapshot: &Snapshot) -> Vec<(Vec<u8>, Value)> {
    contents(snapshot).into_iter().map(|(key, entry)| (key, entry.value)).collect()
}

fn write_backup(store: &Store, folder: &tempfile::TempDir) -> PathBuf {
    let path = folder.path().join("backup");
    let written = store.backup().write_to(&mut File::create(&path).unwrap()).unwrap();
    assert_eq!(fs::metadata(&path).unwrap().len(), written);
    path
}

fn everything(_: &[u8]) -> bool {
    true
}

/// A server may run it on any of its threads.
fn movable<T: Send>(future: T) -> T {
    future
}

#[tokio::test]
async fn a_backup_becomes_a_new_store() {
    let folder = tempfile::tempdir().unwrap();
    let store = open_in(&folder);
    furnish(&store).await;
    let backup = BackupFile::open(&write_backup(&store, &folder)).unwrap();
    let then = store.snapshot();
    assert_eq!((backup.info().revision, backup.info().count), (then.revision(), then.len() as u64));
    for identity in [Identity::Keep, Identity::Renew] {
        let path = folder.path().join(format!("{identity:?}"));
        let restored = ops::create(&path, &backup, identity).unwrap();
        assert_eq!((restored.revision, restored.written), (then.revision() + MARGIN, then.len() as u64));
        let report = ops::check(&path).unwrap();
        assert!(report.is_sound(), "{:?}", report.findings);
        let found = Store::open(Options::file(&path)).unwrap();
        assert_eq!(found.cluster_id() == store.cluster_id(), identity == Identity::Keep);
        assert_eq!(contents(&found.snapshot()), contents(&then));
        // Nobody goes on from a revision of the time before, or from one that was lost.
        for lost in [0, then.revision(), then.revision() + 5_000] {
            let refused = found.watch(b"", lost).map(|_| ());
            assert!(matches!(refused, Err(RevisionError::Compacted { oldest }) if oldest == restored.revision));
        }
        let mut watch = found.watch(b"", restored.revision).unwrap();
        let done = found.commit(Txn::new().delete("space-0/large")).await.unwrap();
        assert_eq!(done.revision, restored.revision + 1);
        assert_eq!(watch.next().await.unwrap().revision, restored.revision + 1);
        found.close().await;
        assert!(ops::check(&path).unwrap().is_sound());
    }
    store.close().await;
}

#[tokio::test]
async fn a_backup_is_of_one_revision_whatever_is_written_meanwhile() {
    let store = Store::open(Options::memory()).unwrap();
    furnish(&store).await;
    let then = store.snapshot();
    let mut backup = store.backup();
    let mut bytes = backup.next().unwrap().to_vec();
    for round in 0..100 {
        store.commit(Txn::new().put(format!("space-1/object-{round}"), value("later"))).await.unwrap();
        bytes.extend(backup.next().unwrap_or_default());
    }
    backup.for_each(|chunk| bytes.extend(chunk));
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("backup");
    fs::write(&path, bytes).unwrap();
    let new = folder.path().join("new");
    ops::create(&new, &BackupFile::open(&path).unwrap(), Identity::Keep).unwrap();
    let found = Store::open(Options::file(&new)).unwrap();
    assert_eq!(contents(&found.snapshot()), contents(&then));
    found.close().await;
}

#[tokio::test]
async fn chunks_are_small_and_an_empty_store_has_a_backup() {
    let store = Store::open(Options::memory()).unwrap();
    let folder = tempfile::tempdir().unwrap();
    assert_eq!(BackupFile::open(&write_backup(&store, &folder)).unwrap().info().count, 0);
    for number in 0..2_000 {
        store.commit(Txn::new().put(format!("{number}"), Value::new(vec![1; 1_000]))).await.unwrap();
    }
    assert!(movable(store.backup()).all(|chunk| chunk.len() < 70_000));
    assert!(store.backup().count() > 30);
}

#[tokio::test]
async fn a_running_store_goes_forward_to_what_was() {
    let folder = tempfile::tempdir().unwrap();
    for store in [Store::open(Options::memory()).unwrap(), open_in(&folder)] {
        furnish(&store).await;
        let then = store.snapshot();
        let backup = BackupFile::open(&write_backup(&store, &folder)).unwrap();
        for number in 0..600 {
            store.commit(Txn::new().put(format!("new/{number}"), value("x"))).await.unwrap();
        }
        store.commit(Txn::new().delete("space-0/large").put("space-1/object-1", value("changed"))).await.unwrap();
        let before = store.revision();
        let mut watch = store.watch(b"", before).unwrap();
        let restored = movable(store.restore(&backup, everything, &Author::new("operator"))).await.unwrap();
        assert_eq!(values(&store.snapshot()), values(&then));
        assert_eq!((restored.written, restored.deleted), (2, 600));
        assert_eq!(restored.unchanged, then.len() as u64 - 2);
        assert_eq!(restored.revision, store.revision());
        let mut events = 0;
        while let Some(batch) = watch.try_next().await.unwrap() {
            events += batch.events.len();
        }
        assert_eq!(events, 602);
        let history = store.changes(before, store.revision(), b"", 100).await.unwrap();
        assert!(history.changes.len() >= 3, "bounded transactions");
        assert!(
            history.changes.iter().all(|change| change.author.as_str() == "operator" && change.events.len() <= 256)
        );
        // Once more: there is nothing to do.
        let again = store.restore(&backup, everything, &Author::default()).await.unwrap();
        assert_eq!((again.written, again.deleted, again.revision), (0, 0, restored.revision));
        store.close().await;
    }
}

#[tokio::test]
async fn a_part_goes_back_to_an_old_revision() {
    let folder = tempfile::tempdir().unwrap();
    let store = open_in(&folder);
    furnish(&store).await;
    let then = store.snapshot();
    let txn = Txn::new().delete("space-0/large").put("space-0/new", value("1")).put("space-1/new", value("1"));
    store.commit(txn).await.unwrap();
    let old = store.snapshot_at(then.revision()).await.unwrap();
    let select = |key: &[u8]| key.starts_with(b"space-0/");
    let restored = movable(store.revert(&old, select, &Author::new("operator"))).await.unwrap();
    assert_eq!((restored.written, restored.deleted), (1, 1));
    let now = store.snapshot();
    assert!(text(&now, "space-0/new").is_none() && text(&now, "space-1/new").is_some());
    let part =
        |snapshot: &Snapshot| -> Vec<_> { values(snapshot).into_iter().filter(|(key, _)| select(key)).collect() };
    assert_eq!(part(&now), part(&then));
    // Back to life is a new life.
    let entry = now.get(b"space-0/large").unwrap();
    assert_eq!((entry.create_revision, entry.version), (then.revision() + 2, 1));
    store.close().await;
}

#[tokio::test]
async fn what_the_store_cannot_take_is_refused_before_anything_is_written() {
    let large = Store::open(Options::memory()).unwrap();
    large.commit(Txn::new().put("a", value("small"))).await.unwrap();
    large.commit(Txn::new().put("b", Value::new(vec![0; 5_000]))).await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let backup = BackupFile::open(&write_backup(&large, &folder)).unwrap();
    let limits = Limits { txn_bytes: 4_000, ..Limits::default() };
    let small = Store::open(Options { limits, ..Options::memory() }).unwrap();
    let error = small.restore(&backup, everything, &Author::default()).await.unwrap_err();
    assert!(matches!(error, RestoreError::TooLarge { bytes: 5_001, limit: 4_000 }), "{error}");
    assert_eq!(small.revision(), 0);
    large.close().await;
    let error = large.restore(&backup, everything, &Author::default()).await;
    assert!(error.is_ok(), "there is nothing to write");
    let error = large.revert(&small.snapshot(), everything, &Author::default()).await.unwrap_err();
    assert!(matches!(error, RestoreError::Commit { source: CommitError::Closed, .. }), "{error}");
}

#[tokio::test]
async fn a_damaged_backup_is_recognised_whole() {
    let store = Store::open(Options::memory()).unwrap();
    for number in 0..300 {
        store.commit(Txn::new().put(format!("{number}"), Value::new(vec![1; 1_000]))).await.unwrap();
    }
    let folder = tempfile::tempdir().unwrap();
    let path = write_backup(&store, &folder);
    let good = fs::read(&path).unwrap();
    let chunks: Vec<_> = store.backup().map(|chunk| chunk.len()).collect();
    let opened = |bytes: &[u8]| {
        fs::write(&path, bytes).unwrap();
        BackupFile::open(&path).map(|_| ())
    };
    assert!(opened(&good).is_ok());
    // Cut short: anywhere, and exactly between two chunks.
    let mut ends: Vec<_> = (12..good.len()).step_by(good.len() / 60).collect();
    ends.extend(chunks.iter().scan(0, |end, length| Some(std::mem::replace(end, *end + length))).skip(1));
    ends.extend([good.len() - 1, good.len() - 8, good.len() - 9]);
    for end in ends {
        assert!(matches!(opened(&good[..end]), Err(BackupError::Cut)), "{end}");
    }
    for end in [0, 5, 11] {
        assert!(matches!(opened(&good[..end]), Err(BackupError::Foreign)), "{end}");
    }
    let mut flips: Vec<_> = (0..200).chain((200..good.len()).step_by(997)).collect();
    flips.extend(good.len() - 8..good.len());
    for at in flips {
        let mut bytes = good.clone();
        bytes[at] ^= 0x04;
        assert!(opened(&bytes).is_err(), "flipped at {at}");
    }
    assert!(matches!(opened(&[&good[..], b"x"].concat()), Err(BackupError::Damaged { .. })));
    let second = chunks[0]..chunks[0] + chunks[1];
    let doubled = [&good[..second.end], &good[second.start..]].concat();
    assert!(matches!(opened(&doubled), Err(BackupError::Damaged { .. })));
    let lost = [&good[..second.start], &good[second.end..]].concat();
    assert!(matches!(opened(&lost), Err(BackupError::Damaged { .. })));
    let mut newer = good.clone();
    newer[8] = 9;
    assert!(matches!(opened(&newer), Err(BackupError::NewerFormat { found: 9, supported: 1 })));
    assert!(matches!(BackupFile::open(folder.path()), Err(BackupError::Io(_))));
    assert!(matches!(BackupFile::open(Path::new("/nonexistent")), Err(BackupError::Io(_))));
}

#[tokio::test]
async fn nothing_is_ever_overwritten_by_a_restore() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(Options::memory()).unwrap();
    furnish(&store).await;
    let backup = BackupFile::open(&write_backup(&store, &folder)).unwrap();
    let target = folder.path().join("target");
    for bytes in [&b""[..], b"a letter to my aunt"] {
        fs::write(&target, bytes).unwrap();
        let error = ops::create(&target, &backup, Identity::Keep).unwrap_err();
        assert!(matches!(error, RestoreError::Exists { .. }), "{error}");
        assert_eq!(fs::read(&target).unwrap(), bytes);
    }
    let error = ops::create(folder.path(), &backup, Identity::Keep).unwrap_err();
    assert!(matches!(error, RestoreError::Exists { .. }), "{error}");
    let error = ops::create(Path::new("/nonexistent/folder/s"), &backup, Identity::Keep).unwrap_err();
    assert!(matches!(error, RestoreError::Create(OpenError::Io { .. })), "{error}");
    // The backup is spoilt after it was verified: no store comes of it, and no half of one stays.
    let spoilt = folder.path().join("backup");
    let length = fs::metadata(&spoilt).unwrap().len();
    File::options().write(true).open(&spoilt).unwrap().set_len(length - 100).unwrap();
    let new = folder.path().join("new");
    let error = ops::create(&new, &backup, Identity::Keep).unwrap_err();
    assert!(matches!(error, RestoreError::Backup(BackupError::Cut)), "{error}");
    let mut names: Vec<_> = fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    names.sort();
    assert_eq!(names, ["backup", "target"]);
}

#[tokio::test]
async fn a_file_is_checked_and_counted_as_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store.redb");
    let store = open_in(&folder);
    furnish(&store).await;
    store.commit(Txn::new().put("by", value("alice")).by(Author::new("alice"))).await.unwrap();
    assert!(matches!(ops::check(&path), Err(OpenError::Locked { .. })));
    // As after a power loss: copied while it is open.
    let copy = folder.path().join("copy");
    fs::copy(&path, &copy).unwrap();
    let online = movable(store.file_stats()).await.unwrap().unwrap();
    let (revision, keys) = (store.revision(), store.snapshot().len() as u64);
    store.close().await;
    for path in [&path, &copy] {
        let bytes = fs::read(path).unwrap();
        let report = ops::check(path).unwrap();
        assert!(report.is_sound(), "{:?}", report.findings);
        let stats = ops::stats(path).unwrap();
        assert_eq!(report.stats.as_ref(), Some(&stats));
        assert_eq!((stats.format, stats.revision, stats.oldest, stats.keys), (2, revision, 50, keys));
        assert_eq!((stats.history_rows + stats.keys, stats.authors), (report.rows, 1));
        assert!(stats.live_bytes > 1_500_000 && stats.file_bytes > stats.live_bytes && stats.oldest_ms.is_some());
        assert!(stats.free_bytes < stats.file_bytes);
        assert_eq!((stats.history_rows, stats.history_bytes), (online.history_rows, online.history_bytes));
        assert!(fs::read(path).unwrap() == bytes, "looking changed the file");
    }
    let missing = folder.path().join("missing");
    assert!(matches!(ops::check(&missing), Err(OpenError::Io { .. })));
    assert!(!missing.exists());
    assert!(matches!(ops::check(folder.path()), Err(OpenError::Directory { .. })));
}

const LOG: redb::TableDefinition<'_, &[u8], &[u8]> = redb::TableDefinition::new("log.2");
const META: redb::TableDefinition<'_, &str, u128> = redb::TableDefinition::new("meta");

fn row_key(revision: u64, key: &str) -> Vec<u8> {
    [&revision.to_be_bytes(), key.as_bytes()].concat()
}

/// Change a sound file through redb, and see what the check says.
async fn flaws(spoil: impl FnOnce(&redb::WriteTransaction)) -> Vec<Flaw> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store.redb");
    let store = open_in(&folder);
    for (round, key) in ["a", "b", "a", "c", "a", "b"].into_iter().enumerate() {
        store.commit(Txn::new().put(key, value(&round.to_string()))).await.unwrap();
    }
    store.commit(Txn::new().delete("c")).await.unwrap();
    store.compact(3).await.unwrap();
    store.close().await;
    assert!(ops::check(&path).unwrap().is_sound());
    through_redb(&path, spoil);
    let bytes = fs::read(&path).unwrap();
    let report = ops::check(&path).unwrap();
    assert!(!report.is_sound() && report.found == report.findings.len() as u64);
    assert!(fs::read(&path).unwrap() == bytes);
    assert!(report.findings.iter().all(|finding| !finding.to_string().is_empty()));
    report.findings.into_iter().map(|finding| finding.flaw).collect()
}

#[tokio::test]
async fn what_does_not_hold_is_named() {
    let remove = |revision, key: &'static str| {
        move |transaction: &redb::WriteTransaction| {
            let mut log = transaction.open_table(LOG).unwrap();
            assert!(log.remove(&*row_key(revision, key)).unwrap().is_some());
        }
    };
    let copy = |from: Vec<u8>, to: Vec<u8>| {
        move |transaction: &redb::WriteTransaction| {
            let mut log = transaction.open_table(LOG).unwrap();
            let row = log.get(&*from).unwrap().unwrap().value().to_vec();
            log.insert(&*to, &*row).unwrap();
        }
    };
    let mark = |name: &'static str, value: u128| {
        move |transaction: &redb::WriteTransaction| {
            transaction.open_table(META).unwrap().insert(name, value).unwrap();
        }
    };
    let found = flaws(remove(5, "a")).await;
    assert!(found.contains(&Flaw::Gap { first: 5, last: 5 }), "{found:?}");
    assert!(found.iter().any(|flaw| matches!(flaw, Flaw::Replay { .. })), "{found:?}");
    let found = flaws(remove(2, "b")).await;
    assert!(found.contains(&Flaw::Predecessor), "{found:?}");
    let found = flaws(copy(row_key(3, "a"), row_key(1, "a"))).await;
    assert!(found.contains(&Flaw::Sum), "{found:?}");
    let found = flaws(mark("compacted", 99)).await;
    assert!(found.iter().any(|flaw| matches!(flaw, Flaw::Marks { compacted: 99, .. })), "{found:?}");
    let found = flaws(mark("swept", 6)).await;
    assert!(found.contains(&Flaw::Orphan), "{found:?}");
    let found = flaws(|transaction| {
        let other = redb::TableDefinition::<u64, u64>::new("mine");
        transaction.open_table(other).unwrap().insert(1, 1).unwrap();
    })
    .await;
    assert_eq!(found, [Flaw::Table { name: "mine".into() }]);
    let found = flaws(|transaction| {
        let mut log = transaction.open_table(LOG).unwrap();
        let mut row = log.get(&*row_key(6, "b")).unwrap().unwrap().value().to_vec();
        *row.last_mut().unwrap() ^= 1;
        log.insert(&*row_key(6, "b"), &*row).unwrap();
    })
    .await;
    assert!(found.contains(&Flaw::Sum), "{found:?}");
    let found =
        flaws(|transaction| drop(transaction.open_table(LOG).unwrap().insert(&b"x"[..], &b""[..]).unwrap())).await;
    assert!(found.contains(&Flaw::RowKey), "{found:?}");
}

#[tokio::test]
async fn free_pages_go_back_to_the_file_system() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store.redb");
    let store = open_in(&folder);
    for round in 0..300u32 {
        let body = vec![u8::try_from(round % 251).unwrap(); 20_000];
        store.commit(Txn::new().put(format!("{}", round % 20), Value::new(body))).await.unwrap();
    }
    let then = values(&store.snapshot());
    store.compact(300).await.unwrap();
    assert!(matches!(ops::shrink(&path), Err(OpenError::Locked { .. })));
    store.close().await;
    let store = open_in(&folder);
    store.commit(Txn::new().put("last", value("x"))).await.unwrap();
    store.close().await;
    let stats = ops::stats(&path).unwrap();
    let shrunk = ops::shrink(&path).unwrap();
    assert_eq!(shrunk.before, stats.file_bytes);
    assert_eq!(shrunk.after, fs::metadata(&path).unwrap().len());
    assert!(shrunk.after < 2_000_000, "{shrunk:?} {stats:?}");
    assert!(ops::check(&path).unwrap().is_sound());
    let store = open_in(&folder);
    store.commit(Txn::new().delete("last")).await.unwrap();
    assert_eq!(values(&store.snapshot()), then);
    store.close().await;
}

#[tokio::test]
async fn a_watcher_that_the_ring_left_behind_is_told_so() {
    let history = store::HistoryPolicy { memory_bytes: 4_000, ..store::HistoryPolicy::default() };
    let store = Store::open(Options { history, ..Options::memory() }).unwrap();
    let mut watch = store.watch(b"", 0).unwrap();
    for round in 0..100 {
        store.commit(Txn::new().put("k", value(&round.to_string()))).await.unwrap();
    }
    assert!(matches!(watch.next().await, Err(WatchError::Compacted { .. })));
    assert!(matches!(store.changes(0, 100, b"", 9).await, Err(RevisionError::Compacted { .. })));
    assert!(store.file_stats().await.unwrap().is_none());
}
