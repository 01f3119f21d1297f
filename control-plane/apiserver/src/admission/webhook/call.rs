//! One question to one webhook, and what its failure means.

use super::config::{DryRun, FailurePolicy, Hook};
use super::metrics::{Metrics, Outcome};
use super::review::{self, Answer, Role};
use super::view::View;
use crate::admission::Request;
use api::Status;
use bytes::Bytes;
use std::time::Instant;

/// Why there is no yes.
pub(super) enum Failure {
    /// It could not be asked, or its answer is not to be believed: its failure policy decides.
    Calling(String),
    /// It said no.
    Denied(Status),
    /// It must not be asked.
    Unable(Status),
}

impl Failure {
    /// Whether the request goes on all the same.
    ///
    /// # Errors
    /// It does not.
    pub(super) fn settle(self, hook: &Hook, role: Role, metrics: &Metrics) -> Result<(), Status> {
        match self {
            Self::Denied(status) | Self::Unable(status) => Err(status),
            Self::Calling(why) if hook.failure == FailurePolicy::Ignore => {
                tracing::warn!(webhook = %hook.name, %why, "a webhook failed; its policy is to go on without it");
                metrics.failed_open(&hook.name, role);
                Ok(())
            }
            Self::Calling(why) => {
                tracing::warn!(webhook = %hook.name, %why, "a webhook failed; its policy is to refuse");
                Err(Status::internal(format_args!("failed calling webhook {:?}: {why}", hook.name)))
            }
        }
    }
}

/// Asks `hook` about the request as `view` shows it.
///
/// # Errors
/// See [`Failure`].
pub(super) async fn ask(
    hook: &Hook,
    request: &Request<'_>,
    view: &View<'_>,
    role: Role,
    metrics: &Metrics,
) -> Result<Answer, Failure> {
    let begun = Instant::now();
    let result = exchange(hook, request, view, role).await;
    let outcome = match &result {
        Ok(_) => Outcome::Allowed,
        Err(Failure::Calling(_)) if hook.failure == FailurePolicy::Ignore => Outcome::Ignored,
        Err(Failure::Calling(_)) => Outcome::Failed,
        Err(Failure::Denied(status) | Failure::Unable(status)) => Outcome::Denied(status.code),
    };
    metrics.record(&hook.name, role, request.operation, outcome, begun.elapsed());
    result
}

async fn exchange(hook: &Hook, request: &Request<'_>, view: &View<'_>, role: Role) -> Result<Answer, Failure> {
    if request.dry_run && hook.dry_run == DryRun::Unsupported {
        let why = format!("admission webhook {:?} does not support dry run", hook.name);
        return Err(Failure::Unable(Status::bad_request(why)));
    }
    let Some(version) = hook.review else {
        return Err(Failure::Calling(
            "could not create admission objects: webhook does not accept known AdmissionReview versions (v1, v1beta1)"
                .into(),
        ));
    };
    let question = review::question(&view.facts, &view.seen(request), version);
    let answer = hook.endpoint.post(request.core, Bytes::from(question), hook.timeout).await;
    let bytes = answer.map_err(|why| Failure::Calling(format!("failed to call webhook: {why}")))?;
    let answer = review::read(&bytes, &view.uid, version, role).map_err(Failure::Calling)?;
    if answer.allowed {
        return Ok(answer);
    }
    answer.warnings.into_iter().for_each(|warning| request.warn(warning));
    Err(Failure::Denied(review::denied(&hook.name, &answer.result)))
}
