//! Making a store's file: under another name first, so that what is at its path is always a whole store.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use redb::{Database, StorageBackend, TableDefinition};

use super::backend::Gate;
use super::file::LockedFile;
use super::load::{Opened, database, guarded};
use super::record::{self, By, Row};
use super::{CLUSTER, COMPACTED, FORMAT, LOG, META, REVISION, SWEPT, authors, format, journal};
use crate::error::OpenError;
use crate::types::{ClusterId, Entry, Key, Revision};

/// Bytes that a new file has room for.
const ROOM: usize = 240 << 10;

/// What a file that is not empty begins with.
pub(crate) struct Origin {
    pub cluster_id: ClusterId,
    /// Its revision; everything up to here counts as compacted.
    pub revision: Revision,
    /// When its entries were written, as far as anybody knows: wall time in milliseconds since 1970.
    pub at_ms: u64,
}

/// A file in the making. Dropped before it is published, it is removed.
#[derive(Debug)]
pub(crate) struct Draft {
    path: PathBuf,
    draft: PathBuf,
    gate: Option<Arc<Gate>>,
}

/// Why there is no draft.
#[derive(Debug)]
pub(crate) enum DraftError {
    /// Something is at the path already.
    Exists,
    Open(OpenError),
}

impl Draft {
    pub fn new(path: &Path) -> Result<Self, DraftError> {
        let failed = |error| DraftError::Open(OpenError::from_io(path, error));
        if path.symlink_metadata().is_ok() {
            return Err(DraftError::Exists);
        }
        let mut draft = path.as_os_str().to_owned();
        draft.push(".new");
        let draft = PathBuf::from(draft);
        let file = LockedFile::open(&draft, OpenOptions::new().create(true)).map_err(failed)?;
        if path.symlink_metadata().is_ok() {
            // Another process was faster: what was opened is its draft, or a new one that nobody needs.
            drop(fs::remove_file(&draft));
            return Err(DraftError::Exists);
        }
        let mut made = Self { path: path.to_path_buf(), draft, gate: None };
        file.set_len(0).map_err(failed)?;
        made.gate = Some(begin(Arc::new(file)).map_err(failed)?);
        Ok(made)
    }

    /// Make it an empty store, and publish it. It stays open: to open it again would cost another sync.
    pub(super) fn finish_empty(mut self) -> Result<Opened, OpenError> {
        let path = self.path.clone();
        let gate = self.gate.clone().ok_or_else(|| OpenError::from_io(&path, io::ErrorKind::NotFound.into()))?;
        let (database, cluster_id) = guarded(&path, || {
            let database = database(&gate)?;
            let cluster_id = initialise(&database)?;
            make_room(&database)?;
            Ok((database, cluster_id))
        })?;
        self.publish()?;
        Opened::new(&path, gate, database, cluster_id)
    }

    /// Fill it with `entries`, to be published. They stream: what is kept in memory is bounded.
    pub fn fill(self, origin: &Origin, entries: impl Iterator<Item = (Key, Entry)>) -> Result<Self, OpenError> {
        let path = self.path.clone();
        if let Some(gate) = &self.gate {
            gate.release().map_err(|error| OpenError::from_io(&path, error))?;
            guarded(&path, || fill(&database(gate)?, origin, entries))?;
        }
        Ok(self)
    }

    /// Put it in its place.
    pub fn publish(&mut self) -> Result<(), OpenError> {
        let failed = |error| OpenError::from_io(&self.path, error);
        let Some(gate) = &self.gate else { return Ok(()) };
        gate.release().map_err(failed)?;
        fs::rename(&self.draft, &self.path).map_err(failed)?;
        self.gate = None;
        let folder = self.path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        File::open(folder).and_then(|folder| folder.sync_all()).map_err(failed)
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        // Still locked: nobody else can have begun with it.
        if self.gate.is_some()
            && let Err(error) = fs::remove_file(&self.draft)
        {
            tracing::warn!(%error, path = %self.draft.display(), "a half-made store is left behind");
        }
    }
}

/// A gate to a database with a journal in front, in `storage`, which is empty.
pub(super) fn begin(storage: Arc<dyn StorageBackend>) -> io::Result<Arc<Gate>> {
    journal::begin(&*storage)?;
    Gate::held(storage, journal::FRONT)
}

/// Make a new database an empty store.
pub(super) fn initialise(database: &Database) -> Result<ClusterId, redb::Error> {
    let cluster_id = ClusterId::random();
    fill(database, &Origin { cluster_id, revision: 0, at_ms: 0 }, std::iter::empty())?;
    Ok(cluster_id)
}

/// Let the file grow to what a first start needs, while that costs no syncs: redb syncs whenever it grows a file.
fn make_room(database: &Database) -> Result<(), redb::Error> {
    const SPACE: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("space");
    let transaction = database.begin_write()?;
    transaction.open_table(SPACE)?.insert_reserve(0, ROOM)?;
    transaction.commit()?;
    let transaction = database.begin_write()?;
    transaction.delete_table(SPACE)?;
    transaction.commit()?;
    Ok(())
}

fn fill(database: &Database, origin: &Origin, entries: impl Iterator<Item = (Key, Entry)>) -> Result<(), redb::Error> {
    let transaction = database.begin_write()?;
    {
        let mut log = transaction.open_table(LOG)?;
        transaction.open_table(authors::TABLE)?;
        let mut row_key = Vec::new();
        for (key, entry) in entries {
            record::row_key(entry.mod_revision, &key, &mut row_key);
            let row = Row::of(Some(&entry), 0, origin.at_ms, By::Nobody);
            row.write(&row_key, log.insert_reserve(&*row_key, row.len())?.as_mut());
        }
        let mut meta = transaction.open_table(META)?;
        meta.insert(FORMAT, u128::from(format::CURRENT))?;
        meta.insert(CLUSTER, origin.cluster_id.0)?;
        if origin.revision > 0 {
            for name in [COMPACTED, SWEPT, REVISION] {
                meta.insert(name, u128::from(origin.revision))?;
            }
        }
    }
    transaction.commit()?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use crate::{Options, Store, Txn, Value};

    #[tokio::test]
    async fn a_new_file_has_room_for_a_first_start() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("store");
        let len = || std::fs::metadata(&path).unwrap().len();
        let store = Store::open(Options::file(&path)).unwrap();
        let made = len();
        let txn = (0..150).fold(Txn::new(), |txn, n| txn.put(format!("key/{n}"), Value::new(vec![7; 900])));
        store.commit(txn).await.unwrap();
        assert_eq!(len(), made, "the file grew, which is a sync each time");
        store.close().await;
        assert_eq!(Store::open(Options::file(&path)).unwrap().snapshot().len(), 150);
    }
}
