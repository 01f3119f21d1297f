//! The key that signs tokens of service accounts: `sa.key`.

use super::{PkiError, PkiSource, files};
use rcgen::KeyPair as SigningKey;

/// A P-256 key.
#[derive(Clone)]
pub struct AccountKey {
    pkcs8: Vec<u8>,
    pem: String,
}

impl AccountKey {
    /// As `source` says: a new key, or the one on disk, made at first use.
    ///
    /// # Errors
    /// See [`PkiError`].
    pub fn open(source: &PkiSource) -> Result<Self, PkiError> {
        match source {
            PkiSource::Ephemeral => Self::generate(),
            PkiSource::Directory(dir) => files::account_key(dir),
        }
    }

    /// PEM of the key that the first server of a cluster proposes to the others: the one on disk, or else a new one.
    ///
    /// # Errors
    /// See [`PkiError`].
    pub(crate) fn candidate(source: &PkiSource) -> Result<String, PkiError> {
        let found = match source {
            PkiSource::Ephemeral => None,
            PkiSource::Directory(dir) => files::existing_account_key(dir)?,
        };
        Ok(found.map_or_else(Self::generate, Ok)?.pem)
    }

    /// The key that all servers of the cluster agreed upon.
    ///
    /// # Errors
    /// [`PkiError::Agreed`].
    pub(crate) fn agreed(pem: &str) -> Result<Self, PkiError> {
        Self::from_pem(pem).map_err(|why| PkiError::Agreed { what: "key for service account tokens", why })
    }

    /// # Errors
    /// [`PkiError::Sign`].
    pub fn generate() -> Result<Self, PkiError> {
        SigningKey::generate().map(|key| Self::of(&key)).map_err(PkiError::Sign)
    }

    /// The error says in a few words what is wrong with the text.
    pub(super) fn from_pem(pem: &str) -> Result<Self, String> {
        let key = SigningKey::from_pem(pem).map_err(|error| format!("it cannot be read: {error}"))?;
        if key.algorithm() != &rcgen::PKCS_ECDSA_P256_SHA256 {
            return Err("it is not a P-256 key".into());
        }
        Ok(Self::of(&key))
    }

    fn of(key: &SigningKey) -> Self {
        Self { pkcs8: key.serialize_der(), pem: key.serialize_pem() }
    }

    /// The private key in PKCS#8, DER.
    pub(crate) fn pkcs8(&self) -> &[u8] {
        &self.pkcs8
    }

    pub(super) fn pem(&self) -> &str {
        &self.pem
    }
}
