//! JSON as Go's `encoding/json` writes a struct and finds its members. Must never know what the struct means.

use crate::strategies::json::Object;
use serde::ser::{Serialize, SerializeMap, Serializer};
use serde_json::Value;

/// A value whose members stand in the order of a Go struct's fields.
pub(super) enum Go<'v> {
    Null,
    Int(i64),
    Text(&'v str),
    Value(&'v Value),
    Struct(Vec<(&'static str, Go<'v>)>),
    List(Vec<Go<'v>>),
}

impl<'v> Go<'v> {
    /// A pointer: null where it is none.
    pub(super) fn pointer(value: Option<&'v Value>) -> Self {
        value.map_or(Self::Null, Self::Value)
    }

    /// The text that `json.Marshal` makes of it, which is safe to put into HTML.
    pub(super) fn to_text(&self) -> String {
        let text = serde_json::to_string(self).expect("names are texts and writing to memory cannot fail");
        if !text.contains(['<', '>', '&', '\u{2028}', '\u{2029}']) {
            return text;
        }
        let mut safe = String::with_capacity(text.len() + 32);
        for c in text.chars() {
            match c {
                '<' => safe.push_str("\\u003c"),
                '>' => safe.push_str("\\u003e"),
                '&' => safe.push_str("\\u0026"),
                '\u{2028}' => safe.push_str("\\u2028"),
                '\u{2029}' => safe.push_str("\\u2029"),
                c => safe.push(c),
            }
        }
        safe
    }
}

impl Serialize for Go<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Null => serializer.serialize_unit(),
            Self::Int(number) => serializer.serialize_i64(*number),
            Self::Text(text) => serializer.serialize_str(text),
            Self::Value(value) => value.serialize(serializer),
            Self::List(items) => serializer.collect_seq(items),
            Self::Struct(members) => {
                let mut map = serializer.serialize_map(Some(members.len()))?;
                for (name, value) in members {
                    map.serialize_entry(name, value)?;
                }
                map.end()
            }
        }
    }
}

/// A value of a type that its field cannot take.
#[derive(Debug)]
pub(super) struct WrongType;

/// The members of a struct; null is one with none.
pub(super) fn structure(value: &Value) -> Result<Option<&Object>, WrongType> {
    match value {
        Value::Null => Ok(None),
        Value::Object(map) => Ok(Some(map)),
        _ => Err(WrongType),
    }
}

/// The member that goes to the field `name`: of that name, else of one that differs in case alone. Null is none.
pub(super) fn member<'v>(map: &'v Object, name: &str) -> Option<&'v Value> {
    let folded = || map.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value);
    map.get(name).or_else(folded).filter(|value| !value.is_null())
}

/// A struct with the members that are called `names` here `renamed`, and no others.
pub(super) fn renamed(value: &Value, names: &[(&str, &str)]) -> Result<Value, WrongType> {
    let Some(map) = structure(value)? else { return Ok(Value::Null) };
    let found = names.iter().filter_map(|(from, to)| Some(((*to).to_owned(), member(map, from)?.clone())));
    Ok(Value::Object(found.collect()))
}

/// Makes of each item of a list, if it is one, what `read` makes of it.
pub(super) fn each(value: &Value, read: impl Fn(&Value) -> Result<Value, WrongType>) -> Result<Value, WrongType> {
    match value {
        Value::Null => Ok(Value::Null),
        Value::Array(list) => list.iter().map(read).collect::<Result<_, _>>().map(Value::Array),
        _ => Err(WrongType),
    }
}
