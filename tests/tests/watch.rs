//! Watches as controllers use them.

use futures::{StreamExt as _, TryStreamExt as _};
use http::Method;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::{Api, DeleteParams, Patch, PatchParams, PostParams, WatchEvent, WatchParams};
use serde_json::{Value, json};
use std::time::Duration;
use tests::Cluster;
use tests::raw::{self, Identity};

const LIMIT: Duration = Duration::from_secs(60);

fn map(name: &str, label: &str) -> ConfigMap {
    serde_json::from_value(json!({"metadata": {"name": name, "labels": {"app": label}}})).unwrap()
}

fn shown(event: &WatchEvent<ConfigMap>) -> String {
    match event {
        WatchEvent::Added(o) => format!("+{}", o.metadata.name.as_deref().unwrap_or_default()),
        WatchEvent::Modified(o) => format!("~{}", o.metadata.name.as_deref().unwrap_or_default()),
        WatchEvent::Deleted(o) => format!("-{}", o.metadata.name.as_deref().unwrap_or_default()),
        WatchEvent::Bookmark(_) => "bookmark".into(),
        WatchEvent::Error(status) => format!("error {}", status.code),
    }
}

#[tokio::test]
async fn a_selector_turns_label_changes_into_added_and_deleted() {
    let cluster = Cluster::up().await;
    let api: Api<ConfigMap> = Api::default_namespaced(cluster.client().await);
    let params = WatchParams::default().labels("app=web").disable_bookmarks();
    let mut events = api.watch(&params, "0").await.unwrap().boxed();
    let post = PostParams::default();
    api.create(&post, &map("a", "web")).await.unwrap();
    api.create(&post, &map("b", "db")).await.unwrap();
    let label = |value: &str| Patch::Merge(json!({"metadata": {"labels": {"app": value}}}));
    api.patch("b", &PatchParams::default(), &label("web")).await.unwrap();
    api.patch("a", &PatchParams::default(), &label("db")).await.unwrap();
    api.patch("b", &PatchParams::default(), &Patch::Merge(json!({"data": {"x": "y"}}))).await.unwrap();
    api.delete("b", &DeleteParams::default()).await.unwrap();
    let mut seen = Vec::new();
    while seen.len() < 5 {
        let event = tokio::time::timeout(LIMIT, events.try_next()).await.expect("in time").unwrap().expect("no end");
        seen.push(shown(&event));
    }
    assert_eq!(seen, ["+a", "+b", "-a", "~b", "-b"]);
}

#[tokio::test]
async fn a_watch_resumes_after_a_restart_where_it_left_off() {
    let mut cluster = Cluster::durable().await;
    let api: Api<ConfigMap> = Api::default_namespaced(cluster.client().await);
    let first = api.create(&PostParams::default(), &map("before", "x")).await.unwrap();
    api.create(&PostParams::default(), &map("after", "x")).await.unwrap();
    assert!(cluster.interrupt().await.success());
    cluster.restart().await.unwrap();
    let api: Api<ConfigMap> = Api::default_namespaced(cluster.client().await);
    let version = first.metadata.resource_version.unwrap();
    let mut events = api.watch(&WatchParams::default().labels("app=x"), &version).await.unwrap().boxed();
    let event = tokio::time::timeout(LIMIT, events.try_next()).await.expect("in time").unwrap().unwrap();
    assert_eq!(shown(&event), "+after");
}

#[tokio::test]
async fn streaming_lists_end_with_the_initial_events_bookmark() {
    let cluster = Cluster::up().await;
    let api: Api<ConfigMap> = Api::default_namespaced(cluster.client().await);
    for name in ["a", "b"] {
        api.create(&PostParams::default(), &map(name, "x")).await.unwrap();
    }
    let path = "/api/v1/namespaces/default/configmaps?watch=true&sendInitialEvents=true&allowWatchBookmarks=true\
                &resourceVersionMatch=NotOlderThan&labelSelector=app%3Dx&timeoutSeconds=1";
    let answer = raw::send(&cluster, Identity::Admin, Method::GET, path, &[], "").await.unwrap();
    let lines: Vec<Value> =
        answer.body.split(|b| *b == b'\n').filter_map(|line| serde_json::from_slice(line).ok()).collect();
    let types: Vec<&str> = lines.iter().filter_map(|l| l["type"].as_str()).collect();
    assert_eq!(&types[..3], ["ADDED", "ADDED", "BOOKMARK"]);
    assert_eq!(lines[2]["object"]["metadata"]["annotations"]["k8s.io/initial-events-end"], "true");
}

#[tokio::test]
async fn a_revision_from_the_future_or_of_garbage_is_refused() {
    let cluster = Cluster::up().await;
    let garbage = raw::get(&cluster, "/api/v1/configmaps?watch=true&resourceVersion=abc").await;
    let status = garbage.json();
    assert_eq!(garbage.status.as_u16(), 400, "{status}");
    assert!(status["message"].as_str().unwrap().contains("Invalid value: \"abc\""), "{status}");
    let future = raw::get(&cluster, "/api/v1/configmaps?resourceVersion=999999999&resourceVersionMatch=Exact").await;
    let status = future.json();
    assert_eq!((future.status.as_u16(), &status["reason"]), (504, &json!("Timeout")), "{status}");
    assert_eq!(status["details"]["causes"][0]["reason"], "ResourceVersionTooLarge", "{status}");
}
