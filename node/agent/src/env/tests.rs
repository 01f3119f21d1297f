//! A container's environment, put together.

use super::*;
use api::k8s_openapi::api::core::v1::Pod;
use serde_json::json;

fn container(value: serde_json::Value) -> Container {
    serde_json::from_value(value).unwrap()
}

fn key(kind: Kind, name: &str) -> Key {
    Key { kind, namespace: "shop".into(), name: name.into() }
}

fn run(container: &Container, objects: &Objects) -> Result<Vec<(String, String)>, ConfigError> {
    let pod: Pod = serde_json::from_value(json!({
        "metadata": {"name": "web-1", "namespace": "shop", "labels": {"app": "web"}},
        "spec": {"containers": [{"name": "other", "resources": {"limits": {"cpu": "2"}}}]}
    }))
    .unwrap();
    let allocatable = BTreeMap::new();
    let services = [("KUBERNETES_SERVICE_HOST".to_owned(), "127.96.0.1".to_owned())];
    variables(
        container,
        &Sources {
            facts: PodFacts {
                pod: &pod,
                pod_ip: Some([127, 64, 0, 2].into()),
                host_ip: [127, 0, 0, 1].into(),
                node_name: "n1",
            },
            objects,
            services: &services,
            allocatable: &allocatable,
        },
    )
}

fn payload(entries: &[(&str, &str)]) -> Arc<Payload> {
    let entries = entries.iter().map(|(k, v)| ((*k).to_owned(), v.as_bytes().to_vec().into())).collect();
    Arc::new(Payload { entries })
}

#[test]
fn later_definitions_win_and_references_expand() {
    let c = container(json!({
        "name": "c",
        "envFrom": [{"prefix": "P_", "configMapRef": {"name": "m"}}],
        "env": [
            {"name": "HOST", "value": "$(KUBERNETES_SERVICE_HOST):1"},
            {"name": "P_a", "value": "over-$(P_a)"},
            {"name": "POD", "valueFrom": {"fieldRef": {"fieldPath": "metadata.labels['app']"}}},
            {"name": "CPU", "valueFrom": {"resourceFieldRef": {"containerName": "other", "resource": "limits.cpu"}}},
            {"name": "S", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}},
            {"name": "NONE", "valueFrom": {"secretKeyRef": {"name": "none", "key": "k", "optional": true}}},
            {"name": "LATER", "value": "$(NOT_YET)"}
        ]
    }));
    let objects = Objects::from([
        (key(Kind::ConfigMap, "m"), payload(&[("a", "1"), ("b", "2")])),
        (key(Kind::Secret, "s"), payload(&[("k", "pw")])),
    ]);
    let env: BTreeMap<_, _> = run(&c, &objects).unwrap().into_iter().collect();
    assert_eq!(env["HOST"], "127.96.0.1:1");
    assert_eq!(env["P_a"], "over-1");
    assert_eq!(env["P_b"], "2");
    assert_eq!(env["POD"], "web");
    assert_eq!(env["CPU"], "2");
    assert_eq!(env["S"], "pw");
    assert_eq!(env["LATER"], "$(NOT_YET)");
    assert!(!env.contains_key("NONE"));
}

#[test]
fn missing_objects_read_like_kubernetes() {
    let c = container(json!({"name": "c", "envFrom": [{"configMapRef": {"name": "x"}}]}));
    let error = run(&c, &Objects::new()).unwrap_err();
    assert_eq!(error.to_string(), "configmap \"x\" not found");
    assert_eq!(error.object(), Some(&key(Kind::ConfigMap, "x")));

    let c = container(json!({"name": "c", "env": [
        {"name": "A", "valueFrom": {"configMapKeyRef": {"name": "m", "key": "zz"}}}]}));
    let objects = Objects::from([(key(Kind::ConfigMap, "m"), payload(&[]))]);
    assert_eq!(run(&c, &objects).unwrap_err().to_string(), "couldn't find key zz in ConfigMap shop/m");

    let c = container(json!({"name": "c", "envFrom": [{"secretRef": {"name": "x", "optional": true}}]}));
    assert_eq!(run(&c, &Objects::new()).unwrap().len(), 1);
}

#[test]
fn lists_what_has_to_be_fetched() {
    let c = container(json!({"name": "c",
        "envFrom": [{"configMapRef": {"name": "m"}}, {"secretRef": {"name": "s"}}],
        "env": [{"name": "A", "valueFrom": {"configMapKeyRef": {"name": "m", "key": "k"}}}]}));
    assert_eq!(references(&c, "shop"), vec![key(Kind::ConfigMap, "m"), key(Kind::Secret, "s")]);
}
