//! What is below redb, behind the journal ([`super::journal`]): one lock for as long as the store is open, and a way back to the last
//! durable state after a write or an fsync failed.
//!
//! A failed fsync leaves pages in the kernel's cache that are not on the disk and no longer dirty:
//! reading them back proves nothing. So after any failure the file's header is put back to what the
//! last *successful* sync covered. redb never overwrites a page that its last durable commit refers
//! to, so that header names a complete, durable state; opening it again verifies every page.
//!
//! Opening repairs, and so writes. Until the file has turned out to be a sound store of ours those
//! writes stay in memory ([`Gate::held`]), so that a file we refuse keeps every byte.

use std::collections::BTreeMap;
use std::io;
use std::ops::Bound;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;
use redb::{BackendError, StorageBackend};

/// redb's header and commit slots lie below this offset.
const HEADER: usize = 512;
/// Writes are held back in pages of this size.
const PAGE: usize = 4_096;

/// The one owner of the storage. Databases come and go above it.
#[derive(Debug)]
pub(crate) struct Gate {
    inner: Arc<dyn StorageBackend>,
    /// Where redb begins in it.
    front: u64,
    /// Writes that have not been let through yet; `None` once they have.
    held: Mutex<Option<Held>>,
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
    /// A gate to what is behind `front`, which holds writes back until [`Gate::release`].
    pub fn held(inner: Arc<dyn StorageBackend>, front: u64) -> io::Result<Arc<Self>> {
        let len = inner.len()?.saturating_sub(front);
        let mut written = vec![0; usize::try_from(len).unwrap_or(usize::MAX).min(HEADER)];
        inner.read(front, &mut written)?;
        let header = Mutex::new(Header { durable: written.clone(), written });
        let held = Mutex::new(Some(Held { front, len, kept: len, pages: BTreeMap::new() }));
        Ok(Arc::new(Self { inner, front, held, header, generation: AtomicU64::new(0) }))
    }

    /// The storage itself, with what is in front of redb.
    pub fn storage(&self) -> Arc<dyn StorageBackend> {
        self.inner.clone()
    }

    /// Bytes in front of redb.
    pub fn front(&self) -> u64 {
        self.front
    }

    /// A second gate to the same storage, which never lets anything through. It reads right as long as this one does
    /// not either.
    pub fn shadow(&self) -> io::Result<Arc<Self>> {
        Self::held(self.inner.clone(), self.front)
    }

    /// Let through what was held back, and everything from now on.
    pub fn release(&self) -> io::Result<()> {
        let mut guard = self.held.lock();
        let Some(held) = guard.take() else { return Ok(()) };
        for len in [held.kept, held.len] {
            if self.front + len != self.inner.len()? {
                self.inner.set_len(self.front + len)?;
            }
        }
        for (page, bytes) in &held.pages {
            let room = usize::try_from(held.len - page * PAGE as u64).unwrap_or(PAGE).min(PAGE);
            self.inner.write(self.front + page * PAGE as u64, &bytes[..room])?;
        }
        self.inner.sync_data()?;
        let mut header = self.header.lock();
        header.durable = header.written.clone();
        Ok(())
    }

    /// A backend for a new database; every earlier one is cut off.
    pub fn handle(self: &Arc<Self>) -> Handle {
        let generation = self.generation.fetch_add(1, Ordering::AcqRel) + 1;
        Handle { gate: self.clone(), generation }
    }

    pub fn len(&self) -> io::Result<u64> {
        match &*self.held.lock() {
            Some(held) => Ok(held.len),
            None => Ok(self.inner.len()?.saturating_sub(self.front)),
        }
    }

    /// Bytes of the storage itself with what is in front, whatever is held back.
    pub fn stored_len(&self) -> io::Result<u64> {
        self.inner.len()
    }

    /// Cut off every handle and put the header back to the last durable one.
    pub fn restore(&self) -> io::Result<()> {
        self.generation.fetch_add(1, Ordering::AcqRel);
        let mut header = self.header.lock();
        self.inner.write(self.front, &header.durable)?;
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

/// Whole pages over the storage below.
#[derive(Debug)]
struct Held {
    /// Where all this begins in the storage below.
    front: u64,
    len: u64,
    /// So much of the storage below still counts; what comes after it is zero.
    kept: u64,
    pages: BTreeMap<u64, Box<[u8; PAGE]>>,
}

impl Held {
    fn read(&self, below: &dyn StorageBackend, offset: u64, out: &mut [u8]) -> io::Result<()> {
        if offset + out.len() as u64 > self.len {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let there = usize::try_from(self.kept.saturating_sub(offset)).unwrap_or(usize::MAX);
        let (there, beyond) = out.split_at_mut(there.min(out.len()));
        if !there.is_empty() {
            below.read(self.front + offset, there)?;
        }
        beyond.fill(0);
        for (page, start, length) in pages(offset, out.len()) {
            if let Some(bytes) = self.pages.get(&page) {
                let from = usize::try_from(page * PAGE as u64 + start as u64 - offset)
                    .expect("a page in the range begins inside it");
                out[from..from + length].copy_from_slice(&bytes[start..start + length]);
            }
        }
        Ok(())
    }

    fn write(&mut self, below: &dyn StorageBackend, offset: u64, data: &[u8]) -> io::Result<()> {
        self.len = self.len.max(offset + data.len() as u64);
        let mut rest = data;
        for (page, start, length) in pages(offset, data.len()) {
            let (part, tail) = rest.split_at(length);
            rest = tail;
            if !self.pages.contains_key(&page) {
                let mut bytes = Box::new([0; PAGE]);
                let base = page * PAGE as u64;
                let there = usize::try_from(self.len - base).unwrap_or(PAGE).min(PAGE);
                self.read(below, base, &mut bytes[..there])?;
                self.pages.insert(page, bytes);
            }
            if let Some(bytes) = self.pages.get_mut(&page) {
                bytes[start..start + length].copy_from_slice(part);
            }
        }
        Ok(())
    }

    fn set_len(&mut self, len: u64) {
        self.len = len;
        self.kept = self.kept.min(len);
        self.pages.split_off(&len.div_ceil(PAGE as u64));
        if let Some(bytes) = self.pages.get_mut(&(len / PAGE as u64)) {
            let cut = usize::try_from(len % PAGE as u64).expect("less than a page");
            bytes[cut..].fill(0);
        }
    }
}

/// The pages that a range touches: number, first byte in it, bytes in it.
fn pages(offset: u64, length: usize) -> impl Iterator<Item = (u64, usize, usize)> {
    let end = offset + length as u64;
    (offset / PAGE as u64..end.div_ceil(PAGE as u64)).map(move |page| {
        let base = page * PAGE as u64;
        let start = offset.saturating_sub(base);
        let stop = (end - base).min(PAGE as u64);
        let narrow = |value: u64| usize::try_from(value).expect("at most a page");
        (page, narrow(start), narrow(stop - start))
    })
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
        self.inner()?;
        self.gate.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let inner = self.inner()?;
        match &*self.gate.held.lock() {
            Some(held) => held.read(inner, offset, out),
            None => inner.read(self.gate.front + offset, out),
        }
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let inner = self.inner()?;
        match &mut *self.gate.held.lock() {
            Some(held) => held.set_len(len),
            None => inner.set_len(self.gate.front + len)?,
        }
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        let inner = self.inner()?;
        if self.gate.held.lock().is_some() {
            return Ok(());
        }
        inner.sync_data()?;
        let mut header = self.gate.header.lock();
        header.durable = header.written.clone();
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let inner = self.inner()?;
        self.gate.header.lock().write(offset, data);
        match &mut *self.gate.held.lock() {
            Some(held) => held.write(inner, offset, data),
            None => inner.write(self.gate.front + offset, data),
        }
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
