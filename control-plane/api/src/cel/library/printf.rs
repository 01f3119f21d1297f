//! `'%s has %d'.format([…])`.

use super::calls::text as text_of;
use super::tenth;
use crate::cel::error::Fault;
use crate::cel::eval::{Frame, text};
use crate::cel::value::{List, Val};
use crate::field::quoted;
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
    let wrong = || {
        let wanted = match verb {
            'd' => "decimal clause can only be used on integers",
            'f' => "fixed-point clause can only be used on doubles",
            'e' => "scientific clause can only be used on doubles",
            'o' => "octal clause can only be used on integers",
            'b' => "only integers and bools can be formatted as binary",
            _ => "only integers, byte buffers, and strings can be formatted as hex",
        };
        Fault::of(format!("error during formatting: {wanted}, was given {}", value.type_name()))
    };
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
        Val::Foreign(foreign) if foreign.text().is_some() => out.push_str(&foreign.text().unwrap_or_default()),
        Val::Optional(_) | Val::Foreign(_) => {
            return Err(Fault::text(
                "string clause can only be used on strings, bools, bytes, ints, doubles, maps, lists, types, durations, and timestamps",
            ));
        }
    }
    Ok(())
}
