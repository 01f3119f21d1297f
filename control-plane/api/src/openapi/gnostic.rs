//! An OpenAPI v2 document as `openapi.v2.Document` of gnostic: the protobuf that kubectl asks `/openapi/v2` for. Written by
//! hand because it is the only protobuf message here, and only the parts that clients read: definitions with their
//! extensions, and the operations with their query parameters.

use serde_json::{Map, Value};

/// The wire form of a document made by [`super::v2_document`].
#[must_use]
pub fn encode(document: &Value) -> Vec<u8> {
    let mut out = Message::default();
    out.text(1, document.get("swagger"));
    out.message(2, |info| {
        info.text(1, document.pointer("/info/title"));
        info.text(2, document.pointer("/info/version"));
    });
    out.message(8, |paths| {
        for (path, item) in entries(document.get("paths")) {
            paths.message(2, |named| {
                named.string(1, path);
                named.message(2, |out| path_item(out, item));
            });
        }
    });
    out.message(9, |definitions| named_schemas(definitions, document.get("definitions")));
    out.0
}

/// A message under construction.
#[derive(Default)]
struct Message(Vec<u8>);

impl Message {
    fn varint(&mut self, mut number: u64) {
        while number >= 0x80 {
            self.0.push((number & 0x7f) as u8 | 0x80);
            number >>= 7;
        }
        self.0.push(number as u8);
    }

    /// A field of wire type 2: text or a message.
    fn bytes(&mut self, field: u64, bytes: &[u8]) {
        self.varint(field << 3 | 2);
        self.varint(bytes.len() as u64);
        self.0.extend_from_slice(bytes);
    }

    fn string(&mut self, field: u64, text: &str) {
        self.bytes(field, text.as_bytes());
    }

    /// A string field, if the value is a string.
    fn text(&mut self, field: u64, value: Option<&Value>) {
        if let Some(text) = value.and_then(Value::as_str) {
            self.string(field, text);
        }
    }

    /// A boolean field, if the value is true.
    fn flag(&mut self, field: u64, value: Option<&Value>) {
        if value == Some(&Value::Bool(true)) {
            self.varint(field << 3);
            self.varint(1);
        }
    }

    fn strings(&mut self, field: u64, list: Option<&Value>) {
        for text in list.and_then(Value::as_array).into_iter().flatten() {
            self.text(field, Some(text));
        }
    }

    fn message(&mut self, field: u64, fill: impl FnOnce(&mut Self)) {
        let mut inner = Self::default();
        fill(&mut inner);
        self.bytes(field, &inner.0);
    }

    /// `NamedAny` fields for everything that starts with `x-`. JSON is YAML.
    fn extensions(&mut self, field: u64, node: &Value) {
        for (name, value) in entries(Some(node)).filter(|(name, _)| name.starts_with("x-")) {
            self.message(field, |named| {
                named.string(1, name);
                named.message(2, |any| any.string(2, &value.to_string()));
            });
        }
    }
}

fn entries(node: Option<&Value>) -> impl Iterator<Item = (&String, &Value)> {
    node.and_then(Value::as_object).into_iter().flat_map(Map::iter)
}

/// `Definitions` and `Properties`.
fn named_schemas(out: &mut Message, schemas: Option<&Value>) {
    for (name, node) in entries(schemas) {
        out.message(1, |named| {
            named.string(1, name);
            named.message(2, |out| schema(out, node));
        });
    }
}

fn schema(out: &mut Message, node: &Value) {
    out.text(1, node.get("$ref"));
    out.text(2, node.get("format"));
    out.text(4, node.get("description"));
    out.strings(19, node.get("required"));
    match node.get("additionalProperties") {
        Some(Value::Bool(true)) => out.message(21, |item| item.flag(2, Some(&Value::Bool(true)))),
        Some(values @ Value::Object(_)) => out.message(21, |item| item.message(1, |out| schema(out, values))),
        _ => {}
    }
    if let Some(name) = node.get("type").and_then(Value::as_str) {
        out.message(22, |item| item.string(1, name));
    }
    if let Some(items) = node.get("items") {
        out.message(23, |item| item.message(1, |out| schema(out, items)));
    }
    if node.get("properties").is_some() {
        out.message(25, |properties| named_schemas(properties, node.get("properties")));
    }
    out.extensions(31, node);
}

fn path_item(out: &mut Message, item: &Value) {
    for (field, method) in [(2, "get"), (3, "put"), (4, "post"), (5, "delete"), (8, "patch")] {
        if let Some(operation) = item.get(method) {
            out.message(field, |out| operation_message(out, operation));
        }
    }
}

fn operation_message(out: &mut Message, operation: &Value) {
    out.strings(1, operation.get("tags"));
    out.text(5, operation.get("operationId"));
    let parameters = operation.get("parameters").and_then(Value::as_array).into_iter().flatten();
    for parameter in parameters.filter(|p| p["in"] == "query") {
        out.message(8, |item| item.message(1, |p| p.message(2, |p| p.message(3, |p| query_parameter(p, parameter)))));
    }
    out.message(9, |responses| {
        for (code, answer) in entries(operation.get("responses")) {
            responses.message(1, |named| {
                named.string(1, code);
                named.message(2, |value| value.message(1, |out| out.text(1, answer.get("description"))));
            });
        }
    });
    out.extensions(13, operation);
}

fn query_parameter(out: &mut Message, parameter: &Value) {
    out.text(2, parameter.get("in"));
    out.text(4, parameter.get("name"));
    out.text(6, parameter.get("type"));
}
