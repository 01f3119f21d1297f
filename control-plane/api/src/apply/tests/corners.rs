//! What Kubernetes' libraries make of rare things: found by running both on the same objects by the thousand.

use super::*;
use serde_json::json;

fn kind() -> Kind {
    Kind::custom(&json!({"type": "object", "properties": {
        "spec": {"type": "object", "properties": {
            "set": {"type": "array", "x-kubernetes-list-type": "set", "items": {"type": "string"}},
            "ports": {"type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["port", "proto"],
                "items": {"type": "object", "properties": {
                    "port": {"type": "integer"}, "proto": {"type": "string", "default": "TCP"}, "name": {"type": "string"}}}},
            "map": {"type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["k"],
                "items": {"type": "object", "properties": {"k": {"type": "string"}, "v": {"type": "integer"}}}},
            "free": {"x-kubernetes-preserve-unknown-fields": true},
        }},
    }}))
}

fn foo(spec: Value) -> Value {
    let mut object = json!({"apiVersion": "example.com/v1", "kind": "Foo", "metadata": {"name": "f"}});
    object["spec"] = spec;
    object
}

#[test]
fn who_applies_what_is_there_owns_it_since_nobody_knows_when() {
    let kind = kind();
    let mut live = Live::created(&kind.at(NOW), foo(json!({"set": ["a"]})), "hand");
    live.apply(&kind.at(LATER), &foo(json!({"set": ["a"]})), "x", Force::No).unwrap();
    let entries: Value = serde_json::from_str(live.managed.as_deref().unwrap()).unwrap();
    assert_eq!((&entries[0]["manager"], entries[0].get("time")), (&json!("x"), None));
    live.apply(&kind.at(LATER), &foo(json!({"set": ["b"]})), "x", Force::No).unwrap();
    let entries: Value = serde_json::from_str(live.managed.as_deref().unwrap()).unwrap();
    assert_eq!(entries[0]["time"], LATER);
}

#[test]
fn an_apply_of_nothing_still_says_who_had_the_rest() {
    let kind = kind();
    let stored = foo(json!({"set": ["a"]}));
    let nothing = json!({"apiVersion": "example.com/v1", "kind": "Foo", "metadata": {"name": "f"}});
    let applied = apply(&kind.at(NOW), None, &stored, &nothing, ("x", Force::No)).unwrap();
    assert!(!applied.same_owners);
    assert!(applied.managed.unwrap().contains("before-first-apply"));
}

#[test]
fn an_item_is_known_by_the_keys_that_it_has() {
    let kind = kind();
    let mut live = Live::none();
    live.apply(&kind.at(NOW), &foo(json!({"ports": [{"name": "a"}, {"port": 1}]})), "x", Force::No).unwrap();
    let ports = [".spec.ports[port=1,proto=\"TCP\"]", ".spec.ports[proto=\"TCP\"]"];
    for port in ports {
        assert!(live.owned_by("x").iter().any(|path| path == port), "{port} {:?}", live.owned_by("x"));
    }
    for (spec, error) in [
        (
            json!({"map": [{"v": 1}, {"k": "a"}, {"k": "a"}]}),
            ".spec.map: element 0: associative list with keys has an element that omits all key fields [\"k\"] (and doesn't have default values for any key fields)",
        ),
        (
            json!({"map": [{"k": "a"}, {"k": "a"}, {"k": "a", "v": []}]}),
            "errors:\n  .spec.map: duplicate entries for key [k=\"a\"]\n  .spec.map: duplicate entries for key [k=\"a\"]\n  .spec.map[k=\"a\"].v: expected numeric (int or float), got []interface {}",
        ),
    ] {
        let refused = live.apply(&kind.at(NOW), &foo(spec), "x", Force::No).unwrap_err().to_string();
        assert_eq!(refused, format!("failed to create typed patch object (/f; example.com/v1, Kind=Foo): {error}"));
    }
}

#[test]
fn an_item_that_was_there_twice_is_both_removed_and_added_when_it_is_there_once() {
    let kind = kind();
    let twice = foo(json!({"set": ["a", "b", "a"]}));
    let mut live = Live::created(&kind.at(NOW), twice.clone(), "hand");
    let refused = live.apply(&kind.at(NOW), &foo(json!({"set": ["a"]})), "x", Force::No).unwrap_err().to_string();
    assert_eq!(refused, "Apply failed with 1 conflict: conflict with \"hand\" using example.com/v1: .spec.set[=\"a\"]");
    live.update(&kind.at(NOW), foo(json!({"set": ["a", "b"]})), "other");
    assert_eq!(live.owned_by("other"), [".spec.set[=\"a\"]"]);
    // Of items that are there twice, each counts as a whole, in lists of the same keys, too.
    let pairs = |v: i64| foo(json!({"map": [{"k": "a", "v": v}, {"k": "a", "v": 9}]}));
    let comparison = Comparison::of(kind.schema(), &pairs(1), &pairs(2));
    assert_eq!(comparison.modified.texts(), [".spec.map[k=\"a\"]"]);
    assert!(comparison.added.is_empty() && comparison.removed.is_empty());
}

#[test]
fn what_stands_behind_an_item_that_is_there_twice_stays() {
    let kind = kind();
    let live = foo(json!({"set": ["a", "a", "b"], "map": [{"k": "a"}, {"k": "b"}, {"k": "a", "v": 1}, {"k": "c"}]}));
    let merged = merge(kind.schema(), &live, &foo(json!({"set": ["x", "a"], "map": [{"k": "a", "v": 2}]})));
    assert_eq!(merged["spec"], json!({"set": ["x", "a", "b"], "map": [{"k": "a", "v": 2}, {"k": "b"}, {"k": "c"}]}));
}

#[test]
fn null_is_of_the_kind_of_what_it_takes_the_place_of() {
    let kind = kind();
    let full = foo(json!({"free": {"a": 1}}));
    let comparison = Comparison::of(kind.schema(), &full, &foo(json!({"free": null})));
    assert_eq!((comparison.removed.texts(), comparison.modified.len()), (vec![".spec.free.a".into()], 0));
    // It takes nothing away where there is something, and all where there is nothing.
    for (live, merged) in [(json!({"a": 1}), json!({"a": 1})), (json!({}), Value::Null), (json!([]), Value::Null)] {
        let made = merge(kind.schema(), &foo(json!({"free": live})), &foo(json!({"free": null})));
        assert_eq!(made["spec"]["free"], merged);
    }
}

#[test]
fn who_owns_a_place_owns_it_when_it_is_emptied() {
    let kind = kind();
    let mut live = Live::none();
    live.apply(&kind.at(NOW), &foo(json!({"free": {"a": 1}})), "x", Force::No).unwrap();
    live.apply(&kind.at(NOW), &foo(json!({"free": {}})), "y", Force::No).unwrap();
    live.apply(&kind.at(NOW), &foo(json!({})), "x", Force::No).unwrap();
    assert_eq!((&live.object["spec"]["free"], live.owned_by("y")), (&Value::Null, vec![".spec.free".into()]));
}

#[test]
fn conflicts_come_in_the_order_of_their_managers_json() {
    let kind = kind();
    let mut live = Live::none();
    let context = |subresource| Context { subresource, ..kind.at(NOW) };
    for (subresource, item) in [("", "a"), ("status", "b")] {
        let config = foo(json!({"free": {item: 1}}));
        live.apply(&context(subresource), &config, "m", Force::No).unwrap();
    }
    let refused = live.apply(&kind.at(NOW), &foo(json!({"free": {"a": 2, "b": 2}})), "x", Force::No).unwrap_err();
    assert_eq!(
        refused.to_string(),
        "Apply failed with 2 conflicts: conflicts with \"m\" with subresource \"status\":\n- .spec.free.b\nconflicts with \"m\":\n- .spec.free.a"
    );
}
