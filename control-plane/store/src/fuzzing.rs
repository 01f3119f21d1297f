//! What the fuzz targets (`fuzz/`) hand hostile bytes to: the readers of the file's rows, of its journal and of backups, also behind their
//! checksums, which chance does not get past. For nobody else.

use crate::disk::fuzzing as disk;
use crate::ops::{BackupError, read_frames, read_whole};
use crate::types::{Entry, Key, Revision};

/// A row of the log at `revision`, whose checksum is made to fit: read, written again, and read again.
/// Whether it was a row, and came out as it went in.
#[must_use]
pub fn row(revision: Revision, key: &[u8], row: &[u8]) -> Option<bool> {
    disk::row(revision, key, row)
}

/// Revisions of the frames in a journal that holds these pieces, each at a block of its own. A piece begins with two bytes: how its
/// frame's number follows on the one before, and whether its checksum is made to fit. `None`: it is damaged.
#[must_use]
pub fn journal(pieces: &[&[u8]]) -> Option<Vec<Revision>> {
    disk::journal(pieces)
}

/// The entries of a backup.
///
/// # Errors
/// What is wrong with it.
pub fn backup(bytes: &[u8]) -> Result<Vec<(Key, Entry)>, BackupError> {
    read_whole(bytes)
}

/// The entries of a backup of these frames, with checksums that fit.
///
/// # Errors
/// What is wrong with it.
pub fn frames(payloads: &[&[u8]]) -> Result<Vec<(Key, Entry)>, BackupError> {
    read_frames(payloads)
}
