//! Label selectors over typed objects: parsed once, matched often. Pure.

use crate::k8s::apimachinery::pkg::apis::meta::v1::LabelSelector;
use std::collections::{BTreeMap, BTreeSet};

type Labels = BTreeMap<String, String>;

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selector(Vec<Requirement>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Requirement {
    In(String, BTreeSet<String>),
    NotIn(String, BTreeSet<String>),
    Exists(String),
    Absent(String),
}

impl Selector {
    /// # Errors
    /// An operator that Kubernetes does not have.
    pub fn parse(selector: &LabelSelector) -> Result<Self, String> {
        let mut requirements = equal(selector.match_labels.as_ref());
        for expression in selector.match_expressions.iter().flatten() {
            let key = expression.key.clone();
            let values = || expression.values.iter().flatten().cloned().collect();
            requirements.push(match expression.operator.as_str() {
                "In" => Requirement::In(key, values()),
                "NotIn" => Requirement::NotIn(key, values()),
                "Exists" => Requirement::Exists(key),
                "DoesNotExist" => Requirement::Absent(key),
                other => return Err(format!("{other:?} is not a valid label selector operator")),
            });
        }
        Ok(Self(requirements))
    }

    #[must_use]
    pub fn from_map(labels: Option<&Labels>) -> Self {
        Self(equal(labels))
    }

    /// An empty selector matches everything: controllers refuse it.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    #[must_use]
    pub fn matches(&self, labels: Option<&Labels>) -> bool {
        let value = |key: &String| labels.and_then(|labels| labels.get(key));
        self.0.iter().all(|requirement| match requirement {
            Requirement::In(key, values) => value(key).is_some_and(|v| values.contains(v)),
            Requirement::NotIn(key, values) => value(key).is_none_or(|v| !values.contains(v)),
            Requirement::Exists(key) => value(key).is_some(),
            Requirement::Absent(key) => value(key).is_none(),
        })
    }
}

fn equal(labels: Option<&Labels>) -> Vec<Requirement> {
    let pairs = labels.into_iter().flatten();
    pairs.map(|(key, value)| Requirement::In(key.clone(), BTreeSet::from([value.clone()]))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn matches_as_kubernetes() {
        let selector = json!({"matchLabels": {"app": "web"}, "matchExpressions": [
            {"key": "tier", "operator": "NotIn", "values": ["db"]}, {"key": "old", "operator": "DoesNotExist"}]});
        let selector = Selector::parse(&serde_json::from_value(selector).unwrap()).unwrap();
        for (labels, expected) in [
            (json!({"app": "web"}), true),
            (json!({"app": "web", "tier": "db"}), false),
            (json!({"app": "web", "old": ""}), false),
            (json!({"app": "api"}), false),
            (json!({}), false),
        ] {
            let labels: Labels = serde_json::from_value(labels).unwrap();
            assert_eq!(selector.matches(Some(&labels)), expected, "{labels:?}");
        }
    }
}
