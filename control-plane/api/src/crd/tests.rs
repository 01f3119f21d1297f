//! What CRDs may say, and what their schemas make of objects.

use super::{Definition, acceptance, rows, settle, spec, value};
use crate::kinds::Kinds;
use crate::schema::{Schema, apply_defaults, check, prune};
use serde_json::{Value, json};
use std::borrow::Borrow;
use std::sync::Arc;

fn crd(schema: impl Borrow<Value>) -> Value {
    let schema = schema.borrow();
    json!({"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": "tabs.example.com", "uid": "u", "generation": 1},
        "spec": {"group": "example.com", "scope": "Namespaced", "conversion": {"strategy": "None"},
            "names": {"plural": "tabs", "singular": "tab", "kind": "Tab", "listKind": "TabList"},
            "versions": [{"name": "v1", "served": true, "storage": true, "schema": {"openAPIV3Schema": schema}}]},
        "status": {"storedVersions": ["v1"]}})
}

fn object(properties: impl Borrow<Value>) -> Value {
    let properties = properties.borrow();
    json!({"type": "object", "properties": {"spec": {"type": "object", "properties": properties}}})
}

fn texts(errors: &[crate::field::Error]) -> Vec<String> {
    errors.iter().map(ToString::to_string).collect()
}

/// The complaints about a CRD with one property, without what all paths begin with.
fn refused(property: impl Borrow<Value>) -> Vec<String> {
    let property = property.borrow();
    let errors = spec::validate(&crd(object(json!({"p": property}))), None);
    let prefix = "spec.validation.openAPIV3Schema.properties[spec].properties[p]";
    texts(&errors).into_iter().map(|text| text.replace(prefix, "p")).collect()
}

#[test]
fn good_crds_pass() {
    let schema = object(json!({
        "a": {"type": "string", "format": "date-time", "nullable": true, "description": "A."},
        "b": {"type": "array", "items": {"type": "integer", "format": "int32"}, "x-kubernetes-list-type": "set"},
        "c": {"x-kubernetes-int-or-string": true, "anyOf": [{"type": "integer"}, {"type": "string"}], "pattern": "^.*$"},
        "d": {"type": "object", "additionalProperties": {"type": "string"}},
        "e": {"x-kubernetes-preserve-unknown-fields": true},
        "f": {"type": "object", "x-kubernetes-embedded-resource": true, "x-kubernetes-preserve-unknown-fields": true},
        "g": {"type": "object", "properties": {"x": {"type": "integer"}}, "oneOf": [{"required": ["x"]}, {"not": {}}]},
        "h": {"type": "string", "default": "x", "enum": ["x", "y"]},
    }));
    assert_eq!(texts(&spec::validate(&crd(schema), None)), Vec::<String>::new());
}

#[test]
fn schemas_that_are_not_structural_are_refused() {
    for (property, wanted) in [
        (json!({}), "p.type: Required value: must not be empty for specified object fields"),
        (json!({"type": "array"}), "p.items: Required value: must be specified"),
        (
            json!({"type": "array", "items": {}}),
            "p.items.type: Required value: must not be empty for specified array items",
        ),
        (
            json!({"type": "text"}),
            "p.type: Unsupported value: \"text\": supported values: \"array\", \"boolean\", \"integer\", \"number\", \"object\", \"string\"",
        ),
        (json!({"type": "string", "$ref": "#/x"}), "p.$ref: Forbidden: $ref is not supported"),
        (
            json!({"type": "string", "anyOf": [{"type": "string"}]}),
            "p.anyOf[0].type: Forbidden: must be empty to be structural",
        ),
        (
            json!({"type": "object", "properties": {"a": {"type": "string"}}, "additionalProperties": {"type": "string"}}),
            "p.additionalProperties: Forbidden: additionalProperties and properties are mutual exclusive",
        ),
        (
            json!({"type": "string", "x-kubernetes-embedded-resource": true, "x-kubernetes-preserve-unknown-fields": true}),
            "p.type: Invalid value: \"string\": must be object if x-kubernetes-embedded-resource is true",
        ),
        (
            json!({"type": "array", "uniqueItems": true, "items": {"type": "string"}}),
            "p.uniqueItems: Forbidden: uniqueItems cannot be set to true since the runtime complexity becomes quadratic",
        ),
        (
            json!({"type": "array", "x-kubernetes-list-type": "map", "items": {"type": "object"}}),
            "p.x-kubernetes-list-map-keys: Required value: must not be empty if x-kubernetes-list-type is map",
        ),
        (
            json!({"type": "array", "x-kubernetes-list-type": "bag", "items": {"type": "string"}}),
            "p.x-kubernetes-list-type: Unsupported value: \"bag\": supported values: \"atomic\", \"set\", \"map\"",
        ),
        (
            json!({"type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["k"],
            "items": {"type": "object", "properties": {"k": {"type": "string"}}}}),
            "p.items.properties[k].default: Required value: this property is in x-kubernetes-list-map-keys, so it must have a default or be a required property",
        ),
        (
            json!({"type": "integer", "default": "x"}),
            "p.default: Invalid value: \"string\":  in body must be of type integer: \"string\"",
        ),
        (
            json!({"type": "object", "properties": {}, "default": {"a": 1}}),
            "p.default: Invalid value: {\"a\":1}: must not have unknown fields",
        ),
        (
            json!({"type": "string", "x-kubernetes-validations": [{"rule": " "}]}),
            "p.x-kubernetes-validations[0].rule: Required value: rule is not specified",
        ),
    ] {
        assert_eq!(refused(property.clone()), [wanted], "{property}");
    }
}

#[test]
fn the_rest_of_a_crd_is_checked() {
    let with = |change: fn(&mut Value)| {
        let mut crd = crd(object(json!({})));
        change(&mut crd);
        texts(&spec::validate(&crd, None))
    };
    for (change, wanted) in [
        (
            (|c: &mut Value| c["spec"]["scope"] = "World".into()) as fn(&mut Value),
            "spec.scope: Unsupported value: \"World\": supported values: \"Cluster\", \"Namespaced\"",
        ),
        (
            |c| c["spec"]["versions"][0]["storage"] = false.into(),
            "must have exactly one version marked as storage version",
        ),
        (|c| c["spec"]["names"]["listKind"] = "Tab".into(), "kind and listKind may not be the same"),
        (|c| c["spec"]["versions"][0]["schema"] = json!({}), "spec.versions[0].schema.openAPIV3Schema: Required value"),
        (|c| c["spec"]["preserveUnknownFields"] = true.into(), "spec.preserveUnknownFields: Invalid value: true"),
        (|c| c["spec"]["versions"][0]["deprecationWarning"] = "x".into(), "can only be set for deprecated versions"),
        (
            |c| {
                c["spec"]["versions"][0]["subresources"] =
                    json!({"scale": {"specReplicasPath": ".x", "statusReplicasPath": ".status.r"}})
            },
            "spec.subresources.scale.specReplicasPath: Invalid value: \".x\": should be a json path under .spec",
        ),
        (
            |c| {
                c["spec"]["versions"][0]["additionalPrinterColumns"] =
                    json!([{"name": "A", "type": "map", "jsonPath": ".a"}])
            },
            "spec.additionalPrinterColumns[0].type: Invalid value: \"map\": must be one of boolean,date,integer,number,string",
        ),
        (|c| c["spec"]["versions"][0]["selectableFields"] = json!([{"jsonPath": ".spec.no"}]), "is an invalid path"),
        (|c| c["spec"]["conversion"] = json!({"strategy": "Webhook"}), "required when strategy is set to Webhook"),
        (
            |c| {
                c["spec"]["conversion"] = json!({"strategy": "Webhook", "webhook": {"conversionReviewVersions": ["v1"],
                    "clientConfig": {"url": "http://x"}}});
            },
            "'https' is the only allowed URL scheme",
        ),
        (
            |c| {
                c["metadata"]["name"] = "tabs.x.k8s.io".into();
                c["spec"]["group"] = "x.k8s.io".into();
            },
            "protected groups must have approval annotation",
        ),
    ] {
        let found = with(change);
        assert!(found.iter().any(|text| text.contains(wanted)), "{wanted}: {found:?}");
    }
}

#[test]
fn transitions_are_checked() {
    let mut old = crd(object(json!({})));
    old["status"]["conditions"] = json!([{"type": "Established", "status": "True"}]);
    let mut new = old.clone();
    new["spec"]["scope"] = "Cluster".into();
    new["spec"]["names"]["kind"] = "Other".into();
    new["status"]["storedVersions"] = json!(["v0", "v1"]);
    let found = texts(&spec::validate(&new, Some(&old)));
    assert_eq!(
        found[..2],
        [
            "spec.scope: Invalid value: \"Cluster\": field is immutable",
            "spec.names.kind: Invalid value: \"Other\": field is immutable",
        ]
    );
    assert!(
        found[2].starts_with("status.storedVersions[0]: Invalid value: \"v0\": missing from spec.versions; v0 was")
    );
}

#[test]
fn exploding_schemas_are_refused_at_once() {
    let mut deep = json!({"type": "object"});
    for _ in 0..300 {
        deep = json!({"type": "object", "properties": {"a": deep}});
    }
    assert!(refused(deep)[0].contains("schema is too large"));
    let many: serde_json::Map<String, Value> =
        (0..110_000).map(|n| (n.to_string(), json!({"type": "string"}))).collect();
    assert!(refused(json!({"type": "object", "properties": many}))[0].contains("schema is too large"));
    assert!(
        refused(json!({"type": "string", "pattern": "(a{1000}){1000}"}))[0].contains("invalid repeat count: `{1000}`")
    );
}

#[test]
fn values_are_judged_in_kubernetes_words() {
    let schema = Schema::of_crd(&object(json!({
        "text": {"type": "string", "minLength": 2, "maxLength": 4},
        "when": {"type": "string", "format": "date-time"},
        "number": {"type": "number", "exclusiveMinimum": true, "minimum": 0, "multipleOf": 0.5},
        "list": {"type": "array", "minItems": 1, "maxItems": 2, "items": {"type": "integer"}},
        "map": {"type": "object", "maxProperties": 1, "additionalProperties": {"type": "boolean"}},
        "any": {"type": "object", "properties": {"a": {"type": "string"}, "b": {"type": "string"}},
            "anyOf": [{"required": ["a"]}, {"required": ["b"]}]},
        "one": {"type": "integer", "oneOf": [{"minimum": 5}, {"maximum": 7}]},
        "not": {"type": "string", "not": {"enum": ["x"]}},
        "null": {"type": "string", "nullable": true},
    })));
    let judge = |spec: Value| texts(&value::validate(&schema, &json!({"spec": spec}), None));
    assert_eq!(
        judge(json!({"text": "éé", "number": 1.5, "list": [1, 2.0], "one": 9, "not": "y", "null": null})),
        Vec::<String>::new()
    );
    for (spec, wanted) in [
        (json!({"text": "a"}), "spec.text: Invalid value: \"a\": spec.text in body should be at least 2 chars long"),
        (json!({"text": "abcde"}), "spec.text: Too long: may not be more than 4 bytes"),
        (
            json!({"text": null}),
            "spec.text: Invalid value: \"null\": spec.text in body must be of type string: \"null\"",
        ),
        (
            json!({"when": "now"}),
            "spec.when: Invalid value: \"now\": spec.when in body must be of type date-time: \"now\"",
        ),
        (json!({"number": 0}), "spec.number: Invalid value: 0: spec.number in body should be greater than 0"),
        (json!({"number": 0.7}), "spec.number: Invalid value: 0.7: spec.number in body should be a multiple of 0.5"),
        (json!({"list": []}), "spec.list: Invalid value: 0: spec.list in body should have at least 1 items"),
        (json!({"list": [1, 2, 3]}), "spec.list: Too many: 3: must have at most 2 items"),
        (
            json!({"list": ["a"]}),
            "spec.list[0]: Invalid value: \"string\": spec.list[0] in body must be of type integer: \"string\"",
        ),
        (
            json!({"map": {"a": 1}}),
            "spec.map.a: Invalid value: \"integer\": spec.map.a in body must be of type boolean: \"integer\"",
        ),
        (json!({"any": {}}), "<nil>: Invalid value: \"\": \"spec.any\" must validate at least one schema (anyOf)"),
        (
            json!({"one": 6}),
            "<nil>: Invalid value: \"\": \"spec.one\" must validate one and only one schema (oneOf). Found 2 valid alternatives",
        ),
        (json!({"not": "x"}), "<nil>: Invalid value: \"\": \"spec.not\" must not validate the schema (not)"),
    ] {
        assert_eq!(judge(spec.clone()).first().map(String::as_str), Some(wanted), "{spec}");
    }
}

#[test]
fn what_was_wrong_before_is_let_be() {
    let schema = Schema::of_crd(&object(json!({
        "a": {"type": "string", "enum": ["x"]}, "b": {"type": "integer"},
        "l": {"type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["k"],
            "items": {"type": "object", "required": ["k"], "properties": {"k": {"type": "string"}, "v": {"type": "integer", "maximum": 5}}}},
    })));
    let old = json!({"spec": {"a": "old", "b": 1, "l": [{"k": "1", "v": 9}, {"k": "2", "v": 1}]}});
    let judge = |new: Value| texts(&value::validate(&schema, &new, Some(&old)));
    let mut new = old.clone();
    new["spec"]["b"] = 2.into();
    new["spec"]["l"] = json!([{"k": "2", "v": 2}, {"k": "1", "v": 9}]);
    assert_eq!(judge(new.clone()), Vec::<String>::new());
    new["spec"]["l"][0]["v"] = 8.into();
    assert_eq!(judge(new)[0], "spec.l[0].v: Invalid value: 8: spec.l[0].v in body should be less than or equal to 5");
}

#[test]
fn pruning_and_defaulting_follow_the_schema() {
    for (properties, before, after) in [
        (json!({"a": {"type": "string"}}), json!({"a": "x", "b": 1}), json!({"a": "x"})),
        (json!({"a": {"x-kubernetes-preserve-unknown-fields": true}}), json!({"a": {"b": 1}}), json!({"a": {"b": 1}})),
        (
            json!({"a": {"type": "object", "x-kubernetes-preserve-unknown-fields": true, "properties": {"k": {"type": "object"}}}}),
            json!({"a": {"k": {"gone": 1}, "kept": 2}}),
            json!({"a": {"k": {}, "kept": 2}}),
        ),
        (
            json!({"a": {"type": "object", "additionalProperties": {"type": "object"}}}),
            json!({"a": {"x": {"y": 1}}}),
            json!({"a": {"x": {}}}),
        ),
        (json!({"a": {"type": "integer", "default": 5}}), json!({}), json!({"a": 5})),
        (json!({"a": {"type": "integer", "default": 5}}), json!({"a": null}), json!({"a": 5})),
        (json!({"a": {"type": "integer", "default": 5, "nullable": true}}), json!({"a": null}), json!({"a": null})),
        (
            json!({"a": {"type": "object", "default": {}, "properties": {"b": {"type": "string", "default": "x"}}}}),
            json!({}),
            json!({"a": {"b": "x"}}),
        ),
        (
            json!({"a": {"type": "object", "properties": {"b": {"type": "string", "default": "x"}}}}),
            json!({}),
            json!({}),
        ),
        (
            json!({"a": {"type": "array", "items": {"type": "object", "properties": {"b": {"type": "string", "default": "x"}}}}}),
            json!({"a": [{}, {"b": "y", "c": 1}]}),
            json!({"a": [{"b": "x"}, {"b": "y"}]}),
        ),
        (json!({"a": {"type": "integer"}}), json!({"a": {"wrong": [1]}}), json!({"a": {"wrong": [1]}})),
    ] {
        let schema = Schema::of_crd(&object(properties.clone()));
        let mut value = json!({"spec": before});
        assert!(check(&schema, &value).is_ok(), "types are for the validation to judge: {properties}");
        prune(&schema, &mut value);
        apply_defaults(&schema, &mut value);
        assert_eq!(value["spec"], after, "{properties}");
    }
}

#[test]
fn stamps_tell_schemas_apart_that_store_differently() {
    let stamp = |schema: Value| Definition::of(&crd(schema)).unwrap().stored_version().stamp.clone();
    let plain = stamp(object(json!({"description": {"type": "string"}})));
    assert_eq!(plain, stamp(object(json!({"description": {"type": "string", "maxLength": 3, "description": "x"}}))));
    assert_ne!(plain, stamp(object(json!({"other": {"type": "string"}}))));
    assert_ne!(plain, stamp(object(json!({"description": {"type": "string", "default": ""}}))));
}

#[test]
fn a_crd_settles_once() {
    let now = "2026-01-02T03:04:05Z".parse().unwrap();
    let kinds = Kinds::builtin();
    let settled = settle(&crd(object(json!({}))), std::iter::empty(), &kinds, now);
    assert!(settled.established);
    let object = settled.change.unwrap();
    assert_eq!(settle(&object, std::iter::empty(), &kinds, now).change, None);
    let rows = rows(&object, &Arc::new(Definition::of(&object).unwrap()));
    assert_eq!((rows.len(), &*rows[0].list_kind, &*rows[0].storage), (1, "TabList", "example.com/tabs"));
    assert_eq!(acceptance::finish(&object, now)["metadata"].get("finalizers"), None);
    // A group of Kubernetes' own: its kinds cannot be taken.
    let mut taken = crd(super::tests::object(json!({})));
    taken["spec"]["group"] = "apps".into();
    taken["spec"]["names"]["kind"] = "Deployment".into();
    let verdict = settle(&taken, std::iter::empty(), &kinds, now);
    assert!(!verdict.established);
}

#[test]
fn nothing_panics_on_nonsense() {
    for nonsense in [
        json!(null),
        json!(1),
        json!([]),
        json!({"spec": 1}),
        json!({"spec": {"versions": [1, null, {}]}, "metadata": 3}),
        json!({"spec": {"names": [], "versions": [{"schema": {"openAPIV3Schema": {"properties": 3, "items": [], "allOf": {}}}}]}}),
    ] {
        let _ = spec::validate(&nonsense, Some(&nonsense));
        assert!(Definition::of(&nonsense).is_none());
        let mut copy = nonsense.clone();
        spec::default(&mut copy);
        let schema = Schema::of_crd(&nonsense);
        let _ = value::validate(&schema, &nonsense, None);
    }
}

#[test]
fn a_bundle_that_cannot_be_read_is_taken_only_where_nothing_is_served() {
    let with = |bundle: &str| {
        let mut object = crd(object(json!({})));
        object["spec"]["conversion"] = json!({"strategy": "Webhook", "webhook": {
            "clientConfig": {"url": "https://x.example.com", "caBundle": bundle}, "conversionReviewVersions": ["v1"]}});
        object
    };
    let now = jiff::Timestamp::UNIX_EPOCH;
    let settled = |object: &Value| settle(object, std::iter::empty(), &Kinds::builtin(), now).change.unwrap();
    let (bad, good) = (with("Cg=="), with(&crate::pem::tests::good()));
    assert_eq!(texts(&spec::validate(&bad, None)), Vec::<String>::new());
    let waiting = settled(&bad);
    assert!(!acceptance::established(&waiting));
    let condition = &waiting["status"]["conditions"][1];
    assert_eq!((&condition["type"], &condition["reason"]), (&json!("Established"), &json!("InvalidCABundle")));
    assert_eq!(condition["message"], "The conversion webhook CABundle is invalid");
    assert_eq!(texts(&spec::validate(&bad, Some(&waiting))), Vec::<String>::new());
    let serving = settled(&good);
    assert!(acceptance::established(&serving));
    let why = "spec.conversion.webhookClientConfig.caBundle: Invalid value: \"Cg==\": \
        unable to load root certificates: unable to parse bytes as PEM block";
    assert_eq!(texts(&spec::validate(&bad, Some(&serving))), [why]);
    // What was wrong before may stay so, and no bundle at all is none that is wrong.
    let mut wrong = bad.clone();
    wrong["status"] = serving["status"].clone();
    assert_eq!(texts(&spec::validate(&bad, Some(&wrong))), Vec::<String>::new());
    assert_eq!(texts(&spec::validate(&with(""), Some(&serving))), Vec::<String>::new());
}

#[test]
fn what_is_stored_and_how_must_fit_the_versions() {
    let mut without = crd(object(json!({})));
    without["spec"]["versions"][0]["storage"] = false.into();
    without["status"]["storedVersions"] = json!([]);
    let found = texts(&spec::validate(&without, None));
    assert!(
        found.contains(&"status.storedVersions: Invalid value: null: must have at least one stored version".into())
    );
    assert!(found[0].ends_with("must have exactly one version marked as storage version"), "{found:?}");
    let mut other = crd(object(json!({})));
    other["status"]["storedVersions"] = json!(["v0"]);
    let found = texts(&spec::validate(&other, Some(&other)));
    assert_eq!(found[0], r#"status.storedVersions: Invalid value: ["v0"]: must have the storage version v1"#);
    assert!(
        found[1].starts_with(r#"status.storedVersions[0]: Invalid value: "v0": missing from spec.versions; v0 was"#)
    );
    let mut preserving = crd(object(json!({"default": {"type": "string", "default": "x"}})));
    preserving["spec"]["preserveUnknownFields"] = true.into();
    preserving["spec"]["conversion"]["strategy"] = "Webhook".into();
    let found = texts(&spec::validate(&preserving, None));
    for wanted in [
        "spec.preserveUnknownFields: Invalid value: true: must be false in order to use defaults in the schema",
        r#"spec.conversion.strategy: Invalid value: "Webhook": must be None if spec.preserveUnknownFields is true"#,
    ] {
        assert!(found.iter().any(|text| text == wanted), "{wanted}: {found:?}");
    }
}

#[test]
fn selectable_fields_are_simple_paths_to_plain_values() {
    let refused = |path: &str| {
        let mut object =
            crd(object(json!({"color": {"type": "string"}, "list": {"type": "array", "items": {"type": "string"}}})));
        object["spec"]["versions"][0]["selectableFields"] = json!([{"jsonPath": path}]);
        let texts = texts(&spec::validate(&object, None));
        texts.into_iter().map(|text| text.replace("spec.selectableFields[0].jsonPath: ", "")).collect::<Vec<_>>()
    };
    assert_eq!(refused(".spec.color"), Vec::<String>::new());
    for (path, wanted) in [
        ("", "Required value"),
        ("spec.color", "Invalid value: \"spec.color\": is an invalid path: expected [ or . but got: spec"),
        (".spec.size", "Invalid value: \".spec.size\": is an invalid path: does not refer to a valid field"),
        (
            ".spec.list",
            "Invalid value: \".spec.list\": must point to a field of type string, boolean or integer. Enum string fields and strings with formats are allowed.",
        ),
    ] {
        assert_eq!(refused(path), [wanted], "{path}");
    }
}

#[test]
fn items_of_long_lists_are_found_again_by_their_keys() {
    let property = json!({"type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["k"],
        "items": {"type": "object", "required": ["k"], "properties": {"k": {"type": "string"}, "v": {"type": "integer", "maximum": 5}}}});
    let schema = Schema::of_crd(&object(json!({"p": property})));
    let item = |k: usize, v: i64| json!({"k": k.to_string(), "v": v});
    let old = json!({"spec": {"p": (0..40).map(|k| item(k, 9)).collect::<Vec<_>>()}});
    let mut new = json!({"spec": {"p": (0..40).rev().map(|k| item(k, 9)).collect::<Vec<_>>()}});
    assert_eq!(texts(&value::validate(&schema, &new, Some(&old))), Vec::<String>::new());
    new["spec"]["p"][3]["v"] = 8.into();
    new["spec"]["p"][7]["k"] = "new".into();
    let fields: Vec<String> = value::validate(&schema, &new, Some(&old)).into_iter().map(|error| error.field).collect();
    assert_eq!(fields, ["spec.p[3].v", "spec.p[7].v"]);
}
