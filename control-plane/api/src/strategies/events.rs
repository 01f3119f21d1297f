//! Events: one stored object, two representations (core/v1 and events.k8s.io/v1).

use super::json::{check_name, int, present, text, zero};
use crate::field::{Error, Path};
use crate::meta;
use crate::names;
use crate::strategy::Strategy;
use serde_json::{Map, Value};

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
    write_zeros(map, group);
    map.insert("apiVersion".into(), api_version.into());
    map.insert("kind".into(), "Event".into());
}

/// Each representation always writes some of what the other leaves out when it is empty.
fn write_zeros(map: &mut Map<String, Value>, group: &str) {
    let to_events = group == EVENTS_GROUP;
    let none = |value: Option<&Value>| value.is_some_and(|value| value == "" || value == 0);
    for name in ["reportingController", "reportingInstance"].iter().filter(|_| to_events) {
        if none(map.get(*name)) {
            map.remove(*name);
        }
    }
    for name in ["reportingComponent", "reportingInstance"].iter().filter(|_| !to_events) {
        map.entry(*name).or_insert_with(|| "".into());
    }
    let Some(Value::Object(series)) = map.get_mut("series") else { return };
    if to_events {
        series.entry("count").or_insert(0.into());
    } else if none(series.get("count")) {
        series.remove("count");
    }
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

/// The rules of every event (`legacyValidateEvent`): an eventTime marks one of the new kind, through whichever group it
/// comes. `reporter` is what the group calls who tells.
fn check_event(object: &Value, reporter: &str, errors: &mut Vec<Error>) {
    let (own, about) = (meta::namespace(object), text(part(object, "involvedObject"), "namespace"));
    let old = zero(object.get("eventTime"));
    // An event lives in the namespace of what it is about; what is cluster-wide is told in `default`.
    let fits = match (old, about.is_empty()) {
        (true, true) => matches!(own, "" | "default"),
        (true, false) => own == about,
        (false, true) => matches!(own, "default" | "kube-system"),
        (false, false) => true,
    };
    if !fits {
        let path = Path::new("involvedObject.namespace");
        errors.push(Error::invalid(&path, about, "does not match event.namespace"));
    }
    if !old {
        check_new_style(object, reporter, errors);
    }
    check_name(own, &Path::new("namespace"), names::check_dns1123_subdomain, errors);
}

fn check_new_style(object: &Value, reporter: &str, errors: &mut Vec<Error>) {
    let (value, path) = (part(object, "reportingComponent").as_str().unwrap_or_default(), Path::new(reporter));
    if value.is_empty() {
        errors.push(Error::required(&path, ""));
    }
    check_name(value, &path, names::check_qualified_name, errors);
    for (field, limit) in [("reportingInstance", REPORTER_MAX), ("action", ACTION_MAX), ("reason", REASON_MAX)] {
        let value = text(object, field);
        if value.is_empty() {
            errors.push(Error::required(&Path::new(field), ""));
        }
        if value.len() > limit {
            let detail = format!("can have at most {limit} characters");
            errors.push(Error::invalid(&Path::new(field), "", detail));
        }
    }
    let note = part(object, "message").as_str().unwrap_or_default();
    if note.len() > NOTE_MAX_BYTES {
        errors.push(Error::invalid(&Path::new("message"), "", format!("can have at most {NOTE_MAX_BYTES} characters")));
    }
}

fn check_series(object: &Value, errors: &mut Vec<Error>) {
    let Some(series) = present(object, "series") else { return };
    if int(series, "count").unwrap_or(0) < 2 {
        errors.push(Error::invalid(&Path::new("series.count"), "", "should be at least 2"));
    }
    if zero(series.get("lastObservedTime")) {
        errors.push(Error::required(&Path::new("series.lastObservedTime"), ""));
    }
}

fn unset(value: &Value) -> bool {
    zero(Some(value)) || value.as_object().is_some_and(serde_json::Map::is_empty)
}

/// A time to whole microseconds: finer is not told apart.
fn micros(time: Option<&Value>) -> Option<i64> {
    Some(time?.as_str()?.parse::<jiff::Timestamp>().ok()?.as_microsecond())
}

impl Strategy for CoreEvent {
    fn prepare_create(&self, _object: &mut Value) {}
    fn prepare_update(&self, _object: &mut Value, _old: &Value) {}

    fn validate(&self, object: &Value) -> Vec<Error> {
        let mut errors = Vec::new();
        check_event(object, "reportingComponent", &mut errors);
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
        check_event(object, "reportingController", &mut errors);
        check_series(object, &mut errors);
        if zero(object.get("eventTime")) {
            errors.push(Error::required(&Path::new("eventTime"), ""));
        }
        match text(object, "type") {
            "Normal" | "Warning" => {}
            other => errors.push(Error::invalid(&Path::new("type"), "", format!("has invalid value: {other}"))),
        }
        for field in ["firstTimestamp", "lastTimestamp", "count"] {
            if !zero(Some(part(object, field))) {
                errors.push(Error::invalid(&Path::new(field), "", "needs to be unset"));
            }
        }
        let source = part(object, "source");
        if !text(source, "component").is_empty() || !text(source, "host").is_empty() {
            errors.push(Error::invalid(&Path::new("source"), "", "needs to be unset"));
        }
        errors
    }

    fn validate_change(&self, object: &Value, old: &Value) -> Vec<Error> {
        const BEFORE_TIME: [&str; 8] =
            ["involvedObject", "reason", "message", "source", "firstTimestamp", "lastTimestamp", "count", "type"];
        const AFTER_TIME: [&str; 4] = ["action", "related", "reportingComponent", "reportingInstance"];
        let mut errors = Vec::new();
        check_event(object, "reportingController", &mut errors);
        if present(object, "series") != present(old, "series") {
            check_series(object, &mut errors);
        }
        let mut keep = |field: &str| {
            let (new, old) = (part(object, field), part(old, field));
            if new != old && !(unset(new) && unset(old)) {
                let name = if field == "reportingComponent" { "reportingController" } else { field };
                errors.push(Error::invalid(&Path::new(name), new.clone(), meta::IMMUTABLE));
            }
        };
        BEFORE_TIME.iter().for_each(|field| keep(field));
        if micros(object.get("eventTime")) != micros(old.get("eventTime")) {
            keep("eventTime");
        }
        AFTER_TIME.iter().for_each(|field| keep(field));
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
                "involvedObject.namespace: Invalid value: \"b\": does not match event.namespace",
                "eventTime: Required value",
                "type: Invalid value: \"\": has invalid value: ",
            ]
        );
    }

    #[test]
    fn who_tells_of_what_happened_says_who_and_what() {
        let told = |strategy: &dyn Strategy, event: Value| -> Vec<String> {
            strategy.validate(&event).iter().map(ToString::to_string).collect()
        };
        let bare = json!({"metadata": {"namespace": "a"}, "regarding": {"namespace": "b"}, "type": "Normal",
            "eventTime": "2026-01-01T00:00:00.000000Z"});
        let required = ["reportingInstance", "action", "reason"].map(|field| format!("{field}: Required value"));
        let mut wanted = vec!["reportingController: Required value".to_owned()];
        wanted.extend(
            names::check_qualified_name("").iter().map(|t| format!("reportingController: Invalid value: \"\": {t}")),
        );
        wanted.extend(required);
        assert_eq!(told(&NewEvent, bare.clone()), wanted);
        let named: Vec<String> =
            wanted.iter().map(|t| t.replace("reportingController", "reportingComponent")).collect();
        assert_eq!(told(&CoreEvent, bare), named);
        let old = json!({"metadata": {"namespace": "a"}, "involvedObject": {}});
        let told = told(&CoreEvent, old);
        assert_eq!(told, ["involvedObject.namespace: Invalid value: \"\": does not match event.namespace"]);
    }

    #[test]
    fn only_its_series_changes_of_an_event() {
        let old = json!({"metadata": {"name": "e", "namespace": "default"}, "regarding": {"kind": "Node", "name": "n"},
            "type": "Normal", "reason": "R", "action": "A", "reportingController": "c", "reportingInstance": "i",
            "eventTime": "2026-01-01T00:00:00.000001Z"});
        let change = |set: &dyn Fn(&mut Value)| -> Vec<String> {
            let mut new = old.clone();
            set(&mut new);
            NewEvent.validate_change(&new, &old).iter().map(ToString::to_string).collect()
        };
        assert_eq!(change(&|e| e["eventTime"] = json!("2026-01-01T00:00:00.0000012Z")), Vec::<String>::new());
        let series = json!({"count": 2, "lastObservedTime": "2026-01-01T00:00:01.000000Z"});
        assert_eq!(change(&|e| e["series"] = series.clone()), Vec::<String>::new());
        assert_eq!(
            change(&|e| e["series"] = json!({"count": 1})),
            ["series.count: Invalid value: \"\": should be at least 2", "series.lastObservedTime: Required value"]
        );
        assert_eq!(
            change(&|e| e["reportingController"] = json!("d")),
            ["reportingController: Invalid value: \"d\": field is immutable"]
        );
        assert_eq!(change(&|e| e["note"] = json!("x")), ["message: Invalid value: \"x\": field is immutable"]);
    }
}
