//! [sig-api-machinery] custom resources (test/e2e/apimachinery/{custom_resource_definition,crd_*,field_validation}.go).

use super::stage::{Patch, Scenario, Scene, play, scenarios};
use http::Method;
use serde_json::{Value, json};
use tests::cluster::Options;

#[tokio::test]
async fn custom_resources() {
    let all: &[Scenario] = scenarios![
        creating_deleting_custom_resource_definition_objects_works,
        listing_custom_resource_definition_objects_works,
        getting_updating_patching_custom_resource_definition_status_sub_resource_works,
        should_include_custom_resource_definition_resources_in_discovery_documents,
        custom_resource_defaulting_for_requests_and_from_storage_works,
        watch_on_custom_resource_definition_objects,
        must_list_and_watch_custom_resources_matching_the_field_selector,
        must_not_fail_to_update_a_resource_due_to_json_schema_errors_on_unchanged_correlatable_fields,
        must_fail_to_update_a_resource_due_to_json_schema_errors_on_changed_fields,
        must_fail_to_update_a_resource_due_to_json_schema_errors_on_unchanged_uncorrelatable_fields,
        must_not_fail_to_update_a_resource_due_to_crd_validation_rule_errors_on_unchanged_correlatable_fields,
        must_fail_validation_for_create_of_a_custom_resource_that_does_not_satisfy_the_x_kubernetes_validations_rules,
        must_fail_create_of_a_custom_resource_definition_that_contains_an_x_kubernetes_validations_rule_that_exceeds_cost,
        must_fail_update_of_a_custom_resource_that_does_not_satisfy_a_transition_rule,
        should_detect_unknown_and_duplicate_fields_of_a_typed_object,
        should_detect_unknown_metadata_fields_of_a_typed_object,
        should_create_apply_a_valid_cr_for_crd_with_validation_schema,
        should_create_apply_a_cr_with_unknown_fields_for_crd_with_no_validation_schema,
        should_create_apply_an_invalid_cr_with_extra_properties_for_crd_with_validation_schema,
        should_detect_unknown_metadata_fields_in_both_the_root_and_embedded_object_of_a_cr,
        should_detect_duplicates_in_a_cr_when_preserving_unknown_fields,
    ];
    play(Options::default(), all).await;
}

pub const CRDS: &str = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";

/// A definition with one stored and served version per name; the first one is stored.
pub fn definition(group: &str, kind: &str, versions: &[&str], schema: &Value) -> Value {
    let singular = kind.to_lowercase();
    let versions: Vec<Value> = versions
        .iter()
        .enumerate()
        .map(
            |(n, name)| json!({"name": name, "served": true, "storage": n == 0, "schema": {"openAPIV3Schema": schema}}),
        )
        .collect();
    json!({"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": format!("{singular}s.{group}")},
        "spec": {"group": group, "scope": "Namespaced", "versions": versions,
            "names": {"plural": format!("{singular}s"), "singular": singular, "kind": kind, "listKind": format!("{kind}List")}}})
}

/// Creates a definition, waits until it is served, and returns its path.
pub async fn establish(scene: &Scene, definition: Value) -> String {
    let path = format!("{CRDS}/{}", definition["metadata"]["name"].as_str().expect("a name"));
    scene.post(CRDS, definition).await.ok();
    established(scene, &path).await;
    path
}

pub async fn established(scene: &Scene, path: &str) {
    let is = |c: &Value| c["type"] == "Established" && c["status"] == "True";
    scene
        .wait(path, "is established", |crd| {
            crd.and_then(|crd| crd["status"]["conditions"].as_array()).is_some_and(|all| all.iter().any(is))
        })
        .await;
}

/// A group that no other scenario has.
pub fn group(scene: &Scene) -> String {
    format!("{}.example.com", scene.namespace)
}

fn open() -> Value {
    json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true})
}

async fn creating_deleting_custom_resource_definition_objects_works(scene: Scene) {
    let path = establish(&scene, definition(&group(&scene), "Simple", &["v1beta1"], &open())).await;
    scene.delete(&path, Value::Null).await.ok();
    scene.gone(&path).await;
}

async fn listing_custom_resource_definition_objects_works(scene: Scene) {
    for n in 0..10 {
        let mut crd = definition(&group(&scene), &format!("Listed{n}"), &["v1"], &open());
        crd["metadata"]["labels"] = json!({"e2e-list-test-uuid": "listed"});
        establish(&scene, crd).await;
    }
    let mut other = definition(&group(&scene), "Unlabelled", &["v1"], &open());
    other["metadata"]["labels"] = json!({"e2e-list-test-uuid": "other"});
    let other = establish(&scene, other).await;
    let listed = format!("{CRDS}?labelSelector=e2e-list-test-uuid%3Dlisted");
    let items = scene.items(&listed).await;
    assert_eq!(items.len(), 10);
    assert!(items.iter().all(|crd| crd["spec"]["names"]["kind"].as_str().unwrap().starts_with("Listed")));
    scene.delete(&listed, Value::Null).await.ok();
    scene.wait_items(&listed, "none is left", <[Value]>::is_empty).await;
    scene.get(&other).await.ok();
}

async fn getting_updating_patching_custom_resource_definition_status_sub_resource_works(scene: Scene) {
    let path = establish(&scene, definition(&group(&scene), "Stated", &["v1"], &open())).await;
    let status = format!("{path}/status");
    let mut crd = scene.get(&status).await.ok();
    let condition = json!({"type": "StatusUpdate", "status": "True", "reason": "E2E", "message": "Set from e2e test"});
    crd["status"]["conditions"].as_array_mut().unwrap().push(condition.clone());
    scene.put(&status, &crd).await.ok();
    let has = |crd: &Value, kind: &str| {
        crd["status"]["conditions"].as_array().unwrap().iter().find(|c| c["type"] == kind).cloned()
    };
    let found = has(&scene.get(&path).await.ok(), "StatusUpdate").expect("the condition was stored");
    assert_eq!((&found["reason"], &found["message"]), (&condition["reason"], &condition["message"]));
    let patch = json!([{"op": "add", "path": "/status/conditions/-",
        "value": {"type": "StatusPatched", "status": "True", "reason": "E2E", "message": "Set by patch"}}]);
    scene.patch(&status, Patch::Json, patch).await.ok();
    let crd = scene.get(&path).await.ok();
    assert!(
        has(&crd, "StatusPatched").is_some()
            && has(&crd, "StatusUpdate").is_some()
            && has(&crd, "Established").is_some()
    );
}

async fn should_include_custom_resource_definition_resources_in_discovery_documents(scene: Scene) {
    let groups = scene.get("/apis").await.ok();
    let group =
        groups["groups"].as_array().unwrap().iter().find(|g| g["name"] == "apiextensions.k8s.io").cloned().unwrap();
    let version = json!({"groupVersion": "apiextensions.k8s.io/v1", "version": "v1"});
    assert!(group["versions"].as_array().unwrap().contains(&version));
    assert!(scene.get("/apis/apiextensions.k8s.io").await.ok()["versions"].as_array().unwrap().contains(&version));
    let resources = scene.get("/apis/apiextensions.k8s.io/v1").await.ok();
    assert!(resources["resources"].as_array().unwrap().iter().any(|r| r["name"] == "customresourcedefinitions"));
}

async fn custom_resource_defaulting_for_requests_and_from_storage_works(scene: Scene) {
    let schema = json!({"type": "object", "properties": {"a": {"type": "string"}, "b": {"type": "string"}}});
    let group = group(&scene);
    let path = establish(&scene, definition(&group, "Defaulted", &["v1"], &schema)).await;
    let objects = format!("/apis/{group}/v1/namespaces/{}/defaulteds", scene.namespace);
    let object =
        |name: &str| json!({"apiVersion": format!("{group}/v1"), "kind": "Defaulted", "metadata": {"name": name}});
    scene.post(&objects, object("cr-1")).await.ok();
    let one = format!("{objects}/cr-1");
    assert!(scene.get(&one).await.ok()["a"].is_null());
    let properties = "/spec/versions/0/schema/openAPIV3Schema/properties";
    let add = json!([{"op": "add", "path": format!("{properties}/a/default"), "value": "A"}]);
    scene.patch(&path, Patch::Json, add).await.ok();
    // What is stored without the field gets it on the way out.
    tests::eventually("the default is read", super::stage::LIMIT, || async {
        let object = scene.get(&one).await.ok();
        if object["a"] == "A" { Ok(()) } else { Err(object.to_string()) }
    })
    .await;
    assert_eq!(scene.post(&objects, object("cr-2")).await.ok()["a"], "A");
    let other = json!([{"op": "remove", "path": format!("{properties}/a/default")},
        {"op": "add", "path": format!("{properties}/b/default"), "value": "B"}]);
    scene.patch(&path, Patch::Json, other).await.ok();
    // The new default is read; the old one stays where it was stored.
    tests::eventually("the other default is read", super::stage::LIMIT, || async {
        let object = scene.get(&format!("{objects}/cr-2")).await.ok();
        if object["b"] == "B" { Ok(()) } else { Err(object.to_string()) }
    })
    .await;
    let second = scene.get(&format!("{objects}/cr-2")).await.ok();
    assert_eq!((&second["a"], &second["b"]), (&json!("A"), &json!("B")));
    let first = scene.get(&one).await.ok();
    assert_eq!((&first["a"], &first["b"]), (&Value::Null, &json!("B")));
}

async fn watch_on_custom_resource_definition_objects(scene: Scene) {
    let group = group(&scene);
    let mut crd = definition(&group, "Noxu", &["v1beta1"], &open());
    crd["spec"]["scope"] = "Cluster".into();
    establish(&scene, crd).await;
    let objects = format!("/apis/{group}/v1beta1/noxus");
    let mut watches = Vec::new();
    for name in ["name1", "name2"] {
        watches.push((name, scene.watch(&format!("{objects}?fieldSelector=metadata.name%3D{name}")).await));
    }
    for name in ["name1", "name2"] {
        let object = json!({"apiVersion": format!("{group}/v1beta1"), "kind": "Noxu", "metadata": {"name": name},
            "content": {"key": "value"}, "num": {"num1": i64::MAX, "num2": 1_000_000}});
        scene.post(&objects, object).await.ok();
    }
    for name in ["name1", "name2"] {
        scene.patch(&format!("{objects}/{name}"), Patch::Merge, json!({"dummy": "test"})).await.ok();
        scene.delete(&format!("{objects}/{name}"), Value::Null).await.ok();
    }
    for (name, watch) in &mut watches {
        assert_eq!(watch.expect("ADDED").await["num"]["num1"], i64::MAX);
        assert_eq!(watch.expect("MODIFIED").await["dummy"], "test");
        assert_eq!(watch.expect("DELETED").await["metadata"]["name"], *name);
    }
}

async fn must_list_and_watch_custom_resources_matching_the_field_selector(scene: Scene) {
    let group = group(&scene);
    let schema = json!({"type": "object", "properties": {"hostPort": {"type": "string"}}});
    let renamed = json!({"type": "object", "properties": {"host": {"type": "string"}, "port": {"type": "string"}}});
    let mut crd = definition(&group, "Selected", &["v1", "v2"], &schema);
    crd["spec"]["versions"][1]["schema"]["openAPIV3Schema"] = renamed;
    crd["spec"]["versions"][0]["selectableFields"] = json!([{"jsonPath": ".hostPort"}]);
    crd["spec"]["versions"][1]["selectableFields"] = json!([{"jsonPath": ".host"}, {"jsonPath": ".port"}]);
    establish(&scene, crd).await;
    let objects = format!("/apis/{group}/v1/namespaces/{}/selecteds", scene.namespace);
    let selected = format!("{objects}?fieldSelector=hostPort%3Dhost1:80");
    let mut watch = scene.watch(&selected).await;
    for (name, at) in [("cr-1", "host1:80"), ("cr-2", "host2:8080"), ("cr-3", "host1:80")] {
        let object = json!({"apiVersion": format!("{group}/v1"), "kind": "Selected", "metadata": {"name": name}, "hostPort": at});
        scene.post(&objects, object).await.ok();
    }
    let names = |items: &[Value]| items.iter().map(|o| o["metadata"]["name"].clone()).collect::<Vec<_>>();
    assert_eq!(names(&scene.items(&selected).await), ["cr-1", "cr-3"]);
    assert_eq!(watch.expect("ADDED").await["metadata"]["name"], "cr-1");
    assert_eq!(watch.expect("ADDED").await["metadata"]["name"], "cr-3");
    scene.patch(&format!("{objects}/cr-3"), Patch::Merge, json!({"hostPort": "elsewhere:1"})).await.ok();
    assert_eq!(watch.expect("DELETED").await["metadata"]["name"], "cr-3");
    // By the other version's fields, and by none that is selectable.
    let others = format!("/apis/{group}/v2/namespaces/{}/selecteds", scene.namespace);
    assert!(scene.items(&format!("{others}?fieldSelector=host%3Dhost1,port%3D80")).await.is_empty());
    let refused = scene.get(&format!("{objects}?fieldSelector=host%3Dhost1")).await;
    refused.refused(400, "field label not supported: host");
    scene.delete(&format!("{objects}?fieldSelector=hostPort%3Dhost2:8080"), Value::Null).await.ok();
    assert_eq!(names(&scene.items(&objects).await), ["cr-1", "cr-3"]);
}

/// A kind whose objects were stored before its schema became `strict`; answers the path of an object `{"field": …}`.
async fn ratchet(scene: &Scene, open: &Value, strict: &Value, object: Value) -> String {
    let group = group(scene);
    let path = establish(scene, definition(&group, "Ratcheted", &["v1"], open)).await;
    let objects = format!("/apis/{group}/v1/namespaces/{}/ratcheteds", scene.namespace);
    let mut stored = json!({"apiVersion": format!("{group}/v1"), "kind": "Ratcheted", "metadata": {"name": "it"}});
    for (key, value) in object.as_object().unwrap() {
        stored[key] = value.clone();
    }
    scene.post(&objects, stored.clone()).await.ok();
    let replace = json!([{"op": "replace", "path": "/spec/versions/0/schema/openAPIV3Schema", "value": strict}]);
    scene.patch(&path, Patch::Json, replace).await.ok();
    // In force when such an object is refused.
    stored["metadata"]["name"] = "probe".into();
    tests::eventually("the schema is in force", super::stage::LIMIT, || async {
        match scene.post(&format!("{objects}?dryRun=All"), stored.clone()).await.code {
            422 => Ok(()),
            code => Err(code),
        }
    })
    .await;
    format!("{objects}/it")
}

fn fields(properties: &Value) -> Value {
    json!({"type": "object", "properties": properties})
}

async fn must_not_fail_to_update_a_resource_due_to_json_schema_errors_on_unchanged_correlatable_fields(scene: Scene) {
    let loose = fields(&json!({"field": {"type": "string"}, "other": {"type": "string"}}));
    let strict = fields(&json!({"field": {"type": "string", "maxLength": 2}, "other": {"type": "string"}}));
    let it = ratchet(&scene, &loose, &strict, json!({"field": "too long"})).await;
    scene.patch(&it, Patch::Merge, json!({"other": "new"})).await.ok();
    scene
        .patch(
            &it,
            Patch::Apply,
            json!({"apiVersion": format!("{}/v1", group(&scene)), "kind": "Ratcheted", "metadata": {"name": "it"}}),
        )
        .await
        .refused(422, "fieldManager");
}

async fn must_fail_to_update_a_resource_due_to_json_schema_errors_on_changed_fields(scene: Scene) {
    let loose = fields(&json!({"field": {"type": "string"}}));
    let strict = fields(&json!({"field": {"type": "string", "maxLength": 2}}));
    let it = ratchet(&scene, &loose, &strict, json!({"field": "too long"})).await;
    let refused = scene.patch(&it, Patch::Merge, json!({"field": "also too long"})).await;
    refused.refused(422, "field: Too long: may not be more than 2 bytes");
}

async fn must_fail_to_update_a_resource_due_to_json_schema_errors_on_unchanged_uncorrelatable_fields(scene: Scene) {
    // Items of an atomic list have no identity: nobody can say that one is unchanged.
    let list = |item: Value| fields(&json!({"list": {"type": "array", "items": item}}));
    let loose = list(json!({"type": "object", "properties": {"n": {"type": "integer"}}}));
    let strict = list(json!({"type": "object", "properties": {"n": {"type": "integer", "maximum": 3}}}));
    let it = ratchet(&scene, &loose, &strict, json!({"list": [{"n": 5}, {"n": 1}]})).await;
    let refused = scene.patch(&it, Patch::Merge, json!({"list": [{"n": 5}, {"n": 2}]})).await;
    refused.refused(422, "list[0].n: Invalid value: 5: list[0].n in body should be less than or equal to 3");
}

async fn must_not_fail_to_update_a_resource_due_to_crd_validation_rule_errors_on_unchanged_correlatable_fields(
    scene: Scene,
) {
    let loose = fields(&json!({"field": {"type": "string"}, "other": {"type": "string"}}));
    let rule = json!([{"rule": "self.startsWith('a')", "message": "has to begin with a"}]);
    let strict =
        fields(&json!({"field": {"type": "string", "x-kubernetes-validations": rule}, "other": {"type": "string"}}));
    let it = ratchet(&scene, &loose, &strict, json!({"field": "b"})).await;
    scene.patch(&it, Patch::Merge, json!({"other": "new"})).await.ok();
    scene
        .patch(&it, Patch::Merge, json!({"field": "c"}))
        .await
        .refused(422, "field: Invalid value: \"c\": has to begin with a");
}

fn ruled(rule: &str) -> Value {
    json!({"type": "object", "properties": {
        "spec": {"type": "object", "x-kubernetes-validations": [{"rule": rule}], "properties": {
            "x": {"type": "integer"}, "y": {"type": "integer"}, "list": {"type": "array", "items": {"type": "string"}}}}}})
}

async fn must_fail_validation_for_create_of_a_custom_resource_that_does_not_satisfy_the_x_kubernetes_validations_rules(
    scene: Scene,
) {
    let group = group(&scene);
    establish(&scene, definition(&group, "Ruled", &["v1"], &ruled("self.x + self.y > 0"))).await;
    let objects = format!("/apis/{group}/v1/namespaces/{}/ruleds", scene.namespace);
    let object = |y: i64| json!({"apiVersion": format!("{group}/v1"), "kind": "Ruled", "metadata": {"name": "it"}, "spec": {"x": -1, "y": y}});
    scene.post(&objects, object(0)).await.refused(422, "failed rule: self.x + self.y > 0");
    scene.post(&objects, object(2)).await.ok();
}

async fn must_fail_create_of_a_custom_resource_definition_that_contains_an_x_kubernetes_validations_rule_that_exceeds_cost(
    scene: Scene,
) {
    let group = group(&scene);
    let crd = |rule: &str| definition(&group, "Costly", &["v1"], &ruled(rule));
    let costly = "self.list.all(x, self.list.all(y, self.list.all(z, x == y && y == z)))";
    scene.post(CRDS, crd(costly)).await.refused(422, "estimated rule cost exceeds budget by factor of");
    scene.post(CRDS, crd("self.z > 0")).await.refused(422, "undefined field 'z'");
    scene.post(CRDS, crd("self.x + ")).await.refused(422, "compilation failed");
}

async fn must_fail_update_of_a_custom_resource_that_does_not_satisfy_a_transition_rule(scene: Scene) {
    let group = group(&scene);
    establish(&scene, definition(&group, "Moved", &["v1"], &ruled("self.x >= oldSelf.x"))).await;
    let objects = format!("/apis/{group}/v1/namespaces/{}/moveds", scene.namespace);
    let object =
        json!({"apiVersion": format!("{group}/v1"), "kind": "Moved", "metadata": {"name": "it"}, "spec": {"x": 5}});
    scene.post(&objects, object).await.ok();
    let it = format!("{objects}/it");
    scene.patch(&it, Patch::Merge, json!({"spec": {"x": 6}})).await.ok();
    scene.patch(&it, Patch::Merge, json!({"spec": {"x": 5}})).await.refused(422, "failed rule: self.x >= oldSelf.x");
}

const STRICT: &str = "fieldManager=field_validation_mgr&fieldValidation=Strict";

fn deployment(metadata: &str, spec: &str) -> String {
    format!(
        r#"{{"apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": {{"name": "my-dep", {metadata} "labels": {{"app": "nginx"}}}},
        "spec": {{{spec} "selector": {{"matchLabels": {{"app": "nginx"}}}},
            "template": {{"metadata": {{"labels": {{"app": "nginx"}}}},
                "spec": {{"containers": [{{"name": "nginx", "image": "nginx:latest"}}]}}}}}}}}"#
    )
}

async fn should_detect_unknown_and_duplicate_fields_of_a_typed_object(scene: Scene) {
    let body = deployment("", r#""unknownField": "foo", "replicas": 2, "replicas": 3,"#);
    let json = [("content-type", "application/json")];
    let told = r#"unknown field "spec.unknownField", duplicate field "spec.replicas""#;
    let refused = scene.call(Method::POST, &format!("deployments?{STRICT}"), &json, body.clone()).await;
    refused.refused(400, &format!("strict decoding error: {told}"));
    let warned = scene.call(Method::POST, "deployments?fieldValidation=Warn&dryRun=All", &json, body.clone()).await;
    let warnings: Vec<_> = warned.headers.get_all("warning").iter().map(|w| w.to_str().unwrap().to_owned()).collect();
    assert_eq!(
        warnings,
        [r#"299 - "unknown field \"spec.unknownField\"""#, r#"299 - "duplicate field \"spec.replicas\"""#]
    );
    assert_eq!(warned.ok()["spec"]["replicas"], 3);
    let ignored = scene.call(Method::POST, "deployments?fieldValidation=Ignore&dryRun=All", &json, body).await;
    assert!(!ignored.headers.contains_key("warning"));
    assert!(ignored.ok()["spec"]["unknownField"].is_null());
}

async fn should_detect_unknown_metadata_fields_of_a_typed_object(scene: Scene) {
    let body = deployment(r#""unknownMeta": "foo","#, "");
    let refused =
        scene.call(Method::POST, &format!("deployments?{STRICT}"), &[("content-type", "application/json")], body).await;
    refused.refused(400, r#"strict decoding error: unknown field "metadata.unknownMeta""#);
}

fn noxu_properties() -> Value {
    let port = json!({"type": "object", "required": ["containerPort", "protocol"], "properties": {
        "containerPort": {"format": "int32", "type": "integer"}, "hostIP": {"type": "string"},
        "hostPort": {"format": "int32", "type": "integer"}, "name": {"type": "string"}, "protocol": {"type": "string"}}});
    json!({"foo": {"type": "string"},
        "cronSpec": {"type": "string", "pattern": r"^(\d+|\*)(/\d+)?(\s+(\d+|\*)(/\d+)?){4}$"},
        "ports": {"type": "array", "x-kubernetes-list-type": "map",
            "x-kubernetes-list-map-keys": ["containerPort", "protocol"], "items": port}})
}

/// Applies an object of a new cluster-wide kind with this schema, with more lines in its root, metadata and spec.
async fn apply(scene: &Scene, schema: &Value, [root, metadata, spec]: [&str; 3]) -> super::stage::Answer {
    let group = group(scene);
    let mut crd = definition(&group, "Noxu", &["v1beta1", "v1"], schema);
    crd["spec"]["scope"] = "Cluster".into();
    establish(scene, crd).await;
    let yaml = format!(
        "\napiVersion: {group}/v1beta1\nkind: Noxu\nmetadata:\n  name: mytest\n{metadata}  finalizers:\n  - test-finalizer\n\
         {root}spec:\n{spec}  cronSpec: \"* * * * */5\"\n  ports:\n  - name: x\n    containerPort: 80\n    protocol: TCP"
    );
    let apply = [("content-type", "application/apply-patch+yaml")];
    scene.call(Method::PATCH, &format!("/apis/{group}/v1beta1/noxus/mytest?{STRICT}"), &apply, yaml).await
}

async fn should_create_apply_a_valid_cr_for_crd_with_validation_schema(scene: Scene) {
    let schema = fields(&json!({"spec": fields(&noxu_properties())}));
    assert_eq!(apply(&scene, &schema, ["", "", "  foo: foo1\n"]).await.code, 201);
}

async fn should_create_apply_a_cr_with_unknown_fields_for_crd_with_no_validation_schema(scene: Scene) {
    assert_eq!(apply(&scene, &open(), ["", "", "  unknown: uk1\n"]).await.ok()["spec"]["unknown"], "uk1");
}

async fn should_create_apply_an_invalid_cr_with_extra_properties_for_crd_with_validation_schema(scene: Scene) {
    let schema = fields(&json!({"spec": fields(&noxu_properties())}));
    let answer = apply(&scene, &schema, ["unknownField: unknown\n", "", "  foo: foo1\n"]).await;
    answer.refused(500, ".unknownField: field not declared in schema");
}

async fn should_detect_unknown_metadata_fields_in_both_the_root_and_embedded_object_of_a_cr(scene: Scene) {
    let mut spec = noxu_properties();
    spec["template"] = json!({"type": "object", "x-kubernetes-embedded-resource": true, "properties": {
        "metadata": {"type": "object", "properties": {"name": {"type": "string"}}}, "spec": {"type": "object"}}});
    let schema =
        fields(&json!({"spec": {"type": "object", "x-kubernetes-preserve-unknown-fields": true, "properties": spec}}));
    let template = "  template:\n    apiversion: foo/v1\n    kind: Sub\n    metadata:\n        unknownSubMeta: unknown\n        \
                    name: subobject\n        namespace: ns\n";
    let answer = apply(&scene, &schema, ["", "  unknownMeta: unknown\n", template]).await;
    // Of each object the first fault is told: of the embedded one that may be its `apiversion`.
    let status = answer.refused(500, ".metadata.unknownMeta: field not declared in schema");
    let message = status["message"].as_str().unwrap();
    let embedded = ["metadata.unknownSubMeta", "apiversion"]
        .map(|field| format!(".spec.template.{field}: field not declared in schema"));
    assert!(embedded.iter().any(|fault| message.contains(fault)), "{message}");
}

async fn should_detect_duplicates_in_a_cr_when_preserving_unknown_fields(scene: Scene) {
    let spec = json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true, "properties": noxu_properties()});
    let answer =
        apply(&scene, &fields(&json!({"spec": spec})), ["", "", "  unknown: uk1\n  foo: foo1\n  foo: foo2\n"]).await;
    answer.refused(400, "line 11: key \"foo\" already set in map");
}
