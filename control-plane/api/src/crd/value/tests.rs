//! Objects and what Kubernetes 1.36 says of them.

use super::*;
use crate::Resource;
use crate::crd::{Definition, rows};
use serde_json::json;
use std::sync::Arc;

/// The row of a CRD with one version: its schemas of `spec` and `status`, and more of the version.
fn row(spec: &Value, status: &Value, more: &Value) -> Arc<Resource> {
    let schema = json!({"type": "object", "properties": {"spec": spec, "status": status}});
    let mut version = json!({"name": "v1", "served": true, "storage": true, "schema": {"openAPIV3Schema": schema}});
    for (name, value) in more.as_object().into_iter().flatten() {
        version[name] = value.clone();
    }
    let names = json!({"plural": "things", "singular": "thing", "kind": "Thing", "listKind": "ThingList"});
    let crd = json!({
        "metadata": {"name": "things.example.com", "uid": "u"},
        "spec": {"group": "example.com", "scope": "Namespaced", "names": names, "versions": [version]},
        "status": {"acceptedNames": names},
    });
    let definition = Arc::new(Definition::of(&crd).unwrap());
    Arc::clone(&rows(&crd, &definition)[0])
}

fn object(spec: &Value) -> Value {
    json!({"apiVersion": "example.com/v1", "kind": "Thing", "metadata": {"name": "a"}, "spec": spec})
}

fn texts(errors: &[Error]) -> Vec<String> {
    errors.iter().map(ToString::to_string).collect()
}

/// What is said of a new object whose `spec.f` has the schema `field` and the value.
fn said(field: &Value, value: &Value) -> Vec<String> {
    let row = row(&json!({"type": "object", "properties": {"f": field}}), &json!({"type": "object"}), &json!({}));
    texts(&row.strategy.validate(&object(&json!({"f": value}))))
}

#[test]
fn values_are_judged_as_kube_openapi_judges_them() {
    let int32 = json!({"type": "integer", "format": "int32"});
    let range = "<nil>: Invalid value: \"\": Checked value must be of type integer";
    for (field, value, wanted) in [
        (int32, json!(2_147_483_648_u64), vec![format!("{range} with format int32 in spec.f")]),
        (
            json!({"type": "integer"}),
            json!(1.5),
            vec![
                format!("{range} (default format) in spec.f"),
                "spec.f: Invalid value: \"number\": spec.f in body must be of type integer: \"number\"".into(),
            ],
        ),
        (
            json!({"type": "string", "enum": ["a", "b"]}),
            json!(1),
            vec![
                "spec.f: Invalid value: \"integer\": spec.f in body must be of type string: \"integer\"".into(),
                "spec.f: Unsupported value: 1: supported values: \"a\", \"b\"".into(),
            ],
        ),
        (
            json!({"type": "string", "nullable": true, "enum": ["a", null]}),
            Value::Null,
            vec!["spec.f: Unsupported value: null: supported values: \"a\", \"null\"".into()],
        ),
        (
            json!({"type": "number", "multipleOf": 0.5}),
            json!(1),
            vec!["spec.f: Invalid value: 0: factor MultipleOf declared for spec.f must be positive: 0".into()],
        ),
        (
            json!({"type": "object", "minProperties": 1, "additionalProperties": {"type": "string"}}),
            json!({}),
            vec!["spec.f: Invalid value: 0: spec.f in body should have at least 1 properties".into()],
        ),
        (
            json!({"type": "array", "items": {"type": "string"}, "x-kubernetes-list-type": "set"}),
            json!(["a", "a", "a", "b", "b"]),
            vec!["spec.f[1]: Duplicate value: \"a\"".into(), "spec.f[4]: Duplicate value: \"b\"".into()],
        ),
        (
            json!({"type": "object", "properties": {"a": {"type": "integer"}, "b": {"type": "integer"}},
                "anyOf": [{"required": ["a"]}, {"properties": {"b": {"minimum": 5}}, "required": ["b"]}]}),
            json!({"b": 1}),
            vec![
                "<nil>: Invalid value: \"\": \"spec.f\" must validate at least one schema (anyOf)".into(),
                "spec.f.b: Invalid value: 1: spec.f.b in body should be greater than or equal to 5".into(),
            ],
        ),
    ] {
        assert_eq!(said(&field, &value), wanted, "{field} {value}");
    }
}

#[test]
fn embedded_objects_are_judged_whatever_they_were() {
    let field = json!({"type": "object", "x-kubernetes-embedded-resource": true,
        "x-kubernetes-preserve-unknown-fields": true});
    let label = "name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')";
    for (value, wanted) in [
        (json!({}), vec!["spec.f.apiVersion: Required value".to_owned(), "spec.f.kind: Required value".into()]),
        (
            json!({"apiVersion": "", "kind": ""}),
            vec![
                "spec.f.apiVersion: Invalid value: \"\": must not be empty".into(),
                "spec.f.kind: Invalid value: \"\": must not be empty".into(),
            ],
        ),
        (
            json!({"apiVersion": "a/b/c", "kind": "K", "metadata": {"name": "a/b", "labels": {"a b": "c"}}}),
            vec![
                "spec.f.apiVersion: Invalid value: \"a/b/c\": unexpected GroupVersion string: a/b/c".into(),
                "spec.f.metadata.name: Invalid value: \"a/b\": may not contain '/'".into(),
                format!("spec.f.metadata.labels: Invalid value: \"a b\": {label}"),
            ],
        ),
        (json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "X_"}, "more": 1}), Vec::new()),
    ] {
        assert_eq!(said(&field, &value), wanted, "{value}");
        let row = row(&json!({"type": "object", "properties": {"f": field}}), &json!({"type": "object"}), &json!({}));
        let same = object(&json!({"f": value}));
        assert_eq!(texts(&row.strategy.validate_change(&same, &same)), wanted, "{value}");
    }
}

#[test]
fn what_scaling_needs_is_judged() {
    let count = json!({"type": "integer", "x-kubernetes-preserve-unknown-fields": true});
    let status = json!({"type": "object", "properties": {"n": {"type": "integer", "maximum": 5}, "s": {}}});
    let more = json!({"subresources": {"status": {}, "scale": {
        "specReplicasPath": ".spec.n", "statusReplicasPath": ".status.n", "labelSelectorPath": ".status.s"}}});
    let row = row(&json!({"type": "object", "properties": {"n": count}}), &status, &more);
    let new = |n: Value| texts(&row.strategy.validate(&object(&json!({"n": n}))));
    assert_eq!(new(json!(-1)), [".spec.n: Invalid value: -1: should be a non-negative integer"]);
    let large = ".spec.n: Invalid value: 2147483648: should be less than or equal to 2147483647";
    assert_eq!(new(json!(2_147_483_648_u64)), [large]);
    let odd = ".spec.n: Invalid value: 0: .spec.n accessor error: x is of the type string, expected int64";
    assert_eq!(new(json!("x"))[0], odd);
    assert_eq!(new(json!(3)), Vec::<String>::new());
    let old = object(&json!({"n": -5}));
    let update = |status: Value| {
        let mut new = old.clone();
        new["status"] = status;
        texts(&row.strategy.validate_status_update(&new, &old))
    };
    // The spec is not looked at, and places are told as seen from the status.
    let wanted = "status.n: Invalid value: 7: n in body should be less than or equal to 5";
    assert_eq!(update(json!({"n": 7})), [wanted]);
    assert_eq!(update(json!({"n": -1})), [".status.n: Invalid value: -1: should be a non-negative integer"]);
    let selector = ".status.s: Invalid value: \"\": .status.s accessor error: 1 is of the type int64, expected string";
    assert_eq!(update(json!({"s": 1})), [selector]);
    let inside = ".status.n: Invalid value: 0: .status.n accessor error: x is of the type string, expected map[string]interface{}";
    assert!(update(json!("x")).contains(&inside.to_owned()));
}

#[test]
fn what_was_broken_before_is_warned_of() {
    let field = json!({"type": "object", "properties": {"a": {"type": "integer"}, "b": {"type": "integer"}},
        "x-kubernetes-validations": [{"rule": "self.a > 1", "message": "too small", "fieldPath": ".a"}]});
    let spec = json!({"type": "object", "properties": {"f": field, "other": {"type": "integer"}}});
    let row = row(&spec, &json!({"type": "object"}), &json!({}));
    let step = |old: Value, new: Value| {
        let (errors, warnings) = row.strategy.judge_change(&object(&new), &object(&old));
        (texts(&errors), warnings)
    };
    let broken = "spec.f.a: Invalid value: too small".to_owned();
    let none = Vec::<String>::new;
    let (old, new) = (json!({"f": {"a": 1}, "other": 1}), json!({"f": {"a": 1}, "other": 2}));
    assert_eq!(step(old.clone(), new), (none(), vec![broken.clone()]));
    assert_eq!(step(old, json!({"f": {"a": 1, "b": 1}})), (vec![broken], none()));
    // A rule that cannot be evaluated is an error, whatever was there before.
    let fault = "spec.f: Invalid value: \"object\": no such key: a evaluating rule: too small".to_owned();
    assert_eq!(step(json!({"f": {}, "other": 1}), json!({"f": {}, "other": 2})), (vec![fault], none()));
}

#[test]
fn lists_that_were_no_sets_before_are_let_be() {
    let set = json!({"type": "array", "items": {"type": "string"}, "x-kubernetes-list-type": "set"});
    let row = row(&json!({"type": "object", "properties": {"s": set}}), &json!({"type": "object"}), &json!({}));
    let step = |old: Value, new: Value| {
        texts(&row.strategy.validate_change(&object(&json!({"s": new})), &object(&json!({"s": old}))))
    };
    assert_eq!(step(json!(["a"]), json!(["a", "a"])), ["spec.s[1]: Duplicate value: \"a\""]);
    assert_eq!(step(json!(["a", "a"]), json!(["a", "a", "b", "b"])), Vec::<String>::new());
}

#[test]
fn finalizers_should_name_their_owner() {
    let row = row(&json!({"type": "object"}), &json!({"type": "object"}), &json!({}));
    let with = |finalizers: Value| json!({"metadata": {"name": "a", "finalizers": finalizers}});
    let conflicts = "to avoid accidental conflicts with other finalizer writers";
    let plain = format!("metadata.finalizers: \"x\": prefer a domain-qualified finalizer name {conflicts}");
    let dotted = format!(
        "metadata.finalizers: \"a.b\": prefer a domain-qualified finalizer name including a path (/) {conflicts}"
    );
    let new = with(json!(["x", "a.b", "example.com/a", "foregroundDeletion"]));
    assert_eq!(row.strategy.warnings(&new), [dotted.clone(), plain.clone()]);
    assert_eq!(row.strategy.judge_change(&new, &with(json!(["x"]))).1, [dotted]);
}
