//! Opening: find out what the file is, and read it into memory.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use redb::{Database, ReadableDatabase, ReadableTable, StorageBackend};

use super::backend::{Gate, LockedFile};
use super::{
    CACHE_BYTES, CLUSTER, COMPACTED, FORMAT, FORMAT_VERSION, LOG, META, REVISION, SWEPT, corrupt, meta, record,
};
use crate::error::OpenError;
use crate::history::{Commit, History};
use crate::history_policy::HistoryPolicy;
use crate::policy::Retention;
use crate::snapshot::State;
use crate::types::{Author, ClusterId, Event, Revision};

/// Commits go into the history in groups of this many.
const GROUP: usize = 1_024;
const MAGIC: &[u8; 9] = b"redb\x1A\x0A\xA9\x0D\x0A";

/// A file known to hold a store.
pub(super) struct Opened {
    pub gate: Arc<Gate>,
    pub database: Database,
    pub cluster_id: ClusterId,
}

/// Everything the file says.
#[derive(Debug)]
pub(crate) struct Loaded {
    pub cluster_id: ClusterId,
    pub state: Arc<State>,
    pub history: History,
    pub retention: Retention,
    pub compacted: Revision,
    pub swept: Revision,
}

/// A redb database over `gate`.
pub(super) fn database(gate: &Arc<Gate>) -> Result<Database, redb::Error> {
    let mut builder = Database::builder();
    builder.set_cache_size(CACHE_BYTES).set_check_integrity_on_open(true);
    Ok(builder.create_with_backend(gate.handle())?)
}

pub(super) fn open(path: &Path, backend: Option<Box<dyn StorageBackend>>) -> Result<Opened, OpenError> {
    let backend = match backend {
        Some(backend) => backend,
        None => open_file(path)?,
    };
    let gate = Gate::held(backend).map_err(|error| OpenError::from_io(path, error))?;
    let is_new = gate.len().map_err(|error| OpenError::from_io(path, error))? == 0;
    let opened = guarded(path, || database(&gate))?;
    let cluster_id = if is_new { guarded(path, || initialise(&opened))? } else { identify(path, &opened)? };
    Ok(Opened { gate, database: opened, cluster_id })
}

/// redb panics on some damaged files; to us that is damage like any other.
fn guarded<T>(path: &Path, work: impl FnOnce() -> Result<T, redb::Error>) -> Result<T, OpenError> {
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
fn open_file(path: &Path) -> Result<Box<dyn StorageBackend>, OpenError> {
    let failed = |error| OpenError::from_io(path, error);
    match fs::metadata(path) {
        Ok(metadata) if metadata.is_dir() => {
            return Err(OpenError::Directory { path: path.to_path_buf() });
        }
        Ok(_) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => return make_file(path),
        Err(error) => return Err(failed(error)),
    }
    let file = LockedFile::open(path, &mut OpenOptions::new()).map_err(failed)?;
    let mut magic = [0; MAGIC.len()];
    let foreign = |reason: &str| OpenError::Foreign { path: path.to_path_buf(), reason: reason.into() };
    match file.read(0, &mut magic) {
        Ok(()) if magic == *MAGIC => Ok(Box::new(file)),
        Ok(()) => Err(foreign("it does not begin like one")),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Err(foreign("it is too short")),
        Err(error) => Err(failed(error)),
    }
}

fn make_file(path: &Path) -> Result<Box<dyn StorageBackend>, OpenError> {
    let failed = |error| OpenError::from_io(path, error);
    let draft = draft_of(path);
    let file = LockedFile::open(&draft, OpenOptions::new().create(true)).map_err(failed)?;
    if path.exists() {
        // Another process was faster; its lock on the file decides.
        return open_file(path);
    }
    file.set_len(0).map_err(failed)?;
    let gate = Gate::held(Box::new(file)).map_err(failed)?;
    guarded(path, || database(&gate).and_then(|database| initialise(&database)))?;
    gate.release().map_err(failed)?;
    fs::rename(&draft, path).map_err(failed)?;
    if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        File::open(folder).and_then(|folder| folder.sync_all()).map_err(failed)?;
    }
    drop(gate);
    open_file(path)
}

fn draft_of(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".new");
    name.into()
}

fn initialise(database: &Database) -> Result<ClusterId, redb::Error> {
    let cluster_id = ClusterId::random();
    let transaction = database.begin_write()?;
    {
        transaction.open_table(LOG)?;
        let mut meta = transaction.open_table(META)?;
        meta.insert(FORMAT, u128::from(FORMAT_VERSION))?;
        meta.insert(CLUSTER, cluster_id.0)?;
    }
    transaction.commit()?;
    Ok(cluster_id)
}

/// Check that `database` is a store of a format that this version knows.
fn identify(path: &Path, database: &Database) -> Result<ClusterId, OpenError> {
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
    match guarded(path, read)? {
        Some((FORMAT_VERSION, cluster_id)) => Ok(cluster_id),
        Some((found, _)) => Err(OpenError::NewerFormat { path: path.to_path_buf(), found, supported: FORMAT_VERSION }),
        None => {
            Err(OpenError::Foreign { path: path.to_path_buf(), reason: "it is some other program's database".into() })
        }
    }
}

/// Read the whole log.
pub(super) fn replay(path: &Path, opened: &Opened, policy: HistoryPolicy) -> Result<Loaded, OpenError> {
    guarded(path, || Replay::run(&opened.database, opened.cluster_id, policy))
}

struct Replay {
    state: State,
    compacted: Revision,
    retention: Retention,
    history: History,
    commits: Vec<Commit>,
    /// History is complete up to here.
    reached: Revision,
    /// The revision being read.
    events: Vec<Arc<Event>>,
    at_ms: u64,
}

impl Replay {
    fn run(database: &Database, cluster_id: ClusterId, policy: HistoryPolicy) -> Result<Loaded, redb::Error> {
        let transaction = database.begin_read()?;
        let table = transaction.open_table(META)?;
        let compacted = meta(&table, COMPACTED)?.unwrap_or(0);
        let swept = meta(&table, SWEPT)?.unwrap_or(0);
        let noted = meta(&table, REVISION)?.unwrap_or(0);
        let mut replay = Self {
            state: State::default(),
            compacted,
            retention: Retention::new(policy),
            history: History::new(compacted, policy.memory_bytes),
            commits: Vec::new(),
            reached: compacted,
            events: Vec::new(),
            at_ms: 0,
        };
        for row in transaction.open_table(LOG)?.iter()? {
            let (row_key, row) = row?;
            replay.row(row_key.value(), row.value())?;
        }
        replay.finish_revision()?;
        replay.finish_group();
        // A deletion that was the newest change may have been compacted away.
        replay.state.revision = replay.state.revision.max(noted).max(compacted);
        Ok(Loaded {
            cluster_id,
            state: Arc::new(replay.state),
            history: replay.history,
            retention: replay.retention,
            compacted,
            swept,
        })
    }

    fn row(&mut self, row_key: &[u8], row: &[u8]) -> Result<(), redb::Error> {
        let (revision, key) = record::split_row_key(row_key).map_err(corrupt)?;
        let (header, value) = record::header(row).map_err(corrupt)?;
        let entry = record::entry(revision, &header, value).map_err(corrupt)?;
        if revision != self.state.revision {
            self.finish_revision()?;
            self.state.revision = revision;
            self.at_ms = header.at_ms;
        }
        let root = &mut self.state.root;
        let (key, prev) = match root.get_key_value(key) {
            Some((key, prev)) => (key.clone(), Some(prev.clone())),
            None => (key.into(), None),
        };
        match &entry {
            Some(entry) => root.insert(key.clone(), entry.clone()),
            None => root.remove(&key),
        };
        if revision > self.compacted {
            if prev.as_ref().map_or(0, |prev| prev.mod_revision) != header.prev {
                return Err(redb::Error::Corrupted(format!("revision {revision} lacks its past")));
            }
            self.events.push(Arc::new(Event::new(key, revision, entry, prev)));
        }
        Ok(())
    }

    fn finish_revision(&mut self) -> Result<(), redb::Error> {
        if self.events.is_empty() {
            return Ok(());
        }
        let revision = self.state.revision;
        let expected = self.reached + 1;
        if revision != expected {
            let message = format!("revision {expected} is missing before {revision}");
            return Err(redb::Error::Corrupted(message));
        }
        let events: Arc<[_]> = self.events.drain(..).collect();
        let commit = Commit { revision, at_ms: self.at_ms, author: Author::default(), events };
        self.reached = revision;
        self.retention.record(revision, self.at_ms, commit.cost() as u64);
        self.commits.push(commit);
        if self.commits.len() >= GROUP {
            self.finish_group();
        }
        Ok(())
    }

    fn finish_group(&mut self) {
        let state = Arc::new(self.state.clone());
        self.history.push(self.commits.drain(..), &state);
    }
}
