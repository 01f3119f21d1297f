//! Checks calls: finds the overloads that fit, what they result in and what they cost.

use super::{Style, overloads};
use crate::cel::check::{Checked, Checker, qualified};
use crate::cel::eval::Node;
use crate::cel::types::{Type, UNBOUNDED};
use crate::cel::value::{Text, Val};
use cel::IdedExpr;
use cel::common::ast::{CallExpr, operators};

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
    Checked::new(Node::Cond(Box::new([a.node, b.node, c.node])), ty, cost, depth)
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

fn overload(checker: &mut Checker<'_>, id: u64, name: &str, style: Style, args: &[&IdedExpr]) -> Checked {
    let rows = overloads(name, style);
    let mut checked: Vec<Checked> = Vec::with_capacity(args.len());
    for arg in args {
        checked.push(if name == "format" { checker.mixed(arg) } else { checker.expr(arg) });
    }
    if rows.is_empty() {
        return checker.undeclared(id, name);
    }
    let types: Vec<&Type> = checked.iter().map(|arg| &arg.ty).collect();
    let mut found: Option<(Type, u64)> = None;
    let mut run = None;
    for row in rows.iter().filter(|row| row.args.len() == types.len()) {
        let mut bound = [None, None];
        if !row.args.iter().zip(&types).all(|(sig, ty)| sig.fits(ty, &mut bound)) {
            continue;
        }
        let (cost, size) = row.cost.estimate(&types);
        let ty = row.result.build(&bound, size);
        run = Some(row.run);
        found = Some(match found {
            None => (ty, cost),
            Some((other, before)) if other.agrees(&ty) && !other.is_dyn() => (other.join(&ty), before.max(cost)),
            Some((_, before)) => (Type::Dyn, before.max(cost)),
        });
    }
    let Some(((ty, cost), run)) = found.zip(run) else { return no_overload(checker, id, name, style, &types) };
    let ty = narrowed(name, &types, ty);
    let depth = checked.iter().map(|arg| arg.depth).max().unwrap_or_default() + 1;
    let cost = checked.iter().fold(cost, |sum, arg| sum.saturating_add(arg.cost));
    let mut nodes: Vec<Node> = checked.into_iter().map(|arg| arg.node).collect();
    if let Err(text) = literals(name, &mut nodes) {
        return checker.error(args.get(1).or(args.first()).map_or(id, |arg| arg.id), text);
    }
    Checked::new(Node::Call(run, nodes.into()), ty, cost, depth)
}

/// Sizes that follow from more than a function's own row.
fn narrowed(name: &str, types: &[&Type], ty: Type) -> Type {
    match (name, types, ty) {
        // What both operands hold, the result holds.
        ("_+_", [Type::List(a), Type::List(b)], Type::List(_)) => {
            Type::list(a.item.join(&b.item), a.max.saturating_add(b.max))
        }
        ("split", [text, ..], Type::List(list)) => Type::list(Type::String(text.size()), list.max),
        ("findAll", [text, ..], Type::List(_)) => Type::list(Type::String(text.size()), text.size()),
        ("charAt", _, Type::String(_)) => Type::String(4),
        ("string", [Type::Bool], Type::String(_)) => Type::String(5),
        (_, _, Type::String(UNBOUNDED)) => Type::String(UNBOUNDED),
        (_, _, ty) => ty,
    }
}

/// Checks literals that are read at compile time: regular expressions, durations, timestamps.
fn literals(name: &str, nodes: &mut [Node]) -> Result<(), String> {
    match (name, nodes) {
        ("matches" | "find" | "findAll", [_, pattern, ..]) => {
            if let Node::Const(Val::Text(text)) = pattern {
                let made = super::regexes::literal(text.as_str())?;
                *pattern = Node::Const(made);
            }
        }
        ("duration", [Node::Const(Val::Text(text))]) if super::times::go_duration(text.as_str()).is_none() => {
            return Err("invalid duration argument".into());
        }
        ("timestamp", [Node::Const(Val::Text(text))]) if crate::time::parse(text.as_str()).is_none() => {
            return Err("invalid timestamp argument".into());
        }
        _ => {}
    }
    Ok(())
}

/// Text of a value, for functions that take nothing else.
pub fn text<'v, 'a>(value: &'v Val<'a>) -> Result<&'v Text<'a>, crate::cel::error::Fault> {
    match value {
        Val::Text(text) => Ok(text),
        _ => Err(crate::cel::error::Fault::no_overload()),
    }
}
