//! Strategic merge patch, after the behaviour of `apimachinery/pkg/util/strategicpatch`: objects merge, lists are replaced
//! unless the schema has a merge strategy for them, and directives in the patch say otherwise.
//! Every step is linear in the sizes of the two lists at hand.

use crate::apply::go;
use crate::schema::{Facts, Schema, Shape};
use serde_json::{Map, Value};
use std::collections::{HashMap, HashSet};

const DIRECTIVE: &str = "$patch";
const RETAIN_KEYS: &str = "$retainKeys";
const ELEMENT_ORDER: &str = "$setElementOrder/";
const DELETE_PRIMITIVES: &str = "$deleteFromPrimitiveList/";

/// What may be wrong with a patch; the texts are `mergepatch`'s.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Error {
    #[error("unknown patch type: {directive} in map: {map}")]
    UnknownDirective { directive: String, map: String },
    #[error("merging lists cannot yet be specified in the patch")]
    MergeDirectiveInList,
    #[error("map: {item} does not contain declared merge key: {key}")]
    NoMergeKey { item: String, key: String },
    #[error("cannot merge lists without merge key")]
    UnkeyedList,
    #[error("invalid patch format of primitive list")]
    PrimitiveList,
    #[error("invalid patch format of setElementOrder list")]
    ElementOrder,
    #[error("The order in patch list:\n{patch}\n doesn't match $setElementOrder list:\n{order}\n")]
    OrderMismatch { patch: String, order: String },
    #[error("invalid patch format of retainKeys")]
    RetainKeys,
    #[error("patch content doesn't match retainKeys list")]
    NotRetained,
    #[error("lists of lists are not supported")]
    ListOfLists,
    #[error("list element types are not identical")]
    MixedTypes,
}

fn unknown(directive: &Value, map: &Value) -> Error {
    Error::UnknownDirective { directive: go(directive), map: go(map) }
}

/// `patch` applied to `document`; both are objects.
pub(super) fn apply(schema: &Schema, document: &Value, patch: &Value) -> Result<Value, Error> {
    let mut result = document.as_object().cloned().unwrap_or_default();
    if let Some(patch) = patch.as_object() {
        merge_map(Some(schema), &mut result, patch)?;
    }
    Ok(Value::Object(result))
}

fn merge_map(
    schema: Option<&Schema>,
    original: &mut Map<String, Value>,
    patch: &Map<String, Value>,
) -> Result<(), Error> {
    match patch.get(DIRECTIVE) {
        None => {}
        Some(directive) if directive == "replace" => {
            *original = plain_map(schema, patch);
            return Ok(());
        }
        Some(directive) if directive == "delete" => {
            original.clear();
            return Ok(());
        }
        Some(other) => return Err(unknown(other, &Value::Object(patch.clone()))),
    }
    retain_keys(original, patch)?;
    let ordered = merge_ordered_lists(schema, original, patch)?;
    for (name, value) in patch {
        if is_directive(name) || ordered.contains(name.as_str()) {
            if let Some(list) = name.strip_prefix(DELETE_PRIMITIVES) {
                delete_primitives(original, list, value)?;
            }
        } else if value.is_null() {
            original.remove(name);
        } else {
            let merged = merge_field(schema.and_then(|s| s.child(name)), original.remove(name), value)?;
            original.insert(name.clone(), merged);
        }
    }
    Ok(())
}

fn is_directive(name: &str) -> bool {
    name == RETAIN_KEYS || name == DIRECTIVE || name.starts_with(ELEMENT_ORDER) || name.starts_with(DELETE_PRIMITIVES)
}

/// One field of the patch (not null) onto what the document has there.
fn merge_field(schema: Option<&Schema>, original: Option<Value>, patch: &Value) -> Result<Value, Error> {
    let facts = schema.and_then(|s| s.facts.as_deref());
    match (original, patch) {
        (Some(mut original), patch) if is_free(schema) => {
            json_patch::merge(&mut original, patch);
            Ok(original)
        }
        (Some(Value::Object(mut original)), Value::Object(patch)) if !facts.is_some_and(|f| f.patch_replace) => {
            merge_map(schema, &mut original, patch)?;
            Ok(Value::Object(original))
        }
        (Some(Value::Array(original)), Value::Array(patch)) => match facts.filter(|f| f.patch_merge) {
            Some(facts) => Ok(Value::Array(merge_list(schema, facts, original, patch)?)),
            None => Ok(Value::Array(plain_list(schema, patch))),
        },
        (_, patch) => Ok(plain(schema, patch)),
    }
}

/// Whether a place holds JSON that is none of our business: directives in it are data (`ControllerRevision.data`).
fn is_free(schema: Option<&Schema>) -> bool {
    schema.is_some_and(|s| matches!(s.resolved().shape, Shape::Any))
}

/// Clears what `$retainKeys` does not name.
fn retain_keys(original: &mut Map<String, Value>, patch: &Map<String, Value>) -> Result<(), Error> {
    let Some(directive) = patch.get(RETAIN_KEYS) else {
        return Ok(());
    };
    let list = directive.as_array().ok_or(Error::RetainKeys)?;
    let keep: HashSet<&str> = list.iter().map(|key| key.as_str().ok_or(Error::RetainKeys)).collect::<Result<_, _>>()?;
    let listed =
        |(name, value): (&String, &Value)| value.is_null() || is_directive(name) || keep.contains(name.as_str());
    if !patch.iter().all(listed) {
        return Err(Error::NotRetained);
    }
    original.retain(|name, _| keep.contains(name.as_str()));
    Ok(())
}

/// The lists that have a `$setElementOrder` directive, merged and put in order. The answer: their names.
fn merge_ordered_lists<'p>(
    schema: Option<&Schema>,
    original: &mut Map<String, Value>,
    patch: &'p Map<String, Value>,
) -> Result<HashSet<&'p str>, Error> {
    let mut done = HashSet::new();
    for (directive, order) in patch {
        let Some(name) = directive.strip_prefix(ELEMENT_ORDER) else {
            continue;
        };
        let order = order.as_array().ok_or(Error::ElementOrder)?;
        let field = schema.and_then(|s| s.child(name));
        let facts = field.and_then(|s| s.facts.as_deref());
        let key = facts.and_then(|f| f.patch_merge_key.as_deref());
        let added = match patch.get(name) {
            None | Some(Value::Null) => None,
            Some(value) => Some(value.as_array().ok_or(Error::ElementOrder)?),
        };
        if let Some(added) = added {
            check_order(added, order, key)?;
        }
        let live = match original.get(name) {
            None => None,
            Some(value) => Some(value.as_array().ok_or(Error::ElementOrder)?.clone()),
        };
        let merged = match (&live, added, facts) {
            (_, None, _) if matches!(patch.get(name), Some(Value::Null)) => continue,
            (None, None, _) => continue,
            (Some(live), None, _) => live.clone(),
            (None, Some(added), _) => plain_list(field, added),
            (Some(live), Some(added), Some(facts)) if facts.patch_merge => {
                merge_list(field, facts, live.clone(), added)?
            }
            (Some(_), Some(added), _) => plain_list(field, added),
        };
        let sorted = in_order(merged, order, live.as_deref().unwrap_or_default(), key)?;
        original.insert(name.into(), Value::Array(sorted));
        done.insert(name);
    }
    Ok(done)
}

/// The items of the patch must be in the order list, in its order; items to be deleted need not.
fn check_order(patch: &[Value], order: &[Value], key: Option<&str>) -> Result<(), Error> {
    if order.is_empty() || patch.is_empty() {
        return Ok(());
    }
    let mut rest = order.iter();
    for item in patch.iter().filter(|item| item.get(DIRECTIVE).is_none()) {
        let wanted = identity(item, key)?;
        loop {
            match rest.next() {
                Some(listed) if identity(listed, key)? == wanted => break,
                Some(_) => {}
                None => {
                    let text = |list: &[Value]| Value::from(list.to_vec()).to_string();
                    return Err(Error::OrderMismatch { patch: text(patch), order: text(order) });
                }
            }
        }
    }
    Ok(())
}

fn delete_primitives(original: &mut Map<String, Value>, name: &str, gone: &Value) -> Result<(), Error> {
    let gone = gone.as_array().ok_or(Error::PrimitiveList)?;
    let gone: HashSet<String> = gone.iter().map(|value| identity(value, None)).collect::<Result<_, _>>()?;
    if let Some(Value::Array(list)) = original.get_mut(name) {
        list.retain(|item| identity(item, None).map_or(true, |id| !gone.contains(&id)));
    }
    Ok(())
}

fn merge_list(
    schema: Option<&Schema>,
    facts: &Facts,
    original: Vec<Value>,
    patch: &[Value],
) -> Result<Vec<Value>, Error> {
    let Some(first) = original.first().or(patch.first()) else {
        return Ok(original);
    };
    if first.is_array() {
        return Err(Error::ListOfLists);
    }
    let same = |item: &Value| std::mem::discriminant(item) == std::mem::discriminant(first);
    if !original.iter().chain(patch).all(same) {
        return Err(Error::MixedTypes);
    }
    if first.is_object() {
        let key = facts.patch_merge_key.as_deref().ok_or(Error::UnkeyedList)?;
        merge_objects(schema.and_then(Schema::items), key, original, patch)
    } else {
        let mut seen = HashSet::new();
        let live = original.clone();
        let both = original.into_iter().chain(patch.iter().cloned());
        let merged = both.filter(|item| seen.insert(item.to_string())).collect();
        in_order(merged, patch, &live, None)
    }
}

fn merge_objects(
    items: Option<&Schema>,
    key: &str,
    mut live: Vec<Value>,
    patch: &[Value],
) -> Result<Vec<Value>, Error> {
    let mut added = Vec::new();
    let mut deleted = HashSet::new();
    let mut replace = false;
    for item in patch {
        match item.get(DIRECTIVE) {
            None => added.push(item),
            Some(directive) if directive == "delete" => {
                deleted.insert(identity(item, Some(key))?);
            }
            Some(directive) if directive == "replace" => replace = true,
            Some(directive) if directive == "merge" => return Err(Error::MergeDirectiveInList),
            Some(other) => return Err(unknown(other, item)),
        }
    }
    if replace {
        return Ok(added.into_iter().map(|item| plain(items, item)).collect());
    }
    if !deleted.is_empty() {
        live.retain(|item| identity(item, Some(key)).map_or(true, |id| !deleted.contains(&id)));
    }
    let order: Vec<Value> = added.iter().map(|item| only_key(item, key)).collect();
    let before: Vec<Value> = live.iter().map(|item| only_key(item, key)).collect();
    let mut places: HashMap<String, usize> = HashMap::new();
    for (place, item) in live.iter().enumerate() {
        // An item without its key can only be one that was stored so; it stays as it is.
        if let Ok(id) = identity(item, Some(key)) {
            places.entry(id).or_insert(place);
        }
    }
    for item in added {
        let id = identity(item, Some(key))?;
        match (places.get(&id).copied(), item) {
            (Some(place), Value::Object(patch)) => {
                if let Value::Object(target) = &mut live[place] {
                    merge_map(items, target, patch)?;
                }
            }
            _ => {
                places.insert(id, live.len());
                live.push(plain(items, item));
            }
        }
    }
    in_order(live, &order, &before, Some(key))
}

/// `{key: value}` of an item: what ordering needs of it.
fn only_key(item: &Value, key: &str) -> Value {
    let pair = item.get(key).map(|value| (key.to_owned(), value.clone()));
    Value::Object(pair.into_iter().collect())
}

/// Puts `items` in order: those that `order` names follow it, the others keep the order of `live`; where the two meet,
/// an item goes first that stood first in `live`.
fn in_order(items: Vec<Value>, order: &[Value], live: &[Value], key: Option<&str>) -> Result<Vec<Value>, Error> {
    let wanted = positions(order, key);
    let before = positions(live, key);
    let place =
        |map: &HashMap<String, usize>, item: &Value| identity(item, key).ok().and_then(|id| map.get(&id).copied());
    let (mut listed, mut others): (Vec<_>, Vec<_>) = items.into_iter().partition(|item| place(&wanted, item).is_some());
    listed.sort_by_key(|item| place(&wanted, item));
    others.sort_by_key(|item| place(&before, item).unwrap_or(usize::MAX));

    let mut result = Vec::with_capacity(listed.len() + others.len());
    let (mut listed, mut others) = (listed.into_iter().peekable(), others.into_iter().peekable());
    loop {
        let other_first = match (others.peek(), listed.peek()) {
            (None, None) => return Ok(result),
            (Some(_), None) => true,
            (None, Some(_)) => false,
            (Some(other), Some(item)) => {
                matches!((place(&before, other), place(&before, item)), (Some(a), Some(b)) if a < b)
            }
        };
        result.extend(if other_first { others.next() } else { listed.next() });
    }
}

fn positions(list: &[Value], key: Option<&str>) -> HashMap<String, usize> {
    let mut positions = HashMap::new();
    for (place, item) in list.iter().enumerate() {
        if let Ok(id) = identity(item, key) {
            positions.entry(id).or_insert(place);
        }
    }
    positions
}

/// What tells an item of a merging list from the others: the value of its key, or the scalar itself.
fn identity(item: &Value, key: Option<&str>) -> Result<String, Error> {
    match key {
        None => Ok(item.to_string()),
        Some(key) => match item.get(key) {
            Some(value) => Ok(value.to_string()),
            None => Err(Error::NoMergeKey { item: go(item), key: key.into() }),
        },
    }
}

/// A value of the patch that nothing in the document meets: taken as it is, without nulls and directives.
fn plain(schema: Option<&Schema>, value: &Value) -> Value {
    match value {
        _ if is_free(schema) => value.clone(),
        Value::Object(map) if map.get(DIRECTIVE).is_some_and(|d| d == "delete") => Value::Object(Map::new()),
        Value::Object(map) => Value::Object(plain_map(schema, map)),
        Value::Array(list) => Value::Array(plain_list(schema, list)),
        scalar => scalar.clone(),
    }
}

fn plain_map(schema: Option<&Schema>, map: &Map<String, Value>) -> Map<String, Value> {
    map.iter()
        .filter(|(name, value)| !is_directive(name) && !value.is_null())
        .map(|(name, value)| (name.clone(), plain(schema.and_then(|s| s.child(name)), value)))
        .collect()
}

fn plain_list(schema: Option<&Schema>, list: &[Value]) -> Vec<Value> {
    let items = schema.and_then(Schema::items);
    list.iter().filter(|item| item.get(DIRECTIVE).is_none()).map(|item| plain(items, item)).collect()
}
