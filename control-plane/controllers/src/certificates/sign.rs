//! `certificatesigningrequest-signing-controller`: what is approved gets its certificate, or a condition that says why
//! not.

use super::signer::Signer;
use super::{Authority, Changes, followed, has_certificate, has_condition};
use crate::clock::Clock;
use crate::context::Context;
use crate::frame::access::Access;
use crate::frame::informer::Informer;
use crate::frame::key::Key;
use crate::frame::runner::Reconciler;
use crate::k8s::ByteString;
use crate::k8s::api::certificates::v1::{CertificateSigningRequest, CertificateSigningRequestCondition as Condition};
use crate::{Config, Error, Next};
use async_trait::async_trait;
use serde_json::json;
use std::sync::Arc;
use tokio::task::JoinSet;

/// `--cluster-signing-duration`.
const DURATION_SECONDS: i64 = 365 * 86_400;
const MIN_SECONDS: i64 = 600;

struct Controller {
    access: Access,
    requests: Informer<CertificateSigningRequest>,
    authority: Arc<dyn Authority>,
    clock: Clock,
}

pub(crate) fn start(config: &Config, context: &Context, tasks: &mut JoinSet<()>) {
    let Some(authority) = config.authority.clone() else { return };
    let (requests, queue) = followed(context, Changes::All);
    let controller = Controller { access: context.access.clone(), requests, authority, clock: context.clock.clone() };
    context.spawn(tasks, Arc::new(controller), queue);
}

impl Controller {
    /// The certificate, or why there is none.
    fn certificate(&self, signer: Signer, request: &CertificateSigningRequest) -> Result<String, String> {
        let spec = &request.spec;
        let usages = spec.usages.clone().unwrap_or_default();
        let facts = self.authority.read(&spec.request.0)?;
        signer.check(&facts, &usages)?;
        let asked = spec.expiration_seconds.map_or(DURATION_SECONDS, i64::from);
        self.authority.sign(&spec.request.0, &usages, asked.clamp(MIN_SECONDS, DURATION_SECONDS))
    }
}

#[async_trait]
impl Reconciler for Controller {
    const NAME: &'static str = "certificatesigningrequest-signing-controller";
    const WORKERS: usize = 2;

    async fn reconcile(&self, key: &Key) -> Result<Next, Error> {
        let Some(request) = self.requests.get(key) else { return Ok(Next::Signal) };
        let Some(signer) = Signer::of(&request.spec.signer_name) else { return Ok(Next::Signal) };
        let waits = has_condition(&request, "Approved")
            && !has_condition(&request, "Denied")
            && !has_condition(&request, "Failed")
            && !has_certificate(&request);
        if !waits {
            return Ok(Next::Signal);
        }
        let status = match self.certificate(signer, &request) {
            Ok(pem) => json!({"certificate": ByteString(pem.into_bytes())}),
            Err(why) => {
                let old = request.status.as_ref().and_then(|status| status.conditions.clone());
                let mut conditions = old.unwrap_or_default();
                conditions.push(Condition {
                    type_: "Failed".into(),
                    status: "True".into(),
                    reason: Some("SignerValidationFailure".into()),
                    message: Some(why),
                    last_update_time: Some(self.clock.time()),
                    last_transition_time: Some(self.clock.time()),
                });
                json!({"conditions": conditions})
            }
        };
        let version = &request.metadata.resource_version;
        let patch = json!({"metadata": {"resourceVersion": version}, "status": status});
        match self.access.patch_status::<CertificateSigningRequest>(key, &patch).await {
            Ok(written) => self.requests.learn(written),
            Err(error) if error.is_not_found() => {}
            Err(error) => return Err(error),
        }
        Ok(Next::Signal)
    }

    fn keys(&self) -> Vec<Key> {
        self.requests.keys()
    }
}
