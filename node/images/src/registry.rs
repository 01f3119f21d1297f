//! One registry, spoken to with one set of credentials.

use std::error::Error;
use std::net::IpAddr;

use futures::StreamExt;
use oci_client::client::{BlobResponse, Certificate, CertificateEncoding, Client, ClientConfig, ClientProtocol};
use oci_client::errors::OciDistributionError;
use oci_client::secrets::RegistryAuth;

use crate::blob::{StageError, Staged};
use crate::error::ImageError;
use crate::keyring::Credentials;
use crate::manifest::{Descriptor, MANIFEST_TYPES};
use crate::reference::RegistryReference;
use crate::store::{Config, Inner};

/// The largest manifest; the distribution specification asks for 4 MiB at least.
const MAX_MANIFEST: usize = 4 << 20;
/// How often a broken download is taken up again.
const MAX_ATTEMPTS: usize = 4;
/// The most of a registry's own words in a message.
const MAX_WORDS: usize = 300;

/// A repository of a registry.
pub(crate) struct Repository<'a> {
    name: String,
    reference: &'a RegistryReference,
    client: Client,
    auth: RegistryAuth,
    config: &'a Config,
}

impl<'a> Repository<'a> {
    pub(crate) fn new(
        config: &'a Config,
        reference: &'a RegistryReference,
        credentials: Option<Credentials>,
    ) -> Result<Self, ImageError> {
        let name = reference.to_string();
        // Of several TLS providers in one process none is the default one: ring is ours. A second call changes nothing.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = Client::try_from(client_config(config, &reference.registry))
            .map_err(|error| ImageError::Registry { reference: name.clone(), why: chain(&error) })?;
        let auth = match credentials {
            None => RegistryAuth::Anonymous,
            Some(Credentials::Basic { username, password }) => RegistryAuth::Basic(username, password),
            Some(Credentials::Bearer(token)) => RegistryAuth::Bearer(token),
        };
        Ok(Self { name, reference, client, auth, config })
    }

    fn at(&self, digest: Option<&str>) -> oci_client::Reference {
        let (registry, repository) = (self.reference.registry.clone(), self.reference.repository.clone());
        match (digest.or(self.reference.digest.as_deref()), &self.reference.tag) {
            (Some(digest), _) => oci_client::Reference::with_digest(registry, repository, digest.to_owned()),
            (None, tag) => oci_client::Reference::with_tag(registry, repository, tag.clone().unwrap_or_default()),
        }
    }

    /// The bytes of the manifest that the image's name, or `digest`, leads to, and their digest.
    pub(crate) async fn manifest(&self, digest: Option<&str>) -> Result<(Vec<u8>, String), ImageError> {
        let pulled = self.client.pull_manifest_raw(&self.at(digest), &self.auth, MANIFEST_TYPES).await;
        let (bytes, digest) = pulled.map_err(|error| self.error(error))?;
        if bytes.len() > MAX_MANIFEST {
            let limit = MAX_MANIFEST as u64;
            return Err(ImageError::TooLarge { reference: self.name.clone(), what: "the manifest", limit });
        }
        Ok((bytes.into(), digest))
    }

    /// Downloads a blob. A download that breaks off is taken up where it ended; what comes out has the digest that
    /// was asked for.
    pub(crate) async fn blob(
        &self,
        store: &Inner,
        blob: &Descriptor,
        what: &'static str,
        limit: u64,
    ) -> Result<Staged, ImageError> {
        if blob.size > limit {
            return Err(ImageError::TooLarge { reference: self.name.clone(), what, limit });
        }
        let mut staged = Staged::new(&store.scratch, limit)?;
        let mut attempt = 1;
        loop {
            let broken = match self.download(store, blob, what, &mut staged).await {
                Ok(()) if staged.digest() == blob.digest => return Ok(staged),
                Ok(()) => None,
                Err(Broken::Off(why)) => Some(why),
                Err(Broken::For(error)) => return Err(error),
            };
            let complete = blob.size > 0 && staged.bytes() >= blob.size;
            match broken {
                Some(why) if !complete && attempt < MAX_ATTEMPTS => {
                    tracing::debug!(digest = blob.digest, bytes = staged.bytes(), why, "download broke off");
                    attempt += 1;
                }
                Some(why) if !complete => return Err(ImageError::Registry { reference: self.name.clone(), why }),
                _ => {
                    let (expected, actual) = (blob.digest.clone(), staged.digest());
                    return Err(ImageError::Corrupt { reference: self.name.clone(), expected, actual });
                }
            }
        }
    }

    /// One request for what is missing.
    async fn download(
        &self,
        store: &Inner,
        blob: &Descriptor,
        what: &'static str,
        staged: &mut Staged,
    ) -> Result<(), Broken> {
        let image = self.at(None);
        self.client.store_auth_if_needed(image.resolve_registry(), &self.auth).await;
        let digest = blob.digest.as_str();
        let answer = match staged.bytes() {
            0 => self.client.pull_blob_stream(&image, digest).await.map(BlobResponse::Full),
            from => self.client.pull_blob_stream_partial(&image, digest, from, None).await,
        };
        let mut stream = match answer {
            Ok(BlobResponse::Partial(sized)) => sized.stream,
            Ok(BlobResponse::Full(sized)) => {
                let cleared = staged.clear().map_err(StageError::Io);
                cleared.map_err(|error| Broken::For(store.stage_error(&self.name, what, error)))?;
                sized.stream
            }
            Err(OciDistributionError::RequestError(error)) => return Err(Broken::Off(chain(&error))),
            Err(error) => return Err(Broken::For(self.error(error))),
        };
        while let Some(chunk) = stream.next().await {
            let chunk = chunk.map_err(|error| Broken::Off(chain(&error)))?;
            staged.write(&chunk).map_err(|error| Broken::For(store.stage_error(&self.name, what, error)))?;
        }
        Ok(())
    }

    fn error(&self, error: OciDistributionError) -> ImageError {
        let reference = self.name.clone();
        match error {
            OciDistributionError::ServerError { code: 404, .. }
            | OciDistributionError::ImageManifestNotFoundError(_) => ImageError::NotFound { reference },
            OciDistributionError::ServerError { code: code @ (401 | 403), message, .. } => {
                ImageError::Unauthorized { reference, why: words(&format!("{code} {message}")) }
            }
            OciDistributionError::ServerError { code, message, .. } => {
                ImageError::Registry { reference, why: words(&format!("the registry answered {code} {message}")) }
            }
            OciDistributionError::UnauthorizedError { .. } => {
                ImageError::Unauthorized { reference, why: "401 Unauthorized".to_owned() }
            }
            OciDistributionError::AuthenticationFailure(why) => {
                ImageError::Unauthorized { reference, why: words(&why) }
            }
            OciDistributionError::RegistryError { envelope, .. } => {
                use oci_client::errors::OciErrorCode as Code;
                let why = words(&envelope.to_string());
                match envelope.errors.first().map(|error| &error.code) {
                    Some(Code::ManifestUnknown | Code::NameUnknown | Code::NotFound | Code::BlobUnknown) => {
                        ImageError::NotFound { reference }
                    }
                    Some(Code::Unauthorized | Code::Denied) => ImageError::Unauthorized { reference, why },
                    _ => ImageError::Registry { reference, why },
                }
            }
            OciDistributionError::RequestError(error) if error.is_timeout() => {
                ImageError::TimedOut { reference, limit: self.config.read_timeout }
            }
            OciDistributionError::DigestError(oci_client::errors::DigestError::VerificationError {
                expected,
                actual,
            }) => ImageError::Corrupt { reference, expected, actual },
            other => ImageError::Registry { reference, why: words(&chain(&other)) },
        }
    }
}

/// Why a download ended early.
enum Broken {
    /// The connection: worth another try.
    Off(String),
    For(ImageError),
}

fn client_config(config: &Config, registry: &str) -> ClientConfig {
    let extra = Certificate { encoding: CertificateEncoding::Pem, data: config.extra_ca_pem.clone() };
    ClientConfig {
        protocol: if is_insecure(config, registry) { ClientProtocol::Http } else { ClientProtocol::Https },
        extra_root_certificates: if config.extra_ca_pem.is_empty() { Vec::new() } else { vec![extra] },
        platform_resolver: None,
        connect_timeout: Some(config.connect_timeout),
        read_timeout: Some(config.read_timeout),
        user_agent: concat!("skiff/", env!("CARGO_PKG_VERSION")),
        ..ClientConfig::default()
    }
}

/// As Docker: what is on this host needs no TLS.
fn is_insecure(config: &Config, registry: &str) -> bool {
    let host = match registry.rsplit_once(':') {
        Some((host, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => host,
        _ => registry,
    };
    let address = host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
    host == "localhost"
        || address.is_ok_and(|address| address.is_loopback())
        || config.insecure_registries.iter().any(|insecure| insecure == registry)
}

/// An error and its causes, which say what the error itself often doesn't: "connection refused".
fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let more = error.to_string();
        if !text.contains(&more) {
            text = format!("{text}: {more}");
        }
        cause = error.source();
    }
    text
}

/// A registry's words, on one line and not too many of them.
fn words(text: &str) -> String {
    let line: Vec<&str> = text.split_whitespace().collect();
    line.join(" ").chars().take(MAX_WORDS).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_named_and_local_registries_go_without_tls() {
        let mut config = Config::new("/nowhere");
        config.insecure_registries.push("registry.lan:5000".to_owned());
        for insecure in
            ["localhost", "localhost:5000", "127.0.0.1:5000", "127.9.8.7", "[::1]:5000", "registry.lan:5000"]
        {
            assert!(is_insecure(&config, insecure), "{insecure}");
        }
        for secure in ["docker.io", "registry.lan", "localhost.example.com", "128.0.0.1:5000", "ghcr.io:443"] {
            assert!(!is_insecure(&config, secure), "{secure}");
        }
    }

    #[test]
    fn a_client_with_tls_can_be_made() {
        let name = RegistryReference {
            registry: "registry.example.com".to_owned(),
            repository: "a/b".to_owned(),
            tag: Some("v1".to_owned()),
            digest: None,
        };
        let config = Config::new("/nowhere");
        let repository = Repository::new(&config, &name, None).map_err(|error| error.to_string()).unwrap();
        assert_eq!(repository.at(None).whole(), "registry.example.com/a/b:v1");
    }
}
