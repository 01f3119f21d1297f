//! `pods/ephemeralcontainers` and `pods/resize`.

use super::*;

#[tokio::test]
async fn ephemeral_containers_are_added_and_stay_as_they_are() {
    let cluster = Cluster::new().await;
    let created = cluster.post(PODS, pod("p")).await;
    let path = format!("{PODS}/p/ephemeralcontainers");
    assert_eq!(cluster.get(&path).await["kind"], "Pod");
    let debug = |image: &str| json!({"spec": {"ephemeralContainers": [{"name": "debug", "image": image}]}});
    let mut patch = debug("busybox:1");
    patch["spec"]["nodeName"] = "elsewhere".into();
    patch["metadata"] = json!({"labels": {"smuggled": "in"}});
    let changed = cluster.ok("PATCH", &path, patch).await;
    assert_eq!(changed["spec"]["ephemeralContainers"][0]["terminationMessagePolicy"], "File");
    assert_eq!(changed["spec"]["nodeName"], Value::Null, "nothing else is taken over");
    assert_eq!(changed["metadata"]["labels"], created["metadata"]["labels"]);
    assert_eq!(changed["metadata"]["generation"], 2);
    let refused = cluster.fails("PATCH", &path, debug("busybox:2")).await;
    assert_eq!(refused["code"], 422);
    let cause = &refused["details"]["causes"][0];
    assert_eq!(cause["field"], "spec.ephemeralContainers");
    let text = cause["message"].as_str().unwrap();
    assert!(text.starts_with("Forbidden: existing ephemeral containers \"debug\" may not be changed\n"), "{text}");
    let refused = cluster.fails("PATCH", &path, json!({"spec": {"ephemeralContainers": null}})).await;
    let text = refused["details"]["causes"][0]["message"].as_str().unwrap();
    assert_eq!(text, "Forbidden: existing ephemeral containers \"debug\" may not be removed\n");
    let refused = cluster.fails("PATCH", &format!("{PODS}/p"), debug("busybox:3")).await;
    assert_eq!(refused["code"], 422, "only through the subresource");
    let bad = json!({"name": "q", "image": "x", "ports": [{"containerPort": 80}], "targetContainerName": "none"});
    let list = json!({"spec": {"ephemeralContainers": [changed["spec"]["ephemeralContainers"][0], bad]}});
    let refused = cluster.fails("PATCH", &path, list).await;
    let causes: Vec<_> = refused["details"]["causes"].as_array().unwrap().iter().map(|c| &c["field"]).collect();
    let at = "spec.ephemeralContainers[1]";
    assert_eq!(causes, [&json!(format!("{at}.targetContainerName")), &json!(format!("{at}.ports"))]);
    let mut early = pod("early");
    early["spec"]["ephemeralContainers"] = json!([{"name": "debug", "image": "x"}]);
    let refused = cluster.fails("POST", PODS, early).await;
    assert_eq!(refused["details"]["causes"][0]["message"], "Forbidden: cannot be set on create");
}

#[tokio::test]
async fn resources_change_where_the_node_can() {
    let cluster = Cluster::new().await;
    let mut sized = pod("p");
    sized["spec"]["containers"][0]["resources"] = json!({"requests": {"cpu": "100m"}, "limits": {"cpu": "200m"}});
    let name = sized["spec"]["containers"][0]["name"].clone();
    cluster.post(PODS, sized).await;
    let path = format!("{PODS}/p/resize");
    let strategic = [("content-type", "application/strategic-merge-patch+json")];
    let send = |container: Value| {
        let body = Body::from(json!({"spec": {"containers": [container]}}).to_string());
        cluster.send("PATCH", &path, &strategic, body)
    };
    let bigger = send(json!({"name": name, "resources": {"requests": {"cpu": "150m"}}})).await.json();
    assert_eq!(bigger["spec"]["containers"][0]["resources"]["requests"]["cpu"], "150m");
    assert_eq!(bigger["metadata"]["generation"], 2);
    for (container, field, message) in [
        (
            json!({"name": name, "resources": {"requests": {"cpu": "200m", "memory": "1Gi"}, "limits": {"memory": "1Gi"}}}),
            "spec",
            "Invalid value: \"Burstable\": Pod QOS Class may not change as a result of resizing",
        ),
        (
            json!({"name": name, "resources": {"requests": {"ephemeral-storage": "1Gi"}}}),
            "spec",
            "Forbidden: only cpu and memory resources are mutable",
        ),
        (
            json!({"name": name, "resources": {"limits": {"cpu": null}}}),
            "spec.containers[0].resources.limits",
            "Forbidden: resource limits cannot be removed",
        ),
    ] {
        let refused = send(container).await.json();
        let cause = &refused["details"]["causes"][0];
        assert_eq!((cause["field"].as_str(), cause["message"].as_str()), (Some(field), Some(message)), "{refused}");
    }
    let statuses = json!([{"name": name, "state": {"running": {}}, "image": "x", "imageID": "", "ready": true, "restartCount": 0}]);
    let status = json!({"status": {"phase": "Running", "containerStatuses": statuses}});
    cluster.ok("PATCH", &format!("{PODS}/p/status"), status).await;
    let refused = send(json!({"name": name, "resources": {"requests": {"cpu": "160m"}}})).await.json();
    let message = "Forbidden: Pod running on node without support for resize";
    assert_eq!(refused["details"]["causes"][0]["message"], message, "{refused}");
}
