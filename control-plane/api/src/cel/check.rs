//! The checker: names and overloads are resolved, types agree, costs are estimated, and what is left is a [`Node`].

use super::checked::{Checked, Entry, Holder, Place};
use super::error::{CompileError, located};
use super::eval::{Loop, Node, Presence};
use super::library::calls;
use super::types::{Type, UNBOUNDED, type_constant};
use super::value::{Key, Map, Val};
use cel::IdedExpr;
use cel::common::ast::{
    ComprehensionExpr, EntryExpr, Expr, ListExpr, LiteralValue, MapExpr, SelectExpr, SourceInfo, operators,
};

/// Deepest tree that is evaluated.
pub const MAX_DEPTH: usize = 128;
/// The accumulator of macros: no source text can name it.
const RESULT: &str = "@result";
/// Most errors that are told of one expression.
const MAX_ERRORS: usize = 20;

/// A variable in scope.
struct Variable {
    name: String,
    slot: usize,
    ty: Type,
    place: Place,
    size: Option<u64>,
    entry: Option<Entry>,
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
    /// Why no program can be made of an expression that is right otherwise.
    broken: Option<String>,
    /// The type of `self`: where Kubernetes' estimates look for what they know no place of.
    root: Type,
    /// Whether lists and maps of mixed types are let be here.
    mix: Mix,
    /// Types of the items of such lists, by their expressions.
    items: Vec<(u64, Type)>,
}

/// Whether lists and maps of mixed types are let be.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Mix {
    Refused,
    Allowed,
}

impl<'a> Checker<'a> {
    pub fn new(source: &'a str, info: &'a SourceInfo, variables: &[(String, Type)]) -> Self {
        let root = match variables.first() {
            Some((_, ty)) => ty.clone(),
            None => Type::Dyn,
        };
        let declare = |(slot, (name, ty)): (usize, &(String, Type))| Variable {
            name: name.clone(),
            slot,
            ty: ty.clone(),
            place: Place::At(root.clone()),
            size: None,
            entry: None,
        };
        Self {
            source,
            info,
            scope: variables.iter().enumerate().map(declare).collect(),
            used: vec![false; variables.len()],
            slots: variables.len(),
            errors: Vec::new(),
            broken: None,
            root: root.clone(),
            mix: Mix::Refused,
            items: Vec::new(),
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
            return self.broken.take().map_or(Ok(checked), |why| Err(CompileError::Program(why)));
        }
        self.errors.sort();
        self.errors.dedup();
        let texts = self.errors.iter().take(MAX_ERRORS).map(|(start, text)| self.place(*start, text));
        Err(CompileError::Source(texts.collect::<Vec<_>>().join("\n")))
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

    /// No program can be made of the expression.
    pub fn breaks(&mut self, why: String) -> Checked {
        self.broken.get_or_insert(why);
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
            let found = Checked::new(Node::Slot(variable.slot), variable.ty.clone(), 1, 1);
            let size = found.size.or(variable.size);
            return found.sized(size).at(variable.place.clone()).holding(variable.entry);
        }
        match type_constant(name) {
            Some(name) => {
                let node = Node::Const(Val::Type(super::value::Text::Borrowed(name)));
                Checked::new(node, Type::Type, 1, 1).at(Place::At(self.root.clone()))
            }
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
        let is_free = matches!(operand.ty, Type::Optional(_) | Type::Dyn | Type::IntOrString(_));
        let cost = operand.cost.saturating_add(u64::from(!is_free));
        let ty = if matches!(operand.ty, Type::Optional(_)) { Type::optional(ty) } else { ty };
        let place = self.below(&operand.place, |place| place.field(&select.field));
        Checked::new(Node::Select(node, field), ty, cost, depth).at(place)
    }

    /// The place below another one. What has none is looked for at the root, as in Kubernetes.
    pub fn below(&self, place: &Place, step: impl FnOnce(&Place) -> Place) -> Place {
        if matches!(place, Place::None) { Place::At(self.root.clone()) } else { step(place) }
    }

    /// The type of a field of a value of type `of`; optionals are looked through.
    pub fn field_type(&mut self, id: u64, of: &Type, field: &str) -> Option<Type> {
        match of {
            Type::Dyn | Type::IntOrString(_) | Type::Free => Some(Type::Dyn),
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
            // `dyn` is a type of its own beside others.
            Some(known) if known.agrees(found) && (self.mix == Mix::Allowed || known.is_open() == found.is_open()) => {
                known.join(found)
            }
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

    /// The type of an item of a list of mixed types.
    pub fn type_of(&self, item: u64) -> Option<&Type> {
        self.items.iter().rev().find(|(id, _)| *id == item).map(|(_, ty)| ty)
    }

    fn list(&mut self, list: &ListExpr) -> Checked {
        let (mut ty, mut cost, mut depth, mut value) = (None, 10_u64, 0, 0);
        let mut items = Vec::with_capacity(list.elements.len());
        for (at, item) in list.elements.iter().enumerate() {
            let checked = self.expr(item);
            let optional = list.optional_indices.contains(&at);
            let presence = if optional { Presence::WithValue } else { Presence::Always };
            value = value.max(checked.size());
            let found = if optional { self.unwrapped(item.id, checked.ty) } else { checked.ty };
            if self.mix == Mix::Allowed {
                self.items.push((item.id, found.clone()));
            }
            ty = Some(self.joined(item.id, ty, &found));
            cost = cost.saturating_add(checked.cost);
            depth = depth.max(checked.depth);
            items.push((checked.node, presence));
        }
        let size = items.len() as u64;
        let ty = Type::list(ty.unwrap_or(Type::Free), size);
        let constants = items.iter().map(|(node, presence)| match (node, presence) {
            (Node::Const(value), Presence::Always) => Some(value.clone()),
            _ => None,
        });
        let node = match constants.collect::<Option<Vec<_>>>() {
            Some(values) => Node::Const(values.into()),
            None => Node::List(items.into()),
        };
        let entry = Entry { kind: Holder::List, key: 1, value };
        Checked::new(node, ty, cost, depth + 1).sized(Some(size)).holding(Some(entry))
    }

    fn map(&mut self, map: &MapExpr) -> Checked {
        let (mut keys, mut values, mut cost, mut depth) = (None, None, 30_u64, 0);
        let (mut key_size, mut value_size) = (0, 0);
        let mut entries = Vec::with_capacity(map.entries.len());
        for entry in &map.entries {
            let EntryExpr::MapEntry(it) = &entry.expr else { continue };
            let (key, value) = (self.expr(&it.key), self.expr(&it.value));
            let presence = if it.optional { Presence::WithValue } else { Presence::Always };
            key_size = key_size.max(key.size());
            value_size = value_size.max(value.size());
            let found = if it.optional { self.unwrapped(it.value.id, value.ty) } else { value.ty };
            keys = Some(self.joined(it.key.id, keys, &key.ty));
            values = Some(self.joined(it.value.id, values, &found));
            cost = cost.saturating_add(key.cost).saturating_add(value.cost);
            depth = depth.max(key.depth).max(value.depth);
            entries.push((key.node, value.node, presence));
        }
        let size = entries.len() as u64;
        let ty = Type::map(keys.unwrap_or(Type::Free), values.unwrap_or(Type::Free), size);
        let node = constant_map(&entries).map_or_else(|| Node::Map(entries.into()), Node::Const);
        let entry = Entry { kind: Holder::Map, key: key_size, value: value_size };
        Checked::new(node, ty, cost, depth + 1).sized(Some(size)).holding(Some(entry))
    }

    fn declare(&mut self, variable: Variable) -> usize {
        // Below the declared variables every place in scope is a slot of its own.
        let slot = self.scope.len();
        self.scope.push(Variable { slot, ..variable });
        self.slots = self.slots.max(self.scope.len());
        slot
    }

    /// What the variables of a comprehension stand for; the second, where there are two. Err: the range is none.
    fn iterated(&self, it: &ComprehensionExpr, range: &Checked) -> Result<(Variable, Option<Variable>), String> {
        let is_list = match (range.entry, &range.ty) {
            (Some(entry), _) => entry.kind == Holder::List,
            (None, ty) => matches!(ty, Type::List(_)),
        };
        let (key_size, value_size) = (range.entry.map(|entry| entry.key), range.entry.map(|entry| entry.value));
        let value = self.below(&range.place, Place::item);
        let key = self.below(&range.place, Place::key);
        let (first, second) = match (&range.ty, &it.iter_var2) {
            (Type::List(list), None) => (list.item.clone(), Type::Dyn),
            (Type::List(list), Some(_)) => (Type::Int, list.item.clone()),
            (Type::Map(map), _) => (map.key.clone(), map.value.clone()),
            (ty, _) if ty.is_dyn() => (Type::Dyn, Type::Dyn),
            (other, _) => {
                return Err(format!(
                    "expression of type '{other}' cannot be range of a comprehension (must be list, map, or dynamic)"
                ));
            }
        };
        let variable = |name: &str, ty: Type, place: Place, size| Variable {
            name: name.to_owned(),
            slot: 0,
            ty,
            place,
            size,
            entry: None,
        };
        Ok(match &it.iter_var2 {
            None if is_list => (variable(&it.iter_var, first, value, value_size), None),
            None => (variable(&it.iter_var, first, key, key_size), None),
            Some(name) => {
                let place = if is_list { self.below(&range.place, |_| Place::Lost) } else { key };
                (variable(&it.iter_var, first, place, key_size), Some(variable(name, second, value, value_size)))
            }
        })
    }

    fn accumulator(&mut self, it: &ComprehensionExpr, init: &Checked, ty: Type) -> usize {
        let (place, size, entry) = (init.place.clone(), init.size, init.entry);
        self.declare(Variable { name: it.accu_var.clone(), slot: 0, ty, place, size, entry })
    }

    fn comprehension(&mut self, it: &ComprehensionExpr) -> Checked {
        let range = self.expr(&it.iter_range);
        let init = self.expr(&it.accu_init);
        let (first, second) = match self.iterated(it, &range) {
            Ok(variables) => variables,
            Err(text) => return self.error(it.iter_range.id, text),
        };
        let outer = self.scope.len();
        let accu = self.accumulator(it, &init, init.ty.clone());
        let condition = self.expr(&it.loop_cond);
        let var = self.declare(first);
        let var2 = second.map(|second| self.declare(second));
        let step = self.step(&it.loop_step, accu);
        self.scope.truncate(accu);
        if !init.ty.agrees(&step.ty) {
            let text = format!("expected type '{}' but found '{}'", init.ty, step.ty);
            self.error(it.loop_step.id, text);
        }
        self.accumulator(it, &init, init.ty.join(&step.ty));
        let result = self.expr(&it.result);
        self.scope.truncate(outer);
        let rounds = range.size();
        let round = step.cost.saturating_add(condition.cost);
        let cost = range.cost.saturating_add(init.cost).saturating_add(result.cost);
        let depth = [range.depth, init.depth, condition.depth, step.depth, result.depth].into_iter().max();
        let always = matches!(condition.node, Node::Const(Val::Bool(true)));
        let collects = matches!(it.accu_init.expr, Expr::List(_) | Expr::Map(_));
        // `optMap` names its variable; what it comes to is what it is made of.
        let (size, entry) = if it.accu_var != RESULT {
            (result.size, result.entry)
        } else if collects {
            (Some(rounds), step.entry)
        } else {
            (init.size, None)
        };
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
        let node = Node::Loop(Box::new(made));
        Checked::new(node, result.ty, cost, depth.unwrap_or_default() + 2).sized(size).holding(entry)
    }

    fn accumulated(&self, accu: usize) -> Option<Entry> {
        self.scope.get(accu).and_then(|variable| variable.entry)
    }

    /// The step of a loop. What adds to the accumulator does so in place.
    fn step(&mut self, expr: &IdedExpr, accu: usize) -> Checked {
        let Expr::Call(call) = &expr.expr else { return self.expr(expr) };
        let is_accu = |expr: &IdedExpr| matches!(&expr.expr, Expr::Ident(name) if name == RESULT);
        match (call.func_name.as_str(), call.args.as_slice()) {
            (operators::ADD, [so_far, item]) if is_accu(so_far) => {
                let Expr::List(list) = &item.expr else { return self.expr(expr) };
                let ([item], true) = (list.elements.as_slice(), list.optional_indices.is_empty()) else {
                    return self.expr(expr);
                };
                let item = self.expr(item);
                let entry = Entry { kind: Holder::List, key: 1, value: item.size() };
                let entry = Entry::union(self.accumulated(accu), Some(entry));
                let (ty, cost) = (Type::list(item.ty, UNBOUNDED), item.cost.saturating_add(12));
                Checked::new(Node::Append(accu, Box::new(item.node)), ty, cost, item.depth + 1).holding(entry)
            }
            (operators::CONDITIONAL, [condition, then, otherwise]) if is_accu(otherwise) => {
                let condition = self.expr(condition);
                let (then, otherwise) = (self.step(then, accu), self.expr(otherwise));
                if !condition.ty.agrees(&Type::Bool) {
                    let ty = otherwise.ty.join(&then.ty);
                    let applied = format!("({}, {ty}, {ty})", condition.ty);
                    let text = format!("found no matching overload for '_?_:_' applied to '{applied}'");
                    return self.error(expr.id, text);
                }
                let entry = Entry::union(then.entry, otherwise.entry);
                let cost = condition.cost.saturating_add(then.cost.max(otherwise.cost));
                let depth = condition.depth.max(then.depth) + 1;
                let ty = otherwise.ty.join(&then.ty);
                let node = Node::Cond(Box::new([condition.node, then.node, otherwise.node]));
                Checked::new(node, ty, cost, depth).holding(entry)
            }
            (super::macros::INSERT | super::macros::MERGE, [so_far, rest @ ..]) if is_accu(so_far) => {
                let parts: Vec<Checked> = rest.iter().map(|part| self.expr(part)).collect();
                let ty = match parts.as_slice() {
                    [key, value] => Type::map(key.ty.clone(), value.ty.clone(), UNBOUNDED),
                    [map] => map.ty.clone(),
                    _ => Type::Dyn,
                };
                let cost = parts.iter().fold(2, |sum: u64, part| sum.saturating_add(part.cost));
                let depth = parts.iter().map(|part| part.depth).max().unwrap_or_default() + 1;
                Checked::new(Node::Insert(accu, parts.into_iter().map(|part| part.node).collect()), ty, cost, depth)
            }
            _ => self.expr(expr),
        }
    }
}

/// A map of entries that are written out. Of those with one key the last counts, as in cel-go.
fn constant_map(entries: &[(Node, Node, Presence)]) -> Option<Val<'static>> {
    let mut made: std::collections::BTreeMap<Key<'static>, Val<'static>> = std::collections::BTreeMap::new();
    for entry in entries {
        let (Node::Const(key), Node::Const(value), Presence::Always) = entry else { return None };
        made.insert(key.key().ok()?, value.clone());
    }
    Some(Val::Map(Map::Made(std::sync::Arc::new(made))))
}

fn constant(literal: &LiteralValue) -> Checked {
    let (value, ty) = match literal {
        LiteralValue::Null => (Val::Null, Type::Null),
        LiteralValue::Boolean(it) => (Val::Bool(*it.inner()), Type::Bool),
        LiteralValue::Int(it) => (Val::Int(*it.inner()), Type::Int),
        LiteralValue::UInt(it) => (Val::Uint(*it.inner()), Type::Uint),
        LiteralValue::Double(it) => (Val::Double(*it.inner()), Type::Double),
        LiteralValue::String(it) => (Val::from(it.inner().to_owned()), Type::String(0)),
        LiteralValue::Bytes(it) => (Val::Bytes(it.inner().into()), Type::Bytes(0)),
    };
    let size = super::library::cost::length(&value);
    Checked::new(Node::Const(value), ty, 0, 1).sized(Some(size))
}

/// `a.b.c` of a chain of names.
pub fn qualified(expr: &IdedExpr) -> Option<String> {
    match &expr.expr {
        Expr::Ident(name) => Some(name.trim_start_matches('.').to_owned()),
        Expr::Select(select) if !select.test => Some(format!("{}.{}", qualified(&select.operand)?, select.field)),
        _ => None,
    }
}
