//! Logs, which come from nodes.

use super::*;
use axum::extract::Path;
use axum::routing::get;

fn two_containers() -> Value {
    json!({"metadata": {"name": "p"}, "spec": {"containers": [{"name": "a", "image": "x"}, {"name": "b", "image": "x"}]}})
}

async fn bound() -> Cluster {
    let cluster = Cluster::new().await;
    cluster.post(PODS, two_containers()).await;
    cluster.post(&format!("{PODS}/p/binding"), json!({"metadata": {"name": "p"}, "target": {"name": "n1"}})).await;
    cluster
}

#[tokio::test]
async fn logs_come_from_the_pods_node() {
    let cluster = bound().await;
    let router = axum::Router::new().route(
        "/containerLogs/{ns}/{pod}/{container}",
        get(|Path((ns, pod, container)): Path<(String, String, String)>, uri: http::Uri| async move {
            format!("{ns}/{pod}/{container}?{}", uri.query().unwrap_or_default())
        }),
    );
    cluster.core.nodes.attach("n1", router);
    let answer =
        cluster.send("GET", &format!("{PODS}/p/log?container=b&follow=true&tailLines=5&evil=1"), &[], "").await;
    assert_eq!(answer.code, 200);
    assert_eq!(answer.headers["content-type"], "text/plain");
    assert_eq!(answer.bytes, "default/p/b?follow=true&tailLines=5");
}

#[tokio::test]
async fn log_errors_read_as_on_kubernetes() {
    let cluster = bound().await;
    let path = format!("{PODS}/p/log");
    insta::assert_json_snapshot!("log_which_container", cluster.fails("GET", &path, Value::Null).await);
    insta::assert_json_snapshot!(
        "log_no_container",
        cluster.fails("GET", &format!("{path}?container=z"), Value::Null).await
    );
    insta::assert_json_snapshot!(
        "log_no_node",
        cluster.fails("GET", &format!("{path}?container=a"), Value::Null).await
    );
    let text = "container \"a\" in pod \"p\" is waiting to start: ContainerCreating";
    let router = axum::Router::new().fallback(move || async move { (StatusCode::BAD_REQUEST, text) });
    cluster.core.nodes.attach("n1", router);
    let status = cluster.fails("GET", &format!("{path}?container=a"), Value::Null).await;
    assert_eq!((&status["code"], &status["message"]), (&json!(400), &json!(text)));
    cluster.core.nodes.attach("n1", axum::Router::new());
    let waiting = json!({"status": {"containerStatuses": [{"name": "a", "image": "x", "imageID": "", "ready": false, "restartCount": 0,
        "state": {"waiting": {"reason": "ImagePullBackOff"}}}]}});
    cluster.ok("PATCH", &format!("{PODS}/p/status"), waiting).await;
    let status = cluster.fails("GET", &format!("{path}?container=a"), Value::Null).await;
    assert_eq!(status["message"], "container \"a\" in pod \"p\" is waiting to start: ImagePullBackOff");
}

#[tokio::test]
async fn an_unscheduled_pod_has_an_empty_log() {
    let cluster = Cluster::new().await;
    cluster.post(PODS, pod("p")).await;
    let answer = cluster.send("GET", &format!("{PODS}/p/log"), &[], "").await;
    assert_eq!((answer.code, answer.bytes), (StatusCode::NO_CONTENT, Bytes::new()));
}

#[tokio::test]
async fn log_options_that_make_no_sense_are_invalid() {
    let cluster = Cluster::new().await;
    cluster.post(PODS, pod("p")).await;
    let refused = async |query: &str| {
        let status = cluster.fails("GET", &format!("{PODS}/p/log?{query}"), Value::Null).await;
        assert_eq!(status["details"]["kind"], "PodLogOptions");
        status["details"]["causes"][0]["message"].clone()
    };
    assert_eq!(refused("tailLines=-1").await, "Invalid value: -1: must be greater than or equal to 0");
    assert_eq!(refused("limitBytes=0").await, "Invalid value: 0: must be greater than 0");
    assert_eq!(
        refused("sinceSeconds=1&sinceTime=2026-01-01T00:00:00Z").await,
        "Forbidden: at most one of `sinceTime` or `sinceSeconds` may be specified"
    );
}
