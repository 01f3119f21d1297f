//! What a Job says about failed pods and about success (`validatePodFailurePolicy`, `validateSuccessPolicy`), and the
//! bounds of Indexed Jobs.

use super::json::{check_name, check_non_negative, int, items, present, text};
use crate::field::{Error, Path, Type};
use crate::names;
use serde_json::Value;
use std::collections::HashSet;

const RULES_MAX: usize = 20;
const CONDITIONS_MAX: usize = 20;
const EXIT_CODES_MAX: usize = 255;
const INDEXES_TEXT_MAX: usize = 64 * 1024;
/// Completions above this are for Jobs that bound their failures.
const COMPLETIONS_SOFT_LIMIT: i64 = 100_000;
const INDEXED_MAX: i64 = 100_000;
const HIGH_COMPLETIONS_MAX: i64 = 10_000;

/// An `Invalid` whose text shows no value (`field.OmitValueType`).
fn invalid(path: &Path<'_>, detail: &str) -> Error {
    Error { kind: Type::Invalid, field: path.to_string(), value: None, detail: detail.into() }
}

/// What only Indexed Jobs may say, and how much.
pub(super) fn check_mode(spec: &Value, path: &Path<'_>, errors: &mut Vec<Error>) {
    if text(spec, "completionMode") != "Indexed" {
        for field in ["backoffLimitPerIndex", "maxFailedIndexes"] {
            if let Some(value) = present(spec, field) {
                errors.push(Error::invalid(&path.child(field), value.clone(), "requires indexed completion mode"));
            }
        }
        return;
    }
    let Some(completions) = int(spec, "completions") else {
        return errors.push(Error::required(&path.child("completions"), "when completion mode is Indexed"));
    };
    let at_most = |field: &str, limit: i64, detail: String, errors: &mut Vec<Error>| {
        if let Some(number) = int(spec, field).filter(|number| *number > limit) {
            errors.push(Error::invalid(&path.child(field), number, detail));
        }
    };
    let no_more = format!("must be less than or equal to {INDEXED_MAX}");
    at_most("parallelism", INDEXED_MAX, format!("{no_more} when completion mode is Indexed"), errors);
    at_most("maxFailedIndexes", completions, "must be less than or equal to completions".into(), errors);
    at_most("maxFailedIndexes", INDEXED_MAX, no_more, errors);
    if completions <= COMPLETIONS_SOFT_LIMIT || present(spec, "backoffLimitPerIndex").is_none() {
        return;
    }
    if present(spec, "maxFailedIndexes").is_none() {
        let detail = format!("must be specified when completions is above {COMPLETIONS_SOFT_LIMIT}");
        errors.push(Error::required(&path.child("maxFailedIndexes"), detail));
    }
    let detail = format!(
        "must be less than or equal to {HIGH_COMPLETIONS_MAX} when completions are above {COMPLETIONS_SOFT_LIMIT} and used with backoff limit per index"
    );
    for field in ["parallelism", "maxFailedIndexes"] {
        at_most(field, HIGH_COMPLETIONS_MAX, detail.clone(), errors);
    }
}

pub(super) fn check_failure_policy(spec: &Value, path: &Path<'_>, errors: &mut Vec<Error>) {
    let Some(policy) = present(spec, "podFailurePolicy") else { return };
    let path = path.child("podFailurePolicy");
    let (rules, list) = (items(policy, "rules"), path.child("rules"));
    if rules.len() > RULES_MAX {
        errors.push(Error::too_many(&list, rules.len(), RULES_MAX));
    }
    for (i, rule) in rules.iter().enumerate() {
        check_failure_rule(spec, rule, &list.index(i), errors);
    }
}

fn check_failure_rule(spec: &Value, rule: &Value, path: &Path<'_>, errors: &mut Vec<Error>) {
    let at = path.child("action");
    match text(rule, "action") {
        "" => {
            errors.push(Error::required(&at, "valid values: [\"Count\" \"FailIndex\" \"FailJob\" \"Ignore\"]"));
        }
        "FailIndex" if present(spec, "backoffLimitPerIndex").is_none() => {
            errors.push(Error::invalid(&at, "FailIndex", "requires the backoffLimitPerIndex to be set"));
        }
        "Count" | "FailIndex" | "FailJob" | "Ignore" => {}
        other => errors.push(Error::not_supported(&at, other, &["Count", "FailIndex", "FailJob", "Ignore"])),
    }
    let (codes, conditions) = (present(rule, "onExitCodes"), items(rule, "onPodConditions"));
    if let Some(codes) = codes {
        check_exit_codes(spec, codes, &path.child("onExitCodes"), errors);
    }
    check_conditions(conditions, &path.child("onPodConditions"), errors);
    match (codes.is_some(), !conditions.is_empty()) {
        (true, true) => {
            errors.push(invalid(path, "specifying both OnExitCodes and OnPodConditions is not supported"));
        }
        (false, false) => {
            errors.push(invalid(path, "specifying one of OnExitCodes and OnPodConditions is required"));
        }
        _ => {}
    }
}

fn check_conditions(conditions: &[Value], list: &Path<'_>, errors: &mut Vec<Error>) {
    if conditions.len() > CONDITIONS_MAX {
        errors.push(Error::too_many(list, conditions.len(), CONDITIONS_MAX));
    }
    for (i, pattern) in conditions.iter().enumerate() {
        let path = list.index(i);
        check_name(text(pattern, "type"), &path.child("type"), names::check_qualified_name, errors);
        let at = path.child("status");
        match text(pattern, "status") {
            "" => errors.push(Error::required(&at, "valid values: [\"False\" \"True\" \"Unknown\"]")),
            "False" | "True" | "Unknown" => {}
            other => errors.push(Error::not_supported(&at, other, &["False", "True", "Unknown"])),
        }
    }
}

fn check_exit_codes(spec: &Value, codes: &Value, path: &Path<'_>, errors: &mut Vec<Error>) {
    let operator = text(codes, "operator");
    let at = path.child("operator");
    match operator {
        "" => errors.push(Error::required(&at, "valid values: [\"In\" \"NotIn\"]")),
        "In" | "NotIn" => {}
        other => errors.push(Error::not_supported(&at, other, &["In", "NotIn"])),
    }
    if let Some(name) = codes.get("containerName").and_then(Value::as_str) {
        let pod = spec.pointer("/template/spec").unwrap_or(&Value::Null);
        let mut containers = items(pod, "containers").iter().chain(items(pod, "initContainers"));
        if !containers.any(|container| text(container, "name") == name) {
            let detail = "must be one of the container or initContainer names in the pod template";
            errors.push(Error::invalid(&path.child("containerName"), name, detail));
        }
    }
    let (values, list) = (items(codes, "values"), path.child("values"));
    if values.is_empty() {
        errors.push(Error::invalid(&list, values.to_vec(), "at least one value is required"));
    } else if values.len() > EXIT_CODES_MAX {
        errors.push(Error::too_many(&list, values.len(), EXIT_CODES_MAX));
    }
    let numbers: Vec<i64> = values.iter().filter_map(Value::as_i64).collect();
    let mut seen = HashSet::new();
    for (i, number) in numbers.iter().enumerate() {
        if operator == "In" && *number == 0 {
            errors.push(Error::invalid(&list.index(i), 0, "must not be 0 for the In operator"));
        }
        if !seen.insert(*number) {
            errors.push(Error::duplicate(&list.index(i), *number));
        }
    }
    if !numbers.is_sorted() {
        errors.push(Error::invalid(&list, values.to_vec(), "must be ordered"));
    }
}

pub(super) fn check_success_policy(spec: &Value, path: &Path<'_>, errors: &mut Vec<Error>) {
    let Some(policy) = present(spec, "successPolicy") else { return };
    let path = path.child("successPolicy");
    if text(spec, "completionMode") != "Indexed" {
        return errors.push(Error::invalid(&path, policy.clone(), "requires indexed completion mode"));
    }
    let (rules, list) = (items(policy, "rules"), path.child("rules"));
    if rules.is_empty() {
        let detail = "at least one rules must be specified when the successPolicy is specified";
        errors.push(Error::required(&list, detail));
    }
    if rules.len() > RULES_MAX {
        errors.push(Error::too_many(&list, rules.len(), RULES_MAX));
    }
    let completions = int(spec, "completions").unwrap_or(0);
    for (i, rule) in rules.iter().enumerate() {
        check_success_rule(rule, completions, &list.index(i), errors);
    }
}

fn check_success_rule(rule: &Value, completions: i64, path: &Path<'_>, errors: &mut Vec<Error>) {
    let (count, indexes) = (int(rule, "succeededCount"), rule.get("succeededIndexes").and_then(Value::as_str));
    if count.is_none() && indexes.is_none() {
        let detail = "at least one of succeededCount or succeededIndexes must be specified";
        errors.push(Error::required(path, detail));
    }
    let at = path.child("succeededIndexes");
    let mut total = 0;
    if let Some(indexes) = indexes {
        if indexes.len() > INDEXES_TEXT_MAX {
            errors.push(Error::too_long(&at, INDEXES_TEXT_MAX));
        }
        match count_indexes(indexes, completions) {
            Ok(number) => total = number,
            Err(why) => {
                errors.push(Error::invalid(&at, indexes, format!("error parsing succeededIndexes: {why}")));
            }
        }
    }
    let Some(count) = count else { return };
    let at = path.child("succeededCount");
    check_non_negative(rule, "succeededCount", path, errors);
    if count > completions {
        let detail = format!("must be less than or equal to {completions} (the number of specified completions)");
        errors.push(Error::invalid(&at, count, detail));
    }
    if indexes.is_some() && count > total {
        let detail = format!(
            "must be less than or equal to {total} (the number of indexes in the specified succeededIndexes field)"
        );
        errors.push(Error::invalid(&at, count, detail));
    }
}

/// How many indexes a text such as `0,3-5` names.
fn count_indexes(text: &str, completions: i64) -> Result<i64, String> {
    if text.is_empty() {
        return Ok(0);
    }
    let (mut total, mut last) = (0, -1);
    let number = |part: &str| {
        let parsed = part.parse::<i64>();
        let index = parsed.map_err(|_| format!("cannot convert string to integer for index: {part:?}"))?;
        if (0..completions).contains(&index) { Ok(index) } else { Err(format!("too large index: {part:?}")) }
    };
    for interval in text.split(',') {
        let (first, end) = interval.split_once('-').unwrap_or((interval, interval));
        if end.contains('-') {
            return Err(format!(
                "the fragment {interval:?} violates the requirement that an index interval can have at most two parts separated by '-'"
            ));
        }
        let (from, to) = (number(first)?, number(end)?);
        if last >= from {
            return Err(format!("non-increasing order, previous: {last}, current: {from}"));
        }
        if interval.contains('-') && from >= to {
            return Err(format!("non-increasing order, previous: {from}, current: {to}"));
        }
        total += to - from + 1;
        last = to;
    }
    Ok(total)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn indexes_are_counted_or_refused() {
        for (text, expected) in [("", Ok(0)), ("1", Ok(1)), ("0,3-5,7", Ok(5))] {
            assert_eq!(count_indexes(text, 8), expected, "{text}");
        }
        for bad in ["8", "x", "1,1", "5-3", "3-3", "1-2-3", "-1", ","] {
            assert!(count_indexes(bad, 8).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_success_policy_fits_its_job() {
        let check = |rule: Value| {
            let spec = json!({"completionMode": "Indexed", "completions": 4, "successPolicy": {"rules": [rule]}});
            let mut errors = Vec::new();
            check_success_policy(&spec, &Path::new("spec"), &mut errors);
            errors.iter().map(ToString::to_string).collect::<Vec<_>>()
        };
        assert!(check(json!({"succeededCount": 2, "succeededIndexes": "0-2"})).is_empty());
        let at = "spec.successPolicy.rules[0]";
        let missing = "at least one of succeededCount or succeededIndexes must be specified";
        assert_eq!(check(json!({})), [format!("{at}: Required value: {missing}")]);
        let many = check(json!({"succeededCount": 9}));
        let detail = "must be less than or equal to 4 (the number of specified completions)";
        assert_eq!(many, [format!("{at}.succeededCount: Invalid value: 9: {detail}")]);
    }
}
