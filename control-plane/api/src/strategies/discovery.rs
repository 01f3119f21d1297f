//! Lease, Endpoints and EndpointSlice.

use super::addresses;
use super::json::{check_immutable, check_name, check_required_one_of, each_mut, fill, fill_zero, int, items, text};
use super::pod::{check_ip, check_protocol};
use crate::field::{Error, Path};
use crate::strategy::Strategy;
use crate::{meta, names};
use serde_json::Value;
use std::net::IpAddr;

pub(super) struct Lease;

impl Strategy for Lease {
    fn prepare_create(&self, _object: &mut Value) {}
    fn prepare_update(&self, _object: &mut Value, _old: &Value) {}

    fn validate(&self, object: &Value) -> Vec<Error> {
        let (mut errors, path) = (Vec::new(), Path::new("spec"));
        let Some(spec) = object.get("spec") else { return errors };
        if let Some(seconds) = int(spec, "leaseDurationSeconds").filter(|s| *s <= 0) {
            errors.push(Error::invalid(&path.child("leaseDurationSeconds"), seconds, "must be greater than 0"));
        }
        super::json::check_non_negative(spec, "leaseTransitions", &path, &mut errors);
        errors
    }

    fn has_generation(&self) -> bool {
        false
    }

    fn create_on_update(&self) -> bool {
        true
    }

    /// Two holders that both write blindly would both think they hold it.
    fn unconditional_update(&self) -> bool {
        false
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

    /// What was wrong before may stay.
    fn validate_change(&self, object: &Value, old: &Value) -> Vec<Error> {
        if object.get("subsets") == old.get("subsets") { Vec::new() } else { self.validate(object) }
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
            let path = list.index(i);
            check_ip(text(address, "ip"), &path.child("ip"), errors);
            match text(address, "hostname") {
                "" => {}
                name => check_name(name, &path.child("hostname"), names::check_dns1123_label, errors),
            }
            if let Some(node) = address.get("nodeName").and_then(Value::as_str) {
                check_name(node, &path.child("nodeName"), names::check_dns1123_subdomain, errors);
            }
            addresses::check_endpoint_ip(text(address, "ip"), &path.child("ip"), errors);
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
            errors.push(Error::invalid(&path.child("port"), number, "must be between 1 and 65535, inclusive"));
        }
        check_protocol(port, &path, errors);
        if let Some(protocol) = port.get("appProtocol").and_then(Value::as_str) {
            check_name(protocol, &path.child("appProtocol"), names::check_qualified_name, errors);
        }
    }
}

const ENDPOINTS_MAX: usize = 1000;
const ADDRESSES_MAX: usize = 100;
const PORTS_MAX: usize = 20_000;

pub(super) struct EndpointSlice;

impl Strategy for EndpointSlice {
    fn default(&self, object: &mut Value) {
        let Some(object) = object.as_object_mut() else { return };
        for port in each_mut(object, "ports") {
            fill(port, "name", "");
            fill(port, "protocol", "TCP");
        }
    }

    fn prepare_create(&self, _object: &mut Value) {}

    /// Labels count, too. Other changes are counted by the pipeline, from the old generation: never twice.
    fn prepare_update(&self, object: &mut Value, old: &Value) {
        let labels = |object: &Value| meta::labels(object).filter(|labels| !labels.is_empty()).cloned();
        if labels(object) != labels(old)
            && let Some(metadata) = meta::metadata_mut(object)
        {
            metadata.insert("generation".into(), (meta::generation(old) + 1).into());
        }
    }

    fn validate(&self, object: &Value) -> Vec<Error> {
        let (mut errors, root) = (Vec::new(), Path::new(""));
        check_required_one_of(object, "addressType", &["FQDN", "IPv4", "IPv6"], &root, &mut errors);
        let family = text(object, "addressType");
        let endpoints = items(object, "endpoints");
        let list = Path::new("endpoints");
        if endpoints.len() > ENDPOINTS_MAX {
            errors.push(Error::too_many(&list, endpoints.len(), ENDPOINTS_MAX));
            return errors;
        }
        for (i, endpoint) in endpoints.iter().enumerate() {
            let path = list.index(i);
            check_addresses(endpoint, family, &path.child("addresses"), &mut errors);
        }
        let ports = items(object, "ports");
        let list = Path::new("ports");
        if ports.len() > PORTS_MAX {
            errors.push(Error::too_many(&list, ports.len(), PORTS_MAX));
            return errors;
        }
        let mut seen = std::collections::HashSet::new();
        for (i, port) in ports.iter().enumerate() {
            let path = list.index(i);
            let name = text(port, "name");
            if !name.is_empty() {
                check_name(name, &path.child("name"), names::check_dns1123_label, &mut errors);
            }
            if !seen.insert(name) {
                errors.push(Error::duplicate(&path.child("name"), name));
            }
            check_protocol(port, &path, &mut errors);
            if let Some(number) = int(port, "port").filter(|p| !(1..=65535).contains(p)) {
                errors.push(Error::invalid(&path.child("port"), number, "must be between 1 and 65535, inclusive"));
            }
        }
        errors
    }

    fn validate_update(&self, object: &Value, old: &Value) -> Vec<Error> {
        let mut errors = Vec::new();
        check_immutable(object, old, "addressType", &Path::new(""), &mut errors);
        errors
    }
}

fn check_addresses(endpoint: &Value, family: &str, list: &Path<'_>, errors: &mut Vec<Error>) {
    let addresses = items(endpoint, "addresses");
    if addresses.is_empty() {
        errors.push(Error::required(list, "must contain at least 1 address"));
    } else if addresses.len() > ADDRESSES_MAX {
        errors.push(Error::too_many(list, addresses.len(), ADDRESSES_MAX));
    }
    for (i, address) in addresses.iter().enumerate() {
        let address = address.as_str().unwrap_or_default();
        let path = list.index(i);
        // Loopback addresses are Skiff's own pods: allowed, unlike in Kubernetes.
        match (family, address.parse::<IpAddr>()) {
            ("IPv4", Ok(IpAddr::V4(_))) | ("IPv6", Ok(IpAddr::V6(_))) => {}
            ("IPv4", _) => errors.push(Error::invalid(&path, address, "must be a valid IPv4 address")),
            ("IPv6", _) => errors.push(Error::invalid(&path, address, "must be a valid IPv6 address")),
            ("FQDN", _) => check_name(address, &path, names::check_dns1123_subdomain, errors),
            _ => {}
        }
    }
}
