//! What Kubernetes' API server is held to by test/integration (apiserver, dryrun, etcd, objectmeta, namespace, quota).

use super::stage::{Answer, Patch, Scenario, Scene, play, scenarios};
use http::Method;
use serde_json::{Value, json};
use tests::cluster::Options;

#[tokio::test]
async fn the_api_server() {
    let all: &[Scenario] = scenarios![
        test_4xx_status_code_invalid_patch,
        test_202_status_code,
        test_cache_control,
        test_list_options,
        test_name_in_field_selector,
        test_transform,
        test_dedup_owner_references,
        test_dry_run,
        test_patch_conflicts,
        test_max_json_patch_operations,
        test_update_node_objects,
        test_quota_limited_resource_denial,
        test_namespace_labels,
    ];
    play(Options::default(), all).await;
}

fn replica_set(name: &str) -> Value {
    json!({"apiVersion": "apps/v1", "kind": "ReplicaSet", "metadata": {"name": name}, "spec": {"replicas": 0,
        "selector": {"matchLabels": {"name": "test"}}, "template": {"metadata": {"labels": {"name": "test"}},
            "spec": {"containers": [{"name": "fake-name", "image": "fakeimage"}]}}}})
}

async fn test_4xx_status_code_invalid_patch(scene: Scene) {
    scene.post("replicasets", replica_set("rs")).await.ok();
    let patch = json!({"metadata": {"annotations": {"foo": ["bar"]}}});
    for kind in [Patch::Merge, Patch::Strategic] {
        let status = scene.patch("replicasets/rs", kind, patch.clone()).await.refused(422, "patch: Invalid value: ");
        assert_eq!((&status["reason"], &status["details"]["causes"][0]["field"]), (&json!("Invalid"), &json!("patch")));
    }
}

async fn test_202_status_code(scene: Scene) {
    let cascading = json!({"kind": "DeleteOptions", "apiVersion": "v1", "orphanDependents": false});
    for (finalizers, options, code) in [
        (json!([]), Value::Null, 200),
        (json!(["kube.io/dummy-finalizer"]), Value::Null, 200),
        (json!([]), cascading.clone(), 200),
        (json!(["kube.io/dummy-finalizer"]), cascading, 202),
    ] {
        let mut set = replica_set("rs");
        set["metadata"]["finalizers"] = finalizers;
        scene.post("replicasets", set).await.ok();
        assert_eq!(scene.delete("replicasets/rs", options).await.code, code);
        scene.patch("replicasets/rs", Patch::Merge, json!({"metadata": {"finalizers": null}})).await;
    }
}

async fn test_cache_control(scene: Scene) {
    for path in [
        "/",
        "/healthz",
        "/openapi/v2",
        "/api",
        "/api/v1",
        "/apis",
        "/apis/apps",
        "/apis/apps/v1",
        "/api/v1/namespaces",
        "/apis/apps/v1/deployments",
    ] {
        let answer = scene.get(path).await;
        let cached =
            answer.headers.get("cache-control").map(|value| value.to_str().unwrap().to_owned()).unwrap_or_default();
        assert!(cached.contains("private"), "{path}: {cached:?}");
    }
}

async fn test_list_options(scene: Scene) {
    for n in 0..10 {
        scene.post("replicasets", replica_set(&format!("test-{n}"))).await.ok();
    }
    let token = scene.get("replicasets?limit=6").await.ok()["metadata"]["continue"].as_str().unwrap().to_owned();
    for limit in [0, 6] {
        for token in ["", &token, "invalidContinueToken"] {
            for revision in ["", "0", "invalid"] {
                for matching in ["", "NotOlderThan", "Exact", "InvalidMatch"] {
                    let query = format!(
                        "limit={limit}&continue={token}&resourceVersion={revision}&resourceVersionMatch={matching}"
                    );
                    let answer = scene.get(&format!("replicasets?{query}")).await;
                    let invalid = token == "invalidContinueToken";
                    let expected = match () {
                        () if revision.is_empty() && !matching.is_empty() => {
                            "resourceVersionMatch is forbidden unless resourceVersion is provided"
                        }
                        () if !token.is_empty() && !matching.is_empty() => {
                            "resourceVersionMatch is forbidden when continue is provided"
                        }
                        () if matching == "InvalidMatch" => "supported values",
                        () if matching == "Exact" && revision == "0" => {
                            "resourceVersionMatch \"exact\" is forbidden for resourceVersion \"0\""
                        }
                        () if revision == "invalid" => "Invalid value",
                        () if invalid => "continue key is not valid",
                        () => {
                            check_page(&query, answer, limit, token, matching);
                            continue;
                        }
                    };
                    assert!(
                        answer.code >= 400 && answer.text.contains(&expected.replace('"', "\\\"")),
                        "{query}: {}",
                        answer.text
                    );
                }
            }
        }
    }
}

fn check_page(query: &str, answer: Answer, limit: usize, token: &str, matching: &str) {
    let list = answer.ok();
    let found = list["items"].as_array().map_or(0, Vec::len);
    let left = if token.is_empty() { 10 } else { 4 };
    let expected = if limit > 0 && limit < left { limit } else { left };
    // A list of at least revision 0 may come whole from memory.
    let whole = query.contains("resourceVersion=0") && token.is_empty() && matching != "Exact";
    assert!(found == expected || whole && found == left, "{query}: {found}");
    assert_eq!(list["metadata"]["continue"].is_string(), found < left, "{query}");
}

async fn test_name_in_field_selector(scene: Scene) {
    for name in ["foo", "bar"] {
        scene.post("secrets", json!({"metadata": {"name": name}})).await.ok();
    }
    for (selector, found) in [
        ("metadata.name%3Dfoo", 1),
        ("metadata.name%3Dfoo,metadata.name%3Dbar", 0),
        ("metadata.name%3Dfoo,metadata.name%3Dfoo", 1),
        ("metadata.name!%3Dfoo,metadata.name!%3Dbar", 0),
        ("type%3DOpaque,metadata.name!%3Dbar", 1),
    ] {
        assert_eq!(scene.items(&format!("secrets?fieldSelector={selector}")).await.len(), found, "{selector}");
    }
}

async fn test_transform(scene: Scene) {
    const TABLE: &str = "application/json;as=Table;g=meta.k8s.io;v=v1";
    scene.post("configmaps", json!({"metadata": {"name": "test-1"}, "data": {"k": "v"}})).await.ok();
    let one = "configmaps?fieldSelector=metadata.name%3Dtest-1";
    for (include, kind) in
        [("", "PartialObjectMetadata"), ("Object", "ConfigMap"), ("Metadata", "PartialObjectMetadata"), ("None", "")]
    {
        let table = scene.get_as(&format!("{one}&includeObject={include}"), TABLE).await.ok();
        let object = &table["rows"][0]["object"];
        assert_eq!(object["kind"].as_str().unwrap_or_default(), kind, "{include}");
    }
    let why = "includeObject: Invalid value: \"Foo\": must be 'Metadata', 'Object', 'None', or empty";
    scene.get_as(&format!("{one}&includeObject=Foo"), TABLE).await.refused(400, why);
    let list = scene.get_as(one, "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1").await.ok();
    assert_eq!(
        (&list["kind"], &list["items"][0]["kind"]),
        (&json!("PartialObjectMetadataList"), &json!("PartialObjectMetadata"))
    );
    assert!(list["items"][0]["data"].is_null());
    let single =
        scene.get_as("configmaps/test-1", "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1").await.ok();
    assert_eq!(single["kind"], "PartialObjectMetadata");
    for unknown in
        ["application/json;as=Foo;g=meta.k8s.io;v=v1", "application/json;as=Table;g=meta.k8s.io;v=v1alpha1", "text/foo"]
    {
        assert_eq!(scene.get_as(one, unknown).await.code, 406, "{unknown}");
    }
    // Those who would also take plain JSON get it.
    let plain = scene.get_as(one, "application/json;as=Table;g=meta.k8s.io;v=v1alpha1,application/json").await.ok();
    assert_eq!(plain["kind"], "ConfigMapList");
    // A watch: the columns come with the first row only.
    let watch = scene.get_as(&format!("{one}&watch=1&timeoutSeconds=1&resourceVersion=0"), TABLE).await;
    let first: Value = serde_json::from_str(watch.text.lines().next().expect("an event")).unwrap();
    assert_eq!((&first["type"], &first["object"]["kind"]), (&json!("ADDED"), &json!("Table")));
    assert!(!first["object"]["columnDefinitions"].as_array().unwrap().is_empty());
}

async fn test_dedup_owner_references(scene: Scene) {
    let owner = json!({"apiVersion": "v1", "kind": "ConfigMap", "name": "owner", "uid": "6ed1d53a-0fb1-4bb8-8c33-9d0d1a8c8b5a"});
    let map = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "dup", "finalizers": ["example.com/f"], "ownerReferences": [owner, owner]}});
    let answer = scene.call(Method::POST, "configmaps", &[("content-type", "application/json")], map.to_string()).await;
    let warning = answer.headers["warning"].to_str().unwrap().to_owned();
    assert!(warning.contains(".metadata.ownerReferences contains duplicate entries"), "{warning}");
    assert_eq!(answer.ok()["metadata"]["ownerReferences"].as_array().unwrap().len(), 1);
    scene.patch("configmaps/dup", Patch::Merge, json!({"metadata": {"finalizers": null}})).await;
}

async fn test_dry_run(scene: Scene) {
    let set = replica_set("dry");
    scene.post("replicasets?dryRun=All", set.clone()).await.ok();
    assert_eq!(scene.get("replicasets/dry").await.code, 404);
    scene
        .post("replicasets?dryRun=Foo", set.clone())
        .await
        .refused(422, "dryRun: Unsupported value: [\"Foo\"]: supported values: \"All\"");
    let generated = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"generateName": "dry-"}});
    let made = scene.post("configmaps?dryRun=All", generated).await.ok();
    assert!(made["metadata"]["name"].as_str().unwrap().len() > 4 && made["metadata"]["uid"].is_string());
    let stored = scene.post("replicasets", set.clone()).await.ok();
    scene.post("replicasets?dryRun=All", set).await.refused(409, "already exists");
    let patched = scene.patch("replicasets/dry?dryRun=All", Patch::Merge, json!({"spec": {"replicas": 5}})).await.ok();
    assert_eq!(patched["spec"]["replicas"], 5);
    let scale =
        json!({"apiVersion": "autoscaling/v1", "kind": "Scale", "metadata": {"name": "dry"}, "spec": {"replicas": 7}});
    assert_eq!(scene.put("replicasets/dry/scale?dryRun=All", &scale).await.ok()["spec"]["replicas"], 7);
    let mut changed = stored.clone();
    changed["spec"]["replicas"] = 9.into();
    changed["metadata"].as_object_mut().unwrap().remove("resourceVersion");
    scene.put("replicasets/dry?dryRun=All", &changed).await.ok();
    scene.delete("replicasets/dry", json!({"dryRun": ["All"]})).await.ok();
    scene.delete("replicasets?dryRun=All", Value::Null).await.ok();
    assert_eq!(scene.get("replicasets/dry").await.ok()["spec"], stored["spec"]);
}

async fn test_patch_conflicts(scene: Scene) {
    scene.post("secrets", json!({"metadata": {"name": "test"}})).await.ok();
    let writers = (0..40).map(|n| {
        let scene = scene.clone();
        async move {
            let patch =
                json!({"metadata": {"labels": {"label": format!("value-{n}")}, "annotations": {format!("a{n}"): "x"}}});
            scene.patch("secrets/test", Patch::Strategic, patch).await.ok();
        }
    });
    futures::future::join_all(writers).await;
    assert_eq!(scene.get("secrets/test").await.ok()["metadata"]["annotations"].as_object().unwrap().len(), 40);
}

async fn test_max_json_patch_operations(scene: Scene) {
    scene.post("secrets", json!({"metadata": {"name": "test"}})).await.ok();
    let one = json!({"op": "add", "path": "/x", "value": {"x": "y"}});
    let patch = Value::from(vec![one; 10_001]);
    let refused = scene.patch("secrets/test", Patch::Json, patch).await;
    let status = refused.refused(413, "The allowed maximum operations in a JSON patch is 10000, got 10001");
    assert_eq!(status["reason"], "RequestEntityTooLarge");
}

async fn test_update_node_objects(scene: Scene) {
    let node = json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": scene.namespace}});
    let path = format!("/api/v1/nodes/{}", scene.namespace);
    scene.post("/api/v1/nodes", node).await.ok();
    // The node life cycle controller taints it meanwhile.
    loop {
        let mut node = scene.get(&path).await.ok();
        node["metadata"]["labels"] = json!({"updated": "yes"});
        let answer = scene.put(&path, &node).await;
        if answer.code != 409 {
            answer.ok();
            break;
        }
    }
    let status = json!({"status": {"conditions": [{"type": "Ready", "status": "False", "reason": "Test"}]}});
    scene.patch(&format!("{path}/status"), Patch::Strategic, status).await.ok();
    // A status update leaves the rest alone, and the other way round.
    let spec = json!({"metadata": {"labels": {"updated": "twice"}}, "spec": {"unschedulable": true}, "status": {"phase": "x"}});
    let patched = scene.patch(&path, Patch::Merge, spec).await.ok();
    assert_eq!((&patched["spec"]["unschedulable"], &patched["status"]["phase"]), (&json!(true), &Value::Null));
    assert_eq!(patched["status"]["conditions"][0]["reason"], "Test");
}

async fn test_quota_limited_resource_denial(scene: Scene) {
    let quota = json!({"metadata": {"name": "quota"}, "spec": {"hard": {"pods": "1"}}});
    scene.post("resourcequotas", quota).await.ok();
    scene.wait("resourcequotas/quota", "is counted", |q| q.is_some_and(|q| q["status"]["used"]["pods"] == "0")).await;
    let pod = json!({"metadata": {"generateName": "pod-"}, "spec": {"nodeSelector": {"no": "such-node"}, "containers": [{"name": "c", "image": "skiff.local/none:1"}]}});
    let all = (0..8).map(|_| {
        let (scene, pod) = (scene.clone(), pod.clone());
        async move { scene.post("pods", pod).await.code }
    });
    let mut codes = futures::future::join_all(all).await;
    codes.sort_unstable();
    assert_eq!(codes, [[201].as_slice(), &[403; 7]].concat());
}

async fn test_namespace_labels(scene: Scene) {
    let path = format!("/api/v1/namespaces/{}", scene.namespace);
    let label = |scene: Value| scene["metadata"]["labels"]["kubernetes.io/metadata.name"].clone();
    assert_eq!(label(scene.get(&path).await.ok()), *scene.namespace);
    let removed = scene
        .patch(&path, Patch::Merge, json!({"metadata": {"labels": {"kubernetes.io/metadata.name": null}}}))
        .await
        .ok();
    assert_eq!(label(removed), *scene.namespace);
    let other = json!({"metadata": {"labels": {"kubernetes.io/metadata.name": "other"}}});
    // It is a default that nobody can change.
    assert_eq!(label(scene.patch(&path, Patch::Merge, other).await.ok()), *scene.namespace);
}
