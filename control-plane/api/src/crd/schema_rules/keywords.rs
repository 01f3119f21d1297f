//! What the keywords of one schema node may say (`ValidateCustomResourceDefinitionOpenAPISchema`).

use super::super::rules::field_path;
use super::super::{internal, structural};
use super::Way;
use crate::field::{Error, Path};
use crate::schema::{flag, strings};
use serde_json::{Map, Value};
use std::collections::BTreeSet;

/// Most faults of the keys of one list that are told: each shows all keys.
const MAX_KEY_FAULTS: usize = 16;

/// `specStandardValidatorV3.validate`.
pub(super) fn plain(map: &Map<String, Value>, way: &Way, path: &Path<'_>, errors: &mut Vec<Error>) {
    const TYPES: &[&str] = &["array", "boolean", "integer", "number", "object", "string"];
    let kind = map.get("type").and_then(Value::as_str).unwrap_or_default();
    if !kind.is_empty() && !TYPES.contains(&kind) {
        errors.push(Error::not_supported(&path.child("type"), kind, TYPES));
    }
    if map.get("default").is_some_and(|d| !d.is_null())
        && let Some(reason) = &way.forbidden_defaults
    {
        errors.push(Error::forbidden(&path.child("default"), format!("must not be set {reason}")));
    }
    for name in ["id", "additionalItems", "patternProperties", "definitions", "dependencies", "$ref"] {
        // Go's zero values: pointers and `dependencies` may be set to something empty, and are set then.
        let empty = |value: &Value| match value {
            Value::String(text) => name == "id" && text.is_empty(),
            Value::Object(map) => matches!(name, "patternProperties" | "definitions") && map.is_empty(),
            other => other.is_null(),
        };
        if map.get(name).is_some_and(|value| !empty(value)) {
            errors.push(Error::forbidden(&path.child(name), format!("{name} is not supported")));
        }
    }
    if kind == "null" {
        let detail = "type cannot be set to null, use nullable as an alternative";
        errors.push(Error::forbidden(&path.child("type"), detail));
    }
    if map.get("items").and_then(Value::as_array).is_some_and(|items| !items.is_empty()) {
        errors.push(Error::forbidden(&path.child("items"), "items must be a schema object and not an array"));
    }
    if way.inside_meta && flag(map, "x-kubernetes-embedded-resource") {
        let at = path.child("x-kubernetes-embedded-resource");
        errors.push(Error::forbidden(&at, "must not be used inside of resource meta"));
    }
    if flag(map, "uniqueItems") {
        let detail = "uniqueItems cannot be set to true since the runtime complexity becomes quadratic";
        errors.push(Error::forbidden(&path.child("uniqueItems"), detail));
    }
}

/// Kubernetes' own keywords.
pub(super) fn extensions(map: &Map<String, Value>, path: &Path<'_>, errors: &mut Vec<Error>) {
    if map.get("x-kubernetes-preserve-unknown-fields") == Some(&Value::Bool(false)) {
        let at = path.child("x-kubernetes-preserve-unknown-fields");
        errors.push(Error::invalid(&at, false, "must be true or undefined"));
    }
    let text = |name: &str| map.get(name).and_then(Value::as_str);
    let kind = text("type").unwrap_or_default();
    let at_type = path.child("type");
    let wanted = |extension: &str, wanted: &str| {
        let detail = format!("must be {wanted} if {extension} is specified");
        if kind.is_empty() { Error::required(&at_type, detail) } else { Error::invalid(&at_type, kind, detail) }
    };
    let (list_type, map_type) = (text("x-kubernetes-list-type"), text("x-kubernetes-map-type"));
    if map_type.is_some() && kind != "object" {
        errors.push(wanted("x-kubernetes-map-type", "object"));
    }
    if let Some(word) = map_type.filter(|word| !matches!(*word, "atomic" | "granular")) {
        errors.push(Error::not_supported(&path.child("x-kubernetes-map-type"), word, &["atomic", "granular"]));
    }
    if list_type.is_some() && kind != "array" {
        errors.push(wanted("x-kubernetes-list-type", "array"));
    } else if list_type == Some("set") {
        atomic_items(map, path, errors);
    }
    if let Some(word) = list_type.filter(|word| !matches!(*word, "atomic" | "set" | "map")) {
        errors.push(Error::not_supported(&path.child("x-kubernetes-list-type"), word, &["atomic", "set", "map"]));
    }
    let keys = strings(map.get("x-kubernetes-list-map-keys"));
    if !keys.is_empty() && list_type != Some("map") {
        let (at, detail) =
            (path.child("x-kubernetes-list-type"), "must be map if x-kubernetes-list-map-keys is non-empty");
        errors.push(list_type.map_or_else(|| Error::required(&at, detail), |word| Error::invalid(&at, word, detail)));
    }
    if list_type == Some("map") {
        map_keys(map, &keys, path, errors);
    }
    let items = map.get("items").filter(|items| items.is_object());
    if let (Some(word @ ("set" | "map")), Some(items)) = (list_type, items) {
        if items["nullable"] == true {
            let detail = format!("cannot be nullable when x-kubernetes-list-type is {word}");
            errors.push(Error::forbidden(&path.child("items").child("nullable"), detail));
        }
        if word == "map" {
            keys_there(items, &keys, path, errors);
        }
    }
}

/// The items of a set compare as wholes.
fn atomic_items(map: &Map<String, Value>, path: &Path<'_>, errors: &mut Vec<Error>) {
    const DETAIL: &str = "must be atomic as item of a list with x-kubernetes-list-type=set";
    let Some(items) = map.get("items") else { return };
    let at = path.child("items");
    let word = items.get("x-kubernetes-list-type").filter(|word| !word.is_null());
    let (name, bad) = match items.get("type").and_then(Value::as_str) {
        Some("array") => ("x-kubernetes-list-type", word.is_some_and(|word| word != "atomic")),
        Some("object") => {
            ("x-kubernetes-map-type", items.get("x-kubernetes-map-type").is_none_or(|word| word != "atomic"))
        }
        _ => return,
    };
    if bad {
        // The list's type is what is shown, of maps, too.
        errors.push(Error::invalid(&at.child(name), word.cloned().unwrap_or_default(), DETAIL));
    }
}

fn map_keys(map: &Map<String, Value>, keys: &[String], path: &Path<'_>, errors: &mut Vec<Error>) {
    let at_keys = path.child("x-kubernetes-list-map-keys");
    if keys.is_empty() {
        errors.push(Error::required(&at_keys, "must not be empty if x-kubernetes-list-type is map"));
    }
    let at = path.child("items");
    let Some(items) = map.get("items").filter(|items| !items.is_null()) else {
        errors.push(Error::required(&at, "must have a schema if x-kubernetes-list-type is map"));
        return;
    };
    if items.is_array() {
        let detail = "must only have a single schema if x-kubernetes-list-type is map";
        errors.push(internal::invalid(&at, &internal::items(items), detail));
        return;
    }
    let kind = items.get("type").and_then(Value::as_str).unwrap_or_default();
    if kind != "object" {
        let detail = "must be object if parent array's x-kubernetes-list-type is map";
        errors.push(Error::invalid(&at.child("type"), kind, detail));
        return;
    }
    let (properties, most) = (at.child("properties"), errors.len() + MAX_KEY_FAULTS);
    let mut seen = BTreeSet::new();
    for key in keys {
        if errors.len() >= most {
            return;
        }
        match items.get("properties").and_then(|p| p.get(key)) {
            Some(field) if matches!(field["type"].as_str(), Some("array" | "object")) => {
                let detail = "must be a scalar type if parent array's x-kubernetes-list-type is map";
                errors.push(Error::invalid(&properties.key(key).child("type"), kind, detail));
            }
            Some(_) => {}
            None => {
                errors.push(Error::invalid(&at_keys, keys.to_vec(), "entries must all be names of item properties"));
            }
        }
        if !seen.insert(key) {
            errors.push(Error::invalid(&at_keys, keys.to_vec(), "must not contain duplicate entries"));
        }
    }
}

/// Every item has the keys that tell it from others (`validateMapListKeysMapSet`).
fn keys_there(items: &Value, keys: &[String], path: &Path<'_>, errors: &mut Vec<Error>) {
    let required: BTreeSet<String> = strings(items.get("required")).into_iter().collect();
    let at = path.child("items");
    let properties = at.child("properties");
    for key in keys {
        let Some(field) = items.get("properties").and_then(|p| p.get(key)) else { continue };
        let at = properties.key(key);
        if !required.contains(key) && field.get("default").is_none_or(Value::is_null) {
            let detail =
                "this property is in x-kubernetes-list-map-keys, so it must have a default or be a required property";
            errors.push(Error::required(&at.child("default"), detail));
        }
        if field["nullable"] == true {
            let detail = "this property is in x-kubernetes-list-map-keys, so it cannot be nullable";
            errors.push(Error::forbidden(&at.child("nullable"), detail));
        }
    }
}

/// What rules in CEL must be before anybody compiles them.
pub(super) fn rules(node: &Value, path: &Path<'_>, errors: &mut Vec<Error>) {
    const REASONS: &[&str] = &["FieldValueDuplicate", "FieldValueForbidden", "FieldValueInvalid", "FieldValueRequired"];
    const EMPTY: &str = "must be non-empty if specified";
    const BROKEN: &str = "must not contain line breaks";
    let list = path.child("x-kubernetes-validations");
    let odd = std::cell::LazyCell::new(|| structural::unconvertible(node).is_some());
    for (index, rule) in
        node.get("x-kubernetes-validations").and_then(Value::as_array).into_iter().flatten().enumerate()
    {
        let at = list.index(index);
        let text = |name: &str| rule.get(name).and_then(Value::as_str).unwrap_or_default();
        let broken = |text: &str| text.contains(['\n', '\r']);
        let (rule_text, message) = (text("rule").trim(), text("message").trim());
        if rule_text.is_empty() {
            errors.push(Error::required(&at.child("rule"), "rule is not specified"));
        } else if !text("message").is_empty() && message.is_empty() {
            errors.push(Error::invalid(&at.child("message"), text("message"), EMPTY));
        } else if broken(message) {
            errors.push(Error::invalid(&at.child("message"), text("message"), BROKEN));
        } else if broken(rule_text) && message.is_empty() {
            let detail = "message must be specified if rule contains line breaks";
            errors.push(Error::required(&at.child("message"), detail));
        }
        if !text("messageExpression").is_empty() && text("messageExpression").trim().is_empty() {
            let detail = "messageExpression must be non-empty if specified";
            errors.push(Error::required(&at.child("messageExpression"), detail));
        }
        if let Some(reason) = rule.get("reason").and_then(Value::as_str).filter(|reason| !REASONS.contains(reason)) {
            errors.push(Error::not_supported(&at.child("reason"), reason, REASONS));
        }
        let field = text("fieldPath");
        if !field.is_empty() && field.trim().is_empty() {
            errors.push(Error::invalid(&at.child("fieldPath"), field, EMPTY));
        }
        if broken(field) {
            errors.push(Error::invalid(&at.child("fieldPath"), field, BROKEN));
        }
        if !field.is_empty() && field_path::read(field, node).is_err() && !*odd {
            errors.push(Error::invalid(&at.child("fieldPath"), field, "must be a valid path"));
        }
    }
}
