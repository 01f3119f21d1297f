//! The pods that wait for a node: the active ones in order of priority, those backing off after a
//! failure, and those that no node suits until something changes.
//!
//! Invariant: a pod is in exactly one part. The heaps may hold outdated tickets; `waiting` decides.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use crate::pod::Pod;

/// Kubernetes' own: 1 s, doubling to 10 s.
const FIRST_BACKOFF: Duration = Duration::from_secs(1);
const LONGEST_BACKOFF: Duration = Duration::from_secs(10);
/// However sure the scheduler is that nothing has changed, a pod is looked at again after this.
const FLUSH: Duration = Duration::from_secs(300);

/// A pod in the queue.
#[derive(Clone, Debug)]
pub(crate) struct Waiting {
    pub pod: Arc<Pod>,
    pub resource_version: String,
    /// The reason and message of `PodScheduled=False` that the API shows.
    pub shown: Option<(String, String)>,
    attempts: u32,
    part: Part,
    /// Which ticket in a heap is this pod's.
    ticket: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    Active,
    Backoff,
    /// Until something changes, but at least until then.
    Unschedulable {
        backoff_until: Instant,
    },
    /// Popped: being decided on or bound.
    Taken,
}

/// Highest priority first, then first come, first served.
type ActiveTicket = (i32, Reverse<u64>, Arc<str>);
type TimedTicket = Reverse<(Instant, u64, Arc<str>)>;

#[derive(Debug, Default)]
pub(crate) struct Queue {
    waiting: HashMap<Arc<str>, Waiting>,
    /// The UIDs of the unschedulable ones.
    parked: HashSet<Arc<str>>,
    active: BinaryHeap<ActiveTicket>,
    /// Those backing off although something has changed for them: tried early when nothing is active, as
    /// kube-scheduler does (SchedulerPopFromBackoffQ, KEP-5142).
    early: BinaryHeap<ActiveTicket>,
    /// Ends of back-offs, and flushes.
    timed: BinaryHeap<TimedTicket>,
    tickets: u64,
}

impl Queue {
    /// A pod wants a node, or still does. A pod that changed may suit other nodes, so it is tried
    /// again.
    pub fn put(&mut self, pod: Arc<Pod>, resource_version: String, shown: Option<(String, String)>) {
        let uid = pod.uid.clone();
        match self.waiting.get_mut(&uid) {
            Some(waiting) => {
                let changed = *waiting.pod != *pod;
                waiting.pod = pod;
                waiting.resource_version = resource_version;
                waiting.shown = shown;
                if changed && let Part::Unschedulable { backoff_until } = waiting.part {
                    self.retry(&uid, backoff_until);
                }
            }
            None => {
                let part = Part::Active;
                let waiting = Waiting { pod, resource_version, shown, attempts: 0, part, ticket: 0 };
                self.waiting.insert(uid.clone(), waiting);
                self.activate(&uid);
            }
        }
    }

    /// The pod needs no node any more.
    pub fn remove(&mut self, uid: &str) {
        self.waiting.remove(uid);
        self.parked.remove(uid);
    }

    pub fn get(&self, uid: &str) -> Option<&Waiting> {
        self.waiting.get(uid)
    }

    pub fn uids(&self) -> impl Iterator<Item = &Arc<str>> {
        self.waiting.keys()
    }

    /// The next pod to decide on. It stays known until [`Queue::remove`], or comes back through
    /// [`Queue::park`] or [`Queue::back_off`].
    pub fn pop(&mut self) -> Option<Arc<Pod>> {
        while let Some((_, Reverse(ticket), uid)) = self.active.pop().or_else(|| self.early.pop()) {
            if let Some(waiting) = self.waiting.get_mut(&uid)
                && waiting.ticket == ticket
            {
                waiting.part = Part::Taken;
                waiting.attempts += 1;
                // Whatever ticket is still in a heap is outdated now.
                self.tickets += 1;
                waiting.ticket = self.tickets;
                return Some(waiting.pod.clone());
            }
        }
        None
    }

    /// No node suits: wait for a change.
    pub fn park(&mut self, uid: &str) {
        let now = Instant::now();
        let Some((uid, waiting)) = self.waiting.get_key_value(uid) else { return };
        let (uid, backoff_until) = (uid.clone(), now + backoff(waiting.attempts));
        self.enter(&uid, Part::Unschedulable { backoff_until }, now + FLUSH);
    }

    /// The attempt failed for some other reason: try again after a while.
    pub fn back_off(&mut self, uid: &str) {
        let Some((uid, waiting)) = self.waiting.get_key_value(uid) else { return };
        let (uid, until) = (uid.clone(), Instant::now() + backoff(waiting.attempts));
        self.enter(&uid, Part::Backoff, until);
    }

    /// Something changed: try the parked pods again that it may help.
    pub fn reconsider(&mut self, helps: impl Fn(&Pod) -> bool) {
        let helped: Vec<_> = self
            .parked
            .iter()
            .filter_map(|uid| self.waiting.get_key_value(uid))
            .filter_map(|(uid, waiting)| match waiting.part {
                Part::Unschedulable { backoff_until } if helps(&waiting.pod) => Some((uid.clone(), backoff_until)),
                _ => None,
            })
            .collect();
        for (uid, backoff_until) in helped {
            self.retry(&uid, backoff_until);
        }
    }

    /// Activate what has waited long enough.
    pub fn advance(&mut self) {
        let now = Instant::now();
        while let Some(Reverse((at, ticket, uid))) = self.timed.peek().cloned() {
            if at > now {
                break;
            }
            self.timed.pop();
            if self.waiting.get(&uid).is_some_and(|waiting| waiting.ticket == ticket) {
                self.activate(&uid);
            }
        }
    }

    /// When [`Queue::advance`] has something to do next, at the earliest.
    pub fn next_deadline(&self) -> Option<Instant> {
        self.timed.peek().map(|Reverse((at, ..))| *at)
    }

    /// Whether [`Queue::pop`] may have something.
    pub fn has_active(&self) -> bool {
        !self.active.is_empty() || !self.early.is_empty()
    }

    fn retry(&mut self, uid: &Arc<str>, backoff_until: Instant) {
        if backoff_until <= Instant::now() {
            self.activate(uid);
        } else {
            self.enter(uid, Part::Backoff, backoff_until);
            if let Some(waiting) = self.waiting.get(uid) {
                self.early.push((waiting.pod.priority, Reverse(waiting.ticket), uid.clone()));
            }
        }
    }

    fn activate(&mut self, uid: &Arc<str>) {
        self.tickets += 1;
        self.parked.remove(uid);
        if let Some(waiting) = self.waiting.get_mut(uid) {
            waiting.part = Part::Active;
            waiting.ticket = self.tickets;
            self.active.push((waiting.pod.priority, Reverse(self.tickets), uid.clone()));
        }
    }

    fn enter(&mut self, uid: &Arc<str>, part: Part, until: Instant) {
        self.tickets += 1;
        if let Some(waiting) = self.waiting.get_mut(uid) {
            waiting.part = part;
            waiting.ticket = self.tickets;
            match part {
                Part::Unschedulable { .. } => self.parked.insert(uid.clone()),
                _ => self.parked.remove(uid),
            };
            self.timed.push(Reverse((until, self.tickets, uid.clone())));
        }
        self.tidy();
    }

    /// Outdated tickets must not outnumber the pods by much.
    fn tidy(&mut self) {
        if self.timed.len() > 2 * self.waiting.len() + 1_024 {
            let waiting = &self.waiting;
            self.timed
                .retain(|Reverse((_, ticket, uid))| waiting.get(uid).is_some_and(|waiting| waiting.ticket == *ticket));
            self.early
                .retain(|(_, Reverse(ticket), uid)| waiting.get(uid).is_some_and(|waiting| waiting.ticket == *ticket));
        }
    }
}

fn backoff(attempts: u32) -> Duration {
    let doublings = attempts.saturating_sub(1).min(10);
    (FIRST_BACKOFF * 2_u32.pow(doublings)).min(LONGEST_BACKOFF)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pod(uid: &str, priority: i32) -> Arc<Pod> {
        Arc::new(Pod { uid: uid.into(), priority, ..Pod::default() })
    }

    fn queue(pods: &[(&str, i32)]) -> Queue {
        let mut queue = Queue::default();
        for (uid, priority) in pods {
            queue.put(pod(uid, *priority), String::new(), None);
        }
        queue
    }

    fn pop(queue: &mut Queue) -> Option<String> {
        queue.advance();
        queue.pop().map(|pod| pod.uid.to_string())
    }

    #[test]
    fn priority_first_then_first_come() {
        let mut queue = queue(&[("a", 0), ("b", 5), ("c", 0), ("d", 5)]);
        queue.remove("c");
        let order: Vec<_> = std::iter::from_fn(|| pop(&mut queue)).collect();
        assert_eq!(order, ["b", "d", "a"]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_parked_pod_waits_for_a_change_and_for_its_back_off() {
        let mut queue = queue(&[("a", 0)]);
        assert_eq!(pop(&mut queue).as_deref(), Some("a"));
        queue.park("a");
        queue.reconsider(|_| false);
        tokio::time::advance(Duration::from_secs(2)).await;
        assert_eq!(pop(&mut queue), None);
        queue.reconsider(|_| true);
        assert_eq!(pop(&mut queue).as_deref(), Some("a"), "the back-off is over");
        queue.park("a");
        assert_eq!(pop(&mut queue), None, "nothing has changed");
    }

    #[tokio::test(start_paused = true)]
    async fn a_back_off_is_cut_short_by_a_change_when_nothing_else_is_active() {
        let mut queue = queue(&[("a", 0)]);
        pop(&mut queue);
        queue.park("a");
        queue.put(pod("b", 0), String::new(), None);
        queue.reconsider(|_| true);
        assert_eq!(pop(&mut queue).as_deref(), Some("b"), "the active one first");
        assert_eq!(pop(&mut queue).as_deref(), Some("a"));
        queue.back_off("b");
        assert!(!queue.has_active());
        assert_eq!(pop(&mut queue), None, "an error is no reason to hurry");
        tokio::time::advance(Duration::from_secs(3)).await;
        assert_eq!(pop(&mut queue).as_deref(), Some("b"));
        assert_eq!(pop(&mut queue), None, "each is popped once");
    }

    #[tokio::test(start_paused = true)]
    async fn nothing_is_parked_for_ever() {
        let mut queue = queue(&[("a", 0)]);
        pop(&mut queue);
        queue.park("a");
        let deadline = queue.next_deadline().unwrap();
        assert_eq!(deadline - Instant::now(), FLUSH);
        tokio::time::advance(FLUSH).await;
        assert_eq!(pop(&mut queue).as_deref(), Some("a"));
    }

    #[tokio::test(start_paused = true)]
    async fn a_changed_pod_is_tried_again_but_a_changed_status_is_no_change() {
        let mut queue = queue(&[("a", 0)]);
        pop(&mut queue);
        queue.park("a");
        tokio::time::advance(Duration::from_secs(1)).await;
        queue.put(pod("a", 0), "2".into(), Some(("Unschedulable".into(), "why".into())));
        assert_eq!(pop(&mut queue), None);
        queue.put(pod("a", 7), "3".into(), None);
        assert_eq!(pop(&mut queue).as_deref(), Some("a"));
    }

    #[tokio::test(start_paused = true)]
    async fn back_off_grows_to_ten_seconds() {
        assert_eq!([1, 2, 3, 4, 5, 60].map(|attempts| backoff(attempts).as_secs()), [1, 2, 4, 8, 10, 10]);
        let mut queue = queue(&[("a", 0)]);
        pop(&mut queue);
        queue.back_off("a");
        assert_eq!(pop(&mut queue), None);
        tokio::time::advance(Duration::from_secs(1)).await;
        assert_eq!(pop(&mut queue).as_deref(), Some("a"));
    }

    #[tokio::test(start_paused = true)]
    async fn tickets_do_not_pile_up() {
        let mut queue = queue(&[("a", 0)]);
        for _ in 0..10_000 {
            pop(&mut queue);
            queue.park("a");
            queue.reconsider(|_| true);
            queue.put(pod("a", 1), String::new(), None);
        }
        assert!(queue.timed.len() < 2_000);
    }
}
