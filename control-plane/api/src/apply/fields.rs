//! The fields that an applied configuration mentions (`typed.ToFieldSet`), and what is wrong with it as an object of its
//! kind, in `structured-merge-diff`'s words.

use super::atom::{self, Atom, Field, Fields, Items};
use super::compare::Keyed;
use super::path::Element;
use super::set::{Node, Set};
use crate::schema::{Schema, Shape};
use serde_json::{Map, Value};
use std::collections::BTreeSet;
use std::fmt::Write as _;

/// Every leaf and every item of `object`.
#[must_use]
pub fn fields_of(schema: Option<&Schema>, object: &Value) -> Set {
    below(schema, object).children
}

/// What is owned at a place.
#[derive(Default)]
struct Owned {
    /// Whether the place itself is.
    own: bool,
    children: Set,
}

fn below(schema: Option<&Schema>, value: &Value) -> Owned {
    match atom::atom(schema, Some(value)) {
        Atom::Leaf => Owned { own: true, children: Set::default() },
        Atom::Map(fields) => {
            let nodes = atom::members(Some(value)).into_iter().flatten().map(|(name, value)| {
                let field = fields.field(name);
                let owned = below(field.schema(), value);
                let bare = value.is_null() || value.as_object().is_some_and(Map::is_empty);
                let data = !matches!(field, Field::Named(_));
                Node { element: Element::field(name), member: owned.own || bare || data, children: owned.children }
            });
            Owned { own: false, children: Set::of(nodes.collect()) }
        }
        Atom::List(items) => {
            let keyed = Keyed::of(items, atom::items(Some(value)));
            let nodes = keyed.groups().filter_map(|group| {
                let (key, value) = group.first()?;
                // Items that cannot be told apart are owned as a whole.
                let children = if group.len() > 1 { Set::default() } else { below(Some(items.schema), value).children };
                Some(Node { element: key.clone(), member: true, children })
            });
            Owned { own: false, children: Set::of(nodes.collect()) }
        }
    }
}

/// What keeps `object` from being one of this schema, each with its path; empty when nothing does.
#[must_use]
pub fn validate(schema: Option<&Schema>, object: &Value) -> Vec<String> {
    let mut check = Check { path: Vec::new(), errors: Vec::new() };
    check.value(schema, object);
    check.errors
}

/// Most errors that are listed.
const MAX_ERRORS: usize = 100;

struct Check {
    path: Vec<Element>,
    errors: Vec<String>,
}

impl Check {
    fn error(&mut self, what: impl AsRef<str>) {
        if self.errors.len() < MAX_ERRORS {
            let mut text: String = self.path.iter().map(ToString::to_string).collect();
            if !text.is_empty() {
                text.push_str(": ");
            }
            text.push_str(what.as_ref());
            self.errors.push(text);
        }
    }

    fn at(&mut self, element: Element, check: impl FnOnce(&mut Self)) {
        self.path.push(element);
        check(self);
        self.path.pop();
    }

    fn value(&mut self, schema: Option<&Schema>, value: &Value) {
        if value.is_null() {
            return;
        }
        let Some(schema) = schema else { return };
        match &schema.resolved().shape {
            Shape::Object(_) | Shape::Map(_) => match (value, atom::structure(schema)) {
                (Value::Object(map), Some(fields)) => self.fields(fields, map),
                _ => self.error(format!("expected map, got &{{{}}}", go(value))),
            },
            Shape::List(items) => match (value, atom::atom(Some(schema), Some(value))) {
                (Value::Array(list), Atom::List(items)) => self.items(items, list),
                (Value::Array(list), _) => {
                    for (index, item) in list.iter().enumerate() {
                        let index = Element::Index(i64::try_from(index).unwrap_or(i64::MAX));
                        self.at(index, |check| check.value(Some(items), item));
                    }
                }
                _ => self.error(format!("expected list, got &{{{}}}", go(value))),
            },
            shape => self.scalar(shape, value),
        }
    }

    fn scalar(&mut self, shape: &Shape, value: &Value) {
        match (shape, value) {
            (Shape::Text(_), Value::String(_))
            | (Shape::Boolean, Value::Bool(_))
            | (Shape::Int32 | Shape::Int64 | Shape::Number, Value::Number(_))
            | (Shape::IntOrString | Shape::Quantity, Value::String(_) | Value::Number(_)) => {}
            (Shape::Text(_), other) => {
                self.error(format!("expected string, got &value.valueUnstructured{{Value:{}}}", go_syntax(other)));
            }
            (Shape::Boolean, other) => self.error(format!("expected boolean, got &{{{}}}", go(other))),
            (Shape::Int32 | Shape::Int64 | Shape::Number, other) => {
                self.error(format!("expected numeric (int or float), got {}", go_type(other)));
            }
            (Shape::IntOrString | Shape::Quantity, other) => {
                self.error(format!("expected any scalar, got &{{{}}}", go(other)));
            }
            _ => {}
        }
    }

    fn fields(&mut self, fields: Fields<'_>, map: &Map<String, Value>) {
        for (name, value) in map {
            let field = fields.field(name);
            self.at(Element::field(name), |check| match field {
                Field::Undeclared => check.error("field not declared in schema"),
                Field::Named(schema) | Field::Data(Some(schema)) => check.value(Some(schema), value),
                Field::Data(None) => {}
            });
            if matches!(field, Field::Undeclared) {
                return;
            }
        }
    }

    fn items(&mut self, items: Items<'_>, list: &[Value]) {
        let mut seen: BTreeSet<Element> = BTreeSet::new();
        for (index, item) in list.iter().enumerate() {
            match items.element(item) {
                Ok(key) => {
                    if seen.contains(&key) {
                        self.error(format!("duplicate entries for key {key}"));
                    }
                    self.at(key.clone(), |check| check.value(Some(items.schema), item));
                    seen.insert(key);
                }
                // What is wrong behind an item without a key is not looked for.
                Err(why) => return self.error(format!("element {index}: {why}")),
            }
        }
    }
}

/// `%T`.
fn go_type(value: &Value) -> &'static str {
    match value {
        Value::Null => "<nil>",
        Value::Bool(_) => "bool",
        Value::Number(number) if number.is_f64() => "float64",
        Value::Number(_) => "int64",
        Value::String(_) => "string",
        Value::Array(_) => "[]interface {}",
        Value::Object(_) => "map[string]interface {}",
    }
}

/// `%#v`, for what is not text.
fn go_syntax(value: &Value) -> String {
    match value {
        Value::Array(list) => {
            let items: Vec<String> = list.iter().map(go_syntax).collect();
            format!("[]interface {{}}{{{}}}", items.join(", "))
        }
        Value::Object(map) => {
            let items: Vec<String> =
                map.iter().map(|(k, v)| format!("{}:{}", crate::field::quoted(k), go_syntax(v))).collect();
            format!("map[string]interface {{}}{{{}}}", items.join(", "))
        }
        Value::String(text) => crate::field::quoted(text),
        Value::Null => "interface {}(nil)".into(),
        other => other.to_string(),
    }
}

/// Go's `%v`.
pub(crate) fn go(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Null => "<nil>".into(),
        Value::Array(list) => {
            let items: Vec<String> = list.iter().map(go).collect();
            format!("[{}]", items.join(" "))
        }
        Value::Object(map) => {
            let mut text = String::from("map[");
            for (position, (key, value)) in map.iter().enumerate() {
                let _ = write!(text, "{}{key}:{}", if position > 0 { " " } else { "" }, go(value));
            }
            text.push(']');
            text
        }
        other => other.to_string(),
    }
}
