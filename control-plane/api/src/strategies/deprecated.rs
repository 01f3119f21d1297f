//! What Kubernetes accepts and warns about: deprecated fields and labels, and what most likely was not meant
//! (`pkg/api/{pod,service,persistentvolume,persistentvolumeclaim,node}`).

use super::json::{flag, int, items, map, present, text};
use crate::quantity::Quantity;
use crate::{meta, names};
use serde_json::Value;
use std::collections::{BTreeMap, HashSet};
use std::net::IpAddr;

/// Most warnings of one object, where they could be as many as pairs of its parts.
const MAX_WARNINGS: usize = 1_000;
/// With how many parts before it each one is compared.
const MAX_COMPARED: usize = 256;

/// Labels of nodes that have other names now.
const LABELS: &[(&str, &str, &str)] = &[
    ("beta.kubernetes.io/arch", "1.14", "kubernetes.io/arch"),
    ("beta.kubernetes.io/os", "1.14", "kubernetes.io/os"),
    ("failure-domain.beta.kubernetes.io/region", "1.17", "topology.kubernetes.io/region"),
    ("failure-domain.beta.kubernetes.io/zone", "1.17", "topology.kubernetes.io/zone"),
    ("beta.kubernetes.io/instance-type", "1.17", "node.kubernetes.io/instance-type"),
];

fn label_message(label: &str) -> Option<String> {
    let (_, since, instead) = LABELS.iter().find(|(old, ..)| *old == label)?;
    Some(format!("deprecated since v{since}; use \"{instead}\" instead"))
}

/// Deprecated labels in a `nodeSelector`.
pub(super) fn selector_warnings(holder: &Value, path: &str, out: &mut Vec<String>) {
    for (label, _) in map(holder, "nodeSelector").into_iter().flatten() {
        out.extend(label_message(label).map(|message| format!("{path}.nodeSelector[{label}]: {message}")));
    }
}

fn term_warnings(term: &Value, path: &str, out: &mut Vec<String>) {
    for (i, expression) in items(term, "matchExpressions").iter().enumerate() {
        let key = text(expression, "key");
        out.extend(label_message(key).map(|message| format!("{path}.matchExpressions[{i}].key: {key} is {message}")));
    }
}

fn required_terms(selector: Option<&Value>, path: &str, out: &mut Vec<String>) {
    let terms = selector.map_or(&[][..], |selector| items(selector, "nodeSelectorTerms"));
    for (i, term) in terms.iter().enumerate() {
        term_warnings(term, &format!("{path}.nodeSelectorTerms[{i}]"), out);
    }
}

/// (source, its name in the message, what is to be said)
const VOLUMES: &[(&str, &str, &str)] = &[
    ("photonPersistentDisk", "photonPersistentDisk", "deprecated in v1.11, non-functional in v1.16+"),
    ("gitRepo", "gitRepo", "deprecated in v1.11"),
    ("scaleIO", "scaleIO", "deprecated in v1.16, non-functional in v1.22+"),
    ("flocker", "flocker", "deprecated in v1.22, non-functional in v1.25+"),
    ("storageos", "storageOS", "deprecated in v1.22, non-functional in v1.25+"),
    ("quobyte", "quobyte", "deprecated in v1.22, non-functional in v1.25+"),
    ("glusterfs", "glusterfs", "deprecated in v1.25, non-functional in v1.26+"),
    ("cephfs", "cephfs", "deprecated in v1.28, non-functional in v1.31+"),
    ("rbd", "rbd", "deprecated in v1.28, non-functional in v1.31+"),
];

fn source_warnings(volume: &Value, path: &str, out: &mut Vec<String>) {
    for (source, name, message) in VOLUMES {
        if present(volume, source).is_some() {
            out.push(format!("{path}.{name}: {message}"));
        }
    }
}

const BETA_CLASS: &str = "volume.beta.kubernetes.io/storage-class";
const MOUNT_OPTIONS: &str = "volume.beta.kubernetes.io/mount-options";

/// Of a PersistentVolume.
pub(super) fn volume_warnings(object: &Value) -> Vec<String> {
    let mut out = Vec::new();
    for (key, since, instead) in [(BETA_CLASS, "1.8", "storageClassName"), (MOUNT_OPTIONS, "1.31", "mountOptions")] {
        if meta::annotation(object, key).is_some() {
            out.push(format!(
                "metadata.annotations[{key}]: deprecated since v{since}; use \"{instead}\" attribute instead"
            ));
        }
    }
    let spec = object.get("spec").unwrap_or(&Value::Null);
    if text(spec, "persistentVolumeReclaimPolicy") == "Recycle" {
        out.push("spec.persistentVolumeReclaimPolicy: The Recycle reclaim policy is deprecated. Instead, the recommended approach is to use dynamic provisioning.".into());
    }
    required_terms(spec.pointer("/nodeAffinity/required"), "spec.nodeAffinity.required", &mut out);
    source_warnings(spec, "spec", &mut out);
    out
}

/// Of a PersistentVolumeClaim.
pub(super) fn claim_warnings(object: &Value) -> Vec<String> {
    let mut out = Vec::new();
    if meta::annotation(object, BETA_CLASS).is_some() {
        out.push(format!(
            "metadata.annotations[{BETA_CLASS}]: deprecated since v1.8; use \"storageClassName\" attribute instead"
        ));
    }
    claim_spec_warnings(object.get("spec").unwrap_or(&Value::Null), "spec", &mut out);
    out
}

/// Of the spec of a claim, wherever it stands.
pub(super) fn claim_spec_warnings(spec: &Value, path: &str, out: &mut Vec<String>) {
    for list in ["requests", "limits"] {
        let amounts = spec.get("resources").and_then(|resources| map(resources, list));
        if let Some(amount) = amounts.and_then(|amounts| amounts.get("storage")) {
            fraction_warning(amount, &format!("{path}.resources.{list}[storage]"), out);
        }
    }
}

fn fraction_warning(amount: &Value, path: &str, out: &mut Vec<String>) {
    if let Ok(quantity) = Quantity::from_value(amount)
        && !quantity.is_integer()
    {
        out.push(format!("{path}: fractional byte value \"{quantity}\" is invalid, must be an integer"));
    }
}

/// A name that becomes a part of names of pods and of hosts.
pub(super) fn name_warning(object: &Value) -> Option<String> {
    let complaints = names::check_dns1123_label(meta::name(object));
    let use_ =
        "this is used in Pod names and hostnames, which can result in surprising behavior; a DNS label is recommended";
    (!complaints.is_empty()).then(|| format!("metadata.name: {use_}: [{}]", complaints.join(" ")))
}

/// Annotations that do nothing any more.
const ANNOTATIONS: &[(&str, &str)] = &[
    (
        "scheduler.alpha.kubernetes.io/critical-pod",
        "non-functional in v1.16+; use the \"priorityClassName\" field instead",
    ),
    ("security.alpha.kubernetes.io/sysctls", "non-functional in v1.11+; use the \"sysctls\" field instead"),
    ("security.alpha.kubernetes.io/unsafe-sysctls", "non-functional in v1.11+; use the \"sysctls\" field instead"),
];
const SECCOMP_POD: &str = "seccomp.security.alpha.kubernetes.io/pod";
const SECCOMP_CONTAINER: &str = "container.seccomp.security.alpha.kubernetes.io/";
const APPARMOR: &str = "container.apparmor.security.beta.kubernetes.io/";

/// Of a pod, or of the pod template at `path` (`warningsForPodSpecAndMeta`).
pub(super) fn pod_warnings(pod: &Value, path: &str, out: &mut Vec<String>) {
    let spec = pod.get("spec").unwrap_or(&Value::Null);
    let at = |rest: &str| if path.is_empty() { rest.to_owned() } else { format!("{path}.{rest}") };
    let spec_path = at("spec");
    selector_warnings(spec, &spec_path, out);
    affinity_label_warnings(spec, &spec_path, out);
    for (key, message) in ANNOTATIONS {
        if meta::annotation(pod, key).is_some() {
            out.push(format!("{}[{key}]: {message}", at("metadata.annotations")));
        }
    }
    pod_volume_warnings(spec, &spec_path, out);
    duplicate_warnings(spec, &spec_path, out);
    for name in ["memory", "ephemeral-storage"] {
        if let Some(amount) = map(spec, "overhead").and_then(|overhead| overhead.get(name)) {
            fraction_warning(amount, &format!("{spec_path}.overhead[{name}]"), out);
        }
    }
    let profile = |holder: &Value, field: &str| {
        holder.get("securityContext").is_some_and(|context| present(context, field).is_some())
    };
    let annotations = at("metadata.annotations");
    if meta::annotation(pod, SECCOMP_POD).is_some() && !profile(spec, "seccompProfile") {
        let message = "non-functional in v1.27+; use the \"seccompProfile\" field instead";
        out.push(format!("{annotations}[{SECCOMP_POD}]: {message}"));
    }
    for (list, i, container) in each_container(spec) {
        let name = text(container, "name");
        let seccomp = format!("{SECCOMP_CONTAINER}{name}");
        if meta::annotation(pod, &seccomp).is_some() && !profile(container, "seccompProfile") {
            let message = "non-functional in v1.27+; use the \"seccompProfile\" field instead";
            out.push(format!("{annotations}[{seccomp}]: {message}"));
        }
        let apparmor = format!("{APPARMOR}{name}");
        if meta::annotation(pod, &apparmor).is_some()
            && !profile(container, "appArmorProfile")
            && !profile(spec, "appArmorProfile")
        {
            let message = "deprecated since v1.30; use the \"appArmorProfile\" field instead";
            out.push(format!("{annotations}[{apparmor}]: {message}"));
        }
        container_warnings(container, &format!("{spec_path}.{list}[{i}]"), out);
    }
    port_warnings(spec, &spec_path, out);
    if int(spec, "terminationGracePeriodSeconds").is_some_and(|seconds| seconds < 0) {
        let message = "must be >= 0; negative values are invalid and will be treated as 1";
        out.push(format!("{spec_path}.terminationGracePeriodSeconds: {message}"));
    }
    empty_selector_warnings(spec, &spec_path, out);
}

/// All containers of a spec, init containers first.
fn each_container(spec: &Value) -> impl Iterator<Item = (&'static str, usize, &Value)> {
    ["initContainers", "containers", "ephemeralContainers"]
        .into_iter()
        .flat_map(|list| items(spec, list).iter().enumerate().map(move |(i, container)| (list, i, container)))
}

fn affinity_label_warnings(spec: &Value, path: &str, out: &mut Vec<String>) {
    let affinity = format!("{path}.affinity.nodeAffinity");
    if let Some(node) = spec.pointer("/affinity/nodeAffinity") {
        let required = "requiredDuringSchedulingIgnoredDuringExecution";
        required_terms(node.get(required), &format!("{affinity}.{required}"), out);
        let preferred = "preferredDuringSchedulingIgnoredDuringExecution";
        for (i, term) in items(node, preferred).iter().enumerate() {
            let preference = term.get("preference").unwrap_or(&Value::Null);
            term_warnings(preference, &format!("{affinity}.{preferred}[{i}].preference"), out);
        }
    }
    for (i, constraint) in items(spec, "topologySpreadConstraints").iter().enumerate() {
        let (path, key) = (format!("{path}.topologySpreadConstraints[{i}]"), text(constraint, "topologyKey"));
        out.extend(label_message(key).map(|message| format!("{path}.topologyKey: {key} is {message}")));
        if present(constraint, "labelSelector").is_none() {
            out.push(format!("{path}.labelSelector: {NO_SELECTOR}"));
        }
    }
}

const NO_SELECTOR: &str = "a null labelSelector results in matching no pod";

fn empty_selector_warnings(spec: &Value, path: &str, out: &mut Vec<String>) {
    for kind in ["podAffinity", "podAntiAffinity"] {
        let Some(affinity) = spec.pointer("/affinity").and_then(|affinity| present(affinity, kind)) else { continue };
        let required = "requiredDuringSchedulingIgnoredDuringExecution";
        for (i, term) in items(affinity, required).iter().enumerate() {
            if present(term, "labelSelector").is_none() {
                out.push(format!("{path}.affinity.{kind}.{required}[{i}].labelSelector: {NO_SELECTOR}"));
            }
        }
        let preferred = "preferredDuringSchedulingIgnoredDuringExecution";
        for (i, term) in items(affinity, preferred).iter().enumerate() {
            if term.pointer("/podAffinityTerm/labelSelector").is_none_or(Value::is_null) {
                let at = format!("{path}.affinity.{kind}.{preferred}[{i}].podAffinityTerm.labelSelector");
                out.push(format!("{at}: {NO_SELECTOR}"));
            }
        }
    }
}

fn pod_volume_warnings(spec: &Value, path: &str, out: &mut Vec<String>) {
    for (i, volume) in items(spec, "volumes").iter().enumerate() {
        let path = format!("{path}.volumes[{i}]");
        source_warnings(volume, &path, out);
        if let Some(claim) = volume.pointer("/ephemeral/volumeClaimTemplate/spec") {
            claim_spec_warnings(claim, &format!("{path}.ephemeral.volumeClaimTemplate.spec"), out);
        }
    }
    for volume in items(spec, "volumes") {
        overlap_warnings(volume, out);
    }
}

/// Files of one volume that would lie in each other's place.
fn overlap_warnings(volume: &Value, out: &mut Vec<String>) {
    let name = text(volume, "name");
    let sources =
        [("configMap", "ConfigMap", "name"), ("secret", "Secret", "secretName"), ("downwardAPI", "DownwardAPI", "")];
    for (source, kind, field) in sources {
        let Some(source) = present(volume, source) else { continue };
        let what = if field.is_empty() { kind.to_owned() } else { format!("{kind} {:?}", text(source, field)) };
        overlaps(paths(source), &format!("volume {name:?} ({what}): overlapping paths"), out);
    }
    let Some(projected) = present(volume, "projected") else { return };
    let mut all: Vec<&str> = Vec::new();
    for projection in items(projected, "sources") {
        let sources = ["configMap", "secret", "downwardAPI", "serviceAccountToken", "clusterTrustBundle"];
        let Some((kind, source)) = sources.iter().find_map(|kind| Some((*kind, present(projection, kind)?))) else {
            if projection.as_object().is_none_or(serde_json::Map::is_empty) {
                out.push(format!("volume {name:?} (Projected) has no sources provided"));
            }
            continue;
        };
        let (what, own) = match kind {
            "configMap" => (format!("ConfigMap {:?}", text(source, "name")), paths(source)),
            "secret" => (format!("Secret {:?}", text(source, "name")), paths(source)),
            "downwardAPI" => ("DownwardAPI".to_owned(), paths(source)),
            "serviceAccountToken" => ("ServiceAccountToken".to_owned(), vec![text(source, "path")]),
            _ => {
                let name = source.get("name").and_then(Value::as_str).unwrap_or(text(source, "signerName"));
                (format!("ClusterTrustBundle {name:?}"), vec![text(source, "path")])
            }
        };
        let message = format!("volume {name:?} (Projected {what}): overlapping paths");
        overlaps(own.clone(), &message, out);
        let unique: HashSet<&str> = own.into_iter().collect();
        let mut together: Vec<&str> = unique.iter().chain(&all).copied().collect();
        together.sort_unstable();
        overlaps(together, &message, out);
        all.extend(unique);
    }
}

fn paths(source: &Value) -> Vec<&str> {
    items(source, "items").iter().map(|item| text(item, "path")).collect()
}

fn overlaps(paths: Vec<&str>, message: &str, out: &mut Vec<String>) {
    let mut seen: Vec<&str> = Vec::new();
    for path in paths.into_iter().map(|path| path.trim_end_matches('/')) {
        if out.len() >= MAX_WARNINGS {
            return;
        }
        let collides = |other: &&&str| {
            !other.is_empty() && !path.is_empty() && (other.starts_with(path) || path.starts_with(**other))
        };
        if let Some(other) = seen.iter().find(collides) {
            out.push(format!("{message}: {path:?} with {other:?}"));
        }
        if seen.len() < MAX_COMPARED {
            seen.push(path);
        }
    }
}

fn duplicate_warnings(spec: &Value, path: &str, out: &mut Vec<String>) {
    for (list, field) in [("hostAliases", "ip"), ("imagePullSecrets", "name")] {
        let mut seen = HashSet::new();
        for (i, item) in items(spec, list).iter().enumerate() {
            let value = text(item, field);
            if !seen.insert(value) {
                out.push(format!("{path}.{list}[{i}].{field}: duplicate {field} {value:?}"));
            }
        }
    }
    for (i, _) in items(spec, "imagePullSecrets").iter().enumerate().filter(|(_, s)| text(s, "name").is_empty()) {
        out.push(format!("{path}.imagePullSecrets[{i}].name: invalid empty name \"\""));
    }
}

fn container_warnings(container: &Value, path: &str, out: &mut Vec<String>) {
    for name in ["memory", "ephemeral-storage"] {
        for list in ["limits", "requests"] {
            let amounts = container.get("resources").and_then(|resources| map(resources, list));
            if let Some(amount) = amounts.and_then(|amounts| amounts.get(name)) {
                fraction_warning(amount, &format!("{path}.resources.{list}[{name}]"), out);
            }
        }
    }
    let mut seen = HashSet::new();
    for (i, variable) in items(container, "env").iter().enumerate() {
        let name = text(variable, "name");
        if seen.insert(name) {
            continue;
        }
        // A value that builds on the one before it is no mistake.
        let (value, reference) = (text(variable, "value"), format!("$({name})"));
        if present(variable, "valueFrom").is_some() || value == reference || !value.contains(&reference) {
            let hides = "hides previous definition of";
            out.push(format!("{path}.env[{i}]: {hides} {name:?}, which may be dropped when using apply"));
        }
    }
}

/// Ports of a pod's containers that are one port, or may be.
fn port_warnings(spec: &Value, path: &str, out: &mut Vec<String>) {
    let mut all: BTreeMap<(i64, &str), Vec<(String, &Value)>> = BTreeMap::new();
    for (list, i, container) in each_container(spec) {
        for (j, port) in items(container, "ports").iter().enumerate() {
            let at = format!("{path}.{list}[{i}].ports[{j}]");
            let host = |port: &Value| int(port, "hostPort").unwrap_or(0);
            let number = int(port, "containerPort").unwrap_or(0);
            if !text(port, "hostIP").is_empty() && host(port) == 0 {
                let shown = format!(
                    "{{Name:{} HostPort:0 ContainerPort:{number} Protocol:{} HostIP:{}}}",
                    text(port, "name"),
                    text(port, "protocol"),
                    text(port, "hostIP")
                );
                out.push(format!("{at}: hostIP set without hostPort: {shown}"));
            }
            let others = all.entry((number, text(port, "protocol"))).or_default();
            if out.len() >= MAX_WARNINGS {
                return;
            }
            for (other_at, other) in others.iter() {
                let same_ip = text(port, "hostIP") == text(other, "hostIP");
                let one_ip = text(port, "hostIP").is_empty() != text(other, "hostIP").is_empty();
                let what = if same_ip && host(port) == host(other) {
                    "duplicate"
                } else if host(port) == 0 || host(other) == 0 {
                    "overlapping"
                } else if host(port) == host(other) && one_ip {
                    "dangerously ambiguous"
                } else {
                    continue;
                };
                out.push(format!("{at}: {what} port definition with {other_at}"));
            }
            if others.len() < MAX_COMPARED {
                others.push((at, port));
            }
        }
    }
}

const HINTS: &str = "service.kubernetes.io/topology-aware-hints";
const TOPOLOGY_MODE: &str = "service.kubernetes.io/topology-mode";

/// Of a Service.
pub(super) fn service_warnings(object: &Value) -> Vec<String> {
    let (mut out, spec) = (Vec::new(), object.get("spec").unwrap_or(&Value::Null));
    if meta::annotation(object, HINTS).is_some() {
        out.push(format!("annotation {HINTS} is deprecated, please use {TOPOLOGY_MODE} instead"));
    }
    let (kind, address) = (text(spec, "type"), text(spec, "clusterIP"));
    if !matches!(address, "" | "None") {
        ip_list_warnings(spec, "clusterIPs", &mut out);
    }
    let external = items(spec, "externalIPs");
    if kind == "ClusterIP" && address == "None" {
        if !text(spec, "loadBalancerIP").is_empty() {
            out.push("spec.loadBalancerIP is ignored for headless services".into());
        }
        if !external.is_empty() {
            out.push("spec.externalIPs is ignored for headless services".into());
        }
        if text(spec, "sessionAffinity") != "None" {
            out.push("spec.SessionAffinity is ignored for headless services".into());
        }
    }
    ip_list_warnings(spec, "externalIPs", &mut out);
    ip_warning(text(spec, "loadBalancerIP"), "spec.loadBalancerIP", &mut out);
    if kind == "ExternalName" && !external.is_empty() {
        out.push("spec.externalIPs is ignored when spec.type is \"ExternalName\"".into());
    }
    if kind != "ExternalName" && !text(spec, "externalName").is_empty() {
        out.push("spec.externalName is ignored when spec.type is not \"ExternalName\"".into());
    }
    if text(spec, "trafficDistribution") == "PreferClose" {
        out.push("spec.trafficDistribution: \"PreferClose\" is deprecated; use \"PreferSameZone\"".into());
    }
    out
}

fn ip_list_warnings(spec: &Value, list: &str, out: &mut Vec<String>) {
    for (i, address) in items(spec, list).iter().filter_map(Value::as_str).enumerate() {
        ip_warning(address, &format!("spec.{list}[{i}]"), out);
    }
}

/// An address in a form that will not be accepted for ever.
fn ip_warning(address: &str, path: &str, out: &mut Vec<String>) {
    match address.parse::<IpAddr>() {
        Ok(IpAddr::V6(six)) => match six.to_ipv4_mapped() {
            Some(four) => out.push(format!(
                "{path}: non-standard IP address {address:?} will be considered invalid in a future Kubernetes release: use \"{four}\""
            )),
            None if six.to_string() != address => {
                out.push(format!("{path}: IPv6 address {address:?} should be in RFC 5952 canonical format (\"{six}\")"));
            }
            None => {}
        },
        Ok(IpAddr::V4(_)) | Err(_) => {}
    }
}

/// Of a Job (`WarningsForJobSpec`): more than can be told apart.
pub(super) fn job_warnings(spec: &Value) -> Option<String> {
    const COMPLETIONS: i64 = 100_000;
    const PARALLELISM: i64 = 10_000;
    let many =
        int(spec, "completions").unwrap_or(0) > COMPLETIONS && int(spec, "parallelism").unwrap_or(0) > PARALLELISM;
    (many && text(spec, "completionMode") == "Indexed" && !flag(spec, "suspend")).then(|| {
        "In Indexed Jobs with a number of completions higher than 10^5 and a parallelism higher than 10^4, Kubernetes might not be able to track completedIndexes when a big number of indexes fail".to_owned()
    })
}
