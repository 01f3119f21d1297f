//! Writes a container's output to its log file from whatever thread the guest runs on.
//!
//! Invariant: memory per container is bounded by one unfinished line per stream; files open at once
//! are bounded for the whole node; a silent container costs no file at all. A failing disk loses log
//! lines, never a guest.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use parking_lot::Mutex;
use runtime::Stream;
use tokio::sync::Notify;

use super::format::{self, MAX_CONTENT, Tag};
use crate::clock::Clock;

/// When files are rotated, and how many are kept.
#[derive(Clone, Copy, Debug)]
pub struct LogLimits {
    /// Bytes after which a file is rotated.
    pub max_bytes: u64,
    /// Files kept per run of a container, the current one included.
    pub max_files: u64,
}

impl Default for LogLimits {
    fn default() -> Self {
        Self { max_bytes: 10 << 20, max_files: 5 }
    }
}

/// Counts the log files that are kept open, node-wide.
#[derive(Debug)]
pub struct OpenFiles {
    open: AtomicUsize,
    limit: usize,
}

impl OpenFiles {
    /// At most `limit` files stay open; beyond that a file is opened for each write.
    pub fn new(limit: usize) -> Arc<Self> {
        Arc::new(Self { open: AtomicUsize::new(0), limit })
    }

    fn keep(self: &Arc<Self>, file: File) -> Result<KeptFile, File> {
        if self.open.fetch_add(1, Ordering::Relaxed) < self.limit {
            Ok(KeptFile { file, count: Arc::clone(self) })
        } else {
            self.open.fetch_sub(1, Ordering::Relaxed);
            Err(file)
        }
    }
}

struct KeptFile {
    file: File,
    count: Arc<OpenFiles>,
}

impl Drop for KeptFile {
    fn drop(&mut self) {
        self.count.open.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The log of one run of a container.
pub struct ContainerLog {
    dir: PathBuf,
    restart: u32,
    limits: LogLimits,
    clock: Clock,
    files: Arc<OpenFiles>,
    state: Mutex<State>,
    changed: Notify,
}

#[derive(Default)]
struct State {
    file: Option<KeptFile>,
    opened: bool,
    size: u64,
    /// Number of rotations so far: the sequence number that the current file will get.
    sequence: u64,
    partial: [Vec<u8>; 2],
    closed: bool,
    failed: bool,
}

/// Where a follower finds the segment it wants next.
pub(super) enum Segment {
    Open(File),
    /// There is nothing newer.
    None,
}

impl ContainerLog {
    /// A log in `dir` (the container's own directory, made at the first write).
    pub fn new(dir: PathBuf, restart: u32, limits: LogLimits, clock: Clock, files: Arc<OpenFiles>) -> Arc<Self> {
        let state = Mutex::new(State::default());
        Arc::new(Self { dir, restart, limits, clock, files, state, changed: Notify::new() })
    }

    pub fn dir(&self) -> &Path {
        &self.dir
    }

    pub fn restart(&self) -> u32 {
        self.restart
    }

    /// The container has ended: writes out what was left without a newline and ends all followers.
    pub fn close(&self) {
        let mut state = self.state.lock();
        if state.closed {
            return;
        }
        let now = format::time(self.clock.now());
        let mut out = Vec::new();
        for stream in [Stream::Stdout, Stream::Stderr] {
            let rest = std::mem::take(&mut state.partial[slot(stream)]);
            if !rest.is_empty() {
                format::append(&mut out, &now, stream, Tag::Full, &rest);
            }
        }
        if !out.is_empty() {
            self.store(&mut state, &out);
        }
        state.closed = true;
        state.file = None;
        drop(state);
        self.changed.notify_waiters();
    }

    pub fn is_closed(&self) -> bool {
        self.state.lock().closed
    }

    /// Resolves at the next write or at the end; register before reading to miss nothing.
    pub fn changed(&self) -> tokio::sync::futures::Notified<'_> {
        self.changed.notified()
    }

    pub(super) fn sequence(&self) -> u64 {
        self.state.lock().sequence
    }

    /// Opens the oldest segment that is newer than `after`.
    pub(super) fn segment_after(&self, after: u64) -> io::Result<(u64, Segment)> {
        let state = self.state.lock();
        for sequence in after + 1..=state.sequence {
            let path = if sequence == state.sequence {
                super::current(&self.dir, self.restart)
            } else {
                super::rotated(&self.dir, self.restart, sequence)
            };
            match File::open(path) {
                Ok(file) => return Ok((sequence, Segment::Open(file))),
                Err(e) if e.kind() == io::ErrorKind::NotFound => {}
                Err(e) => return Err(e),
            }
        }
        Ok((after, Segment::None))
    }

    fn store(&self, state: &mut State, bytes: &[u8]) {
        match self.try_store(state, bytes) {
            Ok(()) => state.failed = false,
            Err(error) => {
                state.file = None;
                if !std::mem::replace(&mut state.failed, true) {
                    tracing::warn!(dir = %self.dir.display(), %error, "container output is being lost");
                }
            }
        }
    }

    fn try_store(&self, state: &mut State, bytes: &[u8]) -> io::Result<()> {
        if state.opened && state.size > 0 && state.size + bytes.len() as u64 > self.limits.max_bytes {
            self.rotate(state)?;
        }
        if let Some(kept) = &mut state.file {
            kept.file.write_all(bytes)?;
        } else {
            let mut file = self.open(state)?;
            file.write_all(bytes)?;
            state.file = self.files.keep(file).ok();
        }
        state.size += bytes.len() as u64;
        Ok(())
    }

    fn open(&self, state: &mut State) -> io::Result<File> {
        let path = super::current(&self.dir, self.restart);
        let mut options = OpenOptions::new();
        options.append(true).create(true);
        if state.opened {
            return options.open(path);
        }
        std::fs::create_dir_all(&self.dir)?;
        let file = options.open(path)?;
        state.size = file.metadata()?.len();
        state.sequence = super::rotated_sequences(&self.dir, self.restart).last().map_or(0, |s| s + 1);
        state.opened = true;
        Ok(file)
    }

    fn rotate(&self, state: &mut State) -> io::Result<()> {
        state.file = None;
        let sequence = state.sequence;
        std::fs::rename(super::current(&self.dir, self.restart), super::rotated(&self.dir, self.restart, sequence))?;
        state.sequence += 1;
        state.size = 0;
        for old in super::rotated_sequences(&self.dir, self.restart) {
            if old + self.limits.max_files <= state.sequence {
                let _ = std::fs::remove_file(super::rotated(&self.dir, self.restart, old));
            }
        }
        Ok(())
    }
}

fn slot(stream: Stream) -> usize {
    match stream {
        Stream::Stdout => 0,
        Stream::Stderr => 1,
    }
}

impl runtime::Output for ContainerLog {
    fn write(&self, stream: Stream, bytes: &[u8]) {
        let now = format::time(self.clock.now());
        let mut state = self.state.lock();
        if state.closed {
            return;
        }
        let mut out = Vec::with_capacity(bytes.len() + 64);
        let mut pending = std::mem::take(&mut state.partial[slot(stream)]);
        for piece in bytes.split_inclusive(|b| *b == b'\n') {
            let (content, ended) = match piece.strip_suffix(b"\n") {
                Some(content) => (content, true),
                None => (piece, false),
            };
            push(&mut out, &now, stream, &mut pending, content);
            if ended {
                format::append(&mut out, &now, stream, Tag::Full, &pending);
                pending.clear();
            }
        }
        // An empty buffer gives its memory back: most containers are quiet most of the time.
        state.partial[slot(stream)] = if pending.is_empty() { Vec::new() } else { pending };
        if !out.is_empty() {
            self.store(&mut state, &out);
            drop(state);
            self.changed.notify_waiters();
        }
    }
}

/// Adds `content` to the unfinished line, writing out `P` lines whenever it gets too long.
fn push(out: &mut Vec<u8>, now: &str, stream: Stream, pending: &mut Vec<u8>, mut content: &[u8]) {
    while pending.len() + content.len() > MAX_CONTENT {
        let (head, tail) = content.split_at(MAX_CONTENT - pending.len());
        pending.extend_from_slice(head);
        format::append(out, now, stream, Tag::Partial, pending);
        pending.clear();
        content = tail;
    }
    pending.extend_from_slice(content);
}
