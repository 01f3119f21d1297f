//! Why there is no image.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// Why an image could not be named, found, fetched or kept. Cloneable, because one pull may have several callers.
#[derive(Debug, Clone, thiserror::Error)]
pub enum ImageError {
    #[error("Failed to apply default image tag {name:?}: couldn't parse image name {name:?}: {why}")]
    InvalidName { name: String, why: &'static str },
    #[error("failed to pull image {reference:?}: not found")]
    NotFound { reference: String },
    #[error("failed to pull image {reference:?}: authorization failed: {why}")]
    Unauthorized { reference: String, why: String },
    #[error("failed to pull image {reference:?}: {why}")]
    Registry { reference: String, why: String },
    #[error("failed to pull image {reference:?}: content has digest {actual}, expected {expected}")]
    Corrupt { reference: String, expected: String, actual: String },
    #[error("failed to pull image {reference:?}: no progress within {limit:?}")]
    TimedOut { reference: String, limit: Duration },
    /// It exists, and is nothing that Skiff can run.
    #[error("image {reference:?} is not a Wasm image: {why}")]
    NotWasm { reference: String, why: String },
    #[error("image {reference:?} is too large: {what} exceeds {limit} bytes")]
    TooLarge { reference: String, what: &'static str, limit: u64 },
    /// A layer that would write outside its root, or that cannot be read.
    #[error("image {reference:?} has an invalid layer: {why}")]
    InvalidLayer { reference: String, why: String },
    #[error("image {reference:?}: file:// images are not allowed on this node")]
    FileNotAllowed { reference: String },
    #[error("reading {}: {source}", path.display())]
    Read { path: PathBuf, source: Arc<io::Error> },
    #[error("image store: {step} {}: {source}", path.display())]
    Store { step: &'static str, path: PathBuf, source: Arc<io::Error> },
    #[error("the pull was given up: this process is ending")]
    Aborted,
}

impl ImageError {
    /// The reason that a waiting container shows, in the kubelet's words where it has one.
    #[must_use]
    pub fn reason(&self) -> &'static str {
        match self {
            Self::InvalidName { .. } => "InvalidImageName",
            Self::NotWasm { .. } | Self::TooLarge { .. } | Self::InvalidLayer { .. } => "ErrImageInvalid",
            _ => "ErrImagePull",
        }
    }

    /// Whether another try may do better without anybody changing anything.
    #[must_use]
    pub fn is_passing(&self) -> bool {
        matches!(
            self,
            Self::Registry { .. } | Self::TimedOut { .. } | Self::Corrupt { .. } | Self::Aborted | Self::Store { .. }
        )
    }

    pub(crate) fn store(step: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::Store { step, path, source: Arc::new(source) }
    }

    pub(crate) fn read(path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::Read { path, source: Arc::new(source) }
    }
}
