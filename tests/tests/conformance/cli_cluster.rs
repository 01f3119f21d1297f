//! [sig-cli], its scenarios of the cluster rather than of single objects (test/e2e/kubectl/{kubectl,logs,events}.go, test/cmd).

use super::cli::{deployment, fails, holds, pipe, run, words};
use super::stage::{Scenario, Scene, play, scenarios};
use serde_json::{Value, json};
use std::process::Stdio;
use tests::cluster::Options;
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};

#[tokio::test]
async fn kubectl_and_the_cluster() {
    let all: &[Scenario] = scenarios![
        should_support_proxy_with_port_0,
        should_support_unix_socket,
        should_update_the_taint_on_a_node,
        should_remove_all_the_taints_with_the_same_key_off_a_node,
        should_create_a_quota_without_scopes_with_scopes_and_reject_invalid_scopes,
        should_support_port_less_events_and_wait,
        should_apply_prune_and_rollout,
        should_fail_top_clearly,
        should_get_componentstatuses,
        should_be_able_to_retrieve_and_filter_logs,
    ];
    play(Options::default(), all).await;
}

/// `kubectl proxy` until it says where it is.
async fn proxy(scene: &Scene, args: &[&str]) -> (tokio::process::Child, String) {
    let mut command = tests::kubectl::command(&scene.cluster, &["proxy"]);
    let mut child = command.args(args).stdout(Stdio::piped()).spawn().expect("kubectl runs");
    let mut lines = BufReader::new(child.stdout.take().expect("piped")).lines();
    let line = lines.next_line().await.unwrap().expect("it says where it serves");
    (child, line.strip_prefix("Starting to serve on ").expect("an address").to_owned())
}

async fn should_support_proxy_with_port_0(scene: Scene) {
    let (mut child, address) = proxy(&scene, &["--port=0"]).await;
    let (code, body) = tests::web::get(&address, "/api/").await.unwrap();
    assert_eq!(code, 200);
    let versions: Value = serde_json::from_str(&body).unwrap();
    assert_eq!(versions["versions"], json!(["v1"]));
    child.kill().await.unwrap();
}

async fn should_support_unix_socket(scene: Scene) {
    let path = scene.cluster.scratch().join("proxy.sock");
    let (mut child, said) = proxy(&scene, &["--unix-socket", path.to_str().unwrap()]).await;
    assert_eq!(said, path.to_str().unwrap());
    let mut socket = tokio::net::UnixStream::connect(&path).await.unwrap();
    socket.write_all(b"GET /api/ HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").await.unwrap();
    let mut text = String::new();
    tokio::io::AsyncReadExt::read_to_string(&mut socket, &mut text).await.unwrap();
    holds(&text, &["200 OK", "\"versions\":[\"v1\"]"]);
    child.kill().await.unwrap();
}

/// A node that only the scenario has.
async fn node(scene: &Scene) -> String {
    let name = format!("node-{}", scene.namespace);
    scene.post("/api/v1/nodes", json!({"metadata": {"name": name}})).await.ok();
    name
}

async fn should_update_the_taint_on_a_node(scene: Scene) {
    let name = node(&scene).await;
    run(&scene, &["taint", "nodes", &name, "kubernetes.io/e2e-taint-key-1=testing-taint-value:NoSchedule"]).await;
    holds(
        &run(&scene, &["describe", "node", &name]).await,
        &["kubernetes.io/e2e-taint-key-1=testing-taint-value:NoSchedule"],
    );
    run(&scene, &["taint", "nodes", &name, "kubernetes.io/e2e-taint-key-1:NoSchedule-"]).await;
    assert!(!run(&scene, &["describe", "node", &name]).await.contains("e2e-taint-key-1"));
}

async fn should_remove_all_the_taints_with_the_same_key_off_a_node(scene: Scene) {
    let name = node(&scene).await;
    for taint in ["e2e.example.com/key=value-1:NoSchedule", "e2e.example.com/key=value-2:PreferNoSchedule"] {
        run(&scene, &["taint", "nodes", &name, taint]).await;
    }
    run(&scene, &["taint", "nodes", &name, "e2e.example.com/key-"]).await;
    assert!(!run(&scene, &["describe", "node", &name]).await.contains("e2e.example.com/key"));
}

async fn should_create_a_quota_without_scopes_with_scopes_and_reject_invalid_scopes(scene: Scene) {
    run(&scene, &["create", "quota", "million", "--hard=pods=1000000,services=1000000"]).await;
    let quota = scene.get("resourcequotas/million").await.ok();
    assert_eq!((&quota["spec"]["scopes"], &quota["spec"]["hard"]["pods"]), (&Value::Null, &json!("1M")));
    run(&scene, &["create", "quota", "scopes", "--hard=pods=1000000", "--scopes=BestEffort,NotTerminating"]).await;
    assert_eq!(
        scene.get("resourcequotas/scopes").await.ok()["spec"]["scopes"],
        json!(["BestEffort", "NotTerminating"])
    );
    let refused = fails(&scene, &["create", "quota", "scopes", "--hard=hard=pods=1000000", "--scopes=Foo"], "").await;
    assert!(!refused.is_empty());
    let refused = fails(&scene, &["create", "quota", "foo", "--hard=pods=1", "--scopes=Foo"], "").await;
    holds(&refused, &["ResourceQuota \"foo\" is invalid: spec.scopes: Invalid value: [\"Foo\"]: unsupported scope"]);
}

async fn should_support_port_less_events_and_wait(scene: Scene) {
    pipe(&scene, &["create", "-f", "-"], &deployment("skiff.local/httpd:1", Some(1))).await;
    run(&scene, &["wait", "deployment/httpd-deployment", "--for=jsonpath={.status.replicas}=1", "--timeout=20s"]).await;
    scene
        .wait_items("events", "a scheduling failure", |events| events.iter().any(|e| e["reason"] == "FailedScheduling"))
        .await;
    let events = run(&scene, &["events", "--for", "deployment/httpd-deployment"]).await;
    holds(&events, &["ScalingReplicaSet", "Scaled up replica set httpd-deployment-"]);
    holds(&run(&scene, &["events", "--types=Warning"]).await, &["FailedScheduling"]);
    holds(
        &fails(&scene, &["wait", "deployment/httpd-deployment", "--for=condition=Available", "--timeout=0s"], "").await,
        &["condition"],
    );
    run(&scene, &["delete", "deployment", "httpd-deployment", "--wait=false"]).await;
    run(&scene, &["wait", "deployment/httpd-deployment", "--for=delete", "--timeout=20s"]).await;
    holds(
        &fails(&scene, &["wait", "deployment/httpd-deployment", "--for=condition=Available", "--timeout=1s"], "").await,
        &["deployments.apps \"httpd-deployment\" not found"],
    );
}

async fn should_apply_prune_and_rollout(scene: Scene) {
    let map = |name: &str| json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "labels": {"prune-group": "true"}}});
    let both = json!({"apiVersion": "v1", "kind": "List", "items": [map("cm-a"), map("cm-b")]}).to_string();
    pipe(&scene, &["apply", "-l", "prune-group=true", "-f", "-"], &both).await;
    let prune = ["apply", "--prune", "-l", "prune-group=true", "--prune-allowlist=core/v1/ConfigMap", "-f", "-"];
    holds(&pipe(&scene, &prune, &map("cm-a").to_string()).await, &["configmap/cm-b pruned"]);
    pipe(&scene, &["apply", "-f", "-"], &deployment("skiff.local/httpd:1", Some(0))).await;
    run(&scene, &["rollout", "status", "deployment/httpd-deployment", "--timeout=20s"]).await;
    run(&scene, &["set", "image", "deployment/httpd-deployment", "httpd=skiff.local/httpd:2"]).await;
    run(&scene, &["rollout", "status", "deployment/httpd-deployment", "--timeout=20s"]).await;
    holds(&run(&scene, &["rollout", "history", "deployment/httpd-deployment"]).await, &["REVISION", "1", "2"]);
    run(&scene, &["rollout", "undo", "deployment/httpd-deployment"]).await;
    let image = run(
        &scene,
        &["get", "deployment", "httpd-deployment", "-o", "jsonpath={.spec.template.spec.containers[0].image}"],
    )
    .await;
    assert_eq!(image, "skiff.local/httpd:1");
    run(&scene, &["rollout", "pause", "deployment/httpd-deployment"]).await;
    holds(
        &fails(&scene, &["rollout", "undo", "deployment/httpd-deployment"], "").await,
        &["cannot rollback a paused deployment"],
    );
    run(&scene, &["rollout", "resume", "deployment/httpd-deployment"]).await;
    run(&scene, &["rollout", "restart", "deployment/httpd-deployment"]).await;
}

async fn should_fail_top_clearly(scene: Scene) {
    holds(&fails(&scene, &["top", "nodes"], "").await, &["Metrics API not available"]);
}

async fn should_get_componentstatuses(scene: Scene) {
    let told = run(&scene, &["get", "componentstatuses"]).await;
    words(&told, "NAME STATUS MESSAGE ERROR scheduler controller-manager etcd-0 Healthy");
}

async fn should_be_able_to_retrieve_and_filter_logs(scene: Scene) {
    let image = format!("file://{}", tests::binary::guest("cli-report.wasm").display());
    let pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "logs-generator"}, "spec": {"restartPolicy": "Never",
        "containers": [{"name": "logs-generator", "image": image, "args": ["--file", "/"]}]}});
    pipe(&scene, &["create", "-f", "-"], &pod.to_string()).await;
    let ended = |pod: Option<&Value>| {
        pod.is_some_and(|pod| pod["status"]["phase"] == "Succeeded" || pod["status"]["phase"] == "Failed")
    };
    scene.wait("pods/logs-generator", "ended", ended).await;
    let whole = run(&scene, &["logs", "logs-generator"]).await;
    assert!(whole.lines().count() > 1, "{whole}");
    let tail = run(&scene, &["logs", "logs-generator", "logs-generator", "--tail=1"]).await;
    assert_eq!(tail.lines().collect::<Vec<_>>(), [whole.lines().last().unwrap()]);
    assert_eq!(run(&scene, &["logs", "logs-generator", "--limit-bytes=1"]).await.len(), 1);
    let stamped = run(&scene, &["logs", "logs-generator", "--tail=1", "--timestamps"]).await;
    let stamp = stamped.split(' ').next().unwrap();
    assert!(stamp.len() > 20 && stamp.ends_with('Z') && stamp.as_bytes()[10] == b'T', "{stamped}");
    assert_eq!(run(&scene, &["logs", "logs-generator", "--since=24h"]).await, whole);
}
