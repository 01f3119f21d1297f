//! Autoscalers through autoscaling/v1, which lose nothing that only v2 has.

use super::*;

const OLD: &str = "/apis/autoscaling/v1/namespaces/default/horizontalpodautoscalers";
const NEW: &str = "/apis/autoscaling/v2/namespaces/default/horizontalpodautoscalers";
const METRICS: &str = "autoscaling.alpha.kubernetes.io/metrics";
const BEHAVIOR: &str = "autoscaling.alpha.kubernetes.io/behavior";
const CONDITIONS: &str = "autoscaling.alpha.kubernetes.io/conditions";

/// One in v2 with much that v1 has no field for, defaults included.
async fn rich(cluster: &Cluster) -> Value {
    let target = |value: Value| json!({"type": "Utilization", "averageUtilization": value});
    let scaler = json!({"metadata": {"name": "h", "annotations": {"mine": "yes"}}, "spec": {"maxReplicas": 5,
        "scaleTargetRef": {"kind": "Deployment", "name": "d", "apiVersion": "apps/v1"},
        "behavior": {"scaleUp": {"selectPolicy": "Min", "tolerance": "0.05"}},
        "metrics": [{"type": "Resource", "resource": {"name": "memory", "target": target(70.into())}},
            {"type": "Resource", "resource": {"name": "cpu", "target": target(50.into())}}]}});
    cluster.post(NEW, scaler).await;
    let status = json!({"status": {"desiredReplicas": 2, "currentReplicas": 2,
        "conditions": [{"type": "AbleToScale", "status": "True", "lastTransitionTime": "2026-01-02T03:04:05Z"}],
        "currentMetrics": [{"type": "Resource", "resource":
            {"name": "cpu", "current": {"averageValue": "100m", "averageUtilization": 40}}}]}});
    cluster.ok("PATCH", &format!("{NEW}/h/status"), status).await
}

fn note<'v>(object: &'v Value, name: &str) -> &'v str {
    object["metadata"]["annotations"][name].as_str().unwrap_or_default()
}

#[tokio::test]
async fn writes_through_v1_keep_what_only_v2_has() {
    let cluster = Cluster::new().await;
    let before = rich(&cluster).await;
    let path = format!("{OLD}/h");
    let mut old = cluster.get(&path).await;
    assert_eq!(old["spec"]["targetCPUUtilizationPercentage"], 50);
    assert_eq!(old["status"]["currentCPUUtilizationPercentage"], 40);
    assert_eq!(
        note(&old, METRICS),
        r#"[{"type":"Resource","resource":{"name":"memory","targetAverageUtilization":70}}]"#
    );
    assert!(note(&old, BEHAVIOR).starts_with(r#"{"ScaleUp":{"StabilizationWindowSeconds":0,"SelectPolicy":"Min","#));
    assert_eq!(note(&old, "mine"), "yes");
    // Nothing changed: nothing is written.
    let same = cluster.ok("PUT", &path, old.clone()).await;
    assert_eq!(same["metadata"]["resourceVersion"], before["metadata"]["resourceVersion"]);
    old["spec"]["maxReplicas"] = 7.into();
    let answer = cluster.ok("PUT", &path, old).await;
    assert_eq!((&answer["spec"]["maxReplicas"], &answer["apiVersion"]), (&json!(7), &json!("autoscaling/v1")));
    for (kind, patch) in [
        ("application/merge-patch+json", json!({"spec": {"minReplicas": 2}})),
        ("application/strategic-merge-patch+json", json!({"spec": {"targetCPUUtilizationPercentage": 60}})),
        ("application/json-patch+json", json!([{"op": "replace", "path": "/spec/maxReplicas", "value": 8}])),
    ] {
        let answer = cluster.send("PATCH", &path, &[("content-type", kind)], patch.to_string()).await;
        assert_eq!(answer.code, 200, "{:?}", answer.bytes);
    }
    let config = json!({"apiVersion": "autoscaling/v1", "kind": "HorizontalPodAutoscaler", "metadata": {"name": "h",
        "labels": {"a": "b"}}});
    let headers = [("content-type", "application/apply-patch+yaml")];
    let applied = cluster.send("PATCH", &format!("{path}?fieldManager=m"), &headers, config.to_string()).await;
    assert_eq!(applied.code, 200, "{:?}", applied.bytes);
    let after = cluster.get(&format!("{NEW}/h")).await;
    let mut wanted = before["spec"].clone();
    (wanted["maxReplicas"], wanted["minReplicas"]) = (8.into(), 2.into());
    wanted["metrics"][1]["resource"]["target"]["averageUtilization"] = 60.into();
    assert_eq!((&after["spec"], &after["status"]), (&wanted, &before["status"]));
    assert_eq!(after["metadata"]["annotations"], json!({"mine": "yes"}));
    assert_eq!(after["metadata"]["labels"], json!({"a": "b"}));
}

#[tokio::test]
async fn annotations_of_v1_are_fields_of_v2() {
    let cluster = Cluster::new().await;
    let behavior = r#"{"scaleDown":{"policies":[{"type":"Pods","value":1,"periodSeconds":60}]}}"#;
    let metrics = r#"[{"type":"Pods","pods":{"metricName":"hits","targetAverageValue":"0.5"}}]"#;
    let scaler = json!({"metadata": {"name": "h", "annotations": {METRICS: metrics, BEHAVIOR: behavior, CONDITIONS: "[}"}},
        "spec": {"maxReplicas": 5, "scaleTargetRef": {"kind": "Deployment", "name": "d"}}});
    let made = cluster.post(OLD, scaler.clone()).await;
    // Canonical, with what v2 fills in; what could not be read is gone.
    assert_eq!(note(&made, METRICS), r#"[{"type":"Pods","pods":{"metricName":"hits","targetAverageValue":"500m"}}]"#);
    assert!(note(&made, BEHAVIOR).contains(r#""SelectPolicy":"Max","Policies":[{"Type":"Pods","Value":1,"#));
    assert_eq!((note(&made, CONDITIONS), made["spec"].get("targetCPUUtilizationPercentage")), ("", None));
    let new = cluster.get(&format!("{NEW}/h")).await;
    let pods = json!({"metric": {"name": "hits"}, "target": {"type": "AverageValue", "averageValue": "500m"}});
    assert_eq!(new["spec"]["metrics"], json!([{"type": "Pods", "pods": pods}]));
    assert_eq!(new["metadata"].get("annotations"), None);
    let mut wrong = scaler.clone();
    wrong["metadata"]["annotations"][METRICS] = r#"[{"type":"Pods"}]"#.into();
    let refused = cluster.fails("PUT", &format!("{OLD}/h"), wrong).await;
    let why = "spec.metrics[0].pods: Required value: must populate information for the given metric source";
    assert_eq!(refused["message"], format!(r#"HorizontalPodAutoscaler.autoscaling "h" is invalid: {why}"#));
    // Through v2 they are taken for nothing.
    let mut other = scaler;
    other["metadata"]["name"] = "i".into();
    let made = cluster.post(NEW, other).await;
    assert_eq!(made["metadata"].get("annotations"), None);
    assert_eq!(made["spec"]["metrics"][0]["resource"]["target"]["averageUtilization"], 80);
}

#[tokio::test]
async fn a_status_through_v1_is_a_whole_one() {
    let cluster = Cluster::new().await;
    let before = rich(&cluster).await;
    let mut old = cluster.get(&format!("{OLD}/h")).await;
    old["metadata"]["annotations"][CONDITIONS] = r#"[{"type":"Mine","status":"False"}]"#.into();
    old["metadata"]["annotations"][METRICS] = "[]".into();
    old["spec"]["maxReplicas"] = 9.into();
    old["status"]["desiredReplicas"] = 4.into();
    old["metadata"]["resourceVersion"] = "".into();
    let mut main = old.clone();
    main["metadata"]["annotations"][METRICS] = note(&cluster.get(&format!("{OLD}/h")).await, METRICS).into();
    main["spec"]["maxReplicas"] = 5.into();
    cluster.ok("PUT", &format!("{OLD}/h"), main).await;
    // Neither the status' fields nor its annotations are the main resource's.
    assert_eq!(cluster.get(&format!("{NEW}/h")).await["status"], before["status"]);
    let answer = cluster.ok("PUT", &format!("{OLD}/h/status"), old).await;
    assert_eq!(note(&answer, CONDITIONS), r#"[{"type":"Mine","status":"False","lastTransitionTime":null}]"#);
    let after = cluster.get(&format!("{NEW}/h")).await;
    assert_eq!(after["spec"], before["spec"]);
    assert_eq!(after["status"]["conditions"], json!([{"type": "Mine", "status": "False", "lastTransitionTime": null}]));
    assert_eq!(
        (&after["status"]["desiredReplicas"], &after["status"]["currentMetrics"]),
        (&json!(4), &before["status"]["currentMetrics"])
    );
}

#[tokio::test]
async fn lists_watches_and_tables_of_v1_show_all_of_it() {
    let cluster = Cluster::new().await;
    let mut watch = cluster.watch(&format!("{OLD}?watch=1")).await;
    rich(&cluster).await;
    let list = cluster.get(OLD).await;
    assert!(note(&list["items"][0], METRICS).contains("memory"));
    let made = watch.next().await.unwrap();
    assert_eq!((&made["type"], &made["object"]["apiVersion"]), (&json!("ADDED"), &json!("autoscaling/v1")));
    assert!(note(&made["object"], METRICS).contains("memory"));
    assert!(note(&watch.next().await.unwrap()["object"], CONDITIONS).contains("AbleToScale"));
    for path in [OLD, NEW] {
        let table = cluster.send("GET", path, &[("accept", "application/json;as=Table;v=v1;g=meta.k8s.io")], "").await;
        let targets = table.json()["rows"][0]["cells"][2].clone();
        assert_eq!(targets, "memory: 40%/70%, cpu: <unknown>/50%", "{path}");
        let metadata = "application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io";
        let list = cluster.send("GET", path, &[("accept", metadata)], "").await.json();
        assert_eq!(list["items"][0]["metadata"]["annotations"], json!({"mine": "yes"}), "{path}");
    }
    let gone = cluster.ok("DELETE", &format!("{OLD}/h"), Value::Null).await;
    assert_eq!(gone["status"], "Success");
    assert!(note(&watch.next().await.unwrap()["object"], METRICS).contains("memory"));
}

#[tokio::test]
async fn owners_of_fields_meet_across_the_versions() {
    let cluster = Cluster::new().await;
    rich(&cluster).await;
    let apply = async |path: &str, manager: &str, version: &str, more: Value| {
        let mut config = json!({"apiVersion": format!("autoscaling/{version}"), "kind": "HorizontalPodAutoscaler"});
        config["metadata"] = json!({"name": "h"});
        for (name, value) in more.as_object().unwrap() {
            config[name] = value.clone();
        }
        let headers = [("content-type", "application/apply-patch+yaml")];
        let path = format!("{path}/h?fieldManager={manager}");
        cluster.send("PATCH", &path, &headers, config.to_string()).await
    };
    let memory = |percent: i64| {
        format!(r#"[{{"type":"Resource","resource":{{"name":"memory","targetAverageUtilization":{percent}}}}}]"#)
    };
    // As it is: a co-owner.
    let annotated = |percent| json!({"metadata": {"name": "h", "annotations": {METRICS: memory(percent)}}});
    let shared = apply(OLD, "old", "v1", annotated(70)).await;
    assert_eq!(shared.code, 200, "{:?}", shared.bytes);
    let aims = |percent: i64| {
        json!([{"type": "Resource", "resource": {"name": "memory",
        "target": {"type": "Utilization", "averageUtilization": percent}}}])
    };
    let refused = apply(NEW, "new", "v2", json!({"spec": {"metrics": aims(90)}})).await;
    assert_eq!(refused.code, 409);
    let message = refused.json()["message"].as_str().unwrap().to_owned();
    assert!(message.contains("conflicts with \"old\":\n- .metadata.annotations.autoscaling.alpha."), "{message}");
    // Somebody who does not ask takes it away.
    cluster.ok("PATCH", &format!("{NEW}/h?fieldManager=third"), json!({"spec": {"metrics": aims(90)}})).await;
    let owned = cluster.get(&format!("{OLD}/h")).await;
    assert!(owned["metadata"]["managedFields"].as_array().unwrap().iter().all(|entry| entry["manager"] != "old"));
    assert_eq!(note(&owned, METRICS), memory(90));
}

#[tokio::test]
async fn what_v1_cannot_tell_stays_where_nothing_else_changes() {
    let cluster = Cluster::new().await;
    rich(&cluster).await;
    let cpu = |percent: i64| {
        json!({"type": "Resource", "resource":
        {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": percent}}})
    };
    let memory = json!({"type": "Resource", "resource":
        {"name": "memory", "target": {"type": "Utilization", "averageUtilization": 70}}});
    let metrics = json!([cpu(50), memory, cpu(60)]);
    cluster.ok("PATCH", &format!("{NEW}/h"), json!({"spec": {"metrics": metrics}})).await;
    cluster.ok("PATCH", &format!("{OLD}/h"), json!({"metadata": {"finalizers": ["a/b"]}})).await;
    cluster.ok("PATCH", &format!("{OLD}/h/status"), json!({"status": {"desiredReplicas": 3}})).await;
    cluster.ok("DELETE", &format!("{OLD}/h"), Value::Null).await;
    let after = cluster.get(&format!("{NEW}/h")).await;
    assert_eq!((&after["spec"]["metrics"], &after["status"]["desiredReplicas"]), (&metrics, &json!(3)));
    assert!(after["metadata"]["deletionTimestamp"].is_string());
    // Who changes it through v1 has it in the order of v1.
    cluster.ok("PATCH", &format!("{OLD}/h"), json!({"spec": {"targetCPUUtilizationPercentage": 55}})).await;
    assert_eq!(cluster.get(&format!("{NEW}/h")).await["spec"]["metrics"], json!([memory, cpu(55)]));
}
