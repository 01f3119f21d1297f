//! What may go wrong in a reconciler, and what the frame does about it.

use std::time::Duration;

/// A failed step of a controller. The work queue retries all of them, with back-off.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("{verb} {what}: {}", describe(.source))]
    Api {
        verb: &'static str,
        what: String,
        #[source]
        source: Box<kube::Error>,
    },
    #[error("discover the served resources: {}", describe(.0))]
    Discovery(#[source] Box<kube::Error>),
    /// The kind is not served (yet): a CRD that is gone, or not there yet.
    #[error("{api_version} {kind} is not served")]
    UnknownKind { api_version: String, kind: String },
    #[error("{kind} {name} has an invalid selector: {reason}")]
    Selector { kind: &'static str, name: String, reason: String },
    /// How many pods a disruption budget expects cannot be told.
    #[error("{0}")]
    Disruption(String),
    /// Another controller's object is where this one's should be.
    #[error("{0}")]
    Collision(String),
    #[error("the reconciler panicked: {0}")]
    Panicked(String),
}

impl Error {
    pub(crate) fn api(verb: &'static str, what: impl Into<String>) -> impl FnOnce(kube::Error) -> Self {
        let what = what.into();
        move |source| Self::Api { verb, what, source: Box::new(source) }
    }

    fn status(&self) -> Option<&kube::core::Status> {
        match self {
            Self::Api { source, .. } => match source.as_ref() {
                kube::Error::Api(status) => Some(status),
                _ => None,
            },
            _ => None,
        }
    }

    /// The object changed under our feet: read again and retry.
    #[must_use]
    pub fn is_conflict(&self) -> bool {
        self.status().is_some_and(|s| s.code == 409 && s.reason != "AlreadyExists")
    }

    #[must_use]
    pub fn is_already_exists(&self) -> bool {
        self.status().is_some_and(|s| s.reason == "AlreadyExists")
    }

    #[must_use]
    pub fn is_not_found(&self) -> bool {
        self.status().is_some_and(|s| s.code == 404)
    }

    /// The namespace is going away: whatever could not be created there need not be.
    #[must_use]
    pub fn is_namespace_terminating(&self) -> bool {
        self.status().is_some_and(|s| {
            s.code == 403
                && (s.message.contains("because it is being terminated")
                    || s.details.as_ref().is_some_and(|d| d.causes.iter().any(|c| c.reason == "NamespaceTerminating")))
        })
    }

    /// What the server said, or why it could not be asked: the text for events and conditions.
    #[must_use]
    pub fn reason(&self) -> String {
        match self.status() {
            Some(status) => status.message.clone(),
            None => self.to_string(),
        }
    }
}

fn describe(error: &kube::Error) -> String {
    match error {
        kube::Error::Api(status) => status.message.clone(),
        other => other.to_string(),
    }
}

/// What a reconciler asks of the queue after it has done its work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// Nothing until something changes.
    Signal,
    /// Look again after this long, or when something changes.
    After(Duration),
}

impl Next {
    /// The earlier of the two.
    #[must_use]
    pub fn or_after(self, wait: Option<Duration>) -> Self {
        match (self, wait) {
            (next, None) => next,
            (Self::Signal, Some(wait)) => Self::After(wait),
            (Self::After(a), Some(b)) => Self::After(a.min(b)),
        }
    }
}
