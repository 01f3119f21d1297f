//! URLs as Go's `net/url` reads them, with its words for what is wrong.

use crate::field::quoted;
use std::net::Ipv6Addr;

/// A URL's parts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Url {
    pub scheme: String,
    /// What stands before `@`.
    pub user: Option<String>,
    /// With the port, its escapes resolved.
    pub host: String,
    /// As it was written, escapes included.
    pub path: String,
    pub query: String,
    /// Its escapes resolved.
    pub fragment: String,
}

/// What a URL is read for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum For {
    /// `url.Parse`: anything that may stand in a document.
    Reference,
    /// `url.ParseRequestURI`: absolute, or a path from the root. `#` has no meaning.
    Request,
}

/// Which part of a URL escapes stand in.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Part {
    Host,
    Zone,
    Other,
}

impl Url {
    /// `url.Parse`.
    ///
    /// # Errors
    /// `parse "…": ` and why.
    pub fn parse(text: &str) -> Result<Self, String> {
        let (before, fragment) = text.split_once('#').unwrap_or((text, ""));
        let url = read(before, For::Reference).map_err(|why| told(before, &why))?;
        let fragment = unescape(fragment, Part::Other).map_err(|why| told(text, &why))?;
        Ok(Self { fragment, ..url })
    }

    /// `url.ParseRequestURI`.
    ///
    /// # Errors
    /// As [`Self::parse`].
    pub fn parse_request(text: &str) -> Result<Self, String> {
        read(text, For::Request).map_err(|why| told(text, &why))
    }

    /// The host without brackets, and the port.
    #[must_use]
    pub fn host_and_port(&self) -> (&str, &str) {
        if let Some(after) = self.host.strip_prefix('[')
            && let Some((six, rest)) = after.rsplit_once(']')
        {
            return (six, rest.strip_prefix(':').unwrap_or_default());
        }
        self.host.rsplit_once(':').unwrap_or((&self.host, ""))
    }
}

fn told(text: &str, why: &str) -> String {
    format!("parse {}: {why}", quoted(text))
}

fn read(text: &str, purpose: For) -> Result<Url, String> {
    if text.bytes().any(|b| b < b' ' || b == 0x7f) {
        return Err("net/url: invalid control character in URL".into());
    }
    if text.is_empty() && purpose == For::Request {
        return Err("empty url".into());
    }
    if text == "*" {
        return Ok(Url { path: "*".into(), ..Url::default() });
    }
    let (scheme, rest) = split_scheme(text)?;
    let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
    let mut url = Url { scheme: scheme.to_ascii_lowercase(), query: query.into(), ..Url::default() };
    if !rest.starts_with('/') {
        if !scheme.is_empty() {
            // `mailto:a@b`: neither host nor path.
            return Ok(url);
        }
        if purpose == For::Request {
            return Err("invalid URI for request".into());
        }
        if rest.split('/').next().is_some_and(|first| first.contains(':')) {
            return Err("first path segment in URL cannot contain colon".into());
        }
    }
    let has_host = !scheme.is_empty() || purpose == For::Reference && !rest.starts_with("///");
    let path = match rest.strip_prefix("//").filter(|_| has_host) {
        None => rest,
        Some(after) => {
            let (authority, path) = after.split_at(after.find('/').unwrap_or(after.len()));
            let (user, host) = authority.rsplit_once('@').map_or((None, authority), |(user, host)| (Some(user), host));
            url.host = read_host(host)?;
            if let Some(user) = user {
                check_user(user)?;
                url.user = Some(user.to_owned());
            }
            path
        }
    };
    unescape(path, Part::Other)?;
    url.path = path.to_owned();
    Ok(url)
}

fn split_scheme(text: &str) -> Result<(&str, &str), String> {
    let is_part = |c: char| c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.');
    match text.find(|c: char| !is_part(c)) {
        Some(0) if text.starts_with(':') => Err("missing protocol scheme".into()),
        Some(end) if text[end..].starts_with(':') && text.starts_with(|c: char| c.is_ascii_alphabetic()) => {
            Ok((&text[..end], &text[end + 1..]))
        }
        _ => Ok(("", text)),
    }
}

fn check_user(user: &str) -> Result<(), String> {
    if !user.chars().all(|c| c.is_ascii_alphanumeric() || "-._:~!$&'()*+,;=%@".contains(c)) {
        return Err("net/url: invalid userinfo".into());
    }
    unescape(user, Part::Other).map(drop)
}

fn read_host(host: &str) -> Result<String, String> {
    let Some(after) = host.strip_prefix('[') else {
        check_port(host.rfind(':').map_or("", |at| &host[at..]))?;
        return unescape(host, Part::Host);
    };
    let (six, port) = after.rsplit_once(']').ok_or("missing ']' in host")?;
    check_port(port)?;
    let (address, zone) = six.find("%25").map_or((six, ""), |at| six.split_at(at));
    let address = unescape(address, Part::Host)?;
    let zone = unescape(zone, Part::Zone)?;
    if address.parse::<Ipv6Addr>().is_err() {
        return Err("invalid IP-literal".into());
    }
    Ok(format!("[{address}{zone}]{port}"))
}

fn check_port(port: &str) -> Result<(), String> {
    let digits = |port: &str| port.bytes().all(|b| b.is_ascii_digit());
    if port.is_empty() || port.strip_prefix(':').is_some_and(digits) {
        return Ok(());
    }
    Err(format!("invalid port {} after host", quoted(port)))
}

/// Whether a byte may stand in a host as it is.
fn stands_in_host(byte: u8) -> bool {
    !byte.is_ascii() || byte.is_ascii_alphanumeric() || b"-_.~!$&'()*+,;=:[]<>\"".contains(&byte)
}

/// Text without its escapes (`%2F`).
fn unescape(text: &str, part: Part) -> Result<String, String> {
    let (bytes, mut out, mut at) = (text.as_bytes(), Vec::with_capacity(text.len()), 0);
    while let Some(&byte) = bytes.get(at) {
        let shown = || String::from_utf8_lossy(&bytes[at..bytes.len().min(at + 3)]).into_owned();
        if byte != b'%' {
            if part != Part::Other && !stands_in_host(byte) {
                let shown = text.get(at..=at).unwrap_or_default();
                return Err(format!("invalid character {} in host name", quoted(shown)));
            }
            out.push(byte);
            at += 1;
            continue;
        }
        let digit = |offset: usize| bytes.get(at + offset).and_then(|b| char::from(*b).to_digit(16));
        let value = digit(1).zip(digit(2)).and_then(|(high, low)| u8::try_from(high * 16 + low).ok());
        let fits = |value: u8| match part {
            // Escapes are for what is not ASCII.
            Part::Host => value >= 0x80 || value == b'%',
            Part::Zone => value == b'%' || value == b' ' || stands_in_host(value),
            Part::Other => true,
        };
        let value = value.filter(|value| fits(*value));
        out.push(value.ok_or_else(|| format!("invalid URL escape {}", quoted(&shown())))?);
        at += 3;
    }
    Ok(String::from_utf8_lossy(&out).into_owned())
}
