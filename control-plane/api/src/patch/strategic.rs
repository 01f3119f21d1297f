//! Strategic merge patch, after the behaviour of `apimachinery/pkg/util/strategicpatch`: objects merge, lists are replaced
//! unless the schema has a merge strategy for them, and directives in the patch say otherwise.
//! Every step is linear in the sizes of the two lists at hand.

use super::merge;
use crate::apply::go;
use crate::schema::{Facts, Schema, Shape};
use serde_json::{Map, Value};
use std::collections::{HashMap, HashSet};

const DIRECTIVE: &str = "$patch";
const RETAIN_KEYS: &str = "$retainKeys";
const ELEMENT_ORDER: &str = "$setElementOrder";
const DELETE_PRIMITIVES: &str = "$deleteFromPrimitiveList";

/// What may be wrong with a patch; the texts are `mergepatch`'s.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Error {
    #[error("unknown patch type: {directive} in map: {map}")]
    UnknownDirective { directive: String, map: String },
    #[error("merging lists cannot yet be specified in the patch")]
    MergeDirectiveInList,
    #[error("map: {item} does not contain declared merge key: {key}")]
    NoMergeKey { item: String, key: String },
    #[error("cannot merge lists without merge key for struct")]
    UnkeyedList,
    #[error("invalid patch format of primitive list")]
    PrimitiveList,
    #[error("invalid patch format of setElementOrder list")]
    ElementOrder,
    #[error("The order in patch list:\n{patch}\n doesn't match $setElementOrder list:\n{order}\n")]
    OrderMismatch { patch: String, order: String },
    #[error("invalid patch format of retainKeys")]
    RetainKeys,
    #[error("lists of lists are not supported")]
    ListOfLists,
    #[error("list element types are not identical: [{original} {patch}]")]
    MixedTypes { original: String, patch: String },
    #[error("no elements in any of the given slices")]
    NoElements,
    #[error("expected a {expected}, but received a {received}")]
    Type { expected: &'static str, received: &'static str },
    #[error("value for key {0} is not a map")]
    NotAMap(usize),
    #[error("unable to find api field in struct {name} for the json field {field:?}")]
    NoField { name: String, field: String },
    #[error("merging an object in json but data type is not struct, instead is: map")]
    NoStruct,
    #[error("expected slice or array type, but got: struct")]
    NoList,
}

const LIST: &str = "[]interface {}";
const MAP: &str = "map[string]interface {}";

/// `%s` of the type that Go has for a JSON value.
fn go_type(value: &Value) -> &'static str {
    match value {
        Value::Null => "%!s(<nil>)",
        Value::Bool(_) => "bool",
        Value::Number(number) if number.is_f64() => "float64",
        Value::Number(_) => "int64",
        Value::String(_) => "string",
        Value::Array(_) => LIST,
        Value::Object(_) => MAP,
    }
}

fn unknown(directive: &Value, map: &Value) -> Error {
    let shown = match directive {
        Value::String(text) => text.clone(),
        Value::Null => go_type(directive).to_owned(),
        Value::Bool(_) | Value::Number(_) => format!("%!s({}={directive})", go_type(directive)),
        other => go(other),
    };
    Error::UnknownDirective { directive: shown, map: go(map) }
}

fn go_list(list: &[Value]) -> String {
    let items: Vec<String> = list.iter().map(go).collect();
    format!("[{}]", items.join(" "))
}

/// A list of the patch or of the document, `None` for an absent one.
fn list(value: Option<&Value>) -> Result<Option<&Vec<Value>>, Error> {
    match value {
        None => Ok(None),
        Some(Value::Array(list)) => Ok(Some(list)),
        Some(other) => Err(Error::Type { expected: LIST, received: go_type(other) }),
    }
}

/// `patch` applied to `document`; both are objects.
pub(super) fn apply(schema: &Schema, document: &Value, patch: &Value) -> Result<Value, Error> {
    let mut result = document.as_object().cloned().unwrap_or_default();
    if let Some(patch) = patch.as_object() {
        merge_map(Some(schema), &mut result, patch)?;
    }
    Ok(Value::Object(result))
}

/// Unknown fields that come of it, directives among them, are for the check of the whole object to find.
fn merge_map(
    schema: Option<&Schema>,
    original: &mut Map<String, Value>,
    patch: &Map<String, Value>,
) -> Result<(), Error> {
    match patch.get(DIRECTIVE) {
        None => {}
        Some(directive) if directive == "replace" => {
            original.clone_from(patch);
            original.remove(DIRECTIVE);
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
        if name.starts_with(ELEMENT_ORDER) || name == RETAIN_KEYS || ordered.contains(name.as_str()) {
            continue;
        }
        let (name, purpose) = match name.strip_prefix(DELETE_PRIMITIVES) {
            Some(rest) => (rest.strip_prefix('/').ok_or(Error::PrimitiveList)?, Purpose::Delete),
            None => (name.as_str(), Purpose::Merge),
        };
        if value.is_null() {
            original.remove(name);
        } else if let Some(merged) = merge_field(schema, name, original, (value, purpose))? {
            original.insert(name.into(), merged);
        } else {
            original.remove(name);
        }
    }
    Ok(())
}

/// What the items of a list in the patch are for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Purpose {
    Merge,
    /// `$deleteFromPrimitiveList`.
    Delete,
}

/// One field of the patch (not null) onto what the document has there. `None`: nothing is there then.
fn merge_field(
    schema: Option<&Schema>,
    name: &str,
    original: &mut Map<String, Value>,
    (patch, purpose): (&Value, Purpose),
) -> Result<Option<Value>, Error> {
    match (original.remove(name), patch) {
        (Some(mut original), patch) if is_free(schema.and_then(|s| s.child(name))) => {
            merge::merge(&mut original, patch);
            Ok(Some(original))
        }
        (Some(Value::Object(mut original)), Value::Object(patch)) => {
            let field = lookup(schema, name)?;
            if facts(field).is_some_and(|facts| facts.patch_replace) {
                return Ok(Some(Value::Object(patch.clone())));
            }
            merge_map(field, &mut original, patch)?;
            Ok(Some(Value::Object(original)))
        }
        (Some(Value::Array(original)), Value::Array(patch)) => {
            let field = lookup_list(schema, name)?;
            let merges = purpose == Purpose::Delete || facts(field).is_some_and(|facts| facts.patch_merge);
            let merged = if merges { merge_list(field, original, patch, purpose)? } else { patch.clone() };
            Ok(Some(Value::Array(merged)))
        }
        (original, _) if purpose == Purpose::Delete => Ok(original),
        (_, patch) => {
            let mut new = patch.clone();
            if !is_free(schema.and_then(|s| s.child(name))) {
                discard_nulls(&mut new);
                new = match without_directives(new) {
                    Some(new) => new,
                    None => return Ok(None),
                };
            }
            Ok(Some(new))
        }
    }
}

/// Whether a place holds JSON that is none of our business: directives in it are data (`ControllerRevision.data`).
fn is_free(schema: Option<&Schema>) -> bool {
    schema.is_some_and(|s| matches!(s.resolved().shape, Shape::Any))
}

fn facts(schema: Option<&Schema>) -> Option<&Facts> {
    schema.and_then(|s| s.facts.as_deref())
}

/// The field of a Go struct whose values are merged.
fn lookup<'s>(schema: Option<&'s Schema>, name: &str) -> Result<Option<&'s Schema>, Error> {
    let Some(parent) = schema else { return Ok(None) };
    match &parent.resolved().shape {
        Shape::Map(_) => Err(Error::NoStruct),
        Shape::Object(_) => match parent.child(name) {
            Some(field) => Ok(Some(field)),
            None => Err(Error::NoField { name: struct_name(parent).to_owned(), field: name.to_owned() }),
        },
        _ => Ok(None),
    }
}

fn struct_name(schema: &Schema) -> &str {
    match &schema.shape {
        Shape::Named(definition) => definition.type_name(),
        _ => "",
    }
}

fn lookup_list<'s>(schema: Option<&'s Schema>, name: &str) -> Result<Option<&'s Schema>, Error> {
    let field = lookup(schema, name)?;
    match field {
        Some(field) if field.items().is_none() => Err(Error::NoList),
        field => Ok(field),
    }
}

/// Takes out all nulls but those that are items.
fn discard_nulls(value: &mut Value) {
    match value {
        Value::Object(map) => {
            map.retain(|_, value| !value.is_null());
            map.values_mut().for_each(discard_nulls);
        }
        Value::Array(list) => list.iter_mut().for_each(discard_nulls),
        _ => {}
    }
}

/// The value without objects that have a `$patch`; `None` when it is one.
fn without_directives(value: Value) -> Option<Value> {
    Some(match value {
        Value::Object(map) if map.contains_key(DIRECTIVE) => return None,
        Value::Object(map) => {
            let kept = map.into_iter().filter_map(|(name, value)| Some((name, without_directives(value)?)));
            Value::Object(kept.collect())
        }
        Value::Array(list) => Value::Array(list.into_iter().filter_map(without_directives).collect()),
        scalar => scalar,
    })
}

/// Clears what `$retainKeys` does not name.
fn retain_keys(original: &mut Map<String, Value>, patch: &Map<String, Value>) -> Result<(), Error> {
    let Some(directive) = patch.get(RETAIN_KEYS) else {
        return Ok(());
    };
    let list = directive.as_array().ok_or(Error::RetainKeys)?;
    let keep: HashSet<&str> = list.iter().filter_map(Value::as_str).collect();
    let is_directive =
        |name: &str| name == RETAIN_KEYS || [ELEMENT_ORDER, DELETE_PRIMITIVES].iter().any(|d| name.starts_with(d));
    let listed =
        |(name, value): (&String, &Value)| value.is_null() || is_directive(name) || keep.contains(name.as_str());
    if !patch.iter().all(listed) {
        return Err(Error::RetainKeys);
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
        let Some(rest) = directive.strip_prefix(ELEMENT_ORDER) else {
            continue;
        };
        let order = list(Some(order))?.map_or(&[][..], Vec::as_slice);
        let name = rest.strip_prefix('/').ok_or(Error::ElementOrder)?;
        let live = list(original.get(name))?;
        let added = list(patch.get(name))?;
        let field = lookup_list(schema, name)?;
        let key = facts(field).and_then(|f| f.patch_merge_key.as_deref());
        check_order(added.map_or(&[][..], Vec::as_slice), order, key)?;
        let merged = match (live, added) {
            (None, None) => continue,
            (Some(live), None) => live.clone(),
            (None, Some(added)) => added.iter().cloned().filter_map(without_directives).collect(),
            (Some(live), Some(added)) if facts(field).is_some_and(|facts| facts.patch_merge) => {
                merge_list(field, live.clone(), added, Purpose::Merge)?
            }
            (Some(_), Some(added)) => added.clone(),
        };
        let none = Vec::new();
        let (live, added) = (live.unwrap_or(&none), added.unwrap_or(&none));
        let before = positions(live, key);
        same_type(live, added)?;
        let sorted = in_order(merged, order, &before?, key)?;
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
    let deletes = |item: &&Value| item.get(DIRECTIVE).is_some_and(|directive| directive == "delete");
    if key.is_some()
        && let Some(wrong) = patch.iter().find(|item| !item.is_object())
    {
        return Err(Error::Type { expected: MAP, received: go_type(wrong) });
    }
    let mut rest = order.iter();
    let mut kept = patch.iter().filter(|item| key.is_none() || !deletes(item)).peekable();
    while let Some(item) = kept.peek() {
        // Once the order is at its end, nothing more may come, not even a directive.
        if item.get(DIRECTIVE).is_some() && rest.len() > 0 {
            kept.next();
            continue;
        }
        match rest.next() {
            Some(listed) => {
                if same_item(item, listed, key)? {
                    kept.next();
                }
            }
            None => return Err(Error::OrderMismatch { patch: go_list(patch), order: go_list(order) }),
        }
    }
    Ok(())
}

fn same_item(a: &Value, b: &Value, key: Option<&str>) -> Result<bool, Error> {
    let Some(_) = key else { return Ok(a == b) };
    if let Some(wrong) = [a, b].into_iter().find(|item| !item.is_object()) {
        return Err(Error::Type { expected: MAP, received: go_type(wrong) });
    }
    Ok(identity(a, key)? == identity(b, key)?)
}

/// The first of the items of two lists, which must all be of one type.
fn same_type<'v>(original: &'v [Value], patch: &'v [Value]) -> Result<&'v Value, Error> {
    let first = original.first().or(patch.first()).ok_or(Error::NoElements)?;
    if first.is_array() {
        return Err(Error::ListOfLists);
    }
    if original.iter().chain(patch).any(|item| go_type(item) != go_type(first)) {
        return Err(Error::MixedTypes { original: go_list(original), patch: go_list(patch) });
    }
    Ok(first)
}

fn merge_list(
    field: Option<&Schema>,
    original: Vec<Value>,
    patch: &[Value],
    purpose: Purpose,
) -> Result<Vec<Value>, Error> {
    if original.is_empty() && patch.is_empty() {
        return Ok(original);
    }
    if same_type(&original, patch)?.is_object() {
        let key = facts(field).and_then(|f| f.patch_merge_key.as_deref()).ok_or(Error::UnkeyedList)?;
        return merge_objects(field.and_then(Schema::items), key, original, patch);
    }
    if purpose == Purpose::Delete {
        let gone: HashSet<String> = patch.iter().map(ToString::to_string).collect();
        return Ok(original.into_iter().filter(|item| !gone.contains(&item.to_string())).collect());
    }
    let before = positions(&original, None)?;
    let mut seen = HashSet::new();
    let both = original.into_iter().chain(patch.iter().cloned());
    let merged = both.filter(|item| seen.insert(item.to_string())).collect();
    in_order(merged, patch, &before, None)
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
            None => added.push(item.clone()),
            Some(directive) if directive == "delete" => {
                deleted.insert(identity(item, Some(key))?);
            }
            Some(directive) if directive == "replace" => replace = true,
            Some(directive) if directive == "merge" => return Err(Error::MergeDirectiveInList),
            Some(other) => return Err(unknown(other, item)),
        }
    }
    if replace {
        let before = positions(&added, Some(key))?;
        return in_order(added, &[], &before, Some(key));
    }
    if !deleted.is_empty() {
        live.retain(|item| identity(item, Some(key)).map_or(true, |id| !deleted.contains(&id)));
    }
    let before = positions(&live, Some(key));
    let mut places: HashMap<String, usize> = HashMap::new();
    for (place, item) in live.iter().enumerate() {
        if let Ok(id) = identity(item, Some(key)) {
            places.entry(id).or_insert(place);
        }
    }
    for item in &added {
        let id = identity(item, Some(key))?;
        match (places.get(&id).copied(), item) {
            (Some(place), Value::Object(patch)) => {
                if let Value::Object(target) = &mut live[place] {
                    merge_map(items, target, patch)?;
                }
            }
            _ => {
                places.insert(id, live.len());
                live.push(item.clone());
            }
        }
    }
    in_order(live, &added, &before?, Some(key))
}

/// Puts `items` in order: those that `order` names follow it, the others keep the order that they had before; where the two
/// meet, an item goes first that stood first then.
fn in_order(
    items: Vec<Value>,
    order: &[Value],
    before: &HashMap<String, usize>,
    key: Option<&str>,
) -> Result<Vec<Value>, Error> {
    if key.is_some() && !items.is_empty() {
        if let Some(at) = order.iter().position(|item| !item.is_object()) {
            return Err(Error::NotAMap(at));
        }
        items.iter().try_for_each(|item| identity(item, key).map(drop))?;
    }
    let wanted = positions(order, key)?;
    let place =
        |map: &HashMap<String, usize>, item: &Value| identity(item, key).ok().and_then(|id| map.get(&id).copied());
    let (mut listed, mut others): (Vec<_>, Vec<_>) = items.into_iter().partition(|item| place(&wanted, item).is_some());
    listed.sort_by_key(|item| place(&wanted, item));
    others.sort_by_key(|item| place(before, item).unwrap_or(usize::MAX));

    let mut result = Vec::with_capacity(listed.len() + others.len());
    let (mut listed, mut others) = (listed.into_iter().peekable(), others.into_iter().peekable());
    loop {
        let other_first = match (others.peek(), listed.peek()) {
            (None, None) => return Ok(result),
            (Some(_), None) => true,
            (None, Some(_)) => false,
            (Some(other), Some(item)) => {
                matches!((place(before, other), place(before, item)), (Some(a), Some(b)) if a < b)
            }
        };
        result.extend(if other_first { others.next() } else { listed.next() });
    }
}

/// Where each item first stands.
fn positions(list: &[Value], key: Option<&str>) -> Result<HashMap<String, usize>, Error> {
    let mut positions = HashMap::new();
    for (place, item) in list.iter().enumerate() {
        positions.entry(identity(item, key)?).or_insert(place);
    }
    Ok(positions)
}

/// What tells an item of a merging list from the others: the value of its key, or the scalar itself.
fn identity(item: &Value, key: Option<&str>) -> Result<String, Error> {
    match (key, item) {
        (None, item) => Ok(item.to_string()),
        (Some(key), Value::Object(map)) => match map.get(key) {
            Some(value) => Ok(value.to_string()),
            None => Err(Error::NoMergeKey { item: go(item), key: key.into() }),
        },
        (Some(_), other) => Err(Error::Type { expected: MAP, received: go_type(other) }),
    }
}
