//! Creating objects.

use super::*;

#[tokio::test]
async fn an_object_comes_back_with_its_metadata() {
    let cluster = Cluster::new().await;
    let made = cluster.post(CONFIG_MAPS, config_map("a")).await;
    assert_eq!(made["kind"], "ConfigMap");
    assert_eq!(made["apiVersion"], "v1");
    assert_eq!(made["metadata"]["namespace"], "default");
    assert_eq!(made["metadata"]["creationTimestamp"], "2027-01-15T08:00:00Z");
    assert_eq!(made["metadata"]["uid"].as_str().unwrap().len(), 36);
    assert_eq!(made["metadata"]["generation"], Value::Null);
    assert!(made["metadata"]["resourceVersion"].as_str().unwrap().parse::<u64>().unwrap() > 0);
    assert_eq!(cluster.get(&format!("{CONFIG_MAPS}/a")).await, made);
}

#[tokio::test]
async fn what_the_server_decides_cannot_be_chosen() {
    let cluster = Cluster::new().await;
    let mut object = pod("p");
    object["metadata"]["uid"] = "mine".into();
    object["metadata"]["deletionTimestamp"] = "2020-01-01T00:00:00Z".into();
    object["status"] = json!({"phase": "Running"});
    let made = cluster.post(PODS, object).await;
    assert_ne!(made["metadata"]["uid"], "mine");
    assert_eq!(made["metadata"]["deletionTimestamp"], Value::Null);
    assert_eq!(made["status"]["phase"], "Pending");
}

#[tokio::test]
async fn errors_read_as_kubernetes_words_them() {
    let cluster = Cluster::new().await;
    cluster.post(CONFIG_MAPS, config_map("a")).await;
    let cases = [
        ("taken", CONFIG_MAPS, config_map("a")),
        ("no_namespace", "/api/v1/namespaces/nope/configmaps", config_map("a")),
        ("other_namespace", CONFIG_MAPS, json!({"metadata": {"name": "x", "namespace": "other"}})),
        ("bad_name", CONFIG_MAPS, config_map("Bad_Name")),
        ("long_name", CONFIG_MAPS, config_map(&"x".repeat(300))),
        ("no_name", CONFIG_MAPS, json!({"metadata": {}})),
        ("wrong_kind", CONFIG_MAPS, json!({"kind": "Pod", "apiVersion": "v1", "metadata": {"name": "x"}})),
        ("wrong_version", CONFIG_MAPS, json!({"kind": "ConfigMap", "apiVersion": "v2", "metadata": {"name": "x"}})),
        ("wrong_type", CONFIG_MAPS, json!({"metadata": {"name": "x"}, "data": {"a": 1}})),
        ("no_object", CONFIG_MAPS, json!([1, 2])),
    ];
    for (name, path, body) in cases {
        insta::assert_json_snapshot!(format!("create_{name}"), cluster.fails("POST", path, body).await);
    }
}

#[tokio::test]
async fn malformed_bodies_are_a_400() {
    let cluster = Cluster::new().await;
    for (kind, body) in [
        ("application/json", &b"{\"metadata\": {"[..]),
        ("application/json", b""),
        ("application/json", b"\xff\xfe"),
        ("application/yaml", b"a: [b"),
        ("application/vnd.kubernetes.protobuf", b"k8s\0\xff"),
    ] {
        let answer = cluster.send("POST", CONFIG_MAPS, &[("content-type", kind)], body.to_vec()).await;
        assert_eq!(answer.code, 400, "{kind} {body:?}: {:?}", answer.bytes);
    }
    let deep = "[".repeat(100_000);
    let answer = cluster.send("POST", CONFIG_MAPS, &[("content-type", "application/json")], deep).await;
    assert_eq!(answer.code, 400);
}

#[tokio::test]
async fn names_are_generated_and_clashes_tried_again() {
    let cluster = Cluster::new().await;
    for _ in 0..50 {
        let made = cluster.post(CONFIG_MAPS, json!({"metadata": {"generateName": "g-"}})).await;
        let name = made["metadata"]["name"].as_str().unwrap();
        assert!(name.starts_with("g-") && name.len() == 7, "{name}");
    }
    let list = cluster.get(CONFIG_MAPS).await;
    assert_eq!(list["items"].as_array().unwrap().len(), 50);
}

#[tokio::test]
async fn a_dry_run_stores_nothing_but_finds_the_same_faults() {
    let cluster = Cluster::new().await;
    let before = cluster.core.store.revision();
    let path = format!("{CONFIG_MAPS}?dryRun=All");
    let seen = cluster.post(&path, config_map("a")).await;
    assert_eq!(seen["metadata"]["resourceVersion"], Value::Null);
    assert_eq!(cluster.core.store.revision(), before);
    cluster.post(CONFIG_MAPS, config_map("a")).await;
    assert_eq!(cluster.fails("POST", &path, config_map("a")).await["reason"], "AlreadyExists");
    let bad = cluster.fails("POST", &format!("{CONFIG_MAPS}?dryRun=Some"), config_map("b")).await;
    insta::assert_json_snapshot!("create_bad_dry_run", bad);
}

#[tokio::test]
async fn unknown_fields_are_warned_of_refused_or_ignored() {
    let cluster = Cluster::new().await;
    let body = r#"{"metadata":{"name":"x"},"dta":{"a":"b"},"data":{"k":"1","k":"2"}}"#;
    let send = async |mode: &str| {
        let path = format!("{CONFIG_MAPS}?dryRun=All&fieldValidation={mode}");
        cluster.send("POST", &path, &[("content-type", "application/json")], body).await
    };
    let warned = send("").await;
    assert_eq!(warned.code, 201);
    assert_eq!(warned.json()["dta"], Value::Null);
    let warnings: Vec<&str> = warned.headers.get_all("warning").iter().map(|w| w.to_str().unwrap()).collect();
    assert_eq!(warnings, [r#"299 - "unknown field \"dta\"""#, r#"299 - "duplicate field \"data.k\"""#]);
    // A refusal says it, too.
    let bad = r#"{"metadata":{"name":"X"},"dta":{"a":"b"}}"#;
    let refused = cluster.send("POST", CONFIG_MAPS, &[("content-type", "application/json")], bad).await;
    assert_eq!((refused.code.as_u16(), refused.headers.get("warning")), (422, warned.headers.get("warning")));
    let absent = cluster.send("GET", "/api/v1/namespaces/default/endpoints/none", &[], "").await;
    assert_eq!((absent.code.as_u16(), absent.headers.get_all("warning").iter().count()), (404, 1));
    let ignored = send("Ignore").await;
    assert_eq!(ignored.code, 201);
    assert!(ignored.headers.get("warning").is_none());
    let strict = send("Strict").await;
    assert_eq!(strict.code, 400);
    insta::assert_json_snapshot!("create_strict", strict.json());
    insta::assert_json_snapshot!("create_bad_field_validation", send("Maybe").await.json());
}

#[tokio::test]
async fn yaml_is_read_and_written() {
    let cluster = Cluster::new().await;
    let yaml = "metadata:\n  name: why\ndata:\n  a: b\n";
    let headers = [("content-type", "application/yaml"), ("accept", "application/yaml")];
    let answer = cluster.send("POST", CONFIG_MAPS, &headers, yaml).await;
    assert_eq!(answer.code, 201);
    assert_eq!(answer.headers["content-type"], "application/yaml");
    let seen: Value = serde_saphyr::from_slice(&answer.bytes).unwrap();
    assert_eq!(seen["data"]["a"], "b");
}

#[tokio::test]
async fn a_terminating_namespace_takes_nothing_new() {
    let cluster = Cluster::new().await;
    cluster.post("/api/v1/namespaces", json!({"metadata": {"name": "gone"}})).await;
    cluster.ok("DELETE", "/api/v1/namespaces/gone", Value::Null).await;
    let status = cluster.fails("POST", "/api/v1/namespaces/gone/configmaps", config_map("a")).await;
    insta::assert_json_snapshot!("create_terminating", status);
}

#[tokio::test]
async fn an_object_that_is_being_deleted_keeps_its_name() {
    let cluster = Cluster::new().await;
    let mut held = config_map("held");
    held["metadata"]["finalizers"] = json!(["example.com/hold"]);
    cluster.post(CONFIG_MAPS, held).await;
    cluster.ok("DELETE", &format!("{CONFIG_MAPS}/held"), Value::Null).await;
    let status = cluster.fails("POST", CONFIG_MAPS, config_map("held")).await;
    assert_eq!(status["message"], r#"object is being deleted: configmaps "held" already exists"#);
}

#[tokio::test]
async fn an_object_that_was_read_cannot_be_created_again() {
    let cluster = Cluster::new().await;
    let mut object = config_map("a");
    object["metadata"]["resourceVersion"] = "5".into();
    let status = cluster.fails("POST", CONFIG_MAPS, object.clone()).await;
    assert_eq!(status["message"], "resourceVersion should not be set on objects to be created");
    object["metadata"]["resourceVersion"] = "0".into();
    cluster.post(CONFIG_MAPS, object).await;
}

#[tokio::test]
async fn a_job_that_tries_another_name_is_labelled_with_the_name_it_gets() {
    // The second Job draws the first one's name, then another.
    let draws = std::sync::Mutex::new(VecDeque::from([1_u64, 1, 2]));
    let cluster =
        Cluster::with(|config| config.random = Arc::new(move || draws.lock().unwrap().pop_front().unwrap())).await;
    let pods = json!({"restartPolicy": "Never", "containers": [{"name": "c", "image": "x"}]});
    let job = json!({"metadata": {"generateName": "j-"}, "spec": {"template": {"spec": pods}}});
    let mut names = Vec::new();
    for _ in 0..2 {
        let made = cluster.post("/apis/batch/v1/namespaces/default/jobs", job.clone()).await;
        let name = made["metadata"]["name"].as_str().unwrap().to_owned();
        assert_eq!(made["spec"]["template"]["metadata"]["labels"]["job-name"], *name);
        let selected = &made["spec"]["selector"]["matchLabels"]["batch.kubernetes.io/controller-uid"];
        assert_eq!(*selected, made["metadata"]["uid"]);
        names.push(name);
    }
    assert_ne!(names[0], names[1]);
}

#[tokio::test]
async fn the_last_clash_of_generated_names_is_told() {
    let cluster = Cluster::with(|config| config.random = Arc::new(|| 7)).await;
    let object = json!({"metadata": {"generateName": "g-"}});
    cluster.post(CONFIG_MAPS, object.clone()).await;
    assert_eq!(cluster.fails("POST", CONFIG_MAPS, object).await["reason"], "AlreadyExists");
}

#[tokio::test]
async fn an_owner_that_is_named_twice_is_kept_once() {
    let cluster = Cluster::new().await;
    let owner = json!({"apiVersion": "v1", "kind": "ConfigMap", "name": "x", "uid": "u"});
    let mut owned = config_map("a");
    owned["metadata"]["ownerReferences"] = json!([owner, owner]);
    let body = serde_json::to_vec(&owned).unwrap();
    let answer = cluster.send("POST", CONFIG_MAPS, &[("content-type", "application/json")], body).await;
    assert_eq!(answer.json()["metadata"]["ownerReferences"], json!([owner]));
    let warning = answer.headers["warning"].to_str().unwrap();
    assert!(warning.ends_with("please fix your requests; duplicate UID(s) observed: u\""), "{warning}");
}

#[tokio::test]
async fn a_generated_name_that_stays_taken_is_worth_another_try() {
    let cluster = Cluster::with(|config| config.random = Arc::new(|| 7)).await;
    let generated = json!({"metadata": {"generateName": "a-"}});
    let first = cluster.post(CONFIG_MAPS, generated.clone()).await;
    let name = first["metadata"]["name"].as_str().unwrap();
    let status = cluster.fails("POST", CONFIG_MAPS, generated).await;
    let why = "already exists, the server was not able to generate a unique name for the object";
    assert_eq!(status["message"], format!("configmaps \"{name}\" {why}"));
    assert_eq!((&status["reason"], &status["details"]["retryAfterSeconds"]), (&json!("AlreadyExists"), &json!(1)));
}
