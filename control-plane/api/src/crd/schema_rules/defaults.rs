//! Defaults within a schema must be what their own node accepts and keeps (`structuraldefaulting.ValidateDefaults`).
//! Those within `additionalProperties` are not looked at, as in Kubernetes.

use super::super::value;
use crate::field::{Error, Path};
use crate::schema::{self, Place, flag};
use serde_json::{Map, Value};

pub(super) fn check(root: &Value, path: &Path<'_>, errors: &mut Vec<Error>) {
    if root.get("default").is_some_and(|default| !default.is_null()) {
        let mut resource = root.clone();
        resource["x-kubernetes-embedded-resource"] = true.into();
        own(&resource, Way::Root, path, errors);
    }
    below(root, Way::Root, path, errors);
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Way {
    Root,
    Inside,
    /// Inside of `metadata`, `kind` or `apiVersion` of an embedded resource.
    Meta,
}

fn node(node: &Value, way: Way, path: &Path<'_>, errors: &mut Vec<Error>) {
    own(node, way, path, errors);
    below(node, way, path, errors);
}

fn own(node: &Value, way: Way, path: &Path<'_>, errors: &mut Vec<Error>) {
    if let Some(default) = node.get("default").filter(|d| !d.is_null()) {
        let at = path.child("default");
        let schema = schema::crd_node(node, Place::Structure, 0);
        if way != Way::Meta {
            let mut pruned = default.clone();
            schema::prune(&schema, &mut pruned);
            keep_metadata(node, &mut pruned, default);
            if pruned != *default {
                errors.push(Error::invalid(&at, default.clone(), "must not have unknown fields"));
            }
        }
        let prefix = at.to_string();
        // A fault is told from the default, not from the CRD.
        errors.extend(value::validate_part(&schema, default, &at).into_iter().map(|mut error| {
            if let Some(rest) = error.detail.strip_prefix(&prefix) {
                error.detail = rest.strip_prefix('.').unwrap_or(rest).to_owned();
            }
            if error.field == value::NOWHERE {
                error.field.clone_from(&prefix);
                error.detail = error.detail.replacen(&format!("{prefix}."), "", 1).replacen(&prefix, "", 1);
            }
            if let Some(index) = error.field.strip_prefix(&prefix).filter(|rest| rest.starts_with('[')) {
                error.field = format!("{prefix}.{index}");
            }
            error
        }));
    }
}

fn below(parent: &Value, way: Way, path: &Path<'_>, errors: &mut Vec<Error>) {
    let Some(map) = parent.as_object() else { return };
    let embedded = flag(map, "x-kubernetes-embedded-resource");
    let way = if embedded && way == Way::Meta { Way::Inside } else { way };
    if let Some(items) = map.get("items").filter(|items| items.is_object()) {
        node(items, if way == Way::Meta { way } else { Way::Inside }, &path.child("items"), errors);
    }
    let properties = path.child("properties");
    for (name, field) in map.get("properties").and_then(Value::as_object).into_iter().flatten() {
        let of_resource = matches!(name.as_str(), "metadata" | "kind" | "apiVersion");
        match way {
            // No default may be there at all.
            Way::Root if of_resource => {}
            Way::Meta => node(field, way, &properties.key(name), errors),
            _ if of_resource && embedded => node(field, Way::Meta, &properties.key(name), errors),
            _ => node(field, Way::Inside, &properties.key(name), errors),
        }
    }
}

/// Puts back the `metadata` of embedded resources: what is unknown there is not pruned, but dropped when it is stored.
fn keep_metadata(node: &Value, pruned: &mut Value, default: &Value) {
    let Some(map) = node.as_object() else { return };
    match pruned {
        Value::Object(fields) => {
            if flag(map, "x-kubernetes-embedded-resource")
                && let Some(metadata) = default.get("metadata")
            {
                fields.insert("metadata".into(), metadata.clone());
            }
            let empty = Map::new();
            let known = map.get("properties").and_then(Value::as_object).unwrap_or(&empty);
            for (name, value) in fields {
                let inner = known.get(name).or_else(|| map.get("additionalProperties"));
                if let (Some(inner), Some(default)) = (inner, default.get(name)) {
                    keep_metadata(inner, value, default);
                }
            }
        }
        Value::Array(list) => {
            for (index, value) in list.iter_mut().enumerate() {
                if let (Some(inner), Some(default)) = (map.get("items"), default.get(index)) {
                    keep_metadata(inner, value, default);
                }
            }
        }
        _ => {}
    }
}

/// Defaults must keep the rules of their own node too, once these are known to be rules.
pub(super) fn check_rules(node: &Value, path: &Path<'_>, budget: &mut u64, errors: &mut Vec<Error>) {
    if let Some(default) = node.get("default").filter(|d| !d.is_null()) {
        let schema = schema::crd_node(node, Place::Structure, 1);
        errors.extend(value::validate_rules(&schema, default, &path.child("default"), budget));
    }
    if let Some(items) = node.get("items").filter(|items| items.is_object()) {
        check_rules(items, &path.child("items"), budget, errors);
    }
    let properties = path.child("properties");
    for (name, field) in node.get("properties").and_then(Value::as_object).into_iter().flatten() {
        check_rules(field, &properties.key(name), budget, errors);
    }
}
