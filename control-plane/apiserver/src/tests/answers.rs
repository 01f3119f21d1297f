//! Answers that kube-apiserver gives to requests which few clients send, found by sending the same to both.

use super::*;

const SECRETS: &str = "/api/v1/namespaces/default/secrets";
const ONE: &str = "application/json;as=PartialObjectMetadata;v=v1;g=meta.k8s.io";
const LIST: &str = "application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io";

async fn shown(cluster: &Cluster, method: &str, path: &str, accept: &str) -> Value {
    cluster.send(method, path, &[("accept", accept)], "").await.json()
}

#[tokio::test]
async fn metadata_of_one_and_of_many_are_told_apart() {
    let cluster = Cluster::new().await;
    cluster.post(CONFIG_MAPS, config_map("a")).await;
    let one = format!("{CONFIG_MAPS}/a");
    assert_eq!(shown(&cluster, "GET", &one, ONE).await["kind"], "PartialObjectMetadata");
    assert_eq!(shown(&cluster, "GET", CONFIG_MAPS, LIST).await["kind"], "PartialObjectMetadataList");
    assert_eq!(
        shown(&cluster, "GET", CONFIG_MAPS, ONE).await["message"],
        "you requested PartialObjectMetadata, but the requested object is a list (*core.ConfigMapList)"
    );
    assert_eq!(
        shown(&cluster, "GET", &one, LIST).await["message"],
        "you requested PartialObjectMetadataList, but the requested object is not a list (*core.ConfigMap)"
    );
    let beta = shown(&cluster, "GET", CONFIG_MAPS, &LIST.replace("v=v1", "v=v1beta1")).await;
    assert_eq!([&beta["apiVersion"], &beta["items"][0]["apiVersion"]], ["meta.k8s.io/v1beta1"; 2]);
    let table = "application/json;as=Table;v=v1beta1;g=meta.k8s.io";
    let beta = shown(&cluster, "GET", CONFIG_MAPS, table).await;
    assert_eq!([&beta["apiVersion"], &beta["rows"][0]["object"]["apiVersion"]], ["meta.k8s.io/v1beta1"; 2]);
    let table = shown(&cluster, "DELETE", CONFIG_MAPS, "application/json;as=Table;v=v1;g=meta.k8s.io").await;
    assert_eq!((&table["kind"], &table["rows"][0]["cells"][0]), (&json!("Table"), &json!("a")));
    let discovery = shown(&cluster, "GET", "/apis/apps", ONE).await;
    assert_eq!(discovery["reason"], "NotAcceptable");
}

#[tokio::test]
async fn what_is_deleted_together_is_listed_as_a_list_is() {
    let cluster = Cluster::new().await;
    cluster.post(CONFIG_MAPS, config_map("a")).await;
    let deleted = cluster.ok("DELETE", CONFIG_MAPS, Value::Null).await;
    assert_eq!((&deleted["kind"], deleted["items"][0].get("kind")), (&json!("ConfigMapList"), None));
}

#[tokio::test]
async fn routes_take_the_types_that_they_name() {
    let cluster = Cluster::new().await;
    for accept in ["*", "application/*", "text/html"] {
        let status = shown(&cluster, "GET", CONFIG_MAPS, accept).await;
        assert!(status["message"].as_str().unwrap().starts_with("406: Not Acceptable\n\nAvailable representations: "));
        assert_eq!(status["details"], json!({}));
    }
    for media in ["text/yaml", "text/plain", "application/x-www-form-urlencoded"] {
        let sent = cluster.send("POST", CONFIG_MAPS, &[("content-type", media)], "{}").await;
        assert_eq!(sent.code, StatusCode::UNSUPPORTED_MEDIA_TYPE, "{media}");
        let sent = cluster.send("DELETE", CONFIG_MAPS, &[("content-type", media)], "{}").await;
        assert_eq!(sent.code, StatusCode::UNSUPPORTED_MEDIA_TYPE, "{media}");
    }
}

#[tokio::test]
async fn a_body_that_is_no_object_is_shown_as_go_shows_it() {
    let cluster = Cluster::new().await;
    let head = "the object provided is unrecognized (must be of type Secret): ";
    let typed = "couldn't get version/kind; json parse error: ";
    for (body, why) in [
        ("", format!("{typed}unexpected end of JSON input (<empty>)")),
        (r#"{"a""#, format!("{typed}unexpected end of JSON input ({{\"a\")")),
        (
            r#"{"kind":5}"#,
            format!("{typed}json: cannot unmarshal number into Go struct field .kind of type string ({{\"kind\":5}})"),
        ),
        (r#"{"apiVersion":"a/b/c"}"#, "unexpected GroupVersion string: a/b/c ({\"apiVersion\":\"a/b/c\"})".to_owned()),
    ] {
        let answer = cluster.send("POST", SECRETS, &[("content-type", "application/json")], body).await;
        assert_eq!(answer.json()["message"], format!("{head}{why}"));
    }
    let nothing = cluster.send("POST", SECRETS, &[("content-type", "application/json")], "null").await;
    assert_eq!(nothing.json()["reason"], "Invalid");
}

#[tokio::test]
async fn an_object_says_its_name_where_it_takes_anothers_place() {
    let cluster = Cluster::new().await;
    cluster.post(SECRETS, json!({"metadata": {"name": "s"}})).await;
    let path = format!("{SECRETS}/s");
    let unnamed = "the name of the object (s based on URL) was undeterminable: name must be provided";
    assert_eq!(cluster.fails("PUT", &path, json!({})).await["message"], unnamed);
    assert_eq!(cluster.fails("PATCH", &path, json!({"metadata": {"name": null}})).await["message"], unnamed);
    let renamed = cluster.fails("PATCH", &path, json!({"metadata": {"name": "t"}})).await;
    assert_eq!(renamed["message"], "the name of the object (t) does not match the name on the URL (s)");
    let other = cluster.fails("PATCH", &path, json!({"metadata": {"uid": "u"}})).await;
    assert_eq!(other["message"], "Secret \"s\" is invalid: metadata.uid: Invalid value: \"u\": field is immutable");
    let strategic = [("content-type", "application/strategic-merge-patch+json")];
    assert_eq!(cluster.send("PATCH", &path, &strategic, r#"{"kind":"Pod"}"#).await.json()["kind"], "Secret");
    for (name, why) in
        [("%2e%2e", "\"..\": may not be '..'"), (".", "\".\": may not be '.'"), ("a%25", "\"a%\": may not contain '%'")]
    {
        let status = cluster.fails("GET", &format!("{SECRETS}/{name}"), Value::Null).await;
        assert_eq!(status["message"], format!("Name parameter invalid: {why}"));
    }
}

#[tokio::test]
async fn a_delete_holds_to_what_its_query_says() {
    let cluster = Cluster::new().await;
    cluster.post(SECRETS, json!({"metadata": {"name": "s"}})).await;
    let path = format!("{SECRETS}/s");
    let uid = cluster.get(&path).await["metadata"]["uid"].as_str().unwrap().to_owned();
    let refused = cluster.fails("DELETE", &format!("{path}?uid=x"), Value::Null).await;
    let why = "The object might have been deleted and then recreated";
    let said = format!(
        "Operation cannot be fulfilled on Secret \"s\": the UID in the precondition (x) does not match the UID in record ({uid}). {why}"
    );
    assert_eq!((&refused["message"], &refused["details"]["kind"]), (&json!(said), &json!("Secret")));
    for (query, code) in
        [("resourceVersion=1", 409), ("propagationPolicy=", 422), ("dryRun=", 422), ("gracePeriodSeconds=", 400)]
    {
        assert_eq!(cluster.fails("DELETE", &format!("{path}?{query}"), Value::Null).await["code"], code, "{query}");
    }
    cluster.ok("DELETE", &format!("{path}?uid={uid}"), Value::Null).await;
}

#[tokio::test]
async fn log_options_are_read_before_the_pod_is() {
    let cluster = Cluster::new().await;
    for (query, code) in [("tailLines=-1", 422), ("tailLines=x", 400), ("sinceTime=x", 400), ("tailLines=1", 404)] {
        let path = format!("{PODS}/nope/log?{query}");
        assert_eq!(cluster.fails("GET", &path, Value::Null).await["code"], code, "{query}");
    }
}

#[tokio::test]
async fn a_lease_is_never_replaced_blindly() {
    let cluster = Cluster::new().await;
    let path = "/apis/coordination.k8s.io/v1/namespaces/default/leases";
    let lease = json!({"metadata": {"name": "l"}});
    cluster.post(path, lease.clone()).await;
    let refused = cluster.fails("PUT", &format!("{path}/l"), lease).await;
    let why = "leases.coordination.k8s.io \"l\" is invalid: metadata.resourceVersion: Invalid value: 0: must be specified for an update";
    assert_eq!((&refused["message"], &refused["details"]["kind"]), (&json!(why), &json!("leases")));
}

#[tokio::test]
async fn what_is_no_verb_is_refused_as_nothing() {
    let cluster = Cluster::new().await;
    let nobody = User::authenticated("jane", ["devs"]);
    let refused = cluster.as_user(nobody, "OPTIONS", PODS, &Value::Null).await;
    assert_eq!(refused.header("x-content-type-options"), "nosniff");
    assert_eq!(
        refused.json()["message"],
        "pods is forbidden: User \"jane\" cannot  resource \"pods\" in API group \"\" in the namespace \"default\""
    );
}

#[tokio::test]
async fn tables_leave_out_what_is_not_asked_for() {
    let cluster = Cluster::new().await;
    cluster.post(CONFIG_MAPS, config_map("a")).await;
    let table = "application/json;as=Table;v=v1;g=meta.k8s.io";
    let bare = shown(&cluster, "GET", &format!("{CONFIG_MAPS}?includeObject=None"), table).await;
    assert_eq!(bare["rows"][0].get("object"), Some(&Value::Null));
    let refused = shown(&cluster, "GET", &format!("{CONFIG_MAPS}?includeObject=x"), table).await;
    let why = "Unable to convert to Table as requested: includeObject: Invalid value: \"x\": must be 'Metadata', 'Object', 'None', or empty";
    assert_eq!(refused["message"], why);
}

#[tokio::test]
async fn of_a_workload_that_is_not_there_the_scale_is_missing() {
    let cluster = Cluster::new().await;
    for (path, missing) in [
        ("/apis/apps/v1/namespaces/default/deployments", "deployments/scale.apps"),
        ("/api/v1/namespaces/default/replicationcontrollers", "replicationcontrollers/scale.autoscaling"),
        ("/apis/apps/v1/namespaces/default/statefulsets", "statefulsets.apps"),
    ] {
        let status = cluster.fails("GET", &format!("{path}/x/scale"), Value::Null).await;
        assert_eq!(status["message"], format!("{missing} \"x\" not found"));
    }
}
