//! [sig-node] Pods: test/e2e/common/node/pods.go, test/e2e/node/pods.go.

use super::apps_deployment::{HTTP, REPORT, template};
use super::scene::{Patch, Scene, condition, has_condition, merged, play, scenarios, version};
use serde_json::{Value, json};

#[tokio::test]
async fn pods() {
    play(scenarios![
        should_get_a_host_ip,
        should_be_submitted_and_removed,
        should_be_updated,
        should_allow_active_deadline_seconds_to_be_updated,
        should_contain_environment_variables_for_services,
        should_delete_a_collection_of_pods,
        should_patch_a_pod_status,
        should_run_through_the_lifecycle_of_pods_and_pod_status,
        should_support_pod_readiness_gates,
        pod_generation_should_start_at_1_and_increment_per_update,
        custom_set_generation_on_new_pods_and_graceful_delete,
        pod_observed_generation_field_set_in_pod_conditions,
        qos_class_should_be_set_on_pods,
        should_update_the_ephemeral_containers_in_an_existing_pod,
        pod_resources_should_change_through_the_resize_subresource_only,
        should_reject_invalid_sysctls,
    ])
    .await;
}

/// A pod of one container `c` that runs `image` and whose other fields are `container`'s.
pub fn pod(name: &str, image: &str, container: Value, spec: Value) -> Value {
    let base = json!({"name": "c", "image": image, "imagePullPolicy": "IfNotPresent"});
    let whole =
        json!({"restartPolicy": "Never", "terminationGracePeriodSeconds": 0, "containers": [merged(base, container)]});
    json!({"metadata": {"name": name, "labels": {"name": name}}, "spec": merged(whole, spec)})
}

pub fn server(name: &str) -> Value {
    let mut pod = template(&json!({"name": name}), HTTP);
    pod["metadata"]["name"] = json!(name);
    pod
}

async fn should_get_a_host_ip(scene: Scene) {
    scene.create("v1/pods", server("pod-hostip")).await;
    let status = scene.phase("pod-hostip", "Running").await["status"].clone();
    let ip: std::net::IpAddr = status["hostIP"].as_str().unwrap().parse().unwrap();
    assert_eq!(status["hostIPs"], json!([{"ip": ip.to_string()}]));
}

async fn should_be_submitted_and_removed(scene: Scene) {
    let selected = "v1/pods?labelSelector=time%3Dnow";
    let mut watch = scene.watch(selected, version(&scene.get(selected).await)).await;
    let mut object = server("pod-submit-remove");
    object["metadata"]["labels"] = json!({"name": "foo", "time": "now"});
    object["spec"]["terminationGracePeriodSeconds"] = json!(30);
    scene.create("v1/pods", object).await;
    watch.until("ADDED", |_| true).await;
    watch.until("MODIFIED", |p| p["status"]["phase"] == "Running").await;
    scene.delete("v1/pods/pod-submit-remove", json!({"gracePeriodSeconds": 30})).await;
    let gone = watch.until("DELETED", |_| true).await;
    assert!(gone["metadata"]["deletionTimestamp"].is_string(), "{gone}");
    assert!(gone["metadata"]["deletionGracePeriodSeconds"].is_i64(), "{gone}");
    assert!(scene.items(selected).await.is_empty());
}

async fn should_be_updated(scene: Scene) {
    scene.create("v1/pods", server("pod-update")).await;
    scene.ready("pod-update").await;
    scene.update("v1/pods/pod-update", |p| p["metadata"]["labels"]["time"] = json!("updated")).await;
    assert_eq!(scene.items("v1/pods?labelSelector=time%3Dupdated").await.len(), 1);
}

async fn should_allow_active_deadline_seconds_to_be_updated(scene: Scene) {
    scene.create("v1/pods", server("pod-deadline")).await;
    scene.ready("pod-deadline").await;
    scene.update("v1/pods/pod-deadline", |p| p["spec"]["activeDeadlineSeconds"] = json!(1)).await;
    let failed = scene.phase("pod-deadline", "Failed").await;
    assert_eq!(failed["status"]["reason"], "DeadlineExceeded");
    let longer = json!({"spec": {"activeDeadlineSeconds": 5}});
    let answer = scene.stage.patch(&scene.path("v1/pods/pod-deadline"), Patch::Merge, longer).await;
    answer.refused(422, "must be less than or equal to previous value");
}

async fn should_contain_environment_variables_for_services(scene: Scene) {
    let spec = json!({"ports": [{"port": 8765, "targetPort": 8080}], "selector": {"name": "serves"}});
    let made = scene.create("v1/services", json!({"metadata": {"name": "fooservice"}, "spec": spec})).await;
    scene.create("v1/pods", pod("client-envvars", REPORT, json!({}), json!({}))).await;
    scene.phase("client-envvars", "Succeeded").await;
    let log = scene.text("v1/pods/client-envvars/log").await;
    let ip = made["spec"]["clusterIP"].as_str().unwrap();
    for line in [
        format!("env FOOSERVICE_SERVICE_HOST={ip}"),
        "env FOOSERVICE_SERVICE_PORT=8765".into(),
        format!("env FOOSERVICE_PORT=tcp://{ip}:8765"),
        "env FOOSERVICE_PORT_8765_TCP_PORT=8765".into(),
        "env FOOSERVICE_PORT_8765_TCP_PROTO=tcp".into(),
        format!("env FOOSERVICE_PORT_8765_TCP=tcp://{ip}:8765"),
        format!("env FOOSERVICE_PORT_8765_TCP_ADDR={ip}"),
    ] {
        assert!(log.lines().any(|l| l == line), "no {line} in {log}");
    }
}

async fn should_delete_a_collection_of_pods(scene: Scene) {
    for at in 1..=3 {
        let mut object = server(&format!("test-pod-{at}"));
        object["metadata"]["labels"] = json!({"type": "Testing"});
        scene.create("v1/pods", object).await;
    }
    assert_eq!(scene.items("v1/pods?labelSelector=type%3DTesting").await.len(), 3);
    scene.delete("v1/pods?labelSelector=type%3DTesting", json!(null)).await;
    scene.until_count("v1/pods?labelSelector=type%3DTesting", 0).await;
}

async fn should_patch_a_pod_status(scene: Scene) {
    scene.create("v1/pods", server("pod-status")).await;
    scene.ready("pod-status").await;
    let before = scene.get("v1/pods/pod-status/status").await;
    assert_eq!(before["kind"], "Pod");
    let conditions =
        json!({"status": {"conditions": [{"type": "TestConditionType", "status": "True", "reason": "TestReason"}]}});
    let patched = scene.strategic("v1/pods/pod-status/status", conditions).await;
    assert_eq!(condition(&patched, "TestConditionType").unwrap()["reason"], "TestReason");
    assert!(has_condition(&patched, "Ready", "True"), "{patched}");
    // The node's next word leaves what others said.
    let message = json!({"status": {"message": "Patched by e2e test", "reason": "E2E"}});
    let patched = scene.merge("v1/pods/pod-status/status", message).await;
    assert_eq!(
        (&patched["status"]["message"], &patched["status"]["reason"]),
        (&json!("Patched by e2e test"), &json!("E2E"))
    );
}

async fn should_run_through_the_lifecycle_of_pods_and_pod_status(scene: Scene) {
    let selected = "v1/pods?labelSelector=test-pod-static%3Dtrue";
    let mut watch = scene.watch(selected, version(&scene.get(selected).await)).await;
    let mut object = server("pod-test");
    object["metadata"]["labels"] = json!({"test-pod-static": "true"});
    scene.create("v1/pods", object).await;
    watch.until("MODIFIED", |p| p["status"]["phase"] == "Running" && has_condition(p, "Ready", "True")).await;
    let patch = json!({"metadata": {"labels": {"test-pod": "patched"}},
        "spec": {"terminationGracePeriodSeconds": 0, "containers": [{"name": "web", "image": REPORT}]}});
    let patched = scene.strategic("v1/pods/pod-test", patch).await;
    assert_eq!(patched["spec"]["containers"][0]["image"], REPORT);
    watch.until("MODIFIED", |p| p["metadata"]["labels"]["test-pod"] == "patched").await;
    // Readiness by the status subresource, as a test framework that plays the node.
    let written = scene
        .update("v1/pods/pod-test/status", |p| {
            for c in p["status"]["conditions"].as_array_mut().unwrap() {
                if c["type"] == "Ready" || c["type"] == "ContainersReady" {
                    c["status"] = json!("False");
                }
            }
        })
        .await;
    assert!(has_condition(&written, "Ready", "False"));
    scene.delete(selected, json!({"gracePeriodSeconds": 1})).await;
    watch.until("DELETED", |_| true).await;
}

async fn should_support_pod_readiness_gates(scene: Scene) {
    let mut object = server("pod-ready");
    object["spec"]["readinessGates"] =
        json!([{"conditionType": "k8s.io/test-condition1"}, {"conditionType": "k8s.io/test-condition2"}]);
    scene.create("v1/pods", object).await;
    let held = scene
        .until("v1/pods/pod-ready", "containers ready", |p| {
            has_condition(p, "ContainersReady", "True").then(|| p.clone())
        })
        .await;
    assert!(has_condition(&held, "Ready", "False"), "{held}");
    let set = async |at: u32, status: &str| {
        let conditions =
            json!({"status": {"conditions": [{"type": format!("k8s.io/test-condition{at}"), "status": status}]}});
        scene.strategic("v1/pods/pod-ready/status", conditions).await;
    };
    set(1, "True").await;
    let one = scene.get("v1/pods/pod-ready").await;
    assert!(has_condition(&one, "Ready", "False"), "{one}");
    set(2, "True").await;
    scene.ready("pod-ready").await;
    set(1, "False").await;
    scene.until("v1/pods/pod-ready", "not Ready", |p| has_condition(p, "Ready", "False").then_some(())).await;
}

async fn pod_generation_should_start_at_1_and_increment_per_update(scene: Scene) {
    let made = scene.create("v1/pods", server("generation")).await;
    let generation = |p: &Value| p["metadata"]["generation"].as_i64();
    assert_eq!(generation(&made), Some(1));
    scene.ready("generation").await;
    let path = "v1/pods/generation";
    let changes: [(&str, Value, i64); 5] = [
        ("labels", json!({"metadata": {"labels": {"a": "b"}}}), 1),
        ("tolerations", json!({"spec": {"tolerations": [{"key": "x", "operator": "Exists"}]}}), 2),
        ("deadline", json!({"spec": {"activeDeadlineSeconds": 5000}}), 3),
        ("nothing", json!({"spec": {"activeDeadlineSeconds": 5000}}), 3),
        ("annotations", json!({"metadata": {"annotations": {"a": "b"}}}), 3),
    ];
    for (what, change, wanted) in changes {
        let change = if what == "tolerations" {
            let old = scene.get(path).await["spec"]["tolerations"].as_array().cloned().unwrap_or_default();
            let mut all = old;
            all.push(change["spec"]["tolerations"][0].clone());
            json!({"spec": {"tolerations": all}})
        } else {
            change
        };
        assert_eq!(generation(&scene.merge(path, change).await), Some(wanted), "{what}");
    }
    let debugger = json!({"spec": {"ephemeralContainers": [{"name": "debug", "image": REPORT, "imagePullPolicy": "IfNotPresent"}]}});
    let written = scene.strategic("v1/pods/generation/ephemeralcontainers", debugger).await;
    assert_eq!(generation(&written), Some(4), "{written}");
}

async fn custom_set_generation_on_new_pods_and_graceful_delete(scene: Scene) {
    let mut object = server("custom");
    object["metadata"]["generation"] = json!(100);
    object["metadata"]["finalizers"] = json!(["example.com/hold"]);
    assert_eq!(scene.create("v1/pods", object).await["metadata"]["generation"], 1);
    scene.ready("custom").await;
    let deleted = scene.delete("v1/pods/custom", json!({"gracePeriodSeconds": 5})).await;
    assert_eq!(deleted["metadata"]["generation"], 2, "{deleted}");
    scene.until("v1/pods/custom", "has ended", |p| (p["status"]["observedGeneration"] == 2).then_some(())).await;
    scene.merge("v1/pods/custom", json!({"metadata": {"finalizers": null}})).await;
    scene.gone("v1/pods/custom").await;
}

async fn pod_observed_generation_field_set_in_pod_conditions(scene: Scene) {
    scene.create("v1/pods", server("observed")).await;
    let pod = scene.ready("observed").await;
    for c in pod["status"]["conditions"].as_array().unwrap() {
        assert_eq!(c["observedGeneration"], 1, "{c}");
    }
    assert_eq!(pod["status"]["observedGeneration"], 1);
}

async fn qos_class_should_be_set_on_pods(scene: Scene) {
    let cases = [
        (
            "guaranteed",
            json!({"requests": {"cpu": "10m", "memory": "10Mi"}, "limits": {"cpu": "10m", "memory": "10Mi"}}),
            "Guaranteed",
        ),
        ("burstable", json!({"requests": {"cpu": "10m", "memory": "10Mi"}}), "Burstable"),
        ("besteffort", json!({}), "BestEffort"),
    ];
    for (name, resources, class) in cases {
        let object = pod(name, REPORT, json!({"resources": resources}), json!({}));
        assert_eq!(scene.create("v1/pods", object).await["status"]["qosClass"], class);
    }
}

async fn should_update_the_ephemeral_containers_in_an_existing_pod(scene: Scene) {
    scene.create("v1/pods", server("ephemeral")).await;
    scene.ready("ephemeral").await;
    let path = "v1/pods/ephemeral/ephemeralcontainers";
    let debugger = |name: &str| json!({"name": name, "image": REPORT, "imagePullPolicy": "IfNotPresent", "targetContainerName": "web"});
    let one = scene.strategic(path, json!({"spec": {"ephemeralContainers": [debugger("debugger1")]}})).await;
    assert_eq!(one["spec"]["ephemeralContainers"].as_array().unwrap().len(), 1);
    let two = scene
        .update(path, |p| p["spec"]["ephemeralContainers"].as_array_mut().unwrap().push(debugger("debugger2")))
        .await;
    assert_eq!(two["spec"]["ephemeralContainers"].as_array().unwrap().len(), 2);
    let removed = json!({"spec": {"ephemeralContainers": null}});
    scene.stage.patch(&scene.path(path), Patch::Merge, removed).await.refused(422, "existing ephemeral containers");
}

async fn pod_resources_should_change_through_the_resize_subresource_only(scene: Scene) {
    let resources = json!({"requests": {"cpu": "10m", "memory": "32Mi"}, "limits": {"cpu": "20m", "memory": "64Mi"}});
    let mut object = server("resized");
    object["spec"]["containers"][0]["resources"] = resources;
    scene.create("v1/pods", object).await;
    scene.ready("resized").await;
    let wanted = json!({"spec": {"containers": [{"name": "web", "resources": {"requests": {"cpu": "15m"}, "limits": {"cpu": "30m"}}}]}});
    let answer = scene.stage.patch(&scene.path("v1/pods/resized"), Patch::Strategic, wanted.clone()).await;
    answer.refused(422, "pod updates may not change fields other than");
}

async fn should_reject_invalid_sysctls(scene: Scene) {
    let sysctls = json!([{"name": "foo-", "value": "bar"}, {"name": "kernel.shmmax", "value": "100000000"}, {"name": "bar..", "value": "42"}]);
    let mut object = server("sysctl");
    object["spec"]["securityContext"] = json!({"sysctls": sysctls});
    let status = scene.refused("v1/pods", object, 422, "Invalid value: \"foo-\"").await;
    let message = status["message"].as_str().unwrap();
    assert!(message.contains("Invalid value: \"bar..\"") && !message.contains("kernel.shmmax"), "{message}");
}
