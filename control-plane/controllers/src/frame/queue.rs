//! The work queue of one controller: keys, each at most once, with per-key exponential back-off.
//!
//! Invariant: a key is with at most one worker. A key that is added while a worker has it comes back
//! when the worker is done. One consumer; any number of producers.

use super::key::Key;
use parking_lot::Mutex;
use std::collections::{BTreeSet, HashMap, HashSet, VecDeque};
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::Instant;

/// Kubernetes' `DefaultControllerRateLimiter`: 5 ms · 2ⁿ, at most 1,000 s.
const FIRST_RETRY: Duration = Duration::from_millis(5);
const LAST_RETRY: Duration = Duration::from_secs(1000);

#[derive(Debug, Default)]
pub struct Queue {
    state: Mutex<State>,
    wake: Notify,
}

#[derive(Debug, Default)]
struct State {
    ready: VecDeque<Key>,
    /// Waiting for a worker: what is in `ready`, and what came while a worker had it.
    dirty: HashSet<Key>,
    busy: HashSet<Key>,
    timers: BTreeSet<(Instant, Key)>,
    due: HashMap<Key, Instant>,
    failures: HashMap<Key, u32>,
}

impl State {
    /// Whether the consumer has something new to take.
    fn add(&mut self, key: Key) -> bool {
        if !self.dirty.insert(key.clone()) || self.busy.contains(&key) {
            return false;
        }
        self.ready.push_back(key);
        true
    }

    fn expire(&mut self, now: Instant) {
        while let Some((at, key)) = self.timers.first().cloned()
            && at <= now
        {
            self.timers.pop_first();
            self.due.remove(&key);
            self.add(key);
        }
    }
}

impl Queue {
    pub fn add(&self, key: Key) {
        if self.state.lock().add(key) {
            self.wake.notify_one();
        }
    }

    /// Adds the key after `wait`, unless an earlier time is set for it already.
    pub fn add_after(&self, key: Key, wait: Duration) {
        if wait.is_zero() {
            return self.add(key);
        }
        let at = Instant::now() + wait;
        let mut state = self.state.lock();
        match state.due.get(&key).copied() {
            Some(set) if set <= at => return,
            Some(set) => {
                state.timers.remove(&(set, key.clone()));
            }
            None => {}
        }
        state.due.insert(key.clone(), at);
        state.timers.insert((at, key));
        drop(state);
        self.wake.notify_one();
    }

    /// Adds the key again after its back-off; returns how long that is.
    pub fn retry(&self, key: Key) -> Duration {
        let wait = {
            let mut state = self.state.lock();
            let failures = state.failures.entry(key.clone()).or_default();
            let wait = FIRST_RETRY.saturating_mul(1 << (*failures).min(20)).min(LAST_RETRY);
            *failures = failures.saturating_add(1);
            wait
        };
        self.add_after(key, wait);
        wait
    }

    /// The key's work succeeded: its back-off starts anew.
    pub fn forget(&self, key: &Key) {
        self.state.lock().failures.remove(key);
    }

    /// The worker gives the key back.
    pub fn done(&self, key: &Key) {
        let mut state = self.state.lock();
        state.busy.remove(key);
        if state.dirty.contains(key) {
            state.ready.push_back(key.clone());
            drop(state);
            self.wake.notify_one();
        }
    }

    /// The next key, in order of arrival. Cancel-safe.
    pub async fn next(&self) -> Key {
        loop {
            let due = {
                let mut state = self.state.lock();
                state.expire(Instant::now());
                if let Some(key) = state.ready.pop_front() {
                    state.dirty.remove(&key);
                    state.busy.insert(key.clone());
                    return key;
                }
                state.timers.first().map(|(at, _)| *at)
            };
            let woken = self.wake.notified();
            match due {
                Some(at) => {
                    tokio::select! { () = woken => {}, () = tokio::time::sleep_until(at) => {} }
                }
                None => woken.await,
            }
        }
    }

    /// Keys that wait for a worker now.
    #[must_use]
    pub fn len(&self) -> usize {
        self.state.lock().ready.len()
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(name: &str) -> Key {
        Key::new("ns", name)
    }

    #[tokio::test(start_paused = true)]
    async fn a_key_is_queued_once_and_comes_back_if_added_while_busy() {
        let queue = Queue::default();
        queue.add(key("a"));
        queue.add(key("a"));
        assert_eq!(queue.len(), 1);
        let a = queue.next().await;
        queue.add(key("a"));
        assert!(queue.is_empty(), "a worker has it");
        queue.done(&a);
        assert_eq!(queue.next().await, a);
        queue.done(&a);
        assert!(queue.is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn the_earliest_timer_wins() {
        let queue = Queue::default();
        let start = Instant::now();
        queue.add_after(key("a"), Duration::from_secs(60));
        queue.add_after(key("a"), Duration::from_secs(10));
        queue.add_after(key("a"), Duration::from_secs(30));
        assert_eq!(queue.next().await, key("a"));
        assert_eq!(start.elapsed().as_secs(), 10);
    }

    #[tokio::test(start_paused = true)]
    async fn backoff_doubles_up_to_a_bound_and_is_forgotten() {
        let queue = Queue::default();
        let waits: Vec<_> = (0..20).map(|_| queue.retry(key("a"))).collect();
        assert_eq!(waits[..3], [5, 10, 20].map(Duration::from_millis));
        assert_eq!(waits[19], Duration::from_secs(1000));
        queue.forget(&key("a"));
        assert_eq!(queue.retry(key("a")), Duration::from_millis(5));
    }
}
