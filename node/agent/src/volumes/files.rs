//! The files of one configMap, secret, downwardAPI or projected volume: in memory until a guest looks at the volume, on
//! disk from then on. Every pod has such a volume, for its service account, and few ever read it.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::Mutex;
use runtime::Contents;

use super::atomic::{self, Files};
use crate::clock::Clock;

/// One volume's files.
#[derive(Debug)]
pub struct VolumeFiles {
    dir: PathBuf,
    clock: Clock,
    /// Held while files are written, so that the newest are written last.
    state: Mutex<State>,
}

#[derive(Debug)]
enum State {
    /// Nobody has looked.
    Kept(Files),
    /// On disk.
    Shown,
}

impl VolumeFiles {
    /// Files for the directory `dir`; nothing is written yet. `InvalidInput`: a path that leads out of it.
    pub fn new(dir: PathBuf, clock: Clock, files: Files) -> io::Result<Self> {
        atomic::check(&files)?;
        Ok(Self { dir, clock, state: Mutex::new(State::Kept(files)) })
    }

    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Replaces the files. On disk that happens on a thread that may block.
    pub async fn put(self: &Arc<Self>, files: Files) -> io::Result<()> {
        atomic::check(&files)?;
        {
            let mut state = self.state.lock();
            if let State::Kept(kept) = &mut *state {
                *kept = files;
                return Ok(());
            }
        }
        let this = Arc::clone(self);
        let written = tokio::task::spawn_blocking(move || {
            let _turn = this.state.lock();
            atomic::write(&this.dir, &files, this.clock.now()).map(drop)
        });
        written.await.unwrap_or_else(|error| Err(io::Error::other(error)))
    }
}

impl Contents for VolumeFiles {
    fn make(&self) -> io::Result<()> {
        let mut state = self.state.lock();
        if let State::Kept(files) = &*state {
            super::make_private(self.dir.parent().unwrap_or(Path::new("/")))?;
            atomic::write(&self.dir, files, self.clock.now())?;
            *state = State::Shown;
        }
        Ok(())
    }
}
