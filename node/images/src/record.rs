//! What the store remembers of an image, and what it hands out.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// An image that is on this node, ready to run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Image {
    /// The normalised name.
    pub reference: String,
    /// What `status.containerStatuses[].imageID` shows: name without tag, `@`, the manifest's digest.
    pub id: String,
    /// Of the module: `sha256:` and 64 hexadecimal digits.
    pub digest: String,
    /// The Wasm binary; its content never changes.
    pub module: PathBuf,
    pub config: ImageConfig,
    /// The file system of a container image, to be mounted read-only.
    pub rootfs: Option<PathBuf>,
    /// Of the module and the file system.
    pub size_bytes: u64,
}

/// An image's defaults (`config` of an OCI image configuration); empty for a plain module.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct ImageConfig {
    #[serde(deserialize_with = "nullable")]
    pub entrypoint: Vec<String>,
    #[serde(deserialize_with = "nullable")]
    pub cmd: Vec<String>,
    /// `NAME=value`.
    #[serde(deserialize_with = "nullable")]
    pub env: Vec<String>,
    #[serde(deserialize_with = "nullable")]
    pub working_dir: String,
}

/// Docker writes `null` for what is empty.
fn nullable<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: serde::Deserializer<'de>,
    T: Default + Deserialize<'de>,
{
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

/// The file that gives a name to an image: `refs/SHA256-OF-THE-NAME.json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Record {
    pub(crate) reference: String,
    pub(crate) id: String,
    pub(crate) module_digest: String,
    pub(crate) module_bytes: u64,
    #[serde(default)]
    pub(crate) config: ImageConfig,
    /// The folder's name under `rootfs/`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) rootfs: Option<String>,
    #[serde(default)]
    pub(crate) rootfs_bytes: u64,
    /// For `file://`: the file as it was when it was read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) source: Option<SourceFile>,
}

/// Enough to see that a file has changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct SourceFile {
    pub(crate) bytes: u64,
    /// Since the epoch.
    pub(crate) modified_nanos: u128,
    pub(crate) inode: u64,
}
