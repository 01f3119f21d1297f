//! The routing table, without sockets.

use super::*;
use crate::service::{Endpoint, EndpointPort, ServicePort};
use std::time::Duration;

fn key() -> ServiceKey {
    ServiceKey::new("default", "web")
}

fn service(ports: &[(&str, u16)]) -> Service {
    let ports = ports.iter().map(|(name, port)| ServicePort { name: (*name).to_owned(), port: *port }).collect();
    Service { key: key(), address: ServiceAddress::ClusterIp([127, 96, 0, 1].into()), ports, affinity: Affinity::None }
}

fn slice(name: &str, ports: &[(&str, u16)], endpoints: &[(u8, EndpointState)]) -> EndpointSlice {
    let endpoint = |(last, state): &(u8, EndpointState)| Endpoint {
        address: Ipv4Addr::new(127, 64, 0, *last),
        hostname: None,
        state: *state,
    };
    EndpointSlice {
        service: key(),
        name: name.to_owned(),
        ports: ports.iter().map(|(name, port)| EndpointPort { name: (*name).to_owned(), port: *port }).collect(),
        endpoints: endpoints.iter().map(endpoint).collect(),
    }
}

/// The backends of each port, as text.
fn backends(master: &Master) -> Vec<String> {
    let route = master.route(&key(), |_| true).unwrap();
    let text = |port: &RoutePort| {
        let mut addresses: Vec<SocketAddrV4> = port.backends.addresses.clone();
        addresses.sort();
        let list: Vec<String> = addresses.iter().map(|a| format!("{}:{}", a.ip().octets()[3], a.port())).collect();
        format!("{} -> {}", port.port, list.join(" "))
    };
    route.ports.iter().map(text).collect()
}

use EndpointState::{Draining, NotReady, Ready};

#[test]
fn ports_are_joined_by_name_over_all_slices() {
    let mut master = Master::default();
    assert_eq!(
        master.set_slice(slice("a", &[("http", 8080), ("admin", 9000)], &[(1, Ready), (2, NotReady)])),
        Changed::Yes
    );
    assert!(master.route(&key(), |_| true).is_none(), "endpoints may come before their Service");
    master.set_service(service(&[("http", 80), ("admin", 81), ("none", 82)]));
    // A named target port may be another number in other pods: another slice.
    master.set_slice(slice("b", &[("http", 8888)], &[(3, Ready)]));
    assert_eq!(backends(&master), ["80 -> 1:8080 3:8888", "81 -> 1:9000", "82 -> "]);
    assert_eq!(master.remove_slice(&key(), "a"), Changed::Yes);
    assert_eq!(master.remove_slice(&key(), "a"), Changed::No);
    assert_eq!(backends(&master), ["80 -> 3:8888", "81 -> ", "82 -> "]);
}

#[test]
fn draining_endpoints_serve_while_none_is_ready() {
    let mut master = Master::default();
    master.set_service(service(&[("", 80)]));
    master.set_slice(slice("a", &[("", 8080)], &[(1, Ready), (2, Draining), (3, NotReady)]));
    assert_eq!(backends(&master), ["80 -> 1:8080"]);
    master.set_slice(slice("a", &[("", 8080)], &[(1, NotReady), (2, Draining)]));
    assert_eq!(backends(&master), ["80 -> 2:8080"]);
}

#[test]
fn the_same_again_is_no_change() {
    let mut master = Master::default();
    assert_eq!(master.set_service(service(&[("", 80)])), Changed::Yes);
    assert_eq!(master.set_service(service(&[("", 80)])), Changed::No);
    assert_eq!(master.set_slice(slice("a", &[], &[])), Changed::Yes);
    assert_eq!(master.set_slice(slice("a", &[], &[])), Changed::No);
    let touched = master.replace_all(vec![service(&[("", 80)])], vec![slice("a", &[], &[])]);
    assert!(touched.is_empty());
    let touched = master.replace_all(Vec::new(), vec![slice("a", &[], &[])]);
    assert_eq!(touched.into_iter().collect::<Vec<_>>(), [key()]);
    assert!(master.route(&key(), |_| true).is_none());
}

#[test]
fn an_address_goes_over_to_another_service() {
    let mut table = Table::default();
    let mut master = Master::default();
    let mut put = |name: &str| {
        let mut service = service(&[("", 80)]);
        service.key = ServiceKey::new("default", name);
        let key = service.key.clone();
        master.set_service(service);
        (master.route(&key, |_| true), key)
    };
    let address = Ipv4Addr::new(127, 96, 0, 1);
    let (old, old_key) = put("old");
    let (new, new_key) = put("new");
    table.replace(&old_key, old);
    table.replace(&new_key, new);
    table.replace(&old_key, None);
    assert_eq!(table.by_address(address).unwrap().key, new_key, "the late removal of the old one harms nobody");
    table.replace(&new_key, None);
    assert!(table.by_address(address).is_none());
}

#[test]
fn round_robin_is_even_and_affinity_is_stable() {
    let addresses: Vec<SocketAddrV4> =
        (1..=4).map(|last| SocketAddrV4::new(Ipv4Addr::new(127, 64, 0, last), 80)).collect();
    let client = IpAddr::from([127, 0, 0, 1]);
    let backends = Backends::new(addresses.clone(), Affinity::None);
    let mut counts = HashMap::new();
    for _ in 0..40 {
        *counts.entry(backends.candidates(client)[0]).or_insert(0) += 1;
    }
    assert_eq!(counts.values().copied().collect::<Vec<i32>>(), [10; 4]);

    let affinity = Affinity::ClientIp { timeout: Duration::from_secs(10_800) };
    let sticky = Backends::new(addresses.clone(), affinity);
    let mut moved = 0;
    for last in 1..=100 {
        let client = IpAddr::from([10, 0, 0, last]);
        let first = sticky.candidates(client)[0];
        assert_eq!(sticky.candidates(client)[0], first);
        let fewer = Backends::new(addresses.iter().copied().filter(|a| *a != addresses[3]).collect(), affinity);
        if fewer.candidates(client)[0] != first {
            assert_eq!(first, addresses[3], "only clients of the endpoint that went move");
            moved += 1;
        }
    }
    assert!((5..=60).contains(&moved), "{moved}");
}

#[test]
fn an_address_is_sought_while_any_service_sends_there_by_choice() {
    let mut master = Master::default();
    let mut table = Table::default();
    let other = ServiceKey::new("default", "other");
    let one: Ipv4Addr = [127, 64, 0, 1].into();
    let mut tell = |master: &Master, key: &ServiceKey| {
        table.replace(key, master.route(key, |_| true));
        table.is_sought(one)
    };
    master.set_service(service(&[("http", 80), ("admin", 81)]));
    master.set_slice(slice("a", &[("http", 8080), ("admin", 81)], &[(1, Ready), (2, Ready)]));
    assert!(tell(&master, &key()));
    master.set_service(Service { key: other.clone(), ..service(&[("http", 80)]) });
    master.set_slice(EndpointSlice { service: other.clone(), ..slice("b", &[("http", 8080)], &[(1, Ready)]) });
    assert!(tell(&master, &other));
    master.set_slice(slice("a", &[("http", 8080)], &[(1, Draining), (2, Ready)]));
    assert!(tell(&master, &key()), "the other still does");
    // Nobody else is left there: clients still come, but only for want of a better place.
    master.set_slice(EndpointSlice { service: other.clone(), ..slice("b", &[("http", 8080)], &[(1, Draining)]) });
    assert!(!tell(&master, &other));
    master.set_slice(slice("a", &[("http", 8080)], &[(1, Ready)]));
    assert!(tell(&master, &key()));
    master.remove_service(&key());
    assert!(!tell(&master, &key()));
}
