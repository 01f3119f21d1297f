//! Nodes: ranges, taints, silence, death and return.

use super::eviction;
use super::ipam::Pool;
use super::lifecycle::silenced;
use super::taints::{Eviction, Fate, NOT_READY, UNREACHABLE, desired, fate};
use crate::k8s::api::core::v1::{Node, Pod};
use crate::testing::{Cluster, Fake};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use std::net::Ipv4Addr;
use std::sync::Arc;

fn now() -> Timestamp {
    "2026-01-01T00:10:00Z".parse().unwrap()
}

fn node(ready: &str, taints: &Value, unschedulable: bool) -> Node {
    serde_json::from_value(
        json!({"metadata": {"name": "n"}, "spec": {"taints": taints, "unschedulable": unschedulable},
        "status": {"conditions": [{"type": "Ready", "status": ready}]}}),
    )
    .unwrap()
}

#[test]
fn pod_ranges_are_cut_from_the_pool() {
    let pool = Pool::new((Ipv4Addr::new(10, 0, 0, 7), 22), 24);
    assert_eq!(pool.len(), 4);
    for (used, expected) in [
        (&[][..], Some("10.0.0.0/24")),
        (&["10.0.0.0/24", "10.0.2.0/24"][..], Some("10.0.1.0/24")),
        (&["10.0.0.0/23"][..], Some("10.0.2.0/24")),
        (&["192.168.0.0/16"][..], Some("10.0.0.0/24")),
        (&["10.0.0.0/8"][..], None),
    ] {
        assert_eq!(pool.first_free(used.iter().copied()).as_deref(), expected, "{used:?}");
    }
    let default = Pool::new((Ipv4Addr::new(127, 64, 0, 0), 12), 24);
    assert_eq!((default.len(), default.first_free([].into_iter()).as_deref()), (4096, Some("127.64.0.0/24")));
}

#[test]
fn conditions_become_taints() {
    let keys = |node: &Node, eviction| {
        desired(node, eviction, now()).map(|taints| {
            taints
                .iter()
                .map(|t| format!("{}:{}", t.key.trim_start_matches("node.kubernetes.io/"), t.effect))
                .collect::<Vec<_>>()
        })
    };
    let old = json!([{"key": NOT_READY, "effect": "NoSchedule"}, {"key": "mine", "effect": "NoExecute"}]);
    for (node, eviction, expected) in [
        (node("True", &json!(null), false), Eviction::On, None),
        (node("False", &json!(null), false), Eviction::On, Some(vec!["not-ready:NoSchedule", "not-ready:NoExecute"])),
        (
            node("Unknown", &json!(null), false),
            Eviction::On,
            Some(vec!["unreachable:NoSchedule", "unreachable:NoExecute"]),
        ),
        (node("Unknown", &json!(null), false), Eviction::Off, Some(vec!["unreachable:NoSchedule"])),
        (node("True", &old, false), Eviction::On, Some(vec!["mine:NoExecute"])),
        (node("True", &json!(null), true), Eviction::On, Some(vec!["unschedulable:NoSchedule"])),
    ] {
        let expected = expected.map(|e| e.into_iter().map(str::to_owned).collect::<Vec<_>>());
        assert_eq!(keys(&node, eviction), expected);
    }
}

#[test]
fn pods_go_when_their_toleration_ends() {
    let taint = json!([{"key": UNREACHABLE, "effect": "NoExecute", "timeAdded": "2026-01-01T00:08:00Z"}]);
    let node = node("Unknown", &taint, false);
    let pod = |tolerations: &Value| -> Arc<Pod> {
        Arc::new(
            serde_json::from_value(
                json!({"metadata": {"name": "p"}, "spec": {"containers": [], "tolerations": tolerations}}),
            )
            .unwrap(),
        )
    };
    let added: Timestamp = "2026-01-01T00:08:00Z".parse().unwrap();
    let bounded = json!([{"key": UNREACHABLE, "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 300}]);
    for (tolerations, expected) in [
        (json!(null), Fate::GoesAt(added)),
        (json!([{"operator": "Exists"}]), Fate::Stays),
        (bounded.clone(), Fate::GoesAt(added + SignedDuration::from_secs(300))),
        (json!([{"key": "other", "operator": "Exists"}]), Fate::GoesAt(added)),
    ] {
        assert_eq!(fate(&node, &pod(&tolerations), now()), expected, "{tolerations}");
    }
    let (victims, wait) = eviction::plan(&node, &[pod(&json!(null)), pod(&bounded)], now());
    assert_eq!((victims.len(), wait.map(|w| w.as_secs())), (1, Some(180)));
}

#[test]
fn a_pod_tolerates_from_when_it_came() {
    let taint = json!([{"key": "k", "effect": "NoExecute", "timeAdded": "2026-01-01T00:00:00Z"}]);
    let came = json!([{"type": "PodScheduled", "status": "True", "lastTransitionTime": "2026-01-01T00:09:00Z"}]);
    let tolerations = json!([{"operator": "Exists", "tolerationSeconds": 300}]);
    let pod: Pod = serde_json::from_value(json!({"metadata": {"name": "p"},
        "spec": {"containers": [], "tolerations": tolerations}, "status": {"conditions": came}}))
    .unwrap();
    let goes = "2026-01-01T00:14:00Z".parse().unwrap();
    assert_eq!(fate(&node("True", &taint, false), &pod, now()), Fate::GoesAt(goes));
}

#[tokio::test(start_paused = true)]
async fn an_undated_taint_drives_off_what_tolerates_it_for_a_while() {
    let cluster = Cluster::start(&["taint-eviction-controller"]);
    let fake = &cluster.fake;
    fake.create(json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": "n1"}, "spec": {}}));
    fake.create(json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p", "namespace": "d"}, "spec": {
        "containers": [], "nodeName": "n1", "tolerations": [{"operator": "Exists", "tolerationSeconds": 30}]}}));
    let goes = |f: &Fake| f.get("pods", "d/p").is_none_or(|p| !p["metadata"]["deletionTimestamp"].is_null());
    let taints = json!([{"key": "k", "effect": "NoExecute"}]);
    fake.merge("nodes", "n1", &json!({"spec": {"taints": taints}}));
    tokio::time::sleep(std::time::Duration::from_secs(20)).await;
    fake.merge("nodes", "n1", &json!({"spec": {"taints": null}}));
    tokio::time::sleep(std::time::Duration::from_secs(20)).await;
    fake.merge("nodes", "n1", &json!({"spec": {"taints": taints}}));
    tokio::time::sleep(std::time::Duration::from_secs(20)).await;
    assert!(!goes(fake), "the time counts anew");
    fake.until(12, "the pod goes", goes).await;
    cluster.stop().await;
}

#[test]
fn a_silent_node_is_unknown() {
    let conditions = silenced(&node("True", &json!(null), false), now()).unwrap();
    let ready = conditions.iter().find(|c| c.type_ == "Ready").unwrap();
    assert_eq!((ready.status.as_str(), ready.reason.as_deref()), ("Unknown", Some("NodeStatusUnknown")));
    assert_eq!(ready.message.as_deref(), Some("Kubelet stopped posting node status."));
    assert_eq!(conditions.len(), 4);
    let settled: Node = serde_json::from_value(json!({"metadata": {}, "status": {"conditions": conditions}})).unwrap();
    assert_eq!(silenced(&settled, now()), None);
}

fn register(fake: &Fake, name: &str) {
    let fresh = json!([{"key": NOT_READY, "effect": "NoSchedule"}]);
    fake.create(json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": name}, "spec": {"taints": fresh},
        "status": {"conditions": [{"type": "Ready", "status": "True", "lastHeartbeatTime": "2026-01-01T00:00:00Z"}]}}));
    fake.create(json!({"apiVersion": "coordination.k8s.io/v1", "kind": "Lease",
        "metadata": {"name": name, "namespace": "kube-node-lease"}, "spec": {"renewTime": "2026-01-01T00:00:00.000000Z"}}));
}

async fn beat(fake: &Fake, name: &str, seconds: u32) {
    for second in 0..seconds / 10 {
        let time = format!("2026-01-01T00:00:00.{second:06}Z");
        fake.merge("leases", &format!("kube-node-lease/{name}"), &json!({"spec": {"renewTime": time}}));
        tokio::time::sleep(std::time::Duration::from_secs(10)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_node_dies_its_pods_leave_and_it_returns() {
    let cluster = Cluster::start(&["node-ipam-controller", "node-lifecycle-controller", "taint-eviction-controller"]);
    let fake = &cluster.fake;
    register(fake, "a");
    register(fake, "n1");
    let taints = |f: &Fake, name: &str| {
        let taints = f.get("nodes", name).unwrap()["spec"]["taints"].clone();
        taints
            .as_array()
            .cloned()
            .unwrap_or_default()
            .iter()
            .map(|t| t["effect"].as_str().unwrap().to_owned())
            .collect::<Vec<_>>()
    };
    fake.until(1, "no taints", |f| taints(f, "a").is_empty() && taints(f, "n1").is_empty()).await;
    let ranges = |f: &Fake| f.list("nodes").iter().map(|n| n["spec"]["podCIDR"].clone()).collect::<Vec<_>>();
    fake.until(1, "ranges", |f| ranges(f).iter().all(|r| !r.is_null())).await;
    assert_ne!(ranges(fake)[0], ranges(fake)[1]);
    fake.create(json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p", "namespace": "d"}, "spec": {"containers": []}}));
    fake.run_pods("2026-01-01T00:00:00Z");
    beat(fake, "a", 60).await;
    fake.until(1, "n1 is tainted", |f| taints(f, "n1") == ["NoSchedule", "NoExecute"]).await;
    assert!(taints(fake, "a").is_empty());
    let ready = |f: &Fake| f.get("pods", "d/p").unwrap()["status"]["conditions"][0]["status"].clone();
    fake.until(1, "its pod is not ready", |f| ready(f) == "False").await;
    fake.until(1, "its pod goes", |f| !f.get("pods", "d/p").unwrap()["metadata"]["deletionTimestamp"].is_null()).await;
    // The kubelet comes back.
    let fine = json!([{"type": "Ready", "status": "True", "lastHeartbeatTime": "2026-01-01T00:05:00Z"}]);
    fake.merge("nodes", "n1", &json!({"status": {"conditions": fine}}));
    fake.until(1, "taints are lifted", |f| taints(f, "n1").is_empty()).await;
    cluster.stop().await;
}
