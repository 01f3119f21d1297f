//! [sig-apps] ReplicaSet and ReplicationController: test/e2e/apps/replica_set.go, rc.go.

use super::apps_deployment::{HTTP, template};
use super::scene::{Scene, condition, controller, play, scenarios, version};
use http::Method;
use serde_json::{Value, json};
use tests::web;

#[tokio::test]
async fn replica_sets_and_replication_controllers() {
    play(scenarios![
        replica_set_should_serve_a_basic_image_on_each_replica,
        replica_set_should_surface_a_failure_condition_on_exceeded_quota,
        replica_set_should_adopt_matching_pods_and_release_no_longer_matching_pods,
        replicaset_should_have_a_working_scale_subresource,
        replica_set_replace_and_patch_tests,
        replica_set_should_list_and_delete_a_collection,
        should_validate_replicaset_status_endpoints,
        should_test_the_lifecycle_of_a_replication_controller,
        rc_should_surface_a_failure_condition_on_exceeded_quota,
        rc_should_adopt_matching_pods_on_creation,
        rc_should_release_no_longer_matching_pods,
        should_get_and_update_a_replication_controller_scale,
    ])
    .await;
}

const SETS: &str = "apps/v1/replicasets";
const RCS: &str = "v1/replicationcontrollers";

fn set(name: &str, replicas: u32, labels: &Value) -> Value {
    json!({"metadata": {"name": name, "labels": labels}, "spec": {
        "replicas": replicas, "selector": {"matchLabels": labels}, "template": template(labels, HTTP)}})
}

fn rc(name: &str, replicas: u32, labels: &Value) -> Value {
    json!({"metadata": {"name": name, "labels": labels}, "spec": {
        "replicas": replicas, "selector": labels, "template": template(labels, HTTP)}})
}

async fn ready(scene: &Scene, path: &str, count: i64) -> Value {
    scene
        .until(path, &format!("{count} ready"), |o| {
            let status = &o["status"];
            (status["readyReplicas"] == count && status["replicas"] == count && status["availableReplicas"] == count)
                .then(|| o.clone())
        })
        .await
}

async fn replica_set_should_serve_a_basic_image_on_each_replica(scene: Scene) {
    let labels = json!({"name": "my-hostname-basic"});
    scene.create(SETS, set("my-hostname-basic", 1, &labels)).await;
    let done = ready(&scene, &format!("{SETS}/my-hostname-basic"), 1).await;
    assert_eq!(done["status"]["fullyLabeledReplicas"], 1);
    assert_eq!(done["status"]["observedGeneration"], 1);
    assert_eq!(done["status"]["terminatingReplicas"], 0, "{done}");
    let pods = scene.items("v1/pods").await;
    let name = pods[0]["metadata"]["name"].as_str().unwrap();
    assert!(name.starts_with("my-hostname-basic-") && pods[0]["metadata"]["generateName"] == "my-hostname-basic-");
    let address = format!("{}:8080", pods[0]["status"]["podIP"].as_str().unwrap());
    assert_eq!(web::get(&address, "/").await.unwrap().0, 200);
    assert_eq!(scene.event("my-hostname-basic", "SuccessfulCreate").await, format!("Created pod: {name}"));
}

/// Three pods under a quota of two; two fit.
async fn condition_check(scene: &Scene, collection: &str, object: Value) {
    let quota = json!({"metadata": {"name": "condition-test"}, "spec": {"hard": {"pods": "2"}}});
    scene.create("v1/resourcequotas", quota).await;
    scene
        .until("v1/resourcequotas/condition-test", "is counted", |q| (q["status"]["hard"]["pods"] == "2").then_some(()))
        .await;
    scene.create(collection, object).await;
    let path = format!("{collection}/condition-test");
    let failed = scene
        .until(&path, "ReplicaFailure", |o| {
            (condition(o, "ReplicaFailure")?["status"] == "True" && o["status"]["observedGeneration"].as_i64()? >= 1)
                .then(|| o.clone())
        })
        .await;
    let failure = condition(&failed, "ReplicaFailure").unwrap();
    assert_eq!(failure["reason"], "FailedCreate");
    assert!(failure["message"].as_str().unwrap().contains("exceeded quota: condition-test"), "{failure}");
    scene.update(&path, |o| o["spec"]["replicas"] = json!(2)).await;
    scene
        .until(&path, "no failure any more", |o| {
            let observed = o["status"]["observedGeneration"] == o["metadata"]["generation"];
            (observed && condition(o, "ReplicaFailure").is_none()).then_some(())
        })
        .await;
}

async fn replica_set_should_surface_a_failure_condition_on_exceeded_quota(scene: Scene) {
    condition_check(&scene, SETS, set("condition-test", 3, &json!({"name": "condition-test"}))).await;
}

async fn rc_should_surface_a_failure_condition_on_exceeded_quota(scene: Scene) {
    condition_check(&scene, RCS, rc("condition-test", 3, &json!({"name": "condition-test"}))).await;
}

fn orphan(name: &str) -> Value {
    let mut pod = template(&json!({"name": name}), HTTP);
    pod["metadata"]["name"] = json!(name);
    pod
}

async fn adopted(scene: &Scene, pod: &str, owner: &Value) {
    let uid = &owner["metadata"]["uid"];
    scene.until(&format!("v1/pods/{pod}"), "is adopted", |p| (controller(p)?["uid"] == *uid).then_some(())).await;
}

/// Takes the label from one of the owner's pods, which lets it go.
async fn released(scene: &Scene, selector: &str, label: &str) {
    let pods = scene.items(&format!("v1/pods?labelSelector={selector}")).await;
    let path = format!("v1/pods/{}", pods[0]["metadata"]["name"].as_str().unwrap());
    scene.update(&path, |pod| pod["metadata"]["labels"] = json!({"name": label})).await;
    scene.until(&path, "is released", |p| (p.is_object() && controller(p).is_none()).then_some(())).await;
}

async fn replica_set_should_adopt_matching_pods_and_release_no_longer_matching_pods(scene: Scene) {
    scene.create("v1/pods", orphan("pod-adoption-release")).await;
    scene.ready("pod-adoption-release").await;
    let owner = scene.create(SETS, set("pod-adoption-release", 1, &json!({"name": "pod-adoption-release"}))).await;
    adopted(&scene, "pod-adoption-release", &owner).await;
    released(&scene, "name%3Dpod-adoption-release", "not-matching-name").await;
}

async fn rc_should_adopt_matching_pods_on_creation(scene: Scene) {
    scene.create("v1/pods", orphan("pod-adoption")).await;
    let owner = scene.create(RCS, rc("pod-adoption", 1, &json!({"name": "pod-adoption"}))).await;
    adopted(&scene, "pod-adoption", &owner).await;
    assert_eq!(scene.items("v1/pods").await.len(), 1);
}

async fn rc_should_release_no_longer_matching_pods(scene: Scene) {
    scene.create(RCS, rc("pod-release", 1, &json!({"name": "pod-release"}))).await;
    scene.until_count("v1/pods", 1).await;
    released(&scene, "name%3Dpod-release", "not-matching-name").await;
    scene.until_count("v1/pods?labelSelector=name%3Dpod-release", 1).await;
}

async fn replicaset_should_have_a_working_scale_subresource(scene: Scene) {
    scene.create(SETS, set("test-rs", 1, &json!({"name": "sample-pod", "pod": "httpd"}))).await;
    let path = format!("{SETS}/test-rs");
    let scale_path = format!("{path}/scale");
    let mut scale = scene.get(&scale_path).await;
    assert_eq!(scale["metadata"]["name"], "test-rs");
    scale["metadata"]["resourceVersion"] = json!("");
    scale["spec"]["replicas"] = json!(2);
    assert_eq!(scene.replace(&scale_path, scale).await["spec"]["replicas"], 2);
    assert_eq!(scene.get(&path).await["spec"]["replicas"], 2);
    let patch = json!({"metadata": {"creationTimestamp": null}, "spec": {"replicas": 4}, "status": {"replicas": 0}});
    scene.strategic(&scale_path, patch).await;
    assert_eq!(scene.get(&path).await["spec"]["replicas"], 4);
    ready(&scene, &path, 4).await;
    let scale = scene.get(&scale_path).await;
    assert_eq!(scale["status"], json!({"replicas": 4, "selector": "name=sample-pod,pod=httpd"}));
}

async fn replica_set_replace_and_patch_tests(scene: Scene) {
    scene.create(SETS, set("test-rs", 1, &json!({"name": "sample-pod", "pod": "httpd"}))).await;
    let path = format!("{SETS}/test-rs");
    ready(&scene, &path, 1).await;
    let mut watch = scene.watch(SETS, version(&scene.get(SETS).await)).await;
    let scale = json!({"metadata": {"name": "test-rs"}, "spec": {"replicas": 2}});
    scene.replace(&format!("{path}/scale"), scale).await;
    watch.until("MODIFIED", |s| s["status"]["readyReplicas"] == 2).await;
    let patch = json!({"metadata": {"labels": {"test-rs": "patched"}}, "spec": {"replicas": 3,
        "template": {"spec": {"terminationGracePeriodSeconds": 0, "containers": [{"name": "web", "image": HTTP, "env": [{"name": "A", "value": "1"}]}]}}}});
    scene.strategic(&path, patch).await;
    let done = watch
        .until("MODIFIED", |s| s["metadata"]["labels"]["test-rs"] == "patched" && s["status"]["readyReplicas"] == 3)
        .await;
    assert_eq!(done["spec"]["template"]["spec"]["terminationGracePeriodSeconds"], 0);
}

async fn replica_set_should_list_and_delete_a_collection(scene: Scene) {
    scene.create(SETS, set("test-rs", 3, &json!({"e2e": "collection"}))).await;
    ready(&scene, &format!("{SETS}/test-rs"), 3).await;
    let all = "/apis/apps/v1/replicasets?labelSelector=e2e%3Dcollection";
    assert_eq!(scene.items(all).await.len(), 1);
    scene.delete("apps/v1/replicasets?labelSelector=e2e%3Dcollection", json!(null)).await;
    assert_eq!(scene.items(all).await.len(), 0);
    scene.until_count("v1/pods", 0).await;
}

async fn should_validate_replicaset_status_endpoints(scene: Scene) {
    let created = scene.create(SETS, set("test-rs", 1, &json!({"name": "sample-pod"}))).await;
    let path = format!("{SETS}/test-rs");
    ready(&scene, &path, 1).await;
    let mut watch = scene.watch(SETS, version(&created)).await;
    scene
        .update(&format!("{path}/status"), |s| {
            let condition = json!({"type": "StatusUpdate", "status": "True", "reason": "E2E",
                "message": "Set from e2e test"});
            s["status"]["conditions"] = json!([condition]);
        })
        .await;
    watch.until("MODIFIED", |s| condition(s, "StatusUpdate").is_some()).await;
    let patch = json!({"status": {"conditions": [{"type": "StatusPatched", "status": "True"}]}});
    scene.merge(&format!("{path}/status"), patch).await;
    watch.until("MODIFIED", |s| condition(s, "StatusPatched").is_some()).await;
}

async fn should_test_the_lifecycle_of_a_replication_controller(scene: Scene) {
    let before = scene.get(RCS).await;
    let mut watch =
        scene.watch("v1/replicationcontrollers?labelSelector=test-rc-static%3Dtrue", version(&before)).await;
    let mut object = rc("rc-test", 1, &json!({"test-rc-static": "true"}));
    object["spec"]["template"]["metadata"]["name"] = json!("rc-test");
    scene.create(RCS, object).await;
    watch.until("ADDED", |_| true).await;
    watch.until("MODIFIED", |o| o["status"]["replicas"] == 1 && o["status"]["readyReplicas"] == 1).await;
    let path = format!("{RCS}/rc-test");
    // As Go marshals a ReplicationController of which only the labels are set.
    let patch = json!({"metadata": {"creationTimestamp": null, "labels": {"test-rc": "patched"}}, "spec": {}, "status": {"replicas": 0}});
    let patched = scene.strategic(&path, patch).await;
    assert_eq!(patched["metadata"]["labels"]["test-rc"], "patched");
    watch.until("MODIFIED", |_| true).await;
    let status = json!({"status": {"readyReplicas": 0, "availableReplicas": 0}});
    let patched = scene.strategic(&format!("{path}/status"), status).await;
    assert_eq!(patched["status"]["readyReplicas"].as_i64().unwrap_or(0), 0);
    watch.until("MODIFIED", |o| o["status"]["replicas"] == 1).await;
    assert_eq!(scene.get(&format!("{path}/status")).await["status"]["replicas"], 1);
    let scale = json!({"metadata": {"creationTimestamp": null}, "spec": {"replicas": 2}, "status": {"replicas": 0}});
    scene.strategic(&format!("{path}/scale"), scale).await;
    watch.until("MODIFIED", |o| o["status"]["replicas"] == 2 && o["status"]["readyReplicas"] == 2).await;
    let mut got = scene.get(&path).await;
    assert_eq!(got["metadata"]["labels"]["test-rc"], "patched");
    got["status"]["availableReplicas"] = json!(1);
    got["status"]["readyReplicas"] = json!(1);
    scene.replace(&format!("{path}/status"), got).await;
    watch.until("MODIFIED", |o| o["status"]["readyReplicas"] == 1).await;
    watch.until("MODIFIED", |o| o["status"]["readyReplicas"] == 2).await;
    let all = scene.items("/api/v1/replicationcontrollers?labelSelector=test-rc-static%3Dtrue").await;
    assert!(all.iter().any(|o| o["metadata"]["labels"]["test-rc"] == "patched"));
    scene.delete("v1/replicationcontrollers?labelSelector=test-rc-static%3Dtrue", json!(null)).await;
    watch.until("DELETED", |_| true).await;
}

async fn should_get_and_update_a_replication_controller_scale(scene: Scene) {
    scene.create(RCS, rc("e2e-rc", 1, &json!({"name": "e2e-rc"}))).await;
    let path = format!("{RCS}/e2e-rc");
    ready(&scene, &path, 1).await;
    let mut scale = scene.get(&format!("{path}/scale")).await;
    assert_eq!((&scale["spec"]["replicas"], &scale["apiVersion"]), (&json!(1), &json!("autoscaling/v1")));
    scale["spec"]["replicas"] = json!(2);
    let written = scene.replace(&format!("{path}/scale"), scale).await;
    assert_eq!(written["spec"]["replicas"], 2);
    let done = ready(&scene, &path, 2).await;
    assert_eq!(done["spec"]["replicas"], 2);
    // A stale scale is refused.
    let mut stale = written;
    stale["metadata"]["resourceVersion"] = json!("1");
    let whole = scene.path(&format!("{path}/scale"));
    let body = stale.to_string();
    let answer = scene.stage.call(Method::PUT, &whole, &[("content-type", "application/json")], body).await;
    answer.refused(409, "the object has been modified");
}
