//! Image names, by the rules that Docker and Kubernetes share: `[REGISTRY/]PATH[:TAG][@DIGEST]`, where the registry is
//! `docker.io` and the tag `latest` by default, and one-word names of `docker.io` live under `library/`.

use std::fmt;
use std::path::PathBuf;

use crate::error::ImageError;

/// The longest registry and path together.
const MAX_NAME: usize = 255;
const MAX_TAG: usize = 128;
const DEFAULT_REGISTRY: &str = "docker.io";
const DEFAULT_TAG: &str = "latest";

/// A normalised image name. Two names of the same image print the same.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Reference {
    Registry(RegistryReference),
    /// `file:///absolute/path.wasm`.
    File(PathBuf),
}

/// A name in a registry.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct RegistryReference {
    /// Host and optional port: `docker.io`, `localhost:5000`.
    pub registry: String,
    pub repository: String,
    /// `None` only where there is a digest.
    pub tag: Option<String>,
    /// `sha256:` and 64 hexadecimal digits.
    pub digest: Option<String>,
}

impl Reference {
    /// # Errors
    /// [`ImageError::InvalidName`].
    pub fn parse(name: &str) -> Result<Self, ImageError> {
        let invalid = |why| ImageError::InvalidName { name: name.to_owned(), why };
        if let Some(path) = name.strip_prefix("file://") {
            let path = PathBuf::from(path);
            return if path.is_absolute() {
                Ok(Self::File(path))
            } else {
                Err(invalid("file:// wants an absolute path"))
            };
        }
        parse_registry(name).map(Self::Registry).map_err(invalid)
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Registry(reference) => reference.fmt(f),
            Self::File(path) => write!(f, "file://{}", path.display()),
        }
    }
}

impl fmt::Display for RegistryReference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.registry, self.repository)?;
        match (&self.digest, &self.tag) {
            // The digest says it all; a tag beside it may have moved on.
            (Some(digest), _) => write!(f, "@{digest}"),
            (None, Some(tag)) => write!(f, ":{tag}"),
            (None, None) => Ok(()),
        }
    }
}

fn parse_registry(name: &str) -> Result<RegistryReference, &'static str> {
    let (rest, digest) = match name.split_once('@') {
        Some((rest, digest)) => (rest, Some(check_digest(digest)?)),
        None => (name, None),
    };
    let (path, tag) = match rest.rsplit_once(':') {
        Some((path, tag)) if !tag.contains('/') => (path, Some(check_tag(tag)?)),
        _ => (rest, None),
    };
    let (registry, repository) = match path.split_once('/') {
        Some((first, rest)) if is_registry(first) => (check_registry(first)?, rest),
        _ => (DEFAULT_REGISTRY, path),
    };
    if repository.len() == 64 && repository.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Err("cannot specify 64-byte hexadecimal strings");
    }
    if repository.bytes().any(|byte| byte.is_ascii_uppercase()) {
        return Err("invalid reference format: repository name must be lowercase");
    }
    if !repository.split('/').all(is_component) {
        return Err("invalid reference format");
    }
    let library = registry == DEFAULT_REGISTRY && !repository.contains('/');
    let repository = if library { format!("library/{repository}") } else { repository.to_owned() };
    if registry.len() + 1 + repository.len() > MAX_NAME {
        return Err("repository name must not be more than 255 characters");
    }
    let tag = tag.or(if digest.is_none() { Some(DEFAULT_TAG) } else { None });
    Ok(RegistryReference {
        registry: registry.to_owned(),
        repository,
        tag: tag.map(str::to_owned),
        digest: digest.map(str::to_owned),
    })
}

/// Whether the part before the first slash names a registry rather than a folder.
fn is_registry(first: &str) -> bool {
    first.contains(['.', ':']) || first == "localhost" || first.bytes().any(|byte| byte.is_ascii_uppercase())
}

fn check_registry(registry: &str) -> Result<&str, &'static str> {
    if matches!(registry, "index.docker.io" | "docker.io") {
        return Ok(DEFAULT_REGISTRY);
    }
    let (host, port) = match registry.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, Some(port)),
        _ => (registry, None),
    };
    let label = |label: &str| {
        !label.is_empty()
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
    };
    let ipv6 = || host.strip_prefix('[')?.strip_suffix(']')?.parse::<std::net::Ipv6Addr>().ok();
    let host_ok = host.split('.').all(label) || ipv6().is_some();
    let port_ok = port.is_none_or(|port| port.parse::<u16>().is_ok());
    if host_ok && port_ok { Ok(registry) } else { Err("invalid reference format") }
}

/// `[a-z0-9]+` joined by `.`, `_`, `__` or any number of `-`.
fn is_component(component: &str) -> bool {
    let separator = |text: &str| matches!(text, "." | "_" | "__") || text.bytes().all(|byte| byte == b'-');
    let mut rest = component;
    loop {
        let word = rest.bytes().take_while(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit()).count();
        if word == 0 {
            return false;
        }
        rest = &rest[word..];
        let gap = rest.bytes().take_while(|byte| matches!(byte, b'.' | b'_' | b'-')).count();
        if rest.is_empty() {
            return true;
        }
        if gap == 0 || !separator(&rest[..gap]) {
            return false;
        }
        rest = &rest[gap..];
    }
}

fn check_tag(tag: &str) -> Result<&str, &'static str> {
    let word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    let first = tag.bytes().next().is_some_and(word);
    let rest = tag.bytes().all(|byte| word(byte) || matches!(byte, b'.' | b'-'));
    if first && rest && tag.len() <= MAX_TAG { Ok(tag) } else { Err("invalid reference format") }
}

fn check_digest(digest: &str) -> Result<&str, &'static str> {
    let hex = digest.strip_prefix("sha256:").ok_or("unsupported digest algorithm")?;
    let lower = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
    if hex.len() == 64 && hex.bytes().all(lower) { Ok(digest) } else { Err("invalid checksum digest format") }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DIGEST: &str = "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

    #[test]
    fn names_are_normalised() {
        let hex = DIGEST.strip_prefix("sha256:").unwrap();
        for (given, normal) in [
            ("nginx", "docker.io/library/nginx:latest".to_owned()),
            ("nginx:1.27", "docker.io/library/nginx:1.27".to_owned()),
            ("index.docker.io/nginx", "docker.io/library/nginx:latest".to_owned()),
            ("me/app", "docker.io/me/app:latest".to_owned()),
            ("skiff.dev/examples/hello-http:v1", "skiff.dev/examples/hello-http:v1".to_owned()),
            ("localhost/app", "localhost/app:latest".to_owned()),
            ("localhost:5000/app:v2", "localhost:5000/app:v2".to_owned()),
            ("127.0.0.1:5000/a/b/c", "127.0.0.1:5000/a/b/c:latest".to_owned()),
            ("[::1]:5000/app", "[::1]:5000/app:latest".to_owned()),
            ("ghcr.io/o/a_b.c-d__e---f:V1_x.y-z", "ghcr.io/o/a_b.c-d__e---f:V1_x.y-z".to_owned()),
            (&format!("app@{DIGEST}"), format!("docker.io/library/app@{DIGEST}")),
            (&format!("app:v1@{DIGEST}"), format!("docker.io/library/app@{DIGEST}")),
            (&format!("x/{hex}"), format!("docker.io/x/{hex}:latest")),
            ("file:///srv/a.wasm", "file:///srv/a.wasm".to_owned()),
        ] {
            let parsed = Reference::parse(given).unwrap();
            assert_eq!(parsed.to_string(), normal);
            assert_eq!(Reference::parse(&normal).unwrap().to_string(), normal, "normal names stay as they are");
        }
    }

    #[test]
    fn bad_names_are_refused() {
        let long = "a".repeat(300);
        let tag = format!("a:{}", "t".repeat(129));
        let hex = "0".repeat(64);
        for bad in [
            "",
            ":",
            "/",
            "a/",
            "/a",
            "a//b",
            "App",
            "a:",
            "a:b:c",
            "a b",
            "a@",
            "a@sha256:12",
            "a@md5:00",
            "-a",
            "a-",
            "a..b",
            "a___b",
            "a._b",
            "reg.io:port/a",
            "reg..io/a",
            "http://reg.io/a",
            "a:.x",
            "../etc/passwd",
            "ä",
            "file://a.wasm",
            "file://",
            long.as_str(),
            tag.as_str(),
            hex.as_str(),
        ] {
            let error = Reference::parse(bad).expect_err(bad);
            assert_eq!(error.reason(), "InvalidImageName", "{bad}");
        }
    }
}
