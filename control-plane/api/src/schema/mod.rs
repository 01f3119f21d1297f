//! Structural schemas: what an object of a kind may look like, small enough to keep one for every kind in use.
//! From them come strict field checks, pruning, merging and the type errors of Go's decoder.
//! Descriptions are not kept (see `openapi`); whether a value is *sensible* is for strategies to say.
//!
//! Invariant: a schema is immutable; built-in ones share their definitions for the life of the process.

mod builtin;
mod check;
mod crd;
mod facts;
mod normal;
#[cfg(test)]
mod normal_tests;
#[cfg(test)]
mod tests;

pub(crate) use builtin::{builtin, short_name};
pub use check::{apply_defaults, check, check_types, unknown_fields};
pub(crate) use crd::{Place, flag, node as crd_node, strings};
pub(crate) use facts::find as find_facts;
pub use facts::{Facts, Merge};
pub use normal::{Zero, prune};

use serde_json::Value;
use std::sync::{Arc, OnceLock};

/// One node of a schema.
#[derive(Clone, Debug, Default)]
pub struct Schema {
    pub shape: Shape,
    /// How this place merges, where that is not the default.
    pub facts: Option<Arc<Facts>>,
    /// What becomes of the field when nothing is in it.
    pub zero: Zero,
    /// What a CRD's author asks of this place; built-in schemas leave that to strategies.
    pub rules: Option<Box<Rules>>,
}

/// The structure of a value.
#[derive(Clone, Debug, Default)]
pub enum Shape {
    /// Anything: `x-kubernetes-preserve-unknown-fields` without a type, `RawExtension`, `JSON`.
    #[default]
    Any,
    Text(Format),
    Boolean,
    Int32,
    Int64,
    Number,
    IntOrString,
    /// `resource.Quantity`: text or a number.
    Quantity,
    Object(Object),
    /// An object whose keys are data.
    Map(Arc<Schema>),
    List(Arc<Schema>),
    /// A built-in definition.
    Named(&'static Definition),
    /// A built-in definition, or a value that is no object (`JSONSchemaPropsOrBool`).
    Either(&'static Definition),
}

/// What a string holds, as far as decoding cares.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    Plain,
    /// Base64 of bytes.
    Byte,
    /// `metav1.Time`: RFC 3339, kept in UTC with whole seconds.
    Time,
    /// `metav1.MicroTime`: the same with six decimals.
    MicroTime,
}

/// An object with known fields.
#[derive(Clone, Debug, Default)]
pub struct Object {
    /// Sorted by name.
    fields: Box<[(Box<str>, Schema)]>,
    pub unknown: Unknown,
    /// How many of the fields are always there.
    shown: usize,
}

/// What becomes of fields that the schema does not name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Unknown {
    #[default]
    Prune,
    /// `x-kubernetes-preserve-unknown-fields`.
    Keep,
}

/// A built-in definition, such as `io.k8s.api.core.v1.PodSpec`; it may contain itself.
#[derive(Debug)]
pub struct Definition {
    pub name: Box<str>,
    body: OnceLock<Schema>,
}

/// The `format` of a number, as far as messages and ranges need it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum NumberFormat {
    #[default]
    None,
    Int64,
    Float,
}

/// The parts of a CRD's schema beyond structure. Kept small: there is one for every node of every CRD in use.
#[derive(Clone, Debug, Default)]
pub struct Rules {
    pub required: Box<[Box<str>]>,
    pub default: Option<Box<Value>>,
    pub nullable: bool,
    /// `x-kubernetes-embedded-resource`.
    pub embedded: bool,
    /// Whether the node says a type. Those within `allOf`, `anyOf`, `oneOf` and `not` do not.
    pub typed: bool,
    /// Whether this node or one below it has `x-kubernetes-validations`.
    pub has_programs: bool,
    /// Whether this node or one below it is an object of its own.
    pub has_embedded: bool,
    /// Whether this node or one below it is a list that is a set or a map.
    pub has_keyed: bool,
    pub number: NumberFormat,
    pub checks: Option<Box<crate::crd::checks::Checks>>,
}

impl Object {
    #[must_use]
    pub fn new(fields: impl IntoIterator<Item = (String, Schema)>, unknown: Unknown) -> Self {
        let mut fields: Vec<(Box<str>, Schema)> = fields.into_iter().map(|(n, s)| (n.into(), s)).collect();
        fields.sort_by(|a, b| a.0.cmp(&b.0));
        let shown = fields.iter().filter(|(_, field)| field.zero.is_shown()).count();
        Self { fields: fields.into(), unknown, shown }
    }

    #[must_use]
    pub fn field(&self, name: &str) -> Option<&Schema> {
        let at = self.fields.binary_search_by(|(field, _)| field.as_ref().cmp(name)).ok()?;
        Some(&self.fields[at].1)
    }

    pub fn fields(&self) -> impl Iterator<Item = (&str, &Schema)> {
        self.fields.iter().map(|(name, schema)| (name.as_ref(), schema))
    }
}

impl Definition {
    /// `PodSpec` of `io.k8s.api.core.v1.PodSpec`.
    #[must_use]
    pub fn type_name(&self) -> &str {
        self.name.rsplit('.').next().unwrap_or(&self.name)
    }
}

impl Definition {
    /// What it says; nothing until the first kind that reaches it has been asked for.
    pub(crate) fn schema(&self) -> &Schema {
        self.body.get_or_init(Schema::default)
    }
}

impl Schema {
    #[must_use]
    pub fn of(shape: Shape) -> Self {
        Self { shape, facts: None, zero: Zero::default(), rules: None }
    }

    /// A CRD's `openAPIV3Schema`, which validation has accepted: what it would refuse is left out here.
    #[must_use]
    pub fn of_crd(schema: &Value) -> Self {
        crd::convert(schema)
    }

    /// The node itself, or the definition that it names.
    #[must_use]
    pub fn resolved(&self) -> &Self {
        match &self.shape {
            Shape::Named(definition) => definition.schema().resolved(),
            _ => self,
        }
    }

    /// The schema of a field, or of a map's values.
    #[must_use]
    pub fn child(&self, name: &str) -> Option<&Self> {
        match &self.resolved().shape {
            Shape::Object(object) => object.field(name),
            Shape::Map(values) => Some(values),
            _ => None,
        }
    }

    /// The schema of a list's items.
    #[must_use]
    pub fn items(&self) -> Option<&Self> {
        match &self.resolved().shape {
            Shape::List(items) => Some(items),
            _ => None,
        }
    }

    /// How lists and maps at this place merge in server-side apply: what the place says, else its definition.
    #[must_use]
    pub fn merge(&self) -> Merge<'_> {
        let said = |schema: &'_ Self| schema.facts.as_ref().is_some_and(|f| f.says_merge());
        match (&self.facts, &self.resolved().facts) {
            (Some(facts), _) if said(self) => facts.merge(),
            (_, Some(facts)) => facts.merge(),
            _ => Merge::Unsaid,
        }
    }
}
