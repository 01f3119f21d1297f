//! Writes a set of files into a volume so that a guest sees either all of the old ones or all of the
//! new ones: a fresh timestamped directory, and one `rename` of the `..data` link onto it. The same
//! layout as the kubelet's, because programs watch for it.
//!
//! Invariant: never writes outside the volume: file paths are relative and without `..`.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Component, Path, PathBuf};

use api::k8s_openapi::jiff::Timestamp;
use bytes::Bytes;

const DATA: &str = "..data";

/// What one file of the volume holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct File {
    pub content: Bytes,
    /// Permission bits.
    pub mode: u32,
}

/// Files by their path inside the volume.
pub type Files = BTreeMap<PathBuf, File>;

/// Whether the volume changed on disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Written {
    Changed,
    Same,
}

/// True for a relative path that stays below its volume, as Kubernetes demands of item paths.
pub fn is_safe(path: &Path) -> bool {
    !path.as_os_str().is_empty()
        && path.components().all(|c| matches!(c, Component::Normal(_)))
        && !path.to_string_lossy().starts_with("..")
        && path.as_os_str().len() <= 4096
}

/// `InvalidInput` for files with an unsafe path.
pub fn check(files: &Files) -> io::Result<()> {
    match files.keys().find(|path| !is_safe(path)) {
        Some(bad) => Err(io::Error::new(io::ErrorKind::InvalidInput, format!("unsafe file path {}", bad.display()))),
        None => Ok(()),
    }
}

/// Makes `volume` hold exactly `files`. An unsafe path is `InvalidInput` and changes nothing.
pub fn write(volume: &Path, files: &Files, now: Timestamp) -> io::Result<Written> {
    check(files)?;
    let data = volume.join(DATA);
    let old = fs::read_link(&data).ok();
    if let Some(old) = &old
        && is_same(&volume.join(old), files)?
    {
        return Ok(Written::Same);
    }
    fs::create_dir_all(volume)?;
    let name = unused_name(volume, now);
    write_payload(&volume.join(&name), files)?;
    let temporary = volume.join("..data_tmp");
    let _ = fs::remove_file(&temporary);
    symlink(&name, &temporary)?;
    fs::rename(&temporary, &data)?;
    link_entries(volume, files)?;
    if let Some(old) = old {
        let _ = fs::remove_dir_all(volume.join(old));
    }
    Ok(Written::Changed)
}

fn unused_name(volume: &Path, now: Timestamp) -> String {
    let base = now.strftime("..%Y_%m_%d_%H_%M_%S.%9f").to_string();
    let mut name = base.clone();
    let mut n = 0;
    while fs::symlink_metadata(volume.join(&name)).is_ok() {
        n += 1;
        name = format!("{base}_{n}");
    }
    name
}

fn write_payload(dir: &Path, files: &Files) -> io::Result<()> {
    fs::create_dir(dir)?;
    for (path, file) in files {
        if let Some(parent) = path.parent().filter(|parent| !parent.as_os_str().is_empty()) {
            fs::create_dir_all(dir.join(parent))?;
        }
        let path = dir.join(path);
        fs::write(&path, &file.content)?;
        fs::set_permissions(&path, fs::Permissions::from_mode(file.mode & 0o777))?;
    }
    Ok(())
}

/// The names a guest opens: `key → ..data/key`, one per top-level entry; stale ones go.
fn link_entries(volume: &Path, files: &Files) -> io::Result<()> {
    let mut wanted = std::collections::BTreeSet::new();
    for path in files.keys() {
        if let Some(Component::Normal(first)) = path.components().next() {
            wanted.insert(first.to_owned());
        }
    }
    for entry in fs::read_dir(volume)? {
        let name = entry?.file_name();
        if !name.to_string_lossy().starts_with("..") && !wanted.remove(&name) {
            fs::remove_file(volume.join(name))?;
        }
    }
    for name in wanted {
        symlink(Path::new(DATA).join(&name), volume.join(&name))?;
    }
    Ok(())
}

fn is_same(dir: &Path, files: &Files) -> io::Result<bool> {
    let mut seen = 0;
    for (path, file) in files {
        match fs::read(dir.join(path)) {
            Ok(content) if content == file.content => seen += 1,
            Ok(_) => return Ok(false),
            Err(e) if matches!(e.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => return Ok(false),
            Err(e) => return Err(e),
        }
    }
    Ok(seen == count_files(dir)?)
}

fn count_files(dir: &Path) -> io::Result<usize> {
    let mut count = 0;
    let entries = match fs::read_dir(dir) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(usize::MAX),
        entries => entries?,
    };
    for entry in entries {
        let entry = entry?;
        count += if entry.file_type()?.is_dir() { count_files(&entry.path())? } else { 1 };
    }
    Ok(count)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files(list: &[(&str, &str)]) -> Files {
        list.iter()
            .map(|(p, c)| (PathBuf::from(p), File { content: c.as_bytes().to_vec().into(), mode: 0o644 }))
            .collect()
    }

    fn names(dir: &Path) -> Vec<String> {
        let mut out: Vec<_> =
            fs::read_dir(dir).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
        out.sort();
        out
    }

    #[test]
    fn writes_updates_and_removes() {
        let dir = tempfile::tempdir().unwrap();
        let v = dir.path().join("v");
        assert_eq!(write(&v, &files(&[("a", "1"), ("d/b", "2")]), Timestamp::now()).unwrap(), Written::Changed);
        assert_eq!(fs::read_to_string(v.join("a")).unwrap(), "1");
        assert_eq!(fs::read_to_string(v.join("d/b")).unwrap(), "2");
        assert_eq!(write(&v, &files(&[("a", "1"), ("d/b", "2")]), Timestamp::now()).unwrap(), Written::Same);
        assert_eq!(write(&v, &files(&[("a", "3")]), Timestamp::now()).unwrap(), Written::Changed);
        assert_eq!(fs::read_to_string(v.join("a")).unwrap(), "3");
        let names = names(&v);
        assert_eq!(names.len(), 3, "{names:?}");
        assert!(names.contains(&"..data".to_owned()) && names.contains(&"a".to_owned()));
        assert_eq!(write(&v, &Files::new(), Timestamp::now()).unwrap(), Written::Changed);
        assert!(!v.join("a").exists());
    }

    #[test]
    fn two_writes_in_the_same_instant_do_not_collide() {
        let dir = tempfile::tempdir().unwrap();
        let now = Timestamp::now();
        for content in ["1", "2", "3"] {
            write(dir.path(), &files(&[("a", content)]), now).unwrap();
            assert_eq!(fs::read_to_string(dir.path().join("a")).unwrap(), content);
        }
    }

    #[test]
    fn refuses_to_leave_the_volume() {
        let dir = tempfile::tempdir().unwrap();
        let v = dir.path().join("v");
        for bad in ["../x", "/etc/x", "a/../../x", "..", "", "./a", "..x"] {
            let error = write(&v, &files(&[(bad, "1")]), Timestamp::now()).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::InvalidInput, "{bad}");
        }
        assert!(!v.exists());
    }
}
