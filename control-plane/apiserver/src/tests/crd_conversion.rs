//! Versions of a CRD that differ, converted by a webhook over TLS.

use super::Cluster;
use super::hook_server::{Behaviour, Server};
use serde_json::{Value, json};
use std::time::Duration;

const CRDS: &str = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
const V1: &str = "/apis/example.com/v1/namespaces/default/hosts";
const V2: &str = "/apis/example.com/v2/namespaces/default/hosts";

/// What the webhook does with a review.
type Answer = fn(&Value) -> Value;

fn reply(review: &Value, response: Value) -> Value {
    let mut response = response;
    response["uid"] = review["request"]["uid"].clone();
    json!({"apiVersion": review["apiVersion"], "kind": "ConversionReview", "response": response})
}

/// `spec.hostPort` of v1 is `spec.host` and `spec.port` of v2; `spec.note` is the same.
fn good(review: &Value) -> Value {
    let wanted = review["request"]["desiredAPIVersion"].clone();
    let objects: Vec<Value> = review["request"]["objects"]
        .as_array()
        .unwrap()
        .iter()
        .map(|object| {
            let mut object = object.clone();
            let spec = object["spec"].clone();
            // Of a part of an object, a part: who owns what is found by asking about such.
            object["spec"] = if wanted == "example.com/v2" {
                let pair = spec["hostPort"].as_str().and_then(|pair| pair.split_once(':'));
                pair.map_or_else(|| json!({}), |(host, port)| json!({"host": host, "port": port}))
            } else {
                match (spec["host"].as_str(), spec["port"].as_str()) {
                    (None, None) => json!({}),
                    (host, port) => json!({"hostPort": format!("{}:{}", host.unwrap_or(""), port.unwrap_or(""))}),
                }
            };
            if let Some(note) = spec.get("note") {
                object["spec"]["note"] = note.clone();
            }
            object["apiVersion"] = wanted.clone();
            object["metadata"]["uid"] = object["metadata"]["uid"].clone();
            object
        })
        .collect();
    reply(review, json!({"result": {"status": "Success"}, "convertedObjects": objects}))
}

fn crd(webhook: &Server) -> Value {
    let text = json!({"type": "string"});
    let version = |name: &str, storage: bool, properties: Value| {
        json!({"name": name, "served": true, "storage": storage, "schema": {"openAPIV3Schema":
            {"type": "object", "properties": {"spec": {"type": "object", "properties": properties}}}}})
    };
    json!({"metadata": {"name": "hosts.example.com"}, "spec": {
        "group": "example.com", "scope": "Namespaced", "names": {"plural": "hosts", "kind": "Host"},
        "versions": [version("v1", true, json!({"hostPort": text, "note": text})),
            version("v2", false, json!({"host": text, "port": text, "note": text}))],
        "conversion": {"strategy": "Webhook", "webhook": {"conversionReviewVersions": ["v1"],
            "clientConfig": {"url": format!("https://localhost:{}/convert", webhook.port), "caBundle": webhook.ca}}},
    }})
}

async fn with_webhook() -> (Cluster, Server) {
    let webhook = Server::start(|review| Behaviour::Answer(good(review))).await;
    let cluster = Cluster::new().await;
    cluster.post(CRDS, crd(&webhook)).await;
    while cluster.send("GET", V2, &[], "").await.code != 200 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    (cluster, webhook)
}

#[tokio::test]
async fn every_version_shows_its_own_form() {
    let (cluster, _webhook) = with_webhook().await;
    let mut watch = cluster.watch(&format!("{V2}?watch=1")).await;
    cluster.post(V1, json!({"metadata": {"name": "a"}, "spec": {"hostPort": "x:80"}})).await;
    let event = watch.next().await.unwrap();
    assert_eq!(event["object"]["spec"], json!({"host": "x", "port": "80"}));
    let made = cluster.post(V2, json!({"metadata": {"name": "b"}, "spec": {"host": "y", "port": "81"}})).await;
    assert_eq!((&made["apiVersion"], &made["spec"]["host"]), (&json!("example.com/v2"), &json!("y")));
    assert_eq!(cluster.get(&format!("{V1}/b")).await["spec"], json!({"hostPort": "y:81"}));
    let list = cluster.get(V2).await;
    assert_eq!(list["items"][0]["spec"]["host"], "x");
    assert_eq!(list["items"][1]["spec"]["port"], "81");
    let patched = cluster.ok("PATCH", &format!("{V2}/a"), json!({"spec": {"port": "90"}})).await;
    assert_eq!(patched["spec"], json!({"host": "x", "port": "90"}));
    assert_eq!(cluster.get(&format!("{V1}/a")).await["spec"]["hostPort"], "x:90");
    cluster.ok("DELETE", &format!("{V2}/a"), Value::Null).await;
}

#[tokio::test]
async fn webhooks_that_fail_or_lie_are_told_of() {
    let (cluster, webhook) = with_webhook().await;
    cluster.post(V1, json!({"metadata": {"name": "a"}, "spec": {"hostPort": "x:80"}})).await;
    let cases: [(Answer, &str); 4] = [
        (|review| reply(review, json!({"result": {"status": "Failure", "message": "not today"}})), "failed: not today"),
        (
            |review| reply(review, json!({"result": {"status": "Success"}, "convertedObjects": []})),
            "returned 0 objects, expected 1",
        ),
        (
            |review| {
                reply(
                    review,
                    json!({"result": {"status": "Success"}, "convertedObjects": review["request"]["objects"]}),
                )
            },
            "returned invalid converted object at index 0: invalid groupVersion (expected example.com/v2, received example.com/v1)",
        ),
        (
            |_| json!({"kind": "Pod", "apiVersion": "v1"}),
            "expected webhook response of apiextensions.k8s.io/v1, Kind=ConversionReview, got v1, Kind=Pod",
        ),
    ];
    for (behaviour, wanted) in cases {
        webhook.behaves(move |review| Behaviour::Answer(behaviour(review)));
        let status = cluster.fails("GET", &format!("{V2}/a"), Value::Null).await;
        assert_eq!(status["code"], 500);
        let message = status["message"].as_str().unwrap();
        assert!(
            message.contains("conversion webhook for example.com/v1, Kind=Host") && message.contains(wanted),
            "{message}"
        );
        assert_eq!(cluster.fails("GET", V2, Value::Null).await["code"], 500);
        let event = cluster.watch(&format!("{V2}?watch=1")).await.next().await.unwrap();
        assert_eq!(event["type"], "ERROR");
    }
    // The stored version needs nobody.
    assert_eq!(cluster.get(&format!("{V1}/a")).await["spec"]["hostPort"], "x:80");
}

impl Cluster {
    /// Applies a host's `spec`: the status code and the answer.
    async fn apply_host(&self, path: &str, query: &str, spec: Value) -> (u16, Value) {
        let version = if path == V1 { "example.com/v1" } else { "example.com/v2" };
        let object = json!({"apiVersion": version, "kind": "Host", "metadata": {"name": "a"}, "spec": spec});
        let headers = [("content-type", "application/apply-patch+yaml")];
        let path = format!("{path}/a?fieldManager={query}");
        let answer = self.send("PATCH", &path, &headers, object.to_string()).await;
        (answer.code.as_u16(), answer.json())
    }
}

/// What a manager owns of the spec.
fn owned(object: &Value, manager: &str) -> Value {
    let entries = object["metadata"]["managedFields"].as_array().unwrap();
    let own = entries.iter().filter(|entry| entry["manager"] == manager);
    own.map(|entry| entry["fieldsV1"]["f:spec"].clone()).find(|fields| !fields.is_null()).unwrap_or_default()
}

#[tokio::test]
async fn what_is_applied_in_one_version_is_owned_in_the_others() {
    let (cluster, webhook) = with_webhook().await;
    assert_eq!(cluster.apply_host(V1, "one", json!({"hostPort": "x:80"})).await.0, 201);
    cluster.ok("PATCH", &format!("{V1}/a?fieldManager=one"), json!({"metadata": {"labels": {"a": "b"}}})).await;
    assert_eq!(cluster.apply_host(V1, "one", json!({"hostPort": "x:80"})).await.0, 200);
    assert_eq!(webhook.asked(), Vec::<Value>::new(), "all speak the stored version");
    // Other fields are there in the other version, and its owner keeps what they were in his.
    let labelled = json!({"metadata": {"labels": {"l": "m"}}});
    let now = cluster.ok("PATCH", &format!("{V2}/a?fieldManager=two"), labelled).await;
    assert_eq!(owned(&now, "one"), json!({"f:hostPort": {}}));
    // A conflict names the field as its owner calls it.
    let (code, refused) = cluster.apply_host(V2, "two", json!({"port": "90"})).await;
    let message = r#"Apply failed with 1 conflict: conflict with "one": .spec.hostPort"#;
    assert_eq!((code, &refused["message"]), (409, &json!(message)));
    let (code, forced) = cluster.apply_host(V2, "two&force=true", json!({"port": "90"})).await;
    assert_eq!((code, &forced["spec"]), (200, &json!({"host": "x", "port": "90"})));
    assert_eq!((owned(&forced, "one"), owned(&forced, "two")), (Value::Null, json!({"f:port": {}})));
    let (code, refused) = cluster.apply_host(V1, "one", json!({"hostPort": "x:80"})).await;
    let message = r#"Apply failed with 1 conflict: conflict with "two": .spec.port"#;
    assert_eq!((code, &refused["message"]), (409, &json!(message)));
    // What both want both own.
    let (code, shared) = cluster.apply_host(V1, "one", json!({"hostPort": "x:90"})).await;
    assert_eq!((code, owned(&shared, "two")), (200, json!({"f:port": {}})));
    // One review for an update: what was and what is to be.
    webhook.asked();
    let changed =
        cluster.ok("PATCH", &format!("{V1}/a?fieldManager=three"), json!({"spec": {"hostPort": "y:90"}})).await;
    let asked = webhook.asked();
    assert_eq!((asked.len(), &asked[0]["desiredAPIVersion"]), (1, &json!("example.com/v2")));
    let hosts: Vec<&Value> = asked[0]["objects"].as_array().unwrap().iter().map(|o| &o["spec"]["hostPort"]).collect();
    assert_eq!(hosts, ["x:90", "y:90"]);
    assert_eq!((owned(&changed, "one"), owned(&changed, "two")), (Value::Null, json!({"f:port": {}})));
}

#[tokio::test]
async fn who_moves_to_another_version_takes_out_what_only_they_applied() {
    let (cluster, webhook) = with_webhook().await;
    let spec = json!({"hostPort": "x:80", "note": "mine"});
    assert_eq!(cluster.apply_host(V1, "one", spec).await.0, 201);
    assert_eq!(cluster.apply_host(V2, "two", json!({"port": "80"})).await.0, 200);
    webhook.asked();
    let (code, moved) = cluster.apply_host(V2, "one", json!({"host": "x"})).await;
    // Still another's as a part of what was one field.
    assert_eq!((code, &moved["spec"]), (200, &json!({"host": "x", "port": "80"})));
    assert_eq!(owned(&moved, "one"), json!({"f:host": {}}));
    assert!(webhook.asked().len() < 16, "a few rounds are enough");
    let (code, noted) = cluster.apply_host(V1, "three", json!({"note": "ours"})).await;
    assert_eq!((code, &noted["spec"]["note"]), (200, &json!("ours")));
    assert_eq!(cluster.apply_host(V2, "four", json!({"note": "ours"})).await.0, 200);
    let (code, left) = cluster.apply_host(V1, "three", json!({})).await;
    assert_eq!((code, &left["spec"]), (200, &json!({"hostPort": "x:80", "note": "ours"})));
    let (code, left) = cluster.apply_host(V2, "four", json!({})).await;
    assert_eq!((code, left["spec"].get("note")), (200, None));
}

#[tokio::test]
async fn a_webhook_that_fails_stops_applies_and_leaves_owners_to_updates() {
    let (cluster, webhook) = with_webhook().await;
    assert_eq!(cluster.apply_host(V1, "one", json!({"hostPort": "x:80"})).await.0, 201);
    assert_eq!(cluster.apply_host(V2, "two", json!({"port": "80"})).await.0, 200);
    let before = cluster.get(&format!("{V1}/a")).await;
    webhook.behaves(|_| Behaviour::Code(503));
    let (code, failed) = cluster.apply_host(V1, "one", json!({"hostPort": "x:81"})).await;
    let message = failed["message"].as_str().unwrap();
    assert!(code == 500 && message.contains("conversion webhook for example.com/v1, Kind=Host failed: "), "{message}");
    let changed =
        cluster.ok("PATCH", &format!("{V1}/a?fieldManager=three"), json!({"spec": {"hostPort": "y:80"}})).await;
    assert_eq!(changed["spec"]["hostPort"], "y:80");
    assert_eq!(changed["metadata"]["managedFields"], before["metadata"]["managedFields"]);
    // One that hangs costs its own time, once.
    webhook.behaves(|_| Behaviour::Hang);
    tokio::time::pause();
    let start = tokio::time::Instant::now();
    let (code, failed) = cluster.apply_host(V1, "one", json!({"hostPort": "x:82"})).await;
    let message = failed["message"].as_str().unwrap();
    assert!(code == 500 && message.contains("context deadline exceeded"), "{message}");
    assert!(start.elapsed() < Duration::from_secs(40), "{:?}", start.elapsed());
}
