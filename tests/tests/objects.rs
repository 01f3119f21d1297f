//! Owners and what they own; namespaces and what they hold.

use serde_json::{Value, json};
use tests::rest::{self, Rest};
use tests::{Cluster, eventually};

fn map(name: &str, owner: Option<&Value>) -> Value {
    let mut object = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}});
    if let Some(owner) = owner {
        object["metadata"]["ownerReferences"] = json!([{
            "apiVersion": "v1", "kind": "ConfigMap", "name": owner["metadata"]["name"],
            "uid": owner["metadata"]["uid"], "blockOwnerDeletion": true}]);
    }
    object
}

/// An owner with one dependent, whose names begin with `prefix`.
async fn family(rest: &Rest, prefix: &str) {
    let owner = rest.create(map(&format!("{prefix}-owner"), None)).await;
    let mut child = map(&format!("{prefix}-child"), Some(&owner));
    child["metadata"]["finalizers"] = json!(["example.com/hold"]);
    rest.create(child).await;
}

async fn let_go(rest: &Rest, path: &str) {
    rest.patch(path, json!({"metadata": {"finalizers": null}})).await;
}

#[tokio::test]
async fn owners_go_before_after_or_without_what_they_own() {
    let cluster = Cluster::up().await;
    let rest = Rest::of(&cluster).await;
    for (prefix, policy) in [("back", "Background"), ("fore", "Foreground"), ("keep", "Orphan")] {
        family(&rest, prefix).await;
        rest.delete(&format!("configmaps/{prefix}-owner"), json!({"propagationPolicy": policy})).await;
    }
    // In the background: the owner is gone at once, the child waits for its finalizer.
    rest.gone("configmaps/back-owner").await;
    let deleting = |object: &Value| object["metadata"]["deletionTimestamp"].is_string().then_some(());
    rest.until("configmaps/back-child", "being deleted", deleting).await;
    let_go(&rest, "configmaps/back-child").await;
    rest.gone("configmaps/back-child").await;
    // In the foreground: the owner waits for the child.
    rest.until("configmaps/fore-child", "being deleted", deleting).await;
    let owner = rest.get("configmaps/fore-owner").await;
    assert_eq!(owner["metadata"]["finalizers"], json!(["foregroundDeletion"]), "{owner}");
    let_go(&rest, "configmaps/fore-child").await;
    rest.gone("configmaps/fore-owner").await;
    rest.gone("configmaps/fore-child").await;
    // Orphaned: the child stays and forgets.
    rest.gone("configmaps/keep-owner").await;
    let child = rest.get("configmaps/keep-child").await;
    assert!(
        child["metadata"]["ownerReferences"].is_null() && child["metadata"]["deletionTimestamp"].is_null(),
        "{child}"
    );
    // An owner that never was takes its child along.
    rest.create(map(
        "lost",
        Some(&json!({"metadata": {"name": "never", "uid": "0b0b0b0b-0000-4000-8000-000000000000"}})),
    ))
    .await;
    rest.gone("configmaps/lost").await;
}

#[tokio::test]
async fn a_namespace_empties_itself_and_says_what_holds_it() {
    let cluster = Cluster::up().await;
    let rest = Rest::of(&cluster).await;
    rest.create(json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop"}})).await;
    let mut held = map("held", None);
    held["metadata"]["namespace"] = json!("shop");
    held["metadata"]["finalizers"] = json!(["example.com/hold"]);
    rest.create(held).await;
    let mut pod = rest::pod("web", "skiff.dev/examples/hello-http:v1", json!({}), json!({}));
    pod["metadata"]["namespace"] = json!("shop");
    rest.create(pod.clone()).await;
    let base = "/api/v1/namespaces/shop";
    rest.until(&format!("{base}/pods/web"), "Ready", |p| rest::has_condition(p, "Ready", "True").then_some(())).await;

    rest.delete("namespaces/shop", json!(null)).await;
    rest.gone(&format!("{base}/pods/web")).await;
    let stuck = rest
        .until("namespaces/shop", "says what holds it", |ns| {
            rest::has_condition(ns, "NamespaceFinalizersRemaining", "True").then(|| ns.clone())
        })
        .await;
    assert_eq!(stuck["status"]["phase"], "Terminating");
    let condition = rest::condition(&stuck, "NamespaceFinalizersRemaining").unwrap();
    assert_eq!(condition["reason"], "SomeFinalizersRemain");
    assert!(condition["message"].as_str().unwrap().contains("example.com/hold in 1 resource instances"), "{condition}");
    assert!(rest::has_condition(&stuck, "NamespaceContentRemaining", "True"), "{stuck}");
    // Nothing new gets in.
    pod["metadata"]["name"] = json!("late");
    let refused = rest.try_create(&pod).await.expect_err("the namespace is terminating").to_string();
    assert!(refused.contains("because it is being terminated"), "{refused}");
    let_go(&rest, &format!("{base}/configmaps/held")).await;
    rest.gone("namespaces/shop").await;
    // The name is free again.
    eventually("the name is free", rest::LIMIT, || async {
        rest.try_create(&json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop"}})).await
    })
    .await;
}

/// How one takes a pod out of service to look at it: change its label, and another takes its place.
#[tokio::test]
async fn a_replica_set_releases_and_adopts_by_label() {
    let cluster = Cluster::up().await;
    let rest = Rest::of(&cluster).await;
    let mut orphan =
        rest::pod("orphan", "skiff.dev/examples/hello-http:v1", json!({}), json!({"restartPolicy": "Always"}));
    orphan["metadata"]["labels"] = json!({"app": "set"});
    rest.create(orphan.clone()).await;
    let set = rest
        .create(json!({"apiVersion": "apps/v1", "kind": "ReplicaSet", "metadata": {"name": "set"}, "spec": {
            "replicas": 2, "selector": {"matchLabels": {"app": "set"}},
            "template": {"metadata": {"labels": {"app": "set"}}, "spec": orphan["spec"]}}}))
        .await;
    let owner = |pod: &Value| pod["metadata"]["ownerReferences"][0]["uid"].clone();
    let uid = set["metadata"]["uid"].clone();
    rest.until("pods/orphan", "adopted", |pod| (owner(pod) == uid).then_some(())).await;
    rest.until("replicasets/set", "two ready", |s| (s["status"]["readyReplicas"] == 2).then_some(())).await;
    assert_eq!(rest.items("pods").await.len(), 2);

    rest.patch("pods/orphan", json!({"metadata": {"labels": {"app": "debug"}}})).await;
    rest.until("pods/orphan", "released", |pod| owner(pod).is_null().then_some(())).await;
    rest.until("pods", "another takes its place", |list| {
        let pods = list["items"].as_array()?;
        let mine = pods.iter().filter(|p| owner(p) == uid && rest::has_condition(p, "Ready", "True")).count();
        (pods.len() == 3 && mine == 2).then_some(())
    })
    .await;
    // Scaling down deletes; deleting the set with orphans keeps.
    rest.patch("replicasets/set/scale", json!({"spec": {"replicas": 1}})).await;
    rest.until("pods?labelSelector=app=set", "one is left", |l| (l["items"].as_array()?.len() == 1).then_some(()))
        .await;
    rest.delete("replicasets/set", json!({"propagationPolicy": "Orphan"})).await;
    rest.gone("replicasets/set").await;
    let left = rest.items("pods?labelSelector=app=set").await;
    assert!(
        left.len() == 1 && owner(&left[0]).is_null() && left[0]["metadata"]["deletionTimestamp"].is_null(),
        "{left:?}"
    );
}
