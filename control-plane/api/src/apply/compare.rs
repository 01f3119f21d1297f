//! What an update changed: the fields that are new, other, or gone (`typed.Compare`). Looks only at what differs.

use super::atom::{self, Atom, Field, Fields, Items, is_ever_present};
use super::path::Element;
use super::set::Set;
use crate::schema::Schema;
use serde_json::{Map, Value};
use std::cmp::Ordering;
use std::sync::LazyLock;

/// The difference between two objects of one kind. No path is in two of the sets.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Comparison {
    pub added: Set,
    pub modified: Set,
    pub removed: Set,
}

impl Comparison {
    /// Compares `new` with `old`; `Null` stands for an object that is not there.
    #[must_use]
    pub fn of(schema: Option<&Schema>, old: &Value, new: &Value) -> Self {
        let mut walk = Walk { result: Self::default(), path: Vec::new() };
        walk.fields(schema.and_then(atom::structure).unwrap_or(Fields::Deduced), old.as_object(), new.as_object());
        walk.result
    }

    #[must_use]
    pub fn is_same(&self) -> bool {
        self.added.is_empty() && self.modified.is_empty() && self.removed.is_empty()
    }

    /// What the update set: a new or another value.
    #[must_use]
    pub fn set(&self) -> Set {
        if self.added.is_empty() {
            self.modified.clone()
        } else if self.modified.is_empty() {
            self.added.clone()
        } else {
            self.added.union(&self.modified)
        }
    }

    /// Leaves only changes below the top-level fields that `keep` wants.
    pub(super) fn retain_fields(&mut self, keep: impl Fn(&str) -> bool) {
        for set in [&mut self.added, &mut self.modified, &mut self.removed] {
            set.retain_fields(&keep);
        }
    }
}

static EMPTY: LazyLock<Value> = LazyLock::new(|| Value::Object(Map::new()));

/// A step to where the walk is; turned into an [`Element`] only when there is a difference.
enum Step<'a> {
    Field(&'a str),
    Item(Element),
}

struct Walk<'a> {
    result: Comparison,
    path: Vec<Step<'a>>,
}

#[derive(Clone, Copy)]
enum Change {
    Added,
    Modified,
    Removed,
}

impl<'a> Walk<'a> {
    fn note(&mut self, change: Change) {
        let path = self.path.iter().map(|step| match step {
            Step::Field(name) => Element::field(name),
            Step::Item(element) => element.clone(),
        });
        let set = match change {
            Change::Added => &mut self.result.added,
            Change::Modified => &mut self.result.modified,
            Change::Removed => &mut self.result.removed,
        };
        set.insert(path);
    }

    /// Two values at one place, not both absent.
    fn value(&mut self, schema: Option<&'a Schema>, old: Option<&'a Value>, new: Option<&'a Value>) {
        if old == new {
            return;
        }
        let kind = match (atom::atom(schema, old), atom::atom(schema, new)) {
            (was, Atom::Leaf) if new.is_none() => was,
            (_, now) => now,
        };
        let leaf = match kind {
            Atom::Leaf => true,
            Atom::Map(_) => is_empty_map(old) && is_empty_map(new),
            Atom::List(_) => atom::items(old).is_empty() && atom::items(new).is_empty(),
        };
        let change = match (old, new) {
            (None, _) => Some(Change::Added),
            (_, None) => Some(Change::Removed),
            _ if leaf => Some(Change::Modified),
            _ => None,
        };
        if let Some(change) = change {
            self.note(change);
        }
        match kind {
            Atom::Map(fields) if !leaf => self.fields(fields, atom::members(old), atom::members(new)),
            Atom::List(items) if !leaf => self.items(items, atom::items(old), atom::items(new)),
            _ => {}
        }
    }

    /// The fields of two objects; `None` where there is no object.
    fn fields(
        &mut self,
        fields: Fields<'a>,
        old: Option<&'a Map<String, Value>>,
        new: Option<&'a Map<String, Value>>,
    ) {
        for (name, before) in old.into_iter().flatten() {
            let after = new.and_then(|map| map.get(name));
            if after != Some(before) {
                let after = after.or_else(|| new.and_then(|_| zero(fields.field(name), before)));
                self.field(fields.field(name), name, Some(before), after);
            }
        }
        for (name, after) in new.into_iter().flatten() {
            if old.is_none_or(|map| !map.contains_key(name)) {
                let before = old.and_then(|_| zero(fields.field(name), after));
                self.field(fields.field(name), name, before, Some(after));
            }
        }
    }

    fn field(&mut self, field: Field<'a>, name: &'a str, old: Option<&'a Value>, new: Option<&'a Value>) {
        self.path.push(Step::Field(name));
        self.value(field.schema(), old, new);
        self.path.pop();
    }

    /// Goes through both lists in the order of their keys.
    fn items(&mut self, items: Items<'a>, old: &'a [Value], new: &'a [Value]) {
        let (before, after) = (Keyed::of(items, old), Keyed::of(items, new));
        let (mut before, mut after) = (before.groups().peekable(), after.groups().peekable());
        loop {
            let order = match (before.peek(), after.peek()) {
                (None, None) => return,
                (Some(_), None) => Ordering::Less,
                (None, Some(_)) => Ordering::Greater,
                (Some(old), Some(new)) => old[0].0.cmp(&new[0].0),
            };
            let old = if order.is_le() { before.next() } else { None }.unwrap_or_default();
            let new = if order.is_ge() { after.next() } else { None }.unwrap_or_default();
            self.item(items.schema, old, new);
        }
    }

    /// The items of one key. Several of them, which only an object that is older than its list's rules can hold, count as
    /// a whole.
    fn item(&mut self, schema: &'a Schema, old: &[(Element, &'a Value)], new: &[(Element, &'a Value)]) {
        let one = |list: &[(Element, &'a Value)]| list.first().map(|(_, value)| *value);
        if old == new {
            return;
        }
        let Some((key, _)) = old.first().or(new.first()) else { return };
        self.path.push(Step::Item(key.clone()));
        match (old.len(), new.len()) {
            (0 | 1, 0 | 1) => self.value(Some(schema), one(old), one(new)),
            (0 | 1, _) => {
                if !old.is_empty() {
                    self.value(Some(schema), one(old), None);
                }
                self.note(Change::Added);
            }
            (_, 0 | 1) => {
                if !new.is_empty() {
                    self.value(Some(schema), None, one(new));
                }
                self.note(Change::Removed);
            }
            _ => self.note(Change::Modified),
        }
        self.path.pop();
    }
}

/// What Go has at a field that its object does not show: an empty struct or a null list, where it is never left out.
/// `other` is what stands there in the other object.
fn zero(field: Field<'_>, other: &Value) -> Option<&'static Value> {
    match field {
        Field::Named(schema) if is_ever_present(schema) => Some(if other.is_array() { &Value::Null } else { &*EMPTY }),
        _ => None,
    }
}

fn is_empty_map(value: Option<&Value>) -> bool {
    atom::members(value).is_none_or(Map::is_empty)
}

/// A list's items in the order of their keys; those of one key in the order of the list. What has no key is left out.
pub(super) struct Keyed<'a>(Vec<(Element, &'a Value)>);

impl<'a> Keyed<'a> {
    pub(super) fn of(items: Items<'_>, list: &'a [Value]) -> Self {
        let mut keyed: Vec<_> = list.iter().filter_map(|item| Some((items.element(item).ok()?, item))).collect();
        keyed.sort_by(|a, b| a.0.cmp(&b.0));
        Self(keyed)
    }

    /// The items of each key.
    pub(super) fn groups(&self) -> impl Iterator<Item = &[(Element, &'a Value)]> {
        self.0.chunk_by(|a, b| a.0 == b.0)
    }
}
