//! [sig-scheduling]: test/e2e/scheduling/{limit_range,predicates,preemption}.go; taints: test/e2e/node/taints.go.

use super::apps_deployment::{HTTP, template};
use super::scene::{Patch, Scene, condition, has_condition, play, scenarios};
use serde_json::{Value, json};

#[tokio::test]
async fn scheduling() {
    play(scenarios![
        limit_range_should_create_pods_with_defaults,
        limit_range_should_list_patch_and_delete_by_collection,
        should_validate_resource_limits_of_pods_that_are_allowed_to_run,
        should_validate_that_node_selector_is_respected_if_not_matching,
        should_validate_that_node_selector_is_respected_if_matching,
        should_validate_that_node_affinity_is_respected_if_not_matching,
        should_validate_that_there_exists_conflict_between_pods_with_same_host_port,
        should_validate_that_there_is_no_conflict_between_pods_with_same_host_port_but_different_host_ip_and_protocol,
        should_validate_pod_scheduling_readiness,
        should_verify_priority_class_endpoints,
    ])
    .await;
}

/// On a cluster of its own: these taint the only node.
#[tokio::test]
async fn taints() {
    play(scenarios![evicts_pods_from_tainted_nodes_as_their_tolerations_say]).await;
}

fn pod(name: &str, spec: Value) -> Value {
    let mut pod = template(&json!({"name": name}), HTTP);
    pod["metadata"]["name"] = json!(name);
    let fields = spec.as_object().unwrap().clone();
    pod["spec"].as_object_mut().unwrap().extend(fields);
    pod
}

async fn unschedulable(scene: &Scene, name: &str) -> Value {
    let found = scene
        .until(&format!("v1/pods/{name}"), "is unschedulable", |p| {
            (condition(p, "PodScheduled")?["reason"] == "Unschedulable").then(|| p.clone())
        })
        .await;
    assert!(scene.event(name, "FailedScheduling").await.starts_with("0/1 nodes are available"));
    condition(&found, "PodScheduled").unwrap().clone()
}

async fn scheduled(scene: &Scene, name: &str) -> Value {
    scene
        .until(&format!("v1/pods/{name}"), "is scheduled", |p| {
            has_condition(p, "PodScheduled", "True").then(|| p.clone())
        })
        .await
}

async fn limit_range_should_create_pods_with_defaults(scene: Scene) {
    let limit = json!({"type": "Container", "min": {"cpu": "50m", "memory": "100Mi"}, "max": {"cpu": "500m", "memory": "500Mi"},
        "default": {"cpu": "500m", "memory": "500Mi"}, "defaultRequest": {"cpu": "100m", "memory": "200Mi"}});
    scene.create("v1/limitranges", json!({"metadata": {"name": "limit-range"}, "spec": {"limits": [limit]}})).await;
    let made = scene.create("v1/pods", pod("pod-no-resources", json!({"nodeSelector": {"none": "none"}}))).await;
    let resources = &made["spec"]["containers"][0]["resources"];
    assert_eq!(resources["requests"], json!({"cpu": "100m", "memory": "200Mi"}));
    assert_eq!(resources["limits"], json!({"cpu": "500m", "memory": "500Mi"}));
    let mut partial = pod("pod-partial-resources", json!({"nodeSelector": {"none": "none"}}));
    partial["spec"]["containers"][0]["resources"] = json!({"requests": {"cpu": "300m"}, "limits": {"memory": "300Mi"}});
    // Where there is a limit, a request is the limit, before any range is asked.
    let made = scene.create("v1/pods", partial).await;
    let resources = &made["spec"]["containers"][0]["resources"];
    assert_eq!(resources["requests"], json!({"cpu": "300m", "memory": "300Mi"}));
    assert_eq!(resources["limits"], json!({"cpu": "500m", "memory": "300Mi"}));
    let sized = |name: &str, resources: Value| {
        let mut object = pod(name, json!({}));
        object["spec"]["containers"][0]["resources"] = resources;
        object
    };
    let small = sized("pod-small", json!({"requests": {"cpu": "10m", "memory": "50Mi"}}));
    scene.refused("v1/pods", small, 403, "minimum cpu usage per Container is 50m, but request is 10m").await;
    let large = sized("pod-large", json!({"limits": {"cpu": "600m", "memory": "600Mi"}}));
    scene.refused("v1/pods", large, 403, "maximum cpu usage per Container is 500m, but limit is 600m").await;
    scene
        .update("v1/limitranges/limit-range", |l| {
            l["spec"]["limits"][0]["min"] = json!({"cpu": "9m", "memory": "49Mi"})
        })
        .await;
    let small = sized("pod-small", json!({"requests": {"cpu": "10m", "memory": "50Mi"}}));
    scene.create("v1/pods", small).await;
    scene.delete("v1/limitranges/limit-range", json!(null)).await;
    let large = sized("pod-large", json!({"requests": {"cpu": "600m"}}));
    scene.create("v1/pods", large).await;
}

async fn limit_range_should_list_patch_and_delete_by_collection(scene: Scene) {
    let label = scene.namespace.clone();
    let limit = json!({"type": "Container", "min": {"cpu": "50m"}, "max": {"cpu": "500m"}, "default": {"cpu": "500m"}, "defaultRequest": {"cpu": "100m"}});
    let object = json!({"metadata": {"name": "e2e", "labels": {"e2e": label}}, "spec": {"limits": [limit]}});
    let other = scene.unique("other");
    scene.create("/api/v1/namespaces", json!({"metadata": {"name": other}})).await;
    let elsewhere = format!("/api/v1/namespaces/{other}/limitranges");
    for path in ["v1/limitranges", &elsewhere] {
        scene.create(path, object.clone()).await;
    }
    let all = format!("/api/v1/limitranges?labelSelector=e2e%3D{label}");
    assert_eq!(scene.items(&all).await.len(), 2);
    assert_eq!(scene.items(&format!("v1/limitranges?labelSelector=e2e%3D{label}")).await.len(), 1);
    let patch = json!({"metadata": {"labels": {"patched": "yes"}}, "spec": {"limits": [{"type": "Container", "min": {"cpu": "51m"}}]}});
    let patched = scene.strategic("v1/limitranges/e2e", patch).await;
    assert_eq!(patched["metadata"]["labels"]["patched"], "yes");
    assert_eq!(patched["spec"]["limits"][0]["min"]["cpu"], "51m");
    scene.delete("v1/limitranges?labelSelector=patched%3Dyes", json!(null)).await;
    scene.gone("v1/limitranges/e2e").await;
    // The one elsewhere stays until it is its turn.
    let left = scene.items(&all).await;
    assert_eq!(left.iter().map(|l| &l["metadata"]["namespace"]).collect::<Vec<_>>(), [&json!(other)]);
    scene.delete(&format!("{elsewhere}?labelSelector=e2e%3D{label}"), json!(null)).await;
    assert!(scene.items(&all).await.is_empty());
}

async fn should_validate_resource_limits_of_pods_that_are_allowed_to_run(scene: Scene) {
    let node = scene.get("/api/v1/nodes/node-1").await;
    let cpus: u64 = node["status"]["allocatable"]["cpu"].as_str().unwrap().trim_end_matches('m').parse().unwrap();
    let mut object = pod("additional-pod", json!({}));
    object["spec"]["containers"][0]["resources"] = json!({"requests": {"cpu": (cpus * 1000).to_string()}});
    scene.create("v1/pods", object).await;
    let condition = unschedulable(&scene, "additional-pod").await;
    assert!(condition["message"].as_str().unwrap().contains("1 Insufficient cpu"), "{condition}");
    // Unless it says otherwise, the pod it belongs to counts from the node's overhead too.
    let pending = scene.get("v1/pods/additional-pod").await;
    assert_eq!(pending["status"]["phase"], "Pending");
}

async fn should_validate_that_node_selector_is_respected_if_not_matching(scene: Scene) {
    scene.create("v1/pods", pod("restricted-pod", json!({"nodeSelector": {"label": "nonempty"}}))).await;
    let condition = unschedulable(&scene, "restricted-pod").await;
    assert!(
        condition["message"].as_str().unwrap().contains("1 node(s) didn't match Pod's node affinity/selector"),
        "{condition}"
    );
}

async fn should_validate_that_node_selector_is_respected_if_matching(scene: Scene) {
    scene.strategic("/api/v1/nodes/node-1", json!({"metadata": {"labels": {"kubernetes.io/e2e-select": "42"}}})).await;
    scene.create("v1/pods", pod("with-labels", json!({"nodeSelector": {"kubernetes.io/e2e-select": "42"}}))).await;
    assert_eq!(scheduled(&scene, "with-labels").await["spec"]["nodeName"], "node-1");
    scene.strategic("/api/v1/nodes/node-1", json!({"metadata": {"labels": {"kubernetes.io/e2e-select": null}}})).await;
}

async fn should_validate_that_node_affinity_is_respected_if_not_matching(scene: Scene) {
    let term =
        |key: &str, values: Value| json!({"matchExpressions": [{"key": key, "operator": "In", "values": values}]});
    let terms = json!([term("foo", json!(["bar", "value2"])), term("diffkey", json!(["wrong"]))]);
    let affinity =
        json!({"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": terms}}});
    scene.create("v1/pods", pod("restricted-pod", json!({"affinity": affinity}))).await;
    unschedulable(&scene, "restricted-pod").await;
}

async fn should_validate_that_there_exists_conflict_between_pods_with_same_host_port(scene: Scene) {
    let port =
        |host_ip: &str| json!([{"containerPort": 8080, "hostPort": 54322, "hostIP": host_ip, "protocol": "TCP"}]);
    let with = |name: &str, host_ip: &str| {
        let mut object = pod(name, json!({}));
        object["spec"]["containers"][0]["ports"] = port(host_ip);
        object
    };
    scene.create("v1/pods", with("pod4", "")).await;
    scheduled(&scene, "pod4").await;
    scene.create("v1/pods", with("pod5", "127.0.0.1")).await;
    let condition = unschedulable(&scene, "pod5").await;
    assert!(
        condition["message"].as_str().unwrap().contains("1 node(s) didn't have free ports for the requested pod ports"),
        "{condition}"
    );
    scene.delete("v1/pods/pod4", json!(null)).await;
    scheduled(&scene, "pod5").await;
}

async fn should_validate_that_there_is_no_conflict_between_pods_with_same_host_port_but_different_host_ip_and_protocol(
    scene: Scene,
) {
    for (name, ip, protocol) in
        [("pod1", "127.0.0.1", "TCP"), ("pod2", "127.0.0.2", "TCP"), ("pod3", "127.0.0.2", "UDP")]
    {
        let mut object = pod(name, json!({}));
        let port = json!({"containerPort": 8080, "hostPort": 54321, "hostIP": ip, "protocol": protocol});
        object["spec"]["containers"][0]["ports"] = json!([port]);
        scene.create("v1/pods", object).await;
        scheduled(&scene, name).await;
    }
}

async fn should_validate_pod_scheduling_readiness(scene: Scene) {
    let gates = json!([{"name": "foo"}, {"name": "bar"}]);
    scene.create("v1/pods", pod("gated", json!({"schedulingGates": gates}))).await;
    let held = scene
        .until("v1/pods/gated", "is gated", |p| {
            (condition(p, "PodScheduled")?["reason"] == "SchedulingGated").then(|| p.clone())
        })
        .await;
    assert_eq!(
        condition(&held, "PodScheduled").unwrap()["message"],
        "Scheduling is blocked due to non-empty scheduling gates"
    );
    scene.update("v1/pods/gated", |p| p["spec"]["schedulingGates"] = json!([{"name": "bar"}])).await;
    let more = json!({"spec": {"schedulingGates": [{"name": "bar"}, {"name": "new"}]}});
    let answer = scene.stage.patch(&scene.path("v1/pods/gated"), Patch::Merge, more).await;
    answer.refused(422, "only deletion is allowed");
    scene.update("v1/pods/gated", |p| p["spec"]["schedulingGates"] = json!([])).await;
    scheduled(&scene, "gated").await;
    scene.ready("gated").await;
}

async fn should_verify_priority_class_endpoints(scene: Scene) {
    let classes = "/apis/scheduling.k8s.io/v1/priorityclasses";
    let (one, two) = (scene.unique("p1"), scene.unique("p2"));
    scene.create(classes, json!({"metadata": {"name": one}, "value": 1})).await;
    scene.create(classes, json!({"metadata": {"name": two}, "value": 2})).await;
    for (name, value) in [(&one, 1), (&two, 2)] {
        let path = format!("{classes}/{name}");
        let mut changed = scene.get(&path).await;
        changed["value"] = json!(value * 10);
        let status =
            scene.stage.put(&path, &changed).await.refused(422, "value: Forbidden: may not be changed in an update.");
        assert_eq!(status["reason"], "Invalid");
        changed["value"] = json!(value);
        changed["description"] = json!("updated");
        assert_eq!(scene.replace(&path, changed).await["description"], "updated");
        let patched = scene.merge(&path, json!({"description": "patched"})).await;
        assert_eq!(patched["description"], "patched");
    }
    for builtin in ["system-node-critical", "system-cluster-critical"] {
        scene.get(&format!("{classes}/{builtin}")).await;
    }
}

async fn evicts_pods_from_tainted_nodes_as_their_tolerations_say(scene: Scene) {
    const EVICTS: &str = "kubernetes.io/e2e-evict-taint-key";
    const LATER: &str = "kubernetes.io/e2e-later-taint-key";
    let tolerates = |key: &str, seconds: Value| json!({"key": key, "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": seconds});
    let (now, never) = (json!(1), json!(null));
    for (name, tolerations) in [
        ("not-tolerating", json!([])),
        ("tolerating", json!([tolerates(EVICTS, never.clone()), tolerates(LATER, never.clone())])),
        ("for-a-while", json!([tolerates(EVICTS, now)])),
        ("spared", json!([tolerates(EVICTS, json!(15)), tolerates(LATER, never.clone())])),
        ("later", json!([tolerates(EVICTS, never), tolerates(LATER, json!(16))])),
    ] {
        scene.create("v1/pods", pod(name, json!({"tolerations": tolerations}))).await;
        scene.ready(name).await;
    }
    let taint =
        |key: &str| json!({"spec": {"taints": [{"key": key, "value": "evictTaintVal", "effect": "NoExecute"}]}});
    let mut watch = scene.watch("v1/pods", super::scene::version(&scene.get("v1/pods").await)).await;
    scene.merge("/api/v1/nodes/node-1", taint(EVICTS)).await;
    let told = watch
        .until("MODIFIED", |p| p["metadata"]["name"] == "not-tolerating" && condition(p, "DisruptionTarget").is_some())
        .await;
    let target = condition(&told, "DisruptionTarget").unwrap();
    assert_eq!((&target["status"], &target["reason"]), (&json!("True"), &json!("DeletionByTaintManager")));
    assert_eq!(target["message"], "Taint manager: deleting due to NoExecute taint");
    scene.gone("v1/pods/not-tolerating").await;
    scene.gone("v1/pods/for-a-while").await;
    // Taking the taint away cancels what was to come: it would have come before the next one's.
    scene.merge("/api/v1/nodes/node-1", taint(LATER)).await;
    scene.gone("v1/pods/later").await;
    scene.merge("/api/v1/nodes/node-1", json!({"spec": {"taints": null}})).await;
    for name in ["tolerating", "spared"] {
        assert!(scene.get(&format!("v1/pods/{name}")).await["metadata"]["deletionTimestamp"].is_null(), "{name}");
    }
}
