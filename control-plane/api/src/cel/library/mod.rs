//! The functions of expressions: CEL's standard ones and Kubernetes' libraries, as a table of overloads.
//!
//! A [`Row`] says what the checker needs (types, cost) and what runs. Functions of one name share one implementation,
//! which looks at the values it is given: with `dyn` operands only they tell which overload is meant.

pub mod authz;
pub mod calls;
pub mod cost;
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
pub use cost::{Cost, tenth};
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

    /// The type that it stands for.
    #[must_use]
    pub fn build(&self, bound: &[Option<Type>; 2]) -> Type {
        match self {
            Self::Dyn => Type::Dyn,
            Self::Bool => Type::Bool,
            Self::Int => Type::Int,
            Self::Uint => Type::Uint,
            Self::Double => Type::Double,
            Self::Text => Type::String(0),
            Self::Bytes => Type::Bytes(0),
            Self::Duration => Type::Duration,
            Self::Timestamp => Type::Timestamp,
            Self::Type => Type::Type,
            Self::List(inner) => Type::list(inner.build(bound), UNBOUNDED),
            Self::Map(key, value) => Type::map(key.build(bound), value.build(bound), UNBOUNDED),
            Self::Optional(inner) => Type::optional(inner.build(bound)),
            Self::Opaque(opaque) => Type::Opaque(*opaque),
            Self::Param(at) => bound.get(*at).cloned().flatten().unwrap_or(Type::Free),
        }
    }
}
