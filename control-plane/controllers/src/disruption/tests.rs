//! Budgets follow their pods and the scales of what controls them.

use crate::testing::{Cluster, Fake};
use serde_json::{Value, json};

fn owner(object: &Value) -> Value {
    json!([{"apiVersion": object["apiVersion"], "kind": object["kind"], "name": object["metadata"]["name"],
        "uid": object["metadata"]["uid"], "controller": true}])
}

fn pod(fake: &Fake, name: &str, owners: &Value) {
    fake.create(json!({"apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": name, "namespace": "d", "labels": {"app": "web"}, "ownerReferences": owners}}));
}

fn budget(fake: &Fake, spec: Value) {
    let mut spec = spec;
    spec["selector"] = json!({"matchLabels": {"app": "web"}});
    fake.create(json!({"apiVersion": "policy/v1", "kind": "PodDisruptionBudget",
        "metadata": {"name": "b", "namespace": "d"}, "spec": spec}));
}

/// `[currentHealthy, desiredHealthy, expectedPods, disruptionsAllowed]`
fn status(fake: &Fake) -> Value {
    let status = fake.get("poddisruptionbudgets", "d/b").unwrap()["status"].clone();
    json!([status["currentHealthy"], status["desiredHealthy"], status["expectedPods"], status["disruptionsAllowed"]])
}

#[tokio::test(start_paused = true)]
async fn a_number_counts_the_pods_that_are_there() {
    let cluster = Cluster::start(&["disruption-controller"]);
    let fake = &cluster.fake;
    budget(fake, json!({"minAvailable": 1}));
    fake.until(1, "nothing to disrupt", |f| status(f) == json!([0, 1, 0, 0])).await;
    pod(fake, "a", &json!([]));
    pod(fake, "b", &json!([]));
    fake.until(1, "not ready", |f| status(f) == json!([0, 1, 2, 0])).await;
    fake.run_pods("2026-01-01T00:00:00Z");
    fake.until(1, "one may go", |f| status(f) == json!([2, 1, 2, 1])).await;
    let condition = fake.get("poddisruptionbudgets", "d/b").unwrap()["status"]["conditions"][0].clone();
    assert_eq!((&condition["type"], &condition["reason"]), (&json!("DisruptionAllowed"), &json!("SufficientPods")));
    let granted = json!({"status": {"disruptionsAllowed": 0, "disruptedPods": {"a": "2026-01-01T00:00:01Z"}}});
    fake.merge("poddisruptionbudgets", "d/b", &granted);
    fake.until(1, "the eviction counts", |f| status(f) == json!([1, 1, 2, 0])).await;
    fake.until(200, "it never came", |f| status(f) == json!([2, 1, 2, 1])).await;
    cluster.stop().await;
}

#[tokio::test(start_paused = true)]
async fn percentages_are_of_the_scale_of_what_controls_the_pods() {
    let cluster = Cluster::start(&["disruption-controller"]);
    let fake = &cluster.fake;
    let deployment = fake.create(json!({"apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": {"name": "web", "namespace": "d"}, "spec": {"replicas": 4, "selector": {}, "template": {}}}));
    let set = fake.create(json!({"apiVersion": "apps/v1", "kind": "ReplicaSet", "metadata": {"name": "web-1",
        "namespace": "d", "ownerReferences": owner(&deployment)}, "spec": {"replicas": 2, "selector": {}}}));
    for name in ["a", "b", "c"] {
        pod(fake, name, &owner(&set));
    }
    fake.run_pods("2026-01-01T00:00:00Z");
    budget(fake, json!({"maxUnavailable": "50%"}));
    fake.until(1, "half of four", |f| status(f) == json!([3, 2, 4, 1])).await;
    fake.merge("deployments", "d/web", &json!({"spec": {"replicas": 6}}));
    fake.until(1, "half of six", |f| status(f) == json!([3, 3, 6, 0])).await;
    pod(fake, "odd", &json!([{"apiVersion": "v1", "kind": "Node", "name": "n", "uid": "x", "controller": true}]));
    let reason = |f: &Fake| f.get("poddisruptionbudgets", "d/b").unwrap()["status"]["conditions"][0]["reason"].clone();
    fake.until(1, "nobody can say", |f| reason(f) == "SyncFailed").await;
    cluster.stop().await;
}
