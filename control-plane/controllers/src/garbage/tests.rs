//! Who goes when an owner goes, and who stays.

use crate::testing::{Cluster, Fake};
use serde_json::{Value, json};

fn config_map(fake: &Fake, name: &str, owners: &Value) -> Value {
    fake.create(json!({"apiVersion": "v1", "kind": "ConfigMap",
        "metadata": {"name": name, "namespace": "d", "ownerReferences": owners}}))
}

fn owner(object: &Value, blocks: bool) -> Value {
    json!({"apiVersion": object["apiVersion"], "kind": object["kind"], "name": object["metadata"]["name"],
        "uid": object["metadata"]["uid"], "blockOwnerDeletion": blocks})
}

fn names(fake: &Fake) -> Vec<String> {
    fake.list("configmaps").iter().map(|o| o["metadata"]["name"].as_str().unwrap().to_owned()).collect()
}

/// Starts the collector over what is there.
fn collect(fake: &Fake) -> Cluster {
    Cluster::start_with(fake.clone(), &["garbage-collector-controller"])
}

#[tokio::test(start_paused = true)]
async fn dependents_follow_their_owner_in_the_background() {
    let fake = Fake::default();
    let a = config_map(&fake, "a", &json!([]));
    let b = config_map(&fake, "b", &json!([owner(&a, true)]));
    config_map(&fake, "c", &json!([owner(&b, true)]));
    config_map(&fake, "free", &json!([]));
    let cluster = collect(&fake);
    tokio::time::sleep(std::time::Duration::from_secs(60)).await;
    assert_eq!(names(&fake), ["a", "b", "c", "free"], "all owners are there");
    fake.delete("configmaps", "d/a", &json!({"propagationPolicy": "Background"}));
    fake.until(1, "a chain goes", |f| names(f) == ["free"]).await;
    cluster.stop().await;
}

#[tokio::test(start_paused = true)]
async fn an_absent_owner_another_uid_and_one_of_two_owners() {
    let fake = Fake::default();
    let a = config_map(&fake, "a", &json!([]));
    let absent = json!({"apiVersion": "v1", "kind": "ConfigMap", "name": "never", "uid": "x"});
    let reborn = json!({"apiVersion": "v1", "kind": "ConfigMap", "name": "a", "uid": "another"});
    let cluster = collect(&fake);
    config_map(&fake, "absent", &json!([absent]));
    config_map(&fake, "reborn", &json!([reborn]));
    config_map(&fake, "half", &json!([owner(&a, true), absent]));
    config_map(&fake, "unknown", &json!([{"apiVersion": "x/v1", "kind": "Thing", "name": "t", "uid": "y"}]));
    fake.until(2, "only the owned stay", |f| names(f) == ["a", "half", "unknown"]).await;
    fake.until(2, "the absent owner is forgotten", |f| {
        f.get("configmaps", "d/half").unwrap()["metadata"]["ownerReferences"].as_array().unwrap().len() == 1
    })
    .await;
    cluster.stop().await;
}

#[tokio::test(start_paused = true)]
async fn foreground_waits_for_what_blocks() {
    let fake = Fake::default();
    let a = config_map(&fake, "a", &json!([]));
    config_map(&fake, "b", &json!([owner(&a, true)]));
    fake.merge("configmaps", "d/b", &json!({"metadata": {"finalizers": ["example.com/hold"]}}));
    let cluster = collect(&fake);
    tokio::time::sleep(std::time::Duration::from_secs(1)).await;
    fake.delete("configmaps", "d/a", &json!({"propagationPolicy": "Foreground"}));
    let deleted = |f: &Fake, name: &str| !f.get("configmaps", name).unwrap()["metadata"]["deletionTimestamp"].is_null();
    fake.until(1, "b is deleted", |f| deleted(f, "d/b")).await;
    tokio::time::sleep(std::time::Duration::from_secs(60)).await;
    assert_eq!(names(&fake), ["a", "b"], "a waits for b, and b for its finalizer");
    fake.merge("configmaps", "d/b", &json!({"metadata": {"finalizers": null}}));
    fake.until(1, "both go", |f| names(f).is_empty()).await;
    cluster.stop().await;
}

#[tokio::test(start_paused = true)]
async fn cycles_end() {
    let fake = Fake::default();
    let a = config_map(&fake, "a", &json!([]));
    let b = config_map(&fake, "b", &json!([owner(&a, true)]));
    fake.merge("configmaps", "d/a", &json!({"metadata": {"ownerReferences": [owner(&b, true)]}}));
    let cluster = collect(&fake);
    tokio::time::sleep(std::time::Duration::from_secs(1)).await;
    fake.delete("configmaps", "d/a", &json!({"propagationPolicy": "Foreground"}));
    fake.until(5, "both go", |f| names(f).is_empty()).await;
    cluster.stop().await;
}

#[tokio::test(start_paused = true)]
async fn orphans_stay() {
    let fake = Fake::default();
    let a = config_map(&fake, "a", &json!([]));
    config_map(&fake, "b", &json!([owner(&a, true)]));
    let cluster = collect(&fake);
    tokio::time::sleep(std::time::Duration::from_secs(1)).await;
    fake.delete("configmaps", "d/a", &json!({"propagationPolicy": "Orphan"}));
    fake.until(1, "the owner goes", |f| names(f) == ["b"]).await;
    assert!(fake.get("configmaps", "d/b").unwrap()["metadata"]["ownerReferences"].is_null());
    cluster.stop().await;
}

#[tokio::test(start_paused = true)]
async fn cluster_scoped_owners_own_too() {
    let fake = Fake::default();
    let node = fake.create(json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": "n"}}));
    config_map(&fake, "b", &json!([owner(&node, false)]));
    let cluster = collect(&fake);
    tokio::time::sleep(std::time::Duration::from_secs(1)).await;
    assert_eq!(names(&fake), ["b"]);
    fake.delete("nodes", "n", &json!({}));
    fake.until(1, "it goes with the node", |f| names(f).is_empty()).await;
    cluster.stop().await;
}

#[tokio::test(start_paused = true)]
async fn owners_in_the_wrong_place_are_told_of() {
    let fake = Fake::default();
    let elsewhere = fake.create(json!({"apiVersion": "v1", "kind": "ConfigMap",
        "metadata": {"name": "owner", "namespace": "other"}}));
    let cluster = collect(&fake);
    tokio::time::sleep(std::time::Duration::from_secs(1)).await;
    // The collector knows the owner's UID: it must not take it for an owner all the same.
    config_map(&fake, "misled", &json!([owner(&elsewhere, false)]));
    fake.create(json!({"apiVersion": "v1", "kind": "Node",
        "metadata": {"name": "n", "ownerReferences": [owner(&elsewhere, false)]}}));
    fake.until(2, "an owner elsewhere is none", |f| names(f) == ["owner"]).await;
    let told = |f: &Fake| {
        let events = f.list("events");
        let about = |kind: &str, text: &str| {
            events.iter().any(|e| {
                e["reason"] == "OwnerRefInvalidNamespace"
                    && e["involvedObject"]["kind"] == kind
                    && !e["involvedObject"]["uid"].is_null()
                    && e["message"].as_str().unwrap().ends_with(text)
            })
        };
        about("ConfigMap", "does not exist in namespace \"d\"") && about("Node", "does not exist in namespace \"\"")
    };
    fake.until(2, "both are told of", told).await;
    assert!(fake.get("nodes", "n").is_some(), "a cluster-scoped object is not collected for a namespaced owner");
    cluster.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_namespace_loses_its_pods_first() {
    let fake = Fake::default();
    let cluster = Cluster::start_with(fake.clone(), &["namespace-controller"]);
    fake.create(json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "d"}}));
    config_map(&fake, "a", &json!([]));
    fake.create(json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p", "namespace": "d"},
        "spec": {"nodeName": "n"}}));
    fake.delete("namespaces", "d", &json!({}));
    let remaining = |f: &Fake| {
        let namespace = f.get("namespaces", "d").unwrap();
        let conditions = namespace["status"]["conditions"].as_array().cloned().unwrap_or_default();
        conditions.iter().any(|c| c["message"] == "Some resources are remaining: pods. has 1 resource instances")
    };
    fake.until(1, "the pod remains", remaining).await;
    assert_eq!(names(&fake), ["a"], "what pods may use stays for as long as they do");
    fake.merge("pods", "d/p", &json!({"metadata": {"deletionGracePeriodSeconds": 0}}));
    fake.until(6, "all is gone", |f| f.list("namespaces").is_empty() && names(f).is_empty()).await;
    cluster.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_namespace_is_emptied_reported_and_finalized() {
    let fake = Fake::default();
    let cluster = Cluster::start_with(fake.clone(), &["namespace-controller"]);
    fake.create(json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "d"}}));
    config_map(&fake, "a", &json!([]));
    config_map(&fake, "held", &json!([]));
    fake.merge("configmaps", "d/held", &json!({"metadata": {"finalizers": ["example.com/hold"]}}));
    fake.delete("namespaces", "d", &json!({}));
    fake.until(1, "what can go goes", |f| names(f) == ["held"]).await;
    let remaining = |f: &Fake| {
        let namespace = f.get("namespaces", "d").unwrap();
        let conditions = namespace["status"]["conditions"].as_array().cloned().unwrap_or_default();
        conditions.iter().any(|c| c["type"] == "NamespaceFinalizersRemaining" && c["status"] == "True")
    };
    fake.until(1, "the conditions say so", remaining).await;
    assert_eq!(fake.get("namespaces", "d").unwrap()["status"]["phase"], "Terminating");
    fake.merge("configmaps", "d/held", &json!({"metadata": {"finalizers": null}}));
    fake.until(6, "the namespace is gone", |f| f.list("namespaces").is_empty()).await;
    cluster.stop().await;
}

#[tokio::test(start_paused = true)]
async fn every_namespace_gets_its_service_account() {
    let cluster = Cluster::start(&["serviceaccount-controller"]);
    let fake = &cluster.fake;
    fake.create(json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "d"}}));
    fake.until(1, "created", |f| f.get("serviceaccounts", "d/default").is_some()).await;
    fake.delete("serviceaccounts", "d/default", &json!({}));
    fake.until(1, "created again", |f| f.get("serviceaccounts", "d/default").is_some()).await;
    cluster.stop().await;
}
