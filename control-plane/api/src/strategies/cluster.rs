//! Namespace, Node, PersistentVolume, PersistentVolumeClaim, ServiceAccount,
//! PodTemplate.

use super::json::{
    Object, check_immutable, check_name, existing_mut, fill, fill_zero, flag, items, map, object_mut, present,
    spec_mut, text,
};
use super::pod::{
    canonical_list, check_label_selector, check_list, check_node_selector, check_quantity, check_template,
    default_claim_spec, default_sources,
};
use super::workloads::default_template;
use crate::field::{Error, Path};
use crate::meta;
use crate::names;
use crate::quantity::Quantity;
use crate::strategy::Strategy;
use serde_json::{Value, json};
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
        }
        errors
    }

    fn validate_status_update(&self, object: &Value, _old: &Value) -> Vec<Error> {
        let phase = object.get("status").map_or("", |s| text(s, "phase"));
        let deleting = meta::deletion_timestamp(object).is_some();
        let path = Path::new("status.Phase");
        match (phase, deleting) {
            ("Terminating", false) => {
                vec![Error::invalid(&path, phase, "may only be 'Terminating' if `deletionTimestamp` is not empty")]
            }
            ("Terminating", true) | (_, false) => Vec::new(),
            (_, true) => vec![Error::invalid(&path, phase, "may only be 'Active' if `deletionTimestamp` is empty")],
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

impl Strategy for Node {
    fn default(&self, object: &mut Value) {
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
        let mut seen = HashSet::new();
        let list = Path::new("spec.taints");
        for (i, taint) in items(spec(object), "taints").iter().enumerate() {
            let path = list.index(i);
            let (key, value, effect) = (text(taint, "key"), text(taint, "value"), text(taint, "effect"));
            check_name(key, &path.child("key"), names::check_qualified_name, &mut errors);
            check_name(value, &path.child("value"), names::check_label_value, &mut errors);
            match effect {
                "" => errors.push(Error::required(&path.child("effect"), "")),
                "NoSchedule" | "PreferNoSchedule" | "NoExecute" => {}
                other => {
                    let supported = &["NoSchedule", "PreferNoSchedule", "NoExecute"];
                    errors.push(Error::not_supported(&path.child("effect"), other, supported));
                }
            }
            if !seen.insert((key, effect)) {
                let mut error = Error::duplicate(&path, taint.clone());
                error.detail = "taints must be unique by key and effect pair".into();
                errors.push(error);
            }
        }
        for (i, cidr) in items(spec(object), "podCIDRs").iter().enumerate() {
            let cidr = cidr.as_str().unwrap_or_default();
            if !is_cidr(cidr) {
                let list = Path::new("spec.podCIDRs");
                errors.push(Error::invalid(
                    &list.index(i),
                    cidr,
                    "must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)",
                ));
            }
        }
        check_node_status(object, &mut errors);
        errors
    }

    fn validate_update(&self, object: &Value, old: &Value) -> Vec<Error> {
        let (mut errors, new, old, path) = (Vec::new(), spec(object), spec(old), Path::new("spec"));
        for field in ["podCIDRs", "providerID"] {
            if present(old, field).is_some_and(|v| *v != json!([]) && *v != json!(""))
                && new.get(field) != old.get(field)
            {
                let detail = "node updates may not change";
                let field_detail = match field {
                    "podCIDRs" => format!("{detail} podCIDR except from \"\" to valid"),
                    _ => format!("{detail} providerID except from \"\" to valid"),
                };
                errors.push(Error::forbidden(&path.child(field), field_detail));
            }
        }
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

fn check_node_status(object: &Value, errors: &mut Vec<Error>) {
    let Some(status) = object.get("status") else { return };
    let path = Path::new("status");
    check_list(map(status, "capacity"), &path.child("capacity"), errors);
    check_list(map(status, "allocatable"), &path.child("allocatable"), errors);
    let mut seen = HashSet::new();
    let list = path.child("addresses");
    for (i, address) in items(status, "addresses").iter().enumerate() {
        if !seen.insert((text(address, "type"), text(address, "address"))) {
            errors.push(Error::duplicate(&list.index(i), address.clone()));
        }
    }
}

pub(super) struct PersistentVolume;

impl Strategy for PersistentVolume {
    fn default(&self, object: &mut Value) {
        let Some(spec) = spec_mut(object) else { return };
        fill_zero(spec, "persistentVolumeReclaimPolicy", "Retain");
        fill(spec, "volumeMode", "Filesystem");
        if let Some(capacity) = existing_mut(spec, "capacity") {
            canonical_list(capacity);
        }
        default_sources(spec);
    }

    fn prepare_create(&self, object: &mut Value) {
        set_status(object, json!({"phase": "Pending"}));
    }

    fn validate(&self, object: &Value) -> Vec<Error> {
        const OTHER_FIELDS: &[&str] = &[
            "accessModes",
            "capacity",
            "claimRef",
            "mountOptions",
            "nodeAffinity",
            "persistentVolumeReclaimPolicy",
            "storageClassName",
            "volumeMode",
            "volumeAttributesClassName",
        ];
        let (mut errors, spec, path) = (Vec::new(), spec(object), Path::new("spec"));
        check_access_modes(spec, "", &path, &mut errors);
        match map(spec, "capacity").filter(|c| !c.is_empty()) {
            None => errors.push(Error::required(&path.child("capacity"), "")),
            Some(capacity) => check_capacity(capacity, &path.child("capacity"), &mut errors),
        }
        let policies = &["Delete", "Recycle", "Retain"];
        super::json::check_one_of(spec, "persistentVolumeReclaimPolicy", policies, &path, &mut errors);
        super::json::check_one_of(spec, "volumeMode", &["Block", "Filesystem"], &path, &mut errors);
        if let Some(selector) = spec.pointer("/nodeAffinity/required") {
            check_node_selector(selector, &path.child("nodeAffinity.required"), &mut errors);
        }
        let sources: Vec<&String> = map(spec, "capacity")
            .and(spec.as_object())
            .into_iter()
            .flatten()
            .filter(|(name, value)| !OTHER_FIELDS.contains(&name.as_str()) && !value.is_null())
            .map(|(name, _)| name)
            .collect();
        match sources.as_slice() {
            [] => errors.push(Error::required(&path, "must specify a volume type")),
            [_] => {}
            [_, more @ ..] => {
                for name in more {
                    errors.push(Error::forbidden(&path.child(name), "may not specify more than 1 volume type"));
                }
            }
        }
        errors
    }

    fn validate_update(&self, object: &Value, old: &Value) -> Vec<Error> {
        const MUTABLE: &[&str] = &[
            "accessModes",
            "capacity",
            "claimRef",
            "mountOptions",
            "nodeAffinity",
            "persistentVolumeReclaimPolicy",
            "storageClassName",
            "volumeAttributesClassName",
        ];
        let (mut errors, new, old, path) = (Vec::new(), spec(object), spec(old), Path::new("spec"));
        let (Some(a), Some(b)) = (new.as_object(), old.as_object()) else { return errors };
        let differs =
            |name: &String| !MUTABLE.contains(&name.as_str()) && name != "volumeMode" && a.get(name) != b.get(name);
        if a.keys().chain(b.keys()).any(differs) {
            let detail = "spec.persistentvolumesource is immutable after creation";
            errors.push(Error::forbidden(&path.child("persistentvolumesource"), detail));
        }
        check_immutable(new, old, "volumeMode", &path, &mut errors);
        errors
    }

    fn warnings(&self, _object: &Value) -> Vec<String> {
        super::workloads::no_controller("PersistentVolume")
    }

    fn has_generation(&self) -> bool {
        false
    }
}

/// `absent` is what is said when there is none.
fn check_access_modes(spec: &Value, absent: &str, path: &Path<'_>, errors: &mut Vec<Error>) {
    const MODES: &[&str] = &["ReadOnlyMany", "ReadWriteMany", "ReadWriteOnce", "ReadWriteOncePod"];
    let modes = items(spec, "accessModes");
    let path = path.child("accessModes");
    if modes.is_empty() {
        errors.push(Error::required(&path, absent));
    }
    for mode in modes.iter().filter_map(Value::as_str).filter(|m| !MODES.contains(m)) {
        errors.push(Error::not_supported(&path, mode, MODES));
    }
    if modes.len() > 1 && modes.iter().any(|m| m == "ReadWriteOncePod") {
        let detail = "may not use ReadWriteOncePod with other access modes";
        errors.push(Error::forbidden(&path, detail));
    }
}

fn check_capacity(capacity: &Object, path: &Path<'_>, errors: &mut Vec<Error>) {
    if !capacity.contains_key("storage") || capacity.len() > 1 {
        let names: Vec<&str> = capacity.keys().map(String::as_str).collect();
        errors.push(Error::not_supported(path, names.join(","), &["storage"]));
    }
    for (name, value) in capacity {
        check_positive(value, &path.key(name), errors);
    }
}

/// A quantity above zero.
fn check_positive(value: &Value, path: &Path<'_>, errors: &mut Vec<Error>) {
    if let Some(quantity) = check_quantity("storage", value, path, errors)
        && quantity.is_zero()
    {
        errors.push(Error::invalid(path, quantity.to_string(), "must be greater than zero"));
    }
}

pub(super) struct PersistentVolumeClaim;

impl Strategy for PersistentVolumeClaim {
    fn default(&self, object: &mut Value) {
        if let Some(spec) = spec_mut(object) {
            default_claim_spec(spec);
        }
    }

    fn prepare_create(&self, object: &mut Value) {
        set_status(object, json!({"phase": "Pending"}));
    }

    fn validate(&self, object: &Value) -> Vec<Error> {
        let (mut errors, spec, path) = (Vec::new(), spec(object), Path::new("spec"));
        check_access_modes(spec, "at least 1 access mode is required", &path, &mut errors);
        check_label_selector(spec.get("selector"), &path.child("selector"), &mut errors);
        super::json::check_one_of(spec, "volumeMode", &["Block", "Filesystem"], &path, &mut errors);
        let requests = path.child("resources.requests");
        match spec.pointer("/resources/requests/storage") {
            None => errors.push(Error::required(&path.child("resources").key("storage"), "")),
            Some(value) => check_positive(value, &requests.key("storage"), &mut errors),
        }
        errors
    }

    fn validate_update(&self, object: &Value, old: &Value) -> Vec<Error> {
        const MUTABLE: &[&str] = &["resources", "volumeAttributesClassName"];
        let (new, old, path) = (spec(object), spec(old), Path::new("spec"));
        let (Some(a), Some(b)) = (new.as_object(), old.as_object()) else { return Vec::new() };
        let differs = |name: &String| {
            // Binding fills the volume's name, and an admission plugin the class.
            let filled = matches!(name.as_str(), "volumeName" | "storageClassName") && !b.contains_key(name);
            !MUTABLE.contains(&name.as_str()) && !filled && a.get(name) != b.get(name)
        };
        if a.keys().chain(b.keys()).any(differs) {
            let detail = "spec is immutable after creation except resources.requests and volumeAttributesClassName for bound claims";
            return vec![Error::forbidden(&path, detail)];
        }
        let size =
            |spec: &Value| spec.pointer("/resources/requests/storage").and_then(|v| Quantity::from_value(v).ok());
        if size(new) < size(old) {
            let detail = "field can not be less than status.capacity";
            return vec![Error::forbidden(&path.child("resources.requests.storage"), detail)];
        }
        Vec::new()
    }

    fn warnings(&self, _object: &Value) -> Vec<String> {
        super::workloads::no_controller("PersistentVolumeClaim")
    }

    fn has_generation(&self) -> bool {
        false
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
