//! Configuration reaching containers: environment and mounts, missing at first and changing later.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::Harness;
use super::harness::container;

const SLEEPER: &str = include_str!("../../../../guests/wat/sleeper.wat");
const REPORT: &[u8] = include_bytes!("../../../../guests/prebuilt/cli-report.wasm");
const HELLO_HTTP: &[u8] = include_bytes!("../../../../guests/prebuilt/hello-http.wasm");
const CONFIG_MAPS: &str = "/api/v1/configmaps";

fn config_map(name: &str, data: &Value) -> Value {
    json!({"kind": "ConfigMap", "apiVersion": "v1", "metadata": {"name": name, "namespace": "default"}, "data": data})
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_missing_config_map_is_waited_for() {
    let h = Harness::start().await;
    h.image("sleeper:1", SLEEPER);
    let c = json!({"name": "c", "image": "sleeper:1", "envFrom": [{"configMapRef": {"name": "settings"}}]});
    h.pod("env", json!({"containers": [c]}));
    let pod = h.until_waiting("env", "CreateContainerConfigError").await;
    assert_eq!(container(&pod)["state"]["waiting"]["message"], "configmap \"settings\" not found");
    let c = json!({"name": "c", "image": "sleeper:1", "volumeMounts": [{"name": "v", "mountPath": "/v"}]});
    let volume = json!({"name": "v", "configMap": {"name": "settings"}});
    h.pod("mount", json!({"containers": [c], "volumes": [volume]}));
    let event = h.until_event("FailedMount").await;
    assert_eq!(event["message"], "MountVolume.SetUp failed for volume \"v\" : configmap \"settings\" not found");
    h.until_waiting("mount", "ContainerCreating").await;
    h.api.create(CONFIG_MAPS, config_map("settings", &json!({"A": "1"})));
    h.until_phase("env", "Running").await;
    h.until_phase("mount", "Running").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_changed_config_map_reaches_the_mount() {
    let h = Harness::start().await;
    h.image("sleeper:1", SLEEPER);
    h.api.create(CONFIG_MAPS, config_map("settings", &json!({"key": "old"})));
    let c = json!({"name": "c", "image": "sleeper:1", "volumeMounts": [{"name": "v", "mountPath": "/v"}]});
    h.pod("p", json!({"containers": [c], "volumes": [{"name": "v", "configMap": {"name": "settings"}}]}));
    let pod = h.until_phase("p", "Running").await;
    let uid = pod["metadata"]["uid"].as_str().unwrap();
    let volumes = h.dir.path().join("agent/volumes").join(uid);
    let file = volumes.join("v/key");
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "old");
    let mode = std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(&volumes).unwrap().permissions());
    assert_eq!(mode & 0o777, 0o700, "what may be a Secret is this user's alone");
    h.api.patch(CONFIG_MAPS, "default", "settings", &json!({"data": {"key": "new"}}));
    until(&file, |text| text == "new").await;
    h.api.delete("default", "p", 30);
    h.until_gone("p").await;
    assert!(!volumes.exists());
}

/// Waits for a file's content; there is no signal for it, so this looks again and again.
async fn until(file: &Path, check: impl Fn(&str) -> bool) {
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(120);
    while !std::fs::read_to_string(file).is_ok_and(|text| check(&text)) {
        assert!(std::time::Instant::now() < deadline, "{} did not change", file.display());
        tokio::task::yield_now().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_guest_sees_its_environment_and_files() {
    let h = Harness::start().await;
    h.image_bytes("report:1", REPORT);
    h.api.create(CONFIG_MAPS, config_map("settings", &json!({"greeting": "hello from a file"})));
    let c = json!({
        "name": "c", "image": "report:1", "args": ["--file", "/config", "$(POD)"],
        "env": [
            {"name": "POD", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
            {"name": "IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}}],
        "volumeMounts": [{"name": "v", "mountPath": "/config"}, {"name": "scratch", "mountPath": "/scratch"}]
    });
    let volumes = json!([{"name": "v", "configMap": {"name": "settings"}}, {"name": "scratch", "emptyDir": {}}]);
    h.pod("report", json!({"restartPolicy": "Never", "containers": [c], "volumes": volumes}));
    let pod =
        h.until("report", "over", |pod| matches!(pod["status"]["phase"].as_str(), Some("Succeeded" | "Failed"))).await;
    let (_, log) = h.logs("report", "c", "").await;
    assert_eq!(pod["status"]["phase"], "Succeeded", "{log}");
    for expected in ["report", "POD", "hello from a file", pod["status"]["podIP"].as_str().unwrap()] {
        assert!(log.contains(expected), "{expected} is not in:\n{log}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pod_asks_for_its_token_once_and_its_files_wait_for_a_look() {
    let h = Harness::start().await;
    h.image("sleeper:1", SLEEPER);
    h.image_bytes("http:1", HELLO_HTTP);
    let volume = json!({"name": "v", "projected": {"sources": [
        {"serviceAccountToken": {"path": "token"}},
        {"downwardAPI": {"items": [{"path": "labels", "fieldRef": {"fieldPath": "metadata.labels"}}]}}]}});
    let start = async |name: &str, image: &str| {
        let c = json!({"name": "c", "image": image, "volumeMounts": [{"name": "v", "mountPath": "/v"}]});
        h.pod(name, json!({"containers": [c], "volumes": [volume]}));
        let pod = h.until_phase(name, "Running").await;
        h.dir.path().join("agent/volumes").join(pod["metadata"]["uid"].as_str().unwrap())
    };
    // A preview-1 guest looks at start. Neither the pod's own status nor a new label is worth another token.
    let looked = start("looks", "sleeper:1").await.join("v");
    assert_eq!(std::fs::read_to_string(looked.join("token")).unwrap(), "token of default");
    h.api.patch("/api/v1/pods", "default", "looks", &json!({"metadata": {"labels": {"app": "new"}}}));
    until(&looked.join("labels"), |text| text == "app=\"new\"").await;
    assert_eq!(h.api.requests("POST /api/v1/namespaces/default/serviceaccounts/default/token"), 1);
    // A component that looks at nothing has its token all the same, but not on disk.
    let unseen = start("blind", "http:1").await;
    assert_eq!(h.api.requests("POST /api/v1/namespaces/default/serviceaccounts/default/token"), 2);
    assert!(!unseen.exists());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn orphaned_directories_go_at_start() {
    let mut h = Harness::start().await;
    let orphans: Vec<PathBuf> =
        ["pods/default_x_uid-x", "volumes/uid-x"].iter().map(|p| h.dir.path().join("agent").join(p)).collect();
    for dir in &orphans {
        std::fs::create_dir_all(dir).unwrap();
    }
    h.restart().await;
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(120);
    while orphans.iter().any(|dir| dir.exists()) {
        assert!(std::time::Instant::now() < deadline, "orphans stay");
        tokio::task::yield_now().await;
    }
}
