//! Opening: find out what the file is, and whether it is sound.

use std::fs::{self, OpenOptions};
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Arc;
use std::thread;

use redb::{Database, ReadableDatabase, StorageBackend};

use super::ahead::{self, Ahead};
use super::authors::Authors;
use super::backend::Gate;
use super::file::LockedFile;
use super::journal::{self, Found, Frame, Head};
use super::make::{self, Draft, DraftError};
use super::{CACHE_BYTES, CLUSTER, FORMAT, META, format, last_revision, meta};
use crate::error::OpenError;
use crate::history_policy::HistoryPolicy;
use crate::types::{ClusterId, Revision};

const MAGIC: &[u8; 9] = b"redb\x1A\x0A\xA9\x0D\x0A";

/// A file known to hold a store. Nothing has been written to it yet: see [`Gate::held`].
pub(super) struct Opened {
    pub gate: Arc<Gate>,
    pub database: Database,
    pub cluster_id: ClusterId,
    /// One of those in [`format`].
    pub format: u64,
    pub layout: &'static format::Layout,
    /// `None` in a file of a version that had none.
    pub journal: Option<Found>,
}

impl Opened {
    /// What is in front of a new database.
    pub fn new(path: &Path, gate: Arc<Gate>, database: Database, cluster_id: ClusterId) -> Result<Self, OpenError> {
        let journal = Some(guarded(path, || journal::fresh(&*gate.storage()))?);
        Ok(Self { gate, database, cluster_id, format: format::CURRENT, layout: format::current(), journal })
    }

    /// The revisions that redb lacks.
    pub fn frames(&self) -> &[Frame] {
        self.journal.as_ref().map_or(&[], |journal| &journal.frames)
    }

    /// Bring the revisions that redb lacks to it. What holds the database must have been released, or never be: what is
    /// released all at once may be one commit, and not two.
    pub fn settle(&mut self, authors: &mut Authors) -> Result<(), redb::Error> {
        let Some(journal) = self.journal.as_mut().filter(|journal| !journal.frames.is_empty()) else { return Ok(()) };
        journal::settle(&self.database, &journal.frames, authors)?;
        journal.frames.clear();
        Ok(())
    }
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
            let storage: Arc<dyn StorageBackend> = backend.into();
            if storage.len().map_err(failed)? == 0 {
                return Ok((initialise(path, make::begin(storage).map_err(failed)?)?, None));
            }
            gate(path, storage)?
        }
        None => match open_or_make(path)? {
            Place::Old(gate) => gate,
            Place::New(opened) => return Ok((*opened, None)),
        },
    };
    let is_large = gate.len().map_err(failed)? >= ahead::LARGE;
    let (database, ahead) = thread::scope(|scope| {
        let ahead = is_large.then(|| scope.spawn(|| ahead::read(&gate, policy)));
        let database = guarded(path, || database(&gate));
        (database, ahead.and_then(|ahead| ahead.join().ok().flatten()))
    });
    let opened = identify(path, gate, database?)?;
    // What was read ahead is redb's alone.
    let ahead = ahead.filter(|_| opened.frames().is_empty());
    Ok((opened, ahead))
}

/// Open the file at `path`, which must be there.
pub(super) fn open_existing(path: &Path) -> Result<Opened, OpenError> {
    refuse_directory(path)?;
    let file = LockedFile::open(path, &mut OpenOptions::new()).map_err(|error| OpenError::from_io(path, error))?;
    let gate = gate(path, Arc::new(file))?;
    let database = guarded(path, || database(&gate))?;
    identify(path, gate, database)
}

/// Open the file at `path`, which nobody else may have open, so that nothing can be written to it. All that it holds
/// shows in its database.
pub(super) fn inspect(path: &Path) -> Result<Opened, OpenError> {
    refuse_directory(path)?;
    let file = LockedFile::open_read_only(path).map_err(|error| OpenError::from_io(path, error))?;
    let gate = gate(path, Arc::new(file))?;
    let database = guarded(path, || database(&gate))?;
    let mut opened = identify(path, gate, database)?;
    guarded(path, || {
        let mut authors = opened.layout.authors(&opened.database)?;
        opened.settle(&mut authors)
    })?;
    Ok(opened)
}

fn initialise(path: &Path, gate: Arc<Gate>) -> Result<Opened, OpenError> {
    let database = guarded(path, || database(&gate))?;
    let cluster_id = guarded(path, || make::initialise(&database))?;
    Opened::new(path, gate, database, cluster_id)
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

enum Place {
    /// It may be anything yet.
    Old(Arc<Gate>),
    New(Box<Opened>),
}

/// Open and lock the file at `path`. A file that is not there is made under another name first, so
/// that an empty file at `path` can only mean that something else emptied it.
fn open_or_make(path: &Path) -> Result<Place, OpenError> {
    refuse_directory(path)?;
    if !path.exists() {
        match Draft::new(path) {
            Ok(draft) => return draft.finish_empty().map(Box::new).map(Place::New),
            Err(DraftError::Exists) => {}
            Err(DraftError::Open(error)) => return Err(error),
        }
    }
    let file = LockedFile::open(path, &mut OpenOptions::new()).map_err(|error| OpenError::from_io(path, error))?;
    gate(path, Arc::new(file)).map(Place::Old)
}

fn refuse_directory(path: &Path) -> Result<(), OpenError> {
    match fs::metadata(path) {
        Ok(metadata) if metadata.is_dir() => Err(OpenError::Directory { path: path.to_path_buf() }),
        Ok(_) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(OpenError::from_io(path, error)),
    }
}

/// A gate to the database in `storage`, if that begins like a store: with a journal, or as redb's files do.
fn gate(path: &Path, storage: Arc<dyn StorageBackend>) -> Result<Arc<Gate>, OpenError> {
    let failed = |error| OpenError::from_io(path, error);
    let corrupt = |reason: &str| OpenError::Corrupt { path: path.to_path_buf(), reason: reason.into() };
    let front = match journal::head(&*storage).map_err(failed)? {
        Head::Ours(_) => journal::FRONT,
        Head::Broken => return Err(corrupt("its head is not whole")),
        Head::Other => 0,
    };
    let mut magic = [0; MAGIC.len()];
    let foreign = |reason: &str| OpenError::Foreign { path: path.to_path_buf(), reason: reason.into() };
    match storage.read(front, &mut magic) {
        Ok(()) if magic == *MAGIC => Gate::held(storage, front).map_err(failed),
        Ok(()) if front > 0 => Err(corrupt("there is no database behind its journal")),
        Ok(()) => Err(foreign("it does not begin like one")),
        Err(error) if error.kind() != io::ErrorKind::UnexpectedEof => Err(failed(error)),
        Err(_) if front > 0 => Err(corrupt("it ends before its database")),
        Err(_) => Err(foreign("it is too short")),
    }
}

/// Check that `database` is a store of a format that this version knows.
fn identify(path: &Path, gate: Arc<Gate>, database: Database) -> Result<Opened, OpenError> {
    let path = path.to_path_buf();
    let Some((found, cluster_id)) = guarded(&path, || identity(&database))? else {
        return Err(OpenError::Foreign { path, reason: "it is some other program's database".into() });
    };
    match format::layout(found) {
        Some(layout) => {
            let journal = guarded(&path, || journal(&gate, &database))?;
            Ok(Opened { gate, database, cluster_id, format: found, layout, journal })
        }
        None if found > format::CURRENT => Err(OpenError::NewerFormat { path, found, supported: format::CURRENT }),
        None => Err(OpenError::Corrupt { path, reason: format!("there is no format {found}") }),
    }
}

/// What the journal in front of `database` holds, if one is there.
fn journal(gate: &Gate, database: &Database) -> Result<Option<Found>, redb::Error> {
    if gate.front() == 0 {
        return Ok(None);
    }
    let known = match last_revision(database) {
        // Whoever reads the rows finds that, and no frame makes it better.
        Err(redb::Error::Corrupted(_)) => Revision::MAX,
        known => known?,
    };
    journal::read(&*gate.storage(), known).map(Some)
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
