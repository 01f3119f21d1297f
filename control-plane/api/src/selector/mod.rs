//! Label and field selectors: Kubernetes' query grammar and `LabelSelector` objects.
//!
//! Parsing allocates; matching never does: it runs for every object of a LIST and every event of a watch.

mod parser;
#[cfg(test)]
mod tests;

use crate::field::{Error as FieldError, Path};
use crate::names;
use crate::status::Status;
use serde_json::{Map, Value};
use std::fmt;

/// What one requirement asks of its label.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operator {
    /// `=`
    Equals,
    /// `==`, which means the same.
    DoubleEquals,
    /// `!=`
    NotEquals,
    In,
    NotIn,
    Exists,
    DoesNotExist,
    GreaterThan,
    LessThan,
}

/// One term of a label selector.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Requirement {
    pub key: String,
    pub operator: Operator,
    pub values: Vec<String>,
}

impl Requirement {
    fn matches(&self, value: Option<&str>) -> bool {
        let listed = |value: &str| self.values.iter().any(|v| v == value);
        match self.operator {
            Operator::In | Operator::Equals | Operator::DoubleEquals => value.is_some_and(listed),
            Operator::NotIn | Operator::NotEquals => !value.is_some_and(listed),
            Operator::Exists => value.is_some(),
            Operator::DoesNotExist => value.is_none(),
            Operator::GreaterThan => self.compare(value, |label, bound| label > bound),
            Operator::LessThan => self.compare(value, |label, bound| label < bound),
        }
    }

    fn compare(&self, value: Option<&str>, holds: fn(i64, i64) -> bool) -> bool {
        let label = value.and_then(|v| v.parse().ok());
        let bound = self.values.first().and_then(|v| v.parse().ok());
        matches!((label, bound), (Some(label), Some(bound)) if holds(label, bound))
    }
}

/// A label selector: all requirements must hold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Labels {
    requirements: Vec<Requirement>,
    matches_nothing: bool,
}

impl Labels {
    /// Selects every object.
    #[must_use]
    pub fn everything() -> Self {
        Self::default()
    }

    /// Selects no object, as an absent `LabelSelector` does.
    #[must_use]
    pub fn nothing() -> Self {
        Self { requirements: Vec::new(), matches_nothing: true }
    }

    /// Parses the text of a `labelSelector` query parameter.
    ///
    /// # Errors
    /// 400 with the message of Kubernetes' parser.
    pub fn parse(text: &str) -> Result<Self, Status> {
        let mut requirements = parser::parse(text).map_err(Status::bad_request)?;
        requirements.sort_by(|a, b| a.key.cmp(&b.key));
        Ok(Self { requirements, matches_nothing: false })
    }

    /// The selector of a `metav1.LabelSelector` object. `None` and `null` select nothing, `{}` everything.
    ///
    /// # Errors
    /// A message about a requirement that the syntax of labels does not allow.
    pub fn from_label_selector(selector: Option<&Value>) -> Result<Self, String> {
        let Some(selector) = selector.filter(|s| !s.is_null()) else { return Ok(Self::nothing()) };
        let mut all = Self::everything();
        if let Some(labels) = selector.get("matchLabels").and_then(Value::as_object) {
            all = Self::from_map(labels);
        }
        for expression in selector.get("matchExpressions").and_then(Value::as_array).into_iter().flatten() {
            let key = expression["key"].as_str().unwrap_or_default();
            let values: Vec<String> = expression["values"]
                .as_array()
                .map(|list| list.iter().filter_map(Value::as_str).map(String::from).collect())
                .unwrap_or_default();
            let operator = match expression["operator"].as_str().unwrap_or_default() {
                "In" => Operator::In,
                "NotIn" => Operator::NotIn,
                "Exists" => Operator::Exists,
                "DoesNotExist" => Operator::DoesNotExist,
                other => return Err(format!("{other:?} is not a valid label selector operator")),
            };
            all.requirements.push(requirement(key, operator, values)?);
        }
        all.requirements.sort_by(|a, b| a.key.cmp(&b.key));
        Ok(all)
    }

    /// Equality on every pair of a plain map, as Services and ReplicationControllers select.
    #[must_use]
    pub fn from_map(labels: &Map<String, Value>) -> Self {
        let requirements = labels
            .iter()
            .map(|(key, value)| Requirement {
                key: key.clone(),
                operator: Operator::Equals,
                values: vec![value.as_str().unwrap_or_default().into()],
            })
            .collect();
        Self { requirements, matches_nothing: false }
    }

    /// Whether the selector selects everything.
    #[must_use]
    pub fn is_everything(&self) -> bool {
        self.requirements.is_empty() && !self.matches_nothing
    }

    #[must_use]
    pub fn requirements(&self) -> &[Requirement] {
        &self.requirements
    }

    /// Whether an object with the labels that `get` finds is selected.
    pub fn matches<'v>(&self, get: impl Fn(&str) -> Option<&'v str>) -> bool {
        !self.matches_nothing && self.requirements.iter().all(|r| r.matches(get(&r.key)))
    }

    /// The same over an object's `metadata.labels` (or any other map of strings).
    #[must_use]
    pub fn matches_map(&self, labels: Option<&Map<String, Value>>) -> bool {
        self.matches(|key| labels.and_then(|l| l.get(key)).and_then(Value::as_str))
    }
}

/// Prints in the query grammar, as `Scale.status.selector` and `kubectl get -o wide` show it.
impl fmt::Display for Labels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, requirement) in self.requirements.iter().enumerate() {
            if i > 0 {
                f.write_str(",")?;
            }
            let Requirement { key, operator, values } = requirement;
            match (operator, values.as_slice()) {
                (Operator::Equals, values) => write!(f, "{key}={}", values.join(","))?,
                (Operator::DoubleEquals, values) => write!(f, "{key}=={}", values.join(","))?,
                (Operator::NotEquals, values) => write!(f, "{key}!={}", values.join(","))?,
                (Operator::In, many) => write!(f, "{key} in ({})", sorted(many))?,
                (Operator::NotIn, many) => write!(f, "{key} notin ({})", sorted(many))?,
                (Operator::Exists, _) => f.write_str(key)?,
                (Operator::DoesNotExist, _) => write!(f, "!{key}")?,
                (Operator::GreaterThan, values) => write!(f, "{key}>{}", values.join(","))?,
                (Operator::LessThan, values) => write!(f, "{key}<{}", values.join(","))?,
            }
        }
        Ok(())
    }
}

fn sorted(values: &[String]) -> String {
    let mut values: Vec<&str> = values.iter().map(String::as_str).collect();
    values.sort_unstable();
    values.join(",")
}

/// A checked requirement (`labels.NewRequirement`).
fn requirement(key: &str, operator: Operator, values: Vec<String>) -> Result<Requirement, String> {
    let mut errors = Vec::new();
    if let Some(problem) = key_problem(key) {
        errors.push(problem);
    }
    let path = Path::new("values");
    match operator {
        Operator::In | Operator::NotIn if values.is_empty() => {
            errors.push(FieldError::invalid(
                &path,
                Value::Array(vec![]),
                "for 'in', 'notin' operators, values set can't be empty",
            ));
        }
        Operator::Exists | Operator::DoesNotExist if !values.is_empty() => {
            errors.push(FieldError::invalid(
                &path,
                values.clone(),
                "values set must be empty for exists and does not exist",
            ));
        }
        Operator::GreaterThan | Operator::LessThan => {
            if values.len() != 1 {
                errors.push(FieldError::invalid(
                    &path,
                    values.clone(),
                    "for 'Gt', 'Lt' operators, exactly one value is required",
                ));
            }
            for (i, value) in values.iter().enumerate() {
                if value.parse::<i64>().is_err() {
                    let detail = "for 'Gt', 'Lt' operators, the value must be an integer";
                    errors.push(FieldError::invalid(&path.index(i), value.as_str(), detail));
                }
            }
        }
        _ => {}
    }
    for (i, value) in values.iter().enumerate() {
        let complaints = names::check_label_value(value);
        if !complaints.is_empty() {
            errors.push(FieldError::invalid(&path.index(i).key(key), value.as_str(), complaints.join("; ")));
        }
    }
    match errors.as_slice() {
        [] => Ok(Requirement { key: key.into(), operator, values }),
        [one] => Err(one.to_string()),
        many => Err(format!("[{}]", many.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "))),
    }
}

fn key_problem(key: &str) -> Option<FieldError> {
    let complaints = names::check_qualified_name(key);
    (!complaints.is_empty()).then(|| FieldError::invalid(&Path::new("<nil>"), key, complaints.join("; ")))
}

/// One term of a field selector.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FieldTerm {
    pub field: String,
    pub value: String,
    pub equality: Equality,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Equality {
    Equal,
    NotEqual,
}

/// A field selector: all terms must hold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Fields {
    terms: Vec<FieldTerm>,
}

impl Fields {
    #[must_use]
    pub fn everything() -> Self {
        Self::default()
    }

    /// Parses the text of a `fieldSelector` query parameter.
    ///
    /// # Errors
    /// 400 with the message of Kubernetes' parser.
    pub fn parse(text: &str) -> Result<Self, Status> {
        let mut terms = Vec::new();
        let mut parts = split_terms(text);
        parts.sort_unstable();
        for term in parts {
            if term.is_empty() {
                continue;
            }
            let Some((field, equality, value)) = split_term(term) else {
                return Err(Status::bad_request(format!("invalid selector: '{text}'; can't understand '{term}'")));
            };
            let value = unescape(value).map_err(Status::bad_request)?;
            terms.push(FieldTerm { field: field.into(), value, equality });
        }
        Ok(Self { terms })
    }

    /// Refuses fields that are neither `metadata.name`, `metadata.namespace` nor among `supported`
    /// (`Strategy::field_names`).
    ///
    /// # Errors
    /// 400 naming the first unknown field.
    pub fn check(&self, supported: &[&str]) -> Result<(), Status> {
        let known = |f: &str| matches!(f, "metadata.name" | "metadata.namespace") || supported.contains(&f);
        match self.terms.iter().find(|t| !known(&t.field)) {
            None => Ok(()),
            Some(term) if supported.is_empty() => Err(Status::bad_request(format!(
                "\"{}\" is not a known field selector: only \"metadata.name\", \"metadata.namespace\"",
                term.field
            ))),
            Some(term) => Err(Status::bad_request(format!("field label not supported: {}", term.field))),
        }
    }

    #[must_use]
    pub fn is_everything(&self) -> bool {
        self.terms.is_empty()
    }

    #[must_use]
    pub fn terms(&self) -> &[FieldTerm] {
        &self.terms
    }

    /// The one value that `field` must have, where the selector fixes it: a LIST of
    /// `metadata.name=x` need not look at other objects.
    #[must_use]
    pub fn exact(&self, field: &str) -> Option<&str> {
        self.terms.iter().find(|t| t.equality == Equality::Equal && t.field == field).map(|t| t.value.as_str())
    }

    /// Whether an object with the fields that `get` finds is selected; an absent field is the empty text.
    pub fn matches<'v>(&self, get: impl Fn(&str) -> Option<&'v str>) -> bool {
        self.terms.iter().all(|term| {
            let equal = get(&term.field).unwrap_or_default() == term.value;
            equal == (term.equality == Equality::Equal)
        })
    }
}

impl FromIterator<FieldTerm> for Fields {
    fn from_iter<T: IntoIterator<Item = FieldTerm>>(terms: T) -> Self {
        Self { terms: terms.into_iter().collect() }
    }
}

impl fmt::Display for Fields {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, term) in self.terms.iter().enumerate() {
            let comma = if i > 0 { "," } else { "" };
            let sign = if term.equality == Equality::Equal { "=" } else { "!=" };
            let value = term.value.replace('\\', "\\\\").replace(',', "\\,").replace('=', "\\=");
            write!(f, "{comma}{}{sign}{value}", term.field)?;
        }
        Ok(())
    }
}

/// Splits at commas that no backslash guards.
fn split_terms(text: &str) -> Vec<&str> {
    let (mut terms, mut start, mut escaped) = (Vec::new(), 0, false);
    for (i, byte) in text.bytes().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b',' => {
                terms.push(&text[start..i]);
                start = i + 1;
            }
            _ => {}
        }
    }
    terms.push(&text[start..]);
    terms
}

fn split_term(term: &str) -> Option<(&str, Equality, &str)> {
    let equal = term.find('=')?;
    // An exclamation mark elsewhere is of the field's name.
    match term[..equal].strip_suffix('!') {
        Some(field) => Some((field, Equality::NotEqual, &term[equal + 1..])),
        None => {
            let value = &term[equal + 1..];
            Some((&term[..equal], Equality::Equal, value.strip_prefix('=').unwrap_or(value)))
        }
    }
}

fn unescape(value: &str) -> Result<String, String> {
    if !value.contains(['\\', ',', '=']) {
        return Ok(value.into());
    }
    let mut out = String::with_capacity(value.len());
    let mut chars = value.chars();
    while let Some(c) = chars.next() {
        match c {
            '\\' => match chars.next() {
                Some(next @ ('\\' | ',' | '=')) => out.push(next),
                other => {
                    let shown = other.map(String::from).unwrap_or_default();
                    return Err(format!("invalid field selector: invalid escape sequence: \\{shown}"));
                }
            },
            // The character's number, as Kubernetes prints it.
            ',' | '=' => {
                return Err(format!("invalid field selector: unescaped character in value: {}", u32::from(c)));
            }
            c => out.push(c),
        }
    }
    Ok(out)
}
