//! What a status of a pod may say (`ValidatePodStatusUpdate`).

use super::annotations;
use super::validate::check_ip;
use crate::field::{Error, Path};
use crate::names;
use crate::strategies::json::{check_name, int, items, text};
use serde_json::Value;
use std::collections::HashSet;

pub(super) fn check(pod: &Value, old: &Value) -> Vec<Error> {
    let mut errors = Vec::new();
    let path = Path::new("status");
    let (status, before) = (pod.get("status").unwrap_or(&Value::Null), old.get("status").unwrap_or(&Value::Null));
    annotations::check_update(pod, old, &mut errors);
    check_conditions(status, &path.child("conditions"), &mut errors);
    check_nomination(status, before, old, &path.child("nominatedNodeName"), &mut errors);
    let generation = int(status, "observedGeneration").unwrap_or(0);
    if generation < 0 {
        errors.push(Error::invalid(&path.child("observedGeneration"), generation, NEGATIVE));
    }
    check_claims(status, pod.get("spec").unwrap_or(&Value::Null), &path, &mut errors);
    check_addresses(status, before, "podIPs", &path.child("podIPs"), &mut errors);
    let hosts = items(status, "hostIPs");
    if let Some(first) = hosts.first().filter(|first| text(first, "ip") != text(status, "hostIP")) {
        let list = path.child("hostIPs");
        errors.push(Error::invalid(&list.index(0).child("ip"), text(first, "ip"), "must be equal to `hostIP`"));
    }
    check_addresses(status, before, "hostIPs", &path.child("hostIPs"), &mut errors);
    errors
}

const NEGATIVE: &str = "must be a non-negative integer";

fn check_conditions(status: &Value, list: &Path<'_>, errors: &mut Vec<Error>) {
    for (i, condition) in items(status, "conditions").iter().enumerate() {
        let path = list.index(i);
        let generation = int(condition, "observedGeneration").unwrap_or(0);
        if generation < 0 {
            errors.push(Error::invalid(&path.child("observedGeneration"), generation, NEGATIVE));
        }
        let kind = text(condition, "type");
        if !matches!(kind, "PodScheduled" | "Ready" | "Initialized") {
            check_name(kind, &path.child("Type"), names::check_qualified_name, errors);
        }
    }
}

/// The node that a pod waits for is one that it may still go to.
fn check_nomination(status: &Value, before: &Value, old: &Value, path: &Path<'_>, errors: &mut Vec<Error>) {
    let name = text(status, "nominatedNodeName");
    if name.is_empty() || name == text(before, "nominatedNodeName") {
        return;
    }
    check_name(name, path, names::check_dns1123_subdomain, errors);
    if old.get("spec").is_some_and(|spec| !text(spec, "nodeName").is_empty()) {
        errors.push(Error::forbidden(path, "may not be set on pods that are already bound to a node"));
    }
}

fn check_claims(status: &Value, spec: &Value, path: &Path<'_>, errors: &mut Vec<Error>) {
    let list = path.child("resourceClaimStatuses");
    let claims: HashSet<&str> = items(spec, "resourceClaims").iter().map(|known| text(known, "name")).collect();
    let mut seen = HashSet::new();
    for (i, claim) in items(status, "resourceClaimStatuses").iter().enumerate() {
        let (path, name) = (list.index(i), text(claim, "name"));
        if !claims.contains(name) {
            let detail = "must match the name of an entry in `spec.resourceClaims`";
            errors.push(Error::invalid(&path.child("name"), name, detail));
        }
        if !seen.insert(name) {
            errors.push(Error::duplicate(&path.child("name"), name));
        }
        if let Some(object) = claim.get("resourceClaimName").and_then(Value::as_str) {
            check_name(object, &path.child("resourceClaimName"), names::check_dns1123_subdomain, errors);
        }
    }
}

/// Addresses, of which those that were there before stay valid; of each family at most one.
fn check_addresses(status: &Value, before: &Value, field: &str, list: &Path<'_>, errors: &mut Vec<Error>) {
    let addresses = items(status, field);
    let before: HashSet<&str> = items(before, field).iter().map(|old| text(old, "ip")).collect();
    for (i, address) in addresses.iter().enumerate() {
        let ip = text(address, "ip");
        if !before.contains(ip) {
            check_ip(ip, &list.index(i), errors);
        }
    }
    if addresses.len() > 1 {
        let of_four = addresses.iter().filter(|address| !text(address, "ip").contains(':')).count();
        if addresses.len() > 2 || of_four != 1 {
            let detail = "may specify no more than one IP for each IP family";
            errors.push(Error::invalid(list, addresses.to_vec(), detail));
        }
    }
}
