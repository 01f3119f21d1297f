//! Files of older formats: brought to the current one as they are opened, all of the way or not at all.

use std::fs;
use std::sync::atomic::Ordering;

use store::{Options, Store, Txn, ops};

use crate::faults::ShakyDisk;
use crate::{open_in, text, value};

/// Written by the last version of format 1: 40 rounds over 12 keys, every seventh a deletion, compacted at 20; then two
/// keys at once.
const FORMAT_1: &[u8] = include_bytes!("fixtures/format-1.redb");
const REVISION: u64 = 40;
const COMPACTED: u64 = 20;

/// What that file holds at its newest revision: a key's last round, unless that deleted it.
fn expected(number: u32) -> Option<String> {
    let round = (0..40u32).rev().find(|round| round % 12 == number)?;
    (round % 7 != 6).then(|| format!("body {round} ").repeat(round as usize + 1))
}

async fn assert_whole(store: &Store) {
    assert_eq!(store.cluster_id().to_string(), "30576bf3-dd04-dad9-5a82-654621b33395");
    assert_eq!((store.revision(), store.stats().oldest, store.snapshot().len()), (REVISION, COMPACTED, 13));
    let snapshot = store.snapshot();
    for number in 0..12 {
        let found = text(&snapshot, &format!("core/configmaps/default/{number}"));
        assert_eq!(found, expected(number), "{number}");
    }
    assert_eq!(text(&snapshot, "core/secrets/default/b").as_deref(), Some("two"));
    let entry = snapshot.get(b"core/configmaps/default/1").unwrap();
    assert_eq!(entry.value.index, "i37");
    let history = store.changes(COMPACTED, REVISION, b"", 100).await.unwrap();
    assert_eq!((history.changes.len(), history.upto), (20, REVISION));
    assert!(
        history.changes.iter().all(|change| change.at_ms == 1_700_000_000_000 && change.author.as_str().is_empty())
    );
    assert_eq!(history.changes[19].events.len(), 2);
}

#[tokio::test]
async fn format_1_becomes_the_current_one() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store.redb");
    fs::write(&path, FORMAT_1).unwrap();
    let store = open_in(&folder);
    assert_whole(&store).await;
    let author = store::Author::new("alice");
    store.commit(Txn::new().put("new", value("1")).by(author.clone())).await.unwrap();
    store.close().await;
    assert_eq!(ops::stats(&path).unwrap().format, 2);
    let report = ops::check(&path).unwrap();
    assert!(report.is_sound(), "{:?}", report.findings);
    let store = open_in(&folder);
    assert_eq!(store.revision(), REVISION + 1);
    assert_eq!(store.changes(REVISION, REVISION + 1, b"", 9).await.unwrap().changes[0].author, author);
    store.close().await;
}

#[test]
fn looking_at_an_old_file_does_not_upgrade_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store.redb");
    fs::write(&path, FORMAT_1).unwrap();
    let report = ops::check(&path).unwrap();
    assert!(report.is_sound(), "{:?}", report.findings);
    let stats = ops::stats(&path).unwrap();
    assert_eq!((stats.format, stats.revision, stats.oldest, stats.keys), (1, REVISION, COMPACTED, 13));
    assert!(fs::read(&path).unwrap() == FORMAT_1);
}

#[tokio::test]
async fn an_upgrade_that_loses_power_or_room_begins_again() {
    let mut failed = 0;
    for syncs in 0..20 {
        let disk = ShakyDisk::holding(FORMAT_1);
        disk.syncs_left.store(syncs, Ordering::SeqCst);
        let opened = disk.try_open();
        failed += usize::from(opened.is_err());
        if let Ok(store) = &opened {
            assert_whole(store).await;
        }
        for seed in 0..8 {
            let store = disk.after_power_loss(seed).open();
            assert_whole(&store).await;
            store.close().await;
        }
        if let Ok(store) = opened {
            store.close().await;
        }
    }
    assert!((2..20).contains(&failed), "{failed} of 20 upgrades failed");
    for room in 0..12 {
        let disk = ShakyDisk::holding(FORMAT_1);
        disk.writes_left.store(room, Ordering::SeqCst);
        let opened = disk.try_open();
        assert!(matches!(opened, Err(store::OpenError::Full { .. })) || opened.is_ok(), "{room}: {:?}", opened.err());
        drop(opened);
        disk.writes_left.store(i64::MAX, Ordering::SeqCst);
        let store = disk.open();
        assert_whole(&store).await;
        store.close().await;
    }
}

#[tokio::test]
async fn a_damaged_old_file_is_refused_as_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store.redb");
    fs::write(&path, FORMAT_1).unwrap();
    // A row of history goes missing: the pages are whole, the log is not.
    let database = redb::Database::open(&path).unwrap();
    let transaction = database.begin_write().unwrap();
    let log = redb::TableDefinition::<&[u8], &[u8]>::new("log");
    let mut row_key = 30u64.to_be_bytes().to_vec();
    row_key.extend_from_slice(b"core/configmaps/default/6");
    assert!(transaction.open_table(log).unwrap().remove(&*row_key).unwrap().is_some());
    transaction.commit().unwrap();
    drop(database);
    let bytes = fs::read(&path).unwrap();
    let Err(error) = Store::open(Options::file(&path)) else { panic!("it opened") };
    assert!(error.to_string().contains("revision 30 is missing"), "{error}");
    assert!(fs::read(&path).unwrap() == bytes);
}
