//! [sig-api-machinery] Garbage collector (test/e2e/apimachinery/garbage_collector.go).

use super::stage::{Patch, Scenario, Scene, play, scenarios};
use serde_json::{Value, json};
use tests::cluster::Options;

#[tokio::test]
async fn the_garbage_collector() {
    let all: &[Scenario] = scenarios![
        should_delete_pods_created_by_rc_when_not_orphaning,
        should_orphan_pods_created_by_rc_if_delete_options_say_so,
        should_orphan_pods_created_by_rc_if_delete_options_orphan_dependents_is_nil,
        should_delete_rs_created_by_deployment_when_not_orphaning,
        should_orphan_rs_created_by_deployment_when_propagation_policy_is_orphan,
        should_keep_the_rc_around_until_all_its_pods_are_deleted_if_the_delete_options_say_so,
        should_not_delete_dependents_that_have_both_valid_owner_and_owner_waiting_for_dependents_to_be_deleted,
        should_not_be_blocked_by_dependency_circle,
        should_support_cascading_deletion_of_custom_resources,
        should_support_orphan_deletion_of_custom_resources,
        should_delete_jobs_and_pods_created_by_cronjob_owner,
    ];
    play(Options::default(), all).await;
}

fn template(labels: &Value) -> Value {
    // On no node: a pod that is deleted is gone.
    json!({"metadata": {"labels": labels}, "spec": {"terminationGracePeriodSeconds": 0, "nodeSelector": {"no": "such-node"},
        "containers": [{"name": "nginx", "image": "skiff.local/none:1"}]}})
}

async fn controller(scene: &Scene, name: &str, replicas: usize) -> Value {
    let labels = json!({"gctest": name});
    let rc = json!({"apiVersion": "v1", "kind": "ReplicationController", "metadata": {"name": name},
        "spec": {"replicas": replicas, "selector": labels, "template": template(&labels)}});
    scene.post("replicationcontrollers", rc).await.ok()
}

fn options(owner: &Value, policy: &str) -> Value {
    json!({"propagationPolicy": policy, "preconditions": {"uid": owner["metadata"]["uid"]}})
}

fn owners(object: &Value) -> Vec<&str> {
    let owners = object["metadata"]["ownerReferences"].as_array().map_or(&[][..], Vec::as_slice);
    owners.iter().filter_map(|owner| owner["name"].as_str()).collect()
}

async fn should_delete_pods_created_by_rc_when_not_orphaning(scene: Scene) {
    let rc = controller(&scene, "simpletest.rc", 2).await;
    scene.wait_items("pods", "some pods", |pods| !pods.is_empty()).await;
    scene.delete("replicationcontrollers/simpletest.rc", options(&rc, "Background")).await.ok();
    scene.wait_items("pods", "no pods", <[Value]>::is_empty).await;
    assert_eq!(scene.get("replicationcontrollers/simpletest.rc").await.code, 404);
}

async fn should_orphan_pods_created_by_rc_if_delete_options_say_so(scene: Scene) {
    let rc = controller(&scene, "simpletest.rc", 20).await;
    let all = |rc: Option<&Value>| rc.is_some_and(|rc| rc["status"]["replicas"] == 20);
    scene.wait("replicationcontrollers/simpletest.rc", "has all replicas", all).await;
    scene.delete("replicationcontrollers/simpletest.rc", options(&rc, "Orphan")).await.ok();
    scene.gone("replicationcontrollers/simpletest.rc").await;
    let pods = scene.items("pods").await;
    assert_eq!(pods.len(), 20);
    // Kubernetes looks again after 30 s; the collector itself has to have forgotten the owner before the owner goes.
    assert!(pods.iter().all(|pod| owners(pod).is_empty() && pod["metadata"]["deletionTimestamp"].is_null()));
}

async fn should_orphan_pods_created_by_rc_if_delete_options_orphan_dependents_is_nil(scene: Scene) {
    let rc = controller(&scene, "simpletest.rc", 2).await;
    let all = |rc: Option<&Value>| rc.is_some_and(|rc| rc["status"]["replicas"] == 2);
    scene.wait("replicationcontrollers/simpletest.rc", "has all replicas", all).await;
    // As it was before there was a collector; everything younger is deleted in the background.
    let uid = json!({"preconditions": {"uid": rc["metadata"]["uid"]}});
    scene.delete("replicationcontrollers/simpletest.rc", uid).await.ok();
    scene.gone("replicationcontrollers/simpletest.rc").await;
    let pods = scene.items("pods").await;
    assert!(pods.len() == 2 && pods.iter().all(|pod| owners(pod).is_empty()));
}

async fn deployment(scene: &Scene) -> Value {
    let labels = json!({"app": "gc-test"});
    let deployment = json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "simpletest.deployment"},
        "spec": {"replicas": 2, "selector": {"matchLabels": labels}, "strategy": {"type": "RollingUpdate"}, "template": template(&labels)}});
    let created = scene.post("deployments", deployment).await.ok();
    scene.wait_items("pods", "all pods", |pods| pods.len() == 2).await;
    created
}

async fn should_delete_rs_created_by_deployment_when_not_orphaning(scene: Scene) {
    let created = deployment(&scene).await;
    scene.delete("deployments/simpletest.deployment", options(&created, "Background")).await.ok();
    scene.wait_items("replicasets", "no replica sets", <[Value]>::is_empty).await;
    scene.wait_items("pods", "no pods", <[Value]>::is_empty).await;
}

async fn should_orphan_rs_created_by_deployment_when_propagation_policy_is_orphan(scene: Scene) {
    let created = deployment(&scene).await;
    scene.delete("deployments/simpletest.deployment", options(&created, "Orphan")).await.ok();
    scene.gone("deployments/simpletest.deployment").await;
    let sets = scene.items("replicasets").await;
    assert_eq!((sets.len(), scene.items("pods").await.len()), (1, 2));
    assert!(owners(&sets[0]).is_empty(), "{}", sets[0]);
}

async fn should_keep_the_rc_around_until_all_its_pods_are_deleted_if_the_delete_options_say_so(scene: Scene) {
    let rc = controller(&scene, "simpletest.rc", 10).await;
    let all = |rc: Option<&Value>| rc.is_some_and(|rc| rc["status"]["replicas"] == 10);
    scene.wait("replicationcontrollers/simpletest.rc", "has all replicas", all).await;
    let mut watch = scene.watch("replicationcontrollers").await;
    let mut pods = scene.watch("pods?labelSelector=gctest%3Dsimpletest.rc").await;
    scene.delete("replicationcontrollers/simpletest.rc", options(&rc, "Foreground")).await.ok();
    let told = watch.until(|e| e["type"] == "DELETED").await;
    let waiting =
        told.iter().find(|e| e["object"]["metadata"]["deletionTimestamp"].is_string()).expect("it was marked first");
    assert_eq!(waiting["object"]["metadata"]["finalizers"], json!(["foregroundDeletion"]));
    let gone: u64 = told.last().unwrap()["object"]["metadata"]["resourceVersion"].as_str().unwrap().parse().unwrap();
    for _ in 0..10 {
        let pod = pods.until(|e| e["type"] == "DELETED").await.pop().unwrap();
        let at: u64 = pod["object"]["metadata"]["resourceVersion"].as_str().unwrap().parse().unwrap();
        assert!(at < gone, "the owner went before a pod");
    }
}

async fn should_not_delete_dependents_that_have_both_valid_owner_and_owner_waiting_for_dependents_to_be_deleted(
    scene: Scene,
) {
    let first = controller(&scene, "simpletest-rc-to-be-deleted", 10).await;
    let second = controller(&scene, "simpletest-rc-to-stay", 0).await;
    let pods = scene.wait_items("pods", "all pods", |pods| pods.len() == 10).await;
    let stay = json!({"apiVersion": "v1", "kind": "ReplicationController", "name": "simpletest-rc-to-stay", "uid": second["metadata"]["uid"]});
    let both: Vec<String> = pods[..5].iter().map(|pod| pod["metadata"]["name"].as_str().unwrap().to_owned()).collect();
    for name in &both {
        let patch = json!({"metadata": {"ownerReferences": [stay]}});
        scene.patch(&format!("pods/{name}"), Patch::Strategic, patch).await.ok();
    }
    scene.delete("replicationcontrollers/simpletest-rc-to-be-deleted", options(&first, "Foreground")).await.ok();
    scene.gone("replicationcontrollers/simpletest-rc-to-be-deleted").await;
    let left = scene.items("pods").await;
    assert_eq!(left.len(), 5);
    for pod in &left {
        assert!(
            both.iter().any(|name| pod["metadata"]["name"] == **name) && pod["metadata"]["deletionTimestamp"].is_null()
        );
        assert_eq!(owners(pod), ["simpletest-rc-to-stay"]);
    }
}

async fn should_not_be_blocked_by_dependency_circle(scene: Scene) {
    let mut made = Vec::new();
    for name in ["pod1", "pod2", "pod3"] {
        let mut pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}});
        pod["spec"] = template(&json!({}))["spec"].clone();
        made.push(scene.post("pods", pod).await.ok());
    }
    for (owned, owner) in [(0, 2), (1, 0), (2, 1)] {
        let owner: &Value = &made[owner]["metadata"];
        let reference = json!({"apiVersion": "v1", "kind": "Pod", "name": owner["name"], "uid": owner["uid"],
            "controller": true, "blockOwnerDeletion": true});
        let path = format!("pods/{}", made[owned]["metadata"]["name"].as_str().unwrap());
        scene.patch(&path, Patch::Strategic, json!({"metadata": {"ownerReferences": [reference]}})).await.ok();
    }
    scene.delete("pods/pod1", options(&made[0], "Foreground")).await.ok();
    scene.wait_items("pods", "no pods", <[Value]>::is_empty).await;
}

/// An owner and its dependent of a new cluster-wide kind; answers the kind's collection.
async fn custom_family(scene: &Scene) -> String {
    use super::machinery_crds::{definition, establish, group};
    let group = group(scene);
    let mut crd = definition(&group, "Ward", &["v1"], &json!({"type": "object"}));
    crd["spec"]["scope"] = "Cluster".into();
    establish(scene, crd).await;
    let wards = format!("/apis/{group}/v1/wards");
    let object = |name: &str, owners: Value| json!({"apiVersion": format!("{group}/v1"), "kind": "Ward", "metadata": {"name": name, "ownerReferences": owners}});
    let owner = scene.post(&wards, object("owner", json!([]))).await.ok();
    let reference = json!([{"apiVersion": format!("{group}/v1"), "kind": "Ward", "name": "owner", "uid": owner["metadata"]["uid"]}]);
    scene.post(&wards, object("dependent", reference)).await.ok();
    wards
}

async fn should_support_cascading_deletion_of_custom_resources(scene: Scene) {
    let wards = custom_family(&scene).await;
    scene.delete(&format!("{wards}/owner"), json!({"propagationPolicy": "Background"})).await.ok();
    scene.gone(&format!("{wards}/owner")).await;
    scene.gone(&format!("{wards}/dependent")).await;
}

async fn should_support_orphan_deletion_of_custom_resources(scene: Scene) {
    let wards = custom_family(&scene).await;
    scene.delete(&format!("{wards}/owner"), json!({"propagationPolicy": "Orphan"})).await.ok();
    scene.gone(&format!("{wards}/owner")).await;
    assert!(owners(&scene.get(&format!("{wards}/dependent")).await.ok()).is_empty());
}

async fn should_delete_jobs_and_pods_created_by_cronjob_owner(scene: Scene) {
    let cron = json!({"apiVersion": "batch/v1", "kind": "CronJob", "metadata": {"name": "simple"},
        "spec": {"schedule": "0 0 1 1 *", "jobTemplate": {"spec": {"template": {"spec": {"restartPolicy": "OnFailure",
            "nodeSelector": {"no": "such-node"}, "containers": [{"name": "c", "image": "skiff.local/none:1"}]}}}}}});
    let cron = scene.post("cronjobs", cron).await.ok();
    // The job that the schedule would make: this is about what goes with its owner.
    let mut job = json!({"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "simple-1"}});
    job["spec"] = cron["spec"]["jobTemplate"]["spec"].clone();
    job["metadata"]["ownerReferences"] = json!([{"apiVersion": "batch/v1", "kind": "CronJob", "name": "simple",
        "uid": cron["metadata"]["uid"], "controller": true, "blockOwnerDeletion": true}]);
    scene.post("jobs", job).await.ok();
    scene.wait_items("pods", "the job's pod", |pods| pods.len() == 1).await;
    scene.delete("cronjobs/simple", options(&cron, "Background")).await.ok();
    scene.wait_items("jobs", "no jobs", <[Value]>::is_empty).await;
    scene.wait_items("pods", "no pods", <[Value]>::is_empty).await;
}
