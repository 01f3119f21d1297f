//! `certificatesigningrequest-approving-controller`: kubelets' client certificates are approved for whoever may ask for
//! them (`certificatesigningrequests/nodeclient`, `…/selfnodeclient`).

use super::signer::{Signer, kubelet_client};
use super::{Authority, Changes, Facts, followed, has_certificate, has_condition};
use crate::clock::Clock;
use crate::context::Context;
use crate::frame::access::Access;
use crate::frame::informer::Informer;
use crate::frame::key::Key;
use crate::frame::runner::Reconciler;
use crate::k8s::api::authorization::v1::SubjectAccessReview;
use crate::k8s::api::certificates::v1::{
    CertificateSigningRequest, CertificateSigningRequestCondition as Condition, CertificateSigningRequestSpec as Spec,
};
use crate::{Config, Error, Next};
use async_trait::async_trait;
use kube::api::{Patch, PatchParams};
use kube::core::Request;
use serde_json::json;
use std::sync::Arc;
use tokio::task::JoinSet;

struct Controller {
    access: Access,
    requests: Informer<CertificateSigningRequest>,
    authority: Arc<dyn Authority>,
    clock: Clock,
}

pub(crate) fn start(config: &Config, context: &Context, tasks: &mut JoinSet<()>) {
    let Some(authority) = config.authority.clone() else { return };
    let (requests, queue) = followed(context, Changes::None);
    let controller = Controller { access: context.access.clone(), requests, authority, clock: context.clock.clone() };
    context.spawn(tasks, Arc::new(controller), queue);
}

/// The rights that would do, each with what the approval says.
fn rights(spec: &Spec, facts: &Facts) -> Vec<(&'static str, &'static str)> {
    let usages = spec.usages.clone().unwrap_or_default();
    if Signer::of(&spec.signer_name) != Some(Signer::KubeletClient) || kubelet_client(facts, &usages).is_err() {
        return Vec::new();
    }
    let other = ("nodeclient", "Auto approving kubelet client certificate after SubjectAccessReview.");
    if spec.username.as_deref() == Some(facts.common_name.as_str()) {
        let own = ("selfnodeclient", "Auto approving self kubelet client certificate after SubjectAccessReview.");
        return vec![own, other];
    }
    vec![other]
}

impl Controller {
    async fn may(&self, spec: &Spec, subresource: &str) -> Result<bool, Error> {
        let body = json!({
            "kind": "SubjectAccessReview", "apiVersion": "authorization.k8s.io/v1", "metadata": {},
            "spec": {
                "user": spec.username, "uid": spec.uid, "groups": spec.groups, "extra": spec.extra,
                "resourceAttributes": {
                    "group": "certificates.k8s.io", "resource": "certificatesigningrequests", "verb": "create",
                    "subresource": subresource, "version": "*",
                },
            },
        });
        let review: SubjectAccessReview = serde_json::from_value(body)
            .map_err(|e| Error::api("encode", "a SubjectAccessReview")(kube::Error::SerdeError(e)))?;
        let review = self.access.create(&review).await?;
        Ok(review.status.is_some_and(|status| status.allowed))
    }
}

#[async_trait]
impl Reconciler for Controller {
    const NAME: &'static str = "certificatesigningrequest-approving-controller";
    const WORKERS: usize = 2;

    async fn reconcile(&self, key: &Key) -> Result<Next, Error> {
        let Some(request) = self.requests.get(key) else { return Ok(Next::Signal) };
        let decided = has_condition(&request, "Approved") || has_condition(&request, "Denied");
        if decided || has_certificate(&request) {
            return Ok(Next::Signal);
        }
        let Ok(facts) = self.authority.read(&request.spec.request.0) else { return Ok(Next::Signal) };
        for (right, message) in rights(&request.spec, &facts) {
            if !self.may(&request.spec, right).await? {
                continue;
            }
            let approved = Condition {
                type_: "Approved".into(),
                status: "True".into(),
                reason: Some("AutoApproved".into()),
                message: Some(message.into()),
                last_update_time: Some(self.clock.time()),
                last_transition_time: Some(self.clock.time()),
            };
            let old = request.status.as_ref().and_then(|status| status.conditions.clone());
            let mut conditions = old.unwrap_or_default();
            conditions.push(approved);
            let version = &request.metadata.resource_version;
            let patch = json!({"metadata": {"resourceVersion": version}, "status": {"conditions": conditions}});
            let path = Access::path::<CertificateSigningRequest>(None);
            let call = Request::new(path).patch_subresource(
                "approval",
                key.name(),
                &PatchParams::default(),
                &Patch::Merge(&patch),
            );
            let what = || format!("CertificateSigningRequest {key}");
            match self.access.send::<CertificateSigningRequest>(call).await {
                Ok(written) => self.requests.learn(written),
                Err(error) => return Err(Error::api("approve", what())(error)),
            }
            break;
        }
        Ok(Next::Signal)
    }

    fn keys(&self) -> Vec<Key> {
        self.requests.keys()
    }
}
