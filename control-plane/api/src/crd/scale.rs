//! What the fields that `subresources.scale` names may hold (`registry/customresource/validator.go`).

use crate::field::{Error, Path};
use serde_json::Value;

/// The paths of a version's `subresources.scale`, as its author wrote them.
#[derive(Clone, Debug)]
pub struct Scale {
    spec_replicas: String,
    status_replicas: String,
    label_selector: Option<String>,
}

impl Scale {
    /// Of a version of a CRD; None: it has none.
    #[must_use]
    pub fn of(version: &Value) -> Option<Self> {
        let scale = version.pointer("/subresources/scale").filter(|scale| scale.is_object())?;
        let path = |field: &str| scale.get(field).and_then(Value::as_str).map(str::to_owned);
        Some(Self {
            spec_replicas: path("specReplicasPath")?,
            status_replicas: path("statusReplicasPath")?,
            label_selector: path("labelSelectorPath"),
        })
    }

    /// What is wrong with the fields of an object.
    pub(super) fn check(&self, object: &Value) -> Vec<Error> {
        let mut errors = Vec::new();
        replicas(object, &self.spec_replicas, &mut errors);
        errors.extend(self.check_status(object));
        errors
    }

    /// What is wrong with those that a status has, for the most part.
    pub(super) fn check_status(&self, object: &Value) -> Vec<Error> {
        let mut errors = Vec::new();
        replicas(object, &self.status_replicas, &mut errors);
        if let Some(path) = &self.label_selector {
            let found = find(object, path).and_then(|found| match found {
                Some(other) if !other.is_string() => Err((path.as_str(), other, "string")),
                _ => Ok(()),
            });
            if let Err(fault) = found {
                errors.push(Error::invalid(&Path::new(path), "", told(fault)));
            }
        }
        errors
    }
}

fn replicas(object: &Value, path: &str, errors: &mut Vec<Error>) {
    let at = Path::new(path);
    let found = find(object, path).and_then(|found| match found {
        None => Ok(0),
        Some(value) => value.as_i64().ok_or((path, value, "int64")),
    });
    match found {
        Err(fault) => errors.push(Error::invalid(&at, 0, told(fault))),
        Ok(count) if count < 0 => errors.push(Error::invalid(&at, count, "should be a non-negative integer")),
        Ok(count) if count > i64::from(i32::MAX) => {
            errors.push(Error::invalid(&at, count, format!("should be less than or equal to {}", i32::MAX)));
        }
        Ok(_) => {}
    }
}

/// Where it is, what stands there, and what should.
type Fault<'v> = (&'v str, &'v Value, &'static str);

/// The value at a path; None: nothing stands there. Err: what the path goes through is no object.
fn find<'v>(object: &'v Value, path: &'v str) -> Result<Option<&'v Value>, Fault<'v>> {
    let steps = path.strip_prefix('.').unwrap_or(path);
    let mut value = object;
    for step in steps.split('.') {
        let Some(map) = value.as_object() else { return Err((path, value, "map[string]interface{}")) };
        match map.get(step) {
            None => return Ok(None),
            Some(below) => value = below,
        }
    }
    Ok(Some(value))
}

fn told((path, value, wanted): Fault<'_>) -> String {
    let (shown, found) = match value {
        Value::Null => ("<nil>".to_owned(), "<nil>"),
        Value::Bool(truth) => (truth.to_string(), "bool"),
        Value::Number(number) if number.is_f64() => (number.to_string(), "float64"),
        Value::Number(number) => (number.to_string(), "int64"),
        Value::String(text) => (text.clone(), "string"),
        Value::Array(_) => (value.to_string(), "[]interface {}"),
        Value::Object(_) => (value.to_string(), "map[string]interface {}"),
    };
    format!("{path} accessor error: {shown} is of the type {found}, expected {wanted}")
}
