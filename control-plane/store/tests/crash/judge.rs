//! Holds what the file shows against the ledger.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::{Path, PathBuf};

use crate::ledger::Line;
use crate::work::{Effect, Id};

/// One event of history: key, by whom (nobody: a deletion), revision of the value before.
type Event = (String, Option<Id>, u64);

/// Everything that is known of one file.
pub struct Judge {
    path: PathBuf,
    /// The whole history, as far as it has been shown, compacted or not.
    history: BTreeMap<u64, Vec<Event>>,
    /// The state that history ends in: key to revision and writer.
    state: BTreeMap<String, (u64, Id)>,
    /// Transactions whose end nobody knows yet, and those acknowledged since history was last shown.
    open: BTreeSet<Id>,
    acknowledged: HashMap<Id, u64>,
    surprises: u64,
    showing: Option<Showing>,
}

/// What the process is showing.
struct Showing {
    oldest: u64,
    newest: u64,
    events: BTreeMap<u64, Vec<Event>>,
    state: BTreeMap<String, (u64, Id)>,
}

impl Judge {
    pub fn new(path: PathBuf) -> Self {
        Self {
            path,
            history: BTreeMap::new(),
            state: BTreeMap::new(),
            open: BTreeSet::new(),
            acknowledged: HashMap::new(),
            surprises: 0,
            showing: None,
        }
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The newest revision shown.
    pub fn revision(&self) -> u64 {
        self.history.last_key_value().map_or(0, |(revision, _)| *revision)
    }

    /// How many transactions were there that nobody had acknowledged.
    pub fn surprises(&self) -> u64 {
        self.surprises
    }

    /// A new process begins to speak.
    pub fn begins(&mut self) {
        self.showing = None;
    }

    pub fn hear(&mut self, line: Line) {
        match line {
            Line::Opened { oldest, newest } => {
                self.showing = Some(Showing { oldest, newest, events: BTreeMap::new(), state: BTreeMap::new() });
            }
            Line::Event { revision, key, by, prev } => {
                self.showing.as_mut().unwrap().events.entry(revision).or_default().push((key, by, prev));
            }
            Line::Holds { key, revision, by } => {
                self.showing.as_mut().unwrap().state.insert(key, (revision, by));
            }
            Line::Shown => {
                let shown = self.showing.take().unwrap();
                self.check(shown);
            }
            Line::Attempted(id) => assert!(self.open.insert(id)),
            Line::Acknowledged { id, revision } => {
                assert!(self.open.remove(&id), "{id} was acknowledged twice, or before it was tried");
                self.acknowledged.insert(id, revision);
            }
            Line::Refused(id) => assert!(self.open.remove(&id)),
            Line::Wrong(what) => panic!("{}: {what}", self.path.display()),
            Line::Opening | Line::Compacting | Line::Closing => {}
        }
    }

    fn check(&mut self, shown: Showing) {
        let known = self.revision();
        assert!(shown.newest >= known, "revision {known} has been seen, now the newest is {}", shown.newest);
        assert!(shown.oldest <= known, "{} was compacted, beyond what was asked: {known}", shown.oldest);
        let revisions: Vec<u64> = shown.events.keys().copied().collect();
        let expected: Vec<u64> = (shown.oldest + 1..=shown.newest).collect();
        assert_eq!(revisions, expected, "history by watch is not contiguous");
        for (revision, mut events) in shown.events {
            // Within a revision there is no order.
            events.sort();
            match self.history.get(&revision) {
                Some(before) => assert_eq!(&events, before, "revision {revision} was different once"),
                None => self.happened(revision, events),
            }
        }
        let lost = self.acknowledged.iter().next();
        assert!(lost.is_none(), "lost: {lost:?} of {} acknowledged", self.acknowledged.len());
        assert_eq!(shown.state, self.state, "the state is not what history ends in");
        // Whatever of the last life is not here by now never will be.
        self.open.clear();
    }

    /// A revision that nobody has seen before.
    fn happened(&mut self, revision: u64, events: Vec<Event>) {
        let by = events.iter().find_map(|(_, by, _)| *by).expect("every transaction writes something");
        match self.acknowledged.remove(&by) {
            Some(acknowledged) => assert_eq!(acknowledged, revision, "{by} is not where it was acknowledged"),
            None => {
                assert!(self.open.remove(&by), "invented: {by} at {revision} was refused, or never tried, or is twice");
                self.surprises += 1;
            }
        }
        let mut effects = by.effects();
        // Deleting what is not there is no event.
        effects.sort();
        effects.retain(|effect| effect.is_put || self.state.contains_key(&effect.key));
        let found: Vec<Effect> =
            events.iter().map(|(key, by, _)| Effect { key: key.clone(), is_put: by.is_some() }).collect();
        assert_eq!(found, effects, "{by} at {revision} is not whole");
        for (key, writer, prev) in &events {
            assert!(writer.is_none_or(|writer| writer == by), "{revision} has two writers");
            let before = match writer {
                Some(writer) => self.state.insert(key.clone(), (revision, *writer)),
                None => self.state.remove(key),
            };
            assert_eq!(before.map_or(0, |(revision, _)| revision), *prev, "{key} at {revision} has another past");
        }
        self.history.insert(revision, events);
    }
}
