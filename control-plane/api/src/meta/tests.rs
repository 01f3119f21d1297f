//! Metadata filled, kept and judged as Kubernetes does.

use super::*;
use crate::kinds::Kinds;
use crate::strategies::for_kind;
use jiff::Timestamp;
use serde_json::json;

fn texts(errors: &[crate::field::Error]) -> Vec<String> {
    errors.iter().map(ToString::to_string).collect()
}

fn creation() -> Creation<'static> {
    let now: Timestamp = "2026-01-02T03:04:05Z".parse().unwrap();
    Creation { uid: "u-1", now, random: 12_345_678_901, has_generation: true }
}

#[test]
fn creation_fills_what_only_the_server_may_say() {
    let mut pod = json!({"metadata": {
        "generateName": "web-", "uid": "mine", "generation": 7, "selfLink": "/x", "deletionTimestamp": "2026-01-01T00:00:00Z",
        "labels": {}, "annotations": {"a": "b"}, "creationTimestamp": null, "resourceVersion": "3",
    }});
    default_create(&mut pod, &creation());
    assert_eq!(
        pod["metadata"],
        json!({"generateName": "web-", "name": name(&pod), "uid": "u-1", "generation": 1,
               "annotations": {"a": "b"}, "creationTimestamp": "2026-01-02T03:04:05Z"})
    );
    assert_eq!((name(&pod).len(), name(&pod).starts_with("web-")), (9, true));
    let long = generate_name(&"x".repeat(100), 5);
    assert_eq!(long.len(), 63);
    assert_eq!(generate_name(&"é".repeat(40), 5).chars().filter(|c| *c == 'é').count(), 29);
}

#[test]
fn updates_keep_what_they_cannot_change() {
    let old = json!({"metadata": {"name": "a", "namespace": "d", "uid": "u", "creationTimestamp": "2026-01-01T00:00:00Z",
        "generation": 4, "deletionTimestamp": "2026-01-01T00:00:30Z", "deletionGracePeriodSeconds": 30}, "spec": {"a": 1}});
    let mut new = json!({"metadata": {"name": "a", "generation": 99, "creationTimestamp": "1999-01-01T00:00:00Z", "labels": {"x": "y"}}, "spec": {"a": 2}});
    default_update(&mut new, &old);
    assert_eq!(new["metadata"]["deletionGracePeriodSeconds"], 30);
    assert_eq!((uid(&new), generation(&new), creation_timestamp(&new)), ("u", 4, Some("2026-01-01T00:00:00Z")));
    bump_generation(&mut new, &old);
    assert_eq!(generation(&new), 5);
    let mut same = old.clone();
    same["status"] = json!({"x": 1});
    bump_generation(&mut same, &old);
    assert_eq!(generation(&same), 4);
    let mut gone = json!({"metadata": old["metadata"]});
    bump_generation(&mut gone, &old);
    assert_eq!(generation(&gone), 5);
}

#[test]
fn a_second_delete_only_shortens_the_first() {
    let now = creation().now;
    let mut pod = json!({"metadata": {"name": "a", "generation": 1}});
    assert!(mark_deleted(&mut pod, now, 30));
    assert_eq!(deletion_timestamp(&pod), Some("2026-01-02T03:04:35Z"));
    assert_eq!(generation(&pod), 2);
    assert!(!mark_deleted(&mut pod, now, 60));
    assert!(mark_deleted(&mut pod, now, 1));
    assert_eq!((deletion_grace_seconds(&pod), deletion_timestamp(&pod)), (Some(1), Some("2026-01-02T03:04:06Z")));
    assert_eq!(generation(&pod), 2);
    assert!(mark_deleted(&mut json!({"metadata": {}}), now, i64::MAX));
}

#[test]
fn metadata_is_validated_with_kubernetes_messages() {
    let kinds = Kinds::builtin();
    let pods = kinds.find("", "v1", "pods").expect("pods are built in");
    let good = json!({"metadata": {"name": "a.b-c", "namespace": "default", "labels": {"a/b": "c"}, "finalizers": ["x.io/y"]}});
    assert_eq!(texts(&validate_create(&pods, &good)), Vec::<String>::new());
    let bad = json!({"metadata": {
        "name": "Big_Name", "labels": {"a b": "c", "ok": "not ok"}, "annotations": {"UPPER.io/x": "", "/": ""},
        "finalizers": ["orphan", "foregroundDeletion"],
        "ownerReferences": [{"apiVersion": "v1", "kind": "A", "name": "a", "uid": "1", "controller": true},
                            {"apiVersion": "", "kind": "B", "name": "b", "uid": "", "controller": true}],
    }});
    insta::assert_snapshot!(texts(&validate_create(&pods, &bad)).join("\n"));
    let nodes = kinds.find("", "v1", "nodes").expect("nodes are built in");
    let node = json!({"metadata": {"name": "n", "namespace": "x"}});
    assert_eq!(texts(&validate_create(&nodes, &node)), ["metadata.namespace: Forbidden: not allowed on this type"]);
    let none = json!({"metadata": {"namespace": "default"}});
    assert_eq!(
        texts(&validate_create(&pods, &none)),
        ["metadata.name: Required value: name or generateName is required"]
    );
    let big =
        json!({"metadata": {"name": "a", "namespace": "d", "annotations": {"k": "x".repeat(ANNOTATIONS_MAX_BYTES)}}});
    assert_eq!(
        texts(&validate_create(&pods, &big)),
        ["metadata.annotations: Too long: may not be more than 262144 bytes"]
    );
    let long = json!({"metadata": {"name": "a".repeat(300), "namespace": "d"}});
    assert!(texts(&validate_create(&pods, &long))[0].ends_with("must be no more than 253 bytes"));
    assert_eq!(name_rule("rbac.authorization.k8s.io", "Role"), NameRule::PathSegment);
    assert!(for_kind("", "Pod").has_generation());
}

#[test]
fn identity_is_immutable_and_the_deleted_get_no_finalizers() {
    let kinds = Kinds::builtin();
    let pods = kinds.find("", "v1", "pods").expect("pods are built in");
    let old = json!({"metadata": {"name": "a", "namespace": "d", "uid": "1", "deletionTimestamp": "2026-01-01T00:00:00Z", "finalizers": ["x/y"]}});
    let mut new = old.clone();
    new["metadata"]["finalizers"] = json!([]);
    assert_eq!(texts(&validate_update(&pods, &new, &old)), Vec::<String>::new());
    new["metadata"]["finalizers"] = json!(["x/z"]);
    new["metadata"]["uid"] = json!("2");
    assert_eq!(
        texts(&validate_update(&pods, &new, &old)),
        [
            "metadata.finalizers: Forbidden: no new finalizers can be added if the object is being deleted, found new finalizers []string{\"x/z\"}",
            "metadata.uid: Invalid value: \"2\": field is immutable",
        ]
    );
    let mut object = json!({"metadata": {"namespace": "other"}});
    assert!(ensure_namespace(&pods, &mut object, "d").is_err());
    assert!(ensure_name(&mut object, "x").is_ok());
    assert_eq!(
        ensure_name(&mut object, "y").unwrap_err().message,
        "the name of the object (x) does not match the name on the URL (y)"
    );
}

#[test]
fn definitions_of_kinds_may_have_finalizers_without_a_path() {
    let kinds = Kinds::builtin();
    let crds = kinds.find("apiextensions.k8s.io", "v1", "customresourcedefinitions").expect("they are built in");
    let finalizers = ["customresourcecleanup.apiextensions.k8s.io"];
    let definition = json!({"metadata": {"name": "a.b.c", "finalizers": finalizers}});
    assert_eq!(texts(&validate_create(&crds, &definition)), Vec::<String>::new());
    let maps = kinds.find("", "v1", "configmaps").expect("they are built in");
    let map = json!({"metadata": {"name": "a", "namespace": "d", "finalizers": finalizers}});
    assert_eq!(texts(&validate_create(&maps, &map)).len(), 1);
}
