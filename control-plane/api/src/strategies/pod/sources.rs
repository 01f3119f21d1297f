//! Where a volume's bytes come from: the rules of the sources that pods and PersistentVolumes share
//! (`validateVolumeSource`, `ValidatePersistentVolumeSpec`). What exists of them in Skiff is the agent's business.

use super::volumes::{check_descending, check_no_backsteps};
use crate::field::{Error, Path};
use crate::names;
use crate::strategies::json::{check_name, check_required, flag, int, items, map, present, text};
use serde_json::Value;

/// Which kind of object a source stands in: a few rules differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::strategies) enum Holder<'a> {
    Volume,
    /// With the PersistentVolume's name.
    Persistent(&'a str),
}

/// (source, the fields that it must have)
const REQUIRED: &[(&str, &[&str])] = &[
    ("gitRepo", &["repository"]),
    ("gcePersistentDisk", &["pdName"]),
    ("awsElasticBlockStore", &["volumeID"]),
    ("glusterfs", &["endpoints", "path"]),
    ("rbd", &["monitors", "image"]),
    ("cinder", &["volumeID"]),
    ("cephfs", &["monitors"]),
    ("flexVolume", &["driver"]),
    ("azureFile", &["secretName", "shareName"]),
    ("vsphereVolume", &["volumePath"]),
    ("photonPersistentDisk", &["pdID"]),
    ("portworxVolume", &["volumeID"]),
    ("scaleIO", &["gateway", "system", "volumeName"]),
    ("azureDisk", &["diskName", "diskURI"]),
    ("persistentVolumeClaim", &["claimName"]),
];

/// The name that Kubernetes' messages give a source's path, where it is not its own.
fn inner_name(source: &str) -> &str {
    if source == "gcePersistentDisk" { "persistentDisk" } else { source }
}

/// The name in "may not specify more than 1 volume type", where it is not its own either.
pub(in crate::strategies) fn outer_name(source: &str) -> &str {
    match source {
        "cephfs" => "cephFS",
        "downwardAPI" => "downwarAPI",
        other => other,
    }
}

/// Checks one source, at `path` of the volume or of the PersistentVolume's spec.
pub(in crate::strategies) fn check_source(
    kind: &str,
    source: &Value,
    holder: Holder<'_>,
    path: &Path<'_>,
    errors: &mut Vec<Error>,
) {
    let path = path.child(inner_name(kind));
    if let Some((_, fields)) = REQUIRED.iter().find(|(name, _)| *name == kind) {
        for field in *fields {
            if text(source, field).is_empty() && items(source, field).is_empty() {
                errors.push(Error::required(&path.child(field), ""));
            }
        }
    }
    match kind {
        "hostPath" => check_host_path(source, &path, errors),
        "gitRepo" => check_descending(text(source, "directory"), &path.child("directory"), errors),
        "gcePersistentDisk" | "awsElasticBlockStore" => {
            check_between(source, "partition", 0, 255, "must be between 1 and 255, inclusive", &path, errors);
        }
        "nfs" => check_nfs(source, &path, errors),
        "iscsi" => check_iscsi(source, holder, &path, errors),
        "fc" => check_fc(source, &path, errors),
        "flocker" => check_flocker(source, &path, errors),
        "quobyte" => check_quobyte(source, &path, errors),
        "cinder" => check_secret_reference(source, holder, &path, errors),
        "flexVolume" => check_flex_options(source, &path, errors),
        "azureDisk" => check_azure_disk(source, &path, errors),
        "storageos" => check_storage_os(source, holder, &path, errors),
        "local" => check_local(source, &path, errors),
        "csi" => check_csi(source, holder, &path, errors),
        "azureFile" if source.get("secretNamespace").is_some_and(|name| *name == "") => {
            errors.push(Error::required(&path.child("secretNamespace"), ""));
        }
        "glusterfs" => check_gluster_namespace(source, &path, errors),
        _ => {}
    }
}

fn check_between(
    source: &Value,
    field: &str,
    low: i64,
    high: i64,
    detail: &str,
    path: &Path<'_>,
    errors: &mut Vec<Error>,
) {
    if let Some(number) = int(source, field).filter(|number| !(low..=high).contains(number)) {
        errors.push(Error::invalid(&path.child(field), number, detail));
    }
}

const HOST_PATH_TYPES: &[&str] =
    &["", "BlockDevice", "CharDevice", "Directory", "DirectoryOrCreate", "File", "FileOrCreate", "Socket"];

fn check_host_path(source: &Value, path: &Path<'_>, errors: &mut Vec<Error>) {
    let place = text(source, "path");
    if place.is_empty() {
        return errors.push(Error::required(&path.child("path"), ""));
    }
    check_no_backsteps(place, &path.child("path"), errors);
    let kind = text(source, "type");
    if !HOST_PATH_TYPES.contains(&kind) {
        errors.push(Error::not_supported(&path.child("type"), kind, HOST_PATH_TYPES));
    }
}

fn check_local(source: &Value, path: &Path<'_>, errors: &mut Vec<Error>) {
    match text(source, "path") {
        "" => errors.push(Error::required(&path.child("path"), "")),
        place => check_no_backsteps(place, &path.child("path"), errors),
    }
}

fn check_nfs(source: &Value, path: &Path<'_>, errors: &mut Vec<Error>) {
    check_required(source, "server", path, errors);
    check_required(source, "path", path, errors);
    let place = text(source, "path");
    if !place.starts_with('/') {
        errors.push(Error::invalid(&path.child("path"), place, "must be an absolute path"));
    }
}

/// Whether a text is an iSCSI qualified name, as far as Kubernetes looks.
fn iscsi_fault(name: &str) -> Option<&'static str> {
    let hex = |rest: &str, length: usize| rest.len() == length && rest.bytes().all(|b| b.is_ascii_alphanumeric());
    let well_formed = match name.get(..3) {
        Some("iqn") => is_iqn(name),
        Some("eui") => hex(name.get(4..).unwrap_or_default(), 16),
        Some("naa") => hex(name.get(4..).unwrap_or_default(), 32),
        _ => return Some("must be valid format starting with iqn, eui, or naa"),
    };
    (!well_formed).then_some("must be valid format")
}

/// `iqn.YYYY-MM.naming-authority:unique`.
fn is_iqn(name: &str) -> bool {
    let Some((authority, unique)) = name.strip_prefix("iqn.").and_then(|rest| rest.split_once(':')) else {
        return false;
    };
    let bytes = authority.as_bytes();
    let dated = bytes.len() > 8
        && bytes[..4].iter().all(u8::is_ascii_digit)
        && bytes[4] == b'-'
        && bytes[5..7].iter().all(u8::is_ascii_digit)
        && bytes[7] == b'.';
    dated
        && bytes[8..].iter().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.'))
        && !unique.is_empty()
        && !unique.contains(|c: char| ",;*&$|".contains(c) || c.is_whitespace())
}

fn check_iscsi(source: &Value, holder: Holder<'_>, path: &Path<'_>, errors: &mut Vec<Error>) {
    check_required(source, "targetPortal", path, errors);
    match text(source, "iqn") {
        "" => errors.push(Error::required(&path.child("iqn"), "")),
        name => {
            errors.extend(iscsi_fault(name).map(|fault| Error::invalid(&path.child("iqn"), name, fault)));
        }
    }
    check_between(source, "lun", 0, 255, "must be between 0 and 255, inclusive", path, errors);
    let secret = present(source, "secretRef");
    if (flag(source, "chapAuthDiscovery") || flag(source, "chapAuthSession")) && secret.is_none() {
        errors.push(Error::required(&path.child("secretRef"), ""));
    }
    if let (Holder::Persistent(_), Some(secret)) = (holder, secret) {
        check_required(secret, "name", &path.child("secretRef"), errors);
    }
    if let Some(name) = source.get("initiatorName").and_then(Value::as_str)
        && let Some(fault) = iscsi_fault(name)
    {
        errors.push(Error::invalid(&path.child("initiatorname"), name, fault));
    }
}

fn check_fc(source: &Value, path: &Path<'_>, errors: &mut Vec<Error>) {
    let (targets, wwids) = (items(source, "targetWWNs"), items(source, "wwids"));
    let at = path.child("targetWWNs");
    match (targets.is_empty(), wwids.is_empty()) {
        (true, true) => {
            errors.push(Error::required(&at, "must specify either targetWWNs or wwids, but not both"));
        }
        (false, false) => {
            let detail = "targetWWNs and wwids can not be specified simultaneously";
            errors.push(Error::invalid(&at, targets.to_vec(), detail));
        }
        _ => {}
    }
    if !targets.is_empty() {
        if int(source, "lun").is_none() {
            errors.push(Error::required(&path.child("lun"), "lun is required if targetWWNs is specified"));
        }
        check_between(source, "lun", 0, 255, "must be between 0 and 255, inclusive", path, errors);
    }
}

fn check_flocker(source: &Value, path: &Path<'_>, errors: &mut Vec<Error>) {
    let (name, uuid) = (text(source, "datasetName"), text(source, "datasetUUID"));
    if name.is_empty() && uuid.is_empty() {
        errors.push(Error::required(path, "one of datasetName and datasetUUID is required"));
    }
    if !name.is_empty() && !uuid.is_empty() {
        let detail = "datasetName and datasetUUID can not be specified simultaneously";
        errors.push(Error::invalid(path, "resource", detail));
    }
    if name.contains('/') {
        errors.push(Error::invalid(&path.child("datasetName"), name, "must not contain '/'"));
    }
}

fn check_quobyte(source: &Value, path: &Path<'_>, errors: &mut Vec<Error>) {
    const PAIRS: &str = "must be a host:port pair or multiple pairs separated by commas";
    let registry = text(source, "registry");
    if registry.is_empty() {
        errors.push(Error::required(&path.child("registry"), PAIRS));
    } else if text(source, "tenant").len() >= 65 {
        let detail = "must be a UUID and may not exceed a length of 64 characters";
        errors.push(Error::required(&path.child("tenant"), detail));
    } else {
        for _ in registry.split(',').filter(|pair| pair.rsplit_once(':').is_none()) {
            errors.push(Error::invalid(&path.child("registry"), registry, PAIRS));
        }
    }
    check_required(source, "volume", path, errors);
}

/// A `secretRef`, which in a PersistentVolume names the Secret's namespace too.
fn check_secret_reference(source: &Value, holder: Holder<'_>, path: &Path<'_>, errors: &mut Vec<Error>) {
    let Some(secret) = present(source, "secretRef") else { return };
    let path = path.child("secretRef");
    check_required(secret, "name", &path, errors);
    if matches!(holder, Holder::Persistent(_)) {
        check_required(secret, "namespace", &path, errors);
    }
}

fn check_flex_options(source: &Value, path: &Path<'_>, errors: &mut Vec<Error>) {
    let options = path.child("options");
    for (key, _) in map(source, "options").into_iter().flatten() {
        let namespace = key.split_once('/').map_or(key.as_str(), |(namespace, _)| namespace);
        let normalized = format!(".{}", namespace.to_lowercase());
        if normalized.ends_with(".kubernetes.io") || normalized.ends_with(".k8s.io") {
            let detail = "kubernetes.io and k8s.io namespaces are reserved";
            errors.push(Error::invalid(&options.key(key), key.as_str(), detail));
        }
    }
}

fn check_azure_disk(source: &Value, path: &Path<'_>, errors: &mut Vec<Error>) {
    const MANAGED: &str =
        "/subscriptions/{sub-id}/resourcegroups/{group-name}/providers/microsoft.compute/disks/{disk-id}";
    const BLOB: &str = "https://{account-name}.blob.core.windows.net/{container-name}/{disk-name}.vhd";
    let enums: [(&str, &[&str]); 2] =
        [("cachingMode", &["None", "ReadOnly", "ReadWrite"]), ("kind", &["Dedicated", "Managed", "Shared"])];
    for (field, supported) in enums {
        if let Some(value) = source.get(field).and_then(Value::as_str).filter(|value| !supported.contains(value)) {
            errors.push(Error::not_supported(&path.child(field), value, supported));
        }
    }
    let uri = text(source, "diskURI");
    match source.get("kind").and_then(Value::as_str) {
        Some("Managed") if !uri.starts_with("/subscriptions/") => {
            errors.push(Error::not_supported(&path.child("diskURI"), uri, &[MANAGED]));
        }
        Some(kind) if kind != "Managed" && !uri.starts_with("https://") => {
            errors.push(Error::not_supported(&path.child("diskURI"), uri, &[BLOB]));
        }
        _ => {}
    }
}

fn check_storage_os(source: &Value, holder: Holder<'_>, path: &Path<'_>, errors: &mut Vec<Error>) {
    match text(source, "volumeName") {
        "" => errors.push(Error::required(&path.child("volumeName"), "")),
        name => check_name(name, &path.child("volumeName"), names::check_dns1123_label, errors),
    }
    match text(source, "volumeNamespace") {
        "" => {}
        name => check_name(name, &path.child("volumeNamespace"), names::check_dns1123_label, errors),
    }
    check_secret_reference(source, holder, path, errors);
}

fn check_gluster_namespace(source: &Value, path: &Path<'_>, errors: &mut Vec<Error>) {
    let at = path.child("endpointsNamespace");
    match source.get("endpointsNamespace").and_then(Value::as_str) {
        None => {}
        Some("") => {
            let detail = "if the endpointnamespace is set, it must be a valid namespace name";
            errors.push(Error::invalid(&at, "", detail));
        }
        Some(name) => check_name(name, &at, names::check_dns1123_label, errors),
    }
}

/// The longest name of a CSI driver, in bytes.
const DRIVER_MAX: usize = 63;

/// The name of a CSI driver: a DNS subdomain whose case does not matter.
pub(in crate::strategies) fn check_driver_name(name: &str, path: &Path<'_>, errors: &mut Vec<Error>) {
    if name.is_empty() {
        errors.push(Error::required(path, ""));
    }
    if name.len() > DRIVER_MAX {
        errors.push(Error::too_long(path, DRIVER_MAX));
    }
    let faults = names::check_dns1123_subdomain(&name.to_lowercase());
    errors.extend(faults.into_iter().map(|fault| Error::invalid(path, name, fault)));
}

fn check_csi(source: &Value, holder: Holder<'_>, path: &Path<'_>, errors: &mut Vec<Error>) {
    check_driver_name(text(source, "driver"), &path.child("driver"), errors);
    if holder == Holder::Volume {
        if let Some(secret) = present(source, "nodePublishSecretRef") {
            match text(secret, "name") {
                "" => errors.push(Error::required(&path.child("nodePublishSecretRef.name"), "")),
                name => check_name(name, &path.child("name"), names::check_dns1123_subdomain, errors),
            }
        }
        return;
    }
    check_required(source, "volumeHandle", path, errors);
    for field in
        ["controllerPublishSecretRef", "controllerExpandSecretRef", "nodePublishSecretRef", "nodeExpandSecretRef"]
    {
        let Some(secret) = present(source, field) else { continue };
        let path = path.child(field);
        match text(secret, "name") {
            "" => errors.push(Error::required(&path.child("name"), "")),
            name => check_name(name, &path.child("name"), names::check_dns1123_subdomain, errors),
        }
        match text(secret, "namespace") {
            "" => errors.push(Error::required(&path.child("namespace"), "")),
            name => check_name(name, &path.child("namespace"), names::check_dns1123_label, errors),
        }
    }
}
