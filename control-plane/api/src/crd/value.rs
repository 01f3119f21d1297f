//! Values against a CRD's schema, with the words of Kubernetes' validator (`kube-openapi/pkg/validation`).
//!
//! An update is judged by what it changes: what was there before, wrong or not, is let be (`CRDValidationRatcheting`).

mod embedded;
mod lists;
mod numbers;
mod programs;
#[cfg(test)]
mod tests;

pub use embedded::finalizer_warnings;

use super::checks::{Bound, BoundKind, Checks};
use super::rules::{Change, Judged, Told};
use crate::field::{Error, Path, Type};
use crate::schema::{Merge, NumberFormat, Rules, Schema, Shape};
use serde_json::{Number, Value};
use std::collections::HashMap;

/// Most errors that are told of one object.
const MAX_ERRORS: usize = 100;
/// Most allowed values that an error lists.
const MAX_TOLD: usize = 1_000;
/// What the rules of one object may cost altogether (`celconfig.RuntimeCELCostBudget`).
pub(super) const CEL_BUDGET: u64 = 10_000_000;

/// What is said of an object.
#[derive(Debug, Default)]
pub struct Verdict {
    pub errors: Vec<Error>,
    /// Rules in CEL that are broken by what an update left as it was.
    pub warnings: Vec<String>,
}

/// Everything wrong with an object. `old`: the object that it replaces.
#[must_use]
pub fn validate(schema: &Schema, object: &Value, old: Option<&Value>) -> Vec<Error> {
    judge(schema, object, old).errors
}

/// What is wrong with an object, and what is but may be. `old`: the object that it replaces.
#[must_use]
pub fn judge(schema: &Schema, object: &Value, old: Option<&Value>) -> Verdict {
    let mut errors = Vec::new();
    let root = Path::new("");
    node(schema, object, old, &root, &mut errors);
    let metadata = schema.rules.as_ref().and_then(|rules| rules.checks.as_ref()?.metadata.as_ref());
    if let (Some(metadata), Some(value)) = (metadata, object.get("metadata")) {
        node(metadata, value, old.and_then(|old| old.get("metadata")), &root.child("metadata"), &mut errors);
    }
    whole(schema, object, old, errors)
}

/// The same of an update of `status`: of the rest only what holds for the object as a whole is asked.
#[must_use]
pub fn judge_status(schema: &Schema, object: &Value, old: &Value) -> Verdict {
    let mut errors = Vec::new();
    if let (Some(below), Some(status)) = (schema.child("status"), object.get("status")) {
        // Kubernetes' messages name places as seen from the status.
        node(below, status, old.get("status"), &Path::new(""), &mut errors);
        for error in &mut errors {
            error.field = match error.field.as_str() {
                "" | NOWHERE => "status".to_owned(),
                below => format!("status.{below}"),
            };
        }
    }
    whole(schema, object, Some(old), errors)
}

/// What is asked of the object as a whole: embedded objects, lists that are sets or maps, rules in CEL.
fn whole(schema: &Schema, object: &Value, old: Option<&Value>, mut errors: Vec<Error>) -> Verdict {
    let root = Path::new("");
    let Some(rules) = schema.rules.as_deref() else { return Verdict { errors, warnings: Vec::new() } };
    if rules.has_embedded {
        embedded::check(schema, object, &root, &mut errors);
    }
    if rules.has_keyed {
        lists::check(schema, object, old, &mut errors);
    }
    let mut told = Told { errors, warnings: Vec::new() };
    if rules.has_programs {
        if told.errors.iter().any(is_blocking) {
            let detail = "some validation rules were not checked because the object was invalid; correct the existing errors to complete validation";
            told.errors.push(Error { field: NOWHERE.into(), ..Error::invalid(&root, Value::Null, detail) });
        } else {
            let mut budget = CEL_BUDGET;
            let judged = Judged { this: object, old, change: Change::Root };
            // Whether the budget was used up is among the errors.
            let _ = programs::walk(schema, judged, &root, &mut budget, &mut told);
        }
    }
    Verdict { errors: told.errors, warnings: told.warnings }
}

/// Errors after which a rule could meet values of types that it was not made for.
fn is_blocking(error: &Error) -> bool {
    matches!(error.kind, Type::Required | Type::TooLong | Type::TooMany | Type::NotSupported | Type::TypeInvalid)
}

/// How Kubernetes prints the path of an error that has none.
pub(super) const NOWHERE: &str = "<nil>";

fn node(schema: &Schema, value: &Value, old: Option<&Value>, at: &Path<'_>, errors: &mut Vec<Error>) {
    let Some(rules) = schema.rules.as_deref() else { return };
    if errors.len() >= MAX_ERRORS || old == Some(value) {
        return;
    }
    if value.is_null() {
        if !rules.nullable
            && let Some(wanted) = type_name(schema, rules)
        {
            errors.push(wrong_type(at, wanted, "null"));
        }
        if let Some(checks) = &rules.checks {
            // That `null` is among them helps nothing, in Kubernetes either.
            enumerated(checks, value, at, errors);
        }
        return;
    }
    numbers::range(schema, rules, value, at, errors);
    if let Some(wanted) = type_name(schema, rules)
        && !fits(schema, value)
    {
        let (wanted, found) = match rules.number {
            NumberFormat::Int64 if value.is_f64() => ("int64", "float64"),
            _ if value.is_f64() && matches!(schema.shape, Shape::Int32) => ("int32", "float64"),
            // A text of a format is asked for by that.
            _ if !value.is_array() => match rules.checks.as_ref().and_then(|checks| checks.format) {
                Some(format) if wanted == "string" => (format.name(), go_format(value)),
                _ => (wanted, json_type(value)),
            },
            _ => (wanted, json_type(value)),
        };
        errors.push(wrong_type(at, wanted, found));
    }
    structure(schema, rules, value, old, at, errors);
    if let Some(checks) = &rules.checks {
        scalar(checks, value, at, errors);
        sizes(checks, value, at, errors);
        junctors(checks, value, at, errors);
    }
}

/// The fields, entries or items of a value.
fn structure(
    schema: &Schema,
    rules: &Rules,
    value: &Value,
    old: Option<&Value>,
    at: &Path<'_>,
    errors: &mut Vec<Error>,
) {
    match (&schema.shape, value) {
        (Shape::Object(object), Value::Object(map)) => {
            required(rules, value, at, errors);
            for (name, item) in map {
                if let Some(field) = object.field(name) {
                    node(field, item, old.and_then(|old| old.get(name)), &at.child(name), errors);
                }
            }
        }
        (Shape::Map(values), Value::Object(map)) => {
            required(rules, value, at, errors);
            for (key, item) in map {
                node(values, item, old.and_then(|old| old.get(key)), &at.child(key), errors);
            }
        }
        (_, Value::Object(_)) => required(rules, value, at, errors),
        (Shape::List(items), Value::Array(list)) => {
            let before = Before::of(schema, old);
            for (index, item) in list.iter().enumerate() {
                node(items, item, before.find(schema, item), &at.index(index), errors);
            }
        }
        _ => {}
    }
}

fn required(rules: &Rules, value: &Value, at: &Path<'_>, errors: &mut Vec<Error>) {
    for name in rules.required.iter().filter(|name| value.get(&***name).is_none()) {
        errors.push(Error::required(&at.child(name), ""));
    }
}

/// The items of a list before the update, where the list is a map.
enum Before<'o> {
    Few(&'o [Value]),
    Many(HashMap<Vec<String>, &'o Value>),
}

/// Up to so many items it takes less to look at all than to sort them.
const FEW: usize = 16;

fn keys_of(item: &Value, keys: &[String]) -> Vec<String> {
    keys.iter().map(|key| item.get(key).map(Value::to_string).unwrap_or_default()).collect()
}

impl<'o> Before<'o> {
    fn of(schema: &Schema, old: Option<&'o Value>) -> Self {
        let (Merge::Map(keys), Some(list)) = (schema.merge(), old.and_then(Value::as_array)) else {
            return Self::Few(&[]);
        };
        if list.len() <= FEW {
            return Self::Few(list);
        }
        let mut items = HashMap::with_capacity(list.len());
        for item in list {
            items.entry(keys_of(item, keys)).or_insert(item);
        }
        Self::Many(items)
    }

    /// The one with the keys of `item`.
    fn find(&self, schema: &Schema, item: &Value) -> Option<&'o Value> {
        let Merge::Map(keys) = schema.merge() else { return None };
        match self {
            Self::Few(list) => list.iter().find(|other| keys.iter().all(|key| other.get(key) == item.get(key))),
            Self::Many(items) => items.get(&keys_of(item, keys)).copied(),
        }
    }
}

/// The type that a node asks for, as the message names it.
fn type_name(schema: &Schema, rules: &Rules) -> Option<&'static str> {
    match schema.shape {
        Shape::IntOrString => Some("integer,string"),
        _ if !rules.typed => None,
        Shape::Text(_) => Some("string"),
        Shape::Boolean => Some("boolean"),
        Shape::Int32 | Shape::Int64 => Some("integer"),
        Shape::Number => Some("number"),
        Shape::Object(_) | Shape::Map(_) => Some("object"),
        Shape::List(_) => Some("array"),
        Shape::Any | Shape::Quantity | Shape::Named(_) | Shape::Either(_) => None,
    }
}

fn fits(schema: &Schema, value: &Value) -> bool {
    match (&schema.shape, value) {
        (Shape::IntOrString, Value::String(_))
        | (Shape::Text(_), Value::String(_))
        | (Shape::Boolean, Value::Bool(_))
        | (Shape::Number, Value::Number(_))
        | (Shape::Object(_) | Shape::Map(_), Value::Object(_))
        | (Shape::List(_), Value::Array(_)) => true,
        (Shape::IntOrString | Shape::Int32 | Shape::Int64, Value::Number(number)) => is_whole(number),
        (Shape::Any | Shape::Quantity | Shape::Named(_) | Shape::Either(_), _) => true,
        _ => false,
    }
}

fn is_whole(number: &Number) -> bool {
    number.is_i64() || number.is_u64() || number.as_f64().is_some_and(|n| n.fract() == 0.0 && n.abs() < 9.0e18)
}

fn json_type(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(number) if is_whole(number) => "integer",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

/// The format that kube-openapi takes a value to be of.
fn go_format(value: &Value) -> &'static str {
    match value {
        Value::Number(number) if number.is_f64() => "float64",
        Value::Number(_) => "int64",
        _ => "",
    }
}

fn wrong_type(at: &Path<'_>, wanted: &str, found: &str) -> Error {
    let detail = format!("{at} in body must be of type {wanted}: {found:?}");
    Error { kind: Type::TypeInvalid, ..Error::invalid(at, found, detail) }
}

fn scalar(checks: &Checks, value: &Value, at: &Path<'_>, errors: &mut Vec<Error>) {
    let mut bad = |what: String| errors.push(Error::invalid(at, value.clone(), format!("{at} in body {what}")));
    match value {
        Value::Number(number) => {
            if let Some(bound) = &checks.maximum
                && exceeds(number, bound)
            {
                let or = if bound.kind == BoundKind::Exclusive { "" } else { " or equal to" };
                bad(format!("should be less than{or} {}", bound.limit));
            }
            if let Some(bound) = &checks.minimum
                && falls_below(number, bound)
            {
                let or = if bound.kind == BoundKind::Exclusive { "" } else { " or equal to" };
                bad(format!("should be greater than{or} {}", bound.limit));
            }
            if let Some(factor) = &checks.multiple_of {
                errors.extend(numbers::multiple(number, factor, at));
            }
        }
        Value::String(text) => {
            if let Some(least) = checks.min_length
                && characters(text, least) < least
            {
                bad(format!("should be at least {least} chars long"));
            }
            if let Some(pattern) = &checks.pattern
                && !pattern.matches(text)
            {
                bad(format!("should match '{}'", pattern.text));
            }
            if let Some(most) = checks.max_length
                && characters(text, most + 1) > most
            {
                errors.push(Error::too_long(at, usize::try_from(most).unwrap_or(usize::MAX)));
            }
            if let Some(format) = checks.format
                && !format.accepts(text)
            {
                let detail = format!("{at} in body must be of type {}: {text:?}", format.name());
                errors.push(Error { kind: Type::TypeInvalid, ..Error::invalid(at, text.as_str(), detail) });
            }
        }
        _ => {}
    }
    enumerated(checks, value, at, errors);
}

fn enumerated(checks: &Checks, value: &Value, at: &Path<'_>, errors: &mut Vec<Error>) {
    let is_one = !value.is_null() && checks.allowed.iter().any(|allowed| same(allowed, value));
    if !checks.allowed.is_empty() && !is_one {
        let texts: Vec<String> = checks
            .allowed
            .iter()
            .take(MAX_TOLD)
            .map(|v| v.as_str().map_or_else(|| v.to_string(), Into::into))
            .collect();
        let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
        errors.push(Error::not_supported(at, value.clone(), &texts));
    }
}

/// Characters of a text, counted up to `enough`.
fn characters(text: &str, enough: u64) -> u64 {
    text.chars().take(usize::try_from(enough).unwrap_or(usize::MAX)).count() as u64
}

/// Equality of values where `1` and `1.0` are the same.
fn same(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Number(a), Value::Number(b)) => compare(a, b) == std::cmp::Ordering::Equal,
        _ => a == b,
    }
}

fn compare(a: &Number, b: &Number) -> std::cmp::Ordering {
    match (a.as_i64(), b.as_i64()) {
        (Some(a), Some(b)) => a.cmp(&b),
        _ => {
            let (a, b) = (a.as_f64().unwrap_or_default(), b.as_f64().unwrap_or_default());
            a.partial_cmp(&b).unwrap_or(std::cmp::Ordering::Equal)
        }
    }
}

fn exceeds(number: &Number, bound: &Bound) -> bool {
    let order = compare(number, &bound.limit);
    order.is_gt() || bound.kind == BoundKind::Exclusive && order.is_eq()
}

fn falls_below(number: &Number, bound: &Bound) -> bool {
    let order = compare(number, &bound.limit);
    order.is_lt() || bound.kind == BoundKind::Exclusive && order.is_eq()
}

fn sizes(checks: &Checks, value: &Value, at: &Path<'_>, errors: &mut Vec<Error>) {
    let limit = |limit: u64| usize::try_from(limit).unwrap_or(usize::MAX);
    let few = |least: u64, size: u64, what: &str| {
        Error::invalid(at, size, format!("{at} in body should have at least {least} {what}"))
    };
    match value {
        Value::Array(list) => {
            let size = list.len() as u64;
            if let Some(most) = checks.max_items.filter(|most| size > *most) {
                errors.push(Error::too_many(at, list.len(), limit(most)));
            }
            if let Some(least) = checks.min_items.filter(|least| size < *least) {
                errors.push(few(least, size, "items"));
            }
        }
        Value::Object(map) => {
            let size = map.len() as u64;
            if let Some(most) = checks.max_properties.filter(|most| size > *most) {
                errors.push(Error::too_many(at, map.len(), limit(most)));
            }
            if let Some(least) = checks.min_properties.filter(|least| size < *least) {
                errors.push(few(least, size, "properties"));
            }
        }
        _ => {}
    }
}

fn judged(schema: &Schema, value: &Value, at: &Path<'_>) -> Vec<Error> {
    let mut errors = Vec::new();
    node(schema, value, None, at, &mut errors);
    errors
}

/// `allOf`, `anyOf`, `oneOf` and `not`. Kubernetes tells of them without a path.
fn junctors(checks: &Checks, value: &Value, at: &Path<'_>, errors: &mut Vec<Error>) {
    let place = at.to_string();
    let nowhere =
        |what: String| Error { field: NOWHERE.into(), ..Error::invalid(at, "", format!("{place:?} must {what}")) };
    let alternatives =
        |schemas: &[Schema]| -> Vec<Vec<Error>> { schemas.iter().map(|s| judged(s, value, at)).collect() };
    // The one that looked at most is told of, the first of several.
    let closest = |schemas: &[Schema], failures: Vec<Vec<Error>>| {
        let mut best: Option<(usize, Vec<Error>)> = None;
        for (schema, failures) in schemas.iter().zip(failures) {
            let looks = looked_at(schema, value);
            if best.as_ref().is_none_or(|(most, _)| looks > *most) {
                best = Some((looks, failures));
            }
        }
        best.map(|(_, failures)| failures).unwrap_or_default()
    };
    if !checks.any_of.is_empty() {
        let found = alternatives(&checks.any_of);
        if found.iter().all(|failures| !failures.is_empty()) {
            errors.push(nowhere("validate at least one schema (anyOf)".into()));
            errors.extend(closest(&checks.any_of, found));
        }
    }
    if !checks.one_of.is_empty() {
        let found = alternatives(&checks.one_of);
        match found.iter().filter(|failures| failures.is_empty()).count() {
            1 => {}
            0 => {
                errors.push(nowhere("validate one and only one schema (oneOf). Found none valid".into()));
                errors.extend(closest(&checks.one_of, found));
            }
            count => errors
                .push(nowhere(format!("validate one and only one schema (oneOf). Found {count} valid alternatives"))),
        }
    }
    if !checks.all_of.is_empty() {
        let found = alternatives(&checks.all_of);
        let (valid, count) = (found.iter().filter(|failures| failures.is_empty()).count(), found.len());
        errors.extend(found.into_iter().flatten());
        if valid < count {
            let none = if valid == 0 { ". None validated" } else { "" };
            errors.push(nowhere(format!("validate all the schemas (allOf){none}")));
        }
    }
    if let Some(not) = &checks.not
        && judged(not, value, at).is_empty()
    {
        errors.push(nowhere("not validate the schema (not)".into()));
    }
    errors.truncate(MAX_ERRORS);
}

/// How many values a schema looks at.
fn looked_at(schema: &Schema, value: &Value) -> usize {
    let below: usize = match (&schema.shape, value) {
        (Shape::Object(object), Value::Object(map)) => {
            map.iter().filter_map(|(name, item)| Some(looked_at(object.field(name)?, item))).sum()
        }
        (Shape::Map(values), Value::Object(map)) => map.values().map(|item| looked_at(values, item)).sum(),
        (Shape::List(items), Value::Array(list)) => list.iter().map(|item| looked_at(items, item)).sum(),
        _ => 0,
    };
    below + 1
}

/// Everything wrong with a value that stands at `at`, rules in CEL apart: a schema's default.
pub(super) fn validate_part(schema: &Schema, value: &Value, at: &Path<'_>) -> Vec<Error> {
    let mut errors = Vec::new();
    node(schema, value, None, at, &mut errors);
    embedded::check(schema, value, at, &mut errors);
    lists::walk(schema, value, at, &mut errors);
    errors
}

/// What the rules in CEL say of a value that stands at `at`: a schema's default.
pub(super) fn validate_rules(schema: &Schema, value: &Value, at: &Path<'_>, budget: &mut u64) -> Vec<Error> {
    let mut told = Told::default();
    let judged = Judged { this: value, old: None, change: Change::Changed };
    // Whether the budget was used up is among the errors.
    let _ = programs::walk(schema, judged, at, budget, &mut told);
    told.errors
}
