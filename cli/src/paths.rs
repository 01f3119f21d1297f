//! Where things are kept.

use crate::args::Data;
use anyhow::{Context as _, Result};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

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

/// Makes a data directory that is not there yet, for this user alone: it holds keys and every Secret. One that is there
/// keeps its mode.
pub fn create_private(dir: &Path) -> std::io::Result<()> {
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(dir)
}

/// Where compiled modules are kept: `$XDG_CACHE_HOME/skiff` or `~/.cache/skiff`. `None` for a user without a home.
pub fn cache_dir() -> Option<PathBuf> {
    directories::ProjectDirs::from("dev", "", "skiff").map(|dirs| dirs.cache_dir().to_path_buf())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    #[test]
    fn a_data_directory_is_its_users_alone() {
        let folder = tempfile::tempdir().unwrap();
        let dir = folder.path().join("a/b");
        create_private(&dir).unwrap();
        assert_eq!(std::fs::metadata(&dir).unwrap().permissions().mode() & 0o777, 0o700);
        create_private(&dir).unwrap();
    }
}
