//! The rules of a CRD's `openAPIV3Schema` (`ValidateCustomResourceDefinitionOpenAPISchema`), and the limits that keep a
//! hostile one from costing more than it weighs.

mod defaults;
mod keywords;

use super::rules::{Role, Site, Totals};
use super::{internal, pattern, structural, value};
use crate::field::{Error, Path};
use crate::schema::flag;
use serde_json::{Map, Value};
use std::collections::{BTreeMap, BTreeSet};

/// Most nodes of one schema, those within `allOf` and the like counted, and deepest nesting of them.
const MAX_NODES: usize = 100_000;
pub(super) const MAX_DEPTH: usize = 100;
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
    let unconvertible = structural::unconvertible(schema);
    let sound = unconvertible.is_none() && is_sound(schema, path, &mut errors);
    let mut walk = Walk { errors, rule_errors: Vec::new(), totals: Totals::default() };
    let way = Way { is_root: true, forbidden_defaults: None, inside_meta: false };
    let reach = Reach { is_root: true, uncorrelatable: None, cardinality: Some(1) };
    walk.node(schema, &way, sound.then_some(&reach), path);
    let Walk { mut errors, rule_errors, totals } = walk;
    errors.extend(rule_errors);
    if let Some(why) = unconvertible.filter(|_| errors.is_empty()) {
        errors.push(Error::invalid(path, "", why));
    }
    let has_rules = totals.has_rules();
    totals.conclude(path, &mut errors);
    if has_rules && errors.is_empty() {
        defaults::check_rules(schema, path, &mut value::CEL_BUDGET.clone(), &mut errors);
    }
    errors.truncate(MAX_ERRORS);
    errors
}

/// Whether the schema is structural and its defaults are values of it: only then are rules in CEL looked at.
fn is_sound(schema: &Value, path: &Path<'_>, errors: &mut Vec<Error>) -> bool {
    let before = errors.len();
    let mut structure = structural::check(schema, path);
    structure.extend(patterns(schema, path));
    structure.sort_by_cached_key(ToString::to_string);
    errors.extend(structure);
    if errors.len() == before {
        defaults::check(schema, path, errors);
    }
    errors.len() == before
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
    if has_status {
        root_with_status(schema, path, errors);
    }
    if schema.get("nullable") == Some(&Value::Bool(true)) {
        errors.push(Error::forbidden(&path.child("nullable"), "nullable cannot be true at the root"));
    }
}

/// The schema of the status is taken out of the whole one: what the root says beyond that would be lost. The first fault, in
/// the order of the fields in Go's struct, is all that is told.
fn root_with_status(schema: &Value, path: &Path<'_>, errors: &mut Vec<Error>) {
    let is_set = |value: &Value| !(value.is_null() || value == "" || value == false);
    let kind = schema.get("type").and_then(Value::as_str).unwrap_or_default();
    let foreign = ["id", "$schema"].iter().any(|name| schema.get(name).is_some_and(is_set))
        || schema.get("$ref").is_some_and(|value| !value.is_null());
    if !foreign && !kind.is_empty() && kind != "object" {
        let detail =
            "only \"object\" is allowed as the type at the root of the schema if the status subresource is enabled";
        errors.push(Error::invalid(&path.child("type"), kind, detail));
        return;
    }
    let fields = schema.as_object().into_iter().flatten();
    let known = |name: &String| ROOT_FIELDS.iter().any(|(_, known)| known == name);
    if foreign || fields.into_iter().any(|(name, value)| is_set(value) && !known(name)) {
        let names: Vec<&str> = ROOT_FIELDS.iter().map(|(name, _)| *name).collect();
        let detail = format!(
            "only [{}] fields are allowed at the root of the schema if the status subresource is enabled",
            names.join(" ")
        );
        errors.push(internal::invalid(path, &internal::schema(schema), &detail));
    }
}

/// What holds on the way down to a node.
#[derive(Clone)]
struct Way {
    is_root: bool,
    /// Why no default may be set here.
    forbidden_defaults: Option<String>,
    /// Inside of `metadata`, `kind` or `apiVersion` of a resource.
    inside_meta: bool,
}

/// How the values of a node can be met by its rules in CEL.
#[derive(Clone)]
struct Reach {
    is_root: bool,
    uncorrelatable: Option<String>,
    /// None: not limited.
    cardinality: Option<u64>,
}

/// What a walk over a schema finds. Rules in CEL are looked at where no other fault is at the node or below it.
struct Walk {
    errors: Vec<Error>,
    rule_errors: Vec<Error>,
    totals: Totals,
}

impl Walk {
    /// Without `reach` rules are not looked at: the node is part of a judgement, or something is wrong with the structure.
    fn node(&mut self, schema: &Value, way: &Way, reach: Option<&Reach>, path: &Path<'_>) {
        let Some(map) = schema.as_object() else { return };
        if self.errors.len().max(self.rule_errors.len()) >= MAX_ERRORS {
            return;
        }
        let before = self.errors.len();
        keywords::plain(map, way, path, &mut self.errors);
        self.fields(map, way, reach, path);
        let way = &Way { is_root: false, ..way.clone() };
        if let Some(inner) = map.get("not") {
            self.node(inner, way, None, &path.child("not"));
        }
        for name in ["allOf", "oneOf", "anyOf"] {
            let at = path.child(name);
            for (index, inner) in map.get(name).and_then(Value::as_array).into_iter().flatten().enumerate() {
                self.node(inner, way, None, &at.index(index));
            }
        }
        for name in ["definitions", "dependencies"] {
            let at = path.child(name);
            for (name, inner) in map.get(name).and_then(Value::as_object).into_iter().flatten() {
                self.node(inner, way, None, &at.key(name));
            }
        }
        if let Some(items) = map.get("items") {
            let keyed = map.get("x-kubernetes-list-type").is_some_and(|word| word == "map");
            let below = reach.map(|reach| reach.below(path, keyed, count(map, "maxItems")));
            self.node(items, way, below.as_ref(), &path.child("items"));
        }
        keywords::extensions(map, path, &mut self.errors);
        keywords::rules(schema, path, &mut self.errors);
        let has_rules =
            map.get("x-kubernetes-validations").and_then(Value::as_array).is_some_and(|rules| !rules.is_empty());
        if let Some(reach) = reach.filter(|_| has_rules && self.errors.len() == before) {
            let is_resource = reach.is_root || flag(map, "x-kubernetes-embedded-resource");
            let role = if is_resource { Role::Resource } else { Role::Value };
            let uncorrelatable = reach.uncorrelatable.clone();
            let site = Site { node: schema, role, uncorrelatable, cardinality: reach.cardinality, path };
            self.totals.check(&site, &mut self.rule_errors);
        }
    }

    fn fields(&mut self, map: &Map<String, Value>, way: &Way, reach: Option<&Reach>, path: &Path<'_>) {
        let known = |word: &Value| matches!(word.as_str(), Some("granular" | "atomic"));
        let correlatable = map.get("x-kubernetes-map-type").is_none_or(known);
        let fields = map.get("properties").and_then(Value::as_object).filter(|fields| !fields.is_empty());
        if let Some(additional) = map.get("additionalProperties") {
            let at = path.child("additionalProperties");
            if fields.is_some() && !(additional.is_null() || additional == true) {
                self.errors.push(Error::forbidden(&at, "additionalProperties and properties are mutual exclusive"));
            }
            let mut below = Way { is_root: false, ..way.clone() };
            if way.inside_meta {
                below.forbidden_defaults = Some("inside additionalProperties applying to object metadata".into());
            }
            let inner = reach.map(|reach| reach.below(path, correlatable, count(map, "maxProperties")));
            self.node(additional, &below, inner.as_ref(), &at);
        }
        let properties = path.child("properties");
        for (name, field) in fields.into_iter().flatten() {
            let mut below = Way { is_root: false, ..way.clone() };
            let is_resource = way.is_root || flag(map, "x-kubernetes-embedded-resource");
            if is_resource && matches!(name.as_str(), "metadata" | "kind" | "apiVersion") {
                below.inside_meta = true;
                if way.is_root {
                    below.forbidden_defaults = Some(format!("in top-level {name}"));
                }
            }
            let inner = reach.map(|reach| reach.below(path, correlatable, Some(1)));
            self.node(field, &below, inner.as_ref(), &properties.key(name));
        }
    }
}

impl Reach {
    /// Of what is below a node at `path`, of which each value holds up to `count`.
    fn below(&self, path: &Path<'_>, correlatable: bool, count: Option<u64>) -> Self {
        Self {
            is_root: false,
            uncorrelatable: self.uncorrelatable.clone().or_else(|| (!correlatable).then(|| path.to_string())),
            cardinality: self.cardinality.zip(count).map(|(above, here)| above.saturating_mul(here)),
        }
    }
}

fn count(map: &Map<String, Value>, limit: &str) -> Option<u64> {
    map.get(limit).and_then(Value::as_u64)
}
