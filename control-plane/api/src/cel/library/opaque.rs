//! Values of Kubernetes' own types, and the functions on quantities.

use super::authz::Access;
use super::calls::text as text_of;
use super::net::Network;
use super::semver::Version;
use super::text_format::Named;
use super::urls::Url;
use super::{Cost, Row, Sig, Style, tenth};
use crate::cel::error::Fault;
use crate::cel::eval::Frame;
use crate::cel::types::Opaque;
use crate::cel::value::Val;
use crate::quantity::Quantity;
use regex::Regex;
use std::cmp::Ordering;
use std::net::IpAddr;
use std::sync::Arc;

/// A value of a type that CEL itself does not have.
#[derive(Clone, Debug)]
pub enum Foreign {
    Url(Url),
    Quantity(Quantity),
    Ip(IpAddr),
    Cidr(Network),
    Format(Named),
    Semver(Version),
    Access(Access),
    /// A literal pattern, compiled. Never the result of an expression.
    Regex(Arc<Regex>),
}

impl Foreign {
    #[must_use]
    pub const fn kind(&self) -> Opaque {
        match self {
            Self::Url(_) => Opaque::Url,
            Self::Quantity(_) => Opaque::Quantity,
            Self::Ip(_) => Opaque::Ip,
            Self::Cidr(_) => Opaque::Cidr,
            Self::Format(_) | Self::Regex(_) => Opaque::Format,
            Self::Semver(_) => Opaque::Semver,
            Self::Access(access) => access.kind(),
        }
    }

    #[must_use]
    pub fn equals(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Url(a), Self::Url(b)) => a == b,
            (Self::Quantity(a), Self::Quantity(b)) => a == b,
            (Self::Ip(a), Self::Ip(b)) => a == b,
            (Self::Cidr(a), Self::Cidr(b)) => a == b,
            (Self::Format(a), Self::Format(b)) => a == b,
            (Self::Semver(a), Self::Semver(b)) => a.cmp(b) == Ordering::Equal,
            _ => false,
        }
    }

    /// What `string()` makes of it, where it makes anything.
    #[must_use]
    pub fn text(&self) -> Option<String> {
        match self {
            Self::Ip(address) => Some(address.to_string()),
            Self::Cidr(network) => Some(network.to_string()),
            _ => None,
        }
    }
}

pub fn made<'a>(foreign: Foreign) -> Val<'a> {
    Val::Foreign(Arc::new(foreign))
}

/// The operand of a method on foreign values.
pub fn foreign<'v>(value: Option<&'v Val<'_>>) -> Result<&'v Foreign, Fault> {
    match value {
        Some(Val::Foreign(foreign)) => Ok(foreign),
        _ => Err(Fault::no_overload()),
    }
}

/// The text operand of a parser, paid for.
pub fn source<'v>(frame: &mut Frame<'_>, args: &'v [Val<'_>]) -> Result<&'v str, Fault> {
    let text = text_of(args.first().ok_or(Fault::no_overload())?)?.as_str();
    frame.charge(tenth(text.len() as u64))?;
    Ok(text)
}

const Q: Sig = Sig::Opaque(Opaque::Quantity);
const QQ: &[Sig] = &[Q, Q];
const QI: &[Sig] = &[Q, Sig::Int];

const fn method(name: &'static str, args: &'static [Sig], result: Sig, run: super::Run) -> Row {
    Row { name, style: Style::Member, args, result, cost: Cost::One, run }
}

const fn parser(name: &'static str, result: Sig, run: super::Run) -> Row {
    Row { name, style: Style::Global, args: &[Sig::Text], result, cost: Cost::Convert, run }
}

pub const ROWS: &[Row] = &[
    parser("quantity", Q, quantity),
    parser("isQuantity", Sig::Bool, is_quantity),
    method("sign", &[Q], Sig::Int, sign),
    // Kubernetes' own is no method, whatever its documentation says.
    Row { name: "sign", style: Style::Global, args: &[Q], result: Sig::Int, cost: Cost::One, run: sign },
    method("isInteger", &[Q], Sig::Bool, is_integer),
    method("asInteger", &[Q], Sig::Int, as_integer),
    method("asApproximateFloat", &[Q], Sig::Double, as_float),
    method("add", QQ, Q, add),
    method("add", QI, Q, add),
    method("sub", QQ, Q, sub),
    method("sub", QI, Q, sub),
    method("isLessThan", QQ, Sig::Bool, is_less),
    method("isGreaterThan", QQ, Sig::Bool, is_greater),
    method("compareTo", QQ, Sig::Int, compare_to),
];

fn quantity<'a>(frame: &mut Frame<'a>, args: &[Val<'a>]) -> Result<Val<'a>, Fault> {
    let parsed = Quantity::parse(source(frame, args)?);
    parsed.map(|quantity| made(Foreign::Quantity(quantity))).map_err(|error| Fault::of(error.to_string()))
}

fn is_quantity<'a>(frame: &mut Frame<'a>, args: &[Val<'a>]) -> Result<Val<'a>, Fault> {
    Ok(Val::Bool(Quantity::parse(source(frame, args)?).is_ok()))
}

fn amount(value: Option<&Val<'_>>) -> Result<Quantity, Fault> {
    match (value, value) {
        (Some(Val::Int(n)), _) => Ok(Quantity::from_int(*n)),
        (_, value) => match foreign(value)? {
            Foreign::Quantity(quantity) => Ok(*quantity),
            _ => Err(Fault::no_overload()),
        },
    }
}

fn sign<'a>(_: &mut Frame<'a>, args: &[Val<'a>]) -> Result<Val<'a>, Fault> {
    Ok(Val::Int(i64::from(amount(args.first())?.nanos().signum() as i8)))
}

fn is_integer<'a>(_: &mut Frame<'a>, args: &[Val<'a>]) -> Result<Val<'a>, Fault> {
    Ok(Val::Bool(amount(args.first())?.is_integer()))
}

fn as_integer<'a>(_: &mut Frame<'a>, args: &[Val<'a>]) -> Result<Val<'a>, Fault> {
    let amount = amount(args.first())?;
    if amount.is_integer() { Ok(Val::Int(amount.value())) } else { Err(Fault::text("cannot convert value to integer")) }
}

fn as_float<'a>(_: &mut Frame<'a>, args: &[Val<'a>]) -> Result<Val<'a>, Fault> {
    Ok(Val::Double(amount(args.first())?.nanos() as f64 / 1e9))
}

fn add<'a>(_: &mut Frame<'a>, args: &[Val<'a>]) -> Result<Val<'a>, Fault> {
    Ok(made(Foreign::Quantity(amount(args.first())? + amount(args.get(1))?)))
}

fn sub<'a>(_: &mut Frame<'a>, args: &[Val<'a>]) -> Result<Val<'a>, Fault> {
    Ok(made(Foreign::Quantity(amount(args.first())? - amount(args.get(1))?)))
}

/// The order of two quantities, or of two versions: their methods have the same names.
fn order(args: &[Val<'_>]) -> Result<Ordering, Fault> {
    match (foreign(args.first())?, foreign(args.get(1))?) {
        (Foreign::Quantity(a), Foreign::Quantity(b)) => Ok(a.cmp(b)),
        (Foreign::Semver(a), Foreign::Semver(b)) => Ok(a.cmp(b)),
        _ => Err(Fault::no_overload()),
    }
}

pub fn is_less<'a>(_: &mut Frame<'a>, args: &[Val<'a>]) -> Result<Val<'a>, Fault> {
    order(args).map(|order| Val::Bool(order.is_lt()))
}

pub fn is_greater<'a>(_: &mut Frame<'a>, args: &[Val<'a>]) -> Result<Val<'a>, Fault> {
    order(args).map(|order| Val::Bool(order.is_gt()))
}

pub fn compare_to<'a>(_: &mut Frame<'a>, args: &[Val<'a>]) -> Result<Val<'a>, Fault> {
    order(args).map(|order| Val::Int(order as i64))
}
