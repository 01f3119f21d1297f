//! Objects as tables: what `kubectl get` prints (`metav1.Table`), after Kubernetes' server-side printers.
//!
//! Knows objects and a moment in time; never requests or the store.

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
    let columns: Vec<Value> = resource.columns.columns.iter().map(definition).collect();
    json!({
        "kind": "Table", "apiVersion": "meta.k8s.io/v1", "metadata": list_meta,
        "columnDefinitions": columns, "rows": rows,
    })
}

/// The definitions alone, as a table's `columnDefinitions`.
#[must_use]
pub fn definition(column: &Column) -> Value {
    json!({
        "name": column.name, "type": column.type_, "format": column.format,
        "description": column.description, "priority": column.priority,
    })
}

/// One row of `object`'s table.
#[must_use]
pub fn row(resource: &Resource, object: &Value, context: &Context, include: IncludeObject) -> Value {
    let cells = (resource.columns.cells)(object, context);
    let object = match include {
        IncludeObject::None => Value::Null,
        IncludeObject::Metadata => json!({
            "kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1",
            "metadata": object.get("metadata").cloned().unwrap_or_else(|| json!({})),
        }),
        IncludeObject::Object => object.clone(),
    };
    if object.is_null() { json!({"cells": cells}) } else { json!({"cells": cells, "object": object}) }
}

/// The columns of a built-in kind; the generic Name and Age for kinds without their own.
#[must_use]
pub fn columns_for(_group: &str, _kind: &str) -> Columns {
    generic()
}

/// Name and creation time: what kinds without printers show.
#[must_use]
pub fn generic() -> Columns {
    let column = |name: &'static str, type_: &'static str, format: &'static str, description: &'static str| Column {
        name: name.into(),
        type_: type_.into(),
        format: format.into(),
        description: description.into(),
        priority: 0,
    };
    Columns {
        columns: vec![
            column("Name", "string", "name", "Name must be unique within a namespace."),
            column("Created At", "date", "", "CreationTimestamp is a timestamp representing the server time when this object was created."),
        ],
        cells: |object, _| vec![meta::name(object).into(), meta::creation_timestamp(object).unwrap_or_default().into()],
    }
}
