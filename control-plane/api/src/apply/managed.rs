//! `metadata.managedFields`: who owns what. Entries keep their fields as the text that is stored until somebody asks.

use super::codec::{Pattern, push_json};
use super::set::Set;
use crate::time;
use serde::Deserialize;
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::cell::OnceCell;
use std::cmp::Ordering;
use std::fmt;

/// Most entries of updates that one object keeps; older ones are put together.
pub const MAX_UPDATE_MANAGERS: usize = 10;
/// Who owns what was put together.
const ANCIENT: &str = "ancient-changes";

/// What an entry's manager did.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Operation {
    Apply,
    Update,
}

impl Operation {
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Apply => "Apply",
            Self::Update => "Update",
        }
    }
}

/// Who writes, and through what.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Manager<'a> {
    pub name: Cow<'a, str>,
    pub operation: Operation,
    /// `apps/v1`: the version that the fields are of.
    pub api_version: Cow<'a, str>,
    /// `status`, `scale`; empty for the object itself.
    pub subresource: Cow<'a, str>,
}

impl Manager<'_> {
    /// Whether both share one entry: an applier has one for all versions, an updater one for each.
    #[must_use]
    pub fn is(&self, other: &Manager<'_>) -> bool {
        self.name == other.name
            && self.operation == other.operation
            && self.subresource == other.subresource
            && (self.operation == Operation::Apply || self.api_version == other.api_version)
    }

    pub(super) fn into_owned(self) -> Manager<'static> {
        Manager {
            name: self.name.into_owned().into(),
            operation: self.operation,
            api_version: self.api_version.into_owned().into(),
            subresource: self.subresource.into_owned().into(),
        }
    }
}

/// As in messages: `"kubectl" with subresource "status" using apps/v1`.
impl fmt::Display for Manager<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&crate::field::quoted(&self.name))?;
        if !self.subresource.is_empty() {
            write!(f, " with subresource {}", crate::field::quoted(&self.subresource))?;
        }
        match self.operation {
            Operation::Apply => Ok(()),
            Operation::Update => write!(f, " using {}", self.api_version),
        }
    }
}

/// An entry's fields: the text of `fieldsV1`, or what it says.
#[derive(Clone, Debug)]
pub(super) enum Fields<'a> {
    Text(Cow<'a, str>),
    Set(Set),
}

impl Fields<'_> {
    /// The fields as a set. Text that is no set, which nothing here writes, reads as empty.
    pub(super) fn set(&self) -> Cow<'_, Set> {
        match self {
            Self::Text(text) => Cow::Owned(Set::from_json(text).unwrap_or_default()),
            Self::Set(set) => Cow::Borrowed(set),
        }
    }

    fn write(&self, out: &mut String) {
        match self {
            Self::Text(text) => out.push_str(text),
            Self::Set(set) => set.write(out),
        }
    }

    fn is_empty(&self) -> bool {
        match self {
            Self::Text(text) => text == "{}",
            Self::Set(set) => set.is_empty(),
        }
    }
}

/// One entry of `managedFields`.
#[derive(Clone, Debug)]
pub(super) struct Entry<'a> {
    pub manager: Manager<'a>,
    /// RFC 3339 with whole seconds; absent where nobody knows.
    pub time: Option<Cow<'a, str>>,
    pub fields: Fields<'a>,
}

/// An object's `managedFields`.
#[derive(Clone, Debug, Default)]
pub struct Managed<'a> {
    pub(super) entries: Vec<Entry<'a>>,
}

/// What makes `managedFields` useless.
#[derive(Debug, thiserror::Error)]
pub enum Malformed {
    #[error("managedFields cannot be read: {0}")]
    Json(#[from] serde_json::Error),
    #[error("operation must be `Apply` or `Update`")]
    Operation,
    #[error("apiVersion must not be empty")]
    NoVersion,
    #[error("missing fieldsType in managed fields entry {0}")]
    NoFieldsType(usize),
    #[error("invalid fieldsType {1:?} in managed fields entry {0}")]
    FieldsType(usize, String),
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Wire<'a> {
    #[serde(borrow, default)]
    manager: Cow<'a, str>,
    #[serde(borrow, default)]
    operation: Cow<'a, str>,
    #[serde(borrow, default)]
    api_version: Cow<'a, str>,
    #[serde(borrow, default)]
    time: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    fields_type: Cow<'a, str>,
    #[serde(borrow, default)]
    fields_v1: Option<&'a RawValue>,
    #[serde(borrow, default)]
    subresource: Cow<'a, str>,
}

impl<'a> Managed<'a> {
    /// Reads what [`Managed::to_json`] wrote. Text of other making, which the store does not hold, reads as nothing.
    #[must_use]
    pub fn stored(text: &'a str) -> Self {
        let wire: Vec<Wire<'a>> = serde_json::from_str(text).unwrap_or_default();
        let entries = wire.into_iter().filter_map(|wire| {
            let operation = operation(&wire.operation)?;
            let fields = Fields::Text(wire.fields_v1.map_or("{}", RawValue::get).into());
            Some(entry(wire, operation, fields))
        });
        Self { entries: entries.collect() }
    }

    /// Reads what a client sent.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(text: &'a str) -> Result<Self, Malformed> {
        let wire: Vec<Wire<'a>> = serde_json::from_str(text)?;
        let mut managed = Self::default();
        for (index, wire) in wire.into_iter().enumerate() {
            let operation = operation(&wire.operation).ok_or(Malformed::Operation)?;
            if wire.api_version.is_empty() {
                return Err(Malformed::NoVersion);
            }
            match &*wire.fields_type {
                "FieldsV1" => {}
                "" => return Err(Malformed::NoFieldsType(index)),
                other => return Err(Malformed::FieldsType(index, other.into())),
            }
            let set = Set::from_json(wire.fields_v1.map_or("{}", RawValue::get))?;
            let entry = entry(wire, operation, Fields::Set(set));
            // Of two entries of one manager the later one counts.
            match managed.entries.iter_mut().find(|known| known.manager.is(&entry.manager)) {
                Some(known) => *known = entry,
                None => managed.entries.push(entry),
            }
        }
        Ok(managed)
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    pub(super) fn find(&self, manager: &Manager<'_>) -> Option<usize> {
        self.entries.iter().position(|entry| entry.manager.is(manager))
    }

    /// Drops entries that own nothing.
    pub(super) fn drop_empty(&mut self) {
        self.entries.retain(|entry| !entry.fields.is_empty());
    }

    /// The JSON array, in Kubernetes' order; `None` when there is nothing to say.
    #[must_use]
    pub fn to_json(mut self) -> Option<String> {
        if self.entries.is_empty() {
            return None;
        }
        self.entries.sort_by(order);
        let mut out = String::with_capacity(self.entries.iter().map(Entry::size).sum());
        for entry in &self.entries {
            out.push(if out.is_empty() { '[' } else { ',' });
            entry.write(&mut out);
        }
        out.push(']');
        Some(out)
    }

    /// Puts the oldest updaters' entries together until at most [`MAX_UPDATE_MANAGERS`] are left, version by version.
    pub(super) fn cap(&mut self) {
        let mut updaters: Vec<usize> =
            (0..self.entries.len()).filter(|at| self.entries[*at].manager.operation == Operation::Update).collect();
        let mut surplus = updaters.len().saturating_sub(MAX_UPDATE_MANAGERS);
        if surplus == 0 {
            return;
        }
        updaters.sort_by(|a, b| {
            let (a, b) = (&self.entries[*a], &self.entries[*b]);
            seconds(a).cmp(&seconds(b)).then_with(|| identity(&a.manager).cmp(&identity(&b.manager)))
        });
        let mut gone = vec![false; self.entries.len()];
        // Where each version's entries go: the first that is met, which takes the others in.
        let mut buckets: Vec<usize> = Vec::new();
        for at in updaters {
            if surplus == 0 {
                break;
            }
            let version = &self.entries[at].manager.api_version;
            let Some(bucket) = buckets.iter().copied().find(|b| self.entries[*b].manager.api_version == *version)
            else {
                buckets.push(at);
                continue;
            };
            let united = self.entries[bucket].fields.set().union(&self.entries[at].fields.set());
            let time = self.entries[at].time.clone();
            let target = &mut self.entries[bucket];
            target.manager.name = ANCIENT.into();
            target.manager.subresource = "".into();
            target.fields = Fields::Set(united);
            target.time = time;
            gone[at] = true;
            surplus -= 1;
        }
        let mut gone = gone.into_iter();
        self.entries.retain(|_| !gone.next().unwrap_or(false));
    }
}

fn operation(text: &str) -> Option<Operation> {
    match text {
        "Apply" => Some(Operation::Apply),
        "Update" => Some(Operation::Update),
        _ => None,
    }
}

fn entry<'a>(wire: Wire<'a>, operation: Operation, fields: Fields<'a>) -> Entry<'a> {
    let manager =
        Manager { name: wire.manager, operation, api_version: wire.api_version, subresource: wire.subresource };
    Entry { manager, time: wire.time, fields }
}

fn seconds(entry: &Entry<'_>) -> i64 {
    entry.time.as_deref().and_then(time::parse).map_or(0, jiff::Timestamp::as_second)
}

fn identity<'a>(manager: &'a Manager<'_>) -> (&'a str, &'a str, &'a str) {
    (&manager.name, &manager.api_version, &manager.subresource)
}

fn order(a: &Entry<'_>, b: &Entry<'_>) -> Ordering {
    let by_time = || match (&a.time, &b.time) {
        // Both in the form that is written here: texts are in the order of times.
        (Some(a), Some(b)) if a.len() == b.len() && a.ends_with('Z') && b.ends_with('Z') => a.cmp(b),
        _ => seconds(a).cmp(&seconds(b)),
    };
    let operation = a.manager.operation.cmp(&b.manager.operation);
    operation.then_with(by_time).then_with(|| identity(&a.manager).cmp(&identity(&b.manager)))
}

impl Entry<'_> {
    /// About how long the entry's text is.
    fn size(&self) -> usize {
        256 + match &self.fields {
            Fields::Text(text) => text.len(),
            Fields::Set(set) => 32 * set.len(),
        }
    }

    /// Members in the order of their names: what a client sends back unchanged is then the same text again.
    fn write(&self, out: &mut String) {
        out.push_str("{\"apiVersion\":");
        push_json(out, &self.manager.api_version);
        out.push_str(",\"fieldsType\":\"FieldsV1\",\"fieldsV1\":");
        self.fields.write(out);
        out.push_str(",\"manager\":");
        push_json(out, &self.manager.name);
        out.push_str(",\"operation\":\"");
        out.push_str(self.manager.operation.as_str());
        out.push('"');
        if !self.manager.subresource.is_empty() {
            out.push_str(",\"subresource\":");
            push_json(out, &self.manager.subresource);
        }
        if let Some(time) = &self.time {
            out.push_str(",\"time\":");
            push_json(out, time);
        }
        out.push('}');
    }

    /// Whether anything of a set is owned.
    pub(super) fn owns_any_of(&self, sought: &Sought<'_>) -> bool {
        match &self.fields {
            _ if sought.set.is_empty() => false,
            Fields::Text(text) => sought.pattern().overlap(text).any,
            Fields::Set(own) => !own.intersection(&sought.set).is_empty(),
        }
    }

    /// Whether all of a set is owned.
    pub(super) fn owns_all_of(&self, sought: &Sought<'_>) -> bool {
        match &self.fields {
            _ if sought.set.is_empty() => true,
            Fields::Text(text) => sought.pattern().overlap(text).all,
            Fields::Set(own) => sought.set.difference(own).is_empty(),
        }
    }
}

/// A set that is looked for in entries.
pub(super) struct Sought<'a> {
    pub set: Cow<'a, Set>,
    pattern: OnceCell<Pattern>,
}

impl<'a> Sought<'a> {
    pub(super) fn new(set: Cow<'a, Set>) -> Self {
        Self { set, pattern: OnceCell::new() }
    }

    fn pattern(&self) -> &Pattern {
        self.pattern.get_or_init(|| Pattern::of(&self.set))
    }
}
