//! What a container is given: environment, files, the pod's own facts, and what went before it.

use serde_json::{Value, json};
use tests::rest::{self, LIMIT, Rest};
use tests::{Cluster, eventually};

const REPORT: &str = "skiff.dev/examples/cli-report:v1";

#[track_caller]
fn assert_lines(log: &str, lines: &[&str]) {
    for line in lines {
        assert!(log.lines().any(|l| l == *line), "no line {line:?} in:\n{log}");
    }
}

async fn config(rest: &Rest) {
    rest.create(json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "settings"},
        "data": {"color": "blue", "size": "7"}, "binaryData": {"raw": "cmF3"}}))
        .await;
    rest.create(json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "login"},
        "data": {"user": "YWRh"}, "stringData": {"password": "xyzzy"}}))
        .await;
}

#[tokio::test]
async fn the_environment_comes_from_everywhere() {
    let cluster = Cluster::up().await;
    let rest = Rest::of(&cluster).await;
    config(&rest).await;
    rest.create(json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "back-end"},
        "spec": {"selector": {"app": "none"}, "ports": [{"port": 81}]}}))
        .await;
    let field = |name: &str, path: &str| json!({"name": name, "valueFrom": {"fieldRef": {"fieldPath": path}}});
    let resource =
        |name: &str, what: &str| json!({"name": name, "valueFrom": {"resourceFieldRef": {"resource": what}}});
    let env = json!([
        {"name": "PLAIN", "value": "one"},
        {"name": "EXPANDED", "value": "$(PLAIN) $$(PLAIN) $(NOBODY)"},
        {"name": "COLOR", "valueFrom": {"configMapKeyRef": {"name": "settings", "key": "color"}}},
        {"name": "PASSWORD", "valueFrom": {"secretKeyRef": {"name": "login", "key": "password"}}},
        {"name": "OPTIONAL", "valueFrom": {"configMapKeyRef": {"name": "settings", "key": "no", "optional": true}}},
        field("POD", "metadata.name"), field("APP", "metadata.labels['app']"), field("IP", "status.podIP"),
        field("NODE", "spec.nodeName"),
        resource("MEMORY", "limits.memory"), resource("CPU", "requests.cpu"),
    ]);
    let container = json!({
        "args": ["first", "$(PLAIN)"], "env": env,
        "envFrom": [{"prefix": "S_", "configMapRef": {"name": "settings"}}, {"secretRef": {"name": "login"}}],
        "resources": {"limits": {"memory": "48Mi"}, "requests": {"cpu": "50m"}},
    });
    rest.create(rest::pod("env", REPORT, container, json!({}))).await;
    let pod = rest.phase("env", "Succeeded").await;
    let log = rest.log("env").await;
    let ip = format!("env IP={}", pod["status"]["podIP"].as_str().unwrap());
    let node = format!("env NODE={}", pod["spec"]["nodeName"].as_str().unwrap());
    assert_lines(&log, &["arg 1: first", "arg 2: one", "env PLAIN=one", "env EXPANDED=one $(PLAIN) $(NOBODY)"]);
    assert_lines(&log, &["env COLOR=blue", "env PASSWORD=xyzzy", "env S_color=blue", "env S_size=7", "env user=ada"]);
    assert_lines(&log, &["env POD=env", "env APP=env", "env MEMORY=50331648", "env CPU=1"]);
    assert_lines(&log, &[&ip, &node, "env HOSTNAME=env", "env BACK_END_SERVICE_PORT=81"]);
    assert!(!log.contains("env OPTIONAL"), "{log}");
}

fn volumes() -> Value {
    json!([
        {"name": "settings", "configMap": {"name": "settings", "items": [{"key": "color", "path": "deep/paint"}]}},
        {"name": "login", "secret": {"secretName": "login", "defaultMode": 256}},
        {"name": "scratch", "emptyDir": {}},
        {"name": "facts", "downwardAPI": {"items": [
            {"path": "labels", "fieldRef": {"fieldPath": "metadata.labels"}},
            {"path": "memory", "resourceFieldRef": {"containerName": "main", "resource": "limits.memory", "divisor": "1Mi"}},
        ]}},
        {"name": "all", "projected": {"sources": [
            {"configMap": {"name": "settings"}},
            {"secret": {"name": "login", "items": [{"key": "user", "path": "who"}]}},
            {"downwardAPI": {"items": [{"path": "name", "fieldRef": {"fieldPath": "metadata.name"}}]}},
        ]}},
    ])
}

#[tokio::test]
async fn volumes_show_what_they_should() {
    let cluster = Cluster::up().await;
    let rest = Rest::of(&cluster).await;
    config(&rest).await;
    let mounts = ["settings", "login", "scratch", "facts", "all"];
    let mut mounts: Vec<Value> =
        mounts.iter().map(|name| json!({"name": name, "mountPath": format!("/mnt/{name}")})).collect();
    mounts.push(json!({"name": "all", "mountPath": "/one-file", "subPath": "size"}));
    let container = json!({
        "args": ["--file", "/mnt/settings/deep", "--file", "/mnt/login", "--file", "/mnt/scratch",
                 "--file", "/mnt/facts", "--file", "/mnt/all", "--file", "/one-file"],
        "volumeMounts": mounts, "resources": {"limits": {"memory": "48Mi"}},
    });
    rest.create(rest::pod("files", REPORT, container, json!({"volumes": volumes()}))).await;
    let pod = rest.until("pods/files", "ended", |pod| {
        let phase = pod["status"]["phase"].as_str()?;
        matches!(phase, "Succeeded" | "Failed").then(|| pod.clone())
    });
    let pod = pod.await;
    let log = rest.log("files").await;
    assert_eq!(pod["status"]["phase"], "Succeeded", "{log}");
    assert_lines(&log, &["file /mnt/settings/deep/paint: blue"]);
    assert_lines(&log, &["file /mnt/login/password: xyzzy", "file /mnt/login/user: ada"]);
    assert_lines(&log, &["file /mnt/facts/labels: app=\"files\"", "file /mnt/facts/memory: 48"]);
    assert_lines(&log, &["file /mnt/all/color: blue", "file /mnt/all/size: 7", "file /mnt/all/raw: raw"]);
    assert_lines(&log, &["file /mnt/all/who: ada", "file /mnt/all/name: files", "file /one-file: 7"]);
    assert!(!log.contains("file /mnt/scratch"), "{log}");
}

/// Ends with 2 until the ConfigMap's new key is there, so each restart looks at the mount anew.
#[tokio::test]
async fn a_changed_config_map_reaches_the_mount() {
    let cluster = Cluster::up().await;
    let rest = Rest::of(&cluster).await;
    config(&rest).await;
    let container = json!({
        "args": ["--sleep", "400", "--file", "/etc/settings/color"],
        "volumeMounts": [{"name": "settings", "mountPath": "/etc/settings"}],
    });
    let spec = json!({"restartPolicy": "Always", "volumes": [{"name": "settings", "configMap": {"name": "settings"}}]});
    rest.create(rest::pod("watching", REPORT, container, spec)).await;
    let started = |pod: &Value| pod["status"]["containerStatuses"][0]["state"]["running"].is_object().then_some(());
    rest.until("pods/watching", "runs", started).await;
    rest.patch("configmaps/settings", json!({"data": {"color": "green"}})).await;
    eventually("a run sees the new value", LIMIT, || async {
        let log = rest.text("pods/watching/log").await.map_err(|e| e.to_string())?;
        if log.contains("file /etc/settings/color: green") { Ok(()) } else { Err(log) }
    })
    .await;
}

#[tokio::test]
async fn init_containers_run_one_after_the_other() {
    let cluster = Cluster::up().await;
    let rest = Rest::of(&cluster).await;
    let init = |name: &str, exit: &str| json!({"name": name, "image": REPORT, "imagePullPolicy": "Never", "args": ["--sleep", "20", "--exit", exit]});
    let spec = json!({"initContainers": [init("one", "0"), init("two", "0")]});
    rest.create(rest::pod("steps", REPORT, json!({}), spec)).await;
    let pod = rest.phase("steps", "Succeeded").await;
    let time = |list: &str, index: usize, field: &str| {
        let state = &pod["status"][list][index]["state"]["terminated"];
        assert_eq!(state["reason"], "Completed", "{pod}");
        state[field].as_str().unwrap().to_owned()
    };
    assert!(time("initContainerStatuses", 0, "finishedAt") <= time("initContainerStatuses", 1, "startedAt"));
    assert!(time("initContainerStatuses", 1, "finishedAt") <= time("containerStatuses", 0, "startedAt"));
    assert!(rest::has_condition(&pod, "Initialized", "True"), "{pod}");

    // One that fails for good ends the pod, and nothing after it has ever run.
    let spec = json!({"initContainers": [init("one", "3"), init("two", "0")]});
    rest.create(rest::pod("stuck", REPORT, json!({}), spec)).await;
    let pod = rest.phase("stuck", "Failed").await;
    assert_eq!(pod["status"]["initContainerStatuses"][0]["state"]["terminated"]["exitCode"], 3, "{pod}");
    for status in [&pod["status"]["initContainerStatuses"][1], &pod["status"]["containerStatuses"][0]] {
        assert!(status["state"]["terminated"]["startedAt"].is_null(), "{pod}");
        assert_eq!(status["restartCount"], 0);
    }
}

#[tokio::test]
async fn restart_policies_decide_what_follows_an_exit() {
    let cluster = Cluster::up().await;
    let rest = Rest::of(&cluster).await;
    for (name, exit, policy) in [("good", "0", "OnFailure"), ("bad", "3", "OnFailure"), ("always", "0", "Always")] {
        let spec = json!({"restartPolicy": policy});
        rest.create(rest::pod(name, REPORT, json!({"args": ["--exit", exit]}), spec)).await;
    }
    assert_eq!(rest.phase("good", "Succeeded").await["status"]["containerStatuses"][0]["restartCount"], 0);
    for (name, code) in [("bad", 3), ("always", 0)] {
        let path = format!("pods/{name}");
        let status = rest.until(&path, "restarted", |pod| {
            let status = &pod["status"]["containerStatuses"][0];
            (status["restartCount"].as_i64()? >= 1).then(|| status.clone())
        });
        assert_eq!(status.await["lastState"]["terminated"]["exitCode"], code);
    }
    let waiting = rest.until("pods/bad", "backs off", |pod| {
        let waiting = &pod["status"]["containerStatuses"][0]["state"]["waiting"];
        (waiting["reason"] == "CrashLoopBackOff").then(|| waiting["message"].clone())
    });
    assert!(
        waiting.await.as_str().unwrap().starts_with("back-off 10s restarting failed container=main pod=bad_default(")
    );
    assert_eq!(rest.get("pods/bad").await["status"]["phase"], "Running");
}
