//! `skiff history` on a running and a stopped cluster.

use futures::{StreamExt as _, TryStreamExt as _};
use http::Method;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::{Api, WatchEvent, WatchParams};
use serde_json::{Value, json};
use tests::cluster::Cluster;
use tests::command::{at, on};
use tests::raw::{self, Identity};
use tests::rest::{LIMIT, Rest};

const HTTP: &str = "skiff.dev/examples/hello-http:v1";

fn deployment(name: &str) -> Value {
    let labels = json!({"app": name});
    json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name, "labels": labels}, "spec": {
        "replicas": 1, "selector": {"matchLabels": labels}, "template": {"metadata": {"labels": labels}, "spec": {
            "containers": [{"name": "main", "image": HTTP, "imagePullPolicy": "IfNotPresent"}]}}}})
}

fn map(namespace: &str, name: &str, value: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "namespace": namespace}, "data": {"k": value}})
}

fn path(namespace: &str, kind: &str, name: &str) -> String {
    format!("/api/v1/namespaces/{namespace}/{kind}/{name}")
}

async fn revision(cluster: &Cluster) -> String {
    let stats: Value = serde_json::from_str(&on(cluster, &["store", "stats", "-o", "json"]).await.ok()).unwrap();
    stats["revision"].to_string()
}

async fn json(cluster: &Cluster, args: &[&str]) -> Value {
    serde_json::from_str(&on(cluster, &[args, &["-o", "json"]].concat()).await.ok()).unwrap()
}

fn item<'v>(document: &'v Value, resource: &str, name: &str) -> &'v Value {
    let mut items = document["items"].as_array().unwrap().iter();
    items.find(|i| i["resource"] == resource && i["name"] == name).unwrap_or_else(|| panic!("no {name}: {document}"))
}

#[tokio::test]
async fn a_deployments_life_is_told_and_brought_back() {
    let cluster = Cluster::durable().await;
    let rest = Rest::of(&cluster).await;
    let created = rest.create(deployment("web")).await;
    let ready =
        |n: i64| move |d: &Value| (d["status"]["readyReplicas"] == n && d["status"]["replicas"] == n).then_some(());
    rest.until("deployments/web", "ready", ready(1)).await;
    let before = revision(&cluster).await;
    rest.patch("deployments/web", json!({"spec": {"replicas": 2}})).await;
    rest.until("deployments/web", "scaled", ready(2)).await;

    let diff = json(&cluster, &["history", "diff", &before, "now", "--patch"]).await;
    let web = item(&diff, "deployments.apps", "web");
    assert_eq!(web["change"], "updated");
    assert_eq!(web["by"], json!(["kubernetes-admin", "system:kube-controller-manager"]));
    assert!(web["patch"].as_str().unwrap().contains("-  replicas: 1\n+  replicas: 2\n"), "{web}");
    let only = json(&cluster, &["history", "diff", &before, "-k", "DEPLOY", "-n", "default"]).await;
    assert_eq!(only["items"].as_array().unwrap().len(), 1, "{only}");
    assert_eq!(json(&cluster, &["history", "diff", "-1s", "now", "-n", "nowhere"]).await["items"], json!([]));

    let log = json(&cluster, &["history", "log", "deployment", "web"]).await;
    let writes = log["items"].as_array().unwrap();
    assert_eq!(
        (&writes[writes.len() - 1]["change"], &writes[writes.len() - 1]["by"]),
        (&json!("created"), &json!("kubernetes-admin"))
    );
    let scaled = writes.iter().find(|w| w["fields"][0] == "spec.replicas 1→2").expect("the change is told");
    assert_eq!(scaled["by"], "kubernetes-admin");
    let table = on(&cluster, &["history", "log", "deploy/web"]).await.ok();
    assert!(table.starts_with("REVISION   AGE") && table.contains("spec.replicas 1→2"), "{table}");

    let old = json(&cluster, &["history", "get", "deployments.apps", "web", "--revision", &before]).await;
    assert_eq!(old["spec"]["replicas"], 1);
    let restored = on(&cluster, &["history", "restore", "deploy", "web", "--to", &before]).await.ok();
    assert!(restored.contains("spec.replicas 2→1"), "{restored}");
    rest.until("deployments/web", "scaled back", ready(1)).await;
    let now = rest.get("deployments/web").await;
    assert!(now["metadata"]["generation"].as_i64().unwrap() >= 3, "{now}");

    rest.delete("deployments/web", json!(null)).await;
    rest.gone("deployments/web").await;
    on(&cluster, &["history", "restore", "deploy", "web", "--to", &before]).await.ok();
    rest.until("deployments/web", "back", ready(1)).await;
    let back = rest.get("deployments/web").await;
    assert_eq!(back["metadata"]["uid"], created["metadata"]["uid"], "the same object");
}

#[tokio::test]
async fn a_namespace_goes_back_and_watches_see_ordinary_events() {
    let mut cluster = Cluster::durable().await;
    let rest = Rest::of(&cluster).await;
    rest.create(json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop"}})).await;
    let gone = rest.create(map("shop", "gone", "1")).await;
    rest.create(map("shop", "changed", "1")).await;
    rest.create(json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s", "namespace": "shop"}, "stringData": {"p": "one"}})).await;
    let service = rest.create(json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "svc", "namespace": "shop"}, "spec": {"ports": [{"port": 80}]}})).await;
    let before = revision(&cluster).await;
    rest.delete(&path("shop", "configmaps", "gone"), json!(null)).await;
    rest.delete(&path("shop", "services", "svc"), json!(null)).await;
    rest.patch(&path("shop", "configmaps", "changed"), json!({"data": {"k": "2"}})).await;
    rest.patch(&path("shop", "secrets", "s"), json!({"stringData": {"p": "two"}})).await;
    rest.create(map("shop", "new", "1")).await;
    rest.create(map("default", "elsewhere", "1")).await;
    let ip = &service["spec"]["clusterIP"];
    rest.create(json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "thief"}, "spec": {"clusterIP": ip, "ports": [{"port": 80}]}})).await;

    let maps: Api<ConfigMap> = Api::namespaced(cluster.client().await, "shop");
    let since = revision(&cluster).await;
    let mut events = maps.watch(&WatchParams::default().disable_bookmarks(), &since).await.unwrap().boxed();
    let arguments = ["history", "restore", "--namespace", "shop", "--to", &before];
    assert!(on(&cluster, &arguments).await.refused().contains("--yes"));
    let plan = json(&cluster, &[&arguments[..], &["--dry-run"]].concat()).await;
    assert_eq!(item(&plan, "configmaps", "gone")["action"], "create");
    assert_eq!(rest.find(&path("shop", "configmaps", "gone")).await, None, "a dry run changes nothing");
    let done = json(&cluster, &[&arguments[..], &["--yes"]].concat()).await;
    assert!(item(&done, "services", "svc")["message"].as_str().unwrap().contains("new address"), "{done}");
    assert!(!done.to_string().contains("dHdv"), "no Secret's value is shown: {done}");

    let mut seen = Vec::new();
    while seen.len() < 3 {
        let event = tokio::time::timeout(LIMIT, events.try_next()).await.expect("in time").unwrap().expect("no end");
        seen.push(match event {
            WatchEvent::Added(o) => format!("+{}", o.metadata.name.unwrap()),
            WatchEvent::Modified(o) => format!("~{}", o.metadata.name.unwrap()),
            WatchEvent::Deleted(o) => format!("-{}", o.metadata.name.unwrap()),
            other => panic!("{other:?}"),
        });
    }
    seen.sort();
    assert_eq!(seen, ["+gone", "-new", "~changed"]);
    let back = rest.get(&path("shop", "configmaps", "gone")).await;
    assert_eq!(back["metadata"]["uid"], gone["metadata"]["uid"]);
    assert_eq!(rest.get(&path("shop", "configmaps", "changed")).await["data"]["k"], "1");
    assert_eq!(rest.get(&path("shop", "secrets", "s")).await["data"]["p"], "b25l");
    assert_ne!(
        &rest.get(&path("shop", "services", "svc")).await["spec"]["clusterIP"],
        ip,
        "it is another Service's now"
    );
    rest.get("configmaps/elsewhere").await;
    let again = on(&cluster, &[&arguments[..], &["--yes"]].concat()).await.ok();
    assert!(!again.contains("configmaps") && !again.contains("failed"), "{again}");

    // The same of the stopped cluster's file, and it is what the server finds when it starts again.
    assert!(cluster.interrupt().await.success());
    let log = at(&cluster.data_dir(), &["history", "log", "cm/changed", "-n", "shop"]).await.ok();
    assert!(log.contains("data.k 2→1") && log.contains("data.k 1→2"), "{log}");
    let restored =
        at(&cluster.data_dir(), &["history", "restore", "cm", "new", "-n", "shop", "--to", &since]).await.ok();
    assert!(restored.contains("created"), "{restored}");
    cluster.restart().await.unwrap();
    Rest::of(&cluster).await.get(&path("shop", "configmaps", "new")).await;
}

#[tokio::test]
async fn what_history_cannot_answer_is_refused_clearly() {
    let cluster = Cluster::up().await;
    let rest = Rest::of(&cluster).await;
    rest.create(map("default", "a", "1")).await;
    let refused = async |args: &[&str]| on(&cluster, args).await.refused();
    assert!(refused(&["history", "diff", "9", "3"]).await.contains("later"));
    assert!(refused(&["history", "diff", "999999"]).await.contains("has not happened yet"));
    assert!(refused(&["history", "diff", "yesterday"]).await.contains("no point in history"));
    assert!(refused(&["history", "log", "gizmo", "x"]).await.contains("doesn't have a resource type \"gizmo\""));
    assert!(refused(&["history", "log", "cm", "nope"]).await.contains("configmaps \"nope\" not found"));
    assert!(refused(&["history", "restore", "cm", "a", "--to", "1"]).await.contains("was not there at revision 1"));
    assert!(
        refused(&["history", "restore", "-n", "nope", "--to", "1", "-y"])
            .await
            .contains("namespaces \"nope\" not found")
    );
    assert!(refused(&["history", "restore", "--to", "1"]).await.contains("--all"));
    let now = revision(&cluster).await;
    on(&cluster, &["store", "compact", "--to", &now]).await.ok();
    assert!(refused(&["history", "diff", "1"]).await.contains("is gone"));

    let nobody = raw::send(&cluster, Identity::Nobody, Method::GET, "/skiff/v1/history/diff", &[], "").await.unwrap();
    assert!(matches!(nobody.status.as_u16(), 401 | 403), "{}", nobody.json());
    let unknown = raw::get(&cluster, "/skiff/v1/history/nothing").await;
    assert_eq!(unknown.status.as_u16(), 404);
    assert_eq!(raw::get(&cluster, "/skiff/v1/history/restore").await.status.as_u16(), 405);
    assert_eq!(raw::post(&cluster, "/skiff/v1/history/restore", "{\"scope\":1}").await.status.as_u16(), 400);
}

#[tokio::test]
async fn definitions_and_namespaces_come_back_before_what_is_of_them() {
    let cluster = Cluster::up().await;
    let rest = Rest::of(&cluster).await;
    let definition = json!({"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": "widgets.example.com"}, "spec": {"group": "example.com", "scope": "Namespaced",
        "names": {"kind": "Widget", "plural": "widgets", "singular": "widget"},
        "versions": [{"name": "v1", "served": true, "storage": true,
            "schema": {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": true}}}]}});
    let definitions = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
    let made = raw::post(&cluster, definitions, definition.to_string()).await;
    assert_eq!(made.status.as_u16(), 201, "{}", made.json());
    rest.create(json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop"}})).await;
    let widgets = "/apis/example.com/v1/namespaces/shop/widgets";
    let widget =
        json!({"apiVersion": "example.com/v1", "kind": "Widget", "metadata": {"name": "w"}, "size": 1}).to_string();
    tests::eventually("the kind is served", LIMIT, || async {
        let made = raw::post(&cluster, widgets, widget.clone()).await;
        if made.status.as_u16() == 201 { Ok(()) } else { Err(made.json()) }
    })
    .await;
    let before = revision(&cluster).await;
    rest.delete(&format!("{definitions}/widgets.example.com"), json!(null)).await;
    rest.delete("/api/v1/namespaces/shop", json!(null)).await;
    rest.gone(&format!("{definitions}/widgets.example.com")).await;
    rest.gone("/api/v1/namespaces/shop").await;
    rest.create(json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "since"}})).await;
    on(&cluster, &["history", "restore", "--all", "--to", &before, "--yes"]).await.ok();
    rest.until(&format!("{widgets}/w"), "back", |w| (w["size"] == 1).then_some(())).await;
    rest.gone("/api/v1/namespaces/since").await;
}
