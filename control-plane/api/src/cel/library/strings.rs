//! Functions on strings: CEL's own and the strings extension. Positions count characters.

use super::calls::text as text_of;
use super::{Cost, Row, Sig, Style, printf};
use crate::cel::error::Fault;
use crate::cel::eval::Frame;
use crate::cel::value::{Text, Val};

const fn method(name: &'static str, args: &'static [Sig], result: Sig, cost: Cost, run: super::Run) -> Row {
    Row { name, style: Style::Member, args, result, cost, run }
}

const S: &[Sig] = &[Sig::Text];
const SS: &[Sig] = &[Sig::Text, Sig::Text];
const SI: &[Sig] = &[Sig::Text, Sig::Int];
const SII: &[Sig] = &[Sig::Text, Sig::Int, Sig::Int];
const SSI: &[Sig] = &[Sig::Text, Sig::Text, Sig::Int];
const SSS: &[Sig] = &[Sig::Text, Sig::Text, Sig::Text];
const SSSI: &[Sig] = &[Sig::Text, Sig::Text, Sig::Text, Sig::Int];
const TEXTS: Sig = Sig::List(&Sig::Text);

pub const ROWS: &[Row] = &[
    method("contains", SS, Sig::Bool, Cost::Search, contains),
    method("startsWith", SS, Sig::Bool, Cost::ReadSecond, starts_with),
    method("endsWith", SS, Sig::Bool, Cost::ReadSecond, ends_with),
    method("charAt", SI, Sig::Text, Cost::One, char_at),
    method("indexOf", SS, Sig::Int, Cost::Scan, index_of),
    method("indexOf", SSI, Sig::Int, Cost::Scan, index_of),
    method("lastIndexOf", SS, Sig::Int, Cost::Scan, last_index_of),
    method("lastIndexOf", SSI, Sig::Int, Cost::Scan, last_index_of),
    method("lowerAscii", S, Sig::Text, Cost::Read, lower),
    method("upperAscii", S, Sig::Text, Cost::Read, upper),
    method("trim", S, Sig::Text, Cost::Read, trim),
    method("replace", SSS, Sig::Text, Cost::Replace, replace),
    method("replace", SSSI, Sig::Text, Cost::Replace, replace),
    method("split", SS, TEXTS, Cost::Split, split),
    method("split", SSI, TEXTS, Cost::Split, split),
    method("substring", SI, Sig::Text, Cost::Read, substring),
    method("substring", SII, Sig::Text, Cost::Read, substring),
    method("join", &[TEXTS], Sig::Text, Cost::Join, join),
    method("join", &[TEXTS, Sig::Text], Sig::Text, Cost::Join, join),
    method("format", &[Sig::Text, Sig::List(&Sig::Dyn)], Sig::Text, Cost::Convert, printf::format),
    Row { name: "strings.quote", style: Style::Global, args: S, result: Sig::Text, cost: Cost::Convert, run: quote },
];

fn read<'v>(value: &'v Val<'_>) -> Result<&'v str, Fault> {
    Ok(text_of(value)?.as_str())
}

fn two<'v, 'a>(args: &'v [Val<'a>]) -> Result<(&'v Text<'a>, &'v Text<'a>), Fault> {
    match args {
        [a, b, ..] => Ok((text_of(a)?, text_of(b)?)),
        _ => Err(Fault::no_overload()),
    }
}

fn number(value: Option<&Val<'_>>) -> Result<Option<i64>, Fault> {
    match value {
        None => Ok(None),
        Some(Val::Int(n)) => Ok(Some(*n)),
        Some(_) => Err(Fault::no_overload()),
    }
}

fn int<'a>(n: usize) -> Val<'a> {
    Val::Int(i64::try_from(n).unwrap_or(i64::MAX))
}

fn contains<'a>(_: &mut Frame<'a>, args: &[Val<'a>]) -> Result<Val<'a>, Fault> {
    let (text, part) = two(args)?;
    Ok(Val::Bool(text.as_str().contains(part.as_str())))
}

fn starts_with<'a>(_: &mut Frame<'a>, args: &[Val<'a>]) -> Result<Val<'a>, Fault> {
    let (text, part) = two(args)?;
    Ok(Val::Bool(text.as_str().starts_with(part.as_str())))
}

fn ends_with<'a>(_: &mut Frame<'a>, args: &[Val<'a>]) -> Result<Val<'a>, Fault> {
    let (text, part) = two(args)?;
    Ok(Val::Bool(text.as_str().ends_with(part.as_str())))
}

fn out_of_range(n: i64) -> Fault {
    Fault::of(format!("index out of range: {n}"))
}

/// The byte at which the character `n` starts; the text's end is a position too.
fn byte_at(text: &str, n: i64) -> Result<usize, Fault> {
    let wanted = usize::try_from(n).map_err(|_| out_of_range(n))?;
    if text.is_ascii() {
        return if wanted <= text.len() { Ok(wanted) } else { Err(out_of_range(n)) };
    }
    let mut starts = text.char_indices().map(|(at, _)| at).chain(std::iter::once(text.len()));
    starts.nth(wanted).ok_or_else(|| out_of_range(n))
}

fn char_at<'a>(_: &mut Frame<'a>, args: &[Val<'a>]) -> Result<Val<'a>, Fault> {
    let [value, at] = args else { return Err(Fault::no_overload()) };
    let text = read(value)?;
    let at = number(Some(at))?.unwrap_or_default();
    let start = byte_at(text, at)?;
    let found: String = text[start..].chars().take(1).collect();
    Ok(found.into())
}

pub fn index_of<'a>(_: &mut Frame<'a>, args: &[Val<'a>]) -> Result<Val<'a>, Fault> {
    let (text, part) = two(args)?;
    let (text, part) = (text.as_str(), part.as_str());
    let from = number(args.get(2))?.unwrap_or_default();
    // Behind its end nothing is found.
    let start = if from >= 0 { byte_at(text, from).unwrap_or(text.len()) } else { byte_at(text, from)? };
    let found = text[start..].find(part).map(|at| text[..start + at].chars().count());
    Ok(found.map_or(Val::Int(-1), int))
}

pub fn last_index_of<'a>(_: &mut Frame<'a>, args: &[Val<'a>]) -> Result<Val<'a>, Fault> {
    let (text, part) = two(args)?;
    let (text, part) = (text.as_str(), part.as_str());
    let end = match number(args.get(2))? {
        None => text.len(),
        // The part may start there, and reach beyond.
        Some(last) => (byte_at(text, last)? + part.len()).min(text.len()),
    };
    let end = (end..=text.len()).find(|end| text.is_char_boundary(*end)).unwrap_or(text.len());
    let found = text[..end].rfind(part).map(|at| text[..at].chars().count());
    Ok(found.map_or(Val::Int(-1), int))
}

fn lower<'a>(_: &mut Frame<'a>, args: &[Val<'a>]) -> Result<Val<'a>, Fault> {
    let [value] = args else { return Err(Fault::no_overload()) };
    Ok(read(value)?.to_ascii_lowercase().into())
}

fn upper<'a>(_: &mut Frame<'a>, args: &[Val<'a>]) -> Result<Val<'a>, Fault> {
    let [value] = args else { return Err(Fault::no_overload()) };
    Ok(read(value)?.to_ascii_uppercase().into())
}

fn trim<'a>(_: &mut Frame<'a>, args: &[Val<'a>]) -> Result<Val<'a>, Fault> {
    let [value] = args else { return Err(Fault::no_overload()) };
    let text = read(value)?;
    let start = text.len() - text.trim_start().len();
    let end = start + text.trim().len();
    Ok(Val::Text(text_of(value)?.part(start..end)))
}

fn replace<'a>(frame: &mut Frame<'a>, args: &[Val<'a>]) -> Result<Val<'a>, Fault> {
    let [value, from, to, rest @ ..] = args else { return Err(Fault::no_overload()) };
    let (source, from, to) = (read(value)?, text_of(from)?.as_str(), text_of(to)?.as_str());
    let most = match number(rest.first())? {
        None => usize::MAX,
        Some(n) if n < 0 => usize::MAX,
        Some(n) => usize::try_from(n).unwrap_or(usize::MAX),
    };
    let count = source.matches(from).take(most).count();
    // The result may be much longer than what the call costs.
    let longer = (count as u64).saturating_mul(to.len() as u64);
    frame.charge((longer / 10).saturating_sub(source.len() as u64))?;
    Ok(source.replacen(from, to, most).into())
}

fn split<'a>(_: &mut Frame<'a>, args: &[Val<'a>]) -> Result<Val<'a>, Fault> {
    let [value, by, rest @ ..] = args else { return Err(Fault::no_overload()) };
    let (source, by) = (read(value)?, text_of(by)?.as_str());
    let most = match number(rest.first())? {
        Some(0) => return Ok(Vec::new().into()),
        Some(n) if n > 0 => usize::try_from(n).unwrap_or(usize::MAX),
        _ => usize::MAX,
    };
    let whole = text_of(value)?;
    let mut pieces: Vec<Val<'a>> = Vec::new();
    let mut start = 0;
    while pieces.len() + 1 < most {
        let next = if by.is_empty() {
            // Between any two characters.
            source[start..].chars().next().map(|c| start + c.len_utf8()).filter(|at| *at < source.len())
        } else {
            source[start..].find(by).map(|at| start + at)
        };
        let Some(at) = next else { break };
        pieces.push(Val::Text(whole.part(start..at)));
        start = at + by.len();
    }
    if !(by.is_empty() && source.is_empty()) {
        pieces.push(Val::Text(whole.part(start..source.len())));
    }
    Ok(pieces.into())
}

fn substring<'a>(_: &mut Frame<'a>, args: &[Val<'a>]) -> Result<Val<'a>, Fault> {
    let [value, start, rest @ ..] = args else { return Err(Fault::no_overload()) };
    let text = read(value)?;
    let start = byte_at(text, number(Some(start))?.unwrap_or_default())?;
    let end = match number(rest.first())? {
        None => text.len(),
        Some(n) => byte_at(text, n)?,
    };
    if start > end {
        return Err(Fault::of(format!("invalid substring range. start: {start}, end: {end}")));
    }
    Ok(Val::Text(text_of(value)?.part(start..end)))
}

fn join<'a>(_: &mut Frame<'a>, args: &[Val<'a>]) -> Result<Val<'a>, Fault> {
    let [Val::List(list), rest @ ..] = args else { return Err(Fault::no_overload()) };
    let between = match rest.first() {
        None => "",
        Some(value) => text_of(value)?.as_str(),
    };
    let mut out = String::new();
    for (at, item) in list.items().enumerate() {
        let item = item?;
        let item = text_of(&item)?;
        if at > 0 {
            out.push_str(between);
        }
        out.push_str(item.as_str());
    }
    Ok(out.into())
}

fn quote<'a>(_: &mut Frame<'a>, args: &[Val<'a>]) -> Result<Val<'a>, Fault> {
    let [value] = args else { return Err(Fault::no_overload()) };
    let source = read(value)?;
    let mut out = String::with_capacity(source.len() + 2);
    out.push('"');
    for c in source.chars() {
        match c {
            '\u{7}' => out.push_str("\\a"),
            '\u{8}' => out.push_str("\\b"),
            '\u{c}' => out.push_str("\\f"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\u{b}' => out.push_str("\\v"),
            '\\' => out.push_str("\\\\"),
            '"' => out.push_str("\\\""),
            c => out.push(c),
        }
    }
    out.push('"');
    Ok(out.into())
}
