//! The rules of a CRD's `openAPIV3Schema` (`ValidateCustomResourceDefinitionOpenAPISchema`), and the limits that keep a
//! hostile one from costing more than it weighs.

use super::rules::{Role, Site, Totals};
use super::{pattern, structural, value};
use crate::field::{Error, Path};
use crate::schema::{self, Place, flag, strings};
use serde_json::{Map, Value};
use std::collections::{BTreeMap, BTreeSet};

/// Most nodes of one schema, those within `allOf` and the like counted, and deepest nesting of them.
const MAX_NODES: usize = 100_000;
const MAX_DEPTH: usize = 100;
/// Most different regular expressions in one schema: to compile one may take a millisecond.
const MAX_PATTERNS: usize = 1_000;
/// Most errors that are told of one schema.
const MAX_ERRORS: usize = 200;

const ROOT_FIELDS: &[(&str, &str)] = &[
    ("Description", "description"),
    ("Type", "type"),
    ("Format", "format"),
    ("Title", "title"),
    ("Maximum", "maximum"),
    ("ExclusiveMaximum", "exclusiveMaximum"),
    ("Minimum", "minimum"),
    ("ExclusiveMinimum", "exclusiveMinimum"),
    ("MaxLength", "maxLength"),
    ("MinLength", "minLength"),
    ("Pattern", "pattern"),
    ("MaxItems", "maxItems"),
    ("MinItems", "minItems"),
    ("UniqueItems", "uniqueItems"),
    ("MultipleOf", "multipleOf"),
    ("Required", "required"),
    ("Items", "items"),
    ("Properties", "properties"),
    ("ExternalDocs", "externalDocs"),
    ("Example", "example"),
    ("XPreserveUnknownFields", "x-kubernetes-preserve-unknown-fields"),
    ("XValidations", "x-kubernetes-validations"),
];

/// Everything wrong with a schema at `path` (`spec.validation.openAPIV3Schema`).
pub(super) fn check(schema: &Value, has_status: bool, path: &Path<'_>) -> Vec<Error> {
    let mut errors = Vec::new();
    let mut nodes = 0;
    if !is_bounded(schema, 0, &mut nodes) {
        let detail = format!("schema is too large: at most {MAX_NODES} nodes, nested at most {MAX_DEPTH} deep");
        return vec![Error::forbidden(path, detail)];
    }
    root(schema, has_status, path, &mut errors);
    let mut structure = structural::check(schema, path);
    structure.extend(patterns(schema, path));
    structure.sort_by_cached_key(ToString::to_string);
    let is_structural = structure.is_empty();
    errors.extend(structure);
    let walk = Walk { forbidden_defaults: None, inside_meta: false };
    node(schema, &walk, true, path, &mut errors);
    if is_structural && errors.is_empty() {
        defaults(schema, true, path, &mut errors);
    }
    if is_structural && errors.is_empty() {
        let reach = Reach { is_root: true, uncorrelatable: None, cardinality: Some(1) };
        let mut totals = Totals::default();
        expressions(schema, &reach, path, &mut totals, &mut errors);
        let has_rules = totals.has_rules();
        totals.conclude(path, &mut errors);
        if has_rules && errors.is_empty() {
            default_rules(schema, path, &mut value::CEL_BUDGET.clone(), &mut errors);
        }
    }
    errors.truncate(MAX_ERRORS);
    errors
}

fn is_bounded(node: &Value, depth: usize, nodes: &mut usize) -> bool {
    *nodes += 1;
    if depth > MAX_DEPTH || *nodes > MAX_NODES {
        return false;
    }
    let mut one = |node: &Value| !node.is_object() || is_bounded(node, depth + 1, nodes);
    let lists = ["allOf", "anyOf", "oneOf", "items"];
    let maps = ["properties", "patternProperties", "definitions", "dependencies"];
    ["items", "additionalProperties", "additionalItems", "not"].iter().filter_map(|n| node.get(n)).all(&mut one)
        && lists.iter().filter_map(|n| node.get(n)?.as_array()).flatten().all(&mut one)
        && maps.iter().filter_map(|n| node.get(n)?.as_object()).flat_map(Map::values).all(&mut one)
}

/// The patterns that are no regular expressions. Each text is compiled once, however often it stands there.
fn patterns(schema: &Value, path: &Path<'_>) -> Vec<Error> {
    let mut texts = BTreeSet::new();
    each(schema, path, &mut |node, _| texts.extend(pattern_of(node)));
    if texts.len() > MAX_PATTERNS {
        let detail = format!("schema has too many different patterns: at most {MAX_PATTERNS}");
        return vec![Error::forbidden(path, detail)];
    }
    let bad: BTreeMap<String, String> =
        texts.into_iter().filter_map(|text| pattern::compile(&text).err().map(|error| (text, error))).collect();
    let mut errors = Vec::new();
    if !bad.is_empty() {
        each(schema, path, &mut |node, path| {
            if let Some((text, error)) = pattern_of(node).and_then(|text| bad.get_key_value(&text)) {
                let detail = format!("must be a valid regular expression, but isn't: {error}");
                errors.push(Error::invalid(&path.child("pattern"), text.as_str(), detail));
            }
        });
    }
    errors
}

fn pattern_of(node: &Value) -> Option<String> {
    node.get("pattern").and_then(Value::as_str).map(str::to_owned)
}

/// Looks at a node and every node below it.
fn each(node: &Value, path: &Path<'_>, look: &mut dyn FnMut(&Value, &Path<'_>)) {
    look(node, path);
    for name in ["items", "additionalProperties", "not"] {
        if let Some(inner) = node.get(name).filter(|inner| inner.is_object()) {
            each(inner, &path.child(name), look);
        }
    }
    for name in ["allOf", "anyOf", "oneOf"] {
        let at = path.child(name);
        for (index, inner) in node.get(name).and_then(Value::as_array).into_iter().flatten().enumerate() {
            each(inner, &at.index(index), look);
        }
    }
    let at = path.child("properties");
    for (name, inner) in node.get("properties").and_then(Value::as_object).into_iter().flatten() {
        each(inner, &at.key(name), look);
    }
}

fn root(schema: &Value, has_status: bool, path: &Path<'_>, errors: &mut Vec<Error>) {
    let kind = schema.get("type").and_then(Value::as_str).unwrap_or_default();
    if has_status {
        if !kind.is_empty() && kind != "object" {
            let detail =
                "only \"object\" is allowed as the type at the root of the schema if the status subresource is enabled";
            errors.push(Error::invalid(&path.child("type"), kind, detail));
        }
        let keys = schema.as_object().into_iter().flat_map(Map::keys);
        if keys.into_iter().any(|key| !ROOT_FIELDS.iter().any(|(_, known)| known == key)) {
            let names: Vec<&str> = ROOT_FIELDS.iter().map(|(name, _)| *name).collect();
            let detail = format!(
                "only [{}] fields are allowed at the root of the schema if the status subresource is enabled",
                names.join(" ")
            );
            errors.push(Error::invalid(path, schema.clone(), detail));
        }
    }
    if schema.get("nullable") == Some(&Value::Bool(true)) {
        errors.push(Error::forbidden(&path.child("nullable"), "nullable cannot be true at the root"));
    }
}

/// What holds on the way down to a node.
#[derive(Clone)]
struct Walk {
    /// Why no default may be set here.
    forbidden_defaults: Option<String>,
    /// Inside of `metadata`, `kind` or `apiVersion` of a resource.
    inside_meta: bool,
}

fn node(schema: &Value, walk: &Walk, is_root: bool, path: &Path<'_>, errors: &mut Vec<Error>) {
    let Some(map) = schema.as_object().filter(|_| errors.len() < MAX_ERRORS) else { return };
    keywords(map, walk, path, errors);
    extensions(map, path, errors);
    if let Some(additional) = map.get("additionalProperties") {
        let at = path.child("additionalProperties");
        let has_fields = map.get("properties").and_then(Value::as_object).is_some_and(|p| !p.is_empty());
        if has_fields && additional != &Value::Bool(true) {
            errors.push(Error::forbidden(&at, "additionalProperties and properties are mutual exclusive"));
        }
        let mut below = walk.clone();
        if walk.inside_meta {
            below.forbidden_defaults = Some("inside additionalProperties applying to object metadata".into());
        }
        node(additional, &below, false, &at, errors);
    }
    let properties = path.child("properties");
    for (name, field) in map.get("properties").and_then(Value::as_object).into_iter().flatten() {
        let mut below = walk.clone();
        let is_resource = is_root || flag(map, "x-kubernetes-embedded-resource");
        if is_resource && matches!(name.as_str(), "metadata" | "kind" | "apiVersion") {
            below.inside_meta = true;
            if is_root {
                below.forbidden_defaults = Some(format!("in top-level {name}"));
            }
        }
        node(field, &below, false, &properties.key(name), errors);
    }
    for name in ["not", "items"] {
        if let Some(inner) = map.get(name) {
            node(inner, walk, false, &path.child(name), errors);
        }
    }
    for name in ["allOf", "oneOf", "anyOf"] {
        let at = path.child(name);
        for (index, inner) in map.get(name).and_then(Value::as_array).into_iter().flatten().enumerate() {
            node(inner, walk, false, &at.index(index), errors);
        }
    }
    expressions_shape(map, path, errors);
}

/// `specStandardValidatorV3.validate`.
fn keywords(map: &Map<String, Value>, walk: &Walk, path: &Path<'_>, errors: &mut Vec<Error>) {
    const TYPES: &[&str] = &["array", "boolean", "integer", "number", "object", "string"];
    let kind = map.get("type").and_then(Value::as_str).unwrap_or_default();
    if !kind.is_empty() && !TYPES.contains(&kind) {
        errors.push(Error::not_supported(&path.child("type"), kind, TYPES));
    }
    if map.get("default").is_some_and(|d| !d.is_null())
        && let Some(reason) = &walk.forbidden_defaults
    {
        errors.push(Error::forbidden(&path.child("default"), format!("must not be set {reason}")));
    }
    for name in ["id", "additionalItems", "patternProperties", "definitions", "dependencies", "$ref"] {
        let empty = |value: &Value| value == "" || value.as_object().is_some_and(Map::is_empty) || value.is_null();
        if map.get(name).is_some_and(|value| !empty(value)) {
            errors.push(Error::forbidden(&path.child(name), format!("{name} is not supported")));
        }
    }
    if kind == "null" {
        let detail = "type cannot be set to null, use nullable as an alternative";
        errors.push(Error::forbidden(&path.child("type"), detail));
    }
    if map.get("items").is_some_and(Value::is_array) {
        errors.push(Error::forbidden(&path.child("items"), "items must be a schema object and not an array"));
    }
    if flag(map, "uniqueItems") {
        let detail = "uniqueItems cannot be set to true since the runtime complexity becomes quadratic";
        errors.push(Error::forbidden(&path.child("uniqueItems"), detail));
    }
    if walk.inside_meta && flag(map, "x-kubernetes-embedded-resource") {
        let at = path.child("x-kubernetes-embedded-resource");
        errors.push(Error::forbidden(&at, "must not be used inside of resource meta"));
    }
    if map.get("x-kubernetes-preserve-unknown-fields") == Some(&Value::Bool(false)) {
        let at = path.child("x-kubernetes-preserve-unknown-fields");
        errors.push(Error::invalid(&at, false, "must be true or undefined"));
    }
}

fn extensions(map: &Map<String, Value>, path: &Path<'_>, errors: &mut Vec<Error>) {
    let text = |name: &str| map.get(name).and_then(Value::as_str);
    let kind = text("type").unwrap_or_default();
    let at_type = path.child("type");
    let mut wanted = |extension: &str, wanted: &str| {
        let detail = format!("must be {wanted} if {extension} is specified");
        errors.push(if kind.is_empty() {
            Error::required(&at_type, detail)
        } else {
            Error::invalid(&at_type, kind, detail)
        });
    };
    let (list_type, map_type) = (text("x-kubernetes-list-type"), text("x-kubernetes-map-type"));
    if map_type.is_some() && kind != "object" {
        wanted("x-kubernetes-map-type", "object");
    }
    if list_type.is_some() && kind != "array" {
        wanted("x-kubernetes-list-type", "array");
    }
    if let Some(word) = map_type.filter(|word| !matches!(*word, "atomic" | "granular")) {
        errors.push(Error::not_supported(&path.child("x-kubernetes-map-type"), word, &["atomic", "granular"]));
    }
    if let Some(word) = list_type.filter(|word| !matches!(*word, "atomic" | "set" | "map")) {
        errors.push(Error::not_supported(&path.child("x-kubernetes-list-type"), word, &["atomic", "set", "map"]));
    }
    if list_type == Some("set") && kind == "array" {
        atomic_items(map, path, errors);
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
    if let Some(word @ ("set" | "map")) = list_type
        && map.get("items").is_some_and(|items| items["nullable"] == true)
    {
        let detail = format!("cannot be nullable when x-kubernetes-list-type is {word}");
        errors.push(Error::forbidden(&path.child("items").child("nullable"), detail));
    }
}

/// The items of a set compare as wholes.
fn atomic_items(map: &Map<String, Value>, path: &Path<'_>, errors: &mut Vec<Error>) {
    const DETAIL: &str = "must be atomic as item of a list with x-kubernetes-list-type=set";
    let Some(items) = map.get("items") else { return };
    let at = path.child("items");
    let (name, bad) = match items.get("type").and_then(Value::as_str) {
        Some("array") => {
            let word = items.get("x-kubernetes-list-type");
            ("x-kubernetes-list-type", word.is_some_and(|word| word != "atomic"))
        }
        Some("object") => {
            ("x-kubernetes-map-type", items.get("x-kubernetes-map-type").is_none_or(|word| word != "atomic"))
        }
        _ => return,
    };
    if bad {
        errors.push(Error::invalid(&at.child(name), items.get(name).cloned().unwrap_or_default(), DETAIL));
    }
}

fn map_keys(map: &Map<String, Value>, keys: &[String], path: &Path<'_>, errors: &mut Vec<Error>) {
    let at_keys = path.child("x-kubernetes-list-map-keys");
    if keys.is_empty() {
        errors.push(Error::required(&at_keys, "must not be empty if x-kubernetes-list-type is map"));
    }
    let at = path.child("items");
    let Some(items) = map.get("items") else {
        errors.push(Error::required(&at, "must have a schema if x-kubernetes-list-type is map"));
        return;
    };
    if items["type"] != "object" {
        let detail = "must be object if parent array's x-kubernetes-list-type is map";
        errors.push(Error::invalid(&at.child("type"), items.get("type").cloned().unwrap_or_default(), detail));
        return;
    }
    let required = strings(items.get("required"));
    let properties = at.child("properties");
    for (index, key) in keys.iter().enumerate() {
        if keys[..index].contains(key) {
            errors.push(Error::invalid(&at_keys, keys.to_vec(), "must not contain duplicate entries"));
        }
        let at = properties.key(key);
        let Some(field) = items.get("properties").and_then(|p| p.get(key)) else {
            errors.push(Error::invalid(&at_keys, keys.to_vec(), "entries must all be names of item properties"));
            continue;
        };
        if matches!(field["type"].as_str(), Some("array" | "object")) {
            let detail = "must be a scalar type if parent array's x-kubernetes-list-type is map";
            errors.push(Error::invalid(&at.child("type"), "object", detail));
        }
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

/// Defaults must be what their own schema accepts and keeps (`structuraldefaulting.ValidateDefaults`).
fn defaults(node: &Value, is_root: bool, path: &Path<'_>, errors: &mut Vec<Error>) {
    if let Some(default) = node.get("default").filter(|d| !d.is_null()) {
        let at = path.child("default");
        let schema = schema::crd_node(node, Place::Structure, 0);
        let mut pruned = default.clone();
        schema::prune(&schema, &mut pruned);
        if pruned != *default {
            errors.push(Error::invalid(&at, default.clone(), "must not have unknown fields"));
        }
        let found = value::validate_part(&schema, default, &at);
        errors.extend(found);
    }
    let properties = path.child("properties");
    for (name, field) in node.get("properties").and_then(Value::as_object).into_iter().flatten() {
        if !(is_root && matches!(name.as_str(), "metadata" | "kind" | "apiVersion")) {
            defaults(field, false, &properties.key(name), errors);
        }
    }
    for name in ["items", "additionalProperties"] {
        if let Some(inner) = node.get(name).filter(|inner| inner.is_object()) {
            defaults(inner, false, &path.child(name), errors);
        }
    }
}

/// Defaults must keep the rules of their own schema too, once these are known to be rules.
fn default_rules(node: &Value, path: &Path<'_>, budget: &mut u64, errors: &mut Vec<Error>) {
    if let Some(default) = node.get("default").filter(|d| !d.is_null()) {
        let schema = schema::crd_node(node, Place::Structure, 1);
        errors.extend(value::validate_rules(&schema, default, &path.child("default"), budget));
    }
    let properties = path.child("properties");
    for (name, field) in node.get("properties").and_then(Value::as_object).into_iter().flatten() {
        default_rules(field, &properties.key(name), budget, errors);
    }
    for name in ["items", "additionalProperties"] {
        if let Some(inner) = node.get(name).filter(|inner| inner.is_object()) {
            default_rules(inner, &path.child(name), budget, errors);
        }
    }
}

/// What rules in CEL must be before anybody compiles them.
fn expressions_shape(map: &Map<String, Value>, path: &Path<'_>, errors: &mut Vec<Error>) {
    const REASONS: &[&str] = &["FieldValueDuplicate", "FieldValueForbidden", "FieldValueInvalid", "FieldValueRequired"];
    let list = path.child("x-kubernetes-validations");
    for (index, rule) in map.get("x-kubernetes-validations").and_then(Value::as_array).into_iter().flatten().enumerate()
    {
        let at = list.index(index);
        let text = |name: &str| rule.get(name).and_then(Value::as_str).unwrap_or_default();
        let broken = |text: &str| text.contains(['\n', '\r']);
        let (rule_text, message) = (text("rule").trim(), text("message").trim());
        if rule_text.is_empty() {
            errors.push(Error::required(&at.child("rule"), "rule is not specified"));
        } else if !text("message").is_empty() && message.is_empty() {
            errors.push(Error::invalid(
                &at.child("message"),
                text("message"),
                "message must be non-empty if specified",
            ));
        } else if broken(message) {
            errors.push(Error::invalid(&at.child("message"), text("message"), "message must not contain line breaks"));
        } else if broken(rule_text) && message.is_empty() {
            let detail = "message must be specified if rule contains line breaks";
            errors.push(Error::required(&at.child("message"), detail));
        }
        if !text("messageExpression").is_empty() && text("messageExpression").trim().is_empty() {
            let detail = "messageExpression must be non-empty if specified";
            errors.push(Error::required(&at.child("messageExpression"), detail));
        }
        if !text("reason").is_empty() && !REASONS.contains(&text("reason")) {
            errors.push(Error::not_supported(&at.child("reason"), text("reason"), REASONS));
        }
        if !text("fieldPath").is_empty() && text("fieldPath").trim().is_empty() {
            let detail = "fieldPath must be non-empty if specified";
            errors.push(Error::invalid(&at.child("fieldPath"), text("fieldPath"), detail));
        }
        if broken(text("fieldPath")) {
            let detail = "fieldPath must not contain line breaks";
            errors.push(Error::invalid(&at.child("fieldPath"), text("fieldPath"), detail));
        }
    }
}

/// How the values of a node can be met by its rules.
struct Reach {
    is_root: bool,
    uncorrelatable: Option<String>,
    /// None: not limited.
    cardinality: Option<u64>,
}

/// Hands the rules of every node to the interpreter.
fn expressions(node: &Value, reach: &Reach, path: &Path<'_>, totals: &mut Totals, errors: &mut Vec<Error>) {
    let Some(map) = node.as_object().filter(|_| errors.len() < MAX_ERRORS) else { return };
    let role = if reach.is_root || flag(map, "x-kubernetes-embedded-resource") { Role::Resource } else { Role::Value };
    if map.get("x-kubernetes-validations").and_then(Value::as_array).is_some_and(|rules| !rules.is_empty()) {
        let uncorrelatable = reach.uncorrelatable.clone();
        totals.check(&Site { node, role, uncorrelatable, cardinality: reach.cardinality, path }, errors);
    }
    let below = |correlatable: bool, cardinality: Option<u64>| Reach {
        is_root: false,
        uncorrelatable: reach.uncorrelatable.clone().or_else(|| (!correlatable).then(|| path.to_string())),
        cardinality: reach.cardinality.zip(cardinality).map(|(above, here)| above.saturating_mul(here)),
    };
    let count = |limit: &str| map.get(limit).and_then(Value::as_u64);
    let granular = map.get("x-kubernetes-map-type").is_none_or(|word| word != "atomic");
    let properties = path.child("properties");
    for (name, field) in map.get("properties").and_then(Value::as_object).into_iter().flatten() {
        expressions(field, &below(granular, Some(1)), &properties.key(name), totals, errors);
    }
    if let Some(values) = map.get("additionalProperties") {
        expressions(
            values,
            &below(granular, count("maxProperties")),
            &path.child("additionalProperties"),
            totals,
            errors,
        );
    }
    if let Some(items) = map.get("items") {
        let keyed = map.get("x-kubernetes-list-type").is_some_and(|word| word == "map");
        expressions(items, &below(keyed, count("maxItems")), &path.child("items"), totals, errors);
    }
}
