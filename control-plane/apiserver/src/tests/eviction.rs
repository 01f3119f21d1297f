//! Evictions and the budgets they ask.

use super::*;

const BUDGETS: &str = "/apis/policy/v1/namespaces/default/poddisruptionbudgets";

async fn running(cluster: &Cluster, name: &str, ready: &str) {
    let mut pod = pod(name);
    pod["metadata"]["labels"] = json!({"app": "web"});
    cluster.post(PODS, pod).await;
    let binding = json!({"metadata": {"name": name}, "target": {"kind": "Node", "name": "n"}});
    cluster.post(&format!("{PODS}/{name}/binding"), binding).await;
    let conditions = json!([{"type": "Ready", "status": ready}]);
    let status = json!({"status": {"phase": "Running", "conditions": conditions}});
    cluster.ok("PATCH", &format!("{PODS}/{name}/status"), status).await;
}

async fn budget(cluster: &Cluster, name: &str, status: Value) {
    let spec = json!({"minAvailable": 1, "selector": {"matchLabels": {"app": "web"}}});
    cluster.post(BUDGETS, json!({"metadata": {"name": name}, "spec": spec})).await;
    cluster.ok("PATCH", &format!("{BUDGETS}/{name}/status"), json!({"status": status})).await;
}

fn eviction(name: &str) -> Value {
    json!({"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": name, "namespace": "default"}})
}

async fn evict(cluster: &Cluster, name: &str) -> Value {
    cluster.post(&format!("{PODS}/{name}/eviction"), eviction(name)).await
}

#[tokio::test]
async fn a_budget_gives_what_it_has_and_then_refuses() {
    let cluster = Cluster::new().await;
    for name in ["a", "b"] {
        running(&cluster, name, "True").await;
    }
    let condition = json!([{"type": "DisruptionAllowed", "status": "True", "reason": "SufficientPods",
        "message": "", "lastTransitionTime": "2026-01-01T00:00:00Z"}]);
    let counts = json!({"disruptionsAllowed": 1, "currentHealthy": 2, "desiredHealthy": 1, "expectedPods": 2,
        "observedGeneration": 1, "conditions": condition});
    budget(&cluster, "web", counts).await;
    let dry = format!("{PODS}/a/eviction?dryRun=All");
    cluster.post(&dry, eviction("a")).await;
    evict(&cluster, "a").await;
    let going = cluster.get(&format!("{PODS}/a")).await;
    assert!(going["metadata"]["deletionTimestamp"].is_string(), "{going}");
    let target = going["status"]["conditions"].as_array().unwrap().iter().find(|c| c["type"] == "DisruptionTarget");
    assert_eq!(target.unwrap()["reason"], "EvictionByEvictionAPI");
    let status = cluster.get(&format!("{BUDGETS}/web")).await["status"].clone();
    assert_eq!(status["disruptionsAllowed"], 0);
    assert!(status["disruptedPods"]["a"].is_string());
    assert_eq!(status["conditions"][0]["reason"], "InsufficientPods");
    let refused = cluster.fails("POST", &format!("{PODS}/b/eviction"), eviction("b")).await;
    assert_eq!((&refused["code"], &refused["reason"]), (&json!(429), &json!("TooManyRequests")));
    assert_eq!(refused["message"], "Cannot evict pod as it would violate the pod's disruption budget.");
    assert_eq!(
        refused["details"]["causes"],
        json!([{"reason": "DisruptionBudget",
            "message": "The disruption budget web needs 1 healthy pods and has 2 currently"}])
    );
    // What is on its way out disrupts nothing more.
    evict(&cluster, "a").await;
}

#[tokio::test]
async fn a_budget_that_was_not_counted_yet_asks_for_patience() {
    let cluster = Cluster::new().await;
    running(&cluster, "a", "True").await;
    budget(
        &cluster,
        "web",
        json!({"disruptionsAllowed": 1, "currentHealthy": 1, "desiredHealthy": 0, "expectedPods": 1}),
    )
    .await;
    let refused = cluster.fails("POST", &format!("{PODS}/a/eviction"), eviction("a")).await;
    assert_eq!((&refused["code"], &refused["details"]["retryAfterSeconds"]), (&json!(429), &json!(10)));
    budget(&cluster, "second", json!({})).await;
    let refused = cluster.fails("POST", &format!("{PODS}/a/eviction"), eviction("a")).await;
    assert_eq!(refused["code"], 500);
    assert!(refused["message"].as_str().unwrap().contains("more than one PodDisruptionBudget"));
}

#[tokio::test]
async fn pods_that_do_not_count_go_freely() {
    let cluster = Cluster::new().await;
    let mut waiting = pod("waiting");
    waiting["metadata"]["labels"] = json!({"app": "web"});
    cluster.post(PODS, waiting).await;
    running(&cluster, "sick", "False").await;
    let counts = json!({"disruptionsAllowed": 0, "currentHealthy": 1, "desiredHealthy": 1, "expectedPods": 3,
        "observedGeneration": 1});
    budget(&cluster, "web", counts).await;
    evict(&cluster, "waiting").await;
    evict(&cluster, "sick").await;
    assert_eq!(cluster.get(&format!("{BUDGETS}/web")).await["status"]["disruptedPods"], Value::Null);
    running(&cluster, "worse", "False").await;
    let short = json!({"status": {"currentHealthy": 0}});
    cluster.ok("PATCH", &format!("{BUDGETS}/web/status"), short).await;
    let refused = cluster.fails("POST", &format!("{PODS}/worse/eviction"), eviction("worse")).await;
    assert_eq!(refused["code"], 429, "below its number, a budget keeps even the unhealthy");
    let policy = json!({"spec": {"unhealthyPodEvictionPolicy": "AlwaysAllow"}});
    cluster.ok("PATCH", &format!("{BUDGETS}/web"), policy).await;
    evict(&cluster, "worse").await;
}
