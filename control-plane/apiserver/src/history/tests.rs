//! Restores and their plans against a server without a network.

use crate::local::LocalService;
use crate::tests::{CONFIG_MAPS, Cluster, config_map};
use crate::user::User;
use axum::body::Body;
use http::Request;
use serde_json::{Value, json};

const RESTORE: &str = "/skiff/v1/history/restore";

fn all(to: u64) -> Value {
    json!({"scope": "all", "to": to.to_string()})
}

fn object(name: &str, to: u64) -> Value {
    json!({"scope": {"object": {"kind": "cm", "namespace": "", "name": name}}, "to": to.to_string()})
}

fn told(answer: &Value) -> Vec<(String, String)> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    answer["items"].as_array().unwrap().iter().map(|item| (text(&item["action"]), text(&item["name"]))).collect()
}

fn path(name: &str) -> String {
    format!("{CONFIG_MAPS}/{name}")
}

#[tokio::test]
async fn nobody_without_a_rule_looks_into_the_past() {
    let cluster = Cluster::new().await;
    let jane = LocalService::new(cluster.core.clone(), User::authenticated("jane", Vec::<String>::new()));
    for path in ["/skiff/v1/history/diff", "/skiff/v1/store/backup", "/skiff/v1/store/stats"] {
        let answer = jane.send(Request::get(path).body(Body::empty()).unwrap()).await;
        assert_eq!(answer.status(), 403, "{path}");
    }
}

#[tokio::test]
async fn another_object_of_the_same_name_makes_way() {
    let cluster = Cluster::new().await;
    let first = cluster.post(CONFIG_MAPS, config_map("a")).await;
    let then = cluster.core.store.revision();
    cluster.ok("DELETE", &path("a"), Value::Null).await;
    let second = cluster.post(CONFIG_MAPS, config_map("a")).await;
    assert_ne!(first["metadata"]["uid"], second["metadata"]["uid"]);
    let mut events = cluster
        .watch(&format!(
            "{CONFIG_MAPS}?watch=1&resourceVersion={}",
            second["metadata"]["resourceVersion"].as_str().unwrap()
        ))
        .await;
    let answer = cluster.post(RESTORE, object("a", then)).await;
    assert_eq!(told(&answer), [("create".into(), "a".into())]);
    assert_eq!(events.short().await.0, "DELETED");
    assert_eq!(events.short().await.0, "ADDED");
    assert_eq!(cluster.get(&path("a")).await["metadata"]["uid"], first["metadata"]["uid"]);
}

#[tokio::test]
async fn what_is_being_deleted_stays_so() {
    let cluster = Cluster::new().await;
    let mut held = config_map("held");
    held["metadata"]["finalizers"] = json!(["example.com/hold"]);
    cluster.post(CONFIG_MAPS, held).await;
    cluster.post("/api/v1/namespaces", json!({"metadata": {"name": "shop"}})).await;
    let then = cluster.core.store.revision();
    cluster.ok("DELETE", &path("held"), Value::Null).await;
    let answer = cluster.post(RESTORE, all(then)).await;
    assert_eq!(told(&answer), [("skip".into(), "held".into())]);
    cluster.ok("DELETE", "/api/v1/namespaces/shop", Value::Null).await;
    let refused = json!({"scope": {"namespace": "shop"}, "to": then.to_string()});
    let status = cluster.fails("POST", RESTORE, refused).await;
    assert_eq!(status["code"], 409, "{status}");
}

#[tokio::test]
async fn what_was_decided_after_the_plan_is_left_alone() {
    let cluster = Cluster::new().await;
    cluster.post(CONFIG_MAPS, config_map("a")).await;
    cluster.post(CONFIG_MAPS, config_map("b")).await;
    let then = cluster.core.store.revision();
    cluster.ok("PATCH", &path("a"), json!({"data": {"k": "2"}})).await;
    cluster.ok("PATCH", &path("b"), json!({"data": {"k": "2"}})).await;
    let planned = cluster.core.store.revision();
    cluster.ok("PATCH", &path("b"), json!({"data": {"k": "3"}})).await;
    let mut request = all(then);
    request["planned"] = planned.into();
    let answer = cluster.post(RESTORE, request).await;
    assert_eq!(told(&answer), [("update".into(), "a".into()), ("skip".into(), "b".into())]);
    assert_eq!(cluster.get(&path("a")).await["data"]["k"], "v");
    assert_eq!(cluster.get(&path("b")).await["data"]["k"], "3");
}

#[tokio::test]
async fn owners_come_first_and_what_controllers_make_is_theirs() {
    let cluster = Cluster::new().await;
    // Names against the order, so that only ownership can bring them into it.
    let owner = cluster.post(CONFIG_MAPS, config_map("z-owner")).await;
    let owned_by = |name: &str, controller: bool| {
        let mut object = config_map(name);
        object["metadata"]["ownerReferences"] = json!([{"apiVersion": "v1", "kind": "ConfigMap", "name": "z-owner",
            "uid": owner["metadata"]["uid"], "controller": controller}]);
        object
    };
    cluster.post(CONFIG_MAPS, owned_by("a-owned", false)).await;
    cluster.post(CONFIG_MAPS, owned_by("b-controlled", true)).await;
    let then = cluster.core.store.revision();
    for name in ["a-owned", "b-controlled", "z-owner"] {
        cluster.ok("DELETE", &path(name), Value::Null).await;
    }
    let answer = cluster.post(RESTORE, all(then)).await;
    assert_eq!(told(&answer), [("create".into(), "z-owner".into()), ("create".into(), "a-owned".into())]);
    // By its name, it comes back all the same.
    let answer = cluster.post(RESTORE, object("b-controlled", then)).await;
    assert_eq!(told(&answer), [("create".into(), "b-controlled".into())]);
}

#[tokio::test]
async fn writes_name_who_restored() {
    let cluster = Cluster::new().await;
    cluster.post(CONFIG_MAPS, config_map("a")).await;
    let then = cluster.core.store.revision();
    cluster.ok("PATCH", &path("a"), json!({"data": {"k": "2"}})).await;
    cluster.post(RESTORE, object("a", then)).await;
    let log = cluster.get("/skiff/v1/history/log?kind=configmaps&name=a&limit=2").await;
    assert_eq!(log["items"].as_array().unwrap().len(), 2);
    assert_eq!(log["omitted"], 1);
    assert_eq!(log["items"][0]["by"], "system:admin");
    assert_eq!(log["items"][0]["fields"], json!(["data.k 2→v"]));
}

#[tokio::test]
async fn default_roles_are_no_news_until_somebody_changes_them() {
    let cluster = Cluster::new().await;
    let count = async |path: &str| {
        let diff = cluster.get(&format!("/skiff/v1/history/diff?from=0&{path}")).await;
        let of_roles = |item: &&Value| item["resource"].as_str().unwrap().ends_with("rbac.authorization.k8s.io");
        let roles = diff["items"].as_array().unwrap().iter().filter(of_roles).count();
        (roles, diff["hidden"].as_u64().unwrap_or(0))
    };
    let (shown, hidden) = count("").await;
    assert_eq!(shown, 0);
    assert!(hidden > 50, "{hidden}");
    assert_eq!(count("all=true").await, (usize::try_from(hidden).unwrap(), 0));
    assert!(count("kind=clusterroles").await.0 > 50);
    let rbac = "/apis/rbac.authorization.k8s.io/v1/clusterroles";
    cluster.ok("PATCH", &format!("{rbac}/view"), json!({"metadata": {"annotations": {"a": "b"}}})).await;
    cluster.post(rbac, json!({"metadata": {"name": "mine"}, "rules": []})).await;
    assert_eq!(count("").await, (2, hidden - 1));
}
