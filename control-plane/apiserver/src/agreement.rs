//! Secrets that all servers of a cluster must have alike, such as the CA: the first server proposes one in the store they
//! share, and whoever comes second takes what is there.
//!
//! Invariant: the keys used here begin with a tilde, which no kind's keys do: no API path reads or writes them. Backups
//! of the store hold them, and everything else that whoever reads the store could use to become its administrator.

use crate::core::Core;
use crate::pki::{AccountKey, KeyPair, Names, Pki, PkiError, PkiSource};
use crate::user::APISERVER;
use api::Status;
use store::{Txn, Value};

const PREFIX: &str = "~pki/";
/// How often a proposal that came second looks for the one that came first.
const ATTEMPTS: usize = 5;

/// Why servers did not agree.
#[derive(Debug, thiserror::Error)]
pub enum AgreementError {
    #[error("cannot read or write it in the store")]
    Store(#[source] Status),
    #[error("what the store holds is not text")]
    Text,
    #[error("what the store holds is not a certificate and its key")]
    Form,
    #[error("the store kept changing")]
    Unsettled,
    #[error("the server's own files do not fit")]
    Pki(#[from] PkiError),
}

/// The certificates and the key for tokens, as all servers of the cluster have them.
///
/// # Errors
/// See [`AgreementError`].
pub(crate) async fn keys(core: &Core, source: &PkiSource, names: &Names) -> Result<(Pki, AccountKey), AgreementError> {
    let ca = authority(core, source).await?;
    let pki = Pki::open_with(source, &ca, names)?;
    let account = agree(core, "service-accounts", || AccountKey::candidate(source)).await?;
    Ok((pki, AccountKey::agreed(&account)?))
}

/// The text that all servers use under `name`: the one in the store, or what `make` makes if there is none yet.
async fn agree(core: &Core, name: &str, make: impl Fn() -> Result<String, PkiError>) -> Result<String, AgreementError> {
    let key = format!("{PREFIX}{name}");
    for _ in 0..ATTEMPTS {
        let snapshot = core.latest().await.map_err(AgreementError::Store)?;
        if let Some(entry) = snapshot.get(key.as_bytes()) {
            return String::from_utf8(entry.value.body.to_vec()).map_err(|_| AgreementError::Text);
        }
        let text = make()?;
        let proposal = Txn::create(&key, Value::new(text.clone()));
        if core.commit(APISERVER, proposal).await.map_err(AgreementError::Store)?.is_ok() {
            return Ok(text);
        }
    }
    Err(AgreementError::Unsettled)
}

async fn authority(core: &Core, source: &PkiSource) -> Result<KeyPair, AgreementError> {
    let text = agree(core, "ca", || {
        let pair = Pki::candidate(source)?;
        Ok(serde_json::json!({"certificate": pair.certificate_pem, "key": pair.key_pem}).to_string())
    })
    .await?;
    let document: serde_json::Value = serde_json::from_str(&text).map_err(|_| AgreementError::Form)?;
    let part = |name: &str| document.get(name).and_then(|v| v.as_str()).map(String::from).ok_or(AgreementError::Form);
    Ok(KeyPair { certificate_pem: part("certificate")?, key_pem: part("key")? })
}
