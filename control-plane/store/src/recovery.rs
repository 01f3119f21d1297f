//! Whether the file may be written, and when to try again after it failed.

use std::io;
use std::time::{Duration, Instant};

use crate::disk::Disk;
use crate::error::CommitError;
use crate::types::Revision;

/// Verifying a large file takes time: attempts keep at least this distance, doubling.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// The state of the file as the writer knows it.
#[derive(Debug, Default)]
pub(crate) struct Health {
    broken: Option<Broken>,
    /// Failures since the last write that worked.
    failures: u32,
}

#[derive(Debug)]
struct Broken {
    cause: CommitError,
    retry_at: Instant,
}

impl Health {
    pub fn is_broken(&self) -> bool {
        self.broken.is_some()
    }

    pub fn worked(&mut self) {
        self.failures = 0;
    }

    /// Note a failed write. Returns what to tell those who waited for it.
    pub fn failed(&mut self, error: io::Error) -> CommitError {
        tracing::error!(%error, "the store's file could not be written; verifying it");
        let cause = CommitError::from_io(error);
        // The first recovery is tried at once.
        self.broken = Some(Broken { cause: cause.clone(), retry_at: Instant::now() });
        self.failures += 1;
        cause
    }

    /// Bring the file back to `durable`, the newest revision that was acknowledged, if it is time
    /// to try.
    pub fn recover(&mut self, disk: &mut Disk, durable: Revision) -> Result<(), CommitError> {
        let Some(broken) = &mut self.broken else { return Ok(()) };
        if Instant::now() < broken.retry_at {
            return Err(broken.cause.clone());
        }
        match disk.recover(durable) {
            Ok(()) => {
                self.broken = None;
                Ok(())
            }
            Err(error) => {
                self.failures += 1;
                let pause = FIRST_PAUSE * 2u32.saturating_pow(self.failures.min(10));
                broken.retry_at = Instant::now() + pause.min(LONGEST_PAUSE);
                broken.cause = CommitError::from_io(error);
                Err(broken.cause.clone())
            }
        }
    }
}
