//! The lines of the ledger: what the writer process says, in the order in which it happened there.

use std::fmt;

use crate::work::Id;

/// One line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Line {
    /// About to open the file.
    Opening,
    /// Open: the oldest and the newest revision.
    Opened {
        oldest: u64,
        newest: u64,
    },
    /// An event from history: revision, key, who wrote it (nobody: a deletion), revision of the value before.
    Event {
        revision: u64,
        key: String,
        by: Option<Id>,
        prev: u64,
    },
    /// A key of the state: last written at, and by whom.
    Holds {
        key: String,
        revision: u64,
        by: Id,
    },
    /// All of history and state has been shown.
    Shown,
    Attempted(Id),
    Acknowledged {
        id: Id,
        revision: u64,
    },
    Refused(Id),
    /// About to compact.
    Compacting,
    /// About to close.
    Closing,
    /// Something is wrong already on that side.
    Wrong(String),
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Line::Opening => write!(f, "opening"),
            Line::Opened { oldest, newest } => write!(f, "opened {oldest} {newest}"),
            Line::Event { revision, key, by, prev } => match by {
                Some(by) => write!(f, "event {revision} {key} {prev} {by}"),
                None => write!(f, "event {revision} {key} {prev}"),
            },
            Line::Holds { key, revision, by } => write!(f, "holds {key} {revision} {by}"),
            Line::Shown => write!(f, "shown"),
            Line::Attempted(id) => write!(f, "attempted {id}"),
            Line::Acknowledged { id, revision } => write!(f, "acknowledged {id} {revision}"),
            Line::Refused(id) => write!(f, "refused {id}"),
            Line::Compacting => write!(f, "compacting"),
            Line::Closing => write!(f, "closing"),
            Line::Wrong(what) => write!(f, "wrong {what}"),
        }
    }
}

impl Line {
    /// # Panics
    /// When the line is none.
    pub fn parse(line: &str) -> Self {
        let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
        let fields: Vec<&str> = rest.split(' ').collect();
        let number = |index: usize| fields[index].parse().unwrap();
        let id = |index: usize| fields[index].parse().unwrap();
        match word {
            "opening" => Line::Opening,
            "opened" => Line::Opened { oldest: number(0), newest: number(1) },
            "event" => Line::Event {
                revision: number(0),
                key: fields[1].into(),
                prev: number(2),
                by: fields.get(3).map(|by| by.parse().unwrap()),
            },
            "holds" => Line::Holds { key: fields[0].into(), revision: number(1), by: id(2) },
            "shown" => Line::Shown,
            "attempted" => Line::Attempted(id(0)),
            "acknowledged" => Line::Acknowledged { id: id(0), revision: number(1) },
            "refused" => Line::Refused(id(0)),
            "compacting" => Line::Compacting,
            "closing" => Line::Closing,
            "wrong" => Line::Wrong(rest.into()),
            other => panic!("no line of the ledger: {other}"),
        }
    }
}
