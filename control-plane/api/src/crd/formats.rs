//! `format` of strings: those that Kubernetes knows for CRDs. Others say nothing, as there.

use crate::names;
use base64::Engine as _;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    Byte,
    Cidr,
    CreditCard,
    Date,
    DateTime,
    Duration,
    Email,
    HexColor,
    Hostname,
    Ipv4,
    Ipv6,
    Isbn,
    Isbn10,
    Isbn13,
    LongName,
    Mac,
    ObjectId,
    RgbColor,
    ShortName,
    Ssn,
    Uri,
    Uuid,
    Uuid3,
    Uuid4,
    Uuid5,
}

/// A format and how `must be of type …` names it.
const NAMES: &[(&str, Format)] = &[
    ("bsonobjectid", Format::ObjectId),
    ("byte", Format::Byte),
    ("cidr", Format::Cidr),
    ("creditcard", Format::CreditCard),
    ("date", Format::Date),
    ("date-time", Format::DateTime),
    ("datetime", Format::DateTime),
    ("duration", Format::Duration),
    ("email", Format::Email),
    ("hexcolor", Format::HexColor),
    ("hostname", Format::Hostname),
    ("ipv4", Format::Ipv4),
    ("ipv6", Format::Ipv6),
    ("isbn", Format::Isbn),
    ("isbn10", Format::Isbn10),
    ("isbn13", Format::Isbn13),
    ("k8s-long-name", Format::LongName),
    ("k8s-short-name", Format::ShortName),
    ("mac", Format::Mac),
    ("rgbcolor", Format::RgbColor),
    ("ssn", Format::Ssn),
    ("uri", Format::Uri),
    ("uuid", Format::Uuid),
    ("uuid3", Format::Uuid3),
    ("uuid4", Format::Uuid4),
    ("uuid5", Format::Uuid5),
];

/// Formats that any text has.
const UNCHECKED: &[&str] = &["password"];

/// Dashes in the names of formats say nothing.
fn is_same(known: &str, format: &str) -> bool {
    known.bytes().filter(|b| *b != b'-').eq(format.bytes().filter(|b| *b != b'-'))
}

impl Format {
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        NAMES.iter().find(|(known, _)| is_same(known, name)).map(|(_, format)| *format)
    }

    /// Whether values of a type may be said to have a format. Not all that may be said is looked at.
    #[must_use]
    pub fn is_known(kind: &str, format: &str) -> bool {
        match kind {
            "" | "string" => Self::parse(format).is_some() || UNCHECKED.iter().any(|known| is_same(known, format)),
            "integer" => matches!(format, "int32" | "int64"),
            "number" => matches!(format, "float" | "double"),
            _ => false,
        }
    }

    #[must_use]
    pub fn name(self) -> &'static str {
        NAMES.iter().find(|(_, format)| *format == self).map_or("", |(name, _)| name)
    }

    #[must_use]
    pub fn accepts(self, text: &str) -> bool {
        match self {
            Self::Byte => base64::engine::general_purpose::STANDARD.decode(text).is_ok() && !text.is_empty(),
            Self::Cidr => is_cidr(text),
            Self::CreditCard => is_credit_card(text),
            Self::Date => is_date(text),
            Self::DateTime => is_date_time(text),
            Self::Duration => is_duration(text),
            Self::Email => is_email(text),
            Self::HexColor => {
                let digits = text.strip_prefix('#').unwrap_or(text);
                matches!(digits.len(), 3 | 6) && is_hex(digits)
            }
            Self::Hostname => is_hostname(text),
            Self::Ipv4 => text.parse::<Ipv4Addr>().is_ok(),
            Self::Ipv6 => text.parse::<Ipv6Addr>().is_ok(),
            Self::Isbn => is_isbn10(text) || is_isbn13(text),
            Self::Isbn10 => is_isbn10(text),
            Self::Isbn13 => is_isbn13(text),
            Self::LongName => names::check_dns1123_subdomain(text).is_empty(),
            Self::ShortName => names::check_dns1123_label(text).is_empty(),
            Self::Mac => is_mac(text),
            Self::ObjectId => text.len() == 24 && is_hex(text),
            Self::RgbColor => is_rgb(text),
            Self::Ssn => is_ssn(text),
            Self::Uri => is_uri(text),
            Self::Uuid => is_uuid(text, None),
            Self::Uuid3 => is_uuid(text, Some('3')),
            Self::Uuid4 => is_uuid(text, Some('4')),
            Self::Uuid5 => is_uuid(text, Some('5')),
        }
    }
}

fn is_date(text: &str) -> bool {
    text.len() == 10 && text.parse::<jiff::civil::Date>().is_ok()
}

/// More than RFC 3339: any sign before a fraction, small letters, offsets of any digits, and whatever follows another `T`.
fn is_date_time(text: &str) -> bool {
    let lower = text.to_ascii_lowercase();
    let mut parts = lower.split('t');
    let (Some(date), Some(clock)) = (parts.next(), parts.next()) else { return false };
    let all = |digits: &[u8]| digits.iter().all(u8::is_ascii_digit);
    let Some((&[a, b, b':', c, d, b':', e, f], rest)) = clock.as_bytes().split_first_chunk::<8>() else { return false };
    let fraction = match std::str::from_utf8(rest).ok().and_then(|rest| rest.chars().next()) {
        Some(sign) if sign != '\n' => {
            let digits = rest[sign.len_utf8()..].iter().take_while(|b| b.is_ascii_digit()).count();
            if digits == 0 { 0 } else { sign.len_utf8() + digits }
        }
        _ => 0,
    };
    let is_offset = |zone: &[u8]| match zone {
        b"z" => true,
        [b'+' | b'-', a, b, b':', c, d] => all(&[*a, *b, *c, *d]),
        _ => false,
    };
    // An offset may look like a fraction with its sign.
    let zoned = is_offset(&rest[fraction..]) || is_offset(rest);
    is_date(date) && all(&[a, b, c, d, e, f]) && [a, b] <= *b"23" && [c, d] <= *b"59" && [e, f] <= *b"59" && zoned
}

fn is_hex(text: &str) -> bool {
    text.bytes().all(|b| b.is_ascii_hexdigit())
}

fn digits(text: &str) -> Vec<u32> {
    text.chars().filter_map(|c| c.to_digit(10)).collect()
}

fn is_cidr(text: &str) -> bool {
    let Some((address, length)) = text.split_once('/') else { return false };
    let bits = match address.parse::<IpAddr>() {
        Ok(IpAddr::V4(_)) => 32,
        Ok(IpAddr::V6(_)) => 128,
        Err(_) => return false,
    };
    (length.len() == 1 || !length.starts_with('0')) && length.parse::<u8>().is_ok_and(|n| n <= bits)
}

/// Luhn's sum over 13 to 16 digits.
fn is_credit_card(text: &str) -> bool {
    let numbers = digits(text);
    let sum: u32 = numbers
        .iter()
        .rev()
        .enumerate()
        .map(|(at, digit)| match (at % 2, digit * 2) {
            (0, _) => *digit,
            (_, twice) => twice / 10 + twice % 10,
        })
        .sum();
    (13..=16).contains(&numbers.len())
        && text.chars().all(|c| c.is_ascii_digit() || c == '-' || c == ' ')
        && sum.is_multiple_of(10)
}

/// Go's `time.ParseDuration`, or a number with a unit in words (`3 days`).
fn is_duration(text: &str) -> bool {
    is_go_duration(text) || is_worded_duration(text)
}

fn is_go_duration(text: &str) -> bool {
    let mut rest = text.strip_prefix(['-', '+']).unwrap_or(text);
    if rest == "0" {
        return true;
    }
    if rest.is_empty() {
        return false;
    }
    while !rest.is_empty() {
        let number = rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(rest.len());
        let (digits, after) = rest.split_at(number);
        if digits.bytes().filter(|b| *b == b'.').count() > 1 || !digits.bytes().any(|b| b.is_ascii_digit()) {
            return false;
        }
        let Some(unit) = ["ns", "us", "µs", "μs", "ms", "s", "m", "h"]
            .iter()
            .find(|unit| after.strip_prefix(**unit).is_some_and(|left| !left.starts_with(|c: char| c.is_alphabetic())))
        else {
            return false;
        };
        rest = &after[unit.len()..];
    }
    true
}

fn is_worded_duration(text: &str) -> bool {
    const UNITS: &[&str] = &[
        "ns",
        "nano",
        "nanosecond",
        "us",
        "µs",
        "micro",
        "microsecond",
        "ms",
        "milli",
        "millisecond",
        "s",
        "sec",
        "second",
        "m",
        "min",
        "minute",
        "h",
        "hr",
        "hour",
        "d",
        "day",
        "w",
        "week",
        "wk",
    ];
    let text = text.trim();
    let number = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (digits, unit) = text.split_at(number);
    let unit = unit.trim().to_lowercase();
    let single = unit.strip_suffix('s').unwrap_or(&unit);
    !digits.is_empty() && (UNITS.contains(&unit.as_str()) || UNITS.contains(&single))
}

fn is_email(text: &str) -> bool {
    let address = match (text.find('<'), text.strip_suffix('>')) {
        (Some(start), Some(inner)) => inner.get(start + 1..).unwrap_or_default(),
        _ => text,
    };
    let Some((user, domain)) = address.rsplit_once('@') else { return false };
    let atom = |c: char| c.is_alphanumeric() || "!#$%&'*+-/=?^_`{|}~.".contains(c);
    let dots = |text: &str| !text.starts_with('.') && !text.ends_with('.') && !text.contains("..");
    !user.is_empty()
        && user.chars().all(atom)
        && dots(user)
        && !domain.is_empty()
        && domain.chars().all(atom)
        && dots(domain)
}

/// RFC 1034, as `go-openapi/strfmt` has it: labels of letters, digits, hyphens and underscores.
fn is_hostname(text: &str) -> bool {
    let label = |label: &str| {
        let edge = |c: Option<char>| c.is_some_and(|c| c.is_alphanumeric() || c == '_');
        label.len() <= 63
            && label.chars().all(|c| c.is_alphanumeric() || matches!(c, '-' | '_'))
            && edge(label.chars().next())
            && edge(label.chars().last())
    };
    text.len() <= 255 && !text.is_empty() && text.strip_suffix('.').unwrap_or(text).split('.').all(label)
}

fn is_isbn10(text: &str) -> bool {
    let characters: Vec<char> = text.chars().filter(|c| !matches!(c, '-' | ' ')).collect();
    let value = |(at, c): (usize, &char)| match c {
        'X' if at == 9 => Some(10),
        c => c.to_digit(10),
    };
    let values: Option<Vec<u32>> = characters.iter().enumerate().map(value).collect();
    let sum = |values: &[u32]| values.iter().zip(1..).map(|(digit, place): (&u32, u32)| digit * place).sum::<u32>();
    values.is_some_and(|values| values.len() == 10 && sum(&values) % 11 == 0)
}

fn is_isbn13(text: &str) -> bool {
    let numbers = digits(text);
    let sum: u32 = numbers.iter().enumerate().map(|(at, digit)| digit * if at % 2 == 0 { 1 } else { 3 }).sum();
    numbers.len() == 13 && text.chars().all(|c| c.is_ascii_digit() || matches!(c, '-' | ' ')) && sum.is_multiple_of(10)
}

fn is_mac(text: &str) -> bool {
    let pairs = |separator: char| {
        let parts: Vec<&str> = text.split(separator).collect();
        matches!(parts.len(), 6 | 8 | 20) && parts.iter().all(|part| part.len() == 2 && is_hex(part))
    };
    let quads: Vec<&str> = text.split('.').collect();
    pairs(':')
        || pairs('-')
        || (matches!(quads.len(), 3 | 4 | 10) && quads.iter().all(|part| part.len() == 4 && is_hex(part)))
}

/// `rgb(1, 2, 3)`.
fn is_rgb(text: &str) -> bool {
    let Some(inner) = text.strip_prefix("rgb(").and_then(|rest| rest.strip_suffix(')')) else { return false };
    let parts: Vec<&str> = inner.split(',').map(str::trim).collect();
    parts.len() == 3 && parts.iter().all(|part| part.parse::<u8>().is_ok())
}

/// `123-45-6789`, or with spaces, or neither.
fn is_ssn(text: &str) -> bool {
    let all = |text: &str| text.bytes().all(|b| b.is_ascii_digit());
    let parts: Vec<&str> = text.split(['-', ' ']).collect();
    match parts.as_slice() {
        [one] => one.len() == 9 && all(one),
        [a, b, c] => a.len() == 3 && b.len() == 2 && c.len() == 4 && all(a) && all(b) && all(c),
        _ => false,
    }
}

/// Go's `url.ParseRequestURI`: absolute, or a path from the root.
fn is_uri(text: &str) -> bool {
    if text.is_empty() || text.bytes().any(|b| b <= b' ' || b == 0x7f) {
        return false;
    }
    if text.starts_with('/') {
        return true;
    }
    let Some((scheme, rest)) = text.split_once(':') else { return false };
    let good = scheme.starts_with(|c: char| c.is_ascii_alphabetic())
        && scheme.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'-' | b'.'));
    let host = rest.strip_prefix("//").map(|rest| rest.split(['/', '?', '#']).next().unwrap_or_default());
    let port_is_good = host.is_none_or(|host| {
        let port = host.rsplit_once(':').filter(|(_, port)| !port.contains(']')).map(|(_, port)| port);
        port.is_none_or(|port| port.bytes().all(|b| b.is_ascii_digit()))
    });
    good && port_is_good
}

fn is_uuid(text: &str, version: Option<char>) -> bool {
    let plain: String = text.chars().filter(|c| *c != '-').collect();
    let dashes = text.len() == 36 && [8, 13, 18, 23].iter().all(|at| text.as_bytes().get(*at) == Some(&b'-'));
    let shape = plain.len() == 32 && is_hex(&plain) && (dashes || text.len() == 32);
    let variant = |c: Option<char>| c.is_some_and(|c| matches!(c.to_ascii_lowercase(), '8' | '9' | 'a' | 'b'));
    shape
        && version.is_none_or(|version| {
            plain.chars().nth(12) == Some(version) && (version == '3' || variant(plain.chars().nth(16)))
        })
}

#[cfg(test)]
mod tests {
    use super::{Format, NAMES};

    #[test]
    fn formats_tell_good_from_bad() {
        for (name, good, bad) in [
            ("byte", "aGk=", "a*"),
            ("cidr", "10.0.0.0/8", "10.0.0.0/33"),
            ("creditcard", "4111 1111 1111 1111", "4111 1111 1111 1112"),
            ("date", "2026-02-28", "2026-02-30"),
            ("date-time", "2026-01-02T03:04:05Z", "2026-01-02"),
            ("date-time", "9999-12-31t23:59:59,5+99:99", "2026-01-02T3:04:05Z"),
            ("date-time", "2026-01-02T03:04:05-01:00", "2026-01-02T24:00:00Z"),
            ("duration", "1h30m", "1x"),
            ("duration", "3 days", "days"),
            ("email", "a@b.example", "a b"),
            ("hexcolor", "#ff00aa", "#ff0"[..3].into()),
            ("hostname", "a.b-c.example", "-a"),
            ("ipv4", "1.2.3.4", "1.2.3"),
            ("ipv6", "::1", "1.2.3.4"),
            ("isbn10", "0-306-40615-2", "0-306-40615-3"),
            ("isbn13", "978-0-306-40615-7", "978-0-306-40615-8"),
            ("mac", "00:11:22:33:44:55", "00:11:22"),
            ("rgbcolor", "rgb(1, 2, 255)", "rgb(1,2,256)"),
            ("ssn", "123-45-6789", "123-45-678"),
            ("uri", "https://a.example:8080/x?y", "a b"),
            ("uuid", "123e4567-e89b-12d3-a456-426614174000", "123e4567"),
            ("uuid4", "f47ac10b-58cc-4372-a567-0e02b2c3d479", "123e4567-e89b-12d3-a456-426614174000"),
            ("k8s-short-name", "a-b", "a.b"),
            ("k8s-long-name", "a.b", "A"),
        ] {
            let format = Format::parse(name).unwrap();
            assert!(format.accepts(good), "{name} {good}");
            assert!(!format.accepts(bad), "{name} {bad}");
        }
        assert_eq!(Format::parse("password"), None);
        for (_, format) in NAMES {
            for text in ["", "é", "\u{0}", ":", "//", "rgb(", "<>", "@", "-", "/"] {
                let _ = format.accepts(text);
            }
        }
    }
}
