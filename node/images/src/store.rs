//! The store on disk.
//!
//! ```text
//! blobs/sha256/HEX      modules, each under its own digest
//! rootfs/HEX/           unpacked container images, under their manifest's digest
//! refs/HEX.json         names: a Record under the digest of the name
//! tmp/                  unfinished files, a folder for each process
//! lock                  shared by who writes, exclusive for who removes
//! ```

use std::collections::HashSet;
use std::fs::{self, File, Metadata};
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;

use crate::blob::{StageError, Staged, digest_of, hex_of};
use crate::error::ImageError;
use crate::flight::Flights;
use crate::record::{Image, ImageConfig, Record, SourceFile};
use crate::reference::Reference;
use crate::scratch::{Scratch, StoreLock};

/// The most of a ref file that is read.
const MAX_RECORD: u64 = 1 << 20;

/// How a store works.
#[derive(Debug, Clone)]
pub struct Config {
    /// The store's folder; made if it is not there.
    pub dir: PathBuf,
    /// Whether pods may name modules by path.
    pub file_images: FileImages,
    /// Registries (`HOST[:PORT]`) spoken to without TLS. Loopback addresses and `localhost` always are.
    pub insecure_registries: Vec<String>,
    /// Certificates trusted besides the system's, in PEM.
    pub extra_ca_pem: Vec<u8>,
    /// The largest module.
    pub max_module_bytes: u64,
    /// The largest container image, unpacked.
    pub max_rootfs_bytes: u64,
    /// The most files and folders in a container image.
    pub max_rootfs_entries: usize,
    pub connect_timeout: Duration,
    /// The longest silence of a registry.
    pub read_timeout: Duration,
    /// For a whole pull.
    pub pull_timeout: Duration,
    pub max_parallel_pulls: usize,
}

/// Whether `file://` images may be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FileImages {
    Allow,
    Deny,
}

/// What [`ImageStore::remove`] found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Removed {
    Yes,
    NotThere,
}

impl Config {
    #[must_use]
    pub fn new(dir: impl Into<PathBuf>) -> Self {
        Self {
            dir: dir.into(),
            file_images: FileImages::Deny,
            insecure_registries: Vec::new(),
            extra_ca_pem: Vec::new(),
            max_module_bytes: 128 << 20,
            max_rootfs_bytes: 1 << 30,
            max_rootfs_entries: 50_000,
            connect_timeout: Duration::from_secs(10),
            read_timeout: Duration::from_secs(30),
            pull_timeout: Duration::from_secs(600),
            max_parallel_pulls: 4,
        }
    }
}

/// A node's images. Cheap to clone. All but [`ImageStore::pull`] reads and writes files while the caller waits.
#[derive(Debug, Clone)]
pub struct ImageStore {
    pub(crate) inner: Arc<Inner>,
}

#[derive(Debug)]
pub(crate) struct Inner {
    pub(crate) config: Config,
    pub(crate) scratch: Scratch,
    pub(crate) flights: Flights,
    pub(crate) pulls: Semaphore,
}

impl ImageStore {
    /// Opens the store in `config.dir`, and removes unfinished files of processes that are gone.
    ///
    /// # Errors
    /// [`ImageError::Store`].
    pub fn open(config: Config) -> Result<Self, ImageError> {
        let root = &config.dir;
        for folder in [blobs(root), refs(root), rootfs(root)] {
            fs::create_dir_all(&folder).map_err(ImageError::store("creating", folder))?;
        }
        let private = fs::set_permissions(root, fs::Permissions::from_mode(0o700));
        private.map_err(ImageError::store("setting the mode of", root))?;
        let scratch = Scratch::open(&root.join("tmp"), &StoreLock::exclusive(root)?)?;
        let pulls = Semaphore::new(config.max_parallel_pulls.max(1));
        Ok(Self { inner: Arc::new(Inner { config, scratch, flights: Flights::default(), pulls }) })
    }

    #[must_use]
    pub fn config(&self) -> &Config {
        &self.inner.config
    }

    /// The image of this name, if it is here. A `file://` image whose file has changed since is not.
    ///
    /// # Errors
    /// [`ImageError::InvalidName`], [`ImageError::FileNotAllowed`], [`ImageError::Store`].
    pub fn get(&self, name: &str) -> Result<Option<Image>, ImageError> {
        let reference = Reference::parse(name)?;
        self.inner.get(&reference)
    }

    /// Takes a Wasm file in under `name`.
    ///
    /// # Errors
    /// As [`Self::get`], and [`ImageError::NotWasm`], [`ImageError::TooLarge`], [`ImageError::Read`].
    pub fn import(&self, file: &Path, name: &str) -> Result<Image, ImageError> {
        let reference = Reference::parse(name)?;
        if let Reference::File(_) = reference {
            let why = "an image cannot be imported under a file:// name";
            return Err(ImageError::InvalidName { name: name.to_owned(), why });
        }
        self.inner.import_file(file, &reference).map(|(image, _)| image)
    }

    /// Takes a module that is in memory in under `name`. When the same is there already, nothing is written.
    ///
    /// # Errors
    /// As [`Self::import`].
    pub fn import_bytes(&self, name: &str, bytes: &[u8]) -> Result<Image, ImageError> {
        let reference = Reference::parse(name)?;
        let digest = digest_of(bytes);
        if let Some(image) = self.inner.get(&reference)?
            && image.digest == digest
            && fs::read(&image.module).is_ok_and(|there| there == bytes)
        {
            return Ok(image);
        }
        self.inner.import_from(bytes, &reference, None).map_err(|failure| failure.at(Path::new(name)))
    }

    /// All names, in order.
    ///
    /// # Errors
    /// [`ImageError::Store`].
    pub fn list(&self) -> Result<Vec<Image>, ImageError> {
        let mut images: Vec<Image> =
            self.inner.records()?.into_iter().filter_map(|record| self.inner.image(record)).collect();
        images.sort_by(|a, b| a.reference.cmp(&b.reference));
        Ok(images)
    }

    /// Forgets a name, and what no name leads to any more.
    ///
    /// # Errors
    /// [`ImageError::InvalidName`], [`ImageError::Store`].
    pub fn remove(&self, name: &str) -> Result<Removed, ImageError> {
        let reference = Reference::parse(name)?;
        let root = &self.inner.config.dir;
        let _exclusive = StoreLock::exclusive(root)?;
        let path = self.inner.ref_path(&reference.to_string());
        let removed = match fs::remove_file(&path) {
            Ok(()) => Removed::Yes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => Removed::NotThere,
            Err(error) => return Err(ImageError::store("removing", path)(error)),
        };
        self.inner.sweep()?;
        Ok(removed)
    }
}

/// Why a stream was not taken in: the stream's own failure has no path yet.
pub(crate) enum ImportError {
    Read(io::Error),
    Image(ImageError),
}

impl ImportError {
    fn at(self, path: &Path) -> ImageError {
        match self {
            Self::Read(source) => ImageError::read(path)(source),
            Self::Image(error) => error,
        }
    }
}

impl From<ImageError> for ImportError {
    fn from(error: ImageError) -> Self {
        Self::Image(error)
    }
}

impl Inner {
    pub(crate) fn get(&self, reference: &Reference) -> Result<Option<Image>, ImageError> {
        let name = reference.to_string();
        let record = match self.record(&self.ref_path(&name))? {
            Some(record) => Some(record),
            // A digest may have come under a tag.
            None => match reference {
                Reference::Registry(named) if named.digest.is_some() => {
                    self.records()?.into_iter().find(|record| record.id == name)
                }
                _ => None,
            },
        };
        if let Reference::File(path) = reference {
            self.check_file_allowed(&name)?;
            let now = fs::metadata(path).ok().map(|metadata| source_file(&metadata));
            return Ok(record.filter(|record| record.source == now).and_then(|record| self.image(record)));
        }
        Ok(record.and_then(|record| self.image(record)))
    }

    pub(crate) fn check_file_allowed(&self, name: &str) -> Result<(), ImageError> {
        match self.config.file_images {
            FileImages::Allow => Ok(()),
            FileImages::Deny => Err(ImageError::FileNotAllowed { reference: name.to_owned() }),
        }
    }

    /// Reads a file in as `reference`; a FIFO or a device is refused before it can block us.
    pub(crate) fn import_file(&self, path: &Path, reference: &Reference) -> Result<(Image, u64), ImageError> {
        let metadata = fs::metadata(path).map_err(ImageError::read(path))?;
        if !metadata.is_file() {
            let why = format!("{} is not a regular file", path.display());
            return Err(ImageError::NotWasm { reference: reference.to_string(), why });
        }
        let file = File::open(path).map_err(ImageError::read(path))?;
        let source = matches!(reference, Reference::File(_)).then(|| source_file(&metadata));
        let image = self.import_from(file, reference, source).map_err(|failure| failure.at(path))?;
        Ok((image, metadata.len()))
    }

    fn import_from(
        &self,
        mut from: impl Read,
        reference: &Reference,
        source: Option<SourceFile>,
    ) -> Result<Image, ImportError> {
        let name = reference.to_string();
        let mut staged = Staged::new(&self.scratch, self.config.max_module_bytes)?;
        let mut buffer = vec![0; 128 << 10];
        loop {
            let count = from.read(&mut buffer).map_err(ImportError::Read)?;
            if count == 0 {
                break;
            }
            staged.write(&buffer[..count]).map_err(|error| self.stage_error(&name, "the module", error))?;
        }
        check_wasm(&name, &staged)?;
        let digest = staged.digest();
        let record = Record {
            id: image_id(reference, &digest),
            reference: name,
            module_digest: digest,
            module_bytes: staged.bytes(),
            config: ImageConfig::default(),
            rootfs: None,
            rootfs_bytes: 0,
            source,
        };
        Ok(self.commit(staged, None, record)?)
    }

    pub(crate) fn stage_error(&self, reference: &str, what: &'static str, error: StageError) -> ImageError {
        match error {
            StageError::TooLarge(limit) => ImageError::TooLarge { reference: reference.to_owned(), what, limit },
            StageError::Io(source) => ImageError::store("writing to", &self.config.dir)(source),
        }
    }

    /// Puts a module, its file system if it has one, and its name in place, in this order.
    pub(crate) fn commit(&self, module: Staged, unpacked: Option<&Path>, record: Record) -> Result<Image, ImageError> {
        let root = &self.config.dir;
        let _shared = StoreLock::shared(root)?;
        module.keep(&blobs(root))?;
        if let (Some(from), Some(name)) = (unpacked, &record.rootfs) {
            let to = rootfs(root).join(name);
            match fs::rename(from, &to) {
                Ok(()) => {}
                // Another pull of the same manifest was first.
                Err(_) if to.is_dir() => {}
                Err(error) => return Err(ImageError::store("creating", to)(error)),
            }
        }
        let path = self.ref_path(&record.reference);
        let mut file = self.scratch.file()?;
        let json = serde_json::to_vec(&record).expect("a record is plain data");
        file.write_all(&json).map_err(ImageError::store("writing", &path))?;
        file.as_file().sync_data().map_err(ImageError::store("writing", &path))?;
        file.persist(&path).map_err(|error| ImageError::store("writing", &path)(error.error))?;
        self.image(record).ok_or_else(|| ImageError::store("reading", path)(io::ErrorKind::NotFound.into()))
    }

    /// A record's image, unless its files are not whole.
    fn image(&self, record: Record) -> Option<Image> {
        let root = &self.config.dir;
        let module = blobs(root).join(hex_of(&record.module_digest));
        let whole = fs::metadata(&module).is_ok_and(|file| file.len() == record.module_bytes);
        let rootfs = record.rootfs.map(|name| rootfs(root).join(name));
        (whole && rootfs.as_ref().is_none_or(|folder| folder.is_dir())).then(|| Image {
            reference: record.reference,
            id: record.id,
            digest: record.module_digest,
            module,
            config: record.config,
            rootfs,
            size_bytes: record.module_bytes + record.rootfs_bytes,
        })
    }

    fn ref_path(&self, name: &str) -> PathBuf {
        refs(&self.config.dir).join(format!("{}.json", hex_of(&digest_of(name.as_bytes()))))
    }

    fn records(&self) -> Result<Vec<Record>, ImageError> {
        let folder = refs(&self.config.dir);
        let mut records = Vec::new();
        for entry in fs::read_dir(&folder).map_err(ImageError::store("reading", &folder))?.flatten() {
            records.extend(self.record(&entry.path())?);
        }
        Ok(records)
    }

    /// A damaged record is as good as none: its image is pulled again.
    fn record(&self, path: &Path) -> Result<Option<Record>, ImageError> {
        let mut json = Vec::new();
        match File::open(path).and_then(|file| file.take(MAX_RECORD).read_to_end(&mut json)) {
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(ImageError::store("reading", path)(error)),
        }
        Ok(serde_json::from_slice(&json)
            .inspect_err(|error| tracing::warn!(path = %path.display(), %error, "damaged image record"))
            .ok())
    }

    /// Removes modules and file systems without a name. The caller holds the lock exclusively.
    fn sweep(&self) -> Result<(), ImageError> {
        let root = &self.config.dir;
        let records = self.records()?;
        let used: HashSet<&str> = records
            .iter()
            .flat_map(|record| [Some(hex_of(&record.module_digest)), record.rootfs.as_deref()])
            .flatten()
            .collect();
        for folder in [blobs(root), rootfs(root)] {
            for entry in fs::read_dir(&folder).map_err(ImageError::store("reading", &folder))?.flatten() {
                if entry.file_name().to_str().is_some_and(|name| used.contains(name)) {
                    continue;
                }
                let path = entry.path();
                let removed = if path.is_dir() { fs::remove_dir_all(&path) } else { fs::remove_file(&path) };
                removed.map_err(ImageError::store("removing", path))?;
            }
        }
        Ok(())
    }
}

pub(crate) fn check_wasm(reference: &str, staged: &Staged) -> Result<(), ImageError> {
    if staged.is_wasm() {
        return Ok(());
    }
    let why = match staged.bytes() {
        0 => "the file is empty".to_owned(),
        _ => format!("it begins with \"{}\", not with \"\\0asm\"", staged.beginning()),
    };
    Err(ImageError::NotWasm { reference: reference.to_owned(), why })
}

/// The name without its tag, and the digest.
pub(crate) fn image_id(reference: &Reference, digest: &str) -> String {
    match reference {
        Reference::Registry(named) => format!("{}/{}@{digest}", named.registry, named.repository),
        Reference::File(_) => format!("{reference}@{digest}"),
    }
}

fn source_file(metadata: &Metadata) -> SourceFile {
    let modified = metadata.modified().ok().and_then(|time| time.duration_since(std::time::UNIX_EPOCH).ok());
    SourceFile { bytes: metadata.len(), modified_nanos: modified.unwrap_or_default().as_nanos(), inode: metadata.ino() }
}

fn blobs(root: &Path) -> PathBuf {
    root.join("blobs/sha256")
}

fn refs(root: &Path) -> PathBuf {
    root.join("refs")
}

fn rootfs(root: &Path) -> PathBuf {
    root.join("rootfs")
}

#[cfg(test)]
#[path = "store_tests.rs"]
mod tests;
