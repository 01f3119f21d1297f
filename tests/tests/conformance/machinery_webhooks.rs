//! [sig-api-machinery] AdmissionWebhook (test/e2e/apimachinery/webhook.go).

use super::hooks::Hooks;
use super::machinery_crds::{CRDS, definition, establish, group};
use super::stage::{LIMIT, Patch, Scenario, Scene, play, scenarios};
use serde_json::{Value, json};
use tests::cluster::Options;

#[tokio::test]
async fn webhooks() {
    let all: &[Scenario] = scenarios![
        should_include_webhook_resources_in_discovery_documents,
        should_be_able_to_deny_pod_and_configmap_creation,
        should_be_able_to_deny_custom_resource_creation_update_and_deletion,
        should_unconditionally_reject_operations_on_fail_closed_webhook,
        should_mutate_configmap,
        should_mutate_pod_and_apply_defaults_after_mutation,
        should_not_be_able_to_mutate_or_prevent_deletion_of_webhook_configuration_objects,
        should_mutate_custom_resource,
        should_deny_crd_creation,
        should_mutate_custom_resource_with_different_stored_version,
        should_mutate_custom_resource_with_pruning,
        should_honor_timeout,
        patching_updating_a_validating_webhook_should_work,
        patching_updating_a_mutating_webhook_should_work,
        listing_validating_webhooks_should_work,
        listing_mutating_webhooks_should_work,
        should_be_able_to_create_and_update_webhook_configurations_with_match_conditions,
        should_reject_webhook_configurations_with_invalid_match_conditions,
        should_mutate_everything_except_skip_me_configmaps,
    ];
    play(Options::default(), all).await;
}

const VALIDATING: &str = "/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations";
const MUTATING: &str = "/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations";

/// A rule about creations and updates of a resource.
fn rule(group: &str, version: &str, resource: &str, operations: &[&str]) -> Value {
    json!([{"operations": operations, "apiGroups": [group], "apiVersions": [version], "resources": [resource]}])
}

/// A webhook for requests in the scenario's namespace.
fn hook(scene: &Scene, name: &str, client: Value, rules: Value) -> Value {
    json!({"name": format!("{name}.k8s.io"), "clientConfig": client, "rules": rules, "sideEffects": "None",
        "admissionReviewVersions": ["v1", "v1beta1"], "timeoutSeconds": 10,
        "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": scene.namespace}}})
}

/// Creates a configuration and answers its path.
async fn register(scene: &Scene, collection: &str, name: &str, hooks: Value) -> String {
    let name = format!("{name}-{}", scene.namespace);
    scene.post(collection, json!({"metadata": {"name": name}, "webhooks": hooks})).await.ok();
    format!("{collection}/{name}")
}

fn map(name: &str, data: Value) -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": data})
}

fn unwanted() -> Value {
    json!({"webhook-e2e-test": "webhook-disallow"})
}

/// Waits until a creation that is tried without effect is answered with this code.
async fn answered(scene: &Scene, path: &str, object: Value, code: u16) {
    let probe = format!("{path}?dryRun=All");
    tests::eventually("the webhooks are as configured", LIMIT, || async {
        let answer = scene.post(&probe, object.clone()).await;
        if answer.code == code { Ok(()) } else { Err(answer.text) }
    })
    .await;
}

async fn should_include_webhook_resources_in_discovery_documents(scene: Scene) {
    let group = scene.get("/apis/admissionregistration.k8s.io").await.ok();
    assert!(
        group["versions"].as_array().unwrap().iter().any(|v| v["groupVersion"] == "admissionregistration.k8s.io/v1")
    );
    let resources = scene.get("/apis/admissionregistration.k8s.io/v1").await.ok();
    for name in ["mutatingwebhookconfigurations", "validatingwebhookconfigurations"] {
        assert!(resources["resources"].as_array().unwrap().iter().any(|r| r["name"] == name));
    }
}

fn pod(name: &str, labels: Value) -> Value {
    json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "labels": labels},
        "spec": {"nodeSelector": {"no": "such-node"}, "containers": [{"name": "c", "image": "skiff.local/none:1"}]}})
}

async fn should_be_able_to_deny_pod_and_configmap_creation(scene: Scene) {
    let hooks = Hooks::start().await;
    let mut hanging = hook(&scene, "deny-unwanted-pod", hooks.client("/pods"), rule("", "v1", "pods", &["CREATE"]));
    hanging["timeoutSeconds"] = 2.into();
    let maps = hook(
        &scene,
        "deny-unwanted-configmap",
        hooks.client("/configmaps"),
        rule("", "v1", "configmaps", &["CREATE", "UPDATE"]),
    );
    // Nobody is there, which is to be ignored.
    let mut open = hook(
        &scene,
        "fail-open",
        json!({"url": "https://localhost:1/"}),
        rule("", "v1", "configmaps", &["CREATE", "UPDATE"]),
    );
    open["failurePolicy"] = "Ignore".into();
    register(&scene, VALIDATING, "deny", json!([hanging, maps, open])).await;
    answered(&scene, "configmaps", map("probe", unwanted()), 400).await;
    let refused = scene.post("pods", pod("disallowed-pod", unwanted())).await;
    // A webhook that names no code gets 400, without a reason.
    refused.refused(
        400,
        "admission webhook \"deny-unwanted-pod.k8s.io\" denied the request: the pod contains unwanted label",
    );
    let refused = scene.post("pods", pod("hanging-pod", json!({}))).await;
    let status =
        refused.refused(500, "failed calling webhook \"deny-unwanted-pod.k8s.io\": failed to call webhook: Post ");
    assert!(status["message"].as_str().unwrap().contains("context deadline exceeded"), "{status}");
    let denied = "admission webhook \"deny-unwanted-configmap.k8s.io\" denied the request: the configmap contains unwanted key and value";
    scene.post("configmaps", map("disallowed-configmap", unwanted())).await.refused(400, denied);
    let mut allowed = scene.post("configmaps", map("allowed-configmap", json!({"admit": "this"}))).await.ok();
    allowed["data"] = unwanted();
    scene.put("configmaps/allowed-configmap", &allowed).await.refused(400, denied);
    scene
        .patch("configmaps/allowed-configmap", Patch::Strategic, json!({"data": unwanted()}))
        .await
        .refused(400, denied);
    // Elsewhere nobody asks.
    scene.post("/api/v1/namespaces/default/configmaps", map("elsewhere", unwanted())).await.ok();
}

/// A kind whose `data` is a map of strings, and the collection of its objects in v1.
async fn custom(scene: &Scene, versions: &[&str], schema: &Value) -> (String, String) {
    let group = group(scene);
    let path = establish(scene, definition(&group, "Hooked", versions, schema)).await;
    (path, format!("/apis/{group}/v1/namespaces/{}/hookeds", scene.namespace))
}

fn open() -> Value {
    json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true})
}

fn hooked(scene: &Scene, name: &str, data: Value) -> Value {
    json!({"apiVersion": format!("{}/v1", group(scene)), "kind": "Hooked", "metadata": {"name": name}, "data": data})
}

async fn should_be_able_to_deny_custom_resource_creation_update_and_deletion(scene: Scene) {
    let hooks = Hooks::start().await;
    let (_, objects) = custom(&scene, &["v1"], &open()).await;
    let rules = rule(&group(&scene), "*", "hookeds", &["CREATE", "UPDATE", "DELETE"]);
    register(
        &scene,
        VALIDATING,
        "custom",
        json!([hook(&scene, "deny-custom-resource", hooks.client("/custom-resource"), rules)]),
    )
    .await;
    answered(&scene, &objects, hooked(&scene, "probe", unwanted()), 400).await;
    scene
        .post(&objects, hooked(&scene, "disallowed", unwanted()))
        .await
        .refused(400, "the configmap contains unwanted key and value");
    let kept = json!({"webhook-e2e-test": "webhook-nondeletable"});
    scene.post(&objects, hooked(&scene, "cr-instance", kept)).await.ok();
    let it = format!("{objects}/cr-instance");
    scene.patch(&it, Patch::Merge, json!({"data": unwanted()})).await.refused(400, "denied the request");
    scene
        .delete(&it, Value::Null)
        .await
        .refused(400, "the custom resource cannot be deleted because it contains unwanted key and value");
    scene.patch(&it, Patch::Merge, json!({"data": null})).await.ok();
    scene.delete(&it, Value::Null).await.ok();
}

async fn should_unconditionally_reject_operations_on_fail_closed_webhook(scene: Scene) {
    let mut closed =
        hook(&scene, "fail-closed", json!({"url": "https://localhost:1/"}), rule("", "v1", "configmaps", &["CREATE"]));
    closed["failurePolicy"] = "Fail".into();
    let path = register(&scene, VALIDATING, "closed", json!([closed])).await;
    answered(&scene, "configmaps", map("probe", json!({})), 500).await;
    let refused = scene.post("configmaps", map("foo", json!({}))).await;
    let status = refused.refused(500, "failed calling webhook \"fail-closed.k8s.io\": failed to call webhook");
    assert_eq!(status["reason"], "InternalError");
    scene.delete(&path, Value::Null).await.ok();
    answered(&scene, "configmaps", map("probe", json!({})), 201).await;
}

fn to_be_mutated() -> Value {
    json!({"mutation-start": "yes"})
}

fn mutated() -> Value {
    json!({"mutation-start": "yes", "mutation-stage-1": "yes", "mutation-stage-2": "yes"})
}

/// Two webhooks of which the second goes on from what the first made.
async fn mutating_maps(scene: &Scene, hooks: &Hooks) -> String {
    let stage =
        |name: &str| hook(scene, name, hooks.client("/mutating-configmaps"), rule("", "v1", "configmaps", &["CREATE"]));
    let path = register(
        scene,
        MUTATING,
        "maps",
        json!([stage("adding-configmap-data-stage-1"), stage("adding-configmap-data-stage-2")]),
    )
    .await;
    creates(scene, mutated()).await;
    path
}

/// Waits until a new map that is to be mutated gets this data.
async fn creates(scene: &Scene, expected: Value) {
    tests::eventually("maps are made as configured", LIMIT, || async {
        let made = scene.post("configmaps?dryRun=All", map("probe", to_be_mutated())).await.ok();
        if made["data"] == expected { Ok(()) } else { Err(made["data"].to_string()) }
    })
    .await;
}

async fn should_mutate_configmap(scene: Scene) {
    mutating_maps(&scene, &Hooks::start().await).await;
    assert_eq!(scene.post("configmaps", map("to-be-mutated", to_be_mutated())).await.ok()["data"], mutated());
}

async fn should_mutate_pod_and_apply_defaults_after_mutation(scene: Scene) {
    let hooks = Hooks::start().await;
    let adding =
        hook(&scene, "adding-init-container", hooks.client("/mutating-pods"), rule("", "v1", "pods", &["CREATE"]));
    register(&scene, MUTATING, "pods", json!([adding])).await;
    tests::eventually("pods are mutated", LIMIT, || async {
        let pod = scene.post("pods?dryRun=All", pod("to-be-mutated", json!({}))).await.ok();
        if pod["spec"]["initContainers"].is_array() { Ok(()) } else { Err("not yet") }
    })
    .await;
    let pod = scene.post("pods", pod("webhook-to-be-mutated", json!({}))).await.ok();
    let added = &pod["spec"]["initContainers"][0];
    assert_eq!(
        (&added["name"], &added["terminationMessagePolicy"]),
        (&json!("webhook-added-init-container"), &json!("File"))
    );
}

async fn should_not_be_able_to_mutate_or_prevent_deletion_of_webhook_configuration_objects(scene: Scene) {
    let hooks = Hooks::start().await;
    // Cluster-wide on purpose, and first of all with nobody but those objects to concern.
    let rules = |operations: &[&str]| {
        json!([{"operations": operations, "apiGroups": ["admissionregistration.k8s.io"], "apiVersions": ["*"],
            "resources": ["validatingwebhookconfigurations", "mutatingwebhookconfigurations"]}])
    };
    let whole = |name: &str, path: &str, operations: &[&str]| {
        let mut hook = hook(&scene, name, hooks.client(path), rules(operations));
        hook.as_object_mut().unwrap().remove("namespaceSelector");
        hook
    };
    register(&scene, VALIDATING, "deny", json!([whole("deny-deletions", "/always-deny", &["DELETE"])])).await;
    register(&scene, MUTATING, "add", json!([whole("add-label", "/add-label", &["CREATE"])])).await;
    for collection in [VALIDATING, MUTATING] {
        let mut dummy = hook(&scene, "dummy", hooks.client("/"), rule("", "v1", "invalid", &["CREATE"]));
        dummy["failurePolicy"] = "Ignore".into();
        let path = register(&scene, collection, "dummy", json!([dummy])).await;
        assert!(scene.get(&path).await.ok()["metadata"]["labels"].is_null());
        scene.delete(&path, Value::Null).await.ok();
    }
}

async fn should_mutate_custom_resource(scene: Scene) {
    let hooks = Hooks::start().await;
    let (_, objects) = custom(&scene, &["v1"], &open()).await;
    mutating_custom(&scene, &hooks).await;
    answered(&scene, &objects, hooked(&scene, "probe", json!({})), 201).await;
    assert_eq!(scene.post(&objects, hooked(&scene, "cr-instance-1", to_be_mutated())).await.ok()["data"], mutated());
}

async fn mutating_custom(scene: &Scene, hooks: &Hooks) {
    let rules = rule(&group(scene), "*", "hookeds", &["CREATE", "UPDATE"]);
    let stage = |name: &str| hook(scene, name, hooks.client("/mutating-custom-resource"), rules.clone());
    register(
        scene,
        MUTATING,
        "custom",
        json!([stage("mutate-custom-resource-data-stage-1"), stage("mutate-custom-resource-data-stage-2")]),
    )
    .await;
}

async fn should_deny_crd_creation(scene: Scene) {
    let hooks = Hooks::start().await;
    let mut deny = hook(
        &scene,
        "deny-crd-with-unwanted-label",
        hooks.client("/crd"),
        rule("apiextensions.k8s.io", "*", "customresourcedefinitions", &["CREATE"]),
    );
    deny.as_object_mut().unwrap().remove("namespaceSelector");
    deny["objectSelector"] = json!({"matchLabels": unwanted()});
    register(&scene, VALIDATING, "crd", json!([deny])).await;
    let mut crd = definition(&group(&scene), "Denied", &["v1"], &open());
    crd["metadata"]["labels"] = unwanted();
    answered(&scene, CRDS, crd.clone(), 400).await;
    scene.post(CRDS, crd).await.refused(400, "denied the request: the crd contains unwanted label");
}

async fn should_mutate_custom_resource_with_different_stored_version(scene: Scene) {
    let hooks = Hooks::start().await;
    let (crd, objects) = custom(&scene, &["v1", "v2"], &open()).await;
    mutating_custom(&scene, &hooks).await;
    scene.post(&objects, hooked(&scene, "cr-instance-1", to_be_mutated())).await.ok();
    let stored = json!([{"op": "replace", "path": "/spec/versions/0/storage", "value": false},
        {"op": "replace", "path": "/spec/versions/1/storage", "value": true}]);
    scene.patch(&crd, Patch::Json, stored).await.ok();
    let patched =
        scene.patch(&format!("{objects}/cr-instance-1"), Patch::Merge, json!({"data": {"dummy": "test"}})).await.ok();
    let mut expected = mutated();
    expected["dummy"] = "test".into();
    assert_eq!((&patched["data"], &patched["apiVersion"]), (&expected, &json!(format!("{}/v1", group(&scene)))));
}

async fn should_mutate_custom_resource_with_pruning(scene: Scene) {
    let hooks = Hooks::start().await;
    let text = json!({"type": "string"});
    let schema = json!({"type": "object", "properties": {"data": {"type": "object", "properties": {
        "mutation-start": text, "mutation-stage-1": text}}}});
    let (_, objects) = custom(&scene, &["v1"], &schema).await;
    mutating_custom(&scene, &hooks).await;
    let made = scene.post(&objects, hooked(&scene, "cr-instance-1", to_be_mutated())).await.ok();
    assert_eq!(made["data"], json!({"mutation-start": "yes", "mutation-stage-1": "yes"}));
}

async fn should_honor_timeout(scene: Scene) {
    let hooks = Hooks::start().await;
    let cases = [
        ("fail-1", json!(1), "Fail"),
        ("ignore-1", json!(1), "Ignore"),
        ("fail-10", json!(10), "Fail"),
        ("fail-none", Value::Null, "Fail"),
    ];
    for (name, timeout, policy) in &cases {
        let rules = rule("", "v1", "configmaps", &["CREATE"]);
        let mut slow = hook(&scene, "allow-configmap-with-delay", hooks.client("/always-allow-delay-5s"), rules);
        slow["timeoutSeconds"] = timeout.clone();
        slow["failurePolicy"] = (*policy).into();
        slow["matchConditions"] = json!([{"name": "one", "expression": format!("object.metadata.name == '{name}'")}]);
        register(&scene, VALIDATING, name, json!([slow])).await;
    }
    let one = |name: &'static str| {
        let scene = scene.clone();
        async move { scene.post("configmaps", map(name, json!({}))).await }
    };
    let (short, ignored, long, default) =
        tokio::join!(one("fail-1"), one("ignore-1"), one("fail-10"), one("fail-none"));
    short.refused(500, "context deadline exceeded");
    for answer in [ignored, long, default] {
        answer.ok();
    }
}

async fn patching_updating_a_validating_webhook_should_work(scene: Scene) {
    let hooks = Hooks::start().await;
    let maps = hook(
        &scene,
        "deny-unwanted-configmap",
        hooks.client("/configmaps"),
        rule("", "v1", "configmaps", &["CREATE", "UPDATE"]),
    );
    let path = register(&scene, VALIDATING, "patched", json!([maps])).await;
    answered(&scene, "configmaps", map("probe", unwanted()), 400).await;
    let mut configuration = scene.get(&path).await.ok();
    configuration["webhooks"][0]["rules"][0]["operations"] = json!(["UPDATE"]);
    scene.put(&path, &configuration).await.ok();
    answered(&scene, "configmaps", map("probe", unwanted()), 201).await;
    let patch = json!([{"op": "replace", "path": "/webhooks/0/rules/0/operations", "value": ["CREATE"]}]);
    scene.patch(&path, Patch::Json, patch).await.ok();
    answered(&scene, "configmaps", map("probe", unwanted()), 400).await;
}

async fn patching_updating_a_mutating_webhook_should_work(scene: Scene) {
    let path = mutating_maps(&scene, &Hooks::start().await).await;
    let mut configuration = scene.get(&path).await.ok();
    for hook in configuration["webhooks"].as_array_mut().unwrap() {
        hook["rules"][0]["operations"] = json!(["UPDATE"]);
    }
    scene.put(&path, &configuration).await.ok();
    creates(&scene, to_be_mutated()).await;
    let patch = json!([{"op": "replace", "path": "/webhooks/0/rules/0/operations", "value": ["CREATE"]}]);
    scene.patch(&path, Patch::Json, patch).await.ok();
    creates(&scene, json!({"mutation-start": "yes", "mutation-stage-1": "yes"})).await;
}

async fn listing_validating_webhooks_should_work(scene: Scene) {
    let hooks = Hooks::start().await;
    let listed = listed(&scene, VALIDATING, &hooks, "/configmaps").await;
    answered(&scene, "configmaps", map("probe", unwanted()), 400).await;
    scene.delete(&listed, Value::Null).await.ok();
    assert!(scene.items(&listed).await.is_empty());
    answered(&scene, "configmaps", map("probe", unwanted()), 201).await;
}

async fn listing_mutating_webhooks_should_work(scene: Scene) {
    let hooks = Hooks::start().await;
    let listed = listed(&scene, MUTATING, &hooks, "/mutating-configmaps").await;
    creates(&scene, mutated()).await;
    scene.delete(&listed, Value::Null).await.ok();
    assert!(scene.items(&listed).await.is_empty());
    creates(&scene, to_be_mutated()).await;
}

/// Ten configurations with a label, and the path of their list.
async fn listed(scene: &Scene, collection: &str, hooks: &Hooks, path: &str) -> String {
    for number in 0..10 {
        let hooks = json!([hook(scene, "listed", hooks.client(path), rule("", "v1", "configmaps", &["CREATE"]))]);
        let metadata =
            json!({"name": format!("{}-{number}", scene.namespace), "labels": {"e2e-list-test-uuid": scene.namespace}});
        scene.post(collection, json!({"metadata": metadata, "webhooks": hooks})).await.ok();
    }
    let listed = format!("{collection}?labelSelector=e2e-list-test-uuid%3D{}", scene.namespace);
    assert_eq!(scene.items(&listed).await.len(), 10);
    listed
}

async fn should_be_able_to_create_and_update_webhook_configurations_with_match_conditions(scene: Scene) {
    let hooks = Hooks::start().await;
    for collection in [VALIDATING, MUTATING] {
        let mut conditional =
            hook(&scene, "conditional", hooks.client("/always-deny"), rule("", "v1", "nothing", &["CREATE"]));
        let first = json!([{"name": "expression-1", "expression": "object.metadata.namespace == 'production'"}]);
        conditional["matchConditions"] = first.clone();
        let path = register(&scene, collection, "conditional", json!([conditional])).await;
        let mut configuration = scene.get(&path).await.ok();
        assert_eq!(configuration["webhooks"][0]["matchConditions"], first);
        let second = json!([{"name": "expression-1", "expression": "object.metadata.namespace == 'production'"},
            {"name": "expression-2", "expression": "object.metadata.namespace == 'staging'"}]);
        configuration["webhooks"][0]["matchConditions"] = second.clone();
        scene.put(&path, &configuration).await.ok();
        assert_eq!(scene.get(&path).await.ok()["webhooks"][0]["matchConditions"], second);
    }
}

async fn should_reject_webhook_configurations_with_invalid_match_conditions(scene: Scene) {
    let hooks = Hooks::start().await;
    for collection in [VALIDATING, MUTATING] {
        let mut invalid = hook(&scene, "invalid", hooks.client("/always-deny"), rule("", "v1", "nothing", &["CREATE"]));
        invalid["matchConditions"] = json!([{"name": "invalid-expression-1", "expression": "... [] bad expression"}]);
        let configuration = json!({"metadata": {"name": scene.namespace}, "webhooks": [invalid]});
        let status = scene.post(collection, configuration).await.refused(422, "compilation failed");
        assert_eq!(status["details"]["causes"][0]["field"], "webhooks[0].matchConditions[0].expression");
    }
}

async fn should_mutate_everything_except_skip_me_configmaps(scene: Scene) {
    let hooks = Hooks::start().await;
    let mut all = hook(
        &scene,
        "adding-configmap-data-stage-1",
        hooks.client("/mutating-configmaps"),
        rule("", "v1", "configmaps", &["CREATE"]),
    );
    all["matchConditions"] = json!([{"name": "skip-me", "expression": "object.metadata.name != 'skip-me'"}]);
    register(&scene, MUTATING, "skip", json!([all])).await;
    creates(&scene, json!({"mutation-start": "yes", "mutation-stage-1": "yes"})).await;
    assert_eq!(scene.post("configmaps", map("skip-me", to_be_mutated())).await.ok()["data"], to_be_mutated());
}
