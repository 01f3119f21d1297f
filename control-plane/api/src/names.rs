//! The syntax of names and labels (`apimachinery/pkg/util/validation` and `api/validate/content`), with
//! Kubernetes' messages. Hand-written scanners: these run for every label of every written object.
//!
//! Each `check_*` returns the complaints as Kubernetes words them; an empty list means a valid text.

const DNS1123_LABEL: &str = "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')";
const DNS1123_SUBDOMAIN: &str = "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')";
const DNS1123_SUBDOMAIN_UNDERSCORE: &str = "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '_', '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '_?[a-z0-9]([-_a-z0-9]*[a-z0-9])?(\\._?[a-z0-9]([-_a-z0-9]*[a-z0-9])?)*')";
const DNS1035_LABEL: &str = "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an alphabetic character, and end with an alphanumeric character (e.g. 'my-name',  or 'abc-123', regex used for validation is '[a-z]([-a-z0-9]*[a-z0-9])?')";
const QUALIFIED_NAME: &str = "must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')";
const LABEL_VALUE: &str = "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')";
const CONFIG_MAP_KEY: &str = "a valid config key must consist of alphanumeric characters, '-', '_' or '.' (e.g. 'key.name',  or 'KEY_NAME',  or 'key-name', regex used for validation is '[-._a-zA-Z0-9]+')";

/// Longest DNS label, in bytes.
pub const LABEL_MAX: usize = 63;
/// Longest DNS subdomain, in bytes.
pub const SUBDOMAIN_MAX: usize = 253;

fn max_len(limit: usize) -> String {
    format!("must be no more than {limit} bytes")
}

const fn lower_alnum(byte: u8) -> bool {
    byte.is_ascii_lowercase() || byte.is_ascii_digit()
}

/// `first .. middle* .. last` over bytes, where `inner` holds for all and `edge` for both ends.
fn framed(text: &str, edge: impl Fn(u8) -> bool, inner: impl Fn(u8) -> bool) -> bool {
    let bytes = text.as_bytes();
    match (bytes.first(), bytes.last()) {
        (Some(&first), Some(&last)) => edge(first) && edge(last) && bytes.iter().all(|&b| inner(b)),
        _ => false,
    }
}

fn is_label_syntax(text: &str) -> bool {
    framed(text, lower_alnum, |b| lower_alnum(b) || b == b'-')
}

fn is_qualified_part(text: &str) -> bool {
    framed(text, |b| b.is_ascii_alphanumeric(), |b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'))
}

/// RFC 1123 label: `my-name`.
#[must_use]
pub fn check_dns1123_label(text: &str) -> Vec<String> {
    let mut errors = Vec::new();
    if text.len() > LABEL_MAX {
        errors.push(max_len(LABEL_MAX));
    }
    if !is_label_syntax(text) {
        // A dot is the commonest slip: Kubernetes says so in place of the regular expression.
        let dotted = text.contains('.') && text.split('.').all(is_label_syntax);
        errors.push(if dotted { "must not contain dots".into() } else { DNS1123_LABEL.into() });
    }
    errors
}

/// RFC 1123 subdomain: `a.b-c.d`.
#[must_use]
pub fn check_dns1123_subdomain(text: &str) -> Vec<String> {
    let mut errors = Vec::new();
    if text.len() > SUBDOMAIN_MAX {
        errors.push(max_len(SUBDOMAIN_MAX));
    }
    if !text.split('.').all(is_label_syntax) {
        errors.push(DNS1123_SUBDOMAIN.into());
    }
    errors
}

/// The same where labels may begin with an underscore and have some inside, as names of services in DNS do.
#[must_use]
pub fn check_dns1123_subdomain_with_underscore(text: &str) -> Vec<String> {
    let label = |label: &str| {
        let label = label.strip_prefix('_').unwrap_or(label);
        framed(label, lower_alnum, |b| lower_alnum(b) || matches!(b, b'-' | b'_'))
    };
    let mut errors = Vec::new();
    if text.len() > SUBDOMAIN_MAX {
        errors.push(max_len(SUBDOMAIN_MAX));
    }
    if !text.split('.').all(label) {
        errors.push(DNS1123_SUBDOMAIN_UNDERSCORE.into());
    }
    errors
}

/// RFC 1035 label: begins with a letter.
#[must_use]
pub fn check_dns1035_label(text: &str) -> Vec<String> {
    let mut errors = Vec::new();
    if text.len() > LABEL_MAX {
        errors.push(max_len(LABEL_MAX));
    }
    if !is_label_syntax(text) || text.as_bytes().first().is_some_and(u8::is_ascii_digit) {
        errors.push(DNS1035_LABEL.into());
    }
    errors
}

/// A label or annotation key, a resource name, a finalizer: `[prefix/]name`.
#[must_use]
pub fn check_qualified_name(text: &str) -> Vec<String> {
    let mut errors = Vec::new();
    let mut parts = text.split('/');
    let (first, second, more) = (parts.next().unwrap_or_default(), parts.next(), parts.next());
    let name = match (second, more) {
        (None, _) => first,
        (Some(name), None) => {
            if first.is_empty() {
                errors.push("prefix part must be non-empty".into());
            } else {
                errors.extend(check_dns1123_subdomain(first).into_iter().map(|e| format!("prefix part {e}")));
            }
            name
        }
        (Some(_), Some(_)) => {
            errors.push(format!("a valid label key {}", with_prefix_hint(QUALIFIED_NAME)));
            return errors;
        }
    };
    if name.is_empty() {
        errors.push("name part must be non-empty".into());
    } else if name.len() > LABEL_MAX {
        errors.push(format!("name part {}", max_len(LABEL_MAX)));
    }
    if !is_qualified_part(name) {
        errors.push(format!("name part {QUALIFIED_NAME}"));
    }
    errors
}

fn with_prefix_hint(text: &str) -> String {
    format!("{text} with an optional DNS subdomain prefix and '/' (e.g. 'example.com/MyName')")
}

/// Whether `text` is a qualified name, without making the complaints.
#[must_use]
pub fn is_qualified_name(text: &str) -> bool {
    let (prefix, name) = match text.split_once('/') {
        Some((prefix, name)) => (Some(prefix), name),
        None => (None, text),
    };
    name.len() <= LABEL_MAX
        && is_qualified_part(name)
        && prefix.is_none_or(|p| p.len() <= SUBDOMAIN_MAX && p.split('.').all(is_label_syntax))
}

/// Whether `text` is a label value, without making the complaints.
#[must_use]
pub fn is_label_value(text: &str) -> bool {
    text.is_empty() || (text.len() <= LABEL_MAX && is_qualified_part(text))
}

/// The value of a label.
#[must_use]
pub fn check_label_value(text: &str) -> Vec<String> {
    let mut errors = Vec::new();
    if text.len() > LABEL_MAX {
        errors.push(max_len(LABEL_MAX));
    }
    if !text.is_empty() && !is_qualified_part(text) {
        errors.push(LABEL_VALUE.into());
    }
    errors
}

/// A name that can stand in a URL's path, as RBAC objects have.
#[must_use]
pub fn check_path_segment(text: &str) -> Vec<String> {
    if text == "." || text == ".." {
        return vec![format!("may not be '{text}'")];
    }
    ["/", "%"].iter().filter(|c| text.contains(**c)).map(|c| format!("may not contain '{c}'")).collect()
}

/// A key of a ConfigMap's or Secret's data.
#[must_use]
pub fn check_config_map_key(text: &str) -> Vec<String> {
    let mut errors = Vec::new();
    if text.len() > SUBDOMAIN_MAX {
        errors.push(max_len(SUBDOMAIN_MAX));
    }
    let valid = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
    if text.is_empty() || !text.bytes().all(valid) {
        errors.push(CONFIG_MAP_KEY.into());
    }
    match text {
        "." => errors.push("must not be '.'".into()),
        ".." => errors.push("must not be '..'".into()),
        _ if text.starts_with("..") => errors.push("must not start with '..'".into()),
        _ => {}
    }
    errors
}

/// The name of a port (IANA service name): up to 15 of `[a-z0-9-]`, with a letter, no `--`, no `-` at the ends.
#[must_use]
pub fn check_port_name(text: &str) -> Vec<String> {
    let mut errors = Vec::new();
    if text.len() > 15 {
        errors.push("must be no more than 15 bytes".into());
    }
    if text.is_empty() || !text.bytes().all(|b| lower_alnum(b) || b == b'-') {
        errors.push("must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)".into());
    }
    if !text.bytes().any(|b| b.is_ascii_lowercase()) {
        errors.push("must contain at least one letter (a-z)".into());
    }
    if text.contains("--") {
        errors.push("must not contain consecutive hyphens".into());
    }
    if text.starts_with('-') || text.ends_with('-') {
        errors.push("must not begin or end with a hyphen".into());
    }
    errors
}

/// A port number, 1 to 65535.
#[must_use]
pub fn check_port(port: i64) -> Vec<String> {
    if (1..=65535).contains(&port) { Vec::new() } else { vec!["must be between 1 and 65535, inclusive".into()] }
}

/// Go's `unicode.IsPrint`: letters, marks, numbers, punctuation, symbols, and of white space the space alone.
#[must_use]
pub fn is_printable(c: char) -> bool {
    // Behind another character a mark stands for itself; three characters are escaped though they can be printed.
    matches!(c, '"' | '\'' | '\\') || ['x', c].iter().collect::<String>().escape_debug().skip(1).eq([c])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_told_apart() {
        type Check = fn(&str) -> Vec<String>;
        let cases: [(Check, &[&str], &[&str]); 6] = [
            (check_dns1123_label, &["a", "a-b", "0", "1-2"], &["", "-a", "a-", "A", "a.b", "a_b", "é"]),
            (check_dns1123_subdomain, &["a.b", "a-b.c", "1"], &["", ".a", "a.", "a..b", "A.b", "a._b"]),
            (check_dns1035_label, &["a1", "a-1"], &["1a", "", "a.b"]),
            (check_qualified_name, &["a", "A_b.c", "x.io/A"], &["", "/a", "x/", "a/b/c", "X.io/a", "-a", "x.io/-"]),
            (check_label_value, &["", "A", "a.b_c-d"], &["-", "a-", "a b", "é"]),
            (check_port_name, &["http", "a-b", "p2"], &["", "80", "a--b", "-a", "a-", "UP", "sixteen-chars-xx"]),
        ];
        for (check, good, bad) in cases {
            for text in good {
                assert_eq!(check(text), Vec::<String>::new(), "{text}");
            }
            for text in bad {
                assert!(!check(text).is_empty(), "{text}");
            }
        }
        assert_eq!(check_dns1123_label(&"a".repeat(64)), ["must be no more than 63 bytes"]);
        assert_eq!(check_dns1123_label("a.b"), ["must not contain dots"]);
        assert_eq!(check_config_map_key("../a"), [CONFIG_MAP_KEY, "must not start with '..'"]);
        assert_eq!(check_path_segment("a/b%"), ["may not contain '/'", "may not contain '%'"]);
    }

    #[test]
    fn the_quick_answers_agree_with_the_complaints() {
        for text in ["a", "a/b", "/", "a/", "/a", "A.B/c", "a.b/C_d", "", "a/b/c", "-", "a b"] {
            assert_eq!(is_qualified_name(text), check_qualified_name(text).is_empty(), "{text}");
            assert_eq!(is_label_value(text), check_label_value(text).is_empty(), "{text}");
        }
    }
}
