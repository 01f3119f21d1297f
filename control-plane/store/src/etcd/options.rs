//! How a store on etcd is opened, and the URL that says so.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use crate::history_policy::HistoryPolicy;
use crate::options::{Clock, Limits};

/// How a store on etcd is opened.
#[derive(Clone)]
pub struct Options {
    /// `host:port` of the cluster's members, in the order in which they are tried.
    pub endpoints: Vec<String>,
    /// All keys of the store begin with this; nobody else may write below it. Ends with a slash.
    pub prefix: String,
    /// `None`: connections are in the clear.
    pub tls: Option<Tls>,
    pub login: Option<Login>,
    /// How long history is kept. One of the servers on the cluster compacts it, and with it all of etcd's.
    pub history: HistoryPolicy,
    pub limits: Limits,
    /// Bytes of one request to etcd: its `--max-request-bytes`.
    pub request_bytes: usize,
    /// Operations of one transaction: etcd's `--max-txn-ops`.
    pub txn_ops: usize,
    pub timeouts: Timeouts,
    pub clock: Clock,
}

/// Certificates, as PEM.
#[derive(Clone, Default)]
pub struct Tls {
    /// Who signs the members' certificates; `None`: whom the system trusts.
    pub ca: Option<Vec<u8>>,
    /// This client's certificate and its key.
    pub identity: Option<(Vec<u8>, Vec<u8>)>,
}

/// A user of etcd.
#[derive(Clone)]
pub struct Login {
    pub user: String,
    pub password: String,
}

/// How long to wait for etcd.
#[derive(Clone, Copy, Debug)]
pub struct Timeouts {
    /// For a connection.
    pub connect: Duration,
    /// For the answer to a request.
    pub request: Duration,
    /// Between two looks at whether etcd is there, when nobody asks anyway.
    pub pulse: Duration,
    /// For the answer to such a look, and to [`crate::Store::latest`].
    pub barrier: Duration,
    /// How long a write waits for etcd to come back before it fails.
    pub patience: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(2),
            request: Duration::from_secs(5),
            pulse: Duration::from_secs(1),
            barrier: Duration::from_secs(3),
            patience: Duration::from_secs(2),
        }
    }
}

/// What is wrong with a store's URL, or the files beside it.
#[derive(Debug, thiserror::Error)]
pub enum UrlError {
    #[error("{0:?} does not begin with etcd:// or etcds://")]
    Scheme(String),
    #[error("{0:?} is not an address: host:port is expected")]
    Endpoint(String),
    #[error("the {0} is not valid UTF-8 once decoded")]
    Encoding(&'static str),
    #[error("cannot read {}", path.display())]
    File {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("a client certificate needs both its file and its key's")]
    HalfIdentity,
}

const DEFAULT_PORT: u16 = 2_379;
const DEFAULT_PREFIX: &str = "/skiff/";

impl Options {
    /// The store at `endpoints`, with every other setting at its default.
    #[must_use]
    pub fn new(endpoints: Vec<String>) -> Self {
        Self {
            endpoints,
            prefix: DEFAULT_PREFIX.to_owned(),
            tls: None,
            login: None,
            history: HistoryPolicy::default(),
            limits: Limits::default(),
            request_bytes: 1_536 << 10,
            txn_ops: 128,
            timeouts: Timeouts::default(),
            clock: SystemTime::now,
        }
    }

    /// `etcd[s]://[user[:password]@]host[:port][,host[:port]…][/prefix]`; `etcds` is over TLS, with the system's
    /// certificate authorities until [`Options::tls`] says otherwise. User, password and prefix may be percent-encoded.
    ///
    /// # Errors
    /// See [`UrlError`].
    pub fn from_url(url: &str) -> Result<Self, UrlError> {
        let (scheme, rest) = url.split_once("://").unwrap_or(("", url));
        let tls = match scheme {
            "etcd" => None,
            "etcds" => Some(Tls::default()),
            // What may hold a password is not repeated.
            _ => return Err(UrlError::Scheme(scheme.to_owned())),
        };
        let (authority, prefix) = rest.find('/').map_or((rest, ""), |at| rest.split_at(at));
        let (login, hosts) = match authority.rsplit_once('@') {
            Some((login, hosts)) => (Some(login), hosts),
            None => (None, authority),
        };
        let endpoints: Vec<_> = hosts.split(',').map(endpoint).collect::<Result<_, _>>()?;
        let login = login.map(|login| {
            let (user, password) = login.split_once(':').unwrap_or((login, ""));
            Ok(Login { user: decoded("user", user)?, password: decoded("password", password)? })
        });
        let prefix = match prefix.trim_matches('/') {
            "" => DEFAULT_PREFIX.to_owned(),
            path => format!("/{}/", decoded("prefix", path)?),
        };
        Ok(Self { prefix, tls, login: login.transpose()?, ..Self::new(endpoints) })
    }

    /// The URL without its password, for people.
    #[must_use]
    pub fn url(&self) -> String {
        let scheme = if self.tls.is_some() { "etcds" } else { "etcd" };
        format!("{scheme}://{}{}", self.endpoints.join(","), self.prefix)
    }
}

impl Tls {
    /// Read the files of a CA and of a client certificate with its key.
    ///
    /// # Errors
    /// When one cannot be read, or a certificate comes without its key.
    pub fn from_files(ca: Option<&Path>, cert: Option<&Path>, key: Option<&Path>) -> Result<Self, UrlError> {
        let read =
            |path: &Path| std::fs::read(path).map_err(|source| UrlError::File { path: path.to_path_buf(), source });
        let identity = match (cert, key) {
            (Some(cert), Some(key)) => Some((read(cert)?, read(key)?)),
            (None, None) => None,
            _ => return Err(UrlError::HalfIdentity),
        };
        Ok(Self { ca: ca.map(read).transpose()?, identity })
    }
}

fn endpoint(text: &str) -> Result<String, UrlError> {
    let refused = || UrlError::Endpoint(text.to_owned());
    let (host, port) = match text.rsplit_once(':') {
        // A colon inside brackets is an IPv6 address's.
        Some((host, port)) if !port.contains(']') => (host, port.parse().map_err(|_| refused())?),
        _ => (text, DEFAULT_PORT),
    };
    let name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
    let bare = match host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        Some(address) => address.parse::<std::net::Ipv6Addr>().is_ok(),
        None => host.chars().all(name),
    };
    if host.is_empty() || !bare {
        return Err(refused());
    }
    Ok(format!("{host}:{port}"))
}

fn decoded(what: &'static str, text: &str) -> Result<String, UrlError> {
    let bytes = percent_encoding::percent_decode_str(text).decode_utf8();
    bytes.map(std::borrow::Cow::into_owned).map_err(|_| UrlError::Encoding(what))
}

impl fmt::Debug for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Options").field("url", &self.url()).finish_non_exhaustive()
    }
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tls").finish_non_exhaustive()
    }
}

impl fmt::Debug for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Login").field("user", &self.user).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_says_where_and_who() {
        let options = Options::from_url("etcds://jane:p%40ss@a:1,b,[::1]:3/clusters/x").unwrap();
        assert_eq!(options.endpoints, ["a:1", "b:2379", "[::1]:3"]);
        assert_eq!(options.prefix, "/clusters/x/");
        assert!(options.tls.is_some());
        let login = options.login.as_ref().unwrap();
        assert_eq!((login.user.as_str(), login.password.as_str()), ("jane", "p@ss"));
        assert_eq!(format!("{options:?}"), "Options { url: \"etcds://a:1,b:2379,[::1]:3/clusters/x/\", .. }");
        let plain = Options::from_url("etcd://127.0.0.1:2379").unwrap();
        assert_eq!((plain.prefix.as_str(), plain.tls.is_none()), ("/skiff/", true));
    }

    #[test]
    fn a_bad_url_is_refused() {
        for (url, expected) in [
            ("http://a", "\"http\" does not begin with etcd:// or etcds://"),
            ("etcd://", "\"\" is not an address: host:port is expected"),
            ("etcd://a:b", "\"a:b\" is not an address: host:port is expected"),
            ("etcd://a,,b", "\"\" is not an address: host:port is expected"),
            ("etcd://a b:1", "\"a b:1\" is not an address: host:port is expected"),
            ("etcd://u%ff@a", "the user is not valid UTF-8 once decoded"),
        ] {
            assert_eq!(Options::from_url(url).unwrap_err().to_string(), expected);
        }
    }
}
