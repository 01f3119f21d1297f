//! A plain file below redb: locked as a whole, and with room found ahead of small writes.

use std::fs::{File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

use parking_lot::Mutex;
use redb::StorageBackend;

use super::journal::FRONT;

/// Zeros are written ahead in steps of this.
const AHEAD: usize = 256 << 10;
/// After this many bytes since the last sync it is not worth it.
const SMALL: u64 = 64 << 10;

/// A plain file, locked as a whole.
///
/// redb lets a file grow long before it writes there. Where nothing was ever written the file system has yet to find
/// blocks and to note them, and each sync would wait for that as well. So while writes are small, zeros are written
/// ahead of them, which changes nothing that can be read.
#[derive(Debug)]
pub(crate) struct LockedFile {
    file: File,
    fresh: Mutex<Fresh>,
}

/// A part of the file where nothing has been written since it grew.
#[derive(Debug, Default)]
struct Fresh {
    /// Nothing but zeros of ours lies from here..
    from: u64,
    /// ..to here.
    to: u64,
    /// So far zeros have been written.
    zeroed: u64,
    /// Bytes written since the last sync.
    unsynced: u64,
}

impl Fresh {
    /// The file was `before` bytes long and is `len` bytes long now.
    fn resized(&mut self, before: u64, len: u64) {
        // The journal sees to its own blocks.
        let before = before.max(FRONT.min(len));
        self.to = self.to.min(len);
        if len > before && self.to == before && self.from < self.to {
            self.to = len;
        } else if len.saturating_sub(before) > self.to.saturating_sub(self.from) {
            (self.from, self.to, self.zeroed) = (before, len, before);
        }
    }

    /// What is larger, below what was written or above it, is still fresh.
    fn written(&mut self, offset: u64, length: usize) {
        self.unsynced += length as u64;
        let end = offset + length as u64;
        if offset >= self.to || end <= self.from {
            return;
        }
        if offset.saturating_sub(self.from) > self.to.saturating_sub(end) {
            self.to = offset;
        } else {
            self.from = end;
        }
    }

    /// Where zeros are to be written now.
    fn due(&mut self) -> Option<(u64, usize)> {
        let is_small = std::mem::take(&mut self.unsynced) <= SMALL;
        if !is_small || self.from < self.zeroed || self.from >= self.to {
            return None;
        }
        let length = usize::try_from(self.to - self.from).unwrap_or(AHEAD).min(AHEAD);
        self.zeroed = self.from + length as u64;
        Some((self.from, length))
    }
}

impl LockedFile {
    /// Open `path` for reading and writing and lock it.
    ///
    /// # Errors
    /// `WouldBlock` when another process holds the lock.
    pub fn open(path: &Path, options: &mut OpenOptions) -> io::Result<Self> {
        Self::lock(options.read(true).write(true).open(path)?)
    }

    /// Open `path` for reading only and lock it.
    ///
    /// # Errors
    /// `WouldBlock` when another process holds the lock.
    pub fn open_read_only(path: &Path) -> io::Result<Self> {
        Self::lock(File::open(path)?)
    }

    fn lock(file: File) -> io::Result<Self> {
        match file.try_lock() {
            Ok(()) => Ok(Self { file, fresh: Mutex::default() }),
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
        let mut fresh = self.fresh.lock();
        let before = self.file.metadata()?.len();
        self.file.set_len(len)?;
        fresh.resized(before, len);
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        {
            // Locked, so that nobody writes there meanwhile.
            let mut fresh = self.fresh.lock();
            if let Some((offset, length)) = fresh.due()
                && self.file.write_all_at(&vec![0; length], offset).is_err()
            {
                // Most likely there is no room. Whoever needs it will be told.
                fresh.to = fresh.from;
            }
        }
        self.file.sync_data()
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.fresh.lock().written(offset, data.len());
        self.file.write_all_at(data, offset)
    }
}

#[cfg(test)]
mod tests {
    use rand::{RngExt, SeedableRng, rngs::SmallRng};

    use super::*;

    fn temporary() -> LockedFile {
        LockedFile::lock(tempfile::tempfile().unwrap()).unwrap()
    }

    #[test]
    fn zeros_ahead_change_nothing_that_can_be_read() {
        let mut random = SmallRng::seed_from_u64(7);
        for _ in 0..20 {
            let (file, mut model) = (temporary(), Vec::new());
            for _ in 0..200 {
                match random.random_range(0..8) {
                    0 => {
                        let len = random.random_range(0..3 << 20);
                        file.set_len(len as u64).unwrap();
                        model.resize(len, 0);
                    }
                    1..=3 => file.sync_data().unwrap(),
                    _ if model.len() > 8 => {
                        let offset = random.random_range(0..model.len() - 8);
                        let length = random.random_range(1..(model.len() - offset).min(80 << 10));
                        let data: Vec<u8> = (0..length).map(|_| random.random()).collect();
                        file.write(offset as u64, &data).unwrap();
                        model[offset..offset + length].copy_from_slice(&data);
                    }
                    _ => {}
                }
                let mut read = vec![1; model.len()];
                file.read(0, &mut read).unwrap();
                assert!(file.len().unwrap() == model.len() as u64 && read == model);
            }
        }
    }

    #[test]
    fn small_writes_find_their_blocks_there() {
        use std::os::unix::fs::MetadataExt;
        let file = temporary();
        file.set_len(4 << 20).unwrap();
        file.write(FRONT, &[1; 4_096]).unwrap();
        file.sync_data().unwrap();
        let blocks = file.file.metadata().unwrap().blocks();
        for page in 1..(AHEAD / 4_096) as u64 {
            file.write(FRONT + page * 4_096, &[1; 4_096]).unwrap();
            file.sync_data().unwrap();
        }
        assert_eq!(file.file.metadata().unwrap().blocks(), blocks);
        // Of a large batch the blocks are the least.
        let before = file.fresh.lock().zeroed;
        file.write(2 << 20, &[1; 1 << 20]).unwrap();
        file.sync_data().unwrap();
        assert_eq!(file.fresh.lock().zeroed, before);
    }
}
