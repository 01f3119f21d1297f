//! Checks calls: finds the overloads that fit, what they result in and what they cost.

use super::{Cost, Style, overloads, printf};
use crate::cel::check::{Checker, qualified};
use crate::cel::checked::{Checked, Entry, Place};
use crate::cel::error::Fault;
use crate::cel::eval::{Frame, Node};
use crate::cel::types::Type;
use crate::cel::value::{Key, List, Text, Val};
use cel::IdedExpr;
use cel::common::ast::{CallExpr, operators};
use std::collections::BTreeSet;

pub fn check(checker: &mut Checker<'_>, id: u64, call: &CallExpr) -> Checked {
    match (call.func_name.as_str(), call.args.as_slice()) {
        (operators::LOGICAL_AND, [a, b]) => junction(checker, "_&&_", a, b),
        (operators::LOGICAL_OR, [a, b]) => junction(checker, "_||_", a, b),
        (operators::CONDITIONAL, [a, b, c]) => conditional(checker, id, a, b, c),
        (operators::NOT_STRICTLY_FALSE, [operand]) => {
            let it = checker.expr(operand);
            Checked::new(Node::NotFalse(Box::new(it.node)), Type::Bool, it.cost.saturating_add(1), it.depth + 1)
        }
        (operators::OPT_SELECT, [operand, field]) => may_select(checker, id, operand, field),
        _ => function(checker, id, call),
    }
}

fn no_overload(checker: &mut Checker<'_>, id: u64, name: &str, style: Style, args: &[&Type]) -> Checked {
    let texts: Vec<String> = args.iter().map(ToString::to_string).collect();
    let applied = match (style, texts.split_first()) {
        (Style::Member, Some((target, rest))) => format!("{target}.({})", rest.join(", ")),
        _ => format!("({})", texts.join(", ")),
    };
    checker.error(id, format!("found no matching overload for '{name}' applied to '{applied}'"))
}

fn junction(checker: &mut Checker<'_>, name: &str, left: &IdedExpr, right: &IdedExpr) -> Checked {
    let (a, b) = (checker.expr(left), checker.expr(right));
    let mut wrong = None;
    for (operand, checked) in [(left, &a), (right, &b)] {
        if !checked.ty.agrees(&Type::Bool) {
            wrong = Some(checker.error(operand.id, format!("expected type 'bool' but found '{}'", checked.ty)));
        }
    }
    if let Some(wrong) = wrong {
        return wrong;
    }
    let pair = Box::new([a.node, b.node]);
    let node = if name == "_&&_" { Node::And(pair) } else { Node::Or(pair) };
    Checked::new(node, Type::Bool, a.cost.saturating_add(b.cost), a.depth.max(b.depth) + 1)
}

fn conditional(checker: &mut Checker<'_>, id: u64, a: &IdedExpr, b: &IdedExpr, c: &IdedExpr) -> Checked {
    let (a, b, c) = (checker.expr(a), checker.expr(b), checker.expr(c));
    if !a.ty.agrees(&Type::Bool) || !b.ty.agrees(&c.ty) {
        return no_overload(checker, id, "_?_:_", Style::Global, &[&a.ty, &b.ty, &c.ty]);
    }
    let cost = a.cost.saturating_add(b.cost.max(c.cost));
    let (ty, depth) = (b.ty.join(&c.ty), a.depth.max(b.depth).max(c.depth) + 1);
    let (size, entry) = (b.size().max(c.size()), Entry::union(b.entry, c.entry));
    let made = Checked::new(Node::Cond(Box::new([a.node, b.node, c.node])), ty, cost, depth);
    Checked { size: Some(size), entry, ..made }
}

/// `a.?b`.
fn may_select(checker: &mut Checker<'_>, id: u64, operand: &IdedExpr, field: &IdedExpr) -> Checked {
    let operand = checker.expr(operand);
    let Node::Const(Val::Text(name)) = checker.expr(field).node else { return Checked::wrong() };
    let Some(ty) = checker.field_type(id, &operand.ty, name.as_str()) else { return Checked::wrong() };
    let node = Node::MaySelect(Box::new(operand.node), name.as_str().into());
    Checked::new(node, Type::optional(ty), operand.cost.saturating_add(1), operand.depth + 1)
}

/// A call by its name: a function, a method, or a function in a name space (`optional.of`, `sets.contains`).
fn function(checker: &mut Checker<'_>, id: u64, call: &CallExpr) -> Checked {
    let name = call.func_name.trim_start_matches('.');
    if let Some(target) = call.target.as_deref()
        && let Some(space) = qualified(target)
        && !checker.is_variable(space.split('.').next().unwrap_or_default())
    {
        let full = format!("{space}.{name}");
        if !overloads(&full, Style::Global).is_empty() {
            return overload(checker, id, &full, Style::Global, &call.args.iter().collect::<Vec<_>>());
        }
    }
    let style = if call.target.is_some() { Style::Member } else { Style::Global };
    let args: Vec<&IdedExpr> = call.target.as_deref().into_iter().chain(&call.args).collect();
    overload(checker, id, name, style, &args)
}

/// What the overloads that fit have in common.
struct Fit {
    ty: Type,
    cost: u64,
    size: Option<u64>,
    run: super::Run,
    paid: Cost,
}

/// The overloads that fit the operands, as one. With `dyn` operands there may be several.
fn fitting(rows: &[&super::Row], args: &[Checked]) -> Option<Fit> {
    let mut found: Option<Fit> = None;
    for row in rows.iter().filter(|row| row.args.len() == args.len()) {
        let mut bound = [None, None];
        if !row.args.iter().zip(args).all(|(sig, arg)| sig.fits(&arg.ty, &mut bound)) {
            continue;
        }
        let (cost, size) = row.cost.estimate(args);
        let ty = row.result.build(&bound);
        found = Some(match found {
            None => Fit { ty, cost, size, run: row.run, paid: row.cost },
            Some(fit) => Fit {
                ty: if fit.ty.agrees(&ty) && !fit.ty.is_dyn() { fit.ty.join(&ty) } else { Type::Dyn },
                cost: fit.cost.max(cost),
                size: fit.size.max(size),
                run: row.run,
                paid: if fit.paid == Cost::One { row.cost } else { fit.paid },
            },
        });
    }
    found
}

fn overload(checker: &mut Checker<'_>, id: u64, name: &str, style: Style, args: &[&IdedExpr]) -> Checked {
    let rows = overloads(name, style);
    let mut checked: Vec<Checked> = Vec::with_capacity(args.len());
    for arg in args {
        checked.push(if name == "format" { checker.mixed(arg) } else { checker.expr(arg) });
    }
    let other = if style == Style::Member { Style::Global } else { Style::Member };
    if rows.is_empty() && overloads(name, other).is_empty() {
        return checker.undeclared(id, name);
    }
    let Some(fit) = fitting(rows, &checked) else {
        let types: Vec<&Type> = checked.iter().map(|arg| &arg.ty).collect();
        return no_overload(checker, id, name, style, &types);
    };
    let (place, entry, size) = held(checker, name, &checked);
    let size = size.or(fit.size).or(place.declared()).or(fit.ty.is_scalar().then_some(1));
    let depth = checked.iter().map(|arg| arg.depth).max().unwrap_or_default() + 1;
    let cost = checked.iter().fold(fit.cost, |sum, arg| sum.saturating_add(arg.cost));
    if name == "format" {
        let told = printf::check(checker, &checked, args);
        if let Some((at, text)) = told {
            return checker.error(at.unwrap_or(id), text);
        }
    }
    let mut nodes: Vec<Node> = checked.into_iter().map(|arg| arg.node).collect();
    if let Err(text) = literals(name, &mut nodes) {
        return checker.error(args.get(1).or(args.first()).map_or(id, |arg| arg.id), text);
    }
    let node = match folded(name, &fit, nodes) {
        Ok(node) => node,
        Err(fault) => return checker.breaks(fault.to_string()),
    };
    Checked { size, place, entry, ..Checked::new(node, fit.ty, cost, depth) }
}

/// Where the result of an index is, what a list that is made of others holds, and what `dyn` hides.
fn held(checker: &Checker<'_>, name: &str, args: &[Checked]) -> (Place, Option<Entry>, Option<u64>) {
    match (name, args) {
        ("_[_]", [holder, _]) if !matches!(holder.ty, Type::Optional(_)) => {
            let place = checker.below(&holder.place, Place::item);
            (place, None, holder.entry.map(|entry| entry.value))
        }
        ("_+_", [a, b]) => (Place::None, Entry::union(a.entry, b.entry), None),
        ("dyn", [arg]) => (Place::None, arg.entry, arg.size),
        _ => (Place::None, None, None),
    }
}

/// Functions that are evaluated at once where their operand is written out.
const CONVERSIONS: &[&str] =
    &["bool", "bytes", "double", "duration", "dyn", "int", "string", "timestamp", "type", "uint"];

/// The call, or what is known of it already.
fn folded(name: &str, fit: &Fit, nodes: Vec<Node>) -> Result<Node, Fault> {
    match (name, nodes.as_slice()) {
        (name, [Node::Const(value)]) if CONVERSIONS.contains(&name) => {
            let mut frame = Frame { slots: Vec::new(), left: u64::MAX, regexes: super::regexes::Cache::default() };
            return (fit.run)(&mut frame, std::slice::from_ref(value)).map(Node::Const);
        }
        ("find" | "findAll", [_, Node::Const(Val::Text(pattern)), ..]) => {
            let made = super::regexes::literal(pattern.as_str()).map_err(Fault::of)?;
            let mut nodes = nodes;
            nodes[1] = Node::Const(made);
            return Ok(Node::Call(fit.run, fit.paid, nodes.into()));
        }
        ("@in", [_, Node::Const(Val::List(List::Made(items)))]) => {
            let keys: Option<BTreeSet<Key<'static>>> = items.iter().map(|item| item.key().ok()).collect();
            if let Some(keys) = keys {
                let item = nodes.into_iter().next().unwrap_or(Node::Const(Val::Null));
                return Ok(Node::Among(Box::new(item), keys));
            }
        }
        _ => {}
    }
    Ok(Node::Call(fit.run, fit.paid, nodes.into()))
}

/// Checks literals that are read at compile time: regular expressions, durations, timestamps.
fn literals(name: &str, nodes: &mut [Node]) -> Result<(), String> {
    match (name, nodes) {
        ("matches", [_, pattern, ..]) => {
            if let Node::Const(Val::Text(text)) = pattern {
                let made = super::regexes::literal(text.as_str()).map_err(|_| "invalid matches argument")?;
                *pattern = Node::Const(made);
            }
        }
        ("duration", [Node::Const(Val::Text(text))]) if super::times::go_duration(text.as_str()).is_none() => {
            return Err("invalid duration argument".into());
        }
        ("timestamp", [Node::Const(Val::Text(text))]) if super::times::moment(text.as_str()).is_err() => {
            return Err("invalid timestamp argument".into());
        }
        _ => {}
    }
    Ok(())
}

/// Text of a value, for functions that take nothing else.
pub fn text<'v, 'a>(value: &'v Val<'a>) -> Result<&'v Text<'a>, Fault> {
    match value {
        Val::Text(text) => Ok(text),
        _ => Err(Fault::no_overload()),
    }
}
