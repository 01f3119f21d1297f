//! The way to a cluster's state: the server that runs on it, or the store's file when none does. Both answer the same.

use crate::{args, paths};
use anyhow::{Context as _, Result, bail};
use apiserver::LocalService;
use apiserver::store::{HistoryPolicy, OpenError, Options, Store};
use bytes::Bytes;
use http::{Method, Request, StatusCode};
use http_body_util::{BodyExt as _, Limited};
use hyper_util::rt::TokioExecutor;
use kube::Client;
use kube::client::ConfigExt as _;
use kube::config::{KubeConfigOptions, Kubeconfig};
use serde::de::DeserializeOwned;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tower::{Layer as _, ServiceExt as _};

/// Name of the store's file in a data directory.
pub const STORE: &str = "store.redb";

/// Most bytes of an answer that is read whole.
const ANSWER_BYTES: usize = 1 << 20;

/// An open way. To be closed with [`Access::close`].
pub struct Access {
    client: Client,
    way: Way,
}

enum Way {
    Server(Box<kube::Config>),
    /// No server has the store: it is open here.
    File(Store, LocalService),
}

/// Where the answers come from.
pub enum Place {
    Server(PathBuf),
    File(PathBuf),
    /// There is no store yet.
    Nowhere(PathBuf),
}

/// Where to ask, without asking yet.
pub async fn find(args: &args::Access) -> Result<(Place, Option<Store>)> {
    if let Some(file) = &args.kubeconfig {
        return Ok((Place::Server(file.clone()), None));
    }
    let dir = paths::data_dir(&args.data)?;
    let path = dir.join(STORE);
    match open_file(&path).await? {
        Opened::Absent => Ok((Place::Nowhere(path), None)),
        Opened::Ours(store) => Ok((Place::File(path), Some(store))),
        Opened::Locked => {
            let kubeconfig = dir.join(paths::KUBECONFIG);
            if !kubeconfig.exists() {
                bail!(
                    "a server runs on {}, but there is no kubeconfig beside it: name its --kubeconfig",
                    path.display()
                );
            }
            Ok((Place::Server(kubeconfig), None))
        }
    }
}

enum Opened {
    Absent,
    Locked,
    Ours(Store),
}

async fn open_file(path: &Path) -> Result<Opened> {
    match path.symlink_metadata() {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Opened::Absent),
        Err(error) => return Err(error).with_context(|| format!("cannot open {}", path.display())),
        Ok(_) => {}
    }
    let mut options = Options::file(path);
    // How much history is kept is the server's to say: nothing is forgotten by looking.
    options.history =
        HistoryPolicy { age: Duration::MAX, revisions: u64::MAX, bytes: u64::MAX, ..HistoryPolicy::default() };
    let opened = tokio::task::spawn_blocking(move || Store::open(options)).await.context("opening the store")?;
    match opened {
        Ok(store) => Ok(Opened::Ours(store)),
        Err(OpenError::Locked { .. }) => Ok(Opened::Locked),
        Err(error) => Err(error.into()),
    }
}

impl Access {
    /// The server of `--kubeconfig`, or that of the data directory if one runs on it, or the data directory's file.
    pub async fn open(args: &args::Access) -> Result<Self> {
        match find(args).await? {
            (Place::Nowhere(path), _) => {
                bail!("there is no store at {}: name the cluster's --data-dir or --kubeconfig", path.display())
            }
            (place, store) => Self::at(&place, store).await,
        }
    }

    /// The way to a place that was found.
    pub async fn at(place: &Place, store: Option<Store>) -> Result<Self> {
        match (place, store) {
            (Place::Server(kubeconfig), _) => {
                let config = config(kubeconfig).await?;
                Ok(Self { client: Client::try_from(config.clone())?, way: Way::Server(Box::new(config)) })
            }
            (_, Some(store)) => {
                let service = apiserver::offline(store.clone(), &user());
                Ok(Self { client: Client::new(service.clone(), "default"), way: Way::File(store, service) })
            }
            (_, None) => bail!("there is no store"),
        }
    }

    /// Whether the file is open here: no server runs on it.
    pub fn is_file(&self) -> bool {
        matches!(self.way, Way::File(..))
    }

    /// Lets go of the file.
    pub async fn close(self) {
        drop(self.client);
        if let Way::File(store, service) = self.way {
            drop(service);
            store.close().await;
        }
    }

    /// POSTs a body of any length as it is read, and returns the answer whole.
    pub async fn upload<B>(&self, path: &str, body: B) -> Result<(StatusCode, Bytes)>
    where
        B: http_body::Body<Data = Bytes> + Send + Unpin + 'static,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let request = Request::post(uri(path, &[])).header("content-type", "application/octet-stream").body(body)?;
        match &self.way {
            Way::File(_, service) => answer(service.send(request).await).await,
            Way::Server(config) => {
                let client = hyper_util::client::legacy::Client::builder(TokioExecutor::new());
                let client = client.build(config.rustls_https_connector()?);
                let client = client.map_err(Box::<dyn std::error::Error + Send + Sync>::from);
                let (mut parts, body) = request.into_parts();
                let base = config.cluster_url.to_string();
                parts.uri = format!("{}{}", base.trim_end_matches('/'), parts.uri).parse()?;
                let request = Request::from_parts(parts, body);
                let sent = match config.auth_layer()? {
                    Some(layer) => layer.layer(client).oneshot(request).await,
                    None => client.oneshot(request).await,
                };
                answer(sent.map_err(|error| anyhow::anyhow!("the server does not answer: {error}"))?).await
            }
        }
    }

    /// Asks for a document.
    pub async fn get<T: DeserializeOwned>(&self, path: &str, query: &[(&str, &str)]) -> Result<T> {
        self.request(Method::GET, path, query, Vec::new()).await
    }

    /// Has something done.
    pub async fn post<T: DeserializeOwned>(&self, path: &str, query: &[(&str, &str)], body: Vec<u8>) -> Result<T> {
        self.request(Method::POST, path, query, body).await
    }

    async fn request<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        query: &[(&str, &str)],
        body: Vec<u8>,
    ) -> Result<T> {
        let request = Request::builder().method(method).uri(uri(path, query)).header("accept", "application/json");
        self.client.request(request.body(body)?).await.map_err(said)
    }

    /// Sends bodies of any size, either way.
    pub async fn send(&self, request: Request<kube::client::Body>) -> Result<http::Response<kube::client::Body>> {
        self.client.send(request).await.map_err(said)
    }
}

/// `/skiff/v1/PATH?…`.
pub fn uri(path: &str, query: &[(&str, &str)]) -> String {
    let mut pairs = form_urlencoded::Serializer::new(String::new());
    pairs.extend_pairs(query.iter().filter(|(_, value)| !value.is_empty()));
    format!("/skiff/v1/{path}?{}", pairs.finish())
}

/// What the server said is the message; how it said so is not.
fn said(error: kube::Error) -> anyhow::Error {
    match error {
        kube::Error::Api(status) => anyhow::anyhow!("{}", status.message),
        other => anyhow::Error::new(other).context("the server does not answer"),
    }
}

/// The whole of a short answer.
async fn answer<B>(response: http::Response<B>) -> Result<(StatusCode, Bytes)>
where
    B: http_body::Body<Data = Bytes>,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let (parts, body) = response.into_parts();
    let body = Limited::new(body, ANSWER_BYTES).collect().await;
    let bytes = body.map_err(|error| anyhow::anyhow!("the answer broke off: {error}"))?.to_bytes();
    Ok((parts.status, bytes))
}

async fn config(kubeconfig: &Path) -> Result<kube::Config> {
    let config = Kubeconfig::read_from(kubeconfig).with_context(|| format!("cannot read {}", kubeconfig.display()))?;
    Ok(kube::Config::from_custom_kubeconfig(config, &KubeConfigOptions::default()).await?)
}

/// Who writes to a stopped cluster: whoever this is on this machine.
fn user() -> String {
    let name = ["USER", "LOGNAME"].iter().find_map(|name| std::env::var(name).ok().filter(|name| !name.is_empty()));
    name.unwrap_or_else(|| "skiff".into())
}
