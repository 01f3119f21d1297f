//! A CRD's `openAPIV3Schema` as a [`Schema`]. Whether it may be one is `crd::structural`'s to say; here everything that
//! makes no sense reads as absent.

use super::facts::Facts;
use super::{Format, Merge, NumberFormat, Object, Rules, Schema, Shape, Unknown, Zero, builtin};
use crate::crd::checks::Checks;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde_json::{Map, Value};
use std::sync::Arc;

/// Nesting below which nothing is looked at. Validation refuses such schemas; old stored ones must not overflow the stack.
const MAX_DEPTH: usize = 200;

/// Where a node stands: in the structure, or within `allOf`, `anyOf`, `oneOf` or `not`.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    Structure,
    Junctor,
}

pub(super) fn convert(schema: &Value) -> Schema {
    let mut root = node(schema, Place::Structure, 0);
    let metadata = schema.pointer("/properties/metadata").map(|metadata| node(metadata, Place::Structure, 1));
    if let (Some(metadata), Some(rules)) = (metadata, &mut root.rules) {
        rules.checks.get_or_insert_default().metadata = Some(Box::new(metadata));
    }
    make_resource(&mut root.shape);
    root
}

/// Adds what every Kubernetes object has.
fn make_resource(shape: &mut Shape) {
    let Shape::Object(object) = shape else { return };
    let mut fields: Vec<(String, Schema)> = std::mem::take(&mut object.fields)
        .into_vec()
        .into_iter()
        .filter(|(name, _)| !matches!(&**name, "apiVersion" | "kind" | "metadata"))
        .map(|(name, field)| (name.into(), field))
        .collect();
    let text = || Schema::of(Shape::Text(Format::Plain));
    fields.push(("apiVersion".into(), text()));
    fields.push(("kind".into(), text()));
    let metadata = builtin(|generator| generator.subschema_for::<ObjectMeta>());
    fields.push(("metadata".into(), Schema::clone(&metadata)));
    *object = Object::new(fields, object.unknown);
}

pub(crate) fn node(schema: &Value, place: Place, depth: usize) -> Schema {
    let Some(map) = schema.as_object().filter(|_| depth < MAX_DEPTH) else { return Schema::default() };
    let mut shape = shape(map, place, depth);
    let embedded = flag(map, "x-kubernetes-embedded-resource");
    if embedded {
        make_resource(&mut shape);
    }
    let checks = Checks::of(map, depth);
    let facts = facts(map);
    let below = |has: fn(&Rules) -> bool| match &shape {
        Shape::Object(object) => object.fields().any(|(_, field)| rules(field, has)),
        Shape::Map(inner) | Shape::List(inner) => rules(inner, has),
        _ => false,
    };
    let keyed = matches!(shape, Shape::List(_))
        && facts.as_ref().is_some_and(|facts| matches!(facts.merge(), Merge::Set | Merge::Map(_)));
    let has_programs = checks.as_ref().is_some_and(|checks| checks.programs.is_some());
    let rules = Rules {
        required: strings(map.get("required")).into_iter().map(Into::into).collect(),
        default: map.get("default").cloned().map(Box::new),
        nullable: flag(map, "nullable"),
        embedded,
        typed: map.get("type").is_some_and(|t| t != ""),
        has_programs: has_programs || below(|rules| rules.has_programs),
        has_embedded: embedded || below(|rules| rules.has_embedded),
        has_keyed: keyed || below(|rules| rules.has_keyed),
        number: match map.get("format").and_then(Value::as_str) {
            Some("int64") => NumberFormat::Int64,
            Some("float") => NumberFormat::Float,
            _ => NumberFormat::None,
        },
        checks: checks.map(Box::new),
    };
    Schema { shape, facts, zero: Zero::Kept, rules: Some(Box::new(rules)) }
}

fn rules(schema: &Schema, has: fn(&Rules) -> bool) -> bool {
    schema.rules.as_deref().is_some_and(has)
}

fn shape(node: &Map<String, Value>, place: Place, depth: usize) -> Shape {
    if flag(node, "x-kubernetes-int-or-string") {
        return Shape::IntOrString;
    }
    let keep = place == Place::Junctor || flag(node, "x-kubernetes-preserve-unknown-fields");
    let unknown = if keep { Unknown::Keep } else { Unknown::Prune };
    match node.get("type").and_then(Value::as_str).unwrap_or_default() {
        "object" => object(node, unknown, place, depth),
        "array" => list(node, place, depth),
        "string" => Shape::Text(Format::Plain),
        "boolean" => Shape::Boolean,
        "integer" if node.get("format").and_then(Value::as_str) == Some("int32") => Shape::Int32,
        "integer" => Shape::Int64,
        "number" => Shape::Number,
        "" if node.contains_key("properties") => object(node, unknown, place, depth),
        "" if node.contains_key("items") => list(node, place, depth),
        _ => Shape::Any,
    }
}

fn list(parent: &Map<String, Value>, place: Place, depth: usize) -> Shape {
    let items = parent.get("items").map(|items| node(items, place, depth + 1));
    Shape::List(Arc::new(items.unwrap_or_default()))
}

fn object(parent: &Map<String, Value>, unknown: Unknown, place: Place, depth: usize) -> Shape {
    let properties = parent.get("properties").and_then(Value::as_object);
    match parent.get("additionalProperties") {
        Some(Value::Bool(true)) if properties.is_none_or(Map::is_empty) => Shape::Map(Arc::default()),
        Some(values @ Value::Object(_)) if properties.is_none_or(Map::is_empty) => {
            Shape::Map(Arc::new(node(values, place, depth + 1)))
        }
        _ => {
            let fields = properties.into_iter().flatten();
            let fields: Vec<_> = fields.map(|(name, field)| (name.clone(), node(field, place, depth + 1))).collect();
            Shape::Object(Object::new(fields, unknown))
        }
    }
}

pub(crate) fn flag(node: &Map<String, Value>, name: &str) -> bool {
    node.get(name).and_then(Value::as_bool).unwrap_or_default()
}

fn facts(node: &Map<String, Value>) -> Option<Arc<Facts>> {
    let text = |name: &str| node.get(name).and_then(Value::as_str);
    let keys = strings(node.get("x-kubernetes-list-map-keys"));
    Facts::of_crd(text("x-kubernetes-list-type"), text("x-kubernetes-map-type"), keys)
}

pub(crate) fn strings(value: Option<&Value>) -> Vec<String> {
    value.and_then(Value::as_array).into_iter().flatten().filter_map(|v| v.as_str().map(str::to_owned)).collect()
}
