//! Replacing objects.

use super::*;

const A: &str = "/api/v1/namespaces/default/configmaps/a";

#[tokio::test]
async fn the_second_writer_of_one_version_loses() {
    let cluster = Cluster::new().await;
    let mut object = cluster.post(CONFIG_MAPS, config_map("a")).await;
    let stale = object.clone();
    object["data"]["k"] = "2".into();
    let newer = cluster.ok("PUT", A, object).await;
    assert_ne!(newer["metadata"]["resourceVersion"], stale["metadata"]["resourceVersion"]);
    let mut again = stale;
    again["data"]["k"] = "3".into();
    insta::assert_json_snapshot!("update_conflict", cluster.fails("PUT", A, again).await);
}

#[tokio::test]
async fn an_update_without_a_version_is_unconditional() {
    let cluster = Cluster::new().await;
    cluster.post(CONFIG_MAPS, config_map("a")).await;
    let writers = (0..20).map(|n| {
        let cluster = &cluster;
        async move { cluster.ok("PUT", A, json!({"metadata": {"name": "a"}, "data": {"k": n.to_string()}})).await }
    });
    futures::future::join_all(writers).await;
}

#[tokio::test]
async fn an_update_that_changes_nothing_writes_nothing() {
    let cluster = Cluster::new().await;
    let object = cluster.post(CONFIG_MAPS, config_map("a")).await;
    let before = cluster.core.store.revision();
    cluster.advance(Duration::from_secs(100));
    assert_eq!(cluster.ok("PUT", A, object.clone()).await, object);
    assert_eq!(cluster.ok("PATCH", A, json!({"data": {"k": "v"}})).await, object);
    assert_eq!(cluster.core.store.revision(), before);
}

#[tokio::test]
async fn identity_cannot_be_changed() {
    let cluster = Cluster::new().await;
    let object = cluster.post(CONFIG_MAPS, config_map("a")).await;
    let mut other = object.clone();
    other["metadata"]["uid"] = "another".into();
    assert_eq!(cluster.fails("PUT", A, other).await["reason"], "Conflict");
    let renamed = config_map("b");
    assert_eq!(
        cluster.fails("PUT", A, renamed).await["message"],
        "the name of the object (b) does not match the name on the URL (a)"
    );
    assert_eq!(cluster.fails("PUT", "/api/v1/namespaces/default/configmaps/zz", config_map("zz")).await["code"], 404);
}

#[tokio::test]
async fn leases_are_created_by_an_update() {
    let cluster = Cluster::new().await;
    let path = "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases/n1";
    let lease = json!({"metadata": {"name": "n1", "namespace": "kube-node-lease"}, "spec": {"holderIdentity": "n1"}});
    let made = cluster.ok("PUT", path, lease).await;
    assert_eq!(made["spec"]["holderIdentity"], "n1");
}

#[tokio::test]
async fn spec_and_status_are_written_apart_and_generation_counts_the_spec() {
    let cluster = Cluster::new().await;
    let deployment = json!({"metadata": {"name": "d"}, "spec": {
        "replicas": 1, "selector": {"matchLabels": {"a": "b"}},
        "template": {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c", "image": "x"}]}},
    }});
    let path = "/apis/apps/v1/namespaces/default/deployments";
    let made = cluster.post(path, deployment).await;
    assert_eq!(made["metadata"]["generation"], 1);
    let one = format!("{path}/d");
    let patched = cluster.ok("PATCH", &one, json!({"spec": {"replicas": 3}, "status": {"replicas": 9}})).await;
    assert_eq!(patched["metadata"]["generation"], 2);
    assert_eq!(patched["status"]["replicas"], Value::Null);
    let status = cluster
        .ok("PATCH", &format!("{one}/status"), json!({"spec": {"replicas": 7}, "status": {"replicas": 3}}))
        .await;
    assert_eq!(status["metadata"]["generation"], 2);
    assert_eq!(status["spec"]["replicas"], 3);
    assert_eq!(status["status"]["replicas"], 3);
    let labelled = cluster.ok("PATCH", &one, json!({"metadata": {"labels": {"x": "y"}}})).await;
    assert_eq!(labelled["metadata"]["generation"], 2);
}

#[tokio::test]
async fn nobody_marks_an_object_as_deleted_but_by_deleting_it() {
    let cluster = Cluster::new().await;
    cluster.post(CONFIG_MAPS, config_map("a")).await;
    let path = format!("{CONFIG_MAPS}/a");
    for (field, value, shown) in [
        ("deletionTimestamp", json!("2026-01-01T00:00:00Z"), "\"2026-01-01T00:00:00Z\""),
        ("deletionGracePeriodSeconds", json!(5), "5"),
    ] {
        let status = cluster.fails("PATCH", &path, json!({"metadata": {field: value}})).await;
        let why = format!("ConfigMap \"a\" is invalid: metadata.{field}: Invalid value: {shown}: field is immutable");
        assert_eq!(status["message"], why);
    }
}
