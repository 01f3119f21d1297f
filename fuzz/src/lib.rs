//! What the targets share: values out of bytes, and how long anything may take.

use api::schema::{Format, Schema, Shape};
use arbitrary::{Result, Unstructured};
use rustix::time::{ClockId, clock_gettime};
use serde_json::{Map, Value, json};
use std::time::Duration;

/// What one step of any target may take of a processor.
pub const PATIENCE: Duration = Duration::from_secs(1);

/// The deepest value that is made.
const DEPTH: usize = 7;

/// Names and texts that mean something somewhere.
pub const WORDS: &[&str] = &[
    "a", "b", "c", "k", "x", "", "name", "key", "value", "app", "$patch", "delete", "replace", "merge", "$retainKeys",
    "$setElementOrder/containers", "$setElementOrder/ports", "$deleteFromPrimitiveList/finalizers", "spec", "status",
    "metadata", "managedFields", "labels", "finalizers", "ownerReferences", "containers", "ports", "containerPort",
    "protocol", "TCP", "UDP", "10.0.0.1", "10.96.0.0/12", "::1", "80", "http", "100m", "1Gi", "-1", "1e9", "0",
    "50%", "Always", "Never", "OnFailure", "Recreate", "RollingUpdate", "ClusterIP", "NodePort", "None", "In", "Exists",
    "example.com/x", "default", "kube-system", "2026-01-02T03:04:05Z", "2026-01-02T03:04:05.123456Z", "dGVzdA==",
    "*", "/a/b", "..", "a/b", "é", "\u{0}", "f:spec", "k:{\"name\":\"a\"}", "v:1", ".", "Never\n", "UpperCase",
];

/// Runs a step, which must not take longer than [`PATIENCE`] of the processor: others may use it, too.
#[track_caller]
pub fn soon<T>(what: &str, step: impl FnOnce() -> T) -> T {
    let before = processor();
    let result = step();
    let taken = processor().saturating_sub(before);
    assert!(taken < PATIENCE, "{what} took {taken:?}");
    result
}

fn processor() -> Duration {
    let now = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(now.tv_sec.try_into().unwrap_or_default(), now.tv_nsec.try_into().unwrap_or_default())
}

/// Up to `N` texts that stand behind each other with a NUL between them.
pub fn texts<const N: usize>(data: &[u8]) -> [&str; N] {
    let mut parts = data.splitn(N, |byte| *byte == 0);
    std::array::from_fn(|_| parts.next().and_then(|part| std::str::from_utf8(part).ok()).unwrap_or_default())
}

/// The same as JSON; `Null` where there is none, or what the server would not read.
pub fn documents<const N: usize>(data: &[u8]) -> [Value; N] {
    let limits = api::decode::Limits::default();
    texts::<N>(data).map(|text| api::decode::json(text.as_bytes(), limits).map(|(value, _)| value).unwrap_or_default())
}

/// Whether the input is a text that begins with JSON; otherwise it is what values are made from.
pub fn is_text(data: &[u8]) -> bool {
    data.first().is_some_and(|byte| matches!(byte, b'{' | b'['))
}

pub fn word(u: &mut Unstructured<'_>) -> Result<&'static str> {
    u.choose(WORDS).copied()
}

fn number(u: &mut Unstructured<'_>) -> Result<Value> {
    Ok(match u.int_in_range(0..=7)? {
        0..=3 => u.int_in_range(-1..=4_i64)?.into(),
        4 => u.arbitrary::<u16>()?.into(),
        5 => u.arbitrary::<i32>()?.into(),
        6 => u.arbitrary::<i64>()?.into(),
        _ => json!(u.arbitrary::<f64>()?),
    })
}

/// Any value.
pub fn value(u: &mut Unstructured<'_>, depth: usize) -> Result<Value> {
    Ok(match u.int_in_range(0..=9)? {
        0 => Value::Null,
        1 => u.arbitrary::<bool>()?.into(),
        2 | 3 => number(u)?,
        4..=6 => word(u)?.into(),
        _ if depth > DEPTH => word(u)?.into(),
        7 => (0..u.int_in_range(0..=4)?).map(|_| value(u, depth + 1)).collect::<Result<_>>()?,
        _ => Value::Object(fields(u, |u| value(u, depth + 1))?),
    })
}

fn fields(u: &mut Unstructured<'_>, mut value: impl FnMut(&mut Unstructured<'_>) -> Result<Value>) -> Result<Map<String, Value>> {
    (0..u.int_in_range(0..=4)?).map(|_| Ok((word(u)?.to_owned(), value(u)?))).collect()
}

/// A value that mostly fits a schema.
pub fn shaped(u: &mut Unstructured<'_>, schema: &Schema, depth: usize) -> Result<Value> {
    if u.ratio(1, 40_u8)? {
        return value(u, depth);
    }
    Ok(match &schema.resolved().shape {
        Shape::Text(Format::Plain) => word(u)?.into(),
        Shape::Text(Format::Byte) => (*u.choose(&["", "dGVzdA==", "!"])?).into(),
        Shape::Text(_) => (*u.choose(&["2026-01-02T03:04:05Z", "2026-01-02T03:04:05.5+02:00", "0000", ""])?).into(),
        Shape::Boolean => u.arbitrary::<bool>()?.into(),
        Shape::Int32 | Shape::Int64 | Shape::Number => number(u)?,
        Shape::IntOrString => if u.arbitrary()? { number(u)? } else { word(u)?.into() },
        Shape::Quantity => (*u.choose(&["1", "100m", "1Gi", "-5", "1e3", "9223372036854775807Ei", "0.0000000001"])?).into(),
        _ if depth > 2 * DEPTH => Value::Null,
        Shape::Object(object) => {
            let known: Vec<_> = object.fields().collect();
            let mut map = Map::new();
            for _ in 0..u.int_in_range(0..=6)? {
                if known.is_empty() {
                    break;
                }
                let (name, field) = *u.choose(&known)?;
                map.insert(name.to_owned(), shaped(u, field, depth + 1)?);
            }
            Value::Object(map)
        }
        Shape::Map(values) => Value::Object(fields(u, |u| shaped(u, values, depth + 1))?),
        Shape::List(items) => (0..u.int_in_range(0..=4)?).map(|_| shaped(u, items, depth + 1)).collect::<Result<_>>()?,
        Shape::Any | Shape::Either(_) | Shape::Named(_) => value(u, depth + 1)?,
    })
}

/// The value with a few places changed: removed, doubled, or replaced.
pub fn altered(u: &mut Unstructured<'_>, value_: &Value, depth: usize) -> Result<Value> {
    if u.ratio(1, 12_u8)? {
        return value(u, depth);
    }
    Ok(match value_ {
        Value::Object(map) => {
            let mut out = Map::new();
            for (name, item) in map {
                match u.int_in_range(0..=9)? {
                    0 => {}
                    1..=5 => _ = out.insert(name.clone(), item.clone()),
                    _ => _ = out.insert(name.clone(), altered(u, item, depth + 1)?),
                }
            }
            Value::Object(out)
        }
        Value::Array(list) => {
            let mut out = Vec::new();
            for item in list {
                match u.int_in_range(0..=9)? {
                    0 => {}
                    1 => out.extend([item.clone(), item.clone()]),
                    2..=5 => out.push(item.clone()),
                    6 => out.insert(0, item.clone()),
                    _ => out.push(altered(u, item, depth + 1)?),
                }
            }
            Value::Array(out)
        }
        scalar => scalar.clone(),
    })
}
