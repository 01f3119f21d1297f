//! Registry credentials, as `imagePullSecrets` hold them.

use std::collections::BTreeMap;
use std::fmt;

use base64::Engine as _;
use serde::Deserialize;

use crate::reference::RegistryReference;

/// Credentials by registry, from any number of secrets. Their order is kept: earlier secrets are tried first.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct Keyring {
    entries: Vec<(Pattern, Credentials)>,
}

/// What a registry is told.
#[derive(Clone, PartialEq, Eq, Hash)]
pub enum Credentials {
    Basic {
        username: String,
        password: String,
    },
    /// `registrytoken`.
    Bearer(String),
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Basic { username, .. } => write!(f, "Basic({username}, ..)"),
            Self::Bearer(_) => f.write_str("Bearer(..)"),
        }
    }
}

/// Why a secret holds no credentials. The secret's content is not repeated.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeyringError {
    #[error("not a Docker configuration: line {line}, column {column}")]
    Json { line: usize, column: usize },
    #[error("auth of {registry:?} is not base64 of USER:PASSWORD")]
    Auth { registry: String },
}

/// A registry as written in a Docker configuration: an optional scheme (dropped), a host whose labels may hold `*`,
/// an optional port, an optional path that is a prefix of the repository.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Pattern {
    host: String,
    path: String,
}

#[derive(Deserialize)]
struct DockerConfigJson {
    #[serde(default)]
    auths: BTreeMap<String, DockerAuth>,
}

#[derive(Deserialize, Default)]
struct DockerAuth {
    #[serde(default)]
    username: String,
    #[serde(default)]
    password: String,
    #[serde(default)]
    auth: String,
    #[serde(default)]
    registrytoken: String,
}

impl Keyring {
    /// No credentials: anonymous pulls only.
    #[must_use]
    pub fn empty() -> Self {
        Self::default()
    }

    /// Adds `data[".dockerconfigjson"]` of a `kubernetes.io/dockerconfigjson` secret.
    ///
    /// # Errors
    /// [`KeyringError`]; nothing of it is added then.
    pub fn add_docker_config_json(&mut self, json: &[u8]) -> Result<(), KeyringError> {
        let config: DockerConfigJson = serde_json::from_slice(json).map_err(|error| json_error(&error))?;
        self.add(config.auths)
    }

    /// Adds `data[".dockercfg"]` of a `kubernetes.io/dockercfg` secret: the same without the `auths` level.
    ///
    /// # Errors
    /// As [`Self::add_docker_config_json`].
    pub fn add_docker_cfg(&mut self, json: &[u8]) -> Result<(), KeyringError> {
        let auths = serde_json::from_slice(json).map_err(|error| json_error(&error))?;
        self.add(auths)
    }

    fn add(&mut self, auths: BTreeMap<String, DockerAuth>) -> Result<(), KeyringError> {
        let mut entries = Vec::new();
        for (registry, auth) in auths {
            if let Some(credentials) =
                auth.credentials().map_err(|()| KeyringError::Auth { registry: registry.clone() })?
            {
                entries.push((Pattern::parse(&registry), credentials));
            }
        }
        // Within one secret the longest path wins, as in the kubelet.
        entries.sort_by_key(|(pattern, _)| std::cmp::Reverse(pattern.path.len()));
        self.entries.extend(entries);
        Ok(())
    }

    /// The credentials to try for an image, best first; empty: go anonymously.
    #[must_use]
    pub fn lookup(&self, image: &RegistryReference) -> Vec<Credentials> {
        let matching = self.entries.iter().filter(|(pattern, _)| pattern.matches(image));
        matching.map(|(_, credentials)| credentials.clone()).collect()
    }
}

fn json_error(error: &serde_json::Error) -> KeyringError {
    KeyringError::Json { line: error.line(), column: error.column() }
}

impl DockerAuth {
    fn credentials(self) -> Result<Option<Credentials>, ()> {
        if !self.registrytoken.is_empty() {
            return Ok(Some(Credentials::Bearer(self.registrytoken)));
        }
        if !self.username.is_empty() {
            return Ok(Some(Credentials::Basic { username: self.username, password: self.password }));
        }
        if self.auth.is_empty() {
            return Ok(None);
        }
        let bytes = base64::engine::general_purpose::STANDARD.decode(self.auth.trim()).map_err(|_| ())?;
        let text = String::from_utf8(bytes).map_err(|_| ())?;
        let (username, password) = text.split_once(':').ok_or(())?;
        let password = password.trim_end_matches('\0').to_owned();
        Ok(Some(Credentials::Basic { username: username.to_owned(), password }))
    }
}

impl Pattern {
    fn parse(text: &str) -> Self {
        let bare = text.split_once("://").map_or(text, |(_, rest)| rest);
        let (host, path) = bare.split_once('/').unwrap_or((bare, ""));
        // `https://index.docker.io/v1/` is how `docker login` names Docker Hub.
        let path = match path.trim_end_matches('/') {
            "v1" | "v2" => "",
            path => path,
        };
        let host = if host == "index.docker.io" { "docker.io" } else { host };
        Self { host: host.to_ascii_lowercase(), path: path.to_owned() }
    }

    fn matches(&self, image: &RegistryReference) -> bool {
        let (host, port) = split_port(&self.host);
        let registry = image.registry.to_ascii_lowercase();
        let (image_host, image_port) = split_port(&registry);
        let labels = |text: &'_ str| text.split('.').map(str::to_owned).collect::<Vec<_>>();
        let (pattern, actual) = (labels(host), labels(image_host));
        port == image_port
            && pattern.len() == actual.len()
            && pattern.iter().zip(&actual).all(|(pattern, label)| glob(pattern, label))
            && image.repository.starts_with(&self.path)
    }
}

fn split_port(registry: &str) -> (&str, Option<&str>) {
    match registry.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, Some(port)),
        _ => (registry, None),
    }
}

/// `*` stands for any characters of one label.
fn glob(pattern: &str, label: &str) -> bool {
    let mut parts = pattern.split('*');
    let first = parts.next().unwrap_or_default();
    let Some(mut rest) = label.strip_prefix(first) else { return false };
    let parts: Vec<&str> = parts.collect();
    let Some((last, middle)) = parts.split_last() else { return rest.is_empty() };
    for part in middle {
        let Some(at) = rest.find(part) else { return false };
        rest = &rest[at + part.len()..];
    }
    rest.ends_with(last)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Reference;

    fn keyring(json: &str) -> Keyring {
        let mut keyring = Keyring::empty();
        keyring.add_docker_config_json(json.as_bytes()).unwrap();
        keyring
    }

    fn names(keyring: &Keyring, image: &str) -> Vec<String> {
        let Reference::Registry(reference) = Reference::parse(image).unwrap() else { panic!("{image}") };
        let credentials = keyring.lookup(&reference).into_iter();
        credentials
            .map(|found| match found {
                Credentials::Basic { username, password } => format!("{username}:{password}"),
                Credentials::Bearer(token) => token,
            })
            .collect()
    }

    #[test]
    fn reads_every_form() {
        // "dTpwOnc=" is "u:p:w"
        let keyring = keyring(
            r#"{"auths":{"https://index.docker.io/v1/":{"auth":"dTpwOnc="},"ghcr.io":{"username":"a","password":"b"},
               "r.io:5000":{"registrytoken":"t"},"none.io":{}}}"#,
        );
        assert_eq!(names(&keyring, "nginx"), ["u:p:w"]);
        assert_eq!(names(&keyring, "ghcr.io/x/y"), ["a:b"]);
        assert_eq!(names(&keyring, "r.io:5000/x"), ["t"]);
        assert!(names(&keyring, "r.io/x").is_empty(), "another port is another registry");
        assert!(names(&keyring, "none.io/x").is_empty());
    }

    #[test]
    fn longer_paths_and_globs() {
        let keyring = keyring(
            r#"{"auths":{"r.io":{"username":"all"},"r.io/team":{"username":"team"},"*.corp.io":{"username":"glob"}}}"#,
        );
        assert_eq!(names(&keyring, "r.io/team/app"), ["team:", "all:"]);
        assert_eq!(names(&keyring, "r.io/other/app"), ["all:"]);
        assert_eq!(names(&keyring, "eu.corp.io/app"), ["glob:"]);
        assert!(names(&keyring, "a.b.corp.io/app").is_empty(), "one star, one label");
    }

    #[test]
    fn secrets_stay_secret() {
        let mut keyring = Keyring::empty();
        let error = keyring.add_docker_config_json(br#"{"auths": {"r.io": {"password": "hunter2"#).unwrap_err();
        assert!(!error.to_string().contains("hunter2"));
        let error = keyring.add_docker_config_json(br#"{"auths":{"r.io":{"auth":"%%%"}}}"#).unwrap_err();
        assert_eq!(error, KeyringError::Auth { registry: "r.io".to_owned() });
        keyring.add_docker_cfg(br#"{"r.io":{"username":"u","password":"hunter2"}}"#).unwrap();
        assert!(!format!("{keyring:?}").contains("hunter2"));
    }
}
