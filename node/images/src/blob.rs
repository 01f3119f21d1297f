//! Content on its way into the store: written once, hashed and counted while it is written.

use std::io::{self, Seek, Write};
use std::path::Path;

use sha2::{Digest, Sha256};
use tempfile::NamedTempFile;

use crate::error::ImageError;
use crate::scratch::Scratch;

/// How every Wasm binary begins, module or component.
pub(crate) const MAGIC: &[u8; 4] = b"\0asm";

/// `sha256:` and the hexadecimal digest of `bytes`.
pub(crate) fn digest_of(bytes: &[u8]) -> String {
    format!("sha256:{}", hex::encode(Sha256::digest(bytes)))
}

/// The part of a digest that names files.
pub(crate) fn hex_of(digest: &str) -> &str {
    digest.strip_prefix("sha256:").unwrap_or(digest)
}

/// A file that is being written.
#[derive(Debug)]
pub(crate) struct Staged {
    file: NamedTempFile,
    hasher: Sha256,
    head: Vec<u8>,
    bytes: u64,
    limit: u64,
}

/// Why bytes were not taken.
#[derive(Debug)]
pub(crate) enum StageError {
    /// More than the limit given at the start.
    TooLarge(u64),
    Io(io::Error),
}

impl Staged {
    /// For at most `limit` bytes.
    pub(crate) fn new(scratch: &Scratch, limit: u64) -> Result<Self, ImageError> {
        Ok(Self { file: scratch.file()?, hasher: Sha256::new(), head: Vec::new(), bytes: 0, limit })
    }

    pub(crate) fn write(&mut self, chunk: &[u8]) -> Result<(), StageError> {
        let bytes = self.bytes + chunk.len() as u64;
        if bytes > self.limit {
            return Err(StageError::TooLarge(self.limit));
        }
        self.file.write_all(chunk).map_err(StageError::Io)?;
        self.hasher.update(chunk);
        if self.head.len() < MAGIC.len() {
            self.head.extend(chunk.iter().take(MAGIC.len() - self.head.len()));
        }
        self.bytes = bytes;
        Ok(())
    }

    /// Starts over.
    pub(crate) fn clear(&mut self) -> io::Result<()> {
        self.file.as_file_mut().set_len(0)?;
        self.file.as_file_mut().rewind()?;
        self.hasher = Sha256::new();
        self.head.clear();
        self.bytes = 0;
        Ok(())
    }

    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    pub(crate) fn digest(&self) -> String {
        format!("sha256:{}", hex::encode(self.hasher.clone().finalize()))
    }

    pub(crate) fn is_wasm(&self) -> bool {
        self.head == MAGIC
    }

    /// What it begins with, for a message: printable or not.
    pub(crate) fn beginning(&self) -> String {
        self.head.escape_ascii().to_string()
    }

    pub(crate) fn reader(&self) -> Result<std::fs::File, ImageError> {
        self.file.reopen().map_err(ImageError::store("reading", self.file.path()))
    }

    /// Moves the file to its name under `blobs`, unless the same content is there already.
    pub(crate) fn keep(self, blobs: &Path) -> Result<(), ImageError> {
        let target = blobs.join(hex_of(&self.digest()));
        if target.metadata().is_ok_and(|there| there.len() == self.bytes) {
            return Ok(());
        }
        self.file.as_file().sync_data().map_err(ImageError::store("writing", &target))?;
        self.file.persist(&target).map_err(|error| ImageError::store("writing", &target)(error.error))?;
        Ok(())
    }
}
