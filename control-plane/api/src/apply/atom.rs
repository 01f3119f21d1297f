//! What a place is to the algebra of fields: a leaf, a struct, a map, or a list whose items have keys. The one place that
//! reads [`crate::schema`] for it; the walks go by what it says.

use super::path::Element;
use crate::schema::{Merge, Schema, Shape, Unknown};
use serde_json::{Map, Value};

/// How a value at a place is taken apart.
#[derive(Clone, Copy, Debug)]
pub(super) enum Atom<'s> {
    /// A scalar, or what is owned as a whole.
    Leaf,
    Map(Fields<'s>),
    List(Items<'s>),
}

/// The fields of an object that is not owned as a whole.
#[derive(Clone, Copy, Debug)]
pub(super) enum Fields<'s> {
    /// Named fields, and whether others may stand beside them.
    Struct(&'s crate::schema::Object),
    /// Keys that are data.
    Map(&'s Schema),
    /// No schema at all.
    Deduced,
}

/// A field's schema, as far as there is one.
#[derive(Clone, Copy, Debug)]
pub(super) enum Field<'s> {
    /// Named by the schema.
    Named(&'s Schema),
    /// A key of a map, or a field that no schema names.
    Data(Option<&'s Schema>),
    Undeclared,
}

impl<'s> Field<'s> {
    pub(super) fn schema(self) -> Option<&'s Schema> {
        match self {
            Self::Named(schema) => Some(schema),
            Self::Data(schema) => schema,
            Self::Undeclared => None,
        }
    }
}

impl<'s> Fields<'s> {
    pub(super) fn field(self, name: &str) -> Field<'s> {
        match self {
            Self::Struct(object) => match object.field(name) {
                Some(schema) => Field::Named(schema),
                None if object.unknown == Unknown::Keep => Field::Data(None),
                None => Field::Undeclared,
            },
            Self::Map(values) => Field::Data(Some(values)),
            Self::Deduced => Field::Data(None),
        }
    }
}

/// A list whose items are told apart.
#[derive(Clone, Copy, Debug)]
pub(super) struct Items<'s> {
    pub schema: &'s Schema,
    /// The key fields; none for a set of scalars.
    keys: Option<&'s [String]>,
}

/// What `value` is at a place with this schema. `None` as schema: anything may stand there; objects are then maps and
/// lists are owned as a whole.
pub(super) fn atom<'s>(schema: Option<&'s Schema>, value: Option<&Value>) -> Atom<'s> {
    let Some(schema) = schema else { return deduced(value) };
    let merge = schema.merge();
    if merge == Merge::Atomic {
        return Atom::Leaf;
    }
    match &schema.resolved().shape {
        Shape::Any => deduced(value),
        Shape::Object(object) if is_free(object) => Atom::Map(Fields::Deduced),
        Shape::Object(object) => Atom::Map(Fields::Struct(object)),
        Shape::Map(values) => Atom::Map(Fields::Map(values)),
        Shape::List(items) => match merge {
            Merge::Map(keys) => Atom::List(Items { schema: items, keys: Some(keys) }),
            Merge::Set => Atom::List(Items { schema: items, keys: None }),
            _ => Atom::Leaf,
        },
        _ => Atom::Leaf,
    }
}

/// An object without any properties takes whatever comes (`type: object` alone).
fn is_free(object: &crate::schema::Object) -> bool {
    object.fields().next().is_none()
}

fn deduced(value: Option<&Value>) -> Atom<'static> {
    match value {
        Some(Value::Object(_)) => Atom::Map(Fields::Deduced),
        _ => Atom::Leaf,
    }
}

impl Items<'_> {
    /// What tells `item` from the others.
    ///
    /// # Errors
    /// In `structured-merge-diff`'s words.
    pub(super) fn element(self, item: &Value) -> Result<Element, String> {
        match self.keys {
            None => self.set_element(item),
            Some(keys) => self.map_element(keys, item),
        }
    }

    /// Whether two items are told from all others by the same; no for what may only by default be the same.
    pub(super) fn same_key(self, a: &Value, b: &Value) -> bool {
        match self.keys {
            None => a == b,
            Some(keys) => keys.iter().all(|key| a.get(key).is_some_and(|value| b.get(key) == Some(value))),
        }
    }

    fn set_element(self, item: &Value) -> Result<Element, String> {
        match item {
            Value::Object(_) => Err("associative list without keys has an element that's a map type".into()),
            Value::Array(_) => Err("not supported: associative list with lists as elements".into()),
            Value::Null => Err("associative list without keys has an element that's an explicit null".into()),
            scalar => Ok(Element::Value(Box::new(scalar.clone()))),
        }
    }

    fn map_element(self, keys: &[String], item: &Value) -> Result<Element, String> {
        let map = match item {
            Value::Object(map) => map,
            Value::Null => return Err("associative list with keys may not have a null element".into()),
            _ => return Err("associative list with keys may not have non-map elements".into()),
        };
        // A key field that is absent, and has no default, is none of this item's key.
        let key = |name: &String| {
            Some((name.as_str().into(), map.get(name).cloned().or_else(|| default(self.schema, name))?))
        };
        let mut fields: Vec<(Box<str>, Value)> = keys.iter().filter_map(key).collect();
        if fields.is_empty() {
            let keys: Vec<String> = keys.iter().map(|key| crate::field::quoted(key)).collect();
            return Err(format!(
                "associative list with keys has an element that omits all key fields [{}] (and doesn't have default values for any key fields)",
                keys.join(" ")
            ));
        }
        fields.sort_by(|a, b| a.0.cmp(&b.0));
        Ok(Element::Key(fields.into()))
    }
}

/// What stands for an absent key field: the default of the schema; for a built-in kind else its type's zero value.
fn default(items: &Schema, key: &str) -> Option<Value> {
    let field = items.child(key)?;
    if let Some(rules) = &field.rules {
        return rules.default.as_deref().cloned();
    }
    if let Some(value) = field.facts.as_ref().and_then(|facts| facts.default.clone()) {
        return Some(value);
    }
    match field.resolved().shape {
        Shape::Text(_) => Some("".into()),
        Shape::Boolean => Some(false.into()),
        Shape::Int32 | Shape::Int64 | Shape::IntOrString => Some(0.into()),
        _ => None,
    }
}

/// The members of an object; none of what is no object.
pub(super) fn members(value: Option<&Value>) -> Option<&Map<String, Value>> {
    value.and_then(Value::as_object)
}

/// The items of a list; none of what is no list.
pub(super) fn items(value: Option<&Value>) -> &[Value] {
    value.and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

/// The fields of an object or map, whether or not it is owned as a whole.
pub(super) fn structure(schema: &Schema) -> Option<Fields<'_>> {
    match &schema.resolved().shape {
        Shape::Object(object) if is_free(object) => Some(Fields::Deduced),
        Shape::Object(object) => Some(Fields::Struct(object)),
        Shape::Map(values) => Some(Fields::Map(values)),
        _ => None,
    }
}
