//! URLs, as Go's `url.ParseRequestURI` reads them: absolute, or a path from the root.

use super::opaque::{Foreign, foreign, made, source};
use super::{Cost, Row, Sig, Style, tenth};
use crate::cel::error::Fault;
use crate::cel::eval::{Frame, text};
use crate::cel::types::Opaque;
use crate::cel::value::{Key, Map, Text, Val};
use std::collections::BTreeMap;
use std::net::Ipv6Addr;
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
    parser("url", U, url),
    parser("isURL", Sig::Bool, is_url),
    part("getScheme", Sig::Text, scheme),
    part("getHost", Sig::Text, host),
    part("getHostname", Sig::Text, hostname),
    part("getPort", Sig::Text, port),
    part("getEscapedPath", Sig::Text, path),
    part("getQuery", Sig::Map(&Sig::Text, &TEXTS), query),
];

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Url {
    scheme: String,
    /// With the port.
    host: String,
    /// As it was written, escapes included.
    path: String,
    query: String,
    user: String,
}

impl Url {
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        if text.is_empty() || text.chars().any(|c| c.is_ascii_control()) {
            return None;
        }
        let (scheme, rest) = split_scheme(text)?;
        let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
        let mut url = Self {
            scheme: scheme.to_ascii_lowercase(),
            host: String::new(),
            path: String::new(),
            query: query.into(),
            user: String::new(),
        };
        if !rest.starts_with('/') {
            // `mailto:a@b`: neither host nor path.
            return (!scheme.is_empty()).then_some(url);
        }
        let after = rest.strip_prefix("//").filter(|_| !scheme.is_empty() || !rest.starts_with("///"));
        let path = match after {
            None => rest,
            Some(after) => {
                let end = after.find('/').unwrap_or(after.len());
                let (authority, path) = after.split_at(end);
                let (user, host) = authority.rsplit_once('@').unwrap_or(("", authority));
                if !is_host(host) || !has_good_escapes(user) {
                    return None;
                }
                url.host = host.into();
                url.user = user.into();
                path
            }
        };
        if !has_good_escapes(path) {
            return None;
        }
        url.path = escaped(path);
        Some(url)
    }

    /// The host without brackets, and the port.
    fn host_and_port(&self) -> (&str, &str) {
        if let Some(after) = self.host.strip_prefix('[')
            && let Some((six, rest)) = after.split_once(']')
        {
            return (six, rest.strip_prefix(':').unwrap_or_default());
        }
        self.host.rsplit_once(':').unwrap_or((&self.host, ""))
    }
}

fn split_scheme(text: &str) -> Option<(&str, &str)> {
    let is_part = |c: char| c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.');
    match text.find(|c: char| !is_part(c)) {
        Some(0) => (!text.starts_with(':')).then_some(("", text)),
        Some(end) if text[end..].starts_with(':') => {
            text.starts_with(|c: char| c.is_ascii_alphabetic()).then(|| (&text[..end], &text[end + 1..]))
        }
        _ => Some(("", text)),
    }
}

fn is_host(host: &str) -> bool {
    let is_port = |port: &str| port.bytes().all(|b| b.is_ascii_digit());
    if let Some(after) = host.strip_prefix('[') {
        let Some((six, rest)) = after.split_once(']') else { return false };
        let address = six.split_once("%25").map_or(six, |(address, _)| address);
        return address.parse::<Ipv6Addr>().is_ok() && (rest.is_empty() || rest.strip_prefix(':').is_some_and(is_port));
    }
    let (name, port) = host.split_once(':').unwrap_or((host, ""));
    let fits = |c: char| !c.is_ascii() || c.is_ascii_alphanumeric() || "-_.~!$&'()*+,;=%\"<>".contains(c);
    is_port(port) && name.chars().all(fits) && has_good_escapes(name)
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

fn url<'a>(frame: &mut Frame<'a>, args: &[Val<'a>]) -> Result<Val<'a>, Fault> {
    let source = source(frame, args)?;
    match Url::parse(source) {
        Some(url) => Ok(made(Foreign::Url(url))),
        None => {
            let quoted = crate::field::quoted(source);
            Err(Fault::of(format!(
                "URL parse error during conversion from string: parse {quoted}: invalid URI for request"
            )))
        }
    }
}

fn is_url<'a>(frame: &mut Frame<'a>, args: &[Val<'a>]) -> Result<Val<'a>, Fault> {
    Ok(Val::Bool(Url::parse(source(frame, args)?).is_some()))
}

fn of<'v>(args: &'v [Val<'_>]) -> Result<&'v Url, Fault> {
    match foreign(args.first())? {
        Foreign::Url(url) => Ok(url),
        _ => Err(Fault::no_overload()),
    }
}

fn scheme<'a>(frame: &mut Frame<'a>, args: &[Val<'a>]) -> Result<Val<'a>, Fault> {
    text(of(args)?.scheme.clone(), frame)
}

fn host<'a>(frame: &mut Frame<'a>, args: &[Val<'a>]) -> Result<Val<'a>, Fault> {
    text(of(args)?.host.clone(), frame)
}

fn hostname<'a>(frame: &mut Frame<'a>, args: &[Val<'a>]) -> Result<Val<'a>, Fault> {
    text(of(args)?.host_and_port().0.to_owned(), frame)
}

fn port<'a>(frame: &mut Frame<'a>, args: &[Val<'a>]) -> Result<Val<'a>, Fault> {
    text(of(args)?.host_and_port().1.to_owned(), frame)
}

fn path<'a>(frame: &mut Frame<'a>, args: &[Val<'a>]) -> Result<Val<'a>, Fault> {
    text(of(args)?.path.clone(), frame)
}

fn query<'a>(frame: &mut Frame<'a>, args: &[Val<'a>]) -> Result<Val<'a>, Fault> {
    let query = &of(args)?.query;
    frame.charge(tenth(query.len() as u64))?;
    let mut found: BTreeMap<Key<'a>, Vec<Val<'a>>> = BTreeMap::new();
    for pair in query.split('&').filter(|pair| !pair.is_empty() && !pair.contains(';')) {
        frame.charge(1)?;
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        let Some((key, value)) = decoded(key).zip(decoded(value)) else { continue };
        found.entry(Key::Text(Text::Shared(key.into()))).or_default().push(value.into());
    }
    let made = found.into_iter().map(|(key, values)| (key, values.into())).collect();
    Ok(Val::Map(Map::Made(Arc::new(made))))
}
