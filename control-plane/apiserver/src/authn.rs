//! Credentials to users. Reads requests and certificates, never objects.

use crate::user::User;
use api::{Reason, Status};
use http::{HeaderMap, header};
use std::collections::HashMap;
use std::sync::Arc;
use x509_parser::prelude::FromDer as _;

/// Bearer tokens known from the start, as in kube-apiserver's `--token-auth-file`.
#[derive(Clone, Default)]
pub struct StaticTokens(HashMap<String, Arc<User>>);

impl StaticTokens {
    #[must_use]
    pub fn new(tokens: impl IntoIterator<Item = (String, User)>) -> Self {
        Self(tokens.into_iter().map(|(token, user)| (token, Arc::new(user))).collect())
    }

    /// The user of the request's `Authorization: Bearer …`, if it has a known one.
    pub(crate) fn authenticate(&self, headers: &HeaderMap) -> Option<Arc<User>> {
        if self.0.is_empty() {
            return None;
        }
        let value = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
        let (scheme, token) = value.split_once(' ')?;
        scheme.eq_ignore_ascii_case("bearer").then(|| self.find(token.trim()))?
    }

    /// The user that a token stands for.
    pub(crate) fn find(&self, token: &str) -> Option<Arc<User>> {
        self.0.get(token).cloned()
    }
}

/// The user of a client certificate that TLS has verified: CN is the name, each O a group.
pub(crate) fn certificate_user(der: &[u8]) -> Option<User> {
    let (_, certificate) = x509_parser::certificate::X509Certificate::from_der(der).ok()?;
    let subject = certificate.subject();
    let name = subject.iter_common_name().next()?.as_str().ok()?;
    let groups = subject.iter_organization().filter_map(|o| o.as_str().ok());
    (!name.is_empty()).then(|| User::authenticated(name, groups))
}

/// Paths that answer without credentials.
pub(crate) fn is_public(path: &str) -> bool {
    let root = path.split('/').nth(1).unwrap_or_default();
    matches!(root, "healthz" | "livez" | "readyz") || path == "/version" || path == "/version/"
}

pub(crate) fn unauthorized() -> Status {
    Status::new(Reason::Unauthorized, "Unauthorized")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pki::{Names, Pki, Subject};
    use rustls::pki_types::{CertificateDer, pem::PemObject};

    #[test]
    fn a_client_certificate_names_its_user_and_group() {
        let pki = Pki::ephemeral(&Names::new(None, &[])).unwrap();
        let pair = pki.issue_client(&Subject::node("n1")).unwrap();
        let der = CertificateDer::from_pem_slice(pair.certificate_pem.as_bytes()).unwrap();
        let user = certificate_user(&der).unwrap();
        assert_eq!(user, User::node("n1"));
        assert_eq!(certificate_user(b"junk"), None);
    }

    #[test]
    fn only_health_and_version_are_public() {
        for path in ["/healthz", "/livez/ping", "/readyz", "/version"] {
            assert!(is_public(path), "{path}");
        }
        for path in ["/", "/api", "/metrics", "/versions", "/healthzz", "/apis/healthz"] {
            assert!(!is_public(path), "{path}");
        }
    }

    #[test]
    fn bearer_tokens_are_looked_up_whole() {
        let tokens = StaticTokens::new([("s3cret".to_string(), User::component("x"))]);
        let with = |value: &str| HeaderMap::from_iter([(header::AUTHORIZATION, value.parse().unwrap())]);
        assert_eq!(tokens.authenticate(&with("Bearer s3cret")).unwrap().name, "x");
        assert!(tokens.authenticate(&with("Bearer s3cre")).is_none());
        assert!(tokens.authenticate(&with("Basic s3cret")).is_none());
    }
}
