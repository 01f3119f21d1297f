//! Custom resources as kubectl users meet them: a CRD is applied, its objects are used like any others, and it goes.

use std::time::Duration;
use tests::kubectl::{apply, establish, fails, run};
use tests::{Cluster, eventually};

const LIMIT: Duration = Duration::from_secs(60);

const CRD: &str = r#"
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: crontabs.stable.example.com}
spec:
  group: stable.example.com
  scope: Namespaced
  names: {plural: crontabs, singular: crontab, kind: CronTab, shortNames: [ct], categories: [all]}
  versions:
  - name: v1
    served: true
    storage: true
    schema:
      openAPIV3Schema:
        type: object
        properties:
          spec:
            type: object
            required: [cronSpec]
            properties:
              cronSpec: {type: string, description: When it runs.}
              image: {type: string, default: plain}
              color: {type: string}
              replicas: {type: integer, minimum: 0, default: 1}
          status:
            type: object
            properties:
              replicas: {type: integer}
              labelSelector: {type: string}
    selectableFields: [{jsonPath: .spec.color}]
    additionalPrinterColumns:
    - {name: Spec, type: string, jsonPath: .spec.cronSpec}
    - {name: Replicas, type: integer, jsonPath: .spec.replicas}
    - {name: Image, type: string, jsonPath: .spec.image, priority: 1}
    - {name: Age, type: date, jsonPath: .metadata.creationTimestamp}
    subresources:
      status: {}
      scale: {specReplicasPath: .spec.replicas, statusReplicasPath: .status.replicas, labelSelectorPath: .status.labelSelector}
"#;

fn tab(name: &str, color: &str) -> String {
    format!(
        "apiVersion: stable.example.com/v1\nkind: CronTab\nmetadata: {{name: {name}}}\nspec: {{cronSpec: \"* * * * */5\", color: {color}}}\n"
    )
}

async fn with_crd() -> Cluster {
    let cluster = Cluster::up().await;
    let said = establish(&cluster, "crontabs.stable.example.com", CRD).await;
    assert_eq!(said.trim(), "customresourcedefinition.apiextensions.k8s.io/crontabs.stable.example.com created");
    cluster
}

#[tokio::test]
async fn a_custom_resource_is_like_any_other() {
    let cluster = with_crd().await;
    assert_eq!(apply(&cluster, &tab("one", "red")).await.trim(), "crontab.stable.example.com/one created");
    apply(&cluster, &tab("two", "blue")).await;
    let listed = run(&cluster, &["get", "ct"]).await;
    let words: Vec<Vec<&str>> = listed.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(words[0], ["NAME", "SPEC", "REPLICAS", "AGE"]);
    assert_eq!(words[1][..7], ["one", "*", "*", "*", "*", "*/5", "1"]);
    assert!(run(&cluster, &["get", "crontabs", "-o", "wide"]).await.contains("plain"));
    assert!(run(&cluster, &["get", "all"]).await.contains("crontab.stable.example.com/one"));
    let blue = run(&cluster, &["get", "ct", "--field-selector", "spec.color=blue", "-o", "name"]).await;
    assert_eq!(blue.trim(), "crontab.stable.example.com/two");

    let explained = run(&cluster, &["explain", "ct.spec.cronSpec"]).await;
    assert!(explained.contains("When it runs.") && explained.contains("<string>"), "{explained}");
    assert!(run(&cluster, &["api-resources"]).await.contains("stable.example.com/v1"));
    run(&cluster, &["scale", "crontab/one", "--replicas=4"]).await;
    assert_eq!(run(&cluster, &["get", "ct", "one", "-o", "jsonpath={.spec.replicas}"]).await, "4");
    run(&cluster, &["patch", "ct", "one", "--type=merge", "-p", r#"{"spec":{"image":"other"}}"#]).await;
    run(
        &cluster,
        &["patch", "ct", "one", "--subresource=status", "--type=merge", "-p", r#"{"status":{"replicas":4}}"#],
    )
    .await;
    let told = run(&cluster, &["get", "ct", "one", "-o", "jsonpath={.spec.image} {.status.replicas}"]).await;
    assert_eq!(told, "other 4");
    run(&cluster, &["label", "ct", "one", "a=b"]).await;
    assert!(apply(&cluster, &tab("one", "green")).await.contains("configured"));
    let refused = fails(&cluster, &["patch", "ct", "one", "--type=merge", "-p", r#"{"spec":{"replicas":-1}}"#]).await;
    assert!(refused.contains("spec.replicas in body should be greater than or equal to 0"), "{refused}");
    run(&cluster, &["delete", "ct", "two"]).await;
}

#[tokio::test]
async fn a_crd_goes_with_its_objects() {
    let cluster = with_crd().await;
    apply(&cluster, &tab("one", "red")).await;
    run(&cluster, &["delete", "crd", "crontabs.stable.example.com", "--timeout=30s"]).await;
    // What kubectl says depends on how old its own copy of the discovery is.
    let unknown = fails(&cluster, &["get", "ct"]).await;
    let said = ["the server doesn't have a resource type \"ct\"", "the server could not find the requested resource"];
    assert!(said.iter().any(|text| unknown.contains(text)), "{unknown}");
    // Once more: nothing of the first is left.
    apply(&cluster, CRD).await;
    eventually("the kind is served again", LIMIT, || async {
        let output = tests::kubectl::output(&cluster, &["get", "ct", "-o", "name"]).await;
        if output.status.success() && output.stdout.is_empty() { Ok(()) } else { Err(format!("{output:?}")) }
    })
    .await;
}

#[tokio::test]
async fn namespaces_and_owners_take_custom_resources_along() {
    let cluster = with_crd().await;
    run(&cluster, &["create", "namespace", "gone"]).await;
    let inside = tab("inside", "red").replace("{name: inside}", "{name: inside, namespace: gone}");
    apply(&cluster, &inside).await;
    run(&cluster, &["delete", "namespace", "gone", "--timeout=30s"]).await;
    assert_eq!(run(&cluster, &["get", "ct", "-A", "-o", "name"]).await, "");

    apply(&cluster, &tab("owner", "red")).await;
    let uid = run(&cluster, &["get", "ct", "owner", "-o", "jsonpath={.metadata.uid}"]).await;
    let owned = format!(
        "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: owned\n  ownerReferences: [{{apiVersion: stable.example.com/v1, kind: CronTab, name: owner, uid: {uid}}}]\n"
    );
    apply(&cluster, &owned).await;
    run(&cluster, &["delete", "ct", "owner"]).await;
    eventually("what it owned is collected", LIMIT, || async {
        let left = run(&cluster, &["get", "configmap", "-o", "name"]).await;
        if left.contains("owned") { Err(left) } else { Ok(()) }
    })
    .await;
}

const RULES: &str = r#"
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: ranges.rules.example.com}
spec:
  group: rules.example.com
  scope: Namespaced
  names: {plural: ranges, singular: range, kind: Range}
  versions:
  - name: v1
    served: true
    storage: true
    schema:
      openAPIV3Schema:
        type: object
        properties:
          spec:
            type: object
            x-kubernetes-validations:
            - {rule: "self.min <= self.max", messageExpression: "'%d is more than %d'.format([self.min, self.max])"}
            properties:
              min: {type: integer}
              max:
                type: integer
                x-kubernetes-validations: [{rule: "self >= oldSelf", message: may only grow}]
"#;

#[tokio::test]
async fn rules_in_cel_are_told_to_kubectls_users() {
    let cluster = Cluster::up().await;
    let refused = async |manifest: &str| {
        let file = cluster.scratch().join("refused.yaml");
        std::fs::write(&file, manifest).expect("the scratch folder is writable");
        fails(&cluster, &["create", "-f", file.to_str().expect("UTF-8 path")]).await
    };
    let told = refused(&RULES.replace("self.min <= self.max\"", "self.min <= self.maximum\"")).await;
    assert!(told.contains("compilation failed: ERROR: <input>:1:17: undefined field 'maximum'"), "{told}");
    establish(&cluster, "ranges.rules.example.com", RULES).await;
    let range = |min: u32, max: u32| {
        format!(
            "apiVersion: rules.example.com/v1\nkind: Range\nmetadata: {{name: r}}\nspec: {{min: {min}, max: {max}}}\n"
        )
    };
    let told = refused(&range(5, 1)).await;
    assert!(told.contains("The Range \"r\" is invalid: spec: Invalid value: 5 is more than 1"), "{told}");
    apply(&cluster, &range(1, 5)).await;
    let told = fails(&cluster, &["patch", "range", "r", "--type=merge", "-p", r#"{"spec":{"max":4}}"#]).await;
    assert!(told.contains("spec.max: Invalid value: 4: may only grow"), "{told}");
    run(&cluster, &["patch", "range", "r", "--type=merge", "-p", r#"{"spec":{"max":6}}"#]).await;
}
