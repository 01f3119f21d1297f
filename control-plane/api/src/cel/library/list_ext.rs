//! cel-go's extension of lists (`ext.Lists`), part of Kubernetes' environment since 1.34: `sort`, `distinct`, `flatten` and
//! the like. `sortBy` is a macro: `l.sortBy(x, key)` is `l` in the order of `l.map(x, key)`.

use super::{Cost, Row, Sig, Style, cost};
use crate::cel::error::Fault;
use crate::cel::eval::Frame;
use crate::cel::value::{List, Val};
use std::cmp::Ordering;
use std::sync::Arc;

/// What `sortBy` becomes; no source text can name it.
pub const SORT_BY_KEYS: &str = "@sortByAssociatedKeys";

/// Longest list of numbers.
const MAX_RANGE: usize = 1_000_000;

const P: Sig = Sig::Param(0);
const L: Sig = Sig::List(&P);

const fn method(name: &'static str, args: &'static [Sig], result: Sig, cost: Cost, run: super::Run) -> Row {
    Row { name, style: Style::Member, args, result, cost, run }
}

const fn sorted(list: &'static [Sig], result: Sig) -> Row {
    method("sort", list, result, Cost::Square, sort)
}

const fn by_keys(args: &'static [Sig]) -> Row {
    method(SORT_BY_KEYS, args, L, Cost::SquareSecond, sort_by_keys)
}

pub const ROWS: &[Row] = &[
    method("distinct", &[L], L, Cost::Square, distinct),
    method("flatten", &[Sig::List(&L)], L, Cost::Flatten, flatten),
    method("flatten", &[Sig::List(&Sig::Dyn), Sig::Int], Sig::List(&Sig::Dyn), Cost::Flatten, flatten),
    method("slice", &[L, Sig::Int, Sig::Int], L, Cost::Slice, slice),
    method("reverse", &[L], L, Cost::Copy, reverse),
    method("first", &[L], Sig::Optional(&P), Cost::One, first),
    method("last", &[L], Sig::Optional(&P), Cost::One, last),
    sorted(&[Sig::List(&Sig::Int)], Sig::List(&Sig::Int)),
    sorted(&[Sig::List(&Sig::Uint)], Sig::List(&Sig::Uint)),
    sorted(&[Sig::List(&Sig::Double)], Sig::List(&Sig::Double)),
    sorted(&[Sig::List(&Sig::Bool)], Sig::List(&Sig::Bool)),
    sorted(&[Sig::List(&Sig::Duration)], Sig::List(&Sig::Duration)),
    sorted(&[Sig::List(&Sig::Timestamp)], Sig::List(&Sig::Timestamp)),
    sorted(&[Sig::List(&Sig::Text)], Sig::List(&Sig::Text)),
    sorted(&[Sig::List(&Sig::Bytes)], Sig::List(&Sig::Bytes)),
    by_keys(&[L, Sig::List(&Sig::Int)]),
    by_keys(&[L, Sig::List(&Sig::Uint)]),
    by_keys(&[L, Sig::List(&Sig::Double)]),
    by_keys(&[L, Sig::List(&Sig::Bool)]),
    by_keys(&[L, Sig::List(&Sig::Duration)]),
    by_keys(&[L, Sig::List(&Sig::Timestamp)]),
    by_keys(&[L, Sig::List(&Sig::Text)]),
    by_keys(&[L, Sig::List(&Sig::Bytes)]),
    Row {
        name: "lists.range",
        style: Style::Global,
        args: &[Sig::Int],
        result: Sig::List(&Sig::Int),
        cost: Cost::Range,
        run: range,
    },
];

fn list<'v, 'a>(args: &'v [Val<'a>]) -> Result<&'v List<'a>, Fault> {
    match args {
        [Val::List(list), ..] => Ok(list),
        _ => Err(Fault::no_overload()),
    }
}

fn made(items: Vec<Val<'_>>) -> Val<'_> {
    Val::List(List::Made(Arc::new(items)))
}

/// Pays for so many items of a new list.
fn pay(frame: &mut Frame<'_>, count: usize) -> Result<(), Fault> {
    frame.charge(cost::new_list(count as u64))
}

fn all<'a>(list: &List<'a>) -> Result<Vec<Val<'a>>, Fault> {
    list.items().collect()
}

fn distinct<'a>(frame: &mut Frame<'a>, args: &[Val<'a>]) -> Result<Val<'a>, Fault> {
    let items = all(list(args)?)?;
    frame.charge(cost::all_with_all(&items))?;
    let mut kept: Vec<Val<'a>> = Vec::new();
    for item in items {
        let mut cost = 0;
        let known = kept.iter().any(|other| item.equals(other, &mut cost));
        frame.charge(cost.saturating_sub(kept.len() as u64))?;
        if !known {
            kept.push(item);
        }
    }
    Ok(made(kept))
}

fn flatten<'a>(frame: &mut Frame<'a>, args: &[Val<'a>]) -> Result<Val<'a>, Fault> {
    let levels = match args.get(1) {
        None => 1,
        Some(Val::Int(levels)) => usize::try_from(*levels).map_err(|_| Fault::text("level must be non-negative"))?,
        Some(_) => return Err(Fault::no_overload()),
    };
    pay(frame, list(args)?.len().saturating_mul(levels))?;
    let mut out = Vec::new();
    flatten_into(frame, &mut out, list(args)?, levels)?;
    Ok(made(out))
}

/// Values are as deep as their text at most, so this ends.
fn flatten_into<'a>(
    frame: &mut Frame<'a>,
    out: &mut Vec<Val<'a>>,
    list: &List<'a>,
    levels: usize,
) -> Result<(), Fault> {
    for item in all(list)? {
        frame.charge(1)?;
        match item {
            Val::List(inner) if levels > 0 => flatten_into(frame, out, &inner, levels - 1)?,
            item => out.push(item),
        }
    }
    Ok(())
}

fn slice<'a>(frame: &mut Frame<'a>, args: &[Val<'a>]) -> Result<Val<'a>, Fault> {
    let [Val::List(list), Val::Int(start), Val::Int(end)] = args else { return Err(Fault::no_overload()) };
    let wrong = |why: &str| Fault::of(format!("cannot slice({start}, {end}), {why}"));
    let (Ok(from), Ok(to)) = (usize::try_from(*start), usize::try_from(*end)) else {
        return Err(wrong("negative indexes not supported"));
    };
    if from > to {
        return Err(wrong("start index must be less than or equal to end index"));
    }
    if to > list.len() {
        return Err(wrong(&format!("list is length {}", list.len())));
    }
    pay(frame, to - from)?;
    let items: Result<Vec<Val<'a>>, Fault> = (from..to).filter_map(|at| list.get(at).transpose()).collect();
    items.map(made)
}

fn reverse<'a>(frame: &mut Frame<'a>, args: &[Val<'a>]) -> Result<Val<'a>, Fault> {
    let mut items = all(list(args)?)?;
    pay(frame, items.len())?;
    items.reverse();
    Ok(made(items))
}

fn first<'a>(_: &mut Frame<'a>, args: &[Val<'a>]) -> Result<Val<'a>, Fault> {
    list(args)?.get(0).map(|item| Val::Optional(item.map(Arc::new)))
}

fn last<'a>(_: &mut Frame<'a>, args: &[Val<'a>]) -> Result<Val<'a>, Fault> {
    let list = list(args)?;
    let item = list.len().checked_sub(1).map_or(Ok(None), |at| list.get(at))?;
    Ok(Val::Optional(item.map(Arc::new)))
}

fn sort<'a>(frame: &mut Frame<'a>, args: &[Val<'a>]) -> Result<Val<'a>, Fault> {
    let list = list(args)?;
    let items = all(list)?;
    ordered(frame, items.clone(), items)
}

fn sort_by_keys<'a>(frame: &mut Frame<'a>, args: &[Val<'a>]) -> Result<Val<'a>, Fault> {
    let [Val::List(list), Val::List(keys)] = args else { return Err(Fault::no_overload()) };
    let (items, keys) = (all(list)?, all(keys)?);
    ordered(frame, items, keys)
}

/// `items` in the order of their keys, of which there are as many.
fn ordered<'a>(frame: &mut Frame<'a>, items: Vec<Val<'a>>, keys: Vec<Val<'a>>) -> Result<Val<'a>, Fault> {
    if let Some(kind) = keys.first().map(Val::type_name) {
        if keys.iter().any(|key| key.type_name() != kind) {
            return Err(Fault::text("list elements must have the same type"));
        }
        if keys.iter().any(|key| key.order(key).is_err()) {
            return Err(Fault::text("list elements must be comparable"));
        }
    }
    frame.charge(cost::all_with_all(&keys))?;
    let mut pairs: Vec<(Val<'a>, Val<'a>)> = keys.into_iter().zip(items).collect();
    pairs.sort_by(|(a, _), (b, _)| a.order(b).unwrap_or(Ordering::Equal));
    Ok(made(pairs.into_iter().map(|(_, item)| item).collect()))
}

fn range<'a>(frame: &mut Frame<'a>, args: &[Val<'a>]) -> Result<Val<'a>, Fault> {
    let [Val::Int(count)] = args else { return Err(Fault::no_overload()) };
    let size = usize::try_from(*count)
        .map_err(|_| Fault::of(format!("lists.range: size must be non-negative, got {count}")))?;
    if size > MAX_RANGE {
        return Err(Fault::of(format!("lists.range: size {size} exceeds maximum allowed ({MAX_RANGE})")));
    }
    pay(frame, size)?;
    Ok(made((0..*count).map(Val::Int).collect()))
}
