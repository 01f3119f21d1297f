//! `'%s has %d'.format([…])`.

use super::calls::text as text_of;
use super::tenth;
use crate::cel::error::Fault;
use crate::cel::eval::{Frame, text};
use crate::cel::value::{List, Val};
use std::fmt::Write as _;

/// Decimals that a clause may ask for.
const MAX_PRECISION: usize = 100;

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
        let (precision, after) = precision(rest)?;
        let verb = after.chars().next().ok_or(Fault::text("unexpected end of string"))?;
        rest = &after[verb.len_utf8()..];
        let value = argument(values, next)?;
        next += 1;
        let before = out.len();
        clause(&mut out, verb, precision, &value, frame)?;
        frame.charge(1 + tenth((out.len() - before) as u64))?;
    }
    out.push_str(rest);
    text(out, frame)
}

fn argument<'a>(values: &List<'a>, at: usize) -> Result<Val<'a>, Fault> {
    values.get(at)?.ok_or_else(|| Fault::of(format!("index {at} out of range")))
}

fn precision(text: &str) -> Result<(usize, &str), Fault> {
    let Some(digits) = text.strip_prefix('.') else { return Ok((6, text)) };
    let end = digits.find(|c: char| !c.is_ascii_digit()).unwrap_or(digits.len());
    let wanted = digits[..end].parse().ok().filter(|n| *n <= MAX_PRECISION);
    let wanted = wanted.ok_or(Fault::text("error while parsing precision: out of range"))?;
    Ok((wanted, &digits[end..]))
}

fn clause(out: &mut String, verb: char, precision: usize, value: &Val<'_>, frame: &mut Frame<'_>) -> Result<(), Fault> {
    let wrong =
        || Fault::of(format!("could not parse formatting clause: '%{verb}' does not take {}", value.type_name()));
    // Writing to a string cannot fail.
    let _ = match (verb, value) {
        ('s', value) => return show(out, value, frame, 0),
        ('d', Val::Int(n)) => write!(out, "{n}"),
        ('d', Val::Uint(n)) => write!(out, "{n}"),
        ('d' | 'f' | 'e', Val::Double(n)) if !n.is_finite() => write!(out, "{}", special(*n)),
        ('d', Val::Double(n)) => write!(out, "{n}"),
        ('f', Val::Double(n)) => write!(out, "{n:.precision$}"),
        ('f', Val::Int(n)) => write!(out, "{:.precision$}", *n as f64),
        ('f', Val::Uint(n)) => write!(out, "{:.precision$}", *n as f64),
        ('e', Val::Double(n)) => write!(out, "{}", exponent(*n, precision)),
        ('e', Val::Int(n)) => write!(out, "{}", exponent(*n as f64, precision)),
        ('e', Val::Uint(n)) => write!(out, "{}", exponent(*n as f64, precision)),
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
        ('d' | 'f' | 'e' | 'b' | 'o' | 'x' | 'X', _) => return Err(wrong()),
        _ => {
            return Err(Fault::of(format!(
                "could not parse formatting clause: unrecognized formatting clause \"{verb}\""
            )));
        }
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

/// `1.052746e+03`: the exponent has a sign and two digits at least.
fn exponent(n: f64, precision: usize) -> String {
    let plain = format!("{n:.precision$e}");
    let Some((mantissa, power)) = plain.split_once('e') else { return plain };
    match power.strip_prefix('-') {
        Some(power) => format!("{mantissa}e-{power:0>2}"),
        None => format!("{mantissa}e+{power:0>2}"),
    }
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
        Val::Double(n) if !n.is_finite() => out.push_str(special(*n)),
        Val::Double(n) => out.push_str(&n.to_string()),
        Val::Text(text) => {
            frame.charge(text.as_str().len() as u64 / 10)?;
            out.push_str(text.as_str());
        }
        Val::Bytes(bytes) => {
            frame.charge(bytes.len() as u64 / 10)?;
            out.push_str(&String::from_utf8_lossy(bytes));
        }
        Val::Duration(nanos) => out.push_str(&super::times::duration_text(*nanos)),
        Val::Timestamp(at) => out.push_str(&at.to_string()),
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
                out.push_str(": ");
                show(out, &value, frame, depth + 1)?;
            }
            out.push('}');
        }
        Val::Foreign(foreign) if foreign.text().is_some() => out.push_str(&foreign.text().unwrap_or_default()),
        Val::Optional(_) | Val::Foreign(_) => {
            return Err(Fault::text(
                "string clause can only be used on strings, bools, bytes, ints, doubles, maps, lists, types, durations, and timestamps",
            ));
        }
    }
    Ok(())
}
