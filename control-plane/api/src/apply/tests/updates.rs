//! Owners after creates, updates and status writes.

use super::*;
use serde_json::json;

fn deployment(replicas: i64) -> Value {
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": {"name": "web", "namespace": "default", "labels": {"app": "web"}},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": {"app": "web"}},
            "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": "25%"}},
            "template": {
                "metadata": {"labels": {"app": "web"}},
                "spec": {"containers": [{"name": "c", "image": "nginx", "ports": [{"containerPort": 80, "protocol": "TCP"}], "resources": {}}]},
            },
        },
        "status": {},
    })
}

#[test]
fn a_create_owns_what_go_would_own() {
    let kind = Kind::builtin("apps", "v1", "deployments");
    let live = Live::created(&kind.at(NOW), deployment(3), "kubectl-create");
    let text = live.managed.as_deref().unwrap();
    assert_eq!(
        text,
        concat!(
            r#"[{"apiVersion":"apps/v1","fieldsType":"FieldsV1","fieldsV1":{"f:metadata":{"f:labels":{".":{},"f:app":{}}},"#,
            r#""f:spec":{"f:replicas":{},"f:selector":{},"f:strategy":{"f:rollingUpdate":{".":{},"f:maxSurge":{}},"f:type":{}},"#,
            r#""f:template":{"f:metadata":{"f:labels":{".":{},"f:app":{}}},"f:spec":{"f:containers":{"k:{\"name\":\"c\"}":"#,
            r#"{".":{},"f:image":{},"f:name":{},"f:ports":{".":{},"k:{\"containerPort\":80,\"protocol\":\"TCP\"}":"#,
            r#"{".":{},"f:containerPort":{},"f:protocol":{}}},"f:resources":{}}}}}}},"#,
            r#""manager":"kubectl-create","operation":"Update","time":"2026-01-02T03:04:05Z"}]"#
        )
    );
}

#[test]
fn a_custom_object_owns_its_inner_objects_too() {
    let kind = Kind::custom(&json!({"type": "object", "properties": {
        "spec": {"type": "object", "properties": {
            "a": {"type": "integer"},
            "free": {"type": "object", "x-kubernetes-preserve-unknown-fields": true},
            "list": {"type": "array", "items": {"type": "string"}},
            "set": {"type": "array", "x-kubernetes-list-type": "set", "items": {"type": "string"}},
        }},
    }}));
    let object = json!({
        "apiVersion": "example.com/v1", "kind": "Foo", "metadata": {"name": "f"},
        "spec": {"a": 1, "free": {"x": {"y": [1]}}, "list": ["a"], "set": ["b", "a"]},
    });
    let live = Live::created(&kind.at(NOW), object, "m");
    assert_eq!(
        live.owned_by("m"),
        [
            ".spec",
            ".spec.a",
            ".spec.free",
            ".spec.list",
            ".spec.set",
            ".spec.free.x",
            ".spec.free.x.y",
            ".spec.set[=\"a\"]",
            ".spec.set[=\"b\"]"
        ]
    );
}

#[test]
fn what_an_update_changes_becomes_its_own() {
    let kind = Kind::builtin("apps", "v1", "deployments");
    let mut live = Live::created(&kind.at(NOW), deployment(3), "a");
    let mut next = live.object.clone();
    next["spec"]["replicas"] = 5.into();
    next["metadata"]["labels"]["new"] = "x".into();
    next["spec"]["strategy"].as_object_mut().unwrap().remove("rollingUpdate");
    next["status"]["replicas"] = 5.into();
    live.update(&kind.at(LATER), next, "b");
    assert_eq!(live.owned_by("b"), [".metadata.labels.new", ".spec.replicas"]);
    let a = live.owned_by("a");
    assert!(!a.iter().any(|path| path == ".spec.replicas" || path.contains("rollingUpdate")), "{a:?}");
    assert!(a.contains(&".spec.strategy.type".to_owned()));
    let text = live.managed.clone().unwrap();
    assert!(text.contains(LATER) && text.contains(NOW));

    // Nothing changed: not a letter.
    let same = live.object.clone();
    live.update(&kind.at("2027-01-01T00:00:00Z"), same, "b");
    assert_eq!(live.managed.as_deref(), Some(&*text));
}

#[test]
fn a_status_write_owns_the_status_alone_and_then_only_its_time_moves() {
    let kind = Kind::builtin("", "v1", "pods");
    let pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"},
        "spec": {"containers": [{"name": "c", "image": "x"}]}, "status": {"phase": "Pending"}});
    let mut live = Live::created(&kind.at(NOW), pod, "kubectl");
    assert!(!live.owned_by("kubectl").iter().any(|path| path.starts_with(".status")));
    let mut next = live.object.clone();
    next["status"] =
        json!({"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}], "podIPs": [{"ip": "1.2.3.4"}]});
    next["spec"]["nodeName"] = "ignored".into();
    live.update(&kind.status(NOW), next, "agent");
    let owned = [
        ".status.conditions",
        ".status.phase",
        ".status.podIPs",
        ".status.conditions[type=\"Ready\"]",
        ".status.conditions[type=\"Ready\"].status",
        ".status.conditions[type=\"Ready\"].type",
        ".status.podIPs[ip=\"1.2.3.4\"]",
        ".status.podIPs[ip=\"1.2.3.4\"].ip",
    ];
    assert_eq!(live.owned_by("agent"), owned);
    let before = live.managed.clone().unwrap();
    let mut next = live.object.clone();
    next["status"]["conditions"][0]["status"] = "False".into();
    live.update(&kind.status(LATER), next, "agent");
    assert_eq!(live.owned_by("agent"), owned);
    let agent = before.replace(
        &format!(r#""subresource":"status","time":"{NOW}""#),
        &format!(r#""subresource":"status","time":"{LATER}""#),
    );
    let entries = |text: &str| -> Vec<Value> { serde_json::from_str(text).unwrap() };
    let (mut expected, after) = (entries(&agent), live.managed.unwrap());
    assert_ne!(expected, entries(&before));
    expected.reverse();
    assert_eq!(entries(&after), expected, "what was written last comes last");
}

#[test]
fn the_oldest_updaters_are_put_together() {
    let kind = Kind::builtin("", "v1", "configmaps");
    let mut live = Live::created(
        &kind.at(NOW),
        json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c"}}),
        "m00",
    );
    assert_eq!(live.managed, None, "an object of nothing has no owners");
    live = Live::created(&kind.at(NOW), json!({"metadata": {"name": "c"}, "data": {"k00": "v"}}), "m00");
    for n in 1..14 {
        let now = format!("2026-01-02T03:05:{n:02}Z");
        let mut next = live.object.clone();
        next["data"][format!("k{n:02}")] = "v".into();
        live.update(&kind.at(&now), next, &format!("m{n:02}"));
    }
    let owners = live.owners();
    assert_eq!(owners.len(), MAX_UPDATE_MANAGERS);
    assert_eq!(
        live.owned_by("ancient-changes"),
        [".data", ".data.k00", ".data.k01", ".data.k02", ".data.k03", ".data.k04"].map(String::from)
    );
    assert_eq!(owners.last().unwrap().0, "m13");
}

#[test]
fn owners_can_be_reset_given_and_are_not_invented() {
    let kind = Kind::builtin("", "v1", "configmaps");
    let (old, new) = (json!({"data": {"a": "1"}}), json!({"data": {"a": "2"}}));
    let context = kind.at(NOW);
    assert_eq!(updated(&context, Before::Stored(None), &old, &new, "m"), Updated::Same);
    assert_eq!(updated(&context, Before::Reset, &old, &new, "m"), Updated::New(None));
    let given = r#"[{"manager":"x","operation":"Apply","apiVersion":"v1","fieldsType":"FieldsV1","fieldsV1":{"f:data":{"f:a":{},"f:b":{}}}},
                    {"manager":"gone","operation":"Update","apiVersion":"v1alpha1","fieldsType":"FieldsV1","fieldsV1":{"f:data":{"f:a":{}}}}]"#;
    let Updated::New(Some(text)) = updated(&context, Before::Given(Managed::parse(given).unwrap()), &old, &new, "")
    else {
        panic!("other owners");
    };
    let live = Live { object: new, managed: Some(text) };
    assert_eq!(
        live.owners(),
        [
            ("x".into(), "Apply".into(), vec![".data.b".into()]),
            ("unknown".into(), "Update".into(), vec![".data.a".into()])
        ]
    );
    for bad in [
        r#"[{"manager":"x","operation":"Other","apiVersion":"v1","fieldsType":"FieldsV1","fieldsV1":{}}]"#,
        r#"[{"manager":"x","operation":"Apply","fieldsType":"FieldsV1","fieldsV1":{}}]"#,
        r#"[{"manager":"x","operation":"Apply","apiVersion":"v1","fieldsV1":{}}]"#,
        r#"[{"manager":"x","operation":"Apply","apiVersion":"v1","fieldsType":"FieldsV2","fieldsV1":{}}]"#,
        r#"[{"manager":"x","operation":"Apply","apiVersion":"v1","fieldsType":"FieldsV1","fieldsV1":{"a":{}}}]"#,
    ] {
        assert!(Managed::parse(bad).is_err(), "{bad}");
    }
}
