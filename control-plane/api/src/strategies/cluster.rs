//! Namespace, Node, ServiceAccount, PodTemplate.

use super::json::{check_name, existing_mut, fill, fill_zero, flag, items, map, object_mut, spec_mut, text};
use super::pod::{canonical_list, check_quantity, check_taints, check_template};
use super::workloads::default_template;
use crate::field::{Error, Path};
use crate::meta;
use crate::names;
use crate::strategy::Strategy;
use serde_json::{Map, Value, json};
use std::collections::HashSet;

fn spec(object: &Value) -> &Value {
    object.get("spec").unwrap_or(&Value::Null)
}

fn set_status(object: &mut Value, status: Value) {
    if let Some(map) = object.as_object_mut() {
        map.insert("status".into(), status);
    }
}

const NAMESPACE_FINALIZER: &str = "kubernetes";

pub(super) struct Namespace;

/// Every namespace carries its name as a label, so that selectors can pick it by name.
fn label_with_name(object: &mut Value) {
    let name = meta::name(object).to_owned();
    if name.is_empty() {
        return;
    }
    if let Some(labels) = meta::metadata_mut(object).and_then(|m| object_mut(m, "labels")) {
        labels.insert("kubernetes.io/metadata.name".into(), name.into());
    }
}

impl Strategy for Namespace {
    fn default(&self, object: &mut Value) {
        label_with_name(object);
        if let Some(status) = object.as_object_mut().and_then(|o| existing_mut(o, "status")) {
            fill_zero(status, "phase", "Active");
        }
    }

    fn prepare_create(&self, object: &mut Value) {
        label_with_name(object);
        set_status(object, json!({"phase": "Active"}));
        let Some(finalizers) = spec_mut(object).map(|s| s.entry("finalizers").or_insert_with(|| json!([]))) else {
            return;
        };
        if let Some(list) = finalizers.as_array_mut()
            && !list.iter().any(|f| f == NAMESPACE_FINALIZER)
        {
            list.push(NAMESPACE_FINALIZER.into());
        }
    }

    fn prepare_update(&self, object: &mut Value, old: &Value) {
        for field in ["spec", "status"] {
            crate::strategy::keep_from_old(object, old, field);
        }
    }

    fn validate(&self, object: &Value) -> Vec<Error> {
        let mut errors = Vec::new();
        let path = Path::new("spec.finalizers");
        for finalizer in items(spec(object), "finalizers").iter().filter_map(Value::as_str) {
            check_name(finalizer, &path, names::check_qualified_name, &mut errors);
            meta::check_plain_finalizer(finalizer, &path, &mut errors);
        }
        errors
    }

    fn validate_status_update(&self, object: &Value, _old: &Value) -> Vec<Error> {
        let phase = object.get("status").map_or("", |s| text(s, "phase"));
        let path = Path::new("status.Phase");
        match (phase, meta::deletion_timestamp(object).is_some()) {
            ("Active", false) | ("Terminating", true) => Vec::new(),
            (_, false) => vec![Error::invalid(&path, phase, "may only be 'Active' if `deletionTimestamp` is empty")],
            (_, true) => {
                vec![Error::invalid(&path, phase, "may only be 'Terminating' if `deletionTimestamp` is not empty")]
            }
        }
    }

    fn has_generation(&self) -> bool {
        false
    }

    fn field_names(&self) -> &'static [&'static str] {
        &["status.phase", "name"]
    }

    fn fields(&self, object: &Value) -> Vec<(&'static str, String)> {
        let phase = object.get("status").map_or("", |s| text(s, "phase"));
        vec![("status.phase", phase.into()), ("name", meta::name(object).into())]
    }
}

pub(super) struct Node;

/// `podCIDR` is the first of `podCIDRs`; where they differ, `podCIDR` counts, as where Kubernetes converts them.
fn mirror_pod_cidr(spec: &mut Map<String, Value>) {
    let one = spec.get("podCIDR").and_then(Value::as_str).filter(|cidr| !cidr.is_empty());
    let first = spec.get("podCIDRs").and_then(|all| all.get(0)).and_then(Value::as_str);
    match (one, first) {
        (Some(one), first) if first != Some(one) => {
            let all = json!([one]);
            spec.insert("podCIDRs".into(), all);
        }
        (None, Some(first)) => {
            let one = first.into();
            spec.insert("podCIDR".into(), one);
        }
        _ => {}
    }
}

impl Strategy for Node {
    fn default(&self, object: &mut Value) {
        if let Some(spec) = object.get_mut("spec").and_then(Value::as_object_mut) {
            mirror_pod_cidr(spec);
        }
        let Some(status) = object.as_object_mut().and_then(|o| existing_mut(o, "status")) else { return };
        for list in ["capacity", "allocatable"] {
            if let Some(list) = existing_mut(status, list) {
                canonical_list(list);
            }
        }
        if let Some(capacity) = status.get("capacity").filter(|c| !c.is_null()).cloned() {
            fill(status, "allocatable", capacity);
        }
    }

    /// A kubelet registers with its status.
    fn prepare_create(&self, _object: &mut Value) {}

    fn validate(&self, object: &Value) -> Vec<Error> {
        let mut errors = Vec::new();
        // Kubernetes puts the taints below the metadata.
        check_taints(items(spec(object), "taints"), &Path::new("metadata.taints"), &mut errors);
        check_node_resources(object, &mut errors);
        let swap = object.pointer("/status/nodeInfo/swap/capacity").and_then(Value::as_i64);
        if let Some(bytes) = swap.filter(|bytes| *bytes <= 0) {
            let path = Path::new("metadata.nodeSwapStatus.capacity");
            errors.push(Error::invalid(&path, bytes, "must be greater than zero"));
        }
        check_declared_features(object, &mut errors);
        check_pod_cidrs(object, &mut errors);
        errors
    }

    fn validate_update(&self, object: &Value, old: &Value) -> Vec<Error> {
        let (mut errors, old_spec, path) = (Vec::new(), spec(old), Path::new("spec"));
        check_node_addresses(object, &mut errors);
        let (new, before) = (items(spec(object), "podCIDRs"), items(old_spec, "podCIDRs"));
        if !before.is_empty() {
            let changed =
                if new.len() == before.len() { new.iter().zip(before).filter(|(a, b)| a != b).count() } else { 1 };
            for _ in 0..changed {
                let detail = "node updates may not change podCIDR except from \"\" to valid";
                errors.push(Error::forbidden(&path.child("podCIDRs"), detail));
            }
        }
        let provider = text(old_spec, "providerID");
        if !provider.is_empty() && text(spec(object), "providerID") != provider {
            let detail = "node updates may not change providerID except from \"\" to valid";
            errors.push(Error::forbidden(&path.child("providerID"), detail));
        }
        if text(spec(object), "externalID") != text(old_spec, "externalID") {
            errors.push(Error::forbidden(&path.child("externalID"), "may not be updated"));
        }
        errors
    }

    fn validate_status_update(&self, object: &Value, _old: &Value) -> Vec<Error> {
        let mut errors = Vec::new();
        check_node_resources(object, &mut errors);
        check_declared_features(object, &mut errors);
        check_node_addresses(object, &mut errors);
        errors
    }

    fn has_generation(&self) -> bool {
        false
    }

    fn field_names(&self) -> &'static [&'static str] {
        &["spec.unschedulable"]
    }

    fn fields(&self, object: &Value) -> Vec<(&'static str, String)> {
        vec![("spec.unschedulable", flag(spec(object), "unschedulable").to_string())]
    }
}

fn is_cidr(text: &str) -> bool {
    let Some((address, bits)) = text.split_once('/') else { return false };
    match (address.parse::<std::net::IpAddr>(), bits.parse::<u8>()) {
        (Ok(address), Ok(bits)) => bits <= if address.is_ipv4() { 32 } else { 128 },
        _ => false,
    }
}

fn check_pod_cidrs(object: &Value, errors: &mut Vec<Error>) {
    let (cidrs, list) = (items(spec(object), "podCIDRs"), Path::new("spec.podCIDRs"));
    for (i, cidr) in cidrs.iter().filter_map(Value::as_str).enumerate().filter(|(_, cidr)| !is_cidr(cidr)) {
        let detail = "must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)";
        errors.push(Error::invalid(&list.index(i), cidr, detail));
    }
    let of_four = cidrs.iter().filter_map(Value::as_str).filter(|cidr| !cidr.contains(':')).count();
    if cidrs.len() > 2 || (cidrs.len() == 2 && of_four != 1) {
        let detail = "may specify no more than one CIDR for each IP family";
        errors.push(Error::invalid(&list, cidrs.to_vec(), detail));
    }
}

fn check_node_resources(object: &Value, errors: &mut Vec<Error>) {
    let Some(status) = object.get("status") else { return };
    for list in ["capacity", "allocatable"] {
        let path = Path::new("status");
        let path = path.child(list);
        for (name, value) in map(status, list).into_iter().flatten() {
            check_quantity(name, value, &path.child(name), errors);
        }
    }
}

fn check_node_addresses(object: &Value, errors: &mut Vec<Error>) {
    let Some(status) = object.get("status") else { return };
    let mut seen = HashSet::new();
    let list = Path::new("status.addresses");
    for (i, address) in items(status, "addresses").iter().enumerate() {
        let (kind, place) = (text(address, "type"), text(address, "address"));
        if !seen.insert((kind, place)) {
            errors.push(Error::duplicate(&list.index(i), json!({"Type": kind, "Address": place})));
        }
    }
}

/// `status.declaredFeatures`: names such as `InPlaceResize/init`, sorted, each once.
fn check_declared_features(object: &Value, errors: &mut Vec<Error>) {
    let features: Vec<&str> = object
        .get("status")
        .map_or(&[][..], |s| items(s, "declaredFeatures"))
        .iter()
        .filter_map(Value::as_str)
        .collect();
    let list = Path::new("status.declaredFeatures");
    for (i, feature) in features.iter().enumerate() {
        let part = |part: &str| {
            part.starts_with(|c: char| c.is_ascii_alphabetic()) && part.bytes().all(|b| b.is_ascii_alphanumeric())
        };
        if feature.len() > names::SUBDOMAIN_MAX {
            let detail =
                format!("invalid feature name {feature:?}: must be no more than {} characters", names::SUBDOMAIN_MAX);
            errors.push(Error::invalid(&list.index(i), *feature, detail));
        } else if !feature.starts_with(|c: char| c.is_ascii_uppercase()) || !feature.split('/').all(part) {
            let detail = format!(
                "invalid feature name {feature:?}: must start with an UpperCamelCase segment, with subsequent segments separated by '/' (e.g., MyFeature or MyFeature/mySubFeature), and contain only alphanumeric characters and slashes"
            );
            errors.push(Error::invalid(&list.index(i), *feature, detail));
        }
        match features.get(i + 1) {
            Some(next) if next == feature => errors.push(Error::duplicate(&list.index(i + 1), *next)),
            Some(next) if next < feature => {
                errors.push(Error::invalid(&list.index(i + 1), *next, "list must be sorted alphabetically"));
            }
            _ => {}
        }
    }
}

pub(super) struct ServiceAccount;

impl Strategy for ServiceAccount {
    fn prepare_create(&self, _object: &mut Value) {}
    fn prepare_update(&self, _object: &mut Value, _old: &Value) {}

    fn has_generation(&self) -> bool {
        false
    }
}

pub(super) struct PodTemplate;

impl Strategy for PodTemplate {
    fn default(&self, object: &mut Value) {
        if let Some(object) = object.as_object_mut() {
            default_template(object);
        }
    }

    fn validate(&self, object: &Value) -> Vec<Error> {
        let mut errors = Vec::new();
        check_template(object.get("template").unwrap_or(&Value::Null), &Path::new("template"), &mut errors);
        errors
    }
}
