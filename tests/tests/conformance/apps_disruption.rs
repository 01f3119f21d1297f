//! [sig-apps] DisruptionController: test/e2e/apps/disruption.go.

use super::apps_deployment::{HTTP, template};
use super::scene::{Scene, condition, has_condition, play, scenarios};
use serde_json::{Value, json};

#[tokio::test]
async fn disruption() {
    play(scenarios![
        should_list_and_delete_a_collection_of_pod_disruption_budgets,
        should_create_a_pod_disruption_budget,
        should_observe_pod_disruption_budget_status_updated,
        should_update_patch_pod_disruption_budget_status,
        evictions_no_pdb_allow,
        evictions_too_few_pods_absolute_deny,
        evictions_enough_pods_absolute_allow,
        evictions_enough_pods_replica_set_percentage_allow,
        evictions_too_few_pods_replica_set_percentage_deny,
        evictions_max_unavailable_percentage_allow_single,
        evictions_max_unavailable_integer_deny,
        should_evict_unready_pods_with_unhealthy_pod_eviction_policy_always_allow,
        should_block_an_eviction_until_the_pdb_is_updated_to_allow_it,
    ])
    .await;
}

const BUDGETS: &str = "policy/v1/poddisruptionbudgets";

fn budget(name: &str, spec: Value) -> Value {
    let mut object = json!({"apiVersion": "policy/v1", "kind": "PodDisruptionBudget",
        "metadata": {"name": name, "labels": {"foo": "bar"}},
        "spec": {"selector": {"matchLabels": {"foo": "bar"}}}});
    object["spec"].as_object_mut().unwrap().extend(spec.as_object().unwrap().clone());
    object
}

async fn pods(scene: &Scene, count: usize) {
    for at in 0..count {
        let mut pod = template(&json!({"foo": "bar"}), HTTP);
        pod["metadata"]["name"] = json!(format!("pod-{at}"));
        scene.create("v1/pods", pod).await;
    }
    running(scene, count).await;
}

async fn replicas(scene: &Scene, count: u32) {
    let labels = json!({"foo": "bar"});
    let set = json!({"metadata": {"name": "rs"}, "spec": {"replicas": count, "selector": {"matchLabels": labels},
        "template": template(&labels, HTTP)}});
    scene.create("apps/v1/replicasets", set).await;
}

async fn running(scene: &Scene, count: usize) {
    scene
        .until_list("v1/pods?labelSelector=foo%3Dbar", &format!("{count} ready"), |pods| {
            (pods.iter().filter(|p| has_condition(p, "Ready", "True")).count() == count).then_some(())
        })
        .await;
}

/// As waitForPdbToBeProcessed.
async fn processed(scene: &Scene, name: &str) -> Value {
    scene
        .until(&format!("{BUDGETS}/{name}"), "is processed", |b| {
            let observed = b["status"]["observedGeneration"].as_i64()? >= b["metadata"]["generation"].as_i64()?;
            observed.then(|| b.clone())
        })
        .await
}

async fn should_list_and_delete_a_collection_of_pod_disruption_budgets(scene: Scene) {
    let labelled = |name: &str| {
        let mut object = budget(name, json!({"minAvailable": 1}));
        object["metadata"]["labels"] = json!({"collection": scene.namespace});
        object
    };
    let other = scene.unique("other");
    scene.create("/api/v1/namespaces", json!({"metadata": {"name": other}})).await;
    scene.create(&format!("/apis/policy/v1/namespaces/{other}/poddisruptionbudgets"), labelled("foo3")).await;
    for name in ["foo", "foo2"] {
        scene.create(BUDGETS, labelled(name)).await;
    }
    let selected = format!("labelSelector=collection%3D{}", scene.namespace);
    let everywhere = format!("/apis/policy/v1/poddisruptionbudgets?{selected}");
    assert_eq!(scene.items(&everywhere).await.len(), 3);
    assert_eq!(scene.items(&format!("{BUDGETS}?{selected}")).await.len(), 2);
    scene.delete(&format!("{BUDGETS}?{selected}"), json!(null)).await;
    scene.until_count(&format!("{BUDGETS}?{selected}"), 0).await;
    let left = scene.items(&everywhere).await;
    assert_eq!(left.iter().map(|b| &b["metadata"]["name"]).collect::<Vec<_>>(), ["foo3"]);
}

async fn should_create_a_pod_disruption_budget(scene: Scene) {
    scene.create(BUDGETS, budget("foo", json!({"minAvailable": "1%"}))).await;
    processed(&scene, "foo").await;
    scene.update(&format!("{BUDGETS}/foo"), |b| b["spec"]["minAvailable"] = json!("2%")).await;
    let updated = processed(&scene, "foo").await;
    assert_eq!((&updated["spec"]["minAvailable"], &updated["metadata"]["generation"]), (&json!("2%"), &json!(2)));
    scene.strategic(&format!("{BUDGETS}/foo"), json!({"spec": {"minAvailable": "3%"}})).await;
    assert_eq!(processed(&scene, "foo").await["spec"]["minAvailable"], "3%");
    scene.delete(&format!("{BUDGETS}/foo"), json!(null)).await;
    scene.gone(&format!("{BUDGETS}/foo")).await;
}

async fn should_observe_pod_disruption_budget_status_updated(scene: Scene) {
    scene.create(BUDGETS, budget("foo", json!({"minAvailable": 1}))).await;
    pods(&scene, 3).await;
    let seen = scene
        .until(&format!("{BUDGETS}/foo"), "allows disruptions", |b| {
            (b["status"]["disruptionsAllowed"] == 2).then(|| b.clone())
        })
        .await;
    let status = &seen["status"];
    assert_eq!(
        (&status["currentHealthy"], &status["desiredHealthy"], &status["expectedPods"]),
        (&json!(3), &json!(1), &json!(3))
    );
    let allowed = condition(&seen, "DisruptionAllowed").unwrap();
    assert_eq!((&allowed["status"], &allowed["reason"]), (&json!("True"), &json!("SufficientPods")));
}

async fn should_update_patch_pod_disruption_budget_status(scene: Scene) {
    scene.create(BUDGETS, budget("foo", json!({"minAvailable": 1}))).await;
    processed(&scene, "foo").await;
    pods(&scene, 1).await;
    let path = format!("{BUDGETS}/foo/status");
    let disrupted = |b: &Value| b["status"]["disruptedPods"].clone();
    // The controller rewrites the status; what it knows nothing about stays until it times out.
    let at = "2100-01-02T03:04:05Z";
    let written = scene.update(&path, |b| b["status"]["disruptedPods"] = json!({"pod-0": at})).await;
    assert_eq!(disrupted(&written), json!({"pod-0": at}));
    let patched = scene
        .merge(&path, json!({"metadata": {"annotations": {"patchedstatus": "true"}}, "status": {"disruptedPods": {"pod-0": null}}}))
        .await;
    assert!(disrupted(&patched).as_object().is_none_or(serde_json::Map::is_empty), "{patched}");
    assert_eq!(patched["metadata"]["annotations"]["patchedstatus"], "true");
}

async fn evict(scene: &Scene, name: &str) -> super::stage::Answer {
    let body = json!({"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": name, "namespace": scene.namespace}});
    scene.stage.post(&scene.path(&format!("v1/pods/{name}/eviction")), body).await
}

async fn any_running(scene: &Scene) -> String {
    scene
        .until_list("v1/pods?labelSelector=foo%3Dbar", "one is ready", |pods| {
            let pod = pods.iter().find(|p| has_condition(p, "Ready", "True"))?;
            Some(pod["metadata"]["name"].as_str()?.to_owned())
        })
        .await
}

async fn allowed(scene: &Scene, at_least: i64) {
    let enough = |b: &Value| (b["status"]["disruptionsAllowed"].as_i64()? >= at_least).then_some(());
    scene.until(&format!("{BUDGETS}/foo"), "allows it", enough).await;
    let answer = evict(scene, &any_running(scene).await).await;
    assert_eq!(answer.code, 201, "{}", answer.text);
    assert_eq!(
        (&answer.body["kind"], &answer.body["status"]),
        (&json!("Status"), &json!("Success")),
        "{}",
        answer.text
    );
}

async fn denied(scene: &Scene) {
    processed(scene, "foo").await;
    let name = any_running(scene).await;
    let status =
        evict(scene, &name).await.refused(429, "Cannot evict pod as it would violate the pod's disruption budget.");
    assert_eq!(status["reason"], "TooManyRequests");
    assert_eq!(status["details"]["causes"][0]["reason"], "DisruptionBudget", "{status}");
    assert!(scene.get(&format!("v1/pods/{name}")).await["metadata"]["deletionTimestamp"].is_null());
}

async fn evictions_no_pdb_allow(scene: Scene) {
    pods(&scene, 1).await;
    let version = scene.get("v1/pods").await;
    let mut watch = scene.watch("v1/pods", super::scene::version(&version)).await;
    assert_eq!(evict(&scene, "pod-0").await.code, 201);
    let disrupted =
        |p: &Value| condition(p, "DisruptionTarget").is_some_and(|c| c["reason"] == "EvictionByEvictionAPI");
    let pod = watch.until("MODIFIED", disrupted).await;
    let target = condition(&pod, "DisruptionTarget").unwrap();
    assert_eq!((&target["status"], &target["message"]), (&json!("True"), &json!("Eviction API: evicting")));
    watch.until("DELETED", |p| p["metadata"]["name"] == "pod-0").await;
}

async fn evictions_too_few_pods_absolute_deny(scene: Scene) {
    pods(&scene, 2).await;
    scene.create(BUDGETS, budget("foo", json!({"minAvailable": 2}))).await;
    denied(&scene).await;
}

async fn evictions_enough_pods_absolute_allow(scene: Scene) {
    pods(&scene, 3).await;
    scene.create(BUDGETS, budget("foo", json!({"minAvailable": 2}))).await;
    allowed(&scene, 1).await;
}

async fn evictions_enough_pods_replica_set_percentage_allow(scene: Scene) {
    replicas(&scene, 10).await;
    running(&scene, 10).await;
    scene.create(BUDGETS, budget("foo", json!({"minAvailable": "90%"}))).await;
    allowed(&scene, 1).await;
}

async fn evictions_too_few_pods_replica_set_percentage_deny(scene: Scene) {
    replicas(&scene, 5).await;
    running(&scene, 5).await;
    scene.create(BUDGETS, budget("foo", json!({"minAvailable": "90%"}))).await;
    denied(&scene).await;
}

async fn evictions_max_unavailable_percentage_allow_single(scene: Scene) {
    replicas(&scene, 10).await;
    running(&scene, 10).await;
    scene.create(BUDGETS, budget("foo", json!({"maxUnavailable": "10%"}))).await;
    allowed(&scene, 1).await;
    // Until another has taken its place, one is enough.
    running(&scene, 10).await;
}

async fn evictions_max_unavailable_integer_deny(scene: Scene) {
    replicas(&scene, 3).await;
    running(&scene, 3).await;
    scene.create(BUDGETS, budget("foo", json!({"maxUnavailable": 0}))).await;
    denied(&scene).await;
}

async fn should_evict_unready_pods_with_unhealthy_pod_eviction_policy_always_allow(scene: Scene) {
    let mut pod = template(&json!({"foo": "bar"}), HTTP);
    pod["metadata"]["name"] = json!("pod-0");
    pod["spec"]["readinessGates"] = json!([{"conditionType": "example.com/never"}]);
    scene.create("v1/pods", pod).await;
    scene.phase("pod-0", "Running").await;
    let spec = json!({"minAvailable": 1, "unhealthyPodEvictionPolicy": "IfHealthyBudget"});
    scene.create(BUDGETS, budget("foo", spec)).await;
    processed(&scene, "foo").await;
    evict(&scene, "pod-0").await.refused(429, "Cannot evict pod");
    scene.merge(&format!("{BUDGETS}/foo"), json!({"spec": {"unhealthyPodEvictionPolicy": "AlwaysAllow"}})).await;
    processed(&scene, "foo").await;
    assert_eq!(evict(&scene, "pod-0").await.code, 201);
}

async fn should_block_an_eviction_until_the_pdb_is_updated_to_allow_it(scene: Scene) {
    scene.create(BUDGETS, budget("foo", json!({"minAvailable": 3}))).await;
    pods(&scene, 3).await;
    scene.until(&format!("{BUDGETS}/foo"), "3 healthy", |b| (b["status"]["currentHealthy"] == 3).then_some(())).await;
    denied(&scene).await;
    scene.update(&format!("{BUDGETS}/foo"), |b| b["spec"]["minAvailable"] = json!(2)).await;
    allowed(&scene, 1).await;
    // The others are protected again.
    running(&scene, 2).await;
    scene
        .until(&format!("{BUDGETS}/foo"), "allows none", |b| (b["status"]["disruptionsAllowed"] == 0).then_some(()))
        .await;
    denied(&scene).await;
    scene.merge(&format!("{BUDGETS}/foo"), json!({"spec": {"minAvailable": 1}})).await;
    allowed(&scene, 1).await;
}
