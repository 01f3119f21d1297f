//! Admission webhooks over TLS: good ones, slow ones, hanging ones, liars.

#![allow(clippy::needless_pass_by_value, reason = "documents are written where they are used")]

mod owners;
mod rights;
mod unstored;

use super::hook_server::{Behaviour, Server};
use super::{Answer as Response, CONFIG_MAPS, Cluster, PODS, config_map, pod};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use std::sync::atomic::Ordering;

const MUTATING: &str = "/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations";
const VALIDATING: &str = "/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations";

fn configuration(name: &str, hooks: Vec<Value>) -> Value {
    json!({"metadata": {"name": name}, "webhooks": hooks})
}

fn respond(review: &Value, mut response: Value) -> Behaviour {
    response["uid"] = review["request"]["uid"].clone();
    Behaviour::Answer(json!({"kind": "AdmissionReview", "apiVersion": review["apiVersion"], "response": response}))
}

fn allow(review: &Value) -> Behaviour {
    respond(review, json!({"allowed": true}))
}

fn patched(review: &Value, patch: &Value) -> Behaviour {
    let patch = STANDARD.encode(patch.to_string());
    respond(review, json!({"allowed": true, "patchType": "JSONPatch", "patch": patch}))
}

fn warnings(response: &Response) -> Vec<String> {
    response.headers.get_all("warning").iter().map(|value| value.to_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn a_mutating_webhook_changes_what_is_stored() {
    let server = Server::start(|review| {
        patched(review, &json!([{"op": "add", "path": "/data/by", "value": "hook"}, {"op": "add", "path": "/nonsense", "value": 1}]))
    })
    .await;
    let cluster = Cluster::new().await;
    cluster.post(MUTATING, configuration("m", vec![server.hook("one.example.com", json!({}))])).await;
    let made = cluster.post(CONFIG_MAPS, config_map("a")).await;
    // What the kind does not have is pruned.
    assert_eq!((&made["data"]["by"], made.get("nonsense")), (&json!("hook"), None));
    assert_eq!(cluster.get(&format!("{CONFIG_MAPS}/a")).await["data"], json!({"k": "v", "by": "hook"}));
    let request = &server.asked()[0];
    let gvk = json!({"group": "", "version": "v1", "kind": "ConfigMap"});
    assert_eq!((&request["kind"], &request["requestKind"], &request["operation"]), (&gvk, &gvk, &json!("CREATE")));
    assert_eq!(request["resource"], json!({"group": "", "version": "v1", "resource": "configmaps"}));
    assert_eq!(
        (&request["name"], &request["namespace"], &request["dryRun"]),
        (&json!("a"), &json!("default"), &json!(false))
    );
    assert_eq!((&request["object"]["data"]["k"], &request["oldObject"]), (&json!("v"), &Value::Null));
    assert_eq!(request["userInfo"]["username"], "system:admin");
    assert_eq!(request["options"]["kind"], "CreateOptions");
    // A patch is an update, with what was before.
    cluster.ok("PATCH", &format!("{CONFIG_MAPS}/a"), json!({"data": {"k": "w"}})).await;
    let request = &server.asked()[0];
    assert_eq!((&request["operation"], &request["oldObject"]["data"]["k"]), (&json!("UPDATE"), &json!("v")));
    // One connection served them all.
    assert_eq!(server.connections.load(Ordering::Relaxed), 1);
}

#[tokio::test]
async fn a_pod_that_a_webhook_completed_is_defaulted_and_checked_again() {
    let server = Server::start(|review| {
        let container = json!({"name": "side", "image": "y", "ports": [{"containerPort": 80}]});
        patched(review, &json!([{"op": "add", "path": "/spec/containers/-", "value": container}]))
    })
    .await;
    let cluster = Cluster::new().await;
    let only_once = json!({"objectSelector": {"matchLabels": {"inject": "yes"}}});
    cluster.post(MUTATING, configuration("m", vec![server.hook("one.example.com", only_once)])).await;
    let mut wanted = pod("a");
    wanted["metadata"]["labels"] = json!({"inject": "yes"});
    let made = cluster.post(PODS, wanted.clone()).await;
    let side = &made["spec"]["containers"][1];
    assert_eq!((&side["ports"][0]["protocol"], &side["imagePullPolicy"]), (&json!("TCP"), &json!("Always")));
    // The server's own plugins have seen it, too.
    assert_eq!(side["volumeMounts"][0]["mountPath"], "/var/run/secrets/kubernetes.io/serviceaccount");
    assert_eq!(cluster.post(PODS, pod("plain")).await["spec"]["containers"].as_array().unwrap().len(), 1);
    server.behaves(|review| {
        patched(review, &json!([{"op": "replace", "path": "/spec/containers/0/name", "value": "NO"}]))
    });
    wanted["metadata"]["name"] = "b".into();
    let status = cluster.fails("POST", PODS, wanted).await;
    assert_eq!(status["code"], 422);
    assert!(status["message"].as_str().unwrap().contains("spec.containers[0].name: Invalid value: \"NO\""), "{status}");
}

#[tokio::test]
async fn validating_webhooks_refuse_warn_and_are_asked_at_once() {
    let server = Server::start(|review| {
        let refused = review["request"]["object"]["data"]["k"] == "bad";
        let status = json!({"code": 403, "reason": "Forbidden", "message": "no bad data"});
        respond(
            review,
            json!({"allowed": !refused, "status": status, "warnings": ["think twice"], "auditAnnotations": {"a": "b"}}),
        )
    })
    .await;
    let cluster = Cluster::new().await;
    let hooks = vec![server.hook("one.example.com", json!({})), server.hook("two.example.com", json!({}))];
    cluster.post(VALIDATING, configuration("v", hooks)).await;
    let body = serde_json::to_vec(&config_map("a")).unwrap();
    let response = cluster.send("POST", CONFIG_MAPS, &[("content-type", "application/json")], body).await;
    assert_eq!(response.code, 201);
    assert_eq!(warnings(&response), ["299 - \"think twice\""]);
    assert_eq!(server.asked().len(), 2);
    let mut bad = config_map("b");
    bad["data"]["k"] = "bad".into();
    let status = cluster.fails("POST", CONFIG_MAPS, bad).await;
    assert_eq!((&status["code"], &status["reason"]), (&json!(403), &json!("Forbidden")));
    assert_eq!(status["message"], "admission webhook \"one.example.com\" denied the request: no bad data");
    assert_eq!(cluster.fails("GET", &format!("{CONFIG_MAPS}/b"), Value::Null).await["code"], 404);
    server.asked();
    cluster.ok("DELETE", &format!("{CONFIG_MAPS}/a"), Value::Null).await;
    let request = &server.asked()[0];
    assert_eq!((&request["operation"], &request["object"]), (&json!("DELETE"), &Value::Null));
    assert_eq!(request["oldObject"]["metadata"]["name"], "a");
}

#[tokio::test]
async fn webhooks_that_cannot_be_believed_are_told_of() {
    let server = Server::start(allow).await;
    let cluster = Cluster::new().await;
    cluster
        .post(VALIDATING, configuration("v", vec![server.hook("one.example.com", json!({"timeoutSeconds": 1}))]))
        .await;
    type Case = (fn(&Value) -> Behaviour, &'static str);
    let cases: [Case; 9] = [
        (
            |_| Behaviour::Answer(json!({"kind": "AdmissionReview", "apiVersion": "admission.k8s.io/v1"})),
            "received invalid webhook response: webhook response was absent",
        ),
        (
            |_| {
                Behaviour::Answer(
                    json!({"kind": "AdmissionReview", "apiVersion": "admission.k8s.io/v1", "response": {"uid": "x", "allowed": true}}),
                )
            },
            "expected response.uid=",
        ),
        (|_| Behaviour::Answer(json!("yes")), "failed to call webhook"),
        (|review| patched(review, &json!([])), "validating webhook may not return response.patch"),
        (|_| Behaviour::Code(500), "failed to call webhook: an error on the server"),
        (|_| Behaviour::Code(302), "the server responded with the status code 302"),
        (|_| Behaviour::Code(404), "the server could not find the requested resource"),
        (|_| Behaviour::Flood(9 << 20), "response body too large"),
        (|_| Behaviour::Hang, "context deadline exceeded"),
    ];
    for (behaviour, wanted) in cases {
        server.behaves(behaviour);
        let status = cluster.fails("POST", CONFIG_MAPS, config_map("a")).await;
        let message = status["message"].as_str().unwrap();
        assert_eq!(status["code"], 500, "{message}");
        assert!(
            message.starts_with("Internal error occurred: failed calling webhook \"one.example.com\": "),
            "{message}"
        );
        assert!(message.contains(wanted), "{message}");
    }
    // One whose failures do not matter.
    server.behaves(|_| Behaviour::Code(500));
    cluster.ok("DELETE", &format!("{VALIDATING}/v"), Value::Null).await;
    let ignored = server.hook("one.example.com", json!({"timeoutSeconds": 1, "failurePolicy": "Ignore"}));
    cluster.post(VALIDATING, configuration("v", vec![ignored])).await;
    cluster.post(CONFIG_MAPS, config_map("a")).await;
    let page = cluster.core.admission.webhook_metrics_page();
    assert!(
        page.contains("apiserver_admission_webhook_fail_open_count{name=\"one.example.com\",type=\"validating\"} 1"),
        "{page}"
    );
}

#[tokio::test]
async fn nobody_there_and_strangers_are_told_apart() {
    let server = Server::start(allow).await;
    let cluster = Cluster::new().await;
    let other = Server::start(allow).await;
    let closed = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = closed.local_addr().unwrap().port();
    drop(closed);
    let cases = [
        (json!({"url": format!("https://localhost:{port}/"), "caBundle": server.ca}), "connect: connection refused"),
        (
            json!({"url": format!("https://localhost:{}/", server.port), "caBundle": other.ca}),
            "x509: certificate signed by unknown authority",
        ),
        (
            json!({"service": {"name": "none", "namespace": "default"}, "caBundle": server.ca}),
            "service \"none\" not found",
        ),
    ];
    for (client, wanted) in cases {
        cluster
            .post(VALIDATING, configuration("v", vec![server.hook("one.example.com", json!({"clientConfig": client}))]))
            .await;
        let status = cluster.fails("POST", CONFIG_MAPS, config_map("a")).await;
        assert!(status["message"].as_str().unwrap().contains(wanted), "{status}");
        cluster.ok("DELETE", &format!("{VALIDATING}/v"), Value::Null).await;
    }
    assert!(server.asked().is_empty());
}

#[tokio::test]
async fn a_service_is_reached_over_its_endpoints_when_nobody_routes_its_address() {
    let server = Server::start(allow).await;
    let cluster = Cluster::new().await;
    let service = json!({"metadata": {"name": "hook"}, "spec": {"clusterIP": "127.96.77.77", "ports": [{"name": "https", "port": 443}]}});
    cluster.post("/api/v1/namespaces/default/services", service).await;
    cluster
        .post(
            "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices",
            json!({
                "metadata": {"name": "hook-1", "labels": {"kubernetes.io/service-name": "hook"}}, "addressType": "IPv4",
                "endpoints": [{"addresses": ["127.0.0.1"], "conditions": {"ready": true}}],
                "ports": [{"name": "https", "port": server.port, "protocol": "TCP"}],
            }),
        )
        .await;
    let client = json!({"service": {"name": "hook", "namespace": "default", "path": "/check"}, "caBundle": server.ca});
    cluster
        .post(VALIDATING, configuration("v", vec![server.hook("one.example.com", json!({"clientConfig": client}))]))
        .await;
    cluster.post(CONFIG_MAPS, config_map("a")).await;
    assert_eq!(server.asked().len(), 1);
}

#[tokio::test]
async fn only_what_rules_selectors_and_conditions_name_is_asked_about() {
    let server = Server::start(allow).await;
    let cluster = Cluster::new().await;
    cluster.post("/api/v1/namespaces", json!({"metadata": {"name": "watched", "labels": {"watch": "yes"}}})).await;
    let rule = |operation: &str, resource: &str, scope: &str| json!({"rules": [{"operations": [operation], "apiGroups": ["*"], "apiVersions": ["*"], "resources": [resource], "scope": scope}]});
    let cases = [
        (rule("CREATE", "configmaps", "*"), 2),
        (rule("UPDATE", "configmaps", "*"), 0),
        (rule("*", "*", "Namespaced"), 2),
        (rule("*", "*", "Cluster"), 0),
        (rule("*", "*/*", "*"), 2),
        (rule("*", "configmaps/*", "*"), 2),
        (rule("*", "configmaps/status", "*"), 0),
        (json!({"namespaceSelector": {"matchLabels": {"watch": "yes"}}}), 1),
        (json!({"namespaceSelector": {"matchExpressions": [{"key": "watch", "operator": "DoesNotExist"}]}}), 1),
        (json!({"objectSelector": {"matchLabels": {"app": "x"}}}), 1),
        (
            json!({"matchConditions": [{"name": "a", "expression": "object.metadata.name == 'two' && request.operation == 'CREATE'"}]}),
            1,
        ),
        (json!({"matchConditions": [{"name": "a", "expression": "oldObject != null"}]}), 0),
    ];
    for (round, (more, wanted)) in cases.into_iter().enumerate() {
        cluster.post(VALIDATING, configuration("v", vec![server.hook("one.example.com", more.clone())])).await;
        server.asked();
        let one = json!({"metadata": {"name": format!("one-{round}"), "labels": {"app": "x"}}});
        cluster.post(CONFIG_MAPS, one).await;
        cluster.post("/api/v1/namespaces/watched/configmaps", json!({"metadata": {"name": "two"}})).await;
        assert_eq!(server.asked().len(), wanted, "{more}");
        cluster.ok("DELETE", &format!("{VALIDATING}/v"), Value::Null).await;
        cluster.ok("DELETE", "/api/v1/namespaces/watched/configmaps/two", Value::Null).await;
    }
}

#[tokio::test]
async fn conditions_that_cannot_be_judged_refuse_and_those_that_are_no_cel_are_refused() {
    let server = Server::start(allow).await;
    let cluster = Cluster::new().await;
    let hook = |expression: &str| {
        server.hook("one.example.com", json!({"matchConditions": [{"name": "a", "expression": expression}]}))
    };
    let status = cluster.fails("POST", VALIDATING, configuration("v", vec![hook("object.")])).await;
    assert_eq!(status["code"], 422);
    assert!(
        status["message"].as_str().unwrap().contains("webhooks[0].matchConditions[0].expression: Invalid value"),
        "{status}"
    );
    cluster.post(VALIDATING, configuration("v", vec![hook("object.data.missing == 'x'")])).await;
    let status = cluster.fails("POST", CONFIG_MAPS, config_map("a")).await;
    assert_eq!(status["code"], 403);
    assert!(status["message"].as_str().unwrap().starts_with("configmaps \"a\" is forbidden: "), "{status}");
}

#[tokio::test]
async fn webhooks_with_side_effects_stand_in_the_way_of_dry_runs() {
    let server = Server::start(allow).await;
    let cluster = Cluster::new().await;
    cluster.post(VALIDATING, configuration("v", vec![server.hook("one.example.com", json!({}))])).await;
    cluster.post(&format!("{CONFIG_MAPS}?dryRun=All"), config_map("a")).await;
    let request = &server.asked()[0];
    assert_eq!((&request["dryRun"], &request["options"]["dryRun"]), (&json!(true), &json!(["All"])));
    assert_eq!(cluster.fails("GET", &format!("{CONFIG_MAPS}/a"), Value::Null).await["code"], 404);
}

#[tokio::test]
async fn those_that_want_it_are_asked_again_when_others_changed_the_object() {
    // `first` copies what `second` sets.
    let server = Server::start(|review| {
        let data = &review["request"]["object"]["data"];
        if data["second"].is_null() && data["first"].is_string() {
            return patched(review, &json!([{"op": "add", "path": "/data/second", "value": "x"}]));
        }
        let value = data["second"].as_str().unwrap_or("nothing");
        patched(review, &json!([{"op": "add", "path": "/data/first", "value": value}]))
    })
    .await;
    let cluster = Cluster::new().await;
    let hooks = vec![
        server.hook("a.example.com", json!({"reinvocationPolicy": "IfNeeded"})),
        server.hook("b.example.com", json!({})),
    ];
    cluster.post(MUTATING, configuration("m", hooks)).await;
    let made = cluster.post(CONFIG_MAPS, config_map("a")).await;
    assert_eq!(made["data"], json!({"k": "v", "first": "x", "second": "x"}));
    assert_eq!(server.asked().len(), 3);
}

#[tokio::test]
async fn subresources_are_shown_in_their_own_kinds() {
    let server = Server::start(|review| match review["request"]["subResource"].as_str() {
        Some("scale") => patched(review, &json!([{"op": "replace", "path": "/spec/replicas", "value": 2}])),
        _ => allow(review),
    })
    .await;
    let cluster = Cluster::new().await;
    let rules = json!({"rules": [{"operations": ["*"], "apiGroups": ["*"], "apiVersions": ["*"],
        "resources": ["deployments/scale", "pods/status", "pods/binding", "pods/eviction"]}]});
    cluster.post(MUTATING, configuration("m", vec![server.hook("one.example.com", rules)])).await;
    let deployments = "/apis/apps/v1/namespaces/default/deployments";
    let template = json!({"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c", "image": "x"}]}});
    let deployment =
        json!({"metadata": {"name": "d"}, "spec": {"selector": {"matchLabels": {"a": "b"}}, "template": template}});
    cluster.post(deployments, deployment).await;
    let scaled = cluster.ok("PATCH", &format!("{deployments}/d/scale"), json!({"spec": {"replicas": 7}})).await;
    assert_eq!(scaled["spec"]["replicas"], 2);
    let request = server.asked().remove(0);
    assert_eq!(request["kind"], json!({"group": "autoscaling", "version": "v1", "kind": "Scale"}));
    assert_eq!(
        (&request["object"]["spec"]["replicas"], &request["oldObject"]["spec"]["replicas"]),
        (&json!(7), &json!(1))
    );
    assert_eq!(cluster.get(&format!("{deployments}/d")).await["spec"]["replicas"], 2);
    cluster.post(PODS, pod("p")).await;
    cluster.ok("PATCH", &format!("{PODS}/p/status"), json!({"status": {"phase": "Running"}})).await;
    assert_eq!(server.asked()[0]["subResource"], "status");
    cluster
        .post(&format!("{PODS}/p/binding"), json!({"metadata": {"name": "p"}, "target": {"kind": "Node", "name": "n"}}))
        .await;
    let request = server.asked().remove(0);
    assert_eq!((&request["kind"]["kind"], &request["object"]["target"]["name"]), (&json!("Binding"), &json!("n")));
    cluster.post(&format!("{PODS}/p/eviction"), json!({"metadata": {"name": "p"}})).await;
    let request = server.asked().remove(0);
    assert_eq!(request["kind"], json!({"group": "policy", "version": "v1", "kind": "Eviction"}));
}

#[tokio::test]
async fn a_rule_about_one_version_is_about_all_unless_it_says_so() {
    let server =
        Server::start(|review| patched(review, &json!([{"op": "add", "path": "/spec/minReplicas", "value": 3}]))).await;
    let cluster = Cluster::new().await;
    let rules = json!([{"operations": ["CREATE"], "apiGroups": ["autoscaling"], "apiVersions": ["v1"], "resources": ["horizontalpodautoscalers"]}]);
    // Conditions see the object in the rule's version, and the resource of the request.
    let condition =
        "object.apiVersion == 'autoscaling/v1' && request.kind.version == 'v1' && request.resource.version == 'v2'";
    let conditions = json!([{"name": "versions", "expression": condition}]);
    let equivalent = server.hook("one.example.com", json!({"rules": rules, "matchConditions": conditions}));
    let exact = server.hook("two.example.com", json!({"rules": rules, "matchPolicy": "Exact"}));
    cluster.post(MUTATING, configuration("m", vec![equivalent, exact])).await;
    let scaler = json!({"metadata": {"name": "s"}, "spec": {"maxReplicas": 9,
        "scaleTargetRef": {"kind": "Deployment", "name": "d", "apiVersion": "apps/v1"},
        "behavior": {"scaleDown": {"selectPolicy": "Min"}}}});
    let made = cluster.post("/apis/autoscaling/v2/namespaces/default/horizontalpodautoscalers", scaler).await;
    assert_eq!((&made["spec"]["minReplicas"], &made["apiVersion"]), (&json!(3), &json!("autoscaling/v2")));
    assert_eq!(made["spec"]["metrics"][0]["resource"]["target"]["averageUtilization"], 80);
    assert_eq!(made["spec"]["behavior"]["scaleDown"]["selectPolicy"], "Min");
    let asked = server.asked();
    assert_eq!(asked.len(), 1);
    assert_eq!((&asked[0]["kind"]["version"], &asked[0]["requestKind"]["version"]), (&json!("v1"), &json!("v2")));
    assert_eq!(
        (&asked[0]["object"]["apiVersion"], &asked[0]["resource"]["version"]),
        (&json!("autoscaling/v1"), &json!("v1"))
    );
}

#[tokio::test]
async fn nobody_is_asked_about_the_configurations_of_webhooks() {
    let server = Server::start(|review| respond(review, json!({"allowed": false}))).await;
    let cluster = Cluster::new().await;
    let all = json!({"rules": [{"operations": ["*"], "apiGroups": ["*"], "apiVersions": ["*"], "resources": ["*/*"]}]});
    cluster.post(VALIDATING, configuration("v", vec![server.hook("one.example.com", all.clone())])).await;
    cluster.post(MUTATING, configuration("m", vec![server.hook("one.example.com", all)])).await;
    let status = cluster.fails("POST", CONFIG_MAPS, config_map("a")).await;
    assert_eq!(status["message"], "admission webhook \"one.example.com\" denied the request without explanation");
    cluster.ok("DELETE", &format!("{VALIDATING}/v"), Value::Null).await;
    cluster.ok("DELETE", &format!("{MUTATING}/m"), Value::Null).await;
    cluster.post(CONFIG_MAPS, config_map("a")).await;
}

#[tokio::test]
async fn a_webhook_that_hangs_holds_up_only_what_it_is_asked_about() {
    let server = Server::start(|_| Behaviour::Hang).await;
    let cluster = Cluster::new().await;
    let rules = json!([{"operations": ["*"], "apiGroups": [""], "apiVersions": ["v1"], "resources": ["configmaps"]}]);
    let hook = server.hook("one.example.com", json!({"timeoutSeconds": 3, "rules": rules}));
    cluster.post(VALIDATING, configuration("v", vec![hook])).await;
    let bodies: Vec<Value> = (0..100).map(|n| config_map(&format!("m{n}"))).collect();
    let stuck = futures::future::join_all(bodies.iter().map(|body| {
        cluster.send("POST", CONFIG_MAPS, &[("content-type", "application/json")], serde_json::to_vec(body).unwrap())
    }));
    let others = async {
        for n in 0..20 {
            cluster.post("/api/v1/namespaces/default/secrets", json!({"metadata": {"name": format!("s{n}")}})).await;
        }
        // All of them were answered before the first of the stuck ones was given up.
        assert!(cluster.core.admission.webhook_metrics_page().is_empty());
        // However many wait, only so many ask.
        assert!(server.connections.load(Ordering::Relaxed) <= 64, "{}", server.connections.load(Ordering::Relaxed));
    };
    let (stuck, ()) = futures::future::join(stuck, others).await;
    assert!(stuck.iter().all(|answer| answer.code == 500));
}

#[tokio::test]
async fn custom_resources_are_asked_about_in_the_version_of_the_rule() {
    let server = Server::start(|review| {
        assert_eq!(review["request"]["object"]["apiVersion"], "example.com/v1");
        patched(review, &json!([{"op": "add", "path": "/spec", "value": {"size": 3, "unknown": 1}}]))
    })
    .await;
    let cluster = Cluster::new().await;
    let schema = json!({"openAPIV3Schema": {"type": "object", "properties": {
        "spec": {"type": "object", "properties": {"size": {"type": "integer"}, "color": {"type": "string", "default": "red"}}}}}});
    let version =
        |name: &str, storage: bool| json!({"name": name, "served": true, "storage": storage, "schema": schema});
    let crd = json!({"metadata": {"name": "widgets.example.com"}, "spec": {"group": "example.com", "scope": "Namespaced",
        "names": {"plural": "widgets", "kind": "Widget"}, "versions": [version("v1", true), version("v2", false)]}});
    cluster.post("/apis/apiextensions.k8s.io/v1/customresourcedefinitions", crd).await;
    let rules = json!([{"operations": ["CREATE"], "apiGroups": ["example.com"], "apiVersions": ["v1"], "resources": ["widgets"]}]);
    cluster.post(MUTATING, configuration("m", vec![server.hook("one.example.com", json!({"rules": rules}))])).await;
    let widgets = "/apis/example.com/v2/namespaces/default/widgets";
    while cluster.send("GET", widgets, &[], "").await.code != 200 {
        tokio::task::yield_now().await;
    }
    let made = cluster
        .post(widgets, json!({"kind": "Widget", "apiVersion": "example.com/v2", "metadata": {"name": "w"}}))
        .await;
    assert_eq!((&made["apiVersion"], &made["spec"]), (&json!("example.com/v2"), &json!({"size": 3, "color": "red"})));
    assert_eq!(server.asked().len(), 1);
}

#[tokio::test]
async fn a_pod_that_webhooks_have_changed_is_still_held_to_its_account() {
    let server = Server::start(allow).await;
    let cluster = Cluster::new().await;
    let accounts = "/api/v1/namespaces/default/serviceaccounts";
    let strict = json!({"name": "strict", "annotations": {"kubernetes.io/enforce-mountable-secrets": "true"}});
    cluster.post(accounts, json!({"metadata": strict})).await;
    let only = json!({"reinvocationPolicy": "IfNeeded",
        "rules": [{"operations": ["CREATE"], "apiGroups": [""], "apiVersions": ["v1"], "resources": ["pods"]}]});
    // The second one makes the first one be asked again, after which no mutating plugin looks at the pod.
    let hooks = vec![server.hook("one.example.com", only.clone()), server.hook("two.example.com", only)];
    cluster.post(MUTATING, configuration("m", hooks)).await;
    let at_last = |patch: Value| {
        let look = |n: u8| json!([{"op": "add", "path": "/metadata/labels", "value": {"looks": n.to_string()}}]);
        move |review: &Value| match review["request"]["object"]["metadata"]["labels"]["looks"].as_str() {
            None => patched(review, &look(1)),
            Some("1") => patched(review, &look(2)),
            Some(_) => patched(review, &patch),
        }
    };
    let secret = json!({"name": "s", "secret": {"secretName": "other"}});
    for (at, value, why) in [
        (
            "/spec/serviceAccountName",
            json!("absent"),
            "error looking up service account default/absent: serviceaccount \"absent\" not found",
        ),
        (
            "/spec/volumes/-",
            secret,
            "volume with secret.secretName=\"other\" is not allowed because service account strict does not reference that secret",
        ),
    ] {
        server.behaves(at_last(json!([{"op": "add", "path": at, "value": value}])));
        let mut wanted = pod("p");
        wanted["spec"]["serviceAccountName"] = "strict".into();
        let status = cluster.fails("POST", PODS, wanted).await;
        assert_eq!(status["message"], format!("pods \"p\" is forbidden: {why}"));
    }
}
