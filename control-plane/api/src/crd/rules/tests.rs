//! Rules in CRDs: what is said of them when the CRD is written, and of the objects that they judge.

use crate::crd::{schema_rules, value};
use crate::field::Path;
use crate::schema::Schema;
use serde_json::{Value, json};

fn texts(errors: &[crate::field::Error]) -> Vec<String> {
    errors.iter().map(ToString::to_string).collect()
}

/// What is wrong with a schema whose `spec` is `node`; the path of `spec` reads `spec`.
fn refused(node: &Value) -> Vec<String> {
    let schema = json!({"type": "object", "properties": {"spec": node}});
    let found = texts(&schema_rules::check(&schema, false, &Path::new("schema")));
    found.into_iter().map(|text| text.replace("schema.properties[spec]", "spec")).collect()
}

fn object(rules: &Value, properties: &Value) -> Value {
    json!({"type": "object", "x-kubernetes-validations": rules, "properties": properties})
}

/// What the rules of `spec` say of an object, and of a change to it.
fn judged(node: &Value, new: &Value, old: Option<&Value>) -> Vec<String> {
    let schema = Schema::of_crd(&json!({"type": "object", "properties": {"spec": node}}));
    let whole = |spec: &Value| json!({"spec": spec});
    texts(&value::validate(&schema, &whole(new), old.map(whole).as_ref()))
}

#[test]
fn rules_are_compiled_when_the_crd_is_written() {
    let fields = json!({"n": {"type": "integer"}, "s": {"type": "string", "maxLength": 10}});
    for rule in [
        json!({"rule": "self.n > 0"}),
        json!({"rule": "self.n >= oldSelf.n", "message": "must not shrink", "reason": "FieldValueForbidden", "fieldPath": ".n"}),
        json!({"rule": "oldSelf.hasValue() || self.n == 0", "optionalOldSelf": true}),
        json!({"rule": "self.n > 0", "messageExpression": "'not %d'.format([self.n])"}),
    ] {
        assert_eq!(refused(&object(&json!([rule]), &fields)), Vec::<String>::new(), "{rule}");
    }
    let go = |rule: &str, rest: &str| format!("{{\"Rule\":\"{}\",{rest}}}", rule.replace('>', "\\u003e"));
    let plain = r#""Message":"","MessageExpression":"","Reason":null,"FieldPath":"","OptionalOldSelf":null"#;
    for (rule, wanted) in [
        (
            json!({"rule": "self.nn > 0"}),
            format!(
                "spec.x-kubernetes-validations[0].rule: Invalid value: {}: compilation failed: ERROR: <input>:1:5: undefined field 'nn'\n | self.nn > 0\n | ....^",
                go("self.nn > 0", plain)
            ),
        ),
        (
            json!({"rule": "self.n"}),
            format!(
                "spec.x-kubernetes-validations[0].rule: Invalid value: {}: cel expression must evaluate to a bool",
                go("self.n", plain)
            ),
        ),
        (
            json!({"rule": "self.n > 0", "messageExpression": "self.n"}),
            format!(
                "spec.x-kubernetes-validations[0].messageExpression: Invalid value: {}: messageExpression must evaluate to a string",
                go("self.n > 0", &plain.replace(r#""MessageExpression":"""#, r#""MessageExpression":"self.n""#))
            ),
        ),
        (
            json!({"rule": "self.n > 0", "fieldPath": ".nope"}),
            "spec.x-kubernetes-validations[0].fieldPath: Invalid value: \".nope\": must be a valid path".into(),
        ),
        (
            json!({"rule": "self.n > 0", "optionalOldSelf": true}),
            "spec.x-kubernetes-validations[0].optionalOldSelf: Invalid value: true: may not be set if oldSelf is not used in rule".into(),
        ),
    ] {
        assert_eq!(refused(&object(&json!([rule]), &fields)), [wanted], "{rule}");
    }
    let defaulted = json!({"type": "object", "properties": {"n": {"type": "integer", "default": 0,
        "x-kubernetes-validations": [{"rule": "self > 0"}]}}});
    assert_eq!(refused(&defaulted), ["spec.properties[n].default: Invalid value: 0: failed rule: self > 0"]);
    let untyped = json!({"x-kubernetes-preserve-unknown-fields": true, "x-kubernetes-validations": [{"rule": "true"}]});
    assert!(refused(&untyped)[0].contains("unable to convert structural schema to CEL declarations"));
}

#[test]
fn old_values_are_only_compared_where_they_can_be_found() {
    let item = json!({"type": "object", "properties": {"k": {"type": "string"}}, "required": ["k"],
        "x-kubernetes-validations": [{"rule": "self.k == oldSelf.k"}]});
    let list = |extra: Value| {
        let mut list = json!({"type": "array", "maxItems": 10, "items": item});
        list.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
        refused(&list)
    };
    assert_eq!(
        list(json!({"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["k"]})),
        Vec::<String>::new()
    );
    assert_eq!(
        list(json!({})),
        [
            "spec.items.x-kubernetes-validations[0].rule: Invalid value: \"self.k == oldSelf.k\": oldSelf cannot be used on the uncorrelatable portion of the schema within spec"
        ]
    );
}

#[test]
fn expensive_rules_are_refused() {
    let tags = json!({"type": "array", "items": {"type": "string"},
        "x-kubernetes-validations": [{"rule": "self.all(x, x.contains('gpu'))"}]});
    let hint = "(try simplifying the rule, or adding maxItems, maxProperties, and maxLength where arrays, maps, and strings are declared)";
    assert_eq!(
        refused(&tags),
        [
            format!("spec.x-kubernetes-validations[0].rule: Forbidden: estimated rule cost exceeds budget by factor of more than 100x {hint}"),
            "spec.x-kubernetes-validations[0].rule: Forbidden: contributed to estimated rule cost total exceeding cost limit for entire OpenAPIv3 schema".into(),
            format!("schema: Forbidden: x-kubernetes-validations estimated rule cost total for entire OpenAPIv3 schema exceeds budget by factor of more than 100x {hint}"),
        ]
    );
    // The largest `maxItems` that kube-apiserver accepts, and one more, by `maxLength`.
    for (length, most) in [(16, 909_090), (63, 333_333), (253, 94_339), (1024, 24_154)] {
        let with = |items: u64| {
            refused(&json!({"type": "array", "maxItems": items, "items": {"type": "string", "maxLength": length},
                "x-kubernetes-validations": [{"rule": "self.all(x, x.contains('gpu'))"}]}))
        };
        assert_eq!(with(most), Vec::<String>::new(), "{length}");
        assert_eq!(with(most + 1).len(), 1, "{length}");
    }
    // A cheap rule on what may occur often.
    let nested = |items: Option<u64>| {
        let mut list = json!({"type": "array", "items": {"type": "object", "properties": {"a": {"type": "array",
            "items": {"type": "string"}, "x-kubernetes-validations": [{"rule": "self.all(x, size(x) < 3)"}]}}}});
        if let Some(items) = items {
            list["maxItems"] = items.into();
            list["items"]["properties"]["a"]["maxItems"] = 10.into();
            list["items"]["properties"]["a"]["items"]["maxLength"] = 10.into();
        }
        refused(&list)
    };
    assert_eq!(nested(Some(100)), Vec::<String>::new());
    assert!(nested(None)[0].contains("estimated rule cost exceeds budget"), "{:?}", nested(None));
    // The same large part, seen from many nodes with rules.
    let wide: serde_json::Map<String, Value> =
        (0..20_000).map(|n| (format!("p{n}"), json!({"type": "integer"}))).collect();
    let mut deep = json!({"type": "object", "properties": wide});
    for _ in 0..20 {
        deep = object(&json!([{"rule": "true"}]), &json!({"x": deep}));
    }
    assert!(refused(&deep)[0].contains("validation rules stand on too large parts"), "{:?}", refused(&deep).first());
    let many: Vec<Value> = (0..5_000).map(|_| json!({"rule": "true"})).collect();
    let found = refused(&object(&json!(many), &json!({"n": {"type": "integer"}})));
    assert!(found[0].contains("too many validation rules"), "{found:?}");
}

#[test]
fn objects_are_judged_in_kubernetes_words() {
    let node = object(
        &json!([
            {"rule": "self.min <= self.max"},
            {"rule": "self.max < 100", "message": "too large"},
            {"rule": "self.max != 50", "messageExpression": "'must not be %d'.format([self.max])", "fieldPath": ".max"},
            {"rule": "self.max != 51", "reason": "FieldValueForbidden", "message": "no", "fieldPath": ".max"},
            {"rule": "self.max != 52", "reason": "FieldValueRequired", "fieldPath": ".max"},
            {"rule": "self.max != 53", "reason": "FieldValueDuplicate", "fieldPath": ".max"},
            {"rule": "self.max != 54", "messageExpression": "string(1 / (self.max - 54))", "message": "the plain one"},
        ]),
        &json!({
            "min": {"type": "integer"}, "max": {"type": "integer", "x-kubernetes-validations": [{"rule": "self % 2 == 0 || self > 50"}]},
            "names": {"type": "array", "items": {"type": "string", "x-kubernetes-validations": [{"rule": "self.startsWith('a')"}]}},
            "map": {"type": "object", "additionalProperties": {"type": "integer", "x-kubernetes-validations": [{"rule": "self > 0"}]}},
            "free": {"type": "object", "x-kubernetes-preserve-unknown-fields": true},
        }),
    );
    for (max, wanted) in [
        (2, vec![]),
        (0, vec!["spec: Invalid value: failed rule: self.min <= self.max"]),
        (200, vec!["spec: Invalid value: too large"]),
        (50, vec!["spec.max: Invalid value: must not be 50"]),
        (51, vec!["spec.max: Forbidden: no"]),
        (52, vec!["spec.max: Required value: failed rule: self.max != 52"]),
        (53, vec!["spec.max: Duplicate value"]),
        (54, vec!["spec: Invalid value: the plain one"]),
        (3, vec!["spec.max: Invalid value: 3: failed rule: self % 2 == 0 || self > 50"]),
    ] {
        assert_eq!(judged(&node, &json!({"min": 1, "max": max}), None), wanted, "{max}");
    }
    assert_eq!(
        judged(&node, &json!({"min": 1, "max": 2, "names": ["ab", "b"], "map": {"x": 0}}), None),
        [
            "spec.map[x]: Invalid value: 0: failed rule: self > 0",
            "spec.names[1]: Invalid value: \"b\": failed rule: self.startsWith('a')",
        ]
    );
    assert_eq!(
        judged(&node, &json!({"min": 1}), None)[0],
        "spec: Invalid value: \"object\": no such key: max evaluating rule: self.min <= self.max"
    );
    // What is of the wrong type is not judged by rules.
    assert_eq!(judged(&node, &json!({"min": "x", "max": 2}), None).len(), 2);
}

#[test]
fn transitions_are_judged_and_what_was_wrong_is_let_be() {
    let node = object(
        &json!([{"rule": "self.size >= oldSelf.size", "message": "must not shrink"}, {"rule": "self.size < 10"}]),
        &json!({
            "size": {"type": "integer"}, "other": {"type": "string"},
            "fixed": {"type": "string", "x-kubernetes-validations": [{"rule": "self == oldSelf", "message": "immutable"}]},
            "once": {"type": "integer", "x-kubernetes-validations": [
                {"rule": "oldSelf.hasValue() || self == 1", "optionalOldSelf": true, "message": "starts at 1"}]},
            "keyed": {"type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["k"],
                "items": {"type": "object", "required": ["k"], "properties": {"k": {"type": "string"}, "v": {"type": "integer"}},
                    "x-kubernetes-validations": [{"rule": "self.v >= oldSelf.v", "message": "only up"}]}},
            "loose": {"type": "array", "items": {"type": "integer", "x-kubernetes-validations": [{"rule": "self > 0"}]}},
        }),
    );
    let change = |old: Value, new: Value| judged(&node, &new, Some(&old));
    assert_eq!(judged(&node, &json!({"size": 1, "fixed": "a"}), None), Vec::<String>::new());
    assert_eq!(change(json!({"size": 2}), json!({"size": 1})), ["spec: Invalid value: must not shrink"]);
    assert_eq!(
        change(json!({"size": 1, "fixed": "a"}), json!({"size": 1, "fixed": "b"})),
        ["spec.fixed: Invalid value: \"b\": immutable"]
    );
    // Set for the first time, and taken away: nothing to compare.
    assert_eq!(change(json!({"size": 1}), json!({"size": 1, "fixed": "b"})), Vec::<String>::new());
    assert_eq!(change(json!({"size": 1, "fixed": "a"}), json!({"size": 1})), Vec::<String>::new());
    assert_eq!(judged(&node, &json!({"size": 1, "once": 2}), None), ["spec.once: Invalid value: 2: starts at 1"]);
    assert_eq!(change(json!({"size": 1, "once": 1}), json!({"size": 1, "once": 2})), Vec::<String>::new());
    // Items are found by their keys.
    assert_eq!(
        change(
            json!({"size": 1, "keyed": [{"k": "a", "v": 1}, {"k": "b", "v": 5}]}),
            json!({"size": 1, "keyed": [{"k": "b", "v": 4}, {"k": "a", "v": 2}, {"k": "c", "v": 0}]})
        ),
        ["spec.keyed[0]: Invalid value: only up"]
    );
    // Too large before, and still: let be where nothing around it changed.
    assert_eq!(change(json!({"size": 11}), json!({"size": 11})), Vec::<String>::new());
    assert_eq!(
        change(json!({"size": 11}), json!({"size": 11, "other": "x"})),
        ["spec: Invalid value: failed rule: self.size < 10"]
    );
    // A list without keys counts as a whole.
    let old = json!({"size": 1, "loose": [0]});
    assert_eq!(change(old.clone(), json!({"size": 1, "loose": [0], "other": "x"})), Vec::<String>::new());
    assert_eq!(
        change(old, json!({"size": 1, "loose": [0, 1]})),
        ["spec.loose[0]: Invalid value: 0: failed rule: self > 0"]
    );
}

#[test]
fn the_root_sees_the_name_and_nothing_else_of_the_metadata() {
    let schema = json!({"type": "object", "x-kubernetes-validations": [
        {"rule": "self.metadata.name.startsWith('a') && self.kind == 'K'", "message": "the name"}],
        "properties": {"spec": {"type": "object"}}});
    assert_eq!(texts(&schema_rules::check(&schema, false, &Path::new("s"))), Vec::<String>::new());
    let built = Schema::of_crd(&schema);
    let judge = |name: &str| {
        texts(&value::validate(&built, &json!({"kind": "K", "apiVersion": "g/v", "metadata": {"name": name}}), None))
    };
    assert_eq!(judge("ab"), Vec::<String>::new());
    assert_eq!(judge("b"), ["<nil>: Invalid value: the name"]);
    let labels = json!({"type": "object", "x-kubernetes-validations": [{"rule": "self.metadata.labels.size() > 0"}]});
    assert!(texts(&schema_rules::check(&labels, false, &Path::new("s")))[0].contains("undefined field 'labels'"));
}

#[test]
fn an_object_has_one_budget() {
    // Each within its own limit, all together beyond the object's.
    let rules: Vec<Value> =
        (0..40).map(|_| json!({"rule": "self.list.all(a, self.list.all(b, a != b + 'x'))"})).collect();
    let node = object(
        &json!(rules),
        &json!({"list": {"type": "array", "maxItems": 400, "items": {"type": "string", "maxLength": 2}}}),
    );
    let list: Vec<String> = (0..400).map(|n| format!("{}", n % 10)).collect();
    let found = judged(&node, &json!({"list": list}), None);
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(found[0].contains("cost"), "{found:?}");
}
