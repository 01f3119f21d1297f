//! Bad files: each has its own error, and is left byte for byte as it was.

use std::fs;
use std::path::Path;

use store::{OpenError, Options, Store, Txn};

use crate::{open_in, value};

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
    let database = redb::Database::open(&path).unwrap();
    let transaction = database.begin_write().unwrap();
    let meta = redb::TableDefinition::<&str, u128>::new("meta");
    transaction.open_table(meta).unwrap().insert("format", 3).unwrap();
    transaction.commit().unwrap();
    drop(database);
    let error = refused_bytes(&fs::read(&path).unwrap());
    assert!(matches!(error, OpenError::NewerFormat { found: 3, supported: 2, .. }), "{error}");
}

#[tokio::test]
async fn truncated_files_are_damaged() {
    let bytes = sample().await;
    for length in [64, 400, 4_096, 5_000, bytes.len() / 2, bytes.len() - 4_096] {
        let error = refused_bytes(&bytes[..length]);
        assert!(matches!(error, OpenError::Corrupt { .. }), "{length}: {error}");
    }
}

#[tokio::test]
async fn flipped_bits_are_damage_or_harmless() {
    let bytes = sample().await;
    let mut damaged = 0;
    for at in (0..bytes.len()).step_by(bytes.len() / 40 + 1) {
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
