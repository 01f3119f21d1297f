//! Validating and mutating webhook configurations (`admissionregistration/v1/defaults.go`, `validation.go`).

use super::json::{check_one_of, check_required_one_of, fill, fill_zero, items, text};
use crate::field::{Error, Path};
use crate::strategy::Strategy;
use crate::{names, schema};
use serde_json::{Map, Value, json};

/// What differs between the two kinds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Webhooks {
    Validating,
    Mutating,
}

/// Webhooks of one configuration; Kubernetes has no limit but the object's size.
const MAX_MATCH_CONDITIONS: usize = 64;
const TIMEOUT_MAX_SECONDS: i64 = 30;
const OPERATIONS: &[&str] = &["*", "CONNECT", "CREATE", "DELETE", "UPDATE"];
const REVIEWS: &[&str] = &["v1", "v1beta1"];

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
        let mut errors = Vec::new();
        let path = Path::new("webhooks");
        let mut seen = std::collections::BTreeSet::new();
        for (index, hook) in items(object, "webhooks").iter().enumerate() {
            let at = path.index(index);
            self.webhook(hook, &at, &mut errors);
            if !seen.insert(text(hook, "name")) {
                errors.push(Error::duplicate(&at.child("name"), text(hook, "name")));
            }
        }
        errors
    }

    fn unconditional_update(&self) -> bool {
        false
    }
}

fn default_parts(hook: &mut Map<String, Value>) {
    if let Some(service) =
        hook.get_mut("clientConfig").and_then(|c| c.get_mut("service")).and_then(Value::as_object_mut)
    {
        fill_zero(service, "port", 443);
    }
    for rule in hook.get_mut("rules").and_then(Value::as_array_mut).into_iter().flatten() {
        if let Some(rule) = rule.as_object_mut() {
            fill(rule, "scope", "*");
        }
    }
}

impl Webhooks {
    fn webhook(self, hook: &Value, path: &Path<'_>, errors: &mut Vec<Error>) {
        let name = text(hook, "name");
        full_name(name, &path.child("name"), errors);
        review_versions(hook, &path.child("admissionReviewVersions"), errors);
        let rules = path.child("rules");
        for (index, rule) in items(hook, "rules").iter().enumerate() {
            check_rule(rule, &rules.index(index), errors);
        }
        check_one_of(hook, "failurePolicy", &["Fail", "Ignore"], path, errors);
        check_one_of(hook, "matchPolicy", &["Equivalent", "Exact"], path, errors);
        check_required_one_of(hook, "sideEffects", &["None", "NoneOnDryRun"], path, errors);
        if self == Self::Mutating {
            check_one_of(hook, "reinvocationPolicy", &["IfNeeded", "Never"], path, errors);
        }
        if let Some(seconds) = hook.get("timeoutSeconds").and_then(Value::as_i64)
            && !(1..=TIMEOUT_MAX_SECONDS).contains(&seconds)
        {
            let detail = "the timeout value must be between 1 and 30 seconds";
            errors.push(Error::invalid(&path.child("timeoutSeconds"), seconds, detail));
        }
        for selector in ["namespaceSelector", "objectSelector"] {
            if let Err(why) = crate::selector::Labels::from_label_selector(hook.get(selector)) {
                let value = hook.get(selector).cloned().unwrap_or_default();
                errors.push(Error::invalid(&path.child(selector), value, why));
            }
        }
        let client = hook.get("clientConfig").unwrap_or(&Value::Null);
        crate::crd::spec::client_config(client, &path.child("clientConfig"), errors);
        conditions(hook, &path.child("matchConditions"), errors);
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

fn review_versions(hook: &Value, path: &Path<'_>, errors: &mut Vec<Error>) {
    let versions = schema::strings(hook.get("admissionReviewVersions"));
    if versions.is_empty() {
        let detail = format!("must specify one of {}", REVIEWS.join(", "));
        errors.push(Error::required(path, detail));
        return;
    }
    for (index, version) in versions.iter().enumerate() {
        let at = path.index(index);
        if versions[..index].contains(version) {
            errors.push(Error::invalid(&at, version.as_str(), "duplicate version"));
        }
        for complaint in names::check_dns1035_label(version) {
            errors.push(Error::invalid(&at, version.as_str(), complaint));
        }
    }
    if !versions.iter().any(|version| REVIEWS.contains(&version.as_str())) {
        let detail = format!("must include at least one of {}", REVIEWS.join(", "));
        errors.push(Error::invalid(path, versions, detail));
    }
}

fn check_rule(rule: &Value, path: &Path<'_>, errors: &mut Vec<Error>) {
    for field in ["operations", "apiGroups", "apiVersions", "resources"] {
        let (list, at) = (schema::strings(rule.get(field)), path.child(field));
        if list.is_empty() {
            errors.push(Error::required(&at, ""));
        }
        // In resources a star may stand beside subresources: `*/status`.
        if field != "resources" && list.len() > 1 && list.iter().any(|word| word == "*") {
            let detail = "if '*' is present, must not specify other ".to_owned() + plural(field);
            errors.push(Error::invalid(&at, list.clone(), detail));
        }
        for (index, word) in list.iter().enumerate() {
            if word.is_empty() && field != "apiGroups" {
                errors.push(Error::required(&at.index(index), ""));
            } else if field == "operations" && !OPERATIONS.contains(&word.as_str()) {
                errors.push(Error::not_supported(&at.index(index), word.as_str(), OPERATIONS));
            }
        }
    }
    check_one_of(rule, "scope", &["*", "Cluster", "Namespaced"], path, errors);
}

fn plural(field: &str) -> &'static str {
    match field {
        "operations" => "operations",
        "apiGroups" => "API groups",
        _ => "API versions",
    }
}

fn conditions(hook: &Value, path: &Path<'_>, errors: &mut Vec<Error>) {
    let list = items(hook, "matchConditions");
    if list.len() > MAX_MATCH_CONDITIONS {
        errors.push(Error::too_many(path, list.len(), MAX_MATCH_CONDITIONS));
    }
    for (index, condition) in list.iter().enumerate() {
        let at = path.index(index);
        match text(condition, "name") {
            "" => errors.push(Error::required(&at.child("name"), "")),
            name => {
                for complaint in names::check_qualified_name(name) {
                    errors.push(Error::invalid(&at.child("name"), name, complaint));
                }
            }
        }
        let expression = text(condition, "expression");
        if expression.trim().is_empty() {
            errors.push(Error::required(&at.child("expression"), ""));
        } else if let Err(why) = super::match_conditions::compile(expression) {
            errors.push(Error::invalid(&at.child("expression"), expression, why));
        }
        if list[..index].iter().any(|other| text(other, "name") == text(condition, "name")) {
            errors.push(Error::duplicate(&at.child("name"), text(condition, "name")));
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
