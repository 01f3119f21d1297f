//! Keys, stored bodies and their way to the wire.

use super::*;
use api::Kinds;
use bytes::BytesMut;
use serde_json::{Value, json};

fn pods() -> std::sync::Arc<Resource> {
    Kinds::builtin().find("", "v1", "pods").unwrap()
}

fn sample() -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": "a", "namespace": "n", "resourceVersion": "9", "labels": {"app": "x", "tricky": "}\"{"}, "annotations": {"q": "\\\"}"}},
        "spec": {"nodeName": "n1"},
    })
}

#[test]
fn keys_hold_namespace_and_name() {
    let pods = pods();
    let key = key(&pods, "n", "a");
    assert_eq!(key, b"core/pods/n/a");
    assert_eq!(subject(&pods, &key), ("n", "a"));
    assert_eq!(prefix(&pods, ""), b"core/pods/");
    assert_eq!(prefix(&pods, "n"), b"core/pods/n/");
    let nodes = Kinds::builtin().find("", "v1", "nodes").unwrap();
    assert_eq!(super::key(&nodes, "", "n1"), b"core/nodes/n1");
    assert_eq!(subject(&nodes, b"core/nodes/n1"), ("", "n1"));
}

#[test]
fn the_wire_form_is_the_stored_body_with_a_resource_version() {
    let pods = pods();
    let value = encode(&pods, &sample(), 5);
    assert!(value.body.starts_with(br#"{"kind":"Pod","apiVersion":"v1","metadata":{"#));
    let wire = wire::object(&pods, &value.body, Some(77));
    let seen: Value = serde_json::from_slice(&wire).unwrap();
    let mut expected = sample();
    expected["metadata"]["resourceVersion"] = "77".into();
    assert_eq!(seen, expected);
    assert_eq!(parse(&pods, &value.body, Some(77)).unwrap(), expected);
}

#[test]
fn list_items_drop_kind_and_version_and_their_length_is_known() {
    let pods = pods();
    let value = encode(&pods, &sample(), 5);
    for revision in [1, 9, 10, 99_999, u64::MAX] {
        let mut out = BytesMut::new();
        wire::put_item(&mut out, &pods, &value.body, revision);
        assert_eq!(out.len(), wire::item_len(&pods, &value.body, revision));
        let seen: Value = serde_json::from_slice(&out).unwrap();
        assert_eq!(seen.get("kind"), None);
        assert_eq!(seen["metadata"]["resourceVersion"], revision.to_string());
        assert_eq!(seen["spec"], sample()["spec"]);
    }
}

#[test]
fn metadata_is_cut_out_at_its_own_brace() {
    let pods = pods();
    let value = encode(&pods, &sample(), 5);
    let mut out = BytesMut::new();
    wire::put_metadata_only(&mut out, &pods, &value.body, Some(3));
    let seen: Value = serde_json::from_slice(&out).unwrap();
    assert_eq!(seen["kind"], "PartialObjectMetadata");
    assert_eq!(seen["metadata"]["labels"], sample()["metadata"]["labels"]);
    assert_eq!(seen.get("spec"), None);
}

#[test]
fn the_index_answers_labels_fields_and_dates() {
    let pods = pods();
    let mut object = sample();
    let mut entry =
        store::Entry { value: encode(&pods, &object, 1_234), create_revision: 1, mod_revision: 1, version: 1 };
    let index = Index::of(&entry);
    assert_eq!(index.label("app"), Some("x"));
    assert_eq!(index.label("nope"), None);
    assert_eq!(index.written_seconds(), 1_234);
    assert!(!index.is_deleting());
    object["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z".into();
    entry.value = encode(&pods, &object, 1);
    assert!(Index::of(&entry).is_deleting());
    let junk = store::Entry {
        value: store::Value { body: "".into(), index: "xyz".into() },
        create_revision: 1,
        mod_revision: 1,
        version: 1,
    };
    assert_eq!(Index::of(&junk).label("app"), None);
    assert_eq!(Index::of(&junk).field("spec.nodeName"), None);
}
