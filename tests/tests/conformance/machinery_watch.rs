//! [sig-api-machinery] Watchers, API chunking, Table transformation (test/e2e/apimachinery/{watch,chunking,table_conversion}.go).

use super::stage::{Patch, Scenario, Scene, play, scenarios};
use http::Method;
use serde_json::{Value, json};
use tests::cluster::Options;

#[tokio::test]
async fn watchers_chunks_and_tables() {
    let all: &[Scenario] = scenarios![
        should_observe_add_update_and_delete_watch_notifications_on_configmaps,
        should_be_able_to_start_watching_from_a_specific_resource_version,
        should_be_able_to_restart_watching_from_the_last_resource_version_observed_by_the_previous_watch,
        should_observe_an_object_deletion_if_it_stops_meeting_the_requirements_of_the_selector,
        should_receive_events_on_concurrent_watches_in_same_order,
        should_return_chunks_of_results_for_list_calls,
        should_return_pod_details,
        should_return_chunks_of_table_results_for_list_calls,
        should_return_generic_metadata_details_across_all_namespaces_for_nodes,
        should_return_a_406_for_a_backend_which_does_not_implement_metadata,
        should_create_pods_set_the_deletion_timestamp_and_grace_period_of_the_pod,
    ];
    play(Options::default(), all).await;
}

const TABLE: &str = "application/json;as=Table;v=v1;g=meta.k8s.io";

fn map(name: &str, label: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "labels": {"watch": label}}})
}

async fn set(scene: &Scene, name: &str, value: &str) -> Value {
    scene.patch(&format!("configmaps/{name}"), Patch::Merge, json!({"data": {"mutation": value}})).await.ok()
}

fn revision(object: &Value) -> String {
    object["metadata"]["resourceVersion"].as_str().unwrap_or_default().to_owned()
}

async fn should_observe_add_update_and_delete_watch_notifications_on_configmaps(scene: Scene) {
    let mut a = scene.watch("configmaps?labelSelector=watch%3DA").await;
    let mut b = scene.watch("configmaps?labelSelector=watch%3DB").await;
    let mut both = scene.watch("configmaps?labelSelector=watch%20in%20(A,B)").await;
    scene.post("configmaps", map("a", "A")).await.ok();
    for number in ["1", "2"] {
        set(&scene, "a", number).await;
    }
    scene.delete("configmaps/a", Value::Null).await.ok();
    scene.post("configmaps", map("b", "B")).await.ok();
    scene.delete("configmaps/b", Value::Null).await.ok();
    for (kind, data) in [
        ("ADDED", json!(null)),
        ("MODIFIED", json!({"mutation": "1"})),
        ("MODIFIED", json!({"mutation": "2"})),
        ("DELETED", json!({"mutation": "2"})),
    ] {
        for watch in [&mut a, &mut both] {
            let object = watch.expect(kind).await;
            assert_eq!((&object["metadata"]["name"], &object["data"]), (&json!("a"), &data));
        }
    }
    for kind in ["ADDED", "DELETED"] {
        for watch in [&mut b, &mut both] {
            assert_eq!(watch.expect(kind).await["metadata"]["name"], "b");
        }
    }
}

async fn should_be_able_to_start_watching_from_a_specific_resource_version(scene: Scene) {
    scene.post("configmaps", map("from", "rv")).await.ok();
    let first = set(&scene, "from", "1").await;
    set(&scene, "from", "2").await;
    scene.delete("configmaps/from", Value::Null).await.ok();
    let mut watch =
        scene.watch(&format!("configmaps?labelSelector=watch%3Drv&resourceVersion={}", revision(&first))).await;
    assert_eq!(watch.expect("MODIFIED").await["data"]["mutation"], "2");
    assert_eq!(watch.expect("DELETED").await["data"]["mutation"], "2");
}

async fn should_be_able_to_restart_watching_from_the_last_resource_version_observed_by_the_previous_watch(
    scene: Scene,
) {
    let mut before = scene.watch("configmaps?labelSelector=watch%3Dclosed").await;
    scene.post("configmaps", map("closed", "closed")).await.ok();
    set(&scene, "closed", "1").await;
    before.expect("ADDED").await;
    let last = before.expect("MODIFIED").await;
    drop(before);
    set(&scene, "closed", "2").await;
    let mut watch =
        scene.watch(&format!("configmaps?labelSelector=watch%3Dclosed&resourceVersion={}", revision(&last))).await;
    scene.delete("configmaps/closed", Value::Null).await.ok();
    assert_eq!(watch.expect("MODIFIED").await["data"]["mutation"], "2");
    watch.expect("DELETED").await;
}

async fn should_observe_an_object_deletion_if_it_stops_meeting_the_requirements_of_the_selector(scene: Scene) {
    let label = |value: &str| json!({"metadata": {"labels": {"watch": value}}});
    let mut watch = scene.watch("configmaps?labelSelector=watch%3Dgood").await;
    scene.post("configmaps", map("changing", "good")).await.ok();
    set(&scene, "changing", "1").await;
    scene.patch("configmaps/changing", Patch::Merge, label("bad")).await.ok();
    watch.expect("ADDED").await;
    watch.expect("MODIFIED").await;
    let gone = watch.expect("DELETED").await;
    // As it was when it still fitted, at the revision at which it no longer does.
    assert_eq!((&gone["metadata"]["labels"]["watch"], &gone["data"]["mutation"]), (&json!("good"), &json!("1")));
    set(&scene, "changing", "2").await;
    scene.patch("configmaps/changing", Patch::Merge, label("good")).await.ok();
    set(&scene, "changing", "3").await;
    scene.delete("configmaps/changing", Value::Null).await.ok();
    assert_eq!(watch.expect("ADDED").await["data"]["mutation"], "2");
    assert_eq!(watch.expect("MODIFIED").await["data"]["mutation"], "3");
    watch.expect("DELETED").await;
}

async fn should_receive_events_on_concurrent_watches_in_same_order(scene: Scene) {
    const EVENTS: usize = 60;
    let writer = scene.clone();
    let start = scene.get("configmaps").await.ok();
    let writing = tokio::spawn(async move {
        for n in 0..EVENTS {
            let name = format!("map-{}", n % 7);
            let path = format!("configmaps/{name}");
            // Creates, updates and deletes, in an order that only the server knows.
            if writer.post("configmaps", map(&name, "order")).await.code == 409 {
                match n % 3 {
                    0 => _ = writer.delete(&path, Value::Null).await,
                    _ => _ = writer.patch(&path, Patch::Merge, json!({"data": {"n": n.to_string()}})).await,
                }
            }
        }
    });
    let mut first = scene.watch(&format!("configmaps?resourceVersion={}", revision(&start))).await;
    let mut others = Vec::new();
    let mut seen = Vec::new();
    for _ in 0..EVENTS {
        let event = first.next().await;
        let at = revision(&event["object"]);
        // One more watch from each event on: it must tell what the first one tells from there.
        others.push((seen.len() + 1, scene.watch(&format!("configmaps?resourceVersion={at}")).await));
        seen.push(at);
    }
    for (from, watch) in &mut others {
        for expected in &seen[*from..] {
            assert_eq!(revision(&watch.next().await["object"]), *expected);
        }
    }
    writing.await.unwrap();
}

async fn should_return_chunks_of_results_for_list_calls(scene: Scene) {
    const ALL: usize = 40;
    for n in 0..ALL {
        let template = json!({"apiVersion": "v1", "kind": "PodTemplate", "metadata": {"name": format!("template-{n:04}")},
            "template": {"spec": {"containers": [{"name": "test", "image": "test2"}]}}});
        scene.post("podtemplates", template).await.ok();
    }
    let (mut found, mut query, mut at) = (0, String::new(), None::<Value>);
    loop {
        let list = scene.get(&format!("podtemplates?limit=17{query}")).await.ok();
        let items = list["items"].as_array().unwrap();
        assert!(items.len() <= 17);
        for item in items {
            assert_eq!(item["metadata"]["name"], format!("template-{found:04}"));
            found += 1;
        }
        let meta = &list["metadata"];
        let expected = at.get_or_insert_with(|| meta["resourceVersion"].clone());
        assert_eq!(meta["resourceVersion"], *expected);
        let Some(more) = meta["continue"].as_str().filter(|c| !c.is_empty()) else { break };
        assert_eq!(meta["remainingItemCount"], ALL - found);
        query = format!("&continue={more}");
    }
    assert_eq!(found, ALL);
    let whole = scene.get("podtemplates?limit=0&resourceVersion=0").await.ok();
    assert_eq!((whole["items"].as_array().unwrap().len(), &whole["metadata"]["continue"]), (ALL, &Value::Null));
}

async fn should_return_pod_details(scene: Scene) {
    let pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "pod-1"},
        "spec": {"containers": [{"name": "c", "image": "skiff.local/none:1"}]}});
    scene.post("pods", pod).await.ok();
    let table = scene.get_as("pods/pod-1", TABLE).await.ok();
    assert_eq!((&table["kind"], &table["apiVersion"]), (&json!("Table"), &json!("meta.k8s.io/v1")));
    assert_eq!(table["columnDefinitions"][0]["name"], "Name");
    assert_eq!(table["rows"].as_array().unwrap().len(), 1);
    let row = &table["rows"][0];
    assert_eq!(row["cells"].as_array().unwrap().len(), table["columnDefinitions"].as_array().unwrap().len());
    assert_eq!((&row["cells"][0], &row["object"]["kind"]), (&json!("pod-1"), &json!("PartialObjectMetadata")));
}

async fn should_return_chunks_of_table_results_for_list_calls(scene: Scene) {
    for n in 0..20 {
        let template = json!({"apiVersion": "v1", "kind": "PodTemplate", "metadata": {"name": format!("template-{n:04}")},
            "template": {"spec": {"containers": [{"name": "test", "image": "test2"}]}}});
        scene.post("podtemplates", template).await.ok();
    }
    let page = scene.get_as("podtemplates?limit=2", TABLE).await.ok();
    assert_eq!(page["rows"].as_array().unwrap().len(), 2);
    assert!(page["metadata"]["resourceVersion"].is_string(), "{page}");
    assert_eq!(
        (&page["rows"][0]["cells"][0], &page["rows"][1]["cells"][0]),
        (&json!("template-0000"), &json!("template-0001"))
    );
    let more = page["metadata"]["continue"].as_str().expect("there is more");
    let rest = scene.get_as(&format!("podtemplates?continue={more}"), TABLE).await.ok();
    assert_eq!(rest["rows"].as_array().unwrap().len(), 18);
    assert_eq!(rest["rows"][0]["cells"][0], "template-0002");
    assert!(rest["metadata"]["continue"].is_null());
}

async fn should_return_generic_metadata_details_across_all_namespaces_for_nodes(scene: Scene) {
    let answer = scene.get_as("/api/v1/nodes", TABLE).await;
    assert_eq!(answer.headers["content-type"], "application/json");
    let table = answer.ok();
    let rows = table["rows"].as_array().unwrap();
    assert!(!rows.is_empty());
    assert_eq!(rows[0]["cells"][0], rows[0]["object"]["metadata"]["name"]);
    assert!(rows[0]["object"]["metadata"]["resourceVersion"].is_string());
}

async fn should_return_a_406_for_a_backend_which_does_not_implement_metadata(scene: Scene) {
    let review = json!({"apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectAccessReview",
        "spec": {"resourceAttributes": {"namespace": "default", "resource": "secrets", "verb": "get"}}});
    let headers = [("accept", TABLE), ("content-type", "application/json")];
    let path = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews";
    let status = scene.call(Method::POST, path, &headers, review.to_string()).await;
    let status = status.refused(406, "only the following media types are accepted: application/json");
    assert_eq!(status["reason"], "NotAcceptable");
}

async fn should_create_pods_set_the_deletion_timestamp_and_grace_period_of_the_pod(scene: Scene) {
    let pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "graceful", "labels": {"name": "foo", "time": "t"}},
        "spec": {"terminationGracePeriodSeconds": 30, "containers": [{"name": "c", "image": "skiff.local/none:1"}],
            "nodeSelector": {"no": "such-node"}}});
    assert!(scene.items("pods?labelSelector=time%3Dt").await.is_empty());
    let mut watch = scene.watch("pods?labelSelector=time%3Dt").await;
    scene.post("pods", pod).await.ok();
    watch.expect("ADDED").await;
    // Not on any node: nobody has to be asked, so it is gone at once.
    scene.delete("pods/graceful", json!({"gracePeriodSeconds": 30})).await.ok();
    let events = watch.until(|e| e["type"] == "DELETED").await;
    assert_eq!(events.last().unwrap()["object"]["metadata"]["name"], "graceful");
}
