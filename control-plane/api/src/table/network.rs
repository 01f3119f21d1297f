//! Services and what routes to and from them.

use super::Context;
use super::format::{AGE, Definition, NAME, age, columns, items, labels, map, or, selector, some_of, text};
use crate::kinds::Columns;
use crate::meta;
use serde_json::Value;

/// How many addresses or ports a cell lists before it counts the rest.
const SHOWN: usize = 3;

const SERVICES: &[Definition] = &[
    NAME,
    ("Type", "string", 0, "How the Service is exposed."),
    ("Cluster-IP", "string", 0, "The address of the service inside the cluster."),
    ("External-IP", "string", 0, "Addresses from which the service is reached from outside the cluster."),
    ("Port(s)", "string", 0, "The ports that are exposed by this service."),
    AGE,
    ("Selector", "string", 1, "The labels of the pods that the service routes traffic to."),
];

const ENDPOINTS: &[Definition] = &[NAME, ("Endpoints", "string", 0, "The set of all endpoints."), AGE];

const SLICES: &[Definition] = &[
    NAME,
    ("AddressType", "string", 0, "The type of address carried by this EndpointSlice."),
    ("Ports", "string", 0, "The ports exposed by each endpoint in this slice."),
    ("Endpoints", "string", 0, "The unique endpoints in this slice."),
    AGE,
];

const INGRESSES: &[Definition] = &[
    NAME,
    ("Class", "string", 0, "The name of the IngressClass resource that should be used for additional configuration"),
    ("Hosts", "string", 0, "Hosts that incoming requests are matched against before the ingress rule"),
    ("Address", "string", 0, "Address is a list containing ingress points for the load-balancer"),
    ("Ports", "string", 0, "Ports of TLS configurations that open"),
    AGE,
];

const INGRESS_CLASSES: &[Definition] = &[
    NAME,
    ("Controller", "string", 0, "Controller that is responsible for handling this class"),
    ("Parameters", "string", 0, "A reference to a resource with additional parameters"),
    AGE,
];

const POLICIES: &[Definition] =
    &[NAME, ("Pod-Selector", "string", 0, "The pods to which this NetworkPolicy applies."), AGE];

const SERVICE_CIDRS: &[Definition] =
    &[NAME, ("CIDRs", "string", 0, "The IP blocks in CIDR notation from which to assign service cluster IPs."), AGE];

const IP_ADDRESSES: &[Definition] =
    &[NAME, ("ParentRef", "string", 0, "The resource that the IPAddress is attached to."), AGE];

pub(super) fn find(group: &str, kind: &str) -> Option<Columns> {
    Some(match (group, kind) {
        ("", "Service") => columns(SERVICES, service),
        ("", "Endpoints") => columns(ENDPOINTS, |object, context| {
            vec![meta::name(object).into(), endpoints(object).into(), age(object, context)]
        }),
        ("discovery.k8s.io", "EndpointSlice") => columns(SLICES, slice),
        ("networking.k8s.io", "Ingress") => columns(INGRESSES, ingress),
        ("networking.k8s.io", "IngressClass") => columns(INGRESS_CLASSES, ingress_class),
        ("networking.k8s.io", "NetworkPolicy") => columns(POLICIES, |object, context| {
            let pods = selector(object.pointer("/spec/podSelector"));
            vec![meta::name(object).into(), pods.into(), age(object, context)]
        }),
        ("networking.k8s.io", "ServiceCIDR") => columns(SERVICE_CIDRS, |object, context| {
            let ranges = strings(items(object, "/spec/cidrs")).join(",");
            vec![meta::name(object).into(), ranges.into(), age(object, context)]
        }),
        ("networking.k8s.io", "IPAddress") => columns(IP_ADDRESSES, |object, context| {
            let part = |field: &str| text(object, field);
            let group = part("/spec/parentRef/group");
            let dot = if group.is_empty() { "" } else { "." };
            let (resource, namespace, name) =
                (part("/spec/parentRef/resource"), part("/spec/parentRef/namespace"), part("/spec/parentRef/name"));
            let parent = match map(object, "/spec/parentRef") {
                Some(_) => {
                    let kind = format!("{resource}{dot}{group}").to_lowercase();
                    format!("{kind}/{namespace}/{name}").replace("//", "/")
                }
                None => "<none>".into(),
            };
            vec![meta::name(object).into(), parent.into(), age(object, context)]
        }),
        _ => return None,
    })
}

fn strings(list: &[Value]) -> Vec<String> {
    list.iter().filter_map(Value::as_str).map(String::from).collect()
}

fn service(object: &Value, context: &Context) -> Vec<Value> {
    let address = items(object, "/spec/clusterIPs").first().and_then(Value::as_str);
    let address = address.unwrap_or_else(|| or(text(object, "/spec/clusterIP"), "<none>"));
    vec![
        meta::name(object).into(),
        text(object, "/spec/type").into(),
        address.into(),
        external_ip(object).into(),
        or(&service_ports(object), "<none>").into(),
        age(object, context),
        labels(map(object, "/spec/selector")).into(),
    ]
}

fn service_ports(object: &Value) -> String {
    let ports: Vec<String> = items(object, "/spec/ports")
        .iter()
        .map(|port| {
            let (number, protocol) = (port["port"].as_i64().unwrap_or(0), text(port, "/protocol"));
            match port["nodePort"].as_i64() {
                Some(node) if node > 0 => format!("{number}:{node}/{protocol}"),
                _ => format!("{number}/{protocol}"),
            }
        })
        .collect();
    ports.join(",")
}

/// The addresses (or host names) of a load balancer, sorted and each once.
fn balancer(object: &Value) -> String {
    let mut addresses: Vec<&str> = items(object, "/status/loadBalancer/ingress")
        .iter()
        .map(|point| or(text(point, "/ip"), text(point, "/hostname")))
        .filter(|address| !address.is_empty())
        .collect();
    addresses.sort_unstable();
    addresses.dedup();
    addresses.join(",")
}

fn external_ip(object: &Value) -> String {
    let given = strings(items(object, "/spec/externalIPs")).join(",");
    match text(object, "/spec/type") {
        "ClusterIP" | "NodePort" => or(&given, "<none>").into(),
        "LoadBalancer" => match (balancer(object), given) {
            (balancer, given) if balancer.is_empty() => or(&given, "<pending>").into(),
            (balancer, given) if given.is_empty() => balancer,
            (balancer, given) => format!("{balancer},{given}"),
        },
        "ExternalName" => text(object, "/spec/externalName").into(),
        _ => "<unknown>".into(),
    }
}

fn endpoints(object: &Value) -> String {
    let mut list = Vec::new();
    for subset in items(object, "/subsets") {
        let ports = items(subset, "/ports");
        let addresses = items(subset, "/addresses");
        if ports.is_empty() {
            list.extend(addresses.iter().map(|a| text(a, "/ip").to_owned()));
        }
        for port in ports {
            let number = port["port"].as_i64().unwrap_or(0);
            list.extend(addresses.iter().map(|a| host_port(text(a, "/ip"), number)));
        }
    }
    let empty = if items(object, "/subsets").is_empty() { "<none>" } else { "" };
    some_of(&list, SHOWN, empty)
}

fn host_port(host: &str, port: i64) -> String {
    if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
}

fn slice(object: &Value, context: &Context) -> Vec<Value> {
    let ports: Vec<String> = items(object, "/ports")
        .iter()
        .map(|port| match (port["port"].as_i64(), port["name"].as_str()) {
            (Some(number), _) => number.to_string(),
            (None, Some(name)) => name.into(),
            (None, None) => "*".into(),
        })
        .collect();
    let addresses: Vec<String> =
        items(object, "/endpoints").iter().flat_map(|e| strings(items(e, "/addresses"))).collect();
    vec![
        meta::name(object).into(),
        text(object, "/addressType").into(),
        some_of(&ports, SHOWN, "<unset>").into(),
        some_of(&addresses, SHOWN, "<unset>").into(),
        age(object, context),
    ]
}

/// The hosts of an Ingress's rules. As in Kubernetes, what is left out is counted in rules, those without a host too.
fn hosts(rules: &[Value]) -> String {
    let mut named = rules.iter().enumerate().filter(|(_, rule)| !text(rule, "/host").is_empty());
    let shown: Vec<_> = named.by_ref().take(SHOWN).collect();
    let last = shown.last().map_or(0, |(at, _)| *at);
    let list: Vec<&str> = shown.iter().map(|(_, rule)| text(rule, "/host")).collect();
    if list.len() == SHOWN && last + 1 < rules.len() {
        return format!("{} + {} more...", list.join(","), rules.len() - SHOWN);
    }
    or(&list.join(","), "*").into()
}

fn ingress(object: &Value, context: &Context) -> Vec<Value> {
    let ports = if items(object, "/spec/tls").is_empty() { "80" } else { "80, 443" };
    vec![
        meta::name(object).into(),
        or(text(object, "/spec/ingressClassName"), "<none>").into(),
        hosts(items(object, "/spec/rules")).into(),
        balancer(object).into(),
        ports.into(),
        age(object, context),
    ]
}

fn ingress_class(object: &Value, context: &Context) -> Vec<Value> {
    let parameters = match map(object, "/spec/parameters") {
        None => "<none>".into(),
        Some(_) => {
            let group = text(object, "/spec/parameters/apiGroup");
            let dot = if group.is_empty() { "" } else { "." };
            let (kind, name) = (text(object, "/spec/parameters/kind"), text(object, "/spec/parameters/name"));
            format!("{kind}{dot}{group}/{name}")
        }
    };
    vec![meta::name(object).into(), text(object, "/spec/controller").into(), parameters.into(), age(object, context)]
}
