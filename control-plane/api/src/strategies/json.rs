//! Small accessors over JSON objects for defaulting and validation. All are total: a value of the wrong
//! type reads as absent (the schema check has refused it already).

use crate::field::{Error, Path};
use crate::names;
use serde_json::{Map, Value};

pub(super) type Object = Map<String, Value>;

/// The text of a member, or the empty text.
pub(super) fn text<'a>(value: &'a Value, field: &str) -> &'a str {
    value.get(field).and_then(Value::as_str).unwrap_or_default()
}

/// The elements of a list member.
pub(super) fn items<'a>(value: &'a Value, field: &str) -> &'a [Value] {
    value.get(field).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

pub(super) fn int(value: &Value, field: &str) -> Option<i64> {
    value.get(field).and_then(Value::as_i64)
}

pub(super) fn flag(value: &Value, field: &str) -> bool {
    value.get(field).and_then(Value::as_bool).unwrap_or(false)
}

pub(super) fn map<'a>(value: &'a Value, field: &str) -> Option<&'a Object> {
    value.get(field).and_then(Value::as_object)
}

/// A member that is there and not null.
pub(super) fn present<'a>(value: &'a Value, field: &str) -> Option<&'a Value> {
    value.get(field).filter(|v| !v.is_null())
}

/// Whether a member counts as unset for a field whose zero value is its absence.
pub(super) fn zero(value: Option<&Value>) -> bool {
    match value {
        None | Some(Value::Null) => true,
        Some(Value::String(text)) => text.is_empty(),
        Some(Value::Number(number)) => number.as_f64() == Some(0.0),
        Some(Value::Bool(flag)) => !flag,
        _ => false,
    }
}

/// Sets a member that is absent or null (a pointer field in Go's terms).
pub(super) fn fill(object: &mut Object, field: &str, value: impl Into<Value>) {
    if object.get(field).is_none_or(Value::is_null) {
        object.insert(field.into(), value.into());
    }
}

/// Sets a member that is absent, null, empty or zero (a plain field in Go's terms).
pub(super) fn fill_zero(object: &mut Object, field: &str, value: impl Into<Value>) {
    if zero(object.get(field)) {
        object.insert(field.into(), value.into());
    }
}

/// The member as an object, made where it is absent; `None` when it has another type.
pub(super) fn object_mut<'a>(object: &'a mut Object, field: &str) -> Option<&'a mut Object> {
    let entry = object.entry(field).or_insert_with(|| Value::Object(Map::new()));
    if entry.is_null() {
        *entry = Value::Object(Map::new());
    }
    entry.as_object_mut()
}

/// The member as an object, where it is one.
pub(super) fn existing_mut<'a>(object: &'a mut Object, field: &str) -> Option<&'a mut Object> {
    object.get_mut(field).and_then(Value::as_object_mut)
}

/// The objects in a list member.
pub(super) fn each_mut<'a>(object: &'a mut Object, field: &str) -> impl Iterator<Item = &'a mut Object> {
    object.get_mut(field).and_then(Value::as_array_mut).into_iter().flatten().filter_map(Value::as_object_mut)
}

/// `spec` as an object, made where it is absent.
pub(super) fn spec_mut(object: &mut Value) -> Option<&mut Object> {
    object_mut(object.as_object_mut()?, "spec")
}

pub(super) const NON_NEGATIVE: &str = "must be greater than or equal to 0";

/// Complains about a negative member.
pub(super) fn check_non_negative(value: &Value, field: &str, path: &Path<'_>, errors: &mut Vec<Error>) {
    if let Some(number) = int(value, field).filter(|n| *n < 0) {
        errors.push(Error::invalid(&path.child(field), number, NON_NEGATIVE));
    }
}

/// Complains about a member that is neither empty nor in `supported`; `Required` says what emptiness means.
pub(super) fn check_one_of(value: &Value, field: &str, supported: &[&str], path: &Path<'_>, errors: &mut Vec<Error>) {
    let text = text(value, field);
    if !text.is_empty() && !supported.contains(&text) {
        errors.push(Error::not_supported(&path.child(field), text, supported));
    }
}

/// The same where the member must be there.
pub(super) fn check_required_one_of(
    value: &Value,
    field: &str,
    supported: &[&str],
    path: &Path<'_>,
    errors: &mut Vec<Error>,
) {
    if text(value, field).is_empty() {
        errors.push(Error::required(&path.child(field), ""));
    } else {
        check_one_of(value, field, supported, path, errors);
    }
}

/// Complains about a member that is empty.
pub(super) fn check_required(value: &Value, field: &str, path: &Path<'_>, errors: &mut Vec<Error>) {
    if text(value, field).is_empty() {
        errors.push(Error::required(&path.child(field), ""));
    }
}

/// Adds each complaint of a name check as an `Invalid` of `value`.
pub(super) fn check_name(value: &str, path: &Path<'_>, check: fn(&str) -> Vec<String>, errors: &mut Vec<Error>) {
    errors.extend(check(value).into_iter().map(|message| Error::invalid(path, value, message)));
}

/// A path below a domain: `acme.io/foo` (`IsDomainPrefixedPath`).
pub(super) fn check_domain_path(value: &str, path: &Path<'_>, errors: &mut Vec<Error>) {
    if value.is_empty() {
        return errors.push(Error::required(path, ""));
    }
    match value.split_once('/') {
        Some((host, rest)) if !host.is_empty() && !rest.is_empty() => {
            check_name(host, path, names::check_dns1123_subdomain, errors);
            if !is_url_path(rest) {
                errors.push(Error::invalid(path, rest, URL_PATH));
            }
        }
        _ => {
            let detail = "must be a domain-prefixed path (such as \"acme.io/foo\")";
            errors.push(Error::invalid(path, value, detail));
        }
    }
}

const URL_PATH: &str =
    "must be a valid path (e.g. '/example.com', regex used for validation is '[A-Za-z0-9/\\-._~%!$&'()*+,;=:]+')";

/// The characters that a path of a URL may have.
fn is_url_path(text: &str) -> bool {
    text.bytes().all(|b| b.is_ascii_alphanumeric() || b"/-._~%!$&'()*+,;=:".contains(&b))
}

/// Complains when a member differs from the old object's.
pub(super) fn check_immutable(new: &Value, old: &Value, field: &str, path: &Path<'_>, errors: &mut Vec<Error>) {
    let (new, old) = (new.get(field).unwrap_or(&Value::Null), old.get(field).unwrap_or(&Value::Null));
    if new != old {
        errors.push(Error::invalid(&path.child(field), new.clone(), crate::meta::IMMUTABLE));
    }
}
