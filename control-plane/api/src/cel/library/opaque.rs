//! Values of Kubernetes' own types, and the functions on quantities.

use super::authz::Access;
use super::calls::text as text_of;
use super::net::Network;
use super::semver::Version;
use super::text_format::Named;
use super::{Cost, Row, Sig, Style};
use crate::cel::error::Fault;
use crate::cel::eval::Frame;
use crate::cel::types::Opaque;
use crate::cel::value::Val;
use crate::crd::url::Url;
use crate::quantity::Quantity;
use regex::Regex;
use std::cmp::Ordering;
use std::net::IpAddr;
use std::sync::Arc;

/// A quantity, and the number and power of ten that Kubernetes keeps it as while they fit 64 bits: only then it says that it
/// is an integer.
#[derive(Clone, Copy, Debug)]
pub struct Amount {
    quantity: Quantity,
    exact: Option<(i64, u32)>,
}

/// A value of a type that CEL itself does not have.
#[derive(Clone, Debug)]
pub enum Foreign {
    Url(Url),
    Quantity(Amount),
    Ip(IpAddr),
    Cidr(Network),
    Format(Named),
    Semver(Version),
    Access(Access),
    /// A literal pattern, compiled, and its bytes before. Never the result of an expression.
    Regex(Arc<Regex>, u64),
}

impl Foreign {
    #[must_use]
    pub const fn kind(&self) -> Opaque {
        match self {
            Self::Url(_) => Opaque::Url,
            Self::Quantity(_) => Opaque::Quantity,
            Self::Ip(_) => Opaque::Ip,
            Self::Cidr(_) => Opaque::Cidr,
            Self::Format(_) | Self::Regex(..) => Opaque::Format,
            Self::Semver(_) => Opaque::Semver,
            Self::Access(access) => access.kind(),
        }
    }

    #[must_use]
    pub fn equals(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Url(a), Self::Url(b)) => a == b,
            (Self::Quantity(a), Self::Quantity(b)) => a.quantity == b.quantity,
            (Self::Ip(a), Self::Ip(b)) => a == b,
            (Self::Cidr(a), Self::Cidr(b)) => a == b,
            (Self::Format(a), Self::Format(b)) => a == b,
            (Self::Semver(a), Self::Semver(b)) => a.cmp(b) == Ordering::Equal,
            _ => false,
        }
    }

    /// The size that costs count by.
    #[must_use]
    pub const fn bytes(&self) -> u64 {
        match self {
            Self::Ip(IpAddr::V4(_)) => 4,
            Self::Ip(IpAddr::V6(_)) => 16,
            Self::Cidr(network) => network.bytes(),
            Self::Regex(_, bytes) => *bytes,
            _ => 1,
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

/// The text operand of a parser.
pub fn source<'v>(args: &'v [Val<'_>]) -> Result<&'v str, Fault> {
    Ok(text_of(args.first().ok_or(Fault::no_overload())?)?.as_str())
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

impl Amount {
    fn parse(text: &str) -> Result<Self, Fault> {
        let quantity = Quantity::parse(text).map_err(|error| Fault::of(error.to_string()))?;
        Ok(Self { quantity, exact: exact(text) })
    }

    /// With another one's exact number, if both have one and the sum fits.
    fn combined(self, other: Self, quantity: Quantity, add: fn(i64, i64) -> Option<i64>) -> Self {
        let sum = |(a, b): ((i64, u32), (i64, u32))| {
            let places = a.1.max(b.1);
            let scaled = |(n, own): (i64, u32)| 10_i64.checked_pow(places - own)?.checked_mul(n);
            match (a.0, b.0) {
                (_, 0) => Some(a),
                _ => Some((add(scaled(a)?, scaled(b)?)?, places)),
            }
        };
        Self { quantity, exact: self.exact.zip(other.exact).and_then(sum) }
    }

    fn integer(self) -> Option<i64> {
        self.exact.filter(|(_, places)| *places == 0).map(|(n, _)| n)
    }
}

/// The number that a quantity's text says, and how many of its digits are decimals, as far as Kubernetes keeps that.
fn exact(text: &str) -> Option<(i64, u32)> {
    let (sign, rest) = match text.strip_prefix('-') {
        Some(rest) => (-1, rest),
        None => (1, text.strip_prefix('+').unwrap_or(text)),
    };
    let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(rest.len());
    let (number, suffix) = rest.split_at(end);
    let (whole, decimals) = number.split_once('.').unwrap_or((number, ""));
    let whole = whole.trim_start_matches('0');
    let digits: i64 = format!("0{whole}{decimals}").parse().ok()?;
    let length = i32::try_from(whole.len().max(1) + decimals.len()).ok()?;
    let power = |suffix: &str| "KMGTPE".find(suffix).and_then(|at| u32::try_from(at + 1).ok());
    if let Some(unit) = suffix.strip_suffix('i') {
        let bits = power(unit)? * 10;
        // About as many digits as Kubernetes thinks that so many bits have.
        let room = 14 - i32::try_from(whole.len().max(1)).ok()? - i32::try_from(bits * 3 / 10).ok()?;
        return (decimals.is_empty() && room >= 0)
            .then(|| Some((1_i64.checked_shl(bits)?.checked_mul(digits * sign)?, 0)))?;
    }
    let exponent = match suffix {
        "" => 0,
        "n" => -9,
        "u" => -6,
        "m" => -3,
        "k" => 3,
        suffix => match suffix.strip_prefix(['e', 'E']).filter(|digits| !digits.is_empty()) {
            Some(digits) => digits.parse().ok()?,
            None => i32::try_from(power(suffix)? * 3).ok()?,
        },
    };
    let scale = exponent - i32::try_from(decimals.len()).ok()?;
    if length > 18 || scale < -9 {
        return None;
    }
    match u32::try_from(scale) {
        Ok(zeros) => Some((10_i64.checked_pow(zeros)?.checked_mul(digits * sign)?, 0)),
        Err(_) => Some((digits * sign, scale.unsigned_abs())),
    }
}

fn quantity<'a>(_: &mut Frame<'a>, args: &[Val<'a>]) -> Result<Val<'a>, Fault> {
    Amount::parse(source(args)?).map(|amount| made(Foreign::Quantity(amount)))
}

fn is_quantity<'a>(_: &mut Frame<'a>, args: &[Val<'a>]) -> Result<Val<'a>, Fault> {
    Ok(Val::Bool(Quantity::parse(source(args)?).is_ok()))
}

fn amount(value: Option<&Val<'_>>) -> Result<Amount, Fault> {
    match value {
        Some(Val::Int(n)) => Ok(Amount { quantity: Quantity::from_int(*n), exact: Some((*n, 0)) }),
        value => match foreign(value)? {
            Foreign::Quantity(amount) => Ok(*amount),
            _ => Err(Fault::no_overload()),
        },
    }
}

fn sign<'a>(_: &mut Frame<'a>, args: &[Val<'a>]) -> Result<Val<'a>, Fault> {
    Ok(Val::Int(i64::from(amount(args.first())?.quantity.nanos().signum() as i8)))
}

fn is_integer<'a>(_: &mut Frame<'a>, args: &[Val<'a>]) -> Result<Val<'a>, Fault> {
    Ok(Val::Bool(amount(args.first())?.integer().is_some()))
}

fn as_integer<'a>(_: &mut Frame<'a>, args: &[Val<'a>]) -> Result<Val<'a>, Fault> {
    amount(args.first())?.integer().map(Val::Int).ok_or(Fault::text("cannot convert value to integer"))
}

fn as_float<'a>(_: &mut Frame<'a>, args: &[Val<'a>]) -> Result<Val<'a>, Fault> {
    Ok(Val::Double(amount(args.first())?.quantity.nanos() as f64 / 1e9))
}

fn add<'a>(_: &mut Frame<'a>, args: &[Val<'a>]) -> Result<Val<'a>, Fault> {
    let (a, b) = (amount(args.first())?, amount(args.get(1))?);
    Ok(made(Foreign::Quantity(a.combined(b, a.quantity + b.quantity, i64::checked_add))))
}

fn sub<'a>(_: &mut Frame<'a>, args: &[Val<'a>]) -> Result<Val<'a>, Fault> {
    let (a, b) = (amount(args.first())?, amount(args.get(1))?);
    Ok(made(Foreign::Quantity(a.combined(b, a.quantity - b.quantity, i64::checked_sub))))
}

/// The order of two quantities, or of two versions: their methods have the same names.
fn order(args: &[Val<'_>]) -> Result<Ordering, Fault> {
    match (foreign(args.first())?, foreign(args.get(1))?) {
        (Foreign::Quantity(a), Foreign::Quantity(b)) => Ok(a.quantity.cmp(&b.quantity)),
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
