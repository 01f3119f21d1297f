//! What a container is started from, and the ports through which it reaches the world: output,
//! identity, mounts. Knows nothing of pods' lifecycles or of how a guest is run.

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;

use crate::GuestNetwork;

/// Everything one container needs besides its module.
#[derive(Clone)]
pub struct ContainerSpec {
    /// For logs and spans only.
    pub name: String,
    /// argv, with the program's name first.
    pub args: Vec<String>,
    /// Environment, in order; later entries of a name win in most guests.
    pub env: Vec<(String, String)>,
    /// Initial directory as the guest sees it (`PWD` for preview-1 guests, `initial-cwd` for
    /// components).
    pub working_dir: Option<String>,
    /// Preopened directories.
    pub mounts: Vec<Mount>,
    /// Cap on all linear memories and tables of the container, in bytes.
    pub memory_limit_bytes: Option<u64>,
    /// Fuel for the container's whole life. Needs a module loaded with
    /// [`Flavor::Fuel`](crate::Flavor::Fuel).
    pub fuel: Option<u64>,
    /// CPU bandwidth in thousandths of a core, over periods of 100 ms.
    pub cpu_limit_millis: Option<u32>,
    /// Where stdout and stderr go.
    pub output: Arc<dyn Output>,
    /// The pod's network.
    pub network: Arc<dyn GuestNetwork>,
    /// Who the guest is, for the `skiff:pod` world.
    pub pod: PodIdentity,
}

impl ContainerSpec {
    /// A container with neither arguments, limits, mounts nor network, writing to `output`.
    pub fn new(name: impl Into<String>, output: Arc<dyn Output>) -> Self {
        Self {
            name: name.into(),
            args: Vec::new(),
            env: Vec::new(),
            working_dir: None,
            mounts: Vec::new(),
            memory_limit_bytes: None,
            fuel: None,
            cpu_limit_millis: None,
            output,
            network: Arc::new(crate::NoNetwork),
            pod: PodIdentity::default(),
        }
    }
}

/// Makes what is in a mount.
pub trait Contents: fmt::Debug + Send + Sync + 'static {
    /// Sees to it that the directory exists with all that a guest is to find in it.
    ///
    /// Called on the threads that run guests before each look at the mounts, possibly from several at once: must be quick
    /// when there is nothing to do. It may block for a few small files.
    fn make(&self) -> io::Result<()>;
}

/// One preopened directory.
#[derive(Debug, Clone)]
pub struct Mount {
    /// Directory on the host; must exist at start unless it has `contents`.
    pub host: PathBuf,
    /// Absolute path in the guest.
    pub guest: String,
    /// What the guest may do with it.
    pub access: Access,
    /// What makes the directory when a guest first looks: many never do. A preview-1 guest counts as looking at start.
    pub contents: Option<Arc<dyn Contents>>,
}

/// What a guest may do with a mount.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Read files and directories.
    ReadOnly,
    /// Read, create, change and remove.
    ReadWrite,
}

/// Who a guest is, as it can ask through the `skiff:pod/identity` interface.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PodIdentity {
    /// `metadata.namespace`
    pub namespace: String,
    /// `metadata.name`
    pub name: String,
    /// `metadata.uid`
    pub uid: String,
    /// `spec.nodeName`
    pub node: String,
    /// `status.podIP`
    pub ip: IpAddr,
    /// `metadata.labels`
    pub labels: BTreeMap<String, String>,
}

impl Default for PodIdentity {
    fn default() -> Self {
        Self {
            namespace: String::new(),
            name: String::new(),
            uid: String::new(),
            node: String::new(),
            ip: IpAddr::V4(std::net::Ipv4Addr::UNSPECIFIED),
            labels: BTreeMap::new(),
        }
    }
}

/// One of a guest's two output streams.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Stream {
    /// File descriptor 1.
    Stdout,
    /// File descriptor 2.
    Stderr,
}

/// Receives what a guest prints, in raw chunks as written.
///
/// Called on the threads that run guests, possibly from several at once for an HTTP container:
/// must return quickly and never block on a slow reader.
pub trait Output: Send + Sync + 'static {
    /// Takes over one chunk.
    fn write(&self, stream: Stream, bytes: &[u8]);
}

/// Drops everything.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoOutput;

impl Output for NoOutput {
    fn write(&self, _stream: Stream, _bytes: &[u8]) {}
}
