//! What an update changed: the fields that are new, other, or gone (`typed.Compare`). Looks only at what differs.

use super::atom::{self, Atom, Field, Fields, Items};
use super::path::Element;
use super::set::{Node, Set};
use crate::schema::Schema;
use serde_json::{Map, Value};
use std::borrow::Cow;
use std::cmp::Ordering;

/// The difference between two objects of one kind. No path is in two of the sets, but that of an item which was there more than
/// once and now is once, or the other way round: that is both added and removed.
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
        let known = schema.and_then(atom::structure).unwrap_or(Fields::Deduced);
        let difference = fields(known, old.as_object(), new.as_object());
        Self {
            added: Set::of(difference.added),
            modified: Set::of(difference.modified),
            removed: Set::of(difference.removed),
        }
    }

    #[must_use]
    pub fn is_same(&self) -> bool {
        self.added.is_empty() && self.modified.is_empty() && self.removed.is_empty()
    }

    /// What the update set: a new or another value.
    #[must_use]
    pub fn set(&self) -> Cow<'_, Set> {
        joined(&self.added, &self.modified)
    }

    /// What the update set or took away.
    #[must_use]
    pub fn touched(&self) -> Cow<'_, Set> {
        match self.set() {
            Cow::Borrowed(set) => joined(set, &self.removed),
            Cow::Owned(set) if self.removed.is_empty() => Cow::Owned(set),
            Cow::Owned(set) => Cow::Owned(set.union(&self.removed)),
        }
    }

    /// Leaves only changes below the top-level fields that `keep` wants.
    pub(super) fn retain_fields(&mut self, keep: impl Fn(&str) -> bool) {
        for set in [&mut self.added, &mut self.modified, &mut self.removed] {
            set.retain_fields(&keep);
        }
    }
}

fn joined<'s>(a: &'s Set, b: &'s Set) -> Cow<'s, Set> {
    match (a.is_empty(), b.is_empty()) {
        (true, _) => Cow::Borrowed(b),
        (_, true) => Cow::Borrowed(a),
        _ => Cow::Owned(a.union(b)),
    }
}

/// What became of a place itself.
#[derive(Clone, Copy, Default)]
struct Own {
    added: bool,
    modified: bool,
    removed: bool,
}

/// What became of a place, and of what is below it.
#[derive(Default)]
struct Difference {
    own: Own,
    added: Vec<Node>,
    modified: Vec<Node>,
    removed: Vec<Node>,
}

impl Difference {
    /// Takes in what became of the place that `element` leads to.
    fn put(&mut self, element: &dyn Fn() -> Element, below: Self) {
        let lists = [
            (&mut self.added, below.added, below.own.added),
            (&mut self.modified, below.modified, below.own.modified),
            (&mut self.removed, below.removed, below.own.removed),
        ];
        for (list, children, member) in lists {
            if member || !children.is_empty() {
                list.push(Node { element: element(), member, children: Set::of(children) });
            }
        }
    }
}

/// Two values at one place, not both absent.
fn value(schema: Option<&Schema>, old: Option<&Value>, new: Option<&Value>) -> Difference {
    if old == new {
        return Difference::default();
    }
    // Null is of the kind of what it takes the place of.
    let kind = atom::atom(schema, new.filter(|value| !value.is_null()).or(old));
    if let (Some(was), Some(now)) = (old, new)
        && !was.is_null()
        && !now.is_null()
        && std::mem::discriminant(&kind) != std::mem::discriminant(&atom::atom(schema, old))
    {
        // Where no schema says what stands there: a scalar for a map, or the other way round.
        let (gone, come) = (value(schema, Some(was), None), value(schema, None, Some(now)));
        return Difference {
            own: Own { modified: true, ..Own::default() },
            removed: gone.removed,
            added: come.added,
            modified: Vec::new(),
        };
    }
    let leaf = match kind {
        Atom::Leaf => true,
        Atom::Map(_) => is_empty_map(old) && is_empty_map(new),
        Atom::List(_) => atom::items(old).is_empty() && atom::items(new).is_empty(),
    };
    let mut difference = match kind {
        Atom::Map(known) if !leaf => fields(known, atom::members(old), atom::members(new)),
        Atom::List(known) if !leaf => items(known, atom::items(old), atom::items(new)),
        _ => Difference::default(),
    };
    let (added, removed) = (old.is_none(), new.is_none());
    difference.own = Own { added, removed, modified: leaf && !added && !removed };
    difference
}

/// The fields of two objects; `None` where there is no object.
fn fields(known: Fields<'_>, old: Option<&Map<String, Value>>, new: Option<&Map<String, Value>>) -> Difference {
    let mut difference = Difference::default();
    for (name, before) in old.into_iter().flatten() {
        let after = new.and_then(|map| map.get(name));
        if after != Some(before) {
            let field = known.field(name);
            let after = after.or_else(|| new.and_then(|_| zero(field)));
            difference.put(&|| Element::field(name), value(field.schema(), Some(before), after));
        }
    }
    for (name, after) in new.into_iter().flatten() {
        if old.is_none_or(|map| !map.contains_key(name)) {
            let field = known.field(name);
            let before = old.and_then(|_| zero(field));
            difference.put(&|| Element::field(name), value(field.schema(), before, Some(after)));
        }
    }
    difference
}

/// Items that differ, in lists with the same keys, and what they were. `None` where keys must be looked at: the lists' keys
/// differ, or many items do, or one of them is there twice.
fn changed<'v>(known: Items<'_>, old: &'v [Value], new: &'v [Value]) -> Option<Vec<(&'v Value, &'v Value)>> {
    const FEW: usize = 8;
    let alike = old.len() == new.len() && old.iter().zip(new).all(|(old, new)| known.same_key(old, new));
    let other = || old.iter().zip(new).filter(|(old, new)| old != new);
    let once = |item: &Value| new.iter().filter(|other| known.same_key(other, item)).count() == 1;
    (alike && other().take(FEW + 1).count() <= FEW && other().all(|(_, item)| once(item))).then(|| other().collect())
}

/// Goes through both lists in the order of their keys.
fn items(known: Items<'_>, old: &[Value], new: &[Value]) -> Difference {
    let mut difference = Difference::default();
    if let Some(changed) = changed(known, old, new) {
        // Item by item: keys are made only of those that differ.
        for (old, new) in changed {
            if let Ok(key) = known.element(new) {
                difference.put(&|| key.clone(), value(Some(known.schema), Some(old), Some(new)));
            }
        }
        return difference;
    }
    let (before, after) = (Keyed::of(known, old), Keyed::of(known, new));
    let (mut before, mut after) = (before.groups().peekable(), after.groups().peekable());
    loop {
        let order = match (before.peek(), after.peek()) {
            (None, None) => return difference,
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (Some(old), Some(new)) => old[0].0.cmp(&new[0].0),
        };
        let old = if order.is_le() { before.next() } else { None }.unwrap_or_default();
        let new = if order.is_ge() { after.next() } else { None }.unwrap_or_default();
        if old != new
            && let Some((key, _)) = old.first().or(new.first())
        {
            difference.put(&|| key.clone(), item(known.schema, old, new));
        }
    }
}

/// The items of one key, which differ. Several of them, which only an object that is older than its list's rules can
/// hold, count as a whole.
fn item(schema: &Schema, old: &[(Element, &Value)], new: &[(Element, &Value)]) -> Difference {
    let mut difference = match (one(old), one(new)) {
        (None, None) => Difference::default(),
        (old, new) => value(Some(schema), old, new),
    };
    match (old.len(), new.len()) {
        (0 | 1, 0 | 1) => {}
        (0 | 1, _) => difference.own.added = true,
        (_, 0 | 1) => difference.own.removed = true,
        _ => difference.own.modified = true,
    }
    difference
}

fn one<'a>(items: &[(Element, &'a Value)]) -> Option<&'a Value> {
    match items {
        [(_, only)] => Some(only),
        _ => None,
    }
}

/// What Go has at a field that its object does not show: a zero, where it is never left out.
pub(super) fn zero(field: Field<'_>) -> Option<&'static Value> {
    match field {
        Field::Named(schema) => schema.shown_zero(),
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

    /// The first item of a key.
    pub(super) fn first(&self, key: &Element) -> Option<&'a Value> {
        let at = self.0.partition_point(|(known, _)| known < key);
        self.0.get(at).filter(|(known, _)| known == key).map(|(_, item)| *item)
    }

    /// The items of each key.
    pub(super) fn groups(&self) -> impl Iterator<Item = &[(Element, &'a Value)]> {
        self.0.chunk_by(|a, b| a.0 == b.0)
    }
}
