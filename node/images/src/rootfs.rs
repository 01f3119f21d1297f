//! Unpacking the layers of a container image.
//!
//! A layer is somebody else's tar archive. Invariant: nothing is written, linked or removed outside the folder, whatever
//! the archive says; no symbolic link is ever followed while writing. Devices, FIFOs and owners are left out: guests
//! have no use for them, and a FIFO would block who opens it.

use std::fs::{self, File, Permissions};
use std::io::{self, Read};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Component, Path, PathBuf};

use flate2::read::MultiGzDecoder;
use tar::{Archive, EntryType};

use crate::manifest::Packing;

/// Folders within folders.
const MAX_DEPTH: usize = 64;
/// Symbolic links on the way to one file (as Linux).
const MAX_LINKS: usize = 40;
/// Marks a file of a lower layer as removed; with `.wh..opq`, all of a folder's.
const WHITEOUT: &str = ".wh.";
const OPAQUE: &str = ".wh..wh..opq";

/// Why a layer was not unpacked.
#[derive(Debug, thiserror::Error)]
pub(crate) enum UnpackError {
    #[error("{0}")]
    Invalid(String),
    #[error("more than {0} bytes")]
    TooLarge(u64),
    #[error("more than {0} files and folders")]
    TooMany(usize),
    #[error("unreadable archive: {0}")]
    Archive(io::Error),
    #[error("writing {}: {source}", path.display())]
    Write { path: PathBuf, source: io::Error },
}

/// A folder that layers are unpacked into, one on top of the other.
#[derive(Debug)]
pub(crate) struct Unpacker {
    root: PathBuf,
    bytes_left: u64,
    max_bytes: u64,
    entries_left: usize,
    max_entries: usize,
}

impl Unpacker {
    /// `root` is an empty folder.
    pub(crate) fn new(root: &Path, max_bytes: u64, max_entries: usize) -> Self {
        Self { root: root.to_owned(), bytes_left: max_bytes, max_bytes, entries_left: max_entries, max_entries }
    }

    /// Bytes of all files so far.
    pub(crate) fn bytes(&self) -> u64 {
        self.max_bytes - self.bytes_left
    }

    pub(crate) fn layer(&mut self, archive: File, packing: Packing) -> Result<(), UnpackError> {
        match packing {
            Packing::Plain => self.entries(archive),
            Packing::Gzip => self.entries(MultiGzDecoder::new(archive)),
        }
    }

    fn entries(&mut self, archive: impl Read) -> Result<(), UnpackError> {
        // Also what is skipped has to be decompressed: a bomb of entries that we leave out is still a bomb.
        let mut archive = Archive::new(archive.take(self.max_bytes.saturating_mul(2).saturating_add(1 << 20)));
        for entry in archive.entries().map_err(UnpackError::Archive)? {
            let mut entry = entry.map_err(UnpackError::Archive)?;
            self.entries_left = self.entries_left.checked_sub(1).ok_or(UnpackError::TooMany(self.max_entries))?;
            let name = entry.path().map_err(UnpackError::Archive)?.into_owned();
            let path = inside(&name)?;
            let Some(file_name) = path.file_name().map(|name| name.to_string_lossy().into_owned()) else { continue };
            if file_name == OPAQUE {
                self.empty(path.parent().unwrap_or(Path::new("")))?;
            } else if let Some(removed) = file_name.strip_prefix(WHITEOUT) {
                if matches!(removed, "" | "." | "..") {
                    return Err(UnpackError::Invalid(format!("{} removes no file", path.display())));
                }
                self.remove(&path.with_file_name(removed))?;
            } else {
                self.entry(&mut entry, &path)?;
            }
        }
        Ok(())
    }

    fn entry<R: Read>(&mut self, entry: &mut tar::Entry<'_, R>, path: &Path) -> Result<(), UnpackError> {
        let kind = entry.header().entry_type();
        let link = || entry.link_name().map_err(UnpackError::Archive);
        match kind {
            EntryType::Directory => {
                self.folder(path)?;
            }
            EntryType::Regular | EntryType::Continuous | EntryType::GNUSparse => {
                let size = entry.size();
                self.bytes_left = self.bytes_left.checked_sub(size).ok_or(UnpackError::TooLarge(self.max_bytes))?;
                let executable = entry.header().mode().unwrap_or(0) & 0o111 != 0;
                let target = self.vacate(path)?;
                let written = write_file(entry, &target, if executable { 0o755 } else { 0o644 });
                written.map_err(|source| UnpackError::Write { path: path.to_owned(), source })?;
            }
            EntryType::Symlink => {
                let to = link()?.ok_or_else(|| UnpackError::Invalid(format!("{} links to nothing", path.display())))?;
                let to = to.into_owned();
                let target = self.vacate(path)?;
                symlink(to, target).map_err(|source| UnpackError::Write { path: path.to_owned(), source })?;
            }
            EntryType::Link => {
                let to = link()?.ok_or_else(|| UnpackError::Invalid(format!("{} links to nothing", path.display())))?;
                self.hard_link(&inside(&to)?, path)?;
            }
            // Devices, FIFOs and the archive's own metadata.
            _ => {}
        }
        Ok(())
    }

    /// A hard link only to a regular file that is inside: linking to a symbolic link is left out.
    fn hard_link(&mut self, to: &Path, path: &Path) -> Result<(), UnpackError> {
        self.plain_parent(to)?;
        let source = self.root.join(to);
        if !fs::symlink_metadata(&source).is_ok_and(|metadata| metadata.is_file()) {
            return Err(UnpackError::Invalid(format!(
                "{} is a link to {}, which is no file",
                path.display(),
                to.display()
            )));
        }
        if to == path {
            return Ok(());
        }
        let target = self.vacate(path)?;
        fs::hard_link(source, target).map_err(|source| UnpackError::Write { path: path.to_owned(), source })
    }

    /// Makes `path` a folder, with all above it.
    fn folder(&self, path: &Path) -> Result<PathBuf, UnpackError> {
        let mut folder = self.root.clone();
        for part in path.components() {
            folder.push(part);
            match fs::symlink_metadata(&folder) {
                Ok(metadata) if metadata.is_dir() => {}
                Ok(_) => {
                    let why = format!("{} goes through {:?}, which is no folder", path.display(), part.as_os_str());
                    return Err(UnpackError::Invalid(why));
                }
                Err(_) => {
                    fs::create_dir(&folder).map_err(|source| UnpackError::Write { path: path.to_owned(), source })?
                }
            }
        }
        Ok(folder)
    }

    /// Where to write `path`: its folder is there, and nothing is in the way.
    fn vacate(&self, path: &Path) -> Result<PathBuf, UnpackError> {
        let folder = self.folder(path.parent().unwrap_or(Path::new("")))?;
        self.remove(path)?;
        Ok(folder.join(path.file_name().unwrap_or_default()))
    }

    /// Refuses a path that leads through anything but folders.
    fn plain_parent(&self, path: &Path) -> Result<(), UnpackError> {
        let mut folder = self.root.clone();
        for part in path.parent().unwrap_or(Path::new("")).components() {
            folder.push(part);
            if fs::symlink_metadata(&folder).is_ok_and(|metadata| !metadata.is_dir()) {
                return Err(UnpackError::Invalid(format!("{} goes through a link", path.display())));
            }
        }
        Ok(())
    }

    fn remove(&self, path: &Path) -> Result<(), UnpackError> {
        self.plain_parent(path)?;
        let target = self.root.join(path);
        let removed = match fs::symlink_metadata(&target) {
            Ok(metadata) if metadata.is_dir() => fs::remove_dir_all(&target),
            Ok(_) => fs::remove_file(&target),
            Err(_) => Ok(()),
        };
        removed.map_err(|source| UnpackError::Write { path: path.to_owned(), source })
    }

    fn empty(&self, folder: &Path) -> Result<(), UnpackError> {
        self.remove(folder)?;
        self.folder(folder).map(|_| ())
    }
}

fn write_file(from: &mut impl Read, target: &Path, mode: u32) -> io::Result<()> {
    // `create_new`: if something is there after all, fail rather than follow it.
    let mut file = File::options().write(true).create_new(true).open(target)?;
    io::copy(from, &mut file)?;
    file.set_permissions(Permissions::from_mode(mode))
}

/// A path of an archive as one below the root: no `..`, no absolute paths but those that mean the root.
fn inside(name: &Path) -> Result<PathBuf, UnpackError> {
    let mut path = PathBuf::new();
    for (depth, part) in name.components().enumerate() {
        match part {
            Component::Normal(part) if depth < MAX_DEPTH => path.push(part),
            Component::CurDir | Component::RootDir => {}
            _ => return Err(UnpackError::Invalid(format!("{:?} is not a path inside the image", name.as_os_str()))),
        }
    }
    Ok(path)
}

/// Finds a file as a program whose root is `root` would: symbolic links lead nowhere outside.
pub(crate) fn find(root: &Path, path: &Path) -> io::Result<PathBuf> {
    let mut found = PathBuf::new();
    let mut rest: Vec<std::ffi::OsString> = parts(path);
    let mut links = 0;
    while let Some(part) = rest.pop() {
        if part == ".." {
            found.pop();
            continue;
        }
        let next = found.join(&part);
        let metadata = fs::symlink_metadata(root.join(&next))?;
        if metadata.is_symlink() {
            links += 1;
            if links > MAX_LINKS {
                return Err(io::ErrorKind::TooManyLinks.into());
            }
            let to = fs::read_link(root.join(&next))?;
            if to.is_absolute() {
                found = PathBuf::new();
            }
            rest.extend(parts(&to));
        } else {
            found = next;
        }
    }
    Ok(root.join(found))
}

/// A path's parts, last first.
fn parts(path: &Path) -> Vec<std::ffi::OsString> {
    let named = path.components().rev().filter(|part| matches!(part, Component::Normal(_) | Component::ParentDir));
    named.map(|part| part.as_os_str().to_owned()).collect()
}

#[cfg(test)]
#[path = "rootfs_tests.rs"]
mod tests;
