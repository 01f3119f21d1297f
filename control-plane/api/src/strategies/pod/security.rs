//! Security contexts of pods and containers, and what the pod's operating system rules out of them
//! (`validatePodSpecSecurityContext`, `ValidateSecurityContext`, `validateWindows`, `validateHostUsers`).

use super::containers::{LISTS, has_any};
use super::volumes::check_descending;
use crate::field::{Error, Path};
use crate::names;
use crate::strategies::internal;
use crate::strategies::json::{check_name, check_one_of, flag, int, items, map, present, text};
use serde_json::Value;
use std::collections::HashSet;

/// How often the same fault of a whole context is told: each time with all of it.
const MAX_TOLD: usize = 16;

const INT_MAX: i64 = i32::MAX as i64;

fn check_id(id: i64, path: &Path<'_>, errors: &mut Vec<Error>) {
    if !(0..=INT_MAX).contains(&id) {
        errors.push(Error::invalid(path, id, format!("must be between 0 and {INT_MAX}, inclusive")));
    }
}

fn check_ids(context: &Value, fields: &[&str], path: &Path<'_>, errors: &mut Vec<Error>) {
    for field in fields {
        if let Some(id) = int(context, field) {
            check_id(id, &path.child(field), errors);
        }
    }
}

/// The pod's own context.
pub(super) fn check_pod_context(spec: &Value, path: &Path<'_>, errors: &mut Vec<Error>) {
    let Some(context) = present(spec, "securityContext") else { return };
    let path = path.child("securityContext");
    check_ids(context, &["fsGroup", "runAsUser", "runAsGroup"], &path, errors);
    let groups = path.child("supplementalGroups");
    for (i, group) in items(context, "supplementalGroups").iter().enumerate() {
        check_id(group.as_i64().unwrap_or(0), &groups.index(i), errors);
    }
    check_sysctls(context, spec, &path.child("sysctls"), errors);
    check_present_enum(context, "fsGroupChangePolicy", &["Always", "OnRootMismatch"], &path, errors);
    check_seccomp(context, &path, errors);
    check_windows_options(context, &path, errors);
    check_apparmor(context, &path, errors);
    check_present_enum(context, "supplementalGroupsPolicy", &["Merge", "Strict"], &path, errors);
    check_present_enum(context, "seLinuxChangePolicy", &["MountOption", "Recursive"], &path, errors);
}

/// A member that, where it is there at all, is one of these.
fn check_present_enum(value: &Value, field: &str, supported: &[&str], path: &Path<'_>, errors: &mut Vec<Error>) {
    match value.get(field).and_then(Value::as_str) {
        Some(text) if !supported.contains(&text) => {
            errors.push(Error::not_supported(&path.child(field), text, supported));
        }
        _ => {}
    }
}

fn check_sysctls(context: &Value, spec: &Value, list: &Path<'_>, errors: &mut Vec<Error>) {
    const MAX: usize = 253;
    const FORM: &str = "^([a-z0-9]([-_a-z0-9]*[a-z0-9])?[\\./])*[a-z0-9]([-_a-z0-9]*[a-z0-9])?$";
    let edge = |b: &u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let segment = |part: &str| {
        let bytes = part.as_bytes();
        bytes.first().is_some_and(edge)
            && bytes.last().is_some_and(edge)
            && bytes.iter().all(|b| edge(b) || matches!(b, b'-' | b'_'))
    };
    let mut seen = HashSet::new();
    for (i, sysctl) in items(context, "sysctls").iter().enumerate() {
        let path = list.index(i);
        let (name, at) = (text(sysctl, "name"), path.child("name"));
        if name.is_empty() {
            errors.push(Error::required(&at, ""));
        } else if name.len() > MAX || !name.split(['.', '/']).all(segment) {
            let detail = format!("must have at most {MAX} characters and match regex {FORM}");
            errors.push(Error::invalid(&at, name, detail));
        } else if seen.contains(name) {
            errors.push(Error::duplicate(&at, name));
        }
        seen.insert(name);
        let dotted = name.replace('/', ".");
        let of_network = dotted.starts_with("net.");
        let of_ipc = ["kernel.shm", "kernel.msg", "fs.mqueue."].iter().any(|prefix| dotted.starts_with(prefix))
            || dotted == "kernel.sem";
        if of_network && flag(spec, "hostNetwork") {
            errors.push(Error::invalid(&at, name, "may not be specified when 'hostNetwork' is true"));
        } else if of_ipc && flag(spec, "hostIPC") {
            errors.push(Error::invalid(&at, name, "may not be specified when 'hostIPC' is true"));
        }
    }
}

const PROFILE_TYPES: &[&str] = &["Localhost", "RuntimeDefault", "Unconfined"];

fn check_seccomp(context: &Value, path: &Path<'_>, errors: &mut Vec<Error>) {
    let Some(profile) = present(context, "seccompProfile") else { return };
    let path = path.child("seccompProfile");
    let (kind, place) = (text(profile, "type"), profile.get("localhostProfile").and_then(Value::as_str));
    if kind.is_empty() {
        errors.push(Error::required(&path.child("type"), "type is required when seccompProfile is set"));
    }
    check_one_of(profile, "type", PROFILE_TYPES, &path, errors);
    let at = path.child("localhostProfile");
    match (kind == "Localhost", place) {
        (true, None) => errors.push(Error::required(&at, "must be set when seccomp type is Localhost")),
        (true, Some(place)) => check_descending(place, &at, errors),
        (false, Some(_)) => {
            errors.push(Error::invalid(&at, profile.clone(), "can only be set when seccomp type is Localhost"));
        }
        (false, None) => {}
    }
}

fn check_apparmor(context: &Value, path: &Path<'_>, errors: &mut Vec<Error>) {
    const PATH_MAX: usize = 4095;
    const NEEDED: &str = "must be set when AppArmor type is Localhost";
    let Some(profile) = present(context, "appArmorProfile") else { return };
    let path = path.child("appArmorProfile");
    let (at, place) = (path.child("localhostProfile"), profile.get("localhostProfile").and_then(Value::as_str));
    match (text(profile, "type"), place) {
        ("Localhost", None) => errors.push(Error::required(&at, NEEDED)),
        ("Localhost", Some(place)) => {
            if place.trim() != place {
                errors.push(Error::invalid(&at, place, "must not be padded with whitespace"));
            } else if place.is_empty() {
                errors.push(Error::required(&at, NEEDED));
            }
            if place.len() > PATH_MAX {
                errors.push(Error::too_long(&at, PATH_MAX));
            }
        }
        ("RuntimeDefault" | "Unconfined", Some(place)) => {
            errors.push(Error::invalid(&at, place, "can only be set when AppArmor type is Localhost"));
        }
        ("", _) => {
            errors.push(Error::required(&path.child("type"), "type is required when appArmorProfile is set"));
        }
        _ => check_one_of(profile, "type", PROFILE_TYPES, &path, errors),
    }
}

fn check_windows_options(context: &Value, path: &Path<'_>, errors: &mut Vec<Error>) {
    const CREDENTIAL_MAX: usize = 64 * 1024;
    let Some(options) = present(context, "windowsOptions") else { return };
    let path = path.child("windowsOptions");
    let part = |field: &str| options.get(field).and_then(Value::as_str);
    if let Some(name) = part("gmsaCredentialSpecName") {
        check_name(name, &path.child("gmsaCredentialSpecName"), names::check_dns1123_subdomain, errors);
    }
    let at = path.child("gmsaCredentialSpec");
    match part("gmsaCredentialSpec") {
        Some("") => errors.push(Error::invalid(&at, "", "gmsaCredentialSpec cannot be an empty string")),
        Some(spec) if spec.len() > CREDENTIAL_MAX => {
            errors.push(Error::invalid(&at, spec, "gmsaCredentialSpec size must be under 64 KiB"));
        }
        _ => {}
    }
    if let Some(user) = part("runAsUserName") {
        let at = path.child("runAsUserName");
        errors.extend(windows_user_faults(user).into_iter().map(|fault| Error::invalid(&at, user, fault)));
    }
}

/// What is wrong with `[DOMAIN\]USER`.
fn windows_user_faults(name: &str) -> Vec<&'static str> {
    if name.is_empty() {
        return vec!["runAsUserName cannot be an empty string"];
    }
    if name.contains(|c: char| c.is_ascii_control()) {
        return vec!["runAsUserName cannot contain control characters"];
    }
    let parts: Vec<&str> = name.split('\\').collect();
    let (domain, user) = match parts.as_slice() {
        [user] => (None, *user),
        [domain, user] => (Some(*domain), *user),
        _ => return vec!["runAsUserName cannot contain more than one backslash"],
    };
    let mut faults = Vec::new();
    if domain.is_some_and(|domain| domain.len() >= 256) {
        faults.push("runAsUserName's Domain length must be under 256 characters");
    }
    let netbios = |domain: &str| {
        (1..=15).contains(&domain.chars().count())
            && !domain.starts_with('.')
            && !domain.contains(|c: char| "\\/:*?\"<>|".contains(c))
    };
    let dns = |domain: &str| names::check_dns1123_subdomain(&domain.to_lowercase()).is_empty();
    if domain.is_some_and(|domain| !netbios(domain) && !dns(domain)) {
        faults.push("runAsUserName's Domain doesn't match the NetBios nor the DNS format");
    }
    if user.is_empty() {
        faults.push("runAsUserName's User cannot be empty");
    } else if user.len() > 104 {
        faults.push("runAsUserName's User length must not be longer than 104 characters");
    }
    if !user.is_empty() && user.chars().all(|c| matches!(c, '.' | ' ')) {
        faults.push("runAsUserName's User cannot contain only periods or spaces");
    }
    if user.contains(|c: char| "\"/\\:;|=,+*?<>@[]".contains(c)) {
        faults.push("runAsUserName's User cannot contain the following characters: \"/\\:;|=,+*?<>@[]");
    }
    faults
}

/// A container's context.
pub(super) fn check_container_context(context: &Value, host_users: bool, path: &Path<'_>, errors: &mut Vec<Error>) {
    check_ids(context, &["runAsUser", "runAsGroup"], path, errors);
    if let Some(mount) = context.get("procMount").and_then(Value::as_str) {
        check_present_enum(context, "procMount", &["Default", "Unmasked"], path, errors);
        if host_users && mount == "Unmasked" {
            let detail = "`hostUsers` must be false to use `Unmasked`";
            errors.push(Error::invalid(&path.child("procMount"), mount, detail));
        }
    }
    check_seccomp(context, path, errors);
    if context.get("allowPrivilegeEscalation") == Some(&Value::Bool(false)) {
        if flag(context, "privileged") {
            let detail = "cannot set `allowPrivilegeEscalation` to false and `privileged` to true";
            errors.push(internal::invalid(path, internal::SECURITY_CONTEXT, context, detail));
        }
        let added = context.pointer("/capabilities/add").and_then(Value::as_array);
        let admin = added.into_iter().flatten().filter(|capability| *capability == "CAP_SYS_ADMIN");
        for _ in admin.take(MAX_TOLD) {
            let detail = "cannot set `allowPrivilegeEscalation` to false and `capabilities.Add` CAP_SYS_ADMIN";
            errors.push(internal::invalid(path, internal::SECURITY_CONTEXT, context, detail));
        }
    }
    check_windows_options(context, path, errors);
    check_apparmor(context, path, errors);
}

/// All containers of a spec with their paths, as `VisitContainersWithPath` goes: init containers first.
fn each_container(spec: &Value) -> impl Iterator<Item = (&'static str, usize, &Value)> {
    [LISTS[1], LISTS[0], LISTS[2]]
        .into_iter()
        .flat_map(|list| items(spec, list).iter().enumerate().map(move |(i, container)| (list, i, container)))
}

/// A pod with host processes of Windows has nothing else.
pub(super) fn check_host_processes(spec: &Value, path: &Path<'_>, errors: &mut Vec<Error>) {
    let wish = |holder: &Value| holder.pointer("/securityContext/windowsOptions/hostProcess").and_then(Value::as_bool);
    let own = wish(spec);
    let (mut all, mut with) = (0, 0);
    for (list, i, container) in each_container(spec) {
        all += 1;
        let inner = wish(container);
        if let (Some(own), Some(inner)) = (own, inner)
            && own != inner
        {
            let list = path.child(list);
            let at = list.index(i);
            let detail = format!("pod hostProcess value must be identical if both are specified, was {own}");
            errors.push(Error::invalid(&at.child("securityContext.windowsOptions.hostProcess"), inner, detail));
        }
        with += usize::from(inner.or(own) == Some(true));
    }
    if with == 0 {
        return;
    }
    if with != all {
        let detail = "If pod contains any hostProcess containers then all containers must be HostProcess containers";
        errors.push(Error::invalid(path, "", detail));
    }
    if !flag(spec, "hostNetwork") {
        let detail = "hostNetwork must be true if pod contains any hostProcess containers";
        errors.push(Error::invalid(&path.child("hostNetwork"), false, detail));
    }
}

/// A pod with users of its own shares nothing else with the node.
pub(super) fn check_host_users(spec: &Value, path: &Path<'_>, errors: &mut Vec<Error>) {
    const WHEN: &str = "when `hostUsers` is false";
    if spec.get("hostUsers") != Some(&Value::Bool(false)) {
        return;
    }
    for (field, shown) in [("hostNetwork", "hostNetwork"), ("hostPID", "HostPID"), ("hostIPC", "HostIPC")] {
        if flag(spec, field) {
            errors.push(Error::forbidden(&path.child(shown), WHEN));
        }
    }
    for (list, i, container) in each_container(spec) {
        if has_any(container, "volumeDevices") {
            let list = path.child(list);
            errors.push(Error::forbidden(&list.index(i).child("volumeDevices"), WHEN));
        }
    }
}

/// What the pod's operating system does not have.
pub(super) fn check_os(spec: &Value, path: &Path<'_>, errors: &mut Vec<Error>) {
    let Some(os) = present(spec, "os") else { return };
    match text(os, "name") {
        "" => errors.push(Error::required(&path.child("os.name"), "")),
        "linux" => check_linux(spec, path, errors),
        "windows" => check_windows(spec, path, errors),
        other => errors.push(Error::not_supported(&path.child("os"), other, &["linux", "windows"])),
    }
}

fn check_linux(spec: &Value, path: &Path<'_>, errors: &mut Vec<Error>) {
    const DETAIL: &str = "windows options cannot be set for a linux pod";
    let has =
        |holder: &Value| holder.pointer("/securityContext/windowsOptions").is_some_and(|options| !options.is_null());
    if has(spec) {
        errors.push(Error::forbidden(&path.child("securityContext.windowsOptions"), DETAIL));
    }
    for (list, i, _) in each_container(spec).filter(|(_, _, container)| has(container)) {
        let list = path.child(list);
        errors.push(Error::forbidden(&list.index(i).child("securityContext.windowsOptions"), DETAIL));
    }
}

const NOT_ON_WINDOWS: &[&str] = &[
    "appArmorProfile",
    "seLinuxOptions",
    "seccompProfile",
    "fsGroup",
    "fsGroupChangePolicy",
    "sysctls",
    "runAsUser",
    "runAsGroup",
    "supplementalGroups",
    "supplementalGroupsPolicy",
    "seLinuxChangePolicy",
];
const NOT_IN_WINDOWS_CONTAINERS: &[&str] = &[
    "appArmorProfile",
    "seLinuxOptions",
    "seccompProfile",
    "capabilities",
    "readOnlyRootFilesystem",
    "privileged",
    "allowPrivilegeEscalation",
    "procMount",
    "runAsUser",
    "runAsGroup",
];

fn check_windows(spec: &Value, path: &Path<'_>, errors: &mut Vec<Error>) {
    const DETAIL: &str = "cannot be set for a windows pod";
    let given = |holder: &Value, field: &str| {
        present(holder, field).is_some_and(|value| value.as_array().is_none_or(|list| !list.is_empty()))
    };
    if map(spec, "securityContext").is_some() {
        let (context, at) = (&spec["securityContext"], path.child("securityContext"));
        for field in NOT_ON_WINDOWS.iter().filter(|field| given(context, field)) {
            errors.push(Error::forbidden(&at.child(field), DETAIL));
        }
    }
    for field in ["hostUsers", "hostPID", "hostIPC", "shareProcessNamespace"] {
        let set = if matches!(field, "hostPID" | "hostIPC") { flag(spec, field) } else { given(spec, field) };
        if set {
            errors.push(Error::forbidden(&path.child(field), DETAIL));
        }
    }
    for (list, i, container) in each_container(spec) {
        let Some(context) = present(container, "securityContext") else { continue };
        let list = path.child(list);
        let container = list.index(i);
        let at = container.child("securityContext");
        for field in NOT_IN_WINDOWS_CONTAINERS.iter().filter(|field| given(context, field)) {
            errors.push(Error::forbidden(&at.child(field), DETAIL));
        }
    }
}
