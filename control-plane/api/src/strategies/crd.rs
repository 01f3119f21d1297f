//! CustomResourceDefinitions (`registry/customresourcedefinition/strategy.go`). Their rules are in [`crate::crd`].

use crate::crd::spec;
use crate::field::{Error, quoted};
use crate::schema::strings;
use crate::strategy::{Strategy, keep_from_old, replace_status};
use serde_json::{Value, json};

pub(super) struct CustomResourceDefinition;

impl Strategy for CustomResourceDefinition {
    fn default(&self, object: &mut Value) {
        spec::default(object);
    }

    fn prepare_create(&self, object: &mut Value) {
        let status = json!({"acceptedNames": {"kind": "", "plural": ""}, "conditions": [], "storedVersions": []});
        replace_status(object, Some(status));
        remember_storage(object);
    }

    fn prepare_update(&self, object: &mut Value, old: &Value) {
        keep_from_old(object, old, "status");
        remember_storage(object);
    }

    fn validate(&self, object: &Value) -> Vec<Error> {
        spec::validate(object, None)
    }

    fn validate_change(&self, object: &Value, old: &Value) -> Vec<Error> {
        spec::validate(object, Some(old))
    }

    fn validate_status_update(&self, object: &Value, _old: &Value) -> Vec<Error> {
        spec::validate_status(object)
    }

    fn warnings(&self, object: &Value) -> Vec<String> {
        spec::unknown_formats(object).into_iter().map(unrecognized).collect()
    }

    fn change_warnings(&self, object: &Value, old: &Value) -> Vec<String> {
        let before = spec::unknown_formats(old);
        spec::unknown_formats(object).into_iter().filter(|format| !before.contains(format)).map(unrecognized).collect()
    }

    fn unconditional_update(&self) -> bool {
        false
    }
}

fn unrecognized(format: &str) -> String {
    format!("unrecognized format {}", quoted(format))
}

/// Adds the storage version to those that objects may be stored in.
fn remember_storage(object: &mut Value) {
    let storage = object.pointer("/spec/versions").and_then(Value::as_array).into_iter().flatten();
    let storage = storage.filter(|v| v["storage"] == true).find_map(|v| v["name"].as_str().map(str::to_owned));
    let mut stored = strings(object.pointer("/status/storedVersions"));
    if let Some(storage) = storage.filter(|name| !stored.contains(name)) {
        stored.push(storage);
        let Some(map) = object.as_object_mut() else { return };
        let status = map.entry("status").or_insert_with(|| json!({}));
        if let Some(status) = status.as_object_mut() {
            status.insert("storedVersions".into(), json!(stored));
        }
    }
}
