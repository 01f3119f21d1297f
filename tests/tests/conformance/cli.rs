//! [sig-cli] (test/e2e/kubectl/{kubectl,logs,events}.go, test/cmd): the real kubectl.

use super::machinery_crds::{definition, establish, group};
use super::stage::{Scenario, Scene, play, scenarios};
use serde_json::{Value, json};
use std::process::{Output, Stdio};
use tests::cluster::Options;
use tokio::io::AsyncWriteExt as _;

#[tokio::test]
async fn kubectl_and_objects() {
    let all: &[Scenario] = scenarios![
        should_check_if_v1_is_in_available_api_versions,
        should_check_if_kubernetes_control_plane_services_is_included_in_cluster_info,
        should_check_is_all_data_is_printed_by_version,
        should_reuse_port_when_apply_to_an_existing_svc,
        apply_set_view_last_applied,
        should_check_if_kubectl_diff_finds_a_difference_for_deployments,
        should_check_if_kubectl_can_dry_run_update_pods,
        should_create_apply_a_cr_with_unknown_fields_for_crd_with_no_validation_schema,
        should_create_apply_a_valid_cr_for_crd_with_validation_schema,
        should_create_apply_an_invalid_valid_cr_with_arbitrary_extra_properties_for_crd_with_partially_specified_schema,
        should_detect_unknown_metadata_fields_in_both_the_root_and_embedded_object_of_a_cr,
        explain_works_for_crds,
        should_check_if_kubectl_describe_prints_relevant_information_for_rc_and_pods,
        should_check_if_kubectl_describe_prints_relevant_information_for_nodes_and_namespaces,
        should_check_if_kubectl_describe_prints_relevant_information_for_cronjob,
        should_create_services_for_rc,
        should_update_the_label_on_a_resource,
        should_add_annotations_for_pods_in_rc,
        should_create_a_pod_from_an_image_when_restart_is_never,
        should_update_a_single_container_pod_s_image,
    ];
    play(Options::default(), all).await;
}

/// kubectl in the scenario's namespace, with `input` piped in.
pub async fn output(scene: &Scene, args: &[&str], input: &str) -> Output {
    let mut command = tests::kubectl::command(&scene.cluster, &[]);
    let cache = scene.cluster.scratch().join("cache").join(&scene.namespace);
    command.arg("--cache-dir").arg(cache).arg("--namespace").arg(&scene.namespace).args(args);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("kubectl runs");
    let mut stdin = child.stdin.take().expect("piped");
    // Not every command reads it.
    _ = stdin.write_all(input.as_bytes()).await;
    drop(stdin);
    child.wait_with_output().await.expect("kubectl ends")
}

pub async fn pipe(scene: &Scene, args: &[&str], input: &str) -> String {
    let output = output(scene, args, input).await;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "kubectl {args:?}: {text}\n{}", String::from_utf8_lossy(&output.stderr));
    text
}

pub async fn run(scene: &Scene, args: &[&str]) -> String {
    pipe(scene, args, "").await
}

/// What it says on its way to fail.
pub async fn fails(scene: &Scene, args: &[&str], input: &str) -> String {
    let output = output(scene, args, input).await;
    assert!(!output.status.success(), "kubectl {args:?} succeeded: {}", String::from_utf8_lossy(&output.stdout));
    String::from_utf8_lossy(&output.stderr).into_owned()
}

pub fn holds(text: &str, parts: &[&str]) {
    for part in parts {
        assert!(text.contains(part), "no `{part}` in:\n{text}");
    }
}

/// The same for parts without spaces, in one text.
pub fn words(text: &str, parts: &str) {
    holds(text, &parts.split(' ').collect::<Vec<_>>());
}

async fn should_check_if_v1_is_in_available_api_versions(scene: Scene) {
    assert!(run(&scene, &["api-versions"]).await.lines().any(|line| line == "v1"));
}

async fn should_check_if_kubernetes_control_plane_services_is_included_in_cluster_info(scene: Scene) {
    holds(&run(&scene, &["cluster-info"]).await, &["Kubernetes control plane", "is running at", "https://"]);
    holds(&run(&scene, &["cluster-info", "dump"]).await, &["\"kind\": \"NodeList\"", "\"kind\": \"EventList\""]);
}

async fn should_check_is_all_data_is_printed_by_version(scene: Scene) {
    holds(&run(&scene, &["version"]).await, &["Client Version", "Server Version"]);
    let version: Value = serde_json::from_str(&run(&scene, &["version", "-o", "json"]).await).unwrap();
    for field in
        ["major", "minor", "gitVersion", "gitCommit", "gitTreeState", "buildDate", "goVersion", "compiler", "platform"]
    {
        assert!(version["serverVersion"][field].is_string(), "{field}: {version}");
    }
}

fn controller(replicas: u32) -> String {
    json!({"apiVersion": "v1", "kind": "ReplicationController", "metadata": {"name": "agnhost-primary", "labels": {"app": "agnhost"}},
        "spec": {"replicas": replicas, "selector": {"app": "agnhost", "role": "primary"}, "template": {
            "metadata": {"labels": {"app": "agnhost", "role": "primary"}},
            "spec": {"nodeSelector": {"no": "such-node"}, "containers": [{"name": "agnhost-primary", "image": "skiff.local/none:1",
                "ports": [{"name": "agnhost-server", "containerPort": 6379}]}]}}}})
    .to_string()
}

async fn should_reuse_port_when_apply_to_an_existing_svc(scene: Scene) {
    let service = r#"{"apiVersion": "v1", "kind": "Service", "metadata": {"name": "agnhost-primary"},
        "spec": {"type": "NodePort", "ports": [{"port": 6379}], "selector": {"app": "agnhost"}}}"#;
    pipe(&scene, &["apply", "-f", "-"], service).await;
    let port = ["get", "service", "agnhost-primary", "-o", "jsonpath={.spec.ports[0].nodePort}"];
    let before = run(&scene, &port).await;
    pipe(&scene, &["apply", "-f", "-"], service).await;
    assert!(!before.is_empty());
    assert_eq!(run(&scene, &port).await, before);
}

pub fn deployment(image: &str, replicas: Option<u32>) -> String {
    let mut deployment = json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "httpd-deployment"}, "spec": {
        "selector": {"matchLabels": {"app": "httpd"}}, "template": {"metadata": {"labels": {"app": "httpd"}},
            "spec": {"nodeSelector": {"no": "such-node"}, "containers": [{"name": "httpd", "image": image}]}}}});
    if let Some(replicas) = replicas {
        deployment["spec"]["replicas"] = replicas.into();
    }
    deployment.to_string()
}

async fn apply_set_view_last_applied(scene: Scene) {
    let (first, second, third) = (
        deployment("skiff.local/httpd:1", Some(2)),
        deployment("skiff.local/httpd:1", None),
        deployment("skiff.local/httpd:2", None),
    );
    pipe(&scene, &["apply", "-f", "-"], &first).await;
    holds(
        &run(&scene, &["apply", "view-last-applied", "deployment", "httpd-deployment", "-o", "json"]).await,
        &["\"replicas\": 2"],
    );
    run(&scene, &["scale", "deployment", "httpd-deployment", "--replicas", "3"]).await;
    pipe(&scene, &["apply", "set-last-applied", "-f", "-"], &second).await;
    let viewed = run(&scene, &["apply", "view-last-applied", "deployment", "httpd-deployment", "-o", "json"]).await;
    assert!(!viewed.contains("replicas"));
    pipe(&scene, &["apply", "-f", "-"], &third).await;
    let seen = run(
        &scene,
        &[
            "get",
            "deployment",
            "httpd-deployment",
            "-o",
            "jsonpath={.spec.replicas} {.spec.template.spec.containers[0].image}",
        ],
    )
    .await;
    assert_eq!(seen, "3 skiff.local/httpd:2");
}

async fn should_check_if_kubectl_diff_finds_a_difference_for_deployments(scene: Scene) {
    pipe(&scene, &["apply", "-f", "-"], &deployment("skiff.local/httpd:1", None)).await;
    let output = output(&scene, &["diff", "-f", "-"], &deployment("skiff.local/busybox:1", None)).await;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(output.status.code(), Some(1), "{text}");
    holds(&text, &["-      - image: skiff.local/httpd:1", "+      - image: skiff.local/busybox:1"]);
}

async fn should_check_if_kubectl_can_dry_run_update_pods(scene: Scene) {
    let overrides = r#"--overrides={"spec":{"nodeSelector":{"no":"such-node"}}}"#;
    run(
        &scene,
        &["run", "e2e-test-httpd-pod", "--image=skiff.local/httpd:1", "--labels=run=e2e-test-httpd-pod", overrides],
    )
    .await;
    let patch = r#"{"spec":{"containers":[{"name": "e2e-test-httpd-pod","image": "skiff.local/busybox:1"}]}}"#;
    run(&scene, &["patch", "pod", "e2e-test-httpd-pod", "-p", patch, "--dry-run=server"]).await;
    let image = run(&scene, &["get", "pod", "e2e-test-httpd-pod", "-o", "jsonpath={.spec.containers[0].image}"]).await;
    assert_eq!(image, "skiff.local/httpd:1");
}

fn foo() -> Value {
    json!({"description": "Foo CRD for Testing", "type": "object", "properties": {
        "spec": {"type": "object", "description": "Specification of Foo", "properties": {"bars": {
            "description": "List of Bars and their specs.", "type": "array", "items": {"type": "object", "required": ["name"],
                "properties": {"name": {"description": "Name of Bar.", "type": "string"}, "age": {"type": "string"},
                    "bazs": {"description": "List of Bazs.", "items": {"type": "string"}, "type": "array"}}}}}}}})
}

/// A kind that only the scenario has, and how its objects are written.
async fn custom(scene: &Scene, kind: &'static str, schema: &Value) -> impl Fn(&str) -> String + use<> {
    let group = group(scene);
    establish(scene, definition(&group, kind, &["v1"], schema)).await;
    move |rest| format!(r#"{{"kind":"{kind}","apiVersion":"{group}/v1","metadata":{{"name":"test-cr"}},{rest}}}"#)
}

async fn should_create_apply_a_cr_with_unknown_fields_for_crd_with_no_validation_schema(scene: Scene) {
    let object = custom(&scene, "Open", &json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true})).await;
    let any = object(r#""a":{"b":[{"c":"d"}]}"#);
    pipe(&scene, &["create", "-f", "-"], &any).await;
    run(&scene, &["delete", "opens", "test-cr"]).await;
    pipe(&scene, &["apply", "-f", "-"], &any).await;
}

async fn should_create_apply_a_valid_cr_for_crd_with_validation_schema(scene: Scene) {
    let object = custom(&scene, "Strict", &foo()).await;
    let valid = object(r#""spec":{"bars":[{"name":"test-bar"}]}"#);
    pipe(&scene, &["create", "-f", "-"], &valid).await;
    run(&scene, &["delete", "stricts", "test-cr"]).await;
    pipe(&scene, &["apply", "-f", "-"], &valid).await;
    run(&scene, &["delete", "stricts", "test-cr"]).await;
    for verb in ["create", "apply"] {
        holds(
            &fails(&scene, &[verb, "-f", "-"], &object(r#""spec":{"foo":true}"#)).await,
            &[r#"unknown field "spec.foo""#],
        );
        holds(
            &fails(&scene, &[verb, "-f", "-"], &object(r#""spec":{"bars":[{"age":"10"}]}"#)).await,
            &["spec.bars[0].name: Required value"],
        );
    }
}

async fn should_create_apply_an_invalid_valid_cr_with_arbitrary_extra_properties_for_crd_with_partially_specified_schema(
    scene: Scene,
) {
    let mut schema = foo();
    schema["properties"]["spec"]["x-kubernetes-preserve-unknown-fields"] = true.into();
    let object = custom(&scene, "Partial", &schema).await;
    let extra = object(r#""spec":{"bars":[{"name":"test-bar"}],"extraProperty":"arbitrary-value"}"#);
    for verb in ["create", "apply"] {
        pipe(&scene, &[verb, "-f", "-"], &extra).await;
        run(&scene, &["delete", "partials", "test-cr"]).await;
    }
    pipe(&scene, &["create", "--validate=true", "-f", "-"], &extra).await;
}

async fn should_detect_unknown_metadata_fields_in_both_the_root_and_embedded_object_of_a_cr(scene: Scene) {
    let schema = json!({"type": "object", "properties": {"spec": {"type": "object", "properties": {"template": {"type": "object",
        "x-kubernetes-embedded-resource": true, "properties": {"metadata": {"type": "object"}, "spec": {"type": "object"}}}}}}});
    let group = group(&scene);
    establish(&scene, definition(&group, "Nested", &["v1"], &schema)).await;
    let object = format!(
        r#"{{"kind":"Nested","apiVersion":"{group}/v1","metadata":{{"name":"cr","unknownMeta":"unknown"}},
            "spec":{{"template":{{"apiVersion":"foo/v1","kind":"Sub","metadata":{{"unknownSubMeta":"unknown","name":"subobject"}}}}}}}}"#
    );
    let refused = fails(&scene, &["create", "--validate=true", "-f", "-"], &object).await;
    holds(
        &refused,
        &[r#"unknown field "metadata.unknownMeta""#, r#"unknown field "spec.template.metadata.unknownSubMeta""#],
    );
}

async fn explain_works_for_crds(scene: Scene) {
    establish(&scene, definition(&group(&scene), "Foo", &["v1"], &foo())).await;
    let whole = run(&scene, &["explain", "foos"]).await;
    words(&whole, "DESCRIPTION: FIELDS: apiVersion <string> spec <Object>");
    holds(&whole, &["Foo CRD for Testing", "APIVersion defines", "Specification of Foo"]);
    holds(
        &run(&scene, &["explain", "foos.metadata"]).await,
        &["Standard object's metadata", "creationTimestamp", "CreationTimestamp is a timestamp"],
    );
    holds(
        &run(&scene, &["explain", "foos.spec"]).await,
        &["Specification of Foo", "bars", "<[]Object>", "List of Bars and their specs"],
    );
    holds(
        &run(&scene, &["explain", "foos.spec.bars"]).await,
        &["<[]Object>", "bazs", "<[]string>", "Name of Bar", "-required-"],
    );
    holds(
        &run(&scene, &["explain", "foos", "--recursive"]).await,
        &["managedFields\t<[]ManagedFieldsEntry>", "bars\t<[]Object>", "bazs\t<[]string>"],
    );
    let api_version = format!("--api-version={}/v1", group(&scene));
    holds(
        &run(&scene, &["explain", "foos", &api_version, "--output=plaintext-openapiv2"]).await,
        &["Specification of Foo"],
    );
    holds(&fails(&scene, &["explain", "foos.spec.bars2"], "").await, &[r#"field "bars2" does not exist"#]);
}

async fn should_check_if_kubectl_describe_prints_relevant_information_for_rc_and_pods(scene: Scene) {
    pipe(&scene, &["create", "-f", "-"], &controller(1)).await;
    let service = r#"{"apiVersion": "v1", "kind": "Service", "metadata": {"name": "agnhost-primary", "labels": {"app": "agnhost", "role": "primary"}},
        "spec": {"ports": [{"port": 6379, "targetPort": "agnhost-server"}], "selector": {"app": "agnhost", "role": "primary"}}}"#;
    pipe(&scene, &["create", "-f", "-"], service).await;
    let pods = scene.wait_items("pods", "a pod", |pods| pods.len() == 1).await;
    let pod = run(&scene, &["describe", "pod", pods[0]["metadata"]["name"].as_str().unwrap()]).await;
    words(
        &pod,
        "Name: Namespace: Node: Labels: app=agnhost role=primary Annotations: Status: IP: ReplicationController/agnhost-primary Image:",
    );
    holds(&pod, &["Controlled By:", "QoS Class:"]);
    let rc = run(&scene, &["describe", "rc", "agnhost-primary"]).await;
    words(
        &rc,
        "Name: agnhost-primary Namespace: Selector: app=agnhost,role=primary Labels: app=agnhost Annotations: Replicas: Image: Events:",
    );
    holds(&rc, &["1 current", "1 desired", "Pods Status:", "0 Running", "1 Waiting", "Pod Template:"]);
    let service = run(&scene, &["describe", "service", "agnhost-primary"]).await;
    words(
        &service,
        "Name: agnhost-primary Namespace: Labels: app=agnhost role=primary Annotations: Selector: app=agnhost,role=primary Type: ClusterIP IP: Port: <unset> 6379/TCP Endpoints:",
    );
    holds(&service, &["Session Affinity:"]);
}

async fn should_check_if_kubectl_describe_prints_relevant_information_for_nodes_and_namespaces(scene: Scene) {
    let nodes = scene.items("/api/v1/nodes").await;
    let node = run(&scene, &["describe", "node", nodes[0]["metadata"]["name"].as_str().unwrap()]).await;
    words(
        &node,
        "Name: Labels: Annotations: CreationTimestamp: Conditions: Type Status LastHeartbeatTime LastTransitionTime Reason Message Addresses: Capacity: Pods:",
    );
    holds(&node, &["Kubelet Version:"]);
    holds(
        &run(&scene, &["describe", "namespace", &scene.namespace]).await,
        &["Name:", &scene.namespace, "Labels:", "Annotations:", "Status:", "Active"],
    );
}

async fn should_check_if_kubectl_describe_prints_relevant_information_for_cronjob(scene: Scene) {
    let cron = r#"{"apiVersion": "batch/v1", "kind": "CronJob", "metadata": {"name": "cronjob-test"}, "spec": {"schedule": "*/1 * * * *", "suspend": true,
        "concurrencyPolicy": "Allow", "successfulJobsHistoryLimit": 3, "jobTemplate": {"spec": {"template": {"spec": {
            "restartPolicy": "OnFailure", "containers": [{"name": "test", "image": "skiff.local/busybox:1", "args": ["/bin/true"]}]}}}}}}"#;
    pipe(&scene, &["create", "-f", "-"], cron).await;
    let told = run(&scene, &["describe", "cronjob", "cronjob-test"]).await;
    words(
        &told,
        "Name: cronjob-test Namespace: Labels: Annotations: Schedule: Allow Suspend: True 3 1 Image: Args: Events:",
    );
    holds(
        &told,
        &[
            "*/1 * * * *",
            "Concurrency Policy:",
            "Successful Job History Limit:",
            "Failed Job History Limit:",
            "Pod Template:",
            "Last Schedule Time:",
            "Active Jobs:",
        ],
    );
}

async fn should_create_services_for_rc(scene: Scene) {
    pipe(&scene, &["create", "-f", "-"], &controller(1)).await;
    run(&scene, &["expose", "rc", "agnhost-primary", "--name=rm2", "--port=1234", "--target-port=6379"]).await;
    run(&scene, &["expose", "service", "rm2", "--name=rm3", "--port=2345", "--target-port=6379"]).await;
    for (name, port) in [("rm2", 1234), ("rm3", 2345)] {
        let service = scene.get(&format!("services/{name}")).await.ok();
        assert_eq!(
            (&service["spec"]["ports"][0]["port"], &service["spec"]["ports"][0]["targetPort"]),
            (&json!(port), &json!(6379))
        );
        scene.wait(&format!("endpoints/{name}"), "is there", |endpoints| endpoints.is_some()).await;
    }
}

async fn paused(scene: &Scene) {
    let pod = r#"{"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "pause", "labels": {"name": "pause"}}, "spec": {
        "nodeSelector": {"no": "such-node"}, "containers": [{"name": "pause", "image": "skiff.local/pause:1"}]}}"#;
    pipe(scene, &["create", "-f", "-"], pod).await;
}

async fn should_update_the_label_on_a_resource(scene: Scene) {
    paused(&scene).await;
    run(&scene, &["label", "pods", "pause", "testing-label=testing-label-value"]).await;
    holds(
        &run(&scene, &["get", "pod", "pause", "-L", "testing-label"]).await,
        &["TESTING-LABEL", "testing-label-value"],
    );
    run(&scene, &["label", "pods", "pause", "testing-label-"]).await;
    assert!(!run(&scene, &["get", "pod", "pause", "-L", "testing-label"]).await.contains("testing-label-value"));
}

async fn should_add_annotations_for_pods_in_rc(scene: Scene) {
    pipe(&scene, &["create", "-f", "-"], &controller(2)).await;
    for pod in scene.wait_items("pods", "both pods", |pods| pods.len() == 2).await {
        let name = pod["metadata"]["name"].as_str().unwrap();
        run(&scene, &["patch", "pod", name, "-p", r#"{"metadata":{"annotations":{"x":"y"}}}"#]).await;
        assert_eq!(run(&scene, &["get", "pod", name, "-o", "jsonpath={.metadata.annotations.x}"]).await, "y");
    }
}

async fn should_create_a_pod_from_an_image_when_restart_is_never(scene: Scene) {
    run(&scene, &["run", "e2e-test-httpd-pod", "--restart=Never", "--image=skiff.local/httpd:1"]).await;
    let pod = scene.get("pods/e2e-test-httpd-pod").await.ok();
    assert_eq!(
        (&pod["spec"]["restartPolicy"], &pod["spec"]["containers"][0]["image"]),
        (&json!("Never"), &json!("skiff.local/httpd:1"))
    );
}

async fn should_update_a_single_container_pod_s_image(scene: Scene) {
    paused(&scene).await;
    let text = run(&scene, &["get", "pod", "pause", "-o", "json"]).await;
    pipe(&scene, &["replace", "-f", "-"], &text.replace("skiff.local/pause:1", "skiff.local/busybox:1")).await;
    let image = ["get", "pod", "pause", "-o", "jsonpath={.spec.containers[0].image}"];
    assert_eq!(run(&scene, &image).await, "skiff.local/busybox:1");
    let uid = ["get", "pod", "pause", "-o", "jsonpath={.metadata.uid}"];
    let before = run(&scene, &uid).await;
    pipe(&scene, &["replace", "--force", "-f", "-"], &text).await;
    assert_ne!(run(&scene, &uid).await, before);
}
