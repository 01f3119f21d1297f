//! [sig-api-machinery] discovery, published OpenAPI, server-side apply, versions and timeouts
//! (test/e2e/apimachinery/{aggregated_discovery,discovery,crd_publish_openapi,openapiv3,apply,server_version,request_timeout}.go).

use super::machinery_crds::{definition, establish, established, group};
use super::stage::{LIMIT, Patch, Scenario, Scene, play, scenarios};
use serde_json::{Value, json};
use tests::cluster::Options;

#[tokio::test]
async fn discovery_openapi_and_apply() {
    let all: &[Scenario] = scenarios![
        should_find_the_server_version,
        should_return_400_if_the_user_specifies_an_invalid_timeout_in_the_request_url,
        should_locate_the_group_version_and_a_resource_within_each_api_group,
        should_validate_preferred_version_for_each_api_group,
        should_accurately_determine_present_and_missing_resources,
        should_support_raw_aggregated_discovery_endpoint_accept_headers,
        should_support_raw_aggregated_discovery_request_for_crds,
        works_for_crd_with_validation_schema,
        works_for_crd_without_validation_schema,
        works_for_crd_preserving_unknown_fields_at_the_schema_root_and_in_an_embedded_object,
        works_for_multiple_crds_of_different_groups_versions_and_kinds,
        updates_the_published_spec_when_one_version_gets_renamed,
        removes_definition_from_spec_when_one_version_gets_changed_to_not_be_served,
        should_publish_openapi_v3_for_custom_resource_definition,
        should_create_an_applied_object_if_it_does_not_already_exist,
        should_work_for_subresources,
        should_remove_a_field_if_it_is_owned_but_removed_in_the_apply_request,
        should_not_remove_a_field_if_an_owner_unsets_the_field_but_other_managers_still_have_ownership,
        should_ignore_conflict_errors_if_force_apply_is_used,
        should_work_for_crds,
        should_give_up_ownership_of_a_field_if_forced_applied_by_a_controller,
    ];
    play(Options::default(), all).await;
}

async fn should_find_the_server_version(scene: Scene) {
    let version = scene.get("/version").await.ok();
    for field in ["major", "minor"] {
        let text = version[field].as_str().unwrap();
        assert!(!text.is_empty() && text.bytes().all(|b| b.is_ascii_digit()), "{field}: {text}");
    }
}

async fn should_return_400_if_the_user_specifies_an_invalid_timeout_in_the_request_url(scene: Scene) {
    scene.get("/api/v1/namespaces?timeout=invalid").await.refused(400, "invalid timeout specified in the request URL");
    // None, and more than there may be, are the default.
    for timeout in ["0s", "1h"] {
        scene.get(&format!("/api/v1/namespaces?timeout={timeout}")).await.ok();
    }
}

fn list<'a>(value: &'a Value, field: &str) -> &'a [Value] {
    value[field].as_array().map_or(&[], Vec::as_slice)
}

async fn should_locate_the_group_version_and_a_resource_within_each_api_group(scene: Scene) {
    for group in list(&scene.get("/apis").await.ok(), "groups") {
        let whole = scene.get(&format!("/apis/{}", group["name"].as_str().unwrap())).await.ok();
        assert_eq!((&whole["kind"], &whole["versions"]), (&json!("APIGroup"), &group["versions"]));
        for version in list(group, "versions") {
            let name = version["groupVersion"].as_str().unwrap();
            let resources = scene.get(&format!("/apis/{name}")).await.ok();
            assert_eq!(
                (&resources["kind"], &resources["groupVersion"]),
                (&json!("APIResourceList"), &version["groupVersion"])
            );
            let ok = |r: &&Value| !r["name"].as_str().unwrap().is_empty() && !r["kind"].as_str().unwrap().is_empty();
            assert!(list(&resources, "resources").iter().any(|r| ok(&r)), "{name}");
        }
    }
}

async fn should_validate_preferred_version_for_each_api_group(scene: Scene) {
    for group in list(&scene.get("/apis").await.ok(), "groups") {
        let preferred = &group["preferredVersion"];
        assert!(list(group, "versions").contains(preferred), "{group}");
        let whole = scene.get(&format!("/apis/{}", group["name"].as_str().unwrap())).await.ok();
        assert_eq!(whole["preferredVersion"], *preferred);
    }
}

async fn should_accurately_determine_present_and_missing_resources(scene: Scene) {
    let core = scene.get("/api/v1").await.ok();
    let has = |list_of: &Value, name: &str| list(list_of, "resources").iter().any(|r| r["name"] == name);
    assert!(has(&core, "namespaces") && has(&core, "pods/log") && !has(&core, "foobars"));
    scene.get("/apis/not-these-apis.example.com/v1").await.refused(404, "");
    let crds = scene.get("/apis/apiextensions.k8s.io/v1").await.ok();
    let crd = list(&crds, "resources").iter().find(|r| r["name"] == "customresourcedefinitions").unwrap();
    assert!(crd["storageVersionHash"].is_string());
}

const AGGREGATED: &str = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList";

/// The resource of an aggregated document.
fn find<'a>(document: &'a Value, group: &str, version: &str, resource: &str) -> Option<&'a Value> {
    let named = |g: &&Value| g["metadata"]["name"].as_str().unwrap_or_default() == group;
    let group = list(document, "items").iter().find(named)?;
    let version = list(group, "versions").iter().find(|v| v["version"] == version)?;
    list(version, "resources").iter().find(|r| r["resource"] == resource)
}

async fn should_support_raw_aggregated_discovery_endpoint_accept_headers(scene: Scene) {
    for (path, known) in [
        ("/api", &[("", "v1", "namespaces"), ("", "v1", "pods")][..]),
        (
            "/apis",
            &[
                ("admissionregistration.k8s.io", "v1", "validatingwebhookconfigurations"),
                ("apiextensions.k8s.io", "v1", "customresourcedefinitions"),
                ("apps", "v1", "deployments"),
                ("batch", "v1", "jobs"),
            ],
        ),
    ] {
        // Clients name what they would rather have first, and take what there is.
        for accept in
            [AGGREGATED.to_owned(), format!("{AGGREGATED},application/json"), AGGREGATED.replace("v=v2", "v=v2beta1")]
        {
            let answer = scene.get_as(path, &accept).await;
            let media_type = answer.headers["content-type"].to_str().unwrap().to_owned();
            assert!(accept.starts_with(&media_type), "{accept}: {media_type}");
            let document = answer.ok();
            assert_eq!(document["kind"], "APIGroupDiscoveryList");
            for (group, version, resource) in known {
                assert!(find(&document, group, version, resource).is_some(), "{resource}");
            }
        }
        let plain = scene.get_as(path, "application/json").await.ok();
        assert!(["APIVersions", "APIGroupList"].iter().any(|kind| plain["kind"] == *kind));
    }
}

async fn should_support_raw_aggregated_discovery_request_for_crds(scene: Scene) {
    let group = group(&scene);
    establish(&scene, definition(&group, "Found", &["v1"], &json!({"type": "object"}))).await;
    tests::eventually("the kind is told", LIMIT, || async {
        let document = scene.get_as("/apis", AGGREGATED).await.ok();
        let found = find(&document, &group, "v1", "founds").ok_or("not yet")?;
        assert_eq!((&found["scope"], &found["responseKind"]["kind"]), (&json!("Namespaced"), &json!("Found")));
        Ok::<_, &str>(())
    })
    .await;
}

fn foo() -> Value {
    let text = |description: &str| json!({"description": description, "type": "string"});
    json!({"description": "Foo CRD for Testing", "type": "object", "properties": {
        "spec": {"type": "object", "description": "Specification of Foo", "properties": {"bars": {
            "description": "List of Bars and their specs.", "type": "array", "items": {"type": "object", "required": ["name"],
                "properties": {"name": text("Name of Bar."), "age": text("Age of Bar."),
                    "feeling": {"description": "Whether Bar is feeling great.", "type": "string", "enum": ["Great", "Down"]},
                    "bazs": {"description": "List of Bazs.", "items": {"type": "string"}, "type": "array"}}}}}},
        "status": {"description": "Status of Foo", "type": "object", "properties": {"bars": {
            "description": "List of Bars and their statuses.", "type": "array", "items": {"type": "object", "properties": {
                "name": text("Name of Bar."),
                "available": {"description": "Whether the Bar is installed.", "type": "boolean"},
                "quxType": {"description": "Indicates to external qux type.", "pattern": "in-tree|out-of-tree", "type": "string"}}}}}}}})
}

/// What a kind is called in OpenAPI.
fn definition_name(group: &str, version: &str, kind: &str) -> String {
    let reversed: Vec<&str> = group.split('.').rev().collect();
    format!("{}.{version}.{kind}", reversed.join("."))
}

/// The definition in `/openapi/v2`, without what every kind has.
async fn published(scene: &Scene, name: &str) -> Option<Value> {
    let mut document = scene.get("/openapi/v2").await.ok();
    let mut found = document["definitions"].as_object_mut()?.remove(name)?;
    found.as_object_mut()?.remove("x-kubernetes-group-version-kind");
    if let Some(properties) = found.get_mut("properties").and_then(Value::as_object_mut) {
        for field in ["apiVersion", "kind", "metadata"] {
            properties.remove(field);
        }
    }
    Some(found)
}

/// Waits until the definition is this schema (`None`: until there is none).
async fn publishes(scene: &Scene, name: &str, schema: Option<&Value>) {
    tests::eventually(&format!("{name} in OpenAPI"), LIMIT, || async {
        let found = published(scene, name).await;
        if found.as_ref() == schema { Ok(()) } else { Err(format!("{found:?}")) }
    })
    .await;
}

async fn works_for_crd_with_validation_schema(scene: Scene) {
    let group = group(&scene);
    let path = establish(&scene, definition(&group, "Foo", &["v1"], &foo())).await;
    let name = definition_name(&group, "v1", "Foo");
    publishes(&scene, &name, Some(&foo())).await;
    scene.delete(&path, Value::Null).await.ok();
    publishes(&scene, &name, None).await;
}

async fn works_for_crd_without_validation_schema(scene: Scene) {
    let group = group(&scene);
    let open = json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true});
    establish(&scene, definition(&group, "Empty", &["v1"], &open)).await;
    publishes(&scene, &definition_name(&group, "v1", "Empty"), Some(&json!({"type": "object"}))).await;
}

async fn works_for_crd_preserving_unknown_fields_at_the_schema_root_and_in_an_embedded_object(scene: Scene) {
    let group = group(&scene);
    let properties = json!({"dummy": {"description": "Dummy property.", "type": "object"}});
    let root = json!({"description": "at root", "x-kubernetes-preserve-unknown-fields": true, "type": "object", "properties": {
        "spec": {"description": "Specification of Waldo", "type": "object", "properties": properties}}});
    let nested = json!({"description": "nested", "type": "object", "properties": {"spec": {"description": "Specification of Waldo",
        "type": "object", "x-kubernetes-preserve-unknown-fields": true, "properties": properties}}});
    for (kind, schema) in [("Root", root), ("Nested", nested)] {
        establish(&scene, definition(&group, kind, &["v1"], &schema)).await;
        let name = definition_name(&group, "v1", kind);
        // Old clients would refuse what they do not know, so that fields beside unknown ones are not told.
        tests::eventually("it is published", LIMIT, || async {
            let found = published(&scene, &name).await.ok_or("not yet")?;
            assert!(found["properties"]["spec"]["properties"].is_null(), "{found}");
            Ok::<_, &str>(())
        })
        .await;
        let object = json!({"apiVersion": format!("{group}/v1"), "kind": kind, "metadata": {"name": "cr"}, "spec": {"b": [{"c": "d"}]}});
        let plural = format!("{}s", kind.to_lowercase());
        let objects = format!("/apis/{group}/v1/namespaces/{}/{plural}?fieldValidation=Strict", scene.namespace);
        let answer = scene.post(&objects, object).await;
        if kind == "Root" {
            // Unknown fields are kept at the root only.
            answer.refused(400, "unknown field \"spec.b\"");
        } else {
            assert_eq!(answer.ok()["spec"]["b"][0]["c"], "d");
        }
    }
}

async fn works_for_multiple_crds_of_different_groups_versions_and_kinds(scene: Scene) {
    let waldo = json!({"description": "Waldo CRD for Testing", "type": "object", "properties": {
        "spec": {"description": "Specification of Waldo", "type": "object", "properties": {"dummy": {"description": "Dummy.", "type": "object"}}}}});
    let (one, other) = (group(&scene), format!("other.{}", group(&scene)));
    for (group, kind, versions, schema) in [
        (&one, "Multi", &["v2", "v3"][..], foo()),
        (&one, "Foo", &["v4"], foo()),
        (&one, "Waldo", &["v4"], waldo.clone()),
        (&other, "Waldo", &["v1beta1"], waldo),
    ] {
        establish(&scene, definition(group, kind, versions, &schema)).await;
        for version in versions {
            publishes(&scene, &definition_name(group, version, kind), Some(&schema)).await;
        }
    }
}

async fn updates_the_published_spec_when_one_version_gets_renamed(scene: Scene) {
    let group = group(&scene);
    let path = establish(&scene, definition(&group, "Renamed", &["v2", "v3"], &foo())).await;
    publishes(&scene, &definition_name(&group, "v3", "Renamed"), Some(&foo())).await;
    let patch = json!([{"op": "test", "path": "/spec/versions/1/name", "value": "v3"},
        {"op": "replace", "path": "/spec/versions/1/name", "value": "v4"}]);
    scene.patch(&path, Patch::Json, patch).await.ok();
    publishes(&scene, &definition_name(&group, "v4", "Renamed"), Some(&foo())).await;
    publishes(&scene, &definition_name(&group, "v3", "Renamed"), None).await;
    publishes(&scene, &definition_name(&group, "v2", "Renamed"), Some(&foo())).await;
}

async fn removes_definition_from_spec_when_one_version_gets_changed_to_not_be_served(scene: Scene) {
    let group = group(&scene);
    let path = establish(&scene, definition(&group, "Unserved", &["v5", "v6alpha1"], &foo())).await;
    publishes(&scene, &definition_name(&group, "v6alpha1", "Unserved"), Some(&foo())).await;
    let mut crd = scene.get(&path).await.ok();
    crd["spec"]["versions"][1]["served"] = false.into();
    scene.put(&path, &crd).await.ok();
    publishes(&scene, &definition_name(&group, "v6alpha1", "Unserved"), None).await;
    publishes(&scene, &definition_name(&group, "v5", "Unserved"), Some(&foo())).await;
    established(&scene, &path).await;
    let unserved = format!("/apis/{group}/v6alpha1/namespaces/{}/unserveds", scene.namespace);
    scene.get(&unserved).await.refused(404, "");
}

async fn should_publish_openapi_v3_for_custom_resource_definition(scene: Scene) {
    let group = group(&scene);
    establish(&scene, definition(&group, "Foo", &["v1"], &foo())).await;
    let path = format!("apis/{group}/v1");
    let url = tests::eventually("the group is listed", LIMIT, || async {
        let root = scene.get("/openapi/v3").await.ok();
        root["paths"][&path]["serverRelativeURL"].as_str().map(str::to_owned).ok_or("not yet")
    })
    .await;
    let document = scene.get(&url).await.ok();
    let schema = &document["components"]["schemas"][definition_name(&group, "v1", "Foo")];
    assert_eq!(schema["properties"]["spec"], foo()["properties"]["spec"]);
    let of_namespace = format!("/apis/{group}/v1/namespaces/{{namespace}}/foos");
    assert!(document["paths"][&of_namespace]["post"].is_object());
}

fn deployment(name: &str, replicas: Option<u32>, extra: &Value) -> Value {
    let mut deployment = json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name, "labels": {"app": "nginx"}}, "spec": {
        "paused": true, "selector": {"matchLabels": {"app": "nginx"}}, "template": {"metadata": {"labels": {"app": "nginx"}},
            "spec": {"containers": [{"name": "nginx", "image": "skiff.local/none:1"}]}}}});
    if let Some(replicas) = replicas {
        deployment["spec"]["replicas"] = replicas.into();
    }
    for (field, value) in extra.as_object().into_iter().flatten() {
        deployment["spec"][field] = value.clone();
    }
    deployment
}

async fn apply(scene: &Scene, manager: &str, force: bool, object: Value) -> super::stage::Answer {
    let name = object["metadata"]["name"].as_str().unwrap().to_owned();
    let path = format!("deployments/{name}?fieldManager={manager}{}", if force { "&force=true" } else { "" });
    scene.patch(&path, Patch::Apply, object).await
}

async fn should_create_an_applied_object_if_it_does_not_already_exist(scene: Scene) {
    let pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "test-pod"}, "spec": {"nodeSelector": {"no": "such-node"},
        "containers": [{"name": "test-container", "image": "skiff.local/none:1"}]}});
    let template = json!({"apiVersion": "v1", "kind": "PodTemplate", "metadata": {"name": "test-podtemplate"},
        "template": {"metadata": {"labels": {"a": "b"}}, "spec": pod["spec"]}});
    for (path, object) in [("pods/test-pod", pod), ("podtemplates/test-podtemplate", template)] {
        let query = format!("{path}?fieldManager=apply_test");
        assert_eq!(scene.patch(&query, Patch::Apply, object.clone()).await.code, 201);
        assert_eq!(scene.patch(&query, Patch::Apply, object.clone()).await.code, 200);
        assert_eq!(scene.get(path).await.ok()["metadata"]["managedFields"][0]["manager"], "apply_test");
    }
}

async fn should_work_for_subresources(scene: Scene) {
    let pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "test-pod"}, "spec": {"nodeSelector": {"no": "such-node"},
        "containers": [{"name": "test-container", "image": "skiff.local/none:1"}]}});
    scene.patch("pods/test-pod?fieldManager=apply_test", Patch::Apply, pod).await.ok();
    let status = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "test-pod"},
        "status": {"conditions": [{"type": "MyStatus", "status": "True"}]}});
    let pod = scene.patch("pods/test-pod/status?fieldManager=apply_status_test", Patch::Apply, status).await.ok();
    let owner = list(&pod["metadata"], "managedFields").iter().find(|m| m["manager"] == "apply_status_test").unwrap();
    assert_eq!((&owner["subresource"], &owner["operation"]), (&json!("status"), &json!("Apply")));
    let found = list(&pod["status"], "conditions").iter().find(|c| c["type"] == "MyStatus").unwrap();
    assert_eq!(found["status"], "True");
}

async fn should_remove_a_field_if_it_is_owned_but_removed_in_the_apply_request(scene: Scene) {
    let mut object = deployment("deployment", Some(3), &json!({"minReadySeconds": 5}));
    apply(&scene, "apply_test", false, object.clone()).await.ok();
    object["spec"].as_object_mut().unwrap().remove("minReadySeconds");
    object["metadata"]["labels"] = json!({"new": "label"});
    let applied = apply(&scene, "apply_test", false, object).await.ok();
    assert!(applied["spec"]["minReadySeconds"].is_null());
    assert_eq!(applied["metadata"]["labels"], json!({"new": "label"}));
}

async fn should_not_remove_a_field_if_an_owner_unsets_the_field_but_other_managers_still_have_ownership(scene: Scene) {
    apply(&scene, "shared_owner_1", false, deployment("deployment-shared-unset", Some(3), &Value::Null)).await.ok();
    apply(&scene, "shared_owner_2", false, deployment("deployment-shared-unset", Some(3), &Value::Null)).await.ok();
    let left =
        apply(&scene, "shared_owner_1", false, deployment("deployment-shared-unset", None, &Value::Null)).await.ok();
    assert_eq!(left["spec"]["replicas"], 3);
    // Its last owner takes the field along: the default comes back.
    let gone =
        apply(&scene, "shared_owner_2", false, deployment("deployment-shared-unset", None, &Value::Null)).await.ok();
    assert_eq!(gone["spec"]["replicas"], 1);
}

async fn should_ignore_conflict_errors_if_force_apply_is_used(scene: Scene) {
    apply(&scene, "apply_test", false, deployment("deployment", Some(3), &Value::Null)).await.ok();
    let refused = apply(&scene, "apply_test_2", false, deployment("deployment", Some(2), &Value::Null)).await;
    let status = refused.refused(409, "Apply failed with 1 conflict: conflict with \"apply_test\": .spec.replicas");
    assert_eq!(
        status["details"]["causes"],
        json!([{"reason": "FieldManagerConflict", "message": "conflict with \"apply_test\"", "field": ".spec.replicas"}])
    );
    let forced = apply(&scene, "apply_test_2", true, deployment("deployment", Some(2), &Value::Null)).await.ok();
    assert_eq!(forced["spec"]["replicas"], 2);
}

async fn should_work_for_crds(scene: Scene) {
    let group = group(&scene);
    let port = json!({"type": "object", "required": ["containerPort", "protocol"], "properties": {
        "containerPort": {"type": "integer"}, "protocol": {"type": "string"}, "name": {"type": "string"}}});
    let schema = json!({"type": "object", "properties": {"spec": {"type": "object", "x-kubernetes-preserve-unknown-fields": true, "properties": {
        "cronSpec": {"type": "string"}, "replicas": {"type": "integer"},
        "ports": {"type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["containerPort", "protocol"], "items": port}}}}});
    establish(&scene, definition(&group, "Applied", &["v1beta1"], &schema)).await;
    let it = format!("/apis/{group}/v1beta1/namespaces/{}/applieds/mytest", scene.namespace);
    let object = |ports: Value, replicas: Value| {
        json!({"apiVersion": format!("{group}/v1beta1"), "kind": "Applied", "metadata": {"name": "mytest", "finalizers": ["test/finalizer"]},
            "spec": {"cronSpec": "* * * * */5", "replicas": replicas, "ports": ports}})
    };
    let first = json!({"name": "x", "containerPort": 80, "protocol": "TCP"});
    let applied = scene
        .patch(&format!("{it}?fieldManager=apply_test"), Patch::Apply, object(json!([first]), json!(1)))
        .await
        .ok();
    let owned = &applied["metadata"]["managedFields"][0]["fieldsV1"]["f:spec"]["f:ports"];
    assert!(owned[r#"k:{"containerPort":80,"protocol":"TCP"}"#].is_object(), "{owned}");
    let patched =
        scene.patch(&format!("{it}?fieldManager=patcher"), Patch::Merge, json!({"spec": {"replicas": 5}})).await.ok();
    assert_eq!(patched["spec"]["replicas"], 5);
    let again = object(json!([{"name": "y", "containerPort": 80, "protocol": "TCP"}]), json!(1));
    let refused = scene.patch(&format!("{it}?fieldManager=apply_test"), Patch::Apply, again.clone()).await;
    refused.refused(409, "Apply failed with 1 conflict: conflict with \"patcher\"");
    let forced = scene.patch(&format!("{it}?fieldManager=apply_test&force=true"), Patch::Apply, again).await.ok();
    assert_eq!((&forced["spec"]["replicas"], &forced["spec"]["ports"][0]["name"]), (&json!(1), &json!("y")));
    // Another owner's item stands beside the first.
    let other = object(json!([{"name": "z", "containerPort": 8080, "protocol": "TCP"}]), json!(1));
    let both = scene.patch(&format!("{it}?fieldManager=other"), Patch::Apply, other).await.ok();
    assert_eq!(both["spec"]["ports"].as_array().unwrap().len(), 2);
}

async fn should_give_up_ownership_of_a_field_if_forced_applied_by_a_controller(scene: Scene) {
    apply(&scene, "user", false, deployment("deployment", Some(3), &Value::Null)).await.ok();
    let scale = json!({"apiVersion": "autoscaling/v1", "kind": "Scale", "metadata": {"name": "deployment", "namespace": scene.namespace},
        "spec": {"replicas": 5}});
    let refused =
        scene.patch("deployments/deployment/scale?fieldManager=controller", Patch::Apply, scale.clone()).await;
    refused.refused(409, "conflict with \"user\"");
    scene.patch("deployments/deployment/scale?fieldManager=controller&force=true", Patch::Apply, scale).await.ok();
    // The user lets go of what the controller has now.
    let left = apply(&scene, "user", false, deployment("deployment", None, &Value::Null)).await.ok();
    assert_eq!(left["spec"]["replicas"], 5);
    let owners =
        list(&left["metadata"], "managedFields").iter().filter(|m| m["fieldsV1"]["f:spec"]["f:replicas"].is_object());
    assert_eq!(owners.map(|m| m["manager"].clone()).collect::<Vec<_>>(), ["controller"]);
}
