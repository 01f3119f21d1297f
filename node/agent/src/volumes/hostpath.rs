//! hostPath volumes: directories and files only. A FIFO or device could hold a guest's thread for
//! ever, so those are refused.

use std::fs;
use std::path::PathBuf;

use api::k8s_openapi::api::core::v1::HostPathVolumeSource;

use super::VolumeError;

/// The path to mount, after `type` was obeyed.
pub fn check(source: &HostPathVolumeSource) -> Result<PathBuf, VolumeError> {
    let path = PathBuf::from(&source.path);
    if !path.is_absolute() || path.components().any(|c| c == std::path::Component::ParentDir) {
        return Err(VolumeError::HostPath(format!("{} must be an absolute path without '..'", source.path)));
    }
    let io = |source| VolumeError::Io { path: path.clone(), source };
    let type_ = source.type_.as_deref().unwrap_or_default();
    match type_ {
        "DirectoryOrCreate" => fs::create_dir_all(&path).map_err(io)?,
        "FileOrCreate" => {
            fs::OpenOptions::new().append(true).create(true).open(&path).map_err(io)?;
        }
        "" | "Directory" | "File" => {}
        other => {
            return Err(VolumeError::HostPath(format!("{} volumes can't be given to a Wasm guest", other)));
        }
    }
    let metadata = fs::metadata(&path).map_err(|_| {
        VolumeError::HostPath(match type_ {
            "File" => format!("{} is not a file", source.path),
            "Directory" => format!("{} is not a directory", source.path),
            _ => format!("{} does not exist", source.path),
        })
    })?;
    let wants_dir = matches!(type_, "Directory" | "DirectoryOrCreate");
    let wants_file = matches!(type_, "File" | "FileOrCreate");
    if wants_dir && !metadata.is_dir() {
        return Err(VolumeError::HostPath(format!("{} is not a directory", source.path)));
    }
    if wants_file && !metadata.is_file() {
        return Err(VolumeError::HostPath(format!("{} is not a file", source.path)));
    }
    if !metadata.is_dir() && !metadata.is_file() {
        return Err(VolumeError::HostPath(format!("{} is neither a directory nor a regular file", source.path)));
    }
    Ok(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn obeys_the_type() {
        let dir = tempfile::tempdir().unwrap();
        let run = |path: &str, type_: &str| {
            check(&HostPathVolumeSource { path: path.into(), type_: Some(type_.into()) }).map_err(|e| e.to_string())
        };
        let at = |name: &str| dir.path().join(name).display().to_string();
        assert!(run(&at("d"), "Directory").unwrap_err().contains("is not a directory"));
        assert!(run(&at("d"), "DirectoryOrCreate").is_ok());
        assert!(run(&at("d"), "").is_ok());
        assert!(run(&at("d"), "File").unwrap_err().contains("is not a file"));
        assert!(run(&at("f"), "FileOrCreate").is_ok());
        assert!(run("/dev/null", "").unwrap_err().contains("neither"));
        assert!(run("/dev/null", "CharDevice").is_err());
        assert!(run("relative", "").is_err());
    }
}
