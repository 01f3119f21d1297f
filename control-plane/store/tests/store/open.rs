//! Bad files: each has its own error, and is left byte for byte as it was.

use std::fs;
use std::path::Path;

use store::{OpenError, Options, Store, Txn, Value};

use crate::{open_in, through_redb, value};

fn refused(path: &Path) -> OpenError {
    match Store::open(Options::file(path)) {
        Ok(_) => panic!("{} opened", path.display()),
        Err(error) => error,
    }
}

/// Open a file of these bytes, which must fail and change nothing.
fn refused_bytes(bytes: &[u8]) -> OpenError {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store.redb");
    fs::write(&path, bytes).unwrap();
    let error = refused(&path);
    assert!(fs::read(&path).unwrap() == bytes, "the file was changed");
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "a file was left behind");
    error
}

/// The bytes of a store with some content.
async fn sample() -> Vec<u8> {
    let folder = tempfile::tempdir().unwrap();
    let store = open_in(&folder);
    for round in 0..100 {
        let text = format!("{round}").repeat(100);
        store.commit(Txn::new().put(format!("key/{round}"), value(&text))).await.unwrap();
    }
    store.close().await;
    fs::read(folder.path().join("store.redb")).unwrap()
}

#[tokio::test]
async fn a_file_in_use_is_locked() {
    let folder = tempfile::tempdir().unwrap();
    let store = open_in(&folder);
    let path = folder.path().join("store.redb");
    let error = refused(&path);
    assert!(matches!(error, OpenError::Locked { .. }), "{error}");
    assert!(error.to_string().contains("store.redb is in use by another process"), "{error}");
    store.close().await;
    open_in(&folder).close().await;
}

#[test]
fn a_directory_is_named_as_such() {
    let folder = tempfile::tempdir().unwrap();
    let error = refused(folder.path());
    assert!(matches!(error, OpenError::Directory { .. }), "{error}");
}

#[test]
fn a_file_that_nobody_may_write_is_named_as_such() {
    // Not even root, who may do anything with files that somebody made.
    let error = refused(Path::new("/sys/kernel/notes"));
    assert!(matches!(error, OpenError::Permission { .. }), "{error}");
}

#[test]
fn a_missing_folder_is_an_io_error() {
    let error = refused(Path::new("/nonexistent/folder/store.redb"));
    assert!(matches!(error, OpenError::Io { .. }), "{error}");
}

#[test]
fn foreign_files_are_not_stores() {
    for bytes in [&b""[..], b"redb", b"SQLite format 3\0 and then some more"] {
        let error = refused_bytes(bytes);
        assert!(matches!(error, OpenError::Foreign { .. }), "{error}");
    }
}

#[test]
fn another_programs_database_is_not_a_store() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("other");
    let database = redb::Database::create(&path).unwrap();
    let transaction = database.begin_write().unwrap();
    transaction.open_table(redb::TableDefinition::<u64, u64>::new("numbers")).unwrap();
    transaction.commit().unwrap();
    drop(database);
    let error = refused_bytes(&fs::read(&path).unwrap());
    assert!(matches!(error, OpenError::Foreign { .. }), "{error}");
}

#[tokio::test]
async fn a_newer_format_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store.redb");
    open_in(&folder).close().await;
    let meta = redb::TableDefinition::<&str, u128>::new("meta");
    through_redb(&path, |transaction| {
        transaction.open_table(meta).unwrap().insert("format", 3).unwrap();
    });
    let error = refused_bytes(&fs::read(&path).unwrap());
    assert!(matches!(error, OpenError::NewerFormat { found: 3, supported: 2, .. }), "{error}");
}

/// Bytes of a store of more than 8 MiB, which is read by two threads, in `folder`.
async fn large(folder: &tempfile::TempDir) -> std::path::PathBuf {
    let store = open_in(folder);
    for round in 0..100u64 {
        let body = vec![u8::try_from(round).unwrap(); 150_000];
        store.commit(Txn::new().put(format!("key/{}", round % 80), Value::new(body))).await.unwrap();
    }
    store.compact(10).await.unwrap();
    store.close().await;
    folder.path().join("store.redb")
}

#[tokio::test]
async fn truncated_files_are_damaged() {
    let bytes = sample().await;
    let pages = (1..bytes.len() / 4_096).map(|page| page * 4_096);
    let edges = [16, 17, 35, 36, 63, 64, 191, 192, 319, 320, 400, 511, 512, 4_095, 4_097, 5_000];
    for length in pages.chain(edges).chain([bytes.len() / 2 + 1, bytes.len() - 1]) {
        let error = refused_bytes(&bytes[..length]);
        assert!(matches!(error, OpenError::Corrupt { .. }), "{length}: {error}");
    }
    for length in 0..16 {
        let error = refused_bytes(&bytes[..length]);
        assert!(matches!(error, OpenError::Foreign { .. }), "{length}: {error}");
    }
}

#[tokio::test]
async fn a_file_cut_and_filled_up_again_is_damaged() {
    let bytes = sample().await;
    for at in (4_096..bytes.len()).step_by(bytes.len() / 20) {
        let mut hollow = bytes.clone();
        hollow[at..].fill(0);
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("store.redb");
        fs::write(&path, &hollow).unwrap();
        match Store::open(Options::file(&path)) {
            Ok(store) => {
                assert_eq!((store.revision(), store.snapshot().len()), (100, 100), "at {at}");
                store.close().await;
            }
            Err(OpenError::Corrupt { .. }) => assert!(fs::read(&path).unwrap() == hollow),
            Err(error) => panic!("{at}: {error}"),
        }
    }
}

#[tokio::test]
async fn a_large_file_is_read_while_it_is_verified_and_never_believed_too_early() {
    let folder = tempfile::tempdir().unwrap();
    let path = large(&folder).await;
    let bytes = fs::read(&path).unwrap();
    assert!(bytes.len() > 8 << 20);
    let store = open_in(&folder);
    assert_eq!((store.revision(), store.stats().oldest, store.snapshot().len()), (100, 10, 80));
    let snapshot = store.snapshot();
    assert!((0..80u8).all(|key| {
        let round = if key < 20 { key + 80 } else { key };
        snapshot.get(format!("key/{key}").as_bytes()).unwrap().value.body[..] == [round; 150_000]
    }));
    store.close().await;
    let mut refused = 0;
    for at in (0..bytes.len()).step_by(bytes.len() / 24).chain([100, 200, 4_100]) {
        let mut flipped = bytes.clone();
        flipped[at] ^= 0x20;
        fs::write(&path, &flipped).unwrap();
        match Store::open(Options::file(&path)) {
            Ok(store) => {
                assert_eq!((store.revision(), store.snapshot().len()), (100, 80), "at {at}");
                store.close().await;
            }
            Err(OpenError::Corrupt { .. } | OpenError::Foreign { .. }) => {
                refused += 1;
                assert!(fs::read(&path).unwrap() == flipped, "changed, flipped at {at}");
            }
            Err(error) => panic!("{at}: {error}"),
        }
    }
    assert!(refused > 10, "{refused}");
}

/// What a power loss leaves: redb has to repair it before anybody may read it.
#[tokio::test]
async fn a_large_file_that_was_not_closed_is_all_there() {
    let folder = tempfile::tempdir().unwrap();
    let path = large(&folder).await;
    let store = open_in(&folder);
    for round in 0..5 {
        store.commit(Txn::new().put(format!("late/{round}"), value("x"))).await.unwrap();
        let copy = folder.path().join(format!("copy-{round}"));
        fs::copy(&path, &copy).unwrap();
        let found = Store::open(Options::file(&copy)).unwrap();
        assert_eq!((found.revision(), found.snapshot().len()), (101 + round, 81 + usize::try_from(round).unwrap()));
        found.close().await;
        assert!(store::ops::check(&copy).unwrap().is_sound());
    }
    store.close().await;
}

#[tokio::test]
async fn two_processes_cannot_make_one_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store.redb");
    // The draft of another process, which is still at it.
    let draft = fs::File::create(folder.path().join("store.redb.new")).unwrap();
    draft.lock().unwrap();
    assert!(matches!(refused(&path), OpenError::Locked { .. }));
    assert!(!path.exists());
    // It died: what it left is of no use to anybody.
    drop(draft);
    let store = open_in(&folder);
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    store.close().await;
}

#[tokio::test]
async fn flipped_bits_are_damage_or_harmless() {
    let bytes = sample().await;
    let mut damaged = 0;
    for at in (0..bytes.len()).step_by(bytes.len() / 150 + 1) {
        let mut flipped = bytes.clone();
        flipped[at] ^= 0x10;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("store.redb");
        fs::write(&path, &flipped).unwrap();
        match Store::open(Options::file(&path)) {
            // An unused byte: everything must be there.
            Ok(store) => {
                assert_eq!((store.revision(), store.snapshot().len()), (100, 100), "at {at}");
                store.close().await;
            }
            Err(OpenError::Corrupt { .. } | OpenError::Foreign { .. }) => {
                damaged += 1;
                assert!(fs::read(&path).unwrap() == flipped, "changed, flipped at {at}");
            }
            Err(error) => panic!("{at}: {error}"),
        }
    }
    assert!(damaged > 0);
}
