//! Objects as tables: what `kubectl get` prints (`metav1.Table`), after Kubernetes' server-side printers.
//!
//! Knows objects and a moment in time; never requests or the store.

mod cluster;
mod format;
mod network;
mod other;
mod pods;
#[cfg(test)]
mod tests;
mod workloads;

use crate::kinds::{Columns, Resource};
use crate::meta;
use jiff::Timestamp;
use serde_json::{Value, json};
use std::borrow::Cow;

/// The definition of one column (`metav1.TableColumnDefinition`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Column {
    pub name: Cow<'static, str>,
    /// `string`, `integer`, `date`, …
    pub type_: Cow<'static, str>,
    /// `name` marks the column that identifies the row.
    pub format: Cow<'static, str>,
    pub description: Cow<'static, str>,
    /// 0 is always shown, 1 and above with `-o wide`.
    pub priority: i32,
}

/// What rendering needs beside the object.
#[derive(Clone, Debug)]
pub struct Context {
    /// Whether wide columns are wanted. The server always renders all and lets the client choose.
    pub wide: bool,
    pub now: Timestamp,
}

impl Context {
    /// A context that renders all columns, as the server does.
    #[must_use]
    pub fn at(now: Timestamp) -> Self {
        Self { wide: true, now }
    }
}

/// How much of each object goes along in its row (`TableOptions.includeObject`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum IncludeObject {
    None,
    #[default]
    Metadata,
    Object,
}

impl IncludeObject {
    /// From the query parameter; `None` for an unknown word.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        match text {
            "" | "Metadata" => Some(Self::Metadata),
            "None" => Some(Self::None),
            "Object" => Some(Self::Object),
            _ => None,
        }
    }
}

/// Renders `objects` as a `metav1.Table` with `list_meta` as its metadata (the list's `resourceVersion`,
/// `continue`, `remainingItemCount`; an object's own for a single GET).
pub fn render<'a>(
    resource: &Resource,
    objects: impl IntoIterator<Item = &'a Value>,
    list_meta: Value,
    context: &Context,
    include: IncludeObject,
) -> Value {
    let rows: Vec<Value> = objects.into_iter().map(|o| row(resource, o, context, include)).collect();
    table(definitions(resource), rows, list_meta)
}

/// One `autoscaling/v1 Scale` as a table, which no resource is: whatever has replicas shows itself as one.
#[must_use]
pub fn render_scale(scale: &Value, list_meta: Value, context: &Context, include: IncludeObject) -> Value {
    let columns = workloads::scale();
    let mut row = json!({"cells": (columns.cells)(scale, context)});
    include_object(&mut row, scale, include);
    table(columns.columns.iter().map(definition).collect(), vec![row], list_meta)
}

fn table(definitions: Vec<Value>, rows: Vec<Value>, list_meta: Value) -> Value {
    let mut table = json!({"kind": "Table", "apiVersion": "meta.k8s.io/v1"});
    table["columnDefinitions"] = Value::Array(definitions);
    table["metadata"] = list_meta;
    table["rows"] = Value::Array(rows);
    table
}

/// The `columnDefinitions` of a resource. A watch sends them with its first event only.
#[must_use]
pub fn definitions(resource: &Resource) -> Vec<Value> {
    resource.columns.columns.iter().map(definition).collect()
}

fn definition(column: &Column) -> Value {
    json!({
        "name": column.name, "type": column.type_, "format": column.format,
        "description": column.description, "priority": column.priority,
    })
}

/// One row of a table.
#[must_use]
pub fn row(resource: &Resource, object: &Value, context: &Context, include: IncludeObject) -> Value {
    let mut row = json!({"cells": (resource.columns.cells)(object, context)});
    include_object(&mut row, object, include);
    if resource.group.is_empty()
        && resource.kind == "Pod"
        && let Some(condition) = pods::row_condition(object)
    {
        row["conditions"] = json!([condition]);
    }
    row
}

fn include_object(row: &mut Value, object: &Value, include: IncludeObject) {
    match include {
        IncludeObject::None => row["object"] = Value::Null,
        IncludeObject::Metadata => {
            row["object"] = json!({
                "kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1",
                "metadata": object.get("metadata").cloned().unwrap_or_else(|| json!({})),
            });
        }
        IncludeObject::Object => row["object"] = object.clone(),
    }
}

/// The columns of a built-in kind; the generic name and creation time for kinds without their own.
#[must_use]
pub fn columns_for(group: &str, kind: &str) -> Columns {
    let find = match group {
        "" => pods::find(kind).or_else(|| cluster::find(kind)).or_else(|| network::find(group, kind)),
        "apps" | "batch" => None,
        "events.k8s.io" if kind == "Event" => cluster::find(kind),
        _ => network::find(group, kind),
    };
    find.or_else(|| workloads::find(group, kind)).or_else(|| other::find(group, kind)).unwrap_or_else(generic)
}

/// Name and creation time as they are: what built-in kinds without printers show.
#[must_use]
pub fn generic() -> Columns {
    format::columns(&[format::NAME, ("Created At", "date", 0, format::CREATED)], |object, _| {
        vec![meta::name(object).into(), meta::creation_timestamp(object).unwrap_or_default().into()]
    })
}

/// Name and age: what custom resources without printer columns show. The client works out the age.
#[must_use]
pub fn generic_custom() -> Columns {
    format::columns(&[format::NAME, ("Age", "date", 0, format::CREATED)], |object, _| {
        vec![meta::name(object).into(), meta::creation_timestamp(object).unwrap_or_default().into()]
    })
}
