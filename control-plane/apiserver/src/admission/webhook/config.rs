//! Webhook configurations, parsed: what of a webhook is asked at every request (`admissionregistration/v1`).

use crate::hook::{Endpoint, Target};
use api::meta;
use api::selector::Labels;
use serde_json::Value;
use std::time::Duration;

/// Seconds that a webhook may take unless it says otherwise.
const TIMEOUT_SECONDS: u64 = 10;

/// What becomes of a request whose webhook cannot be asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum FailurePolicy {
    Fail,
    Ignore,
}

/// Whether a rule is about one version of a kind or about all versions of its objects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum MatchPolicy {
    Exact,
    Equivalent,
}

/// Whether a webhook is asked again when others have changed the object since.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reinvocation {
    Never,
    IfNeeded,
}

/// Whether a webhook may be asked about what is not going to be stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum DryRun {
    Supported,
    Unsupported,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Scope {
    All,
    Cluster,
    Namespaced,
}

pub(super) struct Rule {
    pub operations: Vec<String>,
    pub groups: Vec<String>,
    pub versions: Vec<String>,
    pub resources: Vec<String>,
    pub scope: Scope,
}

/// One webhook.
pub(super) struct Hook {
    pub name: String,
    /// Its configuration and its name: no other has both.
    pub id: String,
    pub rules: Vec<Rule>,
    pub failure: FailurePolicy,
    pub matching: MatchPolicy,
    pub namespaces: Labels,
    pub objects: Labels,
    pub dry_run: DryRun,
    pub timeout: Duration,
    pub reinvocation: Reinvocation,
    /// The version of AdmissionReview that it is sent; `None`: it takes none that there is.
    pub review: Option<&'static str>,
    pub conditions: super::conditions::Conditions,
    pub endpoint: Endpoint,
}

/// The webhooks of one configuration.
pub(super) fn hooks(configuration: &Value) -> Vec<Hook> {
    let owner = meta::name(configuration);
    let list = configuration.get("webhooks").and_then(Value::as_array).into_iter().flatten();
    list.map(|hook| parse(owner, hook)).collect()
}

fn text<'v>(value: &'v Value, field: &str) -> &'v str {
    value.get(field).and_then(Value::as_str).unwrap_or_default()
}

fn texts(value: &Value, field: &str) -> Vec<String> {
    let list = value.get(field).and_then(Value::as_array).into_iter().flatten();
    list.filter_map(|item| item.as_str().map(String::from)).collect()
}

fn parse(configuration: &str, hook: &Value) -> Hook {
    let name = text(hook, "name").to_owned();
    let rules = hook.get("rules").and_then(Value::as_array).into_iter().flatten();
    let selector = |field: &str| match hook.get(field) {
        None | Some(Value::Null) => Labels::everything(),
        some => Labels::from_label_selector(some).unwrap_or_else(|_| Labels::nothing()),
    };
    let client = hook.get("clientConfig").unwrap_or(&Value::Null);
    let seconds = hook.get("timeoutSeconds").and_then(Value::as_u64).unwrap_or(TIMEOUT_SECONDS);
    let versions = texts(hook, "admissionReviewVersions");
    let review = versions.iter().find_map(|version| match version.as_str() {
        "v1" => Some("v1"),
        "v1beta1" => Some("v1beta1"),
        _ => None,
    });
    Hook {
        id: format!("{configuration}/{name}"),
        rules: rules.map(rule).collect(),
        failure: if text(hook, "failurePolicy") == "Ignore" { FailurePolicy::Ignore } else { FailurePolicy::Fail },
        matching: if text(hook, "matchPolicy") == "Exact" { MatchPolicy::Exact } else { MatchPolicy::Equivalent },
        namespaces: selector("namespaceSelector"),
        objects: selector("objectSelector"),
        dry_run: match text(hook, "sideEffects") {
            "None" | "NoneOnDryRun" => DryRun::Supported,
            _ => DryRun::Unsupported,
        },
        timeout: Duration::from_secs(seconds.clamp(1, 30)),
        reinvocation: match text(hook, "reinvocationPolicy") {
            "IfNeeded" => Reinvocation::IfNeeded,
            _ => Reinvocation::Never,
        },
        review,
        conditions: super::conditions::Conditions::of(hook),
        endpoint: Endpoint::new(Target::of(client), text(client, "caBundle")),
        name,
    }
}

fn rule(rule: &Value) -> Rule {
    Rule {
        operations: texts(rule, "operations"),
        groups: texts(rule, "apiGroups"),
        versions: texts(rule, "apiVersions"),
        resources: texts(rule, "resources"),
        scope: match text(rule, "scope") {
            "Cluster" => Scope::Cluster,
            "Namespaced" => Scope::Namespaced,
            _ => Scope::All,
        },
    }
}
