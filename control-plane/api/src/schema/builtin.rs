//! Schemas of built-in kinds, made from what `k8s-openapi` says through `schemars`, on demand: asking for a kind builds
//! the definitions it reaches that no earlier kind has reached.

use super::{Definition, Format, Object, Schema, Shape, Unknown, Zero, facts};
use crate::kinds::SchemaSource;
use schemars::SchemaGenerator;
use schemars::generate::SchemaSettings;
use serde_json::{Map, Value};
use std::collections::HashMap;
use std::sync::{Arc, LazyLock, Mutex, OnceLock, PoisonError};

/// All built-in definitions built so far. They live as long as the process: their number is fixed by the API version.
struct Registry {
    generator: SchemaGenerator,
    named: HashMap<String, &'static Definition>,
}

static REGISTRY: LazyLock<Mutex<Registry>> = LazyLock::new(|| {
    let generator = SchemaSettings::draft07().with(|s| s.transforms.clear()).into_generator();
    Mutex::new(Registry { generator, named: HashMap::new() })
});

/// The schema of a built-in type.
pub(crate) fn builtin(source: SchemaSource) -> Arc<Schema> {
    let mut registry = REGISTRY.lock().unwrap_or_else(PoisonError::into_inner);
    let root = source(&mut registry.generator);
    // The generator only needs to know that a definition exists; the text of it goes.
    let fresh: Vec<(String, Value)> = registry
        .generator
        .definitions_mut()
        .iter_mut()
        .filter(|(_, body)| body.is_object())
        .map(|(name, body)| (name.clone(), std::mem::replace(body, Value::Bool(true))))
        .collect();
    for (name, body) in &fresh {
        let schema = definition_schema(&mut registry, name, body);
        let _ = registry.named(name).body.set(schema);
    }
    let root = root.to_value();
    Arc::new(convert(&mut registry, &root, "", ""))
}

impl Registry {
    fn named(&mut self, name: &str) -> &'static Definition {
        if let Some(known) = self.named.get(name) {
            return known;
        }
        let definition: &'static Definition =
            Box::leak(Box::new(Definition { name: name.into(), body: OnceLock::new() }));
        self.named.insert(name.into(), definition);
        definition
    }
}

/// `io.k8s.api.core.v1.PodSpec` of `#/definitions/io.k8s.api.core.v1.PodSpec`.
pub(crate) fn short_name(reference: &str) -> &str {
    reference.rsplit('/').next().unwrap_or(reference)
}

/// Definitions with a decoder of their own.
fn special(name: &str) -> Option<Shape> {
    Some(match name.rsplit('.').next()? {
        "Quantity" => Shape::Quantity,
        "IntOrString" => Shape::IntOrString,
        "Time" => Shape::Text(Format::Time),
        "MicroTime" => Shape::Text(Format::MicroTime),
        "FieldsV1" | "RawExtension" | "JSON" | "JSONSchemaPropsOrStringArray" => Shape::Any,
        _ => return None,
    })
}

/// `JSONSchemaPropsOrArray` and `…OrBool`: what they are when they are an object.
fn either(registry: &mut Registry, name: &str) -> Option<Shape> {
    let object = name.strip_suffix("OrArray").or_else(|| name.strip_suffix("OrBool"))?;
    object.ends_with(".JSONSchemaProps").then(|| Shape::Either(registry.named(object)))
}

fn definition_schema(registry: &mut Registry, name: &str, body: &Value) -> Schema {
    let mut schema = match special(name).or_else(|| either(registry, name)) {
        Some(shape) => Schema::of(shape),
        None => convert(registry, body, name, ""),
    };
    schema.facts = facts::find(name, "*");
    schema
}

/// The schema of `node`, which is at `path` of `definition` (`ports[]`; empty for the definition itself).
fn convert(registry: &mut Registry, node: &Value, definition: &str, path: &str) -> Schema {
    let empty = Map::new();
    let node = node.as_object().unwrap_or(&empty);
    let shape = match node.get("$ref").and_then(Value::as_str) {
        Some(reference) => {
            let name = short_name(reference);
            let known = special(name).or_else(|| either(registry, name));
            known.unwrap_or_else(|| Shape::Named(registry.named(name)))
        }
        None => shape(registry, node, definition, path),
    };
    let facts = if path.is_empty() { None } else { facts::find(definition, path) };
    Schema { shape, facts, zero: Zero::Kept, rules: None }
}

fn shape(registry: &mut Registry, node: &Map<String, Value>, definition: &str, path: &str) -> Shape {
    let format = node.get("format").and_then(Value::as_str);
    match node.get("type").and_then(Value::as_str) {
        Some("string") if format == Some("byte") => Shape::Text(Format::Byte),
        Some("string") => Shape::Text(Format::Plain),
        Some("boolean") => Shape::Boolean,
        Some("integer") if format == Some("int32") => Shape::Int32,
        Some("integer") => Shape::Int64,
        Some("number") => Shape::Number,
        Some("array") => {
            let items = node.get("items").unwrap_or(&Value::Null);
            Shape::List(Arc::new(convert(registry, items, definition, &format!("{path}[]"))))
        }
        Some("object") => match node.get("additionalProperties") {
            Some(values) if values.is_object() => {
                Shape::Map(Arc::new(convert(registry, values, definition, &format!("{path}{{}}"))))
            }
            _ => {
                let properties = node.get("properties").and_then(Value::as_object);
                let fields: Vec<_> = properties
                    .into_iter()
                    .flatten()
                    .map(|(name, node)| {
                        let mut field = convert(registry, node, definition, name);
                        field.zero = facts::zero(definition, name, &field.shape);
                        (name.clone(), field)
                    })
                    .collect();
                Shape::Object(Object::new(fields, Unknown::Prune))
            }
        },
        _ => Shape::Any,
    }
}
