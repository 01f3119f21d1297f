//! What nobody sends in good faith: each gets a precise Status, and costs the server next to nothing.

use super::*;
use crate::handler::{Caller, handle};

const JSON: (&str, &str) = ("content-type", "application/json");
const YAML: (&str, &str) = ("content-type", "application/yaml");

async fn refused(cluster: &Cluster, body: impl Into<Body>, content_type: (&str, &str)) -> (u16, String) {
    let answer = cluster.send("POST", CONFIG_MAPS, &[content_type], body).await;
    let status = answer.json();
    assert_eq!(status["kind"], "Status");
    assert_eq!(status["code"], answer.code.as_u16());
    (answer.code.as_u16(), status["message"].as_str().unwrap().to_owned())
}

#[tokio::test]
async fn bodies_that_are_no_objects_are_refused() {
    let cluster = Cluster::new().await;
    let deep =
        format!(r#"{{"metadata":{{"name":"a"}},"data":{}1{}}}"#, r#"{"a":"#.repeat(100_000), "}".repeat(100_000));
    let wide = format!(r#"{{"apiVersion":"v1","kind":"ConfigMap","x":{}{}}}"#, "[".repeat(20_000), "]".repeat(20_000));
    for body in ["", "null", "[]", "3", "\"x\"", "{", "{\"metadata\":", "{\"a\":1}}", &deep, &wide] {
        let (code, message) = refused(&cluster, body.to_owned(), JSON).await;
        assert!(code == 400 || code == 422, "{code}: {message}");
        assert!(message.len() < 2_000, "an answer does not repeat the bomb: {} bytes", message.len());
    }
}

#[tokio::test]
async fn yaml_bombs_do_not_go_off() {
    let cluster = Cluster::new().await;
    let mut bomb =
        String::from("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\nx0: &x0 [a,a,a,a,a,a,a,a,a,a]\n");
    for level in 1..12 {
        let before = level - 1;
        bomb.push_str(&format!("x{level}: &x{level} [{}]\n", vec![format!("*x{before}"); 10].join(",")));
    }
    let started = std::time::Instant::now();
    let (code, message) = refused(&cluster, bomb, YAML).await;
    assert_eq!(code, 400, "{message}");
    // To make all of it would take years.
    assert!(started.elapsed() < Duration::from_secs(60), "{:?}", started.elapsed());
}

#[tokio::test]
async fn bytes_that_are_no_utf8_are_refused() {
    let cluster = Cluster::new().await;
    let mut body = br#"{"metadata":{"name":"a"},"data":{"k":""#.to_vec();
    body.extend_from_slice(b"\xff\xfe\"}}");
    let (code, _) = refused(&cluster, body.clone(), JSON).await;
    assert_eq!(code, 400);
    assert_eq!(refused(&cluster, b"data: {k: \"\xff\xfe\"}".to_vec(), YAML).await.0, 400);
    // In paths and queries they are names that nothing has.
    assert_eq!(cluster.fails("GET", &format!("{CONFIG_MAPS}/%ff%fe"), Value::Null).await["code"], 404);
    assert_eq!(cluster.fails("GET", &format!("{CONFIG_MAPS}?labelSelector=%ff"), Value::Null).await["code"], 400);
}

#[tokio::test]
async fn paths_that_play_tricks_reach_nothing() {
    let cluster = Cluster::new().await;
    for path in [
        "//api/v1/pods",
        "/api//v1/pods",
        "/api/v1/../v1/pods",
        "/api/v1/%2e%2e/pods",
        "/api/v1/namespaces/default/pods/..%2f..%2fsecrets",
        "/api/v1/namespaces/default%2fpods/pods/x",
        "/api/v1/namespaces/default/pods/x/nope",
        "/api/v1/namespaces/default/pods/x/status/more",
        "/api/v1/namespaces//pods/x",
        "/api/v1/;/pods",
        "/apis///",
        "/api/v1/namespaces/default/pods/%00",
    ] {
        let answer = cluster.send("GET", path, &[], "").await;
        assert_eq!(answer.code, StatusCode::NOT_FOUND, "{path}");
    }
}

#[tokio::test]
async fn absurd_query_values_are_refused_or_harmless() {
    let cluster = Cluster::new().await;
    for (query, code) in [
        ("limit=99999999999999999999", 400),
        ("limit=1e3", 400),
        ("timeoutSeconds=x", 400),
        ("resourceVersion=-1", 400),
        ("resourceVersion=18446744073709551616", 400),
        ("continue=%00", 400),
        ("continue=eyJ2IjoibWV0YS5rOHMuaW8vdjEiLCJydiI6MCwic3RhcnQiOiJhIn0", 400),
        ("continue=eyJ2IjoidjIiLCJydiI6MSwic3RhcnQiOiJhIn0", 400),
        ("labelSelector=a%3D%3D%3Db", 400),
        ("fieldSelector=metadata.name", 400),
        ("timeout=forever", 400),
        ("sendInitialEvents=true", 422),
    ] {
        let status = cluster.fails("GET", &format!("{CONFIG_MAPS}?{query}"), Value::Null).await;
        assert_eq!(status["code"], code, "{query}: {status}");
    }
    let long = format!("labelSelector=a+in+({})", vec!["x"; 10_000].join(","));
    let many = vec!["limit=5"; 2_000].join("&");
    for query in
        ["limit=-1", "limit=9223372036854775807", "timeoutSeconds=-5", "pretty=maybe", &long, &many, "%=%&&&=="]
    {
        assert_eq!(cluster.get(&format!("{CONFIG_MAPS}?{query}")).await["kind"], "ConfigMapList", "{query:.60}");
    }
}

#[tokio::test]
async fn a_watch_in_yaml_is_not_acceptable() {
    let cluster = Cluster::new().await;
    let answer = cluster.send("GET", &format!("{CONFIG_MAPS}?watch=1"), &[("accept", "application/yaml")], "").await;
    assert_eq!(answer.code, 406);
    assert!(String::from_utf8_lossy(&answer.bytes).contains("application/json;stream=watch"));
}

#[tokio::test(start_paused = true)]
async fn a_client_may_wish_for_less_time() {
    let cluster = Cluster::new().await;
    let never = Body::from_stream(futures::stream::pending::<Result<Bytes, std::io::Error>>());
    let started = tokio::time::Instant::now();
    let answer = cluster.send("POST", &format!("{CONFIG_MAPS}?timeout=1s500ms"), &[JSON], never).await;
    assert_eq!((answer.code.as_u16(), started.elapsed().as_millis()), (504, 1500));
    insta::assert_json_snapshot!("requested_timeout", answer.json());
    insta::assert_json_snapshot!(
        "bad_timeout",
        cluster.fails("GET", &format!("{CONFIG_MAPS}?timeout=10"), Value::Null).await
    );
}

#[tokio::test]
async fn readers_and_writers_do_not_take_each_others_places() {
    let cluster = Cluster::with(|config| config.limits.mutating_requests_in_flight = 0).await;
    let send = async |method: &str, path: &str| {
        let user = Arc::new(User::authenticated("admin", ["system:masters"]));
        let body = Body::from(config_map("a").to_string());
        let request = Request::builder().method(method).uri(path).header(JSON.0, JSON.1).body(body).unwrap();
        handle(&cluster.core, Caller::Network(Some(user)), request).await
    };
    let response = send("POST", CONFIG_MAPS).await;
    assert_eq!((response.status().as_u16(), &response.headers()["retry-after"]), (429, &"1".parse().unwrap()));
    let bytes = response.into_body().collect().await.unwrap().to_bytes();
    insta::assert_json_snapshot!("too_many_requests", serde_json::from_slice::<Value>(&bytes).unwrap());
    assert_eq!(send("GET", CONFIG_MAPS).await.status(), 200);
    let page = cluster.send("GET", "/metrics", &[], "").await;
    let page = String::from_utf8_lossy(&page.bytes).into_owned();
    assert!(page.contains("apiserver_request_terminations_total{code=\"429\",component=\"apiserver\"} 1"), "{page}");
}

#[tokio::test(start_paused = true)]
async fn ten_thousand_idle_watches_are_counted_while_they_are_open() {
    let cluster = Cluster::new().await;
    let mut open = Vec::new();
    for n in 0..10_000 {
        let path = if n % 2 == 0 { CONFIG_MAPS.to_owned() } else { format!("/api/v1/namespaces/n{n}/pods") };
        open.push(
            cluster.response("GET", &format!("{path}?watch=1&allowWatchBookmarks=true"), &[], Body::empty()).await,
        );
    }
    let page = cluster.send("GET", "/metrics", &[], "").await;
    let page = String::from_utf8_lossy(&page.bytes).into_owned();
    let line = page
        .lines()
        .find(|line| line.starts_with("apiserver_longrunning_requests") && line.contains("\"pods\""))
        .unwrap();
    assert!(line.ends_with(" 5000"), "{line}");
    drop(open);
    let page = cluster.send("GET", "/metrics", &[], "").await;
    assert!(!String::from_utf8_lossy(&page.bytes).contains("apiserver_longrunning_requests{"));
}

#[tokio::test]
async fn floods_of_headers_are_refused_and_the_server_goes_on() {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let server = super::server::start().await;
    let many: String = (0..5_000).map(|n| format!("x-{n}: y\r\n")).collect();
    let long = format!("x: {}\r\n", "y".repeat(1 << 20));
    for flood in [many, long] {
        let mut stream = super::server::connect(&server, None, b"http/1.1").await;
        let head = format!("GET /readyz HTTP/1.1\r\nhost: kubernetes\r\n{flood}\r\n");
        // The server may hang up before it has read all of it.
        let (mut reading, mut writing) = tokio::io::split(&mut stream);
        let send = async { _ = writing.write_all(head.as_bytes()).await };
        let mut answer = [0; 12];
        let (_, read) = tokio::join!(send, reading.read_exact(&mut answer));
        assert!(read.is_err() || &answer == b"HTTP/1.1 431", "{}", String::from_utf8_lossy(&answer));
    }
    assert_eq!(super::server::get(&server, None, b"http/1.1", "/readyz").await.0, 200);
    server.shutdown().await;
}
