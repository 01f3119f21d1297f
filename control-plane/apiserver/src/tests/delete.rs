//! Deleting objects, one or many, and what holds them.

use super::*;

const A: &str = "/api/v1/namespaces/default/configmaps/a";

#[tokio::test]
async fn a_plain_object_goes_at_once() {
    let cluster = Cluster::new().await;
    let object = cluster.post(CONFIG_MAPS, config_map("a")).await;
    let status = cluster.ok("DELETE", A, Value::Null).await;
    assert_eq!(status["status"], "Success");
    assert_eq!(status["details"], json!({"name": "a", "kind": "configmaps", "uid": object["metadata"]["uid"]}));
    insta::assert_json_snapshot!("delete_absent", cluster.fails("DELETE", A, Value::Null).await);
}

#[tokio::test]
async fn finalizers_hold_an_object_until_the_last_one_goes() {
    let cluster = Cluster::new().await;
    let mut held = config_map("a");
    held["metadata"]["finalizers"] = json!(["example.com/one", "example.com/two"]);
    let made = cluster.post(CONFIG_MAPS, held).await;
    let pending = cluster.ok("DELETE", A, Value::Null).await;
    assert_eq!(pending["data"], made["data"]);
    assert_eq!(pending["metadata"]["managedFields"], made["metadata"]["managedFields"]);
    assert!(made["metadata"]["managedFields"].is_array() && made["data"].is_object());
    assert_eq!(pending["metadata"]["deletionTimestamp"], "2027-01-15T08:00:00Z");
    assert_eq!(pending["metadata"]["deletionGracePeriodSeconds"], 0);
    let revision = cluster.core.store.revision();
    cluster.ok("DELETE", A, Value::Null).await;
    assert_eq!(cluster.core.store.revision(), revision, "a second delete changes nothing");
    cluster.ok("PATCH", A, json!({"metadata": {"finalizers": ["example.com/two"]}})).await;
    let refused =
        cluster.fails("PATCH", A, json!({"metadata": {"finalizers": ["example.com/two", "example.com/new"]}})).await;
    assert_eq!(refused["reason"], "Invalid");
    let mut events =
        cluster.watch(&format!("{CONFIG_MAPS}?watch=1&resourceVersion={}", cluster.core.store.revision())).await;
    cluster.ok("PATCH", A, json!({"metadata": {"finalizers": null}})).await;
    assert_eq!(events.short().await, ("DELETED".into(), "a".into()));
    assert_eq!(cluster.fails("GET", A, Value::Null).await["code"], 404);
}

#[tokio::test]
async fn preconditions_are_kept() {
    let cluster = Cluster::new().await;
    let object = cluster.post(CONFIG_MAPS, config_map("a")).await;
    let with = |field: &str, value: &str| json!({"kind": "DeleteOptions", "apiVersion": "v1", "preconditions": {field: value}});
    let uid = cluster.fails("DELETE", A, with("uid", "other")).await;
    assert_eq!(uid["reason"], "Conflict");
    let version = cluster.fails("DELETE", A, with("resourceVersion", "1")).await;
    assert_eq!(version["reason"], "Conflict");
    cluster.ok("DELETE", A, with("uid", object["metadata"]["uid"].as_str().unwrap())).await;
}

#[tokio::test]
async fn the_propagation_policy_becomes_a_finalizer() {
    let cluster = Cluster::new().await;
    for (policy, finalizer) in [("Foreground", "foregroundDeletion"), ("Orphan", "orphan")] {
        cluster.post(CONFIG_MAPS, config_map("a")).await;
        let pending = cluster.ok("DELETE", &format!("{A}?propagationPolicy={policy}"), Value::Null).await;
        assert_eq!(pending["metadata"]["finalizers"], json!([finalizer]));
        cluster.ok("PATCH", A, json!({"metadata": {"finalizers": []}})).await;
        assert_eq!(cluster.fails("GET", A, Value::Null).await["code"], 404);
    }
    cluster.post(CONFIG_MAPS, config_map("a")).await;
    let bad = cluster.fails("DELETE", A, json!({"propagationPolicy": "Sideways"})).await;
    insta::assert_json_snapshot!("delete_bad_policy", bad);
    cluster.ok("DELETE", A, json!({"propagationPolicy": "Background"})).await;
}

#[tokio::test]
async fn a_bound_pod_is_given_its_grace_period() {
    let cluster = Cluster::new().await;
    let path = format!("{PODS}/p");
    cluster.post(PODS, pod("p")).await;
    let binding = json!({"metadata": {"name": "p"}, "target": {"kind": "Node", "name": "n"}});
    cluster.post(&format!("{path}/binding"), binding).await;
    let pending = cluster.ok("DELETE", &path, Value::Null).await;
    assert_eq!(pending["metadata"]["deletionGracePeriodSeconds"], 30);
    assert_eq!(pending["metadata"]["deletionTimestamp"], "2027-01-15T08:00:30Z");
    let sooner = cluster.ok("DELETE", &format!("{path}?gracePeriodSeconds=5"), Value::Null).await;
    assert_eq!(sooner["metadata"]["deletionGracePeriodSeconds"], 5);
    let later = cluster.ok("DELETE", &format!("{path}?gracePeriodSeconds=50"), Value::Null).await;
    assert_eq!(later["metadata"]["deletionGracePeriodSeconds"], 5);
    let gone = cluster.ok("DELETE", &path, json!({"gracePeriodSeconds": 0})).await;
    assert_eq!(gone["kind"], "Pod");
    assert_eq!(cluster.fails("GET", &path, Value::Null).await["code"], 404);
}

#[tokio::test]
async fn an_unbound_pod_goes_at_once() {
    let cluster = Cluster::new().await;
    cluster.post(PODS, pod("p")).await;
    cluster.ok("DELETE", &format!("{PODS}/p"), Value::Null).await;
    assert_eq!(cluster.fails("GET", &format!("{PODS}/p"), Value::Null).await["code"], 404);
}

#[tokio::test]
async fn a_namespace_goes_with_its_last_finalizer() {
    let cluster = Cluster::new().await;
    let path = "/api/v1/namespaces/team";
    cluster.post("/api/v1/namespaces", json!({"metadata": {"name": "team"}})).await;
    let mut namespace = cluster.ok("DELETE", path, Value::Null).await;
    assert_eq!(namespace["status"]["phase"], "Terminating");
    assert_eq!(namespace["spec"]["finalizers"], json!(["kubernetes"]));
    namespace["spec"]["finalizers"] = json!([]);
    cluster.ok("PUT", &format!("{path}/finalize"), namespace).await;
    assert_eq!(cluster.fails("GET", path, Value::Null).await["code"], 404);
    insta::assert_json_snapshot!(
        "delete_immortal",
        cluster.fails("DELETE", "/api/v1/namespaces/default", Value::Null).await
    );
}

#[tokio::test]
async fn a_collection_is_deleted_by_selector() {
    let cluster = Cluster::new().await;
    for n in 0..10 {
        cluster.post(CONFIG_MAPS, labelled(&format!("c{n}"), if n % 2 == 0 { "even" } else { "odd" })).await;
    }
    let deleted = cluster.ok("DELETE", &format!("{CONFIG_MAPS}?labelSelector=app%3Deven"), Value::Null).await;
    assert_eq!(deleted["items"].as_array().unwrap().len(), 5);
    let left = cluster.get(CONFIG_MAPS).await;
    let names: Vec<&str> =
        left["items"].as_array().unwrap().iter().map(|i| i["metadata"]["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["c1", "c3", "c5", "c7", "c9"]);
}

#[tokio::test]
async fn a_dry_run_deletes_nothing() {
    let cluster = Cluster::new().await;
    cluster.post(CONFIG_MAPS, config_map("a")).await;
    cluster.ok("DELETE", &format!("{A}?dryRun=All"), Value::Null).await;
    cluster.ok("DELETE", A, json!({"dryRun": ["All"]})).await;
    cluster.get(A).await;
}

#[tokio::test]
async fn old_events_are_pruned() {
    let cluster = Cluster::new().await;
    let event = |name: &str| {
        json!({
            "metadata": {"name": name, "namespace": "default"}, "reason": "Tested", "message": "m", "type": "Normal",
            "involvedObject": {"kind": "Pod", "namespace": "default", "name": "p"},
        })
    };
    let path = "/api/v1/namespaces/default/events";
    cluster.post(path, event("old")).await;
    cluster.advance(Duration::from_secs(4000));
    cluster.post(path, event("new")).await;
    assert_eq!(crate::prune::once(&cluster.core, Duration::from_secs(3600)).await, 1);
    let left = cluster.get(path).await;
    assert_eq!(left["items"][0]["metadata"]["name"], "new");
    let other = cluster.get("/apis/events.k8s.io/v1/namespaces/default/events/new").await;
    assert_eq!(other["apiVersion"], "events.k8s.io/v1");
    assert_eq!(other["note"], "m");
    assert_eq!(other["regarding"]["name"], "p");
}
