//! Reviews of access and identity.

use super::*;

const ACCESS: &str = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews";

#[tokio::test]
async fn users_learn_who_they_are() {
    let cluster = Cluster::new().await;
    let review = cluster.post("/apis/authentication.k8s.io/v1/selfsubjectreviews", json!({})).await;
    assert_eq!(review["kind"], "SelfSubjectReview");
    assert_eq!(review["status"]["userInfo"]["username"], "system:admin");
    assert!(review["status"]["userInfo"]["groups"].as_array().unwrap().contains(&"system:masters".into()));
    assert_eq!(
        cluster.fails("GET", "/apis/authentication.k8s.io/v1/selfsubjectreviews", Value::Null).await["code"],
        405
    );
}

#[tokio::test]
async fn users_learn_what_they_may_do() {
    let cluster = Cluster::new().await;
    let ask = json!({"spec": {"resourceAttributes": {"verb": "create", "resource": "pods", "namespace": "default"}}});
    assert_eq!(cluster.post(ACCESS, ask).await["status"], json!({"allowed": true}));
    let ask = json!({"spec": {"nonResourceAttributes": {"verb": "get", "path": "/metrics"}}});
    assert_eq!(cluster.post(ACCESS, ask).await["status"]["allowed"], true);
    let status = cluster.fails("POST", ACCESS, json!({"spec": {}})).await;
    assert_eq!(status["details"]["causes"][0]["field"], "spec.resourceAttributes");
    let path = "/apis/authorization.k8s.io/v1/selfsubjectrulesreviews";
    let rules = cluster.post(path, json!({"spec": {"namespace": "default"}})).await;
    assert_eq!(rules["status"]["resourceRules"][0]["verbs"], json!(["*"]));
    assert_eq!(cluster.fails("POST", path, json!({"spec": {}})).await["message"], "no namespace on request");
}

#[tokio::test]
async fn reviews_about_others_ask_the_authorizers() {
    let cluster = Cluster::new().await;
    cluster
        .post(
            "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings",
            json!({
                "metadata": {"name": "readers"}, "subjects": [{"kind": "User", "name": "reader"}],
                "roleRef": {"kind": "ClusterRole", "name": "view"},
            }),
        )
        .await;
    let path = "/apis/authorization.k8s.io/v1/subjectaccessreviews";
    let ask = |user: &str, verb: &str| json!({"spec": {"user": user, "resourceAttributes": {"verb": verb, "resource": "pods"}}});
    assert_eq!(
        cluster.post(path, ask("reader", "get")).await["status"],
        json!({"allowed": true, "reason": r#"RBAC: allowed by ClusterRoleBinding "readers" of ClusterRole "view" to User "reader""#})
    );
    assert_eq!(cluster.post(path, ask("reader", "delete")).await["status"], json!({"allowed": false}));
    assert_eq!(cluster.fails("POST", path, ask("", "get")).await["details"]["causes"][0]["field"], "spec.user");
    let local = "/apis/authorization.k8s.io/v1/namespaces/default/localsubjectaccessreviews";
    let elsewhere = cluster.fails("POST", local, ask("reader", "get")).await;
    let why = ".authorization.k8s.io \"\" is invalid: spec.resourceAttributes.namespace: Invalid value: \"\": must match metadata.namespace";
    assert_eq!(elsewhere["message"], why);
    let mut named = ask("", "get");
    named["metadata"] = json!({"name": "x"});
    named["spec"]["nonResourceAttributes"] = json!({"path": "/x"});
    let causes = cluster.fails("POST", path, named).await["details"]["causes"].clone();
    let fields: Vec<&Value> = causes.as_array().unwrap().iter().map(|cause| &cause["field"]).collect();
    assert_eq!(fields, ["spec.nonResourceAttributes", "spec.user", "metadata"]);
    let rules = "/apis/authorization.k8s.io/v1/selfsubjectrulesreviews";
    let mine = cluster
        .as_user(User::authenticated("reader", ["x"]), "POST", rules, &json!({"spec": {"namespace": "x"}}))
        .await
        .json();
    let listed = mine["status"]["resourceRules"].as_array().unwrap();
    assert!(listed.iter().any(|rule| rule["resources"].as_array().unwrap().contains(&"pods".into())), "{mine}");
    assert_eq!((&mine["status"]["incomplete"], &mine["spec"]), (&json!(false), &json!({})));
}

#[tokio::test]
async fn tokens_are_reviewed() {
    let tokens = || crate::StaticTokens::new([("s3cret".to_string(), User::authenticated("bob", ["dev"]))]);
    let cluster = Cluster::with(|config| config.tokens = tokens()).await;
    let path = "/apis/authentication.k8s.io/v1/tokenreviews";
    let review = cluster.post(path, json!({"spec": {"token": "s3cret"}})).await;
    assert_eq!(review["status"]["authenticated"], true);
    assert_eq!(review["status"]["user"]["username"], "bob");
    let ours = "https://kubernetes.default.svc.cluster.local";
    assert_eq!(review["status"]["audiences"], json!([ours]));
    let review = cluster.post(path, json!({"spec": {"token": "s3cret", "audiences": ["x", ours]}})).await;
    assert_eq!(review["status"]["audiences"], json!([ours]));
    let wrong = json!({"user": {}, "error": "invalid bearer token"});
    for spec in [json!({"token": "wrong"}), json!({"token": "s3cret", "audiences": ["x"]})] {
        assert_eq!(cluster.post(path, json!({"spec": spec})).await["status"], wrong);
    }
}
