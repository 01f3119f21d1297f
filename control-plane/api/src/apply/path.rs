//! One step of a field's path, as `structured-merge-diff` has it: a field's name, the key of a list's item, the value of a
//! set's item, or an index. With its order, its text in `fieldsV1` and its text in messages.

use serde_json::{Map, Value};
use std::cmp::Ordering;
use std::fmt::{self, Write as _};

/// One step of a path. The order is the one in which Kubernetes writes `fieldsV1`.
#[derive(Clone, Debug, PartialEq)]
pub enum Element {
    /// `f:name`
    Field(Box<str>),
    /// `k:{"name":"c"}`: the item of a list whose key fields have these values. Sorted by name.
    Key(Box<[(Box<str>, Value)]>),
    /// `v:"x"`: the item of a set.
    Value(Box<Value>),
    /// `i:0`: the item of an atomic list; only ever read, never made here.
    Index(i64),
}

/// What is wrong with the text of a path element.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    #[error("key must be 2 characters long: {0}")]
    Short(String),
    #[error("missing colon: {0}")]
    NoColon(String),
    #[error("invalid path element: {0}")]
    Body(String),
}

impl Element {
    #[must_use]
    pub fn field(name: &str) -> Self {
        Self::Field(name.into())
    }

    /// The key of a list's item, from its fields in any order.
    #[must_use]
    pub fn key<'a>(fields: impl IntoIterator<Item = (&'a str, Value)>) -> Self {
        let mut fields: Vec<(Box<str>, Value)> = fields.into_iter().map(|(name, value)| (name.into(), value)).collect();
        fields.sort_by(|a, b| a.0.cmp(&b.0));
        Self::Key(fields.into())
    }

    /// Reads `f:name`, `k:{…}`, `v:…`, `i:0`. `None`: an element of a kind that a later version may know; to be ignored.
    ///
    /// # Errors
    /// When the text is none of these.
    pub fn parse(text: &str) -> Result<Option<Self>, Malformed> {
        let bytes = text.as_bytes();
        if bytes.len() < 2 {
            return Err(Malformed::Short(text.into()));
        }
        if bytes[1] != b':' {
            return Err(Malformed::NoColon(text.into()));
        }
        let body = &text[2..];
        let malformed = || Malformed::Body(text.into());
        Ok(Some(match bytes[0] {
            b'f' => Self::Field(body.into()),
            b'v' => Self::Value(Box::new(serde_json::from_str(body).map_err(|_| malformed())?)),
            b'k' => {
                let map: Map<String, Value> = serde_json::from_str(body).map_err(|_| malformed())?;
                let mut fields: Vec<(Box<str>, Value)> =
                    map.into_iter().map(|(name, value)| (name.into(), value)).collect();
                fields.sort_by(|a, b| a.0.cmp(&b.0));
                Self::Key(fields.into())
            }
            b'i' => Self::Index(body.parse().map_err(|_| malformed())?),
            _ => return Ok(None),
        }))
    }

    /// The text of the element in `fieldsV1`, which [`Element::parse`] reads.
    #[must_use]
    pub fn to_text(&self) -> String {
        match self {
            Self::Field(name) => format!("f:{name}"),
            Self::Value(value) => format!("v:{value}"),
            Self::Index(index) => format!("i:{index}"),
            Self::Key(fields) => {
                let mut text = String::from("k:{");
                for (position, (name, value)) in fields.iter().enumerate() {
                    let comma = if position > 0 { "," } else { "" };
                    let _ = write!(text, "{comma}{}:{value}", Value::from(&**name));
                }
                text.push('}');
                text
            }
        }
    }
}

impl Eq for Element {}

impl Ord for Element {
    fn cmp(&self, other: &Self) -> Ordering {
        match (self, other) {
            (Self::Field(a), Self::Field(b)) => a.cmp(b),
            (Self::Key(a), Self::Key(b)) => compare_keys(a, b),
            (Self::Value(a), Self::Value(b)) => compare_values(a, b),
            (Self::Index(a), Self::Index(b)) => a.cmp(b),
            _ => self.rank().cmp(&other.rank()),
        }
    }
}

impl PartialOrd for Element {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Element {
    fn rank(&self) -> u8 {
        match self {
            Self::Field(_) => 0,
            Self::Key(_) => 1,
            Self::Value(_) => 2,
            Self::Index(_) => 3,
        }
    }
}

fn compare_keys(a: &[(Box<str>, Value)], b: &[(Box<str>, Value)]) -> Ordering {
    for ((a_name, a_value), (b_name, b_value)) in a.iter().zip(b) {
        let order = a_name.cmp(b_name).then_with(|| compare_values(a_value, b_value));
        if order != Ordering::Equal {
            return order;
        }
    }
    a.len().cmp(&b.len())
}

/// `value.Compare`: numbers, texts, booleans, lists, maps, null.
fn compare_values(a: &Value, b: &Value) -> Ordering {
    let rank = |value: &Value| match value {
        Value::Number(_) => 0,
        Value::String(_) => 1,
        Value::Bool(_) => 2,
        Value::Array(_) => 3,
        Value::Object(_) => 4,
        Value::Null => 5,
    };
    match (a, b) {
        (Value::Number(a), Value::Number(b)) => match (a.as_i64(), b.as_i64()) {
            (Some(a), Some(b)) => a.cmp(&b),
            _ => a.as_f64().unwrap_or(0.0).total_cmp(&b.as_f64().unwrap_or(0.0)),
        },
        (Value::String(a), Value::String(b)) => a.cmp(b),
        (Value::Bool(a), Value::Bool(b)) => a.cmp(b),
        (Value::Array(a), Value::Array(b)) => {
            let items = a.iter().zip(b).map(|(a, b)| compare_values(a, b)).find(|order| *order != Ordering::Equal);
            items.unwrap_or_else(|| a.len().cmp(&b.len()))
        }
        (Value::Object(_), Value::Object(_)) => a.to_string().cmp(&b.to_string()),
        _ => rank(a).cmp(&rank(b)),
    }
}

/// As in messages: `.spec`, `[name="c"]`, `[="x"]`, `[0]`.
impl fmt::Display for Element {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Field(name) => write!(f, ".{name}"),
            Self::Value(value) => write!(f, "[={}]", shown(value)),
            Self::Index(index) => write!(f, "[{index}]"),
            Self::Key(fields) => {
                f.write_char('[')?;
                for (position, (name, value)) in fields.iter().enumerate() {
                    let comma = if position > 0 { "," } else { "" };
                    write!(f, "{comma}{name}={}", shown(value))?;
                }
                f.write_char(']')
            }
        }
    }
}

/// `value.ToString`.
fn shown(value: &Value) -> String {
    match value {
        Value::String(text) => crate::field::quoted(text),
        Value::Null => "null".into(),
        other => other.to_string(),
    }
}

/// A path's elements one after the other: `.spec.containers[name="c"].image`.
#[must_use]
pub fn path_text(path: &[&Element]) -> String {
    path.iter().map(ToString::to_string).collect()
}
