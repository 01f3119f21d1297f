//! The journal in front of redb: small commits are made durable here, in one write, and reach redb many at a time.
//!
//! It has a fixed place at the head of the store's file, so that the file stays one and never has to find blocks for it:
//!
//! ```text
//! 0            4 KiB                          FRONT
//! | head       | frame | frame | …            | redb …
//! ```
//!
//! The head says that the file is one of ours and holds a salt. A frame begins at a multiple of [`BLOCK`], so that writing one
//! never touches a block of another, and holds whole revisions: its checksum tells a whole frame from a torn one, its
//! number that it is the next. A frame counts from its sync on until redb has its revisions; then the next one is
//! written at the beginning again.
//!
//! Invariants: all frames but the last were synced before the next was written, so a frame that is broken and followed by one
//! that is whole is damage. The salt is known to nobody who only writes values, so no value can pass for a frame.

use std::io;
use std::sync::Arc;

use crc32fast::Hasher;
use redb::backends::InMemoryBackend;
use redb::{Database, StorageBackend};

use super::authors::{Added, Authors};
use super::record::{self, By, Malformed, Row};
use super::{COMPACTED, LOG, META, REVISION, corrupt, meta};
use crate::types::{Author, Revision};

/// Where redb begins.
pub(super) const FRONT: u64 = 1 << 20;
/// What begins on its own block can be written without touching anything before it.
const BLOCK: usize = 4_096;
/// Blocks that are not there yet are made in steps of this, so that syncs seldom wait for the file system to find them.
const AHEAD: u64 = 64 << 10;
/// A new file has so many.
const MADE: usize = 64 << 10;
/// What the buffer for a frame may keep between two of them.
const BUFFER: usize = 32 << 10;

const MAGIC: &[u8; 16] = b"skiff store 1\x1A\r\n";
const SALT: usize = 16;
const HEAD: usize = MAGIC.len() + SALT;
/// Salt, number, newest revision, compacted revision, length of the rows, checksum.
const FRAME: usize = SALT + 8 + 8 + 8 + 4 + 4;

/// What tells this file's frames from bytes that only look like one.
type Salt = [u8; SALT];

/// What begins a file.
#[derive(Debug)]
pub(super) enum Head {
    Ours(Salt),
    /// Something else, which may be a database without a journal in front of it.
    Other,
    /// It begins like ours and is not.
    Broken,
}

/// Begin an empty `storage` as one with a journal. Nothing is synced.
pub(super) fn begin(storage: &dyn StorageBackend) -> io::Result<()> {
    let salt: Salt = rand::random();
    let mut head = Vec::with_capacity(MADE);
    head.extend_from_slice(MAGIC);
    head.extend_from_slice(&salt);
    head.extend_from_slice(&crc32fast::hash(&head).to_le_bytes());
    head.resize(MADE, 0);
    storage.set_len(FRONT)?;
    storage.write(0, &head)
}

/// What `storage` begins with.
pub(super) fn head(storage: &dyn StorageBackend) -> io::Result<Head> {
    let len = storage.len()?;
    let mut head = [0; HEAD + 4];
    let there = usize::try_from(len).unwrap_or(usize::MAX).min(head.len());
    storage.read(0, &mut head[..there])?;
    if !head.starts_with(MAGIC) {
        return Ok(Head::Other);
    }
    let (content, sum) = head.split_at(HEAD);
    let is_whole = len >= FRONT && crc32fast::hash(content).to_le_bytes() == *sum;
    let salt = content[MAGIC.len()..].try_into().expect("the head is so long");
    Ok(if is_whole { Head::Ours(salt) } else { Head::Broken })
}

/// The journal of an open file.
#[derive(Debug)]
pub(super) struct Journal {
    storage: Arc<dyn StorageBackend>,
    salt: Salt,
    /// Where the next frame goes.
    next: u64,
    /// Its number.
    number: u64,
    /// Up to here the file has blocks.
    made: u64,
    /// Whether a frame that was refused may lie at `next`.
    is_suspect: bool,
    frame: Vec<u8>,
}

/// What a file's journal held when it was opened.
#[derive(Debug)]
pub(super) struct Found {
    salt: Salt,
    /// The rows of whole frames, oldest first.
    pub frames: Vec<Frame>,
    next_number: u64,
    made: u64,
}

#[derive(Debug)]
pub(super) struct Frame {
    /// The newest revision in it, or before it if it has no rows.
    pub revision: Revision,
    pub compacted: Revision,
    rows: Vec<u8>,
}

impl Journal {
    /// The journal at the front of `storage`, of which redb has everything that `found` says.
    pub fn new(storage: Arc<dyn StorageBackend>, found: &Found) -> Self {
        let (salt, number, made) = (found.salt, found.next_number, found.made);
        Self { storage, salt, next: BLOCK as u64, number, made, is_suspect: false, frame: Vec::new() }
    }

    /// Begin a frame.
    pub fn begin(&mut self) -> Rows<'_> {
        self.frame.clear();
        self.frame.resize(FRAME, 0);
        Rows { frame: &mut self.frame }
    }

    /// Whether the frame that was begun still has room here.
    pub fn has_room(&self) -> bool {
        !self.is_suspect && self.next + self.frame.len().next_multiple_of(BLOCK) as u64 <= FRONT
    }

    /// Make the frame that was begun durable. After an error nothing may be appended before [`Journal::mend`] succeeded.
    pub fn append(&mut self, revision: Revision, compacted: Revision) -> io::Result<()> {
        let rows = u32::try_from(self.frame.len() - FRAME).expect("a frame is shorter than the journal");
        let mut at = 0;
        let fields = [&self.salt[..], &self.number.to_le_bytes(), &revision.to_le_bytes(), &compacted.to_le_bytes()];
        for field in fields.into_iter().chain([&rows.to_le_bytes()[..]]) {
            self.frame[at..at + field.len()].copy_from_slice(field);
            at += field.len();
        }
        let sum = sum(&self.frame[..at], &self.frame[FRAME..]);
        self.frame[at..FRAME].copy_from_slice(&sum);
        let end = self.next + self.frame.len().next_multiple_of(BLOCK) as u64;
        let made = if end > self.made { (end + AHEAD).min(FRONT) } else { end };
        self.frame.resize(usize::try_from(made - self.next).expect("shorter than the journal"), 0);
        self.is_suspect = true;
        self.storage.write(self.next, &self.frame)?;
        self.storage.sync_data()?;
        self.is_suspect = false;
        self.made = self.made.max(made);
        self.next = end;
        self.number += 1;
        self.frame.clear();
        self.frame.shrink_to(BUFFER);
        Ok(())
    }

    /// redb has everything: begin anew.
    pub fn rewind(&mut self) {
        self.next = BLOCK as u64;
    }

    /// After a failed [`Journal::append`]: see to it that its frame never counts.
    pub fn mend(&mut self) -> io::Result<()> {
        if self.is_suspect {
            self.storage.write(self.next, &[0; BLOCK])?;
            self.storage.sync_data()?;
            self.is_suspect = false;
        }
        Ok(())
    }
}

/// Rows on their way into a frame.
pub(super) struct Rows<'a> {
    frame: &'a mut Vec<u8>,
}

impl Rows<'_> {
    /// Append a row of `length` bytes, which `write` fills in.
    pub fn push(&mut self, row_key: &[u8], length: usize, write: impl FnOnce(&mut [u8])) {
        for length in [row_key.len(), length] {
            self.frame.extend_from_slice(&u32::try_from(length).expect("transactions are below 4 GiB").to_le_bytes());
        }
        self.frame.extend_from_slice(row_key);
        let at = self.frame.len();
        self.frame.resize(at + length, 0);
        write(&mut self.frame[at..]);
    }
}

impl Frame {
    /// Keys and rows, in order; `None` where they do not parse.
    pub fn rows(&self) -> impl Iterator<Item = Option<(&[u8], &[u8])>> {
        let mut rest = &self.rows[..];
        std::iter::from_fn(move || {
            if rest.is_empty() {
                return None;
            }
            let row = split_row(rest);
            rest = row.map_or(&[][..], |(_, _, rest)| rest);
            Some(row.map(|(row_key, row, _)| (row_key, row)))
        })
    }
}

fn split_row(bytes: &[u8]) -> Option<(&[u8], &[u8], &[u8])> {
    let (key_length, bytes) = bytes.split_first_chunk::<4>()?;
    let (row_length, bytes) = bytes.split_first_chunk::<4>()?;
    let (row_key, bytes) = bytes.split_at_checked(u32::from_le_bytes(*key_length) as usize)?;
    let (row, rest) = bytes.split_at_checked(u32::from_le_bytes(*row_length) as usize)?;
    Some((row_key, row, rest))
}

/// What is in the journal of a file that was just begun.
pub(super) fn fresh(storage: &dyn StorageBackend) -> Result<Found, redb::Error> {
    Ok(Found { salt: salt(storage)?, frames: Vec::new(), next_number: 1, made: MADE as u64 })
}

/// Read the journal at the front of `storage`, of which redb has the revisions up to `known`.
pub(super) fn read(storage: &dyn StorageBackend, known: Revision) -> Result<Found, redb::Error> {
    find(storage, salt(storage)?, known)
}

fn salt(storage: &dyn StorageBackend) -> Result<Salt, redb::Error> {
    match head(storage)? {
        Head::Ours(salt) => Ok(salt),
        Head::Other | Head::Broken => Err(redb::Error::Corrupted("its head is not whole".into())),
    }
}

fn find(storage: &dyn StorageBackend, salt: Salt, known: Revision) -> Result<Found, redb::Error> {
    let damaged = || redb::Error::Corrupted("its journal is damaged".into());
    let mut found = Found { salt, frames: Vec::new(), next_number: 1, made: 0 };
    let mut at = BLOCK as u64;
    let mut expected = None;
    while let Some((number, frame, length)) = frame_at(storage, at, &salt)?
        && expected.is_none_or(|expected| number == expected)
    {
        let next = number.checked_add(1).ok_or_else(damaged)?;
        (expected, found.next_number) = (Some(next), next);
        at += length;
        // One without rows moves the compacted revision.
        if frame.revision > known || (frame.rows.is_empty() && frame.revision == known) {
            found.frames.push(frame);
        }
    }
    // What lies behind them is of earlier rounds, which redb has.
    found.made = at;
    for block in (at..FRONT).step_by(BLOCK) {
        let mut head = [0; FRAME];
        storage.read(block, &mut head)?;
        if head.iter().any(|byte| *byte != 0) {
            found.made = block + BLOCK as u64;
        }
        if !head.starts_with(&salt) {
            continue;
        }
        let Some((number, frame, _)) = frame_at(storage, block, &salt)? else { continue };
        if frame.revision > known && expected.is_none_or(|expected| number >= expected) {
            return Err(damaged());
        }
        found.next_number = found.next_number.max(number.checked_add(1).ok_or_else(damaged)?);
    }
    Ok(found)
}

/// The frame at `at`, if a whole one is there: its number, itself, and how many bytes of blocks it takes.
fn frame_at(storage: &dyn StorageBackend, at: u64, salt: &Salt) -> io::Result<Option<(u64, Frame, u64)>> {
    if at >= FRONT {
        return Ok(None);
    }
    let mut head = [0; FRAME];
    storage.read(at, &mut head)?;
    if !head.starts_with(salt) {
        return Ok(None);
    }
    let word = |at: usize| u64::from_le_bytes(head[at..at + 8].try_into().expect("eight bytes"));
    let length = u32::from_le_bytes(head[SALT + 24..SALT + 28].try_into().expect("four bytes"));
    let end = (at + FRAME as u64 + u64::from(length)).next_multiple_of(BLOCK as u64);
    if end > FRONT {
        return Ok(None);
    }
    let mut rows = vec![0; length as usize];
    storage.read(at + FRAME as u64, &mut rows)?;
    if sum(&head[..FRAME - 4], &rows) != head[FRAME - 4..] {
        return Ok(None);
    }
    let frame = Frame { revision: word(SALT + 8), compacted: word(SALT + 16), rows };
    Ok(Some((word(SALT), frame, end - at)))
}

/// Bring `frames`, of which it has none, to `database`.
pub(super) fn settle(database: &Database, frames: &[Frame], authors: &mut Authors) -> Result<(), redb::Error> {
    let transaction = database.begin_write()?;
    let mut added = Added::default();
    {
        let mut log = transaction.open_table(LOG)?;
        for row in frames.iter().flat_map(Frame::rows) {
            let (row_key, row) = row.ok_or(Malformed::Syntax).map_err(corrupt)?;
            let parsed = record::parse(row).map_err(corrupt)?;
            parsed.verify(row_key).map_err(corrupt)?;
            let author = match parsed.by {
                By::Name(name) => Author::new(name),
                By::Nobody => Author::default(),
                By::Known(_) => return Err(corrupt(Malformed::Author)),
            };
            let (index, body) = parsed.parts();
            let row = Row::from_parts(parsed.header, authors.name(&author, &mut added), index, body);
            row.write(row_key, log.insert_reserve(row_key, row.len())?.as_mut());
        }
        let mut marks = transaction.open_table(META)?;
        let compacted = frames.iter().map(|frame| frame.compacted).max().unwrap_or(0);
        if let Some(newest) = frames.last()
            && meta(&marks, COMPACTED)?.unwrap_or(0) < compacted
        {
            marks.insert(COMPACTED, u128::from(compacted))?;
            marks.insert(REVISION, u128::from(newest.revision))?;
        }
    }
    authors.write(&transaction, &added)?;
    transaction.commit()?;
    authors.keep(added);
    Ok(())
}

/// What is found of a journal of these pieces: see [`crate::fuzzing::journal`].
pub(super) fn forged(pieces: &[&[u8]]) -> Option<Vec<Frame>> {
    let salt = [7; SALT];
    let storage = InMemoryBackend::new();
    storage.set_len(FRONT).ok()?;
    let (mut at, mut number) = (BLOCK as u64, 0u64);
    for piece in pieces {
        let Some((&[step, fits], piece)) = piece.split_first_chunk::<2>() else { continue };
        number = number.wrapping_add(u64::from(step));
        let mut frame = [&salt, &number.to_le_bytes()[..], piece].concat();
        frame.resize(frame.len().max(FRAME), 0);
        if fits != 0 {
            let rows = u32::try_from(frame.len() - FRAME).ok()?.to_le_bytes();
            frame[FRAME - 8..FRAME - 4].copy_from_slice(&rows);
            let sum = sum(&frame[..FRAME - 4], &frame[FRAME..]);
            frame[FRAME - 4..FRAME].copy_from_slice(&sum);
        }
        let end = (at + frame.len() as u64).next_multiple_of(BLOCK as u64);
        if end > FRONT {
            break;
        }
        storage.write(at, &frame).ok()?;
        at = end;
    }
    find(&storage, salt, 0).ok().map(|found| found.frames)
}

fn sum(head: &[u8], rows: &[u8]) -> [u8; 4] {
    let mut hasher = Hasher::new();
    hasher.update(head);
    hasher.update(rows);
    hasher.finalize().to_le_bytes()
}

#[cfg(test)]
mod tests;
