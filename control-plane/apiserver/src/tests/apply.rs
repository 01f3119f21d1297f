//! Server-side apply and the owners of fields, through the pipeline.

use super::*;

const A: &str = "/api/v1/namespaces/default/configmaps/a";
const D: &str = "/apis/apps/v1/namespaces/default/deployments/d";

impl Cluster {
    async fn apply(&self, path: &str, query: &str, config: impl ToString) -> Answer {
        let headers = [("content-type", "application/apply-patch+yaml")];
        self.send("PATCH", &format!("{path}?{query}"), &headers, config.to_string()).await
    }

    async fn applied(&self, path: &str, manager: &str, config: &Value) -> Value {
        let answer = self.apply(path, &format!("fieldManager={manager}"), config).await;
        assert!(answer.code.is_success(), "{:?}", answer.bytes);
        answer.json()
    }

    async fn refused(&self, path: &str, query: &str, config: impl ToString) -> Value {
        let answer = self.apply(path, query, config).await;
        assert!(!answer.code.is_success(), "{:?}", answer.bytes);
        let status = answer.json();
        assert_eq!(status["code"], answer.code.as_u16());
        status
    }

    async fn by(&self, agent: &str, method: &str, path: &str, body: &Value) -> Value {
        let kind = if method == "PATCH" { "application/merge-patch+json" } else { "application/json" };
        let answer = self.send(method, path, &[("content-type", kind), ("user-agent", agent)], body.to_string()).await;
        assert!(answer.code.is_success(), "{:?}", answer.bytes);
        answer.json()
    }
}

fn config(data: Value) -> Value {
    let mut config = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}});
    config["data"] = data;
    config
}

fn deployment(replicas: Value) -> Value {
    let mut deployment = json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "d"}, "spec": {
        "selector": {"matchLabels": {"a": "b"}},
        "template": {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c", "image": "x"}]}},
    }});
    if !replicas.is_null() {
        deployment["spec"]["replicas"] = replicas;
    }
    deployment
}

/// (manager, operation, subresource, fieldsV1) of each entry.
fn owners(object: &Value) -> Vec<(String, String, String, Value)> {
    let text = |entry: &Value, name: &str| entry[name].as_str().unwrap_or_default().to_owned();
    let entries = object["metadata"]["managedFields"].as_array().cloned().unwrap_or_default();
    entries
        .iter()
        .map(|e| (text(e, "manager"), text(e, "operation"), text(e, "subresource"), e["fieldsV1"].clone()))
        .collect()
}

fn managers(object: &Value) -> Vec<String> {
    owners(object).into_iter().map(|(manager, ..)| manager).collect()
}

#[tokio::test]
async fn an_apply_creates_then_changes_then_does_nothing() {
    let cluster = Cluster::new().await;
    let answer = cluster.apply(A, "fieldManager=m", config(json!({"k": "1"}))).await;
    assert_eq!(answer.code, StatusCode::CREATED);
    let made = answer.json();
    assert_eq!(owners(&made), [("m".into(), "Apply".into(), "".into(), json!({"f:data": {"f:k": {}}}))]);
    let yaml = "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: a\ndata:\n  k: '2'\n  l: '3'\n";
    let answer = cluster.apply(A, "fieldManager=m", yaml).await;
    assert_eq!(answer.code, StatusCode::OK);
    assert_eq!(answer.json()["data"], json!({"k": "2", "l": "3"}));
    let before = cluster.get(A).await;
    cluster.advance(Duration::from_secs(100));
    let again = cluster.apply(A, "fieldManager=m", yaml).await.json();
    assert_eq!(again, before);
    assert_eq!(cluster.get(A).await, before);
    let dry = cluster.apply(A, "fieldManager=m&dryRun=All", config(json!({}))).await.json();
    assert_eq!((dry.get("data"), &cluster.get(A).await), (None, &before));
}

#[tokio::test]
async fn conflicts_name_fields_and_force_takes_them() {
    let cluster = Cluster::new().await;
    cluster.applied(D, "one", &deployment(json!(1))).await;
    cluster.by("kubectl/v1.36", "PATCH", D, &json!({"spec": {"replicas": 4}})).await;
    let mut other = deployment(json!(3));
    other["spec"]["template"]["spec"]["containers"][0]["image"] = "y".into();
    insta::assert_json_snapshot!("apply_conflicts", cluster.refused(D, "fieldManager=two", &other).await);
    insta::assert_json_snapshot!("apply_conflict", cluster.refused(D, "fieldManager=two", deployment(json!(3))).await);
    let forced = cluster.apply(D, "fieldManager=two&force=true", &other).await.json();
    assert_eq!((&forced["spec"]["replicas"], forced["metadata"]["generation"].as_i64()), (&json!(3), Some(3)));
    assert_eq!(managers(&forced), ["one", "two"]);
}

#[tokio::test]
async fn owners_follow_every_kind_of_write() {
    let cluster = Cluster::new().await;
    let made = cluster.by("kubectl/v1.36 (x)", "POST", CONFIG_MAPS, &config(json!({"k": "1", "l": "1"}))).await;
    assert_eq!(
        owners(&made),
        [("kubectl".into(), "Update".into(), "".into(), json!({"f:data": {".": {}, "f:k": {}, "f:l": {}}}))]
    );
    cluster.advance(Duration::from_secs(5));
    let patched = cluster.by("curl/8", "PATCH", A, &json!({"data": {"k": "2"}})).await;
    assert_eq!(
        owners(&patched),
        [
            ("kubectl".into(), "Update".into(), "".into(), json!({"f:data": {".": {}, "f:l": {}}})),
            ("curl".into(), "Update".into(), "".into(), json!({"f:data": {"f:k": {}}})),
        ]
    );
    // Sent back as they came, with a change; then without them.
    let mut put = patched.clone();
    put["data"]["l"] = "2".into();
    let put = cluster.by("other", "PUT", A, &put).await;
    assert_eq!(managers(&put), ["kubectl", "curl", "other"]);
    let bare = json!({"metadata": {"name": "a"}, "data": {"k": "2", "l": "3"}});
    assert_eq!(managers(&cluster.by("fourth", "PUT", A, &bare).await), ["kubectl", "curl", "fourth"]);
    let reset = cluster.by("x", "PATCH", A, &json!({"metadata": {"managedFields": [{}]}})).await;
    assert_eq!(reset["metadata"]["managedFields"], Value::Null);
    let untracked = cluster.by("x", "PATCH", A, &json!({"data": {"k": "9"}})).await;
    assert_eq!(untracked["metadata"]["managedFields"], Value::Null);
    let first = cluster.applied(A, "m", &config(json!({"n": "1"}))).await;
    assert_eq!(managers(&first), ["m", "before-first-apply"]);
    // A list shows them, metadata alone does, and a watch.
    let list = cluster.get(CONFIG_MAPS).await;
    let item = list["items"].as_array().unwrap().iter().find(|item| item["metadata"]["name"] == "a").unwrap();
    assert_eq!(item["metadata"]["managedFields"], first["metadata"]["managedFields"]);
}

#[tokio::test]
async fn owners_can_be_patched_as_kubectl_migrates_them() {
    let cluster = Cluster::new().await;
    let made = cluster.by("kubectl-client-side-apply", "POST", CONFIG_MAPS, &config(json!({"k": "1"}))).await;
    let mut managed = made["metadata"]["managedFields"].clone();
    managed[0]["operation"] = "Apply".into();
    managed[0]["manager"] = "kubectl".into();
    let patch = json!([
        {"op": "replace", "path": "/metadata/managedFields", "value": managed},
        {"op": "replace", "path": "/metadata/resourceVersion", "value": made["metadata"]["resourceVersion"]},
    ]);
    let patched = cluster.ok("PATCH", A, patch.clone()).await;
    assert_eq!(patched["metadata"]["managedFields"], managed);
    assert_eq!(cluster.fails("PATCH", A, patch).await["reason"], "Conflict");
    let invalid = json!({"metadata": {"managedFields": [{"manager": "x", "operation": "Nonsense"}]}});
    assert_eq!(cluster.ok("PATCH", A, invalid).await["metadata"]["managedFields"], managed);
}

#[tokio::test]
async fn subresources_have_their_own_entries() {
    let cluster = Cluster::new().await;
    cluster.by("kubectl", "POST", PODS, &pod("p")).await;
    let path = format!("{PODS}/p");
    let condition = json!({"status": {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]}});
    let ready = cluster.by("agent", "PATCH", &format!("{path}/status"), &condition).await;
    let entry = owners(&ready).into_iter().find(|(manager, ..)| manager == "agent").unwrap();
    assert_eq!(
        entry,
        (
            "agent".into(),
            "Update".into(),
            "status".into(),
            json!({"f:status": {"f:conditions": {".": {}, "k:{\"type\":\"Ready\"}": {".": {}, "f:lastProbeTime": {},
                "f:lastTransitionTime": {}, "f:status": {}, "f:type": {}}}, "f:phase": {}}})
        )
    );
    let gate = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"},
        "status": {"conditions": [{"type": "example.com/gate", "status": "True"}]}});
    let applied = cluster.applied(&format!("{path}/status"), "gater", &gate).await;
    assert_eq!(applied["status"]["conditions"].as_array().unwrap().len(), 2);
    assert_eq!(managers(&applied)[0], "gater");
    let absent = format!("{PODS}/q/status");
    let mut other = gate.clone();
    other["metadata"]["name"] = "q".into();
    assert_eq!(cluster.refused(&absent, "fieldManager=m", other).await["code"], 404);
    // Through a subresource nobody says who owns what.
    let sly = json!({"metadata": {"managedFields": [{}]}, "status": {"message": "x"}});
    assert!(!managers(&cluster.by("agent", "PATCH", &format!("{path}/status"), &sly).await).is_empty());
}

#[tokio::test]
async fn replicas_change_hands_through_scale() {
    let cluster = Cluster::new().await;
    cluster.applied(D, "one", &deployment(json!(1))).await;
    let scale = |replicas: i64| json!({"apiVersion": "autoscaling/v1", "kind": "Scale", "metadata": {"name": "d"}, "spec": {"replicas": replicas}});
    let path = format!("{D}/scale");
    let refused = cluster.refused(&path, "fieldManager=two", scale(5)).await;
    assert_eq!(refused["message"], r#"Apply failed with 1 conflict: conflict with "one": .spec.replicas"#);
    cluster.by("kubectl", "PUT", &path, &scale(5)).await;
    let refused = cluster.refused(D, "fieldManager=one", deployment(json!(1))).await;
    assert_eq!(
        refused["message"],
        r#"Apply failed with 1 conflict: conflict with "kubectl" with subresource "scale" using apps/v1: .spec.replicas"#
    );
    let kept = cluster.applied(D, "one", &deployment(Value::Null)).await;
    assert_eq!(kept["spec"]["replicas"], 5);
    cluster.apply(&path, "fieldManager=two&force=true", scale(6)).await;
    let live = cluster.get(D).await;
    assert_eq!(live["spec"]["replicas"], 6);
    assert_eq!(managers(&live), ["one", "two"]);
}

#[tokio::test]
async fn bad_applies_get_kubernetes_answers() {
    let cluster = Cluster::new().await;
    let message = async |query: &str, config: Value| {
        let status = cluster.refused(A, query, config).await;
        format!("{} {}", status["code"], status["message"].as_str().unwrap())
    };
    let good = config(json!({"k": "v"}));
    assert_eq!(
        message("", good.clone()).await,
        "422 PatchOptions.meta.k8s.io \"\" is invalid: fieldManager: Required value: is required for apply patch"
    );
    let mut managed = good.clone();
    managed["metadata"]["managedFields"] = json!([{}]);
    assert_eq!(message("fieldManager=m", managed).await, "400 metadata.managedFields must be nil");
    assert_eq!(message("fieldManager=m", json!({"kind": "Pod"})).await, "400 invalid object type: /, Kind=Pod");
    let mut unknown = good.clone();
    unknown["dta"] = json!({});
    assert_eq!(
        message("fieldManager=m", unknown).await,
        "500 failed to create typed patch object (/a; /v1, Kind=ConfigMap): .dta: field not declared in schema"
    );
    let mut renamed = good.clone();
    renamed["metadata"]["name"] = "b".into();
    assert_eq!(
        message("fieldManager=m", renamed).await,
        "400 the name of the object (b) does not match the name on the URL (a)"
    );
    assert!(
        message(&format!("fieldManager={}", "x".repeat(129)), good.clone())
            .await
            .starts_with("422 PatchOptions.meta.k8s.io \"\" is invalid: fieldManager: Too long")
    );
    let answer = cluster.apply(A, "fieldManager=m", "a: [").await;
    assert!(answer.code == 400 && answer.json()["message"].as_str().unwrap().starts_with("error decoding YAML: "));
    let twice = r#"{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"a"},"data":{"k":"1"},"data":{"k":"2"}}"#;
    assert_eq!(cluster.apply(A, "fieldManager=m&fieldValidation=Strict", twice).await.code, 400);
    assert!(cluster.apply(A, "fieldManager=m", twice).await.headers.contains_key("warning"));
    let mut old = good.clone();
    old["metadata"]["resourceVersion"] = "1".into();
    assert_eq!(cluster.refused(A, "fieldManager=m", old).await["reason"], "Conflict");
    let forced = cluster.fails("PATCH", &format!("{A}?force=true"), json!({"data": {}})).await;
    assert_eq!(
        forced["message"],
        "PatchOptions.meta.k8s.io \"\" is invalid: force: Forbidden: may not be specified for non-apply patch"
    );
}

#[tokio::test]
async fn appliers_who_race_all_get_their_fields() {
    let cluster = Cluster::new().await;
    let writers = (0..20).map(|n| {
        let cluster = &cluster;
        async move { cluster.applied(A, &format!("m{n}"), &config(json!({format!("k{n}"): "v"}))).await }
    });
    futures::future::join_all(writers).await;
    let live = cluster.get(A).await;
    assert_eq!((live["data"].as_object().unwrap().len(), owners(&live).len()), (20, 20));
}

#[tokio::test]
async fn managers_of_other_versions_keep_their_fields() {
    let cluster = Cluster::new().await;
    let old = "/apis/autoscaling/v1/namespaces/default/horizontalpodautoscalers/h";
    let new = "/apis/autoscaling/v2/namespaces/default/horizontalpodautoscalers/h";
    let target = json!({"kind": "Deployment", "name": "d", "apiVersion": "apps/v1"});
    let v1 = json!({"apiVersion": "autoscaling/v1", "kind": "HorizontalPodAutoscaler", "metadata": {"name": "h"},
        "spec": {"maxReplicas": 3, "scaleTargetRef": target, "targetCPUUtilizationPercentage": 50}});
    cluster.applied(old, "one", &v1).await;
    let v2 = json!({"apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler", "metadata": {"name": "h"},
        "spec": {"maxReplicas": 4, "scaleTargetRef": target}});
    let refused = cluster.refused(new, "fieldManager=two", &v2).await;
    assert_eq!(refused["message"], r#"Apply failed with 1 conflict: conflict with "one": .spec.maxReplicas"#);
    let forced = cluster.apply(new, "fieldManager=two&force=true", &v2).await.json();
    assert_eq!(managers(&forced), ["one", "two"]);
    assert_eq!(forced["spec"]["metrics"][0]["resource"]["target"]["averageUtilization"], 50);
    let mut less = v1.clone();
    let spec = less["spec"].as_object_mut().unwrap();
    spec.remove("targetCPUUtilizationPercentage");
    spec.remove("maxReplicas");
    let left = cluster.applied(old, "one", &less).await;
    assert_eq!(left["spec"]["maxReplicas"], 4);
    // In the other manager's version the list of metrics is there with and without it, for it has a default: so it stays.
    assert_eq!(left["spec"]["targetCPUUtilizationPercentage"], 50);
}

#[tokio::test]
async fn components_of_this_process_are_spared_the_owners_and_are_owners_by_name() {
    let cluster = Cluster::new().await;
    cluster.by("kubectl", "POST", PODS, &pod("p")).await;
    let component = LocalService::new(Arc::clone(&cluster.core), User::component("system:kube-scheduler"));
    let component = component.without_owners();
    let send = async |method: &str, path: &str, body: String| {
        let request = Request::builder().method(method).uri(path).header("content-type", "application/json");
        let response = component.clone().oneshot(request.body(Body::from(body)).unwrap()).await.unwrap();
        assert!(response.status().is_success());
        response.into_body()
    };
    let read = async |body: Body| serde_json::from_slice::<Value>(&body.collect().await.unwrap().to_bytes()).unwrap();
    let one = format!("{PODS}/p");
    let mut seen = read(send("GET", &one, String::new()).await).await;
    assert_eq!(seen["metadata"]["managedFields"], Value::Null);
    seen["metadata"]["labels"] = json!({"a": "b"});
    let written = read(send("PUT", &one, seen.to_string()).await).await;
    assert_eq!(written["metadata"]["managedFields"], Value::Null);
    let list = read(send("GET", PODS, String::new()).await).await;
    assert_eq!(list["items"][0]["metadata"].get("managedFields"), None);
    assert_eq!(list["items"][0]["metadata"]["labels"], json!({"a": "b"}));
    let mut watch = send("GET", &format!("{PODS}?watch=true"), String::new()).await;
    let initial = watch.frame().await.unwrap().unwrap().into_data().unwrap();
    cluster.by("kubectl", "PATCH", &one, &json!({"metadata": {"labels": {"c": "d"}}})).await;
    let event = watch.frame().await.unwrap().unwrap().into_data().unwrap();
    for line in [initial, event] {
        let event: Value = serde_json::from_slice(&line).unwrap();
        assert_eq!(
            (&event["object"]["metadata"]["name"], event["object"]["metadata"].get("managedFields")),
            (&json!("p"), None)
        );
    }
    assert_eq!(managers(&cluster.get(&one).await), ["kube-scheduler", "kubectl"]);
}
