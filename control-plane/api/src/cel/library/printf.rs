//! `'%s has %d'.format([…])`.

use super::calls::text as text_of;
use super::tenth;
use crate::cel::check::Checker;
use crate::cel::checked::Checked;
use crate::cel::error::Fault;
use crate::cel::eval::{Frame, Node};
use crate::cel::types::Type;
use crate::cel::value::{List, Val};
use crate::field::quoted;
use cel::IdedExpr;
use cel::common::ast::Expr;
use std::fmt::Write as _;

/// Decimals that a clause may ask for; no more than these are printed.
const MAX_PRECISION: usize = 15;

pub fn format<'a>(frame: &mut Frame<'a>, args: &[Val<'a>]) -> Result<Val<'a>, Fault> {
    let [pattern, Val::List(values)] = args else { return Err(Fault::no_overload()) };
    let mut rest = text_of(pattern)?.as_str();
    let mut out = String::new();
    let mut next = 0;
    while let Some(at) = rest.find('%') {
        out.push_str(&rest[..at]);
        rest = &rest[at + 1..];
        if let Some(after) = rest.strip_prefix('%') {
            out.push('%');
            rest = after;
            continue;
        }
        let value = argument(values, next)?;
        let (precision, verb, after) = verb(rest)?;
        rest = after;
        next += 1;
        let before = out.len();
        clause(&mut out, verb, precision, &value, frame)?;
        frame.charge(1 + tenth((out.len() - before) as u64))?;
    }
    out.push_str(rest);
    Ok(out.into())
}

/// What is wrong with a call whose pattern is written out and whose values stand in a list: where, if at a value, and what.
pub fn check(checker: &Checker<'_>, args: &[Checked], exprs: &[&IdedExpr]) -> Option<(Option<u64>, String)> {
    let ([pattern, _], [_, list]) = (args, exprs) else { return None };
    let (Node::Const(Val::Text(pattern)), Expr::List(list)) = (&pattern.node, &list.expr) else { return None };
    if !list.optional_indices.is_empty() {
        return None;
    }
    let at_call = |fault: Fault| Some((None, fault.to_string()));
    let mut rest = pattern.as_str();
    let mut next = 0;
    while let Some(at) = rest.find('%') {
        rest = &rest[at + 1..];
        if let Some(after) = rest.strip_prefix('%') {
            rest = after;
            continue;
        }
        if rest.is_empty() {
            return at_call(Fault::text("unexpected end of string"));
        }
        let Some(value) = list.elements.get(next) else {
            return Some((None, format!("index {next} out of range")));
        };
        next += 1;
        let (verb, after) = match verb(rest) {
            Ok((_, verb, after)) => (verb, after),
            Err(fault) => return at_call(fault),
        };
        rest = after;
        let ty = checker.type_of(value.id);
        if let Some(ty) = ty.filter(|ty| !takes(verb, ty)) {
            let given = match ty {
                Type::Optional(_) => "optional_type".to_owned(),
                Type::List(_) => "list".to_owned(),
                Type::Map(_) => "map".to_owned(),
                Type::Duration => "google.protobuf.Duration".to_owned(),
                Type::Timestamp => "google.protobuf.Timestamp".to_owned(),
                other => other.to_string(),
            };
            return Some((Some(value.id), format!("error during formatting: {}, was given {given}", wanted(verb))));
        }
    }
    let given = list.elements.len();
    (given > next)
        .then(|| (None, format!("too many arguments supplied to string.format (expected {next}, got {given})")))
}

/// Whether a clause takes values of a type.
fn takes(verb: char, ty: &Type) -> bool {
    match (verb, ty) {
        (_, ty) if ty.is_dyn() => true,
        ('s', ty) => !matches!(ty, Type::Object(_) | Type::Opaque(_) | Type::Optional(_)),
        ('d', Type::Int | Type::Uint) => true,
        ('f' | 'e', Type::Double) => true,
        ('b', Type::Bool | Type::Int | Type::Uint) | ('o', Type::Int | Type::Uint) => true,
        ('x' | 'X', Type::Int | Type::Uint | Type::String(_) | Type::Bytes(_)) => true,
        _ => false,
    }
}

/// What a clause takes, in words.
const fn wanted(verb: char) -> &'static str {
    match verb {
        's' => {
            "string clause can only be used on strings, bools, bytes, ints, doubles, maps, lists, types, durations, and timestamps"
        }
        'd' => "decimal clause can only be used on integers",
        'f' => "fixed-point clause can only be used on doubles",
        'e' => "scientific clause can only be used on doubles",
        'o' => "octal clause can only be used on integers",
        'b' => "only integers and bools can be formatted as binary",
        _ => "only integers, byte buffers, and strings can be formatted as hex",
    }
}

/// The precision and the letter of the clause that `text` starts with, and what follows.
fn verb(text: &str) -> Result<(usize, char, &str), Fault> {
    let parsing = |why: &str| Fault::of(format!("could not parse formatting clause: {why}"));
    let (precision, after) = precision(text).map_err(|fault| parsing(&fault.to_string()))?;
    let verb = after.chars().next().ok_or(Fault::text("unexpected end of string"))?;
    if !"sdfebxXo".contains(verb) {
        return Err(parsing(&format!("unrecognized formatting clause \"{verb}\"")));
    }
    Ok((precision, verb, &after[verb.len_utf8()..]))
}

fn argument<'a>(values: &List<'a>, at: usize) -> Result<Val<'a>, Fault> {
    values.get(at)?.ok_or_else(|| Fault::of(format!("index {at} out of range")))
}

fn precision(text: &str) -> Result<(usize, &str), Fault> {
    let Some(digits) = text.strip_prefix('.') else { return Ok((6, text)) };
    let end = digits.find(|c: char| !c.is_ascii_digit()).unwrap_or(digits.len());
    if digits.len() == end {
        return Err(Fault::text("error while parsing precision: could not find end of precision specifier"));
    }
    let wanted: usize = digits[..end].parse().map_err(|_| {
        let (shown, why) = (quoted(&digits[..end]), if end == 0 { "invalid syntax" } else { "value out of range" });
        let why = format!("error while converting precision to integer: strconv.Atoi: parsing {shown}: {why}");
        Fault::of(format!("error while parsing precision: {why}"))
    })?;
    Ok((wanted.min(MAX_PRECISION), &digits[end..]))
}

fn clause(out: &mut String, verb: char, precision: usize, value: &Val<'_>, frame: &mut Frame<'_>) -> Result<(), Fault> {
    let wrong = || Fault::of(format!("error during formatting: {}, was given {}", wanted(verb), value.type_name()));
    // Writing to a string cannot fail.
    let _ = match (verb, value) {
        ('s', value) => return show(out, value, frame, 0),
        ('d', Val::Int(n)) => write!(out, "{n}"),
        ('d', Val::Uint(n)) => write!(out, "{n}"),
        ('d' | 'f' | 'e', Val::Double(n)) if !n.is_finite() => write!(out, "{}", special(*n)),
        ('f', Val::Double(n)) => write!(out, "{}", grouped(&format!("{n:.precision$}"))),
        ('e', Val::Double(n)) => write!(out, "{}", exponent(*n)),
        ('b', Val::Bool(truth)) => write!(out, "{}", u8::from(*truth)),
        ('b' | 'o' | 'x' | 'X', Val::Int(n)) => {
            if *n < 0 {
                out.push('-');
            }
            radix(out, verb, n.unsigned_abs())
        }
        ('b' | 'o' | 'x' | 'X', Val::Uint(n)) => radix(out, verb, *n),
        ('x' | 'X', Val::Text(text)) => {
            frame.charge(text.as_str().len() as u64 / 5)?;
            hex(out, verb, text.as_str().as_bytes());
            Ok(())
        }
        ('x' | 'X', Val::Bytes(bytes)) => {
            frame.charge(bytes.len() as u64 / 5)?;
            hex(out, verb, bytes);
            Ok(())
        }
        _ => return Err(wrong()),
    };
    Ok(())
}

fn special(n: f64) -> &'static str {
    match n {
        n if n.is_nan() => "NaN",
        n if n > 0.0 => "Infinity",
        _ => "-Infinity",
    }
}

/// The digits before the point in groups of three, as the library prints them: `1,234,567.50`.
fn grouped(number: &str) -> String {
    let (sign, number) = number.strip_prefix('-').map_or(("", number), |rest| ("-", rest));
    let (whole, rest) = number.split_at(number.find('.').unwrap_or(number.len()));
    let mut out = sign.to_owned();
    for (at, digit) in whole.char_indices() {
        if at > 0 && (whole.len() - at).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out + rest
}

/// `1.052746×10⁰³`: six decimals whatever is asked for, and an exponent of two digits at least.
fn exponent(n: f64) -> String {
    let plain = format!("{n:.6e}");
    let Some((mantissa, power)) = plain.split_once('e') else { return plain };
    let (sign, digits) = power.strip_prefix('-').map_or(("", power), |digits| ("⁻", digits));
    let raised = |digit: char| digit.to_digit(10).and_then(|n| "⁰¹²³⁴⁵⁶⁷⁸⁹".chars().nth(n as usize)).unwrap_or(digit);
    format!("{mantissa}×10{sign}{}", format!("{digits:0>2}").chars().map(raised).collect::<String>())
}

fn radix(out: &mut String, verb: char, n: u64) -> std::fmt::Result {
    match verb {
        'b' => write!(out, "{n:b}"),
        'o' => write!(out, "{n:o}"),
        'x' => write!(out, "{n:x}"),
        _ => write!(out, "{n:X}"),
    }
}

fn hex(out: &mut String, verb: char, bytes: &[u8]) {
    for byte in bytes {
        // Writing to a string cannot fail.
        let _ = if verb == 'x' { write!(out, "{byte:02x}") } else { write!(out, "{byte:02X}") };
    }
}

/// What is in lists and maps is printed as one would write it.
fn within(out: &mut String, function: &str, text: String, depth: usize) {
    out.push_str(&if depth > 0 { format!("{function}({})", quoted(&text)) } else { text });
}

/// A value as `%s` prints it.
fn show(out: &mut String, value: &Val<'_>, frame: &mut Frame<'_>, depth: usize) -> Result<(), Fault> {
    frame.charge(1)?;
    if depth > 32 {
        return Err(Fault::text("value is nested too deeply to be formatted"));
    }
    match value {
        Val::Null => out.push_str("null"),
        Val::Bool(truth) => out.push_str(if *truth { "true" } else { "false" }),
        Val::Int(n) => out.push_str(&n.to_string()),
        Val::Uint(n) => out.push_str(&n.to_string()),
        Val::Double(n) if depth > 0 && n.is_finite() => out.push_str(&format!("{n:.6}")),
        Val::Double(n) if depth > 0 => out.push_str(&quoted(special(*n))),
        Val::Double(n) => out.push_str(&super::standard::shortest(*n)),
        Val::Text(text) => {
            frame.charge(text.as_str().len() as u64 / 10)?;
            out.push_str(&if depth > 0 { quoted(text.as_str()) } else { text.as_str().to_owned() });
        }
        Val::Bytes(bytes) => {
            frame.charge(bytes.len() as u64 / 10)?;
            let text = String::from_utf8_lossy(bytes);
            out.push_str(&if depth > 0 { format!("b{}", quoted(&text)) } else { text.into_owned() });
        }
        Val::Duration(nanos) => within(out, "duration", super::times::duration_text(*nanos), depth),
        Val::Timestamp(at) => within(out, "timestamp", at.to_string(), depth),
        Val::Type(name) => out.push_str(name.as_str()),
        Val::List(list) => {
            out.push('[');
            for (at, item) in list.items().enumerate() {
                if at > 0 {
                    out.push_str(", ");
                }
                show(out, &item?, frame, depth + 1)?;
            }
            out.push(']');
        }
        Val::Map(map) => {
            out.push('{');
            for (at, entry) in map.entries().enumerate() {
                let (key, value) = entry?;
                if at > 0 {
                    out.push_str(", ");
                }
                show(out, &key, frame, depth + 1)?;
                out.push(':');
                show(out, &value, frame, depth + 1)?;
            }
            out.push('}');
        }
        Val::Optional(_) | Val::Foreign(_) => {
            let given = value.type_name();
            return Err(Fault::of(format!("error during formatting: {}, was given {given}", wanted('s'))));
        }
    }
    Ok(())
}
