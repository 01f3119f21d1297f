//! Answers as they go over the wire, byte by byte where clients look at bytes: what changes here changes for everybody.

use super::*;

/// `text`, JSON or YAML, with every uid replaced by `UID`.
fn without_uids(text: &str) -> String {
    let cut = |text: &str, before: &str, after: char| {
        let mut parts = text.split(before);
        let mut out = parts.next().unwrap_or_default().to_owned();
        for part in parts {
            out.push_str(before);
            out.push_str("UID");
            out.push_str(part.find(after).map_or("", |end| &part[end..]));
        }
        out
    };
    cut(&cut(text, "\"uid\":\"", '"'), " uid: ", '\n')
}

async fn bytes_of(cluster: &Cluster, path: &str, accept: &str) -> String {
    let answer = cluster.send("GET", path, &[("accept", accept)], "").await;
    without_uids(&String::from_utf8_lossy(&answer.bytes))
}

#[tokio::test(start_paused = true)]
async fn the_frames_of_a_watch() {
    let cluster = Cluster::new().await;
    let query =
        "watch=1&allowWatchBookmarks=true&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&timeoutSeconds=9";
    cluster.post(CONFIG_MAPS, labelled("a", "web")).await;
    let response = cluster.response("GET", &format!("{CONFIG_MAPS}?{query}"), &[], Body::empty()).await;
    let path = format!("{CONFIG_MAPS}/a");
    cluster.ok("PATCH", &path, json!({"data": {"k": "v"}})).await;
    cluster.ok("DELETE", &path, Value::Null).await;
    let bytes = response.into_body().collect().await.unwrap().to_bytes();
    insta::assert_snapshot!(without_uids(&String::from_utf8_lossy(&bytes)));
}

#[tokio::test(start_paused = true)]
async fn the_frames_of_a_watch_as_tables() {
    let cluster = Cluster::new().await;
    cluster.post(CONFIG_MAPS, config_map("a")).await;
    let accept = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json";
    insta::assert_snapshot!(
        bytes_of(&cluster, &format!("{CONFIG_MAPS}?watch=1&timeoutSeconds=1&includeObject=None"), accept).await
    );
}

/// A version and a page that history no longer reaches back to, and a version that is yet to be.
#[tokio::test(start_paused = true)]
async fn what_is_gone_and_what_is_not_there_yet() {
    let cluster = Cluster::new().await;
    let old = cluster.core.store.revision();
    for name in ["a", "b"] {
        cluster.post(CONFIG_MAPS, config_map(name)).await;
    }
    let page = cluster.get(&format!("{CONFIG_MAPS}?limit=1")).await;
    let token = page["metadata"]["continue"].as_str().unwrap().to_owned();
    cluster.post(CONFIG_MAPS, config_map("c")).await;
    cluster.core.store.compact(cluster.core.store.revision()).await.unwrap();
    let mut text = String::new();
    let table = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json";
    for (what, query, accept) in [
        ("an old version", format!("resourceVersion={old}&resourceVersionMatch=Exact"), "application/json"),
        ("an old version", format!("resourceVersion={old}&resourceVersionMatch=Exact"), table),
        ("an old page", format!("limit=1&continue={token}"), "application/json"),
        (
            "a version to come",
            "resourceVersion=999999&resourceVersionMatch=NotOlderThan".to_owned(),
            "application/json",
        ),
        ("a watch from an old version", format!("watch=1&resourceVersion={old}"), "application/json"),
        ("a watch from an old version", format!("watch=1&resourceVersion={old}"), table),
        ("a watch from a version to come", "watch=1&resourceVersion=999999".to_owned(), "application/json"),
    ] {
        let answer = cluster.send("GET", &format!("{CONFIG_MAPS}?{query}"), &[("accept", accept)], "").await;
        let mut body = String::from_utf8(answer.bytes.to_vec()).unwrap();
        if let Some((head, rest)) = body.split_once("\"continue\":\"") {
            let (token, rest) = rest.split_once('"').unwrap();
            assert!(!token.is_empty());
            body = format!("{head}\"continue\":\"TOKEN\"{rest}");
        }
        let kind = answer.headers["content-type"].to_str().unwrap();
        text.push_str(&format!("{what}, {accept}\n→ {} {kind}\n{}\n\n", answer.code, body.trim_end()));
    }
    insta::assert_snapshot!(text);
}

#[tokio::test]
async fn lists_and_tables() {
    let cluster = Cluster::new().await;
    for name in ["a", "b", "c"] {
        cluster.post(CONFIG_MAPS, config_map(name)).await;
    }
    let mut text = String::new();
    for accept in [
        "application/json",
        "application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io",
        "application/json;as=Table;v=v1;g=meta.k8s.io",
        "application/yaml",
    ] {
        text.push_str(&bytes_of(&cluster, &format!("{CONFIG_MAPS}?fieldSelector=metadata.name%3Da"), accept).await);
        text.push('\n');
    }
    insta::assert_snapshot!(text);
    // Each page knows what is left, counted once.
    let mut left = Vec::new();
    let mut next = String::new();
    loop {
        let page = cluster.get(&format!("{CONFIG_MAPS}?limit=1&continue={next}")).await;
        left.push(page["metadata"]["remainingItemCount"].as_u64());
        match page["metadata"]["continue"].as_str() {
            Some(token) => token.clone_into(&mut next),
            None => break,
        }
    }
    assert_eq!(left, [Some(2), Some(1), None]);
}

#[tokio::test]
async fn health_and_its_checks() {
    let cluster = Cluster::new().await;
    let mut text = String::new();
    for path in [
        "/livez",
        "/livez?verbose",
        "/livez/ping",
        "/readyz?verbose&exclude=etcd&exclude=nope",
        "/readyz/nope",
        "/healthz/etcd",
    ] {
        let answer = cluster.send("GET", path, &[], "").await;
        text.push_str(&format!("{path} {}\n{}\n", answer.code.as_u16(), String::from_utf8_lossy(&answer.bytes)));
    }
    cluster.core.shutdown.cancel();
    for path in ["/readyz", "/readyz/shutdown"] {
        let answer = cluster.send("GET", path, &[], "").await;
        text.push_str(&format!(
            "closing: {path} {}\n{}\n",
            answer.code.as_u16(),
            String::from_utf8_lossy(&answer.bytes)
        ));
    }
    insta::assert_snapshot!(text);
}

/// The names and labels of the page, without what differs from run to run.
#[tokio::test]
async fn the_metrics_page() {
    let cluster = Cluster::new().await;
    cluster.post(&format!("{CONFIG_MAPS}?dryRun=All"), config_map("a")).await;
    cluster.get(CONFIG_MAPS).await;
    cluster.fails("GET", &format!("{PODS}/nope"), Value::Null).await;
    cluster.send("GET", "/apis/x.example/v1/things/secret-name", &[], "").await;
    let page = cluster.send("GET", "/metrics", &[], "").await;
    let page = String::from_utf8_lossy(&page.bytes).into_owned();
    let names: Vec<&str> = page.lines().filter_map(|line| line.strip_prefix("# TYPE ")).collect();
    // Not every system tells about its processes.
    let names: Vec<&str> = names.into_iter().filter(|name| !name.starts_with("process_")).collect();
    let requests: Vec<&str> = page.lines().filter(|line| line.starts_with("apiserver_request_total{")).collect();
    insta::assert_snapshot!(format!("{}\n\n{}", names.join("\n"), requests.join("\n")));
    assert!(!page.contains("secret-name") && !page.contains("x.example"), "what clients invent is no label");
    for line in page.lines().filter(|line| !line.starts_with('#')) {
        let (name, value) = line.rsplit_once(' ').unwrap();
        assert!(value.parse::<f64>().is_ok(), "{line}");
        assert!(name.starts_with(|c: char| c.is_ascii_lowercase()), "{line}");
    }
}
