//! State in, decision out.

use api::k8s_openapi::api::core::v1::Taint;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::node::{Node, WireNode};
use crate::pod::{SeenPod, WirePod};

fn node(name: &str, more: Value) -> Node {
    let mut node = json!({
        "metadata": {"name": name, "labels": {"kubernetes.io/hostname": name}},
        "status": {"allocatable": {"cpu": "4", "memory": "4Gi", "pods": "10"}},
    });
    merge(&mut node, more);
    serde_json::from_value::<WireNode>(node).unwrap().into()
}

fn merge(into: &mut Value, more: Value) {
    match (into, more) {
        (Value::Object(into), Value::Object(more)) => {
            for (key, value) in more {
                merge(into.entry(key).or_insert(Value::Null), value);
            }
        }
        (into, more) => *into = more,
    }
}

fn pod(spec: Value) -> Arc<Pod> {
    let mut pod = json!({"metadata": {"namespace": "default", "name": "p", "uid": "u"}});
    pod["spec"] = spec;
    SeenPod::from(serde_json::from_value::<WirePod>(pod).unwrap()).pod
}

fn requesting(cpu: &str, memory: &str) -> Arc<Pod> {
    pod(json!({"containers": [{"resources": {"requests": {"cpu": cpu, "memory": memory}}}]}))
}

fn cluster(nodes: impl IntoIterator<Item = Node>) -> Snapshot {
    let mut snapshot = Snapshot::new(7);
    nodes.into_iter().for_each(|node| snapshot.set_node(node));
    snapshot
}

fn chosen(snapshot: &Snapshot, pod: &Pod) -> String {
    match decide(snapshot, pod) {
        Decision::Bind(name) => name.to_string(),
        Decision::Unschedulable(diagnosis) => panic!("{diagnosis}"),
    }
}

fn refused(snapshot: &Snapshot, pod: &Pod) -> String {
    match decide(snapshot, pod) {
        Decision::Bind(name) => panic!("bound to {name}"),
        Decision::Unschedulable(diagnosis) => diagnosis.to_string(),
    }
}

#[test]
fn the_emptier_node_wins() {
    let mut snapshot = cluster([node("a", json!({})), node("b", json!({}))]);
    snapshot.add_pod("a", &requesting("1", "1Gi"));
    assert_eq!(chosen(&snapshot, &requesting("1", "1Gi")), "b");
    snapshot.add_pod("b", &requesting("2", "2Gi"));
    assert_eq!(chosen(&snapshot, &requesting("1", "1Gi")), "a");
}

#[test]
fn a_balanced_node_wins_over_a_lopsided_one() {
    let mut snapshot = cluster([node("a", json!({})), node("b", json!({}))]);
    snapshot.add_pod("a", &requesting("2", "0"));
    snapshot.add_pod("b", &requesting("1", "1Gi"));
    assert_eq!(chosen(&snapshot, &requesting("1", "1Gi")), "b");
}

#[test]
fn no_nodes() {
    assert_eq!(refused(&cluster([]), &pod(json!({}))), "no nodes available to schedule pods");
}

#[test]
fn too_little_room_is_told_as_kubernetes_tells_it() {
    let mut snapshot = cluster([node("a", json!({}))]);
    snapshot.add_pod("a", &requesting("1", "3Gi"));
    assert_eq!(
        refused(&snapshot, &requesting("1", "2Gi")),
        "0/1 nodes are available: 1 Insufficient memory. preemption: 0/1 nodes are available: \
         1 No preemption victims found for incoming pod."
    );
    assert_eq!(
        refused(&snapshot, &requesting("5", "5Gi")),
        "0/1 nodes are available: 1 Insufficient cpu, 1 Insufficient memory. preemption: 0/1 nodes \
         are available: 1 Preemption is not helpful for scheduling."
    );
}

#[test]
fn every_filter_has_its_words() {
    let tainted = json!({"spec": {"taints": [{"key": "k", "effect": "NoSchedule"}]}});
    let snapshot = cluster([
        node("cordoned", json!({"spec": {"unschedulable": true}})),
        node("tainted", tainted),
        node("other", json!({})),
        node("full", json!({"metadata": {"labels": {"disk": "ssd"}}, "status": {"allocatable": {"pods": "0"}}})),
    ]);
    assert_eq!(
        refused(&snapshot, &pod(json!({"nodeSelector": {"disk": "ssd"}}))),
        "0/4 nodes are available: 1 Too many pods, 1 node(s) didn't match Pod's node \
         affinity/selector, 1 node(s) had untolerated taint(s), 1 node(s) were unschedulable. \
         preemption: 0/4 nodes are available: 1 No preemption victims found for incoming pod, \
         3 Preemption is not helpful for scheduling."
    );
}

#[test]
fn tolerations_and_soft_taints() {
    let hard = json!({"spec": {"taints": [{"key": "k", "value": "v", "effect": "NoExecute"}]}});
    let soft = json!({"spec": {"taints": [{"key": "s", "effect": "PreferNoSchedule"}]}});
    let snapshot = cluster([node("hard", hard.clone()), node("soft", soft)]);
    assert_eq!(chosen(&snapshot, &pod(json!({}))), "soft");
    let tolerant = json!({"tolerations": [{"key": "k", "operator": "Exists"}]});
    assert_eq!(chosen(&snapshot, &pod(tolerant)), "hard");
    let cordoned = cluster([node("c", json!({"spec": {"unschedulable": true}}))]);
    let daemon = json!({"tolerations": [
        {"key": "node.kubernetes.io/unschedulable", "operator": "Exists", "effect": "NoSchedule"}]});
    assert_eq!(chosen(&cordoned, &pod(daemon)), "c");
}

#[test]
fn preferences_outweigh_room() {
    let mut snapshot = cluster([node("a", json!({"metadata": {"labels": {"disk": "ssd"}}})), node("b", json!({}))]);
    snapshot.add_pod("a", &requesting("2", "2Gi"));
    let preferring = json!({"affinity": {"nodeAffinity": {
        "preferredDuringSchedulingIgnoredDuringExecution": [{"weight": 1, "preference":
            {"matchExpressions": [{"key": "disk", "operator": "In", "values": ["ssd"]}]}}]}}});
    assert_eq!(chosen(&snapshot, &pod(preferring)), "a");
}

#[test]
fn a_pod_that_names_its_node_goes_there_or_nowhere() {
    let snapshot = cluster(["a", "b", "c"].map(|name| node(name, json!({}))));
    let to = |name: &str| {
        pod(json!({"affinity": {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution":
            {"nodeSelectorTerms": [{"matchFields":
                [{"key": "metadata.name", "operator": "In", "values": [name]}]}]}}}}))
    };
    assert_eq!(chosen(&snapshot, &to("b")), "b");
    assert_eq!(
        refused(&snapshot, &to("gone")),
        "0/3 nodes are available: 3 node(s) didn't satisfy plugin(s) [NodeAffinity]. preemption: \
         0/3 nodes are available: 3 Preemption is not helpful for scheduling."
    );
}

#[test]
fn fuel_is_never_counted_but_other_extended_resources_are() {
    let snapshot = cluster([node("a", json!({"status": {"allocatable": {"example.com/gpu": "1"}}}))]);
    let asking = |name: &str, amount: &str| pod(json!({"containers": [{"resources": {"requests": {name: amount}}}]}));
    assert_eq!(chosen(&snapshot, &asking("skiff.dev/fuel", "1000000000000")), "a");
    assert_eq!(chosen(&snapshot, &asking("example.com/gpu", "1")), "a");
    assert!(refused(&snapshot, &asking("example.com/gpu", "2")).contains("1 Insufficient example.com/gpu."));
}

#[test]
fn host_ports_are_taken_once() {
    let mut snapshot = cluster([node("a", json!({})), node("b", json!({}))]);
    let web = pod(json!({"containers": [{"ports": [{"hostPort": 80}]}]}));
    let first = chosen(&snapshot, &web);
    snapshot.add_pod(&first, &web);
    let second = chosen(&snapshot, &web);
    assert_ne!(first, second);
    snapshot.add_pod(&second, &web);
    assert!(refused(&snapshot, &web).contains("2 node(s) didn't have free ports for the requested pod ports"));
    snapshot.remove_pod(&first, &web);
    assert_eq!(chosen(&snapshot, &web), first);
}

#[test]
fn preemption_is_only_denied_where_it_cannot_be() {
    let mut snapshot = cluster([node("a", json!({}))]);
    snapshot.add_pod("a", &requesting("4", "1Gi"));
    let mut important = Pod { priority: 10, ..Pod::clone(&requesting("1", "1")) };
    assert!(refused(&snapshot, &important).contains("does not displace pods of lower priority yet"));
    important.preemption = Preemption::Never;
    assert!(refused(&snapshot, &important).ends_with("preemption: not eligible due to preemptionPolicy=Never."));
}

#[test]
fn pods_spread_over_equal_nodes_and_the_same_seed_repeats() {
    let run = |seed| {
        let mut snapshot = Snapshot::new(seed);
        (0..500).for_each(|at| snapshot.set_node(node(&format!("n{at}"), json!({}))));
        let mut names = Vec::new();
        for uid in 0..500 {
            let pod = Pod { uid: uid.to_string().into(), ..Pod::clone(&requesting("100m", "1Mi")) };
            let name = chosen(&snapshot, &pod);
            snapshot.add_pod(&name, &pod);
            names.push(name);
        }
        names
    };
    let mut names = run(1);
    assert_eq!(names, run(1));
    assert_ne!(names, run(2));
    names.sort();
    names.dedup();
    assert!(names.len() > 400, "{}", names.len());
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]
    /// Whatever is asked for, no node is ever filled beyond what it has, no taint ignored, and a
    /// pod is refused only when no node suits.
    #[test]
    fn decisions_are_sound(
        rooms in prop::collection::vec((1..8i64, 1..8i64, any::<bool>()), 1..8),
        wants in prop::collection::vec((0..5i64, 0..5i64), 1..40),
    ) {
        let mut snapshot = Snapshot::new(3);
        for (at, (cpu, memory, tainted)) in rooms.iter().enumerate() {
            let taint = Taint { key: "k".into(), effect: "NoSchedule".into(), ..Taint::default() };
            let taints = tainted.then_some(taint).into_iter().collect();
            let allocatable = crate::Resources { cpu: *cpu, memory: *memory, ..Default::default() };
            snapshot.set_node(Node { taints, allocatable, allowed_pods: 9, ..Node::new(&at.to_string()) });
        }
        for (at, (cpu, memory)) in wants.into_iter().enumerate() {
            let requests = crate::Resources { cpu, memory, ..Default::default() };
            let pod = Pod { uid: at.to_string().into(), requests, ..Pod::default() };
            let suitable = rooms.iter().enumerate().any(|(at, _)| suits(&snapshot, &at.to_string(), &pod));
            match decide(&snapshot, &pod) {
                Decision::Bind(name) => snapshot.add_pod(&name, &pod),
                Decision::Unschedulable(_) => prop_assert!(!suitable),
            }
        }
        for place in snapshot.places() {
            let (used, node) = (&place.used, &place.node);
            prop_assert!(used.requested.cpu <= node.allocatable.cpu);
            prop_assert!(used.requested.memory <= node.allocatable.memory);
            prop_assert!(used.pods <= 9);
            prop_assert!(node.taints.is_empty() || used.pods == 0);
        }
    }
}
