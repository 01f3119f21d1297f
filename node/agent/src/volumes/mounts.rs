//! From `volumeMounts` to the directories that a guest gets. WASI knows only directories: a mounted
//! *file* becomes a directory of the node's own that holds just that file, mounted at its parent.
//!
//! Invariant: no mount leads outside its volume, whatever `subPath` or a guest's symlinks say.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use api::k8s_openapi::api::core::v1::{Container, VolumeMount};
use runtime::{Access, Contents, Mount};

use super::{Ready, VolumeSet, atomic};
use crate::env::expand;

/// Why a container's mounts can't be made: `CreateContainerConfigError`'s message.
#[derive(Debug, thiserror::Error)]
pub enum MountError {
    #[error("volume mount {0:?} refers to a volume that the pod doesn't have")]
    NoSuchVolume(String),
    #[error("subPath {0:?} must be a relative path without '..'")]
    BadSubPath(String),
    #[error("subPathExpr refers to the unknown variable {0:?}")]
    UnknownVariable(String),
    #[error("failed to prepare subPath for volumeMount \"{volume}\" of container \"{container}\": {source}")]
    Prepare {
        volume: String,
        container: String,
        #[source]
        source: io::Error,
    },
    #[error("{0} is mounted twice: a file can't be mounted into a directory that is itself a mount")]
    Overlap(String),
    #[error("volumeDevices are not in this version of Skiff")]
    Device,
}

/// The mounts of one container. Blocking, but only on small file operations.
pub fn build(volumes: &VolumeSet, container: &Container, env: &[(String, String)]) -> Result<Vec<Mount>, MountError> {
    if container.volume_devices.as_ref().is_some_and(|d| !d.is_empty()) {
        return Err(MountError::Device);
    }
    let mut out: Vec<Mount> = Vec::new();
    let mut files: BTreeMap<String, Vec<FileMount>> = BTreeMap::new();
    for mount in container.volume_mounts.iter().flatten() {
        let volume = volumes.get(&mount.name).ok_or_else(|| MountError::NoSuchVolume(mount.name.clone()))?;
        if let Some(files) = volume.files.as_ref().filter(|_| is_whole(mount)) {
            // As it is: a directory, read-only, without links to follow.
            let contents = Some(Arc::clone(files) as Arc<dyn Contents>);
            let (host, guest) = (volume.path.clone(), guest_path(&mount.mount_path));
            out.push(Mount { host, guest, access: Access::ReadOnly, contents });
            continue;
        }
        let host = resolve(volume, mount, env).map_err(|e| e.into_mount_error(mount, container))?;
        let writable = volume.writable && mount.read_only != Some(true);
        let access = if writable { Access::ReadWrite } else { Access::ReadOnly };
        let guest = guest_path(&mount.mount_path);
        if host.is_file() {
            let (parent, name) = guest.rsplit_once('/').unwrap_or(("", &guest));
            let parent = if parent.is_empty() { "/" } else { parent };
            files.entry(parent.to_owned()).or_default().push(FileMount { host, name: name.to_owned(), access });
        } else {
            out.push(Mount { host, guest, access, contents: None });
        }
    }
    for (index, (parent, list)) in files.into_iter().enumerate() {
        if out.iter().any(|m| m.guest == parent) {
            return Err(MountError::Overlap(parent));
        }
        let dir = volumes.dir().join(".files").join(format!("{}-{index}", container.name));
        let access = gather(&dir, &list).map_err(|source| MountError::Prepare {
            volume: parent.clone(),
            container: container.name.clone(),
            source,
        })?;
        out.push(Mount { host: dir, guest: parent, access, contents: None });
    }
    Ok(out)
}

/// Whether all of the volume is mounted.
fn is_whole(mount: &VolumeMount) -> bool {
    [&mount.sub_path, &mount.sub_path_expr].iter().all(|path| path.as_deref().unwrap_or_default().is_empty())
}

struct FileMount {
    host: PathBuf,
    name: String,
    access: Access,
}

enum ResolveError {
    BadSubPath(String),
    UnknownVariable(String),
    Io(io::Error),
}

impl ResolveError {
    fn into_mount_error(self, mount: &VolumeMount, container: &Container) -> MountError {
        match self {
            ResolveError::BadSubPath(path) => MountError::BadSubPath(path),
            ResolveError::UnknownVariable(name) => MountError::UnknownVariable(name),
            ResolveError::Io(source) => {
                MountError::Prepare { volume: mount.name.clone(), container: container.name.clone(), source }
            }
        }
    }
}

fn resolve(volume: &Ready, mount: &VolumeMount, env: &[(String, String)]) -> Result<PathBuf, ResolveError> {
    if let Some(files) = &volume.files {
        files.make().map_err(ResolveError::Io)?;
    }
    let lookup = |name: &str| env.iter().find(|(n, _)| n == name).map(|(_, v)| v.as_str());
    let sub = match (&mount.sub_path_expr, &mount.sub_path) {
        (Some(expr), _) if !expr.is_empty() => {
            if let Some(unknown) = expand::first_unknown(expr, |n| lookup(n).is_some()) {
                return Err(ResolveError::UnknownVariable(unknown));
            }
            expand::expand(expr, lookup)
        }
        (_, Some(path)) => path.clone(),
        _ => String::new(),
    };
    if sub.is_empty() {
        return Ok(volume.path.clone());
    }
    let relative = Path::new(&sub);
    if !atomic::is_safe(relative) {
        return Err(ResolveError::BadSubPath(sub));
    }
    let path = volume.path.join(relative);
    if !path.exists() && volume.writable {
        create_inside(&volume.path, relative).map_err(ResolveError::Io)?;
    }
    let root = volume.path.canonicalize().map_err(ResolveError::Io)?;
    let real = path.canonicalize().map_err(ResolveError::Io)?;
    if !real.starts_with(&root) {
        return Err(ResolveError::BadSubPath(sub));
    }
    Ok(real)
}

/// Makes the missing directories of `relative` below `root`, never through a link out of it.
fn create_inside(root: &Path, relative: &Path) -> io::Result<()> {
    let root = root.canonicalize()?;
    let mut path = root.clone();
    for part in relative.components() {
        path.push(part);
        match fs::create_dir(&path) {
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {}
            other => other?,
        }
        path = path.canonicalize()?;
        if !path.starts_with(&root) {
            return Err(io::Error::new(io::ErrorKind::PermissionDenied, "a symlink leads outside the volume"));
        }
    }
    Ok(())
}

/// A fresh directory that holds the given files: hard links, so that writes reach a hostPath file,
/// or copies where a link isn't possible (and then read-only).
fn gather(dir: &Path, files: &[FileMount]) -> io::Result<Access> {
    match fs::remove_dir_all(dir) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
        _ => fs::create_dir_all(dir)?,
    }
    let mut access = Access::ReadWrite;
    for file in files {
        let target = dir.join(&file.name);
        if file.access == Access::ReadOnly || fs::hard_link(&file.host, &target).is_err() {
            access = Access::ReadOnly;
            fs::copy(&file.host, &target)?;
        }
    }
    Ok(access)
}

/// Absolute, without a trailing slash.
fn guest_path(mount_path: &str) -> String {
    let trimmed = mount_path.trim_end_matches('/');
    match trimmed {
        "" => "/".to_owned(),
        path if path.starts_with('/') => path.to_owned(),
        path => format!("/{path}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn set(dir: &Path) -> VolumeSet {
        let (data, config) = (dir.join("data"), dir.join("config"));
        fs::create_dir_all(&data).unwrap();
        let files = [(PathBuf::from("app.conf"), atomic::File { content: "x=1".into(), mode: 0o644 })].into();
        atomic::write(&config, &files, api::k8s_openapi::jiff::Timestamp::now()).unwrap();
        VolumeSet {
            dir: dir.to_owned(),
            ready: [
                ("data".to_owned(), Ready { path: data, writable: true, files: None }),
                ("config".to_owned(), Ready { path: config, writable: false, files: None }),
            ]
            .into(),
            followed: Default::default(),
        }
    }

    fn run(dir: &Path, mounts: &serde_json::Value) -> Result<Vec<Mount>, String> {
        let container: Container = serde_json::from_value(json!({"name": "c", "volumeMounts": mounts})).unwrap();
        let env = [("POD".to_owned(), "p1".to_owned())];
        build(&set(dir), &container, &env).map_err(|e| e.to_string())
    }

    #[test]
    fn directories_sub_paths_and_access() {
        let dir = tempfile::tempdir().unwrap();
        let mounts = run(
            dir.path(),
            &json!([
                {"name": "data", "mountPath": "/data/"},
                {"name": "data", "mountPath": "/ro", "readOnly": true},
                {"name": "data", "mountPath": "/sub", "subPathExpr": "x/$(POD)"},
                {"name": "config", "mountPath": "/etc/app"}
            ]),
        )
        .unwrap();
        let guests: Vec<_> = mounts.iter().map(|m| (m.guest.as_str(), m.access)).collect();
        let (rw, ro) = (Access::ReadWrite, Access::ReadOnly);
        assert_eq!(guests, [("/data", rw), ("/ro", ro), ("/sub", rw), ("/etc/app", ro)]);
        assert!(mounts[2].host.ends_with("data/x/p1"));
    }

    #[test]
    fn a_file_becomes_a_directory_with_one_file() {
        let dir = tempfile::tempdir().unwrap();
        let mounts =
            run(dir.path(), &json!([{"name": "config", "mountPath": "/etc/app/main.conf", "subPath": "app.conf"}]))
                .unwrap();
        assert_eq!(mounts.len(), 1);
        assert_eq!((mounts[0].guest.as_str(), mounts[0].access), ("/etc/app", Access::ReadOnly));
        assert_eq!(fs::read_to_string(mounts[0].host.join("main.conf")).unwrap(), "x=1");
    }

    #[test]
    fn nothing_leads_out_of_a_volume() {
        let dir = tempfile::tempdir().unwrap();
        for bad in ["../x", "/etc", "a/../../b"] {
            assert!(run(dir.path(), &json!([{"name": "data", "mountPath": "/d", "subPath": bad}])).is_err(), "{bad}");
        }
        fs::create_dir_all(dir.path().join("data")).unwrap();
        std::os::unix::fs::symlink("/etc", dir.path().join("data/link")).unwrap();
        for bad in ["link", "link/new"] {
            assert!(run(dir.path(), &json!([{"name": "data", "mountPath": "/d", "subPath": bad}])).is_err(), "{bad}");
        }
        assert!(run(dir.path(), &json!([{"name": "data", "mountPath": "/d", "subPathExpr": "$(NO)"}])).is_err());
        assert!(run(dir.path(), &json!([{"name": "none", "mountPath": "/d"}])).is_err());
    }
}
