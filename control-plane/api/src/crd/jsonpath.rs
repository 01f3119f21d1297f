//! JSONPath as printer columns use it (`client-go/util/jsonpath`): fields, indexes, slices, unions, wildcards, recursive
//! descent and filters. Only what a column needs: the first value that a path finds.

use serde_json::Value;

/// Longest path, in bytes, and most values that one step may find: a path over a hostile object stays cheap.
const MAX_LEN: usize = 4096;
const MAX_FOUND: usize = 10_000;

/// A parsed path.
#[derive(Clone, Debug, PartialEq)]
pub struct JsonPath(Vec<Step>);

#[derive(Clone, Debug, PartialEq)]
enum Step {
    Field(String),
    /// Every value of an object or a list.
    Wildcard,
    /// The value and everything below it.
    Descent,
    Slice {
        from: Option<i64>,
        to: Option<i64>,
        by: i64,
    },
    Union(Vec<Step>),
    Filter(Filter),
}

#[derive(Clone, Debug, PartialEq)]
struct Filter {
    left: Operand,
    test: Option<(Comparison, Operand)>,
}

#[derive(Clone, Debug, PartialEq)]
enum Operand {
    /// `@.a.b`
    Path(JsonPath),
    Literal(Value),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Comparison {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

impl JsonPath {
    /// `.spec.replicas`, `.status.conditions[?(@.type=="Ready")].status`.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        if text.len() > MAX_LEN {
            return None;
        }
        let mut parser = Parser { rest: text.trim() };
        let steps = parser.steps()?;
        parser.rest.is_empty().then_some(Self(steps))
    }

    /// The first value that the path finds.
    #[must_use]
    pub fn first<'v>(&self, value: &'v Value) -> Option<&'v Value> {
        let plain = self.0.iter().try_fold(value, |value, step| match step {
            Step::Field(name) => Ok(value.get(name)).and_then(|found| found.ok_or(None)),
            _ => Err(Some(())),
        });
        match plain {
            Ok(found) => Some(found),
            Err(None) => None,
            Err(Some(())) => self.all(value).into_iter().next(),
        }
    }

    fn all<'v>(&self, value: &'v Value) -> Vec<&'v Value> {
        self.0.iter().fold(vec![value], |values, step| {
            let mut found = Vec::new();
            for value in values {
                step.apply(value, &mut found);
            }
            found.truncate(MAX_FOUND);
            found
        })
    }
}

impl Step {
    fn apply<'v>(&self, value: &'v Value, found: &mut Vec<&'v Value>) {
        match (self, value) {
            (Self::Field(name), _) => found.extend(value.get(name)),
            (Self::Wildcard, Value::Object(map)) => found.extend(map.values()),
            (Self::Wildcard, Value::Array(list)) => found.extend(list),
            (Self::Descent, _) => descend(value, found),
            (Self::Slice { from, to, by }, Value::Array(list)) => slice(list, *from, *to, *by, found),
            (Self::Union(steps), _) => steps.iter().for_each(|step| step.apply(value, found)),
            (Self::Filter(filter), Value::Array(list)) => found.extend(list.iter().filter(|item| filter.accepts(item))),
            (Self::Filter(filter), Value::Object(map)) => {
                found.extend(map.values().filter(|item| filter.accepts(item)))
            }
            _ => {}
        }
    }
}

fn descend<'v>(value: &'v Value, found: &mut Vec<&'v Value>) {
    if found.len() >= MAX_FOUND {
        return;
    }
    found.push(value);
    match value {
        Value::Object(map) => map.values().for_each(|item| descend(item, found)),
        Value::Array(list) => list.iter().for_each(|item| descend(item, found)),
        _ => {}
    }
}

fn slice<'v>(list: &'v [Value], from: Option<i64>, to: Option<i64>, by: i64, found: &mut Vec<&'v Value>) {
    let len = i64::try_from(list.len()).unwrap_or(i64::MAX);
    let place = |at: i64| if at < 0 { at.saturating_add(len) } else { at }.clamp(0, len);
    let (from, to) = (place(from.unwrap_or(0)), place(to.unwrap_or(len)));
    let mut at = from;
    while by > 0 && at < to {
        found.extend(usize::try_from(at).ok().and_then(|at| list.get(at)));
        at = at.saturating_add(by);
    }
}

impl Filter {
    fn accepts(&self, item: &Value) -> bool {
        let Some((comparison, right)) = &self.test else { return self.left.value(item).is_some() };
        let (Some(left), Some(right)) = (self.left.value(item), right.value(item)) else { return false };
        let order = match (left, right) {
            (Value::Number(a), Value::Number(b)) => a.as_f64().partial_cmp(&b.as_f64()),
            (Value::String(a), Value::String(b)) => Some(a.cmp(b)),
            (a, b) if a == b => Some(std::cmp::Ordering::Equal),
            _ => None,
        };
        match comparison {
            Comparison::Equal => order.is_some_and(std::cmp::Ordering::is_eq),
            Comparison::NotEqual => !order.is_some_and(std::cmp::Ordering::is_eq),
            Comparison::Less => order.is_some_and(std::cmp::Ordering::is_lt),
            Comparison::LessOrEqual => order.is_some_and(std::cmp::Ordering::is_le),
            Comparison::Greater => order.is_some_and(std::cmp::Ordering::is_gt),
            Comparison::GreaterOrEqual => order.is_some_and(std::cmp::Ordering::is_ge),
        }
    }
}

impl Operand {
    fn value<'v>(&'v self, item: &'v Value) -> Option<&'v Value> {
        match self {
            Self::Path(path) => path.first(item),
            Self::Literal(value) => Some(value),
        }
    }
}

struct Parser<'t> {
    rest: &'t str,
}

impl Parser<'_> {
    fn eat(&mut self, token: &str) -> bool {
        let rest = self.rest.strip_prefix(token);
        self.rest = rest.unwrap_or(self.rest);
        rest.is_some()
    }

    /// Steps up to what cannot begin one.
    fn steps(&mut self) -> Option<Vec<Step>> {
        let mut steps = Vec::new();
        self.eat("$");
        loop {
            if self.eat("..") {
                steps.push(Step::Descent);
                if !self.rest.starts_with('[') {
                    steps.push(self.name()?);
                }
            } else if self.eat("[") {
                steps.push(self.bracket()?);
            } else if self.rest.starts_with('.') {
                self.eat(".");
                // A lone dot, or one before a bracket, is the value itself.
                if !(self.rest.is_empty() || self.rest.starts_with('[')) {
                    steps.push(self.name()?);
                }
            } else {
                return Some(steps);
            }
        }
    }

    /// A name after a dot; a backslash takes the next character as it is.
    fn name(&mut self) -> Option<Step> {
        let mut name = String::new();
        let mut characters = self.rest.char_indices();
        let mut end = self.rest.len();
        while let Some((at, c)) = characters.next() {
            match c {
                '\\' => name.push(characters.next()?.1),
                '.' | '[' | ']' | ' ' | ')' | '=' | '!' | '<' | '>' => {
                    end = at;
                    break;
                }
                c => name.push(c),
            }
        }
        self.rest = &self.rest[end..];
        match name.as_str() {
            "" => None,
            "*" => Some(Step::Wildcard),
            _ => Some(Step::Field(name)),
        }
    }

    /// What stands in brackets, the closing one included.
    fn bracket(&mut self) -> Option<Step> {
        if self.eat("?(") {
            let filter = self.filter()?;
            self.spaces();
            return (self.eat(")") && self.eat("]")).then_some(Step::Filter(filter));
        }
        let mut steps = Vec::new();
        loop {
            self.spaces();
            steps.push(self.element()?);
            self.spaces();
            if self.eat("]") {
                break;
            }
            if !self.eat(",") {
                return None;
            }
        }
        if steps.len() == 1 { steps.pop() } else { Some(Step::Union(steps)) }
    }

    fn element(&mut self) -> Option<Step> {
        if self.eat("*") {
            return Some(Step::Wildcard);
        }
        if self.rest.starts_with(['\'', '"']) {
            return self.quoted().map(Step::Field);
        }
        let from = self.integer()?;
        if !self.eat(":") {
            let at = from?;
            let to = if at == -1 { None } else { Some(at + 1) };
            return Some(Step::Slice { from: Some(at), to, by: 1 });
        }
        let to = self.integer()?;
        let by = if self.eat(":") { self.integer()?.unwrap_or(1) } else { 1 };
        Some(Step::Slice { from, to, by })
    }

    /// A number that may be absent; None outside: no number.
    #[expect(clippy::option_option, reason = "an absent bound is not a bad one")]
    fn integer(&mut self) -> Option<Option<i64>> {
        let end = self.rest.find(|c: char| !c.is_ascii_digit() && c != '-').unwrap_or(self.rest.len());
        let (digits, rest) = self.rest.split_at(end);
        self.rest = rest;
        if digits.is_empty() { Some(None) } else { digits.parse().ok().map(Some) }
    }

    fn quoted(&mut self) -> Option<String> {
        let quote = self.rest.chars().next()?;
        let mut text = String::new();
        let mut characters = self.rest.char_indices().skip(1);
        while let Some((at, c)) = characters.next() {
            match c {
                '\\' => text.push(characters.next()?.1),
                c if c == quote => {
                    self.rest = &self.rest[at + c.len_utf8()..];
                    return Some(text);
                }
                c => text.push(c),
            }
        }
        None
    }

    fn spaces(&mut self) {
        self.rest = self.rest.trim_start();
    }

    fn filter(&mut self) -> Option<Filter> {
        let left = self.operand()?;
        self.spaces();
        let comparisons = [
            ("==", Comparison::Equal),
            ("!=", Comparison::NotEqual),
            ("<=", Comparison::LessOrEqual),
            (">=", Comparison::GreaterOrEqual),
            ("<", Comparison::Less),
            (">", Comparison::Greater),
        ];
        let found = comparisons.into_iter().find(|(token, _)| self.eat(token));
        let test = match found {
            Some((_, comparison)) => Some((comparison, self.operand()?)),
            None => None,
        };
        Some(Filter { left, test })
    }

    fn operand(&mut self) -> Option<Operand> {
        self.spaces();
        if self.eat("@") {
            return self.steps().map(|steps| Operand::Path(JsonPath(steps)));
        }
        if self.rest.starts_with(['\'', '"']) {
            return self.quoted().map(|text| Operand::Literal(text.into()));
        }
        let end = self.rest.find([')', ' ', '=', '!', '<', '>']).unwrap_or(self.rest.len());
        let (word, rest) = self.rest.split_at(end);
        let value: Value = serde_json::from_str(word).ok()?;
        self.rest = rest;
        Some(Operand::Literal(value))
    }
}

#[cfg(test)]
mod tests {
    use super::JsonPath;
    use serde_json::{Value, json};

    #[test]
    fn paths_find_what_kubectl_finds() {
        let object = json!({
            "metadata": {"labels": {"app.kubernetes.io/name": "x", "a": "b"}},
            "spec": {"list": [{"n": 1, "v": "one"}, {"n": 2, "v": "two"}], "deep": {"er": {"v": 7}}},
            "status": {"conditions": [{"type": "A", "status": "False"}, {"type": "Ready", "status": "True"}]},
        });
        for (path, wanted) in [
            (".spec.deep.er.v", json!(7)),
            (".metadata.labels.a", json!("b")),
            (r".metadata.labels.app\.kubernetes\.io/name", json!("x")),
            (".metadata.labels['app\\.kubernetes\\.io/name']", json!("x")),
            (".spec.list[0].v", json!("one")),
            (".spec.list[-1].v", json!("two")),
            (".spec.list[1:].v", json!("two")),
            (".spec.list[*].n", json!(1)),
            (".spec.list[1,0].n", json!(2)),
            (r#".status.conditions[?(@.type=="Ready")].status"#, json!("True")),
            (".status.conditions[?(@.type == 'A')].status", json!("False")),
            (".spec.list[?(@.n>1)].v", json!("two")),
            ("..er.v", json!(7)),
            (".spec.list[?(@.missing)].v", Value::Null),
            (".no.such", Value::Null),
            (".spec.list[5].v", Value::Null),
        ] {
            let parsed = JsonPath::parse(path).unwrap_or_else(|| panic!("{path}"));
            assert_eq!(parsed.first(&object).cloned().unwrap_or_default(), wanted, "{path}");
        }
    }

    #[test]
    fn what_is_no_path_is_refused() {
        for text in [".a[", ".a[?(@.b", ".a]", ".a['b", "a.b", ".a[x]", &".a".repeat(5000)] {
            assert_eq!(JsonPath::parse(text), None, "{text}");
        }
    }
}
