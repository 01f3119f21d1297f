//! What a write of a Service leaves unsaid and means all the same (`patchAllocatedValues`, `normalizeClusterIPs` and
//! `dropTypeDependentFields` of `pkg/registry/core/service`): addresses and ports that an update does not repeat stay, those
//! that its new type cannot have go. What the client did say stays said: validation judges it.

use super::json::{Object, each_mut, int, items, present, spec_mut, text, zero};
use super::service::{external, needs_health_check, wants_cluster_ip};
use serde_json::{Value, json};
use std::collections::{BTreeSet, HashMap};

fn spec(object: &Value) -> &Value {
    object.get("spec").unwrap_or(&Value::Null)
}

/// Whether services of this type have node ports.
fn wants_node_ports(spec: &Value) -> bool {
    matches!(text(spec, "type"), "NodePort" | "LoadBalancer")
}

/// Who names one address names it as the first of a list.
pub(super) fn complete_new(object: &mut Value) {
    let one = text(spec(object), "clusterIP").to_owned();
    if !one.is_empty()
        && items(spec(object), "clusterIPs").is_empty()
        && let Some(spec) = spec_mut(object)
    {
        spec.insert("clusterIPs".into(), json!([one]));
    }
}

/// Completes a Service that is to be written in place of `old`.
pub(super) fn complete(object: &mut Value, old: &Value) {
    let (new, old) = (spec(object).clone(), spec(old));
    let Some(spec) = spec_mut(object) else { return };
    if wants_cluster_ip(&new) && wants_cluster_ip(old) {
        keep_addresses(spec, old);
    }
    same_story(spec, old);
    if wants_node_ports(&new) && wants_node_ports(old) {
        keep_node_ports(spec, old);
    }
    if needs_health_check(&new) && needs_health_check(old) && zero(spec.get("healthCheckNodePort")) {
        copy(spec, old, "healthCheckNodePort");
    }
    drop_what_the_type_lacks(spec, &new, old);
}

fn copy(spec: &mut Object, old: &Value, field: &str) {
    if let Some(value) = present(old, field) {
        spec.insert(field.into(), value.clone());
    }
}

fn listed(spec: &Object) -> &[Value] {
    spec.get("clusterIPs").and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

fn address(spec: &Object) -> &str {
    spec.get("clusterIP").and_then(Value::as_str).unwrap_or_default()
}

fn keep_addresses(spec: &mut Object, old: &Value) {
    if address(spec).is_empty() {
        copy(spec, old, "clusterIP");
    }
    if listed(spec).is_empty() {
        copy(spec, old, "clusterIPs");
    }
}

/// One address was changed, and the list, of which clients may not know, was not: then it follows.
fn same_story(spec: &mut Object, old: &Value) {
    let (before, list_before) = (text(old, "clusterIP"), items(old, "clusterIPs"));
    if listed(spec).is_empty() && address(spec) == before {
        copy(spec, old, "clusterIPs");
    }
    if address(spec) == before || listed(spec) != list_before {
        return;
    }
    match address(spec).to_owned() {
        cleared if cleared.is_empty() => _ = spec.remove("clusterIPs"),
        changed => _ = spec.insert("clusterIPs".into(), json!([changed])),
    }
}

/// A port keeps the number that the port of its name had, unless another has it now.
fn keep_node_ports(spec: &mut Object, old: &Value) {
    let numbers = |ports: &[Value]| -> BTreeSet<i64> {
        ports.iter().filter_map(|port| int(port, "nodePort")).filter(|number| *number != 0).collect()
    };
    let before = items(old, "ports");
    let now = spec.get("ports").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    let mut used: BTreeSet<i64> = numbers(before).intersection(&numbers(now)).copied().collect();
    let named: HashMap<&str, i64> =
        before.iter().map(|port| (text(port, "name"), int(port, "nodePort").unwrap_or(0))).collect();
    for port in each_mut(spec, "ports").filter(|port| zero(port.get("nodePort"))) {
        let name = port.get("name").and_then(Value::as_str).unwrap_or_default();
        if let Some(number) = named.get(name).copied().filter(|number| *number != 0)
            && used.insert(number)
        {
            port.insert("nodePort".into(), number.into());
        }
    }
}

fn drop_what_the_type_lacks(spec: &mut Object, new: &Value, old: &Value) {
    let mut drop_same = |fields: &[&str]| {
        if fields.iter().all(|field| spec.get(*field) == old.get(*field)) {
            for field in fields {
                spec.remove(*field);
            }
        }
    };
    if !wants_cluster_ip(new) && wants_cluster_ip(old) {
        drop_same(&["clusterIP", "clusterIPs"]);
        drop_same(&["ipFamilies"]);
        drop_same(&["ipFamilyPolicy"]);
    }
    let balances = |spec: &Value| text(spec, "type") == "LoadBalancer";
    for (field, lost) in [
        ("healthCheckNodePort", needs_health_check(old) && !needs_health_check(new)),
        ("allocateLoadBalancerNodePorts", balances(old) && !balances(new)),
        ("loadBalancerClass", balances(old) && !balances(new)),
        ("externalTrafficPolicy", external(old) && !external(new)),
    ] {
        if lost {
            drop_same(&[field]);
        }
    }
    let numbers = |spec: &Value| -> BTreeSet<i64> {
        items(spec, "ports").iter().filter_map(|port| int(port, "nodePort")).filter(|number| *number != 0).collect()
    };
    if wants_node_ports(old) && !wants_node_ports(new) && numbers(old) == numbers(new) {
        for port in each_mut(spec, "ports") {
            port.remove("nodePort");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(old: &Value, new: &Value) -> Value {
        let mut object = json!({"spec": new});
        complete(&mut object, &json!({"spec": old}));
        object["spec"].take()
    }

    #[test]
    fn addresses_stay_and_follow_each_other() {
        let old = json!({"type": "ClusterIP", "clusterIP": "10.0.0.1", "clusterIPs": ["10.0.0.1"]});
        let addresses = |new: Value| {
            let spec = after(&old, &new);
            (spec["clusterIP"].as_str().unwrap_or("").to_owned(), spec["clusterIPs"].to_string())
        };
        for (new, one, all) in [
            (json!({"type": "ClusterIP"}), "10.0.0.1", r#"["10.0.0.1"]"#),
            (json!({"type": "ClusterIP", "clusterIP": "", "clusterIPs": []}), "10.0.0.1", r#"["10.0.0.1"]"#),
            (json!({"type": "ClusterIP", "clusterIP": "10.0.0.2"}), "10.0.0.2", r#"["10.0.0.2"]"#),
            (json!({"type": "ClusterIP", "clusterIPs": ["10.0.0.2"]}), "10.0.0.1", r#"["10.0.0.2"]"#),
            (json!({"type": "ExternalName"}), "", "null"),
            (json!({"type": "ExternalName", "clusterIP": "10.0.0.1", "clusterIPs": ["10.0.0.1"]}), "", "null"),
            (json!({"type": "ExternalName", "clusterIP": "10.0.0.2"}), "10.0.0.2", "null"),
        ] {
            assert_eq!(addresses(new.clone()), (one.to_owned(), all.to_owned()), "{new}");
        }
    }

    #[test]
    fn node_ports_are_known_by_the_names_of_their_ports() {
        let old = json!({"type": "NodePort", "ports": [
            {"name": "a", "port": 1, "nodePort": 30001}, {"name": "b", "port": 2, "nodePort": 30002}]});
        let ports = |kind: &str, ports: Value| {
            let spec = after(&old, &json!({"type": kind, "ports": ports}));
            let numbers = items(&spec, "ports").iter().map(|port| int(port, "nodePort").unwrap_or(0));
            numbers.collect::<Vec<_>>()
        };
        assert_eq!(ports("NodePort", json!([{"name": "b", "port": 9}, {"name": "c", "port": 1}])), [30002, 0]);
        assert_eq!(ports("LoadBalancer", json!([{"name": "a"}, {"name": "x", "nodePort": 30001}])), [0, 30001]);
        assert_eq!(ports("ClusterIP", json!([{"nodePort": 30001}, {"nodePort": 30002}])), [0, 0]);
        assert_eq!(ports("ClusterIP", json!([{"nodePort": 30001}, {"nodePort": 30003}])), [30001, 30003]);
    }
}
