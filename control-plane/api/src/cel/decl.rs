//! The type of a CRD's schema node, with the sizes that its limits allow, as `k8s.io/apiserver/pkg/cel` declares them.

use super::types::{Field, ListKind, ListType, ObjectType, Type};
use serde_json::{Map, Value};
use std::borrow::Cow;
use std::sync::Arc;

/// Largest request, in bytes, that sizes without a limit are estimated from.
pub const MAX_REQUEST: u64 = 3 << 20;
/// Nesting below which everything is `dyn`: schemas are bounded long before.
const MAX_DEPTH: usize = 200;

/// Whether `self` is an object of its own, with `apiVersion`, `kind` and a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Root {
    Resource,
    Value,
}

/// A node's type and the fewest bytes that a value of it takes in a request.
pub struct Decl {
    pub ty: Type,
    pub least: u64,
    /// Nodes of the schema that the type was made from.
    pub nodes: usize,
}

/// The type of a node; None where rules cannot reach: no type is said.
#[must_use]
pub fn of_schema(schema: &Map<String, Value>, root: Root) -> Option<Decl> {
    node(schema, root, "object", 0)
}

fn node(schema: &Map<String, Value>, root: Root, name: &str, depth: usize) -> Option<Decl> {
    let flag = |name: &str| schema.get(name).and_then(Value::as_bool).unwrap_or_default();
    let text = |name: &str| schema.get(name).and_then(Value::as_str).unwrap_or_default();
    if depth > MAX_DEPTH {
        return Some(Decl { ty: Type::Dyn, least: 1, nodes: 1 });
    }
    if flag("x-kubernetes-int-or-string") {
        let max = text_limit(schema).unwrap_or(MAX_REQUEST - 2);
        return Some(Decl { ty: Type::IntOrString(max), least: 1, nodes: 1 });
    }
    let root = if flag("x-kubernetes-embedded-resource") { Root::Resource } else { root };
    Some(match text("type") {
        "array" => list(schema, name, depth)?,
        "object" => object(schema, root, name, depth)?,
        "string" => string(schema, text("format")),
        "boolean" => Decl { ty: Type::Bool, least: 4, nodes: 1 },
        "number" => Decl { ty: Type::Double, least: 1, nodes: 1 },
        "integer" => Decl { ty: Type::Int, least: 1, nodes: 1 },
        _ => return None,
    })
}

/// The name of a type within another one; deep ones share a name, so that no schema makes long ones.
fn below(name: &str, part: &str) -> String {
    const LONGEST: usize = 200;
    if name.len() + part.len() > LONGEST { "object".to_owned() } else { format!("{name}.{part}") }
}

fn limit(schema: &Map<String, Value>, name: &str) -> Option<u64> {
    schema.get(name).and_then(Value::as_u64)
}

fn list(schema: &Map<String, Value>, name: &str, depth: usize) -> Option<Decl> {
    let items = schema.get("items")?.as_object()?;
    let item = node(items, Root::Value, &below(name, "@idx"), depth + 1)?;
    let max = limit(schema, "maxItems").unwrap_or((MAX_REQUEST - 2) / (item.least + 1));
    let keys = schema.get("x-kubernetes-list-map-keys").and_then(Value::as_array).into_iter().flatten();
    let kind = match schema.get("x-kubernetes-list-type").and_then(Value::as_str) {
        Some("set") => ListKind::Set,
        Some("map") => ListKind::Map(keys.filter_map(|key| key.as_str().map(str::to_owned)).collect()),
        _ => ListKind::Atomic,
    };
    Some(Decl { ty: Type::List(Arc::new(ListType { item: item.ty, max, kind })), least: 2, nodes: item.nodes + 1 })
}

fn object(schema: &Map<String, Value>, root: Root, name: &str, depth: usize) -> Option<Decl> {
    if let Some(values) = schema.get("additionalProperties").and_then(Value::as_object) {
        let value = node(values, Root::Value, &below(name, "@elem"), depth + 1)?;
        let max = limit(schema, "maxProperties").unwrap_or((MAX_REQUEST - 2) / (value.least + 6));
        // Of keys no length is said.
        return Some(Decl { ty: Type::map(Type::String(0), value.ty, max), least: 2, nodes: value.nodes + 1 });
    }
    let required: Vec<&str> =
        schema.get("required").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str).collect();
    let (mut least, mut nodes) = (2, 1);
    let mut fields = Vec::new();
    let properties = schema.get("properties").and_then(Value::as_object);
    for (property, field) in properties.into_iter().flatten() {
        if root == Root::Resource && matches!(property.as_str(), "apiVersion" | "kind" | "metadata") {
            continue;
        }
        let Some((escaped, field)) = escape(property).zip(field.as_object()) else { continue };
        let Some(decl) = node(field, Root::Value, &below(name, property), depth + 1) else { continue };
        if required.contains(&property.as_str()) && !field.contains_key("default") {
            least += property.len() as u64 + decl.least + 4;
        }
        nodes += decl.nodes;
        fields.push(Field { name: escaped.into_owned(), property: property.clone(), ty: decl.ty });
    }
    if root == Root::Resource {
        fields.extend(resource_fields(name));
    }
    Some(Decl { ty: Type::Object(Arc::new(ObjectType::new(name, fields))), least, nodes })
}

/// What rules see of `metadata`: the names, which cannot be told from the schema.
fn resource_fields(name: &str) -> [Field; 3] {
    let text = |name: &str| Field { name: name.into(), property: name.into(), ty: Type::String(MAX_REQUEST - 2) };
    let metadata = ObjectType::new(&format!("{name}.metadata"), vec![text("name"), text("generateName")]);
    let metadata = Field { name: "metadata".into(), property: "metadata".into(), ty: Type::Object(Arc::new(metadata)) };
    [text("apiVersion"), text("kind"), metadata]
}

/// Bytes that a text's `maxLength` allows: a character is up to four bytes of UTF-8.
fn text_limit(schema: &Map<String, Value>) -> Option<u64> {
    limit(schema, "maxLength").map(|max| max.saturating_mul(4))
}

fn string(schema: &Map<String, Value>, format: &str) -> Decl {
    let values = schema.get("enum").and_then(Value::as_array).filter(|values| !values.is_empty());
    let longest =
        values.map(|values| values.iter().filter_map(|v| v.as_str().map(str::len)).max().unwrap_or_default() as u64);
    match format {
        "byte" => Decl { ty: Type::Bytes(limit(schema, "maxLength").unwrap_or(MAX_REQUEST - 2)), least: 2, nodes: 1 },
        "duration" => Decl { ty: Type::Duration, least: 3, nodes: 1 },
        "date" => Decl { ty: Type::Timestamp, least: 12, nodes: 1 },
        "date-time" => Decl { ty: Type::Timestamp, least: 21, nodes: 1 },
        _ => Decl { ty: Type::String(text_limit(schema).or(longest).unwrap_or(MAX_REQUEST - 2)), least: 2, nodes: 1 },
    }
}

const RESERVED: &[&str] = &[
    "as",
    "break",
    "const",
    "continue",
    "else",
    "false",
    "for",
    "function",
    "if",
    "import",
    "in",
    "let",
    "loop",
    "namespace",
    "null",
    "package",
    "return",
    "true",
    "var",
    "void",
    "while",
];

/// Whether CEL keeps a word for itself.
pub(super) fn is_reserved(word: &str) -> bool {
    RESERVED.contains(&word)
}

/// A property's name as expressions write it: `__namespace__`, `foo__dash__bar`. None: no expression can.
#[must_use]
pub fn escape(property: &str) -> Option<Cow<'_, str>> {
    if RESERVED.contains(&property) {
        return Some(Cow::Owned(format!("__{property}__")));
    }
    let starts = property.starts_with(|c: char| c.is_ascii_alphabetic() || matches!(c, '_' | '.' | '-' | '/'));
    let known = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-' | '/');
    if !starts || !property.chars().all(known) {
        return None;
    }
    if !property.contains(['.', '-', '/']) && !property.contains("__") {
        return Some(Cow::Borrowed(property));
    }
    let escaped = property.replace("__", "__underscores__");
    let escaped = escaped.replace('.', "__dot__").replace('-', "__dash__").replace('/', "__slash__");
    Some(Cow::Owned(escaped))
}
