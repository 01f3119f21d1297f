//! Objects within custom objects (`x-kubernetes-embedded-resource`): what is asked of their apiVersion, kind and metadata
//! (`apiserver/schema/objectmeta`), whatever they were before.

use super::MAX_ERRORS;
use crate::field::{Error, Path, quoted};
use crate::meta::{check_annotations, validate_labels};
use crate::names;
use crate::schema::{Schema, Shape};
use serde_json::{Map, Value};

pub(super) fn check(schema: &Schema, value: &Value, at: &Path<'_>, errors: &mut Vec<Error>) {
    let Some(rules) = schema.rules.as_deref().filter(|rules| rules.has_embedded) else { return };
    if errors.len() >= MAX_ERRORS {
        return;
    }
    if let (true, Value::Object(map)) = (rules.embedded, value) {
        resource(map, at, errors);
    }
    match (&schema.shape, value) {
        (Shape::Object(object), Value::Object(map)) => {
            for (name, item) in map {
                if let Some(field) = object.field(name) {
                    check(field, item, &at.child(name), errors);
                }
            }
        }
        (Shape::Map(values), Value::Object(map)) => {
            for (key, item) in map {
                check(values, item, &at.key(key), errors);
            }
        }
        (Shape::List(items), Value::Array(list)) => {
            for (index, item) in list.iter().enumerate() {
                check(items, item, &at.index(index), errors);
            }
        }
        _ => {}
    }
}

fn resource(map: &Map<String, Value>, at: &Path<'_>, errors: &mut Vec<Error>) {
    for name in ["apiVersion", "kind"] {
        let here = at.child(name);
        match map.get(name) {
            None => errors.push(Error::required(&here, "")),
            Some(Value::String(text)) if text.is_empty() => {
                errors.push(Error::invalid(&here, "", "must not be empty"));
            }
            Some(Value::String(text)) if name == "apiVersion" => {
                if text.matches('/').count() > 1 {
                    let detail = format!("unexpected GroupVersion string: {text}");
                    errors.push(Error::invalid(&here, text.as_str(), detail));
                }
            }
            Some(Value::String(text)) => {
                let complaints = names::check_dns1035_label(&text.to_lowercase());
                if !complaints.is_empty() {
                    let detail = format!("may have mixed case, but should otherwise match: {}", complaints.join(","));
                    errors.push(Error::invalid(&here, text.as_str(), detail));
                }
            }
            Some(other) => errors.push(Error::invalid(&here, other.clone(), "must be a string")),
        }
    }
    if let Some(Value::Object(own)) = map.get("metadata") {
        meta(own, &at.child("metadata"), errors);
    }
}

fn meta(own: &Map<String, Value>, at: &Path<'_>, errors: &mut Vec<Error>) {
    let text = |name: &str| own.get(name).and_then(Value::as_str).unwrap_or_default();
    for name in ["generateName", "name"] {
        let complaints = names::check_path_segment(text(name));
        errors.extend(complaints.into_iter().map(|why| Error::invalid(&at.child(name), text(name), why)));
    }
    let namespace = text("namespace");
    if !namespace.is_empty() {
        let complaints = names::check_dns1123_label(namespace);
        errors.extend(complaints.into_iter().map(|why| Error::invalid(&at.child("namespace"), namespace, why)));
    }
    let map = |name: &str| own.get(name).and_then(Value::as_object);
    validate_labels(map("labels"), &at.child("labels"), errors);
    check_annotations(map("annotations"), &at.child("annotations"), errors);
    let list = at.child("finalizers");
    for finalizer in own.get("finalizers").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str) {
        errors.extend(
            names::check_qualified_name(finalizer).into_iter().map(|why| Error::invalid(&list, finalizer, why)),
        );
    }
}

/// What to say of the finalizers that a custom object has and `old` has not: they should name their owner.
#[must_use]
pub fn finalizer_warnings(object: &Value, old: Option<&Value>) -> Vec<String> {
    let mut added: Vec<&str> = crate::meta::finalizers(object)
        .filter(|finalizer| old.is_none_or(|old| !crate::meta::finalizers(old).any(|known| known == *finalizer)))
        .collect();
    added.sort_unstable();
    added.dedup();
    let mut warnings = Vec::new();
    for finalizer in added {
        let shown = quoted(finalizer);
        let mut warn = |what: &str| warnings.push(format!("metadata.finalizers: {shown}: {what}"));
        names::check_qualified_name(finalizer).iter().for_each(|why| warn(why));
        let standard = matches!(finalizer, "orphan" | "foregroundDeletion" | "kubernetes");
        if !finalizer.contains('/') && !standard {
            let path = if finalizer.contains('.') { "including a path (/) " } else { "" };
            let conflicts = "to avoid accidental conflicts with other finalizer writers";
            warn(&format!("prefer a domain-qualified finalizer name {path}{conflicts}"));
        }
    }
    warnings
}
