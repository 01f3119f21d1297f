//! Volumes and their mounts.

use super::resources::check_quantity;
use crate::field::{Error, Path};
use crate::names;
use crate::strategies::json::{check_name, check_reference, check_required, int, items, present, text};
use serde_json::Value;
use std::collections::HashSet;

/// Checks `volumes` and returns their names.
pub(super) fn check_volumes<'a>(spec: &'a Value, path: &Path<'_>, errors: &mut Vec<Error>) -> HashSet<&'a str> {
    let mut seen = HashSet::new();
    for (i, volume) in items(spec, "volumes").iter().enumerate() {
        let path = path.index(i);
        let name_path = path.child("name");
        let name = text(volume, "name");
        if name.is_empty() {
            errors.push(Error::required(&name_path, ""));
        } else {
            check_name(name, &name_path, names::check_dns1123_label, errors);
            if !seen.insert(name) {
                errors.push(Error::duplicate(&name_path, name));
            }
        }
        check_source(volume, &path, errors);
    }
    seen
}

fn check_source(volume: &Value, path: &Path<'_>, errors: &mut Vec<Error>) {
    let sources: Vec<(&String, &Value)> =
        volume.as_object().into_iter().flatten().filter(|(name, value)| *name != "name" && !value.is_null()).collect();
    if sources.is_empty() {
        errors.push(Error::required(path, "must specify a volume type"));
    }
    for (i, (name, source)) in sources.iter().enumerate() {
        let path = path.child(name);
        if i > 0 {
            errors.push(Error::forbidden(&path, "may not specify more than 1 volume type"));
            continue;
        }
        check_one_source(name, source, &path, errors);
    }
}

fn check_one_source(kind: &str, source: &Value, path: &Path<'_>, errors: &mut Vec<Error>) {
    match kind {
        "emptyDir" => {
            if let Some(limit) = present(source, "sizeLimit") {
                check_quantity("storage", limit, &path.child("sizeLimit"), errors);
            }
        }
        "hostPath" => check_host_path(source, path, errors),
        "configMap" => {
            check_required(source, "name", path, errors);
            check_files(source, path, errors);
        }
        "secret" => {
            check_required(source, "secretName", path, errors);
            check_files(source, path, errors);
        }
        "downwardAPI" => {
            check_mode(source, "defaultMode", path, errors);
            check_downward_items(source, path, errors);
        }
        "projected" => check_projected(source, path, errors),
        "persistentVolumeClaim" => check_required(source, "claimName", path, errors),
        "nfs" => {
            check_required(source, "server", path, errors);
            check_required(source, "path", path, errors);
            if !text(source, "path").is_empty() && !text(source, "path").starts_with('/') {
                errors.push(Error::invalid(&path.child("path"), text(source, "path"), "must be an absolute path"));
            }
        }
        "csi" => check_required(source, "driver", path, errors),
        "ephemeral" if present(source, "volumeClaimTemplate").is_none() => {
            errors.push(Error::required(&path.child("volumeClaimTemplate"), ""));
        }
        "image" => check_required(source, "reference", path, errors),
        _ => {}
    }
}

const HOST_PATH_TYPES: &[&str] =
    &["", "BlockDevice", "CharDevice", "Directory", "DirectoryOrCreate", "File", "FileOrCreate", "Socket"];

fn check_host_path(source: &Value, path: &Path<'_>, errors: &mut Vec<Error>) {
    let place = text(source, "path");
    check_required(source, "path", path, errors);
    if place.split('/').any(|part| part == "..") {
        errors.push(Error::invalid(&path.child("path"), place, "must not contain '..'"));
    }
    let kind = text(source, "type");
    if !HOST_PATH_TYPES.contains(&kind) {
        errors.push(Error::not_supported(&path.child("type"), kind, HOST_PATH_TYPES));
    }
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
        let path = list.index(i);
        check_required(item, "key", &path, errors);
        check_required(item, "path", &path, errors);
        check_relative(text(item, "path"), &path.child("path"), errors);
        check_mode(item, "mode", &path, errors);
    }
}

fn check_downward_items(source: &Value, path: &Path<'_>, errors: &mut Vec<Error>) {
    let list = path.child("items");
    for (i, item) in items(source, "items").iter().enumerate() {
        let path = list.index(i);
        check_required(item, "path", &path, errors);
        check_relative(text(item, "path"), &path.child("path"), errors);
        let (field, resource) = (present(item, "fieldRef"), present(item, "resourceFieldRef"));
        match (field, resource) {
            (Some(_), Some(_)) => {
                errors.push(Error::invalid(
                    &path,
                    "resource",
                    "fieldRef and resourceFieldRef can not be specified simultaneously",
                ));
            }
            (None, None) => errors.push(Error::required(&path, "one of fieldRef and resourceFieldRef is required")),
            (Some(field), None) => check_required(field, "fieldPath", &path.child("fieldRef"), errors),
            (None, Some(resource)) => check_required(resource, "resource", &path.child("resourceFieldRef"), errors),
        }
        check_mode(item, "mode", &path, errors);
    }
}

fn check_projected(source: &Value, path: &Path<'_>, errors: &mut Vec<Error>) {
    check_mode(source, "defaultMode", path, errors);
    let list = path.child("sources");
    for (i, projection) in items(source, "sources").iter().enumerate() {
        let path = list.index(i);
        let mut count = 0;
        for (kind, source) in projection.as_object().into_iter().flatten().filter(|(_, v)| !v.is_null()) {
            count += 1;
            let path = path.child(kind);
            if count > 1 {
                errors.push(Error::forbidden(&path, "may not specify more than 1 volume type per source"));
                continue;
            }
            match kind.as_str() {
                "configMap" | "secret" => {
                    check_required(source, "name", &path, errors);
                    check_files(source, &path, errors);
                }
                "downwardAPI" => check_downward_items(source, &path, errors),
                "serviceAccountToken" => check_token(source, &path, errors),
                _ => {}
            }
        }
        if count == 0 {
            errors.push(Error::required(&path, "must specify a volume type per source"));
        }
    }
}

fn check_token(source: &Value, path: &Path<'_>, errors: &mut Vec<Error>) {
    const TEN_MINUTES: i64 = 600;
    match int(source, "expirationSeconds") {
        Some(seconds) if seconds < TEN_MINUTES => {
            let detail = "may not specify a duration less than 10 minutes";
            errors.push(Error::invalid(&path.child("expirationSeconds"), seconds, detail));
        }
        Some(seconds) if seconds > 1 << 32 => {
            let detail = "may not specify a duration larger than 2^32 seconds";
            errors.push(Error::invalid(&path.child("expirationSeconds"), seconds, detail));
        }
        _ => {}
    }
    check_required(source, "path", path, errors);
    check_relative(text(source, "path"), &path.child("path"), errors);
}

/// A path below the volume: relative and without `..`.
fn check_relative(place: &str, path: &Path<'_>, errors: &mut Vec<Error>) {
    if place.starts_with('/') {
        errors.push(Error::invalid(path, place, "must be a relative path"));
    }
    if place.split('/').any(|part| part == "..") {
        errors.push(Error::invalid(path, place, "must not contain '..'"));
    } else if place.starts_with("..") {
        errors.push(Error::invalid(path, place, "must not start with '..'"));
    }
}

/// `volumeMounts` of a container against the pod's volumes.
pub(super) fn check_mounts(container: &Value, volumes: &HashSet<&str>, path: &Path<'_>, errors: &mut Vec<Error>) {
    let mut paths = HashSet::new();
    for (i, mount) in items(container, "volumeMounts").iter().enumerate() {
        let path = path.index(i);
        let name = text(mount, "name");
        if name.is_empty() {
            errors.push(Error::required(&path.child("name"), ""));
        } else if !volumes.contains(name) {
            errors.push(Error::not_found(&path.child("name"), name));
        }
        let place = text(mount, "mountPath");
        if place.is_empty() {
            errors.push(Error::required(&path.child("mountPath"), ""));
        } else if !paths.insert(place) {
            errors.push(Error::invalid(&path.child("mountPath"), place, "must be unique"));
        }
        let (sub, expression) = (text(mount, "subPath"), text(mount, "subPathExpr"));
        if !sub.is_empty() {
            check_relative_mount(sub, &path.child("subPath"), errors);
        }
        if !expression.is_empty() {
            if !sub.is_empty() {
                errors.push(Error::invalid(
                    &path.child("subPathExpr"),
                    expression,
                    "subPathExpr and subPath are mutually exclusive",
                ));
            }
            check_relative_mount(expression, &path.child("subPathExpr"), errors);
        }
        let propagation = text(mount, "mountPropagation");
        if !matches!(propagation, "" | "None" | "HostToContainer" | "Bidirectional") {
            let supported = &["Bidirectional", "HostToContainer", "None"];
            errors.push(Error::not_supported(&path.child("mountPropagation"), propagation, supported));
        }
    }
}

fn check_relative_mount(place: &str, path: &Path<'_>, errors: &mut Vec<Error>) {
    if place.starts_with('/') {
        errors.push(Error::invalid(path, place, "must be a relative path"));
    }
    if place.split('/').any(|part| part == "..") {
        errors.push(Error::invalid(path, place, "must not contain '..'"));
    }
}

/// `imagePullSecrets` and the like: each names an object.
pub(super) fn check_references(list: &[Value], path: &Path<'_>, errors: &mut Vec<Error>) {
    for (i, reference) in list.iter().enumerate() {
        check_reference(reference, "name", &path.index(i), errors);
    }
}
