//! A CRD's schema as Kubernetes publishes it (`apiextensions-apiserver/pkg/controller/openapi/builder`).

use super::definitions::Dialect;
use crate::schema::flag;
use serde_json::{Map, Value, json};

const EMBEDDED_VERSION: &str = "apiVersion defines the versioned schema of this representation of an object. More info: https://git.k8s.io/community/contributors/devel/sig-architecture/api-conventions.md#resources";
const EMBEDDED_KIND: &str = "kind is a string value representing the type of this object. In CamelCase. More info: https://git.k8s.io/community/contributors/devel/sig-architecture/api-conventions.md#types-kinds";

/// The definition of a custom kind. `meta` gives a resource its `metadata`. In v2 a schema that keeps unknown fields says
/// nothing but `object`: kubectl would take what it says for all there is.
pub(super) fn definition(document: &Value, dialect: Dialect, own: &Map<String, Value>, meta: &Value) -> Value {
    let Some(root) = document.as_object() else { return json!({"type": "object"}) };
    if dialect == Dialect::V2 && flag(root, "x-kubernetes-preserve-unknown-fields") {
        return json!({"type": "object"});
    }
    let mut definition = node(root, dialect, meta);
    let properties = definition.entry("properties").or_insert_with(|| json!({}));
    if let Some(properties) = properties.as_object_mut() {
        properties.extend(own.clone());
    }
    Value::Object(definition)
}

fn node(schema: &Map<String, Value>, dialect: Dialect, meta: &Value) -> Map<String, Value> {
    let (nullable, open) = (flag(schema, "nullable"), flag(schema, "x-kubernetes-preserve-unknown-fields"));
    let v2 = dialect == Dialect::V2;
    let mut out = Map::new();
    for (key, value) in schema {
        let shown = match (key.as_str(), value) {
            ("allOf" | "anyOf" | "oneOf" | "not" | "default" | "nullable", _) if v2 => continue,
            ("type", _) if v2 && nullable => continue,
            ("items" | "properties" | "additionalProperties", _) if v2 && (nullable || open) => continue,
            ("properties", Value::Object(fields)) => {
                let one = |(name, field): (&String, &Value)| (name.clone(), inner(field, dialect, meta));
                fields.iter().map(one).collect()
            }
            ("items" | "additionalProperties", inner_schema) => inner(inner_schema, dialect, meta),
            _ => value.clone(),
        };
        out.insert(key.clone(), shown);
    }
    if flag(schema, "x-kubernetes-int-or-string") && !v2 && !out.contains_key("anyOf") && !out.contains_key("allOf") {
        out.insert("anyOf".into(), json!([{"type": "integer"}, {"type": "string"}]));
    }
    if flag(schema, "x-kubernetes-embedded-resource") && !(v2 && open) {
        embed(&mut out, meta);
    }
    out
}

fn inner(schema: &Value, dialect: Dialect, meta: &Value) -> Value {
    schema.as_object().map_or_else(|| schema.clone(), |map| Value::Object(node(map, dialect, meta)))
}

/// What every object has, in one that stands within another.
fn embed(out: &mut Map<String, Value>, meta: &Value) {
    let properties = out.entry("properties").or_insert_with(|| json!({}));
    if let Some(properties) = properties.as_object_mut() {
        properties.insert("apiVersion".into(), json!({"type": "string", "description": EMBEDDED_VERSION}));
        properties.insert("kind".into(), json!({"type": "string", "description": EMBEDDED_KIND}));
        properties.insert("metadata".into(), meta.clone());
    }
    let required = out.entry("required").or_insert_with(|| json!([]));
    if let Some(required) = required.as_array_mut() {
        for name in ["kind", "apiVersion"] {
            if !required.iter().any(|known| known == name) {
                required.push(name.into());
            }
        }
    }
}
