//! Reads a container's log files back: tail, since, timestamps, limits, and following across
//! rotations. Blocking file reads in bounded chunks; the caller decides on which thread.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use api::k8s_openapi::jiff::Timestamp;

use super::format::{self, Tag};
use super::writer::{ContainerLog, Segment};

const CHUNK: usize = 64 * 1024;

/// Whether each line is preceded by its time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Timestamps {
    #[default]
    Hide,
    Show,
}

/// What part of the log is wanted, as in `PodLogOptions`.
#[derive(Clone, Debug, Default)]
pub struct Options {
    pub tail: Option<u64>,
    pub since: Option<Timestamp>,
    pub timestamps: Timestamps,
    /// Bytes of output after which the log ends.
    pub limit: Option<u64>,
}

/// What a call to [`Cursor::read`] came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// There may be more: call again.
    More,
    /// All that is written so far has been read.
    End,
    /// The byte limit is reached: never call again.
    Limit,
}

/// A file that is read after the present one.
struct Pending {
    sequence: u64,
    path: PathBuf,
    offset: u64,
}

/// A position in the log of one run.
pub struct Cursor {
    options: Options,
    file: Option<File>,
    /// Sequence number of the file being read.
    sequence: u64,
    /// Files still to come, newest first.
    rest: Vec<Pending>,
    carry: Vec<u8>,
    at_line_start: bool,
    written: u64,
}

impl Cursor {
    /// Opens the files of run `restart` at the place `options.tail` asks for. A run without any
    /// file is an empty log.
    pub fn open(dir: &Path, restart: u32, options: Options) -> io::Result<Self> {
        let mut files: Vec<(u64, PathBuf)> =
            super::rotated_sequences(dir, restart).into_iter().map(|s| (s, super::rotated(dir, restart, s))).collect();
        let next = files.last().map_or(0, |(s, _)| s + 1);
        files.push((next, super::current(dir, restart)));
        let mut cursor = Self {
            file: None,
            sequence: next,
            rest: Vec::new(),
            carry: Vec::new(),
            at_line_start: true,
            written: 0,
            options,
        };
        cursor.position(files)?;
        Ok(cursor)
    }

    fn position(&mut self, files: Vec<(u64, PathBuf)>) -> io::Result<()> {
        let newest_first = files.into_iter().rev();
        match self.options.tail {
            None => self.rest = newest_first.map(|(sequence, path)| Pending { sequence, path, offset: 0 }).collect(),
            Some(tail) => {
                let mut wanted = tail;
                for (sequence, path) in newest_first {
                    let Some(mut file) = open_if_there(&path)? else { continue };
                    let (offset, found) = last_lines(&mut file, wanted)?;
                    self.rest.push(Pending { sequence, path, offset });
                    wanted -= found.min(wanted);
                    if wanted == 0 {
                        break;
                    }
                }
            }
        }
        self.advance().map(drop)
    }

    /// Moves on to the next file that exists; false when there is none.
    fn advance(&mut self) -> io::Result<bool> {
        while let Some(next) = self.rest.pop() {
            if let Some(mut file) = open_if_there(&next.path)? {
                file.seek(SeekFrom::Start(next.offset))?;
                self.file = Some(file);
                self.sequence = next.sequence;
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Reads at most one chunk and appends what it comes to, as the user shall see it, to `out`.
    pub fn read(&mut self, out: &mut Vec<u8>) -> io::Result<Progress> {
        let Some(file) = &mut self.file else { return Ok(Progress::End) };
        let kept = self.carry.len();
        self.carry.resize(kept + CHUNK, 0);
        let count = file.read(&mut self.carry[kept..])?;
        self.carry.truncate(kept + count);
        if count == 0 {
            return Ok(if self.advance()? { Progress::More } else { Progress::End });
        }
        let buffer = std::mem::take(&mut self.carry);
        let mut start = 0;
        while let Some(length) = buffer[start..].iter().position(|b| *b == b'\n') {
            if self.emit(&buffer[start..start + length], out) == Progress::Limit {
                return Ok(Progress::Limit);
            }
            start += length + 1;
        }
        // A "line" longer than any that we write is damage: drop it.
        if buffer.len() - start <= 4 * format::MAX_CONTENT {
            self.carry = buffer[start..].to_vec();
        }
        Ok(Progress::More)
    }

    fn emit(&mut self, raw: &[u8], out: &mut Vec<u8>) -> Progress {
        let Some(line) = format::parse(raw) else { return Progress::More };
        if let Some(since) = self.options.since
            && line.time.parse::<Timestamp>().is_ok_and(|t| t < since)
        {
            return Progress::More;
        }
        let before = out.len();
        if self.at_line_start && self.options.timestamps == Timestamps::Show {
            out.extend_from_slice(line.time.as_bytes());
            out.push(b' ');
        }
        out.extend_from_slice(line.content);
        self.at_line_start = line.tag == Tag::Full;
        if self.at_line_start {
            out.push(b'\n');
        }
        if let Some(limit) = self.options.limit {
            let room = usize::try_from(limit - self.written).unwrap_or(usize::MAX);
            out.truncate(before + room.min(out.len() - before));
            self.written += (out.len() - before) as u64;
            if self.written >= limit {
                return Progress::Limit;
            }
        }
        Progress::More
    }

    /// After [`Progress::End`]: goes on with what `log` has written since. True when there is
    /// something new to try, false when nothing newer exists yet.
    pub fn follow(&mut self, log: &ContainerLog) -> io::Result<Progress> {
        if self.file.is_none() {
            // Nothing existed when we came: start with the oldest file there is.
            let opened = open_if_there(&super::current(log.dir(), log.restart()))?;
            if let Some(file) = opened {
                self.sequence = log.sequence();
                self.file = Some(file);
                return Ok(Progress::More);
            }
            return Ok(Progress::End);
        }
        match log.segment_after(self.sequence)? {
            (sequence, Segment::Open(file)) => {
                self.file = Some(file);
                self.sequence = sequence;
                Ok(Progress::More)
            }
            (_, Segment::None) => Ok(Progress::End),
        }
    }
}

fn open_if_there(path: &Path) -> io::Result<Option<File>> {
    match File::open(path) {
        Ok(file) => Ok(Some(file)),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(e),
    }
}

/// Where the last `wanted` lines of `file` begin, and how many there are (fewer in a short file).
fn last_lines(file: &mut File, wanted: u64) -> io::Result<(u64, u64)> {
    let end = file.seek(SeekFrom::End(0))?;
    if wanted == 0 {
        return Ok((end, 0));
    }
    let mut found = 0;
    let mut position = end;
    let mut buffer = vec![0; CHUNK];
    while position > 0 {
        let length = CHUNK.min(usize::try_from(position).unwrap_or(CHUNK));
        position -= length as u64;
        file.seek(SeekFrom::Start(position))?;
        file.read_exact(&mut buffer[..length])?;
        for (at, byte) in buffer[..length].iter().enumerate().rev() {
            let offset = position + at as u64;
            if *byte == b'\n' && offset + 1 != end {
                found += 1;
                if found == wanted {
                    return Ok((offset + 1, found));
                }
            }
        }
    }
    Ok((0, if end > 0 { found + 1 } else { 0 }))
}
