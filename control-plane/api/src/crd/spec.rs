//! The rules of a CRD (`apiextensions/validation/validation.go`), the schemas' own apart.
//!
//! Kubernetes judges CRDs in its internal form, where what all versions have in common stands once at the top
//! (`spec.validation`, `spec.subresources`, `spec.additionalPrinterColumns`): paths are told in that form.

mod conversion;

pub(crate) use conversion::client_config;

use super::acceptance::{APPROVED, Approval, approval, is_protected};
use super::rules::field_path;
use super::{acceptance, schema_rules};
use crate::field::{Error, Path};
use crate::{meta, names, schema};
use serde_json::{Map, Value};

const SELECTABLE_MAX: usize = 8;
const COLUMN_TYPES: &[&str] = &["boolean", "date", "integer", "number", "string"];
const COLUMN_FORMATS: &[&str] = &["byte", "date", "date-time", "double", "float", "int32", "int64", "password"];

/// Everything wrong with a CRD.
#[must_use]
pub fn validate(object: &Value, old: Option<&Value>) -> Vec<Error> {
    let mut errors = Vec::new();
    let (spec, path) = (&object["spec"], Path::new("spec"));
    name(object, &mut errors);
    group_and_scope(spec, &path, &mut errors);
    versions(spec, old.map(|old| &old["spec"]), &path, &mut errors);
    let asked = path.child("names");
    for field in ["plural", "singular", "kind", "listKind"] {
        if text(&spec["names"], field).is_empty() {
            errors.push(Error::required(&asked.child(field), ""));
        }
    }
    names_syntax(&spec["names"], &asked, &mut errors);
    preserving(spec, &path, &mut errors);
    conversion::check(spec, old, &path.child("conversion"), &mut errors);
    approved(object, old, &mut errors);
    let status = Path::new("status");
    names_syntax(&object["status"]["acceptedNames"], &status.child("acceptedNames"), &mut errors);
    if let Some(old) = old {
        transition(object, old, &mut errors);
    }
    stored_versions(object, &mut errors);
    errors
}

/// Everything wrong with an update of `status`.
#[must_use]
pub fn validate_status(object: &Value) -> Vec<Error> {
    let mut errors = Vec::new();
    let status = Path::new("status");
    names_syntax(&object["status"]["acceptedNames"], &status.child("acceptedNames"), &mut errors);
    errors
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
    let mut label = |text: &str, at: &Path<'_>, prefix: &str| {
        let complaints = names::check_dns1035_label(&text.to_lowercase());
        let cased = prefix.is_empty() && text != text.to_lowercase();
        let complaints = if cased { names::check_dns1035_label(text) } else { complaints };
        if !text.is_empty() && !complaints.is_empty() {
            errors.push(Error::invalid(at, text, format!("{prefix}{}", complaints.join(","))));
        }
    };
    for field in ["plural", "singular"] {
        label(text(asked, field), &path.child(field), "");
    }
    for field in ["kind", "listKind"] {
        label(text(asked, field), &path.child(field), "may have mixed case, but should otherwise match: ");
    }
    for field in ["shortNames", "categories"] {
        let at = path.child(field);
        for (index, name) in items(asked, field).iter().enumerate() {
            label(name.as_str().unwrap_or_default(), &at.index(index), "");
        }
    }
    let kind = text(asked, "kind");
    if !kind.is_empty() && kind == text(asked, "listKind") {
        let detail = "kind and listKind may not be the same";
        errors.push(Error::invalid(&path.child("listKind"), kind, detail));
    }
}

/// What `preserveUnknownFields` rules out, itself among it.
fn preserving(spec: &Value, path: &Path<'_>, errors: &mut Vec<Error>) {
    if spec.get("preserveUnknownFields") != Some(&Value::Bool(true)) {
        return;
    }
    let at = path.child("preserveUnknownFields");
    if items(spec, "versions").iter().filter_map(|version| version.pointer("/schema/openAPIV3Schema")).any(has_defaults)
    {
        errors.push(Error::invalid(&at, true, "must be false in order to use defaults in the schema"));
    }
    let strategy = spec.pointer("/conversion/strategy").and_then(Value::as_str).unwrap_or("None");
    if strategy != "None" {
        let detail = "must be None if spec.preserveUnknownFields is true";
        errors.push(Error::invalid(&path.child("conversion").child("strategy"), strategy, detail));
    }
    let detail =
        "cannot set to true, set x-kubernetes-preserve-unknown-fields to true in spec.versions[*].schema instead";
    errors.push(Error::invalid(&at, true, detail));
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

fn versions(spec: &Value, old: Option<&Value>, path: &Path<'_>, errors: &mut Vec<Error>) {
    let (list, at) = (items(spec, "versions"), path.child("versions"));
    for (index, version) in list.iter().enumerate() {
        let here = at.index(index);
        if version.pointer("/schema/openAPIV3Schema").is_none_or(Value::is_null) {
            errors.push(Error::required(&here.child("schema").child("openAPIV3Schema"), "schemas are required"));
        }
        let name = text(version, "name");
        let complaints = names::check_dns1035_label(name);
        if !complaints.is_empty() {
            errors.push(Error::invalid(&here.child("name"), name, complaints.join(",")));
        }
        deprecation(version, &here, errors);
    }
    parts(spec, list, old, path, errors);
    let mut seen = std::collections::BTreeSet::new();
    if !list.iter().all(|version| seen.insert(text(version, "name"))) {
        errors.push(Error::invalid(&at, list.to_vec(), "must contain unique version names"));
    }
    if list.iter().filter(|version| version["storage"] == true).count() != 1 {
        errors.push(Error::invalid(&at, list.to_vec(), "must have exactly one version marked as storage version"));
    }
}

/// What versions have of their own, or in common.
fn parts(spec: &Value, list: &[Value], old: Option<&Value>, path: &Path<'_>, errors: &mut Vec<Error>) {
    let at = path.child("versions");
    let shared = |field: &str| {
        let first = list.first().and_then(|version| version.get(field));
        first.is_some() && list.iter().all(|version| version.get(field) == first)
    };
    // A part that all versions share is judged once, at its place in the internal form.
    let mut each = |field: &str, top: &str, judge: &mut dyn FnMut(&Value, &Path<'_>, &mut Vec<Error>)| {
        if shared(field) {
            judge(&list[0], &path.child(top), errors);
        } else {
            for (index, version) in list.iter().enumerate() {
                judge(version, &at.index(index).child(field), errors);
            }
        }
    };
    let any_status = list.iter().any(has_status);
    let common_schema = shared("schema");
    each("schema", "validation", &mut |version, at, errors| {
        let Some(schema) = version.pointer("/schema/openAPIV3Schema").filter(|schema| !schema.is_null()) else {
            return;
        };
        // What was accepted once, in this very form, is not looked through again.
        let before = old.and_then(|old| items(old, "versions").iter().find(|v| v["name"] == version["name"]));
        let status = if common_schema { any_status } else { has_status(version) };
        if before.is_some_and(|v| {
            v.pointer("/schema/openAPIV3Schema") == Some(schema) && has_status(v) == has_status(version)
        }) {
            return;
        }
        errors.extend(schema_rules::check(schema, status, &at.child("openAPIV3Schema")));
    });
    each("subresources", "subresources", &mut |version, at, errors| scale(version, at, errors));
    each("additionalPrinterColumns", "additionalPrinterColumns", &mut |version, at, errors| {
        for (index, column) in items(version, "additionalPrinterColumns").iter().enumerate() {
            printer_column(column, &at.index(index), errors);
        }
    });
    each("selectableFields", "selectableFields", &mut |version, at, errors| selectable(version, at, errors));
    let _ = spec;
}

fn has_status(version: &Value) -> bool {
    version.pointer("/subresources/status").is_some_and(Value::is_object)
}

fn deprecation(version: &Value, path: &Path<'_>, errors: &mut Vec<Error>) {
    let Some(warning) = version.get("deprecationWarning").and_then(Value::as_str) else { return };
    let at = path.child("deprecationWarning");
    let mut bad = |detail: String| errors.push(Error::invalid(&at, warning, detail));
    if version["deprecated"] != true {
        return bad("can only be set for deprecated versions".into());
    }
    if warning.len() > 256 {
        bad("must be <= 256 characters long".into());
    }
    if warning.is_empty() {
        bad("must not be an empty string".into());
    }
    if let Some((index, _)) = warning.char_indices().find(|(_, c)| !names::is_printable(*c)) {
        bad(format!("must only contain printable UTF-8 characters; non-printable character found at index {index}"));
    }
}

fn json_path(text: &str, path: &Path<'_>, errors: &mut Vec<Error>) -> bool {
    let good = text.starts_with('.');
    if !good {
        errors.push(Error::invalid(path, text, "must be a simple json path starting with ."));
    }
    good
}

fn scale(version: &Value, path: &Path<'_>, errors: &mut Vec<Error>) {
    let Some(scale) = version.pointer("/subresources/scale").filter(|scale| scale.is_object()) else { return };
    let at = path.child("scale");
    for (field, prefix, place) in
        [("specReplicasPath", ".spec.", ".spec"), ("statusReplicasPath", ".status.", ".status")]
    {
        let (here, value) = (at.child(field), text(scale, field));
        if value.is_empty() {
            errors.push(Error::required(&here, ""));
        } else if json_path(value, &here, errors) && !value.starts_with(prefix) {
            errors.push(Error::invalid(&here, value, format!("should be a json path under {place}")));
        }
    }
    let (here, value) = (at.child("labelSelectorPath"), text(scale, "labelSelectorPath"));
    if !value.is_empty()
        && json_path(value, &here, errors)
        && !(value.starts_with(".spec.") || value.starts_with(".status."))
    {
        errors.push(Error::invalid(&here, value, "should be a json path under either .spec or .status"));
    }
}

fn printer_column(column: &Value, path: &Path<'_>, errors: &mut Vec<Error>) {
    if text(column, "name").is_empty() {
        errors.push(Error::required(&path.child("name"), ""));
    }
    let (kind, at) = (text(column, "type"), path.child("type"));
    let detail = format!("must be one of {}", COLUMN_TYPES.join(","));
    if kind.is_empty() {
        errors.push(Error::required(&at, detail));
    } else if !COLUMN_TYPES.contains(&kind) {
        errors.push(Error::invalid(&at, kind, detail));
    }
    let format = text(column, "format");
    if !format.is_empty() && !COLUMN_FORMATS.contains(&format) {
        let detail = format!("must be one of {}", COLUMN_FORMATS.join(","));
        errors.push(Error::invalid(&path.child("format"), format, detail));
    }
    match text(column, "jsonPath") {
        "" => errors.push(Error::required(&path.child("JSONPath"), "")),
        path_text => {
            json_path(path_text, &path.child("JSONPath"), errors);
        }
    }
}

fn selectable(version: &Value, path: &Path<'_>, errors: &mut Vec<Error>) {
    let mut known = Vec::new();
    for (index, field) in items(version, "selectableFields").iter().enumerate() {
        let here = path.index(index);
        let (at, json_path) = (here.child("jsonPath"), text(field, "jsonPath"));
        if json_path.is_empty() {
            errors.push(Error::required(&at, ""));
            continue;
        }
        let parts: Vec<&str> = json_path.strip_prefix('.').unwrap_or_default().split('.').collect();
        let schema = version.pointer("/schema/openAPIV3Schema");
        let found =
            parts.iter().try_fold(schema.unwrap_or(&Value::Null), |node, part| node.get("properties")?.get(part));
        let Some(found) = found.filter(|_| json_path.starts_with('.')) else {
            let why = field_path::read(json_path, schema.unwrap_or(&Value::Null)).err();
            let why = why.unwrap_or_else(|| "does not refer to a valid field".into());
            errors.push(Error::invalid(&at, json_path, format!("is an invalid path: {why}")));
            continue;
        };
        if parts.first() == Some(&"metadata") {
            errors.push(Error::invalid(&at, json_path, "must not point to fields in metadata"));
        }
        if !matches!(text(found, "type"), "string" | "boolean" | "integer") {
            let detail = "must point to a field of type string, boolean or integer. Enum string fields and strings with formats are allowed.";
            errors.push(Error::invalid(&at, json_path, detail));
        }
        if known.contains(&json_path) {
            errors.push(Error::duplicate(&at, json_path));
        } else {
            known.push(json_path);
        }
    }
    if known.len() > SELECTABLE_MAX {
        errors.push(Error::too_many(path, known.len(), SELECTABLE_MAX));
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
        errors.push(Error::invalid(&path, Value::Array(Vec::new()), "must have at least one stored version"));
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
