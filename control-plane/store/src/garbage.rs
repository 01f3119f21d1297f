//! Lets go of history that nobody reaches any more on a thread of its own: freeing thousands of values and the inner
//! nodes of old roots takes milliseconds, and the commit thread has writers waiting.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{self, Sender};
use std::thread;

use crate::history::Commit;
use crate::snapshot::State;

/// Bytes that may wait to be freed; whoever brings more frees it on the spot.
const MOST: usize = 16 << 20;
/// Fewer revisions than this are freed faster than a thread is woken.
const FEW: usize = 32;
/// What keeping a root costs that few others share nodes with, about.
const ROOT: usize = 64 << 10;

/// What history has forgotten.
#[derive(Debug, Default)]
pub(crate) struct Forgotten {
    pub commits: Vec<Commit>,
    pub roots: Vec<Arc<State>>,
    /// Bytes that `commits` keep, about.
    pub bytes: usize,
}

impl Forgotten {
    fn cost(&self) -> usize {
        self.bytes + self.roots.len() * ROOT
    }
}

/// The way to the thread that frees. It ends when this is dropped.
#[derive(Debug)]
pub(crate) struct Garbage {
    sender: Option<Sender<Forgotten>>,
    waiting: Arc<AtomicUsize>,
}

impl Garbage {
    /// Everything is freed on the spot.
    pub fn here() -> Self {
        Self { sender: None, waiting: Arc::default() }
    }

    /// A new thread frees; without one, it is done on the spot.
    pub fn apart() -> Self {
        let waiting = Arc::new(AtomicUsize::new(0));
        let (sender, receiver) = mpsc::channel::<Forgotten>();
        let counter = waiting.clone();
        let free = move || {
            for forgotten in receiver {
                let cost = forgotten.cost();
                drop(forgotten);
                counter.fetch_sub(cost, Ordering::Relaxed);
            }
        };
        let thread = thread::Builder::new().name("store-free".into()).spawn(free);
        Self { sender: thread.is_ok().then_some(sender), waiting }
    }

    /// Free a root that `replaced` commits took the place of: as many paths through it are nobody else's.
    pub fn take_root(&self, root: Arc<State>, replaced: usize) {
        if replaced >= FEW {
            self.take(Forgotten { roots: vec![root], ..Forgotten::default() });
        }
    }

    /// Free `forgotten`.
    pub fn take(&self, forgotten: Forgotten) {
        if forgotten.roots.is_empty() && forgotten.commits.len() < FEW {
            return;
        }
        let Some(sender) = &self.sender else { return };
        let cost = forgotten.cost();
        if self.waiting.load(Ordering::Relaxed) + cost > MOST {
            return;
        }
        self.waiting.fetch_add(cost, Ordering::Relaxed);
        // The other end is gone only when it panicked; then it is freed here.
        let _ = sender.send(forgotten);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn forgotten(bytes: usize) -> (Forgotten, std::sync::Weak<State>) {
        let root = Arc::new(State::default());
        let weak = Arc::downgrade(&root);
        (Forgotten { commits: Vec::new(), roots: vec![root], bytes }, weak)
    }

    #[test]
    fn everything_is_freed_wherever_it_is_done() {
        let apart = Garbage::apart();
        let waiting = apart.waiting.clone();
        for (garbage, bytes) in [(&Garbage::here(), 1), (&apart, 1), (&apart, MOST)] {
            let (forgotten, root) = forgotten(bytes);
            garbage.take(forgotten);
            while root.strong_count() > 0 || waiting.load(Ordering::Relaxed) > 0 {
                thread::yield_now();
            }
        }
    }

    #[test]
    fn what_is_too_much_to_wait_is_freed_on_the_spot() {
        let garbage = Garbage::apart();
        let (forgotten, root) = forgotten(MOST);
        garbage.take(forgotten);
        assert_eq!(root.strong_count(), 0);
        assert_eq!(garbage.waiting.load(Ordering::Relaxed), 0);
    }
}
