//! What the printers of several kinds share.

use super::{Column, Context};
use crate::kinds::Columns;
use crate::meta;
use crate::quantity::Quantity;
use crate::selector::Labels;
use crate::time;
use serde_json::{Map, Value};
use std::sync::Arc;

/// (name, type, priority, description)
pub(super) type Definition = (&'static str, &'static str, i32, &'static str);

const NAMED: &str = "Name must be unique within a namespace. Cannot be updated.";
pub(super) const CREATED: &str = "The time at which the server created the object, in UTC.";
pub(super) const NAME: Definition = ("Name", "string", 0, NAMED);
pub(super) const AGE: Definition = ("Age", "string", 0, CREATED);
pub(super) const CONTAINERS: Definition = ("Containers", "string", 1, "Names of each container in the template.");
pub(super) const IMAGES: Definition = ("Images", "string", 1, "Images referenced by each container in the template.");

/// Columns from their definitions; the one called `Name` has the format `name`.
pub(super) fn columns(definitions: &[Definition], cells: fn(&Value, &Context) -> Vec<Value>) -> Columns {
    let columns = definitions
        .iter()
        .map(|&(name, type_, priority, description)| Column {
            name: name.into(),
            type_: type_.into(),
            format: if name == "Name" { "name" } else { "" }.into(),
            description: description.into(),
            priority,
        })
        .collect();
    Columns { columns, cells: Arc::new(cells) }
}

pub(super) fn text<'a>(value: &'a Value, pointer: &str) -> &'a str {
    value.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

pub(super) fn int(value: &Value, pointer: &str) -> i64 {
    value.pointer(pointer).and_then(Value::as_i64).unwrap_or(0)
}

pub(super) fn items<'a>(value: &'a Value, pointer: &str) -> &'a [Value] {
    value.pointer(pointer).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

pub(super) fn map<'a>(value: &'a Value, pointer: &str) -> Option<&'a Map<String, Value>> {
    value.pointer(pointer).and_then(Value::as_object)
}

/// `text`, or `fallback` where it is empty.
pub(super) fn or<'a>(text: &'a str, fallback: &'a str) -> &'a str {
    if text.is_empty() { fallback } else { text }
}

/// Time since creation, as in `3d4h`.
pub(super) fn age(object: &Value, context: &Context) -> Value {
    time::age(meta::creation_timestamp(object), context.now).into()
}

/// Time since the moment at `pointer`; `<unknown>` where there is none.
pub(super) fn since(object: &Value, pointer: &str, context: &Context) -> String {
    time::age(object.pointer(pointer).and_then(Value::as_str), context.now)
}

/// `a=b,c=d`, or `<none>`.
pub(super) fn labels(labels: Option<&Map<String, Value>>) -> String {
    let pairs: Vec<String> =
        labels.into_iter().flatten().map(|(k, v)| format!("{k}={}", v.as_str().unwrap_or_default())).collect();
    if pairs.is_empty() { "<none>".into() } else { pairs.join(",") }
}

/// A `LabelSelector` in the query grammar, or `<none>`.
pub(super) fn selector(selector: Option<&Value>) -> String {
    match Labels::from_label_selector(selector) {
        Ok(labels) => or(&labels.to_string(), "<none>").into(),
        Err(_) => "<error>".into(),
    }
}

/// The names and the images of a list of containers, each joined by commas.
pub(super) fn containers(object: &Value, pointer: &str) -> (String, String) {
    let list = items(object, pointer);
    let join = |field: &str| list.iter().map(|c| c[field].as_str().unwrap_or_default()).collect::<Vec<_>>().join(",");
    (join("name"), join("image"))
}

/// The canonical text of the quantity at `pointer`; `0` where there is none, as a zero quantity prints.
pub(super) fn quantity(object: &Value, pointer: &str) -> String {
    let quantity = object.pointer(pointer).and_then(|v| Quantity::from_value(v).ok());
    quantity.unwrap_or_default().to_string()
}

/// The status of the condition of `type_`, in the list at `pointer`.
pub(super) fn condition<'a>(object: &'a Value, pointer: &str, type_: &str) -> Option<&'a str> {
    items(object, pointer).iter().find(|c| c["type"] == type_).and_then(|c| c["status"].as_str())
}

/// `a,b,c + 2 more...`
pub(super) fn some_of(list: &[String], most: usize, empty: &str) -> String {
    match list {
        [] => empty.into(),
        list if list.len() <= most => list.join(","),
        list => format!("{} + {} more...", list[..most].join(","), list.len() - most),
    }
}

/// `True`, `False` or `<unset>`.
pub(super) fn bool_word(value: Option<&Value>) -> &'static str {
    match value.and_then(Value::as_bool) {
        Some(true) => "True",
        Some(false) => "False",
        None => "<unset>",
    }
}
