//! Percentiles of measured times.

use std::time::Duration;

/// Measured times, sorted.
#[derive(Debug, Default)]
pub struct Times(Vec<Duration>);

impl Times {
    pub fn new(mut times: Vec<Duration>) -> Self {
        times.sort_unstable();
        Self(times)
    }

    /// The smallest time that `percent` of the times do not exceed; zero when there are none.
    pub fn percentile(&self, percent: usize) -> Duration {
        let rank = (self.0.len() * percent).div_ceil(100).max(1) - 1;
        self.0.get(rank).copied().unwrap_or_default()
    }

    /// `p50 1.2  p99 3.4  max 5.6 ms`.
    pub fn summary(&self) -> String {
        let ms = |percent| self.percentile(percent).as_secs_f64() * 1e3;
        format!("p50 {:>7.2}  p99 {:>7.2}  max {:>7.2} ms", ms(50), ms(99), ms(100))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles() {
        let times = Times::new((1..=100).rev().map(Duration::from_millis).collect());
        assert_eq!(times.percentile(50), Duration::from_millis(50));
        assert_eq!(times.percentile(99), Duration::from_millis(99));
        assert_eq!(times.percentile(100), Duration::from_millis(100));
        assert_eq!(Times::default().percentile(50), Duration::ZERO);
    }
}
