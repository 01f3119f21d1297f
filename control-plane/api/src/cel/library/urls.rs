//! URLs: absolute, or a path from the root. How they are read: [`crate::crd::url`].

use super::opaque::{Foreign, foreign, made, source};
use super::{Cost, Row, Sig, Style};
use crate::cel::error::Fault;
use crate::cel::eval::Frame;
use crate::cel::types::Opaque;
use crate::cel::value::{Key, Map, Text, Val};
use crate::crd::url::Url;
use std::collections::BTreeMap;
use std::sync::Arc;

const U: Sig = Sig::Opaque(Opaque::Url);
const TEXTS: Sig = Sig::List(&Sig::Text);

const fn parser(name: &'static str, result: Sig, run: super::Run) -> Row {
    Row { name, style: Style::Global, args: &[Sig::Text], result, cost: Cost::Convert, run }
}

const fn part(name: &'static str, result: Sig, run: super::Run) -> Row {
    Row { name, style: Style::Member, args: &[U], result, cost: Cost::One, run }
}

pub const ROWS: &[Row] = &[
    Row { cost: Cost::Read, ..parser("url", U, url) },
    Row { cost: Cost::One, ..parser("isURL", Sig::Bool, is_url) },
    part("getScheme", Sig::Text, scheme),
    part("getHost", Sig::Text, host),
    part("getHostname", Sig::Text, hostname),
    part("getPort", Sig::Text, port),
    part("getEscapedPath", Sig::Text, path),
    part("getQuery", Sig::Map(&Sig::Text, &TEXTS), query),
];

/// A URL that requests may be made to. What follows `#` is no part of its path and query.
fn parse(text: &str) -> Result<Url, String> {
    Url::parse_request(text)?;
    Url::parse(text)
}

fn has_good_escapes(text: &str) -> bool {
    let is_hex = |at: usize| text.as_bytes().get(at).is_some_and(u8::is_ascii_hexdigit);
    text.match_indices('%').all(|(at, _)| is_hex(at + 1) && is_hex(at + 2))
}

/// A path with everything escaped that may not stand as it is.
fn escaped(path: &str) -> String {
    let mut out = String::with_capacity(path.len());
    for byte in path.bytes() {
        if byte.is_ascii_alphanumeric() || b"-_.~!$&'()*+,;=:@/%[]".contains(&byte) {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}

/// A part of a query, decoded; None where an escape is wrong.
fn decoded(text: &str) -> Option<String> {
    if !has_good_escapes(text) {
        return None;
    }
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        rest = after;
        match (first, after) {
            (b'+', _) => bytes.push(b' '),
            (b'%', [a, b, left @ ..]) => {
                let digit = |byte: &u8| char::from(*byte).to_digit(16).unwrap_or_default() as u8;
                bytes.push(digit(a) * 16 + digit(b));
                rest = left;
            }
            (byte, _) => bytes.push(*byte),
        }
    }
    Some(String::from_utf8_lossy(&bytes).into_owned())
}

fn url<'a>(_: &mut Frame<'a>, args: &[Val<'a>]) -> Result<Val<'a>, Fault> {
    let url = parse(source(args)?);
    url.map(|url| made(Foreign::Url(url)))
        .map_err(|why| Fault::of(format!("URL parse error during conversion from string: {why}")))
}

fn is_url<'a>(_: &mut Frame<'a>, args: &[Val<'a>]) -> Result<Val<'a>, Fault> {
    Ok(Val::Bool(Url::parse_request(source(args)?).is_ok()))
}

fn of<'v>(args: &'v [Val<'_>]) -> Result<&'v Url, Fault> {
    match foreign(args.first())? {
        Foreign::Url(url) => Ok(url),
        _ => Err(Fault::no_overload()),
    }
}

fn scheme<'a>(_: &mut Frame<'a>, args: &[Val<'a>]) -> Result<Val<'a>, Fault> {
    Ok(of(args)?.scheme.clone().into())
}

fn host<'a>(_: &mut Frame<'a>, args: &[Val<'a>]) -> Result<Val<'a>, Fault> {
    Ok(of(args)?.host.clone().into())
}

fn hostname<'a>(_: &mut Frame<'a>, args: &[Val<'a>]) -> Result<Val<'a>, Fault> {
    Ok(of(args)?.host_and_port().0.to_owned().into())
}

fn port<'a>(_: &mut Frame<'a>, args: &[Val<'a>]) -> Result<Val<'a>, Fault> {
    Ok(of(args)?.host_and_port().1.to_owned().into())
}

fn path<'a>(_: &mut Frame<'a>, args: &[Val<'a>]) -> Result<Val<'a>, Fault> {
    Ok(escaped(&of(args)?.path).into())
}

fn query<'a>(_: &mut Frame<'a>, args: &[Val<'a>]) -> Result<Val<'a>, Fault> {
    let query = &of(args)?.query;
    let mut found: BTreeMap<Key<'a>, Vec<Val<'a>>> = BTreeMap::new();
    for pair in query.split('&').filter(|pair| !pair.is_empty() && !pair.contains(';')) {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        let Some((key, value)) = decoded(key).zip(decoded(value)) else { continue };
        found.entry(Key::Text(Text::Shared(key.into()))).or_default().push(value.into());
    }
    let made = found.into_iter().map(|(key, values)| (key, values.into())).collect();
    Ok(Val::Map(Map::Made(Arc::new(made))))
}
