//! `fieldPath` of a rule: `.spec.foo`, `['my.field']`, as Kubernetes reads it.

use serde_json::Value;

/// The path as messages have it, for instance `spec.foo[key]`.
///
/// # Errors
/// Why it is no path of `schema`.
pub fn read(text: &str, schema: &Value) -> Result<String, String> {
    walk(text, schema, Brackets::Allowed).map(|(path, _)| path)
}

/// The same of a path without brackets, and the schema of the field it names.
///
/// # Errors
/// Why it is no path of `schema`.
pub fn read_plain<'s>(text: &str, schema: &'s Value) -> Result<(String, &'s Value), String> {
    walk(text, schema, Brackets::Refused)
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Brackets {
    Allowed,
    Refused,
}

fn walk<'s>(text: &str, mut schema: &'s Value, brackets: Brackets) -> Result<(String, &'s Value), String> {
    let mut out = String::new();
    let mut rest = text;
    while !rest.is_empty() {
        let (name, after) = match rest.strip_prefix('[') {
            Some(_) if brackets == Brackets::Refused => return Err("array notation is not allowed".into()),
            Some(inside) => quoted(inside)?,
            None => {
                let Some(name) = rest.strip_prefix('.') else {
                    let end = rest.find(['.', '[', ']']).unwrap_or(rest.len()).max(1);
                    return Err(format!("expected [ or . but got: {}", &rest[..end]));
                };
                let end = name.find(['.', '[', ']']).unwrap_or(name.len());
                if end == 0 && name.is_empty() {
                    return Err("unexpected end of JSON path".into());
                }
                (name[..end].to_owned(), &name[end..])
            }
        };
        rest = after;
        let unknown = || "does not refer to a valid field".to_owned();
        if let Some(properties) = schema.get("properties") {
            schema = properties.get(&name).ok_or_else(unknown)?;
            if !out.is_empty() {
                out.push('.');
            }
            out.push_str(&name);
        } else {
            schema = schema.get("additionalProperties").filter(|values| values.is_object()).ok_or_else(unknown)?;
            out.push_str(&format!("[{name}]"));
        }
    }
    Ok((out, schema))
}

/// What stands in `'…']`, and what follows.
fn quoted(text: &str) -> Result<(String, &str), String> {
    let end = || "unexpected end of JSON path".to_owned();
    let Some(inside) = text.strip_prefix('\'') else {
        let token = text.split(['.', '[', ']']).next().unwrap_or_default();
        return Err(if token.is_empty() { end() } else { format!("expected single quoted string but got {token}") });
    };
    let mut name = String::new();
    let mut rest = inside.chars();
    loop {
        match rest.next().ok_or_else(end)? {
            '\'' => break,
            '\\' => match rest.next().ok_or_else(end)? {
                'a' => name.push('\u{7}'),
                'b' => name.push('\u{8}'),
                'f' => name.push('\u{c}'),
                'n' => name.push('\n'),
                'r' => name.push('\r'),
                't' => name.push('\t'),
                'v' => name.push('\u{b}'),
                c @ ('\'' | '\\') => name.push(c),
                c => return Err(format!("invalid string literal: invalid escape char \\{c}")),
            },
            c => name.push(c),
        }
    }
    let rest = rest.as_str();
    match rest.strip_prefix(']') {
        Some(after) => Ok((name, after)),
        None if rest.is_empty() => Err(end()),
        None => Err(format!("expected ] but got {}", &rest[..rest.chars().next().map_or(0, char::len_utf8)])),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn paths_are_read_against_the_schema() {
        let schema = json!({"properties": {
            "spec": {"properties": {"a.b": {}, "map": {"additionalProperties": {"properties": {"x": {}}}}}},
        }});
        for (text, wanted) in [
            (".spec", Ok("spec")),
            (".spec['a.b']", Ok("spec.a.b")),
            (".spec.map['k'].x", Ok("spec.map[k].x")),
            (".spec.map.k", Ok("spec.map[k]")),
            (".other", Err("does not refer to a valid field")),
            (".spec['a.b'].deeper", Err("does not refer to a valid field")),
            ("spec", Err("expected [ or . but got: spec")),
            (".spec[0]", Err("expected single quoted string but got 0")),
            (".spec['a", Err("unexpected end of JSON path")),
            (".spec['\\q']", Err("invalid string literal: invalid escape char \\q")),
            (".spec['a.b'x", Err("expected ] but got x")),
        ] {
            assert_eq!(read(text, &schema), wanted.map(str::to_owned).map_err(str::to_owned), "{text}");
        }
    }
}
