//! Services. Addresses are allocated by the API server; here are the rules around them.

use super::json::{
    Object, check_name, check_one_of, check_required, each_mut, fill, fill_zero, int, items, map, object_mut, present,
    spec_mut, text, zero,
};
use super::pod::{check_ip, check_port_or_name, check_protocol};
use super::{addresses, service_unsaid};
use crate::field::{Error, Path};
use crate::meta;
use crate::names;
use crate::strategy::Strategy;
use serde_json::{Value, json};
use std::collections::HashSet;
use std::net::IpAddr;

const PORT_RANGE: &str = "must be between 1 and 65535, inclusive";
const AFFINITY_SECONDS: i64 = 10_800;
const AFFINITY_MAX_SECONDS: i64 = 86_400;

fn spec(object: &Value) -> &Value {
    object.get("spec").unwrap_or(&Value::Null)
}

/// Whether the service is reachable from outside the cluster.
pub(super) fn external(spec: &Value) -> bool {
    matches!(text(spec, "type"), "LoadBalancer" | "NodePort")
        || (text(spec, "type") == "ClusterIP" && !items(spec, "externalIPs").is_empty())
}

/// Whether a service of this type has a cluster address (that may still be `None`).
pub(super) fn wants_cluster_ip(spec: &Value) -> bool {
    text(spec, "type") != "ExternalName"
}

pub(super) struct Service;

impl Strategy for Service {
    fn warnings(&self, object: &Value) -> Vec<String> {
        let mut out = super::deprecated::service_warnings(object);
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
        if kind == "LoadBalancer" {
            let points = object.pointer_mut("/status/loadBalancer/ingress").and_then(Value::as_array_mut);
            for point in points.into_iter().flatten().filter_map(Value::as_object_mut) {
                if !zero(point.get("ip")) {
                    fill(point, "ipMode", "VIP");
                }
            }
        }
    }

    fn prepare_create(&self, object: &mut Value) {
        if let Some(map) = object.as_object_mut() {
            map.insert("status".into(), json!({"loadBalancer": {}}));
        }
        service_unsaid::complete_new(object);
    }

    fn prepare_update(&self, object: &mut Value, old: &Value) {
        crate::strategy::keep_from_old(object, old, "status");
        service_unsaid::complete(object, old);
    }

    fn validate(&self, object: &Value) -> Vec<Error> {
        let (mut errors, spec, path) = (Vec::new(), spec(object), Path::new("spec"));
        check_topology(object, &mut errors);
        check_type(spec, &path, &mut errors);
        check_service_ports(spec, &path, &mut errors);
        meta::validate_labels(map(spec, "selector"), &path.child("selector"), &mut errors);
        check_affinity(spec, &path, &mut errors);
        addresses::check(spec, &path, &mut errors);
        addresses::check_external(spec, &path.child("externalIPs"), &mut errors);
        const TYPES: &[&str] = &["ClusterIP", "ExternalName", "LoadBalancer", "NodePort"];
        check_required(spec, "type", &path, &mut errors);
        check_one_of(spec, "type", TYPES, &path, &mut errors);
        check_duplicate_ports(spec, &path.child("ports"), &mut errors);
        check_balancer(object, &path, &mut errors);
        check_traffic(spec, &path, &mut errors);
        errors
    }

    fn validate_update(&self, object: &Value, old: &Value) -> Vec<Error> {
        let (mut errors, new, old) = (Vec::new(), spec(object), spec(old));
        addresses::check_change(new, old, &mut errors);
        let class = "loadBalancerClass";
        if text(new, "type") == "LoadBalancer"
            && text(old, "type") == "LoadBalancer"
            && new.get(class) != old.get(class)
        {
            let path = Path::new("spec.loadBalancerClass");
            let shown = new.get(class).cloned().unwrap_or_default();
            errors.push(Error::invalid(&path, shown, "may not change once set"));
        }
        let port = "healthCheckNodePort";
        if needs_health_check(new) && needs_health_check(old) && int(new, port) != int(old, port) {
            errors.push(Error::forbidden(&Path::new("spec.healthCheckNodePort"), meta::IMMUTABLE));
        }
        errors
    }

    fn validate_change(&self, object: &Value, old: &Value) -> Vec<Error> {
        let mut errors = self.validate_update(object, old);
        errors.extend(self.validate(object));
        errors
    }

    fn validate_status_update(&self, object: &Value, _old: &Value) -> Vec<Error> {
        let mut errors = Vec::new();
        check_balancer_status(object, &mut errors);
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

const HINTS: &str = "service.kubernetes.io/topology-aware-hints";
const TOPOLOGY_MODE: &str = "service.kubernetes.io/topology-mode";
const BALANCER_ONLY: &str = "may only be used when `type` is 'LoadBalancer'";

fn check_topology(object: &Value, errors: &mut Vec<Error>) {
    if let (Some(mode), Some(hints)) = (meta::annotation(object, TOPOLOGY_MODE), meta::annotation(object, HINTS))
        && mode != hints
    {
        let path = Path::new("metadata.annotations");
        let detail = format!("must match annotations[{HINTS}] when both are specified");
        errors.push(Error::invalid(&path.key(TOPOLOGY_MODE), mode, detail));
    }
}

fn is_headless(spec: &Value) -> bool {
    matches!(items(spec, "clusterIPs"), [only] if only == "None")
}

fn check_type(spec: &Value, path: &Path<'_>, errors: &mut Vec<Error>) {
    let kind = text(spec, "type");
    if items(spec, "ports").is_empty() && !is_headless(spec) && kind != "ExternalName" {
        errors.push(Error::required(&path.child("ports"), ""));
    }
    match kind {
        "NodePort" | "LoadBalancer" if is_headless(spec) => {
            let detail = format!("may not be set to 'None' for {kind} services");
            errors.push(Error::invalid(&path.child("clusterIPs").index(0), "None", detail));
        }
        "ExternalName" => {
            for field in ["clusterIPs", "ipFamilies", "ipFamilyPolicy"] {
                let given = present(spec, field).is_some_and(|value| *value != json!([]));
                if given {
                    errors.push(Error::forbidden(&path.child(field), "may not be set for ExternalName services"));
                }
            }
            let host = text(spec, "externalName");
            match host.strip_suffix('.').unwrap_or(host) {
                "" => errors.push(Error::required(&path.child("externalName"), "")),
                host => check_name(host, &path.child("externalName"), names::check_dns1123_subdomain, errors),
            }
        }
        _ => {}
    }
}

/// What only Services with a load balancer have.
fn check_balancer(object: &Value, path: &Path<'_>, errors: &mut Vec<Error>) {
    const RANGES_ANNOTATION: &str = "service.beta.kubernetes.io/load-balancer-source-ranges";
    let spec = spec(object);
    let balanced = text(spec, "type") == "LoadBalancer";
    let ranges = items(spec, "loadBalancerSourceRanges");
    let at = path.child("LoadBalancerSourceRanges");
    if !ranges.is_empty() {
        if !balanced {
            errors.push(Error::forbidden(&at, BALANCER_ONLY));
        }
        for (i, range) in ranges.iter().filter_map(Value::as_str).enumerate() {
            addresses::check_cidr(range.trim(), &at.index(i), errors);
        }
    } else if let Some(ranges) = meta::annotation(object, RANGES_ANNOTATION) {
        let path = Path::new("metadata.annotations");
        let at = path.key(RANGES_ANNOTATION);
        if !balanced {
            errors.push(Error::forbidden(&at, BALANCER_ONLY));
        }
        for range in ranges.trim().split(',').filter(|range| !range.is_empty()) {
            addresses::check_cidr(range.trim(), &at, errors);
        }
    }
    if present(spec, "allocateLoadBalancerNodePorts").is_some() && !balanced {
        errors.push(Error::forbidden(&path.child("allocateLoadBalancerNodePorts"), BALANCER_ONLY));
    }
    if let Some(class) = spec.get("loadBalancerClass").and_then(Value::as_str) {
        let at = path.child("loadBalancerClass");
        if balanced {
            check_name(class, &at, names::check_qualified_name, errors);
        } else {
            errors.push(Error::forbidden(&at, BALANCER_ONLY));
        }
    }
}

/// Whether the nodes tell a load balancer which of them have pods of the Service.
pub(super) fn needs_health_check(spec: &Value) -> bool {
    text(spec, "type") == "LoadBalancer" && text(spec, "externalTrafficPolicy") == "Local"
}

fn check_traffic(spec: &Value, path: &Path<'_>, errors: &mut Vec<Error>) {
    let policy = text(spec, "externalTrafficPolicy");
    if external(spec) {
        check_required(spec, "externalTrafficPolicy", path, errors);
        check_one_of(spec, "externalTrafficPolicy", &["Cluster", "Local"], path, errors);
    } else if !policy.is_empty() {
        let detail = "may only be set for externally-accessible services";
        errors.push(Error::invalid(&path.child("externalTrafficPolicy"), policy, detail));
    }
    let (port, at) = (int(spec, "healthCheckNodePort").unwrap_or(0), path.child("healthCheckNodePort"));
    if port != 0 && !needs_health_check(spec) {
        let detail = "may only be set when `type` is 'LoadBalancer' and `externalTrafficPolicy` is 'Local'";
        errors.push(Error::invalid(&at, port, detail));
    } else if port != 0 {
        errors.extend(names::check_port(port).into_iter().map(|why| Error::invalid(&at, port, why)));
    }
    if matches!(text(spec, "type"), "ClusterIP" | "NodePort" | "LoadBalancer") {
        check_required(spec, "internalTrafficPolicy", path, errors);
    }
    check_one_of(spec, "internalTrafficPolicy", &["Cluster", "Local"], path, errors);
    if let Some(distribution) = spec.get("trafficDistribution").and_then(Value::as_str) {
        let supported = &["PreferClose", "PreferSameZone", "PreferSameNode"];
        if !supported.contains(&distribution) {
            errors.push(Error::not_supported(&path.child("trafficDistribution"), distribution, supported));
        }
    }
}

fn check_balancer_status(object: &Value, errors: &mut Vec<Error>) {
    let ingress = object.pointer("/status/loadBalancer").map_or(&[][..], |status| items(status, "ingress"));
    let list = Path::new("status.loadBalancer.ingress");
    if text(spec(object), "type") != "LoadBalancer" && !ingress.is_empty() {
        return errors.push(Error::forbidden(&list, "may only be used when `spec.type` is 'LoadBalancer'"));
    }
    for (i, point) in ingress.iter().enumerate() {
        let (path, ip) = (list.index(i), text(point, "ip"));
        if !ip.is_empty() {
            check_ip(ip, &path.child("ip"), errors);
        }
        let at = path.child("ipMode");
        match point.get("ipMode").and_then(Value::as_str) {
            None if !ip.is_empty() => errors.push(Error::required(&at, "must be specified when `ip` is set")),
            None => {}
            Some(_) if ip.is_empty() => {
                errors.push(Error::forbidden(&at, "may not be specified when `ip` is not set"));
            }
            Some(_) => check_one_of(point, "ipMode", &["Proxy", "VIP"], &path, errors),
        }
        match text(point, "hostname") {
            "" => {}
            host => {
                check_name(host, &path.child("hostname"), names::check_dns1123_subdomain, errors);
                if host.parse::<IpAddr>().is_ok() {
                    let detail = "must be a DNS name, not an IP address";
                    errors.push(Error::invalid(&path.child("hostname"), host, detail));
                }
            }
        }
    }
}

fn check_service_ports(spec: &Value, path: &Path<'_>, errors: &mut Vec<Error>) {
    let ports = items(spec, "ports");
    let mut named = HashSet::new();
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
        check_port_or_name(port.get("targetPort").unwrap_or(&Value::Null), &path.child("targetPort"), errors);
        if let Some(protocol) = port.get("appProtocol").and_then(Value::as_str) {
            check_name(protocol, &path.child("appProtocol"), names::check_qualified_name, errors);
        }
    }
}

/// Node ports where there are none, and ports that two entries claim.
fn check_duplicate_ports(spec: &Value, list: &Path<'_>, errors: &mut Vec<Error>) {
    let node_port = |port: &Value| int(port, "nodePort").unwrap_or(0);
    let ports = || items(spec, "ports").iter().enumerate();
    if text(spec, "type") == "ClusterIP" {
        for (i, _) in ports().filter(|(_, port)| node_port(port) != 0) {
            let at = list.index(i);
            errors.push(Error::forbidden(&at.child("nodePort"), "may not be used when `type` is 'ClusterIP'"));
        }
    }
    let (mut numbers, mut node_ports) = (HashSet::new(), HashSet::new());
    for (i, port) in ports().filter(|(_, port)| node_port(port) != 0) {
        if !node_ports.insert((node_port(port), text(port, "protocol"))) {
            errors.push(Error::duplicate(&list.index(i).child("nodePort"), node_port(port)));
        }
    }
    for (i, port) in ports() {
        let (number, protocol) = (int(port, "port").unwrap_or(0), text(port, "protocol"));
        if !numbers.insert((number, protocol)) {
            // As Kubernetes shows it: with the names of its own struct, and nothing but the key.
            let shown = json!({"Name": "", "Protocol": protocol, "AppProtocol": null, "Port": number, "TargetPort": 0,
                "NodePort": 0});
            errors.push(Error::duplicate(&list.index(i), shown));
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
            if present(spec, "sessionAffinityConfig").is_none() {
                let detail = "when session affinity type is ClientIP";
                errors.push(Error::required(&path.child("sessionAffinityConfig"), detail));
            }
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
