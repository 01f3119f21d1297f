//! Sets and their text.

use super::super::codec::Pattern;
use super::*;

const TEXT: &str = r#"{"f:metadata":{"f:labels":{".":{},"f:app":{}}},"f:spec":{"f:ports":{"k:{\"containerPort\":80,\"protocol\":\"TCP\"}":{".":{},"f:containerPort":{}},"k:{\"containerPort\":443,\"protocol\":\"TCP\"}":{".":{}}},"f:set":{"v:1":{},"v:\"a\"":{},"v:true":{}},"f:odd \" name":{}}}"#;

fn set(text: &str) -> Set {
    Set::from_json(text).unwrap()
}

#[test]
fn text_becomes_a_set_and_the_same_text_again() {
    let canonical = TEXT.replace(r#"{".":{}}},"f:set""#, r#"{}},"f:set""#);
    let expected = r#"{"f:metadata":{"f:labels":{".":{},"f:app":{}}},"f:spec":{"f:odd \" name":{},"f:ports":{"k:{\"containerPort\":80,\"protocol\":\"TCP\"}":{".":{},"f:containerPort":{}},"k:{\"containerPort\":443,\"protocol\":\"TCP\"}":{}},"f:set":{"v:1":{},"v:\"a\"":{},"v:true":{}}}}"#;
    assert_eq!(set(TEXT).to_json(), expected);
    assert_eq!(set(&canonical), set(expected));
    assert_eq!(
        set(TEXT).texts(),
        [
            ".metadata.labels",
            ".metadata.labels.app",
            ".spec.odd \" name",
            ".spec.ports[containerPort=80,protocol=\"TCP\"]",
            ".spec.ports[containerPort=443,protocol=\"TCP\"]",
            ".spec.ports[containerPort=80,protocol=\"TCP\"].containerPort",
            ".spec.set[=1]",
            ".spec.set[=\"a\"]",
            ".spec.set[=true]",
        ]
    );
}

#[test]
fn what_is_no_set_is_refused_and_what_is_unknown_ignored() {
    for bad in [
        "[]",
        "1",
        r#"{"x":{}}"#,
        r#"{"fx":{}}"#,
        r#"{"k:1":{}}"#,
        r#"{"v:":{}}"#,
        r#"{"i:a":{}}"#,
        r#"{"f:a":1}"#,
        "{",
    ] {
        assert!(Set::from_json(bad).is_err(), "{bad}");
    }
    assert_eq!(set(r#"{"z:new":{"f:a":{}},"f:b":{}}"#).texts(), [".b"]);
    assert_eq!(set(r#"{"i:3":{},"f:b":null}"#).texts(), [".b", "[3]"]);
    assert!(set("{}").is_empty());
}

#[test]
fn the_operations_are_those_of_fieldpath() {
    let (a, b) = (set(r#"{"f:a":{".":{},"f:b":{},"f:c":{}},"f:d":{}}"#), set(r#"{"f:a":{".":{},"f:b":{}},"f:e":{}}"#));
    assert_eq!(a.union(&b).texts(), [".a", ".d", ".e", ".a.b", ".a.c"]);
    assert_eq!(a.intersection(&b).texts(), [".a", ".a.b"]);
    assert_eq!(a.difference(&b).texts(), [".d", ".a.c"]);
    assert_eq!(a.recursive_difference(&b).texts(), [".d"]);
    assert_eq!(a.leaves().texts(), [".d", ".a.b", ".a.c"]);
    let parent = set(r#"{"f:a":{}}"#);
    assert_eq!(a.difference(&parent).texts(), [".d", ".a.b", ".a.c"]);
    assert_eq!(a.recursive_difference(&parent).texts(), [".d"]);
    let path = [Element::field("a"), Element::field("b")];
    assert!(a.has(&[&path[0], &path[1]]) && a.has(&[&path[0]]) && !a.has(&[&path[1]]) && !a.has(&[]));
    assert_eq!(a.len(), 4);
}

#[test]
fn named_fields_become_members_and_keys_of_maps_do_not() {
    let kind = Kind::builtin("apps", "v1", "deployments");
    let set = set(
        r#"{"f:metadata":{"f:labels":{"f:a":{}}},"f:spec":{"f:strategy":{"f:type":{}},"f:template":{"f:spec":{"f:containers":{"k:{\"name\":\"c\"}":{"f:resources":{"f:limits":{"f:cpu":{}}}}}}}}}"#,
    );
    assert_eq!(
        set.ensure_named_fields_are_members(kind.schema()).difference(&set).texts(),
        [
            ".metadata",
            ".spec",
            ".metadata.labels",
            ".spec.strategy",
            ".spec.template",
            ".spec.template.spec",
            ".spec.template.spec.containers",
            ".spec.template.spec.containers[name=\"c\"].resources",
            ".spec.template.spec.containers[name=\"c\"].resources.limits",
        ]
    );
}

#[test]
fn text_answers_whether_it_has_some_or_all_of_a_set() {
    let text = set(TEXT).to_json();
    for (wanted, any, all) in [
        (r#"{"f:metadata":{"f:labels":{"f:app":{}}}}"#, true, true),
        (r#"{"f:metadata":{"f:labels":{}}}"#, true, true),
        (r#"{"f:metadata":{}}"#, false, false),
        (r#"{"f:spec":{"f:odd \" name":{}}}"#, true, true),
        (r#"{"f:spec":{"f:ports":{"k:{\"containerPort\":443,\"protocol\":\"TCP\"}":{}}}}"#, true, true),
        (r#"{"f:spec":{"f:ports":{"k:{\"containerPort\":444,\"protocol\":\"TCP\"}":{}}}}"#, false, false),
        (r#"{"f:spec":{"f:set":{"v:true":{},"v:false":{}}}}"#, true, false),
        (
            r#"{"f:spec":{"f:set":{"v:true":{},"v:1":{}},"f:ports":{"k:{\"containerPort\":80,\"protocol\":\"TCP\"}":{"f:containerPort":{}}}}}"#,
            true,
            true,
        ),
        (r#"{"f:spec":{"f:set":{}}}"#, false, false),
    ] {
        let found = Pattern::of(&set(wanted)).overlap(&text);
        assert_eq!((found.any, found.all), (any, all), "{wanted}");
    }
    assert!(Pattern::of(&Set::default()).overlap("{}").all);
    // Cut or senseless text is read to its end and no further.
    for end in 0..text.len() {
        if text.is_char_boundary(end) {
            let _ = Pattern::of(&set(TEXT)).overlap(&text[..end]);
        }
    }
}
