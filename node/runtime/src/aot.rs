//! The cache of compiled modules on disk. Native code is loaded without any check of its own, so
//! this is a matter of security: every entry carries a seal, an HMAC over its content, kind and
//! name under a secret that only this user can read, and nothing unsealed is ever loaded.
//!
//! Layout: `secret`, `<engine>/<digest>-<flavor>.cwasm` and `….seal` beside it, `tmp*/` while a
//! compilation runs. Files are written elsewhere and renamed: several processes may share one
//! directory.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use tempfile::TempDir;

use crate::compile::Kind;
use crate::{Flavor, LoadError, RuntimeError};

const SECRET_BYTES: usize = 32;
const BLOCK: usize = 64;
/// Directories of compilations this old were left behind by a process that is gone.
const ABANDONED: Duration = Duration::from_secs(3600);
const TEMP_PREFIX: &str = "tmp-";

/// The cache.
pub(crate) struct AotCache {
    dir: PathBuf,
    secret: [u8; SECRET_BYTES],
    max_bytes: u64,
}

/// What stands beside a file of native code.
#[derive(Serialize, Deserialize)]
struct Seal {
    kind: Kind,
    mac: String,
}

/// A verified file of native code, held open: what was checked is what will be mapped.
pub(crate) struct Sealed {
    pub file: File,
    pub kind: Kind,
}

impl AotCache {
    /// Opens or creates the cache, private to this user.
    pub(crate) fn open(dir: &Path, max_bytes: u64) -> Result<Self, RuntimeError> {
        let error = |source| RuntimeError::Cache { path: dir.to_owned(), source };
        fs::DirBuilder::new().recursive(true).mode(0o700).create(dir).map_err(error)?;
        fs::set_permissions(dir, fs::Permissions::from_mode(0o700)).map_err(error)?;
        let path = dir.join("secret");
        let secret = secret(dir, &path).map_err(|source| RuntimeError::Cache { path: path.clone(), source })?;
        let cache = Self { dir: dir.to_owned(), secret, max_bytes };
        cache.sweep();
        Ok(cache)
    }

    /// A directory for one compilation, removed when dropped.
    pub(crate) fn scratch(&self) -> Result<TempDir, LoadError> {
        tempfile::Builder::new()
            .prefix(TEMP_PREFIX)
            .tempdir_in(&self.dir)
            .map_err(|error| cache_error(&self.dir, &error))
    }

    fn path(&self, engine: &str, digest: &str, flavor: Flavor) -> PathBuf {
        let flavor = match flavor {
            Flavor::Plain => "plain",
            Flavor::Fuel => "fuel",
        };
        self.dir.join(engine).join(format!("{}-{flavor}.cwasm", file_name(digest)))
    }

    /// The entry, if there is one and its seal is good. A bad one is removed.
    pub(crate) fn find(&self, engine: &str, digest: &str, flavor: Flavor) -> Option<Sealed> {
        let path = self.path(engine, digest, flavor);
        let seal = fs::read(path.with_extension("seal")).ok()?;
        match self.check(&path, &seal) {
            Ok(sealed) => {
                // The least recently used go first when the cache is full.
                let _ = sealed.file.set_modified(SystemTime::now());
                Some(sealed)
            }
            Err(reason) => {
                tracing::warn!(path = %path.display(), %reason, "native code discarded");
                remove(&path);
                None
            }
        }
    }

    fn check(&self, path: &Path, seal: &[u8]) -> Result<Sealed, String> {
        let seal: Seal = serde_json::from_slice(seal).map_err(|error| error.to_string())?;
        let file = File::open(path).map_err(|error| error.to_string())?;
        let mac = self.mac(&file, path, seal.kind).map_err(|error| error.to_string())?;
        if same(mac.as_bytes(), seal.mac.as_bytes()) {
            Ok(Sealed { file, kind: seal.kind })
        } else {
            Err("its seal is not ours".to_owned())
        }
    }

    /// Seals freshly compiled code and moves it to its place.
    pub(crate) fn store(
        &self,
        code: &Path,
        engine: &str,
        digest: &str,
        flavor: Flavor,
        kind: Kind,
    ) -> Result<Sealed, LoadError> {
        let path = self.path(engine, digest, flavor);
        let sealed = self.put(code, &path, kind).map_err(|error| cache_error(&path, &error))?;
        self.trim();
        Ok(sealed)
    }

    fn put(&self, code: &Path, path: &Path, kind: Kind) -> io::Result<Sealed> {
        if let Some(parent) = path.parent() {
            fs::DirBuilder::new().recursive(true).mode(0o700).create(parent)?;
        }
        fs::set_permissions(code, fs::Permissions::from_mode(0o400))?;
        let file = File::open(code)?;
        let mac = self.mac(&file, path, kind)?;
        let seal = serde_json::to_vec(&Seal { kind, mac })?;
        let sealed = code.with_extension("seal");
        fs::write(&sealed, seal)?;
        // Code first: a seal without its code, or with older code, is only a miss.
        fs::rename(code, path)?;
        fs::rename(sealed, path.with_extension("seal"))?;
        Ok(Sealed { file, kind })
    }

    /// HMAC-SHA256 (RFC 2104) over the entry's name, its kind and the content of `file`.
    fn mac(&self, mut file: &File, entry: &Path, kind: Kind) -> io::Result<String> {
        let pad = |byte: u8| {
            let mut block = [byte; BLOCK];
            block.iter_mut().zip(self.secret).for_each(|(pad, key)| *pad ^= key);
            block
        };
        let name = entry.strip_prefix(&self.dir).unwrap_or(entry).as_os_str();
        let name = name.as_encoded_bytes();
        let mut inner = Sha256::new_with_prefix(pad(0x36));
        inner.update((name.len() as u64).to_le_bytes());
        inner.update(name);
        inner.update([kind as u8]);
        let mut buffer = vec![0; 256 << 10];
        loop {
            match file.read(&mut buffer)? {
                0 => break,
                read => inner.update(&buffer[..read]),
            }
        }
        let outer = Sha256::new_with_prefix(pad(0x5c)).chain_update(inner.finalize());
        Ok(hex::encode(outer.finalize()))
    }

    /// Removes what was used least recently until the cache is within its limit. Mapped code
    /// lives on without its name.
    fn trim(&self) {
        let mut entries = self.entries();
        let mut total: u64 = entries.iter().map(|(_, _, bytes)| bytes).sum();
        entries.sort_by_key(|(_, used, _)| *used);
        for (path, _, bytes) in entries {
            if total <= self.max_bytes {
                return;
            }
            remove(&path);
            total -= bytes;
        }
    }

    /// All native code with its time of last use and its size, whatever engine it is for.
    fn entries(&self) -> Vec<(PathBuf, SystemTime, u64)> {
        let files = |dir: &Path| fs::read_dir(dir).into_iter().flatten().flatten();
        files(&self.dir)
            .flat_map(|engine| files(&engine.path()).collect::<Vec<_>>())
            .filter(|file| file.path().extension().is_some_and(|extension| extension == "cwasm"))
            .filter_map(|file| {
                let metadata = file.metadata().ok()?;
                Some((file.path(), metadata.modified().ok()?, metadata.len()))
            })
            .collect()
    }

    fn sweep(&self) {
        let Ok(entries) = fs::read_dir(&self.dir) else { return };
        for entry in entries.flatten() {
            let ours = entry.file_name().as_encoded_bytes().starts_with(TEMP_PREFIX.as_bytes());
            let age = entry.metadata().and_then(|metadata| metadata.modified()).ok();
            let age = age.and_then(|time| SystemTime::now().duration_since(time).ok());
            if ours && age.is_some_and(|age| age > ABANDONED) {
                let _ = fs::remove_dir_all(entry.path());
            }
        }
    }
}

fn remove(path: &Path) {
    let _ = fs::remove_file(path.with_extension("seal"));
    let _ = fs::remove_file(path);
}

/// Compares without telling by its duration where the difference is.
fn same(a: &[u8], b: &[u8]) -> bool {
    a.len() == b.len() && a.iter().zip(b).fold(0, |diff, (a, b)| diff | (a ^ b)) == 0
}

/// A digest as a file name: anything odd in it is hashed away.
fn file_name(digest: &str) -> String {
    let hex = digest.strip_prefix("sha256:").unwrap_or(digest);
    if hex.len() == 64 && hex.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        hex.to_owned()
    } else {
        format!("x{}", hex::encode(Sha256::digest(digest)))
    }
}

fn secret(dir: &Path, path: &Path) -> io::Result<[u8; SECRET_BYTES]> {
    if let Some(secret) = read_secret(path)? {
        return Ok(secret);
    }
    let mut secret = [0; SECRET_BYTES];
    File::open("/dev/urandom")?.read_exact(&mut secret)?;
    // Created with mode 0600.
    let mut file = tempfile::NamedTempFile::new_in(dir)?;
    file.write_all(&secret)?;
    file.as_file().sync_all()?;
    match file.persist_noclobber(path) {
        Ok(_) => Ok(secret),
        Err(error) if error.error.kind() == io::ErrorKind::AlreadyExists => {
            // Another process was faster.
            read_secret(path)?.ok_or(error.error)
        }
        Err(error) => Err(error.error),
    }
}

fn read_secret(path: &Path) -> io::Result<Option<[u8; SECRET_BYTES]>> {
    match fs::read(path) {
        Ok(bytes) => bytes
            .try_into()
            .map(Some)
            .map_err(|_| io::Error::new(io::ErrorKind::InvalidData, "the cache's secret is damaged; remove it")),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

fn cache_error(path: &Path, error: &io::Error) -> LoadError {
    LoadError::Cache(format!("{}: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const DIGEST: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    fn open(dir: &Path) -> AotCache {
        AotCache::open(dir, 1 << 20).unwrap()
    }

    fn stored(cache: &AotCache, digest: &str, content: &[u8]) -> PathBuf {
        let scratch = cache.scratch().unwrap();
        let code = scratch.path().join("code");
        fs::write(&code, content).unwrap();
        cache.store(&code, "engine", digest, Flavor::Plain, Kind::Command).unwrap();
        cache.path("engine", digest, Flavor::Plain)
    }

    #[test]
    fn finds_what_it_sealed_also_after_a_restart() {
        let dir = tempfile::tempdir().unwrap();
        stored(&open(dir.path()), DIGEST, b"code");
        let again = open(dir.path());
        let mut found = again.find("engine", DIGEST, Flavor::Plain).unwrap();
        let mut content = String::new();
        std::io::Seek::rewind(&mut found.file).unwrap();
        found.file.read_to_string(&mut content).unwrap();
        assert_eq!((content.as_str(), found.kind), ("code", Kind::Command));
        assert!(again.find("engine", DIGEST, Flavor::Fuel).is_none());
        assert!(again.find("other", DIGEST, Flavor::Plain).is_none());
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(dir.path()), mode(&dir.path().join("secret"))), (0o700, 0o600));
    }

    #[test]
    fn discards_code_that_was_changed_or_moved_or_sealed_by_another() {
        let dir = tempfile::tempdir().unwrap();
        let cache = open(dir.path());
        let path = stored(&cache, DIGEST, b"code");
        fs::remove_file(&path).unwrap();
        fs::write(&path, b"evil").unwrap();
        assert!(cache.find("engine", DIGEST, Flavor::Plain).is_none());
        assert!(!path.exists(), "removed");

        let path = stored(&cache, DIGEST, b"code");
        let fuel = cache.path("engine", DIGEST, Flavor::Fuel);
        fs::copy(&path, &fuel).unwrap();
        fs::copy(path.with_extension("seal"), fuel.with_extension("seal")).unwrap();
        assert!(cache.find("engine", DIGEST, Flavor::Fuel).is_none());

        let secret = [7; SECRET_BYTES];
        let other = AotCache { dir: dir.path().to_owned(), secret, max_bytes: 1 << 20 };
        assert!(other.find("engine", DIGEST, Flavor::Plain).is_none());
    }

    #[test]
    fn the_least_recently_used_go_when_it_is_full() {
        let dir = tempfile::tempdir().unwrap();
        let cache = AotCache::open(dir.path(), 10).unwrap();
        let age = |path: &Path, seconds| {
            let time = SystemTime::now() - Duration::from_secs(seconds);
            File::open(path).unwrap().set_modified(time).unwrap();
        };
        let one = stored(&cache, "one", b"12345");
        let two = stored(&cache, "two", b"12345");
        age(&one, 60);
        age(&two, 30);
        cache.find("engine", "one", Flavor::Plain).unwrap();
        stored(&cache, "three", b"12345");
        assert!(cache.find("engine", "one", Flavor::Plain).is_some());
        assert!(cache.find("engine", "two", Flavor::Plain).is_none());
        assert!(!two.exists() && !two.with_extension("seal").exists());
    }

    #[test]
    fn odd_digests_stay_inside_the_directory() {
        assert!(!file_name("../../etc/passwd").contains('/'));
        assert_eq!(file_name(DIGEST), &DIGEST[7..]);
    }
}
