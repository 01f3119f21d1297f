//! The API as it is on the wire: who gets in, what is refused and how it is worded.

use bytes::Bytes;
use http::{Method, StatusCode};
use serde_json::{Value, json};
use tests::Cluster;
use tests::raw::{self, Identity};

const CONFIGMAPS: &str = "/api/v1/namespaces/default/configmaps";

fn config_map(name: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": {"a": "1"}})
}

#[track_caller]
fn assert_status(answer: &raw::Answer, code: u16, reason: &str) {
    let body = answer.json();
    assert_eq!(answer.status.as_u16(), code, "{body}");
    assert_eq!(body["kind"], "Status", "{body}");
    assert_eq!(body["reason"], reason, "{body}");
    assert_eq!(body["code"], code, "{body}");
}

#[tokio::test]
async fn only_health_and_version_answer_the_unauthenticated() {
    let cluster = Cluster::up().await;
    for path in ["/healthz", "/livez", "/readyz", "/version"] {
        let answer = raw::send(&cluster, Identity::Nobody, Method::GET, path, &[], Bytes::new()).await.unwrap();
        assert_eq!(answer.status, StatusCode::OK, "{path}");
    }
    for path in ["/api/v1/namespaces", "/apis", "/openapi/v2", "/metrics", "/no/such/path"] {
        let answer = raw::send(&cluster, Identity::Nobody, Method::GET, path, &[], Bytes::new()).await.unwrap();
        assert_status(&answer, 403, "Forbidden");
    }
    let wrong = [("authorization", "Bearer unknown")];
    let answer = raw::send(&cluster, Identity::Nobody, Method::GET, "/version", &wrong, Bytes::new()).await.unwrap();
    assert_status(&answer, 401, "Unauthorized");
}

#[tokio::test]
async fn broken_bodies_get_a_precise_status_and_harm_nothing() {
    let cluster = Cluster::up().await;
    assert_status(&raw::post(&cluster, CONFIGMAPS, "{\"a\":").await, 400, "BadRequest");
    assert_status(&raw::post(&cluster, CONFIGMAPS, "").await, 400, "BadRequest");
    assert_status(&raw::post(&cluster, CONFIGMAPS, "[1,2]").await, 400, "BadRequest");
    assert_status(&raw::post(&cluster, CONFIGMAPS, vec![0xff, 0xfe, b'{']).await, 400, "BadRequest");
    let deep = format!("{}{}", "[".repeat(200_000), "]".repeat(200_000));
    assert_status(&raw::post(&cluster, CONFIGMAPS, deep).await, 400, "BadRequest");
    let yaml = [("content-type", "application/yaml")];
    let answer = raw::send(&cluster, Identity::Admin, Method::POST, CONFIGMAPS, &yaml, "a: [").await.unwrap();
    assert_status(&answer, 400, "BadRequest");
    let answer = raw::send(&cluster, Identity::Admin, Method::POST, CONFIGMAPS, &[("content-type", "text/csv")], "a,b")
        .await
        .unwrap();
    assert_status(&answer, 415, "UnsupportedMediaType");
    let wrong_type = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "x"}, "data": {"a": 1}});
    assert_status(&raw::post(&cluster, CONFIGMAPS, wrong_type.to_string()).await, 400, "BadRequest");
    let other_kind = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "x"}});
    assert_status(&raw::post(&cluster, CONFIGMAPS, other_kind.to_string()).await, 400, "BadRequest");
    // None of it left anything behind, and the server is well.
    let list = raw::get(&cluster, CONFIGMAPS).await;
    assert_eq!(list.status, StatusCode::OK);
    let items = list.json()["items"].as_array().unwrap().clone();
    assert!(!items.iter().any(|i| i["metadata"]["name"] == "x"), "{items:?}");
    assert_eq!(raw::post(&cluster, CONFIGMAPS, config_map("fine").to_string()).await.status, StatusCode::CREATED);
}

#[tokio::test]
async fn a_huge_body_is_refused_early() {
    let cluster = Cluster::up().await;
    let huge = Bytes::from(vec![b'x'; 100 << 20]);
    // The server may answer and close while we still send: both a 413 and a reset are fine, as long as it is not read whole.
    match raw::send(&cluster, Identity::Admin, Method::POST, CONFIGMAPS, &[("content-type", "application/json")], huge)
        .await
    {
        Ok(answer) => assert_status(&answer, 413, "RequestEntityTooLarge"),
        Err(error) => assert!(error.to_string().to_lowercase().contains("connection"), "{error:#}"),
    }
    assert_eq!(raw::get(&cluster, "/readyz").await.status, StatusCode::OK);
}

#[tokio::test]
async fn names_follow_kubernetes_rules() {
    let cluster = Cluster::up().await;
    let long = raw::post(&cluster, CONFIGMAPS, config_map(&"a".repeat(300)).to_string()).await;
    assert_status(&long, 422, "Invalid");
    assert!(long.json()["message"].as_str().unwrap().contains("must be no more than 253"), "{}", long.json());
    let upper = raw::post(&cluster, CONFIGMAPS, config_map("Upper").to_string()).await;
    assert_status(&upper, 422, "Invalid");
    assert_eq!(upper.json()["details"]["causes"][0]["field"], "metadata.name");
    assert!(upper.json()["message"].as_str().unwrap().contains("a lowercase RFC 1123 subdomain"), "{}", upper.json());
}

#[tokio::test]
async fn optimistic_concurrency_and_preconditions() {
    let cluster = Cluster::up().await;
    let created = raw::post(&cluster, CONFIGMAPS, config_map("one").to_string()).await.json();
    assert_status(&raw::post(&cluster, CONFIGMAPS, config_map("one").to_string()).await, 409, "AlreadyExists");
    let path = format!("{CONFIGMAPS}/one");
    let json_type = [("content-type", "application/json")];
    let put = |object: Value| {
        let (cluster, path) = (&cluster, path.clone());
        async move { raw::send(cluster, Identity::Admin, Method::PUT, &path, &json_type, object.to_string()).await.unwrap() }
    };
    let mut changed = created.clone();
    changed["data"]["a"] = json!("2");
    assert_eq!(put(changed.clone()).await.status, StatusCode::OK);
    let stale = put(changed).await;
    assert_status(&stale, 409, "Conflict");
    assert!(stale.json()["message"].as_str().unwrap().contains("the object has been modified"));
    let wrong_uid = json!({"preconditions": {"uid": "00000000-0000-0000-0000-000000000000"}});
    let delete =
        raw::send(&cluster, Identity::Admin, Method::DELETE, &path, &json_type, wrong_uid.to_string()).await.unwrap();
    assert_status(&delete, 409, "Conflict");
    let gone = raw::send(&cluster, Identity::Admin, Method::DELETE, &path, &[], Bytes::new()).await.unwrap();
    assert_eq!(gone.status, StatusCode::OK);
    assert_status(&raw::get(&cluster, &path).await, 404, "NotFound");
}

#[tokio::test]
async fn unknown_fields_are_errors_warnings_or_dropped_as_asked() {
    let cluster = Cluster::up().await;
    let mut object = config_map("strict");
    object["bogus"] = json!(true);
    let strict = raw::post(&cluster, &format!("{CONFIGMAPS}?fieldValidation=Strict"), object.to_string()).await;
    assert_status(&strict, 400, "BadRequest");
    assert!(strict.json()["message"].as_str().unwrap().contains("unknown field \"bogus\""), "{}", strict.json());
    let warned = raw::post(&cluster, &format!("{CONFIGMAPS}?fieldValidation=Warn"), object.to_string()).await;
    assert_eq!(warned.status, StatusCode::CREATED);
    let warning = warned.headers.get("warning").expect("a Warning header").to_str().unwrap();
    assert!(warning.contains("unknown field"), "{warning}");
    assert!(warned.json().get("bogus").is_none(), "{}", warned.json());
    let duplicate = r#"{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"dup","name":"dup"}}"#;
    let strict = raw::post(&cluster, &format!("{CONFIGMAPS}?fieldValidation=Strict"), duplicate).await;
    assert_status(&strict, 400, "BadRequest");
    assert!(strict.json()["message"].as_str().unwrap().contains("duplicate field"), "{}", strict.json());
}

#[tokio::test]
async fn pages_come_from_one_revision_while_writes_go_on() {
    let cluster = Cluster::up().await;
    for n in 0..25 {
        let answer = raw::post(&cluster, CONFIGMAPS, config_map(&format!("page-{n:02}")).to_string()).await;
        assert_eq!(answer.status, StatusCode::CREATED);
    }
    let mut seen = Vec::new();
    let mut next = String::new();
    let mut revisions = Vec::new();
    loop {
        let path = format!("{CONFIGMAPS}?limit=10&continue={next}");
        let page = raw::get(&cluster, &path).await.json();
        for item in page["items"].as_array().unwrap() {
            seen.push(item["metadata"]["name"].as_str().unwrap().to_owned());
        }
        revisions.push(page["metadata"]["resourceVersion"].clone());
        raw::post(&cluster, CONFIGMAPS, config_map(&format!("zz-late-{}", seen.len())).to_string()).await;
        match page["metadata"]["continue"].as_str() {
            Some(token) if !token.is_empty() => next = token.to_owned(),
            _ => break,
        }
    }
    seen.retain(|name| !name.starts_with("kube-root"));
    assert_eq!(seen.len(), 25, "{seen:?}");
    assert!(revisions.windows(2).all(|w| w[0] == w[1]), "{revisions:?}");
    let bad = raw::get(&cluster, &format!("{CONFIGMAPS}?limit=10&continue=garbage")).await;
    assert_status(&bad, 400, "BadRequest");
}

#[tokio::test]
async fn dry_run_stores_nothing() {
    let cluster = Cluster::up().await;
    let answer = raw::post(&cluster, &format!("{CONFIGMAPS}?dryRun=All"), config_map("ghost").to_string()).await;
    assert_eq!(answer.status, StatusCode::CREATED);
    assert!(answer.json()["metadata"]["uid"].is_string());
    assert_status(&raw::get(&cluster, &format!("{CONFIGMAPS}/ghost")).await, 404, "NotFound");
}

#[tokio::test]
async fn what_does_not_exist_says_so() {
    let cluster = Cluster::up().await;
    assert_eq!(raw::get(&cluster, "/apis/nope.example.com/v1/things").await.status, StatusCode::NOT_FOUND);
    assert_status(&raw::get(&cluster, "/api/v1/namespaces/none/pods/none").await, 404, "NotFound");
    let created = raw::post(&cluster, "/api/v1/namespaces/none/configmaps", config_map("x").to_string()).await;
    assert_status(&created, 404, "NotFound");
    assert_eq!(created.json()["message"], "namespaces \"none\" not found");
}
