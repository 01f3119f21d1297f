//! Services' records when somebody has meddled with them, what is said about it, and what is counted.

use super::*;
use crate::admission::repair::repair;
use crate::objects;

const SERVICES: &str = "/api/v1/namespaces/default/services";
const ADDRESSES: &str = "/apis/networking.k8s.io/v1/ipaddresses";
const CIDRS: &str = "/apis/networking.k8s.io/v1/servicecidrs";

fn with_ip(name: &str, ip: &str) -> Value {
    json!({"metadata": {"name": name}, "spec": {"clusterIP": ip, "ports": [{"port": 80}]}})
}

fn node_port(name: &str, port: u16) -> Value {
    json!({"metadata": {"name": name}, "spec": {"type": "NodePort", "ports": [{"port": 80, "nodePort": port}]}})
}

async fn cluster() -> Cluster {
    Cluster::with(|config| config.service_cidr = "10.0.0.0/24".parse().unwrap()).await
}

/// Writes to the store past everything that keeps order.
async fn behind_its_back(cluster: &Cluster, txn: store::Txn) {
    cluster.core.commit("test", txn).await.unwrap().ok().expect("no conditions");
}

/// What is told of an object, as `reason message`.
async fn told(cluster: &Cluster, about: &str) -> Vec<String> {
    let path = format!("/api/v1/namespaces/default/events?fieldSelector=involvedObject.name={about}");
    let events = cluster.get(&path).await["items"].clone();
    let text = |event: &Value, field: &str| event[field].as_str().unwrap_or_default().to_owned();
    let all = events.as_array().unwrap().iter();
    all.map(|event| format!("{} {}", text(event, "reason"), text(event, "message"))).collect()
}

/// An address object as a user might make it.
async fn address(cluster: &Cluster, ip: &str, parent: Value, labels: Value) {
    let object = json!({"metadata": {"name": ip, "labels": labels}, "spec": {"parentRef": parent}});
    cluster.post(ADDRESSES, object).await;
}

async fn metrics(cluster: &Cluster) -> String {
    let page = cluster.send("GET", "/metrics", &[], "").await;
    String::from_utf8_lossy(&page.bytes).into_owned()
}

fn managed() -> Value {
    json!({"ipaddress.kubernetes.io/managed-by": "ipallocator.k8s.io", "ipaddress.kubernetes.io/ip-family": "IPv4"})
}

fn of_service(name: &str) -> Value {
    json!({"group": "", "resource": "services", "namespace": "default", "name": name})
}

async fn parent(cluster: &Cluster, ip: &str) -> Value {
    cluster.get(&format!("{ADDRESSES}/{ip}")).await["spec"]["parentRef"]["name"].clone()
}

#[tokio::test]
async fn a_record_that_is_missing_is_made_and_told() {
    let cluster = cluster().await;
    cluster.post(SERVICES, with_ip("a", "10.0.0.7")).await;
    cluster.post(SERVICES, node_port("b", 30_007)).await;
    let txn = store::Txn::new().delete("networking.k8s.io/ipaddresses/10.0.0.7").delete("~nodeports/30007");
    behind_its_back(&cluster, txn).await;
    assert_eq!(repair(&cluster.core).await.unwrap(), 2);
    assert_eq!(parent(&cluster, "10.0.0.7").await, "a");
    let message = "ClusterIPNotAllocated Cluster IP [IPv4]: 10.0.0.7 is not allocated; repairing";
    assert_eq!(told(&cluster, "a").await, [message]);
    assert_eq!(told(&cluster, "b").await, ["PortNotAllocated Port 30007 is not allocated; repairing"]);
    let revision = cluster.core.store.revision();
    assert_eq!(repair(&cluster.core).await.unwrap(), 0);
    assert_eq!(cluster.core.store.revision(), revision, "nothing more to do or to tell");
}

#[tokio::test]
async fn a_record_that_users_made_for_something_else_goes_to_the_service() {
    let cluster = cluster().await;
    for (name, ip, parent) in [
        ("other", "10.0.0.7", json!({"group": "gateway.networking.k8s.io", "resource": "gateways", "name": "g"})),
        ("gone", "10.0.0.8", of_service("no-such")),
        ("plain", "10.0.0.9", of_service("plain")),
    ] {
        cluster.post(SERVICES, with_ip(name, ip)).await;
        cluster.ok("DELETE", &format!("{ADDRESSES}/{ip}"), Value::Null).await;
        address(&cluster, ip, parent, json!({})).await;
    }
    // Each is removed and made again.
    assert_eq!(repair(&cluster.core).await.unwrap(), 6);
    for (name, ip) in [("other", "10.0.0.7"), ("gone", "10.0.0.8")] {
        let message = format!(
            "ClusterIPNotAllocated the ClusterIP [IPv4]: {ip} for Service default/{name} has a wrong reference; repairing"
        );
        assert_eq!(told(&cluster, name).await, [message]);
        assert_eq!(parent(&cluster, ip).await, name);
    }
    assert_eq!(told(&cluster, "plain").await, [""; 0], "its labels only");
    let labels = cluster.get(&format!("{ADDRESSES}/10.0.0.9")).await["metadata"]["labels"].clone();
    assert_eq!(labels, managed());
}

#[tokio::test]
async fn addresses_of_nobody_are_cleaned_up_and_users_own_are_not() {
    let cluster = cluster().await;
    cluster.post(SERVICES, with_ip("a", "10.0.0.7")).await;
    let gateway = json!({"group": "g", "resource": "gateways", "namespace": "n", "name": "g"});
    address(&cluster, "10.0.0.20", gateway.clone(), managed()).await;
    address(&cluster, "10.0.0.21", of_service("no-such"), managed()).await;
    address(&cluster, "10.0.0.22", of_service("a"), managed()).await;
    address(&cluster, "10.0.0.23", gateway, json!({})).await;
    assert_eq!(repair(&cluster.core).await.unwrap(), 3);
    for (ip, message) in [
        (
            "10.0.0.20",
            "IPAddressNotAllocated IPAddress 10.0.0.20 appears to have been modified, not referencing a Service \
             &ParentReference{Group:g,Resource:gateways,Namespace:n,Name:g,}: cleaning up",
        ),
        (
            "10.0.0.21",
            "IPAddressNotAllocated IPAddress: 10.0.0.21 for Service default/no-such appears to have leaked: cleaning up",
        ),
        (
            "10.0.0.22",
            "IPAddressWrongReference IPAddress: 10.0.0.22 for Service default/a has a wrong reference; cleaning up",
        ),
    ] {
        assert_eq!(told(&cluster, ip).await, [message]);
        assert_eq!(cluster.fails("GET", &format!("{ADDRESSES}/{ip}"), Value::Null).await["code"], 404);
    }
    assert_eq!(parent(&cluster, "10.0.0.23").await, "g");
    assert_eq!(told(&cluster, "10.0.0.23").await, [""; 0]);
}

#[tokio::test]
async fn what_two_services_have_or_no_range_has_is_told_and_left() {
    let cluster = cluster().await;
    cluster.post(SERVICES, with_ip("a", "10.0.0.7")).await;
    let port = cluster.post(SERVICES, node_port("p", 30_007)).await;
    // As a store of another making might be.
    let row = cluster.core.builtin("", "v1", "services");
    let copy = |of: &Value, name: &str, change: &dyn Fn(&mut Value)| {
        let mut object = of.clone();
        object["metadata"]["name"] = name.into();
        object["metadata"]["uid"] = format!("uid-{name}").into();
        object["metadata"].as_object_mut().unwrap().remove("resourceVersion");
        change(&mut object);
        (format!("core/services/default/{name}"), objects::encode(&row, &object, 0))
    };
    let a = cluster.get(&format!("{SERVICES}/a")).await;
    let txn = [
        copy(&a, "same-ip", &|_| {}),
        copy(&port, "same-port", &|s| s["spec"]["clusterIP"] = "10.0.0.9".into()),
        copy(&port, "far-port", &|s| {
            s["spec"]["clusterIP"] = "10.0.0.10".into();
            s["spec"]["ports"][0]["nodePort"] = 7.into();
        }),
        copy(&a, "far-ip", &|s| s["spec"]["clusterIP"] = "10.9.0.1".into()),
    ];
    let txn = txn.into_iter().fold(store::Txn::new(), |txn, (key, value)| txn.put(key, value));
    behind_its_back(&cluster, txn).await;
    // Three addresses and a port that nobody else has.
    assert_eq!(repair(&cluster.core).await.unwrap(), 4);
    for (name, message) in [
        (
            "same-ip",
            "ClusterIPAlreadyAllocated Cluster IP [IPv4]:10.0.0.7 was assigned to multiple services; please recreate service",
        ),
        ("same-port", "PortAlreadyAllocated Port 30007 was assigned to multiple services; please recreate service"),
        ("far-port", "PortOutOfRange Port 7 is not within the port range 30000-32767; please recreate service"),
        (
            "far-ip",
            "ClusterIPOutOfRange Cluster IP [IPv4]: 10.9.0.1 is not within any configured Service CIDR; please recreate service",
        ),
    ] {
        let told = told(&cluster, name).await;
        assert!(told.iter().any(|told| told == message), "{name}: {told:?}");
    }
    assert_eq!(parent(&cluster, "10.0.0.7").await, "a");
    assert_eq!(repair(&cluster.core).await.unwrap(), 0);
}

#[tokio::test]
async fn more_than_a_transaction_holds_is_repaired_and_told_in_parts() {
    let cluster = cluster().await;
    let mut txn = store::Txn::new();
    for n in 0..130 {
        let ip = format!("10.0.0.{}", 20 + n);
        cluster.post(SERVICES, with_ip(&format!("s{n}"), &ip)).await;
        txn = txn.delete(format!("networking.k8s.io/ipaddresses/{ip}"));
    }
    behind_its_back(&cluster, txn).await;
    assert_eq!(repair(&cluster.core).await.unwrap(), 130);
    assert_eq!(cluster.get(ADDRESSES).await["items"].as_array().unwrap().len(), 131);
    let events = cluster.get("/api/v1/namespaces/default/events?fieldSelector=reason=ClusterIPNotAllocated").await;
    assert_eq!(events["items"].as_array().unwrap().len(), 100, "no more at once");
}

#[tokio::test]
async fn what_is_given_out_is_counted_by_range() {
    let cluster = Cluster::with(|config| config.service_cidr = "10.0.0.0/29".parse().unwrap()).await;
    let more = json!({"metadata": {"name": "more"}, "spec": {"cidrs": ["10.1.0.0/28"]}});
    cluster.post(CIDRS, more).await;
    cluster.post(SERVICES, json!({"metadata": {"name": "any"}, "spec": {"ports": [{"port": 80}]}})).await;
    cluster.post(SERVICES, with_ip("named", "10.1.0.5")).await;
    // Neither of these counts as given: refused, and not meant.
    for wanted in [with_ip("b", "10.1.0.5"), with_ip("b", "10.2.0.1"), node_port("b", 7)] {
        cluster.fails("POST", SERVICES, wanted).await;
    }
    for n in 0..2 {
        cluster.fails("POST", &format!("{SERVICES}?dryRun=All"), with_ip(&format!("n{n}"), "10.1.0.5")).await;
        cluster.post(&format!("{SERVICES}?dryRun=All"), with_ip(&format!("n{n}"), "10.1.0.9")).await;
    }
    let ports = json!([{"name": "tcp", "port": 53, "nodePort": 30_053}, {"name": "udp", "port": 53, "nodePort": 30_053, "protocol": "UDP"},
        {"name": "any", "port": 80}]);
    cluster.post(SERVICES, json!({"metadata": {"name": "ports"}, "spec": {"type": "NodePort", "ports": ports}})).await;
    let page = metrics(&cluster).await;
    for line in [
        r#"kube_apiserver_clusterip_allocator_allocated_ips{cidr="10.0.0.0/29"} 3"#,
        r#"kube_apiserver_clusterip_allocator_available_ips{cidr="10.0.0.0/29"} 3"#,
        r#"kube_apiserver_clusterip_allocator_allocated_ips{cidr="10.1.0.0/28"} 1"#,
        r#"kube_apiserver_clusterip_allocator_available_ips{cidr="10.1.0.0/28"} 13"#,
        r#"kube_apiserver_clusterip_allocator_allocation_total{cidr="10.0.0.0/29",scope="dynamic"} 2"#,
        r#"kube_apiserver_clusterip_allocator_allocation_total{cidr="10.1.0.0/28",scope="static"} 1"#,
        r#"kube_apiserver_clusterip_allocator_allocation_errors_total{cidr="10.1.0.0/28",scope="static"} 1"#,
        r#"kube_apiserver_clusterip_allocator_allocation_duration_seconds_count{cidr="10.1.0.0/28"} 1"#,
        "kube_apiserver_nodeport_allocator_allocated_ports 2",
        "kube_apiserver_nodeport_allocator_available_ports 2766",
        r#"kube_apiserver_nodeport_allocator_allocation_total{scope="static"} 1"#,
        r#"kube_apiserver_nodeport_allocator_allocation_total{scope="dynamic"} 1"#,
        r#"kube_apiserver_nodeport_allocator_allocation_errors_total{scope="static"} 1"#,
    ] {
        assert!(page.lines().any(|l| l == line), "no {line} in\n{page}");
    }
    assert!(!page.contains("10.2.0"));
    for n in 0..16 {
        cluster.post(SERVICES, json!({"metadata": {"name": format!("f{n}")}, "spec": {"ports": [{"port": 80}]}})).await;
    }
    cluster.fails("POST", SERVICES, json!({"metadata": {"name": "full"}, "spec": {"ports": [{"port": 80}]}})).await;
    let page = metrics(&cluster).await;
    for range in ["10.0.0.0/29", "10.1.0.0/28"] {
        let line = format!(
            "kube_apiserver_clusterip_allocator_allocation_errors_total{{cidr=\"{range}\",scope=\"dynamic\"}} 1"
        );
        assert!(page.lines().any(|l| l == line), "no {line} in\n{page}");
        let line = format!("kube_apiserver_clusterip_allocator_available_ips{{cidr=\"{range}\"}} 0");
        assert!(page.lines().any(|l| l == line), "no {line} in\n{page}");
    }
}
