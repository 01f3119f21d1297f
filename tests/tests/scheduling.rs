//! Which node a pod goes to, and what is said when there is none.

use serde_json::{Value, json};
use std::collections::BTreeMap;
use tests::Cluster;
use tests::cluster::Options;
use tests::rest::{self, Rest};

const HTTP: &str = "skiff.dev/examples/hello-http:v1";

async fn nodes(count: u16) -> (Cluster, Rest, Vec<String>) {
    let options = Options { args: vec![format!("--nodes={count}")], ..Options::default() };
    let cluster = Cluster::start(options).await.unwrap();
    let rest = Rest::of(&cluster).await;
    let names = rest.items("nodes").await.iter().map(|n| n["metadata"]["name"].as_str().unwrap().to_owned()).collect();
    (cluster, rest, names)
}

fn requests(cpu: &str) -> Value {
    json!({"resources": {"requests": {"cpu": cpu}}})
}

async fn node_of(rest: &Rest, name: &str) -> String {
    rest.ready(name).await["spec"]["nodeName"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn pods_spread_over_the_least_loaded_nodes() {
    let (_cluster, rest, names) = nodes(3).await;
    let cpu = rest.get(&format!("nodes/{}", names[0])).await["status"]["allocatable"]["cpu"].clone();
    let cpu: f64 = cpu.as_str().unwrap().parse().expect("whole cores");
    let share = format!("{}m", (cpu * 1000.0 / 10.0) as u32);
    let mut count: BTreeMap<String, usize> = BTreeMap::new();
    for n in 0..6 {
        let name = format!("p{n}");
        rest.create(rest::pod(&name, HTTP, requests(&share), json!({}))).await;
        *count.entry(node_of(&rest, &name).await).or_default() += 1;
    }
    assert_eq!(count.values().copied().collect::<Vec<_>>(), [2, 2, 2], "{count:?}");
    // The pods of each node have addresses of its range.
    for node in rest.items("nodes").await {
        let range = node["spec"]["podCIDR"].as_str().unwrap();
        let prefix = range.rsplit_once('.').unwrap().0.to_owned();
        for pod in rest
            .items(&format!("pods?fieldSelector=spec.nodeName={}", node["metadata"]["name"].as_str().unwrap()))
            .await
        {
            assert!(pod["status"]["podIP"].as_str().unwrap().starts_with(&prefix), "{range}: {pod}");
        }
    }
}

#[tokio::test]
async fn selectors_taints_and_tolerations_are_respected() {
    let (_cluster, rest, names) = nodes(2).await;
    let path = format!("nodes/{}", names[1]);
    rest.patch(&path, json!({"metadata": {"labels": {"disk": "fast"}}})).await;
    let fast = json!({"nodeSelector": {"disk": "fast"}});
    rest.create(rest::pod("picky", HTTP, json!({}), fast.clone())).await;
    assert_eq!(node_of(&rest, "picky").await, names[1]);

    let taint = json!([{"key": "keep", "value": "out", "effect": "NoSchedule"}]);
    rest.patch(&path, json!({"spec": {"taints": taint}})).await;
    rest.create(rest::pod("refused", HTTP, json!({}), fast.clone())).await;
    let message = rest.event("refused", "FailedScheduling").await;
    assert!(message.starts_with("0/2 nodes are available: "), "{message}");
    assert!(message.contains("1 node(s) didn't match Pod's node affinity/selector"), "{message}");
    assert!(message.contains("1 node(s) had untolerated taint"), "{message}");
    rest.until("pods/refused", "is said to be unschedulable", |pod| {
        assert_eq!(pod["status"]["phase"], "Pending");
        (rest::condition(pod, "PodScheduled")?["reason"] == "Unschedulable").then_some(())
    })
    .await;
    // The pod that was there stays: NoSchedule is not NoExecute.
    assert!(rest::has_condition(&rest.get("pods/picky").await, "Ready", "True"));

    let mut tolerant = fast;
    tolerant["tolerations"] = json!([{"key": "keep", "operator": "Equal", "value": "out", "effect": "NoSchedule"}]);
    rest.create(rest::pod("tolerant", HTTP, json!({}), tolerant)).await;
    assert_eq!(node_of(&rest, "tolerant").await, names[1]);
    // The taint goes: who waited comes in by itself.
    rest.patch(&path, json!({"spec": {"taints": null}})).await;
    assert_eq!(node_of(&rest, "refused").await, names[1]);

    // Cordon as kubectl does.
    for name in &names {
        rest.patch(&format!("nodes/{name}"), json!({"spec": {"unschedulable": true}})).await;
    }
    rest.create(rest::pod("cordoned", HTTP, json!({}), json!({}))).await;
    let message = rest.event("cordoned", "FailedScheduling").await;
    assert!(message.contains("2 node(s) were unschedulable"), "{message}");
    // nodeName passes by the scheduler.
    rest.create(rest::pod("pinned", HTTP, json!({}), json!({"nodeName": names[0]}))).await;
    assert_eq!(node_of(&rest, "pinned").await, names[0]);
    // NoExecute drives out who does not tolerate it.
    let taint = json!([{"key": "fire", "effect": "NoExecute"}]);
    rest.patch(&path, json!({"spec": {"taints": taint}})).await;
    rest.gone("pods/picky").await;
}

#[tokio::test]
async fn who_does_not_fit_waits_for_room() {
    let (_cluster, rest, names) = nodes(1).await;
    let cpu = rest.get(&format!("nodes/{}", names[0])).await["status"]["allocatable"]["cpu"].clone();
    let cpu = cpu.as_str().unwrap().to_owned();
    rest.create(rest::pod("big", HTTP, requests(&cpu), json!({}))).await;
    rest.ready("big").await;
    rest.create(rest::pod("waits", HTTP, requests("100m"), json!({}))).await;
    let message = rest.event("waits", "FailedScheduling").await;
    assert!(message.starts_with("0/1 nodes are available: 1 Insufficient cpu."), "{message}");
    rest.create(rest::pod("small", HTTP, json!({}), json!({}))).await;
    rest.ready("small").await;
    rest.delete("pods/big", json!(null)).await;
    rest.ready("waits").await;
    assert!(rest.event("waits", "Scheduled").await.starts_with("Successfully assigned default/waits to "));
}
