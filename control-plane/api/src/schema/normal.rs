//! The form that an object of a built-in kind has after a way through Kubernetes' Go types: what is empty left out where the
//! type says `omitempty`, zeros written where it does not, quantities and times in one spelling. Custom kinds, which have no
//! Go types, lose unknown fields and nulls alone. Knows nothing of defaults: they come after.

use super::{Format, Object, Schema, Shape, Unknown};
use crate::quantity;
use crate::time::{Moment, Precision};
use serde_json::{Map, Value};
use std::borrow::Cow;
use std::sync::LazyLock;

/// What Go's encoder makes of a field without a value, and of one with a zero.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Zero {
    /// A pointer, or no Go field at all: every value but null is shown, a zero, too.
    #[default]
    Kept,
    /// No pointer, with `omitempty`: a zero is left out.
    Omitted,
    /// No pointer, without `omitempty`, or a struct: always there.
    Shown,
    /// A pointer without `omitempty`: always there, null for none.
    ShownNull,
}

impl Zero {
    /// Whether the field is there in every object.
    #[must_use]
    pub const fn is_shown(self) -> bool {
        matches!(self, Self::Shown | Self::ShownNull)
    }
}

/// Leaves what a way through Go structs and back would leave: no unknown fields, no nulls in place of fields (in place of
/// items and map values they become the zero value), nothing that `omitempty` leaves out, everything that is always
/// written, quantities and times in their canonical form. A CRD's nulls stay where it says `nullable`. Idempotent.
pub fn prune(schema: &Schema, value: &mut Value) {
    match (&schema.resolved().shape, value) {
        (Shape::Object(object), Value::Object(map)) => fields(object, map),
        (Shape::Map(values), Value::Object(map)) if matches!(values.resolved().shape, Shape::Quantity) => {
            map.values_mut().for_each(|amount| {
                prune_item(values, amount);
                rewrite_quantity(amount, quantity::written_in_list);
            });
        }
        (Shape::Map(values), Value::Object(map)) => {
            if values.rules.is_some() {
                map.retain(|_, item| !item.is_null() || keeps_null(values) || defaulted(values, item));
            }
            map.values_mut().for_each(|item| prune_item(values, item));
        }
        (Shape::List(items), Value::Array(list)) => list.iter_mut().for_each(|item| prune_item(items, item)),
        (Shape::Either(definition), value) if value.is_object() => prune(definition.schema(), value),
        (Shape::Either(definition), value) if value.is_array() => either_list(definition.schema(), value),
        (Shape::Quantity, value) => rewrite_quantity(value, quantity::written),
        (Shape::Text(Format::Time), value) => rewrite_time(value, Precision::Seconds),
        (Shape::Text(Format::MicroTime), value) => rewrite_time(value, Precision::Micros),
        _ => {}
    }
}

/// `JSONSchemaPropsOrArray` with a list, which is nothing when it is empty.
fn either_list(schema: &Schema, value: &mut Value) {
    match value {
        Value::Array(list) if !list.is_empty() => list.iter_mut().for_each(|item| prune_item(schema, item)),
        _ => *value = Value::Null,
    }
}

fn fields(object: &Object, map: &mut Map<String, Value>) {
    let mut shown = 0;
    map.retain(|name, item| match object.field(name) {
        Some(field) => {
            let stays = prune_field(field, item);
            shown += usize::from(stays && field.zero.is_shown());
            stays
        }
        None => object.unknown == Unknown::Keep,
    });
    if shown < object.shown {
        for (name, field) in object.fields().filter(|(_, field)| field.zero.is_shown()) {
            if !map.contains_key(name) {
                map.insert(name.into(), zero_field(field));
            }
        }
    }
}

/// Whether the field stays.
fn prune_field(field: &Schema, item: &mut Value) -> bool {
    if item.is_null() {
        match field.zero {
            Zero::Kept => return keeps_null(field),
            Zero::Omitted => return false,
            Zero::Shown => *item = zero(field),
            Zero::ShownNull => {}
        }
        return true;
    }
    prune(field, item);
    match field.zero {
        Zero::Omitted => !is_zero(item),
        Zero::Shown => {
            // What is stored as protobuf does not tell an empty list or map from none.
            if matches!(field.shape, Shape::List(_) | Shape::Map(_)) && is_zero(item) {
                *item = Value::Null;
            }
            true
        }
        // A pointer to a time that is none, or to an empty list that is: Go shows null, once.
        Zero::Kept => !item.is_null(),
        Zero::ShownNull => true,
    }
}

fn is_zero(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Bool(value) => !value,
        Value::Number(number) => number.as_i64() == Some(0),
        Value::String(text) => text.is_empty(),
        Value::Array(list) => list.is_empty(),
        Value::Object(map) => map.is_empty(),
    }
}

fn rewrite_quantity(value: &mut Value, written: fn(&Value) -> Option<Cow<'_, str>>) {
    if let Some(text) = written(value)
        && value.as_str() != Some(&text)
    {
        *value = Value::String(text.into_owned());
    }
}

/// Go's zero time is none.
fn rewrite_time(value: &mut Value, precision: Precision) {
    if let Value::String(text) = value
        && let Ok(moment) = Moment::parse(text, precision)
    {
        *value = moment.text(precision).map_or(Value::Null, Value::String);
    }
}

fn prune_item(schema: &Schema, item: &mut Value) {
    if item.is_null() && schema.rules.is_none() {
        // So protobuf has it, in which no item is none.
        *item = match &schema.shape {
            Shape::List(_) => Value::Array(Vec::new()),
            Shape::Text(Format::Byte) => "".into(),
            _ => zero(schema),
        };
    } else {
        prune(schema, item);
    }
}

/// A null stays where a CRD says `nullable`, and only there (`PruneNonNullableNullsWithoutDefaults`); with a default it goes,
/// so that the default comes. Items of lists are no fields: their nulls are for validation to judge.
fn keeps_null(field: &Schema) -> bool {
    field.rules.as_ref().is_some_and(|rules| rules.nullable)
}

/// Gives a map's null the default of the map's values. Whether they have one.
fn defaulted(values: &Schema, item: &mut Value) -> bool {
    let default = values.rules.as_ref().and_then(|rules| rules.default.as_deref());
    default.is_some_and(|default| {
        item.clone_from(default);
        true
    })
}

/// The value of a field that is always there and is not set.
fn zero_field(field: &Schema) -> Value {
    if field.zero == Zero::ShownNull { Value::Null } else { zero(field) }
}

/// The zero of a Go type as Go writes it.
fn zero(schema: &Schema) -> Value {
    match &schema.resolved().shape {
        Shape::Object(object) => {
            let mut map = Map::new();
            fields(object, &mut map);
            Value::Object(map)
        }
        shape => scalar_zero(shape).clone(),
    }
}

/// The same for what is no struct.
fn scalar_zero(shape: &Shape) -> &'static Value {
    static TEXT: Value = Value::String(String::new());
    static NUMBER: LazyLock<Value> = LazyLock::new(|| 0.into());
    static FLOAT: LazyLock<Value> = LazyLock::new(|| 0.0.into());
    static QUANTITY: LazyLock<Value> = LazyLock::new(|| "0".into());
    match shape {
        Shape::Text(Format::Plain) => &TEXT,
        Shape::Boolean => &Value::Bool(false),
        Shape::Int32 | Shape::Int64 | Shape::IntOrString => &NUMBER,
        Shape::Number => &FLOAT,
        Shape::Quantity => &QUANTITY,
        _ => &Value::Null,
    }
}

impl Schema {
    /// What Go has in place of this field of a struct when nothing is set; `None` where it has nothing.
    pub(crate) fn shown_zero(&self) -> Option<&'static Value> {
        static EMPTY: LazyLock<Value> = LazyLock::new(|| Value::Object(Map::new()));
        match (self.zero, &self.resolved().shape) {
            (Zero::Kept | Zero::Omitted, _) => None,
            (Zero::ShownNull, _) => Some(&Value::Null),
            (Zero::Shown, Shape::Object(_)) => Some(&EMPTY),
            (Zero::Shown, shape) => Some(scalar_zero(shape)),
        }
    }
}
