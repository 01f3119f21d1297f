//! Kubernetes' functions on lists, and the sets extension.

use super::{Cost, Row, Sig, Style};
use crate::cel::error::Fault;
use crate::cel::eval::Frame;
use crate::cel::value::{List, Val};
use std::cmp::Ordering;

const P: Sig = Sig::Param(0);

const fn method(name: &'static str, args: &'static [Sig], result: Sig, cost: Cost, run: super::Run) -> Row {
    Row { name, style: Style::Member, args, result, cost, run }
}

const fn set(name: &'static str, cost: Cost, run: super::Run) -> Row {
    const LL: &[Sig] = &[Sig::List(&P), Sig::List(&P)];
    Row { name, style: Style::Global, args: LL, result: Sig::Bool, cost, run }
}

const INTS: &[Sig] = &[Sig::List(&Sig::Int)];
const UINTS: &[Sig] = &[Sig::List(&Sig::Uint)];
const DOUBLES: &[Sig] = &[Sig::List(&Sig::Double)];
const DURATIONS: &[Sig] = &[Sig::List(&Sig::Duration)];
const TIMESTAMPS: &[Sig] = &[Sig::List(&Sig::Timestamp)];
const TEXTS: &[Sig] = &[Sig::List(&Sig::Text)];
const BYTES: &[Sig] = &[Sig::List(&Sig::Bytes)];
const BOOLS: &[Sig] = &[Sig::List(&Sig::Bool)];

const fn sorted(args: &'static [Sig]) -> Row {
    method("isSorted", args, Sig::Bool, Cost::Items, is_sorted)
}

const fn smallest(args: &'static [Sig], result: Sig) -> Row {
    method("min", args, result, Cost::Items, min)
}

const fn largest(args: &'static [Sig], result: Sig) -> Row {
    method("max", args, result, Cost::Items, max)
}

pub const ROWS: &[Row] = &[
    sorted(INTS),
    sorted(UINTS),
    sorted(DOUBLES),
    sorted(DURATIONS),
    sorted(TIMESTAMPS),
    sorted(TEXTS),
    sorted(BYTES),
    sorted(BOOLS),
    method("sum", INTS, Sig::Int, Cost::Items, sum),
    method("sum", UINTS, Sig::Uint, Cost::Items, sum),
    method("sum", DOUBLES, Sig::Double, Cost::Items, sum),
    method("sum", DURATIONS, Sig::Duration, Cost::Items, sum),
    smallest(INTS, Sig::Int),
    smallest(UINTS, Sig::Uint),
    smallest(DOUBLES, Sig::Double),
    smallest(DURATIONS, Sig::Duration),
    smallest(TIMESTAMPS, Sig::Timestamp),
    smallest(TEXTS, Sig::Text),
    smallest(BYTES, Sig::Bytes),
    smallest(BOOLS, Sig::Bool),
    largest(INTS, Sig::Int),
    largest(UINTS, Sig::Uint),
    largest(DOUBLES, Sig::Double),
    largest(DURATIONS, Sig::Duration),
    largest(TIMESTAMPS, Sig::Timestamp),
    largest(TEXTS, Sig::Text),
    largest(BYTES, Sig::Bytes),
    largest(BOOLS, Sig::Bool),
    method("indexOf", &[Sig::List(&P), P], Sig::Int, Cost::Items, index_of),
    method("lastIndexOf", &[Sig::List(&P), P], Sig::Int, Cost::Items, last_index_of),
    set("sets.contains", Cost::Product, contains),
    set("sets.equivalent", Cost::ProductTwice, equivalent),
    set("sets.intersects", Cost::Product, intersects),
];

fn list<'v, 'a>(args: &'v [Val<'a>]) -> Result<&'v List<'a>, Fault> {
    match args {
        [Val::List(list), ..] => Ok(list),
        _ => Err(Fault::no_overload()),
    }
}

fn is_sorted<'a>(_: &mut Frame<'a>, args: &[Val<'a>]) -> Result<Val<'a>, Fault> {
    let list = list(args)?;
    let mut before: Option<Val<'a>> = None;
    for item in list.items() {
        let item = item?;
        if let Some(before) = &before
            && before.order(&item)?.is_gt()
        {
            return Ok(Val::Bool(false));
        }
        before = Some(item);
    }
    Ok(Val::Bool(true))
}

fn sum<'a>(_: &mut Frame<'a>, args: &[Val<'a>]) -> Result<Val<'a>, Fault> {
    let list = list(args)?;
    let mut total = Val::Int(0);
    for (at, item) in list.items().enumerate() {
        let item = item?;
        total = match (total, item) {
            (_, item @ (Val::Int(_) | Val::Uint(_) | Val::Double(_) | Val::Duration(_))) if at == 0 => item,
            (Val::Int(a), Val::Int(b)) => Val::Int(a.checked_add(b).ok_or(Fault::overflow())?),
            (Val::Uint(a), Val::Uint(b)) => {
                Val::Uint(a.checked_add(b).ok_or(Fault::text("unsigned integer overflow"))?)
            }
            (Val::Double(a), Val::Double(b)) => Val::Double(a + b),
            (Val::Duration(a), Val::Duration(b)) => {
                Val::Duration(a.checked_add(b).ok_or(Fault::text("duration overflow"))?)
            }
            _ => return Err(Fault::no_overload()),
        };
    }
    Ok(total)
}

fn extreme<'a>(args: &[Val<'a>], name: &str, wanted: Ordering) -> Result<Val<'a>, Fault> {
    let list = list(args)?;
    let mut best: Option<Val<'a>> = None;
    for item in list.items() {
        let item = item?;
        best = Some(match best {
            Some(best) if item.order(&best)? != wanted => best,
            _ => item,
        });
    }
    best.ok_or_else(|| Fault::of(format!("{name} called on empty list")))
}

fn min<'a>(_: &mut Frame<'a>, args: &[Val<'a>]) -> Result<Val<'a>, Fault> {
    extreme(args, "min", Ordering::Less)
}

fn max<'a>(_: &mut Frame<'a>, args: &[Val<'a>]) -> Result<Val<'a>, Fault> {
    extreme(args, "max", Ordering::Greater)
}

/// Where `list` has `value`, in the order of `places`.
fn place<'a>(
    frame: &mut Frame<'a>,
    list: &List<'a>,
    value: &Val<'a>,
    mut places: impl Iterator<Item = usize>,
) -> Result<Val<'a>, Fault> {
    let mut cost = 0;
    let found =
        places.find(|at| list.get(*at).is_ok_and(|item| item.is_some_and(|item| item.equals(value, &mut cost))));
    // What items hold, beyond one unit each.
    frame.charge(cost.saturating_sub(list.len() as u64))?;
    Ok(Val::Int(found.and_then(|at| i64::try_from(at).ok()).unwrap_or(-1)))
}

fn index_of<'a>(frame: &mut Frame<'a>, args: &[Val<'a>]) -> Result<Val<'a>, Fault> {
    match args {
        [Val::List(list), value] => place(frame, list, value, 0..list.len()),
        // With a `dyn` target the string's method has the same name.
        [Val::Text(_), ..] => super::strings::index_of(frame, args),
        _ => Err(Fault::no_overload()),
    }
}

fn last_index_of<'a>(frame: &mut Frame<'a>, args: &[Val<'a>]) -> Result<Val<'a>, Fault> {
    match args {
        [Val::List(list), value] => place(frame, list, value, (0..list.len()).rev()),
        [Val::Text(_), ..] => super::strings::last_index_of(frame, args),
        _ => Err(Fault::no_overload()),
    }
}

/// Whether the first list has every item of the second.
fn holds<'a>(frame: &mut Frame<'a>, a: &List<'a>, b: &List<'a>) -> Result<bool, Fault> {
    for item in b.items() {
        let mut cost = 0;
        let found = a.contains(&item?, &mut cost);
        frame.charge(cost.saturating_sub(a.len() as u64))?;
        if !found {
            return Ok(false);
        }
    }
    Ok(true)
}

fn contains<'a>(frame: &mut Frame<'a>, args: &[Val<'a>]) -> Result<Val<'a>, Fault> {
    let [Val::List(a), Val::List(b)] = args else { return Err(Fault::no_overload()) };
    holds(frame, a, b).map(Val::Bool)
}

fn equivalent<'a>(frame: &mut Frame<'a>, args: &[Val<'a>]) -> Result<Val<'a>, Fault> {
    let [Val::List(a), Val::List(b)] = args else { return Err(Fault::no_overload()) };
    Ok(Val::Bool(holds(frame, a, b)? && holds(frame, b, a)?))
}

fn intersects<'a>(frame: &mut Frame<'a>, args: &[Val<'a>]) -> Result<Val<'a>, Fault> {
    let [Val::List(a), Val::List(b)] = args else { return Err(Fault::no_overload()) };
    for item in b.items() {
        let mut cost = 0;
        let found = a.contains(&item?, &mut cost);
        frame.charge(cost.saturating_sub(a.len() as u64))?;
        if found {
            return Ok(Val::Bool(true));
        }
    }
    Ok(Val::Bool(false))
}
