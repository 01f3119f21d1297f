//! Schemas: types, unknown fields, pruning, canonical forms, and what a CRD's may be.

use super::{Merge, Schema, Shape, apply_defaults, check, prune, unknown_fields};
use crate::kinds::Kinds;
use crate::quantity::ParseError;
use serde_json::{Value, json};
use std::borrow::Borrow;
use std::sync::Arc;

fn schema(group: &str, kind: &str) -> Arc<Schema> {
    Kinds::builtin().by_kind(group, "v1", kind).unwrap().schema.get().clone()
}

fn failure(group: &str, kind: &str, object: impl Borrow<Value>) -> String {
    check(&schema(group, kind), object.borrow()).unwrap_err().message
}

#[test]
fn unknown_fields_are_named_as_the_strict_decoder_names_them() {
    let object = json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "x", "lables": {}}, "foo": 1,
        "spec": {"replica": 1, "template": {"spec": {"containers": [{"name": "a"}, {"name": "b", "imagee": "x"}]}}},
    });
    assert_eq!(
        unknown_fields(&schema("apps", "Deployment"), &object),
        ["foo", "metadata.lables", "spec.replica", "spec.template.spec.containers[1].imagee"]
    );
}

#[test]
fn type_errors_read_like_gos() {
    assert_eq!(
        failure("apps", "Deployment", json!({"spec": {"replicas": "3"}})),
        "json: cannot unmarshal string into Go struct field DeploymentSpec.spec.replicas of type int32"
    );
    assert_eq!(
        failure("", "Pod", json!({"spec": {"containers": [{"env": [{"name": "A", "value": 1}]}]}})),
        "json: cannot unmarshal number into Go struct field EnvVar.spec.containers.env.value of type string"
    );
    assert_eq!(
        failure("", "Pod", json!({"metadata": {"labels": {"a": true}}})),
        "json: cannot unmarshal bool into Go struct field ObjectMeta.metadata.labels of type string"
    );
    assert_eq!(
        failure("", "Pod", json!({"spec": []})),
        "json: cannot unmarshal array into Go struct field Pod.spec of type v1.PodSpec"
    );
    assert_eq!(
        failure("apps", "Deployment", json!({"spec": {"replicas": 3_000_000_000_u32}})),
        "json: cannot unmarshal number 3000000000 into Go struct field DeploymentSpec.spec.replicas of type int32"
    );
    assert_eq!(
        failure("", "Pod", json!({"spec": {"containers": [{"resources": {"limits": {"cpu": "x"}}}]}})),
        "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'"
    );
    assert_eq!(failure("", "Secret", json!({"data": {"a": "b*"}})), "illegal base64 data at input byte 1");
}

#[test]
fn the_kind_is_named_in_the_error() {
    let row = Kinds::builtin().by_kind("apps", "v1", "Deployment").unwrap();
    assert_eq!(
        row.check(&json!({"spec": {"paused": "no"}})).unwrap_err().message,
        "Deployment in version \"v1\" cannot be handled as a Deployment: json: cannot unmarshal string into Go struct \
         field DeploymentSpec.spec.paused of type bool"
    );
}

#[test]
fn good_objects_pass() {
    let pod = json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": "a", "creationTimestamp": null, "managedFields": [{"fieldsV1": {"f:spec": {}}, "time": "2026-01-02T03:04:05Z"}]},
        "spec": {"containers": [{"name": "c", "resources": {"limits": {"cpu": 1, "memory": "1Gi"}},
            "livenessProbe": {"httpGet": {"port": "web"}}, "readinessProbe": {"httpGet": {"port": 80}}}]},
        "status": {},
    });
    assert_eq!(check(&schema("", "Pod"), &pod).unwrap(), Vec::<String>::new());
}

#[test]
fn pruning_drops_unknown_fields_and_nulls_and_writes_zeros() {
    let mut pod = json!({
        "metadata": {"creationTimestamp": null, "labels": {"a": null}, "x": 1},
        "spec": {"nodeName": null, "containers": [{"name": "c", "y": {"z": 1}}, null]},
    });
    prune(&schema("", "Pod"), &mut pod);
    assert_eq!(
        pod,
        json!({"metadata": {"labels": {"a": ""}}, "spec": {"containers": [
            {"name": "c", "resources": {}}, {"name": "", "resources": {}}]}, "status": {}})
    );
}

#[test]
fn a_time_that_is_none_is_null() {
    let mut budget = json!({"status": {"disruptedPods": {"a": null, "b": "2026-01-02T03:04:05+01:00"}}});
    let schema = schema("policy", "PodDisruptionBudget");
    prune(&schema, &mut budget);
    assert_eq!(budget["status"]["disruptedPods"], json!({"a": null, "b": "2026-01-02T02:04:05Z"}));
    assert_eq!(check(&schema, &budget), Ok(vec![]));
}

#[test]
fn quantities_and_times_become_canonical() {
    let mut pod = json!({"metadata": {"creationTimestamp": "2026-01-02T03:04:05.678+01:00"}, "spec": {"containers": [
        {"name": "", "resources": {"limits": {"cpu": 1, "memory": "1024Mi"}, "requests": {"cpu": "0.5"}}}]}});
    prune(&schema("", "Pod"), &mut pod);
    assert_eq!(
        pod,
        json!({"metadata": {"creationTimestamp": "2026-01-02T02:04:05Z"}, "spec": {"containers": [
            {"name": "", "resources": {"limits": {"cpu": "1", "memory": "1Gi"}, "requests": {"cpu": "500m"}}}]}, "status": {}})
    );
    let mut lease = json!({"spec": {"renewTime": "2026-01-02T03:04:05.123456+01:00"}});
    prune(&schema("coordination.k8s.io", "Lease"), &mut lease);
    assert_eq!(lease["spec"]["renewTime"], "2026-01-02T02:04:05.123456Z");
    assert_eq!(
        failure("coordination.k8s.io", "Lease", json!({"spec": {"renewTime": "2026-01-02T03:04:05Z"}})),
        "parsing time \"2026-01-02T03:04:05Z\" as \"2006-01-02T15:04:05.000000Z07:00\": cannot parse \"Z\" as \".000000\""
    );
    assert!(
        failure("", "Pod", json!({"metadata": {"creationTimestamp": "soon"}})).starts_with("parsing time \"soon\"")
    );
}

#[test]
fn quantities_are_shown_as_go_has_read_them() {
    let mut autoscaler = json!({"spec": {"metrics": [{"type": "Pods", "pods": {"metric": {"name": "m"}, "target": {"type": "AverageValue", "averageValue": "1.125"}}}]}});
    let v2 = Kinds::builtin().by_kind("autoscaling", "v2", "HorizontalPodAutoscaler").unwrap();
    prune(v2.schema.get(), &mut autoscaler);
    assert_eq!(autoscaler.pointer("/spec/metrics/0/pods/target/averageValue"), Some(&json!("1.125")));
    let mut pod = json!({"spec": {"containers": [{"resources": {"limits": {"a": "1.125", "b": "1.125m", "c": "+1", "d": " 1.5 "}}}],
        "volumes": [{"emptyDir": {"sizeLimit": "100u"}}]}});
    prune(&schema("", "Pod"), &mut pod);
    assert_eq!(
        pod.pointer("/spec/containers/0/resources/limits"),
        Some(&json!({"a": "1.125", "b": "2m", "c": "+1", "d": "1500m"}))
    );
    assert_eq!(pod.pointer("/spec/volumes/0/emptyDir/sizeLimit"), Some(&json!("100u")));
    for (size, why) in [("1x", ParseError::Format), ("1e5m", ParseError::Format), ("1mi", ParseError::Suffix)] {
        let pod = json!({"spec": {"volumes": [{"emptyDir": {"sizeLimit": size}}]}});
        assert_eq!(failure("", "Pod", pod), why.to_string(), "{size}");
    }
}

#[test]
fn facts_reach_the_fields() {
    let pod = schema("", "Pod");
    let containers = pod.child("spec").unwrap().child("containers").unwrap();
    assert_eq!(containers.merge(), Merge::Map(&["name".into()]));
    assert_eq!(containers.facts.as_ref().unwrap().patch_merge_key.as_deref(), Some("name"));
    let ports = containers.items().unwrap().child("ports").unwrap();
    assert_eq!(ports.merge(), Merge::Map(&["containerPort".into(), "protocol".into()]));
    assert_eq!(ports.facts.as_ref().unwrap().patch_merge_key.as_deref(), Some("containerPort"));
    let protocol = ports.items().unwrap().child("protocol").unwrap();
    assert_eq!(protocol.facts.as_ref().unwrap().default, Some(json!("TCP")));
    let deployment = schema("apps", "Deployment");
    let spec = deployment.child("spec").unwrap();
    assert_eq!(spec.child("selector").unwrap().merge(), Merge::Atomic);
    assert!(spec.child("strategy").unwrap().facts.as_ref().unwrap().patch_retain_keys);
}

#[test]
fn every_builtin_schema_is_an_object_with_metadata() {
    for row in Kinds::builtin().iter() {
        let schema = row.schema.get();
        assert!(matches!(schema.resolved().shape, Shape::Object(_)), "{}", row.kind);
        assert!(schema.child("apiVersion").is_some() && schema.child("metadata").is_some(), "{}", row.kind);
    }
}

fn crd(schema: impl Borrow<Value>) -> Schema {
    Schema::of_crd(schema.borrow())
}

#[test]
fn a_crds_schema_prunes_defaults_and_preserves() {
    let schema = crd(json!({"type": "object", "properties": {"spec": {"type": "object", "properties": {
        "size": {"type": "integer", "default": 3},
        "port": {"x-kubernetes-int-or-string": true},
        "free": {"type": "object", "x-kubernetes-preserve-unknown-fields": true},
        "note": {"type": "string", "nullable": true},
        "keyed": {"type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["id"],
            "items": {"type": "object", "required": ["id"], "properties": {"id": {"type": "string"}}}},
        "pod": {"type": "object", "x-kubernetes-embedded-resource": true, "x-kubernetes-preserve-unknown-fields": true},
    }}}}));
    let mut object = json!({"apiVersion": "x/v1", "kind": "X", "metadata": {"name": "a"}, "spec": {
        "size": null, "port": "http", "free": {"any": [1]}, "note": null, "typo": 1, "keyed": [{"id": "a", "b": 1}],
        "pod": {"kind": "Pod", "metadata": {"name": "b", "typo": 1}, "spec": {}},
    }});
    assert_eq!(unknown_fields(&schema, &object), ["spec.keyed[0].b", "spec.pod.metadata.typo", "spec.typo"]);
    prune(&schema, &mut object);
    apply_defaults(&schema, &mut object);
    assert_eq!(
        object["spec"],
        json!({"size": 3, "port": "http", "free": {"any": [1]}, "note": null, "keyed": [{"id": "a"}],
            "pod": {"kind": "Pod", "metadata": {"name": "b"}, "spec": {}}})
    );
    // Nulls stay where they may be, and where validation is to judge them.
    let nulls = crd(json!({"type": "object", "properties": {
        "text": {"type": "string"}, "raw": {"x-kubernetes-preserve-unknown-fields": true},
        "map": {"type": "object", "additionalProperties": {"type": "string"}},
        "filled": {"type": "object", "additionalProperties": {"type": "string", "default": "d"}},
        "kept": {"type": "object", "additionalProperties": {"type": "string", "nullable": true}},
        "list": {"type": "array", "items": {"type": "string"}},
        "free": {"type": "object", "x-kubernetes-preserve-unknown-fields": true},
    }}));
    let mut object = json!({"text": null, "raw": null, "map": {"a": null, "b": "c"}, "filled": {"a": null},
        "kept": {"a": null}, "list": [null], "free": {"a": null}});
    prune(&nulls, &mut object);
    assert_eq!(
        object,
        json!({"map": {"b": "c"}, "filled": {"a": "d"}, "kept": {"a": null}, "list": [null], "free": {"a": null}})
    );
    assert_eq!(schema.child("spec").unwrap().child("keyed").unwrap().merge(), Merge::Map(&["id".into()]));
}
