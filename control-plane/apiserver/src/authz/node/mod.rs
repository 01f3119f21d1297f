//! The Node authorizer: what a kubelet needs, and of Secrets, ConfigMaps, claims and service accounts only those that
//! pods bound to its node refer to (`plugin/pkg/auth/authorizer/node`).

mod graph;

use super::attributes::is_bound;
use super::{Attributes, Target, policy};
use crate::user::User;
use api::selector::Fields;
use graph::{Graph, Kind};
use parking_lot::Mutex;
use store::Store;

pub(crate) const NODES: &str = "system:nodes";
const USER_PREFIX: &str = "system:node:";
const LEASES: &str = "kube-node-lease";

pub(super) struct NodeAuthorizer {
    store: Store,
    graph: Mutex<Graph>,
}

/// The node that a user speaks for; empty for `system:node:` itself.
pub(crate) fn identity(user: &User) -> Option<&str> {
    user.name.strip_prefix(USER_PREFIX).filter(|_| user.is_in(NODES))
}

/// The parts of a question about a resource.
#[derive(Clone, Copy)]
struct Question<'a> {
    verb: &'a str,
    subresource: &'a str,
    namespace: &'a str,
    name: &'a str,
    selector: Option<&'a Fields>,
}

type Verdict = Result<(), String>;

fn no(why: &str) -> Verdict {
    Err(why.to_owned())
}

impl NodeAuthorizer {
    pub(super) fn new(store: Store) -> Self {
        Self { store, graph: Mutex::default() }
    }

    /// # Errors
    /// Why not; empty when the user is no node.
    pub(super) fn allows(&self, user: &User, attributes: &Attributes<'_>) -> Verdict {
        let Some(node) = identity(user) else { return no("") };
        if node.is_empty() {
            return Err(format!("unknown node for user {:?}", user.name));
        }
        let Target::Resource { group, resource, subresource, namespace, name, field_selector } = attributes.target
        else {
            return static_rules(attributes);
        };
        let question = Question { verb: attributes.verb, subresource, namespace, name, selector: field_selector };
        match (group, resource) {
            ("", "secrets") => self.read(node, Kind::Secret, question),
            ("", "configmaps") => self.read(node, Kind::ConfigMap, question),
            ("", "persistentvolumeclaims") if subresource == "status" => match question.verb {
                "update" | "patch" => self.related(node, Kind::Claim, question),
                _ => no("can only get/update/patch this type"),
            },
            ("", "persistentvolumeclaims") => self.get(node, Kind::Claim, question),
            ("", "persistentvolumes") => self.get(node, Kind::Volume, question),
            ("resource.k8s.io", "resourceclaims") => self.get(node, Kind::ResourceClaim, question),
            ("storage.k8s.io", "volumeattachments") => self.get(node, Kind::Attachment, question),
            ("", "serviceaccounts") => self.token(node, question),
            ("coordination.k8s.io", "leases") => lease(node, question),
            ("storage.k8s.io", "csinodes") => csi_node(node, question),
            ("resource.k8s.io", "resourceslices") => resource_slice(node, question),
            ("", "nodes") => own_node(node, question),
            // Its kubelet's API, served over a connection that it opens.
            ("skiff.dev", "nodes") if subresource == "tunnel" && name == node => Ok(()),
            ("", "pods") => self.pod(node, question),
            _ => static_rules(attributes),
        }
    }

    fn get(&self, node: &str, kind: Kind, question: Question<'_>) -> Verdict {
        if question.verb != "get" {
            return no("can only get individual resources of this type");
        }
        if !question.subresource.is_empty() {
            return no("cannot get subresource");
        }
        self.related(node, kind, question)
    }

    fn read(&self, node: &str, kind: Kind, question: Question<'_>) -> Verdict {
        if !matches!(question.verb, "get" | "list" | "watch") {
            return no("can only read resources of this type");
        }
        if !question.subresource.is_empty() {
            return no("cannot read subresource");
        }
        if question.namespace.is_empty() {
            return no("can only read namespaced object of this type");
        }
        self.related(node, kind, question)
    }

    fn token(&self, node: &str, question: Question<'_>) -> Verdict {
        if question.verb != "create" || question.name.is_empty() {
            return no("can only create tokens for individual service accounts");
        }
        if question.subresource != "token" {
            return no("can only create token subresource of serviceaccount");
        }
        self.related(node, Kind::ServiceAccount, question)
    }

    fn pod(&self, node: &str, question: Question<'_>) -> Verdict {
        match (question.subresource, question.verb) {
            ("", "get") => self.get(node, Kind::Pod, question),
            ("", "list" | "watch") if is_bound(question.selector, "spec.nodeName", node) => Ok(()),
            ("", "list" | "watch") if !question.name.is_empty() => self.related(node, Kind::Pod, question),
            ("", "list" | "watch") => no("can only list/watch pods with spec.nodeName field selector"),
            ("", "create" | "delete") | ("status", "update" | "patch") | ("eviction", "create") => Ok(()),
            _ => no(""),
        }
    }

    fn related(&self, node: &str, kind: Kind, question: Question<'_>) -> Verdict {
        if question.name.is_empty() {
            return no("No Object name found");
        }
        let related = self.graph.lock().relates(&self.store, node, kind, (question.namespace, question.name));
        if related { Ok(()) } else { Err(format!("no relationship found between node '{node}' and this object")) }
    }
}

fn static_rules(attributes: &Attributes<'_>) -> Verdict {
    if policy::node_rules().iter().any(|rule| rule.allows(attributes)) { Ok(()) } else { no("") }
}

fn lease(node: &str, question: Question<'_>) -> Verdict {
    if !matches!(question.verb, "get" | "create" | "update" | "patch" | "delete") {
        return no("can only get, create, update, patch, or delete a node lease");
    }
    if question.namespace != LEASES {
        return Err(format!("can only access leases in the {LEASES:?} system namespace"));
    }
    // The name of what is created is in the body: the NodeRestriction plugin sees to it.
    if question.verb != "create" && question.name != node {
        return no("can only access node lease with the same name as the requesting node");
    }
    Ok(())
}

fn csi_node(node: &str, question: Question<'_>) -> Verdict {
    if !matches!(question.verb, "get" | "create" | "update" | "patch" | "delete") {
        return no("can only get, create, update, patch, or delete a CSINode");
    }
    if !question.subresource.is_empty() {
        return no("cannot authorize CSINode subresources");
    }
    if question.verb != "create" && question.name != node {
        return no("can only access CSINode with the same name as the requesting node");
    }
    Ok(())
}

fn resource_slice(node: &str, question: Question<'_>) -> Verdict {
    if !question.subresource.is_empty() {
        return no("cannot authorize ResourceSlice subresources");
    }
    match question.verb {
        "create" => Ok(()),
        "watch" | "list" | "deletecollection" if is_bound(question.selector, "spec.nodeName", node) => Ok(()),
        "watch" | "list" | "deletecollection" => {
            no("can only list/watch/deletecollection resourceslices with nodeName field selector")
        }
        _ => Err(format!("no relationship found between node '{node}' and this object")),
    }
}

fn own_node(node: &str, question: Question<'_>) -> Verdict {
    match (question.subresource, question.verb) {
        ("", "create" | "update" | "patch") | ("status", "update" | "patch") => Ok(()),
        ("", "get" | "list" | "watch") => match question.name {
            name if name == node => Ok(()),
            "" => Err(format!("node '{node}' cannot read all nodes, only its own Node object")),
            other => Err(format!("node '{node}' cannot read '{other}', only its own Node object")),
        },
        _ => no(""),
    }
}
