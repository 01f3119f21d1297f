//! `kubectl logs` without kubectl: every option, on the wire.

use serde_json::{Value, json};
use tests::Cluster;
use tests::rest::{self, Rest};

const REPORT: &str = "skiff.dev/examples/cli-report:v1";

#[tokio::test]
async fn options_choose_what_a_log_shows() {
    let cluster = Cluster::up().await;
    let rest = Rest::of(&cluster).await;
    rest.create(rest::pod("talker", REPORT, json!({"args": ["a", "b", "--stderr", "to stderr"]}), json!({}))).await;
    rest.phase("talker", "Succeeded").await;
    let whole = rest.log("talker").await;
    assert!(whole.starts_with("cli-report: 4 argument(s)\narg 0: ") && whole.ends_with("to stderr\n"), "{whole}");
    let log = async |query: &str| rest.text(&format!("pods/talker/log?{query}")).await.unwrap();
    let tail: Vec<&str> = whole.lines().rev().take(2).collect();
    assert_eq!(log("tailLines=2").await, format!("{}\n{}\n", tail[1], tail[0]));
    assert_eq!(log("tailLines=0").await, "");
    assert_eq!(log("limitBytes=10").await, whole[..10]);
    assert_eq!(log("container=main&follow=true").await, whole);
    assert_eq!(log("sinceSeconds=3600").await, whole);
    assert_eq!(log("sinceTime=2999-01-01T00:00:00Z").await, "");
    let stamped = log("timestamps=true").await;
    for (line, plain) in stamped.lines().zip(whole.lines()) {
        let (time, text) = line.split_once(' ').expect("a timestamp");
        assert!(time.starts_with("20") && time.ends_with('Z'), "{line}");
        assert_eq!(text, plain);
    }
    assert_eq!(stamped.lines().count(), whole.lines().count());
    // Since the time of the last line: only that line (or its neighbours of the same nanosecond).
    let last = stamped.lines().last().unwrap().split_once(' ').unwrap().0.to_owned();
    let since = log(&format!("sinceTime={last}")).await;
    assert!(since.ends_with("to stderr\n") && since.len() < whole.len(), "{since}");

    for (query, part) in [
        ("container=other", "container other is not valid for pod talker"),
        ("previous=true", "previous terminated container"),
        ("tailLines=-1", "tailLines"),
    ] {
        let error = rest.text(&format!("pods/talker/log?{query}")).await.expect_err(query).to_string();
        assert!(error.contains(part), "{query}: {error}");
    }
}

#[tokio::test]
async fn the_run_before_is_kept() {
    let cluster = Cluster::up().await;
    let rest = Rest::of(&cluster).await;
    let container = json!({"args": ["--exit", "1"], "env": [{"name": "REPORT_FILE", "value": "/none"}]});
    rest.create(rest::pod("again", REPORT, container, json!({"restartPolicy": "OnFailure"}))).await;
    let restarted = |pod: &Value| (pod["status"]["containerStatuses"][0]["restartCount"].as_i64()? >= 1).then_some(());
    rest.until("pods/again", "restarted", restarted).await;
    let previous = rest.text("pods/again/log?previous=true").await.unwrap();
    assert!(
        previous.starts_with("cli-report: 2 argument(s)") && previous.contains("cli-report: /none: "),
        "{previous}"
    );
}
