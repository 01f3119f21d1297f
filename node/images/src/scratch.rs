//! A process's own folder for unfinished files, and the lock between processes.
//!
//! Unfinished files of a process that was killed are removed when the next one opens the store: their folder's lock
//! is free then.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use tempfile::{Builder, NamedTempFile, TempDir};

use crate::error::ImageError;

const LOCK: &str = "lock";

/// The folder for this process's unfinished files.
#[derive(Debug)]
pub(crate) struct Scratch {
    folder: TempDir,
    _lock: File,
}

impl Scratch {
    /// Removes what dead processes left under `parent`, then makes a folder of our own. The caller holds the store's
    /// lock exclusively, so no other process is between making its folder and locking it.
    pub(crate) fn open(parent: &Path, _exclusive: &StoreLock) -> Result<Self, ImageError> {
        fs::create_dir_all(parent).map_err(ImageError::store("creating", parent))?;
        for entry in fs::read_dir(parent).map_err(ImageError::store("reading", parent))?.flatten() {
            remove_if_abandoned(&entry.path());
        }
        let folder =
            Builder::new().prefix("p").tempdir_in(parent).map_err(ImageError::store("creating a folder in", parent))?;
        let path = folder.path().join(LOCK);
        let lock = File::create(&path).map_err(ImageError::store("creating", &path))?;
        lock.lock().map_err(ImageError::store("locking", &path))?;
        Ok(Self { folder, _lock: lock })
    }

    pub(crate) fn file(&self) -> Result<NamedTempFile, ImageError> {
        NamedTempFile::new_in(self.folder.path()).map_err(ImageError::store("creating a file in", self.folder.path()))
    }

    pub(crate) fn folder(&self) -> Result<TempDir, ImageError> {
        TempDir::new_in(self.folder.path()).map_err(ImageError::store("creating a folder in", self.folder.path()))
    }
}

fn remove_if_abandoned(folder: &Path) {
    let abandoned = match File::open(folder.join(LOCK)) {
        Ok(lock) => lock.try_lock().is_ok(),
        // Killed before it had a lock: we hold the store's lock, so nobody is just making one.
        Err(_) => true,
    };
    if abandoned && let Err(error) = fs::remove_dir_all(folder) {
        tracing::warn!(folder = %folder.display(), %error, "cannot remove what an earlier process left in the image store");
    }
}

/// The lock of a whole store, released when dropped. Writers share it; who removes things has it alone.
#[derive(Debug)]
pub(crate) struct StoreLock(#[expect(dead_code, reason = "held for its lock")] File);

impl StoreLock {
    pub(crate) fn shared(root: &Path) -> Result<Self, ImageError> {
        let (path, file) = Self::open(root)?;
        file.lock_shared().map_err(ImageError::store("locking", path))?;
        Ok(Self(file))
    }

    pub(crate) fn exclusive(root: &Path) -> Result<Self, ImageError> {
        let (path, file) = Self::open(root)?;
        file.lock().map_err(ImageError::store("locking", path))?;
        Ok(Self(file))
    }

    fn open(root: &Path) -> Result<(PathBuf, File), ImageError> {
        let path = root.join(LOCK);
        let file = File::options().create(true).truncate(false).write(true).open(&path);
        Ok((path.clone(), file.map_err(ImageError::store("opening", path))?))
    }
}
