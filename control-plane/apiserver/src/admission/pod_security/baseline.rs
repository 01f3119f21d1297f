//! The checks of `baseline`: what would let a pod out.

use super::checks::{Container, Pod, Violation, containers, is_true, plural, quoted, setters, text, there};
use super::policy::Version;
use api::meta;
use serde_json::Value;
use std::collections::BTreeSet;

const APP_ARMOR: &str = "container.apparmor.security.beta.kubernetes.io/";
const SECCOMP_POD: &str = "seccomp.security.alpha.kubernetes.io/pod";
const SECCOMP_CONTAINER: &str = "container.seccomp.security.alpha.kubernetes.io/";
const CAPABILITIES: [&str; 13] = [
    "AUDIT_WRITE",
    "CHOWN",
    "DAC_OVERRIDE",
    "FOWNER",
    "FSETID",
    "KILL",
    "MKNOD",
    "NET_BIND_SERVICE",
    "SETFCAP",
    "SETGID",
    "SETPCAP",
    "SETUID",
    "SYS_CHROOT",
];
/// Allowed from which version on.
const SYSCTLS: [(&str, u32); 12] = [
    ("kernel.shm_rmid_forced", 0),
    ("net.ipv4.ip_local_port_range", 0),
    ("net.ipv4.tcp_syncookies", 0),
    ("net.ipv4.ping_group_range", 0),
    ("net.ipv4.ip_unprivileged_port_start", 0),
    ("net.ipv4.ip_local_reserved_ports", 27),
    ("net.ipv4.tcp_keepalive_time", 29),
    ("net.ipv4.tcp_fin_timeout", 29),
    ("net.ipv4.tcp_keepalive_intvl", 29),
    ("net.ipv4.tcp_keepalive_probes", 29),
    ("net.ipv4.tcp_rmem", 32),
    ("net.ipv4.tcp_wmem", 32),
];

pub(super) fn app_armor_profile(pod: &Pod<'_>) -> Option<Violation> {
    const TYPE: &str = "/appArmorProfile/type";
    let bad =
        |security: &Value| there(security, TYPE).is_some_and(|kind| kind != "RuntimeDefault" && kind != "Localhost");
    let pod_bad = bad(pod.security());
    let names = pod.named(|container| bad(container.security));
    let mut values: BTreeSet<String> = BTreeSet::new();
    let all = pod.containers.iter().map(|container| container.security).chain([pod.security()]);
    values.extend(all.filter(|security| bad(security)).map(|security| text(security, TYPE).to_owned()));
    let mut list: Vec<String> = values.into_iter().collect();
    let allowed = |value: &str| value.is_empty() || value == "runtime/default" || value.starts_with("localhost/");
    let mut annotations: Vec<String> = meta::annotations(pod.object)
        .into_iter()
        .flatten()
        .filter(|(key, value)| key.starts_with(APP_ARMOR) && !allowed(value.as_str().unwrap_or_default()))
        .map(|(key, value)| format!("{key}={:?}", value.as_str().unwrap_or_default()))
        .collect();
    annotations.sort();
    let mut who = setters(pod_bad, &names);
    if !annotations.is_empty() {
        who = if who.is_empty() { who } else { who + " and " };
        who += plural("annotation", "annotations", annotations.len());
    }
    list.extend(annotations);
    if who.is_empty() {
        return None;
    }
    let reason = plural("forbidden AppArmor profile", "forbidden AppArmor profiles", list.len());
    Violation::new(reason, format!("{who} must not set AppArmor profile type to {}", quoted(list)))
}

/// The capabilities that a container adds.
pub(super) fn added<'a>(container: &Container<'a>) -> impl Iterator<Item = &'a str> {
    let list = container.security.pointer("/capabilities/add").and_then(Value::as_array);
    list.into_iter().flatten().filter_map(Value::as_str)
}

/// Violation of who adds capabilities that are not `allowed`.
pub(super) fn adds_others(pod: &Pod<'_>, allowed: &[&str]) -> Option<String> {
    let names = pod.named(|container| added(container).any(|name| !allowed.contains(&name)));
    let others: BTreeSet<&str> = pod.containers.iter().flat_map(added).filter(|name| !allowed.contains(name)).collect();
    (!names.is_empty()).then(|| {
        format!("{} must not include {} in securityContext.capabilities.add", containers(&names), quoted(others))
    })
}

pub(super) fn capabilities(pod: &Pod<'_>) -> Option<Violation> {
    Violation::new("non-default capabilities", adds_others(pod, &CAPABILITIES)?)
}

pub(super) fn host_namespaces(pod: &Pod<'_>) -> Option<Violation> {
    let fields = ["hostNetwork", "hostPID", "hostIPC"].into_iter();
    let set: Vec<String> = fields
        .filter(|field| pod.spec.get(field) == Some(&Value::Bool(true)))
        .map(|field| format!("{field}=true"))
        .collect();
    if set.is_empty() { None } else { Violation::new("host namespaces", set.join(", ")) }
}

pub(super) fn volumes<'a>(pod: &Pod<'a>) -> impl Iterator<Item = &'a Value> {
    pod.spec.get("volumes").and_then(Value::as_array).into_iter().flatten()
}

pub(super) fn host_path_volumes(pod: &Pod<'_>) -> Option<Violation> {
    let names: Vec<&str> = volumes(pod)
        .filter(|volume| there(volume, "/hostPath").is_some())
        .map(|volume| text(volume, "/name"))
        .collect();
    if names.is_empty() {
        return None;
    }
    Violation::new("hostPath volumes", format!("{} {}", plural("volume", "volumes", names.len()), quoted(names)))
}

pub(super) fn host_ports(pod: &Pod<'_>) -> Option<Violation> {
    let ports = |container: &Container<'_>| -> Vec<String> {
        let list = container.value.get("ports").and_then(Value::as_array).into_iter().flatten();
        let numbers = list.filter_map(|port| port.get("hostPort")?.as_i64()).filter(|number| *number != 0);
        numbers.map(|number| number.to_string()).collect()
    };
    let names = pod.named(|container| !ports(container).is_empty());
    let numbers: BTreeSet<String> = pod.containers.iter().flat_map(ports).collect();
    if names.is_empty() {
        return None;
    }
    let word = plural("hostPort", "hostPorts", numbers.len());
    let listed = numbers.into_iter().collect::<Vec<_>>().join(", ");
    let use_ = plural("uses", "use", names.len());
    Violation::new(word, format!("{} {use_} {word} {listed}", containers(&names)))
}

pub(super) fn host_probes(pod: &Pod<'_>) -> Option<Violation> {
    const HANDLERS: [&str; 5] =
        ["/livenessProbe", "/readinessProbe", "/startupProbe", "/lifecycle/postStart", "/lifecycle/preStop"];
    let hosts = |container: &Container<'_>| -> Vec<String> {
        let handlers = HANDLERS.iter().filter_map(|pointer| container.value.pointer(pointer));
        let found = handlers
            .flat_map(|handler| ["/httpGet/host", "/tcpSocket/host"].map(|host| text(handler, host).to_owned()));
        found.filter(|host| !host.is_empty()).collect()
    };
    let names: BTreeSet<&str> = pod.named(|container| !hosts(container).is_empty()).into_iter().collect();
    let found: BTreeSet<String> = pod.containers.iter().flat_map(hosts).collect();
    if names.is_empty() {
        return None;
    }
    let names: Vec<&str> = names.into_iter().collect();
    let use_ = plural("uses", "use", names.len());
    let word = plural("probe or lifecycle host", "probe or lifecycle hosts", found.len());
    Violation::new("probe or lifecycle host", format!("{} {use_} {word} {}", containers(&names), quoted(found)))
}

pub(super) fn privileged(pod: &Pod<'_>) -> Option<Violation> {
    let names = pod.named(|container| is_true(container.security, "/privileged"));
    if names.is_empty() {
        return None;
    }
    Violation::new("privileged", format!("{} must not set securityContext.privileged=true", containers(&names)))
}

pub(super) fn proc_mount(pod: &Pod<'_>, version: Version) -> Option<Violation> {
    if version.is_at_least(35) && pod.has_users() {
        return None;
    }
    let kind = |container: &Container<'_>| text(container.security, "/procMount").to_owned();
    let bad = |kind: &str| !matches!(kind, "" | "Default");
    let names = pod.named(|container| bad(&kind(container)));
    let values: BTreeSet<String> = pod.containers.iter().map(kind).filter(|kind| bad(kind)).collect();
    if names.is_empty() {
        return None;
    }
    Violation::new(
        "procMount",
        format!("{} must not set securityContext.procMount to {}", containers(&names), quoted(values)),
    )
}

pub(super) fn se_linux_options(pod: &Pod<'_>, version: Version) -> Option<Violation> {
    let engine = version.is_at_least(31);
    let allowed = |kind: &str| match kind {
        "" | "container_t" | "container_init_t" | "container_kvm_t" => true,
        "container_engine_t" => engine,
        _ => false,
    };
    let options = |security: &Value, field: &str| text(security, &format!("/seLinuxOptions/{field}")).to_owned();
    let bad = |security: &Value| {
        !allowed(&options(security, "type"))
            || !options(security, "user").is_empty()
            || !options(security, "role").is_empty()
    };
    let who = setters(bad(pod.security()), &pod.named(|container| bad(container.security)));
    if who.is_empty() {
        return None;
    }
    let all: Vec<&Value> = pod.containers.iter().map(|container| container.security).chain([pod.security()]).collect();
    let types: BTreeSet<String> = all.iter().map(|s| options(s, "type")).filter(|kind| !allowed(kind)).collect();
    let mut what = Vec::new();
    if !types.is_empty() {
        what.push(format!("{} {}", plural("type", "types", types.len()), quoted(&types)));
    }
    for field in ["user", "role"] {
        if all.iter().any(|security| !options(security, field).is_empty()) {
            what.push(format!("{field} may not be set"));
        }
    }
    Violation::new("seLinuxOptions", format!("{who} set forbidden securityContext.seLinuxOptions: {}", what.join("; ")))
}

/// Who sets a seccomp profile that is not allowed, and which.
pub(super) fn bad_seccomp(pod: &Pod<'_>) -> Option<Violation> {
    const TYPE: &str = "/seccompProfile/type";
    let bad = |security: &Value| {
        there(security, "/seccompProfile").is_some() && !matches!(text(security, TYPE), "RuntimeDefault" | "Localhost")
    };
    let who = setters(bad(pod.security()), &pod.named(|container| bad(container.security)));
    if who.is_empty() {
        return None;
    }
    let all = pod.containers.iter().map(|container| container.security).chain([pod.security()]);
    let values: BTreeSet<&str> = all.filter(|security| bad(security)).map(|security| text(security, TYPE)).collect();
    Violation::new(
        "seccompProfile",
        format!("{who} must not set securityContext.seccompProfile.type to {}", quoted(values)),
    )
}

pub(super) fn seccomp_profile(pod: &Pod<'_>, version: Version) -> Option<Violation> {
    if version.is_at_least(19) {
        return bad_seccomp(pod);
    }
    let allowed =
        |value: &str| matches!(value, "runtime/default" | "docker/default") || value.starts_with("localhost/");
    let of_containers = pod.containers.iter().map(|container| format!("{SECCOMP_CONTAINER}{}", container.name));
    let keys = std::iter::once(SECCOMP_POD.to_owned()).chain(of_containers);
    let wrong: BTreeSet<String> = keys
        .filter_map(|key| {
            let value = meta::annotation(pod.object, &key).filter(|value| !allowed(value))?;
            Some(format!("{key}={value:?}"))
        })
        .collect();
    if wrong.is_empty() {
        return None;
    }
    let listed = wrong.iter().map(String::as_str).collect::<Vec<_>>().join(", ");
    let word = plural("annotation", "annotations", wrong.len());
    Violation::new("seccompProfile", format!("forbidden {word} {listed}"))
}

pub(super) fn sysctls(pod: &Pod<'_>, version: Version) -> Option<Violation> {
    let list = pod.security().get("sysctls").and_then(Value::as_array).into_iter().flatten();
    let allowed = |name: &str| SYSCTLS.iter().any(|(known, since)| *known == name && version.is_at_least(*since));
    let bad: Vec<&str> = list.map(|sysctl| text(sysctl, "/name")).filter(|name| !allowed(name)).collect();
    if bad.is_empty() { None } else { Violation::new("forbidden sysctls", bad.join(", ")) }
}

pub(super) fn windows_host_process(pod: &Pod<'_>) -> Option<Violation> {
    const FLAG: &str = "/windowsOptions/hostProcess";
    let who = setters(is_true(pod.security(), FLAG), &pod.named(|container| is_true(container.security, FLAG)));
    if who.is_empty() {
        return None;
    }
    Violation::new("hostProcess", format!("{who} must not set securityContext.windowsOptions.hostProcess=true"))
}
