//! Structural schemas: what a CRD's schema must be, so that pruning and defaulting know every field's place
//! (`apiextensions-apiserver/pkg/apiserver/schema/validation.go`, `complete.go`).

use crate::field::{Error, Path};
use crate::schema::flag;
use serde_json::{Map, Value, json};

#[derive(Clone, Copy, PartialEq, Eq)]
enum Level {
    Root,
    Item,
    Field,
}

/// Everything that keeps `schema` from being structural, sorted as Kubernetes sorts it.
pub(super) fn check(schema: &Value, path: &Path<'_>) -> Vec<Error> {
    let mut errors = Vec::new();
    invariants(schema, Level::Root, path, &mut errors);
    // What the root's nested schemas speak of must be there outside of them, too. Kubernetes asks it of no other node.
    judged(schema, schema, path, path, &mut errors);
    errors.sort_by_cached_key(ToString::to_string);
    errors
}

/// Why `schema` has no structural form at all (`NewStructural`); None: it has one.
pub(super) fn unconvertible(node: &Value) -> Option<&'static str> {
    let set = |name: &str| node.get(name).filter(|value| !(value.is_null() || *value == ""));
    let filled = |name: &str| set(name).is_some_and(|value| value.as_object().is_none_or(|map| !map.is_empty()));
    let own = [
        (set("id").is_some(), "OpenAPIV3Schema 'id' is not supported"),
        (set("$schema").is_some(), "OpenAPIV3Schema 'schema' is not supported"),
        (set("$ref").is_some(), "OpenAPIV3Schema '$ref' is not supported"),
        (filled("patternProperties"), "OpenAPIV3Schema 'patternProperties' is not supported"),
        (filled("dependencies"), "OpenAPIV3Schema 'dependencies' is not supported"),
        (set("additionalItems").is_some(), "OpenAPIV3Schema 'additionalItems' is not supported"),
        (filled("definitions"), "OpenAPIV3Schema 'definitions' is not supported"),
        (!list(node, "items").is_empty(), "OpenAPIV3Schema 'items' must be a schema, but is an array"),
        (
            node.get("x-kubernetes-preserve-unknown-fields") == Some(&Value::Bool(false)),
            "internal error: 'x-kubernetes-preserve-unknown-fields' must be true or undefined",
        ),
    ];
    let inner = ["not", "items", "additionalProperties"].iter().filter_map(|name| node.get(name));
    let lists = ["allOf", "anyOf", "oneOf"].iter().flat_map(|name| list(node, name));
    let all = inner.chain(lists).chain(fields(node, "properties").map(|(_, field)| field));
    own.iter().find(|(found, _)| *found).map(|(_, why)| *why).or_else(|| {
        let mut below = all.filter(|inner| inner.is_object());
        below.find_map(unconvertible)
    })
}

fn text<'v>(node: &'v Value, field: &str) -> &'v str {
    node.get(field).and_then(Value::as_str).unwrap_or_default()
}

fn is_set(node: &Value, field: &str) -> bool {
    node.as_object().is_some_and(|map| flag(map, field))
}

fn fields<'v>(node: &'v Value, name: &str) -> impl Iterator<Item = (&'v String, &'v Value)> {
    node.get(name).and_then(Value::as_object).into_iter().flatten()
}

fn list<'v>(node: &'v Value, name: &str) -> &'v [Value] {
    node.get(name).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

fn invariants(node: &Value, level: Level, path: &Path<'_>, errors: &mut Vec<Error>) {
    match node.get("items").filter(|items| items.is_object()) {
        Some(items) => invariants(items, Level::Item, &path.child("items"), errors),
        None if text(node, "type") == "array" => {
            errors.push(Error::required(&path.child("items"), "must be specified"));
        }
        None => {}
    }
    let properties = path.child("properties");
    for (name, field) in fields(node, "properties") {
        invariants(field, Level::Field, &properties.key(name), errors);
    }
    if let Some(additional) = node.get("additionalProperties") {
        let below = path.child("additionalProperties");
        if level == Level::Root {
            errors.push(Error::forbidden(&below, "must not be used at the root"));
        }
        if additional.is_object() {
            invariants(additional, Level::Field, &below, errors);
        }
    }
    extensions(node, path, errors);
    let any_of = is_int_or_string(node.get("anyOf"));
    let all_of = is_int_or_string(list(node, "allOf").first().and_then(|first| first.get("anyOf")));
    values(node, (any_of, all_of), path, errors);
    types(node, level, path, errors);
    metadata(node, level, path, errors);
}

/// The one use of types within `anyOf`.
fn is_int_or_string(any_of: Option<&Value>) -> bool {
    any_of == Some(&json!([{"type": "integer"}, {"type": "string"}]))
}

fn extensions(node: &Value, path: &Path<'_>, errors: &mut Vec<Error>) {
    if !is_set(node, "x-kubernetes-int-or-string") {
        return;
    }
    for name in ["x-kubernetes-preserve-unknown-fields", "x-kubernetes-embedded-resource"] {
        if is_set(node, name) {
            let detail = "must be false if x-kubernetes-int-or-string is true";
            errors.push(Error::invalid(&path.child(name), true, detail));
        }
    }
}

fn types(node: &Value, level: Level, path: &Path<'_>, errors: &mut Vec<Error>) {
    let kind = text(node, "type");
    let at = path.child("type");
    let embedded = is_set(node, "x-kubernetes-embedded-resource");
    let open = is_set(node, "x-kubernetes-preserve-unknown-fields");
    if embedded && kind != "object" {
        let detail = "must be object if x-kubernetes-embedded-resource is true";
        errors.push(if kind.is_empty() { Error::required(&at, detail) } else { Error::invalid(&at, kind, detail) });
    } else if kind.is_empty() && !is_set(node, "x-kubernetes-int-or-string") && !open {
        errors.push(Error::required(
            &at,
            match level {
                Level::Root => "must not be empty at the root",
                Level::Item => "must not be empty for specified array items",
                Level::Field => "must not be empty for specified object fields",
            },
        ));
    }
    if embedded && node.get("additionalProperties").is_some() {
        let detail = "must not be used if x-kubernetes-embedded-resource is set";
        errors.push(Error::forbidden(&path.child("additionalProperties"), detail));
    }
    if level == Level::Root && !kind.is_empty() && kind != "object" {
        errors.push(Error::invalid(&at, kind, "must be object at the root"));
    }
    if embedded && !open && fields(node, "properties").next().is_none() {
        let detail =
            "must not be empty if x-kubernetes-embedded-resource is true without x-kubernetes-preserve-unknown-fields";
        errors.push(Error::required(&path.child("properties"), detail));
    }
}

/// Kind, apiVersion and metadata are as they are in every object.
fn metadata(node: &Value, level: Level, path: &Path<'_>, errors: &mut Vec<Error>) {
    if level != Level::Root && !is_set(node, "x-kubernetes-embedded-resource") {
        return;
    }
    let properties = path.child("properties");
    for (name, wanted) in [("kind", "string"), ("apiVersion", "string"), ("metadata", "object")] {
        if let Some(field) = node.get("properties").and_then(|p| p.get(name))
            && text(field, "type") != wanted
        {
            let detail = format!("must be {wanted}");
            errors.push(Error::invalid(&properties.key(name).child("type"), text(field, "type"), detail));
        }
    }
    if let (Level::Root, Some(Value::Object(own))) = (level, node.get("properties").and_then(|p| p.get("metadata"))) {
        let only_names = own
            .get("properties")
            .and_then(Value::as_object)
            .is_none_or(|fields| fields.keys().all(|name| matches!(name.as_str(), "name" | "generateName")));
        if !only_names || own.keys().any(|key| !matches!(key.as_str(), "type" | "properties" | "default")) {
            let detail =
                "must not specify anything other than name and generateName, but metadata is implicitly specified";
            errors.push(Error::forbidden(&properties.key("metadata"), detail));
        }
    }
}

/// The rules about values, and the schemas nested in them. `skip`: whether `anyOf`, and the first `allOf`'s `anyOf`, are
/// the pattern of IntOrString.
fn values(node: &Value, skip: (bool, bool), path: &Path<'_>, errors: &mut Vec<Error>) {
    for (name, of) in [("anyOf", 0), ("allOf", 1), ("oneOf", 2)] {
        if of == 0 && skip.0 {
            continue;
        }
        let at = path.child(name);
        for (index, nested) in list(node, name).iter().enumerate() {
            junctor(nested, of == 1 && index == 0 && skip.1, &at.index(index), errors);
        }
    }
    if let Some(not) = node.get("not") {
        junctor(not, false, &path.child("not"), errors);
    }
}

/// A schema within `allOf`, `anyOf`, `oneOf` or `not`: it judges, it says nothing about structure.
fn junctor(node: &Value, skip_any_of: bool, path: &Path<'_>, errors: &mut Vec<Error>) {
    const EMPTY: &str = "must be empty to be structural";
    const UNDEFINED: &str = "must be undefined to be structural";
    const FALSE: &str = "must be false to be structural";
    const REFUSED: &[(&str, &str)] = &[
        ("type", EMPTY),
        ("additionalProperties", UNDEFINED),
        ("default", UNDEFINED),
        ("title", EMPTY),
        ("description", EMPTY),
        ("nullable", FALSE),
        ("externalDocs", UNDEFINED),
        ("x-kubernetes-preserve-unknown-fields", FALSE),
        ("x-kubernetes-embedded-resource", FALSE),
        ("x-kubernetes-int-or-string", FALSE),
        ("x-kubernetes-list-map-keys", EMPTY),
        ("x-kubernetes-list-type", UNDEFINED),
        ("x-kubernetes-map-type", UNDEFINED),
        ("x-kubernetes-validations", EMPTY),
    ];
    values(node, (skip_any_of, false), path, errors);
    if let Some(items) = node.get("items") {
        junctor(items, false, &path.child("items"), errors);
    }
    let properties = path.child("properties");
    for (name, field) in fields(node, "properties") {
        junctor(field, false, &properties.key(name), errors);
    }
    for (name, detail) in REFUSED {
        let absent = |value: &Value| match value {
            Value::Null | Value::Bool(false) => *name != "additionalProperties",
            Value::String(text) => text.is_empty() && *name != "default",
            Value::Array(list) => list.is_empty() && *name != "default",
            _ => false,
        };
        if node.get(name).is_some_and(|value| !absent(value)) {
            errors.push(Error::forbidden(&path.child(name), *detail));
        }
    }
    if node.get("properties").is_some_and(|p| p.get("metadata").is_some()) {
        errors.push(Error::forbidden(&properties.key("metadata"), "must not be specified in a nested context"));
    }
}

/// `nested`, at `from`, judges values of `node`, at `path`.
fn judged(nested: &Value, node: &Value, path: &Path<'_>, from: &Path<'_>, errors: &mut Vec<Error>) {
    for name in ["allOf", "anyOf", "oneOf"] {
        let at = from.child(name);
        for (index, inner) in list(nested, name).iter().enumerate() {
            judges(inner, Some(node), path, &at.index(index), errors);
        }
    }
    if let Some(inner) = nested.get("not") {
        judges(inner, Some(node), path, &from.child("not"), errors);
    }
}

fn judges(nested: &Value, node: Option<&Value>, path: &Path<'_>, from: &Path<'_>, errors: &mut Vec<Error>) {
    let Some(node) = node else {
        errors.push(Error::required(path, format!("because it is defined in {from}")));
        return;
    };
    judged(nested, node, path, from, errors);
    if let Some(items) = nested.get("items") {
        judges(items, node.get("items"), &path.child("items"), &from.child("items"), errors);
    }
    let empty = Map::new();
    let known = node.get("properties").and_then(Value::as_object).unwrap_or(&empty);
    let (properties, there) = (path.child("properties"), from.child("properties"));
    for (name, field) in fields(nested, "properties") {
        judges(field, known.get(name), &properties.key(name), &there.key(name), errors);
    }
}
