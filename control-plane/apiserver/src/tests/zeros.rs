//! What a client spells out although it is nothing (`""`, `0`, `false`, `null`, `[]`, `{}`) is nothing on the wire, and what Go
//! always writes is there although no client has sent it.

use super::crd::{condition, until};
use super::{CONFIG_MAPS, Cluster, pod};
use http::StatusCode;
use serde_json::{Value, json};

const NAMESPACE: &str = "namespaces/default";

/// Where objects of a kind are, one without a zero, one that is the same with many, and a part of the answer as Kubernetes
/// gives it.
fn kinds() -> Vec<(String, Value, Value, Value)> {
    let labels = json!({"app": "web"});
    let template = |spec: Value| json!({"metadata": {"labels": {"app": "web"}, "creationTimestamp": null, "annotations": {}}, "spec": spec});
    let container = json!({"name": "c", "image": "i:1"});
    let spelt = json!({"name": "c", "image": "i:1", "command": [], "args": null, "env": [], "resources": {"limits": {}},
        "tty": false, "workingDir": "", "volumeMounts": null, "imagePullPolicy": "", "lifecycle": null});
    let (plain, zeros) = (
        json!({"containers": [container]}),
        json!({"containers": [spelt], "initContainers": [], "volumes": null, "nodeName": "", "hostNetwork": false,
            "hostPID": false, "nodeSelector": {}, "tolerations": [], "restartPolicy": "", "dnsPolicy": null}),
    );
    let once = |spec: &Value| {
        let mut spec = spec.clone();
        spec["restartPolicy"] = "Never".into();
        template(spec)
    };
    let at = |group: &str, plural: &str| format!("{group}/{NAMESPACE}/{plural}");
    vec![
        (
            CONFIG_MAPS.into(),
            json!({"immutable": false}),
            json!({"data": {}, "binaryData": null, "immutable": false}),
            json!({"immutable": false}),
        ),
        (
            at("/api/v1", "services"),
            json!({"spec": {"ports": [{"port": 80}], "selector": labels}}),
            json!({"spec": {"ports": [{"port": 80, "protocol": "", "targetPort": 0, "nodePort": 0, "name": ""}], "selector": labels,
                "clusterIP": "", "clusterIPs": [], "externalName": "", "externalIPs": [], "type": "", "sessionAffinity": "",
                "publishNotReadyAddresses": false, "ipFamilies": null}, "status": {"loadBalancer": {"ingress": []}}}),
            json!({"status": {"loadBalancer": {}}, "spec": {"ports": [{"port": 80, "protocol": "TCP", "targetPort": 80}]}}),
        ),
        (
            at("/apis/apps/v1", "deployments"),
            json!({"spec": {"replicas": 0, "selector": {"matchLabels": labels}, "template": template(plain.clone())}}),
            json!({"spec": {"replicas": 0, "paused": false, "minReadySeconds": 0, "strategy": {"type": "", "rollingUpdate": null},
                "selector": {"matchLabels": labels, "matchExpressions": []}, "template": template(zeros.clone())},
                "status": {"replicas": 0, "conditions": null}}),
            json!({"status": {}, "spec": {"replicas": 0, "template": {"metadata": {"labels": labels}}}}),
        ),
        (
            at("/apis/batch/v1", "jobs"),
            json!({"spec": {"completions": 0, "parallelism": 0, "template": once(&plain)}}),
            json!({"spec": {"completions": 0, "parallelism": 0, "completionMode": null, "suspend": null, "template": once(&zeros)}}),
            json!({"status": {}, "spec": {"completions": 0, "parallelism": 0, "suspend": false}}),
        ),
        (
            at("/apis/networking.k8s.io/v1", "networkpolicies"),
            json!({"spec": {"ingress": [{}]}}),
            json!({"spec": {"podSelector": {"matchLabels": {}}, "ingress": [{"from": [], "ports": null}], "egress": [], "policyTypes": []}}),
            json!({"spec": {"podSelector": {}, "ingress": [{}], "policyTypes": ["Ingress"]}}),
        ),
        (
            at("/apis/policy/v1", "poddisruptionbudgets"),
            json!({"spec": {"minAvailable": 0, "selector": {}}}),
            json!({"spec": {"minAvailable": 0, "maxUnavailable": null, "selector": {"matchLabels": {}}}}),
            json!({"spec": {"minAvailable": 0, "selector": {}},
                "status": {"currentHealthy": 0, "desiredHealthy": 0, "disruptionsAllowed": 0, "expectedPods": 0}}),
        ),
        (
            at("/apis/autoscaling/v2", "horizontalpodautoscalers"),
            json!({"spec": {"maxReplicas": 2, "scaleTargetRef": {"kind": "Deployment", "name": "d"}}}),
            json!({"spec": {"maxReplicas": 2, "minReplicas": null, "metrics": [], "behavior": null,
                "scaleTargetRef": {"kind": "Deployment", "name": "d", "apiVersion": ""}}}),
            json!({"status": {"currentMetrics": null, "desiredReplicas": 0}, "spec": {"scaleTargetRef": {"kind": "Deployment", "name": "d"}}}),
        ),
        (
            "/apis/rbac.authorization.k8s.io/v1/clusterroles".into(),
            json!({}),
            json!({"rules": [], "aggregationRule": null}),
            json!({"rules": null}),
        ),
        (
            at("/apis/discovery.k8s.io/v1", "endpointslices"),
            json!({"addressType": "IPv4"}),
            json!({"addressType": "IPv4", "endpoints": [], "ports": null}),
            json!({"endpoints": null, "ports": null}),
        ),
    ]
}

/// Whether all that `part` says is so in `whole`.
fn holds(whole: &Value, part: &Value) -> bool {
    match (whole, part) {
        (Value::Object(whole), Value::Object(part)) if !part.is_empty() => {
            part.iter().all(|(name, value)| whole.get(name).is_some_and(|found| holds(found, value)))
        }
        _ => whole == part,
    }
}

/// What two objects that were made alike have in common.
fn common(object: &Value) -> Value {
    let uid = object["metadata"]["uid"].as_str().unwrap();
    let text = object.to_string().replace(uid, "UID").replace("\"zeros\"", "\"plain\"");
    let mut object: Value = serde_json::from_str(&text).unwrap();
    object["metadata"]["resourceVersion"].take();
    if let Some(spec) = object["spec"].as_object_mut() {
        spec.retain(|name, _| !name.starts_with("clusterIP"));
    }
    object
}

#[tokio::test]
async fn zeros_that_are_spelt_out_are_as_if_they_were_not() {
    let cluster = Cluster::new().await;
    for (path, mut plain, mut zeros, wanted) in kinds() {
        plain["metadata"] = json!({"name": "plain"});
        zeros["metadata"] = json!({"name": "zeros", "labels": {}, "annotations": null, "finalizers": [], "ownerReferences": [],
            "generateName": "", "creationTimestamp": null});
        let plain = cluster.post(&path, plain).await;
        let made = cluster.post(&path, zeros.clone()).await;
        assert!(holds(&made, &wanted), "{path}\n{made:#}\n{wanted:#}");
        let place = format!("{path}/zeros");
        assert_eq!(cluster.get(&place).await, made, "{path}");
        assert_eq!(common(&made), common(&plain), "{path}");
        // Nothing is another after that: no write takes place. (Services and Jobs have to keep what they were given.)
        zeros["metadata"]["resourceVersion"] = made["metadata"]["resourceVersion"].clone();
        if !matches!(made["kind"].as_str(), Some("Service" | "Job")) {
            assert_eq!(cluster.ok("PUT", &place, zeros.clone()).await, made, "{path}");
        }
        assert_eq!(cluster.ok("PATCH", &place, json!({"metadata": {"labels": {}}})).await, made, "{path}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_definition_keeps_what_its_author_means() {
    let cluster = Cluster::new().await;
    let schema = json!({"type": "object", "description": "", "required": [], "nullable": false, "properties": {
    "spec": {"type": "object", "default": {}, "properties": {
        "text": {"type": "string", "default": "", "minLength": 0, "enum": ["", "a"]},
        "none": {"type": "string", "nullable": true, "default": null},
    }}}});
    let definition = json!({"metadata": {"name": "foos.x.io"}, "spec": {"group": "x.io", "scope": "Namespaced",
        "names": {"plural": "foos", "kind": "Foo", "shortNames": [], "categories": null}, "preserveUnknownFields": false,
        "versions": [{"name": "v1", "served": true, "storage": true, "deprecated": false, "schema": {"openAPIV3Schema": schema}}]}});
    let made = cluster.post("/apis/apiextensions.k8s.io/v1/customresourcedefinitions", definition).await;
    let version = json!({"name": "v1", "served": true, "storage": true, "schema": {"openAPIV3Schema": {"type": "object",
    "properties": {"spec": {"type": "object", "default": {}, "properties": {
        "text": {"type": "string", "default": "", "minLength": 0, "enum": ["", "a"]},
        "none": {"type": "string", "nullable": true},
    }}}}}});
    assert_eq!(made["spec"]["versions"], json!([version]));
    assert_eq!(
        made["spec"]["names"],
        json!({"plural": "foos", "kind": "Foo", "singular": "foo", "listKind": "FooList"})
    );
    // Custom objects have no Go types: what is spelt out stays, but for their metadata.
    until(&cluster, "foos.x.io", |crd| condition(crd, "Established").starts_with("True")).await;
    let foo = json!({"metadata": {"name": "a", "labels": {}}, "spec": {"none": null}});
    let foo = cluster.post("/apis/x.io/v1/namespaces/default/foos", foo).await;
    assert_eq!((&foo["spec"], foo["metadata"].get("labels")), (&json!({"text": "", "none": null}), None));
}

#[tokio::test]
async fn an_applied_zero_is_owned_though_nothing_shows_it() {
    let cluster = Cluster::new().await;
    let mut config = pod("p");
    (config["apiVersion"], config["kind"]) = ("v1".into(), "Pod".into());
    config["spec"]["hostNetwork"] = false.into();
    config["spec"]["containers"][0]["tty"] = false.into();
    let apply = async |manager: &str| {
        let path = format!("{}/p?fieldManager={manager}", super::PODS);
        cluster.send("PATCH", &path, &[("content-type", "application/apply-patch+yaml")], config.to_string()).await
    };
    let made = apply("m").await.json();
    assert_eq!((made["spec"].get("hostNetwork"), made["spec"]["containers"][0].get("tty")), (None, None));
    let owned = &made["metadata"]["managedFields"][0]["fieldsV1"]["f:spec"];
    assert_eq!(owned["f:hostNetwork"], json!({}));
    assert_eq!(owned["f:containers"]["k:{\"name\":\"c\"}"]["f:tty"], json!({}));
    let again = apply("m").await;
    assert_eq!((again.code, again.json()), (StatusCode::OK, made));
}

#[tokio::test]
async fn rules_see_the_zero() {
    let cluster = Cluster::new().await;
    for (spec, wanted) in [
        (json!({"containers": []}), "spec.containers: Required value"),
        (json!({"containers": [{"image": "i"}]}), "spec.containers[0].name: Required value"),
        (
            json!({"containers": [{"name": "c", "image": "i", "ports": [{"hostPort": 0}]}]}),
            "spec.containers[0].ports[0].containerPort: Required value",
        ),
    ] {
        let status = cluster.fails("POST", super::PODS, json!({"metadata": {"name": "p"}, "spec": spec})).await;
        assert_eq!(status["message"], format!("Pod \"p\" is invalid: {wanted}"));
    }
    let role = json!({"metadata": {"name": "r"}, "rules": [{"apiGroups": [""], "resources": ["pods"]}]});
    let status = cluster.fails("POST", "/apis/rbac.authorization.k8s.io/v1/clusterroles", role).await;
    let wanted = "ClusterRole.rbac.authorization.k8s.io \"r\" is invalid: rules[0].verbs: Required value: verbs must contain at least one value";
    assert_eq!(status["message"], wanted);
}

#[tokio::test]
async fn bodies_of_subresources_are_held_to_their_kinds() {
    let cluster = Cluster::new().await;
    cluster.post(super::PODS, pod("p")).await;
    let path = format!("{}/p/eviction", super::PODS);
    let eviction = |grace: Value| json!({"kind": "Eviction", "apiVersion": "policy/v1", "metadata": {"name": "p"}, "deleteOptions": {"gracePeriodSeconds": grace}, "typo": 1});
    assert_eq!(
        cluster.fails("POST", &path, eviction("x".into())).await["message"],
        "Eviction in version \"v1\" cannot be handled as a Eviction: json: cannot unmarshal string into Go struct field DeleteOptions.deleteOptions.gracePeriodSeconds of type int64"
    );
    assert_eq!(
        cluster.fails("POST", &format!("{path}?fieldValidation=Strict"), eviction(1.into())).await["message"],
        "Eviction in version \"v1\" cannot be handled as a Eviction: strict decoding error: unknown field \"typo\""
    );
}
