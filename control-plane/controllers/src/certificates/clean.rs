//! `certificatesigningrequest-cleaner-controller`: requests that are done with are taken away after an hour, those that
//! nobody decides about after a day, and those whose certificate has expired.

use super::{Changes, followed, has_certificate, has_condition};
use crate::clock::{Clock, remaining};
use crate::context::Context;
use crate::frame::access::Access;
use crate::frame::informer::Informer;
use crate::frame::key::Key;
use crate::frame::runner::Reconciler;
use crate::k8s::api::certificates::v1::CertificateSigningRequest;
use crate::{Config, Error, Next};
use async_trait::async_trait;
use jiff::{SignedDuration, Timestamp};
use kube::api::DeleteParams;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinSet;

const DECIDED: SignedDuration = SignedDuration::from_hours(1);
const PENDING: SignedDuration = SignedDuration::from_hours(24);
/// The least time between two looks at one request.
const LOOK: Duration = Duration::from_secs(60);

struct Controller {
    access: Access,
    requests: Informer<CertificateSigningRequest>,
    clock: Clock,
}

pub(crate) fn start(_: &Config, context: &Context, tasks: &mut JoinSet<()>) {
    let (requests, queue) = followed(context, Changes::All);
    let controller = Controller { access: context.access.clone(), requests, clock: context.clock.clone() };
    context.spawn(tasks, Arc::new(controller), queue);
}

/// How long the request may still stay; `None`: it is to go.
fn left(request: &CertificateSigningRequest, now: Timestamp) -> Option<Duration> {
    let conditions = request.status.as_ref().and_then(|status| status.conditions.as_ref());
    let decided = conditions.into_iter().flatten().filter(|condition| {
        matches!(condition.type_.as_str(), "Approved" | "Denied" | "Failed") && condition.status == "True"
    });
    let dated = decided.filter_map(|condition| condition.last_update_time.as_ref()).map(|time| time.0).max();
    let created = request.metadata.creation_timestamp.as_ref().map_or(now, |time| time.0);
    let approved_only =
        has_condition(request, "Approved") && !has_certificate(request) && !has_condition(request, "Failed");
    match dated {
        // Approved, and its signer has not come to it: as long as one that nobody decided about.
        Some(at) if approved_only => remaining(at, PENDING, now),
        Some(at) => remaining(at, DECIDED, now),
        None => remaining(created, PENDING, now),
    }
}

#[async_trait]
impl Reconciler for Controller {
    const NAME: &'static str = "certificatesigningrequest-cleaner-controller";
    const WORKERS: usize = 1;

    async fn reconcile(&self, key: &Key) -> Result<Next, Error> {
        let Some(request) = self.requests.get(key) else { return Ok(Next::Signal) };
        match left(&request, self.clock.now()) {
            Some(wait) => Ok(Next::After(wait.max(LOOK))),
            None => {
                self.access.delete::<CertificateSigningRequest>(key, &DeleteParams::default()).await?;
                Ok(Next::Signal)
            }
        }
    }

    fn keys(&self) -> Vec<Key> {
        self.requests.keys()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_is_decided_goes_before_what_is_not() {
        let now: Timestamp = "2026-01-02T00:00:00Z".parse().unwrap();
        let request = |created: &str, conditions: serde_json::Value| -> CertificateSigningRequest {
            serde_json::from_value(json!({
                "metadata": {"creationTimestamp": created}, "spec": {"request": "", "signerName": "x/y"},
                "status": {"conditions": conditions},
            }))
            .unwrap()
        };
        let denied = |at: &str| json!([{"type": "Denied", "status": "True", "lastUpdateTime": at}]);
        assert!(left(&request("2026-01-01T12:00:00Z", json!([])), now).is_some());
        assert!(left(&request("2025-12-31T23:00:00Z", json!([])), now).is_none());
        assert!(left(&request("2025-12-31T23:00:00Z", denied("2026-01-01T23:30:00Z")), now).is_some());
        assert!(left(&request("2026-01-01T12:00:00Z", denied("2026-01-01T22:30:00Z")), now).is_none());
    }
}
