//! Request bytes to a JSON value, as strictly as Kubernetes' decoder: one pass, bounded depth, duplicate
//! fields reported with their paths, errors in the words of Go's decoder. Knows nothing of kinds or schemas.

use crate::Status;
use serde::de::{DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::map::Entry;
use serde_json::{Map, Number, Value};
use std::cell::RefCell;
use std::fmt;

/// How deep a document may nest. Go's decoder stops at 10,000 levels, which would let a request overflow the stack of
/// code that walks values. This is `serde_json`'s own limit; published CRDs, the deepest objects there are, stay below 60.
pub const MAX_DEPTH: usize = 127;

/// Most duplicate fields that are reported, as in Kubernetes' decoder.
pub const MAX_DUPLICATES: usize = 100;

/// What an error about a document that is none begins with.
pub const NO_DOCUMENT: &str = "couldn't get version/kind; json parse error: ";

/// What a document may cost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Deepest nesting of arrays and objects; above [`MAX_DEPTH`] it has no effect on JSON.
    pub depth: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { depth: MAX_DEPTH }
    }
}

/// Parses one JSON document. Beside the value: the paths of fields that occur twice in one object
/// (`spec.replicas`; the last one wins), for `fieldValidation`.
///
/// # Errors
/// 400 `couldn't get version/kind; json parse error: …`.
pub fn json(bytes: &[u8], limits: Limits) -> Result<(Value, Vec<String>), Status> {
    let mut parser = serde_json::Deserializer::from_slice(bytes);
    value(&mut parser, limits).and_then(|decoded| parser.end().map(|()| decoded)).map_err(|error| {
        let text = go_words(&error, bytes);
        Status::bad_request(format!("{NO_DOCUMENT}{text}"))
    })
}

/// The same from any format that `serde` reads (YAML).
///
/// # Errors
/// The format's own.
pub fn value<'de, D: Deserializer<'de>>(source: D, limits: Limits) -> Result<(Value, Vec<String>), D::Error> {
    let duplicates = RefCell::new(Vec::new());
    let root = Place { parent: None, step: Step::Root, depth: limits.depth, duplicates: &duplicates };
    let value = root.deserialize(source)?;
    Ok((value, duplicates.into_inner()))
}

/// Where in the document the parser is, and how much deeper it may go.
struct Place<'a> {
    parent: Option<&'a Place<'a>>,
    step: Step<'a>,
    depth: usize,
    duplicates: &'a RefCell<Vec<String>>,
}

#[derive(Clone, Copy)]
enum Step<'a> {
    Root,
    Field(&'a str),
    Index(usize),
}

impl Place<'_> {
    fn below<'b, E: serde::de::Error>(&'b self, step: Step<'b>) -> Result<Place<'b>, E> {
        let depth = self.depth.checked_sub(1).ok_or_else(|| E::custom("exceeded max depth"))?;
        Ok(Place { parent: Some(self), step, depth, duplicates: self.duplicates })
    }

    fn duplicate(&self, name: &str) {
        let mut found = self.duplicates.borrow_mut();
        if found.len() < MAX_DUPLICATES {
            let place = Place { parent: Some(self), step: Step::Field(name), depth: 0, duplicates: self.duplicates };
            found.push(place.path());
        }
    }

    fn path(&self) -> String {
        let mut path = self.parent.map(Place::path).unwrap_or_default();
        match self.step {
            Step::Root => {}
            Step::Field(name) => {
                if !path.is_empty() {
                    path.push('.');
                }
                path.push_str(name);
            }
            Step::Index(index) => path.push_str(&format!("[{index}]")),
        }
        path
    }
}

impl<'de> DeserializeSeed<'de> for Place<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Place<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any JSON value")
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E: serde::de::Error>(self, value: f64) -> Result<Value, E> {
        Number::from_f64(value).map(Value::Number).ok_or_else(|| E::custom(format!("json: unsupported value: {value}")))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::String(value.to_owned()))
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(Value::String(value))
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_none<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        self.deserialize(deserializer)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element_seed(self.below::<A::Error>(Step::Index(list.len()))?)? {
            list.push(item);
        }
        Ok(Value::Array(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        let mut map = Map::new();
        while let Some(name) = entries.next_key::<String>()? {
            let item = entries.next_value_seed(self.below(Step::Field(&name))?)?;
            match map.entry(name) {
                Entry::Vacant(entry) => {
                    entry.insert(item);
                }
                Entry::Occupied(mut entry) => {
                    self.duplicate(entry.key());
                    entry.insert(item);
                }
            }
        }
        Ok(Value::Object(map))
    }
}

/// A parse error as `encoding/json` words it.
fn go_words(error: &serde_json::Error, bytes: &[u8]) -> String {
    let text = error.to_string();
    if error.is_eof() {
        return "unexpected end of JSON input".into();
    }
    if text.starts_with("recursion limit") {
        return "exceeded max depth".into();
    }
    let context = match text.split(" at line ").next().unwrap_or(&text) {
        "expected value" => "looking for beginning of value",
        "key must be a string" | "trailing comma" => "looking for beginning of object key string",
        "expected `:`" => "after object key",
        "expected `,` or `}`" => "after object key:value pair",
        "expected `,` or `]`" => "after array element",
        "trailing characters" => "after top-level value",
        "invalid number" => "in numeric literal",
        "invalid escape" => "in string escape code",
        "expected ident" => "in literal",
        words if words.starts_with("control character") => "in string literal",
        words => return words.to_owned(),
    };
    let Some(byte) = offender(bytes, error) else {
        return text;
    };
    format!("invalid character {} {context}", quoted(byte))
}

/// The byte that an error points at: columns count from one and name the last byte that was read.
fn offender(bytes: &[u8], error: &serde_json::Error) -> Option<u8> {
    let line = bytes.split(|b| *b == b'\n').nth(error.line().checked_sub(1)?)?;
    line.get(error.column().saturating_sub(1)).or(line.last()).copied()
}

fn quoted(byte: u8) -> String {
    match byte {
        b'\'' => "'\\''".into(),
        b'"' => "'\"'".into(),
        _ => format!("'{}'", char::from(byte).escape_default()),
    }
}

#[cfg(test)]
mod tests {
    use super::{Limits, MAX_DEPTH, json};
    use proptest::prelude::*;
    use serde_json::{Value, json as literal};

    fn decode(text: &str) -> Result<(Value, Vec<String>), String> {
        json(text.as_bytes(), Limits::default()).map_err(|e| e.message)
    }

    fn failure(text: &str) -> String {
        decode(text).unwrap_err().replace("couldn't get version/kind; json parse error: ", "")
    }

    #[test]
    fn duplicates_are_named_and_the_last_one_wins() {
        let text = r#"{"spec": {"replicas": 1, "replicas": 2, "containers": [{}, {"image": "a", "image": "b"}]}, "spec2": 1, "spec2": 2}"#;
        let (value, duplicates) = decode(text).unwrap();
        assert_eq!(duplicates, ["spec.replicas", "spec.containers[1].image", "spec2"]);
        assert_eq!(value, literal!({"spec": {"replicas": 2, "containers": [{}, {"image": "b"}]}, "spec2": 2}));
    }

    #[test]
    fn errors_are_worded_as_gos() {
        assert_eq!(failure(""), "unexpected end of JSON input");
        assert_eq!(failure("{\"a\": "), "unexpected end of JSON input");
        assert_eq!(failure("apiVersion: v1"), "invalid character 'a' looking for beginning of value");
        assert_eq!(failure("{\"a\": }"), "invalid character '}' looking for beginning of value");
        assert_eq!(failure("{a: 1}"), "invalid character 'a' looking for beginning of object key string");
        assert_eq!(failure("{\"a\": 1 \"b\"}"), "invalid character '\"' after object key:value pair");
        assert_eq!(failure("[1 2]"), "invalid character '2' after array element");
        assert_eq!(failure("{} {}"), "invalid character '{' after top-level value");
        assert_eq!(failure("{\"a\" 1}"), "invalid character '1' after object key");
        assert!(decode("{").unwrap_err().starts_with("couldn't get version/kind; json parse error: "));
    }

    #[test]
    fn depth_is_bounded() {
        let nested = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
        assert!(decode(&nested(MAX_DEPTH)).is_ok());
        assert_eq!(failure(&nested(MAX_DEPTH + 1)), "exceeded max depth");
        assert_eq!(failure(&nested(1_000_000)), "exceeded max depth");
        let shallow = json(nested(9).as_bytes(), Limits { depth: 8 }).unwrap_err();
        assert!(shallow.message.contains("exceeded max depth"));
    }

    #[test]
    fn invalid_utf8_is_refused() {
        assert_eq!(json(b"{\"a\": \"\xff\"}", Limits::default()).unwrap_err().code, 400);
    }

    proptest! {
        #[test]
        fn agrees_with_serde_json(text in "[\\[\\]{}:,0-9a-z\" .\\\\-]{0,40}") {
            let ours = json(text.as_bytes(), Limits::default()).ok().map(|d| d.0);
            prop_assert_eq!(ours, serde_json::from_str::<Value>(&text).ok());
        }
    }

    #[test]
    fn floats_are_read_as_what_is_nearest() {
        for text in
            ["1.5e34", "4.989474039127371e180", "2.5856646428904006e285", "0.1", "5e-324", "1.7976931348623157e308"]
        {
            let (value, _) = decode(&format!(r#"{{"kind":"K","apiVersion":"v1","x":{text}}}"#)).unwrap();
            assert_eq!(value["x"].as_f64(), text.parse().ok(), "{text}");
            assert_eq!(decode(&value.to_string()).unwrap().0, value, "{text}");
        }
    }
}
