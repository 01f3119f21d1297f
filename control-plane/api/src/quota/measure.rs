//! Which resource names measure which kinds, and how much of them one object is (`pkg/quota/v1/evaluator/core`).

use super::Kind;
use crate::amounts::{self, Amounts};
use crate::quantity::Quantity;
use crate::{meta, time};
use jiff::{SignedDuration, Timestamp};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

const COUNT: &str = "count/";
const REQUESTS: &str = "requests.";
const HUGE_PAGES: &str = "hugepages-";
const STORAGE_CLASS: &str = ".storageclass.storage.k8s.io/";
const CLAIMS: &str = "persistentvolumeclaims";
const REQUESTED_STORAGE: &str = "requests.storage";
const BETA_STORAGE_CLASS: &str = "volume.beta.kubernetes.io/storage-class";

const POD: [&str; 10] = [
    "cpu",
    "memory",
    "ephemeral-storage",
    "requests.cpu",
    "requests.memory",
    "requests.ephemeral-storage",
    "limits.cpu",
    "limits.memory",
    "limits.ephemeral-storage",
    "pods",
];
const SERVICE: [&str; 3] = ["services", "services.nodeports", "services.loadbalancers"];
/// Core kinds that are counted under their plurals, too.
const ALIASES: [&str; 4] = ["configmaps", "replicationcontrollers", "resourcequotas", "secrets"];
/// What a pod must say when a quota measures it; nothing more ever joins this list.
const REQUIRED: [&str; 6] = ["cpu", "memory", "requests.cpu", "requests.memory", "limits.cpu", "limits.memory"];

/// Kinds of which more is measured than their number.
pub(super) fn has_details(kind: Kind<'_>) -> bool {
    matches!(kind, ("", "pods" | "services" | CLAIMS))
}

/// Whether `name` in a quota measures objects of this kind.
#[must_use]
pub fn tracks((group, plural): Kind<'_>, name: &str) -> bool {
    if let Some(counted) = name.strip_prefix(COUNT) {
        return split(counted) == (group, plural);
    }
    match (group, plural) {
        ("", "pods") => {
            POD.contains(&name)
                || name.starts_with(HUGE_PAGES)
                || name.starts_with("requests.hugepages-")
                || !is_native(name) && name.starts_with(REQUESTS)
        }
        ("", "services") => SERVICE.contains(&name),
        ("", CLAIMS) => {
            let name = name.split_once(STORAGE_CLASS).map_or(name, |(_, resource)| resource);
            matches!(name, CLAIMS | REQUESTED_STORAGE)
        }
        ("", plural) => ALIASES.contains(&plural) && plural == name,
        _ => false,
    }
}

/// `deployments.apps`: group and plural.
fn split(counted: &str) -> (&str, &str) {
    counted.split_once('.').map_or(("", counted), |(plural, group)| (group, plural))
}

/// The kinds that a quota on these resources measures.
#[must_use]
pub fn kinds(hard: &Amounts) -> BTreeSet<(String, String)> {
    const CORE: [&str; 7] =
        ["pods", "services", CLAIMS, "configmaps", "replicationcontrollers", "resourcequotas", "secrets"];
    let mut kinds = BTreeSet::new();
    for name in hard.keys() {
        if let Some(counted) = name.strip_prefix(COUNT) {
            let (group, plural) = split(counted);
            kinds.insert((group.to_owned(), plural.to_owned()));
        } else if let Some(plural) = CORE.iter().find(|plural| tracks(("", plural), name)) {
            kinds.insert((String::new(), (*plural).to_owned()));
        }
    }
    kinds
}

/// What one object uses. `now` decides whether a pod that is to be gone still counts.
#[must_use]
pub fn usage(kind: Kind<'_>, object: &Value, now: Timestamp) -> Amounts {
    let (group, plural) = kind;
    let one = Quantity::from_int(1);
    let counted = if group.is_empty() { format!("{COUNT}{plural}") } else { format!("{COUNT}{plural}.{group}") };
    let mut used = Amounts::from([(counted, one)]);
    match kind {
        ("", "pods") if lives(object, now) => {
            let spec = object.get("spec").unwrap_or(&Value::Null);
            used.extend(compute(&amounts::pod_requests(spec), &amounts::pod_limits(spec)));
        }
        ("", "services") => used.extend(service(object)),
        ("", CLAIMS) => used.extend(claim(object)),
        ("", plural) if ALIASES.contains(&plural) => _ = used.insert(plural.to_owned(), one),
        _ => {}
    }
    used
}

/// Whether a pod has not ended, and is not overdue to be gone (`QuotaV1Pod`).
fn lives(pod: &Value, now: Timestamp) -> bool {
    if matches!(pod.pointer("/status/phase").and_then(Value::as_str), Some("Failed" | "Succeeded")) {
        return false;
    }
    let end = || {
        let deleted = time::parse(meta::deletion_timestamp(pod)?)?;
        let grace = SignedDuration::from_secs(meta::deletion_grace_seconds(pod)?);
        deleted.checked_add(grace).ok()
    };
    end().is_none_or(|end| now <= end)
}

fn compute(requests: &Amounts, limits: &Amounts) -> Amounts {
    let mut used = Amounts::from([("pods".to_owned(), Quantity::from_int(1))]);
    for name in ["cpu", "memory", "ephemeral-storage"] {
        if let Some(request) = requests.get(name) {
            used.insert(name.to_owned(), *request);
            used.insert(format!("{REQUESTS}{name}"), *request);
        }
        if let Some(limit) = limits.get(name) {
            used.insert(format!("limits.{name}"), *limit);
        }
    }
    for (name, request) in requests {
        if name.starts_with(HUGE_PAGES) {
            used.insert(name.clone(), *request);
            used.insert(format!("{REQUESTS}{name}"), *request);
        } else if !is_native(name) && !name.starts_with(REQUESTS) {
            used.insert(format!("{REQUESTS}{name}"), *request);
        }
    }
    used
}

/// A resource that Kubernetes itself defines: unprefixed, or under `kubernetes.io/`.
fn is_native(name: &str) -> bool {
    !name.contains('/') || name.contains("kubernetes.io/")
}

fn service(service: &Value) -> Amounts {
    let spec = service.get("spec").unwrap_or(&Value::Null);
    let ports = spec.get("ports").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    let all = ports.len();
    let (node_ports, balancers) = match spec.get("type").and_then(Value::as_str) {
        Some("NodePort") => (all, 0),
        Some("LoadBalancer") if spec.get("allocateLoadBalancerNodePorts") == Some(&Value::Bool(false)) => {
            let asked = |port: &&Value| port.get("nodePort").and_then(Value::as_i64).is_some_and(|number| number != 0);
            (ports.iter().filter(asked).count(), 1)
        }
        Some("LoadBalancer") => (all, 1),
        _ => (0, 0),
    };
    let number = |n: usize| Quantity::from_int(i64::try_from(n).unwrap_or(i64::MAX));
    Amounts::from([
        ("services".to_owned(), number(1)),
        ("services.nodeports".to_owned(), number(node_ports)),
        ("services.loadbalancers".to_owned(), number(balancers)),
    ])
}

fn claim(claim: &Value) -> Amounts {
    let mut used = Amounts::from([(CLAIMS.to_owned(), Quantity::from_int(1))]);
    let quantity = |pointer: &str| claim.pointer(pointer).and_then(|value| Quantity::from_value(value).ok());
    if let Some(asked) = quantity("/spec/resources/requests/storage") {
        let allocated = quantity("/status/allocatedResources/storage");
        used.insert(REQUESTED_STORAGE.to_owned(), allocated.filter(|a| *a > asked).unwrap_or(asked));
    }
    let class = meta::annotation(claim, BETA_STORAGE_CLASS)
        .or_else(|| claim.pointer("/spec/storageClassName").and_then(Value::as_str))
        .filter(|class| !class.is_empty());
    if let Some(class) = class {
        let of_class: Vec<_> =
            used.iter().map(|(name, amount)| (format!("{class}{STORAGE_CLASS}{name}"), *amount)).collect();
        used.extend(of_class);
    }
    used
}

/// What containers do not say though a quota measures it: `must specify limits.cpu for: a,b; memory for: a`.
pub(super) fn missing(spec: &Value, hard: &Amounts) -> Option<String> {
    let required: Vec<&str> = REQUIRED.iter().copied().filter(|name| hard.contains_key(*name)).collect();
    if required.is_empty() {
        return None;
    }
    let pod_level =
        compute(&amounts::read(spec.pointer("/resources/requests")), &amounts::read(spec.pointer("/resources/limits")));
    let mut missing: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for field in ["containers", "initContainers"] {
        for container in spec.get(field).and_then(Value::as_array).into_iter().flatten() {
            let says = compute(
                &amounts::read(container.pointer("/resources/requests")),
                &amounts::read(container.pointer("/resources/limits")),
            );
            let name = container.get("name").and_then(Value::as_str).unwrap_or_default();
            for resource in required.iter().filter(|r| !says.contains_key(**r) && !pod_level.contains_key(**r)) {
                missing.entry(resource).or_default().insert(name);
            }
        }
    }
    if missing.is_empty() {
        return None;
    }
    let parts = missing.iter().map(|(resource, containers)| {
        format!("{resource} for: {}", containers.iter().copied().collect::<Vec<_>>().join(","))
    });
    Some(format!("must specify {}", parts.collect::<Vec<_>>().join("; ")))
}
