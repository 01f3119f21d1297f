//! Events: one stored object, two representations (core/v1 and events.k8s.io/v1).

use super::json::{check_name, int, present, text, zero};
use crate::field::{Error, Path};
use crate::meta;
use crate::names;
use crate::strategy::Strategy;
use serde_json::Value;

/// The members that have one name in core/v1 and another in events.k8s.io/v1.
const RENAMED: [(&str, &str); 7] = [
    ("involvedObject", "regarding"),
    ("message", "note"),
    ("source", "deprecatedSource"),
    ("firstTimestamp", "deprecatedFirstTimestamp"),
    ("lastTimestamp", "deprecatedLastTimestamp"),
    ("count", "deprecatedCount"),
    ("reportingComponent", "reportingController"),
];

/// The group of the newer representation.
pub const EVENTS_GROUP: &str = "events.k8s.io";

/// Rewrites an event into the representation of `group` (`""` or `events.k8s.io`). An event that has it
/// already is left as it is; members of both representations at once keep the target's.
pub fn convert(object: &mut Value, group: &str) {
    let Some(map) = object.as_object_mut() else { return };
    let to_events = group == EVENTS_GROUP;
    let api_version = if to_events { "events.k8s.io/v1" } else { "v1" };
    for (core, events) in RENAMED {
        let (from, to) = if to_events { (core, events) } else { (events, core) };
        if let Some(value) = map.remove(from) {
            map.entry(to).or_insert(value);
        }
    }
    map.insert("apiVersion".into(), api_version.into());
    map.insert("kind".into(), "Event".into());
}

/// The part of an event that is called `core` in core/v1, in whichever representation it stands.
fn part<'a>(object: &'a Value, core: &str) -> &'a Value {
    let events = RENAMED.iter().find(|(c, _)| *c == core).map_or(core, |(_, e)| *e);
    present(object, core).or_else(|| present(object, events)).unwrap_or(&Value::Null)
}

const REASON_MAX: usize = 128;
const ACTION_MAX: usize = 128;
const NOTE_MAX_BYTES: usize = 1024;
const REPORTER_MAX: usize = 128;

/// Events written through core/v1.
pub(super) struct CoreEvent;
/// Events written through events.k8s.io/v1, which is stricter.
pub(super) struct NewEvent;

fn fields(object: &Value) -> Vec<(&'static str, String)> {
    let involved = part(object, "involvedObject");
    let source = text(part(object, "source"), "component");
    let reporter = part(object, "reportingComponent").as_str().unwrap_or_default();
    let source = if source.is_empty() { reporter } else { source };
    vec![
        ("involvedObject.kind", text(involved, "kind").into()),
        ("involvedObject.namespace", text(involved, "namespace").into()),
        ("involvedObject.name", text(involved, "name").into()),
        ("involvedObject.uid", text(involved, "uid").into()),
        ("involvedObject.apiVersion", text(involved, "apiVersion").into()),
        ("involvedObject.resourceVersion", text(involved, "resourceVersion").into()),
        ("involvedObject.fieldPath", text(involved, "fieldPath").into()),
        ("regarding.kind", text(involved, "kind").into()),
        ("regarding.namespace", text(involved, "namespace").into()),
        ("regarding.name", text(involved, "name").into()),
        ("regarding.uid", text(involved, "uid").into()),
        ("reason", text(object, "reason").into()),
        ("reportingComponent", reporter.into()),
        ("reportingController", reporter.into()),
        ("source", source.into()),
        ("type", text(object, "type").into()),
    ]
}

const FIELD_NAMES: &[&str] = &[
    "involvedObject.kind",
    "involvedObject.namespace",
    "involvedObject.name",
    "involvedObject.uid",
    "involvedObject.apiVersion",
    "involvedObject.resourceVersion",
    "involvedObject.fieldPath",
    "regarding.kind",
    "regarding.namespace",
    "regarding.name",
    "regarding.uid",
    "reason",
    "reportingComponent",
    "reportingController",
    "source",
    "type",
];

/// An event lives in the namespace of what it is about; what is cluster-wide is told in `default`.
fn check_namespace(object: &Value, path: &Path<'_>, errors: &mut Vec<Error>) {
    let about = text(part(object, "involvedObject"), "namespace");
    let own = meta::namespace(object);
    let fits = if about.is_empty() { matches!(own, "" | "default" | "kube-system") } else { about == own };
    if !fits {
        errors.push(Error::invalid(&path.child("namespace"), about, "does not match event.namespace"));
    }
}

fn check_new_style(object: &Value, reporter: &str, errors: &mut Vec<Error>) {
    let value = part(object, "reportingComponent").as_str().unwrap_or_default();
    match value {
        "" => errors.push(Error::required(&Path::new(reporter), "")),
        value => check_name(value, &Path::new(reporter), names::check_qualified_name, errors),
    }
    for (field, limit) in [("reportingInstance", REPORTER_MAX), ("action", ACTION_MAX), ("reason", REASON_MAX)] {
        let value = text(object, field);
        if value.is_empty() {
            errors.push(Error::required(&Path::new(field), ""));
        } else if value.len() > limit {
            let detail = format!("can have at most {limit} characters");
            errors.push(Error::invalid(&Path::new(field), value, detail));
        }
    }
    let note = part(object, "message").as_str().unwrap_or_default();
    if note.len() > NOTE_MAX_BYTES {
        errors.push(Error::invalid(&Path::new("message"), "", format!("can have at most {NOTE_MAX_BYTES} characters")));
    }
}

impl Strategy for CoreEvent {
    fn prepare_create(&self, _object: &mut Value) {}
    fn prepare_update(&self, _object: &mut Value, _old: &Value) {}

    fn validate(&self, object: &Value) -> Vec<Error> {
        let mut errors = Vec::new();
        check_namespace(object, &Path::new("involvedObject"), &mut errors);
        // An eventTime marks an event of the new kind, also where it comes through the old group.
        if !zero(object.get("eventTime")) {
            check_new_style(object, "reportingController", &mut errors);
        }
        errors
    }

    fn has_generation(&self) -> bool {
        false
    }

    fn create_on_update(&self) -> bool {
        true
    }

    fn field_names(&self) -> &'static [&'static str] {
        FIELD_NAMES
    }

    fn fields(&self, object: &Value) -> Vec<(&'static str, String)> {
        fields(object)
    }
}

impl Strategy for NewEvent {
    fn prepare_create(&self, _object: &mut Value) {}
    fn prepare_update(&self, _object: &mut Value, _old: &Value) {}

    fn validate(&self, object: &Value) -> Vec<Error> {
        let mut errors = Vec::new();
        check_namespace(object, &Path::new("regarding"), &mut errors);
        // An event of the old kind, read and written back through the new group.
        let old_style = zero(object.get("eventTime")) && int(object, "deprecatedCount").is_some_and(|c| c > 0);
        if old_style {
            return errors;
        }
        if zero(object.get("eventTime")) {
            errors.push(Error::required(&Path::new("eventTime"), ""));
        }
        match text(object, "type") {
            "Normal" | "Warning" => {}
            other => errors.push(Error::invalid(&Path::new("type"), other, "has invalid value: ".to_owned() + other)),
        }
        check_new_style(object, "reportingController", &mut errors);
        errors
    }

    fn validate_update(&self, object: &Value, old: &Value) -> Vec<Error> {
        let mut errors = Vec::new();
        for field in ["regarding", "reason", "type", "action", "reportingController", "reportingInstance", "note"] {
            super::json::check_immutable(object, old, field, &Path::new(""), &mut errors);
        }
        errors
    }

    fn has_generation(&self) -> bool {
        false
    }

    fn create_on_update(&self) -> bool {
        true
    }

    fn field_names(&self) -> &'static [&'static str] {
        FIELD_NAMES
    }

    fn fields(&self, object: &Value) -> Vec<(&'static str, String)> {
        fields(object)
    }
}

/// The number of times an event was seen, in either representation.
#[must_use]
pub fn count(object: &Value) -> i64 {
    let series = object.get("series").and_then(|s| int(s, "count"));
    series.or_else(|| part(object, "count").as_i64()).unwrap_or(1).max(1)
}

/// The part of an event that core/v1 calls `field`, in whichever representation it stands.
#[must_use]
pub fn member<'a>(object: &'a Value, field: &str) -> &'a Value {
    part(object, field)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn both_representations_hold_the_same() {
        let core = json!({
            "kind": "Event", "apiVersion": "v1", "metadata": {"name": "e", "namespace": "default"},
            "involvedObject": {"kind": "Pod", "name": "p", "namespace": "default"}, "reason": "Started",
            "message": "Started container", "source": {"component": "kubelet"}, "count": 3, "type": "Normal",
            "firstTimestamp": "2026-01-01T00:00:00Z", "lastTimestamp": "2026-01-01T00:00:00Z",
            "reportingComponent": "kubelet", "reportingInstance": "n1",
        });
        let mut event = core.clone();
        convert(&mut event, EVENTS_GROUP);
        assert_eq!(event["regarding"]["name"], "p");
        assert_eq!(event["note"], "Started container");
        assert_eq!(event["deprecatedSource"]["component"], "kubelet");
        assert_eq!(event["apiVersion"], "events.k8s.io/v1");
        assert!(event.get("involvedObject").is_none());
        assert_eq!(fields(&event), fields(&core));
        assert_eq!(CoreEvent.validate(&core), []);
        convert(&mut event, "");
        assert_eq!(event, core);
        convert(&mut event, "");
        assert_eq!(event, core);
        assert_eq!(count(&core), 3);
    }

    #[test]
    fn the_new_group_is_strict() {
        let event = json!({"metadata": {"namespace": "a"}, "regarding": {"namespace": "b"}});
        let texts: Vec<String> = NewEvent.validate(&event).iter().map(ToString::to_string).collect();
        assert_eq!(
            texts,
            [
                "regarding.namespace: Invalid value: \"b\": does not match event.namespace",
                "eventTime: Required value",
                "type: Invalid value: \"\": has invalid value: ",
                "reportingController: Required value",
                "reportingInstance: Required value",
                "action: Required value",
                "reason: Required value",
            ]
        );
    }
}
