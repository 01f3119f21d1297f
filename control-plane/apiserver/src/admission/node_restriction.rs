//! `NodeRestriction`: a kubelet changes its own Node, its own Lease and the pods bound to it, and of its Node not the
//! labels that schedulers trust (`plugin/pkg/admission/noderestriction`).

use super::{Operation, Plugin, Request};
use crate::authz::node::{NODES, identity};
use crate::objects::Facts;
use api::{Status, meta};
use futures::future::{self, BoxFuture};
use serde_json::Value;
use std::collections::BTreeSet;
use store::{Entry, Snapshot};

const MIRROR: &str = "kubernetes.io/config.mirror";
const LEASES: &str = "kube-node-lease";
const OWN_LABELS: &[&str] = &[
    "beta.kubernetes.io/arch",
    "beta.kubernetes.io/instance-type",
    "beta.kubernetes.io/os",
    "failure-domain.beta.kubernetes.io/region",
    "failure-domain.beta.kubernetes.io/zone",
    "kubernetes.io/arch",
    "kubernetes.io/hostname",
    "kubernetes.io/os",
    "node.kubernetes.io/instance-type",
    "node.kubernetes.io/windows-build",
    "topology.kubernetes.io/region",
    "topology.kubernetes.io/zone",
];
const OWN_LABEL_DOMAINS: &[&str] = &["kubelet.kubernetes.io", "node.kubernetes.io"];

pub(super) struct NodeRestriction;

impl Plugin for NodeRestriction {
    fn handles(&self, request: &Request<'_>) -> bool {
        request.user.is_in(NODES)
    }

    fn admit<'a>(&'a self, request: &'a mut Request<'_>) -> BoxFuture<'a, Result<(), Status>> {
        Box::pin(future::ready(check(request)))
    }
}

fn check(request: &Request<'_>) -> Result<(), Status> {
    let Some(node) = identity(request.user) else { return Ok(()) };
    if node.is_empty() {
        return refuse(request, format!("could not determine node from user {:?}", request.user.name));
    }
    match (request.resource.group.as_ref(), request.resource.plural.as_ref(), request.subresource) {
        ("", "pods", "") => pod(request, node),
        ("", "pods", "status") => pod_status(request, node),
        ("", "pods", "eviction") => {
            own_pod(request, node, format!("node {node} can only evict pods with spec.nodeName set to itself"))
        }
        ("", "pods", other) => {
            refuse(request, format!("unexpected pod subresource {other:?}, only 'status' and 'eviction' are allowed"))
        }
        ("", "nodes", _) => own_node(request, node),
        ("", "persistentvolumeclaims", "status") => claim_status(request),
        ("coordination.k8s.io", "leases", _) => named(request, node, Some(LEASES), "lease"),
        ("storage.k8s.io", "csinodes", _) => named(request, node, None, "CSINode"),
        _ => Ok(()),
    }
}

fn refuse(request: &Request<'_>, why: impl Into<String>) -> Result<(), Status> {
    let resource = request.resource;
    Err(Status::forbidden(&resource.group, &resource.plural, subject(request), why.into()))
}

fn subject<'r>(request: &'r Request<'_>) -> &'r str {
    if request.name.is_empty() { meta::name(request.object) } else { request.name }
}

fn text<'v>(object: &'v Value, pointer: &str) -> &'v str {
    object.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

fn pod(request: &Request<'_>, node: &str) -> Result<(), Status> {
    match request.operation {
        Operation::Create => mirror_pod(request, node),
        Operation::Delete => {
            own_pod(request, node, format!("node {node:?} can only delete pods with spec.nodeName set to itself"))
        }
        Operation::Update => refuse(
            request,
            format!("unexpected operation \"UPDATE\", node {node:?} can only create and delete mirror pods"),
        ),
    }
}

fn mirror_pod(request: &Request<'_>, node: &str) -> Result<(), Status> {
    let pod = &*request.object;
    if meta::annotation(pod, MIRROR).is_none() {
        return refuse(
            request,
            format!("pod does not have {MIRROR:?} annotation, node {node:?} can only create mirror pods"),
        );
    }
    if text(pod, "/spec/nodeName") != node {
        return refuse(request, format!("node {node:?} can only create pods with spec.nodeName set to itself"));
    }
    if !text(pod, "/spec/serviceAccountName").is_empty() {
        return refuse(request, format!("node {node:?} can not create pods that reference a service account"));
    }
    let volumes = pod.pointer("/spec/volumes").and_then(Value::as_array).into_iter().flatten();
    for volume in volumes {
        for (field, what) in [
            ("secret", "secrets"),
            ("configMap", "configmaps"),
            ("persistentVolumeClaim", "persistentvolumeclaims"),
            ("projected", "projected volumes"),
        ] {
            if volume.get(field).is_some_and(Value::is_object) {
                return refuse(request, format!("node {node:?} can not create pods that reference {what}"));
            }
        }
    }
    Ok(())
}

/// The pod that the request is about must be bound to the node.
fn own_pod(request: &Request<'_>, node: &str, why: String) -> Result<(), Status> {
    let bound = match request.old {
        Some(old) => text(old, "/spec/nodeName") == node,
        None => pod_entry(request.snapshot, request.namespace, subject(request))
            .and_then(|entry| Facts::of(&entry.value.body).ok())
            .is_some_and(|pod| pod.spec.node_name.as_deref() == Some(node)),
    };
    if bound { Ok(()) } else { refuse(request, why) }
}

fn pod_entry<'s>(snapshot: &'s Snapshot, namespace: &str, name: &str) -> Option<&'s Entry> {
    snapshot.get(format!("core/pods/{namespace}/{name}").as_bytes()).map(|entry| &**entry)
}

fn pod_status(request: &Request<'_>, node: &str) -> Result<(), Status> {
    let why = format!("node {node:?} can only update pod status for pods with spec.nodeName set to itself");
    own_pod(request, node, why)?;
    if request.old.is_some_and(|old| meta::labels(old) != meta::labels(request.object)) {
        return refuse(request, format!("node {node:?} cannot update labels through pod status"));
    }
    Ok(())
}

fn own_node(request: &Request<'_>, node: &str) -> Result<(), Status> {
    let name = subject(request);
    if name != node {
        return refuse(request, format!("node {node:?} is not allowed to modify node {name:?}"));
    }
    if request.operation == Operation::Delete {
        return Ok(());
    }
    let changed = forbidden_labels(request.object, request.old);
    if !changed.is_empty() {
        let verb = if request.old.is_some() { "modify labels" } else { "set the following labels" };
        let list = changed.into_iter().collect::<Vec<_>>().join(", ");
        return refuse(request, format!("node {node:?} is not allowed to {verb}: {list}"));
    }
    let Some(old) = request.old else { return Ok(()) };
    if old.pointer("/spec/taints") != request.object.pointer("/spec/taints") {
        return refuse(request, format!("node {node:?} is not allowed to modify taints"));
    }
    if meta::owner_references(old) != meta::owner_references(request.object) {
        return refuse(request, format!("node {node:?} is not allowed to modify ownerReferences"));
    }
    Ok(())
}

/// The labels that differ and that are not a kubelet's to set.
fn forbidden_labels(new: &Value, old: Option<&Value>) -> BTreeSet<String> {
    let of = |object: &Value, key: &str| meta::label(object, key).map(String::from);
    let names = [Some(new), old].into_iter().flatten().filter_map(meta::labels).flat_map(|labels| labels.keys());
    let changed = names.filter(|key| of(new, key) != old.and_then(|old| of(old, key)));
    changed.filter(|key| is_forbidden_label(key)).cloned().collect()
}

fn is_forbidden_label(key: &str) -> bool {
    let Some((domain, _)) = key.split_once('/') else { return false };
    let within = |parent: &str| domain == parent || domain.strip_suffix(parent).is_some_and(|rest| rest.ends_with('.'));
    if within("node-restriction.kubernetes.io") {
        return true;
    }
    let kubernetes = within("kubernetes.io") || within("k8s.io");
    kubernetes && !OWN_LABELS.contains(&key) && !OWN_LABEL_DOMAINS.iter().any(|own| within(own))
}

fn claim_status(request: &Request<'_>) -> Result<(), Status> {
    let spec = |object: &Value| object.get("spec").cloned();
    if request.old.is_some_and(|old| spec(old) != spec(request.object)) {
        return refuse(request, "node may only update the status of a persistentvolumeclaim");
    }
    Ok(())
}

fn named(request: &Request<'_>, node: &str, namespace: Option<&str>, what: &str) -> Result<(), Status> {
    if namespace.is_some_and(|namespace| namespace != request.namespace) {
        return refuse(request, format!("can only access leases in the {LEASES:?} system namespace"));
    }
    let name = subject(request);
    if name != node {
        let what = if what == "lease" { "node lease" } else { what };
        return refuse(request, format!("can only access {what} with the same name as the requesting node"));
    }
    Ok(())
}

/// A kubelet asks for tokens of its own pods only. `spec` is the TokenRequest's.
///
/// # Errors
/// 403.
pub(crate) fn token(
    node: &str,
    account: &str,
    namespace: &str,
    snapshot: &Snapshot,
    spec: &Value,
) -> Result<(), Status> {
    let refuse = |why: String| Err(Status::forbidden("", "serviceaccounts", account, why));
    let reference = |field: &str| text(spec, &format!("/boundObjectRef/{field}"));
    if reference("kind") != "Pod" || reference("name").is_empty() {
        return refuse("node requested token not bound to a pod".into());
    }
    let uid = reference("uid");
    if uid.is_empty() {
        return refuse("node requested token with a pod binding without a uid".into());
    }
    let Some(entry) = pod_entry(snapshot, namespace, reference("name")) else {
        return Err(Status::not_found("", "pods", reference("name")));
    };
    let pod = Facts::of(&entry.value.body).map_err(Status::internal)?;
    if pod.metadata.uid != uid {
        return refuse(format!(
            "the UID in the bound object reference ({uid}) does not match the UID in record. The object might have been deleted and then recreated"
        ));
    }
    if pod.spec.node_name.as_deref().unwrap_or_default() != node {
        return refuse("node requested token bound to a pod scheduled on a different node".into());
    }
    let audiences = spec.get("audiences").and_then(Value::as_array).into_iter().flatten();
    let mut whole = None;
    for audience in audiences.filter_map(Value::as_str).filter(|audience| !audience.is_empty()) {
        let pod = whole.get_or_insert_with(|| serde_json::from_slice(&entry.value.body).unwrap_or_default());
        if !shows(pod, audience) {
            return refuse(format!("audience {audience:?} not found in pod spec volume"));
        }
    }
    Ok(())
}

/// Whether a volume of the pod shows a token for `audience`.
fn shows(pod: &Value, audience: &str) -> bool {
    let volumes = pod.pointer("/spec/volumes").and_then(Value::as_array).into_iter().flatten();
    let sources = volumes.filter_map(|volume| volume.pointer("/projected/sources")?.as_array()).flatten();
    sources.into_iter().any(|source| text(source, "/serviceAccountToken/audience") == audience)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_that_schedulers_trust_are_not_a_kubelets() {
        for (key, forbidden) in [
            ("kubernetes.io/hostname", false),
            ("node.kubernetes.io/anything", false),
            ("kubelet.kubernetes.io/x", false),
            ("example.com/x", false),
            ("plain", false),
            ("node-role.kubernetes.io/master", true),
            ("foo.k8s.io/x", true),
            ("node-restriction.kubernetes.io/x", true),
            ("a.node-restriction.kubernetes.io/x", true),
        ] {
            assert_eq!(is_forbidden_label(key), forbidden, "{key}");
        }
    }
}
