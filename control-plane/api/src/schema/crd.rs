//! A CRD's `openAPIV3Schema` as a [`Schema`]. Refuses what is not structural, as Kubernetes' `structuraldefaulting` and
//! `structuralschema` do; judging values by the rules is not done here.

use super::facts::Facts;
use super::{Object, Rules, Schema, Shape, Unknown, builtin};
use crate::field::{Error, Path};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde_json::{Map, Value};
use std::sync::Arc;

/// Deepest nesting of a CRD's schema.
const MAX_DEPTH: usize = 100;

/// Most nodes in a CRD's schema: what one costs in memory is bounded by this.
const MAX_NODES: usize = 20_000;

/// Keywords that are kept as validations, to be judged when values are.
const VALIDATIONS: &[&str] = &[
    "allOf",
    "anyOf",
    "oneOf",
    "not",
    "enum",
    "format",
    "maximum",
    "exclusiveMaximum",
    "minimum",
    "exclusiveMinimum",
    "multipleOf",
    "maxLength",
    "minLength",
    "pattern",
    "maxItems",
    "minItems",
    "uniqueItems",
    "maxProperties",
    "minProperties",
    "x-kubernetes-validations",
];

pub(super) fn convert(schema: &Value, path: &Path) -> Result<Schema, Vec<Error>> {
    let mut converter = Converter { errors: Vec::new(), nodes: 0 };
    let mut root = converter.node(schema, path, 0);
    if converter.errors.is_empty() && !matches!(root.shape, Shape::Object(_)) {
        converter.errors.push(Error::invalid(
            &path.child("type"),
            schema["type"].clone(),
            "must be object at the root",
        ));
    }
    make_resource(&mut root.shape);
    if converter.errors.is_empty() { Ok(root) } else { Err(converter.errors) }
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
    let text = || Schema::of(Shape::Text(super::Format::Plain));
    fields.push(("apiVersion".into(), text()));
    fields.push(("kind".into(), text()));
    let metadata = builtin(|generator| generator.subschema_for::<ObjectMeta>());
    fields.push(("metadata".into(), Schema::clone(&metadata)));
    *object = Object::new(fields, object.unknown);
}

struct Converter {
    errors: Vec<Error>,
    nodes: usize,
}

impl Converter {
    fn node(&mut self, node: &Value, path: &Path, depth: usize) -> Schema {
        self.nodes += 1;
        if depth > MAX_DEPTH || self.nodes > MAX_NODES {
            if !self.errors.iter().any(|e| e.detail.starts_with("schema is too large")) {
                let detail = format!("schema is too large: at most {MAX_NODES} nodes, nested {MAX_DEPTH} deep");
                self.errors.push(Error::forbidden(path, detail));
            }
            return Schema::default();
        }
        let Some(node) = node.as_object() else {
            self.errors.push(Error::invalid(path, node.clone(), "must be a schema"));
            return Schema::default();
        };
        for refused in ["$ref", "definitions", "dependencies", "patternProperties"] {
            if node.contains_key(refused) {
                self.errors.push(Error::forbidden(&path.child(refused), format!("{refused} is not supported")));
            }
        }
        let mut shape = self.shape(node, path, depth);
        let embedded = flag(node, "x-kubernetes-embedded-resource");
        if embedded {
            make_resource(&mut shape);
        }
        Schema { shape, facts: facts(node), rules: Some(Box::new(rules(node, embedded))) }
    }

    fn shape(&mut self, node: &Map<String, Value>, path: &Path, depth: usize) -> Shape {
        if flag(node, "x-kubernetes-int-or-string") {
            return Shape::IntOrString;
        }
        let preserve = flag(node, "x-kubernetes-preserve-unknown-fields");
        match node.get("type").and_then(Value::as_str).unwrap_or_default() {
            "object" => self.object(node, path, depth, if preserve { Unknown::Keep } else { Unknown::Prune }),
            "array" => match node.get("items") {
                Some(items) => Shape::List(Arc::new(self.node(items, &path.child("items"), depth + 1))),
                None => {
                    self.errors.push(Error::required(&path.child("items"), "must be specified"));
                    Shape::Any
                }
            },
            "string" => Shape::Text(super::Format::Plain),
            "boolean" => Shape::Boolean,
            "integer" if node.get("format").and_then(Value::as_str) == Some("int32") => Shape::Int32,
            "integer" => Shape::Int64,
            "number" => Shape::Number,
            "" if preserve => Shape::Any,
            "" => {
                let detail = "must not be empty for specified object fields";
                self.errors.push(Error::required(&path.child("type"), detail));
                Shape::Any
            }
            other => {
                let known = &["array", "boolean", "integer", "number", "object", "string"];
                self.errors.push(Error::not_supported(&path.child("type"), other, known));
                Shape::Any
            }
        }
    }

    fn object(&mut self, node: &Map<String, Value>, path: &Path, depth: usize, unknown: Unknown) -> Shape {
        let properties = node.get("properties").and_then(Value::as_object);
        match node.get("additionalProperties") {
            Some(_) if properties.is_some_and(|p| !p.is_empty()) => {
                let detail = "must not be specified along with properties";
                self.errors.push(Error::forbidden(&path.child("additionalProperties"), detail));
                Shape::Any
            }
            Some(Value::Bool(true)) => Shape::Map(Arc::default()),
            Some(values @ Value::Object(_)) => {
                Shape::Map(Arc::new(self.node(values, &path.child("additionalProperties"), depth + 1)))
            }
            _ => {
                let at = path.child("properties");
                let fields: Vec<_> = properties
                    .into_iter()
                    .flatten()
                    .map(|(name, field)| (name.clone(), self.node(field, &at.key(name), depth + 1)))
                    .collect();
                Shape::Object(Object::new(fields, unknown))
            }
        }
    }
}

fn flag(node: &Map<String, Value>, name: &str) -> bool {
    node.get(name).and_then(Value::as_bool).unwrap_or_default()
}

fn facts(node: &Map<String, Value>) -> Option<Arc<Facts>> {
    let text = |name: &str| node.get(name).and_then(Value::as_str);
    let keys = strings(node.get("x-kubernetes-list-map-keys"));
    Facts::of_crd(text("x-kubernetes-list-type"), text("x-kubernetes-map-type"), keys)
}

fn rules(node: &Map<String, Value>, embedded: bool) -> Rules {
    let kept = |(name, value): (&String, &Value)| (name.clone(), value.clone());
    Rules {
        required: strings(node.get("required")),
        default: node.get("default").cloned(),
        nullable: flag(node, "nullable"),
        embedded,
        validations: node.iter().filter(|(name, _)| VALIDATIONS.contains(&name.as_str())).map(kept).collect(),
    }
}

fn strings(value: Option<&Value>) -> Vec<String> {
    value.and_then(Value::as_array).into_iter().flatten().filter_map(|v| v.as_str().map(str::to_owned)).collect()
}
