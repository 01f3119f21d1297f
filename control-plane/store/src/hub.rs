//! Who is told about which commit. Watchers of one prefix share a topic: a commit touches only the
//! topics whose prefix its keys begin with, and a topic costs the writer the same however many
//! watch it.
//!
//! Invariant: a topic holds revision numbers, not events, so that nothing here grows with what is
//! written; the events are read from history. Watchers only ever read: none can hold up a writer.
//!
//! A crowd is woken in rounds by a task of its own ([`pacer`]), one group after the other. In between a group sees nothing
//! new, so that its watchers stay abreast: those who stand at one place are given the same [`Events`], looked up and put
//! into wire form once.

use std::collections::{BTreeMap, VecDeque};
use std::ops::{Bound, Range};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::history::Commit;
use crate::pacer::{self, Pacer};
use crate::types::{Events, Revision};

/// A topic remembers this many revisions; a watcher further behind reads history itself.
const REMEMBERED: usize = 4_096;
/// The watchers of a topic are in this many groups of about one size.
pub(crate) const GROUPS: usize = 12;
/// The watchers of a group share what they are given from this many places; others look it up themselves.
const PLACES: usize = 4;

/// Everything below one prefix.
#[derive(Debug)]
pub(crate) struct Topic {
    prefix: Box<[u8]>,
    pending: Mutex<Pending>,
    /// One for each group.
    notify: [Notify; GROUPS],
    /// How many watches there have been.
    joined: AtomicUsize,
    pacer: Pacer,
}

#[derive(Debug)]
struct Pending {
    revisions: VecDeque<Revision>,
    /// `revisions` lists every change below the prefix after this revision.
    complete_after: Revision,
    /// `None` without rounds: then everybody sees everything.
    rounds: Option<[Round; GROUPS]>,
}

/// What a group knows until it is woken again.
#[derive(Debug, Default)]
struct Round {
    /// How far its watchers see.
    upto: Revision,
    /// What they were given.
    given: Vec<Given>,
}

impl Pending {
    fn new(complete_after: Revision) -> Self {
        Self { revisions: VecDeque::new(), complete_after, rounds: None }
    }

    /// Nothing is known to have happened after this revision.
    fn newest(&self) -> Revision {
        self.revisions.back().copied().unwrap_or(self.complete_after)
    }
}

/// The events from one place on.
#[derive(Clone, Debug)]
pub(crate) struct Given {
    /// The revision of the first of them.
    pub first: Revision,
    /// None is missing up to this revision.
    pub upto: Revision,
    pub events: Events,
}

/// How far one looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum View {
    Everything,
    /// As far as a group sees in this round.
    Group(usize),
}

/// What a topic knows about the time after a revision.
#[derive(Debug)]
pub(crate) enum Since {
    /// Nothing happened.
    Quiet,
    /// Another watcher has looked it up.
    Given(Given),
    /// The oldest of the revisions at which something happened.
    Changed(Vec<Revision>),
    /// More than the topic remembers.
    Unknown,
}

impl Topic {
    pub fn prefix(&self) -> &[u8] {
        &self.prefix
    }

    /// The group of one more watch.
    pub fn join(&self) -> usize {
        self.joined.fetch_add(1, Ordering::Relaxed) % GROUPS
    }

    /// Completes when a group may see what happened after this call.
    pub fn changed(&self, group: usize) -> tokio::sync::futures::Notified<'_> {
        self.notify[group].notified()
    }

    /// At most `limit` revisions after `after` that touched the prefix.
    pub fn since(&self, after: Revision, limit: usize, view: View) -> Since {
        let pending = self.pending.lock();
        if after < pending.complete_after {
            return Since::Unknown;
        }
        let round = match (view, &pending.rounds) {
            (View::Group(group), Some(rounds)) => Some(&rounds[group]),
            _ => None,
        };
        let until = round.map_or(Revision::MAX, |round| round.upto);
        let from = pending.revisions.partition_point(|revision| *revision <= after);
        let Some(&first) = pending.revisions.get(from).filter(|first| **first <= until) else { return Since::Quiet };
        if let Some(given) = round.and_then(|round| round.given.iter().find(|given| given.first == first)) {
            return Since::Given(given.clone());
        }
        let next = pending.revisions.iter().skip(from).take(limit).copied();
        Since::Changed(next.take_while(|revision| *revision <= until).collect())
    }

    /// Whether nothing happened after `after`, as far as `view` goes.
    pub fn is_quiet(&self, after: Revision, view: View) -> bool {
        matches!(self.since(after, 1, view), Since::Quiet)
    }

    /// Lets the group's other watchers that stand at the same place have what was found there. Returns what they all are
    /// given.
    pub fn share(&self, group: usize, found: Given) -> Given {
        let mut pending = self.pending.lock();
        let Some(round) = pending.rounds.as_mut().map(|rounds| &mut rounds[group]) else { return found };
        if let Some(given) = round.given.iter().find(|given| given.first == found.first) {
            return given.clone();
        }
        if round.given.len() < PLACES && found.upto <= round.upto {
            round.given.push(found.clone());
        }
        found
    }

    /// From now on there are rounds.
    pub fn begin_rounds(&self) {
        let mut pending = self.pending.lock();
        let upto = pending.newest();
        pending.rounds = Some(std::array::from_fn(|_| Round { upto, given: Vec::new() }));
    }

    /// Lets those of `groups` that do not know everything see what has happened until now, but nothing later until they
    /// are woken again. Returns whether there were any.
    pub fn wake_groups(&self, groups: Range<usize>) -> bool {
        let mut old = Vec::new();
        let mut woken = [false; GROUPS];
        {
            let mut pending = self.pending.lock();
            let newest = pending.newest();
            let Some(rounds) = &mut pending.rounds else { return false };
            for group in groups {
                if rounds[group].upto != newest {
                    woken[group] = true;
                    old.push(std::mem::replace(&mut rounds[group], Round { upto: newest, given: Vec::new() }));
                }
            }
        }
        drop(old);
        for (_, notify) in woken.iter().zip(&self.notify).filter(|(woken, _)| **woken) {
            notify.notify_waiters();
        }
        woken.contains(&true)
    }

    /// There is no news: lets go of what was kept for others who stand where a watcher stood.
    pub fn forget_given(&self) {
        let mut pending = self.pending.lock();
        let rounds = pending.rounds.iter_mut().flatten();
        let old: Vec<_> = rounds.map(|round| std::mem::take(&mut round.given)).collect();
        drop(pending);
        drop(old);
    }

    /// There are no rounds any more: everybody sees everything.
    pub fn end_rounds(&self) {
        let old = self.pending.lock().rounds.take();
        drop(old);
        self.wake_all();
    }

    /// Wakes whoever waits, at once.
    pub fn wake_all(&self) {
        self.notify.iter().for_each(Notify::notify_waiters);
    }

    pub fn pacer(&self) -> &Pacer {
        &self.pacer
    }

    fn push(&self, revision: Revision) {
        let mut pending = self.pending.lock();
        if pending.revisions.back() == Some(&revision) {
            return;
        }
        if pending.revisions.len() == REMEMBERED
            && let Some(forgotten) = pending.revisions.pop_front()
        {
            pending.complete_after = forgotten;
        }
        pending.revisions.push_back(revision);
    }
}

type Topics = BTreeMap<Box<[u8]>, Watched>;

/// A topic and the number of its watches.
#[derive(Debug)]
struct Watched {
    topic: Arc<Topic>,
    watches: usize,
}

/// All topics somebody watches.
#[derive(Debug)]
pub(crate) struct Hub {
    topics: Mutex<Topics>,
    /// Every topic knows of every change up to here.
    revision: AtomicU64,
    closed: AtomicBool,
}

/// The topics a batch of commits touched, to be woken once the writers have their answers.
#[derive(Debug, Default)]
#[must_use]
pub(crate) struct Wake(Vec<Arc<Topic>>);

impl Wake {
    pub fn now(self) {
        for topic in self.0 {
            if !topic.pacer.takes_over() {
                topic.wake_all();
            }
        }
    }
}

impl Hub {
    pub fn new(revision: Revision) -> Self {
        Self { topics: Mutex::new(BTreeMap::new()), revision: AtomicU64::new(revision), closed: AtomicBool::new(false) }
    }

    pub fn revision(&self) -> Revision {
        self.revision.load(Ordering::Acquire)
    }

    pub fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }

    /// The topic of `prefix`, made if nobody watches it yet.
    pub fn subscribe(&self, prefix: &[u8]) -> Arc<Topic> {
        let mut topics = self.topics.lock();
        if let Some(watched) = topics.get_mut(prefix) {
            watched.watches += 1;
            if watched.watches >= pacer::CROWD {
                pacer::start(&watched.topic);
            }
            return watched.topic.clone();
        }
        let pending = Pending::new(self.revision());
        let topic = Arc::new(Topic {
            prefix: prefix.into(),
            pending: Mutex::new(pending),
            notify: Default::default(),
            joined: AtomicUsize::new(0),
            pacer: Pacer::default(),
        });
        topics.insert(prefix.into(), Watched { topic: topic.clone(), watches: 1 });
        topic
    }

    /// Give up `topic`; the last one to do so takes it off the list.
    pub fn unsubscribe(&self, topic: &Topic) {
        let mut topics = self.topics.lock();
        if let Some(watched) = topics.get_mut(topic.prefix()) {
            watched.watches -= 1;
            if watched.watches == 0 {
                topic.pacer.end();
                topics.remove(topic.prefix());
            }
        }
    }

    /// How many prefixes are watched, and by how many watches.
    pub fn extent(&self) -> (usize, usize) {
        let topics = self.topics.lock();
        (topics.len(), topics.values().map(|watched| watched.watches).sum())
    }

    /// Note `commits` in the topics they touch.
    pub fn dispatch(&self, commits: &[Commit]) -> Wake {
        let Some(last) = commits.last() else { return Wake::default() };
        let topics = self.topics.lock();
        let mut touched: Vec<Arc<Topic>> = Vec::new();
        for commit in commits {
            for event in commit.events.iter() {
                each_prefix_of(&topics, &event.key, |topic| {
                    topic.push(commit.revision);
                    if !touched.iter().any(|other| Arc::ptr_eq(other, topic)) {
                        touched.push(topic.clone());
                    }
                });
            }
        }
        self.revision.store(last.revision, Ordering::Release);
        Wake(touched)
    }

    /// Nobody knows what happened up to `revision`: every topic goes on after it, and all watchers are to look.
    pub fn reset(&self, revision: Revision) -> Wake {
        let topics = self.topics.lock();
        let all = topics.values().map(|watched| watched.topic.clone()).collect();
        for watched in topics.values() {
            let mut pending = watched.topic.pending.lock();
            // Groups that know nothing are woken, whatever the revision.
            let rounds = pending.rounds.is_some().then(Default::default);
            *pending = Pending { rounds, ..Pending::new(revision) };
        }
        self.revision.store(revision, Ordering::Release);
        Wake(all)
    }

    /// Wake every watcher for the last time.
    pub fn close(&self) {
        self.closed.store(true, Ordering::Release);
        for watched in self.topics.lock().values() {
            watched.topic.wake_all();
        }
    }
}

/// Call `found` for every topic whose prefix `key` begins with. Each step looks up the greatest
/// prefix not above a bound; one that is no prefix of `key` lowers the bound to what it shares with
/// it, since every remaining prefix of `key` is at most that long.
fn each_prefix_of(topics: &Topics, key: &[u8], mut found: impl FnMut(&Arc<Topic>)) {
    let mut bound = Bound::Included(key);
    while let Some((prefix, watched)) = topics.range::<[u8], _>((Bound::Unbounded, bound)).next_back() {
        let shared = prefix.iter().zip(key).take_while(|(a, b)| a == b).count();
        if shared == prefix.len() {
            found(&watched.topic);
            bound = Bound::Excluded(&key[..shared]);
        } else {
            bound = Bound::Included(&key[..shared]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::{Author, Event};

    fn commit(revision: Revision, key: &str) -> Commit {
        let event = Event::new(key.as_bytes().into(), revision, None, None);
        Commit { revision, at_ms: 0, author: Author::default(), events: [Arc::new(event)].into() }
    }

    #[test]
    fn a_key_reaches_exactly_the_prefixes_it_begins_with() {
        let hub = Hub::new(0);
        let names = ["", "a", "a/", "a/b", "a/b/c", "a/bb", "a/c", "b", "a/b/c/d"];
        let topics: Vec<_> = names.iter().map(|name| hub.subscribe(name.as_bytes())).collect();
        hub.dispatch(&[commit(1, "a/b/c")]).now();
        for (name, topic) in names.iter().zip(&topics) {
            assert_eq!(topic.is_quiet(0, View::Everything), !"a/b/c".starts_with(name), "{name}");
        }
    }

    #[test]
    fn a_topic_forgets_the_oldest_and_says_so() {
        let hub = Hub::new(0);
        let topic = hub.subscribe(b"k");
        for revision in 1..=(REMEMBERED as u64 + 1) {
            hub.dispatch(&[commit(revision, "k")]).now();
        }
        assert!(matches!(topic.since(0, 1, View::Everything), Since::Unknown));
        assert!(matches!(topic.since(1, 1, View::Everything), Since::Changed(next) if next == [2]));
    }

    #[test]
    fn the_last_watcher_takes_its_topic_away() {
        let hub = Hub::new(0);
        let topic = hub.subscribe(b"k");
        let second = hub.subscribe(b"k");
        assert_eq!(hub.extent(), (1, 2));
        hub.unsubscribe(&topic);
        assert_eq!(hub.extent(), (1, 1));
        hub.unsubscribe(&second);
        assert_eq!(hub.extent(), (0, 0));
    }

    const GROUP: View = View::Group(1);

    fn given(topic: &Topic, after: Revision) -> Option<Given> {
        match topic.since(after, 9, GROUP) {
            Since::Given(given) => Some(given),
            _ => None,
        }
    }

    #[test]
    fn a_group_sees_what_its_round_began_with_and_shares_it() {
        let hub = Hub::new(0);
        let topic = hub.subscribe(b"k");
        topic.begin_rounds();
        [1, 2].into_iter().for_each(|revision| hub.dispatch(&[commit(revision, "k")]).now());
        assert!(topic.is_quiet(0, GROUP));
        assert!(topic.wake_groups(0..2) && !topic.wake_groups(0..2));
        hub.dispatch(&[commit(4, "k")]).now();
        assert!(matches!(topic.since(0, 9, GROUP), Since::Changed(next) if next == [1, 2]));
        assert!(matches!(topic.since(0, 9, View::Everything), Since::Changed(next) if next == [1, 2, 4]));
        assert!(topic.is_quiet(0, View::Group(2)), "the next group's turn is yet to come");
        assert!(topic.is_quiet(2, GROUP) && !topic.is_quiet(2, View::Everything));

        let found = Given { first: 2, upto: 2, events: Events::default() };
        topic.share(1, found.clone());
        assert!(given(&topic, 1).is_some_and(|given| given.events.same(&found.events)));
        assert!(given(&topic, 0).is_none());
        let second = topic.share(1, Given { events: Events::default(), ..found.clone() });
        assert!(second.events.same(&found.events));

        assert!(topic.wake_groups(0..GROUPS));
        assert!(given(&topic, 1).is_none());
        // What a watcher found that looked past the round is its own.
        topic.share(1, Given { first: 2, upto: 5, ..found.clone() });
        assert!(given(&topic, 1).is_none());
        topic.share(1, Given { first: 4, upto: 4, ..found });
        assert!(given(&topic, 3).is_some());
        topic.end_rounds();
        assert!(given(&topic, 3).is_none() && !topic.is_quiet(3, GROUP));
    }

    #[test]
    fn everybody_looks_after_a_reset() {
        let hub = Hub::new(5);
        let topic = hub.subscribe(b"k");
        topic.begin_rounds();
        hub.reset(5).now();
        assert!(topic.wake_groups(0..GROUPS));
    }
}
