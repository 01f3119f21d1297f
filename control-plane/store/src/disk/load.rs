//! Opening: find out what the file is, and whether it is sound.

use std::fs::{self, OpenOptions};
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Arc;
use std::thread;

use redb::{Database, ReadableDatabase, StorageBackend};

use super::ahead::{self, Ahead};
use super::backend::Gate;
use super::file::LockedFile;
use super::make::{self, Draft, DraftError};
use super::{CACHE_BYTES, CLUSTER, FORMAT, META, format, meta};
use crate::error::OpenError;
use crate::history_policy::HistoryPolicy;
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

/// Open the file at `path`, or make it; or use `backend` in its place. A large file is read by `policy` meanwhile.
pub(super) fn open(
    path: &Path,
    backend: Option<Box<dyn StorageBackend>>,
    policy: HistoryPolicy,
) -> Result<(Opened, Option<Ahead>), OpenError> {
    let failed = |error| OpenError::from_io(path, error);
    let gate = match backend {
        Some(backend) => {
            let gate = Gate::held(backend.into()).map_err(failed)?;
            if gate.len().map_err(failed)? == 0 {
                return Ok((initialise(path, gate)?, None));
            }
            gate
        }
        None => match open_or_make(path)? {
            Found::Old(gate) => gate,
            Found::New(opened) => return Ok((*opened, None)),
        },
    };
    let is_large = gate.len().map_err(failed)? >= ahead::LARGE;
    let (database, ahead) = thread::scope(|scope| {
        let ahead = is_large.then(|| scope.spawn(|| ahead::read(&gate, policy)));
        let database = guarded(path, || database(&gate));
        (database, ahead.and_then(|ahead| ahead.join().ok().flatten()))
    });
    Ok((identify(path, gate, database?)?, ahead))
}

/// Open the file at `path`, which must be there.
pub(super) fn open_existing(path: &Path) -> Result<Opened, OpenError> {
    refuse_directory(path)?;
    let file = LockedFile::open(path, &mut OpenOptions::new()).map_err(|error| OpenError::from_io(path, error))?;
    let gate = begins_like_a_database(path, file)?;
    let database = guarded(path, || database(&gate))?;
    identify(path, gate, database)
}

/// Open the file at `path`, which nobody else may have open, so that nothing can be written to it.
pub(super) fn inspect(path: &Path) -> Result<Opened, OpenError> {
    refuse_directory(path)?;
    let file = LockedFile::open_read_only(path).map_err(|error| OpenError::from_io(path, error))?;
    let gate = begins_like_a_database(path, file)?;
    let database = guarded(path, || database(&gate))?;
    identify(path, gate, database)
}

fn initialise(path: &Path, gate: Arc<Gate>) -> Result<Opened, OpenError> {
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

enum Found {
    /// It may be anything yet.
    Old(Arc<Gate>),
    New(Box<Opened>),
}

/// Open and lock the file at `path`. A file that is not there is made under another name first, so
/// that an empty file at `path` can only mean that something else emptied it.
fn open_or_make(path: &Path) -> Result<Found, OpenError> {
    refuse_directory(path)?;
    if !path.exists() {
        match Draft::new(path) {
            Ok(draft) => return draft.finish_empty().map(Box::new).map(Found::New),
            Err(DraftError::Exists) => {}
            Err(DraftError::Open(error)) => return Err(error),
        }
    }
    let file = LockedFile::open(path, &mut OpenOptions::new()).map_err(|error| OpenError::from_io(path, error))?;
    begins_like_a_database(path, file).map(Found::Old)
}

fn refuse_directory(path: &Path) -> Result<(), OpenError> {
    match fs::metadata(path) {
        Ok(metadata) if metadata.is_dir() => Err(OpenError::Directory { path: path.to_path_buf() }),
        Ok(_) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(OpenError::from_io(path, error)),
    }
}

/// A gate to `file`, if that begins as redb's files do.
fn begins_like_a_database(path: &Path, file: LockedFile) -> Result<Arc<Gate>, OpenError> {
    let failed = |error| OpenError::from_io(path, error);
    let mut magic = [0; MAGIC.len()];
    let foreign = |reason: &str| OpenError::Foreign { path: path.to_path_buf(), reason: reason.into() };
    match file.read(0, &mut magic) {
        Ok(()) if magic == *MAGIC => Gate::held(Arc::new(file)).map_err(failed),
        Ok(()) => Err(foreign("it does not begin like one")),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Err(foreign("it is too short")),
        Err(error) => Err(failed(error)),
    }
}

/// Check that `database` is a store of a format that this version knows.
fn identify(path: &Path, gate: Arc<Gate>, database: Database) -> Result<Opened, OpenError> {
    let path = path.to_path_buf();
    let Some((found, cluster_id)) = guarded(&path, || identity(&database))? else {
        return Err(OpenError::Foreign { path, reason: "it is some other program's database".into() });
    };
    match format::layout(found) {
        Some(layout) => Ok(Opened { gate, database, cluster_id, format: found, layout }),
        None if found > format::CURRENT => Err(OpenError::NewerFormat { path, found, supported: format::CURRENT }),
        None => Err(OpenError::Corrupt { path, reason: format!("there is no format {found}") }),
    }
}

/// The format and the identity of a store; `None` when it is none.
pub(super) fn identity(database: &Database) -> Result<Option<(u64, ClusterId)>, redb::Error> {
    let transaction = database.begin_read()?;
    let table = match transaction.open_table(META) {
        Ok(table) => table,
        Err(redb::TableError::Storage(error)) => return Err(error.into()),
        Err(_) => return Ok(None),
    };
    let format = meta(&table, FORMAT)?;
    let cluster = table.get(CLUSTER)?.map(|value| ClusterId(value.value()));
    Ok(format.zip(cluster))
}
