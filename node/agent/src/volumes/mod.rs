//! A pod's volumes on this node: setting them up, keeping ConfigMaps and Secrets current, and
//! turning `volumeMounts` into directories for the guest. Knows nothing of containers' lifecycles.
//!
//! Layout: `<data>/volumes/<pod uid>/<volume>`.

pub mod atomic;
mod files;
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
use crate::pod::{self, PodContext, Seen};
use atomic::Files;
use files::VolumeFiles;
use payload::PayloadError;
use token::Tokens;

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
#[derive(Clone, Debug)]
pub struct Ready {
    /// A directory, or for some hostPath volumes a file.
    pub path: PathBuf,
    pub writable: bool,
    /// What is to be in the directory, where that is the node's to say.
    pub files: Option<Arc<VolumeFiles>>,
}

/// All volumes of a pod.
pub struct VolumeSet {
    dir: PathBuf,
    ready: BTreeMap<String, Ready>,
    followed: Mutex<Followed>,
}

/// What a pod's volumes are made from, followed from the first look on.
#[derive(Default)]
pub struct Followed {
    subscriptions: Vec<(Key, Subscription)>,
    tokens: Tokens,
    /// The pod that the files show.
    pod: Option<Arc<v1::Pod>>,
}

impl VolumeSet {
    /// Sets up every volume of the pod; what was set up before stays and is brought up to date. `followed` is what earlier
    /// attempts left, and is taken by the one that works.
    pub async fn set_up(pod: &PodContext, followed: &mut Followed) -> Result<Arc<Self>, SetUpError> {
        let object = pod.object();
        let dir = pod.volumes_dir();
        let mut ready = BTreeMap::new();
        followed.pod = Some(Arc::clone(&object));
        for volume in pod::spec(&object).volumes.iter().flatten() {
            let one = set_up_one(pod, &object, volume, &dir, followed)
                .await
                .map_err(|error| SetUpError { volume: volume.name.clone(), error })?;
            ready.insert(volume.name.clone(), one);
        }
        Ok(Arc::new(Self { dir, ready, followed: Mutex::new(std::mem::take(followed)) }))
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
        let followed = std::mem::take(&mut *self.followed.lock());
        let shows_pod = volumes.iter().any(|v| payload::shows_pod(v));
        Some(keep_current(Arc::clone(self), pod, followed, shows_pod).boxed())
    }
}

async fn keep_current(set: Arc<VolumeSet>, pod: Arc<PodContext>, mut followed: Followed, shows_pod: bool) {
    let mut versions = pod.watch();
    let mut shown = followed.pod.take().unwrap_or_else(|| pod.object());
    let mut retry = None;
    loop {
        let is_other = |seen: &Seen| shows_pod && !payload::shows_same(&shown, &seen.pod);
        let mut waits: Vec<BoxFuture<'_, ()>> =
            followed.subscriptions.iter_mut().map(|(_, s)| s.changed().boxed()).collect();
        waits.push(versions.wait_for(is_other).map(drop).boxed());
        if let Some(at) = retry.into_iter().chain(followed.tokens.stale_at()).min() {
            waits.push(tokio::time::sleep_until(at).boxed());
        }
        select_all(waits).await;
        let object = pod.object();
        retry = None;
        for volume in pod::spec(&object).volumes.iter().flatten() {
            let Some(files) = set.get(&volume.name).and_then(|ready| ready.files.as_ref()) else { continue };
            if let Err(error) = bring_up_to_date(&pod, &object, volume, files, &mut followed).await {
                // The old files stay: a guest that runs must not lose them.
                if !payload::token_sources(volume).is_empty() {
                    // Nothing else would bring this up again before the token is stale for good.
                    retry = Some(Instant::now() + TOKEN_RETRY);
                }
                let error = SetUpError { volume: volume.name.clone(), error };
                pod.event(EventType::Warning, "FailedMount", error.to_string());
            }
        }
        shown = object;
    }
}

async fn bring_up_to_date(
    pod: &PodContext,
    object: &v1::Pod,
    volume: &Volume,
    files: &Arc<VolumeFiles>,
    followed: &mut Followed,
) -> Result<(), VolumeError> {
    let new = payload_files(pod, object, volume, followed).await?;
    files.put(new).await.map_err(|source| VolumeError::Io { path: files.dir().to_owned(), source })
}

async fn set_up_one(
    pod: &PodContext,
    object: &v1::Pod,
    volume: &Volume,
    dir: &Path,
    followed: &mut Followed,
) -> Result<Ready, VolumeError> {
    let path = dir.join(&volume.name);
    if volume.empty_dir.is_some() {
        let made = make_private(dir).and_then(|()| std::fs::create_dir_all(&path));
        made.map_err(|source| VolumeError::Io { path: path.clone(), source })?;
        return Ok(Ready { path, writable: true, files: None });
    }
    if let Some(host) = &volume.host_path {
        make_private(dir).map_err(|source| VolumeError::Io { path: dir.to_owned(), source })?;
        let path = hostpath::check(host)?;
        return Ok(Ready { path, writable: true, files: None });
    }
    if payload::is_payload(volume) {
        let files = payload_files(pod, object, volume, followed).await?;
        let files = VolumeFiles::new(path.clone(), pod.node.config.clock.clone(), files)
            .map_err(|source| VolumeError::Io { path: path.clone(), source })?;
        return Ok(Ready { path, writable: false, files: Some(Arc::new(files)) });
    }
    Err(VolumeError::Unsupported(type_name(volume)))
}

async fn payload_files(
    pod: &PodContext,
    object: &v1::Pod,
    volume: &Volume,
    followed: &mut Followed,
) -> Result<Files, VolumeError> {
    let mut objects = Objects::new();
    for key in payload::references(volume, &pod.namespace) {
        let known = followed.subscriptions.iter().position(|(k, _)| *k == key);
        let at = known.unwrap_or_else(|| {
            followed.subscriptions.push((key.clone(), pod.node.configs.subscribe(&key)));
            followed.subscriptions.len() - 1
        });
        if let Some(payload) = followed.subscriptions[at].1.current().await {
            objects.insert(key, payload);
        }
    }
    let mut tokens = Vec::new();
    for source in payload::token_sources(volume) {
        tokens.push(followed.tokens.get(pod, object, source).await.map_err(VolumeError::Token)?);
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
fn make_private(dir: &Path) -> io::Result<()> {
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(dir)
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
