//! Patching objects.

use super::*;

const A: &str = "/api/v1/namespaces/default/configmaps/a";

#[tokio::test]
async fn all_three_dialects_apply() {
    let cluster = Cluster::new().await;
    cluster.post(CONFIG_MAPS, config_map("a")).await;
    let json = cluster.ok("PATCH", A, json!([{"op": "add", "path": "/data/j", "value": "1"}])).await;
    assert_eq!(json["data"], json!({"k": "v", "j": "1"}));
    let merged = cluster.ok("PATCH", A, json!({"data": {"j": null, "m": "2"}})).await;
    assert_eq!(merged["data"], json!({"k": "v", "m": "2"}));
    cluster.post(PODS, pod("p")).await;
    let patch = json!({"spec": {"containers": [{"name": "c", "image": "y"}]}}).to_string();
    let headers = [("content-type", "application/strategic-merge-patch+json")];
    let answer = cluster.send("PATCH", &format!("{PODS}/p"), &headers, patch).await.json();
    assert_eq!(answer["spec"]["containers"][0]["image"], "y");
    assert_eq!(answer["spec"]["containers"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn a_patch_with_an_old_version_conflicts_and_one_without_does_not() {
    let cluster = Cluster::new().await;
    let object = cluster.post(CONFIG_MAPS, config_map("a")).await;
    cluster.ok("PATCH", A, json!({"data": {"k": "2"}})).await;
    let version = &object["metadata"]["resourceVersion"];
    let status = cluster.fails("PATCH", A, json!({"metadata": {"resourceVersion": version}, "data": {"k": "3"}})).await;
    assert_eq!(status["reason"], "Conflict");
    let writers = (0..20).map(|n| {
        let cluster = &cluster;
        async move { cluster.ok("PATCH", A, json!({"data": {format!("w{n}"): "x"}})).await }
    });
    futures::future::join_all(writers).await;
    assert_eq!(cluster.get(A).await["data"].as_object().unwrap().len(), 21);
}

#[tokio::test]
async fn bad_patches_get_clear_answers() {
    let cluster = Cluster::new().await;
    let object = cluster.post(CONFIG_MAPS, config_map("a")).await;
    // A merge or JSON patch at fault is shown with the object that it made.
    let uid = object["metadata"]["uid"].as_str().unwrap();
    let anonymous =
        |status: &Value| -> Value { serde_json::from_str(&status.to_string().replace(uid, "UID")).unwrap() };
    let send =
        async |kind: &str, body: &str| cluster.send("PATCH", A, &[("content-type", kind)], body.to_owned()).await;
    for (name, kind, body) in [
        ("apply", "application/apply-patch+yaml", "{}"),
        ("unknown_dialect", "application/json", "{}"),
        ("malformed", "application/merge-patch+json", "{"),
        ("failed_test", "application/json-patch+json", r#"[{"op":"test","path":"/data/k","value":"x"}]"#),
        ("other_name", "application/merge-patch+json", r#"{"metadata":{"name":"b"}}"#),
        ("wrong_type", "application/merge-patch+json", r#"{"data":{"k":1}}"#),
    ] {
        let answer = send(kind, body).await;
        assert!(answer.code.is_client_error(), "{name}: {}", answer.code);
        insta::assert_json_snapshot!(format!("patch_{name}"), anonymous(&answer.json()));
    }
    let strict = cluster.fails("PATCH", &format!("{A}?fieldValidation=Strict"), json!({"dta": {}})).await;
    insta::assert_json_snapshot!("patch_strict", anonymous(&strict));
    assert_eq!(cluster.fails("PATCH", &format!("{CONFIG_MAPS}/zz"), json!({})).await["code"], 404);
}
