//! NodeAffinity: `nodeSelector`, required and preferred node affinity.

use std::collections::BTreeSet;

use api::k8s_openapi::api::core::v1::{NodeSelectorRequirement, NodeSelectorTerm};

use crate::node::Node;
use crate::pod::Pod;

/// Whether the node is one that the pod requires.
pub(crate) fn matches(node: &Node, pod: &Pod) -> bool {
    let selected = pod.node_selector.iter().all(|(key, value)| node.labels.get(key) == Some(value));
    let required = &pod.required_affinity;
    selected
        && required
            .as_ref()
            .is_none_or(|selector| selector.node_selector_terms.iter().any(|term| term_matches(term, node)))
}

/// The weights of the preferences that the node meets, summed.
pub(crate) fn preference(node: &Node, pod: &Pod) -> i64 {
    let met = pod.preferred_affinity.iter().filter(|preferred| {
        // Unlike a required term, an empty preference is for every node.
        is_empty(&preferred.preference) || term_matches(&preferred.preference, node)
    });
    met.map(|preferred| i64::from(preferred.weight)).sum()
}

/// The only nodes that can match, when every required term names its nodes: DaemonSet pods do.
pub(crate) fn named(pod: &Pod) -> Option<BTreeSet<&str>> {
    let terms = &pod.required_affinity.as_ref()?.node_selector_terms;
    let mut names = BTreeSet::new();
    for term in terms {
        let fields = term.match_fields.as_deref().unwrap_or_default();
        let field = fields.iter().find(|field| field.key == "metadata.name" && field.operator == "In")?;
        names.extend(field.values.iter().flatten().map(String::as_str));
    }
    (!terms.is_empty()).then_some(names)
}

/// A term without requirements matches nothing.
fn term_matches(term: &NodeSelectorTerm, node: &Node) -> bool {
    let expressions = term.match_expressions.as_deref().unwrap_or_default();
    let fields = term.match_fields.as_deref().unwrap_or_default();
    !is_empty(term)
        && expressions.iter().all(|one| holds(one, node.labels.get(&one.key).map(String::as_str)))
        && fields.iter().all(|one| one.key == "metadata.name" && holds(one, Some(&node.name)))
}

fn is_empty(term: &NodeSelectorTerm) -> bool {
    term.match_expressions.as_ref().is_none_or(Vec::is_empty) && term.match_fields.as_ref().is_none_or(Vec::is_empty)
}

fn holds(requirement: &NodeSelectorRequirement, actual: Option<&str>) -> bool {
    let values = requirement.values.as_deref().unwrap_or_default();
    let listed = || actual.is_some_and(|actual| values.iter().any(|value| value == actual));
    let compared = |holds: fn(i64, i64) -> bool| {
        let parse = |text: &str| text.parse::<i64>().ok();
        match (actual.and_then(parse), values) {
            (Some(actual), [bound]) => parse(bound).is_some_and(|bound| holds(actual, bound)),
            _ => false,
        }
    };
    match requirement.operator.as_str() {
        "In" => listed(),
        "NotIn" => !listed(),
        "Exists" => actual.is_some(),
        "DoesNotExist" => actual.is_none(),
        "Gt" => compared(|actual, bound| actual > bound),
        "Lt" => compared(|actual, bound| actual < bound),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn node() -> Node {
        Node { labels: [("zone".into(), "a".into()), ("cores".into(), "8".into())].into(), ..Node::new("n") }
    }

    fn required(terms: serde_json::Value) -> Pod {
        let mut selector = json!({});
        selector["nodeSelectorTerms"] = terms;
        Pod { required_affinity: serde_json::from_value(selector).unwrap(), ..Pod::default() }
    }

    #[test]
    fn operators() {
        let cases = [
            (json!({"key": "zone", "operator": "In", "values": ["a", "b"]}), true),
            (json!({"key": "zone", "operator": "NotIn", "values": ["a"]}), false),
            (json!({"key": "absent", "operator": "NotIn", "values": ["a"]}), true),
            (json!({"key": "zone", "operator": "Exists"}), true),
            (json!({"key": "zone", "operator": "DoesNotExist"}), false),
            (json!({"key": "cores", "operator": "Gt", "values": ["7"]}), true),
            (json!({"key": "cores", "operator": "Lt", "values": ["8"]}), false),
            (json!({"key": "zone", "operator": "Gt", "values": ["7"]}), false),
        ];
        for (expression, expected) in cases {
            let pod = required(json!([{"matchExpressions": [expression]}]));
            assert_eq!(matches(&node(), &pod), expected, "{expression}");
        }
    }

    #[test]
    fn terms_are_alternatives_and_an_empty_one_matches_nothing() {
        assert!(!matches(&node(), &required(json!([{}]))));
        let other = json!({"matchExpressions": [{"key": "zone", "operator": "In", "values": ["x"]}]});
        let here = json!({"matchFields": [{"key": "metadata.name", "operator": "In", "values": ["n"]}]});
        assert!(matches(&node(), &required(json!([other, here]))));
        assert!(!matches(&node(), &required(json!([other]))));
    }

    #[test]
    fn named_nodes_are_known_only_if_every_term_names_some() {
        let name = json!({"matchFields": [{"key": "metadata.name", "operator": "In", "values": ["n"]}]});
        let any = json!({"matchExpressions": [{"key": "zone", "operator": "Exists"}]});
        assert_eq!(named(&required(json!([name]))), Some(["n"].into()));
        assert_eq!(named(&required(json!([name, any]))), None);
        assert_eq!(named(&Pod::default()), None);
    }
}
