//! The functions of expressions: CEL's standard ones and Kubernetes' libraries, as a table of overloads.
//!
//! A [`Row`] says what the checker needs (types, cost) and what runs. Functions of one name share one implementation,
//! which looks at the values it is given: with `dyn` operands only they tell which overload is meant.

pub mod authz;
pub mod calls;
pub mod list_ext;
mod lists;
mod net;
pub mod opaque;
mod operators;
mod optionals;
mod printf;
pub mod regexes;
mod semver;
mod standard;
mod strings;
mod text_format;
pub mod times;
mod urls;

use super::error::Fault;
use super::eval::Frame;
use super::types::{Opaque, Type, UNBOUNDED};
use super::value::Val;
use std::collections::HashMap;
use std::sync::LazyLock;

/// A function's implementation.
pub type Run = for<'a> fn(&mut Frame<'a>, &[Val<'a>]) -> Result<Val<'a>, Fault>;

/// How a function is called.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Style {
    Global,
    Member,
}

/// A type in an overload's signature.
#[derive(Clone, Copy, Debug)]
pub enum Sig {
    Dyn,
    Bool,
    Int,
    Uint,
    Double,
    Text,
    Bytes,
    Duration,
    Timestamp,
    Type,
    List(&'static Sig),
    Map(&'static Sig, &'static Sig),
    Optional(&'static Sig),
    Opaque(Opaque),
    /// Any type, the same wherever the number occurs.
    Param(usize),
}

/// What a call costs at most and how large its result is, from the sizes of the operands (`cel-go`'s `checker/cost.go`,
/// Kubernetes' `library/cost.go`). The operands' own costs come on top.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cost {
    /// One unit.
    One,
    /// The first operand is read once, a tenth of a unit for each byte; the result is as large.
    Read,
    /// As `Read`; the result has no size that is known.
    Convert,
    /// The second operand is read once.
    ReadSecond,
    /// The first is searched for the second.
    Search,
    /// The first is matched against the second, a regular expression.
    Match,
    /// The smaller of the two is read.
    Compare,
    /// The result is as large as both, and is copied.
    Concat,
    /// The result is as large as both.
    Append,
    /// Every item of the second list is compared with the first.
    Member,
    /// Every item of the first list is looked at.
    Items,
    /// The result is as large as the first, item by item.
    Copy,
    /// Every item of the first is compared with the others; the result is as large.
    Square,
    /// The items of the first one's items.
    Flatten,
    /// Every item of the one with every item of the other.
    Product,
    /// Pieces of the first: as many as it is long.
    Split,
    /// All items of the first, one after the other.
    Join,
    /// Every byte of the first may become the third.
    Replace,
    /// Somebody's rights are looked up.
    Check,
    /// The second operand is taken apart as a selector.
    Selector,
}

/// One overload.
pub struct Row {
    pub name: &'static str,
    pub style: Style,
    pub args: &'static [Sig],
    pub result: Sig,
    pub cost: Cost,
    pub run: Run,
}

/// All overloads by name and style.
static TABLE: LazyLock<HashMap<&'static str, [Vec<&'static Row>; 2]>> = LazyLock::new(|| {
    let all = [
        operators::ROWS,
        standard::ROWS,
        strings::ROWS,
        lists::ROWS,
        list_ext::ROWS,
        optionals::ROWS,
        regexes::ROWS,
        urls::ROWS,
        opaque::ROWS,
        net::ROWS,
        text_format::ROWS,
        semver::ROWS,
        times::ROWS,
        authz::ROWS,
    ];
    let mut table: HashMap<&'static str, [Vec<&'static Row>; 2]> = HashMap::new();
    for row in all.into_iter().flatten() {
        table.entry(row.name).or_default()[row.style as usize].push(row);
    }
    table
});

/// The overloads of a function; empty: there is none.
#[must_use]
pub fn overloads(name: &str, style: Style) -> &'static [&'static Row] {
    TABLE.get(name).map_or(&[], |styles| styles[style as usize].as_slice())
}

impl Sig {
    /// Whether a value of type `ty` may stand here; what parameters stand for is kept in `bound`.
    #[must_use]
    pub fn fits(&self, ty: &Type, bound: &mut [Option<Type>; 2]) -> bool {
        match (self, ty) {
            (Self::Param(at), ty) => {
                let Some(slot) = bound.get_mut(*at) else { return false };
                match slot {
                    None => *slot = Some(ty.clone()),
                    Some(known) if known.agrees(ty) => *known = known.join(ty),
                    Some(_) => return false,
                }
                true
            }
            (Self::List(inner), Type::List(list)) => inner.fits(&list.item, bound),
            (Self::List(inner), ty) if ty.is_dyn() => inner.fits(ty, bound),
            (Self::Map(key, value), Type::Map(map)) => key.fits(&map.key, bound) && value.fits(&map.value, bound),
            (Self::Map(key, value), ty) if ty.is_dyn() => key.fits(ty, bound) && value.fits(ty, bound),
            (Self::Optional(inner), Type::Optional(of)) => inner.fits(of, bound),
            (Self::Optional(inner), ty) if ty.is_dyn() => inner.fits(ty, bound),
            (Self::Dyn, _) => true,
            (_, ty) if ty.is_dyn() => true,
            (Self::Bool, Type::Bool)
            | (Self::Int, Type::Int)
            | (Self::Uint, Type::Uint)
            | (Self::Double, Type::Double)
            | (Self::Text, Type::String(_))
            | (Self::Bytes, Type::Bytes(_))
            | (Self::Duration, Type::Duration)
            | (Self::Timestamp, Type::Timestamp)
            | (Self::Type, Type::Type) => true,
            (Self::Opaque(a), Type::Opaque(b)) => a == b,
            _ => false,
        }
    }

    /// The type that it stands for, of at most the size `max`.
    #[must_use]
    pub fn build(&self, bound: &[Option<Type>; 2], max: u64) -> Type {
        match self {
            Self::Dyn => Type::Dyn,
            Self::Bool => Type::Bool,
            Self::Int => Type::Int,
            Self::Uint => Type::Uint,
            Self::Double => Type::Double,
            Self::Text => Type::String(max),
            Self::Bytes => Type::Bytes(max),
            Self::Duration => Type::Duration,
            Self::Timestamp => Type::Timestamp,
            Self::Type => Type::Type,
            Self::List(inner) => Type::list(inner.build(bound, UNBOUNDED), max),
            Self::Map(key, value) => Type::map(key.build(bound, UNBOUNDED), value.build(bound, UNBOUNDED), max),
            Self::Optional(inner) => Type::optional(inner.build(bound, max)),
            Self::Opaque(opaque) => Type::Opaque(*opaque),
            Self::Param(at) => bound.get(*at).cloned().flatten().unwrap_or(Type::Free),
        }
    }
}

/// A tenth of a number, rounded up: what reading so many bytes costs.
#[must_use]
pub const fn tenth(size: u64) -> u64 {
    size.div_ceil(10)
}

/// What a selector of so many bytes costs: reading it, and fifty for each of the requirements that it may hold.
#[must_use]
pub const fn selector_cost(size: u64) -> u64 {
    tenth(size).saturating_add(size.div_ceil(2).saturating_mul(50)).saturating_add(10)
}

impl Cost {
    /// The cost of a call beyond its operands', and the size of its result.
    #[must_use]
    pub fn estimate(self, args: &[&Type]) -> (u64, u64) {
        let size = |at: usize| args.get(at).map_or(1, |ty| ty.size());
        let (first, second) = (size(0), size(1));
        match self {
            Self::One => (1, UNBOUNDED),
            Self::Read => (tenth(first).max(1), first),
            Self::Convert => (tenth(first).max(1), UNBOUNDED),
            Self::ReadSecond => (tenth(second), 1),
            Self::Search => (tenth(first).saturating_mul(tenth(second)), 1),
            Self::Match => (tenth(first.saturating_add(1)).saturating_mul(second.div_ceil(4)), first),
            Self::Compare => (tenth(first.min(second)), 1),
            Self::Concat => {
                let both = first.saturating_add(second);
                (tenth(both), both)
            }
            Self::Append => (1, first.saturating_add(second)),
            Self::Member => (second, 1),
            Self::Items => {
                let each = match args.first() {
                    Some(Type::List(list)) => tenth(list.item.size()).max(1),
                    _ => 1,
                };
                (first.saturating_mul(each), 1)
            }
            Self::Copy => (first.max(1), first),
            Self::Square => (first.saturating_mul(first).max(1), first),
            Self::Flatten => {
                let each = match args.first() {
                    Some(Type::List(list)) => list.item.size(),
                    _ => UNBOUNDED,
                };
                let all = first.saturating_mul(each);
                (all.max(1), all)
            }
            Self::Product => (first.saturating_mul(second), 1),
            Self::Split => (tenth(first).max(1), first),
            Self::Join => {
                let each = match args.first() {
                    Some(Type::List(list)) => list.item.size(),
                    _ => UNBOUNDED,
                };
                let between = if args.len() > 1 { second } else { 0 };
                let all = first.saturating_mul(each.saturating_add(between));
                (tenth(all), all)
            }
            Self::Check => (authz::CHECK, UNBOUNDED),
            Self::Selector => (selector_cost(second), UNBOUNDED),
            Self::Replace => (tenth(first).max(1), first.saturating_mul(size(2).max(1))),
        }
    }
}
