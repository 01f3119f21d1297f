//! The checker: names and overloads are resolved, types agree, costs are estimated, and what is left is a [`Node`].

use super::error::{CompileError, located};
use super::eval::{Loop, Node, Presence};
use super::library::calls;
use super::types::{Type, UNBOUNDED};
use super::value::Val;
use cel::IdedExpr;
use cel::common::ast::{
    ComprehensionExpr, EntryExpr, Expr, ListExpr, LiteralValue, MapExpr, SelectExpr, SourceInfo, operators,
};

/// Deepest tree that is evaluated.
pub const MAX_DEPTH: usize = 128;
/// Most errors that are told of one expression.
const MAX_ERRORS: usize = 20;

/// An expression that was checked.
pub struct Checked {
    pub node: Node,
    pub ty: Type,
    /// Units that evaluating it costs at most.
    pub cost: u64,
    pub depth: usize,
}

/// A variable in scope.
struct Variable {
    name: String,
    slot: usize,
    ty: Type,
}

pub struct Checker<'a> {
    source: &'a str,
    info: &'a SourceInfo,
    scope: Vec<Variable>,
    /// Which of the declared variables occur.
    pub used: Vec<bool>,
    /// Most variables that are in scope at once.
    pub slots: usize,
    errors: Vec<(u32, String)>,
    /// Whether lists and maps of mixed types are let be here.
    mix: Mix,
}

/// Whether lists and maps of mixed types are let be.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Mix {
    Refused,
    Allowed,
}

impl Checked {
    pub fn new(node: Node, ty: Type, cost: u64, depth: usize) -> Self {
        Self { node, ty, cost, depth }
    }

    /// What stands for an expression with an error: it agrees with everything.
    pub fn wrong() -> Self {
        Self::new(Node::Const(Val::Null), Type::Free, 0, 0)
    }
}

impl<'a> Checker<'a> {
    pub fn new(source: &'a str, info: &'a SourceInfo, variables: &[(String, Type)]) -> Self {
        let declare =
            |(slot, (name, ty)): (usize, &(String, Type))| Variable { name: name.clone(), slot, ty: ty.clone() };
        Self {
            source,
            info,
            scope: variables.iter().enumerate().map(declare).collect(),
            used: vec![false; variables.len()],
            slots: variables.len(),
            errors: Vec::new(),
            mix: Mix::Refused,
        }
    }

    /// # Errors
    /// Everything that is wrong, in the order of the text.
    pub fn check(&mut self, expr: &IdedExpr) -> Result<Checked, CompileError> {
        let checked = self.expr(expr);
        if checked.depth > MAX_DEPTH {
            self.error(expr.id, format!("expression recursion limit exceeded: {MAX_DEPTH}"));
        }
        if self.errors.is_empty() {
            return Ok(checked);
        }
        self.errors.sort();
        self.errors.dedup();
        let texts = self.errors.iter().take(MAX_ERRORS).map(|(start, text)| self.place(*start, text));
        Err(CompileError(texts.collect::<Vec<_>>().join("\n")))
    }

    fn place(&self, start: u32, text: &str) -> String {
        let before: String = self.source.chars().take(usize::try_from(start).unwrap_or_default()).collect();
        let line = before.matches('\n').count() + 1;
        let column = before.rsplit('\n').next().map_or(0, |line| line.chars().count());
        located(self.source, line, column, text)
    }

    pub fn error(&mut self, id: u64, text: String) -> Checked {
        let start = self.info.offset_for(id).map_or(0, |(start, _)| start);
        self.errors.push((start, text));
        Checked::wrong()
    }

    pub fn undeclared(&mut self, id: u64, name: &str) -> Checked {
        self.error(id, format!("undeclared reference to '{name}' (in container '')"))
    }

    pub fn is_variable(&self, name: &str) -> bool {
        self.scope.iter().any(|variable| variable.name == name)
    }

    pub fn expr(&mut self, expr: &IdedExpr) -> Checked {
        match &expr.expr {
            Expr::Unspecified => self.error(expr.id, "unexpected expression".into()),
            Expr::Literal(literal) => constant(literal),
            Expr::Ident(name) => self.ident(expr.id, name),
            Expr::Select(select) => self.select(expr.id, select),
            Expr::Call(call) => calls::check(self, expr.id, call),
            Expr::List(list) => self.list(list),
            Expr::Map(map) => self.map(map),
            Expr::Struct(it) => self.undeclared(expr.id, &it.type_name),
            Expr::Comprehension(it) => self.comprehension(it),
        }
    }

    fn ident(&mut self, id: u64, name: &str) -> Checked {
        let name = name.trim_start_matches('.');
        if let Some(variable) = self.scope.iter().rev().find(|variable| variable.name == name) {
            if let Some(used) = self.used.get_mut(variable.slot) {
                *used = true;
            }
            return Checked::new(Node::Slot(variable.slot), variable.ty.clone(), 1, 1);
        }
        match type_constant(name) {
            Some(name) => Checked::new(Node::Const(Val::Type(super::value::Text::Borrowed(name))), Type::Type, 1, 1),
            None => self.undeclared(id, name),
        }
    }

    fn select(&mut self, id: u64, select: &SelectExpr) -> Checked {
        if let Some(name) = qualified(&select.operand).map(|root| format!("{root}.{}", select.field))
            && !select.test
            && (type_constant(&name).is_some() || self.is_variable(&name))
        {
            return self.ident(id, &name);
        }
        let operand = self.expr(&select.operand);
        let Some(ty) = self.field_type(id, &operand.ty, &select.field) else { return Checked::wrong() };
        let (node, field) = (Box::new(operand.node), select.field.as_str().into());
        let depth = operand.depth + 1;
        if select.test {
            return Checked::new(Node::Has(node, field), Type::Bool, operand.cost, depth);
        }
        let ty = if matches!(operand.ty, Type::Optional(_)) { Type::optional(ty) } else { ty };
        Checked::new(Node::Select(node, field), ty, operand.cost.saturating_add(1), depth)
    }

    /// The type of a field of a value of type `of`; optionals are looked through.
    pub fn field_type(&mut self, id: u64, of: &Type, field: &str) -> Option<Type> {
        match of {
            Type::Dyn | Type::Free => Some(of.clone()),
            Type::Map(map) if map.key.agrees(&Type::String(0)) => Some(map.value.clone()),
            Type::Object(object) => match object.field(field) {
                Some(field) => Some(field.ty.clone()),
                None => {
                    self.error(id, format!("undefined field '{field}'"));
                    None
                }
            },
            Type::Optional(inner) => self.field_type(id, inner, field),
            other => {
                self.error(id, format!("type '{other}' does not support field selection"));
                None
            }
        }
    }

    /// The common type of items; an error where they have none.
    fn joined(&mut self, id: u64, known: Option<Type>, found: &Type) -> Type {
        match known {
            None => found.clone(),
            Some(known) if known.agrees(found) => known.join(found),
            Some(known) => {
                if self.mix == Mix::Refused {
                    self.error(id, format!("expected type '{known}' but found '{found}'"));
                }
                Type::Dyn
            }
        }
    }

    /// The type of an item that may be absent.
    fn unwrapped(&mut self, id: u64, ty: Type) -> Type {
        match ty {
            Type::Optional(inner) => Type::clone(&inner),
            ty if ty.is_dyn() => ty,
            ty => {
                self.error(id, format!("expected type 'optional_type({ty})' but found '{ty}'"));
                Type::Free
            }
        }
    }

    /// An expression, in which lists and maps may be of mixed types: what `format` prints.
    pub fn mixed(&mut self, expr: &IdedExpr) -> Checked {
        let before = std::mem::replace(&mut self.mix, Mix::Allowed);
        let checked = self.expr(expr);
        self.mix = before;
        checked
    }

    fn list(&mut self, list: &ListExpr) -> Checked {
        let (mut ty, mut cost, mut depth) = (None, 10_u64, 0);
        let mut items = Vec::with_capacity(list.elements.len());
        for (at, item) in list.elements.iter().enumerate() {
            let checked = self.expr(item);
            let optional = list.optional_indices.contains(&at);
            let presence = if optional { Presence::WithValue } else { Presence::Always };
            let found = if optional { self.unwrapped(item.id, checked.ty) } else { checked.ty };
            ty = Some(self.joined(item.id, ty, &found));
            cost = cost.saturating_add(checked.cost);
            depth = depth.max(checked.depth);
            items.push((checked.node, presence));
        }
        let ty = Type::list(ty.unwrap_or(Type::Free), items.len() as u64);
        Checked::new(Node::List(items.into()), ty, cost, depth + 1)
    }

    fn map(&mut self, map: &MapExpr) -> Checked {
        let (mut keys, mut values, mut cost, mut depth) = (None, None, 30_u64, 0);
        let mut entries = Vec::with_capacity(map.entries.len());
        for entry in &map.entries {
            let EntryExpr::MapEntry(it) = &entry.expr else { continue };
            let (key, value) = (self.expr(&it.key), self.expr(&it.value));
            let presence = if it.optional { Presence::WithValue } else { Presence::Always };
            let found = if it.optional { self.unwrapped(it.value.id, value.ty) } else { value.ty };
            keys = Some(self.joined(it.key.id, keys, &key.ty));
            values = Some(self.joined(it.value.id, values, &found));
            cost = cost.saturating_add(key.cost).saturating_add(value.cost);
            depth = depth.max(key.depth).max(value.depth);
            entries.push((key.node, value.node, presence));
        }
        let ty = Type::map(keys.unwrap_or(Type::Free), values.unwrap_or(Type::Free), entries.len() as u64);
        Checked::new(Node::Map(entries.into()), ty, cost, depth + 1)
    }

    fn declare(&mut self, name: &str, ty: Type) -> usize {
        // Below the declared variables every place in scope is a slot of its own.
        let slot = self.scope.len();
        self.scope.push(Variable { name: name.to_owned(), slot, ty });
        self.slots = self.slots.max(self.scope.len());
        slot
    }

    fn comprehension(&mut self, it: &ComprehensionExpr) -> Checked {
        let range = self.expr(&it.iter_range);
        let init = self.expr(&it.accu_init);
        let index = |list: &super::types::ListType| match it.iter_var2 {
            None => (list.item.clone(), Type::Dyn),
            Some(_) => (Type::Int, list.item.clone()),
        };
        let (first, second) = match &range.ty {
            Type::List(list) => index(list),
            Type::Map(map) => (map.key.clone(), map.value.clone()),
            ty if ty.is_dyn() => (Type::Dyn, Type::Dyn),
            other => {
                let text = format!(
                    "expression of type '{other}' cannot be range of a comprehension (must be list, map, or dynamic)"
                );
                return self.error(it.iter_range.id, text);
            }
        };
        let outer = self.scope.len();
        let accu = self.declare(&it.accu_var, init.ty.clone());
        let condition = self.expr(&it.loop_cond);
        let var = self.declare(&it.iter_var, first);
        let var2 = it.iter_var2.as_ref().map(|name| self.declare(name, second));
        let step = self.step(&it.loop_step, accu);
        self.scope.truncate(accu);
        let rounds = range.ty.size();
        let collected = match init.ty.join(&step.ty) {
            ty @ (Type::List(_) | Type::Map(_)) => ty.sized(rounds),
            ty => ty,
        };
        if !init.ty.agrees(&step.ty) {
            let text = format!("expected type '{}' but found '{}'", init.ty, step.ty);
            self.error(it.loop_step.id, text);
        }
        self.declare(&it.accu_var, collected);
        let result = self.expr(&it.result);
        self.scope.truncate(outer);
        let round = step.cost.saturating_add(condition.cost);
        let cost = range.cost.saturating_add(init.cost).saturating_add(result.cost);
        let depth = [range.depth, init.depth, condition.depth, step.depth, result.depth].into_iter().max();
        let always = matches!(condition.node, Node::Const(Val::Bool(true)));
        let ty = result.ty;
        let made = Loop {
            range: range.node,
            var,
            var2,
            accu,
            init: init.node,
            condition: (!always).then_some(condition.node),
            step: step.node,
            result: result.node,
        };
        let cost = cost.saturating_add(rounds.saturating_mul(round));
        Checked::new(Node::Loop(Box::new(made)), ty, cost, depth.unwrap_or_default() + 2)
    }

    /// The step of a loop. What adds to the accumulator does so in place.
    fn step(&mut self, expr: &IdedExpr, accu: usize) -> Checked {
        let Expr::Call(call) = &expr.expr else { return self.expr(expr) };
        let is_accu = |expr: &IdedExpr| matches!(&expr.expr, Expr::Ident(name) if name == "@result");
        match (call.func_name.as_str(), call.args.as_slice()) {
            (operators::ADD, [so_far, item]) if is_accu(so_far) => {
                let Expr::List(list) = &item.expr else { return self.expr(expr) };
                let ([item], true) = (list.elements.as_slice(), list.optional_indices.is_empty()) else {
                    return self.expr(expr);
                };
                let item = self.expr(item);
                let ty = Type::list(item.ty, UNBOUNDED);
                Checked::new(Node::Append(accu, Box::new(item.node)), ty, item.cost.saturating_add(12), item.depth + 1)
            }
            (operators::CONDITIONAL, [condition, then, otherwise]) if is_accu(otherwise) => {
                let condition = self.expr(condition);
                if !condition.ty.agrees(&Type::Bool) {
                    let text =
                        format!("found no matching overload for '_?_:_' applied to '({}, dyn, dyn)'", condition.ty);
                    return self.error(expr.id, text);
                }
                let (then, otherwise) = (self.step(then, accu), self.expr(otherwise));
                let cost = condition.cost.saturating_add(then.cost.max(otherwise.cost));
                let depth = condition.depth.max(then.depth) + 1;
                let ty = otherwise.ty.join(&then.ty);
                let node = Node::Cond(Box::new([condition.node, then.node, otherwise.node]));
                Checked::new(node, ty, cost, depth)
            }
            (super::macros::INSERT | super::macros::MERGE, [so_far, rest @ ..]) if is_accu(so_far) => {
                let parts: Vec<Checked> = rest.iter().map(|part| self.expr(part)).collect();
                let ty = match parts.as_slice() {
                    [key, value] => Type::map(key.ty.clone(), value.ty.clone(), UNBOUNDED),
                    [map] => map.ty.clone(),
                    _ => Type::Dyn,
                };
                let cost = parts.iter().fold(32, |sum: u64, part| sum.saturating_add(part.cost));
                let depth = parts.iter().map(|part| part.depth).max().unwrap_or_default() + 1;
                Checked::new(Node::Insert(accu, parts.into_iter().map(|part| part.node).collect()), ty, cost, depth)
            }
            _ => self.expr(expr),
        }
    }
}

fn constant(literal: &LiteralValue) -> Checked {
    let (value, ty) = match literal {
        LiteralValue::Null => (Val::Null, Type::Null),
        LiteralValue::Boolean(it) => (Val::Bool(*it.inner()), Type::Bool),
        LiteralValue::Int(it) => (Val::Int(*it.inner()), Type::Int),
        LiteralValue::UInt(it) => (Val::Uint(*it.inner()), Type::Uint),
        LiteralValue::Double(it) => (Val::Double(*it.inner()), Type::Double),
        LiteralValue::String(it) => (Val::from(it.inner().to_owned()), Type::String(it.inner().len() as u64)),
        LiteralValue::Bytes(it) => (Val::Bytes(it.inner().into()), Type::Bytes(it.inner().len() as u64)),
    };
    Checked::new(Node::Const(value), ty, 0, 1)
}

/// `a.b.c` of a chain of names.
pub fn qualified(expr: &IdedExpr) -> Option<String> {
    match &expr.expr {
        Expr::Ident(name) => Some(name.trim_start_matches('.').to_owned()),
        Expr::Select(select) if !select.test => Some(format!("{}.{}", qualified(&select.operand)?, select.field)),
        _ => None,
    }
}

/// The names of types, as values.
fn type_constant(name: &str) -> Option<&'static str> {
    const NAMES: &[&str] = &[
        "bool",
        "bytes",
        "double",
        "int",
        "list",
        "map",
        "null_type",
        "string",
        "type",
        "uint",
        "optional_type",
        "google.protobuf.Duration",
        "google.protobuf.Timestamp",
        "net.IP",
        "net.CIDR",
        "kubernetes.URL",
        "kubernetes.Quantity",
        "kubernetes.Semver",
    ];
    NAMES.iter().find(|known| **known == name).copied()
}
