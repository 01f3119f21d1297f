//! Named amounts (`ResourceList`), and what a pod needs of them in all (`component-helpers/resource/helpers.go`).
//! Total: what is no amount reads as absent (validation has refused it).

use crate::quantity::Quantity;
use serde_json::Value;
use std::collections::BTreeMap;

/// Amounts by the names of resources: `cpu`, `memory`, `requests.storage`.
pub type Amounts = BTreeMap<String, Quantity>;

/// Pod-level amounts stand in for those of containers for these, and for huge pages.
const POD_LEVEL: [&str; 2] = ["cpu", "memory"];
const HUGE_PAGES: &str = "hugepages-";

/// The amounts in a JSON object.
#[must_use]
pub fn read(list: Option<&Value>) -> Amounts {
    let entries = list.and_then(Value::as_object).into_iter().flatten();
    entries.filter_map(|(name, value)| Some((name.clone(), Quantity::from_value(value).ok()?))).collect()
}

/// `a=1,b=2Gi`, as error messages show amounts.
#[must_use]
pub fn pretty(amounts: &Amounts) -> String {
    let parts: Vec<String> = amounts.iter().map(|(name, amount)| format!("{name}={amount}")).collect();
    parts.join(",")
}

/// Adds what `more` has.
pub fn add(sum: &mut Amounts, more: &Amounts) {
    for (name, amount) in more {
        let entry = sum.entry(name.clone()).or_default();
        *entry = *entry + *amount;
    }
}

/// Raises what is below `floor`.
fn raise(amounts: &mut Amounts, floor: &Amounts) {
    for (name, amount) in floor {
        let entry = amounts.entry(name.clone()).or_insert(*amount);
        *entry = (*entry).max(*amount);
    }
}

/// What a pod with this spec asks for (`PodRequests`): its containers together, or what an init container needs beside the
/// sidecars before it, whichever is more; its overhead.
#[must_use]
pub fn pod_requests(spec: &Value) -> Amounts {
    let mut total = aggregate(spec, "requests");
    add(&mut total, &read(spec.get("overhead")));
    total
}

/// What it may use at most (`PodLimits`). Overhead counts where there is a limit.
#[must_use]
pub fn pod_limits(spec: &Value) -> Amounts {
    let mut total = aggregate(spec, "limits");
    let overhead =
        read(spec.get("overhead")).into_iter().filter(|(name, _)| total.get(name).is_some_and(|t| !t.is_zero()));
    let overhead: Amounts = overhead.collect();
    add(&mut total, &overhead);
    total
}

fn aggregate(spec: &Value, list: &str) -> Amounts {
    let mut total = containers(spec, list);
    for (name, amount) in read(spec.pointer(&format!("/resources/{list}"))) {
        if POD_LEVEL.contains(&name.as_str()) || name.starts_with(HUGE_PAGES) {
            total.insert(name, amount);
        }
    }
    total
}

/// What the containers of a spec say under `list` (`requests`, `limits`), whatever the pod says as a whole.
#[must_use]
pub fn containers(spec: &Value, list: &str) -> Amounts {
    let of = |container: &Value| read(container.pointer(&format!("/resources/{list}")));
    let containers = |field: &str| spec.get(field).and_then(Value::as_array).into_iter().flatten();
    let mut total = Amounts::new();
    for container in containers("containers") {
        add(&mut total, &of(container));
    }
    let (mut sidecars, mut init) = (Amounts::new(), Amounts::new());
    for container in containers("initContainers") {
        let mut needs = of(container);
        if container.get("restartPolicy").is_some_and(|policy| policy == "Always") {
            add(&mut total, &needs);
            add(&mut sidecars, &needs);
            needs.clone_from(&sidecars);
        } else {
            add(&mut needs, &sidecars);
        }
        raise(&mut init, &needs);
    }
    raise(&mut total, &init);
    total
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_pod_needs_the_sum_of_its_containers_or_its_greediest_start() {
        let with = |cpu: &str| json!({"requests": {"cpu": cpu}});
        let spec = json!({
            "containers": [{"resources": with("1")}, {"resources": with("500m")}],
            "initContainers": [
                {"resources": with("250m"), "restartPolicy": "Always"},
                {"resources": with("2")},
            ],
        });
        assert_eq!(pretty(&pod_requests(&spec)), "cpu=2250m");
        let with_overhead =
            json!({"containers": [{"resources": with("1")}], "overhead": {"cpu": "100m", "memory": "1Mi"}});
        assert_eq!(pretty(&pod_requests(&with_overhead)), "cpu=1100m,memory=1Mi");
        assert_eq!(pretty(&pod_limits(&with_overhead)), "");
        let pod_level = json!({"containers": [{"resources": with("1")}], "resources": {"requests": {"cpu": "3"}}});
        assert_eq!(pretty(&pod_requests(&pod_level)), "cpu=3");
    }
}
