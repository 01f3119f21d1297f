//! TLS for the server: our serving certificate, client certificates of our CA asked for but not demanded.

use crate::pki::{Pki, PkiError};
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};
use rustls::server::{NoClientAuth, WebPkiClientVerifier, danger::ClientCertVerifier};
use rustls::{CipherSuite, RootCertStore, ServerConfig};
use std::sync::Arc;
use tokio_rustls::TlsAcceptor;

/// # Errors
/// [`PkiError::Tls`] when rustls refuses the certificates.
pub(super) fn acceptor(pki: &Pki) -> Result<TlsAcceptor, PkiError> {
    let provider = Arc::new(provider());
    let serving = pki.serving();
    let chain = vec![certificate(&serving.certificate_pem)?];
    let key = PrivateKeyDer::from_pem_slice(serving.key_pem.as_bytes()).map_err(|error| unreadable(&error))?;
    let mut config = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(PkiError::Tls)?
        .with_client_cert_verifier(verifier(pki, provider)?)
        .with_single_cert(chain, key)
        .map_err(PkiError::Tls)?;
    config.ignore_client_order = true;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(TlsAcceptor::from(Arc::new(config)))
}

/// Cipher suites in our order: AES with keys of 128 bits first, as in kube-apiserver. It is as safe for as long as a
/// connection lasts, and lists and watches are mostly encryption and copying.
fn provider() -> CryptoProvider {
    const FIRST: [CipherSuite; 2] =
        [CipherSuite::TLS13_AES_128_GCM_SHA256, CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256];
    let mut provider = ring::default_provider();
    provider.cipher_suites.sort_by_key(|suite| !FIRST.contains(&suite.suite()));
    provider
}

fn verifier(pki: &Pki, provider: Arc<CryptoProvider>) -> Result<Arc<dyn ClientCertVerifier>, PkiError> {
    let mut roots = RootCertStore::empty();
    roots.add(certificate(pki.ca_pem())?).map_err(PkiError::Tls)?;
    match WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).allow_unauthenticated().build() {
        Ok(verifier) => Ok(verifier),
        Err(error) => {
            tracing::error!(%error, "client certificates cannot be verified; none will be accepted");
            Ok(Arc::new(NoClientAuth))
        }
    }
}

fn certificate(pem: &str) -> Result<CertificateDer<'static>, PkiError> {
    CertificateDer::from_pem_slice(pem.as_bytes()).map_err(|error| unreadable(&error))
}

fn unreadable(error: &rustls::pki_types::pem::Error) -> PkiError {
    PkiError::Tls(rustls::Error::General(error.to_string()))
}
