//! The rules of a pod spec as a whole, in Kubernetes' order (`ValidatePodSpec`), shared by Pods and templates.

use super::containers::{self, IsPod, check_host_network, check_trimmed_image};
use super::env::check_file_volumes;
use super::resources::{check_pod_level, check_requirements};
use super::scheduling::{check_affinity, check_gates, check_spread, check_tolerations};
use super::volumes::check_volumes;
use super::{annotations, security};
use crate::field::{Error, Path};
use crate::meta;
use crate::names;
use crate::strategies::internal;
use crate::strategies::json::{
    check_name, check_one_of, check_required, check_required_one_of, flag, int, items, map, present, text,
};
use serde_json::{Value, json};
use std::collections::{BTreeSet, HashSet};

const INT_MAX: i64 = i32::MAX as i64;

/// A pod: its annotations, its spec, and what only pods are held to (`validatePodMetadataAndSpec`).
pub(super) fn check_pod(pod: &Value, errors: &mut Vec<Error>) {
    let (spec, path) = (pod.get("spec").unwrap_or(&Value::Null), Path::new("spec"));
    annotations::check(pod, &Path::new("metadata.annotations"), errors);
    check_whole_spec(spec, Some(pod), &path, errors);
    if text(spec, "serviceAccountName").is_empty() {
        let volumes = path.child("volumes");
        for (i, volume) in items(spec, "volumes").iter().enumerate() {
            let volume_path = volumes.index(i);
            let list = volume_path.child("projected.sources");
            let sources = volume.get("projected").map_or(&[][..], |projected| items(projected, "sources"));
            for (i, _) in sources.iter().enumerate().filter(|(_, s)| present(s, "serviceAccountToken").is_some()) {
                let detail = "must not be specified when serviceAccountName is not set";
                errors.push(Error::forbidden(&list.index(i).child("serviceAccountToken"), detail));
            }
        }
    }
    for field in ["containers", "initContainers"] {
        let list = path.child(field);
        for (i, container) in items(spec, field).iter().enumerate() {
            check_trimmed_image(container, &list.index(i), errors);
        }
    }
}

/// A pod template: labels, annotations and spec (`ValidatePodTemplateSpec`).
pub(in crate::strategies) fn check_template(template: &Value, path: &Path<'_>, errors: &mut Vec<Error>) {
    let (marks, spec_path) = (path.child("annotations"), path.child("spec"));
    meta::validate_labels(meta::labels(template), &path.child("labels"), errors);
    meta::check_annotations(meta::annotations(template), &marks, errors);
    annotations::check(template, &marks, errors);
    let spec = template.get("spec").unwrap_or(&Value::Null);
    check_whole_spec(spec, None, &spec_path, errors);
    annotations::check_matches(template, &spec_path, errors);
    if !items(spec, "ephemeralContainers").is_empty() {
        let at = spec_path.child("ephemeralContainers");
        errors.push(Error::forbidden(&at, "ephemeral containers not allowed in pod template"));
    }
}

fn check_whole_spec(spec: &Value, pod: Option<&Value>, path: &Path<'_>, errors: &mut Vec<Error>) {
    let volumes = check_volumes(spec, pod.map_or("", meta::name), &path.child("volumes"), errors);
    check_claims(spec, pod, &path.child("resourceClaims"), errors);
    let claims: BTreeSet<&str> =
        items(spec, "resourceClaims").iter().map(|claim| text(claim, "name")).filter(|name| !name.is_empty()).collect();
    let held = containers::Pod { spec, volumes: &volumes, claims };
    containers::check_all(&held, path, errors);
    if let Some(resources) = present(spec, "resources") {
        check_pod_level(spec, resources, &path.child("resources"), errors);
    }
    check_host_network(spec, if pod.is_some() { IsPod::Yes } else { IsPod::No }, path, errors);
    check_required_one_of(spec, "restartPolicy", &["Always", "OnFailure", "Never"], path, errors);
    let dns = &["ClusterFirstWithHostNet", "ClusterFirst", "Default", "None"];
    check_required_one_of(spec, "dnsPolicy", dns, path, errors);
    meta::validate_labels(map(spec, "nodeSelector"), &path.child("nodeSelector"), errors);
    security::check_pod_context(spec, path, errors);
    if flag(spec, "shareProcessNamespace") && flag(spec, "hostPID") {
        let detail = "ShareProcessNamespace and HostPID cannot both be enabled";
        errors.push(Error::invalid(&path.child("shareProcessNamespace"), true, detail));
    }
    if let Some(affinity) = present(spec, "affinity") {
        check_affinity(affinity, &path.child("affinity"), errors);
    }
    check_dns_config(spec, &path.child("dnsConfig"), errors);
    check_gates(spec, path, errors);
    check_spread(spec, &path.child("topologySpreadConstraints"), errors);
    security::check_host_processes(spec, path, errors);
    security::check_host_users(spec, path, errors);
    check_hostname_override(spec, path, errors);
    check_scalars(spec, path, errors);
    if let Some(overhead) = present(spec, "overhead") {
        check_requirements(&json!({"limits": overhead}), &BTreeSet::new(), &path.child("overhead"), errors);
    }
    security::check_os(spec, path, errors);
    if let Some(group) = present(spec, "schedulingGroup") {
        check_scheduling_group(group, &path.child("schedulingGroup"), errors);
    }
    for list in ["initContainers", "containers", "ephemeralContainers"] {
        let at = path.child(list);
        for (i, container) in items(spec, list).iter().enumerate() {
            check_file_volumes(container, &volumes, &at.index(i), errors);
        }
    }
}

/// The single fields, in the order in which Kubernetes looks at them.
fn check_scalars(spec: &Value, path: &Path<'_>, errors: &mut Vec<Error>) {
    let named = |field: &str, check: fn(&str) -> Vec<String>, errors: &mut Vec<Error>| match text(spec, field) {
        "" => {}
        name => check_name(name, &path.child(field), check, errors),
    };
    named("serviceAccountName", names::check_dns1123_subdomain, errors);
    named("nodeName", names::check_dns1123_subdomain, errors);
    if let Some(seconds) = int(spec, "activeDeadlineSeconds").filter(|s| !(1..=INT_MAX).contains(s)) {
        let detail = format!("must be between 1 and {INT_MAX}, inclusive");
        errors.push(Error::invalid(&path.child("activeDeadlineSeconds"), seconds, detail));
    }
    named("hostname", names::check_dns1123_label, errors);
    named("subdomain", names::check_dns1123_label, errors);
    check_tolerations(items(spec, "tolerations"), &path.child("tolerations"), errors);
    check_host_aliases(spec, &path.child("hostAliases"), errors);
    named("priorityClassName", names::check_dns1123_subdomain, errors);
    if let Some(class) = spec.get("runtimeClassName").and_then(Value::as_str) {
        check_name(class, &path.child("runtimeClassName"), names::check_dns1123_subdomain, errors);
    }
    if spec.get("preemptionPolicy").is_some_and(Value::is_string) {
        check_required(spec, "preemptionPolicy", path, errors);
        check_one_of(spec, "preemptionPolicy", &["PreemptLowerPriority", "Never"], path, errors);
    }
}

/// Devices that the pod claims (`validatePodResourceClaims`).
fn check_claims(spec: &Value, pod: Option<&Value>, list: &Path<'_>, errors: &mut Vec<Error>) {
    let is_static = pod.is_some_and(|pod| meta::annotation(pod, annotations::MIRROR).is_some());
    let mut seen = HashSet::new();
    for (i, claim) in items(spec, "resourceClaims").iter().enumerate() {
        if is_static {
            errors.push(Error::forbidden(&Path::new(""), "static pods do not support resource claims"));
            continue;
        }
        let (path, name) = (list.index(i), text(claim, "name"));
        if name.is_empty() {
            errors.push(Error::required(&path.child("name"), ""));
        } else if !seen.insert(name) {
            errors.push(Error::duplicate(&path.child("name"), name));
        } else {
            check_name(name, &path.child("name"), names::check_dns1123_label, errors);
        }
        let sources = ["resourceClaimName", "resourceClaimTemplateName"];
        match sources.iter().filter(|field| present(claim, field).is_some()).count() {
            0 => {
                let detail = "must specify one of: `resourceClaimName`, `resourceClaimTemplateName`";
                errors.push(internal::invalid(&path, internal::RESOURCE_CLAIM, claim, detail));
            }
            1 => {}
            _ => {
                let detail = "at most one of `resourceClaimName` or `resourceClaimTemplateName` may be specified";
                errors.push(internal::invalid(&path, internal::RESOURCE_CLAIM, claim, detail));
            }
        }
        for field in sources {
            if let Some(name) = claim.get(field).and_then(Value::as_str) {
                check_name(name, &path.child(field), names::check_dns1123_subdomain, errors);
            }
        }
    }
}

/// The most servers, domains, and bytes of domains that libc looks at.
const NAMESERVERS_MAX: usize = 3;
const SEARCHES_MAX: usize = 32;
const SEARCH_BYTES_MAX: usize = 2048;

fn check_dns_config(spec: &Value, path: &Path<'_>, errors: &mut Vec<Error>) {
    let config = present(spec, "dnsConfig");
    let servers = config.map_or(&[][..], |c| items(c, "nameservers"));
    let list = path.child("nameservers");
    if text(spec, "dnsPolicy") == "None" {
        if config.is_none() {
            return errors.push(Error::required(path, "must provide `dnsConfig` when `dnsPolicy` is None"));
        }
        if servers.is_empty() {
            let detail = "must provide at least one DNS nameserver when `dnsPolicy` is None";
            return errors.push(Error::required(&list, detail));
        }
    }
    let Some(config) = config else { return };
    if servers.len() > NAMESERVERS_MAX {
        let detail = format!("must not have more than {NAMESERVERS_MAX} nameservers");
        errors.push(Error::invalid(&list, servers.to_vec(), detail));
    }
    for (i, server) in servers.iter().filter_map(Value::as_str).enumerate() {
        check_ip(server, &list.index(i), errors);
    }
    let (searches, list) = (items(config, "searches"), path.child("searches"));
    if searches.len() > SEARCHES_MAX {
        let detail = format!("must not have more than {SEARCHES_MAX} search paths");
        errors.push(Error::invalid(&list, searches.to_vec(), detail));
    }
    let bytes: usize = searches.iter().filter_map(Value::as_str).map(|s| s.len() + 1).sum();
    if bytes > SEARCH_BYTES_MAX + 1 {
        let detail =
            format!("must not have more than {SEARCH_BYTES_MAX} characters (including spaces) in the search list");
        errors.push(Error::invalid(&list, searches.to_vec(), detail));
    }
    for (i, search) in searches.iter().filter_map(Value::as_str).enumerate().filter(|(_, s)| *s != ".") {
        let search = search.strip_suffix('.').unwrap_or(search);
        check_name(search, &list.index(i), names::check_dns1123_subdomain_with_underscore, errors);
    }
    let list = path.child("options");
    for (i, _) in items(config, "options").iter().enumerate().filter(|(_, option)| text(option, "name").is_empty()) {
        errors.push(Error::required(&list.index(i), "must not be empty"));
    }
}

/// An address of either family.
pub(in crate::strategies) fn check_ip(address: &str, path: &Path<'_>, errors: &mut Vec<Error>) {
    if address.parse::<std::net::IpAddr>().is_err() {
        let detail = "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)";
        errors.push(Error::invalid(path, address, detail));
    }
}

fn check_host_aliases(spec: &Value, list: &Path<'_>, errors: &mut Vec<Error>) {
    for (i, alias) in items(spec, "hostAliases").iter().enumerate() {
        let path = list.index(i);
        check_ip(text(alias, "ip"), &path.child("ip"), errors);
        let hostnames = path.child("hostnames");
        for (i, name) in items(alias, "hostnames").iter().filter_map(Value::as_str).enumerate() {
            check_name(name, &hostnames.index(i), names::check_dns1123_subdomain, errors);
        }
    }
}

fn check_hostname_override(spec: &Value, path: &Path<'_>, errors: &mut Vec<Error>) {
    const MAX: usize = 64;
    let Some(name) = spec.get("hostnameOverride").and_then(Value::as_str) else { return };
    let at = path.child("hostnameOverride");
    for field in ["setHostnameAsFQDN", "hostNetwork"] {
        if flag(spec, field) {
            errors.push(Error::forbidden(&at, format!("may not be specified when {field} is true")));
        }
    }
    if name.len() > MAX {
        errors.push(Error::too_long(&at, MAX));
    }
    check_name(name, &at, names::check_dns1123_subdomain, errors);
}

fn check_scheduling_group(group: &Value, path: &Path<'_>, errors: &mut Vec<Error>) {
    let at = path.child("podGroupName");
    match group.get("podGroupName").and_then(Value::as_str) {
        None => errors.push(Error::invalid(&at, Value::Null, "must specify one of: `podGroupName`")),
        Some(name) => check_name(name, &at, names::check_dns1123_subdomain, errors),
    }
}
