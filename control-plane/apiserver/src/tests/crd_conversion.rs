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

/// `spec.hostPort` of v1 is `spec.host` and `spec.port` of v2.
fn good(review: &Value) -> Value {
    let wanted = review["request"]["desiredAPIVersion"].clone();
    let objects: Vec<Value> = review["request"]["objects"]
        .as_array()
        .unwrap()
        .iter()
        .map(|object| {
            let mut object = object.clone();
            let spec = object["spec"].clone();
            object["spec"] = if wanted == "example.com/v2" {
                let (host, port) = spec["hostPort"].as_str().unwrap().split_once(':').unwrap();
                json!({"host": host, "port": port})
            } else {
                let text = |field: &str| spec[field].as_str().unwrap().to_owned();
                json!({"hostPort": format!("{}:{}", text("host"), text("port"))})
            };
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
        "versions": [version("v1", true, json!({"hostPort": text})), version("v2", false, json!({"host": text, "port": text}))],
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
