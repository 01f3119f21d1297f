//! [sig-api-machinery] ResourceQuota, [sig-scheduling] LimitRange (test/e2e/apimachinery/resource_quota.go,
//! test/e2e/scheduling/limit_range.go).

use super::machinery_crds::{definition, establish, group};
use super::stage::{Patch, Scenario, Scene, play, scenarios};
use serde_json::{Value, json};
use tests::cluster::Options;

#[tokio::test]
async fn quotas_and_limits() {
    let all: &[Scenario] = scenarios![
        should_create_a_resource_quota_and_ensure_its_status_is_promptly_calculated,
        should_create_a_resource_quota_and_capture_the_life_of_a_service,
        should_create_a_resource_quota_and_capture_the_life_of_a_secret,
        should_create_a_resource_quota_and_capture_the_life_of_a_pod,
        should_create_a_resource_quota_and_capture_the_life_of_a_config_map,
        should_create_a_resource_quota_and_capture_the_life_of_a_replication_controller,
        should_create_a_resource_quota_and_capture_the_life_of_a_replica_set,
        should_create_a_resource_quota_and_capture_the_life_of_a_persistent_volume_claim_with_a_storage_class,
        should_create_a_resource_quota_and_capture_the_life_of_a_custom_resource,
        should_verify_resource_quota_with_terminating_scopes,
        should_verify_resource_quota_with_best_effort_scope,
        should_verify_resource_quota_s_priority_class_scope_against_a_pod_with_same_priority_class,
        should_be_able_to_update_and_delete_resource_quota,
        should_manage_the_lifecycle_of_a_resource_quota,
        should_apply_changes_to_a_resource_quota_status,
        should_create_a_limit_range_with_defaults_and_ensure_pod_has_those_defaults_applied,
        should_list_patch_and_delete_a_limit_range_by_collection,
    ];
    play(Options::default(), all).await;
}

const QUOTA: &str = "resourcequotas/test-quota";

/// Creates a quota and waits until its usage is counted.
async fn quota(scene: &Scene, name: &str, hard: Value, more: Value) {
    let mut quota =
        json!({"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": name}, "spec": {"hard": hard}});
    for (field, value) in more.as_object().into_iter().flatten() {
        quota["spec"][field] = value.clone();
    }
    scene.post("resourcequotas", quota).await.ok();
    let counted = |quota: Option<&Value>| {
        quota.is_some_and(|q| q["status"]["hard"] == q["spec"]["hard"] && q["status"]["used"].is_object())
    };
    scene.wait(&format!("resourcequotas/{name}"), "is counted", counted).await;
}

/// Waits until the quota says that this is used.
async fn used(scene: &Scene, path: &str, expected: Value) {
    let as_expected = |quota: Option<&Value>| {
        let used = quota.map(|quota| &quota["status"]["used"]);
        used.is_some_and(|used| expected.as_object().unwrap().iter().all(|(name, amount)| used[name] == *amount))
    };
    scene.wait(path, &format!("used {expected}"), as_expected).await;
}

fn pod(name: &str, resources: Value) -> Value {
    json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": {"nodeSelector": {"no": "such-node"},
        "containers": [{"name": "pause", "image": "skiff.local/none:1", "resources": resources}]}})
}

async fn should_create_a_resource_quota_and_ensure_its_status_is_promptly_calculated(scene: Scene) {
    quota(&scene, "test-quota", json!({"pods": "5", "resourcequotas": "1"}), Value::Null).await;
    used(&scene, QUOTA, json!({"resourcequotas": "1", "pods": "0"})).await;
}

async fn should_create_a_resource_quota_and_capture_the_life_of_a_service(scene: Scene) {
    let hard = json!({"services": "10", "services.nodeports": "1", "services.loadbalancers": "1"});
    quota(&scene, "test-quota", hard, Value::Null).await;
    let service = |name: &str, kind: &str| json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": name}, "spec": {"type": kind, "ports": [{"port": 80}]}});
    scene.post("services", service("test-service", "ClusterIP")).await.ok();
    scene.post("services", service("test-service-np", "NodePort")).await.ok();
    let refused = scene.post("services", service("test-service-lb", "LoadBalancer")).await;
    refused.refused(
        403,
        "exceeded quota: test-quota, requested: services.nodeports=1, used: services.nodeports=1, limited: services.nodeports=1",
    );
    let mut without = service("test-service-lb", "LoadBalancer");
    without["spec"]["allocateLoadBalancerNodePorts"] = false.into();
    scene.post("services", without).await.ok();
    used(&scene, QUOTA, json!({"services": "3", "services.nodeports": "1", "services.loadbalancers": "1"})).await;
    for name in ["test-service", "test-service-np", "test-service-lb"] {
        scene.delete(&format!("services/{name}"), Value::Null).await.ok();
    }
    used(&scene, QUOTA, json!({"services": "0", "services.nodeports": "0", "services.loadbalancers": "0"})).await;
}

/// Counts one object, refuses a second, and gives back what a deletion frees.
async fn life(scene: &Scene, resource: &str, path: &str, object: Value) {
    let before = scene.items(path).await.len();
    quota(scene, "test-quota", json!({resource: (before + 1).to_string()}), Value::Null).await;
    used(scene, QUOTA, json!({resource: before.to_string()})).await;
    let mut second = object.clone();
    let name = scene.post(path, object).await.ok()["metadata"]["name"].as_str().unwrap().to_owned();
    used(scene, QUOTA, json!({resource: (before + 1).to_string()})).await;
    second["metadata"]["name"] = "second".into();
    scene.post(path, second).await.refused(403, "exceeded quota: test-quota");
    scene.delete(&format!("{path}/{name}"), json!({"propagationPolicy": "Background"})).await.ok();
    used(scene, QUOTA, json!({resource: before.to_string()})).await;
}

async fn should_create_a_resource_quota_and_capture_the_life_of_a_secret(scene: Scene) {
    let secret = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "test-secret"}, "data": {"data-1": "dmFsdWUtMQo="}});
    life(&scene, "secrets", "secrets", secret).await;
}

async fn should_create_a_resource_quota_and_capture_the_life_of_a_config_map(scene: Scene) {
    scene.wait("configmaps/kube-root-ca.crt", "is published", |map| map.is_some()).await;
    let map =
        json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "test-configmap"}, "data": {"a": "b"}});
    life(&scene, "configmaps", "configmaps", map).await;
}

async fn should_create_a_resource_quota_and_capture_the_life_of_a_replication_controller(scene: Scene) {
    let rc = json!({"apiVersion": "v1", "kind": "ReplicationController", "metadata": {"name": "test-rc"}, "spec": {"replicas": 0,
        "selector": {"name": "test"}, "template": {"metadata": {"labels": {"name": "test"}}, "spec": pod("x", json!({}))["spec"]}}});
    life(&scene, "replicationcontrollers", "replicationcontrollers", rc).await;
}

async fn should_create_a_resource_quota_and_capture_the_life_of_a_replica_set(scene: Scene) {
    let rs = json!({"apiVersion": "apps/v1", "kind": "ReplicaSet", "metadata": {"name": "test-rs"}, "spec": {"replicas": 0,
        "selector": {"matchLabels": {"name": "test"}},
        "template": {"metadata": {"labels": {"name": "test"}}, "spec": pod("x", json!({}))["spec"]}}});
    life(&scene, "count/replicasets.apps", "replicasets", rs).await;
}

async fn should_create_a_resource_quota_and_capture_the_life_of_a_persistent_volume_claim_with_a_storage_class(
    scene: Scene,
) {
    let hard = json!({"persistentvolumeclaims": "1", "requests.storage": "10Gi",
        "gold.storageclass.storage.k8s.io/persistentvolumeclaims": "1", "gold.storageclass.storage.k8s.io/requests.storage": "10Gi"});
    quota(&scene, "test-quota", hard, Value::Null).await;
    let claim = json!({"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": "test-claim"}, "spec": {
        "storageClassName": "gold", "accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}});
    scene.post("persistentvolumeclaims", claim).await.ok();
    used(&scene, QUOTA, json!({"persistentvolumeclaims": "1", "requests.storage": "1Gi",
        "gold.storageclass.storage.k8s.io/persistentvolumeclaims": "1", "gold.storageclass.storage.k8s.io/requests.storage": "1Gi"})).await;
    scene.delete("persistentvolumeclaims/test-claim", Value::Null).await.ok();
    used(&scene, QUOTA, json!({"persistentvolumeclaims": "0", "requests.storage": "0",
        "gold.storageclass.storage.k8s.io/persistentvolumeclaims": "0", "gold.storageclass.storage.k8s.io/requests.storage": "0"})).await;
}

async fn should_create_a_resource_quota_and_capture_the_life_of_a_custom_resource(scene: Scene) {
    let group = group(&scene);
    establish(&scene, definition(&group, "Counted", &["v1"], &json!({"type": "object"}))).await;
    let path = format!("/apis/{group}/v1/namespaces/{}/counteds", scene.namespace);
    let object = json!({"apiVersion": format!("{group}/v1"), "kind": "Counted", "metadata": {"name": "test-cr-1"}});
    life(&scene, &format!("count/counteds.{group}"), &path, object).await;
}

async fn should_create_a_resource_quota_and_capture_the_life_of_a_pod(scene: Scene) {
    let hard = json!({"pods": "5", "cpu": "1", "memory": "500Mi", "requests.ephemeral-storage": "50Gi", "requests.example.com/dongle": "3"});
    quota(&scene, "test-quota", hard, Value::Null).await;
    let amounts = |cpu: &str, memory: &str| json!({"cpu": cpu, "memory": memory, "ephemeral-storage": "30Gi", "example.com/dongle": "2"});
    let resources = json!({"requests": amounts("500m", "252Mi"), "limits": {"example.com/dongle": "2"}});
    let created = scene.post("pods", pod("test-pod", resources)).await.ok();
    let taken = json!({"pods": "1", "cpu": "500m", "memory": "252Mi", "requests.ephemeral-storage": "30Gi", "requests.example.com/dongle": "2"});
    used(&scene, QUOTA, taken.clone()).await;
    let too_much = json!({"requests": {"cpu": "600m", "memory": "100Mi", "ephemeral-storage": "1Gi"}});
    scene
        .post("pods", pod("fail-pod", too_much))
        .await
        .refused(403, "exceeded quota: test-quota, requested: cpu=600m, used: cpu=500m, limited: cpu=1");
    let dongles = json!({"requests": amounts("500m", "100Mi"), "limits": {"example.com/dongle": "2"}});
    scene.post("pods", pod("fail-pod-for-extended-resource", dongles)).await.refused(
        403,
        "requested: requests.ephemeral-storage=30Gi,requests.example.com/dongle=2, used: requests.ephemeral-storage=30Gi,requests.example.com/dongle=2, \
         limited: requests.ephemeral-storage=50Gi,requests.example.com/dongle=3",
    );
    scene
        .post("pods", pod("no-requests", json!({})))
        .await
        .refused(403, "must specify cpu for: pause; memory for: pause");
    let mut changed = created;
    // Without it: the node writes the pod's status meanwhile.
    changed["metadata"].as_object_mut().unwrap().remove("resourceVersion");
    changed["spec"]["containers"][0]["resources"]["requests"] =
        json!({"cpu": "100m", "memory": "100Mi", "ephemeral-storage": "10Gi"});
    scene.put("pods/test-pod", &changed).await.refused(422, "pod updates may not change fields other than");
    used(&scene, QUOTA, taken).await;
    scene.delete("pods/test-pod", json!({"gracePeriodSeconds": 0})).await.ok();
    used(&scene, QUOTA, json!({"pods": "0", "cpu": "0", "memory": "0", "requests.ephemeral-storage": "0", "requests.example.com/dongle": "0"})).await;
}

async fn should_verify_resource_quota_with_terminating_scopes(scene: Scene) {
    let hard = json!({"pods": "5", "requests.cpu": "1", "requests.memory": "500Mi", "limits.cpu": "2", "limits.memory": "1Gi"});
    quota(&scene, "quota-terminating", hard.clone(), json!({"scopes": ["Terminating"]})).await;
    quota(&scene, "quota-not-terminating", hard, json!({"scopes": ["NotTerminating"]})).await;
    let resources = json!({"requests": {"cpu": "500m", "memory": "200Mi"}, "limits": {"cpu": "1", "memory": "400Mi"}});
    let taken = json!({"pods": "1", "requests.cpu": "500m", "requests.memory": "200Mi", "limits.cpu": "1", "limits.memory": "400Mi"});
    let nothing =
        json!({"pods": "0", "requests.cpu": "0", "requests.memory": "0", "limits.cpu": "0", "limits.memory": "0"});
    let mut ending = pod("terminating-pod", resources.clone());
    ending["spec"]["activeDeadlineSeconds"] = 3600.into();
    for (object, counts, does_not) in [
        (pod("test-pod", resources), "quota-not-terminating", "quota-terminating"),
        (ending, "quota-terminating", "quota-not-terminating"),
    ] {
        let name = object["metadata"]["name"].as_str().unwrap().to_owned();
        scene.post("pods", object).await.ok();
        used(&scene, &format!("resourcequotas/{counts}"), taken.clone()).await;
        used(&scene, &format!("resourcequotas/{does_not}"), nothing.clone()).await;
        scene.delete(&format!("pods/{name}"), json!({"gracePeriodSeconds": 0})).await.ok();
        used(&scene, &format!("resourcequotas/{counts}"), nothing.clone()).await;
    }
}

async fn should_verify_resource_quota_with_best_effort_scope(scene: Scene) {
    quota(&scene, "quota-besteffort", json!({"pods": "5"}), json!({"scopes": ["BestEffort"]})).await;
    quota(&scene, "quota-not-besteffort", json!({"pods": "5"}), json!({"scopes": ["NotBestEffort"]})).await;
    let some = json!({"requests": {"cpu": "500m", "memory": "200Mi"}, "limits": {"cpu": "1", "memory": "400Mi"}});
    for (object, counts, does_not) in [
        (pod("besteffort-pod", json!({})), "quota-besteffort", "quota-not-besteffort"),
        (pod("burstable-pod", some), "quota-not-besteffort", "quota-besteffort"),
    ] {
        let name = object["metadata"]["name"].as_str().unwrap().to_owned();
        scene.post("pods", object).await.ok();
        used(&scene, &format!("resourcequotas/{counts}"), json!({"pods": "1"})).await;
        used(&scene, &format!("resourcequotas/{does_not}"), json!({"pods": "0"})).await;
        scene.delete(&format!("pods/{name}"), json!({"gracePeriodSeconds": 0})).await.ok();
        used(&scene, &format!("resourcequotas/{counts}"), json!({"pods": "0"})).await;
    }
    let both = json!({"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "both"},
        "spec": {"hard": {"pods": "1"}, "scopes": ["BestEffort", "NotBestEffort"]}});
    scene.post("resourcequotas", both).await.refused(422, "conflicting scopes");
}

async fn should_verify_resource_quota_s_priority_class_scope_against_a_pod_with_same_priority_class(scene: Scene) {
    let class = json!({"apiVersion": "scheduling.k8s.io/v1", "kind": "PriorityClass", "metadata": {"name": "pclass1"}, "value": 1000});
    scene.post("/apis/scheduling.k8s.io/v1/priorityclasses", class).await.ok();
    let selector = json!({"scopeSelector": {"matchExpressions": [{"scopeName": "PriorityClass", "operator": "In", "values": ["pclass1"]}]}});
    quota(&scene, "quota-priorityclass", json!({"pods": "1"}), selector).await;
    let classed = |name: &str| {
        let mut pod = pod(name, json!({}));
        pod["spec"]["priorityClassName"] = "pclass1".into();
        pod
    };
    scene.post("pods", classed("testpod-pclass1-1")).await.ok();
    used(&scene, "resourcequotas/quota-priorityclass", json!({"pods": "1"})).await;
    scene
        .post("pods", classed("testpod-pclass1-2"))
        .await
        .refused(403, "exceeded quota: quota-priorityclass, requested: pods=1, used: pods=1, limited: pods=1");
    scene.post("pods", pod("without-class", json!({}))).await.ok();
    scene.delete("pods/testpod-pclass1-1", json!({"gracePeriodSeconds": 0})).await.ok();
    used(&scene, "resourcequotas/quota-priorityclass", json!({"pods": "0"})).await;
}

async fn should_be_able_to_update_and_delete_resource_quota(scene: Scene) {
    quota(&scene, "test-quota", json!({"cpu": "1", "memory": "500Mi"}), Value::Null).await;
    let mut object = scene.get(QUOTA).await.ok();
    object["spec"]["hard"] = json!({"cpu": "2", "memory": "1Gi"});
    let updated = scene.put(QUOTA, &object).await.ok();
    assert_eq!(updated["spec"]["hard"], json!({"cpu": "2", "memory": "1Gi"}));
    assert_eq!(scene.get(QUOTA).await.ok()["spec"]["hard"], updated["spec"]["hard"]);
    scene.delete(QUOTA, Value::Null).await.ok();
    scene.get(QUOTA).await.refused(404, "resourcequotas \"test-quota\" not found");
}

async fn should_manage_the_lifecycle_of_a_resource_quota(scene: Scene) {
    quota(&scene, "test-quota", json!({"cpu": "1", "memory": "500Mi"}), Value::Null).await;
    let patch = json!({"metadata": {"labels": {"test-quota": "patched"}}, "spec": {"hard": {"memory": "750Mi"}}});
    let patched = scene.patch(QUOTA, Patch::Strategic, patch).await.ok();
    assert_eq!(patched["spec"]["hard"], json!({"cpu": "1", "memory": "750Mi"}));
    let everywhere = "/api/v1/resourcequotas?labelSelector=test-quota%3Dpatched";
    assert_eq!(scene.items(everywhere).await.len(), 1);
    scene.delete("resourcequotas?labelSelector=test-quota%3Dpatched", Value::Null).await.ok();
    scene.wait_items(everywhere, "none is left", <[Value]>::is_empty).await;
}

async fn should_apply_changes_to_a_resource_quota_status(scene: Scene) {
    let mut watch = scene.watch("resourcequotas").await;
    quota(&scene, "test-quota", json!({"cpu": "500m", "memory": "500Mi"}), Value::Null).await;
    let status = format!("{QUOTA}/status");
    let hard = json!({"cpu": "250m", "memory": "250Mi"});
    // The controller puts back what the status is: what was written is seen by who watches.
    let mut object = scene.get(QUOTA).await.ok();
    object["status"]["hard"] = hard.clone();
    let written = scene.put(&status, &object).await.ok();
    assert_eq!((&written["status"]["hard"], &written["spec"]["hard"]["cpu"]), (&hard, &json!("500m")));
    watch.until(|e| e["object"]["status"]["hard"] == hard).await;
    watch.until(|e| e["object"]["status"]["hard"] == e["object"]["spec"]["hard"]).await;
    let patch = json!({"spec": {"hard": {"cpu": "1", "memory": "1Gi"}}});
    assert_eq!(
        scene.patch(QUOTA, Patch::Strategic, patch).await.ok()["spec"]["hard"],
        json!({"cpu": "1", "memory": "1Gi"})
    );
    watch.until(|e| e["object"]["status"]["hard"] == json!({"cpu": "1", "memory": "1Gi"})).await;
    let patch = json!({"spec": {"hard": {"cpu": "9"}}, "status": {"hard": {"cpu": "2", "memory": "2Gi"}}});
    let patched = scene.patch(&status, Patch::Merge, patch).await.ok();
    assert_eq!((&patched["spec"]["hard"]["cpu"], &patched["status"]["hard"]["cpu"]), (&json!("1"), &json!("2")));
    watch.until(|e| e["object"]["status"]["hard"] == json!({"cpu": "1", "memory": "1Gi"})).await;
    assert_eq!(scene.get(&status).await.ok()["kind"], "ResourceQuota");
}

fn limits(name: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "LimitRange", "metadata": {"name": name, "labels": {"time": name}}, "spec": {"limits": [{"type": "Container",
        "min": {"cpu": "50m", "memory": "100Mi", "ephemeral-storage": "100Gi"},
        "max": {"cpu": "500m", "memory": "500Mi", "ephemeral-storage": "500Gi"},
        "default": {"cpu": "500m", "memory": "500Mi", "ephemeral-storage": "500Gi"},
        "defaultRequest": {"cpu": "100m", "memory": "200Mi", "ephemeral-storage": "200Gi"}}]}})
}

async fn should_create_a_limit_range_with_defaults_and_ensure_pod_has_those_defaults_applied(scene: Scene) {
    let mut watch = scene.watch("limitranges?labelSelector=time%3Dlimit-range").await;
    scene.post("limitranges", limits("limit-range")).await.ok();
    watch.expect("ADDED").await;
    let resources = |pod: Value| pod["spec"]["containers"][0]["resources"].clone();
    let default = json!({"requests": {"cpu": "100m", "memory": "200Mi", "ephemeral-storage": "200Gi"},
        "limits": {"cpu": "500m", "memory": "500Mi", "ephemeral-storage": "500Gi"}});
    assert_eq!(resources(scene.post("pods", pod("pod-no-resources", json!({}))).await.ok()), default);
    let partial = json!({"requests": {"cpu": "300m", "memory": "150Mi"}, "limits": {"cpu": "300m"}});
    let filled = json!({"requests": {"cpu": "300m", "memory": "150Mi", "ephemeral-storage": "200Gi"},
        "limits": {"cpu": "300m", "memory": "500Mi", "ephemeral-storage": "500Gi"}});
    assert_eq!(resources(scene.post("pods", pod("pod-partial-resources", partial)).await.ok()), filled);
    let below = json!({"requests": {"cpu": "10m", "memory": "50Mi", "ephemeral-storage": "50Gi"}, "limits": {}});
    scene
        .post("pods", pod("below", below))
        .await
        .refused(403, "minimum cpu usage per Container is 50m, but request is 10m");
    let above = json!({"requests": {}, "limits": {"cpu": "600m", "memory": "600Mi", "ephemeral-storage": "600Gi"}});
    scene
        .post("pods", pod("above", above))
        .await
        .refused(403, "maximum cpu usage per Container is 500m, but limit is 600m");
    let mut object = scene.get("limitranges/limit-range").await.ok();
    object["spec"]["limits"][0]["min"] = json!({"cpu": "9m", "memory": "49Mi", "ephemeral-storage": "49Gi"});
    scene.put("limitranges/limit-range", &object).await.ok();
    let below = json!({"requests": {"cpu": "10m", "memory": "50Mi", "ephemeral-storage": "50Gi"}, "limits": {}});
    scene.post("pods", pod("now-enough", below)).await.ok();
    scene.delete("limitranges/limit-range", Value::Null).await.ok();
    watch.until(|e| e["type"] == "DELETED").await;
    let free = json!({"limits": {"cpu": "600m"}});
    scene.post("pods", pod("free", free)).await.ok();
}

async fn should_list_patch_and_delete_a_limit_range_by_collection(scene: Scene) {
    scene.post("limitranges", limits("lr-one")).await.ok();
    assert_eq!(scene.items("/api/v1/limitranges?labelSelector=time%3Dlr-one").await.len(), 1);
    let patch = json!({"metadata": {"labels": {"lr-one": "patched"}},
        "spec": {"limits": [{"type": "Container", "min": {"cpu": "40m"}}]}});
    let patched = scene.patch("limitranges/lr-one", Patch::Strategic, patch).await.ok();
    assert_eq!(
        (&patched["metadata"]["labels"]["lr-one"], &patched["spec"]["limits"][0]["min"]["cpu"]),
        (&json!("patched"), &json!("40m"))
    );
    scene.delete("limitranges?labelSelector=lr-one%3Dpatched", Value::Null).await.ok();
    assert!(scene.items("limitranges").await.is_empty());
}
