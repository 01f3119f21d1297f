//! The file below redb: one lock for as long as the store is open, and a way back to the last
//! durable state after a write or an fsync failed.
//!
//! A failed fsync leaves pages in the kernel's cache that are not on the disk and no longer dirty:
//! reading them back proves nothing. So after any failure the file's header is put back to what the
//! last *successful* sync covered. redb never overwrites a page that its last durable commit refers
//! to, so that header names a complete, durable state; opening it again verifies every page.

use std::fs::{File, OpenOptions, TryLockError};
use std::io;
use std::ops::Bound;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;
use redb::{BackendError, StorageBackend};

/// redb's header and commit slots lie below this offset.
const HEADER: usize = 512;

/// A plain file, locked as a whole.
#[derive(Debug)]
pub(crate) struct LockedFile {
    file: File,
}

impl LockedFile {
    /// Open `path` for reading and writing and lock it.
    ///
    /// # Errors
    /// `WouldBlock` when another process holds the lock.
    pub fn open(path: &Path, options: &mut OpenOptions) -> io::Result<Self> {
        let file = options.read(true).write(true).open(path)?;
        match file.try_lock() {
            Ok(()) => Ok(Self { file }),
            Err(TryLockError::WouldBlock) => Err(io::ErrorKind::WouldBlock.into()),
            Err(TryLockError::Error(error)) => Err(error),
        }
    }
}

impl StorageBackend for LockedFile {
    fn len(&self) -> io::Result<u64> {
        Ok(self.file.metadata()?.len())
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.file.read_exact_at(out, offset)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.file.set_len(len)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.file.sync_data()
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.file.write_all_at(data, offset)
    }
}

/// The one owner of the storage. Databases come and go above it.
#[derive(Debug)]
pub(crate) struct Gate {
    inner: Box<dyn StorageBackend>,
    header: Mutex<Header>,
    /// Only the newest handle may touch the storage.
    generation: AtomicU64,
}

#[derive(Debug, Default)]
struct Header {
    /// What the storage holds, synced or not.
    written: Vec<u8>,
    /// What the last successful sync covered.
    durable: Vec<u8>,
}

impl Gate {
    pub fn new(inner: Box<dyn StorageBackend>) -> io::Result<Arc<Self>> {
        let len = usize::try_from(inner.len()?).unwrap_or(usize::MAX).min(HEADER);
        let mut written = vec![0; len];
        inner.read(0, &mut written)?;
        let header = Mutex::new(Header { durable: written.clone(), written });
        Ok(Arc::new(Self { inner, header, generation: AtomicU64::new(0) }))
    }

    /// A backend for a new database; every earlier one is cut off.
    pub fn handle(self: &Arc<Self>) -> Handle {
        let generation = self.generation.fetch_add(1, Ordering::AcqRel) + 1;
        Handle { gate: self.clone(), generation }
    }

    pub fn len(&self) -> io::Result<u64> {
        self.inner.len()
    }

    /// Cut off every handle and put the header back to the last durable one.
    pub fn restore(&self) -> io::Result<()> {
        self.generation.fetch_add(1, Ordering::AcqRel);
        let mut header = self.header.lock();
        self.inner.write(0, &header.durable)?;
        self.inner.sync_data()?;
        header.written = header.durable.clone();
        Ok(())
    }

    /// Let go of the storage.
    pub fn close(&self) -> io::Result<()> {
        self.generation.fetch_add(1, Ordering::AcqRel);
        self.inner.close()
    }
}

impl Header {
    fn write(&mut self, offset: u64, data: &[u8]) {
        let Some(start) = usize::try_from(offset).ok().filter(|start| *start < HEADER) else {
            return;
        };
        let data = &data[..data.len().min(HEADER - start)];
        if self.written.len() < start + data.len() {
            self.written.resize(start + data.len(), 0);
        }
        self.written[start..start + data.len()].copy_from_slice(data);
    }
}

/// What redb sees.
#[derive(Debug)]
pub(crate) struct Handle {
    gate: Arc<Gate>,
    generation: u64,
}

impl Handle {
    fn inner(&self) -> io::Result<&dyn StorageBackend> {
        if self.gate.generation.load(Ordering::Acquire) == self.generation {
            Ok(&*self.gate.inner)
        } else {
            Err(io::Error::other("the store's file has been opened anew"))
        }
    }
}

impl StorageBackend for Handle {
    fn len(&self) -> io::Result<u64> {
        self.inner()?.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.inner()?.read(offset, out)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.inner()?.set_len(len)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.inner()?.sync_data()?;
        let mut header = self.gate.header.lock();
        header.durable = header.written.clone();
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let inner = self.inner()?;
        self.gate.header.lock().write(offset, data);
        inner.write(offset, data)
    }

    /// The gate already holds the lock on the whole storage; it offers no finer one.
    fn try_lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        whole(start, end).map(|()| true)
    }

    fn try_lock_shared_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        whole(start, end).map(|()| true)
    }

    fn unlock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        whole(start, end)
    }
}

fn whole(start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
    let whole = matches!(start, Bound::Unbounded | Bound::Included(0)) && end == Bound::Unbounded;
    if whole { Ok(()) } else { Err(BackendError::Unsupported) }
}
