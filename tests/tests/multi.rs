//! Pods of several containers, and containers that lack something.

use serde_json::{Value, json};
use tests::rest::{self, Rest};
use tests::{Cluster, binary, web};

const HTTP: &str = "skiff.dev/examples/hello-http:v1";
const REPORT: &str = "skiff.dev/examples/cli-report:v1";
const AWARE: &str = "skiff.dev/examples/pod-aware:v1";

fn container(name: &str, image: &str, more: Value) -> Value {
    let mut container = json!({"name": name, "image": image, "imagePullPolicy": "IfNotPresent"});
    rest::merge(&mut container, more);
    container
}

#[tokio::test]
async fn containers_share_an_address_and_end_each_for_itself() {
    let cluster = Cluster::up().await;
    let rest = Rest::of(&cluster).await;
    let port = |port: u16, name: &str| json!({"ports": [{"containerPort": port}], "env": [{"name": "GREETING", "value": name}]});
    let spec = json!({"containers": [
        container("one", HTTP, port(8001, "One")), container("two", HTTP, port(8002, "Two")), container("job", REPORT, json!({})),
    ]});
    rest.create(rest::pod("three", HTTP, json!({}), spec)).await;
    let pod = rest
        .until("pods/three", "its job is done", |pod| {
            let job = pod["status"]["containerStatuses"].as_array()?.iter().find(|c| c["name"] == "job")?;
            (job["state"]["terminated"]["exitCode"] == 0).then(|| pod.clone())
        })
        .await;
    assert_eq!(pod["status"]["phase"], "Running");
    let ip = pod["status"]["podIP"].as_str().unwrap();
    for (port, word) in [(8001, "One"), (8002, "Two")] {
        let (_, body) = web::get(&format!("{ip}:{port}"), "/hi").await.unwrap();
        assert!(body.starts_with(word), "{body}");
    }
    assert!(rest.text("pods/three/log?container=one").await.unwrap().contains("GET /hi"));
    let error = rest.text("pods/three/log").await.expect_err("which one?").to_string();
    assert!(
        error.contains("a container name must be specified for pod three, choose one of: [one two job]"),
        "{error}"
    );
}

#[tokio::test]
async fn sidecars_run_beside_the_main_program_and_go_with_it() {
    let cluster = Cluster::up().await;
    let rest = Rest::of(&cluster).await;
    let sidecar = container("side", AWARE, json!({"restartPolicy": "Always"}));
    let spec = json!({"initContainers": [sidecar, container("setup", REPORT, json!({}))]});
    rest.create(rest::pod("ride", REPORT, json!({"args": ["--sleep", "50"]}), spec)).await;
    let pod = rest.phase("ride", "Succeeded").await;
    let side = &pod["status"]["initContainerStatuses"][0];
    assert_eq!(side["state"]["terminated"]["exitCode"], 0, "it heard that it should go: {pod}");
    let log = rest.text("pods/ride/log?container=side").await.unwrap();
    assert!(log.contains("goodbye"), "{log}");
}

fn waiting<'a>(pod: &'a Value, reason: &str) -> Option<&'a str> {
    let waiting = &pod["status"]["containerStatuses"][0]["state"]["waiting"];
    (waiting["reason"] == reason).then(|| waiting["message"].as_str().unwrap_or_default())
}

#[tokio::test]
async fn what_is_missing_is_named_and_waited_for() {
    let cluster = Cluster::up().await;
    let rest = Rest::of(&cluster).await;
    let volume = json!({"volumes": [{"name": "v", "secret": {"secretName": "late"}}]});
    let mount = json!({"args": ["--file", "/v/key"], "volumeMounts": [{"name": "v", "mountPath": "/v"}]});
    rest.create(rest::pod("mount", REPORT, mount.clone(), volume)).await;
    let key = json!({"env": [{"name": "A", "valueFrom": {"secretKeyRef": {"name": "late", "key": "key"}}}]});
    rest.create(rest::pod("key", REPORT, key, json!({}))).await;
    let optional = json!({"volumes": [{"name": "v", "secret": {"secretName": "never", "optional": true}}]});
    rest.create(rest::pod("optional", REPORT, json!({"volumeMounts": mount["volumeMounts"]}), optional)).await;

    let message = rest.event("mount", "FailedMount").await;
    assert!(
        message.contains("MountVolume.SetUp failed for volume \"v\"") && message.contains("secret \"late\" not found"),
        "{message}"
    );
    rest.until("pods/mount", "waits", |pod| waiting(pod, "ContainerCreating")?.is_empty().then_some(())).await;
    let config = |pod: &Value| waiting(pod, "CreateContainerConfigError").map(str::to_owned);
    assert_eq!(rest.until("pods/key", "says what it lacks", config).await, "secret \"late\" not found");
    rest.phase("optional", "Succeeded").await;

    let secret =
        json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "late"}, "stringData": {"other": "1"}});
    rest.create(secret).await;
    rest.until("pods/key", "says what it still lacks", |pod| {
        (config(pod)? == "couldn't find key key in Secret default/late").then_some(())
    })
    .await;
    rest.patch("secrets/late", json!({"stringData": {"key": "open"}})).await;
    rest.phase("key", "Succeeded").await;
    assert!(rest.log("key").await.contains("env A=open"));
    // Its mount came with the first version of the Secret, or with the second: it may have looked too early.
    rest.until("pods/mount", "has run", |pod| {
        pod["status"]["containerStatuses"][0]["state"]["terminated"].is_object().then_some(())
    })
    .await;
}

#[tokio::test]
async fn pods_that_never_started_go_at_once() {
    let cluster = Cluster::up().await;
    let rest = Rest::of(&cluster).await;
    let spec = || json!({"terminationGracePeriodSeconds": 600, "restartPolicy": "Always"});
    rest.create(rest::pod("pulls", "127.0.0.1:1/no/such:v1", json!({}), spec())).await;
    rest.create(rest::pod("crashes", REPORT, json!({"args": ["--exit", "1"]}), spec())).await;
    let volume =
        json!({"volumes": [{"name": "v", "configMap": {"name": "none"}}], "terminationGracePeriodSeconds": 600});
    rest.create(rest::pod("mounts", REPORT, json!({"volumeMounts": [{"name": "v", "mountPath": "/v"}]}), volume)).await;
    rest.create(rest::pod("unplaced", REPORT, json!({}), json!({"nodeSelector": {"no": "node"}}))).await;
    let reason = |reason: &'static str| move |pod: &Value| waiting(pod, reason).map(|_| ());
    rest.until("pods/pulls", "ImagePullBackOff", reason("ImagePullBackOff")).await;
    rest.until("pods/crashes", "CrashLoopBackOff", reason("CrashLoopBackOff")).await;
    rest.event("mounts", "FailedMount").await;
    rest.event("unplaced", "FailedScheduling").await;
    for name in ["pulls", "crashes", "mounts", "unplaced"] {
        rest.delete(&format!("pods/{name}"), json!(null)).await;
    }
    // Long before their grace period is over.
    for name in ["pulls", "crashes", "mounts", "unplaced"] {
        rest.gone(&format!("pods/{name}")).await;
    }
}

#[tokio::test]
async fn another_image_restarts_only_its_container() {
    let cluster = Cluster::up().await;
    let rest = Rest::of(&cluster).await;
    let sleeper = format!("file://{}", binary::wat(cluster.scratch(), "sleeper").display());
    let spec = json!({"restartPolicy": "Always",
        "containers": [container("a", &sleeper, json!({})), container("b", &sleeper, json!({}))]});
    rest.create(rest::pod("swap", HTTP, json!({}), spec)).await;
    rest.ready("swap").await;
    let images =
        json!({"spec": {"containers": [container("a", HTTP, json!({})), container("b", &sleeper, json!({}))]}});
    let mut pod = rest.get("pods/swap").await;
    pod["spec"]["containers"][0]["image"] = images["spec"]["containers"][0]["image"].clone();
    rest.patch("pods/swap", json!({"spec": {"containers": pod["spec"]["containers"]}})).await;
    let pod = rest
        .until("pods/swap", "runs the other image", |pod| {
            let a = &pod["status"]["containerStatuses"][0];
            (a["restartCount"] == 1 && a["image"] == HTTP && a["state"]["running"].is_object()).then(|| pod.clone())
        })
        .await;
    assert_eq!(pod["status"]["containerStatuses"][1]["restartCount"], 0, "{pod}");
}
