//! Probes, and the two ends of a pod: graceful and by force.

use serde_json::{Value, json};
use std::time::{Duration, Instant};
use tests::rest::{self, LIMIT, Rest};
use tests::{Cluster, binary, eventually};

const HTTP: &str = "skiff.dev/examples/hello-http:v1";
const AWARE: &str = "skiff.dev/examples/pod-aware:v1";

fn http(probes: Value) -> Value {
    let mut container = json!({"ports": [{"name": "http", "containerPort": 8080}]});
    rest::merge(&mut container, probes);
    container
}

#[tokio::test]
async fn probes_restart_hold_back_and_let_through() {
    let cluster = Cluster::up().await;
    let rest = Rest::of(&cluster).await;
    let get =
        |path: &str| json!({"httpGet": {"path": path, "port": "http"}, "periodSeconds": 1, "failureThreshold": 1});
    let tcp = |port: u16| json!({"tcpSocket": {"port": port}, "periodSeconds": 1, "failureThreshold": 1});
    let always = || json!({"restartPolicy": "Always"});
    let pods = [
        ("unwell", json!({"livenessProbe": get("/crash")})),
        ("shy", json!({"readinessProbe": get("/crash")})),
        ("well", json!({"readinessProbe": get("/healthz"), "livenessProbe": tcp(8080), "startupProbe": tcp(8080)})),
        ("deaf", json!({"readinessProbe": tcp(8081)})),
        ("late", json!({"startupProbe": {"tcpSocket": {"port": 8081}, "periodSeconds": 1, "failureThreshold": 1}})),
    ];
    for (name, probes) in pods {
        rest.create(rest::pod(name, HTTP, http(probes), always())).await;
    }
    for name in ["unwell", "late"] {
        rest.until(&format!("pods/{name}"), "restarted by its probe", |pod| {
            (pod["status"]["containerStatuses"][0]["restartCount"].as_i64()? >= 1).then_some(())
        })
        .await;
    }
    let unhealthy = rest.event("unwell", "Unhealthy").await;
    assert_eq!(unhealthy, "Liveness probe failed: HTTP probe failed with statuscode: 500");
    assert_eq!(rest.event("unwell", "Killing").await, "Container main failed liveness probe, will be restarted");
    assert!(rest.event("late", "Unhealthy").await.starts_with("Startup probe failed: "));

    let well = rest.ready("well").await;
    let status = &well["status"]["containerStatuses"][0];
    assert_eq!(
        (&status["started"], &status["ready"], &status["restartCount"]),
        (&json!(true), &json!(true), &json!(0))
    );
    assert!(rest.event("shy", "Unhealthy").await.starts_with("Readiness probe failed: HTTP probe failed"));
    let refused = rest.event("deaf", "Unhealthy").await;
    assert!(
        refused.starts_with("Readiness probe failed: dial tcp ") && refused.contains("connection refused"),
        "{refused}"
    );
    for name in ["shy", "deaf"] {
        let pod = rest.phase(name, "Running").await;
        assert!(rest::has_condition(&pod, "Ready", "False"), "{pod}");
        assert_eq!(rest::condition(&pod, "Ready").unwrap()["reason"], "ContainersNotReady");
        assert_eq!(pod["status"]["containerStatuses"][0]["restartCount"], 0);
    }
}

/// Follows the log until the cluster ends it; what it said.
fn follow(rest: &Rest, name: &str) -> tokio::task::JoinHandle<String> {
    let (rest, path) = (rest.clone(), format!("pods/{name}/log?follow=true"));
    tokio::spawn(async move { rest.text(&path).await.unwrap() })
}

#[tokio::test]
async fn a_pod_that_listens_says_goodbye() {
    let cluster = Cluster::up().await;
    let rest = Rest::of(&cluster).await;
    rest.create_file(&binary::root().join("guests/examples/pod-aware.yaml")).await;
    let pod = rest.ready("pod-aware").await;
    let uid = pod["metadata"]["uid"].as_str().unwrap().to_owned();
    let log = follow(&rest, "pod-aware");
    eventually("a heartbeat", LIMIT, || async {
        let log = rest.log("pod-aware").await;
        if log.contains("beat 1") { Ok(()) } else { Err(log) }
    })
    .await;
    assert_eq!(pod["spec"]["terminationGracePeriodSeconds"], 10);
    let deleting = rest.delete("pods/pod-aware", json!({"gracePeriodSeconds": 600})).await;
    assert_eq!(deleting["metadata"]["deletionGracePeriodSeconds"], 600, "{deleting}");
    assert!(deleting["metadata"]["deletionTimestamp"].is_string());
    // By itself, long before it had to.
    rest.gone("pods/pod-aware").await;
    let log = tokio::time::timeout(LIMIT, log).await.expect("the log ends with the pod").unwrap();
    assert!(log.contains(&format!("pod default/pod-aware ({uid})")), "{log}");
    assert!(log.contains("label app=pod-aware"), "{log}");
    assert!(log.contains("ms left: goodbye"), "{log}");
    assert_eq!(rest.event("pod-aware", "Killing").await, "Stopping container main");
}

#[tokio::test]
async fn the_grace_period_ends_who_does_not_listen() {
    let cluster = Cluster::up().await;
    let rest = Rest::of(&cluster).await;
    for (name, guest, grace) in
        [("stubborn", "ignores-shutdown", 2), ("forced", "ignores-shutdown", 600), ("deaf", "sleeper", 600)]
    {
        let image = format!("file://{}", binary::wat(cluster.scratch(), guest).display());
        rest.create(rest::pod(name, &image, json!({}), json!({"terminationGracePeriodSeconds": grace}))).await;
        rest.ready(name).await;
    }
    let begun = Instant::now();
    rest.delete("pods/stubborn", json!(null)).await;
    // --grace-period=0 --force does not wait; nor does the node for a program that cannot hear.
    rest.delete("pods/forced", json!({"gracePeriodSeconds": 0})).await;
    rest.delete("pods/deaf", json!(null)).await;
    // Long before their grace periods are over.
    rest.gone("pods/forced").await;
    rest.gone("pods/deaf").await;
    rest.gone("pods/stubborn").await;
    let took = begun.elapsed();
    assert!(took >= Duration::from_millis(1900), "{took:?}");
}

#[tokio::test]
async fn ends_are_told_with_their_reason() {
    let cluster = Cluster::up().await;
    let rest = Rest::of(&cluster).await;
    let image = format!("file://{}", binary::wat(cluster.scratch(), "trap").display());
    rest.create(rest::pod("trap", &image, json!({}), json!({}))).await;
    let fallback = json!({"args": ["--exit", "4", "--stderr", "last words"],
        "terminationMessagePolicy": "FallbackToLogsOnError"});
    rest.create(rest::pod("words", "skiff.dev/examples/cli-report:v1", fallback, json!({}))).await;
    rest.create(rest::pod("component", AWARE, json!({}), json!({"activeDeadlineSeconds": 1}))).await;
    rest.create_file(&binary::root().join("guests/examples/limits.yaml")).await;
    let end = async |name: &str| {
        let pod = rest.phase(name, "Failed").await;
        pod["status"]["containerStatuses"][0]["state"]["terminated"].clone()
    };
    let trap = end("trap").await;
    for name in ["outer", "middle", "inner", "unreachable"] {
        assert!(trap["message"].as_str().unwrap().contains(name), "{name}: {trap}");
    }
    let words = end("words").await;
    assert_eq!((&words["exitCode"], &words["reason"]), (&json!(4), &json!("Error")));
    assert!(words["message"].as_str().unwrap().trim_end().ends_with("last words"), "{words}");
    let memory = end("out-of-memory").await;
    assert_eq!((&memory["exitCode"], &memory["reason"]), (&json!(137), &json!("OOMKilled")), "{memory}");
    assert_eq!(end("out-of-fuel").await["reason"], "FuelExhausted");
    end("component").await;
    let pod = rest.get("pods/component").await;
    assert_eq!(pod["status"]["reason"], "DeadlineExceeded", "{pod}");
}
