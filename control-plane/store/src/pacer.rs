//! When a crowd of watchers is woken. To wake, serve and write to a hundred of them takes a millisecond or more, however
//! little has happened; while changes come faster than that, it pays to let some more arrive in between. So the
//! watchers of a crowded topic are woken in rounds: all of them at once by the first change after a pause, and then one
//! group after the other, each after a rest. A busy machine then writes fewer and larger frames, which a group shares;
//! while the disk has the writers wait, it serves a group. The rest grows with the crowd, as a round does.
//!
//! Invariant: a topic whose pacer has ended, or whose runtime has, is woken directly: nobody waits for ever.

use std::ops::RangeInclusive;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::MissedTickBehavior;
use tracing::Instrument as _;

use crate::hub::{GROUPS, Topic};

/// From this many watchers on, a topic is woken in rounds.
pub(crate) const CROWD: usize = 16;
/// Between two rounds, for each watcher: about twice what it takes to wake one, write to it and have it read.
const REST_EACH: Duration = Duration::from_micros(60);
/// Its bounds.
const REST: RangeInclusive<Duration> = Duration::from_millis(1)..=Duration::from_millis(12);
/// As tokio's timers are no finer, a rest is cut into ticks of at least this.
const TICK: Duration = Duration::from_millis(1);
/// Ticks of a rest.
const TICKS: RangeInclusive<usize> = 1..=6;
/// Ticks after which the crowd is counted again.
const STRETCH: usize = 1_000;
/// A pause this long is one: what watchers of the last round were given is kept no longer.
const PAUSE: Duration = Duration::from_secs(1);

/// A topic's link to the task that wakes its watchers, if there is one.
#[derive(Debug, Default)]
pub(crate) struct Pacer {
    /// Something happened, or the last watcher left.
    news: Notify,
    is_running: AtomicBool,
    has_ended: AtomicBool,
}

impl Pacer {
    /// Leaves the waking to the task; false when there is none.
    pub fn takes_over(&self) -> bool {
        if !self.is_running.load(Ordering::SeqCst) {
            return false;
        }
        self.news.notify_one();
        // Looked at once more: a task that ended in between has woken everybody before this, or leaves it to the caller.
        self.is_running.load(Ordering::SeqCst)
    }

    /// There are no watchers left.
    pub fn end(&self) {
        self.has_ended.store(true, Ordering::SeqCst);
        self.news.notify_one();
    }
}

/// Starts the task of `topic`, unless it runs, or there is no runtime to run it on.
pub(crate) fn start(topic: &Arc<Topic>) {
    let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
    if !topic.pacer().is_running.swap(true, Ordering::SeqCst) {
        topic.begin_rounds();
        let rounds = Rounds(Arc::clone(topic));
        runtime.spawn(async move { rounds.run().await }.instrument(tracing::debug_span!("watch_rounds")));
    }
}

/// The rounds of one topic, for as long as it has watchers.
struct Rounds(Arc<Topic>);

impl Rounds {
    async fn run(&self) {
        let pacer = self.0.pacer();
        loop {
            if tokio::time::timeout(PAUSE, pacer.news.notified()).await.is_err() {
                self.0.forget_given();
                pacer.news.notified().await;
            }
            if pacer.has_ended.load(Ordering::SeqCst) {
                return;
            }
            // News that has been told already wakes nobody.
            if self.0.wake_groups(0..GROUPS) {
                self.busy().await;
            }
        }
    }

    /// Wakes groups in turn until nothing has happened for a rest, or the crowd may be another.
    async fn busy(&self) {
        let pace = Pace::of(self.rest());
        let mut timer = tokio::time::interval(pace.tick);
        timer.set_missed_tick_behavior(MissedTickBehavior::Skip);
        timer.tick().await;
        let (mut at, mut quiet) = (0, 0);
        for _ in 0..STRETCH {
            if quiet == pace.ticks || self.0.pacer().has_ended.load(Ordering::SeqCst) {
                return;
            }
            timer.tick().await;
            let end = GROUPS.min(at + pace.step);
            quiet = if self.0.wake_groups(at..end) { 0 } else { quiet + 1 };
            at = end % GROUPS;
        }
        // What happened meanwhile may have been taken for told.
        self.0.pacer().news.notify_one();
    }

    fn rest(&self) -> Duration {
        // Each watch holds the topic, and so do the hub and this.
        let watches = u32::try_from(Arc::strong_count(&self.0)).unwrap_or(u32::MAX).saturating_sub(2);
        REST_EACH.saturating_mul(watches).clamp(*REST.start(), *REST.end())
    }
}

/// How a rest is cut up.
struct Pace {
    tick: Duration,
    /// Groups that are woken at a tick.
    step: usize,
    /// Ticks until it is a group's turn again.
    ticks: usize,
}

impl Pace {
    fn of(rest: Duration) -> Self {
        let ticks = usize::try_from(rest.as_micros() / TICK.as_micros()).unwrap_or(usize::MAX);
        let step = GROUPS.div_ceil(ticks.clamp(*TICKS.start(), *TICKS.end()));
        let ticks = GROUPS.div_ceil(step);
        Self { tick: rest / u32::try_from(ticks).unwrap_or(u32::MAX), step, ticks }
    }
}

impl Drop for Rounds {
    fn drop(&mut self) {
        self.0.pacer().is_running.store(false, Ordering::SeqCst);
        self.0.end_rounds();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::history::Commit;
    use crate::hub::Hub;
    use crate::types::{Author, Event, Revision};

    fn change(hub: &Hub, revision: Revision) {
        let event = Event::new(b"k".as_slice().into(), revision, None, None);
        let commit = Commit { revision, at_ms: 0, author: Author::default(), events: [Arc::new(event)].into() };
        hub.dispatch(&[commit]).now();
    }

    fn crowd(hub: &Hub) -> Arc<Topic> {
        let topics: Vec<_> = (0..CROWD).map(|_| hub.subscribe(b"k")).collect();
        topics[0].clone()
    }

    fn runtime() -> tokio::runtime::Runtime {
        tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap()
    }

    #[test]
    fn a_crowd_hears_of_every_change() {
        let hub = Hub::new(0);
        runtime().block_on(async {
            let topic = crowd(&hub);
            for revision in 1..=3 {
                let changed = topic.changed(0);
                tokio::pin!(changed);
                changed.as_mut().enable();
                change(&hub, revision);
                changed.await;
                assert!(topic.pacer().is_running.load(Ordering::SeqCst));
            }
        });
    }

    #[test]
    fn a_crowd_outlives_the_runtime_that_woke_it() {
        let hub = Hub::new(0);
        let first = runtime();
        let topic = first.block_on(async { crowd(&hub) });
        drop(first);
        runtime().block_on(async {
            let changed = topic.changed(0);
            tokio::pin!(changed);
            changed.as_mut().enable();
            change(&hub, 1);
            changed.await;
        });
    }

    #[test]
    fn the_last_one_to_leave_takes_the_task_along() {
        let hub = Hub::new(0);
        runtime().block_on(async {
            let topic = crowd(&hub);
            (0..CROWD).for_each(|_| hub.unsubscribe(&topic));
            while Arc::strong_count(&topic) > 1 {
                tokio::task::yield_now().await;
            }
        });
    }

    #[test]
    fn a_rest_is_every_groups() {
        for (rest_ms, ticks, step) in [(1, 1, 12), (2, 2, 6), (3, 3, 4), (4, 4, 3), (5, 4, 3), (6, 6, 2), (12, 6, 2)] {
            let pace = Pace::of(Duration::from_millis(rest_ms));
            assert_eq!((pace.ticks, pace.step), (ticks, step), "{rest_ms} ms");
            assert!(pace.ticks * pace.step >= GROUPS && pace.tick >= TICK);
        }
    }
}
