//! Containers: names, images, ports, environment, probes and lifecycle hooks.

use super::resources::check_requirements;
use super::volumes::check_mounts;
use crate::field::{Error, Path};
use crate::names;
use crate::strategies::json::{
    check_name, check_non_negative, check_one_of, check_required, flag, int, items, map, present, text,
};
use serde_json::Value;
use std::collections::HashSet;

/// Which list of the pod spec a container stands in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Role {
    Init,
    Main,
    Ephemeral,
}

/// Checks all container lists of a pod spec.
pub(super) fn check_all(spec: &Value, volumes: &HashSet<&str>, path: &Path<'_>, errors: &mut Vec<Error>) {
    if items(spec, "containers").is_empty() {
        errors.push(Error::required(&path.child("containers"), ""));
    }
    let mut seen = HashSet::new();
    let host_network = flag(spec, "hostNetwork");
    for (field, role) in
        [("containers", Role::Main), ("initContainers", Role::Init), ("ephemeralContainers", Role::Ephemeral)]
    {
        let list = path.child(field);
        for (i, container) in items(spec, field).iter().enumerate() {
            let path = list.index(i);
            let name = text(container, "name");
            if name.is_empty() {
                errors.push(Error::required(&path.child("name"), ""));
            } else {
                check_name(name, &path.child("name"), names::check_dns1123_label, errors);
                if !seen.insert(name) {
                    errors.push(Error::duplicate(&path.child("name"), name));
                }
            }
            check_one(container, role, volumes, &path, errors);
            if role == Role::Ephemeral {
                check_ephemeral(container, spec, &path, errors);
            }
            if host_network {
                check_host_network_ports(container, &path.child("ports"), errors);
            }
        }
    }
}

fn check_one(container: &Value, role: Role, volumes: &HashSet<&str>, path: &Path<'_>, errors: &mut Vec<Error>) {
    let image = text(container, "image");
    if image.is_empty() {
        errors.push(Error::required(&path.child("image"), ""));
    } else if image.trim() != image {
        errors.push(Error::invalid(&path.child("image"), image, "must not have leading or trailing whitespace"));
    }
    let policies = &["File", "FallbackToLogsOnError"];
    if text(container, "terminationMessagePolicy").is_empty() {
        errors.push(Error::required(&path.child("terminationMessagePolicy"), ""));
    } else if !policies.contains(&text(container, "terminationMessagePolicy")) {
        let policy = text(container, "terminationMessagePolicy");
        errors.push(Error::not_supported(
            &path.child("terminationMessagePolicy"),
            policy,
            &["FallbackToLogsOnError", "File"],
        ));
    }
    check_one_of(container, "imagePullPolicy", &["Always", "IfNotPresent", "Never"], path, errors);
    check_ports(container, &path.child("ports"), errors);
    check_env(container, path, errors);
    check_mounts(container, volumes, &path.child("volumeMounts"), errors);
    if let Some(resources) = present(container, "resources") {
        check_requirements(resources, &path.child("resources"), errors);
    }
    check_role(container, role, path, errors);
    for probe in ["livenessProbe", "readinessProbe", "startupProbe"] {
        if let Some(value) = present(container, probe) {
            check_probe(probe, value, &path.child(probe), errors);
        }
    }
    if let Some(lifecycle) = present(container, "lifecycle") {
        for hook in ["postStart", "preStop"] {
            if let Some(value) = present(lifecycle, hook) {
                let path = path.child("lifecycle");
                check_handler(value, &["exec", "httpGet", "tcpSocket", "sleep"], &path.child(hook), errors);
            }
        }
    }
}

/// What an ephemeral container may not have, or must find in its pod.
fn check_ephemeral(container: &Value, spec: &Value, path: &Path<'_>, errors: &mut Vec<Error>) {
    let list = path.child("volumeMounts");
    for (i, mount) in items(container, "volumeMounts").iter().enumerate() {
        for field in ["subPath", "subPathExpr"] {
            if !text(mount, field).is_empty() {
                let detail = "cannot be set for an Ephemeral Container";
                errors.push(Error::forbidden(&list.index(i).child(field), detail));
            }
        }
    }
    let target = text(container, "targetContainerName");
    if !target.is_empty() && !items(spec, "containers").iter().any(|c| text(c, "name") == target) {
        errors.push(Error::not_found(&path.child("targetContainerName"), target));
    }
}

/// What only some kinds of container may have.
fn check_role(container: &Value, role: Role, path: &Path<'_>, errors: &mut Vec<Error>) {
    let restart = text(container, "restartPolicy");
    match role {
        Role::Init => {
            if !matches!(restart, "" | "Always" | "OnFailure" | "Never") {
                errors.push(Error::not_supported(
                    &path.child("restartPolicy"),
                    restart,
                    &["Always", "Never", "OnFailure"],
                ));
            }
            if restart != "Always" {
                for field in ["lifecycle", "livenessProbe", "readinessProbe", "startupProbe"] {
                    if present(container, field).is_some() {
                        let detail = "may not be set for init containers without restartPolicy=Always";
                        errors.push(Error::forbidden(&path.child(field), detail));
                    }
                }
            }
        }
        Role::Main => {
            if !matches!(restart, "" | "Always" | "OnFailure" | "Never") {
                errors.push(Error::not_supported(
                    &path.child("restartPolicy"),
                    restart,
                    &["Always", "Never", "OnFailure"],
                ));
            }
        }
        Role::Ephemeral => {
            for field in ["lifecycle", "livenessProbe", "readinessProbe", "startupProbe", "ports", "restartPolicy"] {
                if present(container, field).is_some() {
                    errors.push(Error::forbidden(&path.child(field), "cannot be set for an Ephemeral Container"));
                }
            }
            if map(container, "resources").is_some_and(|r| !r.is_empty()) {
                errors.push(Error::forbidden(&path.child("resources"), "cannot be set for an Ephemeral Container"));
            }
        }
    }
}

const PORT_RANGE: &str = "must be between 1 and 65535, inclusive";

fn valid_port(port: i64) -> bool {
    (1..=65535).contains(&port)
}

fn check_ports(container: &Value, path: &Path<'_>, errors: &mut Vec<Error>) {
    let mut seen = HashSet::new();
    for (i, port) in items(container, "ports").iter().enumerate() {
        let path = path.index(i);
        let name = text(port, "name");
        if !name.is_empty() {
            let complaints = names::check_port_name(name);
            if complaints.is_empty() && !seen.insert(name) {
                errors.push(Error::duplicate(&path.child("name"), name));
            }
            errors.extend(complaints.into_iter().map(|m| Error::invalid(&path.child("name"), name, m)));
        }
        match int(port, "containerPort").unwrap_or(0) {
            0 => errors.push(Error::required(&path.child("containerPort"), "")),
            number if !valid_port(number) => {
                errors.push(Error::invalid(&path.child("containerPort"), number, PORT_RANGE));
            }
            _ => {}
        }
        if let Some(number) = int(port, "hostPort").filter(|p| *p != 0 && !valid_port(*p)) {
            errors.push(Error::invalid(&path.child("hostPort"), number, PORT_RANGE));
        }
        check_protocol(port, &path, errors);
    }
}

pub(in crate::strategies) fn check_protocol(port: &Value, path: &Path<'_>, errors: &mut Vec<Error>) {
    const PROTOCOLS: &[&str] = &["SCTP", "TCP", "UDP"];
    match text(port, "protocol") {
        "" => errors.push(Error::required(&path.child("protocol"), "")),
        protocol if !PROTOCOLS.contains(&protocol) => {
            errors.push(Error::not_supported(&path.child("protocol"), protocol, PROTOCOLS));
        }
        _ => {}
    }
}

fn check_host_network_ports(container: &Value, path: &Path<'_>, errors: &mut Vec<Error>) {
    for (i, port) in items(container, "ports").iter().enumerate() {
        let (inner, host) = (int(port, "containerPort"), int(port, "hostPort"));
        if inner.is_some() && inner != host {
            let detail = "must match `hostPort` when `hostNetwork` is true";
            errors.push(Error::invalid(&path.index(i).child("containerPort"), inner.unwrap_or(0), detail));
        }
    }
}

/// Names of environment variables: printable ASCII without `=`.
fn check_env_name(name: &str) -> Vec<String> {
    if name.bytes().all(|b| (b' '..=b'~').contains(&b) && b != b'=') {
        Vec::new()
    } else {
        vec!["a valid environment variable name must consist only of printable ASCII characters other than '='".into()]
    }
}

fn check_env(container: &Value, path: &Path<'_>, errors: &mut Vec<Error>) {
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
        check_name(text(source, "prefix"), &path.child("prefix"), check_env_name, errors);
        match (present(source, "configMapRef"), present(source, "secretRef")) {
            (None, None) => {
                errors.push(Error::invalid(&path, "", "must specify one of: `configMapRef` or `secretRef`"));
            }
            (Some(_), Some(_)) => {
                errors.push(Error::invalid(&path, "", "may not have more than one field specified at a time"));
            }
            (Some(reference), None) => check_required(reference, "name", &path.child("configMapRef"), errors),
            (None, Some(reference)) => check_required(reference, "name", &path.child("secretRef"), errors),
        }
    }
}

const ENV_SOURCES: &[&str] = &["fieldRef", "resourceFieldRef", "configMapKeyRef", "secretKeyRef", "fileKeyRef"];

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
    let given: Vec<&&str> = ENV_SOURCES.iter().filter(|s| present(source, s).is_some()).collect();
    if given.is_empty() {
        let detail =
            "must specify one of: `fieldRef`, `resourceFieldRef`, `configMapKeyRef`, `secretKeyRef` or `fileKeyRef`";
        errors.push(Error::invalid(path, "", detail));
    } else if !text(env, "value").is_empty() {
        errors.push(Error::invalid(path, "", "may not be specified when `value` is not empty"));
    } else if given.len() > 1 {
        errors.push(Error::invalid(path, "", "may not have more than one field specified at a time"));
    }
    if let Some(reference) = present(source, "fieldRef") {
        let path = path.child("fieldRef");
        let field = text(reference, "fieldPath");
        if field.is_empty() {
            errors.push(Error::required(&path.child("fieldPath"), ""));
        } else if !ENV_FIELDS.contains(&field)
            && !(field.ends_with("']")
                && (field.starts_with("metadata.labels['") || field.starts_with("metadata.annotations['")))
        {
            errors.push(Error::not_supported(&path.child("fieldPath"), field, ENV_FIELDS));
        }
    }
    if let Some(reference) = present(source, "resourceFieldRef") {
        check_required(reference, "resource", &path.child("resourceFieldRef"), errors);
    }
    for kind in ["configMapKeyRef", "secretKeyRef"] {
        if let Some(reference) = present(source, kind) {
            let path = path.child(kind);
            check_required(reference, "name", &path, errors);
            match text(reference, "key") {
                "" => errors.push(Error::required(&path.child("key"), "")),
                key => check_name(key, &path.child("key"), names::check_config_map_key, errors),
            }
        }
    }
}

fn check_probe(kind: &str, probe: &Value, path: &Path<'_>, errors: &mut Vec<Error>) {
    check_handler(probe, &["exec", "httpGet", "tcpSocket", "grpc"], path, errors);
    for field in ["initialDelaySeconds", "timeoutSeconds", "periodSeconds", "successThreshold", "failureThreshold"] {
        check_non_negative(probe, field, path, errors);
    }
    if let Some(grace) = int(probe, "terminationGracePeriodSeconds") {
        if kind == "readinessProbe" {
            let detail = "must not be set for readinessProbes";
            errors.push(Error::invalid(&path.child("terminationGracePeriodSeconds"), grace, detail));
        } else if grace < 1 {
            let detail = "must be greater than 0";
            errors.push(Error::invalid(&path.child("terminationGracePeriodSeconds"), grace, detail));
        }
    }
    let successes = int(probe, "successThreshold").unwrap_or(1);
    if kind != "readinessProbe" && successes != 1 {
        errors.push(Error::invalid(&path.child("successThreshold"), successes, "must be 1"));
    }
}

/// Exactly one handler, and that one complete.
fn check_handler(value: &Value, kinds: &[&str], path: &Path<'_>, errors: &mut Vec<Error>) {
    let mut found = 0;
    for kind in kinds {
        let Some(handler) = present(value, kind) else { continue };
        found += 1;
        let path = path.child(kind);
        if found > 1 {
            errors.push(Error::forbidden(&path, "may not specify more than 1 handler type"));
            continue;
        }
        match *kind {
            "exec" if items(handler, "command").is_empty() => {
                errors.push(Error::required(&path.child("command"), ""));
            }
            "httpGet" => {
                check_required(handler, "path", &path, errors);
                check_handler_port(handler, &path, errors);
                check_one_of(handler, "scheme", &["HTTP", "HTTPS"], &path, errors);
            }
            "tcpSocket" => check_handler_port(handler, &path, errors),
            "grpc" => {
                if let Some(port) = int(handler, "port").filter(|p| !valid_port(*p)) {
                    errors.push(Error::invalid(&path.child("port"), port, PORT_RANGE));
                }
            }
            _ => {}
        }
    }
    if found == 0 {
        errors.push(Error::required(path, "must specify a handler type"));
    }
}

fn check_handler_port(handler: &Value, path: &Path<'_>, errors: &mut Vec<Error>) {
    check_port_or_name(handler.get("port").unwrap_or(&Value::Null), &path.child("port"), errors);
}

/// A port number or the name of one.
pub(in crate::strategies) fn check_port_or_name(port: &Value, path: &Path<'_>, errors: &mut Vec<Error>) {
    match port {
        Value::String(name) => check_name(name, path, names::check_port_name, errors),
        other => {
            let number = other.as_i64().unwrap_or(0);
            if !valid_port(number) {
                errors.push(Error::invalid(path, number, PORT_RANGE));
            }
        }
    }
}
