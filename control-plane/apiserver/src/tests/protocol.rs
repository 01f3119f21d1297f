//! What holds for every request: who may ask, paths, media types, sizes, limits.

use super::*;
use crate::handler::{Caller, handle};

async fn anonymous(cluster: &Cluster, method: &str, path: &str) -> Response<Body> {
    let request = Request::builder().method(method).uri(path).body(Body::empty()).unwrap();
    handle(&cluster.core, Caller::Network(None), request).await
}

#[tokio::test]
async fn only_health_and_version_answer_strangers() {
    let cluster = Cluster::new().await;
    for path in ["/healthz", "/livez", "/readyz", "/version"] {
        assert_eq!(anonymous(&cluster, "GET", path).await.status(), 200, "{path}");
    }
    for path in ["/", "/api", "/apis", "/api/v1/pods", "/metrics", "/openapi/v2", "/nope", "/readyz/ping"] {
        assert_eq!(anonymous(&cluster, "GET", path).await.status(), 403, "{path}");
    }
    insta::assert_json_snapshot!("unauthorized", cluster.with_token("unknown", "/api").await.json());
}

#[tokio::test]
async fn unknown_paths_and_methods_are_told_apart() {
    let cluster = Cluster::new().await;
    for (name, method, path) in
        [("resource", "GET", "/api/v1/nopes"), ("scope", "GET", "/api/v1/namespaces/default/nodes")]
    {
        insta::assert_json_snapshot!(format!("unknown_{name}"), cluster.fails(method, path, Value::Null).await);
    }
    // Outside of what go-restful has routes for, Kubernetes answers as any server of pages does.
    for path in [
        "/nope",
        "/apis/nope.example.com/v1/things",
        "/apis/nope.example.com",
        "//api",
        "/healthz/",
        "/readyz/x",
        "/openapi/v4",
        "/apis//v1/pods",
        "/apis//v1",
    ] {
        let nothing = cluster.send("GET", path, &[], "").await;
        assert_eq!((nothing.code, &*nothing.bytes), (StatusCode::NOT_FOUND, &b"404 page not found\n"[..]), "{path}");
        assert_eq!(nothing.header("x-content-type-options"), "nosniff");
    }
    for path in [
        "/api/v1/configmaps/a",
        "/api/v1/bindings",
        "/api/v1/namespaces/default/bindings/x",
        "/apis/apps/v9/deployments",
        "/api/v1/namespaces/default//configmaps",
        "/api/v1/namespaces/default/configmaps/a%2Fb",
    ] {
        assert_eq!(cluster.fails("GET", path, Value::Null).await["code"], 404, "{path}");
    }
    for (method, path) in [("POST", "/healthz"), ("OPTIONS", "/apis"), ("DELETE", "/nope"), ("PUT", "/openapi/v2")] {
        let code = cluster.send(method, path, &[], "").await.code;
        assert_eq!(code, if path == "/nope" { StatusCode::NOT_FOUND } else { StatusCode::OK }, "{method} {path}");
    }
    for (method, path) in [("HEAD", "/version"), ("PUT", "/api"), ("PATCH", "/apis/apps/v1/")] {
        assert_eq!(cluster.send(method, path, &[], "").await.code, StatusCode::METHOD_NOT_ALLOWED, "{method} {path}");
    }
    for (method, path) in [
        ("POST", "/api/v1/pods"),
        ("POST", "/api/v1/namespaces/default/pods/p"),
        ("PUT", "/api/v1/namespaces/default/pods"),
        ("DELETE", "/api/v1/namespaces"),
        ("POST", "/version"),
        ("OPTIONS", "/api/v1/pods"),
    ] {
        assert_eq!(cluster.fails(method, path, Value::Null).await["code"], 405, "{method} {path}");
    }
}

#[tokio::test]
async fn a_body_that_is_too_large_is_refused_before_it_is_read() {
    let cluster = Cluster::new().await;
    let body = Body::from_stream(
        futures::stream::repeat_with(|| Ok::<_, std::io::Error>(Bytes::from(vec![b' '; 65_536]))).take(1600),
    );
    let answer = cluster.send("POST", CONFIG_MAPS, &[("content-type", "application/json")], body).await;
    assert_eq!(answer.code, 413);
    insta::assert_json_snapshot!("too_large", answer.json());
    let announced = [("content-type", "application/json"), ("content-length", "100000000")];
    let answer = cluster
        .send(
            "POST",
            CONFIG_MAPS,
            &announced,
            Body::from_stream(futures::stream::pending::<Result<Bytes, std::io::Error>>()),
        )
        .await;
    assert_eq!(answer.code, 413);
}

use futures::StreamExt as _;

#[tokio::test]
async fn too_many_requests_are_told_to_come_back() {
    let cluster = Cluster::with(|config| config.limits.requests_in_flight = 0).await;
    let user = Arc::new(User::component("x"));
    let request = Request::get(CONFIG_MAPS).body(Body::empty()).unwrap();
    let response = handle(&cluster.core, Caller::Network(Some(user)), request).await;
    assert_eq!(response.status(), 429);
    assert_eq!(response.headers()["retry-after"], "1");
    cluster.get(CONFIG_MAPS).await;
}

#[tokio::test(start_paused = true)]
async fn a_request_that_takes_too_long_is_given_up() {
    let cluster = Cluster::new().await;
    let never = Body::from_stream(futures::stream::pending::<Result<Bytes, std::io::Error>>());
    let answer = cluster.send("POST", CONFIG_MAPS, &[("content-type", "application/json")], never).await;
    assert_eq!(answer.code, 504);
}

#[tokio::test]
async fn unknown_media_types_are_refused() {
    let cluster = Cluster::new().await;
    let answer = cluster.send("POST", CONFIG_MAPS, &[("content-type", "application/cbor")], "x").await;
    insta::assert_json_snapshot!("unsupported_media_type", answer.json());
    let answer = cluster.send("GET", CONFIG_MAPS, &[("accept", "application/vnd.kubernetes.protobuf")], "").await;
    insta::assert_json_snapshot!("not_acceptable", answer.json());
    let answer = cluster
        .send("GET", CONFIG_MAPS, &[("accept", "application/vnd.kubernetes.protobuf,application/json")], "")
        .await;
    assert_eq!(answer.code, 200);
}

#[tokio::test]
async fn discovery_openapi_version_and_metrics_answer() {
    let cluster = Cluster::new().await;
    assert_eq!(cluster.get("/api").await["kind"], "APIVersions");
    assert_eq!(cluster.get("/apis").await["kind"], "APIGroupList");
    assert_eq!(cluster.get("/apis/apps").await["kind"], "APIGroup");
    assert_eq!(cluster.get("/api/v1").await["kind"], "APIResourceList");
    assert_eq!(cluster.get("/apis/apps/v1/").await["groupVersion"], "apps/v1");
    let accept = [("accept", "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,application/json")];
    let aggregated = cluster.send("GET", "/apis", &accept, "").await;
    assert_eq!(aggregated.json()["kind"], "APIGroupDiscoveryList");
    let etag = aggregated.headers["etag"].to_str().unwrap();
    let again = cluster.send("GET", "/apis", &[accept[0], ("if-none-match", etag)], "").await;
    assert_eq!(again.code, 304);
    let index = cluster.get("/openapi/v3").await;
    let url = index["paths"]["apis/apps/v1"]["serverRelativeURL"].as_str().unwrap().to_owned();
    let document = cluster.send("GET", &url, &[], "").await;
    assert_eq!(document.headers["cache-control"], "public, immutable");
    assert_eq!(document.json()["openapi"], "3.0.0");
    assert_eq!(cluster.send("GET", "/openapi/v3/apis/apps/v1?hash=old", &[], "").await.code, 301);
    assert_eq!(cluster.get("/version").await["minor"], "36");
    let verbose = cluster.send("GET", "/readyz?verbose", &[], "").await;
    assert!(String::from_utf8_lossy(&verbose.bytes).ends_with("readyz check passed\n"));
    let metrics = cluster.send("GET", "/metrics", &[], "").await;
    let text = String::from_utf8_lossy(&metrics.bytes).into_owned();
    assert!(text.contains("apiserver_request_total{code=\"200\",component=\"apiserver\",dry_run=\"\""), "{text}");
}

#[tokio::test]
async fn head_is_no_method_of_built_in_kinds() {
    let cluster = Cluster::new().await;
    let answer = cluster.send("HEAD", "/api/v1/namespaces/default", &[], "").await;
    assert_eq!((answer.code, answer.bytes), (StatusCode::METHOD_NOT_ALLOWED, Bytes::new()));
    let answer = cluster.send("HEAD", "/readyz", &[], "").await;
    assert_eq!((answer.code, answer.bytes), (StatusCode::OK, Bytes::new()));
}

#[tokio::test]
async fn pretty_output_is_indented() {
    let cluster = Cluster::new().await;
    let (path, curl) = ("/api/v1/namespaces/default", ("user-agent", "curl/8.5.0"));
    for (path, headers) in [
        (format!("{path}?pretty=true"), vec![]),
        (path.to_owned(), vec![curl]),
        (format!("{path}x"), vec![curl]),
        ("/api/v1".to_owned(), vec![curl]),
        ("/version".to_owned(), vec![]),
        ("/".to_owned(), vec![]),
    ] {
        let answer = cluster.send("GET", &path, &headers, "").await;
        assert!(answer.bytes.starts_with(b"{\n  "), "{path}");
    }
    let answer = cluster.send("GET", &format!("{path}?pretty=0"), &[curl], "").await;
    assert!(answer.bytes.starts_with(b"{\"kind\""));
}

#[tokio::test]
async fn every_answer_over_the_network_names_its_request() {
    let cluster = Cluster::new().await;
    let mut names = std::collections::HashSet::new();
    for path in ["/readyz", "/nope", "/api/v1/namespaces"] {
        let answer = anonymous(&cluster, "GET", path).await;
        let name = answer.headers()["audit-id"].to_str().unwrap().to_owned();
        assert!(uuid::Uuid::parse_str(&name).is_ok() && names.insert(name), "{path}");
        assert_eq!(answer.headers()["cache-control"], "no-cache, private", "{path}");
    }
    let request = Request::get("/version").header("audit-id", "mine").body(Body::empty()).unwrap();
    assert_eq!(handle(&cluster.core, Caller::Network(None), request).await.headers()["audit-id"], "mine");
}

#[tokio::test]
async fn a_panic_is_a_500_for_its_own_request_only() {
    let cluster = Cluster::with(|config| config.random = Arc::new(|| panic!("boom"))).await;
    let status = cluster.fails("POST", CONFIG_MAPS, config_map("a")).await;
    assert_eq!((&status["code"], &status["reason"]), (&json!(500), &json!("InternalError")));
    cluster.get(CONFIG_MAPS).await;
    let nobody = User::authenticated("system:admin", ["system:nobody"]);
    let answer = cluster.as_user(nobody, "GET", &format!("{PODS}/p/log"), &Value::Null).await;
    insta::assert_json_snapshot!("forbidden", answer.json());
}

#[tokio::test]
async fn deprecated_kinds_warn() {
    let cluster = Cluster::new().await;
    let answer = cluster.send("GET", "/api/v1/endpoints", &[], Body::empty()).await;
    let text = answer.headers["warning"].to_str().unwrap();
    assert!(text.contains("v1 Endpoints is deprecated in v1.33+; use discovery.k8s.io/v1 EndpointSlice"), "{text}");
}

#[tokio::test]
async fn component_statuses_are_those_of_the_parts_in_the_server() {
    let cluster = Cluster::new().await;
    let path = "/api/v1/componentstatuses";
    let answer = cluster.send("GET", path, &[], Body::empty()).await;
    assert_eq!(answer.headers["warning"], "299 - \"v1 ComponentStatus is deprecated in v1.19+\"");
    let names = |list: &Value| -> Vec<String> {
        let items = list["items"].as_array().unwrap();
        items.iter().map(|item| item["metadata"]["name"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(names(&answer.json()), ["scheduler", "controller-manager", "etcd-0"]);
    let etcd = cluster.get(&format!("{path}/etcd-0")).await;
    let healthy = json!([{"type": "Healthy", "status": "True", "message": "ok"}]);
    assert_eq!((&etcd["kind"], &etcd["conditions"]), (&json!("ComponentStatus"), &healthy));
    let status = cluster.fails("GET", &format!("{path}/x"), Value::Null).await;
    assert_eq!(status["message"], "componentstatus \"x\" not found");
    assert_eq!(names(&cluster.get(&format!("{path}?fieldSelector=metadata.name=etcd-0")).await), ["etcd-0"]);
    assert!(names(&cluster.get(&format!("{path}?labelSelector=a=b")).await).is_empty());
    let table = [("accept", "application/json;as=Table;v=v1;g=meta.k8s.io")];
    let rows = cluster.send("GET", path, &table, Body::empty()).await.json()["rows"].take();
    assert_eq!(rows[2]["cells"], json!(["etcd-0", "Healthy", "ok", ""]));
}

#[tokio::test]
async fn parts_of_several_servers_are_as_healthy_as_their_leases() {
    let cluster = Cluster::with(|config| config.sharing = crate::Sharing::Shared).await;
    let message = |object: Value| object["conditions"][0]["message"].as_str().unwrap().to_owned();
    let path = "/api/v1/componentstatuses/scheduler";
    assert_eq!(message(cluster.get(path).await), "no server has taken the lease kube-system/kube-scheduler yet");
    let now = api::time::format_micro(cluster.core.now());
    let spec = json!({"holderIdentity": "a", "leaseDurationSeconds": 15, "acquireTime": now, "renewTime": now});
    let lease = json!({"metadata": {"name": "kube-scheduler"}, "spec": spec});
    cluster.post("/apis/coordination.k8s.io/v1/namespaces/kube-system/leases", lease).await;
    assert_eq!(message(cluster.get(path).await), "ok");
    cluster.advance(Duration::from_secs(16));
    assert_eq!(message(cluster.get(path).await), "the lease kube-system/kube-scheduler has run out");
}

#[tokio::test]
async fn a_patch_that_cannot_be_read_is_not_called_an_object() {
    let cluster = Cluster::new().await;
    cluster.post(CONFIG_MAPS, config_map("a")).await;
    let headers = [("content-type", "application/merge-patch+json")];
    let answer = cluster.send("PATCH", &format!("{CONFIG_MAPS}/a"), &headers, "{\"data\":").await;
    assert_eq!(answer.json()["message"], "error decoding patch: unexpected end of JSON input");
}

#[tokio::test]
async fn impersonated_users_have_their_own_rights_only() {
    let cluster = Cluster::new().await;
    let answer = cluster.send("GET", PODS, &[("impersonate-user", "bob")], Body::empty()).await;
    let why = r#"pods is forbidden: User "bob" cannot list resource "pods" in API group "" in the namespace "default""#;
    assert_eq!(answer.json()["message"], why);
}
