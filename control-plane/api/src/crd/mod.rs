//! Custom resources: what a CRD says, checked ([`spec`], `structural`) and made into rows of the kinds table ([`rows`]).
//!
//! A [`Definition`] is one CRD as it is served, shared by the rows of its versions. Pure: the API server's `crd` module
//! follows the store, writes conditions and calls conversion webhooks.

mod acceptance;
mod bundle;
pub mod checks;
mod columns;
#[cfg(test)]
mod fact_tests;
pub(crate) mod formats;
mod internal;
pub mod jsonpath;
pub(crate) mod pattern;
mod rows;
pub mod rules;
mod scale;
pub mod schema_rules;
pub mod spec;
mod strategy;
mod structural;
#[cfg(test)]
mod tests;
pub(crate) mod url;
pub mod value;

pub use acceptance::{FINALIZER, Verdict, established, finish, is_terminating, settle};
pub use rows::rows;

use crate::kinds::{LazySchema, Scope, Verb, group_version, version_priority};
use crate::schema;
use crate::selector::Fields;
use crate::{Reason, Status, meta};
use serde_json::{Map, Value, json};
use sha2::{Digest as _, Sha256};
use std::sync::Arc;

/// The group of CRDs, and their storage prefix's first part.
pub const GROUP: &str = "apiextensions.k8s.io";

/// Which CRD a row was made from.
#[derive(Clone)]
pub struct Custom {
    pub definition: Arc<Definition>,
    /// Position of the row's version in `definition.versions`.
    index: usize,
}

/// A CRD, as its rows need it.
pub struct Definition {
    pub name: String,
    pub uid: String,
    pub group: String,
    pub kind: String,
    pub plural: String,
    pub versions: Vec<Version>,
    /// Position of the version that is stored.
    storage: usize,
    pub conversion: Conversion,
    pub phase: Phase,
    /// The selectable fields of all versions.
    selectable: Vec<Selectable>,
}

/// One version of a CRD, served or not.
pub struct Version {
    pub name: String,
    pub served: bool,
    /// The warning that every request gets.
    pub deprecation: Option<String>,
    pub schema: LazySchema,
    /// Tells schemas apart that prune, default or index differently: an object that was written under another stamp is
    /// brought up to date when it is read.
    pub stamp: String,
    /// The names of the fields that this version can be selected by: `spec.color`.
    selectable: Vec<String>,
    has_status: bool,
    scale: Option<scale::Scale>,
}

/// Where a CRD is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    Serving,
    /// Being deleted: no object more may be created.
    Terminating,
}

/// `spec.conversion`.
#[derive(Clone, Debug, PartialEq)]
pub enum Conversion {
    /// Versions differ in nothing but `apiVersion`.
    None,
    Webhook {
        /// `clientConfig`: `url` or `service`, and `caBundle`.
        client: Value,
        /// `conversionReviewVersions`.
        reviews: Vec<String>,
    },
}

struct Selectable {
    /// `spec.color`, as field selectors say it.
    name: String,
    /// `["spec", "color"]`.
    path: Vec<String>,
}

/// The field of an object's index that holds its [`Version::stamp`]. No field selector can name it.
pub const STAMP: &str = "\u{1}";

impl Custom {
    #[must_use]
    pub fn version(&self) -> &Version {
        &self.definition.versions[self.index]
    }

    /// `group/version` of the row.
    #[must_use]
    pub fn api_version(&self) -> String {
        group_version(&self.definition.group, &self.version().name)
    }

    /// Whether the row's version is the stored one.
    #[must_use]
    pub fn is_stored_version(&self) -> bool {
        self.index == self.definition.storage
    }

    pub(crate) fn advertised_verbs<'v>(&self, all: &'v [Verb]) -> &'v [Verb] {
        match self.definition.phase {
            Phase::Serving => all,
            Phase::Terminating => rows::TERMINATING,
        }
    }

    /// Refuses new objects of a CRD that is being deleted.
    ///
    /// # Errors
    /// 405.
    pub fn check_create(&self) -> Result<(), Status> {
        if self.definition.phase == Phase::Serving {
            return Ok(());
        }
        let message = "create not allowed while custom resource definition is terminating";
        Err(Status::new(Reason::MethodNotAllowed, message).with_subject(
            &self.definition.group,
            &self.definition.plural,
            "",
        ))
    }

    /// The fields that the version can be selected by.
    pub fn selectable_fields(&self) -> impl Iterator<Item = &str> {
        self.version().selectable.iter().map(String::as_str)
    }

    /// # Errors
    /// 400 for a field that the version cannot be selected by.
    pub(crate) fn check_selector(&self, scope: Scope, fields: &Fields) -> Result<(), Status> {
        let known = |field: &str| match field {
            "metadata.name" => true,
            "metadata.namespace" => scope == Scope::Namespaced,
            field => self.version().selectable.iter().any(|known| known == field),
        };
        match fields.terms().iter().find(|term| !known(&term.field)) {
            None => Ok(()),
            Some(term) => Err(Status::bad_request(format!("field label not supported: {}", term.field))),
        }
    }
}

impl Definition {
    /// Reads a CRD that validation has accepted. None: it is no CRD.
    #[must_use]
    pub fn of(object: &Value) -> Option<Self> {
        let spec = object.get("spec")?;
        let names = spec.get("names")?;
        let text = |value: &Value, field: &str| Some(value.get(field)?.as_str()?.to_owned());
        let list = spec.get("versions")?.as_array()?;
        let storage = list.iter().position(|version| version["storage"] == true)?;
        let (group, kind) = (text(spec, "group")?, text(names, "kind")?);
        let mut selectable: Vec<Selectable> = Vec::new();
        for path in list.iter().flat_map(selectable_paths) {
            let found = Selectable::of(&path);
            if !selectable.iter().any(|known| known.name == found.name) {
                selectable.push(found);
            }
        }
        let versions: Vec<Version> = list
            .iter()
            .filter_map(|version| {
                let deprecation = deprecation(version, list, (&group, &kind));
                Version::of(version, deprecation, &selectable)
            })
            .collect();
        (versions.len() == list.len()).then_some(Self {
            name: meta::name(object).to_owned(),
            uid: meta::uid(object).to_owned(),
            plural: text(names, "plural")?,
            group,
            kind,
            versions,
            storage,
            conversion: conversion(spec),
            phase: if is_terminating(object) { Phase::Terminating } else { Phase::Serving },
            selectable,
        })
    }

    #[must_use]
    pub fn stored_version(&self) -> &Version {
        &self.versions[self.storage]
    }

    /// `group/version` of what is written to the store.
    #[must_use]
    pub fn stored_api_version(&self) -> String {
        group_version(&self.group, &self.stored_version().name)
    }

    /// The version called `apiVersion`, served or not.
    #[must_use]
    pub fn version_of(&self, api_version: &str) -> Option<&Version> {
        let name = api_version.strip_prefix(&*self.group)?.strip_prefix('/')?;
        self.versions.iter().find(|version| version.name == name)
    }

    /// Where the objects are kept: [`crate::Resource::storage`].
    #[must_use]
    pub fn place(&self) -> String {
        format!("{}/{}", self.group, self.plural)
    }

    /// What an object's index holds: its selectable fields and the stamp of the schema that it was written under.
    fn index(&self, object: &Value) -> Vec<(&str, String)> {
        let value = |selectable: &Selectable| {
            let found = selectable.path.iter().try_fold(object, |value, part| value.get(part));
            match found {
                Some(Value::String(text)) => text.clone(),
                Some(value @ (Value::Bool(_) | Value::Number(_))) => value.to_string(),
                _ => String::new(),
            }
        };
        let stamp = (STAMP, self.stored_version().stamp.clone());
        std::iter::once(stamp).chain(self.selectable.iter().map(|s| (s.name.as_str(), value(s)))).collect()
    }
}

impl Version {
    fn of(version: &Value, deprecation: Option<String>, selectable: &[Selectable]) -> Option<Self> {
        let name = version.get("name")?.as_str()?.to_owned();
        let schema = version.pointer("/schema/openAPIV3Schema").cloned().unwrap_or_else(|| json!({"type": "object"}));
        Some(Self {
            deprecation,
            served: version.get("served").and_then(Value::as_bool).unwrap_or_default(),
            stamp: stamp(&schema, selectable),
            schema: LazySchema::custom(schema.to_string().into()),
            selectable: selectable_paths(version).iter().map(|path| Selectable::of(path).name).collect(),
            has_status: version.pointer("/subresources/status").is_some_and(Value::is_object),
            scale: scale::Scale::of(version),
            name,
        })
    }

    /// An object of another version, or of an older schema, as this version's schema leaves it.
    pub fn prune(&self, object: &mut Value) {
        schema::prune(self.schema.get(), object);
    }

    /// Fills the schema's defaults.
    pub fn default(&self, object: &mut Value) {
        schema::apply_defaults(self.schema.get(), object);
    }
}

impl Selectable {
    fn of(json_path: &str) -> Self {
        let name = json_path.trim_start_matches('.').to_owned();
        let path = name.split('.').map(str::to_owned).collect();
        Self { name, path }
    }
}

/// What every request to a deprecated version is warned with: its author's words, or Kubernetes', which name the newest of the
/// newer versions.
fn deprecation(version: &Value, all: &[Value], (group, kind): (&str, &str)) -> Option<String> {
    let is = |version: &Value, field: &str| version.get(field).and_then(Value::as_bool).unwrap_or_default();
    let name = |version: &Value| version.get("name").and_then(Value::as_str).unwrap_or_default().to_owned();
    if !is(version, "deprecated") {
        return None;
    }
    if let Some(own) = version.get("deprecationWarning").and_then(Value::as_str) {
        return Some(own.to_owned());
    }
    let rank = |version: &Value| version_priority(&name(version));
    let newer = |other: &&Value| is(other, "served") && !is(other, "deprecated") && rank(other) > rank(version);
    let warning = format!("{} {kind} is deprecated", group_version(group, &name(version)));
    Some(match all.iter().filter(newer).max_by_key(|other| rank(other)) {
        Some(newest) => format!("{warning}; use {} {kind}", group_version(group, &name(newest))),
        None => warning,
    })
}

fn selectable_paths(version: &Value) -> Vec<String> {
    let list = version.get("selectableFields").and_then(Value::as_array).into_iter().flatten();
    list.filter_map(|field| field.get("jsonPath")?.as_str().map(str::to_owned)).collect()
}

fn conversion(spec: &Value) -> Conversion {
    let webhook = spec.pointer("/conversion/webhook");
    match webhook.filter(|_| spec["conversion"]["strategy"] == "Webhook") {
        None => Conversion::None,
        Some(webhook) => Conversion::Webhook {
            client: webhook.get("clientConfig").cloned().unwrap_or_default(),
            reviews: schema::strings(webhook.get("conversionReviewVersions")),
        },
    }
}

/// A hash of the parts of a schema that change what is stored and indexed: structure, defaults, selectable fields.
fn stamp(schema: &Value, selectable: &[Selectable]) -> String {
    let mut sum = Sha256::new();
    sum.update(bones(schema).to_string());
    for field in selectable {
        sum.update([0]);
        sum.update(&field.name);
    }
    sum.finalize()[..8].iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The schema without what only judges or describes.
fn bones(schema: &Value) -> Value {
    const KEPT: &[&str] = &[
        "type",
        "default",
        "nullable",
        "x-kubernetes-preserve-unknown-fields",
        "x-kubernetes-embedded-resource",
        "x-kubernetes-int-or-string",
    ];
    let Some(map) = schema.as_object() else { return schema.clone() };
    let mut out = Map::new();
    for (key, value) in map {
        let kept = match (key.as_str(), value) {
            ("properties", Value::Object(fields)) => {
                fields.iter().map(|(name, field)| (name.clone(), bones(field))).collect()
            }
            ("items" | "additionalProperties", inner) => bones(inner),
            (name, value) if KEPT.contains(&name) => value.clone(),
            _ => continue,
        };
        out.insert(key.clone(), kept);
    }
    Value::Object(out)
}
