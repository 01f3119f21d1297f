//! Arithmetic, comparison, membership and indexing.

use super::{Cost, Row, Sig, Style};
use crate::cel::error::Fault;
use crate::cel::eval::Frame;
use crate::cel::types::ListKind;
use crate::cel::value::{List, Val};
use std::cmp::Ordering;
use std::sync::Arc;

const P: Sig = Sig::Param(0);
const Q: Sig = Sig::Param(1);

const fn row(name: &'static str, args: &'static [Sig], result: Sig, cost: Cost, run: super::Run) -> Row {
    Row { name, style: Style::Global, args, result, cost, run }
}

const II: &[Sig] = &[Sig::Int, Sig::Int];
const UU: &[Sig] = &[Sig::Uint, Sig::Uint];
const DD: &[Sig] = &[Sig::Double, Sig::Double];
const SS: &[Sig] = &[Sig::Text, Sig::Text];
const YY: &[Sig] = &[Sig::Bytes, Sig::Bytes];
const BB: &[Sig] = &[Sig::Bool, Sig::Bool];
const TT: &[Sig] = &[Sig::Timestamp, Sig::Timestamp];
const RR: &[Sig] = &[Sig::Duration, Sig::Duration];
const TR: &[Sig] = &[Sig::Timestamp, Sig::Duration];
const RT: &[Sig] = &[Sig::Duration, Sig::Timestamp];
const LL: &[Sig] = &[Sig::List(&P), Sig::List(&P)];

pub const ROWS: &[Row] = &[
    row("!_", &[Sig::Bool], Sig::Bool, Cost::One, not),
    row("-_", &[Sig::Int], Sig::Int, Cost::One, negate),
    row("-_", &[Sig::Double], Sig::Double, Cost::One, negate),
    row("_+_", II, Sig::Int, Cost::One, plus),
    row("_+_", UU, Sig::Uint, Cost::One, plus),
    row("_+_", DD, Sig::Double, Cost::One, plus),
    row("_+_", SS, Sig::Text, Cost::Concat, plus),
    row("_+_", YY, Sig::Bytes, Cost::Concat, plus),
    row("_+_", LL, Sig::List(&P), Cost::Append, plus),
    row("_+_", RR, Sig::Duration, Cost::One, plus),
    row("_+_", TR, Sig::Timestamp, Cost::One, plus),
    row("_+_", RT, Sig::Timestamp, Cost::One, plus),
    row("_-_", II, Sig::Int, Cost::One, minus),
    row("_-_", UU, Sig::Uint, Cost::One, minus),
    row("_-_", DD, Sig::Double, Cost::One, minus),
    row("_-_", RR, Sig::Duration, Cost::One, minus),
    row("_-_", TR, Sig::Timestamp, Cost::One, minus),
    row("_-_", TT, Sig::Duration, Cost::One, minus),
    row("_*_", II, Sig::Int, Cost::One, times),
    row("_*_", UU, Sig::Uint, Cost::One, times),
    row("_*_", DD, Sig::Double, Cost::One, times),
    row("_/_", II, Sig::Int, Cost::One, divide),
    row("_/_", UU, Sig::Uint, Cost::One, divide),
    row("_/_", DD, Sig::Double, Cost::One, divide),
    row("_%_", II, Sig::Int, Cost::One, modulo),
    row("_%_", UU, Sig::Uint, Cost::One, modulo),
    row("_==_", &[P, P], Sig::Bool, Cost::Compare, equal),
    row("_!=_", &[P, P], Sig::Bool, Cost::Compare, unequal),
    row("@in", &[P, Sig::List(&P)], Sig::Bool, Cost::Member, contained),
    row("@in", &[P, Sig::Map(&P, &Q)], Sig::Bool, Cost::One, contained),
    row("_[_]", &[Sig::List(&P), Sig::Int], P, Cost::One, index),
    row("_[_]", &[Sig::Map(&P, &Q), P], Q, Cost::One, index),
    row("_[_]", &[Sig::Optional(&Sig::List(&P)), Sig::Int], Sig::Optional(&P), Cost::One, index),
    row("_[_]", &[Sig::Optional(&Sig::Map(&P, &Q)), P], Sig::Optional(&Q), Cost::One, index),
    row("_[?_]", &[Sig::List(&P), Sig::Int], Sig::Optional(&P), Cost::One, may_index),
    row("_[?_]", &[Sig::Map(&P, &Q), P], Sig::Optional(&Q), Cost::One, may_index),
    row("_[?_]", &[Sig::Optional(&Sig::List(&P)), Sig::Int], Sig::Optional(&P), Cost::One, may_index),
    row("_[?_]", &[Sig::Optional(&Sig::Map(&P, &Q)), P], Sig::Optional(&Q), Cost::One, may_index),
    order("_<_", BB, less),
    order("_<_", SS, less),
    order("_<_", YY, less),
    order("_<_", TT, less),
    order("_<_", RR, less),
    order("_<_", II, less),
    order("_<_", UU, less),
    order("_<_", DD, less),
    order("_<_", ID, less),
    order("_<_", DI, less),
    order("_<_", IU, less),
    order("_<_", UI, less),
    order("_<_", UD, less),
    order("_<_", DU, less),
    order("_<=_", BB, at_most),
    order("_<=_", SS, at_most),
    order("_<=_", YY, at_most),
    order("_<=_", TT, at_most),
    order("_<=_", RR, at_most),
    order("_<=_", II, at_most),
    order("_<=_", UU, at_most),
    order("_<=_", DD, at_most),
    order("_<=_", ID, at_most),
    order("_<=_", DI, at_most),
    order("_<=_", IU, at_most),
    order("_<=_", UI, at_most),
    order("_<=_", UD, at_most),
    order("_<=_", DU, at_most),
    order("_>_", BB, greater),
    order("_>_", SS, greater),
    order("_>_", YY, greater),
    order("_>_", TT, greater),
    order("_>_", RR, greater),
    order("_>_", II, greater),
    order("_>_", UU, greater),
    order("_>_", DD, greater),
    order("_>_", ID, greater),
    order("_>_", DI, greater),
    order("_>_", IU, greater),
    order("_>_", UI, greater),
    order("_>_", UD, greater),
    order("_>_", DU, greater),
    order("_>=_", BB, at_least),
    order("_>=_", SS, at_least),
    order("_>=_", YY, at_least),
    order("_>=_", TT, at_least),
    order("_>=_", RR, at_least),
    order("_>=_", II, at_least),
    order("_>=_", UU, at_least),
    order("_>=_", DD, at_least),
    order("_>=_", ID, at_least),
    order("_>=_", DI, at_least),
    order("_>=_", IU, at_least),
    order("_>=_", UI, at_least),
    order("_>=_", UD, at_least),
    order("_>=_", DU, at_least),
];

const ID: &[Sig] = &[Sig::Int, Sig::Double];
const DI: &[Sig] = &[Sig::Double, Sig::Int];
const IU: &[Sig] = &[Sig::Int, Sig::Uint];
const UI: &[Sig] = &[Sig::Uint, Sig::Int];
const UD: &[Sig] = &[Sig::Uint, Sig::Double];
const DU: &[Sig] = &[Sig::Double, Sig::Uint];

const fn order(name: &'static str, args: &'static [Sig], run: super::Run) -> Row {
    let cost = if matches!(args[0], Sig::Text | Sig::Bytes) { Cost::Compare } else { Cost::One };
    row(name, args, Sig::Bool, cost, run)
}

fn not<'a>(_: &mut Frame<'a>, args: &[Val<'a>]) -> Result<Val<'a>, Fault> {
    match args {
        [Val::Bool(truth)] => Ok(Val::Bool(!truth)),
        _ => Err(Fault::no_overload()),
    }
}

fn negate<'a>(_: &mut Frame<'a>, args: &[Val<'a>]) -> Result<Val<'a>, Fault> {
    match args {
        [Val::Int(n)] => n.checked_neg().map(Val::Int).ok_or(Fault::overflow()),
        [Val::Double(n)] => Ok(Val::Double(-n)),
        _ => Err(Fault::no_overload()),
    }
}

fn whole<'a>(n: Option<i64>) -> Result<Val<'a>, Fault> {
    n.map(Val::Int).ok_or(Fault::overflow())
}

fn unsigned<'a>(n: Option<u64>) -> Result<Val<'a>, Fault> {
    n.map(Val::Uint).ok_or(Fault::text("unsigned integer overflow"))
}

fn lasting<'a>(n: Option<i64>) -> Result<Val<'a>, Fault> {
    n.map(Val::Duration).ok_or(Fault::text("duration overflow"))
}

fn shifted<'a>(time: jiff::Timestamp, nanos: i64, sign: i128) -> Result<Val<'a>, Fault> {
    let moved = time.as_nanosecond() + sign * i128::from(nanos);
    let made = jiff::Timestamp::from_nanosecond(moved).ok().filter(|made| super::times::is_known(*made));
    made.map(Val::Timestamp).ok_or(Fault::text("timestamp overflow"))
}

fn plus<'a>(frame: &mut Frame<'a>, args: &[Val<'a>]) -> Result<Val<'a>, Fault> {
    match args {
        [Val::Int(a), Val::Int(b)] => whole(a.checked_add(*b)),
        [Val::Uint(a), Val::Uint(b)] => unsigned(a.checked_add(*b)),
        [Val::Double(a), Val::Double(b)] => Ok(Val::Double(a + b)),
        [Val::Text(a), Val::Text(b)] => Ok([a.as_str(), b.as_str()].concat().into()),
        [Val::Bytes(a), Val::Bytes(b)] => Ok(Val::Bytes([&a[..], &b[..]].concat().into())),
        [Val::List(a), Val::List(b)] => join(frame, a, b),
        [Val::Duration(a), Val::Duration(b)] => lasting(a.checked_add(*b)),
        [Val::Timestamp(time), Val::Duration(nanos)] | [Val::Duration(nanos), Val::Timestamp(time)] => {
            shifted(*time, *nanos, 1)
        }
        _ => Err(Fault::no_overload()),
    }
}

/// Lists one after the other. Of sets the union, of maps by keys the later of two items with the same keys.
fn join<'a>(frame: &mut Frame<'a>, a: &List<'a>, b: &List<'a>) -> Result<Val<'a>, Fault> {
    frame.charge((a.len() + b.len()) as u64)?;
    let mut all: Vec<Val<'a>> = a.items().collect::<Result<_, _>>()?;
    let kind = a.kind();
    for item in b.items() {
        let item = item?;
        let mut cost = 0;
        let same = match kind {
            ListKind::Atomic => None,
            ListKind::Set => all.iter().position(|one| one.equals(&item, &mut cost)),
            ListKind::Map(keys) => all.iter().position(|one| same_keys(keys, one, &item, &mut cost)),
        };
        frame.charge(cost)?;
        match (same, kind) {
            (Some(at), ListKind::Map(_)) => all[at] = item,
            (Some(_), _) => {}
            (None, _) => all.push(item),
        }
    }
    Ok(all.into())
}

fn same_keys<'a>(keys: &[String], a: &Val<'a>, b: &Val<'a>, cost: &mut u64) -> bool {
    let (Val::Map(a), Val::Map(b)) = (a, b) else { return false };
    keys.iter().all(|key| match (a.field(key), b.field(key)) {
        (Ok(Some(a)), Ok(Some(b))) => a.equals(&b, cost),
        (Ok(None), Ok(None)) => true,
        _ => false,
    })
}

fn minus<'a>(_: &mut Frame<'a>, args: &[Val<'a>]) -> Result<Val<'a>, Fault> {
    match args {
        [Val::Int(a), Val::Int(b)] => whole(a.checked_sub(*b)),
        [Val::Uint(a), Val::Uint(b)] => unsigned(a.checked_sub(*b)),
        [Val::Double(a), Val::Double(b)] => Ok(Val::Double(a - b)),
        [Val::Duration(a), Val::Duration(b)] => lasting(a.checked_sub(*b)),
        [Val::Timestamp(time), Val::Duration(nanos)] => shifted(*time, *nanos, -1),
        [Val::Timestamp(a), Val::Timestamp(b)] => lasting(i64::try_from(a.as_nanosecond() - b.as_nanosecond()).ok()),
        _ => Err(Fault::no_overload()),
    }
}

fn times<'a>(_: &mut Frame<'a>, args: &[Val<'a>]) -> Result<Val<'a>, Fault> {
    match args {
        [Val::Int(a), Val::Int(b)] => whole(a.checked_mul(*b)),
        [Val::Uint(a), Val::Uint(b)] => unsigned(a.checked_mul(*b)),
        [Val::Double(a), Val::Double(b)] => Ok(Val::Double(a * b)),
        _ => Err(Fault::no_overload()),
    }
}

const BY_ZERO: Fault = Fault::text("division by zero");
const REST_OF_ZERO: Fault = Fault::text("modulus by zero");

fn divide<'a>(_: &mut Frame<'a>, args: &[Val<'a>]) -> Result<Val<'a>, Fault> {
    match args {
        [Val::Int(_), Val::Int(0)] | [Val::Uint(_), Val::Uint(0)] => Err(BY_ZERO),
        [Val::Int(a), Val::Int(b)] => whole(a.checked_div(*b)),
        [Val::Uint(a), Val::Uint(b)] => unsigned(a.checked_div(*b)),
        [Val::Double(a), Val::Double(b)] => Ok(Val::Double(a / b)),
        _ => Err(Fault::no_overload()),
    }
}

fn modulo<'a>(_: &mut Frame<'a>, args: &[Val<'a>]) -> Result<Val<'a>, Fault> {
    match args {
        [Val::Int(_), Val::Int(0)] | [Val::Uint(_), Val::Uint(0)] => Err(REST_OF_ZERO),
        [Val::Int(a), Val::Int(b)] => whole(a.checked_rem(*b)),
        [Val::Uint(a), Val::Uint(b)] => unsigned(a.checked_rem(*b)),
        _ => Err(Fault::no_overload()),
    }
}

fn are_equal<'a>(frame: &mut Frame<'a>, args: &[Val<'a>]) -> Result<bool, Fault> {
    let [a, b] = args else { return Err(Fault::no_overload()) };
    let mut cost = 0;
    let equal = a.equals(b, &mut cost);
    // Kubernetes counts what lists and objects hold, not what is in it. Looking at all of it is paid for here.
    if matches!(a, Val::List(_) | Val::Map(_)) {
        frame.charge(cost.saturating_sub(1))?;
    }
    Ok(equal)
}

fn equal<'a>(frame: &mut Frame<'a>, args: &[Val<'a>]) -> Result<Val<'a>, Fault> {
    are_equal(frame, args).map(Val::Bool)
}

fn unequal<'a>(frame: &mut Frame<'a>, args: &[Val<'a>]) -> Result<Val<'a>, Fault> {
    are_equal(frame, args).map(|equal| Val::Bool(!equal))
}

fn compared(args: &[Val<'_>]) -> Result<Ordering, Fault> {
    match args {
        [a, b] => a.order(b),
        _ => Err(Fault::no_overload()),
    }
}

fn less<'a>(_: &mut Frame<'a>, args: &[Val<'a>]) -> Result<Val<'a>, Fault> {
    compared(args).map(|order| Val::Bool(order.is_lt()))
}

fn at_most<'a>(_: &mut Frame<'a>, args: &[Val<'a>]) -> Result<Val<'a>, Fault> {
    compared(args).map(|order| Val::Bool(order.is_le()))
}

fn greater<'a>(_: &mut Frame<'a>, args: &[Val<'a>]) -> Result<Val<'a>, Fault> {
    compared(args).map(|order| Val::Bool(order.is_gt()))
}

fn at_least<'a>(_: &mut Frame<'a>, args: &[Val<'a>]) -> Result<Val<'a>, Fault> {
    compared(args).map(|order| Val::Bool(order.is_ge()))
}

fn contained<'a>(frame: &mut Frame<'a>, args: &[Val<'a>]) -> Result<Val<'a>, Fault> {
    match args {
        [item, Val::List(list)] => {
            let mut cost = 0;
            let found = list.contains(item, &mut cost);
            // An item each is paid for by the operator; what items hold is paid for here.
            frame.charge(cost.saturating_sub(list.len() as u64))?;
            Ok(Val::Bool(found))
        }
        [key, Val::Map(map)] => Ok(Val::Bool(map.get(&key.key()?)?.is_some())),
        _ => Err(Fault::no_overload()),
    }
}

/// The position that a number means: whole and not negative.
pub fn position(value: &Val<'_>) -> Option<usize> {
    match value {
        Val::Int(n) => usize::try_from(*n).ok(),
        Val::Uint(n) => usize::try_from(*n).ok(),
        Val::Double(n) if n.fract() == 0.0 && *n >= 0.0 && *n < 9.0e15 => Some(*n as usize),
        _ => None,
    }
}

fn shown(value: &Val<'_>) -> String {
    match value {
        Val::Int(n) => n.to_string(),
        Val::Uint(n) => n.to_string(),
        Val::Double(n) => n.to_string(),
        Val::Bool(truth) => truth.to_string(),
        Val::Text(text) => text.as_str().to_owned(),
        other => other.type_name().to_owned(),
    }
}

fn look_up<'a>(holder: &Val<'a>, key: &Val<'a>) -> Result<Option<Val<'a>>, Fault> {
    match (holder, key) {
        (Val::List(list), Val::Int(_) | Val::Uint(_) | Val::Double(_)) => {
            position(key).map_or(Ok(None), |at| list.get(at))
        }
        (Val::Map(map), key) => map.get(&key.key()?),
        (Val::List(_), key) => Err(Fault::of(format!("unsupported index type '{}' in list", key.type_name()))),
        _ => Err(Fault::no_overload()),
    }
}

fn index<'a>(frame: &mut Frame<'a>, args: &[Val<'a>]) -> Result<Val<'a>, Fault> {
    match args {
        [Val::Optional(_), _] => may_index(frame, args),
        [holder, key] => look_up(holder, key)?.ok_or_else(|| match holder {
            Val::List(_) => Fault::of(format!("index out of bounds: {}", shown(key))),
            _ => Fault::no_key(&shown(key)),
        }),
        _ => Err(Fault::no_overload()),
    }
}

fn may_index<'a>(_: &mut Frame<'a>, args: &[Val<'a>]) -> Result<Val<'a>, Fault> {
    let found = match args {
        [Val::Optional(None), _] => None,
        [Val::Optional(Some(inner)), key] => look_up(inner, key)?,
        [holder, key] => look_up(holder, key)?,
        _ => return Err(Fault::no_overload()),
    };
    Ok(Val::Optional(found.map(Arc::new)))
}
