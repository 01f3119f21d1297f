//! Certificate signing requests: who asks is written into them; approving and signing are rights of their own
//! (`plugin/pkg/admission/certificates/*`).

use super::{Operation, Plugin, Request};
use crate::authz::{Attributes, Authorizers};
use crate::config::Clock;
use crate::pki::{RequestError, read_request};
use api::field::{self, Path};
use api::{Status, time};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use futures::future::{self, BoxFuture};
use serde_json::{Value, json};
use std::sync::Arc;

const GROUP: &str = "certificates.k8s.io";
const CLIENT_SIGNER: &str = "kubernetes.io/kube-apiserver-client";

pub(super) struct Certificates {
    pub authorizers: Arc<Authorizers>,
    pub clock: Clock,
}

impl Plugin for Certificates {
    fn handles(&self, request: &Request<'_>) -> bool {
        request.operation.is_write() && request.resource.storage == "certificates.k8s.io/certificatesigningrequests"
    }

    fn admit<'a>(&'a self, request: &'a mut Request<'_>) -> BoxFuture<'a, Result<(), Status>> {
        Box::pin(future::ready(self.check(request)))
    }
}

impl Certificates {
    fn check(&self, request: &mut Request<'_>) -> Result<(), Status> {
        match (request.operation, request.subresource) {
            (Operation::Create, _) => {
                sign_off(request);
                check_request(request)?;
                restrict_subject(request)
            }
            (_, "approval") => {
                keep(request, "/status/certificate");
                self.date_conditions(request);
                self.check_right(request, "approve")
            }
            (_, "status") => {
                self.date_conditions(request);
                let certificate = |object: &Value| object.pointer("/status/certificate").cloned();
                let failed = |object: &Value| condition(object, "Failed").is_some();
                let signs = request.old.is_some_and(|old| {
                    certificate(old) != certificate(request.object) || failed(old) != failed(request.object)
                });
                if signs { self.check_right(request, "sign") } else { Ok(()) }
            }
            _ => {
                keep(request, "/spec");
                Ok(())
            }
        }
    }

    fn check_right(&self, request: &Request<'_>, verb: &str) -> Result<(), Status> {
        let signer = text(request.old.unwrap_or(request.object), "/spec/signerName");
        let domain = signer.split('/').next().unwrap_or_default();
        let any = format!("{domain}/*");
        let allowed = [signer, any.as_str()].into_iter().any(|name| {
            let attributes = Attributes::resource(verb, (GROUP, "signers"), "", name);
            self.authorizers.allows(request.user, &attributes).is_ok()
        });
        if allowed {
            return Ok(());
        }
        let why = format!("user not permitted to {verb} requests with signerName {signer:?}");
        Err(Status::forbidden(GROUP, "certificatesigningrequests", request.name, why))
    }

    /// Conditions that are new or that changed get their times.
    fn date_conditions(&self, request: &mut Request<'_>) {
        let now = time::format((self.clock)());
        let old = request.old.cloned().unwrap_or_default();
        let conditions = request.object.pointer_mut("/status/conditions").and_then(Value::as_array_mut);
        for new in conditions.into_iter().flatten() {
            let kind = text(new, "/type").to_owned();
            let before = condition(&old, &kind);
            if new.get("lastUpdateTime").is_none_or(Value::is_null) {
                new["lastUpdateTime"] = now.clone().into();
            }
            if new.get("lastTransitionTime").is_none_or(Value::is_null) {
                let same = before.filter(|before| before.get("status") == new.get("status"));
                let since = same.and_then(|before| before.get("lastTransitionTime")).cloned();
                new["lastTransitionTime"] = since.unwrap_or_else(|| now.clone().into());
            }
        }
    }
}

/// Who asks, as the server knows it and not as the body says.
fn sign_off(request: &mut Request<'_>) {
    let user = request.user;
    let Some(spec) = request.object.get_mut("spec").and_then(Value::as_object_mut) else { return };
    for field in ["username", "uid", "groups", "extra"] {
        spec.remove(field);
    }
    spec.insert("username".into(), user.name.clone().into());
    if !user.uid.is_empty() {
        spec.insert("uid".into(), user.uid.clone().into());
    }
    if !user.groups.is_empty() {
        spec.insert("groups".into(), json!(user.groups));
    }
    if !user.extra.is_empty() {
        spec.insert("extra".into(), json!(user.extra));
    }
}

/// A request must be one, and signed with its own key. Whether it is PEM at all is said with the kind's other rules.
fn check_request(request: &Request<'_>) -> Result<(), Status> {
    let base64 = text(request.object, "/spec/request");
    match read_request(&STANDARD.decode(base64).unwrap_or_default()) {
        Ok(_) | Err(RequestError::Pem) => Ok(()),
        Err(why) => {
            let error = field::Error::invalid(&Path::new("spec.request"), base64, why.to_string());
            Err(Status::invalid(GROUP, &request.resource.kind, request.name, &[error]))
        }
    }
}

/// Nobody becomes a member of `system:masters` by asking for it.
fn restrict_subject(request: &Request<'_>) -> Result<(), Status> {
    if text(request.object, "/spec/signerName") != CLIENT_SIGNER {
        return Ok(());
    }
    let pem = STANDARD.decode(text(request.object, "/spec/request")).unwrap_or_default();
    let masters = read_request(&pem).is_ok_and(|facts| facts.organizations.iter().any(|o| o == crate::user::MASTERS));
    if !masters {
        return Ok(());
    }
    let why = format!("use of {CLIENT_SIGNER} signer with system:masters group is not allowed");
    Err(Status::forbidden(GROUP, "certificatesigningrequests", request.name, why))
}

/// Puts back what this subresource does not change.
fn keep(request: &mut Request<'_>, pointer: &str) {
    let Some(old) = request.old else { return };
    let Some((parent, field)) = pointer.rsplit_once('/') else { return };
    let before = old.pointer(pointer).cloned();
    if let Some(parent) = request.object.pointer_mut(parent).and_then(Value::as_object_mut) {
        match before {
            Some(value) => parent.insert(field.to_owned(), value),
            None => parent.remove(field),
        };
    }
}

fn condition<'v>(object: &'v Value, kind: &str) -> Option<&'v Value> {
    let conditions = object.pointer("/status/conditions").and_then(Value::as_array)?;
    conditions.iter().find(|condition| text(condition, "/type") == kind)
}

fn text<'v>(object: &'v Value, pointer: &str) -> &'v str {
    object.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}
