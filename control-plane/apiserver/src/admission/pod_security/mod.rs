//! `PodSecurity`: pods are held to the policy that their namespace's labels ask for; templates of pods are warned about
//! (`pod-security-admission/admission`).

mod baseline;
mod checks;
mod policy;
mod restricted;
#[cfg(test)]
mod tests;

use super::{Plugin, Request};
use crate::objects::Index;
use api::{Status, meta};
use checks::{Violations, violations};
use futures::future::{self, BoxFuture};
use policy::{Level, Policy, Rule};
use serde_json::Value;
use std::collections::BTreeMap;
use store::Snapshot;

/// Pods that are looked at when a namespace's policy changes.
const MOST_PODS: usize = 3_000;
/// Subresources that do not change what a pod may do.
const HARMLESS: [&str; 8] = ["exec", "attach", "binding", "eviction", "log", "portforward", "proxy", "status"];
const SECCOMP_POD: &str = "seccomp.security.alpha.kubernetes.io/pod";
const SECCOMP_CONTAINER: &str = "container.seccomp.security.alpha.kubernetes.io/";

pub(super) struct PodSecurity;

/// Where a kind has its pod.
fn template(request: &Request<'_>) -> Option<&'static str> {
    Some(match request.resource.storage.as_ref() {
        "core/podtemplates" => "/template",
        "core/replicationcontrollers"
        | "apps/replicasets"
        | "apps/deployments"
        | "apps/statefulsets"
        | "apps/daemonsets"
        | "batch/jobs" => "/spec/template",
        "batch/cronjobs" => "/spec/jobTemplate/spec/template",
        _ => return None,
    })
}

impl Plugin for PodSecurity {
    fn handles(&self, request: &Request<'_>) -> bool {
        if !request.operation.is_write() {
            return false;
        }
        match request.resource.storage.as_ref() {
            "core/namespaces" => request.subresource.is_empty(),
            "core/pods" => !HARMLESS.contains(&request.subresource),
            _ => request.subresource.is_empty() && template(request).is_some(),
        }
    }

    fn admit<'a>(&'a self, request: &'a mut Request<'_>) -> BoxFuture<'a, Result<(), Status>> {
        let result = match request.resource.storage.as_ref() {
            "core/namespaces" => namespace(request),
            "core/pods" => pod(request),
            _ => {
                controller(request);
                Ok(())
            }
        };
        Box::pin(future::ready(result))
    }
}

/// The policy of the request's namespace, from the store's index: nothing is parsed.
fn policy(request: &Request<'_>) -> Policy {
    let key = format!("core/namespaces/{}", request.namespace);
    let entry = request.snapshot.get(key.as_bytes());
    Policy::of(|label| entry.and_then(|entry| Index::of(entry).label(label))).0
}

fn pod(request: &Request<'_>) -> Result<(), Status> {
    let policy = policy(request);
    if policy.is_open() || request.old.is_some_and(|old| !is_significant(request.object, old)) {
        return Ok(());
    }
    let found = violations(policy.enforce, request.object);
    if !found.is_empty() {
        let rule = policy.enforce.to_string();
        return Err(request.forbidden(format!("violates PodSecurity {rule:?}: {}", found.details())));
    }
    warn(request, policy.warn, request.object);
    Ok(())
}

fn controller(request: &Request<'_>) {
    let policy = policy(request);
    if policy.warn.level != Level::Privileged
        && let Some(template) = template(request).and_then(|pointer| request.object.pointer(pointer))
    {
        warn(request, policy.warn, template);
    }
}

fn warn(request: &Request<'_>, rule: Rule, pod: &Value) {
    let found = violations(rule, pod);
    if !found.is_empty() {
        request.warn(format!("would violate PodSecurity {:?}: {}", rule.to_string(), found.details()));
    }
}

/// Labels of a new namespace are to make sense; changed ones, too, and the pods that are there are looked at.
fn namespace(request: &Request<'_>) -> Result<(), Status> {
    let (new, errors) = Policy::of(|key| meta::label(request.object, key));
    let (old, old_errors) = request.old.map(|old| Policy::of(|key| meta::label(old, key))).unzip();
    if !errors.is_empty() && old_errors.as_ref() != Some(&errors) {
        return Err(Status::invalid("", "Namespace", request.name, &errors));
    }
    let Some(old) = old else { return Ok(()) };
    let relaxed = new.enforce.version == old.enforce.version && new.enforce.level <= old.enforce.level;
    if new.enforce != old.enforce && new.enforce.level != Level::Privileged && !relaxed {
        for warning in existing(request.snapshot, request.name, new.enforce) {
            request.warn(warning);
        }
    }
    Ok(())
}

/// What the pods that are there violate: each violation once, with the first pod's name.
fn existing(snapshot: &Snapshot, namespace: &str, rule: Rule) -> Vec<String> {
    let prefix = format!("core/pods/{namespace}/");
    let total = snapshot.count(prefix.as_bytes());
    let mut found: BTreeMap<String, (String, usize)> = BTreeMap::new();
    for (_, entry) in snapshot.range(prefix.as_bytes(), None).take(MOST_PODS) {
        let pod: Value = serde_json::from_slice(&entry.value.body).unwrap_or_default();
        let violations: Violations = violations(rule, &pod);
        if !violations.is_empty() {
            // In the order of names: the first one stays.
            let known = found.entry(violations.reasons()).or_insert_with(|| (meta::name(&pod).to_owned(), 0));
            known.1 += 1;
        }
    }
    let mut warnings = Vec::new();
    if total > MOST_PODS {
        warnings.push(format!(
            "new PodSecurity enforce level only checked against the first {MOST_PODS} of {total} existing pods"
        ));
    }
    if !found.is_empty() {
        warnings.push(format!(
            "existing pods in namespace {namespace:?} violate the new PodSecurity enforce level {:?}",
            rule.to_string()
        ));
    }
    let mut pods: Vec<String> = found
        .into_iter()
        .map(|(reasons, (name, count))| match count {
            1 => format!("{name}: {reasons}"),
            2 => format!("{name} (and 1 other pod): {reasons}"),
            _ => format!("{name} (and {} other pods): {reasons}", count - 1),
        })
        .collect();
    pods.sort();
    warnings.extend(pods);
    warnings
}

/// Whether an update changes anything that a policy looks at (`isSignificantPodUpdate`).
fn is_significant(pod: &Value, old: &Value) -> bool {
    let list = |pod: &'_ Value, field: &str| -> Vec<Value> {
        let found = pod.get("spec").and_then(|spec| spec.get(field)).and_then(Value::as_array);
        found.cloned().unwrap_or_default()
    };
    let differs = |container: &Value, before: &Value| {
        let name = container.get("name").and_then(Value::as_str).unwrap_or_default();
        let key = format!("{SECCOMP_CONTAINER}{name}");
        container.get("image") != before.get("image") || meta::annotation(pod, &key) != meta::annotation(old, &key)
    };
    if meta::annotation(pod, SECCOMP_POD) != meta::annotation(old, SECCOMP_POD) {
        return true;
    }
    for field in ["containers", "initContainers"] {
        let (new, old) = (list(pod, field), list(old, field));
        if new.len() != old.len() || new.iter().zip(&old).any(|(new, old)| differs(new, old)) {
            return true;
        }
    }
    let before = list(old, "ephemeralContainers");
    list(pod, "ephemeralContainers").iter().any(|container| {
        let same = before.iter().find(|old| old.get("name") == container.get("name"));
        same.is_none_or(|same| differs(container, same))
    })
}
