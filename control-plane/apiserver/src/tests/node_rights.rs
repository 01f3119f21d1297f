//! What a kubelet may do.

use super::*;

fn node() -> User {
    User::node("n1")
}

async fn cluster() -> Cluster {
    let cluster = Cluster::new().await;
    for name in ["used", "other"] {
        cluster.post(CONFIG_MAPS, config_map(name)).await;
    }
    let mut bound = pod("p");
    bound["spec"]["volumes"] = json!([{"name": "v", "configMap": {"name": "used"}}]);
    bound["spec"]["nodeName"] = "n1".into();
    cluster.post(PODS, bound).await;
    let mut elsewhere = pod("q");
    elsewhere["spec"]["nodeName"] = "n2".into();
    cluster.post(PODS, elsewhere).await;
    cluster
}

#[tokio::test]
async fn a_node_reads_what_its_pods_refer_to() {
    let cluster = cluster().await;
    let code = async |path: String| cluster.as_user(node(), "GET", &path, &Value::Null).await.code;
    assert_eq!(code(format!("{CONFIG_MAPS}/used")).await, 200);
    assert_eq!(code(format!("{CONFIG_MAPS}?fieldSelector=metadata.name%3Dused")).await, 200);
    assert_eq!(code(format!("{CONFIG_MAPS}/other")).await, 403);
    assert_eq!(code(CONFIG_MAPS.into()).await, 403);
    assert_eq!(code(format!("{PODS}/p")).await, 200);
    assert_eq!(code(format!("{PODS}/q")).await, 403);
    assert_eq!(code("/api/v1/pods?fieldSelector=spec.nodeName%3Dn1".into()).await, 200);
    assert_eq!(code("/api/v1/pods".into()).await, 403);
    assert_eq!(code("/api/v1/services".into()).await, 200);
    assert_eq!(code("/api/v1/nodes/n2".into()).await, 403);
    let refused = cluster.as_user(node(), "GET", &format!("{CONFIG_MAPS}/other"), &Value::Null).await.json();
    assert_eq!(
        refused["message"],
        r#"configmaps "other" is forbidden: User "system:node:n1" cannot get resource "configmaps" in API group "" in the namespace "default": no relationship found between node 'n1' and this object"#
    );
    cluster.ok("DELETE", &format!("{PODS}/p"), json!({"gracePeriodSeconds": 0})).await;
    assert_eq!(code(format!("{CONFIG_MAPS}/used")).await, 403);
}

#[tokio::test]
async fn a_node_changes_only_what_is_its_own() {
    let cluster = cluster().await;
    let nodes = "/api/v1/nodes";
    let send = async |method: &str, path: &str, body: Value| cluster.as_user(node(), method, path, &body).await;
    assert_eq!(send("POST", nodes, json!({"metadata": {"name": "n1"}})).await.code, 201);
    assert_eq!(send("POST", nodes, json!({"metadata": {"name": "n2"}})).await.code, 403);
    let label = json!({"metadata": {"labels": {"node-restriction.kubernetes.io/x": "1"}}});
    assert_eq!(send("PATCH", &format!("{nodes}/n1"), label).await.code, 403);
    let ready = json!({"status": {"phase": "Running"}});
    assert_eq!(send("PATCH", &format!("{PODS}/p/status"), ready.clone()).await.code, 200);
    assert_eq!(send("PATCH", &format!("{PODS}/q/status"), ready).await.code, 403);
    assert_eq!(send("DELETE", &format!("{PODS}/q"), Value::Null).await.code, 403);
    let refused = send("POST", PODS, pod("new")).await.json();
    assert_eq!(
        refused["message"],
        r#"pods "new" is forbidden: pod does not have "kubernetes.io/config.mirror" annotation, node "n1" can only create mirror pods"#
    );
}

#[tokio::test]
async fn a_node_gets_tokens_for_its_own_pods() {
    let cluster = cluster().await;
    let path = "/api/v1/namespaces/default/serviceaccounts/default/token";
    let ask = async |pod: &str| {
        let uid = cluster.get(&format!("{PODS}/{pod}")).await["metadata"]["uid"].clone();
        let reference = json!({"kind": "Pod", "apiVersion": "v1", "name": pod, "uid": uid});
        cluster.as_user(node(), "POST", path, &json!({"spec": {"boundObjectRef": reference}})).await
    };
    assert_eq!(ask("p").await.code, 201);
    assert_eq!(ask("q").await.code, 403);
    assert_eq!(cluster.as_user(node(), "POST", path, &json!({"spec": {}})).await.code, 403);
}
