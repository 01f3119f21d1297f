//! ConfigMap and Secret.

use super::json::{Object, check_immutable, check_name, fill_zero, flag, map, text};
use crate::field::{Error, Path};
use crate::meta;
use crate::names;
use crate::strategy::Strategy;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde_json::{Map, Value};

/// The most bytes of data in one ConfigMap or Secret: 1 MiB.
const DATA_MAX_BYTES: usize = 1024 * 1024;
const IMMUTABLE_SET: &str = "field is immutable when `immutable` is set";

fn entries<'a>(object: &'a Value, field: &str) -> impl Iterator<Item = (&'a String, &'a Value)> {
    map(object, field).into_iter().flatten()
}

/// The bytes that a base64 text stands for, without decoding it.
fn decoded_len(text: &str) -> usize {
    text.trim_end_matches('=').len() * 3 / 4
}

fn check_keys(object: &Value, field: &str, errors: &mut Vec<Error>) {
    let path = Path::new(field);
    for (key, _) in entries(object, field) {
        check_name(key, &path.key(key), names::check_config_map_key, errors);
    }
}

fn check_base64(object: &Value, field: &str, errors: &mut Vec<Error>) {
    let path = Path::new(field);
    for (key, value) in entries(object, field) {
        let Some(text) = value.as_str() else { continue };
        if !is_base64(text) {
            errors.push(Error::invalid(&path.key(key), text, "must be base64-encoded"));
        }
    }
}

fn is_base64(text: &str) -> bool {
    let body = text.trim_end_matches('=');
    let symbol = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'/');
    text.len().is_multiple_of(4) && text.len() - body.len() <= 2 && body.bytes().all(symbol)
}

/// Rules about objects that were made immutable.
fn check_frozen(new: &Value, old: &Value, fields: &[&str], errors: &mut Vec<Error>) {
    if !flag(old, "immutable") {
        return;
    }
    if !flag(new, "immutable") {
        errors.push(Error::forbidden(&Path::new("immutable"), IMMUTABLE_SET));
    }
    let empty = Map::new();
    for field in fields {
        if map(new, field).unwrap_or(&empty) != map(old, field).unwrap_or(&empty) {
            errors.push(Error::forbidden(&Path::new(field), IMMUTABLE_SET));
        }
    }
}

pub(super) struct ConfigMap;

impl Strategy for ConfigMap {
    fn prepare_create(&self, _object: &mut Value) {}
    fn prepare_update(&self, _object: &mut Value, _old: &Value) {}

    fn validate(&self, object: &Value) -> Vec<Error> {
        let mut errors = Vec::new();
        check_keys(object, "data", &mut errors);
        check_keys(object, "binaryData", &mut errors);
        check_base64(object, "binaryData", &mut errors);
        let (data, binary) = (map(object, "data"), Path::new("binaryData"));
        for (key, _) in entries(object, "binaryData").filter(|(k, _)| data.is_some_and(|d| d.contains_key(*k))) {
            errors.push(Error::invalid(&binary.key(key), key.as_str(), "duplicate of key present in data"));
        }
        let plain: usize = entries(object, "data").map(|(_, v)| v.as_str().map_or(0, str::len)).sum();
        let binary: usize = entries(object, "binaryData").map(|(_, v)| v.as_str().map_or(0, decoded_len)).sum();
        if plain + binary > DATA_MAX_BYTES {
            // Kubernetes names no field here, which its path prints as brackets.
            errors.push(Error::too_long(&Path::new("[]"), DATA_MAX_BYTES));
        }
        errors
    }

    fn validate_update(&self, object: &Value, old: &Value) -> Vec<Error> {
        let mut errors = Vec::new();
        check_frozen(object, old, &["data", "binaryData"], &mut errors);
        errors
    }

    fn has_generation(&self) -> bool {
        false
    }
}

const SERVICE_ACCOUNT_TOKEN: &str = "kubernetes.io/service-account-token";

/// The keys that a typed Secret must have, and whether all are needed.
fn required_keys(kind: &str) -> &'static [&'static str] {
    match kind {
        "kubernetes.io/dockercfg" => &[".dockercfg"],
        "kubernetes.io/dockerconfigjson" => &[".dockerconfigjson"],
        "kubernetes.io/ssh-auth" => &["ssh-privatekey"],
        "kubernetes.io/tls" => &["tls.crt", "tls.key"],
        _ => &[],
    }
}

pub(super) struct Secret;

impl Strategy for Secret {
    fn default(&self, object: &mut Value) {
        let Some(object) = object.as_object_mut() else { return };
        fill_zero(object, "type", "Opaque");
        fold_string_data(object);
    }

    fn prepare_create(&self, _object: &mut Value) {}

    fn prepare_update(&self, _object: &mut Value, _old: &Value) {}

    fn validate(&self, object: &Value) -> Vec<Error> {
        let mut errors = Vec::new();
        check_keys(object, "data", &mut errors);
        check_base64(object, "data", &mut errors);
        let total: usize = entries(object, "data").map(|(_, v)| v.as_str().map_or(0, decoded_len)).sum();
        if total > DATA_MAX_BYTES {
            errors.push(Error::too_long(&Path::new("data"), DATA_MAX_BYTES));
        }
        check_secret_type(object, &mut errors);
        errors
    }

    fn validate_update(&self, object: &Value, old: &Value) -> Vec<Error> {
        let mut errors = Vec::new();
        check_immutable(object, old, "type", &Path::new(""), &mut errors);
        check_frozen(object, old, &["data"], &mut errors);
        errors
    }

    fn has_generation(&self) -> bool {
        false
    }

    fn field_names(&self) -> &'static [&'static str] {
        &["type"]
    }

    fn fields(&self, object: &Value) -> Vec<(&'static str, String)> {
        vec![("type", text(object, "type").into())]
    }
}

/// `stringData` is write-only: it ends up in `data`, over what is there.
fn fold_string_data(object: &mut Object) {
    let Some(strings) = object.remove("stringData") else { return };
    let Value::Object(strings) = strings else { return };
    let Some(data) = super::json::object_mut(object, "data") else { return };
    for (key, value) in strings {
        let text = value.as_str().unwrap_or_default();
        data.insert(key, BASE64.encode(text).into());
    }
}

fn check_secret_type(object: &Value, errors: &mut Vec<Error>) {
    let (kind, data, path) = (text(object, "type"), map(object, "data"), Path::new("data"));
    for key in required_keys(kind) {
        if data
            .and_then(|d| d.get(*key))
            .and_then(Value::as_str)
            .is_none_or(|v| v.is_empty() && kind != "kubernetes.io/tls")
        {
            errors.push(Error::required(&path.key(key), ""));
        }
    }
    match kind {
        SERVICE_ACCOUNT_TOKEN => {
            let key = "kubernetes.io/service-account.name";
            if meta::annotation(object, key).is_none_or(str::is_empty) {
                let path = Path::new("metadata.annotations");
                errors.push(Error::required(&path.key(key), ""));
            }
        }
        "kubernetes.io/dockercfg" | "kubernetes.io/dockerconfigjson" => {
            let key = required_keys(kind)[0];
            let bytes = data.and_then(|d| d.get(key)).and_then(Value::as_str).and_then(|t| BASE64.decode(t).ok());
            if let Some(bytes) = bytes
                && let Err(problem) = serde_json::from_slice::<Map<String, Value>>(&bytes)
            {
                errors.push(Error::invalid(&path.key(key), "<secret contents redacted>", problem.to_string()));
            }
        }
        "kubernetes.io/basic-auth" => {
            let has = |key: &str| data.is_some_and(|d| d.contains_key(key));
            if !has("username") && !has("password") {
                errors.push(Error::required(&path.key("username"), ""));
                errors.push(Error::required(&path.key("password"), ""));
            }
        }
        _ => {}
    }
}
