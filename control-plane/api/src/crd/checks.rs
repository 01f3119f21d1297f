//! The value rules of one schema node, compiled from how a CRD's author wrote them.

use super::formats::Format;
use super::pattern::Pattern;
use super::rules::{Programs, Role};
use crate::schema::{Place, Schema, crd_node, flag};
use serde_json::{Map, Number, Value};

/// What is asked of a value beyond its structure. Absent for most nodes.
#[derive(Clone, Debug, Default)]
pub struct Checks {
    pub maximum: Option<Bound>,
    pub minimum: Option<Bound>,
    pub multiple_of: Option<Number>,
    /// Unicode characters.
    pub max_length: Option<u64>,
    pub min_length: Option<u64>,
    pub max_items: Option<u64>,
    pub min_items: Option<u64>,
    pub max_properties: Option<u64>,
    pub min_properties: Option<u64>,
    pub pattern: Option<Pattern>,
    pub format: Option<Format>,
    /// `enum`; empty: anything.
    pub allowed: Box<[Value]>,
    pub all_of: Box<[Schema]>,
    pub any_of: Box<[Schema]>,
    pub one_of: Box<[Schema]>,
    pub not: Option<Box<Schema>>,
    /// At the root: what is asked of `metadata.name` and `generateName` beyond the rules of all objects.
    pub metadata: Option<Box<Schema>>,
    /// `x-kubernetes-validations`.
    pub programs: Option<Programs>,
}

/// `maximum` or `minimum`.
#[derive(Clone, Debug)]
pub struct Bound {
    pub limit: Number,
    pub kind: BoundKind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BoundKind {
    Inclusive,
    Exclusive,
}

impl Checks {
    /// The checks of a node; None where it has none.
    pub(crate) fn of(node: &Map<String, Value>, depth: usize) -> Option<Self> {
        let is_resource = depth == 0 || flag(node, "x-kubernetes-embedded-resource");
        let count = |name: &str| node.get(name).and_then(Value::as_u64);
        let text = |name: &str| node.get(name).and_then(Value::as_str).filter(|text| !text.is_empty());
        let list = |name: &str| -> Box<[Schema]> {
            let nodes = node.get(name).and_then(Value::as_array).into_iter().flatten();
            nodes.map(|node| crd_node(node, Place::Junctor, depth + 1)).collect()
        };
        let bound = |name: &str, exclusive: &str| {
            let kind = if flag(node, exclusive) { BoundKind::Exclusive } else { BoundKind::Inclusive };
            let limit = node.get(name)?.as_number()?.clone();
            Some(Bound { limit, kind })
        };
        let checks = Self {
            maximum: bound("maximum", "exclusiveMaximum"),
            minimum: bound("minimum", "exclusiveMinimum"),
            multiple_of: node.get("multipleOf").and_then(Value::as_number).cloned(),
            max_length: count("maxLength"),
            min_length: count("minLength"),
            max_items: count("maxItems"),
            min_items: count("minItems"),
            max_properties: count("maxProperties"),
            min_properties: count("minProperties"),
            pattern: text("pattern").map(Pattern::new),
            format: text("format").and_then(Format::parse),
            allowed: node.get("enum").and_then(Value::as_array).cloned().unwrap_or_default().into(),
            all_of: list("allOf"),
            any_of: list("anyOf"),
            one_of: list("oneOf"),
            not: node.get("not").filter(|n| n.is_object()).map(|n| Box::new(crd_node(n, Place::Junctor, depth + 1))),
            metadata: None,
            programs: Programs::of(node, if is_resource { Role::Resource } else { Role::Value }),
        };
        checks.is_any().then_some(checks)
    }

    fn is_any(&self) -> bool {
        let counts = [
            self.max_length,
            self.min_length,
            self.max_items,
            self.min_items,
            self.max_properties,
            self.min_properties,
        ];
        counts.iter().any(Option::is_some)
            || self.maximum.is_some()
            || self.minimum.is_some()
            || self.multiple_of.is_some()
            || self.pattern.is_some()
            || self.format.is_some()
            || [&self.all_of, &self.any_of, &self.one_of].iter().any(|list| !list.is_empty())
            || !self.allowed.is_empty()
            || self.not.is_some()
            || self.programs.is_some()
    }
}
