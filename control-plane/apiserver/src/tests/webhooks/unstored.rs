//! What is never stored and asked about all the same: streams (`CONNECT`) and reviews.

use super::*;

#[tokio::test]
async fn a_stream_is_asked_about_before_it_is_there() {
    let server = Server::start(|review| match review["request"]["object"]["container"].as_str() {
        Some("secret") => respond(review, json!({"allowed": false, "status": {"message": "not there"}})),
        _ => allow(review),
    })
    .await;
    let cluster = Cluster::new().await;
    cluster.post("/api/v1/nodes", json!({"metadata": {"name": "n"}})).await;
    cluster.post(PODS, pod("p")).await;
    let binding = json!({"metadata": {"name": "p"}, "target": {"kind": "Node", "name": "n"}});
    cluster.post(&format!("{PODS}/p/binding"), binding).await;
    let rules =
        json!({"rules": [{"operations": ["CONNECT"], "apiGroups": [""], "apiVersions": ["v1"], "resources": ["*/*"]}]});
    cluster.post(VALIDATING, configuration("v", vec![server.hook("one.example.com", rules)])).await;
    let exec = format!("{PODS}/p/exec?command=sh&command=-c&stdin=true&tty=false&container=");
    let refused = cluster.fails("POST", &format!("{exec}secret"), Value::Null).await;
    assert_eq!(
        (&refused["code"], &refused["message"]),
        (&json!(400), &json!("admission webhook \"one.example.com\" denied the request: not there"))
    );
    let request = server.asked().remove(0);
    assert_eq!(
        request["object"],
        json!({"kind": "PodExecOptions", "apiVersion": "v1", "stdin": true, "container": "secret", "command": ["sh", "-c"]})
    );
    let told = ["operation", "name", "subResource", "dryRun"].map(|field| request[field].clone());
    assert_eq!(told, [json!("CONNECT"), json!("p"), json!("exec"), json!(false)]);
    assert_eq!(request["kind"], json!({"group": "", "version": "v1", "kind": "PodExecOptions"}));
    assert_eq!((&request["options"], &request["oldObject"]), (&Value::Null, &Value::Null));
    for (method, path, kind, field) in [
        ("GET", format!("{exec}c"), "PodExecOptions", json!({"container": "c"})),
        ("GET", format!("{PODS}/p/attach?stdout=1"), "PodAttachOptions", json!({"stdout": true})),
        (
            "POST",
            format!("{PODS}/p/portforward?ports=80&ports=443"),
            "PodPortForwardOptions",
            json!({"ports": [80, 443]}),
        ),
        ("GET", format!("{PODS}/p/proxy/metrics/a"), "PodProxyOptions", json!({"path": "/metrics/a"})),
        ("GET", "/api/v1/nodes/n/proxy/".to_owned(), "NodeProxyOptions", json!({})),
    ] {
        assert_eq!(cluster.fails(method, &path, Value::Null).await["code"], 501, "{path}");
        let object = server.asked().remove(0)["object"].clone();
        assert_eq!(object["kind"], kind);
        for (name, value) in field.as_object().unwrap() {
            assert_eq!(object[name], *value, "{path}");
        }
    }
    // Options have no labels that could be selected, or not.
    let unlabelled = json!({"objectSelector": {"matchExpressions": [{"key": "a", "operator": "DoesNotExist"}]},
        "rules": [{"operations": ["*"], "apiGroups": [""], "apiVersions": ["v1"], "resources": ["*/*"]}]});
    cluster.ok("DELETE", &format!("{VALIDATING}/v"), Value::Null).await;
    cluster.post(VALIDATING, configuration("v", vec![server.hook("one.example.com", unlabelled)])).await;
    assert_eq!(cluster.fails("GET", &format!("{PODS}/p/attach"), Value::Null).await["code"], 501);
    // A log is read, not connected to.
    assert!(server.asked().is_empty());
    cluster.send("GET", &format!("{PODS}/p/log"), &[], Vec::new()).await;
    assert!(server.asked().is_empty());
}

#[tokio::test]
async fn a_review_is_asked_about_too() {
    let server = Server::start(|review| match review["request"]["kind"]["kind"].as_str() {
        Some("SelfSubjectAccessReview") => respond(review, json!({"allowed": false})),
        Some("SubjectAccessReview") => {
            patched(review, &json!([{"op": "replace", "path": "/spec/user", "value": "nobody"}]))
        }
        _ => allow(review),
    })
    .await;
    let cluster = Cluster::new().await;
    let rules = json!({"rules": [{"operations": ["*"], "apiGroups": ["*"], "apiVersions": ["*"], "resources": ["*"]}]});
    cluster.post(MUTATING, configuration("m", vec![server.hook("one.example.com", rules)])).await;
    let group = "/apis/authorization.k8s.io/v1";
    let spec =
        json!({"user": "bob", "groups": ["system:masters"], "resourceAttributes": {"verb": "get", "resource": "pods"}});
    let own = json!({"spec": {"resourceAttributes": spec["resourceAttributes"]}});
    let refused = cluster.fails("POST", &format!("{group}/selfsubjectaccessreviews"), own).await;
    assert_eq!(refused["message"], "admission webhook \"one.example.com\" denied the request without explanation");
    let review = cluster.post(&format!("{group}/subjectaccessreviews"), json!({"spec": spec})).await;
    assert_eq!((&review["spec"]["user"], &review["status"]["allowed"]), (&json!("nobody"), &json!(true)));
    // Of a namespace that is not there nobody is told so.
    let mut local = json!({"spec": spec});
    local["spec"]["resourceAttributes"]["namespace"] = "none".into();
    let path = format!("{group}/namespaces/none/localsubjectaccessreviews");
    assert_eq!(cluster.post(&path, local).await["status"]["allowed"], true);
}

#[tokio::test]
async fn objects_are_selected_by_the_labels_of_what_is_sent() {
    let (with, without) = (Server::start(allow).await, Server::start(allow).await);
    let cluster = Cluster::new().await;
    let labels = json!({"app": "x"});
    let mut wanted = pod("p");
    wanted["metadata"]["labels"] = labels.clone();
    cluster.post(PODS, wanted).await;
    let deployments = "/apis/apps/v1/namespaces/default/deployments";
    let template = json!({"metadata": {"labels": labels}, "spec": {"containers": [{"name": "c", "image": "x"}]}});
    let deployment = json!({"metadata": {"name": "d", "labels": labels},
        "spec": {"replicas": 2, "selector": {"matchLabels": labels}, "template": template}});
    cluster.post(deployments, deployment).await;
    let everything = json!([{"operations": ["*"], "apiGroups": ["*"], "apiVersions": ["*"], "resources": ["*/*"]}]);
    let hook = |server: &Server, selector: Value| {
        server.hook("one.example.com", json!({"rules": everything, "objectSelector": selector}))
    };
    let absent = json!({"matchExpressions": [{"key": "app", "operator": "DoesNotExist"}]});
    cluster.post(VALIDATING, configuration("with", vec![hook(&with, json!({"matchLabels": labels}))])).await;
    cluster.post(VALIDATING, configuration("without", vec![hook(&without, absent)])).await;
    let scaled = json!({"spec": {"replicas": 3}});
    let bare = json!({"metadata": {"name": "p"}});
    let labelled = json!({"metadata": {"name": "p", "labels": labels}});
    let to_node = |mut binding: Value| {
        binding["target"] = json!({"kind": "Node", "name": "n1"});
        binding
    };
    for (method, path, body, matches) in [
        // A Scale has no labels, whatever is scaled has.
        ("PATCH", format!("{deployments}/d/scale"), scaled, [0, 1]),
        ("PATCH", format!("{deployments}/d/status"), json!({"status": {"replicas": 1}}), [1, 0]),
        ("POST", "/api/v1/namespaces/default/serviceaccounts/default/token".into(), json!({}), [0, 1]),
        ("POST", format!("{PODS}/p/binding?dryRun=All"), to_node(labelled.clone()), [1, 0]),
        ("POST", format!("{PODS}/p/binding"), to_node(bare.clone()), [0, 1]),
        ("POST", format!("{PODS}/p/eviction?dryRun=All"), labelled, [1, 0]),
        ("POST", format!("{PODS}/p/eviction?dryRun=All"), bare, [0, 1]),
    ] {
        cluster.ok(method, &path, body).await;
        assert_eq!([with.asked().len(), without.asked().len()], matches, "{method} {path}");
    }
}
