//! Sizes, conversions between types, and `type`.

use super::calls::text as text_of;
use super::{Cost, Row, Sig, Style};
use crate::cel::error::Fault;
use crate::cel::eval::Frame;
use crate::cel::types::Opaque;
use crate::cel::value::{Text, Val};

const P: Sig = Sig::Param(0);
const Q: Sig = Sig::Param(1);

const fn row(name: &'static str, args: &'static [Sig], result: Sig, cost: Cost, run: super::Run) -> Row {
    Row { name, style: Style::Global, args, result, cost, run }
}

const fn method(name: &'static str, args: &'static [Sig], result: Sig, cost: Cost, run: super::Run) -> Row {
    Row { name, style: Style::Member, args, result, cost, run }
}

pub const ROWS: &[Row] = &[
    row("size", &[Sig::Text], Sig::Int, Cost::One, size),
    row("size", &[Sig::Bytes], Sig::Int, Cost::One, size),
    row("size", &[Sig::List(&P)], Sig::Int, Cost::One, size),
    row("size", &[Sig::Map(&P, &Q)], Sig::Int, Cost::One, size),
    method("size", &[Sig::Text], Sig::Int, Cost::One, size),
    method("size", &[Sig::Bytes], Sig::Int, Cost::One, size),
    method("size", &[Sig::List(&P)], Sig::Int, Cost::One, size),
    method("size", &[Sig::Map(&P, &Q)], Sig::Int, Cost::One, size),
    row("int", &[Sig::Int], Sig::Int, Cost::One, int),
    row("int", &[Sig::Uint], Sig::Int, Cost::One, int),
    row("int", &[Sig::Double], Sig::Int, Cost::One, int),
    row("int", &[Sig::Text], Sig::Int, Cost::One, int),
    row("int", &[Sig::Timestamp], Sig::Int, Cost::One, int),
    row("int", &[Sig::Duration], Sig::Int, Cost::One, int),
    row("uint", &[Sig::Uint], Sig::Uint, Cost::One, uint),
    row("uint", &[Sig::Int], Sig::Uint, Cost::One, uint),
    row("uint", &[Sig::Double], Sig::Uint, Cost::One, uint),
    row("uint", &[Sig::Text], Sig::Uint, Cost::One, uint),
    row("double", &[Sig::Double], Sig::Double, Cost::One, double),
    row("double", &[Sig::Int], Sig::Double, Cost::One, double),
    row("double", &[Sig::Uint], Sig::Double, Cost::One, double),
    row("double", &[Sig::Text], Sig::Double, Cost::One, double),
    row("bool", &[Sig::Bool], Sig::Bool, Cost::One, boolean),
    row("bool", &[Sig::Text], Sig::Bool, Cost::One, boolean),
    row("string", &[Sig::Text], Sig::Text, Cost::One, string),
    row("string", &[Sig::Bool], Sig::Text, Cost::One, string),
    row("string", &[Sig::Int], Sig::Text, Cost::One, string),
    row("string", &[Sig::Uint], Sig::Text, Cost::One, string),
    row("string", &[Sig::Double], Sig::Text, Cost::One, string),
    row("string", &[Sig::Bytes], Sig::Text, Cost::Read, string),
    row("string", &[Sig::Timestamp], Sig::Text, Cost::One, string),
    row("string", &[Sig::Duration], Sig::Text, Cost::One, string),
    row("string", &[Sig::Opaque(Opaque::Ip)], Sig::Text, Cost::One, string),
    row("string", &[Sig::Opaque(Opaque::Cidr)], Sig::Text, Cost::One, string),
    row("bytes", &[Sig::Bytes], Sig::Bytes, Cost::One, bytes),
    row("bytes", &[Sig::Text], Sig::Bytes, Cost::Read, bytes),
    row("dyn", &[P], Sig::Dyn, Cost::One, any),
    row("type", &[P], Sig::Type, Cost::One, type_of),
];

fn size<'a>(_: &mut Frame<'a>, args: &[Val<'a>]) -> Result<Val<'a>, Fault> {
    let size = match args {
        [Val::Text(text)] => text.as_str().chars().count(),
        [Val::Bytes(bytes)] => bytes.len(),
        [Val::List(list)] => list.len(),
        [Val::Map(map)] => map.len(),
        _ => return Err(Fault::text("no such overload: size")),
    };
    Ok(Val::Int(i64::try_from(size).unwrap_or(i64::MAX)))
}

const RANGE: Fault = Fault::overflow();

fn conversion(from: &str, to: &str) -> Fault {
    Fault::of(format!("type conversion error from '{from}' to '{to}'"))
}

fn int<'a>(_: &mut Frame<'a>, args: &[Val<'a>]) -> Result<Val<'a>, Fault> {
    match args {
        [Val::Int(n)] => Ok(Val::Int(*n)),
        [Val::Uint(n)] => i64::try_from(*n).map(Val::Int).map_err(|_| RANGE),
        [Val::Double(n)] if n.abs() < 9_223_372_036_854_775_808.0 => Ok(Val::Int(n.trunc() as i64)),
        [Val::Double(_)] => Err(RANGE),
        [Val::Text(text)] => text.as_str().parse().map(Val::Int).map_err(|_| conversion("string", "int")),
        [Val::Timestamp(time)] => Ok(Val::Int(time.as_second())),
        [Val::Duration(nanos)] => Ok(Val::Int(*nanos)),
        _ => Err(Fault::no_overload()),
    }
}

fn uint<'a>(_: &mut Frame<'a>, args: &[Val<'a>]) -> Result<Val<'a>, Fault> {
    const OUT: Fault = Fault::text("unsigned integer overflow");
    match args {
        [Val::Uint(n)] => Ok(Val::Uint(*n)),
        [Val::Int(n)] => u64::try_from(*n).map(Val::Uint).map_err(|_| OUT),
        [Val::Double(n)] if *n >= 0.0 && *n < 18_446_744_073_709_551_616.0 => Ok(Val::Uint(n.trunc() as u64)),
        [Val::Double(_)] => Err(OUT),
        [Val::Text(text)] => text.as_str().parse().map(Val::Uint).map_err(|_| conversion("string", "uint")),
        _ => Err(Fault::no_overload()),
    }
}

fn double<'a>(_: &mut Frame<'a>, args: &[Val<'a>]) -> Result<Val<'a>, Fault> {
    match args {
        [Val::Double(n)] => Ok(Val::Double(*n)),
        [Val::Int(n)] => Ok(Val::Double(*n as f64)),
        [Val::Uint(n)] => Ok(Val::Double(*n as f64)),
        [Val::Text(text)] => text.as_str().parse().map(Val::Double).map_err(|_| conversion("string", "double")),
        _ => Err(Fault::no_overload()),
    }
}

fn boolean<'a>(_: &mut Frame<'a>, args: &[Val<'a>]) -> Result<Val<'a>, Fault> {
    match args {
        [Val::Bool(truth)] => Ok(Val::Bool(*truth)),
        [Val::Text(text)] => match text.as_str() {
            "1" | "t" | "T" | "true" | "TRUE" | "True" => Ok(Val::Bool(true)),
            "0" | "f" | "F" | "false" | "FALSE" | "False" => Ok(Val::Bool(false)),
            _ => Err(conversion("string", "bool")),
        },
        _ => Err(Fault::no_overload()),
    }
}

fn string<'a>(_: &mut Frame<'a>, args: &[Val<'a>]) -> Result<Val<'a>, Fault> {
    let made = match args {
        [Val::Text(text)] => return Ok(Val::Text(text.clone())),
        [Val::Bytes(bytes)] => {
            let valid = String::from_utf8(bytes.to_vec());
            valid.map_err(|_| Fault::text("invalid UTF-8 in bytes, cannot convert to string"))?
        }
        [Val::Bool(truth)] => truth.to_string(),
        [Val::Int(n)] => n.to_string(),
        [Val::Uint(n)] => n.to_string(),
        [Val::Double(n)] => shortest(*n),
        [Val::Timestamp(at)] => at.to_string(),
        [Val::Duration(nanos)] => super::times::duration_text(*nanos),
        [Val::Foreign(foreign)] => foreign.text().ok_or(Fault::no_overload())?,
        [Val::Null] => return Err(Fault::text("no such overload: string(null_type)")),
        _ => return Err(Fault::no_overload()),
    };
    Ok(made.into())
}

/// Go's `FormatFloat(n, 'g', -1, 64)`.
pub fn shortest(n: f64) -> String {
    if !n.is_finite() {
        return if n.is_nan() { "NaN".into() } else { format!("{}Inf", if n > 0.0 { '+' } else { '-' }) };
    }
    let scientific = format!("{n:e}");
    let Some((mantissa, power)) = scientific.split_once('e') else { return scientific };
    let power: i32 = power.parse().unwrap_or_default();
    if (-4..6).contains(&power) {
        return n.to_string();
    }
    format!("{mantissa}e{}{:0>2}", if power < 0 { '-' } else { '+' }, power.abs())
}

fn bytes<'a>(_: &mut Frame<'a>, args: &[Val<'a>]) -> Result<Val<'a>, Fault> {
    match args {
        [Val::Bytes(bytes)] => Ok(Val::Bytes(bytes.clone())),
        [value] => Ok(Val::Bytes(text_of(value)?.as_str().as_bytes().into())),
        _ => Err(Fault::no_overload()),
    }
}

fn any<'a>(_: &mut Frame<'a>, args: &[Val<'a>]) -> Result<Val<'a>, Fault> {
    args.first().cloned().ok_or(Fault::no_overload())
}

fn type_of<'a>(_: &mut Frame<'a>, args: &[Val<'a>]) -> Result<Val<'a>, Fault> {
    let name = args.first().map(Val::type_name).ok_or(Fault::no_overload())?;
    Ok(Val::Type(Text::Borrowed(name)))
}

/// `timestamp("…")`.
pub fn timestamp<'a>(_: &mut Frame<'a>, args: &[Val<'a>]) -> Result<Val<'a>, Fault> {
    match args {
        [Val::Timestamp(at)] => Ok(Val::Timestamp(*at)),
        [Val::Int(seconds)] => {
            jiff::Timestamp::from_second(*seconds).map(Val::Timestamp).map_err(|_| Fault::text("timestamp overflow"))
        }
        [Val::Text(text)] => super::times::moment(text.as_str()).map(Val::Timestamp),
        _ => Err(Fault::no_overload()),
    }
}
