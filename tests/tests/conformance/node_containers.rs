//! [sig-node] Init containers, hooks, probes and how containers end:
//! test/e2e/common/node/{init_container,lifecycle_hook,container_probe,runtime,kubelet,containers}.go.

use super::apps_deployment::REPORT;
use super::node::{pod, server};
use super::scene::{Scene, condition, has_condition, merged, play, scenarios};
use serde_json::{Value, json};
use tests::binary;

#[tokio::test]
async fn containers() {
    play(scenarios![
        should_invoke_init_containers_on_a_restart_never_pod,
        should_invoke_init_containers_on_a_restart_always_pod,
        should_not_start_app_containers_if_init_containers_fail_on_a_restart_always_pod,
        should_not_start_app_containers_and_fail_the_pod_if_init_containers_fail_on_a_restart_never_pod,
        should_run_with_the_expected_status,
        should_report_termination_message_from_log_output_if_fallback_to_logs_on_error_is_set,
        should_report_termination_message_as_empty_when_pod_succeeds,
        should_be_able_to_override_the_images_default_command_and_arguments,
        should_have_a_terminated_reason,
        should_be_possible_to_delete_a_command_that_always_fails,
        should_execute_poststart_and_prestop_http_hooks,
        should_be_restarted_with_a_healthz_http_liveness_probe,
        should_not_be_restarted_with_a_healthz_http_liveness_probe,
        with_readiness_probe_that_fails_should_never_be_ready_and_never_restart,
        with_readiness_probe_should_not_be_ready_before_initial_delay,
        should_be_ready_only_after_the_startup_probe_succeeded,
    ])
    .await;
}

async fn should_invoke_init_containers_on_a_restart_never_pod(scene: Scene) {
    let init = |name: &str| json!({"name": name, "image": REPORT, "imagePullPolicy": "IfNotPresent"});
    scene
        .create(
            "v1/pods",
            pod("pod-init", REPORT, json!({}), json!({"initContainers": [init("init1"), init("init2")]})),
        )
        .await;
    let done = scene.phase("pod-init", "Succeeded").await;
    assert!(has_condition(&done, "Initialized", "True"), "{done}");
    let inits = done["status"]["initContainerStatuses"].as_array().unwrap();
    assert!(
        inits.len() == 2 && inits.iter().all(|c| c["ready"] == true && c["state"]["terminated"]["exitCode"] == 0),
        "{done}"
    );
}

async fn should_invoke_init_containers_on_a_restart_always_pod(scene: Scene) {
    let init = |name: &str| json!({"name": name, "image": REPORT, "imagePullPolicy": "IfNotPresent"});
    let mut object = server("pod-init");
    object["spec"]["initContainers"] = json!([init("init1"), init("init2")]);
    scene.create("v1/pods", object).await;
    let running = scene.phase("pod-init", "Running").await;
    assert!(has_condition(&running, "Initialized", "True"), "{running}");
    assert_eq!(running["status"]["initContainerStatuses"].as_array().unwrap().len(), 2);
}

async fn should_not_start_app_containers_if_init_containers_fail_on_a_restart_always_pod(scene: Scene) {
    let init = |name: &str, code: &str| json!({"name": name, "image": REPORT, "imagePullPolicy": "IfNotPresent", "args": ["--exit", code]});
    let mut object = server("pod-init");
    object["spec"]["initContainers"] = json!([init("init1", "1"), init("init2", "0")]);
    scene.create("v1/pods", object).await;
    let held = scene
        .until("v1/pods/pod-init", "init1 was tried again", |p| {
            (p["status"]["initContainerStatuses"][0]["restartCount"].as_i64()? >= 1).then(|| p.clone())
        })
        .await;
    assert_eq!(held["status"]["phase"], "Pending");
    let initialized = condition(&held, "Initialized").unwrap();
    assert_eq!((&initialized["status"], &initialized["reason"]), (&json!("False"), &json!("ContainersNotInitialized")));
    assert_eq!(initialized["message"], "containers with incomplete status: [init1 init2]");
    let app = &held["status"]["containerStatuses"][0];
    assert!(app["state"]["waiting"].is_object() && app["restartCount"] == 0, "{app}");
}

async fn should_not_start_app_containers_and_fail_the_pod_if_init_containers_fail_on_a_restart_never_pod(scene: Scene) {
    let init = |name: &str, code: &str| json!({"name": name, "image": REPORT, "imagePullPolicy": "IfNotPresent", "args": ["--exit", code]});
    scene
        .create(
            "v1/pods",
            pod("pod-init", REPORT, json!({}), json!({"initContainers": [init("init1", "0"), init("init2", "1")]})),
        )
        .await;
    let failed = scene.phase("pod-init", "Failed").await;
    let initialized = condition(&failed, "Initialized").unwrap();
    assert_eq!((&initialized["status"], &initialized["reason"]), (&json!("False"), &json!("ContainersNotInitialized")));
    assert_eq!(initialized["message"], "containers with incomplete status: [init2]");
    assert!(failed["status"]["containerStatuses"][0]["state"]["waiting"].is_object(), "{failed}");
}

async fn should_run_with_the_expected_status(scene: Scene) {
    let module = binary::wat(scene.stage.cluster.scratch(), "fail-once");
    let image = format!("file://{}", module.display());
    let container = json!({"volumeMounts": [{"name": "data", "mountPath": "/data"}]});
    for (policy, phase, restarts) in [("Always", "Running", 2), ("OnFailure", "Succeeded", 1), ("Never", "Failed", 0)] {
        let name = format!("terminate-cmd-{}", policy.to_lowercase());
        let spec = json!({"restartPolicy": policy, "volumes": [{"name": "data", "emptyDir": {}}]});
        scene.create("v1/pods", pod(&name, &image, container.clone(), spec)).await;
        scene
            .until(&format!("v1/pods/{name}"), &format!("{phase} after {restarts}"), |p| {
                let count = p["status"]["containerStatuses"][0]["restartCount"].as_i64()?;
                let there = p["status"]["phase"] == phase;
                (there && if policy == "Always" { count >= 1 } else { count == restarts }).then_some(())
            })
            .await;
    }
}

async fn should_report_termination_message_from_log_output_if_fallback_to_logs_on_error_is_set(scene: Scene) {
    let container =
        json!({"args": ["--stderr", "DONE", "--exit", "1"], "terminationMessagePolicy": "FallbackToLogsOnError"});
    scene.create("v1/pods", pod("termination-message", REPORT, container, json!({}))).await;
    let failed = scene.phase("termination-message", "Failed").await;
    let message = &failed["status"]["containerStatuses"][0]["state"]["terminated"]["message"];
    assert!(message.as_str().unwrap().trim_end().ends_with("DONE"), "{message}");
}

async fn should_report_termination_message_as_empty_when_pod_succeeds(scene: Scene) {
    let container = json!({"args": ["--stderr", "DONE"], "terminationMessagePolicy": "FallbackToLogsOnError"});
    scene.create("v1/pods", pod("termination-message", REPORT, container, json!({}))).await;
    let done = scene.phase("termination-message", "Succeeded").await;
    let end = &done["status"]["containerStatuses"][0]["state"]["terminated"];
    assert!(end["message"].is_null() && end["reason"] == "Completed", "{end}");
}

async fn should_be_able_to_override_the_images_default_command_and_arguments(scene: Scene) {
    let container = json!({"command": ["my-command"], "args": ["override", "arguments"]});
    scene.create("v1/pods", pod("client-containers", REPORT, container, json!({}))).await;
    scene.phase("client-containers", "Succeeded").await;
    let log = scene.text("v1/pods/client-containers/log").await;
    for line in ["arg 0: my-command", "arg 1: override", "arg 2: arguments"] {
        assert!(log.lines().any(|l| l == line), "no {line} in {log}");
    }
}

async fn should_have_a_terminated_reason(scene: Scene) {
    scene.create("v1/pods", pod("bin-false", REPORT, json!({"args": ["--exit", "1"]}), json!({}))).await;
    let failed = scene.phase("bin-false", "Failed").await;
    let statuses = failed["status"]["containerStatuses"].as_array().unwrap();
    assert_eq!(statuses.len(), 1);
    let end = &statuses[0]["state"]["terminated"];
    assert_eq!((&end["exitCode"], &end["reason"]), (&json!(1), &json!("Error")));
    assert!(end["containerID"].is_string() && end["startedAt"].is_string() && end["finishedAt"].is_string(), "{end}");
}

async fn should_be_possible_to_delete_a_command_that_always_fails(scene: Scene) {
    let object = pod("bin-false", REPORT, json!({"args": ["--exit", "1"]}), json!({"restartPolicy": "Always"}));
    scene.create("v1/pods", object).await;
    scene
        .until("v1/pods/bin-false", "was restarted", |p| {
            (p["status"]["containerStatuses"][0]["restartCount"].as_i64()? > 0).then_some(())
        })
        .await;
    scene.delete("v1/pods/bin-false", json!(null)).await;
    scene.gone("v1/pods/bin-false").await;
}

async fn should_execute_poststart_and_prestop_http_hooks(scene: Scene) {
    scene.create("v1/pods", server("pod-handle-http-request")).await;
    let handler = scene.ready("pod-handle-http-request").await;
    let ip = handler["status"]["podIP"].as_str().unwrap();
    let hook = |path: &str| json!({"httpGet": {"host": ip, "port": 8080, "path": path}});
    let mut object = server("pod-with-http-hooks");
    object["spec"]["containers"][0]["lifecycle"] =
        json!({"postStart": hook("/post-start"), "preStop": hook("/pre-stop")});
    object["spec"]["terminationGracePeriodSeconds"] = json!(10);
    scene.create("v1/pods", object).await;
    scene.ready("pod-with-http-hooks").await;
    let heard = async |path: &str| {
        tests::eventually(&format!("{path} was asked for"), tests::rest::LIMIT, || async {
            let log = scene.text("v1/pods/pod-handle-http-request/log").await;
            if log.contains(path) { Ok(()) } else { Err(log) }
        })
        .await;
    };
    heard("/post-start").await;
    scene.delete("v1/pods/pod-with-http-hooks", json!(null)).await;
    scene.gone("v1/pods/pod-with-http-hooks").await;
    heard("/pre-stop").await;
}

fn probe(path: &str, port: u16) -> Value {
    json!({"httpGet": {"path": path, "port": port}, "periodSeconds": 1, "failureThreshold": 1, "timeoutSeconds": 5})
}

async fn should_be_restarted_with_a_healthz_http_liveness_probe(scene: Scene) {
    let mut object = server("liveness-http");
    object["spec"]["containers"][0]["livenessProbe"] = probe("/healthz", 9);
    scene.create("v1/pods", object).await;
    scene
        .until("v1/pods/liveness-http", "was restarted", |p| {
            (p["status"]["containerStatuses"][0]["restartCount"].as_i64()? > 0).then_some(())
        })
        .await;
    let killing = scene.event("liveness-http", "Killing").await;
    assert!(killing.contains("failed liveness probe, will be restarted"), "{killing}");
    assert!(scene.event("liveness-http", "Unhealthy").await.contains("Liveness probe failed"));
}

async fn should_not_be_restarted_with_a_healthz_http_liveness_probe(scene: Scene) {
    let mut object = server("liveness-http");
    object["spec"]["containers"][0]["livenessProbe"] = probe("/healthz", 8080);
    object["spec"]["containers"][0]["readinessProbe"] = merged(probe("/healthz", 8080), json!({"successThreshold": 3}));
    scene.create("v1/pods", object).await;
    // Three good answers later it still is the first.
    let pod = scene.ready("liveness-http").await;
    assert_eq!(pod["status"]["containerStatuses"][0]["restartCount"], 0);
}

async fn with_readiness_probe_that_fails_should_never_be_ready_and_never_restart(scene: Scene) {
    let mut object = server("never-ready");
    object["spec"]["containers"][0]["readinessProbe"] = probe("/", 9);
    scene.create("v1/pods", object).await;
    assert!(scene.event("never-ready", "Unhealthy").await.contains("Readiness probe failed"));
    let pod = scene.get("v1/pods/never-ready").await;
    let ready = condition(&pod, "Ready").unwrap();
    assert_eq!((&ready["status"], &ready["reason"]), (&json!("False"), &json!("ContainersNotReady")));
    assert_eq!(ready["message"], "containers with unready status: [web]");
    assert_eq!(pod["status"]["containerStatuses"][0]["restartCount"], 0);
}

async fn with_readiness_probe_should_not_be_ready_before_initial_delay(scene: Scene) {
    let mut object = server("delayed");
    object["spec"]["containers"][0]["readinessProbe"] = merged(probe("/", 8080), json!({"initialDelaySeconds": 2}));
    scene.create("v1/pods", object).await;
    let pod = scene.ready("delayed").await;
    let at = |value: &Value| value.as_str().unwrap()[..19].to_owned();
    let (started, ready) =
        (&pod["status"]["containerStatuses"][0]["state"]["running"]["startedAt"], condition(&pod, "Ready").unwrap());
    let seconds = |text: String| text[17..19].parse::<i64>().unwrap() + 60 * text[14..16].parse::<i64>().unwrap();
    let waited = (seconds(at(&ready["lastTransitionTime"])) - seconds(at(started))).rem_euclid(3600);
    assert!(waited >= 1, "ready {waited} s after the start");
    assert_eq!(pod["status"]["containerStatuses"][0]["restartCount"], 0);
}

async fn should_be_ready_only_after_the_startup_probe_succeeded(scene: Scene) {
    let mut object = server("startup");
    object["spec"]["containers"][0]["startupProbe"] = merged(probe("/", 9), json!({"failureThreshold": 60}));
    object["spec"]["containers"][0]["readinessProbe"] = probe("/", 8080);
    scene.create("v1/pods", object).await;
    assert!(scene.event("startup", "Unhealthy").await.contains("Startup probe failed"));
    let status = scene.get("v1/pods/startup").await["status"]["containerStatuses"][0].clone();
    assert_eq!((&status["started"], &status["ready"]), (&json!(false), &json!(false)));
}
