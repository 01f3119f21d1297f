//! Roles and their bindings (`pkg/apis/rbac/validation`).

use super::json::{fill_zero, present};
use super::pod::check_label_selector;
use crate::field::{Error, Path};
use crate::names;
use crate::strategy::Strategy;
use serde_json::{Value, json};

const GROUP: &str = "rbac.authorization.k8s.io";

/// Which of the kinds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Rbac {
    Role,
    ClusterRole,
    RoleBinding,
    ClusterRoleBinding,
}

impl Strategy for Rbac {
    fn default(&self, object: &mut Value) {
        if matches!(self, Self::RoleBinding | Self::ClusterRoleBinding) {
            default_binding(object);
        }
    }

    fn validate(&self, object: &Value) -> Vec<Error> {
        let mut errors = Vec::new();
        match self {
            Self::Role => self.check_rules(object, &mut errors),
            Self::ClusterRole => {
                self.check_rules(object, &mut errors);
                check_aggregation(object, &mut errors);
            }
            Self::RoleBinding | Self::ClusterRoleBinding => self.check_binding(object, &mut errors),
        }
        errors
    }

    fn validate_update(&self, object: &Value, old: &Value) -> Vec<Error> {
        let role = |object: &Value| object.get("roleRef").cloned().unwrap_or_default();
        if role(object) == role(old) {
            return Vec::new();
        }
        let text = |field: &str| role(object).get(field).cloned().unwrap_or_else(|| "".into());
        let shown = json!({"APIGroup": text("apiGroup"), "Kind": text("kind"), "Name": text("name")});
        vec![Error::invalid(&Path::new("roleRef"), shown, "cannot change roleRef")]
    }

    fn has_generation(&self) -> bool {
        false
    }

    fn create_on_update(&self) -> bool {
        true
    }
}

impl Rbac {
    fn check_rules(self, object: &Value, errors: &mut Vec<Error>) {
        let path = Path::new("rules");
        for (at, rule) in items(object, "rules").enumerate() {
            let path = path.index(at);
            let empty = |field: &str| items(rule, field).next().is_none();
            if empty("verbs") {
                errors.push(Error::required(&path.child("verbs"), "verbs must contain at least one value"));
            }
            if !empty("nonResourceURLs") {
                let urls = rule.get("nonResourceURLs").cloned().unwrap_or_default();
                let path = path.child("nonResourceURLs");
                if self == Self::Role {
                    let why = "namespaced rules cannot apply to non-resource URLs";
                    errors.push(Error::invalid(&path, urls.clone(), why));
                }
                if !empty("apiGroups") || !empty("resources") || !empty("resourceNames") {
                    let why = "rules cannot apply to both regular resources and non-resource URLs";
                    errors.push(Error::invalid(&path, urls, why));
                }
                continue;
            }
            if empty("apiGroups") {
                let why = "resource rules must supply at least one api group";
                errors.push(Error::required(&path.child("apiGroups"), why));
            }
            if empty("resources") {
                let why = "resource rules must supply at least one resource";
                errors.push(Error::required(&path.child("resources"), why));
            }
        }
    }

    fn check_binding(self, object: &Value, errors: &mut Vec<Error>) {
        let path = Path::new("roleRef");
        let role =
            |field: &str| object.pointer(&format!("/roleRef/{field}")).and_then(Value::as_str).unwrap_or_default();
        if role("apiGroup") != GROUP {
            errors.push(Error::not_supported(&path.child("apiGroup"), role("apiGroup"), &[GROUP]));
        }
        let kinds: &[&str] = if self == Self::ClusterRoleBinding { &["ClusterRole"] } else { &["Role", "ClusterRole"] };
        if !kinds.contains(&role("kind")) {
            errors.push(Error::not_supported(&path.child("kind"), role("kind"), kinds));
        }
        if role("name").is_empty() {
            errors.push(Error::required(&path.child("name"), ""));
        } else {
            for why in names::check_path_segment(role("name")) {
                errors.push(Error::invalid(&path.child("name"), role("name"), why));
            }
        }
        let path = Path::new("subjects");
        for (at, subject) in items(object, "subjects").enumerate() {
            self.check_subject(subject, &path.index(at), errors);
        }
    }

    fn check_subject(self, subject: &Value, path: &Path<'_>, errors: &mut Vec<Error>) {
        let text = |field: &str| subject.get(field).and_then(Value::as_str).unwrap_or_default();
        if text("name").is_empty() {
            errors.push(Error::required(&path.child("name"), ""));
        }
        match text("kind") {
            "ServiceAccount" => {
                if !text("name").is_empty() {
                    for why in names::check_dns1123_subdomain(text("name")) {
                        errors.push(Error::invalid(&path.child("name"), text("name"), why));
                    }
                }
                if !text("apiGroup").is_empty() {
                    errors.push(Error::not_supported(&path.child("apiGroup"), text("apiGroup"), &[""]));
                }
                if self == Self::ClusterRoleBinding && text("namespace").is_empty() {
                    errors.push(Error::required(&path.child("namespace"), ""));
                }
            }
            "User" | "Group" => {
                if text("apiGroup") != GROUP {
                    errors.push(Error::not_supported(&path.child("apiGroup"), text("apiGroup"), &[GROUP]));
                }
            }
            other => {
                let kinds = ["ServiceAccount", "User", "Group"];
                errors.push(Error::not_supported(&path.child("kind"), other, &kinds));
            }
        }
    }
}

/// Whose rules a ClusterRole collects.
fn check_aggregation(object: &Value, errors: &mut Vec<Error>) {
    let Some(rule) = present(object, "aggregationRule") else { return };
    let path = Path::new("aggregationRule");
    let path = path.child("clusterRoleSelectors");
    if items(rule, "clusterRoleSelectors").next().is_none() {
        let why = "at least one clusterRoleSelector required if aggregationRule is non-nil";
        errors.push(Error::required(&path, why));
    }
    for (at, selector) in items(rule, "clusterRoleSelectors").enumerate() {
        let (path, before) = (path.index(at), errors.len());
        check_label_selector(Some(selector), &path, errors);
        if errors.len() > before {
            errors.push(Error::invalid(&path, Value::Null, "invalid label selector."));
        }
    }
}

fn items<'v>(object: &'v Value, field: &str) -> impl Iterator<Item = &'v Value> + use<'v> {
    object.get(field).and_then(Value::as_array).into_iter().flatten()
}

fn default_binding(object: &mut Value) {
    if let Some(role) = object.get_mut("roleRef").and_then(Value::as_object_mut) {
        fill_zero(role, "apiGroup", GROUP);
    }
    for subject in object.get_mut("subjects").and_then(Value::as_array_mut).into_iter().flatten() {
        let named = matches!(subject.get("kind").and_then(Value::as_str), Some("User" | "Group"));
        if let Some(subject) = subject.as_object_mut().filter(|_| named) {
            fill_zero(subject, "apiGroup", GROUP);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(kind: Rbac, mut object: Value) -> Vec<String> {
        kind.default(&mut object);
        kind.validate(&object).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn rules_say_what_they_are_about() {
        let rule = |rule: Value| json!({"rules": [rule]});
        let good = rule(json!({"verbs": ["get"], "apiGroups": [""], "resources": ["pods"]}));
        assert!(texts(Rbac::Role, good).is_empty());
        assert_eq!(
            texts(Rbac::Role, rule(json!({"verbs": []}))),
            [
                "rules[0].verbs: Required value: verbs must contain at least one value",
                "rules[0].apiGroups: Required value: resource rules must supply at least one api group",
                "rules[0].resources: Required value: resource rules must supply at least one resource",
            ]
        );
        let url = rule(json!({"verbs": ["get"], "nonResourceURLs": ["/x"]}));
        assert!(texts(Rbac::ClusterRole, url.clone()).is_empty());
        assert_eq!(texts(Rbac::Role, url).len(), 1);
    }

    #[test]
    fn bindings_refer_to_roles_and_name_their_subjects() {
        let binding =
            |kind: &str, subject: Value| json!({"roleRef": {"kind": kind, "name": "r"}, "subjects": [subject]});
        let user = json!({"kind": "User", "name": "bob"});
        let defaulted = binding("Role", user.clone());
        assert!(texts(Rbac::RoleBinding, defaulted).is_empty());
        assert_eq!(
            texts(Rbac::ClusterRoleBinding, binding("Role", user)),
            [r#"roleRef.kind: Unsupported value: "Role": supported values: "ClusterRole""#]
        );
        let account = binding("ClusterRole", json!({"kind": "ServiceAccount", "name": "x"}));
        assert!(texts(Rbac::RoleBinding, account.clone()).is_empty());
        assert_eq!(texts(Rbac::ClusterRoleBinding, account), ["subjects[0].namespace: Required value"]);
        assert_eq!(texts(Rbac::RoleBinding, binding("Role", json!({"kind": "Robot", "name": "x"}))).len(), 1);
    }

    #[test]
    fn a_binding_keeps_its_role() {
        let to = |name: &str| json!({"roleRef": {"kind": "Role", "name": name}});
        assert!(Rbac::RoleBinding.validate_update(&to("a"), &to("a")).is_empty());
        let errors = Rbac::RoleBinding.validate_update(&to("b"), &to("a"));
        assert!(errors[0].to_string().ends_with(": cannot change roleRef"), "{}", errors[0]);
    }
}
