//! `PolicyRule`: what it allows, and whether some rules cover others (`pkg/registry/rbac/validation`).

use crate::authz::{Attributes, Target};
use serde::{Deserialize, Deserializer, Serialize};

/// `rbac.authorization.k8s.io/v1 PolicyRule`.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Rule {
    #[serde(deserialize_with = "list", skip_serializing_if = "Vec::is_empty")]
    pub api_groups: Vec<String>,
    #[serde(rename = "nonResourceURLs", deserialize_with = "list", skip_serializing_if = "Vec::is_empty")]
    pub non_resource_urls: Vec<String>,
    #[serde(deserialize_with = "list", skip_serializing_if = "Vec::is_empty")]
    pub resource_names: Vec<String>,
    #[serde(deserialize_with = "list", skip_serializing_if = "Vec::is_empty")]
    pub resources: Vec<String>,
    #[serde(deserialize_with = "list")]
    pub verbs: Vec<String>,
}

/// A list that may be `null`.
pub(super) fn list<'de, D: Deserializer<'de>, T: Deserialize<'de>>(deserializer: D) -> Result<Vec<T>, D::Error> {
    Option::deserialize(deserializer).map(Option::unwrap_or_default)
}

impl Rule {
    pub(crate) fn allows(&self, attributes: &Attributes<'_>) -> bool {
        if !any(&self.verbs, attributes.verb) {
            return false;
        }
        match attributes.target {
            Target::Path(path) => self.non_resource_urls.iter().any(|url| covers_path(url, path)),
            Target::Resource { group, resource, subresource, name, .. } => {
                any(&self.api_groups, group)
                    && self.resources.iter().any(|own| matches_resource(own, resource, subresource))
                    && (self.resource_names.is_empty() || self.resource_names.iter().any(|own| own == name))
            }
        }
    }

    /// The rule in the form that error messages show: `{APIGroups:[""], Resources:["pods"], Verbs:["get"]}`.
    pub(crate) fn compact(&self) -> String {
        let parts = [
            ("APIGroups", &self.api_groups),
            ("Resources", &self.resources),
            ("NonResourceURLs", &self.non_resource_urls),
            ("ResourceNames", &self.resource_names),
            ("Verbs", &self.verbs),
        ];
        let shown = parts.iter().filter(|(_, list)| !list.is_empty()).map(|(name, list)| {
            let quoted: Vec<String> = list.iter().map(|item| format!("{item:?}")).collect();
            format!("{name}:[{}]", quoted.join(" "))
        });
        format!("{{{}}}", shown.collect::<Vec<_>>().join(", "))
    }

    /// The rule taken apart: one verb on one resource (and name) or one path each.
    fn atoms(&self) -> Vec<Rule> {
        let mut atoms = Vec::new();
        for verb in &self.verbs {
            let verbs = vec![verb.clone()];
            for url in &self.non_resource_urls {
                atoms.push(Rule { verbs: verbs.clone(), non_resource_urls: vec![url.clone()], ..Rule::default() });
            }
            for group in &self.api_groups {
                for resource in &self.resources {
                    let one = Rule {
                        verbs: verbs.clone(),
                        api_groups: vec![group.clone()],
                        resources: vec![resource.clone()],
                        ..Rule::default()
                    };
                    if self.resource_names.is_empty() {
                        atoms.push(one.clone());
                    }
                    let named = self.resource_names.iter();
                    atoms.extend(named.map(|name| Rule { resource_names: vec![name.clone()], ..one.clone() }));
                }
            }
        }
        atoms
    }

    /// Whether this rule holds everything that the atom `other` does.
    fn covers(&self, other: &Rule) -> bool {
        let all = |own: &[String], theirs: &[String]| theirs.iter().all(|item| any(own, item));
        let resource = |theirs: &String| {
            let subresource = theirs.split_once('/').map(|(_, subresource)| subresource);
            self.resources.iter().any(|own| {
                own == "*" || own == theirs || subresource.is_some_and(|sub| own.strip_prefix("*/") == Some(sub))
            })
        };
        let names = if other.resource_names.is_empty() {
            self.resource_names.is_empty()
        } else {
            self.resource_names.is_empty() || other.resource_names.iter().all(|n| self.resource_names.contains(n))
        };
        let path = |theirs: &String| {
            self.non_resource_urls.iter().any(|own| match own.strip_suffix('*') {
                _ if own == theirs => true,
                Some(prefix) => theirs.trim_end_matches('*').starts_with(prefix),
                None => false,
            })
        };
        all(&self.verbs, &other.verbs)
            && all(&self.api_groups, &other.api_groups)
            && other.resources.iter().all(resource)
            && names
            && other.non_resource_urls.iter().all(path)
    }
}

/// What of `wanted` the rules `held` do not cover, with verbs put together again; empty: everything is covered.
pub(crate) fn missing<'r>(held: &[&Rule], wanted: impl IntoIterator<Item = &'r Rule>) -> Vec<Rule> {
    let mut left: Vec<Rule> = Vec::new();
    for atom in wanted.into_iter().flat_map(Rule::atoms) {
        if held.iter().any(|rule| rule.covers(&atom)) {
            continue;
        }
        // Rules that differ only in their verbs are one in the message.
        let same = left.iter_mut().find(|rule| {
            rule.api_groups == atom.api_groups
                && rule.resources == atom.resources
                && rule.resource_names == atom.resource_names
                && rule.non_resource_urls == atom.non_resource_urls
        });
        match same {
            Some(rule) if rule.verbs.contains(&atom.verbs[0]) => {}
            Some(rule) => rule.verbs.extend(atom.verbs),
            None => left.push(atom),
        }
    }
    left
}

fn any(list: &[String], wanted: &str) -> bool {
    list.iter().any(|item| item == "*" || item == wanted)
}

fn matches_resource(own: &str, resource: &str, subresource: &str) -> bool {
    if own == "*" {
        return true;
    }
    match own.split_once('/') {
        None => subresource.is_empty() && own == resource,
        Some((left, right)) => !subresource.is_empty() && right == subresource && (left == "*" || left == resource),
    }
}

fn covers_path(own: &str, path: &str) -> bool {
    match own.strip_suffix('*') {
        Some(prefix) => path.starts_with(prefix),
        None => own == path,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn rule(value: serde_json::Value) -> Rule {
        serde_json::from_value(value).unwrap()
    }

    fn on<'a>(verb: &'a str, group: &'a str, resource: &'a str, subresource: &'a str, name: &'a str) -> Attributes<'a> {
        let target = Target::Resource { group, resource, subresource, namespace: "x", name, field_selector: None };
        Attributes { verb, target }
    }

    #[test]
    fn wildcards_reach_what_kubernetes_lets_them_reach() {
        let pods = rule(json!({"verbs": ["get"], "apiGroups": [""], "resources": ["pods", "*/scale"]}));
        assert!(pods.allows(&on("get", "", "pods", "", "a")));
        assert!(pods.allows(&on("get", "", "replicationcontrollers", "scale", "a")));
        assert!(!pods.allows(&on("get", "", "pods", "log", "a")));
        assert!(!pods.allows(&on("list", "", "pods", "", "")));
        assert!(!pods.allows(&on("get", "apps", "deployments", "scale", "a")));
        let all = rule(json!({"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]}));
        assert!(all.allows(&on("anything", "example.com", "cars", "wheels", "")));
        assert!(!all.allows(&Attributes { verb: "get", target: Target::Path("/metrics") }));
    }

    #[test]
    fn names_bind_and_paths_may_end_in_a_star() {
        let named =
            rule(json!({"verbs": ["get"], "apiGroups": [""], "resources": ["secrets"], "resourceNames": ["a"]}));
        assert!(named.allows(&on("get", "", "secrets", "", "a")));
        assert!(!named.allows(&on("get", "", "secrets", "", "b")));
        assert!(!named.allows(&on("get", "", "secrets", "", "")));
        let path = rule(json!({"verbs": ["get"], "nonResourceURLs": ["/healthz/*", "/version"]}));
        for (path_asked, allowed) in [("/healthz/ping", true), ("/healthz", false), ("/version", true), ("/v", false)] {
            let attributes = Attributes { verb: "get", target: Target::Path(path_asked) };
            assert_eq!(path.allows(&attributes), allowed, "{path_asked}");
        }
    }

    #[test]
    fn what_is_missing_is_said_once_per_resource() {
        let held = rule(json!({"verbs": ["get"], "apiGroups": [""], "resources": ["pods"], "resourceNames": null}));
        let wanted =
            rule(json!({"verbs": ["get", "list", "watch"], "apiGroups": [""], "resources": ["pods", "secrets"]}));
        let texts: Vec<_> = missing(&[&held], [&wanted]).iter().map(Rule::compact).collect();
        assert_eq!(
            texts,
            [
                r#"{APIGroups:[""], Resources:["secrets"], Verbs:["get" "list" "watch"]}"#,
                r#"{APIGroups:[""], Resources:["pods"], Verbs:["list" "watch"]}"#
            ]
        );
        let all = rule(json!({"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]}));
        assert!(missing(&[&all], [&wanted]).is_empty());
        assert_eq!(missing(&[&wanted], [&all]).len(), 1);
    }
}
