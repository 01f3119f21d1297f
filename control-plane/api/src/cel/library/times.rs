//! Durations and timestamps: how they are written, and their parts.

use super::{Cost, Row, Sig, Style};
use crate::cel::error::Fault;
use crate::cel::eval::Frame;
use crate::cel::value::Val;
use jiff::tz::{Offset, TimeZone};
use jiff::{Timestamp, Zoned};
use std::fmt::Write as _;

const fn part(name: &'static str, args: &'static [Sig], run: super::Run) -> Row {
    Row { name, style: Style::Member, args, result: Sig::Int, cost: Cost::One, run }
}

const fn made(name: &'static str, args: &'static [Sig], result: Sig, run: super::Run) -> Row {
    Row { name, style: Style::Global, args, result, cost: Cost::One, run }
}

const T: &[Sig] = &[Sig::Timestamp];
const TZ: &[Sig] = &[Sig::Timestamp, Sig::Text];
const R: &[Sig] = &[Sig::Duration];

pub const ROWS: &[Row] = &[
    made("duration", &[Sig::Text], Sig::Duration, duration),
    made("duration", R, Sig::Duration, duration),
    made("timestamp", &[Sig::Text], Sig::Timestamp, super::standard::timestamp),
    made("timestamp", &[Sig::Int], Sig::Timestamp, super::standard::timestamp),
    made("timestamp", T, Sig::Timestamp, super::standard::timestamp),
    part("getFullYear", T, year),
    part("getFullYear", TZ, year),
    part("getMonth", T, month),
    part("getMonth", TZ, month),
    part("getDayOfYear", T, day_of_year),
    part("getDayOfYear", TZ, day_of_year),
    part("getDayOfMonth", T, day_of_month),
    part("getDayOfMonth", TZ, day_of_month),
    part("getDate", T, date),
    part("getDate", TZ, date),
    part("getDayOfWeek", T, day_of_week),
    part("getDayOfWeek", TZ, day_of_week),
    part("getHours", T, hours),
    part("getHours", TZ, hours),
    part("getHours", R, hours),
    part("getMinutes", T, minutes),
    part("getMinutes", TZ, minutes),
    part("getMinutes", R, minutes),
    part("getSeconds", T, seconds),
    part("getSeconds", TZ, seconds),
    part("getSeconds", R, seconds),
    part("getMilliseconds", T, milliseconds),
    part("getMilliseconds", TZ, milliseconds),
    part("getMilliseconds", R, milliseconds),
];

/// Units of Go's `time.ParseDuration`, in nanoseconds.
const UNITS: &[(&str, f64)] =
    &[("ns", 1.0), ("us", 1e3), ("µs", 1e3), ("μs", 1e3), ("ms", 1e6), ("s", 1e9), ("m", 60e9), ("h", 3600e9)];

/// Nanoseconds of a text such as `1h30m` or `-1.5s`, as `duration()` takes it.
#[must_use]
pub fn go_duration(text: &str) -> Option<i64> {
    if text.contains(['d', 'w', ' ']) { None } else { parse_duration(text) }
}

/// The same of what a schema's `format: duration` allows, which has days and weeks, too: `3 days`.
#[must_use]
pub fn parse_duration(text: &str) -> Option<i64> {
    let (sign, mut rest) = match text.strip_prefix('-') {
        Some(rest) => (-1, rest),
        None => (1, text.strip_prefix('+').unwrap_or(text)),
    };
    if rest == "0" {
        return Some(0);
    }
    if rest.is_empty() || rest.len() > 64 {
        return None;
    }
    let mut total: i128 = 0;
    while !rest.is_empty() {
        let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let (number, after) = rest.split_at(end);
        let after_blank = after.trim_start();
        let unit_end = after_blank.find(|c: char| !c.is_alphabetic()).unwrap_or(after_blank.len());
        let (unit, left) = after_blank.split_at(unit_end);
        let worded = || {
            matches!(unit, "d" | "day" | "days")
                .then_some(86400e9)
                .or(matches!(unit, "w" | "week" | "weeks").then_some(604_800e9))
        };
        let nanos = UNITS.iter().find(|(name, _)| *name == unit).map(|(_, nanos)| *nanos).or_else(worded)?;
        total += amount(number, nanos as i128)?;
        rest = left.trim_start();
    }
    i64::try_from(sign * total).ok()
}

/// `1.5` times a unit, exactly.
fn amount(number: &str, unit: i128) -> Option<i128> {
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if whole.is_empty() && fraction.is_empty() || whole.len() > 19 || fraction.contains('.') {
        return None;
    }
    let whole: i128 = if whole.is_empty() { 0 } else { whole.parse().ok()? };
    let mut total = whole.checked_mul(unit)?;
    let mut scale = unit;
    for digit in fraction.chars().take(15) {
        scale /= 10;
        total += i128::from(digit.to_digit(10)?) * scale;
    }
    Some(total)
}

/// A duration as CEL prints it: seconds, `5400s`, `0.5s`.
#[must_use]
pub fn duration_text(nanos: i64) -> String {
    let sign = if nanos < 0 { "-" } else { "" };
    let (seconds, rest) = (nanos.unsigned_abs() / 1_000_000_000, nanos.unsigned_abs() % 1_000_000_000);
    let mut out = format!("{sign}{seconds}");
    if rest > 0 {
        let fraction = format!("{rest:09}");
        let _ = write!(out, ".{}", fraction.trim_end_matches('0'));
    }
    out.push('s');
    out
}

fn duration<'a>(_: &mut Frame<'a>, args: &[Val<'a>]) -> Result<Val<'a>, Fault> {
    match args {
        [Val::Duration(nanos)] => Ok(Val::Duration(*nanos)),
        [Val::Text(text)] => go_duration(text.as_str())
            .map(Val::Duration)
            .ok_or(Fault::text("type conversion error from 'string' to 'google.protobuf.Duration'")),
        _ => Err(Fault::no_overload()),
    }
}

/// Whether a moment is one of the years that CEL knows: there is none before the year 1.
#[must_use]
pub fn is_known(at: Timestamp) -> bool {
    at.as_second() >= -62_135_596_800
}

/// A text as `timestamp()` takes it: RFC 3339, nine decimals of it.
///
/// # Errors
/// Other texts, and moments before the year 1.
pub fn moment(text: &str) -> Result<Timestamp, Fault> {
    let wrong = || Fault::of(format!("invalid RFC 3339 timestamp {}", crate::field::quoted(text)));
    let plain = text.len() <= 64 && text.is_ascii() && !text.contains(',');
    let found = Some(text).filter(|_| plain).and_then(crate::time::parse).filter(|found| is_known(*found));
    found.ok_or_else(wrong)
}

/// The time in the zone that is asked for: a name, `UTC`, or an offset such as `-08:00`.
fn zoned(args: &[Val<'_>]) -> Result<Zoned, Fault> {
    match args {
        [Val::Timestamp(at)] => Ok(at.to_zoned(TimeZone::UTC)),
        [Val::Timestamp(at), Val::Text(zone)] => {
            let zone = if zone.as_str().is_empty() { "UTC" } else { zone.as_str() };
            let found =
                offset(zone).map(TimeZone::fixed).or_else(|| TimeZone::get(zone).ok().filter(|_| zone.len() < 64));
            let found = found.ok_or_else(|| Fault::of(format!("unknown time zone {zone}")))?;
            Ok(at.to_zoned(found))
        }
        _ => Err(Fault::no_overload()),
    }
}

fn offset(text: &str) -> Option<Offset> {
    let (sign, digits) = match text.strip_prefix('-') {
        Some(digits) => (-1, digits),
        None => (1, text.strip_prefix('+').unwrap_or(text)),
    };
    let (hours, minutes) = digits.split_once(':')?;
    let (hours, minutes): (i32, i32) = (hours.parse().ok()?, minutes.parse().ok()?);
    Offset::from_seconds(sign * (hours.checked_mul(3600)?.checked_add(minutes.checked_mul(60)?)?)).ok()
}

fn whole<'a>(n: impl Into<i64>) -> Result<Val<'a>, Fault> {
    Ok(Val::Int(n.into()))
}

fn year<'a>(_: &mut Frame<'a>, args: &[Val<'a>]) -> Result<Val<'a>, Fault> {
    whole(zoned(args)?.year())
}

fn month<'a>(_: &mut Frame<'a>, args: &[Val<'a>]) -> Result<Val<'a>, Fault> {
    whole(zoned(args)?.month() - 1)
}

fn day_of_year<'a>(_: &mut Frame<'a>, args: &[Val<'a>]) -> Result<Val<'a>, Fault> {
    whole(zoned(args)?.day_of_year() - 1)
}

fn day_of_month<'a>(_: &mut Frame<'a>, args: &[Val<'a>]) -> Result<Val<'a>, Fault> {
    whole(zoned(args)?.day() - 1)
}

fn date<'a>(_: &mut Frame<'a>, args: &[Val<'a>]) -> Result<Val<'a>, Fault> {
    whole(zoned(args)?.day())
}

fn day_of_week<'a>(_: &mut Frame<'a>, args: &[Val<'a>]) -> Result<Val<'a>, Fault> {
    whole(zoned(args)?.weekday().to_sunday_zero_offset())
}

fn hours<'a>(_: &mut Frame<'a>, args: &[Val<'a>]) -> Result<Val<'a>, Fault> {
    match args {
        [Val::Duration(nanos)] => whole(nanos / 3_600_000_000_000),
        args => whole(zoned(args)?.hour()),
    }
}

fn minutes<'a>(_: &mut Frame<'a>, args: &[Val<'a>]) -> Result<Val<'a>, Fault> {
    match args {
        [Val::Duration(nanos)] => whole(nanos / 60_000_000_000),
        args => whole(zoned(args)?.minute()),
    }
}

fn seconds<'a>(_: &mut Frame<'a>, args: &[Val<'a>]) -> Result<Val<'a>, Fault> {
    match args {
        [Val::Duration(nanos)] => whole(nanos / 1_000_000_000),
        args => whole(zoned(args)?.second()),
    }
}

fn milliseconds<'a>(_: &mut Frame<'a>, args: &[Val<'a>]) -> Result<Val<'a>, Fault> {
    match args {
        [Val::Duration(nanos)] => whole(nanos / 1_000_000),
        args => whole(zoned(args)?.millisecond()),
    }
}
