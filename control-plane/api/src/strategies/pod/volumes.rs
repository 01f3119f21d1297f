//! Volumes (`ValidateVolumes`), and how containers mount them.

use super::env::{check_field_reference, check_resource_reference};
use super::sources::{Holder, check_source, outer_name};
use super::{check_claim_spec, check_label_selector};
use crate::field::{Error, Path};
use crate::strategies::json::{check_name, check_one_of, check_required, flag, int, items, map, present, text};
use crate::{meta, names};
use serde_json::Value;
use std::collections::{HashMap, HashSet};

/// The valid volumes of a pod, by name.
pub(super) type Volumes<'a> = HashMap<&'a str, &'a Value>;

/// Sources in the order in which Kubernetes looks for them: the second one found is one too many.
const SOURCES: &[&str] = &[
    "emptyDir",
    "hostPath",
    "gitRepo",
    "gcePersistentDisk",
    "awsElasticBlockStore",
    "secret",
    "nfs",
    "iscsi",
    "glusterfs",
    "flocker",
    "persistentVolumeClaim",
    "rbd",
    "cinder",
    "cephfs",
    "quobyte",
    "downwardAPI",
    "fc",
    "flexVolume",
    "configMap",
    "azureFile",
    "vsphereVolume",
    "photonPersistentDisk",
    "portworxVolume",
    "azureDisk",
    "storageos",
    "projected",
    "scaleIO",
    "csi",
    "ephemeral",
    "image",
];

/// Checks `volumes`; `pod` is the pod's name where it is known.
pub(super) fn check_volumes<'a>(spec: &'a Value, pod: &str, list: &Path<'_>, errors: &mut Vec<Error>) -> Volumes<'a> {
    let mut valid = Volumes::new();
    let volumes = items(spec, "volumes");
    let ephemeral = volumes.iter().filter(|volume| !pod.is_empty() && present(volume, "ephemeral").is_some());
    let own_claims: HashSet<String> = ephemeral.map(|volume| own_claim(pod, volume)).collect();
    for (i, volume) in volumes.iter().enumerate() {
        let path = list.index(i);
        let (name, before) = (text(volume, "name"), errors.len());
        check_sources(volume, pod, &path, errors);
        match name {
            "" => errors.push(Error::required(&path.child("name"), "")),
            name => check_name(name, &path.child("name"), names::check_dns1123_label, errors),
        }
        if valid.contains_key(name) {
            errors.push(Error::duplicate(&path.child("name"), name));
        }
        if errors.len() == before {
            valid.insert(name, volume);
        }
        let claim = volume.get("persistentVolumeClaim").map_or("", |claim| text(claim, "claimName"));
        if !claim.is_empty() && own_claims.contains(claim) {
            let detail = "must not reference a PVC that gets created for an ephemeral volume";
            errors.push(Error::invalid(&path.child("persistentVolumeClaim.claimName"), claim, detail));
        }
    }
    valid
}

/// The name of the claim that is made for an ephemeral volume.
fn own_claim(pod: &str, volume: &Value) -> String {
    format!("{pod}-{}", text(volume, "name"))
}

fn check_sources(volume: &Value, pod: &str, path: &Path<'_>, errors: &mut Vec<Error>) {
    let mut found = false;
    for kind in SOURCES {
        let Some(source) = present(volume, kind) else { continue };
        if found {
            errors.push(Error::forbidden(&path.child(outer_name(kind)), "may not specify more than 1 volume type"));
            continue;
        }
        found = true;
        check_one(kind, source, path, errors);
        if *kind == "ephemeral" && !pod.is_empty() && !text(volume, "name").is_empty() {
            let claim = own_claim(pod, volume);
            for message in names::check_dns1123_subdomain(&claim) {
                let detail = format!("PVC name {claim:?}: {message}");
                errors.push(Error::invalid(&path.child("name"), text(volume, "name"), detail));
            }
        }
        if *kind == "iscsi" && present(source, "initiatorName").is_some() {
            let (name, portal) = (text(volume, "name"), text(source, "targetPortal"));
            if name.len() + 1 + portal.len() > 64 {
                let detail = "Total length of <volume name>:<iscsi.targetPortal> must be under 64 characters if iscsi.initiatorName is specified.";
                errors.push(Error::invalid(&path.child("name"), name, detail));
            }
        }
    }
    if !found {
        errors.push(Error::required(path, "must specify a volume type"));
    }
}

fn check_one(kind: &str, source: &Value, volume: &Path<'_>, errors: &mut Vec<Error>) {
    let path = volume.child(kind);
    match kind {
        "emptyDir" => {
            let negative = |limit: &Value| crate::quantity::Quantity::from_value(limit).is_ok_and(|q| q.is_negative());
            if present(source, "sizeLimit").is_some_and(negative) {
                let detail = "SizeLimit field must be a valid resource quantity";
                errors.push(Error::forbidden(&path.child("sizeLimit"), detail));
            }
        }
        "configMap" => {
            check_required(source, "name", &path, errors);
            check_files(source, &path, errors);
        }
        "secret" => {
            check_required(source, "secretName", &path, errors);
            check_files(source, &path, errors);
        }
        "downwardAPI" => {
            check_mode(source, "defaultMode", &path, errors);
            for item in items(source, "items") {
                check_downward_file(item, &path, errors);
            }
        }
        "projected" => {
            check_mode(source, "defaultMode", &path, errors);
            check_projections(source, &path, errors);
        }
        "ephemeral" => check_ephemeral(source, &path, errors),
        "image" => {
            check_required(source, "reference", &path, errors);
            check_pull_policy(source, "pullPolicy", &path, errors);
        }
        other => check_source(other, source, Holder::Volume, volume, errors),
    }
}

/// Complains about a pull policy that is none.
pub(super) fn check_pull_policy(value: &Value, field: &str, path: &Path<'_>, errors: &mut Vec<Error>) {
    check_required(value, field, path, errors);
    check_one_of(value, field, &["Always", "IfNotPresent", "Never"], path, errors);
}

fn check_ephemeral(source: &Value, path: &Path<'_>, errors: &mut Vec<Error>) {
    let path = path.child("volumeClaimTemplate");
    let Some(template) = present(source, "volumeClaimTemplate") else {
        return errors.push(Error::required(&path, ""));
    };
    let metadata = path.child("metadata");
    meta::check_annotations(meta::annotations(template), &metadata.child("annotations"), errors);
    meta::validate_labels(meta::labels(template), &metadata.child("labels"), errors);
    for (field, value) in map(template, "metadata").into_iter().flatten() {
        if !matches!(field.as_str(), "annotations" | "labels" | "creationTimestamp") && !value.is_null() {
            errors.push(Error::forbidden(&metadata.child(field), "cannot be set"));
        }
    }
    check_claim_spec(template.get("spec").unwrap_or(&Value::Null), &path.child("spec"), errors);
}

fn check_mode(source: &Value, field: &str, path: &Path<'_>, errors: &mut Vec<Error>) {
    if let Some(mode) = int(source, field).filter(|m| !(0..=0o777).contains(m)) {
        let detail = "must be a number between 0 and 0777 (octal), both inclusive";
        errors.push(Error::invalid(&path.child(field), mode, detail));
    }
}

/// `defaultMode` and `items` of a ConfigMap or Secret volume.
fn check_files(source: &Value, path: &Path<'_>, errors: &mut Vec<Error>) {
    check_mode(source, "defaultMode", path, errors);
    let list = path.child("items");
    for (i, item) in items(source, "items").iter().enumerate() {
        check_file(item, &list.index(i), errors);
    }
}

fn check_file(item: &Value, path: &Path<'_>, errors: &mut Vec<Error>) {
    check_required(item, "key", path, errors);
    check_required(item, "path", path, errors);
    check_local(text(item, "path"), &path.child("path"), errors);
    check_mode(item, "mode", path, errors);
}

/// Fields that a file of the downward API may hold.
const FILE_FIELDS: &[&str] =
    &["metadata.annotations", "metadata.labels", "metadata.name", "metadata.namespace", "metadata.uid"];

/// One file of the downward API. As in Kubernetes, `path` is that of the volume, not of the file.
fn check_downward_file(file: &Value, path: &Path<'_>, errors: &mut Vec<Error>) {
    check_required(file, "path", path, errors);
    check_local(text(file, "path"), &path.child("path"), errors);
    match (present(file, "fieldRef"), present(file, "resourceFieldRef")) {
        (Some(field), resource) => {
            check_field_reference(field, FILE_FIELDS, &path.child("fieldRef"), errors);
            if resource.is_some() {
                let detail = "fieldRef and resourceFieldRef can not be specified simultaneously";
                errors.push(Error::invalid(path, "resource", detail));
            }
        }
        (None, Some(resource)) => {
            check_resource_reference(resource, true, &path.child("resourceFieldRef"), errors);
        }
        (None, None) => errors.push(Error::required(path, "one of fieldRef and resourceFieldRef is required")),
    }
    check_mode(file, "mode", path, errors);
}

/// The sources of a projected volume, whose paths must differ.
fn check_projections(volume: &Value, path: &Path<'_>, errors: &mut Vec<Error>) {
    let mut paths = HashSet::new();
    let list = path.child("sources");
    for (i, projection) in items(volume, "sources").iter().enumerate() {
        let at = list.index(i);
        let mut count = 0;
        for kind in
            ["secret", "configMap", "downwardAPI", "serviceAccountToken", "clusterTrustBundle", "podCertificate"]
        {
            let Some(source) = present(projection, kind) else { continue };
            count += 1;
            check_projection(kind, source, &at.child(kind), path, &mut paths, errors);
        }
        if count > 1 {
            errors.push(Error::forbidden(&at, "may not specify more than 1 volume type per source"));
        }
    }
}

fn check_projection<'a>(
    kind: &str,
    source: &'a Value,
    path: &Path<'_>,
    volume: &Path<'_>,
    paths: &mut HashSet<&'a str>,
    errors: &mut Vec<Error>,
) {
    let mut take = |place: &'a str, shown: &str, errors: &mut Vec<Error>| {
        if !place.is_empty() && !paths.insert(place) {
            errors.push(Error::invalid(volume, shown, "conflicting duplicate paths"));
        }
    };
    match kind {
        "secret" | "configMap" => {
            check_required(source, "name", path, errors);
            let list = path.child("items");
            for (i, item) in items(source, "items").iter().enumerate() {
                check_file(item, &list.index(i), errors);
                take(text(item, "path"), text(source, "name"), errors);
            }
        }
        "downwardAPI" => {
            for file in items(source, "items") {
                check_downward_file(file, path, errors);
                take(text(file, "path"), text(file, "path"), errors);
            }
        }
        "serviceAccountToken" => check_token(source, path, volume, errors),
        "clusterTrustBundle" => {
            check_bundle(source, path, errors);
            take(text(source, "path"), text(source, "path"), errors);
        }
        _ => {}
    }
}

fn check_token(source: &Value, path: &Path<'_>, volume: &Path<'_>, errors: &mut Vec<Error>) {
    const TEN_MINUTES: i64 = 600;
    let at = path.child("expirationSeconds");
    match int(source, "expirationSeconds") {
        None => errors.push(Error::required(&at, "")),
        Some(seconds) if seconds < TEN_MINUTES => {
            errors.push(Error::invalid(&at, seconds, "may not specify a duration less than 10 minutes"));
        }
        Some(seconds) if seconds > 1 << 32 => {
            errors.push(Error::invalid(&at, seconds, "may not specify a duration larger than 2^32 seconds"));
        }
        Some(_) => {}
    }
    match text(source, "path") {
        "" => errors.push(Error::required(&volume.child("path"), "")),
        place => check_local(place, &volume.child("path"), errors),
    }
}

fn check_bundle(source: &Value, path: &Path<'_>, errors: &mut Vec<Error>) {
    let part = |field: &str| source.get(field).and_then(Value::as_str);
    match (part("name"), part("signerName")) {
        (Some(_), Some(_)) => {
            errors.push(Error::invalid(path, source.clone(), "only one of name and signerName may be used"));
        }
        (Some(name), None) => {
            if name.is_empty() {
                errors.push(Error::required(&path.child("name"), "must be a valid object name"));
            }
            if let Some(selector) = present(source, "labelSelector") {
                let detail = "labelSelector must be unset if name is specified";
                errors.push(Error::invalid(&path.child("labelSelector"), selector.clone(), detail));
            }
        }
        (None, Some(signer)) => {
            if signer.is_empty() {
                errors.push(Error::required(&path.child("signerName"), "must be a valid signer name"));
            }
            check_label_selector(source.get("labelSelector"), &path.child("labelSelector"), errors);
        }
        (None, None) => errors.push(Error::required(path, "either name or signerName must be specified")),
    }
    check_required(source, "path", path, errors);
    check_local(text(source, "path"), &path.child("path"), errors);
}

/// A relative path without `..`.
pub(super) fn check_descending(place: &str, path: &Path<'_>, errors: &mut Vec<Error>) {
    if place.starts_with('/') {
        errors.push(Error::invalid(path, place, "must be a relative path"));
    }
    check_no_backsteps(place, path, errors);
}

pub(super) fn check_no_backsteps(place: &str, path: &Path<'_>, errors: &mut Vec<Error>) {
    if place.split('/').any(|part| part == "..") {
        errors.push(Error::invalid(path, place, "must not contain '..'"));
    }
}

/// A path of one's own below a volume: the agent's names begin with `..`.
fn check_local(place: &str, path: &Path<'_>, errors: &mut Vec<Error>) {
    check_descending(place, path, errors);
    if place.starts_with("..") && place != ".." && !place.starts_with("../") {
        errors.push(Error::invalid(path, place, "must not start with '..'"));
    }
}

/// `volumeMounts` of a container against the pod's volumes.
pub(super) fn check_mounts(container: &Value, volumes: &Volumes<'_>, list: &Path<'_>, errors: &mut Vec<Error>) {
    let (mut paths, devices) = (HashSet::new(), items(container, "volumeDevices"));
    let of_devices = |field: &str| -> HashSet<&str> { devices.iter().map(|device| text(device, field)).collect() };
    let (device_names, device_paths) = (of_devices("name"), of_devices("devicePath"));
    for (i, mount) in items(container, "volumeMounts").iter().enumerate() {
        let path = list.index(i);
        let (name, place) = (text(mount, "name"), text(mount, "mountPath"));
        check_required(mount, "name", &path, errors);
        if !volumes.contains_key(name) {
            errors.push(Error::not_found(&path.child("name"), name));
        }
        check_required(mount, "mountPath", &path, errors);
        if !paths.insert(place) {
            errors.push(Error::invalid(&path.child("mountPath"), place, "must be unique"));
        }
        if device_names.contains(name) {
            errors.push(Error::invalid(&path.child("name"), name, "must not already exist in volumeDevices"));
        }
        if device_paths.contains(place) {
            let detail = "must not already exist as a path in volumeDevices";
            errors.push(Error::invalid(&path.child("mountPath"), place, detail));
        }
        check_mount_options(container, mount, &path, list, errors);
    }
}

/// What a mount says beside what goes where. As in Kubernetes, most of these paths have no index.
fn check_mount_options(container: &Value, mount: &Value, path: &Path<'_>, list: &Path<'_>, errors: &mut Vec<Error>) {
    let (sub, expression) = (text(mount, "subPath"), text(mount, "subPathExpr"));
    if !sub.is_empty() {
        check_descending(sub, &list.child("subPath"), errors);
    }
    if !expression.is_empty() {
        if !sub.is_empty() {
            let detail = "subPathExpr and subPath are mutually exclusive";
            errors.push(Error::invalid(&path.child("subPathExpr"), expression, detail));
        }
        check_descending(expression, &list.child("subPathExpr"), errors);
    }
    let propagation = mount.get("mountPropagation").and_then(Value::as_str);
    if let Some(mode) = propagation {
        let (at, supported) = (list.child("mountPropagation"), &["Bidirectional", "HostToContainer", "None"]);
        if !supported.contains(&mode) {
            errors.push(Error::not_supported(&at, mode, supported));
        }
        let privileged = container.get("securityContext").is_some_and(|context| flag(context, "privileged"));
        if mode == "Bidirectional" && !privileged {
            let detail = "Bidirectional mount propagation is available only to privileged containers";
            errors.push(Error::forbidden(&at, detail));
        }
    }
    let at = list.child("recursiveReadOnly");
    match mount.get("recursiveReadOnly").and_then(Value::as_str) {
        None | Some("Disabled") => {}
        Some("Enabled" | "IfPossible") => {
            if !flag(mount, "readOnly") {
                errors.push(Error::forbidden(&at, "may only be specified when readOnly is true"));
            }
            if propagation.is_some_and(|mode| mode != "None") {
                let detail = "may only be specified when mountPropagation is None or not specified";
                errors.push(Error::forbidden(&at, detail));
            }
        }
        Some(other) => errors.push(Error::not_supported(&at, other, &["Disabled", "Enabled", "IfPossible"])),
    }
}

/// `volumeDevices` of a container against the pod's volumes.
pub(super) fn check_devices(container: &Value, volumes: &Volumes<'_>, list: &Path<'_>, errors: &mut Vec<Error>) {
    let (mut names, mut paths) = (HashSet::new(), HashSet::new());
    let mounts = items(container, "volumeMounts");
    let of_mounts = |field: &str| -> HashSet<&str> { mounts.iter().map(|mount| text(mount, field)).collect() };
    let (mount_names, mount_paths) = (of_mounts("name"), of_mounts("mountPath"));
    for (i, device) in items(container, "volumeDevices").iter().enumerate() {
        let path = list.index(i);
        let (name, place) = (text(device, "name"), text(device, "devicePath"));
        check_required(device, "name", &path, errors);
        if names.contains(name) {
            errors.push(Error::invalid(&path.child("name"), name, "must be unique"));
        }
        match volumes.get(name) {
            None => errors.push(Error::not_found(&path.child("name"), name)),
            Some(volume) => {
                if present(volume, "persistentVolumeClaim").or_else(|| present(volume, "ephemeral")).is_none() {
                    let detail = "can only use volume source type of PersistentVolumeClaim or Ephemeral for block mode";
                    errors.push(Error::invalid(&path.child("name"), name, detail));
                }
            }
        }
        check_required(device, "devicePath", &path, errors);
        if paths.contains(place) {
            errors.push(Error::invalid(&path.child("devicePath"), place, "must be unique"));
        }
        if place.split('/').any(|part| part == "..") {
            errors.push(Error::invalid(&path.child("devicePath"), place, "can not contain backsteps ('..')"));
        } else {
            paths.insert(place);
        }
        if mount_names.contains(name) {
            errors.push(Error::invalid(&path.child("name"), name, "must not already exist in volumeMounts"));
        }
        if mount_paths.contains(place) {
            let detail = "must not already exist as a path in volumeMounts";
            errors.push(Error::invalid(&path.child("devicePath"), place, detail));
        }
        if !name.is_empty() {
            names.insert(name);
        }
    }
}
