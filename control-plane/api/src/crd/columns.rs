//! What `kubectl get` prints of custom resources: the name and the CRD's `additionalPrinterColumns`
//! (`registry/customresource/tableconvertor`).

use super::jsonpath::JsonPath;
use crate::kinds::Columns;
use crate::table::{Column, Context};
use crate::{meta, time};
use serde_json::{Value, json};
use std::sync::Arc;

const NAME: &str = "Name must be unique within a namespace. Is required when creating resources, although some resources may allow a client to request the generation of an appropriate name automatically. Name is primarily intended for creation idempotence and configuration definition. Cannot be updated. More info: https://kubernetes.io/docs/concepts/overview/working-with-objects/names#names";
const CREATED: &str = "CreationTimestamp is a timestamp representing the server time when this object was created. It is not guaranteed to be set in happens-before order across separate operations. Clients may not set this value. It is represented in RFC3339 form and is in UTC.\n\nPopulated by the system. Read-only. Null for lists. More info: https://git.k8s.io/community/contributors/devel/sig-architecture/api-conventions.md#metadata";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Text,
    Integer,
    Number,
    Boolean,
    Date,
}

/// The columns of a version of a CRD. A column whose path makes no sense takes all of them away, as in Kubernetes.
#[must_use]
pub fn columns(definitions: &[Value]) -> Columns {
    let mut columns = vec![column("Name", "string", "name", NAME, 0)];
    let default =
        [json!({"name": "Age", "type": "date", "description": CREATED, "jsonPath": ".metadata.creationTimestamp"})];
    let definitions = if definitions.is_empty() { &default[..] } else { definitions };
    let mut cells = Vec::new();
    for definition in definitions {
        let text = |field: &str| definition.get(field).and_then(Value::as_str).unwrap_or_default();
        let Some(path) = JsonPath::parse(text("jsonPath")) else {
            cells.clear();
            columns.truncate(1);
            break;
        };
        let description = match text("description") {
            "" => format!("Custom resource definition column (in JSONPath format): {}", text("jsonPath")),
            own => own.to_owned(),
        };
        let priority = definition.get("priority").and_then(Value::as_i64).unwrap_or(0);
        columns.push(column(text("name"), text("type"), text("format"), &description, priority));
        cells.push((path, kind(text("type"))));
    }
    let print = move |object: &Value, context: &Context| {
        let name = std::iter::once(meta::name(object).into());
        name.chain(cells.iter().map(|(path, kind)| cell(path.first(object), *kind, context))).collect()
    };
    Columns { columns, cells: Arc::new(print) }
}

fn column(name: &str, type_: &str, format: &str, description: &str, priority: i64) -> Column {
    Column {
        name: name.to_owned().into(),
        type_: type_.to_owned().into(),
        format: format.to_owned().into(),
        description: description.to_owned().into(),
        priority: i32::try_from(priority).unwrap_or(i32::MAX),
    }
}

fn kind(name: &str) -> Kind {
    match name {
        "integer" => Kind::Integer,
        "number" => Kind::Number,
        "boolean" => Kind::Boolean,
        "date" => Kind::Date,
        _ => Kind::Text,
    }
}

fn cell(found: Option<&Value>, kind: Kind, context: &Context) -> Value {
    let Some(found) = found else { return Value::Null };
    match (kind, found) {
        (Kind::Text, Value::String(_)) | (Kind::Boolean, Value::Bool(_)) => found.clone(),
        (Kind::Text, Value::Null) => "<no value>".into(),
        (Kind::Text, other) => other.to_string().into(),
        (Kind::Integer, Value::Number(number)) if number.is_i64() => found.clone(),
        (Kind::Integer, Value::Number(number)) => whole(number.as_f64()),
        (Kind::Number, Value::Number(number)) => number.as_f64().map_or(Value::Null, rounded),
        (Kind::Date, Value::String(text)) if text.is_empty() => "<unknown>".into(),
        (Kind::Date, Value::String(text)) if time::parse(text).is_some() => time::age(Some(text), context.now).into(),
        (Kind::Date, Value::String(_)) => "<invalid>".into(),
        _ => Value::Null,
    }
}

/// Without decimals. What does not fit is the least number, as it is in Go.
#[expect(clippy::cast_possible_truncation, reason = "Go truncates too")]
fn whole(number: Option<f64>) -> Value {
    number.map_or(Value::Null, |number| if number.abs() < 9.2e18 { (number as i64).into() } else { i64::MIN.into() })
}

/// As Go writes a float: without decimals where it has none.
#[expect(clippy::cast_possible_truncation, reason = "the number is whole and small")]
fn rounded(number: f64) -> Value {
    if number.fract() == 0.0 && number.abs() < 9.2e18 { (number as i64).into() } else { number.into() }
}

#[cfg(test)]
mod tests {
    use super::columns;
    use crate::table::Context;
    use serde_json::{Value, json};

    fn cells(definitions: &Value, object: &Value) -> Vec<Value> {
        let columns = columns(definitions.as_array().unwrap());
        let cells = (columns.cells)(object, &Context::at("2026-01-02T03:04:05Z".parse().unwrap()));
        assert_eq!(cells.len(), columns.columns.len());
        cells
    }

    #[test]
    fn cells_are_of_the_columns_types() {
        let object = json!({"metadata": {"name": "x", "creationTimestamp": "2026-01-02T03:02:05Z"},
            "spec": {"n": 3, "f": 2.5, "b": true, "t": "text", "l": [1, 2], "z": null}});
        let all = json!([
            {"name": "N", "type": "integer", "jsonPath": ".spec.n"}, {"name": "F", "type": "number", "jsonPath": ".spec.f"},
            {"name": "I", "type": "integer", "jsonPath": ".spec.f"}, {"name": "B", "type": "boolean", "jsonPath": ".spec.b"},
            {"name": "T", "type": "string", "jsonPath": ".spec.t"}, {"name": "L", "type": "string", "jsonPath": ".spec.l"},
            {"name": "S", "type": "string", "jsonPath": ".spec.n"}, {"name": "X", "type": "integer", "jsonPath": ".spec.t"},
            {"name": "D", "type": "date", "jsonPath": ".metadata.creationTimestamp"},
            {"name": "Bad", "type": "date", "jsonPath": ".spec.t"}, {"name": "No", "type": "string", "jsonPath": ".spec.no"},
        ]);
        let wanted = json!(["x", 3, 2.5, 2, true, "text", "[1,2]", "3", null, "2m", "<invalid>", null]);
        assert_eq!(Value::from(cells(&all, &object)), wanted);
        assert_eq!(cells(&json!([]), &object), ["x", "2m"]);
    }
}
