//! The rules of a CRD (`apiextensions/validation/validation.go`), the schemas' own apart.
//!
//! Kubernetes judges CRDs in its internal form, where what all versions have in common stands once at the top
//! (`spec.validation`, `spec.subresources`, `spec.additionalPrinterColumns`): paths are told in that form.

mod conversion;
mod versions;

pub(crate) use conversion::{Unknown, client_config, review_versions};

use super::acceptance;
use super::acceptance::{APPROVED, Approval, approval, is_protected};
use super::formats::Format;
use super::schema_rules;
use crate::field::{Error, Path};
use crate::{meta, names, schema};
use serde_json::{Map, Value};
use std::collections::BTreeSet;

/// Everything wrong with a CRD.
#[must_use]
pub fn validate(object: &Value, old: Option<&Value>) -> Vec<Error> {
    let mut errors = Vec::new();
    let (spec, path) = (&object["spec"], Path::new("spec"));
    if old.is_none() {
        name(object, &mut errors);
    }
    group_and_scope(spec, &path, &mut errors);
    let versions = versions::Versions::of(spec, old.map(|old| &old["spec"]));
    versions.check(spec, &path, &mut errors);
    let asked = path.child("names");
    for field in ["plural", "singular", "kind", "listKind"] {
        if text(&spec["names"], field).is_empty() {
            errors.push(Error::required(&asked.child(field), ""));
        }
    }
    names_syntax(&spec["names"], &asked, &mut errors);
    versions.check_shared(&path, &mut errors);
    conversion::check(spec, old, &path.child("conversion"), &mut errors);
    if let Some(old) = old {
        transition(object, old, &mut errors);
    }
    let status = Path::new("status");
    names_syntax(&object["status"]["acceptedNames"], &status.child("acceptedNames"), &mut errors);
    stored_versions(object, &mut errors);
    approved(object, old, &mut errors);
    if preserves(spec) {
        let detail =
            "cannot set to true, set x-kubernetes-preserve-unknown-fields to true in spec.versions[*].schema instead";
        errors.push(Error::invalid(&path.child("preserveUnknownFields"), true, detail));
    }
    errors
}

fn preserves(spec: &Value) -> bool {
    spec.get("preserveUnknownFields") == Some(&Value::Bool(true))
}

/// Everything wrong with an update of `status`.
#[must_use]
pub fn validate_status(object: &Value) -> Vec<Error> {
    let mut errors = Vec::new();
    let status = Path::new("status");
    names_syntax(&object["status"]["acceptedNames"], &status.child("acceptedNames"), &mut errors);
    errors
}

/// The formats in a CRD's schemas that are ignored.
#[must_use]
pub fn unknown_formats(object: &Value) -> BTreeSet<&str> {
    let mut found = BTreeSet::new();
    for version in items(&object["spec"], "versions") {
        if let Some(schema) = version.pointer("/schema/openAPIV3Schema") {
            collect_formats(schema, 0, &mut found);
        }
    }
    found
}

fn collect_formats<'v>(node: &'v Value, depth: usize, found: &mut BTreeSet<&'v str>) {
    let Some(map) = node.as_object().filter(|_| depth < schema_rules::MAX_DEPTH) else { return };
    let (kind, format) = (text(node, "type"), text(node, "format"));
    if !format.is_empty() && !Format::is_known(kind, format) {
        found.insert(format);
    }
    let one = ["items", "not", "additionalProperties"].iter().filter_map(|name| map.get(*name));
    let lists = ["allOf", "anyOf", "oneOf"].iter().flat_map(|name| items(node, name));
    let fields = map.get("properties").and_then(Value::as_object).into_iter().flat_map(Map::values);
    one.chain(lists).chain(fields).for_each(|inner| collect_formats(inner, depth + 1, found));
}

fn text<'v>(value: &'v Value, field: &str) -> &'v str {
    value.get(field).and_then(Value::as_str).unwrap_or_default()
}

fn items<'v>(value: &'v Value, field: &str) -> &'v [Value] {
    value.get(field).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

fn name(object: &Value, errors: &mut Vec<Error>) {
    let spec = &object["spec"];
    let wanted = format!("{}.{}", text(&spec["names"], "plural"), text(spec, "group"));
    if meta::name(object) != wanted {
        let detail = "must be spec.names.plural+\".\"+spec.group";
        errors.push(Error::invalid(&Path::new("metadata").child("name"), meta::name(object), detail));
    }
}

fn group_and_scope(spec: &Value, path: &Path<'_>, errors: &mut Vec<Error>) {
    let (group, at) = (text(spec, "group"), path.child("group"));
    let complaints = names::check_dns1123_subdomain(group);
    if group.is_empty() {
        errors.push(Error::required(&at, ""));
    } else if !complaints.is_empty() {
        errors.push(Error::invalid(&at, group, complaints.join(",")));
    } else if !group.contains('.') {
        errors.push(Error::invalid(&at, group, "should be a domain with at least one dot"));
    }
    enumerated(text(spec, "scope"), &["Cluster", "Namespaced"], &path.child("scope"), errors);
}

fn enumerated(word: &str, accepted: &[&str], path: &Path<'_>, errors: &mut Vec<Error>) {
    if word.is_empty() {
        errors.push(Error::required(path, ""));
    } else if !accepted.contains(&word) {
        errors.push(Error::not_supported(path, word, accepted));
    }
}

fn names_syntax(asked: &Value, path: &Path<'_>, errors: &mut Vec<Error>) {
    let mut label = |text: &str, at: &Path<'_>, complaints: Vec<String>, prefix: &str| {
        if !complaints.is_empty() {
            errors.push(Error::invalid(at, text, format!("{prefix}{}", complaints.join(","))));
        }
    };
    for field in ["plural", "singular"] {
        let name = text(asked, field);
        if !name.is_empty() {
            label(name, &path.child(field), names::check_dns1035_label(name), "");
        }
    }
    for field in ["kind", "listKind"] {
        let name = text(asked, field);
        if !name.is_empty() {
            let complaints = names::check_dns1035_label(&name.to_lowercase());
            label(name, &path.child(field), complaints, "may have mixed case, but should otherwise match: ");
        }
    }
    let at = path.child("shortNames");
    for (index, name) in items(asked, "shortNames").iter().enumerate() {
        let name = name.as_str().unwrap_or_default();
        label(name, &at.index(index), names::check_dns1035_label(name), "");
    }
    let kind = text(asked, "kind");
    if !kind.is_empty() && kind == text(asked, "listKind") {
        let detail = "kind and listKind may not be the same";
        label(kind, &path.child("listKind"), vec![detail.into()], "");
    }
    let at = path.child("categories");
    for (index, name) in items(asked, "categories").iter().enumerate() {
        let name = name.as_str().unwrap_or_default();
        label(name, &at.index(index), names::check_dns1035_label(name), "");
    }
}

fn has_defaults(schema: &Value) -> bool {
    match schema {
        Value::Object(map) => map.iter().any(|(name, value)| {
            // A property may be called `default`.
            let below = || value.as_object().is_some_and(|fields| fields.values().any(has_defaults));
            match name.as_str() {
                "default" => !value.is_null(),
                "properties" => below(),
                _ => has_defaults(value),
            }
        }),
        Value::Array(list) => list.iter().any(has_defaults),
        _ => false,
    }
}

/// Groups of the Kubernetes community want a word from its API reviewers.
fn approved(object: &Value, old: Option<&Value>, errors: &mut Vec<Error>) {
    if !is_protected(text(&object["spec"], "group")) {
        return;
    }
    let (state, reason) = approval(object);
    if old.is_some_and(|old| approval(old).0 == state) {
        return;
    }
    let metadata = Path::new("metadata");
    let annotations = metadata.child("annotations");
    let at = annotations.key(APPROVED);
    match state {
        Approval::Missing => errors.push(Error::required(&at, reason)),
        Approval::Invalid => {
            errors.push(Error::invalid(&at, meta::annotation(object, APPROVED).unwrap_or_default(), reason));
        }
        Approval::Approved | Approval::Bypassed => {}
    }
}

fn transition(object: &Value, old: &Value, errors: &mut Vec<Error>) {
    let (spec, before, path) = (&object["spec"], &old["spec"], Path::new("spec"));
    let asked = path.child("names");
    let mut fixed = |new: &Value, old: &Value, at: &Path<'_>| {
        if new != old {
            errors.push(Error::invalid(at, new.clone(), meta::IMMUTABLE));
        }
    };
    if acceptance::established(old) {
        fixed(&spec["scope"], &before["scope"], &path.child("scope"));
        fixed(&spec["names"]["kind"], &before["names"]["kind"], &asked.child("kind"));
    }
    fixed(&spec["group"], &before["group"], &path.child("group"));
    fixed(&spec["names"]["plural"], &before["names"]["plural"], &asked.child("plural"));
}

fn stored_versions(object: &Value, errors: &mut Vec<Error>) {
    let status = Path::new("status");
    let path = status.child("storedVersions");
    let stored = schema::strings(object["status"].get("storedVersions"));
    if stored.is_empty() {
        errors.push(Error::invalid(&path, Value::Null, "must have at least one stored version"));
        return;
    }
    let versions = items(&object["spec"], "versions");
    for version in versions.iter().filter(|version| version["storage"] == true) {
        let name = text(version, "name");
        if !stored.iter().any(|known| known == name) {
            errors.push(Error::invalid(&path, stored.clone(), format!("must have the storage version {name}")));
        }
    }
    for (index, name) in stored.iter().enumerate() {
        if !versions.iter().any(|version| text(version, "name") == name) {
            let detail = format!(
                "missing from spec.versions; {name} was previously a storage version, and must remain in spec.versions until a storage migration ensures no data remains persisted in {name} and removes {name} from status.storedVersions"
            );
            errors.push(Error::invalid(&path.index(index), name.as_str(), detail));
        }
    }
}

/// Fills what Kubernetes fills (`apiextensions/v1/defaults.go`).
pub fn default(object: &mut Value) {
    let Some(spec) = object.get_mut("spec").and_then(Value::as_object_mut) else { return };
    if spec.get("conversion").is_none_or(Value::is_null) {
        spec.insert("conversion".into(), serde_json::json!({"strategy": "None"}));
    }
    if let Some(service) = spec.get_mut("conversion").and_then(|c| c.pointer_mut("/webhook/clientConfig/service"))
        && service.is_object()
        && service["port"].is_null()
    {
        service["port"] = 443.into();
    }
    if let Some(names) = spec.get_mut("names").and_then(Value::as_object_mut) {
        default_names(names);
    }
}

fn default_names(names: &mut Map<String, Value>) {
    let Some(kind) = names.get("kind").and_then(Value::as_str).map(str::to_owned) else { return };
    if names.get("singular").and_then(Value::as_str).is_none_or(str::is_empty) {
        names.insert("singular".into(), kind.to_lowercase().into());
    }
    if names.get("listKind").and_then(Value::as_str).is_none_or(str::is_empty) && !kind.is_empty() {
        names.insert("listKind".into(), format!("{kind}List").into());
    }
}
