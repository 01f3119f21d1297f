//! Query parameters, converted as Kubernetes converts them (`runtime/converter.go`).

use api::Status;
use std::borrow::Cow;

/// A parsed query. Of a repeated parameter the first one counts, but for lists.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Query<'a>(Vec<(Cow<'a, str>, Cow<'a, str>)>);

impl<'a> Query<'a> {
    /// What Go cannot read of a query it leaves out: pairs with a semicolon or with a `%` that begins no byte.
    pub(crate) fn parse(query: &'a str) -> Self {
        if !query.contains(['%', ';']) {
            return Self(form_urlencoded::parse(query.as_bytes()).collect());
        }
        let readable = query.split('&').filter(|pair| !pair.contains(';') && escapes_well(pair));
        Self(readable.flat_map(|pair| form_urlencoded::parse(pair.as_bytes())).collect())
    }

    pub(crate) fn of(uri: &'a http::Uri) -> Self {
        uri.query().map(Self::parse).unwrap_or_default()
    }

    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(key, _)| key == name).map(|(_, value)| &**value)
    }

    /// The parameter, with an empty one taken for an absent one.
    pub(crate) fn text(&self, name: &str) -> Option<&str> {
        self.get(name).filter(|value| !value.is_empty())
    }

    pub(crate) fn all<'s>(&'s self, name: &'s str) -> impl Iterator<Item = &'s str> {
        self.0.iter().filter(move |(key, _)| key == name).map(|(_, value)| &**value)
    }

    /// Absent, `false` and `0` are false; anything else is true, the empty text too.
    pub(crate) fn flag(&self, name: &str) -> bool {
        self.optional_flag(name).unwrap_or(false)
    }

    pub(crate) fn optional_flag(&self, name: &str) -> Option<bool> {
        self.get(name).map(|value| !(value.eq_ignore_ascii_case("false") || value == "0"))
    }

    /// # Errors
    /// 400 worded as Go's `strconv.ParseInt`.
    pub(crate) fn integer(&self, name: &str) -> Result<Option<i64>, Status> {
        let Some(value) = self.get(name) else { return Ok(None) };
        value.parse().map(Some).map_err(|error: std::num::ParseIntError| {
            use std::num::IntErrorKind::{NegOverflow, PosOverflow};
            let why =
                if matches!(error.kind(), PosOverflow | NegOverflow) { "value out of range" } else { "invalid syntax" };
            Status::bad_request(format!("strconv.ParseInt: parsing {value:?}: {why}"))
        })
    }
}

/// Whether each `%` is followed by two hexadecimal digits.
fn escapes_well(text: &str) -> bool {
    let mut parts = text.split('%').skip(1);
    parts.all(|part| part.len() >= 2 && part.bytes().take(2).all(|byte| byte.is_ascii_hexdigit()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_go_cannot_read_is_left_out() {
        let query = Query::parse("a=%zz&b=1;c=2&d=%41&%=x&e=%4");
        let known: Vec<Option<&str>> = ["a", "b", "c", "d", "%", "e"].into_iter().map(|name| query.get(name)).collect();
        assert_eq!(known, [None, None, None, Some("A"), None, None]);
    }

    #[test]
    fn booleans_are_true_unless_absent_false_or_zero() {
        let query = Query::parse("a=true&b=false&c=0&d=&e");
        let truth: Vec<bool> = ["a", "b", "c", "d", "e", "f"].into_iter().map(|name| query.flag(name)).collect();
        assert_eq!(truth, [true, false, false, true, true, false]);
    }

    #[test]
    fn integers_fail_in_gos_words() {
        let query = Query::parse("a=12&b=x&c=99999999999999999999&d=");
        assert_eq!(query.integer("d").unwrap_err().message, r#"strconv.ParseInt: parsing "": invalid syntax"#);
        assert_eq!(query.integer("a").unwrap(), Some(12));
        assert_eq!(query.integer("b").unwrap_err().message, r#"strconv.ParseInt: parsing "x": invalid syntax"#);
        assert_eq!(
            query.integer("c").unwrap_err().message,
            r#"strconv.ParseInt: parsing "99999999999999999999": value out of range"#
        );
    }
}
