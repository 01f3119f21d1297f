//! NodeUnschedulable and TaintToleration.

use api::k8s_openapi::api::core::v1::{Taint, Toleration};

use crate::node::Place;
use crate::pod::Pod;

const PREFER_NO_SCHEDULE: &str = "PreferNoSchedule";
const UNSCHEDULABLE: &str = "node.kubernetes.io/unschedulable";

/// Whether no taint keeps the pod away.
pub(crate) fn tolerates(place: &Place, pod: &Pod) -> bool {
    let binding = |taint: &&Taint| taint.effect != PREFER_NO_SCHEDULE;
    place.node.taints.iter().filter(binding).all(|taint| tolerated(pod, taint))
}

/// Whether the pod may go to a cordoned node, as DaemonSet pods do.
pub(crate) fn tolerates_unschedulable(pod: &Pod) -> bool {
    let taint = Taint { key: UNSCHEDULABLE.into(), effect: "NoSchedule".into(), ..Taint::default() };
    tolerated(pod, &taint)
}

/// How many taints would rather not have the pod.
pub(crate) fn unwelcome(place: &Place, pod: &Pod) -> i64 {
    let soft = place.node.taints.iter().filter(|taint| taint.effect == PREFER_NO_SCHEDULE);
    soft.map(|taint| i64::from(!tolerated(pod, taint))).sum()
}

fn tolerated(pod: &Pod, taint: &Taint) -> bool {
    pod.tolerations.iter().any(|toleration| matches(toleration, taint))
}

fn matches(toleration: &Toleration, taint: &Taint) -> bool {
    let given = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
    let effect = given(&toleration.effect).is_none_or(|effect| effect == taint.effect);
    let key = given(&toleration.key).is_none_or(|key| key == taint.key);
    let value = match toleration.operator.as_deref() {
        Some("Exists") => true,
        None | Some("" | "Equal") => toleration.value.as_deref().unwrap_or("") == taint.value.as_deref().unwrap_or(""),
        Some(_) => false,
    };
    effect && key && value
}

#[cfg(test)]
mod tests {
    use super::*;

    fn toleration(key: &str, operator: &str, value: &str, effect: &str) -> Toleration {
        let text = |text: &str| Some(text.to_owned()).filter(|text| !text.is_empty());
        Toleration {
            key: text(key),
            operator: text(operator),
            value: text(value),
            effect: text(effect),
            ..Toleration::default()
        }
    }

    #[test]
    fn tolerations_match_as_documented() {
        let taint = Taint { key: "k".into(), value: Some("v".into()), effect: "NoSchedule".into(), ..Taint::default() };
        let cases = [
            (toleration("k", "Equal", "v", "NoSchedule"), true),
            (toleration("k", "", "v", ""), true),
            (toleration("k", "Equal", "w", "NoSchedule"), false),
            (toleration("k", "Exists", "", "NoSchedule"), true),
            (toleration("", "Exists", "", ""), true),
            (toleration("k", "Exists", "", "NoExecute"), false),
            (toleration("other", "Exists", "", ""), false),
            (toleration("k", "Surprising", "v", ""), false),
        ];
        for (toleration, expected) in cases {
            assert_eq!(matches(&toleration, &taint), expected, "{toleration:?}");
        }
    }
}
