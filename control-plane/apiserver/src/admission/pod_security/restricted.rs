//! The checks that `restricted` adds: what a hardened pod must say.

use super::baseline::{adds_others, bad_seccomp, volumes};
use super::checks::{Pod, Violation, containers, is_true, plural, quoted, setters, text, there};
use super::policy::Version;
use serde_json::Value;
use std::collections::BTreeSet;

/// Where Windows pods are let off what their system does not have.
fn is_let_off(pod: &Pod<'_>, version: Version) -> bool {
    version.is_at_least(25) && pod.is_windows()
}

fn relaxed(pod: &Pod<'_>, version: Version) -> bool {
    version.is_at_least(35) && pod.has_users()
}

pub(super) fn allow_privilege_escalation(pod: &Pod<'_>, version: Version) -> Option<Violation> {
    let bad = pod.named(|container| container.security.get("allowPrivilegeEscalation") != Some(&Value::Bool(false)));
    if bad.is_empty() || is_let_off(pod, version) {
        return None;
    }
    let detail = format!("{} must set securityContext.allowPrivilegeEscalation=false", containers(&bad));
    Violation::new("allowPrivilegeEscalation != false", detail)
}

pub(super) fn capabilities(pod: &Pod<'_>, version: Version) -> Option<Violation> {
    if is_let_off(pod, version) {
        return None;
    }
    let drops_all = |security: &Value| {
        let list = security.pointer("/capabilities/drop").and_then(Value::as_array);
        list.is_some_and(|list| list.iter().any(|name| name == "ALL"))
    };
    let keep = pod.named(|container| !drops_all(container.security));
    let dropped = (!keep.is_empty())
        .then(|| format!("{} must set securityContext.capabilities.drop=[\"ALL\"]", containers(&keep)));
    let parts: Vec<String> = dropped.into_iter().chain(adds_others(pod, &["NET_BIND_SERVICE"])).collect();
    if parts.is_empty() { None } else { Violation::new("unrestricted capabilities", parts.join("; ")) }
}

/// The type of a volume that is not allowed; Kubernetes has names for the old ones only.
fn restricted_type(volume: &Value) -> Option<&str> {
    const ALLOWED: [&str; 8] =
        ["configMap", "csi", "downwardAPI", "emptyDir", "ephemeral", "persistentVolumeClaim", "projected", "secret"];
    const NAMED: [&str; 20] = [
        "hostPath",
        "gcePersistentDisk",
        "awsElasticBlockStore",
        "gitRepo",
        "nfs",
        "iscsi",
        "glusterfs",
        "rbd",
        "flexVolume",
        "cinder",
        "cephfs",
        "flocker",
        "fc",
        "azureFile",
        "vsphereVolume",
        "quobyte",
        "azureDisk",
        "portworxVolume",
        "scaleIO",
        "storageos",
    ];
    let is = |names: &'static [&'static str]| names.iter().find(|name| volume.get(name).is_some_and(|v| !v.is_null()));
    if is(&ALLOWED).is_some() {
        return None;
    }
    Some(is(&NAMED).copied().unwrap_or("unknown"))
}

pub(super) fn volume_types(pod: &Pod<'_>) -> Option<Violation> {
    let bad: Vec<&Value> = volumes(pod).filter(|volume| restricted_type(volume).is_some()).collect();
    if bad.is_empty() {
        return None;
    }
    let types: BTreeSet<&str> = bad.iter().filter_map(|volume| restricted_type(volume)).collect();
    let names: Vec<&str> = bad.iter().map(|volume| text(volume, "/name")).collect();
    let detail = format!(
        "{} {} {} {} {}",
        plural("volume", "volumes", names.len()),
        quoted(&names),
        plural("uses", "use", names.len()),
        plural("restricted volume type", "restricted volume types", types.len()),
        quoted(types),
    );
    Violation::new("restricted volume types", detail)
}

pub(super) fn run_as_non_root(pod: &Pod<'_>, version: Version) -> Option<Violation> {
    const REASON: &str = "runAsNonRoot != true";
    const FIELD: &str = "/runAsNonRoot";
    if relaxed(pod, version) {
        return None;
    }
    let refuses = |security: &Value| security.pointer(FIELD) == Some(&Value::Bool(false));
    let who = setters(refuses(pod.security()), &pod.named(|container| refuses(container.security)));
    if !who.is_empty() {
        return Violation::new(REASON, format!("{who} must not set securityContext.runAsNonRoot=false"));
    }
    if is_true(pod.security(), FIELD) {
        return None;
    }
    let silent = pod.named(|container| there(container.security, FIELD).is_none());
    if silent.is_empty() {
        return None;
    }
    Violation::new(REASON, format!("pod or {} must set securityContext.runAsNonRoot=true", containers(&silent)))
}

pub(super) fn run_as_user(pod: &Pod<'_>, version: Version) -> Option<Violation> {
    if relaxed(pod, version) {
        return None;
    }
    let root = |security: &Value| security.get("runAsUser").and_then(Value::as_i64) == Some(0);
    let who = setters(root(pod.security()), &pod.named(|container| root(container.security)));
    if who.is_empty() { None } else { Violation::new("runAsUser=0", format!("{who} must not set runAsUser=0")) }
}

pub(super) fn seccomp_profile(pod: &Pod<'_>, version: Version) -> Option<Violation> {
    if is_let_off(pod, version) {
        return None;
    }
    if let Some(violation) = bad_seccomp(pod) {
        return Some(violation);
    }
    if there(pod.security(), "/seccompProfile").is_some() {
        return None;
    }
    let silent = pod.named(|container| there(container.security, "/seccompProfile").is_none());
    if silent.is_empty() {
        return None;
    }
    let detail = format!(
        "pod or {} must set securityContext.seccompProfile.type to \"RuntimeDefault\" or \"Localhost\"",
        containers(&silent)
    );
    Violation::new("seccompProfile", detail)
}
