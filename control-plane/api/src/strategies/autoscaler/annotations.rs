//! What autoscaling/v1 has no fields for, as the texts that it carries in annotations instead: metrics and conditions as
//! types of v1 that exist for these annotations alone, the behaviour as Kubernetes' internal type, whose members are called
//! as its Go fields.
//!
//! A text that is not what it should be says nothing: Kubernetes ignores it, too.

use super::go::{Go, WrongType, each, member, renamed, structure};
use crate::quantity::Quantity;
use crate::schema::{self, Schema};
use crate::strategies::json::{int, items, present, text};
use k8s_openapi::api::autoscaling::v2;
use serde_json::{Map, Value};
use std::sync::{Arc, LazyLock};

pub(super) const METRICS: &str = "autoscaling.alpha.kubernetes.io/metrics";
pub(super) const CURRENT_METRICS: &str = "autoscaling.alpha.kubernetes.io/current-metrics";
pub(super) const CONDITIONS: &str = "autoscaling.alpha.kubernetes.io/conditions";
pub(super) const BEHAVIOR: &str = "autoscaling.alpha.kubernetes.io/behavior";
/// All that no other version has, with those of a version that is gone.
pub(super) const ALL: [&str; 6] = [
    METRICS,
    CURRENT_METRICS,
    CONDITIONS,
    BEHAVIOR,
    "autoscaling.alpha.kubernetes.io/scale-down-tolerance",
    "autoscaling.alpha.kubernetes.io/scale-up-tolerance",
];

/// Which type a field of a v1 metric has in Go.
#[derive(Clone, Copy)]
enum Kind {
    Text,
    Quantity,
    /// One that may be absent.
    Pointer,
    Reference,
    Selector,
}

/// A field of a v1 metric, and the path to the same in v2.
struct Field {
    v1: &'static str,
    kind: Kind,
    v2: &'static [&'static str],
}

const fn field(v1: &'static str, kind: Kind, v2: &'static [&'static str]) -> Field {
    Field { v1, kind, v2 }
}

/// The fields of one kind of metric, in the order of the Go struct.
struct Source {
    name: &'static str,
    fields: &'static [Field],
}

const DESCRIBED: Field = field("target", Kind::Reference, &["describedObject"]);
const METRIC: Field = field("metricName", Kind::Text, &["metric", "name"]);
const SELECTOR: Field = field("selector", Kind::Selector, &["metric", "selector"]);
const METRIC_SELECTOR: Field = field("metricSelector", Kind::Selector, &["metric", "selector"]);
const NAME: Field = field("name", Kind::Text, &["name"]);
const CONTAINER: Field = field("container", Kind::Text, &["container"]);
const TARGET_UTILIZATION: Field = field("targetAverageUtilization", Kind::Pointer, &["target", "averageUtilization"]);
const TARGET_AVERAGE: Field = field("targetAverageValue", Kind::Pointer, &["target", "averageValue"]);
const UTILIZATION: Field = field("currentAverageUtilization", Kind::Pointer, &["current", "averageUtilization"]);
const AVERAGE: Field = field("currentAverageValue", Kind::Quantity, &["current", "averageValue"]);

/// A `MetricSpec`.
const TARGETS: [Source; 5] = [
    Source {
        name: "object",
        fields: &[
            DESCRIBED,
            METRIC,
            field("targetValue", Kind::Quantity, &["target", "value"]),
            SELECTOR,
            field("averageValue", Kind::Pointer, &["target", "averageValue"]),
        ],
    },
    Source {
        name: "pods",
        fields: &[METRIC, field("targetAverageValue", Kind::Quantity, &["target", "averageValue"]), SELECTOR],
    },
    Source { name: "resource", fields: &[NAME, TARGET_UTILIZATION, TARGET_AVERAGE] },
    Source { name: "containerResource", fields: &[NAME, TARGET_UTILIZATION, TARGET_AVERAGE, CONTAINER] },
    Source {
        name: "external",
        fields: &[METRIC, METRIC_SELECTOR, field("targetValue", Kind::Pointer, &["target", "value"]), TARGET_AVERAGE],
    },
];

/// A `MetricStatus`.
const STATES: [Source; 5] = [
    Source {
        name: "object",
        fields: &[
            DESCRIBED,
            METRIC,
            field("currentValue", Kind::Quantity, &["current", "value"]),
            SELECTOR,
            field("averageValue", Kind::Pointer, &["current", "averageValue"]),
        ],
    },
    Source { name: "pods", fields: &[METRIC, AVERAGE, SELECTOR] },
    Source { name: "resource", fields: &[NAME, UTILIZATION, AVERAGE] },
    Source { name: "containerResource", fields: &[NAME, UTILIZATION, AVERAGE, CONTAINER] },
    Source {
        name: "external",
        fields: &[
            METRIC,
            METRIC_SELECTOR,
            field("currentValue", Kind::Quantity, &["current", "value"]),
            field("currentAverageValue", Kind::Pointer, &["current", "averageValue"]),
        ],
    },
];

pub(super) fn write_metrics<'v>(metrics: impl Iterator<Item = &'v Value>) -> String {
    Go::List(metrics.map(|metric| metric_in_v1(metric, &TARGETS)).collect()).to_text()
}

pub(super) fn write_current_metrics(metrics: &[Value]) -> String {
    Go::List(metrics.iter().map(|metric| metric_in_v1(metric, &STATES)).collect()).to_text()
}

/// `None`: the text is no list of metrics.
pub(super) fn read_metrics(text: &str) -> Option<Vec<Value>> {
    let read = |metric: &Value| {
        let mut metric = metric_in_v2(metric, &TARGETS)?;
        for source in &TARGETS {
            if let Some(found) = metric.get_mut(source.name) {
                fill(found, "target", Map::new().into());
                name_target(source.name, &mut found["target"]);
            }
        }
        Ok(metric)
    };
    list(text, read, schema(&["spec", "metrics"])?)
}

/// As [`read_metrics`].
pub(super) fn read_current_metrics(text: &str) -> Option<Vec<Value>> {
    list(text, |metric| metric_in_v2(metric, &STATES), schema(&["status", "currentMetrics"])?)
}

const CONDITION: [&str; 5] = ["type", "status", "lastTransitionTime", "reason", "message"];

pub(super) fn write_conditions(conditions: &[Value]) -> String {
    let condition = |condition| {
        let member = |name: &'static str| match (name, present(condition, name)) {
            ("type" | "status", None) => Some((name, Go::Text(""))),
            ("reason" | "message", None) => None,
            ("reason" | "message", Some(value)) if value == "" => None,
            (_, value) => Some((name, Go::pointer(value))),
        };
        Go::Struct(CONDITION.into_iter().filter_map(member).collect())
    };
    Go::List(conditions.iter().map(condition).collect()).to_text()
}

/// `None`: the text is no list of conditions.
pub(super) fn read_conditions(text: &str) -> Option<Vec<Value>> {
    let read = |condition: &Value| {
        let mut condition = renamed(condition, &CONDITION.map(|name| (name, name)))?;
        for name in ["type", "status"] {
            fill_text(&mut condition, name);
        }
        Ok(condition)
    };
    list(text, read, schema(&["status", "conditions"])?)
}

const POLICY: [(&str, &str); 3] = [("Type", "type"), ("Value", "value"), ("PeriodSeconds", "periodSeconds")];
const RULES: [(&str, &str); 4] = [
    ("StabilizationWindowSeconds", "stabilizationWindowSeconds"),
    ("SelectPolicy", "selectPolicy"),
    ("Policies", "policies"),
    ("Tolerance", "tolerance"),
];
const DIRECTIONS: [(&str, &str); 2] = [("ScaleUp", "scaleUp"), ("ScaleDown", "scaleDown")];

pub(super) fn write_behavior(behavior: &Value) -> String {
    let policy = |policy| {
        Go::Struct(vec![
            ("Type", Go::Text(text(policy, "type"))),
            ("Value", Go::Int(int(policy, "value").unwrap_or(0))),
            ("PeriodSeconds", Go::Int(int(policy, "periodSeconds").unwrap_or(0))),
        ])
    };
    let rules = |rules| {
        let member = |(go, name): (&'static str, &'static str)| match name {
            "policies" if items(rules, name).is_empty() => (go, Go::Null),
            "policies" => (go, Go::List(items(rules, name).iter().map(policy).collect())),
            _ => (go, Go::pointer(present(rules, name))),
        };
        Go::Struct(RULES.into_iter().map(member).collect())
    };
    let direction = |(go, name): (&'static str, &'static str)| (go, present(behavior, name).map_or(Go::Null, rules));
    Go::Struct(DIRECTIONS.into_iter().map(direction).collect()).to_text()
}

/// `None`: the text is no behaviour, or one that says nothing.
pub(super) fn read_behavior(text: &str) -> Option<Value> {
    let policy = |policy: &Value| {
        let mut policy = if policy.is_null() { Value::Object(Map::new()) } else { renamed(policy, &POLICY)? };
        fill_text(&mut policy, "type");
        for name in ["value", "periodSeconds"] {
            fill(&mut policy, name, 0.into());
        }
        Ok(policy)
    };
    let read = |behavior: &Value| {
        let mut behavior = renamed(behavior, &DIRECTIONS)?;
        for rules in behavior.as_object_mut().into_iter().flat_map(Map::values_mut) {
            *rules = renamed(rules, &RULES)?;
            if let Some(policies) = rules.get_mut("policies") {
                *policies = each(policies, policy)?;
            }
        }
        Ok::<_, WrongType>(behavior)
    };
    let mut behavior = read(&serde_json::from_str(text).ok()?).ok()?;
    held_to(schema(&["spec", "behavior"])?, &mut behavior)?;
    Some(behavior).filter(|behavior| behavior.as_object().is_some_and(|map| !map.is_empty()))
}

fn metric_in_v1<'v>(metric: &'v Value, sources: &[Source]) -> Go<'v> {
    let source = |source: &Source| {
        let value = present(metric, source.name)?;
        let fields = source.fields.iter().filter_map(|field| Some((field.v1, field.in_v1(value)?)));
        Some((source.name, Go::Struct(fields.collect())))
    };
    let kind = ("type", Go::Text(text(metric, "type")));
    Go::Struct(std::iter::once(kind).chain(sources.iter().filter_map(source)).collect())
}

fn metric_in_v2(metric: &Value, sources: &[Source]) -> Result<Value, WrongType> {
    let mut found = Map::new();
    let none = Map::new();
    let map = structure(metric)?.unwrap_or(&none);
    found.insert("type".into(), member(map, "type").cloned().unwrap_or_else(|| "".into()));
    for source in sources {
        let Some(value) = member(map, source.name) else { continue };
        let value = structure(value)?.unwrap_or(&none);
        let mut own = Map::new();
        for field in source.fields {
            field.put(value, &mut own)?;
        }
        found.insert(source.name.into(), own.into());
    }
    Ok(found.into())
}

impl Field {
    /// What v1 shows of a v2 metric; `None`: the field is left out.
    fn in_v1<'v>(&self, source: &'v Value) -> Option<Go<'v>> {
        let value = self.v2.iter().try_fold(source, |value, step| present(value, step));
        let picked = |names: &[&'static str], value: &'v Value| {
            Go::Struct(names.iter().filter_map(|name| Some((*name, Go::Value(present(value, name)?)))).collect())
        };
        match (self.kind, value) {
            (Kind::Reference, value) => {
                let part = |name| value.map_or("", |value| text(value, name));
                let version =
                    Some(("apiVersion", Go::Text(part("apiVersion")))).filter(|_| !part("apiVersion").is_empty());
                let own = [("kind", Go::Text(part("kind"))), ("name", Go::Text(part("name")))];
                Some(Go::Struct(own.into_iter().chain(version).collect()))
            }
            (Kind::Selector, Some(value)) => Some(picked(&["matchLabels", "matchExpressions"], value)),
            (_, Some(value)) => Some(Go::Value(value)),
            (Kind::Text, None) => Some(Go::Text("")),
            (Kind::Quantity, None) => Some(Go::Text("0")),
            (Kind::Pointer | Kind::Selector, None) => None,
        }
    }

    /// Puts the field of a v1 metric where v2 has it.
    fn put(&self, source: &Map<String, Value>, into: &mut Map<String, Value>) -> Result<(), WrongType> {
        let value = match (self.kind, member(source, self.v1)) {
            (Kind::Reference, value) => {
                let names = ["kind", "name", "apiVersion"].map(|name| (name, name));
                let mut reference = value.map_or(Ok(Value::Null), |value| renamed(value, &names))?;
                if reference.is_null() {
                    reference = Map::new().into();
                }
                fill_text(&mut reference, "kind");
                fill_text(&mut reference, "name");
                reference
            }
            (Kind::Selector, Some(value)) => {
                renamed(value, &["matchLabels", "matchExpressions"].map(|name| (name, name)))?
            }
            (_, Some(value)) => value.clone(),
            (Kind::Text, None) => "".into(),
            (Kind::Quantity, None) => "0".into(),
            (Kind::Pointer | Kind::Selector, None) => return Ok(()),
        };
        let (last, steps) = self.v2.split_last().expect("a field has a path");
        let mut place = into;
        for step in steps {
            let next = place.entry(*step).or_insert_with(|| Map::new().into());
            place = next.as_object_mut().expect("only objects are put on the way to a field");
        }
        place.insert((*last).into(), value);
        Ok(())
    }
}

/// What kind of target it is, v1 says by which of its fields are there.
fn name_target(source: &str, target: &mut Value) {
    let has = |field: &str| present(target, field).is_some();
    let kind = match source {
        "resource" | "containerResource" if has("averageUtilization") => "Utilization",
        "object" if has("averageValue") => {
            // v1 cannot leave this one out: none is written as zero.
            if target.get("value").is_some_and(|value| Quantity::from_value(value).is_ok_and(Quantity::is_zero)) {
                target.as_object_mut().and_then(|target| target.remove("value"));
            }
            "AverageValue"
        }
        "object" => "Value",
        "external" if has("value") => "Value",
        _ => "AverageValue",
    };
    fill(target, "type", kind.into());
}

fn fill(object: &mut Value, name: &str, value: Value) {
    if let Some(map) = object.as_object_mut() {
        map.entry(name).or_insert(value);
    }
}

fn fill_text(object: &mut Value, name: &str) {
    fill(object, name, "".into());
}

fn list(text: &str, read: impl Fn(&Value) -> Result<Value, WrongType>, schema: &Schema) -> Option<Vec<Value>> {
    let mut value = each(&serde_json::from_str(text).ok()?, read).ok()?;
    held_to(schema, &mut value)?;
    match value {
        Value::Array(list) => Some(list),
        _ => Some(Vec::new()),
    }
}

/// Checks types and makes texts canonical; `None`: there is a value of the wrong type.
fn held_to(schema: &Schema, value: &mut Value) -> Option<()> {
    schema::check_types(schema, value).ok()?;
    schema::prune(schema, value);
    Some(())
}

/// The schema of a place in an autoscaler of v2.
fn schema(path: &[&str]) -> Option<&'static Schema> {
    static V2: LazyLock<Arc<Schema>> =
        LazyLock::new(|| schema::builtin(|generator| generator.subschema_for::<v2::HorizontalPodAutoscaler>()));
    path.iter().try_fold(&**V2, |schema, step| schema.child(step))
}
