//! Applies: the cases of Kubernetes' documentation of server-side apply, and those of its tests that say more.

use super::*;
use crate::Reason;
use serde_json::json;

fn config_map(data: Value) -> Value {
    let mut object =
        json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c", "namespace": "default"}});
    object["data"] = data;
    object
}

fn deployment(spec: Value) -> Value {
    let mut object =
        json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "d", "namespace": "default"}});
    object["spec"] = spec;
    object
}

fn kinds() -> (Kind, Kind) {
    (Kind::builtin("", "v1", "configmaps"), Kind::builtin("apps", "v1", "deployments"))
}

#[test]
fn an_applied_field_is_owned_and_goes_when_it_is_applied_no_more() {
    let (maps, _) = kinds();
    let mut live = Live::none();
    live.apply(&maps.at(NOW), &config_map(json!({"a": "1", "b": "2"})), "x", Force::No).unwrap();
    assert_eq!(live.owners(), [("x".into(), "Apply".into(), vec![".data.a".into(), ".data.b".into()])]);
    live.apply(&maps.at(LATER), &config_map(json!({"a": "1"})), "x", Force::No).unwrap();
    assert_eq!(live.object["data"], json!({"a": "1"}));
    assert_eq!(live.owned_by("x"), [".data.a"]);
    let before = live.clone();
    live.apply(&maps.at("2030-01-01T00:00:00Z"), &config_map(json!({"a": "1"})), "x", Force::No).unwrap();
    assert_eq!(live, before, "a second apply of the same does nothing");
}

#[test]
fn shared_fields_stay_until_the_last_owner_leaves() {
    let (maps, _) = kinds();
    let mut live = Live::none();
    let (both, none) = (config_map(json!({"a": "1"})), config_map(json!({})));
    live.apply(&maps.at(NOW), &both, "x", Force::No).unwrap();
    live.apply(&maps.at(NOW), &both, "y", Force::No).unwrap();
    assert_eq!((live.owned_by("x"), live.owned_by("y")), (vec![".data.a".into()], vec![".data.a".into()]));
    live.apply(&maps.at(NOW), &none, "x", Force::No).unwrap();
    assert_eq!(live.object["data"], json!({"a": "1"}));
    live.apply(&maps.at(NOW), &none, "y", Force::No).unwrap();
    assert_eq!(live.object.pointer("/data/a"), None);
}

#[test]
fn what_an_updater_owns_is_not_taken_away() {
    let (maps, _) = kinds();
    let mut live = Live::none();
    live.apply(&maps.at(NOW), &config_map(json!({"a": "1"})), "x", Force::No).unwrap();
    let mut next = live.object.clone();
    next["data"]["a"] = "2".into();
    live.update(&maps.at(LATER), next, "hand");
    assert_eq!(live.owners(), [("hand".into(), "Update".into(), vec![".data.a".into()])]);
    live.apply(&maps.at(LATER), &config_map(json!({})), "x", Force::No).unwrap();
    assert_eq!(live.object["data"], json!({"a": "2"}));
}

#[test]
fn conflicts_are_told_in_kubernetes_words() {
    let (_, kind) = kinds();
    let mut live = Live::none();
    let spec = |replicas: i64, image: &str| {
        deployment(json!({"replicas": replicas, "template": {"spec": {"containers": [{"name": "c", "image": image}]}}}))
    };
    live.apply(&kind.at(NOW), &spec(1, "a"), "x", Force::No).unwrap();
    let before = live.clone();
    let error = live.apply(&kind.at(LATER), &spec(2, "a"), "y", Force::No).unwrap_err();
    assert_eq!(error.to_string(), r#"Apply failed with 1 conflict: conflict with "x": .spec.replicas"#);
    let status = error.to_status();
    assert_eq!((status.code, status.reason), (409, Reason::Conflict));
    assert_eq!(
        serde_json::to_value(&status.details).unwrap(),
        json!({"causes": [{"reason": "FieldManagerConflict", "message": "conflict with \"x\"", "field": ".spec.replicas"}]})
    );
    assert_eq!(live, before);
    let mut next = live.object.clone();
    next["spec"]["replicas"] = 7.into();
    live.update(&kind.at(LATER), next, "kubectl");
    let error = live.apply(&kind.at(LATER), &spec(2, "b"), "y", Force::No).unwrap_err();
    assert_eq!(
        error.to_string(),
        "Apply failed with 2 conflicts: conflicts with \"kubectl\" using apps/v1:\n- .spec.replicas\nconflicts with \"x\":\n- .spec.template.spec.containers[name=\"c\"].image"
    );
    live.apply(&kind.at(LATER), &spec(2, "b"), "y", Force::Yes).unwrap();
    assert_eq!(live.object["spec"]["replicas"], 2);
    assert_eq!(live.owned_by("kubectl"), Vec::<String>::new());
    assert!(!live.owned_by("x").contains(&".spec.template.spec.containers[name=\"c\"].image".to_owned()));
}

#[test]
fn an_object_without_owners_gets_one_at_its_first_apply() {
    let (maps, _) = kinds();
    let mut live = Live { object: config_map(json!({"a": "1"})), managed: None };
    let error = live.apply(&maps.at(NOW), &config_map(json!({"a": "2"})), "x", Force::No).unwrap_err();
    assert_eq!(
        error.to_string(),
        r#"Apply failed with 1 conflict: conflict with "before-first-apply" using v1: .data.a"#
    );
    live.apply(&maps.at(NOW), &config_map(json!({"b": "2"})), "x", Force::No).unwrap();
    assert_eq!(live.owned_by("before-first-apply"), [".data", ".data.a"]);
    assert_eq!(live.owned_by("x"), [".data.b"]);
}

#[test]
fn lists_merge_by_key_and_keep_a_sensible_order() {
    let (_, kind) = kinds();
    let names = |live: &Live| -> Vec<String> {
        let list = live.object["spec"]["template"]["spec"]["containers"].as_array().unwrap();
        list.iter().map(|item| item["name"].as_str().unwrap().to_owned()).collect()
    };
    let spec = |names: &[&str]| {
        let list: Vec<Value> = names.iter().map(|name| json!({"name": name, "image": name})).collect();
        deployment(json!({"template": {"spec": {"containers": list}}}))
    };
    let mut live = Live::none();
    live.apply(&kind.at(NOW), &spec(&["a", "b", "c"]), "x", Force::No).unwrap();
    live.apply(&kind.at(NOW), &spec(&["d", "b"]), "y", Force::No).unwrap();
    assert_eq!(names(&live), ["a", "d", "b", "c"]);
    live.apply(&kind.at(NOW), &spec(&["c", "a"]), "x", Force::No).unwrap();
    assert_eq!(names(&live), ["d", "b", "c", "a"]);
    live.apply(&kind.at(NOW), &spec(&["d"]), "y", Force::No).unwrap();
    assert_eq!(names(&live), ["d", "c", "a"], "b had its last owner in y");
    // Another port of the same number and the default protocol is the same port.
    let ports =
        |ports: Value| deployment(json!({"template": {"spec": {"containers": [{"name": "d", "ports": ports}]}}}));
    live.apply(&kind.at(NOW), &ports(json!([{"containerPort": 80}])), "p", Force::No).unwrap();
    live.apply(&kind.at(NOW), &ports(json!([{"containerPort": 80, "protocol": "TCP", "name": "n"}])), "q", Force::No)
        .unwrap();
    let list = live.object.pointer("/spec/template/spec/containers/0/ports").unwrap();
    assert_eq!(list.as_array().unwrap().len(), 1);
}

#[test]
fn sets_merge_and_atomic_lists_change_hands_as_a_whole() {
    let kind = Kind::custom(&json!({"type": "object", "properties": {"spec": {"type": "object", "properties": {
        "set": {"type": "array", "x-kubernetes-list-type": "set", "items": {"type": "string"}},
        "list": {"type": "array", "items": {"type": "string"}},
        "atomic": {"type": "object", "x-kubernetes-map-type": "atomic", "properties": {"a": {"type": "string"}, "b": {"type": "string"}}},
        "map": {"type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["k"],
                "items": {"type": "object", "properties": {"k": {"type": "string", "default": "none"}, "v": {"type": "integer"}}}},
    }}}}));
    let spec =
        |spec: Value| json!({"apiVersion": "example.com/v1", "kind": "Foo", "metadata": {"name": "f"}, "spec": spec});
    let mut live = Live::none();
    live.apply(
        &kind.at(NOW),
        &spec(json!({"set": ["a", "b"], "list": ["a"], "atomic": {"a": "1"}, "map": [{"v": 1}]})),
        "x",
        Force::No,
    )
    .unwrap();
    live.apply(&kind.at(NOW), &spec(json!({"set": ["c", "b"], "map": [{"k": "none", "v": 1}]})), "y", Force::No)
        .unwrap();
    assert_eq!(live.object["spec"]["set"], json!(["a", "c", "b"]));
    assert_eq!(live.object["spec"]["map"].as_array().unwrap().len(), 1);
    let error =
        live.apply(&kind.at(NOW), &spec(json!({"list": ["b"], "atomic": {"b": "1"}})), "z", Force::No).unwrap_err();
    assert_eq!(error.to_string(), "Apply failed with 2 conflicts: conflicts with \"x\":\n- .spec.atomic\n- .spec.list");
    live.apply(&kind.at(NOW), &spec(json!({"list": ["b"], "atomic": {"b": "1"}})), "z", Force::Yes).unwrap();
    assert_eq!((&live.object["spec"]["list"], &live.object["spec"]["atomic"]), (&json!(["b"]), &json!({"b": "1"})));
    live.apply(&kind.at(NOW), &spec(json!({})), "x", Force::No).unwrap();
    assert_eq!(live.object["spec"]["set"], json!(["c", "b"]));
    let error = live.apply(&kind.at(NOW), &spec(json!({"set": ["a", "a"]})), "x", Force::No).unwrap_err();
    assert_eq!(
        error.to_string(),
        "failed to create typed patch object (/f; example.com/v1, Kind=Foo): .spec.set: duplicate entries for key [=\"a\"]"
    );
}

#[test]
fn a_configuration_must_be_an_object_of_its_kind() {
    let (_, kind) = kinds();
    let mut live = Live::none();
    for (spec, error) in [
        (json!({"foo": 1}), ".spec.foo: field not declared in schema"),
        (json!({"replicas": "3"}), ".spec.replicas: expected numeric (int or float), got string"),
        (json!({"paused": 1}), ".spec.paused: expected boolean, got &{1}"),
        (json!({"paused": [null]}), ".spec.paused: expected boolean, got &{[<nil>]}"),
        (
            json!({"template": {"spec": {"containers": [{"name": "c", "env": [{"name": "E", "value": 8080}]}]}}}),
            ".spec.template.spec.containers[name=\"c\"].env[name=\"E\"].value: expected string, got &value.valueUnstructured{Value:8080}",
        ),
        (json!([1]), ".spec: expected map, got &{[1]}"),
        (
            json!({"template": {"spec": {"containers": {"a": "b"}}}}),
            ".spec.template.spec.containers: expected list, got &{map[a:b]}",
        ),
    ] {
        let status = live.apply(&kind.at(NOW), &deployment(spec), "x", Force::No).unwrap_err().to_status();
        assert_eq!(
            status.message,
            format!("failed to create typed patch object (default/d; apps/v1, Kind=Deployment): {error}")
        );
        assert_eq!((status.code, status.to_value().get("reason")), (500, None));
    }
    // The first unknown field ends the search among its neighbours.
    let two =
        live.apply(&kind.at(NOW), &deployment(json!({"a": 1, "b": 2, "paused": ""})), "x", Force::No).unwrap_err();
    assert!(two.to_string().ends_with(": .spec.a: field not declared in schema"), "{two}");
}

#[test]
fn each_subresource_has_its_own_entry() {
    let kind = Kind::builtin("", "v1", "pods");
    let mut live = Live::none();
    let pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"},
        "spec": {"containers": [{"name": "c", "image": "x"}]}, "status": {"phase": "Pending"}});
    live.apply(&kind.at(NOW), &pod, "m", Force::No).unwrap();
    assert!(!live.owned_by("m").iter().any(|path| path.starts_with(".status")));
    let status = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"},
        "status": {"conditions": [{"type": "example.com/a", "status": "True"}]}});
    live.apply(&kind.status(NOW), &status, "m", Force::No).unwrap();
    assert_eq!(live.owners().len(), 2);
    assert_eq!(live.object["spec"]["containers"][0]["image"], "x");
    let mut next = live.object.clone();
    next["status"]["conditions"][0]["status"] = "False".into();
    live.update(&kind.status(NOW), next, "other");
    let error = live.apply(&kind.status(NOW), &status, "m", Force::No).unwrap_err();
    assert_eq!(
        error.to_string(),
        "Apply failed with 1 conflict: conflict with \"other\" with subresource \"status\" using v1: .status.conditions[type=\"example.com/a\"].status"
    );
}

#[test]
fn kubectl_takes_over_from_itself() {
    let (maps, _) = kinds();
    let applied = |value: &str| {
        let mut object = config_map(json!({"a": value}));
        let last = object.to_string() + "\n";
        object["metadata"]["annotations"] = json!({"kubectl.kubernetes.io/last-applied-configuration": last});
        object
    };
    let start = || Live::created(&maps.at(NOW), applied("1"), "kubectl-client-side-apply");
    let next = config_map(json!({"a": "2"}));
    let mut live = start();
    assert!(live.apply(&maps.at(LATER), &next, "other", Force::No).is_err());
    live.apply(&maps.at(LATER), &next, "kubectl", Force::No).unwrap();
    assert_eq!(live.object["data"]["a"], "2");
    assert_eq!(
        live.object["metadata"]["annotations"]["kubectl.kubernetes.io/last-applied-configuration"],
        next.to_string() + "\n",
        "client-side apply could go on"
    );
    // Somebody has changed the field since: a conflict like any other.
    let mut live = start();
    let mut changed = live.object.clone();
    changed["data"]["a"] = "3".into();
    live.update(&maps.at(LATER), changed, "hand");
    assert!(live.apply(&maps.at(LATER), &next, "kubectl", Force::No).is_err());
}

#[test]
fn null_owns_a_scalar_and_clears_it() {
    let (_, kind) = kinds();
    let mut live = Live::none();
    live.apply(&kind.at(NOW), &deployment(json!({"replicas": 3})), "x", Force::No).unwrap();
    live.apply(&kind.at(NOW), &deployment(json!({"replicas": null, "template": null})), "x", Force::No).unwrap();
    assert_eq!(live.object["spec"]["replicas"], Value::Null);
    assert_eq!(live.owned_by("x"), [".spec.replicas", ".spec.template"]);
}

#[test]
fn the_replicas_of_a_scale_change_hands() {
    let (_, kind) = kinds();
    let mut live = Live::none();
    live.apply(&kind.at(NOW), &deployment(json!({"replicas": 3, "paused": true})), "x", Force::No).unwrap();
    let context = Context { subresource: "scale", resets: Resets::Nothing, ..kind.at(LATER) };
    let path = ".spec.replicas";
    let same = Replicas { path, before: 3, after: 3 };
    assert_eq!(updated_scale(&context, live.managed.as_deref(), same, "hpa"), Updated::Same);
    let change = Replicas { path, before: 3, after: 4 };
    let error = applied_scale(&context, live.managed.as_deref(), change, ("y", Force::No)).unwrap_err();
    assert_eq!(error.to_string(), r#"Apply failed with 1 conflict: conflict with "x": .spec.replicas"#);
    let Updated::New(text) = updated_scale(&context, live.managed.as_deref(), change, "hpa") else {
        panic!("new owners")
    };
    live.managed = text;
    assert_eq!(live.owned_by("x"), [".spec.paused"]);
    assert_eq!(live.owned_by("hpa"), [".spec.replicas"]);
    let error = applied_scale(&context, live.managed.as_deref(), change, ("y", Force::No)).unwrap_err();
    assert_eq!(
        error.to_string(),
        r#"Apply failed with 1 conflict: conflict with "hpa" with subresource "scale" using autoscaling/v1: .spec.replicas"#
    );
    live.object["spec"]["replicas"] = 4.into();
    let error =
        live.apply(&kind.at(LATER), &deployment(json!({"replicas": 3, "paused": true})), "x", Force::No).unwrap_err();
    assert_eq!(
        error.to_string(),
        r#"Apply failed with 1 conflict: conflict with "hpa" with subresource "scale" using apps/v1: .spec.replicas"#
    );
    let Updated::New(text) = applied_scale(&context, live.managed.as_deref(), change, ("y", Force::Yes)).unwrap()
    else {
        panic!("new owners")
    };
    live.managed = text;
    assert_eq!((live.owned_by("hpa"), live.owned_by("y")), (vec![], vec![".spec.replicas".into()]));
}

#[test]
fn owners_of_parts_own_the_whole_once_it_is_atomic() {
    let schema = |extra: &str| {
        let mut list = json!({"type": "array", "items": {"type": "object", "properties": {"k": {"type": "string"}, "v": {"type": "integer"}}}});
        list["x-kubernetes-list-type"] = extra.into();
        if extra == "map" {
            list["x-kubernetes-list-map-keys"] = json!(["k"]);
        }
        Kind::custom(&json!({"type": "object", "properties": {"list": list}}))
    };
    let object = |v: i64| json!({"apiVersion": "example.com/v1", "kind": "Foo", "metadata": {"name": "f"}, "list": [{"k": "a", "v": v}]});
    let (parts, whole) = (schema("map"), schema("atomic"));
    let mut live = Live::none();
    live.apply(&parts.at(NOW), &object(1), "x", Force::No).unwrap();
    let error = live.apply(&whole.at(NOW), &object(2), "y", Force::No).unwrap_err();
    assert_eq!(error.to_string(), r#"Apply failed with 1 conflict: conflict with "x": .list"#);
}

#[test]
fn a_quantity_in_another_spelling_is_another_value() {
    let (_, kind) = kinds();
    let limits = |cpu: Value| {
        let container = json!({"name": "c", "resources": {"limits": {"cpu": cpu}}});
        deployment(json!({"template": {"spec": {"containers": [container]}}}))
    };
    let mut live = Live::none();
    live.apply(&kind.at(NOW), &limits("1".into()), "x", Force::No).unwrap();
    let place = ".spec.template.spec.containers[name=\"c\"].resources.limits.cpu";
    for other in [json!("1000m"), json!(1)] {
        let error = live.apply(&kind.at(NOW), &limits(other), "y", Force::No).unwrap_err();
        assert_eq!(error.to_string(), format!("Apply failed with 1 conflict: conflict with \"x\": {place}"));
    }
    live.apply(&kind.at(NOW), &limits("1".into()), "y", Force::No).unwrap();
    assert_eq!(live.owners().len(), 2);
}
