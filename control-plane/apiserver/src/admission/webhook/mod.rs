//! `MutatingAdmissionWebhook` and `ValidatingAdmissionWebhook`: people's own programs say what becomes of a write
//! (`apiserver/pkg/admission/plugin/webhook`). Mutating ones are asked one after the other, validating ones all at once.
//!
//! Configurations are read in the snapshot of the request: what was configured before a write decides about it.

mod call;
mod conditions;
mod config;
mod matching;
pub(crate) mod metrics;
mod review;
mod rights;
mod view;

use super::parsed::Parsed;
use super::{Plugin, Request};
use api::Status;
use call::{Failure, ask};
use config::{Hook, Reinvocation, hooks};
use futures::future::{self, BoxFuture};
use metrics::Metrics;
use review::Role;
use serde_json::Value;
use std::collections::BTreeSet;
use std::sync::Arc;
use view::View;

const MUTATING: &str = "admissionregistration.k8s.io/mutatingwebhookconfigurations/";
const VALIDATING: &str = "admissionregistration.k8s.io/validatingwebhookconfigurations/";
const GROUP: &str = "admissionregistration.k8s.io";

/// The configurations of one kind.
struct Source {
    prefix: &'static str,
    parsed: Parsed<Vec<Hook>>,
}

impl Source {
    fn new(prefix: &'static str) -> Self {
        Self { prefix, parsed: Parsed::new(hooks) }
    }

    /// Whether there may be anybody to ask. Webhooks are never asked about the configurations of webhooks: nobody could
    /// repair those.
    fn concerns(&self, request: &Request<'_>) -> bool {
        request.snapshot.range(self.prefix.as_bytes(), None).next().is_some() && request.resource.group != GROUP
    }

    /// In the order of the configurations' names.
    fn configurations(&self, request: &Request<'_>) -> Vec<Arc<Vec<Hook>>> {
        let all = request.snapshot.range(self.prefix.as_bytes(), None);
        all.map(|(key, entry)| self.parsed.get(key, entry)).collect()
    }
}

/// What of a first round decides about a second one.
#[derive(Default)]
pub(super) struct Round {
    /// The object is another since.
    pub changed: bool,
    /// Asked, would be asked again, and nothing has changed since.
    asked: BTreeSet<String>,
    /// To be asked again.
    again: BTreeSet<String>,
}

pub(super) struct Mutating {
    source: Source,
    metrics: Arc<Metrics>,
}

impl Mutating {
    pub(super) fn new(metrics: Arc<Metrics>) -> Self {
        Self { source: Source::new(MUTATING), metrics }
    }

    pub(super) fn concerns(&self, request: &Request<'_>) -> bool {
        self.source.concerns(request)
    }

    /// Asks all.
    ///
    /// # Errors
    /// A refusal, and what goes wrong with a webhook that must not fail.
    pub(super) async fn first(&self, request: &mut Request<'_>) -> Result<Round, Status> {
        let mut round = Round::default();
        self.ask_each(request, &mut round, None).await?;
        Ok(round)
    }

    /// Asks those again that others came after. `plugins_changed`: the server's own plugins have changed the object, too.
    ///
    /// # Errors
    /// As [`Self::first`].
    pub(super) async fn second(
        &self,
        request: &mut Request<'_>,
        mut round: Round,
        plugins_changed: bool,
    ) -> Result<(), Status> {
        let mut again = std::mem::take(&mut round.again);
        if plugins_changed {
            again.append(&mut round.asked);
        }
        if again.is_empty() { Ok(()) } else { self.ask_each(request, &mut round, Some(&again)).await }
    }

    async fn ask_each(
        &self,
        request: &mut Request<'_>,
        round: &mut Round,
        only: Option<&BTreeSet<String>>,
    ) -> Result<(), Status> {
        for configuration in self.source.configurations(request) {
            for hook in configuration.iter() {
                if only.is_some_and(|only| !only.contains(&hook.id)) {
                    continue;
                }
                let Some(view) = View::of(hook, request).await? else { continue };
                let asked = ask(hook, request, &view, Role::Mutating, &self.metrics).await;
                if let Some(patch) = self.settle(hook, request, asked)?.filter(|patch| !is_empty(patch)) {
                    let changed = view.apply(hook, request, &patch).await?;
                    if changed {
                        round.changed = true;
                        round.again.append(&mut round.asked);
                    }
                }
                if hook.reinvocation == Reinvocation::IfNeeded {
                    round.asked.insert(hook.id.clone());
                }
            }
        }
        Ok(())
    }

    /// The patch of a webhook that allows.
    fn settle(
        &self,
        hook: &Hook,
        request: &Request<'_>,
        asked: Result<review::Answer, Failure>,
    ) -> Result<Option<Value>, Status> {
        match asked {
            Ok(answer) => {
                answer.warnings.into_iter().for_each(|warning| request.warn(warning));
                Ok(answer.patch)
            }
            Err(failure) => failure.settle(hook, Role::Mutating, &self.metrics).map(|()| None),
        }
    }
}

fn is_empty(patch: &Value) -> bool {
    patch.as_array().is_some_and(Vec::is_empty)
}

/// The validating half.
pub(super) struct Validating {
    source: Source,
    metrics: Arc<Metrics>,
}

impl Validating {
    pub(super) fn new(metrics: Arc<Metrics>) -> Self {
        Self { source: Source::new(VALIDATING), metrics }
    }

    async fn ask_all(&self, request: &Request<'_>) -> Result<(), Status> {
        let configurations = self.source.configurations(request);
        let mut concerned = Vec::new();
        for hook in configurations.iter().flat_map(|configuration| configuration.iter()) {
            if let Some(view) = View::of(hook, request).await? {
                concerned.push((hook, view));
            }
        }
        let asked = concerned.iter().map(|(hook, view)| ask(hook, request, view, Role::Validating, &self.metrics));
        let answers = future::join_all(asked).await;
        let mut refusal = Ok(());
        for ((hook, _), answer) in concerned.iter().zip(answers) {
            let settled = match answer {
                Ok(answer) => {
                    answer.warnings.into_iter().for_each(|warning| request.warn(warning));
                    Ok(())
                }
                Err(failure) => failure.settle(hook, Role::Validating, &self.metrics),
            };
            // The first one speaks.
            refusal = refusal.and(settled);
        }
        refusal
    }
}

impl Plugin for Validating {
    fn handles(&self, request: &Request<'_>) -> bool {
        self.source.concerns(request)
    }

    fn admit<'a>(&'a self, request: &'a mut Request<'_>) -> BoxFuture<'a, Result<(), Status>> {
        Box::pin(self.ask_all(request))
    }
}
