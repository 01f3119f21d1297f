//! The three patch formats.

use super::{MAX_JSON_PATCH_OPERATIONS, json as json_patch, merge, strategic};
use crate::kinds::Kinds;
use crate::schema::Schema;
use proptest::prelude::*;
use serde_json::{Value, json};
use std::borrow::Borrow;
use std::sync::Arc;

fn schema(group: &str, kind: &str) -> Arc<Schema> {
    Kinds::builtin().by_kind(group, "v1", kind).unwrap().schema.get().clone()
}

fn pod(document: impl Borrow<Value>, patch: impl Borrow<Value>) -> Value {
    strategic(&schema("", "Pod"), document.borrow(), patch.borrow()).unwrap()
}

fn pod_error(document: impl Borrow<Value>, patch: impl Borrow<Value>) -> String {
    strategic(&schema("", "Pod"), document.borrow(), patch.borrow()).unwrap_err().message
}

#[test]
fn lists_with_a_merge_key_merge_by_it() {
    let document = json!({"spec": {"containers": [
        {"name": "a", "image": "a:1", "args": ["x"], "ports": [{"containerPort": 80}]}, {"name": "b", "image": "b:1"}]}});
    let patch = json!({"spec": {"containers": [
        {"name": "a", "image": "a:2", "args": ["y"], "ports": [{"containerPort": 81}]}, {"name": "c", "image": "c:1"}]}});
    assert_eq!(
        pod(document, patch),
        json!({"spec": {"containers": [
            {"name": "a", "image": "a:2", "args": ["y"], "ports": [{"containerPort": 81}, {"containerPort": 80}]},
            {"name": "c", "image": "c:1"}, {"name": "b", "image": "b:1"}]}})
    );
}

#[test]
fn patch_delete_removes_an_item_and_patch_replace_the_list() {
    let document = || json!({"spec": {"containers": [{"name": "a"}, {"name": "b"}]}});
    assert_eq!(
        pod(document(), json!({"spec": {"containers": [{"name": "a", "$patch": "delete"}]}})),
        json!({"spec": {"containers": [{"name": "b"}]}})
    );
    assert_eq!(
        pod(document(), json!({"spec": {"containers": [{"$patch": "replace"}, {"name": "c"}]}})),
        json!({"spec": {"containers": [{"name": "c"}]}})
    );
}

#[test]
fn patch_directives_on_maps() {
    let document = || json!({"metadata": {"labels": {"a": "1", "b": "2"}}, "spec": {"nodeSelector": {"x": "y"}}});
    assert_eq!(
        pod(document(), json!({"metadata": {"labels": {"$patch": "replace", "c": "3"}}}))["metadata"],
        json!({"labels": {"c": "3"}})
    );
    assert_eq!(pod(document(), json!({"spec": {"$patch": "delete"}}))["spec"], json!({}));
    assert_eq!(pod(document(), json!({"metadata": {"labels": {"a": null}}}))["metadata"]["labels"], json!({"b": "2"}));
    assert_eq!(
        pod_error(document(), json!({"spec": {"$patch": "explode"}})),
        "unknown patch type: explode in map: map[$patch:explode]"
    );
    let code = |patch: Value| strategic(&schema("", "Pod"), &document(), &patch).unwrap_err().code;
    // As `interpretStrategicMergePatchError` has it.
    assert_eq!(code(json!({"spec": {"$patch": "merge"}})), 500);
    assert_eq!(code(json!({"spec": {"$retainKeys": "x"}})), 400);
    assert_eq!(code(json!({"spec": {"$retainKeys": ["x"], "y": 1}})), 400);
    assert_eq!(code(json!({"spec": {"$setElementOrder": []}})), 400);
    assert_eq!(code(json!({"spec": {"$setElementOrder/containers": 1}})), 500);
    assert_eq!(code(json!({"metadata": {"$deleteFromPrimitiveList": ["x"]}})), 400);
}

#[test]
fn retain_keys_clears_the_other_members_of_a_union() {
    let document = json!({"spec": {"strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1}}}});
    let patch = json!({"spec": {"strategy": {"$retainKeys": ["type"], "type": "Recreate"}}});
    assert_eq!(
        strategic(&schema("apps", "Deployment"), &document, &patch).unwrap(),
        json!({"spec": {"strategy": {"type": "Recreate"}}})
    );
    let volumes = json!({"spec": {"volumes": [{"name": "v", "emptyDir": {}}]}});
    let patch =
        json!({"spec": {"volumes": [{"name": "v", "$retainKeys": ["name", "hostPath"], "hostPath": {"path": "/x"}}]}});
    assert_eq!(pod(volumes.clone(), patch), json!({"spec": {"volumes": [{"name": "v", "hostPath": {"path": "/x"}}]}}));
    let patch = json!({"spec": {"volumes": [{"name": "v", "$retainKeys": ["name"], "hostPath": {"path": "/x"}}]}});
    assert_eq!(pod_error(volumes, patch), "invalid patch format of retainKeys");
}

#[test]
fn errors_have_the_words_of_mergepatch() {
    let document = json!({"metadata": {"finalizers": ["a"]}, "spec": {"volumes": [{"name": "v"}], "containers": []}});
    for (spec, error) in [
        (json!({"$setElementOrder/volumes": "x"}), "expected a []interface {}, but received a string"),
        (
            json!({"$setElementOrder/volumes": [{"name": "v"}], "volumes": null}),
            "expected a []interface {}, but received a %!s(<nil>)",
        ),
        (
            json!({"$setElementOrder/nothing": []}),
            "unable to find api field in struct PodSpec for the json field \"nothing\"",
        ),
        (json!({"$setElementOrder/hostname": []}), "expected slice or array type, but got: struct"),
        (json!({"$setElementOrder/volumes": [{}]}), "map: map[] does not contain declared merge key: name"),
        (json!({"$setElementOrder/volumes": [1]}), "value for key 0 is not a map"),
        (json!({"$setElementOrder/containers": [{"name": "c"}]}), "no elements in any of the given slices"),
        (
            json!({"$setElementOrder/volumes": [{"name": "v"}], "volumes": [{"name": "w"}, {"$patch": "delete", "name": "v"}]}),
            "The order in patch list:\n[map[name:w] map[$patch:delete name:v]]\n doesn't match $setElementOrder list:\n[map[name:v]]\n",
        ),
        (json!({"volumes": ["a", {"b": 1}]}), "list element types are not identical: [[map[name:v]] [a map[b:1]]]"),
        (json!({"volumes": [{"$patch": 1}]}), "unknown patch type: %!s(int64=1) in map: map[$patch:1]"),
        (json!({"volumes": [{"$patch": "merge"}]}), "merging lists cannot yet be specified in the patch"),
    ] {
        assert_eq!(pod_error(document.clone(), json!({"spec": spec})), error);
    }
    assert_eq!(pod(document.clone(), Value::Null), document, "null is an empty patch");
    // What is wrong with a list to be deleted from is not looked at.
    assert_eq!(pod(document.clone(), json!({"metadata": {"$deleteFromPrimitiveList/finalizers": "b"}})), document);
}

#[test]
fn set_element_order_sorts_known_items_and_keeps_server_only_ones_in_place() {
    let document = json!({"spec": {"containers": [{"name": "1"}, {"name": "server"}, {"name": "2"}, {"name": "3"}]}});
    let patch = json!({"spec": {
        "$setElementOrder/containers": [{"name": "3"}, {"name": "1"}, {"name": "2"}],
        "containers": [{"name": "3", "image": "x"}]}});
    assert_eq!(
        pod(document.clone(), patch),
        json!({"spec": {"containers": [{"name": "server"}, {"name": "3", "image": "x"}, {"name": "1"}, {"name": "2"}]}})
    );
    let patch = json!({"spec": {"$setElementOrder/containers": [{"name": "3"}, {"name": "2"}]}});
    assert_eq!(
        pod(document.clone(), patch)["spec"]["containers"],
        json!([{"name": "1"}, {"name": "server"}, {"name": "3"}, {"name": "2"}])
    );
    let patch = json!({"spec": {"$setElementOrder/containers": [{"name": "1"}], "containers": [{"name": "2"}]}});
    assert!(pod_error(document, patch).starts_with("The order in patch list:"));
}

#[test]
fn primitive_lists_merge_as_sets_and_delete_by_a_parallel_list() {
    let document = || json!({"metadata": {"finalizers": ["a", "b", "c"]}});
    assert_eq!(
        pod(document(), json!({"metadata": {"finalizers": ["d", "b"]}}))["metadata"]["finalizers"],
        json!(["d", "a", "b", "c"])
    );
    let patch =
        json!({"metadata": {"$deleteFromPrimitiveList/finalizers": ["b"], "$setElementOrder/finalizers": ["c", "a"]}});
    assert_eq!(pod(document(), patch)["metadata"]["finalizers"], json!(["c", "a"]));
    let patch = json!({"metadata": {"$deleteFromPrimitiveList/finalizers": null}});
    assert_eq!(pod(document(), patch)["metadata"], json!({}));
}

#[test]
fn lists_without_a_strategy_and_replace_fields_are_replaced() {
    let document =
        json!({"spec": {"tolerations": [{"key": "a"}], "containers": [{"name": "a", "command": ["x", "y"]}]}});
    let patch = json!({"spec": {"tolerations": [{"key": "b"}], "containers": [{"name": "a", "command": ["z"]}]}});
    assert_eq!(pod(document, patch.clone()), patch);
    let budget = json!({"spec": {"selector": {"matchLabels": {"a": "1"}}}});
    let patch = json!({"spec": {"selector": {"matchLabels": {"b": "2"}}}});
    assert_eq!(strategic(&schema("policy", "PodDisruptionBudget"), &budget, &patch).unwrap(), patch);
}

#[test]
fn what_the_document_lacks_is_taken_without_directives_and_nulls() {
    let patch = json!({"metadata": {"labels": {"a": null, "b": "1"}}, "spec": {
        "$setElementOrder/containers": [{"name": "a"}], "containers": [{"name": "a"}, {"name": "z", "$patch": "delete"}]}});
    // A directive beside a list is left for the check of fields to find, as the library leaves it.
    assert_eq!(
        pod(json!({"metadata": {}}), patch),
        json!({"metadata": {"labels": {"b": "1"}},
            "spec": {"$setElementOrder/containers": [{"name": "a"}], "containers": [{"name": "a"}]}})
    );
}

#[test]
fn a_missing_merge_key_is_named() {
    let document = json!({"spec": {"containers": [{"name": "a"}]}});
    let message = pod_error(document, json!({"spec": {"containers": [{"image": "x"}]}}));
    assert_eq!(message, "map: map[image:x] does not contain declared merge key: name");
}

#[test]
fn directives_in_free_json_are_data() {
    let data = json!({"data": {"spec": {"template": {"$patch": "replace", "x": 1}}}});
    assert_eq!(
        strategic(&schema("apps", "ControllerRevision"), &json!({"revision": 1}), &data).unwrap()["data"],
        data["data"]
    );
}

#[test]
fn json_patch_forgives_what_kubernetes_library_forgives() {
    let document = json!({"l": [1, 2, 3], "o": {"a": 1}, "n": null});
    for (operation, path, after) in [
        (json!({"op": "add", "path": "/l/-1", "value": 4}), "/l", json!([1, 2, 3, 4])),
        (json!({"op": "add", "path": "/l/-4", "value": 0}), "/l", json!([0, 1, 2, 3])),
        (json!({"op": "add", "path": "/l/3", "value": 4}), "/l", json!([1, 2, 3, 4])),
        (json!({"op": "remove", "path": "/l/-1"}), "/l", json!([1, 2])),
        (json!({"op": "replace", "path": "/l/-3", "value": 9}), "/l", json!([9, 2, 3])),
        (json!({"op": "replace", "path": "/l/+01", "value": 9}), "/l", json!([1, 9, 3])),
        // What is not there is as good as null, but for a removal.
        (json!({"op": "replace", "path": "/o/new", "value": 9}), "/o", json!({"a": 1, "new": 9})),
        (json!({"op": "copy", "from": "/o/none", "path": "/o/b"}), "/o", json!({"a": 1, "b": null})),
        (json!({"op": "test", "path": "/o/none"}), "/o", json!({"a": 1})),
        (json!({"op": "test", "path": "/n", "value": null}), "/n", Value::Null),
        // What stands before the first slash does not count.
        (json!({"op": "replace", "path": "x/o/a", "value": 2}), "/o", json!({"a": 2})),
        (json!({"op": "replace", "path": "", "value": {"o": []}}), "/o", json!([])),
        (json!({"op": "replace", "path": "", "value": 1}), "/o", json!({"a": 1})),
        (json!({"op": "test", "path": "", "value": {"l": [1, 2, 3], "o": {"a": 1}, "n": null}}), "/n", Value::Null),
    ] {
        let patched = json_patch(&document, &json!([operation])).unwrap();
        assert_eq!(patched.pointer(path), Some(&after), "{operation}");
    }
    for refused in [
        json!({"op": "add", "path": "/l/4", "value": 4}),
        json!({"op": "add", "path": "/l/-5", "value": 4}),
        json!({"op": "add", "path": "", "value": {}}),
        json!({"op": "remove", "path": "/l/-"}),
        json!({"op": "remove", "path": "/o/none"}),
        json!({"op": "remove", "path": "/l/-4"}),
        json!({"op": "replace", "path": "/l/3", "value": 4}),
        json!({"op": "move", "from": "/o/none", "path": "/o/b"}),
        json!({"op": "copy", "from": "/l/9", "path": "/o/b"}),
        json!({"op": "add", "path": "/n/x", "value": 1}),
        json!({"op": "add", "path": "/o/a/x", "value": 1}),
    ] {
        assert_eq!(json_patch(&document, &json!([refused])).unwrap_err().code, 422, "{refused}");
    }
}

#[test]
fn a_merge_patch_puts_new_things_in_without_their_nulls() {
    for (document, patch, after) in [
        (json!({}), json!({"a": {"b": null, "c": [{"d": null, "e": 1}, null]}}), json!({"a": {"c": [{"e": 1}, null]}})),
        (json!({"a": null}), json!({"a": {"b": null}}), json!({"a": {}})),
        (json!({"a": 1}), json!({"a": {"b": null}}), json!({"a": {}})),
        (json!({"a": [1]}), json!({"a": [{"b": null}]}), json!({"a": [{}]})),
        // A list in the place of an object is taken as it is.
        (json!({"a": {}}), json!({"a": [{"b": null}]}), json!({"a": [{"b": null}]})),
    ] {
        assert_eq!(merge(&document, &patch).unwrap(), after, "{patch}");
    }
    let refused = |patch: Value| merge(&json!({}), &patch).unwrap_err().message;
    assert_eq!(refused(Value::Null), "Invalid JSON Patch");
    assert_eq!(
        refused(json!("a")),
        "error decoding patch: json: cannot unmarshal string into Go value of type map[string]interface {}"
    );
}

#[test]
fn merge_patch_follows_the_rfc() {
    let merged = merge(&json!({"a": "b", "c": {"d": "e", "f": "g"}}), &json!({"a": "z", "c": {"f": null}})).unwrap();
    assert_eq!(merged, json!({"a": "z", "c": {"d": "e"}}));
    assert_eq!(merge(&json!({}), &json!([1])).unwrap_err().code, 400);
}

#[test]
fn json_patch_applies_all_or_nothing() {
    let document = json!({"spec": {"replicas": 1, "list": [1]}});
    let patch = json!([{"op": "test", "path": "/spec/replicas", "value": 1}, {"op": "replace", "path": "/spec/replicas", "value": 2},
        {"op": "add", "path": "/spec/list/-", "value": 2}, {"op": "remove", "path": "/spec/list/0"}]);
    assert_eq!(json_patch(&document, &patch).unwrap(), json!({"spec": {"replicas": 2, "list": [2]}}));

    let failed = json_patch(&document, &json!([{"op": "test", "path": "/spec/replicas", "value": 9}])).unwrap_err();
    assert_eq!(failed.code, 422);
    assert_eq!(failed.message, "the server rejected our request due to an error in our request");
    assert!(failed.details.unwrap().causes.is_empty(), "kubectl prints causes in place of the message");
    assert_eq!(json_patch(&document, &json!({"op": "test"})).unwrap_err().code, 400);
    for unknown in [json!({"op": "fly", "path": "/a"}), json!({"path": "/a"}), json!({"op": "add"}), json!(null)] {
        assert_eq!(json_patch(&document, &json!([unknown])).unwrap_err().code, 422, "{unknown}");
    }
    let wrong = json_patch(&document, &json!([{"op": "test", "path": "/absent", "value": 1}, 7])).unwrap_err();
    assert_eq!(
        (wrong.code, wrong.message.as_str()),
        (400, "error decoding patch: json: cannot unmarshal number into Go value of type handlers.jsonPatchOp")
    );
    let wrong = json_patch(&document, &json!([{"op": "add", "path": 1}])).unwrap_err();
    assert_eq!(
        wrong.message,
        "error decoding patch: json: cannot unmarshal number into Go struct field jsonPatchOp.path of type string"
    );
    assert_eq!(json_patch(&document, &Value::Null).unwrap(), document);
    // Without a value it is null.
    let added = json_patch(&document, &json!([{"op": "add", "path": "/a"}, {"op": "test", "path": "/a"}])).unwrap();
    assert_eq!(added["a"], Value::Null);
}

#[test]
fn json_patch_tests_for_null_what_is_absent() {
    let document = json!({"metadata": {"a/b": 1, "list": []}});
    let add = json!([{"op": "test", "path": "/metadata/finalizers", "value": null},
        {"op": "add", "path": "/metadata/finalizers", "value": ["x"]}]);
    assert_eq!(json_patch(&document, &add).unwrap()["metadata"]["finalizers"], json!(["x"]));
    for (path, value) in [
        ("/metadata/a~1b", json!(null)),
        ("/metadata/other", json!(1)),
        ("/absent/other", json!(null)),
        ("/metadata/list/0", json!(null)),
    ] {
        let patch = json!([{"op": "test", "path": path, "value": value}]);
        assert_eq!(json_patch(&document, &patch).unwrap_err().code, 422, "{path}");
    }
}

#[test]
fn json_patch_is_bounded() {
    let many: Vec<Value> =
        (0..=MAX_JSON_PATCH_OPERATIONS).map(|_| json!({"op": "test", "path": "", "value": {}})).collect();
    assert_eq!(json_patch(&json!({}), &many.into()).unwrap_err().code, 413);
    let bomb: Vec<Value> = (0..60).map(|n| json!({"op": "copy", "from": "", "path": format!("/{n}")})).collect();
    assert_eq!(json_patch(&json!({"a": "x".repeat(100)}), &bomb.into()).unwrap_err().code, 422);
}

#[test]
fn no_json_patch_moves_values_about_for_ever() {
    let document = json!({"list": vec![0; 200_000], "other": {}});
    let patches = [
        json!([{"op": "add", "path": "/list/0", "value": 1}]),
        json!([{"op": "remove", "path": "/list/0"}]),
        json!([{"op": "move", "from": "/list", "path": "/moved"}, {"op": "move", "from": "/moved", "path": "/list"}]),
    ];
    for patch in patches {
        assert!(json_patch(&document, &patch).is_ok());
        let often: Vec<Value> = patch.as_array().unwrap().iter().cycle().take(10_000).cloned().collect();
        let status = json_patch(&document, &often.into()).unwrap_err();
        assert_eq!(status.code, 422);
    }
    // At the end of a list there is nothing to move, and short lists may be turned over as often as there are operations.
    let append = vec![json!({"op": "add", "path": "/list/-", "value": 1}); 10_000];
    assert!(json_patch(&document, &append.into()).is_ok());
    let insert = vec![json!({"op": "add", "path": "/list/0", "value": 1}); 10_000];
    assert!(json_patch(&json!({"list": []}), &insert.into()).is_ok());
}

fn any_json() -> impl Strategy<Value = Value> {
    let scalar = prop_oneof![
        any::<bool>().prop_map(Value::from),
        any::<i32>().prop_map(Value::from),
        "[a-c]{0,3}".prop_map(Value::from)
    ];
    scalar.prop_recursive(4, 32, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map("[a-d]", inner, 0..4).prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

fn any_pod() -> impl Strategy<Value = Value> {
    let container = ("[a-e]", "[x-z]{1,2}", prop::option::of(1..5_u16)).prop_map(|(name, image, port)| {
        let ports: Vec<Value> = port.into_iter().map(|p| json!({"containerPort": p})).collect();
        json!({"name": name, "image": image, "ports": ports})
    });
    let labels = prop::collection::btree_map("[a-c]", "[a-c]", 0..3);
    let finalizers = prop::collection::btree_set("[a-e]", 0..4);
    (prop::collection::vec(container, 1..5), labels, finalizers).prop_map(|(mut containers, labels, finalizers)| {
        let mut seen = std::collections::HashSet::new();
        containers.retain(|c| seen.insert(c["name"].to_string()));
        json!({"metadata": {"labels": labels, "finalizers": finalizers}, "spec": {"containers": containers}})
    })
}

#[test]
fn no_json_patch_nests_without_end() {
    let nested = |levels: usize| (0..levels).fold(json!({}), |inner, _| json!({"a": inner}));
    let add = |at: usize, levels: usize| json!({"op": "add", "path": "/a".repeat(at), "value": nested(levels)});
    assert!(json_patch(&nested(100), &json!([add(100, 26)])).is_ok());
    let error = json_patch(&nested(100), &json!([add(100, 27)])).unwrap_err();
    assert_eq!(error.code, 422);
    let document = json!({"from": nested(80), "to": nested(80)});
    for op in ["copy", "move"] {
        let operation = json!({"op": op, "from": "/from", "path": format!("/to{}", "/a".repeat(80))});
        assert!(json_patch(&document, &json!([operation])).is_err(), "{op}");
    }
}

proptest! {
    #[test]
    fn an_empty_patch_changes_nothing(document in any_pod()) {
        prop_assert_eq!(pod(document.clone(), json!({})), document.clone());
        prop_assert_eq!(merge(&document, &json!({})).unwrap(), document.clone());
        prop_assert_eq!(json_patch(&document, &json!([])).unwrap(), document);
    }

    #[test]
    fn an_object_patched_with_itself_stays(document in any_pod()) {
        prop_assert_eq!(pod(document.clone(), document.clone()), document);
    }

    #[test]
    fn patching_twice_is_patching_once(document in any_pod(), patch in any_pod()) {
        let once = pod(document, patch.clone());
        prop_assert_eq!(pod(once.clone(), patch), once);
    }

    #[test]
    fn all_of_the_patch_is_in_the_result_and_no_key_twice(document in any_pod(), patch in any_pod()) {
        let result = pod(document.clone(), patch.clone());
        let names = |v: &Value| -> Vec<String> {
            v["spec"]["containers"].as_array().unwrap().iter().map(|c| c["name"].as_str().unwrap().to_owned()).collect()
        };
        let union: std::collections::BTreeSet<_> = names(&document).into_iter().chain(names(&patch)).collect();
        let mut merged = names(&result);
        let listed: Vec<_> = merged.iter().filter(|n| names(&patch).contains(n)).cloned().collect();
        prop_assert_eq!(listed, names(&patch));
        merged.sort();
        prop_assert_eq!(merged, union.into_iter().collect::<Vec<_>>());
    }

    #[test]
    fn no_patch_panics(document in any_json(), patch in any_json()) {
        let schema = schema("", "Pod");
        let _ = strategic(&schema, &document, &patch);
        let _ = json_patch(&document, &patch);
        let _ = merge(&document, &patch);
        let _ = strategic(&schema, &json!({"spec": document}), &json!({"spec": {"containers": patch}}));
    }
}
