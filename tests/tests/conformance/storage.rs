//! [sig-storage] Volumes' API and files from ConfigMaps, Secrets and the downward API:
//! test/e2e/storage/persistent_volumes.go, test/e2e/common/storage/*.go.

use super::apps_deployment::REPORT;
use super::scene::{Patch, Scene, merged, play, scenarios};
use serde_json::{Value, json};

#[tokio::test]
async fn storage() {
    play(scenarios![
        should_run_through_the_lifecycle_of_a_pv_and_a_pvc,
        should_apply_changes_to_a_pv_pvc_status,
        should_run_through_the_lifecycle_of_a_storage_class,
        pvc_protection_verify_that_immediate_deletion_is_postponed,
        should_be_consumable_from_pods_in_volume_with_mappings_and_item_mode_set,
        optional_updates_should_be_reflected_in_volume,
        binary_data_should_be_reflected_in_volume,
        should_be_immutable_if_immutable_field_is_set,
        should_update_labels_and_annotations_on_modification,
        should_provide_containers_cpu_and_memory_limits_and_requests,
        projected_combined_should_project_all_components,
        empty_dir_should_share_a_volume_between_two_containers,
        subpath_should_support_config_map_and_secret_pods,
        should_fail_to_mount_what_does_not_exist,
    ])
    .await;
}

const PVS: &str = "/api/v1/persistentvolumes";
const PVCS: &str = "v1/persistentvolumeclaims";

fn volume(label: &str) -> Value {
    json!({"metadata": {"generateName": "pv-", "labels": {"e2e-pv": label}}, "spec": {
        "capacity": {"storage": "2Gi"}, "accessModes": ["ReadWriteOnce"], "storageClassName": label,
        "persistentVolumeReclaimPolicy": "Retain", "hostPath": {"path": "/tmp/e2e"}}})
}

fn claim(label: &str) -> Value {
    json!({"metadata": {"generateName": "pvc-", "labels": {"e2e-pvc": label}}, "spec": {
        "accessModes": ["ReadWriteOnce"], "storageClassName": label, "resources": {"requests": {"storage": "1Gi"}}}})
}

fn name(object: &Value) -> String {
    object["metadata"]["name"].as_str().unwrap().to_owned()
}

async fn should_run_through_the_lifecycle_of_a_pv_and_a_pvc(scene: Scene) {
    let label = scene.namespace.clone();
    let pv = scene.create(PVS, volume(&label)).await;
    let pvc = scene.create(PVCS, claim(&label)).await;
    let pvs = format!("{PVS}?labelSelector=e2e-pv%3D{label}");
    let pvcs = format!("{PVCS}?labelSelector=e2e-pvc%3D{label}");
    assert_eq!((scene.items(&pvs).await.len(), scene.items(&pvcs).await.len()), (1, 1));
    let (pv_path, pvc_path) = (format!("{PVS}/{}", name(&pv)), format!("{PVCS}/{}", name(&pvc)));
    assert_eq!(pv["spec"]["volumeMode"], "Filesystem");
    assert_eq!((&pvc["status"]["phase"], &pvc["spec"]["volumeMode"]), (&json!("Pending"), &json!("Filesystem")));
    for path in [&pv_path, &pvc_path] {
        let patched = scene.strategic(path, json!({"metadata": {"labels": {"patched": "yes"}}})).await;
        assert_eq!(patched["metadata"]["labels"]["patched"], "yes");
        assert_eq!(scene.get(path).await["metadata"]["uid"], patched["metadata"]["uid"]);
    }
    scene.delete(&pvc_path, json!(null)).await;
    scene.gone(&pvc_path).await;
    scene.delete(&pv_path, json!(null)).await;
    scene.gone(&pv_path).await;
    let (pv, pvc) = (scene.create(PVS, volume(&label)).await, scene.create(PVCS, claim(&label)).await);
    let updated =
        scene.update(&format!("{PVS}/{}", name(&pv)), |o| o["metadata"]["labels"]["updated"] = json!("yes")).await;
    assert_eq!(updated["metadata"]["labels"]["updated"], "yes");
    let updated =
        scene.update(&format!("{PVCS}/{}", name(&pvc)), |o| o["metadata"]["labels"]["updated"] = json!("yes")).await;
    assert_eq!(updated["metadata"]["labels"]["updated"], "yes");
    assert!(!scene.items("/api/v1/persistentvolumeclaims?labelSelector=updated%3Dyes").await.is_empty());
    scene.delete(&pvcs, json!(null)).await;
    scene.until_count(&pvcs, 0).await;
    scene.delete(&pvs, json!(null)).await;
    scene.until_count(&pvs, 0).await;
}

async fn should_apply_changes_to_a_pv_pvc_status(scene: Scene) {
    let label = scene.namespace.clone();
    let (pv, pvc) = (scene.create(PVS, volume(&label)).await, scene.create(PVCS, claim(&label)).await);
    let (pv_path, pvc_path) = (format!("{PVS}/{}/status", name(&pv)), format!("{PVCS}/{}/status", name(&pvc)));
    assert_eq!(scene.get(&pvc_path).await["kind"], "PersistentVolumeClaim");
    assert_eq!(scene.get(&pv_path).await["kind"], "PersistentVolume");
    let patch = json!({"status": {"conditions": [{"type": "StatusPatched", "status": "True", "reason": "E2E patchedStatus", "message": "Set from an e2e test"}]}});
    let patched = scene.merge(&pvc_path, patch).await;
    assert_eq!(patched["status"]["conditions"][0]["type"], "StatusPatched");
    let patched =
        scene.merge(&pv_path, json!({"status": {"message": "StatusPatched", "reason": "E2E patchStatus"}})).await;
    assert_eq!(
        (&patched["status"]["message"], &patched["status"]["reason"]),
        (&json!("StatusPatched"), &json!("E2E patchStatus"))
    );
    let updated = scene
        .update(&pvc_path, |c| {
            let condition = json!({"type": "StatusUpdated", "status": "True", "reason": "E2E updateStatus", "message": "Set from an e2e test"});
            c["status"]["conditions"].as_array_mut().unwrap().push(condition);
        })
        .await;
    assert_eq!(updated["status"]["conditions"].as_array().unwrap().len(), 2);
    let updated = scene.update(&pv_path, |v| v["status"]["reason"] = json!("E2E updateStatus")).await;
    assert_eq!(updated["status"]["reason"], "E2E updateStatus");
}

async fn should_run_through_the_lifecycle_of_a_storage_class(scene: Scene) {
    let classes = "/apis/storage.k8s.io/v1/storageclasses";
    let label = scene.namespace.clone();
    let object = |at: usize| json!({"metadata": {"name": scene.unique(&format!("e2e-{at}")), "labels": {"e2e-sc": label}}, "provisioner": "e2e-fake-provisioner"});
    let made = scene.create(classes, object(1)).await;
    assert_eq!((&made["reclaimPolicy"], &made["volumeBindingMode"]), (&json!("Delete"), &json!("Immediate")));
    let path = format!("{classes}/{}", name(&made));
    scene.strategic(&path, json!({"metadata": {"labels": {"patched": "yes"}}})).await;
    scene.update(&path, |c| c["metadata"]["labels"]["updated"] = json!("yes")).await;
    let all = format!("{classes}?labelSelector=e2e-sc%3D{label}");
    assert_eq!(scene.items(&all).await[0]["metadata"]["labels"]["updated"], "yes");
    let fixed = scene.stage.patch(&path, Patch::Merge, json!({"provisioner": "other"})).await;
    fixed.refused(422, "updates to provisioner are forbidden.");
    scene.delete(&path, json!(null)).await;
    scene.create(classes, object(2)).await;
    scene.delete(&all, json!(null)).await;
    assert!(scene.items(&all).await.is_empty());
}

async fn pvc_protection_verify_that_immediate_deletion_is_postponed(scene: Scene) {
    let mut object = claim("none");
    object["metadata"] = json!({"name": "claim"});
    let made = scene.create(PVCS, object).await;
    assert_eq!(made["metadata"]["finalizers"], json!(["kubernetes.io/pvc-protection"]));
    let mut user = pod("user", json!({}), json!([{"name": "v", "persistentVolumeClaim": {"claimName": "claim"}}]));
    user["spec"]["containers"][0]["volumeMounts"] = json!([{"name": "v", "mountPath": "/v"}]);
    user["spec"]["nodeName"] = json!("node-1");
    scene.create("v1/pods", user).await;
    scene.delete(&format!("{PVCS}/claim"), json!(null)).await;
    let held = scene.get(&format!("{PVCS}/claim")).await;
    assert!(held["metadata"]["deletionTimestamp"].is_string(), "{held}");
    scene.delete("v1/pods/user", json!({"gracePeriodSeconds": 0})).await;
    scene.gone(&format!("{PVCS}/claim")).await;
}

/// A pod that reports and ends.
fn pod(name: &str, container: Value, volumes: Value) -> Value {
    let base = json!({"name": "c", "image": REPORT, "imagePullPolicy": "IfNotPresent"});
    json!({"metadata": {"name": name, "labels": {"app": name}}, "spec": {"restartPolicy": "Never",
        "terminationGracePeriodSeconds": 0, "containers": [merged(base, container)], "volumes": volumes}})
}

async fn report(scene: &Scene, pod: Value) -> String {
    let made = scene.create("v1/pods", pod).await;
    let name = name(&made);
    scene.phase(&name, "Succeeded").await;
    scene.text(&format!("v1/pods/{name}/log?container=c")).await
}

async fn should_be_consumable_from_pods_in_volume_with_mappings_and_item_mode_set(scene: Scene) {
    let data = json!({"metadata": {"name": "map"}, "data": {"data-1": "value-1", "data-2": "value-2"}});
    scene.create("v1/configmaps", data.clone()).await;
    scene.create("v1/secrets", json!({"metadata": {"name": "map"}, "stringData": {"data-1": "secret-1"}})).await;
    let items = json!([{"key": "data-1", "path": "path/to/data-1", "mode": 256}]);
    let volumes = json!([{"name": "v", "configMap": {"name": "map", "items": items}}, {"name": "s", "secret": {"secretName": "map", "items": items}}]);
    let container = json!({"args": ["--file", "/v/path/to/data-1", "--file", "/s/path/to/data-1"],
        "volumeMounts": [{"name": "v", "mountPath": "/v"}, {"name": "s", "mountPath": "/s", "readOnly": true}]});
    let log = report(&scene, pod("items", container, volumes)).await;
    assert!(log.contains("value-1") && log.contains("secret-1") && !log.contains("value-2"), "{log}");
}

/// Waits until one of the pod's containers, each of which is a look, has seen `wanted`.
async fn until_seen(scene: &Scene, name: &str, wanted: &str) {
    until_log(scene, name, wanted, |log| log.contains(wanted)).await;
}

/// Waits until the whole log of one of the pod's containers, each of which is a look, is as `check` likes it.
async fn until_log(scene: &Scene, name: &str, what: &str, check: impl Fn(&str) -> bool) {
    tests::eventually(&format!("{name} sees {what}"), tests::rest::LIMIT, || async {
        // 400 until there is a container.
        let log = scene.stage.get(&scene.path(&format!("v1/pods/{name}/log"))).await.text;
        if check(&log) { Ok(()) } else { Err(log) }
    })
    .await;
}

/// A container that reports its files again and again: each restart is a look.
fn watcher(name: &str, files: &[&str], volumes: Value, mounts: Value) -> Value {
    let args: Vec<&str> = files.iter().flat_map(|file| ["--file", file]).collect();
    let mut pod = pod(name, json!({"args": args, "volumeMounts": mounts}), volumes);
    pod["spec"]["restartPolicy"] = json!("Always");
    pod
}

async fn optional_updates_should_be_reflected_in_volume(scene: Scene) {
    for (name, value) in [("upd", "before"), ("del", "doomed")] {
        scene.create("v1/configmaps", json!({"metadata": {"name": name}, "data": {"data-1": value}})).await;
    }
    let volume = |name: &str| json!({"name": name, "configMap": {"name": name, "optional": true}});
    let mount = |name: &str| json!({"name": name, "mountPath": format!("/{name}")});
    let volumes = ["upd", "del", "late"].map(volume);
    let mounts = ["upd", "del", "late"].map(mount);
    scene.create("v1/pods", watcher("looker", &["/upd", "/del", "/late"], json!(volumes), json!(mounts))).await;
    until_log(&scene, "looker", "both", |log| log.contains("before") && log.contains("doomed")).await;
    scene.delete("v1/configmaps/del", json!(null)).await;
    scene.merge("v1/configmaps/upd", json!({"data": {"data-1": null, "data-3": "after"}})).await;
    scene.create("v1/configmaps", json!({"metadata": {"name": "late"}, "data": {"data-1": "come-late"}})).await;
    until_log(&scene, "looker", "all that changed", |log| {
        log.contains("after") && log.contains("come-late") && !log.contains("before") && !log.contains("doomed")
    })
    .await;
}

async fn binary_data_should_be_reflected_in_volume(scene: Scene) {
    let object =
        json!({"metadata": {"name": "binary"}, "data": {"text": "plain"}, "binaryData": {"dump": "YmluYXJ5LXZhbHVl"}});
    scene.create("v1/configmaps", object).await;
    let container =
        json!({"args": ["--file", "/v/dump", "--file", "/v/text"], "volumeMounts": [{"name": "v", "mountPath": "/v"}]});
    let log = report(&scene, pod("binary", container, json!([{"name": "v", "configMap": {"name": "binary"}}]))).await;
    assert!(log.contains("binary-value") && log.contains("plain"), "{log}");
}

async fn should_be_immutable_if_immutable_field_is_set(scene: Scene) {
    for (plural, data) in [("configmaps", json!({"data": {"a": "1"}})), ("secrets", json!({"stringData": {"a": "1"}}))]
    {
        scene.create(&format!("v1/{plural}"), merged(json!({"metadata": {"name": "fixed"}}), data)).await;
        let path = format!("v1/{plural}/fixed");
        let change = if plural == "secrets" { json!({"stringData": {"a": "2"}}) } else { json!({"data": {"a": "2"}}) };
        scene.merge(&path, change.clone()).await;
        scene.merge(&path, json!({"immutable": true})).await;
        let whole = scene.path(&path);
        let text = "field is immutable when `immutable` is set";
        scene.stage.patch(&whole, Patch::Merge, change.clone()).await.ok();
        let other = if plural == "secrets" { json!({"stringData": {"a": "3"}}) } else { json!({"data": {"a": "3"}}) };
        scene.stage.patch(&whole, Patch::Merge, other).await.refused(422, text);
        scene.stage.patch(&whole, Patch::Merge, json!({"immutable": false})).await.refused(422, text);
        // Metadata may change still.
        scene.merge(&path, json!({"metadata": {"annotations": {"a": "b"}}})).await;
        scene.delete(&path, json!(null)).await;
    }
}

async fn should_update_labels_and_annotations_on_modification(scene: Scene) {
    let field = |path: &str, field: &str| json!({"path": path, "fieldRef": {"fieldPath": field}});
    let items = json!([
        field("labels", "metadata.labels"),
        field("annotations", "metadata.annotations"),
        field("podname", "metadata.name")
    ]);
    let volumes = json!([{"name": "info", "downwardAPI": {"items": items}}]);
    let mounts = json!([{"name": "info", "mountPath": "/info"}]);
    let mut object = watcher("labelsupdate", &["/info"], volumes, mounts);
    object["metadata"]["labels"] = json!({"key1": "value1", "key2": "value2"});
    scene.create("v1/pods", object).await;
    until_seen(&scene, "labelsupdate", "file /info/labels: key2=\"value2\"").await;
    until_seen(&scene, "labelsupdate", "file /info/podname: labelsupdate").await;
    scene
        .update("v1/pods/labelsupdate", |p| {
            p["metadata"]["labels"]["key3"] = json!("value3");
            p["metadata"]["annotations"] = json!({"builder": "foo"});
        })
        .await;
    until_seen(&scene, "labelsupdate", "key3=\"value3\"").await;
    until_seen(&scene, "labelsupdate", "builder=\"foo\"").await;
}

async fn should_provide_containers_cpu_and_memory_limits_and_requests(scene: Scene) {
    let item = |path: &str, resource: &str, divisor: &str| json!({"path": path, "resourceFieldRef": {"containerName": "c", "resource": resource, "divisor": divisor}});
    let items = json!([
        item("cpu_limit", "limits.cpu", "1m"),
        item("cpu_request", "requests.cpu", "1m"),
        item("memory_limit", "limits.memory", "1Mi"),
        item("memory_request", "requests.memory", "1Mi")
    ]);
    let resources =
        json!({"requests": {"cpu": "250m", "memory": "32Mi"}, "limits": {"cpu": "1250m", "memory": "64Mi"}});
    let files: Vec<String> =
        ["cpu_limit", "cpu_request", "memory_limit", "memory_request"].iter().map(|f| format!("/info/{f}")).collect();
    let args: Vec<&str> = files.iter().flat_map(|f| ["--file", f]).collect();
    let container =
        json!({"args": args, "resources": resources, "volumeMounts": [{"name": "info", "mountPath": "/info"}]});
    let log =
        report(&scene, pod("resources", container, json!([{"name": "info", "downwardAPI": {"items": items}}]))).await;
    for (file, wanted) in files.iter().zip(["1250", "250", "64", "32"]) {
        let line = format!("file {file}: {wanted}");
        assert!(log.lines().any(|l| l == line), "no {line} in {log}");
    }
}

async fn projected_combined_should_project_all_components(scene: Scene) {
    scene
        .create("v1/configmaps", json!({"metadata": {"name": "map"}, "data": {"configmap-data": "configmap-value-1"}}))
        .await;
    scene
        .create("v1/secrets", json!({"metadata": {"name": "secret"}, "stringData": {"secret-data": "secret-value-1"}}))
        .await;
    let sources = json!([{"configMap": {"name": "map"}}, {"secret": {"name": "secret"}},
        {"downwardAPI": {"items": [{"path": "podname", "fieldRef": {"fieldPath": "metadata.name"}}]}},
        {"serviceAccountToken": {"path": "token", "audience": "here"}}]);
    let container = json!({"args": ["--file", "/all/configmap-data", "--file", "/all/secret-data", "--file", "/all/podname", "--file", "/all/token"],
        "volumeMounts": [{"name": "all", "mountPath": "/all"}]});
    let log =
        report(&scene, pod("projected", container, json!([{"name": "all", "projected": {"sources": sources}}]))).await;
    for wanted in
        ["configmap-data: configmap-value-1", "secret-data: secret-value-1", "podname: projected", "token: eyJ"]
    {
        let line = format!("file /all/{wanted}");
        assert!(log.lines().any(|l| l.starts_with(&line)), "no {line} in {log}");
    }
}

async fn empty_dir_should_share_a_volume_between_two_containers(scene: Scene) {
    let module = tests::binary::wat(scene.stage.cluster.scratch(), "fail-once");
    let maker = json!({"name": "maker", "image": format!("file://{}", module.display()),
        "volumeMounts": [{"name": "shared", "mountPath": "/data"}]});
    let mut object = pod(
        "shared",
        json!({"args": ["--file", "/data/mark"], "volumeMounts": [{"name": "shared", "mountPath": "/data"}]}),
        json!([{"name": "shared", "emptyDir": {"medium": "Memory"}}]),
    );
    object["spec"]["initContainers"] = json!([maker]);
    object["spec"]["restartPolicy"] = json!("OnFailure");
    // It ends well only if it could read what the init container left.
    report(&scene, object).await;
}

async fn subpath_should_support_config_map_and_secret_pods(scene: Scene) {
    scene
        .create("v1/configmaps", json!({"metadata": {"name": "map"}, "data": {"one": "value-one", "two": "value-two"}}))
        .await;
    let mounts = json!([{"name": "v", "mountPath": "/only/one", "subPath": "one"}, {"name": "d", "mountPath": "/expanded", "subPathExpr": "$(POD_NAME)"}]);
    let env = json!([{"name": "POD_NAME", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}]);
    let container = json!({"args": ["--file", "/only/one", "--file", "/expanded"], "volumeMounts": mounts, "env": env});
    let log = report(
        &scene,
        pod("subpath", container, json!([{"name": "v", "configMap": {"name": "map"}}, {"name": "d", "emptyDir": {}}])),
    )
    .await;
    assert!(log.contains("value-one") && !log.contains("value-two"), "{log}");
}

async fn should_fail_to_mount_what_does_not_exist(scene: Scene) {
    let mounts = json!({"volumeMounts": [{"name": "v", "mountPath": "/v"}]});
    scene
        .create("v1/pods", pod("absent", mounts.clone(), json!([{"name": "v", "secret": {"secretName": "absent"}}])))
        .await;
    let message = scene.event("absent", "FailedMount").await;
    assert!(message.contains("secret \"absent\" not found"), "{message}");
    scene.create("v1/configmaps", json!({"metadata": {"name": "map"}, "data": {"a": "b"}})).await;
    let items = json!([{"key": "nope", "path": "nope"}]);
    scene
        .create(
            "v1/pods",
            pod("wrongkey", mounts, json!([{"name": "v", "configMap": {"name": "map", "items": items}}])),
        )
        .await;
    let message = scene.event("wrongkey", "FailedMount").await;
    assert!(message.contains("references non-existent config key: nope"), "{message}");
}
