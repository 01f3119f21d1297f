//! Credentials to users: client certificates, bearer tokens of four kinds, and nobody (`system:anonymous`).
//!
//! Reads requests and what the store says about tokens' subjects. Knows nothing of what a user may do, but for
//! impersonation, which is a right.

mod bootstrap_token;
mod certificate;
pub(crate) mod impersonation;
pub(crate) mod jwt;
pub(crate) mod service_account;
mod static_tokens;

pub(crate) use certificate::certificate_user;
pub use static_tokens::{StaticTokens, TokenFileError};

use crate::user::User;
use api::{Reason, Status};
use http::{HeaderMap, header};
use jiff::Timestamp;
use service_account::{ISSUER, ServiceAccounts};
use std::sync::{Arc, OnceLock};
use store::Store;

/// What turns bearer tokens into users.
pub(crate) struct Tokens {
    store: Store,
    fixed: StaticTokens,
    /// Set once the server has its keys, before it answers anybody.
    accounts: OnceLock<ServiceAccounts>,
}

/// What is wrong with a token that was sent: its sender gets a 401, whatever the reason.
#[derive(Debug, thiserror::Error)]
#[error("{why}")]
pub(crate) struct Refused {
    pub why: String,
    pub about: About,
}

/// What a refusal is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum About {
    /// A token of a ServiceAccount: reviews tell what is wrong with it.
    Account,
    /// A token that is nobody's, of which there is nothing to tell.
    Nobody,
}

/// A token's user, and those of the audiences asked for that it is for.
pub(crate) struct Authenticated {
    pub user: Arc<User>,
    pub audiences: Arc<[String]>,
}

impl Tokens {
    pub(crate) fn new(store: Store, fixed: StaticTokens) -> Self {
        Self { store, fixed, accounts: OnceLock::new() }
    }

    /// From now on tokens of service accounts are known. Only the first call counts.
    pub(crate) fn know_accounts(&self, accounts: ServiceAccounts) {
        let _ = self.accounts.set(accounts);
    }

    /// What makes tokens of service accounts.
    ///
    /// # Errors
    /// 500: this server has no key for them.
    pub(crate) fn accounts(&self) -> Result<&ServiceAccounts, Status> {
        self.accounts.get().ok_or_else(|| Status::internal("this server has no key for service account tokens"))
    }

    /// The user of the request's `Authorization: Bearer …`; `None` when it has none.
    ///
    /// # Errors
    /// A token that nobody knows, or that is no longer good.
    pub(crate) fn authenticate(&self, headers: &HeaderMap, now: Timestamp) -> Result<Option<Arc<User>>, Refused> {
        let Some(token) = bearer(headers) else { return Ok(None) };
        self.find(token, now, &[]).map(|found| Some(found.user))
    }

    /// The user that a token stands for, when it is for one of `audiences` (none given: for this server).
    ///
    /// # Errors
    /// See [`Refused`].
    pub(crate) fn find(&self, token: &str, now: Timestamp, audiences: &[String]) -> Result<Authenticated, Refused> {
        if let Some(user) = self.fixed.find(token) {
            return for_this_server(user, audiences);
        }
        if bootstrap_token::looks_like(token) {
            let user = bootstrap_token::find(&self.store.snapshot(), token, now)?;
            return for_this_server(Arc::new(user), audiences);
        }
        let nobody = || Refused { why: "there is no key for tokens".into(), about: About::Nobody };
        let accounts = self.accounts.get().ok_or_else(nobody)?;
        accounts.verify(&self.store, token, now, audiences)
    }
}

/// Tokens that name no audience are for this server, and for nobody else (`WrapAudienceAgnosticToken`).
fn for_this_server(user: Arc<User>, audiences: &[String]) -> Result<Authenticated, Refused> {
    if audiences.is_empty() || audiences.iter().any(|audience| audience == ISSUER) {
        return Ok(Authenticated { user, audiences: [ISSUER.to_owned()].into() });
    }
    Err(Refused { why: "the token is for this server only".into(), about: About::Nobody })
}

fn bearer(headers: &HeaderMap) -> Option<&str> {
    let value = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let mut parts = value.trim().split(' ');
    let (scheme, token) = (parts.next()?, parts.next()?);
    (scheme.eq_ignore_ascii_case("bearer") && !token.is_empty()).then_some(token)
}

/// Whether two secrets are the same, in a time that does not depend on where they differ.
fn same_secret(a: &[u8], b: &[u8]) -> bool {
    a.len() == b.len() && a.iter().zip(b).fold(0, |different, (x, y)| different | (x ^ y)) == 0
}

/// Paths that answer to everybody, whatever the authorizers say (`--authorization-always-allow-paths`).
pub(crate) fn is_public(path: &str) -> bool {
    matches!(path, "/healthz" | "/livez" | "/readyz")
}

pub(crate) fn unauthorized() -> Status {
    Status::new(Reason::Unauthorized, "Unauthorized")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_whole_bearer_tokens_count() {
        let with = |value: &str| HeaderMap::from_iter([(header::AUTHORIZATION, value.parse().unwrap())]);
        assert_eq!(bearer(&with("Bearer s3cret")), Some("s3cret"));
        assert_eq!(bearer(&with("bearer s3cret ")), Some("s3cret"));
        // As Kubernetes reads it: what follows the first space, up to the next.
        assert_eq!(bearer(&with("bearer s3cret more")), Some("s3cret"));
        assert_eq!(bearer(&with("bearer  s3cret")), None);
        assert_eq!(bearer(&with("Basic s3cret")), None);
        assert_eq!(bearer(&with("Bearer ")), None);
        assert!(same_secret(b"ab", b"ab") && !same_secret(b"ab", b"ac") && !same_secret(b"ab", b"abc"));
    }
}
