//! [sig-api-machinery] CustomResourceConversionWebhook (test/e2e/apimachinery/crd_conversion_webhook.go).

use super::hooks::Hooks;
use super::machinery_crds::{definition, establish, group};
use super::stage::{Patch, Scenario, Scene, play, scenarios};
use serde_json::{Value, json};
use tests::cluster::Options;

#[tokio::test]
async fn conversion_webhooks() {
    let all: &[Scenario] = scenarios![
        should_be_able_to_convert_from_cr_v1_to_cr_v2,
        should_be_able_to_convert_a_non_homogeneous_list_of_crs,
    ];
    play(Options::default(), all).await;
}

/// A kind in two versions with a webhook between them; the first is stored.
async fn converted(scene: &Scene, hooks: &Hooks) -> (String, [String; 2]) {
    let group = group(scene);
    let text = json!({"type": "string"});
    let mut crd =
        definition(&group, "Converted", &["v1", "v2"], &json!({"type": "object", "properties": {"hostPort": text}}));
    crd["spec"]["versions"][1]["schema"]["openAPIV3Schema"]["properties"] = json!({"host": text, "port": text});
    crd["spec"]["conversion"] = json!({"strategy": "Webhook", "webhook": {
        "clientConfig": hooks.client("/crdconvert"), "conversionReviewVersions": ["v1", "v1beta1"]}});
    let path = establish(scene, crd).await;
    (path, ["v1", "v2"].map(|version| format!("/apis/{group}/{version}/namespaces/{}/converteds", scene.namespace)))
}

async fn should_be_able_to_convert_from_cr_v1_to_cr_v2(scene: Scene) {
    let (_, [first, second]) = converted(&scene, &Hooks::start().await).await;
    let object = json!({"apiVersion": format!("{}/v1", group(&scene)), "kind": "Converted", "metadata": {"name": "cr-instance-1"},
        "hostPort": "localhost:8080"});
    scene.post(&first, object).await.ok();
    let seen = scene.get(&format!("{second}/cr-instance-1")).await.ok();
    assert_eq!((&seen["host"], &seen["port"], &seen["hostPort"]), (&json!("localhost"), &json!("8080"), &Value::Null));
    assert_eq!(seen["apiVersion"], format!("{}/v2", group(&scene)));
}

async fn should_be_able_to_convert_a_non_homogeneous_list_of_crs(scene: Scene) {
    let (crd, [first, second]) = converted(&scene, &Hooks::start().await).await;
    let group = group(&scene);
    let object = json!({"apiVersion": format!("{group}/v1"), "kind": "Converted", "metadata": {"name": "cr-instance-1"}, "hostPort": "localhost:8080"});
    scene.post(&first, object).await.ok();
    let stored = json!([{"op": "replace", "path": "/spec/versions/0/storage", "value": false},
        {"op": "replace", "path": "/spec/versions/1/storage", "value": true}]);
    scene.patch(&crd, Patch::Json, stored).await.ok();
    scene
        .wait(&crd, "stores v2", |crd| crd.is_some_and(|crd| crd["status"]["storedVersions"] == json!(["v1", "v2"])))
        .await;
    let object = json!({"apiVersion": format!("{group}/v2"), "kind": "Converted", "metadata": {"name": "cr-instance-2"}, "host": "localhost", "port": "8081"});
    scene.post(&second, object).await.ok();
    let seen =
        |items: Vec<Value>, field: &'static str| items.iter().map(|item| item[field].clone()).collect::<Vec<_>>();
    assert_eq!(seen(scene.items(&first).await, "hostPort"), ["localhost:8080", "localhost:8081"]);
    assert_eq!(seen(scene.items(&second).await, "port"), ["8080", "8081"]);
}
