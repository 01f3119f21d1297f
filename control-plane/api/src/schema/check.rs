//! The walks over an object and its schema that change nothing (types and unknown fields), and a CRD's defaults.

use super::{Format, Schema, Shape, Unknown};
use crate::Status;
use crate::quantity::{ParseError, Quantity};
use crate::time::{Moment, Precision};
use base64::Engine as _;
use serde_json::{Number, Value};

/// Most unknown fields that are reported, as in Kubernetes' decoder.
const MAX_UNKNOWN: usize = 100;

/// Checks types and looks for unknown fields in one pass; the answer is the paths of unknown fields as
/// Kubernetes' strict decoder prints them (`spec.foo`, `spec.containers[0].bar`).
///
/// # Errors
/// 400, worded as Go's JSON decoder words a value of the wrong type.
pub fn check(schema: &Schema, value: &Value) -> Result<Vec<String>, Status> {
    let mut unknown = Vec::new();
    walk(schema, value, &Frame::ROOT, &mut unknown).map_err(|text| Status::bad_request(*text))?;
    Ok(unknown)
}

/// The unknown fields alone; none if a type is wrong.
#[must_use]
pub fn unknown_fields(schema: &Schema, value: &Value) -> Vec<String> {
    check(schema, value).unwrap_or_default()
}

/// The types alone.
///
/// # Errors
/// As [`check`].
pub fn check_types(schema: &Schema, value: &Value) -> Result<(), Status> {
    check(schema, value).map(drop)
}

/// Where the walk is. Rendered only when there is something to say.
struct Frame<'a> {
    parent: Option<&'a Frame<'a>>,
    step: Step<'a>,
    /// The Go struct that the place is a field of.
    owner: &'a str,
}

#[derive(Clone, Copy)]
enum Step<'a> {
    Root,
    /// The same place, seen as another type.
    Same,
    Field(&'a str),
    Key(&'a str),
    Index(usize),
}

impl<'a> Frame<'a> {
    const ROOT: Self = Frame { parent: None, step: Step::Root, owner: "" };

    fn below(&'a self, step: Step<'a>, owner: &'a str) -> Self {
        Frame { parent: Some(self), step, owner }
    }

    /// `spec.containers[0].image`: the strict decoder's path.
    fn strict(&self) -> String {
        let mut text = self.parent.map(Frame::strict).unwrap_or_default();
        match self.step {
            Step::Root | Step::Same => {}
            Step::Field(name) | Step::Key(name) => {
                if !text.is_empty() {
                    text.push('.');
                }
                text.push_str(name);
            }
            Step::Index(index) => text.push_str(&format!("[{index}]")),
        }
        text
    }

    /// `spec.containers.image`: the type error's path.
    fn go(&self) -> String {
        let mut text = self.parent.map(Frame::go).unwrap_or_default();
        if let Step::Field(name) = self.step {
            if !text.is_empty() {
                text.push('.');
            }
            text.push_str(name);
        }
        text
    }
}

type Failure = Box<String>;

fn walk(schema: &Schema, value: &Value, at: &Frame<'_>, unknown: &mut Vec<String>) -> Result<(), Failure> {
    if value.is_null() {
        return Ok(());
    }
    let owner = match &schema.shape {
        Shape::Named(definition) => definition.type_name(),
        _ => at.owner,
    };
    match (&schema.resolved().shape, value) {
        (Shape::Any, _) | (Shape::Boolean, Value::Bool(_)) | (Shape::Number, Value::Number(_)) => Ok(()),
        (Shape::Text(format), Value::String(text)) => check_text(*format, text),
        (Shape::Int32, Value::Number(number)) if fits::<i32>(number) => Ok(()),
        (Shape::Int64, Value::Number(number)) if fits::<i64>(number) => Ok(()),
        (Shape::IntOrString, Value::String(_)) => Ok(()),
        (Shape::IntOrString, Value::Number(number)) if fits::<i32>(number) => Ok(()),
        (Shape::Quantity, _) => check_quantity(value),
        (Shape::Either(definition), Value::Object(_)) => {
            walk(definition.schema(), value, &at.below(Step::Same, definition.type_name()), unknown)
        }
        (Shape::Either(_), _) => Ok(()),
        (Shape::List(items), Value::Array(list)) => list
            .iter()
            .enumerate()
            .try_for_each(|(index, item)| walk(items, item, &at.below(Step::Index(index), owner), unknown)),
        (Shape::Map(values), Value::Object(map)) => {
            map.iter().try_for_each(|(key, item)| walk(values, item, &at.below(Step::Key(key), owner), unknown))
        }
        (Shape::Object(object), Value::Object(map)) => map.iter().try_for_each(|(name, item)| {
            let below = at.below(Step::Field(name), owner);
            match object.field(name) {
                Some(field) => walk(field, item, &below, unknown),
                None if object.unknown == Unknown::Keep => Ok(()),
                None => {
                    if unknown.len() < MAX_UNKNOWN {
                        unknown.push(below.strict());
                    }
                    Ok(())
                }
            }
        }),
        // A CRD's rules are judged as a whole, later, with Kubernetes' other words.
        _ if schema.rules.is_some() => Ok(()),
        _ => Err(mismatch(schema, value, at)),
    }
}

fn fits<T: TryFrom<i64>>(number: &Number) -> bool {
    number.as_i64().is_some_and(|n| T::try_from(n).is_ok())
}

fn check_text(format: Format, text: &str) -> Result<(), Failure> {
    match format {
        Format::Plain => Ok(()),
        Format::Byte => match base64::engine::general_purpose::STANDARD.decode(text) {
            Ok(_) => Ok(()),
            Err(error) => {
                let at = match error {
                    base64::DecodeError::InvalidByte(at, _) | base64::DecodeError::InvalidLastSymbol(at, _) => at,
                    base64::DecodeError::InvalidLength(_) | base64::DecodeError::InvalidPadding => text.len(),
                };
                Err(Box::new(format!("illegal base64 data at input byte {at}")))
            }
        },
        Format::Time => check_time(text, Precision::Seconds),
        Format::MicroTime => check_time(text, Precision::Micros),
    }
}

fn check_time(text: &str, precision: Precision) -> Result<(), Failure> {
    Moment::parse(text, precision).map(drop).map_err(Box::new)
}

/// `resource.Quantity`'s own decoder: text or a number, refused as `ParseQuantity` does.
fn check_quantity(value: &Value) -> Result<(), Failure> {
    let why = match value {
        Value::String(_) | Value::Number(_) => Quantity::from_value(value).err(),
        _ => Some(ParseError::Format),
    };
    why.map_or(Ok(()), |why| Err(Box::new(why.to_string())))
}

/// `json: cannot unmarshal string into Go struct field DeploymentSpec.spec.replicas of type int32`.
fn mismatch(schema: &Schema, value: &Value, at: &Frame<'_>) -> Failure {
    let wanted = go_type(schema);
    let got = match value {
        Value::Null => "null".to_owned(),
        Value::Bool(_) => "bool".to_owned(),
        Value::String(_) => "string".to_owned(),
        Value::Array(_) => "array".to_owned(),
        Value::Object(_) => "object".to_owned(),
        Value::Number(number) if matches!(schema.shape, Shape::Int32 | Shape::Int64 | Shape::IntOrString) => {
            format!("number {number}")
        }
        Value::Number(_) => "number".to_owned(),
    };
    let own_decoder = matches!(schema.shape, Shape::IntOrString);
    Box::new(if at.owner.is_empty() || own_decoder {
        format!("json: cannot unmarshal {got} into Go value of type {wanted}")
    } else {
        format!("json: cannot unmarshal {got} into Go struct field {}.{} of type {wanted}", at.owner, at.go())
    })
}

/// The Go type as Go prints it, as near as a schema knows.
fn go_type(schema: &Schema) -> String {
    match &schema.shape {
        Shape::Any | Shape::Either(_) => "interface {}".into(),
        Shape::Text(Format::Byte) => "[]uint8".into(),
        Shape::Text(Format::Plain) => "string".into(),
        Shape::Text(Format::Time) => "v1.Time".into(),
        Shape::Text(Format::MicroTime) => "v1.MicroTime".into(),
        Shape::Boolean => "bool".into(),
        Shape::Int32 | Shape::IntOrString => "int32".into(),
        Shape::Int64 => "int64".into(),
        Shape::Number => "float64".into(),
        Shape::Quantity => "resource.Quantity".into(),
        Shape::Object(_) => "map[string]interface {}".into(),
        Shape::Map(values) => format!("map[string]{}", go_type(values)),
        Shape::List(items) => format!("[]{}", go_type(items)),
        Shape::Named(definition) => {
            let mut parts = definition.name.rsplit('.');
            let (kind, version) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
            format!("{version}.{kind}")
        }
    }
}

/// Fills the defaults of a CRD's schema where fields are absent. Built-in kinds default in their strategies.
pub fn apply_defaults(schema: &Schema, value: &mut Value) {
    match (&schema.shape, value) {
        (Shape::Object(object), Value::Object(map)) => {
            for (name, field) in object.fields() {
                let default = field.rules.as_ref().and_then(|rules| rules.default.as_ref());
                if let (Some(default), false) = (default, map.contains_key(name)) {
                    map.insert(name.into(), Value::clone(default));
                }
                if let Some(item) = map.get_mut(name) {
                    apply_defaults(field, item);
                }
            }
        }
        (Shape::Map(values), Value::Object(map)) => map.values_mut().for_each(|item| apply_defaults(values, item)),
        (Shape::List(items), Value::Array(list)) => list.iter_mut().for_each(|item| apply_defaults(items, item)),
        _ => {}
    }
}
