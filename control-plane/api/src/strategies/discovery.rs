//! Lease and EndpointSlice.

use super::json::{check_immutable, check_name, check_required_one_of, each_mut, fill, int, items, text};
use crate::field::{Error, Path};
use crate::names;
use crate::strategy::Strategy;
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
    fn prepare_update(&self, _object: &mut Value, _old: &Value) {}

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
            super::pod::check_protocol(port, &path, &mut errors);
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
