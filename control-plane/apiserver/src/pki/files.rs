//! The certificates' directory: reading, and writing so that a crash leaves either the old file or the new one.

use super::{AccountKey, Authority, KeyPair, PkiError};
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

/// The CA of `dir`, made at first use.
pub(super) fn authority(dir: &Path) -> Result<Authority, PkiError> {
    if let Some(authority) = existing(dir)? {
        return Ok(authority);
    }
    let authority = Authority::generate()?;
    keep(dir, &authority.pair())?;
    Ok(authority)
}

/// Makes `ca` the CA of `dir`. One that is there is never replaced.
pub(super) fn install(dir: &Path, ca: &KeyPair) -> Result<(), PkiError> {
    match existing(dir)? {
        None => keep(dir, ca),
        Some(found) if found.certificate_pem() == ca.certificate_pem => Ok(()),
        Some(_) => Err(PkiError::Broken {
            path: dir.join("ca.crt"),
            why: "it is another cluster's than the one in the store".into(),
        }),
    }
}

fn keep(dir: &Path, ca: &KeyPair) -> Result<(), PkiError> {
    // The key first: a certificate without a key is what a reader would call broken.
    write(&dir.join("ca.key"), &ca.key_pem, Durability::Synced)?;
    write(&dir.join("ca.crt"), &ca.certificate_pem, Durability::Synced)
}

/// The CA that `dir` has, if any. Makes the directory.
pub(super) fn existing(dir: &Path) -> Result<Option<Authority>, PkiError> {
    fs::create_dir_all(dir).map_err(fail("create", dir))?;
    let (certificate, key) = (dir.join("ca.crt"), dir.join("ca.key"));
    match (read(&certificate)?, read(&key)?) {
        (None, None) => Ok(None),
        (None, Some(_)) => {
            Err(PkiError::Broken { path: certificate, why: "there is a ca.key beside it but no certificate".into() })
        }
        (Some(_), None) => Err(PkiError::Broken { path: certificate, why: "there is no ca.key beside it".into() }),
        (Some(certificate_pem), Some(key_pem)) => Authority::from_pem(&KeyPair { certificate_pem, key_pem })
            .map(Some)
            .map_err(|why| PkiError::Broken { path: certificate, why }),
    }
}

/// The pair `name`.crt and `name`.key, made by `issue` unless what is there is `good`.
pub(super) fn pair(
    dir: &Path,
    name: &str,
    good: impl FnOnce(&KeyPair) -> bool,
    issue: impl FnOnce() -> Result<KeyPair, PkiError>,
) -> Result<KeyPair, PkiError> {
    let (certificate, key) = (dir.join(format!("{name}.crt")), dir.join(format!("{name}.key")));
    if let (Some(certificate_pem), Some(key_pem)) = (read(&certificate)?, read(&key)?) {
        let found = KeyPair { certificate_pem, key_pem };
        if good(&found) {
            return Ok(found);
        }
    }
    let made = issue()?;
    write(&key, &made.key_pem, Durability::Buffered)?;
    write(&certificate, &made.certificate_pem, Durability::Buffered)?;
    Ok(made)
}

/// The key `sa.key`, made at first use. One that cannot be read is never replaced: that would end every token.
pub(super) fn account_key(dir: &Path) -> Result<AccountKey, PkiError> {
    fs::create_dir_all(dir).map_err(fail("create", dir))?;
    if let Some(key) = existing_account_key(dir)? {
        return Ok(key);
    }
    let key = AccountKey::generate()?;
    write(&dir.join("sa.key"), key.pem(), Durability::Synced)?;
    Ok(key)
}

/// The key `sa.key`, if there is one.
pub(super) fn existing_account_key(dir: &Path) -> Result<Option<AccountKey>, PkiError> {
    let path = dir.join("sa.key");
    let Some(pem) = read(&path)? else { return Ok(None) };
    AccountKey::from_pem(&pem).map(Some).map_err(|why| PkiError::BrokenKey { path, why })
}

fn read(path: &Path) -> Result<Option<String>, PkiError> {
    match fs::read(path) {
        Ok(bytes) => Ok(Some(String::from_utf8_lossy(&bytes).into_owned())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(fail("read", path)(source)),
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Durability {
    /// On disk when the call returns: what cannot be made again.
    Synced,
    /// Left to the kernel: a lost file is made again at the next start.
    Buffered,
}

fn write(path: &Path, text: &str, durability: Durability) -> Result<(), PkiError> {
    let temporary = PathBuf::from(format!("{}.{}.tmp", path.display(), std::process::id()));
    let result = fill(&temporary, text, durability).and_then(|()| fs::rename(&temporary, path));
    if result.is_err() {
        let _ = fs::remove_file(&temporary);
    }
    result.map_err(fail("write", path))
}

fn fill(path: &Path, text: &str, durability: Durability) -> io::Result<()> {
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file: File = options.open(path)?;
    file.write_all(text.as_bytes())?;
    if durability == Durability::Synced { file.sync_all() } else { Ok(()) }
}

fn fail(step: &'static str, path: &Path) -> impl FnOnce(io::Error) -> PkiError {
    let path = path.to_path_buf();
    move |source| PkiError::File { step, path, source }
}
