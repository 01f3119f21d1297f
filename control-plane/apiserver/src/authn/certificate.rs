//! Client certificates.

use crate::user::User;
use x509_parser::prelude::FromDer as _;

/// The user of a client certificate that TLS has verified: CN is the name, each O a group.
pub(crate) fn certificate_user(der: &[u8]) -> Option<User> {
    use sha2::Digest as _;
    let (_, certificate) = x509_parser::certificate::X509Certificate::from_der(der).ok()?;
    let subject = certificate.subject();
    let name = subject.iter_common_name().next()?.as_str().ok()?;
    let groups = subject.iter_organization().filter_map(|o| o.as_str().ok());
    if name.is_empty() {
        return None;
    }
    let mut user = User::authenticated(name, groups);
    let id = format!("X509SHA256={}", hex::encode(sha2::Sha256::digest(der)));
    user.extra.insert("authentication.kubernetes.io/credential-id".into(), vec![id]);
    Some(user)
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
        assert_eq!((&user.name, &user.groups), (&User::node("n1").name, &User::node("n1").groups));
        assert!(user.extra["authentication.kubernetes.io/credential-id"][0].starts_with("X509SHA256="));
        assert_eq!(certificate_user(b"junk"), None);
    }
}
