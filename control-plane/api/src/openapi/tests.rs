//! OpenAPI documents as kubectl reads them.

use super::{v2_document, v2_hash, v2_protobuf, v3_document, v3_hash, v3_index};
use crate::kinds::{Columns, Kinds, LazySchema, Resource, Scope, Verb};
use crate::strategy::Plain;
use serde_json::{Value, json};
use std::sync::Arc;

fn apps() -> Value {
    v3_document(&Kinds::builtin(), "apps", "v1").unwrap()
}

#[test]
fn every_reference_leads_somewhere() {
    fn walk(node: &Value, root: &Value) {
        match node {
            Value::Object(map) => {
                if let Some(Value::String(reference)) = map.get("$ref") {
                    let pointer = reference.strip_prefix('#').unwrap();
                    assert!(root.pointer(pointer).is_some(), "{reference}");
                }
                map.values().for_each(|value| walk(value, root));
            }
            Value::Array(list) => list.iter().for_each(|value| walk(value, root)),
            _ => {}
        }
    }
    let kinds = Kinds::builtin();
    let v2 = v2_document(&kinds);
    walk(&v2, &v2);
    for row in kinds.iter() {
        let v3 = v3_document(&kinds, &row.group, &row.version).unwrap();
        walk(&v3, &v3);
    }
}

#[test]
fn kubectl_finds_what_it_looks_for() {
    let document = apps();
    let kind = json!({"group": "apps", "version": "v1", "kind": "Deployment"});
    let item = &document["paths"]["/apis/apps/v1/namespaces/{namespace}/deployments/{name}"];
    assert_eq!(item["patch"]["x-kubernetes-group-version-kind"], kind);
    let names: Vec<_> =
        item["patch"]["parameters"].as_array().unwrap().iter().map(|p| p["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["dryRun", "fieldManager", "fieldValidation", "force"]);
    let schemas = &document["components"]["schemas"];
    assert_eq!(schemas["io.k8s.api.apps.v1.Deployment"]["x-kubernetes-group-version-kind"], json!([kind]));
    let spec = &schemas["io.k8s.api.apps.v1.DeploymentSpec"]["properties"];
    assert_eq!(spec["strategy"]["x-kubernetes-patch-strategy"], "retainKeys");
    assert_eq!(
        spec["strategy"]["allOf"],
        json!([{"$ref": "#/components/schemas/io.k8s.api.apps.v1.DeploymentStrategy"}])
    );
    let containers = &schemas["io.k8s.api.core.v1.PodSpec"]["properties"]["containers"];
    assert_eq!(containers["x-kubernetes-patch-merge-key"], "name");
    assert_eq!(containers["x-kubernetes-list-map-keys"], json!(["name"]));
    assert_eq!(containers["items"], json!({"$ref": "#/components/schemas/io.k8s.api.core.v1.Container"}));
}

#[test]
fn subresources_speak_their_own_kinds() {
    let document = apps();
    let scale = &document["paths"]["/apis/apps/v1/namespaces/{namespace}/deployments/{name}/scale"];
    assert_eq!(scale["put"]["x-kubernetes-group-version-kind"]["group"], "autoscaling");
    assert!(document["components"]["schemas"]["io.k8s.api.autoscaling.v1.Scale"].is_object());
    let core = v3_document(&Kinds::builtin(), "", "v1").unwrap();
    let exec = &core["paths"]["/api/v1/namespaces/{namespace}/pods/{name}/exec"];
    assert_eq!(exec["get"]["x-kubernetes-action"], "connect");
    assert_eq!(exec["get"]["x-kubernetes-group-version-kind"]["kind"], "PodExecOptions");
}

#[test]
fn the_index_points_at_documents_with_their_hashes() {
    let kinds = Kinds::builtin();
    let index = v3_index(&kinds);
    let hash = v3_hash(&kinds, "apps", "v1").unwrap();
    assert_eq!(
        index["paths"]["apis/apps/v1"]["serverRelativeURL"],
        json!(format!("/openapi/v3/apis/apps/v1?hash={hash}"))
    );
    assert!(index["paths"]["api/v1"].is_object());
    assert_eq!(v3_hash(&kinds, "apps", "v7"), None);
    let fewer = kinds.without("apps", "v1", "deployments");
    assert_ne!(v3_hash(&fewer, "apps", "v1").unwrap(), hash);
    assert_ne!(v2_hash(&fewer), v2_hash(&kinds));
}

#[test]
fn a_crd_is_documented_with_its_authors_words() {
    let document = json!({"type": "object", "description": "A tab.", "properties": {"spec": {"type": "object",
        "properties": {"cron": {"type": "string", "description": "When."}}}}});
    let row = Resource {
        group: "stable.example.com".into(),
        version: "v1".into(),
        kind: "CronTab".into(),
        list_kind: "CronTabList".into(),
        plural: "crontabs".into(),
        singular: "crontab".into(),
        short_names: Vec::new().into(),
        categories: Vec::new().into(),
        scope: Scope::Namespaced,
        verbs: vec![Verb::Create, Verb::Get, Verb::List, Verb::Patch].into(),
        subresources: Vec::new(),
        storage: "stable.example.com/crontabs".into(),
        storage_api_version: "stable.example.com/v1".into(),
        strategy: Arc::new(Plain),
        schema: LazySchema::custom(document.to_string().into()),
        columns: Columns { columns: Vec::new(), cells: Arc::new(|_, _| Vec::new()) },
        custom: None,
    };
    let kinds = Kinds::builtin().with(row);
    let document = v3_document(&kinds, "stable.example.com", "v1").unwrap();
    let schemas = &document["components"]["schemas"];
    let tab = &schemas["com.example.stable.v1.CronTab"];
    assert_eq!(tab["properties"]["spec"]["properties"]["cron"]["description"], "When.");
    assert_eq!(tab["x-kubernetes-group-version-kind"][0]["kind"], "CronTab");
    assert!(tab["properties"]["metadata"]["allOf"].is_array());
    assert!(schemas["com.example.stable.v1.CronTabList"].is_object());
    let item = &document["paths"]["/apis/stable.example.com/v1/namespaces/{namespace}/crontabs/{name}"];
    assert_eq!(item["patch"]["x-kubernetes-group-version-kind"]["kind"], "CronTab");
}

/// Reads the fields of one protobuf message of strings and messages.
fn fields(mut bytes: &[u8]) -> Vec<(u64, &[u8])> {
    fn varint(bytes: &mut &[u8]) -> u64 {
        let mut number = 0;
        for shift in (0..).step_by(7) {
            let byte = bytes[0];
            *bytes = &bytes[1..];
            number |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                break;
            }
        }
        number
    }
    let mut found = Vec::new();
    while !bytes.is_empty() {
        let tag = varint(&mut bytes);
        let length = varint(&mut bytes);
        if tag & 7 == 2 {
            let (field, rest) = bytes.split_at(usize::try_from(length).unwrap());
            found.push((tag >> 3, field));
            bytes = rest;
        }
    }
    found
}

#[test]
fn the_protobuf_form_holds_the_definitions() {
    let document = v2_document(&Kinds::builtin());
    let bytes = v2_protobuf(&document);
    let top = fields(&bytes);
    assert_eq!(top[0], (1, b"2.0".as_slice()));
    let definitions = top.iter().find(|(field, _)| *field == 9).unwrap().1;
    let named: Vec<(String, &[u8])> = fields(definitions)
        .into_iter()
        .map(|(_, entry)| {
            let entry = fields(entry);
            (String::from_utf8(entry[0].1.to_vec()).unwrap(), entry.get(1).map_or(&[][..], |e| e.1))
        })
        .collect();
    assert_eq!(named.len(), document["definitions"].as_object().unwrap().len());
    let pod = named.iter().find(|(name, _)| name == "io.k8s.api.core.v1.Pod").unwrap().1;
    let extension = fields(fields(pod).into_iter().find(|(field, _)| *field == 31).unwrap().1);
    assert_eq!(extension[0].1, b"x-kubernetes-group-version-kind");
    assert_eq!(fields(extension[1].1)[0], (2, br#"[{"group":"","kind":"Pod","version":"v1"}]"#.as_slice()));
}
