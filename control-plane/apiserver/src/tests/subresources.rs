//! Subresources: scale, binding, eviction.

use super::*;

const DEPLOYMENTS: &str = "/apis/apps/v1/namespaces/default/deployments";

fn deployment() -> Value {
    json!({"metadata": {"name": "d"}, "spec": {
        "replicas": 2, "selector": {"matchLabels": {"a": "b"}},
        "template": {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c", "image": "x"}]}},
    }})
}

#[tokio::test]
async fn no_path_leads_around_the_namespace() {
    let cluster = Cluster::new().await;
    cluster.post(PODS, pod("p")).await;
    for path in ["/api/v1/pods/default%2Fp/status", "/api/v1/pods/default%2Fp/log", "/api/v1/pods/p/status"] {
        assert_eq!(cluster.fails("GET", path, Value::Null).await["code"], 404, "{path}");
    }
    assert_eq!(cluster.fails("GET", "/api/v1/pods/default%2Fp", Value::Null).await["code"], 404);
}

#[tokio::test]
async fn scale_shows_and_sets_replicas() {
    let cluster = Cluster::new().await;
    cluster.post(DEPLOYMENTS, deployment()).await;
    let path = format!("{DEPLOYMENTS}/d/scale");
    let mut scale = cluster.get(&path).await;
    assert_eq!((&scale["kind"], &scale["spec"]["replicas"]), (&json!("Scale"), &json!(2)));
    assert_eq!(scale["status"], json!({"replicas": 0, "selector": "a=b"}));
    scale["spec"]["replicas"] = 5.into();
    let stale = scale.clone();
    assert_eq!(cluster.ok("PUT", &path, scale).await["spec"]["replicas"], 5);
    assert_eq!(cluster.fails("PUT", &path, stale).await["reason"], "Conflict");
    let patched = cluster.ok("PATCH", &path, json!({"spec": {"replicas": 0}})).await;
    assert_eq!(patched["spec"], json!({}));
    let object = cluster.get(&format!("{DEPLOYMENTS}/d")).await;
    assert_eq!((&object["spec"]["replicas"], &object["metadata"]["generation"]), (&json!(0), &json!(3)));
    let negative = cluster.fails("PATCH", &path, json!({"spec": {"replicas": -1}})).await;
    insta::assert_json_snapshot!("scale_negative", negative);
}

#[tokio::test]
async fn a_pod_is_bound_once() {
    let cluster = Cluster::new().await;
    cluster.post(PODS, pod("p")).await;
    let path = format!("{PODS}/p/binding");
    let to = |node: &str| json!({"metadata": {"name": "p"}, "target": {"kind": "Node", "name": node}});
    let done = cluster.post(&path, to("n1")).await;
    assert_eq!(done, json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "code": 201}));
    let bound = cluster.get(&format!("{PODS}/p")).await;
    assert_eq!(bound["spec"]["nodeName"], "n1");
    assert_eq!(bound["status"]["conditions"][0]["type"], "PodScheduled");
    assert_eq!(bound["status"]["conditions"][0]["status"], "True");
    insta::assert_json_snapshot!("binding_again", cluster.fails("POST", &path, to("n2")).await);
    let nobody = json!({"metadata": {"name": "zz"}, "target": {"name": "n"}});
    assert_eq!(cluster.fails("POST", &format!("{PODS}/zz/binding"), nobody).await["code"], 404);
    let nowhere = json!({"metadata": {"name": "p"}, "target": {"kind": "Pod"}});
    assert_eq!(cluster.fails("POST", &path, nowhere).await["code"], 422);
    let nameless = cluster.fails("POST", &path, json!({"target": {"name": "n2"}})).await;
    assert_eq!(nameless["message"], "name in URL does not match name in Binding object");
    cluster.post(PODS, pod("q")).await;
    let bindings = "/api/v1/namespaces/default/bindings";
    cluster.post(bindings, json!({"metadata": {"name": "q"}, "target": {"name": "n1"}})).await;
    assert_eq!(cluster.get(&format!("{PODS}/q")).await["spec"]["nodeName"], "n1");
}

#[tokio::test]
async fn of_many_who_bind_one_wins() {
    let cluster = Cluster::new().await;
    cluster.post(PODS, pod("p")).await;
    let path = format!("{PODS}/p/binding");
    let bind = (0..20).map(|n| {
        let (cluster, path) = (&cluster, &path);
        async move {
            cluster
                .json("POST", path, &json!({"metadata": {"name": "p"}, "target": {"name": format!("n{n}")}}))
                .await
                .code
        }
    });
    let codes = futures::future::join_all(bind).await;
    assert_eq!(codes.iter().filter(|code| **code == 201).count(), 1);
    assert_eq!(codes.iter().filter(|code| **code == 409).count(), 19);
}

#[tokio::test]
async fn an_eviction_deletes() {
    let cluster = Cluster::new().await;
    cluster.post(PODS, pod("p")).await;
    let eviction =
        json!({"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": "p", "namespace": "default"}});
    cluster.post(&format!("{PODS}/p/eviction"), eviction).await;
    assert_eq!(cluster.fails("GET", &format!("{PODS}/p"), Value::Null).await["code"], 404);
}

#[tokio::test]
async fn what_is_absent_says_so() {
    let cluster = Cluster::new().await;
    cluster.post(PODS, pod("p")).await;
    let streams = [("POST", "exec"), ("GET", "attach"), ("POST", "portforward"), ("GET", "proxy")];
    for (method, path) in streams {
        let nobody = cluster.fails(method, &format!("{PODS}/q/{path}"), Value::Null).await;
        assert_eq!(nobody["message"], "pods \"q\" not found");
        let status = cluster.fails(method, &format!("{PODS}/p/{path}"), Value::Null).await;
        match path {
            "proxy" => assert_eq!(status["code"], 501),
            _ => assert_eq!(status["message"], "pod p does not have a host assigned", "{path}"),
        }
    }
    let wrong = cluster.fails("GET", &format!("{PODS}/p/exec?container=z"), Value::Null).await;
    assert_eq!(wrong["message"], "container z is not valid for pod p");
    let binding = json!({"metadata": {"name": "p"}, "target": {"kind": "Node", "name": "n"}});
    cluster.post(&format!("{PODS}/p/binding"), binding).await;
    for (method, path) in streams {
        let status = cluster.fails(method, &format!("{PODS}/p/{path}"), Value::Null).await;
        assert_eq!(status["code"], 501, "{path}");
    }
    let service = cluster.fails("GET", "/api/v1/namespaces/default/services/http:web:80/proxy/x", Value::Null).await;
    assert_eq!(service["message"], "services \"web\" not found");
    assert_eq!(cluster.fails("GET", &format!("{PODS}/p/nonsense"), Value::Null).await["code"], 404);
    assert_eq!(cluster.fails("POST", &format!("{PODS}/p/status"), Value::Null).await["code"], 405);
}

#[tokio::test]
async fn a_scale_prints_as_kubectl_knows_it() {
    let cluster = Cluster::new().await;
    let template = json!({"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c", "image": "x"}]}});
    let spec = json!({"replicas": 3, "selector": {"matchLabels": {"a": "b"}}, "template": template});
    let path = "/apis/apps/v1/namespaces/default/deployments";
    cluster.post(path, json!({"metadata": {"name": "d"}, "spec": spec})).await;
    let accept = [("accept", "application/json;as=Table;v=v1;g=meta.k8s.io")];
    let table = cluster.send("GET", &format!("{path}/d/scale"), &accept, Body::empty()).await.json();
    assert_eq!(table["kind"], "Table");
    assert_eq!(table["columnDefinitions"][1]["name"], "Desired");
    assert_eq!(table["rows"][0]["cells"].as_array().unwrap()[..3], [json!("d"), json!(3), json!(0)]);
    assert_eq!(table["rows"][0]["object"]["metadata"]["name"], "d");
}

#[tokio::test]
async fn a_pod_learns_where_its_node_is() {
    let cluster = Cluster::new().await;
    let labels = json!({"topology.kubernetes.io/zone": "z", "topology.kubernetes.io/region": "r", "other": "o"});
    cluster.post("/api/v1/nodes", json!({"metadata": {"name": "n", "labels": labels}})).await;
    let target = json!({"metadata": {"name": "bound"}, "target": {"kind": "Node", "name": "n"}});
    let mut own = pod("bound");
    own["metadata"]["labels"] = json!({"app": "a"});
    cluster.post(PODS, own).await;
    cluster.post(&format!("{PODS}/bound/binding"), target).await;
    let there = |pod: &Value| pod["metadata"]["labels"].clone();
    let wanted = json!({"app": "a", "topology.kubernetes.io/zone": "z", "topology.kubernetes.io/region": "r"});
    assert_eq!(there(&cluster.get(&format!("{PODS}/bound")).await), wanted);
    // Of a pod that is made on its node, its own word counts.
    let mut placed = pod("placed");
    placed["metadata"]["labels"] = json!({"topology.kubernetes.io/zone": "mine"});
    placed["spec"]["nodeName"] = "n".into();
    let wanted = json!({"topology.kubernetes.io/zone": "mine", "topology.kubernetes.io/region": "r"});
    assert_eq!(there(&cluster.post(PODS, placed).await), wanted);
}

#[tokio::test]
async fn a_patch_of_a_scale_is_held_to_its_fields() {
    let cluster = Cluster::new().await;
    let template = json!({"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c", "image": "x"}]}});
    let spec = json!({"replicas": 3, "selector": {"matchLabels": {"a": "b"}}, "template": template});
    cluster
        .post("/apis/apps/v1/namespaces/default/deployments", json!({"metadata": {"name": "d"}, "spec": spec}))
        .await;
    let scale = "/apis/apps/v1/namespaces/default/deployments/d/scale";
    let typo = json!({"spec": {"replica": 4}}).to_string();
    for dialect in ["merge-patch", "strategic-merge-patch", "json-patch"] {
        let kind = format!("application/{dialect}+json");
        let body = if dialect == "json-patch" {
            json!([{"op": "add", "path": "/spec/replica", "value": 4}]).to_string()
        } else {
            typo.clone()
        };
        let send = async |query: &str, body: &str| {
            let headers = [("content-type", kind.as_str())];
            cluster.send("PATCH", &format!("{scale}?{query}"), &headers, body.to_owned()).await
        };
        let strict = send("fieldValidation=Strict", &body).await;
        assert_eq!(strict.code, 422, "{dialect}");
        let why = strict.json()["message"].as_str().unwrap().to_owned();
        assert!(why.ends_with(": strict decoding error: unknown field \"spec.replica\""), "{why}");
        assert_eq!(why.contains("map[spec:map[replica:4]]"), dialect == "strategic-merge-patch", "{why}");
        let warned = send("fieldValidation=Warn", &body).await;
        assert_eq!(warned.json()["spec"]["replicas"], 3);
        assert_eq!(warned.header("warning"), "299 - \"unknown field \\\"spec.replica\\\"\"", "{dialect}");
        assert_eq!(send("fieldValidation=Ignore", &body).await.header("warning"), "");
    }
    let wrong = cluster.fails("PATCH", scale, json!({"spec": {"replicas": "x"}})).await;
    assert_eq!(wrong["code"], 422);
    assert_eq!(cluster.fails("PATCH", scale, json!({"kind": "Other"})).await["code"], 400);
    let other = cluster.fails("PATCH", scale, json!({"metadata": {"uid": "x"}, "spec": {"replicas": 1}})).await;
    assert_eq!((&other["code"], &other["reason"]), (&json!(409), &json!("Conflict")));
    assert_eq!(cluster.ok("PATCH", scale, json!({"spec": {"replicas": 5}})).await["spec"]["replicas"], 5);
}
