//! `NamespaceLifecycle`: nothing is created in a namespace that is absent or on its way out, and the system's
//! own namespaces stay.

use super::{Operation, Plugin, Request};
use crate::objects::Index;
use api::{Status, status::Cause};
use futures::future::{self, BoxFuture};
use store::Snapshot;

const IMMORTAL: [&str; 3] = ["default", "kube-system", "kube-public"];

pub(super) struct NamespaceLifecycle;

impl Plugin for NamespaceLifecycle {
    fn handles(&self, request: &Request<'_>) -> bool {
        match request.operation {
            Operation::Delete => is_namespace(request),
            // Who asks for rights in a namespace is not told whether it is there.
            Operation::Create | Operation::Update => request.resource.namespaced() && !is_access_review(request),
            Operation::Connect => false,
        }
    }

    fn admit<'a>(&'a self, request: &'a mut Request<'_>) -> BoxFuture<'a, Result<(), Status>> {
        Box::pin(future::ready(check(request)))
    }
}

fn is_access_review(request: &Request<'_>) -> bool {
    request.resource.group == "authorization.k8s.io" && request.resource.kind == "LocalSubjectAccessReview"
}

fn is_namespace(request: &Request<'_>) -> bool {
    request.resource.group.is_empty() && request.resource.kind == "Namespace"
}

fn check(request: &Request<'_>) -> Result<(), Status> {
    if request.operation == Operation::Delete {
        let immortal = IMMORTAL.contains(&request.name);
        return if immortal {
            Err(Status::forbidden("", "namespaces", request.name, "this namespace may not be deleted"))
        } else {
            Ok(())
        };
    }
    match phase(request.snapshot, request.namespace) {
        Phase::Absent => Err(Status::not_found("", "namespaces", request.namespace)),
        Phase::Terminating if request.operation == Operation::Create => Err(terminating(request)),
        Phase::Terminating | Phase::Active => Ok(()),
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    Absent,
    Active,
    Terminating,
}

fn phase(snapshot: &Snapshot, namespace: &str) -> Phase {
    let mut key = Vec::with_capacity(80);
    key.extend_from_slice(b"core/namespaces/");
    key.extend_from_slice(namespace.as_bytes());
    match snapshot.get(&key) {
        None => Phase::Absent,
        Some(entry) if Index::of(entry).is_deleting() => Phase::Terminating,
        Some(_) => Phase::Active,
    }
}

fn terminating(request: &Request<'_>) -> Status {
    let why = format!("unable to create new content in namespace {} because it is being terminated", request.namespace);
    let mut status = request.forbidden(why);
    if let Some(details) = &mut status.details {
        details.causes.push(Cause {
            reason: "NamespaceTerminating".into(),
            message: format!("namespace {} is being terminated", request.namespace),
            field: "metadata.namespace".into(),
        });
    }
    status
}
