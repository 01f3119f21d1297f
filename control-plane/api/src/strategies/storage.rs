//! What storage drivers write and what is said of them: VolumeAttachment, VolumeAttributesClass, CSIDriver, CSINode and
//! CSIStorageCapacity; and the topologies of a StorageClass (`pkg/apis/storage/validation`).

use super::internal;
use super::json::{check_name, check_non_negative, check_one_of, int, items, map, present, text};
use super::pod::{check_driver_name, check_label_selector, check_quantity};
use crate::field::{Error, Path};
use crate::{meta, names};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

/// The longest message of a failure and the most bytes of metadata.
const MESSAGE_MAX: usize = 1024;
const METADATA_MAX: usize = 256 * 1024;
const NODE_ID_MAX: usize = 256;
const TOKEN_SECONDS_MIN: i64 = 600;
const TOKEN_SECONDS_MAX: i64 = 1 << 32;
const UPDATE_PERIOD_MIN: i64 = 10;

fn spec(object: &Value) -> &Value {
    object.get("spec").unwrap_or(&Value::Null)
}

pub(super) fn volume_attachment(object: &Value) -> Vec<Error> {
    let (mut errors, path, spec) = (Vec::new(), Path::new("spec"), spec(object));
    let (attacher, at) = (text(spec, "attacher"), path.child("attacher"));
    if attacher.is_empty() {
        errors.push(Error::required(&at, ""));
    }
    let source = spec.get("source").unwrap_or(&Value::Null);
    let (at_source, volume) = (path.child("source"), source.get("persistentVolumeName").and_then(Value::as_str));
    let exactly = "must specify exactly one of inlineVolumeSpec and persistentVolumeName";
    match (volume, present(source, "inlineVolumeSpec")) {
        (None, None) => errors.push(Error::required(&at_source, exactly)),
        (Some(_), Some(_)) => errors.push(Error::forbidden(&at_source, exactly)),
        (Some(""), None) => {
            let detail = "must specify non empty persistentVolumeName";
            errors.push(Error::required(&at_source.child("persistentVolumeName"), detail));
        }
        _ => {}
    }
    check_name(text(spec, "nodeName"), &path.child("nodeName"), names::check_dns1123_subdomain, &mut errors);
    check_attachment_status(object, &mut errors);
    check_driver_name(attacher, &at, &mut errors);
    if let Some(name) = volume {
        check_name(name, &at_source.child("persistentVolumeName"), names::check_dns1123_subdomain, &mut errors);
    }
    errors
}

fn check_attachment_status(object: &Value, errors: &mut Vec<Error>) {
    let (path, Some(status)) = (Path::new("status"), present(object, "status")) else { return };
    let bytes = |map: &serde_json::Map<String, Value>| -> usize {
        map.iter().map(|(key, value)| key.len() + value.as_str().map_or(0, str::len)).sum()
    };
    if map(status, "attachmentMetadata").is_some_and(|map| bytes(map) > METADATA_MAX) {
        errors.push(Error::too_long(&path.child("attachmentMetadata"), METADATA_MAX));
    }
    for field in ["attachError", "detachError"] {
        let (Some(error), path) = (present(status, field), path.child(field)) else { continue };
        if text(error, "message").len() > MESSAGE_MAX {
            errors.push(Error::too_long(&path.child("message"), METADATA_MAX));
        }
        if let Some(code) = int(error, "errorCode").filter(|code| *code < 0) {
            let detail = "must be between 0 and 2147483647, inclusive";
            errors.push(Error::invalid(&path.child("errorCode"), code, detail));
        }
    }
}

pub(super) fn csi_driver(object: &Value) -> Vec<Error> {
    let (mut errors, path, spec) = (Vec::new(), Path::new("spec"), spec(object));
    check_one_of(spec, "fsGroupPolicy", &["File", "None", "ReadWriteOnceWithFSType"], &path, &mut errors);
    let (list, mut audiences) = (path.child("tokenRequests"), BTreeSet::new());
    for (i, request) in items(spec, "tokenRequests").iter().enumerate() {
        let (path, audience) = (list.index(i), text(request, "audience"));
        if !audiences.insert(audience) {
            errors.push(Error::duplicate(&path.child("audience"), audience));
            continue;
        }
        let Some(seconds) = int(request, "expirationSeconds") else { continue };
        let at = path.child("expirationSeconds");
        if seconds < TOKEN_SECONDS_MIN {
            errors.push(Error::invalid(&at, seconds, "may not specify a duration less than 10 minutes"));
        }
        if seconds > TOKEN_SECONDS_MAX {
            errors.push(Error::invalid(&at, seconds, "may not specify a duration larger than 2^32 seconds"));
        }
    }
    let modes = path.child("volumeLifecycleModes");
    for mode in items(spec, "volumeLifecycleModes").iter().filter_map(Value::as_str) {
        if !matches!(mode, "Persistent" | "Ephemeral") {
            errors.push(Error::not_supported(&modes, mode, &["Persistent", "Ephemeral"]));
        }
    }
    let period = "nodeAllocatableUpdatePeriodSeconds";
    if let Some(seconds) = int(spec, period).filter(|seconds| *seconds < UPDATE_PERIOD_MIN) {
        let detail = "must be greater than or equal to 10 seconds";
        errors.push(Error::invalid(&path.child(period), seconds, detail));
    }
    errors
}

pub(super) fn csi_node(object: &Value) -> Vec<Error> {
    let (mut errors, list, mut seen) = (Vec::new(), Path::new("spec.drivers"), BTreeSet::new());
    for (i, driver) in items(spec(object), "drivers").iter().enumerate() {
        let (path, name, id) = (list.index(i), text(driver, "name"), text(driver, "nodeID"));
        check_driver_name(name, &path.child("name"), &mut errors);
        if id.is_empty() {
            errors.push(Error::required(&path.child("nodeID"), ""));
        }
        if id.len() > NODE_ID_MAX {
            let detail = format!("must be {NODE_ID_MAX} characters or less");
            errors.push(Error::invalid(&path.child("nodeID"), id, detail));
        }
        if let Some(room) = present(driver, "allocatable") {
            check_non_negative(room, "count", &path.child("allocatable"), &mut errors);
        }
        if !seen.insert(name) {
            errors.push(Error::duplicate(&path.child("name"), name));
        }
        let mut keys = BTreeSet::new();
        for key in items(driver, "topologyKeys").iter().filter_map(Value::as_str) {
            if key.is_empty() {
                errors.push(Error::required(&path, ""));
            }
            if !keys.insert(key) {
                errors.push(Error::duplicate(&path, key));
            }
            check_name(key, &path, names::check_qualified_name, &mut errors);
        }
    }
    errors
}

/// A driver that stays on a node stays as it is, but for how much it may attach.
pub(super) fn csi_node_update(object: &Value, old: &Value) -> Vec<Error> {
    let (mut errors, path) = (Vec::new(), Path::new("spec.drivers"));
    let parts = |driver: &Value| ["nodeID", "topologyKeys"].map(|field| driver.get(field).cloned().unwrap_or_default());
    let mut before: BTreeMap<&str, &Value> = BTreeMap::new();
    for driver in items(spec(old), "drivers") {
        before.entry(text(driver, "name")).or_insert(driver);
    }
    for after in items(spec(object), "drivers") {
        if before.get(text(after, "name")).is_some_and(|before| parts(before) != parts(after)) {
            let mut shown = after.clone();
            shown.as_object_mut().map(|driver| driver.remove("allocatable"));
            errors.push(internal::invalid(&path, internal::CSI_NODE_DRIVER, &shown, meta::IMMUTABLE));
        }
    }
    errors
}

pub(super) fn storage_capacity(object: &Value) -> Vec<Error> {
    let mut errors = Vec::new();
    check_label_selector(object.get("nodeTopology"), &Path::new("nodeTopology"), &mut errors);
    let class = text(object, "storageClassName");
    check_name(class, &Path::new("storageClassName"), names::check_dns1123_subdomain, &mut errors);
    if let Some(capacity) = present(object, "capacity") {
        check_quantity("", capacity, &Path::new("capacity"), &mut errors);
    }
    errors
}

/// The topologies that a StorageClass allows: each says something, and no two the same.
pub(super) fn check_topologies(class: &Value, errors: &mut Vec<Error>) {
    let (list, terms) = (Path::new("allowedTopologies"), items(class, "allowedTopologies"));
    let mut seen: BTreeSet<BTreeMap<&str, BTreeSet<&str>>> =
        terms.first().map(|_| BTreeMap::new()).into_iter().collect();
    for (i, term) in terms.iter().enumerate() {
        let path = list.index(i);
        let (at, mut meant) = (path.child("matchLabelExpressions"), BTreeMap::new());
        for (i, requirement) in items(term, "matchLabelExpressions").iter().enumerate() {
            let (path, key) = (at.index(i), text(requirement, "key"));
            let (values, mut set) = (path.child("values"), BTreeSet::new());
            if items(requirement, "values").is_empty() {
                errors.push(Error::required(&values, ""));
            }
            for (i, value) in items(requirement, "values").iter().filter_map(Value::as_str).enumerate() {
                if !set.insert(value) {
                    errors.push(Error::duplicate(&values.index(i), value));
                }
            }
            check_name(key, &path.child("key"), names::check_qualified_name, errors);
            if meant.insert(key, set).is_some() {
                errors.push(Error::duplicate(&path.child("key"), key));
            }
        }
        if !seen.insert(meant) {
            errors.push(Error::duplicate(&at, ""));
        }
    }
}

/// Whether a driver's classes may be used at all: a name, and parameters that are not nothing.
pub(super) fn check_some_parameters(class: &Value, errors: &mut Vec<Error>) {
    if map(class, "parameters").is_none_or(serde_json::Map::is_empty) {
        errors.push(Error::required(&Path::new("parameters"), "must contain at least one key/value pair"));
    }
}
