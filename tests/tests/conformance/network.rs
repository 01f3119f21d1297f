//! [sig-network] Services: test/e2e/network/service.go.

use super::apps_deployment::{HTTP, template};
use super::scene::{Patch, Scene, play, scenarios, version};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::net::Ipv4Addr;
use tests::{eventually, rest, web};

#[tokio::test]
async fn services() {
    play(scenarios![
        should_provide_secure_master_service,
        should_find_a_service_from_listing_all_namespaces,
        should_complete_a_service_status_lifecycle,
        should_delete_a_collection_of_services,
        should_be_able_to_change_the_type_from_external_name_to_cluster_ip,
        should_be_able_to_change_the_type_from_external_name_to_node_port,
        should_be_able_to_change_the_type_from_cluster_ip_to_external_name,
        should_be_able_to_change_the_type_from_node_port_to_external_name,
        should_be_able_to_update_service_type_to_node_port_listening_on_same_port_number_but_different_protocols,
        should_switch_session_affinity,
        should_serve_endpoints_on_same_port_and_different_protocols,
        should_prevent_node_port_collisions,
        should_check_node_port_out_of_range,
        should_release_node_ports_on_delete,
    ])
    .await;
}

pub const SERVICES: &str = "v1/services";

pub fn service(name: &str, spec: Value) -> Value {
    json!({"metadata": {"name": name}, "spec": spec})
}

pub fn http_port() -> Value {
    json!([{"name": "http", "port": 80, "targetPort": 8080, "protocol": "TCP"}])
}

/// A pod that serves on 8080, and names further ports.
pub fn server(name: &str, labels: Value, ports: Value) -> Value {
    let mut pod = template(&labels, HTTP);
    pod["metadata"]["name"] = json!(name);
    pod["spec"]["containers"][0]["ports"] = ports;
    pod
}

/// Addresses and node ports that scenarios name, each its own. The server itself gives out those at the beginning of a
/// range only when no other is left, so scenarios beside this one take none of them, not even while it is free.
mod named {
    pub const COLLIDES: u16 = 30_001;
    pub const RELEASED: u16 = 30_002;
    pub const LOSES_PORTS: u16 = 30_003;
    /// The how manyeth after that of the Service `default/kubernetes`, which is the first.
    pub const LOSES_ADDRESS: u32 = 10;
}

/// An address of the range that Services have theirs from.
async fn named_address(scene: &Scene, n: u32) -> Ipv4Addr {
    let first = scene.get("/api/v1/namespaces/default/services/kubernetes").await["spec"]["clusterIP"].clone();
    let first: Ipv4Addr = first.as_str().unwrap().parse().unwrap();
    Ipv4Addr::from(u32::from(first) + n)
}

fn node_port(name: &str, port: u16) -> Value {
    service(name, json!({"type": "NodePort", "selector": {"name": name}, "ports": [{"port": 80, "nodePort": port}]}))
}

pub fn slices_of(service: &str) -> String {
    format!("discovery.k8s.io/v1/endpointslices?labelSelector=kubernetes.io/service-name%3D{service}")
}

/// The (address, port) pairs of a Service's slices, ready or not.
pub fn pairs(slices: &[Value]) -> BTreeSet<(String, i64)> {
    let mut all = BTreeSet::new();
    for slice in slices {
        for port in slice["ports"].as_array().into_iter().flatten() {
            for endpoint in slice["endpoints"].as_array().into_iter().flatten() {
                let address = endpoint["addresses"][0].as_str().unwrap().to_owned();
                all.insert((address, port["port"].as_i64().unwrap()));
            }
        }
    }
    all
}

async fn should_provide_secure_master_service(scene: Scene) {
    let service = scene.get("/api/v1/namespaces/default/services/kubernetes").await;
    assert_eq!(service["spec"]["ports"][0]["port"], 443);
    assert_eq!(service["spec"]["ports"][0]["name"], "https");
}

async fn should_find_a_service_from_listing_all_namespaces(scene: Scene) {
    let all = scene.items("/api/v1/services").await;
    assert!(all.iter().any(|s| s["metadata"]["name"] == "kubernetes" && s["metadata"]["namespace"] == "default"));
}

async fn should_complete_a_service_status_lifecycle(scene: Scene) {
    let selected = "v1/services?labelSelector=test-service-static%3Dtrue";
    let mut watch = scene.watch(selected, version(&scene.get(selected).await)).await;
    let object = json!({"metadata": {"name": "test-service", "labels": {"test-service-static": "true"}},
        "spec": {"type": "LoadBalancer", "ports": [{"name": "http", "protocol": "TCP", "port": 80, "targetPort": 80}]}});
    scene.create(SERVICES, object).await;
    watch.until("ADDED", |_| true).await;
    let path = "v1/services/test-service";
    let status = scene.get(&format!("{path}/status")).await;
    assert_eq!((&status["kind"], &status["status"]), (&json!("Service"), &json!({"loadBalancer": {}})), "{status}");
    let balancer = json!({"metadata": {"annotations": {"patchedstatus": "true"}},
        "status": {"loadBalancer": {"ingress": [{"ip": "203.0.113.1"}]}}});
    let patched = scene.merge(&format!("{path}/status"), balancer).await;
    assert_eq!(patched["metadata"]["annotations"]["patchedstatus"], "true");
    assert_eq!(
        patched["status"]["loadBalancer"]["ingress"][0],
        json!({"ip": "203.0.113.1", "ipMode": "VIP"}),
        "{patched}"
    );
    watch.until("MODIFIED", |s| s["metadata"]["annotations"]["patchedstatus"] == "true").await;
    scene
        .update(&format!("{path}/status"), |s| {
            s["status"]["conditions"] = json!([{"type": "StatusUpdate", "status": "True", "reason": "E2E",
                "message": "Set from e2e test", "lastTransitionTime": "2026-01-02T03:04:05Z"}]);
        })
        .await;
    watch.until("MODIFIED", |s| s["status"]["conditions"][0]["type"] == "StatusUpdate").await;
    let patch = json!({"metadata": {"labels": {"test-service": "patched"}}});
    scene.strategic(path, patch).await;
    watch.until("MODIFIED", |s| s["metadata"]["labels"]["test-service"] == "patched").await;
    scene.delete(path, json!(null)).await;
    watch.until("DELETED", |_| true).await;
}

async fn should_delete_a_collection_of_services(scene: Scene) {
    for (at, labelled) in [true, true, false].into_iter().enumerate() {
        let mut object = service(&format!("e2e-svc-{at}"), json!({"type": "ClusterIP", "ports": http_port()}));
        if labelled {
            object["metadata"]["labels"] = json!({"e2e-test-service": "delete"});
        }
        scene.create(SERVICES, object).await;
    }
    assert_eq!(scene.items(SERVICES).await.len(), 3);
    scene.delete("v1/services?labelSelector=e2e-test-service%3Ddelete", json!(null)).await;
    assert_eq!(scene.items(SERVICES).await.len(), 1);
}

async fn backend(scene: &Scene, name: &str) {
    let labels = json!({"name": name});
    let rc = json!({"metadata": {"name": name}, "spec": {"replicas": 1, "selector": labels, "template": template(&labels, HTTP)}});
    scene.create("v1/replicationcontrollers", rc).await;
}

pub async fn reachable(address: &str) {
    eventually(&format!("{address} answers"), rest::LIMIT, || async {
        match web::get(address, "/").await {
            Ok((status, _)) if status == 200 => Ok(()),
            Ok((status, body)) => Err(format!("{status} {body}")),
            Err(error) => Err(format!("{error:#}")),
        }
    })
    .await;
}

pub fn address(service: &Value) -> String {
    format!("{}:{}", service["spec"]["clusterIP"].as_str().unwrap(), service["spec"]["ports"][0]["port"])
}

async fn external_name(scene: &Scene, name: &str) -> Value {
    let spec = json!({"type": "ExternalName", "externalName": "foo.example.com", "selector": {"name": name}});
    let made = scene.create(SERVICES, service(name, spec)).await;
    assert!(made["spec"]["clusterIP"].is_null() && made["spec"]["clusterIPs"].is_null(), "{made}");
    made
}

async fn should_be_able_to_change_the_type_from_external_name_to_cluster_ip(scene: Scene) {
    external_name(&scene, "externalname-service").await;
    let changed = scene
        .update("v1/services/externalname-service", |s| {
            s["spec"]["type"] = json!("ClusterIP");
            s["spec"]["externalName"] = json!("");
            s["spec"]["ports"] = http_port();
        })
        .await;
    assert!(
        changed["spec"]["clusterIP"].is_string() && changed["spec"]["externalName"].as_str().is_none_or(str::is_empty),
        "{changed}"
    );
    backend(&scene, "externalname-service").await;
    reachable(&address(&changed)).await;
}

async fn should_be_able_to_change_the_type_from_external_name_to_node_port(scene: Scene) {
    external_name(&scene, "nodeport-service").await;
    let changed = scene
        .update("v1/services/nodeport-service", |s| {
            s["spec"]["type"] = json!("NodePort");
            s["spec"]["externalName"] = json!("");
            s["spec"]["ports"] = http_port();
        })
        .await;
    let port = changed["spec"]["ports"][0]["nodePort"].as_i64().unwrap();
    assert!((30_000..=32_767).contains(&port), "{changed}");
    assert_eq!(changed["spec"]["externalTrafficPolicy"], "Cluster");
    backend(&scene, "nodeport-service").await;
    reachable(&address(&changed)).await;
}

async fn should_be_able_to_change_the_type_from_cluster_ip_to_external_name(scene: Scene) {
    let ip = named_address(&scene, named::LOSES_ADDRESS).await;
    let spec =
        json!({"type": "ClusterIP", "clusterIP": ip, "selector": {"name": "clusterip-service"}, "ports": http_port()});
    scene.create(SERVICES, service("clusterip-service", spec)).await;
    let next = service("next", json!({"clusterIP": ip, "ports": http_port()}));
    scene.refused(SERVICES, next.clone(), 422, "provided IP is already allocated").await;
    let changed = scene
        .update("v1/services/clusterip-service", |s| {
            s["spec"]["type"] = json!("ExternalName");
            s["spec"]["externalName"] = json!("externalsvc.test.svc.cluster.local");
        })
        .await;
    assert!(changed["spec"]["clusterIP"].is_null() && changed["spec"]["clusterIPs"].is_null(), "{changed}");
    // The address is free for another.
    scene.create(SERVICES, next).await;
}

async fn should_be_able_to_change_the_type_from_node_port_to_external_name(scene: Scene) {
    scene.create(SERVICES, node_port("nodeport-service", named::LOSES_PORTS)).await;
    let next = node_port("next", named::LOSES_PORTS);
    scene.refused(SERVICES, next.clone(), 422, "provided port is already allocated").await;
    // As the test's jig does: it clears the cluster address with the type.
    let changed = scene
        .update("v1/services/nodeport-service", |s| {
            s["spec"]["type"] = json!("ExternalName");
            s["spec"]["externalName"] = json!("externalsvc.test.svc.cluster.local");
            s["spec"]["clusterIP"] = json!("");
        })
        .await;
    assert!(changed["spec"]["clusterIP"].is_null() && changed["spec"]["ports"][0]["nodePort"].is_null(), "{changed}");
    scene.create(SERVICES, next).await;
}

async fn should_be_able_to_update_service_type_to_node_port_listening_on_same_port_number_but_different_protocols(
    scene: Scene,
) {
    let ports = json!([{"name": "tcp-port", "port": 80, "protocol": "TCP"}]);
    scene.create(SERVICES, service("nodeport-update-service", json!({"type": "ClusterIP", "ports": ports}))).await;
    let changed = scene
        .update("v1/services/nodeport-update-service", |s| {
            s["spec"]["type"] = json!("NodePort");
            s["spec"]["ports"] = json!([{"name": "tcp-port", "port": 80, "protocol": "TCP"}, {"name": "udp-port", "port": 80, "protocol": "UDP"}]);
        })
        .await;
    let ports = changed["spec"]["ports"].as_array().unwrap();
    assert_eq!(ports.len(), 2);
    assert!(ports.iter().all(|p| p["nodePort"].as_i64().unwrap() > 0), "{changed}");
}

async fn should_switch_session_affinity(scene: Scene) {
    let spec = json!({"type": "ClusterIP", "sessionAffinity": "ClientIP", "selector": {"name": "affinity"}, "ports": http_port()});
    let made = scene.create(SERVICES, service("affinity", spec)).await;
    assert_eq!(made["spec"]["sessionAffinityConfig"], json!({"clientIP": {"timeoutSeconds": 10800}}));
    let path = "v1/services/affinity";
    let off = scene.update(path, |s| s["spec"]["sessionAffinity"] = json!("None")).await;
    assert!(off["spec"]["sessionAffinity"] == "None" && off["spec"]["sessionAffinityConfig"].is_null(), "{off}");
    let on = scene.merge(path, json!({"spec": {"sessionAffinity": "ClientIP"}})).await;
    assert_eq!(on["spec"]["sessionAffinityConfig"]["clientIP"]["timeoutSeconds"], 10800);
    let off = scene.strategic(path, json!({"spec": {"sessionAffinity": "None"}})).await;
    assert!(off["spec"]["sessionAffinityConfig"].is_null(), "{off}");
}

async fn should_serve_endpoints_on_same_port_and_different_protocols(scene: Scene) {
    let selector = json!({"app": "multiprotocol"});
    let port = |name: &str, protocol: &str| json!({"name": name, "port": 80, "protocol": protocol, "targetPort": 8080});
    let both = json!([port("tcp", "TCP"), port("udp", "UDP")]);
    let made =
        scene.create(SERVICES, service("multiprotocol-test", json!({"selector": selector, "ports": both}))).await;
    assert_eq!(made["spec"]["ports"].as_array().unwrap().len(), 2);
    scene
        .create(
            "v1/pods",
            server("server", selector, json!([{"containerPort": 8080}, {"containerPort": 8080, "protocol": "UDP"}])),
        )
        .await;
    let protocols = |slices: &[Value]| {
        let ports = slices.iter().filter_map(|s| s["ports"].as_array()).flatten();
        ports.map(|p| p["protocol"].as_str().unwrap().to_owned()).collect::<BTreeSet<_>>()
    };
    let wanted = |names: &[&str]| names.iter().map(|n| (*n).to_owned()).collect::<BTreeSet<_>>();
    let has = async |names: &[&str]| {
        let wanted = wanted(names);
        let ready = |slices: &[Value]| slices.iter().any(|s| s["endpoints"][0]["conditions"]["ready"] == true);
        scene
            .until_list(&slices_of("multiprotocol-test"), &format!("{wanted:?}"), |s| {
                (ready(s) && protocols(s) == wanted).then_some(())
            })
            .await;
    };
    has(&["TCP", "UDP"]).await;
    reachable(&address(&made)).await;
    scene.update("v1/services/multiprotocol-test", |s| s["spec"]["ports"] = json!([port("tcp", "TCP")])).await;
    has(&["TCP"]).await;
    scene.update("v1/services/multiprotocol-test", |s| s["spec"]["ports"] = json!([port("udp", "UDP")])).await;
    has(&["UDP"]).await;
}

async fn should_prevent_node_port_collisions(scene: Scene) {
    let given = scene.create(SERVICES, service("given", json!({"type": "NodePort", "ports": http_port()}))).await;
    let port = given["spec"]["ports"][0]["nodePort"].as_u64().unwrap();
    let other = node_port("two", u16::try_from(port).unwrap());
    scene.refused(SERVICES, other, 422, "provided port is already allocated").await;
    scene.create(SERVICES, node_port("one", named::COLLIDES)).await;
    let other = node_port("two", named::COLLIDES);
    scene.refused(SERVICES, other.clone(), 422, "provided port is already allocated").await;
    scene.delete("v1/services/one", json!(null)).await;
    scene.create(SERVICES, other).await;
}

async fn should_check_node_port_out_of_range(scene: Scene) {
    let ports = json!([{"port": 80, "nodePort": 7}]);
    let wanted = "provided port is not in the valid range. The range of valid ports is 30000-32767";
    scene.refused(SERVICES, service("far", json!({"type": "NodePort", "ports": ports})), 422, wanted).await;
    scene.create(SERVICES, service("near", json!({"type": "NodePort", "ports": http_port()}))).await;
    let patch = json!({"spec": {"ports": [{"port": 80, "nodePort": 7}]}});
    scene.stage.patch(&scene.path("v1/services/near"), Patch::Strategic, patch).await.refused(422, wanted);
}

async fn should_release_node_ports_on_delete(scene: Scene) {
    for _ in 0..2 {
        let made = scene.create(SERVICES, node_port("released", named::RELEASED)).await;
        assert_eq!(made["spec"]["ports"][0]["nodePort"], named::RELEASED);
        scene.delete("v1/services/released", json!(null)).await;
    }
}
