//! `application/vnd.kubernetes.protobuf` bodies to JSON values: what client-go's typed clients, kubectl's `create`
//! commands among them, send for built-in kinds. Only reads; answers are JSON, which those clients accept as well.
//!
//! Driven by a table (`protobuf/fields.txt`) of field numbers and JSON names. Go's encoder writes the zero of every
//! field that is no pointer: the table marks the fields where a zero means something, elsewhere it means absent.

use api::Status;
use api::time::{Moment, Precision};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::{Map, Value, json};
use std::collections::HashMap;
use std::sync::LazyLock;

const MAGIC: &[u8] = b"k8s\0";
/// Deepest nesting of messages.
const MAX_DEPTH: usize = 64;

/// Type name in lower case to its lines.
static TYPES: LazyLock<HashMap<String, &'static str>> = LazyLock::new(|| {
    let blocks = include_str!("../protobuf/fields.txt").split('#').filter(|block| !block.is_empty());
    blocks
        .map(|block| block.split_once('\n').unwrap_or((block, "")))
        .map(|(name, lines)| (name.trim().to_ascii_lowercase(), lines))
        .collect()
});

/// The object in a protobuf body.
///
/// # Errors
/// 400 for what is no such body, 415 for a kind without a protobuf form.
pub(crate) fn decode(bytes: &[u8]) -> Result<Value, Status> {
    let payload =
        bytes.strip_prefix(MAGIC).ok_or_else(|| bad("provided data does not appear to be a protobuf message"))?;
    let (mut api_version, mut kind, mut raw): (String, String, &[u8]) = Default::default();
    for field in Fields(payload) {
        match field? {
            (1, Wire::Bytes(meta)) => {
                for field in Fields(meta) {
                    match field? {
                        (1, Wire::Bytes(text)) => api_version = utf8(text)?,
                        (2, Wire::Bytes(text)) => kind = utf8(text)?,
                        _ => {}
                    }
                }
            }
            (2, Wire::Bytes(bytes)) => raw = bytes,
            _ => {}
        }
    }
    let name = type_name(&api_version, &kind);
    if !TYPES.contains_key(&name) {
        return Err(crate::negotiate::unsupported("application/json, application/yaml"));
    }
    let mut object = Map::new();
    message(&name, raw, &mut object, MAX_DEPTH)?;
    object.insert("apiVersion".into(), api_version.into());
    object.insert("kind".into(), kind.into());
    Ok(Value::Object(object))
}

/// `apps/v1 Deployment` → `api.apps.v1.deployment`.
fn type_name(api_version: &str, kind: &str) -> String {
    let (group, version) = api_version.split_once('/').unwrap_or(("core", api_version));
    let package = group.split('.').next().unwrap_or_default();
    let name = match (package, kind) {
        (_, "DeleteOptions") => "apimachinery.pkg.apis.meta.v1.DeleteOptions".into(),
        ("apiextensions", kind) => format!("apiextensions_apiserver.pkg.apis.apiextensions.{version}.{kind}"),
        (package, kind) => format!("api.{package}.{version}.{kind}"),
    };
    name.to_ascii_lowercase()
}

fn bad(why: &str) -> Status {
    Status::bad_request(format!("unable to decode the protobuf body: {why}"))
}

fn utf8(bytes: &[u8]) -> Result<String, Status> {
    String::from_utf8(bytes.to_vec()).map_err(|_| bad("a text is not valid UTF-8"))
}

enum Wire<'a> {
    Number(u64),
    Fixed(u64),
    Bytes(&'a [u8]),
}

/// The fields of one message in the order they come.
struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    fn varint(&mut self) -> Option<u64> {
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            let (&byte, rest) = self.0.split_first()?;
            self.0 = rest;
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Some(value);
            }
        }
        None
    }

    fn take(&mut self, length: u64) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(usize::try_from(length).ok()?)?;
        self.0 = rest;
        Some(taken)
    }

    fn read(&mut self) -> Option<(u64, Wire<'a>)> {
        let tag = self.varint()?;
        let wire = match tag & 7 {
            0 => Wire::Number(self.varint()?),
            1 => Wire::Fixed(u64::from_le_bytes(self.take(8)?.try_into().ok()?)),
            2 => {
                let length = self.varint()?;
                Wire::Bytes(self.take(length)?)
            }
            5 => Wire::Number(u32::from_le_bytes(self.take(4)?.try_into().ok()?).into()),
            _ => return None,
        };
        Some((tag >> 3, wire))
    }
}

impl<'a> Iterator for Fields<'a> {
    type Item = Result<(u64, Wire<'a>), Status>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.0.is_empty() {
            return None;
        }
        let field = self.read();
        if field.is_none() {
            self.0 = &[];
        }
        Some(field.ok_or_else(|| bad("unexpected EOF")))
    }
}

/// One line of the table: `4 replicas i!`.
struct Column {
    name: &'static str,
    /// `*` repeated, `{` map, `^` embedded, or none of these.
    form: char,
    /// A scalar's letter, or the name of a message type.
    kind: &'static str,
    keeps_zero: bool,
}

fn column(lines: &'static str, number: u64) -> Option<Column> {
    let number = number.to_string();
    lines.lines().find_map(|line| {
        let mut words = line.split(' ');
        if words.next() != Some(&number) {
            return None;
        }
        let (name, code) = (words.next()?, words.next()?);
        let (keeps_zero, code) = code.strip_suffix('!').map_or((false, code), |code| (true, code));
        let form = code.chars().next().filter(|c| matches!(c, '*' | '{' | '^')).unwrap_or(' ');
        let kind = code.trim_start_matches(['*', '{', '^', '@']);
        Some(Column { name, form, kind, keeps_zero })
    })
}

fn message(name: &str, bytes: &[u8], out: &mut Map<String, Value>, depth: usize) -> Result<(), Status> {
    let depth = depth.checked_sub(1).ok_or_else(|| bad("nested too deeply"))?;
    let lines = TYPES.get(name).copied().unwrap_or_default();
    for field in Fields(bytes) {
        let (number, wire) = field?;
        let Some(column) = column(lines, number) else { continue };
        match (column.form, wire) {
            ('^', Wire::Bytes(inner)) => message(&column.kind.to_ascii_lowercase(), inner, out, depth)?,
            ('{', Wire::Bytes(pair)) => {
                let map = out.entry(column.name).or_insert_with(|| json!({}));
                let (key, value) = entry(column.kind, pair, depth)?;
                map[key] = value;
            }
            ('*', wire) => {
                let item = value(column.kind, &wire, depth)?;
                let list = out.entry(column.name).or_insert_with(|| json!([]));
                if let Some(list) = list.as_array_mut() {
                    list.push(item);
                }
            }
            (_, wire) => {
                let value = value(column.kind, &wire, depth)?;
                if column.keeps_zero && !value.is_null() || !is_zero(&value) {
                    out.insert(column.name.into(), value);
                }
            }
        }
    }
    Ok(())
}

fn is_zero(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(false) => true,
        Value::Number(number) => number.as_f64() == Some(0.0),
        Value::String(text) => text.is_empty(),
        _ => false,
    }
}

fn entry(kind: &str, pair: &[u8], depth: usize) -> Result<(String, Value), Status> {
    let (mut key, mut found) = (String::new(), None);
    for field in Fields(pair) {
        match field? {
            (1, Wire::Bytes(text)) => key = utf8(text)?,
            (2, wire) => found = Some(value(kind, &wire, depth)?),
            _ => {}
        }
    }
    Ok((key, found.unwrap_or_else(|| Value::String(String::new()))))
}

fn value(kind: &str, wire: &Wire<'_>, depth: usize) -> Result<Value, Status> {
    Ok(match (kind, wire) {
        ("s", Wire::Bytes(text)) => utf8(text)?.into(),
        ("y", Wire::Bytes(bytes)) => STANDARD.encode(bytes).into(),
        ("i", Wire::Number(number)) => number.cast_signed().into(),
        ("b", Wire::Number(number)) => (*number != 0).into(),
        ("d", Wire::Fixed(bits)) => json!(f64::from_bits(*bits)),
        (kind, Wire::Bytes(bytes)) if kind.len() > 1 => special(&kind.to_ascii_lowercase(), bytes, depth)?,
        _ => return Err(bad("a field has the wrong wire type")),
    })
}

/// Messages that are no objects in JSON.
fn special(name: &str, bytes: &[u8], depth: usize) -> Result<Value, Status> {
    let raw = || {
        let mut all = Map::new();
        message(name, bytes, &mut all, depth).map(|()| all)
    };
    let number = |fields: &Map<String, Value>, field: &str| fields.get(field).and_then(Value::as_i64).unwrap_or(0);
    let short = name.rsplit('.').next().unwrap_or_default();
    Ok(match short {
        "quantity" if name.contains("resource") => raw()?.remove("string").unwrap_or_else(|| "0".into()),
        "time" | "microtime" if name.contains("meta.v1") => {
            let fields = raw()?;
            let (seconds, nanos) = (number(&fields, "seconds"), number(&fields, "nanos"));
            let precision = if short == "microtime" { Precision::Micros } else { Precision::Seconds };
            match Moment::new(seconds, nanos) {
                Some(_) if fields.is_empty() => Value::Null,
                Some(moment) => moment.text(precision).map_or(Value::Null, Value::String),
                None => return Err(bad("a time is out of range")),
            }
        }
        "duration" if name.contains("meta.v1") => format!("{}ns", number(&raw()?, "duration")).into(),
        "intorstring" => {
            let mut fields = raw()?;
            let text = fields.remove("strVal").unwrap_or_else(|| "".into());
            if number(&fields, "type") == 1 { text } else { number(&fields, "intVal").into() }
        }
        "rawextension" | "fieldsv1" | "json" => {
            let embedded = Fields(bytes).find_map(|field| match field {
                Ok((1, Wire::Bytes(json))) => Some(json),
                _ => None,
            });
            match embedded.filter(|json| !json.is_empty()) {
                Some(json) => api::decode::json(json, api::decode::Limits::default())?.0,
                None => Value::Null,
            }
        }
        // Lists that Go gives a type of their own.
        "verbs" | "extravalue" => raw()?.remove("items").unwrap_or_else(|| json!([])),
        "jsonschemapropsorbool" => schema_or(raw()?, "allows"),
        "jsonschemapropsorarray" => schema_or(raw()?, "jSonSchemas"),
        "jsonschemapropsorstringarray" => schema_or(raw()?, "property"),
        _ => Value::Object(raw()?),
    })
}

fn schema_or(mut fields: Map<String, Value>, other: &str) -> Value {
    let other = fields.remove(other);
    fields.remove("schema").or(other).unwrap_or(Value::Bool(false))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A length-delimited field.
    fn field(number: u8, bytes: &[u8]) -> Vec<u8> {
        let mut out = vec![number << 3 | 2, u8::try_from(bytes.len()).unwrap()];
        out.extend_from_slice(bytes);
        out
    }

    fn body(api_version: &str, kind: &str, raw: &[u8]) -> Vec<u8> {
        let meta = [field(1, api_version.as_bytes()), field(2, kind.as_bytes())].concat();
        [MAGIC.to_vec(), field(1, &meta), field(2, raw), field(3, b""), field(4, b"")].concat()
    }

    #[test]
    fn a_config_map_comes_out_without_the_zeros_that_go_writes() {
        let empty_time = field(8, b"");
        let metadata = [field(1, b"cm"), field(2, b""), field(3, b"default"), vec![7 << 3, 0], empty_time].concat();
        let pair = [field(1, b"a"), field(2, b"b")].concat();
        let raw = [field(1, &metadata), field(2, &pair), vec![4 << 3, 0]].concat();
        let object = decode(&body("v1", "ConfigMap", &raw)).unwrap();
        let expected = json!({"apiVersion": "v1", "kind": "ConfigMap", "immutable": false,
            "metadata": {"name": "cm", "namespace": "default"}, "data": {"a": "b"}});
        assert_eq!(object, expected);
    }

    #[test]
    fn a_deployment_keeps_zero_replicas_and_reads_quantities_and_ports() {
        let limits = [field(1, b"cpu"), field(2, &field(1, b"100m"))].concat();
        let container = [field(1, b"c"), field(8, &field(1, &limits))].concat();
        let probe = field(1, &field(2, &field(2, &[1 << 3, 0, 2 << 3, 80])));
        let container = [container, field(10, &probe)].concat();
        let template = field(2, &field(2, &container));
        let spec = [vec![1 << 3, 0], field(3, &template), vec![5 << 3, 0]].concat();
        let object = decode(&body("apps/v1", "Deployment", &field(2, &spec))).unwrap();
        let expected = json!({"replicas": 0, "template": {"spec": {"containers": [{
            "name": "c", "resources": {"limits": {"cpu": "100m"}}, "livenessProbe": {"httpGet": {"port": 80}},
        }]}}});
        assert_eq!(object["spec"], expected);
    }

    #[test]
    fn damaged_and_foreign_bodies_are_refused() {
        assert_eq!(decode(b"{}").unwrap_err().code, 400);
        assert_eq!(decode(&body("v1", "ConfigMap", &[0x0a, 0x7f])).unwrap_err().code, 400);
        assert_eq!(decode(&body("example.com/v1", "Widget", b"")).unwrap_err().code, 415);
    }
}
