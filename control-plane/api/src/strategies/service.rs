//! Services and Endpoints. Addresses are allocated by the API server; here are the rules around them.

use super::json::{
    Object, check_name, check_one_of, each_mut, fill, fill_zero, int, items, map, object_mut, present, spec_mut, text,
    zero,
};
use super::pod::{check_port_or_name, check_protocol};
use crate::field::{Error, Path};
use crate::meta;
use crate::names;
use crate::strategy::Strategy;
use serde_json::{Value, json};
use std::collections::HashSet;
use std::net::IpAddr;

const PORT_RANGE: &str = "must be between 1 and 65535, inclusive";
const IP_MESSAGE: &str = "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)";
const AFFINITY_SECONDS: i64 = 10_800;
const AFFINITY_MAX_SECONDS: i64 = 86_400;

fn spec(object: &Value) -> &Value {
    object.get("spec").unwrap_or(&Value::Null)
}

/// Whether the service is reachable from outside the cluster.
fn external(spec: &Value) -> bool {
    matches!(text(spec, "type"), "LoadBalancer" | "NodePort")
        || (text(spec, "type") == "ClusterIP" && !items(spec, "externalIPs").is_empty())
}

/// Whether a service of this type has a cluster address (that may still be `None`).
fn wants_cluster_ip(spec: &Value) -> bool {
    text(spec, "type") != "ExternalName"
}

pub(super) struct Service;

impl Strategy for Service {
    fn warnings(&self, object: &Value) -> Vec<String> {
        let mut out = Vec::new();
        let spec = &object["spec"];
        if matches!(spec["type"].as_str(), Some("NodePort" | "LoadBalancer")) {
            out.push("spec.type: skiff: nothing in this version listens on node ports or balances load outside; the cluster IP works".into());
        }
        for (i, port) in spec["ports"].as_array().into_iter().flatten().enumerate() {
            if matches!(port["protocol"].as_str(), Some("UDP" | "SCTP")) {
                out.push(format!("spec.ports[{i}].protocol: skiff: only TCP is routed in this version"));
            }
        }
        out
    }

    fn default(&self, object: &mut Value) {
        let Some(spec) = spec_mut(object) else { return };
        fill_zero(spec, "type", "ClusterIP");
        default_affinity(spec);
        for port in each_mut(spec, "ports") {
            fill_zero(port, "protocol", "TCP");
            if zero(port.get("targetPort")) {
                let number = port.get("port").cloned().unwrap_or(Value::Null);
                port.insert("targetPort".into(), number);
            }
        }
        let kind = spec.get("type").and_then(Value::as_str).unwrap_or_default().to_owned();
        if kind != "ExternalName" {
            fill(spec, "internalTrafficPolicy", "Cluster");
        }
        if kind == "LoadBalancer" {
            fill(spec, "allocateLoadBalancerNodePorts", true);
        }
        let view = object.get("spec").is_some_and(external);
        if view && let Some(spec) = spec_mut(object) {
            fill_zero(spec, "externalTrafficPolicy", "Cluster");
        }
    }

    fn prepare_create(&self, object: &mut Value) {
        if let Some(map) = object.as_object_mut() {
            map.insert("status".into(), json!({"loadBalancer": {}}));
        }
        mirror_cluster_ip(object);
    }

    fn prepare_update(&self, object: &mut Value, old: &Value) {
        crate::strategy::keep_from_old(object, old, "status");
        patch_from_old(object, old);
        mirror_cluster_ip(object);
    }

    fn validate(&self, object: &Value) -> Vec<Error> {
        let (mut errors, spec, path) = (Vec::new(), spec(object), Path::new("spec"));
        check_type(spec, &path, &mut errors);
        check_service_ports(spec, &path, &mut errors);
        check_affinity(spec, &path, &mut errors);
        meta::validate_labels(map(spec, "selector"), &path.child("selector"), &mut errors);
        for (list, what) in [("externalIPs", path.child("externalIPs")), ("clusterIPs", path.child("clusterIPs"))] {
            for (i, address) in items(spec, list).iter().enumerate() {
                let address = address.as_str().unwrap_or_default();
                if address.parse::<IpAddr>().is_err() && !(list == "clusterIPs" && i == 0 && address == "None") {
                    errors.push(Error::invalid(&what.index(i), address, IP_MESSAGE));
                }
            }
        }
        check_one_of(
            spec,
            "ipFamilyPolicy",
            &["SingleStack", "PreferDualStack", "RequireDualStack"],
            &path,
            &mut errors,
        );
        check_one_of(spec, "internalTrafficPolicy", &["Cluster", "Local"], &path, &mut errors);
        check_one_of(spec, "externalTrafficPolicy", &["Cluster", "Local"], &path, &mut errors);
        check_one_of(
            spec,
            "trafficDistribution",
            &["PreferClose", "PreferSameNode", "PreferSameZone"],
            &path,
            &mut errors,
        );
        if !text(spec, "externalTrafficPolicy").is_empty() && !external(spec) {
            let policy = text(spec, "externalTrafficPolicy");
            let detail = "may only be set for externally-accessible services";
            errors.push(Error::invalid(&path.child("externalTrafficPolicy"), policy, detail));
        }
        errors
    }

    fn validate_update(&self, object: &Value, old: &Value) -> Vec<Error> {
        let (mut errors, new, old, path) = (Vec::new(), spec(object), spec(old), Path::new("spec"));
        let (address, before) = (text(new, "clusterIP"), text(old, "clusterIP"));
        if wants_cluster_ip(new) && wants_cluster_ip(old) && !before.is_empty() && address != before {
            let list = new.get("clusterIPs").cloned().unwrap_or_else(|| json!([address]));
            let first = path.child("clusterIPs");
            errors.push(Error::invalid(&first.index(0), list, "may not change once set"));
        }
        errors
    }

    fn has_generation(&self) -> bool {
        false
    }

    fn create_on_update(&self) -> bool {
        true
    }

    fn field_names(&self) -> &'static [&'static str] {
        &["spec.clusterIP", "spec.type"]
    }

    fn fields(&self, object: &Value) -> Vec<(&'static str, String)> {
        let spec = spec(object);
        vec![("spec.clusterIP", text(spec, "clusterIP").into()), ("spec.type", text(spec, "type").into())]
    }
}

fn default_affinity(spec: &mut Object) {
    fill_zero(spec, "sessionAffinity", "None");
    match spec.get("sessionAffinity").and_then(Value::as_str) {
        Some("None") => {
            spec.remove("sessionAffinityConfig");
        }
        Some("ClientIP") => {
            if let Some(client) =
                object_mut(spec, "sessionAffinityConfig").and_then(|config| object_mut(config, "clientIP"))
            {
                fill(client, "timeoutSeconds", AFFINITY_SECONDS);
            }
        }
        _ => {}
    }
}

/// `clusterIP` and `clusterIPs[0]` always say the same; the one that is given fills the other.
fn mirror_cluster_ip(object: &mut Value) {
    let view = spec(object);
    let (one, first) = (
        text(view, "clusterIP").to_owned(),
        items(view, "clusterIPs").first().and_then(Value::as_str).unwrap_or_default().to_owned(),
    );
    let Some(spec) = spec_mut(object) else { return };
    if !one.is_empty() && first.is_empty() {
        spec.insert("clusterIPs".into(), json!([one]));
    } else if one.is_empty() && !first.is_empty() {
        spec.insert("clusterIP".into(), first.into());
    }
}

/// What an update may leave out and means "as it was": addresses, node ports, the health check port.
fn patch_from_old(object: &mut Value, old: &Value) {
    let (new_view, old_spec) = (spec(object).clone(), spec(old));
    let same_reach = wants_cluster_ip(&new_view) && wants_cluster_ip(old_spec);
    let (node_ports, old_node_ports) = (uses_node_ports(&new_view), uses_node_ports(old_spec));
    let Some(spec) = spec_mut(object) else { return };
    if same_reach {
        if zero(spec.get("clusterIP")) && items(&new_view, "clusterIPs").is_empty() {
            for field in ["clusterIP", "clusterIPs"] {
                if let Some(value) = old_spec.get(field) {
                    spec.insert(field.into(), value.clone());
                }
            }
        }
        for field in ["ipFamilies", "ipFamilyPolicy"] {
            if let Some(value) = old_spec.get(field) {
                fill(spec, field, value.clone());
            }
        }
    } else if !wants_cluster_ip(&new_view) {
        for field in ["clusterIP", "clusterIPs", "ipFamilies", "ipFamilyPolicy"] {
            if spec.get(field) == old_spec.get(field) {
                spec.remove(field);
            }
        }
    }
    if node_ports && old_node_ports {
        for port in each_mut(spec, "ports").filter(|p| zero(p.get("nodePort"))) {
            let same = |o: &&Value| o.get("port") == port.get("port") && o.get("protocol") == port.get("protocol");
            if let Some(number) = items(old_spec, "ports").iter().find(same).and_then(|o| int(o, "nodePort")) {
                port.insert("nodePort".into(), number.into());
            }
        }
    } else if !node_ports {
        for port in each_mut(spec, "ports") {
            port.remove("nodePort");
        }
    }
}

fn uses_node_ports(spec: &Value) -> bool {
    match text(spec, "type") {
        "NodePort" => true,
        "LoadBalancer" => spec.get("allocateLoadBalancerNodePorts") != Some(&Value::Bool(false)),
        _ => false,
    }
}

fn check_type(spec: &Value, path: &Path<'_>, errors: &mut Vec<Error>) {
    const TYPES: &[&str] = &["ClusterIP", "ExternalName", "LoadBalancer", "NodePort"];
    let (kind, address) = (text(spec, "type"), text(spec, "clusterIP"));
    match kind {
        "" => errors.push(Error::required(&path.child("type"), "")),
        "ExternalName" => {
            if !address.is_empty() {
                let detail = "may not be set when `type` is 'ExternalName'";
                errors.push(Error::forbidden(&path.child("clusterIP"), detail));
            }
            let host = text(spec, "externalName");
            match host.strip_suffix('.').unwrap_or(host) {
                "" => errors.push(Error::required(&path.child("externalName"), "")),
                host => check_name(host, &path.child("externalName"), names::check_dns1123_subdomain, errors),
            }
        }
        "NodePort" | "LoadBalancer" if address == "None" => {
            let detail = format!("may not be set to 'None' for {kind} services");
            errors.push(Error::invalid(&path.child("clusterIPs").index(0), "None", detail));
        }
        kind if !TYPES.contains(&kind) => errors.push(Error::not_supported(&path.child("type"), kind, TYPES)),
        _ => {}
    }
    if !matches!(address, "" | "None") && address.parse::<IpAddr>().is_err() {
        errors.push(Error::invalid(&path.child("clusterIP"), address, IP_MESSAGE));
    }
    let first = items(spec, "clusterIPs").first().and_then(Value::as_str).unwrap_or_default();
    if !first.is_empty() && first != address {
        let list = path.child("clusterIPs");
        errors.push(Error::invalid(&list, items(spec, "clusterIPs").to_vec(), "first value must match `clusterIP`"));
    }
}

fn check_service_ports(spec: &Value, path: &Path<'_>, errors: &mut Vec<Error>) {
    let ports = items(spec, "ports");
    let headless = text(spec, "clusterIP") == "None";
    if ports.is_empty() && !headless && text(spec, "type") != "ExternalName" {
        errors.push(Error::required(&path.child("ports"), ""));
    }
    let (mut named, mut numbers, mut node_ports) = (HashSet::new(), HashSet::new(), HashSet::new());
    let list = path.child("ports");
    for (i, port) in ports.iter().enumerate() {
        let path = list.index(i);
        match text(port, "name") {
            "" if ports.len() > 1 => errors.push(Error::required(&path.child("name"), "")),
            "" => {}
            name => {
                check_name(name, &path.child("name"), names::check_dns1123_label, errors);
                if !named.insert(name) {
                    errors.push(Error::duplicate(&path.child("name"), name));
                }
            }
        }
        let number = int(port, "port").unwrap_or(0);
        if !(1..=65535).contains(&number) {
            errors.push(Error::invalid(&path.child("port"), number, PORT_RANGE));
        }
        check_protocol(port, &path, errors);
        if let Some(target) = present(port, "targetPort") {
            check_port_or_name(target, &path.child("targetPort"), errors);
        }
        let protocol = text(port, "protocol");
        if !numbers.insert((number, protocol)) {
            errors.push(Error::duplicate(&path, json!({"port": number, "protocol": protocol})));
        }
        let node_port = int(port, "nodePort").unwrap_or(0);
        if node_port != 0 {
            if text(spec, "type") == "ClusterIP" || text(spec, "type") == "ExternalName" {
                let detail = format!("may not be used when `type` is '{}'", text(spec, "type"));
                errors.push(Error::forbidden(&path.child("nodePort"), detail));
            }
            if !node_ports.insert((node_port, protocol)) {
                errors.push(Error::duplicate(&path.child("nodePort"), node_port));
            }
        }
    }
}

fn check_affinity(spec: &Value, path: &Path<'_>, errors: &mut Vec<Error>) {
    match text(spec, "sessionAffinity") {
        "" => errors.push(Error::required(&path.child("sessionAffinity"), "")),
        "None" => {
            if present(spec, "sessionAffinityConfig").is_some() {
                let detail = "must not be set when session affinity is None";
                errors.push(Error::forbidden(&path.child("sessionAffinityConfig"), detail));
            }
        }
        "ClientIP" => {
            let seconds = spec.pointer("/sessionAffinityConfig/clientIP/timeoutSeconds").and_then(Value::as_i64);
            if let Some(seconds) = seconds.filter(|s| !(1..=AFFINITY_MAX_SECONDS).contains(s)) {
                let detail = format!("must be greater than 0 and less than {AFFINITY_MAX_SECONDS}");
                errors.push(Error::invalid(
                    &path.child("sessionAffinityConfig.clientIP.timeoutSeconds"),
                    seconds,
                    detail,
                ));
            }
        }
        other => errors.push(Error::not_supported(&path.child("sessionAffinity"), other, &["ClientIP", "None"])),
    }
}

pub(super) struct Endpoints;

impl Strategy for Endpoints {
    fn default(&self, object: &mut Value) {
        let Some(object) = object.as_object_mut() else { return };
        for port in each_mut(object, "subsets").flat_map(|s| each_mut(s, "ports")) {
            fill_zero(port, "protocol", "TCP");
        }
    }

    fn validate(&self, object: &Value) -> Vec<Error> {
        let mut errors = Vec::new();
        let list = Path::new("subsets");
        for (i, subset) in items(object, "subsets").iter().enumerate() {
            let path = list.index(i);
            check_subset(subset, &path, &mut errors);
        }
        errors
    }

    fn has_generation(&self) -> bool {
        false
    }

    fn create_on_update(&self) -> bool {
        true
    }
}

fn check_subset(subset: &Value, path: &Path<'_>, errors: &mut Vec<Error>) {
    if items(subset, "addresses").is_empty() && items(subset, "notReadyAddresses").is_empty() {
        errors.push(Error::required(path, "must specify `addresses` or `notReadyAddresses`"));
    }
    for field in ["addresses", "notReadyAddresses"] {
        let list = path.child(field);
        for (i, address) in items(subset, field).iter().enumerate() {
            let ip = text(address, "ip");
            // Loopback addresses are Skiff's own pods: allowed, unlike in Kubernetes.
            if ip.parse::<IpAddr>().is_err() {
                let path = list.index(i);
                errors.push(Error::invalid(&path.child("ip"), ip, IP_MESSAGE));
            }
        }
    }
    let ports = items(subset, "ports");
    let list = path.child("ports");
    for (i, port) in ports.iter().enumerate() {
        let path = list.index(i);
        match text(port, "name") {
            "" if ports.len() > 1 => errors.push(Error::required(&path.child("name"), "")),
            "" => {}
            name => check_name(name, &path.child("name"), names::check_dns1123_label, errors),
        }
        let number = int(port, "port").unwrap_or(0);
        if !(1..=65535).contains(&number) {
            errors.push(Error::invalid(&path.child("port"), number, PORT_RANGE));
        }
        check_protocol(port, &path, errors);
    }
}
