//! Exponential back-off as the kubelet keeps it, for container restarts and image pulls.
//! Pure: the caller says what time it is.

use std::time::Duration;

use tokio::time::Instant;

/// The kubelet's first delay.
pub const INITIAL: Duration = Duration::from_secs(10);
/// The kubelet's longest delay.
pub const MAX: Duration = Duration::from_secs(300);

/// Grows 10 s, 20 s, … 5 min; starts over after the thing was well for twice the maximum.
#[derive(Clone, Copy, Debug, Default)]
pub struct BackOff {
    last: Option<(Instant, Duration)>,
}

impl BackOff {
    /// Records a failure at `now` and returns how long to wait. The very first failure costs nothing
    /// when `first` says so: the kubelet restarts a container at once the first time.
    pub fn next(&mut self, now: Instant, first: First) -> Duration {
        let delay = match self.last {
            Some((at, delay)) if now.saturating_duration_since(at) <= MAX * 2 => {
                if delay.is_zero() {
                    INITIAL
                } else {
                    (delay * 2).min(MAX)
                }
            }
            _ => match first {
                First::Immediate => Duration::ZERO,
                First::Delayed => INITIAL,
            },
        };
        self.last = Some((now + delay, delay));
        delay
    }
}

/// What the first failure in a row costs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum First {
    Immediate,
    Delayed,
}

/// A duration as Go prints whole seconds: `10s`, `1m20s`, `5m0s`.
pub fn go_seconds(duration: Duration) -> String {
    let seconds = duration.as_secs();
    if seconds < 60 { format!("{seconds}s") } else { format!("{}m{}s", seconds / 60, seconds % 60) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn doubles_to_five_minutes_and_starts_over_after_ten_good_ones() {
        let mut backoff = BackOff::default();
        let mut seen = Vec::new();
        for _ in 0..8 {
            let delay = backoff.next(Instant::now(), First::Immediate);
            seen.push(delay.as_secs());
            tokio::time::advance(delay + Duration::from_secs(1)).await;
        }
        assert_eq!(seen, [0, 10, 20, 40, 80, 160, 300, 300]);
        tokio::time::advance(Duration::from_secs(601)).await;
        assert_eq!(backoff.next(Instant::now(), First::Immediate), Duration::ZERO);
        assert_eq!(BackOff::default().next(Instant::now(), First::Delayed), INITIAL);
    }

    #[test]
    fn prints_like_go() {
        assert_eq!(go_seconds(Duration::from_secs(10)), "10s");
        assert_eq!(go_seconds(Duration::from_secs(80)), "1m20s");
        assert_eq!(go_seconds(MAX), "5m0s");
    }
}
