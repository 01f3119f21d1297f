//! Certificate signing requests: approving those of kubelets that may have one, signing what is approved, and taking
//! away what is old. Knows no cryptography: that is the [`Authority`]'s.

mod approve;
mod clean;
mod sign;
mod signer;

pub(crate) use approve::start as start_approver;
pub(crate) use clean::start as start_cleaner;
pub(crate) use sign::start as start_signer;

use crate::context::Context;
use crate::frame::informer::{Change, Informer};
use crate::frame::key::Key;
use crate::frame::queue::Queue;
use crate::k8s::api::certificates::v1::CertificateSigningRequest;
use std::sync::Arc;

/// What signs certificates with the cluster's CA.
pub trait Authority: Send + Sync {
    /// What a request (PEM) asks for.
    ///
    /// # Errors
    /// Why it cannot be read, for users.
    fn read(&self, request: &[u8]) -> Result<Facts, String>;

    /// A certificate (PEM) for a request, for these usages (Kubernetes' names), for `seconds` from now.
    ///
    /// # Errors
    /// Why there is none, for users.
    fn sign(&self, request: &[u8], usages: &[String], seconds: i64) -> Result<String, String>;
}

/// What a request asks a certificate for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Facts {
    pub common_name: String,
    pub organizations: Vec<String>,
    pub dns_names: usize,
    pub ip_addresses: usize,
    /// E-mail addresses, URIs and the like.
    pub other_names: usize,
}

/// The requests, and a queue of those that have come or, where `changes` says so, changed.
fn followed(context: &Context, changes: Changes) -> (Informer<CertificateSigningRequest>, Arc<Queue>) {
    let requests = context.informers.signing_requests.wanted();
    let queue = Arc::new(Queue::default());
    let signal = Arc::clone(&queue);
    requests.on_change(move |change| {
        let wanted = match change {
            Change::Added(_) => true,
            Change::Updated { .. } => matches!(changes, Changes::All),
            Change::Deleted(_) => false,
        };
        if wanted {
            signal.add(Key::of(change.object().as_ref()));
        }
    });
    (requests, queue)
}

/// What of a request makes it worth a look.
#[derive(Clone, Copy)]
enum Changes {
    /// That it is there: nobody changes what was asked for.
    None,
    All,
}

fn has_condition(request: &CertificateSigningRequest, kind: &str) -> bool {
    let conditions = request.status.as_ref().and_then(|status| status.conditions.as_ref());
    conditions.into_iter().flatten().any(|condition| condition.type_ == kind && condition.status == "True")
}

fn has_certificate(request: &CertificateSigningRequest) -> bool {
    let certificate = request.status.as_ref().and_then(|status| status.certificate.as_ref());
    certificate.is_some_and(|certificate| !certificate.0.is_empty())
}
