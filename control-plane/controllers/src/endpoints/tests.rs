//! Services and pods in, slices and legacy Endpoints out.

use super::plan::{self, Family};
use super::slices::{Write, spread};
use super::{legacy, slices};
use crate::k8s::api::core::v1::{Pod, Service};
use crate::k8s::api::discovery::v1::EndpointSlice;
use crate::testing::Cluster;
use serde_json::{Value, json};
use std::sync::Arc;

fn service(spec: &Value) -> Service {
    let mut value = json!({"metadata": {"name": "web", "namespace": "d", "uid": "svc", "labels": {"team": "a"}},
        "spec": {"selector": {"app": "web"}, "clusterIP": "127.96.0.9", "ports": [{"port": 80, "targetPort": "http"}]}});
    for (field, more) in spec.as_object().unwrap() {
        value["spec"][field] = more.clone();
    }
    serde_json::from_value(value).unwrap()
}

fn pod(number: usize, ready: &str, port: i32, deleted: Option<&str>) -> Arc<Pod> {
    Arc::new(
        serde_json::from_value(json!({
            "metadata": {"name": format!("p{number}"), "namespace": "d", "uid": format!("u{number:04}"), "deletionTimestamp": deleted},
            "spec": {"nodeName": "n1", "containers": [{"name": "c", "ports": [{"name": "http", "containerPort": port}]}]},
            "status": {"phase": "Running", "podIP": format!("127.64.{}.{}", number / 200, number % 200 + 1),
                "conditions": [{"type": "Ready", "status": ready}]}}))
        .unwrap(),
    )
}

fn slices_of(service: &Service, pods: &[Arc<Pod>], stored: &[Arc<EndpointSlice>]) -> Vec<Write> {
    spread(service, Family::V4, plan::groups(service, pods, Family::V4, |_| None), stored)
}

fn created(writes: Vec<Write>) -> Vec<Arc<EndpointSlice>> {
    let made = writes.into_iter().map(|write| match write {
        Write::Create(slice) => Arc::new(slice),
        Write::Update(_, slice) => Arc::new(slice),
        Write::Delete(_) => panic!("nothing to delete"),
    });
    made.collect()
}

#[test]
fn conditions_follow_readiness_and_termination() {
    for (ready, deleted, publish, expected) in [
        ("True", None, false, [true, true, false]),
        ("False", None, false, [false, false, false]),
        ("True", Some("2026-01-01T00:00:00Z"), false, [false, true, true]),
        ("False", None, true, [true, false, false]),
    ] {
        let service = service(&json!({"publishNotReadyAddresses": publish}));
        let groups = plan::groups(&service, &[pod(1, ready, 8080, deleted)], Family::V4, |_| None);
        let conditions = groups.values().next().unwrap()[0].conditions.clone().unwrap();
        let got = [conditions.ready, conditions.serving, conditions.terminating].map(Option::unwrap);
        assert_eq!(got, expected);
    }
}

#[test]
fn slices_hold_at_most_100_and_change_little() {
    let service = service(&json!({}));
    let pods: Vec<_> = (0..250).map(|n| pod(n, "True", 8080, None)).collect();
    let stored = created(slices_of(&service, &pods, &[]));
    let sizes: Vec<_> = stored.iter().map(|s| s.endpoints.as_ref().unwrap().len()).collect();
    assert_eq!(sizes, [100, 100, 50]);
    let labels = stored[0].metadata.labels.as_ref().unwrap();
    assert_eq!(labels[slices::SERVICE_NAME], "web");
    assert_eq!(labels[slices::MANAGED_BY], "endpointslice-controller.k8s.io");
    assert_eq!(labels["team"], "a");
    assert!(slices_of(&service, &pods, &stored).is_empty(), "nothing changed, nothing written");
    let mut changed = pods.clone();
    changed[3] = pod(3, "False", 8080, None);
    let writes = slices_of(&service, &changed, &stored);
    assert!(matches!(&writes[..], [Write::Update(..)]));
    let more: Vec<_> = (0..260).map(|n| pod(n, "True", 8080, None)).collect();
    assert!(
        matches!(&slices_of(&service, &more, &stored)[..], [Write::Update(_, s)] if s.endpoints.as_ref().unwrap().len() == 60)
    );
    let none = slices_of(&service, &[], &stored);
    let deleted = none.iter().filter(|w| matches!(w, Write::Delete(_))).count();
    assert_eq!((none.len(), deleted), (4, 3), "one empty slice stays for all to see");
    let empty = created(slices_of(&service, &[], &[]));
    assert!(empty.len() == 1 && slices_of(&service, &[], &empty).is_empty());
}

#[test]
fn a_named_port_may_differ_by_pod() {
    let service = service(&json!({}));
    let pods = [pod(1, "True", 8080, None), pod(2, "True", 9090, None)];
    let stored = created(slices_of(&service, &pods, &[]));
    let mut ports: Vec<_> = stored.iter().map(|s| s.ports.as_ref().unwrap()[0].port.unwrap()).collect();
    ports.sort_unstable();
    assert_eq!(ports, [8080, 9090]);
    assert_eq!(stored[0].ports.as_ref().unwrap()[0].name.as_deref(), Some(""));
}

#[test]
fn the_legacy_object_parts_ready_from_not_ready() {
    let pods =
        [pod(1, "True", 8080, None), pod(2, "False", 8080, None), pod(3, "True", 8080, Some("2026-01-01T00:00:00Z"))];
    let endpoints = legacy::endpoints(&service(&json!({})), &pods);
    let subset = &endpoints.subsets.as_ref().unwrap()[0];
    assert_eq!(subset.addresses.as_ref().unwrap().len(), 1);
    assert_eq!(subset.not_ready_addresses.as_ref().unwrap().len(), 1);
    assert_eq!(subset.ports.as_ref().unwrap()[0].port, 8080);
}

#[tokio::test(start_paused = true)]
async fn readiness_reaches_slices_and_endpoints() {
    let cluster = Cluster::start(&["endpointslice-controller", "endpoints-controller"]);
    let fake = &cluster.fake;
    fake.create(json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "web", "namespace": "d"},
        "spec": {"selector": {"app": "web"}, "ports": [{"port": 80, "targetPort": 8080}]}}));
    fake.create(
        json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p", "namespace": "d", "labels": {"app": "web"}},
        "spec": {"containers": []}}),
    );
    fake.run_pods("2026-01-01T00:00:00Z");
    fake.until(1, "a slice", |f| f.list("endpointslices").len() == 1).await;
    fake.until(1, "ready", |f| f.list("endpointslices")[0]["endpoints"][0]["conditions"]["ready"] == true).await;
    let address =
        |f: &crate::testing::Fake| f.get("endpoints", "d/web").map(|e| e["subsets"][0]["addresses"][0]["ip"].clone());
    fake.until(1, "the old object", |f| address(f) == Some(json!("127.64.0.9"))).await;
    fake.delete("services", "d/web", &json!({}));
    fake.until(1, "the old object goes with its Service", |f| f.list("endpoints").is_empty()).await;
    cluster.stop().await;
}
