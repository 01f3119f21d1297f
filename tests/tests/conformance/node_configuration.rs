//! [sig-node] ConfigMaps, Secrets, the downward API, expansion, RuntimeClasses, Nodes:
//! test/e2e/common/node/{configmap,secrets,downwardapi,expansion,runtimeclass}.go, test/e2e/node/node_lifecycle.go.

use super::apps_deployment::REPORT;
use super::node::{pod, server};
use super::scene::{Scene, has_condition, merged, play, scenarios, version};
use serde_json::{Value, json};

#[tokio::test]
async fn configuration_and_classes() {
    play(scenarios![
        should_be_consumable_via_environment,
        should_fail_to_create_config_map_and_secret_with_empty_key,
        should_run_through_a_config_map_lifecycle,
        should_patch_a_secret,
        downward_api_should_provide_everything_as_env_vars,
        downward_api_should_provide_default_limits_from_node_allocatable,
        variable_expansion_should_allow_composing_and_substituting,
        variable_expansion_should_fail_substituting_values_in_a_volume_subpath_with_backticks,
        runtime_class_should_reject_a_pod_requesting_a_non_existent_or_deleted_one,
        runtime_class_should_schedule_a_pod_and_initialize_its_overhead,
        should_run_through_the_lifecycle_of_a_node,
    ])
    .await;
}

async fn should_be_consumable_via_environment(scene: Scene) {
    scene
        .create(
            "v1/configmaps",
            json!({"metadata": {"name": "map"}, "data": {"data_1": "value-1", "data_2": "value-2"}}),
        )
        .await;
    scene.create("v1/secrets", json!({"metadata": {"name": "secret"}, "data": {"key": "c2VjcmV0LXZhbHVl"}})).await;
    let container = json!({"envFrom": [{"prefix": "p_", "configMapRef": {"name": "map"}}, {"secretRef": {"name": "secret"}}],
        "env": [{"name": "CONFIG_DATA_1", "valueFrom": {"configMapKeyRef": {"name": "map", "key": "data_1"}}},
            {"name": "SECRET_DATA", "valueFrom": {"secretKeyRef": {"name": "secret", "key": "key"}}}]});
    scene.create("v1/pods", pod("env", REPORT, container, json!({}))).await;
    scene.phase("env", "Succeeded").await;
    let log = scene.text("v1/pods/env/log").await;
    for line in [
        "env CONFIG_DATA_1=value-1",
        "env p_data_1=value-1",
        "env p_data_2=value-2",
        "env SECRET_DATA=secret-value",
        "env key=secret-value",
    ] {
        assert!(log.lines().any(|l| l == line), "no {line} in {log}");
    }
}

async fn should_fail_to_create_config_map_and_secret_with_empty_key(scene: Scene) {
    let text = "a valid config key must consist of alphanumeric characters";
    scene.refused("v1/configmaps", json!({"metadata": {"name": "empty"}, "data": {"": "value-1"}}), 422, text).await;
    scene.refused("v1/secrets", json!({"metadata": {"name": "empty"}, "data": {"": "dmFsdWUtMQ=="}}), 422, text).await;
}

async fn should_run_through_a_config_map_lifecycle(scene: Scene) {
    let selected = "v1/configmaps?labelSelector=test-configmap-static%3Dtrue";
    let mut watch = scene.watch(selected, version(&scene.get(selected).await)).await;
    let object = json!({"metadata": {"name": "test-configmap", "labels": {"test-configmap-static": "true"}}, "data": {"valueName": "value"}});
    scene.create("v1/configmaps", object).await;
    watch.until("ADDED", |_| true).await;
    // As Go marshals a ConfigMap of which labels and data are set.
    let patch = json!({"metadata": {"creationTimestamp": null, "labels": {"test-configmap": "patched"}}, "data": {"valueName": "value1"}});
    scene.strategic("v1/configmaps/test-configmap", patch).await;
    let seen = watch.until("MODIFIED", |_| true).await;
    assert_eq!(
        (&seen["data"]["valueName"], &seen["metadata"]["labels"]["test-configmap"]),
        (&json!("value1"), &json!("patched"))
    );
    assert!(seen["metadata"]["creationTimestamp"].is_string(), "{seen}");
    assert!(scene.items("/api/v1/configmaps?labelSelector=test-configmap-static%3Dtrue").await.len() == 1);
    scene.delete(selected, json!(null)).await;
    watch.until("DELETED", |_| true).await;
    assert!(scene.items(selected).await.is_empty());
}

async fn should_patch_a_secret(scene: Scene) {
    let object = json!({"metadata": {"name": "test-secret", "labels": {"testsecret-constant": "true"}}, "data": {"key": "dmFsdWU="}, "type": "Opaque"});
    scene.create("v1/secrets", object).await;
    let patch = json!({"metadata": {"labels": {"testsecret": "true"}}, "data": {"key": "dmFsdWUx"}});
    scene.strategic("v1/secrets/test-secret", patch).await;
    let found = scene.items("/api/v1/secrets?labelSelector=testsecret%3Dtrue").await;
    assert_eq!((found.len(), &found[0]["data"]["key"]), (1, &json!("dmFsdWUx")));
    scene.delete("v1/secrets?labelSelector=testsecret%3Dtrue", json!(null)).await;
    assert!(scene.items("/api/v1/secrets?labelSelector=testsecret-constant%3Dtrue").await.is_empty());
}

async fn downward_api_should_provide_everything_as_env_vars(scene: Scene) {
    let field = |name: &str, path: &str| json!({"name": name, "valueFrom": {"fieldRef": {"apiVersion": "v1", "fieldPath": path}}});
    let resource =
        |name: &str, resource: &str| json!({"name": name, "valueFrom": {"resourceFieldRef": {"resource": resource}}});
    let env = json!([
        field("POD_NAME", "metadata.name"),
        field("POD_NAMESPACE", "metadata.namespace"),
        field("POD_IP", "status.podIP"),
        field("POD_IPS", "status.podIPs"),
        field("HOST_IP", "status.hostIP"),
        field("POD_UID", "metadata.uid"),
        field("SA", "spec.serviceAccountName"),
        resource("CPU_LIMIT", "limits.cpu"),
        resource("MEMORY_LIMIT", "limits.memory"),
        resource("CPU_REQUEST", "requests.cpu"),
        resource("MEMORY_REQUEST", "requests.memory")
    ]);
    let resources =
        json!({"requests": {"cpu": "250m", "memory": "32Mi"}, "limits": {"cpu": "1250m", "memory": "64Mi"}});
    scene.create("v1/pods", pod("downward-api", REPORT, json!({"env": env, "resources": resources}), json!({}))).await;
    let done = scene.phase("downward-api", "Succeeded").await;
    let log = scene.text("v1/pods/downward-api/log").await;
    let text = |pointer: &str| done.pointer(pointer).and_then(Value::as_str).unwrap().to_owned();
    for line in [
        "env POD_NAME=downward-api".to_owned(),
        format!("env POD_NAMESPACE={}", scene.namespace),
        format!("env POD_IP={}", text("/status/podIP")),
        format!("env POD_IPS={}", text("/status/podIP")),
        format!("env HOST_IP={}", text("/status/hostIP")),
        format!("env POD_UID={}", text("/metadata/uid")),
        "env SA=default".into(),
        "env CPU_LIMIT=2".into(),
        "env MEMORY_LIMIT=67108864".into(),
        "env CPU_REQUEST=1".into(),
        "env MEMORY_REQUEST=33554432".into(),
    ] {
        assert!(log.lines().any(|l| l == line), "no {line} in {log}");
    }
}

async fn downward_api_should_provide_default_limits_from_node_allocatable(scene: Scene) {
    let resource =
        |name: &str, resource: &str| json!({"name": name, "valueFrom": {"resourceFieldRef": {"resource": resource}}});
    let env = json!([resource("CPU_LIMIT", "limits.cpu"), resource("MEMORY_LIMIT", "limits.memory")]);
    scene.create("v1/pods", pod("downward-api", REPORT, json!({"env": env}), json!({}))).await;
    scene.phase("downward-api", "Succeeded").await;
    let log = scene.text("v1/pods/downward-api/log").await;
    for name in ["CPU_LIMIT", "MEMORY_LIMIT"] {
        let value = log.lines().find_map(|l| l.strip_prefix(&format!("env {name}="))).unwrap_or_default();
        assert!(value.parse::<i64>().unwrap_or(0) > 0, "{name} in {log}");
    }
}

async fn variable_expansion_should_allow_composing_and_substituting(scene: Scene) {
    let env = json!([{"name": "FOO", "value": "foo-value"}, {"name": "BAR", "value": "bar-value"}, {"name": "FOOBAR", "value": "$(FOO);;$(BAR)"}]);
    let container = json!({"env": env, "command": ["$(FOO)"], "args": ["test-$(BAR)", "$$(FOO)", "$(NOBODY)"]});
    scene.create("v1/pods", pod("var-expansion", REPORT, container, json!({}))).await;
    scene.phase("var-expansion", "Succeeded").await;
    let log = scene.text("v1/pods/var-expansion/log").await;
    for line in [
        "env FOOBAR=foo-value;;bar-value",
        "arg 0: foo-value",
        "arg 1: test-bar-value",
        "arg 2: $(FOO)",
        "arg 3: $(NOBODY)",
    ] {
        assert!(log.lines().any(|l| l == line), "no {line} in {log}");
    }
}

async fn variable_expansion_should_fail_substituting_values_in_a_volume_subpath_with_backticks(scene: Scene) {
    for (name, value) in [("absolute", "/tmp"), ("backsteps", "../outside")] {
        let container = json!({"env": [{"name": "POD_NAME", "value": value}],
            "volumeMounts": [{"name": "w", "mountPath": "/w", "subPathExpr": "$(POD_NAME)"}]});
        scene
            .create("v1/pods", pod(name, REPORT, container, json!({"volumes": [{"name": "w", "emptyDir": {}}]})))
            .await;
        scene
            .until(&format!("v1/pods/{name}"), "is held", |p| {
                let waiting = &p["status"]["containerStatuses"][0]["state"]["waiting"];
                assert_ne!(p["status"]["phase"], "Succeeded");
                (waiting["reason"] == "CreateContainerConfigError").then_some(())
            })
            .await;
    }
}

async fn runtime_class_should_reject_a_pod_requesting_a_non_existent_or_deleted_one(scene: Scene) {
    let name = scene.unique("gone");
    let mut object = server("classless");
    object["spec"]["runtimeClassName"] = json!(name);
    let wanted = format!("pod rejected: RuntimeClass \"{name}\" not found");
    scene.refused("v1/pods", object.clone(), 403, &wanted).await;
    let classes = "/apis/node.k8s.io/v1/runtimeclasses";
    scene.create(classes, json!({"metadata": {"name": name}, "handler": "test-handler"})).await;
    scene.delete(&format!("{classes}/{name}"), json!(null)).await;
    scene.refused("v1/pods", object, 403, &wanted).await;
}

async fn runtime_class_should_schedule_a_pod_and_initialize_its_overhead(scene: Scene) {
    let name = scene.unique("class");
    let class = json!({"metadata": {"name": name}, "handler": "test-handler", "overhead": {"podFixed": {"cpu": "10m", "memory": "1Mi"}},
        "scheduling": {"nodeSelector": {"kubernetes.io/os": "wasi"}, "tolerations": [{"key": "foo", "operator": "Equal", "value": "bar", "effect": "NoSchedule"}]}});
    let node = scene.get("/api/v1/nodes/node-1").await;
    let class = merged(
        class,
        json!({"scheduling": {"nodeSelector": {"kubernetes.io/os": node["metadata"]["labels"]["kubernetes.io/os"]}}}),
    );
    scene.create("/apis/node.k8s.io/v1/runtimeclasses", class).await;
    let mut object = server("classy");
    object["spec"]["runtimeClassName"] = json!(name);
    let made = scene.create("v1/pods", object.clone()).await;
    assert_eq!(made["spec"]["overhead"], json!({"cpu": "10m", "memory": "1Mi"}));
    assert_eq!(made["spec"]["nodeSelector"]["kubernetes.io/os"], node["metadata"]["labels"]["kubernetes.io/os"]);
    assert!(made["spec"]["tolerations"].as_array().unwrap().iter().any(|t| t["key"] == "foo"), "{made}");
    scene.until("v1/pods/classy", "is scheduled", |p| has_condition(p, "PodScheduled", "True").then_some(())).await;
    object["metadata"]["name"] = json!("greedy");
    object["spec"]["overhead"] = json!({"cpu": "20m"});
    scene.refused("v1/pods", object.clone(), 403, "Pod's Overhead doesn't match RuntimeClass's defined Overhead").await;
    object["spec"]["runtimeClassName"] = json!(null);
    scene.refused("v1/pods", object, 403, "Pod Overhead set without corresponding RuntimeClass defined Overhead").await;
}

async fn should_run_through_the_lifecycle_of_a_node(scene: Scene) {
    let name = scene.unique("fake");
    let path = format!("/api/v1/nodes/{name}");
    let made = scene.create("/api/v1/nodes", json!({"metadata": {"name": name}, "status": {"phase": "Running"}})).await;
    assert_eq!(made["metadata"]["name"], name);
    assert_eq!(scene.get(&path).await["metadata"]["uid"], made["metadata"]["uid"]);
    let patched = scene.strategic(&path, json!({"metadata": {"labels": {name.as_str(): "patched"}}})).await;
    assert_eq!(patched["metadata"]["labels"][&name], "patched");
    assert_eq!(scene.items(&format!("/api/v1/nodes?labelSelector={name}%3Dpatched")).await.len(), 1);
    let updated = scene.update(&path, |n| n["metadata"]["labels"][&name] = json!("updated")).await;
    assert_eq!(updated["metadata"]["labels"][&name], "updated");
    scene.delete(&path, json!(null)).await;
    scene.gone(&path).await;
}
