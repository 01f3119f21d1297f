//! A configuration merged into the live object (`typed.Merge`), and fields taken out of an object (`typed.RemoveItems`).

use super::atom::{self, Atom, Items};
use super::path::Element;
use super::set::Set;
use crate::schema::Schema;
use serde_json::{Map, Value};
use std::collections::{BTreeMap, BTreeSet};

/// `live` with everything that `config` says. Nothing is removed; leaves of `config` win; the items of lists come in the
/// order of `config` where it names them, the others stay near their old neighbours.
#[must_use]
pub fn merge(schema: Option<&Schema>, live: &Value, config: &Value) -> Value {
    let kind = match (atom::atom(schema, Some(live)), atom::atom(schema, Some(config))) {
        (was, Atom::Leaf) if config.is_null() => was,
        (_, now) => now,
    };
    match kind {
        Atom::Leaf => config.clone(),
        Atom::Map(fields) => {
            let (Some(old), Some(new)) = (live.as_object(), config.as_object()) else { return keep(live, config) };
            let mut result: Map<String, Value> = old.clone();
            for (name, value) in new {
                let merged = match old.get(name) {
                    Some(before) => merge(fields.field(name).schema(), before, value),
                    None => value.clone(),
                };
                result.insert(name.clone(), merged);
            }
            Value::Object(result)
        }
        Atom::List(items) => {
            let (Some(old), Some(new)) = (live.as_array(), config.as_array()) else { return keep(live, config) };
            if old.is_empty() || new.is_empty() {
                return Value::Array(if new.is_empty() { old.clone() } else { new.clone() });
            }
            Value::Array(merge_lists(items, old, new))
        }
    }
}

/// A map or list beside something else: null takes nothing away where there is something.
fn keep(live: &Value, config: &Value) -> Value {
    let holds = match live {
        Value::Object(map) => !map.is_empty(),
        Value::Array(list) => !list.is_empty(),
        _ => false,
    };
    if config.is_null() && holds { live.clone() } else { config.clone() }
}

/// The items of a list in order, each with its key. Items without a key are left out: `config` has none (it was
/// validated), and in the live list nothing could name them.
fn keyed<'v>(items: Items<'_>, list: &'v [Value]) -> Vec<(Element, &'v Value)> {
    list.iter().filter_map(|item| Some((items.element(item).ok()?, item))).collect()
}

/// Two runs through both lists at once. What both have comes in the order of `new`; an item of `old` alone stays before
/// the shared one that followed it.
fn merge_lists(items: Items<'_>, old: &[Value], new: &[Value]) -> Vec<Value> {
    let (old, new) = (keyed(items, old), keyed(items, new));
    let mut live: BTreeMap<&Element, Option<&Value>> = BTreeMap::new();
    for (key, value) in &old {
        // Items that cannot be told apart do not merge with anything.
        live.entry(key).and_modify(|known| *known = None).or_insert(Some(value));
    }
    let named: BTreeSet<&Element> = new.iter().map(|(key, _)| key).collect();
    let mut shared = new.iter().map(|(key, _)| key).filter(|key| live.contains_key(key)).peekable();
    let mut merged: BTreeSet<&Element> = BTreeSet::new();
    let mut out = Vec::with_capacity(old.len().max(new.len()));
    let join = |key: &Element, value: &Value| match live.get(key).copied().flatten() {
        Some(before) => merge(Some(items.schema), before, value),
        None => value.clone(),
    };
    let (mut left, mut right) = (0, 0);
    while left < old.len() || right < new.len() {
        if let (Some((key, _)), Some((wanted, value))) = (old.get(left), new.get(right)) {
            if key == wanted {
                merged.insert(wanted);
                out.push(join(wanted, value));
                left += 1;
                right += 1;
                shared.next();
                continue;
            }
            if named.contains(key) && shared.peek().is_some_and(|next| *next != key) {
                left += 1;
                continue;
            }
        }
        let mut passed = false;
        if let Some((key, value)) = old.get(left) {
            if !named.contains(key) {
                out.push(Value::clone(value));
                left += 1;
                continue;
            }
            // One that was there twice.
            passed = merged.contains(key);
            left += usize::from(passed);
        }
        if let Some((key, value)) = new.get(right) {
            merged.insert(key);
            out.push(join(key, value));
            right += 1;
            if shared.peek() == Some(&key) {
                shared.next();
            }
        } else if !passed {
            left += 1;
        }
    }
    out
}

/// `object` without the fields and items of `gone`. What is left empty by it is null, as in the library: a field that is there
/// and holds nothing, so that who owns it still does. (Nulls go when the object is held to its schema.)
#[must_use]
pub fn remove(schema: Option<&Schema>, object: &Value, gone: &Set) -> Value {
    if gone.is_empty() {
        return object.clone();
    }
    removed(schema, object, gone).unwrap_or_else(|| Value::Object(Map::new()))
}

/// `None`: nothing is left.
fn removed(schema: Option<&Schema>, value: &Value, gone: &Set) -> Option<Value> {
    match (atom::atom(schema, Some(value)), value) {
        (Atom::Map(fields), Value::Object(map)) => {
            let left = map.iter().filter_map(|(name, value)| {
                let kept = match gone.node(&Element::field(name)) {
                    Some(node) if node.member => None,
                    Some(node) => {
                        Some(removed(fields.field(name).schema(), value, &node.children).unwrap_or(Value::Null))
                    }
                    None => Some(value.clone()),
                };
                Some((name.clone(), kept?))
            });
            let left: Map<String, Value> = left.collect();
            (!left.is_empty()).then_some(Value::Object(left))
        }
        (Atom::List(items), Value::Array(list)) => {
            let left = list.iter().filter_map(|item| {
                let node = items.element(item).ok().and_then(|key| gone.node(&key));
                match node {
                    Some(node) if node.member => None,
                    Some(node) => removed(Some(items.schema), item, &node.children),
                    None => Some(item.clone()),
                }
            });
            let left: Vec<Value> = left.collect();
            (!left.is_empty()).then_some(Value::Array(left))
        }
        (Atom::Leaf, Value::Object(_) | Value::Array(_)) => None,
        (_, scalar) => Some(scalar.clone()),
    }
}
