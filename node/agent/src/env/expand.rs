//! `$(VAR)` expansion as Kubernetes defines it for `env[].value`, `command`, `args` and `subPathExpr`:
//! `$$` is an escaped dollar, an unknown or malformed reference stays as it was written.

/// Expands `input`, asking `lookup` for each `$(NAME)`.
pub fn expand<'a>(input: &str, lookup: impl Fn(&str) -> Option<&'a str>) -> String {
    let mut out = String::with_capacity(input.len());
    let mut rest = input;
    while let Some(at) = rest.find('$') {
        out.push_str(&rest[..at]);
        rest = &rest[at + 1..];
        match rest.as_bytes().first() {
            Some(b'$') => {
                out.push('$');
                rest = &rest[1..];
            }
            Some(b'(') => match rest.find(')') {
                Some(end) => {
                    let name = &rest[1..end];
                    match lookup(name) {
                        Some(value) => out.push_str(value),
                        None => {
                            out.push_str("$(");
                            out.push_str(name);
                            out.push(')');
                        }
                    }
                    rest = &rest[end + 1..];
                }
                None => out.push('$'),
            },
            _ => out.push('$'),
        }
    }
    out.push_str(rest);
    out
}

/// The first `$(NAME)` in `input` that `lookup` doesn't know: `subPathExpr` refuses those.
pub fn first_unknown(input: &str, known: impl Fn(&str) -> bool) -> Option<String> {
    let mut rest = input;
    while let Some(at) = rest.find('$') {
        rest = &rest[at + 1..];
        if rest.starts_with('$') {
            rest = &rest[1..];
        } else if rest.starts_with('(')
            && let Some(end) = rest.find(')')
        {
            if !known(&rest[1..end]) {
                return Some(rest[1..end].to_owned());
            }
            rest = &rest[end + 1..];
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(input: &str, expected: &str) {
        let lookup = |name: &str| match name {
            "A" => Some("1"),
            "B" => Some("$(A)"),
            "EMPTY" => Some(""),
            _ => None,
        };
        assert_eq!(expand(input, lookup), expected, "{input}");
    }

    #[test]
    fn follows_the_documented_rules() {
        check("plain", "plain");
        check("$(A)", "1");
        check("a-$(A)-b", "a-1-b");
        check("$(B)", "$(A)");
        check("[$(EMPTY)]", "[]");
        check("$(UNKNOWN)", "$(UNKNOWN)");
        check("$$(A)", "$(A)");
        check("$$$(A)", "$1");
        check("$$$$(A)", "$$(A)");
        check("$(A", "$(A");
        check("$A", "$A");
        check("cost: 5$", "cost: 5$");
        check("$(A)$(A)", "11");
        check("ü$(A)ü", "ü1ü");
    }

    #[test]
    fn finds_unknown_references() {
        assert_eq!(first_unknown("$(A)/$(X)", |n| n == "A"), Some("X".into()));
        assert_eq!(first_unknown("$$(X)/$(A)", |n| n == "A"), None);
    }
}
