//! Values while an expression runs: views into the JSON that was handed in, and what functions make of them.
//!
//! Nothing of the input is copied: strings, lists and objects borrow it, and a field is given its CEL type when it is read.

use super::error::Fault;
use super::library::opaque::Foreign;
use super::types::{ListKind, ListType, Type, UNBOUNDED};
use crate::time;
use base64::Engine as _;
use jiff::Timestamp;
use serde_json::{Map as JsonMap, Value};
use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::sync::Arc;

static ANY: Type = Type::Dyn;
static ANY_LIST: ListType = ListType { item: Type::Dyn, max: UNBOUNDED, kind: ListKind::Atomic };

/// A value of CEL.
#[derive(Clone, Debug)]
pub enum Val<'a> {
    Null,
    Bool(bool),
    Int(i64),
    Uint(u64),
    Double(f64),
    Text(Text<'a>),
    Bytes(Arc<[u8]>),
    /// Nanoseconds.
    Duration(i64),
    Timestamp(Timestamp),
    List(List<'a>),
    Map(Map<'a>),
    Optional(Option<Arc<Val<'a>>>),
    Type(Text<'a>),
    Foreign(Arc<Foreign>),
}

#[derive(Clone, Debug)]
pub enum Text<'a> {
    Borrowed(&'a str),
    Shared(Arc<str>),
}

#[derive(Clone, Debug)]
pub enum List<'a> {
    Json(&'a [Value], &'a ListType),
    Made(Arc<Vec<Val<'a>>>),
}

#[derive(Clone, Debug)]
pub enum Map<'a> {
    /// With its declared type: an object, a map or anything.
    Json(&'a JsonMap<String, Value>, &'a Type),
    Made(Arc<BTreeMap<Key<'a>, Val<'a>>>),
}

/// A key of a map. Numbers of all types that are equal are the same key.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Key<'a> {
    Bool(bool),
    Number(i128),
    Text(Text<'a>),
}

impl Text<'_> {
    #[must_use]
    pub fn as_str(&self) -> &str {
        match self {
            Self::Borrowed(text) => text,
            Self::Shared(text) => text,
        }
    }
}

impl<'a> Text<'a> {
    /// A part of the text, copied only where the text is not the input's own.
    #[must_use]
    pub fn part(&self, range: std::ops::Range<usize>) -> Self {
        match self {
            Self::Borrowed(text) => Self::Borrowed(text.get(range).unwrap_or_default()),
            Self::Shared(text) => Self::Shared(text.get(range).unwrap_or_default().into()),
        }
    }
}

impl PartialEq for Text<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.as_str() == other.as_str()
    }
}

impl Eq for Text<'_> {}

impl PartialOrd for Text<'_> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Text<'_> {
    fn cmp(&self, other: &Self) -> Ordering {
        self.as_str().cmp(other.as_str())
    }
}

impl<'a> From<&'a str> for Val<'a> {
    fn from(text: &'a str) -> Self {
        Self::Text(Text::Borrowed(text))
    }
}

impl From<String> for Val<'_> {
    fn from(text: String) -> Self {
        Self::Text(Text::Shared(text.into()))
    }
}

impl<'a> From<Vec<Val<'a>>> for Val<'a> {
    fn from(list: Vec<Val<'a>>) -> Self {
        Self::List(List::Made(Arc::new(list)))
    }
}

impl<'a> Val<'a> {
    /// JSON as a value of a declared type.
    ///
    /// # Errors
    /// Strings that are not of the format that their type says.
    pub fn of(value: &'a Value, ty: &'a Type) -> Result<Self, Fault> {
        Ok(match (value, ty) {
            (value, Type::Optional(inner)) => Self::Optional(Some(Arc::new(Self::of(value, inner)?))),
            (Value::Null, _) => Self::Null,
            (Value::Bool(truth), _) => Self::Bool(*truth),
            (Value::Number(number), Type::Double) => Self::Double(number.as_f64().unwrap_or_default()),
            (Value::Number(number), Type::Int) => match (number.as_i64(), number.as_f64()) {
                (Some(number), _) => Self::Int(number),
                (None, Some(number)) if number.fract() == 0.0 && number.abs() < 9.0e18 => Self::Int(number as i64),
                _ => return Err(Fault::text("invalid data, expected int")),
            },
            (Value::Number(number), _) => match number.as_i64() {
                Some(number) => Self::Int(number),
                None => Self::Double(number.as_f64().unwrap_or_default()),
            },
            (Value::String(text), Type::Bytes(_)) => match base64::engine::general_purpose::STANDARD.decode(text) {
                Ok(bytes) => Self::Bytes(bytes.into()),
                Err(_) => return Err(Fault::text("invalid data, expected base64 encoded bytes")),
            },
            (Value::String(text), Type::Duration) => {
                Self::Duration(super::library::times::parse_duration(text).ok_or(Fault::text("invalid duration"))?)
            }
            (Value::String(text), Type::Timestamp) => Self::Timestamp(moment(text)?),
            (Value::String(text), _) => Self::from(text.as_str()),
            (Value::Array(items), Type::List(list)) => Self::List(List::Json(items, list)),
            (Value::Array(items), _) => Self::List(List::Json(items, &ANY_LIST)),
            (Value::Object(map), Type::Map(_) | Type::Object(_)) => Self::Map(Map::Json(map, ty)),
            (Value::Object(map), _) => Self::Map(Map::Json(map, &ANY)),
        })
    }

    #[must_use]
    pub fn some(value: Self) -> Self {
        Self::Optional(Some(Arc::new(value)))
    }

    /// The name of the value's type, as `type()` and messages have it.
    #[must_use]
    pub fn type_name(&self) -> &'static str {
        match self {
            Self::Null => "null_type",
            Self::Bool(_) => "bool",
            Self::Int(_) => "int",
            Self::Uint(_) => "uint",
            Self::Double(_) => "double",
            Self::Text(_) => "string",
            Self::Bytes(_) => "bytes",
            Self::Duration(_) => "google.protobuf.Duration",
            Self::Timestamp(_) => "google.protobuf.Timestamp",
            Self::List(_) => "list",
            Self::Map(_) => "map",
            Self::Optional(_) => "optional_type",
            Self::Type(_) => "type",
            Self::Foreign(foreign) => foreign.kind().name(),
        }
    }

    /// The type as Go's library calls it.
    #[must_use]
    pub fn go_type(&self) -> String {
        let name = match self {
            Self::Text(_) => "String",
            Self::Duration(_) => "Duration",
            Self::Timestamp(_) => "Timestamp",
            Self::Null => "Null",
            Self::Bool(_) => "Bool",
            Self::Int(_) => "Int",
            Self::Uint(_) => "Uint",
            Self::Double(_) => "Double",
            Self::Bytes(_) => "Bytes",
            other => return other.type_name().to_owned(),
        };
        format!("types.{name}")
    }

    /// Equality as `==` has it: numbers by value, values of different types differ. `cost` counts what was looked at.
    #[must_use]
    pub fn equals(&self, other: &Self, cost: &mut u64) -> bool {
        *cost += 1;
        match (self, other) {
            (Self::Null, Self::Null) => true,
            (Self::Bool(a), Self::Bool(b)) => a == b,
            (Self::Text(a), Self::Text(b)) => {
                *cost += a.as_str().len().min(b.as_str().len()) as u64 / 10;
                a == b
            }
            (Self::Bytes(a), Self::Bytes(b)) => {
                *cost += a.len().min(b.len()) as u64 / 10;
                a == b
            }
            (Self::Duration(a), Self::Duration(b)) => a == b,
            (Self::Timestamp(a), Self::Timestamp(b)) => a == b,
            (Self::List(a), Self::List(b)) => a.equals(b, cost),
            (Self::Map(a), Self::Map(b)) => a.equals(b, cost),
            (Self::Optional(a), Self::Optional(b)) => match (a, b) {
                (None, None) => true,
                (Some(a), Some(b)) => a.equals(b, cost),
                _ => false,
            },
            (Self::Type(a), Self::Type(b)) => a == b,
            (Self::Foreign(a), Self::Foreign(b)) => a.equals(b),
            _ => self.number_order(other) == Some(Ordering::Equal),
        }
    }

    fn number_order(&self, other: &Self) -> Option<Ordering> {
        let whole = |value: &Self| match value {
            Self::Int(n) => Some(i128::from(*n)),
            Self::Uint(n) => Some(i128::from(*n)),
            _ => None,
        };
        match (self, other) {
            (Self::Double(a), Self::Double(b)) => a.partial_cmp(b),
            (Self::Double(a), b) => order_to_whole(*a, whole(b)?),
            (a, Self::Double(b)) => order_to_whole(*b, whole(a)?).map(Ordering::reverse),
            (a, b) => Some(whole(a)?.cmp(&whole(b)?)),
        }
    }

    /// The order of two values of a type that has one.
    ///
    /// # Errors
    /// Other values, and NaN.
    pub fn order(&self, other: &Self) -> Result<Ordering, Fault> {
        match (self, other) {
            (Self::Bool(a), Self::Bool(b)) => Ok(a.cmp(b)),
            (Self::Text(a), Self::Text(b)) => Ok(a.cmp(b)),
            (Self::Bytes(a), Self::Bytes(b)) => Ok(a.cmp(b)),
            (Self::Duration(a), Self::Duration(b)) => Ok(a.cmp(b)),
            (Self::Timestamp(a), Self::Timestamp(b)) => Ok(a.cmp(b)),
            (Self::Double(_) | Self::Int(_) | Self::Uint(_), Self::Double(_) | Self::Int(_) | Self::Uint(_)) => {
                self.number_order(other).ok_or(Fault::text("NaN values cannot be ordered"))
            }
            _ => Err(Fault::no_overload()),
        }
    }

    /// The value as a key of a map.
    ///
    /// # Errors
    /// Values of types that no key has.
    pub fn key(&self) -> Result<Key<'a>, Fault> {
        Ok(match self {
            Self::Bool(truth) => Key::Bool(*truth),
            Self::Int(number) => Key::Number(i128::from(*number)),
            Self::Uint(number) => Key::Number(i128::from(*number)),
            Self::Double(number) if number.fract() == 0.0 && number.abs() < 1.8e19 => Key::Number(*number as i128),
            Self::Text(text) => Key::Text(text.clone()),
            _ => return Err(Fault::text("unsupported key type")),
        })
    }
}

/// How a number with a fraction stands to a whole one.
fn order_to_whole(a: f64, b: i128) -> Option<Ordering> {
    if a.is_nan() {
        return None;
    }
    if a.abs() >= 2.0e19 {
        return Some(if a > 0.0 { Ordering::Greater } else { Ordering::Less });
    }
    let whole = a.trunc() as i128;
    Some(whole.cmp(&b).then_with(|| a.fract().partial_cmp(&0.0).unwrap_or(Ordering::Equal)))
}

/// `date-time` or `date`.
fn moment(text: &str) -> Result<Timestamp, Fault> {
    let day = || {
        let date = text.parse::<jiff::civil::Date>().ok().filter(|_| text.len() == 10)?;
        Some(date.to_zoned(jiff::tz::TimeZone::UTC).ok()?.timestamp())
    };
    time::parse(text).or_else(day).ok_or(Fault::text("invalid date-time"))
}

impl<'a> Key<'a> {
    /// How messages show it.
    #[must_use]
    pub fn shown(&self) -> String {
        match self {
            Self::Bool(truth) => truth.to_string(),
            Self::Number(number) => number.to_string(),
            Self::Text(text) => text.as_str().to_owned(),
        }
    }

    #[must_use]
    pub fn value(&self) -> Val<'a> {
        match self {
            Self::Bool(truth) => Val::Bool(*truth),
            Self::Number(number) => match i64::try_from(*number) {
                Ok(number) => Val::Int(number),
                Err(_) => Val::Uint(u64::try_from(*number).unwrap_or_default()),
            },
            Self::Text(text) => Val::Text(text.clone()),
        }
    }
}

impl<'a> List<'a> {
    #[must_use]
    pub fn len(&self) -> usize {
        match self {
            Self::Json(items, _) => items.len(),
            Self::Made(items) => items.len(),
        }
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// # Errors
    /// Strings that are not of the format that their type says.
    pub fn get(&self, index: usize) -> Result<Option<Val<'a>>, Fault> {
        match self {
            Self::Json(items, list) => items.get(index).map(|item| Val::of(item, &list.item)).transpose(),
            Self::Made(items) => Ok(items.get(index).cloned()),
        }
    }

    pub fn items(&self) -> impl Iterator<Item = Result<Val<'a>, Fault>> {
        (0..self.len()).filter_map(|index| self.get(index).transpose())
    }

    #[must_use]
    pub fn kind(&self) -> &'a ListKind {
        match self {
            Self::Json(_, list) => &list.kind,
            Self::Made(_) => &ANY_LIST.kind,
        }
    }

    /// Whether an item equals `value`.
    #[must_use]
    pub fn contains(&self, value: &Val<'a>, cost: &mut u64) -> bool {
        self.items().any(|item| item.is_ok_and(|item| item.equals(value, cost)))
    }

    fn equals(&self, other: &Self, cost: &mut u64) -> bool {
        if self.len() != other.len() {
            return false;
        }
        if let (Self::Json(a, _), Self::Json(b, _)) = (self, other)
            && std::ptr::eq(*a, *b)
        {
            return true;
        }
        let kinds = (self.kind(), other.kind());
        match kinds {
            // Same items in another order. Bounded by the caller's budget through `cost` alone, so give up early.
            (ListKind::Set | ListKind::Map(_), _) | (_, ListKind::Set | ListKind::Map(_)) => {
                let same_order = self.in_order(other, cost);
                same_order
                    || self.len() <= MAX_UNORDERED
                        && self.items().all(|item| item.is_ok_and(|item| other.contains(&item, cost)))
                        && other.items().all(|item| item.is_ok_and(|item| self.contains(&item, cost)))
            }
            _ => self.in_order(other, cost),
        }
    }

    fn in_order(&self, other: &Self, cost: &mut u64) -> bool {
        self.items().zip(other.items()).all(|pair| match pair {
            (Ok(a), Ok(b)) => a.equals(&b, cost),
            _ => false,
        })
    }
}

/// Longest sets and maps by keys that are compared in any order: what takes longer is compared as it stands.
const MAX_UNORDERED: usize = 512;

impl<'a> Map<'a> {
    #[must_use]
    pub fn len(&self) -> usize {
        match self {
            Self::Json(map, _) => map.len(),
            Self::Made(map) => map.len(),
        }
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The value of a field, by the name that expressions have for it, or of a key.
    ///
    /// # Errors
    /// Strings that are not of the format that their type says.
    pub fn field(&self, name: &str) -> Result<Option<Val<'a>>, Fault> {
        match self {
            Self::Json(map, ty) => match ty {
                Type::Object(object) => {
                    let Some(field) = object.field(name) else { return Ok(None) };
                    map.get(&field.property).map(|value| Val::of(value, &field.ty)).transpose()
                }
                Type::Map(of) => map.get(name).map(|value| Val::of(value, &of.value)).transpose(),
                _ => map.get(name).map(|value| Val::of(value, &ANY)).transpose(),
            },
            Self::Made(map) => Ok(map.get(&Key::Text(Text::Shared(name.into()))).cloned()),
        }
    }

    /// # Errors
    /// Strings that are not of the format that their type says.
    pub fn get(&self, key: &Key<'a>) -> Result<Option<Val<'a>>, Fault> {
        match (self, key) {
            (Self::Made(map), key) => Ok(map.get(key).cloned()),
            (Self::Json(..), Key::Text(text)) => self.field(text.as_str()),
            (Self::Json(..), _) => Ok(None),
        }
    }

    /// Keys and values.
    pub fn entries(&self) -> Box<dyn Iterator<Item = Result<(Val<'a>, Val<'a>), Fault>> + '_> {
        match self {
            Self::Made(map) => Box::new(map.iter().map(|(key, value)| Ok((key.value(), value.clone())))),
            Self::Json(map, ty) => {
                let ty: &'a Type = ty;
                let inner: &'a Type = if let Type::Map(of) = ty { &of.value } else { &ANY };
                let map: &'a JsonMap<String, Value> = map;
                Box::new(map.iter().filter_map(move |(key, value)| match ty {
                    Type::Object(object) => {
                        let field = object.by_property(key)?;
                        Some(Val::of(value, &field.ty).map(|value| (Val::from(field.name.as_str()), value)))
                    }
                    _ => Some(Val::of(value, inner).map(|value| (Val::from(key.as_str()), value))),
                }))
            }
        }
    }

    fn equals(&self, other: &Self, cost: &mut u64) -> bool {
        if let (Self::Json(a, _), Self::Json(b, _)) = (self, other)
            && std::ptr::eq(*a, *b)
        {
            return true;
        }
        let found = |entry: Result<(Val<'a>, Val<'a>), Fault>, cost: &mut u64| {
            let Ok((key, value)) = entry else { return false };
            let Ok(Ok(Some(there))) = key.key().map(|key| other.get(&key)) else { return false };
            value.equals(&there, cost)
        };
        self.entries().count() == other.entries().count() && self.entries().all(|entry| found(entry, cost))
    }
}
