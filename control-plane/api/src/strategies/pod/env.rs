//! Environment variables, and references to a pod's own fields and amounts (`ValidateEnv`, `ValidateEnvFrom`).

use super::volumes::{Volumes, check_no_backsteps};
use crate::field::{Error, Path};
use crate::names;
use crate::quantity::Quantity;
use crate::strategies::json::{check_name, check_required, items, present, text};
use serde_json::Value;

/// Names of environment variables: printable ASCII without `=`.
fn check_env_name(name: &str) -> Vec<String> {
    let mut faults = Vec::new();
    if name.is_empty() {
        faults.push("environment variable name must be non-empty".into());
    }
    if !name.bytes().all(|b| (b' '..=b'~').contains(&b) && b != b'=') {
        faults.push(
            "a valid environment variable name must consist only of printable ASCII characters other than '='".into(),
        );
    }
    faults
}

pub(super) fn check_env(container: &Value, path: &Path<'_>, errors: &mut Vec<Error>) {
    let list = path.child("env");
    for (i, env) in items(container, "env").iter().enumerate() {
        let path = list.index(i);
        match text(env, "name") {
            "" => errors.push(Error::required(&path.child("name"), "")),
            name => check_name(name, &path.child("name"), check_env_name, errors),
        }
        if let Some(source) = present(env, "valueFrom") {
            check_env_source(env, source, &path.child("valueFrom"), errors);
        }
    }
    let list = path.child("envFrom");
    for (i, source) in items(container, "envFrom").iter().enumerate() {
        let path = list.index(i);
        match text(source, "prefix") {
            "" => {}
            prefix => check_name(prefix, &path.child("prefix"), check_env_name, errors),
        }
        let references = ["configMapRef", "secretRef"].map(|kind| (kind, present(source, kind)));
        let mut count = 0;
        for (kind, reference) in references.iter().filter_map(|(kind, r)| Some((*kind, (*r)?))) {
            count += 1;
            let path = path.child(kind);
            match text(reference, "name") {
                "" => errors.push(Error::required(&path.child("name"), "")),
                name => {
                    // The name may have a generated part to come: a dash at its end is no fault.
                    let masked = name.strip_suffix('-').map_or_else(|| name.to_owned(), |stem| format!("{stem}a"));
                    let faults = names::check_dns1123_subdomain(&masked);
                    errors.extend(faults.into_iter().map(|why| Error::invalid(&path.child("name"), name, why)));
                }
            }
        }
        // The path of the list, as in Kubernetes.
        match count {
            0 => errors.push(Error::invalid(&list, "", "must specify one of: `configMapRef` or `secretRef`")),
            1 => {}
            _ => errors.push(Error::invalid(&list, "", "may not have more than one field specified at a time")),
        }
    }
}

/// Fields that `env[].valueFrom.fieldRef` may name.
const ENV_FIELDS: &[&str] = &[
    "metadata.name",
    "metadata.namespace",
    "metadata.uid",
    "spec.nodeName",
    "spec.serviceAccountName",
    "status.hostIP",
    "status.hostIPs",
    "status.podIP",
    "status.podIPs",
];

fn check_env_source(env: &Value, source: &Value, path: &Path<'_>, errors: &mut Vec<Error>) {
    let mut count = 0;
    for kind in ["fieldRef", "resourceFieldRef", "configMapKeyRef", "secretKeyRef", "fileKeyRef"] {
        let Some(reference) = present(source, kind) else { continue };
        count += 1;
        let path = path.child(kind);
        match kind {
            "fieldRef" => check_field_reference(reference, ENV_FIELDS, &path, errors),
            "resourceFieldRef" => check_resource_reference(reference, false, &path, errors),
            "fileKeyRef" => check_file_reference(reference, &path, errors),
            _ => {
                check_name(text(reference, "name"), &path.child("name"), names::check_dns1123_subdomain, errors);
                match text(reference, "key") {
                    "" => errors.push(Error::required(&path.child("key"), "")),
                    key => check_name(key, &path.child("key"), names::check_config_map_key, errors),
                }
            }
        }
    }
    if count == 0 {
        let detail =
            "must specify one of: `fieldRef`, `resourceFieldRef`, `configMapKeyRef`, `secretKeyRef` or `fileKeyRef`";
        errors.push(Error::invalid(path, "", detail));
    } else if !text(env, "value").is_empty() {
        errors.push(Error::invalid(path, "", "may not be specified when `value` is not empty"));
    } else if count > 1 {
        errors.push(Error::invalid(path, "", "may not have more than one field specified at a time"));
    }
}

fn check_file_reference(reference: &Value, path: &Path<'_>, errors: &mut Vec<Error>) {
    match text(reference, "key") {
        "" => errors.push(Error::required(&path.child("key"), "")),
        key => check_name(key, &path.child("key"), check_env_name, errors),
    }
    match text(reference, "volumeName") {
        "" => errors.push(Error::required(&path.child("volumeName"), "")),
        name => check_name(name, &path.child("volumeName"), names::check_dns1123_label, errors),
    }
    match text(reference, "path") {
        "" => errors.push(Error::required(&path.child("path"), "")),
        place => check_no_backsteps(place, &path.child("path"), errors),
    }
}

/// Variables from files: the file's volume must be one that containers of the pod can have written to.
pub(super) fn check_file_volumes(container: &Value, volumes: &Volumes<'_>, path: &Path<'_>, errors: &mut Vec<Error>) {
    let list = path.child("env");
    for (i, env) in items(container, "env").iter().enumerate() {
        let Some(reference) = env.pointer("/valueFrom/fileKeyRef").filter(|r| !r.is_null()) else { continue };
        let (name, path) = (text(reference, "volumeName"), list.index(i));
        let at = path.child("valueFrom.fileKeyRef.volumeName");
        match volumes.get(name) {
            None => errors.push(Error::not_found(&at, name)),
            Some(volume) if present(volume, "emptyDir").is_none() => {
                errors.push(Error::invalid(&at, name, "referenced volume must be of type emptyDir"));
            }
            Some(_) => {}
        }
    }
}

/// The fields that can be named at all, by whatever has a `fieldRef`.
const KNOWN_FIELDS: &[&str] = &[
    "metadata.annotations",
    "metadata.labels",
    "metadata.name",
    "metadata.namespace",
    "metadata.uid",
    "spec.nodeName",
    "spec.restartPolicy",
    "spec.serviceAccountName",
    "spec.schedulerName",
    "status.phase",
    "status.hostIP",
    "status.hostIPs",
    "status.podIP",
    "status.podIPs",
    // Older names.
    "spec.host",
];

/// An `ObjectFieldSelector` that may name `supported` fields, one label or one annotation.
pub(super) fn check_field_reference(reference: &Value, supported: &[&str], path: &Path<'_>, errors: &mut Vec<Error>) {
    if text(reference, "apiVersion").is_empty() {
        return errors.push(Error::required(&path.child("apiVersion"), ""));
    }
    let (field, at) = (text(reference, "fieldPath"), path.child("fieldPath"));
    if field.is_empty() {
        return errors.push(Error::required(&at, ""));
    }
    let version = text(reference, "apiVersion");
    if version != "v1" {
        let detail = format!("error converting fieldPath: unsupported pod version: {version}");
        return errors.push(Error::invalid(&at, field, detail));
    }
    let subscript = field.strip_suffix("']").and_then(|rest| rest.split_once("['"));
    let base = subscript.map_or(field, |(base, _)| base);
    let known = match subscript {
        Some(_) => matches!(base, "metadata.annotations" | "metadata.labels"),
        None => KNOWN_FIELDS.contains(&field),
    };
    if !known {
        let detail = match subscript {
            Some(_) => format!("error converting fieldPath: field label does not support subscript: {field}"),
            None => format!("error converting fieldPath: field label not supported: {field}"),
        };
        return errors.push(Error::invalid(&at, field, detail));
    }
    match subscript {
        Some(("metadata.annotations", key)) => {
            check_name(&key.to_lowercase(), path, names::check_qualified_name, errors);
        }
        Some((_, key)) => check_name(key, path, names::check_qualified_name, errors),
        None if !supported.contains(&field) => errors.push(Error::not_supported(&at, field, supported)),
        None => {}
    }
}

const AMOUNTS: &[&str] = &[
    "limits.cpu",
    "limits.ephemeral-storage",
    "limits.memory",
    "requests.cpu",
    "requests.ephemeral-storage",
    "requests.memory",
];
const DIVISORS: &[&str] = &["1", "1k", "1M", "1G", "1T", "1P", "1E", "1Ki", "1Mi", "1Gi", "1Ti", "1Pi", "1Ei"];

/// A `ResourceFieldSelector`; one of a volume names the container.
pub(super) fn check_resource_reference(reference: &Value, volume: bool, path: &Path<'_>, errors: &mut Vec<Error>) {
    let resource = text(reference, "resource");
    let huge = resource.starts_with("requests.hugepages-") || resource.starts_with("limits.hugepages-");
    if volume && text(reference, "containerName").is_empty() {
        errors.push(Error::required(&path.child("containerName"), ""));
    } else if resource.is_empty() {
        check_required(reference, "resource", path, errors);
    } else if !AMOUNTS.contains(&resource) && !huge {
        errors.push(Error::not_supported(&path.child("resource"), resource, AMOUNTS));
    }
    let Some(divisor) = present(reference, "divisor").and_then(|d| Quantity::from_value(d).ok()) else { return };
    if divisor.is_zero() {
        return;
    }
    let divisor = divisor.to_string();
    let (allowed, what): (&[&str], &str) = match resource {
        "limits.cpu" | "requests.cpu" => (&["1m", "1"], "cpu"),
        "limits.memory" | "requests.memory" => (DIVISORS, "memory"),
        "limits.ephemeral-storage" | "requests.ephemeral-storage" => (DIVISORS, "local ephemeral storage"),
        _ if huge => (DIVISORS, "hugepages"),
        _ => return,
    };
    if !allowed.contains(&divisor.as_str()) {
        let list = if what == "cpu" { "1m and 1".to_owned() } else { DIVISORS.join(", ") };
        let detail = format!("only divisor's values {list} are supported with the {what} resource");
        errors.push(Error::invalid(&path.child("divisor"), resource, detail));
    }
}
