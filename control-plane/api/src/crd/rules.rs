//! The seam to CEL: `x-kubernetes-validations` of a CRD's schema nodes.
//!
//! - [`Totals::check`] at creation and update of a CRD, once for each node with rules, after the schema was found
//!   structural: compiles, estimates the cost, and answers what is wrong, with paths below `site.path`;
//! - [`Programs::of`] when a schema is built to be used: keeps the rules; they are compiled when the first object of the
//!   CRD reaches them;
//! - [`Programs::evaluate`] for every written object.

pub(super) mod field_path;
#[cfg(test)]
mod tests;

use super::internal;
use crate::cel::decl::{self, MAX_REQUEST, Root};
use crate::cel::{CompileError, Declared, Fault, PER_CALL_LIMIT, Program, Type, Val};
use crate::field::{self, Error, Path};
use serde_json::{Map, Value};
use std::ops::ControlFlow;
use std::sync::{Arc, OnceLock};

/// Units that one rule may be estimated to cost, over all values that it judges (`StaticEstimatedCostLimit`).
const RULE_LIMIT: u64 = 10_000_000;
/// Units that all rules of a schema may be estimated to cost (`StaticEstimatedCRDCostLimit`).
const SCHEMA_LIMIT: u64 = 100_000_000;
/// Dearest expressions that are told of where a schema exceeds its limit.
const MAX_BLAMED: usize = 4;
/// Most rules of one schema: what compiling them may take altogether.
const MAX_RULES: usize = 4_096;
/// Most schema nodes that the types of all rules are made from: a node counts once for each node above it with rules.
const MAX_NODES: usize = 300_000;
/// Longest text of a `messageExpression`, in bytes.
const MAX_MESSAGE: usize = 5 * 1024;

/// Where rules stand.
pub struct Site<'a> {
    /// The schema node as its author wrote it.
    pub node: &'a Value,
    pub role: Role,
    /// The path of the first node above that cannot be correlated between two revisions of an object: `oldSelf` is
    /// forbidden below it.
    pub uncorrelatable: Option<String>,
    /// Most values that the node stands for in one object: the product of `maxItems` and `maxProperties` above it; None
    /// where one of these is not limited.
    pub cardinality: Option<u64>,
    /// The rules' own path: `….x-kubernetes-validations` is a child of it.
    pub path: &'a Path<'a>,
}

/// What the values of a node are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// The root, or `x-kubernetes-embedded-resource`: `self` has `apiVersion`, `kind`, `metadata.name` and `generateName`.
    Resource,
    Value,
}

impl Role {
    const fn root(self) -> Root {
        match self {
            Self::Resource => Root::Resource,
            Self::Value => Root::Value,
        }
    }
}

/// What the rules of a whole schema cost.
#[derive(Default)]
pub struct Totals {
    cost: u64,
    rules: usize,
    nodes: usize,
    /// The dearest, with their paths.
    dearest: Vec<(u64, String)>,
}

impl Totals {
    fn observe(&mut self, path: &Path<'_>, cost: u64) {
        self.cost = self.cost.saturating_add(cost);
        let at = self.dearest.partition_point(|(other, _)| *other >= cost);
        // What is less than a hundredth of the limit is not to blame.
        if cost >= SCHEMA_LIMIT / 100 && at < MAX_BLAMED {
            self.dearest.insert(at, (cost, path.to_string()));
            self.dearest.truncate(MAX_BLAMED);
        }
    }

    /// Compiles the rules of one node to see what is wrong with them.
    pub fn check(&mut self, site: &Site<'_>, errors: &mut Vec<Error>) {
        let Some(node) = site.node.as_object() else { return };
        let list = site.path.child("x-kubernetes-validations");
        let Some(decl) = decl::of_schema(node, site.role.root()) else {
            let detail = "internal error: failed to construct type information for x-kubernetes-validations rules: unable to convert structural schema to CEL declarations";
            errors.push(Error {
                kind: field::Type::Internal,
                value: None,
                ..Error::invalid(&list, Value::Null, detail)
            });
            return;
        };
        self.nodes += decl.nodes;
        if self.nodes > MAX_NODES {
            let detail = "validation rules stand on too large parts of the schema";
            errors.push(Error::forbidden(&list, detail));
            return;
        }
        let times = site.cardinality.unwrap_or(MAX_REQUEST / (decl.least + 1));
        let rules = node.get("x-kubernetes-validations").and_then(Value::as_array).into_iter().flatten();
        for (index, (written, source)) in rules.zip(sources(node)).enumerate() {
            self.rules += 1;
            if self.rules > MAX_RULES {
                let detail = format!("too many validation rules: a schema may have at most {MAX_RULES}");
                errors.push(Error::forbidden(&list.index(index), detail));
                return;
            }
            self.rule(site, (written, &source), (&decl.ty, times), &list.index(index), errors);
        }
    }

    fn rule(
        &mut self,
        site: &Site<'_>,
        (written, source): (&Value, &Source),
        (ty, times): (&Type, u64),
        at: &Path<'_>,
        errors: &mut Vec<Error>,
    ) {
        if source.rule.trim().is_empty() {
            return;
        }
        let (rule_at, message_at) = (at.child("rule"), at.child("messageExpression"));
        let declared = source.declared(ty);
        let wrong = |path: &Path<'_>, detail: String| internal::invalid(path, &internal::rule(written), &detail);
        match compile(&source.rule, &declared, &Type::Bool, OF_RULE) {
            Err(detail) => {
                errors.push(wrong(&rule_at, detail));
                useless_optional(source, at, errors);
            }
            Ok(program) => {
                let cost = program.cost().saturating_mul(times);
                if cost > RULE_LIMIT {
                    errors.push(Error::forbidden(&rule_at, exceeds("estimated rule cost", cost, RULE_LIMIT)));
                }
                self.observe(&rule_at, cost);
                if !source.message_expression.trim().is_empty() {
                    match message_program(source, &declared) {
                        Err(detail) => errors.push(wrong(&message_at, detail)),
                        Ok(message) => {
                            if message.cost() > RULE_LIMIT {
                                let detail = exceeds("estimated messageExpression cost", message.cost(), RULE_LIMIT);
                                errors.push(Error::forbidden(&message_at, detail));
                            }
                            self.observe(&message_at, message.cost());
                        }
                    }
                }
                if let Some(path) = site.uncorrelatable.as_ref().filter(|_| program.uses("oldSelf")) {
                    let detail =
                        format!("oldSelf cannot be used on the uncorrelatable portion of the schema within {path}");
                    errors.push(Error::invalid(&rule_at, source.rule.as_str(), detail));
                } else if !program.uses("oldSelf") {
                    useless_optional(source, at, errors);
                }
            }
        }
    }

    /// Whether any rule was found.
    #[must_use]
    pub const fn has_rules(&self) -> bool {
        self.rules > 0
    }

    /// What is wrong with all rules together. `path`: the schema's.
    pub fn conclude(self, path: &Path<'_>, errors: &mut Vec<Error>) {
        if self.cost <= SCHEMA_LIMIT {
            return;
        }
        for (_, field) in self.dearest {
            let detail = "contributed to estimated rule cost total exceeding cost limit for entire OpenAPIv3 schema";
            errors.push(Error { field, ..Error::forbidden(path, detail) });
        }
        let what = "x-kubernetes-validations estimated rule cost total for entire OpenAPIv3 schema";
        errors.push(Error::forbidden(path, exceeds(what, self.cost, SCHEMA_LIMIT)));
    }
}

fn useless_optional(source: &Source, at: &Path<'_>, errors: &mut Vec<Error>) {
    if let Some(optional) = source.optional_old_self {
        let detail = "may not be set if oldSelf is not used in rule";
        errors.push(Error::invalid(&at.child("optionalOldSelf"), optional, detail));
    }
}

fn exceeds(what: &str, cost: u64, limit: u64) -> String {
    let factor = cost as f64 / limit as f64;
    let factor = match factor {
        factor if factor > 100.0 => "more than 100x".to_owned(),
        // A limit that is hardly exceeded does not read as one that is kept.
        factor if factor < 1.5 => format!("{factor:.6}x"),
        factor => format!("{factor:.1}x"),
    };
    format!(
        "{what} exceeds budget by factor of {factor} (try simplifying the rule, or adding maxItems, maxProperties, and maxLength where arrays, maps, and strings are declared)"
    )
}

/// One of the rules as its author wrote it.
#[derive(Clone, Debug, Default)]
struct Source {
    rule: String,
    message: String,
    message_expression: String,
    reason: Option<String>,
    field_path: String,
    optional_old_self: Option<bool>,
}

fn sources(node: &Map<String, Value>) -> impl Iterator<Item = Source> {
    let rules = node.get("x-kubernetes-validations").and_then(Value::as_array).into_iter().flatten();
    rules.map(|rule| {
        let text = |name: &str| rule.get(name).and_then(Value::as_str).map(str::to_owned);
        Source {
            rule: text("rule").unwrap_or_default(),
            message: text("message").unwrap_or_default(),
            message_expression: text("messageExpression").unwrap_or_default(),
            reason: text("reason"),
            field_path: text("fieldPath").unwrap_or_default(),
            optional_old_self: rule.get("optionalOldSelf").and_then(Value::as_bool),
        }
    })
}

impl Source {
    fn declared(&self, ty: &Type) -> Declared {
        let old = if self.optional_old_self == Some(true) { Type::optional(ty.clone()) } else { ty.clone() };
        Declared::new().with("self", ty.clone()).with("oldSelf", old)
    }

    /// How messages name the rule.
    fn shown(&self) -> &str {
        if self.message.is_empty() { self.rule.trim() } else { self.message.trim() }
    }

    fn default_message(&self) -> String {
        if self.message.is_empty() { format!("failed rule: {}", self.shown()) } else { self.message.trim().to_owned() }
    }
}

/// What is said of a rule that is wrong, of one that cannot be run, and of one of another type.
const OF_RULE: [&str; 3] =
    ["compilation failed", "program instantiation failed", "cel expression must evaluate to a bool"];
const OF_MESSAGE: [&str; 3] = [
    "messageExpression compilation failed",
    "messageExpression instantiation failed",
    "messageExpression must evaluate to a string",
];

/// A program whose result is of the wanted type.
fn compile(
    source: &str,
    declared: &Declared,
    wanted: &Type,
    [failed, broken, mistyped]: [&str; 3],
) -> Result<Program, String> {
    let program = Program::compile(source, declared).map_err(|error| match error {
        CompileError::Source(why) => format!("{failed}: {why}"),
        CompileError::Program(why) => format!("{broken}: {why}"),
    })?;
    let fits = std::mem::discriminant(program.ty()) == std::mem::discriminant(wanted);
    if fits { Ok(program) } else { Err(mistyped.to_owned()) }
}

fn message_program(source: &Source, declared: &Declared) -> Result<Program, String> {
    compile(&source.message_expression, declared, &Type::String(0), OF_MESSAGE)
}

/// The rules of one node.
#[derive(Clone, Debug)]
pub struct Programs(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    ty: Option<Type>,
    /// The node's `type`, which stands for the bad value in messages.
    kind: Box<str>,
    sources: Box<[Source]>,
    /// The `fieldPath`s as messages have them.
    field_paths: Box<[Option<String>]>,
    compiled: OnceLock<Box<[Result<Compiled, String>]>>,
}

#[derive(Debug)]
struct Compiled {
    rule: Program,
    message: Option<Program>,
    /// A transition rule.
    uses_old: bool,
}

impl Programs {
    /// The rules of a node that [`Totals::check`] has accepted; None where it has none.
    #[must_use]
    pub fn of(node: &Map<String, Value>, role: Role) -> Option<Self> {
        let sources: Box<[Source]> = sources(node).filter(|source| !source.rule.trim().is_empty()).collect();
        if sources.is_empty() {
            return None;
        }
        let whole = Value::Object(node.clone());
        let path = |source: &Source| {
            (!source.field_path.is_empty()).then(|| field_path::read(&source.field_path, &whole).ok()).flatten()
        };
        Some(Self(Arc::new(Inner {
            ty: decl::of_schema(node, role.root()).map(|decl| decl.ty),
            kind: node.get("type").and_then(Value::as_str).unwrap_or_default().into(),
            field_paths: sources.iter().map(path).collect(),
            sources,
            compiled: OnceLock::new(),
        })))
    }

    /// Judges one value; what it breaks goes to `errors`, with paths at or below `path`. `budget` is what is left of
    /// the cost that the rules of one object may have altogether; Break: nothing is.
    ///
    /// A rule that a value broke before and that is no transition rule it may break on, with a warning. A rule that cannot be
    /// evaluated is an error either way.
    pub fn evaluate(&self, judged: &Judged<'_>, path: &Path<'_>, budget: &mut u64, told: &mut Told) -> ControlFlow<()> {
        let compiled = self.0.compiled.get_or_init(|| self.0.compile());
        for (index, compiled) in compiled.iter().enumerate() {
            let Some(source) = self.0.sources.get(index) else { break };
            match compiled {
                Err(text) => told.errors.push(self.0.invalid(path, format!("rule compile error: {text}"))),
                Ok(compiled) => self.0.one(compiled, (index, source), judged, path, budget, told)?,
            }
        }
        ControlFlow::Continue(())
    }
}

/// What rules say.
#[derive(Debug, Default)]
pub struct Told {
    pub errors: Vec<Error>,
    pub warnings: Vec<String>,
}

/// A value and what it replaces.
#[derive(Clone, Copy)]
pub struct Judged<'a> {
    pub this: &'a Value,
    /// None at creation, and where the two cannot be correlated.
    pub old: Option<&'a Value>,
    pub change: Change,
}

/// Whether a value, or the nearest one around it that can be correlated, is what it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    Changed,
    Same,
    /// The object as a whole, which Kubernetes never takes to be what it was: not everything in `metadata` has a schema.
    Root,
}

impl Inner {
    fn compile(&self) -> Box<[Result<Compiled, String>]> {
        let one = |source: &Source| {
            let ty = self.ty.as_ref().ok_or("rule declared on schema that does not support validation rules")?;
            let declared = source.declared(ty);
            let rule = compile(&source.rule, &declared, &Type::Bool, OF_RULE)?;
            let has_message = !source.message_expression.trim().is_empty();
            let message = if has_message { Some(message_program(source, &declared)?) } else { None };
            Ok(Compiled { uses_old: rule.uses("oldSelf"), rule, message })
        };
        self.sources.iter().map(one).collect()
    }

    fn invalid(&self, path: &Path<'_>, detail: impl Into<String>) -> Error {
        rooted(Error::invalid(path, &*self.kind, detail))
    }

    fn one(
        &self,
        compiled: &Compiled,
        (index, source): (usize, &Source),
        judged: &Judged<'_>,
        path: &Path<'_>,
        budget: &mut u64,
        told: &mut Told,
    ) -> ControlFlow<()> {
        let optional = source.optional_old_self == Some(true);
        if compiled.uses_old && judged.old.is_none() && !optional {
            return ControlFlow::Continue(());
        }
        let errors = &mut told.errors;
        let inputs = [("self", judged.this), ("oldSelf", judged.old.unwrap_or(judged.this))];
        let inputs = if judged.old.is_some() { &inputs[..] } else { &inputs[..1] };
        let allowed = PER_CALL_LIMIT.min(*budget);
        let mut left = allowed;
        let outcome = compiled.rule.holds(inputs, &mut left);
        *budget -= allowed - left;
        match outcome {
            Ok(true) => return ControlFlow::Continue(()),
            Ok(false) => {}
            Err(Fault::Budget) => {
                errors.push(self.exhausted(allowed, source, path));
                return ControlFlow::Break(());
            }
            Err(Fault::Error(text)) => {
                let shown = source.shown();
                let detail = if text.starts_with("no such overload") {
                    format!(
                        "'{text}': call arguments did not match a supported operator, function or macro signature for rule: {shown}"
                    )
                } else {
                    format!("{text} evaluating rule: {shown}")
                };
                errors.push(self.invalid(path, detail));
                return ControlFlow::Continue(());
            }
        }
        let detail = match compiled.message.as_ref().map(|message| said(message, inputs, budget)) {
            Some(Ok(text)) => text,
            Some(Err(Fault::Budget)) => {
                let detail = "messageExpression evaluation failed due to running out of cost budget, no further validation rules will be run";
                errors.push(self.invalid(path, detail));
                return ControlFlow::Break(());
            }
            Some(Err(_)) | None => source.default_message(),
        };
        let place = self.field_paths.get(index).and_then(Option::as_deref).map(|name| path.child(name));
        let place = place.as_ref().unwrap_or(path);
        // Of objects and lists, which may be large, the message shows nothing.
        let whole = matches!(&*self.kind, "object" | "array");
        let value = (!whole).then(|| judged.this.clone());
        let error = rooted(match source.reason.as_deref() {
            Some("FieldValueForbidden") => Error::forbidden(place, detail),
            Some("FieldValueRequired") => Error::required(place, detail),
            Some("FieldValueDuplicate") => Error { value, ..Error::duplicate(place, Value::Null) },
            _ => Error { value, ..Error::invalid(place, Value::Null, detail) },
        });
        if !compiled.uses_old && judged.change == Change::Same {
            told.warnings.push(error.to_string());
        } else {
            told.errors.push(error);
        }
        ControlFlow::Continue(())
    }

    fn exhausted(&self, allowed: u64, source: &Source, path: &Path<'_>) -> Error {
        if allowed < PER_CALL_LIMIT {
            let detail = "validation failed due to running out of cost budget, no further validation rules will be run";
            return self.invalid(path, detail);
        }
        let detail = format!(
            "'{}': no further validation rules will be run due to call cost exceeds limit for rule: {}",
            Fault::Budget,
            source.shown()
        );
        self.invalid(path, detail)
    }
}

/// An error of the object as a whole has no path, which Kubernetes prints as Go prints nothing.
fn rooted(mut error: Error) -> Error {
    if error.field.is_empty() {
        error.field = "<nil>".into();
    }
    error
}

/// What a `messageExpression` says; an error where that is no message.
fn said(message: &Program, inputs: &[(&str, &Value)], budget: &mut u64) -> Result<String, Fault> {
    let allowed = PER_CALL_LIMIT.min(*budget);
    let mut left = allowed;
    let said = message.evaluate(inputs, &mut left);
    *budget -= allowed - left;
    let no_message = || Fault::Error("messageExpression failed to convert to string".into());
    match said? {
        Val::Text(text) => {
            let text = text.as_str().trim();
            let fits = !text.is_empty() && text.len() <= MAX_MESSAGE && !text.contains('\n');
            if fits { Ok(text.to_owned()) } else { Err(no_message()) }
        }
        _ => Err(no_message()),
    }
}
