//! Where things are kept.

use crate::args::Data;
use anyhow::{Context as _, Result};
use std::path::PathBuf;

/// Name of the kubeconfig in a data directory.
pub const KUBECONFIG: &str = "kubeconfig";

/// The data directory: as asked for, or the user's data folder.
pub fn data_dir(data: &Data) -> Result<PathBuf> {
    if let Some(dir) = &data.data_dir {
        return std::path::absolute(dir).with_context(|| format!("{} is no usable path", dir.display()));
    }
    let dirs = directories::ProjectDirs::from("dev", "", "skiff")
        .context("this user has no home folder: name a --data-dir")?;
    Ok(dirs.data_dir().to_path_buf())
}

/// Where compiled modules are kept: `$XDG_CACHE_HOME/skiff` or `~/.cache/skiff`. `None` for a user without a home.
pub fn cache_dir() -> Option<PathBuf> {
    directories::ProjectDirs::from("dev", "", "skiff").map(|dirs| dirs.cache_dir().to_path_buf())
}
