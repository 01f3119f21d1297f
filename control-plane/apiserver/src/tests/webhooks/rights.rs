//! Conditions that ask what the sender of a request may do.

use super::*;
use crate::user::User;

fn bob() -> User {
    User::authenticated("bob", ["dev"])
}

/// A cluster in which bob may write ConfigMaps, and get the one named "known".
async fn cluster() -> Cluster {
    let cluster = Cluster::new().await;
    let group = "/apis/rbac.authorization.k8s.io/v1/namespaces/default";
    let rules = json!([
        {"verbs": ["create", "update"], "apiGroups": [""], "resources": ["configmaps"]},
        {"verbs": ["get"], "apiGroups": [""], "resources": ["configmaps"], "resourceNames": ["known"]},
    ]);
    cluster.post(&format!("{group}/roles"), json!({"metadata": {"name": "writer"}, "rules": rules})).await;
    let binding = json!({"metadata": {"name": "writer"}, "roleRef": {"kind": "Role", "name": "writer"},
        "subjects": [{"kind": "User", "name": "bob"}]});
    cluster.post(&format!("{group}/rolebindings"), binding).await;
    cluster
}

#[tokio::test]
async fn conditions_ask_about_the_rights_of_the_sender() {
    let server = Server::start(allow).await;
    let cluster = cluster().await;
    let requested = "authorizer.requestResource";
    let secrets = "authorizer.group('').resource('secrets').namespace('default')";
    for (round, (expression, is_asked)) in [
        (format!("{requested}.check('create').allowed()"), true),
        (format!("{requested}.check('delete').allowed()"), false),
        (format!("{requested}.name('known').check('get').allowed()"), true),
        (format!("{requested}.check('create').reason().startsWith('RBAC: allowed by RoleBinding')"), true),
        (format!("{secrets}.check('get').allowed()"), false),
        (format!("!{secrets}.check('get').allowed() && !{secrets}.check('get').errored()"), true),
        ("authorizer.path('/healthz').check('get').allowed()".into(), true),
        ("authorizer.path('/metrics').check('get').allowed()".into(), false),
        ("authorizer.serviceAccount('kube-system', 'x').path('/metrics').check('get').allowed()".into(), false),
    ]
    .into_iter()
    .enumerate()
    {
        let condition = json!({"matchConditions": [{"name": "a", "expression": expression}]});
        cluster.post(VALIDATING, configuration("v", vec![server.hook("one.example.com", condition)])).await;
        let map = config_map(&format!("c{round}"));
        assert_eq!(cluster.as_user(bob(), "POST", CONFIG_MAPS, &map).await.code, 201, "{expression}");
        assert_eq!(server.asked().len(), usize::from(is_asked), "{expression}");
        cluster.ok("DELETE", &format!("{VALIDATING}/v"), Value::Null).await;
    }
    // The administrator may do everything.
    let condition =
        json!({"matchConditions": [{"name": "a", "expression": format!("{secrets}.check('get').allowed()")}]});
    cluster.post(VALIDATING, configuration("v", vec![server.hook("one.example.com", condition)])).await;
    cluster.post(CONFIG_MAPS, config_map("mine")).await;
    assert_eq!(server.asked().len(), 1);
}

#[tokio::test]
async fn conditions_can_ask_so_much_and_no_more() {
    let server = Server::start(allow).await;
    let cluster = cluster().await;
    let ask = "authorizer.path('/').check('get').errored()";
    let three = format!("!({ask}) && !({ask}) && !({ask})");
    let two = format!("!({ask}) && !({ask})");
    let refused = async |expressions: &[&String]| {
        let conditions: Vec<Value> = expressions
            .iter()
            .enumerate()
            .map(|(at, expression)| json!({"name": format!("c{at}"), "expression": expression}))
            .collect();
        let hook = server.hook("one.example.com", json!({"matchConditions": conditions}));
        cluster.post(VALIDATING, configuration("v", vec![hook])).await;
        let status = cluster.as_user(bob(), "POST", CONFIG_MAPS, &config_map("a")).await.json();
        cluster.ok("DELETE", &format!("{VALIDATING}/v"), Value::Null).await;
        status["message"].as_str().unwrap_or_default().to_owned()
    };
    let head = "configmaps \"a\" is forbidden: ";
    let why = format!("expression '{three}' resulted in error: operation cancelled: actual cost limit exceeded");
    assert_eq!(refused(&[&three]).await, format!("{head}{why}"));
    let why = "validation failed due to running out of cost budget, no further validation rules will be run";
    assert_eq!(refused(&[&two, &two, &two, &two]).await, format!("{head}{why}"));
    assert_eq!(refused(&[&two, &two, &two]).await, "");
}
