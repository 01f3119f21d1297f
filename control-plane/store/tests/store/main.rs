//! The store from outside: what it promises, checked against a model, bad files and failing disks.

#![allow(clippy::unwrap_used, reason = "a test that panics has failed, as it should")]

mod basics;
#[cfg(feature = "etcd-tests")]
mod etcd;
mod faults;
mod forks;
mod history;
mod journal;
mod linear;
mod model;
mod open;
mod ops;
mod places;
mod upgrade;
mod watches;

use std::fs;
use std::path::Path;

use store::{Options, Store, Value};

/// A store in a file of `folder`.
fn open_in(folder: &tempfile::TempDir) -> Store {
    Store::open(Options::file(folder.path().join("store.redb"))).unwrap()
}

fn value(text: &str) -> Value {
    Value::new(text.as_bytes().to_vec())
}

fn text(snapshot: &store::Snapshot, key: &str) -> Option<String> {
    let entry = snapshot.get(key.as_bytes())?;
    Some(String::from_utf8_lossy(&entry.value.body).into_owned())
}

/// Bytes of a store's file in front of its redb database.
const FRONT: usize = 1 << 20;

/// Change a closed store's file through redb.
fn through_redb(path: &Path, change: impl FnOnce(&redb::WriteTransaction)) {
    let mut bytes = fs::read(path).unwrap();
    let behind = tempfile::NamedTempFile::new().unwrap();
    fs::write(&behind, &bytes[FRONT..]).unwrap();
    let database = redb::Database::open(&behind).unwrap();
    let transaction = database.begin_write().unwrap();
    change(&transaction);
    transaction.commit().unwrap();
    drop(database);
    bytes.truncate(FRONT);
    bytes.extend(fs::read(&behind).unwrap());
    fs::write(path, bytes).unwrap();
}
