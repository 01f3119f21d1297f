//! What can go wrong between the store and etcd, and what that says about a request.

use std::error::Error;

use tonic::{Code, Status};

use crate::error::CommitError;

/// Why a request to etcd did not succeed.
#[derive(Clone, Debug, thiserror::Error)]
pub(crate) enum Failure {
    /// Nothing was sent, or etcd refused it before it looked at it; another try may succeed.
    #[error("{0}")]
    Unreachable(String),
    /// Sent, and no answer: it may have happened, or may yet.
    #[error("{0}")]
    Silent(String),
    #[error("its database is full (NOSPACE alarm)")]
    Full,
    #[error("the request is larger than etcd accepts: {0}")]
    TooLarge(String),
    /// The requested revision is gone.
    #[error("the revision has been compacted")]
    Compacted,
    /// The requested revision has not happened.
    #[error("the revision is in the future")]
    Future,
    #[error("user or rights: {0}")]
    Denied(String),
    /// The session that the token stands for is over.
    #[error("the session is over: {0}")]
    Session(String),
    /// What answers is not the cluster that this store was opened on, or not what it was.
    #[error("{0}")]
    Foreign(String),
    #[error("{0}")]
    Refused(String),
}

/// How etcd, its gRPC server and our own side say so.
const TOO_LARGE: &[&str] =
    &["request is too large", "too many operations", "message larger than max", "message length too large"];

impl Failure {
    pub fn from_status(status: &Status) -> Self {
        let message = status.message().to_owned();
        let says = |text: &str| message.contains(text);
        if let Some(reason) = connect_error(status) {
            return Self::Unreachable(reason);
        }
        if says("required revision has been compacted") {
            Self::Compacted
        } else if says("required revision is a future revision") {
            Self::Future
        } else if says("database space exceeded") {
            Self::Full
        } else if TOO_LARGE.iter().any(|text| says(text)) {
            Self::TooLarge(message)
        } else if says("too many requests") || says("no leader") {
            Self::Unreachable(message)
        } else if says("invalid auth token") || says("revision of auth store is old") {
            Self::Session(message)
        } else if says("user name is empty") || says("authentication failed") {
            Self::Denied(message)
        } else {
            match status.code() {
                Code::Unauthenticated | Code::PermissionDenied => Self::Denied(message),
                Code::InvalidArgument
                | Code::FailedPrecondition
                | Code::NotFound
                | Code::OutOfRange
                | Code::Unimplemented => Self::Refused(message),
                _ => Self::Silent(describe(status)),
            }
        }
    }

    /// What a writer is told.
    pub fn of_commit(self, bytes: usize, limit: usize) -> CommitError {
        match self {
            Self::Full => CommitError::Full,
            Self::TooLarge(_) => CommitError::TooLarge { bytes, limit },
            Self::Silent(reason) => CommitError::Unknown { reason },
            other => CommitError::Unavailable { reason: other.to_string() },
        }
    }
}

/// Why no connection could be made, if that is what `status` says: then nothing was sent.
fn connect_error(status: &Status) -> Option<String> {
    let mut source: Option<&(dyn Error + 'static)> = status.source();
    while let Some(error) = source {
        if error.is::<tonic::ConnectError>() {
            return Some(innermost(error));
        }
        source = error.source();
    }
    None
}

pub(crate) fn innermost(error: &(dyn Error + 'static)) -> String {
    let mut deepest = error;
    while let Some(source) = deepest.source() {
        deepest = source;
    }
    let (outer, inner) = (error.to_string(), deepest.to_string());
    if outer.contains(&inner) { outer } else { format!("{outer}: {inner}") }
}

fn describe(status: &Status) -> String {
    match status.source() {
        Some(source) => innermost(source),
        None => status.message().to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_etcd_says_tells_whether_a_write_may_have_happened() {
        let failure = |code: Code, text: &str| Failure::from_status(&Status::new(code, text));
        let space = failure(Code::ResourceExhausted, "etcdserver: mvcc: database space exceeded");
        assert!(matches!(space.of_commit(0, 0), CommitError::Full));
        let large = failure(Code::InvalidArgument, "etcdserver: request is too large");
        assert!(matches!(large.of_commit(7, 5), CommitError::TooLarge { bytes: 7, limit: 5 }));
        let slow = failure(Code::Unavailable, "etcdserver: request timed out");
        assert!(matches!(slow.of_commit(0, 0), CommitError::Unknown { .. }));
        let headless = failure(Code::Unavailable, "etcdserver: no leader");
        assert!(matches!(headless.of_commit(0, 0), CommitError::Unavailable { .. }));
        let denied = failure(Code::PermissionDenied, "etcdserver: permission denied");
        assert!(matches!(denied.of_commit(0, 0), CommitError::Unavailable { .. }));
        let expired = failure(Code::Unauthenticated, "etcdserver: invalid auth token");
        assert!(matches!(expired, Failure::Session(_)));
        let gone = failure(Code::OutOfRange, "etcdserver: mvcc: required revision has been compacted");
        assert!(matches!(gone, Failure::Compacted));
    }
}
