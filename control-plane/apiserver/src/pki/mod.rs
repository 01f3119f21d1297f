//! The cluster's certificates: one CA, the API server's serving certificate and client certificates.
//!
//! Everything is ECDSA P-256: a whole set is made in about a millisecond, so that an ephemeral cluster
//! needs nothing on disk. Knows nothing of HTTP or of the store.
//!
//! Invariant: a CA that is on disk is never replaced, whatever state its files are in; what the CA has
//! signed (serving and admin certificates) is made again when it is missing, unreadable, near its
//! end, or, for the serving certificate, when the names it must carry have changed.

mod account;
mod files;
mod issue;
pub mod kubeconfig;
mod sign;

pub use account::AccountKey;
pub use issue::{Authority, KeyPair, Names, Subject};
pub use sign::{RequestError, RequestFacts, read_request};

use std::path::{Path, PathBuf};

/// Why the certificates could not be made ready.
#[derive(Debug, thiserror::Error)]
pub enum PkiError {
    #[error("cannot {step} {path}")]
    File {
        step: &'static str,
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error(
        "{path} is not a usable CA ({why}); move the directory away to have a new CA made, which ends every credential of the old one"
    )]
    Broken { path: PathBuf, why: String },
    #[error("the {what} in the cluster's store cannot be used: {why}")]
    Agreed { what: &'static str, why: String },
    #[error(
        "{path} is not a usable key ({why}); move it away to have a new one made, which ends every token of the old one"
    )]
    BrokenKey { path: PathBuf, why: String },
    #[error("the key for service account tokens cannot be used: {0}")]
    Account(String),
    #[error("cannot sign a certificate")]
    Sign(#[source] rcgen::Error),
    #[error("TLS cannot use the certificates")]
    Tls(#[source] rustls::Error),
}

/// Where the certificates are kept.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum PkiSource {
    /// In memory only: gone with the process.
    #[default]
    Ephemeral,
    /// In a directory (made when absent): `ca.crt`, `ca.key`, `apiserver.crt`, `apiserver.key`, `admin.crt`, `admin.key`.
    Directory(PathBuf),
}

/// The CA with what the API server itself needs from it.
#[derive(Clone)]
pub struct Pki {
    authority: Authority,
    serving: KeyPair,
    admin: KeyPair,
}

impl Pki {
    /// As `source` says: [`Pki::ephemeral`] or [`Pki::load_or_create`].
    ///
    /// # Errors
    /// See [`PkiError`].
    pub fn open(source: &PkiSource, names: &Names) -> Result<Self, PkiError> {
        match source {
            PkiSource::Ephemeral => Self::ephemeral(names),
            PkiSource::Directory(dir) => Self::load_or_create(dir, names),
        }
    }

    /// The CA that a first server of a cluster proposes to the others: the one that is there, or else a new one.
    ///
    /// # Errors
    /// As [`Pki::open`].
    pub(crate) fn candidate(source: &PkiSource) -> Result<KeyPair, PkiError> {
        let found = match source {
            PkiSource::Ephemeral => None,
            PkiSource::Directory(dir) => files::existing(dir)?,
        };
        Ok(found.map_or_else(Authority::generate, Ok)?.pair())
    }

    /// [`Pki::open`] with the CA that all servers of the cluster agreed upon.
    ///
    /// # Errors
    /// [`PkiError::Broken`] when `source` holds another cluster's CA; see [`PkiError`] for the rest.
    pub(crate) fn open_with(source: &PkiSource, ca: &KeyPair, names: &Names) -> Result<Self, PkiError> {
        let authority = Authority::from_pem(ca).map_err(|why| PkiError::Agreed { what: "CA", why })?;
        match source {
            PkiSource::Ephemeral => Self::issue_all(authority, names),
            PkiSource::Directory(dir) => {
                files::install(dir, ca)?;
                Self::load_or_create(dir, names)
            }
        }
    }

    /// A fresh CA that is never written anywhere.
    ///
    /// # Errors
    /// [`PkiError::Sign`].
    pub fn ephemeral(names: &Names) -> Result<Self, PkiError> {
        Self::issue_all(Authority::generate()?, names)
    }

    fn issue_all(authority: Authority, names: &Names) -> Result<Self, PkiError> {
        let serving = authority.issue_serving(names)?;
        let admin = authority.issue_client(&Subject::admin())?;
        Ok(Self { authority, serving, admin })
    }

    /// What `dir` holds, completed where something is missing or has to be renewed.
    ///
    /// # Errors
    /// [`PkiError::Broken`] when there are CA files but no usable CA; see [`PkiError`] for the rest.
    pub fn load_or_create(dir: &Path, names: &Names) -> Result<Self, PkiError> {
        let authority = files::authority(dir)?;
        let serving =
            files::pair(dir, "apiserver", |pair| authority.serves(pair, names), || authority.issue_serving(names))?;
        let admin =
            files::pair(dir, "admin", |pair| authority.is_current(pair), || authority.issue_client(&Subject::admin()))?;
        Ok(Self { authority, serving, admin })
    }

    /// The CA's certificate, PEM.
    #[must_use]
    pub fn ca_pem(&self) -> &str {
        self.authority.certificate_pem()
    }

    #[must_use]
    pub fn serving(&self) -> &KeyPair {
        &self.serving
    }

    /// The client certificate of `kubernetes-admin` in `system:masters`.
    #[must_use]
    pub fn admin(&self) -> &KeyPair {
        &self.admin
    }

    /// A client certificate for `system:node:NAME` in `system:nodes`.
    ///
    /// # Errors
    /// [`PkiError::Sign`].
    pub fn issue_node(&self, name: &str) -> Result<KeyPair, PkiError> {
        self.authority.issue_client(&Subject::node(name))
    }

    /// A client certificate for any user.
    ///
    /// # Errors
    /// [`PkiError::Sign`].
    pub fn issue_client(&self, subject: &Subject) -> Result<KeyPair, PkiError> {
        self.authority.issue_client(subject)
    }

    /// The CA itself: it signs what requests ask for.
    #[must_use]
    pub fn authority(&self) -> &Authority {
        &self.authority
    }

    /// A kubeconfig for `server` (`https://host:port`) with these credentials.
    #[must_use]
    pub fn kubeconfig(&self, server: &str, user: &str, credentials: &KeyPair) -> String {
        kubeconfig::render(&kubeconfig::Access { cluster: "skiff", user, server, ca_pem: self.ca_pem(), credentials })
    }
}

#[cfg(test)]
mod tests;
