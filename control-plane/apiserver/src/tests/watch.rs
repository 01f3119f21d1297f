//! Watches.

use super::*;

#[tokio::test(start_paused = true)]
async fn a_watch_without_a_version_begins_with_what_is_there() {
    let cluster = Cluster::new().await;
    cluster.post(CONFIG_MAPS, config_map("a")).await;
    let mut events = cluster.watch(&format!("{CONFIG_MAPS}?watch=true")).await;
    assert_eq!(events.short().await, ("ADDED".into(), "a".into()));
    let path = format!("{CONFIG_MAPS}/a");
    let changed = cluster.ok("PATCH", &path, json!({"data": {"k": "2"}})).await;
    let event = events.next().await.unwrap();
    assert_eq!(event["type"], "MODIFIED");
    assert_eq!(event["object"], changed);
    cluster.ok("DELETE", &path, Value::Null).await;
    let event = events.next().await.unwrap();
    assert_eq!(event["type"], "DELETED");
    assert_eq!(event["object"]["data"]["k"], "2");
    assert_eq!(event["object"]["metadata"]["resourceVersion"], cluster.core.store.revision().to_string());
}

#[tokio::test(start_paused = true)]
async fn a_watch_from_a_revision_misses_nothing_after_it() {
    let cluster = Cluster::new().await;
    let list = cluster.get(CONFIG_MAPS).await;
    for n in 0..100 {
        cluster.post(CONFIG_MAPS, config_map(&format!("c{n}"))).await;
        cluster.post(PODS, pod(&format!("p{n}"))).await;
    }
    let version = list["metadata"]["resourceVersion"].as_str().unwrap();
    let mut events = cluster.watch(&format!("{CONFIG_MAPS}?watch=1&resourceVersion={version}")).await;
    for n in 0..100 {
        assert_eq!(events.short().await, ("ADDED".into(), format!("c{n}")));
    }
}

#[tokio::test(start_paused = true)]
async fn objects_that_begin_or_cease_to_match_are_added_and_deleted() {
    let cluster = Cluster::new().await;
    let mut events = cluster.watch(&format!("{CONFIG_MAPS}?watch=1&labelSelector=app%3Dweb")).await;
    let path = format!("{CONFIG_MAPS}/a");
    cluster.post(CONFIG_MAPS, labelled("a", "db")).await;
    let label = |value: &str| json!({"metadata": {"labels": {"app": value}}});
    cluster.ok("PATCH", &path, label("web")).await;
    assert_eq!(events.short().await, ("ADDED".into(), "a".into()));
    cluster.ok("PATCH", &path, json!({"data": {"x": "y"}})).await;
    assert_eq!(events.short().await, ("MODIFIED".into(), "a".into()));
    let away = cluster.ok("PATCH", &path, label("db")).await;
    let event = events.next().await.unwrap();
    assert_eq!(event["type"], "DELETED");
    assert_eq!(event["object"]["metadata"]["labels"]["app"], "web", "the object as it matched last");
    assert_eq!(event["object"]["metadata"]["resourceVersion"], away["metadata"]["resourceVersion"]);
    cluster.ok("DELETE", &path, Value::Null).await;
    cluster.post(CONFIG_MAPS, labelled("b", "web")).await;
    assert_eq!(events.short().await, ("ADDED".into(), "b".into()));
}

#[tokio::test(start_paused = true)]
async fn one_name_or_field_can_be_watched() {
    let cluster = Cluster::new().await;
    let mut by_field = cluster.watch(&format!("{CONFIG_MAPS}?watch=1&fieldSelector=metadata.name%3Dab")).await;
    let mut by_path = cluster.watch("/api/v1/watch/namespaces/default/configmaps/ab").await;
    for name in ["abc", "a", "ab"] {
        cluster.post(CONFIG_MAPS, config_map(name)).await;
    }
    assert_eq!(by_field.short().await, ("ADDED".into(), "ab".into()));
    assert_eq!(by_path.short().await, ("ADDED".into(), "ab".into()));
}

#[tokio::test(start_paused = true)]
async fn bookmarks_tell_how_far_a_quiet_watch_is() {
    let cluster = Cluster::new().await;
    let start = cluster.core.store.revision();
    let mut events =
        cluster.watch(&format!("{CONFIG_MAPS}?watch=1&allowWatchBookmarks=true&resourceVersion={start}")).await;
    cluster.post(PODS, pod("p")).await;
    let event = events.next().await.unwrap();
    assert_eq!(event["type"], "BOOKMARK");
    assert_eq!(event["object"]["kind"], "ConfigMap");
    assert_eq!(event["object"]["metadata"]["resourceVersion"], cluster.core.store.revision().to_string());
}

#[tokio::test(start_paused = true)]
async fn initial_events_end_with_a_marked_bookmark() {
    let cluster = Cluster::new().await;
    for name in ["a", "b"] {
        cluster.post(CONFIG_MAPS, config_map(name)).await;
    }
    let query =
        "watch=1&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true&resourceVersion=";
    let mut events = cluster.watch(&format!("{CONFIG_MAPS}?{query}")).await;
    assert_eq!(events.short().await, ("ADDED".into(), "a".into()));
    assert_eq!(events.short().await, ("ADDED".into(), "b".into()));
    let event = events.next().await.unwrap();
    assert_eq!(event["type"], "BOOKMARK");
    assert_eq!(event["object"]["metadata"]["annotations"]["k8s.io/initial-events-end"], "true");
    assert_eq!(event["object"]["metadata"]["resourceVersion"], cluster.core.store.revision().to_string());
    cluster.post(CONFIG_MAPS, config_map("c")).await;
    assert_eq!(events.short().await, ("ADDED".into(), "c".into()));
    let refused = cluster.fails("GET", &format!("{CONFIG_MAPS}?watch=1&sendInitialEvents=true"), Value::Null).await;
    insta::assert_json_snapshot!("watch_initial_without_match", refused);
}

#[tokio::test(start_paused = true)]
async fn a_revision_that_is_gone_is_an_error_event() {
    let cluster = Cluster::new().await;
    let old = cluster.core.store.revision();
    for n in 0..3 {
        cluster.post(CONFIG_MAPS, config_map(&format!("c{n}"))).await;
    }
    cluster.core.store.compact(cluster.core.store.revision()).await.unwrap();
    for version in [old, 999_999] {
        let mut events = cluster.watch(&format!("{CONFIG_MAPS}?watch=1&resourceVersion={version}")).await;
        let event = events.next().await.unwrap();
        assert_eq!(event["type"], "ERROR");
        assert_eq!((&event["object"]["code"], &event["object"]["reason"]), (&json!(410), &json!("Expired")));
        assert_eq!(events.next().await, None);
    }
    let initial = "sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true";
    let mut events = cluster.watch(&format!("{CONFIG_MAPS}?watch=1&resourceVersion=999999&{initial}")).await;
    let error = events.next().await.unwrap()["object"].take();
    assert_eq!((&error["code"], &error["reason"]), (&json!(504), &json!("Timeout")));
    assert_eq!(error["details"]["causes"][0]["reason"], "ResourceVersionTooLarge");
    assert_eq!(events.next().await, None);
}

#[tokio::test(start_paused = true)]
async fn a_watch_ends_at_its_timeout_and_at_shutdown() {
    let cluster = Cluster::new().await;
    let started = tokio::time::Instant::now();
    let mut events = cluster.watch(&format!("{CONFIG_MAPS}?watch=1&timeoutSeconds=7")).await;
    assert_eq!(events.next().await, None);
    assert_eq!(started.elapsed().as_secs(), 7);
    let mut events = cluster.watch(&format!("{CONFIG_MAPS}?watch=1")).await;
    cluster.core.shutdown.cancel();
    assert_eq!(events.next().await, None);
}

#[tokio::test(start_paused = true)]
async fn tables_and_metadata_can_be_watched() {
    let cluster = Cluster::new().await;
    let open = async |kind: &str| {
        let accept = format!("application/json;as={kind};g=meta.k8s.io;v=v1");
        let response =
            cluster.response("GET", &format!("{CONFIG_MAPS}?watch=1"), &[("accept", &accept)], Body::empty()).await;
        Events { body: response.into_body(), lines: VecDeque::new(), partial: Vec::new() }
    };
    let (mut tables, mut metadata) = (open("Table").await, open("PartialObjectMetadata").await);
    for name in ["a", "b"] {
        cluster.post(CONFIG_MAPS, config_map(name)).await;
    }
    let (first, second) = (tables.next().await.unwrap(), tables.next().await.unwrap());
    assert_eq!(first["object"]["kind"], "Table");
    assert_eq!(first["object"]["rows"][0]["cells"][0], "a");
    assert!(!first["object"]["columnDefinitions"].as_array().unwrap().is_empty());
    assert_eq!(second["object"]["columnDefinitions"], Value::Null);
    let event = metadata.next().await.unwrap();
    assert_eq!(event["object"]["kind"], "PartialObjectMetadata");
    assert_eq!(event["object"]["data"], Value::Null);
}

#[tokio::test(start_paused = true)]
async fn the_initial_state_of_many_objects_comes_in_pieces() {
    let cluster = Cluster::new().await;
    let filler = "x".repeat(2000);
    for n in 0..200 {
        cluster.post(CONFIG_MAPS, json!({"metadata": {"name": format!("c{n:03}")}, "data": {"f": filler}})).await;
    }
    let mut events = cluster.watch(&format!("{CONFIG_MAPS}?watch=1")).await;
    cluster.post(CONFIG_MAPS, config_map("zz")).await;
    for n in 0..200 {
        assert_eq!(events.short().await, ("ADDED".into(), format!("c{n:03}")));
    }
    assert_eq!(events.short().await, ("ADDED".into(), "zz".into()));
}

#[tokio::test(start_paused = true)]
async fn a_watcher_that_does_not_read_falls_out_of_history() {
    let cluster = Cluster::with(|config| {
        let mut options = store::Options::memory();
        options.history.revisions = 10;
        options.history.age = Duration::ZERO;
        options.history.memory_bytes = 10_000;
        config.store = store::Store::open(options).unwrap();
    })
    .await;
    let version = cluster.core.store.revision();
    let mut slow = cluster.watch(&format!("{CONFIG_MAPS}?watch=1&resourceVersion={version}")).await;
    for n in 0..2_000 {
        cluster.post(CONFIG_MAPS, config_map(&format!("c{n}"))).await;
    }
    cluster.core.store.compact(cluster.core.store.revision()).await.unwrap();
    let mut last = slow.next().await.unwrap();
    while last["type"] == "ADDED" {
        last = slow.next().await.unwrap();
    }
    assert_eq!(last["object"]["code"], 410);
    assert_eq!(slow.next().await, None);
}

#[tokio::test(start_paused = true)]
async fn a_watcher_that_reads_late_gets_all_events_in_bounded_frames() {
    let cluster = Cluster::new().await;
    let version = cluster.core.store.revision();
    let path = format!("{CONFIG_MAPS}?watch=1&timeoutSeconds=5&allowWatchBookmarks=true&resourceVersion={version}");
    let mut body = cluster.response("GET", &path, &[], Body::empty()).await.into_body();
    let filler = "x".repeat(100_000);
    for n in 0..20 {
        cluster.post(CONFIG_MAPS, json!({"metadata": {"name": format!("c{n}")}, "data": {"f": filler}})).await;
    }
    let mut lines = 0;
    while let Some(frame) = body.frame().await {
        let data = frame.unwrap().into_data().unwrap();
        assert!(data.len() < 400_000, "{} bytes in one frame", data.len());
        lines += data.iter().filter(|byte| **byte == b'\n').count();
    }
    assert_eq!(lines, 21, "20 events and the last bookmark");
}
