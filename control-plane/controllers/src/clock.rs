//! Wall time, from one place. Knows nothing of controllers.
//!
//! Everything that writes or compares a timestamp asks a [`Clock`]; everything that waits uses
//! `tokio::time`. A clock that follows tokio makes both agree under paused time.

use crate::k8s::apimachinery::pkg::apis::meta::v1::{MicroTime, Time};
use jiff::{SignedDuration, Timestamp};
use tokio::time::Instant;

#[derive(Clone, Debug, Default)]
pub struct Clock(Source);

#[derive(Clone, Debug, Default)]
enum Source {
    #[default]
    System,
    Tokio {
        base: Timestamp,
        start: Instant,
    },
}

impl Clock {
    /// The machine's own clock.
    #[must_use]
    pub fn system() -> Self {
        Self(Source::System)
    }

    /// A clock that shows `base` now and advances with tokio's time, paused or not.
    #[must_use]
    pub fn following_tokio(base: Timestamp) -> Self {
        Self(Source::Tokio { base, start: Instant::now() })
    }

    #[must_use]
    pub fn now(&self) -> Timestamp {
        match &self.0 {
            Source::System => Timestamp::now(),
            Source::Tokio { base, start } => {
                let elapsed = SignedDuration::try_from(start.elapsed()).unwrap_or(SignedDuration::MAX);
                base.saturating_add(elapsed).unwrap_or(*base)
            }
        }
    }

    #[must_use]
    pub fn time(&self) -> Time {
        Time(self.now())
    }

    #[must_use]
    pub fn micro_time(&self) -> MicroTime {
        MicroTime(self.now())
    }
}

/// The time from now until `since + wait`, `None` once it has passed.
#[must_use]
pub fn remaining(since: Timestamp, wait: SignedDuration, now: Timestamp) -> Option<std::time::Duration> {
    let left = wait.checked_sub(now.duration_since(since))?;
    if left.is_positive() { left.try_into().ok() } else { None }
}
