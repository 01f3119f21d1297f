//! Patterns of CRDs: regular expressions as Go's RE2 reads them, run by the `regex` crate under limits.
//!
//! Both are linear in their input. What differs is translated: Go's `\d`, `\w`, `\s` are ASCII, brackets within a class
//! and braces that repeat nothing are literals, and `\Q…\E` quotes.

use regex::{Regex, RegexBuilder};
use std::sync::OnceLock;

/// Bytes that one compiled pattern may take.
const SIZE_LIMIT: usize = 1 << 20;
/// Longest pattern, in bytes.
const MAX_LEN: usize = 32 << 10;

/// A pattern, compiled when it is first needed: most patterns of most CRDs never are.
#[derive(Clone, Debug)]
pub struct Pattern {
    pub text: Box<str>,
    compiled: OnceLock<Option<Regex>>,
}

impl Pattern {
    #[must_use]
    pub fn new(text: &str) -> Self {
        Self { text: text.into(), compiled: OnceLock::new() }
    }

    /// Whether the pattern is found in `text`. A pattern that cannot be compiled matches nothing.
    #[must_use]
    pub fn matches(&self, text: &str) -> bool {
        let compiled = self.compiled.get_or_init(|| compile(&self.text).ok());
        compiled.as_ref().is_some_and(|regex| regex.is_match(text))
    }
}

/// Compiles a pattern in Go's syntax.
///
/// # Errors
/// What is wrong with it, on one line.
pub fn compile(text: &str) -> Result<Regex, String> {
    compile_within(text, SIZE_LIMIT)
}

/// As [`compile`], for a pattern that may take at most `limit` bytes.
///
/// # Errors
/// What is wrong with it, on one line.
pub fn compile_within(text: &str, limit: usize) -> Result<Regex, String> {
    if text.len() > MAX_LEN {
        return Err(format!("error parsing regexp: expression is longer than {MAX_LEN} bytes"));
    }
    RegexBuilder::new(&translate(text)).size_limit(limit).dfa_size_limit(limit).nest_limit(100).build().map_err(
        |error| match error {
            regex::Error::CompiledTooBig(_) => "error parsing regexp: expression is too large".to_owned(),
            other => {
                let text = other.to_string();
                let last = text.lines().last().unwrap_or_default().trim_start_matches("error: ").to_owned();
                format!("error parsing regexp: {last}")
            }
        },
    )
}

fn translate(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 16);
    let mut rest = text;
    let mut in_class = false;
    while let Some(c) = rest.chars().next() {
        let after = &rest[c.len_utf8()..];
        rest = match c {
            '\\' => escape(after, &mut out, in_class),
            '[' if in_class => {
                if after.starts_with(':') {
                    let end = after.find(":]").map_or(0, |end| end + 2);
                    out.push('[');
                    out.push_str(&after[..end]);
                    &after[end..]
                } else {
                    out.push_str("\\[");
                    after
                }
            }
            '[' => {
                in_class = true;
                out.push('[');
                let mut after = after;
                if let Some(negated) = after.strip_prefix('^') {
                    out.push('^');
                    after = negated;
                }
                // A bracket that comes first is a literal.
                match after.strip_prefix(']') {
                    Some(literal) => {
                        out.push_str("\\]");
                        literal
                    }
                    None => after,
                }
            }
            ']' if in_class => {
                in_class = false;
                out.push(']');
                after
            }
            '&' | '~' if in_class => {
                out.push('\\');
                out.push(c);
                after
            }
            '-' if in_class && after.starts_with('-') => {
                out.push_str("\\-");
                after
            }
            '{' if !in_class && !is_repetition(after) => {
                out.push_str("\\{");
                after
            }
            c => {
                out.push(c);
                after
            }
        };
    }
    out
}

/// What follows a backslash.
fn escape<'t>(after: &'t str, out: &mut String, in_class: bool) -> &'t str {
    let Some(c) = after.chars().next() else {
        out.push('\\');
        return after;
    };
    let rest = &after[c.len_utf8()..];
    let class = |inner: &str, out: &mut String| {
        out.push_str(inner);
    };
    match c {
        'd' => class("[0-9]", out),
        'D' => class("[^0-9]", out),
        'w' => class("[0-9A-Za-z_]", out),
        'W' => class("[^0-9A-Za-z_]", out),
        's' => class("[\\t\\n\\f\\r ]", out),
        'S' => class("[^\\t\\n\\f\\r ]", out),
        'b' if !in_class => class("(?-u:\\b)", out),
        'Q' => {
            let end = rest.find("\\E");
            out.push_str(&regex::escape(&rest[..end.unwrap_or(rest.len())]));
            return end.map_or("", |end| &rest[end + 2..]);
        }
        _ => {
            out.push('\\');
            out.push(c);
        }
    }
    rest
}

/// Whether a brace begins `{2}`, `{2,}` or `{2,5}`.
fn is_repetition(after: &str) -> bool {
    let Some((inner, _)) = after.split_once('}') else { return false };
    let mut parts = inner.splitn(2, ',');
    let digits = |text: &str| text.bytes().all(|b| b.is_ascii_digit());
    parts.next().is_some_and(|least| !least.is_empty() && digits(least)) && parts.next().is_none_or(digits)
}

#[cfg(test)]
mod tests {
    use super::{Pattern, compile};

    #[test]
    fn patterns_mean_what_they_mean_in_go() {
        for (pattern, yes, no) in [
            (r"^\d+$", "12", "١٢"),
            (r"^[\w-]+$", "a-b", "é"),
            (r"^[[]$", "[", "]"),
            (r"^[]a]+$", "]a", "b"),
            (r"^[a&&b]+$", "a&b", "c"),
            (r"^{x}$", "{x}", "x"),
            (r"^a{2,3}$", "aaa", "a"),
            (r"^\Qa.b\E$", "a.b", "axb"),
            (r"^[[:alpha:]]+$", "abc", "1"),
            (r"^(\d+(\.\d+)?)(ms|s)$", "1.5s", "1.5h"),
        ] {
            let compiled = Pattern::new(pattern);
            assert!(compiled.matches(yes), "{pattern} {yes}");
            assert!(!compiled.matches(no), "{pattern} {no}");
        }
    }

    #[test]
    fn patterns_that_explode_are_refused() {
        assert!(compile("(((a{1000}){1000}){1000})").is_err());
        assert!(compile(&"(".repeat(10_000)).is_err());
        assert!(compile("a(").unwrap_err().starts_with("error parsing regexp: "));
    }
}
