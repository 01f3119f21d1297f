//! Patterns of CRDs: regular expressions as Go's RE2 reads them, run by the `regex` crate under limits.
//!
//! Both are linear in their input. What differs is translated, and what Go refuses is refused in Go's words: [`syntax`].

mod syntax;

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
    let translated = syntax::translate(text)?;
    RegexBuilder::new(&translated).size_limit(limit).dfa_size_limit(limit).nest_limit(100).build().map_err(|error| {
        match error {
            regex::Error::CompiledTooBig(_) => format!("error parsing regexp: expression too large: `{text}`"),
            other => {
                let text = other.to_string();
                let last = text.lines().last().unwrap_or_default().trim_start_matches("error: ").to_owned();
                format!("error parsing regexp: {last}")
            }
        }
    })
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

    #[test]
    fn what_is_wrong_is_told_as_go_tells_it() {
        for (pattern, why) in [
            ("a**", "invalid nested repetition operator: `**`"),
            ("a{1001}", "invalid repeat count: `{1001}`"),
            ("(a{100}){11}", "invalid repeat count: `{11}`"),
            ("a{3,2}", "invalid repeat count: `{3,2}`"),
            ("*a", "missing argument to repetition operator: `*`"),
            ("a|+", "missing argument to repetition operator: `+`"),
            ("(a", "missing closing ): `(a`"),
            ("a)", "unexpected ): `a)`"),
            ("[a", "missing closing ]: `[a`"),
            ("[z-a]", "invalid character class range: `z-a`"),
            ("[[:foo:]]", "invalid character class range: `[:foo:]`"),
            (r"\p{Foo}", r"invalid character class range: `\p{Foo}`"),
            (r"\8", r"invalid escape sequence: `\8`"),
            (r"\Z", r"invalid escape sequence: `\Z`"),
            ("a\\", "trailing backslash at end of expression: ``"),
            ("(?P<a-b>x)", "invalid named capture: `(?P<a-b>`"),
            ("(?<=a)b", "invalid named capture: `(?<=a)b`"),
            ("(?=a)", "invalid or unsupported Perl syntax: `(?=`"),
            ("(?x)a", "invalid or unsupported Perl syntax: `(?x`"),
        ] {
            assert_eq!(compile(pattern).unwrap_err(), format!("error parsing regexp: {why}"), "{pattern}");
        }
        for good in
            ["(?P<n>a)(?P<n>b)", r"\p{Greek}", r"\P{^Lu}", "a{,3}", "{", "(a{0}){1000}", "(|a)*", r"\Q*\E+", "(?)a"]
        {
            assert!(compile(good).is_ok(), "{good}");
        }
    }
}
