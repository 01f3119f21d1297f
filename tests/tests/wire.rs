//! Answers as they go over the wire, for reading beside kube-apiserver's: what changes here changes for every client.
//! What differs from run to run is replaced: uids, times, versions, tokens, ages.

use bytes::Bytes;
use http::Method;
use serde_json::{Value, json};
use std::fmt::Write as _;
use tests::cluster::Options;
use tests::raw::{self, Answer, Identity};
use tests::{Cluster, Rest};

const CONFIG_MAPS: &str = "/api/v1/namespaces/default/configmaps";
const PODS: &str = "/api/v1/namespaces/default/pods";
const DEPLOYMENTS: &str = "/apis/apps/v1/namespaces/default/deployments";
const JSON: (&str, &str) = ("content-type", "application/json");

/// The control plane alone: nothing moves that no request moved.
async fn server(args: &[&str]) -> Cluster {
    let args = args.iter().map(|&arg| arg.to_owned()).collect();
    Cluster::start(Options { command: "server", args, ..Options::default() }).await.unwrap()
}

/// Headers that are part of an answer's meaning.
const TOLD: [&str; 4] = ["content-type", "allow", "retry-after", "warning"];

/// Requests and their answers, one below the other.
struct Log<'c> {
    cluster: &'c Cluster,
    text: String,
}

impl<'c> Log<'c> {
    const fn of(cluster: &'c Cluster) -> Self {
        Self { cluster, text: String::new() }
    }

    async fn send(
        &mut self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: impl Into<Bytes>,
    ) -> (Answer, Value) {
        self.send_as(Identity::Admin, method, path, headers, body).await
    }

    async fn send_as(
        &mut self,
        identity: Identity,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: impl Into<Bytes>,
    ) -> (Answer, Value) {
        let answer = raw::send(self.cluster, identity, method.parse::<Method>().unwrap(), path, headers, body).await;
        let answer = answer.unwrap();
        writeln!(self.text, "{method} {path}").unwrap();
        for (name, value) in headers.iter().filter(|header| **header != JSON) {
            writeln!(self.text, "{name}: {value}").unwrap();
        }
        writeln!(self.text, "→ {}", answer.status).unwrap();
        for (name, value) in answer.headers.iter().filter(|(name, _)| TOLD.contains(&name.as_str())) {
            writeln!(self.text, "{name}: {}", value.to_str().unwrap()).unwrap();
        }
        let mut value = answer.json();
        redact(&mut value);
        match &value {
            Value::Null => writeln!(self.text, "{}\n", String::from_utf8_lossy(&answer.body).trim_end()),
            value => writeln!(self.text, "{value:#}\n"),
        }
        .unwrap();
        (answer, value)
    }

    /// JSON, or nothing where it is null.
    async fn json(&mut self, method: &str, path: &str, body: Value) -> Value {
        let body = if body.is_null() { String::new() } else { body.to_string() };
        self.send(method, path, &[JSON], body).await.1
    }

    async fn get(&mut self, path: &str, accept: &str) -> Value {
        self.send("GET", path, &[("accept", accept)], "").await.1
    }
}

/// Replaces what differs from run to run.
fn redact(value: &mut Value) {
    match value {
        Value::Object(map) => {
            for (name, value) in map {
                match (name.as_str(), &*value) {
                    ("uid", Value::String(text)) if !text.is_empty() => *value = "UID".into(),
                    ("resourceVersion", Value::String(text)) if text.parse::<u64>().is_ok() => {
                        *value = "VERSION".into()
                    }
                    ("continue", Value::String(text)) if !text.is_empty() => *value = "TOKEN".into(),
                    ("token", Value::String(_)) => *value = "TOKEN".into(),
                    ("serverAddress", Value::String(_)) => *value = "ADDRESS".into(),
                    ("managedFields", _) => *value = "OWNERS".into(),
                    _ => redact(value),
                }
            }
        }
        Value::Array(list) => list.iter_mut().for_each(redact),
        Value::String(text) if is_time(text) => *value = "TIME".into(),
        Value::String(text) if is_age(text) => *value = "AGE".into(),
        Value::String(text) if text.starts_with("X509SHA256=") => *value = "X509SHA256=HASH".into(),
        Value::String(text) => *text = without_uids(text),
        _ => {}
    }
}

/// Within messages and selectors.
fn without_uids(text: &str) -> String {
    let is_hex = |c: char| c.is_ascii_hexdigit() || c == '-';
    let is_uid = |word: &&str| word.len() == 36 && word.matches('-').count() == 4;
    let uids: Vec<&str> = text.split(|c: char| !is_hex(c)).filter(is_uid).collect();
    uids.into_iter().fold(text.to_owned(), |text, uid| text.replace(uid, "UID"))
}

fn is_time(text: &str) -> bool {
    text.len() >= 20 && text.ends_with('Z') && text.as_bytes()[10] == b'T' && text.as_bytes()[4] == b'-'
}

fn is_age(text: &str) -> bool {
    text.strip_suffix(['s', 'm']).is_some_and(|digits| digits.parse::<u32>().is_ok())
}

fn config_map(name: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": {"k": "v"}})
}

fn deployment(name: &str, replicas: i64) -> Value {
    json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name, "labels": {"app": name}}, "spec": {
        "replicas": replicas, "selector": {"matchLabels": {"app": name}}, "template": {"metadata": {"labels": {"app": name}},
        "spec": {"containers": [{"name": "main", "image": "web:1"}]}}}})
}

#[tokio::test]
async fn requests_that_nobody_can_answer() {
    let cluster = server(&[]).await;
    let mut log = Log::of(&cluster);
    let map = config_map("a").to_string();
    // 400
    log.send("POST", CONFIG_MAPS, &[JSON], "{\"data\":").await;
    log.send("POST", CONFIG_MAPS, &[JSON], "[1]").await;
    log.send("POST", CONFIG_MAPS, &[JSON], "").await;
    log.send("POST", CONFIG_MAPS, &[("content-type", "application/yaml")], "a: [").await;
    log.json("POST", CONFIG_MAPS, json!({"metadata": {"name": "a"}, "data": {"k": 1}})).await;
    log.json("POST", CONFIG_MAPS, json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "a"}})).await;
    log.json("GET", &format!("{CONFIG_MAPS}?limit=1&continue=garbage"), Value::Null).await;
    log.json("GET", &format!("{CONFIG_MAPS}?fieldSelector=data.k%3Dv"), Value::Null).await;
    // 401, 403
    let stranger = [("authorization", "Bearer unknown")];
    log.send_as(Identity::Nobody, "GET", CONFIG_MAPS, &stranger, "").await;
    log.send_as(Identity::Nobody, "GET", &format!("{CONFIG_MAPS}/a"), &[], "").await;
    log.send_as(Identity::Nobody, "POST", DEPLOYMENTS, &[JSON], "{}").await;
    log.send_as(Identity::Nobody, "GET", "/metrics", &[], "").await;
    // 404
    log.json("GET", &format!("{CONFIG_MAPS}/none"), Value::Null).await;
    log.json("DELETE", "/apis/apps/v1/namespaces/none/deployments/none", Value::Null).await;
    log.json("GET", "/api/v1/namespaces/default/nothings", Value::Null).await;
    log.json("POST", "/api/v1/namespaces/none/configmaps", config_map("a")).await;
    // 405, 406, 413, 415
    log.send("PUT", CONFIG_MAPS, &[JSON], map.clone()).await;
    log.send("POST", &format!("{CONFIG_MAPS}/a"), &[JSON], map.clone()).await;
    log.send("DELETE", &format!("{PODS}/a/eviction"), &[JSON], "").await;
    log.get(CONFIG_MAPS, "text/html").await;
    log.send("POST", CONFIG_MAPS, &[("content-type", "text/csv")], "a,b").await;
    log.send("PATCH", &format!("{CONFIG_MAPS}/kube-root-ca.crt"), &[JSON], "{}").await;
    log.send("POST", CONFIG_MAPS, &[JSON], vec![b' '; (3 << 20) + 1]).await;
    insta::assert_snapshot!(log.text);
}

#[tokio::test]
async fn writes_that_are_refused() {
    let cluster = server(&[]).await;
    let mut log = Log::of(&cluster);
    let created = raw::post(&cluster, CONFIG_MAPS, config_map("a").to_string()).await.json();
    // 409: the name, the version, the preconditions, the owner of a field
    log.json("POST", CONFIG_MAPS, config_map("a")).await;
    let mut stale = created.clone();
    stale["metadata"]["resourceVersion"] = "1".into();
    log.json("PUT", &format!("{CONFIG_MAPS}/a"), stale).await;
    log.json("DELETE", &format!("{CONFIG_MAPS}/a"), json!({"preconditions": {"uid": "other"}})).await;
    let apply = [("content-type", "application/apply-patch+yaml")];
    let mine = json!({"apiVersion": "v1", "kind": "ConfigMap", "data": {"k": "mine", "l": "x"}}).to_string();
    let path = format!("{CONFIG_MAPS}/a?fieldManager=one");
    log.send("PATCH", &path, &apply, mine.clone()).await;
    let theirs = json!({"apiVersion": "v1", "kind": "ConfigMap", "data": {"l": "y"}}).to_string();
    raw::send(&cluster, Identity::Admin, Method::PATCH, &format!("{path}&force=true"), &apply, mine).await.unwrap();
    log.send("PATCH", &format!("{CONFIG_MAPS}/a?fieldManager=two"), &apply, theirs).await;
    // 422, with each cause
    let mut bad = deployment("Web", -1);
    bad["spec"]["selector"] = json!({"matchLabels": {"app": "other"}});
    bad["spec"]["template"]["spec"]["containers"][0]["ports"] = json!([{"containerPort": 70000, "protocol": "ICMP"}]);
    log.json("POST", DEPLOYMENTS, bad).await;
    log.json("POST", CONFIG_MAPS, json!({"metadata": {}})).await;
    raw::post(&cluster, DEPLOYMENTS, deployment("web", 1).to_string()).await;
    let mut moved = deployment("web", 1);
    moved["spec"]["selector"] = json!({"matchLabels": {"app": "x"}});
    moved["spec"]["template"]["metadata"]["labels"]["app"] = "x".into();
    log.json("PUT", &format!("{DEPLOYMENTS}/web"), moved).await;
    // Fields that nobody knows
    let mut unknown = config_map("b");
    unknown["dta"] = json!({});
    log.json("POST", &format!("{CONFIG_MAPS}?fieldValidation=Strict"), unknown.clone()).await;
    log.json("POST", &format!("{CONFIG_MAPS}?fieldValidation=Warn&dryRun=All"), unknown).await;
    // Patches that do not apply
    let json_patch = [("content-type", "application/json-patch+json")];
    let test = r#"[{"op":"test","path":"/data/k","value":"other"}]"#;
    log.send("PATCH", &format!("{CONFIG_MAPS}/a"), &json_patch, test).await;
    log.send("PATCH", &format!("{CONFIG_MAPS}/a"), &json_patch, "{}").await;
    insta::assert_snapshot!(log.text);
}

#[tokio::test]
async fn too_many_writes_at_once() {
    use tokio::io::AsyncWriteExt as _;
    let cluster = server(&["--max-mutating-requests-inflight=1"]).await;
    // A write that never ends takes the only place; health is still told.
    let mut stuck = raw::connect(&cluster, Identity::Admin).await.unwrap();
    let head = format!(
        "POST {CONFIG_MAPS} HTTP/1.1\r\nhost: skiff\r\ncontent-type: application/json\r\ncontent-length: 99\r\n\r\n{{"
    );
    stuck.write_all(head.as_bytes()).await.unwrap();
    stuck.flush().await.unwrap();
    tests::eventually("the place is taken", tests::rest::LIMIT, || async {
        let answer = raw::post(&cluster, &format!("{CONFIG_MAPS}?dryRun=All"), config_map("a").to_string()).await;
        if answer.status == 429 { Ok(()) } else { Err(answer.status) }
    })
    .await;
    let mut log = Log::of(&cluster);
    log.json("POST", CONFIG_MAPS, config_map("a")).await;
    assert_eq!(raw::get(&cluster, "/readyz").await.status, 200);
    assert_eq!(raw::get(&cluster, CONFIG_MAPS).await.status, 200);
    insta::assert_snapshot!(log.text);
}

const MERGE: [(&str, &str); 1] = [("content-type", "application/merge-patch+json")];

#[tokio::test]
async fn frames_of_watches() {
    let cluster = server(&[]).await;
    raw::post(&cluster, CONFIG_MAPS, config_map("a").to_string()).await;
    let mut text = String::new();
    for (accept, query) in [
        ("application/json", "allowWatchBookmarks=true&sendInitialEvents=true&resourceVersionMatch=NotOlderThan"),
        ("application/json;as=PartialObjectMetadata;v=v1;g=meta.k8s.io", ""),
        ("application/json;as=Table;v=v1;g=meta.k8s.io", ""),
    ] {
        let path = format!("{CONFIG_MAPS}?watch=1&timeoutSeconds=1&fieldSelector=metadata.name%3Da&{query}");
        let answer = raw::send(&cluster, Identity::Admin, Method::GET, &path, &[("accept", accept)], "").await.unwrap();
        writeln!(text, "accept: {accept}\n→ {} {:?}", answer.status, answer.headers["content-type"]).unwrap();
        for line in String::from_utf8_lossy(&answer.body).lines() {
            let mut event: Value = serde_json::from_str(line).unwrap();
            redact(&mut event);
            writeln!(text, "{event}").unwrap();
        }
    }
    insta::assert_snapshot!(text);
}

/// A Table's columns, one a line, and its rows.
fn printed(table: &Value) -> String {
    let mut out = String::new();
    for column in table["columnDefinitions"].as_array().unwrap() {
        let text = |name: &str| column[name].as_str().unwrap_or_default();
        let (name, kind, format) = (text("name"), text("type"), text("format"));
        writeln!(out, "  {name} | {kind} | {format} | {} | {}", column["priority"], text("description")).unwrap();
    }
    for row in table["rows"].as_array().unwrap() {
        writeln!(out, "  {}", row["cells"]).unwrap();
    }
    out
}

#[tokio::test]
async fn tables_of_kinds() {
    let cluster = server(&[]).await;
    let rest = Rest::of(&cluster).await;
    let spec = json!({"containers": [{"name": "main", "image": "web:1"}]});
    raw::post(&cluster, PODS, json!({"metadata": {"name": "lone"}, "spec": spec}).to_string()).await;
    raw::post(&cluster, DEPLOYMENTS, deployment("web", 0).to_string()).await;
    let selector = json!({"metadata": {"name": "web"}, "spec": {"clusterIP": "None", "selector": {"app": "web"},
        "ports": [{"name": "http", "port": 80, "targetPort": "http"}, {"name": "dns", "port": 53, "protocol": "UDP"}]}});
    raw::post(&cluster, "/api/v1/namespaces/default/services", selector.to_string()).await;
    let job = json!({"metadata": {"name": "once"}, "spec": {"suspend": true, "template": {"spec": {"restartPolicy": "Never",
        "containers": spec["containers"]}}}});
    raw::post(&cluster, "/apis/batch/v1/namespaces/default/jobs", job.to_string()).await;
    let cron = json!({"metadata": {"name": "often"}, "spec": {"schedule": "*/5 * * * *", "jobTemplate": {"spec": job["spec"]}}});
    raw::post(&cluster, "/apis/batch/v1/namespaces/default/cronjobs", cron.to_string()).await;
    rest.until("/apis/apps/v1/namespaces/default/deployments/web", "observed", |web| {
        (web["status"]["observedGeneration"] == 1).then_some(())
    })
    .await;
    rest.until("/apis/batch/v1/namespaces/default/jobs/once", "suspended", |job| {
        job["status"]["conditions"].is_array().then_some(())
    })
    .await;
    let mut text = String::new();
    let accept = [("accept", "application/json;as=Table;v=v1;g=meta.k8s.io,application/json")];
    for path in [
        &format!("{PODS}?fieldSelector=metadata.name%3Dlone"),
        DEPLOYMENTS,
        "/apis/apps/v1/namespaces/default/replicasets",
        "/api/v1/namespaces/default/services?fieldSelector=metadata.name%3Dweb",
        "/apis/batch/v1/namespaces/default/jobs",
        "/apis/batch/v1/namespaces/default/cronjobs",
        &format!("{CONFIG_MAPS}?fieldSelector=metadata.name%3Dkube-root-ca.crt"),
        "/api/v1/namespaces?fieldSelector=metadata.name%3Ddefault",
        "/api/v1/nodes",
        "/apis/storage.k8s.io/v1/storageclasses",
        "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings?fieldSelector=metadata.name%3Dcluster-admin",
    ] {
        let answer = raw::send(&cluster, Identity::Admin, Method::GET, path, &accept, "").await.unwrap();
        let mut table = answer.json();
        redact(&mut table);
        // A ReplicaSet's name ends with the hash of its template; that is the same everywhere.
        writeln!(text, "GET {path}\n→ {} {}", answer.status, table["kind"]).unwrap();
        text.push_str(&printed(&table));
    }
    insta::assert_snapshot!(text);
}

#[tokio::test]
async fn discovery_and_the_pages_beside_the_api() {
    let cluster = server(&[]).await;
    let mut log = Log::of(&cluster);
    log.json("GET", "/api", Value::Null).await;
    log.json("GET", "/apis/policy", Value::Null).await;
    log.json("GET", "/apis/policy/v1", Value::Null).await;
    log.json("GET", "/livez?verbose", Value::Null).await;
    log.json("GET", "/healthz", Value::Null).await;
    let aggregated = [("accept", "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList")];
    let answer = raw::send(&cluster, Identity::Admin, Method::GET, "/apis", &aggregated, "").await.unwrap();
    let groups = answer.json();
    let policy = groups["items"].as_array().unwrap().iter().find(|group| group["metadata"]["name"] == "policy");
    writeln!(log.text, "GET /apis\n{}: {}", aggregated[0].0, aggregated[0].1).unwrap();
    writeln!(log.text, "→ {} {:?}", answer.status, answer.headers["content-type"]).unwrap();
    writeln!(log.text, "{} {} {:#}\n", groups["kind"], groups["apiVersion"], policy.unwrap()).unwrap();
    // The index of OpenAPI v3: its paths, and that each names the hash of its document.
    let index = raw::get(&cluster, "/openapi/v3").await.json();
    let paths = index["paths"].as_object().unwrap();
    writeln!(log.text, "GET /openapi/v3").unwrap();
    for (path, entry) in paths {
        let address = entry["serverRelativeURL"].as_str().unwrap();
        let (page, hash) = address.split_once("?hash=").unwrap();
        assert_eq!((page, hash.len()), (&*format!("/openapi/v3/{path}"), 64), "{address}");
        writeln!(log.text, "{path}").unwrap();
    }
    let version = raw::get(&cluster, "/version").await.json();
    let keys: Vec<&String> = version.as_object().unwrap().keys().collect();
    writeln!(log.text, "\nGET /version\n{keys:?}").unwrap();
    insta::assert_snapshot!(log.text);
}

#[tokio::test]
async fn answers_that_are_kept_nowhere() {
    let cluster = server(&[]).await;
    let rest = Rest::of(&cluster).await;
    let mut log = Log::of(&cluster);
    let review = |kind: &str, group: &str, spec: Value| json!({"kind": kind, "apiVersion": format!("{group}.k8s.io/v1"), "spec": spec});
    let whoami = review("SelfSubjectReview", "authentication", json!({}));
    log.json("POST", "/apis/authentication.k8s.io/v1/selfsubjectreviews", whoami).await;
    let can = json!({"resourceAttributes": {"verb": "delete", "resource": "nodes", "namespace": "default"}});
    let path = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews";
    log.json("POST", path, review("SelfSubjectAccessReview", "authorization", can)).await;
    let token = review("TokenRequest", "authentication", json!({"audiences": ["vault"], "expirationSeconds": 3600}));
    log.json("POST", "/api/v1/namespaces/default/serviceaccounts/default/token", token).await;
    let short = review("TokenRequest", "authentication", json!({"expirationSeconds": 1}));
    log.json("POST", "/api/v1/namespaces/default/serviceaccounts/default/token", short).await;
    raw::post(&cluster, DEPLOYMENTS, deployment("web", 0).to_string()).await;
    log.json("GET", &format!("{DEPLOYMENTS}/web/scale"), Value::Null).await;
    log.send("PATCH", &format!("{DEPLOYMENTS}/web/scale"), &MERGE, r#"{"spec":{"replicas":-2}}"#).await;
    // A pod that may go, one that may not, and none.
    let pod = json!({"metadata": {"name": "one", "labels": {"app": "db"}}, "spec": {"containers": [{"name": "c", "image": "x"}]}});
    raw::post(&cluster, PODS, pod.to_string()).await;
    let ready = json!({"status": {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]}});
    rest.patch("pods/one/status", ready).await;
    let budget =
        json!({"metadata": {"name": "db"}, "spec": {"minAvailable": 1, "selector": {"matchLabels": {"app": "db"}}}});
    raw::post(&cluster, "/apis/policy/v1/namespaces/default/poddisruptionbudgets", budget.to_string()).await;
    rest.until("/apis/policy/v1/namespaces/default/poddisruptionbudgets/db", "counted", |budget| {
        (budget["status"]["currentHealthy"] == 1).then_some(())
    })
    .await;
    let eviction = json!({"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": "one"}});
    log.json("POST", &format!("{PODS}/one/eviction"), eviction.clone()).await;
    log.json("DELETE", "/apis/policy/v1/namespaces/default/poddisruptionbudgets/db", Value::Null).await;
    log.json("POST", &format!("{PODS}/one/eviction"), eviction.clone()).await;
    log.json("POST", &format!("{PODS}/none/eviction"), json!({"metadata": {"name": "none"}})).await;
    // Lists of metadata alone
    let accept = "application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io";
    log.get(&format!("{CONFIG_MAPS}?fieldSelector=metadata.name%3Dkube-root-ca.crt"), accept).await;
    log.get(
        "/api/v1/namespaces/default/serviceaccounts/default",
        "application/json;as=PartialObjectMetadata;v=v1;g=meta.k8s.io",
    )
    .await;
    insta::assert_snapshot!(log.text);
}
