//! Items that a set or a map has twice (`apiserver/schema/listtype`).

use super::MAX_ERRORS;
use crate::field::{Error, Path};
use crate::schema::{Merge, Schema, Shape};
use serde_json::{Map, Value};
use std::collections::HashMap;

/// What is there twice in an object. Where the object that it replaces had anything twice nothing is said.
pub(super) fn check(schema: &Schema, object: &Value, old: Option<&Value>, errors: &mut Vec<Error>) {
    let (root, mut found) = (Path::new(""), Vec::new());
    walk(schema, object, &root, &mut found);
    if found.is_empty() {
        return;
    }
    let mut before = Vec::new();
    if let Some(old) = old {
        walk(schema, old, &root, &mut before);
    }
    if before.is_empty() {
        errors.extend(found);
    }
}

/// What is there twice in a value at `at`.
pub(super) fn walk(schema: &Schema, value: &Value, at: &Path<'_>, errors: &mut Vec<Error>) {
    let keyed = schema.rules.as_deref().is_some_and(|rules| rules.has_keyed);
    if !keyed || errors.len() >= MAX_ERRORS {
        return;
    }
    match (&schema.shape, value) {
        (Shape::Object(object), Value::Object(map)) => {
            for (name, item) in map {
                if let Some(field) = object.field(name) {
                    walk(field, item, &at.child(name), errors);
                }
            }
        }
        (Shape::Map(values), Value::Object(map)) => {
            for (key, item) in map {
                walk(values, item, &at.key(key), errors);
            }
        }
        (Shape::List(items), Value::Array(list)) => {
            duplicates(schema, list, at, errors);
            for (index, item) in list.iter().enumerate() {
                walk(items, item, &at.index(index), errors);
            }
        }
        _ => {}
    }
}

fn duplicates(schema: &Schema, list: &[Value], at: &Path<'_>, errors: &mut Vec<Error>) {
    let merge = schema.merge();
    if let Merge::Map(_) = merge
        && let Some(odd) = list.iter().position(|item| !item.is_object() && !item.is_null())
    {
        let detail = "must be an object for an array of list-type map";
        errors.push(Error::invalid(&at.index(odd), list[odd].clone(), detail));
        return;
    }
    let key = |item: &Value| match merge {
        Merge::Map(keys) => {
            let pair = |key: &String| Some((key.clone(), item.get(key)?.clone()));
            Value::Object(keys.iter().filter_map(pair).collect::<Map<_, _>>())
        }
        _ => item.clone(),
    };
    if list.len() < 2 || !matches!(merge, Merge::Set | Merge::Map(_)) {
        return;
    }
    let mut seen: HashMap<String, usize> = HashMap::with_capacity(list.len());
    for (index, item) in list.iter().enumerate() {
        let key = key(item);
        let times = seen.entry(key.to_string()).or_default();
        *times += 1;
        // What is there more often is told once.
        if *times == 2 && errors.len() < MAX_ERRORS {
            errors.push(Error::duplicate(&at.index(index), key));
        }
    }
}
