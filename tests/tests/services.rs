//! Traffic: pod addresses, Services, and who is behind them.

use serde_json::{Value, json};
use std::collections::BTreeSet;
use tests::rest::{self, LIMIT, Rest};
use tests::{Cluster, eventually, web};

const HTTP: &str = "skiff.dev/examples/hello-http:v1";

fn http() -> Value {
    json!({"ports": [{"name": "http", "containerPort": 8080}], "env": [
        {"name": "POD_NAME", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}]})
}

fn service(name: &str, selector: &Value) -> Value {
    json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": name},
        "spec": {"selector": selector, "ports": [{"name": "web", "port": 80, "targetPort": "http"}]}})
}

/// The ready addresses behind a Service.
async fn endpoints(rest: &Rest, service: &str, count: usize) -> Vec<String> {
    let path = format!("endpointslices?labelSelector=kubernetes.io/service-name={service}");
    rest.until(&path, &format!("{count} ready"), |list| {
        let slices = list["items"].as_array()?;
        let endpoints = slices.iter().filter_map(|s| s["endpoints"].as_array()).flatten();
        let ready = endpoints.filter(|e| e["conditions"]["ready"] == true);
        let addresses: Vec<String> = ready.filter_map(|e| Some(e["addresses"][0].as_str()?.to_owned())).collect();
        (addresses.len() == count).then_some(addresses)
    })
    .await
}

/// Which pods answer on `address`, over as many connections.
async fn who_answers(address: &str, connections: usize) -> Result<BTreeSet<String>, String> {
    let mut names = BTreeSet::new();
    for _ in 0..connections {
        let (status, body) = web::get(address, "/").await.map_err(|e| format!("{e:#}"))?;
        if status != 200 {
            return Err(format!("{status}: {body}"));
        }
        names.extend(body.split_whitespace().nth(2).map(str::to_owned));
    }
    Ok(names)
}

async fn address_of(rest: &Rest, service: &str) -> String {
    let ip = rest.get(&format!("services/{service}")).await["spec"]["clusterIP"].clone();
    format!("{}:80", ip.as_str().unwrap())
}

#[tokio::test]
async fn a_service_balances_over_its_pods_and_follows_them() {
    let cluster = Cluster::up().await;
    let rest = Rest::of(&cluster).await;
    rest.create(service("web", &json!({"tier": "web"}))).await;
    for name in ["a", "b", "c"] {
        let mut pod = rest::pod(name, HTTP, http(), json!({}));
        pod["metadata"]["labels"]["tier"] = json!("web");
        rest.create(pod).await;
    }
    let ips = endpoints(&rest, "web", 3).await;
    let address = address_of(&rest, "web").await;
    let all = BTreeSet::from(["a", "b", "c"].map(str::to_owned));
    eventually("all three answer", LIMIT, || async {
        let names = who_answers(&address, 12).await?;
        if names == all { Ok(()) } else { Err(format!("{names:?}")) }
    })
    .await;
    for ip in &ips {
        let (status, body) = web::get(&format!("{ip}:8080"), "/env").await.unwrap();
        assert_eq!(status, 200);
        assert!(body.contains("POD_NAME="), "{body}");
    }
    let payload = "x".repeat(300_000);
    let (status, body) = web::post(&address, "/echo", payload.clone()).await.unwrap();
    assert!(status == 200 && body == payload, "{status}, {} bytes", body.len());

    // Older and newer Endpoints agree.
    rest.until("endpoints/web", "3 addresses", |e| (e["subsets"][0]["addresses"].as_array()?.len() == 3).then_some(()))
        .await;
    rest.delete("pods/a", json!(null)).await;
    endpoints(&rest, "web", 2).await;
    let left = BTreeSet::from(["b", "c"].map(str::to_owned));
    eventually("two answer", LIMIT, || async {
        let names = who_answers(&address, 12).await?;
        if names == left { Ok(()) } else { Err(format!("{names:?}")) }
    })
    .await;
    // Another selector moves the traffic; no pods, no answer.
    rest.patch("services/web", json!({"spec": {"selector": {"app": "c"}}})).await;
    eventually("one answers", LIMIT, || async {
        let names = who_answers(&address, 6).await?;
        if names.len() == 1 && names.contains("c") { Ok(()) } else { Err(format!("{names:?}")) }
    })
    .await;
    rest.delete("services/web", json!(null)).await;
    eventually("the address is closed", LIMIT, || async {
        if tokio::net::TcpStream::connect(&address).await.is_err() { Ok(()) } else { Err("still open") }
    })
    .await;
}

#[tokio::test]
async fn traffic_waits_for_readiness() {
    let cluster = Cluster::up().await;
    let rest = Rest::of(&cluster).await;
    rest.create(service("gate", &json!({"app": "gated"}))).await;
    let spec = json!({"readinessGates": [{"conditionType": "example.com/open"}]});
    rest.create(rest::pod("gated", HTTP, http(), spec)).await;
    let pod = rest
        .until("pods/gated", "its container is ready", |pod| {
            rest::has_condition(pod, "ContainersReady", "True").then(|| pod.clone())
        })
        .await;
    assert!(rest::has_condition(&pod, "Ready", "False"), "{pod}");
    assert_eq!(rest::condition(&pod, "Ready").unwrap()["reason"], "ReadinessGatesNotReady");
    endpoints(&rest, "gate", 0).await;
    let gate = |status: &str| {
        let mut conditions: Vec<Value> = pod["status"]["conditions"].as_array().unwrap().clone();
        conditions.retain(|c| c["type"] != "Ready");
        conditions.push(json!({"type": "example.com/open", "status": status}));
        json!({"status": {"conditions": conditions}})
    };
    let address = address_of(&rest, "gate").await;
    rest.patch("pods/gated/status", gate("True")).await;
    rest.ready("gated").await;
    endpoints(&rest, "gate", 1).await;
    eventually("it answers", LIMIT, || async { who_answers(&address, 1).await }).await;
    rest.patch("pods/gated/status", gate("False")).await;
    endpoints(&rest, "gate", 0).await;
    eventually("it answers no more", LIMIT, || async {
        if who_answers(&address, 1).await.is_err() { Ok(()) } else { Err("still answers") }
    })
    .await;
}

#[tokio::test]
async fn a_crash_costs_one_request() {
    let cluster = Cluster::up().await;
    let rest = Rest::of(&cluster).await;
    rest.create(rest::pod("web", HTTP, http(), json!({}))).await;
    let pod = rest.ready("web").await;
    let address = format!("{}:8080", pod["status"]["podIP"].as_str().unwrap());
    for _ in 0..3 {
        assert_eq!(web::get(&address, "/crash").await.unwrap().0, 500);
        assert_eq!(web::get(&address, "/").await.unwrap().0, 200);
    }
    let log = rest.log("web").await;
    assert!(log.contains("told to crash") && log.contains("wasm"), "the trap is in the log:\n{log}");
    let pod = rest.get("pods/web").await;
    assert_eq!(pod["status"]["containerStatuses"][0]["restartCount"], 0);
    assert!(rest::has_condition(&pod, "Ready", "True"), "{pod}");
}

#[tokio::test]
async fn services_without_selector_or_address_are_as_their_owner_says() {
    let cluster = Cluster::up().await;
    let rest = Rest::of(&cluster).await;
    // Two ports, by name and by number, on another port than the container's.
    rest.create(rest::pod("web", HTTP, http(), json!({}))).await;
    let ip = rest.ready("web").await["status"]["podIP"].as_str().unwrap().to_owned();
    let ports = json!([{"name": "a", "port": 81, "targetPort": "http"}, {"name": "b", "port": 82, "targetPort": 8080}]);
    let two = json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "two"},
        "spec": {"selector": {"app": "web"}, "ports": ports}});
    let two = rest.create(two).await["spec"]["clusterIP"].as_str().unwrap().to_owned();
    // No selector: the owner of the EndpointSlice says where to.
    let manual = json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "manual"},
        "spec": {"ports": [{"name": "web", "port": 80}]}});
    let manual = rest.create(manual).await["spec"]["clusterIP"].as_str().unwrap().to_owned();
    rest.create(json!({"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
        "metadata": {"name": "manual-1", "labels": {"kubernetes.io/service-name": "manual"}},
        "endpoints": [{"addresses": [ip], "conditions": {"ready": true}}], "ports": [{"name": "web", "port": 8080}]}))
        .await;
    for address in [format!("{two}:81"), format!("{two}:82"), format!("{manual}:80")] {
        eventually(&format!("{address} answers"), LIMIT, || async { who_answers(&address, 1).await }).await;
    }
    // Headless: no address, but endpoints.
    let headless = json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "headless"},
        "spec": {"clusterIP": "None", "selector": {"app": "web"}, "ports": [{"port": 8080}]}});
    assert_eq!(rest.create(headless).await["spec"]["clusterIP"], "None");
    assert_eq!(endpoints(&rest, "headless", 1).await, [ip]);
    // An address is given out once, and comes back.
    let again = json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "again"},
        "spec": {"clusterIP": two, "ports": [{"port": 80}]}});
    let refused = rest.try_create(&again).await.expect_err("taken").to_string();
    assert!(refused.contains("provided IP is already allocated"), "{refused}");
    rest.delete("services/two", json!(null)).await;
    rest.create(again).await;
}
