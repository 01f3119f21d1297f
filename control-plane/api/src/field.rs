//! Field paths and field errors, as `apimachinery/pkg/util/validation/field`.
//!
//! A path is a chain of borrowed nodes on the stack and becomes text only when an error is made:
//! valid objects, which are nearly all, cost no allocation here.

use serde_json::Value;
use std::fmt;

/// A path into an object: `spec.containers[0].image`, `metadata.labels[app.kubernetes.io/name]`.
///
/// Each node borrows its parent, so bind intermediate nodes to a name where they outlive the statement.
/// A child's name may itself be dotted: `path.child("spec.template")`.
#[derive(Clone, Copy, Debug)]
pub struct Path<'a> {
    parent: Option<&'a Path<'a>>,
    segment: Segment<'a>,
}

#[derive(Clone, Copy, Debug)]
enum Segment<'a> {
    Name(&'a str),
    Index(usize),
    Key(&'a str),
}

impl<'a> Path<'a> {
    /// The path of a top-level field, or the empty root with `""`.
    #[must_use]
    pub const fn new(root: &'a str) -> Self {
        Self { parent: None, segment: Segment::Name(root) }
    }

    #[must_use]
    pub const fn child<'b>(&'b self, name: &'b str) -> Path<'b> {
        Path { parent: Some(self), segment: Segment::Name(name) }
    }

    #[must_use]
    pub const fn index(&self, index: usize) -> Path<'_> {
        Path { parent: Some(self), segment: Segment::Index(index) }
    }

    #[must_use]
    pub const fn key<'b>(&'b self, key: &'b str) -> Path<'b> {
        Path { parent: Some(self), segment: Segment::Key(key) }
    }

    fn is_root(&self) -> bool {
        self.parent.is_none() && matches!(self.segment, Segment::Name(""))
    }
}

impl fmt::Display for Path<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let below_root = match self.parent {
            Some(parent) => {
                parent.fmt(f)?;
                parent.is_root()
            }
            None => true,
        };
        match self.segment {
            Segment::Name(name) if below_root => f.write_str(name),
            Segment::Name(name) => write!(f, ".{name}"),
            Segment::Index(index) => write!(f, "[{index}]"),
            Segment::Key(key) => write!(f, "[{key}]"),
        }
    }
}

/// The class of a field error (`field.ErrorType`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Type {
    NotFound,
    Required,
    Duplicate,
    Invalid,
    NotSupported,
    Forbidden,
    TooLong,
    TooShort,
    TooMany,
    Internal,
    TypeInvalid,
}

impl Type {
    const fn text(self) -> &'static str {
        match self {
            Self::NotFound => "Not found",
            Self::Required => "Required value",
            Self::Duplicate => "Duplicate value",
            Self::Invalid | Self::TypeInvalid => "Invalid value",
            Self::NotSupported => "Unsupported value",
            Self::Forbidden => "Forbidden",
            Self::TooLong => "Too long",
            Self::TooShort => "Too short",
            Self::TooMany => "Too many",
            Self::Internal => "Internal error",
        }
    }
}

/// One thing wrong with one field.
#[derive(Clone, Debug, PartialEq)]
pub struct Error {
    pub kind: Type,
    pub field: String,
    /// The offending value, where the message shows it.
    pub value: Option<Value>,
    pub detail: String,
}

impl Error {
    #[must_use]
    pub fn invalid(path: &Path<'_>, value: impl Into<Value>, detail: impl Into<String>) -> Self {
        Self { kind: Type::Invalid, field: path.to_string(), value: Some(value.into()), detail: detail.into() }
    }

    #[must_use]
    pub fn required(path: &Path<'_>, detail: impl Into<String>) -> Self {
        Self { kind: Type::Required, field: path.to_string(), value: None, detail: detail.into() }
    }

    #[must_use]
    pub fn duplicate(path: &Path<'_>, value: impl Into<Value>) -> Self {
        Self { kind: Type::Duplicate, field: path.to_string(), value: Some(value.into()), detail: String::new() }
    }

    #[must_use]
    pub fn forbidden(path: &Path<'_>, detail: impl Into<String>) -> Self {
        Self { kind: Type::Forbidden, field: path.to_string(), value: None, detail: detail.into() }
    }

    #[must_use]
    pub fn not_found(path: &Path<'_>, value: impl Into<Value>) -> Self {
        Self { kind: Type::NotFound, field: path.to_string(), value: Some(value.into()), detail: String::new() }
    }

    /// `Unsupported value: "x": supported values: "A", "B"`.
    #[must_use]
    pub fn not_supported(path: &Path<'_>, value: impl Into<Value>, supported: &[&str]) -> Self {
        let list: Vec<String> = supported.iter().map(|s| quoted(s)).collect();
        let detail = if list.is_empty() { String::new() } else { format!("supported values: {}", list.join(", ")) };
        Self { kind: Type::NotSupported, field: path.to_string(), value: Some(value.into()), detail }
    }

    /// `Too long: may not be more than N bytes`.
    #[must_use]
    pub fn too_long(path: &Path<'_>, limit_bytes: usize) -> Self {
        let unit = if limit_bytes == 1 { "byte" } else { "bytes" };
        let detail = format!("may not be more than {limit_bytes} {unit}");
        Self { kind: Type::TooLong, field: path.to_string(), value: None, detail }
    }

    /// `Too short: must be at least N characters`. The value is not shown.
    #[must_use]
    pub fn too_short(path: &Path<'_>, detail: impl Into<String>) -> Self {
        Self { kind: Type::TooShort, field: path.to_string(), value: None, detail: detail.into() }
    }

    /// `Too many: N: must have at most M items`.
    #[must_use]
    pub fn too_many(path: &Path<'_>, actual: usize, limit: usize) -> Self {
        let detail = format!("must have at most {limit} {}", if limit == 1 { "item" } else { "items" });
        Self { kind: Type::TooMany, field: path.to_string(), value: Some(actual.into()), detail }
    }

    /// The message without the field's name, as it stands in a `StatusCause`.
    #[must_use]
    pub fn body(&self) -> String {
        let mut text = String::from(self.kind.text());
        if let Some(value) = &self.value {
            text.push_str(": ");
            text.push_str(&shown(value));
        }
        if !self.detail.is_empty() {
            text.push_str(": ");
            text.push_str(&self.detail);
        }
        text
    }
}

/// Values as Go prints them in these messages: strings quoted, the rest as JSON.
fn shown(value: &Value) -> String {
    match value {
        Value::String(text) => quoted(text),
        other => json(other),
    }
}

/// JSON as Go writes it: safe within HTML.
#[must_use]
pub fn json(value: &Value) -> String {
    let text = value.to_string();
    if !text.contains(['<', '>', '&', '\u{2028}', '\u{2029}']) {
        return text;
    }
    // These occur within strings only.
    let mut out = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        match c {
            '<' | '>' | '&' | '\u{2028}' | '\u{2029}' => out.push_str(&format!("\\u{:04x}", u32::from(c))),
            c => out.push(c),
        }
    }
    out
}

/// Go's `%q`: differs from Rust's `{:?}` in how it writes control characters.
#[must_use]
pub fn quoted(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\u{7}' => out.push_str("\\a"),
            '\u{8}' => out.push_str("\\b"),
            '\u{b}' => out.push_str("\\v"),
            '\u{c}' => out.push_str("\\f"),
            c if u32::from(c) < 0x20 || u32::from(c) == 0x7f => out.push_str(&format!("\\x{:02x}", u32::from(c))),
            c if c.is_control() => out.push_str(&format!("\\u{:04x}", u32::from(c))),
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.field, self.body())
    }
}

impl std::error::Error for Error {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_and_messages_read_as_in_kubernetes() {
        let spec = Path::new("spec");
        let list = spec.child("containers");
        let first = list.index(0);
        assert_eq!(first.child("image").to_string(), "spec.containers[0].image");
        assert_eq!(Path::new("data").key("a.b").to_string(), "data[a.b]");
        assert_eq!(Path::new("").child("type").to_string(), "type");
        for (error, text) in [
            (
                Error::invalid(&spec, -1, "must be greater than or equal to 0"),
                "spec: Invalid value: -1: must be greater than or equal to 0",
            ),
            (Error::invalid(&spec, "a\"\u{1}\n", "no"), "spec: Invalid value: \"a\\\"\\x01\\n\": no"),
            (Error::required(&first, ""), "spec.containers[0]: Required value"),
            (
                Error::not_supported(&spec, "x", &["A", "B"]),
                "spec: Unsupported value: \"x\": supported values: \"A\", \"B\"",
            ),
            (Error::duplicate(&spec, "x"), "spec: Duplicate value: \"x\""),
            (Error::too_long(&spec, 63), "spec: Too long: may not be more than 63 bytes"),
            (Error::too_many(&spec, 3, 1), "spec: Too many: 3: must have at most 1 item"),
            (Error::not_found(&spec, "v"), "spec: Not found: \"v\""),
        ] {
            assert_eq!(error.to_string(), text);
        }
    }
}
