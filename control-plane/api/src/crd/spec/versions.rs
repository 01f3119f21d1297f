//! The rules of `spec.versions`, and of what all versions have in common: that stands at the top of Kubernetes' internal
//! form (`apiextensions/v1/conversion.go`), is judged once, and after the names.

use super::super::rules::field_path;
use super::super::{internal, schema_rules};
use super::{has_defaults, items, preserves, text};
use crate::field::{Error, Path};
use crate::names;
use serde_json::Value;
use std::collections::BTreeSet;

const SELECTABLE_MAX: usize = 8;
const WARNING_MAX_BYTES: usize = 256;
const COLUMN_TYPES: &[&str] = &["boolean", "date", "integer", "number", "string"];
const COLUMN_FORMATS: &[&str] = &["byte", "date", "date-time", "double", "float", "int32", "int64", "password"];

/// The versions of a CRD, and which parts are the same in all of them.
pub(super) struct Versions<'a> {
    list: &'a [Value],
    are_there: bool,
    old: Option<&'a Value>,
    schema: Shared,
    subresources: Shared,
    columns: Shared,
    selectable: Shared,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Shared {
    /// By all versions: it stands at the top.
    All,
    Own,
}

fn schema_of(version: &Value) -> Option<&Value> {
    version.pointer("/schema/openAPIV3Schema").filter(|schema| !schema.is_null())
}

fn has_status(version: &Value) -> bool {
    version.pointer("/subresources/status").is_some_and(Value::is_object)
}

impl<'a> Versions<'a> {
    pub fn of(spec: &'a Value, old: Option<&'a Value>) -> Self {
        let list = items(spec, "versions");
        let shared = |same: &dyn Fn(&Value, &Value) -> bool| {
            let all = list.split_first().is_some_and(|(first, others)| others.iter().all(|other| same(first, other)));
            if all { Shared::All } else { Shared::Own }
        };
        let part = |field: &'static str| {
            shared(&|a, b| a.get(field).filter(|v| !v.is_null()) == b.get(field).filter(|v| !v.is_null()))
        };
        let part_list = |field: &'static str| shared(&|a, b| items(a, field) == items(b, field));
        let schema = part("schema");
        // Kubernetes refuses fields that all versions select from schemas that differ: kubernetes/kubernetes#140689.
        let selectable = if schema == Shared::All { part_list("selectableFields") } else { Shared::Own };
        let columns = part_list("additionalPrinterColumns");
        let are_there = spec.get("versions").is_some_and(Value::is_array);
        Self { list, are_there, old, schema, subresources: part("subresources"), columns, selectable }
    }

    /// What is said of each version, and of the list.
    pub fn check(&self, spec: &Value, path: &Path<'_>, errors: &mut Vec<Error>) {
        let at = path.child("versions");
        for (index, _) in self.list.iter().enumerate().filter(|(_, version)| schema_of(version).is_none()) {
            errors.push(Error::required(&at.index(index).child("schema").child("openAPIV3Schema"), ""));
        }
        if preserves(spec) && self.list.iter().filter_map(schema_of).any(has_defaults) {
            let detail = "must be false in order to use defaults in the schema";
            errors.push(Error::invalid(&path.child("preserveUnknownFields"), true, detail));
        }
        for (index, version) in self.list.iter().enumerate() {
            label(text(version, "name"), &at.index(index).child("name"), errors);
            self.check_own(version, &at.index(index), errors);
        }
        let mut seen = BTreeSet::new();
        if !self.list.iter().all(|version| seen.insert(text(version, "name"))) {
            errors.push(self.wrong(&at, "must contain unique version names"));
        }
        if self.list.iter().filter(|version| version["storage"] == true).count() != 1 {
            errors.push(self.wrong(&at, "must have exactly one version marked as storage version"));
        }
        // The first version is `spec.version`, too.
        if let Some(first) = self.list.first().filter(|first| !text(first, "name").is_empty()) {
            label(text(first, "name"), &path.child("version"), errors);
        }
    }

    fn check_own(&self, version: &Value, path: &Path<'_>, errors: &mut Vec<Error>) {
        deprecation(version, path, errors);
        if self.schema == Shared::Own {
            self.check_schema(version, has_status(version), &path.child("schema"), errors);
        }
        if self.subresources == Shared::Own {
            scale(version, &path.child("subresources"), errors);
        }
        if self.columns == Shared::Own {
            printer_columns(version, &path.child("additionalPrinterColumns"), errors);
        }
        if self.selectable == Shared::Own {
            selectable(version, &path.child("selectableFields"), errors);
        }
    }

    /// What is said of the parts that all versions have in common.
    pub fn check_shared(&self, path: &Path<'_>, errors: &mut Vec<Error>) {
        let Some(first) = self.list.first() else { return };
        if self.schema == Shared::All {
            let any_status = self.list.iter().any(has_status);
            self.check_schema(first, any_status, &path.child("validation"), errors);
        }
        if self.subresources == Shared::All {
            scale(first, &path.child("subresources"), errors);
        }
        if self.columns == Shared::All {
            printer_columns(first, &path.child("additionalPrinterColumns"), errors);
        }
        if self.selectable == Shared::All {
            selectable(first, &path.child("selectableFields"), errors);
        }
    }

    fn check_schema(&self, version: &Value, has_status_part: bool, path: &Path<'_>, errors: &mut Vec<Error>) {
        let Some(schema) = schema_of(version) else { return };
        // What was accepted once, in this very form, is not looked through again.
        let before = self.old.and_then(|old| items(old, "versions").iter().find(|v| v["name"] == version["name"]));
        let known = before.is_some_and(|v| schema_of(v) == Some(schema) && has_status(v) == has_status_part);
        if !known {
            errors.extend(schema_rules::check(schema, has_status_part, &path.child("openAPIV3Schema")));
        }
    }

    fn wrong(&self, path: &Path<'_>, detail: &str) -> Error {
        let own = |field: &str| {
            Shared::Own
                == match field {
                    "schema" => self.schema,
                    "subresources" => self.subresources,
                    "additionalPrinterColumns" => self.columns,
                    _ => self.selectable,
                }
        };
        let shown = if self.are_there { internal::versions(self.list, own) } else { "null".into() };
        internal::invalid(path, &shown, detail)
    }
}

fn label(name: &str, path: &Path<'_>, errors: &mut Vec<Error>) {
    let complaints = names::check_dns1035_label(name);
    if !complaints.is_empty() {
        errors.push(Error::invalid(path, name, complaints.join(",")));
    }
}

fn deprecation(version: &Value, path: &Path<'_>, errors: &mut Vec<Error>) {
    let Some(warning) = version.get("deprecationWarning").and_then(Value::as_str) else { return };
    let at = path.child("deprecationWarning");
    let mut bad = |detail: String| errors.push(Error::invalid(&at, warning, detail));
    if version["deprecated"] != true {
        return bad("can only be set for deprecated versions".into());
    }
    if warning.len() > WARNING_MAX_BYTES {
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

fn printer_columns(version: &Value, path: &Path<'_>, errors: &mut Vec<Error>) {
    for (index, column) in items(version, "additionalPrinterColumns").iter().enumerate() {
        printer_column(column, &path.index(index), errors);
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
    let (mut known, schema) = (BTreeSet::new(), schema_of(version));
    for (index, field) in items(version, "selectableFields").iter().enumerate() {
        let here = path.index(index);
        let (at, json_path) = (here.child("jsonPath"), text(field, "jsonPath"));
        if json_path.is_empty() {
            errors.push(Error::required(&at, ""));
            continue;
        }
        let (name, found) = match field_path::read_plain(json_path, schema.unwrap_or(&Value::Null)) {
            Ok(found) => found,
            Err(why) => {
                errors.push(Error::invalid(&at, json_path, format!("is an invalid path: {why}")));
                continue;
            }
        };
        if name.split(['.', '[']).next() == Some("metadata") {
            errors.push(Error::invalid(&at, json_path, "must not point to fields in metadata"));
        }
        if !matches!(text(found, "type"), "string" | "boolean" | "integer") {
            let detail = "must point to a field of type string, boolean or integer. Enum string fields and strings with formats are allowed.";
            errors.push(Error::invalid(&at, json_path, detail));
        }
        if !known.insert(name) {
            errors.push(Error::duplicate(&at, json_path));
        }
    }
    if known.len() > SELECTABLE_MAX {
        errors.push(Error::too_many(path, known.len(), SELECTABLE_MAX));
    }
}
