//! Names, looked up from a pod.

use super::*;
use crate::service::{
    Affinity, Endpoint, EndpointPort, EndpointSlice, EndpointState, Service, ServiceKey, ServicePort,
};
use crate::table::Master;

fn table() -> Table {
    let mut master = Master::default();
    let mut table = Table::default();
    let services = [
        ("shop", "web", ServiceAddress::ClusterIp([127, 96, 0, 10].into())),
        ("pay", "web", ServiceAddress::ClusterIp([127, 96, 0, 11].into())),
        ("shop", "db", ServiceAddress::Headless),
        ("shop", "idle", ServiceAddress::Headless),
        ("shop", "out", ServiceAddress::ExternalName("api.example.com".to_owned())),
    ];
    for (namespace, name, address) in services {
        let key = ServiceKey::new(namespace, name);
        let ports = vec![ServicePort { name: String::new(), port: 80 }];
        master.set_service(Service { key, address, ports, affinity: Affinity::None });
    }
    let endpoint = |last, hostname: Option<&str>| Endpoint {
        address: Ipv4Addr::new(127, 64, 0, last),
        hostname: hostname.map(str::to_owned),
        state: EndpointState::Ready,
    };
    master.set_slice(EndpointSlice {
        service: ServiceKey::new("shop", "db"),
        name: "db-1".to_owned(),
        ports: vec![EndpointPort { name: String::new(), port: 5432 }],
        endpoints: vec![endpoint(1, Some("db-0")), endpoint(2, Some("db-1")), endpoint(3, None)],
    });
    for (namespace, name, _) in
        [("shop", "web", ()), ("pay", "web", ()), ("shop", "db", ()), ("shop", "idle", ()), ("shop", "out", ())]
    {
        let key = ServiceKey::new(namespace, name);
        table.replace(&key, master.route(&key, |_| true));
    }
    table
}

fn look(namespace: &str, name: &str) -> String {
    match lookup(&table(), "cluster.local", namespace, name) {
        Ok(Lookup::Addresses(addresses)) => addresses.iter().map(ToString::to_string).collect::<Vec<_>>().join(" "),
        Ok(other) => format!("{other:?}"),
        Err(error) => error.to_string(),
    }
}

#[test]
fn services_by_every_length_of_name() {
    for name in [
        "web",
        "WEB",
        "web.shop",
        "web.shop.svc",
        "web.shop.svc.cluster.local",
        "web.shop.svc.cluster.local.",
        "web.shop.svc.Cluster.Local",
    ] {
        assert_eq!(look("shop", name), "127.96.0.10", "{name}");
    }
    assert_eq!(look("pay", "web"), "127.96.0.11", "the caller's own namespace comes first");
    assert_eq!(look("pay", "web.shop"), "127.96.0.10");
}

#[test]
fn headless_services_and_their_hosts() {
    assert_eq!(look("shop", "db"), "127.64.0.1 127.64.0.2 127.64.0.3");
    for name in ["db-1.db", "db-1.db.shop", "db-1.db.shop.svc", "db-1.db.shop.svc.cluster.local"] {
        assert_eq!(look("shop", name), "127.64.0.2", "{name}");
    }
    assert_eq!(look("pay", "127-64-0-3.db.shop.svc"), "127.64.0.3", "without a hostname, by address");
    assert_eq!(look("shop", "db-9.db.shop.svc.cluster.local"), "NotFound");
    assert_eq!(look("shop", "idle.shop.svc.cluster.local"), "NotFound", "no endpoint, no address");
}

#[test]
fn pods_aliases_and_addresses() {
    assert_eq!(look("x", "127-64-0-9.shop.pod.cluster.local"), "127.64.0.9");
    assert_eq!(look("x", "127-64-0-9.shop.pod"), "127.64.0.9");
    assert_eq!(look("shop", "out"), "Alias(\"api.example.com\")");
    assert_eq!(look("shop", "10.1.2.3"), "10.1.2.3");
    assert_eq!(look("shop", "[::1]"), "::1");
}

#[test]
fn what_is_outside_and_what_is_nowhere() {
    assert_eq!(look("shop", "example.com"), "External(\"example.com\")");
    assert_eq!(look("shop", "web."), "External(\"web\")", "a final dot: no search path");
    assert_eq!(look("shop", "nobody"), "External(\"nobody\")", "perhaps a name of the host's");
    assert_eq!(look("shop", "nobody.shop.svc.cluster.local"), "NotFound");
    assert_eq!(look("shop", "cluster.local"), "NotFound");
    assert_eq!(look("shop", "xcluster.local"), "External(\"xcluster.local\")");
    for bad in ["", ".", "a..b", &"a".repeat(64), &"a.".repeat(200)] {
        assert!(look("shop", bad).starts_with("invalid host name"), "{bad}");
    }
}
