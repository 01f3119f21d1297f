//! Validating and mutating webhook configurations (`admissionregistration/v1/defaults.go`, `validation.go`).

use super::json::{check_name, fill, items, present, text};
use super::pod::check_label_selector;
use crate::crd::spec::Unknown;
use crate::field::{Error, Path};
use crate::strategy::Strategy;
use crate::{names, schema};
use serde_json::{Map, Value, json};
use std::collections::{BTreeMap, BTreeSet};

/// What differs between the two kinds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Webhooks {
    Validating,
    Mutating,
}

/// Conditions of one webhook. Of webhooks there is no limit but the object's size.
const MAX_MATCH_CONDITIONS: usize = 64;
/// Most different expressions in one object, and bytes of them together: what compiling them may take. Kubernetes has no
/// such limit.
const MAX_EXPRESSIONS: usize = 4_096;
const MAX_EXPRESSION_BYTES: usize = 512 << 10;
const TIMEOUT_MAX_SECONDS: i64 = 30;
const OPERATIONS: &[&str] = &["*", "CONNECT", "CREATE", "DELETE", "UPDATE"];
const REVIEWS: &[&str] = &["v1", "v1beta1"];
const SIDE_EFFECTS: &[&str] = &["None", "NoneOnDryRun"];
/// What webhooks could say before `admissionregistration.k8s.io/v1`.
const ALL_SIDE_EFFECTS: &[&str] = &["None", "NoneOnDryRun", "Some", "Unknown"];

impl Strategy for Webhooks {
    fn default(&self, object: &mut Value) {
        for hook in object.get_mut("webhooks").and_then(Value::as_array_mut).into_iter().flatten() {
            let Some(hook) = hook.as_object_mut() else { continue };
            fill(hook, "failurePolicy", "Fail");
            fill(hook, "matchPolicy", "Equivalent");
            fill(hook, "namespaceSelector", json!({}));
            fill(hook, "objectSelector", json!({}));
            fill(hook, "timeoutSeconds", 10);
            if *self == Self::Mutating {
                fill(hook, "reinvocationPolicy", "Never");
            }
            default_parts(hook);
        }
    }

    fn validate(&self, object: &Value) -> Vec<Error> {
        self.check(object, &Forgiven::default())
    }

    fn validate_change(&self, object: &Value, old: &Value) -> Vec<Error> {
        self.check(object, &Forgiven::of(object, old))
    }

    fn unconditional_update(&self) -> bool {
        false
    }
}

/// What an update may go on doing wrong, because the old object does.
#[derive(Default)]
struct Forgiven {
    match_conditions: bool,
    side_effects: bool,
    review_versions: bool,
    names: bool,
    label_values: bool,
}

impl Forgiven {
    fn of(object: &Value, old: &Value) -> Self {
        let (new, old) = (items(object, "webhooks"), items(old, "webhooks"));
        let conditions = |hook: &Value| items(hook, "matchConditions").to_vec();
        let mut names = BTreeSet::new();
        let unknown = |hook: &Value| {
            let versions = schema::strings(hook.get("admissionReviewVersions"));
            !versions.is_empty() && !versions.iter().any(|version| REVIEWS.contains(&version.as_str()))
        };
        Self {
            match_conditions: new.len() == old.len()
                && new.iter().zip(old).all(|(new, old)| conditions(new) == conditions(old)),
            side_effects: old.iter().any(|hook| !SIDE_EFFECTS.contains(&text(hook, "sideEffects"))),
            review_versions: old.iter().any(unknown),
            names: !old.iter().all(|hook| names.insert(text(hook, "name"))),
            label_values: old.iter().any(|hook| {
                let mut errors = Vec::new();
                selectors(hook, &Path::new(""), &mut errors);
                !errors.is_empty()
            }),
        }
    }
}

fn default_parts(hook: &mut Map<String, Value>) {
    if let Some(service) =
        hook.get_mut("clientConfig").and_then(|c| c.get_mut("service")).and_then(Value::as_object_mut)
    {
        fill(service, "port", 443);
    }
    for rule in hook.get_mut("rules").and_then(Value::as_array_mut).into_iter().flatten() {
        if let Some(rule) = rule.as_object_mut() {
            fill(rule, "scope", "*");
        }
    }
}

impl Webhooks {
    fn check(self, object: &Value, forgiven: &Forgiven) -> Vec<Error> {
        let mut errors = Vec::new();
        let path = Path::new("webhooks");
        let mut seen = BTreeSet::new();
        let mut compiled = Compiled::default();
        for (index, hook) in items(object, "webhooks").iter().enumerate() {
            let at = path.index(index);
            self.webhook(hook, forgiven, &at, &mut errors);
            if !forgiven.match_conditions {
                conditions(hook, &mut compiled, &at.child("matchConditions"), &mut errors);
            }
            review_versions(hook, forgiven, &at.child("admissionReviewVersions"), &mut errors);
            let name = text(hook, "name");
            if !forgiven.names && !name.is_empty() && !seen.insert(name) {
                errors.push(Error::duplicate(&at.child("name"), name));
            }
        }
        errors
    }

    fn webhook(self, hook: &Value, forgiven: &Forgiven, path: &Path<'_>, errors: &mut Vec<Error>) {
        full_name(text(hook, "name"), &path.child("name"), errors);
        let rules = path.child("rules");
        for (index, rule) in items(hook, "rules").iter().enumerate() {
            check_rule(rule, &rules.index(index), errors);
        }
        check_pointer(hook, "failurePolicy", &["Fail", "Ignore"], path, errors);
        check_pointer(hook, "matchPolicy", &["Equivalent", "Exact"], path, errors);
        let allowed = if forgiven.side_effects { ALL_SIDE_EFFECTS } else { SIDE_EFFECTS };
        if present(hook, "sideEffects").is_none() {
            let detail = format!("must specify one of {}", allowed.join(", "));
            errors.push(Error::required(&path.child("sideEffects"), detail));
        }
        check_pointer(hook, "sideEffects", allowed, path, errors);
        if let Some(seconds) = hook.get("timeoutSeconds").and_then(Value::as_i64)
            && !(1..=TIMEOUT_MAX_SECONDS).contains(&seconds)
        {
            let detail = "the timeout value must be between 1 and 30 seconds";
            errors.push(Error::invalid(&path.child("timeoutSeconds"), seconds, detail));
        }
        if !forgiven.label_values {
            selectors(hook, path, errors);
        }
        if self == Self::Mutating {
            check_pointer(hook, "reinvocationPolicy", &["IfNeeded", "Never"], path, errors);
        }
        let client = hook.get("clientConfig").unwrap_or(&Value::Null);
        crate::crd::spec::client_config(client, &path.child("clientConfig"), errors);
    }
}

fn selectors(hook: &Value, path: &Path<'_>, errors: &mut Vec<Error>) {
    for selector in ["namespaceSelector", "objectSelector"] {
        check_label_selector(hook.get(selector), &path.child(selector), errors);
    }
}

/// Complains about a member that is there and not in `supported`: an empty text is there.
fn check_pointer(hook: &Value, field: &str, supported: &[&str], path: &Path<'_>, errors: &mut Vec<Error>) {
    if let Some(word) = hook.get(field).and_then(Value::as_str).filter(|word| !supported.contains(word)) {
        errors.push(Error::not_supported(&path.child(field), word, supported));
    }
}

/// A domain with at least three parts.
fn full_name(name: &str, path: &Path<'_>, errors: &mut Vec<Error>) {
    if name.is_empty() {
        errors.push(Error::required(path, ""));
        return;
    }
    let complaints = names::check_dns1123_subdomain(name);
    if !complaints.is_empty() {
        errors.push(Error::invalid(path, name, complaints.join(",")));
    } else if name.split('.').count() < 3 {
        errors.push(Error::invalid(path, name, "should be a domain with at least three segments separated by dots"));
    }
}

fn review_versions(hook: &Value, forgiven: &Forgiven, path: &Path<'_>, errors: &mut Vec<Error>) {
    let versions = schema::strings(hook.get("admissionReviewVersions"));
    if versions.is_empty() {
        let detail = format!("must specify one of {}", REVIEWS.join(", "));
        errors.push(Error::required(path, detail));
        return;
    }
    let unknown = if forgiven.review_versions { Unknown::Allowed } else { Unknown::Refused };
    crate::crd::spec::review_versions(&versions, unknown, path, errors);
}

fn check_rule(rule: &Value, path: &Path<'_>, errors: &mut Vec<Error>) {
    for (field, what) in [("operations", "operations"), ("apiGroups", "API groups"), ("apiVersions", "API versions")] {
        let (list, at) = (schema::strings(rule.get(field)), path.child(field));
        if list.is_empty() {
            errors.push(Error::required(&at, ""));
        }
        if list.len() > 1 && list.iter().any(|word| word == "*") {
            let detail = format!("if '*' is present, must not specify other {what}");
            errors.push(Error::invalid(&at, list.clone(), detail));
        }
        for (index, word) in list.iter().enumerate() {
            if field == "operations" && !OPERATIONS.contains(&word.as_str()) {
                errors.push(Error::not_supported(&at.index(index), word.as_str(), OPERATIONS));
            } else if field == "apiVersions" && word.is_empty() {
                errors.push(Error::required(&at.index(index), ""));
            }
        }
    }
    check_resources(&schema::strings(rule.get("resources")), &path.child("resources"), errors);
    check_pointer(rule, "scope", &["*", "Cluster", "Namespaced"], path, errors);
}

/// Resources and subresources, of which none may be covered by another before it.
fn check_resources(list: &[String], path: &Path<'_>, errors: &mut Vec<Error>) {
    if list.is_empty() {
        errors.push(Error::required(path, ""));
    }
    let (mut whole, mut everywhere) = (BTreeSet::new(), BTreeSet::new());
    let mut bare = false;
    for (index, word) in list.iter().enumerate() {
        if word.is_empty() {
            errors.push(Error::required(&path.index(index), ""));
            continue;
        }
        let Some((resource, sub)) = word.split_once('/') else {
            // As in Kubernetes: the last one counts.
            bare = word != "*";
            continue;
        };
        for (covered, by) in
            [(whole.contains(resource), format!("{resource}/*")), (everywhere.contains(sub), format!("*/{sub}"))]
        {
            if covered {
                let detail = format!("if '{by}' is present, must not specify {word}");
                errors.push(Error::invalid(&path.index(index), word.as_str(), detail));
            }
        }
        if sub == "*" {
            whole.insert(resource);
        }
        if resource == "*" {
            everywhere.insert(sub);
        }
    }
    if list.len() > 1 && list.iter().any(|word| word == "*/*") {
        let detail = "if '*/*' is present, must not specify other resources";
        errors.push(Error::invalid(path, list, detail));
    }
    if bare && list.iter().any(|word| word == "*") {
        let detail = "if '*' is present, must not specify other resources without subresources";
        errors.push(Error::invalid(path, list, detail));
    }
}

/// The expressions of one object, each compiled once however often it stands there.
#[derive(Default)]
struct Compiled<'a> {
    verdicts: BTreeMap<&'a str, Option<String>>,
    /// Bytes of all of them.
    bytes: usize,
}

impl<'a> Compiled<'a> {
    /// What is wrong with an expression.
    fn judge(&mut self, expression: &'a str) -> Option<String> {
        if let Some(known) = self.verdicts.get(expression) {
            return known.clone();
        }
        self.bytes = self.bytes.saturating_add(expression.len());
        let verdict = if self.verdicts.len() >= MAX_EXPRESSIONS || self.bytes > MAX_EXPRESSION_BYTES {
            Some(format!(
                "too many different expressions: at most {MAX_EXPRESSIONS}, of {MAX_EXPRESSION_BYTES} bytes together"
            ))
        } else {
            super::match_conditions::compile(expression).err()
        };
        self.verdicts.insert(expression, verdict.clone());
        verdict
    }
}

fn conditions<'a>(hook: &'a Value, compiled: &mut Compiled<'a>, path: &Path<'_>, errors: &mut Vec<Error>) {
    let list = items(hook, "matchConditions");
    if list.len() > MAX_MATCH_CONDITIONS {
        errors.push(Error::too_many(path, list.len(), MAX_MATCH_CONDITIONS));
        // Kubernetes judges them all the same; nobody needs more than the first.
    }
    let mut seen = BTreeSet::new();
    for (index, condition) in list.iter().take(MAX_MATCH_CONDITIONS).enumerate() {
        let at = path.index(index);
        let expression = text(condition, "expression").trim();
        if expression.is_empty() {
            errors.push(Error::required(&at.child("expression"), ""));
        } else if let Some(why) = compiled.judge(expression) {
            errors.push(Error::invalid(&at.child("expression"), expression, why));
        }
        let name = text(condition, "name");
        if name.is_empty() {
            errors.push(Error::required(&at.child("name"), ""));
            continue;
        }
        check_name(name, &at.child("name"), names::check_qualified_name, errors);
        if !seen.insert(name) {
            errors.push(Error::duplicate(&at.child("name"), name));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Webhooks;
    use crate::strategy::Strategy as _;
    use serde_json::{Value, json};

    fn hook() -> Value {
        json!({"webhooks": [{"name": "a.b.example", "admissionReviewVersions": ["v1"], "sideEffects": "None",
            "clientConfig": {"service": {"name": "s", "namespace": "n"}},
            "rules": [{"operations": ["CREATE"], "apiGroups": [""], "apiVersions": ["v1"], "resources": ["pods"]}]}]})
    }

    #[test]
    fn webhooks_get_their_defaults() {
        let mut object = hook();
        Webhooks::Mutating.default(&mut object);
        let hook = &object["webhooks"][0];
        assert_eq!((&hook["failurePolicy"], &hook["timeoutSeconds"]), (&json!("Fail"), &json!(10)));
        assert_eq!((&hook["reinvocationPolicy"], &hook["rules"][0]["scope"]), (&json!("Never"), &json!("*")));
        assert_eq!(hook["clientConfig"]["service"]["port"], 443);
        assert_eq!(Webhooks::Mutating.validate(&object), []);
    }

    #[test]
    fn bad_webhooks_are_refused_in_kubernetes_words() {
        for (pointer, value, wanted) in [
            (
                "name",
                json!("short"),
                "webhooks[0].name: Invalid value: \"short\": should be a domain with at least three segments separated by dots",
            ),
            (
                "sideEffects",
                json!("Some"),
                "webhooks[0].sideEffects: Unsupported value: \"Some\": supported values: \"None\", \"NoneOnDryRun\"",
            ),
            (
                "timeoutSeconds",
                json!(31),
                "webhooks[0].timeoutSeconds: Invalid value: 31: the timeout value must be between 1 and 30 seconds",
            ),
            (
                "admissionReviewVersions",
                json!(["v9"]),
                "webhooks[0].admissionReviewVersions: Invalid value: [\"v9\"]: must include at least one of v1, v1beta1",
            ),
            (
                "clientConfig",
                json!({}),
                "webhooks[0].clientConfig: Required value: exactly one of url or service is required",
            ),
        ] {
            let mut object = hook();
            Webhooks::Validating.default(&mut object);
            object["webhooks"][0][pointer] = value;
            let found: Vec<String> = Webhooks::Validating.validate(&object).iter().map(ToString::to_string).collect();
            assert_eq!(found, [wanted]);
        }
    }
}
