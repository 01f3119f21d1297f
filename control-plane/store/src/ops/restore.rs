//! Bringing back what was: from a backup or from an old revision into a store that runs, and from a backup into a file
//! that is not there yet.
//!
//! Revisions only ever move forward. In a running store a restore is a row of ordinary transactions; a new file begins
//! so far beyond the backup that no revision is ever used twice, with all its past compacted: whoever comes with a
//! revision of the lost time is told that it is too old, and lists anew.

use std::path::{Path, PathBuf};

use tokio::task::spawn_blocking;

use super::backup::{BackupFile, Entries};
use super::format::BackupError;
use crate::disk;
use crate::error::{CommitError, OpenError, RevisionError};
use crate::snapshot::Snapshot;
use crate::store::Store;
use crate::types::{Author, ClusterId, Entry, Key, Op, Revision, Txn};

/// A transaction of a restore has at most this many operations and about this many bytes.
const TXN_OPS: usize = 256;
const TXN_BYTES: usize = 1 << 20;
/// Entries are taken from the source in groups of at most this many, and about this many bytes.
const GROUP: usize = 1_024;
const GROUP_BYTES: usize = 8 << 20;
/// A new file begins this many revisions beyond its backup: more than the lost store can have written after it.
const MARGIN: Revision = 1_000_000_000;

/// What a restore did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Restored {
    /// The newest revision afterwards.
    pub revision: Revision,
    /// Keys that were written, that were deleted, and that were as they should be.
    pub written: u64,
    pub deleted: u64,
    pub unchanged: u64,
}

/// Whose identity a file made from a backup has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Identity {
    /// It goes on as the cluster that the backup was taken of.
    #[default]
    Keep,
    /// It is a cluster of its own, beside the one that the backup was taken of.
    Renew,
}

/// Why a restore did not happen, or stopped.
#[derive(Debug, thiserror::Error)]
pub enum RestoreError {
    #[error(transparent)]
    Backup(#[from] BackupError),
    /// Nothing was written.
    #[error("{} exists already", path.display())]
    Exists { path: PathBuf },
    /// Nothing was written.
    #[error("the backup holds {bytes} bytes in one piece where the store takes {limit}")]
    TooLarge { bytes: usize, limit: usize },
    /// Nothing was left behind.
    #[error("the new store cannot be made")]
    Create(#[source] OpenError),
    #[error("the store's present state cannot be read")]
    Read(#[source] RevisionError),
    /// What `done` counts was restored; restoring again goes on from there.
    #[error("the store does not take the restored objects, after {} were written and {} deleted", done.written, done.deleted)]
    Commit {
        done: Restored,
        #[source]
        source: CommitError,
    },
}

impl Store {
    /// Make every key that `select` accepts as it is in `backup`: what the backup has not is deleted, what is equal is
    /// not touched. Ordinary transactions of bounded size do it, in key order, each atomic, by `author`; watches see
    /// ordinary events. Who writes meanwhile may win on a key that has been passed already.
    ///
    /// # Errors
    /// See [`RestoreError`].
    pub async fn restore(
        &self,
        backup: &BackupFile,
        select: impl Fn(&[u8]) -> bool + Send,
        author: &Author,
    ) -> Result<Restored, RestoreError> {
        let (entry, key) = backup.longest();
        for (bytes, limit) in [(entry, self.limits().txn_bytes), (key, self.limits().key_bytes)] {
            if bytes > limit {
                return Err(RestoreError::TooLarge { bytes, limit });
            }
        }
        let entries = backup.entries()?;
        bring_back(self, Source::Backup(Some(entries)), select, author).await
    }

    /// As [`Store::restore`], from what the store held once: `to` comes from [`Store::snapshot_at`].
    ///
    /// # Errors
    /// See [`RestoreError`].
    pub async fn revert(
        &self,
        to: &Snapshot,
        select: impl Fn(&[u8]) -> bool + Send,
        author: &Author,
    ) -> Result<Restored, RestoreError> {
        bring_back(self, Source::Snapshot(to.clone(), None), select, author).await
    }
}

/// Make a store at `path`, where nothing is yet, from `backup`. Blocks on the disk.
///
/// Its entries are those of the backup, with their revisions; its own revision is 1,000,000,000 beyond the backup's,
/// and its history begins there. Anybody who kept a revision of the time since the backup, or of before it, has it
/// refused as compacted, and no revision that was ever given out is given out again.
///
/// # Errors
/// [`RestoreError::Exists`] when there is anything at `path`; otherwise see [`RestoreError`].
pub fn create(path: &Path, backup: &BackupFile, identity: Identity) -> Result<Restored, RestoreError> {
    let info = backup.info();
    let draft = disk::Draft::new(path).map_err(|error| match error {
        disk::DraftError::Exists => RestoreError::Exists { path: path.to_path_buf() },
        disk::DraftError::Open(error) => RestoreError::Create(error),
    })?;
    let cluster_id = match identity {
        Identity::Keep => info.cluster_id,
        Identity::Renew => ClusterId::random(),
    };
    let revision = info.revision.saturating_add(MARGIN);
    let origin = disk::Origin { cluster_id, revision, at_ms: info.created_ms };
    let mut read_error = None;
    let entries = backup.entries()?.map_while(|entry| match entry {
        Ok(entry) => Some(entry),
        Err(error) => {
            read_error = Some(error);
            None
        }
    });
    let mut filled = draft.fill(&origin, entries).map_err(RestoreError::Create)?;
    if let Some(error) = read_error {
        return Err(error.into());
    }
    filled.publish().map_err(RestoreError::Create)?;
    Ok(Restored { revision, written: info.count, ..Restored::default() })
}

/// Where the state to be brought back is read from, in key order.
enum Source {
    /// `None` while a thread reads it.
    Backup(Option<Entries>),
    /// The entries after the key are to come.
    Snapshot(Snapshot, Option<Key>),
}

/// The next part of the state to be brought back.
struct Group {
    entries: Vec<(Key, Entry)>,
    /// Whether nothing comes after them.
    end: End,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    Here,
    Later,
}

impl Source {
    async fn next(&mut self) -> Result<Group, BackupError> {
        match self {
            Source::Backup(place) => {
                let Some(mut entries) = place.take() else {
                    return Ok(Group { entries: Vec::new(), end: End::Here });
                };
                let read = move || gather(&mut entries).map(|group| (group, entries));
                let (group, entries) =
                    spawn_blocking(read).await.map_err(|error| BackupError::Io(std::io::Error::other(error)))??;
                *place = Some(entries);
                Ok(group)
            }
            Source::Snapshot(snapshot, after) => {
                let from = after.take();
                let mut entries =
                    snapshot.range(b"", from.as_deref()).map(|(key, entry)| Ok((key.into(), (**entry).clone())));
                let group = gather(&mut entries)?;
                *after = group.entries.last().map(|(key, _)| key.clone());
                Ok(group)
            }
        }
    }
}

fn gather(source: &mut impl Iterator<Item = Result<(Key, Entry), BackupError>>) -> Result<Group, BackupError> {
    let (mut entries, mut bytes) = (Vec::new(), 0);
    while entries.len() < GROUP && bytes < GROUP_BYTES {
        let Some(entry) = source.next().transpose()? else {
            return Ok(Group { entries, end: End::Here });
        };
        bytes += entry.1.value.len();
        entries.push(entry);
    }
    Ok(Group { entries, end: End::Later })
}

async fn bring_back(
    store: &Store,
    mut source: Source,
    select: impl Fn(&[u8]) -> bool + Send,
    author: &Author,
) -> Result<Restored, RestoreError> {
    let mut done = Restored::default();
    let mut after: Option<Key> = None;
    loop {
        let group = source.next().await?;
        // Anew for each group: it must not undo what others wrote since the last.
        let now = store.latest().await.map_err(RestoreError::Read)?;
        done.revision = done.revision.max(now.revision());
        let (last, end) = (group.entries.last().map(|(key, _)| key.clone()), group.end);
        let ops = plan(&now, after.as_ref(), group, &select, &mut done.unchanged);
        drop(now);
        commit(store, ops, author, &mut done).await?;
        if end == End::Here {
            return Ok(done);
        }
        after = last;
    }
}

/// The operations that bring what `now` holds after `after`, up to the end of `group`, to what `group` says.
fn plan(
    now: &Snapshot,
    after: Option<&Key>,
    group: Group,
    select: impl Fn(&[u8]) -> bool,
    unchanged: &mut u64,
) -> Vec<Op> {
    let last = group.entries.last().map(|(key, _)| key.clone());
    let within = |key: &[u8]| group.end == End::Here || last.as_deref().is_some_and(|last| key <= last);
    let mut ops = Vec::new();
    let mut present = now.range(b"", after.map(|key| &**key)).take_while(|(key, _)| within(key)).peekable();
    let mut wanted = group.entries.into_iter().peekable();
    loop {
        let key = match (present.peek(), wanted.peek()) {
            (Some((key, _)), Some((other, _))) => (*key).min(&**other).into(),
            (Some((key, _)), None) => Key::from(*key),
            (None, Some((key, _))) => key.clone(),
            (None, None) => return ops,
        };
        let old = present.next_if(|(other, _)| **other == *key);
        let new = wanted.next_if(|(other, _)| *other == key);
        if !select(&key) {
            continue;
        }
        match (old, new) {
            (Some((_, old)), Some((_, new))) if old.value == new.value => *unchanged += 1,
            (_, Some((_, new))) => ops.push(Op::Put { key, value: new.value }),
            (_, None) => ops.push(Op::Delete { key }),
        }
    }
}

/// Commit `ops` in transactions of bounded size.
async fn commit(store: &Store, ops: Vec<Op>, author: &Author, done: &mut Restored) -> Result<(), RestoreError> {
    let mut ops = ops.into_iter().peekable();
    while ops.peek().is_some() {
        let mut txn = Txn::new().by(author.clone());
        let mut bytes = 0;
        while let Some(op) = ops.next_if(|op| txn.ops.is_empty() || bytes + size(op) <= TXN_BYTES) {
            bytes += size(&op);
            txn.ops.push(op);
            if txn.ops.len() == TXN_OPS {
                break;
            }
        }
        let committed = store.commit(txn).await.map_err(|source| RestoreError::Commit { done: *done, source })?;
        done.revision = done.revision.max(committed.revision);
        for event in committed.events.iter() {
            match event.entry {
                Some(_) => done.written += 1,
                None => done.deleted += 1,
            }
        }
    }
    Ok(())
}

fn size(op: &Op) -> usize {
    match op {
        Op::Put { key, value } => key.len() + value.len(),
        Op::Delete { key } => key.len(),
    }
}
