//! [sig-apps] Deployment: test/e2e/apps/deployment.go.

use super::scene::{Scene, controller, play, scenarios, version};
use serde_json::{Value, json};

pub const HTTP: &str = "skiff.dev/examples/hello-http:v1";
pub const REPORT: &str = "skiff.dev/examples/cli-report:v1";
const REVISION: &str = "deployment.kubernetes.io/revision";

#[tokio::test]
async fn deployments() {
    play(scenarios![
        should_run_the_lifecycle_of_a_deployment,
        should_validate_deployment_status_endpoints,
        should_delete_old_replica_sets,
        should_support_rollover,
        should_support_proportional_scaling,
        rolling_update_deployment_should_delete_old_pods_and_create_new_ones,
        recreate_deployment_should_delete_old_pods_and_create_new_ones,
        should_have_a_working_scale_subresource,
        deployment_reaping_should_cascade_to_its_replica_sets_and_pods,
        replica_set_orphaning_and_adoption_regarding_controller_ref,
    ])
    .await;
}

/// A template of one container that serves for ever.
pub fn template(labels: &Value, image: &str) -> Value {
    json!({"metadata": {"labels": labels}, "spec": {"terminationGracePeriodSeconds": 0,
        "containers": [{"name": "web", "image": image, "imagePullPolicy": "IfNotPresent"}]}})
}

fn deployment(name: &str, replicas: u32, labels: &Value, image: &str) -> Value {
    json!({"metadata": {"name": name, "labels": labels}, "spec": {
        "replicas": replicas, "selector": {"matchLabels": labels}, "template": template(labels, image)}})
}

/// As the framework's WaitForDeploymentComplete.
async fn complete(scene: &Scene, name: &str) -> Value {
    scene
        .until(&format!("apps/v1/deployments/{name}"), "is complete", |d| {
            let (wanted, status) = (&d["spec"]["replicas"], &d["status"]);
            let done = status["updatedReplicas"] == *wanted
                && status["replicas"] == *wanted
                && status["availableReplicas"] == *wanted
                && status["observedGeneration"].as_i64()? >= d["metadata"]["generation"].as_i64()?;
            done.then(|| d.clone())
        })
        .await
}

async fn sets_of(scene: &Scene, selector: &str) -> Vec<Value> {
    scene.items(&format!("apps/v1/replicasets?labelSelector={selector}")).await
}

async fn should_run_the_lifecycle_of_a_deployment(scene: Scene) {
    let labels = json!({"test-deployment-static": "true"});
    let all = "/apis/apps/v1/deployments?labelSelector=test-deployment-static%3Dtrue";
    let before = version(&scene.get(all).await).clone();
    let mut object = deployment("test-deployment", 2, &labels, HTTP);
    object["spec"]["template"]["spec"]["terminationGracePeriodSeconds"] = json!(1);
    scene.create("apps/v1/deployments", object.clone()).await;
    let selected = "apps/v1/deployments?labelSelector=test-deployment-static%3Dtrue";
    let mut watch = scene.watch(selected, &before).await;
    watch.until("ADDED", |d| d["metadata"]["name"] == "test-deployment").await;
    watch.until("MODIFIED", |d| d["status"]["readyReplicas"] == 2).await;
    let patch = json!({
        "metadata": {"labels": {"test-deployment": "patched"}},
        "spec": {"replicas": 1, "template": {"spec": {"terminationGracePeriodSeconds": 2,
            "containers": [{"name": "web", "image": REPORT, "args": ["--sleep", "600000"]}]}}}});
    scene.strategic("apps/v1/deployments/test-deployment", patch).await;
    let is_at = |d: &Value, count: i64, image: &str| {
        let status = &d["status"];
        status["readyReplicas"] == count
            && status["updatedReplicas"] == count
            && status["unavailableReplicas"].as_i64().unwrap_or(0) == 0
            && d["spec"]["template"]["spec"]["containers"][0]["image"] == image
    };
    watch.until("MODIFIED", |d| is_at(d, 1, REPORT)).await;
    assert_eq!(scene.items(all).await.len(), 1);
    // An update from the object as it was made: no resourceVersion, no status.
    object["metadata"]["labels"]["test-deployment"] = json!("updated");
    object["spec"]["template"]["spec"]["containers"][0]["env"] = json!([{"name": "A", "value": "b"}]);
    scene.replace("apps/v1/deployments/test-deployment", object).await;
    let got = scene.get("apps/v1/deployments/test-deployment/status").await;
    assert_eq!(got["metadata"]["labels"]["test-deployment"], "updated");
    watch.until("MODIFIED", |d| is_at(d, 2, HTTP)).await;
    // The status subresource does not take the labels.
    let patch = json!({"metadata": {"labels": {"test-deployment": "patched-status"}},
        "status": {"readyReplicas": 0, "availableReplicas": 0}});
    scene.strategic("apps/v1/deployments/test-deployment/status", patch).await;
    let got = scene.get("apps/v1/deployments/test-deployment/status").await;
    assert_eq!(got["metadata"]["labels"]["test-deployment"], "updated", "{got}");
    watch.until("MODIFIED", |d| is_at(d, 2, HTTP)).await;
    scene.delete(selected, Value::Null).await;
    watch.until("DELETED", |d| d["metadata"]["name"] == "test-deployment").await;
}

async fn should_validate_deployment_status_endpoints(scene: Scene) {
    let labels = json!({"e2e": "testing", "name": "httpd"});
    let created = scene.create("apps/v1/deployments", deployment("d", 1, &labels, HTTP)).await;
    complete(&scene, "d").await;
    let mut watch = scene.watch("apps/v1/deployments?labelSelector=e2e%3Dtesting", version(&created)).await;
    let is = |d: &Value, kind: &str| {
        d["status"]["conditions"]
            .as_array()
            .is_some_and(|all| all.iter().any(|c| c["type"] == kind && c["status"] == "True"))
    };
    let status = scene.get("apps/v1/deployments/d/status").await;
    assert!(is(&status, "Available"), "{status}");
    scene
        .update("apps/v1/deployments/d/status", |d| {
            let condition = json!({"type": "StatusUpdate", "status": "True", "reason": "E2E",
                "message": "Set from e2e test", "lastUpdateTime": null, "lastTransitionTime": null});
            d["status"]["conditions"].as_array_mut().unwrap().push(condition);
        })
        .await;
    watch.until("MODIFIED", |d| is(d, "StatusUpdate") && is(d, "Available")).await;
    let patch = json!({"status": {"conditions": [{"type": "StatusPatched", "status": "True"}]}});
    scene.merge("apps/v1/deployments/d/status", patch).await;
    watch.until("MODIFIED", |d| is(d, "StatusPatched")).await;
}

async fn should_delete_old_replica_sets(scene: Scene) {
    let labels = json!({"name": "cleanup-pod"});
    let set = json!({"metadata": {"name": "test-cleanup-controller", "labels": labels},
        "spec": {"replicas": 1, "selector": {"matchLabels": labels}, "template": template(&labels, HTTP)}});
    scene.create("apps/v1/replicasets", set).await;
    scene
        .until("apps/v1/replicasets/test-cleanup-controller", "ready", |s| {
            (s["status"]["readyReplicas"] == 1).then_some(())
        })
        .await;
    let mut object = deployment("test-cleanup-deployment", 1, &labels, REPORT);
    object["spec"]["template"]["spec"]["containers"][0]["args"] = json!(["--sleep", "600000"]);
    object["spec"]["revisionHistoryLimit"] = json!(0);
    scene.create("apps/v1/deployments", object).await;
    complete(&scene, "test-cleanup-deployment").await;
    scene.gone("apps/v1/replicasets/test-cleanup-controller").await;
    assert_eq!(sets_of(&scene, "name%3Dcleanup-pod").await.len(), 1);
}

async fn should_support_rollover(scene: Scene) {
    let labels = json!({"name": "rollover-pod"});
    let set = json!({"metadata": {"name": "test-rollover-controller", "labels": labels},
        "spec": {"replicas": 1, "selector": {"matchLabels": labels}, "template": template(&labels, HTTP)}});
    scene.create("apps/v1/replicasets", set).await;
    let ready = |s: &Value| (s["status"]["readyReplicas"] == 1).then_some(());
    scene.until("apps/v1/replicasets/test-rollover-controller", "ready", ready).await;
    // An image that never comes: the rollout stays where it is.
    let mut object =
        deployment("test-rollover-deployment", 1, &labels, "gcr.io/google_samples/gb-redisslave:nonexistent");
    object["spec"]["template"]["spec"]["containers"][0]["imagePullPolicy"] = json!("Never");
    object["spec"]["strategy"] =
        json!({"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 0, "maxSurge": 1}});
    object["spec"]["minReadySeconds"] = json!(1);
    scene.create("apps/v1/deployments", object).await;
    let path = "apps/v1/deployments/test-rollover-deployment";
    scene.until(path, "revision 1", |d| (d["metadata"]["annotations"][REVISION] == "1").then_some(())).await;
    let stuck = scene
        .until_list("apps/v1/replicasets?labelSelector=name%3Drollover-pod", "the new one", |sets| {
            sets.iter()
                .find(|s| s["metadata"]["labels"]["pod-template-hash"].is_string() && s["status"]["replicas"] == 1)
                .cloned()
        })
        .await;
    let patch = json!({"spec": {"template": {"spec": {"containers": [{"name": "web", "image": HTTP}]}}}});
    scene.strategic(path, patch).await;
    scene.until(path, "revision 2", |d| (d["metadata"]["annotations"][REVISION] == "2").then_some(())).await;
    complete(&scene, "test-rollover-deployment").await;
    for name in ["test-rollover-controller", stuck["metadata"]["name"].as_str().unwrap()] {
        let none = |s: &Value| (s["spec"]["replicas"] == 0 && s["status"]["replicas"] == 0).then_some(());
        scene.until(&format!("apps/v1/replicasets/{name}"), "no replicas", none).await;
    }
}

async fn should_support_proportional_scaling(scene: Scene) {
    let labels = json!({"name": "webserver"});
    let mut object = deployment("webserver-deployment", 10, &labels, HTTP);
    object["spec"]["strategy"] =
        json!({"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 3, "maxUnavailable": 2}});
    scene.create("apps/v1/deployments", object).await;
    complete(&scene, "webserver-deployment").await;
    let path = "apps/v1/deployments/webserver-deployment";
    let first = sets_of(&scene, "name%3Dwebserver").await.remove(0)["metadata"]["name"].as_str().unwrap().to_owned();
    let broken = json!({"spec": {"template": {"spec": {"containers": [
        {"name": "web", "image": "webserver:404", "imagePullPolicy": "Never"}]}}}});
    scene.strategic(path, broken).await;
    let sizes = async |old: i64, new: i64| {
        scene
            .until_list(
                "apps/v1/replicasets?labelSelector=name%3Dwebserver",
                &format!("sizes {old} and {new}"),
                |sets| {
                    let size = |s: &&Value| s["spec"]["replicas"].as_i64();
                    let older = sets.iter().find(|s| s["metadata"]["name"] == *first)?;
                    let newer = sets.iter().find(|s| s["metadata"]["name"] != *first)?;
                    (size(&older) == Some(old) && size(&newer) == Some(new)).then_some(())
                },
            )
            .await;
    };
    sizes(8, 5).await;
    let first_path = format!("apps/v1/replicasets/{first}");
    scene.until(&first_path, "8 available", |s| (s["status"]["availableReplicas"] == 8).then_some(())).await;
    scene.strategic(path, json!({"spec": {"replicas": 30}})).await;
    sizes(20, 13).await;
}

async fn rolling_update_deployment_should_delete_old_pods_and_create_new_ones(scene: Scene) {
    let labels = json!({"name": "sample-pod", "pod": "httpd"});
    // The largest revision but a few: the next one must fit, too.
    let set = json!({"metadata": {"name": "test-rolling-update-controller", "labels": labels,
        "annotations": {REVISION: "3546343826724305832"}},
        "spec": {"replicas": 1, "selector": {"matchLabels": labels}, "template": template(&labels, HTTP)}});
    scene.create("apps/v1/replicasets", set).await;
    let ready = |s: &Value| (s["status"]["readyReplicas"] == 1).then_some(());
    scene.until("apps/v1/replicasets/test-rolling-update-controller", "ready", ready).await;
    let mut object = deployment("test-rolling-update-deployment", 1, &labels, REPORT);
    object["spec"]["template"]["spec"]["containers"][0]["args"] = json!(["--sleep", "600000"]);
    scene.create("apps/v1/deployments", object).await;
    let done = complete(&scene, "test-rolling-update-deployment").await;
    assert_eq!(done["metadata"]["annotations"][REVISION], "3546343826724305833");
    let sets = sets_of(&scene, "name%3Dsample-pod").await;
    let old = sets.iter().find(|s| s["metadata"]["name"] == "test-rolling-update-controller").unwrap();
    assert_eq!(old["spec"]["replicas"], 0, "{old}");
    assert!(controller(old).is_some_and(|owner| owner["uid"] == done["metadata"]["uid"]), "{old}");
    let new = sets.iter().find(|s| s["metadata"]["name"] != "test-rolling-update-controller").unwrap();
    let hash = &new["metadata"]["labels"]["pod-template-hash"];
    assert_eq!(new["spec"]["selector"]["matchLabels"]["pod-template-hash"], *hash);
    assert_eq!(new["spec"]["template"]["metadata"]["labels"]["pod-template-hash"], *hash);
}

async fn recreate_deployment_should_delete_old_pods_and_create_new_ones(scene: Scene) {
    let labels = json!({"name": "sample-pod-3"});
    let mut object = deployment("test-recreate-deployment", 1, &labels, HTTP);
    object["spec"]["strategy"] = json!({"type": "Recreate"});
    scene.create("apps/v1/deployments", object).await;
    complete(&scene, "test-recreate-deployment").await;
    let before = version(&scene.get("v1/pods").await).clone();
    let patch = json!({"spec": {"template": {"spec": {"containers": [{"name": "web", "env": [{"name": "A", "value": "1"}]}]}}}});
    scene.strategic("apps/v1/deployments/test-recreate-deployment", patch).await;
    // The old pod ends before the new one is made.
    let mut watch = scene.watch("v1/pods?labelSelector=name%3Dsample-pod-3", &before).await;
    let mut deleted = false;
    loop {
        let (kind, pod) = watch.next().await;
        deleted |= kind == "DELETED" || matches!(pod["status"]["phase"].as_str(), Some("Failed" | "Succeeded"));
        if kind == "ADDED" {
            assert!(deleted, "a new pod beside the old one");
            break;
        }
    }
    complete(&scene, "test-recreate-deployment").await;
}

async fn should_have_a_working_scale_subresource(scene: Scene) {
    let labels = json!({"name": "scaled"});
    scene.create("apps/v1/deployments", deployment("test-new-deployment", 1, &labels, HTTP)).await;
    let path = "apps/v1/deployments/test-new-deployment/scale";
    let mut scale = scene.get(path).await;
    assert_eq!((&scale["kind"], &scale["spec"]["replicas"]), (&json!("Scale"), &json!(1)));
    scale["metadata"]["resourceVersion"] = json!("");
    scale["spec"]["replicas"] = json!(2);
    assert_eq!(scene.replace(path, scale).await["spec"]["replicas"], 2);
    let got = scene.get("apps/v1/deployments/test-new-deployment").await;
    assert_eq!(got["spec"]["replicas"], 2);
    // A patch as Go marshals an autoscalingv1.Scale.
    let patch = json!({"metadata": {"creationTimestamp": null}, "spec": {"replicas": 4}, "status": {"replicas": 0}});
    scene.strategic(path, patch).await;
    assert_eq!(scene.get("apps/v1/deployments/test-new-deployment").await["spec"]["replicas"], 4);
    complete(&scene, "test-new-deployment").await;
    let scale = scene.get(path).await;
    assert_eq!(scale["status"], json!({"replicas": 4, "selector": "name=scaled"}), "{scale}");
}

async fn deployment_reaping_should_cascade_to_its_replica_sets_and_pods(scene: Scene) {
    let labels = json!({"name": "reaped"});
    let created = scene.create("apps/v1/deployments", deployment("test-new-deployment", 1, &labels, HTTP)).await;
    complete(&scene, "test-new-deployment").await;
    let options = json!({"propagationPolicy": "Foreground", "preconditions": {"uid": created["metadata"]["uid"]}});
    scene.delete("apps/v1/deployments/test-new-deployment", options).await;
    scene.gone("apps/v1/deployments/test-new-deployment").await;
    assert!(scene.items("apps/v1/replicasets").await.is_empty());
    assert!(scene.items("v1/pods").await.is_empty());
}

async fn replica_set_orphaning_and_adoption_regarding_controller_ref(scene: Scene) {
    let labels = json!({"name": "orphaned"});
    let first = scene.create("apps/v1/deployments", deployment("test-orphan-deployment", 1, &labels, HTTP)).await;
    complete(&scene, "test-orphan-deployment").await;
    let sets = sets_of(&scene, "name%3Dorphaned").await;
    assert!(controller(&sets[0]).is_some_and(|owner| owner["uid"] == first["metadata"]["uid"]), "{sets:?}");
    scene.delete("apps/v1/deployments/test-orphan-deployment", json!({"propagationPolicy": "Orphan"})).await;
    scene.gone("apps/v1/deployments/test-orphan-deployment").await;
    let sets = sets_of(&scene, "name%3Dorphaned").await;
    assert!(sets.len() == 1 && controller(&sets[0]).is_none(), "{sets:?}");
    let second = scene.create("apps/v1/deployments", deployment("test-adopt-deployment", 1, &labels, HTTP)).await;
    complete(&scene, "test-adopt-deployment").await;
    let adopted = sets_of(&scene, "name%3Dorphaned").await;
    assert_eq!(adopted.len(), 1, "no second set for the same template: {adopted:?}");
    assert_eq!(adopted[0]["metadata"]["uid"], sets[0]["metadata"]["uid"]);
    assert!(controller(&adopted[0]).is_some_and(|owner| owner["uid"] == second["metadata"]["uid"]), "{adopted:?}");
}
