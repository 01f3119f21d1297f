//! Regular expressions: `matches`, `find`, `findAll`. Literal ones are compiled with the expression; others are paid for
//! dearly and kept for the rest of the evaluation.

use super::calls::text as text_of;
use super::cost::{self, characters};
use super::opaque::Foreign;
use super::{Cost, Row, Sig, Style};
use crate::cel::error::Fault;
use crate::cel::eval::Frame;
use crate::cel::value::Val;
use crate::crd::pattern;
use regex::Regex;
use std::collections::HashMap;
use std::sync::Arc;

/// Units that compiling a pattern costs, whatever its length.
const COMPILE: u64 = 2_000;
/// Longest pattern that is compiled while an expression runs, in bytes.
const MAX_LEN: usize = 4 << 10;
/// Most bytes that such a pattern may take compiled.
const MAX_SIZE: usize = 256 << 10;
/// Patterns that are kept.
const MAX_KEPT: usize = 16;

const fn row(name: &'static str, style: Style, args: &'static [Sig], result: Sig, run: super::Run) -> Row {
    Row { name, style, args, result, cost: Cost::Find, run }
}

const SS: &[Sig] = &[Sig::Text, Sig::Text];
const SSI: &[Sig] = &[Sig::Text, Sig::Text, Sig::Int];
const TEXTS: Sig = Sig::List(&Sig::Text);

pub const ROWS: &[Row] = &[
    Row { cost: Cost::Match, ..row("matches", Style::Member, SS, Sig::Bool, matches) },
    Row { cost: Cost::Match, ..row("matches", Style::Global, SS, Sig::Bool, matches) },
    row("find", Style::Member, SS, Sig::Text, find),
    row("findAll", Style::Member, SS, TEXTS, find_all),
    row("findAll", Style::Member, SSI, TEXTS, find_all),
];

/// What an evaluation has compiled so far.
pub type Cache = HashMap<Box<str>, Arc<Regex>>;

/// A literal pattern, compiled.
///
/// # Errors
/// Why it is none.
pub fn literal(text: &str) -> Result<Val<'static>, String> {
    let regex = pattern::compile(text)?;
    Ok(Val::Foreign(Arc::new(Foreign::Regex(Arc::new(regex), characters(text)))))
}

fn regex<'a>(frame: &mut Frame<'a>, value: &Val<'a>) -> Result<Arc<Regex>, Fault> {
    if let Val::Foreign(foreign) = value
        && let Foreign::Regex(regex, _) = &**foreign
    {
        return Ok(regex.clone());
    }
    let text = text_of(value)?.as_str();
    if let Some(known) = frame.regexes.get(text) {
        return Ok(known.clone());
    }
    frame.charge(COMPILE + text.len() as u64 * 10)?;
    if text.len() > MAX_LEN {
        return Err(Fault::text("error parsing regexp: expression is too long"));
    }
    let made = Arc::new(pattern::compile_within(text, MAX_SIZE).map_err(Fault::of)?);
    if frame.regexes.len() >= MAX_KEPT {
        frame.regexes.clear();
    }
    frame.regexes.insert(text.into(), made.clone());
    Ok(made)
}

/// The text, paid for, and the pattern.
fn operands<'v, 'a>(frame: &mut Frame<'a>, args: &'v [Val<'a>]) -> Result<(&'v str, Arc<Regex>), Fault> {
    let [value, pattern, ..] = args else { return Err(Fault::no_overload()) };
    let text = text_of(value)?.as_str();
    let regex = regex(frame, pattern)?;
    frame.charge(cost::matched(text, cost::length(pattern)))?;
    Ok((text, regex))
}

fn matches<'a>(frame: &mut Frame<'a>, args: &[Val<'a>]) -> Result<Val<'a>, Fault> {
    let (text, regex) = operands(frame, args)?;
    Ok(Val::Bool(regex.is_match(text)))
}

fn find<'a>(frame: &mut Frame<'a>, args: &[Val<'a>]) -> Result<Val<'a>, Fault> {
    let (text, regex) = operands(frame, args)?;
    let found = regex.find(text).map_or("", |found| found.as_str());
    Ok(found.to_owned().into())
}

fn find_all<'a>(frame: &mut Frame<'a>, args: &[Val<'a>]) -> Result<Val<'a>, Fault> {
    let (text, regex) = operands(frame, args)?;
    let most = match args.get(2) {
        Some(Val::Int(n)) if *n >= 0 => usize::try_from(*n).unwrap_or(usize::MAX),
        _ => usize::MAX,
    };
    let mut all: Vec<Val<'a>> = Vec::new();
    for found in regex.find_iter(text).take(most) {
        all.push(found.as_str().to_owned().into());
    }
    Ok(all.into())
}
