//! What webhooks see beside the objects, and what they may make of who owns their fields.

use super::*;

#[tokio::test]
async fn reviews_carry_owners_and_options() {
    let server = Server::start(allow).await;
    let cluster = Cluster::new().await;
    cluster.post(MUTATING, configuration("m", vec![server.hook("one.example.com", json!({}))])).await;
    let owner = |object: &Value| object["metadata"]["managedFields"][0]["manager"].clone();
    cluster.post(&format!("{CONFIG_MAPS}?fieldManager=ci&fieldValidation=Strict"), config_map("a")).await;
    let request = &server.asked()[0];
    assert_eq!(owner(&request["object"]), "ci");
    let options = json!({"kind": "CreateOptions", "apiVersion": "meta.k8s.io/v1", "fieldManager": "ci", "fieldValidation": "Strict"});
    assert_eq!(request["options"], options);
    let path = format!("{CONFIG_MAPS}/a");
    cluster.ok("PATCH", &format!("{path}?fieldManager=me&dryRun=All"), json!({"data": {"k": "w"}})).await;
    let request = &server.asked()[0];
    let owners = request["object"]["metadata"]["managedFields"].as_array().unwrap();
    assert_eq!((owners.len(), owner(&request["oldObject"])), (2, json!("ci")));
    let options =
        json!({"kind": "UpdateOptions", "apiVersion": "meta.k8s.io/v1", "fieldManager": "me", "dryRun": ["All"]});
    assert_eq!((&request["options"], &request["dryRun"]), (&options, &json!(true)));
    let uid = request["oldObject"]["metadata"]["uid"].clone();
    let body = json!({"gracePeriodSeconds": 7, "propagationPolicy": "Background", "preconditions": {"uid": uid}});
    cluster.ok("DELETE", &path, body).await;
    let request = &server.asked()[0];
    let options = json!({"kind": "DeleteOptions", "apiVersion": "meta.k8s.io/v1", "gracePeriodSeconds": 7,
        "propagationPolicy": "Background", "preconditions": {"uid": uid}});
    assert_eq!((&request["options"], owner(&request["oldObject"])), (&options, json!("ci")));
}

#[tokio::test]
async fn a_webhook_may_disown_but_not_garble() {
    let server =
        Server::start(|review| patched(review, &json!([{"op": "remove", "path": "/metadata/managedFields"}]))).await;
    let cluster = Cluster::new().await;
    cluster.post(MUTATING, configuration("m", vec![server.hook("one.example.com", json!({}))])).await;
    let made = cluster.post(&format!("{CONFIG_MAPS}?fieldManager=ci"), config_map("a")).await;
    assert_eq!((&made["metadata"]["managedFields"], &made["data"]["k"]), (&Value::Null, &json!("v")));
    server.behaves(|review| {
        patched(review, &json!([{"op": "replace", "path": "/metadata/managedFields/0/manager", "value": "hook"}]))
    });
    let made = cluster.post(&format!("{CONFIG_MAPS}?fieldManager=ci"), config_map("c")).await;
    assert_eq!(made["metadata"]["managedFields"][0]["manager"], "hook");
    let path = format!("{CONFIG_MAPS}/c");
    assert_eq!(cluster.get(&path).await["metadata"]["managedFields"], made["metadata"]["managedFields"]);
    let updated = cluster.ok("PATCH", &format!("{path}?fieldManager=me"), json!({"data": {"k": "w"}})).await;
    assert_eq!(updated["metadata"]["managedFields"][0]["manager"], "hook");
    server.behaves(|review| {
        let add = json!([{"op": "add", "path": "/data/by", "value": "hook"}, {"op": "replace", "path": "/metadata/managedFields/0/operation", "value": "Steal"}]);
        patched(review, &add)
    });
    let body = serde_json::to_vec(&config_map("b")).unwrap();
    let path = format!("{CONFIG_MAPS}?fieldManager=ci");
    let response = cluster.send("POST", &path, &[("content-type", "application/json")], body).await;
    let made = response.json();
    assert_eq!((&made["data"]["by"], &made["metadata"]["managedFields"][0]["manager"]), (&json!("hook"), &json!("ci")));
    let warning = &warnings(&response)[0];
    assert!(
        warning.starts_with("299 - \".metadata.managedFields was in an invalid state after admission; "),
        "{warning}"
    );
}
