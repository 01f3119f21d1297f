//! Facts about validation, as kube-apiserver's own code states them: a valid object, one thing made wrong in it, and all that
//! it then says.

mod access;
mod changes;
mod defaults;
mod kinds;
mod pods;

use super::for_kind;
use super::rule_tests::{decode, set, stored, verdict};

/// A kind, what is set of it, to what, and all errors in order, with ` ;; ` between them; none: it is fine.
type Row = (&'static str, &'static str, &'static str, &'static str);

/// Long texts that many rows share.
const TEXTS: &[(&str, &str)] = &[
    (
        "LABEL_1035",
        "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an alphabetic character, and end with an alphanumeric character (e.g. 'my-name',  or 'abc-123', regex used for validation is '[a-z]([-a-z0-9]*[a-z0-9])?')",
    ),
    (
        "LABEL_VALUE",
        "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')",
    ),
    (
        "LABEL",
        "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')",
    ),
    (
        "SUBDOMAIN",
        "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')",
    ),
    (
        "NAME",
        "name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')",
    ),
    ("NOT_NEGATIVE", "must be greater than or equal to 0"),
    ("PORT", "must be between 1 and 65535, inclusive"),
    ("MODE", "must be a number between 0 and 0777 (octal), both inclusive"),
    ("IMMUTABLE", "field is immutable"),
    ("CIDR", "must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)"),
    ("IP", "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)"),
];

/// The errors of a row: the names of long texts stand at the end of an error.
fn expected(row: &str) -> Vec<String> {
    let full = |error: &str| match TEXTS.iter().find(|(name, _)| error.ends_with(&format!(": {name}"))) {
        Some((name, text)) => format!("{}{text}", error.strip_suffix(name).unwrap_or(error)),
        None => error.to_owned(),
    };
    row.split(" ;; ").filter(|error| !error.is_empty()).map(full).collect()
}

fn report(row: &Row, errors: &[String]) -> Option<String> {
    let (kind, pointer, value, text) = row;
    let wanted = expected(text);
    // Some texts end in the difference between the two objects.
    let same = |(got, wanted): (&String, &String)| got == wanted || got.starts_with(&format!("{wanted}\n"));
    let fine = errors.len() == wanted.len() && errors.iter().zip(&wanted).all(same);
    (!fine).then(|| format!("{kind} {pointer} = {value}\n  wanted {wanted:#?}\n  got {errors:#?}"))
}

#[test]
fn new_objects_are_judged_as_kubernetes_judges_them() {
    let mut failures = Vec::new();
    for row in pods::ROWS.iter().chain(kinds::ROWS).chain(access::ROWS) {
        let (group, mut object) = stored(row.0);
        set(&mut object, row.1, row.2);
        decode(group, row.0, &mut object);
        let errors: Vec<String> = for_kind(group, row.0).validate(&object).iter().map(ToString::to_string).collect();
        failures.extend(report(row, &errors));
    }
    verdict(&failures);
}

#[test]
fn changes_are_judged_as_kubernetes_judges_them() {
    let mut failures = Vec::new();
    for row in changes::ROWS {
        let (group, old) = stored(row.0);
        let mut new = old.clone();
        set(&mut new, row.1, row.2);
        decode(group, row.0, &mut new);
        let strategy = for_kind(group, row.0);
        strategy.default(&mut new);
        strategy.prepare_update(&mut new, &old);
        let errors: Vec<String> = strategy.validate_change(&new, &old).iter().map(ToString::to_string).collect();
        failures.extend(report(row, &errors));
    }
    verdict(&failures);
}
