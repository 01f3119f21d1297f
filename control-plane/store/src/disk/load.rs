//! Opening: find out what the file is, and whether it is sound.

use std::fs::{self, OpenOptions};
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Arc;

use redb::{Database, ReadableDatabase, StorageBackend};

use super::backend::{Gate, LockedFile};
use super::make::{self, Draft, DraftError};
use super::{CACHE_BYTES, CLUSTER, FORMAT, META, format, meta};
use crate::error::OpenError;
use crate::types::ClusterId;

const MAGIC: &[u8; 9] = b"redb\x1A\x0A\xA9\x0D\x0A";

/// A file known to hold a store. Nothing has been written to it yet: see [`Gate::held`].
pub(super) struct Opened {
    pub gate: Arc<Gate>,
    pub database: Database,
    pub cluster_id: ClusterId,
    /// One of those in [`format`].
    pub format: u64,
    pub layout: &'static format::Layout,
}

/// A redb database over `gate`.
pub(super) fn database(gate: &Arc<Gate>) -> Result<Database, redb::Error> {
    let mut builder = Database::builder();
    builder.set_cache_size(CACHE_BYTES).set_check_integrity_on_open(true);
    Ok(builder.create_with_backend(gate.handle())?)
}

/// Open the file at `path`, or make it; or use `backend` in its place.
pub(super) fn open(path: &Path, backend: Option<Box<dyn StorageBackend>>) -> Result<Opened, OpenError> {
    let failed = |error| OpenError::from_io(path, error);
    let backend = match backend {
        Some(backend) => {
            if backend.len().map_err(failed)? == 0 {
                return initialise(path, backend);
            }
            backend
        }
        None => open_or_make(path)?,
    };
    identify(path, backend)
}

/// Open the file at `path`, which must be there.
pub(super) fn open_existing(path: &Path) -> Result<Opened, OpenError> {
    refuse_directory(path)?;
    let file = LockedFile::open(path, &mut OpenOptions::new()).map_err(|error| OpenError::from_io(path, error))?;
    identify(path, begins_like_a_database(path, file)?)
}

/// Open the file at `path`, which nobody else may have open, so that nothing can be written to it.
pub(super) fn inspect(path: &Path) -> Result<Opened, OpenError> {
    refuse_directory(path)?;
    let file = LockedFile::open_read_only(path).map_err(|error| OpenError::from_io(path, error))?;
    identify(path, begins_like_a_database(path, file)?)
}

fn initialise(path: &Path, backend: Box<dyn StorageBackend>) -> Result<Opened, OpenError> {
    let gate = Gate::held(backend).map_err(|error| OpenError::from_io(path, error))?;
    let database = guarded(path, || database(&gate))?;
    let cluster_id = guarded(path, || make::initialise(&database))?;
    Ok(Opened { gate, database, cluster_id, format: format::CURRENT, layout: format::current() })
}

/// redb panics on some damaged files; to us that is damage like any other.
pub(super) fn guarded<T>(path: &Path, work: impl FnOnce() -> Result<T, redb::Error>) -> Result<T, OpenError> {
    let damaged = |reason: String| OpenError::Corrupt { path: path.to_path_buf(), reason };
    match catch_unwind(AssertUnwindSafe(work)) {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(error)) => Err(classify(path, error)),
        Err(panic) => {
            let reason = panic.downcast_ref::<String>().map_or("it does not parse", |text| text);
            Err(damaged(reason.to_owned()))
        }
    }
}

fn classify(path: &Path, error: redb::Error) -> OpenError {
    let reason = error.to_string();
    match error {
        redb::Error::DatabaseAlreadyOpen => OpenError::Locked { path: path.to_path_buf() },
        redb::Error::Io(error) if matches!(error.kind(), io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof) => {
            OpenError::Corrupt { path: path.to_path_buf(), reason }
        }
        redb::Error::Io(error) => OpenError::from_io(path, error),
        _ => OpenError::Corrupt { path: path.to_path_buf(), reason },
    }
}

/// Open and lock the file at `path`. A file that is not there is made under another name first, so
/// that an empty file at `path` can only mean that something else emptied it.
fn open_or_make(path: &Path) -> Result<Box<dyn StorageBackend>, OpenError> {
    refuse_directory(path)?;
    if !path.exists() {
        match Draft::new(path) {
            Ok(draft) => draft.finish_empty()?,
            Err(DraftError::Exists) => {}
            Err(DraftError::Open(error)) => return Err(error),
        }
    }
    let file = LockedFile::open(path, &mut OpenOptions::new()).map_err(|error| OpenError::from_io(path, error))?;
    begins_like_a_database(path, file)
}

fn refuse_directory(path: &Path) -> Result<(), OpenError> {
    match fs::metadata(path) {
        Ok(metadata) if metadata.is_dir() => Err(OpenError::Directory { path: path.to_path_buf() }),
        Ok(_) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(OpenError::from_io(path, error)),
    }
}

fn begins_like_a_database(path: &Path, file: LockedFile) -> Result<Box<dyn StorageBackend>, OpenError> {
    let mut magic = [0; MAGIC.len()];
    let foreign = |reason: &str| OpenError::Foreign { path: path.to_path_buf(), reason: reason.into() };
    match file.read(0, &mut magic) {
        Ok(()) if magic == *MAGIC => Ok(Box::new(file)),
        Ok(()) => Err(foreign("it does not begin like one")),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Err(foreign("it is too short")),
        Err(error) => Err(OpenError::from_io(path, error)),
    }
}

/// Check that `backend` holds a store of a format that this version knows.
fn identify(path: &Path, backend: Box<dyn StorageBackend>) -> Result<Opened, OpenError> {
    let gate = Gate::held(backend).map_err(|error| OpenError::from_io(path, error))?;
    let database = guarded(path, || database(&gate))?;
    let read = || {
        let transaction = database.begin_read()?;
        let table = match transaction.open_table(META) {
            Ok(table) => table,
            Err(redb::TableError::Storage(error)) => return Err(error.into()),
            Err(_) => return Ok(None),
        };
        let format = meta(&table, FORMAT)?;
        let cluster = table.get(CLUSTER)?.map(|value| ClusterId(value.value()));
        Ok(format.zip(cluster))
    };
    let path = path.to_path_buf();
    let Some((found, cluster_id)) = guarded(&path, read)? else {
        return Err(OpenError::Foreign { path, reason: "it is some other program's database".into() });
    };
    match format::layout(found) {
        Some(layout) => Ok(Opened { gate, database, cluster_id, format: found, layout }),
        None if found > format::CURRENT => Err(OpenError::NewerFormat { path, found, supported: format::CURRENT }),
        None => Err(OpenError::Corrupt { path, reason: format!("there is no format {found}") }),
    }
}
