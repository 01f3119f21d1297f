//! Rules in CEL through the whole pipeline: a CRD with rules is accepted, and its objects are judged by them.

use super::Cluster;
use serde_json::{Value, json};
use std::time::{Duration, Instant};

const CRDS: &str = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
const JOBS: &str = "/apis/rules.example.com/v1/namespaces/default/jobs";

fn crd(spec: &Value) -> Value {
    json!({"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
    "metadata": {"name": "jobs.rules.example.com"},
    "spec": {"group": "rules.example.com", "scope": "Namespaced", "names": {"plural": "jobs", "kind": "Job"},
        "versions": [{"name": "v1", "served": true, "storage": true, "subresources": {"status": {}},
            "schema": {"openAPIV3Schema": {"type": "object", "properties": {
                "spec": spec,
                "status": {"type": "object", "properties": {"phase": {"type": "string",
                    "x-kubernetes-validations": [{"rule": "oldSelf != 'Done'", "message": "done is done"}]}}},
            }}}}]}})
}

async fn with_rules(spec: &Value) -> Cluster {
    let cluster = Cluster::new().await;
    let mut events = cluster.watch(&format!("{CRDS}?watch=1")).await;
    cluster.post(CRDS, crd(spec)).await;
    loop {
        let event = events.next().await.expect("one more event");
        let conditions = event["object"]["status"]["conditions"].as_array().cloned().unwrap_or_default();
        if conditions.iter().any(|c| c["type"] == "Established" && c["status"] == "True") {
            return cluster;
        }
    }
}

fn job(name: &str, spec: &Value) -> Value {
    json!({"apiVersion": "rules.example.com/v1", "kind": "Job", "metadata": {"name": name}, "spec": spec})
}

fn spec() -> Value {
    json!({"type": "object",
    "x-kubernetes-validations": [
        {"rule": "self.minReplicas <= self.replicas && self.replicas <= self.maxReplicas",
            "messageExpression": "'replicas %d must be within %d and %d'.format([self.replicas, self.minReplicas, self.maxReplicas])",
            "fieldPath": ".replicas"},
        {"rule": "!has(oldSelf.image) || has(self.image)", "message": "image is required once set"},
    ],
    "properties": {
        "minReplicas": {"type": "integer", "default": 1}, "replicas": {"type": "integer"}, "maxReplicas": {"type": "integer", "default": 5},
        "image": {"type": "string", "x-kubernetes-validations": [{"rule": "self == oldSelf", "message": "Value is immutable", "reason": "FieldValueForbidden"}]},
        "memory": {"type": "string", "maxLength": 20, "x-kubernetes-validations": [{"rule": "isQuantity(self) && quantity(self).isLessThan(quantity('1Gi'))", "message": "below 1Gi"}]},
    }})
}

#[tokio::test(start_paused = true)]
async fn objects_are_judged_by_the_rules_of_their_crd() {
    let cluster = with_rules(&spec()).await;
    let status = cluster.fails("POST", JOBS, job("a", &json!({"replicas": 9, "memory": "2Gi"}))).await;
    assert_eq!((&status["code"], &status["reason"]), (&json!(422), &json!("Invalid")));
    assert_eq!(
        status["message"],
        "Job.rules.example.com \"a\" is invalid: [spec.replicas: Invalid value: replicas 9 must be within 1 and 5, spec.memory: Invalid value: \"2Gi\": below 1Gi]"
    );
    assert_eq!(
        status["details"]["causes"][0],
        json!({"reason": "FieldValueInvalid", "message": "Invalid value: replicas 9 must be within 1 and 5", "field": "spec.replicas"})
    );
    cluster.post(JOBS, job("a", &json!({"replicas": 2, "image": "x", "memory": "64Mi"}))).await;
    let one = format!("{JOBS}/a");
    let status = cluster.fails("PATCH", &one, json!({"spec": {"image": "y"}})).await;
    assert_eq!(status["message"], "Job.rules.example.com \"a\" is invalid: spec.image: Forbidden: Value is immutable");
    let status = cluster.fails("PATCH", &one, json!({"spec": {"image": null}})).await;
    assert_eq!(
        status["message"],
        "Job.rules.example.com \"a\" is invalid: spec: Invalid value: image is required once set"
    );
    cluster.ok("PATCH", &one, json!({"spec": {"replicas": 3}})).await;
    let phase = |phase: &str| json!({"status": {"phase": phase}});
    let at_status = format!("{one}/status");
    cluster.ok("PATCH", &at_status, phase("Done")).await;
    let status = cluster.fails("PATCH", &at_status, phase("Again")).await;
    assert_eq!(
        status["message"],
        "Job.rules.example.com \"a\" is invalid: status.phase: Invalid value: \"Again\": done is done"
    );
}

#[tokio::test(start_paused = true)]
async fn rules_that_came_later_let_be_what_was_there() {
    let mut open = spec();
    open.as_object_mut().unwrap().remove("x-kubernetes-validations");
    let cluster = with_rules(&open).await;
    cluster.post(JOBS, job("a", &json!({"replicas": 9}))).await;
    let rules = json!({"spec": {"versions": crd(&spec())["spec"]["versions"]}});
    cluster.ok("PATCH", &format!("{CRDS}/jobs.rules.example.com"), rules).await;
    // The catalog follows the CRD on its own time.
    loop {
        let body = serde_json::to_vec(&job("b", &json!({"replicas": 9}))).unwrap();
        let json = [("content-type", "application/json")];
        let answer = cluster.send("POST", &format!("{JOBS}?dryRun=All"), &json, body).await;
        if answer.code == 422 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let labels = json!({"metadata": {"labels": {"a": "b"}}});
    cluster.ok("PATCH", &format!("{JOBS}/a"), labels).await;
    cluster.fails("PATCH", &format!("{JOBS}/a"), json!({"spec": {"replicas": 8}})).await;
}

#[tokio::test(start_paused = true)]
async fn crds_with_wrong_or_hostile_rules_are_refused_at_once() {
    let cluster = Cluster::new().await;
    let start = Instant::now();
    for (rule, wanted) in [
        ("self.nope == 1", "compilation failed: ERROR: <input>:1:5: undefined field 'nope'"),
        (
            "self.list.all(x, self.list.all(y, x == y))",
            "estimated rule cost exceeds budget by factor of more than 100x",
        ),
        (&"(".repeat(4_000), "expression recursion limit exceeded"),
        ("self.list.exists(x, x.matches('('))", "invalid matches argument"),
    ] {
        let spec = json!({"type": "object", "properties": {"list": {"type": "array", "items": {"type": "string"}}},
            "x-kubernetes-validations": [{"rule": rule}]});
        let status = cluster.fails("POST", CRDS, crd(&spec)).await;
        assert_eq!(status["code"], 422);
        let message = status["message"].as_str().unwrap();
        assert!(message.contains(wanted), "{message}");
    }
    assert!(start.elapsed() < Duration::from_secs(120), "{:?}", start.elapsed());
}

#[tokio::test(start_paused = true)]
async fn an_object_that_makes_a_rule_expensive_is_refused_in_time() {
    // Within what is estimated, as the limits say, yet more than one expression may take.
    let spec = json!({"type": "object", "properties": {"list": {"type": "array", "maxItems": 1000,
        "items": {"type": "string", "maxLength": 4}, "x-kubernetes-validations": [
            {"rule": "self.all(x, self.exists_one(y, x == y))", "message": "no two alike"}]}}});
    let cluster = with_rules(&spec).await;
    let list: Vec<String> = (0..1000).map(|n| format!("{n}")).collect();
    let start = Instant::now();
    let status = cluster.fails("POST", JOBS, job("a", &json!({"list": list}))).await;
    assert!(start.elapsed() < Duration::from_secs(120), "{:?}", start.elapsed());
    let message = status["message"].as_str().unwrap();
    assert!(message.contains("call cost exceeds limit for rule: no two alike"), "{message}");
    cluster.post(JOBS, job("a", &json!({"list": ["1", "2"]}))).await;
}

#[tokio::test(start_paused = true)]
async fn an_apply_that_empties_a_field_leaves_no_null() {
    let limits = json!({"type": "object", "properties": {"cpu": {"type": "string"}}});
    let cluster =
        with_rules(&json!({"type": "object", "properties": {"limits": limits, "note": {"type": "string"}}})).await;
    let apply = |spec: Value| {
        let headers = [("content-type", "application/apply-patch+yaml")];
        let (cluster, path) = (&cluster, format!("{JOBS}/a?fieldManager=x"));
        async move { cluster.send("PATCH", &path, &headers, job("a", &spec).to_string()).await }
    };
    assert_eq!(apply(json!({"limits": {"cpu": "1"}, "note": "n"})).await.code, 201);
    let after = apply(json!({"note": "n"})).await;
    assert_eq!((after.code.as_u16(), &after.json()["spec"]), (200, &json!({"note": "n"})));
    let nulled = cluster.ok("PATCH", &format!("{JOBS}/a"), json!({"spec": {"note": null}})).await;
    assert_eq!(nulled["spec"], json!({}));
}
