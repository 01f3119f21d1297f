//! A configuration's quantities and times as the API writes them: `1000m` and `1` are one value, and no conflict.

use crate::quantity::Quantity;
use crate::schema::{Format, Schema, Shape};
use crate::time;
use serde_json::Value;

/// Rewrites what is written in another way than it is stored. What is none of its type stays, for validation to refuse.
pub(super) fn canonical(schema: &Schema, value: &mut Value) {
    match (&schema.resolved().shape, value) {
        (Shape::Object(object), Value::Object(map)) => {
            for (name, value) in map {
                if let Some(field) = object.field(name) {
                    canonical(field, value);
                }
            }
        }
        (Shape::Map(values), Value::Object(map)) => map.values_mut().for_each(|value| canonical(values, value)),
        (Shape::List(items), Value::Array(list)) => list.iter_mut().for_each(|item| canonical(items, item)),
        (Shape::Quantity, value @ (Value::String(_) | Value::Number(_))) => {
            if let Ok(quantity) = Quantity::from_value(value) {
                *value = quantity.to_string().into();
            }
        }
        (Shape::Text(format @ (Format::Time | Format::MicroTime)), Value::String(text)) => {
            if let Some(time) = time::parse(text) {
                *text = if *format == Format::Time { time::format(time) } else { time::format_micro(time) };
            }
        }
        _ => {}
    }
}
