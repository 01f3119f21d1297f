//! Containers: what all have, and what only some lists of a pod spec allow (`validateContainers`, `validateInitContainers`,
//! `validateEphemeralContainers`).

use super::env::check_env;
use super::probes::{check_lifecycle, check_probes};
use super::resources::check_requirements;
use super::security::check_container_context;
use super::volumes::{Volumes, check_devices, check_mounts, check_pull_policy};
use crate::field::{Error, Path};
use crate::names;
use crate::strategies::json::{check_name, check_one_of, check_required, int, items, map, present, text};
use serde_json::Value;
use std::collections::{BTreeSet, HashSet};

/// What containers are judged by beside themselves.
pub(super) struct Pod<'a> {
    pub spec: &'a Value,
    pub volumes: &'a Volumes<'a>,
    /// The names in `resourceClaims`.
    pub claims: BTreeSet<&'a str>,
}

impl Pod<'_> {
    pub(super) fn grace_seconds(&self) -> Option<i64> {
        int(self.spec, "terminationGracePeriodSeconds")
    }

    /// Whether the pod's users are the node's.
    pub(super) fn host_users(&self) -> bool {
        self.spec.get("hostUsers") != Some(&Value::Bool(false))
    }
}

pub(super) const LISTS: [&str; 3] = ["containers", "initContainers", "ephemeralContainers"];

/// Checks all container lists of a pod spec.
pub(super) fn check_all(pod: &Pod<'_>, path: &Path<'_>, errors: &mut Vec<Error>) {
    check_main(pod, &path.child("containers"), errors);
    check_init(pod, &path.child("initContainers"), errors);
    check_ephemeral(pod, &path.child("ephemeralContainers"), errors);
}

fn check_main(pod: &Pod<'_>, list: &Path<'_>, errors: &mut Vec<Error>) {
    let containers = items(pod.spec, "containers");
    if containers.is_empty() {
        return errors.push(Error::required(list, ""));
    }
    let (mut seen, mut ports) = (HashSet::new(), HashSet::new());
    for (i, container) in containers.iter().enumerate() {
        let path = list.index(i);
        check_common(container, pod, &path, errors);
        if !seen.insert(text(container, "name")) {
            errors.push(Error::duplicate(&path.child("name"), text(container, "name")));
        }
        check_lifecycle(container, pod, &path, errors);
        check_probes(container, pod, &path, errors);
        check_restart_policy(container, &path, errors);
    }
    for (i, container) in containers.iter().enumerate() {
        check_host_ports(container, &mut ports, &list.index(i), errors);
    }
}

fn check_init(pod: &Pod<'_>, list: &Path<'_>, errors: &mut Vec<Error>) {
    let mut seen: HashSet<&str> = items(pod.spec, "containers").iter().map(|c| text(c, "name")).collect();
    for (i, container) in items(pod.spec, "initContainers").iter().enumerate() {
        let path = list.index(i);
        check_common(container, pod, &path, errors);
        check_restart_policy(container, &path, errors);
        let name = text(container, "name");
        if seen.contains(name) {
            errors.push(Error::duplicate(&path.child("name"), name));
        } else if !name.is_empty() {
            seen.insert(name);
        }
        // They run one by one: each may take the ports of another.
        check_host_ports(container, &mut HashSet::new(), &list.index(0), errors);
        if text(container, "restartPolicy") == "Always" {
            check_lifecycle(container, pod, &path, errors);
            check_probes(container, pod, &path, errors);
            continue;
        }
        for field in ["lifecycle", "livenessProbe", "readinessProbe", "startupProbe"] {
            if present(container, field).is_some() {
                let detail = "may not be set for init containers without restartPolicy=Always";
                errors.push(Error::forbidden(&path.child(field), detail));
            }
        }
        let policies = path.child("resizePolicy");
        for (j, policy) in items(container, "resizePolicy").iter().enumerate() {
            if text(policy, "restartPolicy") == "RestartContainer" {
                let detail = "must not be set to 'RestartContainer' for non-sidecar initContainers";
                errors.push(Error::invalid(&policies.index(j).child("restartPolicy"), "RestartContainer", detail));
            }
        }
    }
}

/// Fields that an ephemeral container may have.
const EPHEMERAL: &[&str] = &[
    "name",
    "image",
    "command",
    "args",
    "workingDir",
    "envFrom",
    "env",
    "volumeMounts",
    "volumeDevices",
    "terminationMessagePath",
    "terminationMessagePolicy",
    "imagePullPolicy",
    "securityContext",
    "stdin",
    "stdinOnce",
    "tty",
    "targetContainerName",
];

fn check_ephemeral(pod: &Pod<'_>, list: &Path<'_>, errors: &mut Vec<Error>) {
    let others = items(pod.spec, "containers").iter().chain(items(pod.spec, "initContainers"));
    let others: HashSet<&str> = others.map(|c| text(c, "name")).collect();
    let mut seen = others.clone();
    for (i, container) in items(pod.spec, "ephemeralContainers").iter().enumerate() {
        let path = list.index(i);
        check_common(container, pod, &path, errors);
        check_trimmed_image(container, &path, errors);
        if !seen.insert(text(container, "name")) {
            errors.push(Error::duplicate(&path.child("name"), text(container, "name")));
        }
        let target = text(container, "targetContainerName");
        if !target.is_empty() && !others.contains(target) {
            errors.push(Error::not_found(&path.child("targetContainerName"), target));
        }
        const NOT_HERE: &str = "cannot be set for an Ephemeral Container";
        for (field, value) in container.as_object().into_iter().flatten() {
            let empty = value.is_null() || value.as_object().is_some_and(serde_json::Map::is_empty);
            if !empty && !EPHEMERAL.contains(&field.as_str()) {
                errors.push(Error::forbidden(&path.child(field), NOT_HERE));
            }
        }
        let mounts = path.child("volumeMounts");
        for (i, mount) in items(container, "volumeMounts").iter().enumerate() {
            for field in ["subPath", "subPathExpr"] {
                if !text(mount, field).is_empty() {
                    errors.push(Error::forbidden(&mounts.index(i).child(field), NOT_HERE));
                }
            }
        }
    }
}

/// Rules of every container (`validateContainerCommon`).
fn check_common(container: &Value, pod: &Pod<'_>, path: &Path<'_>, errors: &mut Vec<Error>) {
    match text(container, "name") {
        "" => errors.push(Error::required(&path.child("name"), "")),
        name => check_name(name, &path.child("name"), names::check_dns1123_label, errors),
    }
    check_required(container, "image", path, errors);
    check_required(container, "terminationMessagePolicy", path, errors);
    check_one_of(container, "terminationMessagePolicy", &["File", "FallbackToLogsOnError"], path, errors);
    check_ports(container, &path.child("ports"), errors);
    check_env(container, path, errors);
    check_mounts(container, pod.volumes, &path.child("volumeMounts"), errors);
    check_devices(container, pod.volumes, &path.child("volumeDevices"), errors);
    check_pull_policy(container, "imagePullPolicy", path, errors);
    if let Some(resources) = present(container, "resources") {
        check_requirements(resources, &pod.claims, &path.child("resources"), errors);
    }
    check_resize_policy(container, text(pod.spec, "restartPolicy"), &path.child("resizePolicy"), errors);
    if let Some(context) = present(container, "securityContext") {
        check_container_context(context, pod.host_users(), &path.child("securityContext"), errors);
    }
}

/// Of pods only, not of templates.
pub(super) fn check_trimmed_image(container: &Value, path: &Path<'_>, errors: &mut Vec<Error>) {
    let image = text(container, "image");
    if image.trim() != image {
        errors.push(Error::invalid(&path.child("image"), image, "must not have leading or trailing whitespace"));
    }
}

/// As in Kubernetes, most of these paths are the list's.
fn check_resize_policy(container: &Value, restart: &str, list: &Path<'_>, errors: &mut Vec<Error>) {
    let mut seen = HashSet::new();
    for (i, policy) in items(container, "resizePolicy").iter().enumerate() {
        let (name, action) = (text(policy, "resourceName"), text(policy, "restartPolicy"));
        if !seen.insert(name) {
            errors.push(Error::duplicate(&list.index(i), name));
        }
        for (value, supported) in [(name, &["cpu", "memory"]), (action, &["NotRequired", "RestartContainer"])] {
            if value.is_empty() {
                errors.push(Error::required(list, ""));
            } else if !supported.contains(&value) {
                errors.push(Error::not_supported(list, value, supported));
            }
        }
        if restart == "Never" && action != "NotRequired" {
            let detail = "must be 'NotRequired' when pod `restartPolicy` is 'Never'";
            errors.push(Error::invalid(list, action, detail));
        }
    }
}

/// The most rules of restart that a container may have, and exit codes that one may name.
const RULES_MAX: usize = 20;
const EXIT_CODES_MAX: usize = 255;

fn check_restart_policy(container: &Value, path: &Path<'_>, errors: &mut Vec<Error>) {
    const POLICIES: &[&str] = &["Always", "Never", "OnFailure"];
    let (at, rules) = (path.child("restartPolicy"), items(container, "restartPolicyRules"));
    match container.get("restartPolicy").and_then(Value::as_str) {
        None if rules.is_empty() => return,
        None => errors.push(Error::required(&at, "must specify restartPolicy when restart rules are used")),
        Some(policy) if !POLICIES.contains(&policy) => errors.push(Error::not_supported(&at, policy, POLICIES)),
        Some(_) => {}
    }
    let list = path.child("restartPolicyRules");
    if rules.len() > RULES_MAX {
        errors.push(Error::too_many(&list, rules.len(), RULES_MAX));
    }
    for (i, rule) in rules.iter().enumerate() {
        let path = list.index(i);
        let (action, actions) = (text(rule, "action"), &["Restart", "RestartAllContainers"]);
        if !actions.contains(&action) {
            errors.push(Error::not_supported(&path.child("action"), action, actions));
        }
        let at = path.child("exitCodes");
        let Some(codes) = present(rule, "exitCodes") else {
            errors.push(Error::required(&at, "must be specified"));
            continue;
        };
        let operator = text(codes, "operator");
        if !matches!(operator, "In" | "NotIn") {
            errors.push(Error::not_supported(&at.child("operator"), operator, &["In", "NotIn"]));
        }
        let count = items(codes, "values").len();
        if count > EXIT_CODES_MAX {
            errors.push(Error::too_many(&at.child("values"), count, EXIT_CODES_MAX));
        }
    }
}

const PORT_RANGE: &str = "must be between 1 and 65535, inclusive";

fn valid_port(port: i64) -> bool {
    (1..=65535).contains(&port)
}

fn check_ports(container: &Value, list: &Path<'_>, errors: &mut Vec<Error>) {
    let mut seen = HashSet::new();
    for (i, port) in items(container, "ports").iter().enumerate() {
        let path = list.index(i);
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
    check_required(port, "protocol", path, errors);
    check_one_of(port, "protocol", &["SCTP", "TCP", "UDP"], path, errors);
}

/// Two containers cannot have one port of the node.
fn check_host_ports(container: &Value, taken: &mut HashSet<String>, path: &Path<'_>, errors: &mut Vec<Error>) {
    let list = path.child("ports");
    for (i, port) in items(container, "ports").iter().enumerate() {
        let Some(number) = int(port, "hostPort").filter(|number| *number != 0) else { continue };
        let place = format!("{}/{}/{number}", text(port, "protocol"), text(port, "hostIP"));
        if taken.contains(&place) {
            errors.push(Error::duplicate(&list.index(i).child("hostPort"), place));
        } else {
            taken.insert(place);
        }
    }
}

/// With the node's network, a container's ports are the node's. A template may leave that open.
pub(super) fn check_host_network(spec: &Value, is_pod: IsPod, path: &Path<'_>, errors: &mut Vec<Error>) {
    if spec.get("hostNetwork") != Some(&Value::Bool(true)) {
        return;
    }
    let list = path.child("containers");
    for (i, container) in items(spec, "containers").iter().enumerate() {
        let path = list.index(i);
        let ports = path.child("ports");
        for (i, port) in items(container, "ports").iter().enumerate() {
            let (host, inner) = (int(port, "hostPort").unwrap_or(0), int(port, "containerPort").unwrap_or(0));
            if (is_pod == IsPod::Yes || host != 0) && host != inner {
                let detail = "must match `containerPort` when `hostNetwork` is true";
                errors.push(Error::invalid(&ports.index(i).child("hostPort"), host, detail));
            }
        }
    }
}

/// Whether a spec is a pod's or a template's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum IsPod {
    Yes,
    No,
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

/// Whether a container carries a map or list under `field` that says anything.
pub(super) fn has_any(container: &Value, field: &str) -> bool {
    !items(container, field).is_empty() || map(container, field).is_some_and(|m| !m.is_empty())
}
