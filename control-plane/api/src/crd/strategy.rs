//! What custom resources do in the generic pipeline (`registry/customresource/strategy.go`).

use super::scale::Scale;
use super::{Custom, value};
use crate::field::Error;
use crate::meta;
use crate::strategy::{Strategy, keep_from_old};
use serde_json::Value;

/// The strategy of one version of a CRD.
pub(super) struct CustomStrategy(pub Custom);

impl CustomStrategy {
    fn scale(&self) -> Option<&Scale> {
        self.0.version().scale.as_ref()
    }
}

impl Strategy for CustomStrategy {
    fn default(&self, object: &mut Value) {
        self.0.version().default(object);
    }

    fn prepare_create(&self, object: &mut Value) {
        if let (true, Some(map)) = (self.0.version().has_status, object.as_object_mut()) {
            map.remove("status");
        }
    }

    fn prepare_update(&self, object: &mut Value, old: &Value) {
        if self.0.version().has_status {
            keep_from_old(object, old, "status");
        } else if object.get("status") != old.get("status") {
            // Without the subresource the status is a field like others. What else changed is counted by the pipeline,
            // from the old generation: never twice.
            let next = meta::generation(old) + 1;
            if let Some(metadata) = meta::metadata_mut(object) {
                metadata.insert("generation".into(), next.into());
            }
        }
    }

    fn prepare_status_update(&self, object: &mut Value, old: &Value) {
        let status = object.get_mut("status").map(Value::take);
        let managed = object.pointer("/metadata/managedFields").cloned();
        let version = object.pointer("/metadata/resourceVersion").cloned();
        object.clone_from(old);
        let Some(map) = object.as_object_mut() else { return };
        match status {
            Some(status) => map.insert("status".into(), status),
            None => map.remove("status"),
        };
        let Some(metadata) = meta::metadata_mut(object) else { return };
        for (field, value) in [("managedFields", managed), ("resourceVersion", version)] {
            match value {
                Some(value) => metadata.insert(field.into(), value),
                None => metadata.remove(field),
            };
        }
    }

    fn validate(&self, object: &Value) -> Vec<Error> {
        let mut errors = self.scale().map_or_else(Vec::new, |scale| scale.check(object));
        errors.extend(value::validate(self.0.version().schema.get(), object, None));
        errors
    }

    fn validate_change(&self, object: &Value, old: &Value) -> Vec<Error> {
        self.judge_change(object, old).0
    }

    fn validate_status_update(&self, object: &Value, old: &Value) -> Vec<Error> {
        self.judge_status_update(object, old).0
    }

    fn judge_change(&self, object: &Value, old: &Value) -> (Vec<Error>, Vec<String>) {
        let value::Verdict { mut errors, mut warnings } =
            value::judge(self.0.version().schema.get(), object, Some(old));
        errors.extend(self.scale().map_or_else(Vec::new, |scale| scale.check(object)));
        warnings.extend(value::finalizer_warnings(object, Some(old)));
        (errors, warnings)
    }

    fn judge_status_update(&self, object: &Value, old: &Value) -> (Vec<Error>, Vec<String>) {
        let value::Verdict { mut errors, warnings } = value::judge_status(self.0.version().schema.get(), object, old);
        errors.extend(self.scale().map_or_else(Vec::new, |scale| scale.check_status(object)));
        (errors, warnings)
    }

    fn warnings(&self, object: &Value) -> Vec<String> {
        value::finalizer_warnings(object, None)
    }

    fn change_warnings(&self, object: &Value, old: &Value) -> Vec<String> {
        self.judge_change(object, old).1
    }

    fn fields<'s>(&'s self, object: &Value) -> Vec<(&'s str, String)> {
        self.0.definition.index(object)
    }
}
