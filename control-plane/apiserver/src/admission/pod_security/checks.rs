//! The checks of the Pod Security Standards, in their order: those of `baseline`, then those of `restricted`
//! (`pod-security-admission/policy`). Each says nothing, or why and about what.

use super::policy::{Level, Rule};
use super::{baseline, restricted};
use serde_json::Value;

/// One violated check: `hostPort`, `container "c" uses hostPort 80`.
pub(super) struct Violation {
    pub reason: String,
    pub detail: String,
}

impl Violation {
    pub(super) fn new(reason: impl Into<String>, detail: impl Into<String>) -> Option<Self> {
        Some(Self { reason: reason.into(), detail: detail.into() })
    }
}

/// All that a pod violates.
pub(super) struct Violations(Vec<Violation>);

impl Violations {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// `hostPort (container "c" uses hostPort 80), privileged (…)`.
    pub(super) fn details(&self) -> String {
        let parts = self.0.iter().map(|violation| match violation.detail.as_str() {
            "" => violation.reason.clone(),
            detail => format!("{} ({detail})", violation.reason),
        });
        parts.collect::<Vec<_>>().join(", ")
    }

    /// `hostPort, privileged`.
    pub(super) fn reasons(&self) -> String {
        self.0.iter().map(|violation| violation.reason.as_str()).collect::<Vec<_>>().join(", ")
    }
}

/// What `pod`, or a pod's template, violates of a rule.
pub(super) fn violations(rule: Rule, pod: &Value) -> Violations {
    let pod = Pod::new(pod);
    let version = rule.version;
    let mut found = Vec::new();
    if rule.level >= Level::Baseline {
        let strict = rule.level == Level::Restricted;
        found.push(baseline::app_armor_profile(&pod));
        // What a check of `restricted` looks at more strictly is told once.
        found.push((!(strict && version.is_at_least(22))).then(|| baseline::capabilities(&pod)).flatten());
        found.push(baseline::host_namespaces(&pod));
        found.push((!strict).then(|| baseline::host_path_volumes(&pod)).flatten());
        found.push(baseline::host_ports(&pod));
        found.push(version.is_at_least(34).then(|| baseline::host_probes(&pod)).flatten());
        found.push(baseline::privileged(&pod));
        found.push(baseline::proc_mount(&pod, version));
        found.push(baseline::se_linux_options(&pod, version));
        found.push((!(strict && version.is_at_least(19))).then(|| baseline::seccomp_profile(&pod, version)).flatten());
        found.push(baseline::sysctls(&pod, version));
        found.push(baseline::windows_host_process(&pod));
    }
    if rule.level == Level::Restricted {
        found.push(version.is_at_least(8).then(|| restricted::allow_privilege_escalation(&pod, version)).flatten());
        found.push(version.is_at_least(22).then(|| restricted::capabilities(&pod, version)).flatten());
        found.push(restricted::volume_types(&pod));
        found.push(restricted::run_as_non_root(&pod, version));
        found.push(version.is_at_least(23).then(|| restricted::run_as_user(&pod, version)).flatten());
        found.push(version.is_at_least(19).then(|| restricted::seccomp_profile(&pod, version)).flatten());
    }
    Violations(found.into_iter().flatten().collect())
}

/// A pod as checks look at it.
pub(super) struct Pod<'a> {
    pub object: &'a Value,
    pub spec: &'a Value,
    /// Init containers, containers, ephemeral containers.
    pub containers: Vec<Container<'a>>,
}

pub(super) struct Container<'a> {
    pub name: &'a str,
    pub value: &'a Value,
    /// `securityContext`, or null.
    pub security: &'a Value,
}

const NULL: &Value = &Value::Null;

impl<'a> Pod<'a> {
    fn new(object: &'a Value) -> Self {
        let spec = object.get("spec").unwrap_or(NULL);
        let lists = ["initContainers", "containers", "ephemeralContainers"];
        let all = lists.iter().flat_map(|field| spec.get(field).and_then(Value::as_array).into_iter().flatten());
        let containers = all.map(|value| Container {
            name: value.get("name").and_then(Value::as_str).unwrap_or_default(),
            value,
            security: value.get("securityContext").unwrap_or(NULL),
        });
        Self { object, spec, containers: containers.collect() }
    }

    /// The pod's own `securityContext`, or null.
    pub(super) fn security(&self) -> &'a Value {
        self.spec.get("securityContext").unwrap_or(NULL)
    }

    pub(super) fn is_windows(&self) -> bool {
        self.spec.pointer("/os/name").is_some_and(|name| name == "windows")
    }

    /// Whether it has a user namespace of its own.
    pub(super) fn has_users(&self) -> bool {
        self.spec.get("hostUsers") == Some(&Value::Bool(false))
    }

    /// The names of the containers of which `bad` holds.
    pub(super) fn named(&self, bad: impl Fn(&Container<'a>) -> bool) -> Vec<&'a str> {
        self.containers.iter().filter(|container| bad(container)).map(|container| container.name).collect()
    }
}

/// A member that is there and not null.
pub(super) fn there<'v>(value: &'v Value, pointer: &str) -> Option<&'v Value> {
    value.pointer(pointer).filter(|value| !value.is_null())
}

pub(super) fn text<'v>(value: &'v Value, pointer: &str) -> &'v str {
    value.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

pub(super) fn is_true(value: &Value, pointer: &str) -> bool {
    value.pointer(pointer) == Some(&Value::Bool(true))
}

pub(super) fn plural<'t>(one: &'t str, many: &'t str, count: usize) -> &'t str {
    if count == 1 { one } else { many }
}

/// `"a", "b"`.
pub(super) fn quoted<S: AsRef<str>>(names: impl IntoIterator<Item = S>) -> String {
    names.into_iter().map(|name| format!("{:?}", name.as_ref())).collect::<Vec<_>>().join(", ")
}

/// `container "a"`, `containers "a", "b"`.
pub(super) fn containers(names: &[&str]) -> String {
    format!("{} {}", plural("container", "containers", names.len()), quoted(names))
}

/// `pod and containers "a", "b"`: who set something; empty when nobody did.
pub(super) fn setters(pod: bool, names: &[&str]) -> String {
    let pod = pod.then(|| "pod".to_owned());
    let named = (!names.is_empty()).then(|| containers(names));
    pod.into_iter().chain(named).collect::<Vec<_>>().join(" and ")
}
