//! Values that may be absent: `optional.of`, `orValue` and the like.

use super::{Cost, Row, Sig, Style};
use crate::cel::error::Fault;
use crate::cel::eval::Frame;
use crate::cel::value::{List, Val};
use std::sync::Arc;

const P: Sig = Sig::Param(0);
const MAYBE: Sig = Sig::Optional(&P);

const fn row(name: &'static str, args: &'static [Sig], result: Sig, run: super::Run) -> Row {
    Row { name, style: Style::Global, args, result, cost: Cost::One, run }
}

const fn method(name: &'static str, args: &'static [Sig], result: Sig, run: super::Run) -> Row {
    Row { name, style: Style::Member, args, result, cost: Cost::One, run }
}

pub const ROWS: &[Row] = &[
    row("optional.of", &[P], MAYBE, of),
    row("optional.ofNonZeroValue", &[P], MAYBE, of_non_zero),
    row("optional.none", &[], MAYBE, none),
    Row {
        name: "optional.unwrap",
        style: Style::Global,
        args: &[Sig::List(&MAYBE)],
        result: Sig::List(&P),
        cost: Cost::One,
        run: unwrap,
    },
    Row {
        name: "unwrapOpt",
        style: Style::Member,
        args: &[Sig::List(&MAYBE)],
        result: Sig::List(&P),
        cost: Cost::One,
        run: unwrap,
    },
    method("hasValue", &[MAYBE], Sig::Bool, has_value),
    method("value", &[MAYBE], P, value),
    Row { cost: Cost::Free, ..method("orValue", &[MAYBE, P], P, or_value) },
    Row { cost: Cost::Free, ..method("or", &[MAYBE, MAYBE], MAYBE, or) },
];

/// The values of those that have one.
fn unwrap<'a>(frame: &mut Frame<'a>, args: &[Val<'a>]) -> Result<Val<'a>, Fault> {
    let [Val::List(list)] = args else { return Err(Fault::no_overload()) };
    frame.charge(list.len() as u64)?;
    let mut values = Vec::new();
    for item in list.items() {
        match item? {
            Val::Optional(Some(value)) => values.push(Val::clone(&value)),
            Val::Optional(None) => {}
            _ => return Err(Fault::no_overload()),
        }
    }
    Ok(Val::List(List::Made(Arc::new(values))))
}

fn of<'a>(_: &mut Frame<'a>, args: &[Val<'a>]) -> Result<Val<'a>, Fault> {
    args.first().cloned().map(Val::some).ok_or(Fault::no_overload())
}

fn none<'a>(_: &mut Frame<'a>, _: &[Val<'a>]) -> Result<Val<'a>, Fault> {
    Ok(Val::Optional(None))
}

fn of_non_zero<'a>(_: &mut Frame<'a>, args: &[Val<'a>]) -> Result<Val<'a>, Fault> {
    let [value] = args else { return Err(Fault::no_overload()) };
    let is_zero = match value {
        Val::Null | Val::Bool(false) | Val::Int(0) | Val::Uint(0) | Val::Duration(0) | Val::Optional(None) => true,
        Val::Double(n) => *n == 0.0,
        Val::Text(text) => text.as_str().is_empty(),
        Val::Bytes(bytes) => bytes.is_empty(),
        Val::List(list) => list.is_empty(),
        Val::Map(map) => map.is_empty(),
        _ => false,
    };
    Ok(if is_zero { Val::Optional(None) } else { Val::some(value.clone()) })
}

fn has_value<'a>(_: &mut Frame<'a>, args: &[Val<'a>]) -> Result<Val<'a>, Fault> {
    match args {
        [Val::Optional(inner)] => Ok(Val::Bool(inner.is_some())),
        _ => Err(Fault::no_overload()),
    }
}

fn value<'a>(_: &mut Frame<'a>, args: &[Val<'a>]) -> Result<Val<'a>, Fault> {
    match args {
        [Val::Optional(Some(inner))] => Ok(Val::clone(inner)),
        [Val::Optional(None)] => Err(Fault::text("optional.none() dereference")),
        _ => Err(Fault::no_overload()),
    }
}

fn or_value<'a>(_: &mut Frame<'a>, args: &[Val<'a>]) -> Result<Val<'a>, Fault> {
    match args {
        [Val::Optional(Some(inner)), _] => Ok(Val::clone(inner)),
        [Val::Optional(None), other] => Ok(other.clone()),
        _ => Err(Fault::no_overload()),
    }
}

fn or<'a>(_: &mut Frame<'a>, args: &[Val<'a>]) -> Result<Val<'a>, Fault> {
    match args {
        [first @ Val::Optional(Some(_)), _] => Ok(first.clone()),
        [Val::Optional(None), other @ Val::Optional(_)] => Ok(other.clone()),
        _ => Err(Fault::no_overload()),
    }
}
