//! The schemas of a document: `k8s-openapi`'s own text, descriptions and all, in the form that Kubernetes publishes.

use super::custom;
use crate::kinds::{Kinds, Resource, SchemaSource, Subresource};
use crate::schema::{Facts, Merge, find_facts, short_name};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{DeleteOptions, ListMeta, ObjectMeta, Patch, Status};
use schemars::SchemaGenerator;
use schemars::generate::SchemaSettings;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Dialect {
    V2,
    V3,
}

impl Dialect {
    /// A reference to a definition.
    pub(super) fn reference(self, name: &str) -> Value {
        let place = match self {
            Self::V2 => "definitions",
            Self::V3 => "components/schemas",
        };
        json!({"$ref": format!("#/{place}/{name}")})
    }
}

/// Collects the definitions that a document's paths refer to, and all that those refer to.
pub(super) struct Definitions {
    pub(super) dialect: Dialect,
    generator: SchemaGenerator,
    /// Lists and CRDs, which `k8s-openapi` does not describe.
    own: BTreeMap<String, Value>,
    /// Definition → the group, version and kind that it is the schema of.
    kinds: BTreeMap<String, Value>,
}

/// `io.k8s.api.core.v1.Pod`: how the definition of a built-in kind is called.
fn published_name(row: &Resource) -> String {
    if row.group == crate::crd::GROUP {
        return format!("io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.{}.{}", row.version, row.kind);
    }
    let group = if row.group.is_empty() { "core" } else { row.group.split('.').next().unwrap_or_default() };
    format!("io.k8s.api.{group}.{}.{}", row.version, row.kind)
}

impl Definitions {
    pub(super) fn new(dialect: Dialect) -> Self {
        let generator = SchemaSettings::draft07().with(|s| s.transforms.clear()).into_generator();
        Self { dialect, generator, own: BTreeMap::new(), kinds: BTreeMap::new() }
    }

    /// The definition of a row's kind.
    pub(super) fn kind(&mut self, row: &Resource) -> String {
        let name = match row.schema.source() {
            Some(source) => self.builtin(source),
            None => self.custom(row),
        };
        self.kinds.insert(name.clone(), gvk(&row.group, &row.version, &row.kind));
        name
    }

    /// The definition of a row's list kind.
    pub(super) fn list(&mut self, row: &Resource) -> String {
        let item = self.kind(row);
        let meta = self.builtin(|g| g.subschema_for::<ListMeta>());
        let name = format!("{}{}", item.strip_suffix(&*row.kind).unwrap_or(&item), row.list_kind);
        let reference = |name: &str| json!({"$ref": format!("#/definitions/{name}")});
        let mut metadata = reference(&meta);
        metadata["description"] = "Standard list metadata. More info: https://git.k8s.io/community/contributors/devel/sig-architecture/api-conventions.md#types-kinds".into();
        let definition = json!({
            "description": format!("{} is a list of {}", row.list_kind, row.kind),
            "type": "object", "required": ["items"],
            "properties": {
                "apiVersion": {"type": "string", "description": API_VERSION},
                "kind": {"type": "string", "description": KIND},
                "metadata": metadata,
                "items": {"type": "array", "description": format!("List of {}.", row.plural), "items": reference(&item)},
            },
        });
        self.own.insert(name.clone(), definition);
        self.kinds.insert(name.clone(), gvk(&row.group, &row.version, &row.list_kind));
        name
    }

    /// The definition of a subresource's body; None where it has none.
    pub(super) fn subresource(&mut self, row: &Resource, sub: &Subresource) -> Option<String> {
        match sub.schema.as_ref().and_then(|s| s.source()) {
            Some(source) => {
                let name = self.builtin(source);
                self.kinds.insert(name.clone(), gvk(&sub.group, &sub.version, &sub.kind));
                Some(name)
            }
            None => (sub.kind == row.kind).then(|| self.kind(row)),
        }
    }

    pub(super) fn status(&mut self) -> String {
        self.meta("Status", |g| g.subschema_for::<Status>())
    }

    pub(super) fn delete_options(&mut self) -> String {
        self.meta("DeleteOptions", |g| g.subschema_for::<DeleteOptions>())
    }

    pub(super) fn patch(&mut self) -> String {
        self.builtin(|g| g.subschema_for::<Patch>())
    }

    fn meta(&mut self, kind: &str, source: SchemaSource) -> String {
        let name = self.builtin(source);
        self.kinds.insert(name.clone(), gvk("", "v1", kind));
        name
    }

    fn builtin(&mut self, source: SchemaSource) -> String {
        let root = source(&mut self.generator);
        short_name(root.get("$ref").and_then(Value::as_str).unwrap_or_default()).to_owned()
    }

    /// A CRD's schema as its author wrote it, with what every object has. `stable.example.com/v1 CronTab` is
    /// `com.example.stable.v1.CronTab`.
    fn custom(&mut self, row: &Resource) -> String {
        let reversed: Vec<&str> = row.group.rsplit('.').collect();
        let name = format!("{}.{}.{}", reversed.join("."), row.version, row.kind);
        if !self.own.contains_key(&name) {
            let meta = self.builtin(|g| g.subschema_for::<ObjectMeta>());
            let document = row.schema.document().and_then(|text| serde_json::from_str(text).ok());
            let metadata = json!({"$ref": format!("#/definitions/{meta}"), "description": METADATA});
            let own = [
                ("apiVersion".to_owned(), json!({"type": "string", "description": API_VERSION})),
                ("kind".to_owned(), json!({"type": "string", "description": KIND})),
                ("metadata".to_owned(), metadata.clone()),
            ];
            let document: Value = document.unwrap_or_else(|| json!({"type": "object"}));
            let mut document = custom::definition(&document, self.dialect, &own.into_iter().collect(), &metadata);
            let fields = row.custom.iter().flat_map(|custom| custom.selectable_fields());
            let fields: Vec<Value> = fields.map(|field| json!({"fieldPath": field})).collect();
            if !fields.is_empty() {
                document["x-kubernetes-selectable-fields"] = fields.into();
            }
            self.own.insert(name.clone(), document);
        }
        name
    }

    /// All definitions in the document's dialect. Kinds that are parts of others (a claim in a StatefulSet) are told by
    /// their names in `table`.
    pub(super) fn finish(mut self, table: &Kinds) -> Map<String, Value> {
        for row in table.iter().filter(|row| row.schema.source().is_some()) {
            self.kinds.entry(published_name(row)).or_insert_with(|| gvk(&row.group, &row.version, &row.kind));
        }
        let dialect = self.dialect;
        let builtin = self.generator.take_definitions(false);
        let custom: std::collections::BTreeSet<String> = self.own.keys().cloned().collect();
        let mut all: Map<String, Value> = builtin
            .into_iter()
            .chain(self.own)
            .map(|(name, body)| {
                let mut definition =
                    special(&name, &body, dialect).unwrap_or_else(|| render(&body, &name, "", dialect));
                if let (true, Some(required)) = (custom.contains(&name), body.get("required")) {
                    definition["required"] = required.clone();
                }
                (name, definition)
            })
            .collect();
        for (name, kind) in self.kinds {
            if let Some(definition) = all.get_mut(&name) {
                definition["x-kubernetes-group-version-kind"] = json!([kind]);
            }
        }
        all
    }
}

const API_VERSION: &str = "APIVersion defines the versioned schema of this representation of an object. Servers should convert recognized schemas to the latest internal value, and may reject unrecognized values. More info: https://git.k8s.io/community/contributors/devel/sig-architecture/api-conventions.md#resources";
const KIND: &str = "Kind is a string value representing the REST resource this object represents. Servers may infer this from the endpoint the client submits requests to. Cannot be updated. In CamelCase. More info: https://git.k8s.io/community/contributors/devel/sig-architecture/api-conventions.md#types-kinds";
const METADATA: &str = "Standard object's metadata. More info: https://git.k8s.io/community/contributors/devel/sig-architecture/api-conventions.md#metadata";

pub(super) fn gvk(group: &str, version: &str, kind: &str) -> Value {
    json!({"group": group, "version": version, "kind": kind})
}

/// Definitions whose published form is not what `k8s-openapi` says.
fn special(name: &str, body: &Value, dialect: Dialect) -> Option<Value> {
    let mut form = match (name.rsplit('.').next()?, dialect) {
        ("Quantity", Dialect::V2) => json!({"type": "string"}),
        ("Quantity", Dialect::V3) => json!({"oneOf": [{"type": "string"}, {"type": "number"}]}),
        ("IntOrString", Dialect::V2) => json!({"type": "string", "format": "int-or-string"}),
        ("IntOrString", Dialect::V3) => {
            json!({"format": "int-or-string", "oneOf": [{"type": "integer"}, {"type": "string"}]})
        }
        ("JSON" | "JSONSchemaPropsOrArray" | "JSONSchemaPropsOrBool" | "JSONSchemaPropsOrStringArray", _) => json!({}),
        _ => return None,
    };
    form["description"] = body.get("description").cloned().unwrap_or_default();
    Some(form)
}

/// A node at `path` of a definition (`ports[]`; empty for the definition itself) in the dialect's form, with the facts
/// that are known about it.
fn render(node: &Value, definition: &str, path: &str, dialect: Dialect) -> Value {
    let Some(node) = node.as_object() else {
        return node.clone();
    };
    let mut out = Map::new();
    for (key, value) in node {
        let value = match (key.as_str(), value) {
            ("$ref", Value::String(reference)) => {
                out.append(dialect.reference(short_name(reference)).as_object_mut().unwrap_or(&mut Map::new()));
                continue;
            }
            ("properties", Value::Object(fields)) => {
                let field = |(name, field): (&String, &Value)| (name.clone(), render(field, definition, name, dialect));
                Value::Object(fields.iter().map(field).collect())
            }
            ("items", items) => render(items, definition, &format!("{path}[]"), dialect),
            ("additionalProperties", values) => render(values, definition, &format!("{path}{{}}"), dialect),
            (_, other) => other.clone(),
        };
        out.insert(key.clone(), value);
    }
    if path.is_empty() {
        forget_required(&mut out);
    }
    if let Some(facts) = find_facts(definition, if path.is_empty() { "*" } else { path }) {
        add_facts(&mut out, &facts, dialect);
    }
    if dialect == Dialect::V3
        && out.len() > 1
        && let Some(reference) = out.remove("$ref")
    {
        out.insert("allOf".into(), json!([{"$ref": reference}]));
    }
    Value::Object(out)
}

/// Leaves of `required` what Kubernetes publishes: `k8s-openapi` adds the `metadata` of every kind, and names that may be
/// empty for compatibility.
fn forget_required(definition: &mut Map<String, Value>) {
    let Some(fields) = definition.get("properties").cloned() else {
        return;
    };
    let Some(Value::Array(required)) = definition.get_mut("required") else {
        return;
    };
    let is_kind = fields.get("apiVersion").is_some();
    let may_be_empty = |name: &Value| {
        let text = name.as_str().and_then(|name| fields.get(name)?.get("description")?.as_str());
        text.is_some_and(|text| text.contains("allowed to be empty"))
    };
    required.retain(|name| !(is_kind && name == "metadata" || may_be_empty(name)));
    if required.is_empty() {
        definition.remove("required");
    }
}

fn add_facts(node: &mut Map<String, Value>, facts: &Facts, dialect: Dialect) {
    let is_list = node.get("type").is_some_and(|t| t == "array");
    let word = |node: &mut Map<String, Value>, text: &str| {
        let key = if is_list { "x-kubernetes-list-type" } else { "x-kubernetes-map-type" };
        node.insert(key.into(), text.into());
    };
    match facts.merge() {
        Merge::Unsaid => {}
        Merge::Atomic => word(node, "atomic"),
        Merge::Granular => word(node, "granular"),
        Merge::Set => word(node, "set"),
        Merge::Map(keys) => {
            word(node, "map");
            node.insert("x-kubernetes-list-map-keys".into(), keys.iter().map(String::as_str).collect());
        }
    }
    let strategies =
        [(facts.patch_merge, "merge"), (facts.patch_retain_keys, "retainKeys"), (facts.patch_replace, "replace")];
    let strategies: Vec<&str> = strategies.iter().filter(|(set, _)| *set).map(|(_, name)| *name).collect();
    if !strategies.is_empty() {
        node.insert("x-kubernetes-patch-strategy".into(), strategies.join(",").into());
    }
    if let Some(key) = &facts.patch_merge_key {
        node.insert("x-kubernetes-patch-merge-key".into(), key.as_str().into());
    }
    if let (Some(default), Dialect::V3) = (&facts.default, dialect) {
        node.insert("default".into(), default.clone());
    }
}
