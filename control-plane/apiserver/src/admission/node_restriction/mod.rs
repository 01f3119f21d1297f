//! `NodeRestriction`: a kubelet changes its own Node, its own Lease and the pods bound to it, and of its Node not the
//! labels that schedulers trust (`plugin/pkg/admission/noderestriction`).

mod references;
mod token;

use super::{Operation, Plugin, Request};
use crate::authz::node::{NODES, identity};
use crate::objects::Facts;
use crate::pki::read_request;
use api::{Status, meta};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
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
/// The signers whose certificates speak for nodes.
const NODE_SIGNERS: [&str; 2] = ["kubernetes.io/kubelet-serving", "kubernetes.io/kube-apiserver-client-kubelet"];
/// What of a claim's status a kubelet knows: it has grown the volume.
const CLAIM_STATUS: [&str; 4] = ["capacity", "conditions", "allocatedResourceStatuses", "allocatedResources"];

pub(super) struct NodeRestriction;

impl Plugin for NodeRestriction {
    fn handles(&self, request: &Request<'_>) -> bool {
        request.operation != Operation::Connect && request.user.is_in(NODES)
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
        ("", "serviceaccounts", "token") if request.operation == Operation::Create => token::check(request, node),
        ("", "persistentvolumeclaims", "status") => claim_status(request, node),
        ("", "persistentvolumeclaims", _) => refuse(request, "may only update PVC status"),
        ("coordination.k8s.io", "leases", _) if request.namespace != LEASES => {
            refuse(request, format!("can only access leases in the {LEASES:?} system namespace"))
        }
        ("coordination.k8s.io", "leases", _) => named(request, node, "node lease"),
        ("storage.k8s.io", "csinodes", _) => named(request, node, "CSINode"),
        ("certificates.k8s.io", "certificatesigningrequests", _) => certificate(request, node),
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
        Operation::Update | Operation::Connect => refuse(
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
    match meta::owner_references(pod) {
        [owner] => owned_by(request, node, owner)?,
        [] => {
            return refuse(
                request,
                format!("node {node:?} can only create pods with an owner reference set to itself"),
            );
        }
        _ => {
            return refuse(
                request,
                format!("node {node:?} can only create pods with a single owner reference set to itself"),
            );
        }
    }
    match references::of(pod) {
        Some(what) => refuse(request, format!("node {node:?} can not create pods that reference {what}")),
        None => Ok(()),
    }
}

/// A mirror pod's owner is its Node.
fn owned_by(request: &Request<'_>, node: &str, owner: &Value) -> Result<(), Status> {
    let is = |field: &str| owner.get(field) == Some(&Value::Bool(true));
    if [("/apiVersion", "v1"), ("/kind", "Node"), ("/name", node)].iter().any(|(field, own)| text(owner, field) != *own)
    {
        return refuse(request, format!("node {node:?} can only create pods with an owner reference set to itself"));
    }
    if !is("controller") {
        return refuse(
            request,
            format!("node {node:?} can only create pods with a controller owner reference set to itself"),
        );
    }
    if is("blockOwnerDeletion") {
        return refuse(request, format!("node {node:?} must not set blockOwnerDeletion on an owner reference"));
    }
    let Some(entry) = request.snapshot.get(format!("core/nodes/{node}").as_bytes()) else {
        return Err(Status::not_found("", "nodes", node));
    };
    let (given, uid) = (text(owner, "/uid"), Facts::of(&entry.value.body).map_err(Status::internal)?.metadata.uid);
    if given == uid {
        return Ok(());
    }
    refuse(request, format!("node {node} UID mismatch: expected {given} got {uid}"))
}

/// The pod that the request is about must be bound to the node.
fn own_pod(request: &Request<'_>, node: &str, why: String) -> Result<(), Status> {
    let bound = match request.old {
        Some(old) => text(old, "/spec/nodeName") == node,
        None => {
            let name = subject(request);
            let entry = pod_entry(request.snapshot, request.namespace, name);
            let entry = entry.ok_or_else(|| Status::not_found("", "pods", name))?;
            let pod = Facts::of(&entry.value.body).map_err(Status::internal)?;
            pod.spec.node_name.as_deref() == Some(node)
        }
    };
    if bound { Ok(()) } else { refuse(request, why) }
}

fn pod_entry<'s>(snapshot: &'s Snapshot, namespace: &str, name: &str) -> Option<&'s Entry> {
    snapshot.get(format!("core/pods/{namespace}/{name}").as_bytes()).map(|entry| &**entry)
}

fn pod_status(request: &Request<'_>, node: &str) -> Result<(), Status> {
    let why = format!("node {node:?} can only update pod status for pods with spec.nodeName set to itself");
    own_pod(request, node, why)?;
    let Some(old) = request.old else { return Ok(()) };
    if !changed_labels(request.object, Some(old)).is_empty() {
        return refuse(request, format!("node {node:?} cannot update labels through pod status"));
    }
    let claims = |pod: &Value| -> Vec<(String, String)> {
        let list = pod.pointer("/status/resourceClaimStatuses").and_then(Value::as_array).into_iter().flatten();
        list.map(|claim| (text(claim, "/name").to_owned(), text(claim, "/resourceClaimName").to_owned())).collect()
    };
    if claims(old) != claims(request.object) {
        return refuse(request, format!("node {node:?} cannot update resource claim statues"));
    }
    let extended = |pod: &Value| pod.pointer("/status/extendedResourceClaimStatus").filter(|s| !s.is_null()).cloned();
    if extended(old) != extended(request.object) {
        return refuse(request, format!("node {node:?} cannot update extended resource claim status"));
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
    let forbidden = || {
        let labels = changed_labels(request.object, request.old).into_iter().filter(|key| is_forbidden_label(key));
        labels.collect::<Vec<_>>().join(", ")
    };
    let source = |object: &Value| object.pointer("/spec/configSource").filter(|source| !source.is_null()).cloned();
    let Some(old) = request.old else {
        if source(request.object).is_some() {
            let why = format!("node {node:?} is not allowed to create pods with a non-nil configSource");
            return refuse(request, why);
        }
        let forbidden = forbidden();
        if forbidden.is_empty() {
            return Ok(());
        }
        return refuse(request, format!("node {node:?} is not allowed to set the following labels: {forbidden}"));
    };
    if source(request.object).is_some_and(|new| Some(new) != source(old)) {
        let why = format!("node {node:?} is not allowed to update configSource to a new non-nil configSource");
        return refuse(request, why);
    }
    let taints = |object: &Value| object.pointer("/spec/taints").and_then(Value::as_array).cloned().unwrap_or_default();
    if taints(old) != taints(request.object) {
        return refuse(request, format!("node {node:?} is not allowed to modify taints"));
    }
    if meta::owner_references(old) != meta::owner_references(request.object) {
        return refuse(request, format!("node {node:?} is not allowed to modify ownerReferences"));
    }
    let forbidden = forbidden();
    if forbidden.is_empty() { Ok(()) } else { refuse(request, format!("is not allowed to modify labels: {forbidden}")) }
}

/// The labels that one of the two has, and the other has not or with another value.
fn changed_labels(new: &Value, old: Option<&Value>) -> BTreeSet<String> {
    let of = |object: &Value, key: &str| meta::label(object, key).map(String::from);
    let names = [Some(new), old].into_iter().flatten().filter_map(meta::labels).flat_map(|labels| labels.keys());
    names.filter(|key| of(new, key) != old.and_then(|old| of(old, key))).cloned().collect()
}

/// Whether a label is not a kubelet's to set.
fn is_forbidden_label(key: &str) -> bool {
    let Some((domain, _)) = key.split_once('/') else { return false };
    let within = |parent: &str| domain == parent || domain.strip_suffix(parent).is_some_and(|rest| rest.ends_with('.'));
    if within("node-restriction.kubernetes.io") {
        return true;
    }
    let kubernetes = within("kubernetes.io") || within("k8s.io");
    kubernetes && !OWN_LABELS.contains(&key) && !OWN_LABEL_DOMAINS.iter().any(|own| within(own))
}

fn claim_status(request: &Request<'_>, node: &str) -> Result<(), Status> {
    if request.operation != Operation::Update {
        let operation = request.operation.name();
        return refuse(request, format!("unexpected operation {operation:?}"));
    }
    let Some(old) = request.old else { return Ok(()) };
    let (before, after) = (without_own(old), without_own(request.object));
    if before == after {
        return Ok(());
    }
    // Kubernetes ends this with a diff in a form that is for people and without a promise.
    let fields = ["kind", "apiVersion", "metadata", "spec", "status"].into_iter();
    let changed: Vec<&str> = fields.filter(|field| before.get(*field) != after.get(*field)).collect();
    refuse(
        request,
        format!(
            "node {node:?} is not allowed to update fields other than status.quantity and status.conditions: {}",
            changed.join(", ")
        ),
    )
}

/// A claim without what a kubelet may change.
fn without_own(claim: &Value) -> Value {
    let mut rest = claim.clone();
    if let Some(metadata) = meta::metadata_mut(&mut rest) {
        metadata.remove("resourceVersion");
        metadata.remove("managedFields");
    }
    if let Some(status) = rest.get_mut("status").and_then(Value::as_object_mut) {
        CLAIM_STATUS.iter().for_each(|field| {
            status.remove(*field);
        });
    }
    rest
}

fn named(request: &Request<'_>, node: &str, what: &str) -> Result<(), Status> {
    if subject(request) == node {
        return Ok(());
    }
    refuse(request, format!("can only access {what} with the same name as the requesting node"))
}

/// A certificate of a node is asked for by that node.
fn certificate(request: &Request<'_>, node: &str) -> Result<(), Status> {
    if request.operation != Operation::Create || !NODE_SIGNERS.contains(&text(request.object, "/spec/signerName")) {
        return Ok(());
    }
    let pem = STANDARD.decode(text(request.object, "/spec/request")).unwrap_or_default();
    match read_request(&pem) {
        Err(error) => refuse(request, format!("unable to parse csr: {error}")),
        Ok(facts) if facts.common_name == request.user.name => Ok(()),
        Ok(_) => refuse(request, format!("can only create a node CSR with CN=system:node:{node}")),
    }
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
