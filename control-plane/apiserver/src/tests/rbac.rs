//! What users may do, and what they may let others do.

use super::*;

const RBAC: &str = "/apis/rbac.authorization.k8s.io/v1";

fn bob() -> User {
    User::authenticated("bob", ["dev"])
}

async fn bind(cluster: &Cluster, name: &str, role: &str) {
    let subjects = json!([{"kind": "User", "name": "bob"}]);
    let role_ref = json!({"kind": "ClusterRole", "name": role});
    let body = json!({"metadata": {"name": name}, "subjects": subjects, "roleRef": role_ref});
    cluster.post(&format!("{RBAC}/namespaces/default/rolebindings"), body).await;
}

#[tokio::test]
async fn a_binding_counts_from_the_moment_it_is_written() {
    let cluster = Cluster::new().await;
    let refused = cluster.as_user(bob(), "GET", PODS, &Value::Null).await.json();
    assert_eq!(
        refused["message"],
        r#"pods is forbidden: User "bob" cannot list resource "pods" in API group "" in the namespace "default""#
    );
    assert_eq!((&refused["reason"], &refused["details"]["kind"]), (&json!("Forbidden"), &json!("pods")));
    bind(&cluster, "b", "view").await;
    assert_eq!(cluster.as_user(bob(), "GET", PODS, &Value::Null).await.code, 200);
    assert_eq!(cluster.as_user(bob(), "GET", "/api/v1/pods", &Value::Null).await.code, 403);
    assert_eq!(cluster.as_user(bob(), "GET", "/api/v1/namespaces/default/secrets", &Value::Null).await.code, 403);
    assert_eq!(cluster.as_user(bob(), "POST", PODS, &pod("p")).await.code, 403);
    cluster.ok("DELETE", &format!("{RBAC}/namespaces/default/rolebindings/b"), Value::Null).await;
    assert_eq!(cluster.as_user(bob(), "GET", PODS, &Value::Null).await.code, 403);
}

#[tokio::test]
async fn a_binding_to_nothing_says_so() {
    let cluster = Cluster::new().await;
    bind(&cluster, "b", "nothing").await;
    let refused = cluster.as_user(bob(), "GET", PODS, &Value::Null).await.json();
    let message = refused["message"].as_str().unwrap();
    assert!(message.ends_with(r#": RBAC: clusterrole.rbac.authorization.k8s.io "nothing" not found"#), "{message}");
}

#[tokio::test]
async fn names_bind_lists_with_a_field_selector_too() {
    let cluster = Cluster::new().await;
    let rule =
        json!({"verbs": ["get", "list"], "apiGroups": [""], "resources": ["configmaps"], "resourceNames": ["mine"]});
    cluster.post(&format!("{RBAC}/clusterroles"), json!({"metadata": {"name": "mine"}, "rules": [rule]})).await;
    bind(&cluster, "b", "mine").await;
    let code = async |path: &str| cluster.as_user(bob(), "GET", path, &Value::Null).await.code;
    assert_eq!(code(&format!("{CONFIG_MAPS}?fieldSelector=metadata.name%3Dmine")).await, 200);
    assert_eq!(code(&format!("{CONFIG_MAPS}?fieldSelector=metadata.name%3Dother")).await, 403);
    assert_eq!(code(CONFIG_MAPS).await, 403);
    assert_eq!(code(&format!("{CONFIG_MAPS}/other")).await, 403);
    assert_eq!(code(&format!("{CONFIG_MAPS}/mine")).await, 404);
}

#[tokio::test]
async fn a_selector_counts_for_rights_as_it_counts_for_the_list() {
    let cluster = Cluster::new().await;
    for name in ["mine", "other"] {
        cluster.post(CONFIG_MAPS, config_map(name)).await;
    }
    let rule = json!({"verbs": ["*"], "apiGroups": [""], "resources": ["configmaps"], "resourceNames": ["mine"]});
    cluster.post(&format!("{RBAC}/clusterroles"), json!({"metadata": {"name": "mine"}, "rules": [rule]})).await;
    bind(&cluster, "b", "mine").await;
    // One term, whose value has a comma in it: it selects everything.
    let everything = format!("{CONFIG_MAPS}?fieldSelector=metadata.namespace!%3Dx%5C,metadata.name%3Dmine");
    for (method, path) in [
        ("GET", everything.as_str()),
        ("GET", &format!("{everything}&watch=1")),
        ("DELETE", &everything),
        ("GET", &format!("{CONFIG_MAPS}?fieldSelector=metadata.name!%3Dmine")),
        // A selector names nothing that is yet to be made.
        ("POST", &format!("{CONFIG_MAPS}?fieldSelector=metadata.name%3Dmine")),
    ] {
        let answer = cluster.as_user(bob(), method, path, &config_map("new")).await;
        assert_eq!(answer.code, 403, "{method} {path}: {:?}", answer.bytes);
    }
    let both = format!("{CONFIG_MAPS}?fieldSelector=metadata.namespace%3D%3Ddefault,metadata.name%3Dmine");
    let items = cluster.as_user(bob(), "GET", &both, &Value::Null).await.json()["items"].clone();
    assert_eq!(items.as_array().map(Vec::len), Some(1), "{items}");
    assert_eq!(cluster.as_user(bob(), "DELETE", &both, &Value::Null).await.code, 200);
}

#[tokio::test]
async fn nobody_grants_what_they_do_not_have() {
    let cluster = Cluster::new().await;
    bind(&cluster, "b", "admin").await;
    let role = |resource: &str| {
        let rule = json!({"verbs": ["get", "list"], "apiGroups": [""], "resources": [resource]});
        json!({"metadata": {"name": resource}, "rules": [rule]})
    };
    let roles = format!("{RBAC}/namespaces/default/roles");
    assert_eq!(cluster.as_user(bob(), "POST", &roles, &role("pods")).await.code, 201);
    let refused = cluster.as_user(bob(), "POST", &roles, &role("nodes")).await.json();
    assert_eq!(
        refused["message"],
        "roles.rbac.authorization.k8s.io \"nodes\" is forbidden: user \"bob\" (groups=[\"dev\" \"system:authenticated\"]) is attempting to grant RBAC permissions not currently held:\n{APIGroups:[\"\"], Resources:[\"nodes\"], Verbs:[\"get\" \"list\"]}"
    );
    let binding = |role: &str| {
        json!({"metadata": {"name": role}, "subjects": [{"kind": "User", "name": "eve"}],
               "roleRef": {"kind": "ClusterRole", "name": role}})
    };
    let bindings = format!("{RBAC}/namespaces/default/rolebindings");
    assert_eq!(cluster.as_user(bob(), "POST", &bindings, &binding("edit")).await.code, 201);
    assert_eq!(cluster.as_user(bob(), "POST", &bindings, &binding("cluster-admin")).await.code, 403);
    assert_eq!(cluster.as_user(bob(), "POST", &bindings, &binding("absent")).await.code, 404);
    let rule = json!({"verbs": ["bind"], "apiGroups": ["rbac.authorization.k8s.io"], "resources": ["clusterroles"], "resourceNames": ["cluster-admin"]});
    cluster.post(&format!("{RBAC}/clusterroles"), json!({"metadata": {"name": "binder"}, "rules": [rule]})).await;
    bind(&cluster, "b2", "binder").await;
    assert_eq!(cluster.as_user(bob(), "POST", &bindings, &binding("cluster-admin")).await.code, 201);
}

#[tokio::test]
async fn default_roles_come_back_at_the_next_start() {
    let cluster = Cluster::new().await;
    let path = format!("{RBAC}/clusterroles/view");
    let role = cluster.get(&format!("{RBAC}/clusterroles/system:discovery")).await;
    assert_eq!(role["metadata"]["labels"]["kubernetes.io/bootstrapping"], "rbac-defaults");
    let before = cluster.core.store.revision();
    crate::bootstrap::run(&cluster.core).await.unwrap();
    assert_eq!(cluster.core.store.revision(), before, "an unchanged policy writes nothing");
    cluster.ok("DELETE", &path, Value::Null).await;
    crate::bootstrap::run(&cluster.core).await.unwrap();
    assert!(!cluster.get(&path).await["rules"].as_array().unwrap().is_empty());
}

#[tokio::test]
async fn the_anonymous_see_only_what_is_public() {
    let cluster = Cluster::new().await;
    let code = async |path: &str| {
        let request = Request::get(path).body(Body::empty()).unwrap();
        let caller = crate::handler::Caller::Network(None);
        crate::handler::handle(&cluster.core, caller, request).await.status()
    };
    for (path, expected) in [
        ("/healthz", 200),
        ("/livez", 200),
        ("/readyz", 200),
        ("/version", 200),
        ("/livez/ping", 403),
        ("/api", 403),
        ("/metrics", 403),
        (PODS, 403),
    ] {
        assert_eq!(code(path).await, expected, "{path}");
    }
    assert_eq!(cluster.with_token("wrong", "/version").await.code, 401);
    let allowing = Cluster::with(|config| config.authorization = vec![crate::AuthorizationMode::AlwaysAllow]).await;
    let request = Request::get(PODS).body(Body::empty()).unwrap();
    let caller = crate::handler::Caller::Network(None);
    assert_eq!(crate::handler::handle(&allowing.core, caller, request).await.status(), 401);
}

#[tokio::test]
async fn impersonation_is_a_right_of_its_own() {
    let cluster = Cluster::new().await;
    let rule = json!({"verbs": ["impersonate"], "apiGroups": [""], "resources": ["users"], "resourceNames": ["eve"]});
    cluster.post(&format!("{RBAC}/clusterroles"), json!({"metadata": {"name": "actor"}, "rules": [rule]})).await;
    cluster
        .post(
            &format!("{RBAC}/clusterrolebindings"),
            json!({
                "metadata": {"name": "actor"}, "subjects": [{"kind": "User", "name": "bob"}],
                "roleRef": {"kind": "ClusterRole", "name": "actor"},
            }),
        )
        .await;
    let who = "/apis/authentication.k8s.io/v1/selfsubjectreviews";
    let ask = async |headers: &[(&str, &str)]| {
        let mut request = Request::post(who).header("content-type", "application/json");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let service = LocalService::new(Arc::clone(&cluster.core), bob());
        let response = service.oneshot(request.body(Body::from("{}")).unwrap()).await.unwrap();
        serde_json::from_slice::<Value>(&response.into_body().collect().await.unwrap().to_bytes()).unwrap()
    };
    let eve = ask(&[("impersonate-user", "eve")]).await;
    assert_eq!(eve["status"]["userInfo"]["username"], "eve");
    assert_eq!(eve["status"]["userInfo"]["groups"], json!(["system:authenticated"]));
    let refused = ask(&[("impersonate-user", "mallory")]).await;
    assert_eq!(
        refused["message"],
        r#"users "mallory" is forbidden: User "bob" cannot impersonate resource "users" in API group "" at the cluster scope"#
    );
    assert_eq!(ask(&[("impersonate-user", "eve"), ("impersonate-group", "system:masters")]).await["code"], 403);
    assert_eq!(ask(&[("impersonate-group", "x")]).await["code"], 500);
    let account = ask(&[("impersonate-user", "system:serviceaccount:default:x")]).await;
    assert_eq!(account["details"]["kind"], "serviceaccounts");
}
