//! `DefaultTolerationSeconds`: a pod stays five minutes on a node that is not ready or not reachable
//! (`plugin/pkg/admission/defaulttolerationseconds`).

use super::{Plugin, Request};
use api::Status;
use futures::future::{self, BoxFuture};
use serde_json::{Value, json};

const SECONDS: i64 = 300;
const TAINTS: [&str; 2] = ["node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable"];

pub(super) struct DefaultTolerationSeconds;

impl Plugin for DefaultTolerationSeconds {
    fn handles(&self, request: &Request<'_>) -> bool {
        request.operation.is_write() && request.subresource.is_empty() && request.resource.storage == "core/pods"
    }

    fn admit<'a>(&'a self, request: &'a mut Request<'_>) -> BoxFuture<'a, Result<(), Status>> {
        tolerate(request.object);
        Box::pin(future::ready(Ok(())))
    }
}

fn tolerate(pod: &mut Value) {
    let Some(spec) = pod.get_mut("spec").and_then(Value::as_object_mut) else { return };
    let text =
        |toleration: &Value, field: &str| toleration.get(field).and_then(Value::as_str).unwrap_or_default().to_owned();
    let tolerates = |list: &[Value], taint: &str| {
        list.iter().any(|toleration| {
            let (key, effect) = (text(toleration, "key"), text(toleration, "effect"));
            (key.is_empty() || key == taint) && matches!(effect.as_str(), "" | "NoExecute")
        })
    };
    let tolerations = spec.entry("tolerations").or_insert_with(|| json!([]));
    if tolerations.is_null() {
        *tolerations = json!([]);
    }
    let Some(list) = tolerations.as_array_mut() else { return };
    // Both are looked for in what the pod says itself.
    let missing = TAINTS.map(|taint| !tolerates(list, taint));
    for (taint, _) in TAINTS.iter().zip(missing).filter(|(_, missing)| *missing) {
        list.push(json!({"key": taint, "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": SECONDS}));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pods_tolerate_sick_nodes_for_a_while_unless_they_say_how_long() {
        let keys = |tolerations: Value| {
            let mut pod = json!({"spec": {"tolerations": tolerations}});
            tolerate(&mut pod);
            let list = pod["spec"]["tolerations"].as_array().unwrap().clone();
            list.iter()
                .map(|t| t["key"].as_str().unwrap_or("*").trim_start_matches("node.kubernetes.io/").to_owned())
                .collect::<Vec<_>>()
        };
        assert_eq!(keys(Value::Null), ["not-ready", "unreachable"]);
        assert_eq!(keys(json!([{"operator": "Exists"}])), ["*"]);
        assert_eq!(keys(json!([{"operator": "Exists", "effect": "NoSchedule"}])), ["*", "not-ready", "unreachable"]);
        let own = json!([{"key": TAINTS[0], "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 1}]);
        assert_eq!(keys(own), ["not-ready", "unreachable"]);
    }
}
