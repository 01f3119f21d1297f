//! A pod's volumes on this node: setting them up, keeping ConfigMaps and Secrets current, and
//! turning `volumeMounts` into directories for the guest. Knows nothing of containers' lifecycles.
//!
//! Layout: `<data>/volumes/<pod uid>/<volume>`.

pub mod atomic;
mod hostpath;
pub mod mounts;
pub mod payload;
mod token;

use std::collections::BTreeMap;
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use api::k8s_openapi::api::core::v1::{self, Volume};
use futures::FutureExt;
use futures::future::{BoxFuture, select_all};
use parking_lot::Mutex;
use tokio::time::Instant;

use crate::configs::{Key, Subscription};
use crate::env::Objects;
use crate::env::fields::PodFacts;
use crate::events::EventType;
use crate::pod::{self, PodContext};
use atomic::Files;
use payload::PayloadError;

/// After a token could not be renewed.
const TOKEN_RETRY: Duration = Duration::from_secs(10);

/// Why a volume can't be set up.
#[derive(Debug, thiserror::Error)]
pub enum VolumeError {
    #[error(transparent)]
    Payload(#[from] PayloadError),
    #[error("volume type {0} is not in this version of Skiff")]
    Unsupported(String),
    #[error("hostPath type check failed: {0}")]
    HostPath(String),
    #[error("{path}: {source}", path = .path.display())]
    Io {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("service account token: {0}")]
    Token(String),
}

/// A volume that couldn't be set up.
#[derive(Debug, thiserror::Error)]
#[error("MountVolume.SetUp failed for volume \"{volume}\" : {error}")]
pub struct SetUpError {
    pub volume: String,
    #[source]
    pub error: VolumeError,
}

impl SetUpError {
    /// The object whose appearance or change would cure this.
    pub fn object(&self) -> Option<&Key> {
        match &self.error {
            VolumeError::Payload(error) => error.object(),
            _ => None,
        }
    }
}

/// A volume, set up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ready {
    /// A directory, or for some hostPath volumes a file.
    pub path: PathBuf,
    pub writable: bool,
}

/// All volumes of a pod.
pub struct VolumeSet {
    dir: PathBuf,
    ready: BTreeMap<String, Ready>,
    watched: Mutex<Watched>,
}

#[derive(Default)]
struct Watched {
    subscriptions: Vec<(Key, Subscription)>,
    tokens_stale: Option<Instant>,
}

impl VolumeSet {
    /// Sets up every volume of the pod; what was set up before stays and is brought up to date.
    pub async fn set_up(pod: &PodContext) -> Result<Arc<Self>, SetUpError> {
        let object = pod.object();
        let dir = pod.volumes_dir();
        let mut set = Self { dir: dir.clone(), ready: BTreeMap::new(), watched: Mutex::default() };
        let mut watched = Watched::default();
        if pod::spec(&object).volumes.as_ref().is_some_and(|volumes| !volumes.is_empty()) {
            make_private(&dir)?;
        }
        for volume in pod::spec(&object).volumes.iter().flatten() {
            let ready = set_up_one(pod, &object, volume, &dir.join(&volume.name), &mut watched)
                .await
                .map_err(|error| SetUpError { volume: volume.name.clone(), error })?;
            set.ready.insert(volume.name.clone(), ready);
        }
        set.watched = Mutex::new(watched);
        Ok(Arc::new(set))
    }

    pub fn get(&self, volume: &str) -> Option<&Ready> {
        self.ready.get(volume)
    }

    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Keeps the files of ConfigMaps, Secrets, pod fields and tokens current; never returns. `None`
    /// when the pod has nothing of the kind.
    pub fn keep_current(self: &Arc<Self>, pod: Arc<PodContext>) -> Option<BoxFuture<'static, ()>> {
        let object = pod.object();
        let volumes: Vec<&Volume> = pod::spec(&object).volumes.iter().flatten().collect();
        if !volumes.iter().any(|v| payload::is_payload(v)) {
            return None;
        }
        let watched = std::mem::take(&mut *self.watched.lock());
        let shows_pod = volumes.iter().any(|v| payload::shows_pod(v));
        Some(keep_current(pod, self.dir.clone(), watched, shows_pod).boxed())
    }
}

async fn keep_current(pod: Arc<PodContext>, dir: PathBuf, mut watched: Watched, shows_pod: bool) {
    let mut object_changes = pod.watch();
    loop {
        {
            let mut waits: Vec<BoxFuture<'_, ()>> =
                watched.subscriptions.iter_mut().map(|(_, s)| s.changed().boxed()).collect();
            if shows_pod {
                waits.push(object_changes.changed().map(drop).boxed());
            }
            if let Some(at) = watched.tokens_stale {
                waits.push(tokio::time::sleep_until(at).boxed());
            }
            if waits.is_empty() {
                return std::future::pending().await;
            }
            select_all(waits).await;
        }
        let object = pod.object();
        watched.tokens_stale = None;
        for volume in pod::spec(&object).volumes.iter().flatten().filter(|v| payload::is_payload(v)) {
            if let Err(error) = set_up_one(&pod, &object, volume, &dir.join(&volume.name), &mut watched).await {
                // The old files stay: a guest that runs must not lose them.
                if !payload::token_sources(volume).is_empty() {
                    // Nothing else would bring this up again before the token is stale for good.
                    let retry = Instant::now() + TOKEN_RETRY;
                    watched.tokens_stale = Some(watched.tokens_stale.map_or(retry, |at| at.min(retry)));
                }
                let error = SetUpError { volume: volume.name.clone(), error };
                pod.event(EventType::Warning, "FailedMount", error.to_string());
            }
        }
    }
}

async fn set_up_one(
    pod: &PodContext,
    object: &v1::Pod,
    volume: &Volume,
    path: &Path,
    watched: &mut Watched,
) -> Result<Ready, VolumeError> {
    if volume.empty_dir.is_some() {
        std::fs::create_dir_all(path).map_err(|source| VolumeError::Io { path: path.to_owned(), source })?;
        return Ok(Ready { path: path.to_owned(), writable: true });
    }
    if let Some(host) = &volume.host_path {
        let path = hostpath::check(host)?;
        return Ok(Ready { path, writable: true });
    }
    if payload::is_payload(volume) {
        let files = payload_files(pod, object, volume, watched).await?;
        let (target, now) = (path.to_owned(), pod.node.config.clock.now());
        let written = tokio::task::spawn_blocking(move || atomic::write(&target, &files, now)).await;
        let written = written.unwrap_or_else(|e| Err(io::Error::other(e)));
        written.map_err(|source| VolumeError::Io { path: path.to_owned(), source })?;
        return Ok(Ready { path: path.to_owned(), writable: false });
    }
    Err(VolumeError::Unsupported(type_name(volume)))
}

async fn payload_files(
    pod: &PodContext,
    object: &v1::Pod,
    volume: &Volume,
    watched: &mut Watched,
) -> Result<Files, VolumeError> {
    let mut objects = Objects::new();
    for key in payload::references(volume, &pod.namespace) {
        let known = watched.subscriptions.iter().position(|(k, _)| *k == key);
        let at = known.unwrap_or_else(|| {
            watched.subscriptions.push((key.clone(), pod.node.configs.subscribe(&key)));
            watched.subscriptions.len() - 1
        });
        if let Some(payload) = watched.subscriptions[at].1.current().await {
            objects.insert(key, payload);
        }
    }
    let mut tokens = Vec::new();
    for source in payload::token_sources(volume) {
        let token = token::request(pod, object, source).await.map_err(VolumeError::Token)?;
        if let Some(token) = &token {
            let stale = token.stale_at;
            watched.tokens_stale = Some(watched.tokens_stale.map_or(stale, |at| at.min(stale)));
        }
        tokens.push(token.map(|t| t.text));
    }
    let sources = payload::Sources {
        facts: facts(pod, object),
        spec: pod::spec(object),
        objects: &objects,
        allocatable: &pod.node.allocatable,
        tokens: &tokens,
    };
    Ok(payload::files(volume, &sources)?)
}

/// What fields of this pod may refer to.
pub fn facts<'a>(pod: &'a PodContext, object: &'a v1::Pod) -> PodFacts<'a> {
    PodFacts { pod: object, pod_ip: pod.read(|r| r.ip), host_ip: pod.node.config.node_ip, node_name: pod.node.name() }
}

/// The field of the volume source that is set, e.g. `persistentVolumeClaim`.
fn type_name(volume: &Volume) -> String {
    let value = serde_json::to_value(volume).unwrap_or_default();
    let fields = value.as_object().into_iter().flatten();
    fields.map(|(name, _)| name).find(|name| *name != "name").cloned().unwrap_or_else(|| "(none)".into())
}

/// Makes the pod's folder, for this user alone: the files in it, Secrets among them, have the modes that guests ask for.
fn make_private(dir: &Path) -> Result<(), SetUpError> {
    let made = std::fs::DirBuilder::new().recursive(true).mode(0o700).create(dir);
    made.map_err(|source| SetUpError { volume: String::new(), error: VolumeError::Io { path: dir.to_owned(), source } })
}

/// Removes the pod's volumes from the disk. Blocking.
pub fn remove(dir: &Path) {
    match std::fs::remove_dir_all(dir) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            tracing::warn!(dir = %dir.display(), %error, "a pod's volumes could not be removed");
        }
        _ => {}
    }
}
