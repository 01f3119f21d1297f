//! ReplicaSets: which pods go first, what is counted, who is adopted.

use super::plan::{Status, desired_status, replicas_to_move};
use super::rank::victims;
use crate::k8s::api::core::v1::{Pod, PodTemplateSpec};
use jiff::Timestamp;
use serde_json::{Value, json};
use std::sync::Arc;

fn now() -> Timestamp {
    "2026-01-01T12:00:00Z".parse().unwrap()
}

fn pod(name: &str, node: &str, phase: &str, ready_since: Option<&str>, more: &Value) -> Arc<Pod> {
    let conditions = ready_since.map(|t| json!([{"type": "Ready", "status": "True", "lastTransitionTime": t}]));
    let mut pod = json!({
        "metadata": {"name": name, "uid": name, "creationTimestamp": "2026-01-01T11:00:00Z"},
        "spec": {"nodeName": node, "containers": []},
        "status": {"phase": phase, "conditions": conditions}});
    for (field, value) in more.as_object().into_iter().flatten() {
        pod["metadata"][field] = value.clone();
    }
    Arc::new(serde_json::from_value(pod).unwrap())
}

#[test]
fn the_least_useful_pods_go_first() {
    let none = json!({});
    let ranked = [
        pod("unassigned", "", "Pending", None, &none),
        pod("pending", "n1", "Pending", None, &none),
        pod("not-ready", "n1", "Running", None, &none),
        pod(
            "cheap",
            "n3",
            "Running",
            Some("2026-01-01T10:00:00Z"),
            &json!({"annotations": {"controller.kubernetes.io/pod-deletion-cost": "-5"}}),
        ),
        pod("crowded", "n1", "Running", Some("2026-01-01T10:00:00Z"), &none),
        pod("fresh", "n2", "Running", Some("2026-01-01T11:59:59Z"), &none),
        pod("old", "n2", "Running", Some("2026-01-01T10:00:00Z"), &none),
    ];
    let shuffled: Vec<_> = ranked.iter().rev().cloned().collect();
    for count in 1..ranked.len() {
        let chosen = victims(shuffled.clone(), &ranked, count, now());
        let names = |pods: &[Arc<Pod>]| pods.iter().map(|p| p.metadata.name.clone().unwrap()).collect::<Vec<_>>();
        assert_eq!(names(&chosen), names(&ranked[..count]));
    }
}

#[test]
fn moves_are_bounded() {
    for (wanted, active, expected) in
        [(3, 0, 3), (3, 3, 0), (0, 2, -2), (10_000, 0, 500), (0, 10_000, -500), (-1, 0, 0)]
    {
        assert_eq!(replicas_to_move(wanted, active), expected);
    }
}

#[test]
fn status_counts_active_ready_and_available_pods() {
    let template: PodTemplateSpec = serde_json::from_value(json!({"metadata": {"labels": {"a": "b"}}})).unwrap();
    let pods = [
        pod("1", "n", "Running", Some("2026-01-01T11:59:50Z"), &json!({"labels": {"a": "b"}})),
        pod("2", "n", "Running", Some("2026-01-01T11:00:00Z"), &json!({"labels": {"a": "b", "c": "d"}})),
        pod("3", "n", "Pending", None, &json!({})),
        pod("4", "n", "Failed", None, &json!({})),
        pod("5", "n", "Running", None, &json!({"deletionTimestamp": "2026-01-01T11:00:00Z"})),
    ];
    let failure = Some(("FailedCreate", "quota".to_owned()));
    let (status, wait) = desired_status(&Status::default(), &pods, &template, 30, failure, 7, now());
    assert_eq!((status.replicas, status.fully_labeled, status.ready, status.available), (3, 2, 2, 1));
    assert_eq!((status.terminating, status.observed_generation), (Some(1), 7));
    assert_eq!(status.failure.as_ref().map(|f| f.message.as_str()), Some("quota"));
    assert_eq!(wait.map(|w| w.as_secs()), Some(20), "ready for 10 of 30 seconds");
    let (status, _) = desired_status(&status, &pods, &template, 30, None, 7, now());
    assert_eq!(status.failure, None);
}

#[tokio::test(start_paused = true)]
async fn matching_orphans_are_adopted_and_strangers_released() {
    let fake = crate::testing::Fake::default();
    let loose = json!({"name": "loose", "namespace": "d", "labels": {"app": "web"}});
    fake.create(json!({"apiVersion": "v1", "kind": "Pod", "metadata": loose, "spec": {"containers": []}}));
    let cluster = crate::testing::Cluster::start_with(fake.clone(), &["replicaset-controller"]);
    fake.create(json!({"apiVersion": "apps/v1", "kind": "ReplicaSet", "metadata": {"name": "web", "namespace": "d"},
        "spec": {"replicas": 3, "selector": {"matchLabels": {"app": "web"}},
            "template": {"metadata": {"labels": {"app": "web"}}, "spec": {"containers": []}}}}));
    let owner =
        |f: &crate::testing::Fake| f.get("pods", "d/loose").unwrap()["metadata"]["ownerReferences"][0]["name"].clone();
    fake.until(1, "adopted", |f| owner(f) == "web").await;
    let replicas = |f: &crate::testing::Fake| f.get("replicasets", "d/web").unwrap()["status"]["replicas"].clone();
    fake.until(1, "two more", |f| replicas(f) == 3).await;
    assert_eq!(fake.requests("POST pods"), 2);
    fake.merge("pods", "d/loose", &json!({"metadata": {"labels": {"app": "other"}}}));
    fake.until(1, "released", |f| owner(f).is_null()).await;
    fake.until(1, "and replaced", |f| f.requests("POST pods") == 3).await;
    fake.merge("replicasets", "d/web", &json!({"spec": {"replicas": 1}}));
    fake.until(1, "scaled down", |f| f.list("pods").len() == 2 && replicas(f) == 1).await;
    cluster.stop().await;
}
