//! NetworkPolicy, Ingress, IngressClass, IPAddress and ServiceCIDR (`pkg/apis/networking/validation`).

use super::internal;
use super::json::{check_domain_path, check_immutable, check_name, check_one_of, int, items, map, present, text};
use super::pod::{check_ip, check_label_selector};
use crate::field::{Error, Path};
use crate::{meta, names};
use serde_json::{Value, json};
use std::net::IpAddr;

const CLASS_ANNOTATION: &str = "kubernetes.io/ingress.class";
const CONTROLLER_MAX: usize = 250;
const CIDR_MESSAGE: &str = "must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)";

fn spec(object: &Value) -> &Value {
    object.get("spec").unwrap_or(&Value::Null)
}

fn check_port_number(number: i64, path: &Path<'_>, errors: &mut Vec<Error>) {
    errors.extend(names::check_port(number).into_iter().map(|message| Error::invalid(path, number, message)));
}

pub(super) fn network_policy(object: &Value) -> Vec<Error> {
    let (mut errors, spec, path) = (Vec::new(), spec(object), Path::new("spec"));
    check_label_selector(spec.get("podSelector"), &path.child("podSelector"), &mut errors);
    for (rules, peers) in [("ingress", "from"), ("egress", "to")] {
        let list = path.child(rules);
        for (i, rule) in items(spec, rules).iter().enumerate() {
            let path = list.index(i);
            let ports = path.child("ports");
            for (i, port) in items(rule, "ports").iter().enumerate() {
                check_policy_port(port, &ports.index(i), &mut errors);
            }
            let list = path.child(peers);
            for (i, peer) in items(rule, peers).iter().enumerate() {
                check_peer(peer, &list.index(i), &mut errors);
            }
        }
    }
    let (types, list) = (items(spec, "policyTypes"), path.child("policyTypes"));
    if types.len() > 2 {
        errors.push(Error::invalid(&list, types.to_vec(), "may not specify more than two policyTypes"));
        return errors;
    }
    for (i, kind) in types.iter().filter_map(Value::as_str).enumerate() {
        if !matches!(kind, "Ingress" | "Egress") {
            errors.push(Error::not_supported(&list.index(i), kind, &["Ingress", "Egress"]));
        }
    }
    errors
}

fn check_policy_port(port: &Value, path: &Path<'_>, errors: &mut Vec<Error>) {
    check_one_of(port, "protocol", &["TCP", "UDP", "SCTP"], path, errors);
    let (end, end_path) = (int(port, "endPort"), path.child("endPort"));
    match present(port, "port") {
        Some(Value::Number(number)) => {
            let number = number.as_i64().unwrap_or(0);
            check_port_number(number, &path.child("port"), errors);
            if let Some(end) = end {
                if end < number {
                    // The number told is the port's: so it is in Kubernetes.
                    errors.push(Error::invalid(&end_path, number, "must be greater than or equal to `port`"));
                }
                check_port_number(end, &end_path, errors);
            }
        }
        Some(name) => {
            if let Some(end) = end {
                errors.push(Error::invalid(&end_path, end, "may not be specified when `port` is non-numeric"));
            }
            check_name(name.as_str().unwrap_or_default(), &path.child("port"), names::check_port_name, errors);
        }
        None => {
            if let Some(end) = end {
                errors.push(Error::invalid(&end_path, end, "may not be specified when `port` is not specified"));
            }
        }
    }
}

fn check_peer(peer: &Value, path: &Path<'_>, errors: &mut Vec<Error>) {
    let mut others = 0;
    for selector in ["podSelector", "namespaceSelector"] {
        if let Some(value) = present(peer, selector) {
            others += 1;
            check_label_selector(Some(value), &path.child(selector), errors);
        }
    }
    match present(peer, "ipBlock") {
        Some(block) => {
            check_block(block, &path.child("ipBlock"), errors);
            if others > 0 {
                errors.push(Error::forbidden(path, "may not specify both ipBlock and another peer"));
            }
        }
        None if others == 0 => errors.push(Error::required(path, "must specify a peer")),
        None => {}
    }
}

fn check_block(block: &Value, path: &Path<'_>, errors: &mut Vec<Error>) {
    let text_of = text(block, "cidr");
    if text_of.is_empty() {
        return errors.push(Error::required(&path.child("cidr"), ""));
    }
    let Some(outer) = parse_cidr(text_of) else {
        return errors.push(Error::invalid(&path.child("cidr"), text_of, CIDR_MESSAGE));
    };
    let list = path.child("except");
    for (i, except) in items(block, "except").iter().filter_map(Value::as_str).enumerate() {
        match parse_cidr(except) {
            None => errors.push(Error::invalid(&list.index(i), except, CIDR_MESSAGE)),
            Some(inner) if !contains(outer, inner) => {
                errors.push(Error::invalid(&list.index(i), except, "must be a strict subset of `cidr`"));
            }
            Some(_) => {}
        }
    }
}

fn parse_cidr(text: &str) -> Option<(IpAddr, u8)> {
    let (ip, bits) = text.split_once('/')?;
    let ip: IpAddr = ip.parse().ok()?;
    let bits: u8 = bits.parse().ok()?;
    (bits <= if ip.is_ipv4() { 32 } else { 128 }).then_some((ip, bits))
}

/// Whether `inner` is a part of `outer`, and not all of it.
fn contains((outer, outer_bits): (IpAddr, u8), (inner, inner_bits): (IpAddr, u8)) -> bool {
    let common = match (outer, inner) {
        (IpAddr::V4(a), IpAddr::V4(b)) => (u32::from(a) ^ u32::from(b)).leading_zeros(),
        (IpAddr::V6(a), IpAddr::V6(b)) => (u128::from(a) ^ u128::from(b)).leading_zeros(),
        _ => return false,
    };
    common >= u32::from(outer_bits) && outer_bits < inner_bits
}

pub(super) fn ingress(object: &Value) -> Vec<Error> {
    let (mut errors, spec, path) = (Vec::new(), spec(object), Path::new("spec"));
    let (rules, default) = (items(spec, "rules"), present(spec, "defaultBackend"));
    if rules.is_empty() && default.is_none() {
        let shown = spec.get("rules").cloned().unwrap_or(Value::Null);
        errors.push(Error::invalid(&path, shown, "either `defaultBackend` or `rules` must be specified"));
    }
    if let Some(backend) = default {
        check_backend(backend, &path.child("defaultBackend"), &mut errors);
    }
    let list = path.child("rules");
    for (i, rule) in rules.iter().enumerate() {
        let path = list.index(i);
        check_rule_host(text(rule, "host"), &path.child("host"), &mut errors);
        if let Some(http) = present(rule, "http") {
            check_paths(http, &path.child("http.paths"), &mut errors);
        }
    }
    let list = path.child("tls");
    for (i, tls) in items(spec, "tls").iter().enumerate() {
        let path = list.index(i);
        let hosts = path.child("hosts");
        for (i, host) in items(tls, "hosts").iter().filter_map(Value::as_str).enumerate() {
            check_host(host, &hosts.index(i), &mut errors);
        }
        match text(tls, "secretName") {
            "" => {}
            name => check_name(name, &path.child("secretName"), names::check_dns1123_subdomain, &mut errors),
        }
    }
    if let Some(class) = spec.get("ingressClassName").and_then(Value::as_str) {
        check_name(class, &path.child("ingressClassName"), names::check_dns1123_subdomain, &mut errors);
    }
    errors
}

/// What only a new Ingress is held to.
pub(super) fn new_ingress(object: &Value) -> Vec<Error> {
    let mut errors = ingress(object);
    let class = spec(object).get("ingressClassName").and_then(Value::as_str);
    if let (Some(annotation), Some(class)) = (meta::annotation(object, CLASS_ANNOTATION), class)
        && annotation != class
    {
        let path = Path::new("annotations");
        let detail = "must match `ingressClassName` when both are specified";
        errors.push(Error::invalid(&path.child(CLASS_ANNOTATION), annotation, detail));
    }
    errors
}

fn check_wildcard(host: &str) -> Vec<String> {
    const FORM: &str = "a wildcard DNS-1123 subdomain must start with '*.', followed by a valid DNS subdomain, which must consist of lower case alphanumeric characters, '-' or '.' and end with an alphanumeric character (e.g. '*.example.com', regex used for validation is '\\*\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')";
    match host.strip_prefix("*.") {
        Some(rest) if names::check_dns1123_subdomain(rest).is_empty() => Vec::new(),
        _ => vec![FORM.into()],
    }
}

fn check_host(host: &str, path: &Path<'_>, errors: &mut Vec<Error>) {
    let check = if host.contains('*') { check_wildcard } else { names::check_dns1123_subdomain };
    check_name(host, path, check, errors);
}

fn check_rule_host(host: &str, path: &Path<'_>, errors: &mut Vec<Error>) {
    if host.is_empty() {
        return;
    }
    if host.parse::<IpAddr>().is_ok() {
        errors.push(Error::invalid(path, host, "must be a DNS name, not an IP address"));
    }
    check_host(host, path, errors);
}

fn check_paths(http: &Value, list: &Path<'_>, errors: &mut Vec<Error>) {
    let paths = items(http, "paths");
    if paths.is_empty() {
        errors.push(Error::required(list, ""));
    }
    for (i, entry) in paths.iter().enumerate() {
        let path = list.index(i);
        let Some(kind) = entry.get("pathType").and_then(Value::as_str) else {
            errors.push(Error::required(&path.child("pathType"), "pathType must be specified"));
            continue;
        };
        let (text, at) = (text(entry, "path"), path.child("path"));
        let absolute = text.starts_with('/');
        match kind {
            "Exact" | "Prefix" => {
                if !absolute {
                    errors.push(Error::invalid(&at, text, "must be an absolute path"));
                }
                for part in ["//", "/./", "/../", "%2f", "%2F"].into_iter().filter(|part| text.contains(part)) {
                    errors.push(Error::invalid(&at, text, format!("must not contain '{part}'")));
                }
                for end in ["/..", "/."].into_iter().filter(|end| text.ends_with(end)) {
                    errors.push(Error::invalid(&at, text, format!("cannot end with '{end}'")));
                }
            }
            "ImplementationSpecific" => {
                if !text.is_empty() && !absolute {
                    errors.push(Error::invalid(&at, text, "must be an absolute path"));
                }
            }
            other => {
                let supported = &["Exact", "ImplementationSpecific", "Prefix"];
                errors.push(Error::not_supported(&path.child("pathType"), other, supported));
            }
        }
        check_backend(entry.get("backend").unwrap_or(&Value::Null), &path.child("backend"), errors);
    }
}

fn check_backend(backend: &Value, path: &Path<'_>, errors: &mut Vec<Error>) {
    let (resource, service) = (present(backend, "resource"), present(backend, "service"));
    match (resource, service) {
        (Some(_), Some(_)) => {
            errors.push(Error::invalid(path, "", "cannot set both resource and service backends"));
        }
        (Some(resource), None) => check_typed_reference(resource, &path.child("resource"), errors),
        (None, Some(service)) => check_service_backend(service, path, errors),
        (None, None) => errors.push(Error::invalid(path, "", "resource or service backend is required")),
    }
}

fn check_service_backend(service: &Value, path: &Path<'_>, errors: &mut Vec<Error>) {
    match text(service, "name") {
        "" => errors.push(Error::required(&path.child("service.name"), "")),
        name => check_name(name, &path.child("service.name"), names::check_dns1123_label, errors),
    }
    let port = service.get("port").unwrap_or(&Value::Null);
    let (name, number) = (text(port, "name"), int(port, "number").unwrap_or(0));
    match (name.is_empty(), number == 0) {
        (false, false) => errors.push(Error::invalid(path, "", "cannot set both port name & port number")),
        (false, true) => check_name(name, &path.child("service.port.name"), names::check_port_name, errors),
        (true, false) => check_port_number(number, &path.child("service.port.number"), errors),
        (true, true) => errors.push(Error::required(path, "port name or number is required")),
    }
}

fn check_typed_reference(reference: &Value, path: &Path<'_>, errors: &mut Vec<Error>) {
    if let Some(group) = reference.get("apiGroup").and_then(Value::as_str) {
        check_name(group, &path.child("apiGroup"), names::check_dns1123_subdomain, errors);
    }
    for field in ["kind", "name"] {
        match text(reference, field) {
            "" => errors.push(Error::required(&path.child(field), "")),
            value => check_name(value, &path.child(field), names::check_path_segment, errors),
        }
    }
}

pub(super) fn ingress_class(object: &Value) -> Vec<Error> {
    let (mut errors, spec, path) = (Vec::new(), spec(object), Path::new("spec"));
    let (controller, at) = (text(spec, "controller"), path.child("controller"));
    if controller.len() > CONTROLLER_MAX {
        errors.push(Error::too_long(&at, CONTROLLER_MAX));
    }
    check_domain_path(controller, &at, &mut errors);
    let Some(parameters) = present(spec, "parameters") else { return errors };
    let path = path.child("parameters");
    check_typed_reference(parameters, &path, &mut errors);
    let namespace = present(parameters, "namespace");
    match (text(parameters, "scope"), namespace) {
        ("", _) => errors.push(Error::required(&path.child("scope"), "")),
        ("Namespace", None) => {
            errors.push(Error::required(&path.child("namespace"), "`parameters.scope` is set to 'Namespace'"));
        }
        ("Namespace", Some(name)) => {
            let name = name.as_str().unwrap_or_default();
            check_name(name, &path.child("namespace"), names::check_dns1123_label, &mut errors);
        }
        ("Cluster", Some(_)) => {
            errors.push(Error::forbidden(&path.child("namespace"), "`parameters.scope` is set to 'Cluster'"));
        }
        ("Cluster", None) => {}
        (other, _) => {
            errors.push(Error::not_supported(&path.child("scope"), other, &["Cluster", "Namespace"]));
        }
    }
    errors
}

/// Steps that an update may not take.
pub(super) fn update(kind: &str, object: &Value, old: &Value) -> Vec<Error> {
    let (mut errors, new, old, path) = (Vec::new(), spec(object), spec(old), Path::new("spec"));
    match kind {
        "IngressClass" => check_immutable(new, old, "controller", &path, &mut errors),
        "IPAddress" => {
            internal::check_immutable(new, old, ("parentRef", internal::PARENT_REFERENCE), &path, &mut errors);
        }
        "ServiceCIDR" => check_cidrs_change(object, items(new, "cidrs"), items(old, "cidrs"), &mut errors),
        _ => {}
    }
    errors
}

/// One family may be joined by the other; that is all.
fn check_cidrs_change(object: &Value, new: &[Value], old: &[Value], errors: &mut Vec<Error>) {
    let path = Path::new("spec.cidrs");
    if new.len() != old.len() && (old.len() != 1 || new.len() != 2) {
        return errors.push(Error::invalid(&path, new.to_vec(), meta::IMMUTABLE));
    }
    for (i, (new, _)) in new.iter().zip(old).enumerate().filter(|(_, (new, old))| new != old) {
        errors.push(Error::invalid(&path.index(i), new.clone(), meta::IMMUTABLE));
    }
    if new.len() != old.len() {
        errors.extend(service_cidr(object));
    }
}

/// Where an Ingress may be reached: addresses that are such, and names that are not.
pub(super) fn ingress_status(object: &Value) -> Vec<Error> {
    let (mut errors, list) = (Vec::new(), Path::new("status.loadBalancer.ingress"));
    let balancer = object.pointer("/status/loadBalancer").unwrap_or(&Value::Null);
    for (i, point) in items(balancer, "ingress").iter().enumerate() {
        let (path, address, host) = (list.index(i), text(point, "ip"), text(point, "hostname"));
        if !address.is_empty() {
            check_ip(address, &path.child("ip"), &mut errors);
        }
        if !host.is_empty() {
            let path = path.child("hostname");
            check_name(host, &path, names::check_dns1123_subdomain, &mut errors);
            if host.parse::<IpAddr>().is_ok() {
                errors.push(Error::invalid(&path, host, "must be a DNS name, not an IP address"));
            }
        }
    }
    errors
}

pub(super) fn ip_address(object: &Value) -> Vec<Error> {
    let mut errors = Vec::new();
    let path = Path::new("spec.parentRef");
    let Some(parent) = map(spec(object), "parentRef") else {
        return vec![Error::required(&path, "")];
    };
    let parent = Value::Object(parent.clone());
    if !text(&parent, "group").is_empty() {
        check_name(text(&parent, "group"), &path.child("group"), names::check_dns1123_subdomain, &mut errors);
    }
    for field in ["resource", "name", "namespace"] {
        match text(&parent, field) {
            "" if field == "namespace" => {}
            "" => errors.push(Error::required(&path.child(field), "")),
            value => check_name(value, &path.child(field), names::check_path_segment, &mut errors),
        }
    }
    errors
}

pub(super) fn service_cidr(object: &Value) -> Vec<Error> {
    let mut errors = Vec::new();
    let (cidrs, path) = (items(spec(object), "cidrs"), Path::new("spec.cidrs"));
    if cidrs.is_empty() {
        return vec![Error::required(&path, "at least one CIDR required")];
    }
    if cidrs.len() > 2 {
        return vec![Error::invalid(&path, json!({"CIDRs": cidrs}), "may only hold up to 2 values")];
    }
    for (i, cidr) in cidrs.iter().filter_map(Value::as_str).enumerate() {
        if parse_cidr(cidr).is_none() {
            errors.push(Error::invalid(&path.index(i), cidr, CIDR_MESSAGE));
        }
    }
    let families: Vec<bool> = cidrs.iter().filter_map(|cidr| Some(parse_cidr(cidr.as_str()?)?.0.is_ipv4())).collect();
    if matches!(families[..], [first, second] if first == second) {
        let detail = "may specify no more than one IP for each IP family, i.e 192.168.0.0/24 and 2001:db8::/64";
        errors.push(Error::invalid(&path, cidrs.to_vec(), detail));
    }
    errors
}
