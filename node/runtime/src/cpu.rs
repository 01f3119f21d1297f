//! CPU time of guests: accounting, and bandwidth limits as Linux' CFS has them (a quota per
//! period of 100 ms), by timing every poll of a guest with the thread's CPU clock.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::task::{Context, Poll};
use std::time::Duration;

use parking_lot::Mutex;
use rustix::time::{ClockId, clock_gettime};
use tokio::time::{Instant, Sleep};

use crate::ticker::Ticker;

const PERIOD: Duration = Duration::from_millis(100);

/// CPU use of one container, shared by all its tasks.
#[derive(Debug)]
pub(crate) struct CpuAccount {
    used_nanos: AtomicU64,
    throttled_nanos: AtomicU64,
    bandwidth: Option<Mutex<Bandwidth>>,
}

impl CpuAccount {
    pub(crate) fn new(limit_millis: Option<u32>) -> Arc<Self> {
        Arc::new(Self {
            used_nanos: AtomicU64::new(0),
            throttled_nanos: AtomicU64::new(0),
            bandwidth: limit_millis.map(|millis| Mutex::new(Bandwidth::new(millis, Instant::now()))),
        })
    }

    pub(crate) fn used(&self) -> Duration {
        Duration::from_nanos(self.used_nanos.load(Relaxed))
    }

    pub(crate) fn throttled(&self) -> Duration {
        Duration::from_nanos(self.throttled_nanos.load(Relaxed))
    }

    fn charge(&self, nanos: u64) {
        self.used_nanos.fetch_add(nanos, Relaxed);
        if let Some(bandwidth) = &self.bandwidth {
            bandwidth.lock().charge(nanos, Instant::now());
        }
    }

    /// When the container may run again, if not now.
    fn blocked_until(&self) -> Option<Instant> {
        self.bandwidth.as_ref().and_then(|bandwidth| bandwidth.lock().blocked_until(Instant::now()))
    }
}

/// A token bucket that refills once a period and may go into debt: a poll can't be cut shorter
/// than an epoch, so what it overdraws is taken from the periods after.
#[derive(Debug)]
struct Bandwidth {
    quota: i64,
    tokens: i64,
    start: Instant,
    period: u64,
}

impl Bandwidth {
    fn new(limit_millis: u32, now: Instant) -> Self {
        let quota = (PERIOD.as_nanos() as i64 / 1000).saturating_mul(i64::from(limit_millis.max(1)));
        Self { quota, tokens: quota, start: now, period: 0 }
    }

    fn refill(&mut self, now: Instant) {
        let period = (now.duration_since(self.start).as_nanos() / PERIOD.as_nanos()) as u64;
        let periods = i64::try_from(period.saturating_sub(self.period)).unwrap_or(i64::MAX);
        self.tokens = self.tokens.saturating_add(self.quota.saturating_mul(periods)).min(self.quota);
        self.period = self.period.max(period);
    }

    fn charge(&mut self, nanos: u64, now: Instant) {
        self.refill(now);
        self.tokens = self.tokens.saturating_sub_unsigned(nanos);
    }

    fn blocked_until(&mut self, now: Instant) -> Option<Instant> {
        self.refill(now);
        if self.tokens > 0 {
            return None;
        }
        let periods = self.tokens.unsigned_abs() / self.quota.unsigned_abs() + 1;
        let period = u32::try_from(self.period.saturating_add(periods)).unwrap_or(u32::MAX);
        Some(self.start + PERIOD * period)
    }
}

fn thread_cpu_nanos() -> u64 {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    (time.tv_sec as u64) * 1_000_000_000 + (time.tv_nsec as u64)
}

/// Runs a guest's future on account of its container: keeps the epoch clock going, meters each
/// poll, and holds the guest back while it is over its bandwidth.
pub(crate) struct Metered<F> {
    inner: Pin<Box<F>>,
    account: Arc<CpuAccount>,
    ticker: Arc<Ticker>,
    pause: Option<Pause>,
}

struct Pause {
    since: Instant,
    sleep: Pin<Box<Sleep>>,
}

impl<F: Future> Metered<F> {
    pub(crate) fn new(inner: F, account: Arc<CpuAccount>, ticker: Arc<Ticker>) -> Self {
        Self { inner: Box::pin(inner), account, ticker, pause: None }
    }

    fn poll_pause(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            if let Some(pause) = &mut self.pause {
                if pause.sleep.as_mut().poll(cx).is_pending() {
                    return Poll::Pending;
                }
                let nanos = pause.since.elapsed().as_nanos() as u64;
                self.account.throttled_nanos.fetch_add(nanos, Relaxed);
                self.pause = None;
            }
            match self.account.blocked_until() {
                None => return Poll::Ready(()),
                Some(until) => {
                    let sleep = Box::pin(tokio::time::sleep_until(until));
                    self.pause = Some(Pause { since: Instant::now(), sleep });
                }
            }
        }
    }
}

impl<F: Future> Future for Metered<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        if self.poll_pause(cx).is_pending() {
            return Poll::Pending;
        }
        let this = &mut *self;
        let before = thread_cpu_nanos();
        let result = {
            let _running = this.ticker.running();
            this.inner.as_mut().poll(cx)
        };
        this.account.charge(thread_cpu_nanos().saturating_sub(before));
        result
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = 1_000_000;

    #[test]
    fn bandwidth_carries_debt_over_periods() {
        let start = Instant::now();
        let mut bandwidth = Bandwidth::new(100, start); // 10 ms per period
        bandwidth.charge(4 * MS, start);
        assert_eq!(bandwidth.blocked_until(start), None);
        bandwidth.charge(27 * MS, start); // 21 ms of debt
        assert_eq!(bandwidth.blocked_until(start), Some(start + 3 * PERIOD));
        assert_eq!(bandwidth.blocked_until(start + 2 * PERIOD), Some(start + 3 * PERIOD));
        assert_eq!(bandwidth.blocked_until(start + 3 * PERIOD), None);
    }

    #[test]
    fn idle_periods_are_not_saved_up() {
        let start = Instant::now();
        let mut bandwidth = Bandwidth::new(100, start);
        let later = start + 50 * PERIOD;
        bandwidth.charge(11 * MS, later);
        assert_eq!(bandwidth.blocked_until(later), Some(later + PERIOD));
    }
}
